//! What is said over the actuator's socket: one JSON object a line, both ways.
//!
//! ```text
//! → {"version":1,"request":{"hello":{"role":"Agent","name":"agent-7f"}}}
//! ← {"version":1,"answer":{"hello":{"nowBootMillis":81234567,"bootId":"…","mayOrder":true,…}}}
//! → {"version":1,"request":{"order":{"sequence":12,"gpus":[{"uuid":"GPU-…","limitWatts":400,
//!      "endsAtBootMillis":81259567,"fallWatts":300}]}}}
//! ← {"version":1,"answer":{"order":{"sequence":12,"gpus":[{"uuid":"GPU-…","outcome":{"readBack":{…}}}]}}}
//! ```
//!
//! Fields that are not known are refused: what can't be understood is not half obeyed. One request is answered before
//! the next is read.

use crate::units::{BootMillis, Watts};
use serde::{Deserialize, Serialize};

pub use super::device::{Category, DrawKind, Identity, Range, Throttle};
pub use super::hold::{Note, Obedience, Phase, Refusal};

/// The version of all this.
pub const VERSION: u32 = 1;

/// The longest line, in bytes, either way. 64 KiB: 16 GPUs with 7 slices each and every field are 25.
pub const LONGEST_LINE: usize = 64 * 1024;

/// A line to the actuator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestLine {
    /// [`VERSION`].
    pub version: u32,
    /// What is asked.
    pub request: Request,
}

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Request {
    /// Who asks. First of all.
    Hello(Hello),
    /// All readings at once.
    Observe {},
    /// Limits, from the agent.
    Order(Order),
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hello {
    /// To do what.
    pub role: Role,
    /// A name for logs.
    pub name: String,
}

/// What a client wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Give orders. One at a time.
    Agent,
    /// Only look.
    Observer,
}

/// Clocks come in steps: one that is locked may be so many MHz above what was asked for.
pub const CLOCK_STEP: u32 = 15;

/// Limits for some of the node's GPUs; the others keep what they have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Order {
    /// Of the lease that it carries out. A lower one than was ever seen in this boot is refused; an equal one prolongs
    /// and lowers; only a higher one raises.
    pub sequence: u64,
    /// The GPUs.
    pub gpus: Vec<GpuOrder>,
}

/// The limit of one GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GpuOrder {
    /// Which.
    pub uuid: String,
    /// What it may draw.
    pub limit_watts: Watts,
    /// Keep its clock at or below so many MHz; without one it is let go, if it was ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_lock_megahertz: Option<u32>,
    /// Until when, on boot time. Required; optional here, so that its absence is refused with a reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at_boot_millis: Option<BootMillis>,
    /// What it falls to after that, where it is lower. Required, as the end is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fall_watts: Option<Watts>,
}

/// A line from the actuator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AnswerLine {
    /// [`VERSION`].
    pub version: u32,
    /// The answer.
    pub answer: Answer,
}

/// The answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Answer {
    /// To Hello.
    Hello(Welcome),
    /// To Observe.
    Observe(Observation),
    /// To Order.
    Order(OrderAnswer),
    /// The request was not taken at all.
    Refused(Refused),
}

/// To Hello.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Welcome {
    /// The actuator's build.
    pub build: String,
    /// The boot that boot times are of.
    pub boot_id: String,
    /// What time it is.
    pub now_boot_millis: BootMillis,
    /// This client's orders will be taken.
    pub may_order: bool,
    /// Why not, where it asked to be the agent.
    pub why_not: Option<Refused>,
    /// The highest sequence that was taken in this boot.
    pub sequence: Option<u64>,
}

/// Why a whole request was not taken. What is in force stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refused {
    /// The kind.
    pub reason: RequestRefusal,
    /// For people.
    pub message: String,
}

/// Kinds of requests that are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequestRefusal {
    /// It can't be read.
    BadRequest,
    /// It is longer than [`LONGEST_LINE`]; the connection ends.
    TooLong,
    /// It is of another version.
    UnsupportedVersion,
    /// This client's user may not connect; the connection ends.
    WrongUser,
    /// Hello must come first.
    HelloFirst,
    /// It said that it would only look.
    OnlyObserves,
    /// Another agent is connected: two agents on one node.
    AnotherAgent,
    /// The order's sequence is lower than one already seen.
    LowerSequence,
    /// Too many are connected; the connection ends.
    TooManyClients,
}

