//! Where attacks are tried: an authority, an agent `inbox-bot` with a mailbox, an
//! agent `helper` without anything, and a user with secrets.

use countersign_testkit::Scene;
use countersign_testkit::authority::SOON;
use countersign_testkit::programs;
use countersign_testkit::scene::{piped, said};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Stands in every secret of the user.
pub(crate) const CANARY: &str = "red-team-canary";

/// Secret places of the user, below the home folder.
#[rustfmt::skip]
pub(crate) const SECRETS: &[&str] = &[
    ".ssh/id_ed25519", ".aws/credentials", ".config/gh/hosts.yml", ".netrc", ".npmrc", ".pypirc",
    ".cargo/credentials.toml", ".docker/config.json", ".kube/config", ".gnupg/private-keys-v1.d/a.key",
    ".mozilla/firefox/p/logins.json", ".config/google-chrome/Default/Login Data",
    ".local/share/keyrings/login.keyring", ".password-store/bank.gpg", ".bash_history", ".zsh_history",
    ".python_history", ".git-credentials", ".claude/.credentials.json", ".codex/auth.json",
    ".gemini/oauth_creds.json", ".config/opencode/opencode.json", ".openclaw/openclaw.json",
];

/// The agent program of this name.
macro_rules! agent {
    ($name:literal) => {
        ($name, include_str!(concat!("agents/", $name)))
    };
}
pub(crate) use agent;

pub(crate) struct Range {
    pub(crate) scene: Scene,
}

impl Range {
    pub(crate) fn new() -> Self {
        Self::with(3)
    }

    /// With so many messages in the mailbox.
    pub(crate) fn with(messages: usize) -> Self {
        let mut scene = Scene::start(messages).unwrap();
        let config = scene.read_config().unwrap();
        scene
            .accept(&format!("{config}\n[agents.helper]\naccounts = []\n"))
            .unwrap();
        for secret in SECRETS {
            let path = scene.desktop.path("home").join(secret);
            scene.desktop.person().write(&path, CANARY).unwrap();
        }
        Self { scene }
    }

    /// A folder of the user's for an agent to work in.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let folder = self.scene.desktop.path("home").join(name);
        self.scene.desktop.person().make_folder(&folder).unwrap();
        folder
    }

    pub(crate) fn write(&self, path: &Path, content: &str) {
        self.scene.desktop.person().write(path, content).unwrap();
    }

    /// `countersign run` of any command.
    pub(crate) fn command(&self, agent: &str, folder: &Path, words: &[&str]) -> Command {
        let mut command = self
            .scene
            .desktop
            .command(programs::built("countersign").unwrap());
        command
            .args(["run", "--agent", agent, "--task", "attack", "--"])
            .args(words)
            .current_dir(folder);
        piped(&mut command);
        command
    }

    /// Starts a hostile agent, contained.
    pub(crate) fn launch(&self, (name, program): (&str, &str), arguments: &[&str]) -> Child {
        let folder = self.folder("work");
        self.write(&folder.join(name), program);
        let words: Vec<&str> = ["python3", name].iter().chain(arguments).copied().collect();
        self.command("inbox-bot", &folder, &words).spawn().unwrap()
    }

    /// Runs one to its end: it has tried, and got nowhere.
    pub(crate) fn withstands(&self, agent: (&str, &str), arguments: &[&str]) -> String {
        got_nowhere(self.launch(agent, arguments))
    }

    /// The authority still does its work.
    pub(crate) fn still_works(&self) {
        let url = "https://gmail.googleapis.com/gmail/v1/users/me/messages?maxResults=1";
        let output = self
            .scene
            .run(&["curl", "-sS", url])
            .unwrap()
            .wait_with_output()
            .unwrap();
        assert!(said(&output).contains("\"messages\""), "{}", said(&output));
    }
}

/// Waits for a hostile agent's end: it has tried, and got nowhere. What it said.
pub(crate) fn got_nowhere(run: Child) -> String {
    let text = said(&run.wait_with_output().unwrap());
    assert!(text.contains("TRIED"), "{text}");
    assert!(!text.contains("REACHED"), "{text}");
    assert!(!text.contains(CANARY), "{text}");
    text
}

/// Waits until something holds, as long as it may take on a busy machine.
pub(crate) fn soon(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < SOON, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
