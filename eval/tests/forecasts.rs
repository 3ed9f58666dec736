//! Forecasts and a year that is followed by them, at a small size and on a made-up grid: what must be true whatever the figures are.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use heliotrope::core::chance::random;
use heliotrope::core::steps::Steps;
use heliotrope::units::{Moment, Seconds};
use heliotrope_eval::years::{Roof, Signal, bill, joined, rated_for, series, spreads, stream};
use heliotrope_eval::{e6, forecasts, section, solar};
use std::fmt::Write;
use std::path::PathBuf;

const DAY: i64 = 86_400;

/// The first day of the made-up grid, 2023-01-01, the first that is counted, and the end.
const DAYS: [i64; 3] = [19_358, 19_358 + 150, 19_358 + 171];

/// A folder of its own that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("heliotrope-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Carbon that is low around noon, by how much the sun of these days decides: some last, some don't.
fn carbon(from: i64, to: i64) -> String {
    let mut text = "Datetime (UTC),Carbon Intensity gCO₂eq/kWh (LCA)\n".to_owned();
    let draw = |index: i64| (random(5, index.unsigned_abs()) % 2001) as f64 / 1000.0 - 1.0;
    for hour in from * 24..to * 24 {
        let sun: f64 = (0..4).map(|back| draw(9_000_000 + hour / 24 - back)).sum::<f64>() / 4.0;
        let height = (6.0 - (hour % 24 - 12).abs() as f64).max(0.0) / 6.0;
        let value = 450.0 - height * (180.0 + 150.0 * sun) + 4.0 * draw(hour);
        writeln!(text, "{},{value:.2}", Moment(hour * 3600).to_string().replace('T', " ").trim_end_matches('Z'))
            .unwrap();
    }
    text
}

fn grid(folder: &Folder) -> Vec<PathBuf> {
    vec![
        folder.write("first.csv", &carbon(DAYS[0], DAYS[0] + 100)),
        folder.write("second.csv", &carbon(DAYS[0] + 100, DAYS[2])),
    ]
}

#[test]
fn a_forecast_that_learns_is_nearer_and_its_quantiles_hold() {
    let folder = Folder::new("forecasts");
    let setting = forecasts::Setting {
        series: vec![("made-up".to_owned(), Signal::Carbon, grid(&folder))],
        start: Moment(DAYS[1] * DAY),
        days: 21,
    };
    let found = forecasts::run(&setting).unwrap();
    let leads = &found.zones[0].leads;
    assert_eq!(leads.iter().map(|lead| lead.hours).collect::<Vec<_>>(), forecasts::LEADS);
    for lead in leads {
        assert!(lead.learned < lead.hour_of_week, "{lead:?}");
        // a day ahead this grid is much like the day before, and that is hard to beat
        assert!(lead.hours >= 24 || lead.learned < lead.persistence, "{lead:?}");
        for (below, permille) in lead.below_percent.iter().zip(forecasts::QUANTILES) {
            let nominal = f64::from(permille) / 10.0;
            assert!((below - nominal).abs() < 12.0, "{} h: {below} % at most at {nominal} %", lead.hours);
        }
    }
    assert!(leads[0].learned < leads[2].learned, "what is near is known better");
    let text = section::forecasts(&found);
    assert!(text.contains(&format!("| {:.2} | {} of 12 |", leads[0].learned, leads[0].better_months)), "{text}");
    let beyond = forecasts::run(&forecasts::Setting { days: 40, ..setting }).unwrap_err();
    assert!(beyond.contains("made-up") && beyond.contains("2023-06-21"), "{beyond}");
}

