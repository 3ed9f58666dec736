//! The chart as helm renders it, without a cluster. That it installs and works is shown in `tests/controller`.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use heliotrope::api::AcceleratorProfile;
use heliotrope::commands::doctor::{NEEDED, Right, UNWANTED};
use heliotrope::controller::config::Config;
use heliotrope::controller::profiles;
use heliotrope::core::profile::nameplate;
use heliotrope::units::Moment;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const MUTATING: &str = "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy";

fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/heliotrope")
}

fn helm(arguments: &[&str]) -> Output {
    let helm = heliotrope_testbed::assets().unwrap().join("helm");
    Command::new(helm).args(arguments).output().unwrap()
}

fn documents(text: &str) -> Vec<Value> {
    let all = serde_yaml::Deserializer::from_str(text).map(|document| Value::deserialize(document).unwrap());
    all.filter(|document| !document.is_null()).collect()
}

/// The objects that the chart makes with these settings.
fn rendered(settings: &[&str]) -> Vec<Value> {
    let chart = chart().display().to_string();
    let output = helm(&[&["template", "heliotrope", &chart, "--namespace", "power"], settings].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    documents(&String::from_utf8(output.stdout).unwrap())
}

fn kinds(objects: &[Value]) -> Vec<&str> {
    let mut kinds: Vec<&str> = objects.iter().map(|object| object["kind"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    kinds
}

fn one<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name} in {:?}", kinds(objects)))
}

/// `group/resource verb` for every right in a role. What a resource's name narrows has that name behind it.
fn rights(role: &Value) -> BTreeSet<String> {
    let list = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in role["rules"].as_array().unwrap() {
        let names = list(&rule["resourceNames"]);
        let suffix = if names.is_empty() { String::new() } else { format!(" only {}", names.join(" ")) };
        for group in list(&rule["apiGroups"]) {
            for resource in list(&rule["resources"]) {
                for verb in list(&rule["verbs"]) {
                    rights.insert(format!("{group}/{resource} {verb}{suffix}"));
                }
            }
        }
    }
    rights
}

fn set(lines: &str) -> BTreeSet<String> {
    lines.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn the_controller_may_do_what_it_does_and_nothing_more() {
    let objects = rendered(&[]);
    let cluster = set("
        /namespaces get\n /namespaces list\n /namespaces watch
        /nodes get\n /nodes list\n /nodes watch
        /pods get\n /pods list\n /pods watch
        batch/jobs get\n batch/jobs list\n batch/jobs watch\n batch/jobs update\n batch/jobs patch
        batch/jobs/finalizers update
        batch/jobs/status patch
        events.k8s.io/events create\n events.k8s.io/events patch
        heliotrope.dev/acceleratorprofiles get\n heliotrope.dev/acceleratorprofiles list
        heliotrope.dev/acceleratorprofiles watch\n heliotrope.dev/acceleratorprofiles/status patch
        heliotrope.dev/curtailmentevents get
        heliotrope.dev/curtailmentevents list
        heliotrope.dev/curtailmentevents watch
        heliotrope.dev/curtailmentevents/status patch
        heliotrope.dev/gridsignals get\n heliotrope.dev/gridsignals list\n heliotrope.dev/gridsignals watch
        heliotrope.dev/gridsignals/status patch
        heliotrope.dev/llmworkloads get\n heliotrope.dev/llmworkloads list\n heliotrope.dev/llmworkloads watch
        heliotrope.dev/llmworkloads create\n heliotrope.dev/llmworkloads/status patch
        heliotrope.dev/powerdomains get\n heliotrope.dev/powerdomains list\n heliotrope.dev/powerdomains watch
        heliotrope.dev/powerdomains/status update\n heliotrope.dev/powerdomains/status patch
        heliotrope.dev/nodepowers get\n heliotrope.dev/nodepowers list\n heliotrope.dev/nodepowers watch
        heliotrope.dev/powerallotments list
        scheduling.k8s.io/priorityclasses get\n scheduling.k8s.io/priorityclasses list
        scheduling.k8s.io/priorityclasses watch
    ");
    assert_eq!(rights(one(&objects, "ClusterRole", "heliotrope-controller")), cluster);
    let own = set("
        /configmaps get\n /configmaps list\n /configmaps watch
        coordination.k8s.io/leases create
        coordination.k8s.io/leases get only heliotrope-controller
        coordination.k8s.io/leases update only heliotrope-controller
    ");
    assert_eq!(rights(one(&objects, "Role", "heliotrope-controller")), own);
    // the account is bound to these two and no other
    let bound = objects.iter().filter(|object| object["kind"].as_str().unwrap().ends_with("RoleBinding"));
    let roles: Vec<&str> = bound.map(|binding| binding["roleRef"]["name"].as_str().unwrap()).collect();
    assert_eq!(roles, ["heliotrope-controller", "heliotrope-controller"]);
}

#[test]
fn the_profiles_that_it_ships_are_sound_and_come_only_when_asked_for() {
    let plain = rendered(&[]);
    assert!(!kinds(&plain).contains(&"AcceleratorProfile"), "what nodes may draw must not change by itself");
    let all = rendered(&["--set", "profiles.install=true"]);
    let made = all.iter().filter(|object| object["kind"] == "AcceleratorProfile");
    let made: Vec<AcceleratorProfile> = made.map(|object| serde_json::from_value(object.clone()).unwrap()).collect();
    assert_eq!(made.len(), 14);
    for profile in &made {
        let name = profile.metadata.name.clone().unwrap();
        profile.validate_cel().unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let spec = &profile.spec;
        assert!(
            nameplate(&spec.device_model).is_some_and(|plate| plate.0 >= spec.max_watts),
            "{name} has no nameplate"
        );
        let (source, points) = (&spec.source, spec.points.len());
        assert!(source.len() <= 512 && source.contains("Apache-2.0") && points >= 3, "{name}: {source} {points}");
        let status = profiles::status(profile, &made, &BTreeSet::from([spec.device_model.as_str()]), Moment(0));
        for condition in status.conditions {
            let (is, reason) = (condition.status.as_str(), condition.reason.as_str());
            assert!(is == "True" && reason != "AcceptedWithNotes", "{name}: {}", condition.message);
        }
    }
    // an A40 draws a fifth more than 100 W under 100 W: that is no limit to hold it by
    let a40 = one(&all, "AcceleratorProfile", "nvidia-a40-finetuning");
    assert_eq!((&a40["spec"]["minWatts"], &a40["spec"]["overshootPermille"]), (&json!(125), &json!(16)));
}

#[test]
fn doctor_asks_for_what_the_chart_gives() {
    let of = |objects: &[Value]| {
        let role = rights(one(objects, "ClusterRole", "heliotrope-controller"));
        move |right: &Right| role.contains(&format!("{}/{} {}", right.group, right.resource, right.verb))
    };
    let (plain, with_agents) = (of(&rendered(&[])), of(&rendered(&["--set", "config.agents=true"])));
    for right in NEEDED {
        assert!(with_agents(&right), "{right:?}");
        assert_eq!(plain(&right), !right.agents, "{right:?}");
    }
    assert!(UNWANTED.iter().all(|right| !with_agents(right)));
}

#[test]
fn with_agents_it_may_lease_and_they_may_report() {
    let plain = rendered(&[]);
    let objects = rendered(&["--set", "config.agents=true"]);
    let role = |objects: &[Value]| rights(one(objects, "ClusterRole", "heliotrope-controller"));
    let more: BTreeSet<String> = role(&objects).difference(&role(&plain)).cloned().collect();
    let leases = set("
        heliotrope.dev/powerallotments create\n heliotrope.dev/powerallotments update
        heliotrope.dev/powerallotments patch\n heliotrope.dev/powerallotments delete
        heliotrope.dev/nodepowers create\n heliotrope.dev/nodepowers patch\n heliotrope.dev/nodepowers delete
        /nodes patch
    ");
    assert_eq!(more, leases);
    let agent = set("
        heliotrope.dev/powerdomains get\n heliotrope.dev/powerdomains list\n heliotrope.dev/powerdomains watch
        heliotrope.dev/powerallotments get\n heliotrope.dev/powerallotments list\n heliotrope.dev/powerallotments watch
        heliotrope.dev/curtailmentevents get\n heliotrope.dev/curtailmentevents list
        heliotrope.dev/curtailmentevents watch
        heliotrope.dev/nodepowers get\n heliotrope.dev/nodepowers list\n heliotrope.dev/nodepowers watch
        heliotrope.dev/nodepowers/status get\n heliotrope.dev/nodepowers/status update
        heliotrope.dev/nodepowers/status patch
    ");
    assert_eq!(rights(one(&objects, "ClusterRole", "heliotrope-agent")), agent);
    let policy = one(&objects, "ValidatingAdmissionPolicy", "heliotrope-own-node-only");
    assert_eq!(policy["spec"]["failurePolicy"], "Fail", "what can't be judged is not acknowledged");
    assert!(
        !kinds(&plain).contains(&"DaemonSet")
            && plain.iter().all(|object| object["metadata"]["name"] != "heliotrope-agent")
    );
}

/// That they run is shown in `tests/real_node`.
#[test]
fn on_gpu_nodes_only_the_actuator_has_a_capability() {
    let objects = rendered(&["--set", "config.agents=true"]);
    let set = one(&objects, "DaemonSet", "heliotrope-agent");
    let pod = &set["spec"]["template"]["spec"];
    assert_eq!(set["metadata"]["namespace"], "heliotrope-agents");
    assert_eq!(pod["nodeSelector"]["nvidia.com/gpu.present"], "true");
    assert_eq!(pod["tolerations"][0]["operator"], "Exists", "limits are held whatever is wrong with a node");
    let names = ["actuator", "agent"];
    for (container, (name, added)) in
        pod["containers"].as_array().unwrap().iter().zip(names.iter().zip([Some("SYS_ADMIN"), None]))
    {
        let may = &container["securityContext"];
        assert_eq!(container["name"], *name);
        assert_eq!((&may["capabilities"]["drop"][0], may["capabilities"]["add"][0].as_str()), (&"ALL".into(), added));
        assert_eq!(may["readOnlyRootFilesystem"], true);
        assert_eq!(may["privileged"], Value::Null);
    }
    // its pods are not the controller's: neither the Service nor the NetworkPolicy is for them
    let selected = &one(&objects, "Service", "heliotrope-metrics")["spec"]["selector"]["app.kubernetes.io/name"];
    let labels = &set["spec"]["template"]["metadata"]["labels"];
    assert_ne!(selected, &labels["app.kubernetes.io/name"]);
    // in the network of the node what listens on one address is asked there
    let host = ["--set", "hostNetwork=true", "--set", "config.listen=127.0.0.1:9"];
    let probed = |settings: &[&str]| {
        let objects = rendered(settings);
        let pod = &one(&objects, "Deployment", "heliotrope-controller")["spec"]["template"]["spec"];
        (pod["hostNetwork"].clone(), pod["containers"][0]["readinessProbe"]["httpGet"]["host"].clone())
    };
    assert_eq!(probed(&host), (true.into(), "127.0.0.1".into()));
    assert_eq!(probed(&[]), (false.into(), Value::Null));
}

#[test]
fn the_controller_runs_where_no_agent_reports_yet() {
    // the only one who takes the taint off again
    let objects = rendered(&[]);
    for (kind, name) in [("Deployment", "heliotrope-controller"), ("Job", "heliotrope-uninstall-check")] {
        let tolerated = &one(&objects, kind, name)["spec"]["template"]["spec"]["tolerations"][0];
        assert_eq!(tolerated["key"], "heliotrope.dev/agent-not-ready", "{name}");
    }
}

#[test]
fn who_may_not_uninstall_reads_why() {
    let objects = rendered(&[]);
    let check = one(&objects, "Job", "heliotrope-uninstall-check");
    let annotations = &check["metadata"]["annotations"];
    assert_eq!(annotations["helm.sh/hook"], "pre-delete");
    assert_eq!(annotations["helm.sh/hook-output-log-policy"], "hook-failed");
    let container = &check["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["terminationMessagePolicy"], "FallbackToLogsOnError");
}

#[test]
fn to_curtail_is_a_right_of_its_own() {
    let objects = rendered(&[]);
    let curtailer = set("
        heliotrope.dev/powerdomains get
        heliotrope.dev/powerdomains list
        heliotrope.dev/curtailmentevents get
        heliotrope.dev/curtailmentevents list
        heliotrope.dev/curtailmentevents watch
        heliotrope.dev/curtailmentevents create
        heliotrope.dev/curtailmentevents patch
    ");
    let role = one(&objects, "ClusterRole", "heliotrope-curtailer");
    assert_eq!(rights(role), curtailer);
    let labels = role["metadata"]["labels"].as_object().unwrap();
    assert!(labels.keys().all(|label| !label.contains("aggregate")), "it would come with another role: {labels:?}");
    // nobody else may write an event, and whoever may view may view it
    let roles = objects.iter().filter(|object| object["kind"].as_str().unwrap().ends_with("Role"));
    for role in roles.filter(|role| role["metadata"]["name"] != "heliotrope-curtailer") {
        for right in rights(role).iter().filter(|right| right.starts_with("heliotrope.dev/curtailmentevents ")) {
            assert!(
                ["get", "list", "watch"].iter().any(|verb| right.ends_with(verb)),
                "{}: {right}",
                role["metadata"]["name"]
            );
        }
    }
    let viewer = one(&objects, "ClusterRole", "heliotrope-viewer");
    assert!(rights(viewer).contains("heliotrope.dev/curtailmentevents list"));
    assert_eq!(viewer["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"], "true");
}

#[test]
fn a_value_that_is_misspelt_is_refused_by_name() {
    let chart = chart().display().to_string();
    for (setting, what) in [
        ("replcas=2", "replcas"),
        ("config.tickSecond=2", "tickSecond"),
        ("config.tickSeconds=0", "tickSeconds"),
        ("config.tickSeconds=6", "tickSeconds"),
        ("config.horizonHours=4294967295", "horizonHours"),
        ("config.tickSeconds=soon", "tickSeconds"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("replicas=0", "replicas"),
        ("extraVolumeMounts[0].mountpath=/signals", "mountpath"),
        ("extraVolumeMounts[0].name=grid", "mountPath"),
        ("extraVolumes[0].emptyDir=true", "extraVolumes"),
        ("extraVolume[0].name=grid", "extraVolume"),
    ] {
        let output = helm(&["template", "heliotrope", &chart, "--set", setting]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(what), "{setting}: {text}");
    }
}

/// Each value that there is, by its path. The schema is closed, so it has the same ones.
fn paths(values: &Value, at: &str, found: &mut BTreeSet<String>) {
    match values.as_object().filter(|fields| !fields.is_empty()) {
        Some(fields) => fields.iter().for_each(|(key, value)| paths(value, &format!("{at}.{key}"), found)),
        None => {
            found.insert(at.to_owned());
        }
    }
}

#[test]
fn values_schema_and_code_agree() {
    let read = |name: &str| std::fs::read_to_string(chart().join(name)).unwrap();
    let values = documents(&read("values.yaml")).remove(0);
    let schema: Value = serde_json::from_str(&read("values.schema.json")).unwrap();
    let mut given = BTreeSet::new();
    paths(&values, "", &mut given);
    for path in &given {
        let mut at = &schema;
        for key in path.split('.').skip(1) {
            let next = &at["properties"][key];
            // resources, nodeSelector and tolerations are Kubernetes' own
            if next.is_null() && at["properties"].is_null() {
                break;
            }
            assert!(!next.is_null(), "{path} is not in the schema");
            at = next;
        }
    }
    // what the chart says by default is what the program does by default, but that its pod has a folder for plans
    let map = rendered(&[]);
    let text = one(&map, "ConfigMap", "heliotrope-config")["data"]["config.yaml"].as_str().unwrap();
    let plan_directory = Some("/var/lib/heliotrope".to_owned());
    assert_eq!(Config::parse(text, "config.yaml"), Ok(Config { plan_directory, ..Config::default() }));
    let chart = documents(&read("Chart.yaml")).remove(0);
    assert_eq!((&chart["version"], &chart["appVersion"]), (&Value::from(env!("CARGO_PKG_VERSION")), &chart["version"]));
}

#[test]
fn an_older_server_gets_a_policy_that_says_the_fix() {
    let newest = rendered(&["--api-versions", MUTATING]);
    let older = rendered(&[]);
    let policies = |objects: &[Value]| -> Vec<String> {
        kinds(objects).iter().filter(|kind| kind.contains("AdmissionPolicy")).map(|kind| (*kind).to_owned()).collect()
    };
    let three = |kind: &str| vec![kind.to_owned(), format!("{kind}Binding"), format!("{kind}Binding")];
    let all = |hold: &str| {
        let mut all = [three(hold), three("ValidatingAdmissionPolicy")].concat();
        all.sort();
        all
    };
    assert_eq!(policies(&newest), all("MutatingAdmissionPolicy"));
    assert_eq!(policies(&older), all("ValidatingAdmissionPolicy"));
    for (objects, kind) in [(&newest, "MutatingAdmissionPolicy"), (&older, "ValidatingAdmissionPolicy")] {
        let policy = one(objects, kind, "heliotrope-hold-managed-jobs");
        assert_eq!(policy["spec"]["failurePolicy"], "Ignore", "a broken policy must not stop a cluster");
    }
    let policy = one(&older, "ValidatingAdmissionPolicy", "heliotrope-hold-managed-jobs");
    assert!(policy["spec"]["validations"][0]["message"].as_str().unwrap().contains("spec.suspend: true"));
    assert_eq!(policies(&rendered(&["--set", "admission.enabled=false"])), Vec::<String>::new());
}

/// What the API server makes of them is shown in `tests/controller/guard.rs`.
#[test]
fn the_policies_let_the_controller_alone_start_and_leave_alone_what_is_exempt() {
    let settings = ["--api-versions", MUTATING, "--set", "serviceAccount.name=other"];
    let objects = rendered(&settings);
    let hold = one(&objects, "MutatingAdmissionPolicy", "heliotrope-hold-managed-jobs");
    let guard = one(&objects, "ValidatingAdmissionPolicy", "heliotrope-guard-managed-jobs");
    let conditions = |policy: &Value| -> Vec<String> {
        let all = policy["spec"]["matchConditions"].as_array().unwrap();
        all.iter().map(|condition| condition["name"].as_str().unwrap().to_owned()).collect()
    };
    for policy in [hold, guard] {
        assert_eq!(conditions(policy)[..3], ["a-root-is-enforced", "not-exempted", "has-accelerators"]);
        assert_eq!(policy["spec"]["failurePolicy"], "Ignore", "a broken policy must not stop a cluster");
    }
    let controller = guard["spec"]["matchConditions"][3]["expression"].as_str().unwrap();
    assert_eq!(controller, "request.userInfo.username != 'system:serviceaccount:power:other'");
    let mutation = hold["spec"]["mutations"][0]["applyConfiguration"]["expression"].as_str().unwrap();
    assert!(mutation.contains("podReplacementPolicy: 'Failed'"), "{mutation}");
    for binding in ["heliotrope-guard-labelled-jobs", "heliotrope-guard-labelled-namespaces"] {
        let binding = one(&objects, "ValidatingAdmissionPolicyBinding", binding);
        assert_eq!(binding["spec"]["policyName"], "heliotrope-guard-managed-jobs");
        assert_eq!(binding["spec"]["validationActions"][0], "Deny");
    }
}

#[test]
fn a_file_of_a_signal_can_be_mounted() {
    let objects = rendered(&[
        "--set-json",
        r#"extraVolumes=[{"name":"grid","persistentVolumeClaim":{"claimName":"grid"}}]"#,
        "--set-json",
        r#"extraVolumeMounts=[{"name":"grid","mountPath":"/signals","readOnly":true}]"#,
    ]);
    let pod = &one(&objects, "Deployment", "heliotrope-controller")["spec"]["template"]["spec"];
    let names = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&pod["volumes"]), ["config", "plans", "grid"]);
    assert_eq!(pod["volumes"][2]["persistentVolumeClaim"]["claimName"], "grid");
    assert_eq!(names(&pod["containers"][0]["volumeMounts"]), ["config", "plans", "grid"]);
    assert_eq!(pod["containers"][0]["volumeMounts"][2]["mountPath"], "/signals");
}

#[test]
fn its_pod_passes_the_restricted_profile() {
    let objects = rendered(&[]);
    let pod = &one(&objects, "Deployment", "heliotrope-controller")["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let container = &pod["containers"][0]["securityContext"];
    assert_eq!(container["allowPrivilegeEscalation"], false);
    assert_eq!(container["readOnlyRootFilesystem"], true);
    assert_eq!(container["capabilities"]["drop"][0], "ALL");
    // what it listens on is what is probed, served and let through
    let other = rendered(&["--set", "config.listen=0.0.0.0:9999"]);
    let ports = |objects: &[Value]| {
        let pod = one(objects, "Deployment", "heliotrope-controller")["spec"]["template"]["spec"].clone();
        pod["containers"][0]["ports"][0]["containerPort"].clone()
    };
    assert_eq!((ports(&objects), ports(&other)), (8080.into(), 9999.into()));
}

#[test]
fn several_controllers_stand_on_several_nodes() {
    let file = chart().join("values-ha.yaml").display().to_string();
    let (one_of, several) = (rendered(&[]), rendered(&["--values", &file]));
    assert!(!kinds(&one_of).contains(&"PodDisruptionBudget"));
    assert!(kinds(&several).contains(&"PodDisruptionBudget"));
    let deployment = one(&several, "Deployment", "heliotrope-controller");
    assert_eq!(deployment["spec"]["replicas"], 2);
    let spread = &deployment["spec"]["template"]["spec"]["topologySpreadConstraints"][0];
    assert_eq!(spread["topologyKey"], "kubernetes.io/hostname");
}

#[test]
fn helm_finds_nothing_to_say() {
    let output = helm(&["lint", "--strict", &chart().display().to_string()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
