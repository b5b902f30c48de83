//! Every example file parses, requests serialise back to the same JSON, and what is broken stays alone.

use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::response::{
    BlockUsersResponse, ErrorEnvelope, HealthResponse, MediaUrl, Page, PhoneNumber, SendResponse,
};
use super::send::{MessagesCall, SendRequest};
use super::template::{CreateTemplate, Template};
use super::webhook::{ChangeValue, MessageContent, MessagingValue, StatusKind, Webhook};
use super::*;

fn examples(folder: &str) -> Vec<(String, Value)> {
    let folder: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "tests/fixtures/cloud-api", folder].iter().collect();
    let mut files: Vec<(String, Value)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| {
            let file = file.unwrap();
            let json = serde_json::from_slice(&std::fs::read(file.path()).unwrap()).unwrap();
            (file.file_name().to_str().unwrap().to_owned(), json)
        })
        .collect();
    files.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(!files.is_empty());
    files
}

fn example(folder: &str, name: &str) -> Value {
    examples(folder).into_iter().find(|(file, _)| file == name).unwrap().1
}

fn webhook(name: &str) -> Webhook {
    serde_json::from_value(example("webhooks", name)).unwrap()
}

/// The values of a webhook, each typed, with every item in it read.
fn values(webhook: &Webhook) -> Vec<ChangeValue> {
    let entries: Vec<_> = webhook.entries().collect::<Result<_, _>>().unwrap();
    let changes = entries.iter().flat_map(webhook::Entry::changes).map(Result::unwrap);
    changes.map(|change| change.value().unwrap()).collect()
}

fn only(name: &str) -> ChangeValue {
    let mut values = values(&webhook(name));
    assert_eq!(values.len(), 1);
    values.remove(0)
}

fn messaging(name: &str) -> MessagingValue {
    only(name).messaging().unwrap().clone()
}

fn message(name: &str) -> webhook::Message {
    messaging(name).messages().next().unwrap().unwrap()
}

fn round_trip<T: DeserializeOwned + Serialize>(name: &str, json: &Value) {
    let typed: T =
        serde_json::from_value(json.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(serde_json::to_value(&typed).unwrap(), *json, "{name}");
}

#[test]
fn every_example_request_parses_and_serialises_back_to_the_same_json() {
    for (name, json) in examples("requests") {
        if name.starts_with("create-template") {
            round_trip::<CreateTemplate>(&name, &json);
            continue;
        }
        let call = MessagesCall::read(&json).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            matches!(call, MessagesCall::MarkRead(_)),
            name.starts_with("mark-read"),
            "{name}"
        );
        assert_eq!(serde_json::to_value(&call).unwrap(), json, "{name}");
    }
}

#[test]
fn every_template_parameter_of_the_reference_survives_a_round_trip() {
    let parameters = [
        json!({"type": "text", "text": "Ada"}),
        json!({"type": "text", "parameter_name": "order_no", "text": "A-17"}),
        json!({"type": "currency", "currency": {"fallback_value": "9.50", "code": "GBP", "amount_1000": 9500}}),
        json!({"type": "date_time", "date_time": {"fallback_value": "9:00"}}),
        json!({"type": "image", "image": {"link": "https://img.example/1.jpg"}}),
        json!({"type": "video", "video": {"id": "1"}}),
        json!({"type": "document", "document": {"id": "1", "filename": "a.pdf"}}),
        json!({"type": "location", "location": {"latitude": 51.5, "longitude": -0.12, "name": "Quay 3"}}),
        json!({"type": "payload", "payload": "opt_out"}),
        json!({"type": "coupon_code", "coupon_code": "SPRING26"}),
        json!({"type": "action", "action": {"flow_token": "ft", "flow_action_data": {"a": 1}}}),
        json!({"type": "action", "action": {"thumbnail_product_retailer_id": "SKU-1",
            "sections": [{"title": "New", "product_items": [{"product_retailer_id": "SKU-1"}]}]}}),
        json!({"type": "limited_time_offer", "limited_time_offer": {"expiration_time_ms": 1_795_305_600_000_i64}}),
    ];
    for json in parameters {
        round_trip::<send::Parameter>("parameter", &json);
    }
    let carousel = json!({"type": "carousel", "cards": [{"card_index": 0, "components": [
        {"type": "header", "parameters": [{"type": "image", "image": {"id": "1"}}]},
        {"type": "button", "sub_type": "copy_code", "index": "0",
         "parameters": [{"type": "coupon_code", "coupon_code": "X"}]}]}]});
    round_trip::<send::Component>("carousel", &carousel);
    let offer =
        json!({"type": "limited_time_offer", "limited_time_offer": {"expiration_time_ms": 1}});
    round_trip::<send::Component>("offer", &offer);
    let numeric_index = json!({"type": "button", "sub_type": "url", "index": 1, "parameters": []});
    let component: send::Component = serde_json::from_value(numeric_index).unwrap();
    assert_eq!(component.index, Some(send::ButtonIndex(1)));
}

