//! WhatsApp's components array, understood: what a template shows, which values a send has to fill in, and what
//! WhatsApp would refuse. Reading is lenient, because templates that exist at WhatsApp may hold kinds that are newer
//! than this code; [`TemplateComponents::check`] is strict, because a refusal before review beats one after a day.

mod check;
mod fill;

use serde_json::{Map, Value};

pub use fill::*;

/// More than any template has; keeps what is parsed of an input small.
const MAX_COMPONENTS: usize = 50;
/// What WhatsApp's own copy-code buttons of authentication templates point to once the template was read back.
const OTP_URL_PREFIX: &str = "https://www.whatsapp.com/otp/";

/// What is wrong, where, in a sentence that says what would be right. Never holds a parameter's value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct ComponentsError {
    /// A path into the input: `components[1].text`, `parameters.body.1`.
    pub field: String,
    pub problem: String,
}

impl ComponentsError {
    fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}

/// A template's components, in the order in which they were given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TemplateComponents {
    components: Vec<Component>,
}

#[derive(Clone, Debug, PartialEq)]
enum Component {
    Header(Header),
    Body(Body),
    Footer(Footer),
    Buttons(Vec<Button>),
    Carousel(Vec<Vec<Component>>),
    Offer(Offer),
    /// A kind this version does not know; upper case.
    Other(String),
}

#[derive(Clone, Debug, PartialEq)]
enum Header {
    Text { text: Text, examples: Examples },
    Media { media: Media, has_example: bool },
    Location,
    Product,
    Other(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Media {
    Image,
    Video,
    Document,
    /// Marketing messages only; an mp4 file.
    Gif,
}

impl Media {
    fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Video => "video",
            Self::Document => "document",
            Self::Gif => "gif",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Body {
    /// `None`: WhatsApp's preset text, in authentication templates.
    text: Option<Text>,
    examples: Examples,
    security_recommendation: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Footer {
    text: Option<Text>,
    code_expiration_minutes: Option<Value>,
}

#[derive(Clone, Debug, PartialEq)]
struct Button {
    kind: ButtonKind,
    label: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
enum ButtonKind {
    QuickReply,
    Url {
        url: Text,
        has_example: bool,
    },
    Phone {
        number: String,
    },
    CopyCode {
        example: Option<String>,
    },
    /// `otp_type: None`: read back from WhatsApp as a URL button.
    Otp {
        otp_type: Option<String>,
        has_apps: bool,
    },
    Flow,
    Catalog,
    Products,
    /// Needs no value when it is sent, as far as this version knows; upper case.
    Other(String),
}

#[derive(Clone, Debug, PartialEq)]
struct Offer {
    text: String,
    has_expiration: bool,
}

/// The examples WhatsApp's reviewers are shown.
#[derive(Clone, Debug, Default, PartialEq)]
struct Examples {
    positional: usize,
    named: Vec<String>,
}

/// Text with `{{variables}}`, taken apart once so that filling it in can never expand what was filled in.
#[derive(Clone, Debug, PartialEq)]
struct Text {
    raw: String,
    parts: Vec<TextPart>,
}

#[derive(Clone, Debug, PartialEq)]
enum TextPart {
    Literal(String),
    Variable(String),
}

impl Text {
    fn parse(raw: &str) -> Self {
        let mut parts = vec![];
        let mut literal = String::new();
        let mut rest = raw;
        while let Some(start) = rest.find("{{") {
            let inner = &rest[start + 2..];
            let end = inner.find(['{', '}']).filter(|end| inner[*end..].starts_with("}}"));
            let name = end.map(|end| inner[..end].trim()).filter(|name| !name.is_empty());
            match (end, name) {
                (Some(end), Some(name)) => {
                    literal.push_str(&rest[..start]);
                    if !literal.is_empty() {
                        parts.push(TextPart::Literal(std::mem::take(&mut literal)));
                    }
                    parts.push(TextPart::Variable(name.to_owned()));
                    rest = &inner[end + 2..];
                }
                _ => {
                    literal.push_str(&rest[..=start]);
                    rest = &rest[start + 1..];
                }
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(TextPart::Literal(literal));
        }
        Self { raw: raw.to_owned(), parts }
    }

    /// As they stand in the text, repetitions included.
    fn occurrences(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            TextPart::Variable(name) => Some(name.as_str()),
            TextPart::Literal(_) => None,
        })
    }

    /// Each once: positional ones by number, named ones as they appear.
    fn variables(&self) -> Vec<&str> {
        let mut variables: Vec<&str> = vec![];
        for name in self.occurrences() {
            if !variables.contains(&name) {
                variables.push(name);
            }
        }
        if variables.iter().all(|name| is_positional(name)) {
            variables.sort_by_key(|name| name.parse::<u64>().unwrap_or(u64::MAX));
        }
        variables
    }

    fn fill(&self, value: impl Fn(&str) -> Option<String>) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                TextPart::Literal(text) => text.clone(),
                TextPart::Variable(name) => {
                    value(name).unwrap_or_else(|| format!("{{{{{name}}}}}"))
                }
            })
            .collect()
    }

    fn chars(&self) -> usize {
        self.raw.chars().count()
    }
}

fn is_positional(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit())
}

