//! Any bytes, to any reader of signals: the first says which, the rest is what its server answered.

#![no_main]
#![allow(dead_code, unused_imports, reason = "the sources are Heliotrope's, of which only the readers are run here")]

extern crate self as heliotrope;

#[path = "../../src"]
mod sources {
    pub mod core;
    pub mod signals;
    pub mod units;
}
#[path = "../../tests/signals/survives.rs"]
mod survives;

pub use sources::{core, signals, units};

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static READERS: LazyLock<Vec<signals::Source>> = LazyLock::new(survives::readers);

fuzz_target!(|bytes: &[u8]| {
    let Some((which, bytes)) = bytes.split_first() else { return };
    // letters, so that seeds can be made in a shell
    match which.wrapping_sub(b'A') {
        0 => survives::holds_unpacked(bytes, signals::MOST_BYTES),
        1 => drop(signals::token(bytes)),
        other => {
            if let Some(source) = READERS.get(usize::from(other) - 2) {
                survives::holds(source, bytes);
            }
        }
    }
});
