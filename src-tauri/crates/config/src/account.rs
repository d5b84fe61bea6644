//! `[accounts.NAME]`
//!
//! `plaintext = true` is the one setting that lets requests, and a credential
//! with them, travel unencrypted. It changes the default port from 443 to 80,
//! excludes `ca`, and has a line of its own in the summary that a human accepts.

use crate::config::KindDefaults;
use crate::hosts::{self, Place};
use crate::parse::{Kinds, Limits, ReadFile};
use crate::problem::Problems;
use crate::section::{Section, Text, texts_of};
use crate::{paths, values};
use countersign_model::{
    Account, AccountId, AwsSettings, CredentialKind, Effect, Effects, EffectsRule, HostPattern,
    Provider,
};

/// Reads one account; `None` when it has a problem.
///
/// `at` is the place of its name, for what is missing altogether.
pub(crate) fn read(
    id: AccountId,
    at: usize,
    mut section: Section<'_>,
    kinds: &Kinds<'_>,
    read_file: &ReadFile<'_>,
    problems: &mut Problems<'_>,
) -> Option<Account> {
    let before = problems.count();
    let kind_text = section.string("kind", 64, problems);
    let kind = kind_text.and_then(|text| known_kind(text, kinds, problems));
    // Whether what a kind would say is to be missed; not so if it is itself wrong.
    let described = kind_text.is_some();

    let plaintext = section.boolean("plaintext", problems);
    let connect_to = section
        .string("connect_to", 300, problems)
        .and_then(|text| values::connect_to(text, problems));
    let aws = aws_settings(&mut section, problems);
    let place = if section.has("connect_to") {
        Place::Told
    } else {
        Place::Looked
    };
    let mut hosts = hosts_of(
        &mut section,
        kind_text.zip(kind.as_ref()),
        aws.as_ref(),
        place,
        problems,
    );
    hosts.extend(buckets_of(&mut section, aws.as_ref(), place, problems));
    if hosts.is_empty() && !section.has("hosts") && !described {
        problems.at(
            at,
            format!("expected `kind` or `hosts` in [accounts.{id}], found neither"),
        );
    }

    let credential_text = section.string("credential", 128, problems);
    let credential = match credential_text {
        Some(text) => values::credential(text, problems),
        None => kind.as_ref().map(|k| k.credential.clone()),
    };
    let credential = with_settings(credential, aws, at, &section, problems);
    if credential.is_none() && !section.has("credential") && !described {
        problems.at(
            at,
            format!(
                "expected `credential` in [accounts.{id}] (\"none\" if the host knows no \
                 credential), found none"
            ),
        );
    }

    let port = section
        .number("port", &(1..=u64::from(u16::MAX)), problems)
        .and_then(|port| u16::try_from(port).ok())
        .unwrap_or(if plaintext { 80 } else { 443 });
    let environment = section
        .string("environment", 64, problems)
        .and_then(|text| values::environment(text, problems))
        .unwrap_or_default();
    let tags = section
        .strings("tags", Limits::LABELS, problems)
        .into_iter()
        .filter_map(|tag| values::label(tag, "a tag", problems))
        .collect();
    let ca_text = section.string("ca", 200, problems);
    if let Some(text) = ca_text
        && plaintext
    {
        problems.at(
            text.at,
            "expected either `ca` or `plaintext = true`, found both",
        );
    }
    let ca_pem = ca_text.and_then(|text| values::ca(text, read_file, problems));
    let effects = effects_of(&mut section, problems);
    let forward_headers = match section.has("forward_headers") {
        true => section
            .strings("forward_headers", Limits::LABELS, problems)
            .into_iter()
            .filter_map(|name| values::forwarded_header(name, credential.as_ref(), problems))
            .collect(),
        false => {
            section.strings("forward_headers", 0, problems);
            kind.as_ref()
                .map(|k| k.forward_headers.clone())
                .unwrap_or_default()
        }
    };
    let token_text = section.string("token_url", 512, problems);
    if let Some(text) = token_text
        && credential
            .as_ref()
            .is_some_and(|c| *c != CredentialKind::Oauth2)
    {
        problems.at(
            text.at,
            "expected `token_url` only beside credential = \"oauth2\"",
        );
    }
    let own_token_url = token_text.and_then(|text| values::token_url(text, problems));
    let token_url = own_token_url.or_else(|| {
        let kept = credential == Some(CredentialKind::Oauth2);
        kind.as_ref()
            .filter(|_| kept)
            .and_then(|k| k.token_url.clone())
    });
    section.finish(problems);

    if problems.count() > before {
        return None;
    }
    Some(Account {
        id,
        provider: kind.map_or_else(|| Provider(Provider::PLAIN.to_owned()), |k| k.provider),
        hosts,
        port,
        environment,
        tags,
        credential: credential?,
        connect_to,
        ca_pem,
        plaintext,
        effects,
        forward_headers,
        token_url,
    })
}

/// `region` and `service`.
fn aws_settings(section: &mut Section<'_>, problems: &mut Problems<'_>) -> Option<AwsSettings> {
    let region = section.string("region", 32, problems);
    let service = section.string("service", 64, problems);
    Some(AwsSettings {
        region: region.and_then(|text| values::word(text, "a region", problems))?,
        service: service.and_then(|text| values::word(text, "a signing name", problems)),
    })
}

