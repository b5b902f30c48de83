//! The examples pass, and each limit holds from one beyond it.

use serde_json::json;

use super::*;
use crate::cloud_api::wire::template::CreateTemplate;

fn with(kind: &str, content: Value) -> Value {
    json!({"messaging_product": "whatsapp", "recipient_type": "individual", "to": "+447700900123",
        "type": kind, kind: content})
}

/// Path and code of everything that is wrong.
fn wrong(body: &Value) -> Vec<(String, i64)> {
    match read_messages_call(body) {
        Ok(_) => Vec::new(),
        Err(violations) => violations.into_iter().map(|it| (it.path, it.code)).collect(),
    }
}

fn only(body: &Value, path: &str, code: i64) {
    assert_eq!(wrong(body), [(path.to_owned(), code)]);
}

fn fine(body: &Value) {
    assert_eq!(wrong(body), []);
}

fn long(chars: usize) -> String {
    "ü".repeat(chars)
}

#[test]
fn every_example_request_is_taken() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/cloud-api/requests");
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let body: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        if path.file_name().unwrap() == "create-template.json" {
            let template: CreateTemplate = serde_json::from_value(body).unwrap();
            assert_eq!(check_definition(&template), []);
        } else {
            fine(&body);
        }
    }
}

#[test]
fn the_envelope_needs_a_product_an_address_and_a_type() {
    only(&json!([]), "", CODE_PARAMETER);
    let mut body = with("text", json!({"body": "x"}));
    body["messaging_product"] = json!("telegram");
    only(&body, "messaging_product", CODE_PARAMETER);
    let mut body = with("text", json!({"body": "x"}));
    body["to"] = json!("");
    only(&body, "to", CODE_MISSING);
    for to in ["GB.7204418839015526601", "call me", "12"] {
        body["to"] = json!(to);
        only(&body, "to", CODE_INVALID);
    }
    let mut body = with("text", json!({"body": "x"}));
    body["recipient"] = json!("+447700900123");
    only(&body, "recipient", CODE_INVALID);
    body = with("text", json!({"body": "x"}));
    body["biz_opaque_callback_data"] = json!(long(513));
    only(&body, "biz_opaque_callback_data", CODE_PARAMETER);
    only(&with("hologram", json!({})), "type", CODE_INVALID);
    only(&json!({"messaging_product": "whatsapp", "to": "+447700900123"}), "type", CODE_MISSING);
    only(
        &json!({"messaging_product": "whatsapp", "to": "+447700900123", "type": "text"}),
        "text",
        CODE_MISSING,
    );
    only(
        &json!({"messaging_product": "whatsapp", "status": "read", "message_id": ""}),
        "message_id",
        CODE_MISSING,
    );
    only(&json!({"messaging_product": "whatsapp", "status": "read"}), "", CODE_MISSING);
}

#[test]
fn texts_have_4096_characters_and_captions_1024() {
    fine(&with("text", json!({"body": long(4096)})));
    only(&with("text", json!({"body": long(4097)})), "text.body", CODE_PARAMETER);
    only(&with("text", json!({"body": " "})), "text.body", CODE_MISSING);
    only(&with("text", json!({"body": 7})), "", CODE_INVALID);
    fine(&with("image", json!({"id": 604, "caption": long(1024)})));
    only(
        &with("image", json!({"id": "1", "caption": long(1025)})),
        "image.caption",
        CODE_PARAMETER,
    );
    only(&with("audio", json!({"id": "1", "caption": "x"})), "audio.caption", CODE_PARAMETER);
    only(&with("video", json!({"id": "1", "filename": "x"})), "video.filename", CODE_PARAMETER);
}

#[test]
fn media_come_by_id_or_by_https_link() {
    only(&with("sticker", json!({})), "sticker", CODE_MISSING);
    only(&with("image", json!({"id": "1", "link": "https://a.example/1"})), "image", CODE_INVALID);
    for link in ["http://a.example/1", "file:///etc/passwd", "a.example"] {
        only(&with("image", json!({"link": link})), "image.link", CODE_INVALID);
    }
}

#[test]
fn places_are_on_earth_and_contacts_have_names() {
    fine(&with("location", json!({"latitude": "51.5", "longitude": -0.12})));
    only(
        &with("location", json!({"latitude": 91, "longitude": 0})),
        "location.latitude",
        CODE_INVALID,
    );
    only(&with("location", json!({"latitude": 0, "longitude": "east"})), "", CODE_INVALID);
    fine(&with("contacts", json!([{"name": {"formatted_name": "Ada"}}])));
    only(&with("contacts", json!([])), "contacts", CODE_MISSING);
    only(
        &with("contacts", json!([{"phones": []}])),
        "contacts[0].name.formatted_name",
        CODE_MISSING,
    );
}

fn buttons(count: usize, title: &str) -> Value {
    let button = |index| json!({"type": "reply", "reply": {"id": format!("{index}"), "title": format!("{title}{index}")}});
    let buttons: Vec<_> = (0..count).map(button).collect();
    with(
        "interactive",
        json!({"type": "button", "body": {"text": "x"}, "action": {"buttons": buttons}}),
    )
}

