//! A model that plays by a script, over the wire of Anthropic, Google or OpenAI. It
//! answers the holder of the real key and nobody else.
//!
//! What it does next depends on the conversation alone: on how many results of
//! tools came after the last words of the user's that name a play.

use crate::play::{Agent, Step, Wire};
use countersign_testkit::upstream::{Reply, Seen, Upstream};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::io;

/// Marks the words of a user that begin a play.
pub(crate) const PLAY: &str = "PLAY:";

/// Serves an agent's provider.
pub(crate) fn start(agent: Agent, key: &str) -> io::Result<Upstream> {
    let key = key.to_owned();
    Upstream::start(agent.host(), move |seen| {
        if !holds(agent, seen, &key) {
            return Reply::json(401, &json!({"error": {"message": "this is not the key"}}));
        }
        match (seen.method.as_str(), seen.path()) {
            ("POST", "/v1/messages") => anthropic(agent, seen),
            ("POST", "/v1/responses") => openai(seen),
            ("POST", "/v1/messages/count_tokens") => Reply::json(200, &json!({"input_tokens": 10})),
            ("GET", "/v1/models") => Reply::json(200, &json!({"data": [], "models": []})),
            ("POST", path) if asks_google(path) => google(agent, seen),
            ("GET" | "HEAD", _) => Reply::json(200, &json!({})),
            _ => Reply::json(404, &json!({"error": {"message": "not played"}})),
        }
    })
}

fn holds(agent: Agent, seen: &Seen, key: &str) -> bool {
    match agent.wire() {
        Wire::Anthropic => seen.header("x-api-key") == Some(key),
        Wire::Google => seen.header("x-goog-api-key") == Some(key),
        Wire::Openai => seen.bears(key),
    }
}

fn asks_google(path: &str) -> bool {
    path.starts_with("/v1beta/models/")
        && (path.ends_with(":generateContent") || path.ends_with(":streamGenerateContent"))
}

/// Whether a request asks the model, of which the user has to hear nothing.
pub(crate) fn is_asking(seen: &Seen) -> bool {
    let path = seen.path();
    seen.method == "POST" && (matches!(path, "/v1/messages" | "/v1/responses") || asks_google(path))
}

/// The next step, from what was said: texts of the user's and results of tools.
enum Said {
    Words(String),
    Result,
}

fn next(agent: Agent, said: &[Said]) -> Step {
    let begun = said
        .iter()
        .rposition(|each| matches!(each, Said::Words(words) if words.contains(PLAY)));
    let Some(begun) = begun else {
        return Step::Say("There is nothing to play.".into());
    };
    let Said::Words(words) = &said[begun] else {
        return Step::Say("There is nothing to play.".into());
    };
    let name = words
        .split_once(PLAY)
        .map_or("", |(_, rest)| rest)
        .split(|c: char| !c.is_ascii_alphanumeric())
        .next()
        .unwrap_or_default();
    let done = said[begun..]
        .iter()
        .filter(|each| matches!(each, Said::Result))
        .count();
    let before = said[..begun]
        .iter()
        .filter(|each| matches!(each, Said::Result))
        .count();
    agent.step(name, done, before)
}

