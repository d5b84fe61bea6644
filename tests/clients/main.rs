//! The clients that agents really use, contained, as they are: what they ask for
//! goes through the gateway, and what they get is what they know to deal with.
//!
//! Each is run as its user would run it. Those that heed proxies are run once more
//! without a variable that tells them of one: then names lead them to the gateway.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on has failed

mod aws;
mod git;
mod packages;
mod tools;

use countersign_testkit::Scene;
use countersign_testkit::scene::said;
use countersign_testkit::upstream::{Reply, Upstream};
use serde_json::json;
use std::fs;
use std::process::Child;

/// An account or a site, in `countersign.toml`.
struct Place<'a> {
    name: &'a str,
    settings: String,
    upstream: &'a Upstream,
    credential: Option<&'a str>,
}

/// A scene whose agent may also use these.
fn scene(places: &[Place<'_>]) -> Scene {
    let mut scene = Scene::start(3).unwrap();
    if places.is_empty() {
        return scene;
    }
    let mut config = scene.read_config().unwrap();
    let names: Vec<String> = places.iter().map(|p| format!(", {:?}", p.name)).collect();
    let all = format!("accounts = [\"mail\"{}]", names.concat());
    config = config.replace("accounts = [\"mail\"]", &all);
    for place in places {
        config += &scene
            .account(place.name, &place.settings, place.upstream)
            .unwrap();
    }
    scene.accept(&config).unwrap();
    for place in places {
        if let Some(credential) = place.credential {
            scene.set_credential(place.name, credential).unwrap();
        }
    }
    scene
}

/// A site without a credential.
fn site<'a>(name: &'a str, upstream: &'a Upstream) -> Place<'a> {
    Place {
        name,
        settings: format!("hosts = [{:?}]\ncredential = \"none\"", upstream.host()),
        upstream,
        credential: None,
    }
}

/// Puts a file into the agent's working folder.
fn write(scene: &Scene, name: &str, content: &str) {
    let path = scene.work().unwrap().join(name);
    scene.desktop.person().write(&path, content).unwrap();
}

/// What a script printed that must succeed.
fn done(scene: &Scene, script: &str) -> String {
    ended(scene.run(&["sh", "-ec", script]).unwrap())
}

fn ended(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

/// Without the variables that tell of a proxy or a CA.
const BARE: &str = "env -i PATH=\"$PATH\" HOME=\"$HOME\"";

const PYTHON: &str = r#"
import asyncio, http.client, json, sys, urllib.request
import aiohttp, httplib2, httpx, requests
from googleapiclient.discovery import build_from_document
from google.auth.credentials import AnonymousCredentials
from google_auth_httplib2 import AuthorizedHttp
try:
    import socks
    raise SystemExit('PySocks is there')
except ImportError:
    pass
PATH = '/gmail/v1/users/me/messages'
URL = 'https://gmail.googleapis.com' + PATH
STRANGER = 'https://not-assigned.example/'

async def by_aiohttp(url):
    async with aiohttp.ClientSession() as session, session.get(url) as reply:
        return await reply.text()
async def by_httpx_async(url):
    async with httpx.AsyncClient() as client:
        return (await client.get(url)).text
def by_http_client(url):
    host, path = url.removeprefix('https://').split('/', 1)
    connection = http.client.HTTPSConnection(host)
    connection.request('GET', '/' + path)
    return connection.getresponse().read().decode()
def by_google(url):
    description = {
        'kind': 'discovery#restDescription', 'name': 'gmail', 'version': 'v1',
        'rootUrl': url.split('gmail/v1')[0], 'servicePath': '', 'batchPath': 'batch',
        'resources': {'messages': {'methods': {'list': {
            'id': 'gmail.messages.list', 'path': 'gmail/v1/users/me/messages', 'httpMethod': 'GET',
            'parameters': {}, 'response': {'$ref': 'Any'}}}}},
        'schemas': {'Any': {'id': 'Any', 'type': 'object'}},
    }
    service = build_from_document(json.dumps(description), http=AuthorizedHttp(AnonymousCredentials()))
    return json.dumps(service.messages().list().execute())
clients = {
    'requests': lambda url: requests.get(url).text,
    'httpx': lambda url: httpx.get(url).text,
    'httpx-async': lambda url: asyncio.run(by_httpx_async(url)),
    'aiohttp': lambda url: asyncio.run(by_aiohttp(url)),
    'urllib': lambda url: urllib.request.urlopen(url).read().decode(),
    'http.client': by_http_client,
    'httplib2': lambda url: httplib2.Http().request(url)[1].decode(),
    'google': by_google,
}
for name, get in clients.items():
    try:
        found = 'messages' in json.loads(get(URL))
    except Exception as e:
        found = repr(e)
    try:
        said = 'reached' if name == 'google' else get(STRANGER)
    except Exception as e:
        said = repr(e)
    print(name, found, said)
"#;

#[test]
fn pythons_clients_read_whether_they_know_proxies_or_not() {
    let scene = scene(&[]);
    write(&scene, "clients.py", PYTHON);
    for how in ["", BARE] {
        let told = done(&scene, &format!("{how} /usr/bin/python3 clients.py"));
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines.len(), 8, "{told}");
        for line in lines {
            let (name, rest) = line.split_once(' ').unwrap();
            assert!(rest.starts_with("True "), "{how} {line}");
            // A refusal is told as the client tells it.
            let refused = name == "google"
                || ["ACCESS_DENIED", "access denied", "403", "not-assigned"]
                    .iter()
                    .any(|word| rest.contains(word));
            assert!(refused, "{how} {line}");
        }
    }
    let seen = scene.mailbox.upstream.seen();
    assert_eq!(seen.len(), 16);
    assert!(seen.iter().all(|s| s.bears(&scene.credential)));
}

/// What AWS's token service says of whoever asks.
const IDENTITY: &str = r#"<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Arn>arn:aws:iam::000000000000:user/stand-in</Arn><UserId>STANDIN</UserId><Account>000000000000</Account></GetCallerIdentityResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></GetCallerIdentityResponse>"#;

const NODE: &str = r"
import { STSClient, GetCallerIdentityCommand } from '@aws-sdk/client-sts';
const reply = await fetch('https://gmail.googleapis.com/gmail/v1/users/me/messages');
console.log('fetch', reply.status, Object.keys(await reply.json()));
const client = new STSClient({
  endpoint: 'https://sts.cloud.example', region: 'eu-central-1', maxAttempts: 1,
  credentials: { accessKeyId: 'PLACEHOLDER', secretAccessKey: 'placeholder' },
});
for (const _ of [1, 2]) {
  try {
    console.log('sdk', (await client.send(new GetCallerIdentityCommand({}))).Arn);
  } catch (e) {
    console.log('sdk', e.$response?.statusCode ?? e.$metadata?.httpStatusCode, e.name);
  }
}
";

#[test]
fn nodes_fetch_and_the_sdk_of_aws_come_without_a_proxy_and_are_judged() {
    let sts = Upstream::start("sts.cloud.example", |_| {
        let mut reply = Reply::status(200).with("content-type", "text/xml");
        reply.body = IDENTITY.into();
        reply
    })
    .unwrap();
    let mut scene = scene(&[site("cloud", &sts)]);
    write(&scene, "client.mjs", NODE);
    tools::copy_node_modules(&scene);
    let from = scene.authority.screen().len();
    let agent = scene.run(&["node", "client.mjs"]).unwrap();
    // It sends a POST, which nobody knows to be a read.
    let asked = scene.authority.approve(from).unwrap();
    assert!(asked.contains("sts.cloud.example"), "{asked}");
    let from = scene.authority.screen().len();
    scene.authority.wait_for("Approve? [y/N] ", from).unwrap();
    scene.authority.type_line("n").unwrap();
    let told = ended(agent);
    assert!(told.contains("fetch 200 [ 'messages'"), "{told}");
    assert!(
        told.contains("sdk arn:aws:iam::000000000000:user/stand-in"),
        "{told}"
    );
    assert!(told.contains("sdk 403"), "{told}");
    assert_eq!(sts.count(), 1, "what was denied did not arrive");
}

#[test]
fn curl_and_wget_read_through_the_proxy_and_without_one() {
    let scene = scene(&[]);
    let url = "https://gmail.googleapis.com/gmail/v1/users/me/messages";
    let told = done(
        &scene,
        &format!(
            "curl -sSf -o /dev/null -w 'a %{{http_version}} %{{http_code}}\n' {url}
             curl -sSf --noproxy '*' -o /dev/null -w 'b %{{http_version}} %{{http_code}}\n' {url}
             curl -sSf --noproxy '*' --http1.1 -o /dev/null -w 'c %{{http_version}} %{{http_code}}\n' {url}
             wget -q -O - {url} | grep -c messages
             wget -q --no-proxy -O - {url} | grep -c messages
             {BARE} curl -sSf -o /dev/null -w 'd %{{http_code}}\n' {url}
             curl -sS --noproxy '*' https://not-assigned.example/ 2>&1 || echo e $?
             curl -sS --noproxy '*' http://not-assigned.example/ | grep -c 'not-assigned'"
        ),
    );
    for line in ["a 2 200", "b 2 200", "c 1.1 200", "d 200", "e 35"] {
        assert!(told.lines().any(|l| l == line), "{line}: {told}");
    }
    assert_eq!(
        told.lines().filter(|line| *line == "1").count(),
        3,
        "{told}"
    );
    assert!(told.contains("access denied"), "{told}");
    assert!(
        scene
            .mailbox
            .upstream
            .seen()
            .iter()
            .all(|s| s.bears(&scene.credential))
    );
}

#[test]
fn gh_works_with_a_placeholder_for_its_token() {
    let token = "stand-in-for-a-token-of-github";
    let github = Upstream::start("api.github.com", move |seen| {
        if !seen.bears(token) {
            return Reply::status(401);
        }
        Reply::json(200, &json!({"login": "somebody", "id": 1}))
    })
    .unwrap();
    let scene = scene(&[Place {
        name: "code",
        settings: "kind = \"github\"\ncredential = \"bearer\"".into(),
        upstream: &github,
        credential: Some(token),
    }]);
    let told = done(
        &scene,
        "gh api user --jq .login
         unset HTTPS_PROXY https_proxy HTTP_PROXY http_proxy ALL_PROXY all_proxy
         gh api user --jq .login",
    );
    assert_eq!(told, "somebody\nsomebody\n");
    assert_eq!(github.count(), 2);
}

/// `gron` is written in Go and heeds no proxy; it prints JSON as assignments.
#[test]
fn a_go_program_that_ignores_proxies_is_judged_and_one_that_is_refused_is_told() {
    let scene = scene(&[]);
    let told = done(
        &scene,
        &format!(
            "url=https://gmail.googleapis.com/gmail/v1/users/me/messages
             gron --monochrome $url | head -n 2
             {BARE} gron --monochrome $url | head -n 2
             gron https://not-assigned.example/ 2>&1 || echo e $?"
        ),
    );
    let found = told.matches("json = {};\njson.messages = [];\n").count();
    assert_eq!(found, 2, "{told}");
    assert!(told.contains("access denied"), "{told}");
    let seen = scene.mailbox.upstream.seen();
    assert!(seen.len() == 2 && seen.iter().all(|s| s.bears(&scene.credential)));
}

const JAVA: &str = r#"
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;

public class Client {
    public static void main(String[] urls) throws Exception {
        for (String url : urls) {
            try {
                var reply = HttpClient.newHttpClient()
                    .send(HttpRequest.newBuilder(URI.create(url)).build(), BodyHandlers.ofString());
                System.out.println(reply.statusCode() + " " + reply.body().contains("\"messages\""));
            } catch (java.io.IOException e) {
                System.out.println(e.getMessage());
            }
        }
    }
}
"#;

#[test]
fn java_trusts_the_runs_ca_with_settings_and_without() {
    let scene = scene(&[]);
    write(&scene, "Client.java", JAVA);
    let urls =
        "https://gmail.googleapis.com/gmail/v1/users/me/messages https://not-assigned.example/";
    let told = done(
        &scene,
        &format!(
            "javac Client.java
             java Client {urls} 2>/dev/null
             {BARE} java Client {urls}"
        ),
    );
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(
        lines.iter().filter(|line| **line == "200 true").count(),
        2,
        "{told}"
    );
    assert!(told.contains("access_denied"), "{told}");
    let seen = scene.mailbox.upstream.seen();
    assert!(seen.len() == 2 && seen.iter().all(|s| s.bears(&scene.credential)));
}

#[test]
fn git_clones_and_fetches_alone_and_asks_to_push() {
    let served = tempfile::tempdir().unwrap();
    let token = "stand-in-for-a-token-of-a-forge";
    let forge = git::serve("git.corp.example", served.path(), token);
    let mut scene = scene(&[Place {
        name: "forge",
        settings: "hosts = [\"git.corp.example\"]\ncredential = \"bearer\"\n\
                   effects.\"POST /team/project.git/git-upload-pack\" = [\"read\"]"
            .into(),
        upstream: &forge,
        credential: Some(token),
    }]);
    let url = "https://git.corp.example/team/project.git";
    let told = done(
        &scene,
        &format!(
            "git clone -q {url} by-proxy
             {BARE} git clone -q {url} without
             cat by-proxy/README without/README"
        ),
    );
    assert_eq!(told, "first\nfirst\n");
    git::commit(served.path(), "second");
    let from = scene.authority.screen().len();
    let agent = scene
        .run(&[
            "sh",
            "-ec",
            "cd by-proxy; git fetch -q; git merge -q --ff-only origin/main; cat README
             echo third > README
             git -c user.name=n -c user.email=e@example.com commit -qam third
             git push -q origin main",
        ])
        .unwrap();
    let asked = scene.authority.approve(from).unwrap();
    assert!(asked.contains("git-receive-pack"), "{asked}");
    assert_eq!(ended(agent), "second\n");
    assert_eq!(git::content(served.path()), "third\n");
    assert!(forge.seen().iter().all(|s| s.bears(token)));
}

#[test]
fn pip_npm_and_cargo_install_from_a_site() {
    let served = tempfile::tempdir().unwrap();
    packages::make(served.path());
    let registry = packages::serve("packages.example", served.path());
    let scene = scene(&[site("packages", &registry)]);
    let toolchain = tools::cargo(&scene);
    write(&scene, "package.json", "{\"private\": true}\n");
    write(
        &scene,
        "Cargo.toml",
        "[package]\nname = \"user\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\
         [dependencies]\ngreeting = { version = \"1\", registry = \"local\" }\n",
    );
    write(&scene, "src/lib.rs", "");
    write(
        &scene,
        ".cargo/config.toml",
        "[registries.local]\nindex = \"sparse+https://packages.example/crates/\"\n",
    );
    let toolchain = toolchain.display();
    let told = done(
        &scene,
        &format!(
            "cd /tmp; /usr/bin/python3 -m venv venv
             venv/bin/pip install -q --disable-pip-version-check --index-url https://packages.example/simple greeting
             venv/bin/python -c 'import greeting; print(greeting.WORD)'
             rm -r venv/lib/python3*/site-packages/greeting*
             {BARE} venv/bin/pip install -q --disable-pip-version-check --no-cache-dir --index-url https://packages.example/simple greeting
             venv/bin/python -c 'import greeting; print(greeting.WORD)'
             cd - > /dev/null
             npm install --silent --registry https://packages.example/npm/ greeting
             node -p 'require(\"greeting\")'
             export PATH={toolchain}/bin:$PATH
             cargo fetch -q
             {BARE} CARGO_HOME=/tmp/cargo-home cargo fetch -q
             ls /tmp/cargo-home/registry/cache/*"
        ),
    );
    let (said, at_the_end) = told.split_once("countersign: ").unwrap();
    assert_eq!(
        said,
        "hello from pip\nhello from pip\nhello from npm\ngreeting-1.0.0.crate\n"
    );
    assert!(at_the_end.contains("package.json"), "{at_the_end}");
    let fetched = |end: &str| {
        let seen = registry.seen();
        seen.iter().filter(|s| s.path().ends_with(end)).count()
    };
    assert_eq!(fetched(".whl"), 2);
    assert_eq!(fetched(".tgz"), 1);
    assert_eq!(fetched("/download"), 2);
    let lock = fs::read_to_string(scene.work().unwrap().join("Cargo.lock")).unwrap();
    assert!(lock.contains("greeting"), "{lock}");
}
