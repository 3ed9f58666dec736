//! The lease protocol, searched: every order of events of a small site, for one that draws more than the cap. Each rule is
//! switched off in turn, and the search must then find a path: a rule that no path needs would not be one.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod checked;
mod deaf;
mod dolls;
mod groups;
mod large;
mod levels;
mod renewals;
mod site;
