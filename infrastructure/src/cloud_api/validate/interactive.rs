//! Interactive messages, kind by kind (reference: section 2.4).

use serde_json::Value;

use super::message::media_source;
use super::{CODE_INVALID, CODE_MISSING, Check, limits};
use crate::cloud_api::wire::send::{Action, Header, Interactive, InteractiveKind, Section};

/// The only version of flow messages.
const FLOW_MESSAGE_VERSION: &str = "3";

/// Which headers a kind takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Headers {
    None,
    Text,
    RequiredText,
    Any,
}

pub(super) fn check(check: &mut Check, it: &Interactive) {
    if let InteractiveKind::Other(_) = it.kind {
        return check.add(
            "interactive.type",
            CODE_INVALID,
            "It is not a kind of interactive message.",
        );
    }
    header(check, it.header.as_ref(), headers_of(&it.kind));
    let body_chars_max = if it.kind == InteractiveKind::List {
        limits::LIST_BODY_CHARS_MAX
    } else {
        limits::INTERACTIVE_BODY_CHARS_MAX
    };
    match &it.body {
        Some(body) => check.text("interactive.body.text", &body.text, body_chars_max),
        None if it.kind == InteractiveKind::Product => {}
        None => check.add("interactive.body", CODE_MISSING, "It is required."),
    }
    if let Some(footer) = &it.footer {
        check.text("interactive.footer.text", &footer.text, limits::FOOTER_CHARS_MAX);
    }
    action(check, &it.kind, &it.action);
}

fn headers_of(kind: &InteractiveKind) -> Headers {
    match kind {
        InteractiveKind::Button | InteractiveKind::CtaUrl | InteractiveKind::Flow => Headers::Any,
        InteractiveKind::List => Headers::Text,
        InteractiveKind::ProductList => Headers::RequiredText,
        InteractiveKind::LocationRequest | InteractiveKind::Product | InteractiveKind::Carousel => {
            Headers::None
        }
        _ => Headers::Any,
    }
}

fn header(check: &mut Check, header: Option<&Header>, allowed: Headers) {
    let path = "interactive.header";
    match (header, allowed) {
        (None, Headers::RequiredText) => {
            check.add(path, CODE_MISSING, "A text header is required.")
        }
        (None, _) => {}
        (Some(_), Headers::None) => {
            check.add(path, CODE_INVALID, "This kind of message has no header.")
        }
        (Some(Header::Text { text }), _) => {
            check.text("interactive.header.text", text, limits::HEADER_CHARS_MAX);
        }
        (Some(_), Headers::Text | Headers::RequiredText) => {
            check.add(path, CODE_INVALID, "Only a text header is allowed.");
        }
        (Some(Header::Image { image }), Headers::Any) => {
            media_source(check, "interactive.header.image", image)
        }
        (Some(Header::Video { video }), Headers::Any) => {
            media_source(check, "interactive.header.video", video)
        }
        (Some(Header::Document { document }), Headers::Any) => {
            media_source(check, "interactive.header.document", document);
        }
    }
}

fn action(check: &mut Check, kind: &InteractiveKind, action: &Action) {
    match kind {
        InteractiveKind::Button => buttons(check, action),
        InteractiveKind::List => list(check, action),
        InteractiveKind::CtaUrl => {
            named(check, action, "cta_url");
            cta_parameters(check, "interactive.action.parameters", action.parameters.as_ref());
        }
        InteractiveKind::Flow => {
            named(check, action, "flow");
            flow(check, action.parameters.as_ref());
        }
        InteractiveKind::LocationRequest => named(check, action, "send_location"),
        InteractiveKind::CatalogMessage => named(check, action, "catalog_message"),
        InteractiveKind::AddressMessage => named(check, action, "address_message"),
        InteractiveKind::ContactRequest => named(check, action, "request_contact_info"),
        InteractiveKind::Product => {
            check.required("interactive.action.catalog_id", action.catalog_id.as_deref());
            check.required(
                "interactive.action.product_retailer_id",
                action.product_retailer_id.as_deref(),
            );
        }
        InteractiveKind::ProductList => {
            check.required("interactive.action.catalog_id", action.catalog_id.as_deref());
            products(check, "interactive.action.sections", &action.sections);
        }
        InteractiveKind::Carousel => carousel(check, &action.cards),
        InteractiveKind::CallPermissionRequest | InteractiveKind::VoiceCall => {
            check.required("interactive.action.name", action.name.as_deref());
        }
        InteractiveKind::Other(_) => {}
    }
}

fn named(check: &mut Check, action: &Action, name: &str) {
    if action.name.as_deref() != Some(name) {
        let code = if action.name.is_none() { CODE_MISSING } else { CODE_INVALID };
        check.add("interactive.action.name", code, &format!("It must be {name}."));
    }
}

fn buttons(check: &mut Check, action: &Action) {
    let path = "interactive.action.buttons";
    check.count(path, action.buttons.len(), 1, limits::BUTTONS_MAX, "buttons");
    for (index, button) in action.buttons.iter().enumerate() {
        let reply = button.reply();
        check.text(&format!("{path}[{index}].reply.id"), &reply.id, limits::BUTTON_ID_CHARS_MAX);
        check.text(
            &format!("{path}[{index}].reply.title"),
            &reply.title,
            limits::BUTTON_TITLE_CHARS_MAX,
        );
    }
    check.distinct(
        path,
        action.buttons.iter().map(|button| button.reply().title.as_str()),
        "titles",
    );
    check.distinct(path, action.buttons.iter().map(|button| button.reply().id.as_str()), "ids");
}

