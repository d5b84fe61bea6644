//! A mailbox with the shape of the Gmail API (`gmail.googleapis.com`, v1).

use super::server::hold;
use super::{Reply, Seen, Upstream};
use crate::random;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex};

const USER: &str = "/gmail/v1/users/me";
/// Gmail's own limit of ids in one batch.
const BATCH: usize = 1000;
/// Gmail's own limit of messages on a page.
const PAGE: usize = 500;
const DEFAULT_PAGE: usize = 100;

/// A message of the mailbox.
#[derive(Debug, Clone)]
pub struct Message {
    /// The subject.
    pub subject: String,
    /// Whether it lies in the trash.
    pub trashed: bool,
}

/// A mailbox that obeys the holder of the credential, as the real one does.
#[derive(Debug)]
pub struct Mailbox {
    /// The server beneath.
    pub upstream: Upstream,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// The bearer credentials that are good.
    tokens: HashSet<String>,
    refresh_token: Option<String>,
    messages: BTreeMap<String, Message>,
    sent: Vec<Value>,
}

impl Mailbox {
    /// Starts a mailbox with this many messages for the holder of this bearer
    /// credential.
    ///
    /// # Errors
    /// When the server cannot start.
    pub fn start(credential: &str, messages: usize) -> io::Result<Self> {
        Self::start_with(HashSet::from([credential.to_owned()]), None, messages)
    }

    /// Starts a mailbox for the holder of an OAuth 2 refresh token: `POST
    /// /token` gives a new access token for it (RFC 6749, section 6).
    ///
    /// # Errors
    /// When the server cannot start.
    pub fn start_oauth2(refresh_token: &str, messages: usize) -> io::Result<Self> {
        Self::start_with(HashSet::new(), Some(refresh_token.to_owned()), messages)
    }

    fn start_with(
        tokens: HashSet<String>,
        refresh_token: Option<String>,
        messages: usize,
    ) -> io::Result<Self> {
        let messages = (0..messages).map(generate).collect();
        let state = Arc::new(Mutex::new(State {
            tokens,
            refresh_token,
            messages,
            sent: Vec::new(),
        }));
        let served = Arc::clone(&state);
        let upstream = Upstream::start("gmail.googleapis.com", move |seen| {
            hold(&served).answer(seen)
        })?;
        Ok(Self { upstream, state })
    }

    /// How many messages there are, in the trash or not.
    #[must_use]
    pub fn kept(&self) -> usize {
        hold(&self.state).messages.len()
    }
    /// How many messages lie in the trash.
    #[must_use]
    pub fn trashed(&self) -> usize {
        hold(&self.state)
            .messages
            .values()
            .filter(|m| m.trashed)
            .count()
    }
    /// What was sent, as it was given to `messages.send`.
    #[must_use]
    pub fn sent(&self) -> Vec<Value> {
        hold(&self.state).sent.clone()
    }
    /// The ids of all messages, in order.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        hold(&self.state).messages.keys().cloned().collect()
    }
}

fn generate(n: usize) -> (String, Message) {
    const ABOUT: [&str; 6] = [
        "Invoice",
        "Minutes of the meeting",
        "Photos",
        "Your ticket",
        "Contract",
        "Newsletter",
    ];
    // Gmail's ids are 16 hexadecimal digits that grow with time.
    let id = format!("{:016x}", 0x18f0_0000_0000_0000_u64 + 7919 * n as u64);
    (
        id,
        Message {
            subject: format!("{} {n}", ABOUT[n % ABOUT.len()]),
            trashed: false,
        },
    )
}