fn anthropic(agent: Agent, seen: &Seen) -> Reply {
    let body = seen.json().unwrap_or_default();
    let mut said = Vec::new();
    for message in body["messages"].as_array().into_iter().flatten() {
        if message["role"] != "user" {
            continue;
        }
        match &message["content"] {
            Value::String(words) => said.push(Said::Words(words.clone())),
            content => {
                for block in content.as_array().into_iter().flatten() {
                    match block["type"].as_str() {
                        Some("tool_result") => said.push(Said::Result),
                        Some("text") => said.push(Said::Words(
                            block["text"].as_str().unwrap_or_default().to_owned(),
                        )),
                        _ => {}
                    }
                }
            }
        }
    }
    let has_tools = body["tools"]
        .as_array()
        .is_some_and(|tools| !tools.is_empty());
    let step = if has_tools {
        next(agent, &said)
    } else {
        Step::Say("Nothing more.".into())
    };
    let id = countersign_testkit::random::hex::<8>();
    let usage = json!({"input_tokens": 11, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 5});
    let (block, stop) = match step {
        Step::Say(text) => (json!({"type": "text", "text": text}), "end_turn"),
        Step::Use(name, input) => (
            json!({"type": "tool_use", "id": format!("toolu_{id}"), "name": name, "input": input}),
            "tool_use",
        ),
    };
    let message = |content: Vec<Value>, stop: Value| {
        json!({"id": format!("msg_{id}"), "type": "message", "role": "assistant", "model": body["model"],
               "content": content, "stop_reason": stop, "stop_sequence": null, "usage": usage})
    };
    if body["stream"] != true {
        return Reply::json(200, &message(vec![block], json!(stop)));
    }
    let (begin, delta) = match block["type"].as_str() {
        Some("tool_use") => {
            let mut begin = block.clone();
            begin["input"] = json!({});
            let partial = block["input"].to_string();
            (
                begin,
                json!({"type": "input_json_delta", "partial_json": partial}),
            )
        }
        _ => (
            json!({"type": "text", "text": ""}),
            json!({"type": "text_delta", "text": block["text"]}),
        ),
    };
    stream(&[
        json!({"type": "message_start", "message": message(vec![], Value::Null)}),
        json!({"type": "content_block_start", "index": 0, "content_block": begin}),
        json!({"type": "content_block_delta", "index": 0, "delta": delta}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": null}, "usage": {"output_tokens": 23}}),
        json!({"type": "message_stop"}),
    ])
}

fn google(agent: Agent, seen: &Seen) -> Reply {
    let body = seen.json().unwrap_or_default();
    let mut said = Vec::new();
    // Of a conversation that it takes up again it tells some things twice.
    let mut told = HashSet::new();
    for content in body["contents"].as_array().into_iter().flatten() {
        for part in content["parts"].as_array().into_iter().flatten() {
            match &part["text"] {
                Value::String(words) if content["role"] != "model" => {
                    said.push(Said::Words(words.clone()));
                }
                _ if part["functionResponse"].is_object()
                    && told.insert(part["functionResponse"].to_string()) =>
                {
                    said.push(Said::Result);
                }
                _ => {}
            }
        }
    }
    let has_tools = body["tools"]
        .as_array()
        .is_some_and(|tools| !tools.is_empty());
    let part = if has_tools {
        match next(agent, &said) {
            Step::Say(text) => json!({"text": text}),
            Step::Use(name, input) => json!({"functionCall": {"name": name, "args": input}}),
        }
    } else {
        // It asks a smaller model which model to ask, in JSON of its own.
        let easy = json!({"complexity_reasoning": "It is a play.", "complexity_score": 10});
        json!({"text": easy.to_string()})
    };
    let reply = json!({
        "candidates": [{"index": 0, "finishReason": "STOP", "content": {"role": "model", "parts": [part]}}],
        "usageMetadata": {"promptTokenCount": 13, "candidatesTokenCount": 7, "totalTokenCount": 20},
        "modelVersion": "m"});
    if !seen.path().ends_with(":streamGenerateContent") {
        return Reply::json(200, &reply);
    }
    let mut stream = Reply::status(200).with("content-type", "text/event-stream");
    stream.body = format!("data: {reply}\n\n").into_bytes();
    stream
}

fn openai(seen: &Seen) -> Reply {
    let body = seen.json().unwrap_or_default();
    let mut said = Vec::new();
    for item in body["input"].as_array().into_iter().flatten() {
        match item["type"].as_str() {
            Some("function_call_output" | "custom_tool_call_output") => said.push(Said::Result),
            Some("message") | None if item["role"] == "user" => {
                let texts = item["content"].as_array().into_iter().flatten();
                for text in texts.filter_map(|part| part["text"].as_str()) {
                    said.push(Said::Words(text.to_owned()));
                }
            }
            _ => {}
        }
    }
    let id = countersign_testkit::random::hex::<8>();
    let item = match next(Agent::Codex, &said) {
        Step::Say(text) => {
            json!({"type": "message", "id": format!("msg_{id}"), "role": "assistant", "status": "completed",
                   "content": [{"type": "output_text", "text": text, "annotations": []}]})
        }
        // It has one tool, which runs JavaScript, and that one has the others.
        Step::Use(_, input) => json!({"type": "custom_tool_call", "id": format!("ctc_{id}"),
            "call_id": format!("call_{id}"), "status": "completed", "namespace": "functions",
            "name": "exec", "input": script(&input)}),
    };
    let response = |status: &str, output: Vec<Value>, usage: Value| {
        json!({"id": format!("resp_{id}"), "object": "response", "created_at": 0, "status": status,
               "model": body["model"], "output": output, "usage": usage})
    };
    let usage = json!({"input_tokens": 12, "input_tokens_details": {"cached_tokens": 0},
                       "output_tokens": 6, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 18});
    stream(&[
        json!({"type": "response.created", "response": response("in_progress", vec![], Value::Null)}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": &item}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": &item}),
        json!({"type": "response.completed", "response": response("completed", vec![item], usage)}),
    ])
}

/// JavaScript that runs the command and shows what it printed.
fn script(input: &Value) -> String {
    let call = json!({"cmd": input["command"], "yield_time_ms": 60_000});
    format!("// @exec: {{\"yield_time_ms\": 80000}}\ntext(await tools.exec_command({call}));")
}

fn stream(events: &[Value]) -> Reply {
    let mut text = String::new();
    for event in events {
        let name = event["type"].as_str().unwrap_or_default();
        text.push_str(&format!("event: {name}\ndata: {event}\n\n"));
    }
    let mut reply = Reply::status(200).with("content-type", "text/event-stream");
    reply.body = text.into_bytes();
    reply
}
