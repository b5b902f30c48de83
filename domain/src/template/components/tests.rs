use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::message::ParameterValue;
use crate::template::TemplateCategory::{self, Authentication, Marketing, Utility};

type Values = BTreeMap<String, ParameterValue>;

fn parsed(components: Value) -> TemplateComponents {
    TemplateComponents::parse(&components).unwrap()
}

fn names(template: &TemplateComponents) -> Vec<String> {
    template.slots().into_iter().map(|slot| slot.name).collect()
}

fn values(given: Value) -> Values {
    serde_json::from_value(given).unwrap()
}

fn normalised(template: &TemplateComponents, given: Value) -> Values {
    template.normalise(&values(given)).unwrap()
}

fn refused(components: Value, category: TemplateCategory) -> ComponentsError {
    parsed(components).check(category).unwrap_err()
}

fn positional() -> Value {
    json!([
        { "type": "HEADER", "format": "TEXT", "text": "Order {{1}}", "example": { "header_text": ["A-17"] } },
        { "type": "BODY", "text": "Hello {{1}}, your parcel {{2}} leaves today.",
          "example": { "body_text": [["Ada", "A-17"]] } },
        { "type": "FOOTER", "text": "Reply STOP to end" },
        { "type": "BUTTONS", "buttons": [
            { "type": "QUICK_REPLY", "text": "Stop updates" },
            { "type": "URL", "text": "Track", "url": "https://example.org/t/{{1}}", "example": ["A-17"] },
            { "type": "PHONE_NUMBER", "text": "Call", "phone_number": "+4930123456" } ] }
    ])
}

fn named() -> Value {
    json!([
        { "type": "header", "format": "text", "text": "Order {{order_no}}",
          "example": { "header_text_named_params": [{ "param_name": "order_no", "example": "A-17" }] } },
        { "type": "body", "text": "Hello {{first_name}}, order {{order_no}} leaves today.",
          "example": { "body_text_named_params": [
              { "param_name": "first_name", "example": "Ada" }, { "param_name": "order_no", "example": "A-17" }] } }
    ])
}

fn otp() -> Value {
    json!([
        { "type": "BODY", "add_security_recommendation": true },
        { "type": "FOOTER", "code_expiration_minutes": 10 },
        { "type": "BUTTONS", "buttons": [{ "type": "OTP", "otp_type": "COPY_CODE", "text": "Copy code" }] }
    ])
}

fn offer() -> Value {
    json!([
        { "type": "HEADER", "format": "IMAGE", "example": { "header_handle": ["4::x"] } },
        { "type": "LIMITED_TIME_OFFER", "limited_time_offer": { "text": "Ends soon", "has_expiration": true } },
        { "type": "BODY", "text": "Only today for you, {{1}}!", "example": { "body_text": [["Ada"]] } },
        { "type": "BUTTONS", "buttons": [
            { "type": "COPY_CODE", "example": "SAVE20" },
            { "type": "FLOW", "text": "Sign up", "flow_id": "1" } ] }
    ])
}

fn carousel() -> Value {
    let card = json!({ "components": [
        { "type": "HEADER", "format": "IMAGE", "example": { "header_handle": ["4::x"] } },
        { "type": "BODY", "text": "For {{1}} only.", "example": { "body_text": [["Ada"]] } },
        { "type": "BUTTONS", "buttons": [
            { "type": "QUICK_REPLY", "text": "More" },
            { "type": "URL", "text": "Buy", "url": "https://example.org/{{1}}", "example": ["x"] } ] }
    ] });
    json!([{ "type": "BODY", "text": "New this week." }, { "type": "CAROUSEL", "cards": [card, card] }])
}

