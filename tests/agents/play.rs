//! What each agent is put to, and what is looked at afterwards.

use crate::model::{PLAY, is_asking};
use crate::registry::PACKAGE;
use crate::stage::{Stage, ended};
use countersign_testkit::scene::said;
use serde_json::{Value, json};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Output;

/// The agents that are played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Agent {
    Claude,
    Codex,
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
    pub(crate) const ALL: [Self; 2] = [Self::Claude, Self::Codex];

    pub(crate) const fn program(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Codex => "codex",
        }
    }

    pub(crate) const fn account(self) -> &'static str {
        match self {
            Self::Claude => "anthropic",
            Self::Codex => "openai",
        }
    }

    pub(crate) const fn host(self) -> &'static str {
        match self {
            Self::Claude => "api.anthropic.com",
            Self::Codex => "api.openai.com",
        }
    }

    /// Its programs among the packages, and their names in a search path.
    pub(crate) fn programs(self, packages: &Path) -> io::Result<Vec<(PathBuf, &'static str)>> {
        let found: Vec<(PathBuf, &'static str)> = match self {
            Self::Claude => vec![(
                packages.join("@anthropic-ai/claude-code-linux-x64/claude"),
                "claude",
            )],
            Self::Codex => {
                let bin =
                    packages.join("@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin");
                vec![
                    (bin.join("codex"), "codex"),
                    (bin.join("codex-code-mode-host"), "codex-code-mode-host"),
                ]
            }
        };
        match found.iter().find(|(path, _)| !path.is_file()) {
            None => Ok(found),
            Some((path, _)) => Err(io::Error::other(format!("{} is missing", path.display()))),
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
        }
    }

    /// The script: what it does after so many results of tools; `before` are
    /// those of earlier plays of the same conversation.
    pub(crate) fn step(self, play: &str, done: usize, before: usize) -> Step {
        let command =
            |command: &str| Step::Use("Bash", json!({"command": command, "description": "play"}));
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
            ("work", Self::Codex, 0) => command("cat notes.txt"),
            ("work", Self::Codex, 1) => command("sed -i s/first/second/ notes.txt"),
            ("work", _, 2) => command(&install),
            ("work", _, 3) => command(&delete),
            ("work", _, 4) => command(
                "env; cat ~/.claude/*.json ~/.claude/.*.json ~/.codex/*.json ~/.codex/*.toml 2>/dev/null; true",
            ),
            ("work", ..) => Step::Say("The work is done.".into()),
            ("again", ..) => Step::Say(format!("I remember {before} results.")),
            ("slow", _, 0) => command("echo begun > begun; sleep 3; echo done > done"),
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
    let run = stage.run(&folder, &agent.arguments(&words, false))?;
    let proposed = stage.scene.authority.approve(from)?;
    show(
        "made from its recipe, by a diff that the human accepted",
        unless(proposed.contains(&format!("recipe {agent}")), &proposed),
    );
    // The one denial.
    let asked = stage
        .scene
        .authority
        .wait_for("Approve? [y/N] ", from + proposed.len() + 20);
    if asked.is_ok() {
        std::thread::sleep(std::time::Duration::from_millis(800));
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
            results.contains("countersign-placeholder")
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

    let two = two_at_once(&stage)?;
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
    Ok(shown)
}

fn two_at_once(stage: &Stage) -> io::Result<Option<String>> {
    let words = format!("{PLAY}slow please");
    let arguments = stage.agent.arguments(&words, false);
    let folders = [stage.folder("one")?, stage.folder("two")?];
    let runs = [
        stage.run(&folders[0], &arguments)?,
        stage.run(&folders[1], &arguments)?,
    ];
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
