//! One process that ends when it should: with its test, and by its id.

use crate::Error;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};

/// A running program. It is killed when this is dropped: a control plane has nothing to save.
#[derive(Debug)]
pub(crate) struct Process {
    child: Option<Child>,
    id: u32,
}

type Request = (Command, Sender<std::io::Result<Child>>);

/// Starts a program from a thread that lives as long as the test program. The kernel ends a child with the *thread*
/// that started it, and a test's own thread ends before what it started may.
fn spawn(command: Command) -> std::io::Result<Child> {
    static SPAWNER: OnceLock<Sender<Request>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, requests) = channel::<Request>();
        std::thread::spawn(move || {
            for (mut command, answer) in requests {
                // who asked may be gone; then the child ends as this value is dropped, unheard
                let _ = answer.send(command.spawn());
            }
        });
        sender
    });
    let (answer, child) = channel();
    let gone = |_| std::io::Error::other("the thread that starts programs is gone");
    spawner.send((command, answer)).map_err(|_| gone(()))?;
    child.recv().map_err(|_| gone(()))?
}

impl Process {
    pub(crate) fn start(program: &Path, arguments: &[String], log: &Path, ends_with_us: bool) -> Result<Self, Error> {
        let file = File::create(log)?;
        // setpriv (util-linux) has the kernel kill the program when we are killed ourselves; where it is missing,
        // only an orderly end is
        let mut command = if ends_with_us && Path::new("/usr/bin/setpriv").exists() {
            let mut command = Command::new("/usr/bin/setpriv");
            command.args(["--pdeathsig", "KILL"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.args(arguments).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = spawn(command)?;
        Ok(Self { id: child.id(), child: Some(child) })
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_))))
    }

    /// Kills it, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill(); // it may have ended by itself
            let _ = child.wait();
        }
    }

    /// Lets it go on.
    pub(crate) fn leave(mut self) {
        self.child = None;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
