//! Guarantee G8: every change is found, and named.

use crate::given::{Place, allowed, fresh_request, noted, open_at};
use crate::original::{
    KEPT_AT, SIZE, after, after_in_the_index, change_hash, change_text, copy, found, index_of,
    original, rebuild_tree, report_on, sql,
};
use countersign_ledger::verify::{Report, Tampering, VerifyError, verify};
use countersign_ledger::{Durability, Filter};
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use std::fs;

#[test]
fn an_untouched_ledger_is_intact() {
    let report = after(|_| ());
    assert_eq!(report.fault, None);
    assert_eq!(
        (report.records, report.signed, report.witnessed),
        (SIZE, SIZE, KEPT_AT)
    );
}

#[test]
fn every_change_of_one_record_is_found_and_named() {
    let changed = |record: u64| Some((Tampering::Changed, Some(record)));
    let bad_byte = sql(
        "UPDATE records SET canonical = replace(canonical, '\"status\":200', '\"status\":201') WHERE idx = 4001",
    );
    assert_eq!(found(&after(bad_byte)), changed(4001));
    let blank = sql("UPDATE records SET canonical = canonical || ' ' WHERE idx = 3000");
    assert_eq!(found(&after(blank)), changed(3000));
    assert_eq!(
        found(&after(sql(
            "UPDATE records SET leaf = zeroblob(32) WHERE idx = 17"
        ))),
        changed(17)
    );
    assert_eq!(found(&after(|db| change_text(db, 2047))), changed(2047));
}

#[test]
fn an_index_that_does_not_repeat_its_records_is_found() {
    let untouched = after_in_the_index(|_| ());
    assert_eq!((untouched.fault, untouched.records), (None, SIZE));
    let changed = |record: u64| Some((Tampering::Changed, Some(record)));
    for change in [
        "UPDATE entries SET request = '0000000000' WHERE idx = 2049",
        "UPDATE entries SET is_after = 1 - is_after WHERE idx = 2049",
        "DELETE FROM entries WHERE idx = 2049",
    ] {
        let report = after_in_the_index(sql(change));
        assert_eq!(found(&report), changed(2049), "{change}");
        assert_eq!(report.records, 2049, "those before it are good");
    }
    // Record 3001 is no request's.
    let more = sql("INSERT INTO entries VALUES (3001, '0000000000', 0)");
    assert_eq!(found(&after_in_the_index(more)), changed(3001));
    for change in [
        "UPDATE summaries SET text = replace(text, 'inbox-bot', 'other') WHERE n = 8",
        "UPDATE summaries SET text = replace(text, 'deny', 'allow') WHERE n = 8",
        "UPDATE summaries SET text = '[]' WHERE n = 8",
        "DELETE FROM summaries WHERE n = 8",
    ] {
        let report = after_in_the_index(sql(change));
        assert_eq!(found(&report), changed(2303), "{change}");
        let words = report.fault.unwrap().words;
        assert!(words.contains("2048 to 2303"), "{words}");
    }
    for change in [
        "INSERT INTO entries VALUES (9000, '0000000000', 0)",
        "INSERT INTO entries VALUES (-1, '0000000000', 0)",
        "INSERT INTO summaries VALUES (19, '[]', x'00')",
        "INSERT INTO summaries VALUES (-1, '[]', x'00')",
    ] {
        let report = after_in_the_index(sql(change));
        assert_eq!(found(&report), Some((Tampering::Damaged, None)), "{change}");
    }

    // An index that hides a record from the timeline, under the name and the
    // words of the true one.
    let hiding = |db: &Connection| {
        let words: String = db
            .query_row(
                "SELECT sql FROM sqlite_schema WHERE name = 'by_request'",
                [],
                |row| row.get(0),
            )
            .unwrap();
        db.execute_batch(
            "DROP INDEX by_request; CREATE INDEX by_request ON entries(request) WHERE idx <> 101;",
        )
        .unwrap();
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false)
            .unwrap();
        db.pragma_update(None, "writable_schema", true).unwrap();
        db.execute(
            "UPDATE sqlite_schema SET sql = ?1 WHERE name = 'by_request'",
            [words],
        )
        .unwrap();
    };
    let report = after_in_the_index(hiding);
    assert_eq!(found(&report), Some((Tampering::Damaged, None)));

    let (_folder, path) = copy(&original().place.path());
    fs::write(index_of(&path), b"something else").unwrap();
    let report = report_on(&path);
    assert_eq!(found(&report), Some((Tampering::Damaged, None)));
    assert_eq!(
        report.records, SIZE,
        "the ledger itself is looked at all the same"
    );

    // One that nobody would use is no fault of the ledger.
    for change in [
        "DROP INDEX by_request",
        "DELETE FROM covered",
        "UPDATE covered SET size = size - 1",
    ] {
        assert_eq!(after_in_the_index(sql(change)).fault, None, "{change}");
    }
}

