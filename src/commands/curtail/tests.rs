//! What is typed, and what becomes of it. That it is written and obeyed is shown in `tests/controller/curtail.rs`.

use super::*;
use clap::{Command, FromArgMatches};

/// 2026-12-01T12:00:00Z
const NOON: Moment = Moment(1_796_126_400);

fn site() -> Vec<PowerDomain> {
    let domain = |name: &str, cap: i64| -> PowerDomain {
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"capWatts": cap}})).unwrap()
    };
    let mut all = vec![domain("site", 34_000), domain("row-a", 20_000)];
    all[0].spec.mode = Some(Mode::Enforce);
    all[1].spec.parent = Some("site".to_owned());
    all
}

fn typed(line: &str) -> Result<Curtail, String> {
    let words = std::iter::once("curtail").chain(line.split(' ')).map(|word| word.replace('_', " "));
    let matches = Curtail::augment_args(Command::new("curtail")).try_get_matches_from(words);
    let matches = matches.map_err(|error| error.to_string())?;
    Curtail::from_arg_matches(&matches).map_err(|error| error.to_string())
}

fn asked(line: &str) -> Result<CurtailmentEventSpec, String> {
    Ok(typed(line)?.event(&site(), NOON)?.spec)
}

#[test]
fn what_is_asked_for_becomes_absolute_watts_and_times() {
    for (line, watts) in [
        ("site --to 70% --for 3h", 23_800),
        ("site --by 30% --for 3h", 23_800),
        ("site --to 24_kW --for 3h", 24_000),
        ("site --by 10_kW --for 3h", 24_000),
        ("row-a --to 99% --for 3h", 19_800),
        ("site --by 100% --for 3h", 1),
    ] {
        let spec = asked(line).unwrap();
        assert_eq!(spec.target, CurtailmentTarget { cap_watts: Some(watts), ..CurtailmentTarget::default() }, "{line}");
        assert_eq!((spec.start, spec.end.0.as_second()), (None, NOON.0 + 3 * 3600), "{line}");
    }
    let later = asked("site --to 70% --at 2026-12-01T18:00:00+09:00 --for 2h");
    assert_eq!(
        later.unwrap_err(),
        "--at 2026-12-01T09:00:00Z has passed, it is 2026-12-01T12:00:00Z: leave it out to begin at once"
    );
    let later = asked("site --to 70% --at 2026-12-01T13:00:00Z --for 2h --reason peak").unwrap();
    assert_eq!(later.start.unwrap().0.as_second(), NOON.0 + 3600);
    assert_eq!((later.end.0.as_second(), later.reason.as_deref()), (NOON.0 + 3 * 3600, Some("peak")));
    assert_eq!(asked("site --to 70% --until 2026-12-01T13:00:00Z").unwrap().end.0.as_second(), NOON.0 + 3600);
}

#[test]
fn each_mistake_is_told_in_words() {
    for (line, said) in [
        ("hall --to 70% --for 3h", "there is no PowerDomain hall: there are row-a, site"),
        ("site --to 120% --for 3h", "--to 120%: is more than there is: write 1% to 99%"),
        ("site --to 100% --for 3h", "--to 100%: 34000 W is not below the capWatts of site, 34000 W"),
        ("site --to 0% --for 3h", "--to 0%: nothing would be left: --by 100% says so, and stops all"),
        ("site --to 0_W --for 3h", "--to 0 W: nothing would be left: --by 100% says so, and stops all"),
        ("site --to 7.5% --for 3h", "--to 7.5%: is not a whole number of percent such as 70%"),
        ("site --to % --for 3h", "--to %: is not a whole number of percent such as 70%"),
        ("site --to 99999999999% --for 3h", "--to 99999999999%: is not a whole number of percent such as 70%"),
        ("site --by 101% --for 3h", "--by 101%: is more than there is: write 1% to 100%"),
        ("site --by 0% --for 3h", "--by 0%: 34000 W is not below the capWatts of site, 34000 W"),
        (
            "site --by 34_kW --for 3h",
            "--by 34 kW: site has 34000 W, and 34000 W less leaves nothing; --by 100% stops all",
        ),
        ("site --to 40_kW --for 3h", "--to 40 kW: 40000 W is not below the capWatts of site, 34000 W"),
        (
            "site --to 24 --for 3h",
            "--to 24: `24` has no unit: write a power such as 800 W, 12 kW or 1.2 MW, or a share of the cap such as 70%",
        ),
        ("site --to 24_kWh --for 3h", "--to 24 kWh: `24 kWh` is energy, but power is needed here"),
        ("site --to 70% --for 0s", "--for 0s: a curtailment of no length does nothing"),
        ("site --to 70% --for 3", "--for: `3` has no unit"),
        ("site --to 70% --for 400d", "it would last 400d, longer than a year: lower capWatts of site instead"),
        ("site --to 70% --for 99999999999999999999d", "--for: `99999999999999999999d` is larger than can be counted"),
        (
            "site --to 70% --until 2026-12-01T12:00:00Z",
            "it would end at 2026-12-01T12:00:00Z, in the past: it is 2026-12-01T12:00:00Z",
        ),
        ("site --to 70% --until soon", "--until: `soon` is not a time such as"),
        (
            "site --to 70% --at 2026-12-02T00:00:00Z --until 2026-12-01T13:00:00Z",
            "it would end at 2026-12-01T13:00:00Z, before it begins: it is 2026-12-01T12:00:00Z",
        ),
        (
            "site --to 70%",
            "error: the following required arguments were not provided:\n  <--for <DURATION>|--until <TIME>>",
        ),
        ("site --for 3h", "error: the following required arguments were not provided:\n  <--to <POWER>|--by <POWER>>"),
        ("site --to 70% --by 5% --for 3h", "error: the argument '--to <POWER>' cannot be used with '--by <POWER>'"),
        (
            "site --to 70% --for 3h --until 2026-12-01T13:00:00Z",
            "error: the argument '--for <DURATION>' cannot be used with",
        ),
    ] {
        let found = asked(line).unwrap_err();
        assert!(found.starts_with(said), "{line}:\n found {found}\nwanted {said}");
    }
}

