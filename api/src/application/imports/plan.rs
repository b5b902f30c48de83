//! What each row of a contact file leads to: a pure walk over rows in the file's order, on the people as they are. The
//! same walk judges a dry run. Nothing here reads or writes anything.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use domain::contact::{
    ConsentStatus, Contact, ContactChanges, ContactCommand, ContactError, ContactOrigin,
    PortfolioIdentity,
};
use domain::import::{ImportConsent, ImportRowError};
use domain::primitives::{ContactId, ImportId, WorkspaceId};
use domain::{GatewayAggregate, Identity};
use infrastructure::import::{ContactRow, TimeZoneCell};
use serde_json::Value;
use uuid::Uuid;

/// Where consent comes from when neither the row nor the import says.
const IMPORT_SOURCE: &str = "import";
/// People who arrive in one millisecond of the ids' time: about as fast as an import goes.
const ROWS_PER_MS: u64 = 4;

/// What holds for the whole of one import.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub import_id: ImportId,
    pub workspace_id: WorkspaceId,
    pub started_at: DateTime<Utc>,
    pub tags: BTreeSet<String>,
    pub consent: Option<ImportConsent>,
    /// WhatsApp's user ids hold within one business portfolio: this one.
    pub portfolio_id: String,
}

impl Rules {
    /// The id of the contact that a row adds. The same row always adds the same one, so that a batch that is repeated
    /// after a crash doubles nobody and counts as it did.
    ///
    /// A UUIDv8: the import's start and the row in the 48 bits of milliseconds, so that ids grow with the rows and a
    /// campaign over them appends nearly in order, and bits of the import's own id.
    pub fn contact_id(&self, row: u64) -> ContactId {
        let start = u64::try_from(self.started_at.timestamp_millis()).unwrap_or(0);
        let millis = u128::from(start + row / ROWS_PER_MS) & 0xffff_ffff_ffff;
        let import = self.import_id.0.as_u128();
        let own = import & 0x03ff_3fff_ffff_ffff_ffff;
        ContactId(Uuid::from_u128(
            millis << 80 | 0x8 << 76 | u128::from(row % ROWS_PER_MS) << 74 | 0b10 << 62 | own,
        ))
    }

    /// Everything in a row that tells who somebody is.
    pub fn identities(&self, row: &ContactRow) -> impl Iterator<Item = Identity> {
        let scope = self.workspace_id.0;
        let phone = row.phone.as_ref().map(|phone| Identity::phone(self.workspace_id, phone));
        let user = row.user_id.as_ref().map(|user| {
            Identity::new(
                scope,
                Identity::USER_ID,
                format!("{}/{}", self.portfolio_id, user.as_str()),
            )
        });
        let external = row.external_id.clone();
        let external = external.map(|id| Identity::new(scope, Identity::CONTACT_EXTERNAL_ID, id));
        [phone, user, external].into_iter().flatten()
    }

    fn changes(&self, row: &ContactRow) -> ContactChanges {
        let identity = row
            .user_id
            .clone()
            .map(|user_id| PortfolioIdentity { portfolio_id: self.portfolio_id.clone(), user_id });
        let attributes: BTreeMap<String, Value> = row
            .attributes
            .iter()
            .map(|(key, value)| (key.clone(), Value::from(value.as_str())))
            .collect();
        let time_zone = row.time_zone.as_ref().map(|zone| match zone {
            TimeZoneCell::Known(zone) => zone.name().to_owned(),
            TimeZoneCell::Unknown(text) => text.clone(),
        });
        ContactChanges {
            phone: row.phone.clone().map(Some),
            add_identities: identity.into_iter().collect(),
            username: None,
            external_id: row.external_id.clone().map(Some),
            name: row.name.clone().map(Some),
            language: row.language.clone().map(Some),
            time_zone: time_zone.map(Some),
            attributes: (!attributes.is_empty()).then_some(Some(attributes)),
            add_tags: row.tags.iter().chain(&self.tags).cloned().collect(),
            ..ContactChanges::default()
        }
    }

