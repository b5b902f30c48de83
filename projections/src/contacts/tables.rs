//! The contacts projector's tables as the program knows them.

use domain::contact::{Aliases, Contact};
use domain::primitives::Personal;
use domain::template::TemplateCategory;
use uuid::Uuid;

use super::is_listed;
use crate::store::{Kind, Schema, Table, Value, keep, set};

pub static SCHEMA: Schema = Schema {
    name: "contacts",
    version: 3,
    ddl: include_str!("../../migrations/contacts.sql"),
    tables: &[&CONTACTS, &CONTACT_PHONES, &CONTACT_TAGS, &VOCABULARY, &IMPORT_CHANGES],
};

pub static CONTACTS: Table = Table {
    name: "contacts",
    columns: &[
        keep("id", Kind::Uuid),
        keep("workspace_id", Kind::Uuid),
        keep("created_at", Kind::Int),
        keep("added_at", Kind::Int),
        set("phone", Kind::Text),
        set("external_id", Kind::Text),
        set("search", Kind::Text),
        set("language", Kind::Text),
        set("time_zone", Kind::Text),
        set("consent_status", Kind::Text),
        set("consent_marketing_status", Kind::Text),
        set("erased", Kind::Int),
        set("merged_into", Kind::Uuid),
        set("sequence", Kind::Int),
        set("doc", Kind::Doc),
    ],
    key: 1,
};

pub static CONTACT_PHONES: Table = Table {
    name: "contact_phones",
    columns: &[
        keep("workspace_id", Kind::Uuid),
        keep("phone", Kind::Text),
        keep("contact_id", Kind::Uuid),
    ],
    key: 3,
};

pub static CONTACT_TAGS: Table = Table {
    name: "contact_tags",
    columns: &[
        keep("workspace_id", Kind::Uuid),
        keep("tag", Kind::Text),
        keep("contact_id", Kind::Uuid),
    ],
    key: 3,
};

pub static VOCABULARY: Table = Table {
    name: "vocabulary",
    columns: &[
        keep("workspace_id", Kind::Uuid),
        keep("kind", Kind::Text),
        keep("word", Kind::Text),
        set("contacts", Kind::Int),
    ],
    key: 3,
};

pub static IMPORT_CHANGES: Table = Table {
    name: "import_changes",
    columns: &[
        keep("import_id", Kind::Uuid),
        keep("contact_id", Kind::Uuid),
        keep("sequence", Kind::Int),
        keep("position", Kind::Int),
        keep("kind", Kind::Text),
        keep("by_undo", Kind::Int),
    ],
    key: 3,
};

/// `None` for a stream that has no first event we know.
pub(super) fn contact_row(
    id: Uuid,
    sequence: u64,
    added_at: u64,
    contact: &Contact,
) -> Option<Vec<Value>> {
    let doc = Value::doc(contact)?;
    let details = &contact.details;
    let external_id = details.external_id.as_ref().and_then(Personal::known);
    let listed = |text: Option<&str>| Value::from(text.filter(|_| is_listed(contact)));
    Some(vec![
        id.into(),
        contact.workspace_id?.0.into(),
        contact.created_at.unwrap_or_default().into(),
        added_at.into(),
        listed(contact.phone().map(|phone| phone.as_str())),
        listed(external_id.map(String::as_str)),
        listed(Some(&search_text(contact))),
        details.language.as_deref().into(),
        details.time_zone.as_deref().into(),
        contact.consent.status().as_str().into(),
        contact.consent.status_for(TemplateCategory::Marketing).as_str().into(),
        contact.erased.into(),
        contact.merged_into.map(|into| into.0).into(),
        sequence.into(),
        doc,
    ])
}

/// What a search looks in: name, numbers, external ids and username, in lower case, a line each.
fn search_text(contact: &Contact) -> String {
    let details = &contact.details;
    let known = |text: &Option<Personal<String>>| {
        text.as_ref().and_then(Personal::known).map(|text| text.to_lowercase())
    };
    let phone = contact.phone().map(|phone| phone.as_str().to_owned());
    let main = [known(&details.name), phone, known(&details.external_id), known(&details.username)];
    let none = Aliases::default();
    let aliases = contact.aliases().unwrap_or(&none);
    let phones = aliases.phones.iter().map(|phone| phone.as_str().to_owned());
    let external_ids = aliases.external_ids.iter().map(|id| id.to_lowercase());
    let lines: Vec<String> = main.into_iter().flatten().chain(phones).chain(external_ids).collect();
    lines.join("\n")
}
