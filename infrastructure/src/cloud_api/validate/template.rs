//! What fills a template (reference: section 2.5). Whether it fits the template is for whoever knows the template.

use super::interactive::products;
use super::message::{location, media_source};
use super::{
    CODE_INVALID, CODE_MISSING, CODE_PARAMETER, CODE_VALUE_FORM, CODE_VALUE_FORMAT, Check, limits,
};
use crate::cloud_api::wire::send::{
    ButtonKind, Component, ComponentKind, Parameter, ParameterValue, Template,
};

/// Why WhatsApp refuses this text as a value of a template; `None` where it takes it.
pub fn value_problem(text: &str) -> Option<&'static str> {
    if text.contains(['\n', '\r']) {
        return Some("It may not contain line breaks.");
    }
    if text.contains('\t') {
        return Some("It may not contain tabs.");
    }
    let mut run = 0;
    for c in text.chars() {
        run = if c == ' ' { run + 1 } else { 0 };
        if run > limits::SPACES_MAX {
            return Some("It may not contain more than four spaces in a row.");
        }
    }
    None
}

pub(super) fn check(check: &mut Check, template: &Template) {
    name(check, "template.name", &template.name);
    check.required("template.language.code", Some(&template.language.code));
    components(check, "template.components", &template.components, true);
}

pub(super) fn name(check: &mut Check, path: &str, name: &str) {
    check.text(path, name, limits::TEMPLATE_NAME_CHARS_MAX);
    if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
        check.add(
            path,
            CODE_INVALID,
            "It may contain lower-case letters a to z, digits and underscores only.",
        );
    }
}

fn components(check: &mut Check, path: &str, components: &[Component], carousel_allowed: bool) {
    let mut buttons_seen = Vec::new();
    for (index, component) in components.iter().enumerate() {
        let path = format!("{path}[{index}]");
        match &component.kind {
            ComponentKind::Header => header(check, &path, &component.parameters),
            ComponentKind::Body => body(check, &path, &component.parameters),
            ComponentKind::Button => {
                let place = component.index.map(|index| index.0);
                if place.is_some() && buttons_seen.contains(&place) {
                    check.add(
                        &format!("{path}.index"),
                        CODE_INVALID,
                        "Another component has this button already.",
                    );
                }
                buttons_seen.push(place);
                button(check, &path, component);
            }
            ComponentKind::Carousel if carousel_allowed => {
                check.count(
                    &format!("{path}.cards"),
                    component.cards.len(),
                    1,
                    limits::CARDS_MAX,
                    "cards",
                );
                for (index, card) in component.cards.iter().enumerate() {
                    self::components(
                        check,
                        &format!("{path}.cards[{index}].components"),
                        &card.components,
                        false,
                    );
                }
            }
            ComponentKind::LimitedTimeOffer => {
                let offer = |parameter: &Parameter| {
                    matches!(parameter.value, ParameterValue::LimitedTimeOffer { .. })
                };
                if component.limited_time_offer.is_none() && !component.parameters.iter().any(offer)
                {
                    check.add(
                        &format!("{path}.limited_time_offer"),
                        CODE_MISSING,
                        "It is required.",
                    );
                }
            }
            ComponentKind::TapTargetConfiguration => {}
            ComponentKind::Carousel | ComponentKind::Other(_) => {
                let problem = "It must be header, body, button, carousel or limited_time_offer.";
                check.add(&format!("{path}.type"), CODE_INVALID, problem);
            }
        }
    }
    for kind in [ComponentKind::Header, ComponentKind::Body, ComponentKind::Carousel] {
        if components.iter().filter(|component| component.kind == kind).count() > 1 {
            check.add(path, CODE_INVALID, &format!("There may be one {kind} only."));
        }
    }
}

fn header(check: &mut Check, path: &str, parameters: &[Parameter]) {
    check.count(&format!("{path}.parameters"), parameters.len(), 0, 1, "parameters");
    for (index, parameter) in parameters.iter().enumerate() {
        value(check, &format!("{path}.parameters[{index}]"), parameter);
        if matches!(
            parameter.value,
            ParameterValue::Payload { .. }
                | ParameterValue::CouponCode { .. }
                | ParameterValue::Action { .. }
        ) {
            wrong_type(check, &format!("{path}.parameters[{index}]"), "text, media or location");
        }
    }
}

fn body(check: &mut Check, path: &str, parameters: &[Parameter]) {
    let named = parameters.iter().filter(|parameter| parameter.parameter_name.is_some()).count();
    if named != 0 && named != parameters.len() {
        let problem = "Either all parameters have a parameter_name or none has.";
        check.add(&format!("{path}.parameters"), CODE_VALUE_FORMAT, problem);
    }
    check.distinct(
        &format!("{path}.parameters"),
        parameters.iter().filter_map(|parameter| parameter.parameter_name.as_deref()),
        "parameter names",
    );
    for (index, parameter) in parameters.iter().enumerate() {
        let path = format!("{path}.parameters[{index}]");
        value(check, &path, parameter);
        if !matches!(
            parameter.value,
            ParameterValue::Text { .. }
                | ParameterValue::Currency { .. }
                | ParameterValue::DateTime { .. }
        ) {
            wrong_type(check, &path, "text, currency or date_time");
        }
    }
}

