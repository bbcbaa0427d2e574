//! `his-agent` as pods run it: files with secrets filled in, and questions to a server on the loopback.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "fixtures and helpers of tests"
)]

use std::{
    fs,
    io::{BufRead, Read, Write},
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

const BODY: &str = r#"{"method":"common.server.version"}"#;
const VALUE: &str = "correct-horse-battery";

fn agent(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_his-agent")).args(arguments).output().unwrap()
}

fn complaint(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Volumes of a pod as the kubelet mounts them.
struct Volumes(TempDir);

impl Volumes {
    fn new(template: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        for directory in ["templates/..2026", "secrets/app-session/..2026", "files", "bin"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        let volumes = Self(root);
        volumes.mounted("templates", "file-0", template);
        volumes.mounted("secrets/app-session", "value", &format!("{VALUE}\n"));
        volumes
    }

    /// A link to a link's target, beside the hidden directory.
    fn mounted(&self, volume: &str, name: &str, content: &str) {
        let volume = self.0.path().join(volume);
        fs::write(volume.join("..2026").join(name), content).unwrap();
        if !volume.join("..data").exists() {
            symlink("..2026", volume.join("..data")).unwrap();
        }
        symlink(Path::new("..data").join(name), volume.join(name)).unwrap();
    }

    fn path(&self, inside: &str) -> String {
        self.0.path().join(inside).display().to_string()
    }

    fn prepare(&self) -> Output {
        let [templates, secrets, files] = ["templates", "secrets", "files"].map(|volume| self.path(volume));
        agent(&[
            "prepare",
            "--templates",
            &templates,
            "--secrets",
            &secrets,
            "--files",
            &files,
            "--install",
            &self.path("bin"),
        ])
    }

    fn inode(&self, inside: &str) -> u64 {
        std::os::unix::fs::MetadataExt::ino(&fs::metadata(self.path(inside)).unwrap())
    }

    fn mode(&self, inside: &str) -> u32 {
        fs::metadata(self.path(inside)).unwrap().permissions().mode() & 0o7777
    }
}

#[test]
fn files_hold_the_secrets_and_only_the_pod_may_read_them() {
    let volumes = Volumes::new("key = ${secret:app-session/value}\nhome = ${HOME}\n");
    let output = volumes.prepare();
    assert!(output.status.success(), "{}", complaint(&output));
    assert_eq!(fs::read_to_string(volumes.path("files/file-0")).unwrap(), format!("key = {VALUE}\nhome = ${{HOME}}\n"));
    assert_eq!((volumes.mode("files/file-0"), volumes.mode("bin/his-agent")), (0o440, 0o555));
    let mut names: Vec<_> =
        fs::read_dir(volumes.path("files")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["file-0"], "hidden entries of the volume are no templates, and nothing is left behind");
    assert!(output.stdout.is_empty() && output.stderr.is_empty());
}

#[test]
fn the_installed_copy_is_the_same_program() {
    let volumes = Volumes::new("");
    assert!(volumes.prepare().status.success());
    assert_eq!(fs::read(volumes.path("bin/his-agent")).unwrap(), fs::read(env!("CARGO_BIN_EXE_his-agent")).unwrap());
    assert!(Command::new(volumes.path("bin/his-agent")).arg("--version").output().unwrap().status.success());
}

#[test]
fn a_second_run_leaves_what_is_right_and_mends_what_is_not() {
    let volumes = Volumes::new("${secret:app-session/value}");
    assert!(volumes.prepare().status.success());
    let before = (volumes.inode("files/file-0"), volumes.inode("bin/his-agent"));
    // As a run that was killed leaves it.
    fs::write(volumes.path("files/.file-0.new"), "half").unwrap();
    assert!(volumes.prepare().status.success());
    assert_eq!((volumes.inode("files/file-0"), volumes.inode("bin/his-agent")), before);
    fs::remove_file(volumes.path("files/file-0")).unwrap();
    fs::write(volumes.path("files/file-0"), "half").unwrap();
    assert!(volumes.prepare().status.success());
    assert_eq!(fs::read_to_string(volumes.path("files/file-0")).unwrap(), VALUE);
    assert_eq!(volumes.mode("files/file-0"), 0o440);
}

#[test]
fn a_link_in_the_place_of_a_file_is_replaced_and_not_followed() {
    let volumes = Volumes::new("new");
    fs::write(volumes.path("elsewhere"), "old").unwrap();
    symlink(volumes.path("elsewhere"), volumes.path("files/file-0")).unwrap();
    assert!(volumes.prepare().status.success());
    assert_eq!(fs::read_to_string(volumes.path("elsewhere")).unwrap(), "old");
    assert_eq!(fs::read_to_string(volumes.path("files/file-0")).unwrap(), "new");
}

#[test]
fn a_missing_secret_is_named_and_no_file_is_written() {
    let volumes = Volumes::new("${secret:app-session/value} ${secret:app-session/absent}");
    let output = volumes.prepare();
    let complaint = complaint(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint.contains("key absent of Secret app-session") && complaint.contains("file-0"), "{complaint}");
    assert!(!complaint.contains(VALUE), "{complaint}");
    assert_eq!(complaint.lines().count(), 1);
    assert!(!Path::new(&volumes.path("files/file-0")).exists());
}

#[test]
fn a_preparation_of_nothing_is_wrong_usage() {
    for arguments in [&["prepare"][..], &["prepare", "--templates", "/nowhere"], &["prepare", "--secrets", "/nowhere"]]
    {
        assert_eq!(agent(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

/// Serves one connection with raw bytes; says what it was asked.
fn server(answer: Vec<u8>, stays_open: Duration) -> (u16, thread::JoinHandle<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut request = Vec::new();
        while !request.ends_with(BODY.as_bytes()) {
            let mut piece = [0; 1024];
            let length = stream.read(&mut piece).unwrap();
            assert!(length > 0, "the request ends early: {}", String::from_utf8_lossy(&request));
            request.extend_from_slice(&piece[..length]);
        }
        // The probe may have gone by now.
        let _ = stream.write_all(&answer);
        if !stays_open.is_zero() {
            stream.set_read_timeout(Some(stays_open)).unwrap();
            let _ = stream.read(&mut [0; 16]);
        }
        String::from_utf8(request).unwrap()
    };
    (port, thread::spawn(serve))
}

fn ask(port: u16, expect: Option<&str>, timeout: &str) -> Output {
    let port = port.to_string();
    let mut arguments =
        vec!["probe", "rpc-post", "--port", &port, "--path", "/rpc?x=1", "--body", BODY, "--timeout", timeout];
    arguments.extend(expect.iter().flat_map(|expect| ["--expect", expect]));
    agent(&arguments)
}

/// Asks a server that answers with these bytes and closes.
fn answered(answer: &[u8], expect: Option<&str>) -> (Option<i32>, String) {
    let (port, server) = server(answer.to_vec(), Duration::ZERO);
    let output = ask(port, expect, "10");
    server.join().unwrap();
    let complaint = complaint(&output);
    assert!(output.stdout.is_empty() && !complaint.contains("7.0.59"), "the answer is printed: {complaint}");
    (output.status.code(), complaint)
}

#[test]
fn an_answer_counts_whatever_way_its_end_is_marked() {
    let answers: [&[u8]; 3] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n{\"result\":\"7.0.59\"}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"res\r\ne\r\nult\":\"7.0.59\"}\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n{\"result\":\"7.0.59\"}",
    ];
    for answer in answers {
        let text = String::from_utf8_lossy(answer);
        assert_eq!(answered(answer, Some("result")), (Some(0), String::new()), "{text}");
        assert_eq!(answered(answer, None), (Some(0), String::new()), "{text}");
        let (code, complaint) = answered(answer, Some("resolt"));
        assert_eq!(code, Some(1), "{text}");
        assert!(complaint.contains("does not contain the expected text"), "{complaint}");
    }
}

#[test]
fn the_request_is_a_json_post_to_the_loopback() {
    let (port, server) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(), Duration::ZERO);
    assert!(ask(port, None, "10").status.success());
    let request = server.join().unwrap().to_lowercase();
    let (head, _) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("post /rpc?x=1 http/1.1\r\n"), "{head}");
    for line in [
        format!("host: 127.0.0.1:{port}"),
        "content-type: application/json".into(),
        format!("content-length: {}", BODY.len()),
    ] {
        assert!(head.lines().any(|found| found == line), "{line} is not in {head}");
    }
}

#[test]
fn an_answer_that_is_wrong_broken_or_endless_fails_with_its_reason() {
    let endless = [b"HTTP/1.1 200 OK\r\n\r\nresult".to_vec(), vec![b'x'; (1 << 20) + 1]].concat();
    let cases: [(&[u8], &str); 5] = [
        (b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 6\r\n\r\nresult", "status 405"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nresult", "no complete HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nresult\r\n", "no complete HTTP answer"),
        (b"220 mail.example.org ESMTP 7.0.59\r\n", "no complete HTTP answer"),
        (&endless, "longer than 1048576 bytes"),
    ];
    for (answer, reason) in cases {
        let (code, complaint) = answered(answer, Some("result"));
        assert_eq!(code, Some(1), "{reason}");
        assert!(complaint.contains(reason) && complaint.lines().count() == 1, "{complaint}");
    }
}

#[test]
fn one_deadline_holds_for_the_whole_exchange() {
    for answer in [&b""[..], b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nresult"] {
        let (port, server) = server(answer.to_vec(), Duration::from_secs(20));
        let start = Instant::now();
        let output = ask(port, Some("result"), "1");
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
        assert_eq!(output.status.code(), Some(1));
        assert!(complaint(&output).contains("within 1 s"), "{}", complaint(&output));
        server.join().unwrap();
    }
}

#[test]
fn a_port_where_nobody_listens_fails_at_once() {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let output = ask(port, None, "10");
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint(&output).contains("accepts no connection"), "{}", complaint(&output));
}

/// Answers one request after the other with these statuses (and headers), the last one for ever; counts those that name the host.
fn gatekeeper(statuses: &'static [&'static str]) -> (u16, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&asked);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().take(1000).enumerate() {
            let (mut stream, mut request) = (stream.unwrap(), [0; 4096]);
            let read = stream.read(&mut request).unwrap();
            let request = String::from_utf8_lossy(&request[..read]).to_lowercase();
            if request.starts_with("get /ready http/1.1") && request.contains("host: st-elsewhere.example.org") {
                count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            let status = statuses.get(number).or(statuses.last()).unwrap();
            stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 7\r\n\r\npatient").as_bytes()).unwrap();
        }
    });
    (port, asked)
}

