//! Care of a campaign under way: a test before it starts and after, who was left out judged anew, and what a cancellation
//! came in time for.

use std::time::Duration;

use gateway_tests::{Binary, BinaryOptions, Client, SandboxProcess, Store, eventually, stores};
use serde_json::{Value, json};

use crate::common::{
    approved_template, assert_adds_up, assert_equal_to_a_rebuild, count, import_csv, import_people,
    launch, progress_when,
};

const PATIENCE: Duration = Duration::from_secs(60);

async fn draft(client: &Client, input: Value) -> String {
    let mutation = "mutation($input: CreateCampaignInput!) { createCampaign(input: $input) { campaign { id } } }";
    let data = client.ask(mutation, json!({ "input": input })).await;
    data["createCampaign"]["campaign"]["id"].as_str().expect("an id").to_owned()
}

/// Does this to a campaign and answers the status it then has.
async fn does(client: &Client, mutation: &str, campaign: &str) -> String {
    let query = format!("mutation($id: ID!) {{ {mutation}(id: $id) {{ campaign {{ status }} }} }}");
    let data = client.ask(&query, json!({ "id": campaign })).await;
    data[mutation]["campaign"]["status"].as_str().expect("a status").to_owned()
}

/// Sends a test and waits until it has arrived; answers its id.
async fn test_arrives(client: &Client, campaign: &str, to: &str) -> String {
    let mutation = "mutation($id: ID!, $to: PhoneNumber!) { testCampaign(id: $id, to: $to) { message { id status } } }";
    let data = client.ask(mutation, json!({ "id": campaign, "to": to })).await;
    let message = data["testCampaign"]["message"]["id"].as_str().expect("an id").to_owned();
    eventually("the test message is delivered", || async {
        let query = "query($id: ID!) { message(id: $id) { status isTest } }";
        let data = client.ask(query, json!({ "id": message })).await;
        assert_eq!(data["message"]["isTest"], true, "{data}");
        (data["message"]["status"] == "DELIVERED").then_some(())
    })
    .await;
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_message_leaves_whatever_its_campaign_may_do() {
    const NUMBER: &str = "402000000000041";
    const TESTER: &str = "+447700900000";
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(41).await;
        sandbox.behave(json!({ "deliveredRate": 1.0, "readRate": 0.0 }));
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let client = &gateway.client;
        let account = sandbox.connect(client, NUMBER, 80).await;
        import_people(client, 1, "vip").await;
        let template = approved_template(client, &account, "offers").await;
        let input = json!({
            "accountId": account, "templateId": template, "name": "Tested",
            "parameters": { "body.1": "{{name}}" }, "audience": { "tags": ["vip"] },
        });
        let sends = || sandbox.sends_to(NUMBER, TESTER).len();

        let campaign = draft(client, input.clone()).await;
        test_arrives(client, &campaign, TESTER).await;
        assert_eq!(sends(), 1, "of a draft");

        let mut later = input.clone();
        later["schedule"] = json!({
            "startAt": "2099-01-01T09:00:00", "timeZone": "Europe/London",
            // Closed at whatever time this runs: a test does not wait for it.
            "sendWindow": { "from": "00:00", "to": "00:01" },
        });
        later["frequencyCap"] = json!({ "messages": 1, "hours": 24 });
        let scheduled = draft(client, later).await;
        assert_eq!(does(client, "launchCampaign", &scheduled).await, "SCHEDULED");
        test_arrives(client, &scheduled, TESTER).await;
        assert_eq!(does(client, "pauseCampaign", &scheduled).await, "PAUSED");
        test_arrives(client, &scheduled, TESTER).await;
        assert_eq!(does(client, "cancelCampaign", &scheduled).await, "CANCELLED");
        test_arrives(client, &scheduled, TESTER).await;
        assert_eq!(sends(), 4, "of one that is scheduled, paused and cancelled");

        does(client, "launchCampaign", &campaign).await;
        let all_delivered = |c: &Value| c["status"] == "COMPLETED" && count(c, "delivered") == 1;
        let done = progress_when(client, &campaign, PATIENCE, "it is done", all_delivered).await;
        let last = test_arrives(client, &campaign, TESTER).await;
        assert_eq!(sends(), 6, "the campaign's own, and of one that is completed");

        // An answer to a test is the test's, and neither counts.
        let inbound = json!({ "phoneNumberId": NUMBER, "from": "447700900000", "type": "text", "text": { "body": "Fine" } });
        sandbox.sandbox.inbound(&inbound).expect("a person writes");
        eventually("the answer is on record", || async {
            let query = "query($id: ID!) { message(id: $id) { repliedAt } }";
            let data = client.ask(query, json!({ "id": last })).await;
            (!data["message"]["repliedAt"].is_null()).then_some(())
        })
        .await;
        let query = "query($id: ID!) { campaign(id: $id) { progress { replied } } }";
        let data = client.ask(query, json!({ "id": campaign })).await;
        assert_eq!(data["campaign"]["progress"]["replied"], 0);
        let after = progress_when(client, &campaign, PATIENCE, "it stays", all_delivered).await;
        assert_eq!(after["progress"], done["progress"]);
        let none = progress_when(client, &scheduled, PATIENCE, "it is cancelled", |_| true).await;
        assert_eq!(count(&none, "recipients"), 0, "{none}");

        // Judged as anybody: no test goes to who wants none.
        opt_out(client, TESTER).await;
        let mutation = "mutation($id: ID!, $to: PhoneNumber!) { testCampaign(id: $id, to: $to) { message { status skipReason } } }";
        let data = client.ask(mutation, json!({ "id": campaign, "to": TESTER })).await;
        assert_eq!(
            data["testCampaign"]["message"],
            json!({ "status": "SKIPPED", "skipReason": "OPTED_OUT" })
        );
        assert_equal_to_a_rebuild(client, &campaign).await;
        gateway.terminate().await;
        sandbox.stop().await;
    }
}

