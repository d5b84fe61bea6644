//! What records are found by is made from them, and made anew in any doubt.

use crate::given::{Place, allowed, fresh_request, noted, requested, settled};
use crate::original::index_of;
use countersign_ledger::verify::verify;
use countersign_ledger::{Durability, Filter, Ledger, LedgerError};
use countersign_model::{Decision, Effect, RequestId};
use rusqlite::Connection;
use std::fs;

fn coder() -> Filter {
    Filter {
        agent: Some("coder".parse().unwrap()),
        ..Filter::default()
    }
}

/// Some requests of two agents; those of one of them.
fn fill(ledger: &Ledger, requests: usize) -> Vec<RequestId> {
    let mut of_coder = Vec::new();
    for n in 0..requests {
        let request = fresh_request();
        let agent = if n % 3 == 0 { "coder" } else { "helper" };
        ledger.append_later(requested(&request, agent, Decision::Allow, &[Effect::Read]));
        ledger.append_later(settled(&request));
        if agent == "coder" {
            of_coder.insert(0, request);
        }
    }
    let _receipt = ledger
        .append_blocking(noted("filled"), Durability::Routine)
        .unwrap();
    of_coder
}

fn found(ledger: &Ledger) -> Vec<RequestId> {
    let records = ledger.timeline(&coder()).unwrap();
    let request = |recorded: &countersign_model::Recorded| match &recorded.record.event {
        countersign_model::Event::Requested(requested) => requested.request.clone(),
        other => panic!("{other:?}"),
    };
    records.iter().map(request).collect()
}

#[test]
fn an_index_that_is_gone_damaged_or_of_another_state_is_made_anew() {
    type Harm = (&'static str, fn(&Place));
    let sql = |place: &Place, change: &str| {
        Connection::open(index_of(&place.path()))
            .unwrap()
            .execute_batch(change)
            .unwrap();
    };
    let harms: [Harm; 8] = [
        ("nothing", |_| ()),
        ("gone", |place| {
            fs::remove_file(index_of(&place.path())).unwrap();
        }),
        ("no database", |place| {
            fs::write(index_of(&place.path()), b"something else").unwrap();
        }),
        ("cut off", |place| {
            let file = fs::File::options()
                .write(true)
                .open(index_of(&place.path()))
                .unwrap();
            file.set_len(5000).unwrap();
        }),
        ("another state's", |place| {
            let db = Connection::open(index_of(&place.path())).unwrap();
            db.execute_batch("DELETE FROM entries; UPDATE covered SET size = 9")
                .unwrap();
        }),
        ("ahead of its ledger", |place| {
            let db = Connection::open(index_of(&place.path())).unwrap();
            db.execute_batch("UPDATE covered SET size = 90000").unwrap();
        }),
        ("with another table", |place| {
            let db = Connection::open(index_of(&place.path())).unwrap();
            db.execute_batch("DROP TABLE entries; CREATE TABLE entries (idx)")
                .unwrap();
        }),
        ("half made", |place| {
            let db = Connection::open(index_of(&place.path())).unwrap();
            db.execute_batch("DELETE FROM covered").unwrap();
        }),
    ];
    for (what, harm) in harms {
        let place = Place::new();
        let (ledger, _) = place.open();
        let expected = fill(&ledger, 40);
        assert_eq!(found(&ledger), expected, "{what}");
        drop(ledger);
        // So that what is done to the file is not undone from its log.
        sql(&place, "PRAGMA wal_checkpoint(TRUNCATE)");
        harm(&place);
        let (ledger, _) = place.open();
        assert_eq!(found(&ledger), expected, "{what}");
        let (before, after) = ledger.record_of(&expected[0]).unwrap();
        assert!(before.is_some() && after.is_some(), "{what}");
        let again = ledger.append_blocking(allowed(&expected[0]), Durability::Full);
        assert!(
            matches!(again, Err(LedgerError::Duplicate { .. })),
            "{what}: {again:?}"
        );
        let report = verify(&place.path(), &ledger.public_key(), &[]).unwrap();
        assert_eq!(report.fault, None, "{what}");
    }
}

#[test]
fn a_second_record_of_a_request_is_refused_wherever_the_first_stands() {
    let place = Place::new();
    let (ledger, _) = place.open();
    let is_refused = |ledger: &Ledger, request: &RequestId| {
        for record in [allowed(request), settled(request)] {
            let again = ledger.append_blocking(record, Durability::Routine);
            assert!(
                matches!(again, Err(LedgerError::Duplicate { .. })),
                "{again:?}"
            );
        }
    };
    let request = &fill(&ledger, 1)[0];
    is_refused(&ledger, request);
    // The index covers it now.
    assert_eq!(found(&ledger).len(), 1);
    is_refused(&ledger, request);
    drop(ledger);
    let (ledger, _) = place.open();
    is_refused(&ledger, request);

    // The record before is covered, the one after is not yet.
    let split = fresh_request();
    let append = |record| ledger.append_blocking(record, Durability::Routine);
    let _receipt = append(allowed(&split)).unwrap();
    assert_eq!(found(&ledger).len(), 1);
    let _receipt = append(settled(&split)).unwrap();
    let (before, after) = ledger.record_of(&split).unwrap();
    assert_eq!(before.unwrap().index + 1, after.unwrap().index);
    is_refused(&ledger, &split);
}

#[test]
fn what_pours_in_is_covered_in_the_end_though_nobody_reads() {
    let place = Place::new();
    let (ledger, _) = place.open();
    let _ = fill(&ledger, 7000);
    let _ = fill(&ledger, 3000);
    let covered = || -> i64 {
        Connection::open(index_of(&place.path()))
            .unwrap()
            .query_row("SELECT ifnull(max(size), 0) FROM covered", [], |row| {
                row.get(0)
            })
            .unwrap()
    };
    let began = std::time::Instant::now();
    while covered() < 16_000 && began.elapsed() < std::time::Duration::from_secs(20) {
        let _receipt = ledger
            .append_blocking(noted("more"), Durability::Routine)
            .unwrap();
    }
    assert!(covered() >= 16_000, "{}", covered());
    assert_eq!(ledger.has_failed(), None);
}
