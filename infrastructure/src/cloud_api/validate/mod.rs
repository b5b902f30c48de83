//! What WhatsApp takes: the limits of the reference's sections 2 and 7, checked before Meta would. The gateway turns
//! violations into answers at its edge, the sandbox into Meta's errors.
//!
//! Lengths are in characters (code points): Meta does not say which unit it counts in. A violation names a field and a
//! rule, never a value.

mod definition;
mod interactive;
mod message;
mod template;

pub use definition::check_definition;
pub use message::{check_mark_read, check_send};
pub use template::value_problem;

use serde_json::Value;

use super::wire::send::{Content, MessagesCall};

/// Limits that other code needs to know.
pub mod limits {
    pub const TEXT_CHARS_MAX: usize = 4096;
    pub const CAPTION_CHARS_MAX: usize = 1024;
    /// The documentation says 257, the OpenAPI file 5.
    pub const CONTACTS_MAX: usize = 257;

    pub const INTERACTIVE_BODY_CHARS_MAX: usize = 1024;
    /// The documentation says 4096, the OpenAPI file 1024.
    pub const LIST_BODY_CHARS_MAX: usize = 4096;
    pub const HEADER_CHARS_MAX: usize = 60;
    pub const FOOTER_CHARS_MAX: usize = 60;
    pub const BUTTONS_MAX: usize = 3;
    pub const BUTTON_ID_CHARS_MAX: usize = 256;
    pub const BUTTON_TITLE_CHARS_MAX: usize = 20;
    pub const LIST_BUTTON_CHARS_MAX: usize = 20;
    pub const LIST_SECTIONS_MAX: usize = 10;
    /// Over all sections.
    pub const LIST_ROWS_MAX: usize = 10;
    pub const SECTION_TITLE_CHARS_MAX: usize = 24;
    pub const ROW_ID_CHARS_MAX: usize = 200;
    pub const ROW_TITLE_CHARS_MAX: usize = 24;
    pub const ROW_DESCRIPTION_CHARS_MAX: usize = 72;
    pub const CTA_TEXT_CHARS_MAX: usize = 20;
    pub const FLOW_CTA_CHARS_MAX: usize = 30;
    /// Over all sections.
    pub const PRODUCTS_MAX: usize = 30;
    pub const CARDS_MIN: usize = 2;
    pub const CARDS_MAX: usize = 10;
    pub const CARD_BODY_CHARS_MAX: usize = 160;

    pub const TEMPLATE_NAME_CHARS_MAX: usize = 512;
    /// Of one value; the filled body has a limit of its own.
    pub const TEMPLATE_VALUE_CHARS_MAX: usize = 32_768;
    pub const TEMPLATE_BODY_CHARS_MAX: usize = 1024;
    pub const TEMPLATE_BUTTONS_MAX: usize = 10;
    pub const TEMPLATE_URL_BUTTONS_MAX: usize = 2;
    pub const TEMPLATE_BUTTON_CHARS_MAX: usize = 25;
    pub const TEMPLATE_URL_CHARS_MAX: usize = 2000;
    pub const TEMPLATE_PHONE_CHARS_MAX: usize = 20;
    /// 15 until December 2025.
    pub const COPY_CODE_CHARS_MAX: usize = 20;
    /// The longest run of spaces in a template's value.
    pub const SPACES_MAX: usize = 4;
}

/// A parameter is unsupported, misspelt or too long.
pub const CODE_PARAMETER: i64 = 100;
/// A required parameter is missing.
pub const CODE_MISSING: i64 = 131_008;
/// A parameter's value is invalid.
pub const CODE_INVALID: i64 = 131_009;
/// A template's value has the wrong type for its place.
pub const CODE_VALUE_FORMAT: i64 = 132_012;
/// A template's value has a form that templates do not take.
pub const CODE_VALUE_FORM: i64 = 132_018;

/// One rule that content breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Where, in Meta's names: `interactive.action.buttons[1].reply.title`. Empty for the whole.
    pub path: String,
    /// What would be right, in a sentence.
    pub problem: String,
    /// The code that Meta answers.
    pub code: i64,
    /// Template definitions: the subcode that says more.
    pub subcode: Option<i64>,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.problem)
        } else {
            write!(f, "{}: {}", self.path, self.problem)
        }
    }
}

