//! `his-operator ask`: one question to a running operator, as `helm test` asks it.
//!
//! Guarantees: one GET without credentials, bounded by a deadline; of the answer only the status is looked at.

use std::time::Duration;

use clap::Args;
use http_body_util::Empty;
use hyper::{Request, StatusCode, body::Bytes, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::Instant};

/// For one try: a packet that a NetworkPolicy drops is never answered.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// What to ask, and for how long.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// Host and port, for example `10.96.0.20:8080`.
    #[arg(long)]
    address: String,
    /// Absolute path.
    #[arg(long, default_value = "/readyz")]
    path: String,
    /// Seconds until it must have answered 200.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
}

/// Why the answer is no.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No good answer in time.
    #[error("{address}{path} did not answer 200 within {seconds} s: {last}; look at the pods and at the NetworkPolicy")]
    NotReady {
        /// Whom.
        address: String,
        /// What.
        path: String,
        /// The deadline.
        seconds: u64,
        /// What came last.
        last: String,
    },
}

impl Arguments {
    /// Asks until the answer is 200 or the time is over.
    ///
    /// # Errors
    /// When there was no such answer.
    pub async fn run(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + Duration::from_secs(self.timeout);
        loop {
            let last = match tokio::time::timeout_at(deadline.min(Instant::now() + PATIENCE), self.once()).await {
                Ok(Ok(StatusCode::OK)) => return Ok(()),
                Ok(Ok(status)) => format!("the answer was {status}"),
                Ok(Err(error)) => error,
                Err(_) => "no answer".to_owned(),
            };
            if Instant::now() + PAUSE >= deadline {
                let (address, path) = (self.address.clone(), self.path.clone());
                return Err(Failure::NotReady { address, path, seconds: self.timeout, last });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn once(&self) -> Result<StatusCode, String> {
        let stream = TcpStream::connect(&self.address).await.map_err(|error| error.to_string())?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        // Ends with the request.
        tokio::spawn(connection);
        let request = Request::get(&self.path).header(HOST, &self.address).body(Empty::<Bytes>::new());
        let answer = sender.send_request(request.map_err(|error| error.to_string())?).await;
        answer.map(|answer| answer.status()).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Answers every request with these, one after the other, the last for ever.
    async fn server(answers: Vec<&'static str>) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            for n in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut buffer = [0; 1024];
                let _asked = stream.read(&mut buffer).await.unwrap();
                let answer = answers[n.min(answers.len() - 1)];
                stream.write_all(format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await.unwrap();
            }
        });
        address
    }

    fn ask(address: String, timeout: u64) -> Arguments {
        Arguments { address, path: "/readyz".to_owned(), timeout }
    }

    #[tokio::test]
    async fn an_operator_that_becomes_ready_in_time_passes() {
        let address = server(vec!["503 Service Unavailable", "200 OK"]).await;
        ask(address, 20).run().await.unwrap();
    }

    #[tokio::test]
    async fn one_that_does_not_fails_with_its_last_answer() {
        let address = server(vec!["503 Service Unavailable"]).await;
        let error = ask(address, 1).run().await.unwrap_err().to_string();
        assert!(error.contains("503"), "{error}");
    }
}
