//! An agent against its walls: files, kernel, processes, sockets.

use crate::range::{Range, SECRETS, agent};
use std::os::unix::net::UnixListener;

#[test]
fn no_secret_process_knob_or_link_leads_out_of_a_run() {
    let range = Range::new();
    let home = range.scene.desktop.path("home");
    let mut places: Vec<String> = SECRETS
        .iter()
        .map(|secret| home.join(secret).display().to_string())
        .collect();
    places
        .extend([range.scene.config(), range.scene.state()].map(|path| path.display().to_string()));
    places.extend(["/etc/shadow", "/root", "/etc/sudoers"].map(str::to_owned));
    let places: Vec<&str> = places.iter().map(String::as_str).collect();
    range.withstands(agent!("secret_places.py"), &places);
    range.withstands(agent!("other_processes.py"), &[]);
    range.withstands(agent!("kernel_knobs.py"), &[]);

    let outside = home.join("notes");
    range.write(&outside, "mine\n");
    range.write(&home.join(".bashrc"), "mine\n");
    range.withstands(agent!("links_out.py"), &[outside.to_str().unwrap()]);
    for file in [&outside, &home.join(".bashrc")] {
        assert_eq!(std::fs::read_to_string(file).unwrap(), "mine\n");
    }
    assert!(!home.join(".ssh/authorized_keys").exists());
    range.still_works();
}

#[test]
fn no_socket_of_the_users_answers_and_no_command_of_the_products_obeys() {
    let range = Range::new();
    let desktop = &range.scene.desktop;
    let work = range.folder("work");
    let editor = work.join("editor.sock");
    let _listener = UnixListener::bind(&editor).unwrap();
    desktop.person().give(&editor).unwrap();
    let mut sockets: Vec<String> = desktop
        .env()
        .iter()
        .filter_map(|(_, value)| Some(value.split_once("path=")?.1.split(',').next()?.to_owned()))
        .collect();
    sockets.extend([editor.display().to_string()]);
    let runtime = desktop
        .env()
        .iter()
        .find(|(name, _)| name == "XDG_RUNTIME_DIR")
        .unwrap();
    sockets
        .extend(["control.sock", "runs"].map(|name| format!("{}/countersign/{name}", runtime.1)));
    assert!(sockets.len() >= 4, "{sockets:?}");
    let sockets: Vec<&str> = sockets.iter().map(String::as_str).collect();
    range.withstands(agent!("sockets.py"), &sockets);
    range.withstands(agent!("command_itself.py"), &[]);
    range.still_works();
}

#[test]
fn root_is_refused_with_words() {
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    let range = Range::new();
    let program = countersign_testkit::programs::built("countersign").unwrap();
    let output = std::process::Command::new(program)
        .args(["run", "--agent", "inbox-bot", "--", "true"])
        .envs(range.scene.desktop.env().iter().cloned())
        .current_dir(range.folder("work"))
        .output()
        .unwrap();
    let text = countersign_testkit::scene::said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("root cannot be contained"), "{text}");
}