fn list(check: &mut Check, action: &Action) {
    match &action.button {
        Some(button) => {
            check.text("interactive.action.button", button, limits::LIST_BUTTON_CHARS_MAX)
        }
        None => check.add(
            "interactive.action.button",
            CODE_MISSING,
            "It is required: the label that opens the list.",
        ),
    }
    let path = "interactive.action.sections";
    check.count(path, action.sections.len(), 1, limits::LIST_SECTIONS_MAX, "sections");
    let rows = action.sections.iter().flat_map(|section| &section.rows);
    check.count(path, rows.clone().count(), 1, limits::LIST_ROWS_MAX, "rows over all sections");
    check.distinct(path, rows.map(|row| row.id.as_str()), "row ids");
    section_titles(check, path, &action.sections);
    for (section_index, section) in action.sections.iter().enumerate() {
        for (index, row) in section.rows.iter().enumerate() {
            let path = format!("{path}[{section_index}].rows[{index}]");
            check.text(&format!("{path}.id"), &row.id, limits::ROW_ID_CHARS_MAX);
            check.text(&format!("{path}.title"), &row.title, limits::ROW_TITLE_CHARS_MAX);
            if let Some(description) = &row.description {
                check.length(
                    &format!("{path}.description"),
                    description,
                    limits::ROW_DESCRIPTION_CHARS_MAX,
                );
            }
        }
    }
}

fn section_titles(check: &mut Check, path: &str, sections: &[Section]) {
    for (index, section) in sections.iter().enumerate() {
        let path = format!("{path}[{index}].title");
        match &section.title {
            Some(title) => check.length(&path, title, limits::SECTION_TITLE_CHARS_MAX),
            None if sections.len() > 1 => check.add(
                &path,
                CODE_MISSING,
                "It is required where there is more than one section.",
            ),
            None => {}
        }
    }
}

pub(super) fn products(check: &mut Check, path: &str, sections: &[Section]) {
    check.count(path, sections.len(), 1, limits::LIST_SECTIONS_MAX, "sections");
    let products = sections.iter().map(|section| section.product_items.len()).sum();
    check.count(path, products, 1, limits::PRODUCTS_MAX, "products over all sections");
    section_titles(check, path, sections);
}

fn text_of<'a>(value: Option<&'a Value>, key: &str) -> Option<&'a str> {
    value?.get(key)?.as_str()
}

fn cta_parameters(check: &mut Check, path: &str, parameters: Option<&Value>) {
    let text_path = format!("{path}.display_text");
    if let Some(text) = check.required(&text_path, text_of(parameters, "display_text")) {
        check.length(&text_path, text, limits::CTA_TEXT_CHARS_MAX);
    }
    let url_path = format!("{path}.url");
    if let Some(url) = check.required(&url_path, text_of(parameters, "url")) {
        check.web_address(&url_path, url);
    }
}

fn flow(check: &mut Check, parameters: Option<&Value>) {
    let path = "interactive.action.parameters";
    let version = parameters.and_then(|it| it.get("flow_message_version"));
    if version.is_none_or(|version| version.as_str() != Some(FLOW_MESSAGE_VERSION)) {
        check.add(&format!("{path}.flow_message_version"), CODE_INVALID, "It must be \"3\".");
    }
    if text_of(parameters, "flow_id").is_some() == text_of(parameters, "flow_name").is_some() {
        check.add(
            &format!("{path}.flow_id"),
            CODE_MISSING,
            "Exactly one of flow_id and flow_name is required.",
        );
    }
    let cta_path = format!("{path}.flow_cta");
    if let Some(cta) = check.required(&cta_path, text_of(parameters, "flow_cta")) {
        check.length(&cta_path, cta, limits::FLOW_CTA_CHARS_MAX);
    }
    let data = parameters.and_then(|it| it.pointer("/flow_action_payload/data"));
    if data.is_some_and(|data| data.as_object().is_none_or(serde_json::Map::is_empty)) {
        check.add(
            &format!("{path}.flow_action_payload.data"),
            CODE_INVALID,
            "It must be an object with something in it.",
        );
    }
}

fn carousel(check: &mut Check, cards: &[Value]) {
    let path = "interactive.action.cards";
    check.count(path, cards.len(), limits::CARDS_MIN, limits::CARDS_MAX, "cards");
    let kinds: Vec<_> =
        cards.iter().map(|card| card.pointer("/header/type").and_then(Value::as_str)).collect();
    if kinds.windows(2).any(|pair| pair[0] != pair[1]) {
        check.add(path, CODE_INVALID, "All cards must have the same kind of header.");
    }
    for (index, card) in cards.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if let Some(body) = card.pointer("/body/text").and_then(Value::as_str) {
            check.length(&format!("{path}.body.text"), body, limits::CARD_BODY_CHARS_MAX);
        }
        if card.get("card_index").and_then(Value::as_u64).is_none_or(|place| place != index as u64)
        {
            check.add(
                &format!("{path}.card_index"),
                CODE_INVALID,
                "Cards are numbered from 0 in their order.",
            );
        }
        if card.get("type").and_then(Value::as_str) == Some("cta_url") {
            cta_parameters(
                check,
                &format!("{path}.action.parameters"),
                card.pointer("/action/parameters"),
            );
        }
    }
}
