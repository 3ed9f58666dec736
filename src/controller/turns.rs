//! Work that may wait: as much of it in a cycle as can be begun within a time, the rest in the next one. Nothing is lost,
//! since all of it is found anew each cycle; and nothing starves, since each cycle goes on where the last one left off.

use futures::StreamExt;
use std::time::Duration;

/// Calls that are under way at once. A thousand that wait must not take all connections, one after another takes a slow
/// server's time a thousand times.
pub const AT_ONCE: usize = 16;

/// Whose turn it is.
#[derive(Debug, Default)]
pub struct Turn {
    /// The key of the last piece that was begun, where time ran out.
    last: Option<String>,
}

impl Turn {
    /// Begins pieces of work for no longer than `time`, in the order of their keys, after the one that was begun last.
    /// What is begun is awaited. Dropped in between it goes on after what was begun.
    pub async fn take<T, F: Future<Output = ()>>(
        &mut self,
        mut work: Vec<(String, T)>,
        time: Duration,
        each: impl Fn(T) -> F,
    ) {
        work.sort_by(|a, b| a.0.cmp(&b.0));
        if let Some(last) = &self.last {
            let next = work.partition_point(|(key, _)| key <= last);
            work.rotate_left(next);
        }
        let mut left = work.len();
        let begun = futures::stream::iter(work).take_until(tokio::time::sleep(time)).map(|(key, piece)| {
            left -= 1;
            self.last = Some(key);
            each(piece)
        });
        begun.buffer_unordered(AT_ONCE).collect::<()>().await;
        if left == 0 {
            self.last = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[tokio::test(start_paused = true)]
    async fn with_a_slow_server_all_have_their_turn_within_some_cycles() {
        let (mut turn, done) = (Turn::default(), Mutex::new(Vec::new()));
        let work = || (0..40).map(|i| (format!("{i:02}"), i)).collect::<Vec<_>>();
        for cycle in 0..3 {
            let started = tokio::time::Instant::now();
            turn.take(work(), Duration::from_secs(2), |i| {
                let done = &done;
                async move {
                    tokio::time::sleep(Duration::from_secs(4)).await;
                    done.lock().unwrap().push(i);
                }
            })
            .await;
            assert_eq!(started.elapsed(), Duration::from_secs(4), "cycle {cycle} took longer than what it had begun");
        }
        let done = done.into_inner().unwrap();
        let all: std::collections::BTreeSet<i32> = done.iter().copied().collect();
        assert_eq!((done.len(), all.len()), (48, 40), "some starved: {done:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn with_a_quick_server_all_is_done_at_once() {
        let (mut turn, done) = (Turn::default(), Mutex::new(0));
        let work = (0..1000).map(|i| (i.to_string(), ())).collect();
        turn.take(work, Duration::from_secs(2), |()| async { *done.lock().unwrap() += 1 }).await;
        assert_eq!((*done.lock().unwrap(), turn.last), (1000, None));
    }
}
