//! AWS's own clients, with nothing but the placeholders of their run, before a
//! stand-in of AWS that knows one key and checks each signature by it.
//!
//! The stand-in is `moto`, which computes signatures with AWS's own library, so
//! that nothing of ours says whether ours are right.

use super::{done, ended, tools, write};
use countersign_testkit::Scene;
use countersign_testkit::upstream::{Reply, Seen, Upstream};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::FileExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const S3: &str = "s3.eu-west-1.amazonaws.com";
const HOSTS: [&str; 4] = [
    S3,
    "sts.eu-west-1.amazonaws.com",
    "dynamodb.eu-west-1.amazonaws.com",
    "sqs.eu-west-1.amazonaws.com",
];

/// Starts a stand-in that takes three requests from anybody: to make a user who may
/// do everything, and a key of theirs.
const SERVE: &str = r#"
import json, os, socket, sys, threading
os.environ.update(INITIAL_NO_AUTH_ACTION_COUNT='3', MOTO_S3_CUSTOM_ENDPOINTS='')
import boto3
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
server = make_server('127.0.0.1', 0, DomainDispatcherApplication(create_backend_app), threaded=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
iam = boto3.client('iam', endpoint_url=f'http://127.0.0.1:{server.port}', region_name='us-east-1',
                   aws_access_key_id='nobody', aws_secret_access_key='nobody')
iam.create_user(UserName='stand-in')
everything = {'Version': '2012-10-17', 'Statement': [{'Effect': 'Allow', 'Action': '*', 'Resource': '*'}]}
iam.put_user_policy(UserName='stand-in', PolicyName='all', PolicyDocument=json.dumps(everything))
key = iam.create_access_key(UserName='stand-in')['AccessKey']
iam = boto3.client('iam', endpoint_url=f'http://127.0.0.1:{server.port}', region_name='us-east-1',
                   aws_access_key_id=key['AccessKeyId'], aws_secret_access_key=key['SecretAccessKey'])
anybody = {'Version': '2012-10-17', 'Statement': [{'Effect': 'Allow', 'Action': 'sts:AssumeRole', 'Principal': {'AWS': '*'}}]}
iam.create_role(RoleName='worker', AssumeRolePolicyDocument=json.dumps(anybody))
iam.put_role_policy(RoleName='worker', PolicyName='all', PolicyDocument=json.dumps(everything))
print(server.port, key['AccessKeyId'] + ':' + key['SecretAccessKey'], flush=True)
sys.stdin.read()
"#;

/// The stand-in, behind TLS.
struct Cloud {
    process: Child,
    key: String,
    upstream: Upstream,
}

impl Cloud {
    fn start() -> Self {
        let mut process = Command::new(tools::python().join("bin/python3"))
            .args(["-c", SERVE])
            .env_remove("HTTP_PROXY")
            .env_remove("http_proxy")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(process.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        let (port, key) = line.trim().split_once(' ').unwrap();
        let port: u16 = port.parse().unwrap();
        let upstream = Upstream::start_for(&HOSTS, move |seen| passed_on(port, seen)).unwrap();
        Self {
            process,
            key: key.to_owned(),
            upstream,
        }
    }
    fn secret(&self) -> &str {
        self.key.split_once(':').unwrap().1
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        let _ended_already = self.process.kill();
        let _ended = self.process.wait();
    }
}

/// What the stand-in says to exactly this request.
fn passed_on(port: u16, seen: &Seen) -> Reply {
    let mut head = format!("{} {} HTTP/1.1\r\n", seen.method, seen.target).into_bytes();
    for (name, value) in &seen.headers {
        head.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    head.extend_from_slice(b"connection: close\r\n\r\n");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.write_all(&head).unwrap();
    stream.write_all(&seen.body).unwrap();
    let mut whole = Vec::new();
    stream.read_to_end(&mut whole).unwrap();
    let end = whole.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&whole[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let mut reply = Reply::status(status.parse().unwrap());
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        let framing = ["connection", "transfer-encoding"];
        if !framing.contains(&name.to_ascii_lowercase().as_str()) {
            reply = reply.with(&name.to_ascii_lowercase(), value);
        }
    }
    reply.body = whole[end + 4..].to_vec();
    reply
}

/// What asks about everything that is not alone would be in the way here.
const RULE: &str = r#"permit (principal, action, resource == Account::"cloud");"#;

/// A scene whose agent has an account at the stand-in.
fn scene(cloud: &Cloud) -> Scene {
    let mut scene = Scene::start(1).unwrap();
    let settings = "kind = \"aws\"\nregion = \"eu-west-1\"";
    let account = scene.account("cloud", settings, &cloud.upstream).unwrap();
    let text = scene.read_config().unwrap();
    let text = text.replace("[\"mail\"]", "[\"mail\", \"cloud\"]") + &account;
    let rule = scene.config().join("policies/cloud-alone.cedar");
    scene.desktop.person().write(&rule, RULE).unwrap();
    scene.accept(&text).unwrap();
    scene.set_credential("cloud", &cloud.key).unwrap();
    tools::copy_boto3(&scene);
    scene
}

const BOTO3: &str = r"
import hashlib, io, json, os, urllib.error, urllib.request
import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

s3 = boto3.client('s3')
where = {'LocationConstraint': 'eu-west-1'}
s3.create_bucket(Bucket='things', CreateBucketConfiguration=where)
def same(key, content):
    got = s3.get_object(Bucket='things', Key=key)['Body'].read()
    return hashlib.sha256(got).digest() == hashlib.sha256(content).digest()

# What a path may hold.
for key in ['plain', 'a b+c(d)/é~*!', 'a//b', '%41=&?#']:
    s3.put_object(Bucket='things', Key=key, Body=key.encode(), Metadata={'purpose': 'test  me'})
    print('object', same(key, key.encode()))
listed = s3.list_objects_v2(Bucket='things', Prefix='a', Delimiter='/', MaxKeys=7)
print('listed', listed['KeyCount'])

# In pieces, with a checksum behind them.
class Stream(io.BytesIO):
    pass
large = os.urandom(9 << 20)
s3.put_object(Bucket='things', Key='streamed', Body=Stream(large))
print('streamed', same('streamed', large))
unsigned = boto3.client('s3', config=Config(s3={'payload_signing_enabled': False}))
unsigned.put_object(Bucket='things', Key='unsigned', Body=b'not signed')
print('unsigned', same('unsigned', b'not signed'))

# In several uploads, and in several downloads.
parts = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
s3.upload_fileobj(io.BytesIO(large), 'things', 'parts', Config=parts)
s3.download_file('things', 'parts', 'downloaded', Config=parts)
print('parts', open('downloaded', 'rb').read() == large)
for key in ['plain', 'unsigned']:
    s3.delete_object(Bucket='things', Key=key)
print('deleted', s3.list_objects_v2(Bucket='things')['KeyCount'])

print('identity', boto3.client('sts').get_caller_identity()['Arn'])
table = boto3.client('dynamodb')
table.create_table(TableName='t', BillingMode='PAY_PER_REQUEST', KeySchema=[{'AttributeName': 'k', 'KeyType': 'HASH'}],
                   AttributeDefinitions=[{'AttributeName': 'k', 'AttributeType': 'S'}])
table.put_item(TableName='t', Item={'k': {'S': 'ü'}})
print('item', table.get_item(TableName='t', Key={'k': {'S': 'ü'}})['Item'])
print('queue', boto3.client('sqs').create_queue(QueueName='q')['QueueUrl'].endswith('/q'))

def refused(do):
    try:
        do()
    except ClientError as e:
        return e
    except urllib.error.HTTPError as e:
        return json.load(e)['detail']
url = s3.generate_presigned_url('get_object', Params={'Bucket': 'things', 'Key': 'streamed'})
print('presigned', refused(lambda: urllib.request.urlopen(url)))
other = boto3.client('sts', aws_access_key_id='ANOTHERKEY', aws_secret_access_key='found-somewhere')
print('other', refused(other.get_caller_identity))
for service, do in [('s3', 'list_buckets'), ('dynamodb', 'list_tables')]:
    other = boto3.client(service, aws_access_key_id='ANOTHERKEY', aws_secret_access_key='found-somewhere')
    print('other', refused(getattr(other, do)))
print('environment', dict(os.environ))
";

#[test]
fn boto3_works_with_placeholders_and_every_signature_that_arrives_is_right() {
    let cloud = Cloud::start();
    let scene = scene(&cloud);
    write(&scene, "client.py", BOTO3);
    let told = done(&scene, "PYTHONPATH=python /usr/bin/python3 client.py");
    for line in [
        "listed 2",
        "streamed True",
        "unsigned True",
        "parts True",
        "deleted 5",
        "identity arn:aws:iam::123456789012:user/stand-in",
        "item {'k': {'S': 'ü'}}",
        "queue True",
    ] {
        assert!(told.lines().any(|l| l == line), "{line}: {told}");
    }
    assert_eq!(told.matches("object True").count(), 4, "{told}");
    assert!(
        told.contains("presigned Presigned URLs are not supported here"),
        "{told}"
    );
    assert!(
        told.contains("'AWS_SECRET_ACCESS_KEY': 'countersign-placeholder-"),
        "{told}"
    );
    assert!(!told.contains(cloud.secret()), "{told}");
    let seen = cloud.upstream.seen();
    assert!(seen.len() > 20);
    for request in &seen {
        let text = format!("{:?}", request.headers);
        assert!(!text.contains("COUNTERSIGN"), "{text}");
        assert!(
            request.status < 300,
            "{} {}",
            request.target,
            request.status
        );
        // Of S3, that the body is signed too.
        if request.header("host") == Some(S3) {
            let digest = countersign_model::Digest::of(&request.body).to_string();
            assert_eq!(
                request.header("x-amz-content-sha256"),
                Some(digest.as_str())
            );
        }
    }
}

/// The key itself is in no file, and not in the memory of the process that parses
/// what the agent sends; the placeholder, which is there, shows that it was looked at.
#[test]
fn the_secret_key_is_not_in_the_gateways_memory_nor_in_any_file() {
    let cloud = Cloud::start();
    let scene = scene(&cloud);
    let script = "PYTHONPATH=python /usr/bin/python3 -c \"
import boto3, os, time
print(boto3.client('sts').get_caller_identity()['Arn'])
open('placeholder', 'w').write(os.environ['AWS_SECRET_ACCESS_KEY'])
open('asked', 'w').close()
while not os.path.exists('over'): time.sleep(0.05)\"";
    let agent = scene.run(&["sh", "-ec", script]).unwrap();
    let work = scene.work().unwrap();
    let began = Instant::now();
    while !work.join("asked").exists() {
        assert!(began.elapsed() < Duration::from_secs(60), "it never asked");
        std::thread::sleep(Duration::from_millis(20));
    }
    let placeholder = fs::read(work.join("placeholder")).unwrap();
    let secret = cloud.secret().as_bytes();
    // Nobody but root can look into it.
    if scene.desktop.person().is_another() {
        let memory = memory_of_gateways(scene.authority.pid());
        assert!(
            holds(&memory, &placeholder),
            "the wrong memory was looked at"
        );
        assert!(
            !holds(&memory, secret),
            "the key is in the gateway's memory"
        );
    }
    write(&scene, "over", "");
    assert!(ended(agent).contains("arn:aws:iam"));
    let mut searched = 0;
    let mut folders = vec![scene.desktop.folder().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                let bytes = fs::read(entry.path()).unwrap_or_default();
                searched += bytes.len();
                assert!(!holds(&bytes, secret), "{}", entry.path().display());
            }
        }
    }
    assert!(searched > 500_000, "only {searched} bytes were searched");
}

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    let first = wanted[0];
    let begins = bytes.iter().enumerate().filter(|(_, byte)| **byte == first);
    let mut begins = begins.map(|(at, _)| &bytes[at..]);
    begins.any(|rest| rest.starts_with(wanted))
}

