//! Exports, read by DuckDB and pandas: they say what GraphQL says, tell nothing of people unless asked, end the same
//! however often they are cut short, and are had over HTTP by whoever asked.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use gateway_tests::{
    Answered, Binary, BinaryOptions, Client, PATIENCE, SandboxProcess, Script, Store, StoreKind,
    eventually, files_under, found_in, run, stores,
};
use serde_json::{Value, json};

use crate::common::{
    approved_template, assert_adds_up, count, import_csv, import_people, key_with, launch,
    progress_when, quiet,
};

const NUMBER: &str = "402000000000091";
const DATASETS: [&str; 3] = ["messages", "events", "campaigns"];
/// Of whom is erased, and of whom is not.
const ERASED: [&str; 4] =
    ["447700900981", "Wilhelmina Ravensbourne", "Muschelkalk", "GB.7204418839015526698"];
const OTHER: [&str; 4] =
    ["447700900982", "Theodora Quastenflosser", "Pfingstrose", "GB.7204418839015526699"];
const FORMULA: &str = "=cmd|' /C calc'!A0";
const CAMPAIGN: &str = "query($id: ID!) { campaign(id: $id) { progress { recipients accepted sent delivered read failed skipped \
                        cost { amount currency } failures { code count } } } }";
/// What may still hold what is known of somebody.
const EXPORTED: &str = "query($id: ID!) { contact(id: $id) { erased personalExports(first: 50) { type actor { kind } data } } }";
const ERASE: &str = "mutation($id: ID!) { eraseContact(id: $id, reason: \"asked by letter\") { contact { erased } } }";

async fn contact_of(client: &Client, number: &str) -> String {
    eventually("the person is known", || async {
        let query =
            "query($n: [PhoneNumber!]) { contacts(filter: { phoneNumbers: $n }) { nodes { id } } }";
        let data = client.ask(query, json!({ "n": [format!("+{number}")] })).await;
        data["contacts"]["nodes"][0]["id"].as_str().map(str::to_owned)
    })
    .await
}

/// A campaign of which some failed and most were read, and two people who wrote.
async fn world(client: &Client, sandbox: &SandboxProcess) -> (String, Value) {
    sandbox.behave(json!({ "readRate": 0.5, "errorRates": { "131026": 0.2 } }));
    let account = sandbox.connect(client, NUMBER, 500).await;
    let rates = json!({ "rates": [{ "countries": ["GB"], "category": "MARKETING", "currency": "EUR", "amount": "0.0655",
                                    "validFrom": "2026-01-01" }] });
    let set = "mutation($input: SetRateCardInput!) { setRateCard(input: $input) { position } }";
    client.ask(set, json!({ "input": rates })).await;
    let mut csv = "phone,name,city\n".to_owned();
    for person in [ERASED, OTHER] {
        csv.push_str(&format!("+{},{},London\n", person[0], person[1]));
    }
    for index in 0..60 {
        csv.push_str(&format!("+{},Person {index},London\n", 447_700_900_300_u64 + index));
    }
    import_csv(client, &csv, "all").await;
    let template = approved_template(client, &account, "offers").await;
    let campaign = launch(client, &account, &template, "all").await;
    let done = progress_when(client, &campaign, Duration::from_secs(90), "it is over", |c| {
        c["status"] == "COMPLETED"
            && count(c, "pending") == 0
            && count(c, "delivered") == count(c, "accepted")
    })
    .await;
    assert_adds_up(&done);
    assert!(count(&done, "failed") > 3 && count(&done, "delivered") > 20, "{done}");
    for person in [ERASED, OTHER] {
        let says = json!({ "phoneNumberId": NUMBER, "from": person[0], "userId": person[3], "type": "text", "name": person[1],
                           "text": { "body": format!("{FORMULA} {}", person[2]) } });
        sandbox.sandbox.inbound(&says).expect("a person writes");
    }
    eventually("both were heard", || async {
        let data = client
            .ask(
                "{ messages(first: 10, filter: { direction: INBOUND }) { nodes { id } } }",
                json!({}),
            )
            .await;
        (data["messages"]["nodes"].as_array()?.len() == 2).then_some(())
    })
    .await;
    let told = || async { (sandbox.sandbox.stats().webhooks_pending == 0).then_some(()) };
    eventually("the sandbox has told everything", told).await;
    quiet(client).await;
    let data = client.ask(CAMPAIGN, json!({ "id": campaign })).await;
    (campaign, data["campaign"]["progress"].clone())
}

/// All exports in all formats, below this folder of the store's.
async fn export_all(store: &Store, folder: &str, options: &[&str]) {
    // That personal data is exported is an event too: each of them is of the log as it was before the first.
    let to = chrono::Utc::now().to_rfc3339();
    for dataset in DATASETS {
        for (format, end) in [("parquet", ""), ("csv", ".csv"), ("ndjson", ".ndjson")] {
            let out = format!("{folder}/{dataset}{end}");
            let command = ["export", dataset, "--format", format, "--out", &out, "--to", &to];
            let done = run(store, &[&command[..], options].concat()).await;
            assert_eq!((done.code, done.out.trim()), (Some(0), out.as_str()), "{}", done.err);
        }
    }
}

