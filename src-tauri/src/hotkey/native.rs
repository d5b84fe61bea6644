//! macOS and Windows: the system's own hotkeys. Not yet run there.

use super::{HELD, Heard};
use countersign_model::Hotkey;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use tauri::{AppHandle, Manager as _};
use tauri_plugin_global_shortcut::{Builder, GlobalShortcutExt as _, ShortcutState};

/// A combination that the system knows as ours.
#[derive(Debug)]
pub(super) struct Registered {
    app: AppHandle,
    keys: String,
}

impl Drop for Registered {
    fn drop(&mut self) {
        // It fails only when the program is ending.
        let _ = self.app.global_shortcut().unregister(self.keys.as_str());
    }
}

pub(super) fn listen(
    app: &AppHandle,
    hotkey: Hotkey,
    heard: impl Fn(Heard) + Send + Sync + 'static,
) -> Result<Registered, String> {
    let say = |e: &dyn std::fmt::Display| format!("{hotkey} cannot be registered: {e}.");
    if app
        .try_state::<tauri_plugin_global_shortcut::GlobalShortcut<tauri::Wry>>()
        .is_none()
    {
        app.plugin(Builder::new().build()).map_err(|e| say(&e))?;
    }
    let keys = hotkey.to_string();
    let heard = Arc::new(heard);
    let hand_on = Arc::clone(&heard);
    // Counts presses and releases: who has slept for a second sees whether
    // anything came between.
    let changes = Arc::new(AtomicU64::new(0));
    app.global_shortcut()
        .on_shortcut(keys.as_str(), move |_, _, event| {
            let now = changes.fetch_add(1, Ordering::SeqCst) + 1;
            if event.state != ShortcutState::Pressed {
                return;
            }
            hand_on(Heard::Pressed);
            let (heard, changes) = (Arc::clone(&hand_on), Arc::clone(&changes));
            thread::spawn(move || {
                thread::sleep(HELD);
                if changes.load(Ordering::SeqCst) == now {
                    heard(Heard::Held);
                }
            });
        })
        .map_err(|e| say(&e))?;
    heard(Heard::Works(hotkey.to_string()));
    Ok(Registered {
        app: app.clone(),
        keys,
    })
}
