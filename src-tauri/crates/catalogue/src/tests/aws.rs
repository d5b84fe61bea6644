//! AWS by generated data: what is named, and what never goes alone.

use crate::testing::{Draft, draft};

fn at(host: &str, line: &str) -> Draft {
    draft("aws", line).at(host)
}

/// A request in AWS's query protocol.
fn query(host: &str, form: &str) -> Draft {
    at(host, "POST /").form(form)
}

/// A request in AWS's JSON protocol.
fn target(host: &str, target: &str, json: &str) -> Draft {
    at(host, "POST /")
        .typed("application/x-amz-json-1.1", json.as_bytes())
        .header("x-amz-target", target)
}

const EC2: &str = "ec2.eu-west-1.amazonaws.com";
const CLOUDFORMATION: &str = "cloudformation.eu-west-1.amazonaws.com";
const S3: &str = "s3.eu-west-1.amazonaws.com";
const BUCKET: &str = "photos.s3.eu-west-1.amazonaws.com";
const DYNAMODB: &str = "dynamodb.eu-west-1.amazonaws.com";

#[test]
fn the_sentence_says_what_happens_to_what_and_where() {
    let stack = query(
        CLOUDFORMATION,
        "Action=DeleteStack&Version=2010-05-15&StackName=prod-web",
    );
    assert_eq!(
        stack.words(),
        "Delete CloudFormation stack “prod-web” in “eu-west-1”"
    );
    assert_eq!(stack.judge().operation, "cloudformation:DeleteStack");
    assert_eq!(stack.effects(), "delete");
    let three = query(
        EC2,
        "Action=TerminateInstances&Version=2016-11-15&InstanceId.1=i-0a&InstanceId.2=i-0b&InstanceId.3=i-0c",
    );
    assert_eq!(
        three.words(),
        "Terminate 3 EC2 instances (“i-0a”, “i-0b” and “i-0c”) in “eu-west-1”"
    );
    assert_eq!(three.effects(), "delete,bulk");
    assert_eq!(three.judge().objects.count, Some(3));
    let one = query(
        EC2,
        "Action=TerminateInstances&Version=2016-11-15&InstanceId.1=i-0a",
    );
    assert_eq!(one.words(), "Terminate EC2 instance “i-0a” in “eu-west-1”");
    assert_eq!(one.effects(), "delete");
    let evil = query(
        CLOUDFORMATION,
        "Action=DeleteStack&StackName=x%E2%80%9D+and+nothing",
    );
    assert!(!evil.words().contains("x” and"), "{}", evil.words());
}

#[test]
fn reads_go_alone_in_every_protocol() {
    for (request, operation) in [
        (
            query(EC2, "Action=DescribeInstances&Version=2016-11-15"),
            "ec2:DescribeInstances",
        ),
        (
            at(EC2, "GET /?Action=DescribeInstances&Version=2016-11-15"),
            "ec2:DescribeInstances",
        ),
        (
            query(
                "sts.amazonaws.com",
                "Action=GetCallerIdentity&Version=2011-06-15",
            ),
            "sts:GetCallerIdentity",
        ),
        (
            target(DYNAMODB, "DynamoDB_20120810.ListTables", "{}"),
            "dynamodb:ListTables",
        ),
        (
            at(S3, "GET /photos/2026/a.jpg?x-id=GetObject"),
            "s3:GetObject",
        ),
        (at(BUCKET, "GET /2026/a.jpg"), "s3:GetObject"),
        (at(BUCKET, "GET /?list-type=2&prefix=a"), "s3:ListObjectsV2"),
        (at(BUCKET, "GET /?acl"), "s3:GetBucketAcl"),
        (at(S3, "GET /"), "s3:ListBuckets"),
        (
            at(
                "lambda.us-east-1.amazonaws.com",
                "GET /2015-03-31/functions",
            ),
            "lambda:ListFunctions",
        ),
    ] {
        let known = request.judge();
        assert_eq!(known.operation, operation);
        let expected = !known.effects.has(countersign_model::Effect::Secret);
        assert_eq!(
            known.routine, expected,
            "{operation}: {} {}",
            known.words, known.decided_by
        );
        assert!(
            expected || operation.starts_with("lambda"),
            "{operation} is secret"
        );
    }
}

