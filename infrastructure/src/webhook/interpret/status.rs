//! Statuses of sent messages, and errors as webhooks print them.

use domain::message::{DeliveryStatus, Failure};
use domain::primitives::{UserId, Wamid};
use serde_json::Value;

use super::item::{Callback, ReportedError, SentAs, StatusItem, Word};
use super::text;
use super::{present, recipient};
use crate::cloud_api::error::{Consequence, ErrorContext, ErrorPath};
use crate::cloud_api::wire::ItemError;
use crate::cloud_api::wire::webhook::{Status, StatusKind, WebhookError};

/// The origin of a free-entry-point conversation: an advertisement, or a button on a page.
const FREE_ENTRY_POINT: &str = "referral_conversion";

/// `raw` is the status as it came.
pub(super) fn read(status: &Status, raw: &Value) -> Result<StatusItem, String> {
    let wamid = Wamid::parse(&status.id).map_err(|error| error.to_string())?;
    let is_group = status.recipient_type.as_deref() == Some("group");
    let (id, user_id) = if is_group {
        (&status.recipient_participant_id, &status.recipient_participant_user_id)
    } else {
        (&status.recipient_id, &status.recipient_user_id)
    };
    let known = match &status.status {
        StatusKind::Sent => Word::Known(DeliveryStatus::Sent),
        StatusKind::Delivered => Word::Known(DeliveryStatus::Delivered),
        StatusKind::Read => Word::Known(DeliveryStatus::Read),
        StatusKind::Played => Word::Known(DeliveryStatus::Played),
        StatusKind::Failed => Word::Known(DeliveryStatus::Failed),
        StatusKind::Other(other) => Word::Other(text::word(other)),
    };
    let failure = (status.status == StatusKind::Failed)
        .then(|| status.first_error().as_ref().map(failure))
        .flatten();
    let free_entry_until = status
        .conversation
        .as_ref()
        .filter(|it| {
            it.origin.as_ref().and_then(|origin| origin.kind.as_deref()) == Some(FREE_ENTRY_POINT)
        })
        .and_then(|it| it.expiration_timestamp)
        .map(|time| time.at());
    Ok(StatusItem {
        wamid,
        callback: match status.biz_opaque_callback_data.as_deref() {
            None => Callback::None,
            Some(data) => SentAs::parse(data).map_or(Callback::Foreign, Callback::Ours),
        },
        status: known,
        pricing: raw.get("pricing").filter(|pricing| pricing.is_object()).cloned(),
        free_entry_until,
        failure,
        errors: reported(status.errors()),
        recipient: recipient(present(id), present(user_id)),
        parent_user_id: status.parent_user_id().and_then(|id| UserId::parse(id).ok()),
        is_group,
    })
}

/// The title is ours, so that one code has one title however it came in; the details are WhatsApp's.
fn failure(error: &WebhookError) -> Failure {
    let consequence =
        Consequence::of_code(error.code, ErrorPath::FailedStatus, ErrorContext::default());
    Failure {
        code: Some(error.code),
        retryable: consequence.is_retryable(),
        title: consequence.title,
        details: error.details().map(text::impersonal),
        keep_away: None,
    }
}

/// Those that can be read.
pub(super) fn reported(
    errors: impl Iterator<Item = Result<WebhookError, ItemError>>,
) -> Vec<ReportedError> {
    errors.filter_map(Result::ok).map(|error| reported_one(&error)).collect()
}

pub(super) fn reported_one(error: &WebhookError) -> ReportedError {
    let title = error.title.as_deref().or(error.message.as_deref());
    ReportedError {
        code: error.code,
        title: title.map(text::impersonal),
        details: error.details().filter(|details| Some(*details) != title).map(text::impersonal),
    }
}
