//! Inspectors: what a body adds to its operation.
//!
//! An inspector raises effects, counts objects and writes a better sentence. It
//! never lowers: the entry's own effects are what the operation does whatever
//! its body says. When the body cannot be read, `worst` is added instead.

use crate::body::Fault;
use crate::judgement::{Facts, Judgement};
use crate::{github, gmail, models, slack};
use countersign_model::Effects;

/// One inspector.
#[derive(Debug)]
pub(crate) struct Inspector {
    /// Its name in the tables.
    pub(crate) name: &'static str,
    /// What a body that cannot be read might have added.
    pub(crate) worst: Effects,
    /// Looks at the body. The error says why it could not be judged.
    pub(crate) inspect: fn(&Facts<'_>, &mut Judgement) -> Result<(), Fault>,
}

impl Inspector {
    /// Raises a judgement by what the body says.
    pub(crate) fn raise(&self, facts: &Facts<'_>, judgement: &mut Judgement) {
        judgement.say(self.name);
        if let Err(fault) = (self.inspect)(facts, judgement) {
            judgement.unreadable(fault, self.worst);
        }
    }
}

/// The inspector of this name.
pub(crate) fn inspector(name: &str) -> Option<&'static Inspector> {
    [
        gmail::INSPECTORS,
        github::INSPECTORS,
        slack::INSPECTORS,
        models::INSPECTORS,
    ]
    .into_iter()
    .flatten()
    .find(|inspector| inspector.name == name)
}
