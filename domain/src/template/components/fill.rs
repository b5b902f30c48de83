//! A template's slots, and what becomes of the values given for them: names brought into one form, values checked, the
//! send call's components, and the text a person sees.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::check::{MAX_BODY_CHARS, MAX_CARD_BODY_CHARS, MAX_HEADER_CHARS, MAX_URL_CHARS};
use super::{Body, ButtonKind, Component, ComponentsError, Header, Media, Object, Text};
use super::{TemplateComponents, body_of, buttons_of, header_of};
use crate::message::ParameterValue;

/// Meta: 15, and 20 since December 2025.
const MAX_COUPON_CHARS: usize = 20;
const MAX_CODE_CHARS: usize = 15;
const MAX_PAYLOAD_CHARS: usize = 256;
/// WhatsApp takes up to four spaces in a row.
const MAX_CONSECUTIVE_SPACES: usize = 4;
/// How much of a caller's own key an error repeats.
const MAX_KEY_CHARS: usize = 100;
/// Meta's own default for a flow without a token.
const DEFAULT_FLOW_TOKEN: &str = "unused";
const CODE_SLOT: &str = "body.1";

/// One place of a template that a send fills in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// `header.image`, `body.1`, `body.first_name`, `button.0.url`, `card.2.body.1` …
    pub name: String,
    pub kind: SlotKind,
    pub required: bool,
}

/// Which values a slot takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotKind {
    /// Text, or `{"currency": …}` or `{"date_time": …}`.
    Text,
    /// A one-time code.
    Code,
    Image,
    Video,
    Document,
    Gif,
    Location,
    Product,
    /// What follows the URL in the template.
    UrlSuffix,
    /// What comes back when the button is tapped.
    Payload,
    CouponCode,
    /// A flow's token, or `{"flow_token", "flow_action_data"}`.
    Flow,
    /// The thumbnail's product, or `{"thumbnail_product_retailer_id"}`.
    Catalog,
    /// `{"thumbnail_product_retailer_id", "sections"}`.
    Products,
    /// Milliseconds since 1970.
    ExpirationTimeMs,
}

impl SlotKind {
    fn media(self) -> Option<Media> {
        match self {
            Self::Image => Some(Media::Image),
            Self::Video => Some(Media::Video),
            Self::Document => Some(Media::Document),
            Self::Gif => Some(Media::Gif),
            _ => None,
        }
    }

    fn of(media: Media) -> Self {
        match media {
            Media::Image => Self::Image,
            Media::Video => Self::Video,
            Media::Document => Self::Document,
            Media::Gif => Self::Gif,
        }
    }

    /// What would be right, for errors.
    fn expected(self) -> &'static str {
        match self {
            Self::Text => {
                "use text, {\"currency\": {\"fallback_value\", \"code\", \"amount_1000\"}} or {\"date_time\": {\"fallback_value\"}}"
            }
            Self::Code | Self::UrlSuffix | Self::Payload | Self::CouponCode => "use text",
            Self::Image | Self::Video | Self::Gif => {
                "use {\"link\": \"https://…\"} or {\"id\": \"…\"} of uploaded media"
            }
            Self::Document => {
                "use {\"link\": \"https://…\"} or {\"id\": \"…\"} of uploaded media, with an optional filename"
            }
            Self::Location => {
                "use {\"latitude\", \"longitude\", \"name\", \"address\"} in decimal degrees"
            }
            Self::Product => "use {\"product_retailer_id\", \"catalog_id\"}",
            Self::Flow => "use a flow token, or {\"flow_token\", \"flow_action_data\"}",
            Self::Catalog => "use a product's retailer id, or {\"thumbnail_product_retailer_id\"}",
            Self::Products => "use {\"thumbnail_product_retailer_id\", \"sections\"}",
            Self::ExpirationTimeMs => "use milliseconds since 1970 as digits",
        }
    }
}

/// Why a value cannot be sent. Never holds the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueProblem {
    #[error("{what} has {chars} characters, use at most {max}")]
    TooLong {
        /// A slot, or the whole `header` or `body` as filled in.
        what: String,
        chars: usize,
        max: usize,
    },
    #[error("{slot} is empty")]
    Empty { slot: String },
    #[error("{slot}: {expected}")]
    WrongKind { slot: String, expected: &'static str },
}

