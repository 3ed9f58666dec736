//! The operating points that a scenario's work has: one that is named by a profile may be slowed, the rest runs at full.

use super::scenario::Profile;
use crate::api::AcceleratorProfile;
use crate::core::plan::{Load, Pace, PoolChoice, PoolId, worth_choosing};
use crate::units::Watts;
use crate::yaml::{Document, YamlError};

/// What an accelerator, or all of a job, draws at a point, and how fast it works there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperatingPoint {
    /// Draw of the accelerators, without hosts.
    pub watts: Watts,
    /// How many these are.
    pub accelerators: u32,
    /// Speed, as a part of that at full.
    pub pace: Pace,
}

impl OperatingPoint {
    /// The only point of an accelerator that is never slowed.
    #[must_use]
    pub fn full(watts: Watts) -> Self {
        Self { watts, accelerators: 1, pace: Pace::FULL }
    }

    /// The point of so many that work in step.
    pub(super) fn times(self, accelerators: u32) -> Self {
        Self { watts: self.watts.times(accelerators), accelerators, ..self }
    }
}

/// One A100 (limits of 400, 350, 300, 250, 200, 100 W) under a workload: what it draws, and its speed in millionths of that at 400 W.
/// The profiles that need no file. Draws are rounded up from the columns "power per GPU" and "normalized throughput" of
/// `a100_llm_power_limit_sweep.csv`, emerald-ai-demo-may-2025, Apache-2.0.
const PROFILES: [(&str, [(i64, u32); 6]); 8] = [
    (
        "ft_llama_8b_dolly",
        [(346, 1_000_000), (321, 980_282), (289, 950_704), (245, 904_225), (197, 807_042), (100, 240_845)],
    ),
    (
        "ft_llama_8b_p3",
        [(344, 1_000_000), (318, 967_330), (286, 937_500), (240, 877_841), (196, 784_091), (101, 227_983)],
    ),
    (
        "infer_llama_8b",
        [(369, 1_000_000), (333, 975_976), (289, 930_931), (242, 870_871), (195, 780_781), (98, 225_225)],
    ),
    (
        "infer_llama_8b_32g",
        [(369, 1_000_000), (333, 975_976), (289, 930_931), (242, 870_871), (195, 780_781), (98, 225_225)],
    ),
    (
        "infer_llama_8b_48g",
        [(369, 1_000_000), (333, 975_976), (289, 930_931), (242, 870_871), (195, 780_781), (98, 225_225)],
    ),
    (
        "pt_mpt_13b_lg",
        [(382, 1_000_000), (338, 921_348), (292, 859_551), (245, 780_899), (197, 623_596), (102, 191_011)],
    ),
    (
        "pt_mpt_13b_sm",
        [(377, 1_000_000), (331, 911_602), (288, 866_022), (244, 783_149), (196, 638_122), (103, 190_608)],
    ),
    (
        "pt_mpt_7b_fast",
        [(388, 1_000_000), (344, 934_978), (296, 874_439), (248, 786_996), (199, 625_561), (100, 174_888)],
    ),
];

/// The points of one accelerator that are worth choosing, the full one first: of a profile in a file where `profiles` names one,
/// else of one that is built in.
///
/// A file is either a sweep (CSV with the columns `Workload`, `GPU power cap`, `power per GPU` and, where it is slower under lower
/// caps, `normalized throughput`), in which the profile's name is a workload, or an `AcceleratorProfile` (YAML), in which it may be any.
/// Full is the fastest point; of a sweep without speeds there is only the one at the highest cap.
pub(super) fn points(
    document: &Document,
    profiles: &[Profile],
    name: &str,
    field: &str,
    read: &dyn Fn(&str, &str) -> Result<String, YamlError>,
) -> Result<Vec<OperatingPoint>, YamlError> {
    let Some(i) = profiles.iter().position(|profile| profile.name == name) else {
        let known = PROFILES.iter().find(|(known, _)| *known == name);
        let (_, measured) = known.ok_or_else(|| {
            let known = PROFILES.map(|(known, _)| known).join(", ");
            let what = "is neither in the scenario's profiles ({name, file}) nor built in; built in are";
            document.error(field, format!("`{name}` {what} {known}"))
        })?;
        let measured = measured.map(|(watts, millionths)| (watts as f64, f64::from(millionths)));
        return worth(&measured).ok_or_else(|| document.error(field, format!("`{name}` has no point")));
    };
    let file = &profiles[i].file;
    let field = format!("profiles[{i}].file");
    let text = read(file, &field)?;
    let is_yaml = file.ends_with(".yaml") || file.ends_with(".yml");
    let measured = if is_yaml { declared(&text) } else { swept(&text, name) };
    let measured = measured.map_err(|what| document.error(&field, format!("{file}: {what}")))?;
    let none = || format!("{file}: no point of `{name}` draws from above 0 to 1 MW and works at a speed above 0");
    worth(&measured).ok_or_else(|| document.error(&field, none()))
}

