//! What taking an import back means for one person: a pure judgement over their stream. What is newer stands.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use domain::contact::{
    ConsentLedger, ConsentStatus, Contact, ContactChanges, ContactCommand, ContactDetails,
    ContactEvent, ContactOrigin, PortfolioIdentity,
};
use domain::primitives::{ImportId, Personal, PhoneNumber, UserId};
use serde_json::Value;

/// What an undo gives as its reason and source.
pub(crate) const UNDONE: &str = "import undone";

/// One event of a person's stream.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    /// Caused by the import or by its undoing.
    pub is_ours: bool,
    pub event: ContactEvent,
}

/// What is to be done about a person.
#[derive(Clone, Debug)]
pub(crate) enum Reversal {
    /// Something newer stands on what the import did, or nothing is left of it.
    Keep,
    /// The import added them and nobody has touched them since. Whether there are messages is for the caller to say.
    Remove(Vec<ContactCommand>),
    Revert(Vec<ContactCommand>),
    /// An earlier undo did it.
    Removed,
    Reverted,
}

/// A part of what is known of a person that an import may change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Phone,
    Username,
    ExternalId,
    Name,
    Language,
    TimeZone,
    Attribute(String),
    /// By portfolio.
    User(String),
}

type Parts = BTreeMap<Part, Value>;

fn parts(details: &ContactDetails) -> Parts {
    let known = |text: &Option<Personal<String>>| text.as_ref().and_then(Personal::known).cloned();
    let phone =
        details.phone.as_ref().and_then(Personal::known).map(|phone| phone.as_str().to_owned());
    let single = [
        (Part::Phone, phone),
        (Part::Username, known(&details.username)),
        (Part::ExternalId, known(&details.external_id)),
        (Part::Name, known(&details.name)),
        (Part::Language, details.language.clone()),
        (Part::TimeZone, details.time_zone.clone()),
    ];
    let single = single.into_iter().filter_map(|(part, text)| Some((part, Value::from(text?))));
    let attributes = details.attributes.as_ref().and_then(Personal::known).into_iter().flatten();
    let attributes = attributes.map(|(key, value)| (Part::Attribute(key.clone()), value.clone()));
    let users = details.identities.as_ref().and_then(Personal::known).into_iter().flatten();
    let users = users
        .map(|user| (Part::User(user.portfolio_id.clone()), Value::from(user.user_id.as_str())));
    single.chain(attributes).chain(users).collect()
}

struct Change {
    was: Option<Value>,
    is: Option<Value>,
}

/// What the import's hand left on one person.
#[derive(Default)]
struct Marks {
    parts: BTreeMap<Part, Change>,
    tags: BTreeSet<String>,
    /// Before the import's first word, and after its last.
    consent: Option<(ConsentLedger, ConsentLedger)>,
}

impl Marks {
    fn note(&mut self, before: &Contact, after: &Contact) {
        let (was, is) = (parts(&before.details), parts(&after.details));
        let touched: BTreeSet<&Part> = was.keys().chain(is.keys()).collect();
        for part in touched {
            let (was, is) = (was.get(part), is.get(part));
            if was == is {
                continue;
            }
            match self.parts.get_mut(part) {
                // Twice by the same import: what stood before the first time is what comes back.
                Some(change) if change.is.as_ref() == was => change.is = is.cloned(),
                _ => {
                    let change = Change { was: was.cloned(), is: is.cloned() };
                    self.parts.insert(part.clone(), change);
                }
            }
        }
        self.tags.extend(after.tags.difference(&before.tags).cloned());
        if before.consent != after.consent {
            let was = match self.consent.take() {
                Some((was, is)) if is == before.consent => was,
                _ => before.consent.clone(),
            };
            self.consent = Some((was, after.consent.clone()));
        }
    }

    /// Commands that bring back what was, as far as the import's word is still the last one.
    fn commands(
        &self,
        contact: &Contact,
        origin: ContactOrigin,
        at: DateTime<Utc>,
    ) -> Vec<ContactCommand> {
        let now = parts(&contact.details);
        let mut changes = ContactChanges {
            remove_tags: self.tags.intersection(&contact.tags).cloned().collect(),
            ..ContactChanges::default()
        };
        for (part, change) in &self.parts {
            if now.get(part) == change.is.as_ref() {
                restore(&mut changes, part, change.was.as_ref());
            }
        }
        let mut commands = vec![ContactCommand::Update { changes: Box::new(changes), origin, at }];
        if let Some((was, is)) = self.consent.as_ref().filter(|(_, is)| *is == contact.consent) {
            commands.extend(consent_again(was, is, at));
        }
        commands
    }
}

