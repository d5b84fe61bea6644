use crate::given::{Place, allowed, fresh_request, noted, open_at, settled};
use countersign_ledger::verify::verify;
use countersign_ledger::{Durability, Filter, Kind};
use countersign_model::{Digest, RequestId};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, io, thread};

const CHILD: &str = "COUNTERSIGN_TEST_CRASH_CHILD";

#[test]
fn every_receipt_that_was_given_out_is_found_after_a_kill() {
    if let Some(seed) = env::var_os(CHILD) {
        append_until_killed(
            Path::new(&env::var_os("COUNTERSIGN_TEST_LEDGER").unwrap()),
            &seed.into_string().unwrap(),
        );
    }
    let place = Place::new();
    let seed: Digest = Digest::from_bytes(place.seed);
    let mut given_out: Vec<(u64, Digest, RequestId)> = Vec::new();
    for round in 0..6 {
        let mut child = Command::new(env::current_exe().unwrap())
            .args([
                "crash::every_receipt_that_was_given_out_is_found_after_a_kill",
                "--exact",
                "--nocapture",
            ])
            .env(CHILD, seed.to_string())
            .env("COUNTERSIGN_TEST_LEDGER", place.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut receipts = Vec::new();
        for line in lines.by_ref().take(100 + round * 150) {
            receipts.extend(parse(&line.unwrap()));
        }
        // SIGKILL, in the midst of it; then what it still managed to say.
        child.kill().unwrap();
        receipts.extend(lines.map_while(Result::ok).filter_map(|line| parse(&line)));
        child.wait().unwrap();
        assert!(
            receipts.len() > 50,
            "the child appended: {}",
            receipts.len()
        );
        given_out.extend(receipts);

        let (ledger, opening) = place.open();
        assert!(!opening.clean);
        for (index, leaf, request) in &given_out {
            let (before, after) = ledger.record_of(request).unwrap();
            let before = before
                .unwrap_or_else(|| panic!("the receipt of {request} at {index} was given out"));
            assert_eq!((before.index, before.leaf), (*index, *leaf));
            assert!(after.is_some(), "settled, or settled as unknown");
        }
        let unknown = ledger
            .timeline(&Filter {
                kinds: vec![Kind::Settled],
                after_index: Some(ledger.size() - 2 - opening.unknown.len() as u64),
                ..Filter::default()
            })
            .unwrap();
        assert_eq!(unknown.len(), opening.unknown.len());
        let receipt = ledger
            .append_blocking(noted("alive again"), Durability::Full)
            .unwrap();
        assert_eq!(receipt.index() + 1, ledger.size());
        let public_key = ledger.public_key();
        drop(ledger);
        assert_eq!(verify(&place.path(), &public_key, &[]).unwrap().fault, None);
    }
}

fn parse(line: &str) -> Option<(u64, Digest, RequestId)> {
    let mut words = line.strip_prefix("receipt ")?.split(' ');
    // The last line may have been cut by the kill.
    Some((
        words.next()?.parse().ok()?,
        words.next()?.parse().ok()?,
        words.next()?.parse().ok()?,
    ))
}

fn append_until_killed(path: &Path, seed: &str) -> ! {
    let (ledger, _) = open_at(path, *seed.parse::<Digest>().unwrap().as_bytes()).unwrap();
    thread::scope(|scope| {
        for caller in 0..6 {
            let ledger = &ledger;
            scope.spawn(move || {
                for n in 0_u32.. {
                    let request = fresh_request();
                    let durability = if (n + caller) % 7 == 0 {
                        Durability::Full
                    } else {
                        Durability::Routine
                    };
                    let receipt = ledger
                        .append_blocking(allowed(&request), durability)
                        .unwrap();
                    let line =
                        format!("receipt {} {} {request}\n", receipt.index(), receipt.leaf());
                    // One write, so that lines of threads do not mix.
                    io::stdout().write_all(line.as_bytes()).unwrap();
                    if n % 3 > 0 {
                        ledger.append_later(settled(&request));
                    }
                }
            });
        }
    });
    unreachable!("it is killed")
}
