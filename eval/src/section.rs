//! The sections of `docs/results.md`: tables of what was measured, between markers.

use crate::e1::{Capped, E1, Ran, Zone};
use crate::e2::E2;
use crate::e3::{E3, Event};
use crate::e4::{E4, POLICIES};
use crate::published::Peer;
use std::fmt::Write;

mod e6;
mod forecasts;
mod solar;

pub use e6::e6;
pub use forecasts::forecasts;
pub use solar::solar;

/// A document with an experiment's section made anew; at its end where there was none.
///
/// # Errors
/// Where a section begins and does not end: it is not known what may be replaced.
pub fn replace(document: &str, experiment: &str, section: &str) -> Result<String, String> {
    let (begin, end) = (format!("<!-- eval-{experiment} begin -->"), format!("<!-- eval-{experiment} end -->"));
    let whole = format!("{begin}\n{}\n{end}", section.trim_end());
    match (document.find(&begin), document.find(&end)) {
        (Some(from), Some(to)) if from < to => {
            Ok(format!("{}{whole}{}", &document[..from], &document[to + end.len()..]))
        }
        (None, None) => {
            let title = if document.trim().is_empty() { "# Measured" } else { document.trim_end() };
            Ok(format!("{title}\n\n{whole}\n"))
        }
        _ => Err(format!("{begin} and {end} do not stand in this order: set both, or neither")),
    }
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "**not met**" }
}

fn table(event: &Event) -> String {
    let mut text = "| policy | s above target, after 30 s | s to target | over-curtailed, % of baseline | weighted performance | share of the LP | floors broken | highest minute after it, % above before |\n|---|---|---|---|---|---|---|---|\n".to_owned();
    for held in &event.policies {
        let reached = held.seconds_to_target.map_or("never".to_owned(), |seconds| seconds.to_string());
        let _ = writeln!(
            text,
            "| {} | {} | {reached} | {:.2} | {:.4} | {:.2} % | {} | {:+.1} |",
            held.policy,
            held.seconds_above,
            held.over_curtailment_percent,
            held.weighted_performance,
            held.share_of_lp * 100.0,
            held.floors_broken,
            held.rebound_percent
        );
    }
    text
}

/// The bar of E2, in percent of what the joint LP saves.
const JOINT_BAR: f64 = 97.0;

/// E2's section.
#[must_use]
pub fn e2(found: &E2) -> String {
    let mut text = format!(
        "## E2: when and at how many watts (`make eval-E2`)\n\n\
        {} jobs of E1 on A100, with the curves of the sweep of May 2025 (all eight in turn, or one for all jobs) and the watts of their hosts for each \
        accelerator in use. Savings are of the carbon of running at once at full. *Waiting alone* is at full; *slowing alone* begins at once and never \
        stops; both are exact optima without a cap, and under one waiting alone is our plan at full. *Joint* is the exact LP; where it is marked ≤ the \
        plan's own bound stands in its place: no schedule saves more. Runs are of 5 s at least.\n\n\
        | zone | curves | host, W | cap | waiting alone | slowing alone | ours | joint | share | time slowed | misses | verdict |\n\
        |---|---|---|---|---|---|---|---|---|---|---|---|\n",
        found.jobs
    );
    for row in &found.rows {
        let curve = row.curve.as_deref().unwrap_or("all");
        let cap = row.cap_watts.map_or("none".to_owned(), |watts| format!("{:.1} kW", watts as f64 / 1000.0));
        let slowing = row.throttle_percent.map_or("–".to_owned(), |percent| format!("{percent:.2} %"));
        let about = if row.is_exact { "" } else { "≤ " };
        let _ = writeln!(
            text,
            "| {} | {curve} | {} | {cap} | {:.2} % | {slowing} | {:.2} % | {about}{:.2} % | {:.1} % | {:.0} % | {} | {} |",
            row.zone,
            row.host_watts,
            row.shift_percent,
            row.saved_percent,
            row.lp_percent,
            row.share_percent,
            row.slowed_percent,
            row.misses,
            verdict(row.share_percent >= JOINT_BAR && row.misses == 0)
        );
    }
    let _ = writeln!(
        text,
        "\nThe bar: at least {JOINT_BAR} % of what the joint LP saves. All jobs are known from the beginning with their lengths; plans are read by the \
        checker, not carried out. Not modelled: what accelerators draw that wait, what a change of pace costs."
    );
    text
}

/// The bars of E1, in percent of what the LP saves: known lengths, and average lengths.
const BARS: (f64, f64) = (98.0, 85.0);

