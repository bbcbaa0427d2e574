//! HTTP endpoints: metrics and health for the cluster, the log level for an engineer with `kubectl port-forward`.
//!
//! Guarantees: nothing that changes the process listens beyond loopback; Kubernetes RBAC on `pods/portforward` decides who gets there.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::{net::TcpListener, sync::watch};

use crate::{metrics::Metrics, telemetry::Telemetry};

/// What the readiness probe tells. Liveness needs no state: an answer proves that the process still answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The process is able to do its work, or waits for the lease.
    pub ready: bool,
}

/// Metrics and probes.
pub fn public(metrics: Arc<Metrics>, health: watch::Receiver<Health>) -> Router {
    Router::new()
        .route("/metrics", get(|State(metrics): State<Arc<Metrics>>| async move { exposition(metrics.text()) }))
        .with_state(metrics)
        .route("/livez", get(|| std::future::ready("ok\n")))
        .route("/readyz", get(move || std::future::ready(verdict(health.borrow().ready))))
}

/// The log level, readable and writable.
pub fn admin(telemetry: Telemetry) -> Router {
    Router::new().route("/log-level", get(level).put(set_level)).with_state(telemetry)
}

/// Listens, then serves until the process ends.
pub async fn listen(
    address: SocketAddr,
    router: Router,
) -> std::io::Result<(SocketAddr, impl Future<Output = std::io::Result<()>>)> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    Ok((bound, axum::serve(listener, router).into_future()))
}

fn exposition(text: String) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}

fn verdict(good: bool) -> (StatusCode, &'static str) {
    if good { (StatusCode::OK, "ok\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ok\n") }
}

async fn level(State(telemetry): State<Telemetry>) -> String {
    telemetry.level() + "\n"
}

async fn set_level(State(telemetry): State<Telemetry>, level: String) -> (StatusCode, String) {
    match telemetry.set_level(level.trim()) {
        Ok(()) => {
            tracing::info!(level = level.trim(), "log level changed");
            (StatusCode::OK, telemetry.level() + "\n")
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;

    async fn request(address: SocketAddr, head: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn probes_follow_health_and_metrics_are_served_without_an_admin_route() {
        let (health, seen) = watch::channel(Health::default());
        let (address, server) =
            listen(([127, 0, 0, 1], 0).into(), public(Arc::new(Metrics::default()), seen)).await.unwrap();
        let server = tokio::spawn(server);
        assert!(request(address, "GET /readyz").await.starts_with("HTTP/1.1 503"));
        assert!(request(address, "GET /livez").await.starts_with("HTTP/1.1 200"));
        health.send(Health { ready: true }).unwrap();
        assert!(request(address, "GET /readyz").await.starts_with("HTTP/1.1 200"));
        assert!(request(address, "GET /metrics").await.contains("his_operator_build_info"));
        assert!(request(address, "GET /log-level").await.starts_with("HTTP/1.1 404"));
        server.abort();
    }
}
