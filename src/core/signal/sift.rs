//! What can't be meant is refused: an answer goes in as it was written, readings come out in order and without overlap.
//!
//! ```text
//! answer ─ is it of what was asked? ─ each row alone ─ rows beside each other ─ against what was before ─ readings
//!            zone, basis, money, unit    value, times     twice, overlapping        steady, to and fro
//! ```

use super::reading::{Answer, Basis, Factors, Raw, Reading, What, Zone};
use super::refused::{Reason, Refused};
use super::unit::{Currency, Dimension};
use crate::units::{Moment, Seconds};
use std::sync::Arc;

/// The years in which a value can be meant: 2106 is where 32 bits of seconds end.
const YEARS: std::ops::Range<i64> = 946_684_800..4_260_211_200;

/// How far ahead a forecast reaches: weather is forecast for 16 days.
const AHEAD: Seconds = Seconds(16 * 86_400);

/// How far a source's clock may be ahead of ours: an answer may be of an hour that has just begun.
const SKEW: Seconds = Seconds::HOUR;

/// The longest interval of one value.
const LONGEST: Seconds = Seconds(31 * 86_400);

/// The highest carbon intensity that can be meant, in mg/kWh: the dirtiest grid there is stays below 1,500 g/kWh, one plant below 2,000.
const MOST_CARBON: i64 = 5_000_000;

/// The lowest average but zero, in mg/kWh. The cleanest grids there are have 15 to 30 g/kWh: 0.4 are kg. (The marginal plant may be the wind.)
const LEAST_CARBON: i64 = 1_000;

/// The most power, in W: all plants of the world together.
const MOST_POWER: i64 = 20_000_000_000_000;

/// So many times more or less than what is usual is another unit. A thousand less a factor of three, by which an hour may differ.
const ANOTHER_UNIT: i64 = 300;

/// Moves of this many that follow each other, of so many, each by half and against the one before: no grid does that.
const FLIPS: usize = 5;
const MOVES: usize = 6;

/// How long carbon may stay the same before it is looked at, and how many times longer than it ever did is too long.
const STEADY: Seconds = Seconds::DAY;
const LONGER: i64 = 2;

/// What was asked for, and what is known already.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The grid.
    pub zone: &'a str,
    /// What is measured.
    pub what: What,
    /// Of carbon, of what it is a figure.
    pub basis: Basis,
    /// Of prices, whose money; none where any will do.
    pub currency: Option<Currency>,
    /// The time.
    pub now: Moment,
    /// The middle of what was known before, in base units.
    pub typical: Option<i64>,
    /// The longest for which it stayed the same before; none where that is not known.
    pub steady: Option<Seconds>,
}

/// What is used of an answer, and what is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sifted {
    /// In order of time, none overlapping another.
    pub readings: Vec<Reading>,
    /// All others.
    pub refused: Refused,
}

/// Judges an answer.
#[must_use]
pub fn sift(answer: &Answer, wanted: &Wanted<'_>) -> Sifted {
    let mut refused = Refused::default();
    // 1. Is it of what was asked? If not, no row is looked at.
    if let Err((reason, what)) = is_meant(answer, wanted) {
        refused.add(reason, answer.rows.len().max(1), || what);
        return Sifted { readings: Vec::new(), refused };
    }
    // 2. Each row alone.
    let zone: Arc<str> = wanted.zone.into();
    let mut readings = Vec::with_capacity(answer.rows.len());
    for row in &answer.rows {
        match reading(row, answer, wanted, &zone) {
            Ok(reading) => readings.push(reading),
            Err((reason, what)) => refused.add(reason, 1, || what),
        }
    }
    // 3. Rows beside each other. What was made later comes later; of two of one time the one stays that is not greener.
    readings.sort_by_key(|reading| (reading.start, reading.end));
    let mut readings = without_overlap(readings, &mut refused);
    // 4. Against what was before.
    if answer.what == What::CarbonIntensity {
        flip_flops(&mut readings, &mut refused);
        frozen(&mut readings, wanted.steady, &mut refused);
    }
    Sifted { readings, refused }
}

type Refusal = (Reason, String);

