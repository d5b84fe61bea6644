use crate::given::{Place, allowed, fresh_request, noted, random, record, run_facts, settled};
use countersign_ledger::{Durability, Filter, Kind, LedgerError};
use countersign_model::{Digest, Event, Outcome, RunId, StopTrigger};
use rusqlite::Connection;
use std::fs;

#[tokio::test]
async fn a_new_ledger_opens_clean_and_so_does_one_that_was_closed() {
    let place = Place::new();
    for round in 0..3 {
        let (ledger, opening) = place.open();
        assert!(opening.clean, "round {round}");
        assert!(
            opening.open_runs.is_empty() && opening.unknown.is_empty() && !opening.stop_engaged
        );
        ledger.close().await.unwrap();
        let left: Vec<_> = fs::read_dir(place.folder.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert!(!left.iter().any(|name| name == "ledger.db-wal"), "{left:?}");
    }
}

#[test]
fn a_bad_end_settles_as_unknown_what_was_open_and_ends_its_runs() {
    let place = Place::new();
    let run = RunId::from_random(random());
    let (done, left) = (fresh_request(), fresh_request());
    let (ledger, _) = place.open();
    for event in [
        record(Event::RunStarted(run_facts(&run, "inbox-bot"))),
        allowed(&done),
        allowed(&left),
        settled(&done),
    ] {
        let _receipt = ledger.append_blocking(event, Durability::Routine).unwrap();
    }
    drop(ledger);

    let (ledger, opening) = place.open();
    assert!(!opening.clean);
    assert_eq!(opening.open_runs, std::slice::from_ref(&run));
    assert_eq!(opening.unknown, std::slice::from_ref(&left));
    let (_, after) = ledger.record_of(&left).unwrap();
    let Event::Settled(after) = after.unwrap().record.event else {
        panic!()
    };
    assert!(matches!(after.outcome, Outcome::Unknown { .. }));
    let ended = ledger
        .timeline(&Filter {
            kinds: vec![Kind::RunEnded],
            run: Some(run),
            ..Filter::default()
        })
        .unwrap();
    assert_eq!(ended.len(), 1);
    drop(ledger);

    // The next bad end has nothing left to say.
    let (_ledger, opening) = place.open();
    assert!(!opening.clean && opening.open_runs.is_empty() && opening.unknown.is_empty());
}

#[tokio::test]
async fn an_orderly_end_leaves_runs_to_be_taken_on_and_no_request_open() {
    let place = Place::new();
    let (run, left) = (RunId::from_random(random()), fresh_request());
    let (ledger, _) = place.open();
    for event in [
        record(Event::RunStarted(run_facts(&run, "inbox-bot"))),
        allowed(&left),
    ] {
        let _receipt = ledger.append(event, Durability::Routine).await.unwrap();
    }
    ledger.close().await.unwrap();
    let (ledger, opening) = place.open();
    assert!(opening.clean && opening.unknown.is_empty());
    assert_eq!(opening.open_runs, [run]);
    assert!(ledger.record_of(&left).unwrap().1.is_some());
    assert!(
        ledger
            .timeline(&Filter {
                kinds: vec![Kind::RunEnded],
                ..Filter::default()
            })
            .unwrap()
            .is_empty()
    );
}

#[test]
fn the_stop_and_the_configuration_are_known_again_however_long_ago() {
    let place = Place::new();
    let (ledger, opening) = place.open();
    assert_eq!(
        (opening.last_seal_counter, opening.last_config),
        (None, None)
    );
    let engage = || {
        record(Event::StopEngaged {
            trigger: StopTrigger::Hotkey,
            reason: None,
        })
    };
    let lift = || {
        record(Event::StopLifted {
            surface: "window".to_owned(),
        })
    };
    let accept = |counter: u64| {
        let digest = Digest::of(&counter.to_be_bytes());
        record(Event::ConfigAccepted {
            counter,
            digest,
            by: "window".to_owned(),
        })
    };
    for event in [accept(1), engage(), lift(), accept(2), engage()] {
        let _receipt = ledger.append_blocking(event, Durability::Full).unwrap();
    }
    // Beyond the next checkpoint: known from what it signs.
    for _ in 0..2500 {
        ledger.append_later(settled(&fresh_request()));
    }
    drop(ledger);
    let (ledger, opening) = place.open();
    assert!(opening.stop_engaged);
    assert_eq!(opening.last_seal_counter, Some(2));
    assert_eq!(opening.last_config, Some(Digest::of(&2_u64.to_be_bytes())));
    let _receipt = ledger.append_blocking(lift(), Durability::Full).unwrap();
    drop(ledger);
    assert!(!place.open().1.stop_engaged);
}

#[test]
fn a_second_authority_is_refused_and_let_in_after_the_first() {
    let place = Place::new();
    let (ledger, _) = place.open();
    assert_eq!(
        place.try_open().unwrap_err(),
        LedgerError::InUse { path: place.path() }
    );
    assert!(
        ledger
            .append_blocking(noted("undisturbed"), Durability::Full)
            .is_ok()
    );
    drop(ledger);
    assert!(place.try_open().is_ok());
}

#[cfg(unix)]
#[test]
fn the_files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let (ledger, _) = place.open();
    let _receipt = ledger
        .append_blocking(noted("x"), Durability::Full)
        .unwrap();
    for entry in fs::read_dir(place.folder.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(
            entry.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{entry:?}"
        );
    }
}

