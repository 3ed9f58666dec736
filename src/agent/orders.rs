//! What the actuator is to be ordered: each accelerator's part of the node's watts, until when, and what it falls to. Values in,
//! values out.

use super::divide::{Want, scaled, whole, within_reach};
use super::readings::{Expected, Hardware};
use crate::actuator::protocol::{GpuOrder, GpuView, Order, Phase};
use crate::core::lease::Node;
use crate::units::{BootMillis, Watts};
use std::collections::BTreeMap;

/// An order that falls to what it holds needs no end; so long is written into it, in milliseconds.
const QUIET_MILLIS: u64 = 10_000;

/// An end is prolonged when it would be so much later, in milliseconds. Contact comes each 8 s at most.
const STEP_MILLIS: u64 = 200;

/// What one accelerator is to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Which.
    pub uuid: String,
    /// Its limit.
    pub limit: Watts,
    /// What it falls to when nobody prolongs that.
    pub fall: Watts,
    /// What its clock is locked at, in MHz; none lets it go.
    pub clock: Option<u32>,
}

/// What the accelerators are to hold, and what can't be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wishes {
    /// One for each that can be reached.
    pub gpus: Vec<Wish>,
    /// The minimums don't fit: what they need together, and what there is for them.
    pub short: Option<(Watts, Watts)>,
    /// Until when; none where it falls to what it holds.
    pub ends: Option<BootMillis>,
}

/// What is to be held now. None before a lease was ever accepted: hands off.
#[must_use]
pub fn wishes(
    node: &Node,
    hardware: &Hardware,
    expected: &Expected,
    (shares, clocks): (&BTreeMap<String, Watts>, &BTreeMap<String, u32>),
    found: &BTreeMap<String, Watts>,
) -> Option<Wishes> {
    let kept = node.kept();
    if kept.held.is_none() && kept.sequence == 0 {
        return None;
    }
    let mut devices = hardware.devices();
    let is_leased = kept.held.as_ref().is_some_and(|held| !held.figures.gives_back(expected.ceiling));
    // what was found is given back as it was, however low
    if is_leased {
        for device in &mut devices {
            device.min = device.min.max(expected.lowest).min(device.max);
        }
    }
    let there = |node: Watts| within_reach(expected.scale.limits(node), devices.len(), hardware.out_of_reach());
    let all = match &kept.held {
        Some(held) if held.figures.gives_back(expected.ceiling) => {
            whole(there(held.figures.watts), &devices, &Want::Found(found.clone()))
        }
        Some(held) => {
            // a share of an accelerator that is not here is nobody's: its watts are not given to others
            let known = |uuid: &String| devices.iter().any(|device| device.uuid == *uuid);
            let strangers: Watts = shares.iter().filter(|(uuid, _)| !known(uuid)).map(|(_, watts)| *watts).sum();
            whole(there(held.figures.watts) - strangers, &devices, &Want::Level(shares.clone()))
        }
        // the lease is of another boot: what is found, and less where less is in force
        None => {
            let now = hardware.gpus.iter().map(|gpu| (gpu.uuid.clone(), gpu.enforced_worst)).collect();
            whole(there(node.limit()), &devices, &Want::Found(now))
        }
    };
    let (ends, fall) = node.order();
    let now = scaled(&all, &devices, there(node.limit()));
    let low = scaled(&all, &devices, there(fall));
    let gpus = devices.iter().zip(now.limits).zip(low.limits).map(|((device, limit), fall)| Wish {
        uuid: device.uuid.clone(),
        limit,
        fall: fall.min(limit),
        clock: clocks.get(&device.uuid).copied().filter(|_| is_leased),
    });
    Some(Wishes { gpus: gpus.collect(), short: now.short, ends })
}