#[test]
fn slots_come_in_the_order_of_the_screen() {
    assert_eq!(
        names(&parsed(positional())),
        ["header.1", "body.1", "body.2", "button.0.payload", "button.1.url"]
    );
    assert_eq!(names(&parsed(named())), ["header.order_no", "body.first_name", "body.order_no"]);
    assert_eq!(names(&parsed(otp())), ["body.1"]);
    assert_eq!(
        names(&parsed(offer())),
        [
            "header.image",
            "body.1",
            "button.0.coupon_code",
            "button.1.flow",
            "limited_time_offer.expiration_time_ms"
        ]
    );
    assert_eq!(
        names(&parsed(carousel())),
        [
            "card.0.header.image",
            "card.0.body.1",
            "card.0.button.0.payload",
            "card.0.button.1.url",
            "card.1.header.image",
            "card.1.body.1",
            "card.1.button.0.payload",
            "card.1.button.1.url",
        ]
    );
}

#[test]
fn payloads_and_flow_tokens_are_optional() {
    let optional = |template: Value| {
        let slots = parsed(template).slots();
        slots.into_iter().filter(|slot| !slot.required).map(|slot| slot.name).collect::<Vec<_>>()
    };
    assert_eq!(optional(positional()), ["button.0.payload"]);
    assert_eq!(optional(offer()), ["button.1.flow"]);
}

#[test]
fn what_whatsapp_would_take_passes() {
    for (template, category) in [
        (positional(), Utility),
        (named(), Utility),
        (otp(), Authentication),
        (offer(), Marketing),
        (carousel(), Marketing),
    ] {
        assert_eq!(parsed(template).check(category), Ok(()));
    }
}

#[test]
fn a_numbered_template_fills_its_components_in_order() {
    let template = parsed(positional());
    let given = json!({ "header.1": "A-17", "2": "A-17", "1": "Ada", "button.1.url": "a17", "button.0.payload": "stop" });
    let values = normalised(&template, given);
    assert!(template.missing(&values).is_empty());
    assert_eq!(
        template.wire(&values),
        json!([
            { "type": "header", "parameters": [{ "type": "text", "text": "A-17" }] },
            { "type": "body", "parameters": [{ "type": "text", "text": "Ada" }, { "type": "text", "text": "A-17" }] },
            { "type": "button", "sub_type": "quick_reply", "index": "0",
              "parameters": [{ "type": "payload", "payload": "stop" }] },
            { "type": "button", "sub_type": "url", "index": "1", "parameters": [{ "type": "text", "text": "a17" }] }
        ])
    );
    assert_eq!(
        template.preview(&values),
        "Order A-17\nHello Ada, your parcel A-17 leaves today.\nReply STOP to end"
    );
}

#[test]
fn ten_and_more_variables_stay_in_the_order_of_their_numbers() {
    let text: String = (1..=11).map(|i| format!("word {{{{{i}}}}} ")).collect();
    let template = parsed(json!([{ "type": "BODY", "text": format!("{text}end") }]));
    assert_eq!(names(&template)[9..], ["body.10", "body.11"]);
}

#[test]
fn a_named_template_tells_each_name_and_a_bare_name_fills_it_everywhere() {
    let template = parsed(named());
    let values = normalised(&template, json!({ "first_name": "Ada", "order_no": "A-17" }));
    assert_eq!(
        template.wire(&values),
        json!([
            { "type": "header", "parameters": [{ "type": "text", "parameter_name": "order_no", "text": "A-17" }] },
            { "type": "body", "parameters": [
                { "type": "text", "parameter_name": "first_name", "text": "Ada" },
                { "type": "text", "parameter_name": "order_no", "text": "A-17" }] }
        ])
    );
}

#[test]
fn a_code_goes_into_the_body_and_the_button() {
    let template = parsed(otp());
    let expected = json!([
        { "type": "body", "parameters": [{ "type": "text", "text": "483920" }] },
        { "type": "button", "sub_type": "url", "index": "0", "parameters": [{ "type": "text", "text": "483920" }] }
    ]);
    let both = json!({ "body.1": "483920", "button.0.url": "483920" });
    for given in [json!({ "1": "483920" }), json!({ "button.0.url": "483920" }), both] {
        assert_eq!(template.wire(&normalised(&template, given)), expected);
    }
    let error =
        template.normalise(&values(json!({ "body.1": "1", "button.0.url": "2" }))).unwrap_err();
    assert!(error.problem.contains("given twice"), "{error}");
    assert_eq!(
        template.preview(&values(json!({ "body.1": "483920" }))),
        "483920 is your verification code. For your security, do not share this code.\nThis code expires in 10 minutes."
    );
}