/// What a program of tests/clients found, by name.
async fn found_by_analysts(folder: &Path) -> Option<BTreeMap<String, Value>> {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/exports.md");
    let script = Script::start("exports.py", &[&folder.display().to_string(), docs])?;
    let lines = eventually("analysts are through", || async {
        let lines = script.lines();
        lines.iter().any(|line| line.contains("\"examples\"")).then_some(lines)
    })
    .await;
    let said = lines.iter().filter_map(|line| line.strip_prefix('#'));
    let said = said.map(|line| {
        let mut said: Value = serde_json::from_str(line).expect("JSON");
        (said["what"].as_str().expect("a name").to_owned(), said["value"].take())
    });
    Some(said.collect())
}

/// Marks in any file of an export, those of Parquet in what DuckDB reads from them.
fn marks_in(folder: &Path, marks: &[&'static str]) -> Vec<&'static str> {
    let files = files_under(folder)
        .into_iter()
        .filter(|path| path.extension().is_none_or(|end| end != "parquet"));
    let mut found: Vec<&str> =
        files.flat_map(|path| found_in(&std::fs::read(path).expect("a file"), marks)).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Lines of a campaign's report, as a reader of CSV has them; the first one has the names.
async fn report(client: &Client, path: &str) -> (u16, Vec<BTreeMap<String, String>>) {
    let answer = client.http().get(format!("{}{path}", client.base)).bearer_auth(&client.key);
    let answer = answer.send().await.expect("an answer");
    let (status, body) = (answer.status().as_u16(), answer.text().await.expect("a body"));
    let mut lines = body.lines().map(|line| {
        // No cell of these tests has a comma or a line's end in it.
        line.split(',').map(|cell| cell.trim_matches('"').to_owned()).collect::<Vec<_>>()
    });
    let names = lines.next().unwrap_or_default();
    let rows = lines.map(|cells| names.iter().cloned().zip(cells).collect());
    (status, rows.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaigns_report_has_a_safe_line_for_each_recipient_and_people_only_for_who_may_see_them()
 {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(92).await;
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let client = &gateway.client;
        let account = sandbox.connect(client, NUMBER, 500).await;
        // More than a page of them.
        let people = 620_u64;
        let mut csv = format!("phone,name\n+447700900299,{FORMULA}\n+447700900298,Nobody At All\n");
        for index in 0..people - 2 {
            csv.push_str(&format!("+{},Person {index}\n", 447_700_901_000_u64 + index));
        }
        import_csv(client, &csv, "all").await;
        let template = approved_template(client, &account, "offers").await;
        let campaign = launch(client, &account, &template, "all").await;
        let test =
            "mutation($id: ID!) { testCampaign(id: $id, to: \"+447700900297\") { position } }";
        client.ask(test, json!({ "id": campaign })).await;
        let done = progress_when(client, &campaign, Duration::from_secs(90), "it is over", |c| {
            c["status"] == "COMPLETED" && count(c, "delivered") == people
        })
        .await;
        assert_adds_up(&done);
        quiet(client).await;
        let path = format!("/campaigns/{campaign}/report.csv");
        let (status, lines) = report(client, &path).await;
        assert_eq!(
            (status, lines.len() as u64),
            (200, people),
            "a line each, and none of the test"
        );
        let of = |phone: &str| {
            let safe = format!("'{phone}");
            lines.iter().find(|line| line["phone"] == safe).unwrap_or_else(|| panic!("no {phone}"))
        };
        let line = of("+447700900299");
        assert_eq!(
            (&line["name"][..], &line["status"][..]),
            (&format!("'{FORMULA}")[..], "DELIVERED")
        );
        assert!(line["delivered_at"].ends_with('Z') && line["failure_code"].is_empty(), "{line:?}");
        let each: std::collections::BTreeSet<&str> =
            lines.iter().map(|line| &line["contact_id"][..]).collect();
        assert_eq!(each.len() as u64, people);

        // The same curve as the counters', for whoever comes later.
        let curve = "query($id: ID!) { campaign(id: $id) { progressOverTime(points: 10) { at queued accepted delivered } } }";
        let data = client.ask(curve, json!({ "id": campaign })).await;
        let points = data["campaign"]["progressOverTime"].as_array().expect("points").clone();
        assert!((2..=10).contains(&points.len()), "{points:?}");
        let last = points.last().expect("a point");
        assert_eq!(
            (&last["delivered"], &last["queued"]),
            (&json!(people), &json!(0)),
            "{points:?}"
        );
        let rises: Vec<u64> =
            points.iter().map(|point| point["accepted"].as_u64().expect("a count")).collect();
        assert!(rises.is_sorted() && rises[0] < people, "{rises:?}");
        let counts = "query($from: DateTime!) { messageCounts(from: $from) { recipients accepted delivered failed failures { code } } }";
        let from = "2020-01-01T00:00:00Z";
        let data = client.ask(counts, json!({ "from": from })).await;
        // The test is a message too, and was left out: nobody said that it may come.
        assert_eq!(data["messageCounts"]["recipients"], json!(people + 1), "{data}");
        assert_eq!(data["messageCounts"]["delivered"], json!(people), "{data}");
        let launched = "query($id: ID!) { campaign(id: $id) { messages(first: 3) { nodes { launchedBy { kind } } } } }";
        let data = client.ask(launched, json!({ "id": campaign })).await;
        for node in data["campaign"]["messages"]["nodes"].as_array().expect("messages") {
            assert_eq!(node["launchedBy"]["kind"], "API_KEY", "{data}");
        }
        let audience = "query($a: AudienceInput!) { audiencePreview(audience: $a, first: 3) { count sample { id } } }";
        let data = client.ask(audience, json!({ "a": { "tags": ["all"] } })).await;
        let preview = &data["audiencePreview"];
        assert_eq!(
            (&preview["count"], preview["sample"].as_array().map(Vec::len)),
            (&json!(people), Some(3))
        );
        let data = client.ask("{ tags(search: \"AL\") { tag count } }", json!({})).await;
        assert_eq!(data["tags"], json!([{ "tag": "all", "count": people }]));

        let reader = client.with_key(&key_with(client, &["READ"]).await);
        let (status, masked) = report(&reader, &path).await;
        assert_eq!((status, masked.len() as u64), (200, people));
        assert!(
            masked.iter().all(|line| !line.contains_key("phone") && !line.contains_key("name"))
        );
        let (status, _) =
            report(&reader, "/campaigns/0190a0a0-0000-7000-8000-000000000000/report.csv").await;
        assert_eq!(status, 404);
        let sender = client.with_key(&key_with(client, &["SEND"]).await);
        assert_eq!(report(&sender, &path).await.0, 403);
        gateway.terminate().await;
        sandbox.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn duckdb_and_pandas_read_what_graphql_says_and_nothing_of_people_unless_asked() {
    for kind in stores() {
        read_by_analysts(kind).await;
    }
}

async fn read_by_analysts(kind: StoreKind) {
    let store = Store::fresh(kind).await;
    let sandbox = SandboxProcess::start(91).await;
    let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
    let client = &gateway.client;
    let (_, progress) = world(client, &sandbox).await;
    let erased = contact_of(client, ERASED[0]).await;
    let folder = |name: &str| store.dir.path().join(name);

    export_all(&store, "before", &["--personal"]).await;
    eventually("the person is erased", || async {
        client.query(ERASE, json!({ "id": erased })).await.ok()
    })
    .await;
    quiet(client).await;
    export_all(&store, "open", &[]).await;
    export_all(&store, "personal", &["--personal"]).await;
    let before = found_by_analysts(&folder("before")).await;
    let open = found_by_analysts(&folder("open")).await;
    let personal = found_by_analysts(&folder("personal")).await;
    let Some(((before, open), personal)) = before.zip(open).zip(personal) else {
        gateway.terminate().await;
        sandbox.stop().await;
        return;
    };

    // The search finds what is there to be found.
    let all = [ERASED, OTHER].concat();
    assert_eq!(
        marks_in(&folder("before"), &all).len(),
        all.len(),
        "{:?}",
        marks_in(&folder("before"), &all)
    );
    assert_eq!(marks_in(&folder("personal"), &ERASED), Vec::<&str>::new());
    assert_eq!(marks_in(&folder("personal"), &OTHER).len(), OTHER.len());
    // Whoever erased them is told of the files that hold them, and of no later ones.
    let told = client.ask(EXPORTED, json!({ "id": erased })).await;
    let told = told["contact"]["personalExports"].as_array().expect("a list");
    assert_eq!(told.len(), 9, "{told:?}");
    for export in told {
        assert_eq!(export["type"], "workspace.personal_data_exported");
        assert_eq!(export["actor"]["kind"], "SYSTEM");
    }
    let newest = &told[0]["data"];
    assert_eq!([&newest["dataset"], &newest["format"]], ["campaigns", "ndjson"]);
    assert_eq!(marks_in(&folder("open"), &all), Vec::<&str>::new());
    assert_eq!(
        marks_in(&folder("open"), &["+4477", "Person 7,", "Hello Person"]),
        Vec::<&str>::new()
    );

    // Every format has the same rows, and they say what GraphQL says.
    for (name, found) in open.iter().filter(|(name, _)| name.starts_with("rows of")) {
        let of = |format: &str| found[format].as_u64().expect("a count");
        assert!(of("manifest") > 0, "{name}: {found}");
        for format in ["parquet", "csv", "ndjson"] {
            assert_eq!(of(format), of("manifest"), "{name}: {found}");
        }
    }
    let row = &open["campaign"][0];
    for name in ["recipients", "accepted", "sent", "delivered", "read", "failed", "skipped"] {
        assert_eq!(row[name], progress[name], "{name}: {row} {progress}");
        assert_eq!(open["campaign by pandas"][0][name], progress[name]);
    }
    let decimal = |value: &Value| value.as_str().expect("a text").trim_end_matches('0').to_owned();
    assert_eq!(decimal(&row["cost"]), decimal(&progress["cost"]["amount"]));
    assert_eq!(open["cost of messages"][0], json!({ "cost": row["cost"], "currency": "EUR" }));
    let by_status = |name: &str, status: &str| -> u64 {
        let rows = open["messages by status"].as_array().expect("rows");
        let rows = rows.iter().filter(|row| row["status"] == status);
        rows.map(|row| row[name].as_u64().expect("a count")).sum()
    };
    assert_eq!(by_status("n", "READ"), progress["read"].as_u64().expect("a count"));
    assert_eq!(by_status("n", "FAILED"), progress["failed"].as_u64().expect("a count"));
    assert_eq!(
        by_status("n", "READ") + by_status("n", "DELIVERED"),
        progress["delivered"].as_u64().expect("a count")
    );
    assert_eq!(open["failures"][0]["failure_code"], 131_026, "{}", open["failures"]);
    assert_eq!(open["failures"][0]["n"], progress["failed"]);
    assert!(open["failures"][0]["failure_meaning"].is_string());
    let types = &open["types"];
    for (column, kind) in [
        ("message_id", "VARCHAR"),
        ("position", "BIGINT"),
        ("is_test", "BOOLEAN"),
        ("delivered_at", "TIMESTAMP WITH TIME ZONE"),
        ("cost", "DECIMAL(18,6)"),
        ("pricing", "JSON"),
    ] {
        assert_eq!(types[column], kind, "{column}");
    }

    // One person is gone, with their pseudonym; everybody else has the same one as before.
    let names = |found: &BTreeMap<String, Value>| -> Vec<String> {
        let names = found["pseudonyms"].as_array().expect("a list").iter();
        names.map(|name| name.as_str().expect("a text").to_owned()).collect()
    };
    assert_eq!(names(&open), names(&personal));
    let (before, after) = (names(&before), names(&open));
    assert_eq!((before.len(), after.len()), (62, 61));
    assert!(after.iter().all(|name| before.contains(name)));
    let rows = open["erased"].as_array().expect("rows");
    assert!(rows.len() == 1 && rows[0]["contact"].is_null(), "{rows:?}");

    // What a person wrote is no formula, unless it is asked for as it is.
    let text = std::fs::read_to_string(folder("personal").join("messages.csv")).expect("a file");
    assert!(
        text.contains(&format!(",'{FORMULA} {}", OTHER[2]))
            && !text.contains(&format!(",{FORMULA}"))
    );
    assert!(text.contains(&format!(",'+{}", OTHER[0])));
    let raw = run(
        &store,
        &["export", "messages", "--format", "csv", "--personal", "--raw", "--out", "raw.csv"],
    )
    .await;
    assert_eq!(raw.code, Some(0), "{}", raw.err);
    let text = std::fs::read_to_string(folder("raw.csv")).expect("a file");
    assert!(text.contains(&format!(",{FORMULA} {}", OTHER[2])) && !text.contains(",'"));
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(folder("raw.csv")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // Events are those of the `events` command.
    let lines = std::fs::read_to_string(folder("open").join("events.ndjson")).expect("a file");
    let known = run(&store, &["events"]).await.out;
    assert!(lines == known[..lines.len()], "the same bytes");
    gateway.terminate().await;
    sandbox.stop().await;
}

fn manifest_of(done: &Answered) -> Value {
    serde_json::from_str(&done.out)
        .unwrap_or_else(|_| panic!("no manifest: {}{}", done.out, done.err))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_is_killed_goes_on_and_ends_in_the_same_bytes() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let gateway = Binary::start(&store, None, &BinaryOptions::default()).await;
        import_people(&gateway.client, 7_000, "all").await;
        gateway.terminate().await;
        for format in ["csv", "ndjson", "parquet"] {
            let options =
                ["export", "events", "--format", format, "--rows-per-file", "1500", "--json"];
            let whole =
                run(&store, &[&options[..], &["--out", &format!("whole-{format}")]].concat()).await;
            assert_eq!(whole.code, Some(0), "{}", whole.err);
            let cut = format!("cut-{format}");
            let command = [&options[..], &["--out", &cut]].concat();
            let noted = store.dir.path().join(&cut).join("manifest.json.part");
            let mut kills = 0;
            // Each time it has come further, until there is an end.
            let mut reached = 0;
            loop {
                let mut child = gateway_tests::subcommand(&store, &command)
                    .stdout(std::process::Stdio::null())
                    .stderr(std::process::Stdio::null())
                    .kill_on_drop(true)
                    .spawn()
                    .expect("it starts");
                let began = std::time::Instant::now();
                let is_over = loop {
                    if let Some(status) = child.try_wait().expect("it can be asked") {
                        assert!(status.success(), "{format}: {status}");
                        break true;
                    }
                    let text = std::fs::read_to_string(&noted).unwrap_or_default();
                    let known: Value = serde_json::from_str(&text).unwrap_or_default();
                    assert!(text.is_empty() || known.is_object(), "it is whole at any moment");
                    let position = known["progress"]["position"].as_u64().unwrap_or_default();
                    if position > reached {
                        reached = position;
                        break false;
                    }
                    assert!(began.elapsed() < PATIENCE, "it comes no further than {reached}");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                };
                if is_over {
                    break;
                }
                child.kill().await.expect("it can be killed");
                kills += 1;
                let own = store.dir.path().join(&cut).join(format!("events.{format}"));
                assert!(!own.exists() || noted.exists(), "it has its name once it is whole");
                assert!(kills < 60, "it does not come to an end");
            }
            assert!(kills > 1, "{format}: killed {kills} times");
            let text = std::fs::read_to_string(store.dir.path().join(&cut).join("manifest.json"));
            let manifest: Value = serde_json::from_str(&text.expect("a manifest")).expect("JSON");
            assert_eq!(manifest, manifest_of(&whole), "{format}: hashes, rows and positions");
            let files = |name: &str| -> BTreeMap<String, Vec<u8>> {
                let folder = store.dir.path().join(name);
                let files = files_under(&folder).into_iter();
                files
                    .map(|path| {
                        let name = path.strip_prefix(&folder).expect("below").display().to_string();
                        (name, std::fs::read(&path).expect("a file"))
                    })
                    .collect()
            };
            assert!(files(&cut) == files(&format!("whole-{format}")), "{format}");
            eprintln!("{kind:?} {format}: killed {kills} times");
            let again = run(&store, &command).await;
            assert_eq!(again.code, Some(1));
            assert!(again.err.contains("is there already"), "{}", again.err);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_narrow_an_export_and_a_later_one_begins_where_an_earlier_ended() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(92).await;
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let client = &gateway.client;
        let account = sandbox.connect(client, NUMBER, 500).await;
        let template = approved_template(client, &account, "offers").await;
        let mut campaigns = vec![];
        for tag in ["first", "second"] {
            import_people(client, 10, tag).await;
            let campaign = launch(client, &account, &template, tag).await;
            progress_when(client, &campaign, Duration::from_secs(60), "it is over", |c| {
                c["status"] == "COMPLETED" && count(c, "delivered") == 10
            })
            .await;
            campaigns.push(campaign);
        }
        quiet(client).await;
        let number = std::sync::atomic::AtomicU32::new(0);
        let export = async |what: &str, options: &[&str]| {
            let out = format!("x{}", number.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
            let command = ["export", what, "--format", "ndjson", "--json", "--out", &out];
            let done = run(&store, &[&command[..], options].concat()).await;
            assert_eq!(done.code, Some(0), "{options:?}: {}", done.err);
            let text =
                std::fs::read_to_string(store.dir.path().join(&out).join(format!("{what}.ndjson")));
            let rows: Vec<Value> = text
                .expect("a file")
                .lines()
                .map(|line| serde_json::from_str(line).expect("JSON"))
                .collect();
            let manifest = manifest_of(&done);
            assert_eq!(manifest["rows"], rows.len());
            (rows, manifest)
        };
        let (all, manifest) = export("events", &[]).await;
        let (delivered, _) = export("events", &["--type", "message.delivered"]).await;
        assert_eq!(delivered.len(), 20);
        let (one, _) =
            export("events", &["--type", "message.delivered", "--campaign", &campaigns[0]]).await;
        assert_eq!(one.len(), 10);
        let (messages, _) =
            export("messages", &["--campaign", &campaigns[1], "--account", &account]).await;
        assert_eq!(messages.len(), 10);
        assert!(
            messages.iter().all(
                |row| row["campaign_id"] == json!(campaigns[1]) && row["status"] == "DELIVERED"
            )
        );
        assert!(
            messages.iter().all(|row| row.get("phone").is_none() && row["contact"].is_string())
        );
        let (rows, _) = export("campaigns", &[]).await;
        assert_eq!(rows.len(), 2);
        assert!(
            rows.iter().all(|row| row["recipients"] == 10 && row["delivered"] == 10),
            "{rows:?}"
        );
        let (none, _) = export("messages", &["--to", "2026-01-01"]).await;
        assert!(none.is_empty());
        let middle = all[all.len() / 2]["position"].as_str().expect("a position").to_owned();
        let (rest, second) = export("events", &["--after", &middle]).await;
        assert_eq!(rest[..], all[all.len() / 2 + 1..all.len() / 2 + 1 + rest.len()]);
        assert_eq!(second["range"]["after"].to_string(), middle);
        let to = manifest["range"]["to"].to_string();
        assert!(to.parse::<u64>().expect("a position") >= middle.parse().expect("a position"));

        // Through the gateway it is the same.
        let through = ["--url", &client.base, "--key", &client.key];
        for format in ["parquet", "csv"] {
            let out = format!("through-{format}");
            let command = ["export", "messages", "--format", format, "--json", "--out", &out];
            let done = run(&store, &[&command[..], &through].concat()).await;
            assert_eq!(done.code, Some(0), "{}", done.err);
            let here = format!("here-{format}");
            let command = ["export", "messages", "--format", format, "--json", "--out", &here];
            let done_here = run(&store, &command).await;
            assert_eq!(manifest_of(&done)["files"], manifest_of(&done_here)["files"]);
            let path = store.dir.path();
            for file in manifest_of(&done)["files"].as_array().expect("files") {
                let file = file["path"].as_str().expect("a path");
                let bytes =
                    |folder: &str| std::fs::read(path.join(folder).join(file)).expect("a file");
                assert!(bytes(&out) == bytes(&here), "{file}");
            }
        }
        gateway.terminate().await;
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn wrong_usage_of_export_is_told_before_anything_is_done() {
    let store = Store::fresh(stores()[0]).await;
    let gateway = Binary::start(&store, None, &BinaryOptions::default()).await;
    gateway.terminate().await;
    let nobody = "01890000-0000-7000-8000-000000000000";
    let csv = ["--format", "csv", "--out", "x.csv"];
    for (arguments, code, says) in [
        (&["people"][..], 2, "people"),
        (&["events", "--from", "yesterday"], 2, "--from"),
        (&["events", "--account", "x"], 2, "--account"),
        (&["events", "--type", "message.delivred"], 2, "message.delivered"),
        (&["messages", "--type", "message.read"], 2, "filter.types"),
        (&["events", "--from", "2026-11-02", "--to", "2026-11-01"], 2, "filter.to"),
        (&["events", "--after", "99999999999"], 2, "filter.after"),
        (&["events", "--account", nobody], 1, "account"),
        (&["messages", "--campaign", nobody], 1, "campaign"),
        (&["messages", "--workspace", nobody], 1, "workspace"),
    ] {
        let command = [&["export"][..], arguments, &csv].concat();
        let refused = run(&store, &command).await;
        assert_eq!(
            (refused.code, refused.out.as_str()),
            (Some(code), ""),
            "{arguments:?}: {}",
            refused.err
        );
        assert!(refused.err.contains(says), "{arguments:?}: {}", refused.err);
    }
    let raw =
        run(&store, &["export", "events", "--format", "ndjson", "--raw", "--out", "x.ndjson"])
            .await;
    assert_eq!(raw.code, Some(2), "{}", raw.err);
    for left in ["x.csv", "x.csv.part", "x.ndjson", "x.csv.manifest.json.part"] {
        assert!(!store.dir.path().join(left).exists(), "{left}");
    }
    let empty = run(&store, &["export", "campaigns", "--format", "csv", "--out", "none.csv"]).await;
    assert_eq!(empty.code, Some(0), "{}", empty.err);
    let text = std::fs::read_to_string(store.dir.path().join("none.csv")).expect("a file");
    assert!(text.starts_with("campaign_id,position,") && text.lines().count() == 1, "{text}");
}

struct Http<'a> {
    client: &'a Client,
}

impl Http<'_> {
    async fn ask(&self, key: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}/exports", self.client.base);
        let answer = self.client.http().post(url).bearer_auth(key).json(body).send().await;
        let answer = answer.expect("the gateway answers");
        let (status, location) =
            (answer.status().as_u16(), answer.headers().get("location").cloned());
        let body: Value = answer.json().await.expect("JSON");
        if status == 202 {
            let path = format!("/exports/{}", body["export"]["id"].as_str().expect("an id"));
            assert_eq!(location.expect("a place"), path.as_str());
        }
        (status, body)
    }

    fn get(&self, key: &str, id: &str) -> reqwest::RequestBuilder {
        self.client.http().get(format!("{}/exports/{id}", self.client.base)).bearer_auth(key)
    }

    async fn status(&self, key: &str, id: &str) -> Option<Value> {
        let answer = self.get(key, id).header("accept", "application/json").send().await.ok()?;
        assert_eq!(answer.status(), 200);
        Some(answer.json::<Value>().await.ok()?["export"].take())
    }

    async fn completed(&self, key: &str, body: Value) -> (String, Value) {
        let (status, asked) = self.ask(key, &body).await;
        assert_eq!(status, 202, "{asked}");
        let id = asked["export"]["id"].as_str().expect("an id").to_owned();
        let export = eventually("it is made", || async {
            let export = self.status(key, &id).await?;
            assert_ne!(export["status"], "FAILED", "{export}");
            (export["status"] == "COMPLETED").then_some(export)
        })
        .await;
        (id, export)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_whoever_asked_has_it_for_a_while_and_nobody_else() {
    for kind in stores() {
        over_http(kind).await;
    }
}

async fn over_http(kind: StoreKind) {
    let store = Store::fresh(kind).await;
    let sandbox = SandboxProcess::start(93).await;
    let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
    let client = &gateway.client;
    world(client, &sandbox).await;
    let http = Http { client };
    let reader = key_with(client, &["READ"]).await;
    let sender = key_with(client, &["SEND"]).await;
    let analyst = key_with(client, &["READ", "PERSONAL"]).await;
    let (reader, sender, analyst) = (reader.as_str(), sender.as_str(), analyst.as_str());
    let admin = client.key.as_str();

    for (key, body, status, told) in [
        ("wgk_nobody", json!({}), 401, "UNAUTHENTICATED"),
        (sender, json!({ "dataset": "messages", "format": "csv" }), 403, "READ"),
        (
            reader,
            json!({ "dataset": "messages", "format": "csv", "personal": true }),
            403,
            "PERSONAL",
        ),
        (reader, json!({ "dataset": "people", "format": "csv" }), 400, "dataset"),
        (reader, json!({ "dataset": "messages" }), 400, "format"),
        (reader, json!({ "dataset": "messages", "format": "csv", "colour": 1 }), 400, "colour"),
        (reader, json!({ "dataset": "messages", "format": "ndjson", "raw": true }), 400, "raw"),
        (
            reader,
            json!({ "dataset": "events", "format": "csv", "filter": { "types": ["x.y"] } }),
            400,
            "filter.types",
        ),
        (
            reader,
            json!({ "dataset": "events", "format": "csv", "filter": { "accountIds": ["01890000-0000-7000-8000-000000000000"] } }),
            404,
            "filter.accountIds",
        ),
    ] {
        let (found, answer) = http.ask(key, &body).await;
        assert_eq!(found, status, "{body}: {answer}");
        assert!(answer.to_string().contains(told), "{body}: {answer}");
    }

    // As from the command line, whole and in parts.
    let (id, export) =
        http.completed(reader, json!({ "dataset": "messages", "format": "csv" })).await;
    assert_eq!(export["manifest"]["rows"], 64, "{export}");
    let answer = http.get(reader, &id).send().await.expect("the gateway answers");
    assert_eq!(answer.status(), 200);
    let header = |name: &str| answer.headers()[name].to_str().expect("text").to_owned();
    assert_eq!(header("content-disposition"), "attachment; filename=\"messages.csv\"");
    assert_eq!(header("content-type"), "text/csv; charset=utf-8");
    let csv = answer.bytes().await.expect("a body");
    let here = run(&store, &["export", "messages", "--format", "csv", "--out", "here.csv"]).await;
    assert_eq!(here.code, Some(0), "{}", here.err);
    assert!(csv == std::fs::read(store.dir.path().join("here.csv")).expect("a file"));
    let part = http.get(reader, &id).header("range", "bytes=100-299").send().await.expect("a part");
    assert_eq!(part.status(), 206);
    assert_eq!(part.headers()["content-range"], format!("bytes 100-299/{}", csv.len()).as_str());
    assert_eq!(part.bytes().await.expect("a body"), csv[100..300]);
    let beyond =
        http.get(reader, &id).header("range", "bytes=999999999-").send().await.expect("an answer");
    assert_eq!(beyond.status(), 416);

    // Another key, one without the scope, and none see nothing.
    for (key, status) in [(analyst, 404), (admin, 404), (sender, 403)] {
        assert_eq!(http.get(key, &id).send().await.expect("an answer").status(), status);
    }
    assert_eq!(http.get("wgk_nobody", &id).send().await.expect("an answer").status(), 401);
    assert_eq!(http.get(reader, "nothing").send().await.expect("an answer").status(), 404);

    // Several files come as an archive that any tar reads.
    let (id, export) =
        http.completed(reader, json!({ "dataset": "events", "format": "parquet" })).await;
    let archive = http.get(reader, &id).send().await.expect("the gateway answers");
    assert_eq!(archive.headers()["content-type"], "application/x-tar");
    let path = store.dir.path().join("events.tar");
    std::fs::write(&path, archive.bytes().await.expect("a body")).expect("a file");
    let into = store.dir.path().join("unpacked");
    std::fs::create_dir(&into).expect("a directory");
    let unpacked = tokio::process::Command::new("tar")
        .arg("-xf")
        .arg(&path)
        .arg("-C")
        .arg(&into)
        .status()
        .await;
    assert!(unpacked.expect("tar runs").success());
    let manifest = std::fs::read(into.join("manifest.json")).expect("a manifest");
    assert_eq!(serde_json::from_slice::<Value>(&manifest).expect("JSON"), export["manifest"]);
    for file in export["manifest"]["files"].as_array().expect("files") {
        let bytes =
            std::fs::read(into.join(file["path"].as_str().expect("a path"))).expect("a file");
        assert_eq!(json!(bytes.len()), file["bytes"]);
        assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
    }

    // With personal data it goes when somebody is erased.
    let asked = json!({ "dataset": "messages", "format": "ndjson", "personal": true });
    let (id, _) = http.completed(analyst, asked).await;
    let lines =
        http.get(analyst, &id).send().await.expect("an answer").text().await.expect("a body");
    assert_eq!(found_in(lines.as_bytes(), &[ERASED[0], ERASED[2]]).len(), 2);
    let erased = contact_of(client, ERASED[0]).await;
    eventually("the person is erased", || async {
        client.query(ERASE, json!({ "id": erased })).await.ok()
    })
    .await;
    let gone = http.get(analyst, &id).send().await.expect("an answer");
    assert_eq!(gone.status(), 409);
    assert!(gone.text().await.expect("a body").contains("erased since"));
    let told = client.ask(EXPORTED, json!({ "id": erased })).await;
    let told = told["contact"]["personalExports"].as_array().expect("a list");
    let told: Vec<&Value> = told.iter().map(|export| &export["data"]["export_id"]).collect();
    assert_eq!(told, [&json!(id)]);
    let traces = store.marks_in_files(&[ERASED[2]], |name| name.contains("exports/"));
    assert_eq!(traces, Vec::<String>::new());

    // Neither a kill nor a restart loses what was asked for.
    let (status, asked) =
        http.ask(reader, &json!({ "dataset": "campaigns", "format": "parquet" })).await;
    assert_eq!(status, 202, "{asked}");
    let id = asked["export"]["id"].as_str().expect("an id").to_owned();
    let port = gateway.port;
    gateway.kill().await;
    let options = BinaryOptions { port, ..BinaryOptions::default() };
    let gateway = Binary::start(&store, Some(&sandbox), &options).await;
    let http = Http { client: &gateway.client };
    eventually("it is made after all", || async {
        let export = http.status(reader, &id).await?;
        (export["status"] == "COMPLETED").then_some(())
    })
    .await;

    // A key that is over has nothing.
    let revoke = "mutation($id: ID!) { revokeApiKey(id: $id) { position } }";
    let keys = gateway.client.ask("{ apiKeys(first: 50) { nodes { id name } } }", json!({})).await;
    let keys = keys["apiKeys"]["nodes"].as_array().expect("keys").clone();
    let own = keys.iter().find(|key| key["name"] == "READ").expect("the reader's");
    gateway.client.ask(revoke, json!({ "id": own["id"] })).await;
    eventually("the key is over", || async {
        let answer = http.get(reader, &id).send().await.ok()?;
        (answer.status() == 401).then_some(())
    })
    .await;
    gateway.terminate().await;
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_has_more_exports_than_it_may() {
    let store = Store::fresh(stores()[0]).await;
    let settings = vec![("exports.total_mb".to_owned(), "1".to_owned())];
    let gateway =
        Binary::start(&store, None, &BinaryOptions { settings, ..BinaryOptions::default() }).await;
    let client = &gateway.client;
    import_people(client, 3_000, "all").await;
    let http = Http { client };
    // More than a mebibyte.
    let (status, asked) =
        http.ask(&client.key, &json!({ "dataset": "events", "format": "ndjson" })).await;
    assert_eq!(status, 202, "{asked}");
    let id = asked["export"]["id"].as_str().expect("an id").to_owned();
    let failed = eventually("it fails", || async {
        let export = http.status(&client.key, &id).await?;
        (export["status"] == "FAILED").then_some(export)
    })
    .await;
    assert!(failed["error"]["message"].as_str().expect("a text").contains("narrow it"), "{failed}");
    assert_eq!(http.get(&client.key, &id).send().await.expect("an answer").status(), 409);
    let mut refused = Value::Null;
    for _ in 0..25 {
        let (status, answer) =
            http.ask(&client.key, &json!({ "dataset": "campaigns", "format": "csv" })).await;
        if status == 429 {
            refused = answer;
            break;
        }
        assert_eq!(status, 202, "{answer}");
    }
    assert_eq!(refused["error"]["code"], "RATE_LIMITED", "{refused}");
    gateway.terminate().await;
}
