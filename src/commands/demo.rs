//! `heliotrope demo`: the built-in site, so that a first look needs no file and no network.

use super::CommandError;
use super::output::print;
use super::simulate::{Output, simulate};
use crate::yaml::Document;
use clap::Args;
use std::path::PathBuf;

/// The arguments of `demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// Where the report goes.
    #[arg(long, default_value = "heliotrope-demo.html")]
    report: PathBuf,
}

const SITE: &str = include_str!("../../examples/seoul-ai-hall/site.yaml");
const FILES: [(&str, &str); 2] = [
    ("carbon.csv", include_str!("../../examples/seoul-ai-hall/carbon.csv")),
    ("price.csv", include_str!("../../examples/seoul-ai-hall/price.csv")),
];

impl Demo {
    pub(super) fn run(self) -> Result<(), CommandError> {
        let document = Document::parse(SITE, "examples/seoul-ai-hall/site.yaml")?;
        let read = |path: &str| {
            let file = FILES.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned());
            file.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound))
        };
        print("An illustrative site in Seoul: one day, two rows, one curtailment.\n\n")?;
        let output = Output { json: None, report: Some(self.report.clone()), trace: None, timings: false };
        simulate(&document, &read, &output)?;
        print(&format!("\nThe report is in {}: open it in a browser.\n", self.report.display()))
    }
}
