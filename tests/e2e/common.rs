//! Steps that several tests share.

use gateway_tests::{Client, eventually, eventually_within};
use serde_json::{Value, json};
use std::time::Duration;

pub const PROGRESS: &str = "query($id: ID!) { campaign(id: $id) { status statusReason progress { recipients pending accepted sent \
                            delivered read failed cancelled skipped inDoubt skips { reason count } failures { code count } } } }";

/// Imports `count` opted-in people (numbers from +447700900000 on) and answers when they are there.
pub async fn import_people(client: &Client, count: u32, tag: &str) -> Value {
    let mut csv = String::from("phone,name,city\n");
    for index in 0..count {
        csv.push_str(&format!(
            "+{},Person {index},London\n",
            447_700_900_000_u64 + u64::from(index)
        ));
    }
    import_csv(client, &csv, tag).await
}

pub async fn import_csv(client: &Client, csv: &str, tag: &str) -> Value {
    let response = client
        .http()
        .post(format!("{}/imports?tags={tag}&consent=OPTED_IN&consentSource=test", client.base))
        .bearer_auth(&client.key)
        .header("content-type", "text/csv")
        .body(csv.to_owned())
        .send()
        .await
        .expect("the gateway answers");
    let started: Value = response.json().await.expect("JSON");
    let id = started["import"]["id"]
        .as_str()
        .unwrap_or_else(|| panic!("no import: {started}"))
        .to_owned();
    eventually_within(Duration::from_secs(120), "the import is completed", || async {
        let data = client
            .ask("query($id: ID!) { import(id: $id) { status rows added updated rejected errors(first: 50) { row column message } } }", json!({ "id": id }))
            .await;
        let import = data["import"].clone();
        assert_ne!(import["status"], "FAILED", "{import}");
        (import["status"] == "COMPLETED").then_some(import)
    })
    .await
}

/// A MARKETING template with one variable, approved by the sandbox.
pub async fn approved_template(client: &Client, account_id: &str, name: &str) -> String {
    let input = json!({
        "accountId": account_id, "name": name, "language": "en", "category": "MARKETING",
        "components": [{ "type": "BODY", "text": "Hello {{1}}, our offers are ready for you today.",
                         "example": { "body_text": [["Ada"]] } }],
    });
    let data = client
        .ask("mutation($input: CreateTemplateInput!) { createTemplate(input: $input) { template { id } } }", json!({ "input": input }))
        .await;
    let id = data["createTemplate"]["template"]["id"].as_str().expect("an id").to_owned();
    client
        .ask(
            "mutation($id: ID!) { submitTemplate(id: $id) { template { id status } } }",
            json!({ "id": id }),
        )
        .await;
    eventually("the template is approved", || async {
        let data = client
            .ask("query($id: ID!) { template(id: $id) { status } }", json!({ "id": id }))
            .await;
        (data["template"]["status"] == "APPROVED").then_some(())
    })
    .await;
    id
}

/// Creates and launches a campaign for a tag.
pub async fn launch(client: &Client, account_id: &str, template_id: &str, tag: &str) -> String {
    let input = json!({
        "accountId": account_id, "templateId": template_id, "name": "Campaign",
        "parameters": { "body.1": "{{name | default: there}}" }, "audience": { "tags": [tag] },
    });
    let data = client
        .ask("mutation($input: CreateCampaignInput!) { createCampaign(input: $input) { campaign { id } } }", json!({ "input": input }))
        .await;
    let id = data["createCampaign"]["campaign"]["id"].as_str().expect("an id").to_owned();
    client
        .ask(
            "mutation($id: ID!) { launchCampaign(id: $id) { campaign { id status } } }",
            json!({ "id": id }),
        )
        .await;
    id
}

/// The campaign's progress once `done` says so.
pub async fn progress_when(
    client: &Client,
    campaign_id: &str,
    patience: Duration,
    what: &str,
    done: impl Fn(&Value) -> bool,
) -> Value {
    let last = std::sync::Mutex::new(Value::Null);
    let wait = eventually_within(patience, what, || async {
        // A gateway that was just killed does not answer.
        let answer = client.try_raw(PROGRESS, json!({ "id": campaign_id })).await?;
        let campaign = answer["data"]["campaign"].clone();
        *last.lock().expect("no panic") = campaign.clone();
        done(&campaign).then_some(campaign)
    });
    tokio::select! {
        campaign = wait => campaign,
        () = tokio::time::sleep(patience - Duration::from_millis(200)) => {
            panic!("{what}: not within {patience:?}; last seen {}", last.lock().expect("no panic"))
        }
    }
}

pub fn count(campaign: &Value, name: &str) -> u64 {
    campaign["progress"][name].as_u64().unwrap_or_default()
}

/// recipients = pending + inDoubt + accepted + failed + cancelled + skipped, and the funnel only narrows.
pub fn assert_adds_up(campaign: &Value) {
    let sum: u64 = ["pending", "inDoubt", "accepted", "failed", "cancelled", "skipped"]
        .iter()
        .map(|name| count(campaign, name))
        .sum();
    assert_eq!(count(campaign, "recipients"), sum, "{campaign}");
    let funnel: Vec<u64> = ["accepted", "sent", "delivered", "read"]
        .iter()
        .map(|name| count(campaign, name))
        .collect();
    assert!(funnel.windows(2).all(|pair| pair[0] >= pair[1]), "{campaign}");
}

/// An API key with these scopes: its secret.
pub async fn key_with(client: &Client, scopes: &[&str]) -> String {
    let input = json!({ "name": scopes.join(" "), "scopes": scopes });
    let data = client
        .ask(
            "mutation($input: CreateApiKeyInput!) { createApiKey(input: $input) { secret } }",
            json!({ "input": input }),
        )
        .await;
    data["createApiKey"]["secret"].as_str().expect("a secret").to_owned()
}

/// Connects an account on the sandbox inside the gateway: its id and its phone number id.
pub async fn sandbox_account(client: &Client) -> (String, String) {
    let input = json!({ "name": "Built in", "provider": "SANDBOX", "timeZone": "Europe/Berlin" });
    let data = client
        .ask(
            "mutation($input: ConnectAccountInput!) { connectAccount(input: $input) { account { id phoneNumberId } } }",
            json!({ "input": input }),
        )
        .await;
    let account = &data["connectAccount"]["account"];
    let text = |name: &str| account[name].as_str().expect(name).to_owned();
    (text("id"), text("phoneNumberId"))
}
