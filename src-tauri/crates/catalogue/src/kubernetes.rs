//! Kubernetes, judged by the structure of its paths: verb, group, resource and
//! subresource, as its own authorisation does (Kubernetes API concepts; the RBAC
//! verbs of `RequestInfo`). So custom resources are known as well.

use crate::RequestView;
use crate::body::Content;
use crate::generated::sentence::singular;
use crate::judgement::{Facts, Judgement, fx};
use crate::path::Segments;
use countersign_model::Effect::{Admin, Bulk, Delete, Exec, Permission, Read, Secret, Write};
use countersign_model::{Effects, Objects, Words};
use serde_json::Value;

/// The provider that is judged so.
pub(crate) const PROVIDER: &str = "kubernetes";

const LAYER: &str = "kubernetes";

/// What a path of the API names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    /// Empty for the core group.
    group: String,
    namespace: Option<String>,
    resource: String,
    name: Option<String>,
    subresource: Option<String>,
}

/// Judges a request to an API server; `None` for a path that is none of its API.
pub(crate) fn judge(request: &RequestView<'_>, facts: &Facts<'_>) -> Option<Judgement> {
    let path = Segments::of(request.path)?;
    let segments: Vec<&str> = path.iter().collect();
    if is_about_itself(&segments) {
        return matches!(request.method, "GET" | "HEAD").then(|| {
            let words = Words::new("Read what the Kubernetes API says of itself");
            Judgement::new("discovery".to_owned(), fx(&[Read]), words, LAYER)
        });
    }
    let target = target(&segments)?;
    let verb = verb(request.method, &target)?;
    let mut judgement = Judgement::new(
        target.operation(verb),
        effects_of(verb, &target),
        target.words(verb),
        LAYER,
    );
    judgement.objects = match (&target.name, &target.namespace) {
        (Some(name), Some(namespace)) => Objects::one(format!("{namespace}/{name}")),
        (Some(name), None) => Objects::one(name.as_str()),
        (None, _) => Objects::unknown(),
    };
    if !matches!(verb, "get" | "list") {
        judgement.unsure(LAYER);
    }
    if matches!(verb, "update" | "patch" | "create") {
        scale(&target, facts, &mut judgement);
    }
    if facts
        .query
        .iter()
        .any(|(name, value)| name == "dryRun" && value == "All")
    {
        let words = std::mem::take(&mut judgement.words);
        judgement.words = words.ours(", as a dry run");
    }
    Some(judgement)
}

/// What a request does by its method and path alone.
pub(crate) fn effects(request: &RequestView<'_>) -> Effects {
    let named = || {
        let path = Segments::of(request.path)?;
        let segments: Vec<&str> = path.iter().collect();
        let target = target(&segments)?;
        Some(effects_of(verb(request.method, &target)?, &target))
    };
    named().unwrap_or(Effects::NONE)
}

/// What tells of the API and of the server's health, and of nothing in it.
fn is_about_itself(segments: &[&str]) -> bool {
    match segments {
        ["api" | "apis" | "version"] | ["api", _] | ["apis", _] | ["apis", _, _] => true,
        [first, ..] => matches!(*first, "openapi" | "healthz" | "livez" | "readyz"),
        [] => false,
    }
}

fn target(segments: &[&str]) -> Option<Target> {
    let (group, rest) = match segments {
        ["api", _version, rest @ ..] => ("", rest),
        ["apis", group, _version, rest @ ..] => (*group, rest),
        _ => return None,
    };
    // A namespace's own subresources are not resources in it.
    let (namespace, rest) = match rest {
        ["namespaces", _, "status" | "finalize"] => (None, rest),
        ["namespaces", namespace, inner @ ..] if !inner.is_empty() => {
            (Some((*namespace).to_owned()), inner)
        }
        _ => (None, rest),
    };
    let mut rest = rest.iter().map(|segment| (*segment).to_owned());
    let resource = rest.next()?;
    // The watch of old versions, and what is no word of an API.
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if resource == "watch" || resource == "proxy" || !resource.chars().all(plain) {
        return None;
    }
    Some(Target {
        group: group.to_owned(),
        namespace,
        resource,
        name: rest.next(),
        subresource: rest.next(),
    })
}

/// The verb, as RBAC names it.
fn verb(method: &str, target: &Target) -> Option<&'static str> {
    Some(match (method, &target.name) {
        ("GET" | "HEAD", Some(_)) => "get",
        ("GET" | "HEAD", None) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", Some(_)) => "delete",
        ("DELETE", None) => "deletecollection",
        _ => return None,
    })
}

