//! The plans that were made, for people: the last twenty, and what the last one says of each workload. In memory, in a folder if
//! one is named, and over HTTP; never in etcd.
//!
//! Nothing rests on them. What can't be written is said once, and planning goes on.

mod shown;

pub use shown::{DryRun, Shown, ShownChange, ShownEntry, ShownExplanation, ShownPrice, ShownRun};

use super::status::slowed;
use super::world::World;
use crate::core::admit::Cycle;
use crate::core::plan::checker::check;
use crate::core::plan::{Heliotrope, Policy, PowerPlan, Problem, changes, explain};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// So many are kept.
const KEPT: usize = 20;

/// What was decided last.
#[derive(Debug)]
struct Last {
    problem: Problem,
    plan: Arc<PowerPlan>,
    /// Namespace and name, by UID.
    names: BTreeMap<String, String>,
    /// Reason and its text, by UID.
    reasons: BTreeMap<String, (String, String)>,
}

impl Last {
    fn name(&self, uid: &str) -> String {
        self.names.get(uid).cloned().unwrap_or_else(|| uid.to_owned())
    }
}

#[derive(Debug, Default)]
struct Inner {
    kept: VecDeque<Arc<Shown>>,
    last: Option<Arc<Last>>,
}

/// All that is kept.
#[derive(Debug, Default)]
pub struct Plans {
    folder: Option<PathBuf>,
    inner: RwLock<Inner>,
}

impl Plans {
    /// None yet; they are written to a folder too where one is named.
    #[must_use]
    pub fn new(folder: Option<&Path>) -> Self {
        Self { folder: folder.map(Path::to_path_buf), inner: RwLock::default() }
    }

    /// What was decided in a cycle. A plan that says the same as the one before is not kept anew.
    pub fn note(&self, world: World, decided: Cycle) {
        let names = world.items.iter().map(|item| (item.uid.clone(), item.name())).collect();
        let reasons = decided.verdicts.iter().map(|verdict| {
            let slowed = world.item(&verdict.id).and_then(|item| slowed(item, verdict));
            let text = slowed.unwrap_or_else(|| verdict.reason.to_string());
            (verdict.id.to_string(), (verdict.reason.name().to_owned(), text))
        });
        let reasons = reasons.collect();
        let last = Last { reasons, problem: world.problem, plan: decided.plan, names };
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if inner.last.as_ref().is_none_or(|before| before.plan.entries != last.plan.entries) {
            let parent = inner.kept.back().map(|before| before.digest.clone());
            let made = Shown::new(&last, digest(&last.plan), parent);
            self.write(&made);
            inner.kept.push_back(Arc::new(made));
            if inner.kept.len() > KEPT {
                inner.kept.pop_front();
            }
        }
        inner.last = Some(Arc::new(last));
    }

    /// This controller does not lead any more: what it knows is of before.
    pub fn forget(&self) {
        *self.inner.write().unwrap_or_else(PoisonError::into_inner) = Inner::default();
    }

    /// The plans, the newest last.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Shown>> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).kept.iter().cloned().collect()
    }

    /// Was nothing planned yet?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.last().is_none()
    }

    fn last(&self) -> Option<Arc<Last>> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).last.clone()
    }

    /// What planning afresh would change; none where nothing was planned yet.
    #[must_use]
    pub fn dry_run(&self) -> Option<DryRun> {
        let last = self.last()?;
        let problem = Problem { thorough: true, previous: Some(last.plan.clone()), ..last.problem.clone() };
        let other = Heliotrope.plan(&problem);
        // what our own checker refuses is not shown as something to be wished for
        let other = if check(&problem, &other).is_empty() { other } else { PowerPlan::clone(&last.plan) };
        Some(DryRun::new(&last, &problem, &other, &changes(&problem, &last.plan, &other)))
    }

    /// Why a workload runs when it does; none where there is none of that namespace and name, or nothing was planned yet.
    #[must_use]
    pub fn explain(&self, workload: &str) -> Option<ShownExplanation> {
        let last = self.last()?;
        let uid = last.names.iter().find(|(_, name)| *name == workload).map(|(uid, _)| uid)?;
        let verdict = last.reasons.get(uid).cloned().unwrap_or_default();
        let why = explain(&last.problem, &last.plan, uid);
        Some(ShownExplanation::new(&last, uid, workload, verdict, why.as_ref()))
    }

    fn write(&self, plan: &Shown) {
        let Some(folder) = &self.folder else { return };
        let stamp: String = plan.made.chars().filter(char::is_ascii_alphanumeric).collect();
        let path = folder.join(format!("plan-{stamp}-{}.json", plan.generation));
        let kept = serde_json::to_vec_pretty(plan).map_err(std::io::Error::from);
        if let Err(error) = kept.and_then(|bytes| save(folder, &path, &bytes)).and_then(|()| prune(folder)) {
            tracing::warn!(path = %path.display(), %error, "the plan is not kept on disk; it is in force all the same");
        }
    }
}

/// Whole, or not at all.
pub(super) fn save(folder: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut beside = tempfile::NamedTempFile::new_in(folder)?;
    beside.write_all(bytes)?;
    beside.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// The digest of a plan: two controllers, or two moments, can be compared by it.
#[must_use]
pub fn digest(plan: &PowerPlan) -> String {
    let bytes = serde_json::to_vec(&plan.entries).unwrap_or_default();
    let hash = Sha256::digest(&bytes);
    format!("sha256:{}", hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// Takes the oldest away.
fn prune(folder: &Path) -> std::io::Result<()> {
    let is_plan = |path: &PathBuf| {
        let name = path.file_name().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
        name.starts_with("plan-") && name.ends_with(".json")
    };
    let mut all: Vec<PathBuf> =
        std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())).filter(is_plan).collect();
    all.sort();
    let many = all.len().saturating_sub(KEPT);
    all.iter().take(many).try_for_each(std::fs::remove_file)
}
