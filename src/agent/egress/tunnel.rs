//! Bytes in both directions.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::tell::Refusal;

const PIECE: usize = 8 << 10;

/// Bytes that went through.
#[derive(Debug, Default)]
pub(super) struct Moved {
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
}

impl Moved {
    fn total(&self) -> u64 {
        self.sent.load(Relaxed).wrapping_add(self.received.load(Relaxed))
    }
}

/// Carries until both sides have ended, or neither has said anything for that long (at most twice as long).
pub(super) async fn carry<C, S>(client: C, server: S, moved: &Moved, idle: Duration) -> Result<(), Refusal>
where
    C: AsyncRead + AsyncWrite,
    S: AsyncRead + AsyncWrite,
{
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let both = async {
        let there = pump(&mut from_client, &mut to_server, &moved.sent);
        let back = pump(&mut from_server, &mut to_client, &moved.received);
        tokio::try_join!(there, back)
    };
    tokio::pin!(both);
    loop {
        let before = moved.total();
        match timeout(idle, &mut both).await {
            Ok(ended) => return ended.map(drop).map_err(|_| Refusal::Broken),
            Err(_) if moved.total() == before => return Err(Refusal::Idle),
            Err(_) => {}
        }
    }
}

async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    moved: &AtomicU64,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let length = from.read(&mut piece).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(piece.get(..length).unwrap_or_default()).await?;
        moved.fetch_add(u64::try_from(length).unwrap_or_default(), Relaxed);
    }
}
