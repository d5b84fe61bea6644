use rusqlite::{Connection, OptionalExtension as _};
use tlog_tiles::{EMPTY_HASH, HASH_SIZE, Hash, node_hash};

/// How many hashes a whole tile holds: C2SP `tlog-tiles`, height 8.
pub(crate) const WIDTH: u64 = 256;
const HEIGHT: u32 = WIDTH.trailing_zeros();

/// So many records lie below a hash of this level of tiles, as a power of two.
pub(crate) const fn below(level: u32) -> u32 {
    HEIGHT * level
}

/// Hashes that stand beside each other in the Merkle tree (RFC 6962), and the
/// hash over them once they are [`WIDTH`].
#[derive(Debug, Clone)]
pub(crate) struct Tile {
    /// 0 for hashes of records, 1 for hashes over whole tiles of level 0, ….
    pub(crate) level: u32,
    /// The place in its level.
    pub(crate) n: u64,
    /// One after the other.
    pub(crate) hashes: Vec<u8>,
    /// Over a whole one; it stands in the next level, at place `n`.
    pub(crate) root: Option<Hash>,
}

/// The right edge of the Merkle tree: on each level, the tile that is not whole.
/// All that is needed to append, and to know the root.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    size: u64,
    levels: Vec<Edge>,
}

/// A tile that is not whole.
#[derive(Debug, Clone, Default)]
struct Edge {
    hashes: Vec<u8>,
    /// The roots of its complete subtrees, largest first.
    peaks: Vec<Hash>,
}

impl Edge {
    fn count(&self) -> usize {
        self.hashes.len() / HASH_SIZE
    }

    /// The root, if that made it whole.
    fn push(&mut self, hash: Hash) -> Option<Hash> {
        // Each complete subtree at the end joins the one before it.
        let joins = self.count().trailing_ones() as usize;
        let kept = self.peaks.len().saturating_sub(joins);
        let joined = self
            .peaks
            .drain(kept..)
            .rfold(hash, |right, left| node_hash(left, right));
        self.hashes.extend_from_slice(&hash.0);
        self.peaks.push(joined);
        (self.count() as u64 == WIDTH).then_some(joined)
    }
}

impl Tree {
    /// The right edge of the first `size` records of a stored tree. `None` where
    /// hashes are missing.
    pub(crate) fn load(size: u64, stored: &Stored<'_>) -> rusqlite::Result<Option<Self>> {
        let mut tree = Self {
            size,
            levels: Vec::new(),
        };
        for level in 0_u32.. {
            let whole = size.checked_shr(below(level)).unwrap_or(0);
            if whole == 0 {
                break;
            }
            let mut edge = Edge::default();
            let (n, count) = (whole / WIDTH, whole % WIDTH);
            if count > 0 {
                let tile = stored.tile(level, n)?.unwrap_or_default();
                for at in 0..count {
                    let Some(hash) = hash_at(&tile, at) else {
                        return Ok(None);
                    };
                    edge.push(hash);
                }
            }
            tree.levels.push(edge);
        }
        Ok(Some(tree))
    }

    /// How many records the tree has.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree.
    pub(crate) fn root(&self) -> Hash {
        let from_the_right = self.levels.iter().flat_map(|edge| edge.peaks.iter().rev());
        from_the_right
            .copied()
            .reduce(|right, left| node_hash(left, right))
            .unwrap_or(EMPTY_HASH)
    }

    /// Appends a leaf. Returns the tiles that it made whole.
    pub(crate) fn push(&mut self, leaf: Hash) -> Vec<Tile> {
        let mut whole = Vec::new();
        let mut next = Some(leaf);
        for level in 0_u32.. {
            let Some(hash) = next else {
                break;
            };
            if self.levels.len() == level as usize {
                self.levels.push(Edge::default());
            }
            let edge = &mut self.levels[level as usize];
            next = edge.push(hash);
            if next.is_some() {
                whole.push(Tile {
                    level,
                    n: self.size >> below(level + 1),
                    hashes: std::mem::take(edge).hashes,
                    root: next,
                });
            }
        }
        self.size += 1;
        whole
    }

    /// The tiles that are not whole.
    pub(crate) fn edge(&self) -> impl Iterator<Item = Tile> {
        let begun = |(_, edge): &(u32, &Edge)| !edge.hashes.is_empty();
        (0..)
            .zip(&self.levels)
            .filter(begun)
            .map(|(level, edge)| Tile {
                level,
                n: self.size >> below(level + 1),
                hashes: edge.hashes.clone(),
                root: None,
            })
    }
}

