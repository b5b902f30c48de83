//! Contact files: good rows come in, bad ones are told, a kill and a repetition double nobody, and an undo takes it back.

use std::time::Duration;

use gateway_tests::{
    Binary, BinaryOptions, Client, Store, StoreKind, eventually, eventually_within, stores,
};
use serde_json::{Value, json};

const ROWS: u64 = 10_000;
const PATIENCE: Duration = Duration::from_secs(180);

/// Ten thousand people, three rows that are none, and one that comes twice.
fn file() -> String {
    let mut csv = String::from("Mobile;First name;Last name;Language;E-mail\r\n");
    for n in 0..ROWS {
        csv.push_str(&format!("+4915112{n:06};Person;{n};pt-br;p{n}@example.org\r\n"));
    }
    csv.push_str("12;Nobody;;;\r\n;No number;;;\r\n+4915112999999;\"never closed;;\r\n+4915112000007;Again;7;;\r\n");
    csv
}

async fn upload(client: &Client, query: &str, body: String) -> Value {
    let request = client
        .http()
        .post(format!("{}/imports{query}", client.base))
        .bearer_auth(&client.key)
        .header("content-type", "text/csv")
        .body(body);
    request.send().await.expect("the gateway answers").json().await.expect("JSON")
}

async fn import(client: &Client, id: &str) -> Option<Value> {
    let query = "query($id: ID!) { import(id: $id) { status reason rows added updated rejected \
                 errors(first: 50) { row column message } } }";
    let answer = client.try_raw(query, json!({ "id": id })).await?;
    Some(answer["data"]["import"].clone()).filter(Value::is_object)
}

async fn completed(client: &Client, id: &str) -> Value {
    eventually_within(PATIENCE, "the import is completed", || async {
        let import = import(client, id).await?;
        assert_ne!(import["status"], "FAILED", "{import}");
        (import["status"] == "COMPLETED").then_some(import)
    })
    .await
}

async fn contacts(client: &Client) -> u64 {
    let data = client.ask("{ contacts(first: 1) { totalCount } }", json!({})).await;
    data["contacts"]["totalCount"].as_u64().expect("a count")
}

fn id_of(started: &Value) -> String {
    let id = started["import"]["id"].as_str();
    id.unwrap_or_else(|| panic!("no import: {started}")).to_owned()
}

fn counts(import: &Value) -> [u64; 4] {
    ["rows", "added", "updated", "rejected"].map(|name| import[name].as_u64().expect("a count"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_survives_kills_and_its_repetition_and_can_be_taken_back() {
    for kind in stores() {
        files(kind).await;
    }
}

async fn files(kind: StoreKind) {
    let store = Store::fresh(kind).await;
    let mut gateway = Binary::start(&store, None, &BinaryOptions::default()).await;
    let options = BinaryOptions { port: gateway.port, ..BinaryOptions::default() };
    let client = gateway.client.clone();
    let id =
        id_of(&upload(&client, "?tags=fair&consent=OPTED_IN&consentSource=fair", file()).await);
    for share in [0, 3, 6] {
        eventually_within(PATIENCE, "some rows are in", || async {
            let rows = import(&client, &id).await?["rows"].as_u64()?;
            (rows > share * ROWS / 10).then_some(())
        })
        .await;
        gateway.kill().await;
        gateway = Binary::start(&store, None, &options).await;
    }
    let first = completed(&client, &id).await;
    assert_eq!(counts(&first), [ROWS + 4, ROWS, 1, 3], "{first}");
    let rows: Vec<u64> = first["errors"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|e| e["row"].as_u64())
        .collect();
    assert_eq!(rows, [ROWS + 2, ROWS + 3, ROWS + 4], "{first}");
    assert!(!first.to_string().contains("Nobody"), "an error quotes a cell: {first}");
    assert_eq!(contacts(&client).await, ROWS);

    let again = upload(&client, "?tags=fair&consent=OPTED_IN&consentSource=fair", file()).await;
    let again = completed(&client, &id_of(&again)).await;
    assert_eq!(counts(&again), [ROWS + 4, 0, ROWS + 1, 3], "{again}");
    assert_eq!(contacts(&client).await, ROWS);

    let dry = upload(&client, "?dryRun=true", format!("{}+4915113000000;New;;;\r\n", file())).await;
    let dry = completed(&client, &id_of(&dry)).await;
    assert_eq!(counts(&dry), [ROWS + 5, 1, ROWS + 1, 3], "{dry}");
    assert_eq!(contacts(&client).await, ROWS);

    let undo = "mutation($id: ID!) { undoImport(id: $id) { import { id } position } }";
    let position = eventually_within(PATIENCE, "the import is taken back", || async {
        match client.query(undo, json!({ "id": id })).await {
            Ok(data) => Some(data["undoImport"]["position"].clone()),
            Err(error) => {
                assert_eq!(error.code, "UNAVAILABLE", "{error:?}");
                None
            }
        }
    })
    .await;
    let query = "query($p: Position) { contacts(first: 1, minPosition: $p) { totalCount } }";
    let left = client.ask(query, json!({ "p": position })).await;
    // The second file stands on one of them: it wrote the name of the row that came twice anew.
    let left = left["contacts"]["totalCount"].as_u64().expect("a count");
    assert_eq!(left, 1);
    gateway.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_contact_file_fails_and_says_why() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let gateway = Binary::start(&store, None, &BinaryOptions::default()).await;
        let client = &gateway.client;
        for (body, expected) in [
            ("", "empty"),
            ("city;name\nBerlin;Ana\n", "phone"),
            ("PK\u{3}\u{4}\u{0}\u{0}", "CSV"),
            ("phone;phone\n+4915112000000;+4915112000001\n", "own name"),
        ] {
            let id = id_of(&upload(client, "", body.to_owned()).await);
            let failed = eventually("the import has failed", || async {
                import(client, &id).await.filter(|import| import["status"] == "FAILED")
            })
            .await;
            let reason = failed["reason"].as_str().unwrap_or_default();
            assert!(reason.contains(expected), "{expected}: {failed}");
        }
        for query in
            ["?defaultRegion=XX", "?mapping=[]", "?consent=MAYBE", "?dryRun=perhaps", "?tag=x"]
        {
            let refused = upload(client, query, "phone\n+4915112000000\n".to_owned()).await;
            assert!(refused.to_string().contains("VALIDATION_FAILED"), "{query}: {refused}");
        }
        gateway.terminate().await;
    }
}
