//! Generated data beyond AWS, as requests.

use crate::testing::{Draft, draft};

fn at(provider: &str, host: &str, line: &str) -> Draft {
    draft(provider, line).at(host)
}

#[test]
fn reads_of_every_provider_go_alone() {
    for (provider, host, line, operation) in [
        (
            "google",
            "compute.googleapis.com",
            "GET /compute/v1/projects/p/zones/z/instances",
            "compute.instances.list",
        ),
        (
            "google",
            "www.googleapis.com",
            "GET /drive/v3/files/1",
            "drive.files.get",
        ),
        (
            "google",
            "storage.googleapis.com",
            "GET /storage/v1/b/photos/o",
            "storage.objects.list",
        ),
        (
            "google",
            "cloudresourcemanager.googleapis.com",
            "GET /v3/projects/p",
            "cloudresourcemanager.projects.get",
        ),
        (
            "github",
            "api.github.com",
            "GET /advisories/1",
            "security-advisories/get-global-advisory",
        ),
        (
            "gitlab",
            "git.example.org",
            "GET /api/v4/projects/1/repository/branches",
            "projects.repository.branches.all",
        ),
        (
            "cloudflare",
            "api.cloudflare.com",
            "GET /client/v4/zones",
            "zones.list",
        ),
        (
            "stripe",
            "api.stripe.com",
            "GET /v1/customers/c",
            "customers.retrieve",
        ),
        (
            "microsoft-graph",
            "graph.microsoft.com",
            "GET /v1.0/users/u/messages",
            "users.messages.list",
        ),
    ] {
        let known = at(provider, host, line).judge();
        assert_eq!(
            known.effects.to_string(),
            "read",
            "{line}: {} {}",
            known.operation,
            known.decided_by
        );
        assert!(
            known.routine,
            "{line}: {} {}",
            known.words, known.decided_by
        );
        assert!(
            known.operation == operation || provider == "gitlab",
            "{line} is {}",
            known.operation
        );
    }
}

