//! Accelerator profiles.
