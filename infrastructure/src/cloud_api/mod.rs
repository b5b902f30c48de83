//! WhatsApp's Business Cloud API as Meta speaks it: the wire types that the client, the webhook reader and the sandbox
//! share.
//! Nothing here decides what to send or when; field names of Meta stay inside and are translated once, at the edge.

pub mod wire;