/// Why a send call's `components` are not those of the template. Never holds a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    #[error("{path}: {given} given, {expected} expected")]
    Count {
        /// `components[1].parameters`
        path: String,
        given: usize,
        expected: usize,
    },
    #[error("{path}: the template has no such place for a value")]
    Place { path: String },
    #[error("{path}: the template has no variable of this name")]
    Name { path: String },
}

/// Text as WhatsApp takes it for a variable: no line breaks or tabs, at most four spaces in a row, no edges.
pub fn clean_text(value: &str) -> String {
    let mut cleaned = String::with_capacity(value.len());
    let mut spaces = 0;
    for c in value.trim().chars() {
        if matches!(
            c,
            ' ' | '\n' | '\r' | '\t' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        ) {
            spaces += 1;
            continue;
        }
        let kept = if spaces > MAX_CONSECUTIVE_SPACES { 1 } else { spaces };
        cleaned.extend(std::iter::repeat_n(' ', kept));
        spaces = 0;
        cleaned.push(c);
    }
    cleaned
}

/// A slot with its place in the send call.
struct Field {
    slot: Slot,
    card: Option<usize>,
    place: Place,
    /// The variable's name in the text.
    variable: Option<String>,
    /// Takes its value from this slot and is none of its own.
    reuses: Option<&'static str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Header,
    Body,
    Button { index: usize, sub_type: &'static str },
    Offer,
}

impl TemplateComponents {
    /// What a send fills in, in the order of the screen: header, body, buttons, cards, offer.
    pub fn slots(&self) -> Vec<Slot> {
        self.fields()
            .into_iter()
            .filter(|field| field.reuses.is_none())
            .map(|field| field.slot)
            .collect()
    }

    /// Brings given values under their slots' names and into one form. Takes full names (`body.1`), bare numbers of
    /// the body (`1`) and bare names of variables (`first_name`). Doing it twice changes nothing, and text that still
    /// holds `{{placeholders}}` is left for the second time.
    ///
    /// # Errors
    /// [`ComponentsError`] for a name this template has no slot for, one given twice, or a value of the wrong kind.
    pub fn normalise(
        &self,
        given: &BTreeMap<String, ParameterValue>,
    ) -> Result<BTreeMap<String, ParameterValue>, ComponentsError> {
        let fields = self.fields();
        let mut values: BTreeMap<String, ParameterValue> = BTreeMap::new();
        for (key, value) in given {
            let shown: String = key.chars().take(MAX_KEY_CHARS).collect();
            let path = format!("parameters.{shown}");
            let meant = find(&fields, key.trim());
            if meant.is_empty() {
                let names: Vec<String> = self.slots().into_iter().map(|slot| slot.name).collect();
                let problem = if names.is_empty() {
                    "this template has no slots; leave the parameters out".to_owned()
                } else {
                    format!("this template has no such slot; its slots are {}", names.join(", "))
                };
                return Err(ComponentsError::new(path, problem));
            }
            for field in meant {
                let value = accept(field.slot.kind, value).ok_or_else(|| {
                    ComponentsError::new(path.clone(), field.slot.kind.expected())
                })?;
                let name = field.reuses.unwrap_or(&field.slot.name);
                if values.get(name).is_some_and(|known| *known != value) {
                    let problem =
                        format!("{name} is given twice with different values; give it once");
                    return Err(ComponentsError::new(path, problem));
                }
                values.insert(name.to_owned(), value);
            }
        }
        Ok(values)
    }

    /// The required slots that have no value, or a blank one.
    pub fn missing(&self, values: &BTreeMap<String, ParameterValue>) -> Vec<String> {
        let is_missing = |slot: &Slot| slot.required && values.get(&slot.name).is_none_or(is_blank);
        self.slots().into_iter().filter(is_missing).map(|slot| slot.name).collect()
    }

