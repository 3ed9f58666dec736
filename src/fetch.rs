//! Asks servers of signals: one question, one answer, within a time and a size, whatever the server does.
//!
//! Redirects are not followed: a token goes where it was meant to go and nowhere else. Nothing that is said of a failure has a token in it.

mod login;
mod regular;
mod token;
mod trust;

pub use token::{Secret, Tokens};
pub use trust::Distrust;

use login::Sessions;
use trust::Trust;

use crate::signals::{Kind, MOST_BYTES, PackedError, Place, Request, is_zip, unpacked};
use crate::units::Seconds;
use axum::body::Bytes;
use axum::http::{HeaderValue, Request as HttpRequest, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty};
use std::path::PathBuf;
use std::time::Duration;

/// What an answer may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long all of it may take, from the first packet to the last.
    pub time: Duration,
    /// How many bytes it may have, as it is sent and as it is unpacked.
    pub bytes: usize,
}

impl Default for Limits {
    /// 10 s, and 8 MiB.
    fn default() -> Self {
        Self { time: Duration::from_secs(10), bytes: MOST_BYTES }
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Not a URL that can be asked.
    #[error("`{0}` is not a URL such as https://api.example.org/x")]
    Url(String),
    /// The token can't be read.
    #[error("{0}")]
    Token(String),
    /// It is not known whose certificates count.
    #[error("{0}")]
    Authorities(String),
    /// It is not the server that was meant.
    #[error("{at}: {why}")]
    Untrusted {
        /// Where.
        at: String,
        /// Why.
        why: Distrust,
    },
    /// No connection, or it broke.
    #[error("{at}: {why}")]
    Broken {
        /// Where.
        at: String,
        /// What was said.
        why: String,
    },
    /// It took too long.
    #[error("{at}: no whole answer within {within:?}")]
    TimedOut {
        /// Where.
        at: String,
        /// How long was waited.
        within: Duration,
    },
    /// It has too many bytes.
    #[error("{at}: the answer has more than {most} bytes, the most that is read")]
    TooLarge {
        /// Where.
        at: String,
        /// How many there may be.
        most: usize,
    },
    /// The server asks to be left alone.
    #[error("{at}: {status}: asked too often{}", after.map(|after| format!(", again after {after}")).unwrap_or_default())]
    TooOften {
        /// Where.
        at: String,
        /// Its status.
        status: u16,
        /// For how long.
        after: Option<Seconds>,
    },
    /// It answers with something else than 200.
    #[error("{at}: {status}{}", if body.is_empty() { String::new() } else { format!(": {}", excerpt(body)) })]
    Status {
        /// Where.
        at: String,
        /// Its status.
        status: u16,
        /// What it says, which may be in the provider's own form.
        body: Vec<u8>,
    },
    /// It is of another kind.
    #[error("{at}: the answer is {found}, and not {expected}")]
    OtherKind {
        /// Where.
        at: String,
        /// What it says it is.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// It is packed, and can't be unpacked.
    #[error("{at}: {why}")]
    Packed {
        /// Where.
        at: String,
        /// Why.
        why: PackedError,
    },
}

impl FetchError {
    /// For how long the server wants to be left alone.
    #[must_use]
    pub fn retry_after(&self) -> Option<Seconds> {
        match self {
            Self::TooOften { after, .. } => *after,
            _ => None,
        }
    }

    /// Its fixed name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Url(_) => "Url",
            Self::Token(_) => "Token",
            Self::Authorities(_) => "Authorities",
            Self::Untrusted { .. } => "Untrusted",
            Self::Broken { .. } => "Broken",
            Self::TimedOut { .. } => "TimedOut",
            Self::TooLarge { .. } => "TooLarge",
            Self::TooOften { .. } => "TooOften",
            Self::Status { .. } => "Status",
            Self::OtherKind { .. } => "OtherKind",
            Self::Packed { .. } => "Packed",
        }
    }
}

/// Asks.
#[derive(Debug, Clone)]
pub struct Fetcher {
    trust: Trust,
    tokens: Tokens,
    limits: Limits,
    sessions: Sessions,
}

impl Fetcher {
    /// One that takes tokens from this folder, and believes what the machine's authorities have signed.
    #[must_use]
    pub fn new(tokens: Tokens, limits: Limits) -> Self {
        Self { trust: Trust::default(), tokens, limits, sessions: Sessions::default() }
    }

    /// One that believes those too whose certificates (PEM) are in this file.
    #[must_use]
    pub fn trusting(self, authorities: impl Into<PathBuf>) -> Self {
        Self { trust: Trust::and(authorities.into()), ..self }
    }

    /// Asks one question. `now` is for answers that name a time to come back. An answer is one document, or those of a zip file.
    ///
    /// # Errors
    /// There is no answer of the right kind within the limits.
    pub async fn ask(&self, request: &Request, now: crate::units::Moment) -> Result<Vec<Vec<u8>>, FetchError> {
        let secret = match &request.login {
            Some(login) => Some(self.session(request, login, now).await?),
            None => {
                request.token.as_deref().map(|name| self.tokens.read(name)).transpose().map_err(FetchError::Token)?
            }
        };
        let answer = self.ask_with(request, secret, now).await;
        if let (Some(login), Err(FetchError::Status { status: 401 | 403, .. })) = (&request.login, &answer) {
            self.sessions.forget(login);
        }
        answer
    }

