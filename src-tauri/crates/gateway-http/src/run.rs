//! What the connections of one run share.

use crate::cookies::Jars;
use crate::limits::Budget;
use crate::upstream::{Roots, Upstreams};
use crate::{Limits, RunCa};
use countersign_broker::Countersigner;
use countersign_model::RunId;
use std::sync::Arc;

/// A run, as its gateway sees it.
#[derive(Debug)]
pub struct RunGateway<C: Countersigner> {
    /// Its id. Whoever speaks on the run's socket is the run.
    pub run: RunId,
    /// Its certificate authority.
    pub ca: RunCa,
    /// The broker.
    pub port: Arc<C>,
    /// What it may use.
    pub limits: Limits,
}

pub(crate) struct Run<C: Countersigner> {
    pub(crate) id: RunId,
    pub(crate) ca: RunCa,
    pub(crate) port: Arc<C>,
    pub(crate) limits: Limits,
    pub(crate) budget: Budget,
    pub(crate) jars: Jars,
    pub(crate) upstreams: Upstreams,
}

impl<C: Countersigner> Run<C> {
    pub(crate) fn new(gateway: RunGateway<C>, roots: Arc<Roots>) -> Self {
        Self {
            id: gateway.run,
            ca: gateway.ca,
            port: gateway.port,
            budget: Budget::new(gateway.limits.buffered),
            limits: gateway.limits,
            jars: Jars::default(),
            upstreams: Upstreams::new(roots),
        }
    }
}