    /// The send call's `components`: only those that carry values, an empty array where none does. Expects what
    /// [`Self::normalise`] returned, and leaves out what it cannot use.
    pub fn wire(&self, values: &BTreeMap<String, ParameterValue>) -> Value {
        let mut components = vec![];
        let mut cards: BTreeMap<usize, Vec<Value>> = BTreeMap::new();
        let fields = self.fields();
        for group in fields.chunk_by(|a, b| a.card == b.card && a.place == b.place) {
            let parameters: Vec<Value> =
                group.iter().filter_map(|field| parameter(field, values)).collect();
            if parameters.is_empty() {
                continue;
            }
            let component = component(group[0].place, parameters);
            match group[0].card {
                Some(card) => cards.entry(card).or_default().push(component),
                None => components.push(component),
            }
        }
        if !cards.is_empty() {
            let cards: Vec<Value> = cards
                .into_iter()
                .map(|(i, components)| json!({ "card_index": i, "components": components }))
                .collect();
            components.push(json!({ "type": "carousel", "cards": cards }));
        }
        Value::Array(components)
    }

    /// The values in a send call's `components`, by slot: what [`Self::wire`] writes, read back. Not yet normalised.
    ///
    /// # Errors
    /// [`Misfit`] where the components are not this template's.
    pub fn read_wire(
        &self,
        components: &[Value],
    ) -> Result<BTreeMap<String, ParameterValue>, Misfit> {
        let fields = self.fields();
        let mut values = BTreeMap::new();
        for (i, component) in components.iter().enumerate() {
            let path = format!("components[{i}]");
            if !is_called(component, "carousel") {
                read_component(&fields, None, component, &path, &mut values)?;
                continue;
            }
            for (j, card) in array(component, "cards").iter().enumerate() {
                let index = card.get("card_index").and_then(Value::as_u64);
                let index = index.and_then(|index| usize::try_from(index).ok());
                for (k, component) in array(card, "components").iter().enumerate() {
                    let path = format!("{path}.cards[{j}].components[{k}]");
                    read_component(
                        &fields,
                        Some(index.unwrap_or(j)),
                        component,
                        &path,
                        &mut values,
                    )?;
                }
            }
        }
        Ok(values)
    }

    /// The text a person sees: header, body and footer, a line each. What has no value stays as `{{variable}}`.
    pub fn preview(&self, values: &BTreeMap<String, ParameterValue>) -> String {
        let mut lines = vec![];
        match self.header() {
            Some(Header::Text { text, .. }) => lines.push(filled(text, "header", values)),
            Some(Header::Media { media, .. }) => lines.push(format!("[{}]", media.as_str())),
            Some(Header::Location) => lines.push("[location]".to_owned()),
            Some(Header::Product) => lines.push("[product]".to_owned()),
            Some(Header::Other(format)) => lines.push(format!("[{}]", format.to_lowercase())),
            None => {}
        }
        if let Some(body) = self.body() {
            lines.push(filled(&self.body_text(body), "body", values));
        }
        if let Some(footer) = self.footer() {
            match (&footer.text, &footer.code_expiration_minutes) {
                (Some(text), _) => lines.push(text.raw.clone()),
                (None, Some(minutes)) => {
                    lines.push(format!("This code expires in {minutes} minutes."))
                }
                (None, None) => {}
            }
        }
        lines.join("\n")
    }

    /// Whether WhatsApp would take this value in this slot, as far as one value tells.
    ///
    /// # Errors
    /// `ValueProblem` where it is of the wrong kind, empty or too long.
    pub fn check_value(slot: &Slot, value: &ParameterValue) -> Result<(), ValueProblem> {
        let Some(value) = accept(slot.kind, value) else {
            return Err(ValueProblem::WrongKind {
                slot: slot.name.clone(),
                expected: slot.kind.expected(),
            });
        };
        if is_blank(&value) {
            return Err(ValueProblem::Empty { slot: slot.name.clone() });
        }
        let max = match slot.kind {
            SlotKind::Text if slot.name.starts_with("header.") => MAX_HEADER_CHARS,
            SlotKind::Text if slot.name.starts_with("card.") => MAX_CARD_BODY_CHARS,
            SlotKind::Text => MAX_BODY_CHARS,
            SlotKind::Code => MAX_CODE_CHARS,
            SlotKind::UrlSuffix => MAX_URL_CHARS,
            SlotKind::Payload => MAX_PAYLOAD_CHARS,
            SlotKind::CouponCode => MAX_COUPON_CHARS,
            _ => return Ok(()),
        };
        at_most(max, &slot.name, &shown(&value))
    }

