use std::{collections::BTreeMap, sync::Arc};

use chrono::DateTime;
use serde_json::json;

use super::*;
use crate::{
    api::v1alpha1::{
        HospitalApplication, HospitalPlatform, HospitalTenant, HospitalTenantStatus, LiveRelease, ReleaseIdentity,
        ReleaseStatus, Rollout,
    },
    capabilities::{
        Capability, Contributions,
        release::{Release, candidate},
        serving::Pods,
    },
    conditions::{Proof, Verdicts},
    names,
    objects::{Observed, Problem, Ref},
    settings::Settings,
    tenant::{Inputs, Tenant},
};

const STEPS: [ReleaseStep; 8] = [
    ReleaseStep::Preflight,
    ReleaseStep::Expand,
    ReleaseStep::Surge,
    ReleaseStep::Gate,
    ReleaseStep::Cutover,
    ReleaseStep::Drain,
    ReleaseStep::Soak,
    ReleaseStep::Rollback,
];

/// A hospital whose component web may have two to six pods, and worker two to four.
struct World {
    tenant: HospitalTenant,
    platform: HospitalPlatform,
    application: HospitalApplication,
    observed: Observed,
}

impl World {
    fn new() -> Self {
        fn read<T: serde::de::DeserializeOwned>(text: &str) -> T {
            serde_yaml_ng::from_str(text).unwrap()
        }
        let mut world = Self {
            tenant: read(include_str!("../../../../tests/cases/fixtures/tenant.yaml")),
            platform: read(include_str!("../../../../tests/cases/fixtures/platform.yaml")),
            application: read(include_str!("../../../../tests/cases/fixtures/application.yaml")),
            observed: Observed::default(),
        };
        let bounds = |max: i32| json!({"replicas": {"min": 2, "max": max}, "autoscaling": {"cpuPercent": 70}});
        let web = world.application.spec.components.first().unwrap();
        let mut components = vec![with(web, bounds(6))];
        let worker = json!({"name": "worker", "role": "worker", "ports": [], "routes": [], "probes": null});
        components.push(with(&with(web, worker), bounds(4)));
        world.application.spec.components = components;
        world
    }

    fn at(mut self, release: ReleaseStatus) -> Self {
        self.tenant.status = Some(HospitalTenantStatus { release, ..HospitalTenantStatus::default() });
        self
    }

    fn version(mut self, version: &str) -> Self {
        self.tenant.spec.application.version = Some(version.to_owned());
        self
    }

    /// A Deployment with all its pods, of the release of this version.
    fn deployment(self, name: &str, version: &str, pods: i32) -> Self {
        let release = self.release(version).digest;
        let status = json!({
            "replicas": pods, "updatedReplicas": pods, "readyReplicas": pods, "availableReplicas": pods,
        });
        let body = json!({"spec": {"replicas": pods}, "status": status});
        self.object(kind::DEPLOYMENT, name, json!({names::RELEASE: release}), body)
    }

    /// Everybody inside of the hospital leads users to this colour.
    fn led_to(self, colour: Colour) -> Self {
        let body = json!({"spec": {"selector": {names::COLOUR: colour.as_str()}}});
        self.object(kind::SERVICE, "web", json!({}), body)
    }

    fn autoscaler(self, name: &str, conditions: serde_json::Value) -> Self {
        self.object(kind::HORIZONTAL_POD_AUTOSCALER, name, json!({}), json!({"status": {"conditions": conditions}}))
    }

    fn object(
        mut self,
        kind: crate::objects::Kind,
        name: &str,
        labels: serde_json::Value,
        body: serde_json::Value,
    ) -> Self {
        let mut live = DynamicObject::new(name, &kind.api_resource()).within("his-st-elsewhere");
        live.metadata.labels = serde_json::from_value(labels).unwrap();
        live.data = body;
        let at = Ref { kind, namespace: "his-st-elsewhere".to_owned(), name: name.to_owned() };
        self.observed.objects.insert(at, Arc::new(live));
        self
    }

