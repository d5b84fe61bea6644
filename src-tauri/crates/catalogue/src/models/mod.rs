//! Models: Anthropic, OpenAI, Google's Gemini API, OpenRouter.
//!
//! Asking a model is `spend` and nothing else, whatever it is asked; the default
//! rules let it go alone under a budget. What a request makes the *provider* do
//! elsewhere is more than that, and an inspector looks for it.

mod tools;

use crate::body::Fault;
use crate::inspect::Inspector;
use crate::judgement::{Facts, Judgement, fx};
use crate::smuggled::own_credential;
use crate::table::{Habits, Table};
use crate::words::join;
use countersign_model::Effect::Exec;
use countersign_model::Words;

/// The operations of each provider.
pub(crate) static ANTHROPIC: Table =
    Table::new("anthropic", include_str!("anthropic.txt"), HABITS, screen);
pub(crate) static OPENAI: Table = Table::new("openai", include_str!("openai.txt"), HABITS, screen);
pub(crate) static GOOGLE_AI: Table =
    Table::new("google-ai", include_str!("google-ai.txt"), HABITS, screen);
pub(crate) static OPENROUTER: Table =
    Table::new("openrouter", include_str!("openrouter.txt"), HABITS, screen);

const HABITS: Habits = Habits {
    json_anyway: true,
    get_may_change: false,
};

/// The inspector that all of them share.
pub(crate) const INSPECTORS: &[Inspector] = &[Inspector {
    name: "model-request",
    worst: fx(&[Exec]),
    inspect: request,
}];

/// What one of them accepts as a credential in the query.
fn screen(facts: &Facts<'_>, judgement: &mut Judgement) {
    for name in ["key", "api_key", "access_token"] {
        if facts.query_has(name) {
            own_credential(judgement, name);
        }
    }
}

/// Raises what has the provider do more than answer.
fn request(facts: &Facts<'_>, judgement: &mut Judgement) -> Result<(), Fault> {
    if tools::do_more(facts.object()?) {
        judgement.raise(fx(&[Exec]), "model-request");
        judgement.words = join(
            std::mem::take(&mut judgement.words),
            "; ",
            &Words::new(
                "its provider does more than answer, unseen here (tools of its own, other servers, or something stored there)",
            ),
        );
    }
    Ok(())
}
