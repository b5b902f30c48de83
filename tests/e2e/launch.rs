//! What a launch allowed holds when the campaign starts, and what would be sent to nobody is refused at once.

use std::time::Duration;

use gateway_tests::{Binary, BinaryOptions, Client, GraphqlError, SandboxProcess, Store, stores};
use serde_json::{Value, json};

use crate::common::{
    PROGRESS, approved_template, assert_equal_to_a_rebuild, count, import_csv, key_with,
    progress_when,
};

const PATIENCE: Duration = Duration::from_secs(90);
const NUMBER: &str = "402000000000131";
const LAUNCH: &str = "mutation($id: ID!, $people: Int, $cost: Decimal) { launchCampaign(id: $id, maxRecipients: $people, maxCost: $cost) \
                      { campaign { id status awaitsApproval maxRecipients maxCost } } }";

async fn draft(client: &Client, input: Value) -> String {
    let mutation = "mutation($input: CreateCampaignInput!) { createCampaign(input: $input) { campaign { id } } }";
    let data = client.ask(mutation, json!({ "input": input })).await;
    data["createCampaign"]["campaign"]["id"].as_str().expect("an id").to_owned()
}

/// People from `from` on, with the tag.
async fn people(client: &Client, from: u32, count: u32, tag: &str) {
    let mut csv = String::from("phone,name,city\n");
    for index in from..from + count {
        csv.push_str(&format!(
            "+{},Person {index},London\n",
            447_700_900_000_u64 + u64::from(index)
        ));
    }
    import_csv(client, &csv, tag).await;
}

/// Tomorrow, so that the audience can change meanwhile; or in a moment.
fn at(when: chrono::Duration) -> Value {
    let at = chrono::Utc::now() + when;
    json!({ "startAt": at.format("%Y-%m-%dT%H:%M:%S").to_string(), "timeZone": "UTC" })
}

async fn start_now(client: &Client, campaign: &str) {
    let update = "mutation($input: UpdateCampaignInput!) { updateCampaign(input: $input) { campaign { id } } }";
    let schedule = at(chrono::Duration::seconds(1));
    client.ask(update, json!({ "input": { "id": campaign, "schedule": schedule } })).await;
}

/// Waits until it is held: the reason.
async fn held(client: &Client, campaign: &str) -> String {
    let held =
        progress_when(client, campaign, PATIENCE, "it is held", |c| c["status"] == "PAUSED").await;
    assert_eq!(count(&held, "recipients"), 0, "{held}");
    held["statusReason"].as_str().expect("a reason").to_owned()
}

