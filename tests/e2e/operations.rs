//! What operators do to a gateway that is at work: TLS, a stop, another master key, a database that goes away and comes back.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use gateway_tests::{
    APP_SECRET, Binary, BinaryOptions, Client, Cluster, Number, SandboxProcess, Store, StoreKind,
    Surroundings, VERIFY_TOKEN, WABA, eventually, eventually_within, run, stores,
};
use infrastructure::webhook::signature::sign;
use serde_json::{Value, json};

use crate::common::{
    approved_template, assert_adds_up, assert_each_got_it_once, assert_equal_to_a_rebuild, count,
    import_people, launch, progress_when, sandbox_account, utility_template,
};

const NUMBER: &str = "402000000000091";

fn setting(key: &str, value: impl std::fmt::Display) -> (String, String) {
    (key.to_owned(), value.to_string())
}

/// A self-made certificate for this machine's loopback, and its key, in PEM.
fn certificate(directory: &Path) -> (PathBuf, PathBuf) {
    let path = |name: &str| directory.join(name);
    let config = "[req]\ndistinguished_name = name\nx509_extensions = extensions\nprompt = no\n\
                  [name]\nCN = localhost\n\
                  [extensions]\nsubjectAltName = IP:127.0.0.1, DNS:localhost\nbasicConstraints = critical, CA:FALSE\n";
    std::fs::write(path("openssl.cnf"), config).expect("a file");
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "2", "-config"])
        .arg(path("openssl.cnf"))
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (cert, key)
}

async fn message_is(client: &Client, id: &str, status: &str) {
    eventually(status, || async {
        let query = "query($id: ID!) { message(id: $id) { status } }";
        let data = client.ask(query, json!({ "id": id })).await;
        (data["message"]["status"] == status).then_some(())
    })
    .await;
}

