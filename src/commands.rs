//! The subcommands, one file each.

mod actuator;
mod agent;
mod cluster;
mod compare;
mod controller;
mod crds;
mod curtail;
mod demo;
pub mod doctor;
mod logs;
mod output;
mod plan;
mod signals;
mod simulate;
mod stop;
mod uninstall_check;

use clap::Subcommand;

/// What heliotrope can be asked to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a scenario in virtual time and say what came of it.
    Simulate(simulate::Simulate),
    /// Run several policies on one scenario, and say what each saves of what could be saved, and what its users wait.
    Compare(compare::Compare),
    /// Simulate a day of a small illustrative site that is built in.
    Demo(demo::Demo),
    /// Watch a cluster, decide, and, where a root domain is in Enforce, start and suspend.
    Controller(controller::Controller),
    /// Have a domain draw less for a time, from now or later on: writes one CurtailmentEvent.
    Curtail(curtail::Curtail),
    /// Cancel what was curtailed. Work comes back as it is granted watts again.
    Release(curtail::Release),
    /// On a node: hold its GPUs to the watts that it was leased, through the actuator, and report what is in force.
    Agent(agent::Agent),
    /// On a node: set the limits of its GPUs as the agent orders, and let them fall when nobody renews them.
    Actuator(actuator::Actuator),
    /// Say whether Heliotrope may be uninstalled: not while a root domain enforces, or watts are leased.
    UninstallCheck(uninstall_check::UninstallCheck),
    /// Look at an installation: what is as it should be, and what to do where it is not. Changes nothing.
    Doctor(doctor::Doctor),
    /// Show what the controller has planned, and what planning afresh would change.
    Plan(plan::Plan),
    /// Say why a Job runs when it does: what is in its way, until when, and what waiting costs or saves.
    Explain(plan::Explain),
    /// Show how well each signal of the cluster is known, or try the providers of one that is not there yet.
    Signals(signals::Signals),
    /// Print or write the CustomResourceDefinitions.
    Crds(crds::Crds),
}

/// Why a command could not be carried out, in words for who typed it.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// A mistake in a document.
    #[error(transparent)]
    Yaml(#[from] crate::yaml::YamlError),
    /// A file that can't be read or written.
    #[error("{path}: {error}")]
    File {
        /// Which file.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// A policy that made a plan which must not be carried out.
    #[error(transparent)]
    Plan(#[from] crate::simulate::RefusedPlan),
    /// Anything else that was asked for and can't be.
    #[error("{0}")]
    Usage(String),
}

impl CommandError {
    /// A file that can't be read or written.
    fn file(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.display().to_string();
        move |error| Self::File { path, error }
    }
}

/// What somebody else says about it, in their words.
fn usage(error: &dyn std::fmt::Display) -> CommandError {
    CommandError::Usage(error.to_string())
}

impl Command {
    /// Does it.
    ///
    /// # Errors
    /// In words for who typed it.
    pub fn run(self) -> Result<(), CommandError> {
        match self {
            Self::Simulate(simulate) => simulate.run(),
            Self::Compare(compare) => compare.run(),
            Self::Demo(demo) => demo.run(),
            Self::Controller(controller) => controller.run(),
            Self::Curtail(curtail) => curtail.run(),
            Self::Release(release) => release.run(),
            Self::Agent(agent) => agent.run(),
            Self::Actuator(actuator) => actuator.run(),
            Self::UninstallCheck(check) => check.run(),
            Self::Doctor(doctor) => doctor.run(),
            Self::Plan(plan) => plan.run(),
            Self::Explain(explain) => explain.run(),
            Self::Signals(signals) => signals.run(),
            Self::Crds(crds) => crds.run(),
        }
    }
}
