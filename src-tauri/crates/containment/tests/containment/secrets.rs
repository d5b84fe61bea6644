//! G1: no credential reaches an agent.

use crate::stage::{PROBE, Stage};
use std::os::unix::net::UnixListener;

#[test]
fn the_environment_is_exactly_the_allow_list() {
    let stage = Stage::new();
    let ran = stage.run_with(
        &["placeholder=GH_TOKEN=a-placeholder".into()],
        &[PROBE, "environment"],
    );
    let names: Vec<&str> = ran
        .output
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
        .filter(|name| {
            !name.starts_with("GIT_CONFIG_KEY_") && !name.starts_with("GIT_CONFIG_VALUE_")
        })
        .collect();
    #[rustfmt::skip]
    let expected = [
        "ALL_PROXY", "AWS_CA_BUNDLE", "AWS_EC2_METADATA_DISABLED", "CARGO_HTTP_CAINFO",
        "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE", "COUNTERSIGN_RUN", "CURL_CA_BUNDLE", "DENO_CERT",
        "GH_TOKEN", "GIT_CONFIG_COUNT", "GIT_SSL_CAINFO", "GIT_TERMINAL_PROMPT",
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "HOME", "HTTPLIB2_CA_CERTS", "HTTPS_PROXY", "HTTP_PROXY",
        "JAVA_TOOL_OPTIONS", "LANG", "LOGNAME", "NIX_SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS",
        "NODE_USE_ENV_PROXY", "NO_GCE_CHECK", "NO_PROXY", "PATH", "PIP_CERT", "REQUESTS_CA_BUNDLE",
        "SHELL", "SSL_CERT_FILE", "TERM", "USER", "YARN_HTTPS_CA_FILE_PATH", "YARN_HTTPS_PROXY",
        "YARN_HTTP_PROXY", "all_proxy", "http_proxy", "https_proxy", "no_proxy", "npm_config_audit", "npm_config_cafile",
        "npm_config_update_notifier",
    ];
    assert_eq!(names, expected, "{ran:?}");
}

#[test]
fn no_process_of_a_run_shows_the_callers_environment() {
    let stage = Stage::new();
    let ran = stage.shell("cat /proc/*/environ /proc/*/cmdline /proc/*/task/*/environ; env; true");
    assert!(ran.output.contains("COUNTERSIGN_RUN=contained"), "{ran:?}");
    assert!(!format!("{ran:?}").contains(&stage.canary), "{ran:?}");
}

#[test]
fn init_cannot_be_looked_into() {
    let stage = Stage::new();
    let ran = stage.run(&[
        PROBE,
        "read",
        "/proc/1/environ",
        "/proc/1/mem",
        "/proc/1/maps",
        "/proc/1/fd/0",
        "/proc/1/exe",
        "/proc/1/root/etc/passwd",
        "/proc/1/auxv",
    ]);
    for (name, finding) in ran.output.lines().filter_map(|line| line.split_once(": ")) {
        assert_eq!(finding, libc::EACCES.to_string(), "{name}");
    }
    assert_eq!(ran.output.lines().count(), 7, "{ran:?}");
}

#[test]
fn no_descriptor_above_two_is_inherited_and_none_is_the_callers() {
    let stage = Stage::new();
    // Standard error is a file of the caller's; others a careless shell left open.
    let log = stage.path().join("log");
    let careless = "exec 7<>/dev/null 200</dev/null; exec \"$0\" \"$@\"";
    let output = stage
        .launch_by(&["/bin/bash", "-c", careless], &[], &[PROBE, "descriptors"])
        .stderr(std::fs::File::create(&log).unwrap())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut numbers: Vec<&str> = text
        .lines()
        .map(|line| line.split_once(' ').unwrap().0)
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, ["0", "1", "2"], "{output:?}");
    assert!(text.lines().all(|line| line.contains("pipe:")), "{text}");
}

#[test]
fn secret_places_and_countersigns_own_are_absent() {
    let stage = Stage::new();
    let secrets = [
        ".ssh/id_ed25519",
        ".aws/credentials",
        ".config/gh/hosts.yml",
        ".netrc",
        ".npmrc",
        ".pypirc",
        ".cargo/credentials.toml",
        ".docker/config.json",
        ".kube/config",
        ".gnupg/secring.gpg",
        ".mozilla/firefox/profile/logins.json",
        ".local/share/keyrings/login.keyring",
        ".bash_history",
        ".password-store/site.gpg",
        ".claude.json",
        ".git-credentials",
    ];
    for secret in secrets {
        stage.write(&stage.home.join(secret), &stage.canary);
    }
    // A tool chain is there, its neighbour with the token is not.
    stage.write(&stage.home.join(".cargo/bin/tool"), "a tool");
    stage.write(&stage.path().join("authority/state.db"), &stage.canary);
    let mut command = vec![PROBE.to_owned(), "read".to_owned()];
    command.extend(secrets.map(|secret| stage.home.join(secret).display().to_string()));
    command.push(
        stage
            .path()
            .join("authority/state.db")
            .display()
            .to_string(),
    );
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let ran = stage.run(&command);
    for target in &command[2..] {
        ran.assert_refused(target, libc::ENOENT);
    }
    let ran = stage.shell("cd; find . -type f | sort; cat .cargo/bin/tool; ls /tmp /var/tmp");
    assert!(
        ran.output.starts_with("./.cargo/bin/tool\na tool"),
        "{ran:?}"
    );
    let ran = stage.shell(&format!(
        "grep -rs {} / --exclude-dir=proc --exclude-dir=usr; true",
        stage.canary
    ));
    assert_eq!((ran.code, ran.output.as_str()), (Some(0), ""), "{ran:?}");
}