#[test]
fn who_knows_all_reaches_the_optimum_and_who_learns_is_nearer_than_who_does_not() {
    let folder = Folder::new("e6");
    let mut jobs = "arrival_time,length,cpus\n".to_owned();
    for job in 0..20 {
        writeln!(jobs, "{},{},{}", job * 30_000 + 700, 1800 * (1 + job % 9), 1 + job % 3).unwrap();
    }
    let names = ["{noisePercent: 0}", "{noisePercent: 20}", "hour-of-week", "learned"];
    let found = e6::run(&e6::Setting {
        series: vec![("made-up".to_owned(), Signal::Carbon, grid(&folder))],
        roofs: Vec::new(),
        jobs: folder.write("jobs.csv", &jobs),
        each: 1,
        start: Moment(DAYS[1] * DAY),
        days: 21,
        forecasts: names.map(str::to_owned).to_vec(),
        shortest: Seconds(60),
        seed: 1,
    })
    .unwrap();
    let zone = &found.zones[0];
    assert!(zone.spread_days > 0 && zone.clairvoyant_percent > 5.0, "{}", zone.clairvoyant_percent);
    for ran in &zone.runs {
        assert_eq!((ran.misses, ran.finished), (0, found.jobs), "{}", ran.forecast);
        assert!(ran.share_percent <= 100.0 + 1e-9 && ran.regret_percent >= -1e-9, "{}", ran.forecast);
    }
    let [all, noisy, weekly, learned] = &zone.runs[..] else { panic!("{} runs", zone.runs.len()) };
    assert!(all.share_percent > 99.9 && all.flips_per_job == 0.0, "{}", all.share_percent);
    assert!(noisy.share_percent < all.share_percent && noisy.stops_per_job > all.stops_per_job);
    assert!(learned.share_percent > weekly.share_percent, "{} and {}", learned.share_percent, weekly.share_percent);
    assert!(learned.flips_per_job < weekly.flips_per_job, "{} and {}", learned.flips_per_job, weekly.flips_per_job);
    let text = section::e6(&found);
    assert!(
        text.contains(&format!("| learned | {:.2} % | {:.1} % |", learned.saved_percent, learned.share_percent)),
        "{text}"
    );
}

/// A roof under the sun and the clouds of that grid, known for twelve days, by the time of Korea.
fn roof(folder: &Folder) -> Roof {
    let mut text = "local_time_KST,cloud_cover,ghi_model_Wm2\n".to_owned();
    for hour in DAYS[1] * 24..(DAYS[1] + 12) * 24 {
        let clear = 1.0 - (random(6, (hour / 24).unsigned_abs()) % 800) as f64 / 1000.0;
        let height = (6.0 - (hour % 24 - 12).abs() as f64).max(0.0) / 6.0;
        let local = Moment((hour + 9) * 3600).to_string().replace('T', " ");
        writeln!(text, "{},{clear:.2},{:.1}", local.trim_end_matches('Z'), 900.0 * height * clear).unwrap();
    }
    Roof { zone: "made-up".to_owned(), file: folder.write("roof.csv", &text) }
}

/// Three weeks under that roof.
fn under_the_roof(folder: &Folder, forecasts: &[&str]) -> e6::Setting {
    let mut jobs = "arrival_time,length,cpus\n".to_owned();
    for job in 0..40 {
        writeln!(jobs, "{},{},{}", job * 15_000 + 700, 1800 * (1 + job % 11), 1 + job % 3).unwrap();
    }
    e6::Setting {
        series: vec![("made-up".to_owned(), Signal::Carbon, grid(folder))],
        roofs: vec![roof(folder)],
        jobs: folder.write("jobs.csv", &jobs),
        each: 1,
        start: Moment(DAYS[1] * DAY),
        days: 21,
        forecasts: forecasts.iter().map(|name| (*name).to_owned()).collect(),
        shortest: Seconds(60),
        seed: 1,
    }
}

#[test]
fn under_a_roof_nobody_is_below_the_lp_of_all_and_who_knows_all_is_near_it() {
    let folder = Folder::new("e6-roof");
    let found = e6::run(&under_the_roof(&folder, &["{noisePercent: 0}", "persistence", "learned"])).unwrap();
    let [zone] = &found.under_roofs[..] else { panic!("{} roofs", found.under_roofs.len()) };
    let roof = zone.roof.as_ref().unwrap();
    // as long as the roof is known, and no longer
    assert_eq!(roof.days, 12);
    assert!(roof.jobs < found.jobs && roof.clairvoyant_percent > roof.at_once_percent + 10.0, "{roof:?}");
    for ran in &zone.runs {
        assert_eq!((ran.misses, ran.finished), (0, roof.jobs), "{}", ran.forecast);
        assert!(
            ran.share_percent <= 100.001 && ran.regret_percent >= -0.001,
            "{}: {}",
            ran.forecast,
            ran.share_percent
        );
        let own = ran.own_use_percent.unwrap();
        assert!((roof.at_once_percent..=100.0).contains(&own) && ran.spread_share_percent.is_none(), "{own}");
    }
    let [all, yesterday, _] = &zone.runs[..] else { panic!("{} runs", zone.runs.len()) };
    // signals are known to it, and jobs only when they come
    assert!(all.share_percent > 90.0 && all.share_percent > yesterday.share_percent, "{}", all.share_percent);
    let text = section::e6(&found);
    assert!(text.contains("### made-up, carbon, under a roof"), "{text}");
    let row = format!(
        "| persistence | {:.2} % | {:.1} % | {:.1} % |",
        yesterday.saved_percent,
        yesterday.share_percent,
        yesterday.own_use_percent.unwrap()
    );
    assert!(text.contains(&row), "{row}\n{text}");
}