impl State {
    fn answer(&mut self, seen: &Seen) -> Reply {
        if (seen.method.as_str(), seen.path()) == ("POST", "/token") {
            return self.token(seen);
        }
        if !self.tokens.iter().any(|token| seen.bears(token)) {
            return problem(401, "Request had invalid authentication credentials.");
        }
        let Some(path) = seen.path().strip_prefix(USER) else {
            return problem(404, "Not found");
        };
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        match (seen.method.as_str(), parts.as_slice()) {
            ("GET", ["profile"]) => {
                Reply::json(200, &json!({"messagesTotal": self.messages.len()}))
            }
            ("GET", ["messages"]) => self.list(seen),
            ("POST", ["messages", "batchDelete"]) => self.batch_delete(seen),
            ("POST", ["messages", "send"]) => {
                self.sent.push(seen.json().unwrap_or_default());
                Reply::json(
                    200,
                    &json!({"id": random::hex::<8>(), "labelIds": ["SENT"]}),
                )
            }
            ("GET", ["messages", id]) => match self.messages.get(*id) {
                Some(message) => Reply::json(200, &resource(id, message)),
                None => problem(404, "Requested entity was not found."),
            },
            ("DELETE", ["messages", id]) => match self.messages.remove(*id) {
                Some(_) => Reply::status(204),
                None => problem(404, "Requested entity was not found."),
            },
            ("POST", ["messages", id, verb @ ("trash" | "untrash")]) => {
                match self.messages.get_mut(*id) {
                    Some(message) => {
                        message.trashed = *verb == "trash";
                        Reply::json(200, &resource(id, message))
                    }
                    None => problem(404, "Requested entity was not found."),
                }
            }
            _ => problem(404, "Not found"),
        }
    }

    fn token(&mut self, seen: &Seen) -> Reply {
        let form = String::from_utf8_lossy(&seen.body).into_owned();
        let field = |name: &str| {
            form.split('&')
                .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
        };
        let good = field("grant_type") == Some("refresh_token")
            && self.refresh_token.is_some()
            && field("refresh_token") == self.refresh_token.as_deref();
        if !good {
            return Reply::json(400, &json!({"error": "invalid_grant"}));
        }
        let token = random::credential();
        self.tokens.insert(token.clone());
        Reply::json(
            200,
            &json!({"access_token": token, "expires_in": 3599, "token_type": "Bearer"}),
        )
    }

    fn list(&self, seen: &Seen) -> Reply {
        let size = seen
            .query("maxResults")
            .and_then(|n| n.parse().ok())
            .unwrap_or(DEFAULT_PAGE)
            .clamp(1, PAGE);
        // A page's token is the id of its first message.
        let from = seen.query("pageToken").unwrap_or_default().to_owned();
        let mut ids = self
            .messages
            .range(from..)
            .filter(|(_, m)| !m.trashed)
            .map(|(id, _)| id);
        let page: Vec<_> = ids
            .by_ref()
            .take(size)
            .map(|id| json!({"id": id, "threadId": id}))
            .collect();
        let mut reply = json!({"messages": page, "resultSizeEstimate": self.messages.len()});
        if let Some(next) = ids.next() {
            reply["nextPageToken"] = json!(next);
        }
        Reply::json(200, &reply)
    }

    fn batch_delete(&mut self, seen: &Seen) -> Reply {
        let content = seen.json().unwrap_or_default();
        let Some(ids) = content["ids"].as_array() else {
            return problem(400, "No message ids specified.");
        };
        if ids.len() > BATCH {
            return problem(400, "Too many message ids specified.");
        }
        for id in ids.iter().filter_map(Value::as_str) {
            self.messages.remove(id);
        }
        Reply::status(204)
    }
}

fn resource(id: &str, message: &Message) -> Value {
    let label = if message.trashed { "TRASH" } else { "INBOX" };
    json!({
        "id": id, "threadId": id, "labelIds": [label], "snippet": message.subject,
        "payload": {"mimeType": "text/plain", "headers": [{"name": "Subject", "value": message.subject}]},
    })
}

fn problem(code: u16, message: &str) -> Reply {
    Reply::json(code, &json!({"error": {"code": code, "message": message}}))
}
