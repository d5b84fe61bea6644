use crate::given::{Place, allowed, fresh_request, noted, record, settled};
use countersign_ledger::verify::verify;
use countersign_ledger::{Durability, Filter, Kind, LedgerError};
use countersign_model::{Decision, Digest, Event};
use std::collections::BTreeSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Seen by a connection of somebody else.
fn count_in_file(place: &Place) -> i64 {
    let db = rusqlite::Connection::open_with_flags(
        place.path(),
        rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
    )
    .unwrap();
    db.query_row("SELECT count(*) FROM records", [], |row| row.get(0))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_callers_at_once_get_an_order_without_gaps() {
    let place = Place::new();
    let (ledger, _) = place.open();
    let mut news = ledger.subscribe();
    let callers: Vec<_> = (0..16)
        .map(|caller| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                let mut receipts = Vec::new();
                for n in 0..50 {
                    let request = fresh_request();
                    let durability = if (n + caller) % 10 == 0 {
                        Durability::Full
                    } else {
                        Durability::Routine
                    };
                    let receipt = ledger.append(allowed(&request), durability).await.unwrap();
                    ledger.append_later(settled(&request));
                    receipts.push((receipt.index(), receipt.leaf(), request));
                }
                receipts
            })
        })
        .collect();
    let mut receipts = Vec::new();
    for caller in callers {
        receipts.extend(caller.await.unwrap());
    }
    let checkpoint = ledger.checkpoint().await.unwrap();
    assert_eq!(ledger.size(), 1 + 2 * 800);

    let indexes: BTreeSet<_> = receipts.iter().map(|(index, ..)| *index).collect();
    assert_eq!(indexes.len(), receipts.len(), "no index twice");
    for (index, leaf, request) in &receipts {
        let (before, after) = ledger.record_of(request).unwrap();
        let before = before.unwrap();
        assert_eq!((before.index, before.leaf), (*index, *leaf));
        assert!(
            after.unwrap().index > *index,
            "the outcome stands after the request"
        );
    }
    for expected in 1..=1600 {
        assert_eq!(
            news.recv().await.unwrap().index,
            expected,
            "the news is in the order of the ledger"
        );
    }
    let public_key = ledger.public_key();
    ledger.close().await.unwrap();
    let report = verify(&place.path(), &public_key, &[checkpoint]).unwrap();
    assert_eq!(report.fault, None);
    assert_eq!(
        (report.records, report.signed, report.witnessed),
        (1602, 1602, 1601)
    );
}

#[tokio::test]
async fn a_receipt_is_given_only_for_what_is_in_the_file() {
    let place = Place::new();
    let (ledger, _) = place.open();
    for n in 1..=20 {
        let request = fresh_request();
        let durability = if n % 2 == 0 {
            Durability::Full
        } else {
            Durability::Routine
        };
        let receipt = ledger.append(allowed(&request), durability).await.unwrap();
        assert_eq!(count_in_file(&place), n + 1);
        let proof = receipt.requested().unwrap();
        assert_eq!(proof.request, &request);
        assert_eq!(proof.decision, Decision::Allow);
        assert_eq!(proof.exact, Some(Digest::of(request.as_str().as_bytes())));
    }
    let receipt = ledger
        .append(noted("x"), Durability::Routine)
        .await
        .unwrap();
    assert_eq!(receipt.requested(), None);
}

