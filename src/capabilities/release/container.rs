//! From a [`Program`] to containers and volumes: files and secrets, probes, the agent.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::core::v1::{
        ConfigMapVolumeSource, Container as K8sContainer, EnvVar, EnvVarSource, ExecAction, HTTPGetAction,
        Probe as K8sProbe, SecretKeySelector, TCPSocketAction, Volume, VolumeMount,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::program::{Program, escape_expansion};
use crate::{
    api::v1alpha1::{Port, Probe, Probes, Resources},
    capabilities::{
        database::secret_volume,
        pod::{Container, SCRATCH, empty_dir, mount},
    },
    objects::digest,
    tenant::database::CA_DIRECTORY,
};

const AGENT: &str = "/his/bin/his-agent";
const TEMPLATES: &str = "/his/templates";
const SECRETS: &str = "/his/secrets";
const FILES: &str = "/his/files";
const BIN: &str = "/his/bin";

/// Everything of a pod that follows from its program.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// Containers that run first.
    pub init: Vec<K8sContainer>,
    /// The program's container.
    pub main: K8sContainer,
    /// Containers beside it.
    pub beside: Vec<K8sContainer>,
    /// Volumes.
    pub volumes: Vec<Volume>,
}

/// Templates of a program as ConfigMap data, secrets as `${secret:NAME/KEY}`; empty if it has no files.
pub fn templates(program: &Program) -> BTreeMap<String, String> {
    let place = |secret: &str, key: &str| format!("${{secret:{secret}/{key}}}");
    let file = |(index, (_, text)): (usize, &(String, crate::tenant::template::Text))| {
        (file_name(index), text.fill(ToOwned::to_owned, place))
    };
    program.files.iter().enumerate().map(file).collect()
}

/// Name of the ConfigMap: another content is another name, so that running pods keep what they started with.
pub fn templates_name(program: &Program) -> String {
    format!("{}-files-{}", program.name, digest(&templates(program)))
}

/// Containers and volumes of a program.
pub fn contents(agent_image: &str, program: &Program) -> Contents {
    let probes = [
        (startup(&program.probes), Timing { period: 2, failures: 150 }),
        (program.probes.readiness.clone(), Timing { period: 10, failures: 3 }),
        (program.probes.liveness.clone(), Timing { period: 10, failures: 3 }),
    ]
    .map(|(probe, timing)| probe.map(|probe| kubelet_probe(&probe, &program.ports, timing)));
    let needs_agent = needs_agent(program);
    let main = Container {
        name: program.name.clone(),
        image: program.image.clone(),
        command: program.command.clone(),
        args: program.args.clone(),
        env: env(program),
        ports: program.ports.iter().map(|port| (port.name.clone(), port.port)).collect(),
        mounts: mounts(program, needs_agent),
        probes,
        resources: program.resources.clone(),
        pre_stop: program.pre_stop.clone(),
        writable_root: program.writable_root,
    };
    let prepare = !program.files.is_empty() || needs_agent;
    Contents {
        init: prepare.then(|| agent(agent_image, program, needs_agent)).into_iter().collect(),
        main: main.build(),
        beside: Vec::new(),
        volumes: volumes(program, needs_agent),
    }
}

/// Without a question of its own, a container has started once it is alive: until then nothing restarts it.
fn startup(probes: &Probes) -> Option<Probe> {
    let alive = |probe: &Probe| Probe { period_seconds: None, failure_threshold: None, ..probe.clone() };
    probes.startup.clone().or_else(|| probes.liveness.as_ref().map(alive))
}

fn needs_agent(program: &Program) -> bool {
    let probes = [&program.probes.startup, &program.probes.readiness, &program.probes.liveness];
    probes.into_iter().flatten().any(|probe| probe.rpc_post.is_some())
}

fn file_name(index: usize) -> String {
    format!("file-{index}")
}

/// Secrets that the program's files name, with their keys.
fn file_secrets(program: &Program) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut secrets: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (secret, key) in program.files.iter().flat_map(|(_, text)| text.secrets()) {
        secrets.entry(secret).or_default().insert(key);
    }
    secrets
}

/// Writes the files, secrets filled in, into memory; brings the agent where a probe needs it.
fn agent(image: &str, program: &Program, install: bool) -> K8sContainer {
    let mut args = vec!["prepare".to_owned()];
    let mut mounts = Vec::new();
    if !program.files.is_empty() {
        args.extend(["--templates", TEMPLATES, "--secrets", SECRETS, "--files", FILES].map(ToOwned::to_owned));
        mounts.push(mount("his-templates", TEMPLATES, None, true));
        mounts.push(mount("his-files", FILES, None, false));
        mounts.extend(
            file_secrets(program).keys().map(|name| mount(&volume_of(name), &format!("{SECRETS}/{name}"), None, true)),
        );
    }
    if install {
        args.extend(["--install", BIN].map(ToOwned::to_owned));
        mounts.push(mount("his-bin", BIN, None, false));
    }
    let resources = Resources { memory: Some("64Mi".to_owned()), ..Resources::default() };
    Container {
        name: "prepare".to_owned(),
        image: image.to_owned(),
        command: vec!["/usr/bin/his-agent".to_owned()],
        args,
        mounts,
        resources,
        ..Container::default()
    }
    .build()
}

