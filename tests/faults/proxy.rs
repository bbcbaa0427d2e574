//! Stands between one operator process and the API server, speaks TLS to both, writes every request down, and makes things
//! go wrong on purpose: for one hospital at its n-th write, for the watches of one kind, or for everybody.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    http::{Request, Response, header, request::Parts},
};
use his_operator::api::v1alpha1::HospitalTenant;
use http_body_util::BodyExt;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::{Api, Client, api::DeleteParams};
use rustls::ServerConfig;
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::{
    hospital::tenant_of,
    plan::{Fault, Plan, Side},
    stream::{self, WatchFault, broken},
    trace::Trace,
};

/// How long an outage lasts.
pub const OUTAGE: Duration = Duration::from_secs(4);

/// A plan that waits for its moment.
#[derive(Clone, Copy, Debug)]
struct Armed {
    plan: Plan,
    left: usize,
    fired: Option<Instant>,
}

/// See the module.
#[derive(Debug)]
pub struct Proxy {
    pub process: usize,
    pub trace: Arc<Trace>,
    armed: Mutex<BTreeMap<String, Armed>>,
    /// What is wrong with the watches of a resource.
    pub watches: watch::Sender<BTreeMap<String, WatchFault>>,
    /// Paths with a resource version that was once called expired, and so always is.
    expired: Mutex<BTreeSet<(String, String)>>,
    /// Nobody is answered.
    pub frozen: watch::Sender<bool>,
}

/// What to do with a request.
enum Verdict {
    Pass,
    Hold,
    Refuse(u16),
    Fault(Fault, Side),
}

/// Where requests go.
#[derive(Clone)]
pub struct Upstream {
    /// As the operator.
    pub client: Client,
    /// As a person who deletes a hospital at the worst moment.
    pub admin: Client,
}

/// The connection ends here.
#[derive(Debug, thiserror::Error)]
#[error("broken on purpose")]
struct Broken;

impl Proxy {
    pub fn new(process: usize, trace: Arc<Trace>) -> Arc<Self> {
        let (watches, frozen) = (watch::Sender::default(), watch::Sender::new(false));
        Arc::new(Self { process, trace, armed: Mutex::default(), watches, expired: Mutex::default(), frozen })
    }

    /// Serves on a loopback port until the returned task is aborted.
    pub async fn open(self: &Arc<Self>, tls: Arc<ServerConfig>, upstream: Upstream) -> (SocketAddr, JoinSet<()>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (acceptor, proxy) = (TlsAcceptor::from(tls), Arc::clone(self));
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    Ok((socket, _)) = listener.accept() => {
                        connections.spawn(Arc::clone(&proxy).serve(acceptor.clone(), socket, upstream.clone()));
                    }
                    Some(_ended) = connections.join_next() => {}
                }
            }
        });
        (address, task)
    }

    async fn serve(self: Arc<Self>, acceptor: TlsAcceptor, socket: TcpStream, upstream: Upstream) {
        // A connection that is broken on purpose ends with a reset, not politely.
        socket.set_zero_linger().unwrap();
        let Ok(stream) = acceptor.accept(socket).await else { return };
        let multiplexed = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let service = service_fn(move |request| {
            let (proxy, upstream) = (Arc::clone(&self), upstream.clone());
            async move { proxy.answer(request, upstream).await }
        });
        let io = TokioIo::new(stream);
        // How a connection ends is the client's business.
        let _ended = if multiplexed {
            hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await
        } else {
            hyper::server::conn::http1::Builder::new().serve_connection(io, service).await
        };
    }

    /// This goes wrong with a hospital from now on.
    pub fn arm(&self, tenant: &str, plan: Plan) {
        self.armed.lock().unwrap().insert(tenant.to_owned(), Armed { plan, left: plan.position, fired: None });
    }

    /// Nothing goes wrong with a hospital any more.
    pub fn disarm(&self, tenant: &str) {
        self.armed.lock().unwrap().remove(tenant);
    }

    /// When the plan of a hospital has come true.
    pub fn fired(&self, tenant: &str) -> Option<Instant> {
        self.armed.lock().unwrap().get(tenant).and_then(|armed| armed.fired)
    }

    fn decide(&self, tenant: Option<&str>, write: bool) -> Verdict {
        let mut all = self.armed.lock().unwrap();
        let Some(armed) = tenant.and_then(|tenant| all.get_mut(tenant)) else { return Verdict::Pass };
        match (armed.plan.fault, armed.fired) {
            (Fault::Kill, Some(_)) => Verdict::Hold,
            (Fault::Outage, Some(at)) if write && at.elapsed() < OUTAGE => Verdict::Refuse(500),
            (fault, None) if write => {
                armed.left -= 1;
                if armed.left > 0 {
                    return Verdict::Pass;
                }
                armed.fired = Some(Instant::now());
                Verdict::Fault(fault, armed.plan.side)
            }
            _ => Verdict::Pass,
        }
    }

    /// How a list or watch is refused, if it is.
    fn refuses(&self, parts: &Parts, wrong: Option<WatchFault>) -> Option<u16> {
        let version =
            parts.uri.query().unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("resourceVersion="));
        let from = version.filter(|version| *version != "0" && !version.is_empty());
        let place = from.map(|version| (parts.uri.path().to_owned(), version.to_owned()));
        let mut expired = self.expired.lock().unwrap();
        match (wrong, place) {
            (Some(WatchFault::Refused(410)), Some(place)) => {
                expired.insert(place);
                Some(410)
            }
            (Some(WatchFault::Refused(code)), _) => Some(code),
            (_, Some(place)) if expired.contains(&place) => Some(410),
            _ => None,
        }
    }

    async fn thawed(&self) {
        let mut frozen = self.frozen.subscribe();
        let _closed = frozen.wait_for(|frozen| !frozen).await;
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>, upstream: Upstream) -> Result<Response<Body>, Broken> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Broken)?.to_bytes();
        let tenant = tenant_of(parts.uri.path(), &body);
        let number = self.trace.began(self.process, tenant.as_deref(), (parts.method.as_str(), &parts.uri), &body);
        self.thawed().await;
        let collection = stream::collection(&parts);
        let watch = parts.uri.query().is_some_and(stream::is_watch);
        let wrong = collection.as_ref().and_then(|resource| self.watches.borrow().get(resource).copied());
        if let Some(code) = self.refuses(&parts, wrong) {
            self.trace.verdict(number, format!("refused with {code}"));
            return Ok(refusal(code));
        }
        let verdict = self.decide(tenant.as_deref(), parts.method != "GET");
        let (fault, side) = match verdict {
            Verdict::Pass => (None, Side::After),
            Verdict::Hold => {
                self.trace.verdict(number, "held");
                std::future::pending().await
            }
            Verdict::Refuse(code) => {
                self.trace.verdict(number, format!("refused with {code}"));
                return Ok(refusal(code));
            }
            Verdict::Fault(fault, side) => {
                self.trace.verdict(number, format!("{fault} {side:?}"));
                (Some(fault), side)
            }
        };
        if let (Some(fault), Side::Before) = (fault, side) {
            match fault {
                Fault::Deleted => delete(&upstream.admin, tenant.as_deref()).await,
                Fault::Truncated => return Ok(half(b"{\"kind\":\"Status\",\"apiVersion\":\"v1\",".to_vec())),
                other => return spoilt(other).await,
            }
        }
        // On a task of its own: what the API server has been asked for it does, also when nobody waits for the answer.
        let trace = Arc::clone(&self.trace);
        let sent = tokio::spawn(async move {
            let answer = upstream.client.send(forwarded(parts, body.to_vec())).await?;
            trace.ended(number, answer.status().as_u16());
            Ok::<_, kube::Error>(answer)
        });
        let answer = sent.await.map_err(|_| Broken)?.map_err(|_| Broken)?;
        self.thawed().await;
        match (fault, side, collection) {
            (Some(Fault::Truncated), Side::After, _) => {
                let whole = answer.into_body().collect_bytes().await.map_err(|_| Broken)?;
                Ok(half(whole.to_vec()))
            }
            (Some(fault), Side::After, _) => spoilt(fault).await,
            (_, _, Some(resource)) if watch => {
                let (parts, body) = answer.into_parts();
                Ok(answered(parts, stream::tapped(resource, body, self.watches.subscribe())))
            }
            _ => {
                let (parts, body) = answer.into_parts();
                Ok(answered(parts, Body::new(body)))
            }
        }
    }
}

