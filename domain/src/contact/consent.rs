//! What a person agreed to: the latest word in general and by category. The ledger of all words is the history.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::primitives::Personal;
use crate::template::TemplateCategory;

#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
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

/// The latest words: what holds, in general and by category.
///
/// What others record of a person goes by the date that it was given. What the person says themself goes by when they said
/// it, whatever the order in which it reaches us; a consent that others record lifts their stop only where it was given after
/// the stop had been read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConsentLedger {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub general: Option<ConsentWord>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_category: BTreeMap<TemplateCategory, ConsentWord>,
    /// Where the person said anything themself; the words above follow from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    heard: Option<Box<Heard>>,
}

/// A category with its word, for lists.
pub type CategoryWord = (TemplateCategory, ConsentWord);

/// What a start of the person's own comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StartMeans {
    /// What is known already was said later.
    Nothing,
    /// They never stopped, as far as is known: no consent, but it stands against a stop that was said before it.
    Noted,
    OptIn,
}

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

    /// The same words hold; what is remembered beside them may differ.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        self.general == other.general && self.by_category == other.by_category
    }

    /// A word about the person. A general opt-out takes back every category's opt-in that is not younger; an older word
    /// never replaces a younger one, nor one that was given before a stop was read the stop.
    pub fn fold(&mut self, category: Option<TemplateCategory>, word: ConsentWord) {
        match &mut self.heard {
            Some(heard) => {
                heard.record(category, word);
                self.follow();
            }
            None => {
                let mut words = Words {
                    general: self.general.take(),
                    by_category: std::mem::take(&mut self.by_category),
                };
                words.fold(category, word);
                (self.general, self.by_category) = (words.general, words.by_category);
            }
        }
    }

    /// The person said stop at `word.given_at`, and we read it at `read_at`.
    pub(super) fn hear_stop(
        &mut self,
        category: Option<TemplateCategory>,
        word: ConsentWord,
        read_at: DateTime<Utc>,
    ) {
        self.hear().stop(category, word, read_at);
        self.follow();
    }

    /// The person said start at `word.given_at`. `opts_in`: it counts as consent.
    pub(super) fn hear_start(
        &mut self,
        category: Option<TemplateCategory>,
        word: ConsentWord,
        opts_in: bool,
    ) {
        self.hear().start(category, word, opts_in);
        self.follow();
    }

    /// Whether a stop that was said then, and led from `self` to `after`, is news. Told again, it is not.
    pub(super) fn is_news_of_stop(
        &self,
        after: &Self,
        category: Option<TemplateCategory>,
        said_at: DateTime<Utc>,
    ) -> bool {
        let said = self.said(category);
        let Some(known) = said.and_then(|said| said.stop.as_ref()) else { return true };
        let is_answered = said
            .and_then(|said| said.start.as_ref())
            .is_some_and(|start| start.word.given_at > said_at);
        match said_at.cmp(&known.word.given_at) {
            Ordering::Greater => true,
            Ordering::Equal => false,
            // Said before the one we know and read after it: whatever others recorded in between did not know of it.
            Ordering::Less => !is_answered && !after.says_the_same(self),
        }
    }

    /// What a start that was said at `word.given_at` comes to.
    pub(super) fn meaning_of_start(
        &self,
        category: Option<TemplateCategory>,
        word: &ConsentWord,
    ) -> StartMeans {
        let nothing = Said::default();
        let said = self.said(category).unwrap_or(&nothing);
        let is_later = |known: Option<&ConsentWord>| {
            known.is_some_and(|known| known.given_at >= word.given_at)
        };
        let (stop, start) = (said.stop_word(), said.start.as_ref().map(|start| &start.word));
        if is_later(start) || is_later(stop) {
            return StartMeans::Nothing;
        }
        let general = category.and_then(|_| self.said(None)).and_then(Said::stop_word);
        let had_stopped =
            stop.is_some() || general.is_some_and(|stop| stop.given_at < word.given_at);
        let counted = said.start.as_ref().is_some_and(|start| start.opts_in);
        if !had_stopped && !counted && self.status_of(category) != ConsentStatus::OptedOut {
            return StartMeans::Noted;
        }
        let mut after = self.clone();
        after.hear_start(category, word.clone(), true);
        // Where a younger opt-out of everything stands, it answers the category's own stop none the less.
        let answers = after.status_of(category) != ConsentStatus::OptedOut
            || (category.is_some() && had_stopped);
        if answers { StartMeans::OptIn } else { StartMeans::Noted }
    }

    /// The starts that were said after this stop, which led from `before` to `self`: they hold, although they were read
    /// first.
    pub(super) fn starts_after_stop(
        &self,
        before: &Self,
        category: Option<TemplateCategory>,
        said_at: DateTime<Utc>,
    ) -> Vec<(Option<TemplateCategory>, ConsentWord)> {
        let Some(heard) = &self.heard else { return Vec::new() };
        let general = heard.general.stop_word().map(|stop| stop.given_at);
        let own = std::iter::once((None, &heard.general));
        let slots =
            own.chain(heard.by_category.iter().map(|(category, said)| (Some(*category), said)));
        slots
            .filter(|(slot, _)| category.is_none() || *slot == category)
            .filter_map(|(slot, said)| {
                let start = said.start.as_ref()?;
                let at = start.word.given_at;
                // One of a category answers the category's own stop, whatever becomes of everything.
                let is_last = at > said_at
                    && said.stop_word().is_none_or(|stop| at > stop.given_at)
                    && (slot == category || general.is_none_or(|stop| at > stop));
                // What others know of an opt-out is not for a word of before to lift.
                let is_forbidden = !start.opts_in
                    && heard.recorded.forbid(slot)
                    && before.status_of(slot) == ConsentStatus::OptedOut;
                let is_told = start.opts_in && slot != category;
                (is_last && !is_forbidden && !is_told).then(|| (slot, start.word.clone()))
            })
            .collect()
    }

    /// Takes the evidence out, which is personal.
    pub(super) fn erase_evidence(&mut self) {
        fn erase(word: &mut ConsentWord) {
            word.evidence = word.evidence.as_ref().map(|_| Personal::Erased);
        }
        self.general.iter_mut().chain(self.by_category.values_mut()).for_each(erase);
        if let Some(heard) = &mut self.heard {
            let recorded = &mut heard.recorded;
            recorded.general.iter_mut().chain(recorded.by_category.values_mut()).for_each(erase);
            for said in std::iter::once(&mut heard.general).chain(heard.by_category.values_mut()) {
                said.stop.iter_mut().for_each(|stop| erase(&mut stop.word));
                said.start.iter_mut().for_each(|start| erase(&mut start.word));
            }
        }
    }

    fn status_of(&self, category: Option<TemplateCategory>) -> ConsentStatus {
        category.map_or(self.status(), |category| self.status_for(category))
    }

    fn said(&self, category: Option<TemplateCategory>) -> Option<&Said> {
        let heard = self.heard.as_ref()?;
        match category {
            None => Some(&heard.general),
            Some(category) => heard.by_category.get(&category),
        }
    }

    /// From the first word of their own on, those of others are kept apart.
    fn hear(&mut self) -> &mut Heard {
        self.heard.get_or_insert_with(|| {
            let (general, by_category) = (self.general.clone(), self.by_category.clone());
            let recorded = Words { general, by_category };
            Box::new(Heard { recorded, general: Said::default(), by_category: BTreeMap::new() })
        })
    }

    fn follow(&mut self) {
        if let Some(heard) = &self.heard {
            let words = heard.words();
            (self.general, self.by_category) = (words.general, words.by_category);
        }
    }
}

