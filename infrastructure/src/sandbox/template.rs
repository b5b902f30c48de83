//! Templates as the look-alike keeps them: what may be submitted (reference: 7.2), and whether a send fits what was
//! approved (2.5).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::error::GraphError;

type Checked<T> = Result<T, GraphError>;

const NAME_CHARS_MAX: usize = 512;
const HEADER_CHARS_MAX: usize = 60;
const BODY_CHARS_MAX: usize = 1024;
const FOOTER_CHARS_MAX: usize = 60;
const BUTTONS_MAX: usize = 10;
const LABEL_CHARS_MAX: usize = 25;
const URL_CHARS_MAX: usize = 2000;
const COUPON_CHARS_MAX: usize = 20;
const CODE_CHARS_MAX: usize = 15;
const CATEGORIES: &[&str] = &["MARKETING", "UTILITY", "AUTHENTICATION"];
const MEDIA_FORMATS: &[&str] = &["IMAGE", "VIDEO", "DOCUMENT", "GIF"];
const BUTTON_TYPES: &[&str] = &[
    "QUICK_REPLY",
    "URL",
    "PHONE_NUMBER",
    "COPY_CODE",
    "OTP",
    "FLOW",
    "CATALOG",
    "MPM",
    "SPM",
    "VOICE_CALL",
    "ORDER_DETAILS",
    "REQUEST_CONTACT_INFO",
    "CALL_PERMISSION_REQUEST",
    "POSTBACK",
    "REMINDER",
    "SEND_LOCATION",
    "EXTENSION",
];

/// A template of one language.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Template {
    pub id: u64,
    pub waba_id: String,
    pub name: String,
    pub language: String,
    pub category: String,
    pub format: String,
    pub components: Vec<Value>,
    pub status: String,
    pub quality: String,
    pub ttl_seconds: Option<i64>,
    pub rejected_reason: Option<String>,
    pub previous_category: Option<String>,
    pub created_ms: i64,
}

impl Template {
    /// As the Graph API lists it, with every field; the caller leaves out what was not asked for.
    pub(crate) fn listed(&self) -> Value {
        let mut listed = json!({
            "id": self.id.to_string(),
            "name": self.name,
            "language": self.language,
            "status": self.status,
            "category": self.category,
            "parameter_format": self.format,
            "components": self.components,
            "quality_score": {"score": self.quality, "date": self.created_ms / 1000},
            "rejected_reason": self.rejected_reason.as_deref().unwrap_or("NONE"),
        });
        if let Some(ttl) = self.ttl_seconds {
            listed["message_send_ttl_seconds"] = json!(ttl);
        }
        if let Some(previous) = &self.previous_category {
            listed["previous_category"] = json!(previous);
        }
        listed
    }

    fn component(&self, kind: &str) -> Option<&Value> {
        self.components.iter().find(|c| is(c, "type", kind))
    }

