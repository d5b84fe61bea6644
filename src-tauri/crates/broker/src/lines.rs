//! Guarantee G5: the connections upstream of every run, in the hands of who stops
//! them.
//!
//! A gateway uses them; the broker holds them too, so that they end when the stop
//! is pressed and not when a gateway gets to it, or wants to. A gateway that is a
//! process of its own is paused meanwhile: it writes nothing more while others'
//! connections are cut before its own, and takes no processor from who cuts.
//!
//! *Invariants*
//! - A connection is kept first, and only then it is asked whether anything is
//!   stopped. Whoever stops says so first and cuts after. So a connection is cut,
//!   or nobody is given it.
//! - To cut needs no memory and no new descriptor, and waits for nobody but who
//!   keeps or lets go of a connection; neither of them waits for anything.
//! - A connection is held until nothing of it is left to be sent. Whoever uses it
//!   may say that it has closed it, and that it did so in order; not how long that
//!   may take.

use crate::port::Held;
use countersign_model::{AgentId, RunFacts, RunId};
use std::collections::HashMap;
use std::fmt::Debug;
use std::net::TcpStream;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::runtime::Handle;

/// How long what was written may take to arrive once its user has closed it.
const LEAVES: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Connections of one run at once. A gateway that keeps to its limits needs less
/// than half.
const MOST: usize = 256;

/// A process that uses connections. Neither of these may need memory or a new
/// descriptor, or wait for anything.
pub trait Carrier: Send + Sync + Debug + 'static {
    /// From here on it runs no instruction, until it goes on.
    fn pause(&self);
    /// The opposite.
    fn go_on(&self);
}

/// The connections of all runs.
#[derive(Debug, Default)]
pub(crate) struct Lines(RwLock<HashMap<RunId, OfRun>>);

#[derive(Debug)]
struct OfRun {
    agent: AgentId,
    /// Numbers drawn so far.
    drawn: u64,
    open: HashMap<u64, TcpStream>,
    carriers: HashMap<u64, Box<dyn Carrier>>,
}

/// The broker's hold on a connection, or on who uses one. Dropped, the connection
/// is reset, if it is not closed by then.
#[derive(Debug)]
pub(crate) struct Hold {
    lines: Arc<Lines>,
    run: RunId,
    number: u64,
}

impl Lines {
    /// Holds a connection of a run. `None` when the run has too many, or there is
    /// no descriptor for it.
    pub(crate) fn keep(self: &Arc<Self>, run: &RunFacts, connection: &TcpStream) -> Option<Hold> {
        let ours = connection.try_clone().ok()?;
        self.hold(run, |of_run, number| {
            let room = of_run.open.len() < MOST;
            room.then(|| drop(of_run.open.insert(number, ours)))
        })
    }

    /// Holds the process that uses a run's connections.
    pub(crate) fn carried_by(
        self: &Arc<Self>,
        run: &RunFacts,
        carrier: Box<dyn Carrier>,
    ) -> Option<Hold> {
        self.hold(run, |of_run, number| {
            of_run.carriers.insert(number, carrier);
            Some(())
        })
    }

    fn hold(
        self: &Arc<Self>,
        run: &RunFacts,
        put: impl FnOnce(&mut OfRun, u64) -> Option<()>,
    ) -> Option<Hold> {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let of_run = all.entry(run.run.clone()).or_insert_with(|| OfRun {
            agent: run.agent.clone(),
            drawn: 0,
            open: HashMap::new(),
            carriers: HashMap::new(),
        });
        let number = of_run.drawn;
        of_run.drawn += 1;
        put(of_run, number)?;
        Some(Hold {
            lines: Arc::clone(self),
            run: run.run.clone(),
            number,
        })
    }

    /// Cuts all, or those of one agent: from here on the kernel sends nothing of
    /// what was written to them, and takes no more. `meanwhile` comes first, with
    /// those paused that use them.
    pub(crate) fn cut<T>(&self, only: Option<&AgentId>, meanwhile: impl FnOnce() -> T) -> T {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let concerned = || {
            all.values()
                .filter(|of_run| only.is_none_or(|agent| *agent == of_run.agent))
        };
        let carriers = || concerned().flat_map(|of_run| of_run.carriers.values());
        carriers().for_each(|carrier| carrier.pause());
        let done = meanwhile();
        concerned()
            .flat_map(|of_run| of_run.open.values())
            .for_each(abort);
        // It says how what it did has ended.
        carriers().for_each(|carrier| carrier.go_on());
        done
    }
}

