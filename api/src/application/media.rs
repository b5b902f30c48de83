//! Media: uploads for sends, and what people sent.

use bytes::Bytes;
use domain::GatewayAggregate;
use domain::account::{Account, AccountStatus};
use domain::api_key::Scope;
use domain::message::{Content, Message};
use domain::primitives::Personal;
use futures::{Stream, StreamExt, stream};
use infrastructure::cloud_api::client::{CallError, MediaUpload};
use infrastructure::crypto::SubjectKey;
use infrastructure::media::{HEAD_BYTES, Known, MediaReader, MediaStoreError, sniff};
use ring::digest;
use serde_json::Value;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::accounts::unreachable;
use super::caller::Caller;
use super::command;
use super::error::{AppError, AppResult, ErrorCode};
use crate::app::{AccessError, Gateway};

/// The largest file that WhatsApp takes, in bytes.
const UPLOAD_BYTES_MAX: usize = 100 * 1024 * 1024;
/// Bytes of uploads under way in this process, in KiB: two of the largest.
const UPLOADS_KIB_MAX: usize = 2 * UPLOAD_BYTES_MAX / 1024;
const FILE_NAME_CHARS_MAX: usize = 255;

/// Room for uploads, which are held in memory: their size and hash must be known before WhatsApp gets them.
pub(crate) struct Uploads(Semaphore);

impl Default for Uploads {
    fn default() -> Self {
        Self(Semaphore::new(UPLOADS_KIB_MAX))
    }
}

/// What WhatsApp keeps of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// WhatsApp's id: the `mediaId` of a send with the same account, for 30 days.
    pub id: String,
    pub mime_type: &'static str,
    pub bytes: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

/// Where an upload goes, and what somebody says it is.
#[derive(Clone, Debug, Default)]
pub struct Upload {
    pub account_id: String,
    pub mime_type: Option<String>,
    pub file_name: Option<String>,
}

/// Uploads a file to WhatsApp for sends of this account. Its type is the one that its bytes say. Scope SEND.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND; VALIDATION_FAILED on `accountId` or `file`; CONFLICT for an account that is disconnected or has
/// to be put right; RATE_LIMITED while too many others upload; UNAVAILABLE where WhatsApp could not be asked.
pub async fn upload<S>(
    gateway: &Gateway,
    caller: &Caller,
    input: Upload,
    mut body: S,
) -> AppResult<Uploaded>
where
    S: Stream<Item = Result<Bytes, String>> + Unpin,
{
    caller.require(Scope::Send)?;
    let (_, loaded) =
        command::known::<Account>(gateway, caller, &input.account_id, "account").await?;
    let account = loaded.aggregate;
    if account.status == AccountStatus::Disconnected {
        return Err(AppError::conflict("the account is disconnected; connect it again"));
    }
    let provider = account.provider.ok_or_else(|| AppError::not_found("account"))?;
    let mut file: Vec<u8> = Vec::new();
    let mut room = vec![];
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|_| AppError::invalid("file", "the upload broke off"))?;
        if file.len() + piece.len() > UPLOAD_BYTES_MAX {
            return Err(AppError::invalid("file", "WhatsApp takes at most 100 MB"));
        }
        let kib = u32::try_from(piece.len().div_ceil(1024)).unwrap_or(u32::MAX);
        room.push(gateway.local.uploads.0.try_acquire_many(kib).map_err(|_| {
            AppError::new(
                ErrorCode::RateLimited,
                "too many files are being uploaded at once; try again in a moment",
            )
        })?);
        file.extend_from_slice(&piece);
    }
    if file.is_empty() {
        return Err(AppError::invalid("file", "the file is empty"));
    }
    let head = &file[..file.len().min(HEAD_BYTES)];
    let Some(media_type) = sniff(head, input.mime_type.as_deref()) else {
        return Err(AppError::invalid(
            "file",
            "WhatsApp takes JPEG, PNG, WebP stickers, MP4, 3GP, AAC, AMR, MP3, M4A, OGG, text, PDF, Word, Excel and PowerPoint",
        ));
    };
    let bytes = file.len() as u64;
    if bytes > media_type.bytes_max {
        let kib = media_type.bytes_max / 1024;
        let problem =
            format!("a {} has at most {kib} KiB, this has {bytes} bytes", media_type.mime_type);
        return Err(AppError::invalid("file", problem));
    }
    let access = gateway.access(&account).await.map_err(no_access)?;
    let sha256 = hex::encode(digest::digest(&digest::SHA256, &file));
    let name = input.file_name.unwrap_or_else(|| "file".to_owned());
    let file_name: String =
        name.chars().filter(|c| !c.is_control()).take(FILE_NAME_CHARS_MAX).collect();
    let upload = MediaUpload {
        mime_type: media_type.mime_type.to_owned(),
        file_name,
        length: bytes,
        body: stream::iter([Ok(Bytes::from(file))]),
    };
    let api = gateway.api_of(provider);
    let id = api.upload_media(&access, &account.phone_number_id, upload).await.map_err(refused)?;
    Ok(Uploaded { id, mime_type: media_type.mime_type, bytes, sha256 })
}

