//! The tray: its menu is a pure value, made from the desk and tested as one;
//! the adapter below only draws it.

use crate::bridge::title;
use crate::cards;
use crate::desk::{Choice, Desk};
use countersign_protocol::surface::About;
use tauri::image::Image;
use tauri::menu::{IsMenuItem, MenuItem, PredefinedMenuItem};
use tauri::tray::{TrayIcon, TrayIconBuilder};
use tauri::{AppHandle, Wry};

/// How many questions the menu lists.
const LISTED: usize = 5;

/// The picture: three shapes, so that colour is not needed to tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Picture {
    Idle,
    Asking,
    Stopped,
}

/// One line of the menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// Said, not chosen.
    Line(String),
    Separator,
    Choice(Choice, String),
}

/// All that the tray shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Menu {
    pub(crate) picture: Picture,
    /// Beside the picture, where the tray has room: how many wait.
    pub(crate) count: Option<String>,
    pub(crate) items: Vec<Item>,
}

/// The tray for this desk.
pub(crate) fn menu(desk: &Desk) -> Menu {
    let waiting = desk.waiting();
    let stopped = desk.state().stopped.is_some();
    let (picture, line) = match waiting.len() {
        _ if stopped => (Picture::Stopped, "Stopped: nothing is released".to_owned()),
        0 => (Picture::Idle, "Idle: nothing waits for you".to_owned()),
        1 => (Picture::Asking, "1 question waits for you".to_owned()),
        n => (Picture::Asking, format!("{n} questions wait for you")),
    };
    let mut items = vec![Item::Line(line)];
    if desk.hotkey().1.is_err() {
        items.push(Item::Line("The stop's hotkey does not work".into()));
    }
    items.push(Item::Choice(Choice::Open, "Open Countersign".into()));
    items.push(Item::Separator);
    for question in waiting.iter().take(LISTED) {
        let what = cards::shown(&title(&question.about), 40);
        let label = match &question.about {
            About::Request(request) => {
                let where_ = if request.action.environment.is_production() {
                    " [PRODUCTION]"
                } else {
                    ""
                };
                format!("{}{where_}: {what}", request.agent)
            }
            _ => what,
        };
        items.push(Item::Choice(
            Choice::Question(question.id.clone()),
            shortened(&label, 90),
        ));
    }
    if waiting.len() > LISTED {
        items.push(Item::Line(format!("and {} more", waiting.len() - LISTED)));
    }
    if !waiting.is_empty() {
        items.push(Item::Separator);
    }
    if stopped {
        items.push(Item::Choice(
            Choice::Open,
            "Stopped. Resume in the window …".into(),
        ));
    } else {
        items.push(Item::Choice(Choice::Stop, "Stop all agents".into()));
    }
    items.push(Item::Separator);
    items.push(Item::Choice(Choice::Quit, "Quit Countersign".into()));
    let count = (!stopped && !waiting.is_empty()).then(|| waiting.len().to_string());
    Menu {
        picture,
        count,
        items,
    }
}

/// A menu leads to the whole; what is cut here is marked.
fn shortened(label: &str, limit: usize) -> String {
    if label.chars().count() <= limit {
        return label.to_owned();
    }
    label.chars().take(limit - 2).chain(" …".chars()).collect()
}

impl Choice {
    fn id(&self) -> String {
        match self {
            Self::Open => "open".into(),
            Self::Stop => "stop".into(),
            Self::Quit => "quit".into(),
            Self::Question(id) => id.to_string(),
        }
    }
    fn from_id(id: &str) -> Option<Self> {
        match id {
            "open" => Some(Self::Open),
            "stop" => Some(Self::Stop),
            "quit" => Some(Self::Quit),
            other => other.parse().ok().map(Self::Question),
        }
    }
}

/// The icon in the tray.
pub(crate) struct Tray {
    icon: TrayIcon<Wry>,
    drawn: Option<Menu>,
}

impl Tray {
    /// # Errors
    /// What the toolkit says.
    pub(crate) fn new(
        app: &AppHandle,
        chosen: impl Fn(Choice) + Send + Sync + 'static,
    ) -> tauri::Result<Self> {
        let icon = TrayIconBuilder::with_id("countersign")
            .icon(picture(Picture::Idle)?)
            .tooltip("Countersign")
            .on_menu_event(move |_, event| {
                if let Some(choice) = Choice::from_id(event.id().as_ref()) {
                    chosen(choice);
                }
            })
            .build(app)?;
        Ok(Self { icon, drawn: None })
    }

