//! Questions to the application of this pod that the kubelet has no words for.
//!
//! Guarantees: only 127.0.0.1 is asked; the whole exchange has one deadline; at most one mebibyte of an answer is held, and
//! nothing of it is printed (the kubelet copies standard error into events).

use std::{io, net::Ipv4Addr, time::Duration};

use clap::Args;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{
    Request, StatusCode,
    body::Incoming,
    client::conn::http1,
    header::{CONNECTION, CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::template::find;

/// Most of an answer that is read.
const LONGEST_ANSWER: usize = 1 << 20;

/// One POST, as JSON-RPC servers need it.
#[derive(Args, Clone, Debug)]
pub struct RpcPost {
    /// TCP port on 127.0.0.1.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Absolute path.
    #[arg(long)]
    path: String,
    /// Body, sent as application/json.
    #[arg(long, allow_hyphen_values = true)]
    body: String,
    /// Text that the answer must contain. Absent: any answer with status 200.
    #[arg(long, allow_hyphen_values = true)]
    expect: Option<String>,
    /// Seconds that the whole exchange may take.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
}

/// Why the answer does not count.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The runtime does not start.
    #[error("the probe cannot start: {0}")]
    Start(#[source] io::Error),
    /// No request can be made of the arguments.
    #[error("path {path:?} makes no request: {source}; write an absolute path such as /")]
    BuildRequest {
        /// As given.
        path: String,
        /// Cause.
        source: hyper::http::Error,
    },
    /// Nobody listens.
    #[error("port {port} accepts no connection: {source}")]
    Connect {
        /// TCP port.
        port: u16,
        /// Cause.
        source: io::Error,
    },
    /// The answer broke off, or is no HTTP.
    #[error("port {port} gives no complete HTTP answer: {reason}")]
    Exchange {
        /// TCP port.
        port: u16,
        /// The cause, without any of the answer.
        reason: &'static str,
    },
    /// Too late.
    #[error("port {port} gives no complete answer within {seconds} s")]
    TimedOut {
        /// TCP port.
        port: u16,
        /// The deadline.
        seconds: u64,
    },
    /// Another status.
    #[error("the answer has status {0}, not 200")]
    Status(StatusCode),
    /// Too much.
    #[error("the answer is longer than {LONGEST_ANSWER} bytes")]
    TooLong,
    /// Something else was said.
    #[error("the answer does not contain the expected text")]
    Unexpected,
}

impl RpcPost {
    /// Asks once.
    pub(super) fn run(&self) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Start)?;
        runtime.block_on(async {
            let deadline = Duration::from_secs(self.timeout);
            let late = Failure::TimedOut { port: self.port, seconds: self.timeout };
            tokio::time::timeout(deadline, self.ask()).await.unwrap_or(Err(late))
        })
    }

    async fn ask(&self) -> Result<(), Failure> {
        let request = self.request()?;
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))
            .await
            .map_err(|source| Failure::Connect { port: self.port, source })?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(&error))?;
        // Ends with the runtime at the latest.
        tokio::spawn(connection);
        let answer = sender.send_request(request).await.map_err(|error| self.broken(&error))?;
        if answer.status() != StatusCode::OK {
            return Err(Failure::Status(answer.status()));
        }
        let body = self.read(answer.into_body()).await?;
        let expected = self.expect.as_deref().unwrap_or_default();
        find(&body, expected.as_bytes()).map(|_| ()).ok_or(Failure::Unexpected)
    }

    fn request(&self) -> Result<Request<String>, Failure> {
        Request::post(&self.path)
            .header(HOST, format!("127.0.0.1:{}", self.port))
            .header(CONTENT_TYPE, "application/json")
            .header(CONNECTION, "close")
            .body(self.body.clone())
            .map_err(|source| Failure::BuildRequest { path: self.path.clone(), source })
    }

    async fn read(&self, body: Incoming) -> Result<Vec<u8>, Failure> {
        match Limited::new(body, LONGEST_ANSWER).collect().await {
            Ok(collected) => Ok(collected.to_bytes().into()),
            Err(error) if error.is::<LengthLimitError>() => Err(Failure::TooLong),
            Err(error) => match error.downcast_ref::<hyper::Error>() {
                Some(error) => Err(self.broken(error)),
                None => Err(Failure::Exchange { port: self.port, reason: "it breaks off" }),
            },
        }
    }

    /// In words of this program: an error of the HTTP parser may quote what it has read.
    fn broken(&self, error: &hyper::Error) -> Failure {
        let reason = if error.is_parse() {
            "what comes back is not HTTP/1.1"
        } else if error.is_incomplete_message() || error.is_body_write_aborted() {
            "the connection was closed too early"
        } else {
            "it breaks off"
        };
        Failure::Exchange { port: self.port, reason }
    }
}
