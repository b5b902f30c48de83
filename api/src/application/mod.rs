//! The command and query layer: everything that can be asked of the gateway, as functions over a [`Caller`]. Scopes,
//! workspaces and accounts are checked here and nowhere above; resolvers and routes only translate.
//!
//! The order of checks is always the same: the scope (FORBIDDEN), then the ids (NOT_FOUND, alike for unknown, foreign and
//! malformed ones), then the input (VALIDATION_FAILED with its path), then the state (CONFLICT).

pub mod accounts;
pub mod api_keys;
pub mod caller;
pub mod campaigns;
mod check;
pub mod cloud_api;
mod command;
pub mod contacts;
pub mod conversations;
pub mod error;
pub mod events;
pub mod exports;
pub mod following;
pub mod imports;
pub mod journal;
mod local;
pub mod media;
pub mod messages;
pub mod page;
pub mod projections;
mod read;
pub mod segments;
pub mod sessions;
pub mod stats;
pub mod templates;
pub mod trail;
pub mod users;
pub mod view;
pub mod webhook_endpoints;
pub mod workspaces;

pub use caller::Caller;
pub use error::{AppError, AppResult, ErrorCode};
pub use local::Local;
pub use page::{Edge, Page, PageArgs, Total};
pub use view::Written;

#[cfg(test)]
mod tests;
