//! The one window: made when it is first opened, destroyed when it is closed.
//! Idle, there is no webview at all.

use countersign_model::QuestionId;
use tauri::webview::NewWindowResponse;
use tauri::{AppHandle, Emitter as _, Manager as _, WebviewUrl, WebviewWindowBuilder, WindowEvent};

const LABEL: &str = "main";

/// Puts the window before the human. `changed` hears when it has appeared and
/// when it is gone; the page hears of it as `appeared`.
///
/// # Errors
/// What the toolkit says.
pub(crate) fn open(
    app: &AppHandle,
    at: Option<&QuestionId>,
    changed: impl Fn(bool) + Send + 'static,
) -> tauri::Result<()> {
    let hash = at.map(|id| format!("#/request/{id}"));
    if let Some(window) = app.get_webview_window(LABEL) {
        changed(true);
        window.emit("appeared", &hash)?;
        window.unminimize()?;
        window.show()?;
        return window.set_focus();
    }
    let page = format!("index.html{}", hash.as_deref().unwrap_or("#/"));
    // Not `incognito`: a second window would then find no page, since wry gives
    // it a context of its own and tauri thinks that its protocol is registered.
    // The page stores nothing.
    let window = WebviewWindowBuilder::new(app, LABEL, WebviewUrl::App(page.into()))
        .title("Countersign")
        .inner_size(1080.0, 700.0)
        .min_inner_size(640.0, 420.0)
        .center()
        .devtools(false)
        .disable_drag_drop_handler()
        // The page is all there is: nothing leads out of it.
        .on_navigation(|url| url.scheme() == "tauri" && url.host_str() == Some("localhost"))
        .on_new_window(|_, _| NewWindowResponse::Deny)
        .on_download(|_, _| false)
        .build()?;
    changed(true);
    window.on_window_event(move |event| {
        if matches!(event, WindowEvent::Destroyed) {
            changed(false);
        }
    });
    window.set_focus()
}

/// Tells the page something, if there is one.
pub(crate) fn tell<T: serde::Serialize + Clone>(app: &AppHandle, event: &str, payload: &T) {
    if let Some(window) = app.get_webview_window(LABEL) {
        // A page that is being destroyed hears nothing any more.
        let _ = window.emit(event, payload.clone());
    }
}
