//! One way to break each rule. A mutation answers whether it found something to break.

use his_operator::{
    names,
    objects::{Kind, kind},
};
use serde_json::{Value, json};

use crate::world::World;

type Damage = fn(&mut World) -> bool;

/// The mutation that belongs to an oracle.
pub fn of(oracle: &str) -> Damage {
    match oracle {
        "restricted" => |world| container(world, |container| container["securityContext"]["privileged"] = true.into()),
        "hardened" => |world| pod(world, |template| template["spec"]["automountServiceAccountToken"] = true.into()),
        "images_by_digest" => {
            |world| container(world, |container| container["image"] = "registry.example.org/chart:latest".into())
        }
        "resources" => |world| {
            container(world, |container| {
                container["resources"]["limits"].as_object_mut().unwrap().remove("ephemeral-storage");
            })
        },
        "secrets_as_files" => |world| {
            let variable =
                json!([{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "app-session-key", "key": "value"}}}]);
            container(world, |container| container["env"] = variable)
        },
        "references" => {
            |world| container(world, |container| container["volumeMounts"][0]["name"] = "no-such-volume".into())
        }
        "no_open_peer" => |world| {
            let named = world.objects.iter_mut().find(|object| object.name.starts_with("egress."));
            named.map(|policy| policy.body["spec"]["egress"][0]["to"] = json!([])).is_some()
        },
        "reach_as_declared" => |world| policy(world, TO_RESOLVER, |spec| spec["egress"][0]["ports"] = json!([])),
        "tried_as_allowed" => unexpected,
        "gate_stays_outside" => |world| {
            policy(world, "egress.webhook-gate.addresses.internet.", |spec| {
                let except = spec["egress"][0]["to"][0]["ipBlock"]["except"].as_array_mut().unwrap();
                except.retain(|range| range != "172.16.0.0/12");
            })
        },
        "names_as_declared" => let_in,
        "deny_before_workload" => deny_last,
        "no_wildcard" => |world| first(world, kind::ROLE_BINDING, |body| body["roleRef"]["name"] = "*".into()),
        "no_secret_value" => told,
        "owned_by_label_only" => |world| {
            first(world, kind::PERSISTENT_VOLUME_CLAIM, |body| {
                body["metadata"]["labels"].as_object_mut().unwrap().remove(names::RETAIN);
            })
        },
        "named_once" => |world| {
            let again = world.objects[0].clone();
            world.objects.push(again);
            true
        },
        "valid_names" => |world| container(world, |container| container["name"] = "n".repeat(64).into()),
        "quota_fits_a_surge" => {
            |world| first(world, kind::RESOURCE_QUOTA, |body| body["spec"]["hard"]["limits.memory"] = "64Mi".into())
        }
        "autoscalers_follow_users" => led_astray,
        "safe_rollouts" => led_in,
        other => panic!("oracle {other} has no mutant"),
    }
}

/// A probe that expects a declared connection to be closed.
fn unexpected(world: &mut World) -> bool {
    let jobs = world.objects.iter_mut().filter(|object| object.name.starts_with("network-probe-"));
    let words = jobs.filter_map(|job| job.body["spec"]["template"]["spec"]["containers"][0]["args"].as_array_mut());
    let declared =
        |word: &&mut Value| word.as_str().is_some_and(|word| word.contains("server") && word.contains("open"));
    let found = words.flatten().find(declared);
    found.map(|word| *word = word.as_str().unwrap().replace("open", "closed").into()).is_some()
}

/// A value where only a name belongs.
fn told(world: &mut World) -> bool {
    first(world, kind::SECRET, |body| body["stringData"] = json!({"password": "hunter2"}))
}

/// A way in beside the Gateway.
fn led_in(world: &mut World) -> bool {
    first(world, kind::SERVICE, |body| body["spec"]["type"] = "LoadBalancer".into())
}

/// The policy that denies all traffic after what it guards.
fn deny_last(world: &mut World) -> bool {
    let deny = world.objects.iter().position(|object| object.name == "default-deny");
    let workloads = world.objects.iter().any(crate::world::Rendered::runs_pods);
    let Some(deny) = deny.filter(|_| workloads) else { return false };
    let policy = world.objects.remove(deny);
    world.objects.push(policy);
    true
}

