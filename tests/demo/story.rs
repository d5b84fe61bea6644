//! The story: an inbox, a stop, a forum. Every click is a mouse's, every
//! message count is the stand-in's own.

use crate::stage::Stage;
use countersign_testkit::upstream::{Forum, Mailbox};
use countersign_testkit::{Authority, agents, programs, random};
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

/// As many as the researcher's inbox lost.
const MESSAGES: usize = 4312;
const SOON: Duration = Duration::from_secs(60);
/// The accessible name of the button that is held.
const HOLD: &str = "Hold to approve: hold for a second";
/// Longer than the window asks a button to be held.
const HELD: Duration = Duration::from_millis(1600);
/// Longer than an answer is ignored after a question is shown.
const READ_IT: Duration = Duration::from_millis(1000);

struct Play {
    stage: Stage,
    authority: Authority,
    mailbox: Mailbox,
    forum: Forum,
}

/// Plays it to its end; anything that is not as it should be is an error.
pub(crate) fn play(mut stage: Stage) -> io::Result<()> {
    let (mail_key, forum_key) = (random::credential(), random::credential());
    let mailbox = Mailbox::start(&mail_key, MESSAGES)?;
    let forum = Forum::start(&forum_key)?;
    stage.say("A desktop of its own. A stand-in mailbox with 4,312 messages and a stand-in forum are on loopback.")?;
    let authority = Authority::start(&stage.desktop, &["--desktop"])?;
    stage.desktop.tray()?;
    stage.say("The authority runs and has started the tray app.")?;
    stage.picture("tray")?;
    let mut play = Play {
        stage,
        authority,
        mailbox,
        forum,
    };
    if let Err(why) = play.acts(&mail_key, &forum_key) {
        let screen = play.authority.screen();
        return Err(io::Error::other(format!(
            "{why}; the authority said: {screen}"
        )));
    }
    play.leave()
}

impl Play {
    fn acts(&mut self, mail_key: &str, forum_key: &str) -> io::Result<()> {
        self.set_up(mail_key, forum_key)?;
        self.inbox()?;
        self.resume()?;
        self.forum()
    }

    fn set_up(&mut self, mail_key: &str, forum_key: &str) -> io::Result<()> {
        let config = self.stage.desktop.path("home").join(".config/countersign");
        let person = self.stage.desktop.person();
        person.write(&config.join("mail-ca.pem"), self.mailbox.upstream.ca_pem())?;
        person.write(&config.join("forum-ca.pem"), self.forum.upstream.ca_pem())?;
        let text = format!(
            r#"[agents.inbox-bot]
accounts = ["mail"]

[agents.forum-bot]
accounts = ["intranet-forum"]

[accounts.mail]
kind = "gmail"
environment = "personal"
credential = "bearer"
connect_to = "{}"
ca = "mail-ca.pem"

[accounts.intranet-forum]
hosts = ["{}"]
credential = "bearer"
connect_to = "{}"
ca = "forum-ca.pem"
effects."POST /posts" = ["publish"]
"#,
            self.mailbox.upstream.address(),
            self.forum.upstream.host(),
            self.forum.upstream.address()
        );
        person.write(&config.join("countersign.toml"), text)?;
        self.stage.say("Two accounts and two agents are written into countersign.toml. Nothing has changed yet: a human must accept it.")?;
        let accept = self.spawn(&["config", "accept"], "")?;
        self.open_and_hold("accept")?;
        finished(accept)?;
        self.stage
            .say("Accepted, by holding the button in the window after reading what changes.")?;
        for (account, key) in [("mail", mail_key), ("intranet-forum", forum_key)] {
            let set = self.spawn(&["credential", "set", account], key)?;
            self.open_and_hold(&format!("credential-{account}"))?;
            finished(set)?;
        }
        self.stage
            .say("Both credentials are in the keyring. No agent has them.")
    }

