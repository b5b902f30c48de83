//! What people do about messages, counted as the sandbox made it happen; what that cost; and who had to say yes before.

use std::time::Duration;

use gateway_tests::{Binary, BinaryOptions, Client, SandboxProcess, Store, eventually, stores};
use serde_json::{Value, json};

use crate::common::{
    approved_template, assert_adds_up, assert_equal_to_a_rebuild, count, import_csv, import_people,
    key_with, launch,
};

const NUMBER: &str = "402000000000041";
const ENGAGEMENT: &str = "query($id: ID!) { campaign(id: $id) { status statusReason awaitsApproval progress { recipients pending accepted sent \
                          delivered read failed cancelled skipped inDoubt replied clicked optedOut buttons { label count } \
                          cost { amount currency estimated } } } }";
const MESSAGES: &str = "query($id: ID!) { campaign(id: $id) { messages(first: 100) { nodes { id to wamid repliedAt clickedAt \
                        history(first: 50) { nodes { id type causationId data } } } } } }";
const SET_RATES: &str = "mutation($input: SetRateCardInput!) { setRateCard(input: $input) { rateCard { rates { countries \
                         category currency amount validFrom } } position } }";

/// The campaign once `done` says so.
async fn engaged(client: &Client, id: &str, what: &str, done: impl Fn(&Value) -> bool) -> Value {
    let last = std::sync::Mutex::new(Value::Null);
    let seen = gateway_tests::eventually_within(Duration::from_secs(90), what, || async {
        let campaign = client.ask(ENGAGEMENT, json!({ "id": id })).await["campaign"].clone();
        *last.lock().expect("no panic") = campaign.clone();
        done(&campaign).then_some(campaign)
    });
    tokio::select! {
        campaign = seen => campaign,
        () = tokio::time::sleep(Duration::from_secs(89)) => {
            panic!("{what}: last seen {}", last.lock().expect("no panic"))
        }
    }
}

async fn messages(client: &Client, campaign: &str) -> Vec<Value> {
    let data = client.ask(MESSAGES, json!({ "id": campaign })).await;
    data["campaign"]["messages"]["nodes"].as_array().expect("messages").clone()
}

/// Pages of what the segment's rule finds.
async fn segment_size(client: &Client, rule: Value) -> u64 {
    let query = "query($rule: JSON!) { previewSegment(rule: $rule) { count } }";
    client.ask(query, json!({ "rule": rule })).await["previewSegment"]["count"]
        .as_u64()
        .expect("a count")
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_are_counted_as_people_wrote_them_quoted_or_not() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(7).await;
        // Webhooks come twice, in any order, and answers may overtake what they answer.
        sandbox.behave(json!({
            "latencyMs": { "min": 1, "max": 400 }, "statusDelayMs": { "min": 0, "max": 60 }, "readRate": 1.0,
            "replyRate": 0.5, "replyQuotedRate": 0.5, "duplicateWebhooks": 1.0, "shuffleWebhooks": true,
        }));
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let client = &gateway.client;
        let account = sandbox.connect(client, NUMBER, 500).await;
        import_people(client, 80, "vip").await;
        let template = approved_template(client, &account, "offers").await;
        let campaign = launch(client, &account, &template, "vip").await;
        engaged(client, &campaign, "all are read", |c| count(c, "read") == 80).await;
        eventually("the sandbox has told everything", || async {
            (sandbox.sandbox.stats().webhooks_pending == 0).then_some(())
        })
        .await;
        let wrote = sandbox.sandbox.stats().inbound;
        assert!((20..60).contains(&wrote), "the rate is a half: {wrote}");
        let campaign_now =
            engaged(client, &campaign, "every answer is counted", |c| count(c, "replied") >= wrote)
                .await;
        assert_adds_up(&campaign_now);
        assert_eq!(count(&campaign_now, "replied"), wrote, "{campaign_now}");
        assert_eq!(count(&campaign_now, "clicked"), 0, "{campaign_now}");
        assert_eq!(count(&campaign_now, "optedOut"), 0, "{campaign_now}");
        // Each answer is the cause of its fact, once, by name or by time.
        let all = messages(client, &campaign).await;
        let (mut quoted, mut answered) = (0, 0);
        for message in &all {
            let history = message["history"]["nodes"].as_array().expect("a history");
            let replies: Vec<_> =
                history.iter().filter(|event| event["type"] == "message.replied").collect();
            assert!(replies.len() <= 1, "{message}");
            assert_eq!(message["repliedAt"].is_null(), replies.is_empty(), "{message}");
            for reply in replies {
                answered += 1;
                quoted += u64::from(reply["data"]["quoted"] == true);
                let query = "query($id: ID!) { message(id: $id) { direction history(first: 5) { nodes { id type } } } }";
                let id = &reply["data"]["reply_id"];
                let inbound = client.ask(query, json!({ "id": id })).await["message"].clone();
                assert_eq!(inbound["direction"], "INBOUND", "{inbound}");
                assert_eq!(inbound["history"]["nodes"][0]["id"], reply["causationId"], "{reply}");
            }
        }
        assert_eq!(answered, wrote);
        assert!(quoted > 0 && quoted < answered, "{quoted} of {answered}");
        let rule = |status: &str| json!({ "campaign": { "id": campaign, "status": status } });
        assert_eq!(segment_size(client, rule("REPLIED")).await, wrote);
        assert_eq!(segment_size(client, rule("READ")).await, 80);
        assert_eq!(segment_size(client, rule("CLICKED")).await, 0);
        assert_equal_to_a_rebuild(client, &campaign).await;
        let rebuilt = client.ask(ENGAGEMENT, json!({ "id": campaign })).await["campaign"].clone();
        assert_eq!(count(&rebuilt, "replied"), wrote, "{rebuilt}");
        gateway.terminate().await;
        sandbox.stop().await;
    }
}

