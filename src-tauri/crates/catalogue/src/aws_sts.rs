//! AWS's token service: nearly all that it does is to mint credentials, which then
//! act as somebody.

use crate::aws_hosts::aws_scope;
use crate::body::Content;
use crate::body::form::Pairs;
use crate::judgement::{Judgement, fx};
use crate::request::header;
use crate::{BodyView, RequestView, words};
use countersign_model::Effect::{Permission, Secret};
use countersign_model::{Account, CredentialKind};

/// What it does besides: it tells who asks, whose a key is, and why something was
/// refused. Source: AWS STS API Reference, "Actions".
const MINTS_NOTHING: [&str; 3] = [
    "DecodeAuthorizationMessage",
    "GetAccessKeyInfo",
    "GetCallerIdentity",
];

/// Raises what mints a credential, or what cannot be told not to.
pub(crate) fn raise(
    judgement: &mut Judgement,
    account: &Account,
    request: &RequestView<'_>,
    content: &Content,
    query: &Pairs,
) {
    const LAYER: &str = "token service";
    let CredentialKind::Aws(settings) = &account.credential else {
        return;
    };
    if aws_scope(settings, request.host).is_none_or(|scope| scope.service != "sts") {
        return;
    }
    let form: &[(String, String)] = match content {
        Content::Form(pairs) => pairs,
        _ => &[],
    };
    let has_body = !matches!(request.body, BodyView::None | BodyView::Whole([]));
    let mut actions = query
        .iter()
        .chain(form)
        .filter(|(name, _)| name.eq_ignore_ascii_case("action"))
        .map(|(_, action)| action.as_str());
    let named_besides = header(request.headers, "x-amz-target").next().is_some();
    let harmless = match (actions.next(), actions.next()) {
        (Some(action), None) => !named_besides && MINTS_NOTHING.contains(&action),
        // None, or two of which a service may take either.
        _ => false,
    };
    if !harmless || (has_body && !matches!(content, Content::Form(_))) {
        judgement.raise(fx(&[Secret, Permission]), LAYER);
        judgement.doubt(words::mints(), LAYER);
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::draft;

    #[test]
    fn what_mints_credentials_is_secret_and_permission_and_what_only_tells_is_not() {
        let host = "sts.eu-west-1.amazonaws.com";
        let sends = |body: &str| draft("aws", "POST /").at(host).form(body).effects();
        for action in [
            "Action=AssumeRole&RoleArn=r",
            "Action=GetSessionToken",
            "Action=GetFederationToken",
            "Action=SomethingNew",
            "Action=GetCallerIdentity&Action=AssumeRole",
            "",
        ] {
            let effects = sends(action);
            assert!(
                effects.contains("permission") && effects.contains("secret"),
                "{action}: {effects}"
            );
        }
        let tells = sends("Action=GetCallerIdentity&Version=2011-06-15");
        assert!(
            !tells.contains("permission") && !tells.contains("secret"),
            "{tells}"
        );
        let by_query = draft("aws", "GET /?Action=AssumeRole").at(host);
        assert!(by_query.effects().contains("permission"));
        let both = draft("aws", "POST /?Action=GetCallerIdentity")
            .at(host)
            .form("Action=AssumeRole");
        assert!(both.effects().contains("permission"));
        let as_json = draft("aws", "POST /?Action=GetCallerIdentity")
            .at(host)
            .json("{}");
        assert!(as_json.effects().contains("permission"));
        let targeted = draft("aws", "GET /?Action=GetCallerIdentity")
            .at(host)
            .header(
                "x-amz-target",
                "AWSSecurityTokenServiceV20110615.AssumeRole",
            );
        assert!(targeted.effects().contains("permission") && !targeted.judge().routine);
        let elsewhere = draft("aws", "POST /")
            .at("sqs.eu-west-1.amazonaws.com")
            .form("Action=ListQueues");
        assert!(!elsewhere.effects().contains("permission"));
    }
}