/// The order that brings the actuator from what it holds to what is wished; none where nothing would change.
///
/// An order with the same sequence never raises there, so it is the lease's; `seen` is the highest that the actuator took.
#[must_use]
pub fn order(wishes: &Wishes, sequence: u64, seen: Option<u64>, views: &[GpuView], now: BootMillis) -> Option<Order> {
    let sequence = sequence.max(seen.unwrap_or(0));
    let view = |wish: &Wish| views.iter().find(|view| view.gpu.uuid == wish.uuid);
    let lasting = wishes.ends.filter(|ends| *ends > now);
    let ends = |wish: &Wish| if wish.limit > wish.fall { lasting } else { None };
    let is_due = |wish: &Wish| {
        let Some(view) = view(wish) else { return false };
        let hold = &view.hold;
        let lower = |held: Option<Watts>, wished: Watts| held.is_none_or(|held| wished < held);
        let prolongs =
            ends(wish).is_some_and(|ends| hold.ends_at_boot_millis.is_none_or(|at| ends > at.plus(STEP_MILLIS)));
        hold.phase == Phase::Found
            || hold.sequence.is_none_or(|held| held < sequence)
            || lower(hold.limit_watts, wish.limit)
            || lower(hold.fall_watts, wish.fall)
            || prolongs
            // a first or a lower clock; one that is let go comes with a newer order
            || wish.clock.is_some_and(|asked| hold.clock_lock_megahertz.is_none_or(|held| asked < held))
    };
    if !wishes.gpus.iter().any(is_due) {
        return None;
    }
    let gpus = wishes.gpus.iter().map(|wish| GpuOrder {
        uuid: wish.uuid.clone(),
        // past its end it is what it falls to, whatever the node's machine says yet
        limit_watts: if wish.limit > wish.fall && lasting.is_none() { wish.fall } else { wish.limit },
        clock_lock_megahertz: wish.clock,
        ends_at_boot_millis: Some(ends(wish).unwrap_or_else(|| now.plus(QUIET_MILLIS))),
        fall_watts: Some(wish.fall),
    });
    Some(Order { sequence, gpus: gpus.collect() })
}