/// `buckets`: those of S3 that clients reach by hosts of their own.
fn buckets_of(
    section: &mut Section<'_>,
    aws: Option<&AwsSettings>,
    place: Place,
    problems: &mut Problems<'_>,
) -> Vec<HostPattern> {
    let mut hosts = Vec::new();
    for bucket in section.strings("buckets", Limits::HOSTS, problems) {
        let Some(AwsSettings { region, .. }) = aws else {
            problems.at(bucket.at, "expected `buckets` only beside `region`");
            continue;
        };
        // One label or several, as a bucket's name is; never a wildcard.
        let host = format!("{}.s3.{region}.amazonaws.com", bucket.value);
        match hosts::normalise(&host, place) {
            Ok(pattern) if pattern.wildcard_base().is_none() => hosts.push(pattern),
            _ => {
                let found = bucket.shown();
                problems.at(
                    bucket.at,
                    format!("expected the name of a bucket, found {found}"),
                );
            }
        }
    }
    hosts
}

/// An account of AWS has a region; another has neither region nor service.
fn with_settings(
    credential: Option<CredentialKind>,
    aws: Option<AwsSettings>,
    at: usize,
    section: &Section<'_>,
    problems: &mut Problems<'_>,
) -> Option<CredentialKind> {
    match (credential, aws) {
        (Some(CredentialKind::Aws(_)), Some(settings)) => Some(CredentialKind::Aws(settings)),
        (Some(CredentialKind::Aws(_)), None) => {
            if !section.has("region") {
                problems.at(
                    at,
                    "expected `region` beside credential = \"aws\", found none",
                );
            }
            None
        }
        (credential, _) => {
            for key in ["region", "service"] {
                if section.has(key) && credential.is_some() {
                    problems.at(
                        section.place(key),
                        format!("expected `{key}` only beside credential = \"aws\""),
                    );
                }
            }
            credential
        }
    }
}

fn known_kind(
    text: Text<'_>,
    kinds: &Kinds<'_>,
    problems: &mut Problems<'_>,
) -> Option<KindDefaults> {
    let kind = kinds(text.value);
    if kind.is_none() {
        let found = text.shown();
        problems.at(
            text.at,
            format!("expected a kind of account that the catalogue knows, found {found}"),
        );
    }
    kind
}

/// The account's own hosts, or else its kind's. Both obey the same rules.
fn hosts_of(
    section: &mut Section<'_>,
    kind: Option<(Text<'_>, &KindDefaults)>,
    aws: Option<&AwsSettings>,
    place: Place,
    problems: &mut Problems<'_>,
) -> Vec<HostPattern> {
    if !section.has("hosts") {
        section.strings("hosts", 0, problems);
        let Some((text, kind)) = kind else {
            return Vec::new();
        };
        let regional = aws.into_iter().flat_map(|aws| {
            let named = |host: &String| host.replace("{region}", &aws.region);
            kind.regional_hosts.iter().map(named)
        });
        let own = kind.hosts.iter().map(ToString::to_string);
        let mut patterns = Vec::new();
        for host in own.chain(regional) {
            match hosts::normalise(&host, place) {
                Ok(pattern) => patterns.push(pattern),
                Err(rule) => problems.at(text.at, rule),
            }
        }
        return patterns;
    }
    let before = problems.count();
    let texts = section.strings("hosts", Limits::HOSTS, problems);
    if texts.is_empty() && problems.count() == before {
        problems.at(
            section.place("hosts"),
            "expected at least one host in `hosts`, found none",
        );
    }
    let mut patterns: Vec<HostPattern> = Vec::with_capacity(texts.len());
    for text in texts {
        match hosts::normalise(text.value, place) {
            Ok(pattern) if patterns.contains(&pattern) => {
                problems.at(
                    text.at,
                    format!("expected each host once, found {pattern} again"),
                );
            }
            Ok(pattern) => patterns.push(pattern),
            Err(rule) => problems.at(text.at, rule),
        }
    }
    patterns
}

fn effects_of(section: &mut Section<'_>, problems: &mut Problems<'_>) -> Vec<EffectsRule> {
    let Some(table) = section.section("effects", problems) else {
        return Vec::new();
    };
    let found = table.entries().count();
    if found > Limits::EFFECTS {
        let limit = Limits::EFFECTS;
        problems.at(
            table.at(),
            format!("expected at most {limit} effects, found {found}"),
        );
        return Vec::new();
    }
    let mut rules = Vec::with_capacity(found);
    for (key, value) in table.entries() {
        let before = problems.count();
        let operation = paths::operation(key, problems);
        let words = texts_of(value, Effect::ALL.len(), problems);
        if words.is_empty() && problems.count() == before {
            problems.at(
                value.span().start,
                "expected at least one effect, found none",
            );
        }
        let mut effects = Effects::NONE;
        for word in words {
            match word.value.parse::<Effect>() {
                Ok(effect) => effects = effects.with(effect),
                Err(expected) => {
                    problems.at(word.at, format!("{expected}, found {}", word.shown()));
                }
            }
        }
        if let Some((method, path)) = operation {
            rules.push(EffectsRule {
                method,
                path,
                effects,
            });
        }
    }
    rules
}