fn gate(port: u16, rounds: &str) -> Output {
    let check = format!(
        r#"{{"host":"127.0.0.1","port":{port},"authority":"st-elsewhere.example.org","ask":{{"http":{{"path":"/ready"}}}},"timeoutSeconds":3}}"#
    );
    agent(&["gate", "--check", &check, "--rounds", rounds, "--patience", "0"])
}

#[test]
fn a_gate_opens_after_three_rounds_in_a_row_and_a_failure_counts_from_the_beginning() {
    let (port, asked) = gatekeeper(&["200 OK", "200 OK", "503 Service Unavailable", "302 Found", "200 OK"]);
    let output = gate(port, "10");
    assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 6);
}

#[test]
fn a_gate_that_stays_closed_says_who_did_not_pass_and_nothing_of_the_answer() {
    let (port, _) = gatekeeper(&["500 Internal Server Error"]);
    let output = gate(port, "2");
    let said = complaint(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.contains(&format!("127.0.0.1:{port}")) && said.contains("status 500") && !said.contains("patient"),
        "{said}"
    );
    let output = agent(&["gate", "--check", "{}"]);
    assert_eq!(output.status.code(), Some(2), "a check that is none is wrong usage");
}

#[test]
fn a_gate_waits_for_a_service_that_leads_nowhere_yet() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let nowhere = |patience: &str| {
        let check = format!(r#"{{"host":"127.0.0.1","port":{port},"authority":"x","ask":"tcp","timeoutSeconds":1}}"#);
        agent(&["gate", "--check", &check, "--passes", "1", "--rounds", "1", "--patience", patience])
    };
    let output = nowhere("1");
    assert_eq!(output.status.code(), Some(1), "it does not wait for ever");
    let rounds = String::from_utf8_lossy(&output.stdout).lines().count();
    assert!(rounds > 1, "one round was all, although nobody took a connection: {}", complaint(&output));
    let server = thread::spawn(move || {
        thread::sleep(std::time::Duration::from_millis(1500));
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap().accept().unwrap();
    });
    assert_eq!(nowhere("30").status.code(), Some(0));
    server.join().unwrap();
}

