//! How it is stored and sent: event logs on SQLite and PostgreSQL, the key ring and the sealing of personal data, the
//! Cloud API client and the sandbox that stands in for it, the webhook journal, webhooks out, media, and the reading of contact files.

pub mod clock;
pub mod cloud_api;
pub mod crypto;
pub mod event_store;
pub mod import;
pub mod ledger;
pub mod media;
pub mod outbound;
pub mod phone;
pub mod sandbox;
pub mod webhook;
