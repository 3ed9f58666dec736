//! What a login gives is used until it is old, and logged in again then, or where it is refused. It is in memory alone, and shown to nobody.

use super::token::Secret;
use super::{FetchError, Fetcher};
use crate::signals::{Kind, Login, Place, Request, token};
use crate::units::Moment;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What logins gave, by where and for whom.
#[derive(Debug, Clone, Default)]
pub(super) struct Sessions {
    all: Arc<Mutex<BTreeMap<(String, String), Session>>>,
}

#[derive(Debug)]
struct Session {
    secret: Secret,
    until: Moment,
    /// What it was given for: another password is another login.
    by: Secret,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, String), Session>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is refused, or of no use.
    pub(super) fn forget(&self, login: &Login) {
        self.lock().remove(&place(login));
    }
}

fn place(login: &Login) -> (String, String) {
    (login.url.clone(), login.user.clone())
}

impl Fetcher {
    /// What goes in place of the password: what is known, or what a login gives now.
    pub(super) async fn session(&self, request: &Request, login: &Login, now: Moment) -> Result<Secret, FetchError> {
        let read = |name: &str| self.tokens.read(name).map_err(FetchError::Token);
        let password = request.token.as_deref().ok_or_else(|| FetchError::Token("no token is named".to_owned()))?;
        let by = Secret::basic(&read(&login.user)?, &read(password)?);
        let known = |session: &&Session| now < session.until && session.by.show() == by.show();
        if let Some(session) = self.sessions.lock().get(&place(login)).filter(known) {
            return Ok(session.secret.copy());
        }
        let question =
            Request { url: login.url.clone(), token: None, place: Place::Basic, kind: Kind::Json, login: None };
        let answer = self.ask_with(&question, Some(by.copy()), now).await?.concat();
        // an error of the reader has no letter of what it read
        let secret = token(&answer).map(Secret::given);
        let secret = secret.map_err(|error| FetchError::Token(format!("the login's answer: {error}")))?;
        let session = Session { secret: secret.copy(), until: now + login.lasts, by };
        self.sessions.lock().insert(place(login), session);
        Ok(secret)
    }
}