#[test]
fn there_are_one_to_three_buttons_with_short_titles_that_differ() {
    let path = "interactive.action.buttons";
    fine(&buttons(3, ""));
    only(&buttons(4, ""), path, CODE_INVALID);
    only(&buttons(0, ""), path, CODE_MISSING);
    only(&buttons(1, &long(20)), &format!("{path}[0].reply.title"), CODE_PARAMETER);
    let mut same = buttons(2, "");
    same["interactive"]["action"]["buttons"][1]["reply"]["title"] = json!("0");
    only(&same, path, CODE_INVALID);
    let mut footer = buttons(1, "");
    footer["interactive"]["footer"] = json!({"text": long(61)});
    only(&footer, "interactive.footer.text", CODE_PARAMETER);
    let mut body = buttons(1, "");
    body["interactive"]["body"] = json!({"text": long(1025)});
    only(&body, "interactive.body.text", CODE_PARAMETER);
}

#[test]
fn a_list_has_ten_rows_in_all_and_titles_where_there_are_sections() {
    let rows = |from: usize, to: usize| {
        (from..to).map(|index| json!({"id": format!("{index}"), "title": "t"})).collect::<Vec<_>>()
    };
    let list = |sections: Value| {
        with(
            "interactive",
            json!({"type": "list", "body": {"text": long(4096)},
            "action": {"button": "Choose", "sections": sections}}),
        )
    };
    let path = "interactive.action.sections";
    fine(&list(json!([{"title": "a", "rows": rows(0, 5)}, {"title": "b", "rows": rows(5, 10)}])));
    only(&list(json!([{"rows": rows(0, 11)}])), path, CODE_INVALID);
    only(
        &list(json!([{"title": "a", "rows": rows(0, 1)}, {"rows": rows(1, 2)}])),
        &format!("{path}[1].title"),
        CODE_MISSING,
    );
    only(
        &list(json!([{"rows": [{"id": "1", "title": long(25)}]}])),
        &format!("{path}[0].rows[0].title"),
        CODE_PARAMETER,
    );
    let mut image_header = list(json!([{"rows": rows(0, 1)}]));
    image_header["interactive"]["header"] = json!({"type": "image", "image": {"id": "1"}});
    only(&image_header, "interactive.header", CODE_INVALID);
    only(
        &list(json!([{"rows": [{"id": "1", "title": "a"}, {"id": "1", "title": "b"}]}])),
        path,
        CODE_INVALID,
    );
}

#[test]
fn links_flows_and_carousels_are_checked_inside_their_json() {
    let cta = |parameters: Value| {
        with(
            "interactive",
            json!({"type": "cta_url", "body": {"text": "x"},
            "action": {"name": "cta_url", "parameters": parameters}}),
        )
    };
    let path = "interactive.action.parameters";
    only(
        &cta(json!({"display_text": long(21), "url": "https://a.example"})),
        &format!("{path}.display_text"),
        CODE_PARAMETER,
    );
    only(
        &cta(json!({"display_text": "Open", "url": "javascript:alert(1)"})),
        &format!("{path}.url"),
        CODE_INVALID,
    );
    let flow = json!({"type": "flow", "body": {"text": "x"}, "action": {"name": "flow", "parameters":
        {"flow_message_version": "3", "flow_cta": "Book", "flow_id": "1", "flow_action_payload": {"data": {}}}}});
    only(&with("interactive", flow), &format!("{path}.flow_action_payload.data"), CODE_INVALID);
    let card = |index: u64| {
        json!({"card_index": index, "type": "cta_url", "header": {"type": "image", "image": {"id": "1"}},
            "action": {"name": "cta_url", "parameters": {"display_text": "Open", "url": "https://a.example"}}})
    };
    let carousel = |cards: Vec<Value>| {
        with(
            "interactive",
            json!({"type": "carousel", "body": {"text": "x"}, "action": {"cards": cards}}),
        )
    };
    fine(&carousel(vec![card(0), card(1)]));
    only(&carousel(vec![card(0)]), "interactive.action.cards", CODE_MISSING);
    only(&carousel(vec![card(0), card(2)]), "interactive.action.cards[1].card_index", CODE_INVALID);
    let unknown =
        with("interactive", json!({"type": "hologram", "body": {"text": "x"}, "action": {}}));
    only(&unknown, "interactive.type", CODE_INVALID);
}

fn template(components: Value) -> Value {
    with("template", json!({"name": "a_1", "language": {"code": "en"}, "components": components}))
}

#[test]
fn template_values_have_no_line_breaks_tabs_or_runs_of_spaces() {
    let body = |text: &str| {
        template(json!([{"type": "body", "parameters": [{"type": "text", "text": text}]}]))
    };
    let path = "template.components[0].parameters[0].text";
    fine(&body("a    b"));
    for text in ["a\nb", "a\rb", "a\tb", "a     b"] {
        only(&body(text), path, CODE_VALUE_FORM);
    }
    only(&body(""), path, CODE_MISSING);
}

