//! What a person agreed to: the latest word in general and by category. The ledger of all words is the history.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::primitives::Personal;
use crate::template::TemplateCategory;

#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ConsentStatus {
    #[default]
    Unknown,
    OptedIn,
    OptedOut,
}

impl ConsentStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::OptedIn => "OPTED_IN",
            Self::OptedOut => "OPTED_OUT",
        }
    }
}

/// One word on consent: what, from where, with which proof, and when it was given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConsentWord {
    pub status: ConsentStatus,
    pub source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Personal<String>>,
    /// When the person gave it, which may be long before it was recorded.
    pub given_at: DateTime<Utc>,
}

/// The latest words.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConsentLedger {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub general: Option<ConsentWord>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_category: BTreeMap<TemplateCategory, ConsentWord>,
}

/// A category with its word, for lists.
pub type CategoryWord = (TemplateCategory, ConsentWord);

impl ConsentLedger {
    pub fn status(&self) -> ConsentStatus {
        self.general.as_ref().map_or(ConsentStatus::Unknown, |word| word.status)
    }

    /// A category's word goes before the general one.
    pub fn status_for(&self, category: TemplateCategory) -> ConsentStatus {
        self.by_category
            .get(&category)
            .or(self.general.as_ref())
            .map_or(ConsentStatus::Unknown, |word| word.status)
    }

    /// MARKETING needs an opt-in; UTILITY and AUTHENTICATION need that there is no opt-out. A service message answers
    /// the person and needs that they did not opt out of everything.
    pub fn allows(&self, category: Option<TemplateCategory>) -> bool {
        match category {
            Some(TemplateCategory::Marketing) => {
                self.status_for(TemplateCategory::Marketing) == ConsentStatus::OptedIn
            }
            Some(category) => self.status_for(category) != ConsentStatus::OptedOut,
            None => true,
        }
    }

    /// A word of the person or about them. A general opt-out takes back every category's opt-in that is not younger;
    /// an older word never replaces a younger one.
    pub fn fold(&mut self, category: Option<TemplateCategory>, word: ConsentWord) {
        let is_newer =
            |known: Option<&ConsentWord>| known.is_none_or(|known| known.given_at <= word.given_at);
        match category {
            Some(category) => {
                let overruled = self.general.as_ref().is_some_and(|g| {
                    g.status == ConsentStatus::OptedOut && g.given_at > word.given_at
                });
                if is_newer(self.by_category.get(&category)) && !overruled {
                    self.by_category.insert(category, word);
                }
            }
            None => {
                if word.status == ConsentStatus::OptedOut {
                    self.by_category.retain(|_, known| known.given_at > word.given_at);
                }
                if is_newer(self.general.as_ref()) {
                    self.general = Some(word);
                }
            }
        }
    }
}
