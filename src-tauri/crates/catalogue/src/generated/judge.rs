//! Judging by the generated data.

use super::choice::{Found, Reached};
use super::form::{Level, Traits};
use super::{object, sentence};
use crate::body::Content;
use crate::judgement::{Facts, Judgement, fx};
use crate::{RequestView, words};
use countersign_model::Effect::{Bulk, Read};

const LAYER: &str = "generated catalogue";

/// Judges an operation that the generated data holds.
pub(crate) fn judge(request: &RequestView<'_>, found: &Found, facts: &Facts<'_>) -> Judgement {
    let objects = object::objects(found, facts, request.path);
    let mut judgement = Judgement::new(
        name(found),
        found.effects(),
        sentence::sentence(found, &objects),
        LAYER,
    );
    for level in Level::ALL {
        let labelled = found.operations.iter().any(|o| o.class.level == level);
        if level != Level::Unlabelled && labelled {
            judgement.say(&format!("IAM level {}", level.word()));
        }
    }
    let counted = found
        .operations
        .iter()
        .any(|o| o.class.traits.has(Traits::COUNTED));
    if counted && objects.count != Some(1) && found.effects() != fx(&[Read]) {
        judgement.raise(fx(&[Bulk]), "count");
    }
    judgement.objects = objects;
    if !found.all_have(Traits::AGREED) {
        judgement.unsure("no second source calls it a read");
    }
    if found
        .operations
        .iter()
        .any(|o| o.class.traits.has(Traits::BODY))
    {
        judgement.doubt(words::depends_on_content(), LAYER);
    }
    if !found.is_sure() {
        judgement.doubt(words::ambiguous(), LAYER);
    }
    if let Some(doubt) = found.doubt {
        judgement.doubt(words::doubted(doubt), LAYER);
    }
    if !is_of_its_form(found.reached, facts.content) {
        judgement.doubt(
            words::doubted("its content is not of the form that the operation takes"),
            LAYER,
        );
    }
    judgement
}

/// `cloudformation:DeleteStack`, as IAM writes it; elsewhere the provider's own
/// name.
fn name(found: &Found) -> String {
    let Some(operation) = found.operations.first() else {
        return String::new();
    };
    if operation.service.provider == "aws" {
        format!("{}:{}", operation.service.name, operation.name)
    } else {
        operation.name.clone()
    }
}

fn is_of_its_form(reached: Reached, content: &Content) -> bool {
    match reached {
        Reached::Path => true,
        Reached::Target => matches!(content, Content::Json(_)),
        Reached::Action => matches!(content, Content::Form(_) | Content::Absent),
    }
}