    fn buttons(&self) -> &[Value] {
        self.component("BUTTONS")
            .and_then(|c| c.get("buttons"))
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    /// Whether the status lets it be sent, else why not.
    fn sendable(&self) -> Checked<()> {
        match self.status.as_str() {
            "APPROVED" => Ok(()),
            "PAUSED" => Err(GraphError::new(
                132015,
                format!("template {} is paused for low quality", self.name),
            )),
            "DISABLED" => {
                Err(GraphError::new(132016, format!("template {} is disabled for good", self.name)))
            }
            status => Err(GraphError::new(
                132001,
                format!(
                    "template {} in {} is {status}, only an approved one can be sent",
                    self.name, self.language
                ),
            )),
        }
    }

    /// Whether the `template` object of a send gives every variable a fitting value. Uploaded media of the header are
    /// added to `used`.
    pub(crate) fn fits(
        &self,
        send: &Map<String, Value>,
        used: &mut Vec<(String, &'static str)>,
    ) -> Checked<()> {
        self.sendable()?;
        let empty = Vec::new();
        let components = match send.get("components") {
            None | Some(Value::Null) => &empty,
            Some(Value::Array(components)) => components,
            Some(_) => {
                return Err(GraphError::platform(
                    100,
                    "Param template['components'] must be an array.",
                ));
            }
        };
        let of = |kind: &str| components.iter().filter(|c| is(c, "type", kind)).collect::<Vec<_>>();
        for component in components {
            let kind = component
                .get("type")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_ascii_uppercase();
            let known = [
                "HEADER",
                "BODY",
                "BUTTON",
                "CAROUSEL",
                "LIMITED_TIME_OFFER",
                "ORDER_STATUS",
                "TAP_TARGET_CONFIGURATION",
            ];
            if !known.contains(&kind.as_str()) {
                return Err(GraphError::platform(
                    100,
                    "Param type must be one of {HEADER, BODY, BUTTON, CAROUSEL}.",
                ));
            }
        }
        self.header_fits(one(&of("header"), "header")?, used)?;
        self.body_fits(one(&of("body"), "body")?)?;
        self.buttons_fit(&of("button"))?;
        let cards =
            self.component("CAROUSEL").and_then(|c| c.get("cards")).and_then(Value::as_array);
        if let Some(cards) = cards {
            let given = one(&of("carousel"), "carousel")?;
            let given =
                given.and_then(|c| c.get("cards")).and_then(Value::as_array).map_or(0, Vec::len);
            if given != cards.len() {
                return Err(count("carousel cards", given, cards.len()));
            }
        }
        Ok(())
    }

    fn header_fits(
        &self,
        given: Option<&Value>,
        used: &mut Vec<(String, &'static str)>,
    ) -> Checked<()> {
        let given = parameters(given);
        let Some(header) = self.component("HEADER") else {
            return if given.is_empty() { Ok(()) } else { Err(count("header", given.len(), 0)) };
        };
        let format =
            header.get("format").and_then(Value::as_str).unwrap_or("TEXT").to_ascii_uppercase();
        let wanted = match format.as_str() {
            "TEXT" => {
                let text = header.get("text").and_then(Value::as_str).unwrap_or_default();
                return self.texts_fit("header", text, given, HEADER_CHARS_MAX);
            }
            "IMAGE" => "image",
            "VIDEO" | "GIF" => "video",
            "DOCUMENT" => "document",
            _ => "location",
        };
        let [only] = given else {
            if given.is_empty() {
                return Err(GraphError::new(
                    132012,
                    format!("header: Format mismatch, expected {format}, received UNKNOWN"),
                ));
            }
            return Err(count("header", given.len(), 1));
        };
        let object = only.get(wanted).and_then(Value::as_object);
        let (true, Some(object)) = (is(only, "type", wanted), object) else {
            return Err(GraphError::new(
                132012,
                format!("header: Format mismatch, expected {format}"),
            ));
        };
        if wanted == "location" {
            let complete = ["latitude", "longitude"].iter().all(|key| object.contains_key(*key));
            return if complete {
                Ok(())
            } else {
                Err(GraphError::new(131008, "header: location lacks coordinates"))
            };
        }
        used.extend(super::check::media(object, wanted)?);
        Ok(())
    }

    fn body_fits(&self, given: Option<&Value>) -> Checked<()> {
        let given = parameters(given);
        if self.category == "AUTHENTICATION" {
            let [only] = given else { return Err(count("body", given.len(), 1)) };
            let code = value_of("body", only)?;
            return if code.chars().count() <= CODE_CHARS_MAX {
                Ok(())
            } else {
                Err(GraphError::new(
                    132018,
                    format!("body: a code has at most {CODE_CHARS_MAX} characters"),
                ))
            };
        }
        let text = self
            .component("BODY")
            .and_then(|c| c.get("text"))
            .and_then(Value::as_str)
            .unwrap_or_default();
        self.texts_fit("body", text, given, BODY_CHARS_MAX)
    }

    fn texts_fit(&self, part: &str, text: &str, given: &[Value], chars_max: usize) -> Checked<()> {
        let variables = variables(text);
        if given.len() != variables.len() {
            return Err(count(part, given.len(), variables.len()));
        }
        let named = self.format == "NAMED";
        let mut filled = text.to_owned();
        let mut seen = BTreeSet::new();
        for (place, parameter) in given.iter().enumerate() {
            let value = value_of(part, parameter)?;
            let name = parameter.get("parameter_name").and_then(Value::as_str);
            let variable = match (named, name) {
                (true, Some(name)) if variables.iter().any(|v| v == name) => name,
                (true, Some(_)) => {
                    return Err(GraphError::new(
                        132000,
                        format!("{part}: the template has no such parameter_name"),
                    ));
                }
                (true, None) => {
                    return Err(GraphError::new(
                        132012,
                        format!("{part}: a named template needs parameter_name"),
                    ));
                }
                (false, Some(_)) => {
                    return Err(GraphError::new(
                        132012,
                        format!("{part}: a positional template has no parameter_name"),
                    ));
                }
                (false, None) => &variables[place],
            };
            if !seen.insert(variable.to_owned()) {
                return Err(GraphError::new(132000, format!("{part}: a parameter is given twice")));
            }
            filled = filled.replace(&format!("{{{{{variable}}}}}"), &value);
        }
        let length = filled.chars().count();
        if length > chars_max && !given.is_empty() {
            return Err(GraphError::new(
                132005,
                format!(
                    "{part}: {length} characters after filling in, expected at most {chars_max}"
                ),
            ));
        }
        Ok(())
    }

    fn buttons_fit(&self, given: &[&Value]) -> Checked<()> {
        let buttons = self.buttons();
        let mut filled = BTreeSet::new();
        for component in given {
            let index = match component.get("index") {
                Some(Value::String(text)) => text.parse::<usize>().ok(),
                Some(Value::Number(number)) => {
                    number.as_u64().and_then(|n| usize::try_from(n).ok())
                }
                _ => None,
            };
            let Some(index) = index else {
                return Err(GraphError::new(
                    131008,
                    "button: index is missing, expected the place in the template",
                ));
            };
            let Some(button) = buttons.get(index) else {
                return Err(GraphError::new(
                    132018,
                    format!(
                        "button: index {index} is not in the template, which has {} buttons",
                        buttons.len()
                    ),
                ));
            };
            if !filled.insert(index) {
                return Err(GraphError::new(
                    132018,
                    format!("button: index {index} is given twice"),
                ));
            }
            let kind =
                button.get("type").and_then(Value::as_str).unwrap_or_default().to_ascii_uppercase();
            let wanted = match kind.as_str() {
                "OTP" => "URL".to_owned(),
                kind => kind.to_owned(),
            };
            if !is(component, "sub_type", &wanted) {
                return Err(GraphError::new(
                    132018,
                    format!("button: index {index} is of type {wanted}, sub_type must be the same"),
                ));
            }
            button_value_fits(index, &wanted, parameters(Some(component)))?;
        }
        for (index, button) in buttons.iter().enumerate() {
            let dynamic = (is(button, "type", "URL")
                && button
                    .get("url")
                    .and_then(Value::as_str)
                    .is_some_and(|url| !variables(url).is_empty()))
                || is(button, "type", "OTP")
                || is(button, "type", "COPY_CODE");
            if dynamic && !filled.contains(&index) {
                let kind = button.get("type").and_then(Value::as_str).unwrap_or_default();
                return Err(GraphError::new(
                    131008,
                    format!("buttons: Button at index {index} of type {kind} requires a parameter"),
                ));
            }
        }
        Ok(())
    }
}

fn button_value_fits(index: usize, kind: &str, given: &[Value]) -> Checked<()> {
    let (parameter_type, key, chars_max) = match kind {
        "URL" => ("text", "text", URL_CHARS_MAX),
        "QUICK_REPLY" => ("payload", "payload", 256),
        "COPY_CODE" => ("coupon_code", "coupon_code", COUPON_CHARS_MAX),
        _ => return Ok(()),
    };
    let [only] = given else { return Err(count(&format!("button {index}"), given.len(), 1)) };
    if !is(only, "type", parameter_type) {
        return Err(GraphError::new(
            132012,
            format!("button {index}: expected a parameter of type {parameter_type}"),
        ));
    }
    match only.get(key).and_then(Value::as_str) {
        None | Some("") => {
            Err(GraphError::new(131008, format!("button {index}: {key} is missing")))
        }
        Some(text) if text.chars().count() > chars_max => Err(GraphError::new(
            132018,
            format!("button {index}: {key} has at most {chars_max} characters"),
        )),
        Some(text) if text.contains(['\n', '\t']) => Err(GraphError::new(
            132018,
            format!("button {index}: {key} may not have new-lines or tabs"),
        )),
        Some(_) => Ok(()),
    }
}

/// The text that a parameter stands for.
fn value_of(part: &str, parameter: &Value) -> Checked<String> {
    let kind = parameter.get("type").and_then(Value::as_str).unwrap_or_default();
    let text = match kind {
        "text" => parameter.get("text"),
        "currency" | "date_time" => {
            parameter.get(kind).and_then(|value| value.get("fallback_value"))
        }
        _ => {
            return Err(GraphError::new(
                132012,
                format!("{part}: expected a parameter of type text"),
            ));
        }
    };
    let text = match text {
        Some(Value::String(text)) if !text.is_empty() => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => return Err(GraphError::new(131008, format!("{part}: a parameter has no text"))),
    };
    if text.contains(['\n', '\t', '\r']) || text.contains("     ") {
        return Err(GraphError::new(
            132018,
            format!(
                "{part}: Param text cannot have new-line/tab characters or more than 4 consecutive spaces"
            ),
        ));
    }
    Ok(text)
}

fn parameters(component: Option<&Value>) -> &[Value] {
    component.and_then(|c| c.get("parameters")).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn one<'a>(given: &[&'a Value], part: &str) -> Checked<Option<&'a Value>> {
    match given {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        _ => Err(GraphError::new(132000, format!("{part} is given more than once"))),
    }
}

fn count(part: &str, given: usize, expected: usize) -> GraphError {
    GraphError::new(
        132000,
        format!(
            "{part}: number of localizable_params ({given}) does not match the expected number of params ({expected})"
        ),
    )
}

fn is(value: &Value, key: &str, word: &str) -> bool {
    value.get(key).and_then(Value::as_str).is_some_and(|found| found.eq_ignore_ascii_case(word))
}

/// The variables of a text in order of appearance, each once.
pub(crate) fn variables(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        rest = &rest[start + 2..];
        let Some(end) = rest.find("}}") else { break };
        let name = rest[..end].trim().to_owned();
        if !found.contains(&name) {
            found.push(name);
        }
        rest = &rest[end + 2..];
    }
    found
}

