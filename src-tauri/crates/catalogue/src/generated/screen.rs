//! What is looked for in every request to a provider that only generated data
//! describes: credentials of the agent's own, and other identities.

use crate::RequestView;
use crate::judgement::{Facts, Judgement, fx};
use crate::request::header;
use crate::smuggled::own_credential;
use crate::words;
use countersign_model::Effect::Permission;

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
    for name in OTHERS {
        if header(request.headers, name).next().is_some() {
            acts_as_another(judgement, name);
        }
    }
}

fn acts_as_another(judgement: &mut Judgement, name: &str) {
    const LAYER: &str = "another identity";
    judgement.raise(fx(&[Permission]), LAYER);
    judgement.doubt(words::another_identity(name), LAYER);
}
