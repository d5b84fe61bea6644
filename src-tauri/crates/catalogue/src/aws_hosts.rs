//! Where a host of AWS is: its region, and the name by which its service is signed
//! for. Source: AWS General Reference, "Service endpoints and quotas".

use countersign_model::{AwsScope, AwsSettings};

/// The region of hosts that name none, by the same reference.
const GLOBAL: &str = "us-east-1";

/// Services whose hosts are called otherwise than what is signed, by the begin of
/// their hosts (`endpointPrefix` and `signingName` in AWS's service models). Sorted.
const SIGNING_NAMES: &[(&str, &str)] = &[
    ("a2i-runtime.sagemaker", "sagemaker"),
    ("admin.wickr", "wickr"),
    ("agent-registry-control", "agent-registry"),
    ("agreement-marketplace", "aws-marketplace"),
    ("api.detective", "detective"),
    ("api.ecr", "ecr"),
    ("api.ecr-public", "ecr-public"),
    ("api.iotdeviceadvisor", "iotdeviceadvisor"),
    ("api.iotmanagedintegrations", "iotmanagedintegrations"),
    ("api.iotwireless", "iotwireless"),
    ("api.mediatailor", "mediatailor"),
    ("api.pricing", "pricing"),
    ("api.sagemaker", "sagemaker"),
    ("api.tunneling.iot", "IoTSecuredTunneling"),
    ("appconfigdata", "appconfig"),
    ("appstream2", "appstream"),
    ("bedrock-agent", "bedrock"),
    ("bedrock-agent-runtime", "bedrock"),
    ("bedrock-agentcore-control", "bedrock-agentcore"),
    ("bedrock-data-automation", "bedrock"),
    ("bedrock-data-automation-runtime", "bedrock"),
    ("bedrock-runtime", "bedrock"),
    ("cassandra-streams", "cassandra"),
    ("catalog.marketplace", "aws-marketplace"),
    ("cloudhsmv2", "cloudhsm"),
    ("cloudsearchdomain", "cloudsearch"),
    ("cloudwatch-omni", "cloudwatch"),
    ("contact-lens", "connect"),
    ("controlplane.payment-cryptography", "payment-cryptography"),
    ("data-ats.iot", "iotdata"),
    ("data-signer", "signer"),
    ("data.jobs.iot", "iot-jobs-data"),
    ("data.mediastore", "mediastore"),
    ("data.qapps", "qapps"),
    ("dataplane.payment-cryptography", "payment-cryptography"),
    ("deployment-marketplace", "aws-marketplace"),
    ("discovery-marketplace", "aws-marketplace"),
    ("edge.sagemaker", "sagemaker"),
    ("email", "ses"),
    ("entitlement.marketplace", "aws-marketplace"),
    ("eventsv2", "events"),
    ("featurestore-runtime.sagemaker", "sagemaker"),
    ("forecastquery", "forecast"),
    ("gateway-runtime.sagemaker", "sagemaker"),
    ("iam-toolbox", "iam"),
    ("identity-chime", "chime"),
    ("inferencerouter-runtime.sagemaker", "sagemaker"),
    ("ingest.timestream", "timestream"),
    ("ivsrealtime", "ivs"),
    ("job-runtime.sagemaker", "sagemaker"),
    ("mail-manager", "ses"),
    ("media-pipelines-chime", "chime"),
    ("meetings-chime", "chime"),
    ("memory-db", "memorydb"),
    ("messaging-chime", "chime"),
    ("metering.marketplace", "aws-marketplace"),
    ("metrics.sagemaker", "sagemaker"),
    ("migrationhub-config", "mgh"),
    ("models-v2-lex", "lex"),
    ("models.lex", "lex"),
    ("oidc", "sso-oauth"),
    ("participant.connect", "execute-api"),
    ("partnercentral-prm", "partnercentral"),
    ("personalize-events", "personalize"),
    ("personalize-runtime", "personalize"),
    ("pinpoint", "mobiletargeting"),
    ("portal.sso", "awsssoportal"),
    ("query.timestream", "timestream"),
    ("reporting-marketplace", "aws-marketplace"),
    ("runtime-v2-lex", "lex"),
    ("runtime.lex", "lex"),
    ("runtime.sagemaker", "sagemaker"),
    ("s3-control", "s3"),
    ("servicecatalog-appregistry", "servicecatalog"),
    ("sms-voice.pinpoint", "sms-voice"),
    ("streams.dynamodb", "dynamodb"),
    ("training-session-runtime.sagemaker", "sagemaker"),
    ("voice-chime", "chime"),
];

/// Where the signature of a request to this host counts. `None` where neither the
/// host nor the account says which service it is.
#[must_use]
pub fn aws_scope(settings: &AwsSettings, host: &str) -> Option<AwsScope> {
    let Some((labels, global)) = labels(host) else {
        return Some(AwsScope {
            region: settings.region.clone(),
            service: settings.service.clone()?,
        });
    };
    let (region, before) = match labels.split_last() {
        // `bucket.s3.dualstack.eu-west-1`, `sqs.eu-west-1`
        Some((last, before)) if is_region(last) => ((*last).to_owned(), before),
        _ => (global.to_owned(), labels.as_slice()),
    };
    let service = service(before)?;
    Some(AwsScope { region, service })
}

