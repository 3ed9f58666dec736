//! Servers of signals, asked in a task of its own: a cycle never waits for one, and takes what was answered last.
//!
//! Of one signal's servers each is asked only while those before it give nothing that can be used.

use crate::api::{GridSignal, Server, ServerKind, What as SaidWhat};
use crate::clock;
use crate::core::signal::{Answer, Basis, Pace, Panels, Unit, What};
use crate::fetch::{FetchError, Fetcher};
use crate::signals::{About, Entsoe, OpenMeteo, Pointers, Query, Request, Service, Source};
use crate::units::{Moment, Seconds, Watts};
use futures::future::join_all;
use kube::ResourceExt;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How often it is looked whether a question is due.
const LOOK: Duration = Duration::from_secs(1);

/// A provider: the signal's name, and its place in the list.
pub type Key = (String, usize);

/// What a server was asked, and what came of it.
#[derive(Debug, Clone)]
pub struct Heard {
    /// The answer, or why there is none.
    pub answer: Result<Arc<Answer>, String>,
    /// When that was.
    pub at: Moment,
}

/// A question that is asked again and again.
#[derive(Debug, Clone, PartialEq)]
struct Question {
    server: Server,
    what: What,
    basis: Basis,
    /// What the provider calls the zone.
    zone: String,
}

#[derive(Debug)]
struct Asked {
    question: Question,
    pace: Pace,
    heard: Option<Heard>,
    /// Nothing of the answer could be used.
    is_useless: bool,
}

/// All that is asked.
#[derive(Debug, Clone, Default)]
pub struct Servers {
    all: Arc<Mutex<BTreeMap<Key, Asked>>>,
}

impl Servers {
    /// From now on these signals are wanted, and no others. A question that has changed is asked at once.
    pub fn want(&self, signals: &[GridSignal]) {
        let mut all = self.lock();
        let mut before = std::mem::take(&mut *all);
        for signal in signals {
            for (i, provider) in signal.spec.providers.iter().enumerate() {
                let Some(server) = &provider.server else { continue };
                let (what, basis) = meant(signal);
                let zone = zone(signal, server).to_owned();
                let question = Question { server: server.clone(), what, basis, zone };
                let key = (signal.name_any(), i);
                let known = before.remove(&key).filter(|known| known.question == question);
                let new =
                    || Asked { question: question.clone(), pace: Pace::default(), heard: None, is_useless: false };
                all.insert(key, known.unwrap_or_else(new));
            }
        }
    }

    /// What a server said last; none where it was not asked yet.
    #[must_use]
    pub fn heard(&self, key: &Key) -> Option<Heard> {
        self.lock().get(key)?.heard.clone()
    }

    /// Nothing of that answer could be used: the next server is asked.
    pub fn is_useless(&self, key: &Key, at: Moment) {
        if let Some(asked) =
            self.lock().get_mut(key).filter(|asked| asked.heard.as_ref().is_some_and(|heard| heard.at == at))
        {
            asked.is_useless = true;
        }
    }

