//! What a cluster from a provider would come with: DNS, a default storage class, a gateway.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use super::layout::{self, FIRST, Layout};
use super::load;
use crate::images::{self, ImageKind};
use crate::outside;
use crate::parts::{self, Part};
use crate::paths;
use crate::progress;
use crate::shell::{self, Command};

const GATEWAY_MODULE: &str = "github.com/envoyproxy/gateway";

/// Labels of the Service that the gateway of all hospitals serves on.
pub(super) const GATEWAY_SERVICE: &str =
    "gateway.envoyproxy.io/owning-gateway-name=hospitals,gateway.envoyproxy.io/owning-gateway-namespace=his-gateway";

/// Installs everything and waits until it works.
pub(super) fn install(layout: &Layout) -> Result<()> {
    progress::step("installing cluster DNS and storage").run(|_| {
        dns(layout)?;
        storage(layout)
    })?;
    progress::step("installing Envoy Gateway").run(|step| {
        step.note("images");
        let image = load(layout, &ImageKind::EnvoyGateway)?;
        let envoy = load(layout, &ImageKind::Envoy)?;
        step.note("controller");
        gateway_controller(layout, &image)?;
        step.note("gateway");
        apply(layout, &manifest("gateway.yaml", &[("IMAGE_ENVOY", &envoy)])?)
    })?;
    progress::step("waiting for DNS, storage and gateway").run(|_| {
        for (namespace, deployment) in [
            ("kube-system", "coredns"),
            ("local-path-storage", "local-path-provisioner"),
            ("envoy-gateway-system", "envoy-gateway"),
        ] {
            wait(
                layout,
                &["--namespace", namespace, "--for=condition=Available", &format!("deployment/{deployment}")],
            )?;
        }
        wait(layout, &["--namespace", "his-gateway", "--for=condition=Programmed", "gateway/hospitals"])
    })
}

fn dns(layout: &Layout) -> Result<()> {
    let image = load(layout, &ImageKind::CoreDns)?;
    let (server, metadata) = (outside::SERVER.ip().to_string(), outside::METADATA.ip().to_string());
    let values = [
        ("IMAGE_COREDNS", image.as_str()),
        ("IP_SERVER", &server),
        ("IP_METADATA", &metadata),
        ("IP_API", layout::API),
    ];
    apply(layout, &manifest("coredns.yaml", &values)?)
}

fn storage(layout: &Layout) -> Result<()> {
    let image = load(layout, &ImageKind::LocalPathProvisioner)?;
    let shell = load(layout, &ImageKind::Shell)?;
    let volumes = |node| layout.node(node).join("volumes").display().to_string();
    let manifest = manifest(
        "storage.yaml",
        &[
            ("IMAGE_LOCAL_PATH_PROVISIONER", &image),
            ("IMAGE_SHELL", &shell),
            ("VOLUMES_NODE1", &volumes(FIRST)),
            ("VOLUMES_NODE2", &volumes(FIRST.peer())),
        ],
    )?;
    apply(layout, &manifest)
}

/// The chart lies in the source of the module; the release process only fills in the names of published images.
fn gateway_controller(layout: &Layout, image: &str) -> Result<()> {
    let charts = parts::module_dir(Part::EnvoyGateway, GATEWAY_MODULE)?.join("charts/gateway-helm");
    let crds = charts.join("charts/crds/crds");
    for dir in [crds.clone(), crds.join("generated")] {
        kubectl(layout)?.args(["apply", "--server-side", "--filename"]).arg(dir).output()?;
    }
    let rendered = shell::command(parts::ensure(Part::Helm)?)
        .args(["template", "eg"])
        .arg(&charts)
        .args(["--namespace", "envoy-gateway-system", "--values"])
        .arg(charts.join("values.tmpl.yaml"))
        .args(["--set", &format!("global.images.envoyGateway.image={image}")])
        .args(["--set", "global.images.envoyGateway.pullPolicy=IfNotPresent"])
        .args(["--set", "crds.enabled=false", "--set", "createNamespace=true"])
        .output()?;
    apply(layout, &rendered)
}

/// Imports an image into the nodes and returns the reference that pins it.
fn load(layout: &Layout, kind: &ImageKind) -> Result<String> {
    let image = images::ensure(kind)?;
    load::into_all_nodes(layout, &image.tar)?;
    Ok(image.by_digest())
}

/// A manifest of the checkout with its placeholders replaced.
fn manifest(name: &str, values: &[(&str, &str)]) -> Result<String> {
    let path = paths::repo_root()?.join("e2e/manifests").join(name);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(values.iter().fold(text, |text, (placeholder, value)| text.replace(placeholder, value)))
}

fn apply(layout: &Layout, yaml: &str) -> Result<()> {
    kubectl(layout)?.args(["apply", "--server-side", "--filename", "-"]).stdin(yaml).output().map(drop)
}

fn wait(layout: &Layout, what: &[&str]) -> Result<()> {
    let limit = Duration::from_mins(4);
    kubectl(layout)?.args(["wait", &format!("--timeout={}s", limit.as_secs())]).args(what).output().map(drop)
}

pub(super) fn kubectl(layout: &Layout) -> Result<Command> {
    let kubectl = shell::command(parts::ensure(Part::Kubectl)?).env("KUBECACHEDIR", layout.dir().join("kubectl"));
    Ok(kubectl.arg("--kubeconfig").arg(layout.kubeconfig()))
}
