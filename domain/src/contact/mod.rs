//! A person: how WhatsApp knows them, what the business knows of them, and what they agreed to.

mod aggregate;
mod consent;
mod event;
#[cfg(test)]
mod tests;

pub use aggregate::{
    Contact, ContactChanges, ContactCommand, ContactDetails, ContactError, ContactOrigin,
    HALVES_MAX, SUPPRESSION_SOURCE,
};
pub use consent::{CategoryWord, ConsentLedger, ConsentStatus, ConsentWord};
pub use event::{Aliases, ContactEvent, PortfolioIdentity, Suppression};
