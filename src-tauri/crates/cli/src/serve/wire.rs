//! Frames over a tokio stream.

use countersign_protocol::frame;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use zeroize::Zeroizing;

/// Reads one message; `None` at an orderly end.
pub(crate) async fn read<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<T>> {
    let length = match from.read_u32().await {
        Ok(length) => length as usize,
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(e),
    };
    if length > frame::LIMIT {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "frame over the limit",
        ));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes).await?;
    frame::decode(&bytes).map(Some)
}

/// Writes one message.
pub(crate) async fn write<T: Serialize>(
    to: &mut (impl AsyncWrite + Unpin),
    message: &T,
) -> io::Result<()> {
    to.write_all(&frame::encode(message)?).await?;
    to.flush().await
}

/// Reads the raw bytes that follow a message.
pub(crate) async fn read_secret(
    from: &mut (impl AsyncRead + Unpin),
    length: usize,
) -> io::Result<Zeroizing<Vec<u8>>> {
    if length > frame::SECRET_LIMIT {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "secret over the limit",
        ));
    }
    let mut bytes = Zeroizing::new(vec![0; length]);
    from.read_exact(&mut bytes).await?;
    Ok(bytes)
}