/// A MARKETING template with two quick replies, approved by the sandbox.
async fn template_with_buttons(client: &Client, account: &str) -> String {
    let input = json!({
        "accountId": account, "name": "choices", "language": "en", "category": "MARKETING",
        "components": [
            { "type": "BODY", "text": "Hello {{1}}, shall we show you our offers?", "example": { "body_text": [["Ada"]] } },
            { "type": "BUTTONS", "buttons": [{ "type": "QUICK_REPLY", "text": "Show me" }, { "type": "QUICK_REPLY", "text": "Stop" }] },
        ],
    });
    let query = "mutation($input: CreateTemplateInput!) { createTemplate(input: $input) { template { id } } }";
    let data = client.ask(query, json!({ "input": input })).await;
    let id = data["createTemplate"]["template"]["id"].as_str().expect("an id").to_owned();
    let submit = "mutation($id: ID!) { submitTemplate(id: $id) { template { id } } }";
    client.ask(submit, json!({ "id": id })).await;
    eventually("the template is approved", || async {
        let query = "query($id: ID!) { template(id: $id) { status } }";
        let data = client.ask(query, json!({ "id": id })).await;
        (data["template"]["status"] == "APPROVED").then_some(())
    })
    .await;
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn taps_stops_and_cost_are_told_of_the_campaign_that_they_are_about() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(8).await;
        sandbox.behave(json!({ "readRate": 1.0 }));
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let client = &gateway.client;
        let account = sandbox.connect(client, NUMBER, 500).await;
        import_people(client, 10, "vip").await;
        let template = template_with_buttons(client, &account).await;
        let campaign = launch(client, &account, &template, "vip").await;
        let read = engaged(client, &campaign, "all are read", |c| count(c, "read") == 10).await;
        // Nobody has said what anything costs.
        assert_eq!(read["progress"]["cost"], Value::Null, "{read}");

        let sent = messages(client, &campaign).await;
        let of = |index: usize| {
            let to = format!("+{}", 447_700_900_000_u64 + index as u64);
            let message = sent.iter().find(|message| message["to"] == to.as_str());
            message.unwrap_or_else(|| panic!("nothing went to {to}"))
        };
        let says = |index: usize, mut said: Value| {
            said["phoneNumberId"] = json!(NUMBER);
            said["from"] = json!(format!("{}", 447_700_900_000_u64 + index as u64));
            sandbox.sandbox.inbound(&said).expect("a person writes");
        };
        let tap = |index: usize, label: &str| {
            says(
                index,
                json!({ "type": "button", "button": { "text": label, "payload": label }, "context": { "id": of(index)["wamid"] } }),
            );
        };
        tap(0, "Show me");
        tap(0, "Show me");
        tap(1, "Show me");
        tap(2, "Stop");
        // What stands on no button of the template is nobody's label.
        tap(3, "Call Ada on 5");
        // By a word, naming nothing; and by a tap in WhatsApp's settings.
        says(4, json!({ "type": "text", "text": { "body": "STOP" } }));
        says(5, json!({ "type": "user_preferences", "value": "stop" }));
        // A second word, of one who has answered already, and a reaction, which is no answer.
        says(0, json!({ "type": "text", "text": { "body": "and when?" } }));
        says(
            6,
            json!({ "type": "reaction", "reaction": { "message_id": of(6)["wamid"], "emoji": "👍" } }),
        );
        let told = engaged(client, &campaign, "everything is told", |c| {
            count(c, "replied") >= 5 && count(c, "optedOut") >= 3
        })
        .await;
        eventually("the sandbox has told everything", || async {
            (sandbox.sandbox.stats().webhooks_pending == 0).then_some(())
        })
        .await;
        let progress = &told["progress"];
        assert_eq!((count(&told, "replied"), count(&told, "clicked")), (5, 4), "{told}");
        assert_eq!(count(&told, "optedOut"), 3, "{told}");
        let buttons = json!([{ "label": "Show me", "count": 2 }, { "label": "Stop", "count": 1 }]);
        assert_eq!(progress["buttons"], buttons, "{told}");
        let rule = |status: &str| json!({ "campaign": { "id": campaign, "status": status } });
        assert_eq!(segment_size(client, rule("CLICKED")).await, 4);
        assert_eq!(
            segment_size(client, json!({ "lastMessage": { "status": "REPLIED" } })).await,
            5
        );
        assert!(of(0)["repliedAt"].is_null(), "that was before");
        let after = messages(client, &campaign).await;
        let clicked = after.iter().filter(|message| !message["clickedAt"].is_null()).count();
        assert_eq!(clicked, 4);
        assert!(!serde_json::to_string(&after).expect("JSON").contains("Call Ada"));

        costs(client, &campaign).await;
        gateway.terminate().await;
        sandbox.stop().await;
    }
}