#[test]
fn template_parameters_are_of_the_right_type_in_the_right_place() {
    let button = |sub_type: &str, parameter: Value| {
        template(
            json!([{"type": "button", "sub_type": sub_type, "index": 0, "parameters": [parameter]}]),
        )
    };
    let path = "template.components[0]";
    fine(&button("copy_code", json!({"type": "coupon_code", "coupon_code": long(20)})));
    let too_long = button("copy_code", json!({"type": "coupon_code", "coupon_code": long(21)}));
    only(&too_long, &format!("{path}.parameters[0].coupon_code"), CODE_PARAMETER);
    let wrong_type = button("url", json!({"type": "payload", "payload": "x"}));
    only(&wrong_type, &format!("{path}.parameters[0].type"), CODE_VALUE_FORMAT);
    let no_index = template(json!([{"type": "button", "sub_type": "quick_reply",
        "parameters": [{"type": "payload", "payload": "x"}]}]));
    only(&no_index, &format!("{path}.index"), CODE_MISSING);
    let mixed = template(json!([{"type": "body", "parameters": [{"type": "text", "text": "a"},
        {"type": "text", "parameter_name": "b", "text": "b"}]}]));
    only(&mixed, &format!("{path}.parameters"), CODE_VALUE_FORMAT);
    only(&template(json!([{"type": "wings"}])), &format!("{path}.type"), CODE_INVALID);
    let unknown_type = template(json!([{"type": "body", "parameters": [{"type": "hologram"}]}]));
    only(&unknown_type, "", CODE_INVALID);
    let name = with("template", json!({"name": "Not Good", "language": {"code": "en"}}));
    only(&name, "template.name", CODE_INVALID);
}

fn definition(components: Value) -> Vec<(String, Option<i64>)> {
    let template =
        json!({"name": "a", "language": "en", "category": "UTILITY", "components": components});
    let template: CreateTemplate = serde_json::from_value(template).unwrap();
    check_definition(&template).into_iter().map(|it| (it.path, it.subcode)).collect()
}

#[test]
fn definitions_follow_the_rules_of_variables() {
    let body = |text: &str, examples: Value| {
        definition(json!([{"type": "BODY", "text": text, "example": {"body_text": [examples]}}]))
    };
    let path = "components[0].text".to_owned();
    assert_eq!(body("Hello {{1}}, see {{2}}.", json!(["a", "b"])), []);
    assert_eq!(body("{{1}} is here.", json!(["a"])), [(path.clone(), Some(2_388_299))]);
    for text in ["a {{2}} b", "a {{1}}{{2}} b", "a {{1}} {{2}} b", "a {{x}} b", "a {{1 b"] {
        assert_eq!(body(text, json!(["a", "b"])), [(path.clone(), Some(2_388_072))], "{text}");
    }
    let missing = body("a {{1}} b {{2}} c", json!(["a"]));
    assert_eq!(missing, [("components[0].example.body_text".to_owned(), None)]);
    assert_eq!(body(&long(1025), json!([])), [(path, Some(2_388_040))]);
}

#[test]
fn definitions_have_a_body_short_parts_and_buttons_that_go_together() {
    let body = json!({"type": "body", "text": "Hello"});
    assert_eq!(definition(json!([])), [("components".to_owned(), Some(2_388_072))]);
    let header = definition(json!([body, {"type": "HEADER", "format": "IMAGE"}]));
    assert_eq!(header, [("components[1].example.header_handle".to_owned(), Some(2_388_047))]);
    let footer = definition(json!([body, {"type": "FOOTER", "text": "{{1}}"}]));
    assert_eq!(footer, [("components[1].text".to_owned(), Some(2_388_073))]);
    let buttons =
        |buttons: Value| definition(json!([body, {"type": "BUTTONS", "buttons": buttons}]));
    let quick = json!({"type": "QUICK_REPLY", "text": "Stop"});
    let url =
        json!({"type": "URL", "text": "Track", "url": "https://a.example/{{1}}", "example": ["a"]});
    assert_eq!(buttons(json!([quick, quick, url])), []);
    let path = "components[1].buttons".to_owned();
    assert_eq!(buttons(json!([quick, url, quick])), [(path.clone(), Some(2_388_039))]);
    assert_eq!(buttons(json!([url, url, url])), [(path, Some(2_388_039))]);
    let no_example = json!({"type": "URL", "text": "Track", "url": "https://a.example/{{1}}"});
    assert_eq!(
        buttons(json!([no_example])),
        [("components[1].buttons[0].example".to_owned(), None)]
    );
}

#[test]
fn violations_quote_no_values() {
    let body = with(
        "interactive",
        json!({"type": "secret", "body": {"text": "secret"}, "action": {"name": "secret"}}),
    );
    let shown = format!("{:?}", read_messages_call(&body).unwrap_err());
    assert!(!shown.contains("secret"), "{shown}");
}