#[test]
fn an_authentication_template_read_back_from_whatsapp_takes_one_code_too() {
    let template = parsed(json!([
        { "type": "BODY", "text": "*{{1}}* is your verification code." },
        { "type": "BUTTONS", "buttons": [{ "type": "URL", "text": "Copy code",
            "url": "https://www.whatsapp.com/otp/code/?otp_type=COPY_CODE&code=otp{{1}}" }] }
    ]));
    assert_eq!(names(&template), ["body.1"]);
    assert_eq!(template.check(Authentication), Ok(()));
    assert_eq!(template.wire(&values(json!({ "body.1": "12" })))[1]["parameters"][0]["text"], "12");
}

#[test]
fn media_coupons_flows_and_offers_have_their_own_forms() {
    let template = parsed(offer());
    let values = normalised(
        &template,
        json!({
            "header.image": { "link": "https://example.org/a.png" }, "1": "Ada", "button.0.coupon_code": "SAVE20",
            "limited_time_offer.expiration_time_ms": "1795000000000",
        }),
    );
    assert_eq!(
        template.wire(&values),
        json!([
            { "type": "header", "parameters": [{ "type": "image", "image": { "link": "https://example.org/a.png" } }] },
            { "type": "body", "parameters": [{ "type": "text", "text": "Ada" }] },
            { "type": "button", "sub_type": "copy_code", "index": "0",
              "parameters": [{ "type": "coupon_code", "coupon_code": "SAVE20" }] },
            { "type": "button", "sub_type": "flow", "index": "1",
              "parameters": [{ "type": "action", "action": { "flow_token": "unused" } }] },
            { "type": "limited_time_offer", "parameters": [{ "type": "limited_time_offer",
              "limited_time_offer": { "expiration_time_ms": 1_795_000_000_000_i64 } }] }
        ])
    );
    assert_eq!(template.preview(&values), "[image]\nOnly today for you, Ada!");
}

#[test]
fn cards_carry_their_own_values() {
    let template = parsed(carousel());
    let values = normalised(
        &template,
        json!({
            "card.0.header.image": { "id": "1" }, "card.0.body.1": "Ada", "card.0.button.1.url": "a",
            "card.1.header.image": "https://example.org/b.png", "card.1.body.1": "Ada", "card.1.button.1.url": "b",
        }),
    );
    assert!(template.missing(&values).is_empty());
    let wire = template.wire(&values);
    assert_eq!(wire[0]["type"], "carousel");
    assert_eq!(
        wire[0]["cards"][1],
        json!({ "card_index": 1, "components": [
            { "type": "header", "parameters": [{ "type": "image", "image": { "link": "https://example.org/b.png" } }] },
            { "type": "body", "parameters": [{ "type": "text", "text": "Ada" }] },
            { "type": "button", "sub_type": "url", "index": "1", "parameters": [{ "type": "text", "text": "b" }] }
        ] })
    );
}

#[test]
fn currency_dates_and_documents_keep_what_whatsapp_knows() {
    let template = parsed(json!([
        { "type": "HEADER", "format": "DOCUMENT" }, { "type": "BODY", "text": "Pay {{1}} by {{2}} please." }
    ]));
    let currency = json!({ "fallback_value": "10 €", "code": "EUR", "amount_1000": 10_000 });
    let values = normalised(
        &template,
        json!({
            "header.document": { "document": { "id": "5", "filename": "bill.pdf", "caption": "no" } },
            "1": { "type": "currency", "currency": currency }, "2": { "date_time": { "fallback_value": "Monday" } },
        }),
    );
    let wire = template.wire(&values);
    assert_eq!(wire[0]["parameters"][0]["document"], json!({ "id": "5", "filename": "bill.pdf" }));
    assert_eq!(wire[1]["parameters"][0], json!({ "type": "currency", "currency": currency }));
    assert_eq!(wire[1]["parameters"][1]["type"], "date_time");
    assert_eq!(template.preview(&values), "[document]\nPay 10 € by Monday please.");
}