/// All that the gateways of an authority have written to.
fn memory_of_gateways(authority: u32) -> Vec<u8> {
    let mut memory = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let process = entry.path();
        let text = |name: &str| fs::read(process.join(name)).unwrap_or_default();
        let command = text("cmdline");
        let status = String::from_utf8_lossy(&text("status")).into_owned();
        let is_gateway = command.split(|b| *b == 0).nth(1) == Some(b"gateway-of-a-run")
            && status.contains(&format!("\nPPid:\t{authority}\n"));
        let Some(file) = is_gateway.then(|| fs::File::open(process.join("mem")).unwrap()) else {
            continue;
        };
        for line in String::from_utf8_lossy(&text("maps")).lines() {
            let mut words = line.split(' ');
            let (range, rights) = (words.next().unwrap(), words.next().unwrap());
            if !rights.starts_with("rw") {
                continue;
            }
            let (from, to) = range.split_once('-').unwrap();
            let at = |text: &str| u64::from_str_radix(text, 16).unwrap();
            let mut piece = vec![0; usize::try_from(at(to) - at(from)).unwrap()];
            if file.read_exact_at(&mut piece, at(from)).is_ok() {
                memory.extend_from_slice(&piece);
            }
        }
    }
    memory
}

#[test]
fn a_run_acts_as_the_role_that_the_vault_has_assumed() {
    let cloud = Cloud::start();
    let mut scene = scene(&cloud);
    let (id, secret) = cloud.key.split_once(':').unwrap();
    let role = serde_json::json!({
        "AccessKeyId": id, "SecretAccessKey": secret,
        "RoleArn": "arn:aws:iam::123456789012:role/worker",
    });
    scene.set_credential("cloud", &role.to_string()).unwrap();
    let script = "PYTHONPATH=python /usr/bin/python3 -c \"
import boto3
for _ in range(3): print(boto3.client('sts').get_caller_identity()['Arn'])
s3 = boto3.client('s3')
s3.create_bucket(Bucket='things', CreateBucketConfiguration={'LocationConstraint': 'eu-west-1'})
s3.put_object(Bucket='things', Key='k', Body=b'v')
print(s3.get_object(Bucket='things', Key='k')['Body'].read())\"";
    let told = done(&scene, script);
    let acts = "arn:aws:sts::123456789012:assumed-role/worker/countersign";
    assert_eq!(told.matches(acts).count(), 3, "{told}");
    assert!(told.contains("b'v'"), "{told}");
    let seen = cloud.upstream.seen();
    let assumed = |s: &&Seen| String::from_utf8_lossy(&s.body).contains("Action=AssumeRole");
    assert_eq!(seen.iter().filter(assumed).count(), 1, "once is enough");
    for request in seen.iter().filter(|s| !assumed(s)) {
        assert!(request.header("x-amz-security-token").is_some());
    }
}

