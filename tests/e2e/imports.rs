//! Contacts from files: whatever ends the gateway, every good row is there once, and every bad one is told of.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::stream;
use gateway_tests::{Binary, BinaryOptions, Client, Store, StoreKind, eventually_within, stores};
use serde_json::{Value, json};

const ROWS: u64 = 10_000;
/// Every so many rows one is bad.
const BAD_EVERY: u64 = 500;
/// Stands in every cell that is wrong, and may stand in no error.
const CANARY: &str = "canarycell";
const IMPORT: &str = "query($id: ID!) { import(id: $id) { status reason rows added updated rejected \
                      errors(first: 500) { row column message } } }";
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn an_import_killed_twice_is_completed_repeated_without_doubles_and_undone() {
    for kind in stores() {
        killed_repeated_and_undone(kind).await;
    }
}

async fn killed_repeated_and_undone(kind: StoreKind) {
    let store = Store::fresh(kind).await;
    let mut gateway = Binary::start(&store, None, &BinaryOptions::default()).await;
    let port = gateway.port;
    let client = gateway.client.clone();
    // Some of them are known before, under other names.
    let known = "phone,name\n+447700900001,Old One\n+447700900002,Old Two\n".to_owned();
    let first = settled(&client, &start(&client, pieces(&known)).await).await;
    assert_eq!((&first["status"], &first["added"]), (&json!("COMPLETED"), &json!(2)), "{first}");
    let before = everybody(&client).await;

    let file = people();
    let import = start(&client, pieces(&file)).await;
    for at_least in [1, ROWS / 3] {
        let seen = import_when(&client, &import, |it| it["rows"].as_u64() >= Some(at_least)).await;
        assert_eq!(seen["status"], "RUNNING", "it ended before it could be killed: {seen}");
        gateway.kill().await;
        let options = BinaryOptions { port, ..BinaryOptions::default() };
        gateway = Binary::start(&store, None, &options).await;
    }
    let done = settled(&client, &import).await;
    let bad = ROWS / BAD_EVERY;
    let expected = json!({ "status": "COMPLETED", "rows": ROWS, "added": ROWS - bad - 2, "updated": 2, "rejected": bad });
    assert_counts(&done, &expected);
    assert_bad_rows_are_told_of(&done);
    let after = everybody(&client).await;
    let names: BTreeMap<String, String> = (0..ROWS)
        .filter(|index| !is_bad(*index))
        .map(|index| (phone(index), format!("Person {index}")))
        .collect();
    assert!(named(&after) == names, "not every good row is there once");

    // Again: nobody is doubled.
    let again = start(&client, pieces(&file)).await;
    let repeated = settled(&client, &again).await;
    let expected = json!({ "status": "COMPLETED", "rows": ROWS, "added": 0, "updated": ROWS - bad, "rejected": bad });
    assert_counts(&repeated, &expected);
    assert!(everybody(&client).await == after, "the second time changed somebody");

    // Taken back, everything is as it was.
    for id in [&again, &import] {
        let undo = "mutation($id: ID!) { undoImport(id: $id) { import { id } } }";
        if let Err(error) = client.query(undo, json!({ "id": id })).await {
            // It goes on by itself, and takes longer than a mutation waits.
            assert_eq!(error.code, "UNAVAILABLE", "{error:?}");
        }
        eventually_within(PATIENCE, "it is taken back", || async {
            let query = "query($id: ID!) { import(id: $id) { undoneAt } }";
            let data = client.ask(query, json!({ "id": id })).await;
            (!data["import"]["undoneAt"].is_null()).then_some(())
        })
        .await;
    }
    eventually_within(PATIENCE, "lists show it", || async {
        (everybody(&client).await == before).then_some(())
    })
    .await;
    gateway.terminate().await;
}

