//! What is made of the shared data, as commands: `make eval-E1`, `make eval-E2`, `make eval-E3`, `make eval-E4`, `make eval-E6`,
//! `make eval-solar`, `make eval-forecasts`, `make profiles`.

use clap::{Parser, Subcommand};
use heliotrope::units::{Moment, Seconds};
use heliotrope_eval::plot::{COLOURS, Line, draw};
use heliotrope_eval::years::{Roof, Signal};
use heliotrope_eval::{e1, e2, e3, e4, e6, forecasts, profiles, section, solar};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Measures Heliotrope on real data.
#[derive(Parser)]
struct Options {
    /// The folder of the shared data.
    #[arg(long, default_value = "../shared/data", global = true)]
    data: PathBuf,
    /// Where the JSON and the picture are written.
    #[arg(long, default_value = "target/eval", global = true)]
    out: PathBuf,
    /// The document whose section is written anew.
    #[arg(long, default_value = "docs/results.md", global = true)]
    results: PathBuf,
    /// Chance: the same seed gives the same bytes.
    #[arg(long, default_value_t = 1, global = true)]
    seed: u64,
    #[command(subcommand)]
    experiment: Experiment,
}

#[derive(Subcommand)]
enum Experiment {
    /// Following carbon under a cap.
    E1 {
        /// Zones: `carbon/ZONE_YEAR_hourly.csv` in the data.
        #[arg(long, value_delimiter = ',', default_values_t = ["US-CAL-CISO".to_owned(), "DE-LU".to_owned(), "KR".to_owned()])]
        zones: Vec<String>,
        /// The year of the carbon.
        #[arg(long, default_value_t = 2022)]
        year: u32,
        /// What time 0 of the jobs is.
        #[arg(long, default_value = "2022-10-19T16:00:00Z")]
        start: String,
        /// The jobs.
        #[arg(long)]
        jobs: Option<PathBuf>,
        /// Caps in kW, beside none.
        #[arg(long, value_delimiter = ',', default_values_t = [42_i64, 34, 25, 21])]
        caps: Vec<i64>,
        /// Shortest runs in seconds; the bars are about the first.
        #[arg(long, value_delimiter = ',', default_values_t = [5_i64, 300, 900])]
        shortest: Vec<i64>,
        /// What a start after a stop may cost beside nothing, in seconds at the job's own draw.
        #[arg(long, value_delimiter = ',', default_values_t = [60_i64, 300])]
        stop_costs: Vec<i64>,
    },
    /// When and at how many watts.
    E2 {
        /// Zones: `carbon/ZONE_YEAR_hourly.csv` in the data.
        #[arg(long, value_delimiter = ',', default_values_t = ["US-CAL-CISO".to_owned(), "DE-LU".to_owned(), "KR".to_owned()])]
        zones: Vec<String>,
        /// The year of the carbon.
        #[arg(long, default_value_t = 2022)]
        year: u32,
        /// What time 0 of the jobs is.
        #[arg(long, default_value = "2022-10-19T16:00:00Z")]
        start: String,
        /// What a host draws for each of its accelerators in use, in watts.
        #[arg(long, value_delimiter = ',', default_values_t = [0_i64, 100, 200])]
        hosts: Vec<i64>,
        /// The cap beside none, in thousandths of the highest draw of running at once.
        #[arg(long, default_value_t = 600)]
        cap_permille: i64,
        /// Curves of the sweep that all jobs are given, beside all of them in turn.
        #[arg(long, value_delimiter = ',', default_values_t = ["infer_llama_8b".to_owned(), "pt_mpt_7b_fast".to_owned()])]
        curves: Vec<String>,
        /// Solves the LP under the cap too, of some hundred thousand variables. Else the plan's own bound stands for it.
        #[arg(long)]
        exact: bool,
    },
    /// Holding a curtailment.
    E3 {
        /// The folder of the event; that of the Phoenix trial where none is named.
        #[arg(long)]
        event: Option<PathBuf>,
        /// The sweep of limits.
        #[arg(long)]
        sweep: Option<PathBuf>,
    },
    /// More servers under the same feed.
    E4 {
        /// Power by hundredth of all samples.
        #[arg(long)]
        power: Option<PathBuf>,
        /// Accelerators by nameplate.
        #[arg(long, value_delimiter = ',', default_values_t = [256_u32, 512, 1024])]
        accelerators: Vec<u32>,
        /// How long each run is, in seconds.
        #[arg(long, default_value_t = 2400)]
        seconds: i64,
    },
    /// A year of real signals, forecast.
    E6 {
        /// What is followed.
        #[command(flatten)]
        followed: Followed,
        /// In each week comes one job of so many, in turn.
        #[arg(long, default_value_t = 10)]
        each: usize,
        /// Forecasts, as a scenario names them.
        #[arg(long, value_delimiter = ';', default_values_t = ["persistence", "hour-of-week", "learned", "{noisePercent: 0}", "{noisePercent: 5}", "{noisePercent: 10}", "{noisePercent: 20}"].map(str::to_owned))]
        forecasts: Vec<String>,
    },
    /// A year under a roof and a cap.
    Solar {
        /// What is followed.
        #[command(flatten)]
        followed: Followed,
        /// In each week comes one job of so many, in turn.
        #[arg(long, default_value_t = 1)]
        each: usize,
        /// Forecasts, as a scenario names them.
        #[arg(long, value_delimiter = ';', default_values_t = ["learned", "perfect"].map(str::to_owned))]
        forecasts: Vec<String>,
        /// Caps beside none, in thousandths of what running at once draws at the most.
        #[arg(long, value_delimiter = ',', default_values_t = [1500_i64, 1000])]
        caps_permille: Vec<i64>,
    },
    /// How well a year is forecast.
    Forecasts {
        /// Which year.
        #[command(flatten)]
        year: Year,
    },
    /// The profiles that the chart ships, written anew from the sweeps of limits.
    Profiles {
        /// The folder that they are written to.
        #[arg(long, default_value = "charts/heliotrope/profiles")]
        dir: PathBuf,
    },
}

