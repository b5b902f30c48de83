//! Adding people, and finding the one who is meant where there is one already.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use domain::Identity;
use domain::api_key::Scope;
use domain::contact::{
    ConsentStatus, Contact, ContactChanges, ContactCommand, ContactOrigin, PortfolioIdentity,
};
use domain::primitives::{ContactId, UserId, WorkspaceId};
use infrastructure::ledger::Transaction;
use uuid::Uuid;

use super::{API_SOURCE, AddContact, attributes, home, tags, time_zone, written};
use crate::app::Gateway;
use crate::application::caller::Caller;
use crate::application::check;
use crate::application::command::{self, Once};
use crate::application::error::{AppError, AppResult};
use crate::application::view::{ContactView, Written};

/// Adds a person. Consent that is given with them never takes back an opt-out, such as one that outlived an erasure. Scope
/// MANAGE.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND for the workspace; VALIDATION_FAILED; CONFLICT where somebody else has the number, the user id or
/// the external id.
pub async fn add(
    gateway: &Gateway,
    caller: &Caller,
    input: AddContact,
) -> AppResult<Written<ContactView>> {
    change(gateway, caller, input, "addContact", false).await
}

/// Adds a person, or updates the one with the same number, user id or external id. Consent that is given with them never
/// takes back an opt-out; [`super::record_consent`] does. Scope MANAGE.
///
/// # Errors
/// As [`add`]; CONFLICT where the number, the user id and the external id are not one person's.
pub async fn upsert(
    gateway: &Gateway,
    caller: &Caller,
    input: AddContact,
) -> AppResult<Written<ContactView>> {
    change(gateway, caller, input, "upsertContact", true).await
}

async fn change(
    gateway: &Gateway,
    caller: &Caller,
    input: AddContact,
    operation: &str,
    finds: bool,
) -> AppResult<Written<ContactView>> {
    caller.require(Scope::Manage)?;
    let workspace =
        command::workspace(gateway, caller, input.workspace_id.as_deref(), "input.workspaceId")
            .await?;
    let key = input.idempotency_key.as_deref();
    let field = "input.idempotencyKey";
    let (id, position) = match command::once::<Uuid>(gateway, caller, operation, key, &input, field)
        .await?
    {
        Once::Done(id, position) => (id, position),
        Once::Now(idempotency) => {
            let now = gateway.clock.now();
            let new_id = gateway.ids.next_id(now);
            let consent = consent(&input)?;
            let changes = changes(gateway, workspace, input).await?;
            let context = command::context(gateway, caller);
            let (changes, consent) = (&changes, &consent);
            command::transact(gateway, &context, idempotency.as_ref(), &|tx| {
                Box::pin(async move {
                    let known = match finds {
                        true => find(tx, workspace, changes).await?,
                        false => None,
                    };
                    let id = known.unwrap_or(new_id);
                    match known {
                        Some(_) => {
                            let origin = ContactOrigin::Api;
                            let command = ContactCommand::Update {
                                changes: Box::new(changes.clone()),
                                origin,
                                at: now,
                            };
                            tx.execute::<Contact>(id, command)
                                .await
                                .map_err(|error| command::refused(error, "input"))?;
                        }
                        None => {
                            introduce(
                                tx,
                                workspace,
                                ContactId(id),
                                changes.clone(),
                                ContactOrigin::Api,
                                now,
                            )
                            .await?;
                        }
                    }
                    if let Some((status, source)) = &consent {
                        let stands = command::loaded::<Contact>(tx, id, "contact").await?.aggregate;
                        if lifts_opt_out(&stands, *status) {
                            return Ok(id);
                        }
                        let command = ContactCommand::RecordConsent {
                            category: None,
                            status: *status,
                            source: source.clone(),
                            evidence: None,
                            given_at: now,
                            at: now,
                        };
                        tx.execute::<Contact>(id, command).await.map_err(consent_refused)?;
                    }
                    Ok(id)
                })
            })
            .await?
        }
    };
    written(gateway, caller, ContactId(id), position).await
}

fn consent_refused(
    error: infrastructure::ledger::CommandError<domain::contact::ContactError>,
) -> AppError {
    let mut refused = command::refused(error, "input");
    if refused.field.as_deref() == Some("input.source") {
        refused.field = Some("input.consentSource".to_owned());
    }
    refused
}

