//! YAML that people write: read with errors that name the file, the line and the field.
//!
//! A [`Document`] remembers where its fields stand, so that a mistake found long after parsing (a ring of parents,
//! a cap below its baseline) can still be shown where it was made.

use saphyr::{LoadableYamlNode, MarkedYaml};
use serde::de::DeserializeOwned;
use serde_yaml::Value;

/// A mistake in a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {}{what}", line.map(|line| format!(":{line}")).unwrap_or_default(),
    if field.is_empty() { String::new() } else { format!("{field}: ") })]
pub struct YamlError {
    /// The file.
    pub file: String,
    /// The line, counted from 1, where it is known.
    pub line: Option<usize>,
    /// The field, as `site.domains[1].capWatts`; empty for the document itself.
    pub field: String,
    /// What is wrong, and what would be right.
    pub what: String,
}

/// A YAML document with its text.
#[derive(Debug, Clone)]
pub struct Document {
    file: String,
    text: String,
    value: Value,
}

/// One step of a path.
enum Step<'p> {
    Key(&'p str),
    Index(usize),
}

/// `site.domains[1].capWatts` as steps; none where it is not such a path.
fn steps(path: &str) -> Option<Vec<Step<'_>>> {
    let mut steps = Vec::new();
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let (key, mut rest) = part.split_once('[').map_or((part, ""), |(key, _)| (key, &part[key.len()..]));
        if !key.is_empty() {
            steps.push(Step::Key(key));
        }
        while let Some(inside) = rest.strip_prefix('[') {
            let (index, after) = inside.split_once(']')?;
            steps.push(Step::Index(index.parse().ok()?));
            rest = after;
        }
        if !rest.is_empty() {
            return None;
        }
    }
    Some(steps)
}

impl Document {
    /// Parses the text of a file.
    ///
    /// # Errors
    /// Where it is no YAML.
    pub fn parse(text: &str, file: &str) -> Result<Self, YamlError> {
        let value = serde_yaml::from_str(text).map_err(|error| YamlError {
            file: file.to_owned(),
            // a key that is there twice is told of its mapping; saphyr knows where the second one stands
            line: match MarkedYaml::load_from_str(text) {
                Err(twice) if error.to_string().contains("duplicate entry") => Some(twice.marker().line()),
                _ => error.location().map(|location| location.line()),
            },
            field: String::new(),
            what: error.to_string(),
        })?;
        Ok(Self { file: file.to_owned(), text: text.to_owned(), value })
    }

    /// Sets one field, as `--set path=value` does. The value is YAML.
    ///
    /// # Errors
    /// Where the path names nothing that could be set.
    pub fn set(&mut self, assignment: &str) -> Result<(), YamlError> {
        let wrong = |what: &str| YamlError {
            file: format!("--set {assignment}"),
            line: None,
            field: String::new(),
            what: what.to_owned(),
        };
        let (path, value) = assignment.split_once('=').ok_or_else(|| wrong("write path=value"))?;
        let value: Value = serde_yaml::from_str(value).map_err(|error| wrong(&error.to_string()))?;
        let steps = steps(path).filter(|steps| !steps.is_empty());
        let steps = steps.ok_or_else(|| wrong("the path is not of the form site.domains[0].capWatts"))?;
        let mut at = &mut self.value;
        for step in steps {
            at = match step {
                Step::Key(key) => {
                    if at.is_null() {
                        *at = Value::Mapping(serde_yaml::Mapping::new());
                    }
                    let map = at
                        .as_mapping_mut()
                        .ok_or_else(|| wrong(&format!("`{key}` is a field, but there is no mapping")))?;
                    map.entry(Value::from(key)).or_insert(Value::Null)
                }
                Step::Index(index) => at
                    .as_sequence_mut()
                    .and_then(|list| list.get_mut(index))
                    .ok_or_else(|| wrong(&format!("there is no [{index}]")))?,
            };
        }
        *at = value;
        Ok(())
    }