/// What a create or edit call says, in upper case where Meta prints it so.
#[derive(Debug)]
pub(crate) struct Draft {
    pub name: String,
    pub language: String,
    pub category: String,
    pub format: String,
    pub components: Vec<Value>,
    pub ttl_seconds: Option<i64>,
}

/// Judges the body of a create call.
pub(crate) fn draft(body: &Map<String, Value>) -> Checked<Draft> {
    let text = |key: &str| {
        body.get(key)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
            .ok_or_else(|| GraphError::platform(100, format!("The parameter {key} is required.")))
    };
    let name = text("name")?;
    let name_is_one =
        name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if !name_is_one || name.len() > NAME_CHARS_MAX {
        return Err(GraphError::platform(
            100,
            format!(
                "Param name must be lowercase letters, digits and underscores, at most {NAME_CHARS_MAX}."
            ),
        ));
    }
    let language = text("language")?;
    let language_is_one = (2..=10).contains(&language.len())
        && language.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
    if !language_is_one {
        return Err(GraphError::platform(
            100,
            "Param language must be a code such as en or en_GB.",
        ));
    }
    let category = category(text("category")?)?;
    let format =
        match body.get("parameter_format").and_then(Value::as_str).map(str::to_ascii_uppercase) {
            None => "POSITIONAL".to_owned(),
            Some(format) if ["POSITIONAL", "NAMED"].contains(&format.as_str()) => format,
            Some(_) => {
                return Err(GraphError::platform(
                    100,
                    "Param parameter_format must be one of {POSITIONAL, NAMED}.",
                ));
            }
        };
    let components = components(body.get("components"), &category, &format)?;
    let ttl_seconds = ttl(body.get("message_send_ttl_seconds"), &category)?;
    Ok(Draft {
        name: name.to_owned(),
        language: language.to_owned(),
        category,
        format,
        components,
        ttl_seconds,
    })
}

