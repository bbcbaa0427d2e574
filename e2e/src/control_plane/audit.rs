//! Reads the audit log of an API server, which is how requests are counted.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

/// One answered request. A watch counts from the moment it is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    pub id: String,
    pub user: String,
    pub user_agent: String,
    /// Kubernetes verb: get, list, watch, create, update, patch, delete, deletecollection.
    pub verb: String,
    /// API group, empty for the core group and for requests that name no resource.
    pub group: String,
    /// Plural resource, empty for paths such as `/readyz`.
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub uri: String,
    /// HTTP status.
    pub code: u16,
    /// When the request came in, RFC 3339.
    pub received: String,
    /// When it was answered (a watch: when it was accepted), RFC 3339.
    pub answered: String,
}

impl AuditEvent {
    /// Whether the request asked for a change.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    #[serde(rename = "auditID")]
    audit_id: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    verb: String,
    user: User,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: ObjectRef,
    response_status: Option<ResponseStatus>,
    request_received_timestamp: String,
    #[serde(default)]
    stage_timestamp: String,
}

/// Nobody, where the server did not believe who it was: the token of a pod that has just gone.
#[derive(Deserialize, Default)]
#[serde(default)]
struct User {
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ResponseStatus {
    code: u16,
}

/// Every request that the log holds, in the order of the answers.
pub fn read(path: &Path) -> Result<Vec<AuditEvent>> {
    Tail::of(path).read()
}

/// Reads a growing log piece by piece.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    offset: u64,
    watches: BTreeSet<String>,
}

impl Tail {
    /// From the first line on.
    pub fn of(path: &Path) -> Self {
        Self { path: path.to_path_buf(), offset: 0, watches: BTreeSet::new() }
    }

    /// Every request that was written down since the last call, in the order of the answers.
    pub fn read(&mut self) -> Result<Vec<AuditEvent>> {
        let text = self.rest().with_context(|| format!("cannot read audit log {}", self.path.display()))?;
        // The last line may still be in the writing.
        let whole = text.rfind('\n').and_then(|end| text.get(..=end)).unwrap_or_default();
        self.offset += u64::try_from(whole.len()).unwrap_or_default();
        let mut events = Vec::new();
        for line in whole.lines() {
            let line: Line = serde_json::from_str(line).with_context(|| format!("unexpected audit line: {line}"))?;
            // A watch is written down twice: when accepted and when it ends.
            if line.verb != "watch" || self.watches.insert(line.audit_id.clone()) {
                events.push(event(line));
            }
        }
        Ok(events)
    }

    fn rest(&self) -> std::io::Result<String> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        // A character that is cut in two belongs to a line that is still in the writing.
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn event(line: Line) -> AuditEvent {
    AuditEvent {
        id: line.audit_id,
        user: line.user.username,
        user_agent: line.user_agent,
        verb: line.verb,
        group: line.object_ref.api_group,
        resource: line.object_ref.resource,
        subresource: line.object_ref.subresource,
        namespace: line.object_ref.namespace,
        name: line.object_ref.name,
        uri: line.request_uri,
        code: line.response_status.unwrap_or_default().code,
        received: line.request_received_timestamp,
        answered: line.stage_timestamp,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const LOG: &str = concat!(
        r#"{"auditID":"1","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/a/secrets/s","verb":"get","user":{"username":"eve"},"objectRef":{"resource":"secrets","namespace":"a","name":"s","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":403},"requestReceivedTimestamp":"2026-01-01T00:00:00Z"}"#,
        "\n",
        r#"{"auditID":"2","stage":"ResponseStarted","requestURI":"/api/v1/pods?watch=1","verb":"watch","user":{"username":"eve"},"objectRef":{"resource":"pods"},"responseStatus":{"code":200},"requestReceivedTimestamp":"2026-01-01T00:00:00Z"}"#,
        "\n",
        r#"{"auditID":"2","stage":"ResponseComplete","requestURI":"/api/v1/pods?watch=1","verb":"watch","user":{"username":"eve"},"objectRef":{"resource":"pods"},"responseStatus":{"code":200},"requestReceivedTimestamp":"2026-01-01T00:00:00Z"}"#,
        "\n{\"auditID\":\"3\",\"sta"
    );

    #[test]
    fn each_request_counts_once_and_a_half_written_line_not_yet() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        fs::write(&path, LOG).unwrap();
        let events = read(&path).unwrap();
        let short: Vec<_> =
            events.iter().map(|event| (event.verb.as_str(), event.resource.as_str(), event.code)).collect();
        assert_eq!(short, [("get", "secrets", 403), ("watch", "pods", 200)]);
    }

    #[test]
    fn a_request_of_nobody_counts_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let line = r#"{"auditID":"4","stage":"ResponseStarted","requestURI":"/apis","verb":"update","user":{},"responseStatus":{"code":401},"requestReceivedTimestamp":"2026-01-01T00:00:00Z"}"#;
        fs::write(&path, format!("{line}\n")).unwrap();
        let events = read(&path).unwrap();
        assert_eq!(events.iter().map(|event| (event.user.as_str(), event.code)).collect::<Vec<_>>(), [("", 401)]);
    }

    #[test]
    fn a_growing_log_is_read_once_and_a_line_only_when_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        fs::write(&path, LOG).unwrap();
        let mut tail = Tail::of(&path);
        assert_eq!(tail.read().unwrap().len(), 2);
        assert_eq!(tail.read().unwrap(), []);
        let whole = LOG.lines().next().unwrap().replace(r#""auditID":"1""#, r#""auditID":"3""#);
        fs::write(&path, format!("{}{whole}\n", &LOG[..=LOG.rfind('\n').unwrap()])).unwrap();
        assert_eq!(tail.read().unwrap().iter().map(|event| event.id.as_str()).collect::<Vec<_>>(), ["3"]);
    }
}
