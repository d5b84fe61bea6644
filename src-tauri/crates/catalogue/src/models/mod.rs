//! Models: Anthropic, OpenAI, Google's Gemini API, OpenRouter.
//!
//! Asking a model is `spend` and nothing else, whatever it is asked; the default
//! rules let it go alone under a budget. What a request makes the *provider* do
//! elsewhere is more than that, and an inspector looks for it.

use crate::body::Fault;
use crate::inspect::Inspector;
use crate::judgement::{Facts, Judgement, fx, get};
use crate::smuggled::own_credential;
use crate::table::{Habits, Table};
use crate::words::join;
use countersign_model::Effect::Exec;
use countersign_model::Words;
use serde_json::{Map, Value};

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

/// Servers of tools that the provider would call by itself, at addresses and
/// with words of the agent's choosing: `mcp_servers` (Anthropic), a tool of type
/// `mcp` (OpenAI), `mcpServers` (Google).
fn request(facts: &Facts<'_>, judgement: &mut Judgement) -> Result<(), Fault> {
    let body = facts.object()?;
    if calls_others(body) {
        judgement.raise(fx(&[Exec]), "model-request");
        judgement.words = join(
            std::mem::take(&mut judgement.words),
            "; ",
            &Words::new("its provider calls other servers for it, unseen here"),
        );
    }
    Ok(())
}

fn calls_others(body: &Map<String, Value>) -> bool {
    let is_filled = |value: &Value| match value {
        Value::Array(items) => !items.is_empty(),
        Value::Null => false,
        _ => true,
    };
    let is_remote = |tool: &Value| {
        let tool = tool.as_object();
        let kind = tool.and_then(|t| t.get("type")).and_then(Value::as_str);
        kind.is_some_and(|kind| kind.eq_ignore_ascii_case("mcp"))
            || tool.is_some_and(|t| get(t, "mcpServers").is_some_and(is_filled))
    };
    // OpenAI takes tools among what is said, too, and groups of tools.
    let said = ["input", "messages"]
        .into_iter()
        .filter_map(|name| get(body, name));
    let among = said
        .filter_map(Value::as_array)
        .flatten()
        .filter_map(tools_of);
    let all: Vec<&Value> = body
        .get("tools")
        .and_then(Value::as_array)
        .into_iter()
        .chain(among)
        .flatten()
        .collect();
    let grouped = all.iter().filter_map(|tool| tools_of(tool)).flatten();
    get(body, "mcpServers").is_some_and(is_filled)
        || all.iter().copied().chain(grouped).any(is_remote)
}

fn tools_of(item: &Value) -> Option<&Vec<Value>> {
    item.get("tools")?.as_array()
}
