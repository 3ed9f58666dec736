//! The `AcceleratorProfile`s that the chart ships, reckoned from the sweeps of limits in the shared data: `make profiles`.
//!
//! One for each device and kind of work. At each limit the slowest and the most drawn of all workloads of that kind, so nothing is
//! slowed more, and nothing draws more, than is believed; points below the hull are left out. What is said of the device (its range,
//! its margin) is the same in all its profiles.

use crate::data::{IDLE, number, rows};
use heliotrope::core::profile::Curve;
use heliotrope::units::Watts;
use std::collections::BTreeMap;
use std::path::Path;

/// Under limits at which a device was seen this far above them, in thousandths, none is set: its lowest limit is the first above.
/// An A40 draws 121 W under 100, and 127 under 125.
const TOLERATED: i64 = 50;

/// What an idle device is taken to draw at most where nobody measured it, in thousandths of its highest limit: as where nothing is
/// known of it.
const IDLE_PERMILLE: i64 = 150;

const A100: &str = "emerald-ai/emerald-ai-demo-may-2025, a100_llm_power_limit_sweep.csv, Apache-2.0 (arXiv 2507.00909)";
const ZEUS: &str = "ml-energy/zeus, zeus_nsdi23 traces, Apache-2.0 (You et al., NSDI 2023)";

/// Speed and draw of one workload at one limit.
#[derive(Debug, Clone, Copy)]
struct Sample {
    limit: i64,
    /// In watts.
    draw: f64,
    /// In any unit.
    speed: f64,
}

/// A workload that was run at several limits, by rising limit.
#[derive(Debug, Clone)]
struct Run {
    kind: String,
    samples: Vec<Sample>,
}

/// A device, and which of its runs stand for which classes of work.
struct Device<'a> {
    model: &'a str,
    runs: &'a [Run],
    idle: i64,
    /// What is said of it in each source.
    said: &'a str,
}

/// The runs of one kind of work.
struct Kind<'a> {
    /// The end of the profile's name.
    name: &'a str,
    /// The classes that it is for; none means all.
    classes: &'a str,
    /// How the names of its runs begin; empty for all.
    begins: &'a [&'a str],
    said: &'a str,
}

const LLM: [Kind<'static>; 3] = [
    Kind { name: "pretraining", classes: "Pretraining", begins: &["pt_"], said: "MPT-7B and MPT-13B pre-training" },
    Kind { name: "finetuning", classes: "FineTuning", begins: &["ft_"], said: "Llama-8B fine-tuning on two data sets" },
    Kind {
        name: "inference",
        classes: "BatchInference, Serving, Evaluation",
        begins: &["infer_"],
        said: "Llama-8B inference with three numbers of GPUs, always loaded",
    },
];

const DNN: [Kind<'static>; 2] = [
    Kind {
        name: "finetuning",
        classes: "FineTuning",
        begins: &["squad", "sentiment140"],
        said: "BERT fine-tuning (SQuAD, Sentiment140) at all batch sizes",
    },
    Kind {
        name: "any",
        classes: "",
        begins: &[],
        said: "training of five kinds of network on six data sets, at all batch sizes",
    },
];

/// The devices of the Zeus traces: file, model. The traces say V100, A40, RTX 6000 and P100; a highest limit of 250 W is that of the PCIe
/// boards of V100 and P100, and the memory is that of the paper's machines.
const DEVICES: [(&str, &str); 4] = [
    ("v100", "Tesla-V100-PCIE-32GB"),
    ("a40", "NVIDIA-A40"),
    ("rtx6000", "Quadro-RTX-6000"),
    ("p100", "Tesla-P100-PCIE-16GB"),
];

/// All of them: file name and text.
///
/// # Errors
/// Where a file can't be read, or has nothing that makes a profile.
pub fn shipped(data: &Path) -> Result<Vec<(String, String)>, String> {
    let mut files = Vec::new();
    let runs = emerald(&data.join("gpu-power/a100_llm_power_limit_sweep.csv"))?;
    for model in ["NVIDIA-A100-SXM4-40GB", "NVIDIA-A100-SXM4-80GB"] {
        let said = "Idle: lower third of two A100 fleets (InternLM/AcmeTrace, CC BY 4.0). The sweep does not name the memory size";
        let device = Device { model, runs: &runs, idle: IDLE as i64, said };
        for kind in &LLM {
            files.push(profile(&device, kind, A100)?);
        }
    }
    for (file, model) in DEVICES {
        let runs = zeus(&data.join(format!("gpu-power/zeus-nsdi23/summary_power_{file}.csv")))?;
        let samples = || runs.iter().flat_map(|run| &run.samples);
        let least = samples().map(|sample| sample.draw).fold(f64::INFINITY, f64::min);
        let max = samples().map(|sample| sample.limit).max().unwrap_or(0);
        let said =
            "Idle was not measured: no more than the least that any run drew, and than 15 % of the highest limit";
        let device = Device { model, runs: &runs, idle: (least as i64).min(max * IDLE_PERMILLE / 1000), said };
        for kind in &DNN {
            files.push(profile(&device, kind, ZEUS)?);
        }
    }
    Ok(files)
}

