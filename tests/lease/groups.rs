//! One small site for each group of rules.

use super::site::{Site, flat, rows};
use heliotrope::core::lease::{Rule, Rules, Step};
use heliotrope::units::{Millis, Watts};
use stateright::{Checker, HasDiscoveries, Model, Path};

/// Two; one where the counts of a search that ends early are to repeat.
fn threads() -> usize {
    std::env::var("MODEL_THREADS").ok().and_then(|threads| threads.parse().ok()).unwrap_or(2)
}

/// Searches all of it: nothing may be above the cap, and watts must be able to move.
pub fn holds(name: &str, site: Site) {
    stays(name, site).assert_any_discovery("a node draws more than at first");
}

/// Searches all of it: nothing may be above the cap. Depth first, since that keeps few states in memory.
pub fn stays<M>(name: &str, site: M) -> impl Checker<M>
where
    M: Model + Clone + Send + Sync + 'static,
    M::State: std::fmt::Debug + std::hash::Hash + Clone + Send + Sync + PartialEq,
    M::Action: std::fmt::Debug + Clone + PartialEq + Send + Sync,
{
    let search = site.clone().checker().threads(threads()).finish_when(HasDiscoveries::AnyFailures);
    let checker = search.spawn_dfs().join();
    if above(&checker).is_some() {
        let path = shortest(site).1.unwrap();
        let end = path.last_state().clone();
        panic!("{name}: above the cap by {:?}\n{end:?}", path.into_actions());
    }
    println!("{name}: {} states, longest path {}, safe", checker.unique_state_count(), checker.max_depth());
    checker
}

/// Searches until it finds a path above the cap; there must be one.
pub fn breaks<M>(name: &str, site: M)
where
    M: Model + Clone + Send + Sync + 'static,
    M::State: std::fmt::Debug + std::hash::Hash + Clone + Send + Sync + PartialEq,
    M::Action: std::fmt::Debug + Clone + PartialEq + Send + Sync,
{
    let (states, path) = shortest(site);
    let events = path.unwrap_or_else(|| panic!("{name}: {states} states, and no path")).into_actions();
    println!("{name}: {states} states, {} steps: {events:?}", events.len());
}

type FoundPath<M> = Option<Path<<M as Model>::State, <M as Model>::Action>>;

/// The shortest path to too many watts, and how many states were searched for it.
fn shortest<M>(site: M) -> (usize, FoundPath<M>)
where
    M: Model + Send + Sync + 'static,
    M::State: std::fmt::Debug + std::hash::Hash + Clone + Send + Sync + PartialEq,
    M::Action: std::fmt::Debug + Clone + PartialEq + Send + Sync,
{
    let checker = site.checker().threads(threads()).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    (checker.unique_state_count(), above(&checker))
}

/// A path to too many watts, now or if the cap fell.
fn above<M>(checker: &impl Checker<M>) -> FoundPath<M>
where
    M: Model,
    M::State: std::fmt::Debug + std::hash::Hash + Clone + PartialEq,
    M::Action: std::fmt::Debug + Clone + PartialEq,
{
    checker.discovery("under the cap").or_else(|| checker.discovery("under a cap that falls"))
}

fn without(rule: Rule, site: &Site) -> (String, Site) {
    (format!("without {rule:?}"), Site { rules: Rules::ALL.without(rule), ..site.clone() })
}

/// Two nodes under a cap of 4: who has 3 leaves 1 to the other.
pub fn grants() -> Site {
    let (high, low) = (flat(3, 1), flat(1, 1));
    let wishes = vec![vec![high.clone(), low.clone()], vec![low.clone(), high.clone()]];
    Site { wishes, replays: true, crashes: 1, ..Site::calm(vec![(4, 2), (4, 2)], 4, vec![high, low]) }
}

#[test]
fn grants_hold_over_crashes_and_replays() {
    holds("grants", grants());
}

#[test]
fn grants_need_their_rules() {
    for rule in [Rule::ReserveAllPublished, Rule::RefuseOlderLease] {
        let (name, site) = without(rule, &grants());
        breaks(&name, site);
    }
    let site = Site { lost_disks: 1, ..grants() };
    holds("grants with a lost disk", site.clone());
    let (name, site) = without(Rule::AnswersOwnHeartbeat, &site);
    breaks(&name, site);
}

#[test]
fn two_controllers_hold_by_the_swap() {
    let site = Site { controllers: 2, crashes: 0, replays: false, ..grants() };
    holds("two controllers", site.clone());
    breaks("without the swap", Site { compares: false, ..site });
}

