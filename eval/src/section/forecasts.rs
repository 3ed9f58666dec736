//! The section on forecasts.

use super::verdict;
use crate::forecasts::{Forecasts, LEADS, QUANTILES};
use std::fmt::Write;

/// How far from its nominal share a quantile may lie, in points.
const POINTS: f64 = 5.0;

/// The forecasts' section.
#[must_use]
pub fn forecasts(found: &Forecasts) -> String {
    let mut text = format!(
        "## Forecasts (`make eval-forecasts`)\n\n\
        {} days from {} on, guessed each hour by one who knows only what was; the year before is learned from. Mean absolute errors in g/kWh \
        and in the price's unit per MWh. Better months: of twelve parts of the time, those in which ours has a smaller error than the hour \
        of the week. Quantiles: how many of 100 hours were at most what ours said; nominal {}.\n\n\
        | zone | signal | mean | h ahead | persistence | hour of week | ours | better months | quantiles | verdict |\n\
        |---|---|---|---|---|---|---|---|---|---|\n",
        found.days,
        found.start,
        QUANTILES.map(|permille| (permille / 10).to_string()).join(", "),
    );
    for zone in &found.zones {
        for lead in &zone.leads {
            let held = lead.below_percent.iter().zip(QUANTILES);
            let held = held.clone().all(|(below, permille)| (below - f64::from(permille) / 10.0).abs() <= POINTS);
            let below: Vec<String> = lead.below_percent.iter().map(|percent| format!("{percent:.1}")).collect();
            let _ = writeln!(
                text,
                "| {} | {} | {:.1} | {} | {:.2} | {:.2} | {:.2} | {} of {} | {} | {} |",
                zone.zone,
                zone.signal,
                zone.mean,
                lead.hours,
                lead.persistence,
                lead.hour_of_week,
                lead.learned,
                lead.better_months,
                lead.months,
                below.join(", "),
                verdict(held && lead.learned < lead.hour_of_week)
            );
        }
    }
    let _ = writeln!(
        text,
        "\nThe bar: a smaller error than the hour of the week, and each quantile within {POINTS} points of nominal, at {} h. Nothing but the \
        series itself is known: no weather, no generation by fuel, and of prices not what an auction has settled for tomorrow.",
        LEADS.map(|lead| lead.to_string()).join(", ")
    );
    text
}
