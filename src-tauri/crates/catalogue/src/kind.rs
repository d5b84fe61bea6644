//! The kinds of account that `kind = "…"` can name.

use countersign_model::{AwsSettings, CredentialKind};

/// What is known of a kind of account: where it is, how its credential is
/// presented, and what a run gets in the credential's place.
#[derive(Debug, Clone)]
pub struct Kind {
    /// The word of `kind = "…"`.
    pub name: &'static str,
    /// Who describes its operations: the account's `provider`.
    pub provider: &'static str,
    /// Its hosts, exact. A host that several products share is not among them.
    pub hosts: &'static [&'static str],
    /// Its hosts in the account's region, which stands for [`REGION`].
    pub regional_hosts: &'static [&'static str],
    /// How the credential is presented.
    pub credential: Presentation,
    /// OAuth 2: where access tokens are refreshed.
    pub token_url: Option<&'static str>,
    /// Token endpoints as (host, path). The gateway answers a POST to one of
    /// them by itself, with a placeholder, and never forwards it.
    pub token_endpoints: &'static [(&'static str, &'static str)],
    /// The hosts of [`Kind::token_endpoints`].
    pub token_hosts: &'static [&'static str],
    /// Request headers that its clients need beyond the common list, lower case.
    pub forward_headers: &'static [&'static str],
    /// Request headers that its clients make anew at each try, lower case,
    /// besides [`VOLATILE_HEADERS`]. They are left out when two requests are
    /// compared as questions, never when one is bound to a permit.
    pub volatile_headers: &'static [&'static str],
    /// Whether its replies say how many tokens they cost.
    pub costs_tokens: bool,
    /// What a run finds in place of the credential, in its environment.
    pub placeholders: &'static [Placeholder],
    /// Files that a run finds in place of the credential.
    pub placeholder_files: &'static [PlaceholderFile],
}

impl Kind {
    /// Whether a host is one of its own, in whatever region.
    #[must_use]
    pub fn has_host(&self, host: &str) -> bool {
        let regional = |pattern: &&str| {
            pattern.split_once(REGION).is_some_and(|(before, after)| {
                let region = host
                    .strip_prefix(before)
                    .and_then(|rest| rest.strip_suffix(after));
                region.is_some_and(|region| !region.is_empty() && !region.contains('.'))
            })
        };
        self.hosts.contains(&host) || self.regional_hosts.iter().any(regional)
    }
}

/// How a kind's credential is presented: a [`CredentialKind`] as constants can
/// hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presentation {
    /// [`CredentialKind::Bearer`]
    Bearer,
    /// [`CredentialKind::Basic`]
    Basic,
    /// [`CredentialKind::Header`]
    Header(&'static str),
    /// [`CredentialKind::Oauth2`]
    Oauth2,
    /// [`CredentialKind::Aws`], in the region where AWS's global services are.
    Aws,
    /// [`CredentialKind::None`]
    None,
}

impl Presentation {
    /// As an account has it.
    #[must_use]
    pub fn kind(self) -> CredentialKind {
        match self {
            Self::Bearer => CredentialKind::Bearer,
            Self::Basic => CredentialKind::Basic,
            Self::Header(name) => CredentialKind::Header(name.to_owned()),
            Self::Oauth2 => CredentialKind::Oauth2,
            Self::Aws => CredentialKind::Aws(AwsSettings {
                region: "us-east-1".to_owned(),
                service: None,
            }),
            Self::None => CredentialKind::None,
        }
    }
}

/// An environment variable that stands in for a credential: of the shape that
/// clients check for, and plainly not real. It opens nothing: the gateway
/// removes it from what a client sends, and adds the credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placeholder {
    /// Its name.
    pub variable: &'static str,
    /// Its value.
    pub value: &'static str,
    /// Only where the account's credential is presented like this: some clients
    /// choose by it what they send.
    pub only: Option<Presentation>,
}

impl Placeholder {
    /// Whether an account's run gets it.
    #[must_use]
    pub fn is_for(&self, credential: &CredentialKind) -> bool {
        self.only.is_none_or(|only| only.kind() == *credential)
    }
}

