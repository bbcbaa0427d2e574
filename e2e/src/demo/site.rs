//! The cluster that is used: the local one, which is made when it is not there, or one that exists already.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::{Value, json};

use super::resources::set;
use crate::{
    cluster::{self, Ports},
    shell,
};

/// How to use a cluster that exists already: its kubeconfig alone does not say where its gateway is.
#[derive(Debug, Clone, Default, Args)]
pub struct ExistingArgs {
    /// HospitalPlatform that describes the existing cluster: Gateway, resolver, storage.
    #[arg(long, value_name = "FILE")]
    platform: Option<PathBuf>,
    /// Command that brings an image archive to the existing cluster's nodes; `{}` stands for the archive's path, for
    /// example `kind load image-archive {}`.
    #[arg(long, value_name = "COMMAND")]
    image_loader: Option<String>,
    /// Where this machine reaches the existing cluster's Gateway by plain HTTP.
    #[arg(long, value_name = "HOST:PORT")]
    gateway: Option<String>,
}

/// See the module.
#[derive(Debug, Clone)]
pub enum Site {
    /// The local cluster, on these loopback ports.
    Local(Ports),
    /// A cluster that somebody else runs.
    Existing(Existing),
}

/// A cluster that somebody else runs.
#[derive(Debug, Clone)]
pub struct Existing {
    kubeconfig: PathBuf,
    platform: Value,
    image_loader: Vec<String>,
    gateway: String,
}

impl Site {
    /// The cluster that the command line names.
    pub fn choose(kubeconfig: Option<&Path>, args: ExistingArgs) -> Result<Self> {
        let Some(kubeconfig) = kubeconfig else {
            let stray = args.platform.is_some() || args.image_loader.is_some() || args.gateway.is_some();
            ensure!(
                !stray,
                "--platform, --image-loader and --gateway describe an existing cluster: add --kubeconfig FILE"
            );
            return Ok(Self::Local(Ports::default()));
        };
        let (Some(platform), Some(loader), Some(gateway)) = (args.platform, args.image_loader, args.gateway) else {
            bail!(
                "an existing cluster (--kubeconfig) also needs --platform FILE, --image-loader COMMAND and --gateway HOST:PORT"
            );
        };
        let image_loader: Vec<String> = loader.split_whitespace().map(ToOwned::to_owned).collect();
        ensure!(
            image_loader.len() > 1 && image_loader.iter().any(|word| word.contains("{}")),
            "--image-loader {loader:?} must be a command with {{}} in place of the archive's path"
        );
        let text = fs::read_to_string(&platform).with_context(|| format!("cannot read {}", platform.display()))?;
        let platform: Value =
            serde_yaml_ng::from_str(&text).with_context(|| format!("{} is no YAML", platform.display()))?;
        ensure!(
            platform.get("kind").and_then(Value::as_str) == Some("HospitalPlatform"),
            "--platform must name a file with one HospitalPlatform"
        );
        Ok(Self::Existing(Existing { kubeconfig: kubeconfig.to_owned(), platform, image_loader, gateway }))
    }

    /// Makes the local cluster if it is not there; returns the kubeconfig.
    pub fn ready(&self) -> Result<PathBuf> {
        match self {
            Self::Local(ports) => cluster::up(*ports),
            Self::Existing(existing) => Ok(existing.kubeconfig.clone()),
        }
    }

    /// Brings an image archive to the nodes.
    pub fn load_image(&self, archive: &Path) -> Result<()> {
        let Self::Existing(existing) = self else { return cluster::load_image(archive) };
        let path = archive.display().to_string();
        let mut words = existing.image_loader.iter().map(|word| word.replace("{}", &path));
        let program = words.next().context("--image-loader is empty")?;
        shell::command(program).args(words.collect::<Vec<_>>()).output().map(drop)
    }

    /// Where this machine reaches the Gateway.
    pub fn gateway(&self) -> String {
        match self {
            Self::Local(ports) => format!("127.0.0.1:{}", ports.gateway),
            Self::Existing(existing) => existing.gateway.clone(),
        }
    }

    /// Whether logs and daemons of the cluster are on this machine.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Local(_))
    }

    /// The platform, with the image for embedded databases that was made here.
    pub fn platform(&self, postgres: &str) -> Value {
        let mut platform = match self {
            Self::Local(ports) => local_platform(ports.gateway),
            Self::Existing(existing) => existing.platform.clone(),
        };
        set(&mut platform, &["metadata"], json!({"name": "default"}));
        set(&mut platform, &["spec", "database", "embeddedImage"], postgres.into());
        platform
    }
}

fn local_platform(gateway: u16) -> Value {
    json!({
        "apiVersion": "his-operator.io/v1alpha1",
        "kind": "HospitalPlatform",
        "spec": {
            "gateway": {
                "name": "hospitals",
                "namespace": "his-gateway",
                "podsNamespace": "envoy-gateway-system",
                "podLabels": {"app.kubernetes.io/managed-by": "envoy-gateway"},
                "public": {"scheme": "http", "port": gateway},
                // Envoy Gateway adds 10000 to listener ports below 1024.
                "inside": {"service": "hospitals", "port": 80, "podPort": 10080},
            },
            "dns": {"namespace": "kube-system", "podLabels": {"k8s-app": "kube-dns"}, "port": 5353},
            "floors": {"replicas": 2},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform_file() -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, local_platform(80).to_string()).unwrap();
        file
    }

    fn args(platform: &Path, loader: &str) -> ExistingArgs {
        ExistingArgs {
            platform: Some(platform.to_owned()),
            image_loader: Some(loader.to_owned()),
            gateway: Some("127.0.0.1:8080".to_owned()),
        }
    }

    #[test]
    fn an_existing_cluster_says_where_everything_is_and_gets_our_database_image() {
        let file = platform_file();
        let chosen =
            Site::choose(Some(Path::new("kubeconfig")), args(file.path(), "kind load image-archive {}")).unwrap();
        assert!(!chosen.is_local());
        assert_eq!(chosen.gateway(), "127.0.0.1:8080");
        assert_eq!(chosen.platform("postgres@sha256:1")["spec"]["database"]["embeddedImage"], "postgres@sha256:1");
    }

    #[test]
    fn an_incomplete_description_is_refused_with_what_is_missing() {
        let file = platform_file();
        let error = Site::choose(Some(Path::new("k")), ExistingArgs::default()).unwrap_err().to_string();
        assert!(error.contains("--image-loader"), "{error}");
        let error = Site::choose(Some(Path::new("k")), args(file.path(), "load")).unwrap_err().to_string();
        assert!(error.contains("{}"), "{error}");
        let error = Site::choose(None, args(file.path(), "load {}")).unwrap_err().to_string();
        assert!(error.contains("--kubeconfig"), "{error}");
    }
}
