//! The operator's own configuration: one YAML file.

use crate::units::Seconds;
use crate::yaml::{Document, YamlError};
use serde::Deserialize;

/// What can be configured. Every field has a default; an unknown one is an error.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Config {
    /// Seconds between two thorough plans: at most an hour, since signals are hourly.
    pub plan_period_seconds: u32,
    /// Seconds between two cycles when nothing happens: at most 5. RELIABILITY §2 counts 5 of its 30 s for this, and
    /// the leader renews its lease of 15 s once a tick: longer, and two leaders alternate.
    pub tick_seconds: u32,
    /// How long a workload is taken to run that does not say.
    pub default_expected_duration_seconds: u32,
    /// The grain of plans, and the shortest run of what can be suspended for supply.
    pub slot_seconds: u32,
    /// How far plans look.
    pub horizon_hours: u32,
    /// What must be under a cap that falls within this time is stopped already: the usual grace period of a pod, 30 s,
    /// two ticks, and 5 s for calls. A Job whose pods have a longer grace has a lead that is as much longer.
    pub stop_lead_seconds: u32,
    /// Where /healthz, /readyz and /metrics are served. Port 0 takes any.
    pub listen: String,
    /// Nodes have agents: watts are leased to them. Without agents, workloads are started and suspended under the caps, and
    /// nothing is set on any accelerator.
    pub agents: bool,
    /// How long a lease lives that nobody renews: then its node falls to its safe limit. At least three times as long as a
    /// change of leader takes.
    pub lease_seconds: u32,
    /// Where the last twenty plans are written as JSON, and what is remembered of signals; nowhere where it is not said. Plans are served over HTTP
    /// all the same; signals are known anew from what providers say.
    pub plan_directory: Option<String>,
    /// Where tokens of servers of signals are: a mounted Secret, one file each, read anew for each question.
    pub token_directory: String,
    /// Certificates (PEM) of authorities that servers of signals are believed by, besides those of the machine, as a company's own; read anew for
    /// each question. None where it is empty.
    pub ca_file: String,
    /// Only one of several controllers acts. It saves work; safety does not rest on it.
    pub leader_election: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            plan_period_seconds: 300,
            tick_seconds: 5,
            default_expected_duration_seconds: 3600,
            slot_seconds: 900,
            horizon_hours: 48,
            stop_lead_seconds: 45,
            listen: "0.0.0.0:8080".to_owned(),
            agents: false,
            lease_seconds: 600,
            plan_directory: None,
            token_directory: "/etc/heliotrope-tokens".to_owned(),
            ca_file: String::new(),
            leader_election: true,
        }
    }
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// What is wrong, with line and field.
    pub fn parse(text: &str, file: &str) -> Result<Self, YamlError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let document = Document::parse(text, file)?;
        let config: Self = document.read()?;
        for (field, value, most) in [
            ("planPeriodSeconds", config.plan_period_seconds, 3600),
            ("tickSeconds", config.tick_seconds, 5),
            // a year, as expectedDurationSeconds of a workload
            ("defaultExpectedDurationSeconds", config.default_expected_duration_seconds, 31_536_000),
            ("slotSeconds", config.slot_seconds, 86_400),
            // a year: no signal and no schedule says anything of what comes later
            ("horizonHours", config.horizon_hours, 8784),
            // an hour: more than any grace period that a pod should have. Never 0: what stops draws until it is gone
            ("stopLeadSeconds", config.stop_lead_seconds, 3600),
            ("leaseSeconds", config.lease_seconds, 86_400),
        ] {
            if !(1..=most).contains(&value) {
                return Err(document.error(field, format!("{value} is not from 1 to {most}")));
            }
        }
        if config.listen.parse::<std::net::SocketAddr>().is_err() {
            return Err(document.error("listen", format!("`{}` is not an address such as 0.0.0.0:8080", config.listen)));
        }
        Ok(config)
    }

    /// The grain of plans.
    #[must_use]
    pub fn slot(&self) -> Seconds {
        Seconds(i64::from(self.slot_seconds))
    }

    /// How long what stops may go on drawing.
    #[must_use]
    pub fn stop_lead(&self) -> Seconds {
        Seconds(i64::from(self.stop_lead_seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_has_a_default_and_mistakes_have_a_line() {
        assert_eq!(Config::parse("", "c.yaml"), Ok(Config::default()));
        let config = Config::parse("tickSeconds: 2\nlisten: 127.0.0.1:0\n", "c.yaml").unwrap();
        assert_eq!((config.tick_seconds, config.horizon_hours), (2, 48));
        let error = |text: &str| Config::parse(text, "c.yaml").unwrap_err().to_string();
        assert!(error("tickSeconds: 2\ntickSecond: 3\n").starts_with("c.yaml:2: tickSecond: unknown field"));
        for (text, said) in [
            ("slotSeconds: 0", "slotSeconds: 0 is not from 1 to 86400"),
            ("slotSeconds: 86401", "slotSeconds: 86401 is not from 1 to 86400"),
            ("tickSeconds: 6", "tickSeconds: 6 is not from 1 to 5"),
            ("planPeriodSeconds: 3601", "planPeriodSeconds: 3601 is not from 1 to 3600"),
            ("horizonHours: 4294967295", "horizonHours: 4294967295 is not from 1 to 8784"),
            ("stopLeadSeconds: 0", "stopLeadSeconds: 0 is not from 1 to 3600"),
            (
                "defaultExpectedDurationSeconds: 31536001",
                "defaultExpectedDurationSeconds: 31536001 is not from 1 to 31536000",
            ),
        ] {
            assert_eq!(error(text), format!("c.yaml:1: {said}"));
        }
        assert_eq!(error("listen: here\n"), "c.yaml:1: listen: `here` is not an address such as 0.0.0.0:8080");
        assert!(error("tickSeconds: -1\n").starts_with("c.yaml:1: tickSeconds: invalid value"));
    }
}
