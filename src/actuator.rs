//! The only privileged part of a node: it sets the limits of accelerators, and lets them fall when nobody renews them.
//!
//! Requests come over a Unix socket; there is no network. Each limit comes with its end on boot time, past which it
//! falls by itself: the dead man's switch of the node. Nothing is ever raised but by an order.
//!
//! - [`device`]: what is asked of devices, whoever made them; [`nvml`]: NVIDIA's
//! - [`hold`]: what one GPU is held to, as values
//! - [`gpu`]: its thread; [`node`]: all of them together
//! - [`state`], [`keeper`]: what is remembered across restarts and boots
//! - [`protocol`], [`server`], [`client`]: the socket
//! - [`boot_guard`]: before the kubelet; [`network`]: leaving it

pub mod boot_guard;
pub mod client;
pub mod device;
pub mod gpu;
pub mod hold;
pub mod keeper;
pub mod network;
pub mod node;
pub mod nvml;
pub mod protocol;
pub mod server;
pub mod state;