#[test]
fn only_the_working_folder_and_temporary_places_can_be_written() {
    let stage = Stage::new();
    let inside = stage.folder.join("file").display().to_string();
    let home = stage.home.join("file").display().to_string();
    let outside = [
        "/usr/x",
        "/etc/x",
        "/x",
        "/run/x",
        "/dev/x",
        "/run/countersign/ca.pem",
        "/etc/passwd",
    ];
    let mut command = vec![PROBE, "write", &inside, &home, "/tmp/x", "/dev/shm/x"];
    command.extend(outside);
    let ran = stage.run(&command);
    for allowed in &command[2..6] {
        assert_eq!(ran.finding(allowed), "ok", "{allowed}");
    }
    for refused in outside {
        assert_ne!(ran.finding(refused), "ok", "{refused}");
    }
    assert_eq!(
        std::fs::read_to_string(stage.folder.join("file")).unwrap(),
        "x"
    );
    assert!(
        !stage.home.join("file").exists(),
        "the home of a run is its own"
    );
}

#[test]
fn git_hooks_and_config_cannot_be_changed_nor_moved_aside() {
    let stage = Stage::new();
    stage.write(&stage.folder.join(".git/config"), "[core]\n");
    stage.write(&stage.folder.join(".git/HEAD"), "ref: refs/heads/main\n");
    let ran = stage.shell(
        "echo x > .git/hooks/pre-commit && echo hook; echo x >> .git/config && echo config; \
         mv .git aside && echo moved; rm -rf .git/hooks; mv .git/config .git/c && echo renamed; \
         echo main > .git/MERGE_MSG && echo works",
    );
    assert_eq!(ran.output, "works\n", "{ran:?}");
    assert_eq!(
        std::fs::read_to_string(stage.folder.join(".git/config")).unwrap(),
        "[core]\n"
    );
}

#[test]
fn git_cannot_be_led_to_settings_elsewhere() {
    let stage = Stage::new();
    stage.write(&stage.folder.join(".git/config"), "[core]\n");
    stage.write(&stage.folder.join(".git/HEAD"), "ref: refs/heads/main\n");
    let module = stage.folder.join(".git/modules/sub/config");
    stage.write(&module, "[core]\n");
    let ran = stage.shell(
        "mkdir .git/c; echo c > .git/commondir && echo redirected; \
         rm -f .git/commondir && echo removed; mv .git/modules .git/m && echo moved; \
         echo x >> .git/modules/sub/config && echo module; echo x > .git/MERGE_MSG && echo works",
    );
    assert_eq!(ran.output, "works\n", "{ran:?}");
    assert_eq!(std::fs::read_to_string(module).unwrap(), "[core]\n");
}

#[test]
fn a_socket_that_was_bound_by_a_relative_name_is_out_of_reach() {
    let stage = Stage::new();
    let folder = stage.folder.join("run");
    std::fs::create_dir(&folder).unwrap();
    let mut server = std::process::Command::new("python3")
        .args(["-c", "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind('app.sock'); s.listen(); print('up', flush=True); sys.stdin.read()"])
        .current_dir(&folder)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut up = [0; 2];
    std::io::Read::read_exact(server.stdout.as_mut().unwrap(), &mut up).unwrap();
    let socket = folder.join("app.sock");
    stage.give(&folder);
    stage.give(&socket);
    let socket = socket.display().to_string();
    let ran = stage.run(&[PROBE, "unix", &socket]);
    drop(server.stdin.take());
    server.wait().unwrap();
    ran.assert_refused(&socket, libc::EACCES);
}

#[test]
fn of_all_sockets_that_a_run_sees_it_reaches_its_own_only() {
    let stage = Stage::new();
    let places = [
        "home/.cargo/bin",
        "home/project/deep/er",
        "home/.rustup/x",
        "home/project/.git",
    ];
    let _listeners = places.map(|folder| {
        let folder = stage.path().join(folder);
        stage.make_folder(&folder);
        let path = folder.join("other.sock");
        let listener = UnixListener::bind(&path).unwrap();
        stage.give(&path);
        listener
    });
    let ran = stage.run(&[PROBE, "every-socket"]);
    assert_eq!(ran.output, "", "{ran:?}");
}

