//! How each kind of work is read, started and suspended. Pure: objects in, objects out.

pub mod checkpoint;
pub mod job;