/// The file is on the disk of the node that took it.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_whose_node_is_gone_fails_with_its_reason_and_holds_up_no_other() {
    if !stores().contains(&StoreKind::Postgres) {
        return;
    }
    let store = Store::fresh(StoreKind::Postgres).await;
    let lost = Binary::start(&store, None, &BinaryOptions::default()).await;
    let other = Binary::start(&store, None, &BinaryOptions::default()).await;
    let client = &other.client;
    let file = people();
    let import = start(&lost.client, pieces(&file)).await;
    import_when(client, &import, |it| it["rows"].as_u64() >= Some(1)).await;
    lost.kill().await;
    // Others of the workspace go on meanwhile.
    let known = "phone,name\n+447700900001,Another\n".to_owned();
    let second = settled(client, &start(client, pieces(&known)).await).await;
    assert_eq!(second["status"], "COMPLETED", "{second}");
    let seen = import_when(client, &import, |_| true).await;
    assert_eq!(seen["status"], "RUNNING", "given up before its node could come back: {seen}");

    let failed = settled(client, &import).await;
    assert_eq!(failed["status"], "FAILED", "{failed}");
    let reason = failed["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("upload the file again"), "{failed}");
    let read = failed["rows"].as_u64().expect("a count");
    assert!(0 < read && read < ROWS, "{read} rows were read");
    // What was read stays, and the same file brings in the rest.
    let again = settled(client, &start(client, pieces(&file)).await).await;
    let bad = ROWS / BAD_EVERY;
    assert_eq!((&again["status"], &again["rejected"]), (&json!("COMPLETED"), &json!(bad)));
    assert_eq!(everybody(client).await.len() as u64, ROWS - bad);
    other.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_gets_a_clear_error_and_adds_nobody() {
    let columns: Vec<String> = (0..201).map(|index| format!("column{index}")).collect();
    let zip = [b"PK\x03\x04".as_slice(), CANARY.as_bytes()].concat();
    let files: Vec<(Vec<u8>, &str)> = vec![
        (vec![], "the file is empty"),
        (b"phone,name\n".to_vec(), "no rows below"),
        (zip, "save it as CSV"),
        (format!("+447700900001,{CANARY}\n").into_bytes(), "the first line must name the columns"),
        (
            format!("phone,\"{CANARY}\n+447700900001,Ada\n").into_bytes(),
            "the header cannot be read",
        ),
        (
            format!("colour,{CANARY}\nblue,Ada\n").into_bytes(),
            "no column says who the contacts are",
        ),
        (format!("phone,{}\n", columns.join(",")).into_bytes(), "more than 200 columns"),
        (b"phone,phone\n+447700900001,+447700900002\n".to_vec(), "two columns are named \"phone\""),
    ];
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let gateway = Binary::start(&store, None, &BinaryOptions::default()).await;
        let client = &gateway.client;
        for (bytes, expected) in &files {
            let id = start(client, vec![bytes.clone()]).await;
            let import = settled(client, &id).await;
            let reason = import["reason"].as_str().unwrap_or_default();
            assert_eq!(import["status"], "FAILED", "{expected}: {import}");
            assert!(reason.contains(expected), "{expected}: {import}");
            assert!(!reason.contains("+4477"), "{import}");
        }
        assert!(everybody(client).await.is_empty());
        gateway.terminate().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_names_columns_and_a_dry_run_changes_nobody() {
    const IMPORT: &str = "mutation($input: ImportContactsInput!) { importContacts(input: $input) { import { id status added updated rejected } } }";
    let input = |dry_run: bool, mapping: Value| json!({ "input": { "csv": "Durchwahl,Wie\n+447700900001,Ada\n+447700900002,Bo\n", "mapping": mapping, "dryRun": dry_run } });
    let mapping = json!({ "Durchwahl": "phone", "Wie": "name" });
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let gateway = Binary::start(&store, None, &BinaryOptions::default()).await;
        let client = &gateway.client;
        let tried = client.ask(IMPORT, input(true, mapping.clone())).await;
        let tried = &tried["importContacts"]["import"];
        assert_eq!((&tried["added"], &tried["rejected"]), (&json!(2), &json!(0)), "{tried}");
        assert!(everybody(client).await.is_empty());
        let unmapped = client.query(IMPORT, input(false, json!({ "Nowhere": "phone" }))).await;
        assert_eq!(unmapped.expect_err("no such column").code, "VALIDATION_FAILED");
        let done = client.ask(IMPORT, input(false, mapping.clone())).await;
        let id = done["importContacts"]["import"]["id"].as_str().expect("an id");
        assert_eq!(settled(client, id).await["added"], 2);
        let people = everybody(client).await;
        assert_eq!(people["+447700900001"]["name"], "Ada", "{people:?}");
        gateway.terminate().await;
    }
}

/// What is wrong with a row costs that row alone, and its line is named.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_row_is_told_of_by_its_line_and_costs_no_other() {
    let mut file = b"\xef\xbb\xbfphone,name,consent\n".to_vec();
    let rows: [(&[u8], Option<&str>); 6] = [
        (b"+447700900001,Ada,yes\n", None),
        (b"+447700900002,canarycell,yes,canarycell\n", Some("more cells than the header")),
        (b"+447700900003\n", None),
        (b"+447700900004,\"canarycell,yes\n", Some("opened and not closed")),
        (b"+447700900005,canarycell\xff\xfe,yes\n", Some("says it is UTF-8")),
        (b"+447700900006,Bob,canarycell\n", Some("consent is yes or no")),
    ];
    for (row, _) in &rows {
        file.extend_from_slice(row);
    }
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let gateway = Binary::start(&store, None, &BinaryOptions::default()).await;
        let client = &gateway.client;
        let import = settled(client, &start(client, vec![file.clone()]).await).await;
        let expected =
            json!({ "status": "COMPLETED", "rows": 6, "added": 2, "updated": 0, "rejected": 4 });
        assert_counts(&import, &expected);
        let errors = import["errors"].as_array().expect("errors").clone();
        let wanted = rows.iter().zip(2..).filter_map(|((_, error), line)| Some((line, (*error)?)));
        for (error, (line, message)) in errors.iter().zip(wanted) {
            assert_eq!(error["row"], line, "{error}");
            assert!(error["message"].as_str().expect("words").contains(message), "{error}");
        }
        assert!(!import.to_string().contains(CANARY), "{import}");
        let phones: Vec<String> = everybody(client).await.into_keys().collect();
        assert_eq!(phones, ["+447700900001", "+447700900003"]);
        gateway.terminate().await;
    }
}

