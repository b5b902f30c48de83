//! The gateway in the Cloud API's own form, for programs that were written for WhatsApp: what they send becomes a message of
//! the gateway like any other, and what they are answered is what WhatsApp would have answered. Nothing here decides on
//! anything that the other use cases do not.

mod calls;
pub mod media;
pub mod messages;
mod refusal;
pub mod templates;

use domain::Identity;
use domain::account::{Account, AccountStatus};
use domain::primitives::AccountId;
use uuid::Uuid;

pub(super) use calls::Calls;
pub use refusal::{Refusal, Told};

use super::caller::Caller;
use super::command;
use crate::app::Gateway;

pub type Answered<T> = Result<T, Refusal>;

/// The account of a number, where the caller may see it. Unknown and foreign numbers are refused alike.
async fn account_of_number(
    gateway: &Gateway,
    caller: &Caller,
    method: &str,
    phone_number_id: &str,
) -> Answered<(AccountId, Account)> {
    let nobody = || Refusal::no_such_object(method, phone_number_id);
    let identity = Identity::new(Uuid::nil(), Identity::PHONE_NUMBER_ID, phone_number_id);
    let holder = gateway.bus.resolve_identities(&[identity]).await.map_err(Refusal::unavailable)?;
    let id = holder.into_iter().next().flatten().ok_or_else(nobody)?;
    let known = command::known::<Account>(gateway, caller, &id.to_string(), "account").await;
    let (id, loaded) = known.map_err(|error| Refusal::of(&error).or_no_object(nobody))?;
    if loaded.aggregate.status == AccountStatus::Disconnected {
        return Err(nobody());
    }
    Ok((AccountId(id), loaded.aggregate))
}
