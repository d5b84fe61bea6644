//! The rules and entities that matter for one agent and one account.
//!
//! A rule whose scope cannot match is never satisfied and never fails, so that
//! leaving it out changes no judgement; a property test compares the two.

use crate::kept::{Kept, reads_only_likeness};
use cedar_policy::{
    ActionConstraint, Entities, Entity, EntityId, EntityTypeName, EntityUid, Policy, PolicySet,
    PrincipalConstraint, ResourceConstraint, RestrictedExpression as Value, Schema,
};
use countersign_model::{Account, Agent, Effect, Effects, Environment, Provider};
use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

pub(crate) struct Slice {
    /// What it was made from: configuration can change under the same names.
    agent: Agent,
    provider: Provider,
    environment: Environment,
    tags: Vec<String>,

    pub(crate) principal: EntityUid,
    pub(crate) resource: EntityUid,
    pub(crate) entities: Entities,
    effects: Vec<OfEffect>,
    /// Judgements that hold for all actions of a likeness.
    pub(crate) kept: Kept,
}

/// A rule, and what is known of it.
pub(crate) struct Rule {
    pub(crate) policy: Policy,
    /// Found out when it is first asked for: it takes Cedar a while to say.
    only_likeness: OnceLock<bool>,
}

impl Rule {
    pub(crate) fn of(policy: Policy) -> Self {
        Self {
            policy,
            only_likeness: OnceLock::new(),
        }
    }

    /// Whether it reads of the context only an action's likeness.
    fn only_likeness(&self) -> bool {
        *self
            .only_likeness
            .get_or_init(|| reads_only_likeness(&self.policy))
    }
}

/// What matters for one effect.
pub(crate) struct OfEffect {
    effect: Effect,
    pub(crate) action: EntityUid,
    pub(crate) rules: PolicySet,
    /// Whether all of these read of the context only an action's likeness.
    only_likeness: bool,
}

impl Slice {
    /// The slice of these rules.
    ///
    /// # Errors
    /// When Cedar refuses an entity; said in its words.
    pub(crate) fn of(
        rules: &[Rule],
        schema: &Schema,
        agent: &Agent,
        account: &Account,
    ) -> Result<Self, String> {
        let principal = uid("Agent", agent.id.as_str())?;
        let resource = uid("Account", account.id.as_str())?;
        let groups: HashSet<EntityUid> = agent
            .groups
            .iter()
            .map(|g| uid("AgentGroup", g))
            .collect::<Result<_, _>>()?;
        let concerns = |rule: &&Rule| {
            principal_matches(&rule.policy.principal_constraint(), &principal, &groups)
                && resource_matches(&rule.policy.resource_constraint(), &resource)
        };
        let matching: Vec<&Rule> = rules.iter().filter(concerns).collect();
        let effects: Vec<OfEffect> = Effect::ALL
            .iter()
            .map(|e| OfEffect::of(*e, &matching))
            .collect::<Result<_, _>>()?;
        let entities = [
            agent_entity(agent, principal.clone(), groups)?,
            account_entity(account, resource.clone())?,
        ];
        Ok(Self {
            entities: Entities::from_entities(entities, Some(schema)).map_err(|e| e.to_string())?,
            effects,
            principal,
            resource,
            agent: agent.clone(),
            provider: account.provider.clone(),
            environment: account.environment.clone(),
            tags: account.tags.clone(),
            kept: Kept::default(),
        })
    }

    /// Whether actions with these effects, of the same likeness, are judged alike.
    pub(crate) fn judges_by_likeness(&self, effects: Effects) -> bool {
        let mut concerned = self.effects.iter().filter(|part| effects.has(part.effect));
        concerned.all(|part| part.only_likeness)
    }

    /// What matters for one effect.
    ///
    /// # Errors
    /// Never: every effect has its part.
    pub(crate) fn of_effect(&self, effect: Effect) -> Result<&OfEffect, String> {
        let found = self.effects.iter().find(|part| part.effect == effect);
        found.ok_or_else(|| format!("no rules were sliced for the effect {effect}"))
    }