fn env(program: &Program) -> Vec<EnvVar> {
    let secrets = program.env.iter().flat_map(|(_, text)| text.secrets());
    let places = places(secrets);
    let secret = |((secret, key), name): (&(&str, &str), &String)| EnvVar {
        name: name.clone(),
        value: None,
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: (*secret).to_owned(),
                key: (*key).to_owned(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
    };
    let place =
        |secret: &str, key: &str| places.get(&(secret, key)).map(|place| format!("$({place})")).unwrap_or_default();
    let plain = |(name, text): &(String, crate::tenant::template::Text)| EnvVar {
        name: name.clone(),
        value: Some(text.fill(escape_expansion, place)),
        value_from: None,
    };
    // Kubernetes expands only what is defined before.
    places.iter().map(secret).chain(program.env.iter().map(plain)).collect()
}

/// Variables that hold secrets, by Secret and key. Where two would have the same name, each is told apart by a digest: one
/// would otherwise be taken for the other.
fn places<'a>(secrets: impl Iterator<Item = (&'a str, &'a str)>) -> BTreeMap<(&'a str, &'a str), String> {
    let plain = |(secret, key): &(&str, &str)| {
        let upper = |text: &str| text.to_uppercase().replace(['-', '.'], "_");
        format!("HIS_{}_{}", upper(secret), upper(key))
    };
    let all: BTreeSet<(&str, &str)> = secrets.collect();
    let shared = |name: &String| all.iter().filter(|other| plain(other) == *name).count() > 1;
    let place = |at: &(&'a str, &'a str)| {
        let name = plain(at);
        let name = if shared(&name) { format!("{name}_{}", digest(at).to_uppercase()) } else { name };
        (*at, name)
    };
    all.iter().map(place).collect()
}

/// A volume's name has at most 63 characters and no dot; a Secret's may have 253 and some.
fn volume_of(secret: &str) -> String {
    let valid = secret.len() <= 50 && !secret.contains('.');
    format!("secret-{}", if valid { secret.to_owned() } else { digest(&secret) })
}

fn mounts(program: &Program, agent: bool) -> Vec<VolumeMount> {
    let file = |(index, (path, _)): (usize, &(String, _))| mount("his-files", path, Some(&file_name(index)), true);
    let mut mounts: Vec<_> = program.files.iter().enumerate().map(file).collect();
    if program.database_ca.is_some() {
        mounts.push(mount("database-ca", CA_DIRECTORY, None, true));
    }
    if agent {
        mounts.push(mount("his-bin", BIN, None, true));
    }
    let writable = program.writable_paths.iter().enumerate().filter(|(_, writable)| writable.path != "/tmp");
    mounts.extend(writable.map(|(index, writable)| mount(&format!("writable-{index}"), &writable.path, None, false)));
    mounts
}

fn volumes(program: &Program, agent: bool) -> Vec<Volume> {
    let mut volumes = Vec::new();
    if !program.files.is_empty() {
        volumes.push(Volume {
            name: "his-templates".to_owned(),
            config_map: Some(ConfigMapVolumeSource { name: templates_name(program), ..Default::default() }),
            ..Volume::default()
        });
        volumes.push(empty_dir("his-files", "16Mi", true));
        for (secret, keys) in file_secrets(program) {
            let keys: Vec<_> = keys.into_iter().collect();
            volumes.push(secret_volume(&volume_of(secret), secret, &keys));
        }
    }
    if let Some(secret) = &program.database_ca {
        volumes.push(secret_volume("database-ca", secret, &["ca.crt"]));
    }
    if agent {
        volumes.push(empty_dir("his-bin", "128Mi", false));
    }
    volumes.extend(program.writable_paths.iter().enumerate().map(|(index, writable)| {
        let name = if writable.path == "/tmp" { SCRATCH.to_owned() } else { format!("writable-{index}") };
        empty_dir(&name, writable.size.as_deref().unwrap_or("64Mi"), false)
    }));
    volumes
}

#[derive(Clone, Copy)]
struct Timing {
    period: i32,
    failures: i32,
}

fn kubelet_probe(probe: &Probe, ports: &[Port], timing: Timing) -> K8sProbe {
    let timeout = probe.timeout_seconds.unwrap_or(3);
    let mut result = K8sProbe {
        period_seconds: Some(probe.period_seconds.unwrap_or(timing.period)),
        timeout_seconds: Some(timeout),
        failure_threshold: Some(probe.failure_threshold.unwrap_or(timing.failures)),
        ..K8sProbe::default()
    };
    if let Some(http) = &probe.http {
        result.http_get = Some(HTTPGetAction {
            path: Some(http.path.clone()),
            port: IntOrString::String(http.port.clone()),
            scheme: Some("HTTP".to_owned()),
            ..HTTPGetAction::default()
        });
    } else if let Some(tcp) = &probe.tcp {
        result.tcp_socket = Some(TCPSocketAction { port: IntOrString::String(tcp.port.clone()), host: None });
    } else if let Some(exec) = &probe.exec {
        result.exec = Some(ExecAction { command: Some(exec.command.clone()) });
    } else if let Some(rpc) = &probe.rpc_post {
        let port = ports.iter().find(|port| port.name == rpc.port).map(|port| port.port).unwrap_or_default();
        let mut command =
            [AGENT, "probe", "rpc-post", "--port", &port.to_string(), "--path", &rpc.path, "--body", &rpc.body]
                .map(ToOwned::to_owned)
                .to_vec();
        if let Some(expect) = &rpc.expect {
            command.extend(["--expect".to_owned(), expect.clone()]);
        }
        command.extend(["--timeout".to_owned(), timeout.to_string()]);
        result.exec = Some(ExecAction { command: Some(command) });
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_whose_names_differ_in_signs_only_keep_variables_of_their_own() {
        let all = [("app-mail", "key"), ("app", "mail.key"), ("app", "mail_key"), ("app", "other")];
        let places = places(all.into_iter());
        assert_eq!(places.values().collect::<BTreeSet<_>>().len(), all.len(), "{places:?}");
        assert_eq!(places[&("app", "other")], "HIS_APP_OTHER");
    }
}
