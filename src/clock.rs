//! The shell's one clock. `core` has none: time enters it as a value.

/// What time it is.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
pub fn now() -> crate::units::Moment {
    jiff::Timestamp::now().into()
}

/// How long ago the machine booted, time asleep included (`CLOCK_BOOTTIME`).
///
/// Should the system not tell, which no Linux does, it is the end of time: whatever has an end has reached it.
#[must_use]
pub fn boot() -> crate::units::BootMillis {
    let Ok(time) = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME) else {
        return crate::units::BootMillis(u64::MAX);
    };
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec()).unwrap_or(0);
    crate::units::BootMillis(seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000))
}

/// Measures wall time, for `--timings` only.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// Milliseconds since the start.
    #[must_use]
    pub fn millis(self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
