//! What is looked for in every request to a provider that only generated data
//! describes: credentials of the agent's own, and other identities.

use crate::RequestView;
use crate::judgement::{Facts, Judgement, fx};
use crate::request::header;
use crate::smuggled::own_credential;
use crate::words;
use countersign_model::Effect::{Permission, Secret};

/// Query parameters that a provider takes for a credential, lower case.
fn credentials(provider: &str) -> &'static [&'static str] {
    match provider {
        "google" => &["access_token", "oauth_token", "key"],
        "gitlab" => &["private_token", "access_token", "job_token"],
        "aws" => &[
            "x-amz-credential",
            "x-amz-signature",
            "x-amz-security-token",
            "awsaccesskeyid",
            "signature",
        ],
        _ => &["access_token", "api_key", "token"],
    }
}

/// Headers and query parameters by which a request acts as somebody else, lower
/// case.
const OTHERS: &[&str] = &[
    "impersonate-user",
    "impersonate-group",
    "impersonate-uid",
    "sudo",
    "stripe-account",
    "stripe-context",
];

/// Raises a judgement by what was found.
pub(crate) fn screen(
    provider: &str,
    request: &RequestView<'_>,
    facts: &Facts<'_>,
    judgement: &mut Judgement,
) {
    for (name, _) in facts.query {
        let name = name.to_ascii_lowercase();
        if credentials(provider).contains(&name.as_str()) {
            own_credential(judgement, &name);
        }
        if OTHERS.contains(&name.as_str()) {
            acts_as_another(judgement, &name);
        }
    }
    if provider == "microsoft-graph" && is_of_a_drive(request.path) {
        judgement.raise(fx(&[Secret]), "replies with pre-authorised URLs");
    }
    for name in OTHERS {
        if header(request.headers, name).next().is_some() {
            acts_as_another(judgement, name);
        }
    }
}

/// Whether a path leads to items of a drive: each comes with a URL that opens it for
/// whoever has that. Source: Microsoft Graph REST API, "driveItem resource type",
/// `@microsoft.graph.downloadUrl`.
fn is_of_a_drive(path: &str) -> bool {
    let mut segments = path.split(['/', '(', ':']);
    segments.any(|segment| {
        let segment = segment.to_ascii_lowercase();
        matches!(
            segment.as_str(),
            "drive" | "drives" | "driveitem" | "shares"
        )
    })
}

fn acts_as_another(judgement: &mut Judgement, name: &str) {
    const LAYER: &str = "another identity";
    judgement.raise(fx(&[Permission]), LAYER);
    judgement.doubt(words::another_identity(name), LAYER);
}

#[cfg(test)]
mod tests {
    use crate::testing::draft;

    #[test]
    fn a_read_that_hands_out_urls_which_open_files_is_no_read_that_goes_alone() {
        let at = |line| draft("microsoft-graph", line).at("graph.microsoft.com");
        assert!(at("GET /v1.0/users/u").judge().routine);
        for line in [
            "GET /v1.0/drives/1/items/2",
            "GET /v1.0/drives/1/items/2/children",
            "GET /v1.0/users/u/drive",
            "GET /v1.0/shares/1/driveItem",
        ] {
            let request = at(line);
            assert!(!request.judge().routine, "{line}");
            assert!(request.effects().contains("secret"), "{line}");
        }
    }
}
