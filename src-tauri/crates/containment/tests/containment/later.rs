//! What the user's other programs would execute later is the run's own copy until
//! somebody accepts it.

use crate::stage::{PROBE, Ran, Stage, eventually};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};

fn keep(stage: &Stage) -> String {
    format!("keep={}", stage.home.join("keep").display())
}

/// Runs the script with copies of its own; and accepts what it left behind, if so.
fn run(stage: &Stage, accept: bool, script: &str) -> Ran {
    let mut options = vec![keep(stage)];
    if accept {
        options.push("accept=yes".into());
    }
    let ran = stage.run_with(&options, &["/bin/sh", "-ec", script]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran
}

/// git as the user runs it, outside.
fn git(stage: &Stage, arguments: &[&str]) -> String {
    let mut git = Command::new("git");
    git.args([
        "-c",
        "safe.directory=*",
        "-C",
        stage.folder.to_str().unwrap(),
    ])
    .args(arguments)
    .env_clear()
    .env("PATH", "/usr/local/bin:/usr/bin:/bin")
    .env("HOME", &stage.home);
    let output = git.output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn with_repository(stage: &Stage) {
    git(stage, &["init", "-q", "-b", "main"]);
    git(stage, &["config", "user.email", "a@b.example"]);
    git(stage, &["config", "user.name", "A"]);
    stage.write(&stage.folder.join("file"), "one\n");
    git(stage, &["add", "file"]);
    git(stage, &["commit", "-qm", "one"]);
    git(stage, &["pack-refs", "--all"]);
    give_all(stage, stage.folder.clone());
}

fn give_all(stage: &Stage, path: PathBuf) {
    stage.give(&path);
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            give_all(stage, entry.unwrap().path());
        }
    }
}

