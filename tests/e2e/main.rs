//! The whole gateway, from outside, on every store there is.

mod as_of;
mod bad_hour;
mod calendar;
mod canary;
mod care;
mod codes;
mod command_line;
mod consent;
mod crash;
mod custom_read_model;
mod endpoints;
mod engagement;
mod erase;
mod events;
mod forecast;
mod imports;
mod journal;
mod kurrentdb;
mod launch;
mod limits;
mod main_job;
mod media;
mod merged;
mod nodes;
mod operations;
mod pace;
mod provenance;
mod reach;
mod refused_webhooks;
mod replay;
mod sandbox_controls;
mod schema;
mod startup;
mod stats;

mod common;
