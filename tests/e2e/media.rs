//! Files in both directions: uploaded for sends, and fetched when people send them.

use gateway_tests::{
    Binary, BinaryOptions, Client, SandboxProcess, Store, StoreKind, eventually, files_under,
    found_in, stores,
};
use serde_json::{Value, json};

use crate::common::key_with;

const NUMBER: &str = "402000000000051";
const PERSON: &str = "447700900051";
/// Larger than a frame, so that it takes several.
const LARGE: usize = 700_000;
/// Stands in what people send, and nowhere in what the gateway keeps.
const MARK: &str = "Schachtelhalm51";

struct World {
    store: Store,
    sandbox: SandboxProcess,
    gateway: Binary,
    account: String,
}

impl World {
    async fn new(kind: StoreKind) -> Self {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(51).await;
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let account = sandbox.connect(&gateway.client, NUMBER, 500).await;
        Self { store, sandbox, gateway, account }
    }

    fn client(&self) -> &Client {
        &self.gateway.client
    }

    /// A person sends a file; answers the message's id.
    async fn sends(&self, kind: &str, mime_type: &str, bytes: &[u8]) -> String {
        let before = inbound(self.client()).await;
        self.says(kind, mime_type, bytes);
        eventually("the message is there", || async {
            let is_new = |message: &&Value| before.iter().all(|known| known["id"] != message["id"]);
            let messages = inbound(self.client()).await;
            messages.iter().find(is_new)?["id"].as_str().map(str::to_owned)
        })
        .await
    }

    fn says(&self, kind: &str, mime_type: &str, bytes: &[u8]) {
        use base64::Engine;
        let data = base64::engine::general_purpose::STANDARD.encode(bytes);
        let said = json!({
            "phoneNumberId": NUMBER, "from": PERSON, "type": kind,
            "mimeType": mime_type, "data": data,
        });
        self.sandbox.sandbox.inbound(&said).expect("a person writes");
    }

    async fn stop(self) {
        self.gateway.terminate().await;
        self.sandbox.stop().await;
    }
}

async fn inbound(client: &Client) -> Vec<Value> {
    let query = "{ messages(filter: { direction: INBOUND }, first: 50) { nodes { id content contactId } } }";
    client.ask(query, json!({})).await["messages"]["nodes"].as_array().expect("messages").clone()
}

/// What `GET /media/{id}` answers: its status, its headers and its bytes.
async fn get(client: &Client, key: &str, path: &str) -> (u16, reqwest::header::HeaderMap, Vec<u8>) {
    let url = format!("{}{path}", client.base);
    let answer = client.http().get(url).bearer_auth(key).send().await.expect("it answers");
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    (status, headers, answer.bytes().await.expect("a body").to_vec())
}

async fn fetched(client: &Client, path: &str) -> (reqwest::header::HeaderMap, Vec<u8>) {
    eventually("the medium is here", || async {
        let (status, headers, bytes) = get(client, &client.key, path).await;
        (status == 200).then_some((headers, bytes))
    })
    .await
}

