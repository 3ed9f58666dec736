//! The one clock of this crate.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of `CLOCK_BOOTTIME`: the plant's time. It goes on in suspend and nobody can set it.
pub(crate) fn boot_nanoseconds() -> u64 {
    nanoseconds(ClockId::Boottime)
}

/// Microseconds of Unix time, as NVML stamps samples with.
pub(crate) fn unix_microseconds() -> i64 {
    i64::try_from(nanoseconds(ClockId::Realtime) / 1_000).unwrap_or(i64::MAX)
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}