/// E1's section.
#[must_use]
pub fn e1(found: &E1) -> String {
    let mut text = format!(
        "## E1: following carbon under a cap (`make eval-E1`)\n\n\
        {} jobs of a production cluster at 1 kW a unit, on the hourly carbon of each zone. Savings are of the carbon of running at once with \
        no cap. The LP cuts jobs at will and holds the cap as a mean over each hour; ours holds it each second, in whole jobs, with no run \
        shorter than is said.\n\n### Known lengths, all jobs known\n\n\
        | zone | cap | LP saves |",
        found.jobs
    );
    let first = found.zones.first().and_then(|zone| zone.caps.first());
    let shortest: Vec<i64> =
        first.map_or(Vec::new(), |capped| capped.runs.iter().map(|ran| ran.shortest_seconds).collect());
    let titles = shortest.iter().map(|seconds| format!(" runs of {seconds} s: saved (of the LP) |"));
    text += &titles.collect::<String>();
    text += " bound | s over | misses | verdict |\n|---|---|---|";
    text += &"---|".repeat(shortest.len() + 4);
    text.push('\n');
    for zone in &found.zones {
        for capped in &zone.caps {
            let cap = cap_of(capped);
            let _ = write!(text, "| {} | {cap} | {:.2} % |", zone.zone, capped.lp_saved_percent);
            for ran in &capped.runs {
                let _ = write!(text, " {:.2} % ({:.1} %) |", ran.saved_percent, ran.share_percent);
            }
            let over = capped.runs.iter().map(|ran| ran.seconds_over).max().unwrap_or(0);
            let misses = capped.runs.iter().map(|ran| ran.misses).max().unwrap_or(0);
            let is_met = |ran: &Ran| ran.share_percent >= BARS.0 && over == 0 && misses == 0;
            let first = capped.runs.first();
            let bound = first.and_then(|ran| ran.bound_percent).unwrap_or(f64::NAN);
            let _ = writeln!(text, " {bound:.2} % | {over} | {misses} | {} |", verdict(first.is_some_and(is_met)));
        }
    }
    let _ = writeln!(
        text,
        "\nThe bar: at least {} % of what the LP saves with the shortest run of the first column, 0 s over the cap. The bound is the plan's own: no \
        schedule that keeps all deadlines saves more.\n{}\n### Average lengths only, no cap\n\n\
        | zone | policy | saved | of the LP | misses | mean wait, h | verdict |\n|---|---|---|---|---|---|---|",
        BARS.0,
        stops(&found.zones)
    );
    for zone in &found.zones {
        for ran in &zone.average {
            let met = if ran.policy == "heliotrope" { verdict(ran.share_percent >= BARS.1) } else { "–" };
            let _ = writeln!(
                text,
                "| {} | {} | {:.2} % | {:.1} % | {} | {:.1} | {met} |",
                zone.zone, ran.policy, ran.saved_percent, ran.share_percent, ran.misses, ran.mean_wait_hours
            );
        }
    }
    let _ = writeln!(
        text,
        "\nThe bar: at least {} %. What is known of a job is when it came, the mean length of its queue, and what it has done; who outlives the mean \
        is believed to go on for half as long again. Carbon is known ahead. Not modelled: hosts, losses, and, but for the table above, what a stop and a start cost.",
        BARS.1
    );
    text + &published(&found.zones)
}

fn cap_of(capped: &Capped) -> String {
    capped.cap_watts.map_or("none".to_owned(), |watts| format!("{} kW", watts / 1000))
}

/// What is left of the savings where each start after a stop costs something; nothing where that was not asked.
fn stops(zones: &[Zone]) -> String {
    let first = zones.first().and_then(|zone| zone.caps.first());
    let Some(first) = first.filter(|capped| !capped.stops.is_empty()) else { return String::new() };
    let shortest = first.runs.first().map_or(0, |ran| ran.shortest_seconds);
    let mut text = format!(
        "\n### What a stop costs, runs of {shortest} s\n\n\
        Each start after a stop does again what takes so many seconds at the job's own draw, which is counted in what is saved. The bound is the \
        plan's own. Plans are read by the checker, not carried out.\n\n| zone | cap | a stop costs nothing: saved, stops |"
    );
    let costs = first.stops.iter().map(|stops| format!(" {} s: saved (of the bound), stops |", stops.cost_seconds));
    text += &costs.collect::<String>();
    text += " misses |\n|---|---|---|---|";
    text += &"---|".repeat(first.stops.len());
    text.push('\n');
    for (zone, capped) in zones.iter().flat_map(|zone| zone.caps.iter().map(move |capped| (zone, capped))) {
        let Some(ran) = capped.runs.first() else { continue };
        let cap = cap_of(capped);
        let _ = write!(text, "| {} | {cap} | {:.2} %, {} |", zone.zone, ran.saved_percent, ran.suspensions);
        for stops in &capped.stops {
            let share = stops.bound_percent.map_or(f64::NAN, |bound| 100.0 * stops.saved_percent / bound);
            let _ = write!(text, " {:.2} % ({share:.1} %), {} |", stops.saved_percent, stops.suspensions);
        }
        let misses = capped.stops.iter().map(|stops| stops.misses).max().unwrap_or(0);
        let _ = writeln!(text, " {misses} |");
    }
    text
}