/// Everything in the folder, with content, but git's objects and index.
fn all(stage: &Stage) -> String {
    let list = "find . -not -path './.git/objects*' -type f -not -name index -printf '%p ' -exec sha1sum {} + ; find . -type d -o -type l | sort";
    let output = Command::new("sh")
        .args(["-c", list])
        .current_dir(&stage.folder)
        .output();
    let mut lines: Vec<String> = String::from_utf8(output.unwrap().stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines.join("\n")
}

#[test]
fn git_works_in_a_run_and_its_settings_and_hooks_wait_for_a_yes() {
    let stage = Stage::new();
    with_repository(&stage);
    let script = "git config core.fsmonitor ./evil; git config alias.x '!evil'; \
         echo evil > .git/hooks/pre-commit 2>/dev/null || echo evil > $(git rev-parse --git-path hooks)/pre-commit; \
         echo two >> file; git commit -qam two; git checkout -qb side; git branch -d main; git tag t; \
         git pack-refs --all; git stash list; git gc -q; git worktree prune; git status -sb; git config alias.x";
    let ran = run(&stage, false, script);
    assert!(ran.output.contains("## side\n!evil\n"), "{ran:?}");
    let changes: Vec<&str> = ran
        .output
        .lines()
        .filter(|line| line.starts_with("change"))
        .collect();
    assert_eq!(
        changes,
        ["change .git/config", "change .git/hooks/pre-commit"]
    );
    // The work is there, the settings are not.
    assert_eq!(git(&stage, &["log", "--format=%s", "side"]), "two\none\n");
    assert_eq!(git(&stage, &["status", "-sb"]), "## side\n");
    assert!(git(&stage, &["reflog"]).contains("commit: two"));
    assert!(!git(&stage, &["config", "--list"]).contains("evil"));
    for made in ["commondir", "lfs", "hooks/pre-commit"] {
        assert!(!stage.folder.join(".git").join(made).exists(), "{made}");
    }
    // Still there to be looked at.
    let kept = stage.home.join("keep/run/files/.git/hooks/pre-commit");
    assert_eq!(std::fs::read_to_string(kept).unwrap(), "evil\n");
}

#[test]
fn what_is_accepted_is_in_force_and_nothing_else_changed() {
    let stage = Stage::new();
    with_repository(&stage);
    stage.write(&stage.folder.join(".vscode/settings.json"), "{}");
    stage.write(&stage.folder.join(".envrc"), "old\n");
    let rights = |path: &str, mode: u32| {
        let rights = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(stage.folder.join(path), rights).unwrap();
    };
    rights(".envrc", 0o640);
    rights(".vscode/settings.json", 0o604);
    let ran = run(
        &stage,
        true,
        "git config x.y z; echo '{1}' > .vscode/settings.json; mkdir -p .claude; echo s > .claude/settings.json; \
         echo new > .envrc; echo '#!/bin/sh' > $(git rev-parse --git-path hooks)/post-merge",
    );
    assert!(!ran.output.contains("refused"), "{ran:?}");
    assert_eq!(git(&stage, &["config", "x.y"]), "z\n");
    for (path, content) in [
        (".vscode/settings.json", "{1}\n"),
        (".claude/settings.json", "s\n"),
        (".envrc", "new\n"),
        (".git/hooks/post-merge", "#!/bin/sh\n"),
    ] {
        assert_eq!(
            std::fs::read_to_string(stage.folder.join(path)).unwrap(),
            content,
            "{path}"
        );
    }
    for absent in [".idea", ".cursor", ".git/commondir"] {
        assert!(!stage.folder.join(absent).exists(), "{absent}");
    }
    for (path, mode) in [
        (".vscode/settings.json", 0o604),
        (".claude/settings.json", 0o600),
        (".envrc", 0o640),
    ] {
        let found = stage.folder.join(path).metadata().unwrap();
        assert_eq!(found.permissions().mode() & 0o777, mode, "{path}");
    }
}

#[test]
fn a_run_that_changes_nothing_leaves_the_folder_as_it_was() {
    let stage = Stage::new();
    with_repository(&stage);
    stage.write(&stage.folder.join(".vscode/settings.json"), "{}");
    stage.write(
        &stage.folder.join("venv/lib/python3/site-packages/a.pth"),
        "x",
    );
    let before = all(&stage);
    let ran = run(&stage, false, "git status -s; ls -A");
    assert!(!ran.output.contains("change"), "{ran:?}");
    assert_eq!(all(&stage), before);
}

#[test]
fn settings_of_editors_and_agents_wait_wherever_they_lie() {
    let stage = Stage::new();
    stage.write(&stage.folder.join(".vscode/tasks.json"), "mine");
    stage.write(&stage.folder.join("sub/.idea/x.xml"), "mine");
    stage.write(&stage.folder.join(".envrc"), "mine");
    stage.write(
        &stage.folder.join("venv/lib/python3/site-packages/a.pth"),
        "mine",
    );
    let before = all(&stage);
    let ran = run(
        &stage,
        false,
        "echo evil > .vscode/tasks.json; rm .vscode/tasks.json; echo evil > .vscode/settings.json; \
         echo evil > sub/.idea/x.xml; echo evil > .envrc; echo evil > .mcp.json; mkdir -p .gemini; echo evil > .gemini/settings.json; \
         echo evil > venv/lib/python3/site-packages/a.pth; echo 'import evil' > venv/lib/python3/site-packages/b.pth; \
         mkdir -p new/.claude; echo evil > new/.claude/settings.json; mv .vscode aside || echo held; \
         mv sub gone; mkdir -p sub/.idea; echo evil > sub/.idea/x.xml; ln -s /etc .codex 2>/dev/null || true; \
         echo all: > Makefile; mv sub other; mv gone sub",
    );
    assert!(ran.output.contains("held"), "{ran:?}");
    assert!(ran.output.contains("built-from Makefile"), "{ran:?}");
    for path in [
        ".envrc",
        ".gemini/settings.json",
        ".mcp.json",
        ".vscode/settings.json",
        ".vscode/tasks.json",
        "new/.claude/settings.json",
        "other/.idea/x.xml",
        "sub/.idea/x.xml",
        "venv/lib/python3/site-packages/a.pth",
        "venv/lib/python3/site-packages/b.pth",
    ] {
        assert!(
            ran.output.contains(&format!("change {path}\n")),
            "{path}: {ran:?}"
        );
    }
    std::fs::remove_file(stage.folder.join("Makefile")).unwrap();
    for folder in ["new", "other"] {
        std::fs::remove_dir(stage.folder.join(folder)).unwrap();
    }
    assert_eq!(all(&stage), before);
}

#[test]
fn packages_alone_in_a_settings_folder_that_was_not_there_are_dropped_without_a_question() {
    let install = "cd .opencode; echo node_modules > .gitignore; echo {} > package.json; \
        mkdir -p node_modules/a; echo > node_modules/a/index.js; cd ..";
    let stage = Stage::new();
    stage.write(&stage.folder.join("file"), "one");
    let before = all(&stage);
    let ran = run(&stage, false, install);
    assert!(!ran.output.contains("change"), "{ran:?}");
    assert_eq!(all(&stage), before);

    let stage = Stage::new();
    stage.write(&stage.folder.join("file"), "one");
    let more = format!("{install}; echo evil > .opencode/opencode.json");
    let ran = run(&stage, false, &more);
    for path in [".opencode/opencode.json", ".opencode/package.json"] {
        assert!(ran.output.contains(&format!("change {path}\n")), "{ran:?}");
    }
    assert_eq!(all(&stage), before);
}

/// Makes an environment with a start-up file, not in the second in which a run begins.
const MAKES: &str = "sleep 1.1; make() { mkdir -p $1/lib/python3/site-packages; echo home = /usr/bin > $1/pyvenv.cfg; \
    echo 'import x' > $1/lib/python3/site-packages/new.pth; }; ";

#[test]
fn start_up_files_of_an_environment_that_the_run_made_are_part_of_it_and_others_wait() {
    let stage = Stage::new();
    stage.write(&stage.folder.join("tool/lib/a.py"), "mine");
    let script = "make own; echo 'import evil' > own/lib/python3/site-packages/sitecustomize.py; \
        make new; mv new/lib/python3 tool/lib/; mv new/pyvenv.cfg tool/; \
        mkdir -p bare/site-packages; echo 'import evil' > bare/site-packages/evil.pth";
    let ran = run(&stage, false, &format!("{MAKES}{script}"));
    for path in [
        "bare/site-packages/evil.pth",
        "own/lib/python3/site-packages/sitecustomize.py",
        "tool/lib/python3/site-packages/new.pth",
    ] {
        assert!(
            ran.output.contains(&format!("change {path}\n")),
            "{path}: {ran:?}"
        );
        assert!(!stage.folder.join(path).exists(), "{path}");
    }
    let own = "own/lib/python3/site-packages/new.pth";
    assert!(!ran.output.contains(&format!("change {own}")), "{ran:?}");
    assert!(ran.output.contains("built-from own/pyvenv.cfg"), "{ran:?}");
    let content = std::fs::read_to_string(stage.folder.join(own)).unwrap();
    assert_eq!(content, "import x\n");
}

/// By a link in its place, or in that of its folders, that Python would start from
/// the new one.
#[test]
fn where_a_python_was_start_up_files_of_a_new_environment_wait_as_well() {
    for was in ["old/pyvenv.cfg", "old/lib/python3/site-packages/a.py"] {
        let stage = Stage::new();
        stage.write(&stage.folder.join(was), "mine");
        let script = "make own; mv old gone; ln -s own old";
        let ran = run(&stage, false, &format!("{MAKES}{script}"));
        let path = "own/lib/python3/site-packages/new.pth";
        assert!(ran.output.contains(&format!("change {path}\n")), "{ran:?}");
        assert!(!stage.folder.join(path).exists());
    }
}

/// Every Python of the user's looks there, the system's too, though nothing is there
/// before the run.
#[test]
fn where_pythonuserbase_leads_into_the_folder_start_up_files_of_a_new_environment_wait() {
    let own = "own/lib/python3/site-packages/new.pth";
    for (base, waits) in [
        ("project/own", true),
        ("link", true),
        ("own", true),
        ("other", false),
    ] {
        let mut stage = Stage::new();
        symlink(stage.folder.join("own"), stage.home.join("link")).unwrap();
        let named = match base {
            // As somebody sets it who wants packages beside each project.
            "own" => base.to_owned(),
            _ => stage.home.join(base).display().to_string(),
        };
        stage.variables.insert("PYTHONUSERBASE".into(), named);
        let ran = run(&stage, false, &format!("{MAKES}make own"));
        let asked = ran.output.contains(&format!("change {own}\n"));
        assert_eq!(asked, waits, "{base}: {ran:?}");
        assert_eq!(!stage.folder.join(own).exists(), waits, "{base}");
    }
}

/// The classic: settings that name a program, in a repository that the agent made.
#[test]
fn a_repository_that_the_run_made_starts_nothing_of_the_users() {
    let stage = Stage::new();
    let ran = run(
        &stage,
        false,
        "evil=$(pwd)/evil.sh; printf '#!/bin/sh\\ntouch %s/pwned\\n' $(pwd) > evil.sh; chmod +x evil.sh; \
         for at in . nested deep/er; do mkdir -p $at; git init -q $at; echo x > $at/file; git -C $at add file; \
           git -C $at -c user.name=n -c user.email=e@x.example commit -qm m; git -C $at config core.fsmonitor $evil; \
           cp evil.sh $at/.git/hooks/post-checkout; done; \
         git init -q good; \
         git init -q --bare bare; git -C bare config core.worktree ..; git -C bare config core.fsmonitor $evil; git -C bare config core.bare false; \
         mkdir linked; cp -r nested/.git led; echo \"gitdir: $(pwd)/led\" > linked/.git; \
         ln -s ../led led-here 2>/dev/null; mkdir by-link; ln -s ../led by-link/.git; \
         mkdir c; cp -r good/.git c/.git; echo $(pwd)/led > c/.git/commondir",
    );
    for path in [
        ".git/config",
        ".git/hooks/post-checkout",
        "nested/.git/config",
        "deep/er/.git/config",
        "bare/config",
        "led/config",
        "linked/.git",
        "by-link/.git",
        "c/.git/commondir",
    ] {
        assert!(
            ran.output.contains(&format!("change {path}\n")),
            "{path}: {ran:?}"
        );
    }
    assert!(!ran.output.contains("change good"), "{ran:?}");
    for at in [
        "", "nested", "deep/er", "good", "bare", "linked", "by-link", "c", "led",
    ] {
        let at = stage.folder.join(at);
        let _ = Command::new("git")
            .args(["-c", "safe.directory=*", "status"])
            .current_dir(&at)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(!stage.folder.join("pwned").exists(), "{}", at.display());
    }
    // What is harmless of them works: the work is not lost.
    assert!(git(&stage, &["log", "--format=%s"]).contains('m'));
    assert_eq!(git(&stage, &["-C", "nested", "log", "--format=%s"]), "m\n");
}

#[test]
fn existing_repositories_below_cannot_be_changed_and_may_be_used() {
    let stage = Stage::new();
    let nested = stage.folder.join("nested");
    stage.make_folder(&nested);
    git(&stage, &["init", "-q", "nested"]);
    git(
        &stage,
        &["-C", "nested", "config", "core.sshCommand", "mine"],
    );
    give_all(&stage, nested);
    let ran = run(
        &stage,
        false,
        "cd nested; echo x > f; git add f; git -c user.name=n -c user.email=e@x.example commit -qm m; \
         echo evil >> .git/config || echo held; echo evil > .git/hooks/x || echo held; cd ..; mv nested moved",
    );
    assert_eq!(ran.output, "held\nheld\n", "{ran:?}");
    assert_eq!(
        git(&stage, &["-C", "moved", "config", "core.sshCommand"]),
        "mine\n"
    );
    assert_eq!(git(&stage, &["-C", "moved", "log", "--format=%s"]), "m\n");
}

#[test]
fn a_run_that_is_cut_off_is_settled_by_whoever_looks_next() {
    let stage = Stage::new();
    with_repository(&stage);
    let script = "git config core.fsmonitor evil; mkdir n; git init -q n; git -C n config core.fsmonitor evil; touch ready; sleep 60";
    let mut launcher = stage
        .launch(&[keep(&stage)], &["/bin/sh", "-c", script])
        .spawn()
        .unwrap();
    eventually("the run has done it", || {
        stage.folder.join("ready").exists()
    });
    let kept = stage.home.join("keep/run").display().to_string();
    let settle = || {
        let mut settle = Command::new(stage.path().join("probe"));
        settle.args(["settle", &kept]);
        if let Some(user) = stage.user {
            std::os::unix::process::CommandExt::uid(&mut settle, user);
        }
        settle.output().unwrap()
    };
    assert!(!settle().status.success(), "somebody sees to it");
    launcher.kill().unwrap();
    launcher.wait().unwrap();
    for _ in 0..2 {
        let output = settle();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(
            text, "change n/.git/config\nchange .git/config\n",
            "{output:?}"
        );
    }
    assert!(!git(&stage, &["config", "--list"]).contains("evil"));
    assert!(!git(&stage, &["-C", "n", "config", "--list"]).contains("evil"));
    assert!(!stage.folder.join(".git/commondir").exists());
    let _ = PROBE;
}

#[test]
fn settings_that_are_too_large_to_be_asked_about_are_kept_and_not_in_force() {
    let stage = Stage::new();
    let large = stage.folder.join(".idea/large");
    stage.write(&large, &"x".repeat(5_000_000));
    run(
        &stage,
        true,
        "head -c 6000000 /dev/zero > .claude/large; mkdir -p n/.claude; head -c 6000000 /dev/zero > n/.claude/large",
    );
    assert!(large.exists(), "the user's own stays");
    assert!(!stage.folder.join(".claude").exists());
    assert!(stage.home.join("keep/run/files/.claude/large").exists());
    assert!(!stage.folder.join("n/.claude").exists());
    assert!(
        stage
            .folder
            .join("n/.claude.set-aside-by-countersign/large")
            .exists()
    );
}

/// Nothing that the run wrote stands anywhere that a tool looks at.
fn assert_nothing_evil(stage: &Stage, ran: &Ran) {
    let found = Command::new("find")
        .args([".", "-name", "*.set-aside-by-countersign*", "-prune"])
        .args(["-o", "-type", "f", "-exec", "grep", "-l", "evil", "{}", "+"])
        .current_dir(&stage.folder)
        .output()
        .unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    assert!(found.is_empty(), "{found}{ran:?}");
}

#[test]
fn a_folder_that_cannot_be_listed_is_opened_up_and_looked_through() {
    let stage = Stage::new();
    with_repository(&stage);
    let ran = run(
        &stage,
        false,
        "mkdir -p sub/.vscode deep/er/.idea; git init -q sub; git -C sub config core.fsmonitor evil; \
         for at in sub/.envrc sub/.vscode/tasks.json deep/er/.idea/x; do echo evil > $at; done; \
         chmod 311 sub .; chmod 100 deep/er; chmod 0 deep",
    );
    for path in [
        "sub/.git/config",
        "sub/.envrc",
        "sub/.vscode/tasks.json",
        "deep/er/.idea/x",
    ] {
        assert!(
            ran.output.contains(&format!("change {path}\n")),
            "{path}: {ran:?}"
        );
    }
    assert!(!ran.output.contains("in force"), "{ran:?}");
    assert_nothing_evil(&stage, &ran);
}

/// What is laid out for people, before anybody is asked, is laid out by the user: a
/// link among it must lead nothing elsewhere.
#[test]
fn what_a_run_left_is_not_laid_out_through_a_link_that_it_left_too() {
    let stage = Stage::new();
    stage.write(&stage.folder.join("sub/.vscode/settings.json"), "mine");
    give_all(&stage, stage.folder.clone());
    let prey = stage.home.join("prey");
    stage.write(&prey.join(".bashrc"), "mine");
    give_all(&stage, prey.clone());
    let script = format!(
        "echo evil > sub/.vscode/.bashrc; mkdir sub/.vscode/.ssh; echo evil > sub/.vscode/.ssh/authorized_keys; \
         mv sub sub2; mkdir sub; ln -s {} sub/.vscode",
        prey.display()
    );
    let ran = run(&stage, false, &script);
    let bashrc = std::fs::read_to_string(prey.join(".bashrc")).unwrap();
    assert_eq!(bashrc, "mine", "{ran:?}");
    assert!(!prey.join(".ssh").exists(), "{ran:?}");
    // The folder went elsewhere, with what is the user's; nothing is in its place.
    let settings = std::fs::read_to_string(stage.folder.join("sub2/.vscode/settings.json"));
    assert_eq!(settings.unwrap(), "mine", "{ran:?}");
    assert!(!stage.folder.join("sub/.vscode").is_symlink(), "{ran:?}");
    assert_nothing_evil(&stage, &ran);
}

#[test]
fn a_folder_that_was_shut_before_is_read_only_and_stays_as_it_was() {
    let stage = Stage::new();
    stage.write(&stage.folder.join("shut/in/x"), "mine");
    let shut = |mode| std::fs::set_permissions(stage.folder.join("shut"), mode).unwrap();
    shut(PermissionsExt::from_mode(0o311));
    let ran = run(
        &stage,
        false,
        "echo evil > shut/in/x || echo held; chmod 755 shut || echo held; mkdir shut/.vscode || echo held; mv shut other || echo held",
    );
    assert_eq!(ran.output, "held\n".repeat(4), "{ran:?}");
    let found = std::fs::metadata(stage.folder.join("shut")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&found) & 0o777, 0o311);
}