    /// Asks whoever is due, for as long as this program runs. `changed` is told of each answer.
    pub async fn run(self, fetcher: Fetcher, changed: Arc<Notify>) {
        loop {
            let due = self.due(clock::now());
            if !due.is_empty() {
                let ask = |(key, question): (Key, Question)| {
                    let fetcher = &fetcher;
                    async move {
                        let now = clock::now();
                        (key, ask(fetcher, &question, now).await, question)
                    }
                };
                for (key, answer, question) in join_all(due.into_iter().map(ask)).await {
                    self.note(&key, &question, answer, clock::now());
                }
                changed.notify_one();
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Asks all of them, once and now.
    pub async fn ask_all(&self, fetcher: &Fetcher, now: Moment) {
        let all: Vec<(Key, Question)> =
            self.lock().iter().map(|(key, asked)| (key.clone(), asked.question.clone())).collect();
        for (key, question) in all {
            let answer = ask(fetcher, &question, now).await;
            self.note(&key, &question, answer, now);
        }
    }

    /// Of each signal the servers that are due, up to the first that gives something.
    fn due(&self, now: Moment) -> Vec<(Key, Question)> {
        let all = self.lock();
        let mut due = Vec::new();
        let mut served: Option<&str> = None;
        for (key, asked) in all.iter() {
            if served == Some(key.0.as_str()) {
                continue;
            }
            if asked.pace.is_due(now) {
                due.push((key.clone(), asked.question.clone()));
            }
            if !asked.is_useless && asked.heard.as_ref().is_some_and(|heard| heard.answer.is_ok()) {
                served = Some(&key.0);
            }
        }
        due
    }

    fn note(&self, key: &Key, question: &Question, answer: Result<Answer, Failure>, now: Moment) {
        let mut all = self.lock();
        // it may have been changed or deleted meanwhile
        let Some(asked) = all.get_mut(key).filter(|asked| asked.question == *question) else { return };
        let usual = Seconds(i64::from(question.server.every_seconds));
        match &answer {
            Ok(_) => asked.pace.answered(now, usual),
            Err(failure) => {
                asked.pace.failed(now, usual, failure.retry_after);
                tracing::info!(
                    signal = key.0,
                    provider = key.1,
                    failures = asked.pace.failures(),
                    why = failure.why,
                    "a server gave no answer"
                );
            }
        }
        asked.heard = Some(Heard { answer: answer.map(Arc::new).map_err(|failure| failure.why), at: now });
        asked.is_useless = false;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Asked>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there is no answer.
struct Failure {
    why: String,
    retry_after: Option<Seconds>,
}

async fn ask(fetcher: &Fetcher, question: &Question, now: Moment) -> Result<Answer, Failure> {
    let plainly = |why: String| Failure { why, retry_after: None };
    let (source, request) = request(question, now).map_err(plainly)?;
    match fetcher.ask(&request, now).await {
        Ok(documents) => source.read_all(&documents).map_err(|error| plainly(error.to_string())),
        // some say why in their own form
        Err(FetchError::Status { at, status, body }) => Err(plainly(match source.read(&body) {
            Err(error @ crate::signals::ReadError::Provider { .. }) => format!("{at}: {status}: {error}"),
            _ => FetchError::Status { at, status, body }.to_string(),
        })),
        Err(error) => Err(Failure { why: error.to_string(), retry_after: error.retry_after() }),
    }
}

/// What a server calls the zone of a signal.
#[must_use]
pub fn zone<'a>(signal: &'a GridSignal, server: &'a Server) -> &'a str {
    server.zone.as_deref().unwrap_or(&signal.spec.zone)
}

/// What a signal measures, in the core's words.
#[must_use]
pub fn meant(signal: &GridSignal) -> (What, Basis) {
    let what = match signal.spec.what {
        SaidWhat::CarbonIntensity => What::CarbonIntensity,
        SaidWhat::Price => What::Price,
        SaidWhat::Generation => What::Generation,
    };
    let basis = match signal.spec.basis {
        crate::api::Basis::LocationAverage => Basis::LocationAverage,
        crate::api::Basis::Marginal => Basis::Marginal,
        crate::api::Basis::Residual => Basis::Residual,
    };
    (what, basis)
}

/// How a server is asked, and how its answer is read.
fn request(question: &Question, now: Moment) -> Result<(Source, Request), String> {
    let Question { server, what, basis, zone } = question;
    let unit = || {
        let text = server.unit.as_deref().unwrap_or_default();
        Unit::named(text).ok_or_else(|| format!("`{text}` is not a unit such as g/kWh, lb/MWh or EUR/MWh"))
    };
    let source = match server.kind {
        ServerKind::ElectricityMaps => Source::ElectricityMaps,
        ServerKind::UKCarbonIntensity => Source::Uk,
        ServerKind::EnergyCharts => Source::EnergyCharts,
        ServerKind::EntsoE => {
            let document = if *what == What::Price { "A44" } else { "A75" };
            Source::Entsoe(Entsoe { area: zone.clone(), document: document.to_owned() })
        }
        ServerKind::KPX => Source::Kpx(match server.query.as_deref() {
            Some("PwrAmountByGen") => Service::ByGeneration,
            _ => Service::SumPerFuel,
        }),
        ServerKind::EIA => Source::Eia,
        ServerKind::WattTime => Source::WattTime,
        ServerKind::CarbonAwareSDK => Source::CarbonAware(*basis),
        ServerKind::OpenMeteo => {
            let roof = server.roof.as_ref().ok_or("roof is missing")?;
            let panels =
                Panels { peak: Watts(roof.rated_watts), performance_permille: i64::from(roof.performance_permille) };
            let (latitude, longitude) = (roof.latitude_millidegrees.into(), roof.longitude_millidegrees.into());
            Source::OpenMeteo(OpenMeteo { latitude, longitude, panels })
        }
        ServerKind::Prometheus => {
            Source::Prometheus(Query { what: *what, basis: *basis, unit: unit()?, step: Seconds(300) })
        }
        ServerKind::JSON => {
            let places = server.json.as_ref().ok_or("json is missing")?;
            Source::Json(Pointers {
                rows: places.rows.clone(),
                start: places.start.clone(),
                end: places.end.clone(),
                value: places.value.clone(),
                quantiles: Vec::new(),
                zone: places.zone.clone(),
                issued: None,
                step: Seconds(i64::from(places.step_seconds)),
                what: *what,
                basis: *basis,
                unit: unit()?,
            })
        }
    };
    let about = About { zone, what: *what, now, url: server.url.as_deref(), words: server.query.as_deref() };
    let mut request = source.request(&about, server.token.clone());
    if let (Some(login), Some(user)) = (&mut request.login, &server.user) {
        login.user.clone_from(user);
    }
    Ok((source, request))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn signal(every: i64) -> GridSignal {
        let server = |kind: &str| json!({"server": {"kind": kind, "everySeconds": every}});
        let spec =
            json!({"what": "CarbonIntensity", "zone": "KR", "providers": [server("ElectricityMaps"), server("KPX")]});
        let object = json!({"apiVersion": "heliotrope.dev/v1alpha1", "kind": "GridSignal", "metadata": {"name": "kr"}, "spec": spec});
        serde_json::from_value(object).unwrap()
    }

    fn answer() -> Answer {
        Source::ElectricityMaps
            .read(br#"{"zone":"KR","datetime":"2026-10-25T00:00:00Z","carbonIntensity":400}"#)
            .unwrap()
    }

    fn due(servers: &Servers, now: i64) -> Vec<usize> {
        servers.due(Moment(now)).into_iter().map(|(key, _)| key.1).collect()
    }

    fn note(servers: &Servers, provider: usize, answer: Result<Answer, Failure>, now: i64) {
        let question = servers.lock()[&("kr".to_owned(), provider)].question.clone();
        servers.note(&("kr".to_owned(), provider), &question, answer, Moment(now));
    }

    #[test]
    fn the_next_server_is_asked_only_while_those_before_it_give_nothing() {
        let servers = Servers::default();
        servers.want(&[signal(300)]);
        assert_eq!(due(&servers, 0), [0, 1], "nothing is known yet");
        note(&servers, 0, Ok(answer()), 0);
        assert_eq!(due(&servers, 10), Vec::<usize>::new());
        assert_eq!(due(&servers, 300), [0]);
        // what it says is of another zone
        servers.is_useless(&("kr".to_owned(), 0), Moment(0));
        assert_eq!(due(&servers, 10), [1]);
        note(&servers, 1, Ok(answer()), 10);
        note(&servers, 0, Err(Failure { why: "gone".to_owned(), retry_after: Some(Seconds(1000)) }), 300);
        assert_eq!(due(&servers, 310), [1], "and not the first, which wants to be left alone");
        assert_eq!(due(&servers, 1300), [0, 1]);
        // the same signals are wanted: nothing is forgotten; another question is asked at once
        servers.want(&[signal(300)]);
        assert!(servers.heard(&("kr".to_owned(), 1)).unwrap().answer.is_ok());
        servers.want(&[signal(60)]);
        assert_eq!((servers.heard(&("kr".to_owned(), 1)).is_none(), due(&servers, 310)), (true, vec![0, 1]));
        servers.want(&[]);
        assert_eq!(due(&servers, 9999), Vec::<usize>::new());
    }
}
