//! What the node's accelerators are known to be, at worst. Values in, values out.

use super::divide::{Device, Scale};
use crate::actuator::protocol::{Category, GpuView, Obedience, Observation, Phase, Range};
use crate::api::NodePowerSpec;
use crate::units::{BootMillis, Watts};

/// A look at a limit older than this tells nothing, in milliseconds. The actuator looks each 500 ms, and calls a device hung
/// after 2 s.
pub const LIMIT_MILLIS: u64 = 2_000;

/// A draw that has not moved for longer than this is not believed, in milliseconds. 2 s: readings may be averages of one, and an
/// energy counter moves even where nothing runs.
pub const DRAW_MILLIS: u64 = 2_000;

/// One accelerator, as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// Which.
    pub uuid: String,
    /// Its place.
    pub index: u32,
    /// Its model.
    pub model: String,
    /// What limits it takes, where it could be asked.
    pub range: Option<Range>,
    /// The limit that the actuator holds it to.
    pub held: Option<Watts>,
    /// The limit in force, where that is known.
    pub enforced: Option<Watts>,
    /// The limit in force, at worst.
    pub enforced_worst: Watts,
    /// What it draws, where that is known.
    pub draw: Option<Watts>,
    /// What it draws, at worst.
    pub draw_worst: Watts,
    /// What does not work.
    pub fault: Option<Trouble>,
    /// Nobody has ordered anything of it yet.
    pub untouched: bool,
}

/// What does not work on an accelerator, with its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// In one word: a reason of conditions, a label of metrics.
    pub word: &'static str,
    /// For people.
    pub text: String,
}

/// All accelerators of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hardware {
    /// Those that are known, by their place.
    pub gpus: Vec<Gpu>,
    /// Those that should be there and are not.
    pub missing: usize,
    /// The most that one of those may be limited to.
    pub nameplate: Watts,
}

/// What is expected of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// Accelerators that it should have.
    pub accelerators: usize,
    /// The most that it can draw.
    pub ceiling: Watts,
    /// How its watts are reckoned.
    pub scale: Scale,
}

impl Expected {
    /// What the controller says of a node.
    #[must_use]
    pub fn of(spec: &NodePowerSpec) -> Self {
        Self {
            accelerators: usize::try_from(spec.accelerators).unwrap_or(0),
            ceiling: Watts(spec.ceiling_watts),
            scale: Scale {
                host: Watts(spec.host_max_watts),
                overshoot: u32::try_from(spec.overshoot_permille).unwrap_or(0),
            },
        }
    }

    /// The highest limit of an accelerator that nothing else is known of.
    #[must_use]
    pub fn nameplate(&self) -> Watts {
        let each = i64::try_from(self.accelerators.max(1)).unwrap_or(i64::MAX);
        Watts(self.scale.limits(self.ceiling).0 / each)
    }
}

impl Hardware {
    /// What an observation says, at worst: what hangs, is lost or is not there counts with its highest limit.
    #[must_use]
    pub fn seen(observation: &Observation, expected: &Expected, now: BootMillis) -> Self {
        let nameplate = expected.nameplate();
        let gpus: Vec<Gpu> =
            observation.gpus.iter().map(|view| gpu(view, expected.scale.overshoot, nameplate, now)).collect();
        let missing = expected.accelerators.saturating_sub(gpus.len()).max(observation.unreadable.len());
        let highest = gpus.iter().filter_map(|gpu| gpu.range).map(|range| range.max_watts).max();
        Self { gpus, missing, nameplate: highest.unwrap_or(nameplate).max(nameplate) }
    }

    /// What the node can draw under the limits that are in force, at worst.
    #[must_use]
    pub fn enforced(&self, scale: Scale) -> Watts {
        let known: Watts = self.gpus.iter().map(|gpu| gpu.enforced_worst).sum();
        scale.node(known + self.unseen())
    }

    /// What the node draws, at worst. The host has no meter of its own: it counts with the most that it can draw.
    #[must_use]
    pub fn draw(&self, scale: Scale) -> Watts {
        let known: Watts = self.gpus.iter().map(|gpu| gpu.draw_worst).sum();
        scale.host + known + self.unseen().plus_permille(scale.overshoot)
    }

    /// Those that limits can be set on.
    #[must_use]
    pub fn devices(&self) -> Vec<Device> {
        let device = |gpu: &Gpu| {
            let range = gpu.range?;
            Some(Device { uuid: gpu.uuid.clone(), min: range.min_watts, max: range.max_watts })
        };
        self.gpus.iter().filter_map(device).collect()
    }

    /// How many there should be that no limit can be set on: parts are kept for them.
    #[must_use]
    pub fn out_of_reach(&self) -> usize {
        self.missing + self.gpus.iter().filter(|gpu| gpu.range.is_none()).count()
    }

