//! `heliotrope curtail` and `heliotrope release`: one write each, which works with the controller dead.
//!
//! What is asked for in percent or as a reduction is made absolute here, from the domain's capWatts, so that whoever
//! reads the event can obey it alone.

use super::CommandError;
use super::cluster::{block_on, client};
use crate::api::{CurtailmentEvent, CurtailmentEventSpec, CurtailmentTarget, Measure, Mode, PowerDomain};
use crate::clock;
use crate::controller::apply::call;
use crate::core::domain::Target;
use crate::units::{Moment, Seconds, Watts};
use clap::Args;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use std::path::PathBuf;

/// The longest curtailment, in seconds: a year. What is lower for longer is another capWatts.
const LONGEST: Seconds = Seconds(366 * 86_400);

/// The arguments of `curtail`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("target").required(true), group = clap::ArgGroup::new("ending").required(true))]
pub struct Curtail {
    /// The PowerDomain that must draw less.
    domain: String,
    /// What it may draw: watts, or hundredths of its capWatts, as `24 kW` or `70%`.
    #[arg(long, group = "target", value_name = "POWER")]
    to: Option<String>,
    /// How much less than its capWatts it may draw, as `5 kW` or `10%`.
    #[arg(long, group = "target", value_name = "POWER")]
    by: Option<String>,
    /// For how long, as `3h` or `90m`.
    #[arg(long = "for", group = "ending", value_name = "DURATION")]
    length: Option<String>,
    /// Until when, as `2026-12-01T21:00:00+09:00`.
    #[arg(long, group = "ending", value_name = "TIME")]
    until: Option<String>,
    /// From when on; at once if not said.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// It is settled by a meter: what is drawn is to be under the target, and not what can be drawn. Not for a feed that must
    /// not pass it at any moment.
    #[arg(long)]
    metered: bool,
    /// Why, for people.
    #[arg(long)]
    reason: Option<String>,
    /// A name for the event; otherwise one is made from the domain's.
    #[arg(long)]
    name: Option<String>,
    /// Use this kubeconfig instead of the usual ones.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// Have the API server judge it, and write nothing.
    #[arg(long)]
    dry_run: bool,
}

/// The arguments of `release`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true))]
pub struct Release {
    /// The PowerDomain whose events are all cancelled.
    #[arg(group = "which")]
    domain: Option<String>,
    /// Cancel this event alone.
    #[arg(long, group = "which", value_name = "NAME")]
    event: Option<String>,
    /// Use this kubeconfig instead of the usual ones.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
}

impl Curtail {
    pub(super) fn run(self) -> Result<(), CommandError> {
        block_on(async {
            let client = client(self.kubeconfig.as_deref()).await?;
            let domains: Api<PowerDomain> = Api::all(client.clone());
            let domains = ask("list the domains", domains.list(&ListParams::default())).await?.items;
            let now = clock::now();
            let event = self.event(&domains, now).map_err(CommandError::Usage)?;
            let api: Api<CurtailmentEvent> = Api::all(client);
            let parameters = PostParams { dry_run: self.dry_run, ..PostParams::default() };
            let made = ask("make the CurtailmentEvent", api.create(&parameters, &event)).await?;
            for line in told(&made, &domains, now) {
                println!("{line}");
            }
            if self.dry_run {
                println!("dry run: nothing was written");
            }
            Ok(())
        })
    }

