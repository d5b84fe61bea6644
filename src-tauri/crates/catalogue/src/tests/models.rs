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
fn a_model_that_would_call_other_servers_is_more_than_asking() {
    for (provider, line, body) in [
        (
            "anthropic",
            "POST /v1/messages",
            r#"{"model":"m","mcp_servers":[{"url":"https://elsewhere.example"}]}"#,
        ),
        (
            "openai",
            "POST /v1/responses",
            r#"{"model":"m","tools":[{"type":"mcp","server_url":"https://elsewhere.example"}]}"#,
        ),
        (
            "openai",
            "POST /v1/responses",
            r#"{"input":[{"type":"additional_tools","tools":[{"type":"namespace","tools":[{"type":"mcp"}]}]}]}"#,
        ),
        (
            "google-ai",
            "POST /v1beta/models/m:generateContent",
            r#"{"tools":[{"mcpServers":[{"name":"x"}]}]}"#,
        ),
    ] {
        let request = draft(provider, line).json(body);
        assert_eq!(request.effects(), "spend,exec", "{provider}");
        assert!(
            request.words().contains("calls other servers"),
            "{provider}"
        );
        let unread = draft(provider, line).with_body(BodyView::TooLarge { length: None });
        assert!(unread.effects.has(countersign_model::Effect::Exec));
    }
    let none = draft("anthropic", "POST /v1/messages").json(r#"{"mcp_servers":[],"tools":[]}"#);
    assert_eq!(none.effects(), "spend");
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
