//! Steps that several tests share.

use std::collections::HashMap;
use std::time::Duration;

use gateway_tests::{Client, SandboxProcess, eventually, eventually_within};
use serde_json::{Value, json};

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
    let text = "Hello {{1}}, our offers are ready for you today.";
    approved(client, account_id, name, "MARKETING", text).await
}

/// A UTILITY template with one variable, approved by the sandbox.
pub async fn utility_template(client: &Client, account_id: &str, name: &str) -> String {
    let text = "Hello {{1}}, your order has left our house today.";
    approved(client, account_id, name, "UTILITY", text).await
}

async fn approved(
    client: &Client,
    account_id: &str,
    name: &str,
    category: &str,
    text: &str,
) -> String {
    let input = json!({
        "accountId": account_id, "name": name, "language": "en", "category": category,
        "components": [{ "type": "BODY", "text": text, "example": { "body_text": [["Ada"]] } }],
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

/// Of a hundred calls one counts and is never answered, and one is answered HTTP 500, which says nothing: every other of
/// those counts. Webhooks come twice, and in any order.
pub fn bad_day() -> Value {
    json!({
        "latencyMs": { "min": 1, "max": 30 }, "statusDelayMs": { "min": 0, "max": 1500 },
        "deliveredRate": 1.0, "readRate": 0.5, "acceptedButNoAnswer": 0.01, "http500Accepted": 0.005,
        "http500Refused": 0.005, "duplicateWebhooks": 0.1, "shuffleWebhooks": true,
    })
}

/// Waits until WhatsApp has told everything of the campaign, which then is in one final state for each recipient: nothing
/// is missing, and nobody got it twice. What was never told of visibly waits, and is little.
pub async fn assert_each_got_it_once(
    client: &Client,
    sandbox: &SandboxProcess,
    campaign: &str,
    recipients: u32,
) {
    let recipients = u64::from(recipients);
    let done =
        progress_when(client, campaign, Duration::from_secs(240), "nobody is pending", |c| {
            count(c, "recipients") == recipients && count(c, "pending") == 0
        })
        .await;
    // Statuses still under way come in.
    eventually_within(Duration::from_secs(120), "the sandbox has told everything", || async {
        (sandbox.sandbox.stats().webhooks_pending == 0).then_some(())
    })
    .await;
    let settled = progress_when(
        client,
        campaign,
        Duration::from_secs(120),
        "what is told is on record",
        |c| count(c, "delivered") == sandbox.sandbox.stats().counted,
    )
    .await;
    assert_adds_up(&settled);
    assert_eq!(count(&settled, "failed"), 0, "{settled}");
    // Refused with HTTP 500 and never sent, or never called because the gateway was killed: nobody told us, so they
    // visibly wait, and they are few.
    let in_doubt = count(&settled, "inDoubt");
    assert!(in_doubt <= recipients / 20, "{settled}");
    assert_eq!(count(&settled, "delivered") + in_doubt, recipients, "{settled} {done}");
    let stats = sandbox.sandbox.stats();
    assert_eq!(stats.counted_twice, 0, "{stats:?}");
    let mut counted: HashMap<String, u32> = HashMap::new();
    for call in sandbox.sandbox.calls(0).expect("the record") {
        if call.counted {
            *counted.entry(call.to.clone().unwrap_or_default()).or_default() += 1;
        }
    }
    assert!(counted.values().all(|times| *times == 1), "somebody got it twice");
}

/// Waits until nothing has been recorded for many looks: what WhatsApp told last may be taken and not yet interpreted.
pub async fn quiet(client: &Client) {
    let still = std::sync::Mutex::new((Value::Null, 0));
    eventually_within(Duration::from_secs(120), "nothing moves any more", || async {
        let data = client.ask("{ projections { position lag } }", json!({})).await;
        let mut still = still.lock().expect("no panic");
        let looks = if still.0 == data { still.1 + 1 } else { 0 };
        *still = (data, looks);
        (looks >= 40).then_some(())
    })
    .await;
}

/// The read models equal a rebuild from the log.
pub async fn assert_equal_to_a_rebuild(client: &Client, campaign: &str) {
    quiet(client).await;
    let before = snapshot(client, campaign).await;
    for name in ["directory", "contacts", "messages"] {
        client
            .ask(
                "mutation($n: String!) { rebuildProjection(name: $n) { projection { name } } }",
                json!({ "n": name }),
            )
            .await;
    }
    eventually_within(Duration::from_secs(120), "the read models are rebuilt", || async {
        let data = client.ask("{ projections { status lag } }", json!({})).await;
        data["projections"]
            .as_array()?
            .iter()
            .all(|p| p["status"] == "LIVE" && p["lag"] == 0)
            .then_some(())
    })
    .await;
    assert_eq!(snapshot(client, campaign).await, before);
}

/// Everything that the read models say of the campaign.
async fn snapshot(client: &Client, campaign: &str) -> Value {
    let mut all = vec![client.ask(PROGRESS, json!({ "id": campaign })).await];
    let mut after = Value::Null;
    loop {
        let query = "query($id: ID!, $after: String) { campaign(id: $id) { messages(first: 500, after: $after) { nodes { id status to wamid \
                     attempts preview acceptedAt sentAt deliveredAt readAt } pageInfo { hasNextPage endCursor } } } }";
        let data = client.ask(query, json!({ "id": campaign, "after": after })).await;
        let page = &data["campaign"]["messages"];
        all.push(page["nodes"].clone());
        if page["pageInfo"]["hasNextPage"] != true {
            return Value::from(all);
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
}
