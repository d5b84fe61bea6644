//! macOS and Windows: the system's own hotkeys. Not yet run there.

use super::Hotkey;
use tauri::AppHandle;
use tauri_plugin_global_shortcut::{Builder, GlobalShortcutExt as _, ShortcutState};

pub(super) fn listen(
    app: &AppHandle,
    hotkey: &Hotkey,
    fired: impl Fn() + Send + Sync + 'static,
    works: impl Fn(Result<(), String>) + Send + Sync + 'static,
) {
    let registered = Builder::new()
        .with_handler(move |_, _, event| {
            if event.state == ShortcutState::Pressed {
                fired();
            }
        })
        .build();
    let registered = app
        .plugin(registered)
        .map_err(|e| e.to_string())
        .and_then(|()| {
            app.global_shortcut()
                .register(hotkey.to_string().as_str())
                .map_err(|e| e.to_string())
        });
    works(registered.map_err(|e| format!("{hotkey} cannot be registered: {e}.")));
}
