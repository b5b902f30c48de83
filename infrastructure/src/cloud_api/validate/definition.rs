//! Templates as they are submitted (reference: section 7.2). Meta reviews more than form; what it decides on content is
//! its own.

use serde_json::Value;

use super::template::name;
use super::{CODE_INVALID, CODE_MISSING, CODE_PARAMETER, Check, Violation, limits};
use crate::cloud_api::wire::template::{
    Category, CreateTemplate, ParameterFormat, TemplateButton, TemplateComponent,
};

/// Meta's subcodes of code 100.
const SUBCODE_BUTTONS: i64 = 2_388_039;
const SUBCODE_LENGTH: i64 = 2_388_040;
const SUBCODE_HEADER: i64 = 2_388_047;
const SUBCODE_BODY: i64 = 2_388_072;
const SUBCODE_FOOTER: i64 = 2_388_073;
const SUBCODE_EDGE: i64 = 2_388_299;

/// Header formats that are reviewed by a sample.
const MEDIA_FORMATS: [&str; 4] = ["IMAGE", "VIDEO", "DOCUMENT", "GIF"];
/// Seconds that a template may live by category, and −1 for 30 days.
const AUTHENTICATION_TTL: std::ops::RangeInclusive<i64> = 30..=900;
const UTILITY_TTL: std::ops::RangeInclusive<i64> = 30..=43_200;
const MARKETING_TTL: std::ops::RangeInclusive<i64> = 43_200..=2_592_000;
/// Minutes that an authentication code's footer may name.
const CODE_MINUTES: std::ops::RangeInclusive<i64> = 1..=90;

/// Everything that WhatsApp would refuse about a template by its form.
pub fn check_definition(template: &CreateTemplate) -> Vec<Violation> {
    let mut check = Check::default();
    name(&mut check, "name", &template.name);
    check.required("language", Some(&template.language));
    if let Category::Other(_) = template.category {
        check.add("category", CODE_INVALID, "It must be MARKETING, UTILITY or AUTHENTICATION.");
    }
    lifetime(&mut check, template);
    let named = template.parameter_format == Some(ParameterFormat::Named);
    let authentication = template.category == Category::Authentication;
    if !template.components.iter().any(|component| component.is("BODY")) {
        check.add_with("components", CODE_PARAMETER, Some(SUBCODE_BODY), "A BODY is required.");
    }
    for kind in ["HEADER", "BODY", "FOOTER", "BUTTONS"] {
        if template.components.iter().filter(|component| component.is(kind)).count() > 1 {
            check.add("components", CODE_PARAMETER, &format!("There may be one {kind} only."));
        }
    }
    for (index, component) in template.components.iter().enumerate() {
        let path = format!("components[{index}]");
        match component.kind.to_ascii_uppercase().as_str() {
            "HEADER" => header(&mut check, &path, component, named),
            "BODY" if authentication => {}
            "BODY" => body(&mut check, &path, component, named),
            "FOOTER" => footer(&mut check, &path, component, authentication),
            "BUTTONS" => buttons(&mut check, &path, component),
            "CAROUSEL" | "LIMITED_TIME_OFFER" | "CALL_PERMISSION_REQUEST" => {}
            _ => check.add(
                &format!("{path}.type"),
                CODE_PARAMETER,
                "It must be HEADER, BODY, FOOTER or BUTTONS.",
            ),
        }
    }
    check.violations
}

fn lifetime(check: &mut Check, template: &CreateTemplate) {
    let Some(seconds) = template.message_send_ttl_seconds else { return };
    let (range, month_allowed) = match template.category {
        Category::Authentication => (AUTHENTICATION_TTL, true),
        Category::Utility => (UTILITY_TTL, true),
        Category::Marketing => (MARKETING_TTL, false),
        Category::Other(_) => return,
    };
    let is_month = month_allowed && seconds == -1;
    if !range.contains(&seconds) && !is_month {
        let problem = format!(
            "It must be between {} and {} seconds for this category.",
            range.start(),
            range.end()
        );
        check.add("message_send_ttl_seconds", CODE_PARAMETER, &problem);
    }
}

