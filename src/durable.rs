//! Small files that survive a crash at any moment, and are not believed where they are torn or were edited.
//!
//! One file, replaced whole (written beside, synced, renamed, folder synced). Its first line has a word that tells what it is,
//! and a checksum of the rest.

use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Larger than this it is not ours: what is kept so is a few kilobytes.
const LONGEST: u64 = 1024 * 1024;

/// What was found in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<T> {
    /// No file: nothing was ever kept here.
    Nothing,
    /// A file that is not to be believed, and why.
    Torn(String),
    /// What was written.
    Kept(T),
}

/// Reads a file that [`save`] wrote, and has its body judged.
pub fn load<T>(file: &Path, magic: &str, judge: impl FnOnce(&str) -> Result<T, String>) -> Found<T> {
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes));
    match read {
        Err(error) if error.kind() == ErrorKind::NotFound => Found::Nothing,
        Err(error) => Found::Torn(format!("it can't be read: {error}")),
        Ok(_) => body(&bytes, magic).and_then(judge).map_or_else(Found::Torn, Found::Kept),
    }
}

fn body<'a>(bytes: &'a [u8], magic: &str) -> Result<&'a str, String> {
    if bytes.len() as u64 > LONGEST {
        return Err(format!("it is longer than {LONGEST} bytes"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?;
    let (head, body) = text.split_once('\n').ok_or("it has no first line")?;
    let sum = head.strip_prefix(magic).ok_or_else(|| format!("its first line does not begin with {magic}"))?;
    if sum.trim() == checksum(body) { Ok(body) } else { Err("its checksum is another".to_owned()) }
}

/// Writes a file whole, so that a reader finds the old one or the new one, whenever the machine stops.
///
/// # Errors
/// As the file system has it; the old one is still there then.
pub fn save(folder: &Path, name: &str, magic: &str, body: &str) -> std::io::Result<()> {
    let beside = folder.join(format!("{name}.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(format!("{magic} {}\n{body}", checksum(body)).as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&beside, folder.join(name))?;
    File::open(folder)?.sync_all()
}

fn checksum(body: &str) -> String {
    Sha256::digest(body.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: &str = "heliotrope-test-1";

    fn read(bytes: &[u8]) -> Result<String, String> {
        body(bytes, MAGIC).map(str::to_owned)
    }

    #[test]
    fn a_file_cut_anywhere_or_with_any_bit_turned_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.state");
        assert_eq!(load(&file, MAGIC, |body| Ok(body.to_owned())), Found::Nothing);
        let said = r#"{"gpus": {"GPU-a": {"limitWatts": 400}}}"#;
        save(folder.path(), "x.state", MAGIC, said).unwrap();
        assert_eq!(load(&file, MAGIC, |body| Ok(body.to_owned())), Found::Kept(said.to_owned()));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        let whole = std::fs::read(&file).unwrap();
        for cut in 0..whole.len() {
            assert!(read(&whole[..cut]).is_err(), "cut after {cut} bytes");
        }
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut turned = whole.clone();
                turned[at] ^= 1 << bit;
                // the blank between the checksum and its line's end is no part of what is said
                let found = read(&turned);
                assert!(found.is_err() || found.as_deref() == Ok(said), "bit {bit} of byte {at}");
            }
        }
        assert!(body(&whole, "heliotrope-other-1").unwrap_err().contains("heliotrope-other-1"));
    }
}
