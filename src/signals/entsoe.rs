//! ENTSO-E's Transparency Platform: day-ahead prices (A44), load (A65), forecasts of wind and sun (A69), generation by type (A75).
//!
//! A period is a start, a resolution and points by position. Under curve type A03 a point is left out where it repeats the one before it;
//! under A01 one that is left out is not known. What can't be answered comes as an acknowledgement with a reason. Several documents, as a zip file has them, are
//! one answer: series of one may be missing without those of another.

use super::mixed::Mixes;
use super::wrong::{MOST_ROWS, ReadError};
use super::xml;
use crate::core::signal::{Answer, BadNumber, Basis, Currency, Decimal, Factors, Fuel, Raw, Unit, What, Zone};
use crate::units::{Moment, Seconds};
use roxmltree::Node;
use std::collections::BTreeMap;

const SOURCE: &str = "ENTSO-E Transparency Platform";
const LICENCE: &str = "CC BY 4.0";

/// What was asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entsoe {
    /// The bidding zone or control area by its EIC, as 10Y1001A1001A82H.
    pub area: String,
    /// The type of document: A44, A65, A69 or A75.
    pub document: String,
}

/// One point with its interval.
struct Point {
    start: Moment,
    end: Moment,
    value: Result<Decimal, BadNumber>,
}

/// Reads the documents of an answer as one.
pub(super) fn read(documents: &[&[u8]], asked: &Entsoe) -> Result<Answer, ReadError> {
    let mut left = xml::MOST_NODES;
    let mut trees = Vec::new();
    for bytes in documents {
        let text = std::str::from_utf8(bytes)
            .map_err(|error| ReadError::NotReadable { expected: "text in UTF-8", why: error.to_string() })?;
        let tree = xml::parse(text, left)?;
        left = left.saturating_sub(u32::try_from(tree.descendants().count()).unwrap_or(u32::MAX));
        trees.push(tree);
    }
    let mut issued: Option<Moment> = None;
    let mut series: Vec<Node<'_, '_>> = Vec::new();
    for tree in &trees {
        let root = tree.root_element();
        // an answer of which a part is missing is none: a mix without its coal is green
        let at = header(root, asked)?;
        // the oldest counts for all
        issued = issued.into_iter().chain(at).min();
        series.extend(xml::all(root, "TimeSeries"));
    }
    let zone = zone(&series, asked);
    let answer = match asked.document.as_str() {
        "A44" => prices(&series, zone, issued)?,
        "A65" => powers(&series, zone, issued, What::Load)?,
        "A69" => powers(&series, zone, issued, What::Generation)?,
        "A75" => generation(&series, zone, issued)?,
        other => return Err(ReadError::not_a("type", "A44, A65, A69 or A75", other)),
    };
    if answer.rows.is_empty() && answer.empty == 0 { Err(ReadError::Nothing) } else { Ok(answer) }
}

/// When a document was made. It must be the one that was asked for.
fn header(root: Node<'_, '_>, asked: &Entsoe) -> Result<Option<Moment>, ReadError> {
    if root.tag_name().name() == "Acknowledgement_MarketDocument" {
        let reason = xml::all(root, "Reason").next();
        let word = |name| reason.and_then(|reason| xml::text(reason, name)).unwrap_or_default();
        return Err(ReadError::provider(word("code"), word("text")));
    }
    let kind = xml::need(root, "type")?;
    if kind != asked.document {
        return Err(ReadError::not_a("type", "the document that was asked for", kind));
    }
    xml::text(root, "createdDateTime").map(|text| time("createdDateTime", text)).transpose()
}

/// All series must be of the area that was asked for.
fn zone(series: &[Node<'_, '_>], asked: &Entsoe) -> Zone {
    const NAMES: [&str; 4] =
        ["in_Domain.mRID", "inBiddingZone_Domain.mRID", "outBiddingZone_Domain.mRID", "out_Domain.mRID"];
    let mut zone = Zone::Missing;
    for one in series {
        match NAMES.into_iter().find_map(|name| xml::text(*one, name)) {
            Some(area) if area == asked.area => zone = Zone::Asked,
            Some(area) => return Zone::Said(area.to_owned()),
            None => return Zone::Missing,
        }
    }
    zone
}

