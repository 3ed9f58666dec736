//! The Korea Power Exchange, by way of data.go.kr: load, and generation by fuel, from which carbon intensity is reckoned.
//!
//! Errors come with HTTP 200, often as XML where JSON was asked for. One item comes as itself, several as a list, none as an empty text.
//! Times are of Korea, which has no daylight saving. Two services number their fuels differently: what is the sun in one is the wind in the other.

use super::json::{self, Node};
use super::mixed::Mixes;
use super::wrong::{MOST_ROWS, ReadError};
use super::xml;
use crate::core::signal::{Answer, BadNumber, Basis, Decimal, Factors, Fuel, Raw, Unit, What, Zone};
use crate::units::{Moment, Seconds};
use std::collections::BTreeMap;

const SOURCE: &str = "Korea Power Exchange, data.go.kr";
const LICENCE: &str = "data.go.kr, no restriction of use";

/// How long a value holds: both services have one each 5 minutes.
const STEP: Seconds = Seconds(300);

/// Which service answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Supply and demand of the country (`currPwrTot`): its load.
    Load,
    /// The same of Jeju.
    JejuLoad,
    /// `getSumperfuel5m`: by fuel, with the sun under 8 and the wind under 9.
    SumPerFuel,
    /// `getPwrAmountByGen`: by fuel, with new and renewable under 8 and the sun under 9.
    ByGeneration,
}

/// An item: names in lower case, since these differ in case alone.
type Item = BTreeMap<String, String>;

/// Reads an answer, XML or JSON.
pub(super) fn read(bytes: &[u8], service: Service) -> Result<Answer, ReadError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| ReadError::NotReadable { expected: "text in UTF-8", why: error.to_string() })?;
    let items =
        if text.trim_start_matches('\u{feff}').trim_start().starts_with('<') { of_xml(text)? } else { of_json(bytes)? };
    if items.is_empty() {
        return Err(ReadError::Nothing);
    }
    match service {
        Service::Load => load(&items, Zone::Only("KR")),
        Service::JejuLoad => load(&items, Zone::Only("KR-JEJU")),
        Service::SumPerFuel | Service::ByGeneration => mix(&items, service),
    }
}

fn of_xml(text: &str) -> Result<Vec<Item>, ReadError> {
    let document = xml::parse(text, xml::MOST_NODES)?;
    let root = document.root_element();
    // the gateway's own refusal: a key that is not known, a quota that is used up
    if let Some(header) = xml::all(root, "cmmMsgHeader").next() {
        let word = |name| xml::text(header, name).unwrap_or_default();
        let words = [word("returnAuthMsg"), word("errMsg")].join(" ");
        return Err(ReadError::provider(word("returnReasonCode"), &words));
    }
    let header = xml::all(root, "header").next();
    let word = |name| header.and_then(|header| xml::text(header, name)).unwrap_or_default();
    if word("resultCode") != "00" {
        return Err(ReadError::provider(word("resultCode"), word("resultMsg")));
    }
    let body = xml::all(root, "body").next().ok_or_else(|| ReadError::Missing { at: "response/body".to_owned() })?;
    let Some(items) = xml::all(body, "items").next() else { return Ok(Vec::new()) };
    let fields = |item: roxmltree::Node<'_, '_>| {
        let elements = item.children().filter(roxmltree::Node::is_element);
        elements
            .map(|field| (field.tag_name().name().to_lowercase(), field.text().unwrap_or_default().trim().to_owned()))
            .collect()
    };
    let items: Vec<Item> = xml::all(items, "item").map(fields).take(MOST_ROWS + 1).collect();
    if items.len() > MOST_ROWS { Err(ReadError::TooMany { most: MOST_ROWS }) } else { Ok(items) }
}

