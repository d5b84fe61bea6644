//! Tests of the whole decision path. Each part has its own beside it.

mod aws;
mod fuzz;
mod generated;
mod generated_apis;
mod github;
mod gmail;
mod kubernetes;
mod mail;
mod models;
mod plain;
mod properties;
mod slack;
mod tables;