fn button(check: &mut Check, path: &str, component: &Component) {
    match component.index.map(|index| index.0) {
        None => check.add(
            &format!("{path}.index"),
            CODE_MISSING,
            "It is required: the button's place, from 0.",
        ),
        Some(place) if place as usize >= limits::TEMPLATE_BUTTONS_MAX => {
            check.add(&format!("{path}.index"), CODE_INVALID, "It must be between 0 and 9.");
        }
        Some(_) => {}
    }
    let Some(kind) = &component.sub_type else {
        return check.add(&format!("{path}.sub_type"), CODE_MISSING, "It is required.");
    };
    if let ButtonKind::Other(_) = kind {
        return check.add(
            &format!("{path}.sub_type"),
            CODE_INVALID,
            "It is not a kind of button that takes a value.",
        );
    }
    for (index, parameter) in component.parameters.iter().enumerate() {
        let path = format!("{path}.parameters[{index}]");
        value(check, &path, parameter);
        let wanted = match (kind, &parameter.value) {
            (ButtonKind::QuickReply, ParameterValue::Payload { .. })
            | (ButtonKind::Url, ParameterValue::Text { .. })
            | (ButtonKind::CopyCode, ParameterValue::CouponCode { .. })
            | (
                ButtonKind::Flow | ButtonKind::Catalog | ButtonKind::Mpm,
                ParameterValue::Action { .. },
            ) => continue,
            (ButtonKind::QuickReply, _) => "payload",
            (ButtonKind::Url, _) => "text",
            (ButtonKind::CopyCode, _) => "coupon_code",
            (ButtonKind::Flow | ButtonKind::Catalog | ButtonKind::Mpm, _) => "action",
            _ => continue,
        };
        wrong_type(check, &path, wanted);
    }
    let needs_value = matches!(kind, ButtonKind::Url | ButtonKind::CopyCode);
    if needs_value && component.parameters.is_empty() {
        check.add(&format!("{path}.parameters"), CODE_MISSING, "This button needs a value.");
    }
}

fn wrong_type(check: &mut Check, path: &str, wanted: &str) {
    check.add(&format!("{path}.type"), CODE_VALUE_FORMAT, &format!("It must be {wanted} here."));
}

fn value(check: &mut Check, path: &str, parameter: &Parameter) {
    match &parameter.value {
        ParameterValue::Text { text } => text_value(check, &format!("{path}.text"), text),
        ParameterValue::Currency { currency } => {
            text_value(check, &format!("{path}.currency.fallback_value"), &currency.fallback_value);
            let is_code =
                currency.code.len() == 3 && currency.code.bytes().all(|b| b.is_ascii_uppercase());
            if !is_code {
                check.add(
                    &format!("{path}.currency.code"),
                    CODE_INVALID,
                    "It must be an ISO 4217 code, like EUR.",
                );
            }
        }
        ParameterValue::DateTime { date_time } => {
            text_value(
                check,
                &format!("{path}.date_time.fallback_value"),
                &date_time.fallback_value,
            );
        }
        ParameterValue::Image { image } => media_source(check, &format!("{path}.image"), image),
        ParameterValue::Video { video } => media_source(check, &format!("{path}.video"), video),
        ParameterValue::Document { document } => {
            media_source(check, &format!("{path}.document"), document)
        }
        ParameterValue::Location { location: place } => {
            location(check, &format!("{path}.location"), place)
        }
        ParameterValue::Payload { payload } => {
            check.required(&format!("{path}.payload"), Some(payload));
        }
        ParameterValue::CouponCode { coupon_code } => {
            check.text(&format!("{path}.coupon_code"), coupon_code, limits::COPY_CODE_CHARS_MAX);
        }
        ParameterValue::Action { action } => {
            if !action.sections.is_empty() {
                products(check, &format!("{path}.action.sections"), &action.sections);
            }
        }
        ParameterValue::LimitedTimeOffer { limited_time_offer } => {
            if limited_time_offer.expiration_time_ms <= 0 {
                let path = format!("{path}.limited_time_offer.expiration_time_ms");
                check.add(&path, CODE_INVALID, "It must be a Unix time in milliseconds.");
            }
        }
        ParameterValue::TapTargetConfiguration { .. }
        | ParameterValue::Product { .. }
        | ParameterValue::OrderStatus { .. } => {}
    }
}

fn text_value(check: &mut Check, path: &str, text: &str) {
    if text.is_empty() {
        check.add(path, CODE_MISSING, "It must not be empty.");
    }
    if text.chars().count() > limits::TEMPLATE_VALUE_CHARS_MAX {
        check.add(path, CODE_PARAMETER, "It is longer than any value may be.");
    }
    if let Some(problem) = value_problem(text) {
        check.add(path, CODE_VALUE_FORM, problem);
    }
}
