//! The main job at a terminal: an agent without a credential reads alone, asks
//! to delete, and the real credential is used only after a human's yes.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use countersign_testkit::desktop::{Desktop, Options};
use countersign_testkit::upstream::Mailbox;
use countersign_testkit::{Authority, agents, programs, random};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

/// A desktop without windows, an authority on a terminal, a mailbox and an
/// agent that may use it.
struct Scene {
    authority: Authority,
    mailbox: Mailbox,
    credential: String,
    desktop: Desktop,
}

impl Scene {
    fn new(messages: usize) -> Self {
        let desktop = Desktop::start(&Options { notify: false, tray: false, ..Options::default() }).unwrap();
        let mut authority = Authority::on_a_terminal(&desktop, &[]).unwrap();
        let credential = random::credential();
        let mailbox = Mailbox::start(&credential, messages).unwrap();
        let config = desktop.path("home").join(".config/countersign");
        desktop.person().write(&config.join("mail-ca.pem"), mailbox.upstream.ca_pem()).unwrap();
        let text = format!(
            "[agents.inbox-bot]\naccounts = [\"mail\"]\n\n[accounts.mail]\nkind = \"gmail\"\nenvironment = \"personal\"\ncredential = \"bearer\"\nconnect_to = \"{}\"\nca = \"mail-ca.pem\"\n",
            mailbox.upstream.address()
        );
        desktop.person().write(&config.join("countersign.toml"), text).unwrap();

        let from = authority.screen().len();
        let accept = spawn(&desktop, &["config", "accept"]);
        let block = authority.approve(from).unwrap();
        assert!(block.contains("inbox-bot"), "{block}");
        assert!(accept.wait_with_output().unwrap().status.success());

        let from = authority.screen().len();
        let mut set = spawn(&desktop, &["credential", "set", "mail"]);
        set.stdin.take().unwrap().write_all(credential.as_bytes()).unwrap();
        let block = authority.approve(from).unwrap();
        assert!(block.contains("mail") && block.contains("gmail.googleapis.com"), "{block}");
        let output = set.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        Self { authority, mailbox, credential, desktop }
    }

    /// Runs a command as the agent, in a working folder of its own.
    fn run(&self, argv: &[&str]) -> Child {
        let folder = self.folder();
        let mut command = self.desktop.command(programs::built("countersign").unwrap());
        command.args(["run", "--agent", "inbox-bot", "--task", "tidy the inbox", "--"]).args(argv);
        piped(&mut command).current_dir(folder).spawn().unwrap()
    }

    fn folder(&self) -> PathBuf {
        let folder = self.desktop.path("home").join("work");
        self.desktop.person().make_folder(&folder).unwrap();
        folder
    }

    fn countersign(&self, args: &[&str]) -> Output {
        self.authority.command(&self.desktop, args).unwrap()
    }
}

fn spawn(desktop: &Desktop, args: &[&str]) -> Child {
    piped(desktop.command(programs::built("countersign").unwrap()).args(args)).spawn().unwrap()
}

fn piped(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped())
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

const LIST: &str = "https://gmail.googleapis.com/gmail/v1/users/me/messages?maxResults=5";

#[test]
fn an_agent_reads_alone_and_holds_no_credential() {
    let scene = Scene::new(20);
    let output = scene.run(&["curl", "-sS", "-H", "Authorization: Bearer made-up", LIST]).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("\"messages\""), "{}", text(&output));
    let seen = scene.mailbox.upstream.seen();
    assert!(seen.iter().all(|s| s.bears(&scene.credential)), "the upstream got the real credential");

    let look = "env; cat /proc/*/environ /proc/*/cmdline /proc/self/maps 2>/dev/null; ls -l /proc/self/fd; find / -xdev -type f -size -64k -newermt '1 hour ago' -exec cat {} + 2>/dev/null";
    let output = scene.run(&["sh", "-c", look]).wait_with_output().unwrap();
    assert!(text(&output).contains("HTTPS_PROXY") || text(&output).contains("https_proxy"), "{}", text(&output));
    assert!(!text(&output).contains(&scene.credential));
}

#[test]
fn a_deletion_waits_for_the_human_and_happens_once() {
    let mut scene = Scene::new(20);
    let id = scene.mailbox.ids()[0].clone();
    let from = scene.authority.screen().len();
    let url = format!("https://gmail.googleapis.com/gmail/v1/users/me/messages/{id}/trash");
    let trash = scene.run(&["curl", "-sS", "-X", "POST", &url]);
    let block = scene.authority.approve(from).unwrap();
    assert!(block.contains("inbox-bot") && block.contains("tidy the inbox"), "{block}");
    assert_eq!(scene.mailbox.trashed(), 0, "nothing happens before the yes");
    let output = trash.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(scene.mailbox.trashed(), 1);

    let timeline = text(&scene.countersign(&["timeline"]));
    assert!(timeline.contains("approved (terminal)"), "{timeline}");
    let verified = scene.countersign(&["ledger", "verify"]);
    assert!(verified.status.success(), "{}", text(&verified));
}

#[test]
fn a_denied_agent_is_told_why_and_what_to_do() {
    let mut scene = Scene::new(20);
    let from = scene.authority.screen().len();
    let url = "https://gmail.googleapis.com/gmail/v1/users/me/messages/x/trash";
    let trash = scene.run(&["curl", "-sS", "-w", " status=%{http_code}", "-X", "POST", url]);
    scene.authority.wait_for("Approve? [y/N] ", from).unwrap();
    scene.authority.type_line("n").unwrap();
    let output = trash.wait_with_output().unwrap();
    let said = text(&output);
    assert!(said.contains("status=403") && said.contains("denied-by-human"), "{said}");
    assert_eq!(scene.mailbox.trashed(), 0);
}

#[test]
fn the_stop_ends_a_run_and_nothing_reaches_the_upstream_after_it() {
    let scene = Scene::new(20);
    let script = agents::INBOX;
    let folder = scene.folder();
    scene.desktop.person().write(&folder.join("agent.py"), script).unwrap();
    let run = scene.run(&["python3", "agent.py", "--pause", "0.01"]);
    std::thread::sleep(std::time::Duration::from_secs(2));
    let stop = scene.countersign(&["stop", "--reason", "enough"]);
    assert!(stop.status.success(), "{}", text(&stop));
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", text(&output));
    let after = scene.mailbox.upstream.seen().len();
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(scene.mailbox.upstream.seen().len(), after);
    let again = scene.run(&["true"]).wait_with_output().unwrap();
    assert_eq!(again.status.code(), Some(6), "a stopped authority begins no run");
}
