//! `testbed up` and `testbed down`: the control plane of the tests, for a person to play with.

use heliotrope_testbed::{Error, Flags, Testbed, two_rows};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let done = match std::env::args().nth(1).as_deref() {
        Some("up") => up(&folder()),
        Some("down") => down(&folder()),
        _ => Err(Error::Refused("say `testbed up` or `testbed down`".to_owned())),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("testbed: {error}");
            ExitCode::from(2)
        }
    }
}

/// Where a testbed that outlives its command keeps its files.
fn folder() -> PathBuf {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".local/state");
    state.unwrap_or_else(home).join("heliotrope-testbed")
}

fn up(folder: &Path) -> Result<(), Error> {
    let ids = folder.join("processes");
    if ids.exists() {
        return Err(Error::Refused(format!("one is up already, in {}: `make testbed-down` ends it", folder.display())));
    }
    std::fs::create_dir_all(folder)?;
    let testbed = Testbed::start_in(folder, false, Flags::default())?;
    two_rows(16).iter().try_for_each(|node| testbed.add_node(node))?;
    let lines: Vec<String> = testbed.ids().iter().map(u32::to_string).collect();
    std::fs::write(&ids, lines.join("\n"))?;
    println!(
        "16 nodes of 8 accelerators, in two rows. To use them:\n\n  export KUBECONFIG={}\n",
        testbed.kubeconfig().display()
    );
    println!("`make testbed-down` ends it.");
    testbed.leave_running();
    Ok(())
}

fn down(folder: &Path) -> Result<(), Error> {
    let ids = folder.join("processes");
    let Ok(text) = std::fs::read_to_string(&ids) else {
        println!("none is up");
        return Ok(());
    };
    for id in text.lines() {
        // an id may have been given to another program since: ours name our folder in their arguments
        let arguments = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&arguments).contains(&folder.display().to_string()) {
            Command::new("kill").args(["-KILL", id]).status()?;
        }
    }
    std::fs::remove_dir_all(folder)?;
    println!("ended");
    Ok(())
}
