//! What messages cost: a dated rate card that people keep, and what follows from it for messages that were sent or are to
//! be. Exact, in millionths of a currency's unit. Where no rate is known there is no amount, and never zero.

mod amount;
mod card;
mod cost;

pub use amount::{Amount, AmountError};
pub use card::{Currency, Price, Rate, RateCard, RateCardError};
pub use cost::{Bill, Cost, Estimate, cost, estimate, reported};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::template::TemplateCategory;

/// What WhatsApp bills a message as. Its own words; those that this version does not know have no rate.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum BillingCategory {
    Marketing,
    MarketingLite,
    Utility,
    Authentication,
    AuthenticationInternational,
    /// Everything that is no template.
    Service,
}

impl BillingCategory {
    pub const ALL: [Self; 6] = [
        Self::Marketing,
        Self::MarketingLite,
        Self::Utility,
        Self::Authentication,
        Self::AuthenticationInternational,
        Self::Service,
    ];

    /// WhatsApp's word, in either case, with `_` or `-`.
    pub fn parse(word: &str) -> Option<Self> {
        let word = word.trim().to_ascii_uppercase().replace('-', "_");
        Self::ALL.into_iter().find(|category| category.as_str() == word)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Marketing => "MARKETING",
            Self::MarketingLite => "MARKETING_LITE",
            Self::Utility => "UTILITY",
            Self::Authentication => "AUTHENTICATION",
            Self::AuthenticationInternational => "AUTHENTICATION_INTERNATIONAL",
            Self::Service => "SERVICE",
        }
    }

    /// `None`: no template.
    pub fn of(category: Option<TemplateCategory>) -> Self {
        match category {
            Some(TemplateCategory::Marketing) => Self::Marketing,
            Some(TemplateCategory::Utility) => Self::Utility,
            Some(TemplateCategory::Authentication) => Self::Authentication,
            None => Self::Service,
        }
    }
}