    /// Whether WhatsApp would take all values together: each in its slot, and every text with its values filled in.
    ///
    /// # Errors
    /// The first `ValueProblem`.
    pub fn check_values(
        &self,
        values: &BTreeMap<String, ParameterValue>,
    ) -> Result<(), ValueProblem> {
        for slot in self.slots() {
            if let Some(value) = values.get(&slot.name) {
                Self::check_value(&slot, value)?;
            }
        }
        self.check_filled(values)
    }

    /// The first slot, or text as filled in (`body`), that is longer than WhatsApp takes.
    pub fn too_long(&self, values: &BTreeMap<String, ParameterValue>) -> Option<String> {
        let slots = self.slots();
        let each =
            slots.iter().filter_map(|slot| Self::check_value(slot, values.get(&slot.name)?).err());
        each.chain(self.check_filled(values).err()).find_map(|problem| match problem {
            ValueProblem::TooLong { what, .. } => Some(what),
            ValueProblem::Empty { .. } | ValueProblem::WrongKind { .. } => None,
        })
    }

    fn check_filled(&self, values: &BTreeMap<String, ParameterValue>) -> Result<(), ValueProblem> {
        if let Some(Header::Text { text, .. }) = self.header() {
            at_most(MAX_HEADER_CHARS, "header", &filled(text, "header", values))?;
        }
        if let Some(Body { text: Some(text), .. }) = self.body() {
            at_most(MAX_BODY_CHARS, "body", &filled(text, "body", values))?;
        }
        check_urls(&self.components, "", values)?;
        for (i, card) in self.cards().iter().enumerate() {
            if let Some(Body { text: Some(text), .. }) = body_of(card) {
                let what = format!("card.{i}.body");
                at_most(MAX_CARD_BODY_CHARS, &what, &filled(text, &what, values))?;
            }
            check_urls(card, &format!("card.{i}."), values)?;
        }
        Ok(())
    }

    /// WhatsApp's preset text in English, where the template leaves the text to WhatsApp.
    fn body_text(&self, body: &Body) -> Text {
        let mut preset = "{{1}} is your verification code.".to_owned();
        if body.security_recommendation {
            preset.push_str(" For your security, do not share this code.");
        }
        match &body.text {
            Some(text) => text.clone(),
            None if self.is_otp() => Text::parse(&preset),
            None => Text::parse(""),
        }
    }

