//! An agent against the human's yes: what it releases, how often, and for how long.

use crate::range::{Range, agent, got_nowhere, soon};
use countersign_testkit::scene::said;
use countersign_testkit::upstream::{Ending, Reply, Upstream};
use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout};
use std::time::Duration;

/// Long enough for a second send to arrive, if there were one.
const A_WHILE: Duration = Duration::from_millis(700);

/// The human says no to what is asked next; the question.
fn says_no(range: &mut Range, from: usize) -> String {
    let authority = &mut range.scene.authority;
    let block = authority.wait_for("pprove", from).unwrap();
    authority.type_line("no").unwrap();
    block
}

#[test]
fn ten_identical_sends_and_one_click_are_one_send() {
    let mut range = Range::new();
    let from = range.scene.authority.screen().len();
    let run = range.launch(agent!("ten_sends.py"), &[]);
    range.scene.authority.wait_for("pprove", from).unwrap();
    range.write(&range.folder("work").join("asked"), "");
    soon("the other nine ask as well", || {
        said(&range.scene.countersign(&["requests"]).unwrap()).contains("×9")
    });
    assert_eq!(range.scene.mailbox.sent().len(), 0);
    let block = range.scene.authority.approve(from).unwrap();
    assert!(!block.contains('×'), "it said one: {block}");
    let rest = range.scene.authority.screen().len();
    soon("it is sent", || range.scene.mailbox.sent().len() == 1);
    std::thread::sleep(A_WHILE);
    assert_eq!(range.scene.mailbox.sent().len(), 1);
    let block = says_no(&mut range, rest);
    assert!(block.contains("×9"), "{block}");
    let text = got_nowhere(run);
    let heard = format!("heard 200{}", " 403".repeat(9));
    assert!(text.contains(&heard), "{text}");
    assert_eq!(range.scene.mailbox.sent().len(), 1);
}

/// Begins a round of `retries.py`; what it heard in it comes by `heard`.
fn go(range: &Range, name: &str) {
    range.write(&range.folder("work").join(format!("go-{name}")), "");
}

fn heard(lines: &mut impl Iterator<Item = std::io::Result<String>>) -> String {
    lines.next().unwrap().unwrap()
}

fn lines_of(run: &mut Child) -> Lines<BufReader<ChildStdout>> {
    BufReader::new(run.stdout.take().unwrap()).lines()
}

#[test]
fn who_gives_up_and_asks_again_is_let_through_once_and_then_asked_for_anew() {
    let mut range = Range::new();
    let from = range.scene.authority.screen().len();
    let mut run = range.launch(agent!("retries.py"), &["impatient", "patient", "again"]);
    let mut lines = lines_of(&mut run);
    go(&range, "impatient");
    let gave_up = "impatient gave-up gave-up gave-up gave-up";
    assert_eq!(heard(&mut lines), gave_up);
    // Nobody waits any more; the yes is for whoever repeats the request, once.
    let block = range.scene.authority.approve(from).unwrap();
    assert!(!block.contains('×'), "one place, taken four times: {block}");
    std::thread::sleep(A_WHILE);
    assert_eq!(range.scene.mailbox.sent().len(), 0, "nothing by itself");
    let rest = range.scene.authority.screen().len();
    go(&range, "patient");
    assert_eq!(heard(&mut lines), "patient 200");
    go(&range, "again");
    says_no(&mut range, rest);
    assert_eq!(heard(&mut lines), "again 403");
    assert_eq!(heard(&mut lines), "TRIED");
    assert!(run.wait().unwrap().success());
    assert_eq!(range.scene.mailbox.sent().len(), 1);

    // A question ends with its run: a yes to that of an earlier one is for nobody.
    let from = range.scene.authority.screen().len();
    let mut first = range.launch(agent!("retries.py"), &["impatient"]);
    assert_eq!(heard(&mut lines_of(&mut first)), gave_up);
    first.wait().unwrap();
    range.scene.authority.wait_for("pprove", from).unwrap();
    let from = range.scene.authority.screen().len();
    let mut second = range.launch(agent!("retries.py"), &["patient"]);
    says_no(&mut range, from);
    assert_eq!(heard(&mut lines_of(&mut second)), "patient 403");
    second.wait().unwrap();
    assert_eq!(range.scene.mailbox.sent().len(), 1);
}

