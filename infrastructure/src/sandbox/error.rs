//! What the look-alike refuses with: Meta's error envelope, and a table of the codes that can be ordered by
//! `errorRates`: which HTTP status they come with, and whether they come in the answer or later by webhook.
//!
//! Titles are our own words; Meta rewords its titles without notice, so nobody may match on them.

use serde_json::{Map, Value, json};

/// Where a code shows: in the HTTP answer, or as a `failed` status after the call was answered 200.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    Sync,
    Async,
}

/// One row of the reference's section 5, as far as a send can meet it.
pub(crate) struct Known {
    pub code: u32,
    pub http: u16,
    pub path: Path,
    pub title: &'static str,
}

const fn known(code: u32, http: u16, path: Path, title: &'static str) -> Known {
    Known { code, http, path, title }
}

/// Codes whose path the reference gives as both are listed by their first one.
const KNOWN: &[Known] = &[
    known(0, 401, Path::Sync, "The app user could not be authenticated"),
    known(1, 400, Path::Sync, "An unknown error occurred"),
    known(2, 503, Path::Sync, "Service temporarily unavailable"),
    known(3, 500, Path::Sync, "The application lacks the capability for this call"),
    known(4, 400, Path::Sync, "Application request limit reached"),
    known(10, 403, Path::Sync, "Permission denied"),
    known(33, 400, Path::Sync, "The object does not exist or may not be read"),
    known(100, 400, Path::Sync, "Invalid parameter"),
    known(104, 401, Path::Sync, "An access token is required"),
    known(190, 401, Path::Sync, "The access token is not valid"),
    known(200, 403, Path::Sync, "Permissions error"),
    known(368, 403, Path::Sync, "Temporarily blocked for policy violations"),
    known(803, 404, Path::Sync, "Some of the aliases you requested do not exist"),
    known(2200, 400, Path::Sync, "Callback verification failed"),
    known(2500, 400, Path::Sync, "Unknown path components"),
    known(80007, 400, Path::Sync, "Rate limit of the WhatsApp Business Account reached"),
    known(80008, 400, Path::Sync, "Too many management calls to this account"),
    known(130403, 400, Path::Sync, "The recipient is blocked by the business"),
    known(130429, 400, Path::Sync, "Message throughput reached"),
    known(130472, 400, Path::Async, "The recipient is part of an experiment"),
    known(130497, 403, Path::Sync, "The business may not message this country"),
    known(131000, 500, Path::Sync, "Something went wrong"),
    known(131005, 403, Path::Sync, "Access denied"),
    known(131008, 400, Path::Sync, "Required parameter is missing"),
    known(131009, 400, Path::Sync, "Parameter value is not valid"),
    known(131016, 500, Path::Sync, "Service unavailable"),
    known(131021, 400, Path::Sync, "Recipient cannot be the sender"),
    known(131026, 400, Path::Async, "Message undeliverable"),
    known(131030, 400, Path::Sync, "Recipient is not in the allowed list"),
    known(131031, 403, Path::Sync, "Account is locked"),
    known(131037, 400, Path::Sync, "The number needs an approved display name"),
    known(131042, 400, Path::Sync, "Business eligibility: payment problem"),
    known(131043, 400, Path::Async, "Message expired"),
    known(131045, 500, Path::Sync, "Registration certificate problem"),
    known(131047, 400, Path::Async, "Re-engagement message"),
    known(131048, 400, Path::Sync, "Spam rate limit reached"),
    known(131049, 400, Path::Async, "Not delivered, to keep engagement healthy"),
    known(131050, 400, Path::Async, "The user stopped marketing messages"),
    known(131051, 400, Path::Sync, "Unsupported message type"),
    known(131052, 400, Path::Async, "Media download error"),
    known(131053, 400, Path::Async, "Media upload error"),
    known(131055, 400, Path::Sync, "Method not allowed"),
    known(131056, 400, Path::Sync, "Pair rate limit reached"),
    known(131057, 500, Path::Sync, "Account in maintenance"),
    known(131059, 400, Path::Sync, "Invalid pagination cursor"),
    known(131061, 400, Path::Sync, "A template with a maximum price needs the marketing endpoint"),
    known(131062, 400, Path::Sync, "This message may not go to a business-scoped user id"),
    known(131063, 400, Path::Sync, "Marketing templates are off for the Cloud API"),
    known(131064, 400, Path::Sync, "Messaging limit reached: misclassified templates"),
    known(132000, 400, Path::Sync, "Number of parameters does not match the template"),
    known(132001, 404, Path::Sync, "Template does not exist in this language"),
    known(132005, 400, Path::Sync, "Translated text too long"),
    known(132007, 400, Path::Sync, "Template content violates policy"),
    known(132008, 400, Path::Sync, "Template parameter is not valid"),
    known(132012, 400, Path::Sync, "Parameter format does not match the template"),
    known(132015, 400, Path::Sync, "Template is paused"),
    known(132016, 400, Path::Sync, "Template is disabled"),
    known(132018, 400, Path::Sync, "Template parameter is not valid"),
    known(132068, 400, Path::Sync, "Flow is blocked"),
    known(132069, 400, Path::Sync, "Flow is throttled"),
    known(133004, 503, Path::Sync, "Server temporarily unavailable"),
    known(133005, 400, Path::Sync, "Two-step verification PIN mismatch"),
    known(133010, 400, Path::Sync, "Phone number is not registered"),
    known(133016, 400, Path::Sync, "Too many registration attempts"),
    known(134011, 400, Path::Sync, "Payments terms are not accepted"),
    known(134100, 400, Path::Sync, "Only marketing messages are supported"),
    known(134101, 400, Path::Sync, "Template is still syncing"),
    known(134102, 500, Path::Sync, "Template is not available here"),
    known(135000, 400, Path::Sync, "Generic user error"),
    known(137000, 400, Path::Async, "Recipient identity key does not match"),
    known(2388019, 400, Path::Sync, "Template limit reached"),
    known(2494100, 500, Path::Sync, "The number is in maintenance"),
];

