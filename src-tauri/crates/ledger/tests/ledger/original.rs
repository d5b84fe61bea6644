//! One ledger, and what can be done to copies of it.

use crate::given::{Place, fresh_request, noted, requested, settled};
use countersign_ledger::verify::{Report, Tampering, verify};
use countersign_ledger::{Durability, Filter};
use countersign_model::{Decision, Effect};
use rusqlite::Connection;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tlog_tiles::{Error, Hash, HashReader, Tile, record_hash, stored_hashes};

/// A ledger that was closed in order: 5,005 records, more than one reading
/// thread's share and several checkpoints; a copy of it from earlier; and the
/// checkpoint that was kept elsewhere.
pub(crate) struct Original {
    pub(crate) place: Place,
    pub(crate) earlier: PathBuf,
    pub(crate) public_key: [u8; 32],
    pub(crate) kept: String,
}

pub(crate) const SIZE: u64 = 5005;
pub(crate) const KEPT_AT: u64 = 5004;

pub(crate) fn original() -> &'static Original {
    static ORIGINAL: OnceLock<Original> = OnceLock::new();
    ORIGINAL.get_or_init(|| {
        let place = Place::new();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (ledger, _) = place.open();
        let append = |pairs: u32| {
            for n in 0..pairs {
                let request = fresh_request();
                let effects: &[Effect] = if n % 9 == 0 {
                    &[Effect::Delete]
                } else {
                    &[Effect::Read]
                };
                let decision = if n % 11 == 0 {
                    Decision::Deny
                } else {
                    Decision::Allow
                };
                ledger.append_later(requested(&request, "inbox-bot", decision, effects));
                ledger.append_later(settled(&request));
            }
            let _receipt = ledger
                .append_blocking(noted("so far"), Durability::Full)
                .unwrap();
        };
        append(1500);
        let earlier = place.folder.path().join("earlier.db");
        Connection::open(place.path())
            .unwrap()
            .execute("VACUUM INTO ?1", [earlier.to_str().unwrap()])
            .unwrap();
        append(1000);
        let _receipt = ledger
            .append_blocking(noted("last"), Durability::Full)
            .unwrap();
        let kept = runtime.block_on(ledger.checkpoint()).unwrap();
        let public_key = ledger.public_key();
        // Brings the index up to date.
        assert_eq!(ledger.timeline(&Filter::default()).unwrap().len(), 1000);
        runtime.block_on(ledger.close()).unwrap();
        Original {
            place,
            earlier,
            public_key,
            kept,
        }
    })
}

pub(crate) fn copy(of: &Path) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("copy.db");
    fs::copy(of, &path).unwrap();
    (folder, path)
}

/// What records are found by, beside a ledger.
pub(crate) fn index_of(path: &Path) -> PathBuf {
    path.with_extension("db.index")
}

pub(crate) fn report_on(path: &Path) -> Report {
    verify(path, &original().public_key, &[original().kept.clone()]).unwrap()
}

/// The report on a copy, with its index, after a change of the index.
pub(crate) fn after_in_the_index(change: impl FnOnce(&Connection)) -> Report {
    let original = original().place.path();
    let (_folder, path) = copy(&original);
    Connection::open(index_of(&original))
        .unwrap()
        .execute("VACUUM INTO ?1", [index_of(&path).to_str().unwrap()])
        .unwrap();
    let db = Connection::open(index_of(&path)).unwrap();
    change(&db);
    drop(db);
    report_on(&path)
}

/// The report on a copy after a change.
pub(crate) fn after(change: impl FnOnce(&Connection)) -> Report {
    let (_folder, path) = copy(&original().place.path());
    let db = Connection::open(&path).unwrap();
    change(&db);
    drop(db);
    report_on(&path)
}

pub(crate) fn found(report: &Report) -> Option<(Tampering, Option<u64>)> {
    report
        .fault
        .as_ref()
        .map(|fault| (fault.tampering, fault.record))
}

pub(crate) fn sql(change: &str) -> impl FnOnce(&Connection) {
    move |db| db.execute_batch(change).unwrap()
}

/// What somebody without the key can make good: every hash.
pub(crate) fn rebuild_tree(db: &Connection) {
    struct All(Vec<Hash>);
    impl HashReader for All {
        fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
            Ok(indexes
                .iter()
                .map(|&i| self.0[usize::try_from(i).unwrap()])
                .collect())
        }
    }
    db.execute_batch("BEGIN; DELETE FROM tiles;").unwrap();
    let mut all = All(Vec::new());
    let texts: Vec<String> = db
        .prepare("SELECT canonical FROM records ORDER BY idx")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for (n, text) in (0_u64..).zip(&texts) {
        let hashes = stored_hashes(n, text.as_bytes(), &all).unwrap();
        db.execute(
            "UPDATE records SET leaf = ?1 WHERE idx = ?2",
            (record_hash(text.as_bytes()).0, n.cast_signed()),
        )
        .unwrap();
        all.0.extend(hashes);
    }
    for tile in Tile::new_tiles(8, 0, texts.len() as u64) {
        db.execute(
            "INSERT OR REPLACE INTO tiles VALUES (?1, ?2, ?3)",
            (
                tile.level(),
                tile.level_index().cast_signed(),
                tile.read_data(&all).unwrap(),
            ),
        )
        .unwrap();
    }
    let size = texts.len() as u64;
    let root = tlog_tiles::tree_hash(size, &all).unwrap();
    db.execute(
        "UPDATE head SET size = ?1, root = ?2",
        (size.cast_signed(), root.0),
    )
    .unwrap();
    db.execute_batch("COMMIT").unwrap();
}

/// Puts another hash into the stored tree.
pub(crate) fn change_hash(db: &Connection, level: u8, at: usize, hash: &[u8]) {
    let place = (level, (at / 256) as i64);
    let mut tile: Vec<u8> = db
        .query_row(
            "SELECT hashes FROM tiles WHERE level = ?1 AND n = ?2",
            place,
            |row| row.get(0),
        )
        .unwrap();
    tile[at % 256 * 32..][..32].copy_from_slice(hash);
    db.execute(
        "UPDATE tiles SET hashes = ?3 WHERE level = ?1 AND n = ?2",
        (place.0, place.1, tile),
    )
    .unwrap();
}

/// Changes the text of a record and makes its own leaf good.
pub(crate) fn change_text(db: &Connection, idx: i64) {
    let text: String = db
        .query_row(
            "SELECT canonical FROM records WHERE idx = ?1",
            [idx],
            |row| row.get(0),
        )
        .unwrap();
    let changed = text.replacen("1700000000000", "1700000000001", 1);
    assert_ne!(text, changed);
    db.execute(
        "UPDATE records SET canonical = ?1, leaf = ?2 WHERE idx = ?3",
        (&changed, record_hash(changed.as_bytes()).0, idx),
    )
    .unwrap();
}