/// All readings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Observation {
    /// What time it is.
    pub now_boot_millis: BootMillis,
    /// The highest sequence that was taken in this boot.
    pub sequence: Option<u64>,
    /// The GPUs, by index.
    pub gpus: Vec<GpuView>,
    /// GPUs that are there and can't be told of, by index.
    pub unreadable: Vec<Unreadable>,
    /// Why the list of GPUs can't be renewed.
    pub listing: Option<Fault>,
}

/// A GPU that is there and can't be told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Unreadable {
    /// Its place.
    pub index: u32,
    /// Why.
    pub fault: Fault,
}

/// One GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GpuView {
    /// Which.
    pub gpu: Identity,
    /// What limits it takes; none as long as it could not be asked.
    pub range: Option<Range>,
    /// The highest limit that will be set on it: the node's ceiling counts.
    pub highest_watts: Option<Watts>,
    /// What it said last. Look at its time: one that hangs says nothing new.
    pub reading: Option<Reading>,
    /// What it is held to.
    pub hold: HoldView,
    /// What does not work.
    pub faults: Vec<Fault>,
}

/// What a GPU said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reading {
    /// When.
    pub at_boot_millis: BootMillis,
    /// The limit set on it.
    pub set_watts: Option<Watts>,
    /// The limit in force.
    pub enforced_watts: Option<Watts>,
    /// What it draws.
    pub draw: Option<DrawView>,
    /// Its energy counter.
    pub energy_millijoules: Option<u64>,
    /// Its clock.
    pub clock_megahertz: Option<u32>,
    /// Why it is slower than it could be.
    pub throttling: Vec<Throttle>,
}

/// A draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DrawView {
    /// How much.
    pub milliwatts: u64,
    /// Over which time.
    pub kind: DrawKind,
    /// When this figure or the energy counter last moved: a sensor that is stuck is told by its age.
    pub changed_at_boot_millis: BootMillis,
}

/// What a GPU is held to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HoldView {
    /// The state.
    pub phase: Phase,
    /// The limit that must hold.
    pub limit_watts: Option<Watts>,
    /// When it falls.
    pub ends_at_boot_millis: Option<BootMillis>,
    /// To what.
    pub fall_watts: Option<Watts>,
    /// Of the last order.
    pub sequence: Option<u64>,
    /// The clock it was locked at.
    pub clock_lock_megahertz: Option<u32>,
    /// Whether the device obeys.
    pub obedience: Obedience,
    /// How often another has raised its limit since the actuator started.
    pub raised_by_other: u64,
    /// The last time.
    pub last_raised: Option<Raised>,
}

/// Another has raised a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Raised {
    /// When it was found.
    pub at_boot_millis: BootMillis,
    /// What was in force.
    pub found_watts: Watts,
}

/// What does not work on a GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// The kind.
    pub category: Category,
    /// What was being done, and what was said.
    pub message: String,
    /// How long a call has not come back, where it has not.
    pub for_millis: Option<u64>,
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OrderAnswer {
    /// Of the order.
    pub sequence: u64,
    /// One for each of the order's GPUs, in its order.
    pub gpus: Vec<GpuAnswer>,
}

/// What came of it on one GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GpuAnswer {
    /// Which.
    pub uuid: String,
    /// What.
    pub outcome: Outcome,
}

/// What came of an order on one GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Outcome {
    /// Taken, and the device was read afterwards.
    ReadBack {
        /// The limit that must hold now.
        limit_watts: Watts,
        /// What is in force: reserve by this.
        enforced_watts: Watts,
        /// When it was read.
        read_at_boot_millis: BootMillis,
        /// Whether the device obeys.
        obedience: Obedience,
        /// Where it was taken otherwise than asked.
        notes: Vec<Note>,
    },
    /// Taken; the device could not be written or read. It is tried again each period.
    NotReadBack {
        /// The limit that must hold now.
        limit_watts: Watts,
        /// Why.
        fault: Fault,
        /// Where it was taken otherwise than asked.
        notes: Vec<Note>,
    },
    /// The device did not come back in time: it may or may not have been taken. Observe tells later.
    Unknown {
        /// How long.
        fault: Fault,
    },
    /// Not taken: what was in force stays.
    Refused {
        /// The kind.
        reason: Refusal,
        /// For people.
        message: String,
    },
}
