//! WhatsApp's Business Cloud API as Meta speaks it: the wire types that the client, the webhook reader and the sandbox
//! share, what its error codes mean, what it takes, and the client itself.
//! Nothing here decides what to send or when; field names of Meta stay inside and are translated once, at the edge.

pub mod client;
pub mod error;
pub mod error_table;
pub mod usage;
pub mod validate;
pub mod wire;
