use crate::context::{self, Recent};
use crate::kept::Likeness;
use crate::ladder::{Ladder, Reached};
use crate::load;
use crate::problem::PolicyProblem;
use crate::slice::{Rule, Slice};
use cedar_policy::{Authorizer, Schema};
use countersign_model::{Account, AccountId, Action, Agent, AgentId, Assurance, Foreign, Verdict};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// What policy says of an action, and which rules said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// The ids of the rules that decided, in order: those that permit it in the
    /// end, those that made it need an approval, or those that deny it. Empty
    /// for a denial because no rule permits.
    pub rules: Vec<String>,
    /// What could not be evaluated, in one sentence. The verdict is then `Deny`.
    pub error: Option<String>,
}

impl Judgement {
    fn of(verdict: Verdict, rules: BTreeSet<String>) -> Self {
        Self {
            verdict,
            rules: rules.into_iter().collect(),
            error: None,
        }
    }

    /// A denial because something failed. Values in Cedar's words can be
    /// foreign.
    fn failed(error: impl Into<Foreign>) -> Self {
        let error = Some(error.into().neutral());
        Self {
            verdict: Verdict::Deny,
            rules: Vec::new(),
            error,
        }
    }
}

/// Loaded rules. To change them, load others and replace these.
pub struct Policies {
    schema: Schema,
    rules: Vec<Rule>,
    authorizer: Authorizer,
    slices: RwLock<HashMap<(AgentId, AccountId), Arc<Slice>>>,
}

/// More pairs of agent and account than this are not kept sliced.
const SLICES: usize = 256;

impl Policies {
    /// Loads policy files: name (its folder does not matter) and content.
    ///
    /// A rule's id is the stem of its file's name, or `stem:1`, `stem:2`, …
    /// where a file holds several. Everything is validated strictly against the
    /// schema; warnings refuse too.
    ///
    /// # Errors
    /// Every problem, with file, line and column.
    pub fn parse(files: &[(String, String)]) -> Result<Self, Vec<PolicyProblem>> {
        let schema = load::schema()?;
        let rules = load::rules(files, &schema)?;
        let rules = rules.into_iter().map(Rule::of).collect();
        let authorizer = Authorizer::new();
        Ok(Self {
            schema,
            rules,
            authorizer,
            slices: RwLock::default(),
        })
    }

    /// The ids of all rules.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| rule.policy.id().as_ref())
    }

    /// Judges an action of an agent on an account.
    ///
    /// Each effect is tried with no approval, then with each assurance; the
    /// highest that any effect needs is the assurance to ask for, and at that
    /// assurance every effect must be allowed. No effects are denied. So is
    /// everything when any evaluation fails.
    #[must_use]
    pub fn judge(
        &self,
        agent: &Agent,
        account: &Account,
        action: &Action,
        recent: &Recent,
    ) -> Judgement {
        if action.account != account.id {
            return Judgement::failed("the action was judged with an account that is not its own");
        }
        let slice = match self.slice(agent, account) {
            Ok(slice) => slice,
            Err(error) => return Judgement::failed(error),
        };
        let likeness = slice
            .judges_by_likeness(action.effects)
            .then(|| Likeness::of(action));
        if let Some(known) = likeness.and_then(|likeness| slice.kept.get(likeness)) {
            return known;
        }
        let mut ladder = Ladder {
            authorizer: &self.authorizer,
            slice: &slice,
            attributes: context::attributes(action, *recent),
            rungs: [const { None }; 4],
        };
        match judge(&mut ladder, action) {
            Ok(judgement) => {
                if let Some(likeness) = likeness {
                    slice.kept.keep(likeness, &judgement);
                }
                judgement
            }
            Err(error) => Judgement::failed(error),
        }
    }

    fn slice(&self, agent: &Agent, account: &Account) -> Result<Arc<Slice>, String> {
        let key = (agent.id.clone(), account.id.clone());
        // A poisoned map is whole: each change of it is a single insertion.
        let known = self
            .slices
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
            .cloned();
        if let Some(slice) = known.filter(|slice| slice.is_of(agent, account)) {
            return Ok(slice);
        }
        let slice = Arc::new(Slice::of(&self.rules, &self.schema, agent, account)?);
        let mut slices = self.slices.write().unwrap_or_else(PoisonError::into_inner);
        if slices.len() >= SLICES {
            slices.clear();
        }
        slices.insert(key, Arc::clone(&slice));
        Ok(slice)
    }
}

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.ids()).finish()
    }
}

