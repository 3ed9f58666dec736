//! `heliotrope uninstall-check`: may Heliotrope be taken away? The chart asks before it is deleted.

use super::cluster::{block_on, client};
use super::{CommandError, usage};
use crate::api::{Mode, PowerAllotment, PowerDomain};
use clap::Args;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use std::path::PathBuf;

/// The arguments of `uninstall-check`.
#[derive(Debug, Args)]
pub struct UninstallCheck {
    /// Use this kubeconfig instead of the usual ones.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
}

impl UninstallCheck {
    pub(super) fn run(self) -> Result<(), CommandError> {
        block_on(self.check())
    }

    async fn check(self) -> Result<(), CommandError> {
        let client = client(self.kubeconfig.as_deref()).await?;
        let domains: Api<PowerDomain> = Api::all(client.clone());
        let domains = domains.list(&ListParams::default()).await.map_err(|error| usage(&error))?;
        let allotments: Api<PowerAllotment> = Api::all(client);
        let allotments = allotments.list(&ListParams::default()).await.map_err(|error| usage(&error))?;
        let enforced: Vec<String> = domains
            .iter()
            .filter(|domain| domain.spec.parent.is_none() && domain.spec.mode == Some(Mode::Enforce))
            .map(ResourceExt::name_any)
            .collect();
        let leased: Vec<String> = allotments.iter().map(ResourceExt::name_any).collect();
        match refusal(&enforced, &leased) {
            None => {
                println!("nothing is enforced and nothing is leased: Heliotrope may be uninstalled");
                Ok(())
            }
            Some(why) => Err(CommandError::Usage(why)),
        }
    }
}

/// Why it may not be taken away; none where it may.
fn refusal(enforced: &[String], leased: &[String]) -> Option<String> {
    if let Some(first) = enforced.first() {
        return Some(format!(
            "{} enforced: without Heliotrope every node would fall to its safe limit and stay there. Give the watts back first: \
             kubectl patch powerdomain {first} --type merge --patch '{{\"spec\":{{\"mode\":\"Observe\"}}}}', and wait until \
             `kubectl get powerallotments` shows none",
            match enforced {
                [one] => format!("the root domain {one} is"),
                all => format!("the root domains {} are", all.join(", ")),
            }
        ));
    }
    (!leased.is_empty()).then(|| {
        format!(
            "watts are still being given back in {}: wait until `kubectl get powerallotments` shows none. If one stays, its \
             PowerDomain says which node is not heard",
            leased.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::refusal;

    #[test]
    fn it_is_refused_until_everything_is_given_back() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(refusal(&[], &[]), None);
        let why = refusal(&names(&["site"]), &names(&["row-1"])).unwrap();
        assert!(why.starts_with("the root domain site is enforced"), "{why}");
        assert!(why.contains("kubectl patch powerdomain site"), "{why}");
        assert!(refusal(&[], &names(&["row-1", "row-2"])).unwrap().contains("given back in row-1, row-2"));
    }
}