fn header(check: &mut Check, path: &str, component: &TemplateComponent, named: bool) {
    let format = component.format.as_deref().unwrap_or("TEXT").to_ascii_uppercase();
    let refuse = |check: &mut Check, at: &str, problem: &str| {
        check.add_with(&format!("{path}.{at}"), CODE_PARAMETER, Some(SUBCODE_HEADER), problem);
    };
    match format.as_str() {
        "TEXT" => {
            let Some(text) = &component.text else {
                return refuse(check, "text", "It is required for a text header.");
            };
            if text.chars().count() > limits::HEADER_CHARS_MAX {
                let problem =
                    format!("It may have at most {} characters.", limits::HEADER_CHARS_MAX);
                check.add_with(
                    &format!("{path}.text"),
                    CODE_PARAMETER,
                    Some(SUBCODE_LENGTH),
                    &problem,
                );
            }
            if text.contains('\n') {
                refuse(check, "text", "It may contain no line breaks.");
            }
            let variables = match variables(text, named) {
                Ok(variables) => variables,
                Err(problem) => return refuse(check, "text", problem),
            };
            if variables.len() > 1 {
                refuse(check, "text", "It may have one variable at most.");
            }
            let keys = ("header_text", "header_text_named_params");
            examples(check, path, component.example.as_ref(), variables.len(), named, keys);
        }
        "LOCATION" => {}
        format if MEDIA_FORMATS.contains(&format) => {
            let handle =
                component.example.as_ref().and_then(|example| example.pointer("/header_handle/0"));
            if handle.and_then(Value::as_str).is_none_or(str::is_empty) {
                refuse(
                    check,
                    "example.header_handle",
                    "A sample is required: the handle of an upload.",
                );
            }
        }
        _ => refuse(check, "format", "It must be TEXT, IMAGE, VIDEO, DOCUMENT, GIF or LOCATION."),
    }
}

fn body(check: &mut Check, path: &str, component: &TemplateComponent, named: bool) {
    let text_path = format!("{path}.text");
    let Some(text) = component.text.as_deref().filter(|text| !text.trim().is_empty()) else {
        return check.add_with(&text_path, CODE_PARAMETER, Some(SUBCODE_BODY), "It is required.");
    };
    if text.chars().count() > limits::TEMPLATE_BODY_CHARS_MAX {
        let problem =
            format!("It may have at most {} characters.", limits::TEMPLATE_BODY_CHARS_MAX);
        check.add_with(&text_path, CODE_PARAMETER, Some(SUBCODE_LENGTH), &problem);
    }
    let trimmed = text.trim();
    if trimmed.starts_with("{{") || trimmed.ends_with("}}") {
        let problem = "It may neither begin nor end with a variable.";
        check.add_with(&text_path, CODE_PARAMETER, Some(SUBCODE_EDGE), problem);
    }
    match variables(text, named) {
        Ok(variables) => {
            let keys = ("body_text", "body_text_named_params");
            examples(check, path, component.example.as_ref(), variables.len(), named, keys);
        }
        Err(problem) => check.add_with(&text_path, CODE_PARAMETER, Some(SUBCODE_BODY), problem),
    }
}

fn footer(check: &mut Check, path: &str, component: &TemplateComponent, authentication: bool) {
    let path_text = format!("{path}.text");
    let refuse = |check: &mut Check, problem: &str| {
        check.add_with(&path_text, CODE_PARAMETER, Some(SUBCODE_FOOTER), problem);
    };
    if let Some(minutes) = component.code_expiration_minutes
        && !CODE_MINUTES.contains(&minutes)
    {
        check.add(
            &format!("{path}.code_expiration_minutes"),
            CODE_PARAMETER,
            "It must be between 1 and 90.",
        );
    }
    let Some(text) = &component.text else {
        if !authentication {
            refuse(check, "It is required.");
        }
        return;
    };
    if text.chars().count() > limits::FOOTER_CHARS_MAX {
        refuse(check, &format!("It may have at most {} characters.", limits::FOOTER_CHARS_MAX));
    }
    if text.contains("{{") {
        refuse(check, "It may have no variables.");
    }
}

fn buttons(check: &mut Check, path: &str, component: &TemplateComponent) {
    let refuse = |check: &mut Check, path: &str, problem: &str| {
        check.add_with(path, CODE_PARAMETER, Some(SUBCODE_BUTTONS), problem);
    };
    let buttons = &component.buttons;
    let path = format!("{path}.buttons");
    if buttons.is_empty() || buttons.len() > limits::TEMPLATE_BUTTONS_MAX {
        refuse(check, &path, "There must be 1 to 10 buttons.");
    }
    for (kind, max) in
        [("URL", limits::TEMPLATE_URL_BUTTONS_MAX), ("PHONE_NUMBER", 1), ("COPY_CODE", 1)]
    {
        if buttons.iter().filter(|button| button.is(kind)).count() > max {
            refuse(check, &path, &format!("There may be at most {max} of the type {kind}."));
        }
    }
    let quick_reply: Vec<bool> = buttons.iter().map(|button| button.is("QUICK_REPLY")).collect();
    if quick_reply.windows(2).filter(|pair| pair[0] != pair[1]).count() > 1 {
        refuse(check, &path, "Quick replies must stand together, before or after the others.");
    }
    for (index, button) in buttons.iter().enumerate() {
        label_and_target(check, &format!("{path}[{index}]"), button);
    }
}