/// One of the hashes of a tile.
pub(crate) fn hash_at(tile: &[u8], at: u64) -> Option<Hash> {
    let (hashes, _) = tile.as_chunks::<HASH_SIZE>();
    hashes
        .get(usize::try_from(at).ok()?)
        .map(|hash| Hash(*hash))
}

/// The tree as it lies in the table `tiles`.
pub(crate) struct Stored<'c>(pub(crate) &'c Connection);

impl Stored<'_> {
    pub(crate) fn tile(&self, level: u32, n: u64) -> rusqlite::Result<Option<Vec<u8>>> {
        self.0
            .prepare_cached("SELECT hashes FROM tiles WHERE level = ?1 AND n = ?2")?
            .query_row((level, n.cast_signed()), |row| row.get(0))
            .optional()
    }

    /// Of each level, the place of the last tile and how many hashes it holds.
    pub(crate) fn ends(&self) -> rusqlite::Result<Vec<(u32, u64, u64)>> {
        // Level by level, so that only the last tile of each is read.
        let highest: Option<u32> = self
            .0
            .query_row("SELECT max(level) FROM tiles", [], |row| row.get(0))?;
        let mut last = self.0.prepare_cached(
            "SELECT n, length(hashes) FROM tiles WHERE level = ?1 ORDER BY n DESC LIMIT 1",
        )?;
        let levels = highest.map_or(0..0, |highest| 0..highest.saturating_add(1));
        let mut ends = Vec::new();
        for level in levels {
            let end = last
                .query_row([level], |row| {
                    let bytes = row.get::<_, i64>(1)?.cast_unsigned();
                    Ok((
                        row.get::<_, i64>(0)?.cast_unsigned(),
                        bytes.div_ceil(HASH_SIZE as u64),
                    ))
                })
                .optional()?;
            ends.extend(end.map(|(n, count)| (level, n, count)));
        }
        Ok(ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tlog_tiles::{Error, HashReader, record_hash, stored_hashes_for_record_hash, tree_hash};

    struct All(Vec<Hash>);
    impl HashReader for All {
        fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
            Ok(indexes
                .iter()
                .map(|&i| self.0[usize::try_from(i).unwrap()])
                .collect())
        }
    }

    #[test]
    fn the_right_edge_gives_the_same_tree_and_tiles_as_all_hashes() {
        const RECORDS: u64 = 66_000;
        let db = Connection::open_in_memory().unwrap();
        crate::schema::make_tables(&db).unwrap();
        let store = |tile: &Tile| {
            db.execute(
                "INSERT OR REPLACE INTO tiles VALUES (?1, ?2, ?3)",
                (tile.level, tile.n.cast_signed(), &tile.hashes),
            )
            .unwrap();
        };
        let (mut all, mut tree) = (All(Vec::new()), Tree::default());
        assert_eq!(tree.root(), EMPTY_HASH);
        for n in 0..RECORDS {
            let leaf = record_hash(&n.to_be_bytes());
            all.0
                .extend(stored_hashes_for_record_hash(n, leaf, &all).unwrap());
            for tile in tree.push(leaf) {
                let level = u8::try_from(tile.level).unwrap();
                let reference = tlog_tiles::Tile::new(8, level, tile.n, 256, false);
                assert_eq!(reference.read_data(&all).unwrap(), tile.hashes);
                assert_eq!(
                    tlog_tiles::Tile::subtree_hash(&tile.hashes),
                    tile.root.unwrap()
                );
                store(&tile);
            }
            if n < 600 || n % 97 == 0 || n > 65_500 {
                assert_eq!(tree.root(), tree_hash(n + 1, &all).unwrap(), "{n}");
                tree.edge().for_each(|tile| store(&tile));
                let loaded = Tree::load(n + 1, &Stored(&db)).unwrap().unwrap();
                assert_eq!(loaded.root(), tree.root(), "{n}");
            }
        }
        let ends = Stored(&db).ends().unwrap();
        assert_eq!(ends, [(0, 257, 208), (1, 1, 1), (2, 0, 1)]);
        assert!(Tree::load(RECORDS + 1, &Stored(&db)).unwrap().is_none());
    }
}
