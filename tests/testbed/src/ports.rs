//! Ports for servers that are told theirs before they start. One that is free when it is asked for may be taken a moment
//! later: by a connection that goes out, or by another testbed. So they are taken from below those that connections
//! get, and each is held by a lock for as long as the testbed lives.

use crate::Error;
use std::fs::File;
use std::net::TcpListener;
use std::ops::Range;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below what Linux gives to connections unless it is told otherwise, and above what services use.
const RANGE: Range<u16> = 20_000..32_000;

/// Ports that no other testbed on this machine takes while this lives.
#[derive(Debug)]
pub(crate) struct Ports<const N: usize> {
    pub(crate) numbers: [u16; N],
    // each is released as it is dropped, and where we are killed
    _locks: Vec<File>,
}

impl<const N: usize> Ports<N> {
    pub(crate) fn take() -> Result<Self, Error> {
        Self::take_from(RANGE)
    }

    fn take_from(range: Range<u16>) -> Result<Self, Error> {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let count = range.end - range.start;
        // programs begin at different places, so that they rarely meet
        let first = u16::try_from(std::process::id() * 97 % u32::from(count)).unwrap_or(0);
        let folder = std::env::temp_dir().join("heliotrope-ports");
        std::fs::create_dir_all(&folder)?;
        let (mut numbers, mut locks) = ([0; N], Vec::new());
        for number in &mut numbers {
            for _ in 0..count {
                let port = range.start + (first + NEXT.fetch_add(1, Ordering::Relaxed) % count) % count;
                // a lock that is not ours to open is another user's: its port too
                let Ok(lock) = File::options().create(true).append(true).open(folder.join(port.to_string())) else {
                    continue;
                };
                if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
                    *number = port;
                    locks.push(lock);
                    break;
                }
            }
        }
        if numbers.contains(&0) {
            let why = format!("no {N} free ports in {range:?} on 127.0.0.1");
            return Err(Error::System(std::io::Error::other(why)));
        }
        Ok(Self { numbers, _locks: locks })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn many_that_take_ports_at_once_get_different_ones() {
        let all: Vec<Ports<6>> = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..20).map(|_| scope.spawn(|| Ports::take().unwrap())).collect();
            takers.into_iter().map(|taker| taker.join().unwrap()).collect()
        });
        let different: BTreeSet<u16> = all.iter().flat_map(|ports| ports.numbers).collect();
        assert_eq!(different.len(), 120);
    }

    #[test]
    fn a_port_that_is_in_use_is_not_given() {
        let first: Ports<1> = Ports::take().unwrap();
        let [port] = first.numbers;
        assert!(Ports::<1>::take_from(port..port + 1).is_err(), "another testbed has it");
        drop(first);
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        assert!(Ports::<1>::take_from(port..port + 1).is_err(), "some other program has it");
        drop(listener);
        assert!(Ports::<1>::take_from(port..port + 1).is_ok());
    }
}
