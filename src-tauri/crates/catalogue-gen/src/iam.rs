//! IAM's access levels: a second source on what AWS's operations do.

use crate::source;
use countersign_catalogue::embedded::Level;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Levels by IAM prefix and action, lower case.
#[derive(Debug)]
pub(crate) struct Levels(BTreeMap<String, BTreeMap<String, Level>>);

/// Services whose IAM prefix is neither their signing name nor their id.
const PREFIXES: &[(&str, &str)] = &[
    ("apigatewayv2", "apigateway"),
    ("bedrock-agent-runtime", "bedrock"),
    ("bedrock-runtime", "bedrock"),
    ("connect-contact-lens", "connect"),
    ("docdb", "rds"),
    ("elbv2", "elasticloadbalancing"),
    ("emr", "elasticmapreduce"),
    ("iot-data", "iot"),
    ("keyspaces", "cassandra"),
    ("mturk", "mechanicalturk"),
    ("neptune", "rds"),
    ("opensearch", "es"),
    ("pinpoint-sms-voice-v2", "sms-voice"),
    ("s3control", "s3"),
    ("sesv2", "ses"),
    ("socialmessaging", "social-messaging"),
];

/// S3's operations whose IAM action has another name, lower case.
const S3: &[(&str, &str)] = &[
    ("completemultipartupload", "putobject"),
    ("copyobject", "putobject"),
    ("createmultipartupload", "putobject"),
    (
        "deletebucketanalyticsconfiguration",
        "putanalyticsconfiguration",
    ),
    ("deletebucketcors", "putbucketcors"),
    ("deletebucketencryption", "putencryptionconfiguration"),
    (
        "deletebucketintelligenttieringconfiguration",
        "putintelligenttieringconfiguration",
    ),
    (
        "deletebucketinventoryconfiguration",
        "putinventoryconfiguration",
    ),
    ("deletebucketlifecycle", "putlifecycleconfiguration"),
    (
        "deletebucketmetricsconfiguration",
        "putmetricsconfiguration",
    ),
    (
        "deletebucketownershipcontrols",
        "putbucketownershipcontrols",
    ),
    ("deletebucketreplication", "putreplicationconfiguration"),
    ("deletebuckettagging", "putbuckettagging"),
    ("deleteobjects", "deleteobject"),
    ("deletepublicaccessblock", "putbucketpublicaccessblock"),
    (
        "getbucketaccelerateconfiguration",
        "getaccelerateconfiguration",
    ),
    (
        "getbucketanalyticsconfiguration",
        "getanalyticsconfiguration",
    ),
    ("getbucketencryption", "getencryptionconfiguration"),
    (
        "getbucketintelligenttieringconfiguration",
        "getintelligenttieringconfiguration",
    ),
    (
        "getbucketinventoryconfiguration",
        "getinventoryconfiguration",
    ),
    ("getbucketlifecycle", "getlifecycleconfiguration"),
    (
        "getbucketlifecycleconfiguration",
        "getlifecycleconfiguration",
    ),
    ("getbucketmetricsconfiguration", "getmetricsconfiguration"),
    (
        "getbucketnotificationconfiguration",
        "getbucketnotification",
    ),
    ("getbucketreplication", "getreplicationconfiguration"),
    (
        "getobjectlockconfiguration",
        "getbucketobjectlockconfiguration",
    ),
    ("getpublicaccessblock", "getbucketpublicaccessblock"),
    ("headbucket", "listbucket"),
    ("headobject", "getobject"),
    (
        "listbucketanalyticsconfigurations",
        "getanalyticsconfiguration",
    ),
    (
        "listbucketintelligenttieringconfigurations",
        "getintelligenttieringconfiguration",
    ),
    (
        "listbucketinventoryconfigurations",
        "getinventoryconfiguration",
    ),
    ("listbucketmetricsconfigurations", "getmetricsconfiguration"),
    ("listbuckets", "listallmybuckets"),
    ("listmultipartuploads", "listbucketmultipartuploads"),
    ("listobjects", "listbucket"),
    ("listobjectsv2", "listbucket"),
    ("listobjectversions", "listbucketversions"),
    ("listparts", "listmultipartuploadparts"),
    (
        "putbucketaccelerateconfiguration",
        "putaccelerateconfiguration",
    ),
    (
        "putbucketanalyticsconfiguration",
        "putanalyticsconfiguration",
    ),
    ("putbucketencryption", "putencryptionconfiguration"),
    (
        "putbucketintelligenttieringconfiguration",
        "putintelligenttieringconfiguration",
    ),
    (
        "putbucketinventoryconfiguration",
        "putinventoryconfiguration",
    ),
    ("putbucketlifecycle", "putlifecycleconfiguration"),
    (
        "putbucketlifecycleconfiguration",
        "putlifecycleconfiguration",
    ),
    ("putbucketmetricsconfiguration", "putmetricsconfiguration"),
    (
        "putbucketnotificationconfiguration",
        "putbucketnotification",
    ),
    ("putbucketreplication", "putreplicationconfiguration"),
    (
        "putobjectlockconfiguration",
        "putbucketobjectlockconfiguration",
    ),
    ("putpublicaccessblock", "putbucketpublicaccessblock"),
    ("selectobjectcontent", "getobject"),
    ("uploadpart", "putobject"),
    ("uploadpartcopy", "putobject"),
];

impl Levels {
    /// Reads the package of IAM's data.
    pub(crate) fn read(package: &Path) -> Result<Self, String> {
        let mut all = BTreeMap::new();
        for file in source::files(&package.join("data/actions"), "json")? {
            let prefix = source::stem(&file);
            let actions: BTreeMap<String, Level> = source::json(&file)?
                .as_object()
                .into_iter()
                .flatten()
                .map(|(_, action)| {
                    let name = action["name"].as_str().unwrap_or_default();
                    (name.to_lowercase(), level(&action["accessLevel"]))
                })
                .collect();
            all.insert(prefix, actions);
        }
        Ok(Self(all))
    }

    /// The level of an operation, by the names under which IAM may have it.
    pub(crate) fn of(&self, service: &str, metadata: &Value, operation: &str) -> Level {
        let text = |name: &str| metadata[name].as_str().unwrap_or_default().to_lowercase();
        let id = text("serviceId");
        let alias = PREFIXES.iter().find(|(name, _)| *name == service);
        let prefixes = [
            alias
                .map(|(_, prefix)| (*prefix).to_owned())
                .unwrap_or_default(),
            text("signingName"),
            text("endpointPrefix"),
            service.to_owned(),
            id.replace(' ', "-"),
            id.replace(' ', ""),
            if service.starts_with("partnercentral") {
                "partnercentral".to_owned()
            } else {
                String::new()
            },
        ];
        let mut name = operation.to_lowercase();
        if service == "s3"
            && let Some((_, action)) = S3.iter().find(|(operation, _)| *operation == name)
        {
            name = (*action).to_owned();
        }
        let found = prefixes
            .iter()
            .find_map(|prefix| self.0.get(prefix)?.get(&name));
        found.copied().unwrap_or_default()
    }
}

fn level(text: &Value) -> Level {
    // The worst first, since several may stand there.
    let worst = [
        Level::Permissions,
        Level::Write,
        Level::Tagging,
        Level::Read,
        Level::List,
    ];
    let text = text.to_string();
    let found = worst.into_iter().find(|level| text.contains(level.word()));
    found.unwrap_or_default()
}