    /// The notification says Open; the window asks for a held button.
    fn open_and_hold(&mut self, name: &str) -> io::Result<()> {
        let desktop = &self.stage.desktop;
        desktop.wait_for("Open", "push button", SOON)?;
        std::thread::sleep(READ_IT);
        self.stage.desktop.click_on("Open", "push button", SOON)?;
        let (x, y) = self.stage.desktop.wait_for(HOLD, "push button", SOON)?;
        std::thread::sleep(READ_IT);
        self.stage.picture(&format!("window-{name}"))?;
        self.stage.desktop.press_for(x, y, HELD)
    }

    fn inbox(&mut self) -> io::Result<()> {
        self.stage.say("THE INBOX. inbox-bot was told: \"Tell me what is old. Confirm before every action.\" It has forgotten the second half.")?;
        let agent = self.agent(
            "inbox-bot",
            "Tell me what is old in my inbox",
            "inbox.py",
            agents::INBOX,
            &["--batch", "5000", "--processes", "3", "--pause", "0.05"],
        )?;
        self.stage.desktop.wait_for("Deny", "push button", SOON)?;
        let listed = self.mailbox.upstream.seen().len();
        self.stage.say(&format!("It has listed all messages alone, in {listed} requests: routine reads. Now it wants to delete them all."))?;
        self.stage.picture("delete-asks")?;
        let showing = self.stage.desktop.showing()?;
        expect(showing.contains("4,312"), "the notification says how many")?;
        expect(
            self.stage.desktop.find("Approve", "push button")?.is_none(),
            "a bulk deletion cannot be approved from a notification",
        )?;
        std::thread::sleep(READ_IT);
        self.stage.desktop.click_on("Deny", "push button", SOON)?;
        self.stage
            .desktop
            .wait_for("Approve", "push button", SOON)?;
        expect(
            self.mailbox.kept() == MESSAGES,
            "all 4,312 messages are there",
        )?;
        self.stage.say("Denied by a click. All 4,312 messages are there. It goes on, from three processes at once: one message each, to the bin.")?;
        std::thread::sleep(READ_IT);
        self.stage.picture("trash-asks")?;
        let (x, y) = self
            .stage
            .desktop
            .wait_for("Approve", "push button", SOON)?;
        self.stage
            .cut_out("trash-asks", (x - 276, y - 108), (430, 142))?;
        self.stage
            .desktop
            .click_on("Approve", "push button", SOON)?;
        self.until("one message is in the bin", |p| p.mailbox.trashed() == 1)?;
        self.stage
            .say("One of them approved by a click: exactly one message is in the bin.")?;
        std::thread::sleep(Duration::from_secs(2));
        expect(self.mailbox.trashed() == 1, "one yes is one message")?;
        self.stage.picture("more-asks")?;
        self.stage
            .say("It keeps asking. The hotkey: Ctrl+Alt+Shift+Esc.")?;
        let pressed = Instant::now();
        self.stage.desktop.key("ctrl+alt+shift+Escape")?;
        let ended = agent.wait_with_output()?;
        let took = pressed.elapsed();
        expect(
            ended.status.code() == Some(6),
            &format!("the run ended because it was stopped: {}", said(&ended)),
        )?;
        let seen = self.mailbox.upstream.seen().len();
        self.stage.say(&format!(
            "Its processes ignore signals, detach themselves and fork anew after every request. All of them are gone {} ms after the key was pressed.",
            took.as_millis()
        ))?;
        std::thread::sleep(Duration::from_secs(2));
        expect(
            self.mailbox.upstream.seen().len() == seen,
            "the mailbox sees nothing more",
        )?;
        expect(
            self.mailbox.trashed() == 1 && self.mailbox.kept() == MESSAGES,
            "nothing else happened",
        )?;
        self.stage.picture("stopped")?;
        self.stage.say("The mailbox has seen nothing more since.")
    }

    fn resume(&mut self) -> io::Result<()> {
        let resume = self.spawn(&["resume"], "")?;
        self.open_and_hold("resume")?;
        finished(resume)?;
        self.stage
            .say("Resumed by a held button. No approval from before the stop counts any more.")
    }

