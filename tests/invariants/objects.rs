//! Oracles about everything that is not a pod.

use std::collections::{BTreeMap, BTreeSet};

use his_operator::{
    capabilities::registry,
    names,
    objects::{Kind, kind},
};
use serde_json::Value;

use crate::{
    amounts::milli,
    world::{Rendered, World, containers, kinds_of},
};

type Finding = Result<(), String>;

fn ensure(holds: bool, at: &Rendered, what: impl AsRef<str>) -> Finding {
    if holds { Ok(()) } else { Err(format!("{}: {}", at.at(), what.as_ref())) }
}

/// Kinds that hold patient data, or what is needed to reach or read it.
const DATA: [Kind; 5] =
    [kind::NAMESPACE, kind::PERSISTENT_VOLUME_CLAIM, kind::SECRET, kind::CNPG_CLUSTER, kind::ROLE_BINDING];

/// The metadata service, and the range that it is in.
const METADATA: [&str; 2] = ["169.254.169.254/32", "169.254.0.0/16"];

pub fn no_open_peer(world: &World) -> Finding {
    for policy in world.of_kind(kind::NETWORK_POLICY) {
        if world.network_off && policy.name == "default-deny" {
            continue;
        }
        for (rules, side) in [("ingress", "from"), ("egress", "to")] {
            for rule in policy.body["spec"][rules].as_array().into_iter().flatten() {
                let peers = rule[side].as_array();
                let Some(peers) = peers.filter(|peers| !peers.is_empty()) else {
                    return Err(format!("{}: a rule of {rules} without peers means everybody", policy.at()));
                };
                for peer in peers {
                    ensure(closed(peer), policy, format!("a peer of {rules} means everybody: {peer}"))?;
                }
                let ports = rule["ports"].as_array().is_some_and(|ports| {
                    !ports.is_empty() && ports.iter().all(|port| port["port"].is_i64() && port["endPort"].is_null())
                });
                ensure(ports, policy, format!("a rule of {rules} for any port"))?;
            }
        }
        let selects = policy.body["spec"]["podSelector"]["matchLabels"][names::COMPONENT].is_string();
        ensure(selects || policy.name == "default-deny", policy, "selects every pod")?;
    }
    Ok(())
}

fn closed(peer: &Value) -> bool {
    let block = peer["ipBlock"]["cidr"].as_str();
    let pods = &peer["podSelector"]["matchLabels"];
    let spaces = &peer["namespaceSelector"]["matchLabels"];
    let named = |labels: &Value| labels.as_object().is_some_and(|labels| !labels.is_empty());
    match block {
        // Where somebody has said why; never without the metadata service left out.
        Some("0.0.0.0/0") => peer["ipBlock"]["except"]
            .as_array()
            .is_some_and(|out| METADATA.iter().any(|service| out.contains(&(*service).into()))),
        Some(cidr) => !cidr.ends_with("/0"),
        None if peer["namespaceSelector"].is_null() => named(pods),
        None => named(spaces),
    }
}

pub fn deny_before_workload(world: &World) -> Finding {
    let deny = |object: &Rendered| {
        let spec = &object.body["spec"];
        let types = |wanted: &str| spec["policyTypes"].as_array().is_some_and(|types| types.contains(&wanted.into()));
        let rules = |list: &str| spec[list].as_array().is_some_and(|rules| !rules.is_empty());
        let open = rules("ingress") || rules("egress");
        let all = spec["podSelector"] == Value::Object(serde_json::Map::new());
        object.is(kind::NETWORK_POLICY) && all && types("Ingress") && types("Egress") && (!open || world.network_off)
    };
    let denied = world.objects.iter().position(deny).ok_or("nothing denies all traffic")?;
    let workload = world.objects.iter().position(Rendered::runs_pods);
    let namespace = world.objects.iter().position(|object| object.is(kind::NAMESPACE));
    if namespace.is_none_or(|namespace| namespace > denied) {
        return Err("the namespace is not made before its deny policy".to_owned());
    }
    match workload {
        Some(workload) if workload < denied => {
            Err(format!("{} comes before the deny policy", world.objects[workload].at()))
        }
        _ => Ok(()),
    }
}

