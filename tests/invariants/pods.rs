//! Oracles about pods. The first is written from the Pod Security Standards, level restricted
//! (<https://kubernetes.io/docs/concepts/security/pod-security-standards/>), not from the code that makes pods.

use std::collections::BTreeSet;

use his_operator::{api::v1alpha1::SecurityRule, objects::kind};
use serde_json::Value;

use crate::world::{Rendered, World, containers};

type Finding = Result<(), String>;

fn ensure(holds: bool, at: &Rendered, what: impl AsRef<str>) -> Finding {
    if holds { Ok(()) } else { Err(format!("{}: {}", at.at(), what.as_ref())) }
}

fn each_pod(world: &World, check: impl Fn(&Rendered, &Value) -> Finding) -> Finding {
    world.pods().try_for_each(|(object, template)| check(object, template))
}

fn each_container(world: &World, check: impl Fn(&Rendered, &Value, &Value) -> Finding) -> Finding {
    each_pod(world, |object, template| {
        containers(template).try_for_each(|container| check(object, template, container))
    })
}

/// A field of the container, or the pod's when the container says nothing.
fn effective<'a>(template: &'a Value, container: &'a Value, pointer: &str) -> &'a Value {
    let own = container["securityContext"].pointer(pointer).unwrap_or(&Value::Null);
    if own.is_null() { template["spec"]["securityContext"].pointer(pointer).unwrap_or(&Value::Null) } else { own }
}

fn absent_or(value: &Value, allowed: &[Value]) -> bool {
    value.is_null() || allowed.contains(value)
}

pub fn restricted(world: &World) -> Finding {
    each_pod(world, restricted_pod)?;
    each_container(world, restricted_container)
}

fn restricted_pod(object: &Rendered, template: &Value) -> Finding {
    const VOLUMES: [&str; 8] =
        ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"];
    let spec = &template["spec"];
    for host in ["hostNetwork", "hostPID", "hostIPC"] {
        ensure(absent_or(&spec[host], &[false.into()]), object, host)?;
    }
    for volume in spec["volumes"].as_array().into_iter().flatten() {
        let sources = volume.as_object().unwrap().keys().filter(|key| *key != "name");
        for source in sources {
            ensure(VOLUMES.contains(&source.as_str()), object, format!("volume of type {source}"))?;
        }
    }
    let context = &spec["securityContext"];
    ensure(context["sysctls"].as_array().is_none_or(Vec::is_empty), object, "sysctls")?;
    ensure(context["windowsOptions"].is_null(), object, "windowsOptions")?;
    ensure(context["supplementalGroups"].as_array().is_none_or(|groups| !groups.contains(&0.into())), object, "group 0")
}

fn restricted_container(object: &Rendered, template: &Value, container: &Value) -> Finding {
    let context = &container["securityContext"];
    ensure(absent_or(&context["privileged"], &[false.into()]), object, "privileged")?;
    ensure(context["allowPrivilegeEscalation"] == false, object, "allowPrivilegeEscalation")?;
    let list = |key: &str| context["capabilities"][key].as_array().cloned().unwrap_or_default();
    ensure(list("drop").contains(&"ALL".into()), object, "capabilities are not dropped")?;
    ensure(list("add").iter().all(|c| c == "NET_BIND_SERVICE"), object, "capabilities are added")?;
    ensure(*effective(template, container, "/runAsNonRoot") == true, object, "runAsNonRoot")?;
    ensure(*effective(template, container, "/runAsUser") != 0, object, "runAsUser is root")?;
    let seccomp = effective(template, container, "/seccompProfile/type");
    ensure(seccomp == "RuntimeDefault" || seccomp == "Localhost", object, "seccompProfile")?;
    ensure(absent_or(&context["procMount"], &["Default".into()]), object, "procMount")?;
    let apparmor = effective(template, container, "/appArmorProfile/type");
    ensure(absent_or(apparmor, &["RuntimeDefault".into(), "Localhost".into()]), object, "appArmorProfile")?;
    let selinux = effective(template, container, "/seLinuxOptions");
    ensure(selinux["user"].is_null() && selinux["role"].is_null(), object, "seLinuxOptions")?;
    for port in container["ports"].as_array().into_iter().flatten() {
        ensure(absent_or(&port["hostPort"], &[0.into()]), object, "hostPort")?;
    }
    let handlers = [
        &container["startupProbe"],
        &container["readinessProbe"],
        &container["livenessProbe"],
        &container["lifecycle"]["preStop"],
        &container["lifecycle"]["postStart"],
    ];
    for handler in handlers {
        for action in ["httpGet", "tcpSocket"] {
            ensure(handler[action]["host"].is_null(), object, format!("{action} names a host"))?;
        }
    }
    Ok(())
}

/// More than the standard asks for.
pub fn hardened(world: &World) -> Finding {
    each_pod(world, |object, template| {
        let spec = &template["spec"];
        ensure(spec["automountServiceAccountToken"] == false, object, "mounts a token")?;
        ensure(spec["enableServiceLinks"] == false, object, "enableServiceLinks")?;
        ensure(spec["securityContext"]["fsGroup"].as_i64().is_some_and(|group| group >= 10_000), object, "fsGroup")?;
        ensure(spec["priorityClassName"].is_string(), object, "priorityClassName")?;
        let account = spec["serviceAccountName"].as_str().unwrap_or_default();
        let exists = world
            .of_kind(kind::SERVICE_ACCOUNT)
            .any(|a| a.name == account && a.body["automountServiceAccountToken"] == false);
        ensure(exists, object, format!("service account {account:?} is not rendered, or with a token"))
    })?;
    each_container(world, |object, template, container| {
        let user = effective(template, container, "/runAsUser").as_i64().unwrap_or_default();
        let group = effective(template, container, "/runAsGroup").as_i64().unwrap_or_default();
        ensure(user >= 10_000 && group >= 10_000, object, "user or group below 10000")?;
        let read_only = container["securityContext"]["readOnlyRootFilesystem"] == true;
        let name = container["name"].as_str().unwrap_or_default();
        ensure(read_only || world.excepted(name, SecurityRule::WritableRoot), object, "root file system is writable")?;
        let probes = (&container["readinessProbe"], &container["livenessProbe"]);
        let same = !probes.0.is_null() && ["httpGet", "tcpSocket", "exec"].iter().all(|a| probes.0[a] == probes.1[a]);
        ensure(!same, object, "readiness and liveness ask the same")
    })
}