pub(crate) fn category(word: &str) -> Checked<String> {
    let word = word.to_ascii_uppercase();
    if CATEGORIES.contains(&word.as_str()) {
        return Ok(word);
    }
    Err(GraphError::platform(
        100,
        format!("Param category must be one of {{{}}}.", CATEGORIES.join(", ")),
    ))
}

pub(crate) fn ttl(value: Option<&Value>, category: &str) -> Checked<Option<i64>> {
    let seconds = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_i64(),
        Some(Value::String(text)) => text.parse().ok(),
        Some(_) => None,
    };
    let allowed = match category {
        "AUTHENTICATION" => 30..=900,
        "UTILITY" => 30..=43_200,
        _ => 43_200..=2_592_000,
    };
    match seconds {
        Some(seconds)
            if allowed.contains(&seconds) || (seconds == -1 && category != "MARKETING") =>
        {
            Ok(Some(seconds))
        }
        _ => Err(GraphError::platform(
            100,
            format!(
                "Param message_send_ttl_seconds must be {} to {} for {category}.",
                allowed.start(),
                allowed.end()
            ),
        )),
    }
}

/// Judges components and gives them back with words in upper case.
pub(crate) fn components(
    value: Option<&Value>,
    category: &str,
    format: &str,
) -> Checked<Vec<Value>> {
    let given = value
        .and_then(Value::as_array)
        .filter(|list| !list.is_empty())
        .ok_or_else(|| GraphError::platform(100, "The parameter components is required."))?;
    let mut components = Vec::with_capacity(given.len());
    let mut kinds = BTreeSet::new();
    for component in given {
        let mut component = component
            .as_object()
            .cloned()
            .ok_or_else(|| GraphError::platform(100, "Param components must hold objects."))?;
        upper(&mut component, "type");
        upper(&mut component, "format");
        let kind = component.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        if !kinds.insert(kind.clone()) {
            return Err(GraphError::template(
                2388043,
                format!("The component {kind} is given twice"),
            ));
        }
        match kind.as_str() {
            "HEADER" => header(&component, format)?,
            "BODY" => body(&component, category, format)?,
            "FOOTER" => footer(&component)?,
            "BUTTONS" => buttons(&mut component)?,
            "CAROUSEL" | "LIMITED_TIME_OFFER" => {}
            _ => {
                return Err(GraphError::platform(
                    100,
                    "Param type must be one of {HEADER, BODY, FOOTER, BUTTONS, CAROUSEL, LIMITED_TIME_OFFER}.",
                ));
            }
        }
        components.push(Value::Object(component));
    }
    if !kinds.contains("BODY") {
        return Err(GraphError::template(2388043, "A template needs a component of type BODY"));
    }
    Ok(components)
}