pub fn no_wildcard(world: &World) -> Finding {
    for object in &world.objects {
        let rbac = object.body["apiVersion"].as_str().is_some_and(|version| version.starts_with("rbac."));
        if rbac {
            ensure(!object.body.to_string().contains("\"*\""), object, "a wildcard")?;
            ensure(object.is(kind::ROLE_BINDING), object, "is no RoleBinding")?;
            ensure(object.body["roleRef"]["name"] == names::TENANT_ROLE, object, "binds another role")?;
            let subjects = object.body["subjects"].as_array().cloned().unwrap_or_default();
            let one = subjects.len() == 1 && subjects[0]["kind"] == "ServiceAccount";
            ensure(one, object, "binds somebody besides the operator")?;
        }
        for host in object.body["spec"]["hostnames"].as_array().into_iter().flatten() {
            ensure(!host.as_str().unwrap_or_default().contains('*'), object, "a host with a wildcard")?;
        }
    }
    Ok(())
}

/// No value of a secret, and no place of one that was not resolved.
pub fn no_secret_value(world: &World) -> Finding {
    for object in &world.objects {
        let text = object.body.to_string();
        ensure(!text.contains("stringData"), object, "stringData")?;
        ensure(!text.contains('\u{F0000}') && !text.contains('\u{F0001}'), object, "an unresolved place of a secret")?;
        if object.is(kind::SECRET) {
            ensure(object.generated, object, "a Secret with content")?;
            ensure(object.body["data"].is_null(), object, "data")?;
        }
    }
    Ok(())
}

pub fn owned_by_label_only(world: &World) -> Finding {
    let known: BTreeSet<&str> = registry().iter().map(|capability| capability.name).collect();
    for object in &world.objects {
        let metadata = &object.body["metadata"];
        ensure(metadata["ownerReferences"].is_null(), object, "an owner reference: it would be collected")?;
        ensure(
            metadata["annotations"][names::TENANT_UID] == world.tenant_uid.as_str(),
            object,
            "not the tenant's UID",
        )?;
        ensure(object.label(names::TENANT) == Some(&world.tenant_name), object, "not the tenant's label")?;
        ensure(object.label(names::MANAGED_BY) == Some(names::PRODUCT), object, "not managed by the operator")?;
        ensure(known.contains(object.capability()), object, "no capability's label")?;
        ensure(
            kinds_of(object.capability()).contains(&object.kind),
            object,
            "a kind that its capability does not declare",
        )?;
        let here = object.namespace == names::namespace(&world.tenant_name);
        let tries = object.namespace == names::PROBES && object.name.starts_with("network-probe-");
        ensure(here || tries || object.namespace.is_empty(), object, "another namespace")?;
        if DATA.contains(&object.kind) {
            ensure(object.label(names::RETAIN) == Some("true"), object, "holds data and is not retained")?;
        }
    }
    Ok(())
}

pub fn named_once(world: &World) -> Finding {
    let mut seen = BTreeSet::new();
    world.objects.iter().try_for_each(|object| ensure(seen.insert(object.at()), object, "rendered twice"))
}

/// Names that the API server takes: labels where pods, volumes and services are named, subdomains elsewhere.
pub fn valid_names(world: &World) -> Finding {
    for object in &world.objects {
        let longest = if object.is(kind::STATEFUL_SET) { 52 } else { 63 };
        let as_label =
            [kind::NAMESPACE, kind::SERVICE, kind::DEPLOYMENT, kind::JOB, kind::STATEFUL_SET, kind::SERVICE_ACCOUNT];
        let valid =
            if as_label.contains(&object.kind) { label(&object.name, longest) } else { subdomain(&object.name) };
        ensure(valid, object, "an invalid name")?;
        every_label(object, &object.body)?;
        for key in object.body["data"].as_object().into_iter().flatten().map(|(key, _)| key) {
            let valid = key.len() <= 253 && key.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
            ensure(valid, object, format!("an invalid key {key}"))?;
        }
    }
    for (object, template) in world.pods() {
        let volumes = template["spec"]["volumes"].as_array().into_iter().flatten();
        for named in volumes.chain(containers(template)) {
            let name = named["name"].as_str().unwrap_or_default();
            ensure(label(name, 63), object, format!("an invalid name {name}"))?;
        }
        let ports = containers(template).flat_map(|container| container["ports"].as_array().into_iter().flatten());
        for port in ports {
            ensure(label(port["name"].as_str().unwrap_or_default(), 15), object, "an invalid name of a port")?;
        }
        for variable in containers(template).flat_map(|c| c["env"].as_array().into_iter().flatten()) {
            let name = variable["name"].as_str().unwrap_or_default();
            let valid = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
            ensure(valid, object, format!("an invalid name of a variable: {name}"))?;
        }
    }
    Ok(())
}

