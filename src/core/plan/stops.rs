//! The cheapest seconds where each start after a stop costs.
//!
//! Work is paid so much (Lagrange): under that a dynamic programme over the pieces says where it runs, and the pay is halved between
//! too little and enough (Everett 1963). What is too much is cut off the ends of runs, the dearest first, since a cut within
//! one would be another stop.

use super::points::Pace;
use super::seconds::{Found, Further, Piece, Stretch, follow};
use crate::units::{Moment, Seconds};

/// How often the pay is halved. A guess: beyond that it is the same seconds.
const HALVINGS: usize = 20;

/// What a workload asks of its runs.
pub(super) struct Asked<'a> {
    /// Work, in seconds at full.
    pub length: Seconds,
    /// How long a run is at least that starts then.
    pub shortest: &'a dyn Fn(Moment) -> Seconds,
    /// What a start then after a stop costs, at a pace.
    pub restart: &'a dyn Fn(Moment, Pace) -> i128,
    /// From when on it runs already; none where it does not.
    pub runs_at: Option<Moment>,
}

/// The stage a workload is in behind a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Fresh,
    Rests,
    Runs,
}

/// A piece that is taken, at one of its points.
#[derive(Debug, Clone, Copy)]
struct Taken {
    stretch: Stretch,
    /// What a second costs.
    unit: i128,
}

impl Taken {
    fn seconds(&self) -> i128 {
        i128::from((self.stretch.end - self.stretch.start).0)
    }

    fn pace(&self) -> i128 {
        i128::from(self.stretch.pace.per_million())
    }

    /// What a unit of its work costs.
    fn rate(&self) -> f64 {
        self.unit as f64 / self.pace() as f64
    }
}

/// Seconds that hold the work, and what they cost with all restarts; none where there are none, or where cutting leaves runs that are
/// too short. Near the cheapest, and not always the cheapest: between two pays that are as good as the same lies what no pay finds.
pub(super) fn with_stops(pieces: &[Piece], further: &Further, asked: &Asked<'_>) -> Option<Found> {
    let wanted = Pace::FULL.work(asked.length);
    let all = |pay: f64| under_pay(pieces, further, asked, pay);
    let work = |taken: &[Taken]| taken.iter().map(|taken| taken.pace() * taken.seconds()).sum::<i128>();
    let rate = |piece: &Piece| {
        let rises = std::iter::once(&piece.first).chain(&further[piece.more]);
        let most = rises.map(|rise| rise.unit as f64 / rise.gains as f64).fold(f64::NEG_INFINITY, f64::max);
        let work = piece.first.gains as f64 * (piece.end - piece.start).0 as f64;
        (most.abs(), (asked.restart)(piece.start, piece.first.to) as f64 / work)
    };
    let highest = pieces.iter().map(rate).fold(1.0, |most: f64, (rate, start)| most.max(rate + start));
    let (mut low, mut high) = (-highest, highest * 1.01 + 1.0);
    let mut enough = all(high);
    if work(&enough) < wanted {
        return None;
    }
    for _ in 0..HALVINGS {
        let pay = f64::midpoint(low, high);
        let taken = all(pay);
        if work(&taken) < wanted {
            low = pay;
        } else {
            (high, enough) = (pay, taken);
        }
    }
    let surplus = work(&enough) - wanted;
    cut(runs(&enough), surplus, asked)
}

/// What is taken if work is paid so much, in order of time.
fn under_pay(pieces: &[Piece], further: &Further, asked: &Asked<'_>, pay: f64) -> Vec<Taken> {
    // of each piece: how it is run, and how each stage behind it was reached
    let mut ways: Vec<Taken> = Vec::with_capacity(pieces.len());
    let mut back: Vec<(Stage, bool)> = Vec::with_capacity(pieces.len());
    let (mut fresh, mut rests, mut runs) = (0.0, f64::INFINITY, f64::INFINITY);
    let mut at = asked.runs_at;
    if at.is_some() {
        (fresh, runs) = (f64::INFINITY, 0.0);
    }
    for piece in pieces {
        if at != Some(piece.start) {
            // behind a gap nothing runs; what ran before it is remembered as such
            back.push((Stage::Fresh, runs < rests));
            (rests, runs) = (rests.min(runs), f64::INFINITY);
        } else {
            back.push((Stage::Fresh, false));
        }
        let way = best_way(piece, further, pay);
        let go = (way.unit as f64 - pay * way.pace() as f64) * way.seconds() as f64;
        let start = (asked.restart)(piece.start, way.stretch.pace) as f64;
        let each = [(runs + go, Stage::Runs), (fresh + go, Stage::Fresh), (rests + go + start, Stage::Rests)];
        let best = each.into_iter().fold(each[0], |best, next| if next.0 < best.0 { next } else { best });
        back.push((best.1, runs < rests));
        ways.push(way);
        (rests, runs) = (rests.min(runs), best.0);
        at = Some(piece.end);
    }
    let mut stage = match fresh.min(rests).min(runs) {
        least if runs <= least => Stage::Runs,
        least if rests <= least => Stage::Rests,
        _ => Stage::Fresh,
    };
    let mut taken = Vec::new();
    for (way, back) in ways.iter().zip(back.chunks(2)).rev() {
        let ((_, ran_before_the_gap), (before, ran)) = (back[0], back[1]);
        stage = match stage {
            Stage::Runs => {
                taken.push(*way);
                before
            }
            Stage::Rests if ran => Stage::Runs,
            other => other,
        };
        if stage == Stage::Rests && ran_before_the_gap {
            stage = Stage::Runs;
        }
    }
    taken.reverse();
    taken
}