fn is_meant(answer: &Answer, wanted: &Wanted<'_>) -> Result<(), Refusal> {
    let named = match &answer.zone {
        Zone::Said(zone) => zone.as_str(),
        Zone::Only(zone) => zone,
        Zone::Asked => wanted.zone,
        Zone::Missing => {
            let what = format!("the answer names no zone: it may be of any, and not of {}", wanted.zone);
            return Err((Reason::ZoneMissing, what));
        }
    };
    if named != wanted.zone || wanted.zone.is_empty() {
        return Err((Reason::OtherZone, format!("of zone `{}`, wanted is `{}`", short(named), wanted.zone)));
    }
    if answer.what != wanted.what || (answer.what == What::CarbonIntensity && answer.basis != wanted.basis) {
        let what = format!("{:?} {:?}, wanted is {:?} {:?}", answer.what, answer.basis, wanted.what, wanted.basis);
        return Err((Reason::OtherBasis, what));
    }
    let dimension = match answer.what {
        What::CarbonIntensity => Dimension::Carbon,
        What::Price => Dimension::Price,
        What::Generation | What::Load => Dimension::Power,
    };
    if answer.unit.dimension != dimension {
        let what = format!("its unit is of {:?}, {:?} needs one of {dimension:?}", answer.unit.dimension, answer.what);
        return Err((Reason::OtherUnit, what));
    }
    match (answer.unit.currency, wanted.currency) {
        (Some(said), Some(wanted)) if said != wanted => {
            Err((Reason::OtherCurrency, format!("in {said}, wanted is {wanted}")))
        }
        _ => Ok(()),
    }
}

fn reading(row: &Raw, answer: &Answer, wanted: &Wanted<'_>, zone: &Arc<str>) -> Result<Reading, Refusal> {
    if let Some(other) = row.zone.as_ref().filter(|named| named.as_str() != wanted.zone) {
        return Err((Reason::OtherZone, format!("a row of zone `{}`, wanted is `{}`", short(other), wanted.zone)));
    }
    times(row, wanted.now)?;
    let number = row.value.as_ref().map_err(|bad| (Reason::NotANumber, bad.to_string()))?;
    let base = |number| {
        answer.unit.base(number).ok_or_else(|| (Reason::NotANumber, format!("{number} is more than can be counted")))
    };
    let value = plausible(base(*number)?, answer, wanted)?;
    let quantiles = row
        .quantiles
        .iter()
        .map(|(permille, number)| Ok((*permille, plausible(base(*number)?, answer, wanted)?)))
        .collect::<Result<Vec<_>, Refusal>>()?;
    let rise = quantiles.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
    if !rise || quantiles.iter().any(|(permille, _)| *permille > 1000) {
        return Err((Reason::Disordered, format!("the quantiles of {} don't rise", row.start)));
    }
    Ok(Reading {
        zone: zone.clone(),
        what: answer.what,
        basis: answer.basis,
        factors: answer.factors,
        currency: answer.unit.currency,
        start: row.start,
        end: row.end,
        value,
        quantiles,
        issued: row.issued,
        source: answer.source,
        estimated: row.estimated,
        licence: answer.licence,
    })
}

fn times(row: &Raw, now: Moment) -> Result<(), Refusal> {
    for moment in [row.start, row.end].into_iter().chain(row.issued) {
        if !YEARS.contains(&moment.0) {
            return Err((Reason::OutOfTime, format!("{moment} is not between 2000 and 2105")));
        }
    }
    if row.end <= row.start || row.end - row.start > LONGEST {
        return Err((Reason::Backwards, format!("from {} to {}", row.start, row.end)));
    }
    if row.start > now + AHEAD {
        return Err((Reason::TooFarAhead, format!("{} is more than 16 days ahead", row.start)));
    }
    match row.issued.filter(|issued| *issued > now + SKEW) {
        Some(issued) => Err((Reason::TooFarAhead, format!("made at {issued}, which is yet to come"))),
        None => Ok(()),
    }
}

fn plausible(value: i64, answer: &Answer, wanted: &Wanted<'_>) -> Result<i64, Refusal> {
    let off = |what: String| Err((Reason::UnitOff, format!("{what}: another unit must be meant")));
    match answer.what {
        What::CarbonIntensity => {
            let grams = value as f64 / 1000.0;
            let is_average = answer.basis != Basis::Marginal;
            if value < 0 {
                return Err((Reason::Negative, format!("{grams} g/kWh is below 0")));
            }
            if value > MOST_CARBON {
                return off(format!("{grams} g/kWh is above 5000"));
            }
            // a grid of rivers emits nothing where only chimneys count
            let is_nothing = value == 0 && answer.factors != Factors::Lifecycle;
            if is_average && value < LEAST_CARBON && !is_nothing {
                return off(format!("{grams} g/kWh on average is below 1"));
            }
            if let Some(typical) = wanted.typical.filter(|typical| is_average && *typical > 0 && value > 0)
                && (value > typical.saturating_mul(ANOTHER_UNIT) || value.saturating_mul(ANOTHER_UNIT) < typical)
            {
                return off(format!("{grams} g/kWh, where {} are usual", typical as f64 / 1000.0));
            }
        }
        What::Price => {
            let most = answer.unit.currency.map_or(25_000, Currency::most_per_mwh);
            if value.unsigned_abs() > most.unsigned_abs().saturating_mul(1_000_000) {
                return off(format!("{} per MWh is beyond {most}", value as f64 / 1e6));
            }
        }
        What::Generation | What::Load => {
            if value < 0 {
                return Err((Reason::Negative, format!("{value} W is below 0")));
            }
            if value > MOST_POWER {
                return off(format!("{value} W is more than the world has"));
            }
        }
    }
    Ok(value)
}

