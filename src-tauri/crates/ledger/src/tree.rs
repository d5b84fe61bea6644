use rusqlite::{Connection, OptionalExtension as _};
use tlog_tiles::{Error, Hash, HashReader, stored_hash_index, sub_tree_index};

/// The right edge of the Merkle tree (RFC 6962): the roots of its complete
/// subtrees, largest first. All that is needed to append, and to know the root.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peaks {
    size: u64,
    held: Vec<(u64, Hash)>,
}

impl HashReader for Peaks {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        indexes
            .iter()
            .map(|index| {
                let held = self.held.iter().rev().find(|(held, _)| held == index);
                held.map(|&(_, hash)| hash).ok_or(Error::IndexesNotInTree)
            })
            .collect()
    }
}

impl Peaks {
    /// The right edge of the first `size` records of a stored tree.
    pub(crate) fn load(size: u64, stored: &impl HashReader) -> Result<Self, Error> {
        let indexes = sub_tree_index(0, size, Vec::new());
        let hashes = stored.read_hashes(&indexes)?;
        Ok(Self {
            size,
            held: indexes.into_iter().zip(hashes).collect(),
        })
    }

    /// How many records the tree has.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree.
    pub(crate) fn root(&self) -> Result<Hash, Error> {
        tlog_tiles::tree_hash(self.size, self)
    }

    /// Appends a leaf. Returns what is to be stored: the index of the first hash
    /// and the hashes, whose indexes follow one another.
    pub(crate) fn push(&mut self, leaf: Hash) -> Result<(u64, Vec<Hash>), Error> {
        let hashes = tlog_tiles::stored_hashes_for_record_hash(self.size, leaf, self)?;
        // Each hash after the leaf's own joins the last peak with what is new.
        let joined = hashes.len() - 1;
        self.held.truncate(self.held.len().saturating_sub(joined));
        if let (Some(&top), Ok(level)) = (hashes.last(), u8::try_from(joined)) {
            self.held
                .push((stored_hash_index(level, self.size >> level), top));
        }
        let first = stored_hash_index(0, self.size);
        self.size += 1;
        Ok((first, hashes))
    }
}

/// The tree as it lies in the table `hashes`.
pub(crate) struct Stored<'c>(pub(crate) &'c Connection);

impl Stored<'_> {
    pub(crate) fn hash(&self, index: u64) -> rusqlite::Result<Option<Hash>> {
        self.0
            .prepare_cached("SELECT hash FROM hashes WHERE idx = ?1")?
            .query_row([index.cast_signed()], |row| row.get(0).map(Hash))
            .optional()
    }
}

impl HashReader for Stored<'_> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        indexes
            .iter()
            .map(|&index| match self.hash(index) {
                Ok(Some(hash)) => Ok(hash),
                Ok(None) => Err(Error::IndexesNotInTree),
                Err(error) => Err(Error::InvalidInput(error.to_string())),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tlog_tiles::{check_tree, prove_tree, record_hash, stored_hash_count, tree_hash};

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
    fn the_right_edge_gives_the_same_tree_as_all_hashes() {
        let (mut all, mut peaks, mut roots) = (All(Vec::new()), Peaks::default(), Vec::new());
        for n in 0_u64..300 {
            let (first, hashes) = peaks.push(record_hash(&n.to_be_bytes())).unwrap();
            assert_eq!(first, all.0.len() as u64);
            all.0.extend(hashes);
            assert_eq!(all.0.len() as u64, stored_hash_count(n + 1));
            roots.push(peaks.root().unwrap());
            assert_eq!(peaks.root().unwrap(), tree_hash(n + 1, &all).unwrap());
            assert_eq!(Peaks::load(n + 1, &all).unwrap().held, peaks.held);
        }
        let proof = prove_tree(300, 123, &all).unwrap();
        check_tree(&proof, 300, roots[299], 123, roots[122]).unwrap();
    }
}