#[test]
fn every_example_response_parses() {
    for (name, json) in examples("responses") {
        if name.starts_with("error-") {
            let error: ErrorEnvelope =
                serde_json::from_value(json).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(error.error.details().is_some(), "{name}");
        } else if name.starts_with("send-") {
            let response: SendResponse = serde_json::from_value(json.clone()).unwrap();
            assert!(response.first_message().unwrap().id.starts_with("wamid."), "{name}");
            assert!(response.first_contact().unwrap().input.is_some(), "{name}");
            assert_eq!(serde_json::to_value(&response).unwrap(), json, "{name}");
        } else if name.starts_with("templates-") {
            let page: Page = serde_json::from_value(json).unwrap();
            assert_eq!(
                page.items::<Template>("template").filter(Result::is_ok).count(),
                1,
                "{name}"
            );
            assert_eq!(page.next_cursor().is_some(), name.contains("page-1"), "{name}");
        } else {
            match name.as_str() {
                "block-partial.json" => round_trip::<BlockUsersResponse>(&name, &json),
                "health-blocked.json" => {
                    let health: HealthResponse = serde_json::from_value(json).unwrap();
                    let errors = health
                        .health_status
                        .entities()
                        .map(|entity| entity.unwrap().errors().count());
                    assert_eq!(errors.sum::<usize>(), 1);
                }
                "media-url.json" => {
                    assert_eq!(
                        serde_json::from_value::<MediaUrl>(json).unwrap().file_size,
                        Some(48_211)
                    );
                }
                "phone-number.json" => round_trip::<PhoneNumber>(&name, &json),
                other => panic!("nobody knows the example {other}"),
            }
        }
    }
}

#[test]
fn every_example_webhook_parses_to_the_last_item() {
    for (name, json) in examples("webhooks") {
        let webhook: Webhook =
            serde_json::from_value(json).unwrap_or_else(|error| panic!("{name}: {error}"));
        for value in values(&webhook) {
            let unknown = matches!(value, ChangeValue::Other);
            assert_eq!(
                unknown,
                name == "unknown-field.json" || unknown && name == "batch-mixed.json",
                "{name}"
            );
            let Some(value) = value.messaging() else { continue };
            assert_eq!(value.phone_number_id(), Some("402000000000002"), "{name}");
            assert!(value.contacts().all(|item| item.is_ok()), "{name}");
            assert!(value.statuses().all(|item| item.is_ok()), "{name}");
            assert!(value.errors().all(|item| item.is_ok()), "{name}");
            assert!(value.user_preferences().all(|item| item.is_ok()), "{name}");
            assert!(value.user_id_updates().all(|item| item.is_ok()), "{name}");
            assert!(value.state_sync().all(|item| item.is_ok()), "{name}");
            let past = value.history().map(Result::unwrap).flat_map(|chunk| {
                let threads: Vec<_> = chunk.threads().map(Result::unwrap).collect();
                threads
                    .into_iter()
                    .flat_map(|thread| thread.messages().collect::<Vec<_>>())
                    .collect::<Vec<_>>()
            });
            for message in value.messages().chain(value.echoes()).chain(past) {
                let content = message.unwrap().content();
                assert!(!matches!(content, MessageContent::Unreadable(_)), "{name}");
                let other = matches!(content, MessageContent::Other(_));
                assert_eq!(other, name == "inbound-unknown-type.json", "{name}");
            }
        }
    }
}

