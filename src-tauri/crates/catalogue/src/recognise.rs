//! The decision path, from request to result.

use crate::body::{self, Content, MediaType, form};
use crate::judgement::{Facts, Judgement};
use crate::table::{BodyRole, Found, Table, table, tables};
use crate::{
    BodyView, RequestView, aws, aws_headers, aws_sts, generated, known, plain, preview, rules,
    smuggled, words,
};
use countersign_model::{
    Account, CredentialKind, DataPreview, Digest, Effects, Foreign, HeaderField, Objects, Provider,
    Words,
};
use serde::Serialize;
use std::sync::OnceLock;

/// What a request would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recognised {
    /// The operation in the provider's own name, or method and path.
    pub operation: String,
    /// What it does. Never empty.
    pub effects: Effects,
    /// What it acts on.
    pub objects: Objects,
    /// One sentence that a human can decide on.
    pub words: Words,
    /// A read that the catalogue knows, whose layers agree, with no other
    /// effect, and nothing in the request that can be read in two ways.
    pub routine: bool,
    /// Which layers decided, in our words; for the record and for `explain`.
    pub decided_by: String,
    /// What a human may see of its data.
    pub preview: DataPreview,
}

/// What `catalogue explain --json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Who describes the operation.
    pub provider: String,
    /// The operation.
    pub operation: String,
    /// What it does.
    pub effects: Effects,
    /// What it acts on: the first of them.
    pub objects: Vec<Foreign>,
    /// How many there are; `null` when nobody can say.
    pub count: Option<u64>,
    /// The sentence, with foreign values quoted.
    pub words: String,
    /// Whether it may go alone by the defaults.
    pub routine: bool,
    /// Which layers decided.
    pub decided_by: String,
}

/// Says what a request to this account would do.
///
/// The request must be what will be forwarded; the account must be the one
/// whose host matched. Never fails: what is not understood has effects that ask.
#[must_use]
pub fn recognise(account: &Account, request: &RequestView<'_>) -> Recognised {
    let provider = judged_as(account);
    let table = table(provider);
    let found = table.and_then(|t| known::find(t, request.method, request.host, request.path));
    let query = form::laxly(request.query.unwrap_or(""));
    // What is made by hand knows more, and is asked first.
    let by_path = match found {
        Some(_) => None,
        None => generated::by_path(provider, request, &query),
    };
    let needed = match &by_path {
        Some(by_path) => only_reads(request.method) || !by_path.streams(),
        None => needs(account, found.as_ref(), request.method, request.headers),
    };
    let json_anyway = table.is_some_and(|t| t.habits.json_anyway);
    let content = body::read(request, needed, json_anyway);
    let by_more = aws::says_more_than_its_path(provider, request, &content, &query, &by_path);
    let params = found.as_ref().map(|f| f.params.clone()).unwrap_or_default();
    let facts = Facts {
        content: &content,
        query: &query,
        params,
    };

    let mut judgement = match (table, &found) {
        (None, _) if is_plain(provider) => plain::judge(request),
        (_, Some(found)) => known::judge(found, &facts),
        (_, None) => {
            generated::judge_any(provider, request, by_path, &facts).unwrap_or_else(|unknown| {
                let habits = table.map(|t| t.habits);
                known::unknown(provider, request, &unknown, habits)
            })
        }
    };
    if provider == aws::PROVIDER {
        aws::raise_by_host(&mut judgement, account, request);
    }
    apply_rules(&mut judgement, account, request, by_more);
    if let Some(table) = table {
        (table.screen)(&facts, &mut judgement);
    }
    if provider == aws::PROVIDER {
        aws_sts::raise(&mut judgement, account, request, &content, &query);
        aws_headers::raise(&mut judgement, request);
    }
    if generated::describes(provider) {
        generated::screen(provider, request, &facts, &mut judgement);
    }
    doubt_what_is_ambiguous(&mut judgement, request, &content, &facts);
    let effects_of = |method: &str| {
        let by_table = match table {
            Some(table) => known::effects_with(table, method, request),
            None => smuggled::effects_of_method(method),
        };
        by_table.union(generated::effects_with(provider, method, request, &query))
    };
    smuggled::raise(
        &mut judgement,
        account,
        request,
        &content,
        &query,
        &effects_of,
    );

    Recognised {
        operation: judgement.operation.clone(),
        effects: judgement.effects(),
        objects: judgement.objects.clone(),
        words: judgement.sentence(),
        routine: judgement.is_routine(),
        decided_by: judgement.decided_by(),
        preview: preview::preview(request, &content, judgement),
    }
}