fn restore(changes: &mut ContactChanges, part: &Part, was: Option<&Value>) {
    let text = was.and_then(Value::as_str).map(str::to_owned);
    match part {
        Part::Phone => changes.phone = Some(text.and_then(|text| PhoneNumber::parse(&text).ok())),
        Part::Username => changes.username = Some(text),
        Part::ExternalId => changes.external_id = Some(text),
        Part::Name => changes.name = Some(text),
        Part::Language => changes.language = Some(text),
        Part::TimeZone => changes.time_zone = Some(text),
        Part::Attribute(key) => {
            let attributes = changes.attributes.get_or_insert_default().get_or_insert_default();
            attributes.insert(key.clone(), was.cloned().unwrap_or(Value::Null));
        }
        // One that was not there before stays: WhatsApp's ids only ever replace each other.
        Part::User(portfolio_id) => {
            let user_id = text.and_then(|text| UserId::parse(&text).ok());
            let portfolio_id = portfolio_id.clone();
            changes
                .add_identities
                .extend(user_id.map(|user_id| PortfolioIdentity { portfolio_id, user_id }));
        }
    }
}

/// The words before the import's, told again as of the import's own: a word that is younger than it stays the last.
fn consent_again(
    was: &ConsentLedger,
    is: &ConsentLedger,
    at: DateTime<Utc>,
) -> Vec<ContactCommand> {
    let mut commands = Vec::new();
    if was.general != is.general
        && let Some(ours) = &is.general
    {
        commands.push(ContactCommand::RecordConsent {
            category: None,
            status: was.general.as_ref().map_or(ConsentStatus::Unknown, |word| word.status),
            source: UNDONE.to_owned(),
            evidence: None,
            given_at: ours.given_at.min(at),
            at,
        });
    }
    let dropped =
        was.by_category.iter().filter(|(category, _)| !is.by_category.contains_key(category));
    commands.extend(dropped.map(|(category, word)| ContactCommand::RecordConsent {
        category: Some(*category),
        status: word.status,
        source: word.source.clone(),
        evidence: word.evidence.clone().and_then(Personal::into_known),
        given_at: word.given_at,
        at,
    }));
    commands
}

fn is_by_undo(event: &ContactEvent) -> bool {
    match event {
        ContactEvent::Updated { origin, .. }
        | ContactEvent::Tagged { origin, .. }
        | ContactEvent::Untagged { origin, .. } => matches!(origin, ContactOrigin::Undo { .. }),
        ContactEvent::ConsentRecorded { source, .. } => source == UNDONE,
        ContactEvent::Erased { .. } => true,
        _ => false,
    }
}

/// Judges one person's stream.
pub(crate) fn judge(import_id: ImportId, traces: &[Trace], at: DateTime<Utc>) -> Reversal {
    let mut contact = Contact::default();
    let mut marks = Marks::default();
    let (mut is_ours, mut is_touched, mut is_undone) = (false, false, false);
    for Trace { is_ours: by_import, event } in traces {
        let before = contact.clone();
        contact.fold(event.clone());
        match (by_import, event) {
            (true, event) if is_by_undo(event) => is_undone = true,
            (true, ContactEvent::Added { .. }) => is_ours = true,
            (true, _) => marks.note(&before, &contact),
            (false, event) => {
                is_touched = true;
                if let ContactEvent::Tagged { tags, .. } | ContactEvent::Untagged { tags, .. } =
                    event
                {
                    marks.tags.retain(|tag| !tags.contains(tag));
                }
            }
        }
    }
    if is_undone {
        return if contact.erased { Reversal::Removed } else { Reversal::Reverted };
    }
    if contact.erased || contact.merged_into.is_some() {
        return Reversal::Keep;
    }
    if is_ours {
        // Without a suppression: an opt-out that only the import spoke of is taken back with it, and one that was on the
        // suppression list before is there still.
        let erase =
            ContactCommand::Erase { reason: UNDONE.to_owned(), suppressions: Vec::new(), at };
        return if is_touched { Reversal::Keep } else { Reversal::Remove(vec![erase]) };
    }
    let commands = marks.commands(&contact, ContactOrigin::Undo { import_id }, at);
    let commands = effective(contact, commands);
    if commands.is_empty() { Reversal::Keep } else { Reversal::Revert(commands) }
}

/// Those that lead to something.
fn effective(mut contact: Contact, commands: Vec<ContactCommand>) -> Vec<ContactCommand> {
    use domain::GatewayAggregate;
    commands
        .into_iter()
        .filter(|command| {
            let events = contact.decide(command.clone()).unwrap_or_default();
            let has_effect = !events.is_empty();
            events.into_iter().for_each(|event| contact.fold(event));
            has_effect
        })
        .collect()
}

/// The same without what must be unique: somebody else has it by now, and keeps it.
pub(crate) fn without_identities(commands: Vec<ContactCommand>) -> Vec<ContactCommand> {
    let without = |command| match command {
        ContactCommand::Update { mut changes, origin, at } => {
            changes.phone = None;
            changes.external_id = None;
            changes.add_identities.clear();
            ContactCommand::Update { changes, origin, at }
        }
        other => other,
    };
    commands.into_iter().map(without).collect()
}

#[cfg(test)]
mod tests {
    use domain::GatewayAggregate;
    use domain::primitives::{ContactId, WorkspaceId};
    use uuid::Uuid;

    use super::*;