/// A request as it goes on to the API server.
fn forwarded(mut parts: Parts, body: Vec<u8>) -> axum::http::Request<kube::client::Body> {
    for hop in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH] {
        parts.headers.remove(hop);
    }
    parts.version = axum::http::Version::HTTP_11;
    parts.uri = parts.uri.path_and_query().unwrap().as_str().parse().unwrap();
    // What belongs to this connection must not travel on.
    parts.extensions.clear();
    axum::http::Request::from_parts(parts, body.into())
}

fn answered(mut parts: axum::http::response::Parts, body: Body) -> Response<Body> {
    for hop in [header::TRANSFER_ENCODING, header::CONNECTION] {
        parts.headers.remove(hop);
    }
    parts.version = axum::http::Version::default();
    parts.extensions.clear();
    Response::from_parts(parts, body)
}

/// The answer that a fault leaves, if any.
async fn spoilt(fault: Fault) -> Result<Response<Body>, Broken> {
    match fault {
        Fault::Kill | Fault::Timeout => std::future::pending().await,
        Fault::Status(code) => Ok(refusal(code)),
        Fault::Outage => Ok(refusal(500)),
        Fault::Reset | Fault::Truncated | Fault::Deleted => Err(Broken),
    }
}

/// The first half of an answer that says it is longer.
fn half(whole: Vec<u8>) -> Response<Body> {
    let length = whole.len() * 2;
    let first = whole[..whole.len() / 2].to_vec();
    let frames = futures::stream::iter([Ok(first), Err(broken())]);
    let kind = [(header::CONTENT_TYPE, "application/json".to_owned()), (header::CONTENT_LENGTH, length.to_string())];
    let mut answer = Response::new(Body::from_stream(frames));
    for (name, value) in kind {
        answer.headers_mut().insert(name, value.parse().unwrap());
    }
    answer
}

/// As the API server says no.
fn refusal(code: u16) -> Response<Body> {
    let reason = match code {
        404 => "NotFound",
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "InternalError",
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason,
        "message": "a fault on purpose",
    });
    let mut answer = Response::new(Body::from(status.to_string()));
    *answer.status_mut() = axum::http::StatusCode::from_u16(code).unwrap();
    answer.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    if code == 429 {
        answer.headers_mut().insert(header::RETRY_AFTER, "1".parse().unwrap());
    }
    answer
}

async fn delete(admin: &Client, tenant: Option<&str>) {
    let all = Api::<HospitalTenant>::all(admin.clone());
    all.delete(tenant.unwrap(), &DeleteParams::background()).await.unwrap();
}
