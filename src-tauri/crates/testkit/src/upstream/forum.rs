//! A forum: `GET /posts` and `POST /posts {"title", "text"}`.

use super::server::hold;
use super::{Reply, Seen, Upstream};
use serde_json::json;
use std::io;
use std::sync::{Arc, Mutex};

/// What was posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// Its title.
    pub title: String,
    /// Its text.
    pub text: String,
}

/// A forum that publishes what the holder of the credential posts.
#[derive(Debug)]
pub struct Forum {
    /// The server beneath.
    pub upstream: Upstream,
    posts: Arc<Mutex<Vec<Post>>>,
}

impl Forum {
    /// Starts an empty forum that serves `forum.corp.example` to the holder of
    /// this bearer credential.
    ///
    /// # Errors
    /// When the server cannot start.
    pub fn start(credential: &str) -> io::Result<Self> {
        let posts = Arc::new(Mutex::new(Vec::new()));
        let credential = credential.to_owned();
        let board = Arc::clone(&posts);
        let upstream = Upstream::start("forum.corp.example", move |seen| {
            if seen.bears(&credential) {
                answer(seen, &board)
            } else {
                Reply::status(401)
            }
        })?;
        Ok(Self { upstream, posts })
    }

    /// What was posted so far.
    #[must_use]
    pub fn posts(&self) -> Vec<Post> {
        hold(&self.posts).clone()
    }
}

fn answer(seen: &Seen, board: &Mutex<Vec<Post>>) -> Reply {
    let mut posts = hold(board);
    match (seen.method.as_str(), seen.path()) {
        ("GET", "/posts") => {
            let all: Vec<_> = posts
                .iter()
                .map(|p| json!({"title": p.title, "text": p.text}))
                .collect();
            Reply::json(200, &json!({ "posts": all }))
        }
        ("POST", "/posts") => {
            let content = seen.json().unwrap_or_default();
            let (Some(title), Some(text)) = (content["title"].as_str(), content["text"].as_str())
            else {
                return Reply::json(400, &json!({"detail": "title and text are needed"}));
            };
            posts.push(Post {
                title: title.to_owned(),
                text: text.to_owned(),
            });
            Reply::json(201, &json!({"id": posts.len()}))
        }
        _ => Reply::status(404),
    }
}