    /// What the row, or else the import, says of the person's consent. A word without a date says no more than that it
    /// was so once: it counts from the import's start, is recorded only where it changes something, and never takes back
    /// an opt-out. A list that is imported every week must not opt people in again who said stop in between.
    fn consent(
        &self,
        row: &ContactRow,
        contact: &Contact,
        at: DateTime<Utc>,
    ) -> Option<ContactCommand> {
        let general = self.consent.as_ref();
        let status = row.consent.or(general.map(|consent| consent.status))?;
        if status == ConsentStatus::Unknown {
            return None;
        }
        if row.consent_at.is_none() {
            let known = contact.consent.status();
            let lifts_opt_out =
                known == ConsentStatus::OptedOut && status == ConsentStatus::OptedIn;
            if known == status || lifts_opt_out {
                return None;
            }
        }
        let source =
            row.consent_source.clone().or_else(|| general.map(|consent| consent.source.clone()));
        Some(ContactCommand::RecordConsent {
            category: None,
            status,
            source: source.unwrap_or_else(|| IMPORT_SOURCE.to_owned()),
            evidence: None,
            given_at: row.consent_at.unwrap_or(self.started_at),
            at,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Added,
    Updated,
}

/// What a row leads to.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub contact_id: Uuid,
    pub verdict: Verdict,
    /// In order; none where everything is on record already.
    pub commands: Vec<ContactCommand>,
}

/// The people that a batch of rows is about, as they are and as they become row by row.
#[derive(Debug, Default)]
pub(crate) struct People {
    /// Who holds what. An identity that is not in here is free.
    pub holders: BTreeMap<Identity, Uuid>,
    pub contacts: HashMap<Uuid, Contact>,
    /// What nobody held before this batch.
    pub claimed: Vec<(Identity, Uuid)>,
}

impl People {
    /// Judges one row, as all rows before it have left the people.
    ///
    /// # Errors
    /// Why it is turned away; then nothing of it is done.
    pub fn plan(
        &mut self,
        rules: &Rules,
        row: &ContactRow,
        at: DateTime<Utc>,
    ) -> Result<Planned, ImportRowError> {
        let own_id = rules.contact_id(row.row).0;
        let origin = ContactOrigin::Import { import_id: rules.import_id };
        let changes = Box::new(rules.changes(row));
        let (contact_id, verdict) = if self.contacts.contains_key(&own_id) {
            // This very row added them, before a crash: whatever became of them since, it is done.
            (own_id, Verdict::Added)
        } else {
            let holders: BTreeSet<Uuid> = rules
                .identities(row)
                .filter_map(|identity| self.holders.get(&identity).copied())
                .collect();
            match holders.len() {
                0 => (own_id, Verdict::Added),
                1 => (holders.first().copied().unwrap_or(own_id), Verdict::Updated),
                _ => return Err(belongs_to_several(row)),
            }
        };
        let mut after = Step::new(self.contacts.get(&contact_id).cloned().unwrap_or_default());
        if verdict == Verdict::Added {
            let (workspace_id, contact_id) = (rules.workspace_id, ContactId(contact_id));
            after.decide(
                ContactCommand::Add { workspace_id, contact_id, changes, origin, at },
                row,
            )?;
        } else {
            after.decide(ContactCommand::Update { changes, origin, at }, row)?;
        }
        if let Some(consent) = rules.consent(row, &after.contact, at) {
            after.decide(consent, row)?;
        }
        let before = self.contacts.get(&contact_id).map(Contact::identities).unwrap_or_default();
        let identities = after.contact.identities();
        for identity in before.difference(&identities) {
            self.holders.remove(identity);
        }
        for identity in identities.difference(&before) {
            self.holders.insert(identity.clone(), contact_id);
            self.claimed.push((identity.clone(), contact_id));
        }
        self.contacts.insert(contact_id, after.contact);
        Ok(Planned { contact_id, verdict, commands: after.commands })
    }
}

/// A contact on its way through a row.
struct Step {
    contact: Contact,
    commands: Vec<ContactCommand>,
}

impl Step {
    fn new(contact: Contact) -> Self {
        Self { contact, commands: Vec::new() }
    }

    fn decide(&mut self, command: ContactCommand, row: &ContactRow) -> Result<(), ImportRowError> {
        let events = self.contact.decide(command.clone()).map_err(|error| refused(&error, row))?;
        if !events.is_empty() {
            self.commands.push(command);
            events.into_iter().for_each(|event| self.contact.fold(event));
        }
        Ok(())
    }
}

/// An aggregate's refusal as a row's error; neither quotes a cell.
pub(crate) fn refused(error: &ContactError, row: &ContactRow) -> ImportRowError {
    let message = match error {
        ContactError::Invalid { field: "occurredAt", .. } => {
            "consent cannot be given in the future: correct the date".to_owned()
        }
        error => error.to_string(),
    };
    ImportRowError { row: row.row, column: None, message }
}

fn belongs_to_several(row: &ContactRow) -> ImportRowError {
    let given = [
        (row.phone.is_some(), "phone number"),
        (row.user_id.is_some(), "user id"),
        (row.external_id.is_some(), "external id"),
    ];
    let given: Vec<&str> =
        given.into_iter().filter_map(|(is_there, name)| is_there.then_some(name)).collect();
    let message = format!(
        "the {} belong to different contacts: merge them with mergeContacts, or correct the row",
        given.join(" and the ")
    );
    ImportRowError { row: row.row, column: None, message }
}

/// Somebody else took the identity just now, and has it still.
pub(crate) fn taken(kind: &str, row: &ContactRow) -> ImportRowError {
    let what = match kind {
        Identity::PHONE => "phone number",
        Identity::USER_ID => "WhatsApp user id",
        _ => "external id",
    };
    let message = format!(
        "another contact has this {what}: merge them with mergeContacts, or correct the row"
    );
    ImportRowError { row: row.row, column: None, message }
}

#[cfg(test)]
mod tests {
    use infrastructure::import::{ContactFileReader, Options};

    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000 + minute * 60, 0).unwrap()
    }

