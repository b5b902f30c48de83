//! The whole gateway, from outside, on every store there is.

mod crash;
mod main_job;
mod pace;
mod provenance;
mod refused_webhooks;
mod schema;
mod startup;

mod common;