#[test]
fn a_send_whose_reply_is_lost_is_not_sent_again_by_itself() {
    let mut range = Range::new();
    let dying = Upstream::start("gmail.googleapis.com", |_| {
        Reply::json(200, &serde_json::json!({"id": "18f0"})).ending(Ending::Dies)
    })
    .unwrap();
    let settings = "kind = \"gmail\"\ncredential = \"bearer\"";
    let mail = range.scene.account("mail", settings, &dying).unwrap();
    let config = format!("[agents.inbox-bot]\naccounts = [\"mail\"]\n\n{mail}");
    range.scene.accept(&config).unwrap();

    let from = range.scene.authority.screen().len();
    let mut run = range.launch(agent!("retries.py"), &["first", "second"]);
    let mut lines = lines_of(&mut run);
    go(&range, "first");
    range.scene.authority.approve(from).unwrap();
    // Whether the first half of the reply came through before the second was lost.
    let first = heard(&mut lines);
    assert!(
        ["first 502", "first lost"].contains(&first.as_str()),
        "{first}"
    );
    std::thread::sleep(A_WHILE);
    assert_eq!(dying.count(), 1, "nobody repeats it");
    let rest = range.scene.authority.screen().len();
    go(&range, "second");
    says_no(&mut range, rest);
    assert_eq!(heard(&mut lines), "second 403");
    run.wait().unwrap();
    assert_eq!(dying.count(), 1);
    let timeline = said(&range.scene.countersign(&["timeline"]).unwrap());
    assert!(timeline.contains("unknown"), "{timeline}");
}

#[test]
fn a_hundred_deletions_at_once_stay_within_a_budget_of_twenty() {
    const BUDGET: &str = "
        permit (principal, action == Action::\"delete\", resource)
        when { principal.accounts.contains(resource) && context has count &&
               context.recent.objects + context.count <= 20 };
        forbid (principal, action == Action::\"delete\", resource)
        unless { context has count && context.recent.objects + context.count <= 20 };";
    let mut range = Range::with(120);
    let rule = range.scene.config().join("policies/budget.cedar");
    range.write(&rule, BUDGET);
    let config = range.scene.read_config().unwrap();
    range.scene.accept(&config).unwrap();
    let ids = range.scene.mailbox.ids();
    let ids: Vec<&str> = ids.iter().take(100).map(String::as_str).collect();
    let text = range.withstands(agent!("deletes.py"), &ids);
    assert!(text.contains("told policy"), "{text}");
    let seen = range.scene.mailbox.upstream.seen();
    let arrived = seen.iter().filter(|s| s.method == "DELETE").count();
    assert!((10..=20).contains(&arrived), "{arrived}: {text}");
    assert!(range.scene.mailbox.kept() >= 100);
}

#[test]
fn a_yes_releases_nothing_once_another_has_used_up_the_budget_meanwhile() {
    const BUDGET: &str = "
        forbid (principal, action == Action::\"delete\", resource)
        unless { context has count && context.recent.objects + context.count <= 1 };";
    let mut range = Range::new();
    let rule = range.scene.config().join("policies/budget.cedar");
    range.write(&rule, BUDGET);
    let config = range.scene.read_config().unwrap();
    range.scene.accept(&config).unwrap();
    let ids = range.scene.mailbox.ids();
    let from = range.scene.authority.screen().len();
    let both = "for id; do curl -sS --max-time 90 -X DELETE -w ' status=%{http_code} ' \
        https://gmail.googleapis.com/gmail/v1/users/me/messages/$id & done; wait";
    let words = ["sh", "-c", both, "both", &ids[0], &ids[1]];
    let run = range.scene.run(&words).unwrap();
    // Each was judged while nothing was used up yet.
    soon("both are asked about", || {
        let status = said(&range.scene.countersign(&["status", "--json"]).unwrap());
        status.contains("\"waiting\":2")
    });
    let block = range.scene.authority.approve(from).unwrap();
    // Behind the first letter of what it asked for.
    let rest = from + block.len() + 1;
    soon("one is deleted", || range.scene.mailbox.kept() == 2);
    range.scene.authority.approve(rest).unwrap();
    let text = said(&run.wait_with_output().unwrap());
    assert!(text.contains("status=204"), "{text}");
    assert!(text.contains("\"reason\":\"policy\""), "{text}");
    assert_eq!(range.scene.mailbox.kept(), 2);
}

#[test]
fn what_was_denied_is_not_asked_for_in_other_words_until_somebody_is_tired() {
    let mut range = Range::new();
    let mut from = range.scene.authority.screen().len();
    let run = range.launch(agent!("variations.py"), &[]);
    for _ in 0..3 {
        from += says_no(&mut range, from).len();
    }
    let text = got_nowhere(run);
    let heard = format!(
        "heard{}{}",
        " denied-by-human".repeat(3),
        " denied-repeatedly".repeat(13)
    );
    assert!(text.contains(&heard), "{text}");
    assert_eq!(range.scene.mailbox.kept(), 3);
}
