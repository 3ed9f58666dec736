//! Labels and annotations that people, and we, put on other objects.

/// On a Job, or on a Namespace for all its Jobs: `"true"` has Heliotrope start and suspend it. On a Job `"false"` exempts it.
pub const MANAGED: &str = "heliotrope.dev/managed";
/// On a Job: `"true"` has it never suspended.
pub const PROTECTED: &str = "heliotrope.dev/protected";
/// On a Job: how long it is expected to run, as `2h30m`.
pub const EXPECTED_DURATION: &str = "heliotrope.dev/expected-duration";
/// On a Job: how long it may well run, as `4h`: nine of ten such runs took no longer, say.
pub const DURATION_UP_TO: &str = "heliotrope.dev/duration-up-to";
/// On a Job: how long it may be delayed for greener supply beyond its own length, as `6h`.
pub const MAX_DELAY: &str = "heliotrope.dev/max-delay";
/// On a Job: by when it must be finished, in RFC 3339.
pub const DEADLINE: &str = "heliotrope.dev/deadline";
/// On a Job: it writes checkpoints: how often, and what stopping and coming back takes, as `10m/30s`; and how to ask
/// for one, as `10m/30s/signal` or `10m/30s/annotation/2m`.
pub const CHECKPOINT: &str = "heliotrope.dev/checkpoint";
/// On a Job, ours: when it was asked for a checkpoint, in RFC 3339, where it says that it can be asked.
pub const CHECKPOINT_ASKED: &str = "heliotrope.dev/checkpoint-asked";
/// On a Job, by its own code: when its last checkpoint was whole, in RFC 3339; not before the time of the request that it
/// answers.
pub const CHECKPOINTED_AT: &str = "heliotrope.dev/checkpointed-at";
/// On a Job: its class, as `FineTuning`.
pub const CLASS: &str = "heliotrope.dev/class";
/// On a Job: the AcceleratorProfile to count with.
pub const PROFILE: &str = "heliotrope.dev/profile";
/// On a Job, ours: the node labels that we put into its nodeSelector, so that a move takes away these and no others.
pub const PLACED: &str = "heliotrope.dev/placed";
/// On a Job, ours: the ledger's sequence at our last write. Each write changes it, so that one prepared earlier fails.
pub const FENCE: &str = "heliotrope.dev/fence";
/// On a Job, ours: seconds of work behind its last checkpoint, and the start of the run that they end with, as
/// `5400@1767225600`. Written with each suspension of a Job that checkpoints.
pub const DONE: &str = "heliotrope.dev/done";
/// The label of a node with its accelerator's model.
pub const GPU_PRODUCT: &str = "nvidia.com/gpu.product";
/// The resource that a pod asks for.
pub const GPU: &str = "nvidia.com/gpu";
/// The label of a Job's pods with the Job's UID.
pub const CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";
/// The taint of a node whose agent does not report, or holds no lease yet: nothing new is scheduled onto it.
pub const AGENT_NOT_READY: &str = "heliotrope.dev/agent-not-ready";
/// The taint of a node in a domain that is above its cap for longer than its correction time, where its exceptionAction is
/// Cordon.
pub const OVER_CAP: &str = "heliotrope.dev/over-cap";
/// On a NodePower: what the node can draw at most by proof (a BMC's reading, its power is off, a meter), in watts. It counts as
/// long as its agent says nothing and its Node is not Ready.
pub const FENCED: &str = "heliotrope.dev/fenced-watts";
