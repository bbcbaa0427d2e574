//! One question to one server.
//!
//! Guarantees: the whole exchange has one deadline; at most one mebibyte of an answer is held, and nothing of it is printed
//! (the kubelet copies standard error into events).

use std::{io, time::Duration};

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{
    Request, StatusCode,
    body::Incoming,
    client::conn::http1,
    header::{CONNECTION, CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use super::{template::find, trust::Trust};
use crate::{
    api::v1alpha1::Colour,
    capabilities::release::check::{Ask, Check},
    names,
};

/// Most of an answer that is read.
const LONGEST_ANSWER: usize = 1 << 20;

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
    /// The server is not whom it must be, or speaks no TLS.
    #[error("port {port} gives no TLS for {name}: {source}")]
    Secure {
        /// TCP port.
        port: u16,
        /// Name that its certificate must be for.
        name: String,
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
    /// Another status than a GET may have.
    #[error("the answer has status {0}, not 200 to 399")]
    NotFine(StatusCode),
    /// The server's own fault.
    #[error("the answer has status {0}")]
    Broken(StatusCode),
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

/// What an answer says of where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The copy of the application that answered, where the route says so.
    pub colour: Option<Colour>,
}

/// Bytes both ways, in the clear or not.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Asks once.
pub async fn ask(check: &Check, trust: &Trust) -> Result<Answer, Failure> {
    let late = Failure::TimedOut { port: check.port, seconds: check.timeout_seconds };
    tokio::time::timeout(Duration::from_secs(check.timeout_seconds), exchange(check, trust)).await.unwrap_or(Err(late))
}

async fn connect(check: &Check, trust: &Trust) -> Result<Box<dyn Wire>, Failure> {
    let port = check.port;
    let stream = TcpStream::connect((check.host.as_str(), port)).await;
    let stream = stream.map_err(|source| Failure::Connect { port, source })?;
    if !check.tls {
        return Ok(Box::new(stream));
    }
    match trust.secure(stream, &check.authority).await {
        Ok(secured) => Ok(Box::new(secured)),
        Err(source) => Err(Failure::Secure { port, name: check.authority.clone(), source }),
    }
}

async fn exchange(check: &Check, trust: &Trust) -> Result<Answer, Failure> {
    let port = check.port;
    let request = request(check)?;
    let wire = connect(check, trust).await?;
    let Some(request) = request else { return Ok(Answer { colour: None }) };
    let (mut sender, connection) = http1::handshake(TokioIo::new(wire)).await.map_err(|error| broken(port, &error))?;
    // Ends with the runtime at the latest.
    tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(|error| broken(port, &error))?;
    let status = answer.status();
    match &check.ask {
        Ask::RpcPost { .. } if status != StatusCode::OK => return Err(Failure::Status(status)),
        Ask::Http { .. } if !(200..400).contains(&status.as_u16()) => return Err(Failure::NotFine(status)),
        Ask::Reach { .. } if status.is_server_error() => return Err(Failure::Broken(status)),
        Ask::RpcPost { .. } | Ask::Http { .. } | Ask::Reach { .. } | Ask::Tcp => {}
    }
    let header = answer.headers().get(names::COLOUR_HEADER).and_then(|value| value.to_str().ok());
    let colour = header.and_then(Colour::parse);
    let body = read(port, answer.into_body()).await?;
    let expected = match &check.ask {
        Ask::RpcPost { expect, .. } => expect.as_deref().unwrap_or_default(),
        Ask::Http { .. } | Ask::Reach { .. } | Ask::Tcp => "",
    };
    find(&body, expected.as_bytes()).map(|_| Answer { colour }).ok_or(Failure::Unexpected)
}

/// The HTTP request, where there is one.
fn request(check: &Check) -> Result<Option<Request<String>>, Failure> {
    let (path, request, body) = match &check.ask {
        Ask::Tcp => return Ok(None),
        Ask::Http { path } | Ask::Reach { path } => (path, Request::get(path), String::new()),
        Ask::RpcPost { path, body, .. } => {
            (path, Request::post(path).header(CONTENT_TYPE, "application/json"), body.clone())
        }
    };
    let request = request.header(HOST, &check.authority).header(CONNECTION, "close").body(body);
    request.map(Some).map_err(|source| Failure::BuildRequest { path: path.clone(), source })
}

async fn read(port: u16, body: Incoming) -> Result<Vec<u8>, Failure> {
    match Limited::new(body, LONGEST_ANSWER).collect().await {
        Ok(collected) => Ok(collected.to_bytes().into()),
        Err(error) if error.is::<LengthLimitError>() => Err(Failure::TooLong),
        Err(error) => match error.downcast_ref::<hyper::Error>() {
            Some(error) => Err(broken(port, error)),
            None => Err(Failure::Exchange { port, reason: "it breaks off" }),
        },
    }
}

/// In words of this program: an error of the HTTP parser may quote what it has read.
fn broken(port: u16, error: &hyper::Error) -> Failure {
    let reason = if error.is_parse() {
        "what comes back is not HTTP/1.1"
    } else if error.is_incomplete_message() || error.is_body_write_aborted() {
        "the connection was closed too early"
    } else {
        "it breaks off"
    };
    Failure::Exchange { port, reason }
}
