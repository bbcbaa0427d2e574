//! Rules of hardening that no other test and no tool looks at, over raw objects.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::everything::Set;

type Finding = Result<(), String>;

fn ensure(holds: bool, object: &Value, what: impl AsRef<str>) -> Finding {
    let at = || format!("{} {}", object["kind"], object["metadata"]["name"]);
    if holds { Ok(()) } else { Err(format!("{}: {}", at(), what.as_ref())) }
}

fn of_kind<'a>(set: &'a Set, kinds: &'a [&str]) -> impl Iterator<Item = &'a Value> {
    set.objects.iter().filter(|object| kinds.iter().any(|kind| object["kind"] == *kind))
}

fn workloads(set: &Set) -> impl Iterator<Item = (&Value, &Value)> {
    of_kind(set, &["Deployment", "StatefulSet", "Job"]).map(|object| (object, &object["spec"]["template"]["spec"]))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn mebibytes(quantity: &Value) -> u64 {
    let text = quantity.as_str().unwrap_or_else(|| panic!("{quantity} is no quantity"));
    let scaled = |unit: &str, factor: u64| text.strip_suffix(unit).map(|n| n.parse::<u64>().unwrap() * factor);
    scaled("Mi", 1).or_else(|| scaled("Gi", 1024)).unwrap_or_else(|| panic!("{text} has another unit"))
}

/// A pod whose directories are full, and that has logged a little, is not evicted for it.
pub fn disk_covers_directories(set: &Set) -> Finding {
    workloads(set).try_for_each(|(object, pod)| {
        let directories = list(&pod["volumes"]).filter(|v| v["emptyDir"].is_object());
        let on_disk = directories.filter(|volume| volume["emptyDir"]["medium"] != "Memory");
        let needed: u64 = on_disk.map(|volume| mebibytes(&volume["emptyDir"]["sizeLimit"])).sum();
        let limits = list(&pod["containers"]).map(|c| mebibytes(&c["resources"]["limits"]["ephemeral-storage"]));
        let limit: u64 = limits.sum();
        ensure(limit > needed, object, format!("{needed} MiB of directories in a limit of {limit} MiB"))
    })
}

/// Every container that runs for ever has all three, and no two of the last two ask the same.
pub fn probes(set: &Set) -> Finding {
    workloads(set).filter(|(_, pod)| pod["restartPolicy"] == "Always").try_for_each(|(object, pod)| {
        list(&pod["containers"]).try_for_each(|container| {
            for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
                ensure(container[probe].is_object(), object, format!("has no {probe}"))?;
                for action in ["httpGet", "tcpSocket"] {
                    ensure(container[probe][action]["host"].is_null(), object, format!("{probe} names a host"))?;
                }
            }
            let same = ["httpGet", "tcpSocket", "exec"]
                .iter()
                .all(|action| container["readinessProbe"][action] == container["livenessProbe"][action]);
            ensure(!same, object, "readiness and liveness ask the same")
        })
    })
}