pub fn images_by_digest(world: &World) -> Finding {
    each_container(world, |object, _, container| {
        let image = container["image"].as_str().unwrap_or_default();
        let digest = image.split_once("@sha256:").map(|(_, digest)| digest).unwrap_or_default();
        let valid = digest.len() == 64 && digest.chars().all(|c| c.is_ascii_hexdigit());
        ensure(valid, object, format!("image {image} is not named by digest"))
    })
}

pub fn resources(world: &World) -> Finding {
    each_container(world, |object, _, container| {
        for side in ["requests", "limits"] {
            for resource in ["cpu", "memory", "ephemeral-storage"] {
                let amount = container["resources"][side][resource].as_str().unwrap_or_default();
                ensure(crate::amounts::milli(amount) > 0, object, format!("{side} of {resource} is {amount:?}"))?;
            }
        }
        let amount =
            |side: &str, what: &str| crate::amounts::milli(container["resources"][side][what].as_str().unwrap());
        let fits =
            ["memory", "ephemeral-storage"].iter().all(|what| amount("requests", what) <= amount("limits", what));
        ensure(fits, object, "requests more than its limit")
    })?;
    each_pod(world, |object, template| {
        for volume in template["spec"]["volumes"].as_array().into_iter().flatten() {
            let scratch = &volume["emptyDir"];
            ensure(scratch.is_null() || scratch["sizeLimit"].is_string(), object, "an emptyDir without sizeLimit")?;
        }
        Ok(())
    })
}

/// Secrets reach a pod as files that only its group reads, or by a stated exception.
pub fn secrets_as_files(world: &World) -> Finding {
    each_container(world, |object, _, container| {
        let name = container["name"].as_str().unwrap_or_default();
        let allowed = world.excepted(name, SecurityRule::SecretInEnv);
        for variable in container["env"].as_array().into_iter().flatten() {
            ensure(variable["valueFrom"].is_null() || allowed, object, format!("{} is a secret", variable["name"]))?;
        }
        ensure(container["envFrom"].is_null(), object, "envFrom")?;
        // `$(NAME)` would be replaced by the value of NAME, on a command line that others can read.
        let words = ["command", "args"].into_iter().flat_map(|list| container[list].as_array().into_iter().flatten());
        for word in words {
            let text = word.as_str().unwrap_or_default().replace("$$", "");
            ensure(!text.contains("$("), object, format!("{text} is expanded"))?;
        }
        Ok(())
    })?;
    each_pod(world, |object, template| {
        for volume in template["spec"]["volumes"].as_array().into_iter().flatten() {
            let secret = &volume["secret"];
            ensure(secret.is_null() || secret["defaultMode"] == 0o440, object, "secret files are readable by others")?;
            ensure(secret.is_null() || secret["items"].is_array(), object, "all keys of a secret are mounted")?;
        }
        Ok(())
    })
}

/// What a pod names must exist, and nothing may be named twice.
pub fn references(world: &World) -> Finding {
    let existing = world.existing();
    let there = |kind: &str, namespace: &str, name: &str| {
        existing.iter().any(|(_, at)| *at == format!("{kind}/{namespace}/{name}"))
    };
    each_pod(world, |object, template| {
        let spec = &template["spec"];
        let empty = Vec::new();
        let volumes = spec["volumes"].as_array().unwrap_or(&empty);
        let names: BTreeSet<_> = volumes.iter().map(|volume| volume["name"].as_str().unwrap()).collect();
        ensure(names.len() == volumes.len(), object, "two volumes of one name")?;
        for volume in volumes {
            let secret = volume["secret"]["secretName"].as_str();
            let known =
                secret.is_none_or(|name| world.provided.contains(name) || there("Secret", &object.namespace, name));
            ensure(known, object, format!("nobody makes Secret {secret:?}"))?;
            let config = volume["configMap"]["name"].as_str();
            ensure(
                config.is_none_or(|name| there("ConfigMap", &object.namespace, name)),
                object,
                format!("nobody makes ConfigMap {config:?}"),
            )?;
        }
        for container in containers(template) {
            let mounts = container["volumeMounts"].as_array().unwrap_or(&empty);
            let paths: BTreeSet<_> = mounts.iter().map(|mount| mount["mountPath"].as_str().unwrap()).collect();
            ensure(paths.len() == mounts.len(), object, "two mounts at one path")?;
            let known = mounts.iter().all(|mount| names.contains(mount["name"].as_str().unwrap()));
            ensure(known, object, "a mount of no volume")?;
            let env = container["env"].as_array().unwrap_or(&empty);
            let variables: BTreeSet<_> = env.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
            ensure(variables.len() == env.len(), object, "an environment variable twice")?;
        }
        let selector = &object.body["spec"]["selector"]["matchLabels"];
        let labels = &template["metadata"]["labels"];
        let selected = selector.as_object().is_none_or(|s| s.iter().all(|(key, value)| labels[key] == *value));
        ensure(selected, object, "the selector does not select its own pods")
    })
}