async fn says(client: &Client, mutation: &str, campaign: &str) -> Result<Value, GraphqlError> {
    let mutation = format!(
        "mutation($id: ID!) {{ {mutation}(id: $id) {{ campaign {{ status statusReason awaitsApproval }} }} }}"
    );
    let data = client.query(&mutation, json!({ "id": campaign })).await?;
    Ok(data.as_object().and_then(|data| data.values().next()).expect("an answer")["campaign"]
        .clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audience_that_outgrows_its_launch_is_held_until_somebody_says_yes() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(131).await;
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let client = &gateway.client;
        let account = sandbox.connect(client, NUMBER, 200).await;
        let template = approved_template(client, &account, "offers").await;
        people(client, 0, 2, "vip").await;
        let input = json!({
            "accountId": account, "templateId": template, "name": "Later", "parameters": { "body.1": "{{name}}" },
            "audience": { "tags": ["vip"] }, "schedule": at(chrono::Duration::days(1)),
        });

        // A number of people.
        let campaign = draft(client, input.clone()).await;
        let launched = client.ask(LAUNCH, json!({ "id": campaign, "people": 3 })).await;
        let launched = &launched["launchCampaign"]["campaign"];
        assert_eq!(
            (&launched["status"], &launched["maxRecipients"]),
            (&json!("SCHEDULED"), &json!(3))
        );
        people(client, 2, 3, "vip").await;
        start_now(client, &campaign).await;
        let why = held(client, &campaign).await;
        assert!(why.contains("has grown from 2 to 5 people since the launch"), "{why}");
        assert!(
            why.contains("the limit given at launch is 3") && why.contains("resumeCampaign"),
            "{why}"
        );
        let refused = says(client, "approveCampaign", &campaign).await.expect_err("nobody asked");
        assert_eq!(refused.code, "CONFLICT", "{refused:?}");
        // Who comes after the start is not counted and not sent to.
        people(client, 5, 4, "vip").await;
        assert!(sandbox.sends(NUMBER).is_empty());
        let resumed = says(client, "resumeCampaign", &campaign).await.expect("it goes on");
        assert_eq!(
            (&resumed["status"], &resumed["statusReason"]),
            (&json!("RUNNING"), &Value::Null)
        );
        let done = progress_when(client, &campaign, PATIENCE, "it is done", |c| {
            c["status"] == "COMPLETED"
        })
        .await;
        assert_eq!((count(&done, "accepted"), sandbox.sends(NUMBER).len()), (5, 5), "{done}");

        // An amount.
        let rates = json!([{ "countries": [], "category": "MARKETING", "currency": "EUR", "amount": "0.1", "validFrom": "2026-01-01" }]);
        let set = "mutation($input: SetRateCardInput!) { setRateCard(input: $input) { position } }";
        client.ask(set, json!({ "input": { "rates": rates } })).await;
        let campaign = draft(client, input.clone()).await;
        client.ask(LAUNCH, json!({ "id": campaign, "cost": "1" })).await;
        people(client, 9, 2, "vip").await;
        start_now(client, &campaign).await;
        let why = held(client, &campaign).await;
        assert!(why.contains("would cost 1.1 EUR; the limit given at launch is 1."), "{why}");
        assert_eq!(sandbox.sends(NUMBER).len(), 5);
        says(client, "resumeCampaign", &campaign).await.expect("it goes on");
        progress_when(client, &campaign, PATIENCE, "it is done", |c| c["status"] == "COMPLETED")
            .await;
        assert_eq!(sandbox.sends(NUMBER).len(), 16);

        // What one key may launch alone.
        let workspaces = client.ask("{ workspaces { id } }", json!({})).await;
        let set = "mutation($input: UpdateWorkspaceInput!) { updateWorkspace(input: $input) { workspace { id } } }";
        let threshold = json!({ "id": workspaces["workspaces"][0]["id"], "approvalThreshold": 12 });
        client.ask(set, json!({ "input": threshold })).await;
        let campaign = draft(client, input.clone()).await;
        let launched = client.ask(LAUNCH, json!({ "id": campaign })).await;
        assert_eq!(launched["launchCampaign"]["campaign"]["status"], "SCHEDULED", "{launched}");
        people(client, 11, 3, "vip").await;
        start_now(client, &campaign).await;
        let why = held(client, &campaign).await;
        assert!(
            why.contains("has grown from 11 to 14") && why.contains("approveCampaign"),
            "{why}"
        );
        for mutation in ["resumeCampaign", "approveCampaign"] {
            let refused = says(client, mutation, &campaign).await.expect_err("the same key");
            assert_eq!(refused.code, "CONFLICT", "{refused:?}");
            assert!(refused.message.contains("another key"), "{refused:?}");
        }
        let second = client.with_key(&key_with(client, &["READ", "SEND"]).await);
        let approved = says(&second, "approveCampaign", &campaign).await.expect("another key");
        assert_eq!(
            (&approved["status"], &approved["awaitsApproval"]),
            (&json!("RUNNING"), &json!(false))
        );
        progress_when(client, &campaign, PATIENCE, "it is done", |c| c["status"] == "COMPLETED")
            .await;
        assert_eq!(sandbox.sends(NUMBER).len(), 30);

        // What keeps to what was launched and approved goes by itself.
        let mut at_once = input;
        at_once["schedule"] = Value::Null;
        let campaign = draft(client, at_once).await;
        client.ask(LAUNCH, json!({ "id": campaign, "people": 14, "cost": "1.4" })).await;
        let waiting = client.ask(PROGRESS, json!({ "id": campaign })).await;
        assert_eq!(waiting["campaign"]["status"], "DRAFT", "14 are more than 12: {waiting}");
        says(&second, "approveCampaign", &campaign).await.expect("another key");
        progress_when(client, &campaign, PATIENCE, "it is done", |c| c["status"] == "COMPLETED")
            .await;
        assert_eq!(sandbox.sends(NUMBER).len(), 44);
        assert_equal_to_a_rebuild(client, &campaign).await;
        gateway.terminate().await;
        sandbox.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_would_be_sent_is_refused_in_words_that_say_what_would_be_right() {
    const FORECAST: &str = "query($id: ID!) { campaignForecast(id: $id) { recipients toSend warnings skipped { reason count } } }";
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(132).await;
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let client = &gateway.client;
        let account = sandbox.connect(client, NUMBER, 200).await;
        let template = approved_template(client, &account, "offers").await;
        let csv = "phone,name,city,shoe size\n+447700900001,A,London,\n+447700900002,B,,\n+447700900003,,Leeds,44\n";
        import_csv(client, csv, "vip").await;
        import_csv(client, "phone,shoe size\n+447700900004,41\n", "walkers").await;
        let input = |parameter: &str, audience: Value, schedule: Value| {
            json!({
                "accountId": account, "templateId": template, "name": "Campaign", "parameters": { "body.1": parameter },
                "audience": audience, "schedule": schedule,
            })
        };
        let vip = || json!({ "tags": ["vip"] });
        let yearly = || {
            let mut schedule = at(chrono::Duration::days(1));
            schedule["recurrence"] = json!("FREQ=DAILY;COUNT=3");
            schedule
        };
        let segment = "mutation($input: CreateSegmentInput!) { createSegment(input: $input) { segment { id } } }";
        let rule = json!({ "name": "In Paris", "rule": { "attribute": "city", "op": "eq", "value": "Paris" } });
        let data = client.ask(segment, json!({ "input": rule })).await;
        let segment = data["createSegment"]["segment"]["id"].clone();

        let refusals = [
            (
                input("{{attributes.ctiy}}", vip(), Value::Null),
                "parameters.body.1",
                "did you mean attributes.city?",
            ),
            (
                input("{{attributes.ctiy}}", vip(), at(chrono::Duration::days(1))),
                "parameters.body.1",
                "no contact has the attribute ctiy",
            ),
            (
                input("{{attributes.ctiy}}", json!({ "tags": ["vip"] }), yearly()),
                "parameters.body.1",
                "{{attributes.ctiy | default: …}}",
            ),
            (
                input("{{username}}", vip(), Value::Null),
                "parameters.body.1",
                "nobody in the audience has a username",
            ),
            // Others have it, but nobody of these.
            (
                input("{{attributes.city}}", json!({ "tags": ["walkers"] }), Value::Null),
                "parameters.body.1",
                "nobody in the audience has the attribute city",
            ),
            (
                input("there", json!({ "tags": ["vpi"] }), Value::Null),
                "audience",
                "(the tag vpi); did you mean the tag vip?",
            ),
            (
                input("there", json!({ "tags": ["vpi"] }), yearly()),
                "audience",
                "(the tag vpi); did you mean the tag vip?",
            ),
            (
                input("there", json!({ "segmentIds": [segment] }), Value::Null),
                "audience",
                "the segment In Paris",
            ),
            (
                input("there", json!({ "segmentIds": [segment] }), at(chrono::Duration::days(1))),
                "audience",
                "the segment In Paris",
            ),
            (
                input(
                    "there",
                    json!({ "tags": ["vip"], "exclude": { "tags": ["vip"] } }),
                    Value::Null,
                ),
                "audience",
                "less whom it excludes",
            ),
        ];
        for (input, field, words) in refusals {
            let campaign = draft(client, input.clone()).await;
            let launched = client.query(LAUNCH, json!({ "id": campaign })).await;
            let forecast = client.query(FORECAST, json!({ "id": campaign })).await;
            for answer in [launched, forecast] {
                let refused = answer.expect_err("nobody would be sent to");
                assert_eq!(refused.code, "VALIDATION_FAILED", "{refused:?} {input}");
                assert_eq!(refused.field.as_deref(), Some(field), "{refused:?} {input}");
                assert!(refused.message.contains(words), "{refused:?} {input}");
            }
        }
        assert!(sandbox.sends(NUMBER).is_empty());

        // Where only some lack it they are counted, and capitals do not matter.
        let campaign = draft(client, input("{{attributes.CITY}}", vip(), Value::Null)).await;
        let forecast =
            client.ask(FORECAST, json!({ "id": campaign })).await["campaignForecast"].clone();
        assert_eq!(
            (&forecast["toSend"], &forecast["warnings"]),
            (&json!(2), &json!([])),
            "{forecast}"
        );
        assert_eq!(forecast["skipped"], json!([{ "reason": "MISSING_PARAMETER", "count": 1 }]));
        client.ask(LAUNCH, json!({ "id": campaign })).await;
        let done = progress_when(client, &campaign, PATIENCE, "it is done", |c| {
            c["status"] == "COMPLETED"
        })
        .await;
        assert_eq!((count(&done, "accepted"), count(&done, "skipped")), (2, 1), "{done}");

        // What stands in is enough, and a list may fill until a recurring campaign comes: that is a warning.
        let fallback =
            draft(client, input("{{attributes.ctiy | default: you}}", vip(), Value::Null)).await;
        client.ask(LAUNCH, json!({ "id": fallback })).await;
        let audience = json!({ "segmentIds": [segment], "exclude": { "tags": ["newcomers"] } });
        let recurring = draft(client, input("{{attributes.city}}", audience, yearly())).await;
        let forecast =
            client.ask(FORECAST, json!({ "id": recurring })).await["campaignForecast"].clone();
        assert_eq!(forecast["recipients"], 0, "{forecast}");
        let warnings = forecast["warnings"].to_string();
        assert!(
            warnings.contains("nobody ever had the tag newcomers, which is excluded"),
            "{warnings}"
        );
        assert!(warnings.contains("the segment In Paris"), "{warnings}");
        let launched = client.ask(LAUNCH, json!({ "id": recurring })).await;
        assert_eq!(launched["launchCampaign"]["campaign"]["status"], "SCHEDULED", "{launched}");
        gateway.terminate().await;
        sandbox.stop().await;
    }
}
