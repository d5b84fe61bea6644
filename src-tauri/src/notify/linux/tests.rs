use super::*;
use crate::desk::tests::question;

const OWNER: &str = ":1.7";

fn up(buttons: Buttons, since: Instant) -> (Up, CardKey) {
    let q = question(1);
    let key = CardKey::Question(q.id, q.digest);
    let card = Card {
        key: key.clone(),
        summary: "s".into(),
        body: "b".into(),
        buttons,
    };
    let shown = Shown {
        card,
        number: Some((OWNER.into(), 4)),
        nonce: "n1".into(),
        since,
        again: false,
    };
    (
        Up {
            owner: Some(OWNER.into()),
            shown: HashMap::from([(key.clone(), shown)]),
        },
        key,
    )
}
fn action(number: u32, key: &str) -> Signal {
    Signal::Action {
        number,
        key: key.into(),
    }
}

#[test]
fn only_the_owner_of_the_service_is_believed_and_only_for_its_own_number_and_nonce() {
    let t = Instant::now();
    let later = t + SEEN;
    let (mut up, key) = up(Buttons::DenyApprove, t);
    for (sender, signal) in [
        (":1.8", action(4, "approve-n1")), // another peer
        ("org.freedesktop.Notifications", action(4, "approve-n1")),
        (OWNER, action(5, "approve-n1")), // another number
        (OWNER, action(4, "approve-n0")), // an earlier rendering
        (OWNER, action(4, "approve")),
        (OWNER, action(4, "n1")),
        (OWNER, action(4, "open-n1")), // not on this card
        (":1.8", Signal::Closed { number: 4 }),
    ] {
        assert_eq!(
            up.believe(sender, &signal, later),
            Meaning::Nothing,
            "{sender} {signal:?}"
        );
    }
    let click = |c| Meaning::Click(key.clone(), c);
    assert_eq!(
        up.believe(OWNER, &action(4, "deny-n1"), t),
        click(Click::Deny)
    );
    assert_eq!(
        up.believe(OWNER, &action(4, "default"), t),
        click(Click::Open)
    );
    assert_eq!(
        up.believe(OWNER, &action(4, "approve-n1"), later),
        click(Click::Approve)
    );
    up.owner = Some(":1.9".into());
    assert_eq!(
        up.believe(OWNER, &action(4, "approve-n1"), later),
        Meaning::Nothing,
        "a former owner"
    );
    assert_eq!(
        up.believe(":1.9", &action(4, "approve-n1"), later),
        Meaning::Nothing,
        "who did not give the number"
    );
    up.owner = None;
    assert_eq!(
        up.believe(OWNER, &action(4, "deny-n1"), later),
        Meaning::Nothing
    );
}

#[test]
fn a_yes_within_700_ms_counts_for_nothing_and_the_card_comes_back() {
    let t = Instant::now();
    let (mut up, _) = up(Buttons::DenyApprove, t);
    let early = t + SEEN - Duration::from_millis(1);
    assert_eq!(
        up.believe(OWNER, &action(4, "approve-n1"), early),
        Meaning::Nothing
    );
    assert_eq!(
        up.believe(OWNER, &Signal::Closed { number: 4 }, early),
        Meaning::ShowAgain
    );
    assert!(up.shown.is_empty());
}

#[test]
fn a_card_without_approve_takes_none_even_from_the_owner() {
    let t = Instant::now();
    let (mut up, _) = up(Buttons::DenyOpen, t);
    assert_eq!(
        up.believe(OWNER, &action(4, "approve-n1"), t + SEEN),
        Meaning::Nothing
    );
}

#[test]
fn a_card_that_the_human_put_away_stays_away() {
    let t = Instant::now();
    let (mut up, key) = up(Buttons::DenyApprove, t);
    assert_eq!(
        up.believe(OWNER, &Signal::Closed { number: 4 }, t),
        Meaning::Nothing
    );
    assert!(up.shown[&key].number.is_none());
}

#[test]
fn text_is_never_markup() {
    assert_eq!(escaped("<b>&amp;</b>"), "&lt;b&gt;&amp;amp;&lt;/b&gt;");
}

// That a forged signal changes nothing on a real bus is shown in `tests/surface.rs`.