    /// The document as a type. Unknown fields are an error if the type says so.
    ///
    /// # Errors
    /// The first field that is missing, unknown, or not what it should be.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, YamlError> {
        serde_path_to_error::deserialize(self.value.clone()).map_err(|error| {
            let path = error.path().to_string();
            let mut path = if path == "." || path == "?" { String::new() } else { path };
            let what = error.inner().to_string();
            // what is unknown stands a step below the struct that doesn't know it
            let unknown = what.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
            if let Some(name) = unknown.filter(|name| !path.ends_with(*name)) {
                let dot = if path.is_empty() { "" } else { "." };
                path = format!("{path}{dot}{name}");
            }
            self.error(&path, what)
        })
    }

    /// A mistake in a field that was found after parsing.
    #[must_use]
    pub fn error(&self, field: &str, what: impl std::fmt::Display) -> YamlError {
        YamlError { file: self.file.clone(), line: self.line(field), field: field.to_owned(), what: what.to_string() }
    }

    /// The line of a field, or of the nearest thing around it that the text has.
    fn line(&self, field: &str) -> Option<usize> {
        let documents = MarkedYaml::load_from_str(&self.text).ok()?;
        let mut node = documents.first()?;
        let mut line = node.span.start.line();
        for step in steps(field)? {
            let next = match step {
                Step::Key(key) => node.data.as_mapping().and_then(|map| {
                    let (name, value) = map.iter().find(|(name, _)| name.data.as_str() == Some(key))?;
                    Some((name.span.start.line(), value))
                }),
                Step::Index(index) => {
                    node.data.as_sequence().and_then(|list| list.get(index)).map(|item| (item.span.start.line(), item))
                }
            };
            let Some((at, inside)) = next else { break };
            (line, node) = (at, inside);
        }
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Site {
        domains: Vec<Domain>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    struct Domain {
        cap_watts: u32,
    }

    const TEXT: &str = "# a site\ndomains:\n  - capWatts: 1\n  - {capWatts: 2}\n";

    #[test]
    fn a_mistake_is_shown_where_it_was_made() {
        let document = Document::parse(TEXT, "site.yaml").unwrap();
        assert_eq!(document.read::<Site>().unwrap().domains[1], Domain { cap_watts: 2 });
        assert_eq!(
            document.error("domains[1].capWatts", "too low").to_string(),
            "site.yaml:4: domains[1].capWatts: too low"
        );
        assert_eq!(document.error("domains[0].parent", "missing").line, Some(3));
        assert_eq!(document.error("", "empty").to_string(), "site.yaml:2: empty");
    }

    #[test]
    fn unknown_fields_and_wrong_types_name_line_and_field() {
        let read = |text: &str| Document::parse(text, "s.yaml").and_then(|d| d.read::<Site>()).unwrap_err().to_string();
        assert_eq!(
            read("domains:\n  - capWatts: 1\n    capWats: 2\n"),
            "s.yaml:3: domains[0].capWats: unknown field `capWats`, expected `capWatts`"
        );
        assert!(read("domains:\n  - capWatts: -1\n").starts_with("s.yaml:2: domains[0].capWatts: invalid value"));
        assert!(read("domains: [\n").starts_with("s.yaml:2: "), "{}", read("domains: [\n"));
    }

    #[test]
    fn a_key_that_is_there_twice_is_shown_at_its_own_line() {
        let line = |text: &str| Document::parse(text, "s.yaml").unwrap_err().to_string();
        for text in ["a: 1\nb: 2\na: 3\n", "x:\n  a: 1\n  a: 3\n"] {
            let said = line(text);
            assert!(said.starts_with("s.yaml:3: ") && said.contains("duplicate entry with key \"a\""), "{said}");
        }
    }

    #[test]
    fn one_field_is_set_from_outside() {
        let mut document = Document::parse(TEXT, "site.yaml").unwrap();
        document.set("domains[0].capWatts=7").unwrap();
        assert_eq!(document.read::<Site>().unwrap().domains[0].cap_watts, 7);
        assert_eq!(
            document.set("domains[9].capWatts=7").unwrap_err().to_string(),
            "--set domains[9].capWatts=7: there is no [9]"
        );
        assert_eq!(document.set("nonsense").unwrap_err().to_string(), "--set nonsense: write path=value");
    }
}
