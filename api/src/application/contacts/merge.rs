//! Two contacts who turned out to be one person.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::Identity;
use domain::api_key::Scope;
use domain::contact::{
    ConsentLedger, ConsentStatus, ConsentWord, Contact, ContactChanges, ContactCommand,
    ContactOrigin,
};
use domain::primitives::{ContactId, Personal};
use domain::template::TemplateCategory;
use infrastructure::ledger::{CommandBus, Transaction};
use uuid::Uuid;

use super::written;
use crate::app::Gateway;
use crate::application::caller::Caller;
use crate::application::command;
use crate::application::error::{AppError, AppResult};
use crate::application::view::{ContactView, Written};

/// The kind under which the store keeps which contacts went into which.
const MERGED: &str = "contact.merged";
/// Places looked up together.
const LOOK_UP: usize = 16;

/// Makes one person of two: `keep` stays and wins, `merge` fills its gaps and ends. Its other numbers and ids lead to `keep`
/// from now on. An opt-out of either half holds for the whole person, in general and by category. Messages stay where they are in history; new ones go to `keep`. Scope MANAGE.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED where both are the same or of different workspaces, or more contacts would be one
/// person than [`HALVES_MAX`](domain::contact::HALVES_MAX) allows; CONFLICT where one was erased or merged before.
pub async fn merge(
    gateway: &Gateway,
    caller: &Caller,
    keep: &str,
    merge: &str,
) -> AppResult<Written<ContactView>> {
    caller.require(Scope::Manage)?;
    let (keep_id, keep) = command::known::<Contact>(gateway, caller, keep, "contact").await?;
    let (merge_id, merged) = command::known::<Contact>(gateway, caller, merge, "contact").await?;
    if keep_id == merge_id {
        return Err(AppError::invalid("merge", "name two different contacts"));
    }
    if keep.aggregate.workspace_id != merged.aggregate.workspace_id {
        return Err(AppError::invalid("merge", "both contacts must be in the same workspace"));
    }
    let now = gateway.clock.now();
    let context = command::context(gateway, caller);
    let (_, position) = command::transact(gateway, &context, None, &|tx| {
        Box::pin(async move { join(tx, (keep_id, merge_id), &ContactOrigin::Api, now).await })
    })
    .await?;
    written(gateway, caller, ContactId(keep_id), position).await
}

/// Makes one person of two within a transaction, the first of whom stays.
///
/// # Errors
/// NOT_FOUND; VALIDATION_FAILED where too many contacts would be one person; CONFLICT where one was erased or merged before.
pub(crate) async fn join(
    tx: &mut Transaction<'_>,
    (keep_id, merge_id): (Uuid, Uuid),
    origin: &ContactOrigin,
    now: DateTime<Utc>,
) -> AppResult<()> {
    let keep = command::loaded::<Contact>(tx, keep_id, "contact").await?.aggregate;
    let other = command::loaded::<Contact>(tx, merge_id, "contact").await?.aggregate;
    if other.merged_into == Some(ContactId(keep_id)) {
        return Ok(());
    }
    // The identities are freed first, so that the one who stays can claim them in the same unit.
    let command = ContactCommand::MarkMerged { into: ContactId(keep_id), at: now };
    tx.execute::<Contact>(merge_id, command).await.map_err(|error| command::refused(error, ""))?;
    // The person is known by what was sent to either from now on, and by what was sent to whoever went into them before.
    let halves = other.halves.iter().copied().chain([ContactId(merge_id)]).collect();
    let command = ContactCommand::Absorb { halves, at: now };
    tx.execute::<Contact>(keep_id, command).await.map_err(|error| command::refused(error, ""))?;
    let changes = Box::new(gaps(&keep, &other));
    let command = ContactCommand::Update { changes, origin: origin.clone(), at: now };
    tx.execute::<Contact>(keep_id, command).await.map_err(|error| command::refused(error, ""))?;
    for command in stricter(&keep.consent, &other.consent, now) {
        tx.execute::<Contact>(keep_id, command)
            .await
            .map_err(|error| command::refused(error, ""))?;
    }
    let place = merged_into(tx.bus(), keep_id).await?.len();
    tx.claim(&half(keep_id, place), merge_id);
    Ok(())
}

/// What finds the halves of a person again when they are erased: the `place`-th contact that went into this one.
fn half(keep: Uuid, place: usize) -> Identity {
    Identity::new(keep, MERGED, place.to_string())
}

