//! What records are found by is made from them, and made anew in any doubt.

use crate::given::{Place, allowed, fresh_request, noted, requested, settled};
use crate::original::index_of;
use countersign_ledger::verify::verify;
use countersign_ledger::{Durability, Filter, Kind, Ledger, LedgerError};
use countersign_model::{Decision, Effect, Event, Recorded, RequestId};
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
    let request = |recorded: &Recorded| match &recorded.record.event {
        Event::Requested(requested) => requested.request.clone(),
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
            db.execute_batch("DELETE FROM entries; UPDATE covered SET leaf = x'00'")
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
        let expected = fill(&ledger, 400);
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

/// Which of the first `size` records people are shown: of all of them, and of
/// those that fit some filters.
fn views(ledger: &Ledger, size: u64) -> Vec<Vec<u64>> {
    let up_to = Filter {
        before_index: Some(size),
        ..Filter::default()
    };
    let filters = [
        up_to.clone(),
        Filter {
            agent: coder().agent,
            ..up_to.clone()
        },
        Filter {
            decision: Some(Decision::Deny),
            ..up_to.clone()
        },
        Filter {
            effect: Some(Effect::Delete),
            after_index: Some(100),
            ..up_to.clone()
        },
        Filter {
            kinds: vec![Kind::Settled],
            before_index: Some(700),
            ..up_to
        },
    ];
    let view = |filter: &Filter| {
        let records = ledger.timeline(filter).unwrap();
        records.iter().map(|recorded| recorded.index).collect()
    };
    filters.iter().map(view).collect()
}

#[test]
fn nothing_is_left_out_of_the_timeline_whatever_is_done_to_the_index_meanwhile() {
    const NO_NOTE: [&str; 2] = ["", "UPDATE covered SET leaf = x'00'"];
    let rare = fresh_request();
    for harm in [
        NO_NOTE[0],
        NO_NOTE[1],
        "DELETE FROM entries; UPDATE covered SET leaf = x'00'",
        "DELETE FROM entries WHERE is_after; CREATE TABLE x (y)",
        "UPDATE entries SET idx = -idx - 1",
        "UPDATE entries SET is_after = 1 - is_after",
        "UPDATE entries SET request = (SELECT request FROM entries WHERE idx = 1)",
        "DELETE FROM summaries",
        "UPDATE summaries SET text = '[]'",
        "UPDATE summaries SET text = (SELECT text FROM summaries WHERE n = 2),
                              seal = (SELECT seal FROM summaries WHERE n = 2)",
        "DROP TABLE summaries",
    ] {
        let place = Place::new();
        let (ledger, _) = place.open();
        let coders = fill(&ledger, 200);
        // The only one of its like, amid blocks that are covered.
        let deletes = requested(&rare, "helper", Decision::Deny, &[Effect::Delete]);
        let _receipt = ledger
            .append_blocking(deletes, Durability::Routine)
            .unwrap();
        let open = fresh_request();
        let _receipt = ledger
            .append_blocking(allowed(&open), Durability::Routine)
            .unwrap();
        let _ = fill(&ledger, 250);
        let size = ledger.size();
        let expected = views(&ledger, size);
        assert_eq!(expected[2].len(), 1, "{harm}");

        Connection::open(index_of(&place.path()))
            .unwrap()
            .execute_batch(harm)
            .unwrap();
        let filter = |request: &RequestId| Filter {
            request: Some(request.clone()),
            ..Filter::default()
        };
        for request in [&coders[0], &coders[60]] {
            let (before, after) = ledger.record_of(request).unwrap();
            assert_eq!(
                after.unwrap().index,
                before.unwrap().index + 1,
                "{harm}: {request}"
            );
            assert_eq!(ledger.timeline(&filter(request)).unwrap().len(), 2);
        }
        assert_eq!(ledger.timeline(&filter(&rare)).unwrap().len(), 1, "{harm}");
        let (before, after) = ledger.record_of(&open).unwrap();
        assert!(before.is_some() && after.is_none(), "{harm}: {after:?}");
        assert_eq!(views(&ledger, size), expected, "{harm}");

        let _ = fill(&ledger, 1);
        let notes = Filter {
            kinds: vec![Kind::IndexAltered],
            ..Filter::default()
        };
        let told = ledger.timeline(&notes).unwrap();
        let told: Vec<u64> = told.iter().map(|recorded| recorded.index).collect();
        assert_eq!(told.len(), usize::from(!NO_NOTE.contains(&harm)), "{harm}");
        // Also while the index is gone, and once it was made anew.
        let verified = |ledger: &Ledger| {
            let report = verify(&place.path(), &ledger.public_key(), &[]).unwrap();
            assert_eq!(report.index_altered, told.first().copied(), "{harm}");
            report.fault
        };
        if !told.is_empty() {
            assert_eq!(verified(&ledger), None, "{harm}");
        }

        // The next one makes it anew.
        drop(ledger);
        let (ledger, _) = place.open();
        assert_eq!(views(&ledger, size), expected, "{harm}");
        assert_eq!(verified(&ledger), None, "{harm}");
    }
}

#[test]
fn nothing_is_left_out_where_the_index_is_no_longer_one_and_nothing_is_added_either() {
    for harm in [
        "DROP TABLE entries",
        "DROP TABLE covered; DROP TABLE entries; DROP TABLE summaries",
    ] {
        let place = Place::new();
        let (ledger, _) = place.open();
        let coders = fill(&ledger, 200);
        assert_eq!(found(&ledger), coders);
        Connection::open(index_of(&place.path()))
            .unwrap()
            .execute_batch(harm)
            .unwrap();
        assert_eq!(found(&ledger), coders, "{harm}");
        let (before, after) = ledger.record_of(&coders[60]).unwrap();
        assert!(before.is_some() && after.is_some(), "{harm}");
        // Whether it is the first of its request cannot be told.
        let next = ledger.append_blocking(allowed(&fresh_request()), Durability::Routine);
        assert!(
            matches!(next, Err(LedgerError::Failed(_))),
            "{harm}: {next:?}"
        );
    }
}

#[test]
fn verify_says_that_the_index_of_a_ledger_in_use_does_not_fit() {
    for harm in [
        "UPDATE covered SET leaf = x'00'",
        "CREATE TABLE x (y)",
        "DELETE FROM covered",
        "DELETE FROM entries WHERE idx = 7",
        "UPDATE summaries SET text = '[]' WHERE n = 1",
    ] {
        let place = Place::new();
        let (ledger, _) = place.open();
        let coders = fill(&ledger, 400);
        assert_eq!(found(&ledger), coders);
        let fault = || {
            verify(&place.path(), &ledger.public_key(), &[])
                .unwrap()
                .fault
        };
        assert_eq!(fault(), None);
        Connection::open(index_of(&place.path()))
            .unwrap()
            .execute_batch(harm)
            .unwrap();
        let words = fault().unwrap().words;
        assert!(words.contains("found by"), "{harm}: {words}");
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
    drop(ledger);
    // Not covered, but remembered.
    let (ledger, _) = place.open();
    is_refused(&ledger, request);
    // The index covers it now.
    let _ = fill(&ledger, 200);
    assert!(found(&ledger).contains(request));
    is_refused(&ledger, request);
    drop(ledger);
    let (ledger, _) = place.open();
    is_refused(&ledger, request);

    // The record before is covered, the one after is not yet.
    let split = fresh_request();
    let append = |record| ledger.append_blocking(record, Durability::Routine);
    let _receipt = append(allowed(&split)).unwrap();
    for _ in 0..256 {
        let _receipt = append(noted("more")).unwrap();
    }
    let (before, after) = ledger.record_of(&split).unwrap();
    assert!(before.is_some() && after.is_none(), "{before:?} {after:?}");
    let _receipt = append(settled(&split)).unwrap();
    let (before, after) = ledger.record_of(&split).unwrap();
    assert_eq!(before.unwrap().index + 257, after.unwrap().index);
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
            .query_row("SELECT size FROM covered", [], |row| row.get(0))
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
