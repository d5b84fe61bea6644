//! Tests of the whole decision path. Each part has its own beside it.

mod fuzz;
mod github;
mod gmail;
mod mail;
mod models;
mod plain;
mod properties;
mod slack;
mod tables;
