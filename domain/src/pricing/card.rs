//! The rate card: what a message of a category costs in a country from a day on.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Amount, BillingCategory};
use crate::primitives::Country;

const RATES_MAX: usize = 2_000;
const COUNTRIES_MAX: usize = 300;

/// A currency's three letters (ISO 4217, upper case).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("pattern" = "^[A-Z]{3}$"))]
pub struct Currency(String);

impl Currency {
    /// Either case; `None` for anything but three ASCII letters.
    pub fn parse(text: &str) -> Option<Self> {
        let is_code = text.len() == 3 && text.bytes().all(|b| b.is_ascii_alphabetic());
        is_code.then(|| Self(text.to_ascii_uppercase()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a currency's three letters"))
    }
}

/// One line of the card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rate {
    /// The countries it is for. None: every country that no line of this category names.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub countries: BTreeSet<Country>,
    pub category: BillingCategory,
    pub currency: Currency,
    /// For one message.
    pub amount: Amount,
    /// From this day on (UTC), until a younger line for the same country begins.
    pub valid_from: NaiveDate,
}

/// What one message costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    pub amount: Amount,
    pub currency: Currency,
}

/// All lines. Empty until somebody fills it in: nobody knows an account's true prices but its owner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RateCard {
    rates: Vec<Rate>,
}

/// What is wrong with a card, and where: `rates[3].countries`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct RateCardError {
    pub field: String,
    pub problem: String,
}

impl RateCard {
    /// # Errors
    /// [`RateCardError`] for more than 2,000 lines, more than 300 countries in one, or two lines that say something of the
    /// same country, category and day.
    pub fn new(rates: Vec<Rate>) -> Result<Self, RateCardError> {
        let refused = |field: String, problem: String| Err(RateCardError { field, problem });
        if rates.len() > RATES_MAX {
            return refused("rates".to_owned(), format!("give at most {RATES_MAX} lines"));
        }
        let mut seen = BTreeSet::new();
        for (index, rate) in rates.iter().enumerate() {
            let field = || format!("rates[{index}].countries");
            if rate.countries.len() > COUNTRIES_MAX {
                return refused(field(), format!("name at most {COUNTRIES_MAX} countries"));
            }
            let about: Vec<Option<Country>> = match rate.countries.is_empty() {
                true => vec![None],
                false => rate.countries.iter().copied().map(Some).collect(),
            };
            for country in about {
                if !seen.insert((country, rate.category, rate.valid_from)) {
                    let whom = country.map_or("every other country".to_owned(), |c| c.to_string());
                    return refused(
                        field(),
                        format!(
                            "another line has a rate for {whom}, {} and {} already; leave one of them out",
                            rate.category.as_str(),
                            rate.valid_from
                        ),
                    );
                }
            }
        }
        Ok(Self { rates })
    }

    pub fn rates(&self) -> &[Rate] {
        &self.rates
    }

    /// What a message costs. The youngest line that names the country and has begun; where none names it, the youngest for
    /// every other country. `None`: nobody said.
    pub fn price(
        &self,
        country: Country,
        category: BillingCategory,
        day: NaiveDate,
    ) -> Option<Price> {
        let valid = |rate: &&Rate| rate.category == category && rate.valid_from <= day;
        let named = self.rates.iter().filter(valid).filter(|r| r.countries.contains(&country));
        let other = self.rates.iter().filter(valid).filter(|r| r.countries.is_empty());
        let rate =
            named.max_by_key(|r| r.valid_from).or_else(|| other.max_by_key(|r| r.valid_from))?;
        Some(Price { amount: rate.amount, currency: rate.currency.clone() })
    }

    /// The one currency of the card; `None` where there are none or several.
    pub fn currency(&self) -> Option<&Currency> {
        let first = &self.rates.first()?.currency;
        self.rates.iter().all(|rate| rate.currency == *first).then_some(first)
    }
}