#[test]
fn a_template_without_variables_has_no_components_to_send() {
    let template = parsed(json!([{ "type": "BODY", "text": "We moved." }]));
    assert_eq!(template.wire(&Values::new()), json!([]));
    let error = template.normalise(&values(json!({ "1": "x" }))).unwrap_err();
    assert!(error.problem.contains("no slots"));
}

#[test]
fn an_unknown_name_is_answered_with_the_names_there_are() {
    let error = parsed(named()).normalise(&values(json!({ "fist_name": "Ada" }))).unwrap_err();
    assert_eq!(error.field, "parameters.fist_name");
    assert!(error.problem.contains("body.first_name"), "{error}");
}

#[test]
fn a_value_of_the_wrong_kind_says_what_would_be_right() {
    let refused = |given| parsed(offer()).normalise(&values(given)).unwrap_err();
    assert!(refused(json!({ "header.image": "nice picture" })).problem.contains("link"));
    assert!(
        refused(json!({ "header.image": { "link": "https://x", "id": "1" } }))
            .problem
            .contains("link")
    );
    assert!(
        refused(json!({ "limited_time_offer.expiration_time_ms": "tomorrow" }))
            .problem
            .contains("milliseconds")
    );
    assert!(refused(json!({ "1": { "link": "https://x" } })).problem.contains("text"));
}

#[test]
fn placeholders_wait_for_their_values() {
    let template = parsed(offer());
    let values = normalised(
        &template,
        json!({
            "header.image": { "link": "{{attributes.photo}}" }, "limited_time_offer.expiration_time_ms": "{{attributes.end}}",
        }),
    );
    assert_eq!(normalised(&template, serde_json::to_value(&values).unwrap()), values);
}

#[test]
fn a_value_with_braces_is_not_filled_again() {
    let template = parsed(positional());
    let values = normalised(&template, json!({ "1": "{{2}}", "2": "secret" }));
    assert!(template.preview(&values).contains("Hello {{2}}, your parcel secret"));
}

#[test]
fn blank_values_are_missing() {
    let template = parsed(positional());
    let values = normalised(&template, json!({ "1": " \n", "2": "x" }));
    assert_eq!(template.missing(&values), ["header.1", "body.1", "button.1.url"]);
}

#[test]
fn text_is_cleaned_as_whatsapp_wants_it() {
    assert_eq!(clean_text(" a\nb\t c "), "a b  c");
    assert_eq!(clean_text("a    b"), "a    b");
    assert_eq!(clean_text("a     b"), "a b");
    assert_eq!(clean_text("a\r\n\r\n\r\nb"), "a b");
}

#[test]
fn values_that_are_too_long_are_told_without_the_value() {
    let template = parsed(offer());
    let too_long = |name: &str, chars: usize| {
        template.check_values(&values(json!({ name: "x".repeat(chars) })))
    };
    let expected =
        ValueProblem::TooLong { what: "button.0.coupon_code".to_owned(), chars: 21, max: 20 };
    assert_eq!(too_long("button.0.coupon_code", 21), Err(expected));
    assert!(too_long("button.0.coupon_code", 20).is_ok());
    // 20 characters are the template's own.
    let own = "Only today for you, !".chars().count();
    assert!(too_long("body.1", 1024 - own).is_ok());
    let expected = ValueProblem::TooLong { what: "body".to_owned(), chars: 1025, max: 1024 };
    assert_eq!(too_long("body.1", 1025 - own), Err(expected));
    assert_eq!(
        template.too_long(&values(json!({ "body.1": "x".repeat(1025 - own) }))).as_deref(),
        Some("body")
    );
    assert_eq!(template.too_long(&values(json!({ "body.1": "x", "header.image": "" }))), None);
    let code = parsed(otp()).check_values(&values(json!({ "body.1": "1".repeat(16) })));
    assert!(matches!(code, Err(ValueProblem::TooLong { max: 15, .. })));
}

