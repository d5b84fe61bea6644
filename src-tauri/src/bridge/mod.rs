//! Commands and events for the page: they translate, nothing more.
//!
//! What is foreign crosses neutralised (G7); the page shows it as text nodes.

#![allow(
    clippy::needless_pass_by_value,
    reason = "tauri hands a command its arguments by value"
)]

pub(crate) mod timeline;
pub(crate) mod view;

use crate::app::Hub;
use countersign_model::{AgentId, Digest, QuestionId, Span, Words};
use countersign_protocol::surface::{About, FromSurface};
use std::sync::Arc;
use std::time::Instant;
use tauri::{Builder, State, Wry};

type TheHub<'a> = State<'a, Arc<Hub>>;

/// Exactly these commands exist; `build.rs` and `capabilities/` name them too.
pub(crate) fn commands(builder: Builder<Wry>) -> Builder<Wry> {
    builder.invoke_handler(tauri::generate_handler![
        state,
        waiting,
        request,
        deny,
        hold_start,
        hold_finish,
        stop,
        stop_agent,
        resume_start,
        resume_finish,
        resume_agent_start,
        resume_agent_finish,
        timeline,
        record,
        examine,
        hotkey_try,
        hotkey_forget,
        hotkey_use,
    ])
}

#[tauri::command]
fn state(hub: TheHub<'_>) -> view::StateView {
    view::state(&hub.desk())
}

#[tauri::command]
fn waiting(hub: TheHub<'_>) -> Vec<view::QuestionView> {
    view::waiting(&hub.desk())
}

#[tauri::command]
fn request(hub: TheHub<'_>, id: QuestionId) -> Option<view::QuestionView> {
    let (question, outputs) = hub.desk().lay_out(&id, Instant::now())?;
    for output in outputs {
        hub.perform(output);
    }
    Some(view::question(&question))
}

#[tauri::command]
fn deny(
    hub: TheHub<'_>,
    id: QuestionId,
    digest: Digest,
    because: Option<String>,
) -> Result<(), String> {
    let because = because.map(|text| text.chars().take(300).collect());
    let output = hub.desk().deny(&id, digest, because, Instant::now())?;
    hub.perform(output);
    Ok(())
}

#[tauri::command]
fn hold_start(hub: TheHub<'_>, id: QuestionId, digest: Digest) -> Result<(), String> {
    Ok(hub.desk().hold_start(&id, digest, Instant::now())?)
}

#[tauri::command]
fn hold_finish(hub: TheHub<'_>, id: QuestionId, digest: Digest) -> Result<(), String> {
    let output = hub.desk().hold_finish(&id, digest, Instant::now())?;
    hub.perform(output);
    Ok(())
}

#[tauri::command]
fn stop(hub: TheHub<'_>) -> Result<(), String> {
    hub.stop(None)
}

#[tauri::command]
fn stop_agent(hub: TheHub<'_>, agent: AgentId) -> Result<(), String> {
    hub.stop(Some(agent))
}

#[tauri::command]
fn resume_start(hub: TheHub<'_>) -> Result<(), String> {
    Ok(hub.desk().resume_start(Instant::now())?)
}

/// A refusal of the authority reaches the human as its sentence; that it was
/// done shows in the state that follows.
#[tauri::command]
fn resume_finish(hub: TheHub<'_>) -> Result<(), String> {
    let presses = hub.desk().resume_finish(Instant::now())?;
    hub.authority
        .say(&FromSurface::Resume {
            call: 0,
            presses,
            agent: None,
        })
        .map_err(|_| "The authority is gone.".to_owned())
}

#[tauri::command]
fn resume_agent_start(hub: TheHub<'_>, agent: AgentId) -> Result<(), String> {
    Ok(hub.desk().resume_agent_start(&agent, Instant::now())?)
}

#[tauri::command]
fn resume_agent_finish(hub: TheHub<'_>, agent: AgentId) -> Result<(), String> {
    let presses = hub.desk().resume_agent_finish(&agent, Instant::now())?;
    hub.authority
        .say(&FromSurface::Resume {
            call: 0,
            presses,
            agent: Some(agent),
        })
        .map_err(|_| "The authority is gone.".to_owned())
}

#[tauri::command(async)]
fn timeline(
    hub: TheHub<'_>,
    filter: view::TimelineFilter,
) -> Result<Vec<view::TimelineRow>, String> {
    let filter = timeline::filter(filter)?;
    let entries = hub.authority.timeline(filter)?;
    Ok(entries.iter().map(timeline::row).collect())
}

#[tauri::command(async)]
fn record(hub: TheHub<'_>, index: u64) -> Result<Option<view::RecordView>, String> {
    let filter = timeline::only(index);
    let entries = hub.authority.timeline(filter)?;
    Ok(entries
        .iter()
        .find(|entry| entry.index == index)
        .map(timeline::record))
}

/// Tries every boundary, as `countersign doctor` does.
#[tauri::command(async)]
fn examine(hub: TheHub<'_>) -> Result<Vec<view::CheckView>, String> {
    Ok(hub.authority.examine()?.iter().map(view::check).collect())
}

/// Another stop key, as the human pressed it: listened for, to see whether it is
/// heard.
#[tauri::command]
fn hotkey_try(hub: TheHub<'_>, keys: String) -> Result<(), String> {
    let outputs = hub
        .desk()
        .try_hotkey(&keys, crate::hotkey::desktop_decides())?;
    outputs.into_iter().for_each(|output| hub.perform(output));
    Ok(())
}

#[tauri::command]
fn hotkey_forget(hub: TheHub<'_>) {
    let outputs = hub.desk().forget_trial();
    outputs.into_iter().for_each(|output| hub.perform(output));
}

/// It is asked for; the question to the human follows from the authority.
#[tauri::command]
fn hotkey_use(hub: TheHub<'_>) -> Result<(), String> {
    let outputs = hub.desk().use_trial()?;
    outputs.into_iter().for_each(|output| hub.perform(output));
    Ok(())
}

/// What a question is about, as a sentence: for cards, menus and the page.
pub(crate) fn title(about: &About) -> Vec<Span> {
    let words = match about {
        About::Request(request) => return request.action.words.spans().to_vec(),
        About::Config { .. } => Words::new("Accept the changed configuration"),
        About::SetCredential {
            account,
            replaces: false,
            ..
        } => Words::new(format!("Store a credential for the account {account}")),
        About::SetCredential { account, .. } => {
            Words::new(format!("Replace the credential of the account {account}"))
        }
        About::LeftBehind { agent, .. } => Words::new(format!(
            "Put in force what {agent} changed that your other programs execute"
        )),
        About::RemoveCredential { account } => {
            Words::new(format!("Remove the credential of the account {account}"))
        }
        About::Resume { trigger, .. } => Words::new(format!(
            "Lift the stop, engaged by {}",
            timeline::trigger(*trigger)
        )),
        About::ResumeAgent { agent, trigger, .. } => Words::new(format!(
            "Let {agent} go on, stopped by {}",
            timeline::trigger(*trigger)
        )),
        About::LiftDenials { agent } => {
            Words::new(format!("Let {agent} ask again, after three denials"))
        }
        About::Test {} => Words::new("Test, by countersign doctor: does your click come back"),
    };
    words.spans().to_vec()
}
