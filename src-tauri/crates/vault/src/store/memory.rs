//! A store that tests can steer: it can be locked, hang, break and forget.

use super::ItemStore;
use crate::items::Items;
use crate::{Secret, VaultError};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A handle to what the store holds and how it behaves.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<State>>);

#[derive(Default)]
pub(crate) struct State {
    pub(crate) items: BTreeMap<String, Secret>,
    pub(crate) fail: Option<VaultError>,
    pub(crate) panic_once: bool,
    /// Each call takes so long.
    pub(crate) delay: Duration,
    /// So many more puts succeed.
    pub(crate) puts_left: Option<usize>,
    /// Puts are answered, and not kept.
    pub(crate) forgets: bool,
    /// So many calls came.
    pub(crate) calls: usize,
    /// So many of them read an item.
    pub(crate) gets: usize,
}

impl Memory {
    pub(crate) fn items(&self) -> Items {
        Items::new(Box::new(self.clone()))
    }
    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner))
    }
    fn enter(&self) -> Result<(), VaultError> {
        let delay = self.with(|s| {
            s.calls += 1;
            s.delay
        });
        std::thread::sleep(delay);
        assert!(
            !self.with(|s| std::mem::take(&mut s.panic_once)),
            "told to panic"
        );
        self.with(|s| s.fail.clone()).map_or(Ok(()), Err)
    }
}

impl ItemStore for Memory {
    fn get(&mut self, name: &str) -> Result<Option<Secret>, VaultError> {
        self.enter()?;
        Ok(self.with(|s| {
            s.gets += 1;
            s.items.get(name).cloned()
        }))
    }
    fn put(&mut self, name: &str, value: &Secret) -> Result<(), VaultError> {
        self.enter()?;
        self.with(|s| {
            if let Some(left) = &mut s.puts_left {
                *left = left
                    .checked_sub(1)
                    .ok_or(VaultError::Internal("crashed".into()))?;
            }
            if !s.forgets {
                s.items.insert(name.to_owned(), value.clone());
            }
            Ok(())
        })
    }
    fn delete(&mut self, name: &str) -> Result<(), VaultError> {
        self.enter()?;
        self.with(|s| s.items.remove(name));
        Ok(())
    }
}
