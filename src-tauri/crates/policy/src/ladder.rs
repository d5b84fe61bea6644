//! One request on the ladder of approvals.

use crate::context;
use crate::slice::{OfEffect, Slice};
use cedar_policy::{Authorizer, Context, Decision, Request, RestrictedExpression, Schema};
use countersign_model::{Assurance, Effect};
use std::collections::BTreeSet;

/// Nobody asked, and then each assurance.
const TOP: u8 = Assurance::Presence.level();

/// Evaluates one request for its effects at rising approvals.
pub(crate) struct Ladder<'r> {
    pub(crate) authorizer: &'r Authorizer,
    pub(crate) slice: &'r Slice,
    pub(crate) attributes: Vec<(String, RestrictedExpression)>,
    /// The context of each rung, made when it is first needed.
    pub(crate) rungs: [Option<Context>; TOP as usize + 1],
}

/// What Cedar said of one effect at one rung.
pub(crate) struct Step {
    pub(crate) allowed: bool,
    /// The ids of the rules that decided.
    pub(crate) rules: BTreeSet<String>,
}

/// Where the ladder ends for an effect.
pub(crate) enum Reached {
    /// At this rung it is allowed; the rules that decided on the way.
    At(u8, BTreeSet<String>),
    /// At no rung; the rules that deny it at the top.
    Nowhere(BTreeSet<String>),
}

impl Ladder<'_> {
    /// The lowest rung at which an effect is allowed.
    ///
    /// # Errors
    /// The first evaluation error, in Cedar's words.
    pub(crate) fn climb(&mut self, effect: Effect) -> Result<Reached, String> {
        let mut rules = BTreeSet::new();
        for approval in 0..TOP {
            let step = self.evaluate(effect, approval)?;
            rules.extend(step.rules);
            if step.allowed {
                return Ok(Reached::At(approval, rules));
            }
        }
        let top = self.evaluate(effect, TOP)?;
        if top.allowed {
            rules.extend(top.rules);
            Ok(Reached::At(TOP, rules))
        } else {
            Ok(Reached::Nowhere(top.rules))
        }
    }

    /// One evaluation.
    ///
    /// # Errors
    /// When any rule fails, even beside others that decide: Cedar skips a rule
    /// that fails, so a failing `forbid` would silently not forbid.
    pub(crate) fn evaluate(&mut self, effect: Effect, approval: u8) -> Result<Step, String> {
        let slice = self.slice;
        let part = slice.of_effect(effect)?;
        let request = request(slice, part, self.context(approval)?, None)?;
        let response = self
            .authorizer
            .is_authorized(&request, &part.rules, &slice.entities);
        if let Some(error) = response.diagnostics().errors().next() {
            return Err(error.to_string());
        }
        Ok(Step {
            allowed: response.decision() == Decision::Allow,
            rules: response
                .diagnostics()
                .reason()
                .map(ToString::to_string)
                .collect(),
        })
    }

    fn context(&mut self, approval: u8) -> Result<Context, String> {
        let rung = &mut self.rungs[usize::from(approval)];
        if let Some(context) = rung {
            return Ok(context.clone());
        }
        let context = context::at(&self.attributes, approval)?;
        Ok(rung.insert(context).clone())
    }
}

/// The request as Cedar takes it.
///
/// It is not validated against the schema on the way, which would double the
/// time: its shape does not depend on what is asked, and a property test
/// validates it for whatever can be asked.
fn request(
    slice: &Slice,
    part: &OfEffect,
    context: Context,
    schema: Option<&Schema>,
) -> Result<Request, String> {
    let (principal, resource) = (slice.principal.clone(), slice.resource.clone());
    Request::new(principal, part.action.clone(), resource, context, schema)
        .map_err(|e| e.to_string())
}

#[cfg(test)]
impl Ladder<'_> {
    /// Whether the request of each effect, at each rung, is what the schema says.
    pub(crate) fn fits(&mut self, schema: &Schema) -> Result<(), String> {
        for effect in Effect::ALL {
            for approval in 0..=TOP {
                let context = self.context(approval)?;
                request(
                    self.slice,
                    self.slice.of_effect(effect)?,
                    context,
                    Some(schema),
                )?;
            }
        }
        Ok(())
    }
}
