//! Which LLMWorkload stands for which Job. Objects in, values out.

use super::snapshot::Snapshot;
use crate::api::{LLMWorkload, labels};
use crate::workloads::job;
use k8s_openapi::api::batch::v1::Job;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The workloads of a snapshot, by what they refer to.
#[derive(Debug, Clone, Default)]
pub struct Declared<'a> {
    /// By namespace and name of their Job: one Job has one.
    pub by_job: BTreeMap<(&'a str, &'a str), &'a LLMWorkload>,
    /// Those that refer to nothing that can be served, and why.
    pub refused: Vec<(&'a LLMWorkload, String)>,
}

impl<'a> Declared<'a> {
    /// The workloads of a snapshot.
    #[must_use]
    pub fn new(snapshot: &'a Snapshot) -> Self {
        let named =
            |job: &'a Arc<Job>| Some(((job.metadata.namespace.as_deref()?, job.metadata.name.as_deref()?), job));
        let jobs: BTreeMap<(&str, &str), &Arc<Job>> = snapshot.jobs.iter().filter_map(named).collect();
        let mut declared = Self::default();
        for workload in &snapshot.workloads {
            match declared.job_of(workload, &jobs) {
                Ok(key) => {
                    declared.by_job.insert(key, workload);
                }
                Err(why) => declared.refused.push((workload, why)),
            }
        }
        declared
    }

    /// The Job that one refers to, where that can be served and has no workload yet.
    fn job_of(
        &self,
        workload: &'a LLMWorkload,
        jobs: &BTreeMap<(&str, &str), &Arc<Job>>,
    ) -> Result<(&'a str, &'a str), String> {
        let namespace = workload.metadata.namespace.as_deref().unwrap_or_default();
        let reference = workload.spec.workload_ref.as_ref();
        let reference = reference.ok_or("it has no workloadRef: there is nothing to start")?;
        let key = (namespace, reference.name.as_str());
        let job = jobs.get(&key).ok_or_else(|| format!("there is no Job {} in {namespace}", reference.name))?;
        if job::is_exempt(job) {
            return Err(format!(
                "Job {} is labelled {}: \"false\", so it is left alone",
                reference.name,
                labels::MANAGED
            ));
        }
        if job::gpus_per_pod(job) == 0 {
            return Err(format!("Job {} asks for no {}: there is nothing to plan", reference.name, labels::GPU));
        }
        if let Some(first) = self.by_job.get(&key) {
            let name = first.metadata.name.as_deref().unwrap_or_default();
            return Err(format!("{name} refers to Job {} already: one Job has one LLMWorkload", key.1));
        }
        Ok(key)
    }
}
