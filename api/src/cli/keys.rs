//! `keys`: API keys, and the master key's rotation.

use anyhow::Context;
use clap::Subcommand;
use infrastructure::crypto::MasterKey;
use serde_json::json;

use super::Global;
use super::client::Client;

#[derive(Debug, Subcommand)]
pub enum What {
    /// Makes an API key and prints its secret, which is shown nowhere else, ever
    #[command(
        after_help = "Example: whatsapp-gateway keys create --name shop --scope READ --scope SEND"
    )]
    Create {
        #[arg(long)]
        name: String,
        /// READ, PERSONAL, SEND, MANAGE or ADMIN; may be repeated
        #[arg(long = "scope", required = true, value_name = "SCOPE")]
        scopes: Vec<String>,
        /// Limits the key to this workspace; may be repeated
        #[arg(long = "workspace", value_name = "ID")]
        workspaces: Vec<String>,
        /// Limits the key to this account; may be repeated
        #[arg(long = "account", value_name = "ID")]
        accounts: Vec<String>,
        /// RFC 3339 instant after which it is refused
        #[arg(long, value_name = "TIME")]
        expires_at: Option<String>,
    },
    /// Lists the API keys
    #[command(after_help = "Example: whatsapp-gateway keys list --json")]
    List {
        #[arg(long)]
        json: bool,
    },
    /// Revokes an API key, for good
    #[command(after_help = "Example: whatsapp-gateway keys revoke 0190…")]
    Revoke { id: String },
    /// The key that wraps all others
    #[command(after_help = "Example: whatsapp-gateway keys master rotate --new-key-file next.key")]
    Master {
        #[command(subcommand)]
        what: Master,
    },
}

#[derive(Debug, Subcommand)]
pub enum Master {
    /// Wraps all keys and credentials anew; the gateway must not be running
    #[command(after_help = "Example: whatsapp-gateway keys master rotate --new-key-file next.key")]
    Rotate {
        /// A file with the next master key (64 hexadecimal digits), mode 0600
        #[arg(long, value_name = "FILE")]
        new_key_file: std::path::PathBuf,
    },
}

pub async fn run(global: Global, what: What) -> anyhow::Result<()> {
    if let What::Master { what: Master::Rotate { new_key_file } } = &what {
        return rotate(&global, new_key_file).await;
    }
    let client = Client::connect(&global).await?;
    let result = ask(&client, what).await;
    client.close().await;
    result
}

async fn ask(client: &Client, what: What) -> anyhow::Result<()> {
    match what {
        What::Create { name, scopes, workspaces, accounts, expires_at } => {
            let some = |ids: Vec<String>| (!ids.is_empty()).then_some(ids);
            let input = json!({
                "name": name,
                "scopes": scopes,
                "workspaceIds": some(workspaces),
                "accountIds": some(accounts),
                "expiresAt": expires_at,
            });
            let mutation = "mutation($input: CreateApiKeyInput!) { createApiKey(input: $input) { apiKey { id } secret } }";
            let data = client.graphql(mutation, json!({ "input": input })).await?;
            let created = &data["createApiKey"];
            eprintln!(
                "key {}; its secret is shown only this once:",
                created["apiKey"]["id"].as_str().unwrap_or_default()
            );
            println!("{}", created["secret"].as_str().context("the gateway gave no secret")?);
        }
        What::List { json: as_json } => {
            let query = "{ apiKeys(first: 500) { nodes { id name scopes workspaceIds accountIds createdAt expiresAt revokedAt } } }";
            let data = client.graphql(query, json!({})).await?;
            let keys = data["apiKeys"]["nodes"].as_array().cloned().unwrap_or_default();
            if as_json {
                println!("{}", serde_json::Value::from(keys));
                return Ok(());
            }
            for key in keys {
                let scopes: Vec<&str> = key["scopes"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|scope| scope.as_str())
                    .collect();
                let state = if key["revokedAt"].is_null() { "" } else { "  revoked" };
                let text = |name: &str| key[name].as_str().unwrap_or_default().to_owned();
                println!("{}  {}  {}{state}", text("id"), scopes.join(","), text("name"));
            }
        }
        What::Revoke { id } => {
            let mutation =
                "mutation($id: ID!) { revokeApiKey(id: $id) { apiKey { id revokedAt } } }";
            client.graphql(mutation, json!({ "id": id })).await?;
            println!("revoked {id}");
        }
        What::Master { .. } => {}
    }
    Ok(())
}

async fn rotate(global: &Global, new_key_file: &std::path::Path) -> anyhow::Result<()> {
    let config = global.load(&[])?;
    let next = MasterKey::read_file(new_key_file).context("--new-key-file")?;
    let count = crate::app::rotate_master_key(&config, next).await?;
    println!(
        "{count} keys and credentials are wrapped by the new master key; start the gateway with it from now on"
    );
    Ok(())
}
