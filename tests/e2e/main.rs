//! The whole gateway, from outside, on every store there is.

mod command_line;
mod crash;
mod main_job;
mod pace;
mod provenance;
mod sandbox_controls;

mod common;