const fn instead(variable: &'static str, value: &'static str) -> Placeholder {
    Placeholder {
        variable,
        value,
        only: None,
    }
}

const fn only(presented: Presentation, variable: &'static str, value: &'static str) -> Placeholder {
    Placeholder {
        variable,
        value,
        only: Some(presented),
    }
}

/// A file that stands in for a credential, so that clients start at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlaceholderFile {
    /// The environment variable that holds its path.
    pub variable: &'static str,
    /// A name for the file.
    pub file_name: &'static str,
    /// What is in it.
    pub content: &'static str,
}

/// What stands for the account's region in [`Kind::regional_hosts`].
pub const REGION: &str = "{region}";

/// Request headers that clients of any kind make anew at each try.
pub const VOLATILE_HEADERS: &[&str] = &[
    "b3",
    "baggage",
    "date",
    "idempotency-key",
    "sec-websocket-key",
    "sentry-trace",
    "traceparent",
    "tracestate",
    "x-b3-spanid",
    "x-b3-traceid",
    "x-correlation-id",
    "x-request-id",
];

const SITE: Kind = Kind {
    name: "",
    provider: "http",
    hosts: &[],
    regional_hosts: &[],
    credential: Presentation::None,
    token_url: None,
    token_endpoints: &[],
    token_hosts: &[],
    forward_headers: &[],
    volatile_headers: &[],
    costs_tokens: false,
    placeholders: &[],
    placeholder_files: &[],
};

