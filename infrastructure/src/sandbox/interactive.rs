//! What an interactive message must look like (reference: 2.4). Kinds that need an account's catalogue or calling are
//! only looked at for their action.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::check::{media, optional, string};
use super::error::GraphError;

type Checked<T> = Result<T, GraphError>;

const BODY_CHARS_MAX: usize = 1024;
/// Meta's page says 4096 for lists, its OpenAPI file 1024; the page is what clients live by.
const LIST_BODY_CHARS_MAX: usize = 4096;
const SHORT_CHARS_MAX: usize = 60;

const KINDS: &[&str] = &[
    "button",
    "list",
    "cta_url",
    "flow",
    "location_request_message",
    "product",
    "product_list",
    "catalog_message",
    "carousel",
    "address_message",
    "call_permission_request",
    "voice_call",
    "contact_request",
];

/// Judges the `interactive` object; media of its header are added to `used`.
pub(crate) fn check(
    content: &Map<String, Value>,
    used: &mut Vec<(String, &'static str)>,
) -> Checked<()> {
    let kind = string(content, "type", "interactive", 64)?;
    if !KINDS.contains(&kind) {
        return Err(invalid(format!("interactive.type must be one of {}", KINDS.join(", "))));
    }
    let body_max = if kind == "list" { LIST_BODY_CHARS_MAX } else { BODY_CHARS_MAX };
    match content.get("body") {
        Some(Value::Object(body)) => {
            limited(body, "text", "interactive.body", body_max)?;
        }
        Some(_) => return Err(invalid("interactive.body must be an object".to_owned())),
        None if ["product", "call_permission_request", "voice_call"].contains(&kind) => {}
        None => return Err(missing("interactive.body")),
    }
    if let Some(footer) = content.get("footer") {
        let footer = footer
            .as_object()
            .ok_or_else(|| invalid("interactive.footer must be an object".to_owned()))?;
        limited(footer, "text", "interactive.footer", SHORT_CHARS_MAX)?;
    }
    header(content, kind, used)?;
    let action = content
        .get("action")
        .and_then(Value::as_object)
        .ok_or_else(|| missing("interactive.action"))?;
    match kind {
        "button" => buttons(action),
        "list" => list(action),
        "cta_url" => cta_url(action),
        "flow" => flow(action),
        "location_request_message" => named(action, "send_location"),
        "contact_request" => named(action, "request_contact_info"),
        _ => Ok(()),
    }
}

fn header(
    content: &Map<String, Value>,
    kind: &str,
    used: &mut Vec<(String, &'static str)>,
) -> Checked<()> {
    let Some(header) = content.get("header") else {
        return if kind == "product_list" { Err(missing("interactive.header")) } else { Ok(()) };
    };
    let header = header
        .as_object()
        .ok_or_else(|| invalid("interactive.header must be an object".to_owned()))?;
    let format = string(header, "type", "interactive.header", 16)?;
    let text_only = ["list", "product_list"].contains(&kind);
    if ["location_request_message", "product"].contains(&kind) || (text_only && format != "text") {
        return Err(invalid(format!(
            "interactive.header of type {format} is not allowed for {kind}"
        )));
    }
    let media_kind = match format {
        "text" => {
            return limited(header, "text", "interactive.header", SHORT_CHARS_MAX).map(|_| ());
        }
        "image" => "image",
        "video" => "video",
        "document" => "document",
        _ => {
            return Err(invalid(
                "interactive.header.type must be text, image, video or document".to_owned(),
            ));
        }
    };
    let object = header
        .get(media_kind)
        .and_then(Value::as_object)
        .ok_or_else(|| missing(&format!("interactive.header.{media_kind}")))?;
    used.extend(media(object, media_kind)?);
    Ok(())
}

fn buttons(action: &Map<String, Value>) -> Checked<()> {
    let buttons =
        action.get("buttons").and_then(Value::as_array).ok_or_else(|| missing("action.buttons"))?;
    if !(1..=3).contains(&buttons.len()) {
        return Err(invalid(format!(
            "action.buttons has {} buttons, expected 1 to 3",
            buttons.len()
        )));
    }
    let (mut ids, mut titles) = (HashSet::new(), HashSet::new());
    for button in buttons {
        let reply = button.get("reply").and_then(Value::as_object);
        let (Some("reply"), Some(reply)) = (button.get("type").and_then(Value::as_str), reply)
        else {
            return Err(invalid(
                "each of action.buttons must be {\"type\":\"reply\",\"reply\":{…}}".to_owned(),
            ));
        };
        if !ids.insert(limited(reply, "id", "reply", 256)?)
            || !titles.insert(limited(reply, "title", "reply", 20)?)
        {
            return Err(invalid("ids and titles of action.buttons must differ".to_owned()));
        }
    }
    Ok(())
}

fn list(action: &Map<String, Value>) -> Checked<()> {
    limited(action, "button", "action", 20)?;
    let sections = action
        .get("sections")
        .and_then(Value::as_array)
        .ok_or_else(|| missing("action.sections"))?;
    if !(1..=10).contains(&sections.len()) {
        return Err(invalid(format!(
            "action.sections has {} sections, expected 1 to 10",
            sections.len()
        )));
    }
    let (mut ids, mut rows_total) = (HashSet::new(), 0);
    for section in sections {
        let section = section
            .as_object()
            .ok_or_else(|| invalid("each section must be an object".to_owned()))?;
        if sections.len() > 1 {
            limited(section, "title", "section", 24)?;
        } else {
            short(section, "title", "section", 24)?;
        }
        let rows = section.get("rows").and_then(Value::as_array).filter(|rows| !rows.is_empty());
        for row in rows.ok_or_else(|| missing("section.rows"))? {
            let row =
                row.as_object().ok_or_else(|| invalid("each row must be an object".to_owned()))?;
            limited(row, "title", "row", 24)?;
            short(row, "description", "row", 72)?;
            if !ids.insert(limited(row, "id", "row", 200)?) {
                return Err(invalid("row ids must differ".to_owned()));
            }
            rows_total += 1;
        }
    }
    if rows_total > 10 {
        return Err(invalid(format!(
            "the sections have {rows_total} rows, expected at most 10 in total"
        )));
    }
    Ok(())
}

fn cta_url(action: &Map<String, Value>) -> Checked<()> {
    named(action, "cta_url")?;
    let parameters = parameters(action)?;
    limited(parameters, "display_text", "parameters", 20)?;
    let target = limited(parameters, "url", "parameters", 2000)?;
    let is_web = url::Url::parse(target).is_ok_and(|url| ["http", "https"].contains(&url.scheme()));
    if is_web {
        Ok(())
    } else {
        Err(invalid("parameters.url must be a URL with http or https".to_owned()))
    }
}

fn flow(action: &Map<String, Value>) -> Checked<()> {
    named(action, "flow")?;
    let parameters = parameters(action)?;
    limited(parameters, "flow_cta", "parameters", 30)?;
    let known = |key: &str| {
        parameters.get(key).and_then(Value::as_str).is_some_and(|text| !text.is_empty())
    };
    if known("flow_id") == known("flow_name") {
        return Err(invalid(
            "exactly one of parameters.flow_id and parameters.flow_name is required".to_owned(),
        ));
    }
    let data = parameters.get("flow_action_payload").and_then(|payload| payload.get("data"));
    if data.is_some_and(|data| data.as_object().is_none_or(Map::is_empty)) {
        return Err(invalid(
            "flow_action_payload.data must be an object that is not empty".to_owned(),
        ));
    }
    Ok(())
}

fn parameters(action: &Map<String, Value>) -> Checked<&Map<String, Value>> {
    action.get("parameters").and_then(Value::as_object).ok_or_else(|| missing("action.parameters"))
}

fn named(action: &Map<String, Value>, name: &str) -> Checked<()> {
    if action.get("name").and_then(Value::as_str) == Some(name) {
        return Ok(());
    }
    Err(invalid(format!("action.name must be {name}")))
}

/// A required text, whose length is judged with 131009 as Meta does within interactive messages.
fn limited<'a>(
    object: &'a Map<String, Value>,
    key: &str,
    of: &str,
    chars_max: usize,
) -> Checked<&'a str> {
    match short(object, key, of, chars_max)? {
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(missing(&format!("{of}.{key}"))),
    }
}

