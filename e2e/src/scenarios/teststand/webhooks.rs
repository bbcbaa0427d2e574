//! Calls to servers outside: through the gate to those that the hospital lists, and to nobody else.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{Stand, Theatre};
use crate::{demo::install, outside, shell};

/// Calls a host through the proxy that the environment names; prints the answer, or why there is none.
const CALL: &str = r#"
import http.client, os, ssl, sys, urllib.parse
proxy = urllib.parse.urlsplit(os.environ["HTTPS_PROXY"])
call = http.client.HTTPSConnection(proxy.hostname, proxy.port, timeout=10, context=ssl._create_unverified_context())
call.set_tunnel(sys.argv[1], 443)
try:
    call.request("GET", "/")
    print(call.getresponse().read().decode())
except OSError as error:
    print(error)
"#;
/// Connects; prints whether somebody took the connection.
pub(super) const CONNECT: &str = r#"
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 4)
    print("open")
except OSError:
    print("closed")
"#;
/// Names and addresses that the gate must refuse, and why.
const REFUSED: [(&str, &str); 6] = [
    ("elsewhere.example", "that nobody listed"),
    ("inside.laboratory.example", "that leads to the API server"),
    ("cloud.laboratory.example", "that leads to the metadata service"),
    ("turncoat.laboratory.example", "that leads both out and in"),
    ("1.2.3.4", "an address in place of a name"),
    ("16909060", "an address in one number"),
];

/// See the module.
pub async fn only_listed(theatre: &Theatre) -> Result<String> {
    let webhooks = json!({"webhooks": {"hosts": ["*.laboratory.example"]}});
    let stand = Stand::open_with(theatre, "webhooks", &["v0".to_owned()], &webhooks).await?;
    let web = format!("deploy/web-{}", stand.colour(theatre).await?);
    let answer = stand.python(theatre, &web, CALL, &[outside::HOST]).await?;
    ensure!(answer == outside::ANSWER, "{} was not reached through the gate: {answer}", outside::HOST);
    for (host, what) in REFUSED {
        let answer = stand.python(theatre, &web, CALL, &[host]).await?;
        ensure!(answer.contains("403"), "{host}, {what}, was not refused: {answer}");
    }
    let gate = ["webhook-gate".to_owned(), "3128".to_owned()];
    let server = [outside::SERVER.ip().to_string(), outside::SERVER.port().to_string()];
    for (from, to, wanted) in [
        (web.as_str(), &gate, "open"),
        (&web, &server, "closed"),
        ("deploy/worker", &gate, "closed"),
        ("deploy/worker", &server, "closed"),
    ] {
        let [host, port] = to.each_ref().map(String::as_str);
        let found = stand.python(theatre, from, CONNECT, &[host, port]).await?;
        ensure!(found == wanted, "{from} to {host}:{port} is {found} and must be {wanted}");
    }
    let lines = stand.log_holds_together(theatre).await?;
    stand.close(theatre).await?;
    let refused = REFUSED.map(|(host, _)| host).join(", ");
    Ok(format!(
        "{} answered through the gate; refused: {refused}; no way around the gate, and no way to it for a component that does not call outside; its log's {lines} lines hold together, and without one of them they do not",
        outside::HOST
    ))
}

impl Stand {
    /// The gate's logs are chains, and one from which a line was taken is none. Returns the number of lines.
    async fn log_holds_together(&self, theatre: &Theatre) -> Result<usize> {
        let namespace = ["-n", self.hospital.namespace.as_str()];
        let select = ["get", "pods", "-l", "app.kubernetes.io/component=webhook-gate", "-o", "name"];
        let pods = theatre.kubectl(&[&namespace[..], &select[..]].concat()).await?;
        let agent = tokio::task::spawn_blocking(install::build).await??.agent;
        let (mut lines, mut shortened) = (0, 0);
        for pod in pods.lines() {
            let log = theatre.kubectl(&[&namespace[..], &["logs", pod]].concat()).await?;
            let verify = |log: &str| shell::command(&agent).arg("audit-verify").stdin(log).succeeds();
            ensure!(verify(&log)?, "the log of {pod} does not hold together:\n{log}");
            let all: Vec<&str> = log.lines().collect();
            lines += all.len();
            if let [first, _, rest @ ..] = all.as_slice()
                && !rest.is_empty()
            {
                shortened += 1;
                let without = [&[*first], rest].concat().join("\n");
                ensure!(!verify(&without)?, "nobody notices that a line is missing in the log of {pod}:\n{without}");
            }
        }
        ensure!(shortened > 0, "no pod of the gate has three lines to take one from");
        Ok(lines)
    }

    pub(super) async fn colour(&self, theatre: &Theatre) -> Result<String> {
        let path = "jsonpath={.status.release.live.colour}";
        theatre.kubectl(&["get", "ht", &self.hospital.name, "-o", path]).await
    }

    /// What a script says in a pod.
    pub(super) async fn python(
        &self,
        theatre: &Theatre,
        pod: &str,
        script: &str,
        arguments: &[&str],
    ) -> Result<String> {
        let component = pod.trim_start_matches("deploy/").split('-').next().context("no name of a workload")?;
        let exec = ["-n", &self.hospital.namespace, "exec", pod, "-c", component, "--", "python3", "-c", script];
        let words: Vec<_> = exec.into_iter().chain(arguments.iter().copied()).collect();
        Ok(theatre.kubectl(&words).await?.trim().to_owned())
    }
}