    fn rules() -> Rules {
        Rules {
            import_id: ImportId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0005)),
            workspace_id: WorkspaceId(Uuid::from_u128(1)),
            started_at: at(0),
            tags: BTreeSet::from(["fair".to_owned()]),
            consent: None,
            portfolio_id: String::new(),
        }
    }

    fn opted_in() -> Option<ImportConsent> {
        Some(ImportConsent { status: ConsentStatus::OptedIn, source: "shop".to_owned() })
    }

    fn rows(csv: &str) -> Vec<ContactRow> {
        let mut rows = Vec::new();
        let mut reader = ContactFileReader::try_new(Options::default()).unwrap();
        reader.push(csv.as_bytes(), &mut rows).unwrap();
        reader.finish(&mut rows).unwrap();
        rows.into_iter().map(|row| row.expect("good rows")).collect()
    }

    fn run(people: &mut People, rules: &Rules, csv: &str) -> Vec<Result<Planned, ImportRowError>> {
        // Each test's batch is the whole file.
        rows(csv).iter().map(|row| people.plan(rules, row, at(1))).collect()
    }

    fn verdicts(planned: &[Result<Planned, ImportRowError>]) -> Vec<Option<Verdict>> {
        planned.iter().map(|planned| planned.as_ref().ok().map(|planned| planned.verdict)).collect()
    }

    const ADDED: Option<Verdict> = Some(Verdict::Added);
    const UPDATED: Option<Verdict> = Some(Verdict::Updated);

    #[test]
    fn ids_grow_with_the_rows_and_are_the_imports_own() {
        let (one, mut other) = (rules(), rules());
        other.import_id = ImportId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0006));
        let ids: BTreeSet<_> = (2..2_000).map(|row| one.contact_id(row)).collect();
        assert_eq!(ids.len(), 1_998);
        assert!(ids.iter().copied().eq((2..2_000).map(|row| one.contact_id(row))));
        assert!((2..2_000).all(|row| !ids.contains(&other.contact_id(row))));
        assert_eq!(one.contact_id(7).0.get_version_num(), 8);
    }

    #[test]
    fn a_number_that_comes_again_updates_whom_it_added() {
        let mut people = People::default();
        let planned =
            run(&mut people, &rules(), "phone,name\n+447700900123,Ana\n+447700900123,Ana Maria\n");
        assert_eq!(verdicts(&planned), [ADDED, UPDATED]);
        let (first, second) = (planned[0].as_ref().unwrap(), planned[1].as_ref().unwrap());
        assert_eq!(first.contact_id, second.contact_id);
        assert_eq!(people.contacts.len(), 1);
        assert!(people.contacts[&first.contact_id].tags.contains("fair"));
    }

    #[test]
    fn a_file_that_is_repeated_changes_nobody() {
        let csv = "phone,external_id,tags\n+447700900123,a1,vip\n+447700900124,a2,\n";
        let mut people = People::default();
        let rules = Rules { consent: opted_in(), ..rules() };
        run(&mut people, &rules, csv);
        let again = Rules { import_id: ImportId(Uuid::from_u128(9)), started_at: at(9), ..rules };
        let planned = run(&mut people, &again, csv);
        assert_eq!(verdicts(&planned), [UPDATED, UPDATED]);
        assert!(planned.iter().all(|planned| planned.as_ref().unwrap().commands.is_empty()));
    }

    #[test]
    fn a_batch_that_is_repeated_after_a_crash_counts_as_before() {
        // The third row takes over what the second one let go.
        let csv = "phone,external_id\n+447700900123,a1\n+447700900123,a2\n+447700900124,a1\n";
        let mut people = People::default();
        let first = run(&mut people, &rules(), csv);
        assert_eq!(verdicts(&first), [ADDED, UPDATED, ADDED]);
        let second = run(&mut people, &rules(), csv);
        assert_eq!(verdicts(&second)[..2], [ADDED, UPDATED]);
        assert_eq!(people.contacts.len(), 2);
    }

    #[test]
    fn a_row_over_two_people_is_turned_away_and_says_what_to_do() {
        let mut people = People::default();
        let csv = "phone,external_id\n+447700900123,a1\n+447700900124,a2\n+447700900123,a2\n";
        let planned = run(&mut people, &rules(), csv);
        assert_eq!(verdicts(&planned), [ADDED, ADDED, None]);
        let error = planned[2].as_ref().unwrap_err();
        assert_eq!(error.row, 4);
        assert!(error.message.contains("mergeContacts"), "{}", error.message);
    }

    #[test]
    fn a_number_that_was_let_go_adds_somebody_new() {
        let mut people = People::default();
        let csv = "phone,external_id\n+447700900123,a1\n+447700900124,a1\n+447700900123,a3\n";
        let planned = run(&mut people, &rules(), csv);
        assert_eq!(verdicts(&planned), [ADDED, UPDATED, ADDED]);
    }

    #[test]
    fn a_row_that_says_that_nobody_knows_takes_no_consent_from_the_import() {
        let mut people = People::default();
        let rules = Rules { consent: opted_in(), ..rules() };
        let csv = "phone,consent\n+4915112345671,unknown\n+4915112345672,n/a\n\
                   +4915112345673,pending\n+4915112345674,\n";
        let planned = run(&mut people, &rules, csv);
        let statuses: Vec<_> = planned
            .iter()
            .map(|planned| people.contacts[&planned.as_ref().unwrap().contact_id].consent.status())
            .collect();
        use ConsentStatus::{OptedIn, Unknown};
        assert_eq!(statuses, [Unknown, Unknown, Unknown, OptedIn]);
    }

    #[test]
    fn a_rows_consent_goes_before_the_imports() {
        let mut people = People::default();
        let rules = Rules { consent: opted_in(), ..rules() };
        let planned = run(&mut people, &rules, "phone,consent\n+447700900123,no\n+447700900124,\n");
        let status =
            |n: usize| people.contacts[&planned[n].as_ref().unwrap().contact_id].consent.status();
        assert_eq!((status(0), status(1)), (ConsentStatus::OptedOut, ConsentStatus::OptedIn));
    }

    #[test]
    fn an_opt_in_without_a_date_never_takes_back_an_opt_out_and_a_younger_one_does() {
        let mut people = People::default();
        let planned = run(&mut people, &rules(), "phone\n+447700900123\n");
        let id = planned[0].as_ref().unwrap().contact_id;
        let contact = people.contacts.get_mut(&id).unwrap();
        let stop = ContactCommand::OptOut {
            category: None,
            source: "STOP".to_owned(),
            evidence: None,
            said_at: at(-5),
            at: at(-5),
        };
        contact.decide(stop).unwrap().into_iter().for_each(|event| contact.fold(event));
        let weekly =
            Rules { consent: opted_in(), import_id: ImportId(Uuid::from_u128(9)), ..rules() };
        run(&mut people, &weekly, "phone\n+447700900123\n");
        assert_eq!(people.contacts[&id].consent.status(), ConsentStatus::OptedOut);
        let date = at(-1).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        run(&mut people, &weekly, &format!("phone,consent,consent_at\n+447700900123,yes,{date}\n"));
        assert_eq!(people.contacts[&id].consent.status(), ConsentStatus::OptedIn);
    }

    #[test]
    fn a_row_that_the_domain_refuses_leaves_no_trace() {
        let mut people = People::default();
        let csv = "phone,consent,consent_at\n+447700900123,yes,2999-01-01T00:00:00Z\n";
        let planned = run(&mut people, &rules(), csv);
        assert!(planned[0].as_ref().unwrap_err().message.contains("future"));
        assert!(people.contacts.is_empty() && people.holders.is_empty());
    }
}
