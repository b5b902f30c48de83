//! The gateway's binary as a library, so that the end-to-end tests start the very same thing.

pub mod app;
pub mod application;
pub mod cli;
pub mod config;
pub mod graphql;
pub mod http;
pub mod telemetry;
pub mod worker;
