//! What `countersign doctor` found: one [`Check`] a boundary.

use serde::{Deserialize, Serialize};

/// One boundary, and what a live attempt to cross it showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The boundary, in a few words.
    pub boundary: String,
    /// How it stands.
    pub state: CheckState,
    /// What was tried and found, and what to do about it; foreign parts are
    /// neutralised.
    pub found: String,
}

/// How a boundary stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckState {
    /// It was tried, and it holds.
    Holds,
    /// What it is to keep away is not on this machine: nothing to prove.
    Absent,
    /// It was tried, and it does not hold.
    Broken,
    /// It could not be tried. That counts as a failure: nothing was proved.
    Untried,
}

impl CheckState {
    /// Whether somebody must look after it.
    #[must_use]
    pub const fn has_failed(self) -> bool {
        matches!(self, Self::Broken | Self::Untried)
    }
}

impl Check {
    /// A check that holds.
    pub fn holds(boundary: &str, found: impl Into<String>) -> Self {
        Self::new(boundary, CheckState::Holds, found)
    }
    /// Nothing to prove.
    pub fn absent(boundary: &str, found: impl Into<String>) -> Self {
        Self::new(boundary, CheckState::Absent, found)
    }
    /// A check that failed.
    pub fn broken(boundary: &str, found: impl Into<String>) -> Self {
        Self::new(boundary, CheckState::Broken, found)
    }
    /// A check that could not be made.
    pub fn untried(boundary: &str, found: impl Into<String>) -> Self {
        Self::new(boundary, CheckState::Untried, found)
    }

    fn new(boundary: &str, state: CheckState, found: impl Into<String>) -> Self {
        Self {
            boundary: boundary.to_owned(),
            state,
            found: found.into(),
        }
    }
}