impl Held for Hold {
    fn closed(self: Box<Self>, in_order: bool) {
        let Some(runtime) = Handle::try_current().ok().filter(|_| in_order) else {
            return;
        };
        runtime.spawn(async move {
            for _ in 0..LEAVES.as_millis() / LOOK_AGAIN.as_millis() {
                if self.is_over() {
                    break;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        });
    }
}

impl Hold {
    /// Whether both sides have closed it, or one has reset it: a connection that is
    /// none any more has no other end. Source: getpeername(2).
    fn is_over(&self) -> bool {
        let all = self.lines.0.read().unwrap_or_else(PoisonError::into_inner);
        let ours = all
            .get(&self.run)
            .and_then(|of_run| of_run.open.get(&self.number));
        ours.is_none_or(|ours| ours.peer_addr().is_err())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut all = self.lines.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut ours = None;
        if let Some(of_run) = all.get_mut(&self.run) {
            ours = of_run.open.remove(&self.number);
            of_run.carriers.remove(&self.number);
            if of_run.open.is_empty() && of_run.carriers.is_empty() {
                all.remove(&self.run);
            }
        }
        drop(all);
        // First, so that closing it never waits, whatever its user has set
        // (`SO_LINGER`).
        if let Some(ours) = ours {
            abort(&ours);
        }
    }
}

/// Resets the connection and throws away what was not sent, whoever else holds it.
/// Sources: connect(2) ("dissolve the association", `AF_UNSPEC`); RFC 9293, section
/// 3.10.4 (ABORT).
fn abort(connection: &TcpStream) {
    #[cfg(target_os = "linux")]
    if rustix::net::connect_unspec(connection).is_ok() {
        return;
    }
    // What was written may still arrive; nothing more will.
    let _ = connection.shutdown(std::net::Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_model::{Foreign, StopMeans};
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    fn facts(agent: &str, number: u8) -> RunFacts {
        RunFacts {
            run: RunId::from_random([number; 8]),
            agent: agent.parse().unwrap(),
            task: Foreign::default(),
            argv: Vec::new(),
            folder: Foreign::default(),
            contained: true,
            stop: StopMeans::default(),
            goes_on_from: None,
            ports: Vec::new(),
            host_ports: Vec::new(),
        }
    }

    /// A connection, and its other end.
    fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let theirs = listener.accept().unwrap().0;
        theirs
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        (ours, theirs)
    }

    /// Fills a connection; how much that was.
    fn fill(connection: &mut TcpStream) -> usize {
        connection.set_nonblocking(true).unwrap();
        let mut written = 0;
        while let Ok(more) = connection.write(&[7; 64 << 10]) {
            written += more;
        }
        written
    }

    #[test]
    fn what_was_written_and_not_sent_is_never_sent_though_its_user_holds_on() {
        let lines = Arc::<Lines>::default();
        let (mut ours, mut theirs) = connected();
        let _hold = lines.keep(&facts("bot", 1), &ours).unwrap();
        let written = fill(&mut ours);
        lines.cut(None, || ());
        let mut read = Vec::new();
        let end = theirs.read_to_end(&mut read).unwrap_err();
        assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
        assert!(read.len() < written, "{} of {written}", read.len());
        assert!(ours.write(b"more").is_err());
    }

    #[test]
    fn one_agents_connections_are_cut_and_no_others() {
        let lines = Arc::<Lines>::default();
        let (one, mut of_one) = connected();
        let (two, mut of_two) = connected();
        let _holds = [
            lines.keep(&facts("one", 1), &one).unwrap(),
            lines.keep(&facts("two", 2), &two).unwrap(),
        ];
        lines.cut(Some(&"one".parse().unwrap()), || ());
        let mut byte = [0];
        let cut = of_one.read(&mut byte).unwrap_err();
        assert_eq!(cut.kind(), std::io::ErrorKind::ConnectionReset);
        let open = of_two.read(&mut byte).unwrap_err();
        assert_eq!(open.kind(), std::io::ErrorKind::WouldBlock);
    }

    #[derive(Debug, Default)]
    struct Fake(std::sync::Mutex<Vec<&'static str>>);

    impl Carrier for Arc<Fake> {
        fn pause(&self) {
            self.0.lock().unwrap().push("paused");
        }
        fn go_on(&self) {
            self.0.lock().unwrap().push("goes on");
        }
    }

    #[test]
    fn who_uses_them_is_paused_while_they_are_cut_if_they_are_its_runs() {
        let lines = Arc::<Lines>::default();
        let (one, two) = (Arc::<Fake>::default(), Arc::<Fake>::default());
        let said = |fake: &Arc<Fake>| fake.0.lock().unwrap().concat();
        let held = lines.carried_by(&facts("one", 1), Box::new(Arc::clone(&one)));
        let _held = lines.carried_by(&facts("two", 2), Box::new(Arc::clone(&two)));
        lines.cut(Some(&"one".parse().unwrap()), || ());
        assert_eq!(
            (said(&one).as_str(), said(&two).as_str()),
            ("pausedgoes on", "")
        );
        drop(held);
        lines.cut(None, || ());
        assert_eq!(said(&one), "pausedgoes on");
        assert_eq!(said(&two), "pausedgoes on");
    }

    #[test]
    fn a_connection_that_is_let_go_of_is_reset_though_its_user_holds_on() {
        let lines = Arc::<Lines>::default();
        let (ours, mut theirs) = connected();
        drop(lines.keep(&facts("bot", 1), &ours).unwrap());
        let reset = theirs.read(&mut [0]).unwrap_err();
        assert_eq!(reset.kind(), std::io::ErrorKind::ConnectionReset);
        assert!(lines.0.read().unwrap().is_empty());
    }

    /// What a user that wants to hold up the authority may set.
    fn lingers(connection: &TcpStream) {
        let long = Some(Duration::from_secs(20));
        rustix::net::sockopt::set_socket_linger(connection, long).unwrap();
    }

    #[test]
    fn letting_go_waits_for_nothing_that_its_user_has_set() {
        let lines = Arc::<Lines>::default();
        let (mut ours, _theirs) = connected();
        let hold = lines.keep(&facts("bot", 1), &ours).unwrap();
        fill(&mut ours);
        lingers(&ours);
        // Its user's end goes first, and does not wait: another has it still.
        drop(ours);
        let began = std::time::Instant::now();
        drop(hold);
        assert!(began.elapsed() < Duration::from_secs(1));
    }

    #[tokio::test]
    async fn what_was_closed_in_order_arrives_whole_and_is_cut_by_the_stop_until_it_has() {
        for stopped in [false, true] {
            let lines = Arc::<Lines>::default();
            let (mut ours, mut theirs) = connected();
            let hold = lines.keep(&facts("bot", 1), &ours).unwrap();
            let written = fill(&mut ours);
            ours.shutdown(std::net::Shutdown::Write).unwrap();
            drop(ours);
            Box::new(hold).closed(true);
            if stopped {
                lines.cut(None, || ());
            }
            let read = tokio::task::spawn_blocking(move || {
                let mut all = Vec::new();
                theirs.read_to_end(&mut all).map(|_| all.len())
            });
            match read.await.unwrap() {
                Ok(read) => assert_eq!((stopped, read), (false, written)),
                Err(end) => {
                    assert!(stopped, "{end}");
                    assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
                }
            }
            for _ in 0..100 {
                tokio::time::sleep(LOOK_AGAIN).await;
                if lines.0.read().unwrap().is_empty() {
                    break;
                }
            }
            assert!(lines.0.read().unwrap().is_empty(), "it is let go of");
        }
    }

    #[test]
    fn a_run_has_so_many_connections_and_no_more() {
        let lines = Arc::<Lines>::default();
        let (ours, _theirs) = connected();
        let run = facts("bot", 1);
        let mut holds: Vec<_> = (0..MOST)
            .map(|_| lines.keep(&run, &ours).unwrap())
            .collect();
        assert!(lines.keep(&run, &ours).is_none());
        assert!(lines.keep(&facts("bot", 2), &ours).is_some());
        holds.pop();
        assert!(lines.keep(&run, &ours).is_some());
    }
}