/// When the last read of the caps was sent that the actuator's orders tell of: they end one contact time after it. An order that
/// falls to what it holds tells nothing.
#[must_use]
pub fn contact(views: &[GpuView], limit: u64, now: BootMillis) -> Option<BootMillis> {
    let told = views.iter().filter_map(|view| {
        let hold = &view.hold;
        let falls = hold.limit_watts? > hold.fall_watts?;
        let ends = hold.ends_at_boot_millis.filter(|_| falls)?;
        Some(BootMillis(ends.0.saturating_sub(limit)).min(now))
    });
    told.min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actuator::protocol::{HoldView, Identity, Obedience, Observation, Range};
    use crate::core::divide::Scale;
    use crate::core::lease::{Figures, Held, Kept, Rules};
    use crate::units::Millis;

    const NOW: BootMillis = BootMillis(100_000);

    fn view(phase: Phase, sequence: Option<u64>, limit: i64, fall: i64, ends: Option<u64>) -> GpuView {
        let asked = phase != Phase::Found;
        GpuView {
            gpu: Identity { uuid: "GPU-0".to_owned(), index: 0, model: String::new(), slices: Vec::new() },
            range: None,
            highest_watts: None,
            reading: None,
            hold: HoldView {
                phase,
                limit_watts: asked.then_some(Watts(limit)),
                ends_at_boot_millis: ends.map(BootMillis),
                fall_watts: asked.then_some(Watts(fall)),
                sequence,
                clock_lock_megahertz: None,
                obedience: Obedience::Holds,
                raised_by_other: 0,
                last_raised: None,
            },
            faults: Vec::new(),
        }
    }

    fn wishes(limit: i64, fall: i64, ends: Option<u64>) -> Wishes {
        let wish = Wish { uuid: "GPU-0".to_owned(), limit: Watts(limit), fall: Watts(fall), clock: None };
        Wishes { gpus: vec![wish], short: None, ends: ends.map(BootMillis) }
    }

    /// Two that take 100 to 300 W, under a lease with these watts, of which it falls to 260; none lower than `lowest` is to be set.
    fn leased(watts: i64, lowest: i64) -> Vec<(i64, i64, Option<u32>)> {
        let view = |index: u32| GpuView {
            gpu: Identity { uuid: format!("GPU-{index}"), index, model: "A40".to_owned(), slices: Vec::new() },
            range: Some(Range { min_watts: Watts(100), max_watts: Watts(300), default_watts: Watts(300) }),
            ..view(Phase::Found, None, 0, 0, None)
        };
        let scale = Scale { host: Watts::ZERO, overshoot: 0 };
        let expected = Expected { accelerators: 2, ceiling: Watts(600), scale, lowest: Watts(lowest) };
        let seen = Observation {
            now_boot_millis: NOW,
            sequence: None,
            gpus: vec![view(0), view(1)],
            unreadable: Vec::new(),
            listing: None,
        };
        let hardware = Hardware::seen(&seen, &expected, NOW);
        let figures = Figures { floor: Watts(200), safe: Watts(260), ..Figures::flat(Watts(watts)) };
        let figures = if watts < 600 { figures } else { Figures::flat(Watts(watts)) };
        let held = Held { sequence: 5, figures, steps: Vec::new(), ends: NOW.plus(1000) };
        let kept = Kept { boot: 1, sequence: 5, cap: None, held: Some(held) };
        let node = Node::start(Rules::ALL, Millis(25_000), kept, (1, 1), Watts(watts), Some(NOW), NOW);
        let of = |limits: [(u32, i64); 2]| limits.map(|(index, limit)| (format!("GPU-{index}"), Watts(limit))).into();
        let (shares, clocks) = (of([(0, 300), (1, 125)]), BTreeMap::from([("GPU-1".to_owned(), 900)]));
        let found = of([(0, 300), (1, 100)]);
        let wishes = super::wishes(&node, &hardware, &expected, (&shares, &clocks), &found).unwrap();
        wishes.gpus.iter().map(|wish| (wish.limit.0, wish.fall.0, wish.clock)).collect()
    }

    #[test]
    fn no_limit_is_set_below_the_lowest_of_the_profile_but_one_that_was_found() {
        assert_eq!(leased(425, 0), [(300, 153, None), (125, 106, Some(900))]);
        assert_eq!(leased(425, 125), [(300, 135, None), (125, 125, Some(900))]);
        assert_eq!(leased(600, 125), [(300, 300, None), (100, 100, None)], "given back as it was, its clock too");
    }

    #[test]
    fn an_order_is_sent_when_something_would_change() {
        let held = |limit, fall, ends| view(Phase::Held, Some(5), limit, fall, Some(ends));
        let sent = |wishes: Wishes, view: GpuView| {
            let order = order(&wishes, 5, Some(5), &[view], NOW)?;
            let gpu = order.gpus[0].clone();
            Some((order.sequence, gpu.limit_watts.0, gpu.fall_watts.unwrap().0, gpu.ends_at_boot_millis.unwrap().0))
        };
        let to = |limit| wishes(limit, 300, Some(125_000));
        assert_eq!(sent(to(400), view(Phase::Found, None, 0, 0, None)), Some((5, 400, 300, 125_000)));
        assert_eq!(sent(to(400), held(400, 300, 125_000)), None, "it is so already");
        assert_eq!(sent(to(400), held(400, 300, 117_000)), Some((5, 400, 300, 125_000)), "prolonged");
        assert_eq!(sent(to(350), held(400, 300, 125_000)), Some((5, 350, 300, 125_000)), "lowered");
        assert_eq!(sent(to(500), held(400, 300, 125_000)), None, "this sequence can't raise");
        let locked = |wished, held: Option<u32>| {
            let mut wishes = to(400);
            wishes.gpus[0].clock = wished;
            let mut view = view(Phase::Held, Some(5), 400, 300, Some(125_000));
            view.hold.clock_lock_megahertz = held;
            order(&wishes, 5, Some(5), &[view], NOW).map(|order| order.gpus[0].clock_lock_megahertz)
        };
        assert_eq!(locked(Some(900), None), Some(Some(900)), "a first clock");
        assert_eq!(locked(Some(900), Some(1400)), Some(Some(900)), "a lower one");
        assert_eq!(
            [(Some(900), 900), (Some(1400), 900), (None, 900)].map(|(to, held)| locked(to, Some(held))),
            [None; 3]
        );
        assert!(sent(to(500), view(Phase::Held, Some(4), 400, 300, Some(125_000))).is_some(), "a newer one can");
        assert!(sent(to(400), held(400, 350, 125_000)).is_some(), "it is to fall lower");
        // deaf: it holds what it falls to, without an end
        assert_eq!(sent(wishes(300, 300, Some(90_000)), held(400, 300, 100_500)), Some((5, 300, 300, 110_000)));
        assert_eq!(sent(wishes(300, 300, None), view(Phase::Fallen, Some(5), 300, 300, None)), None);
        // past its end, whatever else is said
        assert_eq!(sent(to(400), view(Phase::Fallen, Some(5), 300, 300, None)).map(|sent| sent.1), Some(400));
        let late = wishes(400, 300, Some(NOW.0));
        assert_eq!(sent(late, held(400, 310, 125_000)).map(|sent| sent.1), Some(300));
    }

    #[test]
    fn an_order_is_never_below_what_the_actuator_took() {
        let view = view(Phase::Held, Some(9), 500, 300, Some(125_000));
        let order = order(&wishes(400, 300, Some(125_000)), 5, Some(9), &[view], NOW).unwrap();
        assert_eq!(order.sequence, 9);
    }

    #[test]
    fn contact_is_told_by_orders_that_would_fall() {
        let held = |limit, ends| view(Phase::Held, Some(5), limit, 300, Some(ends));
        assert_eq!(contact(&[held(400, 120_000), held(400, 121_000)], 25_000, NOW), Some(BootMillis(95_000)));
        assert_eq!(contact(&[held(300, 120_000)], 25_000, NOW), None);
        assert_eq!(contact(&[held(400, 130_000)], 25_000, NOW), Some(NOW), "never in the time to come");
        assert_eq!(contact(&[view(Phase::Fallen, Some(5), 400, 300, None)], 25_000, NOW), None);
    }
}