impl TemplateComponents {
    /// Reads WhatsApp's components array, any case. Kinds and fields it does not know are left alone.
    ///
    /// # Errors
    /// [`ComponentsError`] where it is no array of objects with a `type`, or a known part is not of its type.
    pub fn parse(components: &Value) -> Result<Self, ComponentsError> {
        Ok(Self { components: parse_list(components, "components", true)? })
    }

    fn header(&self) -> Option<&Header> {
        header_of(&self.components)
    }

    fn body(&self) -> Option<&Body> {
        body_of(&self.components)
    }

    fn footer(&self) -> Option<&Footer> {
        self.components.iter().find_map(|component| match component {
            Component::Footer(footer) => Some(footer),
            _ => None,
        })
    }

    fn offer(&self) -> Option<&Offer> {
        self.components.iter().find_map(|component| match component {
            Component::Offer(offer) => Some(offer),
            _ => None,
        })
    }

    fn cards(&self) -> &[Vec<Component>] {
        let cards = self.components.iter().find_map(|component| match component {
            Component::Carousel(cards) => Some(cards.as_slice()),
            _ => None,
        });
        cards.unwrap_or_default()
    }

    /// It hands out a one-time code, so the code goes into the body and the button.
    fn is_otp(&self) -> bool {
        buttons_of(&self.components)
            .iter()
            .any(|button| matches!(button.kind, ButtonKind::Otp { .. }))
    }
}

fn header_of(components: &[Component]) -> Option<&Header> {
    components.iter().find_map(|component| match component {
        Component::Header(header) => Some(header),
        _ => None,
    })
}

fn body_of(components: &[Component]) -> Option<&Body> {
    components.iter().find_map(|component| match component {
        Component::Body(body) => Some(body),
        _ => None,
    })
}

fn buttons_of(components: &[Component]) -> &[Button] {
    let buttons = components.iter().find_map(|component| match component {
        Component::Buttons(buttons) => Some(buttons.as_slice()),
        _ => None,
    });
    buttons.unwrap_or_default()
}

impl TemplateComponents {
    /// Whether a quick reply of this template, its cards included, has this label.
    pub fn has_quick_reply(&self, label: &str) -> bool {
        fn any(components: &[Component], label: &str) -> bool {
            let is_meant = |button: &Button| {
                button.kind == ButtonKind::QuickReply && button.label.as_deref() == Some(label)
            };
            components.iter().any(|component| match component {
                Component::Buttons(buttons) => buttons.iter().any(is_meant),
                Component::Carousel(cards) => cards.iter().any(|card| any(card, label)),
                _ => false,
            })
        }
        any(&self.components, label)
    }
}

