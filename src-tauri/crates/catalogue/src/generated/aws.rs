//! AWS: which service a host is, and which operation a request names.
//!
//! A service takes requests in one or more of its protocols: JSON with the
//! operation in `X-Amz-Target`, a form with it in `Action`, or method and path.
//! What names an operation twice is judged as everything that it names.

use super::choice::{Found, Reached, among};
use super::form::Form;
use super::matching::{Slashes, exact};
use crate::aws::effects_of_operation;
use crate::body::Content;
use crate::body::form::{Pairs, laxly};
use crate::path::Segments;
use crate::request::header;
use crate::{RequestView, verbs};
use countersign_model::Effects;

/// What a host of AWS says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    trees: Vec<u16>,
    region: Option<String>,
    /// What stands before the service: a bucket, or an account.
    before: Option<String>,
}

/// The domains that AWS's services are below.
const DOMAINS: &[&str] = &[
    ".amazonaws.com",
    ".amazonaws.com.cn",
    ".api.aws",
    ".api.amazonwebservices.com.cn",
];

/// The services that answer at a host.
pub(crate) fn place(form: &Form<'_>, host: &str) -> Option<Place> {
    let name = DOMAINS
        .iter()
        .find_map(|domain| host.strip_suffix(domain))?;
    let mut labels: Vec<&str> = name.split('.').collect();
    let region_at = labels.iter().rposition(|label| is_region(label));
    let region = region_at.map(|at| labels[at].to_owned());
    if let Some(at) = region_at {
        labels[at] = "{region}";
    }
    (0..labels.len()).find_map(|skipped| {
        let rest = labels[skipped..].join(".");
        let pattern = if skipped == 0 {
            rest
        } else {
            format!("{{x}}.{rest}")
        };
        let trees = form.trees("aws", &pattern);
        (!trees.is_empty()).then(|| Place {
            trees,
            region: region.clone(),
            before: (skipped > 0).then(|| labels[..skipped].join(".")),
        })
    })
}

/// `eu-west-1`, `us-gov-east-1`.
fn is_region(label: &str) -> bool {
    let parts: Vec<&str> = label.split('-').collect();
    let [first, middle @ .., number] = parts.as_slice() else {
        return false;
    };
    let word = |part: &&str| part.len() >= 2 && part.bytes().all(|b| b.is_ascii_lowercase());
    let number = (1..=2).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
    word(first) && !middle.is_empty() && middle.iter().all(word) && number
}

/// The operation that method and path are.
pub(crate) fn by_path(
    form: &'static Form<'static>,
    request: &RequestView<'_>,
    query: &Pairs,
) -> Option<Found> {
    let place = place(form, request.host)?;
    let own = Segments::of(request.path)?;
    let mut found = among(form, &place.trees, request, &own, query, Slashes::Split);
    if let Some(bucket) = &place.before {
        // A bucket in the host is the first segment of the path as well.
        let path = Segments::of(&format!("/{bucket}{}", request.path))?;
        let below = among(form, &place.trees, request, &path, query, Slashes::Split);
        found = match found {
            // There it is no path of its own.
            Some(found) if !is_s3(&found) => Some(found),
            _ => below,
        };
    }
    let mut found = found?;
    found.region = place.region;
    Some(found)
}

fn is_s3(found: &Found) -> bool {
    found.operations.iter().all(|o| o.service.name == "s3")
}

/// The names by which a request says what it wants, besides its path.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    targets: Vec<String>,
    actions: Vec<String>,
}

impl Named {
    /// Every name that some service could go by.
    pub(crate) fn of(request: &RequestView<'_>, content: &Content, query: &Pairs) -> Self {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let targets = header(request.headers, "x-amz-target").map(text);
        let is_action = |(name, value): &(String, String)| {
            name.eq_ignore_ascii_case("action").then(|| value.clone())
        };
        let mut actions: Vec<String> = query.iter().filter_map(is_action).collect();
        match content {
            Content::Form(pairs) => actions.extend(pairs.iter().filter_map(is_action)),
            // A form under another name, or one that was not sound.
            Content::Text(_) | Content::Unreadable(_) | Content::Binary => {
                if let crate::BodyView::Whole(bytes) = request.body {
                    let pairs = laxly(&String::from_utf8_lossy(bytes));
                    actions.extend(pairs.iter().filter_map(is_action));
                }
            }
            _ => {}
        }
        Self {
            targets: targets.collect(),
            actions,
        }
    }

    fn all(&self) -> impl Iterator<Item = (Reached, &String)> {
        let targets = self.targets.iter().map(|name| (Reached::Target, name));
        targets.chain(self.actions.iter().map(|name| (Reached::Action, name)))
    }

    /// Each, without what stands before the operation.
    pub(crate) fn names(&self) -> Vec<String> {
        self.all().map(|(_, name)| short(name).to_owned()).collect()
    }

    pub(crate) fn says_any(&self) -> bool {
        self.all().next().is_some()
    }
}

/// `DynamoDB_20120810.ListTables` → `ListTables`.
fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// The operation that a request is: by name, where it names one, and else by
/// its path. And what it does if it is not that one: a name besides that nobody
/// knows, or its method at a path that is not where names are heeded.
pub(crate) fn dispatch(
    form: &'static Form<'static>,
    request: &RequestView<'_>,
    named: &Named,
    by_path: Option<Found>,
) -> Option<(Found, Effects)> {
    let mut names = named.all();
    let Some((reached, _)) = names.next() else {
        return by_path.map(|found| (found, Effects::NONE));
    };
    let twice = names.next().is_some();
    let place = place(form, request.host)?;
    let mut operations = Vec::new();
    let mut besides = Effects::NONE;
    for (reached, name) in named.all() {
        let before = operations.len();
        let letter = if reached == Reached::Target { 'T' } else { 'A' };
        let key = format!("{letter}:{name}");
        for &tree in &place.trees {
            for mut operation in exact(form, tree, &key)
                .map(|at| form.operations(at))
                .unwrap_or_default()
            {
                if operation.name.is_empty() {
                    operation.name = short(name).to_owned();
                }
                operations.push(operation);
            }
        }
        if operations.len() == before {
            besides = besides.union(effects_of_operation(name));
        }
    }
    if operations.is_empty() {
        return None;
    }
    let other_path = !matches!(request.path, "/" | "") || by_path.is_some();
    let odd_method = reached == Reached::Target && request.method != "POST"
        || !matches!(request.method, "GET" | "POST");
    if let Some(also) = &by_path {
        operations.extend(also.operations.iter().cloned());
    } else if (other_path && request.method != "GET") || odd_method {
        besides = besides.union(verbs::of_method(request.method));
    }
    let doubt = if twice {
        Some("it names its operation more than once")
    } else if other_path {
        Some("it names an operation and has the path of another")
    } else if odd_method {
        Some("its method is not one that names operations")
    } else {
        None
    };
    let found = Found {
        operations,
        params: Vec::new(),
        reached,
        region: place.region,
        doubt,
    };
    Some((found, besides))
}
