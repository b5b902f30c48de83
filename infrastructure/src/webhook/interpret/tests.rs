//! Every example file gives exactly the items that `tests/fixtures/webhook-items.json` lists for it (nulls, false and
//! empty lists left out), and nothing broken costs its neighbours.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::TimeZone;
use domain::message::DeliveryStatus;
use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;
use crate::webhook::optout::OptWord;

fn fixtures() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/fixtures"].iter().collect()
}

fn example(name: &str) -> Value {
    let path = fixtures().join("cloud-api/webhooks").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn received_at() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 23, 9, 0, 0).unwrap()
}

fn items(body: &Value) -> Vec<Interpreted> {
    interpret(body, received_at())
}

fn of(name: &str) -> Vec<Interpreted> {
    items(&example(name))
}

fn only_message(name: &str) -> MessageItem {
    match of(name).remove(0).item {
        Item::Inbound(item) => *item,
        other => panic!("{name}: {other:?}"),
    }
}

fn only_status(name: &str) -> StatusItem {
    match of(name).remove(0).item {
        Item::Status(item) => *item,
        other => panic!("{name}: {other:?}"),
    }
}

/// One change of field `messages` with these parts.
fn messages(parts: Value) -> Value {
    let mut value = json!({"messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550100199", "phone_number_id": "402"}});
    value.as_object_mut().unwrap().extend(parts.as_object().unwrap().clone());
    json!({"object": "whatsapp_business_account",
        "entry": [{"id": "301", "changes": [{"field": "messages", "value": value}]}]})
}

fn text_from(id: &str) -> Value {
    json!({"from": "447700900123", "id": id, "timestamp": "1795305600", "type": "text", "text": {"body": "hi"}})
}

fn pruned(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .map(|(key, value)| (key, pruned(value)))
                .filter(|(_, value)| {
                    *value != Value::Null && *value != json!(false) && *value != json!([])
                })
                .collect::<Map<_, _>>(),
        ),
        Value::Array(items) => items.into_iter().map(pruned).collect(),
        other => other,
    }
}

#[test]
fn every_example_gives_exactly_the_items_listed_for_it() {
    let listed = std::fs::read(fixtures().join("webhook-items.json")).unwrap_or_default();
    let listed: BTreeMap<String, Value> = serde_json::from_slice(&listed).unwrap_or_default();
    let mut given = BTreeMap::new();
    for file in std::fs::read_dir(fixtures().join("cloud-api/webhooks")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        given.insert(name.clone(), pruned(serde_json::to_value(of(&name)).unwrap()));
    }
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        let text = serde_json::to_string_pretty(&given).unwrap();
        std::fs::write(fixtures().join("webhook-items.json"), text + "\n").unwrap();
        return;
    }
    for (name, items) in &given {
        assert_eq!(Some(items), listed.get(name), "{name}");
    }
    assert_eq!(given.len(), listed.len());
}

#[test]
fn no_example_is_unreadable_and_only_what_is_from_the_future_is_unknown() {
    for file in std::fs::read_dir(fixtures().join("cloud-api/webhooks")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        for found in of(&name) {
            assert!(!matches!(found.item, Item::Unreadable { .. }), "{name}: {found:?}");
            if let Item::Unknown { field } = &found.item {
                assert_eq!(field, "a_field_from_the_future", "{name}");
            }
        }
    }
}

#[test]
fn every_path_points_at_the_item_in_the_body() {
    for file in std::fs::read_dir(fixtures().join("cloud-api/webhooks")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let body = example(&name);
        for found in items(&body) {
            assert!(body.pointer(&found.path).is_some(), "{name}: {}", found.path);
        }
    }
}

