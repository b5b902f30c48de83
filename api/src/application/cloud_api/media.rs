//! Media as the Cloud API has them: uploaded to a number, looked up, fetched and deleted by WhatsApp's own id. WhatsApp keeps
//! them; the gateway passes them on and stores nothing.

use bytes::Bytes;
use domain::account::{Account, AccountStatus};
use domain::api_key::Scope;
use domain::primitives::AccountId;
use futures::{Stream, stream};
use infrastructure::cloud_api::client::{Access, CallError, CloudApi, MediaError};
use infrastructure::cloud_api::wire::response::MediaUrl;
use projections::{AccountFilter, PageRequest};
use tokio::io::AsyncReadExt;

use super::{Answered, Refusal, account_of_number};
use crate::app::Gateway;
use crate::application::caller::Caller;
use crate::application::error::AppError;
use crate::application::media::{self, Upload, no_access};
use crate::application::read;

/// Numbers that are asked for a medium where the caller does not say whose it is.
const NUMBERS_ASKED_MAX: usize = 20;
/// Bytes of a download that lie between WhatsApp and the caller.
const PIPE_BYTES: usize = 64 * 1024;

/// A medium at WhatsApp, and the number that it belongs to.
#[derive(Clone, Debug)]
pub struct Found {
    pub phone_number_id: String,
    pub place: MediaUrl,
}

struct Held {
    phone_number_id: String,
    place: MediaUrl,
    api: CloudApi,
    access: Access,
}

/// Uploads a file for sends through a number; answers WhatsApp's id. Scope SEND.
///
/// # Errors
/// [`Refusal`].
pub async fn upload<S>(
    gateway: &Gateway,
    caller: &Caller,
    phone_number_id: &str,
    mime_type: Option<String>,
    file_name: Option<String>,
    body: S,
) -> Answered<String>
where
    S: Stream<Item = Result<Bytes, String>> + Unpin,
{
    caller.require(Scope::Send).map_err(|error| Refusal::of(&error))?;
    let (id, _) = account_of_number(gateway, caller, "POST", phone_number_id).await?;
    let upload = Upload { account_id: id.to_string(), mime_type, file_name };
    let uploaded = media::upload(gateway, caller, upload, body).await;
    Ok(uploaded.map_err(|error| Refusal::of(&error))?.id)
}

/// Where a medium lies, and what it is. Scope PERSONAL: people send media as well.
///
/// # Errors
/// [`Refusal`].
pub async fn find(
    gateway: &Gateway,
    caller: &Caller,
    media_id: &str,
    phone_number_id: Option<&str>,
) -> Answered<Found> {
    caller.require(Scope::Personal).map_err(|error| Refusal::of(&error))?;
    let held = held(gateway, caller, "GET", media_id, phone_number_id).await?;
    Ok(Found { phone_number_id: held.phone_number_id, place: held.place })
}

/// Deletes a medium at WhatsApp. Scope SEND.
///
/// # Errors
/// [`Refusal`].
pub async fn delete(
    gateway: &Gateway,
    caller: &Caller,
    media_id: &str,
    phone_number_id: Option<&str>,
) -> Answered<()> {
    caller.require(Scope::Send).map_err(|error| Refusal::of(&error))?;
    let held = held(gateway, caller, "DELETE", media_id, phone_number_id).await?;
    let deleted = held.api.delete_media(&held.access, media_id, Some(&held.phone_number_id)).await;
    deleted.map_err(|error| refused("DELETE", media_id, &error))
}

