//! The door of the control socket: one thread that accepts, hears what is asked
//! without taking it, and engages the stop itself. Everything else has a thread of
//! its own, as long as its connection lasts.
//!
//! For with a message descriptors can come along (`SCM_RIGHTS`, unix(7)). Whoever
//! takes it closes them, and to close one can take as long as its sender likes
//! (`SO_LINGER`, socket(7)). A message that is only looked at keeps them. Where the
//! kernel can be told to let none through, it is ([`crate::rights`]).

use super::Authority;
use super::control::{self, Stopped, done, failed};
use crate::{exit, rights};
use countersign_protocol::control::{Ask, Reply};
use countersign_protocol::frame;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use std::collections::HashMap;
use std::io;
use std::mem::ManuallyDrop;
use std::os::unix::net::UnixListener;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// So many commands and runs at once.
const CONNECTIONS: usize = 128;
/// So many whose stop is carried out, and who wait until it is written down.
const STOPS: usize = 32;
/// So many that have not said yet what they want; one more, and the oldest goes.
const SILENT: usize = 256;
/// So many of one process.
const OF_ONE: usize = 16;
/// How long a peer may take to say what it wants.
const FIRST_WORDS: Duration = Duration::from_secs(5);
/// So many are accepted before it is looked again who has spoken.
const AT_ONCE: usize = 32;
/// Without a descriptor left: how long until one may have come back.
const REST: Duration = Duration::from_millis(50);
/// A message that is longer, in bytes, is no stop.
const LOOK: usize = 8 << 10;
/// For one who has enough.
const ENOUGH: &str = "This process has too many connections here at once. End some first.";
/// What a thread needs that closes a connection.
const STACK: usize = 64 << 10;

/// Opens it. It is served until the process ends; what is connected, until
/// `over` is cancelled.
///
/// # Errors
/// When no thread can be had.
pub(super) fn open(
    authority: &Arc<Authority>,
    listener: UnixListener,
    over: &CancellationToken,
) -> io::Result<()> {
    let door = Door {
        authority: Arc::clone(authority),
        runtime: Handle::current(),
        over: over.clone(),
        places: Arc::new(Semaphore::new(CONNECTIONS)),
        stops: Arc::new(Semaphore::new(STOPS)),
        counts: Arc::default(),
    };
    std::thread::Builder::new()
        .name("control".into())
        .spawn(move || door.attend(&listener))
        .map(drop)
}

struct Door {
    authority: Arc<Authority>,
    runtime: Handle,
    over: CancellationToken,
    places: Arc<Semaphore>,
    stops: Arc<Semaphore>,
    counts: Arc<Counts>,
}

/// Who is connected.
struct Guest {
    stream: UnixStream,
    since: Instant,
    /// `None` for one more than its process may have.
    counted: Option<Counted>,
}

/// What somebody has said.
enum Heard {
    Nothing,
    /// It has hung up.
    Gone,
    Stop(Box<Ask>),
    Else,
}

impl Door {
    fn attend(&self, listener: &UnixListener) {
        let mut silent: Vec<Guest> = Vec::new();
        let mut rests_until = None::<Instant>;
        loop {
            let now = Instant::now();
            let rests = rests_until.is_some_and(|until| now < until);
            let next = silent.first().map(|guest| guest.since + FIRST_WORDS);
            let next = next.into_iter().chain(rests_until.filter(|_| rests)).min();
            let spoke = wait(listener, rests, &silent, next);
            for (guest, spoke) in std::mem::take(&mut silent).into_iter().zip(spoke) {
                if spoke {
                    silent.extend(self.hear(guest));
                } else if guest.since.elapsed() < FIRST_WORDS {
                    silent.push(guest);
                } else {
                    put_away(guest);
                }
            }
            rests_until = None;
            for _ in 0..AT_ONCE {
                match self.accept(listener) {
                    Ok(guest) if guest.counted.is_some() => silent.extend(self.hear(guest)),
                    Ok(guest) => {
                        say(&guest.stream, &failed(exit::FAILED, ENOUGH));
                        put_away(guest);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) => {
                        rests_until = Some(Instant::now() + REST);
                        break;
                    }
                }
            }
            while silent.len() > SILENT {
                put_away(silent.remove(0));
            }
        }
    }

