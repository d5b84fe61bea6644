//! What AWS is asked for that the generated data does not hold, or that method
//! and path do not say.

use crate::body::Content;
use crate::body::form::Pairs;
use crate::generated::{self, Found};
use crate::judgement::{Judgement, fx};
use crate::{RequestView, verbs, words};
use countersign_model::Effect::{Delete, Exec, Permission, Read, Secret, Write};
use countersign_model::{Account, CredentialKind, Effects};

/// The provider's name.
pub(crate) const PROVIDER: &str = "aws";

/// In names of operations, what hands out something that acts as somebody. Lower
/// case.
const MINTED: &[&str] = &[
    "accesskey",
    "apikey",
    "assume",
    "authorization",
    "credential",
    "loginprofile",
    "password",
    "presign",
    "privatekey",
    "secret",
    "session",
    "token",
];

/// Labels of hosts behind which somebody's own code answers: of AWS Lambda's
/// function URLs, of API Gateway, and of VPC Lattice, by their documentation.
const CODE: &[&str] = &["execute-api", "lambda-url", "vpc-lattice-svcs"];

/// What an operation that nobody knows does, by its name alone: what looks up is
/// a read, and all else at least a write, whichever the method.
pub(crate) fn effects_of_operation(name: &str) -> Effects {
    let words = verbs::words_of(name);
    let mut verb = words.iter().filter(|word| !word.is_empty());
    let verb = match verb.next().map(String::as_str) {
        Some("batch" | "bulk") => verb.next().map(String::as_str),
        first => first,
    };
    let reads = matches!(verb, Some("describe" | "get" | "list"));
    let least = match verb {
        _ if reads => Read,
        Some("delete" | "deregister" | "purge" | "remove" | "terminate") => Delete,
        _ => Write,
    };
    let lower = name.to_ascii_lowercase();
    let mints = MINTED.iter().any(|part| lower.contains(part));
    let minted = if mints {
        fx(&[Secret, Permission])
    } else {
        Effects::NONE
    };
    fx(&[least])
        .union(verbs::of_name(name, reads))
        .union(minted)
}

/// Whether what a request does stands elsewhere than in its method and path: it
/// names its operation, or its query or a header chooses among several.
pub(crate) fn says_more_than_its_path(
    provider: &str,
    request: &RequestView<'_>,
    content: &Content,
    query: &Pairs,
    by_path: &Option<Found>,
) -> bool {
    let chosen = |found: &Found| found.operations.iter().any(|o| !o.wants.is_empty());
    provider == PROVIDER
        && (by_path.as_ref().is_some_and(chosen)
            || generated::names_its_operation(request, content, query))
}

