//! E6's section.

use super::verdict;
use crate::e6::{E6, SOON, SPREAD};
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
            "### {}, {}\n\n{} spread days; the optimum saves {:.2} %.\n\n\
            | forecast | saved | share | on spread days | regret | flips a job and day | flips a job | stops a job | misses |\n|---|---|---|---|---|---|---|---|---|",
            zone.zone, zone.signal, zone.spread_days, zone.clairvoyant_percent
        );
        for ran in &zone.runs {
            let wide = ran.spread_share_percent.map_or("–".to_owned(), |share| format!("{share:.1} %"));
            let _ = writeln!(
                text,
                "| {} | {:.2} % | {:.1} % | {wide} | {:.2} % | {:.3} | {:.3} | {:.2} | {} |",
                ran.forecast.replace(['{', '}'], ""),
                ran.saved_percent,
                ran.share_percent,
                ran.regret_percent,
                ran.flips_per_job_day,
                ran.flips_per_job,
                ran.stops_per_job,
                ran.misses + (found.jobs - ran.finished)
            );
        }
        text.push('\n');
    }
    text += "| bar, carbon on spread days, learned | reached | verdict |\n|---|---|---|\n";
    for (zone, least) in BARS {
        let of = found.zones.iter().find(|other| other.zone == zone && other.signal == "carbon");
        let ran = of.and_then(|zone| zone.runs.iter().find(|ran| ran.forecast == OURS));
        if let Some(share) = ran.and_then(|ran| ran.spread_share_percent) {
            let _ = writeln!(text, "| {zone}: at least {least} % | {share:.1} % | {} |", verdict(share >= least));
        }
    }
    text += "\nNot modelled: caps, what a stop and a start cost, on-site sun, the provider's own forecast, and that prices of tomorrow are settled today. \
        Lengths are known. Noise is of each hour its own and does not shrink as the hour comes near.\n";
    text
}