fn phone(index: u64) -> String {
    format!("+{}", 447_700_900_000_u64 + index)
}

fn is_bad(index: u64) -> bool {
    index % BAD_EVERY == BAD_EVERY - 1
}

fn people() -> String {
    let mut file = String::from("phone,name,city,consent\n");
    for index in 0..ROWS {
        file.push_str(&match (is_bad(index), index % 1_000 < 500) {
            (false, _) => format!("{},Person {index},London,yes\n", phone(index)),
            (true, false) => format!("{CANARY},Person {index},London,yes\n"),
            (true, true) => format!("{},Person {index},London,{CANARY}\n", phone(index)),
        });
    }
    file
}

/// Cut anywhere, as a slow upload is.
fn pieces(text: &str) -> Vec<Vec<u8>> {
    text.as_bytes().chunks(10_007).map(<[u8]>::to_vec).collect()
}

/// Streams a file to the gateway; answers the import's id.
async fn start(client: &Client, pieces: Vec<Vec<u8>>) -> String {
    let pieces = stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
    let response = client
        .http()
        .post(format!("{}/imports?tags=all", client.base))
        .bearer_auth(&client.key)
        .header("content-type", "text/csv")
        .body(reqwest::Body::wrap_stream(pieces))
        .send()
        .await
        .expect("the gateway answers");
    assert_eq!(response.status(), 202);
    let started: Value = response.json().await.expect("JSON");
    started["import"]["id"].as_str().expect("an id").to_owned()
}

async fn import_when(client: &Client, id: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    eventually_within(PATIENCE, "the import goes on", || async {
        // The gateway may have been killed a moment ago.
        let answer = client.try_raw(IMPORT, json!({ "id": id })).await?;
        let import = answer["data"]["import"].clone();
        is_so(&import).then_some(import)
    })
    .await
}

async fn settled(client: &Client, id: &str) -> Value {
    import_when(client, id, |it| it["status"] == "COMPLETED" || it["status"] == "FAILED").await
}

fn assert_counts(import: &Value, expected: &Value) {
    for (name, value) in expected.as_object().expect("counts") {
        assert_eq!(
            &import[name],
            value,
            "{name} of {}",
            json!({ "rows": import["rows"], "added": import["added"],
            "updated": import["updated"], "rejected": import["rejected"], "status": import["status"] })
        );
    }
}

/// Each by its line (the header's is 1) and its column, and none quotes a cell.
fn assert_bad_rows_are_told_of(import: &Value) {
    let errors = import["errors"].as_array().expect("errors");
    let bad: Vec<u64> = (0..ROWS).filter(|index| is_bad(*index)).collect();
    assert_eq!(errors.len(), bad.len());
    for (error, index) in errors.iter().zip(bad) {
        assert_eq!(error["row"], index + 2, "{error}");
        let column = if index % 1_000 < 500 { "consent" } else { "phone" };
        assert_eq!(error["column"], column, "{error}");
        assert!(error["message"].as_str().is_some_and(|words| words.len() > 10), "{error}");
    }
    assert!(!import.to_string().contains(CANARY), "a cell is quoted");
}

/// Everybody there is, by number.
async fn everybody(client: &Client) -> BTreeMap<String, Value> {
    let query = "query($after: String) { contacts(first: 500, after: $after) { nodes { phoneNumber name tags attributes \
                 consent { status } } pageInfo { hasNextPage endCursor } } }";
    let mut people = BTreeMap::new();
    let mut after = Value::Null;
    loop {
        let data = client.ask(query, json!({ "after": after })).await;
        let page = &data["contacts"];
        for person in page["nodes"].as_array().expect("people") {
            // Whoever was undone keeps a place without a name or a number.
            let Some(phone) = person["phoneNumber"].as_str() else { continue };
            let twice = people.insert(phone.to_owned(), person.clone());
            assert!(twice.is_none(), "somebody is there twice");
        }
        if page["pageInfo"]["hasNextPage"] != true {
            return people;
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
}

fn named(people: &BTreeMap<String, Value>) -> BTreeMap<String, String> {
    let name = |person: &Value| person["name"].as_str().unwrap_or_default().to_owned();
    people.iter().map(|(phone, person)| (phone.clone(), name(person))).collect()
}