/// Raises by what a host is: somebody's own code runs, whichever the method; or
/// a service that nobody knows may change something by any.
pub(crate) fn raise_by_host(
    judgement: &mut Judgement,
    account: &Account,
    request: &RequestView<'_>,
) {
    if request.host.split('.').any(|label| CODE.contains(&label)) {
        const LAYER: &str = "a host of somebody's own code";
        judgement.raise(fx(&[Write, Exec]), LAYER);
        judgement.doubt(words::runs_code(), LAYER);
        return;
    }
    // Where the account says that S3 is spoken, reading is GET, as S3 has it.
    let is_s3 = matches!(&account.credential, CredentialKind::Aws(settings)
        if crate::aws_scope(settings, request.host).is_some_and(|scope| scope.service == "s3"));
    if !is_s3 && !generated::is_service_of_aws(request.host) {
        const LAYER: &str = "a service that is not known";
        judgement.raise(fx(&[Write]), LAYER);
        judgement.unsure(LAYER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Draft, draft};
    use countersign_model::{AwsSettings, EffectsRule, Provider};

    /// A request to an account that is known by its hosts alone, and whose
    /// requests are signed as AWS's.
    fn by_hosts(host: &str, line: &str) -> Draft {
        let mut draft = draft("aws", line).at(host);
        draft.account.provider = Provider(Provider::PLAIN.into());
        draft.account.credential = CredentialKind::Aws(AwsSettings {
            region: "eu-west-1".into(),
            service: None,
        });
        draft
    }

    #[test]
    fn what_is_signed_as_awss_is_judged_so_by_whatever_hosts_its_account_is_known() {
        for (host, line, operation, wanted) in [
            (
                "iam.amazonaws.com",
                "GET /?Action=CreateAccessKey&UserName=root&Version=2010-05-08",
                "iam:CreateAccessKey",
                "secret,permission",
            ),
            (
                "ec2.eu-west-1.amazonaws.com",
                "GET /?Action=TerminateInstances&InstanceId.1=i-1&Version=2016-11-15",
                "ec2:TerminateInstances",
                "delete",
            ),
            (
                "sqs.eu-west-1.amazonaws.com",
                "GET /1/q?Action=DeleteQueue",
                "sqs:DeleteQueue",
                "delete",
            ),
        ] {
            let known = by_hosts(host, line).judge();
            assert_eq!(known.operation, operation);
            assert!(!known.routine, "{line}");
            for effect in wanted.split(',') {
                let has = known.effects.iter().any(|e| e.word() == effect);
                assert!(has, "{line}: {}", known.effects);
            }
        }
        let read = by_hosts(
            "ec2.eu-west-1.amazonaws.com",
            "GET /?Action=DescribeInstances&Version=2016-11-15",
        );
        assert!(read.judge().routine && read.effects() == "read");
        let elsewhere = by_hosts("minio.corp.example", "GET /b/k").judge();
        assert!(!elsewhere.routine, "{}", elsewhere.words);
    }

    #[test]
    fn what_nobody_knows_does_what_its_name_says_and_never_what_its_method_does() {
        let ec2 = "ec2.eu-west-1.amazonaws.com";
        for (name, effects) in [
            ("DescribeTomorrow", "read"),
            ("BatchGetTomorrow", "read"),
            ("TerminateTomorrow", "delete"),
            ("DeleteTomorrow", "delete"),
            ("RegisterTomorrow", "write"),
            ("InvokeTomorrow", "write,exec"),
            ("GetTomorrowCredentials", "read,permission,secret"),
            ("CreateTomorrowToken", "write,permission,secret"),
            ("x", "write"),
        ] {
            let by_get = by_hosts(ec2, &format!("GET /?Action={name}"));
            let by_form = by_hosts(ec2, "POST /").form(&format!("Action={name}"));
            let by_target = by_hosts(ec2, "POST /")
                .typed("application/x-amz-json-1.1", b"{}")
                .header("x-amz-target", &format!("Service.{name}"));
            for request in [by_get, by_form, by_target] {
                assert_eq!(request.effects(), effects, "{} {name}", request.method);
                let known = request.judge();
                assert!(!known.routine && known.words.to_string().contains(name));
            }
        }
        // Where the path is an operation, it may be that one.
        let both = by_hosts("s3.eu-west-1.amazonaws.com", "POST /b?delete&Action=ListX");
        assert!(both.effects().contains("delete"), "{}", both.effects());
        // One of two names is known: it may be the other.
        let second = by_hosts(ec2, "GET /?Action=DescribeInstances&action=TerminateX");
        assert!(second.effects().contains("delete"), "{}", second.effects());
    }

    #[test]
    fn behind_some_hosts_somebodys_own_code_runs_by_any_method() {
        for host in [
            "abc.lambda-url.eu-west-1.on.aws",
            "abc.execute-api.eu-west-1.amazonaws.com",
        ] {
            let known = by_hosts(host, "GET /do/delete?all=1");
            assert!(!known.judge().routine, "{host}");
            assert_eq!(known.effects(), "read,write,exec", "{host}");
        }
        let unknown = by_hosts("newservice.eu-west-1.amazonaws.com", "GET /v1/x");
        assert_eq!(unknown.effects(), "read,write");
    }

    #[test]
    fn a_rule_for_a_path_does_not_lower_what_is_named_beside_it() {
        let with_rule = |host: &str, line: &str| {
            let mut draft = by_hosts(host, line);
            draft.account.effects = ["GET", "PUT"]
                .map(|method| EffectsRule {
                    method: method.into(),
                    path: "/**".into(),
                    effects: fx(&[Read]),
                })
                .into();
            draft
        };
        for (host, line, effect) in [
            (
                "iam.amazonaws.com",
                "GET /?Action=CreateAccessKey",
                "secret",
            ),
            ("ec2.eu-west-1.amazonaws.com", "GET /?Action=MintX", "write"),
            ("b.s3.eu-west-1.amazonaws.com", "PUT /k?acl", "permission"),
        ] {
            let known = with_rule(host, line);
            assert!(!known.judge().routine, "{line}");
            assert!(known.effects().contains(effect), "{}", known.effects());
        }
        let own = with_rule("abc.lambda-url.eu-west-1.on.aws", "GET /status");
        assert!(
            own.judge().routine,
            "the user's own code, by their own rule"
        );
    }
}