#[test]
fn unknown_kinds_are_read_and_ignored_but_not_handed_in() {
    let components = json!([
        { "type": "BODY", "text": "Hi." }, { "type": "HOLOGRAM", "beam": 5 },
        { "type": "BUTTONS", "buttons": [{ "type": "TELEPORT", "text": "Go" }] }
    ]);
    assert!(names(&parsed(components.clone())).is_empty());
    assert_eq!(refused(components, Utility).field, "components[1].type");
}

#[test]
fn what_is_no_components_array_is_refused() {
    let field = |components: Value| TemplateComponents::parse(&components).unwrap_err().field;
    assert_eq!(field(json!({})), "components");
    assert_eq!(field(json!([5])), "components[0]");
    assert_eq!(field(json!([{ "text": "x" }])), "components[0].type");
    assert_eq!(field(json!([{ "type": "BODY", "text": 5 }])), "components[0].text");
    assert_eq!(field(json!([{ "type": "BUTTONS" }])), "components[0].buttons");
    assert_eq!(
        field(json!([{ "type": "CAROUSEL", "cards": [{}] }])),
        "components[0].cards[0].components"
    );
}

#[test]
fn bodies_follow_whatsapps_variable_rules() {
    let body = |text: &str, examples: usize| {
        let examples = vec!["x"; examples];
        let components =
            json!([{ "type": "BODY", "text": text, "example": { "body_text": [examples] } }]);
        parsed(components).check(Utility).map_err(|error| (error.field, error.problem))
    };
    let problem = |text: &str, examples: usize| {
        let (field, problem) = body(text, examples).unwrap_err();
        assert!(field.starts_with("components[0]."), "{field}");
        problem
    };
    assert!(body("Hi {{1}} and {{2}}.", 2).is_ok());
    assert!(body("Hi {{1}}, yes {{1}}!", 1).is_ok());
    assert!(problem("", 0).contains("1 to 1024"));
    assert!(problem(&"x".repeat(1025), 0).contains("1 to 1024"));
    assert!(problem("{{1}} hello.", 1).contains("before the first"));
    assert!(problem("Hello {{1}} ", 1).contains("after the last"));
    assert!(problem("Hi {{1}} {{2}}.", 2).contains("between"));
    assert!(problem("Hi {{2}}.", 2).contains("without a gap"));
    assert!(problem("Hi {{1}} and {{name}}.", 2).contains("not both"));
    assert!(problem("Hi {{First}}.", 2).contains("lower-case"));
    assert!(problem("Hi {{1}.", 1).contains("close every variable"));
    assert!(problem("Hi {{1}} and {{2}}.", 1).contains("each of the 2"));
}

#[test]
fn each_component_has_its_limits() {
    let with = |component: Value| {
        refused(json!([{ "type": "BODY", "text": "Hi." }, component]), Utility).field
    };
    let header = |text: &str| with(json!({ "type": "HEADER", "format": "TEXT", "text": text }));
    assert_eq!(header(&"x".repeat(61)), "components[1].text");
    assert_eq!(header("*Sale*"), "components[1].text");
    assert_eq!(header("{{1}} of {{2}}"), "components[1].text");
    assert_eq!(header("Order {{1}}"), "components[1].example.header_text");
    assert_eq!(
        with(json!({ "type": "HEADER", "format": "IMAGE" })),
        "components[1].example.header_handle"
    );
    assert_eq!(with(json!({ "type": "FOOTER", "text": "Hi {{1}}" })), "components[1].text");
    assert_eq!(with(json!({ "type": "BODY", "text": "Again." })), "components[1].type");
    assert_eq!(refused(json!([{ "type": "FOOTER", "text": "x" }]), Utility).field, "components");
}