/// A credential that cannot be had.
pub(crate) fn no_access(error: AccessError) -> AppError {
    if error.needs_rotation() {
        return AppError::conflict(format!(
            "{error}; give the account another with rotateAccountCredentials"
        ));
    }
    AppError::unavailable(error)
}

fn refused(error: CallError) -> AppError {
    match error.refusal() {
        Some(refusal)
            if !refusal.consequence.account_stop && !refusal.consequence.is_retryable() =>
        {
            let remedy = refusal.consequence.explanation();
            AppError::invalid("file", format!("WhatsApp refused it: {remedy}"))
        }
        _ => unreachable(error),
    }
}

/// Where the gateway gives out what came with a message.
pub(crate) fn url_of(message_id: Uuid) -> String {
    format!("/media/{message_id}")
}

/// WhatsApp's id and hash of the medium that a message brought.
pub(crate) struct Announced {
    pub whatsapp_id: String,
    pub sha256: Option<String>,
    pub mime_type: Option<String>,
}

impl Announced {
    pub(crate) fn of(content: &Content) -> Option<Self> {
        let Content::Inbound { message_type, body, .. } = content else { return None };
        let kinds = ["image", "video", "audio", "voice", "document", "sticker"];
        if !kinds.contains(&message_type.as_str()) {
            return None;
        }
        let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            whatsapp_id: text("id")?,
            sha256: text("sha256"),
            mime_type: text("mime_type"),
        })
    }
}

/// A medium that can be read.
pub struct Medium {
    pub bytes: u64,
    /// What its bytes say that it is.
    pub mime_type: String,
    /// The first piece, which shows that it can be read.
    pub first: Bytes,
    pub rest: MediaReader,
}

/// What a person sent with a message. Scope PERSONAL.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND where there is none, it was erased or its retention is over; UNAVAILABLE while it is being fetched.
pub async fn get(gateway: &Gateway, caller: &Caller, id: &str) -> AppResult<Medium> {
    caller.require(Scope::Personal)?;
    let not_found = || AppError::not_found("medium");
    let (id, loaded) = command::known::<Message>(gateway, caller, id, "medium").await?;
    let message = loaded.aggregate;
    let content = message.content.as_ref().and_then(Personal::known);
    let subject = message.subject().ok_or_else(not_found)?;
    if content.is_none_or(|content| Announced::of(content).is_none()) {
        return Err(not_found());
    }
    let (bytes, mime_type) = match gateway.media.find(id).await.map_err(AppError::unavailable)? {
        Some(Known::Stored { bytes, mime_type }) => (bytes, mime_type),
        Some(Known::Wanted) => {
            return Err(AppError::new(
                ErrorCode::Unavailable,
                "the medium is still being fetched from WhatsApp; try again in a moment",
            ));
        }
        Some(Known::Lost) | None => return Err(not_found()),
    };
    let key = gateway.keys.subject_key(subject).await.map_err(AppError::unavailable)?;
    let SubjectKey::Live(key) = key else { return Err(not_found()) };
    let mut rest = gateway.media.read(id, key);
    match rest.next().await {
        Ok(first) => Ok(Medium { bytes, mime_type, first: first.unwrap_or_default(), rest }),
        // Erased or pruned a moment ago.
        Err(MediaStoreError::Unreadable | MediaStoreError::NotWanted) => Err(not_found()),
        Err(error) => Err(AppError::unavailable(error)),
    }
}
