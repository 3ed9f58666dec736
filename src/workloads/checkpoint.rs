//! How a Job comes to a checkpoint, and what of its work is behind one.
//!
//! ```text
//!   ask: Never        suspended at once; what it did since its last checkpoint is lost
//!   ask: Signal       suspended at once; it writes one when its pods are told to end (SIGTERM), within their grace
//!   ask: Annotation   heliotrope.dev/checkpoint-asked: 2026-12-01T06:00:00Z      written by us
//!                     heliotrope.dev/checkpointed-at: 2026-12-01T06:00:41Z       written by the Job's own code, when one is whole
//!                     suspended then, or when the time is over that it was given
//! ```

use super::job::times;
use crate::api::{Checkpoint, CheckpointAsk, labels};
use crate::core::plan::Asking;
use crate::units::{Moment, Seconds};
use k8s_openapi::api::batch::v1::Job;

/// How long beyond its time what was asked still counts: some cycles, in which it is suspended. Who was not, since there was no
/// need any more, is asked anew the next time. A guess.
const ASK_IS_SPENT: Seconds = Seconds(60);

/// Work that is behind its last checkpoint, by our own note; nothing where there is none.
#[must_use]
pub fn done(job: &Job) -> Seconds {
    noted(job).map_or(Seconds::ZERO, |(done, _)| done)
}

/// The note of [`done`] with the run that began at `started` added, as far as it is kept. A run is added once, however often it
/// is noted. `lost` of its time is no work: it was held below full.
#[must_use]
pub fn note_of_done(job: &Job, checkpoint: Checkpoint, now: Moment, lost: Seconds) -> Option<String> {
    let (_, started) = times(job);
    let started = started?;
    let (before, last) = noted(job).unwrap_or((Seconds::ZERO, Moment(i64::MIN)));
    if started <= last {
        return None;
    }
    let up_to = match writes_at_the_end(job, checkpoint) {
        true => now.max(started),
        false => kept(job, checkpoint, started, now),
    };
    Some(format!("{}@{}", before.0.saturating_add((up_to - started - lost).0.max(0)), started.0))
}

fn noted(job: &Job) -> Option<(Seconds, Moment)> {
    let (done, started) = job.metadata.annotations.as_ref()?.get(labels::DONE)?.split_once('@')?;
    Some((Seconds(done.parse().ok().filter(|done| *done >= 0)?), Moment(started.parse().ok()?)))
}

/// Up to when the work of a run is behind a checkpoint: the last whole interval, or when its own code says that one was written,
/// whichever is later.
#[must_use]
pub fn kept(job: &Job, checkpoint: Checkpoint, started: Moment, now: Moment) -> Moment {
    let ran = (now - started).0.max(0);
    let by_interval = started + Seconds(ran - ran % checkpoint.interval_seconds.max(1));
    let said = time(job, labels::CHECKPOINTED_AT).filter(|said| *said <= now);
    by_interval.max(said.unwrap_or(by_interval))
}

/// How a Job that runs comes to a checkpoint before it is stopped.
#[must_use]
pub fn asking(job: &Job, checkpoint: Checkpoint, started: Moment, now: Moment) -> Asking {
    if writes_at_the_end(job, checkpoint) {
        return Asking::AtTheEnd;
    }
    if checkpoint.ask != Some(CheckpointAsk::Annotation) {
        return Asking::No;
    }
    let within = Seconds(checkpoint.ask_within_seconds.unwrap_or(checkpoint.cost_seconds).max(1));
    let counts = |asked: &Moment| *asked >= started && now < *asked + within + ASK_IS_SPENT;
    match time(job, labels::CHECKPOINT_ASKED).filter(counts) {
        Some(asked) if time(job, labels::CHECKPOINTED_AT).is_some_and(|said| said >= asked) => {
            Asking::Asked { until: now, within }
        }
        Some(asked) => Asking::Asked { until: asked + within, within },
        None => Asking::Within(within),
    }
}

/// Does it write one when its pods are told to end? Only where their grace is long enough for what one costs.
fn writes_at_the_end(job: &Job, checkpoint: Checkpoint) -> bool {
    checkpoint.ask == Some(CheckpointAsk::Signal) && short_grace(job, checkpoint).is_none()
}

/// The grace of its pods, where it is to write a checkpoint within it and that is too short.
#[must_use]
pub fn short_grace(job: &Job, checkpoint: Checkpoint) -> Option<Seconds> {
    let grace = super::job::grace(job);
    (checkpoint.ask == Some(CheckpointAsk::Signal) && grace.0 < checkpoint.cost_seconds).then_some(grace)
}

