//! What to ask each provider: a URL without its token, and where the token goes.

use super::{Service, Source};
use crate::core::signal::What;
use crate::units::{Moment, Seconds};

/// Which kind of answer is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// JSON.
    Json,
    /// XML, or a zip file of XML documents.
    Xml,
    /// JSON, or XML where something is wrong.
    Either,
}

impl Kind {
    /// Does a content type say that?
    #[must_use]
    pub fn is_met_by(self, content_type: &str) -> bool {
        let kind = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        let ends = |word: &str| {
            kind == format!("application/{word}")
                || kind == format!("text/{word}")
                || kind.ends_with(&format!("+{word}"))
        };
        match self {
            Self::Json => ends("json"),
            Self::Xml => ends("xml") || is_zip(content_type),
            Self::Either => ends("json") || ends("xml"),
        }
    }

    /// What is asked for.
    #[must_use]
    pub fn accept(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Xml => "application/xml, text/xml, application/zip",
            Self::Either => "application/json, application/xml, text/xml",
        }
    }

    /// In a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Xml => "XML or a zip file",
            Self::Either => "JSON or XML",
        }
    }
}

/// Does a content type say that documents are packed?
#[must_use]
pub fn is_zip(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or("").trim();
    ["application/zip", "application/x-zip-compressed"].iter().any(|zip| kind.eq_ignore_ascii_case(zip))
}

/// Where a token goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A header of this name.
    Header(&'static str),
    /// `Authorization: Bearer`.
    Bearer,
    /// `Authorization: Basic`: a user and a password.
    Basic,
    /// A parameter of the query.
    Query(&'static str),
}

/// One question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The URL, without a token.
    pub url: String,
    /// The token by the name of its file.
    pub token: Option<String>,
    /// Where it goes.
    pub place: Place,
    /// What is awaited.
    pub kind: Kind,
    /// Where the token is a password: who is asked first for what goes in its place.
    pub login: Option<Login>,
}

/// A question before the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The URL.
    pub url: String,
    /// The user by the name of its file.
    pub user: String,
    /// How long what it gives may be used. WattTime's lasts thirty minutes; it is asked anew five before that.
    pub lasts: Seconds,
}

/// What a provider is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About<'a> {
    /// The zone, as the provider names it.
    pub zone: &'a str,
    /// What is measured.
    pub what: What,
    /// The time.
    pub now: Moment,
    /// The server, where it is not the provider's own; of Prometheus, the Carbon Aware SDK and JSON it is always needed. Of JSON it is the whole URL.
    pub url: Option<&'a str>,
    /// Words of the provider's own: the query of Prometheus; `latest`, `history` or `forecast` of Electricity Maps.
    pub words: Option<&'a str>,
}

