//! A run that is not contained has the settings and nothing else.

use crate::stage::Stage;

fn uncontained() -> [String; 1] {
    ["uncontained=yes".into()]
}

#[test]
fn an_uncontained_run_says_so_and_still_goes_through_its_gateway() {
    let stage = Stage::new();
    let probe = stage.path().join("probe").display().to_string();
    let ran = stage.run_with(&uncontained(), &[&probe, "through-the-port", "1000"]);
    assert_eq!(ran.output, "2000\n", "{ran:?}");
    let ran = stage.run_with(
        &uncontained(),
        &[
            "/bin/sh",
            "-c",
            "echo $COUNTERSIGN_RUN; cat $SSL_CERT_FILE; exit 4",
        ],
    );
    assert!(
        ran.output
            .starts_with("uncontained\n-----BEGIN CERTIFICATE"),
        "{ran:?}"
    );
    assert_eq!(ran.code, Some(4));
}

#[test]
fn killing_an_uncontained_run_kills_its_process_group() {
    let stage = Stage::new();
    let probe = stage.path().join("probe").display().to_string();
    let (ready, token) = (stage.folder.join("ready"), crate::stage::random());
    let [mode] = uncontained();
    let options = [
        mode,
        format!("kill-when={}", ready.display()),
        format!("report={}", stage.home.join("report").display()),
    ];
    let script = format!("{probe} stay {token} & touch ready; wait");
    let ran = stage.run_with(&options, &["/bin/sh", "-c", &script]);
    assert_eq!(ran.code, Some(128 + libc::SIGKILL), "{ran:?}");
    crate::stage::eventually("the group is gone", || {
        crate::stage::processes_with(&token) == 0
    });
}