    fn forum(&mut self) -> io::Result<()> {
        self.stage.say(
            "THE FORUM. forum-bot was asked to look something up, and wants to publish its advice.",
        )?;
        let agent = self.agent(
            "forum-bot",
            "Look up how the export works",
            "forum.py",
            agents::FORUM,
            &["--base", &format!("https://{}", self.forum.upstream.host())],
        )?;
        self.stage
            .desktop
            .wait_for("Approve", "push button", SOON)?;
        expect(
            self.forum.posts().is_empty(),
            "nothing is published unasked",
        )?;
        let showing = self.stage.desktop.showing()?;
        expect(
            showing.contains("Open the export bucket"),
            "the notification shows the text",
        )?;
        std::thread::sleep(READ_IT);
        self.stage.picture("publish-asks")?;
        self.stage
            .desktop
            .click_on("Approve", "push button", SOON)?;
        let ended = agent.wait_with_output()?;
        expect(ended.status.success(), &said(&ended))?;
        expect(self.forum.posts().len() == 1, "it was published once")?;
        self.stage
            .say("The text and its audience were read, and approved: published exactly once.")
    }

    /// The timeline, the verified ledger, and an end in order.
    fn leave(mut self) -> io::Result<()> {
        let entries = self.must(&["timeline", "--limit", "900", "--json"])?;
        fs::write(self.stage.folder().join("timeline.json"), entries)?;
        let readable = self.must(&["timeline", "--limit", "900"])?;
        fs::write(self.stage.folder().join("timeline.txt"), readable)?;
        let checkpoint = self.must(&["ledger", "checkpoint"])?;
        let kept = self.stage.folder().join("checkpoint.txt");
        fs::write(&kept, checkpoint)?;
        self.show_timeline()?;
        let state = self
            .stage
            .desktop
            .path("home")
            .join(".local/state/countersign");
        let Self {
            mut stage,
            authority,
            ..
        } = self;
        authority.end(&stage.desktop)?;
        for name in ["ledger.db", "ledger.pub"] {
            fs::copy(state.join(name), stage.folder().join(name))?;
        }
        let copy = stage.folder().join("ledger.db");
        let verified = std::process::Command::new(programs::built("countersign")?)
            .args(["ledger", "verify"])
            .arg(&copy)
            .arg("--checkpoint")
            .arg(&kept)
            .output()?;
        expect(verified.status.success(), &said(&verified))?;
        stage.say(&format!(
            "The trail: {}",
            said(&verified).trim().replace('\n', " ")
        ))
    }

    fn show_timeline(&mut self) -> io::Result<()> {
        self.must(&["desktop"])?;
        self.stage.desktop.click_on("Timeline", "link", SOON)?;
        std::thread::sleep(READ_IT);
        self.stage.picture("timeline")
    }

    // ---- doing ------------------------------------------------------------

    /// `countersign ARGS` with this on its standard input.
    fn spawn(&self, args: &[&str], input: &str) -> io::Result<Child> {
        let mut child = self
            .stage
            .desktop
            .command(programs::built("countersign")?)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        Ok(child)
    }

    fn must(&self, args: &[&str]) -> io::Result<String> {
        let output = self.authority.command(&self.stage.desktop, args)?;
        expect(output.status.success(), &said(&output))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A contained run of a Python agent in a folder of its own.
    fn agent(
        &self,
        agent: &str,
        task: &str,
        file: &str,
        script: &str,
        args: &[&str],
    ) -> io::Result<Child> {
        let folder: PathBuf = self.stage.desktop.path("home").join("work").join(agent);
        let person = self.stage.desktop.person();
        person.write(&folder.join(file), script)?;
        self.stage
            .desktop
            .command(programs::built("countersign")?)
            .current_dir(&folder)
            .args([
                "run", "--agent", agent, "--task", task, "--", "python3", file,
            ])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    }

    fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) -> io::Result<()> {
        let began = Instant::now();
        while !is_so(self) {
            if began.elapsed() > SOON {
                return Err(io::Error::other(format!("not so: {what}")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

fn expect(is_so: bool, what: &str) -> io::Result<()> {
    if is_so {
        Ok(())
    } else {
        Err(io::Error::other(format!("not so: {what}")))
    }
}

fn finished(child: Child) -> io::Result<()> {
    let output = child.wait_with_output()?;
    expect(output.status.success(), &said(&output))
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
