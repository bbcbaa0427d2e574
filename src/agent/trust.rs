//! TLS to servers whose certificate must come from given authorities.

use std::{io, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Authorities that may certify a server. Of nobody by default: then no server is asked over TLS.
#[derive(Clone, Default)]
pub struct Trust(Option<TlsConnector>);

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Trust").field(&self.0.is_some()).finish()
    }
}

/// Why nobody can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// There is none.
    #[error("no certificate of an authority is given")]
    NoAuthority,
    /// It is no PEM, or no certificate.
    #[error("the authorities are no PEM certificates: {0}")]
    Unreadable(String),
    /// The library refuses.
    #[error("TLS cannot be set up: {0}")]
    SetUp(#[from] rustls::Error),
}

impl Trust {
    /// The authorities in a PEM text, and no others.
    pub fn in_authorities(pem: &str) -> Result<Self, Failure> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            roots.add(certificate.map_err(|error| Failure::Unreadable(error.to_string()))?)?;
        }
        if roots.is_empty() {
            return Err(Failure::NoAuthority);
        }
        let versions = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = versions.with_safe_default_protocol_versions()?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Some(TlsConnector::from(Arc::new(config)))))
    }

    /// Goes on over TLS with the server of this name.
    pub(super) async fn secure(&self, stream: TcpStream, name: &str) -> io::Result<TlsStream<TcpStream>> {
        let connector = self.0.as_ref().ok_or_else(|| io::Error::other("no authority is trusted"))?;
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        connector.connect(name, stream).await
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::{
        agent::{
            ask::{Answer, Failure as AskFailure, ask},
            certified::certified,
        },
        api::v1alpha1::Colour,
        capabilities::release::check::{Ask, Check},
    };

    const HOST: &str = "st-elsewhere.example.org";

    /// A server with a certificate for the host; its port, and the certificate as PEM.
    async fn server() -> (u16, String) {
        let (acceptor, certificate) = certified(&[HOST]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let _request = stream.read(&mut [0; 1024]).await.unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\nHis-Colour: green\r\nContent-Length: 0\r\n\r\n").await.unwrap();
                stream.shutdown().await.unwrap();
            }
        });
        (port, certificate.pem())
    }

    fn check(port: u16, authority: &str) -> Check {
        let ask = Ask::Reach { path: "/".to_owned() };
        Check {
            host: "127.0.0.1".to_owned(),
            port,
            authority: authority.to_owned(),
            tls: true,
            ask,
            timeout_seconds: 5,
        }
    }

    #[tokio::test]
    async fn only_the_host_itself_certified_by_a_given_authority_is_believed() {
        let (port, pem) = server().await;
        let trust = Trust::in_authorities(&pem).unwrap();
        let answer = ask(&check(port, HOST), &trust).await.unwrap();
        assert_eq!(answer, Answer { colour: Some(Colour::Green) });
        let other = Trust::in_authorities(&server().await.1).unwrap();
        for (authority, trust, why) in [
            ("another.example.org", &trust, "another host"),
            (HOST, &other, "another authority"),
            (HOST, &Trust::default(), "nobody is trusted"),
        ] {
            let refused = ask(&check(port, authority), trust).await;
            assert!(matches!(refused, Err(AskFailure::Secure { .. })), "{why}: {refused:?}");
        }
    }

    #[test]
    fn authorities_must_be_certificates() {
        assert!(matches!(Trust::in_authorities(""), Err(Failure::NoAuthority)));
        let broken = "-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n";
        assert!(Trust::in_authorities(broken).is_err());
    }
}
