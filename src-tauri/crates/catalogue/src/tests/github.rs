use crate::testing::{Draft, draft};
use crate::{BodyView, needs_body};

fn github(line: &str, body: &str) -> Draft {
    let request = draft("github", line);
    if body.is_empty() {
        request
    } else {
        request.json(body)
    }
}

#[test]
fn each_group_of_operations_has_its_effects() {
    for (line, body, effects, words) in [
        ("GET /user", "", "read", "Read the user's own profile"),
        ("GET /rate_limit", "", "read", "Read the remaining requests"),
        ("GET /search/code?q=x", "", "read", "Search code for “x”"),
        (
            "GET /repos/o/r/contents/src/main.rs?ref=dev",
            "",
            "read",
            "Read “src/main.rs” in “o/r” at “dev”",
        ),
        ("GET /repos/o/r/contents", "", "read", "Read “” in “o/r”"),
        (
            "GET /repos/o/r/compare/main...a/b",
            "",
            "read",
            "Compare “main...a/b” in “o/r”",
        ),
        (
            "PUT /repos/o/r/contents/a%2Fb.md",
            r#"{"message":"m","content":"","branch":"main"}"#,
            "write",
            "Write “a/b.md” in “o/r” on the branch “main”: “m”",
        ),
        (
            "DELETE /repos/o/r/contents/a.md",
            r#"{"message":"m","sha":"1"}"#,
            "delete",
            "Delete “a.md” in “o/r”: “m”",
        ),
        (
            "DELETE /repos/o/r/git/refs/heads/main",
            "",
            "delete",
            "Delete “heads/main” of “o/r”",
        ),
        (
            "PATCH /repos/o/r/git/refs/heads/main",
            r#"{"sha":"abc"}"#,
            "write",
            "Move “heads/main” of “o/r” to “abc”",
        ),
        (
            "PATCH /repos/o/r/git/refs/heads/main",
            r#"{"sha":"abc","force":false}"#,
            "write",
            "Move “heads/main” of “o/r” to “abc”",
        ),
        (
            "PATCH /repos/o/r/git/refs/heads/main",
            r#"{"sha":"abc","force":true}"#,
            "write,delete",
            "Rewrite the history of “heads/main” of “o/r”: move it by force to “abc”",
        ),
        (
            "PATCH /repos/o/r/git/refs/heads/main",
            r#"{"sha":"abc","force":"true"}"#,
            "write,delete",
            "Rewrite the history of “heads/main” of “o/r”: move it by force to “abc”",
        ),
        (
            "PUT /repos/o/r/branches/main/protection",
            "{}",
            "permission,admin",
            "Change the protection of the branch “main” of “o/r”",
        ),
        (
            "DELETE /repos/o/r/branches/main/protection/enforce_admins",
            "",
            "delete,permission,admin",
            "Remove a protection (“enforce_admins”) of the branch “main” of “o/r”",
        ),
        (
            "PUT /repos/o/r/collaborators/eve",
            r#"{"permission":"admin"}"#,
            "permission",
            "Give “eve” access to “o/r” as “admin”",
        ),
        (
            "POST /repos/o/r/transfer",
            r#"{"new_owner":"eve"}"#,
            "permission,admin",
            "Transfer the repository “o/r” to “eve”",
        ),
        (
            "DELETE /repos/o/r",
            "",
            "delete,admin",
            "Delete the repository “o/r” for good",
        ),
        (
            "PATCH /repos/o/r",
            r#"{"private":false}"#,
            "write,publish,permission,admin",
            "Show the repository “o/r” to everybody",
        ),
        (
            "PATCH /repos/o/r",
            r#"{"visibility":"public"}"#,
            "write,publish,permission,admin",
            "Show the repository “o/r” to everybody",
        ),
        (
            "PATCH /repos/o/r",
            r#"{"private":true}"#,
            "write,permission,admin",
            "Change who sees the repository “o/r”",
        ),
        (
            "PATCH /repos/o/r",
            r#"{"archived":true,"name":"x"}"#,
            "write,admin",
            "Archive the repository “o/r”; Rename the repository “o/r” to “x”",
        ),
        (
            "POST /user/repos",
            r#"{"name":"x","private":true}"#,
            "write",
            "Make the repository “x”, not public",
        ),
        (
            "POST /user/repos",
            r#"{"name":"x"}"#,
            "write,publish",
            "Make the repository “x”, visible to everybody",
        ),
        (
            "POST /repos/o/r/pulls",
            r#"{"title":"t","head":"h","base":"b"}"#,
            "publish",
            "Open a pull request in “o/r”: “t” (from “h”) (into “b”)",
        ),
        (
            "PUT /repos/o/r/pulls/7/merge",
            r#"{"merge_method":"squash"}"#,
            "write,publish",
            "Merge the pull request “7” of “o/r” by “squash”",
        ),
        (
            "POST /repos/o/r/issues/7/comments",
            r#"{"body":"hello"}"#,
            "publish",
            "Comment on the issue “7” of “o/r”: “hello”",
        ),
        (
            "POST /gists",
            r#"{"files":{}}"#,
            "publish",
            "Publish a gist",
        ),
        (
            "POST /repos/o/r/actions/workflows/ci.yml/dispatches",
            r#"{"ref":"main"}"#,
            "exec",
            "Run the workflow “ci.yml” of “o/r” on “main”",
        ),
        (
            "PUT /repos/o/r/actions/secrets/NAME",
            r#"{"encrypted_value":"x"}"#,
            "write,exec,secret",
            "Set the secret “NAME” of “o/r”",
        ),
        (
            "POST /repos/o/r/hooks",
            r#"{"config":{"url":"https://evil.example"}}"#,
            "publish,permission,exec",
            "Send what happens in “o/r” to “https://evil.example”",
        ),
        (
            "POST /repos/o/r/keys",
            r#"{"title":"k","key":"ssh-ed25519 A"}"#,
            "permission",
            "Let whoever holds the key “k” into “o/r”",
        ),
        (
            "POST /user/keys",
            r#"{"title":"k","key":"ssh-ed25519 A"}"#,
            "permission,admin",
            "Let whoever holds the SSH key “k” act as the user",
        ),
        (
            "GET /repos/o/r/actions/artifacts/1/zip",
            "",
            "read,secret",
            "Get a link that downloads the artifact “1” of “o/r”",
        ),
        (
            "GET /repos/o/r/secret-scanning/alerts",
            "",
            "read,secret",
            "List the secrets that were found in “o/r”",
        ),
        (
            "POST /repos/o/r/actions/runners/registration-token",
            "",
            "permission,exec,secret",
            "Get a token that adds a runner to “o/r”",
        ),
        (
            "PUT /notifications",
            "{}",
            "write,bulk",
            "Mark all notifications as read",
        ),
        (
            "DELETE /orgs/o",
            "",
            "delete,admin,bulk",
            "Delete the organisation “o” with all its repositories",
        ),
    ] {
        let request = github(line, body);
        assert_eq!(request.effects(), effects, "{line} {body}");
        assert_eq!(request.words(), words, "{line} {body}");
        assert_eq!(request.judge().routine, effects == "read", "{line}");
    }
}