/// What stands before the domain of AWS, and the region of its global services.
fn labels(host: &str) -> Option<(Vec<&str>, &'static str)> {
    let domains = [
        (".amazonaws.com", GLOBAL),
        (".amazonaws.com.cn", "cn-north-1"),
        (".api.aws", GLOBAL),
        (".on.aws", GLOBAL),
    ];
    let (rest, global) = domains
        .into_iter()
        .find_map(|(domain, global)| Some((host.strip_suffix(domain)?, global)))?;
    Some((rest.split('.').collect(), global))
}

/// `eu-west-1`, `us-gov-east-1`, `us-isob-east-1`
fn is_region(label: &str) -> bool {
    let parts: Vec<&str> = label.split('-').collect();
    let [area, middle @ .., number] = parts.as_slice() else {
        return false;
    };
    let letters = |text: &&str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase());
    area.len() == 2
        && letters(area)
        && !middle.is_empty()
        && middle.iter().all(letters)
        && number.len() == 1
        && number.bytes().all(|b| b.is_ascii_digit())
}

/// The signing name, of the labels before the region.
fn service(labels: &[&str]) -> Option<String> {
    let labels = match labels {
        [rest @ .., "dualstack"] => rest,
        labels => labels,
    };
    let plain = |label: &str| label.trim_end_matches("-fips").to_owned();
    let last = plain(labels.last()?);
    if let [.., before, _] = labels {
        let both = format!("{before}.{last}");
        if let Some(name) = signing_name(&both) {
            return Some(name.to_owned());
        }
    }
    let named = match last.as_str() {
        // The hosts of functions, and of buckets and access points.
        "lambda-url" => "lambda",
        "s3-accesspoint" | "s3-website" => "s3",
        last => signing_name(last).unwrap_or(last),
    };
    Some(named.to_owned())
}

fn signing_name(prefix: &str) -> Option<&'static str> {
    let found = SIGNING_NAMES.binary_search_by_key(&prefix, |(prefix, _)| prefix);
    found.ok().map(|at| SIGNING_NAMES[at].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(host: &str) -> String {
        let settings = AwsSettings {
            region: "eu-north-1".into(),
            service: None,
        };
        match aws_scope(&settings, host) {
            Some(AwsScope { region, service }) => format!("{service} {region}"),
            None => "nothing".into(),
        }
    }

    #[test]
    fn a_host_says_its_service_and_region() {
        for (host, said) in [
            ("ec2.eu-west-1.amazonaws.com", "ec2 eu-west-1"),
            ("sts.amazonaws.com", "sts us-east-1"),
            ("iam.amazonaws.com", "iam us-east-1"),
            ("s3.us-gov-west-1.amazonaws.com", "s3 us-gov-west-1"),
            ("a.b.s3.eu-west-1.amazonaws.com", "s3 eu-west-1"),
            ("bucket.s3.amazonaws.com", "s3 us-east-1"),
            (
                "bucket.s3.dualstack.eu-west-1.amazonaws.com",
                "s3 eu-west-1",
            ),
            (
                "123456789012.s3-control.eu-west-1.amazonaws.com",
                "s3 eu-west-1",
            ),
            (
                "bedrock-runtime.us-east-1.amazonaws.com",
                "bedrock us-east-1",
            ),
            (
                "runtime.sagemaker.us-east-1.amazonaws.com",
                "sagemaker us-east-1",
            ),
            ("api.ecr.eu-west-1.amazonaws.com", "ecr eu-west-1"),
            (
                "streams.dynamodb.eu-west-1.amazonaws.com",
                "dynamodb eu-west-1",
            ),
            ("kms-fips.us-east-2.amazonaws.com", "kms us-east-2"),
            (
                "abc.execute-api.eu-west-1.amazonaws.com",
                "execute-api eu-west-1",
            ),
            ("abc.lambda-url.eu-west-1.on.aws", "lambda eu-west-1"),
            ("ec2.eu-west-1.api.aws", "ec2 eu-west-1"),
            ("sqs.cn-north-1.amazonaws.com.cn", "sqs cn-north-1"),
            ("email.eu-west-1.amazonaws.com", "ses eu-west-1"),
            ("minio.corp.example", "nothing"),
            ("s3.eu-west-1.amazonaws.com.corp.example", "nothing"),
            ("evilamazonaws.com", "nothing"),
        ] {
            assert_eq!(scope(host), said, "{host}");
        }
    }

    #[test]
    fn a_host_that_is_not_of_aws_is_what_the_account_says() {
        let settings = AwsSettings {
            region: "eu-north-1".into(),
            service: Some("s3".into()),
        };
        let scope = aws_scope(&settings, "minio.corp.example").unwrap();
        assert_eq!(
            (scope.service.as_str(), scope.region.as_str()),
            ("s3", "eu-north-1")
        );
        // The host of AWS itself says it, whatever the account does.
        let scope = aws_scope(&settings, "sqs.eu-west-1.amazonaws.com").unwrap();
        assert_eq!(
            (scope.service.as_str(), scope.region.as_str()),
            ("sqs", "eu-west-1")
        );
    }

    #[test]
    fn the_names_are_in_order_so_that_they_can_be_searched() {
        assert!(SIGNING_NAMES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
