//! The contacts' read model: people as they are, their tags, which tags and attributes there are, and what each import did
//! to whom.

mod tables;
mod vocabulary;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_trait::async_trait;
use domain::contact::{Contact, ContactEvent, ContactOrigin};
use domain::port::{AggregateType, RecordedEvent};
use uuid::Uuid;

pub(crate) use tables::SCHEMA;
use tables::{CONTACT_PHONES, CONTACT_TAGS, CONTACTS, IMPORT_CHANGES, VOCABULARY, contact_row};
pub use vocabulary::WordKind;
use vocabulary::{Changes, Words};

use crate::messages::Recent;
use crate::projector::{ProjectError, Projection, decode, off_executor};
use crate::store::{Row, Schema, Sql, Value, View, Write};

/// Its stable name.
pub const NAME: &str = "contacts";

pub(crate) struct Contacts;

/// One event of the batch, decoded.
struct Step {
    id: Uuid,
    sequence: u64,
    position: u64,
    event: ContactEvent,
}

#[async_trait]
impl Projection for Contacts {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn aggregate_types(&self) -> &'static [AggregateType] {
        &[AggregateType::Contact]
    }

    async fn project(
        &self,
        view: &View,
        _: &mut Recent,
        events: Vec<RecordedEvent>,
    ) -> Result<Vec<Write>, ProjectError> {
        let steps = off_executor(move || read(&events)).await?;
        let ids: BTreeSet<Uuid> = steps.iter().map(|step| step.id).collect();
        let rows = view
            .query_chunked(ids, |ids| {
                Sql::new("SELECT id, sequence, added_at, doc FROM {contacts} WHERE id ?*")
                    .with_list(ids)
            })
            .await?;
        let (mut writes, changes) = off_executor(move || fold(&rows, steps)).await?;
        let mut known = Vec::new();
        for (workspace, words) in changes.words() {
            let rows = view.query_chunked(words, |words| {
                Sql::new(
                    "SELECT workspace_id, kind, word, contacts FROM {vocabulary} \
                     WHERE workspace_id = ? AND kind IN ('tag', 'attribute') AND word ?*",
                )
                .with(workspace)
                .with_list(words)
            });
            known.extend(rows.await?);
        }
        let (counted, gone) = changes.over(&known)?;
        writes.push(Write::Delete { table: &VOCABULARY, keys: gone });
        writes.push(Write::Upsert { table: &VOCABULARY, rows: counted });
        Ok(writes)
    }
}

fn read(events: &[RecordedEvent]) -> Result<Vec<Step>, ProjectError> {
    let mut steps = Vec::with_capacity(events.len());
    for event in events {
        if let Some(decoded) = decode(event, ContactEvent::CATALOGUE)? {
            steps.push(Step {
                id: event.stream.id,
                sequence: event.sequence,
                position: event.position.0,
                event: decoded,
            });
        }
    }
    Ok(steps)
}

struct Entry {
    contact: Contact,
    sequence: u64,
    added_at: u64,
    /// As the database has them.
    tags: BTreeSet<String>,
    /// As the database has them.
    phones: BTreeSet<String>,
    /// As the database has them.
    words: Words,
}

/// Lists and searches find it.
fn is_listed(contact: &Contact) -> bool {
    !contact.erased && contact.merged_into.is_none()
}

/// Tags that the contact can be found by.
fn listed_tags(contact: &Contact) -> BTreeSet<String> {
    if is_listed(contact) { contact.tags.clone() } else { BTreeSet::new() }
}

/// Further numbers that the contact can be found by.
fn listed_phones(contact: &Contact) -> BTreeSet<String> {
    let aliases = contact.aliases().filter(|_| is_listed(contact));
    let phones = aliases.into_iter().flat_map(|aliases| &aliases.phones);
    phones.map(|phone| phone.as_str().to_owned()).collect()
}