    /// Draws what has changed.
    ///
    /// # Errors
    /// What the toolkit says.
    pub(crate) fn draw(&mut self, app: &AppHandle, menu: Menu) -> tauri::Result<()> {
        if self
            .drawn
            .as_ref()
            .is_none_or(|d| d.picture != menu.picture)
        {
            self.icon.set_icon(Some(picture(menu.picture)?))?;
        }
        if self.drawn.as_ref().is_none_or(|d| d.count != menu.count) {
            self.icon.set_title(menu.count.as_deref())?;
        }
        if self.drawn.as_ref().is_none_or(|d| d.items != menu.items) {
            let native = tauri::menu::Menu::new(app)?;
            for item in &menu.items {
                native.append(&*drawn(app, item)?)?;
            }
            self.icon.set_menu(Some(native))?;
        }
        self.drawn = Some(menu);
        Ok(())
    }
}

fn drawn(app: &AppHandle, item: &Item) -> tauri::Result<Box<dyn IsMenuItem<Wry>>> {
    // An ampersand would underline the letter after it.
    let plain = |text: &str| text.replace('&', "&&");
    Ok(match item {
        Item::Line(text) => Box::new(MenuItem::new(app, plain(text), false, None::<&str>)?),
        Item::Separator => Box::new(PredefinedMenuItem::separator(app)?),
        Item::Choice(choice, text) => Box::new(MenuItem::with_id(
            app,
            choice.id(),
            plain(text),
            true,
            None::<&str>,
        )?),
    })
}

fn picture(picture: Picture) -> tauri::Result<Image<'static>> {
    Image::from_bytes(match picture {
        Picture::Idle => include_bytes!("../../icons/tray-idle.png"),
        Picture::Asking => include_bytes!("../../icons/tray-asking.png"),
        Picture::Stopped => include_bytes!("../../icons/tray-stopped.png"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::tests::{desk_with, question, stopped};

    #[test]
    fn an_idle_tray_can_open_stop_and_quit() {
        let menu = menu(&desk_with([]));
        assert_eq!(menu.picture, Picture::Idle);
        assert_eq!(menu.count, None);
        assert_eq!(
            menu.items,
            [
                Item::Line("Idle: nothing waits for you".into()),
                Item::Choice(Choice::Open, "Open Countersign".into()),
                Item::Separator,
                Item::Choice(Choice::Stop, "Stop all agents".into()),
                Item::Separator,
                Item::Choice(Choice::Quit, "Quit Countersign".into()),
            ]
        );
    }

    #[test]
    fn at_most_five_questions_are_listed_and_the_rest_is_counted() {
        let menu = menu(&desk_with((0..7).map(question)));
        assert_eq!(
            (menu.picture, menu.count.as_deref()),
            (Picture::Asking, Some("7"))
        );
        let listed = menu
            .items
            .iter()
            .filter(|i| matches!(i, Item::Choice(Choice::Question(_), _)));
        assert_eq!(listed.count(), 5);
        assert!(menu.items.contains(&Item::Line("and 2 more".into())));
    }

    #[test]
    fn a_stopped_tray_offers_no_stop_and_cannot_resume_by_itself() {
        let mut desk = desk_with([question(0)]);
        stopped(&mut desk);
        let menu = menu(&desk);
        assert_eq!(menu.picture, Picture::Stopped);
        assert!(
            menu.items
                .iter()
                .all(|i| !matches!(i, Item::Choice(Choice::Stop, _)))
        );
        assert!(menu.items.contains(&Item::Choice(
            Choice::Open,
            "Stopped. Resume in the window …".into()
        )));
    }

    #[test]
    fn a_choice_survives_its_way_through_the_toolkit() {
        let id = question(3).id;
        for choice in [
            Choice::Open,
            Choice::Stop,
            Choice::Quit,
            Choice::Question(id),
        ] {
            assert_eq!(Choice::from_id(&choice.id()), Some(choice));
        }
        assert_eq!(Choice::from_id("q-nonsense"), None);
    }
}
