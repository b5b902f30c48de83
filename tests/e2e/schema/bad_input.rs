//! Wrong values in every place of every mutation: each is refused with the path of what is wrong and what would be right.

use api::graphql::{FieldInfo, FieldKind, catalogue};
use serde_json::{Value, json};

use super::lab::Lab;
use super::samples::{Spare, make_room, sample, samples};
use super::walk::{Place, Step, document, error_of, places};

/// Longer than any text may be.
const LONG: usize = 70_000;
/// More than any list may have.
const MANY: usize = 20_001;

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!({ "x": inner }))
}

/// What a place of this type must not be given.
fn wrong_values(step: &Step) -> Vec<(&'static str, Value)> {
    let mut wrong: Vec<(&'static str, Value)> = match step.base() {
        "ID" => vec![("a flag", json!(true)), ("an object", json!({ "id": 1 }))],
        "String" => vec![
            ("a number", json!(7)),
            ("empty", json!("")),
            ("blank", json!("   ")),
            ("too long", json!("x".repeat(LONG))),
            ("with a control character", json!("a\u{0}b")),
        ],
        "Int" => vec![
            ("text", json!("5")),
            ("a fraction", json!(1.5)),
            ("negative", json!(-1)),
            ("too great", json!(3_000_000_000_i64)),
        ],
        "Boolean" => vec![("text", json!("yes"))],
        "DateTime" => vec![
            ("a word", json!("tomorrow")),
            ("a number", json!(1_700_000_000)),
            ("no such month", json!("2026-13-01T00:00:00Z")),
            ("without a zone", json!("2026-12-01T00:00:00")),
        ],
        "LocalDateTime" => vec![
            ("no such day", json!("2026-02-30T09:00")),
            ("with a zone", json!("2026-12-01T09:00Z")),
        ],
        "LocalTime" => vec![("no such hour", json!("25:00")), ("a word", json!("noon"))],
        "TimeZone" => vec![
            ("of another planet", json!("Mars/Base")),
            ("empty", json!("")),
            ("an offset", json!("+01:00")),
        ],
        "LocalDate" => {
            vec![("no such day", json!("2026-02-30")), ("with a time", json!("2026-12-01T09:00"))]
        }
        // A number is read as the text that it is.
        "Decimal" => vec![
            ("negative", json!("-1")),
            ("with an exponent", json!("1e3")),
            ("a word", json!("much")),
        ],
        "PhoneNumber" => vec![
            ("too short", json!("12")),
            ("too long", json!("+4477009001230000000000")),
            ("a word", json!("canary")),
            ("empty", json!("")),
        ],
        "JSON" => {
            vec![("too deep", nested(40)), ("too large", json!({ "x": "x".repeat(300_000) }))]
        }
        // A number is read as the text that it is.
        "Position" => vec![("a word", json!("here")), ("an object", json!({ "at": 1 }))],
        _ if !step.values.is_empty() => {
            vec![("no such value", json!("NOPE")), ("a number", json!(7))]
        }
        _ => vec![
            ("a number", json!(7)),
            ("with a field of another world", json!({ "otherworldly": 1 })),
        ],
    };
    if step.is_list() {
        wrong = wrong.into_iter().map(|(how, value)| (how, json!([value]))).collect();
        wrong.push(("a list of nothing", json!([null])));
        if step.base() == "String" {
            wrong.push(("too many", (0..MANY).map(|n| json!(format!("tag-{n}"))).collect()));
        }
        if step.base() == "ID" {
            wrong.push((
                "too many",
                (0..MANY).map(|_| json!("0190a0a0-0000-7000-8000-000000000000")).collect(),
            ));
        }
    }
    if step.required && step.base() != "JSON" {
        wrong.push(("null", Value::Null));
    }
    wrong
}

