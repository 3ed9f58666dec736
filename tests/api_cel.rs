//! The CEL rules of the custom resources, judged by kube's own evaluator from the schema that the API server gets.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

#[path = "common/cel_cases.rs"]
mod cel_cases;

use cel_cases::{cases, changes_of_events, event, object};
use heliotrope::api::{AcceleratorProfile, CurtailmentEvent, GridSignal, LLMWorkload, NodePower, PowerDomain};
use serde_json::json;

#[test]
fn every_rule_accepts_what_keeps_it_and_refuses_what_breaks_it() {
    for case in cases() {
        let object = object(case.kind, &case.spec);
        let verdict = match case.kind {
            "PowerDomain" => serde_json::from_value::<PowerDomain>(object).unwrap().validate_cel(),
            "GridSignal" => serde_json::from_value::<GridSignal>(object).unwrap().validate_cel(),
            "AcceleratorProfile" => serde_json::from_value::<AcceleratorProfile>(object).unwrap().validate_cel(),
            "LLMWorkload" => serde_json::from_value::<LLMWorkload>(object).unwrap().validate_cel(),
            "CurtailmentEvent" => serde_json::from_value::<CurtailmentEvent>(object).unwrap().validate_cel(),
            "NodePower" => serde_json::from_value::<NodePower>(object).unwrap().validate_cel(),
            other => panic!("no kind {other}"),
        };
        let said = verdict.err().map(|errors| errors.to_string());
        match case.error {
            None => assert_eq!(said, None, "{}", case.spec),
            Some(error) => {
                assert!(
                    said.as_ref().is_some_and(|said| said.contains(error)),
                    "{}: {said:?}, wanted {error:?}",
                    case.spec
                );
            }
        }
    }
}

#[test]
fn no_rule_is_without_a_case_that_breaks_it() {
    let cases = cases();
    let mut rules = 0;
    for crd in heliotrope::api::crds::all() {
        let text = serde_json::to_value(crd).unwrap();
        let mut stack = vec![&text];
        while let Some(value) = stack.pop() {
            for rule in value["x-kubernetes-validations"].as_array().into_iter().flatten() {
                let message = rule["message"].as_str().unwrap();
                let is_transition = rule["rule"].as_str().unwrap().contains("oldSelf"); // has a test of its own
                let broken = cases.iter().filter_map(|case| case.error).any(|error| message.contains(error));
                assert!(broken || is_transition, "no case breaks the rule: {message}");
                rules += 1;
            }
            match value {
                serde_json::Value::Object(fields) => stack.extend(fields.values()),
                serde_json::Value::Array(items) => stack.extend(items),
                _ => {}
            }
        }
    }
    assert!(rules >= 15, "only {rules} rules were found");
}

#[test]
fn a_workload_ref_stays_what_it_is() {
    let workload = |name: Option<&str>| -> LLMWorkload {
        let spec = name
            .map_or(json!({}), |name| json!({"workloadRef": {"apiVersion": "batch/v1", "kind": "Job", "name": name}}));
        serde_json::from_value(json!({"apiVersion": "heliotrope.dev/v1alpha1", "kind": "LLMWorkload", "metadata": {"name": "x"}, "spec": spec})).unwrap()
    };
    let verdict = |new, old| workload(new).validate_cel_update(&workload(old)).err().map(|errors| errors.to_string());
    assert_eq!(verdict(Some("a"), Some("a")), None);
    assert_eq!(verdict(Some("a"), None), None);
    for new in [Some("b"), None] {
        assert!(verdict(new, Some("a")).unwrap().contains("workloadRef can't be changed"), "{new:?}");
    }
}

#[test]
fn an_event_is_cancelled_and_ended_earlier_and_not_changed() {
    let of = |spec| -> CurtailmentEvent { serde_json::from_value(object("CurtailmentEvent", &spec)).unwrap() };
    for (old, new, error) in changes_of_events() {
        let verdict = of(new.clone()).validate_cel_update(&of(old.clone())).err().map(|errors| errors.to_string());
        match error {
            None => assert_eq!(verdict, None, "{old} -> {new}"),
            Some(error) => {
                assert!(
                    verdict.as_ref().is_some_and(|said| said.contains(error)),
                    "{old} -> {new}: {verdict:?}, wanted {error:?}"
                );
            }
        }
    }
}

#[test]
fn what_a_reduction_came_to_stays_what_it_is() {
    let with = |watts: Option<i64>| -> CurtailmentEvent {
        let mut object = object("CurtailmentEvent", &event(json!({"reducePercent": 30}), json!({})));
        object["status"] = watts.map_or(json!({"phase": "Active"}), |watts| json!({"targetWatts": watts}));
        serde_json::from_value(object).unwrap()
    };
    let verdict = |new, old| with(new).validate_cel_update(&with(old)).err().map(|errors| errors.to_string());
    assert_eq!(verdict(Some(24_000), None), None);
    assert_eq!(verdict(Some(24_000), Some(24_000)), None);
    for new in [Some(25_000), None] {
        assert!(verdict(new, Some(24_000)).unwrap().contains("targetWatts is looked up once"), "{new:?}");
    }
}
