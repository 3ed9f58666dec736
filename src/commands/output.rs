//! Results: files that are written whole or not at all, and standard output that may be closed.

use super::CommandError;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A file that will be written, made ready before the work whose result it takes: a path that can't be written to is
/// told before minutes are spent, and nothing is half there if another one fails.
#[derive(Debug)]
pub(super) struct Target {
    path: PathBuf,
    into: Into,
}

#[derive(Debug)]
enum Into {
    /// Written beside its place, and moved there in the end.
    Beside(NamedTempFile),
    /// A device or a pipe is written to as it is: nothing can take its place.
    Device(File),
}

impl Target {
    /// Makes ready to write a file.
    ///
    /// # Errors
    /// Where it could not be written.
    fn open(path: &Path) -> Result<Self, CommandError> {
        let failed = || CommandError::file(path);
        // a link stays a link: what it leads to is written
        let place = match std::fs::metadata(path) {
            Ok(found) if found.is_dir() => return Err(failed()(ErrorKind::IsADirectory.into())),
            Ok(found) if !found.is_file() => {
                let device = OpenOptions::new().write(true).open(path).map_err(failed())?;
                return Ok(Self { path: path.to_owned(), into: Into::Device(device) });
            }
            Ok(found) if found.permissions().readonly() => {
                return Err(failed()(ErrorKind::PermissionDenied.into()));
            }
            Ok(_) => path.canonicalize().map_err(failed())?,
            Err(error) if error.kind() == ErrorKind::NotFound => path.to_owned(),
            Err(error) => return Err(failed()(error)),
        };
        let folder = match place.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        if place.file_name().is_none() {
            return Err(failed()(ErrorKind::InvalidFilename.into()));
        }
        let beside = tempfile::Builder::new()
            .prefix(".heliotrope-")
            .permissions(Permissions::from_mode(0o666)) // what the umask leaves of it, as for any new file
            .tempfile_in(folder)
            // without the name of a file that nobody asked for
            .map_err(|error| failed()(error.kind().into()))?;
        Ok(Self { path: place, into: Into::Beside(beside) })
    }

    /// Writes the text beside its place; it is there only after [`Target::finish`].
    ///
    /// # Errors
    /// Where it can't be.
    fn fill(&mut self, text: &str) -> Result<(), CommandError> {
        let done = match &mut self.into {
            Into::Beside(file) => file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()),
            Into::Device(_) => Ok(()),
        };
        done.map_err(CommandError::file(&self.path))
    }

    /// Puts the text in its place.
    ///
    /// # Errors
    /// Where it can't be.
    fn finish(self, text: &str) -> Result<(), CommandError> {
        let done = match self.into {
            Into::Beside(file) => file.persist(&self.path).map(drop).map_err(|failed| failed.error),
            Into::Device(mut device) => device.write_all(text.as_bytes()),
        };
        done.map_err(CommandError::file(&self.path))
    }
}

/// Makes ready to write results, each into a file of its own.
///
/// # Errors
/// Where one could not be written, or two are to go into one file.
pub(super) fn open<const N: usize>(paths: [Option<&PathBuf>; N]) -> Result<[Option<Target>; N], CommandError> {
    for (i, path) in paths.iter().enumerate().filter_map(|(i, path)| Some((i, (*path)?))) {
        if paths[..i].contains(&Some(path)) {
            return Err(CommandError::Usage(format!("{}: two results can't go into one file", path.display())));
        }
    }
    let mut targets = [const { None }; N];
    for (target, path) in targets.iter_mut().zip(paths) {
        *target = path.map(|path| Target::open(path)).transpose()?;
    }
    Ok(targets)
}

/// Writes results, of which only those are made that are wanted: first all beside their places, then all into them.
///
/// # Errors
/// Where one can't be written: then none is in its place, but for those that were moved there before it.
pub(super) fn place<const N: usize>(
    targets: [Option<Target>; N],
    texts: [&dyn Fn() -> String; N],
) -> Result<(), CommandError> {
    let mut written = Vec::new();
    for (target, text) in targets.into_iter().zip(texts) {
        if let Some(mut target) = target {
            let text = text();
            target.fill(&text)?;
            written.push((target, text));
        }
    }
    written.into_iter().try_for_each(|(target, text)| target.finish(&text))
}

/// Prints to standard output. Who reads it may have had enough (`| head`): then the rest is not wanted, and no mistake.
///
/// # Errors
/// Where it can't be written for another reason.
pub(super) fn print(text: &str) -> Result<(), CommandError> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(CommandError::File { path: "standard output".to_owned(), error })
        }
        _ => Ok(()),
    }
}