/// The contacts that were merged into this one, in that order.
pub(super) async fn merged_into(bus: &CommandBus, keep: Uuid) -> AppResult<Vec<Uuid>> {
    let mut halves = vec![];
    loop {
        let asked: Vec<Identity> = (0..LOOK_UP).map(|n| half(keep, halves.len() + n)).collect();
        let found = bus.resolve_identities(&asked).await?;
        let known: Vec<Uuid> = found.into_iter().map_while(|holder| holder).collect();
        let is_end = known.len() < LOOK_UP;
        halves.extend(known);
        if is_end {
            return Ok(halves);
        }
    }
}

/// What `keep` does not know of themselves and `other` does. Whatever else `other` was known by leads to `keep` from now
/// on: else the next row or message about it would make a new person, who never said stop.
fn gaps(keep: &Contact, other: &Contact) -> ContactChanges {
    fn known<T: Clone>(value: &Option<Personal<T>>) -> Option<T> {
        value.as_ref().and_then(Personal::known).cloned()
    }
    fn gap<T>(keep: bool, other: Option<T>) -> Option<Option<T>> {
        other.filter(|_| !keep).map(Some)
    }
    let (kept, theirs) = (&keep.details, &other.details);
    let have = known(&kept.attributes).unwrap_or_default();
    let attributes: BTreeMap<_, _> = known(&theirs.attributes)
        .unwrap_or_default()
        .into_iter()
        .filter(|(key, _)| !have.contains_key(key))
        .collect();
    let portfolios: Vec<_> =
        keep.portfolio_identities().iter().map(|identity| &identity.portfolio_id).collect();
    let (further, missing): (Vec<_>, Vec<_>) = other
        .portfolio_identities()
        .iter()
        .cloned()
        .partition(|identity| portfolios.contains(&&identity.portfolio_id));
    let mut aliases = other.aliases().cloned().unwrap_or_default();
    aliases.phones.extend(known(&theirs.phone).filter(|_| kept.phone.is_some()));
    aliases.identities.extend(further);
    aliases.external_ids.extend(known(&theirs.external_id).filter(|_| kept.external_id.is_some()));
    ContactChanges {
        phone: gap(kept.phone.is_some(), known(&theirs.phone)),
        add_identities: missing,
        username: gap(kept.username.is_some(), known(&theirs.username)),
        external_id: gap(kept.external_id.is_some(), known(&theirs.external_id)),
        name: gap(kept.name.is_some(), known(&theirs.name)),
        language: gap(kept.language.is_some(), theirs.language.clone()),
        time_zone: gap(kept.time_zone.is_some(), theirs.time_zone.clone()),
        attributes: (!attributes.is_empty()).then_some(Some(attributes)),
        add_aliases: aliases,
        add_tags: other.tags.clone(),
        ..ContactChanges::default()
    }
}

/// What makes `keep`'s ledger the person's: words on what `keep` says nothing of, and then whatever either half forbids, in
/// general and for each category.
fn stricter(keep: &ConsentLedger, other: &ConsentLedger, at: DateTime<Utc>) -> Vec<ContactCommand> {
    let mut merged = Merged { ledger: keep.clone(), commands: vec![], at };
    for (category, word) in &other.by_category {
        let lifts_opt_out = keep.status_for(*category) == ConsentStatus::OptedOut;
        if !keep.by_category.contains_key(category) && !lifts_opt_out {
            merged.record(Some(*category), word, word.given_at);
        }
    }
    if let Some(word) = other.general.as_ref().filter(|_| keep.general.is_none()) {
        merged.record(None, word, word.given_at);
    }
    // A stop that is older than the other half's yes still stands, so it is dated now.
    for half in [keep, other] {
        let general = half.general.as_ref();
        if let Some(word) = general.filter(|word| word.status == ConsentStatus::OptedOut)
            && merged.ledger.status() != ConsentStatus::OptedOut
        {
            merged.record(None, word, at);
        }
        for category in TemplateCategory::ALL {
            let word = half.by_category.get(&category).or(general);
            if let Some(word) = word.filter(|word| word.status == ConsentStatus::OptedOut)
                && merged.ledger.status_for(category) != ConsentStatus::OptedOut
            {
                merged.record(Some(category), word, at);
            }
        }
    }
    merged.commands
}

/// A ledger on its way, and how it gets there.
struct Merged {
    ledger: ConsentLedger,
    commands: Vec<ContactCommand>,
    at: DateTime<Utc>,
}