fn without_overlap(readings: Vec<Reading>, refused: &mut Refused) -> Vec<Reading> {
    let mut kept: Vec<Reading> = Vec::with_capacity(readings.len());
    for reading in readings {
        let Some(last) = kept.last_mut().filter(|last| reading.start < last.end) else {
            kept.push(reading);
            continue;
        };
        if (last.start, last.end, last.value) == (reading.start, reading.end, reading.value) {
            refused.add(Reason::Repeated, 1, || format!("{} is there twice", reading.start));
            continue;
        }
        refused.add(Reason::Overlapping, 1, || {
            format!("{} to {} and {} to {} overlap", last.start, last.end, reading.start, reading.end)
        });
        // carbon's higher one stays, generation's lower
        if reading.value != last.value && reading.what.safe().of(reading.value, last.value) == reading.value {
            *last = reading;
        }
    }
    kept
}

/// Up or down by half at least; else zero.
fn swing(from: i64, to: i64) -> i64 {
    if from.min(to).saturating_mul(2) > from.max(to) { 0 } else { (to - from).signum() }
}

/// Do moves that follow each other go to and fro?
fn flips(moves: &[i64]) -> bool {
    moves.windows(2).filter(|pair| pair[0] * pair[1] < 0).count() >= FLIPS - 1
}

/// Do the last values go to and fro, as no grid does?
pub(super) fn ends_in_flips(values: &[i64]) -> bool {
    let last = &values[values.len().saturating_sub(MOVES + 1)..];
    flips(&last.windows(2).map(|pair| swing(pair[0], pair[1])).collect::<Vec<_>>())
}

/// Refuses values among which it goes to and fro.
fn flip_flops(readings: &mut Vec<Reading>, refused: &mut Refused) {
    let moves: Vec<i64> = readings.windows(2).map(|pair| swing(pair[0].value, pair[1].value)).collect();
    let mut bad = vec![false; readings.len()];
    for first in 0..moves.len() {
        let window = &moves[first..moves.len().min(first + MOVES)];
        if flips(window) {
            bad[first..=first + window.len()].iter_mut().for_each(|bad| *bad = true);
        }
    }
    drop_bad(readings, &bad, Reason::FlipFlop, refused, |reading| {
        format!("to and fro by half and more around {}", reading.start)
    });
}

/// Refuses values that have not moved for far longer than they ever did.
fn frozen(readings: &mut Vec<Reading>, steady: Option<Seconds>, refused: &mut Refused) {
    let Some(steady) = steady else { return };
    let most = STEADY.max(Seconds(steady.0.saturating_mul(LONGER)));
    let mut bad = vec![false; readings.len()];
    let mut first = 0;
    for i in 0..readings.len() {
        if readings[i].value != readings[first].value {
            first = i;
        }
        if readings[i].end - readings[first].start > most {
            bad[first..=i].iter_mut().for_each(|bad| *bad = true);
        }
    }
    drop_bad(readings, &bad, Reason::Frozen, refused, |reading| {
        format!("the same from {} on for longer than {most}, where {steady} was the longest", reading.start)
    });
}

fn drop_bad(
    readings: &mut Vec<Reading>,
    bad: &[bool],
    reason: Reason,
    refused: &mut Refused,
    what: impl Fn(&Reading) -> String,
) {
    let mut bad = bad.iter();
    readings.retain(|reading| {
        let is_bad = bad.next().is_some_and(|bad| *bad);
        refused.add(reason, usize::from(is_bad), || what(reading));
        !is_bad
    });
}

/// The longest for which values of hours in order stayed the same; none where there are too few to tell, less than a week.
#[must_use]
pub fn longest_run(hours: impl IntoIterator<Item = i64>) -> Option<Seconds> {
    let (mut count, mut run, mut longest, mut last) = (0_i64, 0_i64, 0_i64, None);
    for value in hours {
        run = if last == Some(value) { run + 1 } else { 1 };
        (last, count, longest) = (Some(value), count + 1, longest.max(run));
    }
    (count >= 168).then(|| Seconds(longest.saturating_mul(3600)))
}

fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}
