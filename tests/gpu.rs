//! What a device says of itself, read only: its draw, its energy counter against the draw that is integrated, its limits and what
//! they may be. On a real GPU by `make test-gpu`; here on a simulated one, so that the reading itself is known to be right.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]
#![allow(clippy::cast_precision_loss, reason = "watts and joules of half a minute")]

use heliotrope::actuator::device::{Devices, DrawKind, Identity, Range};
use heliotrope::actuator::nvml::Library;
use heliotrope::clock;
use heliotrope::units::Watts;
use std::fmt::Write;
use std::time::Duration;

/// What one GPU said.
struct Said {
    gpu: Identity,
    range: Range,
    set: Watts,
    enforced: Watts,
    kind: DrawKind,
    /// The lowest, the mean over time and the highest draw, in watts.
    draw: [f64; 3],
    /// Watts by the energy counter, over the same time.
    counted: f64,
    /// How often the draw was another than before.
    changes: usize,
    reads: usize,
}

/// Reads every GPU as often as it can be asked, each 20 ms at most, for so long. Sets nothing.
fn read(devices: &dyn Devices, millis: u64) -> Vec<Said> {
    let listing = devices.list().unwrap();
    assert!(!listing.devices.is_empty(), "no GPU is there");
    let mut said = Vec::new();
    for gpu in listing.devices {
        let mut device = devices.open(&gpu.uuid).unwrap();
        let (range, set, enforced) =
            (device.range().unwrap(), device.set_watts().unwrap(), device.enforced_watts().unwrap());
        // from one turn of the counter to another: it moves in steps
        let turn = |device: &mut dyn heliotrope::actuator::device::Device| {
            let before = device.energy_millijoules().unwrap();
            loop {
                let now = device.energy_millijoules().unwrap();
                if now != before {
                    return (now, clock::boot().0);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        let (first, began) = turn(&mut *device);
        let mut reads: Vec<(u64, f64)> = Vec::new();
        let mut kind = DrawKind::Instant;
        while clock::boot().0 < began + millis {
            let draw = device.draw().unwrap();
            kind = draw.kind;
            reads.push((clock::boot().0, draw.milliwatts as f64 / 1000.0));
            std::thread::sleep(Duration::from_millis(20));
        }
        let (last, ended) = turn(&mut *device);
        let joules: f64 =
            reads.windows(2).map(|two| (two[0].1 + two[1].1) / 2.0 * (two[1].0 - two[0].0) as f64 / 1000.0).sum();
        let watts = || reads.iter().map(|(_, watts)| *watts);
        let seconds = (reads.last().unwrap().0 - reads[0].0) as f64 / 1000.0;
        said.push(Said {
            gpu,
            range,
            set,
            enforced,
            kind,
            draw: [watts().fold(f64::MAX, f64::min), joules / seconds, watts().fold(0.0, f64::max)],
            counted: (last - first) as f64 / (ended - began) as f64,
            changes: reads.windows(2).filter(|two| (two[0].1 - two[1].1).abs() > f64::EPSILON).count(),
            reads: reads.len(),
        });
        assert_eq!((device.set_watts().unwrap(), device.enforced_watts().unwrap()), (set, enforced), "nothing was set");
    }
    said
}

fn table(said: &[Said]) -> String {
    let mut text = String::from(
        "| GPU | limits, W | default | set | in force | draw: least, mean, most, W | by its counter, W | counter ÷ mean | field | changes of reads |\n|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for one in said {
        let [least, mean, most] = one.draw;
        let _ = writeln!(
            text,
            "| {} | {} to {} | {} | {} | {} | {least:.1}, {mean:.1}, {most:.1} | {:.1} | {:.3} | {:?} | {} of {} |",
            one.gpu.model,
            one.range.min_watts.0,
            one.range.max_watts.0,
            one.range.default_watts.0,
            one.set.0,
            one.enforced.0,
            one.counted,
            one.counted / mean,
            one.kind,
            one.changes,
            one.reads
        );
    }
    text
}

#[test]
fn the_counter_of_a_simulated_gpu_is_its_draw_over_time() {
    use nvml_sim::{GpuSpec, Node, NodeSpec, Workload};
    let folder = tempfile::tempdir().unwrap();
    let spec = NodeSpec::of("node", 500, 1000, vec![GpuSpec::h100(); 2]).with_workload(Workload::training());
    let node = Node::create(folder.path().join("node"), &spec).unwrap();
    let library = Library::load(Some(&node.install_library().unwrap())).unwrap();
    let said = read(&library, 2000);
    println!("{}", table(&said));
    for one in &said {
        assert!((0.97..1.03).contains(&(one.counted / one.draw[1])), "{}", table(&said));
        assert!(one.enforced <= one.range.max_watts && one.set >= one.range.min_watts);
    }
}

#[test]
#[ignore = "needs a GPU: make test-gpu"]
fn a_real_gpu_is_as_we_take_it_to_be() {
    let library = Library::load(None).unwrap();
    let said = read(&library, 30_000);
    let table = table(&said);
    println!("{table}");
    if let Some(path) = std::env::var_os("HELIOTROPE_RESULTS") {
        let mut text = std::fs::read_to_string(&path).unwrap_or_else(|_| "# Measured\n".to_owned());
        let _ = write!(
            text,
            "\n## Devices, read only (`make test-gpu`)\n\n30 s each, with what ran on it at that time; nothing was set.\n\n{table}"
        );
        std::fs::write(&path, text).unwrap();
    }
    for one in &said {
        assert!(one.enforced <= one.range.max_watts, "more is in force than it takes");
        // a counter and a draw that do not agree would not close the books
        assert!((0.9..1.1).contains(&(one.counted / one.draw[1])), "the counter is not the draw over time");
    }
}