fn pdf(bytes: usize) -> Vec<u8> {
    let mut file = b"%PDF-1.7\n".to_vec();
    while file.len() < bytes {
        file.extend_from_slice(MARK.as_bytes());
        file.push(b'\n');
    }
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_send_is_fetched_kept_sealed_and_goes_with_them() {
    for kind in stores() {
        let world = World::new(kind).await;
        let client = world.client();
        let file = pdf(LARGE);
        // Whatever WhatsApp says it is: a page of ours it is not.
        let document = world.sends("document", "text/html", &file).await;
        let sticker = world.sends("image", "image/png", b"<script>alert(1)</script>").await;
        let path = format!("/media/{document}");
        let shown = inbound(client).await;
        let of = |id: &str| shown.iter().find(|m| m["id"] == id).expect("the message").clone();
        assert_eq!(of(&document)["content"]["mediaUrl"], path.as_str());
        let (headers, bytes) = fetched(client, &path).await;
        assert!(bytes == file, "{} bytes of {}", bytes.len(), file.len());
        assert_eq!(headers["content-type"], "application/pdf");
        assert_eq!(headers["content-disposition"], "attachment");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        let (headers, _) = fetched(client, &format!("/media/{sticker}")).await;
        assert_eq!(headers["content-type"], "text/plain");

        // Who may not see it: without the scope, of another workspace, without a key; and what is not there.
        let reader = key_with(client, &["READ", "SEND", "MANAGE"]).await;
        assert_eq!(get(client, &reader, &path).await.0, 403);
        assert_eq!(get(client, "wgk_nobody", &path).await.0, 401);
        let stranger = stranger(client).await;
        assert_eq!(get(client, &stranger, &path).await.0, 404);
        for none in [world.account.as_str(), "x", "0190a0a0-0000-7000-8000-000000000000"] {
            assert_eq!(get(client, &client.key, &format!("/media/{none}")).await.0, 404, "{none}");
        }

        // A restart keeps it; nothing of it is on disk in the clear, and after an erasure it is gone.
        let port = world.gateway.port;
        world.gateway.kill().await;
        let options = BinaryOptions { port, ..BinaryOptions::default() };
        let gateway = Binary::start(&world.store, Some(&world.sandbox), &options).await;
        let client = &gateway.client;
        assert!(get(client, &client.key, &path).await.2 == file);
        let is_sealed = |path: &std::path::Path| path.extension().is_some_and(|e| e == "sealed");
        let kept = || files_under(world.store.dir.path()).into_iter().filter(|f| is_sealed(f));
        if kind == StoreKind::Sqlite {
            assert_eq!(kept().count(), 2);
            for file in kept() {
                let bytes = std::fs::read(file).expect("a file");
                assert!(found_in(&bytes, &[MARK]).is_empty());
            }
        }
        let contact = of(&document)["contactId"].clone();
        let erase = "mutation($id: ID!) { eraseContact(id: $id, reason: \"asked\") { position } }";
        client.ask(erase, json!({ "id": contact })).await;
        assert_eq!(get(client, &client.key, &path).await.0, 404);
        assert_eq!(kept().count(), 0);
        if kind == StoreKind::Postgres {
            assert_eq!(frames(&world.store).await, 0);
        }
        gateway.terminate().await;
        world.sandbox.stop().await;
    }
}

/// Killed while it was being fetched, and while WhatsApp did not answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_was_cut_short_is_done_again() {
    for kind in stores() {
        let world = World::new(kind).await;
        // Its answers take their time, so that there is one to be cut short.
        world.sandbox.behave(json!({ "latencyMs": { "min": 1500, "max": 1500 } }));
        let file = pdf(LARGE);
        let document = world.sends("document", "application/pdf", &file).await;
        let path = format!("/media/{document}");
        let calls = || world.sandbox.sandbox.calls(0).expect("the record").len();
        let asked = calls();
        eventually("the fetch has begun", || async { (calls() > asked).then_some(()) }).await;
        assert_eq!(get(world.client(), &world.client().key, &path).await.0, 503);
        let port = world.gateway.port;
        world.gateway.kill().await;
        world.sandbox.behave(json!({}));
        let options = BinaryOptions { port, ..BinaryOptions::default() };
        let gateway = Binary::start(&world.store, Some(&world.sandbox), &options).await;
        let (_, bytes) = fetched(&gateway.client, &path).await;
        assert!(bytes == file);
        gateway.terminate().await;
        world.sandbox.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_checked_and_can_be_sent() {
    for kind in stores() {
        let world = World::new(kind).await;
        let client = world.client();
        let file = pdf(10_000);
        let post = async |key: &str, query: &str, body: Vec<u8>| {
            let url = format!("{}/media?{query}", client.base);
            let request = client.http().post(url).bearer_auth(key).body(body);
            let answer = request.send().await.expect("the gateway answers");
            let status = answer.status().as_u16();
            (status, answer.json::<Value>().await.expect("JSON"))
        };
        let query = format!("accountId={}&fileName=offer.pdf", world.account);
        let (status, uploaded) = post(&client.key, &query, file.clone()).await;
        assert_eq!(status, 201, "{uploaded}");
        assert_eq!(
            (&uploaded["mimeType"], &uploaded["size"]),
            (&json!("application/pdf"), &json!(file.len()))
        );
        assert_eq!(uploaded["sha256"].as_str().expect("a hash").len(), 64);
        let id = uploaded["id"].as_str().expect("an id");

        // As a form, too.
        let form = reqwest::multipart::Form::new()
            .part("file", reqwest::multipart::Part::bytes(file.clone()).file_name("offer.pdf"));
        let url = format!("{}/media?accountId={}", client.base, world.account);
        let request = client.http().post(url).bearer_auth(&client.key).multipart(form);
        let answer: Value = request.send().await.expect("an answer").json().await.expect("JSON");
        assert_eq!(answer["sha256"], uploaded["sha256"], "{answer}");

        // Whoever wrote may be sent it.
        world.sends("image", "image/png", b"\x89PNG\r\n\x1a\n").await;
        let send =
            "mutation($input: SendMessageInput!) { sendMessage(input: $input) { message { id } } }";
        let media = json!({ "kind": "DOCUMENT", "mediaId": id, "filename": "offer.pdf" });
        let input =
            json!({ "accountId": world.account, "to": format!("+{PERSON}"), "media": media });
        let data = client.ask(send, json!({ "input": input })).await;
        let message = data["sendMessage"]["message"]["id"].clone();
        eventually("it is delivered", || async {
            let query = "query($id: ID!) { message(id: $id) { status } }";
            let data = client.ask(query, json!({ "id": message })).await;
            (data["message"]["status"] == "DELIVERED").then_some(())
        })
        .await;

        let reader = key_with(client, &["READ", "PERSONAL"]).await;
        assert_eq!(post(&reader, &query, file.clone()).await.0, 403);
        let png = [b"\x89PNG\r\n\x1a\n".as_slice(), &vec![0; 5 * 1024 * 1024]].concat();
        let none = "accountId=0190a0a0-0000-7000-8000-000000000000".to_owned();
        let wrong: [(&str, Vec<u8>, u16, &str); 5] = [
            (&query, vec![], 400, "file"),
            (&query, b"\x7fELF\x02\x01\x01\0\0\0".to_vec(), 400, "file"),
            (&query, png, 400, "file"),
            ("fileName=x", file.clone(), 400, "query"),
            (&none, file.clone(), 404, ""),
        ];
        for (query, body, status, field) in wrong {
            let (found, refused) = post(&client.key, query, body).await;
            assert_eq!(found, status, "{refused}");
            assert_eq!(refused["error"]["field"].as_str().unwrap_or_default(), field, "{refused}");
        }
        world.stop().await;
    }
}

/// A key of another workspace that may do everything there.
async fn stranger(client: &Client) -> String {
    let create = "mutation { createWorkspace(name: \"Another\") { workspace { id } } }";
    let workspace =
        client.ask(create, json!({})).await["createWorkspace"]["workspace"]["id"].clone();
    let input =
        json!({ "name": "stranger", "scopes": ["READ", "PERSONAL"], "workspaceIds": [workspace] });
    let key = "mutation($input: CreateApiKeyInput!) { createApiKey(input: $input) { secret } }";
    let data = client.ask(key, json!({ "input": input })).await;
    data["createApiKey"]["secret"].as_str().expect("a secret").to_owned()
}

async fn frames(store: &Store) -> i64 {
    use sqlx::Connection;
    let mut connection = sqlx::PgConnection::connect(&store.url).await.expect("PostgreSQL");
    let count = sqlx::query_scalar("SELECT count(*) FROM media_frames");
    count.fetch_one(&mut connection).await.expect("a count")
}
