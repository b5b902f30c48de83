//! Which tags and attributes a workspace's contacts have, and how many contacts have each: what a misspelt one is told by,
//! without looking at anybody.

use std::collections::{BTreeMap, BTreeSet};

use domain::contact::Contact;
use uuid::Uuid;

use super::{is_listed, listed_tags};
use crate::store::{Row, StoreError, Value, storable};

/// What a word names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WordKind {
    Tag,
    Attribute,
}

impl WordKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Tag => "tag",
            Self::Attribute => "attribute",
        }
    }

    const ALL: [Self; 2] = [Self::Tag, Self::Attribute];
}

/// One contact's.
#[derive(Default)]
pub(super) struct Words(BTreeSet<(WordKind, String)>);

impl Words {
    pub fn of(contact: &Contact) -> Self {
        let tags = listed_tags(contact).into_iter().map(|tag| (WordKind::Tag, tag));
        let attributes = contact.filled_attributes().filter(|_| is_listed(contact));
        let attributes = attributes.map(|name| (WordKind::Attribute, name.to_owned()));
        // One word on both stores: PostgreSQL's texts hold no NUL.
        Self(tags.chain(attributes).map(|(kind, word)| (kind, storable(&word))).collect())
    }
}

/// How many contacts more or fewer have each word than before.
#[derive(Default)]
pub(super) struct Changes(BTreeMap<(Uuid, WordKind, String), i64>);

/// Rows to write, and keys to delete.
type Rows = (Vec<Vec<Value>>, Vec<Vec<Value>>);

impl Changes {
    /// One contact had `before` and has `after`.
    pub fn note(&mut self, workspace: Uuid, before: &Words, after: &Words) {
        let mut change = |(kind, word): &(WordKind, String), by| {
            *self.0.entry((workspace, *kind, word.clone())).or_default() += by;
        };
        after.0.difference(&before.0).for_each(|word| change(word, 1));
        before.0.difference(&after.0).for_each(|word| change(word, -1));
    }

    /// By workspace.
    pub fn words(&self) -> BTreeMap<Uuid, BTreeSet<&str>> {
        let mut words: BTreeMap<Uuid, BTreeSet<&str>> = BTreeMap::new();
        for (workspace, _, word) in self.0.keys() {
            words.entry(*workspace).or_default().insert(word);
        }
        words
    }

    /// The counts as they are after the batch; `known` are those of before.
    pub fn over(self, known: &[Row]) -> Result<Rows, StoreError> {
        let mut before: BTreeMap<(Uuid, WordKind, String), i64> = BTreeMap::new();
        for row in known {
            let kind = row.text(1)?;
            if let Some(kind) = WordKind::ALL.into_iter().find(|known| known.as_str() == kind) {
                before.insert((row.uuid(0)?, kind, row.text(2)?.to_owned()), row.int(3)?);
            }
        }
        let (mut counted, mut gone) = (vec![], vec![]);
        for (key, by) in self.0 {
            let contacts = (before.get(&key).copied().unwrap_or_default() + by).max(0);
            let (workspace, kind, word) = key;
            let mut row = vec![workspace.into(), kind.as_str().into(), word.into()];
            // That there was such a tag is worth knowing; an attribute's name may say something of the person.
            if contacts == 0 && kind == WordKind::Attribute {
                gone.push(row);
            } else {
                row.push(contacts.into());
                counted.push(row);
            }
        }
        Ok((counted, gone))
    }
}
