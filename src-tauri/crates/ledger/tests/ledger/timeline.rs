use crate::given::{Place, allowed, fresh_request, noted, record, requested, settled};
use countersign_ledger::{Durability, Filter, Kind, LedgerError};
use countersign_model::{AuditRecord, Decision, Effect, Event, StopTrigger, Timestamp};

/// 300 requests of three agents: every 50th deletes, every 60th is denied.
fn filled(place: &Place) -> (countersign_ledger::Ledger, Vec<AuditRecord>) {
    let (ledger, _) = place.open();
    let mut records = Vec::new();
    for n in 0_u32..300 {
        let agent = ["inbox-bot", "coder", "helper"][n as usize % 3];
        let effects: &[Effect] = if n % 50 == 0 {
            &[Effect::Delete, Effect::Bulk]
        } else {
            &[Effect::Read]
        };
        let decision = if n % 60 == 0 {
            Decision::Deny
        } else {
            Decision::Allow
        };
        let request = fresh_request();
        let mut before = requested(&request, agent, decision, effects);
        before.at = Timestamp::from_unix_ms(1_000 + i64::from(n));
        records.extend([before, settled(&request)]);
    }
    records.push(record(Event::StopEngaged {
        trigger: StopTrigger::Tray,
        reason: None,
    }));
    for record in &records {
        ledger.append_later(record.clone());
    }
    let _receipt = ledger
        .append_blocking(noted("end"), Durability::Routine)
        .unwrap();
    (ledger, records)
}

#[test]
fn every_filter_gives_what_reading_everything_would() {
    let place = Place::new();
    let (ledger, _) = filled(&place);
    let all = ledger.timeline(&Filter::default()).unwrap();
    assert_eq!(all.len(), 603);
    assert!(
        all.windows(2)
            .all(|pair| pair[0].index == pair[1].index + 1),
        "newest first"
    );

    let of = |record: &AuditRecord| match &record.event {
        Event::Requested(requested) => Some((**requested).clone()),
        _ => None,
    };
    let has = |record: &AuditRecord, effect| {
        of(record).is_some_and(|r| r.action.unwrap().effects.has(effect))
    };
    type Keeps<'a> = &'a dyn Fn(&AuditRecord) -> bool;
    let cases: [(Filter, Keeps<'_>); 10] = [
        (
            Filter {
                agent: Some("coder".parse().unwrap()),
                ..Filter::default()
            },
            &|r| of(r).is_some_and(|r| r.agent.as_str() == "coder"),
        ),
        (
            Filter {
                account: Some("mail".parse().unwrap()),
                ..Filter::default()
            },
            &|r| of(r).is_some(),
        ),
        (
            Filter {
                effect: Some(Effect::Bulk),
                ..Filter::default()
            },
            &|r| has(r, Effect::Bulk),
        ),
        (
            Filter {
                effect: Some(Effect::Read),
                ..Filter::default()
            },
            &|r| has(r, Effect::Read),
        ),
        (
            Filter {
                decision: Some(Decision::Deny),
                ..Filter::default()
            },
            &|r| of(r).is_some_and(|r| r.decision == Decision::Deny),
        ),
        (
            Filter {
                decision: Some(Decision::Allow),
                effect: Some(Effect::Delete),
                ..Filter::default()
            },
            &|r| has(r, Effect::Delete) && of(r).unwrap().decision == Decision::Allow,
        ),
        (
            Filter {
                kinds: vec![Kind::StopEngaged, Kind::Noted],
                ..Filter::default()
            },
            &|r| matches!(Kind::of(&r.event), Kind::StopEngaged | Kind::Noted),
        ),
        (
            Filter {
                kinds: vec![Kind::StopEngaged, Kind::Settled],
                ..Filter::default()
            },
            &|r| matches!(Kind::of(&r.event), Kind::StopEngaged | Kind::Settled),
        ),
        (
            Filter {
                since: Some(Timestamp::from_unix_ms(1_100)),
                ..Filter::default()
            },
            &|r| r.at.unix_ms() >= 1_100,
        ),
        (
            Filter {
                agent: Some("coder".parse().unwrap()),
                kinds: vec![Kind::Requested],
                decision: Some(Decision::Deny),
                ..Filter::default()
            },
            &|r| of(r).is_some_and(|r| r.agent.as_str() == "coder" && r.decision == Decision::Deny),
        ),
    ];
    for (filter, keeps) in cases {
        let expected: Vec<_> = all.iter().filter(|r| keeps(&r.record)).cloned().collect();
        assert_eq!(ledger.timeline(&filter).unwrap(), expected, "{filter:?}");
    }
}

#[test]
fn pages_follow_one_another_without_overlap_or_gap() {
    let place = Place::new();
    let (ledger, _) = filled(&place);
    let all = ledger.timeline(&Filter::default()).unwrap();
    let mut filter = Filter {
        limit: 100,
        ..Filter::default()
    };
    let mut pages = Vec::new();
    loop {
        let page = ledger.timeline(&filter).unwrap();
        let Some(oldest) = page.last() else { break };
        filter.before_index = Some(oldest.index);
        pages.extend(page);
    }
    assert_eq!(pages, all);

    let mut filter = Filter {
        limit: 100,
        after_index: Some(300),
        ..Filter::default()
    };
    let after = ledger.timeline(&filter).unwrap();
    assert_eq!(
        (after[0].index, after[99].index),
        (301, 400),
        "oldest first"
    );
    filter.after_index = Some(602);
    assert!(ledger.timeline(&filter).unwrap().is_empty());
}

#[test]
fn a_request_is_found_with_what_became_of_it() {
    let place = Place::new();
    let (ledger, _) = place.open();
    let (one, two) = (fresh_request(), fresh_request());
    for record in [allowed(&one), allowed(&two), settled(&one)] {
        let _receipt = ledger.append_blocking(record, Durability::Routine).unwrap();
    }
    let (before, after) = ledger.record_of(&one).unwrap();
    assert_eq!((before.unwrap().index, after.unwrap().index), (1, 3));
    let (before, after) = ledger.record_of(&two).unwrap();
    assert_eq!((before.unwrap().index, after), (2, None));
    assert_eq!(ledger.record_of(&fresh_request()).unwrap(), (None, None));
}

#[test]
fn a_record_that_was_changed_is_never_shown_as_if_it_were_true() {
    let place = Place::new();
    let (ledger, _) = place.open();
    let request = fresh_request();
    let _receipt = ledger
        .append_blocking(allowed(&request), Durability::Routine)
        .unwrap();
    let db = rusqlite::Connection::open(place.path()).unwrap();
    db.execute(
        "UPDATE records SET canonical = replace(canonical, '\"allow\"', '\"deny\"')",
        [],
    )
    .unwrap();
    let error = ledger.record_of(&request).unwrap_err();
    assert!(
        matches!(&error, LedgerError::Unreadable(what) if what.contains("record 1")),
        "{error}"
    );
}

#[test]
fn a_record_that_is_missing_is_not_passed_over() {
    let place = Place::new();
    let (ledger, _) = filled(&place);
    let db = rusqlite::Connection::open(place.path()).unwrap();
    db.execute("DELETE FROM records WHERE idx = 590", [])
        .unwrap();
    let oldest_first = Filter {
        after_index: Some(500),
        ..Filter::default()
    };
    for filter in [Filter::default(), oldest_first] {
        let error = ledger.timeline(&filter).unwrap_err();
        assert!(
            matches!(&error, LedgerError::Unreadable(what) if what.contains("record 590")),
            "{error}"
        );
    }
}
