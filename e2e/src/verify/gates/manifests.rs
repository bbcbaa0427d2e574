//! Files for the gates: hospitals in every stage, written by the product's own tests; the charts, rendered by Helm with
//! everything switched on; the plain bundle with an image by digest, as its README asks for.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::parts::{self, Part};
use crate::{paths, shell};

const IMAGE: &str = "ghcr.io/his-operator/his-operator";
const DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
/// The test that writes a file per hospital and stage to the directory that this variable names.
const TEST: &str = "everything_that_can_be_rendered_is_written";
const VARIABLE: &str = "HIS_GATES_DIR";

/// Fills the folder anew.
pub(super) fn write(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    paths::create_dir(folder)?;
    hospitals(folder)?;
    let put = |name: &str, text: String| {
        let file = folder.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    };
    put("chart.yaml", chart("charts/his-operator")?)?;
    put("crds.yaml", chart("charts/his-operator-crds")?)?;
    put("install.yaml", bundle()?)
}

fn hospitals(folder: &Path) -> Result<()> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let test = ["test", "--quiet", "--package", "his-operator", "--test", "gates", "--", "--exact", TEST];
    shell::command(cargo).args(test).env(VARIABLE, folder).dir(paths::repo_root()?).output()?;
    let written = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?.count();
    if written == 0 {
        bail!("the test {TEST} has written nothing to {}", folder.display());
    }
    Ok(())
}

fn chart(path: &str) -> Result<String> {
    let everything = ["serviceMonitor.enabled", "prometheusRule.enabled", "dashboard.enabled"];
    let mut helm = shell::command(parts::ensure(Part::Helm)?).dir(paths::repo_root()?);
    helm = helm.args(["template", "his-operator", path, "--namespace", "his-operator-system"]);
    if path.ends_with("his-operator") {
        helm = helm.args(["--set", &format!("image.digest={DIGEST}")]);
        helm = helm.args(everything.iter().flat_map(|switch| ["--set".to_owned(), format!("{switch}=true")]));
    }
    helm.output()
}

fn bundle() -> Result<String> {
    let file = paths::repo_root()?.join("manifests/install.yaml");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let by_tag = format!("{IMAGE}:{}", env!("CARGO_PKG_VERSION"));
    if !text.contains(&by_tag) {
        bail!("{} does not name the image {by_tag}", file.display());
    }
    Ok(text.replace(&by_tag, &format!("{IMAGE}@{DIGEST}")))
}