fn time(job: &Job, key: &str) -> Option<Moment> {
    job.metadata.annotations.as_ref()?.get(key)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const STARTED: Moment = Moment(1_767_225_600);

    fn job(grace: i64, annotations: &[(&str, &str)]) -> Job {
        let annotations: serde_json::Map<_, _> =
            annotations.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        let job = json!({"metadata": {"annotations": annotations}, "status": {"startTime": STARTED.to_string()},
            "spec": {"template": {"spec": {"terminationGracePeriodSeconds": grace, "containers": []}}}});
        serde_json::from_value(job).unwrap()
    }

    fn checkpoint(ask: CheckpointAsk) -> Checkpoint {
        Checkpoint { interval_seconds: 600, cost_seconds: 40, ask: Some(ask), ask_within_seconds: None }
    }

    fn at(seconds: i64) -> String {
        (STARTED + Seconds(seconds)).to_string()
    }

    #[test]
    fn work_behind_a_checkpoint_is_noted_once_for_each_run() {
        let checkpoint = Checkpoint { interval_seconds: 600, cost_seconds: 30, ..Checkpoint::default() };
        let note = |annotations: &[(&str, &str)], now: i64| {
            note_of_done(&job(30, annotations), checkpoint, STARTED + Seconds(now), Seconds::ZERO)
        };
        let first = note(&[], 3599).unwrap();
        assert_eq!(first, format!("3000@{}", STARTED.0));
        assert_eq!(done(&job(30, &[(labels::DONE, &first)])), Seconds(3000));
        assert_eq!(note(&[(labels::DONE, &first)], 9999), None, "the same run again");
        let slow = note_of_done(&job(30, &[]), checkpoint, STARTED + Seconds(3599), Seconds(300)).unwrap();
        assert_eq!(slow, format!("2700@{}", STARTED.0), "what was lost by running slower is not done");
        let earlier = format!("3000@{}", STARTED.0 - 5000);
        assert_eq!(note(&[(labels::DONE, &earlier)], 600).unwrap(), format!("3600@{}", STARTED.0));
        assert_eq!(done(&job(30, &[(labels::DONE, "much@x")])), Seconds::ZERO);
        let said = at(3100);
        assert_eq!(note(&[(labels::CHECKPOINTED_AT, &said)], 3599).unwrap(), format!("3100@{}", STARTED.0));
        let future = at(9000);
        assert_eq!(note(&[(labels::CHECKPOINTED_AT, &future)], 3599).unwrap(), first, "it is not believed");
    }

    #[test]
    fn who_writes_one_at_its_end_needs_the_grace_for_it() {
        let signal = checkpoint(CheckpointAsk::Signal);
        let now = STARTED + Seconds(3599);
        assert_eq!(asking(&job(40, &[]), signal, STARTED, now), Asking::AtTheEnd);
        assert_eq!(note_of_done(&job(40, &[]), signal, now, Seconds::ZERO).unwrap(), format!("3599@{}", STARTED.0));
        assert_eq!(asking(&job(39, &[]), signal, STARTED, now), Asking::No);
        assert_eq!(short_grace(&job(39, &[]), signal), Some(Seconds(39)));
        assert_eq!(note_of_done(&job(39, &[]), signal, now, Seconds::ZERO).unwrap(), format!("3000@{}", STARTED.0));
    }

    #[test]
    fn who_is_asked_is_waited_for_until_it_answers_or_its_time_is_over() {
        let of = |annotations: &[(&str, &str)], now: i64| {
            asking(&job(30, annotations), checkpoint(CheckpointAsk::Annotation), STARTED, STARTED + Seconds(now))
        };
        let within = Seconds(40);
        assert_eq!(of(&[], 1000), Asking::Within(within));
        let asked = at(1000);
        let is_asked = Asking::Asked { until: STARTED + Seconds(1040), within };
        assert_eq!(of(&[(labels::CHECKPOINT_ASKED, &asked)], 1010), is_asked);
        assert_eq!(
            of(&[(labels::CHECKPOINT_ASKED, &asked)], 1090),
            is_asked,
            "its time is over, and it is not asked again"
        );
        assert_eq!(
            of(&[(labels::CHECKPOINT_ASKED, &asked)], 1100),
            Asking::Within(within),
            "there was no need any more"
        );
        let (before, after) = (at(990), at(1020));
        assert_eq!(of(&[(labels::CHECKPOINT_ASKED, &asked), (labels::CHECKPOINTED_AT, &before)], 1030), is_asked);
        let answered = of(&[(labels::CHECKPOINT_ASKED, &asked), (labels::CHECKPOINTED_AT, &after)], 1030);
        assert_eq!(answered, Asking::Asked { until: STARTED + Seconds(1030), within });
        let of_the_run_before = at(-500);
        assert_eq!(of(&[(labels::CHECKPOINT_ASKED, &of_the_run_before)], 0), Asking::Within(within));
        assert_eq!(
            of(&[(labels::CHECKPOINT_ASKED, "soon")], 1010),
            Asking::Within(within),
            "what can't be read is nothing"
        );
    }
}