#[test]
fn a_thread_without_a_runtime_can_append() {
    let place = Place::new();
    let (ledger, _) = place.open();
    assert_eq!(
        ledger
            .append_blocking(noted("x"), Durability::Full)
            .unwrap()
            .index(),
        1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_second_record_of_a_request_is_refused_alone() {
    let place = Place::new();
    let (ledger, _) = place.open();
    let (one, other) = (fresh_request(), fresh_request());
    let _receipt = ledger
        .append(allowed(&one), Durability::Routine)
        .await
        .unwrap();
    // In one batch with it: what comes before and after stands.
    let (before, again, after) = tokio::join!(
        ledger.append(noted("before"), Durability::Full),
        ledger.append(allowed(&one), Durability::Full),
        ledger.append(allowed(&other), Durability::Full),
    );
    assert_eq!(
        again.unwrap_err(),
        LedgerError::Duplicate {
            request: one.clone(),
            kind: "requested"
        }
    );
    assert_eq!((before.unwrap().index(), after.unwrap().index()), (2, 3));
    assert_eq!(ledger.has_failed(), None);

    // Nobody waits for an outcome: that a second one came is said in the trail.
    ledger.append_later(settled(&one));
    ledger.append_later(settled(&one));
    ledger.checkpoint().await.unwrap();
    let notes = ledger
        .timeline(&Filter {
            kinds: vec![Kind::Noted],
            limit: 1,
            ..Filter::default()
        })
        .unwrap();
    let Event::Noted { what, .. } = &notes[0].record.event else {
        panic!("{notes:?}")
    };
    assert!(
        what.contains(one.as_str()) && what.contains("settled"),
        "{what}"
    );
    assert_eq!(ledger.has_failed(), None);
}

#[tokio::test]
async fn what_cannot_be_kept_exactly_is_refused_alone() {
    let place = Place::new();
    let (ledger, _) = place.open();
    let config = |counter| {
        record(Event::ConfigAccepted {
            counter,
            digest: Digest::of(b"x"),
            by: "first start".to_owned(),
        })
    };
    assert!(matches!(
        ledger.append(config(u64::MAX), Durability::Full).await,
        Err(LedgerError::Unfit(_))
    ));
    assert!(ledger.append(config(1), Durability::Full).await.is_ok());
}

#[test]
fn an_outcome_lands_within_20_ms_though_nobody_waits() {
    let place = Place::new();
    let (ledger, _) = place.open();
    let mut waits = Vec::new();
    for _ in 0..20 {
        let (size, start) = (ledger.size(), Instant::now());
        ledger.append_later(settled(&fresh_request()));
        let called = start.elapsed();
        while ledger.size() == size {
            assert!(start.elapsed() < Duration::from_secs(5));
            thread::sleep(Duration::from_micros(200));
        }
        waits.push((start.elapsed(), called));
    }
    // Median, not maximum: the machine may be busy with something else.
    waits.sort_unstable();
    let (landed, _) = waits[waits.len() / 2];
    assert!(landed <= Duration::from_millis(20), "{waits:?}");
}

#[test]
fn an_outcome_rides_with_the_next_commit() {
    let place = Place::new();
    let (ledger, _) = place.open();
    let request = fresh_request();
    ledger.append_later(settled(&request));
    let receipt = ledger
        .append_blocking(noted("x"), Durability::Routine)
        .unwrap();
    assert_eq!(
        receipt.index(),
        2,
        "what was handed over first stands first"
    );
    assert!(ledger.record_of(&request).unwrap().1.is_some());
}

#[tokio::test]
async fn dropping_the_future_of_an_append_takes_nothing_back() {
    let place = Place::new();
    let (ledger, _) = place.open();
    for n in 0..50 {
        let durability = if n < 25 {
            Durability::Full
        } else {
            Durability::Routine
        };
        let append = ledger.append(noted("dropped"), durability);
        // Polled once, which hands the record over; then dropped.
        let _ = tokio::time::timeout(Duration::ZERO, append).await;
    }
    // Nobody comes after them who could take them along.
    let began = Instant::now();
    while ledger.size() < 51 && began.elapsed() < Duration::from_secs(10) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(ledger.size(), 51);
    let receipt = ledger
        .append(noted("last"), Durability::Full)
        .await
        .unwrap();
    assert_eq!(receipt.index(), 51);
    assert_eq!(ledger.has_failed(), None);
}

#[tokio::test]
async fn after_close_every_clone_says_so() {
    let place = Place::new();
    let (ledger, _) = place.open();
    let clone = ledger.clone();
    ledger.close().await.unwrap();
    assert_eq!(
        clone
            .append(noted("x"), Durability::Routine)
            .await
            .unwrap_err(),
        LedgerError::Closed
    );
    assert_eq!(clone.checkpoint().await.unwrap_err(), LedgerError::Closed);
    assert_eq!(
        clone.timeline(&Filter::default()).unwrap_err(),
        LedgerError::Closed
    );
    // The files are free although a clone is left.
    let (_ledger, opening) = place.open();
    assert!(opening.clean);
}

#[test]
fn event_loops_that_want_to_commit_at_once_leave_no_record_behind() {
    const LOOPS: usize = 3;
    const ROUNDS: u64 = 1500;
    let place = Place::new();
    let (ledger, _) = place.open();
    let left = AtomicBool::new(false);
    // All at once, each with one record: whoever is left behind is taken along by
    // nobody, for the others come again only when it is done.
    let start = Barrier::new(LOOPS);
    let rounds = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        for _ in 0..ROUNDS {
            start.wait();
            let append = async {
                let append = ledger.append(noted("x"), Durability::Routine);
                tokio::time::timeout(Duration::from_secs(10), append).await
            };
            if !matches!(runtime.block_on(append), Ok(Ok(_))) {
                left.store(true, Ordering::SeqCst);
            }
            start.wait();
            if left.load(Ordering::SeqCst) {
                return;
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..LOOPS {
            scope.spawn(rounds);
        }
    });
    assert!(!left.into_inner(), "a record was left behind");
    assert_eq!(ledger.size(), 1 + LOOPS as u64 * ROUNDS);
}

#[test]
fn the_log_stays_bounded_while_records_pour_in() {
    let place = Place::new();
    let (ledger, _) = place.open();
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    let record = allowed(&fresh_request());
                    let _receipt = ledger.append_blocking(record, Durability::Routine).unwrap();
                }
            });
        }
    });
    // Every commit rewrites some ten pages: unbounded, it would be far larger.
    let log = place
        .folder
        .path()
        .join("ledger.db-wal")
        .metadata()
        .unwrap();
    assert!(log.len() < 100 << 20, "{}", log.len());
    assert!(place.path().metadata().unwrap().len() > 10 << 20);
    assert_eq!(ledger.has_failed(), None);
}

#[test]
fn outcomes_that_cannot_be_taken_latch_because_the_trail_would_have_a_hole() {
    let place = Place::new();
    let (ledger, _) = place.open();
    // Another program keeps the writer from writing for a while.
    let other = rusqlite::Connection::open(place.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    for _ in 0..50_000 {
        ledger.append_later(settled(&fresh_request()));
        if ledger.has_failed().is_some() {
            break;
        }
    }
    let why = ledger.has_failed().unwrap();
    assert!(why.contains("an outcome could not be recorded"), "{why}");
    other.execute_batch("ROLLBACK").unwrap();
    let error = ledger.append_blocking(noted("x"), Durability::Routine);
    assert_eq!(error.unwrap_err(), LedgerError::Failed(why));
}
