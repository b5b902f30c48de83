//! Media: uploading, the link that lives five minutes, downloading, deleting; and the resumable upload of samples for
//! templates' headers.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use ring::digest;
use serde_json::{Value, json};

use super::entry::{Entry, Media};
use super::error::GraphError;
use super::fate::hash;
use super::graph::{Answer, Ready, Request};
use super::state::{State, Upload};
use crate::cloud_api::wire::response::{Created, MediaUrl, UploadHandle, UploadProgress};

type Checked<T> = Result<T, GraphError>;

const DAY_MS: i64 = 24 * 3600 * 1000;
/// How long a link to a medium works.
const LINK_MS: i64 = 5 * 60 * 1000;
/// Longest file of a resumable upload.
pub(crate) const SAMPLE_BYTES_MAX: u64 = 100 * 1024 * 1024;
/// The largest file of any kind.
pub(crate) const FILE_BYTES_MAX: usize = 100 * 1024 * 1024;
/// Sessions of resumable uploads at once.
const SESSIONS_MAX: usize = 1000;

/// Kinds by MIME type, and how large a file of it may be.
const KINDS: &[(&str, &str, usize)] = &[
    ("audio/aac", "audio", 16 * MB),
    ("audio/amr", "audio", 16 * MB),
    ("audio/mpeg", "audio", 16 * MB),
    ("audio/mp4", "audio", 16 * MB),
    ("audio/ogg", "audio", 16 * MB),
    ("image/jpeg", "image", 5 * MB),
    ("image/png", "image", 5 * MB),
    ("image/webp", "sticker", 500 * 1024),
    ("video/mp4", "video", 16 * MB),
    ("video/3gpp", "video", 16 * MB),
    ("text/plain", "document", FILE_BYTES_MAX),
    ("application/pdf", "document", FILE_BYTES_MAX),
    ("application/msword", "document", FILE_BYTES_MAX),
    ("application/vnd.ms-excel", "document", FILE_BYTES_MAX),
    ("application/vnd.ms-powerpoint", "document", FILE_BYTES_MAX),
    (
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "document",
        FILE_BYTES_MAX,
    ),
    (
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "document",
        FILE_BYTES_MAX,
    ),
    (
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "document",
        FILE_BYTES_MAX,
    ),
];
const MB: usize = 1024 * 1024;

fn row(mime_type: &str) -> Option<&'static (&'static str, &'static str, usize)> {
    let plain = mime_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    KINDS.iter().find(|(known, ..)| *known == plain)
}

/// The message type a file can be sent as; none where the type is not known.
pub(crate) fn kind_of(mime_type: &str) -> Option<&'static str> {
    row(mime_type).map(|(_, kind, _)| *kind)
}

/// A multipart upload, read.
pub(crate) struct Part {
    pub product: Option<String>,
    pub mime_type: Option<String>,
    pub file: Option<Bytes>,
}

impl State {
    /// Ends a call that uploaded a file.
    pub(crate) fn upload(
        &mut self,
        request: &Request,
        number: &str,
        part: Checked<Part>,
    ) -> std::io::Result<Answer> {
        let call = self.call(request);
        let judged = part.and_then(judged);
        let (mime_type, bytes) = match judged {
            Ok(judged) => judged,
            Err(error) => return self.close(call, Err(error)),
        };
        let Some(waba_id) = self.numbers.get(number).map(|number| number.spec().waba_id.clone())
        else {
            return self.close(call, Err(GraphError::no_such_object("post", number)));
        };
        let id = self.take_id().to_string();
        let sha256 = hex::encode(digest::digest(&digest::SHA256, &bytes));
        let size = bytes.len() as u64;
        self.keep_blob(&id, bytes)?;
        let at = request.now();
        let media = Media {
            id: id.clone(),
            number: number.to_owned(),
            waba_id,
            mime_type,
            sha256,
            size,
            at,
            inbound: false,
            person: None,
        };
        self.commit(vec![Entry::Media { media }])?;
        self.close(call, Ok(Answer::json(200, &Created { id })?))
    }