async fn contact_of(client: &Client, number: &str) -> String {
    let query = "query($numbers: [PhoneNumber!]) { contacts(filter: { phoneNumbers: $numbers }) { nodes { id } } }";
    let data = client.ask(query, json!({ "numbers": [number] })).await;
    data["contacts"]["nodes"][0]["id"].as_str().expect("a contact").to_owned()
}

async fn opt_out(client: &Client, number: &str) {
    let input = json!({
        "contactId": contact_of(client, number).await, "status": "OPTED_OUT", "source": "phone call",
    });
    client
        .ask("mutation($input: RecordConsentInput!) { recordConsent(input: $input) { contact { id } } }", json!({ "input": input }))
        .await;
}

async fn retry(client: &Client, campaign: &str, scope: &str, key: &str) {
    client
        .ask(
            "mutation($id: ID!, $scope: RetryScope!, $key: String) { retryCampaign(id: $id, scope: $scope, idempotencyKey: $key) { campaign { status } } }",
            json!({ "id": campaign, "scope": scope, "key": key }),
        )
        .await;
}

/// Each recipient's message and what happened to it, by number.
async fn told(client: &Client, campaign: &str, number: &str) -> (String, Vec<String>) {
    let query = "query($id: ID!) { campaign(id: $id) { messages(first: 50) { nodes { id to history(first: 50) { nodes { type } } } } } }";
    let data = client.ask(query, json!({ "id": campaign })).await;
    let nodes = data["campaign"]["messages"]["nodes"].as_array().expect("messages").clone();
    let mut theirs = nodes.into_iter().filter(|node| node["to"] == number);
    let message = theirs.next().unwrap_or_else(|| panic!("{number} has no message"));
    assert!(theirs.next().is_none(), "one recipient is one message");
    let history = message["history"]["nodes"].as_array().expect("a history");
    let types = history.iter().map(|event| event["type"].as_str().expect("a type").to_owned());
    (message["id"].as_str().expect("an id").to_owned(), types.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_left_out_is_judged_anew_by_what_is_known_now() {
    const NUMBER: &str = "402000000000042";
    let [fine, filled, opted_out, lacking, consents] =
        [0, 1, 2, 3, 4].map(|n| format!("+44770090000{n}"));
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(42).await;
        sandbox.behave(json!({ "deliveredRate": 1.0, "readRate": 0.0 }));
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let client = &gateway.client;
        let account = sandbox.connect(client, NUMBER, 80).await;
        let csv = format!(
            "phone,name,city\n{fine},A,London\n{filled},B,\n{opted_out},C,Leeds\n{lacking},D,\n{consents},E,York\n"
        );
        let imported = import_csv(client, &csv, "vip").await;
        assert_eq!(imported["added"], 5, "{imported}");
        opt_out(client, &opted_out).await;
        opt_out(client, &consents).await;
        let template = approved_template(client, &account, "offers").await;
        let campaign = draft(
            client,
            json!({
                "accountId": account, "templateId": template, "name": "Once more",
                "parameters": { "body.1": "{{attributes.city}}" }, "audience": { "tags": ["vip"] },
            }),
        )
        .await;
        does(client, "launchCampaign", &campaign).await;
        let first = progress_when(client, &campaign, PATIENCE, "one is delivered", |c| {
            c["status"] == "COMPLETED" && count(c, "delivered") == 1
        })
        .await;
        assert_eq!((count(&first, "recipients"), count(&first, "skipped")), (5, 4));
        assert_adds_up(&first);
        let (id, _) = told(client, &campaign, &filled).await;

        let update = "mutation($input: UpdateContactInput!) { updateContact(input: $input) { contact { id } } }";
        let contact = contact_of(client, &filled).await;
        let input = json!({ "id": contact, "attributes": { "city": "Paris" } });
        client.ask(update, json!({ "input": input })).await;
        let contact = contact_of(client, &consents).await;
        let input = json!({ "contactId": contact, "status": "OPTED_IN", "source": "form" });
        client
            .ask("mutation($input: RecordConsentInput!) { recordConsent(input: $input) { contact { id } } }", json!({ "input": input }))
            .await;
        retry(client, &campaign, "SKIPPED", "again").await;
        let second = progress_when(client, &campaign, PATIENCE, "three are delivered", |c| {
            c["status"] == "COMPLETED" && count(c, "delivered") == 3
        })
        .await;
        assert_adds_up(&second);
        assert_eq!((count(&second, "recipients"), count(&second, "skipped")), (5, 2));
        assert_eq!(sandbox.sends(NUMBER).len(), 3);
        let (same, types) = told(client, &campaign, &filled).await;
        assert_eq!(same, id);
        assert_eq!(types[..3], ["message.skipped", "message.queued", "message.send_requested"]);
        for number in [&opted_out, &lacking] {
            assert_eq!(told(client, &campaign, number).await.1, ["message.skipped"], "{number}");
        }

        // Repeated it does nothing; asked for anew it is new, and another reason is a fact although nobody is sent to.
        opt_out(client, &lacking).await;
        retry(client, &campaign, "SKIPPED", "again").await;
        assert_eq!(told(client, &campaign, &lacking).await.1.len(), 1);
        retry(client, &campaign, "ALL", "everybody").await;
        let third = progress_when(client, &campaign, PATIENCE, "it is another reason", |c| {
            c["progress"]["skips"] == json!([{ "reason": "OPTED_OUT", "count": 2 }])
        })
        .await;
        assert_eq!(third["status"], "COMPLETED", "nobody waits, so it is not opened again");
        assert_adds_up(&third);
        assert_eq!(told(client, &campaign, &lacking).await.1, ["message.skipped"; 2]);
        assert_eq!(sandbox.sends(NUMBER).len(), 3);

        // Erased is for good.
        let contact = contact_of(client, &lacking).await;
        client
            .ask(
                "mutation($id: ID!) { eraseContact(id: $id, reason: \"asked\") { contact { id } } }",
                json!({ "id": contact }),
            )
            .await;
        for (key, events) in [("erased", 3), ("for good", 3)] {
            retry(client, &campaign, "SKIPPED", key).await;
            let query = "query($id: ID!) { campaign(id: $id) { messages(first: 50) { nodes { skipReason history(first: 50) { nodes { type } } } } } }";
            eventually("their message says why", || async {
                let data = client.ask(query, json!({ "id": campaign })).await;
                let nodes = data["campaign"]["messages"]["nodes"].as_array()?.clone();
                let erased = nodes.iter().find(|node| node["skipReason"] == "ERASED")?;
                assert_eq!(erased["history"]["nodes"].as_array()?.len(), events);
                Some(())
            })
            .await;
        }
        assert_equal_to_a_rebuild(client, &campaign).await;
        gateway.terminate().await;
        sandbox.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_says_what_had_left_and_what_was_stopped() {
    const NUMBER: &str = "402000000000043";
    const PEOPLE: u64 = 150;
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(43).await;
        sandbox.behave(json!({ "deliveredRate": 1.0, "readRate": 0.0 }));
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let client = &gateway.client;
        let account = sandbox.connect(client, NUMBER, 10).await;
        import_people(client, PEOPLE as u32, "vip").await;
        let template = approved_template(client, &account, "offers").await;
        let campaign = launch(client, &account, &template, "vip").await;
        let running = progress_when(client, &campaign, PATIENCE, "some have left", |c| {
            count(c, "accepted") >= 5
        })
        .await;
        assert_eq!(count(&running, "recipients"), PEOPLE);
        let fields = "cancellation { left inDoubt stopped stopping summary }";
        let mutation = format!(
            "mutation($id: ID!) {{ cancelCampaign(id: $id, reason: \"rain\") {{ campaign {{ statusReason {fields} }} }} }}"
        );
        let data = client.ask(&mutation, json!({ "id": campaign })).await;
        let at_once = &data["cancelCampaign"]["campaign"];
        assert_eq!(at_once["statusReason"], "rain");
        let sum = |known: &Value| -> u64 {
            ["left", "stopped", "stopping"].iter().filter_map(|name| known[*name].as_u64()).sum()
        };
        assert_eq!(sum(&at_once["cancellation"]), PEOPLE, "{at_once}");
        let query = format!("query($id: ID!) {{ campaign(id: $id) {{ {fields} }} }}");
        let settled = eventually("nothing is left to stop", || async {
            let data = client.ask(&query, json!({ "id": campaign })).await;
            let known = data["campaign"]["cancellation"].clone();
            (known["stopping"] == 0).then_some(known)
        })
        .await;
        assert_eq!(sum(&settled), PEOPLE, "{settled}");
        // What WhatsApp has is what had left, and nothing leaves any more.
        let left = settled["left"].as_u64().expect("a count");
        assert_eq!(left, sandbox.sandbox.stats().counted);
        assert!((5..PEOPLE).contains(&left), "{settled}");
        let expected = format!(
            "{left} messages had left for WhatsApp and cannot be called back; {} were stopped and will not be sent.",
            PEOPLE - left
        );
        assert_eq!(settled["summary"], expected);
        let done = progress_when(client, &campaign, PATIENCE, "all that left arrived", |c| {
            count(c, "delivered") == left
        })
        .await;
        assert_adds_up(&done);
        assert_eq!(count(&done, "cancelled"), PEOPLE - left);
        gateway.terminate().await;
        sandbox.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_whose_segment_is_gone_when_it_starts_says_so() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(46).await;
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let client = &gateway.client;
        let account = sandbox.connect(client, "402000000000046", 80).await;
        import_people(client, 2, "vip").await;
        let template = approved_template(client, &account, "offers").await;
        let create = "mutation($input: CreateSegmentInput!) { createSegment(input: $input) { segment { id } } }";
        let input = json!({ "name": "Soon gone", "rule": { "tag": "vip" } });
        let data = client.ask(create, json!({ "input": input })).await;
        let segment = data["createSegment"]["segment"]["id"].clone();
        let soon = chrono::Utc::now() + chrono::Duration::seconds(4);
        let input = json!({
            "accountId": account, "templateId": template, "name": "Later", "parameters": { "body.1": "{{name}}" },
            "audience": { "segmentIds": [segment] },
            "schedule": { "startAt": soon.format("%Y-%m-%dT%H:%M:%S").to_string(), "timeZone": "UTC" },
        });
        let campaign = draft(client, input).await;
        assert_eq!(does(client, "launchCampaign", &campaign).await, "SCHEDULED");
        let delete = "mutation($id: ID!) { deleteSegment(id: $id) { position } }";
        client.ask(delete, json!({ "id": segment })).await;
        let paused =
            progress_when(client, &campaign, PATIENCE, "it says so", |c| c["status"] == "PAUSED")
                .await;
        let reason = paused["statusReason"].as_str().expect("a reason");
        assert!(reason.contains("segment") && reason.contains("clone"), "{reason}");
        assert_eq!(count(&paused, "recipients"), 0);
        assert!(sandbox.sends("402000000000046").is_empty());
        gateway.terminate().await;
        sandbox.stop().await;
    }
}
