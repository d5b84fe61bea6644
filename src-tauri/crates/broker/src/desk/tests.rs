use super::*;
use countersign_model::{AgentId, Decision, Foreign};
use std::sync::atomic::{AtomicU64, Ordering};

/// A clock that stands still until it is set.
#[derive(Debug, Default)]
struct Set(AtomicU64);

impl Clock for Set {
    fn boot(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
    fn wall(&self) -> Timestamp {
        Timestamp::from_unix_ms(i64::try_from(self.0.load(Ordering::SeqCst)).unwrap())
    }
}

impl Set {
    fn later(&self, by: Duration) {
        self.0.fetch_add(millis(by), Ordering::SeqCst);
    }
}

/// What came to nothing after its client had gone.
#[derive(Debug, Default, Clone)]
struct Ears(Arc<Mutex<Vec<Requested>>>);

impl Hears for Ears {
    fn denied(&self, _: &About) {}
    fn lapsed(&self, record: Requested) {
        self.0.lock().unwrap().push(record);
    }
}

/// A desk with one surface, at which the newest question can be answered.
struct Room {
    clock: Arc<Set>,
    desk: Desk,
    ears: Ears,
    surface: mpsc::Receiver<ToSurface>,
}

const RUN: [u8; 8] = [1; 8];

impl Room {
    fn new() -> Self {
        let (clock, ears) = (Arc::new(Set::default()), Ears::default());
        let desk = Desk::new(Arc::clone(&clock) as Arc<dyn Clock>, Box::new(ears.clone()));
        let (_, _, surface) = desk.attach(TERMINAL, Assurance::Window);
        Self {
            clock,
            desk,
            ears,
            surface,
        }
    }

    /// The same request, each time it is called, of a client that waits only for a
    /// moment.
    async fn asks(&self, number: u8) -> Heard {
        let agent: AgentId = "bot".parse().unwrap();
        let digest = Digest::of(b"");
        let record = Requested {
            request: RequestId::next(u32::from(number), [number; 5]),
            run: Some(RunId::from_random(RUN)),
            agent,
            contained: true,
            action: None,
            account: None,
            target: Foreign::new("POST /send"),
            verdict: None,
            rules: Vec::new(),
            approval: None,
            decision: Decision::Deny,
            reason: None,
            detail: None,
            exact: None,
            streamed: false,
            credential: None,
            config: digest,
        };
        let asking = Asking {
            about: About::Config {
                summary: Vec::new(),
                diff: Vec::new(),
                content: digest,
            },
            assurance: Assurance::Notification,
            key: digest,
            life: QUESTION_LIFE,
            hold: Duration::from_millis(20),
            of_run: Some(OfRun {
                run: RunId::from_random(RUN),
                cut: CancellationToken::new(),
                record,
            }),
        };
        self.desk
            .ask(QuestionId::from_random([number; 10]), asking)
            .await
    }

    /// The question that was shown last.
    fn shown(&mut self) -> Option<Question> {
        let mut last = None;
        while let Ok(message) = self.surface.try_recv() {
            if let ToSurface::Ask(question) = message {
                last = Some(*question);
            }
        }
        let question = last?;
        self.desk.shown(&question.id, question.digest);
        self.clock.later(GUARD);
        Some(question)
    }

    fn approves(&self, question: &Question) -> bool {
        self.desk.answer(
            &question.id,
            question.digest,
            Answer::Approve,
            Assurance::Notification,
            SurfaceKind::Terminal,
            None,
        )
    }
}

#[tokio::test]
async fn a_question_whose_time_is_over_takes_no_yes_and_a_retry_is_asked_anew() {
    let mut room = Room::new();
    assert!(matches!(room.asks(1).await, Heard::StillOpen(_)));
    let first = room.shown().unwrap();
    room.clock.later(QUESTION_LIFE);
    assert!(!room.approves(&first), "too late");
    let lapsed = room.ears.0.lock().unwrap().clone();
    assert_eq!(lapsed.len(), 1);
    assert_eq!(lapsed[0].reason, Some(ReasonCode::TimedOut));

    assert!(matches!(room.asks(2).await, Heard::StillOpen(_)));
    let second = room.shown().unwrap();
    assert_ne!(first.id, second.id);
    assert!(!room.approves(&first), "of the other one");
    assert!(room.approves(&second));
    assert!(matches!(room.asks(3).await, Heard::Yes(_)));
    assert!(matches!(room.asks(4).await, Heard::StillOpen(_)), "used up");
}

#[tokio::test]
async fn a_yes_that_nobody_came_for_in_time_is_none() {
    let mut room = Room::new();
    assert!(matches!(room.asks(1).await, Heard::StillOpen(_)));
    let question = room.shown().unwrap();
    assert!(room.approves(&question));
    room.clock.later(YES_STANDS);
    assert!(matches!(room.asks(2).await, Heard::StillOpen(_)));
    assert_ne!(room.shown().unwrap().id, question.id);
    let lapsed = room.ears.0.lock().unwrap().clone();
    assert_eq!(lapsed[0].reason, Some(ReasonCode::Expired));
}
