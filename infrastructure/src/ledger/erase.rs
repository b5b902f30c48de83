//! Erasing a person: the key goes, and with it everything personal that was ever written about them.

use domain::contact::{Contact, ContactCommand, ContactError, Suppression};
use domain::port::{IdentityChange, Position};
use domain::{GatewayAggregate, Identity};
use uuid::Uuid;

use super::bus::CommandBus;
use super::context::Context;
use super::error::{CommandError, TransactError};
use super::transaction::Transaction;

/// What became of a person.
#[derive(Clone, Debug)]
pub struct Erasure {
    pub contact: Contact,
    /// What is kept so that nobody writes to them again; empty where they had not opted out of anything.
    pub suppressions: Vec<Suppression>,
}

/// Erases a contact in a transaction of its own; see [`erase_contact_in`].
///
/// # Errors
/// [`TransactError`]. After all but `Unavailable`, nobody was erased.
pub async fn erase_contact(
    bus: &CommandBus,
    contact_id: Uuid,
    reason: &str,
    context: &Context,
) -> Result<(Erasure, Position), TransactError<CommandError<ContactError>>> {
    bus.transact(context, None, |tx| Box::pin(erase_contact_in(tx, contact_id, reason))).await
}

/// Erases a contact: records it, frees their identities, destroys their key and, where they had opted out of anything,
/// keeps keyed hashes of their number and user ids ([`CommandBus::are_suppressed`]). Erasing somebody again changes
/// nothing. A contact that was merged into another is a person's old half, with a key of its own: erase both.
///
/// # Errors
/// [`CommandError::Domain`] where there is no such contact or the reason is none; [`CommandError::Unavailable`].
pub async fn erase_contact_in(
    tx: &mut Transaction<'_>,
    contact_id: Uuid,
    reason: &str,
) -> Result<Erasure, CommandError<ContactError>> {
    let loaded = tx.load::<Contact>(contact_id).await?.map(|loaded| loaded.aggregate);
    let contact = loaded.ok_or(CommandError::Domain(ContactError::NotFound))?;
    let mut suppressions = Vec::new();
    if contact.has_opted_out()
        && let Some(workspace) = contact.workspace_id
    {
        for identity in contact.identities() {
            if !matches!(identity.kind, Identity::PHONE | Identity::USER_ID) {
                continue;
            }
            let key = tx.bus().identity_key(&identity, identity.kind);
            suppressions.push(Suppression { kind: key.kind, hash: hex::encode(&key.hash) });
            // The workspace holds it: nobody, or several people one after another.
            tx.claim_hash(IdentityChange::Claim {
                workspace_id: workspace.0,
                kind: Identity::SUPPRESSED.to_owned(),
                hash: key.hash,
                holder: workspace.0,
            });
        }
    }
    let at = tx.bus().clock().now();
    let command =
        ContactCommand::Erase { reason: reason.to_owned(), suppressions: suppressions.clone(), at };
    let contact = tx.execute::<Contact>(contact_id, command).await?.clone();
    tx.destroy_key(contact_id);
    Ok(Erasure { contact, suppressions })
}
