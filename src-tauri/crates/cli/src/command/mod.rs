//! What each subcommand does: it asks the authority, or reads a file, and says
//! what came of it.

pub(crate) mod ask;
pub(crate) mod configure;
pub(crate) mod credential;
pub(crate) mod desktop;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod kept;
pub(crate) mod ledger;
mod propose;
pub(crate) mod run;
pub(crate) mod wrap;