fn short<'a>(
    object: &'a Map<String, Value>,
    key: &str,
    of: &str,
    chars_max: usize,
) -> Checked<Option<&'a str>> {
    let text = optional(object, key, of, usize::MAX)?;
    match text.map(|text| text.chars().count()) {
        Some(found) if found > chars_max => {
            Err(invalid(format!("{of}.{key} has {found} characters, expected at most {chars_max}")))
        }
        _ => Ok(text),
    }
}

fn invalid(details: String) -> GraphError {
    GraphError::new(131009, details)
}

fn missing(name: &str) -> GraphError {
    GraphError::new(131008, format!("{name} is missing"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn code(value: Value) -> u32 {
        let content = value.as_object().expect("an object").clone();
        match check(&content, &mut Vec::new()) {
            Ok(()) => 0,
            Err(error) => error.code,
        }
    }

    fn reply(id: &str, title: &str) -> Value {
        json!({"type":"reply","reply":{"id":id,"title":title}})
    }

    #[test]
    fn buttons_are_one_to_three_short_and_distinct() {
        let with = |buttons: Vec<Value>| {
            code(json!({"type":"button","body":{"text":"Which?"},"action":{"buttons":buttons}}))
        };
        assert_eq!(with(vec![reply("a", "Move"), reply("b", "Keep")]), 0);
        assert_eq!(with(vec![]), 131009);
        assert_eq!(with((0..4).map(|n| reply(&n.to_string(), &n.to_string())).collect()), 131009);
        assert_eq!(with(vec![reply("a", "Move"), reply("b", "Move")]), 131009);
        assert_eq!(with(vec![reply("a", &"x".repeat(21))]), 131009);
        assert_eq!(with(vec![reply("", "Move")]), 131008);
    }

    #[test]
    fn a_list_has_at_most_ten_rows_in_all_its_sections() {
        let section = |title: &str, from: usize, count: usize| {
            let rows: Vec<Value> =
                (from..from + count).map(|n| json!({"id":n.to_string(),"title":"Row"})).collect();
            json!({"title":title,"rows":rows})
        };
        let with = |sections: Vec<Value>| {
            code(
                json!({"type":"list","body":{"text":"Pick"},"action":{"button":"Open","sections":sections}}),
            )
        };
        assert_eq!(with(vec![section("A", 0, 5), section("B", 5, 5)]), 0);
        assert_eq!(with(vec![section("A", 0, 5), section("B", 5, 6)]), 131009);
        assert_eq!(with(vec![section("A", 0, 1), section("", 1, 1)]), 131008);
        assert_eq!(with(vec![section("", 0, 1)]), 0);
    }

    #[test]
    fn the_other_kinds_are_judged_by_their_action() {
        let url = |url: &str| {
            code(json!({"type":"cta_url","body":{"text":"x"},
                "action":{"name":"cta_url","parameters":{"display_text":"Go","url":url}}}))
        };
        assert_eq!(url("https://example.org"), 0);
        assert_eq!(url("javascript:alert(1)"), 131009);
        assert_eq!(code(json!({"type":"button","action":{"buttons":[reply("a", "b")]}})), 131008);
        assert_eq!(code(json!({"type":"dance","body":{"text":"x"},"action":{}})), 131009);
        let ask = json!({"type":"location_request_message","body":{"text":"Where?"},"action":{"name":"send_location"}});
        assert_eq!(code(ask), 0);
    }

    #[test]
    fn the_examples_of_the_reference_pass() {
        let flow = json!({"type":"flow","body":{"text":"x"},"action":{"name":"flow","parameters":{
            "flow_message_version":"3","flow_id":"1","flow_cta":"Open","flow_action":"navigate",
            "flow_action_payload":{"screen":"A"}}}});
        assert_eq!(code(flow), 0);
        let header = json!({"type":"button","header":{"type":"image","image":{"id":"5"}},"body":{"text":"x"},
            "action":{"buttons":[reply("a", "b")]}});
        let mut used = Vec::new();
        check(header.as_object().expect("an object"), &mut used).expect("valid");
        assert_eq!(used, vec![("5".to_owned(), "image")]);
    }
}
