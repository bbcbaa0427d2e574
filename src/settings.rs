//! What the process was started with and plans depend on.

/// Settings of one operator process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Namespace of the operator.
    pub namespace: String,
    /// ServiceAccount of the operator: the only subject that is ever bound in a tenant namespace.
    pub service_account: String,
    /// Image that holds `his-agent`, by digest.
    pub agent_image: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            namespace: "his-operator-system".to_owned(),
            service_account: "his-operator".to_owned(),
            agent_image: format!("his-operator@sha256:{:064}", 0),
        }
    }
}