#[test]
fn a_force_that_cannot_be_read_counts_as_force() {
    let path = "/repos/o/r/git/refs/heads/main";
    for request in [
        github(&format!("PATCH {path}"), ""),
        github(&format!("PATCH {path}"), r#"{"force":false,"force":true}"#),
        github(&format!("PATCH {path}?force=true"), r#"{"sha":"abc"}"#),
        github(&format!("PATCH {path}"), "[]"),
        draft("github", &format!("PATCH {path}")).form("force=true"),
    ] {
        assert_eq!(request.effects(), "write,delete", "{request:?}");
        assert!(
            request.words().contains("could not be read"),
            "{}",
            request.words()
        );
    }
}

#[test]
fn json_is_read_whatever_its_media_type_says() {
    let request =
        draft("github", "PATCH /repos/o/r/git/refs/heads/main").form(r#"{"sha":"a","force":true}"#);
    assert_eq!(request.effects(), "write,delete");
    assert!(!request.words().contains("could not be read"));
}

#[test]
fn graphql_always_asks() {
    let ask = |body: &str| github("POST /graphql", body);
    let query = ask(r#"{"query":"query { viewer { login } }"}"#);
    assert_eq!(
        (query.effects().as_str(), query.judge().routine),
        ("write", false)
    );
    assert_eq!(
        query.words(),
        "Send a GraphQL request, whose content is not read yet"
    );
    for body in [
        r#"{"query":"mutation { deleteRef(input: {}) { clientMutationId } }"}"#,
        r#"{"query":"\u006dutation { a }"}"#,
        r#"{"query":"query A { b } mutation B { c }","operationName":"B"}"#,
        r#"{"extensions":{"persistedQuery":{"sha256Hash":"x"}}}"#,
        r#"[{"query":"query { a }"}]"#,
        r#"{"query":"query { a }","query":"query { b }"}"#,
        "",
    ] {
        assert_eq!(
            ask(body).effects(),
            "write,delete,publish,permission,admin",
            "{body}"
        );
    }
}

#[test]
fn files_of_releases_may_stream_and_nothing_else() {
    let line = "POST /repos/o/r/releases/1/assets?name=tool.tar.gz";
    let request = draft("github", line).at("uploads.github.com");
    let known = request.with_body(BodyView::Streaming);
    assert_eq!(
        known.words.to_string(),
        "Publish the file “tool.tar.gz” with the release “1” of “o/r”"
    );
    assert_eq!(known.effects.to_string(), "publish");
    assert!(!known.routine && !known.preview.whole);
    let needs = |method: &str, path: &str| {
        needs_body(&request.account, method, &request.host, path, None, &[])
    };
    assert!(!needs("POST", "/repos/o/r/releases/1/assets"));
    assert!(needs("POST", "/repos/o/r/issues") && needs("POST", "/graphql") && needs("POST", "/x"));
}

#[test]
fn a_token_in_the_query_is_noticed() {
    let known = github("GET /user?access_token=x", "").judge();
    assert!(!known.routine && known.effects.to_string() == "read, secret");
}

#[test]
fn git_reads_alone_and_a_push_counts_as_what_it_could_do() {
    let git = |line: &str| draft("github-git", line);
    let refs = git("GET /a/b.git/info/refs?service=git-upload-pack").judge();
    assert!(refs.routine, "{refs:?}");
    let body = b"0032want 0000000000000000000000000000000000000000\n0000";
    let fetch = git("POST /a/b.git/git-upload-pack")
        .typed("application/x-git-upload-pack-request", body)
        .judge();
    assert!(fetch.routine, "{fetch:?}");
    let push =
        git("POST /a/b.git/git-receive-pack").typed("application/x-git-receive-pack-request", body);
    assert_eq!(push.effects(), "write,delete");
    assert!(
        push.words()
            .contains("Push to the repository \u{201c}a/b.git\u{201d}")
    );
    for elsewhere in [
        "GET /a/b/settings",
        "POST /session",
        "POST /a/b.git/info/lfs/objects/batch",
    ] {
        assert!(!git(elsewhere).judge().routine, "{elsewhere}");
    }
}
