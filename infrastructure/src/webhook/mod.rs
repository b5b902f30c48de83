//! What WhatsApp tells us: whether a notification is Meta's ([`signature`]), and whether a person wants no more messages
//! ([`optout`]). Nothing in here decides or sends.

pub mod optout;
pub mod signature;