fn header(component: &Map<String, Value>, format: &str) -> Checked<()> {
    let kind = component.get("format").and_then(Value::as_str).unwrap_or_default();
    if kind == "LOCATION" {
        return Ok(());
    }
    if MEDIA_FORMATS.contains(&kind) {
        let handle =
            component.get("example").and_then(|e| e.get("header_handle")).and_then(Value::as_array);
        return if handle.is_some_and(|list| list.len() == 1) {
            Ok(())
        } else {
            Err(GraphError::template(
                2388043,
                "A media header needs example.header_handle with one uploaded sample",
            ))
        };
    }
    if kind != "TEXT" {
        return Err(GraphError::template(
            2388047,
            "A header's format is one of TEXT, IMAGE, VIDEO, DOCUMENT, GIF and LOCATION",
        ));
    }
    let text = component.get("text").and_then(Value::as_str).unwrap_or_default();
    if text.is_empty() || text.chars().count() > HEADER_CHARS_MAX || text.contains('\n') {
        return Err(GraphError::template(
            2388047,
            format!("A header has 1 to {HEADER_CHARS_MAX} characters on one line"),
        ));
    }
    let found = variables(text);
    if found.len() > 1 {
        return Err(GraphError::template(2388047, "A header has at most one variable"));
    }
    variables_are_right(&found, format)?;
    examples("header", component, &found, format)
}

fn body(component: &Map<String, Value>, category: &str, format: &str) -> Checked<()> {
    if category == "AUTHENTICATION" {
        return Ok(());
    }
    let text = component.get("text").and_then(Value::as_str).unwrap_or_default();
    if text.trim().is_empty() || text.chars().count() > BODY_CHARS_MAX {
        return Err(GraphError::template(
            2388040,
            format!("A body has 1 to {BODY_CHARS_MAX} characters"),
        ));
    }
    let found = variables(text);
    variables_are_right(&found, format)?;
    let trimmed = text.trim();
    if trimmed.starts_with("{{") || trimmed.ends_with("}}") {
        return Err(GraphError::template(
            2388299,
            "Variables can't be at the start or end of the template",
        ));
    }
    let mut words = text.to_owned();
    for variable in &found {
        words = words.replace(&format!("{{{{{variable}}}}}"), " ");
    }
    let words =
        words.split_whitespace().filter(|word| word.chars().any(char::is_alphanumeric)).count();
    if text.contains("}}{{") || (!found.is_empty() && words < found.len()) {
        return Err(GraphError::template(
            2388293,
            "This template has too many variables for its length",
        ));
    }
    examples("body", component, &found, format)
}

fn footer(component: &Map<String, Value>) -> Checked<()> {
    let Some(text) = component.get("text").and_then(Value::as_str) else {
        let minutes = component.get("code_expiration_minutes").and_then(Value::as_i64);
        return match minutes {
            Some(1..=90) => Ok(()),
            _ => Err(GraphError::template(
                2388073,
                "A footer needs text, or code_expiration_minutes from 1 to 90",
            )),
        };
    };
    if text.is_empty() || text.chars().count() > FOOTER_CHARS_MAX || !variables(text).is_empty() {
        return Err(GraphError::template(
            2388073,
            format!("A footer has 1 to {FOOTER_CHARS_MAX} characters and no variables"),
        ));
    }
    Ok(())
}