/// Pods of one workload go to different zones and nodes if they can.
pub fn spread(set: &Set) -> Finding {
    workloads(set).filter(|(_, pod)| pod["restartPolicy"] == "Always").try_for_each(|(object, pod)| {
        let own = &object["spec"]["selector"];
        for key in ["topology.kubernetes.io/zone", "kubernetes.io/hostname"] {
            let over = list(&pod["topologySpreadConstraints"])
                .any(|constraint| constraint["topologyKey"] == key && constraint["labelSelector"] == *own);
            ensure(over, object, format!("is not spread over {key}"))?;
        }
        let preferred = &pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"];
        let apart = list(preferred).any(|term| {
            term["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
                && term["podAffinityTerm"]["labelSelector"] == *own
        });
        ensure(apart, object, "does not avoid its own nodes")
    })
}

/// The signal comes after the drain, and the time after the signal is not nothing.
pub fn grace_covers_drain(set: &Set) -> Finding {
    workloads(set).try_for_each(|(object, pod)| {
        let grace = pod["terminationGracePeriodSeconds"].as_i64().unwrap_or_default();
        let drains = list(&pod["containers"]).map(|c| c["lifecycle"]["preStop"]["sleep"]["seconds"].as_i64());
        let longest = drains.flatten().max().unwrap_or_default();
        ensure(grace > longest + 1, object, format!("{grace} s to end, of which {longest} s are the drain"))
    })
}

/// Enforced, audited and warned about at a pinned version; with a quota and limits.
pub fn namespace_is_fenced(set: &Set) -> Finding {
    let namespace = of_kind(set, &["Namespace"]).next().ok_or("no namespace")?;
    let labels = &namespace["metadata"]["labels"];
    for mode in ["enforce", "audit", "warn"] {
        ensure(labels[format!("pod-security.kubernetes.io/{mode}")] == "restricted", namespace, mode)?;
        let version = labels[format!("pod-security.kubernetes.io/{mode}-version")].as_str().unwrap_or_default();
        ensure(version.starts_with("v1."), namespace, format!("{mode}-version is {version:?}"))?;
    }
    for kind in ["ResourceQuota", "LimitRange"] {
        ensure(of_kind(set, &[kind]).count() == 1, namespace, format!("has no {kind}"))?;
    }
    ensure(of_kind(set, &["Namespace"]).count() == 1, namespace, "is not the only one")
}

/// Secrets are files for the pod's group and for nobody else.
pub fn secret_files(set: &Set) -> Finding {
    workloads(set).try_for_each(|(object, pod)| {
        let secrets = list(&pod["volumes"]).filter(|volume| volume["secret"].is_object());
        for volume in secrets {
            ensure(volume["secret"]["defaultMode"] == 0o440, object, format!("mode of {}", volume["name"]))?;
            let modes = list(&volume["secret"]["items"]).filter(|item| !item["mode"].is_null()).count();
            ensure(modes == 0, object, "a file with a mode of its own")?;
        }
        Ok(())
    })
}

pub fn jobs_end(set: &Set) -> Finding {
    of_kind(set, &["Job"]).try_for_each(|job| {
        for field in ["ttlSecondsAfterFinished", "backoffLimit", "activeDeadlineSeconds"] {
            ensure(job["spec"][field].is_i64(), job, format!("has no {field}"))?;
        }
        ensure(job["spec"]["template"]["spec"]["restartPolicy"] == "Never", job, "restarts its container")
    })
}

/// Each policy is for the pods of a workload that the hospital has, will have, or has CloudNativePG make.
pub fn policies_have_pods(set: &Set) -> Finding {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let labels = |value: &Value| -> BTreeMap<String, String> {
        value.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect()
    };
    let made = workloads(set).map(|(object, _)| labels(&object["spec"]["template"]["metadata"]["labels"]));
    let inherited = of_kind(set, &["Cluster"]).map(|cluster| labels(&cluster["spec"]["inheritedMetadata"]["labels"]));
    // An identity is made for every component and step, whether or not its pods are there.
    let tenant = labels(&of_kind(set, &["Namespace"]).next().ok_or("no namespace")?["metadata"]["labels"]);
    let later = of_kind(set, &["ServiceAccount"]).map(|account| text(&account["metadata"]["name"]));
    let steps = later
        .filter(|name| {
            ["init", "migrate", "contract", "network-probe"].contains(&name.as_str()) || set.name.ends_with("-new")
        })
        .map(|component| {
            let mut labels: BTreeMap<_, _> = tenant.clone();
            labels.insert(his_operator::names::COMPONENT.to_owned(), component);
            labels
        });
    let pods: Vec<_> = made.chain(inherited).chain(steps).collect();
    of_kind(set, &["NetworkPolicy"]).try_for_each(|policy| {
        let wanted = labels(&policy["spec"]["podSelector"]["matchLabels"]);
        let selects = |pod: &BTreeMap<String, String>| wanted.iter().all(|(key, value)| pod.get(key) == Some(value));
        ensure(pods.iter().any(selects), policy, format!("selects nothing: {wanted:?}"))
    })
}

pub fn nothing_from_outside(set: &Set) -> Finding {
    of_kind(set, &["Service"]).try_for_each(|service| {
        ensure(service["spec"]["type"] == "ClusterIP", service, "is no ClusterIP")?;
        ensure(service["spec"]["externalIPs"].is_null(), service, "has external addresses")
    })?;
    workloads(set).try_for_each(|(object, pod)| {
        let ports = list(&pod["containers"]).flat_map(|container| list(&container["ports"]));
        for port in ports {
            ensure(port["hostPort"].is_null() && port["hostIP"].is_null(), object, "a port of the node")?;
        }
        let node = ["hostNetwork", "hostPID", "hostIPC"].iter().any(|field| pod[*field] == true);
        ensure(!node && pod["hostUsers"] == false, object, "shares the node's namespaces, users included")
    })
}

pub fn high_user(set: &Set) -> Finding {
    workloads(set).try_for_each(|(object, pod)| {
        let high = |value: &Value| value.as_i64().is_some_and(|id| id >= 10_000);
        ensure(high(&pod["securityContext"]["fsGroup"]), object, "fsGroup below 10000")?;
        let containers = list(&pod["containers"]).chain(list(&pod["initContainers"]));
        for container in containers {
            let context = &container["securityContext"];
            ensure(high(&context["runAsUser"]) && high(&context["runAsGroup"]), object, "user or group below 10000")?;
        }
        Ok(())
    })
}