    const IMPORT: ImportId = ImportId(Uuid::from_u128(5));

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000 + minute * 60, 0).unwrap()
    }

    fn by_import() -> ContactOrigin {
        ContactOrigin::Import { import_id: IMPORT }
    }

    fn add(origin: ContactOrigin, name: &str) -> ContactCommand {
        let changes = ContactChanges {
            phone: Some(PhoneNumber::parse("+447700900123").ok()),
            name: Some(Some(name.to_owned())),
            ..ContactChanges::default()
        };
        let (workspace_id, contact_id) =
            (WorkspaceId(Uuid::from_u128(1)), ContactId(Uuid::from_u128(2)));
        ContactCommand::Add {
            workspace_id,
            contact_id,
            changes: Box::new(changes),
            origin,
            at: at(0),
        }
    }

    fn change(origin: ContactOrigin, name: &str, tags: &[&str]) -> ContactCommand {
        let changes = ContactChanges {
            name: Some(Some(name.to_owned())),
            add_tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            ..ContactChanges::default()
        };
        ContactCommand::Update { changes: Box::new(changes), origin, at: at(1) }
    }

    fn consent(status: ConsentStatus, minute: i64) -> ContactCommand {
        let (category, source, evidence) = (None, "fair".to_owned(), None);
        ContactCommand::RecordConsent {
            category,
            status,
            source,
            evidence,
            given_at: at(minute),
            at: at(minute),
        }
    }

    /// `true`: by the import.
    fn traces(steps: Vec<(bool, ContactCommand)>) -> (Contact, Vec<Trace>) {
        let mut contact = Contact::default();
        let mut traces = Vec::new();
        for (is_ours, command) in steps {
            for event in contact.decide(command).unwrap() {
                contact.fold(event.clone());
                traces.push(Trace { is_ours, event });
            }
        }
        (contact, traces)
    }

    fn reverted(steps: Vec<(bool, ContactCommand)>) -> Contact {
        let (mut contact, traces) = traces(steps);
        let Reversal::Revert(commands) = judge(IMPORT, &traces, at(9)) else {
            panic!("nothing is reverted")
        };
        for command in commands {
            contact.decide(command).unwrap().into_iter().for_each(|event| contact.fold(event));
        }
        contact
    }

    fn name(contact: &Contact) -> &str {
        contact.details.name.as_ref().and_then(Personal::known).unwrap()
    }

    #[test]
    fn whom_the_import_added_goes_unless_somebody_touched_them_since() {
        let (_, untouched) = traces(vec![
            (true, add(by_import(), "Ana")),
            (true, consent(ConsentStatus::OptedIn, 1)),
        ]);
        assert!(matches!(judge(IMPORT, &untouched, at(9)), Reversal::Remove(_)));
        let (_, stopped) = traces(vec![
            (true, add(by_import(), "Ana")),
            (false, consent(ConsentStatus::OptedOut, 2)),
        ]);
        assert!(matches!(judge(IMPORT, &stopped, at(9)), Reversal::Keep));
    }

    #[test]
    fn what_the_import_changed_comes_back_also_when_it_changed_it_twice() {
        let contact = reverted(vec![
            (false, add(ContactOrigin::Api, "Ana")),
            (true, change(by_import(), "ANA", &["fair"])),
            (true, change(by_import(), "ANNA", &[])),
        ]);
        assert_eq!(name(&contact), "Ana");
        assert!(contact.tags.is_empty());
    }

    #[test]
    fn what_somebody_changed_since_stays() {
        let contact = reverted(vec![
            (false, add(ContactOrigin::Api, "Ana")),
            (true, change(by_import(), "ANA", &["fair"])),
            (false, change(ContactOrigin::Api, "Ana Maria", &[])),
        ]);
        assert_eq!(name(&contact), "Ana Maria");
        assert!(contact.tags.is_empty());
    }

    #[test]
    fn consent_comes_back_and_a_later_stop_stays() {
        let opted_in = vec![
            (false, add(ContactOrigin::Api, "Ana")),
            (true, consent(ConsentStatus::OptedIn, 1)),
        ];
        assert_eq!(reverted(opted_in.clone()).consent.status(), ConsentStatus::Unknown);
        let mut stopped = opted_in;
        stopped.push((false, consent(ConsentStatus::OptedOut, 2)));
        let (_, stopped) = traces(stopped);
        assert!(matches!(judge(IMPORT, &stopped, at(9)), Reversal::Keep));
    }

    #[test]
    fn a_second_undo_finds_what_the_first_one_did() {
        let steps =
            vec![(false, add(ContactOrigin::Api, "Ana")), (true, change(by_import(), "ANA", &[]))];
        let (mut contact, mut traces) = traces(steps);
        let Reversal::Revert(commands) = judge(IMPORT, &traces, at(9)) else {
            panic!("nothing is reverted")
        };
        for command in commands {
            for event in contact.decide(command).unwrap() {
                contact.fold(event.clone());
                traces.push(Trace { is_ours: true, event });
            }
        }
        assert!(matches!(judge(IMPORT, &traces, at(9)), Reversal::Reverted));
    }
}
