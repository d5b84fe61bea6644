//! `ledger verify` works without the authority, on a copy as on the original;
//! `ledger checkpoint` asks the authority to sign the head.

use super::ask::{home, once, unexpected};
use crate::cli::Ledger;
use crate::client::Failure;
use crate::say;
use countersign_ledger::verify::{Report, verify};
use countersign_model::Digest;
use countersign_protocol::control::{Ask, Reply};
use std::path::{Path, PathBuf};

pub(crate) fn ledger(what: Ledger, json: bool) -> Result<(), Failure> {
    match what {
        Ledger::Verify {
            database,
            checkpoints,
            key,
        } => {
            let (database, key) = places(database, key)?;
            let key = read(&key)?;
            let key: Digest = key
                .trim()
                .parse()
                .map_err(|e| Failure::usage(format!("the public key: {e}")))?;
            let checkpoints = checkpoints
                .iter()
                .map(|p| read(p))
                .collect::<Result<Vec<_>, _>>()?;
            let report = verify(&database, key.as_bytes(), &checkpoints)
                .map_err(|e| Failure::new(e.to_string()))?;
            show(&report, !checkpoints.is_empty(), json)
        }
        Ledger::Checkpoint => {
            let reply = once(&Ask::Checkpoint {})?;
            let Reply::Checkpoint { note } = &reply else {
                return Err(unexpected());
            };
            if json {
                say::json(&reply);
            } else {
                say::line(note.trim_end());
            }
            Ok(())
        }
    }
}

/// Database and key: this user's, unless named.
fn places(database: Option<PathBuf>, key: Option<PathBuf>) -> Result<(PathBuf, PathBuf), Failure> {
    let database = match database {
        Some(database) => database,
        None => home()?.ledger(),
    };
    let key = key.unwrap_or_else(|| database.with_extension("pub"));
    Ok((database, key))
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|e| Failure::new(format!("{}: {e}", path.display())))
}

fn show(report: &Report, against_kept: bool, json: bool) -> Result<(), Failure> {
    let Report {
        records,
        root,
        signed,
        witnessed,
        index_altered,
        fault,
    } = report;
    if json {
        say::json(&serde_json::json!({
            "intact": fault.is_none(),
            "records": records,
            "root": root,
            "signed": signed,
            "witnessed": witnessed,
            "index_altered": index_altered,
            "fault": fault.as_ref().map(|f| serde_json::json!({
                "record": f.record,
                "tampering": f.tampering.to_string(),
                "words": f.words,
            })),
        }));
    }
    if let Some(fault) = fault {
        let place = fault
            .record
            .map_or_else(String::new, |r| format!(" at record {r}"));
        return Err(Failure::new(format!(
            "The ledger was {}{place}: {}",
            fault.tampering, fault.words
        )));
    }
    if !json {
        say::line(&format!(
            "Intact: {records} records, {signed} of them under a signed checkpoint; root {root}"
        ));
        if let Some(record) = index_altered {
            say::line(&format!(
                "Record {record} says that what records are found by (ledger.db.index) was changed by something else. They were not; it was made anew from them, or is at the next start."
            ));
        }
        if against_kept {
            say::line(&format!(
                "It agrees with the checkpoints that you gave, up to record {witnessed}."
            ));
        } else {
            say::line(
                "Checked against its own checkpoints. One that is kept elsewhere (--checkpoint) also finds a rollback.",
            );
        }
    }
    Ok(())
}