/// Roofs in zones.
#[derive(clap::Args)]
struct Roofs {
    /// The zone that the roof stands in.
    #[arg(long, default_value = "KR")]
    roof_zone: String,
    /// What the roof makes, as `solar-csv` with `ghi_model_Wm2`; the modelled year of Seoul in the data where none is named.
    #[arg(long)]
    roof: Option<PathBuf>,
}

impl Roofs {
    /// The roof; none where no file was named and the data's own is not there.
    fn all(&self, data: &Path) -> Vec<Roof> {
        let seoul = data.join("solar/seoul-pv-modelled/seoul_2023_pv_modelled.csv");
        let file = self.roof.clone().or_else(|| seoul.is_file().then_some(seoul));
        file.map(|file| Roof { zone: self.roof_zone.clone(), file }).into_iter().collect()
    }
}

/// A year of signals in zones.
#[derive(clap::Args)]
struct Year {
    /// Zones: `carbon/ZONE_YEAR_hourly.csv` and `price/ZONE_electricity_prices_YEAR.csv` in the data; those that are not there are left away.
    #[arg(long, value_delimiter = ',', default_values_t = ["US-CAL-CISO".to_owned(), "DE-LU".to_owned(), "KR".to_owned()])]
    zones: Vec<String>,
    /// The year; the one before is learned from where its file is there.
    #[arg(long, default_value_t = 2023)]
    year: u32,
    /// How many days of it.
    #[arg(long, default_value_t = 365)]
    days: u32,
}

/// A year, its roofs, and the jobs that follow them.
#[derive(clap::Args)]
struct Followed {
    /// Which year.
    #[command(flatten)]
    year: Year,
    /// Roofs.
    #[command(flatten)]
    roofs: Roofs,
    /// The jobs of a week.
    #[arg(long)]
    jobs: Option<PathBuf>,
    /// The shortest run, in seconds.
    #[arg(long, default_value_t = 300)]
    shortest: i64,
}

impl Followed {
    fn setting(&self, options: &Options, each: usize, forecasts: &[String]) -> Result<e6::Setting, String> {
        Ok(e6::Setting {
            series: self.year.series(&options.data),
            roofs: self.roofs.all(&options.data),
            jobs: self.jobs.clone().unwrap_or_else(|| options.data.join("jobs/gaia-pai/pai_1k.csv")),
            each,
            start: self.year.start()?,
            days: self.year.days,
            forecasts: forecasts.to_vec(),
            shortest: Seconds(self.shortest),
            seed: options.seed,
        })
    }
}