#[test]
fn sockets_of_the_user_are_out_of_reach() {
    let mut stage = Stage::new();
    let bus = stage.path().join("bus.sock");
    let in_the_folder = stage.folder.join("editor.sock");
    let _listeners = [&bus, &in_the_folder].map(|path| {
        let listener = UnixListener::bind(path).unwrap();
        stage.give(path);
        listener
    });
    let address = format!("unix:path={}", bus.display());
    stage
        .variables
        .insert("DBUS_SESSION_BUS_ADDRESS".into(), address);
    stage
        .variables
        .insert("SSH_AUTH_SOCK".into(), bus.display().to_string());
    let (bus, in_the_folder) = (
        bus.display().to_string(),
        in_the_folder.display().to_string(),
    );
    let ran = stage.run(&[
        PROBE,
        "unix",
        &bus,
        &in_the_folder,
        "/run/docker.sock",
        "/tmp/.X11-unix/X0",
    ]);
    ran.assert_refused(&bus, libc::ENOENT);
    // An empty file lies over it, which nobody may write to.
    ran.assert_refused(&in_the_folder, libc::EACCES);
    ran.assert_refused("/run/docker.sock", libc::ENOENT);
    ran.assert_refused("/tmp/.X11-unix/X0", libc::ENOENT);
}

#[test]
fn dangerous_system_calls_are_refused() {
    let stage = Stage::new();
    let ran = stage.run(&[PROBE, "calls"]);
    for (name, finding) in ran.output.lines().filter_map(|line| line.split_once(": ")) {
        let expected = match name {
            "netlink-route" | "personality" | "udp" => "ok".to_owned(),
            "clone3" | "x32" | "old-rings" | "hidden-memory" | "call-of-the-future" => {
                libc::ENOSYS.to_string()
            }
            _ => libc::EPERM.to_string(),
        };
        assert_eq!(finding, expected, "{name}");
    }
    assert!(ran.output.lines().count() >= 33, "{ran:?}");
}

#[test]
fn a_run_leaves_no_program_behind_that_acts_as_its_user() {
    let stage = Stage::new();
    let ran = stage.run(&[PROBE, "set-user-id"]);
    for line in ran.output.lines() {
        let (_, finding) = line.split_once(": ").unwrap();
        assert_eq!(finding, libc::EPERM.to_string(), "{line}");
    }
    assert_eq!(ran.output.lines().count(), 8, "{ran:?}");
}

#[test]
fn where_memory_runs_out_a_run_goes_first() {
    let stage = Stage::new();
    let ran = stage.shell("cat /proc/self/oom_score_adj");
    assert_eq!(ran.output.trim(), "1000");
}

#[test]
fn a_run_has_no_capability_and_cannot_get_one() {
    let stage = Stage::new();
    let ran = stage.shell("grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status");
    for line in ran.output.lines() {
        let (name, value) = line.split_once(":\t").unwrap();
        let expected = match name {
            "NoNewPrivs" => "1",
            "Seccomp" => "2",
            _ => "0000000000000000",
        };
        assert_eq!(value, expected, "{name}");
    }
    assert_eq!(ran.output.lines().count(), 7, "{ran:?}");
}

#[test]
fn the_kernels_settings_are_read_only_and_what_tells_of_the_machine_is_empty() {
    let stage = Stage::new();
    let ran = stage.shell(
        "grep -c '^proc /proc/sys proc ro,' /proc/mounts; \
         echo x > /proc/sys/kernel/core_pattern && echo written; \
         echo 1 > /proc/sys/net/ipv4/ip_forward && echo written; \
         cat /proc/keys /proc/kallsyms /proc/interrupts /proc/modules | wc -c; ls /proc/irq /proc/bus | grep -c :$; \
         ls -A /proc/irq/ /proc/bus/ | grep -v : | wc -w; mount -o remount,rw /proc/sys && echo remounted; \
         echo works > /proc/self/comm; read name < /proc/self/comm; echo $name",
    );
    assert_eq!(ran.output, "1\n0\n2\n0\nworks\n", "{ran:?}");
}

#[test]
fn signals_end_at_the_edge_of_a_run() {
    let stage = Stage::new();
    let ran = stage.shell("kill -0 1 && echo reached; sleep 5 & kill $! && wait $!; echo $?");
    assert_eq!(ran.output, format!("{}\n", 128 + libc::SIGTERM), "{ran:?}");
}

#[test]
fn a_cache_of_the_users_in_the_working_folder_can_be_read_and_not_changed() {
    let mut stage = Stage::new();
    stage.folder = stage.home.join("go");
    stage.write(&stage.home.join("go/pkg/mod/fetched"), "theirs");
    stage.write(&stage.home.join("go/src/main.go"), "package main");
    let ran = stage.shell(
        "cat pkg/mod/fetched; echo mine > pkg/mod/fetched || echo kept; mv pkg aside || echo stays; echo x > src/new && echo works",
    );
    assert_eq!(ran.output, "theirskept\nstays\nworks\n", "{ran:?}");
}
