//! The person behind a webhook's item: found by number or user id, made where nobody knows them, kept up to date with what
//! WhatsApp says of them.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use domain::contact::{
    Aliases, Contact, ContactChanges, ContactCommand, ContactError, ContactOrigin,
    PortfolioIdentity,
};
use domain::message::Recipient;
use domain::primitives::{ContactId, PhoneNumber, UserId, WorkspaceId};
use domain::template::TemplateCategory;
use domain::{GatewayAggregate, Identity};
use futures::future::BoxFuture;
use infrastructure::ledger::{CommandError, Context, Refusal, TransactError, Transaction};
use infrastructure::webhook::optout::OptWord;

use super::error::ItemError;
use super::route::Target;
use crate::app::Gateway;
use crate::application::contacts;
use crate::application::error::ErrorCode;

/// How often others may change who a person is while an item about them is applied, before it is given up for this time.
const RACES_MAX: usize = 5;

/// What WhatsApp shows of a person.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    pub name: Option<String>,
    pub username: Option<String>,
    /// WhatsApp's own form of the number, where it differs.
    pub wa_id: Option<PhoneNumber>,
}

/// The contact that these identities name; `None`: nobody.
pub async fn find(
    gateway: &Gateway,
    target: &Target,
    who: &Recipient,
) -> Result<Option<ContactId>, ItemError> {
    let Some(workspace) = target.account.workspace_id else { return Ok(None) };
    let identities = identities(workspace, target, who);
    let holders = gateway.bus.resolve_identities(&identities).await?;
    Ok(holders.into_iter().flatten().next().map(ContactId))
}