    /// The next who comes in.
    fn accept(&self, listener: &UnixListener) -> io::Result<Guest> {
        let (stream, _) = listener.accept()?;
        stream.set_nonblocking(true)?;
        let _there = self.runtime.enter();
        let stream = UnixStream::from_std(stream)?;
        let pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
        Ok(Guest {
            stream,
            since: Instant::now(),
            counted: self.counts.one_more(pid.unwrap_or(0)),
        })
    }

    /// Lets in who has said what it wants; gives back who has not.
    fn hear(&self, guest: Guest) -> Option<Guest> {
        match heard(&guest.stream) {
            Heard::Nothing => return Some(guest),
            Heard::Gone => put_away(guest),
            Heard::Stop(ask) => self.stop(guest, *ask),
            Heard::Else => self.let_in(guest, &self.places, None),
        }
        None
    }

    /// Here and now, whatever else goes on.
    fn stop(&self, guest: Guest, ask: Ask) {
        if let Err(sentence) = control::may_talk(&self.authority, &guest.stream) {
            say(&guest.stream, &failed(exit::FAILED, sentence));
            return put_away(guest);
        }
        // Whoever gave up waiting has pressed by other means, and once.
        if has_hung_up(&guest.stream) && self.authority.broker.stop().is_engaged() {
            return put_away(guest);
        }
        match Stopped::by(&self.authority.broker, ask) {
            Some(stopped) => self.let_in(guest, &self.stops, Some(stopped)),
            None => put_away(guest),
        }
    }

    /// A thread of its own, which takes the message.
    fn let_in(&self, guest: Guest, places: &Arc<Semaphore>, stopped: Option<Stopped>) {
        if self.authority.ending.load(Ordering::SeqCst) {
            return put_away(guest);
        }
        let Ok(place) = Arc::clone(places).try_acquire_owned() else {
            let reply = match stopped {
                Some(stopped) => done(stopped.sentence()),
                None => failed(
                    exit::FAILED,
                    "Too many commands and runs are under way at once. End some first.",
                ),
            };
            say(&guest.stream, &reply);
            return put_away(guest);
        };
        let (authority, over) = (Arc::clone(&self.authority), self.over.clone());
        let runtime = self.runtime.clone();
        self.runtime.spawn_blocking(move || {
            let _place = place;
            let Guest {
                stream, counted, ..
            } = guest;
            runtime.block_on(async {
                tokio::select! {
                    // A peer that is gone has nothing left to hear.
                    _ = control::connection(&authority, stream, FIRST_WORDS, stopped) => {}
                    () = over.cancelled() => {}
                }
            });
            drop(counted);
        });
    }
}

/// Waits for somebody to come, to speak, or to be silent for too long; who spoke.
fn wait(
    listener: &UnixListener,
    rests: bool,
    silent: &[Guest],
    next: Option<Instant>,
) -> Vec<bool> {
    let coming = if rests {
        PollFlags::empty()
    } else {
        PollFlags::IN
    };
    let mut all = vec![PollFd::new(listener, coming)];
    all.extend(
        silent
            .iter()
            .map(|guest| PollFd::new(&guest.stream, PollFlags::IN)),
    );
    let left = next.map(|at| at.saturating_duration_since(Instant::now()));
    // Up to the next whole millisecond by the kernel: never before its time.
    let left = left.map(|left| Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: left.subsec_nanos().into(),
    });
    // Interrupted, or without memory: whoever has spoken is looked at again.
    let _ = poll(&mut all, left.as_ref());
    all.iter()
        .skip(1)
        .map(|fd| !fd.revents().is_empty())
        .collect()
}

/// What has been said so far, left where it is. A stop is written at once and as
/// a whole: what comes in pieces, or is longer, is something else.
fn heard(stream: &UnixStream) -> Heard {
    let mut bytes = [0; LOOK];
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    let there = match rustix::net::recv(stream, &mut bytes, flags) {
        Ok((_, 0)) => return Heard::Gone,
        Ok((_, length)) => bytes.get(..length).unwrap_or_default(),
        Err(Errno::AGAIN | Errno::INTR) => return Heard::Nothing,
        Err(_) => return Heard::Gone,
    };
    let message = there.split_first_chunk::<4>().and_then(|(length, rest)| {
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        rest.get(..length)
    });
    match message.map(frame::decode::<Ask>) {
        Some(Ok(ask @ Ask::Stop { .. })) => Heard::Stop(Box::new(ask)),
        _ => Heard::Else,
    }
}

fn has_hung_up(stream: &UnixStream) -> bool {
    let mut one = [PollFd::new(stream, PollFlags::empty())];
    let at_once = Timespec::default();
    poll(&mut one, Some(&at_once)).is_ok() && one[0].revents().contains(PollFlags::HUP)
}

