//! Which folders the contained runs write to. Two agents never hold the same files
//! at once: what one writes the other would run, with the other's accounts.

use countersign_containment::Whereabouts;
use countersign_model::{AgentId, Foreign};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The folders of live contained runs.
#[derive(Debug, Default)]
pub(crate) struct Folders(Arc<Mutex<Vec<Held>>>);

#[derive(Debug)]
struct Held {
    agent: AgentId,
    folder: PathBuf,
    place: Whereabouts,
    /// Tells the entries of one agent apart.
    number: u64,
}

impl Folders {
    /// Takes the folder for a run of the agent, unless it, or one that holds it
    /// or lies in it, is another agent's.
    ///
    /// # Errors
    /// Why not, in one sentence.
    pub(super) fn take(&self, agent: &AgentId, folder: &Foreign) -> Result<Taken, String> {
        let path = Path::new(folder.raw());
        let place = Whereabouts::of(path).map_err(|e| {
            format!(
                "Where the working folder {} lies cannot be told: {e}",
                folder.neutral()
            )
        })?;
        let mut held = all(&self.0);
        let other = held
            .iter()
            .find(|held| held.agent != *agent && held.place.overlaps(&place));
        if let Some(other) = other {
            return Err(format!(
                "{agent} may not write to {} now: {} has {}, and two agents never write to the same files at once. End that run first.",
                folder.neutral(),
                other.agent,
                Foreign::new(other.folder.to_string_lossy()).neutral()
            ));
        }
        let number = held.last().map_or(0, |last| last.number + 1);
        held.push(Held {
            agent: agent.clone(),
            folder: path.to_owned(),
            place,
            number,
        });
        Ok(Taken {
            folders: Arc::clone(&self.0),
            number,
        })
    }
}

fn all(folders: &Mutex<Vec<Held>>) -> MutexGuard<'_, Vec<Held>> {
    folders.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A folder that was taken; given back when dropped.
#[derive(Debug)]
pub(super) struct Taken {
    folders: Arc<Mutex<Vec<Held>>>,
    number: u64,
}

impl Drop for Taken {
    fn drop(&mut self) {
        all(&self.folders).retain(|held| held.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_one_agents_until_its_run_ends() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("in")).unwrap();
        let outer = Foreign::new(root.path().to_string_lossy());
        let inner = Foreign::new(root.path().join("in").to_string_lossy());
        let (one, other): (AgentId, AgentId) = ("one".parse().unwrap(), "other".parse().unwrap());
        let folders = Folders::default();
        let first = folders.take(&one, &inner).unwrap();
        let again = folders.take(&one, &outer).unwrap();
        let refused = folders.take(&other, &outer).unwrap_err();
        assert!(refused.contains("one has"), "{refused}");
        drop(again);
        folders.take(&other, &outer).unwrap_err();
        drop(first);
        let _held = folders.take(&other, &outer).unwrap();
        folders.take(&one, &inner).unwrap_err();
    }
}
