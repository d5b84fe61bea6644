use crate::{Policies, PolicyProblem};

macro_rules! rules {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../policies/", $name)))),*]
    };
}

/// The rules that a new installation starts with: file name and content. They
/// are written to `policies/` so that the user can read and change them.
pub const DEFAULTS: &[(&str, &str)] = rules![
    "ask-for-the-rest.cedar",
    "model-inference.cedar",
    "routine-reads.cedar",
    "window-for-bulk-permission-spend.cedar",
    "window-on-production.cedar",
];

impl Policies {
    /// The default rules, loaded.
    ///
    /// # Errors
    /// Never for the rules as they are shipped: a test loads them.
    pub fn defaults() -> Result<Self, Vec<PolicyProblem>> {
        let files: Vec<(String, String)> = DEFAULTS
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect();
        Self::parse(&files)
    }
}
