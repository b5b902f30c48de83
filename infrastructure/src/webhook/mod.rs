//! What WhatsApp tells us: whether a notification is Meta's ([`signature`]), where it is kept before it is answered
//! ([`journal`]), what it means item by item in the gateway's own terms ([`interpret`]), and whether a person wants no
//! more messages ([`optout`]). Nothing in here decides or sends, and whoever applies the items needs no knowledge of
//! Meta's JSON.

pub mod interpret;
pub mod journal;
pub mod optout;
pub mod signature;
