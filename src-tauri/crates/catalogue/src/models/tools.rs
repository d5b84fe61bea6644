//! What a request to a model has its provider do besides answering.
//!
//! Tools that the client itself carries out do nothing there; searching and looking
//! things up is part of an answer, as SECURITY says. Everything else that a request
//! names, and everything that is not known here, counts as more than asking.
//! Sources: the providers' references of their APIs (Anthropic Messages, OpenAI
//! Responses and Chat Completions, Gemini `generateContent`, OpenRouter).

use serde_json::{Map, Value};

/// Types of tools that the client carries out, or that only look something up. What
/// ends in `*` has a date behind it.
const HARMLESS: &[&str] = &[
    "function",
    "custom",
    "namespace",
    "local_shell",
    "apply_patch",
    "computer",
    "computer_*",
    "bash_*",
    "text_editor_*",
    "memory_*",
    "tool_search",
    "tool_search_*",
    "web_search",
    "web_search_*",
    "web_fetch_*",
    // A place to compute in, without a network (Anthropic).
    "code_execution_*",
    "image_generation",
];

/// What a tool without a type may say. Spelt as [`plain`] spells it.
const HARMLESS_PARTS: &[&str] = &[
    // The client's own (Anthropic).
    "name",
    "description",
    "inputschema",
    "inputexamples",
    "cachecontrol",
    "strict",
    "deferloading",
    "allowedcallers",
    "eagerinputstreaming",
    // Groups of tools, which are looked at one by one.
    "tools",
    // Google's.
    "functiondeclarations",
    "googlesearch",
    "googlesearchretrieval",
    "googlemaps",
    "urlcontext",
    "codeexecution",
    "computeruse",
];

/// Parts of a request beside its tools, and whether this value of one does more than
/// ask.
fn does_more(name: &str, value: &Value) -> bool {
    match name {
        // Servers of tools at addresses of the agent's choosing; a place to compute
        // in with what was put there before; others' programs.
        "mcpservers" | "container" | "plugins" => is_filled(value),
        // What is stored in the account, with whatever tools that has. (Elsewhere
        // a prompt is plain text.)
        "prompt" => value.is_object(),
        "preset" | "conversation" | "cachedcontent" => is_filled(value),
        // Goes on when nobody is there any more, also after the stop.
        "background" => *value != Value::Bool(false) && !value.is_null(),
        "tools" => !tools_are_harmless(value),
        _ => false,
    }
}

/// Whether a request has its provider do more than answer.
pub(super) fn do_more(body: &Map<String, Value>) -> bool {
    // OpenAI takes tools among what is said, too.
    let said = ["input", "messages"]
        .into_iter()
        .filter_map(|name| body.get(name)?.as_array())
        .flatten()
        .filter_map(|item| item.get("tools"));
    body.iter()
        .any(|(name, value)| does_more(&plain(name), value))
        || said.into_iter().any(|tools| !tools_are_harmless(tools))
}

fn tools_are_harmless(tools: &Value) -> bool {
    match tools {
        Value::Null => true,
        Value::Array(tools) => tools.iter().all(is_harmless),
        // Some readers take one for a list.
        _ => false,
    }
}

fn is_harmless(tool: &Value) -> bool {
    let Some(tool) = tool.as_object() else {
        return false;
    };
    let below = tool.iter().filter(|(name, _)| plain(name) == "tools");
    if !below
        .into_iter()
        .all(|(_, tools)| tools_are_harmless(tools))
    {
        return false;
    }
    match tool.get("type") {
        None => tool
            .keys()
            .all(|name| HARMLESS_PARTS.contains(&plain(name).as_str())),
        Some(Value::String(kind)) if kind == "shell" => is_the_clients_shell(tool),
        Some(Value::String(kind)) => {
            HARMLESS.iter().any(|known| match known.strip_suffix('*') {
                Some(start) => kind.starts_with(start),
                None => kind == known,
            }) && tool
                .iter()
                .all(|(name, value)| plain(name) == "tools" || !does_more(&plain(name), value))
        }
        Some(_) => false,
    }
}

/// OpenAI's: at the client, or in a container with a network of the request's
/// choosing.
fn is_the_clients_shell(tool: &Map<String, Value>) -> bool {
    tool.get("environment").is_none_or(|environment| {
        environment.is_null() || environment.get("type").is_some_and(|kind| kind == "local")
    })
}

fn is_filled(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        _ => true,
    }
}

/// A name as all its spellings have it: `mcpServers`, `mcp_servers`.
fn plain(name: &str) -> String {
    name.chars()
        .filter(|c| !matches!(c, '_' | '-'))
        .map(|c| c.to_ascii_lowercase())
        .collect()
}
