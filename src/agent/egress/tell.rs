//! What is told of a connection: to the client in few words, in the log in all that there is.

use std::net::IpAddr;

use hyper::StatusCode;
use serde::Serialize;

use crate::tenant::{hostname::Name, special};

/// Why there is no tunnel, or no longer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("only CONNECT is served: call the server with https://, so that the client asks for a tunnel")]
    Method,
    #[error(
        "the target is no DNS name with a port, such as hooks.example.org:443; addresses are refused in every notation"
    )]
    Target,
    #[error("port {0} is not served: call the server on port {1}")]
    Port(u16, String),
    #[error("the host is not listed: add it to spec.webhooks.hosts of the HospitalTenant")]
    Host,
    #[error("the host has no address")]
    NoAddress,
    #[error("the host has an address that is not on the internet")]
    Address(special::Refused),
    #[error("the host accepts no connection")]
    Unreached,
    #[error("the host does not answer in time")]
    Late,
    #[error("what was sent first is no TLS ClientHello: only https:// goes through")]
    NoTls,
    #[error("the TLS ClientHello names another server than the request: the client must send the name that it calls")]
    OtherName,
    #[error("the TLS ClientHello did not come in time")]
    LateHello,
    #[error("the tunnel was idle for too long")]
    Idle,
    #[error("the tunnel broke off")]
    Broken,
    #[error("the gate ended before the tunnel did")]
    Ended,
}

impl Refusal {
    /// Status of the answer, while there is still one to give.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::NoAddress | Self::Unreached => StatusCode::BAD_GATEWAY,
            Self::Late => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::FORBIDDEN,
        }
    }

    fn verdict(&self) -> Verdict {
        match self {
            Self::NoAddress | Self::Unreached | Self::Late => Verdict::Failed,
            // It was let through, and ended.
            Self::Idle | Self::Broken | Self::Ended => Verdict::Allowed,
            _ => Verdict::Refused,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Allowed,
    Refused,
    Failed,
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Line<'a> {
    pub(super) verdict: Verdict,
    /// Who asked.
    pub(super) from: IpAddr,
    /// What was asked for, if it was a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) host: Option<&'a Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) port: Option<u16>,
    /// The address that was dialled, or refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    /// Bytes from the client to the server.
    pub(super) sent: u64,
    /// Bytes from the server to the client.
    pub(super) received: u64,
    pub(super) milliseconds: u64,
}

impl<'a> Line<'a> {
    /// A connection that ended by itself, or for that reason.
    pub(super) fn new(from: IpAddr, asked: Option<(&'a Name, u16)>, end: Option<&Refusal>) -> Self {
        // The client is told less: an answer may be shown to whoever gave the URL.
        let reason = end.map(|refusal| match refusal {
            Refusal::Address(refused) => format!("{refusal}: {refused}"),
            _ => refusal.to_string(),
        });
        let address = match end {
            Some(Refusal::Address(refused)) => Some(refused.address),
            _ => None,
        };
        Self {
            verdict: end.map_or(Verdict::Allowed, Refusal::verdict),
            from: from.to_canonical(),
            host: asked.map(|(host, _)| host),
            port: asked.map(|(_, port)| port),
            address,
            reason,
            sent: 0,
            received: 0,
            milliseconds: 0,
        }
    }
}