    fn medium(&self, id: &str, request: &Request) -> Checked<&Media> {
        let missing = || GraphError::no_such_object(&request.method, id);
        let media = self.media.get(id).ok_or_else(missing)?;
        let days = if media.inbound { 7 } else { 30 };
        let owner = request.query("phone_number_id").is_none_or(|number| number == media.number);
        if !owner || request.now() - media.at > days * DAY_MS {
            return Err(missing());
        }
        Ok(media)
    }

    pub(crate) fn read_media(&self, id: &str, request: &Request) -> Checked<Ready> {
        let media = self.medium(id, request)?;
        let expires = request.now() + LINK_MS;
        let key = self.link_key(id, expires);
        let answer = MediaUrl {
            messaging_product: Some("whatsapp".to_owned()),
            url: format!(
                "{}/{}/{id}/attachment?ext={expires}&hash={key}",
                request.base, request.version
            ),
            mime_type: Some(media.mime_type.clone()),
            sha256: Some(media.sha256.clone()),
            file_size: i64::try_from(media.size).ok(),
            id: Some(id.to_owned()),
        };
        Ok(Ready::Json(json!(answer)))
    }

    fn link_key(&self, id: &str, expires: i64) -> String {
        format!(
            "{:016x}",
            hash(&[b"link", &self.seed.to_le_bytes(), id.as_bytes(), &expires.to_le_bytes()])
        )
    }

    pub(crate) fn download(&self, id: &str, request: &Request) -> Checked<Ready> {
        let expired = || {
            let mut error =
                GraphError::platform(100, "The link has expired, resolve the media id again");
            error.http = 404;
            error
        };
        let expires: i64 =
            request.query("ext").and_then(|text| text.parse().ok()).ok_or_else(expired)?;
        let genuine = request.query("hash") == Some(self.link_key(id, expires).as_str());
        if !genuine || expires < request.now() {
            return Err(expired());
        }
        let media = self.medium(id, request).map_err(|_| expired())?;
        match self.blob(id) {
            Ok(Some(bytes)) => Ok(Ready::File { mime_type: media.mime_type.clone(), bytes }),
            Ok(None) => Err(expired()),
            Err(error) => Ok(Ready::Failed(error)),
        }
    }

    pub(crate) fn delete_media(&mut self, id: &str, request: &Request) -> Checked<Ready> {
        self.medium(id, request)?;
        Ok(self.done_with(vec![Entry::MediaGone { id: id.to_owned() }]))
    }

    pub(crate) fn open_upload(&mut self, request: &Request) -> Checked<Ready> {
        let body = request.body_object()?;
        let text = |key: &str| {
            request.query(key).map(str::to_owned).or_else(|| match body.get(key) {
                Some(Value::String(text)) => Some(text.clone()),
                Some(Value::Number(number)) => Some(number.to_string()),
                _ => None,
            })
        };
        let length: Option<u64> = text("file_length").and_then(|text| text.parse().ok());
        let Some(length) = length.filter(|length| (1..=SAMPLE_BYTES_MAX).contains(length)) else {
            return Err(GraphError::platform(
                100,
                "The parameter file_length is required, 1 byte to 100 MB.",
            ));
        };
        let types = ["application/pdf", "image/jpeg", "image/jpg", "image/png", "video/mp4"];
        if !text("file_type").is_some_and(|found| types.contains(&found.as_str())) {
            return Err(GraphError::platform(
                100,
                format!("Param file_type must be one of {}.", types.join(", ")),
            ));
        }
        if self.uploads.len() >= SESSIONS_MAX {
            self.uploads.clear();
        }
        let id = self.take_id();
        let session = URL_SAFE_NO_PAD.encode(format!("session-{id}"));
        let session = format!("upload:{session}");
        self.uploads.insert(session.clone(), Upload { length, received: 0 });
        Ok(Ready::Json(json!(Created { id: session })))
    }