const BLUE: &str = "200 OK\r\nhis-colour: blue";
const GREEN: &str = "200 OK\r\nhis-colour: green";
const DOWN: &str = "503 Service Unavailable\r\nhis-colour: green";

/// What the prober, and the alarm beside it, report of these answers; and for how long the prober went on after the alarm.
fn probe(answers: Vec<&'static str>) -> (Output, [serde_json::Value; 2], Duration) {
    let (port, _) = gatekeeper(answers.leak());
    let check = serde_json::json!({
        "host": "127.0.0.1", "port": port, "authority": "st-elsewhere.example.org", "timeoutSeconds": 5,
        "ask": {"http": {"path": "/ready"}},
    });
    let directory = tempfile::tempdir().unwrap();
    let [report, news, alarm] = ["report", "news", "alarm"].map(|file| directory.path().join(file));
    let [report_at, news_at, alarm_at] = [&report, &news, &alarm].map(|file| file.display().to_string());
    let beside = thread::spawn(move || {
        let output = agent(&["alarm", "--news", &news_at, "--report", &alarm_at, "--seconds", "20"]);
        assert!(output.status.success(), "{}", complaint(&output));
        Instant::now()
    });
    let output = agent(&[
        "prober",
        "--check",
        &check.to_string(),
        "--to",
        "green",
        "--interval-milliseconds",
        "10",
        "--quiet-seconds",
        "1",
        "--seconds",
        "12",
        "--news",
        news.to_str().unwrap(),
        "--report",
        &report_at,
    ]);
    let ended = Instant::now();
    let alarmed = beside.join().unwrap();
    let said = [report, alarm].map(|file| serde_json::from_slice(&fs::read(file).unwrap()).unwrap());
    (output, said, ended.saturating_duration_since(alarmed))
}

