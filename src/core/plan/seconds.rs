//! The cheapest seconds of what is free: in one run, or in several of which none is shorter than a person said.
//!
//! Nothing is cut at slots. A run begins where something else ends, and ends where its own work does; only what would be
//! shorter than the shortest run is left away or made longer.

use crate::units::{Moment, Seconds};

/// A span of time in which a workload fits, and what each of its seconds costs there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub start: Moment,
    pub end: Moment,
    /// Cost units of a second.
    pub unit: i128,
}

/// Spans of time, in order, and what they cost together.
pub(super) type Found = (Vec<(Moment, Moment)>, i128);

impl Piece {
    fn length(&self) -> Seconds {
        self.end - self.start
    }

    fn cost(&self) -> i128 {
        self.unit * i128::from(self.length().0)
    }
}

/// The cheapest run of a length; of two that cost the same the earlier. `wait` is what it costs to begin a second later.
///
/// What a run costs over its start is piecewise linear, so the least lies where a piece meets its start or its end.
pub(super) fn one_run(pieces: &[Piece], length: Seconds, wait: i128) -> Option<Found> {
    let first = pieces.first()?.start;
    let mut best: Option<(i128, Moment)> = None;
    for span in spans(pieces) {
        let (from, to) = (span[0].start, span[span.len() - 1].end);
        if to - from < length {
            continue;
        }
        // what lies before each piece, and so the cost of any stretch as a difference
        let mut before = Vec::with_capacity(span.len());
        let mut sum = 0;
        for piece in span {
            before.push(sum);
            sum += piece.cost();
        }
        let until = |at: Moment| {
            let i = span.partition_point(|piece| piece.end < at).min(span.len() - 1);
            before[i] + span[i].unit * i128::from((at - span[i].start).0)
        };
        let starts = span.iter().flat_map(|piece| [piece.start, piece.end - length]);
        for start in starts.filter(|start| from <= *start && *start + length <= to) {
            let cost = until(start + length) - until(start) + wait * i128::from((start - first).0);
            if best.is_none_or(|best| (cost, start) < best) {
                best = Some((cost, start));
            }
        }
    }
    best.map(|(cost, start)| (vec![(start, start + length)], cost))
}

/// Pieces that follow each other without a gap.
fn spans(pieces: &[Piece]) -> impl Iterator<Item = &[Piece]> {
    pieces.chunk_by(|a, b| a.end == b.start)
}

/// What may be done with a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// It is taken where it is cheap.
    Open,
    /// It is taken.
    Held,
    /// It is not taken.
    Left,
}

/// How often a run that is too short is mended. A guess: what more would mend, a coarser search finds.
const MENDS: usize = 64;

/// The cheapest seconds, `length` in all, in runs of which each is as long as `shortest` says of one that starts then.
///
/// The cheapest are taken. While a run is too short, either it is left away or it is made long enough, whichever costs
/// less once the rest is filled up again. None where that comes to no end.
pub(super) fn in_runs(pieces: &[Piece], length: Seconds, shortest: &dyn Fn(Moment) -> Seconds) -> Option<Found> {
    let least = |start: Moment| shortest(start).min(length);
    let mut marked: Vec<(Piece, Mark)> = Vec::with_capacity(pieces.len());
    for span in spans(pieces) {
        let (from, to) = (span[0].start, span[span.len() - 1].end);
        if to - from >= least(from) {
            marked.extend(span.iter().map(|piece| (*piece, Mark::Open)));
        }
    }
    let mut found = fill(&marked, length)?;
    for _ in 0..MENDS {
        let too_short = |(start, end): &&(Moment, Moment)| *end - *start < least(*start);
        let Some(&short) = found.0.iter().filter(too_short).min_by_key(|(start, end)| (*end - *start, *start)) else {
            return Some(found);
        };
        let mended =
            [marking(&marked, short, Mark::Left), marking(&marked, grown(&marked, short, least(short.0))?, Mark::Held)];
        let mended = mended.into_iter().filter_map(|marked| fill(&marked, length).map(|found| (found, marked)));
        (found, marked) = mended.min_by_key(|((_, cost), _)| *cost)?;
    }
    None
}

/// Takes what is held, and then the cheapest of what is open.
fn fill(marked: &[(Piece, Mark)], length: Seconds) -> Option<Found> {
    let mut taken: Vec<Piece> =
        marked.iter().filter(|(_, mark)| *mark == Mark::Held).map(|(piece, _)| *piece).collect();
    let mut left = length - taken.iter().map(Piece::length).sum();
    let mut open: Vec<Piece> = marked.iter().filter(|(_, mark)| *mark == Mark::Open).map(|(piece, _)| *piece).collect();
    open.sort_unstable_by_key(|piece| (piece.unit, piece.start));
    for mut piece in open {
        if left <= Seconds::ZERO {
            break;
        }
        if piece.length() > left {
            // the part of it that lengthens a run, where one does
            let follows = taken.iter().any(|other| other.end == piece.start);
            let leads = taken.iter().any(|other| other.start == piece.end);
            if leads && !follows {
                piece.start = piece.end - left;
            } else {
                piece.end = piece.start + left;
            }
        }
        left -= piece.length();
        taken.push(piece);
    }
    if left != Seconds::ZERO {
        return None;
    }
    taken.sort_unstable_by_key(|piece| piece.start);
    let mut runs: Vec<(Moment, Moment)> = Vec::new();
    for piece in &taken {
        join(&mut runs, (piece.start, piece.end));
    }
    Some((runs, taken.iter().map(Piece::cost).sum()))
}

