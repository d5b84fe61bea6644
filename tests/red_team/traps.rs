//! An agent against those who come after it: what they would execute waits for a yes.

use crate::range::{Range, agent};
use countersign_testkit::scene::said;
use std::path::{Path, PathBuf};

/// A repository of the user's, as git makes it, with an editor's settings.
fn project(range: &Range) -> PathBuf {
    let folder = range.folder("work");
    let made = range
        .scene
        .desktop
        .command("sh")
        .args(["-ec", "git init -q -b main; git config user.name a; git config user.email a@b.example; echo x > file; git add file; git commit -qm one; mkdir .vscode; echo mine > .vscode/settings.json"])
        .current_dir(&folder)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", said(&made));
    folder
}

/// The user looks around with git, everywhere; nothing of the agent's starts.
fn nothing_springs(range: &Range, folder: &Path) {
    let look = "for at in $(find . -type d -not -path '*/objects*'); do (cd $at && git status; git log -1; git checkout -q .) ; done; true";
    let looked = range
        .scene
        .desktop
        .command("sh")
        .args(["-c", look])
        .current_dir(folder)
        .output();
    assert!(said(&looked.unwrap()).contains("On branch main"));
    assert!(!folder.join("SPRUNG").exists());
    let found = range
        .scene
        .desktop
        .command("grep")
        .args(["-rl", "red-team-trap", "."])
        .current_dir(folder)
        .output()
        .unwrap();
    assert_eq!(said(&found), "./traps.py\n");
    let settings = std::fs::read_to_string(folder.join(".vscode/settings.json")).unwrap();
    assert_eq!(settings, "mine\n");
}

#[test]
fn traps_wait_aside_when_the_human_says_no_and_are_in_force_after_a_yes() {
    let mut range = Range::new();
    let folder = project(&range);
    let from = range.scene.authority.screen().len();
    let run = range.launch(agent!("traps.py"), &[]);
    let block = range
        .scene
        .authority
        .wait_for(" to approve: ", from)
        .unwrap();
    for said in [
        "inbox-bot changed",
        ".git/config changes",
        "fsmonitor",
        ".claude/settings.json is new",
    ] {
        assert!(block.contains(said), "{said}: {block}");
    }
    nothing_springs(&range, &folder);
    range.scene.authority.type_line("no").unwrap();
    let text = said(&run.wait_with_output().unwrap());
    assert!(
        text.contains("TRIED") && text.contains("The user denied it"),
        "{text}"
    );
    assert!(text.contains("Makefile"), "{text}");
    nothing_springs(&range, &folder);

    let kept = said(&range.scene.countersign(&["kept"]).unwrap());
    let run = kept.lines().next().unwrap().to_owned();
    let asked = range.scene.confirm(&["kept", "accept", &run]).unwrap();
    assert!(asked.contains("+ red-team-trap"), "{asked}");
    let accepted = std::fs::read_to_string(folder.join(".vscode/tasks.json")).unwrap();
    assert_eq!(accepted, "red-team-trap");
    assert_eq!(said(&range.scene.countersign(&["kept"]).unwrap()), "");
    let timeline = said(&range.scene.countersign(&["timeline"]).unwrap());
    assert!(timeline.contains("left behind was accepted"), "{timeline}");
}

#[test]
fn traps_of_a_run_whose_launcher_was_killed_are_taken_away_at_the_next_start() {
    let range = Range::new();
    let folder = project(&range);
    let program = agent!("traps.py").1.replace(
        "print(\"TRIED\")",
        "print(\"TRIED\", flush=True); import time; time.sleep(60)",
    );
    let mut run = range.launch(("traps.py", &program), &[]);
    let mut up = [0; 5];
    std::io::Read::read_exact(run.stdout.as_mut().unwrap(), &mut up).unwrap();
    run.kill().unwrap();
    run.wait().unwrap();
    let next = range
        .command("helper", &range.folder("elsewhere"), &["true"])
        .output()
        .unwrap();
    let text = said(&next);
    assert!(
        next.status.success() && text.contains("was cut off"),
        "{text}"
    );
    nothing_springs(&range, &folder);
}
