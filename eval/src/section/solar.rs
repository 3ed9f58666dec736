//! The section of on-site solar.

use crate::solar::Solar;
use std::fmt::Write;

/// The section of on-site solar.
#[must_use]
pub fn solar(found: &Solar) -> String {
    let mut text = "## On-site solar: how much of a roof is used (`make eval-solar`)\n\n".to_owned();
    if let Some(site) = found.sites.first() {
        let _ = writeln!(
            text,
            "{} jobs that come throughout {} days from {} on, 1 kW a unit, under a roof of {:.0} kW, which makes as much in that time as they use. Running \
            at once draws {:.0} kW at the most; caps are of the site. *Of the roof used*: of what it makes; *of the use*: of what the jobs use. Savings \
            are of what running at once with no cap buys under the same roof. Each is carried out by the simulator, whose jobs are known when they \
            come; the LP knows all of the year, cuts jobs at will and holds the cap as a mean over each hour. Runs are of {} s at the least.\n",
            site.jobs,
            site.days,
            found.start,
            site.rated_watts as f64 / 1000.0,
            site.peak_watts as f64 / 1000.0,
            found.shortest_seconds
        );
    }
    text += "| zone, bought by | cap | who | of the roof used | of the use | saved | s over | misses |\n|---|---|---|---|---|---|---|---|\n";
    for site in &found.sites {
        let cap = site.cap_watts.map_or("none".to_owned(), |watts| format!("{:.1} kW", watts as f64 / 1000.0));
        for row in &site.rows {
            let _ = writeln!(
                text,
                "| {}, {} | {cap} | {} | {:.1} % | {:.1} % | {:.1} % | {} | {} |",
                site.zone,
                site.signal,
                row.who.replace(['{', '}'], ""),
                row.own_use_percent,
                row.cover_percent,
                row.saved_percent,
                row.seconds_over,
                row.misses
            );
        }
    }
    text += "\nThe roof is modelled from the clouds of the year, not measured. Lengths are known. Not modelled: what a stop and a start cost, hosts, what is left \
        over and sold, a battery.\n";
    text
}
