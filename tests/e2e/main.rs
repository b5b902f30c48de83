//! The whole gateway, from outside, on every store there is.

mod codes;
mod crash;
mod imports;
mod main_job;
mod nodes;
mod pace;
mod provenance;

mod common;
