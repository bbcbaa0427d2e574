//! Questions to the application of this pod that the kubelet has no words for: only 127.0.0.1 is asked.

use std::net::Ipv4Addr;

use clap::Args;

use super::{
    ask::{Failure, ask},
    trust::Trust,
};
use crate::capabilities::release::check::{Ask, Check};

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

impl RpcPost {
    /// Asks once.
    pub(super) fn run(&self) -> Result<(), Failure> {
        let check = Check {
            host: Ipv4Addr::LOCALHOST.to_string(),
            port: self.port,
            authority: format!("{}:{}", Ipv4Addr::LOCALHOST, self.port),
            tls: false,
            ask: Ask::RpcPost { path: self.path.clone(), body: self.body.clone(), expect: self.expect.clone() },
            timeout_seconds: self.timeout,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Start)?;
        runtime.block_on(ask(&check, &Trust::default())).map(drop)
    }
}