/// A run may make anything fail that looks at what it left, or takes it away.
#[test]
fn whatever_fails_the_rest_is_put_back_all_the_same() {
    let stage = Stage::new();
    with_repository(&stage);
    let pth = stage.folder.join("venv/lib/python3/site-packages/a.pth");
    stage.write(&pth, "mine");
    let ran = run(
        &stage,
        false,
        "hooks=$(git rev-parse --git-common-dir)/hooks; echo evil > $hooks/x; chmod 0 $hooks/x; mkfifo $hooks/fifo; chmod 0 $hooks; \
         mkdir -p aa/.vscode zz/.vscode; echo evil | tee aa/.vscode/x zz/.envrc > zz/.vscode/x; chmod 555 aa/.vscode aa; \
         for at in sub zz/sub; do git init -q $at; git -C $at config core.fsmonitor evil; done; \
         mkfifo sub/.git/hooks/fifo; chmod 0 zz/sub/.git/config; \
         mkdir -p n/.claude n/.claude.set-aside-by-countersign; mkfifo n/.claude/fifo; touch n/.claude.set-aside-by-countersign/x; \
         cd venv/lib/python3/site-packages; rm a.pth; mkdir a.pth; echo evil > a.pth/x; chmod 0 a.pth/x; cd -; \
         mkdir -p m/site-packages/b.pth; echo evil > m/site-packages/b.pth/x; mkdir .claude/shut; chmod 0 .claude/shut; chmod 0 .claude",
    );
    for path in [
        "aa/.vscode/x",
        "zz/.vscode/x",
        "zz/.envrc",
        "sub/.git/config",
    ] {
        assert!(
            ran.output.contains(&format!("change {path}\n")),
            "{path}: {ran:?}"
        );
    }
    for path in [
        "sub/.git/hooks",
        "zz/sub/.git/config",
        "n/.claude",
        "venv/lib/python3/site-packages/a.pth",
    ] {
        assert!(
            ran.output.contains(&format!("renamed {path}\n")),
            "{path}: {ran:?}"
        );
        let aside = format!("{path}.set-aside-by-countersign");
        assert!(
            stage.folder.join(&aside).symlink_metadata().is_ok(),
            "{path}"
        );
    }
    assert!(!ran.output.contains("in force"), "{ran:?}");
    assert!(
        stage
            .folder
            .join("n/.claude.set-aside-by-countersign-2")
            .exists()
    );
    assert_eq!(std::fs::read_to_string(pth).unwrap(), "mine");
    assert_nothing_evil(&stage, &ran);
    assert!(stage.home.join("keep/run/settled").exists());
}