fn label_and_target(check: &mut Check, path: &str, button: &TemplateButton) {
    if let Some(text) = &button.text {
        check.length(&format!("{path}.text"), text, limits::TEMPLATE_BUTTON_CHARS_MAX);
    } else if ["QUICK_REPLY", "URL", "PHONE_NUMBER"].iter().any(|kind| button.is(kind)) {
        check.add(&format!("{path}.text"), CODE_MISSING, "It is required.");
    }
    if button.is("URL") {
        let url_path = format!("{path}.url");
        let Some(url) = check.required(&url_path, button.url.as_deref()) else { return };
        check.length(&url_path, url, limits::TEMPLATE_URL_CHARS_MAX);
        if let Some(start) = url.find("{{") {
            if !url.ends_with("}}") || url.matches("{{").count() > 1 {
                check.add(&url_path, CODE_PARAMETER, "It may have one variable, at its end.");
            }
            if button.example.is_none() {
                check.add(
                    &format!("{path}.example"),
                    CODE_MISSING,
                    "It is required for an address with a variable.",
                );
            }
            check.web_address(&url_path, &url[..start]);
        } else {
            check.web_address(&url_path, url);
        }
    }
    if button.is("PHONE_NUMBER") {
        let phone_path = format!("{path}.phone_number");
        if let Some(phone) = check.required(&phone_path, button.phone_number.as_deref()) {
            check.length(&phone_path, phone, limits::TEMPLATE_PHONE_CHARS_MAX);
        }
    }
    if button.is("COPY_CODE") {
        let example = match &button.example {
            Some(Value::Array(examples)) => examples.first().and_then(Value::as_str),
            Some(example) => example.as_str(),
            None => None,
        };
        if let Some(example) = check.required(&format!("{path}.example"), example) {
            check.length(&format!("{path}.example"), example, limits::COPY_CODE_CHARS_MAX);
        }
    }
}

/// The variables of a text, in order; an error says which rule they break.
fn variables(text: &str, named: bool) -> Result<Vec<&str>, &'static str> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut gap_is_blank = false;
    while let Some(start) = rest.find("{{") {
        if gap_is_blank && rest[..start].trim().is_empty() {
            return Err("Two variables may not stand side by side.");
        }
        let after = &rest[start + 2..];
        let Some(end) = after.find("}}") else {
            return Err("A variable is opened with {{ and not closed with }}.");
        };
        found.push(after[..end].trim());
        rest = &after[end + 2..];
        gap_is_blank = true;
    }
    if named {
        let is_name = |name: &&str| {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        if !found.iter().all(is_name) {
            return Err("Names of variables have lower-case letters, digits and underscores only.");
        }
        found.sort_unstable();
        found.dedup();
        return Ok(found);
    }
    let mut numbers: Vec<u32> = Vec::new();
    for variable in &found {
        numbers
            .push(variable.parse().map_err(|_| "Variables are numbered {{1}}, {{2}} and so on.")?);
    }
    numbers.sort_unstable();
    numbers.dedup();
    if !numbers.iter().copied().eq(1..=u32::try_from(numbers.len()).unwrap_or(u32::MAX)) {
        return Err("Variables are numbered from {{1}} without gaps.");
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// One example for each variable, in either of Meta's two forms.
fn examples(
    check: &mut Check,
    path: &str,
    example: Option<&Value>,
    variables: usize,
    named: bool,
    (positional_key, named_key): (&str, &str),
) {
    if variables == 0 {
        return;
    }
    let key = if named { named_key } else { positional_key };
    let given = example.and_then(|example| example.get(key)).and_then(Value::as_array);
    let count = match given.and_then(|given| given.first()) {
        Some(Value::Array(first)) => first.len(),
        _ => given.map_or(0, Vec::len),
    };
    if count != variables {
        let problem = format!(
            "An example is required for each variable: {variables}, and there are {count}."
        );
        check.add(&format!("{path}.example.{key}"), CODE_PARAMETER, &problem);
    }
}
