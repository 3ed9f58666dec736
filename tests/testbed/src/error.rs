//! What can go wrong with a testbed.

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Programs are missing.
    #[error("the testbed's programs are not there: {0}")]
    Assets(String),
    /// A program did not come up.
    #[error("{program} did not become ready; the end of its log:\n{tail}")]
    NotReady {
        /// Which.
        program: String,
        /// The end of its log.
        tail: String,
    },
    /// The API server said no.
    #[error("{0}")]
    Refused(String),
    /// Files and processes.
    #[error(transparent)]
    System(#[from] std::io::Error),
    /// Keys.
    #[error("keys could not be made: {0}")]
    Keys(#[from] rcgen::Error),
}
