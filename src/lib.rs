//! Heliotrope.