#[test]
fn a_hash_that_was_made_good_is_found_by_the_hash_above_it() {
    let report = after(|db| {
        change_text(db, 300);
        let leaf: Vec<u8> = db
            .query_row("SELECT leaf FROM records WHERE idx = 300", [], |row| {
                row.get(0)
            })
            .unwrap();
        change_hash(db, 0, 300, &leaf);
    });
    assert_eq!(found(&report), Some((Tampering::Changed, Some(256))));
    assert_eq!(
        report.records, 511,
        "up to the one that the hash is made with"
    );
    let report = after(|db| change_hash(db, 1, 5, &[0; 32]));
    assert_eq!(found(&report), Some((Tampering::Changed, Some(5 * 256))));
    // At the edge, where tiles are not whole, the checkpoints cover them.
    for at in [17, 5004] {
        let report = after(|db| change_hash(db, 0, at, &[0; 32]));
        assert_eq!(found(&report), Some((Tampering::Changed, Some(at as u64))));
    }
    for (change, index) in [
        ("DELETE FROM tiles WHERE level = 1", 255),
        ("DELETE FROM tiles WHERE level = 0 AND n = 2", 512),
        ("DELETE FROM tiles WHERE level = 0 AND n = 19", 19 * 256),
        (
            "UPDATE tiles SET hashes = substr(hashes, 1, 320) WHERE level = 0 AND n = 19",
            19 * 256 + 10,
        ),
    ] {
        let removed = Some((Tampering::Removed, Some(index)));
        assert_eq!(found(&after(sql(change))), removed, "{change}");
    }
    for change in [
        "INSERT INTO tiles VALUES (0, -1, zeroblob(32))",
        "UPDATE tiles SET hashes = CAST(hashes || zeroblob(32) AS BLOB) WHERE level = 0 AND n = 2",
    ] {
        let inserted = Some((Tampering::Inserted, None));
        assert_eq!(found(&after(sql(change))), inserted, "{change}");
    }
}