/// So that the stand-in is known to tell a wrong signature from a right one.
#[test]
fn a_credential_that_is_not_the_services_is_not_taken_by_it() {
    let cloud = Cloud::start();
    let mut scene = scene(&cloud);
    let (id, _) = cloud.key.split_once(':').unwrap();
    let wrong = format!("{id}:plainly-not-the-right-one");
    scene.set_credential("cloud", &wrong).unwrap();
    let script = "PYTHONPATH=python /usr/bin/python3 -c \"
import boto3
try: print(boto3.client('sts').get_caller_identity())
except Exception as e: print('refused', e)\"";
    let told = done(&scene, script);
    assert!(told.contains("refused"), "{told}");
    let seen = cloud.upstream.seen();
    assert!(seen.iter().all(|s| s.status == 403) && !seen.is_empty());
}

const NODE: &str = r"
import { STSClient, GetCallerIdentityCommand } from '@aws-sdk/client-sts';
console.log((await new STSClient({ maxAttempts: 1 }).send(new GetCallerIdentityCommand({}))).Arn);
";

#[test]
fn the_sdk_for_javascript_works_with_placeholders_and_its_read_goes_alone() {
    let cloud = Cloud::start();
    let mut scene = scene(&cloud);
    // Without the rule.
    fs::remove_file(scene.config().join("policies/cloud-alone.cedar")).unwrap();
    let text = scene.read_config().unwrap();
    scene.accept(&text).unwrap();
    write(&scene, "client.mjs", NODE);
    tools::copy_node_modules(&scene);
    let agent = scene.run(&["node", "client.mjs"]).unwrap();
    let told = ended(agent);
    assert!(
        told.contains("arn:aws:iam::123456789012:user/stand-in"),
        "{told}"
    );
}
