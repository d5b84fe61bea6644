//! Credentials that were read a moment ago.
//!
//! Routine reads come by the thousand each second, and a keyring answers in
//! milliseconds. So what was read is used again for at most [`LONGEST`]; within
//! that time a locked keyring, or a credential that something else changed in
//! it, is noticed.

use crate::Presented;
use crate::aws::AccessKey;
use crate::clock::Moment;
use countersign_model::{Account, CredentialId, CredentialVersion};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Nothing is used longer after it was read.
pub(crate) const LONGEST: Duration = Duration::from_secs(5);

pub(crate) struct Cache {
    life: Duration,
    held: Mutex<Holding>,
}

/// What was read, in the shape in which it is used.
#[derive(Clone)]
pub(crate) enum Ready {
    /// The same for every request.
    Presented(Presented),
    /// Signs each request anew.
    Signs(AccessKey),
}

#[derive(Default)]
struct Holding {
    /// Counts what made earlier reads untrue. What was read under an older
    /// generation is not taken in.
    generation: u64,
    by_credential: HashMap<CredentialId, Held>,
}

struct Held {
    version: u64,
    /// It was shaped by this configuration.
    account: Account,
    ready: Ready,
    read: Moment,
}

impl Cache {
    pub(crate) fn new(life: Duration) -> Self {
        Self {
            life: life.min(LONGEST),
            held: Mutex::default(),
        }
    }

    /// How long it holds something.
    pub(crate) const fn life(&self) -> Duration {
        self.life
    }

    /// Take it before reading, and give it to [`Cache::put`].
    pub(crate) fn generation(&self) -> u64 {
        self.lock().generation
    }

    pub(crate) fn get(&self, account: &Account, wanted: &CredentialVersion) -> Option<Ready> {
        let held = self.lock();
        let found = held.by_credential.get(&wanted.id)?;
        let fresh = found.version == wanted.version
            && found.read.age() < self.life
            && found.account == *account;
        fresh.then(|| found.ready.clone())
    }

    /// Takes in what was read at `read`, unless something changed since.
    pub(crate) fn put(
        &self,
        generation: u64,
        account: Account,
        of: &CredentialVersion,
        ready: Ready,
        read: Moment,
    ) {
        let mut held = self.lock();
        if held.generation == generation && read.age() < self.life {
            let entry = Held {
                version: of.version,
                account,
                ready,
                read,
            };
            held.by_credential.insert(of.id.clone(), entry);
        }
    }

    /// A credential changed.
    pub(crate) fn drop_one(&self, id: &CredentialId) {
        let mut held = self.lock();
        held.generation += 1;
        held.by_credential.remove(id);
    }

    /// Everything goes, and nothing that is being read comes in.
    pub(crate) fn forget(&self) {
        let mut held = self.lock();
        held.generation += 1;
        held.by_credential.clear();
    }

    /// Zeroises what is too old to be used.
    pub(crate) fn sweep(&self) {
        let life = self.life;
        self.lock()
            .by_credential
            .retain(|_, held| held.read.age() < life);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().by_credential.len()
    }

    fn lock(&self) -> MutexGuard<'_, Holding> {
        // A poisoned cache is no worse than a full one: entries are whole.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