/// What was given away while a node was at its safe limit is not there when its lease is renewed. The third wish is for more
/// than there is: it must not be granted.
#[test]
fn what_a_node_may_go_back_to_is_not_given_away() {
    let wishes = vec![vec![flat(3, 1), flat(1, 1)], vec![flat(3, 1), flat(3, 1)], vec![flat(1, 1), flat(3, 1)]];
    let first = wishes[0].clone();
    let nodes = vec![(4, 2), (4, 2)];
    let site = Site { wishes, ticks: 1, life: 2, crashes: 1, writes: 3, beats: 2, ..Site::calm(nodes, 4, first) };
    holds("leases that end", site.clone());
    // a renewal that waits for the sums can't lift it either: so two rules close this path, and it opens without both
    let free = Rules::ALL.without(Rule::RenewalIsNoRaise);
    holds("leases that end, and free renewals", Site { rules: free, ..site.clone() });
    let rules = free.without(Rule::AcknowledgedCountsItsOwn);
    breaks("without AcknowledgedCountsItsOwn", Site { rules, ..site });
}

/// Two nodes under a cap of 8 that may fall to 4, and rows that say who keeps what then.
pub fn falls() -> Site {
    let figures = |watts, row| rows(watts, (8, 4), row, 1);
    let wishes = vec![
        vec![figures(5, 3), figures(3, 1)],
        vec![figures(3, 1), figures(5, 3)],
        vec![figures(3, 3), figures(5, 1)],
    ];
    let first = wishes[0].clone();
    Site {
        wishes,
        caps: vec![8, 4],
        cap_changes: 1,
        deaf: 1,
        // contact: what nodes do of themselves, they do at the tick
        correction: 1,
        contact: 2,
        ticks: 2,
        writes: 2,
        beats: 2,
        ..Site::calm(vec![(8, 2), (8, 2)], 8, first)
    }
}

/// One of the nodes keeps 2 where it is deaf, and its row is 1.
fn falls_to_a_safe_limit() -> Site {
    let figures = |watts, row, safe| rows(watts, (8, 4), row, safe);
    let wishes = vec![vec![figures(5, 3, 2), figures(3, 1, 1)], vec![figures(3, 1, 2), figures(5, 3, 1)]];
    Site { first: wishes[0].clone(), wishes, ..falls() }
}

#[test]
fn falls_are_met_by_rows() {
    holds("falls", falls());
    holds("falls with replays", Site { replays: true, deaf: 0, ..falls() });
}

#[test]
fn falls_are_met_by_agents_that_crash_and_controllers_that_read_old_caps() {
    holds("falls with crashes", Site { crashes: 1, deaf: 0, stale_caps: true, ticks: 1, beats: 1, ..falls() });
}

#[test]
fn falls_need_their_rules() {
    let replayed = Site { replays: true, ..falls() };
    let crashing = Site { crashes: 1, stale_caps: true, ..falls() };
    for (rule, site) in [
        (Rule::RowsAreRaisesToo, &replayed),
        (Rule::RowsOfAllPublished, &replayed),
        (Rule::DeafNodesFall, &falls()),
        (Rule::SafeCountsInRows, &falls_to_a_safe_limit()),
        (Rule::FallIsNeverARaise, &falls_to_a_safe_limit()),
    ] {
        let (name, site) = without(rule, site);
        breaks(&name, site);
    }
    breaks("without keeping before acknowledging", Site { keeps: false, ..crashing });
}

#[test]
fn the_correction_time_covers_the_slowest_clock() {
    let slow = Site { nodes: vec![(8, 1), (8, 2)], correction: 2, ticks: 3, writes: 1, ..falls() };
    drop(stays("a slow clock", slow.clone()));
    breaks("a slow clock and a correction time for a true one", Site { correction: 1, ..slow });
}

/// A node that hears of no cap falls when its lease is over, if contact does not have it fall before.
#[test]
fn a_life_counts_from_the_heartbeat() {
    let rules = Rules::ALL.without(Rule::DeafNodesFall);
    let site = Site { rules, life: 2, replays: true, writes: 1, beats: 1, ticks: 3, renews: 1, ..falls() };
    drop(stays("life alone", site.clone()));
    breaks("without LifeFromHeartbeat", Site { rules: rules.without(Rule::LifeFromHeartbeat), ..site });
}

/// Who has 3 is to have 1 a tick later. The second wish is what follows then, the third is for more than there is, the fourth
/// forgets the reduction.
pub fn reductions() -> Site {
    let wishes = vec![
        vec![flat(3, 1), flat(1, 1)],
        vec![flat(1, 1), flat(3, 1)],
        vec![flat(3, 1), flat(3, 1)],
        vec![flat(3, 1), flat(1, 1)],
    ];
    let first = wishes[0].clone();
    let step = vec![Step { after: Millis(2), watts: Watts(1) }];
    let steps = vec![step.clone(), step.clone(), step.clone(), Vec::new()];
    Site {
        wishes,
        first_steps: step,
        steps,
        ticks: 2,
        writes: 3,
        beats: 2,
        ..Site::calm(vec![(4, 2), (4, 2)], 4, first)
    }
}