#[test]
fn what_lies_too_deep_to_be_named_is_set_aside_with_what_holds_it() {
    let stage = Stage::new();
    let dig = "import os\nos.makedirs('a/b'); os.chdir('a/b')\n\
               for _ in range(25):\n    os.mkdir('d' * 200); os.chdir('d' * 200)\n\
               open('.envrc', 'w').write('evil')\n";
    stage.write(&stage.folder.join("dig.py"), dig);
    let ran = run(&stage, false, "python3 dig.py; rm dig.py");
    assert!(ran.output.contains("renamed a/b/ddd"), "{ran:?}");
    assert!(!ran.output.contains("in force"), "{ran:?}");
    assert_nothing_evil(&stage, &ran);
}

#[test]
fn what_the_run_knows_as_a_repository_is_one_whatever_git_needs_of_it() {
    let stage = Stage::new();
    with_repository(&stage);
    let bare = "git init -q --bare x; mv x/HEAD HEAD; rm -rf x/hooks x/branches; echo x > commondir; \
         printf '[core]\n\tfsmonitor = evil\n\trepositoryformatversion = 0\n[extensions]\n\tworktreeConfig = true\n' > x/config; \
         printf '[core]\n\tbare = false\n\tworktree = %s\n' $PWD > config.worktree";
    let ran = run(&stage, false, &format!("mkdir sub; cd sub; {bare}"));
    for path in ["sub/commondir", "sub/config.worktree", "sub/x/config"] {
        assert!(
            ran.output.contains(&format!("change {path}\n")),
            "{path}: {ran:?}"
        );
        assert!(!stage.folder.join(path).exists(), "{path}");
    }
    // And where the working folder itself is to be one.
    let stage = Stage::new();
    let ran = run(&stage, false, bare);
    for path in ["commondir", "config.worktree", "x/config"] {
        assert!(
            ran.output.contains(&format!("change {path}\n")),
            "{path}: {ran:?}"
        );
        assert!(!stage.folder.join(path).exists(), "{path}");
    }
}