    fn fields(&self) -> Vec<Field> {
        let mut fields = fields_of(&self.components, None, self.is_otp());
        for (i, card) in self.cards().iter().enumerate() {
            fields.extend(fields_of(card, Some(i), false));
        }
        if self.offer().is_some_and(|offer| offer.has_expiration) {
            let name = "limited_time_offer.expiration_time_ms".to_owned();
            let slot = Slot { name, kind: SlotKind::ExpirationTimeMs, required: true };
            fields.push(Field {
                slot,
                card: None,
                place: Place::Offer,
                variable: None,
                reuses: None,
            });
        }
        fields
    }
}

fn fields_of(components: &[Component], card: Option<usize>, is_otp: bool) -> Vec<Field> {
    let prefix = card.map(|i| format!("card.{i}.")).unwrap_or_default();
    let mut fields = vec![];
    let mut push =
        |name: &str, kind: SlotKind, required: bool, place: Place, variable: Option<&str>| {
            let slot = Slot { name: format!("{prefix}{name}"), kind, required };
            let is_code_button = is_otp && kind == SlotKind::Code && place != Place::Body;
            let reuses = is_code_button.then_some(CODE_SLOT);
            fields.push(Field { slot, card, place, variable: variable.map(str::to_owned), reuses });
        };
    match header_of(components) {
        Some(Header::Text { text, .. }) => {
            for name in text.variables() {
                push(&format!("header.{name}"), SlotKind::Text, true, Place::Header, Some(name));
            }
        }
        Some(Header::Media { media, .. }) => {
            push(
                &format!("header.{}", media.as_str()),
                SlotKind::of(*media),
                true,
                Place::Header,
                None,
            );
        }
        Some(Header::Location) => {
            push("header.location", SlotKind::Location, true, Place::Header, None)
        }
        Some(Header::Product) => {
            push("header.product", SlotKind::Product, true, Place::Header, None)
        }
        Some(Header::Other(_)) | None => {}
    }
    if is_otp {
        push(CODE_SLOT, SlotKind::Code, true, Place::Body, Some("1"));
    } else if let Some(Body { text: Some(text), .. }) = body_of(components) {
        for name in text.variables() {
            push(&format!("body.{name}"), SlotKind::Text, true, Place::Body, Some(name));
        }
    }
    for (index, button) in buttons_of(components).iter().enumerate() {
        let (part, kind, required, sub_type) = match &button.kind {
            ButtonKind::QuickReply => ("payload", SlotKind::Payload, false, "quick_reply"),
            ButtonKind::Url { url, .. } if url.occurrences().next().is_some() => {
                ("url", SlotKind::UrlSuffix, true, "url")
            }
            ButtonKind::CopyCode { .. } => ("coupon_code", SlotKind::CouponCode, true, "copy_code"),
            ButtonKind::Otp { .. } => ("url", SlotKind::Code, true, "url"),
            ButtonKind::Flow => ("flow", SlotKind::Flow, false, "flow"),
            ButtonKind::Catalog => ("catalog", SlotKind::Catalog, false, "catalog"),
            ButtonKind::Products => ("mpm", SlotKind::Products, true, "mpm"),
            ButtonKind::Url { .. } | ButtonKind::Phone { .. } | ButtonKind::Other(_) => continue,
        };
        push(
            &format!("button.{index}.{part}"),
            kind,
            required,
            Place::Button { index, sub_type },
            None,
        );
    }
    fields
}

fn array<'a>(object: &'a Value, name: &str) -> &'a [Value] {
    object.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn is_called(component: &Value, kind: &str) -> bool {
    let name = component.get("type").and_then(Value::as_str).unwrap_or_default();
    name.eq_ignore_ascii_case(kind)
}

/// The parameters of one component of a send call, each to the slot it is for: by its name, else by its order.
fn read_component(
    fields: &[Field],
    card: Option<usize>,
    component: &Value,
    path: &str,
    values: &mut BTreeMap<String, ParameterValue>,
) -> Result<(), Misfit> {
    let index = component.get("index").and_then(|index| match index {
        Value::String(text) => text.parse::<usize>().ok(),
        number => number.as_u64().and_then(|number| usize::try_from(number).ok()),
    });
    let sub_type = component.get("sub_type").and_then(Value::as_str).unwrap_or_default();
    let is_meant = |place: Place| match place {
        Place::Header => is_called(component, "header"),
        Place::Body => is_called(component, "body"),
        Place::Offer => is_called(component, "limited_time_offer"),
        Place::Button { index: at, sub_type: kind } => {
            is_called(component, "button")
                && index == Some(at)
                && sub_type.eq_ignore_ascii_case(kind)
        }
    };
    let meant: Vec<&Field> =
        fields.iter().filter(|field| field.card == card && is_meant(field.place)).collect();
    // An offer is a component of its own, or the parameter of one.
    let of_itself =
        is_called(component, "limited_time_offer") && component.get("limited_time_offer").is_some();
    let parameters = match of_itself {
        true => std::slice::from_ref(component),
        false => array(component, "parameters"),
    };
    if meant.is_empty() && !parameters.is_empty() && !is_called(component, "body") {
        return Err(Misfit::Place { path: path.to_owned() });
    }
    if parameters.len() != meant.len() {
        let path = format!("{path}.parameters");
        return Err(Misfit::Count { path, given: parameters.len(), expected: meant.len() });
    }
    for (i, parameter) in parameters.iter().enumerate() {
        let field = match parameter.get("parameter_name").and_then(Value::as_str) {
            Some(name) => {
                let named = meant.iter().find(|field| field.variable.as_deref() == Some(name));
                let path = || format!("{path}.parameters[{i}].parameter_name");
                *named.ok_or_else(|| Misfit::Name { path: path() })?
            }
            None => meant[i],
        };
        values.insert(field.slot.name.clone(), given_value(field.slot.kind, parameter));
    }
    Ok(())
}

