use crate::{AccountId, Digest, Effects, Environment, Foreign, Provider, Words};
use serde::{Deserialize, Serialize};

/// What a request acts on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Objects {
    /// The first objects, at most [`Objects::LISTED`]; ids, paths, recipients.
    pub listed: Vec<Foreign>,
    /// How many there are in all; `None` when nobody can say.
    pub count: Option<u64>,
}

impl Objects {
    /// How many are listed at most; [`Objects::count`] still says the whole.
    pub const LISTED: usize = 20;

    /// Exactly these.
    #[must_use]
    pub fn these(all: Vec<Foreign>) -> Self {
        let count = Some(all.len() as u64);
        Self {
            listed: all.into_iter().take(Self::LISTED).collect(),
            count,
        }
    }
    /// One object.
    pub fn one(object: impl Into<Foreign>) -> Self {
        Self {
            listed: vec![object.into()],
            count: Some(1),
        }
    }
    /// Nobody can say which or how many.
    #[must_use]
    pub fn unknown() -> Self {
        Self::default()
    }
}

/// One named value of a request, for people: `To`, `Subject`, `Text`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Our word for it.
    pub label: String,
    /// What stands there.
    pub value: Foreign,
}

/// What a human may see of a request's data.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DataPreview {
    /// Values that were understood.
    pub fields: Vec<Field>,
    /// The body as text, when it is text: at most [`DataPreview::TEXT_LIMIT`]
    /// bytes of it.
    pub text: Option<Foreign>,
    /// Whether `fields` and `text` together are the whole of the data.
    pub whole: bool,
    /// Media type, as the agent stated it.
    pub media_type: Option<Foreign>,
    /// Length of the body in bytes.
    pub length: u64,
}

impl DataPreview {
    /// How much of a body is carried to surfaces, in bytes.
    pub const TEXT_LIMIT: usize = 256 * 1024;
}

/// What a request would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// Who describes it.
    pub provider: Provider,
    /// The operation, in the provider's own name (`gmail.users.messages.batchDelete`),
    /// or method and path of a plain host.
    pub operation: String,
    /// What it does. Empty is denied.
    pub effects: Effects,
    /// What it acts on.
    pub objects: Objects,
    /// One sentence that a human can decide on.
    pub words: Words,
    /// A read that the catalogue knows, whose layers agree, with no other effect.
    pub routine: bool,
    /// Which layer decided: for `catalogue explain` and the record.
    pub decided_by: String,
    /// The account.
    pub account: AccountId,
    /// The account's label.
    pub environment: Environment,
    /// The reason that the agent stated.
    pub reason: Option<Foreign>,
    /// Digest of the body, when there is one and it was read.
    pub data_digest: Option<Digest>,
}
