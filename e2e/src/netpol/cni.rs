//! A chained CNI plugin that holds a pod back until the rules for its address are in force.
//!
//! Guarantees that `ADD` succeeds only after the enforcer answered "in force"; otherwise it fails with "try again later"
//! (code 11), and the kubelet repeats it. It changes no interface and passes the result of the plugin before it on.
//! Must never be the first plugin of a chain.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::announce::{Announcement, Answer, PATIENCE};

/// File name of the plugin, and its `type` in a conflist.
pub const TYPE: &str = "his-netpol";

const VERSIONS: [&str; 3] = ["0.3.1", "0.4.0", "1.0.0"];
const TRY_AGAIN_LATER: u32 = 11;

/// The plugin's element of a conflist; put it last, after `ptp` and `portmap`.
pub fn conflist_entry(kubeconfig: &Path) -> Value {
    let socket = super::socket_path(kubeconfig);
    object([("type", TYPE.into()), ("socket", socket.to_string_lossy().into())])
}

/// Makes a plugin directory: links to the programs of `system` (such as /usr/lib/cni) and the plugin itself, which
/// runs `program netpol-cni`.
pub fn install(system: &Path, directory: &Path, program: &Path) -> Result<()> {
    std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let entries =
        std::fs::read_dir(system).with_context(|| format!("cannot list {}; install CNI plugins", system.display()))?;
    for entry in entries {
        let entry = entry?;
        let link = directory.join(entry.file_name());
        if !link.exists() {
            symlink(entry.path(), &link).with_context(|| format!("cannot link {}", link.display()))?;
        }
    }
    let plugin = directory.join(TYPE);
    let script = format!("#!/bin/sh\nexec '{}' netpol-cni\n", program.display());
    std::fs::write(&plugin, script)
        .and_then(|()| std::fs::set_permissions(&plugin, PermissionsExt::from_mode(0o755)))
        .with_context(|| format!("cannot write {}", plugin.display()))
}

/// Runs the plugin as the CNI specification says: configuration on standard input, the rest in the environment.
/// Prints the result or the error, and returns the exit code.
pub fn main() -> i32 {
    let mut config = Vec::new();
    let answer = std::io::Read::read_to_end(&mut std::io::stdin(), &mut config)
        .context("cannot read standard input")
        .and_then(|_| {
            let variable = |name: &str| std::env::var(name).unwrap_or_default();
            run(&variable("CNI_COMMAND"), &variable("CNI_ARGS"), &config)
        });
    let (text, code) = match answer {
        Ok(text) => (text, 0),
        Err(error) => (failure(&config, &error), 1),
    };
    let printed = std::io::stdout().write_all(text.as_bytes());
    printed.map_or(1, |()| code)
}

/// What the plugin needs of its configuration.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    cni_version: String,
    #[serde(default)]
    socket: PathBuf,
    prev_result: Option<Value>,
}

fn run(command: &str, arguments: &str, config: &[u8]) -> Result<String> {
    match command {
        "ADD" => add(arguments, config),
        // The address stays covered until its pod is gone from the API server.
        "DEL" | "CHECK" => Ok(String::new()),
        "VERSION" => {
            let version = VERSIONS.last();
            let supported = VERSIONS.as_slice().into();
            Ok(object([("cniVersion", version.copied().into()), ("supportedVersions", supported)]).to_string())
        }
        other => bail!("CNI_COMMAND {other:?} is unknown"),
    }
}

fn add(arguments: &str, config: &[u8]) -> Result<String> {
    let config: Config = serde_json::from_slice(config).context("cannot parse the configuration")?;
    let result =
        config.prev_result.context("prevResult is missing; put this plugin after the one that makes the interface")?;
    let announcement = Announcement {
        namespace: argument(arguments, "K8S_POD_NAMESPACE")?,
        name: argument(arguments, "K8S_POD_NAME")?,
        uid: argument(arguments, "K8S_POD_UID")?,
        address: address(&result)?,
    };
    announce(&config.socket, &announcement)?;
    Ok(result.to_string())
}