fn judge(ladder: &mut Ladder<'_>, action: &Action) -> Result<Judgement, String> {
    if action.effects.is_empty() {
        return Ok(Judgement::of(Verdict::Deny, BTreeSet::new()));
    }
    let mut rules = BTreeSet::new();
    let mut reached = Vec::new();
    for effect in action.effects.iter() {
        match ladder.climb(effect)? {
            Reached::At(approval, decided) => {
                reached.push((effect, approval));
                rules.extend(decided);
            }
            Reached::Nowhere(denying) => return Ok(Judgement::of(Verdict::Deny, denying)),
        }
    }
    let needed = reached
        .iter()
        .map(|(_, approval)| *approval)
        .max()
        .unwrap_or(0);
    for (effect, approval) in reached {
        // At its own rung it was just found allowed, by the same evaluation.
        if approval == needed {
            continue;
        }
        let step = ladder.evaluate(effect, needed)?;
        if !step.allowed {
            return Ok(Judgement::of(Verdict::Deny, step.rules));
        }
        rules.extend(step.rules);
    }
    let asked = Assurance::ALL
        .into_iter()
        .find(|assurance| assurance.level() == needed);
    Ok(Judgement::of(
        asked.map_or(Verdict::Allow, Verdict::Ask),
        rules,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_model::{
        CredentialKind, Effect, Effects, Environment, HostPattern, Objects, Provider, Words,
    };
    use proptest::prelude::*;

    fn account() -> Account {
        Account {
            id: "a1".parse().unwrap(),
            provider: Provider("gmail".into()),
            hosts: vec![HostPattern::new("a.example").unwrap()],
            port: 443,
            environment: Environment("production".into()),
            tags: vec![],
            credential: CredentialKind::Bearer,
            connect_to: None,
            ca_pem: None,
            plaintext: false,
            effects: vec![],
            forward_headers: vec![],
            token_url: None,
        }
    }

    fn agent(groups: Vec<String>) -> Agent {
        Agent {
            id: "p1".parse().unwrap(),
            groups,
            accounts: vec![account().id],
            recipe: None,
            ports: Vec::new(),
            host_ports: Vec::new(),
        }
    }

    fn action(bits: u16, objects: Objects) -> Action {
        let effects = Effect::ALL
            .into_iter()
            .filter(|e| bits & (1 << *e as u16) != 0);
        Action {
            provider: Provider("gmail".into()),
            operation: "x".into(),
            effects: effects.collect::<Effects>(),
            objects,
            words: Words::new("x"),
            routine: true,
            decided_by: "test".into(),
            account: account().id,
            environment: Environment::default(),
            reason: None,
            data_digest: None,
        }
    }

    const RECENT: Recent = Recent {
        requests: 3,
        objects: 3,
    };

    fn ladder<'r>(
        policies: &'r Policies,
        slice: &'r Slice,
        action: &Action,
        recent: Recent,
    ) -> Ladder<'r> {
        let attributes = context::attributes(action, recent);
        Ladder {
            authorizer: &policies.authorizer,
            slice,
            attributes,
            rungs: [const { None }; 4],
        }
    }

    fn rule() -> impl Strategy<Value = String> {
        let principal = prop::sample::select(vec![
            "principal",
            "principal == Agent::\"p1\"",
            "principal == Agent::\"p2\"",
            "principal in AgentGroup::\"g1\"",
            "principal in AgentGroup::\"g2\"",
            "principal is Agent",
            "principal is Agent in AgentGroup::\"g1\"",
            "principal in Agent::\"p1\"",
        ]);
        let resource = prop::sample::select(vec![
            "resource",
            "resource == Account::\"a1\"",
            "resource == Account::\"a2\"",
            "resource is Account",
            "resource in Account::\"a1\"",
            "resource is Account in Account::\"a2\"",
        ]);
        let condition = prop::sample::select(vec![
            "context.approval >= 1",
            "context.approval >= 2",
            "context.routine",
            "resource.environment == \"production\"",
            "context.effects.contains(\"delete\")",
            "context.recent.requests < 2",
            "context has count && context.count < 1",
            // Fails for this request.
            "context.recent.requests * 9223372036854775807 > 1",
        ]);
        let what = prop::sample::select(vec![
            "action",
            "action == Action::\"read\"",
            "action in [Action::\"write\", Action::\"delete\"]",
        ]);
        let effect = prop::sample::select(vec!["permit", "permit", "forbid"]);
        (effect, principal, what, resource, condition)
            .prop_map(|(e, p, a, r, c)| format!("{e} ({p}, {a}, {r}) when {{ {c} }};\n"))
    }

    proptest! {
        #[test]
        fn a_slice_judges_as_all_rules_together(
            rules in prop::collection::vec(rule(), 1..8),
            groups in prop::collection::vec(prop::sample::select(vec!["g1".to_owned(), "g2".to_owned()]), 0..2),
            bits in 1_u16..1024,
        ) {
            let policies = Policies::parse(&[("r.cedar".to_owned(), rules.concat())]).unwrap();
            let action = action(bits, Objects::unknown());
            let slice = || Slice::of(&policies.rules, &policies.schema, &agent(groups.clone()), &account()).unwrap();
            let (sliced, whole) = (slice(), slice().with_all(&policies.rules));
            let one = judge(&mut ladder(&policies, &sliced, &action, RECENT), &action);
            let other = judge(&mut ladder(&policies, &whole, &action, RECENT), &action);
            prop_assert_eq!(one.is_err(), other.is_err());
            if let (Ok(one), Ok(other)) = (one, other) {
                prop_assert_eq!(one, other);
            }
        }

        #[test]
        fn what_was_kept_of_one_action_is_what_cedar_says_of_the_next(
            rules in prop::collection::vec(rule(), 1..8),
            actions in prop::collection::vec((1_u16..64, any::<bool>(), 0_u64..3), 2..12),
        ) {
            let policies = Policies::parse(&[("r.cedar".to_owned(), rules.concat())]).unwrap();
            let agent = agent(vec!["g1".to_owned()]);
            for (bits, routine, count) in actions {
                let action = Action { routine, ..action(bits, Objects { listed: vec![], count: Some(count) }) };
                let recent = Recent { requests: count, objects: count };
                let kept = policies.judge(&agent, &account(), &action, &recent);
                let slice = Slice::of(&policies.rules, &policies.schema, &agent, &account()).unwrap();
                let anew = judge(&mut ladder(&policies, &slice, &action, recent), &action);
                prop_assert_eq!(kept, anew.unwrap_or_else(Judgement::failed));
            }
        }

        #[test]
        fn whatever_is_asked_fits_the_schema(
            bits in 0_u16..1024,
            operation in "\\PC*",
            listed in prop::collection::vec(".*", 0..5),
            count: Option<u64>,
            requests: u64,
            objects: u64,
            groups in prop::collection::vec("[a-z]{1,3}", 0..3),
        ) {
            let listed = listed.into_iter().map(Foreign::new).collect();
            let mut action = action(bits, Objects { listed, count });
            action.operation = operation;
            let policies = Policies::defaults().unwrap();
            let slice = Slice::of(&policies.rules, &policies.schema, &agent(groups), &account()).unwrap();
            let fits = ladder(&policies, &slice, &action, Recent { requests, objects }).fits(&policies.schema);
            prop_assert_eq!(fits, Ok(()));
        }
    }
}