fn prices(series: &[Node<'_, '_>], zone: Zone, issued: Option<Moment>) -> Result<Answer, ReadError> {
    const SEQUENCE: &str = "classificationSequence_AttributeInstanceComponent.position";
    let mut unit = None;
    let mut rows = Vec::new();
    for one in series {
        // of several auctions of one day the first is the day-ahead price
        if xml::text(*one, SEQUENCE).is_some_and(|position| position != "1") {
            continue;
        }
        let currency = xml::need(*one, "currency_Unit.name")?;
        let known: Currency =
            currency.parse().map_err(|()| ReadError::not_a("currency_Unit.name", "a currency", currency))?;
        let per = xml::need(*one, "price_Measure_Unit.name")?;
        if per != "MWH" {
            return Err(ReadError::not_a("price_Measure_Unit.name", "MWH", per));
        }
        if *unit.get_or_insert(known) != known {
            return Err(ReadError::not_a("currency_Unit.name", "the same in all series", currency));
        }
        rows.extend(points(*one, "price.amount", rows.len())?);
    }
    let unit = Unit::per_mwh(unit.unwrap_or(Currency::EUR));
    Ok(answer(What::Price, unit, zone, rows.into_iter().map(|point| raw(point, issued, false)).collect()))
}

/// Power of all series together: at each time at which all have a value.
fn powers(series: &[Node<'_, '_>], zone: Zone, issued: Option<Moment>, what: What) -> Result<Answer, ReadError> {
    let mut sums: BTreeMap<(Moment, Moment), (usize, Result<i64, BadNumber>)> = BTreeMap::new();
    let mut kinds: Vec<Option<&str>> = Vec::new();
    let mut seen = 0;
    for one in series {
        megawatts(*one)?;
        // each type may come in several series, one after the other
        let kind = xml::all(*one, "MktPSRType").next().and_then(|kind| xml::text(kind, "psrType"));
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
        for point in points(*one, "quantity", seen)? {
            seen += 1;
            let watts =
                point.value.and_then(|value| Unit::MEGAWATTS.base(value).ok_or_else(|| BadNumber(value.to_string())));
            let (count, sum) = sums.entry((point.start, point.end)).or_insert((0, Ok(0)));
            *count += 1;
            *sum = match (sum.clone(), watts) {
                (Ok(sum), Ok(watts)) => Ok(sum.saturating_add(watts)),
                (Err(bad), _) | (_, Err(bad)) => Err(bad),
            };
        }
    }
    let all = sums.len();
    let whole = sums.into_iter().filter(|(_, (count, _))| *count == kinds.len());
    let rows: Vec<Raw> = whole
        .map(|((start, end), (_, sum))| Raw {
            issued,
            estimated: what == What::Generation,
            ..Raw::new(start, end, sum.map(Decimal::whole))
        })
        .collect();
    let empty = all - rows.len();
    Ok(Answer { empty, ..answer(what, Unit::WATTS, zone, rows) })
}

fn generation(series: &[Node<'_, '_>], zone: Zone, issued: Option<Moment>) -> Result<Answer, ReadError> {
    let mut mixes = Mixes::default();
    let mut seen = 0;
    for one in series {
        // what plants and pumps take comes as a series out of the zone
        if xml::text(*one, "outBiddingZone_Domain.mRID").is_some() {
            continue;
        }
        megawatts(*one)?;
        let kind = xml::all(*one, "MktPSRType").next().and_then(|kind| xml::text(kind, "psrType")).unwrap_or_default();
        let (fuel, number) =
            fuel(kind).ok_or_else(|| ReadError::not_a("psrType", "a type of plants, B01 to B25", kind))?;
        for point in points(*one, "quantity", seen)? {
            seen += 1;
            mixes.add(point.start, point.end - point.start, fuel, number, point.value, Unit::MEGAWATTS);
        }
    }
    Ok(mixes.answer(zone, SOURCE, LICENCE, issued))
}

