//! Names every command that the page may call: what is not listed here and in
//! `capabilities/` does not exist for it.

fn main() {
    println!("cargo:rerun-if-changed=../ui/dist");
    if !std::path::Path::new("../ui/dist/index.html").exists() {
        println!(
            "cargo:warning=ui/dist is missing: run `npm ci --ignore-scripts && npm run build` in ui/, or `cargo xtask run`"
        );
    }
    let commands = tauri_build::AppManifest::new().commands(&[
        "state",
        "waiting",
        "request",
        "deny",
        "hold_start",
        "hold_finish",
        "stop",
        "stop_agent",
        "resume_start",
        "resume_finish",
        "resume_agent_start",
        "resume_agent_finish",
        "timeline",
        "record",
        "examine",
        "hotkey_try",
        "hotkey_forget",
        "hotkey_use",
    ]);
    if let Err(error) =
        tauri_build::try_build(tauri_build::Attributes::new().app_manifest(commands))
    {
        println!("cargo:error={error:#}");
        std::process::exit(1);
    }
}