fn every_label(object: &Rendered, value: &Value) -> Finding {
    match value {
        Value::Object(map) => map.iter().try_for_each(|(key, inner)| match (key.as_str(), inner) {
            ("labels" | "matchLabels", Value::Object(labels)) => labels.values().try_for_each(|text| {
                let text = text.as_str().unwrap_or("?");
                let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
                let inside = text.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
                let valid = text.is_empty() || (inside && ends(text.chars().next()) && ends(text.chars().last()));
                ensure(text.len() <= 63 && valid, object, format!("an invalid value of a label: {text}"))
            }),
            _ => every_label(object, inner),
        }),
        Value::Array(list) => list.iter().try_for_each(|inner| every_label(object, inner)),
        _ => Ok(()),
    }
}

fn label(name: &str, longest: usize) -> bool {
    let allowed = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    !name.is_empty() && name.len() <= longest && allowed && !name.starts_with('-') && !name.ends_with('-')
}

fn subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(|part| label(part, 253))
}

/// All pods at once, and one more of each workload while it is replaced.
pub fn quota_fits_a_surge(world: &World) -> Finding {
    if world.tenant.isolation.as_ref().is_some_and(|isolation| isolation.quota.is_some()) {
        return Ok(());
    }
    let mut need: BTreeMap<&str, i128> = BTreeMap::new();
    for object in &world.objects {
        let (pods, limits) = if object.is(kind::CNPG_CLUSTER) {
            let pods = object.body["spec"]["instances"].as_i64().unwrap_or(1);
            let limit = |what: &str| milli(object.body["spec"]["resources"]["limits"][what].as_str().unwrap());
            (pods + 1, [limit("cpu"), limit("memory")])
        } else if object.runs_pods() {
            let template = &object.body["spec"]["template"];
            let of = |list: &str, what: &str| {
                let containers = template["spec"][list].as_array().cloned().unwrap_or_default();
                containers.iter().map(|c| milli(c["resources"]["limits"][what].as_str().unwrap())).collect::<Vec<_>>()
            };
            let most = |what: &str| {
                let main: i128 = of("containers", what).into_iter().sum();
                main.max(of("initContainers", what).into_iter().max().unwrap_or_default())
            };
            let grown =
                world.autoscaler_of(object).and_then(|autoscaler| autoscaler.body["spec"]["maxReplicas"].as_i64());
            let pods = grown.or(object.body["spec"]["replicas"].as_i64()).unwrap_or(1);
            (pods + 1, [most("cpu"), most("memory")])
        } else {
            continue;
        };
        *need.entry("pods").or_default() += i128::from(pods) * 1000;
        *need.entry("limits.cpu").or_default() += i128::from(pods) * limits[0];
        *need.entry("limits.memory").or_default() += i128::from(pods) * limits[1];
    }
    let quota = world.of_kind(kind::RESOURCE_QUOTA).next().ok_or("no ResourceQuota")?;
    for (what, need) in need {
        let hard = milli(quota.body["spec"]["hard"][what].as_str().unwrap_or_default());
        ensure(need <= hard, quota, format!("{what}: {} are needed, {} allowed", need / 1000, hard / 1000))?;
    }
    Ok(())
}

