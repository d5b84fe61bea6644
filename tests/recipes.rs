//! An agent by its recipe: made only with the human's yes, a model that needs
//! no question, a configuration folder that is its own and kept.
//!
//! The agent is a stand-in of a few lines; `cargo xtask agents` plays real ones.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on has failed

use countersign_testkit::scene::{Scene, piped, said};
use countersign_testkit::upstream::{Reply, Upstream};
use countersign_testkit::{programs, random};
use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Child;

/// Asks its model once, remembers that it was here, and shows what it finds.
const STAND_IN: &str = r#"#!/bin/sh
echo "asked: $(curl -sS -H "x-api-key: $ANTHROPIC_API_KEY" -H 'content-type: application/json' \
    -d '{"model":"m-1","messages":[]}' https://api.anthropic.com/v1/messages)"
echo "key: $ANTHROPIC_API_KEY updater: $DISABLE_AUTOUPDATER"
echo "machine: $(cat /etc/claude-code/managed-settings.json)"
cat "$CLAUDE_CONFIG_DIR"/* "$CLAUDE_CONFIG_DIR"/.c*
echo "words: $*" >> "$CLAUDE_CONFIG_DIR/history"
"#;

struct Stage {
    scene: Scene,
    model: Upstream,
    key: String,
}

impl Stage {
    fn open() -> Self {
        let desktop = Scene::plain_desktop().unwrap();
        let bin = desktop.path("home/.npm-global/bin");
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display());
        let desktop = desktop.with_env("PATH", &path);
        let put = |name: &str, text: &str| {
            let path = desktop.path("home").join(name);
            desktop.person().write(&path, text).unwrap();
            path
        };
        let program = put(".npm-global/bin/claude", STAND_IN);
        std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).unwrap();
        put(".claude/CLAUDE.md", "the word of the day\n");
        put(".claude/.credentials.json", "the-users-own-token");
        let mut scene = Scene::at(desktop, 1).unwrap();
        let key = random::credential();
        let expected = key.clone();
        let model = Upstream::start("api.anthropic.com", move |seen| {
            if seen.header("x-api-key") != Some(&expected) {
                return Reply::status(401);
            }
            Reply::json(
                200,
                &json!({"type": "message", "usage": {"input_tokens": 3, "output_tokens": 4}}),
            )
        })
        .unwrap();
        let account = scene
            .account("model", "kind = \"anthropic\"", &model)
            .unwrap();
        let config = scene.read_config().unwrap();
        scene.accept(&format!("{config}\n{account}")).unwrap();
        scene.set_credential("model", &key).unwrap();
        Self { scene, model, key }
    }

    fn run(&self, arguments: &[&str]) -> Child {
        let mut command = self
            .scene
            .desktop
            .command(programs::built("countersign").unwrap());
        command
            .arg("run")
            .args(arguments)
            .current_dir(self.scene.work().unwrap());
        piped(&mut command).spawn().unwrap()
    }
}

#[test]
fn a_recipe_is_proposed_and_nothing_stays_of_it_after_a_no() {
    let mut stage = Stage::open();
    let before = stage.scene.read_config().unwrap();
    let from = stage.scene.authority.screen().len();
    let run = stage.run(&["claude"]);
    let asked = stage
        .scene
        .authority
        .wait_for(" to approve: ", from)
        .unwrap();
    for line in [
        "agent claude runs by the recipe claude",
        "may now use account model",
        "registry.npmjs.org",
    ] {
        assert!(asked.contains(line), "{line}: {asked}");
    }
    stage.scene.authority.type_line("n").unwrap();
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert_eq!(stage.scene.read_config().unwrap(), before);
    assert_eq!(stage.model.count(), 0);
}

#[test]
fn an_agent_by_its_recipe_asks_its_model_alone_and_keeps_a_folder_of_its_own() {
    let mut stage = Stage::open();
    let from = stage.scene.authority.screen().len();
    let run = stage.run(&["claude", "once"]);
    stage.scene.authority.approve(from).unwrap();
    let told = said(&run.wait_with_output().unwrap());
    let from = stage.scene.authority.screen().len();
    for line in [
        "asked: {",
        "key: sk-ant-api03-countersign-placeholder updater: 1",
        "machine: {\"sandbox\":{\"enabled\":false}}",
        "the word of the day",
        "hasCompletedOnboarding",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    assert!(
        !told.contains(&stage.key) && !told.contains("the-users-own-token"),
        "{told}"
    );
    assert!(!told.contains("words: once"), "{told}");

    let told = said(&stage.run(&["claude", "twice"]).wait_with_output().unwrap());
    assert!(told.contains("words: once"), "it is kept: {told}");
    let users = stage.scene.desktop.path("home/.claude/history");
    assert!(!users.exists(), "and the user's own is left alone");
    let other = said(
        &stage
            .scene
            .run(&["sh", "-c", "ls -A ~; ls /etc/claude-code"])
            .unwrap()
            .wait_with_output()
            .unwrap(),
    );
    assert!(
        !other.contains(".claude") && !other.contains("managed-settings.json"),
        "another agent's: {other}"
    );

    let asked = stage.scene.authority.screen()[from..].to_owned();
    assert!(
        !asked.contains("approve"),
        "no question for a model: {asked}"
    );
    let timeline = said(
        &stage
            .scene
            .countersign(&["timeline", "--agent", "claude"])
            .unwrap(),
    );
    assert!(
        timeline.contains("Ask the model “m-1”")
            && timeline.contains("3 tokens asked and 4 answered"),
        "{timeline}"
    );
    assert_eq!(stage.model.count(), 2);
}

#[test]
fn a_credential_that_clients_read_from_a_file_has_a_file_in_its_place() {
    let scene = Scene::start(1).unwrap();
    let told = scene
        .script("cat \"$GOOGLE_APPLICATION_CREDENTIALS\"")
        .unwrap();
    assert!(
        told.contains("\"refresh_token\":\"countersign-placeholder\""),
        "{told}"
    );
}

#[test]
fn a_wrapped_program_typed_as_ever_is_contained_until_that_is_undone() {
    let mut stage = Stage::open();
    let from = stage.scene.authority.screen().len();
    let first = stage.run(&["claude"]);
    stage.scene.authority.approve(from).unwrap();
    first.wait_with_output().unwrap();

    let home = stage.scene.desktop.path("home");
    let bin = home.join(".local/share/countersign/bin");
    let script = |script: &str| {
        let path = format!(
            "{}:{}/.npm-global/bin:/usr/bin:/bin",
            bin.display(),
            home.display()
        );
        let mut shell = stage.scene.desktop.command("sh");
        shell
            .args(["-c", script])
            .env("PATH", path)
            .env("SHELL", "/bin/bash");
        said(
            &shell
                .current_dir(stage.scene.work().unwrap())
                .output()
                .unwrap(),
        )
    };
    let countersign = programs::built("countersign").unwrap();
    let countersign = countersign.display();
    let bashrc = home.join(".bashrc");
    stage
        .scene
        .desktop
        .person()
        .write(&bashrc, "mine=1\n")
        .unwrap();
    let told = script(&format!(
        "PATH={}/.npm-global/bin:/usr/bin:/bin {countersign} wrap --path claude",
        home.display()
    ));
    assert!(told.contains("first in the PATH"), "{told}");
    assert!(
        std::fs::read_to_string(&bashrc)
            .unwrap()
            .contains(bin.to_str().unwrap())
    );

    let told = script("claude 'two words'");
    assert!(
        told.contains("asked: {") && told.contains("countersign-placeholder"),
        "{told}"
    );
    let told = script("claude again");
    assert!(told.contains("words: two words"), "{told}");
    let told = script(&format!(
        "{countersign} run --agent claude --uncontained -- claude 2>&1"
    ));
    assert!(told.contains("key: sk-ant"), "past the launcher: {told}");
    let inside = script(&format!(
        "cd {} && {countersign} run --agent claude -- true",
        bin.display()
    ));
    assert!(
        inside.contains("no agent may see"),
        "launchers are not an agent's to write: {inside}"
    );

    let told = script(&format!("{countersign} wrap --undo claude"));
    assert!(told.contains("is gone"), "{told}");
    assert_eq!(std::fs::read_to_string(&bashrc).unwrap(), "mine=1\n");
    let told = script("command -v claude");
    assert!(told.contains(".npm-global"), "{told}");
}