    /// Whether it is still the slice of this agent and this account.
    pub(crate) fn is_of(&self, agent: &Agent, account: &Account) -> bool {
        self.agent == *agent
            && self.provider == account.provider
            && self.environment == account.environment
            && self.tags == account.tags
    }
}

impl OfEffect {
    fn of(effect: Effect, rules: &[&Rule]) -> Result<Self, String> {
        let action = uid("Action", effect.word())?;
        let concerns = |rule: &&&Rule| match rule.policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(one) => one == action,
            // The schema has no groups of actions: an action is in itself alone.
            ActionConstraint::In(list) => list.contains(&action),
        };
        let matching: Vec<&&Rule> = rules.iter().filter(concerns).collect();
        let only_likeness = matching.iter().all(|rule| rule.only_likeness());
        let policies = matching.iter().map(|rule| rule.policy.clone());
        let rules = PolicySet::from_policies(policies).map_err(|e| e.to_string())?;
        Ok(Self {
            effect,
            action,
            only_likeness,
            rules,
        })
    }
}

fn agent_entity(
    agent: &Agent,
    uid_: EntityUid,
    groups: HashSet<EntityUid>,
) -> Result<Entity, String> {
    let accounts = agent
        .accounts
        .iter()
        .map(|id| uid("Account", id.as_str()).map(Value::new_entity_uid))
        .collect::<Result<Vec<_>, _>>()?;
    let attributes = HashMap::from([("accounts".to_owned(), Value::new_set(accounts))]);
    Entity::new(uid_, attributes, groups).map_err(|e| e.to_string())
}

fn account_entity(account: &Account, uid_: EntityUid) -> Result<Entity, String> {
    let text = |value: &str| Value::new_string(value.to_owned());
    let attributes = HashMap::from([
        ("provider".to_owned(), text(&account.provider.0)),
        ("environment".to_owned(), text(&account.environment.0)),
        (
            "tags".to_owned(),
            Value::new_set(account.tags.iter().map(|t| text(t))),
        ),
    ]);
    Entity::new(uid_, attributes, HashSet::new()).map_err(|e| e.to_string())
}

fn uid(kind: &str, id: &str) -> Result<EntityUid, String> {
    let kind: EntityTypeName = kind
        .parse()
        .map_err(|e: cedar_policy::ParseErrors| e.to_string())?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

/// An agent is in itself and in its groups, and groups are in nothing.
fn principal_matches(
    constraint: &PrincipalConstraint,
    principal: &EntityUid,
    groups: &HashSet<EntityUid>,
) -> bool {
    match constraint {
        PrincipalConstraint::Any => true,
        PrincipalConstraint::Eq(uid) => uid == principal,
        PrincipalConstraint::In(uid) => uid == principal || groups.contains(uid),
        PrincipalConstraint::Is(kind) => kind == principal.type_name(),
        PrincipalConstraint::IsIn(kind, uid) => {
            kind == principal.type_name() && (uid == principal || groups.contains(uid))
        }
    }
}

/// An account is in itself alone.
fn resource_matches(constraint: &ResourceConstraint, resource: &EntityUid) -> bool {
    match constraint {
        ResourceConstraint::Any => true,
        ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) => uid == resource,
        ResourceConstraint::Is(kind) => kind == resource.type_name(),
        ResourceConstraint::IsIn(kind, uid) => kind == resource.type_name() && uid == resource,
    }
}

#[cfg(test)]
impl Slice {
    /// The same with every rule for every effect, as if nothing were sliced.
    pub(crate) fn with_all(mut self, rules: &[Rule]) -> Self {
        for part in &mut self.effects {
            let policies = rules.iter().map(|rule| rule.policy.clone());
            part.rules = PolicySet::from_policies(policies).unwrap();
        }
        self
    }
}