#[test]
fn a_prober_reports_who_answered_and_ends_when_the_new_copy_has_answered_alone() {
    let started = Instant::now();
    let (output, [seen, news], _) = probe([vec![BLUE; 30], vec![GREEN]].concat());
    assert!(output.status.success(), "{}", complaint(&output));
    assert!(started.elapsed() < Duration::from_secs(11), "it ended by its last resort");
    assert_eq!(seen, news, "nothing was told before the end");
    assert_eq!((&seen["failed"], &seen["breached"]), (&0.into(), &false.into()), "{seen}");
    assert_eq!(seen["old"], 30, "{seen}");
    assert!(seen["new"].as_i64().unwrap() >= 20, "{seen}");
}

#[test]
fn a_prober_tells_of_a_breach_at_once_and_goes_on_until_all_is_well_again() {
    let (output, [seen, news], went_on) = probe([vec![BLUE; 30], vec![DOWN; 60], vec![BLUE]].concat());
    assert!(output.status.success(), "{}", complaint(&output));
    assert_eq!((&news["breached"], &news["recoveredMilliseconds"]), (&true.into(), &serde_json::Value::Null), "{news}");
    assert!(went_on > Duration::from_secs(3), "it went on for {went_on:?}");
    assert_eq!((&seen["breached"], &seen["failed"]), (&true.into(), &60.into()), "{seen}");
    assert!(seen["recoveredMilliseconds"].as_i64().is_some_and(|ms| ms > 0), "{seen}");
    assert!(!format!("{output:?}{seen}{news}").contains("patient"));
}

#[test]
fn an_alarm_that_nobody_rings_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let at = |file: &str| directory.path().join(file).display().to_string();
    let output = agent(&["alarm", "--news", &at("news"), "--report", &at("report"), "--seconds", "1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint(&output).contains("there are no news in"), "{}", complaint(&output));
}

#[test]
fn a_prober_takes_authorities_as_pem_and_refuses_what_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let report = directory.path().join("report").display().to_string();
    let pem = rcgen::generate_simple_self_signed(["an authority".to_owned()]).unwrap().cert.pem();
    // Nobody listens there.
    let check =
        r#"{"host":"127.0.0.1","port":1,"authority":"h","tls":true,"ask":{"reach":{"path":"/"}},"timeoutSeconds":1}"#;
    let probe = |authorities: &str| {
        let words = ["prober", "--to", "green", "--quiet-seconds", "1", "--seconds", "1", "--check", check];
        agent(&[&words[..], &["--report", &report, "--authorities", authorities]].concat())
    };
    let output = probe(&pem);
    assert!(output.status.success(), "{}", complaint(&output));
    let seen: serde_json::Value = serde_json::from_str(&fs::read_to_string(&report).unwrap()).unwrap();
    assert!(seen["failed"].as_i64().unwrap() > 0 && seen["failed"] == seen["requests"], "{seen}");
    assert!(complaint(&probe("-----BEGIN NOTHING-----")).contains("PEM"));
}

/// What a probe of the network reports.
fn tried(tries: &[String]) -> serde_json::Value {
    let directory = tempfile::tempdir().unwrap();
    let report = directory.path().join("report").display().to_string();
    let mut arguments = vec!["probe", "network", "--rounds", "1", "--timeout", "2", "--report", &report];
    arguments.extend(tries.iter().flat_map(|one| ["--try", one]));
    let output = agent(&arguments);
    assert!(output.status.success(), "{}", complaint(&output));
    serde_json::from_str(&std::fs::read_to_string(&report).unwrap()).unwrap()
}

