//! Connections of clients, from their acceptance to their line in the log.

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::IpAddr,
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
    time::Duration,
};

use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONNECTION, CONTENT_TYPE},
    server::conn::http1,
    service::service_fn,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{
    Gate, Outside, Phase,
    hello::hello,
    open::Target,
    tell::{Line, Refusal},
    tunnel::{Moved, carry},
};

/// After a connection that could not be accepted, as when no file descriptor is left.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes of a request, which has no body; the least that the parser takes.
const LONGEST_REQUEST: usize = 8 << 10;
/// Header fields of a request.
const FIELDS: usize = 64;

/// Serves until `told`, then lets tunnels end by themselves for a while.
pub(super) async fn serve<O: Outside>(listener: TcpListener, gate: Arc<Gate<O>>, told: impl Future<Output = ()>) {
    let slots = Arc::new(Semaphore::new(gate.limits.connections));
    let mut under_way = JoinSet::new();
    tokio::pin!(told);
    loop {
        let slot = tokio::select! {
            () = &mut told => break,
            Ok(slot) = Arc::clone(&slots).acquire_owned() => slot,
        };
        let accepted = tokio::select! {
            () = &mut told => break,
            accepted = listener.accept() => accepted,
            Some(_) = under_way.join_next() => continue,
        };
        match accepted {
            Ok((stream, from)) => {
                let gate = Arc::clone(&gate);
                under_way.spawn(async move {
                    connection(&gate, stream, from.ip()).await;
                    drop(slot);
                });
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    drop(listener);
    gate.phase.send_replace(Phase::Draining);
    let all = async { while under_way.join_next().await.is_some() {} };
    tokio::pin!(all);
    if timeout(gate.limits.draining, &mut all).await.is_err() {
        gate.phase.send_replace(Phase::Closed);
        // Each still has its line to write; one whose request is not there yet has none.
        let _ = timeout(PAUSE * 10, all).await;
    }
}

/// What a client asked for, and the way on.
struct Opened {
    target: Target,
    server: TcpStream,
    address: IpAddr,
    client: OnUpgrade,
    since: Instant,
}

/// One request, and the tunnel that it opens.
async fn connection<O: Outside>(gate: &Arc<Gate<O>>, stream: TcpStream, from: IpAddr) {
    let opened = Mutex::new(None);
    let service = service_fn(|request| async {
        let (answer, way) = answer(gate, from, request).await;
        if let Ok(mut opened) = opened.lock() {
            *opened = way;
        }
        Ok::<_, Infallible>(answer)
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(gate.limits.asking);
    server.max_buf_size(LONGEST_REQUEST).max_headers(FIELDS);
    // A request that is none has its answer from the parser, and names nothing that could be told.
    let _ = server.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
    if let Some(opened) = opened.into_inner().ok().flatten() {
        through(gate, from, opened).await;
    }
}

async fn answer<O: Outside>(
    gate: &Gate<O>,
    from: IpAddr,
    mut request: Request<Incoming>,
) -> (Response<String>, Option<Opened>) {
    if let Some(status) = probed(gate, &request) {
        return (said(status, String::new()), None);
    }
    let since = Instant::now();
    let target = request.uri().authority().filter(|_| request.method() == Method::CONNECT).and_then(Target::of);
    let way = match &target {
        None if request.method() == Method::CONNECT => Err(Refusal::Target),
        None => Err(Refusal::Method),
        Some(target) => gate.open(target).await,
    };
    match (way, target) {
        (Ok((server, address)), Some(target)) => {
            let client = hyper::upgrade::on(&mut request);
            let ok = Response::new(String::new());
            (ok, Some(Opened { target, server, address, client, since }))
        }
        (way, target) => {
            let refusal = way.err().unwrap_or(Refusal::Target);
            let asked = target.as_ref().map(|target| (&target.host, target.port));
            gate.outside.tell(&Line { milliseconds: since_then(since), ..Line::new(from, asked, Some(&refusal)) });
            (said(refusal.status(), format!("webhook-gate: {refusal}\n")), None)
        }
    }
}

/// The kubelet's questions, which name no server.
fn probed<O>(gate: &Gate<O>, request: &Request<Incoming>) -> Option<StatusCode> {
    let own = request.method() == Method::GET && request.uri().authority().is_none();
    match request.uri().path() {
        "/livez" if own => Some(StatusCode::OK),
        "/readyz" if own && *gate.phase.borrow() == Phase::Open => Some(StatusCode::OK),
        "/readyz" if own => Some(StatusCode::SERVICE_UNAVAILABLE),
        _ => None,
    }
}

fn said(status: StatusCode, text: String) -> Response<String> {
    let mut answer = Response::new(text);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("text/plain"));
    headers.insert(CONNECTION, hyper::header::HeaderValue::from_static("close"));
    answer
}

/// The tunnel, and its line.
async fn through<O: Outside>(gate: &Gate<O>, from: IpAddr, opened: Opened) {
    let Opened { target, mut server, address, client, since } = opened;
    let moved = Moved::default();
    let mut phase = gate.phase.subscribe();
    let end = tokio::select! {
        end = tunnel(gate, &target, client, &mut server, &moved) => end,
        _ = phase.wait_for(|phase| *phase == Phase::Closed) => Err(Refusal::Ended),
    };
    gate.outside.tell(&Line {
        address: Some(address),
        sent: moved.sent.load(Relaxed),
        received: moved.received.load(Relaxed),
        milliseconds: since_then(since),
        ..Line::new(from, Some((&target.host, target.port)), end.as_ref().err())
    });
}

async fn tunnel<O: Outside>(
    gate: &Gate<O>,
    target: &Target,
    client: OnUpgrade,
    server: &mut TcpStream,
    moved: &Moved,
) -> Result<(), Refusal> {
    let client: Upgraded = client.await.map_err(|_| Refusal::Broken)?;
    let mut client = TokioIo::new(client);
    let first = timeout(gate.limits.greeting, hello(&mut client, &target.host)).await;
    let first = first.map_err(|_| Refusal::LateHello)??;
    server.write_all(&first).await.map_err(|_: io::Error| Refusal::Broken)?;
    moved.sent.fetch_add(u64::try_from(first.len()).unwrap_or_default(), Relaxed);
    carry(client, server, moved, gate.limits.idle).await
}

fn since_then(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