/// Puts a span behind the others, as one with the last where it begins at its end.
pub(super) fn join(spans: &mut Vec<(Moment, Moment)>, (start, end): (Moment, Moment)) {
    match spans.last_mut() {
        _ if end <= start => {}
        Some(last) if last.1 == start => last.1 = end,
        _ => spans.push((start, end)),
    }
}

/// The cheapest run of a length around a shorter one, within the span that this lies in.
fn grown(marked: &[(Piece, Mark)], short: (Moment, Moment), length: Seconds) -> Option<(Moment, Moment)> {
    let pieces: Vec<Piece> = marked.iter().map(|(piece, _)| *piece).collect();
    let span = spans(&pieces).find(|span| span[0].start <= short.0 && short.1 <= span[span.len() - 1].end)?;
    let (from, to) = (short.1 - length, short.0 + length);
    let cut = span.iter().map(|piece| Piece { start: piece.start.max(from), end: piece.end.min(to), ..*piece });
    let near: Vec<Piece> = cut.filter(|piece| piece.start < piece.end).collect();
    one_run(&near, length, 0).map(|(runs, _)| runs[0])
}

/// The same pieces, cut and marked anew within a span. What is held stays so.
fn marking(marked: &[(Piece, Mark)], (from, to): (Moment, Moment), new: Mark) -> Vec<(Piece, Mark)> {
    let mut cut = Vec::with_capacity(marked.len() + 2);
    for &(piece, mark) in marked {
        let (inner, outer) = (piece.start.max(from), piece.end.min(to));
        if mark == Mark::Held || inner >= outer {
            cut.push((piece, mark));
            continue;
        }
        let parts = [(piece.start, inner, mark), (inner, outer, new), (outer, piece.end, mark)];
        cut.extend(
            parts
                .into_iter()
                .filter(|(start, end, _)| start < end)
                .map(|(start, end, mark)| (Piece { start, end, ..piece }, mark)),
        );
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(each: &[(i64, i64, i128)]) -> Vec<Piece> {
        each.iter().map(|(start, end, unit)| Piece { start: Moment(*start), end: Moment(*end), unit: *unit }).collect()
    }

    fn runs(found: Option<Found>) -> (Vec<(i64, i64)>, i128) {
        let (runs, cost) = found.unwrap();
        (runs.into_iter().map(|(start, end)| (start.0, end.0)).collect(), cost)
    }

    #[test]
    fn one_run_lies_where_it_costs_least_and_crosses_no_gap() {
        let all = pieces(&[(0, 10, 5), (10, 20, 1), (20, 30, 5), (40, 50, 0)]);
        assert_eq!(runs(one_run(&all, Seconds(10), 0)), (vec![(40, 50)], 0));
        assert_eq!(runs(one_run(&all, Seconds(15), 0)), (vec![(5, 20)], 35), "of two that cost the same the earlier");
        assert_eq!(runs(one_run(&all, Seconds(10), 100)), (vec![(0, 10)], 50), "waiting costs more than it saves");
        assert_eq!(one_run(&all, Seconds(31), 0), None);
        assert_eq!(one_run(&[], Seconds(1), 0), None);
    }

    #[test]
    fn the_cheapest_seconds_are_taken_and_short_runs_mended() {
        let all = pieces(&[(0, 10, 5), (10, 12, 1), (12, 30, 5), (40, 50, 2), (60, 61, 0)]);
        let seconds = |length, shortest| runs(in_runs(&all, Seconds(length), &|_| Seconds(shortest)));
        assert_eq!(seconds(13, 1), (vec![(10, 12), (40, 50), (60, 61)], 22));
        // the span of a second can't be used, and the two cheap seconds are made four
        assert_eq!(seconds(14, 4), (vec![(8, 12), (40, 50)], 32));
        // alone they cost more made long than the others do
        assert_eq!(seconds(9, 9), (vec![(40, 49)], 18));
        assert_eq!(in_runs(&all, Seconds(42), &|_| Seconds(1)), None);
    }

    #[test]
    fn what_runs_already_needs_no_full_run_from_now_on() {
        let all = pieces(&[(0, 3, 1), (3, 30, 9), (40, 60, 2)]);
        let shortest = |start: Moment| Seconds(if start.0 == 0 { 2 } else { 10 });
        assert_eq!(runs(in_runs(&all, Seconds(13), &shortest)), (vec![(0, 3), (40, 50)], 23));
    }
}