fn buttons(component: &mut Map<String, Value>) -> Checked<()> {
    let wrong = |text: String| Err(GraphError::template(2388039, text));
    let Some(Value::Array(buttons)) = component.get_mut("buttons") else {
        return wrong("BUTTONS needs the list buttons".to_owned());
    };
    if !(1..=BUTTONS_MAX).contains(&buttons.len()) {
        return wrong(format!("A template has 1 to {BUTTONS_MAX} buttons"));
    }
    let mut kinds = Vec::new();
    for button in buttons {
        let Value::Object(button) = button else {
            return wrong("Each button is an object".to_owned());
        };
        upper(button, "type");
        let kind = button.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        if !BUTTON_TYPES.contains(&kind.as_str()) {
            return wrong(format!("A button's type is one of {}", BUTTON_TYPES.join(", ")));
        }
        let label = button.get("text").and_then(Value::as_str).unwrap_or_default();
        let needs_label = ["QUICK_REPLY", "URL", "PHONE_NUMBER"].contains(&kind.as_str());
        if (needs_label && label.is_empty()) || label.chars().count() > LABEL_CHARS_MAX {
            return wrong(format!("A button's label has 1 to {LABEL_CHARS_MAX} characters"));
        }
        if kind == "URL" {
            let target = button.get("url").and_then(Value::as_str).unwrap_or_default();
            let found = variables(target);
            let web = target.starts_with("https://") || target.starts_with("http://");
            if !web || target.chars().count() > URL_CHARS_MAX {
                return wrong(format!(
                    "A URL button has a web address of at most {URL_CHARS_MAX} characters"
                ));
            }
            if found.len() > 1 || (found.len() == 1 && !target.ends_with("}}")) {
                return wrong("A URL has at most one variable, at its end".to_owned());
            }
            if found.len() == 1 && button.get("example").is_none_or(Value::is_null) {
                return Err(GraphError::template(
                    2388043,
                    "A URL with a variable needs an example",
                ));
            }
        }
        if kind == "PHONE_NUMBER"
            && super::address::number(
                button.get("phone_number").and_then(Value::as_str).unwrap_or_default(),
            )
            .is_none()
        {
            return wrong("A PHONE_NUMBER button has a phone number with country code".to_owned());
        }
        kinds.push(kind);
    }
    for (kind, max) in [("URL", 2), ("PHONE_NUMBER", 1), ("COPY_CODE", 1), ("OTP", 1), ("FLOW", 1)]
    {
        if kinds.iter().filter(|found| *found == kind).count() > max {
            return wrong(format!("A template has at most {max} buttons of type {kind}"));
        }
    }
    let quick: Vec<bool> = kinds.iter().map(|kind| kind == "QUICK_REPLY").collect();
    if quick.windows(2).filter(|pair| pair[0] != pair[1]).count() > 1 {
        return wrong("Quick replies stand together, not between other buttons".to_owned());
    }
    Ok(())
}

