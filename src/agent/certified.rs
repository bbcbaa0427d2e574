//! A server with TLS, for tests.

use std::sync::Arc;

use rustls::{ServerConfig, crypto::aws_lc_rs::default_provider, pki_types::PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// What takes connections for these names, and the certificate, which is its own authority.
pub fn certified(names: &[&str]) -> (TlsAcceptor, rcgen::Certificate) {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = config.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    (Arc::new(config).into(), made.cert)
}