#[test]
fn example_webhooks_serialise_back_with_what_this_version_does_not_know() {
    // Empty strings read as absent and are left out, so that file alone differs.
    for (name, json) in
        examples("webhooks").into_iter().filter(|(name, _)| name != "inbound-text-empty-from.json")
    {
        let webhook: Webhook = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(&webhook).unwrap(), json, "{name}");
        for value in values(&webhook) {
            let Some(value) = value.messaging() else { continue };
            for (index, status) in
                value.statuses().enumerate().filter(|_| name != "status-milliseconds.json")
            {
                assert_eq!(
                    serde_json::to_value(status.unwrap()).unwrap(),
                    value.statuses[index],
                    "{name}"
                );
            }
            for (index, message) in value.messages().enumerate() {
                assert_eq!(
                    serde_json::to_value(message.unwrap()).unwrap(),
                    value.messages[index],
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn one_broken_item_leaves_its_neighbours_readable() {
    let value = json!({"metadata": "nonsense", "statuses": [
        {"id": "wamid.1", "status": "sent", "timestamp": "1795305632"},
        {"status": "delivered"},
        "not an object",
        {"id": "wamid.2", "status": 7, "timestamp": {}, "recipient_id": [], "pricing": "free", "errors": {"code": "1"}},
        {"id": "wamid.3", "status": "read"}]});
    let webhook =
        json!({"entry": [null, 3, {"changes": [{"field": "messages", "value": value}, 4]}]});
    let webhook: Webhook = serde_json::from_value(webhook).unwrap();
    let entries: Vec<_> = webhook.entries().collect();
    assert_eq!(entries.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, false, true]);
    let changes: Vec<_> = entries[2].as_ref().unwrap().changes().collect();
    assert_eq!(changes.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false]);
    let value = changes[0].as_ref().unwrap().value().unwrap();
    let statuses: Vec<_> = value.messaging().unwrap().statuses().collect();
    assert_eq!(
        statuses.iter().map(Result::is_ok).collect::<Vec<_>>(),
        [true, false, false, true, true]
    );
    assert_eq!(statuses[1].as_ref().unwrap_err().reason, "missing field `id`");
    let odd = statuses[3].as_ref().unwrap();
    assert_eq!(odd.status, StatusKind::Other("7".to_owned()));
    assert!(odd.timestamp.is_none() && odd.pricing.is_none() && odd.recipient_id.is_none());
    assert_eq!(odd.first_error().unwrap().code, 1);
}

#[test]
fn errors_and_debug_output_quote_no_values() {
    let secret = "+447700900123";
    let error = read_item::<webhook::Pick>("pick", 0, &json!({"id": [secret]})).unwrap_err();
    assert!(!error.to_string().contains(secret), "{error}");
    let error =
        read_item::<send::Text>("text", 0, &json!({"body": {"number": secret}})).unwrap_err();
    assert_eq!(error.reason, "expected a string");
    let error = read_item::<SendRequest>(
        "message",
        0,
        &json!({"messaging_product": "whatsapp", "type": secret}),
    );
    assert!(!error.unwrap_err().to_string().contains(secret));
    let error = Webhook::parse(format!("{{\"entry\": {secret}").as_bytes()).unwrap_err();
    assert!(!error.to_string().contains(secret) && error.reason.starts_with("not JSON"), "{error}");
    for (_, json) in examples("requests").into_iter().filter(|(name, _)| name.starts_with("send-"))
    {
        let shown = format!("{:?}", MessagesCall::read(&json).unwrap());
        assert_eq!(shown, "MessagesCall(***)");
    }
    let shown = format!("{:?}", values(&webhook("batch-mixed.json")));
    assert!(!shown.contains("4477") && !shown.contains("Ada"), "{shown}");
}

#[test]
fn a_sender_is_known_by_number_by_user_id_or_by_a_user_id_in_the_wrong_place() {
    let plain = message("inbound-text.json");
    assert_eq!(plain.sender().wa_id, Some("447700900123"));
    assert_eq!(plain.sender().user_id, Some("GB.7204418839015526601"));
    for name in ["inbound-text-bsuid-only.json", "inbound-text-empty-from.json"] {
        let message = message(name);
        assert_eq!(
            (message.sender().wa_id, message.sender().user_id),
            (None, Some("GB.7204418839015526601")),
            "{name}"
        );
    }
    let misplaced = json!({"from": "GB.7204418839015526601", "id": "wamid.1", "type": "text"});
    let misplaced: webhook::Message = serde_json::from_value(misplaced).unwrap();
    assert_eq!(
        (misplaced.sender().wa_id, misplaced.sender().user_id),
        (None, Some("GB.7204418839015526601"))
    );
    assert_eq!(
        misplaced.content(),
        MessageContent::Unreadable("expected struct InboundText".to_owned())
    );
}

#[test]
fn contents_are_read_by_their_type() {
    let MessageContent::ButtonReply(pick) = message("inbound-button-reply.json").content() else {
        panic!()
    };
    assert_eq!((pick.id.as_str(), pick.title.as_deref()), ("move", Some("Move")));
    let MessageContent::FlowReply(reply) = message("inbound-flow-reply.json").content() else {
        panic!()
    };
    assert!(reply.response_json.unwrap().contains("ft_01JD0"));
    let MessageContent::Reaction(reaction) = message("inbound-reaction-removed.json").content()
    else {
        panic!()
    };
    assert_eq!(reaction.emoji, None);
    let MessageContent::Edit(edit) = message("inbound-edit.json").content() else { panic!() };
    let MessageContent::Text(text) = edit.message.unwrap().content() else { panic!() };
    assert_eq!(text.body, "Is the parcel coming tomorrow?");
    let MessageContent::System(notice) = message("inbound-system-number-changed.json").content()
    else {
        panic!()
    };
    assert_eq!(notice.kind, Some(webhook::SystemKind::UserChangedNumber));
    let MessageContent::Order(order) = message("inbound-order.json").content() else { panic!() };
    assert_eq!(order.product_items[0].item_price.as_deref(), Some("9.5"));
    let MessageContent::Contacts(cards) = message("inbound-contacts-shared.json").content() else {
        panic!()
    };
    assert_eq!(cards[0].origin.as_deref(), Some("contact_request"));
    assert_eq!(
        message("inbound-unsupported.json").content(),
        MessageContent::Unsupported(Some("poll".to_owned()))
    );
    assert_eq!(
        message("inbound-media-too-big.json").errors().next().unwrap().unwrap().code,
        131_052
    );
    assert!(message("inbound-template-button.json").content().opens_window());
    assert!(!message("inbound-reaction.json").content().opens_window());
}

#[test]
fn template_and_account_fields_are_read() {
    let ChangeValue::TemplateStatus(update) = only("template-status-rejected.json") else {
        panic!()
    };
    assert_eq!(update.template.message_template_id.as_deref(), Some("806000000000006"));
    assert_eq!(update.template.language().as_deref(), Some("en_GB"));
    assert!(update.explanation().unwrap().contains("put words between"));
    let ChangeValue::TemplateStatus(update) = only("template-status-approved.json") else {
        panic!()
    };
    assert_eq!((update.event.clone(), update.reason()), (webhook::TemplateEvent::Approved, None));
    let ChangeValue::TemplateCategory(update) = only("template-category-announced.json") else {
        panic!()
    };
    assert!(update.is_announcement());
    let tier = |name: &str| {
        let ChangeValue::BusinessCapability(update) = only(name) else { panic!() };
        update.tier()
    };
    assert_eq!(tier("business-capability-int.json").as_deref(), Some("TIER_2K"));
    assert_eq!(tier("business-capability-tier.json").as_deref(), Some("TIER_10K"));
    let ChangeValue::AccountUpdate(update) = only("account-update-restriction.json") else {
        panic!()
    };
    assert_eq!(
        update.restrictions().next().unwrap().unwrap().restriction_type,
        "RESTRICTED_BIZ_INITIATED_MESSAGING"
    );
    let misnamed = json!({"new_quality_score": "RED", "message_template_id": 1});
    let change = webhook::Change {
        field: Some("message_template_status_update".to_owned()),
        value: misnamed,
    };
    assert!(matches!(change.value().unwrap(), ChangeValue::TemplateQuality(_)));
}