/// What is no mistake at this place.
fn is_right(field: &str, path: &str, how: &str) -> bool {
    let last = path.rsplit(['.', ']']).next().unwrap_or_default();
    match last {
        // Only out of date: CONFLICT.
        "expectedSequence" => how == "negative",
        // Looked up, and so NOT_FOUND.
        "name" | "language" if path.contains(".template.") => {
            ["empty", "blank", "too long"].contains(&how)
        }
        "name" if field == "rebuildProjection" => ["empty", "blank", "too long"].contains(&how),
        // Nothing proves it, which may be.
        "evidence" => ["empty", "blank"].contains(&how),
        // base64 all the same, of a file that is not too large.
        "data" if field == "uploadTemplateSample" => how == "too long",
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_with_an_input_is_named_by_its_path_and_changes_nothing() {
    let lab = Lab::new(gateway_tests::StoreKind::Sqlite).await;
    let spare = Spare::of(&lab).await;
    let samples = samples(&lab.own, &spare);
    let head = lab.head().await;
    let (mut wrong, mut count) = (vec![], 0);
    for field in catalogue().into_iter().filter(|field| field.kind == FieldKind::Mutation) {
        let args = &sample(&samples, &field.name).args;
        let query = query_of(&field);
        for place in places(&field.args) {
            for (how, value) in wrong_values(place.last()) {
                if is_right(&field.name, &place.path(), how) {
                    continue;
                }
                let mut args = args.clone();
                make_room(&mut args, &place.path());
                stand_by(&mut args, &place.path());
                place.set(&mut args, value);
                let answer = lab.admin.try_raw(&query, args).await.expect("the gateway answers");
                count += 1;
                if let Some(problem) = problem_of(&answer, &place) {
                    let shown: String = answer.to_string().chars().take(300).collect();
                    wrong.push(format!(
                        "{} with {} {how}: {problem}: {shown}",
                        field.name,
                        place.path()
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count}: {wrong:#?}", wrong.len());
    assert!(count > 600, "the walk was cut short: {count}");
    assert_eq!(lab.head().await, head, "something changed");
    lab.stop().await;
}

/// What belongs to the value at a place, so that the value alone is wrong.
fn stand_by(args: &mut Value, path: &str) {
    match path.rsplit('.').next().unwrap_or_default() {
        "consentSource" => args["input"]["consent"] = json!("OPTED_IN"),
        "mediaId" => {
            let input = if path.starts_with("inputs") {
                &mut args["inputs"][0]
            } else {
                &mut args["input"]
            };
            input["media"] = json!({ "kind": "IMAGE" });
        }
        _ => {}
    }
}

fn query_of(field: &FieldInfo) -> String {
    let selection = match field.name.as_str() {
        "sendMessages" => "{ error { code field message } }",
        _ => "{ __typename }",
    };
    document(field, selection)
}

/// What is wrong with a refusal; nothing where it is one, names the place and says what would be right.
fn problem_of(answer: &Value, place: &Place) -> Option<&'static str> {
    let Some(error) = error_of(answer) else { return Some("it was taken") };
    if error["extensions"]["code"] != "VALIDATION_FAILED" {
        return Some("another code");
    }
    let field = error["extensions"]["field"].as_str().unwrap_or_default();
    let path = place.path();
    // An item of a list, or what is wrong within a value, may be named more closely.
    if !(field == path
        || field.strip_prefix(&path).is_some_and(|rest| rest.starts_with(['.', '['])))
    {
        return Some("another field");
    }
    let message = error["message"].as_str().unwrap_or_default();
    if message.len() < field.len() + 8 {
        return Some("it does not say what would be right");
    }
    None
}

/// Values that are each right and do not go together, or are wrong by what they mean: the mutation, what is changed of its
/// sample, and the field that is named.
fn combinations() -> Vec<(&'static str, Value, &'static str)> {
    let person = |more: Value| json!({ "input": more });
    vec![
        ("connectAccount", person(json!({ "provider": "CLOUD_API" })), "input.phoneNumberId"),
        ("connectAccount", person(json!({ "defaultRegion": "ZZ" })), "input.defaultRegion"),
        ("connectAccount", person(json!({ "messagesPerSecond": 0 })), "input.messagesPerSecond"),
        (
            "connectAccount",
            person(json!({ "messagesPerSecond": 1_000_001 })),
            "input.messagesPerSecond",
        ),
        (
            "connectAccount",
            person(json!({ "quietHours": { "from": "21:00", "to": "21:00" } })),
            "input.quietHours",
        ),
        ("updateAccount", person(json!({ "name": null })), "input.name"),
        (
            "updateAccount",
            person(json!({ "inDoubtPolicy": { "graceSeconds": 0 } })),
            "input.inDoubtPolicy.graceSeconds",
        ),
        ("rotateAccountCredentials", person(json!({ "verifyToken": null })), "input.accessToken"),
        ("createTemplate", person(json!({ "name": "Not Lower" })), "input.name"),
        ("createTemplate", person(json!({ "components": [] })), "input.components"),
        ("createTemplate", person(json!({ "components": "BODY" })), "input.components"),
        (
            "createTemplate",
            person(json!({ "components": [{ "type": "FOOTER", "text": "x" }] })),
            "input.components",
        ),
        ("createTemplate", person(json!({ "language": "klingon" })), "input.language"),
        ("addContact", person(json!({ "phoneNumber": null })), "input.phoneNumber"),
        ("addContact", person(json!({ "attributes": ["x"] })), "input.attributes"),
        ("mergeContacts", json!({ "merge": "KEEP" }), "merge"),
        (
            "recordConsent",
            person(json!({ "occurredAt": "2999-01-01T00:00:00Z" })),
            "input.occurredAt",
        ),
        ("importContacts", person(json!({ "csv": "x".repeat(1_100_000) })), "input.csv"),
        ("importContacts", person(json!({ "mapping": ["phone"] })), "input.mapping"),
        ("importContacts", person(json!({ "defaultRegion": "ZZ" })), "input.defaultRegion"),
        ("createSegment", person(json!({ "rule": { "planet": "Mars" } })), "input.rule"),
        ("createSegment", person(json!({ "rule": nested_rule(20) })), "input.rule"),
        (
            "createSegment",
            person(json!({ "rule": { "lastMessage": { "before": "yesterday" } } })),
            "input.rule",
        ),
        ("createCampaign", person(json!({ "audience": { "contactIds": null } })), "input.audience"),
        ("createCampaign", person(json!({ "parameters": {} })), "input.parameters"),
        (
            "createCampaign",
            person(json!({ "parameters": { "body.1": "{{nmae}}" } })),
            "input.parameters.body.1",
        ),
        (
            "createCampaign",
            person(json!({ "parameters": { "body.1": "x", "body.9": "y" } })),
            "input.parameters.body.9",
        ),
        (
            "createCampaign",
            person(
                json!({ "schedule": { "startAt": "2001-01-01T09:00", "timeZone": "Europe/London" } }),
            ),
            "input.schedule.startAt",
        ),
        ("createCampaign", schedule(json!({ "timeZone": "Mars/Base" })), "input.schedule.timeZone"),
        (
            "createCampaign",
            schedule(json!({ "sendWindow": { "from": "09:00", "to": "09:00" } })),
            "input.schedule.sendWindow",
        ),
        ("createCampaign", schedule(json!({ "recurrence": "often" })), "input.schedule.recurrence"),
        (
            "createCampaign",
            schedule(json!({ "recurrence": "FREQ=HOURLY;COUNT=2" })),
            "input.schedule.recurrence",
        ),
        (
            "createCampaign",
            schedule(json!({ "recurrence": "FREQ=DAILY" })),
            "input.schedule.recurrence",
        ),
        (
            "createCampaign",
            schedule(json!({ "recurrence": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30;COUNT=1" })),
            "input.schedule.recurrence",
        ),
        (
            "createCampaign",
            schedule(json!({ "startAt": "2001-01-01T09:00", "recipientLocal": true })),
            "input.schedule.startAt",
        ),
        ("createCampaign", person(json!({ "timeToLive": 0 })), "input.timeToLive"),
        (
            "createCampaign",
            person(json!({ "metadata": { "k": "x".repeat(2_001) } })),
            "input.metadata",
        ),
        ("sendMessage", person(json!({ "to": null })), "input.to"),
        ("sendMessage", person(json!({ "userId": "GB.123" })), "input.to"),
        ("sendMessage", person(json!({ "text": null })), "input.text"),
        (
            "sendMessage",
            person(json!({ "location": { "latitude": 1, "longitude": 1 } })),
            "input.location",
        ),
        (
            "sendMessage",
            person(json!({ "text": null, "location": { "latitude": 100, "longitude": 1 } })),
            "input.location",
        ),
        (
            "sendMessage",
            person(json!({ "text": null, "reaction": { "emoji": "👍" } })),
            "input.reaction.messageId",
        ),
        (
            "sendMessage",
            person(json!({ "text": null, "interactive": { "type": "button" } })),
            "input.interactive",
        ),
        ("sendMessage", person(json!({ "text": null, "contacts": [] })), "input.contacts"),
        (
            "sendMessage",
            person(
                json!({ "text": null, "media": { "kind": "AUDIO", "mediaId": "1", "caption": "x" } }),
            ),
            "input.media.caption",
        ),
        (
            "sendMessage",
            person(
                json!({ "text": null, "media": { "kind": "IMAGE", "link": "file:///etc/passwd" } }),
            ),
            "input.media.link",
        ),
        ("sendMessage", person(json!({ "text": "x".repeat(4_097) })), "input.text"),
        ("sendMessage", person(json!({ "sendAt": "2001-01-01T09:00:00Z" })), "input.sendAt"),
        ("sendMessage", person(json!({ "sendAt": "9999-01-01T09:00:00Z" })), "input.sendAt"),
        ("sendMessage", person(json!({ "timeToLive": 2_592_001 })), "input.timeToLive"),
        ("sendMessage", person(json!({ "replyTo": "nonsense with spaces\n" })), "input.replyTo"),
        ("sendMessages", json!({ "inputs": "MANY" }), "inputs"),
        ("rescheduleMessage", json!({ "sendAt": "2001-01-01T09:00:00Z" }), "sendAt"),
        ("rescheduleMessage", json!({ "sendAt": "9999-01-01T09:00:00Z" }), "sendAt"),
        ("createApiKey", person(json!({ "scopes": [] })), "input.scopes"),
        ("createApiKey", person(json!({ "expiresAt": "2001-01-01T09:00:00Z" })), "input.expiresAt"),
        ("createApiKey", person(json!({ "accountIds": [] })), "input.accountIds"),
        ("inviteUser", person(json!({ "email": "canary at home" })), "input.email"),
        ("inviteUser", person(json!({ "name": " " })), "input.name"),
        ("inviteUser", person(json!({ "accountIds": [] })), "input.accountIds"),
    ]
}

/// A campaign whose schedule is right but for this.
fn schedule(wrong: Value) -> Value {
    let mut schedule = json!({ "startAt": "2036-11-27T09:00", "timeZone": "Europe/London" });
    merge(&mut schedule, &wrong);
    json!({ "input": { "schedule": schedule } })
}

fn nested_rule(levels: usize) -> Value {
    (0..levels).fold(json!({ "tag": "vip" }), |inner, _| json!({ "not": [inner] }))
}

/// Objects are merged, everything else is put in place of what was there.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                let known = into.entry(name.clone()).or_insert(Value::Null);
                if known.is_object() && ["input", "audience"].contains(&name.as_str()) {
                    merge(known, value);
                } else {
                    *known = value.clone();
                }
            }
        }
        (into, from) => *into = from.clone(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_go_together_is_named_by_the_field_to_change() {
    let lab = Lab::new(gateway_tests::StoreKind::Sqlite).await;
    let spare = Spare::of(&lab).await;
    let samples = samples(&lab.own, &spare);
    let head = lab.head().await;
    let fields = catalogue();
    let mut wrong = vec![];
    for (name, change, at) in combinations() {
        let field = fields.iter().find(|field| field.name == name).expect("a mutation");
        let mut args = sample(&samples, name).args.clone();
        merge(&mut args, &change);
        if args["merge"] == "KEEP" {
            args["merge"] = args["keep"].clone();
        }
        if args["inputs"] == "MANY" {
            let one = &sample(&samples, "sendMessage").args["input"];
            args["inputs"] = (0..501).map(|_| one.clone()).collect();
        }
        let answer = lab.admin.try_raw(&query_of(field), args).await.expect("the gateway answers");
        let error = error_of(&answer).unwrap_or_default();
        let named = error["extensions"]["field"].as_str().unwrap_or_default();
        let is_named =
            named == at || named.strip_prefix(at).is_some_and(|rest| rest.starts_with(['.', '[']));
        if error["extensions"]["code"] != "VALIDATION_FAILED" || !is_named {
            let (shown, change): (String, String) = (
                answer.to_string().chars().take(300).collect(),
                change.to_string().chars().take(120).collect(),
            );
            wrong.push(format!("{name} with {change} should name {at}: {shown}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(lab.head().await, head, "something changed");
    lab.stop().await;
}

/// Arguments of queries, tried in the same way.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_says_what_is_wrong_with_its_arguments_too() {
    let lab = Lab::new(gateway_tests::StoreKind::Sqlite).await;
    let spare = Spare::of(&lab).await;
    let samples = samples(&lab.own, &spare);
    let (mut wrong, mut count) = (vec![], 0);
    for field in catalogue().into_iter().filter(|field| field.kind == FieldKind::Query) {
        for place in places(&field.args) {
            for (how, value) in wrong_values(place.last()) {
                let mut args = sample(&samples, &field.name).args.clone();
                place.set(&mut args, value);
                let query = document(&field, "{ __typename }");
                let answer = lab.admin.try_raw(&query, args).await.expect("the gateway answers");
                count += 1;
                let code = error_of(&answer).unwrap_or_default()["extensions"]["code"].clone();
                // What is merely not there may be not found; never may anything break.
                let is_lenient = place.last().base() == "String" || how == "too many";
                let is_answered =
                    code.is_null() || code == "NOT_FOUND" || code == "VALIDATION_FAILED";
                if (is_lenient && !is_answered)
                    || (!is_lenient && problem_of(&answer, &place).is_some())
                {
                    let shown: String = answer.to_string().chars().take(300).collect();
                    wrong.push(format!("{} with {} {how}: {shown}", field.name, place.path()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count}: {wrong:#?}", wrong.len());
    assert!(count > 150, "the walk was cut short: {count}");
    lab.stop().await;
}
