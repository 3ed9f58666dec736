//! What is wrong with an answer as a whole.

/// Why nothing could be read of an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is neither JSON nor text in UTF-8.
    #[error("the answer is not {expected}: {why}")]
    NotReadable {
        /// What it should be.
        expected: &'static str,
        /// What the parser said, with line and column.
        why: String,
    },
    /// A part is not there.
    #[error("`{at}` is missing")]
    Missing {
        /// Its place.
        at: String,
    },
    /// A part is something else.
    #[error("`{at}` is `{found}`, and not {expected}")]
    NotA {
        /// Its place.
        at: String,
        /// What it should be.
        expected: &'static str,
        /// What it is, cut short.
        found: String,
    },
    /// The provider itself says that it can't answer.
    #[error("the provider says: {code}{}{message}", if code.is_empty() || message.is_empty() { "" } else { ": " })]
    Provider {
        /// Its code, if it has one.
        code: String,
        /// Its words, cut short.
        message: String,
    },
    /// There is no row in it.
    #[error("the answer has no values")]
    Nothing,
    /// It is of more rows than any signal has.
    #[error("the answer has more than {most} values")]
    TooMany {
        /// How many there may be.
        most: usize,
    },
    /// It is a part of what was asked for.
    #[error("the answer has {rows} of {total} rows: ask for less, or for longer pages")]
    Incomplete {
        /// Rows that are there.
        rows: usize,
        /// Rows that the provider has.
        total: String,
    },
}

/// The most rows of one answer: a year of 5-minute values.
pub(super) const MOST_ROWS: usize = 105_408;

impl ReadError {
    /// Its fixed name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotReadable { .. } => "NotReadable",
            Self::Missing { .. } => "Missing",
            Self::NotA { .. } => "NotA",
            Self::Provider { .. } => "Provider",
            Self::Nothing => "Nothing",
            Self::TooMany { .. } => "TooMany",
            Self::Incomplete { .. } => "Incomplete",
        }
    }

    pub(super) fn provider(code: &str, message: &str) -> Self {
        Self::Provider { code: short(code), message: short(message) }
    }

    pub(super) fn not_a(at: impl Into<String>, expected: &'static str, found: &str) -> Self {
        Self::NotA { at: at.into(), expected, found: short(found) }
    }
}

/// Words of others: without what moves a terminal, and not too many.
pub(super) fn short(text: &str) -> String {
    let plain = text.split(|c: char| c.is_control() || c.is_whitespace()).filter(|word| !word.is_empty());
    let all = plain.collect::<Vec<_>>().join(" ");
    if all.chars().count() <= 160 { all } else { all.chars().take(157).chain("...".chars()).collect() }
}
