//! A body that is too large to be judged: it lies in a file without a name while
//! a human is asked, and leaves from there. Its digest is known before it is
//! shown, so that what was approved is what is sent (G3).

use crate::body::{NotRead, Progress, Source};
use crate::run::Run;
use crate::wire::NoBody;
use bytes::Bytes;
use countersign_broker::Countersigner;
use countersign_model::Digest;
use sha2::{Digest as _, Sha256};
use std::io::SeekFrom;
use std::sync::atomic::Ordering;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

const PIECE: usize = 64 << 10;
/// In what steps room is taken for a body of unknown length.
const STEP: usize = 4 << 20;

/// A body on disk. The file goes with this value.
pub(crate) struct Spooled {
    file: File,
    pub(crate) digest: Digest,
    pub(crate) length: u64,
    _held: Option<OwnedSemaphorePermit>,
}

/// Reads the rest of a body of which `begun` was read already.
pub(crate) async fn read<C: Countersigner>(
    reader: &mut Source<'_>,
    begun: Bytes,
    run: &Run<C>,
) -> Result<Spooled, NotRead> {
    let (idle, budget) = (run.limits.idle_request, &run.spool);
    let file = run.port.spool(&run.id).await;
    let mut file = File::from_std(file.map_err(|_| NotRead::NoRoom)?);
    let mut hash = Sha256::new();
    let (mut length, mut counted, mut held) = (0usize, 0usize, None);
    let mut next = Some(begun);
    while let Some(piece) = next {
        length += piece.len();
        if length > counted {
            let step = (length - counted).max(STEP);
            if !budget.take(step, &mut held) {
                return Err(NotRead::TooLong);
            }
            counted += step;
        }
        hash.update(&piece);
        file.write_all(&piece).await.map_err(|_| NotRead::NoRoom)?;
        next = reader.chunk(idle).await.map_err(NotRead::Ended)?;
    }
    file.flush().await.map_err(|_| NotRead::NoRoom)?;
    Ok(Spooled {
        file,
        digest: Digest::from_bytes(hash.finalize().into()),
        length: length as u64,
        _held: held,
    })
}

/// Moves it to the upstream. What is read back must be what was judged: the
/// last piece leaves only when the digest is the same.
pub(crate) async fn pump(
    spooled: &mut Spooled,
    to: mpsc::Sender<Result<Bytes, NoBody>>,
    progress: &Progress,
) {
    if let Err(why) = send(spooled, &to, progress).await {
        let _ = progress.broken.set(why);
        let _ = to.send(Err(why)).await;
    }
}

async fn send(
    spooled: &mut Spooled,
    to: &mpsc::Sender<Result<Bytes, NoBody>>,
    progress: &Progress,
) -> Result<(), NoBody> {
    let lost = |_| NoBody::Lost;
    spooled.file.seek(SeekFrom::Start(0)).await.map_err(lost)?;
    let mut hash = Sha256::new();
    let mut left = spooled.length;
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let mut piece = vec![0; most];
        let read = spooled.file.read(&mut piece).await.map_err(lost)?;
        if read == 0 {
            return Err(NoBody::Lost);
        }
        piece.truncate(read);
        hash.update(&piece);
        left -= read as u64;
        if left == 0 && Digest::from_bytes(hash.clone().finalize().into()) != spooled.digest {
            return Err(NoBody::Lost);
        }
        // Closed: the upstream takes no more. Its reply says why.
        if to.send(Ok(piece.into())).await.is_err() {
            return Ok(());
        }
        progress.sent.fetch_add(read as u64, Ordering::Relaxed);
    }
    Ok(())
}
