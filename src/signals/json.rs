//! JSON with places: what is missing or something else is told with where it should have been.

use super::wrong::{MOST_ROWS, ReadError};
use crate::core::signal::{BadNumber, Decimal};
use crate::units::Moment;
use serde_json::Value;

/// A part of an answer, and where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node<'a> {
    value: &'a Value,
    up: Option<&'a Node<'a>>,
    step: Step<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Root,
    Field(&'a str),
    Row(usize),
}

/// Reads JSON.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, ReadError> {
    serde_json::from_slice(bytes).map_err(|error| ReadError::NotReadable { expected: "JSON", why: error.to_string() })
}

impl<'a> Node<'a> {
    pub(super) fn root(value: &'a Value) -> Self {
        Self { value, up: None, step: Step::Root }
    }

    /// A field that is there and not null.
    pub(super) fn get(&'a self, name: &'a str) -> Option<Self> {
        let value = self.value.get(name).filter(|value| !value.is_null())?;
        Some(Self { value, up: Some(self), step: Step::Field(name) })
    }

    pub(super) fn need(&'a self, name: &'a str) -> Result<Self, ReadError> {
        self.get(name).ok_or_else(|| ReadError::Missing { at: join(&self.place(), name) })
    }

    /// The rows of a list.
    pub(super) fn rows(&'a self) -> Result<impl Iterator<Item = Self>, ReadError> {
        let list = self.value.as_array().ok_or_else(|| self.is_not("a list"))?;
        if list.len() > MOST_ROWS {
            return Err(ReadError::TooMany { most: MOST_ROWS });
        }
        Ok(list.iter().enumerate().map(|(i, value)| Self { value, up: Some(self), step: Step::Row(i) }))
    }

    /// What a JSON pointer leads to.
    pub(super) fn at(&'a self, pointer: &'a str) -> Result<Self, ReadError> {
        let value = self.value.pointer(pointer).filter(|value| !value.is_null());
        let value = value.ok_or_else(|| ReadError::Missing { at: join(&self.place(), pointer) })?;
        Ok(Self { value, up: Some(self), step: Step::Field(pointer) })
    }

    pub(super) fn value(&self) -> &'a Value {
        self.value
    }

    pub(super) fn text(&self) -> Result<&'a str, ReadError> {
        self.value.as_str().ok_or_else(|| self.is_not("a text"))
    }

    pub(super) fn whole(&self) -> Result<i64, ReadError> {
        self.value.as_i64().ok_or_else(|| self.is_not("a whole number"))
    }

    /// A number, or a text that is one.
    pub(super) fn number(&self) -> Result<Decimal, BadNumber> {
        match self.value {
            Value::Number(number) => number.to_string().parse(),
            Value::String(text) => text.parse(),
            other => Err(BadNumber(other.to_string().chars().take(40).collect())),
        }
    }

    /// A time with its offset from UTC, as RFC 3339 has it.
    pub(super) fn time(&self) -> Result<Moment, ReadError> {
        self.text()?.parse().map_err(|_| self.is_not("a time with its offset such as 2026-10-25T00:00Z"))
    }

    pub(super) fn is_not(&self, expected: &'static str) -> ReadError {
        let found = match self.value {
            Value::String(text) => text.clone(),
            Value::Array(_) => "[..]".to_owned(),
            Value::Object(_) => "{..}".to_owned(),
            other => other.to_string(),
        };
        ReadError::not_a(self.place(), expected, &found)
    }

    /// Where it stands: `data[3].from`.
    fn place(&self) -> String {
        let above = self.up.map(Self::place).unwrap_or_default();
        match self.step {
            Step::Root => above,
            Step::Field(name) => join(&above, name),
            Step::Row(i) => format!("{above}[{i}]"),
        }
    }
}

fn join(above: &str, name: &str) -> String {
    if above.is_empty() || name.starts_with('/') { format!("{above}{name}") } else { format!("{above}.{name}") }
}
