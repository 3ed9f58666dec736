//! Leaving the network: the privileged part of a node has no use for one.

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};

/// Why the network could not be left.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The privilege is missing.
    #[error(
        "can't leave the network: SYS_ADMIN is missing. Give the container that capability, or, where nothing else can \
         be done, start with --keep-network"
    )]
    NotPermitted,
    /// The kernel refuses otherwise.
    #[error("can't leave the network: {0}. --keep-network starts without that")]
    Other(Errno),
}

/// Moves the calling thread, and all that it starts from now on, into a network namespace of its own with nothing in it.
/// So it comes before any other thread. Sockets of the file system still work; containers of the pod keep theirs.
///
/// # Errors
/// When the kernel refuses.
pub fn leave() -> Result<(), NetworkError> {
    match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => Ok(()),
        Err(Errno::EPERM) => Err(NetworkError::NotPermitted),
        Err(error) => Err(NetworkError::Other(error)),
    }
}
