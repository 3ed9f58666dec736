//! The cheapest seconds of what is free: in one run, or in several of which none is shorter than a person said.
//!
//! Nothing is cut at slots. A run begins where something else ends, and ends where its own work does; only what would be
//! shorter than the shortest run is left away or made longer.

//!
//! Where a workload has several operating points a second is bought in rises: first to run at all, then to run faster. The rise that
//! costs least for the work that it adds is taken first, of whichever second it is.

use super::points::{Pace, Rise, seconds_for};
use crate::units::{Moment, Seconds};

/// A span of time in which a workload fits, and what each of its seconds costs there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub start: Moment,
    pub end: Moment,
    /// What it takes to run there.
    pub first: Rise,
    /// Which of the lists of further rises is its own.
    pub more: usize,
}

/// Lists of further rises, each by rising rate. The first is that of workloads with one point: empty.
pub(super) type Further = [Vec<Rise>];

/// A span of time at one point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    pub start: Moment,
    pub end: Moment,
    pub pace: Pace,
}

/// Stretches, in order of time, and what they cost together.
pub(super) type Found = (Vec<Stretch>, i128);

impl Piece {
    fn length(&self) -> Seconds {
        self.end - self.start
    }

    fn cost(&self) -> i128 {
        self.first.unit * i128::from(self.length().0)
    }
}

/// The cheapest run of a length; of two that cost the same the earlier. `wait` is what it costs to begin a second later.
///
/// What a run costs over its start is piecewise linear, so the least lies where a piece meets its start or its end.
/// All pieces are of one point.
pub(super) fn one_run(pieces: &[Piece], length: Seconds, wait: i128) -> Option<Found> {
    let first = pieces.first()?.start;
    let mut best: Option<(i128, Moment)> = None;
    let mut consider = |start: Moment, from: i128, to: i128| {
        let cost = to - from + wait * i128::from((start - first).0);
        if best.is_none_or(|best| (cost, start) < best) {
            best = Some((cost, start));
        }
    };
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
        // the pieces in which the ends lie only move forward
        let until = |place: &mut usize, at: Moment| {
            while span[*place].end < at {
                *place += 1;
            }
            before[*place] + span[*place].first.unit * i128::from((at - span[*place].start).0)
        };
        let mut place = 0;
        for (piece, before) in span.iter().zip(&before).take_while(|(piece, _)| piece.start + length <= to) {
            consider(piece.start, *before, until(&mut place, piece.start + length));
        }
        place = 0;
        for (piece, before) in span.iter().zip(&before).filter(|(piece, _)| piece.end - length >= from) {
            let start = piece.end - length;
            consider(start, until(&mut place, start), before + piece.cost());
        }
    }
    let pace = pieces.first()?.first.to;
    best.map(|(cost, start)| (vec![Stretch { start, end: start + length, pace }], cost))
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

/// The cheapest seconds that hold the work of `length` at full, in runs of which each is as long as `shortest` says of one that
/// starts then.
///
/// The cheapest are taken. While a run is too short, either it is left away or it is made long enough, whichever costs
/// less once the rest is filled up again. None where that comes to no end.
pub(super) fn in_runs(
    pieces: &[Piece],
    further: &Further,
    length: Seconds,
    shortest: &dyn Fn(Moment) -> Seconds,
) -> Option<Found> {
    let least = |start: Moment| shortest(start).min(length);
    let mut marked: Vec<(Piece, Mark)> = Vec::with_capacity(pieces.len());
    for span in spans(pieces) {
        let (from, to) = (span[0].start, span[span.len() - 1].end);
        if to - from >= least(from) {
            marked.extend(span.iter().map(|piece| (*piece, Mark::Open)));
        }
    }
    let mut found = fill(&marked, further, length)?;
    for _ in 0..MENDS {
        let mut runs = Vec::new();
        found.0.iter().for_each(|stretch| join(&mut runs, (stretch.start, stretch.end)));
        let too_short = |(start, end): &&(Moment, Moment)| *end - *start < least(*start);
        let Some(&short) = runs.iter().filter(too_short).min_by_key(|(start, end)| (*end - *start, *start)) else {
            return Some(found);
        };
        let mended =
            [marking(&marked, short, Mark::Left), marking(&marked, grown(&marked, short, least(short.0))?, Mark::Held)];
        let mended =
            mended.into_iter().filter_map(|marked| fill(&marked, further, length).map(|found| (found, marked)));
        (found, marked) = mended.min_by_key(|((_, cost), _)| *cost)?;
    }
    None
}

