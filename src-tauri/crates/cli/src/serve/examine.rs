//! What the authority proves of itself for `countersign doctor`; and the doctor
//! called from the window.

use super::{Authority, desktop};
use countersign_model::Hotkey;
use countersign_protocol::control::Reply;
use countersign_protocol::health::Check;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A wall clock that was set by less than this is one that is kept right.
const SET_BY: i64 = 2_000;
/// The test question waits two minutes for the human; the rest is quick.
const DOCTOR: Duration = Duration::from_secs(180);

/// The authority's own boundaries.
pub(super) async fn itself(authority: &Arc<Authority>) -> Reply {
    let (ledger, record) = ledger(authority).await;
    let checks = vec![
        vault(authority).await,
        ledger,
        latch(authority).await,
        clock(authority),
        hotkey(authority),
    ];
    Reply::Examined { checks, record }
}

async fn vault(authority: &Authority) -> Check {
    const NAME: &str = "Keyring";
    let began = Instant::now();
    match authority.broker.prove_vault().await {
        Ok(count) => Check::holds(
            NAME,
            format!(
                "open; {count} credential(s), in {} ms",
                began.elapsed().as_millis()
            ),
        ),
        Err(error) => Check::broken(NAME, format!("{error} {}", error.fix())),
    }
}

async fn ledger(authority: &Authority) -> (Check, Option<u64>) {
    const NAME: &str = "Ledger takes records";
    let began = Instant::now();
    match authority.broker.prove_ledger().await {
        Ok(index) => {
            let took = began.elapsed().as_millis();
            let found = format!("record {index} is on the disk, in {took} ms");
            (Check::holds(NAME, found), Some(index))
        }
        Err(reason) => {
            let found = format!("{}; nothing is released", reason.advice());
            (Check::broken(NAME, found), None)
        }
    }
}

async fn latch(authority: &Arc<Authority>) -> Check {
    const NAME: &str = "Stop is kept";
    let asked = Arc::clone(authority);
    // On a disk that may hang.
    let proved = tokio::task::spawn_blocking(move || asked.broker.prove_latch()).await;
    match proved.unwrap_or_else(|e| Err(std::io::Error::other(e))) {
        Ok(()) => Check::holds(NAME, "its latch can be written; it survives a restart"),
        Err(error) => Check::broken(
            NAME,
            format!("{}: {error}", authority.home.latch().display()),
        ),
    }
}

fn clock(authority: &Authority) -> Check {
    const NAME: &str = "Clock";
    let set_by = authority.broker.clock_was_set_by(&authority.started);
    if set_by.abs() < SET_BY {
        return Check::holds(NAME, "the wall clock and the time since boot agree");
    }
    let (seconds, way) = (
        set_by.abs() / 1000,
        if set_by > 0 { "forward" } else { "back" },
    );
    Check::broken(
        NAME,
        format!(
            "the wall clock was set {way} by {seconds} s since the authority began; records are dated by it (limits are not: they count from boot). Start the authority anew once it is right"
        ),
    )
}

fn hotkey(authority: &Authority) -> Check {
    const NAME: &str = "Stop key";
    let broker = &authority.broker;
    if !broker.desk().surfaces().iter().any(|s| s == desktop::NAME) {
        return Check::absent(
            NAME,
            "there is none without the tray app; stop with: countersign stop",
        );
    }
    match broker.warning("desktop/hotkey") {
        Some(problem) => Check::broken(NAME, problem),
        None => {
            let keys = broker
                .force()
                .map_or(Hotkey::STOP, |force| force.config.hotkey.stop);
            Check::holds(NAME, format!("{keys} is listened for"))
        }
    }
}

/// `countersign doctor` as a program of its own, as the human would start it:
/// the authority itself never runs what tries to cross its boundaries.
///
/// # Errors
/// One sentence.
pub(super) async fn doctor() -> Result<Vec<Check>, String> {
    let program = std::env::current_exe().map_err(|e| format!("This program: {e}"))?;
    let child = tokio::process::Command::new(program)
        .args(["doctor", "--json"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| format!("countersign doctor cannot be started: {e}"))?;
    let output = tokio::time::timeout(DOCTOR, child.wait_with_output())
        .await
        .map_err(|_| "countersign doctor takes longer than three minutes.".to_owned())?
        .map_err(|e| format!("countersign doctor: {e}"))?;
    serde_json::from_slice(&output.stdout)
        .map_err(|_| "countersign doctor ended without a word.".to_owned())
}