/// Reads a body posted to `/messages` and checks it.
///
/// # Errors
/// What is wrong with it: its form, else all its violations.
pub fn read_messages_call(body: &Value) -> Result<MessagesCall, Vec<Violation>> {
    let mut check = Check::default();
    if !body.is_object() {
        check.add("", CODE_PARAMETER, "A JSON object is needed.");
        return Err(check.violations);
    }
    match body.get("messaging_product").map(Value::as_str) {
        Some(Some("whatsapp")) => {}
        None => check.add(
            "messaging_product",
            CODE_PARAMETER,
            "It is required and must be \"whatsapp\".",
        ),
        Some(_) => check.add("messaging_product", CODE_PARAMETER, "It must be \"whatsapp\"."),
    }
    if body.get("status").is_none() {
        check_kind(body, &mut check);
    }
    if !check.violations.is_empty() {
        return Err(check.violations);
    }
    let call = match MessagesCall::read(body) {
        Ok(call) => call,
        Err(error) => {
            let code =
                if error.reason.starts_with("missing field") { CODE_MISSING } else { CODE_INVALID };
            check.add("", code, &format!("The {} cannot be read: {}.", error.item, error.reason));
            return Err(check.violations);
        }
    };
    let violations = match &call {
        MessagesCall::Send(send) => check_send(send),
        MessagesCall::MarkRead(read) => check_mark_read(read),
    };
    if violations.is_empty() { Ok(call) } else { Err(violations) }
}

/// `type`, and the property of that name.
fn check_kind(body: &Value, check: &mut Check) {
    let kind = match body.get("type") {
        None => {
            return check.add(
                "type",
                CODE_MISSING,
                &format!("It is required: {}.", Content::KINDS.join(", ")),
            );
        }
        Some(kind) => kind.as_str().unwrap_or_default(),
    };
    if !Content::KINDS.contains(&kind) {
        return check.add(
            "type",
            CODE_INVALID,
            &format!("It must be one of {}.", Content::KINDS.join(", ")),
        );
    }
    if body.get(kind).is_none_or(Value::is_null) {
        check.add(kind, CODE_MISSING, "It is required, since the type names it.");
    }
}

/// Gathers violations.
#[derive(Default)]
struct Check {
    violations: Vec<Violation>,
}

impl Check {
    fn add(&mut self, path: &str, code: i64, problem: &str) {
        self.add_with(path, code, None, problem);
    }

    fn add_with(&mut self, path: &str, code: i64, subcode: Option<i64>, problem: &str) {
        self.violations.push(Violation {
            path: path.to_owned(),
            problem: problem.to_owned(),
            code,
            subcode,
        });
    }

    /// A text that has to be there, within its limit.
    fn text(&mut self, path: &str, text: &str, chars_max: usize) {
        if text.trim().is_empty() {
            self.add(path, CODE_MISSING, "It must not be empty.");
        }
        self.length(path, text, chars_max);
    }

    /// A text that may be absent and has to be within its limit.
    fn length(&mut self, path: &str, text: &str, chars_max: usize) {
        let chars = text.chars().count();
        if chars > chars_max {
            let problem = format!("It may have at most {chars_max} characters; it has {chars}.");
            self.add(path, CODE_PARAMETER, &problem);
        }
    }

    fn required<'a>(&mut self, path: &str, text: Option<&'a str>) -> Option<&'a str> {
        let text = text.filter(|text| !text.trim().is_empty());
        if text.is_none() {
            self.add(path, CODE_MISSING, "It is required.");
        }
        text
    }

    fn count(&mut self, path: &str, count: usize, min: usize, max: usize, what: &str) {
        if count < min || count > max {
            let code = if count < min { CODE_MISSING } else { CODE_INVALID };
            self.add(path, code, &format!("{min} to {max} {what} are allowed; there are {count}."));
        }
    }

    /// A web address that a phone can open.
    fn web_address(&mut self, path: &str, address: &str) {
        let url = url::Url::parse(address).ok();
        if !url.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
            self.add(path, CODE_INVALID, "It must be a whole address that begins with https://.");
        }
    }

    /// Texts that have to differ from each other.
    fn distinct<'a>(&mut self, path: &str, mut texts: impl Iterator<Item = &'a str>, what: &str) {
        let mut seen = std::collections::HashSet::new();
        if !texts.all(|text| seen.insert(text)) {
            self.add(path, CODE_INVALID, &format!("No two {what} may be the same."));
        }
    }
}

#[cfg(test)]
mod tests;