/// Takes what is held, and then the cheapest rises of what is open.
fn fill(marked: &[(Piece, Mark)], further: &Further, length: Seconds) -> Option<Found> {
    let mut left = Pace::FULL.work(length);
    let mut cost = 0;
    // of each piece: at which point it is taken
    let mut taken: Vec<Option<Pace>> = vec![None; marked.len()];
    // what there is to buy: its rate, when it is, how far up, and of which piece
    let mut open: Vec<(i128, Moment, usize, usize)> = Vec::with_capacity(marked.len());
    for (i, (piece, mark)) in marked.iter().enumerate() {
        match mark {
            Mark::Left => continue,
            Mark::Open => open.push((piece.first.rate(), piece.start, 0, i)),
            Mark::Held => {
                taken[i] = Some(piece.first.to);
                left -= piece.first.gains * i128::from(piece.length().0);
                cost += piece.cost();
            }
        }
        open.extend(further[piece.more].iter().zip(1..).map(|(rise, up)| (rise.rate(), piece.start, up, i)));
    }
    if left < 0 {
        return None;
    }
    open.sort_unstable();
    // the last rise may be bought for a part of its piece: there begins or ends what it leads to
    let mut part: Option<(usize, Stretch)> = None;
    for (_, _, up, i) in open {
        if left <= 0 {
            break;
        }
        let piece = &marked[i].0;
        let rise = if up == 0 { &piece.first } else { &further[piece.more][up - 1] };
        let mut seconds = piece.length();
        // one second less would do
        if left <= rise.gains * i128::from(seconds.0 - 1) {
            let needs = seconds_for(left, rise.gains);
            seconds = needs;
            // the part of it that lengthens a run, where one does
            let meets = |i: usize, at: Moment, end: fn(&Piece) -> Moment| {
                marked.get(i).is_some_and(|(other, _)| end(other) == at && taken[i].is_some())
            };
            let follows = i > 0 && meets(i - 1, piece.start, |other| other.end);
            let leads = meets(i + 1, piece.end, |other| other.start);
            let (start, end) = if up == 0 && leads && !follows {
                (piece.end - needs, piece.end)
            } else {
                (piece.start, piece.start + needs)
            };
            part = Some((i, Stretch { start, end, pace: rise.to }));
        } else {
            taken[i] = Some(rise.to);
        }
        left -= rise.gains * i128::from(seconds.0);
        cost += rise.unit * i128::from(seconds.0);
    }
    if left > 0 {
        return None;
    }
    let mut stretches: Vec<Stretch> = Vec::new();
    let mut push = |start: Moment, end: Moment, pace: Pace| follow(&mut stretches, Stretch { start, end, pace });
    for (i, ((piece, _), pace)) in marked.iter().zip(&taken).enumerate() {
        match part {
            Some((of, part)) if of == i => {
                if let Some(pace) = pace {
                    push(piece.start, part.start, *pace);
                }
                push(part.start, part.end, part.pace);
                if let Some(pace) = pace {
                    push(part.end, piece.end, *pace);
                }
            }
            _ => {
                if let Some(pace) = pace {
                    push(piece.start, piece.end, *pace);
                }
            }
        }
    }
    Some((stretches, cost))
}

