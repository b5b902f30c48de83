//! What WhatsApp refuses when a template is handed in: its documented limits and variable rules. How many variables a
//! text of some length may have is known to WhatsApp alone (2388293), so that is left to its verdict.

use super::{
    Body, Button, ButtonKind, Component, ComponentsError, Examples, Footer, Header, Text, TextPart,
};
use super::{TemplateComponents, buttons_of, header_of, is_positional};
use crate::template::TemplateCategory;

pub(super) const MAX_HEADER_CHARS: usize = 60;
pub(super) const MAX_BODY_CHARS: usize = 1024;
pub(super) const MAX_CARD_BODY_CHARS: usize = 160;
const MAX_FOOTER_CHARS: usize = 60;
const MAX_OFFER_CHARS: usize = 16;
const MAX_BUTTONS: usize = 10;
const MAX_URL_BUTTONS: usize = 2;
const MAX_CARD_BUTTONS: usize = 2;
const MAX_LABEL_CHARS: usize = 25;
pub(super) const MAX_URL_CHARS: usize = 2000;
const MAX_PHONE_CHARS: usize = 20;
const MAX_COUPON_EXAMPLE_CHARS: usize = 15;
const MIN_CARDS: usize = 2;
const MAX_CARDS: usize = 10;
const CODE_EXPIRATION_MINUTES: std::ops::RangeInclusive<i64> = 1..=90;
/// Buttons that WhatsApp documents and that need nothing checked here.
const OTHER_BUTTONS: [&str; 9] = [
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
/// Components that WhatsApp documents and that need nothing checked here.
const OTHER_COMPONENTS: [&str; 1] = ["CALL_PERMISSION_REQUEST"];

type Checked = Result<(), ComponentsError>;

fn fail(field: impl Into<String>, problem: impl Into<String>) -> Checked {
    Err(ComponentsError::new(field, problem))
}

impl TemplateComponents {
    /// Whether WhatsApp would take these for review in this category.
    ///
    /// # Errors
    /// [`ComponentsError`]: the first thing that WhatsApp would refuse.
    pub fn check(&self, category: TemplateCategory) -> Result<(), ComponentsError> {
        if self.body().is_none() {
            return fail("components", "add a BODY component; every template has one");
        }
        check_once_each(&self.components, "components")?;
        check_one_variable_style(&self.components)?;
        let is_authentication = category == TemplateCategory::Authentication;
        if is_authentication && !self.is_otp() {
            return fail(
                "components",
                "add a BUTTONS component with one OTP button; authentication templates have one",
            );
        }
        for (i, component) in self.components.iter().enumerate() {
            let path = format!("components[{i}]");
            match component {
                Component::Header(_) if is_authentication => {
                    return fail(path, "leave the header out; authentication templates have none");
                }
                Component::Header(header) => check_header(header, &path)?,
                Component::Body(body) if is_authentication => check_preset_body(body, &path)?,
                Component::Body(body) => check_body(body, MAX_BODY_CHARS, &path)?,
                Component::Footer(footer) => check_footer(footer, is_authentication, &path)?,
                Component::Buttons(buttons) => check_buttons(buttons, is_authentication, &path)?,
                Component::Carousel(cards) => check_cards(cards, &path)?,
                Component::Offer(offer) => {
                    if !(1..=MAX_OFFER_CHARS).contains(&offer.text.chars().count()) {
                        let field = format!("{path}.limited_time_offer.text");
                        return fail(field, format!("use 1 to {MAX_OFFER_CHARS} characters"));
                    }
                }
                Component::Other(kind) if OTHER_COMPONENTS.contains(&kind.as_str()) => {}
                Component::Other(_) => {
                    let kinds = "use HEADER, BODY, FOOTER, BUTTONS, CAROUSEL or LIMITED_TIME_OFFER";
                    return fail(format!("{path}.type"), kinds);
                }
            }
        }
        Ok(())
    }
}

fn kind_of(component: &Component) -> &str {
    match component {
        Component::Header(_) => "HEADER",
        Component::Body(_) => "BODY",
        Component::Footer(_) => "FOOTER",
        Component::Buttons(_) => "BUTTONS",
        Component::Carousel(_) => "CAROUSEL",
        Component::Offer(_) => "LIMITED_TIME_OFFER",
        Component::Other(kind) => kind,
    }
}

fn check_once_each(components: &[Component], path: &str) -> Checked {
    for (i, component) in components.iter().enumerate() {
        if components[..i].iter().any(|earlier| kind_of(earlier) == kind_of(component)) {
            return fail(
                format!("{path}[{i}].type"),
                format!("use {} only once", kind_of(component)),
            );
        }
    }
    Ok(())
}

/// WhatsApp's `parameter_format` holds for the whole template, URLs aside.
fn check_one_variable_style(components: &[Component]) -> Checked {
    let mut first: Option<bool> = None;
    for (i, component) in components.iter().enumerate() {
        let text = match component {
            Component::Header(Header::Text { text, .. }) => text,
            Component::Body(Body { text: Some(text), .. }) => text,
            _ => continue,
        };
        for name in text.occurrences() {
            if *first.get_or_insert(is_positional(name)) != is_positional(name) {
                let problem = "use either numbered variables ({{1}}, {{2}}) or named ones in the whole template, not both";
                return fail(format!("components[{i}].text"), problem);
            }
        }
    }
    Ok(())
}

fn check_header(header: &Header, path: &str) -> Checked {
    match header {
        Header::Text { text, examples } => {
            let field = format!("{path}.text");
            if text.raw.trim().is_empty() || text.chars() > MAX_HEADER_CHARS {
                return fail(field, format!("use 1 to {MAX_HEADER_CHARS} characters"));
            }
            let is_formatting = |c: char| matches!(c, '*' | '~' | '`' | '\n' | '\r');
            if text.raw.contains(is_formatting) {
                return fail(
                    field,
                    "use plain text without *, ~, ` and line breaks; headers have no formatting",
                );
            }
            if text.occurrences().count() > 1 {
                return fail(field, "use at most one variable; headers have no room for more");
            }
            check_variables(text, &field)?;
            check_examples(text, examples, path, "header_text")
        }
        Header::Media { has_example: false, .. } => fail(
            format!("{path}.example.header_handle"),
            "give the handle of an uploaded example file",
        ),
        Header::Media { .. } | Header::Location | Header::Product => Ok(()),
        Header::Other(_) => {
            fail(format!("{path}.format"), "use TEXT, IMAGE, VIDEO, DOCUMENT, GIF or LOCATION")
        }
    }
}

fn check_body(body: &Body, max_chars: usize, path: &str) -> Checked {
    let field = format!("{path}.text");
    let Some(text) = body.text.as_ref().filter(|text| !text.raw.trim().is_empty()) else {
        return fail(field, format!("use 1 to {max_chars} characters"));
    };
    if text.chars() > max_chars {
        return fail(field, format!("use 1 to {max_chars} characters"));
    }
    check_variables(text, &field)?;
    let trimmed = Text::parse(text.raw.trim());
    let is_variable = |part: Option<&TextPart>| matches!(part, Some(TextPart::Variable(_)));
    if is_variable(trimmed.parts.first()) || is_variable(trimmed.parts.last()) {
        return fail(
            field,
            "put words before the first and after the last variable; WhatsApp refuses them at the edges",
        );
    }
    check_examples(text, &body.examples, path, "body_text")
}

/// WhatsApp writes the text; read back from it, the text starts with the code.
fn check_preset_body(body: &Body, path: &str) -> Checked {
    match &body.text {
        Some(text) if text.variables().len() > 1 => fail(
            format!("{path}.text"),
            "leave the text out; WhatsApp writes it, with the code as its only variable",
        ),
        Some(_) | None => Ok(()),
    }
}

fn check_footer(footer: &Footer, is_authentication: bool, path: &str) -> Checked {
    if let Some(minutes) = &footer.code_expiration_minutes {
        let field = format!("{path}.code_expiration_minutes");
        if !is_authentication {
            return fail(field, "leave it out; only authentication templates have codes");
        }
        if !minutes.as_i64().is_some_and(|minutes| CODE_EXPIRATION_MINUTES.contains(&minutes)) {
            return fail(field, "use 1 to 90 minutes");
        }
        return Ok(());
    }
    let field = format!("{path}.text");
    match &footer.text {
        Some(text) if text.occurrences().next().is_some() => {
            fail(field, "use no variables; footers are fixed")
        }
        Some(text) if !text.raw.trim().is_empty() && text.chars() <= MAX_FOOTER_CHARS => Ok(()),
        None if is_authentication => {
            fail(format!("{path}.code_expiration_minutes"), "use 1 to 90 minutes")
        }
        Some(_) | None => {
            fail(field, format!("use 1 to {MAX_FOOTER_CHARS} characters, or leave the footer out"))
        }
    }
}

fn check_buttons(buttons: &[Button], is_authentication: bool, path: &str) -> Checked {
    let path = format!("{path}.buttons");
    if !(1..=MAX_BUTTONS).contains(&buttons.len()) {
        return fail(path, format!("use 1 to {MAX_BUTTONS} buttons, or leave BUTTONS out"));
    }
    if is_authentication && buttons.len() != 1 {
        return fail(path, "use one OTP button and no other in an authentication template");
    }
    let count = |matches: fn(&ButtonKind) -> bool| {
        buttons.iter().filter(|button| matches(&button.kind)).count()
    };
    if count(|kind| matches!(kind, ButtonKind::Url { .. })) > MAX_URL_BUTTONS {
        return fail(path, format!("use at most {MAX_URL_BUTTONS} URL buttons"));
    }
    if count(|kind| matches!(kind, ButtonKind::Phone { .. })) > 1 {
        return fail(path, "use at most one PHONE_NUMBER button");
    }
    if count(|kind| matches!(kind, ButtonKind::CopyCode { .. })) > 1 {
        return fail(path, "use at most one COPY_CODE button");
    }
    let is_quick: Vec<bool> =
        buttons.iter().map(|button| button.kind == ButtonKind::QuickReply).collect();
    if is_quick.chunk_by(|a, b| a == b).filter(|run| run[0]).count() > 1 {
        return fail(path, "put the QUICK_REPLY buttons next to each other");
    }
    for (i, button) in buttons.iter().enumerate() {
        check_button(button, is_authentication, &format!("{path}[{i}]"))?;
    }
    Ok(())
}

fn check_button(button: &Button, is_authentication: bool, path: &str) -> Checked {
    // WhatsApp labels code buttons itself where no label is given.
    let may_be_unlabelled =
        matches!(button.kind, ButtonKind::CopyCode { .. } | ButtonKind::Otp { .. });
    match button.label.as_deref().filter(|label| !label.trim().is_empty()) {
        Some(label) if label.chars().count() <= MAX_LABEL_CHARS => {}
        None if may_be_unlabelled => {}
        Some(_) | None => {
            return fail(format!("{path}.text"), format!("use 1 to {MAX_LABEL_CHARS} characters"));
        }
    }
    match &button.kind {
        ButtonKind::Url { url, has_example } => check_url(url, *has_example, path),
        ButtonKind::Phone { number } => {
            let digits = number.strip_prefix('+').unwrap_or(number);
            let is_one = !digits.is_empty()
                && number.chars().count() <= MAX_PHONE_CHARS
                && digits.chars().all(|c| c.is_ascii_digit() || matches!(c, ' ' | '-' | '(' | ')'));
            if is_one {
                Ok(())
            } else {
                let problem = format!(
                    "use a number with its country code such as +4930123456, at most {MAX_PHONE_CHARS} characters"
                );
                fail(format!("{path}.phone_number"), problem)
            }
        }
        ButtonKind::CopyCode { example } => {
            let is_one = example.as_ref().is_some_and(|code| {
                (1..=MAX_COUPON_EXAMPLE_CHARS).contains(&code.trim().chars().count())
            });
            if is_one {
                Ok(())
            } else {
                fail(
                    format!("{path}.example"),
                    format!("give an example code of 1 to {MAX_COUPON_EXAMPLE_CHARS} characters"),
                )
            }
        }
        ButtonKind::Otp { .. } if !is_authentication => fail(
            format!("{path}.type"),
            "use OTP buttons in authentication templates only; elsewhere COPY_CODE",
        ),
        ButtonKind::Otp { otp_type, has_apps } => match otp_type.as_deref() {
            None | Some("COPY_CODE") => Ok(()),
            Some("ONE_TAP" | "ZERO_TAP") if *has_apps => Ok(()),
            Some("ONE_TAP" | "ZERO_TAP") => fail(
                format!("{path}.supported_apps"),
                "give each app's package_name and signature_hash",
            ),
            Some(_) => fail(format!("{path}.otp_type"), "use COPY_CODE, ONE_TAP or ZERO_TAP"),
        },
        ButtonKind::Other(kind) if !OTHER_BUTTONS.contains(&kind.as_str()) => {
            let problem = "use QUICK_REPLY, URL, PHONE_NUMBER, COPY_CODE, OTP, FLOW, CATALOG, MPM or another of WhatsApp's types";
            fail(format!("{path}.type"), problem)
        }
        ButtonKind::QuickReply
        | ButtonKind::Flow
        | ButtonKind::Catalog
        | ButtonKind::Products
        | ButtonKind::Other(_) => Ok(()),
    }
}

fn check_url(url: &Text, has_example: bool, path: &str) -> Checked {
    let field = format!("{path}.url");
    let is_web = url.raw.starts_with("https://") || url.raw.starts_with("http://");
    if !is_web || url.chars() > MAX_URL_CHARS {
        return fail(
            field,
            format!("use a URL that starts with https://, at most {MAX_URL_CHARS} characters"),
        );
    }
    check_braces(url, &field)?;
    let variables: Vec<&str> = url.occurrences().collect();
    if variables.is_empty() {
        return Ok(());
    }
    let ends_with_it = matches!(url.parts.last(), Some(TextPart::Variable(name)) if name == "1");
    if variables.len() > 1 || !ends_with_it {
        return fail(field, "use one variable, {{1}}, at the very end of the URL");
    }
    if has_example {
        Ok(())
    } else {
        fail(format!("{path}.example"), "give an example of the URL's variable, such as [\"A-17\"]")
    }
}

fn check_cards(cards: &[Vec<Component>], path: &str) -> Checked {
    let path = format!("{path}.cards");
    if !(MIN_CARDS..=MAX_CARDS).contains(&cards.len()) {
        return fail(path, format!("use {MIN_CARDS} to {MAX_CARDS} cards"));
    }
    let shape = |card: &[Component]| {
        let header = header_of(card).map(|header| match header {
            Header::Media { media, .. } => media.as_str(),
            Header::Text { .. } | Header::Location | Header::Product | Header::Other(_) => "",
        });
        let buttons = buttons_of(card)
            .iter()
            .map(|button| std::mem::discriminant(&button.kind))
            .collect::<Vec<_>>();
        (header, buttons)
    };
    for (i, card) in cards.iter().enumerate() {
        let path = format!("{path}[{i}].components");
        check_once_each(card, &path)?;
        match header_of(card) {
            Some(
                Header::Media { media: super::Media::Image | super::Media::Video, .. }
                | Header::Product,
            ) => {}
            Some(_) | None => {
                return fail(path, "start each card with a HEADER of format IMAGE or VIDEO");
            }
        }
        for (j, component) in card.iter().enumerate() {
            let path = format!("{path}[{j}]");
            match component {
                Component::Header(header) => check_header(header, &path)?,
                Component::Body(body) => check_body(body, MAX_CARD_BODY_CHARS, &path)?,
                Component::Buttons(buttons) if buttons.len() > MAX_CARD_BUTTONS => {
                    return fail(
                        format!("{path}.buttons"),
                        format!("use at most {MAX_CARD_BUTTONS} buttons on a card"),
                    );
                }
                Component::Buttons(buttons) => check_buttons(buttons, false, &path)?,
                Component::Footer(_)
                | Component::Carousel(_)
                | Component::Offer(_)
                | Component::Other(_) => {
                    return fail(
                        format!("{path}.type"),
                        "use HEADER, BODY and BUTTONS only on a card",
                    );
                }
            }
        }
        if shape(card) != shape(&cards[0]) {
            return fail(
                path,
                "give all cards the same kind of header and the same kinds of buttons",
            );
        }
    }
    Ok(())
}

fn check_braces(text: &Text, field: &str) -> Checked {
    let is_stray = |part: &TextPart| matches!(part, TextPart::Literal(text) if text.contains("{{") || text.contains("}}"));
    if text.parts.iter().any(is_stray) {
        return fail(
            field,
            "close every variable, as in {{1}} or {{first_name}}, and leave no other double braces",
        );
    }
    Ok(())
}

fn check_variables(text: &Text, field: &str) -> Checked {
    check_braces(text, field)?;
    let variables = text.variables();
    if variables.iter().all(|name| is_positional(name)) {
        let is_consecutive =
            variables.iter().enumerate().all(|(i, name)| *name == (i + 1).to_string());
        if !is_consecutive {
            return fail(field, "number the variables from {{1}} on without a gap");
        }
    } else {
        // Mixed styles fail before this is reached, except within a card.
        let is_name = |name: &&str| {
            name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
                && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        if !variables.iter().all(is_name) {
            return fail(
                field,
                "name variables with lower-case letters, digits and underscores, as in {{first_name}}",
            );
        }
        if text.occurrences().count() != variables.len() {
            return fail(field, "use each named variable once");
        }
    }
    let is_gap =
        |part: &TextPart| matches!(part, TextPart::Literal(text) if text.trim().is_empty());
    let solid: Vec<&TextPart> = text.parts.iter().filter(|part| !is_gap(part)).collect();
    let are_adjacent =
        |pair: &[&TextPart]| pair.iter().all(|part| matches!(part, TextPart::Variable(_)));
    if solid.windows(2).any(are_adjacent) {
        return fail(field, "put words between two variables; WhatsApp refuses them side by side");
    }
    Ok(())
}

fn check_examples(text: &Text, examples: &Examples, path: &str, key: &str) -> Checked {
    let variables = text.variables();
    if variables.iter().all(|name| is_positional(name)) {
        if examples.positional < variables.len() {
            let problem = format!("give an example for each of the {} variables", variables.len());
            return fail(format!("{path}.example.{key}"), problem);
        }
        return Ok(());
    }
    match variables.iter().find(|name| !examples.named.iter().any(|known| known == *name)) {
        Some(name) => {
            let problem = format!(
                "give an example for {name}, as in {{\"param_name\": \"{name}\", \"example\": \"…\"}}"
            );
            fail(format!("{path}.example.{key}_named_params"), problem)
        }
        None => Ok(()),
    }
}