static KINDS: &[Kind] = &[
    Kind {
        name: "gmail",
        provider: "gmail",
        // Not www.googleapis.com, which also answers for Gmail: it is every
        // other Google product's host too, and the credential would reach them.
        hosts: &["gmail.googleapis.com"],
        regional_hosts: &[],
        credential: Presentation::Oauth2,
        token_url: Some("https://oauth2.googleapis.com/token"),
        token_endpoints: &[
            ("oauth2.googleapis.com", "/token"),
            ("accounts.google.com", "/o/oauth2/token"),
        ],
        token_hosts: &["oauth2.googleapis.com", "accounts.google.com"],
        forward_headers: &[
            "x-goog-api-client",
            "x-goog-user-project",
            "x-http-method-override",
            "x-upload-content-length",
            "x-upload-content-type",
        ],
        volatile_headers: &["x-goog-api-client"],
        costs_tokens: false,
        placeholders: &[],
        placeholder_files: &[PlaceholderFile {
            variable: "GOOGLE_APPLICATION_CREDENTIALS",
            file_name: "google-authorized-user.json",
            content: r#"{"type":"authorized_user","client_id":"countersign-placeholder","client_secret":"countersign-placeholder","refresh_token":"countersign-placeholder"}"#,
        }],
    },
    Kind {
        name: "github",
        provider: "github",
        hosts: &["api.github.com", "uploads.github.com"],
        credential: Presentation::Bearer,
        forward_headers: &["x-github-api-version", "x-github-next-global-id"],
        placeholders: &[
            instead("GH_TOKEN", "countersign-placeholder"),
            instead("GITHUB_TOKEN", "countersign-placeholder"),
        ],
        ..SITE
    },
    Kind {
        name: "github-git",
        provider: "github-git",
        // git over https, and nothing else of the site.
        hosts: &["github.com"],
        // `x-access-token:TOKEN`, as GitHub wants it of git.
        credential: Presentation::Basic,
        ..SITE
    },
    Kind {
        name: "slack",
        provider: "slack",
        // Not *.slack.com: workspaces and hooks live there.
        hosts: &["slack.com", "www.slack.com", "files.slack.com"],
        credential: Presentation::Bearer,
        placeholders: &[
            instead("SLACK_BOT_TOKEN", "xoxb-countersign-placeholder"),
            instead("SLACK_TOKEN", "xoxb-countersign-placeholder"),
        ],
        ..SITE
    },
    Kind {
        name: "aws",
        provider: "aws",
        // Exact, for beneath AWS's domains everybody has names: buckets by their own
        // names are for the account's `buckets`, what is not listed for its `hosts`.
        hosts: &[
            "cloudfront.amazonaws.com",
            "iam.amazonaws.com",
            "route53.amazonaws.com",
            "s3.amazonaws.com",
            "sts.amazonaws.com",
        ],
        regional_hosts: &[
            "acm.{region}.amazonaws.com",
            "api.ecr.{region}.amazonaws.com",
            "apigateway.{region}.amazonaws.com",
            "athena.{region}.amazonaws.com",
            "autoscaling.{region}.amazonaws.com",
            "backup.{region}.amazonaws.com",
            "batch.{region}.amazonaws.com",
            "bedrock.{region}.amazonaws.com",
            "bedrock-runtime.{region}.amazonaws.com",
            "cloudformation.{region}.amazonaws.com",
            "cloudtrail.{region}.amazonaws.com",
            "codebuild.{region}.amazonaws.com",
            "codecommit.{region}.amazonaws.com",
            "codedeploy.{region}.amazonaws.com",
            "codepipeline.{region}.amazonaws.com",
            "cognito-identity.{region}.amazonaws.com",
            "cognito-idp.{region}.amazonaws.com",
            "config.{region}.amazonaws.com",
            "dms.{region}.amazonaws.com",
            "dynamodb.{region}.amazonaws.com",
            "ec2.{region}.amazonaws.com",
            "ecs.{region}.amazonaws.com",
            "eks.{region}.amazonaws.com",
            "elasticache.{region}.amazonaws.com",
            "elasticbeanstalk.{region}.amazonaws.com",
            "elasticfilesystem.{region}.amazonaws.com",
            "elasticloadbalancing.{region}.amazonaws.com",
            "elasticmapreduce.{region}.amazonaws.com",
            "email.{region}.amazonaws.com",
            "es.{region}.amazonaws.com",
            "events.{region}.amazonaws.com",
            "firehose.{region}.amazonaws.com",
            "glue.{region}.amazonaws.com",
            "guardduty.{region}.amazonaws.com",
            "kafka.{region}.amazonaws.com",
            "kinesis.{region}.amazonaws.com",
            "kms.{region}.amazonaws.com",
            "lambda.{region}.amazonaws.com",
            "lightsail.{region}.amazonaws.com",
            "logs.{region}.amazonaws.com",
            "monitoring.{region}.amazonaws.com",
            "mq.{region}.amazonaws.com",
            "organizations.{region}.amazonaws.com",
            "pipes.{region}.amazonaws.com",
            "rds.{region}.amazonaws.com",
            "rds-data.{region}.amazonaws.com",
            "redshift.{region}.amazonaws.com",
            "redshift-data.{region}.amazonaws.com",
            "route53resolver.{region}.amazonaws.com",
            "s3.{region}.amazonaws.com",
            "s3-control.{region}.amazonaws.com",
            "scheduler.{region}.amazonaws.com",
            "secretsmanager.{region}.amazonaws.com",
            "securityhub.{region}.amazonaws.com",
            "servicediscovery.{region}.amazonaws.com",
            "sns.{region}.amazonaws.com",
            "sqs.{region}.amazonaws.com",
            "ssm.{region}.amazonaws.com",
            "states.{region}.amazonaws.com",
            "streams.dynamodb.{region}.amazonaws.com",
            "sts.{region}.amazonaws.com",
            "support.{region}.amazonaws.com",
            "tagging.{region}.amazonaws.com",
            "textract.{region}.amazonaws.com",
            "transcribe.{region}.amazonaws.com",
            "transfer.{region}.amazonaws.com",
            "translate.{region}.amazonaws.com",
            "wafv2.{region}.amazonaws.com",
            "xray.{region}.amazonaws.com",
        ],
        credential: Presentation::Aws,
        volatile_headers: &["amz-sdk-invocation-id", "amz-sdk-request"],
        // Buckets in the path, so that S3 has one host.
        placeholder_files: &[PlaceholderFile {
            variable: "AWS_CONFIG_FILE",
            file_name: "aws-config",
            content: "# countersign-placeholder\n[default]\ns3 =\n    addressing_style = path\n",
        }],
        ..SITE
    },
    Kind {
        name: "google",
        provider: "google",
        // Not gmail.googleapis.com, which has a kind of its own.
        hosts: &[
            "www.googleapis.com",
            "aiplatform.googleapis.com",
            "artifactregistry.googleapis.com",
            "bigquery.googleapis.com",
            "cloudbuild.googleapis.com",
            "cloudfunctions.googleapis.com",
            "cloudresourcemanager.googleapis.com",
            "compute.googleapis.com",
            "container.googleapis.com",
            "dns.googleapis.com",
            "docs.googleapis.com",
            "firestore.googleapis.com",
            "iam.googleapis.com",
            "iamcredentials.googleapis.com",
            "logging.googleapis.com",
            "monitoring.googleapis.com",
            "people.googleapis.com",
            "pubsub.googleapis.com",
            "run.googleapis.com",
            "secretmanager.googleapis.com",
            "serviceusage.googleapis.com",
            "sheets.googleapis.com",
            "slides.googleapis.com",
            "sqladmin.googleapis.com",
            "storage.googleapis.com",
            "tasks.googleapis.com",
        ],
        credential: Presentation::Oauth2,
        token_url: Some("https://oauth2.googleapis.com/token"),
        token_endpoints: &[
            ("oauth2.googleapis.com", "/token"),
            ("accounts.google.com", "/o/oauth2/token"),
        ],
        token_hosts: &["oauth2.googleapis.com", "accounts.google.com"],
        forward_headers: &[
            "x-goog-api-client",
            "x-goog-user-project",
            "x-http-method-override",
            "x-upload-content-length",
            "x-upload-content-type",
        ],
        volatile_headers: &["x-goog-api-client"],
        placeholder_files: &[PlaceholderFile {
            variable: "GOOGLE_APPLICATION_CREDENTIALS",
            file_name: "google-authorized-user.json",
            content: r#"{"type":"authorized_user","client_id":"countersign-placeholder","client_secret":"countersign-placeholder","refresh_token":"countersign-placeholder"}"#,
        }],
        ..SITE
    },
    Kind {
        name: "microsoft-graph",
        provider: "microsoft-graph",
        hosts: &["graph.microsoft.com"],
        credential: Presentation::Bearer,
        forward_headers: &["consistencylevel"],
        ..SITE
    },
    Kind {
        name: "gitlab",
        provider: "gitlab",
        // An installation of one's own says its `hosts`.
        hosts: &["gitlab.com"],
        credential: Presentation::Bearer,
        placeholders: &[instead("GITLAB_TOKEN", "countersign-placeholder")],
        ..SITE
    },
    Kind {
        name: "stripe",
        provider: "stripe",
        hosts: &["api.stripe.com"],
        credential: Presentation::Bearer,
        forward_headers: &["stripe-account", "stripe-version"],
        placeholders: &[instead("STRIPE_API_KEY", "sk_test_countersign-placeholder")],
        ..SITE
    },
    Kind {
        name: "cloudflare",
        provider: "cloudflare",
        hosts: &["api.cloudflare.com"],
        credential: Presentation::Bearer,
        placeholders: &[instead("CLOUDFLARE_API_TOKEN", "countersign-placeholder")],
        ..SITE
    },
    Kind {
        name: "anthropic",
        provider: "anthropic",
        hosts: &["api.anthropic.com"],
        // An API key. The token of a subscription (`claude setup-token`) is a
        // bearer: such an account says credential = "bearer".
        credential: Presentation::Header("x-api-key"),
        token_endpoints: &[
            ("console.anthropic.com", "/v1/oauth/token"),
            ("platform.claude.com", "/v1/oauth/token"),
        ],
        token_hosts: &["console.anthropic.com", "platform.claude.com"],
        forward_headers: &["anthropic-beta", "anthropic-version", "x-app"],
        costs_tokens: true,
        placeholders: &[
            only(
                Presentation::Header("x-api-key"),
                "ANTHROPIC_API_KEY",
                "sk-ant-api03-countersign-placeholder",
            ),
            only(
                Presentation::Bearer,
                "CLAUDE_CODE_OAUTH_TOKEN",
                "sk-ant-oat01-countersign-placeholder",
            ),
        ],
        ..SITE
    },
    Kind {
        name: "openai",
        provider: "openai",
        hosts: &["api.openai.com"],
        credential: Presentation::Bearer,
        token_endpoints: &[("auth.openai.com", "/oauth/token")],
        token_hosts: &["auth.openai.com"],
        forward_headers: &[
            "openai-beta",
            "openai-organization",
            "openai-project",
            "originator",
        ],
        costs_tokens: true,
        placeholders: &[
            instead("OPENAI_API_KEY", "sk-countersign-placeholder"),
            instead("CODEX_API_KEY", "sk-countersign-placeholder"),
        ],
        ..SITE
    },
    Kind {
        name: "google-ai",
        provider: "google-ai",
        hosts: &["generativelanguage.googleapis.com"],
        credential: Presentation::Header("x-goog-api-key"),
        forward_headers: &["x-goog-api-client"],
        volatile_headers: &["x-goog-api-client"],
        costs_tokens: true,
        placeholders: &[
            instead("GEMINI_API_KEY", "countersign-placeholder"),
            instead("GOOGLE_API_KEY", "countersign-placeholder"),
        ],
        ..SITE
    },
    Kind {
        name: "openrouter",
        provider: "openrouter",
        hosts: &["openrouter.ai"],
        credential: Presentation::Bearer,
        forward_headers: &["http-referer", "x-title"],
        costs_tokens: true,
        placeholders: &[instead(
            "OPENROUTER_API_KEY",
            "sk-or-v1-countersign-placeholder",
        )],
        ..SITE
    },
    Kind {
        name: "pypi",
        hosts: &["pypi.org", "files.pythonhosted.org"],
        ..SITE
    },
    Kind {
        name: "npm",
        hosts: &["registry.npmjs.org"],
        ..SITE
    },
    Kind {
        name: "crates-io",
        hosts: &["index.crates.io", "static.crates.io", "crates.io"],
        ..SITE
    },
    Kind {
        name: "debian",
        hosts: &[
            "deb.debian.org",
            "security.debian.org",
            "cdn-fastly.deb.debian.org",
        ],
        ..SITE
    },
];

