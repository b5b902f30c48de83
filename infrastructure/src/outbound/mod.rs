//! Webhooks out: signing what leaves, connecting to nothing but addresses that may be reached, and keeping how far each
//! endpoint has heard and what it answered. When to send what is decided elsewhere.

pub mod address;
pub mod client;
pub mod signature;
pub mod store;
