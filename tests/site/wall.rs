//! The wall clock of our own processes, which a test can step. What runs inside the test's process keeps the true one.

use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Wall {
    library: Option<PathBuf>,
    file: PathBuf,
}

impl Wall {
    /// Makes the shim that is loaded before the C library; the compiler is the one that Rust links with.
    pub fn new(folder: &Path) -> Self {
        let (library, file) = (folder.join("libwall.so"), folder.join("wall"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/site/wall.c");
        let built = Command::new("cc").args(["-O1", "-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
        let wall = Self { library: built.is_ok_and(|status| status.success()).then_some(library), file };
        wall.step(0);
        wall
    }

    /// Can clocks be stepped here?
    pub fn works(&self) -> bool {
        let Some(_) = &self.library else { return false };
        let read = || {
            let mut command = Command::new("date");
            self.of(&mut command);
            let output = command.arg("+%s").output().ok()?;
            String::from_utf8(output.stdout).ok()?.trim().parse::<i64>().ok()
        };
        let Some(before) = read() else { return false };
        self.step(600);
        let after = read();
        self.step(0);
        after.is_some_and(|after| after - before >= 599)
    }

    /// From now on the wall clock of these processes is so many seconds ahead.
    pub fn step(&self, seconds: i64) {
        // in place: it is mapped
        if self.file.exists() {
            use std::os::unix::fs::FileExt;
            let file = std::fs::File::options().write(true).open(&self.file).unwrap();
            file.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
        } else {
            std::fs::write(&self.file, seconds.to_ne_bytes()).unwrap();
        }
    }

    /// Has a program see this wall clock.
    pub fn of(&self, command: &mut Command) {
        if let Some(library) = &self.library {
            command.env("LD_PRELOAD", library).env("HELIOTROPE_TEST_WALL", &self.file);
        }
    }
}