fn effects_of(verb: &str, target: &Target) -> Effects {
    let resource = target.resource.as_str();
    let sub = target.subresource.as_deref().unwrap_or("");
    // By GET as well: what is connected to does whatever it is told.
    if matches!(sub, "exec" | "attach" | "portforward" | "proxy") {
        return fx(&[Write, Exec]);
    }
    let named_secret = ["secret", "token", "credential", "password"]
        .iter()
        .any(|word| resource.contains(word));
    let secret = if named_secret {
        fx(&[Secret])
    } else {
        Effects::NONE
    };
    let least = match verb {
        "get" | "list" => return fx(&[Read]).union(secret),
        "delete" => fx(&[Delete]),
        "deletecollection" => fx(&[Delete, Bulk]),
        _ if sub == "eviction" => fx(&[Delete]),
        _ => fx(&[Write]),
    };
    let rights = match (target.group.as_str(), resource, sub) {
        (_, "serviceaccounts", "token") => fx(&[Permission, Secret]),
        ("rbac.authorization.k8s.io" | "certificates.k8s.io", ..) | (_, "serviceaccounts", _) => {
            fx(&[Permission])
        }
        ("authorization.k8s.io" | "authentication.k8s.io", ..) => fx(&[Read]),
        _ => Effects::NONE,
    };
    let admin = matches!(
        target.group.as_str(),
        "admissionregistration.k8s.io"
            | "apiextensions.k8s.io"
            | "apiregistration.k8s.io"
            | "flowcontrol.apiserver.k8s.io"
            | "policy"
            | "rbac.authorization.k8s.io"
            | "scheduling.k8s.io"
            | "storage.k8s.io"
    ) || matches!(resource, "nodes" | "namespaces" | "persistentvolumes");
    let runs = matches!(
        resource,
        "pods"
            | "deployments"
            | "statefulsets"
            | "daemonsets"
            | "replicasets"
            | "replicationcontrollers"
            | "jobs"
            | "cronjobs"
    ) && matches!(verb, "create" | "update" | "patch")
        && !matches!(sub, "scale" | "status" | "eviction" | "binding");
    let mut all = least.union(rights).union(secret);
    if admin && sub != "eviction" {
        all = all.union(fx(&[Admin]));
    }
    if runs {
        all = all.union(fx(&[Exec]));
    }
    all
}

/// To scale to nothing is to end all that ran.
fn scale(target: &Target, facts: &Facts<'_>, judgement: &mut Judgement) {
    let replicas = match facts.content {
        Content::Json(Value::Object(body)) => match body.get("spec") {
            Some(Value::Object(spec)) => spec.get("replicas"),
            // A list of patches, or a form that is not looked into.
            _ => None,
        },
        _ => None,
    };
    let to_nothing = replicas.is_some_and(|n| n.as_i64().is_none_or(|n| n == 0));
    let unread = target.subresource.as_deref() == Some("scale") && replicas.is_none();
    if to_nothing || unread {
        judgement.raise(fx(&[Delete]), "kubernetes-scale");
    }
    if to_nothing {
        let words = std::mem::take(&mut judgement.words);
        judgement.words = words.ours(", to run none of it");
    }
}

impl Target {
    /// `delete deployments.apps/scale`
    fn operation(&self, verb: &str) -> String {
        let mut name = format!("{verb} {}", self.resource);
        if !self.group.is_empty() {
            name = format!("{name}.{}", self.group);
        }
        match &self.subresource {
            Some(sub) => crate::plain::printable(&format!("{name}/{sub}")),
            None => crate::plain::printable(&name),
        }
    }

    fn words(&self, verb: &str) -> Words {
        let begins = match verb {
            "get" => "Read",
            "list" => "List",
            "create" => "Create",
            "update" => "Replace",
            "patch" => "Change",
            "delete" => "Delete",
            _ => "Delete all",
        };
        let mut words = match (&self.subresource, verb) {
            (Some(sub), "get" | "create" | "update" | "patch" | "delete") => {
                let verb = match sub.as_str() {
                    "exec" => "Run a command in",
                    "attach" => "Attach to",
                    "portforward" => "Open ports of",
                    "proxy" => "Send something through",
                    "eviction" => "Evict",
                    _ => "",
                };
                if verb.is_empty() {
                    Words::new(format!("{begins} the "))
                        .foreign(sub.as_str())
                        .ours(" of the Kubernetes ")
                } else {
                    Words::new(format!("{verb} the Kubernetes "))
                }
            }
            _ => Words::new(format!("{begins} Kubernetes ")),
        };
        let resource = match &self.name {
            Some(_) => singular(&self.resource),
            None => self.resource.clone(),
        };
        words = words.ours(resource);
        if let Some(name) = &self.name {
            words = words.ours(" ").foreign(name.as_str());
        }
        match &self.namespace {
            Some(namespace) => words.ours(" in the namespace ").foreign(namespace.as_str()),
            None if self.name.is_none() && verb != "create" => words.ours(" in all namespaces"),
            None => words,
        }
    }
}