async fn order(client: &Client, account: &str, template: &str, to: &str) -> String {
    let input = json!({ "accountId": account, "to": to,
                        "template": { "templateId": template, "parameters": { "body.1": "Ada" } } });
    let send =
        "mutation($input: SendMessageInput!) { sendMessage(input: $input) { message { id } } }";
    let data = client.ask(send, json!({ "input": input })).await;
    data["sendMessage"]["message"]["id"].as_str().expect("an id").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_certificate_everything_answers_and_nothing_does_in_the_clear() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(91).await;
        let (cert, key) = certificate(store.dir.path());
        let settings = vec![setting("tls.cert", cert.display()), setting("tls.key", key.display())];
        let options = BinaryOptions { settings, port: 0 };
        let pem = std::fs::read(&cert).expect("a certificate");
        let surroundings = Surroundings { certificate: Some(pem), ..Surroundings::default() };
        let gateway = Binary::start_in(&store, Some(&sandbox), &options, &surroundings).await;
        let client = &gateway.client;
        assert!(client.base.starts_with("https://"), "{}", client.base);

        // GraphQL, and Meta's webhook in both its forms.
        sandbox.provision(&Number::new(NUMBER));
        let input = json!({ "name": "Cloud", "provider": "CLOUD_API", "phoneNumberId": NUMBER, "wabaId": WABA,
                            "accessToken": Number::new(NUMBER).token, "appSecret": APP_SECRET,
                            "verifyToken": VERIFY_TOKEN, "timeZone": "Europe/London", "defaultRegion": "GB" });
        let connect = "mutation($input: ConnectAccountInput!) { connectAccount(input: $input) { account { webhookPath } } }";
        let data = client.ask(connect, json!({ "input": input })).await;
        let path = data["connectAccount"]["account"]["webhookPath"].as_str().expect("a path");
        let hook = format!("{}{path}", client.base);
        let query = [
            ("hub.mode", "subscribe"),
            ("hub.challenge", "4711"),
            ("hub.verify_token", VERIFY_TOKEN),
        ];
        let answer = client.http().get(&hook).query(&query).send().await.expect("an answer");
        assert_eq!(answer.text().await.expect("a text"), "4711");
        let value = json!({ "messaging_product": "whatsapp",
                            "metadata": { "display_phone_number": "15550100199", "phone_number_id": NUMBER },
                            "messages": [{ "from": "447700900123", "id": "wamid.tls", "timestamp": "1795305647",
                                           "type": "text", "text": { "body": "Hello" } }] });
        let entry = json!({ "id": WABA, "changes": [{ "field": "messages", "value": value }] });
        let body = json!({ "object": "whatsapp_business_account", "entry": [entry] }).to_string();
        let post = client
            .http()
            .post(&hook)
            .header("x-hub-signature-256", sign(APP_SECRET, body.as_bytes()));
        assert_eq!(post.body(body).send().await.expect("an answer").status().as_u16(), 200);
        eventually("what was written is there", || async {
            let query = "{ messages(filter: { direction: INBOUND }) { nodes { wamid } } }";
            let data = client.ask(query, json!({})).await;
            (data["messages"]["nodes"][0]["wamid"] == "wamid.tls").then_some(())
        })
        .await;
        // What the sandbox inside tells comes by the same door.
        let (account, _) = sandbox_account(client).await;
        let template = utility_template(client, &account, "orders").await;
        let message = order(client, &account, &template, "+447700900123").await;
        message_is(client, &message, "DELIVERED").await;
        // The command line goes by the socket, which needs no certificate.
        let listed = run(&store, &["keys", "list"]).await;
        // A node on PostgreSQL has its socket in a directory of its own, and then the store is opened beside it.
        assert_eq!(listed.code, Some(0), "{}", listed.err);

        // In the clear there is no answer, and who does not know the certificate does not talk.
        let plain = Client::new(client.base.replace("https://", "http://"));
        let answer = plain.http().get(format!("{}/healthz", plain.base)).send().await;
        assert!(answer.is_err(), "{answer:?}");
        let stranger = Client::new(client.base.clone());
        let answer = stranger.http().get(format!("{}/healthz", stranger.base)).send().await;
        assert!(answer.is_err(), "{answer:?}");
        gateway.terminate().await;
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn a_certificate_that_is_none_is_refused_with_its_key_in_the_configuration() {
    let store = Store::fresh(StoreKind::Sqlite).await;
    let (cert, key) = certificate(store.dir.path());
    let of_another = store.dir.path().join("another");
    std::fs::create_dir(&of_another).expect("a directory");
    let (_, another) = certificate(&of_another);
    let missing = store.dir.path().join("missing.pem");
    let empty = store.dir.path().join("empty.pem");
    std::fs::write(&empty, "").expect("a file");
    for (cert, key, says) in [
        (&missing, &key, "missing.pem"),
        (&cert, &missing, "missing.pem"),
        (&cert, &empty, "tls.key"),
        (&empty, &key, "tls.cert"),
        (&cert, &another, "tls.key"),
        (&key, &cert, "tls."),
    ] {
        let (cert, key) =
            (format!("tls.cert={}", cert.display()), format!("tls.key={}", key.display()));
        let arguments = ["serve", "--set", &cert, "--set", &key, "--set", "listen=127.0.0.1:0"];
        let refused = run(&store, &arguments).await;
        assert_eq!(refused.code, Some(1), "{cert} {key}: {}", refused.err);
        assert!(refused.err.contains(says), "{cert} {key}: {}", refused.err);
        assert!(!refused.err.contains("panicked") && !refused.err.contains("PRIVATE KEY"));
    }
}

/// The ids of the messages with an event of this type, each once, by the log itself.
async fn with_event(store: &Store, kind: &str) -> BTreeSet<String> {
    let answered = run(store, &["events", "--type", kind]).await;
    assert_eq!(answered.code, Some(0), "{}", answered.err);
    let lines = answered.lines();
    let ids: BTreeSet<String> = lines
        .iter()
        .map(|event| event["subject"].as_str().expect("a subject").to_owned())
        .collect();
    assert_eq!(ids.len(), lines.len(), "{kind} twice for one message");
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_in_mid_campaign_it_ends_what_it_began_and_goes_on_after_the_next_start() {
    const RECIPIENTS: u32 = 1_500;
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(92).await;
        let settings = vec![setting("graph.timeout_s", 10)];
        let options = BinaryOptions { settings: settings.clone(), port: 0 };
        let mut gateway = Binary::start(&store, Some(&sandbox), &options).await;
        let options = BinaryOptions { settings, port: gateway.port };
        let account = sandbox.connect(&gateway.client, NUMBER, 200).await;
        import_people(&gateway.client, RECIPIENTS, "all").await;
        let template = approved_template(&gateway.client, &account, "offers").await;
        // Many calls are always under way.
        sandbox.behave(json!({ "latencyMs": { "min": 100, "max": 900 } }));
        let campaign = launch(&gateway.client, &account, &template, "all").await;
        for so_far in [200, 600] {
            progress_when(
                &gateway.client,
                &campaign,
                Duration::from_secs(60),
                "some are sent",
                |c| count(c, "accepted") >= so_far,
            )
            .await;
            // As `ended_by` waits, it ends in bounded time; and it is an orderly end.
            assert_eq!(gateway.ended_by("TERM").await, Some(0));
            let (requested, accepted) = (
                with_event(&store, "message.send_requested").await,
                with_event(&store, "message.accepted").await,
            );
            assert!(requested.len() < RECIPIENTS as usize, "it was no longer in mid-campaign");
            // Whatever was begun was called, and its outcome is on record: nothing is in doubt.
            assert_eq!(requested, accepted);
            let calls = sandbox.sends(NUMBER);
            assert_eq!(calls.len(), requested.len());
            gateway = Binary::start(&store, Some(&sandbox), &options).await;
        }
        let done = progress_when(
            &gateway.client,
            &campaign,
            Duration::from_secs(120),
            "all are delivered",
            |c| count(c, "delivered") == u64::from(RECIPIENTS) && c["status"] == "COMPLETED",
        )
        .await;
        assert_adds_up(&done);
        // A status may overtake the answer to the call.
        eventually("every answer is on record", || async {
            let accepted = with_event(&store, "message.accepted").await;
            (accepted.len() == RECIPIENTS as usize).then_some(())
        })
        .await;
        let stats = sandbox.sandbox.stats();
        let all = u64::from(RECIPIENTS);
        assert_eq!((stats.sends, stats.counted, stats.counted_twice), (all, all, 0), "{stats:?}");
        assert_equal_to_a_rebuild(&gateway.client, &campaign).await;
        gateway.terminate().await;
        sandbox.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_master_key_is_rotated_while_nobody_serves_and_everything_goes_on() {
    for kind in stores() {
        let mut store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(93).await;
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let client = &gateway.client;
        let account = sandbox.connect(client, NUMBER, 500).await;
        import_people(client, 5, "all").await;
        let template = approved_template(client, &account, "offers").await;
        let message = order(client, &account, &template, "+447700900001").await;
        message_is(client, &message, "DELIVERED").await;

        let next = "7e".repeat(32);
        let file = store.dir.path().join("next.key");
        std::fs::write(&file, &next).expect("a file");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("a file");
        let rotate = ["keys", "master", "rotate", "--new-key-file", "next.key"];
        let refused = run(&store, &rotate).await;
        assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""), "{}", refused.err);
        let says = match kind {
            StoreKind::Sqlite | StoreKind::KurrentDb => "is in use",
            StoreKind::Postgres => "a gateway is running",
        };
        assert!(refused.err.contains(says), "{}", refused.err);
        // It goes on as before.
        let message = order(client, &account, &template, "+447700900002").await;
        message_is(client, &message, "DELIVERED").await;

        let port = gateway.port;
        gateway.terminate().await;
        let rotated = run(&store, &rotate).await;
        assert_eq!(rotated.code, Some(0), "{}", rotated.err);
        for shown in [&refused, &rotated] {
            for text in [&shown.out, &shown.err] {
                assert!(!text.contains(&next) && !text.contains(&store.master_key), "{text}");
            }
        }
        // The old one opens nothing any more, for reading either.
        let old = run(&store, &["events"]).await;
        assert_eq!(old.code, Some(1), "{}", old.err);
        assert!(old.err.contains("master key"), "{}", old.err);
        store.master_key = next;
        let again = run(&store, &rotate).await;
        assert_eq!(again.code, Some(0), "the same key again changes nothing: {}", again.err);

        let options = BinaryOptions { port, ..BinaryOptions::default() };
        let gateway = Binary::start(&store, Some(&sandbox), &options).await;
        let client = &gateway.client;
        // The token, the app's secret and every person's key were wrapped anew.
        let query = "{ contacts(filter: { phoneNumbers: [\"+447700900001\"] }) { nodes { name messages { nodes { preview } } } } }";
        let data = client.ask(query, json!({})).await;
        let person = &data["contacts"]["nodes"][0];
        assert_eq!(person["name"], "Person 1", "{person}");
        let preview = person["messages"]["nodes"][0]["preview"].as_str().unwrap_or_default();
        assert!(preview.starts_with("Hello Ada"), "{person}");
        let campaign = launch(client, &account, &template, "all").await;
        progress_when(client, &campaign, Duration::from_secs(60), "all are delivered", |c| {
            count(c, "delivered") == 5 && c["status"] == "COMPLETED"
        })
        .await;
        let personal = run(&store, &["events", "--personal", "--type", "contact.added"]).await;
        assert!(personal.out.contains("+447700900001"), "{}", personal.err);
        gateway.terminate().await;
        sandbox.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_away_in_mid_campaign_and_comes_back_costs_nobody_a_message() {
    const RECIPIENTS: u32 = 1_500;
    if !stores().contains(&StoreKind::Postgres) {
        return;
    }
    let cluster = Cluster::new();
    let url = cluster.start();
    let store = cluster.store().await;
    let sandbox = SandboxProcess::start(94).await;
    let settings = vec![setting("graph.timeout_s", 5)];
    let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions { settings, port: 0 }).await;
    let client = &gateway.client;
    let account = sandbox.connect(client, NUMBER, 150).await;
    import_people(client, RECIPIENTS, "all").await;
    let template = approved_template(client, &account, "offers").await;
    sandbox.behave(json!({ "latencyMs": { "min": 10, "max": 200 },
                           "statusDelayMs": { "min": 0, "max": 500 } }));
    let campaign = launch(client, &account, &template, "all").await;
    for so_far in [150, 500] {
        progress_when(client, &campaign, Duration::from_secs(120), "some are sent", |c| {
            count(c, "accepted") >= so_far
        })
        .await;
        cluster.stop();
        let probe = async |path: &str| {
            let answer = client.http().get(format!("{}/{path}", client.base)).send().await;
            answer.expect("the gateway answers").status().as_u16()
        };
        eventually("it says that it is not ready", || async {
            (probe("readyz").await == 503).then_some(())
        })
        .await;
        assert_eq!(probe("healthz").await, 200, "it is to be left alone, not restarted");
        // Whoever asks is told so, and nothing of the database.
        let refused = client.query("{ campaigns { nodes { id } } }", json!({})).await.unwrap_err();
        assert_eq!(refused.code, "UNAVAILABLE", "{refused:?}");
        assert!(!refused.message.contains("postgres"), "{refused:?}");
        // Nothing new is called without a word in the log before.
        let calls = sandbox.sends(NUMBER).len();
        assert!(calls < RECIPIENTS as usize, "it was no longer in mid-campaign");
        assert_eq!(cluster.start(), url, "it comes back where it was");
        eventually("it is ready again", || async { (probe("readyz").await == 200).then_some(()) })
            .await;
    }
    // Statuses that found no door come again, at most half a minute later.
    eventually_within(Duration::from_secs(120), "everybody has been called", || async {
        let called: BTreeSet<_> =
            sandbox.sends(NUMBER).into_iter().map(|call| call.callback_data).collect();
        (called.len() == RECIPIENTS as usize).then_some(())
    })
    .await;
    assert_each_got_it_once(client, &sandbox, &campaign, RECIPIENTS).await;
    assert_equal_to_a_rebuild(client, &campaign).await;
    let log = gateway.log_text();
    assert!(!log.contains("panicked"), "a worker panicked");
    let restarts: Value = json!(client.ask("{ projections { status lag } }", json!({})).await);
    assert!(
        restarts["projections"].as_array().expect("a list").iter().all(|p| p["status"] == "LIVE")
    );
    gateway.terminate().await;
    sandbox.stop().await;
}
