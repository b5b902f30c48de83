//! The whole gateway, from outside, on every store there is.

mod command_line;
mod crash;
mod erase;
mod main_job;
mod pace;
mod provenance;
mod sandbox_controls;

mod common;
