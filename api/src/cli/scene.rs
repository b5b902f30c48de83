//! What `demo` and `bench` have in common: people from CSV, an approved template, a campaign to all of them.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::client::Client;

pub const RECIPIENTS_MAX: u32 = 1_000_000;
pub const TEMPLATE: &str = "demo_autumn_offer";
const POLL: Duration = Duration::from_millis(250);
pub const TAG: &str = "demo";

/// Brings in this many people who opted in, and waits until they are there. Answers the import.
///
/// # Errors
/// What the gateway says.
pub async fn import(client: &Client, recipients: u32) -> anyhow::Result<Value> {
    const NAMES: [&str; 8] = ["Ada", "Bea", "Chidi", "Dana", "Emil", "Fatima", "Goran", "Hanne"];
    let mut csv = String::from("phone,name,city,language\n");
    for index in 0..recipients {
        // 07700 900000 to 900999 is reserved for drama in the United Kingdom; further people get numbers of a range
        // that nobody has either.
        let number = if index < 1_000 {
            447_700_900_000 + u64::from(index)
        } else {
            447_999_000_000 + u64::from(index)
        };
        let name = NAMES[index as usize % NAMES.len()];
        writeln!(csv, "+{number},{name} Sample,London,en")?;
    }
    let query = [
        ("tags", TAG.to_owned()),
        ("consent", "OPTED_IN".to_owned()),
        ("consentSource", "demo".to_owned()),
        ("fileName", "demo.csv".to_owned()),
    ];
    let started = client.post("/imports", &query, csv.into()).await?;
    let id = started["import"]["id"].as_str().context("the gateway named no import")?.to_owned();
    let query = "query($id: ID!) { import(id: $id) { id status rows added updated rejected } }";
    loop {
        let mut data = client.graphql(query, json!({ "id": id })).await?;
        match data["import"]["status"].as_str() {
            Some("COMPLETED") => return Ok(data["import"].take()),
            Some("RUNNING") => tokio::time::sleep(POLL).await,
            _ => bail!("the import failed"),
        }
    }
}

/// A MARKETING template, made once and approved. Answers its id.
///
/// # Errors
/// What the gateway says; a verdict other than approval.
pub async fn template(client: &Client, account_id: &str) -> anyhow::Result<String> {
    let query = "query($account: ID!, $search: String!) { templates(filter: { accountIds: [$account], search: $search }) { nodes { id name status } } }";
    let data = client.graphql(query, json!({ "account": account_id, "search": TEMPLATE })).await?;
    let id = match data["templates"]["nodes"].get(0) {
        Some(known) => known["id"].as_str().context("the template has no id")?.to_owned(),
        None => {
            let input = json!({
                "accountId": account_id,
                "name": TEMPLATE,
                "language": "en",
                "category": "MARKETING",
                "components": [
                    { "type": "BODY",
                      "text": "Hello {{1}}, our autumn offers in {{2}} are ready for you. Have a look before Sunday!",
                      "example": { "body_text": [["Ada", "London"]] } },
                    { "type": "FOOTER", "text": "Reply STOP to end" }
                ]
            });
            let mutation = "mutation($input: CreateTemplateInput!) { createTemplate(input: $input) { template { id } } }";
            let data = client.graphql(mutation, json!({ "input": input })).await?;
            let id = data["createTemplate"]["template"]["id"]
                .as_str()
                .context("the template has no id")?
                .to_owned();
            let submit = "mutation($id: ID!) { submitTemplate(id: $id) { template { id } } }";
            client.graphql(submit, json!({ "id": id })).await?;
            id
        }
    };
    let query = "query($id: ID!) { template(id: $id) { status statusReason } }";
    for _ in 0..200 {
        let data = client.graphql(query, json!({ "id": id })).await?;
        match data["template"]["status"].as_str() {
            Some("APPROVED") => return Ok(id),
            Some("REJECTED" | "DISABLED" | "DELETED") => bail!("the template was not approved"),
            _ => tokio::time::sleep(POLL).await,
        }
    }
    bail!("the template was not approved in time")
}

/// A campaign to everybody whom [`import`] brought in, launched. Answers its id.
///
/// # Errors
/// What the gateway says.
pub async fn launch(
    client: &Client,
    account_id: &str,
    template_id: &str,
) -> anyhow::Result<String> {
    let id = draft(client, account_id, template_id).await?;
    launch_draft(client, &id).await?;
    Ok(id)
}

/// That campaign, not launched yet. Answers its id.
///
/// # Errors
/// What the gateway says.
pub async fn draft(client: &Client, account_id: &str, template_id: &str) -> anyhow::Result<String> {
    let input = json!({
        "accountId": account_id,
        "templateId": template_id,
        "name": "Autumn offer",
        "parameters": { "body.1": "{{first_name | default: there}}", "body.2": "{{attributes.city | default: your town}}" },
        "audience": { "tags": [TAG] },
    });
    let create = "mutation($input: CreateCampaignInput!) { createCampaign(input: $input) { campaign { id } } }";
    let data = client.graphql(create, json!({ "input": input })).await?;
    let id = data["createCampaign"]["campaign"]["id"].as_str();
    id.map(str::to_owned).context("the campaign has no id")
}

/// # Errors
/// What the gateway says.
pub async fn launch_draft(client: &Client, id: &str) -> anyhow::Result<()> {
    let launch = "mutation($id: ID!) { launchCampaign(id: $id) { campaign { id status } } }";
    client.graphql(launch, json!({ "id": id })).await.map(drop)
}
