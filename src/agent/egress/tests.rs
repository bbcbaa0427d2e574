//! The gate over real sockets on the loopback. What stands in for the world says which of its addresses count as public.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs::default_provider, pki_types::ServerName};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

use super::*;
use crate::agent::certified::certified;

const HOST: &str = "hooks.example.org";

/// What a resolver says of some names: lists of answers, one after the other.
type Names<'a> = &'a [(&'a str, &'a [&'a [IpAddr]])];
/// Counts as public.
const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Does not.
const PRIVATE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// Answers of a resolver, one list after the other; the last one for ever.
#[derive(Default)]
struct Stage {
    names: BTreeMap<String, Vec<Vec<IpAddr>>>,
    asked: AtomicUsize,
    lines: Mutex<Vec<Value>>,
}

impl Outside for Arc<Stage> {
    async fn resolve(&self, name: &Name) -> io::Result<Vec<IpAddr>> {
        let number = self.asked.fetch_add(1, SeqCst);
        let answers = self.names.get(name.as_str()).ok_or(io::ErrorKind::NotFound)?;
        Ok(answers.get(number).or(answers.last()).unwrap().clone())
    }

    fn judge(&self, address: IpAddr) -> Result<IpAddr, Refused> {
        if address == PUBLIC { Ok(address) } else { special::judge(address, &[]) }
    }

    fn tell(&self, line: &Line<'_>) {
        self.lines.lock().unwrap().push(serde_json::to_value(line).unwrap());
    }
}

/// A gate that listens, for as long as it is held.
struct Running {
    stage: Arc<Stage>,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
}

impl Running {
    async fn new(port: u16, names: Names<'_>, limits: Limits) -> Self {
        let names = names.iter().map(|(name, answers)| {
            ((*name).to_owned(), answers.iter().map(|answer| answer.to_vec()).collect::<Vec<_>>())
        });
        let stage = Arc::new(Stage { names: names.collect(), ..Stage::default() });
        let listener = TcpListener::bind((PUBLIC, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let hosts = [HOST, "*.push.example.org"].map(|text| text.parse().unwrap()).to_vec();
        let gate = Gate::new(hosts, BTreeSet::from([port]), Arc::clone(&stage), limits);
        let (stop, told) = oneshot::channel();
        let served = tokio::spawn(serve(listener, Arc::new(gate), async {
            told.await.ok();
        }));
        Self { stage, address, stop: Some(stop), served }
    }

    /// A gate to one server, under its listed name.
    async fn to(port: u16) -> Self {
        Self::new(port, &[(HOST, &[&[PUBLIC]])], Limits::default()).await
    }

    /// Sends a head, and reads the head of the answer and its text, if it has one.
    async fn ask(&self, head: &str) -> (TcpStream, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(b"\r\n\r\n") && stream.read(&mut byte).await.unwrap_or(0) > 0 {
            answer.push(byte[0]);
        }
        if !answer.starts_with(b"HTTP/1.1 200") {
            let _ = stream.read_to_end(&mut answer).await;
        }
        (stream, String::from_utf8(answer).unwrap())
    }

    async fn connect(&self, target: &str) -> (TcpStream, String) {
        self.ask(&format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")).await
    }

    /// The only line, once it is there.
    async fn line(&self) -> Value {
        for _ in 0..500 {
            if let [line] = &self.stage.lines.lock().unwrap()[..] {
                return line.clone();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("not one line: {:?}", self.stage.lines.lock().unwrap());
    }
}

/// A certificate authority's one server.
fn tls(names: &[&str]) -> (TlsAcceptor, TlsConnector) {
    let (acceptor, certificate) = certified(names);
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let client = client.with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    (acceptor, Arc::new(client).into())
}

/// Answers every request with this, over TLS; the number of connections.
async fn server(at: IpAddr, port: u16, acceptor: TlsAcceptor, answer: String) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((at, port)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, SeqCst);
            let (acceptor, answer) = (acceptor.clone(), answer.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = [0; 1024];
                while stream.read(&mut request).await.unwrap_or(0) > 0 {
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
                stream.shutdown().await.unwrap();
            });
        }
    });
    (port, count)
}

async fn secured(stream: TcpStream, connector: &TlsConnector, name: &str) -> io::Result<TlsStream<TcpStream>> {
    connector.connect(ServerName::try_from(name.to_owned()).unwrap(), stream).await
}

async fn exchange(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), path: &str) -> String {
    stream.write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = [0; 1024];
    let length = stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

/// A server that must never be called: a port, and how often it was.
async fn trap(at: IpAddr, port: u16) -> (u16, Arc<AtomicUsize>) {
    let (acceptor, _) = tls(&[HOST]);
    server(at, port, acceptor, "inside".to_owned()).await
}

#[tokio::test]
async fn a_listed_name_is_called_and_one_line_says_so_without_a_word_of_what_was_said() {
    let (acceptor, connector) = tls(&[HOST]);
    let (port, _) = server(PUBLIC, 0, acceptor, "HTTP/1.1 204 patient".to_owned()).await;
    let gate = Running::to(port).await;
    let (stream, answer) = gate.connect(&format!("Hooks.Example.ORG.:{port}")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let mut stream = secured(stream, &connector, HOST).await.unwrap();
    assert_eq!(exchange(&mut stream, "/secret-path").await, "HTTP/1.1 204 patient");
    stream.shutdown().await.unwrap();
    let line = gate.line().await;
    assert_eq!((&line["verdict"], &line["host"], &line["port"]), (&"allowed".into(), &HOST.into(), &port.into()));
    assert_eq!(
        (&line["address"], &line["from"], &line["reason"]),
        (&"127.0.0.1".into(), &"127.0.0.1".into(), &Value::Null)
    );
    assert!(line["sent"].as_u64().unwrap() > 300 && line["received"].as_u64().unwrap() > 300, "{line}");
    assert!(!line.to_string().contains("secret-path") && !line.to_string().contains("patient"), "{line}");
}

/// A name whose second answer leads inside: whoever resolves twice, or dials the name, arrives there.
#[tokio::test]
async fn a_name_is_resolved_once_and_the_judged_address_is_dialled() {
    let (acceptor, connector) = tls(&[HOST]);
    let (port, outside) = server(PUBLIC, 0, acceptor, "outside".to_owned()).await;
    let (_, inside) = trap(PRIVATE, port).await;
    let gate = Running::new(port, &[(HOST, &[&[PUBLIC], &[PRIVATE]])], Limits::default()).await;
    let (stream, _) = gate.connect(&format!("{HOST}:{port}")).await;
    let mut stream = secured(stream, &connector, HOST).await.unwrap();
    assert_eq!(exchange(&mut stream, "/").await, "outside");
    assert_eq!([&gate.stage.asked, &*outside, &*inside].map(|count| count.load(SeqCst)), [1, 1, 0]);
    // The next request is judged by the next answer.
    let (_, answer) = gate.connect(&format!("{HOST}:{port}")).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert_eq!(inside.load(SeqCst), 0);
}

#[tokio::test]
async fn one_refused_address_refuses_the_name_and_the_client_is_not_told_which() {
    for answers in [[PUBLIC, PRIVATE], [PRIVATE, PUBLIC]] {
        let (port, inside) = trap(PRIVATE, 0).await;
        let gate = Running::new(port, &[(HOST, &[&answers])], Limits::default()).await;
        let (_, answer) = gate.connect(&format!("{HOST}:{port}")).await;
        assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("not on the internet"), "{answer}");
        assert!(!answer.contains("127.0.0.2"), "{answer}");
        let line = gate.line().await;
        assert_eq!((&line["verdict"], &line["address"]), (&"refused".into(), &"127.0.0.2".into()));
        assert!(line["reason"].as_str().unwrap().contains("127.0.0.2 is loopback, RFC 1122"), "{line}");
        assert_eq!(inside.load(SeqCst), 0);
    }
}

/// Names that are listed, resolved to what they must not be: the table of the product itself judges.
#[tokio::test]
async fn names_that_lead_inside_are_refused_in_both_worlds() {
    for address in [
        "10.0.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "192.168.1.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:10.0.0.1",
        "::ffff:127.0.0.2",
        "64:ff9b::a00:1",
        "2002:a00:1::",
        "fd00:ec2::254",
        "fe80::1",
        "ff02::1",
        "2001:db8::1",
    ] {
        let gate =
            Running::new(443, &[("a.push.example.org", &[&[address.parse().unwrap()]])], Limits::default()).await;
        let (_, answer) = gate.connect("a.push.example.org:443").await;
        assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("not on the internet"), "{address}: {answer}");
        assert_eq!(gate.line().await["verdict"], "refused", "{address}");
    }
}

#[tokio::test]
async fn addresses_are_no_names_in_whatever_notation() {
    let (port, inside) = trap(PUBLIC, 0).await;
    for host in [
        "127.0.0.1",
        "2130706433",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "0x7f.1",
        "0x7f000001",
        "127.1",
        "017700000001",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "localhost",
        "hooks.example.org@127.0.0.1",
        "127.0.0.1.",
    ] {
        let gate = Running::to(port).await;
        let (_, answer) = gate.connect(&format!("{host}:{port}")).await;
        assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("refused in every notation"), "{host}: {answer}");
        assert_eq!((&gate.line().await["verdict"], gate.stage.asked.load(SeqCst)), (&"refused".into(), 0), "{host}");
    }
    assert_eq!(inside.load(SeqCst), 0);
}

#[tokio::test]
async fn other_names_and_ports_are_refused_before_they_are_resolved() {
    for (target, why) in [
        ("other.example.org:443", "add it to spec.webhooks.hosts"),
        ("example.org:443", "add it to spec.webhooks.hosts"),
        ("push.example.org:443", "add it to spec.webhooks.hosts"),
        ("hooks.example.org.evil.net:443", "add it to spec.webhooks.hosts"),
        ("hooks.example.org:80", "port 80 is not served: call the server on port 443"),
        ("hooks.example.org:+443", ""),
    ] {
        let gate = Running::to(443).await;
        let (_, answer) = gate.connect(target).await;
        assert!(answer.starts_with("HTTP/1.1 40") && answer.contains(why), "{target}: {answer}");
        assert_eq!(gate.stage.asked.load(SeqCst), 0, "{target}");
    }
}

#[tokio::test]
async fn plain_http_is_told_to_use_https_and_its_path_is_not_kept() {
    let (port, inside) = trap(PUBLIC, 0).await;
    for head in [
        format!("GET http://{HOST}:{port}/secret-path HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
        format!("POST /secret-path HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Length: 4\r\n\r\nbody"),
        "GET http://127.0.0.1/livez HTTP/1.1\r\n\r\n".to_owned(),
    ] {
        let gate = Running::to(port).await;
        let (_, answer) = gate.ask(&head).await;
        assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("call the server with https://"), "{answer}");
        assert!(!gate.line().await.to_string().contains("secret-path"));
    }
    assert_eq!(inside.load(SeqCst), 0);
}

/// What a tunnel begins with, and the only line of a gate that saw it; the server must see nothing.
async fn begun_with(words: &[u8], closes: bool) -> Value {
    let listener = TcpListener::bind((PUBLIC, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let mut heard = Vec::new();
        let _ = listener.accept().await.unwrap().0.read_to_end(&mut heard).await;
        heard
    });
    let limits = Limits { greeting: Duration::from_millis(200), ..Limits::default() };
    let gate = Running::new(port, &[(HOST, &[&[PUBLIC]])], limits).await;
    let (mut stream, answer) = gate.connect(&format!("{HOST}:{port}")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    stream.write_all(words).await.unwrap();
    if closes {
        stream.shutdown().await.unwrap();
    }
    let line = gate.line().await;
    assert_eq!(server.await.unwrap(), b"", "nothing that is not meant for it reaches the server");
    assert_eq!((&line["sent"], &line["received"]), (&0.into(), &0.into()));
    line
}

/// The first words of a client that calls this name.
fn hello_to(name: &'static str) -> Vec<u8> {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let name = ServerName::try_from(name).unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut words = Vec::new();
    client.write_tls(&mut words).unwrap();
    words
}

#[tokio::test]
async fn what_is_no_tls_goes_nowhere() {
    let whole = hello_to(HOST);
    let mut ssl3 = whole.clone();
    ssl3[1] = 2;
    let alert = [0x15, 3, 3, 0, 2, 1, 0];
    let answer = [0x16, 3, 3, 0, 4, 2, 0, 0, 0];
    for words in [&b"GET / HTTP/1.1\r\nHost: inside\r\n\r\n"[..], b"SSH-2.0-x\r\n", &ssl3, &alert, &answer, &[0; 64]] {
        let line = begun_with(words, false).await;
        assert_eq!(line["verdict"], "refused", "{words:?}");
        assert!(line["reason"].as_str().unwrap().contains("no TLS ClientHello"), "{line}");
    }
    assert!(begun_with(&whole[..40], true).await["reason"].as_str().unwrap().contains("no TLS ClientHello"));
    assert!(begun_with(&whole[..40], false).await["reason"].as_str().unwrap().contains("did not come in time"));
    // A record after the other, none of which is whole.
    let endless = [&[0x16, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff][..], &vec![0; 40_000]].concat();
    assert_eq!(begun_with(&endless, false).await["verdict"], "refused");
}

#[tokio::test]
async fn tls_to_another_name_goes_nowhere() {
    for name in ["inside.example.org", "example.org", "127.0.0.1"] {
        let line = begun_with(&hello_to(name), false).await;
        assert_eq!(line["verdict"], "refused");
        assert!(line["reason"].as_str().unwrap().contains("names another server"), "{name}: {line}");
    }
}

#[tokio::test]
async fn what_comes_right_behind_the_request_is_not_lost() {
    let listener = TcpListener::bind((PUBLIC, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let gate = Running::to(port).await;
    let words = hello_to(HOST);
    let mut stream = TcpStream::connect(gate.address).await.unwrap();
    let head = format!("CONNECT {HOST}:{port} HTTP/1.1\r\nHost: {HOST}:{port}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), &words].concat()).await.unwrap();
    let mut heard = vec![0; words.len()];
    listener.accept().await.unwrap().0.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, words);
    let mut answer = [0; 256];
    let length = stream.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]).to_lowercase();
    // Some clients take a length or an end for a body, which a tunnel does not have (RFC 9110, 9.3.6).
    for header in ["content-length", "transfer-encoding", "connection: close"] {
        assert!(answer.starts_with("http/1.1 200 ok\r\n") && !answer.contains(header), "{answer}");
    }
}

/// In single bytes, as a slow client sends it.
#[tokio::test]
async fn a_client_hello_may_come_in_pieces() {
    let words = hello_to(HOST);
    let (mut client, mut gate) = tokio::io::duplex(1);
    let sent = words.clone();
    tokio::spawn(async move { client.write_all(&sent).await });
    assert_eq!(hello::hello(&mut gate, &HOST.parse().unwrap()).await, Ok(words));
}

/// A client that follows where it is led, as libraries do: each step is a tunnel of its own.
#[tokio::test]
async fn a_redirect_is_judged_like_the_first_request() {
    for led_to in [
        "https://inside.push.example.org/",
        "https://metadata.internal.example/latest",
        "https://127.0.0.2/",
        "https://2130706434/",
        "http://hooks.example.org/",
    ] {
        let (acceptor, connector) = tls(&[HOST]);
        let (port, _) = server(PUBLIC, 0, acceptor, format!("HTTP/1.1 302 Found\r\nLocation: {led_to}\r\n\r\n")).await;
        let (_, inside) = trap(PRIVATE, port).await;
        let names: Names<'_> = &[(HOST, &[&[PUBLIC]]), ("inside.push.example.org", &[&[PRIVATE]])];
        let gate = Running::new(port, names, Limits::default()).await;
        let (stream, _) = gate.connect(&format!("{HOST}:{port}")).await;
        let mut stream = secured(stream, &connector, HOST).await.unwrap();
        let answer = exchange(&mut stream, "/").await;
        let (_, location) = answer.trim_end().split_once("Location: ").unwrap();
        let (_, second) = match location.split_once("://").unwrap() {
            ("https", rest) => gate.connect(&format!("{}:{port}", rest.split('/').next().unwrap())).await,
            _ => gate.ask(&format!("GET {location} HTTP/1.1\r\n\r\n")).await,
        };
        assert!(second.starts_with("HTTP/1.1 403"), "{led_to}: {second}");
        assert_eq!(inside.load(SeqCst), 0, "{led_to}");
    }
}

#[tokio::test]
async fn servers_that_are_not_there_are_no_refusal_and_are_told_apart() {
    let port = TcpListener::bind((PUBLIC, 0)).await.unwrap().local_addr().unwrap().port();
    let gate = Running::to(port).await;
    let (_, answer) = gate.connect(&format!("{HOST}:{port}")).await;
    assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("accepts no connection"), "{answer}");
    assert_eq!(gate.line().await["verdict"], "failed");
    let unknown: [Names<'_>; 2] = [&[], &[(HOST, &[&[]])]];
    for names in unknown {
        let gate = Running::new(port, names, Limits::default()).await;
        let (_, answer) = gate.connect(&format!("{HOST}:{port}")).await;
        assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("no address"), "{answer}");
    }
}

fn short() -> Limits {
    let moment = Duration::from_millis(200);
    Limits { connections: 2, asking: moment, greeting: moment, idle: moment, draining: moment, ..Limits::default() }
}

#[tokio::test]
async fn requests_are_bounded_in_length_and_time() {
    let gate = Running::new(443, &[], short()).await;
    let long = format!("CONNECT {HOST}:443 HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(64 << 10));
    let mut stream = TcpStream::connect(gate.address).await.unwrap();
    let _ = stream.write_all(long.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&answer));
    let mut slow = TcpStream::connect(gate.address).await.unwrap();
    slow.write_all(b"CONNECT hooks").await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(5), slow.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "a request that does not end is ended");
    assert_eq!(gate.stage.asked.load(SeqCst), 0);
}

#[tokio::test]
async fn more_connections_than_there_may_be_wait_for_their_turn() {
    let gate = Running::new(443, &[], Limits { asking: Duration::from_secs(1), ..short() }).await;
    let _silent = [TcpStream::connect(gate.address).await.unwrap(), TcpStream::connect(gate.address).await.unwrap()];
    tokio::time::sleep(Duration::from_millis(100)).await;
    let started = tokio::time::Instant::now();
    let (_, answer) = gate.connect("other.example.org:443").await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert!(started.elapsed() > Duration::from_millis(500), "it did not wait: {:?}", started.elapsed());
}

#[tokio::test]
async fn a_tunnel_that_nobody_uses_ends() {
    let (acceptor, connector) = tls(&[HOST]);
    let (port, _) = server(PUBLIC, 0, acceptor, "here".to_owned()).await;
    let gate = Running::new(port, &[(HOST, &[&[PUBLIC]])], short()).await;
    let (stream, _) = gate.connect(&format!("{HOST}:{port}")).await;
    let mut stream = secured(stream, &connector, HOST).await.unwrap();
    assert_eq!(exchange(&mut stream, "/").await, "here");
    let line = gate.line().await;
    assert_eq!(line["verdict"], "allowed");
    assert!(line["reason"].as_str().unwrap().contains("idle"), "{line}");
}

#[tokio::test]
async fn a_gate_that_ends_lets_tunnels_end_first_but_not_for_ever() {
    let (acceptor, connector) = tls(&[HOST]);
    let (port, _) = server(PUBLIC, 0, acceptor, "here".to_owned()).await;
    let limits = Limits { idle: Duration::from_secs(60), draining: Duration::from_secs(1), ..Limits::default() };
    let mut gate = Running::new(port, &[(HOST, &[&[PUBLIC]])], limits).await;
    let (stream, _) = gate.connect(&format!("{HOST}:{port}")).await;
    let mut stream = secured(stream, &connector, HOST).await.unwrap();
    gate.stop.take().unwrap().send(()).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(exchange(&mut stream, "/").await, "here", "what is under way goes on");
    assert!(TcpStream::connect(gate.address).await.is_err(), "nobody else is let in");
    tokio::time::timeout(Duration::from_secs(10), &mut gate.served).await.unwrap().unwrap();
    assert!(gate.line().await["reason"].as_str().unwrap().contains("the gate ended"));
}

#[tokio::test]
async fn the_kubelet_is_answered_and_leaves_no_line() {
    let gate = Running::new(443, &[], Limits::default()).await;
    for path in ["/livez", "/readyz"] {
        let (_, answer) = gate.ask(&format!("GET {path} HTTP/1.1\r\nHost: 10.0.0.1:3128\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    drop(TcpStream::connect(gate.address).await.unwrap());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(gate.stage.lines.lock().unwrap().is_empty());
}