/// Whose operations an account's requests are. What is signed as AWS's are is
/// one of AWS's, by whatever hosts the account is known: its method says nothing.
fn judged_as(account: &Account) -> &str {
    match account.credential {
        CredentialKind::Aws(_) => aws::PROVIDER,
        _ => account.provider.0.as_str(),
    }
}

fn is_plain(provider: &str) -> bool {
    provider == Provider::PLAIN
}

/// The account's own rules: the only layer that may lower. They are about method
/// and path, so that they only add where a request says more (`by_more`).
fn apply_rules(
    judgement: &mut Judgement,
    account: &Account,
    request: &RequestView<'_>,
    by_more: bool,
) {
    if account.effects.is_empty() {
        return;
    }
    let (method, path) = (request.method, request.path);
    if let Some(applied) = rules::strictly(account, method, path).filter(|a| !a.effects.is_empty())
    {
        let layer = format!("rule {:?}", applied.name);
        if by_more {
            judgement.raise(applied.effects, &layer);
            judgement.unsure("it names its operation besides its path");
            return;
        }
        judgement.lower_to(applied.effects, layer);
        if is_plain(judged_as(account)) {
            let target = format!("{}{path}", request.host);
            judgement.operation = applied.name;
            judgement.words = words::by_rule(method, &target, applied.effects);
        }
    }
    rules::raise_laxly(judgement, account, method, path);
}

/// What no layer and no rule can be sure of.
fn doubt_what_is_ambiguous(
    judgement: &mut Judgement,
    request: &RequestView<'_>,
    content: &Content,
    facts: &Facts<'_>,
) {
    let reads = only_reads(request.method);
    let has_body = !matches!(request.body, BodyView::None | BodyView::Whole([]));
    if reads && has_body {
        judgement.doubt(
            words::body_with_read(request.method),
            "a body where none belongs",
        );
    }
    if let Content::Unreadable(fault) = *facts.content {
        judgement.unreadable(fault, Effects::NONE);
    }
    // Forms within forms: readable here, and read in many ways elsewhere.
    if matches!(content, Content::Multipart(_)) {
        judgement.unsure("multipart body");
    }
}

/// Whether verdict, words or preview depend on the body. When they do not, the
/// gateway may stream it and pass [`BodyView::Streaming`].
///
/// Tables say which operations take content of any size (`opaque`). On hosts
/// that no table describes, pictures, archives and plain bytes may stream, by
/// their stated media type. All else is read, so that people see it.
#[must_use]
pub fn needs_body(
    account: &Account,
    method: &str,
    host: &str,
    path: &str,
    query: Option<&str>,
    headers: &[HeaderField],
) -> bool {
    // Whatever the operation: bodies that do not belong there are read. Most
    // requests have none, and are not looked up twice.
    if only_reads(method) {
        return true;
    }
    let provider = judged_as(account);
    let found = table(provider).and_then(|t| known::find(t, method, host, path));
    if found.is_none() {
        let request = RequestView {
            method,
            host,
            path,
            query,
            headers,
            body: BodyView::None,
        };
        let query = form::laxly(query.unwrap_or(""));
        let by_path = generated::by_path(provider, &request, &query);
        if by_path.is_some_and(|found| found.streams()) {
            return false;
        }
    }
    needs(account, found.as_ref(), method, headers)
}

fn only_reads(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS")
}

fn needs(account: &Account, found: Option<&Found>, method: &str, headers: &[HeaderField]) -> bool {
    if only_reads(method) {
        return true;
    }
    match found {
        Some(found) => !matches!(found.entry.body, BodyRole::Opaque),
        None => !is_plain(judged_as(account)) || !MediaType::of(headers).is_opaque(),
    }
}

/// What [`recognise`] says, for `catalogue explain`.
#[must_use]
pub fn explain(account: &Account, request: &RequestView<'_>) -> Explanation {
    let known = recognise(account, request);
    Explanation {
        provider: account.provider.0.clone(),
        operation: known.operation,
        effects: known.effects,
        objects: known.objects.listed,
        count: known.objects.count,
        words: known.words.to_string(),
        routine: known.routine,
        decided_by: known.decided_by,
    }
}

/// The catalogue's name and a digest over all that it judges by, for the record.
#[must_use]
pub fn id() -> &'static str {
    static ID: OnceLock<String> = OnceLock::new();
    ID.get_or_init(|| {
        let mut parts: Vec<&[u8]> = tables()
            .iter()
            .map(|table: &&Table| table.text.as_bytes())
            .collect();
        parts.push(generated::EMBEDDED);
        let digest = Digest::of_parts("countersign/catalogue/2", &parts).to_string();
        format!("catalogue-2-{}", &digest[..16])
    })
}
