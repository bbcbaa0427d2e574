//! A user who keeps a WebSocket (RFC 6455) open, as a live view of a ward does.

use anyhow::{Context, Result, bail};
use futures::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

use super::load::Door;

/// Times that a user opens it again for one message: a server that goes away closes it in good order (code 1001).
const ATTEMPTS: usize = 3;

/// An open connection.
pub type Socket = WebSocketStream<TcpStream>;

/// The version that answers a message. A connection that the server closed in good order is opened again, and the message
/// sent again; one that breaks is an error.
pub async fn ask(door: &Door, kept: &mut Option<Socket>) -> Result<String> {
    for _ in 0..ATTEMPTS {
        let mut socket = match kept.take() {
            Some(socket) => socket,
            None => open(door).await?,
        };
        // What was sent into a closing connection is known by the answer.
        let sent = socket.send(Message::text("who are you?")).await;
        match socket.next().await {
            Some(Ok(Message::Text(version))) => {
                *kept = Some(socket);
                return Ok(version.to_string());
            }
            Some(Ok(Message::Close(Some(_)))) => {}
            Some(Ok(other)) => bail!("an answer that is none: {other:?}"),
            Some(Err(error)) => bail!("the WebSocket broke: {error}"),
            None => bail!("the WebSocket ended without a word: {sent:?}"),
        }
    }
    bail!("the WebSocket was closed {ATTEMPTS} times in a row")
}

async fn open(door: &Door) -> Result<Socket> {
    let stream = TcpStream::connect(&door.gateway).await.context("the gateway does not listen")?;
    let mut request = format!("ws://{}/socket", door.gateway).into_client_request()?;
    request.headers_mut().insert("host", HeaderValue::from_str(&door.host)?);
    let (socket, _) = client_async(request, stream).await.context("no WebSocket was opened")?;
    Ok(socket)
}