/// A parameter as [`accept`] takes it.
fn given_value(kind: SlotKind, parameter: &Value) -> ParameterValue {
    let said = parameter.get("type").and_then(Value::as_str).unwrap_or_default();
    let inner = parameter.get(said);
    match inner {
        Some(Value::String(text)) => ParameterValue::Text(text.clone()),
        // WhatsApp calls a moving picture a video here.
        Some(Value::Object(medium)) if kind.media().is_some() => {
            ParameterValue::Object(medium.clone())
        }
        _ => ParameterValue::Object(parameter.as_object().cloned().unwrap_or_default()),
    }
}

/// By full name; else by number in the body; else by the variable's name wherever it stands.
fn find<'a>(fields: &'a [Field], key: &str) -> Vec<&'a Field> {
    let named =
        |name: &str| fields.iter().filter(|field| field.slot.name == name).collect::<Vec<_>>();
    let full = named(key);
    if !full.is_empty() {
        return full;
    }
    let in_body = named(&format!("body.{key}"));
    if super::is_positional(key) && !in_body.is_empty() {
        return in_body;
    }
    let is_on_top = |field: &&Field| field.variable.as_deref() == Some(key) && field.card.is_none();
    fields.iter().filter(is_on_top).collect()
}

/// The value in its slot's own form; `None` where it is of another kind. Text that still holds placeholders fits
/// everywhere, since its form shows only once they are filled.
fn accept(kind: SlotKind, value: &ParameterValue) -> Option<ParameterValue> {
    let object = match value {
        ParameterValue::Text(text) => return accept_text(kind, text),
        ParameterValue::Object(object) => object,
    };
    let inner = |key: &str| object.get(key).and_then(Value::as_object).unwrap_or(object);
    let is_text = |object: &Object, key: &str| {
        object.get(key).and_then(Value::as_str).is_some_and(|t| !t.trim().is_empty())
    };
    let keep = |object: &Object, keys: &[&str]| {
        let kept = keys.iter().filter_map(|key| {
            Some(((*key).to_owned(), object.get(*key).filter(|v| !v.is_null())?.clone()))
        });
        Some(ParameterValue::Object(kept.collect()))
    };
    let text_under = |key: &str| {
        object.get(key).and_then(Value::as_str).and_then(|text| accept_text(kind, text))
    };
    match kind {
        SlotKind::Text => {
            if let Some(currency) = object.get("currency").and_then(Value::as_object) {
                let is_whole = is_text(currency, "fallback_value")
                    && is_text(currency, "code")
                    && currency
                        .get("amount_1000")
                        .is_some_and(|amount| amount.is_i64() || amount.is_u64());
                return is_whole.then(|| keep(object, &["currency"])).flatten();
            }
            if let Some(date_time) = object.get("date_time").and_then(Value::as_object) {
                return is_text(date_time, "fallback_value")
                    .then(|| keep(object, &["date_time"]))
                    .flatten();
            }
            text_under("text")
        }
        SlotKind::Code | SlotKind::UrlSuffix => text_under("text"),
        SlotKind::Payload => text_under("payload"),
        SlotKind::CouponCode => text_under("coupon_code"),
        SlotKind::ExpirationTimeMs => {
            let offer = inner("limited_time_offer").get("expiration_time_ms")?;
            accept_text(kind, &offer.as_str().map_or_else(|| offer.to_string(), str::to_owned))
        }
        SlotKind::Image | SlotKind::Video | SlotKind::Document | SlotKind::Gif => {
            let media = inner(kind.media().map_or("", Media::as_str));
            let is_link =
                media.get("link").and_then(Value::as_str).is_some_and(is_link_or_deferred);
            let has = |key: &str| media.get(key).is_some_and(|value| !value.is_null());
            let is_id = is_text(media, "id");
            let is_named = !has("filename") || is_text(media, "filename");
            if !is_named || is_link == is_id || has("link") != is_link || has("id") != is_id {
                return None;
            }
            if kind == SlotKind::Document {
                keep(media, &["id", "link", "filename"])
            } else {
                keep(media, &["id", "link"])
            }
        }
        SlotKind::Location => {
            let location = inner("location");
            let is_whole = is_degrees(location.get("latitude"), 90.0)
                && is_degrees(location.get("longitude"), 180.0);
            is_whole
                .then(|| keep(location, &["latitude", "longitude", "name", "address"]))
                .flatten()
        }
        SlotKind::Product => {
            let product = inner("product");
            is_text(product, "product_retailer_id")
                .then(|| keep(product, &["product_retailer_id", "catalog_id"]))
                .flatten()
        }
        SlotKind::Flow => {
            let action = inner("action");
            let is_flow = action.keys().all(|key| key == "flow_token" || key == "flow_action_data")
                && action.get("flow_token").is_none_or(Value::is_string)
                && action.get("flow_action_data").is_none_or(Value::is_object);
            is_flow.then(|| keep(action, &["flow_token", "flow_action_data"])).flatten()
        }
        SlotKind::Catalog => {
            let action = inner("action");
            let key = "thumbnail_product_retailer_id";
            is_text(action, key).then(|| keep(action, &[key])).flatten()
        }
        SlotKind::Products => {
            let action = inner("action");
            let key = "thumbnail_product_retailer_id";
            let has_sections = action
                .get("sections")
                .and_then(Value::as_array)
                .is_some_and(|list| !list.is_empty());
            (is_text(action, key) && has_sections)
                .then(|| keep(action, &[key, "sections"]))
                .flatten()
        }
    }
}

