//! Requests of arbitrary bytes, as every kind of account sees them.

use crate::table::tables;
use crate::testing::account;
use crate::{BodyView, RequestView, kinds, needs_body, recognise};
use countersign_model::{Account, HeaderField, Provider};
use countersign_testkit::Fuzz;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::LazyLock;

/// A request as it stands in the corpus: `METHOD target`, lines of headers, an
/// empty line, the body.
struct Written {
    method: String,
    path: String,
    query: Option<String>,
    headers: Vec<HeaderField>,
    body: Vec<u8>,
}

impl Written {
    fn read(bytes: &[u8]) -> Self {
        let end = bytes.windows(2).position(|pair| pair == b"\n\n");
        let (head, body) = match end {
            Some(end) => (&bytes[..end], &bytes[end + 2..]),
            None => (bytes, &[][..]),
        };
        let head = String::from_utf8_lossy(head);
        let mut lines = head.split('\n');
        let (method, target) = lines
            .next()
            .and_then(|line| line.split_once(' '))
            .unwrap_or(("GET", "/"));
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        let field = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            Some(HeaderField {
                name: name.to_ascii_lowercase(),
                value: value.as_bytes().to_vec(),
            })
        };
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query,
            headers: lines.filter_map(field).collect(),
            body: body.to_vec(),
        }
    }

    fn view<'a>(&'a self, host: &'a str, body: BodyView<'a>) -> RequestView<'a> {
        RequestView {
            method: &self.method,
            host,
            path: &self.path,
            query: self.query.as_deref(),
            headers: &self.headers,
            body,
        }
    }

    /// What must be true of every judgement of it, and what came of it.
    fn judged(&self, account: &Account, host: &str) -> String {
        let whole = match self.body.as_slice() {
            [] => BodyView::None,
            bytes => BodyView::Whole(bytes),
        };
        let known = recognise(account, &self.view(host, whole));
        let length = Some(self.body.len() as u64);
        let unread = [BodyView::Encoded, BodyView::TooLarge { length }]
            .map(|body| recognise(account, &self.view(host, body)));
        assert!(
            !unread.iter().any(|known| known.routine),
            "routine, and its body was not read"
        );
        assert!(
            !known.routine
                || self.body.is_empty()
                || !matches!(self.method.as_str(), "GET" | "HEAD"),
            "routine, with a body where none belongs"
        );
        let streamed = recognise(account, &self.view(host, BodyView::Streaming));
        let streams = !needs_body(
            account,
            &self.method,
            host,
            &self.path,
            self.query.as_deref(),
            &self.headers,
        );
        assert!(
            !streams
                || self.body.is_empty()
                || (streamed.effects, streamed.routine) == (known.effects, known.routine),
            "the verdict depends on a body that is not read"
        );
        for known in unread.iter().chain([&known, &streamed]) {
            assert!(!known.effects.is_empty(), "no effects");
            assert!(!known.words.to_string().is_empty(), "no words");
            assert!(
                !known.routine || known.effects.is_read_only(),
                "routine, and more than a read"
            );
            let reads = matches!(self.method.as_str(), "GET" | "HEAD")
                || is_listed_read(&account.provider, &self.method, &known.operation);
            assert!(
                !known.routine || reads,
                "routine, and neither GET nor HEAD nor an operation that is listed as a read"
            );
        }
        let effects: Vec<_> = known.effects.iter().map(|e| e.word()).collect();
        format!(
            "{} {} {}",
            known.operation,
            effects.join(","),
            known.routine
        )
    }
}

/// AWS's operations that the generated data takes for reads.
fn aws_reads() -> &'static BTreeSet<String> {
    static READS: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
        let all = super::generated::listed().iter();
        all.map(|each| &each.operation)
            .filter(|o| o.service.provider == "aws" && o.class.effects.is_read_only())
            .map(|o| format!("{}:{}", o.service.name, o.name))
            .collect()
    });
    &READS
}

/// An operation that a provider's table calls a read though its method is none:
/// Slack's Web API and a few others take POST for questions, and so does AWS,
/// where the generated data lists them.
fn is_listed_read(provider: &Provider, method: &str, operation: &str) -> bool {
    let generated = provider.0 == "aws" && method == "POST" && aws_reads().contains(operation);
    generated
        || tables()
            .iter()
            .filter(|table| table.provider == provider.0)
            .flat_map(|table| table.entries())
            .any(|entry| {
                entry.operation == operation
                    && entry.effects.is_read_only()
                    && entry.methods.split('|').any(|m| m == method)
            })
}

#[test]
fn nothing_is_routine_but_reads_whatever_an_agent_sends() {
    let dictionary: Vec<&[u8]> = [
        "GET ",
        "HEAD ",
        "POST ",
        "PUT ",
        "PATCH ",
        "DELETE ",
        "OPTIONS ",
        "get ",
        "/gmail/v1/users/me/",
        "messages",
        "batchDelete",
        "/send",
        "/trash",
        "/settings/",
        "/upload",
        "/batch",
        "/repos/o/r",
        "/issues",
        "/merge",
        "/contents/a",
        "/user",
        "/graphql",
        "/markdown",
        "/api/",
        "chat.postMessage",
        "users.list",
        "conversations.history",
        "auth.revoke",
        "search.all",
        "/logout",
        "/delete",
        "/..",
        "//",
        ";x",
        "%2F",
        "%00",
        "%",
        "?",
        "&",
        "=",
        "alt=json",
        "method=delete",
        "_method=DELETE",
        "access_token=t",
        "token=t",
        "key=k",
        "q=a",
        "\nContent-Type: application/json",
        "\nContent-Type: application/x-www-form-urlencoded",
        "\nContent-Type: multipart/form-data; boundary=b",
        "\nContent-Type: message/rfc822",
        "\nContent-Type: text/plain",
        "\nContent-Type: image/png",
        "\nContent-Encoding: gzip",
        "\nX-HTTP-Method-Override: DELETE",
        "\nX-Original-URL: /a",
        "\nIf-Match: *",
        "\n\n",
        "{\"ids\":[\"1\",\"2\"]}",
        "{\"raw\":\"VG86IGE\"}",
        "{\"query\":\"mutation\"}",
        "{}",
        "[",
        "]",
        "\\u0061",
        "\"force\":true",
        "--b\r\n",
        "\r\n\r\n",
        "--b--",
        "To: a@a.example\r\n",
        "Bcc: b@b.example\r\n",
        "Content-Disposition: form-data; name=\"a\"\r\n",
        "\u{202e}",
        "\u{0}",
        "ß",
    ]
    .iter()
    .map(|text| text.as_bytes())
    .collect();
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/corpus/recognise");
    let accounts: Vec<(Account, &str)> = kinds()
        .iter()
        // Sites are all judged alike: as plain hosts are.
        .filter(|kind| kind.provider != "http")
        .map(|kind| {
            let mut made = account(kind.name, kind.hosts[0]);
            made.provider = Provider(kind.provider.into());
            (made, kind.hosts[0])
        })
        .chain([(account("http", "forum.example"), "forum.example")])
        .collect();
    let fuzz = Fuzz {
        corpus: Path::new(corpus),
        dictionary: &dictionary,
    };
    // It is not the first input that takes so long.
    assert!(aws_reads().len() > 1000);
    fuzz.run(|bytes| {
        let written = Written::read(bytes);
        let judged = accounts
            .iter()
            .map(|(account, host)| written.judged(account, host));
        judged.collect::<Vec<_>>().join("; ")
    });
}
