//! A user's way in: HTTP through the gateway, on a loopback port, with the hospital's host.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, StatusCode, body::Bytes, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};

use super::hospital::Hospital;

const PATIENCE: Duration = Duration::from_secs(30);
const LARGEST_ANSWER: usize = 4 << 20;

/// How to reach one hospital.
#[derive(Debug, Clone)]
pub struct Access {
    host: String,
    database: String,
    gateway: String,
}

impl Access {
    /// Through the gateway at this address.
    pub fn to(hospital: &Hospital, gateway: String) -> Self {
        Self { host: hospital.host.clone(), database: "gnuhealth".to_owned(), gateway }
    }

    /// Address for a browser on this machine.
    pub fn url(&self) -> String {
        format!("http://{}", self.authority())
    }

    fn authority(&self) -> String {
        let port = self.gateway.rsplit_once(':').map_or("80", |(_, port)| port);
        format!("{}:{port}", self.host)
    }

    /// What GNU Health answers to `common.server.version`.
    pub async fn version(&self) -> Result<String> {
        let (status, answer) =
            self.post("/", &json!({"id": 1, "method": "common.server.version", "params": []})).await?;
        let version = answer.get("result").and_then(Value::as_str).map(ToOwned::to_owned);
        version.with_context(|| format!("no version in the answer {status}: {answer}"))
    }

    /// Signs in; a session comes back or this fails.
    pub async fn login(&self, user: &str, password: &str) -> Result<()> {
        let call = json!({"id": 1, "method": "common.db.login", "params": [user, {"password": password}, "en"]});
        let (status, answer) = self.post(&format!("/{}/", self.database), &call).await?;
        let session = answer.pointer("/result/1").and_then(Value::as_str).is_some_and(|session| session.len() >= 32);
        if status == StatusCode::OK && session { Ok(()) } else { bail!("{user} was not let in: {status}") }
    }

    /// One POST on a connection of its own.
    pub async fn post(&self, path: &str, body: &Value) -> Result<(StatusCode, Value)> {
        timeout(PATIENCE, self.exchange(path, body)).await.context("no answer through the gateway")?
    }

    async fn exchange(&self, path: &str, body: &Value) -> Result<(StatusCode, Value)> {
        let stream = TcpStream::connect(&self.gateway).await.context("the gateway does not listen")?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let request = Request::post(path)
            .header(header::HOST, self.authority())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.to_string())))?;
        let response = sender.send_request(request).await.context("the gateway closed the connection")?;
        let status = response.status();
        let bytes = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
        connection.abort();
        let bytes = bytes.map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?.to_bytes();
        Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
    }
}