#[test]
fn buttons_have_their_limits() {
    let with = |buttons: Value| {
        refused(
            json!([{ "type": "BODY", "text": "Hi." }, { "type": "BUTTONS", "buttons": buttons }]),
            Utility,
        )
        .field
    };
    let reply = json!({ "type": "QUICK_REPLY", "text": "Yes" });
    let url = json!({ "type": "URL", "text": "Go", "url": "https://example.org" });
    let all = "components[1].buttons";
    assert_eq!(with(json!([])), all);
    assert_eq!(with(json!(vec![reply.clone(); 11])), all);
    assert_eq!(with(json!([url, url, url])), all);
    assert_eq!(with(json!([reply, url, reply])), all);
    assert_eq!(
        with(json!([{ "type": "QUICK_REPLY", "text": "x".repeat(26) }])),
        format!("{all}[0].text")
    );
    assert_eq!(
        with(json!([{ "type": "URL", "text": "Go", "url": "example.org" }])),
        format!("{all}[0].url")
    );
    assert_eq!(
        with(json!([{ "type": "URL", "text": "Go", "url": "https://e.org/{{1}}/x" }])),
        format!("{all}[0].url")
    );
    assert_eq!(
        with(json!([{ "type": "URL", "text": "Go", "url": "https://e.org/{{1}}" }])),
        format!("{all}[0].example")
    );
    assert_eq!(
        with(json!([{ "type": "PHONE_NUMBER", "text": "Call", "phone_number": "call me" }])),
        format!("{all}[0].phone_number")
    );
    assert_eq!(
        with(json!([{ "type": "COPY_CODE", "example": "x".repeat(16) }])),
        format!("{all}[0].example")
    );
    assert_eq!(with(json!([{ "type": "OTP", "otp_type": "COPY_CODE" }])), format!("{all}[0].type"));
}

#[test]
fn authentication_templates_have_one_code_button_and_no_header() {
    let field = |components: Value| refused(components, Authentication).field;
    assert_eq!(field(json!([{ "type": "BODY" }])), "components");
    let mut with_header = otp();
    with_header
        .as_array_mut()
        .unwrap()
        .push(json!({ "type": "HEADER", "format": "TEXT", "text": "Code" }));
    assert_eq!(field(with_header), "components[3]");
    let mut slow = otp();
    slow[1]["code_expiration_minutes"] = json!(91);
    assert_eq!(field(slow), "components[1].code_expiration_minutes");
    let mut one_tap = otp();
    one_tap[2]["buttons"][0]["otp_type"] = json!("one_tap");
    assert_eq!(field(one_tap.clone()), "components[2].buttons[0].supported_apps");
    one_tap[2]["buttons"][0]["supported_apps"] =
        json!([{ "package_name": "org.example", "signature_hash": "K8a/AINcGX7" }]);
    assert_eq!(parsed(one_tap).check(Authentication), Ok(()));
}

#[test]
fn cards_are_of_one_kind() {
    let mut one = carousel();
    one[1]["cards"].as_array_mut().unwrap().pop();
    assert_eq!(refused(one, Marketing).field, "components[1].cards");
    let mut mixed = carousel();
    mixed[1]["cards"][1]["components"][0]["format"] = json!("VIDEO");
    assert_eq!(refused(mixed, Marketing).field, "components[1].cards[1].components");
    let mut long = carousel();
    long[1]["cards"][0]["components"][1]["text"] = json!("x".repeat(161));
    assert_eq!(refused(long, Marketing).field, "components[1].cards[0].components[1].text");
}

fn any_value() -> impl Strategy<Value = ParameterValue> {
    let key = prop_oneof!["link", "id", "text", "currency", "latitude", "flow_token", "[a-z]{1,8}"];
    let leaf = prop_oneof![
        ".{0,12}".prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(Value::Null)
    ];
    prop_oneof![
        ".{0,40}".prop_map(ParameterValue::Text),
        proptest::collection::btree_map(key, leaf, 0..4)
            .prop_map(|object| ParameterValue::Object(object.into_iter().collect())),
    ]
}

