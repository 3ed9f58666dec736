//! What the controller must be allowed, and what it must not. The chart's roles say the same: a test compares them.

/// One right: of which API group, on what, to do what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// The API group.
    pub group: &'static str,
    /// The resource, with its subresource after a slash.
    pub resource: &'static str,
    /// The verb.
    pub verb: &'static str,
    /// Only where nodes have agents.
    pub agents: bool,
}

const fn right(group: &'static str, resource: &'static str, verb: &'static str) -> Right {
    Right { group, resource, verb, agents: false }
}

const fn agents(group: &'static str, resource: &'static str, verb: &'static str) -> Right {
    Right { group, resource, verb, agents: true }
}

const OURS: &str = "heliotrope.dev";

/// In the whole cluster.
pub const NEEDED: [Right; 26] = [
    right(OURS, "powerdomains", "list"),
    right(OURS, "powerdomains", "watch"),
    right(OURS, "powerdomains/status", "update"),
    right(OURS, "powerdomains/status", "patch"),
    right(OURS, "gridsignals", "watch"),
    right(OURS, "gridsignals/status", "patch"),
    right(OURS, "acceleratorprofiles", "watch"),
    right(OURS, "acceleratorprofiles/status", "patch"),
    right(OURS, "llmworkloads", "create"),
    right(OURS, "llmworkloads", "watch"),
    right(OURS, "llmworkloads/status", "patch"),
    right(OURS, "curtailmentevents", "watch"),
    right(OURS, "curtailmentevents/status", "patch"),
    right("batch", "jobs", "watch"),
    right("batch", "jobs", "update"),
    right("batch", "jobs", "patch"),
    right("batch", "jobs/status", "patch"),
    right("", "pods", "watch"),
    right("", "nodes", "watch"),
    right("", "namespaces", "watch"),
    right("events.k8s.io", "events", "create"),
    agents(OURS, "powerallotments", "create"),
    agents(OURS, "powerallotments", "update"),
    agents(OURS, "nodepowers", "create"),
    agents(OURS, "nodepowers", "patch"),
    agents("", "nodes", "patch"),
];

/// What a controller that was taken over must not be able to do.
pub const UNWANTED: [Right; 2] = [right("", "secrets", "get"), right("", "pods", "create")];
