//! Where a hospital's components find the gate through which they call servers outside. The same for those who ask for it,
//! who run it, and who prove that nobody else reaches it.

use super::Tenant;
use crate::api::v1alpha1::WebhooksDependency;

/// Name of the gate's Deployment and Service, and of its pods' component label.
pub const COMPONENT: &str = "webhook-gate";
/// TCP port of the gate.
pub const PORT: i32 = 3128;

/// What the application says of its calls to the outside; none if it makes none.
pub fn dependency(tenant: &Tenant) -> Option<&WebhooksDependency> {
    tenant.application.dependencies.as_ref().and_then(|dependencies| dependencies.webhooks.as_ref())
}

/// Hosts that the hospital's application may call, as they are written.
pub fn hosts(tenant: &Tenant) -> &[String] {
    tenant.spec.webhooks.as_ref().map(|webhooks| webhooks.hosts.as_slice()).unwrap_or_default()
}

/// Whether there is a gate: the application asks for one, and the hospital lists hosts.
pub fn has_gate(tenant: &Tenant) -> bool {
    dependency(tenant).is_some() && !hosts(tenant).is_empty()
}

/// DNS name of the gate.
pub fn host(tenant: &Tenant) -> String {
    format!("{COMPONENT}.{}.svc", tenant.namespace)
}

/// URL of the gate, as clients expect it in `HTTPS_PROXY`; empty without a gate, which clients take for no proxy.
pub fn proxy(tenant: &Tenant) -> String {
    if has_gate(tenant) { format!("http://{}:{PORT}", host(tenant)) } else { String::new() }
}

/// What is reached without the gate, as clients expect it in `NO_PROXY`: the pod itself, the cluster, and bound services,
/// which have policies of their own.
pub fn around(tenant: &Tenant) -> String {
    let bindings = tenant.spec.bindings.as_ref();
    let cache = bindings.and_then(|bindings| bindings.cache.as_ref()).map(|cache| cache.host.as_str());
    let buckets =
        bindings.iter().flat_map(|bindings| bindings.buckets.values()).map(|bucket| authority(&bucket.endpoint));
    let database = tenant.database.as_ref().map(|database| database.host.as_str());
    let mut names = vec!["localhost", "127.0.0.1", "::1", ".svc", ".cluster.local"];
    for name in database.into_iter().chain(cache).chain(buckets) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(",")
}

/// Host of a URL, without port and path.
fn authority(url: &str) -> &str {
    let after = url.split_once("://").map_or(url, |(_, after)| after);
    let host = after.split('/').next().unwrap_or_default();
    host.rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
        .map_or(host, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::authority;

    #[test]
    fn a_url_has_a_host() {
        for url in
            ["https://s3.example.org", "https://s3.example.org:9443", "https://s3.example.org/a:b", "s3.example.org/"]
        {
            assert_eq!(authority(url), "s3.example.org", "{url}");
        }
    }
}