impl Merged {
    fn record(
        &mut self,
        category: Option<TemplateCategory>,
        word: &ConsentWord,
        given_at: DateTime<Utc>,
    ) {
        let source: String = format!("merge: {}", word.source).chars().take(256).collect();
        let evidence = word.evidence.as_ref().and_then(Personal::known).cloned();
        self.commands.push(ContactCommand::RecordConsent {
            category,
            status: word.status,
            source: source.clone(),
            evidence: evidence.clone(),
            given_at,
            at: self.at,
        });
        let word = ConsentWord {
            status: word.status,
            source,
            evidence: evidence.map(Personal::from),
            given_at,
        };
        self.ledger.fold(category, word);
    }
}

#[cfg(test)]
mod tests {
    use domain::GatewayAggregate;

    use super::*;

    fn at(day: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000 + day * 86_400, 0).unwrap()
    }

    fn ledger(words: &[(Option<TemplateCategory>, ConsentStatus, i64)]) -> ConsentLedger {
        let mut ledger = ConsentLedger::default();
        for (category, status, day) in words {
            let word = ConsentWord {
                status: *status,
                source: "form".to_owned(),
                evidence: None,
                given_at: at(*day),
            };
            ledger.fold(*category, word);
        }
        ledger
    }

    fn merged(keep: ConsentLedger, other: &ConsentLedger) -> ConsentLedger {
        let mut contact = Contact {
            workspace_id: Some(domain::primitives::WorkspaceId(uuid::Uuid::from_u128(1))),
            consent: keep,
            ..Contact::default()
        };
        for command in stricter(&contact.consent.clone(), other, at(9)) {
            for event in contact.decide(command).unwrap() {
                contact.fold(event);
            }
        }
        contact.consent
    }

    #[test]
    fn the_stricter_word_stands_whichever_half_said_it_when() {
        use ConsentStatus::{OptedIn, OptedOut};
        let yes = [(None, OptedIn, 5)];
        let no = [(None, OptedOut, 1)];
        assert_eq!(merged(ledger(&yes), &ledger(&no)).status(), OptedOut);
        assert_eq!(merged(ledger(&no), &ledger(&yes)).status(), OptedOut);
        assert_eq!(merged(ledger(&[]), &ledger(&yes)).status(), OptedIn);
        let marketing = Some(TemplateCategory::Marketing);
        let consent =
            merged(ledger(&[(marketing, OptedIn, 5)]), &ledger(&[(marketing, OptedOut, 2)]));
        assert_eq!(consent.status_for(TemplateCategory::Marketing), OptedOut);
        let consent = merged(ledger(&[(marketing, OptedIn, 5)]), &ledger(&no));
        assert_eq!(consent.status_for(TemplateCategory::Marketing), OptedOut);
    }

    /// Every ledger that up to three words make.
    fn ledgers() -> Vec<ConsentLedger> {
        use ConsentStatus::{OptedIn, OptedOut};
        let about = [None, Some(TemplateCategory::Marketing), Some(TemplateCategory::Utility)];
        let words: Vec<Option<(ConsentStatus, i64)>> = vec![
            None,
            Some((OptedIn, 1)),
            Some((OptedIn, 5)),
            Some((OptedOut, 1)),
            Some((OptedOut, 5)),
        ];
        let mut ledgers = vec![];
        for general in &words {
            for marketing in &words {
                for utility in &words {
                    let said = about.into_iter().zip([general, marketing, utility]);
                    let said: Vec<_> = said
                        .filter_map(|(about, word)| word.map(|(status, day)| (about, status, day)))
                        .collect();
                    ledgers.push(ledger(&said));
                }
            }
        }
        ledgers
    }

    #[test]
    fn whatever_either_half_forbids_the_whole_person_forbids() {
        use ConsentStatus::OptedOut;
        let ledgers = ledgers();
        assert_eq!(ledgers.len(), 125);
        for keep in &ledgers {
            for other in &ledgers {
                let whole = merged(keep.clone(), other);
                let either = keep.status() == OptedOut || other.status() == OptedOut;
                assert!(!either || whole.status() == OptedOut, "{keep:?} {other:?} {whole:?}");
                for category in TemplateCategory::ALL {
                    let either = keep.status_for(category) == OptedOut
                        || other.status_for(category) == OptedOut;
                    assert!(
                        !either || whole.status_for(category) == OptedOut,
                        "{category:?} {keep:?} {other:?} {whole:?}"
                    );
                }
                // What neither half forbids in anything stays allowed where either allows it.
                let any = |half: &ConsentLedger| {
                    half.status() == OptedOut
                        || half.by_category.values().any(|word| word.status == OptedOut)
                };
                if !any(keep) && !any(other) {
                    assert!(!any(&whole), "{keep:?} {other:?} {whole:?}");
                }
            }
        }
    }
}
