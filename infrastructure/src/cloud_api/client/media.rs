//! Media: upload, resolve, download, delete, and the samples that a template's header is reviewed by (reference:
//! section 9).

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::Stream;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Method, StatusCode};
use ring::digest;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use url::Url;

use super::{
    ANSWER_BYTES_MAX, Access, CallError, CloudApi, NotSent, UnknownReason, connect_failure,
    lost_or_late, read, read_body, refusal, usage_of,
};
use crate::cloud_api::error::ErrorContext;
use crate::cloud_api::wire::response::{Created, MediaUrl, UploadHandle, UploadProgress};

/// The largest medium that WhatsApp carries, in bytes.
pub const MEDIA_BYTES_MAX: u64 = 100 * 1024 * 1024;

/// How many redirects a download follows, each within the allowed hosts.
const REDIRECTS_MAX: usize = 3;
/// How often an upload of a sample is taken up again where it broke off.
const RESUMES_MAX: usize = 2;
/// Hosts that media come from, with their subdomains.
const META_HOSTS: [&str; 4] = ["facebook.com", "fbsbx.com", "fbcdn.net", "whatsapp.net"];

/// A medium to upload. Neither name nor type is checked here.
#[derive(Debug)]
pub struct MediaUpload<S> {
    /// `image/jpeg`
    pub mime_type: String,
    pub file_name: String,
    /// In bytes; the body must have exactly as many.
    pub length: u64,
    pub body: S,
}

/// A sample for a template's header: pdf, jpeg, png or mp4.
#[derive(Clone, Debug)]
pub struct Sample {
    pub mime_type: String,
    pub file_name: String,
    pub content: Bytes,
}

/// What was downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Downloaded {
    pub bytes: u64,
    pub sha256: [u8; 32],
    /// As the server names it; not to be believed without looking.
    pub mime_type: Option<String>,
}

/// Why a medium was not downloaded. What was written by then is to be thrown away.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    #[error("{0}")]
    Call(CallError),
    /// The bearer goes to nobody else.
    #[error("the medium is on a host that is not Meta's")]
    ForeignHost,
    /// Its URL is good for five minutes; resolve the id again.
    #[error("the medium is not (or no longer) at its URL")]
    Gone,
    #[error("the medium is larger than {MEDIA_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the medium is not the one that was announced: its hash differs")]
    HashDiffers,
    #[error("more than {REDIRECTS_MAX} redirects")]
    TooManyRedirects,
    #[error("the medium could not be written down")]
    Write(#[source] io::Error),
}

