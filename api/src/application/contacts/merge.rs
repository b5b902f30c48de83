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

/// Makes one person of two: `keep` stays and wins, `merge` fills its gaps and ends. Of consent the stricter word stands.
/// Messages stay where they are in history; new ones go to `keep`. Scope MANAGE.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED where both are the same or of different workspaces; CONFLICT where one was
/// erased or merged before.
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
        Box::pin(async move {
            let keep = command::loaded::<Contact>(tx, keep_id, "contact").await?.aggregate;
            let other = command::loaded::<Contact>(tx, merge_id, "contact").await?.aggregate;
            if other.merged_into == Some(ContactId(keep_id)) {
                return Ok(());
            }
            // The identities are freed first, so that the one who stays can claim them in the same unit.
            let command = ContactCommand::MarkMerged { into: ContactId(keep_id), at: now };
            tx.execute::<Contact>(merge_id, command)
                .await
                .map_err(|error| command::refused(error, ""))?;
            let changes = Box::new(gaps(&keep, &other));
            let command = ContactCommand::Update { changes, origin: ContactOrigin::Api, at: now };
            tx.execute::<Contact>(keep_id, command)
                .await
                .map_err(|error| command::refused(error, ""))?;
            for command in stricter(&keep.consent, &other.consent, now) {
                tx.execute::<Contact>(keep_id, command)
                    .await
                    .map_err(|error| command::refused(error, ""))?;
            }
            let place = merged_into(gateway, keep_id).await?.len();
            tx.claim(&half(keep_id, place), merge_id);
            Ok(())
        })
    })
    .await?;
    written(gateway, caller, ContactId(keep_id), position).await
}

/// What finds the halves of a person again when they are erased: the `place`-th contact that went into this one.
fn half(keep: Uuid, place: usize) -> Identity {
    Identity::new(keep, MERGED, place.to_string())
}

/// The contacts that were merged into this one, in that order.
pub(super) async fn merged_into(gateway: &Gateway, keep: Uuid) -> AppResult<Vec<Uuid>> {
    let mut halves = vec![];
    loop {
        let asked: Vec<Identity> = (0..LOOK_UP).map(|n| half(keep, halves.len() + n)).collect();
        let found = gateway.bus.resolve_identities(&asked).await?;
        let known: Vec<Uuid> = found.into_iter().map_while(|holder| holder).collect();
        let is_end = known.len() < LOOK_UP;
        halves.extend(known);
        if is_end {
            return Ok(halves);
        }
    }
}

/// What `keep` does not know of themselves and `other` does.
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
    let identities = other.portfolio_identities().iter();
    ContactChanges {
        phone: gap(kept.phone.is_some(), known(&theirs.phone)),
        add_identities: identities
            .filter(|identity| !portfolios.contains(&&identity.portfolio_id))
            .cloned()
            .collect(),
        username: gap(kept.username.is_some(), known(&theirs.username)),
        external_id: gap(kept.external_id.is_some(), known(&theirs.external_id)),
        name: gap(kept.name.is_some(), known(&theirs.name)),
        language: gap(kept.language.is_some(), theirs.language.clone()),
        time_zone: gap(kept.time_zone.is_some(), theirs.time_zone.clone()),
        attributes: (!attributes.is_empty()).then_some(Some(attributes)),
        add_tags: other.tags.clone(),
        remove_tags: Default::default(),
    }
}

/// The words of `other` that forbid what `keep` would allow, and those on what `keep` says nothing of.
fn stricter(keep: &ConsentLedger, other: &ConsentLedger, at: DateTime<Utc>) -> Vec<ContactCommand> {
    let mut commands = vec![];
    let mut record =
        |category: Option<TemplateCategory>, known: Option<&ConsentWord>, word: &ConsentWord| {
            let forbids = word.status == ConsentStatus::OptedOut;
            let is_stricter = match known {
                None => true,
                Some(known) => forbids && known.status != ConsentStatus::OptedOut,
            };
            if !is_stricter {
                return;
            }
            // A stop that is older than the other half's yes still stands, so it is dated now.
            let given_at = if forbids { at } else { word.given_at };
            commands.push(ContactCommand::RecordConsent {
                category,
                status: word.status,
                source: format!("merge: {}", word.source).chars().take(256).collect(),
                evidence: word.evidence.as_ref().and_then(Personal::known).cloned(),
                given_at,
                at,
            });
        };
    for (category, word) in &other.by_category {
        record(Some(*category), keep.by_category.get(category), word);
    }
    if let Some(word) = &other.general {
        record(None, keep.general.as_ref(), word);
    }
    commands
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
}