    /// Asks one question with what opens the door.
    async fn ask_with(
        &self,
        request: &Request,
        secret: Option<Secret>,
        now: crate::units::Moment,
    ) -> Result<Vec<Vec<u8>>, FetchError> {
        let (question, at) = question(request, secret.as_ref())?;
        let asked = tokio::time::timeout(self.limits.time, self.answer(question, &at, request.kind, now)).await;
        let answer = asked.unwrap_or(Err(FetchError::TimedOut { at, within: self.limits.time }));
        // a server may say the token that it was given, also in what looks like an answer
        match (answer, &secret) {
            (Ok(bodies), Some(secret)) => Ok(bodies.into_iter().map(|body| secret.hidden_in(body)).collect()),
            (Err(FetchError::Status { at, status, body }), Some(secret)) => {
                Err(FetchError::Status { at, status, body: secret.hidden_in(body) })
            }
            (Err(FetchError::Packed { at, why: PackedError::Broken(why) }), Some(secret)) => {
                let why = String::from_utf8_lossy(&secret.hidden_in(why.into_bytes())).into_owned();
                Err(FetchError::Packed { at, why: PackedError::Broken(why) })
            }
            (answer, _) => answer,
        }
    }

    async fn answer(
        &self,
        question: HttpRequest<Empty<Bytes>>,
        at: &str,
        kind: Kind,
        now: crate::units::Moment,
    ) -> Result<Vec<Vec<u8>>, FetchError> {
        let broken = |why: String| FetchError::Broken { at: at.to_owned(), why };
        let client =
            self.trust.client(question.uri().scheme_str() == Some("https")).map_err(FetchError::Authorities)?;
        let failed = |error| match Distrust::of(&error) {
            Some(why) => FetchError::Untrusted { at: at.to_owned(), why },
            None => broken(chain(&error)),
        };
        let mut response = client.request(question).await.map_err(failed)?;
        let status = response.status();
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            let after = response.headers().get(header::RETRY_AFTER).and_then(|after| retry_after(after, now));
            return Err(FetchError::TooOften { at: at.to_owned(), status: status.as_u16(), after });
        }
        let found = response.headers().get(header::CONTENT_TYPE).and_then(|found| found.to_str().ok()).unwrap_or("");
        if status == StatusCode::OK && !kind.is_met_by(found) {
            let found =
                if found.is_empty() { "of no kind that it names".to_owned() } else { excerpt(found.as_bytes()) };
            return Err(FetchError::OtherKind { at: at.to_owned(), found, expected: kind.name() });
        }
        let is_packed = is_zip(found);
        let too_large = || FetchError::TooLarge { at: at.to_owned(), most: self.limits.bytes };
        let announced =
            response.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > self.limits.bytes as u64) {
            return Err(too_large());
        }
        let mut body = Vec::new();
        while let Some(frame) = response.body_mut().frame().await {
            let frame = frame.map_err(|error| broken(chain(&error)))?;
            let Ok(data) = frame.into_data() else { continue };
            if body.len() + data.len() > self.limits.bytes {
                return Err(too_large());
            }
            body.extend_from_slice(&data);
        }
        match (status, is_packed) {
            (StatusCode::OK, false) => Ok(vec![body]),
            (StatusCode::OK, true) => {
                unpacked(&body, self.limits.bytes).map_err(|why| FetchError::Packed { at: at.to_owned(), why })
            }
            _ => Err(FetchError::Status { at: at.to_owned(), status: status.as_u16(), body }),
        }
    }
}

/// The question with its token, and its place without.
fn question(request: &Request, secret: Option<&Secret>) -> Result<(HttpRequest<Empty<Bytes>>, String), FetchError> {
    let bad = || FetchError::Url(excerpt(request.url.split('?').next().unwrap_or("").as_bytes()));
    let mut url = request.url.clone();
    if let (Place::Query(name), Some(secret)) = (request.place, secret) {
        let separator = if url.contains('?') { '&' } else { '?' };
        url = format!("{url}{separator}{name}={}", secret.in_query());
    }
    let uri: Uri = url.parse().map_err(|_| bad())?;
    let host = uri.host().filter(|_| matches!(uri.scheme_str(), Some("http" | "https"))).ok_or_else(bad)?;
    // the query may have a token, and so may what stands before an @
    let at = format!("{host}{}", uri.path());
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(FetchError::Url(at));
    }
    let mut builder = HttpRequest::get(uri).header(header::ACCEPT, request.kind.accept());
    builder = builder.header(header::USER_AGENT, concat!("heliotrope/", env!("CARGO_PKG_VERSION")));
    let named = match (request.place, secret) {
        (Place::Header(name), Some(secret)) => Some((name, secret.show().to_owned())),
        (Place::Bearer, Some(secret)) => Some(("authorization", format!("Bearer {}", secret.show()))),
        (Place::Basic, Some(secret)) => Some(("authorization", format!("Basic {}", secret.show()))),
        _ => None,
    };
    if let Some((name, value)) = named {
        let mut value =
            HeaderValue::from_str(&value).map_err(|_| FetchError::Token("the token is no header".to_owned()))?;
        value.set_sensitive(true);
        builder = builder.header(name, value);
    }
    Ok((builder.body(Empty::new()).map_err(|_| bad())?, at))
}

/// Seconds, or a date as HTTP has it.
fn retry_after(value: &HeaderValue, now: crate::units::Moment) -> Option<Seconds> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Seconds(i64::from(seconds)));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(crate::units::Moment::from(date.timestamp()) - now).filter(|after| *after > Seconds::ZERO)
}

/// An error with what is behind it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// The beginning of what a server said, as plain words.
fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(400)]);
    text.split(|c: char| c.is_control() || c.is_whitespace())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(160)
        .collect()
}