fn server_try(host: &str, port: u16, expect: &str) -> String {
    format!(r#"{{"to":{{"server":["{host}",{port}]}},"expect":"{expect}"}}"#)
}

#[test]
fn a_probe_of_the_network_reports_what_opened_and_what_did_not() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let open = listener.local_addr().unwrap().port();
    let closed = {
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        gone.local_addr().unwrap().port()
    };
    let good = tried(&[server_try("127.0.0.1", open, "open"), server_try("127.0.0.1", closed, "closed")]);
    assert_eq!(good, serde_json::json!({"refused": 1, "opened": [], "unreached": []}));
    let bad = tried(&[
        server_try("127.0.0.1", open, "closed"),
        server_try("127.0.0.1", closed, "open"),
        server_try("nobody.invalid", 80, "closed"),
        r#"{"to":"apiServer","expect":"closed"}"#.to_owned(),
    ]);
    let (opened, unreached) = (format!("127.0.0.1:{open}"), format!("127.0.0.1:{closed}"));
    let unreached = [unreached.as_str(), "nobody.invalid:80", "the API server"];
    assert_eq!(bad, serde_json::json!({"refused": 0, "opened": [opened], "unreached": unreached}));
}

#[test]
fn a_probe_of_the_network_tries_again_what_is_not_as_expected() {
    let place = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let late = thread::spawn(move || {
        thread::sleep(Duration::from_millis(1500));
        let listener = std::net::TcpListener::bind(place).unwrap();
        drop(listener.accept());
    });
    let directory = tempfile::tempdir().unwrap();
    let report = directory.path().join("report").display().to_string();
    let one = server_try("127.0.0.1", place.port(), "open");
    let output = agent(&["probe", "network", "--rounds", "3", "--timeout", "1", "--report", &report, "--try", &one]);
    assert!(output.status.success(), "{}", complaint(&output));
    assert_eq!(std::fs::read_to_string(&report).unwrap(), r#"{"refused":0,"opened":[],"unreached":[]}"#);
    late.join().unwrap();
}

/// One request to a gate on the loopback.
fn asked_of_gate(port: u16, head: &str) -> String {
    let mut stream = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.write_all(format!("{head} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_gate_refuses_tells_why_and_ends_when_it_is_told() {
    let mut gate = Command::new(env!("CARGO_BIN_EXE_his-agent"))
        .args(["egress", "--host", "hooks.example.org", "--deny", "192.0.2.0/24", "--listen", "0"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = std::io::BufReader::new(gate.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut lines = vec![log.next().unwrap()];
    let listening: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    let port = u16::try_from(listening["listening"].as_u64().unwrap()).unwrap();
    assert!(asked_of_gate(port, "GET /readyz").starts_with("HTTP/1.1 200"));
    // None of these is resolved.
    for (head, host) in [
        ("CONNECT other.example.org:443", Some("other.example.org")),
        ("CONNECT hooks.example.org:80", Some("hooks.example.org")),
        ("CONNECT 127.0.0.1:443", None),
        ("GET http://hooks.example.org/secret-path", None),
    ] {
        assert!(asked_of_gate(port, head).starts_with("HTTP/1.1 403"), "{head}");
        lines.push(log.next().unwrap());
        let line: serde_json::Value = serde_json::from_str(lines.last().unwrap()).unwrap();
        assert_eq!((line["verdict"].as_str(), line["host"].as_str()), (Some("refused"), host), "{head}");
        assert!(line["reason"].is_string() && !line.to_string().contains("secret-path"), "{line}");
    }
    assert!(Command::new("kill").args(["-TERM", &gate.id().to_string()]).status().unwrap().success());
    assert!(gate.wait().unwrap().success());
    assert_eq!(log.next(), None);
    assert_eq!(verified(&lines).unwrap(), "{\"lines\":5,\"first\":0,\"last\":4}\n");
    lines.remove(2);
    assert!(verified(&lines).unwrap_err().contains("line 3 was written after another line"));
}

/// What is said of a log.
fn verified(lines: &[String]) -> Result<String, String> {
    let verify = e2e::shell::command(env!("CARGO_BIN_EXE_his-agent")).arg("audit-verify").stdin(lines.join("\n"));
    verify.output().map_err(|error| error.to_string())
}

#[test]
fn a_gate_without_hosts_or_with_wrong_ones_is_wrong_usage() {
    for arguments in [
        &["egress"][..],
        &["egress", "--host", "*.org"],
        &["egress", "--host", "127.0.0.1"],
        &["egress", "--host", "hooks.example.org", "--deny", "192.0.2.1"],
    ] {
        let output = agent(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", complaint(&output));
    }
}
