//! What a new generation changes that somebody has to look at: operations that
//! are newly taken for routine reads, and those that are judged less severely.

use countersign_catalogue::embedded::{Form, Listed, Traits};
use countersign_model::Effects;
use std::collections::BTreeMap;

/// An operation's judgement, over all its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Judged {
    effects: Effects,
    routine: bool,
}

fn judged(form: &Form<'_>) -> BTreeMap<String, Judged> {
    let mut all: BTreeMap<String, Judged> = BTreeMap::new();
    for Listed {
        operation,
        path,
        method,
        ..
    } in form.list()
    {
        let service = operation.service;
        let name = format!(
            "{} {} {} {method} {path}",
            service.provider, service.name, operation.name
        );
        let class = operation.class;
        let routine = class.effects.is_read_only() && class.traits.has(Traits::AGREED);
        let judged = Judged {
            effects: class.effects,
            routine,
        };
        all.entry(name)
            .and_modify(|known| {
                known.effects = known.effects.union(judged.effects);
                known.routine &= judged.routine;
            })
            .or_insert(judged);
    }
    all
}

/// One line for each change that somebody has to look at.
pub(crate) fn changes(old: &Form<'_>, new: &Form<'_>) -> Vec<String> {
    let old = judged(old);
    let mut lines = Vec::new();
    for (name, now) in judged(new) {
        let before = old.get(&name);
        if now.routine && before.is_none_or(|before| !before.routine) {
            lines.push(format!("new read: {name}"));
        }
        let lost = before.map(|before| {
            let lost = before
                .effects
                .iter()
                .filter(|effect| !now.effects.has(*effect));
            lost.collect::<Effects>()
        });
        if let Some(lost) = lost.filter(|lost| !lost.is_empty()) {
            lines.push(format!("lowered: {name}: no longer {lost}"));
        }
    }
    lines
}