impl Year {
    /// Each zone's carbon, and then its price where there is one.
    fn series(&self, data: &Path) -> Vec<(String, Signal, Vec<PathBuf>)> {
        let signals = [Signal::Carbon, Signal::Price];
        let all = signals.into_iter().flat_map(|signal| self.zones.iter().map(move |zone| (zone, signal)));
        all.filter_map(|(zone, signal)| {
            let [before, own] = [self.year.saturating_sub(1), self.year].map(|year| signal.file(data, zone, year));
            // carbon that is not there is a mistake, and is told where it is read
            let is_there = own.is_file() || signal == Signal::Carbon;
            let files = if before.is_file() { vec![before, own] } else { vec![own] };
            is_there.then(|| (zone.clone(), signal, files))
        })
        .collect()
    }

    fn start(&self) -> Result<Moment, String> {
        format!("{:04}-01-01T00:00:00Z", self.year).parse().map_err(|error| format!("--year {}: {error}", self.year))
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|error| format!("{} can't be made: {error}", folder.display()))?;
    }
    std::fs::write(path, text).map_err(|error| format!("{} can't be written: {error}", path.display()))
}

fn keep(options: &Options, name: &str, json: &impl serde::Serialize, picture: &str, text: &str) -> Result<(), String> {
    let json = serde_json::to_string_pretty(json).map_err(|error| format!("{name}: {error}"))?;
    write(&options.out.join(format!("{name}.json")), &format!("{json}\n"))?;
    write(&options.out.join(format!("{name}.svg")), picture)?;
    let document = match std::fs::read_to_string(&options.results) {
        Ok(document) => document,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(format!("{} can't be read: {error}", options.results.display())),
    };
    let document =
        section::replace(&document, name, text).map_err(|error| format!("{}: {error}", options.results.display()))?;
    write(&options.results, &document)?;
    println!("{text}");
    Ok(())
}

fn picture_of_e3(found: &e3::E3) -> String {
    let event = &found.phoenix;
    let minutes = |drawn: &[f64]| {
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64 / 1000.0;
        drawn.chunks(20).enumerate().map(|(at, part)| (at as f64 / 3.0 - 5.0, mean(part))).collect()
    };
    let lines = event.policies.iter().zip(COLOURS);
    let mut lines: Vec<Line> = lines
        .map(|(held, colour)| Line { name: held.policy.clone(), points: minutes(&held.drawn), colour, dashed: false })
        .collect();
    let end = event.policies.first().map_or(0.0, |held| held.drawn.len() as f64 / 60.0 - 15.0);
    let target = event.target_watts / 1000.0;
    lines.push(Line {
        name: "target".into(),
        points: vec![(0.0, target), (end, target)],
        colour: "#c00000",
        dashed: true,
    });
    draw("E3: draw of 256 A100, asked for 25 % less for three hours", "minutes", "kW, means of 20 s", 55.0, &lines)
}

fn picture_of_e4(found: &e4::E4) -> String {
    let mut lines = Vec::new();
    for (policy, colour) in e4::POLICIES.into_iter().zip([0, 6, 2, 5].map(|at| COLOURS[at])) {
        for (feed, dashed) in found.feeds.iter().zip([false, true, true]) {
            let own = feed.runs.iter().filter(|ran| ran.policy == policy);
            let points = own.map(|ran| (f64::from(ran.more_percent), ran.peak_percent)).collect();
            lines.push(Line { name: format!("{policy}, {}", feed.accelerators), points, colour, dashed });
        }
    }
    let most = found.feeds.iter().flat_map(|feed| &feed.runs).map(|ran| ran.more_percent).max().unwrap_or(0);
    lines.push(Line {
        name: "the feed".into(),
        points: vec![(0.0, 100.0), (f64::from(most), 100.0)],
        colour: "#c00000",
        dashed: true,
    });
    draw("E4: highest draw of a run, by servers beyond nameplate", "% more servers", "% of the feed", 40.0, &lines)
}

