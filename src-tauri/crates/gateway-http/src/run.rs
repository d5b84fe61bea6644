//! What the connections of one run share.

use crate::cookies::Jars;
use crate::dial::Roots;
use crate::limits::Budget;
use crate::scrub::Needles;
use crate::upstream::Upstreams;
use crate::{Limits, RunCa};
use countersign_broker::{Countersigner, Secret};
use countersign_model::RunId;
use countersign_sigv4::Key;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// For so many sets of secrets: an account's credential and cookies are one.
const MOST_KEPT: usize = 8;

/// A run, as its gateway sees it.
#[derive(Debug)]
pub struct RunGateway<C: Countersigner> {
    /// Its id. Whoever speaks on the run's socket is the run.
    pub run: RunId,
    /// Its certificate authority.
    pub ca: Arc<RunCa>,
    /// The access key that the run was given in place of the user's: it opens
    /// nothing, and what goes to AWS must be signed by it.
    pub placeholder: Key,
    /// The broker.
    pub port: Arc<C>,
    /// What it may use.
    pub limits: Limits,
}

pub(crate) struct Run<C: Countersigner> {
    pub(crate) id: RunId,
    pub(crate) ca: Arc<RunCa>,
    pub(crate) placeholder: Key,
    pub(crate) port: Arc<C>,
    pub(crate) limits: Limits,
    pub(crate) budget: Budget,
    /// Of the disk.
    pub(crate) spool: Budget,
    /// Places for requests of HTTP/2, of which a connection carries many.
    pub(crate) requests: Semaphore,
    pub(crate) jars: Jars,
    pub(crate) upstreams: Upstreams,
    /// What was looked for in the last replies, so that its forms are not derived
    /// for each.
    needles: Mutex<Vec<(Vec<Secret>, Needles)>>,
}

impl<C: Countersigner> Run<C> {
    pub(crate) fn new(gateway: RunGateway<C>, roots: Arc<Roots>) -> Self {
        Self {
            id: gateway.run,
            ca: gateway.ca,
            placeholder: gateway.placeholder,
            port: gateway.port,
            budget: Budget::new(gateway.limits.buffered),
            spool: Budget::new(gateway.limits.spooled),
            requests: Semaphore::new(gateway.limits.connections),
            limits: gateway.limits,
            jars: Jars::default(),
            upstreams: Upstreams::new(roots),
            needles: Mutex::default(),
        }
    }

    /// The forms of these secrets.
    pub(crate) fn needles(&self, secrets: Vec<Secret>) -> Needles {
        if secrets.is_empty() {
            return Needles::default();
        }
        let same = |known: &[Secret]| {
            let mut pairs = known.iter().zip(&secrets);
            known.len() == secrets.len() && pairs.all(|(a, b)| a.expose() == b.expose())
        };
        let mut kept = self.needles.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, needles)) = kept.iter().find(|(known, _)| same(known)) {
            return needles.clone();
        }
        let needles = Needles::of(&secrets);
        if kept.len() >= MOST_KEPT {
            kept.remove(0);
        }
        kept.push((secrets, needles.clone()));
        needles
    }
}