/// Every kind, in the order in which they are listed to people.
#[must_use]
pub fn kinds() -> &'static [Kind] {
    KINDS
}

/// The kind of this name.
#[must_use]
pub fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_model::HostPattern;

    #[test]
    fn every_host_of_a_kind_is_exact_and_belongs_to_one_kind_only() {
        let mut seen = Vec::new();
        for kind in kinds() {
            let regional = kind.regional_hosts.iter();
            let regional = regional.map(|host| host.replace(REGION, "eu-west-1"));
            for host in kind.hosts.iter().map(ToString::to_string).chain(regional) {
                assert!(
                    HostPattern::new(&host).is_ok_and(|p| p.wildcard_base().is_none()),
                    "{host}"
                );
                assert!(kind.has_host(&host) && !kind.has_host(&format!("x.{host}")));
                assert!(!seen.contains(&host), "{host} belongs to two kinds");
                seen.push(host);
            }
        }
    }

    #[test]
    fn a_token_endpoint_never_lies_on_a_host_that_gets_the_credential() {
        for kind in kinds() {
            for (host, path) in kind.token_endpoints {
                assert!(!kind.hosts.contains(host) && path.starts_with('/'));
                assert!(kind.token_hosts.contains(host));
            }
            if let Some(url) = kind.token_url {
                let known = kind
                    .token_endpoints
                    .iter()
                    .any(|(h, p)| url == format!("https://{h}{p}"));
                assert!(known, "{url} is not answered by the gateway");
            }
        }
    }

    #[test]
    fn names_are_found_and_unique() {
        for k in kinds() {
            assert_eq!(kind(k.name).map(|found| found.hosts), Some(k.hosts));
        }
        assert!(kind("telegraph").is_none());
    }

    #[test]
    fn placeholders_are_plainly_not_real() {
        for kind in kinds() {
            let variables = kind.placeholders.iter().map(|each| each.value);
            let files = kind.placeholder_files.iter().map(|file| file.content);
            for text in variables.chain(files) {
                assert!(text.contains("countersign-placeholder"), "{text}");
            }
        }
    }
}