fn picture_of_e1(found: &e1::E1) -> String {
    let mut lines = Vec::new();
    for (zone, colour) in found.zones.iter().zip(COLOURS) {
        let capped = || zone.caps.iter().filter_map(|capped| Some((capped.cap_watts? as f64 / 1000.0, capped)));
        let ours = capped().filter_map(|(cap, capped)| Some((cap, capped.runs.first()?.saved_percent)));
        let best = capped().map(|(cap, capped)| (cap, capped.lp_saved_percent));
        lines.push(Line { name: zone.zone.clone(), points: ours.collect(), colour, dashed: false });
        lines.push(Line { name: format!("{}, the LP", zone.zone), points: best.collect(), colour, dashed: true });
    }
    draw("E1: carbon saved under a cap", "cap, kW", "% of running at once", 0.0, &lines)
}

fn picture_of_e6(found: &e6::E6) -> String {
    let mut lines = Vec::new();
    for (zone, colour) in found.zones.iter().zip(COLOURS) {
        let noise =
            |ran: &e6::Ran| ran.forecast.strip_prefix("{noisePercent: ")?.strip_suffix('}')?.parse::<f64>().ok();
        let points: Vec<(f64, f64)> =
            zone.runs.iter().filter_map(|ran| Some((noise(ran)?, ran.share_percent))).collect();
        let most = points.iter().map(|point| point.0).fold(1.0, f64::max);
        let name = format!("{}, {}", zone.zone, zone.signal);
        if let Some(ours) = zone.runs.iter().find(|ran| ran.forecast == "learned") {
            let points = vec![(0.0, ours.share_percent), (most, ours.share_percent)];
            lines.push(Line { name: format!("{name}, ours"), points, colour, dashed: true });
        }
        lines.push(Line { name, points, colour, dashed: false });
    }
    draw("E6: share of what one saves who knows all", "noise, %", "%", 40.0, &lines)
}

fn picture_of_solar(found: &solar::Solar) -> String {
    let mut lines: Vec<Line> = Vec::new();
    for site in &found.sites {
        let Some(cap) = site.cap_watts else { continue };
        for (row, colour) in site.rows.iter().zip(COLOURS) {
            let name = format!("{}, {}", site.zone, row.who.replace(['{', '}'], ""));
            let point = (cap as f64 / 1000.0, row.own_use_percent);
            match lines.iter_mut().find(|line| line.name == name) {
                Some(line) => line.points.push(point),
                None => lines.push(Line { name, points: vec![point], colour, dashed: row.who == "the LP" }),
            }
        }
    }
    draw("On-site solar: how much of the roof is used", "cap, kW", "% of what it makes", 0.0, &lines)
}

fn picture_of_forecasts(found: &forecasts::Forecasts) -> String {
    let mut lines = Vec::new();
    for (zone, colour) in found.zones.iter().filter(|zone| zone.signal == "carbon").zip(COLOURS) {
        let points = |of: &dyn Fn(&forecasts::Lead) -> f64| {
            zone.leads.iter().map(|lead| (lead.hours as f64, of(lead))).collect()
        };
        lines.push(Line { name: zone.zone.clone(), points: points(&|lead| lead.learned), colour, dashed: false });
        let weekly = points(&|lead| lead.hour_of_week);
        lines.push(Line { name: format!("{}, hour of week", zone.zone), points: weekly, colour, dashed: true });
    }
    draw("Forecasts of carbon: mean absolute error", "hours ahead", "g/kWh", 0.0, &lines)
}

fn picture_of_e2(found: &e2::E2) -> String {
    let mut zones: Vec<&String> = found.rows.iter().map(|row| &row.zone).collect();
    zones.dedup();
    let mut lines = Vec::new();
    for (zone, colour) in zones.into_iter().zip(COLOURS) {
        let of = |saved: &dyn Fn(&e2::Row) -> f64| {
            let rows =
                found.rows.iter().filter(|row| row.zone == *zone && row.curve.is_none() && row.cap_watts.is_none());
            rows.map(|row| (row.host_watts as f64, saved(row))).collect()
        };
        lines.push(Line { name: zone.clone(), points: of(&|row| row.saved_percent), colour, dashed: false });
        lines.push(Line {
            name: format!("{zone}, waiting alone"),
            points: of(&|row| row.shift_percent),
            colour,
            dashed: true,
        });
    }
    draw("E2: carbon saved by waiting and slowing", "W of the host for each GPU", "% of running at once", 0.0, &lines)
}