/// A name that may lead to a private address.
fn let_in(world: &mut World) -> bool {
    first(world, kind::CILIUM_NETWORK_POLICY, |body| {
        let ranges = body["spec"]["egressDeny"][0]["toCIDRSet"].as_array_mut().unwrap();
        ranges.retain(|range| range["cidr"] != "172.16.0.0/12");
    })
}

/// An autoscaler of pods that nobody is led to.
fn led_astray(world: &mut World) -> bool {
    first(world, kind::HORIZONTAL_POD_AUTOSCALER, |body| {
        let target = &mut body["spec"]["scaleTargetRef"]["name"];
        *target = target.as_str().unwrap().replace("-blue", "-green").into();
    })
}

/// Damages of policies that change who reaches whom, each of which the evaluator must see by itself. Between two components
/// both ends would have to be damaged, so these are at the ends of flows that leave the hospital or come into it.
pub const HOLES: &[(&str, Damage)] = &[
    ("nothing is denied", |world| {
        policy(world, "default-deny", |spec| spec["podSelector"] = json!({ "matchLabels": { "no": "body" } }))
    }),
    ("only what comes in is denied", |world| {
        policy(world, "default-deny", |spec| spec["policyTypes"] = json!(["Ingress"]))
    }),
    ("a sender is any pod", |world| {
        policy(world, FROM_GATEWAY, |spec| {
            spec["ingress"][0]["from"] = json!([{ "namespaceSelector": {}, "podSelector": {} }]);
        })
    }),
    ("a sender is everybody", |world| policy(world, FROM_GATEWAY, |spec| spec["ingress"][0]["from"] = json!([]))),
    ("a sender's namespace does not matter", |world| {
        policy(world, FROM_GATEWAY, |spec| spec["ingress"][0]["from"][0]["namespaceSelector"] = json!({}))
    }),
    ("a receiver is the internet", |world| {
        policy(world, TO_RESOLVER, |spec| spec["egress"][0]["to"] = json!([{ "ipBlock": { "cidr": "0.0.0.0/0" } }]))
    }),
    ("every port", |world| policy(world, TO_RESOLVER, |spec| spec["egress"][0]["ports"] = json!([]))),
    ("a range of ports", |world| {
        policy(world, FROM_GATEWAY, |spec| spec["ingress"][0]["ports"][0]["endPort"] = 65535.into())
    }),
    ("another port", |world| policy(world, FROM_GATEWAY, |spec| spec["ingress"][0]["ports"][0]["port"] = 22.into())),
    ("another protocol", |world| {
        policy(world, TO_RESOLVER, |spec| spec["egress"][0]["ports"][0]["protocol"] = "SCTP".into())
    }),
    ("another component's pods", |world| {
        policy(world, TO_RESOLVER, |spec| spec["podSelector"]["matchLabels"][names::COMPONENT] = "gate".into())
    }),
    ("every pod's", |world| policy(world, TO_RESOLVER, |spec| spec["podSelector"] = json!({}))),
    ("a component less", |world| policy(world, "ingress.database.", |spec| spec["ingress"] = json!([]))),
];

const FROM_GATEWAY: &str = "ingress.web.envoy-gateway-system.";
const TO_RESOLVER: &str = "egress.web.kube-system.resolver.";

/// The first policy whose name begins so, and that has rules where the damage is.
fn policy(world: &mut World, name: &str, damage: impl FnOnce(&mut Value)) -> bool {
    let found =
        world.objects.iter_mut().find(|object| object.kind == kind::NETWORK_POLICY && object.name.starts_with(name));
    found.map(|object| damage(&mut object.body["spec"])).is_some()
}

fn first(world: &mut World, kind: Kind, damage: impl FnOnce(&mut Value)) -> bool {
    world.objects.iter_mut().find(|object| object.kind == kind).map(|object| damage(&mut object.body)).is_some()
}

fn pod(world: &mut World, damage: impl FnOnce(&mut Value)) -> bool {
    let with_pods = |object: &&mut crate::world::Rendered| object.body["spec"]["template"].is_object();
    world.objects.iter_mut().find(with_pods).map(|object| damage(&mut object.body["spec"]["template"])).is_some()
}

fn container(world: &mut World, damage: impl FnOnce(&mut Value)) -> bool {
    pod(world, |template| damage(&mut template["spec"]["containers"][0]))
}
