//! Writes what is held to disk, in a thread of its own: a slow disk never keeps a limit from being set.

use super::hold::Hold;
use super::state::{Record, State};
use crate::units::BootMillis;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Seconds between two tries to write where it failed. A full disk takes longer to mend than this.
const RETRY: Duration = Duration::from_secs(5);

/// The latest state, on its way to disk. Only the newest is written.
#[derive(Debug, Clone)]
pub struct Keeper {
    shared: Arc<Shared>,
    boot_id: String,
}

#[derive(Debug)]
struct Shared {
    desk: Mutex<Desk>,
    changed: Condvar,
}

#[derive(Debug)]
struct Desk {
    state: State,
    dirty: bool,
}

impl Keeper {
    /// Starts from what was found.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(folder: PathBuf, boot_id: String, state: State) -> std::io::Result<Self> {
        let desk = Mutex::new(Desk { state, dirty: false });
        let shared = Arc::new(Shared { desk, changed: Condvar::new() });
        let keeper = Self { shared: shared.clone(), boot_id };
        std::thread::Builder::new().name("keeper".to_owned()).stack_size(256 * 1024).spawn(move || {
            loop {
                let state = {
                    let mut desk = lock(&shared.desk);
                    while !desk.dirty {
                        desk = shared.changed.wait(desk).unwrap_or_else(PoisonError::into_inner);
                    }
                    desk.state.clone()
                };
                match state.save(&folder) {
                    Ok(()) => {
                        let mut desk = lock(&shared.desk);
                        desk.dirty = desk.state != state;
                        shared.changed.notify_all();
                    }
                    Err(error) => {
                        let folder = folder.display();
                        tracing::error!(%folder, %error, "the state can't be written: a boot guard would use an old one");
                        std::thread::sleep(RETRY);
                    }
                }
            }
        })?;
        Ok(keeper)
    }

    /// What a GPU is held to has changed.
    pub fn note(&self, uuid: &str, hold: &Hold, waits_until: Option<BootMillis>) {
        // without a sequence it was no order's: what is on disk still counts
        let (Some(sequence), Some(limit_watts), Some(fall_watts)) = (hold.sequence(), hold.limit(), hold.fall()) else {
            return;
        };
        let record = Record {
            boot_id: self.boot_id.clone(),
            sequence,
            limit_watts,
            fall_watts,
            clock_lock_megahertz: hold.clock_megahertz(),
            waits_until_boot_millis: waits_until,
        };
        let mut desk = lock(&self.shared.desk);
        if desk.state.gpus.get(uuid) != Some(&record) {
            desk.state.gpus.insert(uuid.to_owned(), record);
            desk.dirty = true;
            self.shared.changed.notify_all();
        }
    }

    /// Waits until all is on disk, or so long.
    #[must_use]
    pub fn flush(&self, at_most: Duration) -> bool {
        let desk = lock(&self.shared.desk);
        let waited = self.shared.changed.wait_timeout_while(desk, at_most, |desk| desk.dirty);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