fn accept_text(kind: SlotKind, text: &str) -> Option<ParameterValue> {
    let trimmed = text.trim();
    let as_text = || Some(ParameterValue::Text(text.to_owned()));
    let object = |key: &str, value: &str| {
        Some(ParameterValue::Object(Object::from_iter([(key.to_owned(), Value::from(value))])))
    };
    if is_deferred(text) {
        return as_text();
    }
    match kind {
        SlotKind::Text
        | SlotKind::Code
        | SlotKind::UrlSuffix
        | SlotKind::Payload
        | SlotKind::CouponCode => as_text(),
        SlotKind::Image | SlotKind::Video | SlotKind::Document | SlotKind::Gif => {
            if is_link_or_deferred(trimmed) {
                object("link", trimmed)
            } else {
                super::is_positional(trimmed).then(|| object("id", trimmed)).flatten()
            }
        }
        SlotKind::Flow if !trimmed.is_empty() => object("flow_token", trimmed),
        SlotKind::Catalog if !trimmed.is_empty() => {
            object("thumbnail_product_retailer_id", trimmed)
        }
        SlotKind::ExpirationTimeMs => trimmed
            .parse::<i64>()
            .ok()
            .filter(|ms| *ms > 0)
            .map(|ms| ParameterValue::Text(ms.to_string())),
        SlotKind::Flow
        | SlotKind::Catalog
        | SlotKind::Products
        | SlotKind::Location
        | SlotKind::Product => None,
    }
}

fn is_deferred(text: &str) -> bool {
    text.contains("{{")
}

fn is_link_or_deferred(text: &str) -> bool {
    is_deferred(text) || text.starts_with("https://") || text.starts_with("http://")
}

/// WhatsApp takes both numbers and text.
fn is_degrees(value: Option<&Value>, max: f64) -> bool {
    let degrees = match value {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) if is_deferred(text) => return true,
        Some(Value::String(text)) => text.trim().parse::<f64>().ok(),
        _ => None,
    };
    degrees.is_some_and(|degrees| degrees.abs() <= max)
}

fn is_blank(value: &ParameterValue) -> bool {
    match value {
        ParameterValue::Text(text) => clean_text(text).is_empty(),
        ParameterValue::Object(object) => object.is_empty(),
    }
}

/// What a person sees of a value in a text.
fn shown(value: &ParameterValue) -> String {
    match value {
        ParameterValue::Text(text) => clean_text(text),
        ParameterValue::Object(object) => {
            let fallback = ["currency", "date_time"]
                .iter()
                .find_map(|key| object.get(*key)?.get("fallback_value")?.as_str());
            fallback.or_else(|| object.get("text")?.as_str()).unwrap_or_default().to_owned()
        }
    }
}

