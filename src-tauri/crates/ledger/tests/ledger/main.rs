//! The ledger from outside: real files, real threads, real crashes.

mod append;
mod crash;
mod disk_full;
mod given;
mod opening;
mod tampering;
mod timeline;