    fn tenant(&self) -> Tenant {
        let inputs = Inputs {
            tenant: Arc::new(self.tenant.clone()),
            settings: Settings::default(),
            now: DateTime::parse_from_rfc3339("2030-01-31T18:00:00Z").unwrap().to_utc(),
        };
        let observed = Observed {
            platform: Some(Arc::new(self.platform.clone())),
            application: Some(Arc::new(self.application.clone())),
            ..self.observed.clone()
        };
        Tenant::validate(&inputs, &observed).unwrap()
    }

    fn release(&self, version: &str) -> ReleaseIdentity {
        let mut then = self.tenant.clone();
        then.spec.application.version = Some(version.to_owned());
        let world = World {
            tenant: then,
            observed: Observed::default(),
            platform: self.platform.clone(),
            application: self.application.clone(),
        };
        candidate::wanted(&world.tenant(), &ReleaseStatus::default()).unwrap().identity
    }

    /// Plans, and asks something of the plan.
    fn ask<T>(&self, question: impl FnOnce(&Plan, Input<'_>, &Contributions) -> T) -> T {
        let tenant = self.tenant();
        let input = Input { tenant: &tenant, observed: &self.observed };
        let mut shared = Contributions::default();
        let plan = Release::plan(input, &mut shared, &Verdicts::new()).unwrap();
        question(&plan, input, &shared)
    }

    fn rendered(&self) -> Vec<Object> {
        let object = |desired| match desired {
            Desired::Apply(object) => Some(object),
            _ => None,
        };
        self.ask(|plan, input, shared| Release::render(plan, input, shared).into_iter().filter_map(object).collect())
    }

    /// Numbers of pods that are rendered, by Deployment.
    fn pods(&self) -> BTreeMap<String, i64> {
        let deployments = self.rendered().into_iter().filter(|object| object.at.kind == kind::DEPLOYMENT);
        deployments.map(|object| (object.at.name, object.body["spec"]["replicas"].as_i64().unwrap())).collect()
    }

    /// Which Deployment each autoscaler moves, and between which numbers.
    fn autoscalers(&self) -> Vec<(String, String, [i64; 2])> {
        let all = self.rendered().into_iter().filter(|object| object.at.kind == kind::HORIZONTAL_POD_AUTOSCALER);
        let told = all.map(|object| {
            let spec = &object.body["spec"];
            let target = spec["scaleTargetRef"]["name"].as_str().unwrap().to_owned();
            (object.at.name, target, ["minReplicas", "maxReplicas"].map(|bound| spec[bound].as_i64().unwrap()))
        });
        told.collect()
    }

    fn message(&self) -> (Proof, String) {
        self.ask(|plan, input, _| {
            let verdict = Release::assess(plan, input);
            (verdict.proof, verdict.message)
        })
    }
}

fn with(component: &crate::api::v1alpha1::Component, patch: serde_json::Value) -> crate::api::v1alpha1::Component {
    let mut value = serde_json::to_value(component).unwrap();
    for (key, inner) in patch.as_object().unwrap() {
        value[key] = inner.clone();
    }
    serde_json::from_value(value).unwrap()
}

/// Version 1.0.0 serves in blue with that many pods.
fn serving(pods: i32) -> World {
    let world = World::new();
    let live = LiveRelease { colour: Colour::Blue, release: world.release("1.0.0") };
    let state = ReleaseStatus { live: Some(live), ..ReleaseStatus::default() };
    let world = world.at(state).led_to(Colour::Blue);
    world.deployment("web-blue", "1.0.0", pods).deployment("worker", "1.0.0", 2)
}

/// Version 2.0.0 comes in green, with that many pods, while 1.0.0 has others in blue.
fn releasing(step: ReleaseStep, blue: i32, green: i32) -> World {
    let world = serving(blue).version("2.0.0");
    let release = world.release("2.0.0");
    let mut state = world.tenant.status.clone().unwrap().release;
    let since = "2030-01-31T17:59:30Z".to_owned();
    state.rollout = Some(Rollout {
        colour: Colour::Green,
        release,
        step,
        started: since.clone(),
        since,
        number: 1,
        ..Rollout::default()
    });
    let led = if (ReleaseStep::Cutover..=ReleaseStep::Soak).contains(&step) { Colour::Green } else { Colour::Blue };
    world.at(state).led_to(led).deployment("web-green", "2.0.0", green)
}

#[test]
fn the_number_that_an_autoscaler_chose_is_kept_and_one_outside_of_its_bounds_is_put_right() {
    for (live, kept) in [(0, 2), (1, 2), (2, 2), (3, 3), (6, 6), (7, 6), (100, 6)] {
        assert_eq!(serving(live).pods()["web-blue"], kept, "web has {live}");
        let worker = serving(2).deployment("worker", "1.0.0", live).pods()["worker"];
        assert_eq!(worker, kept.min(4), "worker has {live}");
    }
}

#[test]
fn a_number_that_nobody_may_move_is_put_back() {
    for live in [1, 2, 3, 7] {
        let mut world = serving(live);
        world.application.spec.components.iter_mut().for_each(|component| component.autoscaling = None);
        assert_eq!(world.pods()["web-blue"], 2, "web has {live}");
        assert_eq!(world.autoscalers(), []);
    }
}

#[test]
fn a_deployment_that_has_gone_comes_back_with_the_least_number() {
    let mut world = serving(5);
    world.observed.objects.retain(|at, _| at.kind != kind::DEPLOYMENT);
    assert_eq!(world.pods(), [("web-blue".to_owned(), 2), ("worker".to_owned(), 2)].into());
}

#[test]
fn a_release_and_its_objects_are_the_same_whatever_the_number_of_pods() {
    let deployment = |pods: i32| {
        let rendered = serving(pods).rendered();
        rendered.into_iter().find(|object| object.at.name == "web-blue" && object.at.kind == kind::DEPLOYMENT).unwrap()
    };
    assert_ne!(deployment(2).body, deployment(5).body);
    assert_eq!(deployment(2).digest(), deployment(5).digest());

    let of = |components: fn(&mut crate::api::v1alpha1::Component)| {
        let mut world = World::new();
        world.application.spec.components.iter_mut().for_each(components);
        world.release("1.0.0")
    };
    assert_eq!(of(|_| ()), of(|component| component.autoscaling = None));
    assert_eq!(of(|_| ()), of(|component| component.replicas.as_mut().unwrap().max = Some(40)));
}

#[test]
fn new_pods_come_up_as_many_as_serve_and_old_ones_stay_as_many_as_they_were() {
    for step in STEPS {
        let world = releasing(step, 5, 3);
        let (blue, green) = (world.pods().get("web-blue").copied(), world.pods().get("web-green").copied());
        let expected = match step {
            ReleaseStep::Preflight | ReleaseStep::Expand => None,
            ReleaseStep::Surge | ReleaseStep::Gate | ReleaseStep::Cutover => Some(5),
            ReleaseStep::Drain | ReleaseStep::Soak | ReleaseStep::Rollback => Some(3),
        };
        assert_eq!((blue, green), (Some(5), expected), "{step}");
    }
    // Nobody has made them yet.
    let mut world = releasing(ReleaseStep::Surge, 4, 1);
    world.observed.objects.retain(|at, _| at.name != "web-green");
    assert_eq!(world.pods()["web-green"], 4);
}

#[test]
fn one_autoscaler_moves_the_pods_that_users_are_led_to_and_never_others() {
    for step in STEPS {
        let target = match step {
            ReleaseStep::Drain | ReleaseStep::Soak => "web-green",
            _ => "web-blue",
        };
        let expected = [("web", target, [2, 6]), ("worker", "worker", [2, 4])];
        let expected = expected.map(|(name, target, bounds)| (name.to_owned(), target.to_owned(), bounds));
        assert_eq!(releasing(step, 4, 4).autoscalers(), expected, "{step}");
    }
}

#[test]
fn what_cannot_be_rendered_any_more_keeps_its_autoscalers_and_users_keep_theirs() {
    let mut world = serving(4).version("2.0.0");
    for name in ["web", "worker"] {
        world = world.object(kind::HORIZONTAL_POD_AUTOSCALER, name, json!({names::CAPABILITY: "release"}), json!({}));
    }
    world.application.spec.components.iter_mut().for_each(|component| component.command = vec!["other".to_owned()]);
    let kept = world.ask(|plan, input, shared| {
        let kept = |desired| match desired {
            Desired::Keep(at) if at.kind == kind::HORIZONTAL_POD_AUTOSCALER => Some(at.name),
            _ => None,
        };
        Release::render(plan, input, shared).into_iter().filter_map(kept).collect::<Vec<_>>()
    });
    assert_eq!(kept, ["worker"]);
    assert_eq!(world.autoscalers(), [("web".to_owned(), "web-blue".to_owned(), [2, 6])]);
}

#[test]
fn users_who_cannot_be_led_back_yet_keep_the_autoscaler_with_them() {
    let world = releasing(ReleaseStep::Rollback, 4, 4).led_to(Colour::Green);
    let body =
        json!({"spec": {"replicas": 4}, "status": {"replicas": 4, "updatedReplicas": 4, "availableReplicas": 1}});
    let labels = json!({names::RELEASE: world.release("1.0.0").digest});
    let world = world.object(kind::DEPLOYMENT, "web-blue", labels, body);
    assert_eq!(world.autoscalers()[0].1, "web-green");
}

#[test]
fn before_a_first_release_has_come_up_nothing_moves_its_pods() {
    for step in [ReleaseStep::Surge, ReleaseStep::Gate, ReleaseStep::Cutover] {
        let world = World::new();
        let release = world.release("1.0.0");
        let rollout = Some(Rollout { colour: Colour::Blue, release, step, ..Rollout::default() });
        let world = world.at(ReleaseStatus { rollout, ..ReleaseStatus::default() });
        assert_eq!(world.pods()["web-blue"], 2, "{step}");
        let of_web: Vec<_> = world.autoscalers().into_iter().filter(|(name, ..)| name == "web").collect();
        assert_eq!(of_web, [], "{step}");
    }
}

#[test]
fn the_least_number_is_the_hospitals_and_a_floor_above_the_greatest_is_kept() {
    let mut sized = serving(2);
    sized.tenant.spec.components = vec![serde_json::from_value(json!({"name": "web", "replicas": 4})).unwrap()];
    assert_eq!(sized.autoscalers()[0].2, [4, 6]);
    assert_eq!(sized.pods()["web-blue"], 4);

    let mut floored = serving(2);
    floored.platform.spec.floors = Some(serde_json::from_value(json!({"replicas": 9})).unwrap());
    assert_eq!(floored.autoscalers()[0].2, [9, 9]);
}

#[test]
fn the_quota_is_asked_for_the_greatest_number() {
    let pods = serving(2).ask(|_, _, shared| shared.demands.iter().map(|demand| demand.pods).collect::<Vec<_>>());
    assert_eq!(pods[..2], [6, 4]);
}

#[test]
fn a_release_begins_only_where_the_quota_has_room_for_the_new_pods_and_for_those_that_ask_them() {
    let shortage = |pods: i32| {
        let hard = json!({"limits.cpu": "100", "limits.memory": "100Gi", "pods": pods.to_string()});
        let used = json!({"limits.cpu": "4", "limits.memory": "4Gi", "pods": "4"});
        let quota = json!({"status": {"hard": hard, "used": used}});
        let world = releasing(ReleaseStep::Preflight, 2, 0).object(kind::RESOURCE_QUOTA, "hospital", json!({}), quota);
        world.ask(|plan, input, _| seen::seen(plan, input).shortage)
    };
    // Two pods of web, and the gate; nobody watches where there is no route.
    assert_eq!(shortage(7), None);
    assert!(shortage(6).unwrap().contains("pods of the quota"));
}

#[test]
fn a_disruption_budget_stays_however_few_pods_there_are() {
    let mut world = serving(1);
    world.platform.spec.floors = Some(serde_json::from_value(json!({"replicas": 1})).unwrap());
    world.application.spec.components[0].replicas.as_mut().unwrap().min = 1;
    assert_eq!(world.pods()["web-blue"], 1);
    let budget = world.rendered().into_iter().find(|object| object.at.kind == kind::POD_DISRUPTION_BUDGET).unwrap();
    let spec = &budget.body["spec"];
    assert_eq!((&spec["maxUnavailable"], &spec["minAvailable"]), (&json!(1), &serde_json::Value::Null));
}

#[test]
fn pods_that_an_autoscaler_asks_for_beyond_the_least_are_waited_for_by_nobody() {
    let cases = [
        // Wanted, there, of the newest template, available.
        ((6, 2, 2, 2), true),
        ((6, 5, 5, 4), true),
        ((2, 6, 6, 6), true),
        ((4, 4, 4, 1), false),
        ((4, 4, 3, 4), false),
    ];
    for ((wanted, there, newest, available), enough) in cases {
        let status = json!({"replicas": there, "updatedReplicas": newest, "availableReplicas": available});
        let world = serving(2);
        let labels = json!({names::RELEASE: world.release("1.0.0").digest});
        let body = json!({"spec": {"replicas": wanted}, "status": status});
        let world = world.object(kind::DEPLOYMENT, "web-blue", labels, body);
        let expected = if enough { Proof::Proved } else { Proof::Failed };
        assert_eq!(world.message().0, expected, "{wanted} {there} {newest} {available}: {}", world.message().1);
    }
}

#[test]
fn a_pod_that_cannot_run_is_a_failure_unless_only_a_node_is_missing() {
    for (reason, expected) in [("CrashLoopBackOff", Proof::Failed), ("Unschedulable", Proof::Proved)] {
        let mut world = serving(2);
        let labels = json!({names::RELEASE: world.release("1.0.0").digest});
        let status = json!({"replicas": 3, "updatedReplicas": 3, "availableReplicas": 2});
        world = world.object(kind::DEPLOYMENT, "web-blue", labels, json!({"spec": {"replicas": 3}, "status": status}));
        world.observed.problems = vec![Problem {
            component: "web".to_owned(),
            pod: "web-blue-7".to_owned(),
            reason: reason.to_owned(),
            message: "so it is".to_owned(),
        }];
        let (proof, message) = world.message();
        assert_eq!(proof, expected, "{message}");
        assert!(message.contains("web-blue-7"), "{message}");
    }
}

#[test]
fn during_a_release_the_new_pods_must_all_be_there_before_users_come_and_not_after() {
    for (step, expected) in [(ReleaseStep::Surge, false), (ReleaseStep::Gate, false), (ReleaseStep::Soak, true)] {
        let world = releasing(step, 4, 4);
        let labels = json!({names::RELEASE: world.release("2.0.0").digest});
        let status = json!({"replicas": 4, "updatedReplicas": 4, "availableReplicas": 2});
        let world =
            world.object(kind::DEPLOYMENT, "web-green", labels, json!({"spec": {"replicas": 4}, "status": status}));
        let complete = world.ask(|plan, input, _| seen::seen(plan, input).new == Pods::Complete);
        assert_eq!(complete, expected, "{step}");
    }
}

#[test]
fn what_an_autoscaler_says_of_itself_is_told_and_is_no_failure() {
    let condition = |kind: &str, status: &str, reason: &str| json!({"type": kind, "status": status, "reason": reason});
    let able = condition("AbleToScale", "True", "ReadyForNewScale");
    let cases = [
        (json!([]), "web may have 2 to 6 pods, but its autoscaler was not seen at work yet"),
        (
            json!([able, condition("ScalingActive", "True", "ValidMetricFound")]),
            "an autoscaler keeps web between 2 and 6 pods",
        ),
        (
            json!([able, condition("ScalingActive", "False", "FailedGetResourceMetric")]),
            "web keeps the pods that it has, because its autoscaler is not at work (FailedGetResourceMetric)",
        ),
        (
            json!([condition("AbleToScale", "False", "FailedGetScale")]),
            "web keeps the pods that it has, because its autoscaler is not at work (FailedGetScale)",
        ),
    ];
    for (conditions, told) in cases {
        let (proof, message) = serving(3).autoscaler("web", conditions).message();
        assert_eq!(proof, Proof::Proved, "{message}");
        assert!(message.contains("every component runs version 1.0.0") && message.contains(told), "{message}");
    }
}

#[test]
fn pods_that_the_quota_refuses_are_told() {
    let world = serving(2);
    let labels = json!({names::RELEASE: world.release("1.0.0").digest});
    let failure = json!({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"});
    let status = json!({"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, "conditions": [failure]});
    let body = json!({"spec": {"replicas": 4}, "status": status});
    let (proof, message) = world.object(kind::DEPLOYMENT, "web-blue", labels, body).message();
    assert_eq!(proof, Proof::Proved, "{message}");
    assert!(message.contains("more pods of web-blue are refused (FailedCreate)"), "{message}");
}
