//! The log as a stream, by the libraries that integrators use: everything once and in order, over cuts and restarts, and
//! nothing that is not the reader's.

use std::collections::BTreeMap;
use std::time::Duration;

use gateway_tests::{
    Binary, BinaryOptions, Client, SandboxProcess, Script, Store, eventually, eventually_within,
    free_port, run, stores,
};
use serde_json::{Value, json};

use crate::common::{approved_template, import_people, launch};

const PEOPLE: u32 = 700;
const LINES: &str = "application/x-ndjson";

fn websocket(client: &Client) -> String {
    format!("{}/graphql", client.base.replace("http://", "ws://"))
}

/// Position and id of every event, as the command line reads them from the store.
async fn all_of(store: &Store) -> Vec<String> {
    let lines = run(store, &["events", "--personal"]).await.lines();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    lines
        .iter()
        .map(|event| format!("{} {}", text(&event["position"]), text(&event["id"])))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_that_are_cut_off_again_and_again_miss_nothing_and_see_nothing_twice() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let options = BinaryOptions { port: free_port(), ..BinaryOptions::default() };
        let mut gateway = Binary::start(&store, None, &options).await;
        let (base, key) = (gateway.client.base.clone(), gateway.client.key.clone());
        let stream = format!("{base}/events?after=0");
        let socket = websocket(&gateway.client);
        let followers = [
            Script::start("subscribe.mjs", &[&socket, &key]),
            Script::start("eventsource.mjs", &[&stream, &key]),
        ];
        for round in 0..3 {
            let tag = format!("round-{round}");
            let before: Vec<usize> =
                followers.iter().flatten().map(|it| it.lines().len()).collect();
            let client = gateway.client.clone();
            let importing = tokio::spawn(async move { import_people(&client, PEOPLE, &tag).await });
            eventually("both are in the middle of it", || async {
                let now = followers.iter().flatten().map(|it| it.lines().len());
                now.zip(&before).all(|(now, before)| now > before + 20).then_some(())
            })
            .await;
            gateway.kill().await;
            importing.abort();
            gateway = Binary::start(&store, None, &options).await;
        }
        eventually("imports have ended", || async {
            let events = run(&store, &["events", "--type", "import.*"]).await.lines();
            let count = |name: &str| events.iter().filter(|event| event["type"] == name).count();
            let ended = count("import.completed") + count("import.failed");
            (count("import.started") == ended).then_some(())
        })
        .await;
        let all = all_of(&store).await;
        assert!(all.len() > 60, "{}", all.len());
        for follower in followers.iter().flatten() {
            eventually("all of it was read", || async {
                (follower.lines().len() >= all.len()).then_some(())
            })
            .await;
            assert_eq!(follower.lines(), all, "in order, nothing twice, nothing missing");
        }
        gateway.terminate().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_follows_by_command_line_goes_on_when_the_gateway_is_back() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let options = BinaryOptions { port: free_port(), ..BinaryOptions::default() };
        let mut gateway = Binary::start(&store, None, &options).await;
        let (base, key) = (gateway.client.base.clone(), gateway.client.key.clone());
        let path = store.dir.path().join("followed.ndjson");
        let mut command = gateway_tests::subcommand(
            &store,
            &["events", "--follow", "--url", &base, "--key", &key],
        );
        let file = std::fs::File::create(&path).expect("a file");
        let mut follower = command.stdout(file).kill_on_drop(true).spawn().expect("it starts");
        let ids = || -> Vec<String> {
            let text = std::fs::read_to_string(&path).expect("the file is there");
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let lines =
                whole.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
            lines.map(|event| event["id"].as_str().expect("an id").to_owned()).collect()
        };
        for round in 0..2 {
            import_people(&gateway.client, 30, &format!("round-{round}")).await;
            gateway.kill().await;
            gateway = Binary::start(&store, None, &options).await;
        }
        let all = all_of(&store).await;
        let all: Vec<&str> = all.iter().filter_map(|line| Some(line.split_once(' ')?.1)).collect();
        eventually("all of it was read", || async { (ids().len() >= all.len()).then_some(()) })
            .await;
        assert_eq!(ids(), all);
        follower.kill().await.expect("it can be killed");
        gateway.terminate().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_revoked_sees_no_more_and_foreign_events_never() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let gateway = Binary::start(&store, None, &BinaryOptions::default()).await;
        let client = &gateway.client;
        import_people(client, 20, "all").await;
        let other = client
            .ask("mutation { createWorkspace(name: \"other\") { workspace { id } } }", json!({}))
            .await;
        let other = other["createWorkspace"]["workspace"]["id"].as_str().expect("an id").to_owned();
        let create = "mutation($input: CreateApiKeyInput!) { createApiKey(input: $input) { secret apiKey { id } } }";
        let input = json!({ "name": "reader", "scopes": ["READ"], "workspaceIds": [other] });
        let made = client.ask(create, json!({ "input": input })).await;
        let key = made["createApiKey"]["secret"].as_str().expect("a secret");
        let id = made["createApiKey"]["apiKey"]["id"].as_str().expect("an id");
        let add = "mutation($input: AddContactInput!) { addContact(input: $input) { position } }";
        let theirs =
            json!({ "workspaceId": other, "phoneNumber": "+447700900999", "name": "Theirs" });
        client.ask(add, json!({ "input": theirs })).await;

        let url = format!("{}/events?after=0&follow=true", client.base);
        let request = client.http().get(&url).bearer_auth(key).header("accept", LINES);
        let mut stream = request.send().await.expect("the gateway answers");
        assert_eq!(stream.status(), 200);
        let mut text = String::new();
        while text.lines().count() < 2 {
            let chunk = stream.chunk().await.expect("it reads").expect("it goes on");
            text.push_str(std::str::from_utf8(&chunk).expect("text"));
        }
        for line in text.lines() {
            let event: Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(event["workspaceid"], json!(other), "{event}");
        }
        assert!(!text.contains("Theirs") && !text.contains("447700900999"), "masked: {text}");
        client
            .ask("mutation($id: ID!) { revokeApiKey(id: $id) { position } }", json!({ "id": id }))
            .await;
        // Looked at with every heartbeat.
        let ended = async { while let Ok(Some(_)) = stream.chunk().await {} };
        tokio::time::timeout(Duration::from_secs(60), ended).await.expect("it ends");
        let again = client.http().get(&url).bearer_auth(key).send().await.expect("an answer");
        assert_eq!(again.status(), 401);
        gateway.terminate().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_is_followed_to_its_end() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(7).await;
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let client = &gateway.client;
        let account = sandbox.connect(client, "402000000000007", 20).await;
        import_people(client, 60, "all").await;
        let template = approved_template(client, &account, "offers").await;
        let campaign = launch(client, &account, &template, "all").await;
        let Some(follower) =
            Script::start("progress.mjs", &[&websocket(client), &client.key, &campaign])
        else {
            continue;
        };
        eventually("everything was accepted", || async {
            follower.lines().iter().any(|line| line.ends_with("COMPLETED 60")).then_some(())
        })
        .await;
        let lines = follower.lines();
        let accepted = lines.iter().map(|line| line.rsplit_once(' ').expect("a count").1);
        let accepted: Vec<u32> = accepted.map(|count| count.parse().expect("a count")).collect();
        assert!(accepted.is_sorted() && lines.len() > 2, "{lines:?}");
        gateway.terminate().await;
        sandbox.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_streamed_is_told_by_name() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let gateway = Binary::start(&store, None, &BinaryOptions::default()).await;
        let client = &gateway.client;
        import_people(client, 5, "all").await;
        let get = async |query: &str, key: &str, accept: &str| {
            let url = format!("{}/events?{query}", client.base);
            let request = client.http().get(url).bearer_auth(key).header("accept", accept);
            let answer = request.send().await.expect("the gateway answers");
            (answer.status().as_u16(), answer.text().await.expect("a text"))
        };
        for (query, accept, status, told) in [
            ("type=message.delivred", LINES, 400, "filter.types"),
            ("after=999999999", LINES, 400, "the log ends at"),
            ("after=soon", LINES, 400, "after"),
            ("accountId=01890000-0000-7000-8000-000000000000", LINES, 404, "NOT_FOUND"),
            ("aggregateType=car", LINES, 400, "filter.aggregateType"),
            ("follow=maybe", LINES, 400, "follow"),
            ("colour=red", LINES, 400, "query"),
            ("after=0", "text/html", 400, "Accept"),
        ] {
            let (found, body) = get(query, &client.key, accept).await;
            assert_eq!(found, status, "{query}: {body}");
            assert!(body.contains(told), "{query}: {body}");
        }
        assert_eq!(get("after=0", "wgk_wrong", LINES).await.0, 401);
        // The same as on the command line.
        let (status, body) = get("type=contact.added", &client.key, LINES).await;
        assert_eq!(status, 200);
        let mut found: Vec<Value> =
            body.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let mut expected =
            run(&store, &["events", "--type", "contact.added", "--personal"]).await.lines();
        for event in found.iter_mut().chain(&mut expected) {
            // Each says where it was read.
            event["dataschema"].take();
        }
        assert_eq!(found.len(), 5, "{body}");
        assert_eq!(found, expected);
        gateway.terminate().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_protocol_closes_with_its_own_codes_and_one_bad_operation_ends_alone() {
    let store = Store::fresh(stores()[0]).await;
    let gateway = Binary::start(&store, None, &BinaryOptions::default()).await;
    let client = &gateway.client;
    let Some(script) = Script::start("protocol.mjs", &[&websocket(client), &client.key]) else {
        return;
    };
    let expected = [
        ("nothing", "4408"),
        ("junk", "4400"),
        ("unknown", "4400"),
        ("unauthorised", "4401"),
        ("twice", "4429"),
        ("duplicate", "4409"),
        ("wrong_key", "4403"),
        ("no_key", "4403"),
        ("unknown_type", "VALIDATION_FAILED"),
        ("beyond", "VALIDATION_FAILED"),
        ("foreign", "NOT_FOUND"),
        ("syntax", "VALIDATION_FAILED"),
        ("no_campaign", "NOT_FOUND"),
        ("query", "next"),
    ];
    let lines = eventually("every case came to its end", || async {
        let lines = script.lines();
        (lines.len() >= expected.len()).then_some(lines)
    })
    .await;
    let found: BTreeMap<&str, &str> = lines
        .iter()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.next()?))
        })
        .collect();
    assert_eq!(found, BTreeMap::from(expected), "{lines:#?}");
    gateway.terminate().await;
}