#[test]
fn what_leads_the_users_other_work_trees_to_their_repository_cannot_be_changed() {
    let stage = Stage::new();
    with_repository(&stage);
    git(&stage, &["worktree", "add", "-q", "../feature"]);
    for folder in [".git", "../feature"] {
        give_all(&stage, stage.folder.join(folder));
    }
    let ran = run(
        &stage,
        false,
        "for at in .git /run/countersign/git; do cd $at/worktrees; \
           for file in commondir gitdir config.worktree HEAD; do echo evil > feature/$file || echo held; done; \
           mv feature other || echo held; cd -; done > log 2> /dev/null; grep -c held log; rm log; \
         git worktree add -q new; mkdir -p .git/worktrees/mine; echo evil > .git/worktrees/mine/commondir; echo x > .git/worktrees/mine/HEAD",
    );
    assert!(ran.output.starts_with("10\n"), "{ran:?}");
    assert!(
        ran.output
            .contains("change .git/worktrees/mine/commondir\n"),
        "{ran:?}"
    );
    assert!(!ran.output.contains("feature"), "{ran:?}");
    assert!(!stage.folder.join(".git/worktrees/mine/commondir").exists());
    assert_eq!(
        git(&stage, &["-C", "../feature", "log", "--format=%s"]),
        "one\n"
    );
}