/// How a piece is run if work is paid so much: at its first point, and as far up from there as rises pay.
fn best_way(piece: &Piece, further: &Further, pay: f64) -> Taken {
    let (mut unit, mut pace) = (piece.first.unit, piece.first.to);
    for rise in &further[piece.more] {
        if rise.unit as f64 > pay * rise.gains as f64 {
            break;
        }
        (unit, pace) = (unit + rise.unit, rise.to);
    }
    Taken { stretch: Stretch { start: piece.start, end: piece.end, pace }, unit }
}

/// What follows without a gap is a run.
fn runs(taken: &[Taken]) -> Vec<Vec<Taken>> {
    taken.chunk_by(|a, b| a.stretch.end == b.stretch.start).map(<[Taken]>::to_vec).collect()
}

/// What may be cut off: the first or the last of a run's stretches, or all of it.
#[derive(Debug, Clone, Copy)]
enum Cut {
    Front(i128),
    Back(i128),
    All,
}

/// The runs without what is too much of their work, and what they cost.
fn cut(mut runs: Vec<Vec<Taken>>, mut surplus: i128, asked: &Asked<'_>) -> Option<Found> {
    let full = i128::from(Pace::FULL.per_million());
    while surplus >= full {
        let each = runs
            .iter()
            .enumerate()
            .flat_map(|(i, run)| cuts(run, surplus, asked).map(move |(cut, saves)| (i, cut, saves)));
        // the most that is saved for a unit of work
        let (i, cut, _) = each.max_by(|a, b| a.2.total_cmp(&b.2))?;
        let run = &mut runs[i];
        surplus -= match cut {
            Cut::All => runs.remove(i).iter().map(|taken| taken.pace() * taken.seconds()).sum(),
            Cut::Front(seconds) => {
                let taken = &mut run[0];
                taken.stretch.start = taken.stretch.start + Seconds(i64::try_from(seconds).ok()?);
                taken.pace() * seconds
            }
            Cut::Back(seconds) => {
                let taken = run.last_mut()?;
                taken.stretch.end = taken.stretch.end - Seconds(i64::try_from(seconds).ok()?);
                taken.pace() * seconds
            }
        };
        if let Some(run) = runs.get_mut(i) {
            run.retain(|taken| taken.seconds() > 0);
        }
        runs.retain(|run| !run.is_empty());
    }
    let is_short = |run: &Vec<Taken>| length(run) < (asked.shortest)(run[0].stretch.start).min(asked.length);
    if runs.iter().any(is_short) {
        return None;
    }
    let seconds: i128 = runs.iter().flatten().map(|taken| taken.unit * taken.seconds()).sum();
    let mut found: Vec<Stretch> = Vec::new();
    runs.iter().flatten().for_each(|taken| follow(&mut found, taken.stretch));
    let restarts = restarts(&found, asked);
    Some((found, seconds + restarts))
}

/// What the starts of stretches cost that follow a stop.
pub(super) fn restarts(stretches: &[Stretch], asked: &Asked<'_>) -> i128 {
    let ends = std::iter::once(asked.runs_at).chain(stretches.iter().map(|stretch| Some(stretch.end)));
    let each = stretches.iter().zip(ends).filter(|(stretch, end)| end.is_some_and(|end| end < stretch.start));
    each.map(|(stretch, _)| (asked.restart)(stretch.start, stretch.pace)).sum()
}

fn length(run: &[Taken]) -> Seconds {
    match run {
        [] => Seconds::ZERO,
        [first, ..] => run[run.len() - 1].stretch.end - first.stretch.start,
    }
}