/// Puts a stretch behind the others, as one with the last where it goes on with that at its pace.
pub(super) fn follow(stretches: &mut Vec<Stretch>, next: Stretch) {
    match stretches.last_mut() {
        _ if next.end <= next.start => {}
        Some(last) if last.end == next.start && last.pace == next.pace => last.end = next.end,
        _ => stretches.push(next),
    }
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
    one_run(&near, length, 0).map(|(runs, _)| (runs[0].start, runs[0].end))
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
pub(super) mod tests {
    use super::super::points::rises;
    use super::*;

    /// Pieces of one point, each with what a second costs.
    pub(in super::super) fn pieces(each: &[(i64, i64, i128)]) -> Vec<Piece> {
        let piece = |(start, end, unit): &(i64, i64, i128)| Piece {
            start: Moment(*start),
            end: Moment(*end),
            first: Rise::to(Pace::FULL, *unit),
            more: 0,
        };
        each.iter().map(piece).collect()
    }

    fn runs(found: Option<Found>) -> (Vec<(i64, i64)>, i128) {
        let (runs, cost) = found.unwrap();
        (runs.into_iter().map(|run| (run.start.0, run.end.0)).collect(), cost)
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
        let seconds = |length, shortest| runs(in_runs(&all, &[vec![]], Seconds(length), &|_| Seconds(shortest)));
        assert_eq!(seconds(13, 1), (vec![(10, 12), (40, 50), (60, 61)], 22));
        // the span of a second can't be used, and the two cheap seconds are made four
        assert_eq!(seconds(14, 4), (vec![(8, 12), (40, 50)], 32));
        // alone they cost more made long than the others do
        assert_eq!(seconds(9, 9), (vec![(40, 49)], 18));
        assert_eq!(in_runs(&all, &[vec![]], Seconds(42), &|_| Seconds(1)), None);
    }

    #[test]
    fn what_runs_already_needs_no_full_run_from_now_on() {
        let all = pieces(&[(0, 3, 1), (3, 30, 9), (40, 60, 2)]);
        let shortest = |start: Moment| Seconds(if start.0 == 0 { 2 } else { 10 });
        assert_eq!(runs(in_runs(&all, &[vec![]], Seconds(13), &shortest)), (vec![(0, 3), (40, 50)], 23));
    }

    /// Points of a device that draws 100, 200 and 400 for a quarter, seven tenths and all of its speed.
    fn with_points(prices: &[i128]) -> (Vec<Piece>, Vec<Vec<Rise>>) {
        let pace = |millionths| Pace::millionths(millionths).unwrap();
        let points = [(pace(250_000), 100), (pace(700_000), 200), (Pace::FULL, 400)];
        let mut further = vec![vec![]];
        let pieces = prices.iter().zip(0..).map(|(price, hour)| {
            let mut rises = rises(&mut points.iter().map(|(pace, watts)| (*pace, watts * price)).collect());
            let first = rises.remove(0);
            further.push(rises);
            Piece { start: Moment(hour * 10), end: Moment(hour * 10 + 10), first, more: further.len() - 1 }
        });
        (pieces.collect(), further)
    }

    #[test]
    fn it_runs_slowly_where_it_is_dear_and_at_full_where_it_is_cheap() {
        let (all, further) = with_points(&[3, 1, 4]);
        let taken = |length| {
            let (found, cost) = in_runs(&all, &further, Seconds(length), &|_| Seconds(1)).unwrap();
            let each = found.into_iter().map(|stretch| (stretch.start.0, stretch.end.0, stretch.pace));
            (each.collect::<Vec<_>>(), cost)
        };
        let slow = Pace::millionths(700_000).unwrap();
        assert_eq!(taken(7), (vec![(10, 20, slow)], 2000));
        // faster in the cheap hour before any second of the others
        assert_eq!(taken(10), (vec![(10, 20, Pace::FULL)], 4000));
        // slowly in the others before fast in one of them; 4 seconds of .7 hold what is missing
        assert_eq!(taken(19), (vec![(0, 10, slow), (10, 20, Pace::FULL), (20, 23, slow)], 4000 + 6000 + 2400));
        assert_eq!(taken(30), (vec![(0, 30, Pace::FULL)], 4000 * 8));
        assert_eq!(in_runs(&all, &further, Seconds(31), &|_| Seconds(1)), None);
    }

    #[test]
    fn a_change_of_pace_is_no_stop() {
        let (all, further) = with_points(&[3, 1]);
        let (found, _) = in_runs(&all, &further, Seconds(14), &|_| Seconds(14)).unwrap();
        assert_eq!((found[0].start, found[1].end, found.len()), (Moment(4), Moment(20), 2));
        assert!(found[0].pace < found[1].pace);
    }
}