#[test]
fn a_known_reduction_counts_when_it_is_read_back() {
    let site = reductions();
    holds("steps", site.clone());
    let (name, site) = without(Rule::ReadBackCounts, &site);
    breaks(&name, site);
}

#[test]
fn a_reduction_that_has_come_is_not_undone_by_a_renewal() {
    let site = Site { renews: 3, steps: vec![reductions().steps[0].clone(); 4], ..reductions() };
    holds("steps with renewals", site.clone());
    let (name, site) = without(Rule::RenewalIsNoRaise, &site);
    breaks(&name, site);
}

#[test]
fn a_reduction_is_not_forgotten() {
    let (name, site) = without(Rule::RenewalIsNoRaise, &reductions());
    breaks(&name, site);
}

#[test]
fn a_reduction_that_has_come_is_known_to_a_restored_ledger() {
    let wishes = reductions().wishes[..2].to_vec();
    let site = Site { wishes, first_steps: Vec::new(), restores: 1, ticks: 1, beats: 2, ..reductions() };
    holds("a restored ledger with steps", site.clone());
    let (name, site) = without(Rule::RenewalIsNoRaise, &site);
    breaks(&name, site);
}

#[test]
fn reports_that_are_behind_give_nothing_away() {
    let site = Site { stale_reports: true, ticks: 1, writes: 2, ..reductions() };
    holds("steps with old reports", site.clone());
    // the watts of a step that has come are given away by a write that leaves its node alone, since that knows of a newer cap
    let caps = vec![4, 5];
    let site = Site { caps, cap_changes: 1, stale_caps: true, ..site };
    holds("steps with old reports and old caps", site);
    let site = Site { stale_reports: true, crashes: 1, ..grants() };
    holds("grants with old reports", site.clone());
}

#[test]
fn a_ledger_that_went_back_gives_nothing_away() {
    let site = Site { restores: 1, crashes: 0, writes: 4, beats: 3, ..grants() };
    holds("a restored ledger", site.clone());
    for rule in [Rule::UnheardAtCeiling, Rule::ReadAfterHeartbeat] {
        let (name, site) = without(rule, &site);
        breaks(&name, site);
    }
}

/// A row that was raised by a write that is lost, and a renewal that would have its number again.
#[test]
fn a_number_that_was_lost_is_not_used_again() {
    let figures = |watts, row| rows(watts, (8, 4), row, 1);
    let wishes = vec![
        vec![figures(5, 1), figures(3, 1)],
        vec![figures(5, 3), figures(3, 1)],
        vec![figures(5, 1), figures(3, 3)],
    ];
    let first = wishes[0].clone();
    let site = Site {
        wishes,
        first,
        restores: 1,
        renews: 1,
        deaf: 0,
        cap_changes: 0,
        ticks: 0,
        writes: 3,
        beats: 1,
        ..falls()
    };
    drop(stays("a restored ledger with rows", site.clone()));
    let (name, site) = without(Rule::HeldIsReserved, &site);
    breaks(&name, site);
}

/// Two nodes that may be at their ceilings of 4 one at a time.
pub fn reboots() -> Site {
    let figures = |watts, row| rows(watts, (8, 6), row, 1);
    let wishes = vec![
        vec![figures(3, 2), figures(2, 1)],
        vec![figures(2, 1), figures(3, 2)],
        vec![figures(3, 3), figures(2, 2)],
    ];
    Site {
        first: wishes[0].clone(),
        wishes,
        caps: vec![8, 6],
        nodes: vec![(4, 2), (4, 2)],
        reboots: 1,
        unguarded_reboots: 1,
        deaf: 0,
        writes: 1,
        beats: 1,
        ticks: 2,
        ..falls()
    }
}

#[test]
fn room_for_a_reboot_is_kept_at_every_cap() {
    drop(stays("reboots", reboots()));
    let (name, wrong) = without(Rule::RebootReserveInEveryRow, &reboots());
    breaks(&name, wrong);
    breaks("reboots and no room for them", Site { unguarded_reboots: 0, ..reboots() });
}

#[test]
fn a_driver_that_is_loaded_again_is_met_by_the_room_for_a_reboot() {
    let site = Site { reboots: 0, reloads: 2, ..reboots() };
    drop(stays("reloads", site.clone()));
    let (name, wrong) = without(Rule::RebootReserveInEveryRow, &site);
    breaks(&name, wrong);
    breaks("reloads and no room for them", Site { unguarded_reboots: 0, ..site.clone() });
    breaks("reloads and limits that are not set again", Site { sets_again: false, ..site });
}
