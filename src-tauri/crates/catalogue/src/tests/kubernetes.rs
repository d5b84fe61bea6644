use crate::testing::{Draft, draft};

fn at(line: &str) -> Draft {
    draft("kubernetes", line).at("k8s.example.org")
}

#[test]
fn reads_go_alone_custom_resources_among_them() {
    for line in [
        "GET /api/v1/namespaces/prod/pods",
        "GET /api/v1/pods?watch=true",
        "GET /api/v1/namespaces/prod/pods/web-0/log",
        "GET /apis/apps/v1/namespaces/prod/deployments/web",
        "GET /apis/example.org/v1beta1/namespaces/prod/widgets",
        "GET /api/v1/namespaces/prod",
        "GET /apis",
        "GET /openapi/v3",
        "GET /version",
    ] {
        let known = at(line).judge();
        assert!(known.routine, "{line}: {} {}", known.words, known.effects);
    }
}

#[test]
fn what_does_more_is_named_and_asks() {
    for (line, operation, effects) in [
        (
            "GET /api/v1/namespaces/prod/secrets/db",
            "get secrets",
            "read,secret",
        ),
        ("GET /api/v1/secrets", "list secrets", "read,secret"),
        (
            "GET /api/v1/namespaces/prod/pods/web-0/exec?command=sh",
            "get pods/exec",
            "write,exec",
        ),
        (
            "GET /api/v1/namespaces/prod/services/web/proxy/admin",
            "get services/proxy",
            "write,exec",
        ),
        (
            "GET /api/v1/nodes/n1/proxy/run",
            "get nodes/proxy",
            "write,exec",
        ),
        (
            "DELETE /api/v1/namespaces/prod/pods",
            "deletecollection pods",
            "delete,bulk",
        ),
        (
            "DELETE /apis/apps/v1/namespaces/prod/deployments/web",
            "delete deployments.apps",
            "delete",
        ),
        (
            "DELETE /api/v1/namespaces/prod",
            "delete namespaces",
            "delete,admin",
        ),
    ] {
        let known = at(line).judge();
        let got: Vec<_> = known.effects.iter().map(|e| e.word()).collect();
        assert_eq!(
            (known.operation.as_str(), got.join(",").as_str()),
            (operation, effects),
            "{line}"
        );
        assert!(!known.routine, "{line}");
    }
    for (line, body, operation, effects) in [
        (
            "POST /api/v1/namespaces/prod/pods/web-0/eviction",
            "{}",
            "create pods/eviction",
            "delete",
        ),
        (
            "POST /api/v1/namespaces/prod/serviceaccounts/ci/token",
            "{}",
            "create serviceaccounts/token",
            "write,permission,secret",
        ),
        (
            "PUT /apis/apps/v1/namespaces/prod/deployments/web/scale",
            r#"{"spec":{"replicas":0}}"#,
            "update deployments.apps/scale",
            "write,delete",
        ),
        (
            "PUT /apis/apps/v1/namespaces/prod/deployments/web/scale",
            r#"{"spec":{"replicas":3}}"#,
            "update deployments.apps/scale",
            "write",
        ),
        (
            "PATCH /apis/apps/v1/namespaces/prod/deployments/web/scale",
            r#"[{"op":"replace"}]"#,
            "patch deployments.apps/scale",
            "write,delete",
        ),
        (
            "PATCH /apis/apps/v1/namespaces/prod/deployments/web",
            r#"{"spec":{"replicas":0}}"#,
            "patch deployments.apps",
            "write,delete,exec",
        ),
        (
            "POST /apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            "{}",
            "create clusterrolebindings.rbac.authorization.k8s.io",
            "write,permission,admin",
        ),
        (
            "POST /api/v1/namespaces/prod/pods",
            "{}",
            "create pods",
            "write,exec",
        ),
    ] {
        let known = at(line).json(body).judge();
        let got: Vec<_> = known.effects.iter().map(|e| e.word()).collect();
        assert_eq!(
            (known.operation.as_str(), got.join(",").as_str()),
            (operation, effects),
            "{line}"
        );
        assert!(!known.routine, "{line}");
    }
}

#[test]
fn the_sentence_names_what_is_acted_on_and_where() {
    let words = |line: &str| at(line).judge().words.to_string();
    assert_eq!(
        words("DELETE /apis/apps/v1/namespaces/prod/deployments/web"),
        "Delete Kubernetes deployment “web” in the namespace “prod”"
    );
    assert_eq!(
        words("DELETE /api/v1/namespaces/prod/pods?dryRun=All"),
        "Delete all Kubernetes pods in the namespace “prod”, as a dry run"
    );
    assert_eq!(
        words("GET /api/v1/namespaces/prod/pods/web-0/exec"),
        "Run a command in the Kubernetes pod “web-0” in the namespace “prod”"
    );
}

#[test]
fn another_identity_a_dry_run_and_an_unknown_path_never_go_alone() {
    for request in [
        at("GET /api/v1/pods").header("impersonate-user", "admin"),
        at("DELETE /api/v1/namespaces/prod/pods/a?dryRun=All"),
        at("GET /api/v1/watch/pods"),
        at("GET /api/v1/proxy/namespaces/prod/services/web"),
        at("GET /metrics"),
        at("GET /api/v1/namespaces/prod//pods"),
        at("TRACE /api/v1/pods"),
    ] {
        let known = request.judge();
        assert!(!known.routine, "{}: {}", request.path, known.words);
    }
}
