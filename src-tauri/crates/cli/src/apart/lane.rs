//! The authority's side of one stream of requests: it decides, redeems at once,
//! and sees to it that what it released is cut when it must be.

use super::frame::{self, Reader, Sender};
use super::message::{FromGateway, Shape, ToGateway};
use countersign_broker::{Broker, Countersigner as _, Submission};
use countersign_model::{RequestId, RunId};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long a gateway may take to end a request that was cut, and to say how.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// More at once no gateway has, whatever its agent does: it ends.
const MOST: usize = 1024;

/// A request that was put to the broker and is not settled.
struct Open {
    request: RequestId,
    withdrawn: CancellationToken,
    released: Arc<AtomicBool>,
    _settled: oneshot::Sender<()>,
}

/// Serves until the gateway ends or breaks the protocol. Dropping the future
/// withdraws what is not decided; what was released is left to be settled.
pub(super) async fn serve(broker: Broker, run: RunId, stream: UnixStream) -> io::Result<()> {
    let (read, write) = stream.into_split();
    let (to, queue) = frame::queue();
    let mut writing = std::pin::pin!(frame::carry(queue, write));
    let mut reader = Reader::new(read);
    let mut open: HashMap<u64, Open> = HashMap::new();
    let mut tasks: JoinSet<io::Result<Option<u64>>> = JoinSet::new();
    loop {
        let message = tokio::select! {
            message = reader.next::<FromGateway>() => match message? {
                Some((message, _)) => message,
                None => return Ok(()),
            },
            Some(ended) = tasks.join_next() => {
                if let Some(call) = ended.map_err(io::Error::other)?? {
                    open.remove(&call);
                }
                continue;
            }
            written = &mut writing => return written,
        };
        match message {
            FromGateway::Decide { call, submission } => {
                if submission.run != run || open.len() >= MOST || open.contains_key(&call) {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                let (settled, is_settled) = oneshot::channel();
                let withdrawn = CancellationToken::new();
                let released = Arc::<AtomicBool>::default();
                open.insert(
                    call,
                    Open {
                        request: submission.request.clone(),
                        withdrawn: withdrawn.clone(),
                        released: Arc::clone(&released),
                        _settled: settled,
                    },
                );
                let (broker, to) = (broker.clone(), to.clone());
                tasks.spawn(async move {
                    let of_it = (&withdrawn, &*released);
                    one(&broker, &to, call, *submission, of_it, is_settled).await?;
                    Ok(Some(call))
                });
            }
            FromGateway::Withdraw { call } => {
                if let Some(open) = open.get(&call) {
                    open.withdrawn.cancel();
                }
            }
            FromGateway::Settle { call, settled } => {
                // Of its own requests alone; once; and after it was released, or
                // nobody would see to its cut.
                let Some(of_it) = open.remove(&call) else {
                    continue;
                };
                if of_it.request != settled.request || !of_it.released.load(Ordering::Acquire) {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                broker.settle(settled);
            }
            FromGateway::Ended {} => return Ok(()),
            FromGateway::Reject { call, rejected } => {
                if rejected.run != run || tasks.len() >= 2 * MOST {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                let (broker, to) = (broker.clone(), to.clone());
                tasks.spawn(async move {
                    broker.reject(rejected).await;
                    // A gateway that has ended needs no answer.
                    let _ = to.send(&ToGateway::Recorded { call }, &[]);
                    Ok(None)
                });
            }
        }
    }
}

/// From "may I?" to the record after.
///
/// # Errors
/// When what was cut goes on: that gateway must end.
async fn one(
    broker: &Broker,
    to: &Sender,
    call: u64,
    submission: Submission,
    (withdrawn, released): (&CancellationToken, &AtomicBool),
    settled: oneshot::Receiver<()>,
) -> io::Result<()> {
    let exact = submission.exact.clone();
    let deciding = async {
        let permit = broker.decide(submission).await?;
        broker.redeem(permit, &exact).await
    };
    let decided = tokio::select! { biased;
        () = withdrawn.cancelled() => return Ok(()),
        decided = deciding => decided,
    };
    // A gateway that has ended settles nothing: whoever started it does.
    let release = match decided {
        Ok(release) => release,
        Err(refusal) => {
            let _ = to.send(&ToGateway::Refused { call, refusal }, &[]);
            return Ok(());
        }
    };
    let (presented, secrets) = Shape::of(&release.presented);
    let request = release.request;
    let message = ToGateway::Released {
        call,
        request,
        presented,
    };
    released.store(true, Ordering::Release);
    let _ = to.send(&message, &secrets);
    tokio::pin!(settled);
    tokio::select! { biased;
        _ = &mut settled => return Ok(()),
        () = release.cut.cancelled() => {}
    }
    let _ = to.send(&ToGateway::Cut { call }, &[]);
    match tokio::time::timeout(LAST_WORDS, settled).await {
        Ok(_) => Ok(()),
        Err(_) => Err(io::Error::other("it went on with what was cut")),
    }
}