fn run(options: &Options) -> Result<(), String> {
    match &options.experiment {
        Experiment::E1 { zones, year, start, jobs, caps, shortest, stop_costs } => {
            let carbon = |zone: &String| options.data.join(format!("carbon/{zone}_{year}_hourly.csv"));
            let found = e1::run(&e1::Setting {
                zones: zones.iter().map(|zone| (zone.clone(), carbon(zone))).collect(),
                jobs: jobs.clone().unwrap_or_else(|| options.data.join("jobs/gaia-pai/pai_1k.csv")),
                start: start.clone(),
                hours: 720,
                caps: [None].into_iter().chain(caps.iter().map(|kilowatts| Some(kilowatts * 1000))).collect(),
                shortest: shortest.clone(),
                stop_costs: stop_costs.clone(),
                seed: options.seed,
            })?;
            keep(options, "E1", &found, &picture_of_e1(&found), &section::e1(&found))
        }
        Experiment::E2 { zones, year, start, hosts, cap_permille, curves, exact } => {
            let carbon = |zone: &String| options.data.join(format!("carbon/{zone}_{year}_hourly.csv"));
            let found = e2::run(&e2::Setting {
                zones: zones.iter().map(|zone| (zone.clone(), carbon(zone))).collect(),
                jobs: options.data.join("jobs/gaia-pai/pai_1k.csv"),
                sweep: options.data.join("gpu-power/a100_llm_power_limit_sweep.csv"),
                start: start.clone(),
                hours: 720,
                hosts: hosts.clone(),
                cap_permille: Some(*cap_permille),
                curves: std::iter::once(None).chain(curves.iter().cloned().map(Some)).collect(),
                exact: *exact,
                seed: options.seed,
            })?;
            keep(options, "E2", &found, &picture_of_e2(&found), &section::e2(&found))
        }
        Experiment::E3 { event, sweep } => {
            let found = e3::run(&e3::Setting {
                event: event.clone().unwrap_or_else(|| options.data.join("events/phoenix-srp")),
                sweep: sweep.clone().unwrap_or_else(|| options.data.join("gpu-power/a100_llm_power_limit_sweep.csv")),
                hold: 3 * 3600,
                step: 900,
                steps: vec![10, 20, 30, 40, 50, 60],
                seed: options.seed,
            })?;
            keep(options, "E3", &found, &picture_of_e3(&found), &section::e3(&found))
        }
        Experiment::E4 { power, accelerators, seconds } => {
            let found = e4::run(&e4::Setting {
                power: power.clone().unwrap_or_else(|| options.data.join("gpu-power/acme/power_cdf.csv")),
                accelerators: accelerators.clone(),
                more: vec![0, 10, 20, 30, 40, 50],
                seconds: *seconds,
                seed: options.seed,
            })?;
            keep(options, "E4", &found, &picture_of_e4(&found), &section::e4(&found))
        }
        Experiment::E6 { followed, each, forecasts } => {
            let found = e6::run(&followed.setting(options, *each, forecasts)?)?;
            keep(options, "E6", &found, &picture_of_e6(&found), &section::e6(&found))
        }
        Experiment::Solar { followed, each, forecasts, caps_permille } => {
            let mut followed = followed.setting(options, *each, forecasts)?;
            followed.series.retain(|(_, signal, _)| *signal == Signal::Carbon);
            let caps_permille = [None].into_iter().chain(caps_permille.iter().copied().map(Some)).collect();
            let found = solar::run(&solar::Setting { followed, caps_permille })?;
            keep(options, "solar", &found, &picture_of_solar(&found), &section::solar(&found))
        }
        Experiment::Forecasts { year } => {
            let found = forecasts::run(&forecasts::Setting {
                series: year.series(&options.data),
                start: year.start()?,
                days: year.days,
            })?;
            keep(options, "forecasts", &found, &picture_of_forecasts(&found), &section::forecasts(&found))
        }
        Experiment::Profiles { dir } => {
            for (name, text) in profiles::shipped(&options.data)? {
                write(&dir.join(name), &text)?;
            }
            Ok(())
        }
    }
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
