use crate::given::{Place, allowed, fresh_request, open_at, settled};
use countersign_ledger::{Durability, LedgerError};
use countersign_model::Digest;
use std::env;
use std::path::Path;
use std::process::Command;

const CHILD: &str = "COUNTERSIGN_TEST_FULL_CHILD";

/// The limit on the size of files makes the system refuse a write as a full disk
/// does. It is set by a shell, which also ignores the signal that comes with it.
#[cfg(unix)]
#[test]
fn a_refused_write_is_an_error_and_latches() {
    if let Some(seed) = env::var_os(CHILD) {
        let path = env::var_os("COUNTERSIGN_TEST_LEDGER").unwrap();
        return append_until_refused(Path::new(&path), &seed.into_string().unwrap());
    }
    let place = Place::new();
    let status = Command::new("sh")
        // Blocks of 512 bytes: 2 MB.
        .args(["-c", "trap '' XFSZ; ulimit -f 4000; exec \"$@\"", "sh"])
        .arg(env::current_exe().unwrap())
        .args([
            "disk_full::a_refused_write_is_an_error_and_latches",
            "--exact",
            "--nocapture",
        ])
        .env(CHILD, Digest::from_bytes(place.seed).to_string())
        .env("COUNTERSIGN_TEST_LEDGER", place.path())
        .status()
        .unwrap();
    assert!(status.success());

    // With room again, what had a receipt is there, and the ledger goes on.
    let given_out: u64 = std::fs::read_to_string(place.folder.path().join("given-out"))
        .unwrap()
        .parse()
        .unwrap();
    let (ledger, opening) = place.open();
    assert!(!opening.clean);
    assert!(ledger.size() > given_out && given_out > 10, "{given_out}");
    assert_eq!(ledger.has_failed(), None);
    assert!(
        ledger
            .append_blocking(allowed(&fresh_request()), Durability::Full)
            .is_ok()
    );
}

fn append_until_refused(path: &Path, seed: &str) {
    let (ledger, _) = open_at(path, *seed.parse::<Digest>().unwrap().as_bytes()).unwrap();
    let mut last = 0;
    let error = loop {
        match ledger.append_blocking(allowed(&fresh_request()), Durability::Full) {
            Ok(receipt) => last = receipt.index(),
            Err(error) => break error,
        }
        assert!(last < 100_000, "the limit holds");
    };
    let LedgerError::Failed(why) = &error else {
        panic!("{error}")
    };
    assert!(why.contains("full"), "{why}");
    assert_eq!(ledger.has_failed().as_ref(), Some(why));
    let size = ledger.size();
    for durability in [Durability::Full, Durability::Routine] {
        assert_eq!(
            ledger
                .append_blocking(allowed(&fresh_request()), durability)
                .unwrap_err(),
            error
        );
    }
    ledger.append_later(settled(&fresh_request()));
    assert_eq!(ledger.size(), size, "nothing is recorded any more");
    std::fs::write(path.with_file_name("given-out"), last.to_string()).unwrap();
}