#[test]
fn it_says_what_it_made_and_what_stands_beside_it() {
    let mut domains = site();
    let mut event = typed("site --to 70% --for 3h").unwrap().event(&domains, NOON).unwrap();
    assert_eq!((event.metadata.name.as_deref(), event.metadata.generate_name.as_deref()), (None, Some("site-")));
    event.metadata.name = Some("site-x7k2p".to_owned());
    let line = "site-x7k2p: site from 34000 W to 23800 W, from now until 2026-12-01T15:00:00Z (3h)";
    assert_eq!(told(&event, &domains, NOON), [line]);
    let status = json!({"effectiveCapWatts": 20_000, "effectiveCapReason": "CurtailmentEvent site-first"});
    domains[0].status = Some(serde_json::from_value(status).unwrap());
    domains[0].spec.baseline = Some(crate::api::Baseline { max_watts: 25_000 });
    let beside = [
        line,
        "its cap is 20000 W already, by CurtailmentEvent site-first: the lowest wins",
        "others draw up to 25000 W there: all of ours is stopped, and that may not be enough",
    ];
    assert_eq!(told(&event, &domains, NOON), beside);
}

#[test]
fn a_root_in_observe_is_told() {
    let mut domains = site();
    let event = typed("row-a --to 70% --for 3h").unwrap().event(&domains, NOON).unwrap();
    assert_eq!(told(&event, &domains, NOON).len(), 1);
    domains[0].spec.mode = None;
    let line = "its root site is in Observe: the event is recorded, and nothing is stopped for it";
    assert_eq!(told(&event, &domains, NOON)[1..], [line]);
    // a tree that is broken is not followed for ever
    domains[0].spec.parent = Some("row-a".to_owned());
    assert_eq!(told(&event, &domains, NOON).len(), 1);
    domains[0].spec.parent = Some("nowhere".to_owned());
    assert_eq!(told(&event, &domains, NOON).len(), 1);
}

#[test]
fn what_stands_is_released_and_nothing_else() {
    let event = |name: &str, domain: &str, change: fn(&mut CurtailmentEvent)| {
        let line = format!("{domain} --to 70% --for 3h --name {name}");
        let mut event = typed(&line).unwrap().event(&site(), NOON).unwrap();
        change(&mut event);
        event
    };
    let events = [
        event("stands", "site", |_| {}),
        event("other", "row-a", |_| {}),
        event("cancelled", "site", |event| event.spec.cancelled = true),
        event("over", "site", |event| event.spec.end = stamp(NOON).unwrap()),
        event("comes", "site", |event| event.spec.start = stamp(NOON + Seconds::HOUR).ok()),
    ];
    let names = |domain: Option<&str>, event: Option<&str>| {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let release = Release { domain: owned(domain), event: owned(event), kubeconfig: None };
        let chosen = release.chosen(&events, NOON)?;
        Ok::<_, String>(chosen.iter().map(|event| event.name_any()).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(names(Some("site"), None).unwrap(), "stands comes");
    assert_eq!(names(Some("hall"), None).unwrap(), "");
    assert_eq!(names(None, Some("other")).unwrap(), "other");
    assert_eq!(names(None, Some("cancelled")).unwrap_err(), "cancelled is cancelled already");
    assert_eq!(names(None, Some("over")).unwrap_err(), "over ended at 2026-12-01T12:00:00Z");
    assert_eq!(names(None, Some("none")).unwrap_err(), "there is no CurtailmentEvent none: see kubectl get ce");
}