/// Runs of the A100 sweep.
fn emerald(path: &Path) -> Result<Vec<Run>, String> {
    let mut runs: BTreeMap<String, Vec<Sample>> = BTreeMap::new();
    for row in rows(path)? {
        let at = |column| number(path, &row, column);
        let sample = Sample { limit: at(1)?.round() as i64, draw: at(5)?, speed: at(2)? };
        runs.entry(row.first().cloned().unwrap_or_default()).or_default().push(sample);
    }
    ordered(path, runs)
}

/// Runs of a Zeus trace: each data set, network, batch size and optimizer.
fn zeus(path: &Path) -> Result<Vec<Run>, String> {
    let mut runs: BTreeMap<String, Vec<Sample>> = BTreeMap::new();
    for row in rows(path)? {
        let at = |column| number(path, &row, column);
        let seconds = at(5)?;
        if seconds <= 0.0 {
            return Err(format!("{}: an epoch of {seconds} s: {}", path.display(), row.join(",")));
        }
        let sample = Sample { limit: at(4)?.round() as i64, draw: at(6)?, speed: 1.0 / seconds };
        runs.entry(row.get(..4).unwrap_or_default().join(" ")).or_default().push(sample);
    }
    ordered(path, runs)
}

fn ordered(path: &Path, runs: BTreeMap<String, Vec<Sample>>) -> Result<Vec<Run>, String> {
    if runs.is_empty() {
        return Err(format!("{}: there is no run in it", path.display()));
    }
    let order = |(kind, mut samples): (String, Vec<Sample>)| {
        samples.sort_by_key(|sample| sample.limit);
        Run { kind, samples }
    };
    Ok(runs.into_iter().map(order).collect())
}

/// By limit: the most drawn in watts, rounded up, and the slowest in thousandths of the speed at a run's highest limit, rounded down.
fn worst<'a>(runs: impl Iterator<Item = &'a Run>) -> BTreeMap<i64, (i64, u32)> {
    let mut worst: BTreeMap<i64, (i64, u32)> = BTreeMap::new();
    for run in runs {
        let Some(full) = run.samples.last().map(|sample| sample.speed) else { continue };
        for Sample { limit, draw, speed } in &run.samples {
            let point = worst.entry(*limit).or_insert((0, 1000));
            point.0 = point.0.max(draw.ceil() as i64);
            point.1 = point.1.min((speed / full * 1000.0 + 1e-6).floor() as u32);
        }
    }
    worst
}

fn profile(device: &Device<'_>, kind: &Kind<'_>, source: &str) -> Result<(String, String), String> {
    let Device { model, runs, idle, said } = device;
    let name = format!("{}-{}", model.to_lowercase(), kind.name);
    let nothing = || format!("{name}: there are no points for it in the shared data");
    // of the device, whatever works on it
    let all = worst(runs.iter());
    let above = |(limit, (draw, _)): (&i64, &(i64, u32))| ((draw - limit).max(0) * 1000 + limit - 1) / limit;
    let min = all.iter().rev().take_while(|point| above(*point) <= TOLERATED).last().map(|(limit, _)| *limit);
    let (Some(min), Some(max)) = (min, all.keys().last().copied()) else { return Err(nothing()) };
    let margin = all.range(min..).map(above).max().unwrap_or(0);

    let is_of = |run: &&Run| kind.begins.is_empty() || kind.begins.iter().any(|begin| run.kind.starts_with(begin));
    let points = worst(runs.iter().filter(is_of));
    let points: BTreeMap<i64, (i64, u32)> = points.range(min..).map(|(limit, point)| (*limit, *point)).collect();
    let curve = Curve::of(points.iter().map(|(limit, (_, work))| (Watts(*limit), *work))).ok_or_else(nothing)?;
    let lines: Vec<String> = curve
        .limits()
        .filter_map(|limit| Some((limit, points.get(&limit.0)?)))
        .map(|(limit, (draw, work))| {
            format!("    - {{limitWatts: {}, drawWatts: {draw}, throughputPermille: {work}}}\n", limit.0)
        })
        .collect();
    let classes =
        if kind.classes.is_empty() { String::new() } else { format!("  workloadClasses: [{}]\n", kind.classes) };
    let lowest = all.keys().next().copied().unwrap_or(min);
    let floor = match all.get(&lowest) {
        Some((draw, _)) if lowest < min => format!(" Under {lowest} W it drew {draw}, so {min} is the lowest."),
        _ => String::new(),
    };
    let text = format!(
        "# Written by `make profiles` from the data that its source names: not by hand.\n\
         apiVersion: heliotrope.dev/v1alpha1\nkind: AcceleratorProfile\nmetadata:\n  name: {name}\nspec:\n  deviceModel: {model}\n{classes}\
         \x20 minWatts: {min}\n  maxWatts: {max}\n  idleWatts: {idle}\n  overshootPermille: {margin}\n  points:\n{}  source: >-\n    {source}:\n    \
         {}; at each limit the slowest and the most drawn, points below the hull left out.{floor}\n    {said}.\n",
        lines.concat(),
        kind.said,
    );
    Ok((format!("{name}.yaml"), text))
}
