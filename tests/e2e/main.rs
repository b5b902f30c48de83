//! The whole gateway, from outside, on every store there is.

mod command_line;
mod crash;
mod erase;
mod main_job;
mod pace;
mod provenance;
mod refused_webhooks;
mod sandbox_controls;
mod schema;
mod startup;

mod common;
