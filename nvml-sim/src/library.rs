//! Where the built library lies: for tests that hand it to an agent.

use crate::node::{Error, Node};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

/// What cargo calls it.
const BUILT: &str = "libnvml_sim.so";

/// The built library: beside the running program, which cargo builds into the same folder as what it depends on; else it
/// is built, as is right for a program that only knows this crate's source.
///
/// # Errors
/// Where it is not there and can't be built.
pub fn library_path() -> io::Result<PathBuf> {
    let program = env::current_exe()?;
    // .../debug/deps/test-1234 or .../debug/program or .../debug/examples/example
    let folders = || program.ancestors().skip(1).take(3);
    let there = || folders().flat_map(|dir| [dir.join("deps").join(BUILT), dir.join(BUILT)]).find(|path| path.exists());
    if let Some(path) = there() {
        return Ok(path);
    }
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let profile = folders().find_map(|dir| dir.file_name().filter(|name| *name == "debug" || *name == "release"));
    let target = folders().find(|dir| dir.ends_with("debug") || dir.ends_with("release")).and_then(Path::parent);
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--lib", "--manifest-path"]).arg(manifest);
    if profile.is_some_and(|profile| profile == "release") {
        cargo.arg("--release");
    }
    if let Some(target) = target {
        cargo.arg("--target-dir").arg(target);
    }
    let status = cargo.status()?;
    there().ok_or_else(|| {
        let where_to = program.display();
        io::Error::other(format!("no {BUILT} beside {where_to}, and `cargo build` of it ended with {status}"))
    })
}

impl Node {
    /// Puts a copy of the library into the node's folder. It finds its node there without any variable, and copies don't
    /// know of each other: so one process can be on many nodes.
    ///
    /// # Errors
    /// Where the library is not there, or can't be copied.
    pub fn install_library(&self) -> Result<PathBuf, Error> {
        let path = self.dir().join("libnvidia-ml.so.1");
        let copied = library_path().and_then(|built| fs::copy(built, &path));
        copied.map_err(|source| Error::File { what: "copy the library to", path: path.clone(), source })?;
        Ok(path)
    }
}

/// The folder that this very library was loaded from, as the kernel has it mapped; a program that has it linked in is in
/// its own folder.
pub(crate) fn beside_library() -> Option<PathBuf> {
    let here = beside_library as *const () as usize;
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    // 7f1c2a000000-7f1c2a100000 r-xp 00000000 fe:00 1234   /path/of the/library.so
    let path = maps.lines().find_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (from, to) = range.split_once('-')?;
        let address = |hex: &str| usize::from_str_radix(hex, 16).ok();
        (address(from)?..address(to)?).contains(&here).then(|| rest.find('/').map(|at| &rest[at..]))?
    })?;
    Path::new(path).parent().map(Path::to_owned)
}
