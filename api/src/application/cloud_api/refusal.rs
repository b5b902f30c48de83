//! Refusals as the Graph API words them. Programs branch on the code; the details say what would be right.

use domain::message::{Failure, MessageStatus, SkipReason};
use domain::primitives::MessageId;
use domain::template::TemplateStatus;
use infrastructure::cloud_api::client::CallError;
use infrastructure::cloud_api::validate::Violation;
use serde_json::{Value, json};
use tracing::error;

use crate::application::error::{AppError, ErrorCode};

const OAUTH: &str = "OAuthException";
const GRAPH_METHOD: &str = "GraphMethodException";

/// What the gateway itself knows of a message that was not answered with a wamid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub message_id: MessageId,
    pub status: MessageStatus,
    /// Why it was left out.
    pub reason: Option<&'static str>,
}

/// A refusal, with the HTTP status that goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub http: u16,
    pub code: i64,
    subcode: Option<i64>,
    kind: &'static str,
    title: String,
    details: Option<String>,
    is_transient: bool,
    pub told: Option<Box<Told>>,
}

impl Refusal {
    fn new(http: u16, code: i64, title: impl Into<String>) -> Self {
        Self {
            http,
            code,
            subcode: None,
            kind: OAUTH,
            title: format!("(#{code}) {}", title.into()),
            details: None,
            is_transient: false,
            told: None,
        }
    }

    fn with(mut self, details: impl Into<String>) -> Self {
        self.details = Some(details.into());
        self
    }

    /// Nothing that programs repeat by themselves.
    pub(super) fn lasting(mut self) -> Self {
        self.is_transient &= self.http < 500;
        self
    }

    pub(super) fn about(mut self, told: Told) -> Self {
        self.told = Some(Box::new(told));
        self
    }

    /// WhatsApp's answer to an id that is not there, or that the token may not see.
    pub fn no_such_object(method: &str, id: &str) -> Self {
        let method = method.to_ascii_lowercase();
        Self {
            subcode: Some(33),
            kind: GRAPH_METHOD,
            title: format!(
                "Unsupported {method} request. Object with ID '{id}' does not exist, cannot be loaded due to missing \
                 permissions, or does not support this operation"
            ),
            ..Self::new(400, 100, "")
        }
    }

    /// A path that this part of the gateway does not have.
    pub fn unknown_path(path: &str) -> Self {
        Self::new(400, 2500, format!("Unknown path components: {path}"))
    }

    /// A parameter that is missing, misspelt or wrong.
    pub fn parameter(details: impl Into<String>) -> Self {
        Self::new(400, 100, "Invalid parameter").with(details)
    }

    pub(super) fn cursor() -> Self {
        Self::new(400, 131_059, "Invalid pagination cursor")
            .with("use a cursor that an earlier page of this list gave, or begin without one")
    }

    /// No token at all.
    pub fn no_token() -> Self {
        Self::new(401, 104, "An access token is required to request this resource.")
    }

    pub(super) fn unavailable(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::of(&AppError::unavailable(source))
    }

    /// The first thing that is wrong with a body.
    pub(super) fn violation(violations: &[Violation]) -> Self {
        let Some(first) = violations.first() else { return Self::parameter("the body") };
        Self::new(400, first.code, title_of(first.code)).with(first.to_string())
    }

    /// Nothing was looked at, so that the same may be asked again in a moment.
    pub(super) fn too_many_calls(limit: usize, whose: &str) -> Self {
        let details = format!("{limit} calls of {whose} are being answered; try again in a moment");
        Self::of(&AppError::new(ErrorCode::RateLimited, details))
    }

    /// A use case's own refusal.
    pub fn of(error: &AppError) -> Self {
        let details = in_metas_words(&error.message);
        match error.code {
            ErrorCode::Unauthenticated => {
                let title = "Invalid OAuth access token - Cannot parse access token";
                Self { title: title.to_owned(), ..Self::new(401, 190, "") }
            }
            ErrorCode::Forbidden => {
                Self::new(403, 10, "Application does not have permission for this action")
                    .with(details)
            }
            ErrorCode::NotFound => Self {
                subcode: Some(33),
                kind: GRAPH_METHOD,
                ..Self::new(400, 100, "Object does not exist")
            },
            ErrorCode::ValidationFailed | ErrorCode::QueryTooComplex => {
                let code = code_of_field(error);
                Self::new(400, code, title_of(code)).with(details)
            }
            ErrorCode::IdempotencyKeyReused => {
                Self::new(409, 100, "Invalid parameter").with(format!("Idempotency-Key: {details}"))
            }
            ErrorCode::Conflict => Self::new(400, 133_010, title_of(133_010)).with(details),
            ErrorCode::RateLimited => {
                let refusal = Self::new(429, 4, "Application request limit reached").with(details);
                Self { is_transient: true, ..refusal }
            }
            ErrorCode::Stale | ErrorCode::Unavailable => {
                let refusal = Self::new(503, 2, "Service temporarily unavailable").with(details);
                Self { is_transient: true, ..refusal }
            }
            ErrorCode::Internal => {
                error!(error = error.source.as_deref(), "a Cloud API call failed");
                Self::new(500, 1, "An unknown error occurred").with(details)
            }
        }
    }