#[test]
fn what_changes_something_is_named_and_asks() {
    let mut wrong = Vec::new();
    for (provider, host, line, effects) in [
        (
            "google",
            "compute.googleapis.com",
            "DELETE /compute/v1/projects/p/zones/z/instances/vm",
            "delete",
        ),
        (
            "google",
            "secretmanager.googleapis.com",
            "GET /v1/projects/p/secrets/s/versions/1:access",
            "secret",
        ),
        (
            "google",
            "www.googleapis.com",
            "POST /drive/v3/files/1/permissions",
            "permission",
        ),
        (
            "google",
            "www.googleapis.com",
            "POST /calendar/v3/calendars/c/events",
            "publish",
        ),
        (
            "google",
            "cloudbilling.googleapis.com",
            "GET /v1/organizations/o/billingAccounts/b:move",
            "spend",
        ),
        (
            "google",
            "iamcredentials.googleapis.com",
            "POST /v1/projects/p/serviceAccounts/s:generateAccessToken",
            "secret",
        ),
        (
            "google",
            "run.googleapis.com",
            "POST /v1/projects/p/locations/l/services/s:setIamPolicy",
            "permission",
        ),
        (
            "github",
            "api.github.com",
            "DELETE /app/installations/1",
            "delete",
        ),
        (
            "github",
            "api.github.com",
            "POST /orgs/o/actions/runners/registration-token",
            "secret",
        ),
        (
            "slack",
            "slack.com",
            "POST /api/admin.users.remove",
            "permission",
        ),
        (
            "gitlab",
            "gitlab.com",
            "DELETE /api/v4/projects/1",
            "delete",
        ),
        (
            "gitlab",
            "gitlab.com",
            "GET /api/v4/projects/1/variables/KEY",
            "secret",
        ),
        (
            "cloudflare",
            "api.cloudflare.com",
            "DELETE /client/v4/zones/z/dns_records/d",
            "delete",
        ),
        (
            "cloudflare",
            "api.cloudflare.com",
            "POST /client/v4/user/tokens",
            "secret",
        ),
        ("stripe", "api.stripe.com", "POST /v1/refunds", "spend"),
        ("stripe", "api.stripe.com", "POST /v1/payouts", "spend"),
        (
            "microsoft-graph",
            "graph.microsoft.com",
            "POST /v1.0/users/u/sendMail",
            "publish",
        ),
        (
            "microsoft-graph",
            "graph.microsoft.com",
            "DELETE /v1.0/users/u",
            "delete",
        ),
        (
            "microsoft-graph",
            "graph.microsoft.com",
            "POST /v1.0/$batch",
            "write",
        ),
        ("openai", "api.openai.com", "DELETE /v1/files/f", "delete"),
    ] {
        let known = at(provider, host, line).json("{}");
        let known = if line.starts_with("GET") || line.starts_with("DELETE") {
            at(provider, host, line).judge()
        } else {
            known.judge()
        };
        let has = known.effects.iter().any(|effect| effect.word() == effects);
        if !has || known.routine {
            wrong.push(format!("{line}: {} ({})", known.effects, known.decided_by));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn sentences_are_made_of_names_and_of_what_is_acted_on() {
    for (provider, host, line, words) in [
        (
            "google",
            "compute.googleapis.com",
            "DELETE /compute/v1/projects/p/zones/z/instances/vm",
            "Delete Compute Engine instance “p/z/vm”",
        ),
        (
            "github",
            "api.github.com",
            "DELETE /app/installations/1",
            "Delete GitHub installation “1”",
        ),
        (
            "stripe",
            "api.stripe.com",
            "POST /v1/charges/ch_1/capture",
            "Capture Stripe capture “ch_1”",
        ),
    ] {
        assert_eq!(at(provider, host, line).judge().words.to_string(), words);
    }
}

#[test]
fn what_made_by_hand_knows_is_judged_by_hand() {
    for (provider, line) in [
        ("gmail", "POST /gmail/v1/users/me/messages/batchDelete"),
        ("github", "PATCH /repos/o/r"),
        ("slack", "POST /api/chat.postMessage"),
    ] {
        let known = draft(provider, line).json("{}").judge();
        assert!(
            !known.decided_by.contains("generated"),
            "{}",
            known.decided_by
        );
    }
}

#[test]
fn acting_as_somebody_else_is_never_routine() {
    for (provider, host, line, header) in [
        (
            "gitlab",
            "gitlab.com",
            "GET /api/v4/projects/1/repository/branches",
            "sudo",
        ),
        (
            "stripe",
            "api.stripe.com",
            "GET /v1/customers/c",
            "stripe-account",
        ),
    ] {
        let known = at(provider, host, line).header(header, "x").judge();
        assert!(!known.routine && known.effects.has(countersign_model::Effect::Permission));
    }
    let sudo = at(
        "gitlab",
        "gitlab.com",
        "GET /api/v4/projects/1/repository/branches?sudo=root",
    )
    .judge();
    assert!(!sudo.routine);
}

#[test]
fn an_encoded_slash_is_part_of_a_name_only_where_the_provider_says_so() {
    let known = at(
        "gitlab",
        "gitlab.com",
        "DELETE /api/v4/projects/team%2Fsite",
    )
    .judge();
    assert_eq!(known.objects.listed[0].raw(), "team/site");
    assert!(known.decided_by.contains("generated"));
    let object = at(
        "google",
        "storage.googleapis.com",
        "GET /storage/v1/b/photos/o/2026%2Fa.jpg",
    );
    assert!(object.judge().routine, "{}", object.words());
    let elsewhere = "GET /compute/v1/projects/p%2Fzones/zones/z/instances";
    let known = at("google", "compute.googleapis.com", elsewhere).judge();
    assert!(!known.routine && known.decided_by.contains("not in the catalogue"));
}
