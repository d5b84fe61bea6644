//! The gateway's process.

use super::client::{Client, Lane, use_lane};
use super::message::Order;
use super::{datagram, filter};
use countersign_broker::Secret;
use countersign_containment::{SessionsTurn, never_preempt};
use countersign_gateway_http::{Checked, Doors, Gateway, Key, Limits, RunCa, RunGateway};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

/// The first argument by which this program knows that it is a run's gateway.
pub(crate) const SUBCOMMAND: &str = "gateway-of-a-run";

/// Source: `proc_pid_oom_score_adj(5)`.
const OOM_SCORE: &str = "500";

/// Serves one run until the authority ends it, or has ended.
pub(crate) fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            crate::say::problem(&format!("the gateway of a run: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<()> {
    // Without the authority it is not to be, whatever it has become by then.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    // Where memory runs out it goes before the authority, and after the run.
    let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    // A session of its own: no key at the authority's terminal ends it, and where the
    // kernel shares the processors out by session, its work does not count as the
    // authority's. It goes after that: the stop must not wait for it.
    rustix::process::setsid()?;
    never_preempt();
    // While the file is still this user's.
    let turn = SessionsTurn::of(None);
    countersign_vault::harden_process()?;
    let control = io::stdin().as_fd().try_clone_to_owned()?;
    let Some((
        Order::Begin {
            facts,
            ca,
            placeholder: (id, secret),
            accounts,
        },
        carried,
    )) = datagram::receive(control.as_fd())?
    else {
        return Err(io::Error::other("this is not begun by the authority"));
    };
    let mut carried = carried.into_iter();
    let mut next = || carried.next().ok_or(io::ErrorKind::InvalidData);
    let socket = UnixListener::from(next()?);
    let ca = RunCa::from_parts(&ca, &key(next()?)?).map_err(io::Error::other)?;
    let streams: Vec<UnixStream> = carried.map(UnixStream::from).collect();

    // The last files that it reads; from here on there are none.
    let roots = Gateway::new();
    roots.read_roots();
    // An event loop makes a pair of sockets for signals.
    let loops = streams
        .into_iter()
        .map(|stream| Ok((stream, Builder::new_current_thread().enable_all().build()?)))
        .collect::<io::Result<Vec<_>>>()?;
    filter::lock().map_err(io::Error::other)?;
    if let Some(turn) = turn {
        thread::Builder::new()
            .name("yields".into())
            .spawn(|| turn.goes_last())?;
    }

    let (lanes, handles) = lanes(loops)?;
    let client = Client::new(*facts, accounts, lanes, control.try_clone()?)?;
    let run = client.run_id().clone();
    let client = Arc::new(client);
    let (to, ports) = oneshot::channel();
    let placeholder = Key::new(&id, Zeroizing::new(secret.into_bytes()));
    let gateway = RunGateway {
        run,
        ca: Arc::new(ca),
        placeholder: placeholder.ok_or(io::ErrorKind::InvalidData)?,
        port: Arc::clone(&client),
        limits: Limits::default(),
    };
    let first = handles.first().cloned().ok_or(io::ErrorKind::InvalidData)?;
    let http = roots.with_lanes(handles);
    let told = Arc::clone(&client);
    first.spawn(async move {
        let doors = match Doors::new(socket, ports) {
            Ok(doors) => http.serve_run(doors, gateway).await,
            Err(error) => {
                crate::say::problem(&format!("the gateway of a run: {error}"));
                std::process::exit(1);
            }
        };
        told.say_ended();
        // It is killed with its doors open: the run may go on by them.
        std::future::pending::<()>().await;
        drop(doors);
    });
    let mut to = Some(to);
    while let Some((order, carried)) = datagram::receive::<Order>(control.as_fd())? {
        match order {
            Order::Ports {} => {
                if let Some(to) = to.take() {
                    // Nobody serves them any more: the run has ended.
                    let _ = to.send(Checked::of_own_network(carried)?);
                }
            }
            order => client.obey(order, carried),
        }
    }
    Ok(())
}

/// The key of the run's CA, from the file that was handed over. The authority
/// keeps it open for the next process, so it is read from the beginning.
fn key(file: OwnedFd) -> io::Result<Secret> {
    use std::os::unix::fs::FileExt as _;
    let file = File::from(file);
    let length = usize::try_from(file.metadata()?.len())
        .unwrap_or(0)
        .min(4096);
    let mut key = Zeroizing::new(vec![0; length]);
    file.read_exact_at(&mut key, 0)?;
    Ok(Secret::from_zeroizing(key))
}

/// A thread with an event loop for each stream of requests.
fn lanes(loops: Vec<(UnixStream, Runtime)>) -> io::Result<(Vec<Arc<Lane>>, Vec<Handle>)> {
    let mut lanes = Vec::new();
    let mut handles = Vec::new();
    for (number, (stream, runtime)) in loops.into_iter().enumerate() {
        stream.set_nonblocking(true)?;
        handles.push(runtime.handle().clone());
        let (lane, queue) = Lane::new();
        lanes.push(Arc::clone(&lane));
        thread::Builder::new()
            .name(format!("gateway-{number}"))
            .spawn(move || {
                use_lane(number);
                let served = runtime.block_on(async {
                    lane.serve(tokio::net::UnixStream::from_std(stream)?, queue)
                        .await
                });
                // Without the authority there is nothing to do.
                std::process::exit(i32::from(served.is_err()));
            })?;
    }
    Ok((lanes, handles))
}