/// Takes half a minute: that is how long a client may take for one answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_is_told_where_to_go_on_and_closed() {
    let store = Store::fresh(stores()[0]).await;
    let gateway = Binary::start(&store, None, &BinaryOptions::default()).await;
    let client = &gateway.client;
    // More than the buffers of a socket hold, ten times over.
    import_people(client, 6_000, "all").await;
    let Some(mut script) = Script::start("slow.mjs", &[&websocket(client), &client.key]) else {
        return;
    };
    eventually("it takes no more", || async { script.lines().first().cloned() }).await;
    let is_given_up = || async {
        let metrics =
            client.http().get(format!("{}/metrics", client.base)).bearer_auth(&client.key);
        let text = metrics.send().await.ok()?.text().await.ok()?;
        text.contains("gateway_websockets_too_slow_total 1").then_some(())
    };
    eventually_within(Duration::from_secs(120), "it is given up", is_given_up).await;
    script.tell("go on").await;
    let lines = eventually("it was closed", || async {
        let lines = script.lines();
        lines.last().is_some_and(|line| line.starts_with("closed")).then_some(lines)
    })
    .await;
    assert!(lines.last().expect("a line").starts_with("closed 1013 "), "{lines:#?}");
    let told: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("told ")).collect();
    assert!(!told.is_empty(), "{lines:#?}");
    for line in told {
        // Where it is told to go on is the last that it got.
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!((words[0], words[2]), (words[1], "UNAVAILABLE"), "{lines:#?}");
    }
    gateway.terminate().await;
}