fn argument(arguments: &str, wanted: &str) -> Result<String> {
    arguments
        .split(';')
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, _)| *name == wanted)
        .map(|(_, value)| value.to_owned())
        .with_context(|| format!("CNI_ARGS has no {wanted}; only a kubelet's pods can be announced"))
}

/// The first IPv4 address in the result of the plugins before this one.
fn address(result: &Value) -> Result<Ipv4Addr> {
    let all = result.get("ips").and_then(Value::as_array);
    all.into_iter()
        .flatten()
        .find_map(|ip| ip.get("address")?.as_str()?.split('/').next()?.parse().ok())
        .context("prevResult.ips has no IPv4 address")
}

fn announce(socket: &Path, announcement: &Announcement) -> Result<()> {
    let explain = || format!("no answer from the enforcer on {}", socket.display());
    let mut stream = UnixStream::connect(socket).with_context(explain)?;
    stream.set_read_timeout(Some(PATIENCE * 2))?;
    let mut line = serde_json::to_vec(announcement)?;
    line.push(b'\n');
    stream.write_all(&line).with_context(explain)?;
    let mut text = String::new();
    BufReader::new(stream).read_line(&mut text).with_context(explain)?;
    let answer: Answer = serde_json::from_str(&text).with_context(explain)?;
    match answer.error {
        None => Ok(()),
        Some(error) => bail!(error),
    }
}

fn failure(config: &[u8], error: &anyhow::Error) -> String {
    let version =
        serde_json::from_slice::<Config>(config).map_or_else(|_| "1.0.0".to_owned(), |config| config.cni_version);
    let message = format!("{TYPE}: {error:#}");
    object([("cniVersion", version.into()), ("code", TRY_AGAIN_LATER.into()), ("msg", message.into())]).to_string()
}

fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    fields.into_iter().collect()
}

/// The plugin's file in a plugin directory.
pub fn is_installed(directory: &Path) -> bool {
    directory.join(OsStr::new(TYPE)).exists()
}

#[cfg(test)]
#[allow(clippy::disallowed_macros, reason = "tests may write JSON")]
mod tests {
    use super::*;
    use serde_json::json;

    const ARGUMENTS: &str =
        "IgnoreUnknown=1;K8S_POD_NAMESPACE=a;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=1;K8S_POD_UID=u";

    #[test]
    fn add_without_an_enforcer_fails_so_that_the_kubelet_tries_again() {
        let config = json!({
            "cniVersion": "1.0.0", "socket": "/nonexistent/netpol.sock",
            "prevResult": {"ips": [{"address": "192.0.2.7/24"}]},
        });
        let config = config.to_string().into_bytes();
        let error = run("ADD", ARGUMENTS, &config).unwrap_err();
        assert!(failure(&config, &error).contains("\"code\":11"));
    }

    #[test]
    fn add_passes_the_previous_result_on_after_the_enforcer_agreed() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("netpol.sock");
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let enforcer = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            stream.get_mut().write_all(b"{\"error\":null}\n").unwrap();
            serde_json::from_str::<Announcement>(&line).unwrap()
        });
        let result = json!({"ips": [{"address": "2001:db8::7/64"}, {"address": "192.0.2.7/24"}]});
        let config = json!({"cniVersion": "1.0.0", "socket": socket, "prevResult": result});
        let printed = run("ADD", ARGUMENTS, config.to_string().as_bytes()).unwrap();
        assert_eq!(printed, result.to_string());
        let heard = enforcer.join().unwrap();
        assert_eq!(heard.address, Ipv4Addr::new(192, 0, 2, 7));
        assert_eq!((heard.namespace.as_str(), heard.uid.as_str()), ("a", "u"));
    }

    #[test]
    fn del_needs_nobody() {
        assert_eq!(run("DEL", "", b"").unwrap(), "");
    }
}