    /// `nobody` in place of a NOT_FOUND.
    pub(super) fn or_no_object(self, nobody: impl FnOnce() -> Self) -> Self {
        if self.kind == GRAPH_METHOD { nobody() } else { self }
    }

    /// The template that is named is none of the account's.
    pub(super) fn no_such_template(name: &str, language: &str) -> Self {
        Self::new(404, 132_001, title_of(132_001))
            .with(format!("template name ({name}) does not exist in {language}"))
    }

    /// A call of ours to WhatsApp that was not a send. What is wrong with the account's own token is not the caller's.
    pub(super) fn of_call(error: &CallError) -> Self {
        let Some(refusal) = error.refusal() else {
            let refusal = Self::new(503, 2, "Service temporarily unavailable");
            let refusal = refusal.with(format!("WhatsApp could not be asked ({error})"));
            return Self { is_transient: true, ..refusal };
        };
        if refusal.consequence.account_stop {
            let remedy = refusal.consequence.explanation();
            return Self::new(403, 131_005, "Access denied")
                .with(format!("WhatsApp refuses the account's own token: {remedy}"));
        }
        let code = refusal.code.unwrap_or(4);
        Self {
            subcode: refusal.subcode,
            title: refusal.message.clone().unwrap_or_else(|| title_of(code).to_owned()),
            details: refusal.details.clone(),
            ..Self::new(refusal.http_status, code, "")
        }
    }

    /// WhatsApp refused the message, or the gateway gave it up.
    pub(super) fn failed(failure: Option<&Failure>) -> Self {
        let code = failure.and_then(|failure| failure.code).unwrap_or(131_000);
        let title = failure.map_or(title_of(code), |failure| failure.title.as_str());
        let refusal = Self::new(400, code, title);
        match failure.and_then(|failure| failure.details.as_deref()) {
            Some(details) => refusal.with(details),
            None => refusal.with("the message failed; its history says why"),
        }
    }

    /// The message was left out by policy, for good.
    pub(super) fn skipped(
        reason: SkipReason,
        detail: Option<&str>,
        template: Option<TemplateStatus>,
    ) -> Self {
        let (code, details) = match reason {
            SkipReason::WindowClosed => {
                (131_047, "the person has not written within 24 h; send a template")
            }
            SkipReason::OptedOut => (131_050, "the person opted out"),
            SkipReason::NoConsent => {
                (131_050, "marketing needs the person's consent on record, and there is none")
            }
            SkipReason::MarketingBlocked => {
                (131_049, "WhatsApp takes no marketing for this person for now")
            }
            SkipReason::FrequencyCap => (131_049, "the person got as many as the cap allows"),
            SkipReason::Unreachable => {
                (131_026, "WhatsApp could not reach this person a short while ago")
            }
            SkipReason::NoIdentity => {
                (131_026, "the person can be addressed neither by number nor by user id")
            }
            SkipReason::Erased => (131_026, "the person was erased"),
            SkipReason::TemplateNotApproved => {
                let code = match template {
                    Some(TemplateStatus::Paused) => 132_015,
                    Some(TemplateStatus::Disabled) => 132_016,
                    _ => 132_001,
                };
                (code, "the template is not approved")
            }
            SkipReason::MissingParameter => (132_000, "the template needs more values"),
            SkipReason::ParameterTooLong => (132_005, "the filled text is too long"),
            SkipReason::BadTimeZone | SkipReason::LocalTimePast | SkipReason::Duplicate => {
                (131_009, "the message was left out")
            }
        };
        let details = match detail {
            Some(detail) => format!("{details} ({detail})"),
            None => details.to_owned(),
        };
        Self::new(400, code, title_of(code)).with(details)
    }

    /// It was taken back before it left.
    pub(super) fn cancelled() -> Self {
        Self::new(400, 131_000, title_of(131_000)).with("the message was cancelled in the gateway")
    }

    /// Its time to live ran out before it could go.
    pub(super) fn expired() -> Self {
        Self::new(400, 131_043, "Message expired").with("the message's time to live is over")
    }

    /// What it said and to whom was erased.
    pub(super) fn erased() -> Self {
        Self::new(410, 100, "Invalid parameter")
            .with("the person was erased, and the wamid with them")
    }

    /// On record, and its outcome not known in time. No status that clients repeat by themselves: a repetition without the
    /// key would be another message.
    pub(super) fn still_going(told: Told, has_key: bool) -> Self {
        let next = match has_key {
            true => "repeat this request with the same Idempotency-Key to get its outcome",
            false => {
                "do not repeat this request, which would send another one; ask the gateway for this message"
            }
        };
        let details = format!(
            "the message is on record as {} and still going ({}): {next}",
            told.message_id,
            told.status.as_str()
        );
        Self::new(409, 131_000, "Outcome not known yet").with(details).about(told)
    }

