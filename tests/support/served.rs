//! The CRDs as they are shipped, on a real API server.

use std::{
    fs,
    sync::LazyLock,
    time::{Duration, Instant},
};

use his_operator::names;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
};

use super::{files, root};

static SHIPPED: LazyLock<Vec<CustomResourceDefinition>> = LazyLock::new(|| {
    let read = |path: &std::path::PathBuf| {
        serde_yaml_ng::from_str(&fs::read_to_string(path).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    files(&root().join("crds"), "yaml").iter().map(read).collect()
});

/// The CRDs of `crds/`.
pub fn shipped() -> &'static [CustomResourceDefinition] {
    &SHIPPED
}

/// The CRD of a kind.
pub fn of(kind: &str) -> &'static CustomResourceDefinition {
    shipped().iter().find(|crd| crd.spec.names.kind == kind).unwrap_or_else(|| panic!("no CRD of {kind}"))
}

pub fn resource(kind: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk(names::GROUP, names::VERSION, kind),
        &of(kind).spec.names.plural,
    )
}

/// Applies a CRD and waits until it is served.
pub async fn install(client: &kube::Client, crd: &CustomResourceDefinition) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = crd.name_any();
    let params = PatchParams::apply("tests").force();
    api.patch(&name, &params, &Patch::Apply(crd)).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let live = api.get(&name).await.unwrap();
        let conditions = live.status.and_then(|status| status.conditions).unwrap_or_default();
        if conditions.iter().any(|c| c.type_ == "Established" && c.status == "True") {
            return;
        }
        assert!(Instant::now() < deadline, "{name} was not established: {conditions:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