/// Published policies beside their authors' programs; nothing where these were not run on the same.
fn published(zones: &[Zone]) -> String {
    if zones.iter().all(|zone| zone.published.is_empty()) {
        return String::new();
    }
    let mut text = "\n### Published policies, no cap\n\n\
        | zone | policy | knows | its authors' program | ours | verdict |\n|---|---|---|---|---|---|\n"
        .to_owned();
    for (zone, peer) in zones.iter().flat_map(|zone| zone.published.iter().map(move |peer| (zone, peer))) {
        let Peer { policy, start_rule, published_percent, saved_percent } = peer;
        let (zone, agrees) = (&zone.zone, verdict(peer.agrees()));
        let _ = writeln!(
            text,
            "| {zone} | {policy} | {start_rule} | {published_percent:.1} % | {saved_percent:.2} % | {agrees} |"
        );
    }
    let _ = writeln!(
        text,
        "\nThe bar: within {} points of what the authors' own programs save of the carbon of running at once, on the same jobs and signals \
        (`../shared/data/README.md`).",
        Peer::TOLERANCE
    );
    text
}

/// E3's section.
#[must_use]
pub fn e3(found: &E3) -> String {
    let mut text = format!(
        "## E3: holding a curtailment (`make eval-E3`)\n\n\
        {} A100 with the workloads, flexibilities and curves of the Phoenix trial of May 2025, modelled; {:.1} kW at full speed \
        (the trial: {:.1}). Heliotrope is run as it is (claims, division, leases, nodes), under an order that counts with what is drawn \
        (*by draw*: `measure: Draw`, for a curtailment that is settled by a meter; its meters are the agents', each said every 16 to \
        24 s) and under one that counts with what can be drawn (*by limits*: for a feed).\n\n### The event: {} % for three hours\n\nTarget {:.1} kW. The LP does {:.4} within it and keeps {} of {} floors.\n\n",
        found.accelerators,
        found.baseline_watts / 1000.0,
        found.trial.baseline_watts / 1000.0,
        found.phoenix.percent,
        found.phoenix.target_watts / 1000.0,
        found.phoenix.lp_performance,
        found.phoenix.lp_floors_kept,
        found.phoenix.policies.first().map_or(0, |held| held.speeds.len()),
    );
    text += &table(&found.phoenix);
    let _ = writeln!(
        text,
        "| the trial, measured | – | – | {:.2} | {:.4} | {:.2} % | – | – |\n",
        found.trial.over_curtailment_percent,
        found.trial.weighted_performance,
        100.0 * found.trial.weighted_performance / found.phoenix.lp_performance
    );
    text += "| bar | for | by draw | by limits |\n|---|---|---|---|\n";
    let mut bar = |name: &str, value: &dyn Fn(&crate::e3::Held) -> (bool, String)| {
        let cells: Vec<String> = found
            .phoenix
            .policies
            .iter()
            .take(2)
            .map(|held| {
                let (is_met, value) = value(held);
                format!("{value}: {}", verdict(is_met))
            })
            .collect();
        let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
    };
    bar("0 s above the target after 30 s | the event", &|held| {
        (held.seconds_above == 0, format!("{} s", held.seconds_above))
    });
    bar("over-curtailed by less than 1 % of the baseline | the event", &|held| {
        (held.over_curtailment_percent < 1.0, format!("{:.2} %", held.over_curtailment_percent))
    });
    bar("at least 99.5 % of the LP | the event", &|held| {
        (held.share_of_lp >= 0.995, format!("{:.2} %", held.share_of_lp * 100.0))
    });
    bar("no floor broken that the LP keeps | the event", &|held| {
        (held.floors_broken == 0, held.floors_broken.to_string())
    });
    if let Some(step) = found.steps.iter().find(|step| step.percent == 30) {
        let cells: Vec<String> = step
            .policies
            .iter()
            .take(2)
            .map(|held| match held.seconds_to_target {
                Some(seconds) => format!("{seconds} s: {}", verdict(seconds <= 30)),
                None => format!("never: {}", verdict(false)),
            })
            .collect();
        let _ = writeln!(text, "| at the target within 30 s | the step of 30 % | {} |", cells.join(" | "));
    }
    text += "\n### Held steps\n";
    for step in &found.steps {
        let _ = write!(
            text,
            "\n{} %: target {:.1} kW; the LP does {:.4} and keeps {} floors.\n\n{}",
            step.percent,
            step.target_watts / 1000.0,
            step.lp_performance,
            step.lp_floors_kept,
            table(step)
        );
    }
    let _ = write!(
        text,
        "\nNot modelled: hosts (the trial metered accelerators), wear of a pause (what it costs to stop and start is nothing here, \
        which is kind to pause-greedy), jobs that come and go, a lost or biased meter. The lowest cap of the site is 30 % of its baseline: at that all would be at their safe limits, and nothing left to divide. Seconds count from the beginning of the \
        event; no policy uses the 30 s of notice. The noise is made up: from one minute to the next the sum strays by {:.2} % at full speed and {:.2} % while it is \
        held; the trial's by {:.2} and {:.2} % (neither with drifts nor with dropped samples). A speed counts as below a floor when it is more than half a point \
        below: limits are whole watts. A share above 100 % is work done below floors that the optimum keeps. The uniform cap, DVFS-fair and pause-greedy know the curves; without a margin they \
        are above the target whenever the noise is. The trial's three hours begin with its first minute under the target.\n",
        found.noise_percent, found.held_noise_percent, found.trial.noise_percent, found.trial.held_noise_percent
    );
    text
}

