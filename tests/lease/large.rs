//! The same models at sizes that take minutes: `make model-check` runs them, and writes what they found to
//! `docs/model-check.log.md`.

use super::groups::{falls, grants, holds, reboots, reductions, stays};
use super::levels::{LEVEL_RULES, levels};
use super::site::{Site, flat};

#[test]
#[ignore = "large"]
fn grants_with_more_of_everything() {
    holds(
        "grants, 5 writes, 2 crashes, a lost disk",
        Site { writes: 5, beats: 4, crashes: 2, lost_disks: 1, ..grants() },
    );
}

/// Three nodes under a cap of 5: who has 3 leaves 1 to each of the others.
#[test]
#[ignore = "large"]
fn grants_to_three_nodes() {
    let (high, low) = (flat(3, 1), flat(1, 1));
    let wish = |favoured: usize| (0..3).map(|i| if i == favoured { high.clone() } else { low.clone() }).collect();
    let wishes: Vec<Vec<_>> = (0..3).map(wish).collect();
    let first = wishes[0].clone();
    let site = Site { wishes, replays: true, crashes: 1, writes: 4, beats: 3, ..Site::calm(vec![(4, 2); 3], 5, first) };
    holds("three nodes", site);
}

#[test]
#[ignore = "large"]
fn two_controllers_with_falls() {
    let site = Site { controllers: 2, deaf: 0, ticks: 1, writes: 2, beats: 1, ..falls() };
    holds("two controllers and a fall", site);
}

#[test]
#[ignore = "large"]
fn two_controllers_with_a_restored_ledger() {
    let site = Site { controllers: 2, restores: 1, crashes: 0, replays: false, writes: 4, beats: 2, ..grants() };
    holds("two controllers and a restored ledger", site);
}

#[test]
#[ignore = "large"]
fn falls_with_old_caps_and_old_reports() {
    let site = Site { stale_caps: true, stale_reports: true, writes: 2, beats: 2, ..falls() };
    holds("falls, old caps and old reports", site);
}

#[test]
#[ignore = "large"]
fn falls_with_three_writes() {
    holds("falls, 3 writes", Site { writes: 3, ..falls() });
}

#[test]
#[ignore = "large"]
fn falls_twice() {
    holds("falls, and back, and again", Site { cap_changes: 3, deaf: 0, ..falls() });
}

#[test]
#[ignore = "large"]
fn falls_with_a_restored_ledger() {
    holds("falls and a restored ledger", Site { restores: 1, deaf: 0, writes: 2, beats: 2, ..falls() });
}

#[test]
#[ignore = "large"]
fn reductions_with_replays() {
    holds("steps, replays, a crash", Site { replays: true, crashes: 1, writes: 2, ..reductions() });
}

#[test]
#[ignore = "large"]
fn reductions_with_a_restored_ledger() {
    holds("steps and a restored ledger", Site { restores: 1, ticks: 1, ..reductions() });
}

#[test]
#[ignore = "large"]
fn reloads_with_a_crash() {
    drop(stays("reloads and a crash", Site { reboots: 0, reloads: 2, crashes: 1, ..reboots() }));
}

#[test]
#[ignore = "large"]
fn three_levels_with_more_writes() {
    levels("three levels, 3 writes of each", 2, &[3, 3, 3], 1, &LEVEL_RULES);
}

#[test]
#[ignore = "large"]
fn four_levels() {
    levels("four levels", 3, &[2, 2, 2, 2], 1, &LEVEL_RULES[..1]);
}
