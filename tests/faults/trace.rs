//! Every request that passed the proxy, and what became of it.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use his_operator::objects::digest;
use serde_json::{Value, json};

/// One request.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Which operator process sent it.
    pub process: usize,
    /// The hospital that it is about.
    pub tenant: Option<String>,
    pub method: String,
    pub path: String,
    pub query: String,
    /// What was to be written; of a Secret nothing.
    pub body: Value,
    /// Digest of the bytes that were sent.
    pub digest: String,
    /// What was done to it.
    pub verdict: String,
    /// The API server's own answer.
    pub code: Option<u16>,
    pub began: Instant,
    pub ended: Option<Instant>,
}

impl Entry {
    pub fn is_write(&self) -> bool {
        self.method != "GET"
    }

    /// Whether the API server has done it.
    pub fn is_done(&self) -> bool {
        self.is_write() && self.code.is_some_and(|code| code < 300)
    }

    /// Resource, name and subresource: `jobs`, `init-1`, ``. The name of a POST is in its body.
    pub fn address(&self) -> (String, String, String) {
        let mut parts: Vec<&str> = self.path.split('/').filter(|part| !part.is_empty()).collect();
        parts.drain(..if parts.first() == Some(&"api") { 2 } else { 3.min(parts.len()) });
        if parts.first() == Some(&"namespaces") && parts.len() > 2 {
            parts.drain(..2);
        }
        let at = |place: usize| parts.get(place).map(|part| (*part).to_owned());
        let own = self.body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        (at(0).unwrap_or_default(), at(1).unwrap_or(own), at(2).unwrap_or_default())
    }

    /// The field manager that it names.
    pub fn manager(&self) -> Option<&str> {
        self.query.split('&').find_map(|pair| pair.strip_prefix("fieldManager="))
    }

    /// For people.
    pub fn words(&self) -> String {
        format!("{} {}?{} {} -> {:?} ({})", self.method, self.path, self.query, self.digest, self.code, self.verdict)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Trace(Mutex<Vec<Entry>>);

impl Trace {
    /// A request has come; its number.
    pub fn began(&self, process: usize, tenant: Option<&str>, request: (&str, &http::Uri), body: &[u8]) -> usize {
        let (method, uri) = request;
        let secret = uri.path().contains("/secrets");
        let read = || serde_json::from_slice(body).unwrap_or(Value::Null);
        let name = |body: Value| json!({ "metadata": { "name": body["metadata"]["name"] } });
        let entry = Entry {
            process,
            tenant: tenant.map(ToOwned::to_owned),
            method: method.to_owned(),
            path: uri.path().to_owned(),
            query: uri.query().unwrap_or_default().to_owned(),
            body: if secret && method == "POST" { name(read()) } else { read() },
            digest: digest(&body),
            verdict: "passed".to_owned(),
            code: None,
            began: Instant::now(),
            ended: None,
        };
        let mut entries = self.0.lock().unwrap();
        entries.push(entry);
        entries.len() - 1
    }

    pub fn verdict(&self, number: usize, verdict: impl Into<String>) {
        self.0.lock().unwrap()[number].verdict = verdict.into();
    }

    /// The API server has answered.
    pub fn ended(&self, number: usize, code: u16) {
        let entry = &mut self.0.lock().unwrap()[number];
        entry.code = Some(code);
        entry.ended = Some(Instant::now());
    }

    pub fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Everything about one hospital from that number on.
    pub fn about(&self, tenant: &str, from: usize) -> Vec<Entry> {
        self.select(from, |entry| entry.tenant.as_deref() == Some(tenant))
    }

    pub fn select(&self, from: usize, which: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        self.0.lock().unwrap()[from..].iter().filter(|entry| which(entry)).cloned().collect()
    }
}

/// Most of these moments that lie within one second.
pub fn densest(moments: impl IntoIterator<Item = Instant>) -> usize {
    let mut moments: Vec<Instant> = moments.into_iter().collect();
    moments.sort_unstable();
    let within = |(at, first): (usize, &Instant)| {
        moments[at..].iter().take_while(|moment| **moment < *first + Duration::from_secs(1)).count()
    };
    moments.iter().enumerate().map(within).max().unwrap_or_default()
}

#[test]
fn the_densest_second_is_found() {
    let start = Instant::now();
    let at = |millis: u64| start + Duration::from_millis(millis);
    assert_eq!(densest([at(5000), at(0), at(900), at(1800), at(1850), at(2799)]), 3);
    assert_eq!(densest([]), 0);
}