/// Says one last thing, if there is room for it: nobody waits for that.
fn say(stream: &UnixStream, reply: &Reply) {
    if let Ok(bytes) = frame::encode(reply) {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let _ = rustix::net::send(stream, &bytes, flags);
    }
}

/// Closes a connection from which nothing was taken. Where descriptors may lie in
/// it, a thread of its own does.
fn put_away(guest: Guest) {
    if rights::none_came(&guest.stream) {
        return drop(guest);
    }
    // From here on nothing more comes in.
    let _ = rustix::net::shutdown(&guest.stream, Shutdown::Both);
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    if matches!(
        rustix::net::recv(&guest.stream, &mut [0; 1], flags),
        Ok((_, 1..))
    ) {
        // Without a thread it stays open.
        let guest = ManuallyDrop::new(guest);
        let close = move || drop(ManuallyDrop::into_inner(guest));
        drop(std::thread::Builder::new().stack_size(STACK).spawn(close));
    }
}

/// How many connections each process has.
#[derive(Default)]
struct Counts(Mutex<HashMap<i32, usize>>);

/// One connection of a process.
struct Counted {
    of: Arc<Counts>,
    pid: i32,
}

impl Counts {
    fn one_more(self: &Arc<Self>, pid: i32) -> Option<Counted> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(pid).or_default();
        if *count >= OF_ONE {
            return None;
        }
        *count += 1;
        Some(Counted {
            of: Arc::clone(self),
            pid,
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut all = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.pid) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.pid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage};
    use std::io::{IoSlice, Write as _};
    use std::mem::MaybeUninit;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd as _;

    /// How long the hostile descriptor takes to close.
    const LINGERS: Duration = Duration::from_secs(2);

    /// Where its connection is never read, and the descriptor.
    fn hostile() -> (TcpListener, TcpStream) {
        let there = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut here = TcpStream::connect(there.local_addr().unwrap()).unwrap();
        here.set_nonblocking(true).unwrap();
        while here.write(&[0; 1 << 16]).is_ok() {}
        rustix::net::sockopt::set_socket_linger(&here, Some(LINGERS)).unwrap();
        (there, here)
    }

    /// What the door sees of somebody who sent this, and the descriptor with it.
    fn guest(words: &[u8], along: TcpStream) -> (std::os::unix::net::UnixStream, Guest) {
        let (theirs, ours) = std::os::unix::net::UnixStream::pair().unwrap();
        let carry = [along.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&carry)));
        let data = [IoSlice::new(words)];
        rustix::net::sendmsg(&theirs, &data, &mut ancillary, SendFlags::empty()).unwrap();
        drop(along);
        ours.set_nonblocking(true).unwrap();
        let guest = Guest {
            stream: UnixStream::from_std(ours).unwrap(),
            since: Instant::now(),
            counted: None,
        };
        (theirs, guest)
    }

    #[tokio::test]
    async fn a_stop_is_heard_and_a_guest_sent_away_while_what_came_along_takes_its_time() {
        let stop = frame::encode(&Ask::Stop {
            trigger: countersign_model::StopTrigger::Command,
            reason: None,
            agent: None,
        })
        .unwrap();
        for words in [stop.as_slice(), &[0, 0]] {
            let (_there, here) = hostile();
            let (_theirs, guest) = guest(words, here);
            let began = Instant::now();
            let is_stop = matches!(heard(&guest.stream), Heard::Stop(_));
            assert_eq!(is_stop, words.len() > 2);
            put_away(guest);
            assert!(began.elapsed() < LINGERS / 4, "{:?}", began.elapsed());
        }
        // It would have taken long.
        let (_there, here) = hostile();
        let (_theirs, guest) = guest(&stop, here);
        let began = Instant::now();
        drop(guest);
        assert!(began.elapsed() >= LINGERS / 2, "{:?}", began.elapsed());
    }

    #[test]
    fn a_process_has_so_many_connections_and_another_has_its_own() {
        let counts = Arc::<Counts>::default();
        let mut held: Vec<_> = (0..OF_ONE).map(|_| counts.one_more(7).unwrap()).collect();
        assert!(counts.one_more(7).is_none());
        assert!(counts.one_more(8).is_some());
        held.pop();
        assert!(counts.one_more(7).is_some());
        held.clear();
        assert!(counts.0.lock().unwrap().is_empty());
    }
}
