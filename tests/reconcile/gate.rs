//! Stands between one operator process and the API server: counts what passes, and can cut a hospital off.
//!
//! A hospital that is cut off after its n-th write gets no answer to that write and none to anything after it, which is
//! what a crash right after the write looks like from both sides.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use kube::Client;
use serde_json::json;
use tokio::net::TcpListener;

use super::hospital::tenant_of;

const LARGEST: usize = 16 << 20;

/// Writes that a hospital may still have.
#[derive(Clone, Copy, Debug)]
struct Cut {
    left: usize,
    reached: bool,
}

/// Every so many writes one goes wrong, while there are faults left.
const EVERY: usize = 6;

/// What happens to one write.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// It is refused with this status and reason.
    Answer(u16, &'static str),
    /// It is done, but its answer is lost on the way.
    Lost,
    /// It is not done and not answered.
    Silence,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Gate {
    faults: Mutex<BTreeMap<String, VecDeque<Fault>>>,
    cuts: Mutex<BTreeMap<String, Cut>>,
    writes: Mutex<BTreeMap<String, usize>>,
}

impl Gate {
    /// Cuts a hospital off after that many writes.
    pub fn cut(&self, tenant: &str, after: usize) {
        self.cuts.lock().unwrap().insert(tenant.to_owned(), Cut { left: after, reached: false });
    }

    /// Whether a hospital has had its last write.
    pub fn is_cut(&self, tenant: &str) -> bool {
        self.cuts.lock().unwrap().get(tenant).is_some_and(|cut| cut.reached)
    }

    /// Writes for a hospital that came through here.
    pub fn writes(&self, tenant: &str) -> usize {
        self.writes.lock().unwrap().get(tenant).copied().unwrap_or_default()
    }

    /// Writes for all hospitals that came through here.
    pub fn all_writes(&self) -> usize {
        self.writes.lock().unwrap().values().sum()
    }

    /// These go wrong with the next writes for a hospital.
    pub fn trouble(&self, tenant: &str, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().unwrap().insert(tenant.to_owned(), faults.into_iter().collect());
    }

    /// Faults that have not happened yet.
    pub fn troubles_left(&self, tenant: &str) -> usize {
        self.faults.lock().unwrap().get(tenant).map_or(0, VecDeque::len)
    }

    fn fault(&self, tenant: Option<&str>, write: bool) -> Option<Fault> {
        let tenant = tenant.filter(|tenant| write && self.writes(tenant).is_multiple_of(EVERY))?;
        self.faults.lock().unwrap().get_mut(tenant)?.pop_front()
    }

    /// Opens the gate on a loopback port; it is served until the runtime ends.
    pub async fn open(self: &Arc<Self>, upstream: Client) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(pass).with_state((Arc::clone(self), upstream));
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    /// Whether this request is the last one that is let through; never returns if the last one is over.
    async fn admit(&self, tenant: Option<&str>, write: bool) -> bool {
        let Some(tenant) = tenant else { return false };
        if write {
            *self.writes.lock().unwrap().entry(tenant.to_owned()).or_default() += 1;
        }
        let cut = self.cuts.lock().unwrap().get_mut(tenant).map(|cut| {
            let over = cut.left == 0;
            cut.left -= usize::from(write && !over);
            (over, write && cut.left == 0)
        });
        match cut {
            Some((true, _)) => std::future::pending().await,
            Some((false, last)) => last,
            None => false,
        }
    }
}

async fn pass(State((gate, upstream)): State<(Arc<Gate>, Client)>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LARGEST).await else { return StatusCode::BAD_REQUEST.into_response() };
    let tenant = tenant_of(parts.uri.path(), &body);
    let write = parts.method != Method::GET;
    let last = gate.admit(tenant.as_deref(), write).await;
    let fault = gate.fault(tenant.as_deref(), write);
    match fault {
        Some(Fault::Answer(code, reason)) => return refusal(code, reason),
        Some(Fault::Silence) => return std::future::pending().await,
        Some(Fault::Lost) | None => {}
    }
    for hop in [header::HOST, header::CONNECTION] {
        parts.headers.remove(hop);
    }
    let answer = upstream.send(axum::http::Request::from_parts(parts, body.into())).await;
    if let (true, Some(tenant)) = (last, &tenant) {
        gate.cuts.lock().unwrap().get_mut(tenant).unwrap().reached = true;
        return std::future::pending().await;
    }
    match answer {
        Ok(_) if fault.is_some() => StatusCode::GATEWAY_TIMEOUT.into_response(),
        Ok(answer) => {
            let (mut parts, body) = answer.into_parts();
            for hop in [header::TRANSFER_ENCODING, header::CONNECTION] {
                parts.headers.remove(hop);
            }
            Response::from_parts(parts, Body::new(body))
        }
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

/// As the API server says no.
fn refusal(code: u16, reason: &str) -> Response {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason,
        "message": "trouble on purpose",
    });
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (StatusCode::from_u16(code).unwrap(), kind, status.to_string()).into_response()
}