    fn unseen(&self) -> Watts {
        self.nameplate.times(u32::try_from(self.missing).unwrap_or(u32::MAX))
    }
}

fn gpu(view: &GpuView, overshoot: u32, nameplate: Watts, now: BootMillis) -> Gpu {
    let highest = view.range.map_or(nameplate, |range| range.max_watts);
    let fresh = view.reading.as_ref().filter(|reading| now.since(reading.at_boot_millis) <= LIMIT_MILLIS);
    let lost = view.faults.iter().any(|fault| matches!(fault.category, Category::Lost | Category::TimedOut));
    let enforced = fresh.filter(|_| !lost).and_then(|reading| reading.enforced_watts);
    let enforced_worst = enforced.unwrap_or(highest);
    let draw = view.reading.as_ref().and_then(|reading| reading.draw);
    let age = draw.map(|draw| now.since(draw.changed_at_boot_millis));
    let last = draw.map(|draw| Watts(i64::try_from(draw.milliwatts.div_ceil(1000)).unwrap_or(i64::MAX)));
    let fresh_draw = last.filter(|_| age.is_some_and(|age| age <= DRAW_MILLIS));
    let most = enforced_worst.plus_permille(overshoot);
    let slew = view.range.map_or(highest, |range| range.max_watts - range.min_watts);
    Gpu {
        uuid: view.gpu.uuid.clone(),
        index: view.gpu.index,
        model: view.gpu.model.clone(),
        range: view.range,
        held: view.hold.limit_watts,
        enforced,
        enforced_worst,
        draw: fresh_draw,
        draw_worst: worst_draw(last, age.unwrap_or(u64::MAX), slew, most),
        fault: trouble(view, enforced, now),
        untouched: view.hold.phase == Phase::Found,
    }
}

/// What something draws whose last reading is so old: last + age × slew, and no more than the most that it can. Never nothing.
///
/// `slew` is in watts a second. The whole range in one: a guess, and a slow one, for chips that go from idle to full in
/// milliseconds; what is young is believed, what is old counts at its most.
#[must_use]
pub fn worst_draw(last: Option<Watts>, age_millis: u64, slew: Watts, most: Watts) -> Watts {
    let Some(last) = last else { return most.max(Watts(1)) };
    if age_millis <= DRAW_MILLIS {
        return last.max(Watts(1));
    }
    let risen = i128::from(slew.0.max(0)) * i128::from(age_millis) / 1000;
    let worst = last + Watts(i64::try_from(risen).unwrap_or(i64::MAX));
    // a last reading above the most was an overshoot that may go on
    worst.min(most.max(last)).max(Watts(1))
}

/// The worst of what does not work on an accelerator.
fn trouble(view: &GpuView, enforced: Option<Watts>, now: BootMillis) -> Option<Trouble> {
    let name = format!("GPU {} ({})", view.gpu.index, view.gpu.uuid);
    let hard = view.faults.iter().find(|fault| fault.category != Category::NotSupported);
    if let Some(fault) = hard {
        let word = match fault.category {
            Category::NoPermission => "NoPermission",
            Category::Lost => "Lost",
            Category::OutOfRange => "OutOfRange",
            Category::NotSupported => "NotSupported",
            Category::TimedOut => "Hangs",
            Category::Absurd => "Absurd",
            Category::Other => "Fault",
        };
        return Some(Trouble { word, text: format!("{name}: {}", fault.message) });
    }
    let Some(enforced) = enforced else {
        let age = view.reading.as_ref().map_or(0, |reading| now.since(reading.at_boot_millis));
        return Some(Trouble { word: "NotRead", text: format!("{name}: its limit was last read {age} ms ago") });
    };
    let limit = view.hold.limit_watts?;
    if view.hold.obedience == Obedience::NotApplied {
        return Some(Trouble {
            word: "NotApplied",
            text: format!("{name}: {limit} was set and accepted, {enforced} is in force"),
        });
    }
    if enforced > limit && view.hold.obedience == Obedience::Holds {
        let text = format!("{name}: {limit} was set, another raised it to {enforced}");
        return Some(Trouble { word: "RaisedByOther", text });
    }
    let raised = view.hold.last_raised?;
    // told for a minute: it is set again within a period, and would never be seen
    let ago = now.since(raised.at_boot_millis);
    (ago < 60_000).then(|| Trouble {
        word: "RaisedByOther",
        text: format!(
            "{name}: {limit} was set, {} was found {} s ago and set back; {} times so far",
            raised.found_watts,
            ago / 1000,
            view.hold.raised_by_other
        ),
    })
}