/// A component has one autoscaler if it says so and none otherwise. It moves the pods that users are led to, between numbers
/// that the component allows, and what is rendered is between them.
pub fn autoscalers_follow_users(world: &World) -> Finding {
    let mut moved = BTreeSet::new();
    for autoscaler in world.of_kind(kind::HORIZONTAL_POD_AUTOSCALER) {
        let spec = &autoscaler.body["spec"];
        let target = &spec["scaleTargetRef"];
        let name = target["name"].as_str().unwrap_or_default();
        let deployment = world.of_kind(kind::DEPLOYMENT).find(|deployment| deployment.name == name);
        let kept = world.existing().iter().any(|(_, at)| *at == format!("Deployment/{}/{name}", autoscaler.namespace));
        ensure(
            target["kind"] == "Deployment" && target["apiVersion"] == "apps/v1" && kept,
            autoscaler,
            "moves nothing",
        )?;
        let component = world.component(name).ok_or_else(|| format!("{}: no component", autoscaler.at()))?;
        ensure(component.autoscaling.is_some(), autoscaler, "nobody has asked for it")?;
        ensure(moved.insert(component.name.clone()), autoscaler, "is the second one")?;
        let (least, most) = (spec["minReplicas"].as_i64().unwrap(), spec["maxReplicas"].as_i64().unwrap());
        let allowed = component.replicas.as_ref().and_then(|replicas| replicas.max).unwrap_or(100);
        ensure((1..=most).contains(&least), autoscaler, "bounds the wrong way round")?;
        ensure(most == i64::from(allowed).max(least), autoscaler, format!("{most} pods, where {allowed} are allowed"))?;
        if let Some(deployment) = deployment {
            let pods = deployment.body["spec"]["replicas"].as_i64().unwrap();
            ensure((least..=most).contains(&pods), deployment, format!("{pods} pods, outside of {least} to {most}"))?;
            let budget = world.of_kind(kind::POD_DISRUPTION_BUDGET).any(|budget| budget.name == deployment.name);
            ensure(budget || most == 1, deployment, "has no disruption budget")?;
        }
        let leading = world.of_kind(kind::SERVICE).find(|service| service.name == component.name);
        let colour = leading.and_then(|service| service.body["spec"]["selector"][names::COLOUR].as_str());
        let led = colour.map_or_else(|| component.name.clone(), |colour| format!("{}-{colour}", component.name));
        ensure(led == name, autoscaler, format!("moves {name}, and users are led to {led}"))?;
    }
    let serves = |name: &str| {
        world.of_kind(kind::DEPLOYMENT).any(|object| world.component(&object.name).is_some_and(|c| c.name == name))
    };
    let asked = world.application.components.iter().filter(|component| component.autoscaling.is_some());
    for component in asked.filter(|component| serves(&component.name) && component.singleton != Some(true)) {
        let led =
            component.ports.is_empty() || world.of_kind(kind::SERVICE).any(|service| service.name == component.name);
        if led && !moved.contains(&component.name) {
            return Err(format!("component {} has no autoscaler", component.name));
        }
    }
    Ok(())
}

/// Inside only; new pods before old ones end; nothing runs twice that must not; no drain is blocked.
pub fn safe_rollouts(world: &World) -> Finding {
    for service in world.of_kind(kind::SERVICE) {
        ensure(service.body["spec"]["type"] == "ClusterIP", service, "is reachable from outside")?;
        ensure(service.body["spec"]["externalIPs"].is_null(), service, "has external addresses")?;
    }
    for budget in world.of_kind(kind::POD_DISRUPTION_BUDGET) {
        let spec = &budget.body["spec"];
        ensure(spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow", budget, "sick pods block a drain")?;
        ensure(spec["minAvailable"].is_null() && spec["maxUnavailable"] == 1, budget, "may block a drain")?;
    }
    for deployment in world.of_kind(kind::DEPLOYMENT) {
        let spec = &deployment.body["spec"];
        let component = world.component(&deployment.name);
        let singleton = component.is_some_and(|c| c.singleton == Some(true));
        // Nobody connects to it, and no job may run in two versions at once.
        let worker = component.is_some_and(|c| c.ports.is_empty() && c.strategy.is_none());
        let rolling = &spec["strategy"]["rollingUpdate"];
        if singleton || worker {
            ensure(!singleton || spec["replicas"] == 1, deployment, "may run twice")?;
            ensure(spec["strategy"]["type"] == "Recreate", deployment, "may run twice")?;
        } else {
            ensure(
                rolling["maxUnavailable"] == 0 && rolling["maxSurge"] == 1,
                deployment,
                "ends pods before new ones are ready",
            )?;
            let budget = world.of_kind(kind::POD_DISRUPTION_BUDGET).any(|budget| budget.name == deployment.name);
            ensure(budget || spec["replicas"] == 1, deployment, "has no disruption budget")?;
        }
    }
    for job in world.of_kind(kind::JOB) {
        let spec = &job.body["spec"];
        let bounded = spec["activeDeadlineSeconds"].is_i64() && spec["ttlSecondsAfterFinished"].is_i64();
        ensure(spec["backoffLimit"] == 0 && bounded, job, "is retried or never ends")?;
        let version = |object: &Rendered| object.body["metadata"]["labels"][names::APP_VERSION].clone();
        let asks = |name: &&str| job.body["metadata"]["labels"][names::COMPONENT] == **name;
        let step = !["gate", "network-probe"].iter().any(asks);
        let same = world.of_kind(kind::DEPLOYMENT).any(|deployment| version(deployment) == version(job));
        ensure(!(step && same), job, "runs beside pods of its own version")?;
    }
    Ok(())
}
