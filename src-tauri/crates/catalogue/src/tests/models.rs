use crate::testing::draft;
use crate::{BodyView, kind, kinds};
use countersign_model::CredentialKind;

#[test]
fn asking_a_model_costs_money_and_does_nothing_else() {
    let body = r#"{"model":"m-1","contents":[],"tools":[{"name":"x"},{"type":"web_search"}]}"#;
    for (provider, line, words) in [
        (
            "anthropic",
            "POST /v1/messages?beta=true",
            "Ask the model “m-1”",
        ),
        ("openai", "POST /v1/responses", "Ask the model “m-1”"),
        ("openai", "POST /v1/chat/completions", "Ask the model “m-1”"),
        (
            "google-ai",
            "POST /v1beta/models/m-1:streamGenerateContent?alt=sse",
            "Ask the model “m-1”",
        ),
        (
            "openrouter",
            "POST /api/v1/chat/completions",
            "Ask the model “m-1”",
        ),
    ] {
        let request = draft(provider, line).json(body);
        assert_eq!(request.effects(), "spend", "{provider} {line}");
        assert_eq!(request.words(), words, "{provider} {line}");
    }
}

#[test]
fn a_provider_that_would_do_more_than_answer_is_more_than_asking() {
    let responses = [
        r#"{"model":"m","tools":[{"type":"mcp","server_url":"https://elsewhere.example"}]}"#,
        r#"{"input":[{"type":"additional_tools","tools":[{"type":"namespace","tools":[{"type":"mcp"}]}]}]}"#,
        r#"{"tools":[{"tools":[{"tools":[{"tools":[{"type":"mcp"}]}]}]}]}"#,
        r#"{"tools":[{"type":"shell","environment":{"type":"container_auto"}}]}"#,
        r#"{"tools":[{"type":"code_interpreter","container":{"type":"auto"}}]}"#,
        r#"{"tools":[{"type":"file_search","vector_store_ids":["v"]}]}"#,
        r#"{"tools":[{"type":"function"},{"type":"not-known-here"}]}"#,
        r#"{"tools":[{"type":["function"]}]}"#,
        r#"{"tools":{"type":"mcp"}}"#,
        r#"{"prompt":{"id":"stored"}}"#,
        r#"{"background":true}"#,
        r#"{"background":"true"}"#,
        r#"{"conversation":"c"}"#,
    ];
    let messages = [
        r#"{"model":"m","mcp_servers":[{"url":"https://elsewhere.example"}]}"#,
        r#"{"model":"m","container":{"skills":[{"type":"custom","skill_id":"s"}]}}"#,
        r#"{"tools":[{"name":"x","mcp_server_name":"y"}]}"#,
    ];
    let generate = [
        r#"{"tools":[{"mcpServers":[{"name":"x"}]}]}"#,
        r#"{"tools":{"mcpServers":[{"name":"x"}]}}"#,
        r#"{"tools":[{"fileSearch":{"fileSearchStoreNames":["s"]}}]}"#,
        r#"{"tools":["mcp"]}"#,
        r#"{"contents":[],"cachedContent":"cachedContents/c"}"#,
        r#"{"contents":[],"cached_content":"cachedContents/c"}"#,
    ];
    let plugins = [r#"{"plugins":[{"id":"x"}]}"#, r#"{"preset":"p"}"#];
    for (provider, line, bodies) in [
        ("openai", "POST /v1/responses", &responses[..]),
        ("anthropic", "POST /v1/messages", &messages[..]),
        (
            "google-ai",
            "POST /v1beta/models/m:generateContent",
            &generate[..],
        ),
        ("openrouter", "POST /api/v1/chat/completions", &plugins[..]),
    ] {
        for body in bodies {
            let request = draft(provider, line).json(body);
            assert_eq!(request.effects(), "spend,exec", "{provider} {body}");
            assert!(request.words().contains("does more than answer"), "{body}");
        }
        let unread = draft(provider, line).with_body(BodyView::TooLarge { length: None });
        assert!(unread.effects.has(countersign_model::Effect::Exec));
    }
}

#[test]
fn tools_that_the_client_carries_out_are_no_more_than_asking() {
    for (provider, line, body) in [
        (
            "anthropic",
            "POST /v1/messages",
            r#"{"mcp_servers":[],"tools":[{"name":"Bash","description":"d","input_schema":{"type":"object"},"cache_control":{"type":"ephemeral"}},
                {"type":"web_search_20250305","name":"web_search","max_uses":8},{"type":"bash_20250124","name":"bash"}]}"#,
        ),
        (
            "openai",
            "POST /v1/responses",
            r#"{"background":false,"tools":[{"type":"function","name":"x","parameters":{}},{"type":"custom","name":"apply_patch"},
                {"type":"local_shell"},{"type":"web_search"},{"type":"namespace","name":"n","tools":[{"type":"function","name":"y"}]}]}"#,
        ),
        (
            "openai",
            "POST /v1/completions",
            r#"{"prompt":"plain words"}"#,
        ),
        (
            "google-ai",
            "POST /v1beta/models/m:generateContent",
            r#"{"tools":[{"functionDeclarations":[{"name":"f"}]},{"googleSearch":{}},{"urlContext":{}}],"cachedContent":null}"#,
        ),
    ] {
        assert_eq!(
            draft(provider, line).json(body).effects(),
            "spend",
            "{provider} {body}"
        );
    }
}

#[test]
fn files_batches_training_and_new_keys_are_more_than_asking() {
    for (provider, line, effects) in [
        ("anthropic", "GET /v1/models", "read"),
        ("anthropic", "POST /v1/files", "write"),
        ("anthropic", "POST /v1/messages/batches", "write,spend,bulk"),
        ("anthropic", "DELETE /v1/files/f", "delete"),
        (
            "anthropic",
            "POST /api/oauth/claude_cli/create_api_key",
            "permission,secret",
        ),
        ("openai", "POST /v1/fine_tuning/jobs", "write,spend"),
        ("openai", "POST /v1/realtime/client_secrets", "secret"),
        ("google-ai", "DELETE /v1beta/files/f", "delete"),
        ("openrouter", "POST /api/v1/keys", "permission,secret"),
    ] {
        assert_eq!(
            draft(provider, line).effects(),
            effects,
            "{provider} {line}"
        );
    }
    let unknown = draft("anthropic", "POST /v1/organizations/api_keys").judge();
    assert!(!unknown.routine && unknown.effects.has(countersign_model::Effect::Write));
}

#[test]
fn a_placeholder_is_of_the_shape_that_the_accounts_credential_has() {
    let of = |name: &str, credential: &CredentialKind| -> Vec<&str> {
        let all = kind(name).unwrap().placeholders.iter();
        all.filter(|p| p.is_for(credential))
            .map(|p| p.variable)
            .collect()
    };
    let key = CredentialKind::Header("x-api-key".into());
    assert_eq!(of("anthropic", &key), ["ANTHROPIC_API_KEY"]);
    assert_eq!(
        of("anthropic", &CredentialKind::Bearer),
        ["CLAUDE_CODE_OAUTH_TOKEN"]
    );
    for kind in kinds().iter().filter(|kind| !kind.placeholders.is_empty()) {
        let by_default = kind.credential.kind();
        let any = kind.placeholders.iter().any(|p| p.is_for(&by_default));
        assert!(any, "{} has none for its own presentation", kind.name);
    }
}