/// A medium's bytes as they come from WhatsApp, and their type by its word. Scope PERSONAL.
///
/// # Errors
/// [`Refusal`] where the first byte does not come; later ones end the stream with an error.
pub async fn open(
    gateway: &Gateway,
    caller: &Caller,
    media_id: &str,
    phone_number_id: Option<&str>,
) -> Answered<(Option<String>, impl Stream<Item = Result<Bytes, MediaError>> + use<>)> {
    caller.require(Scope::Personal).map_err(|error| Refusal::of(&error))?;
    let Held { place, api, access, .. } =
        held(gateway, caller, "GET", media_id, phone_number_id).await?;
    let (mut into, mut from) = tokio::io::duplex(PIPE_BYTES);
    let mime_type = place.mime_type.clone();
    let transfer = tokio::spawn(async move {
        api.download_media(&access, &place.url, place.sha256.as_deref(), &mut into).await
    });
    let mut first = vec![0; PIPE_BYTES];
    let read = from.read(&mut first).await.unwrap_or_default();
    first.truncate(read);
    if read == 0 {
        match transfer.await {
            Ok(Ok(_)) => {}
            Ok(Err(MediaError::Call(error))) => return Err(refused("GET", media_id, &error)),
            Ok(Err(MediaError::Gone)) => return Err(Refusal::no_such_object("GET", media_id)),
            Ok(Err(error)) => return Err(Refusal::unavailable(error)),
            Err(error) => return Err(Refusal::of(&AppError::internal(error))),
        }
        return Ok((mime_type, futures::future::Either::Left(stream::empty())));
    }
    let rest = stream::unfold(Some((from, transfer)), |state| async move {
        let (mut from, transfer) = state?;
        let mut piece = vec![0; PIPE_BYTES];
        match from.read(&mut piece).await {
            Ok(read) if read > 0 => {
                piece.truncate(read);
                Some((Ok(Bytes::from(piece)), Some((from, transfer))))
            }
            // Whether that was all, and what was announced, is known only now.
            _ => match transfer.await {
                Ok(Ok(_)) => None,
                Ok(Err(error)) => Some((Err(error), None)),
                Err(_) => Some((Err(MediaError::Gone), None)),
            },
        }
    });
    let body = futures::StreamExt::chain(stream::iter([Ok(Bytes::from(first))]), rest);
    Ok((mime_type, futures::future::Either::Right(body)))
}

/// The medium, and who of the caller's numbers has it. WhatsApp is told the number each time, so that a token which serves
/// several numbers gives out only what is this one's.
async fn held(
    gateway: &Gateway,
    caller: &Caller,
    method: &str,
    media_id: &str,
    phone_number_id: Option<&str>,
) -> Answered<Held> {
    let mut refusal = Refusal::no_such_object(method, media_id);
    for account in candidates(gateway, caller, method, phone_number_id).await? {
        let Some(provider) = account.provider else { continue };
        let access = match gateway.access(&account).await {
            Ok(access) => access,
            Err(error) => {
                refusal = Refusal::of(&no_access(error));
                continue;
            }
        };
        let api = gateway.api_of(provider).clone();
        let phone_number_id = account.phone_number_id;
        match api.resolve_media(&access, media_id, Some(&phone_number_id)).await {
            Ok(place) => return Ok(Held { phone_number_id, place, api, access }),
            Err(error) if is_not_there(&error) => {}
            Err(error) => refusal = Refusal::of_call(&error),
        }
    }
    Err(refusal)
}

async fn candidates(
    gateway: &Gateway,
    caller: &Caller,
    method: &str,
    phone_number_id: Option<&str>,
) -> Answered<Vec<Account>> {
    if let Some(id) = phone_number_id {
        return Ok(vec![account_of_number(gateway, caller, method, id).await?.1]);
    }
    let page =
        PageRequest { count: NUMBERS_ASKED_MAX + 1, after: None, before: None, backwards: false };
    let found = read::queries(gateway)
        .accounts(&read::scope(caller), &AccountFilter::default(), &page)
        .await
        .map_err(|error| Refusal::of(&AppError::from(error)))?;
    if found.items.len() > NUMBERS_ASKED_MAX {
        return Err(Refusal::parameter(format!(
            "phone_number_id: say whose medium it is; this key sees more than {NUMBERS_ASKED_MAX} numbers"
        )));
    }
    let accounts = found.items.into_iter().filter_map(|(_, stored)| {
        let is_seen = caller.may_see(stored.state.workspace_id, Some(AccountId(stored.id)));
        let account = stored.into_state();
        (is_seen && account.status != AccountStatus::Disconnected).then_some(account)
    });
    Ok(accounts.collect())
}

/// Not this number's, or not there at all.
fn is_not_there(error: &CallError) -> bool {
    let code = error.refusal().and_then(|refusal| refusal.code);
    matches!(code, Some(33 | 100 | 803 | 131_009))
}

fn refused(method: &str, media_id: &str, error: &CallError) -> Refusal {
    if is_not_there(error) {
        return Refusal::no_such_object(method, media_id);
    }
    Refusal::of_call(error)
}