/// Ten messages that WhatsApp has billed, by cards that come and go.
async fn costs(client: &Client, campaign: &str) {
    let rate = |countries: Value, amount: &str, currency: &str| json!({ "countries": countries, "category": "MARKETING", "currency": currency, "amount": amount, "validFrom": "2020-01-01" });
    let set = |rates: Value| async move {
        client.query(SET_RATES, json!({ "input": { "rates": rates } })).await
    };
    let cost = || async {
        let data = client.ask(ENGAGEMENT, json!({ "id": campaign })).await;
        data["campaign"]["progress"]["cost"].clone()
    };
    let done = set(json!([rate(json!(["GB"]), "0.0382", "GBP")])).await.expect("a card");
    assert_eq!(done["setRateCard"]["rateCard"]["rates"][0]["amount"], "0.0382", "{done}");
    assert_eq!(cost().await, json!({ "amount": "0.382", "currency": "GBP", "estimated": false }));
    // A line for everybody else; a calling code stands for its countries; and none for this category at all.
    set(json!([rate(json!([]), "0.01", "EUR")])).await.expect("a card");
    assert_eq!(cost().await, json!({ "amount": "0.1", "currency": "EUR", "estimated": false }));
    let mut by_code = rate(json!(null), "0.5", "USD");
    by_code["callingCodes"] = json!(["+44"]);
    set(json!([by_code])).await.expect("a card");
    assert_eq!(cost().await, json!({ "amount": "5", "currency": "USD", "estimated": false }));
    set(json!([rate(json!(["DE"]), "0.1", "EUR")])).await.expect("a card");
    assert_eq!(cost().await, Value::Null, "no rate, no amount");
    let mut later = rate(json!(["GB"]), "0.1", "EUR");
    later["validFrom"] = json!("2999-01-01");
    set(json!([later])).await.expect("a card");
    assert_eq!(cost().await, Value::Null, "not yet");
    for (rates, field) in [
        (json!([rate(json!(["XX"]), "0.1", "EUR")]), "input.rates[0].countries[0]"),
        (json!([rate(json!(["GB"]), "0.1", "Euro")]), "input.rates[0].currency"),
        (json!([rate(json!(["GB"]), "-1", "EUR")]), "input.rates[0].amount"),
        (
            json!([rate(json!(["GB"]), "1", "EUR"), rate(json!(["FR", "GB"]), "2", "EUR")]),
            "input.rates[1].countries",
        ),
    ] {
        let refused = set(rates).await.expect_err(field);
        assert_eq!(refused.code, "VALIDATION_FAILED", "{refused:?}");
        assert_eq!(refused.field.as_deref(), Some(field), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_campaign_needs_two_keys_and_a_changed_one_needs_them_again() {
    const LAUNCH: &str = "mutation($id: ID!) { launchCampaign(id: $id) { campaign { id status awaitsApproval statusReason } } }";
    const APPROVE: &str =
        "mutation($id: ID!) { approveCampaign(id: $id) { campaign { id status awaitsApproval } } }";
    const UPDATE: &str = "mutation($input: UpdateCampaignInput!) { updateCampaign(input: $input) { campaign { status awaitsApproval } } }";
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(9).await;
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let client = &gateway.client;
        let account = sandbox.connect(client, NUMBER, 500).await;
        import_people(client, 6, "vip").await;
        let template = approved_template(client, &account, "offers").await;
        let workspaces = client.ask("{ workspaces { id approvalThreshold } }", json!({})).await;
        let workspace = &workspaces["workspaces"][0];
        assert_eq!(workspace["approvalThreshold"], Value::Null);
        let set = "mutation($input: UpdateWorkspaceInput!) { updateWorkspace(input: $input) { workspace { name approvalThreshold } } }";
        let threshold =
            |n: Value| json!({ "input": { "id": workspace["id"], "approvalThreshold": n } });
        let done = client.ask(set, threshold(json!(5))).await;
        assert_eq!(done["updateWorkspace"]["workspace"]["approvalThreshold"], 5);
        let refused = client.query(set, threshold(json!(-1))).await.expect_err("negative");
        assert_eq!(refused.field.as_deref(), Some("input.approvalThreshold"), "{refused:?}");

        let campaign = launch(client, &account, &template, "vip").await;
        let waits = client.ask(ENGAGEMENT, json!({ "id": campaign })).await["campaign"].clone();
        assert_eq!((&waits["status"], &waits["awaitsApproval"]), (&json!("DRAFT"), &json!(true)));
        assert!(waits["statusReason"].as_str().expect("why").contains("6 people"), "{waits}");
        let id = json!({ "id": campaign });
        let own = client.query(APPROVE, id.clone()).await.expect_err("the same key");
        assert_eq!(own.code, "CONFLICT", "{own:?}");
        assert!(own.message.contains("another key"), "{own:?}");
        let reader = client.with_key(&key_with(client, &["READ"]).await);
        let forbidden = reader.query(APPROVE, id.clone()).await.expect_err("READ is not enough");
        assert_eq!(forbidden.code, "FORBIDDEN", "{forbidden:?}");

        // A changed plan is another campaign.
        let renamed = json!({ "input": { "id": campaign, "name": "Another name" } });
        let updated = client.ask(UPDATE, renamed.clone()).await;
        assert_eq!(updated["updateCampaign"]["campaign"]["awaitsApproval"], false, "{updated}");
        let second = client.with_key(&key_with(client, &["READ", "SEND", "MANAGE"]).await);
        let early = second.query(APPROVE, id.clone()).await.expect_err("nobody asks any more");
        assert_eq!(early.code, "CONFLICT", "{early:?}");
        client.ask(LAUNCH, id.clone()).await;
        let approved = second.ask(APPROVE, id.clone()).await;
        assert_eq!(approved["approveCampaign"]["campaign"]["status"], "RUNNING", "{approved}");
        let done = engaged(client, &campaign, "it is sent", |c| count(c, "delivered") == 6).await;
        assert_eq!(done["awaitsApproval"], false, "{done}");
        let history = client
            .ask("query($id: ID!) { campaign(id: $id) { history(first: 50) { nodes { type actor { id } } } } }", id.clone())
            .await;
        let events = history["campaign"]["history"]["nodes"].as_array().expect("events").clone();
        let actor = |kind: &str| {
            let event = events.iter().rev().find(|event| event["type"] == kind);
            event.unwrap_or_else(|| panic!("no {kind}: {events:?}"))["actor"]["id"].clone()
        };
        assert_ne!(actor("campaign.approval_requested"), actor("campaign.approved"));
        assert_eq!(actor("campaign.approved"), actor("campaign.started"));

        // As many as are allowed, and any number without a threshold: one key is enough.
        client.ask(set, threshold(json!(6))).await;
        let small = launch(client, &account, &template, "vip").await;
        engaged(client, &small, "it runs", |c| c["status"] != "DRAFT").await;
        client.ask(set, threshold(json!(0))).await;
        let none = launch(client, &account, &template, "vip").await;
        client.ask(set, threshold(Value::Null)).await;
        client.ask(LAUNCH, json!({ "id": none })).await;
        engaged(client, &none, "it runs", |c| c["status"] != "DRAFT").await;
        gateway.terminate().await;
        sandbox.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_one_whichever_number_whatsapp_writes_them_with() {
    const PEOPLE: &str =
        "{ contacts(first: 50) { nodes { id name phoneNumber consent { status } } } }";
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(10).await;
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let client = &gateway.client;
        sandbox.connect(client, NUMBER, 500).await;
        let csv = "phone,name\n+5551998765432,Ana\n+5215512345678,Luz\n+447700900001,Old\n+447700900002,New\n";
        import_csv(client, csv, "vip").await;
        // The other form of each is no new person.
        let again =
            import_csv(client, "phone,name\n+555198765432,Ana\n+525512345678,Luz\n", "vip").await;
        assert_eq!((&again["added"], &again["rejected"]), (&json!(0), &json!(0)), "{again}");
        for from in ["555198765432", "525512345678"] {
            let hello = json!({ "phoneNumberId": NUMBER, "from": from, "type": "text", "text": { "body": "hello" } });
            sandbox.sandbox.inbound(&hello).expect("a person writes");
        }
        let writes = "{ messages(filter: { direction: INBOUND }) { nodes { contactId } } }";
        eventually("both are heard", || async {
            let data = client.ask(writes, json!({})).await;
            (data["messages"]["nodes"].as_array()?.len() == 2).then_some(())
        })
        .await;
        let people = client.ask(PEOPLE, json!({})).await["contacts"]["nodes"].clone();
        assert_eq!(people.as_array().expect("people").len(), 4, "{people}");

        // WhatsApp says that the one is the other: a person who wrote from the new number before is one with them.
        let moved = json!({ "phoneNumberId": NUMBER, "from": "447700900001", "type": "system",
                            "system": { "type": "user_changed_number", "body": "x", "wa_id": "447700900002" } });
        sandbox.sandbox.inbound(&moved).expect("a person moves");
        let merged = eventually("they are one, under the new number", || async {
            let people = client.ask(PEOPLE, json!({})).await["contacts"]["nodes"].clone();
            let all = people.as_array()?;
            // Who stays keeps their name.
            let moved = |it: &Value| it["name"] == "Old" && it["phoneNumber"] == "+447700900002";
            (all.len() == 3 && all.iter().any(moved)).then_some(people)
        })
        .await;

        // Who said stop and was erased is known again, whichever form of the number comes back.
        let ana = merged.as_array().expect("people").iter().find(|it| it["name"] == "Ana");
        let ana = ana.unwrap_or_else(|| panic!("Ana: {merged}"))["id"].clone();
        let consent = json!({ "input": { "contactId": ana, "status": "OPTED_OUT", "source": "phone call", "evidence": "call 7",
                                         "occurredAt": "2026-01-02T03:04:05Z", "category": "MARKETING" } });
        let record = "mutation($input: RecordConsentInput!) { recordConsent(input: $input) { contact { consent { categories { category status source recordedAt } } } } }";
        let recorded = client.ask(record, consent).await;
        let word = recorded["recordConsent"]["contact"]["consent"]["categories"][0].clone();
        assert_eq!(word["recordedAt"], "2026-01-02T03:04:05.000Z", "{recorded}");
        let erase = "mutation($id: ID!) { eraseContact(id: $id, reason: \"asked\") { contact { erased } } }";
        client.ask(erase, json!({ "id": ana })).await;
        import_csv(client, "phone,name,consent\n+555198765432,Back,yes\n", "vip").await;
        let people = client.ask(PEOPLE, json!({})).await["contacts"]["nodes"].clone();
        let back = people.as_array().expect("people").iter().find(|it| it["name"] == "Back");
        let back = back.unwrap_or_else(|| panic!("imported again: {people}"));
        assert_eq!(back["consent"]["status"], "OPTED_OUT", "{back}");
        gateway.terminate().await;
        sandbox.stop().await;
    }
}