/// Draws and speeds of an `AcceleratorProfile`.
fn declared(text: &str) -> Result<Vec<(f64, f64)>, String> {
    let profile: AcceleratorProfile = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
    let points = profile.spec.points.iter();
    Ok(points.map(|point| (point.draw_watts as f64, f64::from(point.throughput_permille))).collect())
}

/// Draws and speeds of a workload in a sweep.
fn swept(text: &str, name: &str) -> Result<Vec<(f64, f64)>, String> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let mut rows: Vec<(f64, f64, Option<f64>)> = Vec::new();
    for record in reader.deserialize::<std::collections::BTreeMap<String, String>>() {
        let record = record.map_err(|error| error.to_string())?;
        if record.get("Workload").is_some_and(|workload| workload == name) {
            let number = |column: &str| record.get(column).and_then(|text| text.parse::<f64>().ok());
            let figures = number("GPU power cap").zip(number("power per GPU"));
            rows.extend(figures.map(|(cap, draw)| (cap, draw, number("normalized throughput"))));
        }
    }
    if rows.is_empty() {
        return Err(format!("no row of workload `{name}` has figures"));
    }
    if rows.iter().all(|(.., speed)| speed.is_some()) {
        return Ok(rows.into_iter().filter_map(|(_, draw, speed)| Some((draw, speed?))).collect());
    }
    let highest = rows.into_iter().max_by(|a, b| a.0.total_cmp(&b.0));
    Ok(highest.into_iter().map(|(_, draw, _)| (draw, 1.0)).collect())
}

/// The points worth choosing of draws and speeds in any unit; none where no point is one.
fn worth(measured: &[(f64, f64)]) -> Option<Vec<OperatingPoint>> {
    let sane = |(draw, speed): &&(f64, f64)| *draw > 0.0 && *draw < 1e6 && *speed > 0.0 && *speed < 1e12;
    let measured: Vec<&(f64, f64)> = measured.iter().filter(sane).collect();
    let fastest = measured.iter().map(|(_, speed)| *speed).fold(0.0, f64::max);
    let points = measured.into_iter().filter_map(|(draw, speed)| {
        let pace = Pace::millionths((speed / fastest * 1e6).round() as u32)?;
        let load = Load { watts: Watts(draw.ceil() as i64), accelerators: 1, hosts: 1 };
        Some(PoolChoice { pool: PoolId(0), load, pace })
    });
    let (worth, _) = worth_choosing(&points.collect::<Vec<_>>());
    let points =
        worth.iter().map(|point| OperatingPoint { pace: point.pace, ..OperatingPoint::full(point.load.watts) });
    let points: Vec<OperatingPoint> = points.collect();
    (!points.is_empty()).then_some(points)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(points: &[OperatingPoint]) -> Vec<(i64, u32)> {
        points.iter().map(|point| (point.watts.0, point.pace.per_million())).collect()
    }

    #[test]
    fn what_is_built_in_is_concave_and_full_at_its_highest_limit() {
        for (name, measured) in PROFILES {
            let points = worth(&measured.map(|(watts, millionths)| (watts as f64, f64::from(millionths)))).unwrap();
            assert_eq!(figures(&points)[0], measured[0], "{name}");
            assert!(points.len() >= 4, "{name}: {points:?}");
        }
    }

    #[test]
    fn a_file_is_a_sweep_or_a_profile() {
        let sweep = "Workload,GPU power cap,normalized throughput,power per GPU\n\
                     a,400,1.0,350.2\na,200,0.8,199.9\nb,400,1.0,100\na,300,0.85,300\n";
        assert_eq!(figures(&worth(&swept(sweep, "a").unwrap()).unwrap()), [(351, 1_000_000), (200, 800_000)]);
        assert_eq!(swept(sweep, "c"), Err("no row of workload `c` has figures".to_owned()));
        let without_speeds = "Workload,GPU power cap,power per GPU\na,200,190\na,400,350.2\n";
        assert_eq!(figures(&worth(&swept(without_speeds, "a").unwrap()).unwrap()), [(351, 1_000_000)]);
        let profile = include_str!("../../charts/heliotrope/profiles/nvidia-a100-sxm4-40gb-finetuning.yaml");
        let points = figures(&worth(&declared(profile).unwrap()).unwrap());
        assert_eq!((points[0], points[points.len() - 1]), ((346, 1_000_000), (101, 227_000)));
        assert!(declared("kind: AcceleratorProfile").is_err());
        for nonsense in [(f64::NAN, 1.0), (100.0, f64::NAN), (100.0, 0.0), (-5.0, 1.0), (f64::INFINITY, 1.0)] {
            assert_eq!(worth(&[nonsense]), None, "{nonsense:?}");
        }
    }
}