#[test]
fn a_lower_cap_lets_less_of_a_roof_be_used_and_is_kept() {
    let folder = Folder::new("solar");
    let found = solar::run(&solar::Setting {
        followed: under_the_roof(&folder, &["perfect"]),
        caps_permille: vec![None, Some(700)],
    })
    .unwrap();
    let [free, capped] = &found.sites[..] else { panic!("{} sites", found.sites.len()) };
    assert_eq!((free.cap_watts, capped.cap_watts), (None, Some(capped.peak_watts * 7 / 10)));
    for site in [free, capped] {
        let [now, ours, least] = &site.rows[..] else { panic!("{} rows", site.rows.len()) };
        assert_eq!((ours.misses, ours.seconds_over, now.seconds_over), (0, 0, 0), "{:?}", site.cap_watts);
        assert!(now.own_use_percent < ours.own_use_percent, "{now:?} {ours:?}");
        assert!(ours.saved_percent <= least.saved_percent + 0.001, "{ours:?} {least:?}");
        // it makes as much as they use
        assert!((ours.own_use_percent - ours.cover_percent).abs() < 1.0, "{ours:?}");
    }
    assert!(free.rows[0].saved_percent.abs() < 0.001, "{:?}", free.rows[0]);
    assert!(capped.rows[2].saved_percent < free.rows[2].saved_percent);
    let text = section::solar(&found);
    assert!(text.contains(&format!("| the LP | {:.1} % |", free.rows[2].own_use_percent)), "{text}");
}

#[test]
fn a_bill_is_of_what_is_drawn_beyond_the_roof() {
    let price = Steps::new(10, [(Moment(100), -3)]);
    let own = Steps::new(0, [(Moment(10), 500), (Moment(60), 2000)]);
    // 1 kW until 50, 2 kW until 80, 1 kW until 120
    let all = [(Moment(0), Moment(80), 1000), (Moment(50), Moment(120), 1000)];
    let bill = bill(&price, Some(&own), all);
    // up to 10, to 50, to 60; all of the roof until 80, then half of it; paid for drawing from 100 on
    let cost = 10 * (1000 * 10 + 500 * 40 + 1500 * 10) - 3 * 1000 * 20;
    assert!((bill.cost - f64::from(cost)).abs() < 1e-6, "{}", bill.cost);
    assert!((bill.own - (500 * 50 + 2000 * 20 + 1000 * 20) as f64).abs() < 1e-6, "{}", bill.own);
    let folder = Folder::new("rated-for");
    let (_, made) = roof(&folder).read().unwrap();
    let night = (Moment(DAYS[1] * DAY), Moment(DAYS[1] * DAY + 3600));
    assert!(rated_for("a,b,c\n0,10,1\n", &made, night.0, night.1).unwrap_err().contains("nothing is generated"));
    assert!(rated_for("a,b,c\n0,ten,1\n", &made, made.from, made.until).unwrap_err().contains("0,ten,1"));
}

#[test]
fn a_stream_takes_jobs_in_turn_and_files_are_joined_once() {
    let folder = Folder::new("years");
    let jobs = folder.write("jobs.csv", "arrival_time,length,cpus\n10,100,1\n20,200,2\n30,500000,3\n");
    // the first and the third in even weeks, the second in odd ones; the long one of the third week would not be done in time
    let text = stream(&jobs, 2, Seconds(18 * DAY), Seconds(DAY)).unwrap();
    assert_eq!(text, "arrival_time,length,cpus\n10,100,1\n30,500000,3\n604820,200,2\n1209610,100,1\n");
    let bad = folder.write("bad.csv", "arrival_time,length,cpus\nsoon,100,1\n");
    assert!(stream(&bad, 2, Seconds(DAY), Seconds(0)).unwrap_err().contains("\"soon\""));
    let files = grid(&folder);
    assert_eq!(joined(&files).unwrap(), carbon(DAYS[0], DAYS[2]));
    let all = series(&files, Signal::Carbon).unwrap();
    assert_eq!((all.from, all.until), (Moment(DAYS[0] * DAY), Moment(DAYS[2] * DAY)));
    let spread = spreads(&all, all.from, all.from + Seconds(10 * DAY));
    assert!(spread.len() == 10 && spread.iter().all(|spread| (0.0..3.0).contains(spread)), "{spread:?}");
    assert!(joined(&[folder.0.join("none.csv")]).unwrap_err().contains("--data"));
    assert!(series(&[files[1].clone(), files[0].clone()], Signal::Carbon).is_err(), "time goes back");
}
