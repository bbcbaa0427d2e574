//! How the kubelet asks a component whether it runs.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The three questions the kubelet asks.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel, validation = Rule::new("!(has(self.readiness) && has(self.liveness)) || !((has(self.readiness.http) && has(self.liveness.http) && self.readiness.http.path == self.liveness.http.path && self.readiness.http.port == self.liveness.http.port) || (has(self.readiness.tcp) && has(self.liveness.tcp) && self.readiness.tcp.port == self.liveness.tcp.port) || (has(self.readiness.exec) && has(self.liveness.exec) && self.readiness.exec.command == self.liveness.exec.command) || (has(self.readiness.rpcPost) && has(self.liveness.rpcPost) && self.readiness.rpcPost.path == self.liveness.rpcPost.path && self.readiness.rpcPost.port == self.liveness.rpcPost.port && self.readiness.rpcPost.body == self.liveness.rpcPost.body))").message("readiness and liveness must differ: a dependency that is down must take a pod out of service, not restart it").field_path(".liveness"))]
pub struct Probes {
    /// Has it started? The others wait for it. Absent: the question of liveness, every 2 seconds for up to 5 minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup: Option<Probe>,
    /// Can it serve?
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Probe>,
    /// Must it be restarted? Never asks about dependencies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Probe>,
}

/// One question to a container.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel, validation = Rule::new("(has(self.http) ? 1 : 0) + (has(self.tcp) ? 1 : 0) + (has(self.exec) ? 1 : 0) + (has(self.rpcPost) ? 1 : 0) == 1").message("a probe needs exactly one of http, tcp, exec, rpcPost"))]
pub struct Probe {
    /// GET that must answer 200 to 399.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpProbe>,
    /// Connection that must open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpProbe>,
    /// Command that must exit 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecProbe>,
    /// POST whose answer must be 200 and contain a text; for servers that answer no GET (JSON-RPC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rpc_post: Option<RpcPostProbe>,
    /// Seconds between two tries. Absent: 10 (startup: 2).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 300))]
    pub period_seconds: Option<i32>,
    /// Seconds after which a try has failed. Absent: 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 60))]
    pub timeout_seconds: Option<i32>,
    /// Tries in a row that must fail. Absent: 3 (startup: 150).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub failure_threshold: Option<i32>,
}

/// GET that must answer 200 to 399.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct HttpProbe {
    /// Absolute path.
    #[schemars(length(min = 1, max = 200))]
    pub path: String,
    /// Name of the port.
    #[schemars(length(min = 1, max = 15))]
    pub port: String,
}

/// Connection that must open.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct TcpProbe {
    /// Name of the port.
    #[schemars(length(min = 1, max = 15))]
    pub port: String,
}

/// Command that must exit 0.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct ExecProbe {
    /// Program and arguments; no shell is added.
    #[schemars(length(min = 1, max = 32), inner(length(max = 1000)))]
    pub command: Vec<String>,
}

/// POST whose answer must be 200 and contain a text.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct RpcPostProbe {
    /// Absolute path.
    #[schemars(length(min = 1, max = 200))]
    pub path: String,
    /// Name of the port.
    #[schemars(length(min = 1, max = 15))]
    pub port: String,
    /// Body, sent as `application/json`.
    #[schemars(length(min = 2, max = 4096))]
    pub body: String,
    /// Text that the answer must contain. Absent: any answer with status 200.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub expect: Option<String>,
}