#[test]
fn a_mixed_batch_keeps_every_item_with_its_own_account() {
    let found = of("batch-mixed.json");
    let kinds: Vec<_> = found
        .iter()
        .map(|it| match &it.item {
            Item::Status(_) => "status",
            Item::Inbound(_) => "inbound",
            Item::TemplateQuality(_) => "quality",
            Item::Unknown { .. } => "unknown",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, ["status", "status", "inbound", "quality", "unknown"]);
    assert_eq!(found[0].waba_id.as_deref(), Some("301000000000001"));
    assert_eq!(found[0].phone_number_id.as_deref(), Some("402000000000002"));
    assert_eq!(found[3].waba_id.as_deref(), Some("301000000000099"));
    assert_eq!(found[3].phone_number_id, None);
}

#[test]
fn a_broken_item_costs_only_itself() {
    let body = messages(json!({
        "statuses": [{"id": "wamid.A", "status": "sent"}, 7, {"status": "read"}, {"id": "wamid.B", "status": "read"}],
        "messages": [text_from("wamid.C"), null, {"id": "wamid.D"}, {"id": "wamid.E", "type": "text", "text": {"body": "x"}},
            text_from("wamid.F")],
        "errors": [{"code": 130429}, "no"],
    }));
    let found = items(&body);
    let problem = |path: &str| {
        let found = found.iter().find(|it| it.path.ends_with(path)).unwrap();
        match &found.item {
            Item::Unreadable { problem } => problem.clone(),
            other => panic!("{path}: {other:?}"),
        }
    };
    assert!(problem("/statuses/1").contains("expected"), "{}", problem("/statuses/1"));
    assert_eq!(problem("/statuses/2"), "missing field `id`");
    assert!(problem("/messages/1").contains("expected"), "{}", problem("/messages/1"));
    assert_eq!(problem("/messages/2"), "missing field `type`");
    assert_eq!(problem("/messages/3"), "neither `from` nor `from_user_id` names a person");
    assert!(problem("/errors/1").contains("expected"), "{}", problem("/errors/1"));
    let readable: Vec<&str> = found
        .iter()
        .filter_map(|it| match &it.item {
            Item::Status(it) => Some(it.wamid.as_str()),
            Item::Inbound(it) => Some(it.wamid.as_str()),
            Item::ValueErrors { errors } => (errors[0].code == 130_429).then_some("errors"),
            _ => None,
        })
        .collect();
    assert_eq!(readable, ["wamid.A", "wamid.B", "wamid.C", "wamid.F", "errors"]);
}

#[test]
fn broken_entries_and_changes_cost_only_themselves() {
    let mut body = messages(json!({"messages": [text_from("wamid.A")]}));
    let good = body["entry"][0].clone();
    body["entry"] = json!([3, good, {"id": "1", "changes": ["x", good["changes"][0].clone()]}, {"id": "2"},
        {"id": "3", "changes": [{"field": "messages", "value": 5}, {"field": "security", "value": {}}]}]);
    let found = items(&body);
    let inbound = found.iter().filter(|it| matches!(it.item, Item::Inbound(_))).count();
    let unreadable: Vec<&str> = found
        .iter()
        .filter(|it| matches!(it.item, Item::Unreadable { .. }))
        .map(|it| it.path.as_str())
        .collect();
    assert_eq!(inbound, 2);
    assert_eq!(
        unreadable,
        ["/entry/0", "/entry/2/changes/0", "/entry/4/changes/0/value", "/entry/4/changes/1/value"]
    );
}

#[test]
fn what_is_no_webhook_is_one_item() {
    for body in [json!(null), json!([]), json!("x"), json!(7)] {
        let found = items(&body);
        assert!(matches!(found[..], [Interpreted { item: Item::Unreadable { .. }, .. }]), "{body}");
    }
    let other = items(&json!({"object": "instagram", "entry": [{}]}));
    assert!(matches!(&other[0].item, Item::Unknown { field } if field == "object instagram"));
    let broken = interpret_bytes(b"{\"object\": ", received_at());
    assert!(
        matches!(&broken[0].item, Item::Unreadable { problem } if problem.starts_with("not JSON"))
    );
    assert_eq!(items(&json!({"object": OBJECT, "entry": []})), []);
}

#[test]
fn unknown_lists_and_empty_values_are_not_passed_over() {
    let found =
        items(&messages(json!({"group_invites": [{"a": 1}], "messages": [text_from("wamid.A")]})));
    assert!(matches!(&found[1].item, Item::Unknown { field } if field == "messages.group_invites"));
    assert!(found[1].path.ends_with("/value/group_invites"));
    let found = items(&messages(json!({})));
    assert!(matches!(&found[0].item, Item::Unknown { field } if field == "messages"));
}

#[test]
fn what_an_erasure_took_out_gives_no_item_and_the_others_keep_their_paths() {
    let gone = json!({REDACTED: true});
    let found = items(&messages(json!({
        "statuses": [gone, {"id": "wamid.A", "status": "sent"}], "messages": [gone], "contacts": [gone],
        "errors": [gone], "history": [gone], "user_preferences": [gone],
    })));
    assert_eq!(found.len(), 1);
    assert!(found[0].path.ends_with("/statuses/1"));
    assert_eq!(items(&gone), []);
    assert_eq!(
        items(
            &json!({"object": OBJECT, "entry": [gone, {"id": "1", "changes": [gone, {"field": "messages", "value": gone}]}]})
        ),
        []
    );
}

#[test]
fn callback_data_is_ours_only_in_exactly_our_form() {
    let ours = "wg1.01923e4a-7b5c-7def-8123-456789abcdef.3";
    let sent_as = SentAs::parse(ours).unwrap();
    assert_eq!((sent_as.to_string().as_str(), sent_as.attempt), (ours, 3));
    for foreign in [
        "att_01JD0ZT9",
        "",
        "wg1",
        "wg1.x.1",
        "wg1.01923e4a-7b5c-7def-8123-456789abcdef",
        "wg1.01923E4A-7B5C-7DEF-8123-456789ABCDEF.1",
        "wg1.01923e4a-7b5c-7def-8123-456789abcdef.-1",
        "wg1.01923e4a-7b5c-7def-8123-456789abcdef.01",
        "wg2.01923e4a-7b5c-7def-8123-456789abcdef.1",
    ] {
        assert_eq!(SentAs::parse(foreign), None, "{foreign}");
    }
    let callback = |data: Value| {
        let body = messages(
            json!({"statuses": [{"id": "wamid.A", "status": "sent", "biz_opaque_callback_data": data}]}),
        );
        match items(&body).remove(0).item {
            Item::Status(status) => status.callback,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(callback(json!(ours)), Callback::Ours(sent_as));
    assert_eq!(callback(json!("theirs")), Callback::Foreign);
    assert_eq!(callback(json!("")), Callback::None);
}

#[test]
fn times_in_milliseconds_keep_them_and_missing_ones_fall_back() {
    assert_eq!(of("status-milliseconds.json")[0].at.timestamp_millis(), 1_795_305_600_123);
    assert_eq!(of("template-quality.json")[0].at.timestamp(), 1_795_305_600);
    let found = items(&messages(
        json!({"statuses": [{"id": "wamid.A", "status": "sent", "timestamp": "soon"}]}),
    ));
    assert_eq!(found[0].at, received_at());
}

#[test]
fn a_failure_says_what_and_whether_again_without_anybodys_number() {
    let failure = only_status("status-failed-131026.json").failure.unwrap();
    assert_eq!((failure.code, failure.retryable), (Some(131_026), false));
    let body = messages(json!({"statuses": [{"id": "wamid.A", "status": "failed", "errors": [
        {"code": 131_000, "title": "x", "error_data": {"details": "no answer for 447700900123"}}, {"code": 1}]}]}));
    let Item::Status(status) = items(&body).remove(0).item else { panic!() };
    let failure = status.failure.unwrap();
    assert_eq!((failure.retryable, failure.details.as_deref()), (true, Some("no answer for …")));
    assert_eq!(status.errors.iter().map(|error| error.code).collect::<Vec<_>>(), [131_000, 1]);
    assert_eq!(only_status("status-sent.json").failure, None);
}

#[test]
fn an_unknown_status_is_kept_as_it_came() {
    let body = messages(json!({"statuses": [{"id": "wamid.A", "status": "warning"}]}));
    let Item::Status(status) = items(&body).remove(0).item else { panic!() };
    assert_eq!(status.status, Word::Other("warning".to_owned()));
    assert_eq!(only_status("status-played.json").status, Word::Known(DeliveryStatus::Played));
}

#[test]
fn both_spellings_of_the_parent_id_are_read() {
    for key in ["recipient_parent_user_id", "parent_recipient_user_id"] {
        let body =
            messages(json!({"statuses": [{"id": "wamid.A", "status": "sent", key: "GB.ENT.118"}]}));
        let Item::Status(status) = items(&body).remove(0).item else { panic!() };
        assert_eq!(status.parent_user_id.unwrap().as_str(), "GB.ENT.118", "{key}");
    }
}

#[test]
fn a_user_id_inside_from_is_recognised_and_never_read_as_a_number() {
    let body = messages(
        json!({"messages": [{"from": "GB.7204418839015526601", "id": "wamid.A", "type": "text",
        "text": {"body": "hi"}}], "contacts": [{"wa_id": "GB.7204418839015526601", "profile": {"name": "Ada"}}]}),
    );
    let Item::Inbound(item) = items(&body).remove(0).item else { panic!() };
    assert_eq!(item.counterpart.user_id.unwrap().as_str(), "GB.7204418839015526601");
    assert_eq!(
        (item.counterpart.phone, item.wa_id, item.profile_name.as_deref()),
        (None, None, Some("Ada"))
    );
}

#[test]
fn each_of_several_senders_gets_their_own_contact() {
    let mut second = text_from("wamid.B");
    second["from"] = json!("447700900456");
    let mut stranger = text_from("wamid.C");
    stranger["from"] = json!("447700900789");
    let body = messages(json!({"messages": [text_from("wamid.A"), second, stranger], "contacts": [
        {"wa_id": "447700900456", "user_id": "GB.2", "profile": {"name": "Bo"}},
        {"wa_id": "447700900123", "user_id": "GB.1", "profile": {"name": "Ada"}}]}));
    let names: Vec<_> = items(&body)
        .into_iter()
        .map(|it| match it.item {
            Item::Inbound(it) => {
                (it.profile_name, it.counterpart.user_id.map(|id| id.as_str().to_owned()))
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let of = |name: &str, id: &str| (Some(name.to_owned()), Some(id.to_owned()));
    assert_eq!(names, [of("Ada", "GB.1"), of("Bo", "GB.2"), (None, None)]);
}

#[test]
fn only_what_a_person_says_to_the_business_opens_the_window() {
    let opens: Vec<&str> = [
        "inbound-text.json",
        "inbound-image.json",
        "inbound-template-button.json",
        "inbound-list-reply.json",
        "inbound-flow-reply.json",
        "inbound-order.json",
        "inbound-location.json",
        "inbound-contacts-shared.json",
        "inbound-audio-voice.json",
        "inbound-sticker.json",
    ]
    .into_iter()
    .filter(|name| !only_message(name).opens_window)
    .collect();
    assert!(opens.is_empty(), "{opens:?}");
    for name in [
        "inbound-reaction.json",
        "inbound-reaction-removed.json",
        "inbound-edit.json",
        "inbound-revoke.json",
        "inbound-unsupported.json",
        "inbound-media-too-big.json",
        "inbound-unknown-type.json",
        "inbound-group-text.json",
    ] {
        assert!(!only_message(name).opens_window, "{name}");
    }
}

#[test]
fn opt_out_words_and_buttons_are_found_by_whoever_asks() {
    let word = |name: &str| only_message(name).opt_out.and_then(|text| text.word(&[]));
    assert_eq!(word("inbound-template-button.json"), Some(OptWord::Stop));
    assert_eq!(word("inbound-button-reply.json"), None);
    assert_eq!(word("inbound-text.json"), None);
    let body =
        messages(json!({"messages": [{"from": "447700900123", "id": "wamid.A", "type": "button",
        "button": {"text": "Nicht mehr", "payload": "STOP"}}]}));
    let Item::Inbound(item) = items(&body).remove(0).item else { panic!() };
    let opt_out = item.opt_out.unwrap();
    assert_eq!((opt_out.word(&[]), opt_out.text()), (Some(OptWord::Stop), Some("Nicht mehr")));
    assert_eq!(only_message("inbound-edit.json").opt_out, None);
}

#[test]
fn an_edit_within_an_edit_is_not_followed() {
    let mut message = json!({"type": "text", "text": {"body": "deep"}});
    for _ in 0..50 {
        message =
            json!({"type": "edit", "edit": {"original_message_id": "wamid.A", "message": message}});
    }
    message["id"] = json!("wamid.B");
    message["from"] = json!("447700900123");
    let Item::Inbound(item) = items(&messages(json!({"messages": [message]}))).remove(0).item
    else {
        panic!()
    };
    assert_eq!(item.preview, "[edit]");
}

#[test]
fn messages_under_history_and_standby_start_nothing() {
    let mut body = messages(json!({"messages": [text_from("wamid.A")]}));
    body["entry"][0]["changes"][0]["field"] = json!("history");
    let Item::History(history) = items(&body).remove(0).item else { panic!() };
    assert!(
        !history.messages[0].message.opens_window && history.messages[0].message.opt_out.is_none()
    );
    body["entry"][0]["changes"][0]["field"] = json!("standby");
    let found = items(&body).remove(0);
    assert!(found.standby && matches!(found.item, Item::Inbound(_)));
}

#[test]
fn nothing_personal_is_in_debug() {
    for file in std::fs::read_dir(fixtures().join("cloud-api/webhooks")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let printed = format!("{:?}", of(&name));
        for personal in
            ["Ada", "447700900", "GB.", "wamid.Z", "parcel coming", "Mill Road", "adaquill"]
        {
            assert!(!printed.contains(personal), "{name}: {printed}");
        }
    }
}

/// JSON with Meta's names in it, so that it gets past the first check.
fn json_like() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        prop::sample::select(vec![
            "object",
            "entry",
            "changes",
            "field",
            "value",
            "statuses",
            "messages",
            "contacts",
            "errors",
            "id",
            "type",
            "text",
            "body",
            "from",
            "status",
            "timestamp",
            "metadata",
            "history",
            "threads",
            "system",
            "interactive",
            "edit",
            "message",
            "user_preferences",
            "user_id_update",
            "event",
            "code",
            "wa_id",
            "user_id",
            "audio",
            "image",
        ])
        .prop_map(str::to_owned),
        "[a-z]{0,6}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec![
            OBJECT,
            "messages",
            "history",
            "text",
            "edit",
            "system",
            "interactive",
            "button_reply",
            "failed",
            "voice",
            "wamid.A",
            "447700900123",
            "GB.1",
            "wg1.x.1",
            "1795305600",
            "",
            "account_update",
            "smb_message_echoes",
        ])
        .prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(7, 96, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Every pointer into a value.
fn pointers(value: &Value, here: &str, into: &mut Vec<String>) {
    into.push(here.to_owned());
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                pointers(value, &format!("{here}/{key}"), into);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                pointers(value, &format!("{here}/{index}"), into);
            }
        }
        _ => {}
    }
}

proptest! {
    #[test]
    fn any_json_is_interpreted_without_a_panic(body in json_like()) {
        items(&body);
        items(&messages(json!({"statuses": [body.clone()], "messages": [body.clone()], "contacts": [body.clone()],
            "history": [body.clone()], "errors": [body]})));
    }

    #[test]
    fn any_bytes_are_interpreted_without_a_panic(body: Vec<u8>) {
        prop_assert!(!interpret_bytes(&body, received_at()).is_empty() || body.is_empty());
    }

    #[test]
    fn an_example_with_anything_replaced_is_interpreted_without_a_panic(
        file in 0..64_usize, place: prop::sample::Index, with in json_like(),
    ) {
        let files: Vec<_> = std::fs::read_dir(fixtures().join("cloud-api/webhooks")).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        let mut body = example(&files[file % files.len()]);
        let mut all = Vec::new();
        pointers(&body, "", &mut all);
        let place: &String = place.get(&all);
        *body.pointer_mut(place).unwrap() = with;
        items(&body);
    }

    #[test]
    fn a_status_replaced_by_anything_leaves_its_neighbours_as_they_are(with in json_like()) {
        let whole = example("batch-mixed.json");
        let mut body = whole.clone();
        body["entry"][0]["changes"][0]["value"]["statuses"][0] = with;
        let others = |body: &Value| {
            let mut found = items(body);
            found.retain(|it| it.path != "/entry/0/changes/0/value/statuses/0");
            found
        };
        prop_assert!(others(&body) == others(&whole));
    }
}
