//! The whole gateway, from outside, on every store there is.

mod crash;
mod erase;
mod main_job;
mod pace;
mod provenance;

mod common;
