//! The electrical tree of the test, and what it allows: in the test's own arithmetic, which shares nothing with the controller's.
//!
//! ```text
//!   site 190 kW, 5 % losses and cooling
//!     row-a 62 kW      17 nodes
//!     row-b 68 kW      17 nodes, and 5 kW that are not ours
//!     row-c 54.4 kW    16 nodes, room for one that comes back from a reboot or a driver's reload at its highest limits
//! ```
//!
//! A node draws 1,200 W for its host and 8 × 400 W at most: 4,407 W with what an A100 passes its limit by. All together could
//! draw 237 kW: the site's cap and row-c's bind.

/// Watts of a host, whatever its GPUs do: so what a cap allows is what can be drawn, to the watt.
pub const HOST: f64 = 1200.0;
/// The highest and the lowest limit of a GPU, and how far it passes a limit at most.
pub const GPU_MAX: f64 = 400.0;
pub const GPU_MIN: f64 = 100.0;
pub const OVERSHOOT_PERMILLE: f64 = 2.0;

/// One feed.
#[derive(Debug, Clone, Copy)]
pub struct Feed {
    pub name: &'static str,
    pub cap: f64,
    /// The lowest cap that is ever ordered.
    pub lowest: f64,
    pub baseline: f64,
    pub nodes: usize,
    /// Nodes that room is kept for.
    pub reserve: usize,
}

/// Losses and cooling of the site, in thousandths.
pub const OVERHEAD_PERMILLE: f64 = 50.0;

/// The site first, then its rows.
pub const FEEDS: [Feed; 4] = [
    Feed { name: "site", cap: 190_000.0, lowest: 121_000.0, baseline: 0.0, nodes: 0, reserve: 0 },
    Feed { name: "row-a", cap: 62_000.0, lowest: 36_500.0, baseline: 0.0, nodes: 17, reserve: 0 },
    Feed { name: "row-b", cap: 68_000.0, lowest: 41_500.0, baseline: 5000.0, nodes: 17, reserve: 0 },
    Feed { name: "row-c", cap: 54_400.0, lowest: 36_500.0, baseline: 0.0, nodes: 16, reserve: 1 },
];

pub const NODES: usize = 50;

/// Which feed a node is plugged into.
pub fn feed_of(node: usize) -> usize {
    match node {
        0..17 => 1,
        17..34 => 2,
        _ => 3,
    }
}

pub fn name_of(node: usize) -> String {
    format!("gpu-{node:02}")
}

/// The watts of a node whose GPUs' limits have this sum, at most.
pub fn at_limits(limits: f64) -> f64 {
    HOST + limits * (1.0 + OVERSHOOT_PERMILLE / 1000.0)
}

/// What each feed draws when these are the nodes' watts.
pub fn drawn(nodes: &[f64]) -> [f64; 4] {
    let mut feeds = [0.0; 4];
    for (at, feed) in FEEDS.iter().enumerate() {
        feeds[at] = feed.baseline;
    }
    for (node, watts) in nodes.iter().enumerate() {
        feeds[feed_of(node)] += watts;
    }
    feeds[0] = (feeds[0] + feeds[1..].iter().sum::<f64>()) * (1.0 + OVERHEAD_PERMILLE / 1000.0);
    feeds
}

/// The most that each feed can draw under these caps, everyone at work and all nodes as level as the caps let them be, with the
/// room for reboots kept.
pub fn allowed(caps: &[f64; 4]) -> [f64; 4] {
    let highest = at_limits(8.0 * GPU_MAX);
    let lowest = at_limits(8.0 * GPU_MIN);
    let own = |at: usize| -> f64 {
        let feed = &FEEDS[at];
        let (nodes, reserve) = (feed.nodes as f64, feed.reserve as f64);
        ((caps[at] - feed.baseline - reserve * highest) / (nodes - reserve)).clamp(lowest, highest)
    };
    let all = |level: f64| -> f64 {
        let rows = (1..4).map(|at| {
            let (feed, each) = (&FEEDS[at], level.min(own(at)));
            feed.nodes as f64 * each + feed.reserve as f64 * (highest - each) + feed.baseline
        });
        rows.sum::<f64>() * (1.0 + OVERHEAD_PERMILLE / 1000.0)
    };
    let (mut low, mut high) = (lowest, highest);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if all(middle) <= caps[0] { low = middle } else { high = middle }
    }
    let nodes: Vec<f64> = (0..NODES).map(|node| low.min(own(feed_of(node)))).collect();
    drawn(&nodes)
}

#[test]
fn what_the_tree_allows() {
    let full = FEEDS.map(|feed| feed.cap);
    let allowed = allowed(&full);
    // behind its losses the site has 180,952 W; row-c keeps 4,407 - 3,333 of its own free
    assert!((allowed[0] - 1.05 * (180_952.0 - 1074.0)).abs() < 20.0, "{allowed:?}");
    assert!((allowed[3] - 16.0 * (54_400.0 - 4406.4) / 15.0).abs() < 1.0, "{allowed:?}");
    assert!(allowed[1] < 62_000.0 && allowed[2] < 68_000.0, "{allowed:?}");
    let free = super::tree::allowed(&[1e9; 4]);
    assert!((free[1] - 17.0 * 4406.4).abs() < 0.1, "{free:?}");
}
