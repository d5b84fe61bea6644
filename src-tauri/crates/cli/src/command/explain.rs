//! `catalogue explain` and `policy check`: without the authority, without
//! effect.

use crate::client::Failure;
use crate::say;
use crate::serve::accepted;
use countersign_catalogue::{BodyView, RequestView};
use countersign_model::{Account, CredentialKind, Environment, HeaderField, HostPattern, Provider};
use std::path::Path;

/// What a request would be taken for. The account is the one on disk whose host
/// matches, else a kind of the catalogue's, else a plain host.
pub(crate) fn catalogue(
    method: &str,
    url: &str,
    headers: &[String],
    body: Option<&Path>,
    json: bool,
) -> Result<(), Failure> {
    let url: http::Uri = url
        .parse()
        .map_err(|e| Failure::usage(format!("the URL: {e}")))?;
    let host = url
        .host()
        .filter(|_| url.scheme().is_some())
        .ok_or_else(|| Failure::usage("the URL must begin with https:// and name a host"))?
        .to_ascii_lowercase();
    let fields = headers
        .iter()
        .map(|line| {
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| Failure::usage("--header: expected \"Name: value\""))?;
            Ok(HeaderField {
                name: name.trim().to_ascii_lowercase(),
                value: value.trim().as_bytes().to_vec(),
            })
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    let body = body
        .map(|path| {
            std::fs::read(path).map_err(|e| Failure::new(format!("{}: {e}", path.display())))
        })
        .transpose()?;
    let account = account_for(&host)?;
    let view = RequestView {
        method: &method.to_ascii_uppercase(),
        host: &host,
        path: url.path(),
        query: url.query(),
        headers: &fields,
        body: body.as_deref().map_or(BodyView::None, BodyView::Whole),
    };
    let explained = countersign_catalogue::explain(&account, &view);
    if json {
        say::json(&explained);
        return Ok(());
    }
    say::line(&explained.words);
    say::line(&format!("  provider    {}", explained.provider));
    say::line(&format!(
        "  operation   {}",
        countersign_model::Foreign::new(explained.operation.clone()).neutral()
    ));
    say::line(&format!("  effects     {}", explained.effects));
    let objects: Vec<_> = explained.objects.iter().map(|o| o.quoted(80)).collect();
    let count = explained
        .count
        .map_or_else(|| "unknown".into(), |n| n.to_string());
    say::line(&format!("  objects     {count}  {}", objects.join(", ")));
    say::line(&format!(
        "  routine     {}",
        if explained.routine {
            "yes: goes alone by the default rules"
        } else {
            "no"
        }
    ));
    say::line(&format!("  decided by  {}", explained.decided_by));
    say::line(&format!("  catalogue   {}", countersign_catalogue::id()));
    Ok(())
}

fn account_for(host: &str) -> Result<Account, Failure> {
    let on_disk = crate::home::Home::find()
        .ok()
        .and_then(|home| accepted::read_disk(&home).ok());
    let configured = on_disk.and_then(|c| {
        c.config
            .accounts
            .values()
            .find(|a| a.has_host(host))
            .cloned()
    });
    if let Some(account) = configured {
        return Ok((*account).clone());
    }
    let mut kinds = countersign_catalogue::kinds().iter();
    let kind = kinds.find(|kind| kind.has_host(host));
    let pattern = HostPattern::new(host).map_err(|e| Failure::usage(e.to_string()))?;
    Ok(Account {
        id: "explained"
            .parse()
            .map_err(|_| Failure::new("no such name"))?,
        provider: Provider(kind.map_or(Provider::PLAIN, |k| k.provider).to_owned()),
        hosts: vec![pattern],
        port: 443,
        environment: Environment::default(),
        tags: Vec::new(),
        credential: kind.map_or(CredentialKind::None, |k| k.credential.kind()),
        connect_to: None,
        ca_pem: None,
        plaintext: false,
        effects: Vec::new(),
        forward_headers: Vec::new(),
        token_url: None,
    })
}

/// Whether a Cedar file is right by the schema.
pub(crate) fn policy(file: &Path, json: bool) -> Result<(), Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|e| Failure::new(format!("{}: {e}", file.display())))?;
    let name = file
        .file_name()
        .map_or_else(|| "rule.cedar".into(), |n| n.to_string_lossy().into_owned());
    match countersign_policy::Policies::parse(&[(name, text)]) {
        Ok(_) if json => say::json(&serde_json::json!({ "problems": [] })),
        Ok(_) => say::line("Right."),
        Err(problems) => {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            if json {
                say::json(&serde_json::json!({ "problems": problems }));
            }
            return Err(Failure::new(problems.join("\n")));
        }
    }
    Ok(())
}