/// E4's section.
#[must_use]
pub fn e4(found: &E4) -> String {
    let mut text = format!(
        "## E4: more servers under the same feed (`make eval-E4`)\n\n\
        Servers of eight A100 that draw as in AcmeTrace's distribution ({:.0} W in the mean, up to 440 W under 400), {:.0} W of host each. \
        In the middle third the feed falls to 85 %. Faults: agents hear nothing for two minutes, agents restart, the controller \
        dies twice during the event, sensors are lost for two minutes. Over is the plant's own power above the cap, 30 s after a fall \
        of the cap. Bar: +30 % servers with 0 W·s over.\n\n\
        | accelerators by nameplate | most servers with 0 W·s over | servers | work kept | work of all | bar | limit (cap ÷ mean power) |\n|---|---|---|---|---|---|---|\n",
        found.mean_watts, found.host_watts
    );
    for feed in &found.feeds {
        for policy in POLICIES {
            let best = feed.most(policy);
            let cells = best.map_or("none | – | – | –".to_owned(), |ran| {
                format!(
                    "+{} % | {} | {:.1} % | {:.0} %",
                    ran.more_percent, ran.servers, ran.work_kept_percent, ran.work_percent
                )
            });
            let is_met = best.is_some_and(|ran| ran.more_percent >= 30);
            let _ = writeln!(
                text,
                "| {}, {policy} | {cells} | {} | +{:.0} % |",
                feed.accelerators,
                verdict(is_met),
                feed.limit_percent
            );
        }
    }
    text += "\nAll runs (a policy is tried with more servers until it is over once):\n\n\
        | accelerators | policy | servers | W·s over | peak, % of the feed | work kept | work of all |\n|---|---|---|---|---|---|---|\n";
    for feed in &found.feeds {
        for ran in &feed.runs {
            let _ = writeln!(
                text,
                "| {} | {} | {} (+{} %) | {:.0} | {:.1} | {:.1} % | {:.0} % |",
                feed.accelerators,
                ran.policy,
                ran.servers,
                ran.more_percent,
                ran.watt_seconds_over,
                ran.peak_percent,
                ran.work_kept_percent,
                ran.work_percent
            );
        }
    }
    text += "\nWork kept is the speed of accelerators that have work, of what it would be without limits; work of all is that times the \
        servers, of what those by nameplate do. A server whose accelerators draw less than 80 W has no pod: its \
        watts go to the others, by the protocol, and come back when it has. Not modelled: hosts draw their most all the time; which jobs there are does not follow \
        from how many servers there are; an accelerator under a limit works by the generic curve (the slowest of eight workloads); \
        hot restarts of nodes at full power (`rebootReserveNodes` is 0). POLCA and Dynamo are rebuilt from their papers, with limits \
        where POLCA sets clocks; half of the servers may be slowed first.\n";
    text
}
