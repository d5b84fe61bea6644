//! An authority that only speaks the surface protocol, and asks what a test
//! tells it to.

use countersign_model::{
    AccountId, Action, AgentId, Assurance, DataPreview, Effect, Effects, Environment, Field,
    Foreign, Objects, Provider, QuestionId, RequestId, RunId, Timestamp, Words,
};
use countersign_protocol::frame;
use countersign_protocol::surface::{
    About, FD_VARIABLE, FromSurface, Question, RequestQuestion, ToSurface, VERSION,
};
use countersign_testkit::Desktop;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) const SOON: Duration = Duration::from_secs(30);

/// The authority's end, and the tray app that it started.
pub(crate) struct Authority {
    stream: UnixStream,
    heard: Receiver<FromSurface>,
    pub(crate) child: Child,
}

impl Authority {
    /// Starts the tray app at this desktop and greets it.
    pub(crate) fn start(desktop: &Desktop, program: &Path, hotkey: &str) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        rustix::io::fcntl_setfd(&theirs, rustix::io::FdFlags::empty()).unwrap();
        let child = desktop
            .command(program)
            .env(FD_VARIABLE, theirs.as_raw_fd().to_string())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        drop(theirs);
        let mut reading = ours.try_clone().unwrap();
        let (tx, heard) = mpsc::channel();
        thread::spawn(move || {
            while let Ok(Some(message)) = frame::read(&mut reading) {
                if tx.send(message).is_err() {
                    return;
                }
            }
        });
        let mut authority = Self {
            stream: ours,
            heard,
            child,
        };
        authority.say(&ToSurface::Hello {
            protocol: VERSION,
            program: "0.1.0".into(),
            hotkey: hotkey.into(),
        });
        authority
    }
    pub(crate) fn say(&mut self, message: &ToSurface) {
        frame::write(&mut self.stream, message).unwrap();
    }
    pub(crate) fn ask(&mut self, question: &Question) {
        self.say(&ToSurface::Ask(Box::new(question.clone())));
    }
    /// The next message of this kind; others are let pass.
    pub(crate) fn expect<T>(&self, mut kind: impl FnMut(FromSurface) -> Option<T>) -> T {
        loop {
            let message = self
                .heard
                .recv_timeout(SOON)
                .expect("the tray app says nothing");
            if let Some(found) = kind(message) {
                return found;
            }
        }
    }
    /// Whatever is said within this time.
    pub(crate) fn hear_for(&self, how_long: Duration) -> Vec<FromSurface> {
        let mut all = Vec::new();
        while let Ok(message) = self.heard.recv_timeout(how_long) {
            all.push(message);
        }
        all
    }
    /// Waits until it is ready, tray, notifications and hotkey included.
    pub(crate) fn until_ready(&self) {
        let mut topics = Vec::new();
        self.expect(|message| {
            if let FromSurface::Warning { topic, .. } = message {
                topics.push(topic);
            }
            ["hotkey", "notifications", "tray"]
                .iter()
                .all(|t| topics.iter().any(|h| h == t))
                .then_some(())
        });
    }
    /// Goes without a word.
    pub(crate) fn cut(&self) {
        self.stream.shutdown(std::net::Shutdown::Both).unwrap();
    }
    /// Ends in order; the exit code's success.
    pub(crate) fn goodbye(mut self) -> bool {
        self.say(&ToSurface::Goodbye {});
        self.stream.shutdown(std::net::Shutdown::Both).unwrap();
        self.child.wait().unwrap().success()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn now() -> i64 {
    i64::try_from(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_millis(),
    )
    .unwrap()
}

/// A request to move one message to the trash: a click can answer it.
pub(crate) fn trash() -> RequestQuestion {
    RequestQuestion {
        request: RequestId::from_random([3; 10]),
        agent: agent("inbox-bot"),
        run: RunId::from_random([4; 8]),
        task: Foreign::new("tidy the inbox, confirm before every action"),
        contained: true,
        action: Action {
            provider: Provider("gmail".into()),
            operation: "gmail.users.messages.trash".into(),
            effects: Effects::of(&[Effect::Delete]),
            objects: Objects::one("18c2f0a1b2"),
            words: Words::new("Move message ")
                .foreign("18c2f0a1b2")
                .ours(" to the trash"),
            routine: false,
            decided_by: "catalogue".into(),
            account: account("mail"),
            environment: Environment("personal".into()),
            reason: Some(Foreign::new("it is a newsletter from 2019")),
            data_digest: None,
        },
        target: Foreign::new(
            "POST https://gmail.googleapis.com/gmail/v1/users/me/messages/18c2f0a1b2/trash",
        ),
        preview: DataPreview {
            whole: true,
            ..DataPreview::default()
        },
        rules: vec!["ask-first".into()],
    }
}

/// Thousands of messages, for good.
pub(crate) fn bulk() -> RequestQuestion {
    let mut request = trash();
    let action = &mut request.action;
    action.effects = Effects::of(&[Effect::Delete, Effect::Bulk]);
    action.operation = "gmail.users.messages.batchDelete".into();
    action.words = Words::new("Delete ")
        .number(4312)
        .ours(" messages for good");
    action.objects.listed = (0..20)
        .map(|n| Foreign::new(format!("18c2f0a1{n:02}")))
        .collect();
    action.objects.count = Some(4312);
    action.reason = None;
    request.target =
        Foreign::new("POST https://gmail.googleapis.com/gmail/v1/users/me/messages/batchDelete");
    let ids: String = (0..40)
        .map(|n| format!("  \"18c2f0a1{n:02}\",\n"))
        .collect();
    request.preview = DataPreview {
        text: Some(Foreign::new(format!("{{\"ids\": [\n{ids}"))),
        whole: false,
        media_type: Some("application/json".into()),
        length: 73_304,
        ..DataPreview::default()
    };
    request
}

/// Something on production, by an agent that is not contained.
pub(crate) fn production() -> RequestQuestion {
    let mut request = trash();
    request.agent = agent("infra-agent");
    request.task = Foreign::new("fix the failing health check");
    request.contained = false;
    request.action.account = account("cloud-main");
    request.action.environment = Environment("production".into());
    request.action.provider = Provider("http".into());
    request.action.operation = "DELETE /stacks/*".into();
    request.action.effects = Effects::of(&[Effect::Delete, Effect::Admin]);
    request.action.words = Words::new("Delete the stack ")
        .foreign("orders-live")
        .ours(" and all that belongs to it");
    request.action.objects = Objects::one("orders-live");
    request.action.reason = Some(Foreign::new(
        "the environment is broken, rebuilding it is the quickest way",
    ));
    request.target = Foreign::new("DELETE https://cloud.example/stacks/orders-live");
    request
}

/// A post in a forum, with text that would like to be markup.
pub(crate) fn post() -> RequestQuestion {
    let mut request = trash();
    request.agent = agent("helper");
    request.task = Foreign::new("answer open questions in the forum");
    request.action.account = account("intranet-forum");
    request.action.environment = Environment::default();
    request.action.provider = Provider("http".into());
    request.action.operation = "POST /posts".into();
    request.action.effects = Effects::of(&[Effect::Publish]);
    request.action.words = Words::new("Publish a post in ").foreign("platform-help");
    request.action.objects = Objects::one("platform-help");
    request.action.reason = Some(Foreign::new(
        "<b>urgent</b> & already approved by \u{202E}security",
    ));
    request.target = Foreign::new("POST https://forum.corp.example/posts");
    request.preview = DataPreview {
        fields: vec![
            Field {
                label: "Audience".into(),
                value: "everyone in the company".into(),
            },
            Field {
                label: "Text".into(),
                value: "To fix this, open the bucket to all users:\nset acl = public-read".into(),
            },
        ],
        text: None,
        whole: true,
        media_type: Some("application/json".into()),
        length: 142,
    };
    request
}

/// Any of them as a question.
pub(crate) fn question(n: u8, assurance: Assurance, request: RequestQuestion) -> Question {
    let id = QuestionId::from_random([n; 10]);
    let about = About::Request(Box::new(request));
    Question {
        digest: Question::digest_of(&id, assurance, 1, &about),
        id,
        assurance,
        asked: Timestamp::from_unix_ms(now() - 4_000),
        ends: Timestamp::from_unix_ms(now() + 8 * 3_600_000),
        held_until: Some(Timestamp::from_unix_ms(now() + 96_000)),
        times: 1,
        about,
    }
}

fn agent(name: &str) -> AgentId {
    name.parse().unwrap()
}
fn account(name: &str) -> AccountId {
    name.parse().unwrap()
}
