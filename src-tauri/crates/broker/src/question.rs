//! What a human is asked about a request, and when two requests are one question.

use crate::port::Submission;
use crate::runs::Run;
use countersign_model::{Action, Assurance, DataPreview, Digest, Effect, Foreign};
use countersign_protocol::surface::{About, RequestQuestion};

/// A publication's whole text must fit here to be approved in a notification,
/// in characters.
const PUBLISH_FITS: usize = 240;

/// What a surface shows of a request.
pub(crate) fn about(s: &Submission, run: &Run, rules: Vec<String>) -> About {
    About::Request(Box::new(RequestQuestion {
        request: s.request.clone(),
        agent: run.facts.agent.clone(),
        run: s.run.clone(),
        task: run.facts.task.clone(),
        contained: run.facts.contained,
        action: s.action.clone(),
        target: target(s),
        preview: s.preview.clone(),
        rules,
    }))
}

/// Method and target as a person reads them.
pub(crate) fn target(s: &Submission) -> Foreign {
    Foreign::new(format!("{} {}", s.exact.method, s.exact.url()))
}

/// Publishing is read in full before it is approved: what does not fit in a
/// notification needs the window. So does what is executed and cannot be read,
/// like what goes through a WebSocket.
pub(crate) fn needed_to_read(action: &Action, preview: &DataPreview) -> Assurance {
    let shown = preview.text.as_ref().map_or(0, |t| t.raw().chars().count())
        + preview
            .fields
            .iter()
            .map(|f| f.value.raw().chars().count())
            .sum::<usize>();
    let unread_text =
        action.effects.has(Effect::Publish) && !(preview.whole && shown <= PUBLISH_FITS);
    let unread_deed = action.effects.has(Effect::Exec) && !preview.whole;
    if unread_text || unread_deed {
        Assurance::Window
    } else {
        Assurance::Notification
    }
}

/// The same question: the same run, the same request but for what the client
/// makes anew, judged under the same configuration, meaning the same thing.
pub(crate) fn same_question(s: &Submission, config: &Digest, assurance: Assurance) -> Digest {
    // Serialisation of an action cannot fail: no maps with odd keys.
    let action = serde_json::to_vec(&s.action).unwrap_or_default();
    Digest::of_parts(
        "countersign/same-question/1",
        &[
            s.run.as_str().as_bytes(),
            s.same.as_bytes(),
            &action,
            config.as_bytes(),
            &[assurance.level()],
        ],
    )
}