#[test]
fn hooks_and_settings_elsewhere_to_which_gits_settings_lead_wait_for_a_yes() {
    let stage = Stage::new();
    with_repository(&stage);
    git(&stage, &["config", "core.hooksPath", ".husky/_"]);
    git(&stage, &["config", "include.path", "../.gitconfig"]);
    git(
        &stage,
        &["config", "includeIf.onbranch:x.path", "../late/settings"],
    );
    git(&stage, &["config", "filter.x.clean", "tools/clean.sh %f"]);
    stage.write(&stage.folder.join(".husky/_/pre-commit"), "mine");
    stage.write(&stage.folder.join(".gitconfig"), "[x]\n\ty = mine\n");
    stage.write(&stage.folder.join("tools/clean.sh"), "mine");
    stage.write(
        &stage.home.join(".gitconfig"),
        "[core]\n\thooksPath = own/hooks\n",
    );
    give_all(&stage, stage.folder.join(".git"));
    let ran = run(
        &stage,
        false,
        "for at in .husky/_/pre-commit .husky/_/post-merge own/hooks/pre-commit; do echo evil > $at; done; cat .husky/_/pre-commit; \
         echo evil >> .gitconfig; mkdir late; echo evil > late/settings; echo changed > tools/clean.sh",
    );
    assert!(ran.output.starts_with("evil\n"), "{ran:?}");
    for path in [
        ".gitconfig",
        ".husky/_/pre-commit",
        ".husky/_/post-merge",
        "late/settings",
        "own/hooks/pre-commit",
    ] {
        assert!(
            ran.output.contains(&format!("change {path}\n")),
            "{path}: {ran:?}"
        );
    }
    assert!(
        ran.output.contains("built-from tools/clean.sh\n"),
        "{ran:?}"
    );
    assert_nothing_evil(&stage, &ran);
    assert!(!stage.folder.join("own").exists());
}