#[test]
fn what_a_send_call_carries_is_read_back_into_the_same_slots() {
    let full = [
        (
            positional(),
            json!({ "header.1": "A-17", "1": "Ada", "2": "A-17", "button.1.url": "a17", "button.0.payload": "stop" }),
        ),
        (
            named(),
            json!({ "header.order_no": "A-17", "body.order_no": "A-17", "body.first_name": "Ada" }),
        ),
        (otp(), json!({ "body.1": "491827" })),
    ];
    for (template, given) in full {
        let template = parsed(template);
        let values = normalised(&template, given);
        let wire = template.wire(&values);
        let read = template.read_wire(wire.as_array().unwrap()).unwrap();
        assert_eq!(template.wire(&template.normalise(&read).unwrap()), wire);
        assert!(template.missing(&template.normalise(&read).unwrap()).is_empty());
    }
}

#[test]
fn named_values_come_in_any_order() {
    let template = parsed(named());
    let wire = json!([
        { "type": "BODY", "parameters": [
            { "type": "text", "parameter_name": "order_no", "text": "A-17" },
            { "type": "text", "parameter_name": "first_name", "text": "Ada" } ] },
    ]);
    let read = template.read_wire(wire.as_array().unwrap()).unwrap();
    assert_eq!(read, values(json!({ "body.first_name": "Ada", "body.order_no": "A-17" })));
}

#[test]
fn components_that_are_not_the_templates_are_refused_where_they_are() {
    let template = parsed(positional());
    let refused = |wire: Value| template.read_wire(wire.as_array().unwrap()).unwrap_err();
    let text = json!({ "type": "text", "text": "x" });
    assert_eq!(
        refused(json!([{ "type": "body", "parameters": [text] }])),
        Misfit::Count { path: "components[0].parameters".to_owned(), given: 1, expected: 2 }
    );
    // The third button calls a number, and there is no fourth.
    for index in ["2", "3"] {
        let button =
            json!({ "type": "button", "sub_type": "url", "index": index, "parameters": [text] });
        assert_eq!(refused(json!([button])), Misfit::Place { path: "components[0]".to_owned() });
    }
    let named_one = json!({ "type": "text", "parameter_name": "name", "text": "x" });
    let path = "components[0].parameters[0].parameter_name".to_owned();
    assert_eq!(
        refused(json!([{ "type": "body", "parameters": [named_one, text] }])),
        Misfit::Name { path }
    );
}

proptest! {
    #[test]
    fn normalising_and_sending_never_panics(
        text in "([a-z {}]|\\{\\{[0-9a-z_]{1,3}\\}\\}){0,20}",
        which in 0..5_usize,
        given in proptest::collection::btree_map("[a-z0-9_.]{0,8}|body\\.[0-9]|header\\.image|button\\.[01]\\.(url|flow|payload)", any_value(), 0..6),
    ) {
        let mut components = [positional(), named(), otp(), offer(), carousel()][which].clone();
        for component in components.as_array_mut().unwrap() {
            if component["type"] == "BODY" {
                component["text"] = Value::from(text.clone());
            }
        }
        let template = parsed(components);
        let _ = template.check(Marketing);
        // Whatever was stored must not stop the sender either.
        template.wire(&given);
        template.preview(&given);
        template.missing(&given);
        let _ = template.check_values(&given);
        template.too_long(&given);
        if let Ok(values) = template.normalise(&given) {
            let wire = template.wire(&values);
            let read = template.read_wire(wire.as_array().unwrap());
            if let Ok(again) = read.map(|read| template.normalise(&read).unwrap()) {
                prop_assert_eq!(template.wire(&again), wire);
            }
            prop_assert_eq!(template.normalise(&values), Ok(values));
        }
    }

    #[test]
    fn cleaned_text_stays_clean(text in "[a-c \\n\\t]{0,40}") {
        let cleaned = clean_text(&text);
        prop_assert!(!cleaned.contains(['\n', '\t']) && !cleaned.contains("     "));
        prop_assert_eq!(clean_text(&cleaned), cleaned);
    }
}
