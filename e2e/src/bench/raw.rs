//! The limit: a client that sends the same bytes in the same order, and looks at nothing.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use kube::Client;
use kube::core::ApiResource;
use serde_json::Value;

use super::children::{HOST, NAME, UID, resource};

/// What to write.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Template of one hospital's objects.
    #[arg(long, value_name = "FILE")]
    children: PathBuf,
    /// Number of hospitals.
    #[arg(long)]
    tenants: usize,
    /// Hospitals at the same time.
    #[arg(long)]
    concurrency: usize,
}

/// One request to be.
struct Apply {
    path: String,
    body: String,
}

/// Writes the objects of all hospitals to the cluster of the current kubeconfig.
pub async fn run(options: Options) -> Result<()> {
    let file = &options.children;
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let items: Vec<Value> = serde_json::from_str(&text).context("the children are not JSON")?;
    let applies = items.iter().map(apply).collect::<Result<Vec<_>>>()?;
    let client = Client::try_default().await.context("no cluster")?;
    stream::iter(1..=options.tenants)
        .map(|number| hospital(&client, &applies, number))
        .buffer_unordered(options.concurrency)
        .try_collect()
        .await
}

async fn hospital(client: &Client, applies: &[Apply], number: usize) -> Result<()> {
    let name = format!("bench-{number:04}");
    let host = format!("{name}.example.org");
    let uid = format!("0e1f5e4c-0000-4000-8000-{number:012}");
    let filled = |text: &str| text.replace(NAME, &name).replace(HOST, &host).replace(UID, &uid);
    for apply in applies {
        let path = filled(&apply.path);
        let request = http::Request::patch(&path)
            .header(http::header::CONTENT_TYPE, "application/apply-patch+yaml")
            .body(filled(&apply.body).into_bytes())
            .with_context(|| format!("{path} is no path"))?;
        client.request_text(request).await.with_context(|| format!("{path} was refused"))?;
    }
    Ok(())
}

fn apply(object: &Value) -> Result<Apply> {
    let ApiResource { api_version, group, plural, .. } = resource(object)?;
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let root = if group.is_empty() { "api" } else { "apis" };
    let namespace = text("/metadata/namespace").map(|name| format!("namespaces/{name}/")).unwrap_or_default();
    let name = text("/metadata/name").context("a child has no name")?;
    Ok(Apply {
        path: format!("/{root}/{api_version}/{namespace}{plural}/{name}?fieldManager=bench&force=true"),
        body: object.to_string(),
    })
}

#[cfg(test)]
#[allow(clippy::disallowed_macros, reason = "raw objects are the subject here")]
mod tests {
    use serde_json::json;

    use super::apply;

    #[test]
    fn objects_are_applied_where_they_belong() {
        let path = |object| apply(&object).unwrap().path;
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "a" } });
        assert_eq!(path(namespace), "/api/v1/namespaces/a?fieldManager=bench&force=true");
        let policy = json!({ "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": { "name": "p", "namespace": "a" } });
        assert_eq!(
            path(policy),
            "/apis/networking.k8s.io/v1/namespaces/a/networkpolicies/p?fieldManager=bench&force=true"
        );
    }
}