fn of_json(bytes: &[u8]) -> Result<Vec<Item>, ReadError> {
    let value = json::parse(bytes)?;
    let root = Node::root(&value);
    let response = root.need("response")?;
    let header = response.need("header")?;
    let word = |name| header.get(name).and_then(|word| word.value().as_str()).unwrap_or_default();
    if word("resultCode") != "00" {
        return Err(ReadError::provider(word("resultCode"), word("resultMsg")));
    }
    let body = response.need("body")?;
    let Some(items) = body.get("items").filter(|items| items.value() != "") else { return Ok(Vec::new()) };
    let item = items.need("item")?;
    let nodes: Vec<Node<'_>> = if item.value().is_array() { item.rows()?.collect() } else { vec![item] };
    let fields = |node: &Node<'_>| {
        let fields = node.value().as_object().ok_or_else(|| node.is_not("an item"))?;
        let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Ok(fields.iter().map(|(name, value)| (name.to_lowercase(), text(value))).collect())
    };
    nodes.iter().map(fields).collect()
}

fn load(items: &[Item], zone: Zone) -> Result<Answer, ReadError> {
    let rows = items
        .iter()
        .map(|item| {
            let start = time(item)?;
            Ok(Raw::new(start, start + STEP, number(item, "currpwrtot")?))
        })
        .collect::<Result<_, ReadError>>()?;
    Ok(Answer {
        zone,
        what: What::Load,
        basis: Basis::LocationAverage,
        factors: Factors::Unsaid,
        unit: Unit::MEGAWATTS,
        source: SOURCE,
        licence: LICENCE,
        rows,
        empty: 0,
    })
}

/// What `fuelPwr1` to `fuelPwr7` are in both.
const FUELS: [Fuel; 7] = [Fuel::Hydro, Fuel::Oil, Fuel::Coal, Fuel::Nuclear, Fuel::Storage, Fuel::Gas, Fuel::Coal];

fn mix(items: &[Item], service: Service) -> Result<Answer, ReadError> {
    // new and renewable is wood and waste, but also fuel cells and gasified coal: read as nothing that is known
    let rest: &[(Fuel, &str)] = match service {
        Service::SumPerFuel => &[
            (Fuel::Solar, "fuelpwr8"),
            (Fuel::Wind, "fuelpwr9"),
            (Fuel::Unknown, "fuelpwr10"),
            (Fuel::Solar, "pesmw"), // by contract beside the market, an estimate; what is behind meters never reaches the grid
        ],
        _ => &[(Fuel::Unknown, "fuelpwr8"), (Fuel::Solar, "fuelpwr9")],
    };
    let is_other = |item: &Item| item.contains_key("fuelpwr10") != (service == Service::SumPerFuel);
    if items.iter().any(is_other) {
        let found = if service == Service::SumPerFuel { "without it" } else { "with it" };
        return Err(ReadError::not_a(
            "fuelPwr10",
            "as in the service that was asked: fuels are numbered otherwise",
            found,
        ));
    }
    let mut mixes = Mixes::default();
    for item in items {
        let start = time(item)?;
        let main = (1..).zip(FUELS).map(|(n, fuel)| (fuel, format!("fuelpwr{n}")));
        let all = main.chain(rest.iter().map(|(fuel, name)| (*fuel, (*name).to_owned())));
        for (i, (fuel, name)) in (0..).zip(all) {
            mixes.add(start, STEP, fuel, i, number(item, &name)?, Unit::MEGAWATTS);
        }
    }
    Ok(mixes.answer(Zone::Only("KR"), SOURCE, LICENCE, None))
}

fn number(item: &Item, name: &str) -> Result<Result<Decimal, BadNumber>, ReadError> {
    item.get(name).map(|text| text.parse()).ok_or_else(|| ReadError::Missing { at: format!("item.{name}") })
}

/// `20261001000500`: local time in Korea, 9 hours ahead of UTC all year.
fn time(item: &Item) -> Result<Moment, ReadError> {
    let text = item.get("basedatetime").ok_or_else(|| ReadError::Missing { at: "item.baseDatetime".to_owned() })?;
    let bad = || ReadError::not_a("item.baseDatetime", "a time such as 20261001000500", text);
    if !text.bytes().all(|byte| byte.is_ascii_digit()) || !matches!(text.len(), 12 | 14) {
        return Err(bad());
    }
    let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or("00").to_owned();
    let iso =
        format!("{}-{}-{}T{}:{}:{}+09:00", part(0..4), part(4..6), part(6..8), part(8..10), part(10..12), part(12..14));
    iso.parse().map_err(|_| bad())
}
