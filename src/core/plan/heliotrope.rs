//! Our own policy.
use super::{Policy, PowerPlan, Problem};
/// Ours.
#[derive(Debug, Clone, Copy, Default)]
pub struct Heliotrope;
impl Policy for Heliotrope {
    fn name(&self) -> &'static str {
        "heliotrope"
    }
    fn plan(&self, _: &Problem) -> PowerPlan {
        todo!()
    }
}