type Object = Map<String, Value>;

/// Cards hold components but no carousel, which is what keeps this from nesting for ever.
fn parse_list(
    value: &Value,
    path: &str,
    cards_allowed: bool,
) -> Result<Vec<Component>, ComponentsError> {
    objects(Some(value), path)?
        .into_iter()
        .enumerate()
        .map(|(i, object)| parse_component(object, &format!("{path}[{i}]"), cards_allowed))
        .collect()
}

fn parse_component(
    object: &Object,
    path: &str,
    cards_allowed: bool,
) -> Result<Component, ComponentsError> {
    let Some(kind) = upper(object, "type") else {
        return Err(ComponentsError::new(
            format!("{path}.type"),
            "give a type such as HEADER, BODY, FOOTER or BUTTONS",
        ));
    };
    Ok(match kind.as_str() {
        "HEADER" => Component::Header(parse_header(object, path)?),
        "BODY" => Component::Body(Body {
            text: text(object, "text", path)?.map(Text::parse),
            examples: examples(object, "body_text"),
            security_recommendation: flag(object, "add_security_recommendation"),
        }),
        "FOOTER" => Component::Footer(Footer {
            text: text(object, "text", path)?.map(Text::parse),
            code_expiration_minutes: object
                .get("code_expiration_minutes")
                .filter(|value| !value.is_null())
                .cloned(),
        }),
        "BUTTONS" => {
            let path = format!("{path}.buttons");
            let buttons = objects(object.get("buttons"), &path)?;
            let parsed = buttons
                .into_iter()
                .enumerate()
                .map(|(i, object)| parse_button(object, &format!("{path}[{i}]")));
            Component::Buttons(parsed.collect::<Result<_, _>>()?)
        }
        "CAROUSEL" if cards_allowed => {
            let path = format!("{path}.cards");
            let cards = objects(object.get("cards"), &path)?;
            let parsed = cards.into_iter().enumerate().map(|(i, card)| {
                parse_list(
                    card.get("components").unwrap_or(&Value::Null),
                    &format!("{path}[{i}].components"),
                    false,
                )
            });
            Component::Carousel(parsed.collect::<Result<_, _>>()?)
        }
        "LIMITED_TIME_OFFER" => {
            let offer =
                object.get("limited_time_offer").and_then(Value::as_object).unwrap_or(object);
            Component::Offer(Offer {
                text: text(offer, "text", &format!("{path}.limited_time_offer"))?
                    .unwrap_or_default()
                    .to_owned(),
                has_expiration: flag(offer, "has_expiration"),
            })
        }
        _ => Component::Other(kind),
    })
}

fn parse_header(object: &Object, path: &str) -> Result<Header, ComponentsError> {
    let format = upper(object, "format").unwrap_or_else(|| "TEXT".to_owned());
    let media = match format.as_str() {
        "TEXT" => {
            let text = Text::parse(text(object, "text", path)?.unwrap_or_default());
            return Ok(Header::Text { text, examples: examples(object, "header_text") });
        }
        "IMAGE" => Media::Image,
        "VIDEO" => Media::Video,
        "DOCUMENT" => Media::Document,
        "GIF" => Media::Gif,
        "LOCATION" => return Ok(Header::Location),
        "PRODUCT" => return Ok(Header::Product),
        _ => return Ok(Header::Other(format)),
    };
    let handles = object.get("example").and_then(|example| example.get("header_handle"));
    Ok(Header::Media { media, has_example: handles.is_some_and(has_content) })
}