/// Words by what they are about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Words {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    general: Option<ConsentWord>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    by_category: BTreeMap<TemplateCategory, ConsentWord>,
}

impl Words {
    fn fold(&mut self, category: Option<TemplateCategory>, word: ConsentWord) {
        let is_newer =
            |known: Option<&ConsentWord>| known.is_none_or(|known| known.given_at <= word.given_at);
        match category {
            Some(category) => {
                let overruled = self.general.as_ref().is_some_and(|g| {
                    g.status == ConsentStatus::OptedOut && g.given_at > word.given_at
                });
                let overruled = overruled && word.status != ConsentStatus::OptedOut;
                if is_newer(self.by_category.get(&category)) && !overruled {
                    self.by_category.insert(category, word);
                }
            }
            None => {
                if word.status == ConsentStatus::OptedOut {
                    self.by_category.retain(|_, known| {
                        known.status == ConsentStatus::OptedOut || known.given_at > word.given_at
                    });
                }
                if is_newer(self.general.as_ref()) {
                    self.general = Some(word);
                }
            }
        }
    }

    fn forbid(&self, category: Option<TemplateCategory>) -> bool {
        let word = category.and_then(|category| self.by_category.get(&category));
        word.or(self.general.as_ref()).is_some_and(|word| word.status == ConsentStatus::OptedOut)
    }

    /// Takes back what allows anything and was not given after `since` (`None`: whenever it was given).
    fn take_back(&mut self, category: Option<TemplateCategory>, since: Option<DateTime<Utc>>) {
        let stays = |word: &ConsentWord| {
            word.status == ConsentStatus::OptedOut
                || since.is_some_and(|since| word.given_at > since)
        };
        if category.is_none() {
            self.general = self.general.take().filter(stays);
        }
        self.by_category.retain(|known, word| {
            category.is_some_and(|category| category != *known) || stays(word)
        });
    }
}