/// A list that is handed in every night must not opt people in again who said stop in between. Taking back an opt-out is an
/// act of its own: [`super::record_consent`].
fn lifts_opt_out(contact: &Contact, status: ConsentStatus) -> bool {
    status == ConsentStatus::OptedIn && contact.consent.status() == ConsentStatus::OptedOut
}

fn consent(input: &AddContact) -> AppResult<Option<(ConsentStatus, String)>> {
    match (input.consent, &input.consent_source) {
        (None, Some(_)) => {
            Err(AppError::invalid("input.consent", "say which consent came from this source"))
        }
        // Nothing was said.
        (None | Some(ConsentStatus::Unknown), _) => Ok(None),
        (Some(status), source) => {
            Ok(Some((status, source.clone().unwrap_or_else(|| API_SOURCE.to_owned()))))
        }
    }
}

async fn changes(
    gateway: &Gateway,
    workspace: WorkspaceId,
    input: AddContact,
) -> AppResult<ContactChanges> {
    let home = match input.phone_number.is_some() || input.user_id.is_some() {
        true => home(gateway, workspace).await?,
        false => super::Home::default(),
    };
    let phone =
        input.phone_number.map(|text| home.phone(&text, "input.phoneNumber")).transpose()?;
    let user_id = input.user_id.map(|text| UserId::parse(&text)).transpose();
    let user_id = user_id.map_err(|error| AppError::invalid("input.userId", error.to_string()))?;
    let identity = user_id.map(|user_id| PortfolioIdentity {
        portfolio_id: home.portfolio_id.clone().unwrap_or_default(),
        user_id,
    });
    time_zone(input.time_zone.as_deref(), "input.timeZone")?;
    let attributes =
        input.attributes.map(|value| attributes(value, "input.attributes")).transpose()?;
    Ok(ContactChanges {
        phone: phone.map(Some),
        add_identities: identity.into_iter().collect(),
        username: None,
        external_id: check::external_id(input.external_id, "input.externalId")?.map(Some),
        name: input.name.map(Some),
        language: input.language.map(Some),
        time_zone: input.time_zone.map(Some),
        attributes: attributes.map(Some),
        add_tags: tags(input.tags, "input.tags")?,
        ..ContactChanges::default()
    })
}

/// Everything in these changes that tells who somebody is.
pub(crate) fn identities(workspace: WorkspaceId, changes: &ContactChanges) -> Vec<Identity> {
    let phone = changes.phone.as_ref().and_then(Option::as_ref);
    let phone = phone.map(|phone| Identity::phone(workspace, phone));
    let users = changes.add_identities.iter().map(|identity| {
        let value = format!("{}/{}", identity.portfolio_id, identity.user_id.as_str());
        Identity::new(workspace.0, Identity::USER_ID, value)
    });
    let external = changes.external_id.as_ref().and_then(Option::as_ref);
    let external =
        external.map(|id| Identity::new(workspace.0, Identity::CONTACT_EXTERNAL_ID, id.clone()));
    phone.into_iter().chain(users).chain(external).collect()
}

/// The one person whom these changes are about, where there is one.
async fn find(
    tx: &mut Transaction<'_>,
    workspace: WorkspaceId,
    changes: &ContactChanges,
) -> AppResult<Option<Uuid>> {
    let identities = identities(workspace, changes);
    if identities.is_empty() {
        return Err(AppError::invalid(
            "input.phoneNumber",
            "give a phone number, a user id or an external id",
        ));
    }
    let holders: BTreeSet<Uuid> =
        tx.bus().resolve_identities(&identities).await?.into_iter().flatten().collect();
    if holders.len() > 1 {
        return Err(AppError::conflict(
            "the number, user id and external id belong to different contacts; merge them with mergeContacts first",
        ));
    }
    Ok(holders.into_iter().next())
}

/// Adds a person within a transaction.
pub(crate) async fn introduce(
    tx: &mut Transaction<'_>,
    workspace: WorkspaceId,
    id: ContactId,
    changes: ContactChanges,
    origin: ContactOrigin,
    at: DateTime<Utc>,
) -> AppResult<()> {
    let command = ContactCommand::Add {
        workspace_id: workspace,
        contact_id: id,
        changes: Box::new(changes),
        origin,
        at,
    };
    let added = tx.execute::<Contact>(id.0, command).await;
    added.map(drop).map_err(|error| command::refused(error, "input"))
}
