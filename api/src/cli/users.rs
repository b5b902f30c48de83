//! `users`: the people of the console, for whoever has the machine: also the way back in where everybody is locked out.

use anyhow::Context;
use clap::Subcommand;
use serde_json::{Value, json};

use super::Global;
use super::client::Client;

#[derive(Debug, Subcommand)]
pub enum What {
    /// Invites somebody and prints the link by which they choose a password
    #[command(
        after_help = "Example: whatsapp-gateway users invite --email ana@shop.example --name Ana --role MANAGER"
    )]
    Invite {
        #[arg(long)]
        email: String,
        #[arg(long)]
        name: String,
        /// OWNER, MANAGER, SENDER or VIEWER
        #[arg(long, default_value = "VIEWER")]
        role: String,
        /// Limits them to this workspace; may be repeated
        #[arg(long = "workspace", value_name = "ID")]
        workspaces: Vec<String>,
        /// Limits them to this account; may be repeated
        #[arg(long = "account", value_name = "ID")]
        accounts: Vec<String>,
    },
    /// Lists the people
    #[command(after_help = "Example: whatsapp-gateway users list --json")]
    List {
        #[arg(long)]
        json: bool,
    },
    /// Prints a link by which somebody chooses another password; a second factor that they lost ends with it
    #[command(after_help = "Example: whatsapp-gateway users reset 0190…")]
    Reset { id: String },
    /// Ends every session of somebody, who cannot sign in until they are reinstated
    #[command(after_help = "Example: whatsapp-gateway users suspend 0190…")]
    Suspend { id: String },
    /// Lets somebody sign in again
    #[command(after_help = "Example: whatsapp-gateway users reinstate 0190…")]
    Reinstate { id: String },
    /// Removes somebody for good, and erases their name and address
    #[command(after_help = "Example: whatsapp-gateway users remove 0190…")]
    Remove { id: String },
}

pub async fn run(global: Global, what: What) -> anyhow::Result<()> {
    let client = Client::connect(&global).await?;
    let result = ask(&client, what).await;
    client.close().await;
    result
}

async fn ask(client: &Client, what: What) -> anyhow::Result<()> {
    match what {
        What::Invite { email, name, role, workspaces, accounts } => {
            let some = |ids: Vec<String>| (!ids.is_empty()).then_some(ids);
            let input = json!({
                "email": email,
                "name": name,
                "role": role,
                "workspaceIds": some(workspaces),
                "accountIds": some(accounts),
            });
            let mutation =
                "mutation($input: InviteUserInput!) { inviteUser(input: $input) { link } }";
            let data = client.graphql(mutation, json!({ "input": input })).await?;
            print_link(&data["inviteUser"])
        }
        What::List { json: as_json } => {
            let query = "{ users(first: 500) { nodes { id email name role workspaceIds accountIds hasSecondFactor joinedAt signedInAt suspendedAt } } }";
            let data = client.graphql(query, json!({})).await?;
            let users = data["users"]["nodes"].as_array().cloned().unwrap_or_default();
            if as_json {
                println!("{}", Value::from(users));
                return Ok(());
            }
            for user in users {
                let state = match (user["joinedAt"].is_null(), user["suspendedAt"].is_null()) {
                    (true, _) => "  invited",
                    (false, false) => "  suspended",
                    (false, true) => "",
                };
                let text = |name: &str| user[name].as_str().unwrap_or_default().to_owned();
                println!(
                    "{}  {}  {}  {}{state}",
                    text("id"),
                    text("role"),
                    text("email"),
                    text("name")
                );
            }
            Ok(())
        }
        What::Reset { id } => {
            let mutation = "mutation($id: ID!) { resetUser(id: $id) { link } }";
            let data = client.graphql(mutation, json!({ "id": id })).await?;
            print_link(&data["resetUser"])
        }
        What::Suspend { id } => change(client, "suspendUser", &id, "suspended").await,
        What::Reinstate { id } => change(client, "reinstateUser", &id, "reinstated").await,
        What::Remove { id } => change(client, "removeUser", &id, "removed").await,
    }
}

fn print_link(payload: &Value) -> anyhow::Result<()> {
    eprintln!("give them this link; it is good once, for three days, and shown only here:");
    println!("{}", payload["link"].as_str().context("the gateway gave no link")?);
    Ok(())
}

async fn change(client: &Client, mutation: &str, id: &str, done: &str) -> anyhow::Result<()> {
    let mutation = format!("mutation($id: ID!) {{ {mutation}(id: $id) {{ position }} }}");
    client.graphql(&mutation, json!({ "id": id })).await?;
    println!("{done} {id}");
    Ok(())
}