    /// The event that is asked for.
    fn event(&self, domains: &[PowerDomain], now: Moment) -> Result<CurtailmentEvent, String> {
        let domain = find(domains, &self.domain)?;
        let cap = Watts(domain.spec.cap_watts);
        let (target, option) = match (&self.to, &self.by) {
            (Some(to), None) => (target_to(to).map_err(|what| format!("--to {to}: {what}"))?, format!("--to {to}")),
            (None, Some(by)) => (target_by(by).map_err(|what| format!("--by {by}: {what}"))?, format!("--by {by}")),
            _ => return Err("give one of --to and --by".to_owned()),
        };
        let watts = target.resolve(cap);
        if watts >= cap {
            return Err(format!("{option}: {watts} is not below the capWatts of {}, {cap}", self.domain));
        }
        if let (Target::ReduceWatts(less), true) = (target, watts == Watts(1)) {
            return Err(format!(
                "{option}: {} has {cap}, and {less} less leaves nothing; --by 100% stops all",
                self.domain
            ));
        }
        let time = |text: &str, option: &str| text.parse::<Moment>().map_err(|error| format!("{option}: {error}"));
        let start = self.at.as_ref().map(|at| time(at, "--at")).transpose()?;
        if let Some(start) = start.filter(|start| *start <= now) {
            return Err(format!("--at {start} has passed, it is {now}: leave it out to begin at once"));
        }
        let begins = start.unwrap_or(now);
        let end = match (&self.length, &self.until) {
            (Some(text), None) => {
                let length: Seconds = text.parse().map_err(|error| format!("--for: {error}"))?;
                if length <= Seconds::ZERO {
                    return Err(format!("--for {text}: a curtailment of no length does nothing"));
                }
                begins + length
            }
            (None, Some(text)) => time(text, "--until")?,
            _ => return Err("give one of --for and --until".to_owned()),
        };
        if end <= begins {
            let what = if start.is_some() { "before it begins" } else { "in the past" };
            return Err(format!("it would end at {end}, {what}: it is {now}"));
        }
        if end - begins > LONGEST {
            return Err(format!(
                "it would last {}, longer than a year: lower capWatts of {} instead",
                end - begins,
                self.domain
            ));
        }
        let spec = CurtailmentEventSpec {
            domain: self.domain.clone(),
            start: start.map(stamp).transpose()?,
            end: stamp(end)?,
            target: CurtailmentTarget { cap_watts: Some(watts.0), ..CurtailmentTarget::default() },
            baseline: None,
            measure: self.metered.then_some(Measure::Draw),
            reason: self.reason.clone(),
            source: Some("heliotrope curtail".to_owned()),
            external_id: None,
            cancelled: false,
        };
        let mut event = CurtailmentEvent::new(self.name.as_deref().unwrap_or_default(), spec);
        if self.name.is_none() {
            event.metadata.name = None;
            event.metadata.generate_name = Some(format!("{}-", self.domain));
        }
        Ok(event)
    }
}

/// `70%` of the cap, or watts.
fn target_to(text: &str) -> Result<Target, String> {
    match percent(text)? {
        Some(0) => Err("nothing would be left: --by 100% says so, and stops all".to_owned()),
        Some(percent @ 1..=100) => Ok(Target::ReducePercent(100 - percent)),
        Some(_) => Err("is more than there is: write 1% to 99%".to_owned()),
        None => match watts(text)? {
            Watts(0) => Err("nothing would be left: --by 100% says so, and stops all".to_owned()),
            watts => Ok(Target::Cap(watts)),
        },
    }
}

/// `10%` of the cap less, or watts less.
fn target_by(text: &str) -> Result<Target, String> {
    match percent(text)? {
        Some(percent @ 0..=100) => Ok(Target::ReducePercent(percent)),
        Some(_) => Err("is more than there is: write 1% to 100%".to_owned()),
        None => Ok(Target::ReduceWatts(watts(text)?)),
    }
}

fn watts(text: &str) -> Result<Watts, String> {
    text.parse().map_err(|error: crate::units::ParseUnitError| format!("{error}, or a share of the cap such as 70%"))
}

/// Whole hundredths; none where the text is not of this form at all.
fn percent(text: &str) -> Result<Option<u32>, String> {
    let Some(number) = text.trim().strip_suffix('%') else { return Ok(None) };
    let number = number.trim();
    match number.bytes().all(|b| b.is_ascii_digit()).then(|| number.parse()) {
        Some(Ok(percent)) => Ok(Some(percent)),
        _ => Err("is not a whole number of percent such as 70%".to_owned()),
    }
}

fn stamp(moment: Moment) -> Result<Time, String> {
    jiff::Timestamp::from_second(moment.0).map(Time).map_err(|error| error.to_string())
}

fn find<'a>(domains: &'a [PowerDomain], name: &str) -> Result<&'a PowerDomain, String> {
    domains.iter().find(|domain| domain.metadata.name.as_deref() == Some(name)).ok_or_else(|| {
        let mut names: Vec<String> = domains.iter().map(ResourceExt::name_any).collect();
        names.sort_unstable();
        let there =
            if names.is_empty() { "there is none".to_owned() } else { format!("there are {}", names.join(", ")) };
        format!("there is no PowerDomain {name}: {there}")
    })
}

/// The root above a domain; none where a parent is missing, or the parents form a ring.
fn root_of<'a>(domain: &'a PowerDomain, domains: &'a [PowerDomain]) -> Option<&'a PowerDomain> {
    let above = |domain: &&'a PowerDomain| find(domains, domain.spec.parent.as_deref()?).ok();
    // a chain longer than there are domains is a ring
    std::iter::successors(Some(domain), above).take(domains.len()).find(|domain| domain.spec.parent.is_none())
}