/// What a type of plants burns, and its number.
fn fuel(kind: &str) -> Option<(Fuel, u32)> {
    let number: u32 = kind.strip_prefix('B')?.parse().ok()?;
    let fuel = match number {
        1 => Fuel::Biomass,
        2 | 7 | 8 => Fuel::Lignite,
        3 | 4 => Fuel::Gas,
        5 => Fuel::Coal,
        6 => Fuel::Oil,
        9 => Fuel::Geothermal,
        10 | 25 => Fuel::Storage,
        11 | 12 => Fuel::Hydro,
        13 | 18 => Fuel::Offshore,
        14 => Fuel::Nuclear,
        // other renewables may be anything that grows
        15 => Fuel::Biomass,
        16 => Fuel::Solar,
        17 => Fuel::Waste,
        19 => Fuel::Wind,
        20 => Fuel::Unknown,
        _ => return None,
    };
    Some((fuel, number))
}

fn megawatts(series: Node<'_, '_>) -> Result<(), ReadError> {
    match xml::need(series, "quantity_Measure_Unit.name")? {
        "MAW" => Ok(()),
        other => Err(ReadError::not_a("quantity_Measure_Unit.name", "MAW", other)),
    }
}

/// The points of a series, those that are left out filled in where its curve says so.
fn points(series: Node<'_, '_>, name: &str, before: usize) -> Result<Vec<Point>, ReadError> {
    let repeats = xml::text(series, "curveType") == Some("A03");
    let mut points: Vec<Point> = Vec::new();
    for period in xml::all(series, "Period") {
        let interval = xml::all(period, "timeInterval").next();
        let interval = interval.ok_or_else(|| ReadError::Missing { at: "Period/timeInterval".to_owned() })?;
        let from = time("timeInterval/start", xml::need(interval, "start")?)?;
        let until = time("timeInterval/end", xml::need(interval, "end")?)?;
        let long = resolution(xml::need(period, "resolution")?)?;
        let count = ((until - from).0 / long.0).max(0);
        if count.unsigned_abs() > (MOST_ROWS - before.min(MOST_ROWS)).saturating_sub(points.len()) as u64 {
            return Err(ReadError::TooMany { most: MOST_ROWS });
        }
        let mut said: BTreeMap<i64, Result<Decimal, BadNumber>> = BTreeMap::new();
        for point in xml::all(period, "Point") {
            let position = xml::need(point, "position")?;
            let place = position.parse().ok().filter(|place| (1..=count).contains(place));
            let place = place.ok_or_else(|| ReadError::not_a("Point/position", "a place in its period", position))?;
            let value = xml::need(point, name)?.parse();
            if said.insert(place, value).is_some() {
                return Err(ReadError::not_a("Point/position", "there once", position));
            }
        }
        let mut last = None;
        for place in 1..=count {
            let value = match said.remove(&place) {
                Some(value) => value,
                None => match last.clone().filter(|_| repeats) {
                    Some(value) => value,
                    None => continue,
                },
            };
            last = Some(value.clone());
            let start = from + Seconds((place - 1) * long.0);
            points.push(Point { start, end: start + long, value });
        }
    }
    Ok(points)
}

fn resolution(text: &str) -> Result<Seconds, ReadError> {
    let bad = || ReadError::not_a("resolution", "PT15M, PT30M, PT60M or P1D", text);
    let number = |text: &str, most: i64| text.parse::<i64>().ok().filter(|n| (1..=most).contains(n)).ok_or_else(bad);
    if let Some(minutes) = text.strip_prefix("PT").and_then(|text| text.strip_suffix('M')) {
        Ok(Seconds(60 * number(minutes, 1440)?))
    } else if let Some(hours) = text.strip_prefix("PT").and_then(|text| text.strip_suffix('H')) {
        Ok(Seconds(3600 * number(hours, 24)?))
    } else if text == "P1D" {
        Ok(Seconds::DAY)
    } else {
        Err(bad())
    }
}

fn time(at: &str, text: &str) -> Result<Moment, ReadError> {
    text.parse().map_err(|_| ReadError::not_a(at, "a time such as 2026-10-25T00:00Z", text))
}

fn raw(point: Point, issued: Option<Moment>, estimated: bool) -> Raw {
    Raw { issued, estimated, ..Raw::new(point.start, point.end, point.value) }
}

fn answer(what: What, unit: Unit, zone: Zone, rows: Vec<Raw>) -> Answer {
    Answer {
        zone,
        what,
        basis: Basis::LocationAverage,
        factors: Factors::Unsaid,
        unit,
        source: SOURCE,
        licence: LICENCE,
        rows,
        empty: 0,
    }
}