/// The row of `code`; an unlisted code is answered with 400 in the HTTP answer.
pub(crate) fn lookup(code: u32) -> Known {
    KNOWN.iter().find(|row| row.code == code).map(|row| Known { ..*row }).unwrap_or(Known {
        code,
        http: 400,
        path: Path::Sync,
        title: "Error ordered by the sandbox's behaviour",
    })
}

/// A refusal, as the Graph API words it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphError {
    /// Meta's code, the only thing to branch on.
    pub code: u32,
    /// `error_subcode`, where Meta gives one.
    pub subcode: Option<u32>,
    /// The HTTP status of the answer.
    pub http: u16,
    title: String,
    details: Option<String>,
    user_message: Option<String>,
}

impl GraphError {
    /// A messaging error: `details` tells what is wrong and what would be right.
    pub(crate) fn new(code: u32, details: impl Into<String>) -> Self {
        let row = lookup(code);
        Self {
            code,
            subcode: None,
            http: row.http,
            title: row.title.to_owned(),
            details: Some(details.into()),
            user_message: None,
        }
    }

    /// An error of the Graph platform itself, which has no `error_data`.
    pub(crate) fn platform(code: u32, title: impl Into<String>) -> Self {
        let row = lookup(code);
        Self {
            code,
            subcode: None,
            http: row.http,
            title: title.into(),
            details: None,
            user_message: None,
        }
    }

    /// What Meta answers for an id that is not there or that the token may not see.
    pub(crate) fn no_such_object(method: &str, id: &str) -> Self {
        let mut error = Self::platform(
            100,
            format!(
                "Unsupported {} request. Object with ID '{id}' does not exist, cannot be loaded due to missing \
                 permissions, or does not support this operation",
                method.to_ascii_lowercase()
            ),
        );
        error.subcode = Some(33);
        error
    }

    /// Template management puts the useful text into `error_user_msg`.
    pub(crate) fn template(subcode: u32, message: impl Into<String>) -> Self {
        let mut error = Self::platform(100, "Invalid parameter");
        error.subcode = Some(subcode);
        error.user_message = Some(message.into());
        error
    }

    /// The body of the answer.
    pub(crate) fn body(&self, trace: &str) -> Value {
        let mut error = Map::new();
        error.insert("message".into(), json!(format!("(#{}) {}", self.code, self.title)));
        error.insert("type".into(), json!("OAuthException"));
        error.insert("code".into(), json!(self.code));
        if let Some(subcode) = self.subcode {
            error.insert("error_subcode".into(), json!(subcode));
        }
        if let Some(details) = &self.details {
            error.insert(
                "error_data".into(),
                json!({"messaging_product": "whatsapp", "details": details}),
            );
        }
        if let Some(message) = &self.user_message {
            error.insert("is_transient".into(), json!(false));
            error.insert("error_user_title".into(), json!("The template was not accepted"));
            error.insert("error_user_msg".into(), json!(message));
        }
        error.insert("fbtrace_id".into(), json!(trace));
        json!({ "error": error })
    }
}

impl std::fmt::Display for GraphError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.user_message.as_deref().or(self.details.as_deref()).unwrap_or(&self.title);
        write!(f, "({}) {text}", self.code)
    }
}

impl std::error::Error for GraphError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_meta_sends_late_are_marked_so() {
        for code in [131026, 131047, 131049, 131050, 130472] {
            assert_eq!(lookup(code).path, Path::Async, "{code}");
        }
        for code in [130429, 131056, 131048, 132001, 132015, 190, 368] {
            assert_eq!(lookup(code).path, Path::Sync, "{code}");
        }
    }

    #[test]
    fn the_table_names_each_code_once() {
        let mut codes: Vec<u32> = KNOWN.iter().map(|row| row.code).collect();
        let before = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), before);
    }
}
