//! Ledgers of the form before this one.

use crate::given::{open_at, random};
use crate::original::{copy, original};
use countersign_ledger::verify::{VerifyError, verify};
use countersign_ledger::{Filter, LedgerError};
use rusqlite::Connection;
use std::path::Path;
use tlog_tiles::{Error, Hash, HashReader, stored_hashes};

/// Makes of a ledger what it would have been in form 1.
fn set_back(path: &Path) {
    struct All(Vec<Hash>);
    impl HashReader for All {
        fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
            let hash = |&i: &u64| self.0[usize::try_from(i).unwrap()];
            Ok(indexes.iter().map(hash).collect())
        }
    }
    let db = Connection::open(path).unwrap();
    db.execute_batch(
        "BEGIN;
         ALTER TABLE records RENAME TO newer;
         DROP TABLE tiles;
         DROP TABLE head;
         CREATE TABLE records (
  idx INTEGER PRIMARY KEY,
  at_ms INTEGER NOT NULL,
  kind TEXT NOT NULL,
  request TEXT,
  run TEXT,
  agent TEXT,
  account TEXT,
  decision TEXT,
  effects INTEGER,
  operation TEXT,
  leaf BLOB NOT NULL,
  canonical TEXT NOT NULL
) STRICT;
         CREATE TABLE hashes (idx INTEGER PRIMARY KEY, hash BLOB NOT NULL) STRICT;
         INSERT INTO records SELECT idx, canonical ->> 'at', canonical ->> 'kind', canonical ->> 'request',
           canonical ->> 'run', canonical ->> 'agent', canonical ->> 'account', canonical ->> 'decision', 1,
           canonical ->> '$.action.operation', leaf, canonical FROM newer;
         DROP TABLE newer;
         CREATE UNIQUE INDEX by_request ON records(request, kind) WHERE request IS NOT NULL;
         CREATE INDEX by_run ON records(run) WHERE run IS NOT NULL;
         CREATE INDEX by_agent ON records(agent) WHERE agent IS NOT NULL;
         CREATE INDEX by_account ON records(account) WHERE account IS NOT NULL;
         CREATE INDEX denied ON records(idx) WHERE decision = 'deny';
         CREATE INDEX more_than_reads ON records(idx) WHERE effects > 1;
         CREATE INDEX events ON records(idx) WHERE request IS NULL;
         PRAGMA user_version = 1;",
    )
    .unwrap();
    let mut all = All(Vec::new());
    let mut select = db
        .prepare("SELECT canonical FROM records ORDER BY idx")
        .unwrap();
    let mut rows = select.query([]).unwrap();
    let mut n = 0;
    while let Some(row) = rows.next().unwrap() {
        let text: String = row.get(0).unwrap();
        for hash in stored_hashes(n, text.as_bytes(), &all).unwrap() {
            let at = i64::try_from(all.0.len()).unwrap();
            db.execute("INSERT INTO hashes VALUES (?1, ?2)", (at, hash.0))
                .unwrap();
            all.0.push(hash);
        }
        n += 1;
    }
    db.execute_batch("COMMIT").unwrap();
}

#[test]
fn a_ledger_of_the_former_form_is_brought_up_with_all_it_says() {
    let original = original();
    let page = Filter {
        before_index: Some(5005),
        ..Filter::default()
    };
    let says = {
        let (_folder, path) = copy(&original.place.path());
        let (ledger, _) = open_at(&path, original.place.seed).unwrap();
        ledger.timeline(&page).unwrap()
    };

    let (_folder, path) = copy(&original.place.path());
    set_back(&path);
    assert!(matches!(
        verify(&path, &original.public_key, &[]),
        Err(VerifyError::NotALedger { .. })
    ));
    let (ledger, opening) = open_at(&path, original.place.seed).unwrap();
    assert!(opening.clean);
    assert_eq!(ledger.size(), 5006);
    assert!(ledger.timeline(&page).unwrap() == says);
    drop(ledger);
    let kept = std::slice::from_ref(&original.kept);
    let report = verify(&path, &original.public_key, kept).unwrap();
    assert_eq!((report.fault, report.records), (None, 5006));
    // It is a ledger of this form from then on.
    assert!(open_at(&path, original.place.seed).is_ok());
}

#[test]
fn a_ledger_of_the_former_form_that_was_changed_is_refused_and_left_as_it_is() {
    let original = original();
    for change in [
        "UPDATE records SET leaf = zeroblob(32) WHERE idx = 1000",
        "DELETE FROM records WHERE idx = 1000",
        "DELETE FROM records WHERE idx = 5004",
        "DELETE FROM checkpoints",
        "CREATE INDEX of_mine ON records(leaf)",
    ] {
        let (_folder, path) = copy(&original.place.path());
        set_back(&path);
        Connection::open(&path)
            .unwrap()
            .execute_batch(change)
            .unwrap();
        let before = std::fs::read(&path).unwrap();
        let error = open_at(&path, original.place.seed).unwrap_err();
        assert!(
            matches!(error, LedgerError::Corrupt { .. }),
            "{change}: {error}"
        );
        assert!(std::fs::read(&path).unwrap() == before, "{change}");
    }
    let (_folder, path) = copy(&original.place.path());
    set_back(&path);
    let error = open_at(&path, random()).unwrap_err();
    assert!(
        matches!(error, LedgerError::Corrupt { .. }),
        "of another key: {error}"
    );
}
