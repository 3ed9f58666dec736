//! What the node's accelerators are known to be, at worst. Values in, values out.

use super::divide::Device;
use crate::actuator::protocol::{CLOCK_STEP, Category, GpuView, Obedience, Observation, Phase, Range};
use crate::api::NodePowerSpec;
use crate::core::divide::Scale;
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
    /// What its clock is locked at, and what it is, in MHz.
    pub clock: Option<(u32, Option<u32>)>,
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
    /// It is over, and was set right.
    pub past: bool,
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
    /// No lower limit is set on an accelerator.
    pub lowest: Watts,
}

impl Expected {
    /// What the controller says of a node.
    #[must_use]
    pub fn of(spec: &NodePowerSpec) -> Self {
        Self {
            accelerators: usize::try_from(spec.accelerators).unwrap_or(0),
            ceiling: Watts(spec.ceiling_watts),
            scale: spec.scale(),
            lowest: Watts(spec.lowest_limit_watts.unwrap_or(0)),
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
        // one that is lost is still known from before, and told as unreadable too
        let strange = |index: u32| gpus.iter().all(|gpu| gpu.index != index);
        let unreadable = observation.unreadable.iter().filter(|gpu| strange(gpu.index)).count();
        let missing = expected.accelerators.saturating_sub(gpus.len()).max(unreadable);
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
        clock: view.hold.clock_lock_megahertz.map(|locked| (locked, fresh.and_then(|reading| reading.clock_megahertz))),
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
        return Some(Trouble { word, text: format!("{name}: {}", fault.message), past: false });
    }
    let Some(enforced) = enforced else {
        let age = view.reading.as_ref().map_or(0, |reading| now.since(reading.at_boot_millis));
        let text = format!("{name}: its limit was last read {age} ms ago");
        return Some(Trouble { word: "NotRead", text, past: false });
    };
    let limit = view.hold.limit_watts?;
    if view.hold.obedience == Obedience::NotApplied {
        return Some(Trouble {
            word: "NotApplied",
            text: format!("{name}: {limit} was set and accepted, {enforced} is in force"),
            past: false,
        });
    }
    if enforced > limit && view.hold.obedience == Obedience::Holds {
        let text = format!("{name}: {limit} was set, another raised it to {enforced}");
        return Some(Trouble { word: "RaisedByOther", text, past: false });
    }
    let clock = view.reading.as_ref().and_then(|reading| reading.clock_megahertz);
    if let Some((locked, clock)) =
        view.hold.clock_lock_megahertz.zip(clock).filter(|(locked, clock)| *clock > locked + CLOCK_STEP)
    {
        let text = format!("{name}: its clock was locked at {locked} MHz and is {clock}; its limit of {limit} holds");
        return Some(Trouble { word: "ClockAbove", text, past: false });
    }
    let raised = view.hold.last_raised?;
    // told for a minute: it is set again within a period, and would never be seen
    let ago = now.since(raised.at_boot_millis);
    (ago < 60_000).then(|| Trouble {
        word: "RaisedByOther",
        past: true,
        text: format!(
            "{name}: {limit} was set, {} was found {} s ago and set back; {} times so far",
            raised.found_watts,
            ago / 1000,
            view.hold.raised_by_other
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actuator::protocol::{DrawKind, DrawView, Fault, HoldView, Identity, Reading, Unreadable};

    const NOW: BootMillis = BootMillis(100_000);

    fn view(index: u32, enforced: i64, at: u64) -> GpuView {
        GpuView {
            gpu: Identity { uuid: format!("GPU-{index}"), index, model: "H100".to_owned(), slices: Vec::new() },
            range: Some(Range { min_watts: Watts(200), max_watts: Watts(700), default_watts: Watts(700) }),
            highest_watts: Some(Watts(700)),
            reading: Some(Reading {
                at_boot_millis: BootMillis(at),
                set_watts: Some(Watts(enforced)),
                enforced_watts: Some(Watts(enforced)),
                draw: Some(DrawView {
                    milliwatts: 250_500,
                    kind: DrawKind::Instant,
                    changed_at_boot_millis: BootMillis(at),
                }),
                energy_millijoules: None,
                clock_megahertz: None,
                throttling: Vec::new(),
            }),
            hold: HoldView {
                phase: Phase::Held,
                limit_watts: Some(Watts(enforced)),
                ends_at_boot_millis: Some(NOW.plus(9_000)),
                fall_watts: Some(Watts(300)),
                sequence: Some(1),
                clock_lock_megahertz: None,
                obedience: Obedience::Holds,
                raised_by_other: 0,
                last_raised: None,
            },
            faults: Vec::new(),
        }
    }

    fn seen(gpus: Vec<GpuView>, unreadable: &[u32]) -> Hardware {
        let fault = || Fault { category: Category::Lost, message: "lost".to_owned(), for_millis: None };
        let unreadable = unreadable.iter().map(|index| Unreadable { index: *index, fault: fault() }).collect();
        let observation = Observation { now_boot_millis: NOW, sequence: None, gpus, unreadable, listing: None };
        Hardware::seen(&observation, &expected(), NOW)
    }

    fn expected() -> Expected {
        let scale = Scale { host: Watts(1000), overshoot: 100 };
        Expected { accelerators: 2, ceiling: scale.node(Watts(1500)), scale, lowest: Watts::ZERO }
    }

    #[test]
    fn what_is_read_counts_as_it_is_and_what_is_not_with_its_highest() {
        let scale = expected().scale;
        let fresh = |index| view(index, 400, NOW.0 - 500);
        let both = seen(vec![fresh(0), fresh(1)], &[]);
        assert_eq!((both.enforced(scale), both.missing), (Watts(1000 + 880), 0));
        assert_eq!(both.draw(scale), Watts(1000 + 251 + 251));
        let at = |clock: u32| {
            let mut gpu = fresh(1);
            gpu.hold.clock_lock_megahertz = Some(1200);
            gpu.reading.as_mut().unwrap().clock_megahertz = Some(clock);
            let gpu = seen(vec![fresh(0), gpu], &[]).gpus.remove(1);
            assert_eq!(gpu.clock, Some((1200, Some(clock))));
            gpu.fault.map(|fault| fault.text)
        };
        assert_eq!(at(1210), None, "clocks come in steps");
        assert_eq!(
            at(1800).unwrap(),
            "GPU 1 (GPU-1): its clock was locked at 1200 MHz and is 1800; its limit of 400 W holds"
        );
        let stale = seen(vec![fresh(0), view(1, 400, NOW.0 - 2_001)], &[]);
        assert_eq!(stale.enforced(scale), Watts(1000 + 1210));
        assert_eq!(stale.gpus[1].fault.as_ref().map(|fault| fault.word), Some("NotRead"));
        let mut lost = fresh(1);
        lost.faults = vec![Fault { category: Category::Lost, message: "off the bus".to_owned(), for_millis: None }];
        let lost = seen(vec![fresh(0), lost], &[1]);
        assert_eq!((lost.enforced(scale), lost.missing), (Watts(1000 + 1210), 0), "it is not counted twice");
        let gone = seen(vec![fresh(0)], &[]);
        assert_eq!((gone.enforced(scale), gone.missing), (Watts(1000 + 1265), 1), "the nameplate is 750 W");
        assert_eq!(gone.out_of_reach(), 1);
    }

    #[test]
    fn a_stale_draw_rises_to_the_most_and_is_never_nothing() {
        let worst = |last: Option<i64>, age| worst_draw(last.map(Watts), age, Watts(500), Watts(440)).0;
        assert_eq!([worst(Some(100), 0), worst(Some(100), 2_000), worst(Some(0), 0)], [100, 100, 1]);
        assert_eq!([worst(Some(100), 2_001), worst(None, 0), worst(Some(500), 9_000)], [440, 440, 500]);
        assert_eq!(worst_draw(Some(Watts(10)), 4_000, Watts(50), Watts(440)), Watts(210));
    }
}