/// What lies in the folder, except what SQLite, the lock and the index make anew.
fn content(place: &Place) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(place.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                fs::read(entry.path()).unwrap(),
            )
        })
        .filter(|(name, _)| !name.ends_with("-shm") && !name.ends_with(".lock"))
        .filter(|(name, _)| !name.contains(".index"))
        .collect();
    files.sort();
    files
}

#[test]
fn a_file_that_is_no_ledger_is_kept_byte_for_byte() {
    let empty_database = {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other.db");
        Connection::open(&path)
            .unwrap()
            .execute_batch("CREATE TABLE t (n)")
            .unwrap();
        fs::read(path).unwrap()
    };
    for bytes in [
        Vec::new(),
        vec![0; 4096],
        b"not a database at all ".repeat(500),
        empty_database,
    ] {
        let place = Place::new();
        fs::write(place.path(), &bytes).unwrap();
        let error = place.try_open().unwrap_err();
        assert!(matches!(error, LedgerError::Corrupt { .. }), "{error}");
        assert_eq!(content(&place), [("ledger.db".to_owned(), bytes)]);
    }
}

#[test]
fn a_log_without_its_database_is_not_taken_for_a_new_ledger() {
    let place = Place::new();
    fs::write(place.folder.path().join("ledger.db-wal"), b"what is left").unwrap();
    assert!(matches!(
        place.try_open().unwrap_err(),
        LedgerError::Corrupt { .. }
    ));
    assert_eq!(content(&place).len(), 1);
}

/// Each change is made to a ledger that ended badly, so that it has a log and
/// records after its newest checkpoint.
#[test]
fn a_ledger_whose_end_was_changed_is_refused_and_left_as_it_is() {
    let changes: [(&str, &str); 15] = [
        (
            "a text",
            "UPDATE records SET canonical = replace(canonical, 'inbox-bot', 'other-bot') WHERE idx = 3",
        ),
        (
            "two rows",
            "UPDATE records SET idx = -1 WHERE idx = 3; UPDATE records SET idx = 3 WHERE idx = 5;
             UPDATE records SET idx = 5 WHERE idx = -1",
        ),
        ("a row", "DELETE FROM records WHERE idx = 3"),
        (
            "the last row",
            "DELETE FROM records WHERE idx = (SELECT max(idx) FROM records)",
        ),
        (
            "a hash beside its text",
            "UPDATE records SET leaf = zeroblob(32) WHERE idx = 3",
        ),
        (
            "a hash that was signed",
            "UPDATE tiles SET hashes = zeroblob(32)",
        ),
        (
            "a hash too many",
            "UPDATE tiles SET hashes = CAST(hashes || zeroblob(32) AS BLOB)",
        ),
        (
            "hashes of records that are missing",
            "INSERT INTO tiles VALUES (0, 1, zeroblob(32))",
        ),
        ("the tree", "DELETE FROM tiles"),
        ("the head", "DELETE FROM head"),
        ("the size in the head", "UPDATE head SET size = size - 1"),
        ("the checkpoints", "DELETE FROM checkpoints"),
        (
            "a checkpoint",
            "UPDATE checkpoints SET note = replace(note, '1', '2')",
        ),
        (
            "a trigger",
            "CREATE TRIGGER t AFTER INSERT ON records BEGIN DELETE FROM records WHERE idx = new.idx; END",
        ),
        ("an index", "CREATE INDEX of_mine ON records(leaf)"),
    ];
    for (what, change) in changes {
        let place = Place::new();
        let (ledger, _) = place.open();
        for _ in 0..9 {
            let _receipt = ledger
                .append_blocking(allowed(&fresh_request()), Durability::Routine)
                .unwrap();
        }
        drop(ledger);
        {
            let db = Connection::open(place.path()).unwrap();
            db.set_db_config(
                rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE,
                true,
            )
            .unwrap();
            db.execute_batch(change).unwrap();
        }
        let before = content(&place);
        assert_eq!(before.len(), 2, "a database and its log");
        let error = place.try_open().unwrap_err();
        assert!(
            matches!(error, LedgerError::Corrupt { .. }),
            "{what}: {error}"
        );
        assert!(
            content(&place) == before,
            "{what}: the files are as they were"
        );
    }
}

#[test]
fn a_ledger_of_another_key_or_form_is_refused() {
    let mut place = Place::new();
    drop(place.open());
    let seed = std::mem::replace(&mut place.seed, random());
    assert!(matches!(
        place.try_open().unwrap_err(),
        LedgerError::Corrupt { .. }
    ));
    place.seed = seed;
    assert!(place.try_open().is_ok());
    Connection::open(place.path())
        .unwrap()
        .pragma_update(None, "user_version", 3)
        .unwrap();
    assert_eq!(
        place.try_open().unwrap_err(),
        LedgerError::Newer {
            path: place.path(),
            form: 3
        }
    );
}
