//! What the actuator asks of a node's accelerators, whoever made them, and how what they answer is judged.
//!
//! A maker's library implements [`Devices`] and [`Device`]; the rest of the room knows these alone.

use crate::units::Watts;
use serde::{Deserialize, Serialize};

/// Above how many times its own maximum a device's reading is taken for nonsense.
/// 10: overshoots of some 20 % over a limit are real (A40 at 100 W: +21 %), broken sensors are off by powers of ten.
pub const ABSURD_TIMES: i64 = 10;

/// No accelerator is built for more; a "maximum" above it is nonsense. A whole rack of them draws 130 kW.
const MOST: Watts = Watts(20_000);

/// A node's devices of one maker.
pub trait Devices: Send + Sync {
    /// All that there are now.
    ///
    /// # Errors
    /// When the maker's library can't tell at all; a single device that can't be told of is in [`Listing::unreadable`].
    fn list(&self) -> Result<Listing, DeviceError>;

    /// Opens one for the thread that will make all calls to it.
    ///
    /// # Errors
    /// As the maker's library has it: lost, not permitted...
    fn open(&self, uuid: &str) -> Result<Box<dyn Device>, DeviceError>;
}

/// One device. Its calls may hang; they are made by one thread alone.
pub trait Device: Send {
    /// What limits it takes.
    ///
    /// # Errors
    /// As the maker's library has it.
    fn range(&mut self) -> Result<Range, DeviceError>;

    /// The limit that was set on it, whatever else holds it lower.
    ///
    /// # Errors
    /// As the maker's library has it; `NotSupported` where only the enforced one is known.
    fn set_watts(&mut self) -> Result<Watts, DeviceError>;

    /// The limit in force: the least of what firmware, driver and BMC say.
    ///
    /// # Errors
    /// As the maker's library has it.
    fn enforced_watts(&mut self) -> Result<Watts, DeviceError>;

    /// What it draws.
    ///
    /// # Errors
    /// As the maker's library has it.
    fn draw(&mut self) -> Result<Draw, DeviceError>;

    /// Its energy counter, in millijoules since the driver was loaded.
    ///
    /// # Errors
    /// As the maker's library has it.
    fn energy_millijoules(&mut self) -> Result<u64, DeviceError>;

    /// Its compute clock now, in MHz.
    ///
    /// # Errors
    /// As the maker's library has it.
    fn clock_megahertz(&mut self) -> Result<u32, DeviceError>;

    /// Why its clocks are lower than they could be.
    ///
    /// # Errors
    /// As the maker's library has it.
    fn throttling(&mut self) -> Result<Vec<Throttle>, DeviceError>;

    /// Sets its limit. That it was accepted does not mean that it holds: read it back.
    ///
    /// # Errors
    /// As the maker's library has it.
    fn set_limit(&mut self, limit: Watts) -> Result<(), DeviceError>;

    /// Keeps its compute clock at or below so many MHz.
    ///
    /// # Errors
    /// As the maker's library has it.
    fn lock_clock(&mut self, megahertz: u32) -> Result<(), DeviceError>;

    /// Lets its compute clock go.
    ///
    /// # Errors
    /// As the maker's library has it.
    fn reset_clock(&mut self) -> Result<(), DeviceError>;
}

/// What a maker's library sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Devices that can be opened.
    pub devices: Vec<Identity>,
    /// Indices of devices that are there and can't be told of, each with why.
    pub unreadable: Vec<(u32, DeviceError)>,
}

/// Which device it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Identity {
    /// The maker's name for it, the same across reboots.
    pub uuid: String,
    /// Its place now. May change with a reboot, or when another device is lost.
    pub index: u32,
    /// Its model.
    pub model: String,
    /// The slices that it is cut into (MIG). They have no limit of their own: this device's holds for all.
    #[serde(default)]
    pub slices: Vec<String>,
}

/// The limits that a device takes, in whole watts within what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Range {
    /// The lowest.
    pub min_watts: Watts,
    /// The highest.
    pub max_watts: Watts,
    /// What it goes back to when its driver is loaded anew.
    pub default_watts: Watts,
}

/// A draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    /// Milliwatts.
    pub milliwatts: u64,
    /// Over which time.
    pub kind: DrawKind,
}

/// Over which time a draw is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DrawKind {
    /// At this instant.
    Instant,
    /// An average of the device's own making, about the last second.
    Average,
}

