//! The gateway over real sockets: a real client that trusts the run's CA, a real
//! upstream under TLS, and a broker that the tests steer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]
#![allow(
    unreachable_pub,
    missing_docs,
    reason = "tests have no readers outside"
)]

mod aws;
mod client;
mod fake;
mod http2;
mod others;
mod ports;
mod replies;
mod stop;
mod streams;
mod traps;
mod upstream;
mod way;
mod websocket;
mod world;