impl Source {
    /// What to ask.
    #[must_use]
    pub fn request(&self, about: &About<'_>, token: Option<String>) -> Request {
        let base = |own: &'static str| about.url.unwrap_or(own).trim_end_matches('/').to_owned();
        let (zone, now) = (encoded(about.zone), about.now);
        let request = |url, place, kind| Request { url, token, place, kind, login: None };
        match self {
            Self::ElectricityMaps => {
                let which = about.words.unwrap_or("latest");
                let url = format!("{}/v3/carbon-intensity/{which}?zone={zone}", base("https://api.electricitymap.org"));
                request(url, Place::Header("auth-token"), Kind::Json)
            }
            Self::EnergyCharts => {
                let base = base("https://api.energy-charts.info");
                let day = now.floor(Seconds::DAY);
                let (from, until) =
                    [day - Seconds::DAY, day + Seconds(2 * 86_400)].map(|at| written(at, "%Y-%m-%d")).into();
                request(format!("{base}/v2/price?bzn={zone}&start={from}&end={until}"), Place::Bearer, Kind::Json)
            }
            Self::Uk => {
                let base = base("https://api.carbonintensity.org.uk");
                let from = written(now.floor(Seconds(1800)), "%Y-%m-%dT%H:%MZ");
                let url = match about.zone.strip_prefix("GB-") {
                    Some(region) => format!("{base}/regional/intensity/{from}/fw48h/regionid/{}", encoded(region)),
                    None => format!("{base}/intensity/{from}/fw48h"),
                };
                request(url, Place::Bearer, Kind::Json)
            }
            Self::Entsoe(asked) => {
                let area = encoded(&asked.area);
                let rest = match asked.document.as_str() {
                    "A44" => format!("in_Domain={area}&out_Domain={area}"),
                    "A65" => format!("processType=A16&outBiddingZone_Domain={area}"),
                    "A69" => format!("processType=A01&in_Domain={area}"),
                    _ => format!("processType=A16&in_Domain={area}"),
                };
                let day = now.floor(Seconds::DAY);
                let (from, until) =
                    [day - Seconds::DAY, day + Seconds(2 * 86_400)].map(|at| written(at, "%Y%m%d%H%M")).into();
                let base = base("https://web-api.tp.entsoe.eu");
                let document = encoded(&asked.document);
                let url = format!("{base}/api?documentType={document}&{rest}&periodStart={from}&periodEnd={until}");
                request(url, Place::Query("securityToken"), Kind::Xml)
            }
            Self::Kpx(service) => {
                let path = match service {
                    Service::SumPerFuel => "B552115/sumperfuel5m/getSumperfuel5m?numOfRows=300",
                    Service::ByGeneration => "B552115/PwrAmountByGen/getPwrAmountByGen?numOfRows=300",
                    Service::Load | Service::JejuLoad => "openapi/sukub5mMaxDatetime/getSukub5mMaxDatetime?numOfRows=1",
                };
                // its day is Korea's
                let day = match service {
                    Service::ByGeneration => format!("&baseDate={}", written(now + Seconds(9 * 3600), "%Y%m%d")),
                    _ => String::new(),
                };
                let base = base("https://apis.data.go.kr");
                request(format!("{base}/{path}&pageNo=1&dataType=json{day}"), Place::Query("serviceKey"), Kind::Either)
            }
            Self::OpenMeteo(asked) => {
                let degrees = |thousandths: i64| thousandths as f64 / 1000.0;
                let (latitude, longitude) = (degrees(asked.latitude), degrees(asked.longitude));
                let base = base("https://api.open-meteo.com");
                let url = format!(
                    "{base}/v1/forecast?latitude={latitude}&longitude={longitude}&hourly=shortwave_radiation,temperature_2m&timezone=GMT"
                );
                request(url, Place::Query("apikey"), Kind::Json)
            }
            Self::Prometheus(asked) => {
                // what was lately, and what a recording rule may have written ahead
                let (from, until) = (now - Seconds::DAY, now + Seconds(2 * 86_400));
                let query = encoded(about.words.unwrap_or(""));
                let base = base("http://prometheus.monitoring:9090");
                let (from, until, step) = (from.0, until.0, asked.step.0);
                let url = format!("{base}/api/v1/query_range?query={query}&start={from}&end={until}&step={step}");
                request(url, Place::Bearer, Kind::Json)
            }
            Self::Json(_) => request(about.url.unwrap_or("").to_owned(), Place::Bearer, Kind::Json),
            Self::WattTime => {
                let base = base("https://api.watttime.org");
                let url = format!("{base}/v3/forecast?region={zone}&signal_type=co2_moer&horizon_hours=72");
                let (user, lasts) = ("watttime-user".to_owned(), Seconds(25 * 60));
                let login = Login { url: format!("{base}/login"), user, lasts };
                Request { login: Some(login), ..request(url, Place::Bearer, Kind::Json) }
            }
            Self::Eia => {
                let base = base("https://api.eia.gov");
                let from = written(now - Seconds(2 * 86_400), "%Y-%m-%dT%H");
                let url = format!(
                    "{base}/v2/electricity/rto/fuel-type-data/data/?frequency=hourly&data%5B0%5D=value&facets%5Brespondent%5D%5B%5D={zone}&start={from}&length=5000"
                );
                request(url, Place::Query("api_key"), Kind::Json)
            }
            Self::CarbonAware(_) => {
                let base = base("http://carbon-aware-webapi");
                request(format!("{base}/emissions/forecasts/current?location={zone}"), Place::Bearer, Kind::Json)
            }
        }
    }
}

/// What stands in a URL for a text: all but what is plain is written as bytes (RFC 3986).
#[must_use]
pub fn encoded(text: &str) -> String {
    let each = |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(each).collect()
}

/// Does a byte stand for itself in a URL?
#[must_use]
pub fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~')
}

/// A time in UTC.
fn written(at: Moment, format: &str) -> String {
    jiff::Timestamp::from_second(at.0).map(|at| at.strftime(format).to_string()).unwrap_or_default()
}
