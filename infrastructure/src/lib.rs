//! How it is stored and sent: event logs on SQLite and PostgreSQL, the key ring and the sealing of personal data, the
//! Cloud API client and the sandbox that stands in for it, the webhook journal, webhooks out, media, the reading of contact
//! files, and the seals by which a log shows that it was not tampered with.

pub mod audit;
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
