//! XML documents of grid operators: by local name, whatever the version of the schema.

use super::wrong::ReadError;
use roxmltree::{Document, Node, ParsingOptions};

/// The most parts of an answer: a year of quarters of an hour, with three to each.
pub(super) const MOST_NODES: u32 = 1_000_000;

/// Reads a document of at most that many parts. One with a DTD is refused: none of these has one, and entities are a way to make much of
/// little.
pub(super) fn parse(text: &str, nodes_limit: u32) -> Result<Document<'_>, ReadError> {
    let options = ParsingOptions { nodes_limit, allow_dtd: false, ..ParsingOptions::default() };
    let text = text.trim_start_matches('\u{feff}').trim_start();
    Document::parse_with_options(text, options)
        .map_err(|error| ReadError::NotReadable { expected: "XML", why: error.to_string() })
}

/// Children of a name.
pub(super) fn all<'a, 'input: 'a>(node: Node<'a, 'input>, name: &'a str) -> impl Iterator<Item = Node<'a, 'input>> {
    node.children().filter(move |child| child.is_element() && child.tag_name().name() == name)
}

/// The text of the first child of a name.
pub(super) fn text<'a>(node: Node<'a, '_>, name: &'a str) -> Option<&'a str> {
    all(node, name).next()?.text().map(str::trim).filter(|text| !text.is_empty())
}

/// The text of a child that must be there.
pub(super) fn need<'a>(node: Node<'a, '_>, name: &'a str) -> Result<&'a str, ReadError> {
    text(node, name).ok_or_else(|| ReadError::Missing { at: format!("{}/{name}", node.tag_name().name()) })
}