/// What may be cut off a run, and what each saves for a unit of work.
fn cuts<'a>(run: &'a [Taken], surplus: i128, asked: &'a Asked<'_>) -> impl Iterator<Item = (Cut, f64)> + use<'a> {
    let work: i128 = run.iter().map(|taken| taken.pace() * taken.seconds()).sum();
    let cost: i128 = run.iter().map(|taken| taken.unit * taken.seconds()).sum();
    let start = run[0].stretch;
    let goes_on = asked.runs_at == Some(start.start);
    let restart = if goes_on { 0 } else { (asked.restart)(start.start, start.pace) };
    let whole = (work <= surplus).then(|| (Cut::All, (cost + restart) as f64 / work as f64));
    let spare = i128::from((length(run) - (asked.shortest)(start.start).min(asked.length)).0);
    let seconds = move |taken: &Taken| taken.seconds().min(surplus / taken.pace()).min(spare);
    let front =
        Some(&run[0]).filter(|_| !goes_on).map(|taken| (Cut::Front(seconds(taken)), seconds(taken), taken.rate()));
    let back = run.last().map(|taken| (Cut::Back(seconds(taken)), seconds(taken), taken.rate()));
    let ends = [front, back].into_iter().flatten().filter(|(_, seconds, _)| *seconds > 0);
    ends.map(|(cut, _, rate)| (cut, rate)).chain(whole)
}

#[cfg(test)]
mod tests {
    use super::super::seconds::tests::pieces;
    use super::*;
    use proptest::prelude::*;

    fn found(
        each: &[(i64, i64, i128)],
        length: i64,
        restart: i128,
        runs_at: Option<i64>,
    ) -> Option<(Vec<(i64, i64)>, i128)> {
        let asked = Asked {
            length: Seconds(length),
            shortest: &|_| Seconds(1),
            restart: &|_, _| restart,
            runs_at: runs_at.map(Moment),
        };
        let (stretches, cost) = with_stops(&pieces(each), &[vec![]], &asked)?;
        Some((stretches.iter().map(|stretch| (stretch.start.0, stretch.end.0)).collect(), cost))
    }

    #[test]
    fn a_stop_is_made_where_it_saves_more_than_the_start_after_it_costs() {
        let all = [(0, 10, 2), (10, 20, 5), (20, 30, 2), (40, 50, 1)];
        assert_eq!(found(&all, 30, 0, None), Some((vec![(0, 10), (20, 30), (40, 50)], 50)));
        // through the dear seconds instead of stopping for them
        assert_eq!(found(&all, 30, 31, None), Some((vec![(0, 30)], 90)));
        // what runs pays for each start, also the first from now on
        assert_eq!(found(&all, 10, 5, None), Some((vec![(40, 50)], 10)));
        assert_eq!(found(&all, 10, 5, Some(0)), Some((vec![(40, 50)], 15)));
        assert_eq!(found(&all, 10, 11, Some(0)), Some((vec![(0, 10)], 20)));
        assert_eq!(found(&all, 41, 5, None), None);
    }

    proptest! {
        /// Against all choices of seconds: it is the work, it costs what it says, and no choice costs less than the least there is.
        #[test]
        fn it_is_the_work_at_what_it_says_and_near_the_least(
            each in proptest::collection::vec((1..4_i64, 0..9_i128, any::<bool>()), 1..6),
            part in 0.01..1.0_f64,
            restart in 0..12_i128,
            runs: bool,
        ) {
            let (mut at, mut all, mut seconds) = (0, Vec::new(), Vec::new());
            for (length, unit, gap) in &each {
                at += i64::from(*gap);
                all.push((at, at + length, *unit));
                seconds.extend((at..at + length).map(|second| (second, *unit)));
                at += length;
            }
            let length = ((seconds.len() as f64 * part).floor() as i64).max(1);
            let runs_at = runs.then_some(0);
            let cost = |set: u32| {
                let (mut cost, mut last) = (0, runs_at);
                for (_, (second, unit)) in seconds.iter().enumerate().filter(|(i, _)| set >> i & 1 == 1) {
                    cost += unit + if last.is_some_and(|last| last != *second) { restart } else { 0 };
                    last = Some(second + 1);
                }
                cost
            };
            let sets = 0..1_u32 << seconds.len();
            let least = sets.filter(|set| i64::from(set.count_ones()) == length).map(cost).min().unwrap();
            if let Some((runs, said)) = found(&all, length, restart, runs_at) {
                let inside = |second: i64| runs.iter().any(|(start, end)| (*start..*end).contains(&second));
                let set = seconds.iter().enumerate().filter(|(_, (second, _))| inside(*second)).fold(0, |set, (i, _)| set | 1 << i);
                prop_assert_eq!(i64::from(u32::count_ones(set)), length);
                prop_assert_eq!(cost(set), said);
                prop_assert!(least <= said && said <= 3 * least + 2 * restart, "{} and {}", said, least);
            } else {
                prop_assert!(length < seconds.len() as i64, "all there is was not found");
            }
        }
    }
}