/// Why a device's clocks are lower than they could be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Throttle {
    /// It has nothing to do.
    Idle,
    /// Somebody set clocks.
    ClocksSet,
    /// Its power limit.
    PowerLimit,
    /// Hardware slowed it down: heat, a power brake, or too much draw.
    HardwareSlowdown,
    /// It keeps pace with others.
    SyncBoost,
    /// Heat, seen by the driver.
    Thermal,
    /// Heat, seen by the hardware.
    HardwareThermal,
    /// The power brake of its board.
    PowerBrake,
    /// A display's clock.
    Display,
}

/// What kind of failure it is. The names are stable: they are labels of metrics and reasons of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Category {
    /// We may not.
    NoPermission,
    /// The device has fallen off the bus, or must be reset.
    Lost,
    /// The device does not take this value.
    OutOfRange,
    /// The device can't do this.
    NotSupported,
    /// The call did not come back in time.
    TimedOut,
    /// The device answers what can't be.
    Absurd,
    /// Anything else.
    Other,
}

/// What a device, or its library, could not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{doing}: {message}")]
pub struct DeviceError {
    /// Its kind.
    pub category: Category,
    /// What was asked of it.
    pub doing: &'static str,
    /// What it said.
    pub message: String,
}

impl DeviceError {
    /// An answer that can't be.
    fn absurd(doing: &'static str, message: String) -> Self {
        Self { category: Category::Absurd, doing, message }
    }
}

/// Is this a range that a device can have?
///
/// # Errors
/// `Absurd`, with the numbers.
pub fn judge_range(range: Range) -> Result<Range, DeviceError> {
    let Range { min_watts, max_watts, default_watts } = range;
    if min_watts <= Watts::ZERO || max_watts < min_watts || max_watts > MOST || default_watts <= Watts::ZERO {
        let message = format!("{min_watts} to {max_watts}, default {default_watts}, is no range of an accelerator");
        return Err(DeviceError::absurd("reading its range", message));
    }
    Ok(range)
}

/// Is this a limit that such a device can have in force? It may lie below its range: a BMC can hold it there.
///
/// # Errors
/// `Absurd`, with the numbers.
pub fn judge_limit(limit: Watts, range: Range) -> Result<Watts, DeviceError> {
    if limit <= Watts::ZERO || limit.0 > range.max_watts.0.saturating_mul(ABSURD_TIMES) {
        let message = format!("{limit} in force, of at most {}: not believed", range.max_watts);
        return Err(DeviceError::absurd("reading its limit", message));
    }
    Ok(limit)
}

/// Is this a draw that such a device can have? One that answers draws something.
///
/// # Errors
/// `Absurd`, with the numbers.
pub fn judge_draw(draw: Draw, range: Range) -> Result<Draw, DeviceError> {
    let most = u64::try_from(range.max_watts.0.saturating_mul(ABSURD_TIMES)).unwrap_or(0).saturating_mul(1000);
    if draw.milliwatts == 0 || draw.milliwatts > most {
        let message = format!("draws {} mW, of at most {}: not believed", draw.milliwatts, range.max_watts);
        return Err(DeviceError::absurd("reading its draw", message));
    }
    Ok(draw)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: Range = Range { min_watts: Watts(200), max_watts: Watts(700), default_watts: Watts(700) };

    #[test]
    fn a_range_must_be_one() {
        assert!(judge_range(RANGE).is_ok());
        let wrong = [(0, 700, 700), (-200, 700, 700), (700, 200, 700), (200, 4_294_967, 700), (200, 700, 0)];
        for (min, max, default) in wrong {
            let range = Range { min_watts: Watts(min), max_watts: Watts(max), default_watts: Watts(default) };
            let error = judge_range(range).unwrap_err();
            assert_eq!(error.category, Category::Absurd, "{range:?}");
        }
    }

    #[test]
    fn a_limit_of_nothing_or_of_ten_times_the_most_is_not_believed() {
        for (limit, good) in [(0, false), (-1, false), (1, true), (700, true), (7000, true), (7001, false)] {
            assert_eq!(judge_limit(Watts(limit), RANGE).is_ok(), good, "{limit}");
        }
    }

    #[test]
    fn a_draw_of_nothing_or_of_a_wrapped_negative_is_not_believed() {
        let wrapped = u64::from(u32::MAX - 50_000);
        for (milliwatts, good) in [(0, false), (1, true), (850_000, true), (7_000_001, false), (wrapped, false)] {
            assert_eq!(judge_draw(Draw { milliwatts, kind: DrawKind::Instant }, RANGE).is_ok(), good, "{milliwatts}");
        }
    }
}