fn fold(rows: &[Row], steps: Vec<Step>) -> Result<(Vec<Write>, Changes), ProjectError> {
    let mut known: HashMap<Uuid, Entry> = HashMap::with_capacity(rows.len());
    for row in rows {
        let contact: Contact = row.doc(3)?;
        let (tags, phones) = (listed_tags(&contact), listed_phones(&contact));
        let (sequence, added_at) = (row.count(1)?, row.count(2)?);
        let words = Words::of(&contact);
        let entry = Entry { contact, sequence, added_at, tags, phones, words };
        known.insert(row.uuid(0)?, entry);
    }
    let mut changed = BTreeSet::new();
    let mut imported = BTreeMap::new();
    for Step { id, sequence, position, event } in steps {
        let entry = known.entry(id).or_insert_with(|| Entry {
            contact: Contact::default(),
            sequence: 0,
            added_at: position,
            tags: BTreeSet::new(),
            phones: BTreeSet::new(),
            words: Words::default(),
        });
        if sequence <= entry.sequence {
            continue;
        }
        if let Some((import_id, kind, by_undo)) = import_change(&event) {
            imported.insert((import_id, id, sequence), (position, kind, by_undo));
        }
        entry.contact.fold(event);
        entry.sequence = sequence;
        changed.insert(id);
    }
    let mut words = Changes::default();
    for entry in changed.iter().filter_map(|id| known.get(id)) {
        if let Some(workspace) = entry.contact.workspace_id {
            words.note(workspace.0, &entry.words, &Words::of(&entry.contact));
        }
    }
    Ok((writes(&known, &changed, imported), words))
}

type ImportChanges = BTreeMap<(Uuid, Uuid, u64), (u64, &'static str, bool)>;

fn writes(
    known: &HashMap<Uuid, Entry>,
    changed: &BTreeSet<Uuid>,
    imported: ImportChanges,
) -> Vec<Write> {
    let (mut contacts, mut tagged, mut untagged) = (Vec::new(), Vec::new(), Vec::new());
    let (mut numbered, mut unnumbered) = (Vec::new(), Vec::new());
    for id in changed {
        let Some(entry) = known.get(id) else { continue };
        let Some(workspace) = entry.contact.workspace_id else { continue };
        contacts.extend(contact_row(*id, entry.sequence, entry.added_at, &entry.contact));
        let tags = listed_tags(&entry.contact);
        let row = |text: &String| -> Vec<Value> {
            vec![workspace.0.into(), text.as_str().into(), (*id).into()]
        };
        tagged.extend(tags.difference(&entry.tags).map(row));
        untagged.extend(entry.tags.difference(&tags).map(row));
        let phones = listed_phones(&entry.contact);
        numbered.extend(phones.difference(&entry.phones).map(row));
        unnumbered.extend(entry.phones.difference(&phones).map(row));
    }
    let imported = imported.into_iter().map(
        |((import_id, contact_id, sequence), (position, kind, by_undo))| -> Vec<Value> {
            vec![
                import_id.into(),
                contact_id.into(),
                sequence.into(),
                position.into(),
                kind.into(),
                by_undo.into(),
            ]
        },
    );
    vec![
        Write::Upsert { table: &CONTACTS, rows: contacts },
        Write::Delete { table: &CONTACT_PHONES, keys: unnumbered },
        Write::Upsert { table: &CONTACT_PHONES, rows: numbered },
        Write::Upsert { table: &CONTACT_TAGS, rows: tagged },
        Write::Delete { table: &CONTACT_TAGS, keys: untagged },
        Write::Upsert { table: &IMPORT_CHANGES, rows: imported.collect() },
    ]
}

/// Which import's doing the event is, what it did, and whether in being undone.
fn import_change(event: &ContactEvent) -> Option<(Uuid, &'static str, bool)> {
    let (origin, kind) = match event {
        ContactEvent::Added { origin, .. } => (origin, "added"),
        ContactEvent::Updated { origin, .. } => (origin, "updated"),
        ContactEvent::Tagged { origin, .. } => (origin, "tagged"),
        ContactEvent::Untagged { origin, .. } => (origin, "untagged"),
        _ => return None,
    };
    match origin {
        ContactOrigin::Import { import_id } => Some((import_id.0, kind, false)),
        ContactOrigin::Undo { import_id } => Some((import_id.0, kind, true)),
        ContactOrigin::Api | ContactOrigin::Send | ContactOrigin::Whatsapp => None,
    }
}
