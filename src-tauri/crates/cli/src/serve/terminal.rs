//! The terminal of `serve` as a surface: one question at a time, as one block.
//!
//! Standard input that is no terminal is no surface: what needs asking is then
//! denied. What was typed before a question was shown never answers it.

use super::Authority;
use countersign_broker::{GUARD, TERMINAL};
use countersign_model::{Answer, Assurance, QuestionId, SurfaceKind};
use countersign_protocol::surface::{Ended, Question, ToSurface};
use nix::sys::termios::{FlushArg, tcflush};
use std::collections::VecDeque;
use std::io::{BufRead as _, IsTerminal as _};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;

/// Attaches the terminal, where there is one.
pub(super) fn attach(authority: &Arc<Authority>) -> bool {
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return false;
    }
    let (lines_in, lines) = mpsc::channel(16);
    let reader = std::thread::Builder::new()
        .name("terminal".into())
        .spawn(move || {
            for line in std::io::stdin().lock().lines() {
                let Ok(line) = line else { return };
                if lines_in.blocking_send(line).is_err() {
                    return;
                }
            }
        });
    if reader.is_err() {
        return false;
    }
    tokio::spawn(
        Terminal {
            authority: Arc::clone(authority),
            since: Instant::now(),
            queue: VecDeque::new(),
        }
        .run(lines),
    );
    true
}

struct Terminal {
    authority: Arc<Authority>,
    /// When the first question was put before the human.
    since: Instant,
    /// Open questions; the first is before the human.
    queue: VecDeque<Question>,
}

impl Terminal {
    async fn run(mut self, mut lines: mpsc::Receiver<String>) {
        let broker = self.authority.broker.clone();
        let (id, _to, mut messages) = broker.desk().attach(TERMINAL, Assurance::Window);
        loop {
            tokio::select! {
                message = messages.recv() => match message {
                    Some(message) => self.heard(message, &mut lines),
                    None => return,
                },
                line = lines.recv() => match line {
                    Some(line) => self.typed(line.trim(), &mut lines),
                    None => break,
                },
            }
        }
        // The terminal was closed: what only it could ask is denied.
        broker.desk().detach(id);
    }

    fn heard(&mut self, message: ToSurface, lines: &mut mpsc::Receiver<String>) {
        match message {
            ToSurface::Ask(question) => {
                match self.queue.iter().position(|q| q.id == question.id) {
                    Some(place) => {
                        if let Some(known) = self.queue.get_mut(place) {
                            *known = *question;
                        }
                        // What was shown has changed, or an answer did not
                        // count: show it anew.
                        if place == 0 {
                            self.show(lines);
                        }
                    }
                    None => {
                        self.queue.push_back(*question);
                        if self.queue.len() == 1 {
                            self.show(lines);
                        }
                    }
                }
            }
            ToSurface::Withdraw { question, ended } => self.withdrawn(&question, &ended, lines),
            ToSurface::State(state) => {
                if let Some(stop) = state.stopped {
                    crate::say::stopped(&stop);
                }
            }
            _ => {}
        }
    }

    fn withdrawn(
        &mut self,
        question: &QuestionId,
        ended: &Ended,
        lines: &mut mpsc::Receiver<String>,
    ) {
        let was_shown = self.queue.front().is_some_and(|q| &q.id == question);
        self.queue.retain(|q| &q.id != question);
        if was_shown {
            crate::say::question_over(ended);
            self.show(lines);
        }
    }

    fn show(&mut self, lines: &mut mpsc::Receiver<String>) {
        let Some(question) = self.queue.front() else {
            return;
        };
        // Typed ahead: gone, in the kernel and in our queue.
        let _ = tcflush(std::io::stdin(), FlushArg::TCIFLUSH);
        while lines.try_recv().is_ok() {}
        crate::say::question(question);
        self.since = Instant::now();
        self.authority
            .broker
            .desk()
            .shown(&question.id, question.digest);
    }

    fn typed(&mut self, line: &str, lines: &mut mpsc::Receiver<String>) {
        let Some(question) = self.queue.front().cloned() else {
            return;
        };
        let yes = match question.assurance {
            Assurance::Notification => {
                line.eq_ignore_ascii_case("y") || line.eq_ignore_ascii_case("yes")
            }
            // Typing the id is the held button of a terminal.
            Assurance::Window => line == crate::say::id_to_type(&question),
            Assurance::Presence => false,
        };
        // The desk's guard counts from the first surface that showed it; this is
        // when it came before the human here, perhaps in another's place.
        if yes && self.since.elapsed() < GUARD {
            return self.show(lines);
        }
        let answer = if yes { Answer::Approve } else { Answer::Deny };
        // The desk withdraws it when the answer counts, and asks anew when not.
        self.authority.broker.desk().answer(
            &question.id,
            question.digest,
            answer,
            question.assurance.min(Assurance::Window),
            SurfaceKind::Terminal,
            None,
        );
        if self.queue.front().is_none() {
            while lines.try_recv().is_ok() {}
        }
    }
}
