//! A desktop, a person and upstreams that tests and the demo can steer.
//!
//! Nothing here is part of the product, and nothing here stands in for a part
//! of it: the desktop is a real one without a screen, the person is a real
//! unprivileged user, the upstreams are real servers on loopback over TLS.
//!
//! Everything is synchronous and parallel-safe: each value owns its folder,
//! its ports and its processes, and ends them when it is dropped.

pub mod agents;
pub mod authority;
pub mod desktop;
pub mod fuzz;
pub mod group;
pub mod person;
pub mod programs;
pub mod random;
pub mod scene;
pub mod upstream;
pub mod usage;

pub use authority::Authority;
pub use desktop::{Desktop, Keyring, Options, Portal};
pub use fuzz::Fuzz;
pub use group::{Group, Hierarchy};
pub use person::Person;
pub use scene::Scene;
