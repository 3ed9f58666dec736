//! `heliotrope crds`.

use super::CommandError;
use super::output::print;
use crate::api::crds::files;
use clap::Args;
use std::path::PathBuf;

/// The arguments of `crds`.
#[derive(Debug, Args)]
pub struct Crds {
    /// Write one file for each kind into this folder instead of all to standard output.
    #[arg(long)]
    dir: Option<PathBuf>,
}

impl Crds {
    pub(super) fn run(self) -> Result<(), CommandError> {
        let files = files().map_err(|error| CommandError::Usage(error.to_string()))?;
        for (name, text) in files {
            match &self.dir {
                Some(dir) => {
                    std::fs::create_dir_all(dir).map_err(CommandError::file(dir))?;
                    let path = dir.join(name);
                    std::fs::write(&path, text).map_err(CommandError::file(&path))?;
                }
                None => print(&format!("---\n{text}"))?,
            }
        }
        Ok(())
    }
}
