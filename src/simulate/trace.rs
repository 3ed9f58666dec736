//! A run as CSV: the draw of every domain at every moment at which it changes.

use super::outcome::Outcome;

/// One row for each domain and moment of change:
/// `time` (RFC 3339), `domain`, `capWatts`, `drawWatts`, `carbonGramsPerKwh` (empty without a signal), `running`, `waiting`
/// (workloads of the whole site). RFC 4180, by time, then by domain with parents first.
#[must_use]
pub fn csv(outcome: &Outcome) -> String {
    let mut moments = vec![outcome.start];
    for domain in &outcome.domains {
        moments.extend(domain.draw.changes_between(outcome.start, outcome.end));
        moments.extend(domain.cap.changes_between(outcome.start, outcome.end));
    }
    moments.sort_unstable();
    moments.dedup();
    let mut text = String::from("time,domain,capWatts,drawWatts,carbonGramsPerKwh,running,waiting\r\n");
    for at in moments {
        let running = |w: &&super::outcome::WorkloadOutcome| w.runs.iter().any(|run| run.from <= at && at < run.to);
        let there = |w: &&super::outcome::WorkloadOutcome| w.arrival <= at && w.finished.is_none_or(|end| at < end);
        let there_now = outcome.workloads.iter().filter(there).count();
        let running_now = outcome.workloads.iter().filter(running).count();
        let grams = outcome.intensity.as_ref().map(|steps| steps.at(at).as_grams_per_kwh().to_string());
        for domain in &outcome.domains {
            let name = if domain.name.contains([',', '"', '\n']) {
                format!("\"{}\"", domain.name.replace('"', "\"\""))
            } else {
                domain.name.clone()
            };
            text.push_str(&format!(
                "{at},{name},{},{},{},{running_now},{}\r\n",
                domain.cap.at(at).0,
                domain.draw.at(at).0,
                grams.as_deref().unwrap_or(""),
                there_now.saturating_sub(running_now),
            ));
        }
    }
    text
}
