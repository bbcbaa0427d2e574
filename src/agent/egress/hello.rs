//! The first words of a tunnel: a TLS ClientHello (RFC 8446, 4.1.2) with the name of the server (RFC 6066, 3), as rustls reads
//! it.

use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::tell::Refusal;
use crate::tenant::hostname::Name;

/// Most bytes of a ClientHello; those of browsers with keys for quantum computers have two thousand.
const LONGEST: usize = 16 << 10;

/// Reads until the ClientHello is whole and names that server; what was read, for the server. One that hides its name
/// (encrypted ClientHello) shows that of somebody else.
pub(super) async fn hello(client: &mut (impl AsyncRead + Unpin), asked: &Name) -> Result<Vec<u8>, Refusal> {
    let mut acceptor = Acceptor::default();
    let (mut all, mut piece) = (Vec::new(), [0; 2048]);
    loop {
        let length = client.read(&mut piece).await.map_err(|_| Refusal::NoTls)?;
        let mut new = piece.get(..length).unwrap_or_default();
        if new.is_empty() || all.len() + length > LONGEST {
            return Err(Refusal::NoTls);
        }
        all.extend_from_slice(new);
        while !new.is_empty() {
            acceptor.read_tls(&mut new).map_err(|_| Refusal::NoTls)?;
            if let Some(accepted) = acceptor.accept().map_err(|_| Refusal::NoTls)? {
                let named = accepted.client_hello().server_name().and_then(|name| name.parse::<Name>().ok());
                return if named.as_ref() == Some(asked) { Ok(all) } else { Err(Refusal::OtherName) };
            }
        }
    }
}