/// What the person said themself, beside what others recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Heard {
    recorded: Words,
    general: Said,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    by_category: BTreeMap<TemplateCategory, Said>,
}

/// The last stop and the last start, by when they were said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Said {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stop: Option<Stop>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start: Option<Start>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Stop {
    word: ConsentWord,
    /// When the last one was read: what others record lifts it from then on.
    read_at: DateTime<Utc>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Start {
    word: ConsentWord,
    /// It answers a stop. Otherwise it is no consent to anything.
    opts_in: bool,
}

impl Said {
    fn stop_word(&self) -> Option<&ConsentWord> {
        self.stop.as_ref().map(|stop| &stop.word)
    }

    /// What holds of the two. Of the same second, the stop.
    fn word(&self) -> Option<&ConsentWord> {
        let stop = self.stop_word();
        let start = self.start.as_ref().filter(|start| start.opts_in).map(|start| &start.word);
        match (stop, start) {
            (Some(stop), Some(start)) if start.given_at <= stop.given_at => Some(stop),
            (stop, start) => start.or(stop),
        }
    }

    /// The stop, where no start has answered it.
    fn open_stop(&self) -> Option<&Stop> {
        let word = self.word()?;
        self.stop.as_ref().filter(|_| word.status == ConsentStatus::OptedOut)
    }
}

impl Heard {
    fn said_mut(&mut self, category: Option<TemplateCategory>) -> &mut Said {
        match category {
            None => &mut self.general,
            Some(category) => self.by_category.entry(category).or_default(),
        }
    }

    fn record(&mut self, category: Option<TemplateCategory>, word: ConsentWord) {
        let of_category = category.and_then(|category| self.by_category.get(&category));
        let mut stops = [Some(&self.general), of_category].into_iter().flatten();
        let is_before =
            stops.any(|said| said.open_stop().is_some_and(|stop| word.given_at < stop.read_at));
        if word.status == ConsentStatus::OptedOut || !is_before {
            self.recorded.fold(category, word);
        }
    }

    fn stop(
        &mut self,
        category: Option<TemplateCategory>,
        word: ConsentWord,
        read_at: DateTime<Utc>,
    ) {
        let said = self.said_mut(category);
        let is_answered =
            said.start.as_ref().is_some_and(|start| start.word.given_at > word.given_at);
        let said_at = word.given_at;
        said.stop = Some(match said.stop.take() {
            Some(known) if known.word.given_at >= word.given_at => {
                Stop { read_at: known.read_at.max(read_at), ..known }
            }
            Some(known) => Stop { word, read_at: known.read_at.max(read_at) },
            None => Stop { word, read_at },
        });
        self.recorded.take_back(category, is_answered.then_some(said_at));
    }

    fn start(&mut self, category: Option<TemplateCategory>, word: ConsentWord, opts_in: bool) {
        let said = self.said_mut(category);
        let known = said.start.as_ref();
        if known.is_none_or(|known| known.word.given_at <= word.given_at) {
            let opts_in = opts_in || known.is_some_and(|known| known.opts_in);
            said.start = Some(Start { word, opts_in });
        }
    }

    /// What holds, of both.
    fn words(&self) -> Words {
        let recorded = &self.recorded;
        let general = later(self.general.word(), recorded.general.as_ref());
        let mut by_category = BTreeMap::new();
        for category in TemplateCategory::ALL {
            let own = self.by_category.get(&category).and_then(Said::word);
            // A stop of everything that was said later took it back, and so did one that others recorded.
            let own = own.filter(|word| {
                word.status == ConsentStatus::OptedOut || {
                    let stop = self.general.stop_word();
                    let forbidden = recorded.general.as_ref();
                    let forbidden = forbidden.filter(|word| word.status == ConsentStatus::OptedOut);
                    stop.into_iter().chain(forbidden).all(|stop| word.given_at > stop.given_at)
                }
            });
            if let Some(word) = later(own, recorded.by_category.get(&category)) {
                by_category.insert(category, word.clone());
            }
        }
        Words { general: general.cloned(), by_category }
    }
}

/// Which of the person's own word and the one that others recorded holds.
fn later<'a>(
    own: Option<&'a ConsentWord>,
    recorded: Option<&'a ConsentWord>,
) -> Option<&'a ConsentWord> {
    let (Some(own), Some(recorded)) = (own, recorded) else { return own.or(recorded) };
    let is_recorded = match (own.status, recorded.status) {
        (ConsentStatus::OptedOut, ConsentStatus::OptedOut) => recorded.given_at > own.given_at,
        // What a stop takes back is not among what is recorded.
        (ConsentStatus::OptedOut, _) => true,
        _ => recorded.given_at >= own.given_at,
    };
    Some(if is_recorded { recorded } else { own })
}
