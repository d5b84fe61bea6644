//! A judgement while it is being made, and the facts that it is made from.

use crate::body::form::Pairs;
use crate::body::{Content, Fault};
use crate::path::Params;
use crate::words;
use countersign_model::{Effect, Effects, Field, Objects, Words};
use serde_json::{Map, Value};

/// What is known of a request when its operation is judged.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    /// Its body.
    pub(crate) content: &'a Content,
    /// Its query, with every pair that any server could see.
    pub(crate) query: &'a Pairs,
    /// What the parameters of the path template stand for.
    pub(crate) params: Params,
}

impl Facts<'_> {
    /// A parameter of the path.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.params
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, value)| value.as_str())
    }
    /// What a template's braces ask for.
    pub(crate) fn value(&self, name: &str) -> Option<String> {
        if let Some(field) = name.strip_prefix('$') {
            return self.field(field);
        }
        let parts: Option<Vec<_>> = name.split('/').map(|part| self.param(part)).collect();
        parts.map(|parts| parts.join("/"))
    }
    /// A value of the body or, failing that, of the query: by its name, or by
    /// its path through JSON objects (`message.id`).
    pub(crate) fn field(&self, path: &str) -> Option<String> {
        let of_pairs = |pairs: &Pairs| {
            pairs
                .iter()
                .find(|(name, _)| name == path)
                .map(|(_, value)| value.clone())
        };
        let in_body = match self.content {
            Content::Json(value) => {
                let leaf = path
                    .split('.')
                    .try_fold(value, |at, name| get(at.as_object()?, name));
                leaf.and_then(scalar)
            }
            Content::Form(pairs) => of_pairs(pairs),
            Content::Multipart(parts) => parts
                .iter()
                .find(|part| part.name.as_deref() == Some(path))
                .map(|part| String::from_utf8_lossy(&part.content).into_owned()),
            _ => None,
        };
        in_body.or_else(|| of_pairs(self.query))
    }
    /// The body as a JSON object.
    ///
    /// # Errors
    /// Why it is none.
    pub(crate) fn object(&self) -> Result<&Map<String, Value>, Fault> {
        match self.content {
            Content::Json(Value::Object(object)) => Ok(object),
            Content::Absent => Err(Fault::Missing),
            Content::Unreadable(fault) => Err(*fault),
            Content::NotRead => Err(Fault::NotRead),
            _ => Err(Fault::Unexpected),
        }
    }
    /// Whether the query has a parameter.
    pub(crate) fn query_has(&self, name: &str) -> bool {
        self.query.iter().any(|(n, _)| n == name)
    }
}

/// A member by its name, or by the same name in snake case: protobuf's JSON,
/// which Google's APIs read, takes either.
pub(crate) fn get<'v>(object: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    object.get(name).or_else(|| object.get(&snake(name)))
}

/// `addLabelIds` → `add_label_ids`.
pub(crate) fn snake(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(yes.to_string()),
        Value::Array(items) => {
            let texts: Option<Vec<_>> = items.iter().map(|i| i.as_str()).collect();
            texts.filter(|t| !t.is_empty()).map(|t| t.join(", "))
        }
        Value::Null | Value::Object(_) => None,
    }
}

/// A judgement in the making. Layers raise it; only [`Judgement::lower_to`]
/// lowers it, and only the account's own rules call that.
#[derive(Debug)]
pub(crate) struct Judgement {
    /// The operation's name.
    pub(crate) operation: String,
    /// What it acts on.
    pub(crate) objects: Objects,
    /// The sentence, before the notes of the layers.
    pub(crate) words: Words,
    /// What was understood of the data.
    pub(crate) fields: Vec<Field>,
    /// Whether the fields hold all of the body.
    pub(crate) fields_are_all: bool,
    /// What is shown in place of a body that only wraps it.
    pub(crate) source: Option<String>,
    effects: Effects,
    sure: bool,
    layers: Vec<String>,
    notes: Vec<Words>,
}

impl Judgement {
    /// Begins with what one layer says.
    pub(crate) fn new(operation: String, effects: Effects, words: Words, layer: &str) -> Self {
        Self {
            operation,
            objects: Objects::unknown(),
            words,
            fields: Vec::new(),
            fields_are_all: false,
            source: None,
            effects,
            sure: true,
            layers: vec![layer.to_owned()],
            notes: Vec::new(),
        }
    }
    /// What it does, so far.
    pub(crate) fn effects(&self) -> Effects {
        self.effects
    }
    /// Adds effects.
    pub(crate) fn raise(&mut self, effects: Effects, layer: &str) {
        self.effects = self.effects.union(effects);
        self.say(layer);
    }
    /// Names a layer that had a part in it.
    pub(crate) fn say(&mut self, layer: &str) {
        if !self.layers.iter().any(|known| known == layer) {
            self.layers.push(layer.to_owned());
        }
    }
    /// Ends `routine`, without words.
    pub(crate) fn unsure(&mut self, layer: &str) {
        self.sure = false;
        self.say(layer);
    }
    /// Ends `routine`, and tells the human why.
    pub(crate) fn doubt(&mut self, note: Words, layer: &str) {
        self.unsure(layer);
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
    /// What could not be read counts as the worst that it could have said.
    pub(crate) fn unreadable(&mut self, fault: Fault, worst: Effects) {
        self.effects = self.effects.union(worst);
        self.doubt(
            words::unreadable(fault),
            &format!("body not read: {}", words::why(fault)),
        );
    }
    /// What the account's own rule says stands in place of all that was said.
    pub(crate) fn lower_to(&mut self, effects: Effects, layer: String) {
        self.effects = effects;
        self.sure = true;
        self.notes.clear();
        self.layers = vec![layer];
    }
    /// Whether it may be called routine.
    pub(crate) fn is_routine(&self) -> bool {
        self.sure && self.effects.is_read_only()
    }
    /// Which layers had a part in it.
    pub(crate) fn decided_by(&self) -> String {
        self.layers.join("; ")
    }
    /// The whole sentence.
    pub(crate) fn sentence(&self) -> Words {
        self.notes
            .iter()
            .fold(self.words.clone(), |all, note| words::join(all, "; ", note))
    }
}

/// A constant set of effects.
pub(crate) const fn fx(effects: &[Effect]) -> Effects {
    let mut set = Effects::NONE;
    let mut i = 0;
    while i < effects.len() {
        set = set.with(effects[i]);
        i += 1;
    }
    set
}
