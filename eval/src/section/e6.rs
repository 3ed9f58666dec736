//! E6's section.

use super::verdict;
use crate::e6::{E6, Ran, SOON, SPREAD, UnderRoof, Zone};
use std::fmt::Write;

/// Shares of what one saves who knows all, in percent, on days whose spread is large, with our best forecast.
const BARS: [(&str, f64); 2] = [("US-CAL-CISO", 85.0), ("DE-LU", 70.0)];

/// The forecast that the bars are about.
const OURS: &str = "learned";

/// E6's section.
#[must_use]
pub fn e6(found: &E6) -> String {
    let mut text = format!(
        "## E6: a real year, forecast (`make eval-E6`)\n\n\
        {} jobs that come throughout {} days from {} on, 1 kW a unit, with no cap, runs of {} s at the least. Each hour the plan is thought over with \
        a new forecast; what was before is learned from. One who knows all runs each job at its cheapest seconds, which with no cap is the \
        exact optimum. Shares are of what that one saves, by energy; on spread days: of jobs that come on days whose dearest hour lies {:.0} % of the \
        mean above the cheapest. Regret: how much more is emitted or paid than at best. A flip: a new plan changes what a job was to do within {} h.\n\n",
        found.jobs,
        found.days,
        found.start,
        found.shortest_seconds,
        SPREAD * 100.0,
        SOON.0 / 3600,
    );
    for zone in &found.zones {
        let _ = writeln!(
            text,
            "### {}, {}\n\n{} spread days; the optimum saves {:.2} %.\n",
            zone.zone, zone.signal, zone.spread_days, zone.clairvoyant_percent
        );
        table(&mut text, zone, "on spread days", found.jobs, |ran| ran.spread_share_percent);
    }
    for zone in &found.under_roofs {
        let Some(UnderRoof { rated_watts, days, jobs, at_once_percent, clairvoyant_percent }) = &zone.roof else {
            continue;
        };
        let _ = writeln!(
            text,
            "### {}, {}, under a roof\n\nThe {jobs} jobs of {days} days under a roof of {:.1} kW, which makes as much in that time as they use; it is \
            forecast as the signal is, from what was seen of it. Here one who knows all is the exact LP of all jobs together: it saves {:.2} % and uses \
            {clairvoyant_percent:.1} % of what the roof makes, running at once {at_once_percent:.1} %.\n",
            zone.zone,
            zone.signal,
            *rated_watts as f64 / 1000.0,
            zone.clairvoyant_percent
        );
        table(&mut text, zone, "of the roof used", *jobs, |ran| ran.own_use_percent);
    }
    text += "| bar, carbon on spread days, learned | reached | verdict |\n|---|---|---|\n";
    for (zone, least) in BARS {
        let of = found.zones.iter().find(|other| other.zone == zone && other.signal == "carbon");
        let ran = of.and_then(|zone| zone.runs.iter().find(|ran| ran.forecast == OURS));
        if let Some(share) = ran.and_then(|ran| ran.spread_share_percent) {
            let _ = writeln!(text, "| {zone}: at least {least} % | {share:.1} % | {} |", verdict(share >= least));
        }
    }
    text += "\nNot modelled: caps, what a stop and a start cost, the provider's own forecast, and that prices of tomorrow are settled today. \
        Lengths are known. Noise is of each hour its own and does not shrink as the hour comes near.\n";
    text
}

/// The table of a zone; `what` is the column of its own.
fn table(text: &mut String, zone: &Zone, what: &str, jobs: usize, of: impl Fn(&Ran) -> Option<f64>) {
    let _ = writeln!(
        text,
        "| forecast | saved | share | {what} | regret | flips a job and day | flips a job | stops a job | misses |\n|---|---|---|---|---|---|---|---|---|"
    );
    for ran in &zone.runs {
        let own = of(ran).map_or("–".to_owned(), |percent| format!("{percent:.1} %"));
        let _ = writeln!(
            text,
            "| {} | {:.2} % | {:.1} % | {own} | {:.2} % | {:.3} | {:.3} | {:.2} | {} |",
            ran.forecast.replace(['{', '}'], ""),
            ran.saved_percent,
            ran.share_percent,
            ran.regret_percent,
            ran.flips_per_job_day,
            ran.flips_per_job,
            ran.stops_per_job,
            ran.misses + (jobs - ran.finished)
        );
    }
    text.push('\n');
}
