//! What is true and what is allowed in the gateway. Aggregates decide on commands and fold events; process managers'
//! decisions are pure functions over facts. Nothing in this crate waits, logs, reads a clock or draws a random number.

mod aggregate;

pub mod account;
pub mod api_key;
pub mod campaign;
pub mod contact;
pub mod conversation;
pub mod delivery;
pub mod import;
pub mod message;
pub mod personalise;
pub mod port;
pub mod pricing;
pub mod primitives;
pub mod segment;
pub mod template;
pub mod user;
pub mod webhook_endpoint;
pub mod workspace;

pub use aggregate::{DomainError, GatewayAggregate, GatewayEvent, Identity};