    pub(crate) fn upload_bytes(&mut self, session: &str, request: &Request) -> Checked<Ready> {
        let offset: u64 =
            request.query("file_offset").and_then(|text| text.parse().ok()).unwrap_or(0);
        let upload = self
            .uploads
            .get_mut(session)
            .ok_or_else(|| GraphError::no_such_object("post", session))?;
        if offset != upload.received {
            return Err(GraphError::platform(
                100,
                format!("file_offset is {offset}, {} bytes were received", upload.received),
            ));
        }
        let received = upload.received + request.body.len() as u64;
        if received > upload.length {
            return Err(GraphError::platform(
                100,
                format!("More than the {} bytes announced", upload.length),
            ));
        }
        upload.received = received;
        if received < upload.length {
            return Ok(Ready::Json(json!({"id": session, "file_offset": received})));
        }
        self.uploads.remove(session);
        let handle = URL_SAFE_NO_PAD.encode(format!("{session}:{:016x}", hash(&[&request.body])));
        Ok(Ready::Json(json!(UploadHandle { h: format!("4::{handle}") })))
    }

    pub(crate) fn upload_progress(&self, session: &str) -> Checked<Ready> {
        let upload =
            self.uploads.get(session).ok_or_else(|| GraphError::no_such_object("get", session))?;
        let progress =
            UploadProgress { file_offset: i64::try_from(upload.received).unwrap_or(i64::MAX) };
        Ok(Ready::Json(json!({"id": session, "file_offset": progress.file_offset})))
    }
}

fn judged(part: Part) -> Checked<(String, Bytes)> {
    if part.product.as_deref() != Some("whatsapp") {
        return Err(GraphError::platform(
            100,
            "The parameter messaging_product is required, and is \"whatsapp\".",
        ));
    }
    let bytes = part
        .file
        .filter(|bytes| !bytes.is_empty())
        .ok_or_else(|| GraphError::platform(100, "The parameter file is required."))?;
    let mime_type = part.mime_type.ok_or_else(|| {
        GraphError::platform(100, "The parameter type is required: the file's MIME type.")
    })?;
    let Some((_, kind, bytes_max)) = row(&mime_type) else {
        let known: Vec<&str> = KINDS.iter().map(|(known, ..)| *known).collect();
        return Err(GraphError::platform(
            100,
            format!("Param file must be of a supported type: {}.", known.join(", ")),
        ));
    };
    if bytes.len() > *bytes_max {
        return Err(upload_error(format!(
            "a file of kind {kind} has at most {bytes_max} bytes, this has {}",
            bytes.len()
        )));
    }
    Ok((mime_type, bytes))
}

/// 131053 comes in the answer of an upload, and by webhook after a send.
pub(crate) fn upload_error(details: String) -> GraphError {
    GraphError::new(131053, details)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(mime_type: &str, bytes: usize) -> Part {
        Part {
            product: Some("whatsapp".to_owned()),
            mime_type: Some(mime_type.to_owned()),
            file: Some(Bytes::from(vec![1; bytes])),
        }
    }

    #[test]
    fn files_are_judged_by_kind_and_size() {
        let code = |part: Part| judged(part).map(|_| ()).map_err(|error| error.code);
        assert_eq!(code(part("image/jpeg", 5 * MB)), Ok(()));
        assert_eq!(code(part("image/jpeg", 5 * MB + 1)), Err(131053));
        assert_eq!(code(part("audio/ogg; codecs=opus", 10)), Ok(()));
        assert_eq!(code(part("application/zip", 10)), Err(100));
        assert_eq!(code(part("image/png", 0)), Err(100));
        assert_eq!(code(Part { product: None, ..part("image/png", 5) }), Err(100));
    }
}
