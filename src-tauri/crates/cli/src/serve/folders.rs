//! Which folders the contained runs write to. Two runs never hold the same files at
//! once, whosever they are: what one writes the other would run, and how the folder
//! was before the one cannot be told from what the other leaves in it.

use countersign_containment::{Whereabouts, unsettled};
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
    /// Tells the entries apart.
    number: u64,
}

impl Folders {
    /// Takes the folder for a run of the agent, unless it, or one that holds it
    /// or lies in it, is another run's: until that has ended, and what it left
    /// behind is put back. `left` is where that is kept.
    ///
    /// # Errors
    /// Why not, in one sentence.
    pub(super) fn take(
        &self,
        agent: &AgentId,
        folder: &Foreign,
        left: &Path,
    ) -> Result<Taken, String> {
        let path = Path::new(folder.raw());
        let place = Whereabouts::of(path).map_err(|e| {
            format!(
                "Where the working folder {} lies cannot be told: {e}",
                folder.neutral()
            )
        })?;
        let mut held = all(&self.0);
        if let Some(other) = held.iter().find(|held| held.place.overlaps(&place)) {
            return Err(format!(
                "{agent} may not write to {} now: a run of {} has {}, and two runs never write to the same files at once. End that run first, or work in a clone.",
                folder.neutral(),
                other.agent,
                Foreign::new(other.folder.to_string_lossy()).neutral()
            ));
        }
        // A run is not among those above any more once it has ended.
        let unsettled = unsettled(left).map_err(|e| {
            format!(
                "What earlier runs left behind in {} cannot be told: {e}",
                folder.neutral()
            )
        })?;
        for (run, other) in unsettled {
            if Whereabouts::of(&other).is_ok_and(|other| other.overlaps(&place)) {
                return Err(format!(
                    "{agent} may not write to {} now: what the run {run} left behind in {} is not put back yet. See: countersign kept",
                    folder.neutral(),
                    Foreign::new(other.to_string_lossy()).neutral()
                ));
            }
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
    fn a_folder_is_one_runs_until_it_ends() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("in")).unwrap();
        let left = root.path().join("left");
        let outer = Foreign::new(root.path().to_string_lossy());
        let inner = Foreign::new(root.path().join("in").to_string_lossy());
        let (one, other): (AgentId, AgentId) = ("one".parse().unwrap(), "other".parse().unwrap());
        let folders = Folders::default();
        let first = folders.take(&one, &inner, &left).unwrap();
        for agent in [&one, &other] {
            for folder in [&outer, &inner] {
                let refused = folders.take(agent, folder, &left).unwrap_err();
                assert!(refused.contains("a run of one has"), "{refused}");
            }
        }
        drop(first);
        let _held = folders.take(&other, &outer, &left).unwrap();
        folders.take(&one, &inner, &left).unwrap_err();
    }
}