#[test]
fn what_is_mounted_over_cannot_be_changed_by_another_name_of_it() {
    let stage = Stage::new();
    with_repository(&stage);
    let path = |name: &str| stage.folder.join(name);
    stage.write(&path(".vscode/tasks.json"), "mine");
    std::fs::hard_link(path(".vscode/tasks.json"), path("other")).unwrap();
    std::fs::hard_link(path(".git/config"), path(".git/other")).unwrap();
    let ran = run(&stage, false, "echo evil > other; echo evil > .git/other");
    assert_eq!(ran.output, "", "{ran:?}");
    let tasks = std::fs::read_to_string(path(".vscode/tasks.json")).unwrap();
    assert_eq!(tasks, "mine");
    assert!(!git(&stage, &["config", "--list"]).contains("evil"));
}

#[test]
fn what_the_users_session_starts_from_is_read_only_wherever_it_really_lies() {
    let stage = Stage::new();
    let path = |name: &str| stage.folder.join(name);
    for name in ["bashrc", "bin/tool", "a/nvim/init.lua"] {
        stage.write(&path(name), "mine");
    }
    for folder in [".local", ".config"] {
        stage.make_folder(&stage.home.join(folder));
    }
    for (to, link) in [
        ("project/bashrc", ".bashrc"),
        ("../project/bin", ".local/bin"),
        ("../project/a/nvim", ".config/nvim"),
    ] {
        symlink(to, stage.home.join(link)).unwrap();
    }
    let ran = run(
        &stage,
        false,
        "for at in bashrc bin/tool bin/new a/nvim/init.lua; do (echo evil > $at) 2>/dev/null || echo held; done; \
         for at in bashrc bin a a/nvim; do mv $at other 2>/dev/null || echo held; done; echo x > a/new",
    );
    assert_eq!(ran.output, "held\n".repeat(8), "{ran:?}");
    assert!(path("a/new").exists());
}