fn parse_button(object: &Object, path: &str) -> Result<Button, ComponentsError> {
    let Some(kind) = upper(object, "type") else {
        return Err(ComponentsError::new(
            format!("{path}.type"),
            "give a type such as QUICK_REPLY, URL or PHONE_NUMBER",
        ));
    };
    let example = object.get("example");
    let kind = match kind.as_str() {
        "QUICK_REPLY" => ButtonKind::QuickReply,
        "URL" => {
            let url = text(object, "url", path)?.unwrap_or_default();
            if url.starts_with(OTP_URL_PREFIX) {
                ButtonKind::Otp { otp_type: None, has_apps: true }
            } else {
                ButtonKind::Url {
                    url: Text::parse(url),
                    has_example: example.is_some_and(has_content),
                }
            }
        }
        "PHONE_NUMBER" => ButtonKind::Phone {
            number: text(object, "phone_number", path)?.unwrap_or_default().to_owned(),
        },
        "COPY_CODE" => {
            // WhatsApp writes it both as text and as an array of one.
            let first = example.map(|example| example.get(0).unwrap_or(example));
            ButtonKind::CopyCode { example: first.and_then(Value::as_str).map(str::to_owned) }
        }
        "OTP" => {
            let has_both = |app: &Value| {
                ["package_name", "signature_hash"].iter().all(|key| app[*key].is_string())
            };
            let apps = object.get("supported_apps").and_then(Value::as_array);
            let has_apps = apps.is_some_and(|apps| !apps.is_empty() && apps.iter().all(has_both))
                || ["package_name", "signature_hash"]
                    .iter()
                    .all(|key| object.get(*key).is_some_and(Value::is_string));
            ButtonKind::Otp {
                otp_type: Some(upper(object, "otp_type").unwrap_or_default()),
                has_apps,
            }
        }
        "FLOW" => ButtonKind::Flow,
        "CATALOG" => ButtonKind::Catalog,
        "MPM" => ButtonKind::Products,
        _ => ButtonKind::Other(kind),
    };
    Ok(Button { kind, label: text(object, "text", path)?.map(str::to_owned) })
}

fn objects<'a>(value: Option<&'a Value>, path: &str) -> Result<Vec<&'a Object>, ComponentsError> {
    let Some(list) = value.and_then(Value::as_array) else {
        return Err(ComponentsError::new(path, "use an array of objects"));
    };
    if list.len() > MAX_COMPONENTS {
        return Err(ComponentsError::new(path, format!("use at most {MAX_COMPONENTS} entries")));
    }
    let each = list.iter().enumerate().map(|(i, entry)| {
        entry.as_object().ok_or_else(|| {
            ComponentsError::new(format!("{path}[{i}]"), "use an object with a type")
        })
    });
    each.collect()
}

fn upper(object: &Object, key: &str) -> Option<String> {
    object
        .get(key)
        .and_then(Value::as_str)
        .map(|text| text.trim().to_ascii_uppercase())
        .filter(|text| !text.is_empty())
}

fn text<'a>(object: &'a Object, key: &str, path: &str) -> Result<Option<&'a str>, ComponentsError> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(ComponentsError::new(format!("{path}.{key}"), "use text")),
    }
}

fn flag(object: &Object, key: &str) -> bool {
    object.get(key).and_then(Value::as_bool).unwrap_or(false)
}

fn has_content(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.first().is_some_and(has_content),
        Value::String(text) => !text.trim().is_empty(),
        _ => false,
    }
}

/// `header_text: ["x"]`, `body_text: [["x", "y"]]` and `…_named_params: [{param_name, example}]`.
fn examples(object: &Object, key: &str) -> Examples {
    let Some(example) = object.get("example") else { return Examples::default() };
    let list = example.get(key).and_then(Value::as_array);
    let row = list.map(|list| list.first().and_then(Value::as_array).unwrap_or(list));
    let named = example.get(format!("{key}_named_params")).and_then(Value::as_array);
    Examples {
        positional: row.map_or(0, |row| row.iter().filter(|value| has_content(value)).count()),
        named: named
            .into_iter()
            .flatten()
            .filter(|entry| entry.get("example").is_some_and(has_content))
            .filter_map(|entry| entry.get("param_name")?.as_str().map(str::to_owned))
            .collect(),
    }
}

#[cfg(test)]
mod tests;