/// Each with its host, its line or form, its operation and its effects.
#[test]
fn what_is_treacherous_is_named_and_never_goes_alone() {
    let monitoring = "monitoring.eu-west-1.amazonaws.com";
    let sqs = "sqs.eu-west-1.amazonaws.com";
    let iam = "iam.amazonaws.com";
    let mut wrong = Vec::new();
    for (request, operation, effects) in [
        (
            at(BUCKET, "POST /?delete"),
            "s3:DeleteObjects",
            "delete,bulk",
        ),
        (
            at(S3, "POST /photos?delete"),
            "s3:DeleteObjects",
            "delete,bulk",
        ),
        (at(BUCKET, "PUT /a.jpg"), "s3:PutObject", "write"),
        (
            at(BUCKET, "PUT /a.jpg").header("x-amz-copy-source", "/other/a"),
            "s3:CopyObject",
            "write",
        ),
        (
            at(BUCKET, "PUT /?lifecycle"),
            "s3:PutBucketLifecycleConfiguration",
            "write,delete,admin,bulk",
        ),
        (
            at(BUCKET, "PUT /?policy"),
            "s3:PutBucketPolicy",
            "write,permission",
        ),
        (at(BUCKET, "DELETE /a.jpg"), "s3:DeleteObject", "delete"),
        (at(BUCKET, "DELETE /"), "s3:DeleteBucket", "delete"),
        (
            target(sqs, "AmazonSQS.PurgeQueue", r#"{"QueueUrl":"q"}"#),
            "sqs:PurgeQueue",
            "delete,bulk",
        ),
        (
            query(sqs, "Action=PurgeQueue&QueueUrl=q"),
            "sqs:PurgeQueue",
            "delete,bulk",
        ),
        (
            target(
                DYNAMODB,
                "DynamoDB_20120810.BatchWriteItem",
                r#"{"RequestItems":{"t":[{"DeleteRequest":{}}]}}"#,
            ),
            "dynamodb:BatchWriteItem",
            "write,delete,bulk",
        ),
        (
            target(
                DYNAMODB,
                "DynamoDB_20120810.ExecuteStatement",
                r#"{"Statement":"DELETE FROM t"}"#,
            ),
            "dynamodb:ExecuteStatement",
            "write,delete,exec",
        ),
        (
            query(CLOUDFORMATION, "Action=UpdateStack&StackName=a"),
            "cloudformation:UpdateStack",
            "write,delete,permission",
        ),
        (
            query(
                "rds.eu-west-1.amazonaws.com",
                "Action=DeleteDBInstance&DBInstanceIdentifier=db&SkipFinalSnapshot=true",
            ),
            "rds:DeleteDBInstance",
            "delete",
        ),
        (
            query(EC2, "Action=ModifySnapshotAttribute&SnapshotId=s"),
            "ec2:ModifySnapshotAttribute",
            "write,publish,permission",
        ),
        (
            query(iam, "Action=AttachUserPolicy&UserName=u"),
            "iam:AttachUserPolicy",
            "permission,write",
        ),
        (
            query(EC2, "Action=RunInstances&ImageId=i"),
            "ec2:RunInstances",
            "write,spend,exec",
        ),
        (
            target(
                "kms.eu-west-1.amazonaws.com",
                "TrentService.ScheduleKeyDeletion",
                r#"{"KeyId":"k"}"#,
            ),
            "kms:ScheduleKeyDeletion",
            "delete,admin",
        ),
        (
            target(
                "cloudtrail.eu-west-1.amazonaws.com",
                "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.StopLogging",
                r#"{"Name":"t"}"#,
            ),
            "cloudtrail:StopLogging",
            "write,admin",
        ),
        (
            target("ssm.eu-west-1.amazonaws.com", "AmazonSSM.SendCommand", "{}"),
            "ssm:SendCommand",
            "write,publish,exec,bulk",
        ),
        (
            target(
                "ecs.eu-west-1.amazonaws.com",
                "AmazonEC2ContainerServiceV20141113.ExecuteCommand",
                "{}",
            ),
            "ecs:ExecuteCommand",
            "write,exec",
        ),
        (
            target(
                "logs.eu-west-1.amazonaws.com",
                "Logs_20140328.PutRetentionPolicy",
                r#"{"logGroupName":"g"}"#,
            ),
            "logs:PutRetentionPolicy",
            "write,delete,admin,bulk",
        ),
        (
            at(
                "route53.amazonaws.com",
                "POST /2013-04-01/hostedzone/Z1/rrset/",
            ),
            "route53:ChangeResourceRecordSets",
            "write,delete,publish,bulk",
        ),
        (
            query("sts.amazonaws.com", "Action=AssumeRole&RoleArn=r"),
            "sts:AssumeRole",
            "write,permission,secret",
        ),
        (
            query("sts.amazonaws.com", "Action=GetSessionToken"),
            "sts:GetSessionToken",
            "read,permission,secret",
        ),
        (
            target(
                "secretsmanager.eu-west-1.amazonaws.com",
                "secretsmanager.GetSecretValue",
                r#"{"SecretId":"s"}"#,
            ),
            "secretsmanager:GetSecretValue",
            "read,secret",
        ),
        (
            query(
                monitoring,
                "Action=DeleteAlarms&AlarmNames.member.1=a&AlarmNames.member.2=b",
            ),
            "cloudwatch:DeleteAlarms",
            "delete,bulk",
        ),
        (
            target(
                monitoring,
                "GraniteServiceVersion20100801.DeleteAlarms",
                r#"{"AlarmNames":["a"]}"#,
            ),
            "cloudwatch:DeleteAlarms",
            "delete",
        ),
        (
            at(
                monitoring,
                "POST /service/GraniteServiceVersion20100801/operation/DeleteAlarms",
            ),
            "cloudwatch:DeleteAlarms",
            "delete,bulk",
        ),
    ] {
        let known = request.judge();
        let mut wanted: Vec<&str> = effects.split(',').collect();
        let mut got: Vec<_> = known.effects.iter().map(|e| e.word()).collect();
        wanted.sort_unstable();
        got.sort_unstable();
        if known.operation != operation || got != wanted || known.routine {
            wrong.push(format!(
                "{operation} {wanted:?} is {} {got:?}",
                known.operation
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_names_its_operation_twice_is_judged_as_both_and_never_goes_alone() {
    let both =
        at(EC2, "POST /?Action=DescribeInstances").form("Action=TerminateInstances&InstanceId.1=i");
    assert!(
        both.effects().contains("delete") && !both.judge().routine,
        "{}",
        both.words()
    );
    for request in [
        at(EC2, "POST /?Action=DescribeInstances").form("Action=DescribeInstances"),
        at(
            EC2,
            "GET /?Action=DescribeInstances&Action=DescribeInstances",
        ),
        at(
            EC2,
            "GET /?Action=DescribeInstances&action=TerminateInstances",
        ),
        query(EC2, "Action=DescribeInstances&Action=DescribeInstances"),
        query(EC2, "Action=DescribeInstances").header("x-amz-target", "X.DescribeInstances"),
        target(DYNAMODB, "DynamoDB_20120810.ListTables", "{}")
            .header("x-amz-target", "DynamoDB_20120810.DeleteTable"),
        at(EC2, "POST /").typed("text/plain", b"Action=DescribeInstances"),
        at(S3, "GET /photos/a?Action=ListBuckets"),
        at(BUCKET, "GET /?acl&policy"),
        at(BUCKET, "GET /?acl&acl"),
        at(EC2, "GET /elsewhere?Action=DescribeInstances"),
        at(DYNAMODB, "PUT /")
            .typed("application/x-amz-json-1.0", b"{}")
            .header("x-amz-target", "DynamoDB_20120810.ListTables"),
        target(DYNAMODB, "DynamoDB_20120810.ListTables", r#"{"a":1,"a":2}"#),
        query(EC2, "Action=DescribeInstances").header("x-http-method-override", "DELETE"),
        query(EC2, "Action=DescribeInstances&DryRun=true&DryRun=false"),
    ] {
        let known = request.judge();
        assert!(
            !known.routine,
            "{} {}: {}",
            request.method, request.path, known.words
        );
    }
}

#[test]
fn what_is_not_known_asks() {
    for request in [
        query(EC2, "Action=DescribeTomorrow"),
        target(DYNAMODB, "DynamoDB_20120810.ListTomorrow", "{}"),
        at(
            "ec2.eu-west-1.example.com",
            "GET /?Action=DescribeInstances",
        ),
        at(
            "newservice.eu-west-1.amazonaws.com",
            "GET /?Action=DescribeInstances",
        ),
        at("iam.amazonaws.com", "GET /?Action=DescribeInstances"),
        at(S3, "GET /photos//a"),
        at(S3, "BREW /photos/a"),
    ] {
        let known = request.judge();
        assert!(!known.routine, "{}", known.words);
        assert!(
            known.decided_by.contains("not in the catalogue"),
            "{}",
            known.decided_by
        );
    }
    let named = query(EC2, "Action=DeleteTomorrow").judge();
    assert!(
        named.effects.has(countersign_model::Effect::Delete),
        "{}",
        named.words
    );
    assert!(named.words.to_string().contains("DeleteTomorrow"));
}

#[test]
fn a_credential_of_its_own_is_noticed() {
    let presigned = at(BUCKET, "GET /a?X-Amz-Signature=x&X-Amz-Credential=y").judge();
    assert!(!presigned.routine && presigned.effects.to_string() == "read, secret");
}

#[test]
fn a_body_that_only_carries_content_may_stream() {
    let account = draft("aws", "GET /").account;
    let needs = |method: &str, host: &str, path: &str, query| {
        crate::needs_body(&account, method, host, path, query, &[])
    };
    assert!(!needs("PUT", BUCKET, "/a.jpg", None));
    assert!(!needs(
        "PUT",
        BUCKET,
        "/a.jpg",
        Some("partNumber=1&uploadId=u")
    ));
    assert!(needs("PUT", BUCKET, "/", Some("policy")));
    assert!(needs("POST", BUCKET, "/", Some("delete")));
    assert!(needs("POST", EC2, "/", None));
}