/// The contact that these identities name, made where there is none; with what is new about them recorded.
///
/// # Errors
/// Where the store is away, or the item names nobody.
pub async fn find_or_add(
    gateway: &Gateway,
    target: &Target,
    who: &Recipient,
    profile: &Profile,
    context: &Context,
) -> Result<ContactId, ItemError> {
    let Some(workspace_id) = target.account.workspace_id else {
        return Err(ItemError::refused("the account has no workspace"));
    };
    for _ in 0..RACES_MAX {
        let at = gateway.clock.now();
        let known = match find(gateway, target, who).await? {
            Some(id) => Some(id),
            None => match &profile.wa_id {
                Some(wa_id) => {
                    let alias = Recipient { phone: Some(wa_id.clone()), user_id: None };
                    find(gateway, target, &alias).await?
                }
                None => None,
            },
        };
        if let Some(id) = known {
            refresh(gateway, target, id, who, profile, context).await?;
            return Ok(id);
        }
        let contact_id = ContactId(gateway.ids.next_id(at));
        let changes = ContactChanges {
            phone: who.phone.clone().map(Some),
            add_identities: portfolio_identity(target, who.user_id.as_ref()).into_iter().collect(),
            username: profile.username.clone().map(Some),
            name: name_of(profile).map(Some),
            ..ContactChanges::default()
        };
        let add = ContactCommand::Add {
            workspace_id,
            contact_id,
            changes: Box::new(changes),
            origin: ContactOrigin::Whatsapp,
            at,
        };
        match gateway.bus.execute::<Contact>(contact_id.0, add, context).await {
            Ok(_) => return Ok(contact_id),
            // Somebody added them a moment ago.
            Err(CommandError::IdentityTaken { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(ItemError::refused("the contact could not be found or added"))
}

/// Does something with the contact that these identities name, made where there is none. Whoever is merged or erased in
/// the same moment is looked for anew: what a person said is not lost for what happened to their contact.
///
/// # Errors
/// Where the store is away, the item names nobody, or `act` is refused for another reason.
pub async fn act_on<'a>(
    gateway: &Gateway,
    target: &Target,
    who: &Recipient,
    profile: &Profile,
    context: &Context,
    act: impl Fn(ContactId) -> BoxFuture<'a, Result<(), ItemError>>,
) -> Result<ContactId, ItemError> {
    let mut races = 1;
    loop {
        let contact_id = find_or_add(gateway, target, who, profile, context).await?;
        match act(contact_id).await {
            Ok(()) => return Ok(contact_id),
            Err(error) if is_gone(&error) && races < RACES_MAX => races += 1,
            Err(error) => return Err(error),
        }
    }
}

/// The contact is no longer anybody's.
fn is_gone(error: &ItemError) -> bool {
    let ItemError::Refused(cause) = error else { return false };
    let Some(CommandError::Domain(refusal)) = cause.downcast_ref::<CommandError<Refusal>>() else {
        return false;
    };
    matches!(refusal.downcast_ref(), Some(ContactError::Erased | ContactError::Merged))
}

/// Records what WhatsApp says that we did not know. A name that somebody gave is not overwritten.
async fn refresh(
    gateway: &Gateway,
    target: &Target,
    id: ContactId,
    who: &Recipient,
    profile: &Profile,
    context: &Context,
) -> Result<(), ItemError> {
    let Some(loaded) = gateway.bus.load::<Contact>(id.0).await? else { return Ok(()) };
    let contact = loaded.aggregate;
    let changes = ContactChanges {
        phone: who.phone.clone().filter(|_| contact.details.phone.is_none()).map(Some),
        add_identities: portfolio_identity(target, who.user_id.as_ref())
            .filter(|identity| !contact.has_identity(identity))
            .into_iter()
            .collect(),
        username: profile.username.clone().map(Some),
        name: name_of(profile).filter(|_| contact.details.name.is_none()).map(Some),
        ..ContactChanges::default()
    };
    change(gateway, id, changes, context).await
}

/// What a new number or user id changes: it takes the place of the old one, whether that was the main one or came with a
/// contact that was merged into this one.
pub async fn moved(
    gateway: &Gateway,
    target: &Target,
    id: ContactId,
    old: &Recipient,
    phone: Option<PhoneNumber>,
    identity: Option<PortfolioIdentity>,
) -> Result<ContactChanges, ItemError> {
    let contact = gateway.bus.load::<Contact>(id.0).await?;
    let contact = contact.map(|loaded| loaded.aggregate).unwrap_or_default();
    let none = Aliases::default();
    let aliases = contact.aliases().unwrap_or(&none);
    let mut changes = ContactChanges { promote_aliases: true, ..ContactChanges::default() };
    match (&old.phone, phone) {
        (Some(old), Some(new)) if aliases.phones.contains(old) => {
            changes.remove_aliases.phones.push(old.clone());
            changes.add_aliases.phones.push(new);
        }
        (_, new) => changes.phone = new.map(Some),
    }
    match (portfolio_identity(target, old.user_id.as_ref()), identity) {
        (Some(old), Some(new)) if aliases.identities.contains(&old) => {
            changes.remove_aliases.identities.push(old);
            changes.add_aliases.identities.push(new);
        }
        (_, new) => changes.add_identities.extend(new),
    }
    Ok(changes)
}

/// Makes one person of two, because WhatsApp says that they are: `keep` stays.
///
/// # Errors
/// Where a store is away; or one of them was erased or merged meanwhile.
pub async fn unite(
    gateway: &Gateway,
    keep: ContactId,
    other: ContactId,
    context: &Context,
) -> Result<(), ItemError> {
    let now = gateway.clock.now();
    let united = gateway.bus.transact(context, None, |tx| {
        Box::pin(async move {
            contacts::join(tx, (keep.0, other.0), &ContactOrigin::Whatsapp, now).await
        })
    });
    match united.await {
        Ok(_) => Ok(()),
        Err(TransactError::Command(error)) if error.code != ErrorCode::Unavailable => {
            Err(ItemError::Refused(error.into()))
        }
        Err(TransactError::IdentityTaken { .. }) => {
            Err(ItemError::refused("two contacts could not be made one"))
        }
        Err(error) => Err(ItemError::StoreAway(error.into())),
    }
}

/// Applies changes; an identity that is another contact's is left where it is (merging them is a person's decision).
pub async fn change(
    gateway: &Gateway,
    id: ContactId,
    changes: ContactChanges,
    context: &Context,
) -> Result<(), ItemError> {
    let at = gateway.clock.now();
    let command =
        ContactCommand::Update { changes: Box::new(changes), origin: ContactOrigin::Whatsapp, at };
    match gateway.bus.execute::<Contact>(id.0, command, context).await {
        Ok(_) => Ok(()),
        Err(CommandError::IdentityTaken { .. }) => {
            metrics::counter!("gateway_webhook_items_total", "outcome" => "identity_taken")
                .increment(1);
            Ok(())
        }
        Err(CommandError::Domain(ContactError::Erased | ContactError::Merged)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A person's own word on being written to.
#[derive(Clone, Debug)]
pub struct Wish {
    pub word: OptWord,
    /// `None`: all of them.
    pub category: Option<TemplateCategory>,
    pub source: &'static str,
    pub evidence: Option<String>,
    /// By WhatsApp's clock: webhooks come in any order.
    pub said_at: DateTime<Utc>,
}

/// Records what the person wants. A start from somebody who never stopped is no consent to anything; one that takes back a
/// stop of everything ends what an erasure had left of it.
///
/// # Errors
/// Where there is no such contact any more, or the store is away.
pub async fn heed(
    tx: &mut Transaction<'_>,
    id: ContactId,
    wish: &Wish,
) -> Result<(), CommandError<Refusal>> {
    let Wish { word, category, source, evidence, said_at } = wish.clone();
    let (source, at) = (source.to_owned(), tx.bus().clock().now());
    let command = match word {
        OptWord::Stop => ContactCommand::OptOut { category, source, evidence, said_at, at },
        OptWord::Start => ContactCommand::Restart { category, source, evidence, said_at, at },
    };
    let before = tx.load::<Contact>(id.0).await?;
    let had_stopped = before.is_some_and(|loaded| loaded.aggregate.has_opted_out());
    let contact = tx.execute::<Contact>(id.0, command).await?;
    if word == OptWord::Start && had_stopped && !contact.has_opted_out() {
        let identities = contact.identities();
        identities.iter().for_each(|identity| tx.release_suppression(identity));
    }
    Ok(())
}

/// WhatsApp's user ids hold within one portfolio; an account without one has a portfolio of its own.
pub fn portfolio_identity(target: &Target, user_id: Option<&UserId>) -> Option<PortfolioIdentity> {
    let portfolio_id = target.account.settings.portfolio_id.clone().unwrap_or_default();
    user_id.map(|user_id| PortfolioIdentity { portfolio_id, user_id: user_id.clone() })
}

fn name_of(profile: &Profile) -> Option<String> {
    let name: String = profile.name.as_deref()?.trim().chars().take(256).collect();
    (!name.is_empty()).then_some(name)
}

fn identities(workspace: WorkspaceId, target: &Target, who: &Recipient) -> Vec<Identity> {
    let mut identities = BTreeSet::new();
    if let Some(identity) = portfolio_identity(target, who.user_id.as_ref()) {
        let value = format!("{}/{}", identity.portfolio_id, identity.user_id.as_str());
        identities.insert(Identity::new(workspace.0, Identity::USER_ID, value));
    }
    if let Some(phone) = &who.phone {
        identities.insert(Identity::phone(workspace, phone));
    }
    identities.into_iter().collect()
}