fn variables_are_right(found: &[String], format: &str) -> Checked<()> {
    if format == "NAMED" {
        let name_is_one = |name: &String| {
            name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        if found
            .iter()
            .all(|name| !name.is_empty() && name_is_one(name) && name.parse::<u32>().is_err())
        {
            return Ok(());
        }
        return Err(GraphError::template(
            2388072,
            "Named variables are lowercase letters, digits and underscores",
        ));
    }
    let in_order = found.iter().enumerate().all(|(place, name)| *name == (place + 1).to_string());
    if in_order {
        return Ok(());
    }
    Err(GraphError::template(
        2388072,
        "Positional variables are {{1}}, {{2}} and so on, without gaps",
    ))
}

fn examples(
    part: &str,
    component: &Map<String, Value>,
    found: &[String],
    format: &str,
) -> Checked<()> {
    if found.is_empty() {
        return Ok(());
    }
    let example = component.get("example");
    let given = if format == "NAMED" {
        let list = example
            .and_then(|e| e.get(format!("{part}_text_named_params")))
            .and_then(Value::as_array);
        let has =
            |name: &String| list.is_some_and(|list| list.iter().any(|e| is(e, "param_name", name)));
        found.iter().filter(|name| has(name)).count()
    } else {
        let list = example.and_then(|e| e.get(format!("{part}_text")));
        let list = if part == "body" { list.and_then(|rows| rows.get(0)) } else { list };
        list.and_then(Value::as_array).map_or(0, Vec::len)
    };
    if given == found.len() {
        return Ok(());
    }
    Err(GraphError::template(
        2388043,
        format!(
            "The {part} has {} variables and {given} examples, each variable needs one",
            found.len()
        ),
    ))
}

fn upper(object: &mut Map<String, Value>, key: &str) {
    if let Some(Value::String(word)) = object.get_mut(key) {
        *word = word.to_ascii_uppercase();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn created(value: Value) -> Checked<Template> {
        let draft = draft(value.as_object().expect("an object"))?;
        Ok(Template {
            id: 1,
            waba_id: "301".to_owned(),
            name: draft.name,
            language: draft.language,
            category: draft.category,
            format: draft.format,
            components: draft.components,
            status: "APPROVED".to_owned(),
            quality: "UNKNOWN".to_owned(),
            ttl_seconds: draft.ttl_seconds,
            rejected_reason: None,
            previous_category: None,
            created_ms: 0,
        })
    }

    fn order_update() -> Value {
        json!({"name":"order_update","language":"en_GB","category":"utility","components":[
            {"type":"body","text":"Hello {{1}}, parcel {{2}} leaves today.","example":{"body_text":[["Ada","A-17"]]}},
            {"type":"BUTTONS","buttons":[
                {"type":"QUICK_REPLY","text":"Stop"},
                {"type":"url","text":"Track","url":"https://example.org/t/{{1}}","example":["A-17"]}]}]})
    }

    fn fit(template: &Template, components: Value) -> u32 {
        let send = json!({"name":template.name,"language":{"code":template.language},"components":components});
        match template.fits(send.as_object().expect("an object"), &mut Vec::new()) {
            Ok(()) => 0,
            Err(error) => error.code,
        }
    }

    fn text(value: &str) -> Value {
        json!({"type":"text","text":value})
    }

    #[test]
    fn a_send_must_fill_each_variable_with_a_clean_value() {
        let template = created(order_update()).expect("valid");
        let suffix =
            json!({"type":"button","sub_type":"url","index":"1","parameters":[text("A-17")]});
        let body = |values: Vec<Value>| json!([{"type":"body","parameters":values}, suffix]);
        assert_eq!(fit(&template, body(vec![text("Ada"), text("A-17")])), 0);
        assert_eq!(fit(&template, body(vec![text("Ada")])), 132000);
        assert_eq!(fit(&template, body(vec![text("Ada"), text("a\nb")])), 132018);
        assert_eq!(fit(&template, body(vec![text("Ada"), text("a     b")])), 132018);
        assert_eq!(fit(&template, body(vec![text("Ada"), text("")])), 131008);
        assert_eq!(
            fit(&template, body(vec![text("Ada"), json!({"type":"image","image":{"id":"1"}})])),
            132012
        );
        assert_eq!(fit(&template, body(vec![text("Ada"), text(&"x".repeat(1024))])), 132005);
        let named = json!({"type":"text","text":"Ada","parameter_name":"first"});
        assert_eq!(fit(&template, body(vec![named, text("b")])), 132012);
        assert_eq!(
            fit(&template, json!([{"type":"body","parameters":[text("Ada"), text("b")]}])),
            131008
        );
    }

    #[test]
    fn buttons_are_addressed_by_their_place_in_the_template() {
        let template = created(order_update()).expect("valid");
        let with = |button: Value| {
            fit(
                &template,
                json!([{"type":"body","parameters":[text("a"), text("b")]}, button,
                {"type":"button","sub_type":"url","index":1,"parameters":[text("s")]}]),
            )
        };
        let quick = |index: u32, sub_type: &str| json!({"type":"button","sub_type":sub_type,"index":index,"parameters":[{"type":"payload","payload":"x"}]});
        assert_eq!(with(quick(0, "quick_reply")), 0);
        assert_eq!(with(quick(0, "url")), 132018);
        assert_eq!(with(quick(5, "quick_reply")), 132018);
        assert_eq!(
            with(
                json!({"type":"button","sub_type":"quick_reply","index":0,"parameters":[text("x")]})
            ),
            132012
        );
    }

    #[test]
    fn named_templates_take_their_values_by_name_in_any_order() {
        let template = created(json!({"name":"n","language":"en","category":"UTILITY","parameter_format":"NAMED",
            "components":[{"type":"BODY","text":"Dear {{first}} {{last}}, we wrote to you.","example":{
                "body_text_named_params":[{"param_name":"first","example":"a"},{"param_name":"last","example":"b"}]}}]}))
        .expect("valid");
        let named = |name: &str| json!({"type":"text","text":"x","parameter_name":name});
        let body =
            |values: Vec<Value>| fit(&template, json!([{"type":"body","parameters":values}]));
        assert_eq!(body(vec![named("last"), named("first")]), 0);
        assert_eq!(body(vec![named("last"), named("last")]), 132000);
        assert_eq!(body(vec![named("last"), named("middle")]), 132000);
        assert_eq!(body(vec![text("a"), text("b")]), 132012);
    }

    #[test]
    fn a_media_header_must_be_given_in_its_format() {
        let template =
            created(json!({"name":"h","language":"en","category":"MARKETING","components":[
            {"type":"HEADER","format":"IMAGE","example":{"header_handle":["4::x"]}},
            {"type":"BODY","text":"Our spring offer"}]}))
            .expect("valid");
        let header =
            |kind: &str| json!([{"type":"header","parameters":[{"type":kind,kind:{"id":"604"}}]}]);
        assert_eq!(fit(&template, header("image")), 0);
        assert_eq!(fit(&template, header("video")), 132012);
        assert_eq!(fit(&template, json!([])), 132012);
    }

    #[test]
    fn the_code_of_an_authentication_template_goes_in_twice() {
        let template =
            created(json!({"name":"otp","language":"en","category":"AUTHENTICATION","components":[
            {"type":"BODY","add_security_recommendation":true},
            {"type":"BUTTONS","buttons":[{"type":"OTP","otp_type":"COPY_CODE"}]}]}))
            .expect("valid");
        let body = json!({"type":"body","parameters":[text("123456")]});
        let button =
            json!({"type":"button","sub_type":"url","index":"0","parameters":[text("123456")]});
        assert_eq!(fit(&template, json!([body, button])), 0);
        assert_eq!(fit(&template, json!([body])), 131008);
        assert_eq!(fit(&template, json!([button])), 132000);
    }

    #[test]
    fn the_status_decides_before_the_values_do() {
        let mut template = created(order_update()).expect("valid");
        for (status, code) in
            [("PENDING", 132001), ("REJECTED", 132001), ("PAUSED", 132015), ("DISABLED", 132016)]
        {
            status.clone_into(&mut template.status);
            assert_eq!(fit(&template, json!([])), code, "{status}");
        }
    }

    #[test]
    fn what_meta_rejects_at_submission_is_rejected_with_its_subcode() {
        let with = |body: Value| {
            let value =
                json!({"name":"x","language":"en","category":"UTILITY","components":[body]});
            created(value).map(|_| ()).map_err(|error| (error.code, error.subcode))
        };
        let body = |text: &str, examples: usize| {
            with(json!({"type":"BODY","text":text,"example":{"body_text":[vec!["x"; examples]]}}))
        };
        assert_eq!(body("Hello {{1}}, how are you?", 1), Ok(()));
        assert_eq!(body("{{1}} is here", 1), Err((100, Some(2388299))));
        assert_eq!(body("This is {{1}}", 1), Err((100, Some(2388299))));
        assert_eq!(body("Hello {{2}} there", 1), Err((100, Some(2388072))));
        assert_eq!(body("Hello {{1}} there", 0), Err((100, Some(2388043))));
        assert_eq!(body("Hi {{1}}, {{2}}, {{3}}, ok", 3), Err((100, Some(2388293))));
        assert_eq!(body(&"x".repeat(1025), 0), Err((100, Some(2388040))));
        assert_eq!(with(json!({"type":"FOOTER","text":"only"})), Err((100, Some(2388043))));
        let name = json!({"name":"Bad Name","language":"en","category":"UTILITY","components":[]});
        assert_eq!(created(name).map(|_| ()).map_err(|e| e.code), Err(100));
    }

    #[test]
    fn quick_replies_stand_together() {
        let with = |kinds: &[&str]| {
            let buttons: Vec<Value> = kinds
                .iter()
                .map(|kind| json!({"type":kind,"text":"x","url":"https://example.org","phone_number":"+447700900123"}))
                .collect();
            created(json!({"name":"x","language":"en","category":"UTILITY","components":[
                {"type":"BODY","text":"x"},{"type":"BUTTONS","buttons":buttons}]}))
            .is_ok()
        };
        assert!(with(&["QUICK_REPLY", "QUICK_REPLY", "URL"]));
        assert!(!with(&["QUICK_REPLY", "URL", "QUICK_REPLY"]));
        assert!(!with(&["URL", "URL", "URL"]));
    }
}