#[test]
fn what_the_user_changes_meanwhile_is_the_users_and_what_the_run_puts_in_its_place_is_not() {
    let stage = Stage::new();
    for name in [".vscode/settings.json", ".idea/x.xml"] {
        stage.write(&stage.folder.join(name), "mine");
    }
    let script = "touch ready; while [ ! -e go ]; do sleep 0.05; done; \
         for at in .idea .zed; do mkdir -p $at; echo evil > $at/tasks.json; done";
    let mut launcher = stage.launch(&[keep(&stage)], &["/bin/sh", "-c", script]);
    let launcher = launcher.stdout(Stdio::piped()).spawn().unwrap();
    eventually("the run is there", || stage.folder.join("ready").exists());
    std::fs::write(stage.folder.join(".vscode/settings.json"), "later").unwrap();
    // As git does it, when it checks out a branch without them.
    std::fs::remove_dir_all(stage.folder.join(".idea")).unwrap();
    std::fs::remove_dir(stage.folder.join(".zed")).unwrap();
    stage.write(&stage.folder.join("go"), "");
    let output = launcher.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for path in [".idea/tasks.json", ".zed/tasks.json"] {
        assert!(text.contains(&format!("change {path}\n")), "{path}: {text}");
        assert!(!stage.folder.join(path).exists(), "{path}");
    }
    assert!(!text.contains(".vscode"), "{text}");
    let settings = stage.folder.join(".vscode/settings.json");
    assert_eq!(std::fs::read_to_string(settings).unwrap(), "later");
}

#[test]
fn a_link_that_a_run_left_in_the_repository_shows_the_next_run_nothing() {
    let stage = Stage::new();
    with_repository(&stage);
    stage.write(&stage.home.join(".ssh/id"), &stage.canary);
    let ssh = stage.home.join(".ssh").display().to_string();
    let folders = "branches info logs lfs remotes rr-cache svn worktrees";
    let plant = format!("cd .git; for at in {folders}; do rm -rf $at; ln -s {ssh} $at; done");
    let first = stage.shell(&plant);
    assert_eq!(first.code, Some(0), "{first:?}");
    let ran = run(
        &stage,
        false,
        &format!(
            "for at in {folders}; do cat /run/countersign/git/$at/id 2>/dev/null && echo REACHED; \
             echo x > /run/countersign/git/$at/new 2>/dev/null || true; done; git log --format=%s"
        ),
    );
    assert_eq!(ran.output, "one\n", "{ran:?}");
    assert!(!stage.home.join(".ssh/new").exists());
    // Nor where git keeps the objects.
    std::fs::remove_dir_all(stage.home.join("keep")).unwrap();
    let plant = format!("mv .git/objects .git/kept; ln -s {ssh} .git/objects");
    assert_eq!(stage.shell(&plant).code, Some(0));
    let ran = run(
        &stage,
        false,
        "cat /run/countersign/git/objects/id .git/objects/id 2>/dev/null && echo REACHED; true",
    );
    assert_eq!(ran.output, "", "{ran:?}");
}

#[test]
fn restoring_does_not_go_through_a_link_that_the_run_left() {
    let stage = Stage::new();
    stage.write(&stage.folder.join("sub/.idea/x.xml"), "mine");
    stage.write(&stage.folder.join("venv/site-packages/a.pth"), "mine");
    stage.write(&stage.home.join("elsewhere/site-packages/a.pth"), "yours");
    let ran = run(
        &stage,
        true,
        "echo evil > sub/.idea/x.xml; mv sub gone; ln -s ../elsewhere sub; mv venv old; ln -s ../elsewhere venv",
    );
    assert!(ran.output.contains("refused sub/.idea/x.xml"), "{ran:?}");
    let elsewhere = stage.home.join("elsewhere");
    assert_eq!(
        std::fs::read_to_string(elsewhere.join("site-packages/a.pth")).unwrap(),
        "yours"
    );
    assert!(!elsewhere.join(".idea").exists());
}