    /// The answer's body. `trace` finds it again.
    pub fn body(&self, trace: &str) -> Value {
        let mut error = json!({
            "message": self.title, "type": self.kind, "code": self.code, "fbtrace_id": trace,
        });
        if let Some(subcode) = self.subcode {
            error["error_subcode"] = json!(subcode);
        }
        if self.is_transient {
            error["is_transient"] = json!(true);
        }
        if self.details.is_some() || self.told.is_some() {
            error["error_data"] = json!({
                "messaging_product": "whatsapp", "details": self.details.as_deref().unwrap_or_default(),
            });
        }
        if let Some(Told { message_id, status, reason }) = self.told.as_deref() {
            error["error_data"]["gateway"] =
                json!({ "message_id": message_id, "status": status.as_str(), "reason": reason });
        }
        json!({ "error": error })
    }
}

fn title_of(code: i64) -> &'static str {
    match code {
        131_000 => "Something went wrong",
        131_008 => "Required parameter is missing",
        131_009 => "Parameter value is not valid",
        131_026 => "Message undeliverable",
        131_047 => "Re-engagement message",
        131_049 => "Not delivered, to keep engagement healthy",
        131_050 => "The user stopped marketing messages",
        131_051 => "Unsupported message type",
        131_053 => "Media upload error",
        132_000 => "Number of parameters does not match the template",
        132_001 => "Template does not exist in this language",
        132_005 => "Translated text too long",
        132_012 => "Parameter format does not match the template",
        132_015 => "Template is paused",
        132_016 => "Template is disabled",
        132_018 => "Template parameter is not valid",
        133_010 => "The number cannot be used as it is",
        _ => "Invalid parameter",
    }
}

fn code_of_field(error: &AppError) -> i64 {
    use crate::application::messages::{PARAMETER_COUNT, PARAMETER_FORMAT};
    let field = error.field.as_deref().unwrap_or_default();
    match error.reason {
        Some(PARAMETER_COUNT) => 132_000,
        Some(PARAMETER_FORMAT) => 132_012,
        _ if field == "input.template.parameters" => 132_000,
        _ if field.starts_with("input.template.parameters.") => 132_012,
        _ if field.starts_with("input.") && field != "input.idempotencyKey" => 131_009,
        _ => 100,
    }
}

/// A path of the gateway's own input as the Cloud API calls it.
fn in_metas_words(message: &str) -> String {
    let words = [
        ("input.idempotencyKey", "Idempotency-Key"),
        ("input.userId", "recipient"),
        ("input.replyTo", "context.message_id"),
        ("input.media.mediaId", "media.id"),
        ("input.metadata", "biz_opaque_callback_data"),
        ("input.text", "text.body"),
        ("input.", ""),
    ];
    for (ours, theirs) in words {
        if let Some(rest) = message.strip_prefix(ours) {
            return format!("{theirs}{rest}");
        }
    }
    message.to_owned()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_unknown_object_is_refused_as_whatsapp_does() {
        let body = Refusal::no_such_object("POST", "402").body("A1");
        assert_eq!(body["error"]["code"], 100);
        assert_eq!(body["error"]["error_subcode"], 33);
        assert_eq!(body["error"]["type"], "GraphMethodException");
        assert_eq!(body["error"]["fbtrace_id"], "A1");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.starts_with("Unsupported post request. Object with ID '402'"), "{message}");
        assert!(body["error"]["error_data"].is_null());
    }

    #[test]
    fn fields_are_named_as_the_caller_wrote_them() {
        let of = |field: &str| Refusal::of(&AppError::invalid(field, "use another"));
        let to = of("input.to");
        assert_eq!((to.code, to.details.as_deref()), (131_009, Some("to: use another")));
        assert_eq!(of("input.template.parameters").code, 132_000);
        assert_eq!(of("input.template.parameters.body.1").code, 132_012);
        let key = of("input.idempotencyKey");
        assert_eq!((key.code, key.details.as_deref()), (100, Some("Idempotency-Key: use another")));
    }

    #[test]
    fn what_is_still_going_names_the_message_and_is_nothing_to_repeat_blindly() {
        let told = Told {
            message_id: MessageId(Uuid::from_u128(7)),
            status: MessageStatus::InDoubt,
            reason: None,
        };
        let refusal = Refusal::still_going(told, true);
        assert_eq!((refusal.http, refusal.code), (409, 131_000));
        let body = refusal.body("A1");
        assert_eq!(body["error"]["error_data"]["gateway"]["status"], "IN_DOUBT");
        assert_eq!(
            body["error"]["error_data"]["gateway"]["message_id"],
            Uuid::from_u128(7).to_string()
        );
    }

    #[test]
    fn a_template_that_is_paused_is_told_from_one_that_is_not_there() {
        let of = |status| Refusal::skipped(SkipReason::TemplateNotApproved, None, status).code;
        assert_eq!(of(Some(TemplateStatus::Paused)), 132_015);
        assert_eq!(of(Some(TemplateStatus::Disabled)), 132_016);
        assert_eq!(of(Some(TemplateStatus::Pending)), 132_001);
    }
}
