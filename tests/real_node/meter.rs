//! What the plant truly draws, beside what the ledger reserves for it. Nothing of ours is asked what is drawn, and the reserve is made
//! here from what was published and acknowledged (RELIABILITY §3 a).

use crate::chart::CAP;
use crate::now;
use heliotrope::api::{ChildKey, NodePower, PowerAllotment};
use heliotrope_testbed::Testbed;
use kube::Api;
use nvml_sim::Node as Plant;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The plant is looked at so often, and so are the books.
const EACH: Duration = Duration::from_millis(100);

/// A device may draw over its new limit for so long after it is set.
const SETTLES: Duration = Duration::from_secs(1);

/// What is published is read so much later at most.
const READ_WITHIN: Duration = Duration::from_millis(500);

#[derive(Default)]
struct Record {
    drawn: Vec<(Instant, f64)>,
    reserved: Vec<(Instant, i64)>,
}

/// Looks all the time.
pub struct Meter {
    ends: Arc<AtomicBool>,
    record: Arc<Mutex<Record>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Meter {
    pub fn start(testbed: &Testbed, plant: Arc<Plant>) -> Self {
        let (ends, record) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Record::default())));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(testbed.client()).unwrap();
        let (ended, to) = (ends.clone(), record.clone());
        let looks = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let drawn = plant.true_power().unwrap();
                to.lock().unwrap().drawn.push((now(), drawn));
                std::thread::sleep(EACH);
            }
        });
        let (ended, to) = (ends.clone(), record.clone());
        let reads = std::thread::spawn(move || {
            let mut books = Books::default();
            while !ended.load(Ordering::Relaxed) {
                let reserved = runtime.block_on(books.read(&client));
                to.lock().unwrap().reserved.push((now(), reserved));
                std::thread::sleep(EACH);
            }
        });
        let meter = Self { ends, record, threads: vec![looks, reads] };
        // nothing can be judged by books that were not read yet
        crate::wait("the books are read", || !meter.record.lock().unwrap().reserved.is_empty());
        meter.record.lock().unwrap().drawn.clear();
        meter
    }

    /// Judges all that was drawn since it was asked last; says the most that was reserved, in watts.
    pub fn judge(&self, when: &str) -> i64 {
        std::thread::sleep(READ_WITHIN + EACH * 2);
        let mut record = self.record.lock().unwrap();
        let drawn = std::mem::take(&mut record.drawn);
        let most = |watts: &mut dyn Iterator<Item = i64>| watts.max().unwrap_or(0);
        for (at, watts) in &drawn {
            // each reserve is in force from when it was read to the next; the one before that counts as long as limits settle
            let from = record.reserved.partition_point(|(read, _)| *read + SETTLES < *at).saturating_sub(1);
            let to = record.reserved.partition_point(|(read, _)| *read <= *at + READ_WITHIN);
            let reserved = most(&mut record.reserved[from..to].iter().map(|(_, reserved)| *reserved));
            assert!(*watts <= reserved as f64, "{when}: {watts:.0} W were drawn, {reserved} W were reserved");
            assert!(*watts <= CAP as f64, "{when}: {watts:.0} W were drawn, {CAP} W may be");
        }
        assert!(!drawn.is_empty(), "{when}: nothing was looked at");
        let since = drawn[0].0;
        let mut lately = record.reserved.iter().filter(|(read, _)| *read >= since).map(|(_, reserved)| *reserved);
        let reserved = most(&mut lately);
        let peak = drawn.iter().map(|(_, watts)| *watts).fold(0.0, f64::max);
        eprintln!(
            "{when}: at most {peak:.0} W were drawn, {reserved} W reserved, of {CAP} W, in {} looks",
            drawn.len()
        );
        // the first of the next are judged by the last of these
        let last = record.reserved.len().saturating_sub(20);
        record.reserved.drain(..last);
        reserved
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// What was published to the node, and what it acknowledged of that.
#[derive(Default)]
struct Books {
    published: BTreeMap<i64, i64>,
    acknowledged: i64,
}

impl Books {
    /// The highest of the acknowledged lease, of all leases since, and of the read-back. The report is read first: read last it
    /// could acknowledge a lease that was not read yet.
    async fn read(&mut self, client: &kube::Client) -> i64 {
        let power = Api::<NodePower>::all(client.clone()).get("real-0").await.unwrap();
        let row = Api::<PowerAllotment>::all(client.clone()).get_opt("row-a").await.unwrap();
        let child = row.and_then(|row| row.spec.child(&ChildKey::node("real-0")).cloned());
        if let Some(lease) = child.and_then(|child| child.lease) {
            self.published.insert(lease.sequence, lease.figures.watts);
        }
        let status = power.status.unwrap_or_default();
        self.acknowledged = self.acknowledged.max(status.applied_sequence);
        let leased = self.published.range(self.acknowledged..).map(|(_, watts)| *watts).max();
        leased.unwrap_or(power.spec.ceiling_watts).max(status.enforced_watts)
    }
}