/// One call with a deadline of its own.
async fn ask<T>(what: &str, future: impl Future<Output = kube::Result<T>>) -> Result<T, CommandError> {
    call(what, future).await.map_err(|error| CommandError::Usage(error.to_string()))
}

/// What was made, and what stands beside it, in words.
fn told(event: &CurtailmentEvent, domains: &[PowerDomain], now: Moment) -> Vec<String> {
    let name = &event.spec.domain;
    let Some(domain) = domains.iter().find(|domain| domain.metadata.name.as_ref() == Some(name)) else {
        return Vec::new();
    };
    let (from, to) = (Watts(domain.spec.cap_watts), event.cap().unwrap_or_default());
    let begins = event.spec.start.as_ref().map(|time| Moment(time.0.as_second()));
    let start = begins.map_or("now".to_owned(), |at| at.to_string());
    let length = event.until() - begins.unwrap_or(now);
    // a dry run gives no name that stays
    let mut lines = vec![format!(
        "{}: {name} from {from} to {to}, from {start} until {} ({length})",
        event.name_any(),
        event.until()
    )];
    if let Some(root) = root_of(domain, domains).filter(|root| root.spec.mode != Some(Mode::Enforce)) {
        lines.push(format!(
            "its root {} is in Observe: the event is recorded, and nothing is stopped for it",
            root.name_any()
        ));
    }
    let status = domain.status.as_ref();
    let effective = status.and_then(|status| status.effective_cap_watts).map(Watts).filter(|cap| *cap <= to);
    if let Some(effective) = effective {
        let why = status.and_then(|status| status.effective_cap_reason.clone()).unwrap_or_default();
        lines.push(format!("its cap is {effective} already, by {why}: the lowest wins"));
    }
    if let Some(baseline) = domain.spec.baseline.as_ref().map(|baseline| Watts(baseline.max_watts)).filter(|b| *b > to)
    {
        lines.push(format!("others draw up to {baseline} there: all of ours is stopped, and that may not be enough"));
    }
    lines
}

impl Release {
    pub(super) fn run(self) -> Result<(), CommandError> {
        block_on(async {
            let client = client(self.kubeconfig.as_deref()).await?;
            let api: Api<CurtailmentEvent> = Api::all(client.clone());
            let events = ask("list the events", api.list(&ListParams::default())).await?.items;
            let chosen = match self.chosen(&events, clock::now()).map_err(CommandError::Usage)? {
                events if !events.is_empty() => events,
                _ => return Err(self.nothing(&client).await),
            };
            let mut failed = Vec::new();
            for event in chosen {
                let name = event.name_any();
                let patch = Patch::Merge(json!({"spec": {"cancelled": true}}));
                // what can't be cancelled must not keep the others in force
                match ask(&format!("cancel {name}"), api.patch(&name, &PatchParams::default(), &patch)).await {
                    Ok(_) => println!("{name} is cancelled: {} is filled again by new grants", event.spec.domain),
                    Err(error) => failed.push(error.to_string()),
                }
            }
            if failed.is_empty() { Ok(()) } else { Err(CommandError::Usage(failed.join("; "))) }
        })
    }

    /// The events that are meant and stand; none where the domain has none.
    fn chosen<'a>(&self, events: &'a [CurtailmentEvent], now: Moment) -> Result<Vec<&'a CurtailmentEvent>, String> {
        if let Some(name) = &self.event {
            let event = events.iter().find(|event| event.metadata.name.as_ref() == Some(name));
            let event = event.ok_or_else(|| format!("there is no CurtailmentEvent {name}: see kubectl get ce"))?;
            return match (event.spec.cancelled, event.is_over(now)) {
                (true, _) => Err(format!("{name} is cancelled already")),
                (false, true) => Err(format!("{name} ended at {}", event.until())),
                (false, false) => Ok(vec![event]),
            };
        }
        let of_domain = |event: &&CurtailmentEvent| Some(&event.spec.domain) == self.domain.as_ref();
        Ok(events.iter().filter(of_domain).filter(|event| !event.is_over(now)).collect())
    }

    /// Why there was nothing to cancel.
    async fn nothing(&self, client: &Client) -> CommandError {
        let name = self.domain.clone().unwrap_or_default();
        let domains: Api<PowerDomain> = Api::all(client.clone());
        match ask("list the domains", domains.list(&ListParams::default())).await {
            Ok(domains) => CommandError::Usage(match find(&domains.items, &name) {
                Ok(_) => format!("{name} has no event that is active or scheduled"),
                Err(error) => error,
            }),
            Err(error) => error,
        }
    }
}

#[cfg(test)]
#[path = "curtail/tests.rs"]
mod tests;
