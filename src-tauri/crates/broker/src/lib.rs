//! judge -> ask -> record -> [`Permit`]; and the emergency stop.
//!
//! *Invariants*
//! - A [`Permit`] exists only behind the receipt of a durable record that
//!   allows exactly its request, and is used up by value (`permit`).
//! - A credential leaves the vault in one place: `Broker::present` (`decide`).
//! - The stop is looked at after its handle was taken (`latch`), and again after
//!   every wait. What ends a run's processes lies here (`trees`).
//! - An answer counts only for the rendering that was shown (`desk`).
//! - Every record that allows a request gets a record after (`outcomes`).
//! - Every refusal is a record, or one of those that a record counts (`refusals`).
//! - Nothing here reads what an agent sent, but as data that is carried on.
//!
//! *Locks* are held for a step, never over a wait. Where two are held, this is
//! their order: publishing, desk, open requests, usage or denials; force and
//! runs come last and alone.

mod aftermath;
mod agent_stops;
mod broker;
mod clock;
mod credentials;
mod decide;
mod denials;
mod desk;
mod dial;
mod force;
mod health;
mod human;
mod latch;
mod lines;
mod outcomes;
mod permit;
mod port;
mod primitives;
mod question;
mod refusals;
mod runs;
mod stop;
mod stopping;
#[cfg(test)]
mod tree_tests;
mod trees;
mod usage;

pub use broker::{Broker, Parts, Unsaid};
pub use clock::{Clock, SystemClock};
pub use countersign_vault::{Place, Presented, Secret};
pub use desk::{Desk, GUARD, QUESTION_LIFE, SURFACE_QUEUE, SurfaceId, TERMINAL, YES_STANDS};
pub use force::Force;
pub use health::Moment;
pub use lines::Carrier;
pub use permit::Permit;
pub use port::{
    AccountView, Countersigner, Destination, Held as LineHeld, Line, NotConnected, Rejected,
    Release, Submission,
};
pub use runs::Run;
pub use stop::EmergencyStop;
pub use stopping::Press;
pub use trees::{FROZEN_FOR, Held, Tree};