impl CloudApi {
    /// Uploads a medium in a stream and returns its id, good for 30 days on this number.
    ///
    /// # Errors
    /// [`CallError`]. Where the outcome is unknown a repeat at worst leaves a medium that nobody uses.
    pub async fn upload_media<S>(
        &self,
        access: &Access,
        phone_number_id: &str,
        upload: MediaUpload<S>,
    ) -> Result<String, CallError>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        if upload.length > MEDIA_BYTES_MAX {
            return Err(CallError::Invalid {
                field: "file",
                problem: "WhatsApp takes at most 100 MB",
            });
        }
        let file = Part::stream_with_length(Body::wrap_stream(upload.body), upload.length)
            .file_name(upload.file_name)
            .mime_str(&upload.mime_type)
            .map_err(|_| CallError::Invalid {
                field: "type",
                problem: "not a media type like image/jpeg",
            })?;
        let form = Form::new()
            .text("messaging_product", "whatsapp")
            .text("type", upload.mime_type)
            .part("file", file);
        let request = self
            .request(Method::POST, access, &[phone_number_id, "media"], &[])?
            .timeout(self.config.transfer_timeout)
            .multipart(form);
        Ok(read::<Created>(&self.answer(request).await?)?.id)
    }

    /// Where a medium can be fetched. With `phone_number_id` Meta checks that it is that number's.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn resolve_media(
        &self,
        access: &Access,
        media_id: &str,
        phone_number_id: Option<&str>,
    ) -> Result<MediaUrl, CallError> {
        let query: Vec<_> = phone_number_id.map(|id| ("phone_number_id", id)).into_iter().collect();
        self.get(access, &[media_id], &query).await
    }

    /// # Errors
    /// [`CallError`]
    pub async fn delete_media(
        &self,
        access: &Access,
        media_id: &str,
        phone_number_id: Option<&str>,
    ) -> Result<(), CallError> {
        let query: Vec<_> = phone_number_id.map(|id| ("phone_number_id", id)).into_iter().collect();
        self.delete(access, &[media_id], &query).await
    }

    /// Resolves a medium and writes it down, checking its size and its hash: the announced one (base64 or hex), else
    /// the one that resolving told.
    ///
    /// # Errors
    /// [`MediaError`]
    pub async fn fetch_media<W: AsyncWrite + Unpin + Send>(
        &self,
        access: &Access,
        media_id: &str,
        phone_number_id: Option<&str>,
        announced_sha256: Option<&str>,
        into: &mut W,
    ) -> Result<Downloaded, MediaError> {
        let mut place = self
            .resolve_media(access, media_id, phone_number_id)
            .await
            .map_err(MediaError::Call)?;
        let mut resolved_again = false;
        loop {
            if place
                .file_size
                .is_some_and(|size| u64::try_from(size).is_ok_and(|size| size > MEDIA_BYTES_MAX))
            {
                return Err(MediaError::TooLarge);
            }
            let hash = announced_sha256.or(place.sha256.as_deref());
            match self.download_media(access, &place.url, hash, into).await {
                // The URL ran out between the two calls; nothing has been written yet.
                Err(MediaError::Gone) if !resolved_again => {
                    resolved_again = true;
                    place = self
                        .resolve_media(access, media_id, phone_number_id)
                        .await
                        .map_err(MediaError::Call)?;
                }
                other => return other,
            }
        }
    }

    /// Writes the medium at `url` down. The URL must be one of Meta's, or on the configured host.
    ///
    /// # Errors
    /// [`MediaError`]
    pub async fn download_media<W: AsyncWrite + Unpin + Send>(
        &self,
        access: &Access,
        url: &str,
        sha256: Option<&str>,
        into: &mut W,
    ) -> Result<Downloaded, MediaError> {
        let mut response = self.open_media(access, url).await?;
        if response.content_length().is_some_and(|length| length > MEDIA_BYTES_MAX) {
            return Err(MediaError::TooLarge);
        }
        let mime_type =
            response.headers().get(CONTENT_TYPE).and_then(|it| it.to_str().ok()).map(str::to_owned);
        let mut hash = digest::Context::new(&digest::SHA256);
        let mut bytes = 0_u64;
        loop {
            let chunk = match tokio::time::timeout(self.config.stall_timeout, response.chunk())
                .await
            {
                Err(_) => return Err(MediaError::Call(CallError::Unknown(UnknownReason::Timeout))),
                Ok(Err(error)) => {
                    return Err(MediaError::Call(CallError::Unknown(lost_or_late(&error))));
                }
                Ok(Ok(None)) => break,
                Ok(Ok(Some(chunk))) => chunk,
            };
            bytes += chunk.len() as u64;
            if bytes > MEDIA_BYTES_MAX {
                return Err(MediaError::TooLarge);
            }
            hash.update(&chunk);
            into.write_all(&chunk).await.map_err(MediaError::Write)?;
        }
        into.flush().await.map_err(MediaError::Write)?;
        let mut found = [0; 32];
        found.copy_from_slice(hash.finish().as_ref());
        if sha256.is_some_and(|printed| read_hash(printed) != Some(found)) {
            return Err(MediaError::HashDiffers);
        }
        Ok(Downloaded { bytes, sha256: found, mime_type })
    }

    /// The answer with the medium in it, after redirects within the allowed hosts.
    async fn open_media(
        &self,
        access: &Access,
        url: &str,
    ) -> Result<reqwest::Response, MediaError> {
        let mut url = Url::parse(url).map_err(|_| MediaError::ForeignHost)?;
        for _ in 0..=REDIRECTS_MAX {
            if !self.may_carry_bearer(&url) {
                return Err(MediaError::ForeignHost);
            }
            let bearer =
                access.bearer().ok_or(MediaError::Call(CallError::NotSent(NotSent::BadToken)))?;
            let request = self.http.get(url.clone()).header(AUTHORIZATION, bearer);
            let response =
                request.timeout(self.config.transfer_timeout).send().await.map_err(|error| {
                    MediaError::Call(match connect_failure(&error) {
                        Some(reason) => CallError::NotSent(reason),
                        None => CallError::Unknown(lost_or_late(&error)),
                    })
                })?;
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            if status.is_redirection() {
                let target = response.headers().get(LOCATION).and_then(|it| it.to_str().ok());
                url = target
                    .and_then(|target| url.join(target).ok())
                    .ok_or(MediaError::ForeignHost)?;
                continue;
            }
            if status == StatusCode::NOT_FOUND || status == StatusCode::GONE {
                return Err(MediaError::Gone);
            }
            let usage = usage_of(response.headers());
            let body = read_body(response, ANSWER_BYTES_MAX).await.unwrap_or_default();
            return Err(MediaError::Call(
                match refusal(status, &body, usage, ErrorContext::default()) {
                    Ok(error) => CallError::Refused(Box::new(error)),
                    Err(reason) => CallError::Unknown(reason),
                },
            ));
        }
        Err(MediaError::TooManyRedirects)
    }

    /// The configured host, or one of Meta's over https.
    fn may_carry_bearer(&self, url: &Url) -> bool {
        if url.origin() == self.config.base_url.origin() {
            return true;
        }
        let Some(host) = url.host_str() else { return false };
        let is_metas = |meta: &&str| {
            host.strip_suffix(*meta).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        url.scheme() == "https" && url.port().is_none() && META_HOSTS.iter().any(is_metas)
    }

    /// Uploads a sample for a template's header and returns the handle that names it. Takes up an upload that broke off
    /// where it broke off.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn upload_sample(
        &self,
        access: &Access,
        app_id: &str,
        sample: &Sample,
    ) -> Result<String, CallError> {
        if sample.content.len() as u64 > MEDIA_BYTES_MAX {
            return Err(CallError::Invalid {
                field: "file",
                problem: "WhatsApp takes at most 100 MB",
            });
        }
        let length = sample.content.len().to_string();
        let query = [
            ("file_name", sample.file_name.as_str()),
            ("file_length", length.as_str()),
            ("file_type", sample.mime_type.as_str()),
        ];
        let start = self.request(Method::POST, access, &[app_id, "uploads"], &query)?;
        let session: Created = read(&self.answer(start.timeout(self.config.call_timeout)).await?)?;
        let (path, query) = session.id.split_once('?').unwrap_or((&session.id, ""));
        let query: Vec<(String, String)> =
            url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let query: Vec<(&str, &str)> =
            query.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let mut offset = 0_usize;
        let mut resumes = 0;
        loop {
            let rest = sample.content.slice(offset.min(sample.content.len())..);
            let request = self
                .request(Method::POST, access, &[path], &query)?
                .timeout(self.config.transfer_timeout)
                .header("file_offset", offset)
                .body(rest);
            match self.answer(request).await {
                Ok(answer) => return Ok(read::<UploadHandle>(&answer)?.h),
                Err(CallError::Unknown(_) | CallError::NotSent(_)) if resumes < RESUMES_MAX => {
                    resumes += 1;
                    let progress: UploadProgress = self.get(access, &[path], &query).await?;
                    offset = usize::try_from(progress.file_offset).unwrap_or(0);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// A SHA-256 as Meta prints it: base64 in webhooks, hex when a medium is resolved.
fn read_hash(printed: &str) -> Option<[u8; 32]> {
    let bytes = hex::decode(printed).ok().or_else(|| STANDARD.decode(printed).ok())?;
    bytes.try_into().ok()
}