#[test]
fn a_removed_record_is_named_whether_or_not_the_gap_was_closed() {
    let removed = Some((Tampering::Removed, Some(1000)));
    assert_eq!(
        found(&after(sql("DELETE FROM records WHERE idx = 1000"))),
        removed
    );
    let closed = sql("DELETE FROM records WHERE idx = 1000;
        UPDATE records SET idx = -idx WHERE idx > 1000; UPDATE records SET idx = -idx - 1 WHERE idx < 0;");
    assert_eq!(found(&after(closed)), removed);
}

#[test]
fn reordered_and_inserted_records_are_named() {
    let swap = sql("UPDATE records SET idx = -1 WHERE idx = 500; UPDATE records SET idx = 500 WHERE idx = 3000;
        UPDATE records SET idx = 3000 WHERE idx = -1;");
    assert_eq!(found(&after(swap)), Some((Tampering::Reordered, Some(500))));
    let moved = sql("UPDATE records SET idx = 9000 WHERE idx = 500;");
    assert_eq!(
        found(&after(moved)),
        Some((Tampering::Reordered, Some(500)))
    );
    let inserted = |db: &Connection| {
        db.execute_batch(
            "UPDATE records SET idx = -idx - 1 WHERE idx >= 700; UPDATE records SET idx = -idx WHERE idx < 0;
             INSERT INTO records SELECT 700, leaf, replace(canonical, 'inbox-bot', 'other-bot') FROM records WHERE idx = 699;",
        )
        .unwrap();
    };
    assert_eq!(
        found(&after(inserted)),
        Some((Tampering::Inserted, Some(700)))
    );
    let before = sql("INSERT INTO records SELECT -5, leaf, canonical FROM records WHERE idx = 1");
    assert_eq!(found(&after(before)), Some((Tampering::Inserted, None)));
}

#[test]
fn a_truncated_ledger_is_named_by_what_is_left_of_it() {
    let truncated = Some((Tampering::Truncated, Some(4000)));
    assert_eq!(
        found(&after(sql("DELETE FROM records WHERE idx >= 4000"))),
        truncated
    );
    let with_hashes = "DELETE FROM records WHERE idx >= 4000;
        DELETE FROM tiles WHERE level = 0 AND n > 4000 / 256;
        UPDATE tiles SET hashes = substr(hashes, 1, 4000 % 256 * 32) WHERE level = 0 AND n = 4000 / 256;
        UPDATE tiles SET hashes = substr(hashes, 1, 4000 / 256 * 32) WHERE level = 1;";
    assert_eq!(found(&after(sql(with_hashes))), truncated);
    let wholly = format!("{with_hashes} DELETE FROM checkpoints WHERE size > 4000;");
    assert_eq!(found(&after(sql(&wholly))), truncated, "the head is left");
    let wholly = after(|db| {
        db.execute_batch(&wholly).unwrap();
        rebuild_tree(db);
    });
    assert_eq!(found(&wholly), Some((Tampering::RolledBack, Some(4000))));
}

#[test]
fn an_older_copy_is_rolled_back_and_one_that_went_on_from_there_is_forked() {
    let original = original();
    let (_folder, path) = copy(&original.earlier);
    let report = report_on(&path);
    assert_eq!(found(&report), Some((Tampering::RolledBack, Some(3002))));
    assert_eq!(
        verify(&path, &original.public_key, &[]).unwrap().fault,
        None,
        "on its own it is good"
    );

    // The program itself, with the key, goes on from the older copy.
    let (ledger, _) = open_at(&path, original.place.seed).unwrap();
    for _ in 0..3000 {
        ledger.append_later(allowed(&fresh_request()));
    }
    let _receipt = ledger
        .append_blocking(noted("end"), Durability::Full)
        .unwrap();
    assert!(ledger.size() > SIZE);
    drop(ledger);
    assert_eq!(
        verify(&path, &original.public_key, &[]).unwrap().fault,
        None,
        "on its own it is good"
    );
    let report = report_on(&path);
    let fault = report.fault.unwrap();
    assert_eq!(fault.tampering, Tampering::Forked, "{}", fault.words);
    assert!(fault.record.unwrap() <= KEPT_AT);
}

#[test]
fn a_history_that_was_rewritten_with_all_its_hashes_is_forked() {
    let report = after(|db| {
        change_text(db, 1234);
        rebuild_tree(db);
    });
    let (tampering, record) = found(&report).unwrap();
    assert_eq!(tampering, Tampering::Forked);
    assert!(
        record.unwrap() <= 1234,
        "not before the last checkpoint that agrees: {record:?}"
    );
    // With the stored checkpoints gone as well, the one kept elsewhere tells.
    let report = after(|db| {
        change_text(db, 1234);
        rebuild_tree(db);
        db.execute_batch("DELETE FROM checkpoints").unwrap();
    });
    assert_eq!(found(&report), Some((Tampering::Forked, Some(0))));
}

#[test]
fn changed_checkpoints_and_tables_are_found() {
    let what = |report: Report| report.fault.map(|fault| fault.tampering);
    assert_eq!(
        what(after(sql("DELETE FROM checkpoints"))),
        Some(Tampering::Changed)
    );
    let note = sql("UPDATE checkpoints SET note = replace(note, 'countersign', 'c0untersign')");
    assert_eq!(what(after(note)), Some(Tampering::Changed));
    assert_eq!(
        what(after(sql("UPDATE checkpoints SET size = size + 10000"))),
        Some(Tampering::Changed)
    );
    assert_eq!(
        what(after(sql("CREATE INDEX of_mine ON records(leaf)"))),
        Some(Tampering::Damaged)
    );
    assert_eq!(
        what(after(sql("CREATE VIEW v AS SELECT 1"))),
        Some(Tampering::Damaged)
    );
}

#[test]
fn a_flipped_bit_is_found_or_changes_nothing_that_the_ledger_says() {
    let place = Place::new();
    let (ledger, _) = place.open();
    for _ in 0..60 {
        let _receipt = ledger
            .append_blocking(allowed(&fresh_request()), Durability::Routine)
            .unwrap();
    }
    let public_key = ledger.public_key();
    tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(ledger.close())
        .unwrap();
    let (ledger, _) = place.open();
    let says = ledger.timeline(&Filter::default()).unwrap();
    drop(ledger);
    let bytes = fs::read(place.path()).unwrap();
    let mut found = 0;
    let mut at = 7_usize;
    for round in 0..150_usize {
        // Spread over the whole file, the same at every run.
        at = (at * 7919 + round * 104_729) % bytes.len();
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (round % 8);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flipped.db");
        fs::write(&path, flipped).unwrap();
        match verify(&path, &public_key, &[]) {
            Ok(report) if report.is_intact() => {
                let (ledger, _) = open_at(&path, place.seed).unwrap();
                let still = ledger.timeline(&Filter {
                    before_index: Some(says.len() as u64),
                    ..Filter::default()
                });
                assert!(still.unwrap() == says, "byte {at}");
            }
            _ => found += 1,
        }
    }
    assert!(found > 75, "{found} of 150");
}

#[test]
fn a_ledger_in_use_can_be_verified() {
    let place = Place::new();
    let (ledger, _) = place.open();
    for _ in 0..500 {
        ledger.append_later(allowed(&fresh_request()));
    }
    let _receipt = ledger
        .append_blocking(noted("x"), Durability::Full)
        .unwrap();
    let public_key = ledger.public_key();
    let report = verify(&place.path(), &public_key, &[]).unwrap();
    assert_eq!((report.records, report.fault), (502, None));
    // And a snapshot of it, with the log that it needs.
    let (_folder, path) = copy(&place.path());
    fs::copy(
        place.folder.path().join("ledger.db-wal"),
        path.with_file_name("copy.db-wal"),
    )
    .unwrap();
    let log = path.with_file_name("copy.db-wal");
    let before = (fs::read(&path).unwrap(), fs::read(&log).unwrap());
    let report = verify(&path, &public_key, &[]).unwrap();
    assert_eq!((report.records, report.fault), (502, None));
    let after = (fs::read(&path).unwrap(), fs::read(&log).unwrap());
    assert!(before == after, "the evidence is as it was");
}

#[test]
fn what_proves_nothing_is_an_error_and_not_a_verdict() {
    let original = original();
    let path = original.place.path();
    let nobody = path.with_file_name("nobody.db");
    assert!(matches!(
        verify(&nobody, &original.public_key, &[]),
        Err(VerifyError::Unreadable { .. })
    ));
    assert!(!nobody.exists());
    fs::write(&nobody, b"something else").unwrap();
    assert!(matches!(
        verify(&nobody, &original.public_key, &[]),
        Err(VerifyError::NotALedger { .. })
    ));
    let forged = original.kept.replacen("5004", "5003", 1);
    assert_ne!(forged, original.kept);
    let error = verify(
        &path,
        &original.public_key,
        &[original.kept.clone(), forged],
    )
    .unwrap_err();
    assert!(
        matches!(error, VerifyError::Checkpoint { number: 2, .. }),
        "{error}"
    );
}