fn filled(text: &Text, prefix: &str, values: &BTreeMap<String, ParameterValue>) -> String {
    text.fill(|name| {
        values.get(&format!("{prefix}.{name}")).filter(|value| !is_blank(value)).map(shown)
    })
}

fn check_urls(
    components: &[Component],
    prefix: &str,
    values: &BTreeMap<String, ParameterValue>,
) -> Result<(), ValueProblem> {
    for (i, button) in buttons_of(components).iter().enumerate() {
        let what = format!("{prefix}button.{i}.url");
        if let (ButtonKind::Url { url, .. }, Some(value)) = (&button.kind, values.get(&what)) {
            at_most(MAX_URL_CHARS, &what, &url.fill(|_| Some(shown(value))))?;
        }
    }
    Ok(())
}

fn at_most(max: usize, what: &str, text: &str) -> Result<(), ValueProblem> {
    let chars = text.chars().count();
    if chars > max {
        Err(ValueProblem::TooLong { what: what.to_owned(), chars, max })
    } else {
        Ok(())
    }
}

fn component(place: Place, mut parameters: Vec<Value>) -> Value {
    match place {
        Place::Header => json!({ "type": "header", "parameters": parameters }),
        Place::Body => json!({ "type": "body", "parameters": parameters }),
        Place::Button { index, sub_type } => {
            json!({ "type": "button", "sub_type": sub_type, "index": index.to_string(), "parameters": parameters })
        }
        Place::Offer => {
            json!({ "type": "limited_time_offer", "parameters": [parameters.swap_remove(0)] })
        }
    }
}

fn parameter(field: &Field, values: &BTreeMap<String, ParameterValue>) -> Option<Value> {
    let kind = field.slot.kind;
    let value =
        values.get(field.reuses.unwrap_or(&field.slot.name)).filter(|value| !is_blank(value));
    let Some(value) = value else {
        // A flow button without a parameter is refused, while its token has a documented default.
        let is_flow = kind == SlotKind::Flow;
        return is_flow
            .then(|| json!({ "type": "action", "action": { "flow_token": DEFAULT_FLOW_TOKEN } }));
    };
    let value = accept(kind, value)?;
    let text = match &value {
        ParameterValue::Text(text) => text.trim(),
        ParameterValue::Object(_) => "",
    };
    let mut parameter = match (kind, &value) {
        (SlotKind::Text, ParameterValue::Object(object)) => {
            let (key, inner) = object.iter().next()?;
            json!({ "type": key, key.as_str(): inner })
        }
        (SlotKind::Text | SlotKind::Code, _) => json!({ "type": "text", "text": shown(&value) }),
        (SlotKind::UrlSuffix, _) => json!({ "type": "text", "text": text }),
        (SlotKind::Payload, _) => json!({ "type": "payload", "payload": text }),
        (SlotKind::CouponCode, _) => json!({ "type": "coupon_code", "coupon_code": text }),
        (SlotKind::ExpirationTimeMs, _) => {
            let ms: i64 = text.parse().ok()?;
            json!({ "type": "limited_time_offer", "limited_time_offer": { "expiration_time_ms": ms } })
        }
        (
            SlotKind::Flow | SlotKind::Catalog | SlotKind::Products,
            ParameterValue::Object(object),
        ) => {
            json!({ "type": "action", "action": object })
        }
        (SlotKind::Location, ParameterValue::Object(object)) => {
            json!({ "type": "location", "location": object })
        }
        (SlotKind::Product, ParameterValue::Object(object)) => {
            json!({ "type": "product", "product": object })
        }
        (kind, ParameterValue::Object(object)) => {
            let media = kind.media()?.as_str();
            json!({ "type": media, media: object })
        }
        (_, ParameterValue::Text(_)) => return None,
    };
    // Named variables are told by their name, numbered ones by their order; buttons have neither.
    if let Some(name) = field.variable.as_deref().filter(|name| !super::is_positional(name)) {
        parameter["parameter_name"] = Value::from(name);
    }
    Some(parameter)
}
