//! Canaries: every secret and everything personal is marked, the whole job is done at the loudest log level, with whatever
//! can go wrong going wrong, and then the marks are looked for where they must not be. Where they must be, they are found,
//! so the search can find.

use std::sync::Mutex;
use std::time::Duration;

use gateway_tests::{
    APP_SECRET, Binary, BinaryOptions, Client, Front, Number, SandboxProcess, Store, StoreKind,
    Surroundings, Tap, VERIFY_TOKEN, eventually, found_in, run, stores,
};
use infrastructure::webhook::signature::sign;
use serde_json::{Value, json};

use crate::common::{approved_template, count, key_with, launch, progress_when, sandbox_account};

const NUMBER_ID: &str = "402000000000071";
const TOKEN: &str = "EAACANARYTOKENright00000001";
const BAD_TOKEN: &str = "EAACANARYTOKENwrong00000002";
const PIN: &str = "739182";
const MASTER_KEY: &str = "ca9a51e0ca9a51e0ca9a51e0ca9a51e0ca9a51e0ca9a51e0ca9a51e0ca9a51e0";

/// What every form of the person's number has in common: +44…, 44…, 0….
const DIGITS: &str = "7700900731";
const NUMBER: &str = "+447700900731";
const WRONG_NUMBER: &str = "+44770090073199999999";
const NAME: &str = "Wilhelmina Kolibri";
const USERNAME: &str = "kolibri.w731";
const USER_ID: &str = "GB.7204418839015526731";
const ATTRIBUTE: &str = "Paradiesvogel";
const EXTERNAL_ID: &str = "kunde-Nachtigall-1";
const TEXT: &str = "Zaunkoenig wartet";
const PARAMETER: &str = "Rotkehlchen";
const METADATA: &str = "Goldammer";
/// The integrator's own id of a message travels with its events; in the log and in URLs it has no place even so.
const MESSAGE_EXTERNAL_ID: &str = "order-Wiedehopf-1";
const WROTE: &str = "Eisvogel fragt";
const CELL: &str = "Buntspecht";

const PERSONAL: [&str; 11] = [
    DIGITS,
    NAME,
    USERNAME,
    USER_ID,
    ATTRIBUTE,
    EXTERNAL_ID,
    TEXT,
    PARAMETER,
    METADATA,
    WROTE,
    CELL,
];

/// What was answered, as it came over the wire.
#[derive(Default)]
struct Heard {
    /// All of it.
    everything: Mutex<String>,
    /// What was refused, and whatever a key without the scope PERSONAL was answered.
    impersonal: Mutex<String>,
    /// What should have been refused.
    taken: Mutex<Vec<String>>,
}

impl Heard {
    fn note(&self, what: &str, answer: &str, is_impersonal: bool) {
        let line = format!("{what}: {answer}\n");
        if is_impersonal {
            self.impersonal.lock().expect("no panic").push_str(&line);
        }
        self.everything.lock().expect("no panic").push_str(&line);
    }

    /// A GraphQL request's answer.
    async fn ask(&self, client: &Client, query: &str, variables: Value) -> Value {
        let answer = client.try_raw(query, variables).await.expect("the gateway answers");
        self.note("graphql", &answer.to_string(), !answer["errors"].is_null());
        answer
    }

    /// One that is refused with this code.
    async fn refused(&self, client: &Client, code: &str, query: &str, variables: Value) {
        let answer = self.ask(client, query, variables.clone()).await;
        if answer["errors"][0]["extensions"]["code"] != code {
            let what = format!("{code} was due: {query} {variables}: {answer}");
            self.taken.lock().expect("no panic").push(what);
        }
    }

    /// An HTTP request's answer, headers included, which tells nobody anything.
    async fn request(&self, request: reqwest::RequestBuilder) -> u16 {
        let answer = request.send().await.expect("the gateway answers");
        let status = answer.status().as_u16();
        let headers = format!("{:?}", answer.headers());
        let body = answer.text().await.expect("a body");
        self.note("http", &format!("{status} {headers} {body}"), true);
        status
    }
}

struct World {
    store: Store,
    sandbox: SandboxProcess,
    /// Which URLs of WhatsApp's are called, behind a door that can be shut.
    tap: Tap,
    door: Front,
    gateway: Binary,
    heard: Heard,
    account: String,
    contact: String,
    /// A key that sees no people.
    reader: Client,
    /// Secrets, those made on the way included.
    secrets: Vec<String>,
}

impl World {
    async fn new(kind: StoreKind) -> Self {
        let mut store = Store::fresh(kind).await;
        store.master_key = MASTER_KEY.to_owned();
        let sandbox = SandboxProcess::start(71).await;
        sandbox.behave(json!({ "readRate": 1.0 }));
        let tap = Tap::start(&sandbox.url).await;
        let door = Front::start([tap.port()]).await;
        let options = BinaryOptions {
            settings: vec![
                ("graph.base_url".to_owned(), door.url()),
                ("graph.timeout_s".to_owned(), "3".to_owned()),
            ],
            port: 0,
        };
        let loud = Surroundings {
            environment: vec![("RUST_LOG".to_owned(), "trace".to_owned())],
            certificate: None,
        };
        let gateway = Binary::start_in(&store, None, &options, &loud).await;
        let client = &gateway.client;
        let number = Number { token: TOKEN.to_owned(), ..Number::new(NUMBER_ID) };
        let account = sandbox.connect_number(client, &number).await;
        let input = json!({
            "phoneNumber": NUMBER, "name": NAME, "externalId": EXTERNAL_ID, "userId": USER_ID, "tags": ["vip"],
            "attributes": { "bird": ATTRIBUTE }, "consent": "OPTED_IN", "consentSource": "test",
        });
        let add =
            "mutation($input: AddContactInput!) { addContact(input: $input) { contact { id } } }";
        let heard = Heard::default();
        let added = heard.ask(client, add, json!({ "input": input })).await;
        let contact = text(&added["data"]["addContact"]["contact"]["id"]);
        let secret = key_with(client, &["READ"]).await;
        let reader = client.with_key(&secret);
        let secrets = [TOKEN, BAD_TOKEN, APP_SECRET, VERIFY_TOKEN, PIN, MASTER_KEY, &client.key];
        let mut secrets: Vec<String> = secrets.iter().map(|s| (*s).to_owned()).collect();
        secrets.push(secret);
        Self { store, sandbox, tap, door, gateway, heard, account, contact, reader, secrets }
    }

    fn client(&self) -> &Client {
        &self.gateway.client
    }

    async fn ask(&self, query: &str, variables: Value) -> Value {
        let answer = self.heard.ask(self.client(), query, variables).await;
        assert!(answer["errors"].is_null(), "{query}: {answer}");
        answer["data"].clone()
    }

    async fn send(&self, mut input: Value) -> String {
        input["accountId"] = json!(self.account);
        let send =
            "mutation($input: SendMessageInput!) { sendMessage(input: $input) { message { id } } }";
        let data = self.ask(send, json!({ "input": input })).await;
        text(&data["sendMessage"]["message"]["id"])
    }

    async fn message_is(&self, id: &str, statuses: &[&str]) {
        eventually("the message gets there", || async {
            let query = "query($id: ID!) { message(id: $id) { status } }";
            let answer = self.client().ask(query, json!({ "id": id })).await;
            statuses.iter().any(|status| answer["message"]["status"] == *status).then_some(())
        })
        .await;
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_and_nothing_personal_gets_where_it_must_not_be() {
    for kind in stores() {
        let mut world = World::new(kind).await;
        let template = main_job(&world).await;
        what_goes_wrong_at_whatsapp(&world, &template).await;
        the_sandbox_inside(&world).await;
        what_integrators_get_wrong(&world, &template).await;
        what_strangers_try(&world).await;
        keys_are_shown_once(&mut world).await;
        let heard_elsewhere = what_else_is_printed(&world).await;
        let World { store, sandbox, tap, gateway, heard, secrets, account, .. } = world;
        let log_file = gateway.log.clone();
        assert_eq!(gateway.ended_by("TERM").await, Some(0));
        sandbox.stop().await;

        let log = std::fs::read(&log_file).expect("a log");
        let shown = String::from_utf8_lossy(&log);
        // It was as loud as can be, ours and others.
        assert!(shown.contains("\"level\":\"TRACE\""), "the log was not at trace");
        assert!(shown.contains(&account), "the log tells nothing of the account");
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let taken = heard.taken.into_inner().expect("no panic");
        assert!(taken.is_empty(), "{}", taken.join("\n"));
        let everything = heard.everything.into_inner().expect("no panic");
        let impersonal = heard.impersonal.into_inner().expect("no panic");
        // Asking WhatsApp what a token may do takes the token as a parameter: WhatsApp has no other form for it.
        let (probes, urls): (Vec<_>, Vec<_>) = tap
            .request_lines()
            .into_iter()
            .partition(|line| line.contains("/debug_token?input_token="));
        assert!(!probes.is_empty());
        let urls = urls.join("\n");
        assert!(urls.contains("/messages"), "{urls}");
        let mut leaks = vec![];
        let mut look = |place: &str, bytes: &[u8], marks: &[&str]| {
            for mark in found_in(bytes, marks) {
                let lines = String::from_utf8_lossy(bytes).into_owned();
                let line = lines.lines().find(|line| line.contains(mark)).unwrap_or_default();
                let at = line.find(mark).unwrap_or_default();
                let from = line.floor_char_boundary(at.saturating_sub(300));
                let to = line.floor_char_boundary((at + 100).min(line.len()));
                leaks.push(format!("{place}: {mark}: …{}…", &line[from..to]));
            }
        };
        for (place, bytes) in [
            ("the log", log.as_slice()),
            ("an answer", everything.as_bytes()),
            ("a URL", urls.as_bytes()),
            ("what else is printed", heard_elsewhere.as_bytes()),
        ] {
            look(place, bytes, &secrets);
        }
        for (place, bytes) in [
            ("the log", log.as_slice()),
            ("a URL", urls.as_bytes()),
            ("a refusal or a masked answer", impersonal.as_bytes()),
            ("what else is printed", heard_elsewhere.as_bytes()),
        ] {
            look(place, bytes, &PERSONAL);
        }
        for (place, bytes) in [("the log", log.as_slice()), ("a URL", urls.as_bytes())] {
            look(place, bytes, &[MESSAGE_EXTERNAL_ID]);
        }
        assert!(leaks.is_empty(), "{kind:?}:\n{}", leaks.join("\n"));
        // The search can find: the personal values in what a key with PERSONAL was answered, the secrets in what goes to
        // WhatsApp and in the configuration that was handed over.
        for mark in PERSONAL.iter().filter(|mark| **mark != CELL) {
            assert!(everything.contains(mark), "{mark} was in no answer at all");
        }
        let to_whatsapp = tap.bytes();
        let known = [TOKEN, BAD_TOKEN, DIGITS, TEXT, PARAMETER, NAME];
        assert_eq!(found_in(&to_whatsapp, &known), known);
        drop(store);
    }
}

/// From the contact list to read messages and answers. Answers the template.
async fn main_job(world: &World) -> String {
    let client = world.client();
    // A list with a row that is none: its cells are somebody's.
    let csv = format!("phone,name,bird\n+447700900732,Somebody,wren\n{CELL},{NAME},{ATTRIBUTE}\n");
    let input =
        json!({ "csv": csv, "tags": ["vip"], "consent": "OPTED_IN", "consentSource": "test" });
    let import = "mutation($input: ImportContactsInput!) { importContacts(input: $input) { import { id } } }";
    let data = world.ask(import, json!({ "input": input })).await;
    let import = text(&data["importContacts"]["import"]["id"]);
    eventually("the import is completed", || async {
        let query = "query($id: ID!) { import(id: $id) { status rejected errors(first: 9) { row column message } } }";
        let answer = client.try_raw(query, json!({ "id": import })).await?;
        world.heard.note("import", &answer.to_string(), true);
        let import = &answer["data"]["import"];
        (import["status"] == "COMPLETED" && import["rejected"] == 1).then_some(())
    })
    .await;
    let template = approved_template(client, &world.account, "offers").await;
    let campaign = launch(client, &world.account, &template, "vip").await;
    progress_when(client, &campaign, Duration::from_secs(60), "all are read", |c| {
        count(c, "read") == 2 && c["status"] == "COMPLETED"
    })
    .await;
    let sent = world
        .send(json!({ "to": NUMBER, "externalId": MESSAGE_EXTERNAL_ID, "metadata": { "bird": METADATA },
                      "template": { "templateId": template, "parameters": { "body.1": PARAMETER } } }))
        .await;
    world.message_is(&sent, &["READ"]).await;
    for more in [json!({ "type": "text", "text": { "body": WROTE } }), document()] {
        let mut inbound = more;
        inbound["phoneNumberId"] = json!(NUMBER_ID);
        inbound["from"] = json!(&NUMBER[1..]);
        inbound["userId"] = json!(USER_ID);
        inbound["name"] = json!(NAME);
        inbound["username"] = json!(USERNAME);
        world.sandbox.sandbox.inbound(&inbound).expect("a person writes");
    }
    let wrote = "query($id: [ID!]) { messages(filter: { contactIds: $id, direction: INBOUND }) { nodes { preview } } }";
    eventually("what they wrote is there", || async {
        let data = client.ask(wrote, json!({ "id": [world.contact] })).await;
        (data["messages"]["nodes"].as_array()?.len() == 2).then_some(())
    })
    .await;
    let reply = world.send(json!({ "contactId": world.contact, "text": TEXT })).await;
    world.message_is(&reply, &["READ"]).await;
    let later = (chrono::Utc::now() + chrono::Duration::hours(20)).to_rfc3339();
    world.send(json!({ "contactId": world.contact, "text": TEXT, "sendAt": later })).await;
    template
}

fn document() -> Value {
    use base64::Engine;
    let data = base64::engine::general_purpose::STANDARD.encode(WROTE);
    json!({ "type": "document", "data": data,
            "document": { "caption": WROTE, "filename": format!("{WROTE}.pdf") } })
}

/// A token that WhatsApp does not take, errors it answers, calls without an outcome and calls that are refused.
async fn what_goes_wrong_at_whatsapp(world: &World, template: &str) {
    let client = world.client();
    let send = || json!({ "to": NUMBER, "template": { "templateId": template, "parameters": { "body.1": PARAMETER } } });
    let rotate = "mutation($input: RotateAccountCredentialsInput!) { rotateAccountCredentials(input: $input) { position } }";
    let probe = "mutation($t: String!, $s: String) { probeCredentials(accessToken: $t, appSecret: $s) { ok problems } }";
    for token in [BAD_TOKEN, TOKEN] {
        world.ask(probe, json!({ "t": token, "s": APP_SECRET })).await;
    }
    world.ask(rotate, json!({ "input": { "id": world.account, "accessToken": BAD_TOKEN } })).await;
    let held = world.send(send()).await;
    let status = "query($id: ID!) { account(id: $id) { status statusReason health { check ok detail remedy } } }";
    eventually("the account is paused", || async {
        let answer = client.try_raw(status, json!({ "id": world.account })).await?;
        world.heard.note("account", &answer.to_string(), true);
        (answer["data"]["account"]["status"] == "PAUSED").then_some(())
    })
    .await;
    world
        .ask(
            rotate,
            json!({ "input": { "id": world.account, "accessToken": TOKEN, "appSecret": APP_SECRET,
                                         "verifyToken": VERIFY_TOKEN } }),
        )
        .await;
    let resume = "mutation($id: ID!) { resumeAccount(id: $id) { account { status } } }";
    // Whatever paused it, it goes on.
    world.heard.ask(client, resume, json!({ "id": world.account })).await;
    world.message_is(&held, &["READ", "FAILED"]).await;
    for (behaviour, ends) in [
        (json!({ "errorRates": { "131051": 1.0 } }), &["FAILED"][..]),
        (json!({ "unreachable": ["+447700900739"] }), &["FAILED", "DELIVERED"]),
        (json!({ "acceptedButNoAnswer": 1.0 }), &["DELIVERED"]),
        (json!({ "http500Refused": 1.0 }), &["IN_DOUBT"]),
    ] {
        world.sandbox.behave(behaviour);
        let message = world.send(send()).await;
        world.message_is(&message, ends).await;
    }
    world.sandbox.behave(json!({}));
    world.door.shut().await;
    let message = world.send(send()).await;
    eventually("it is tried in vain", || async {
        let query =
            "query($id: ID!) { message(id: $id) { history(first: 50) { nodes { type } } } }";
        let answer = client.ask(query, json!({ "id": message })).await;
        let history = answer["message"]["history"]["nodes"].as_array()?;
        history.iter().any(|event| event["type"] == "message.send_failed").then_some(())
    })
    .await;
    world.door.reopen().await;
    world.message_is(&message, &["DELIVERED"]).await;
}

/// The sandbox inside the gateway logs where the gateway does, and knows people as WhatsApp does.
async fn the_sandbox_inside(world: &World) {
    let client = world.client();
    let (account, number_id) = sandbox_account(client).await;
    let template = approved_template(client, &account, "inside").await;
    let input = json!({ "accountId": account, "to": NUMBER, "metadata": { "bird": METADATA },
                        "template": { "templateId": template, "parameters": { "body.1": PARAMETER } } });
    let send =
        "mutation($input: SendMessageInput!) { sendMessage(input: $input) { message { id } } }";
    let data = world.ask(send, json!({ "input": input })).await;
    let message = text(&data["sendMessage"]["message"]["id"]);
    world.message_is(&message, &["DELIVERED"]).await;
    let says = json!({ "phoneNumberId": number_id, "from": &NUMBER[1..], "userId": USER_ID, "type": "text",
                       "name": NAME, "username": USERNAME, "text": { "body": WROTE } });
    let controls = |path: &str| format!("{}/_sandbox/{path}", client.base);
    let post = client.http().post(controls("inbound")).bearer_auth(&client.key).json(&says);
    assert_eq!(world.heard.request(post).await / 100, 2);
    let wrong = json!({ "phoneNumberId": number_id, "from": NAME, "type": WROTE });
    let post = client.http().post(controls("inbound")).bearer_auth(&client.key).json(&wrong);
    assert_eq!(world.heard.request(post).await / 100, 4);
    let heard = "query($ids: [ID!]) { messages(filter: { accountIds: $ids, direction: INBOUND }) { nodes { id } } }";
    eventually("what they wrote is there", || async {
        let data = client.ask(heard, json!({ "ids": [account] })).await;
        data["messages"]["nodes"].get(0).map(drop)
    })
    .await;
}

/// Inputs with somebody's data in the wrong place.
async fn what_integrators_get_wrong(world: &World, template: &str) {
    let client = world.client();
    let add = "mutation($input: AddContactInput!) { addContact(input: $input) { contact { id } } }";
    let send =
        "mutation($input: SendMessageInput!) { sendMessage(input: $input) { message { id } } }";
    let update =
        "mutation($input: UpdateContactInput!) { updateContact(input: $input) { position } }";
    let invalid = "VALIDATION_FAILED";
    for input in [
        json!({ "phoneNumber": WRONG_NUMBER, "name": NAME }),
        json!({ "phoneNumber": NAME }),
        json!({ "phoneNumber": 7_700_900_731_u64 }),
        json!({ "phoneNumber": { "number": NUMBER } }),
        json!({ "userId": format!("{NAME} {NAME}"), "name": NAME }),
        json!({ "phoneNumber": "+447700900733", "name": NAME.repeat(1_000) }),
        json!({ "phoneNumber": "+447700900733", "attributes": ATTRIBUTE }),
        json!({ "phoneNumber": "+447700900733", "attributes": { "x": ATTRIBUTE.repeat(10_000) } }),
        json!({ "phoneNumber": "+447700900733", "timeZone": ATTRIBUTE }),
        json!({ "phoneNumber": "+447700900733", "language": NAME.repeat(9) }),
        json!({ "phoneNumber": "+447700900733", "consent": ATTRIBUTE }),
        json!({ "phoneNumber": "+447700900733", "name": [NAME] }),
        json!({ "phoneNumber": "+447700900733", "nickname": NAME }),
        json!({ "name": NAME }),
    ] {
        world.heard.refused(client, invalid, add, json!({ "input": input })).await;
    }
    // The number, and the id, are somebody's already.
    for input in [
        json!({ "phoneNumber": NUMBER, "name": NAME }),
        json!({ "phoneNumber": "+447700900734", "externalId": EXTERNAL_ID }),
    ] {
        world.heard.refused(client, "CONFLICT", add, json!({ "input": input })).await;
    }
    for input in [
        json!({ "id": world.contact, "name": { "first": NAME } }),
        json!({ "id": world.contact, "addTags": [format!("{NAME}\u{7}")] }),
        json!({ "id": world.contact, "timeZone": ATTRIBUTE }),
    ] {
        world.heard.refused(client, invalid, update, json!({ "input": input })).await;
    }
    for more in [
        json!({ "to": WRONG_NUMBER, "text": TEXT }),
        json!({ "to": NUMBER, "text": TEXT.repeat(1_000) }),
        json!({ "to": NUMBER, "text": TEXT, "location": { "latitude": TEXT } }),
        json!({ "to": NUMBER, "location": { "latitude": TEXT } }),
        json!({ "to": NUMBER, "contacts": [{ "name": { "formatted_name": [NAME] } }] }),
        json!({ "to": NUMBER, "interactive": { "type": TEXT, "body": { "text": TEXT } } }),
        json!({ "to": NUMBER, "text": TEXT, "metadata": METADATA }),
        json!({ "to": NUMBER, "text": TEXT, "metadata": { "x": METADATA.repeat(1_000) } }),
        json!({ "to": NUMBER, "text": TEXT, "sendAt": TEXT }),
        json!({ "to": NUMBER, "userId": USER_ID, "text": TEXT }),
        json!({ "to": NUMBER, "text": TEXT, "replyTo": NAME.repeat(200) }),
        json!({ "to": NUMBER, "template": { "templateId": template, "parameters": { "body.1": [PARAMETER] } } }),
        json!({ "to": NUMBER, "template": { "templateId": template, "parameters": { "body.1": PARAMETER, "body.2": PARAMETER } } }),
        json!({ "to": NUMBER, "template": { "templateId": template, "parameters": PARAMETER } }),
        json!({ "to": NUMBER, "media": { "kind": "IMAGE", "link": format!("ftp://{ATTRIBUTE}") } }),
    ] {
        let mut input = more;
        input["accountId"] = json!(world.account);
        world.heard.refused(client, invalid, send, json!({ "input": input })).await;
        let many = "mutation($inputs: [SendMessageInput!]!) { sendMessages(inputs: $inputs) { error { code message field } } }";
        let answer = client.try_raw(many, json!({ "inputs": [input] })).await.expect("an answer");
        world.heard.note("sendMessages", &answer.to_string(), true);
    }
    // In the text of the request itself.
    for query in [
        format!(
            "{{ contacts(filter: {{ search: \"{NAME}\", colour: \"{ATTRIBUTE}\" }}) {{ nodes {{ id }} }} }}"
        ),
        format!(
            "{{ contacts(filter: {{ phoneNumbers: [\"{NUMBER}\", \"{WRONG_NUMBER}\"] }}) {{ nodes {{ id }} }} }}"
        ),
        format!("{{ contact(id: \"{NUMBER}\" {{ id }} }}"),
        format!(
            "mutation {{ addContact(input: {{ phoneNumber: \"{NUMBER}\", name: {{ a: \"{NAME}\" }} }}) {{ contact {{ id }} }} }}"
        ),
        format!("{{ contacts(first: \"{NAME}\") {{ nodes {{ id }} }} }}"),
        format!("{{ contacts(after: \"{NAME}\") {{ nodes {{ id }} }} }}"),
    ] {
        let answer = world.heard.ask(client, &query, json!({})).await;
        assert!(!answer["errors"].is_null(), "{query}: {answer}");
    }
    for (query, id) in [
        ("query($id: ID!) { contact(id: $id) { id } }", NUMBER),
        ("query($id: ID!) { message(id: $id) { id } }", NAME),
        ("query($id: ID!) { campaign(id: $id) { id } }", ATTRIBUTE),
        ("mutation($id: ID!) { cancelMessage(id: $id, reason: \"x\") { position } }", NAME),
        ("mutation($id: ID!) { eraseContact(id: $id, reason: \"x\") { position } }", NUMBER),
    ] {
        world.heard.refused(client, "NOT_FOUND", query, json!({ "id": id })).await;
    }
    let by_wamid = "query($id: String!) { messageByWamid(wamid: $id) { id } }";
    world.heard.ask(client, by_wamid, json!({ "id": format!("wamid.{NAME}") })).await;
    // A key that may not see people is told nothing by what it asks for.
    for query in [
        format!("{{ contacts(filter: {{ search: \"{NAME}\" }}) {{ nodes {{ id name }} }} }}"),
        format!("{{ contactByExternalId(externalId: \"{EXTERNAL_ID}\") {{ id }} }}"),
    ] {
        world.heard.refused(&world.reader, "FORBIDDEN", &query, json!({})).await;
    }
    let masked = "query($id: ID!) { contact(id: $id) { phoneNumber userId username name externalId attributes consent { source } \
                  messages(first: 50) { nodes { to from wamid preview content metadata history(first: 50) { nodes { type data } } } } \
                  history(first: 50) { nodes { type data } } } }";
    let answer = world.reader.try_raw(masked, json!({ "id": world.contact })).await.expect("JSON");
    assert!(answer["errors"].is_null(), "{answer}");
    world.heard.note("masked", &answer.to_string(), true);
    let open = masked.replace("preview", "externalId preview");
    world.ask(&open, json!({ "id": world.contact })).await;
}

/// Whoever finds the gateway's address.
async fn what_strangers_try(world: &World) {
    let (client, heard) = (world.client(), &world.heard);
    let (http, base) = (client.http(), &client.base);
    let hook = format!("{base}/webhooks/whatsapp/{}", world.account);
    for body in broken_webhooks() {
        let signed = http.post(&hook).header("x-hub-signature-256", sign(APP_SECRET, &body));
        assert_eq!(heard.request(signed.body(body.clone())).await, 200);
        let forged = http.post(&hook).header("x-hub-signature-256", sign("another", &body));
        assert_eq!(heard.request(forged.body(body)).await, 401);
    }
    let verification = |token: &str| {
        let query =
            [("hub.mode", "subscribe"), ("hub.challenge", "1"), ("hub.verify_token", token)];
        http.get(&hook).query(&query)
    };
    assert_eq!(heard.request(verification(VERIFY_TOKEN)).await, 200);
    assert_eq!(heard.request(verification(BAD_TOKEN)).await, 401);
    for request in [
        http.get(format!("{base}/contacts/{NUMBER}?name={NAME}")),
        http.post(format!("{base}/webhooks/whatsapp/{DIGITS}")).body(TEXT),
        http.post(format!("{base}/graphql")).body(TEXT),
        http.post(format!("{base}/graphql")).bearer_auth(BAD_TOKEN).body(TEXT),
        http.post(format!("{base}/graphql"))
            .bearer_auth(&client.key)
            .header("content-type", "application/json")
            .body(format!("{{\"query\": \"{{ viewer {{ id }} }}\", \"variables\": {NAME}}}")),
        http.post(format!("{base}/graphql"))
            .bearer_auth(&client.key)
            .header("content-type", "application/json")
            .body(format!("[\"{NAME}\"]")),
        http.post(format!("{base}/imports?tags={ATTRIBUTE}&colour={NAME}"))
            .bearer_auth(&client.key)
            .header("content-type", "text/csv")
            .body(format!("{NAME}\n")),
        http.post(format!("{base}/imports"))
            .bearer_auth(&client.key)
            .header("content-type", "text/csv")
            .body(format!("phone,phone\n{NUMBER},{NAME}\n")),
    ] {
        heard.request(request).await;
    }
    // What was signed and broken is interpreted, and costs nothing.
    let whole = json!({ "phoneNumberId": NUMBER_ID, "from": "447700900738", "type": "text", "text": { "body": "whole" } });
    world.sandbox.sandbox.inbound(&whole).expect("a person writes");
    eventually("the next message comes through", || async {
        let query = "{ contacts(filter: { phoneNumbers: [\"+447700900738\"] }) { nodes { id } } }";
        let data = client.ask(query, json!({})).await;
        data["contacts"]["nodes"].get(0).map(drop)
    })
    .await;
}

/// Signed by WhatsApp, and of no shape that is known.
fn broken_webhooks() -> Vec<Vec<u8>> {
    let number = &NUMBER[1..];
    let change = |field: &str, more: Value| {
        let mut value = json!({ "messaging_product": "whatsapp",
                                "metadata": { "display_phone_number": "15550100199", "phone_number_id": NUMBER_ID } });
        for (name, part) in more.as_object().expect("an object") {
            value[name] = part.clone();
        }
        let entry =
            json!({ "id": gateway_tests::WABA, "changes": [{ "field": field, "value": value }] });
        json!({ "object": "whatsapp_business_account", "entry": [entry] }).to_string().into_bytes()
    };
    vec![
        format!("{{\"object\": \"whatsapp_business_account\", \"entry\": [{{ \"{NAME}")
            .into_bytes(),
        json!({ "object": NAME, "entry": [NUMBER] }).to_string().into_bytes(),
        json!({ "object": "whatsapp_business_account", "entry": NAME }).to_string().into_bytes(),
        change(
            "messages",
            json!({ "messages": [{ "from": { "number": number }, "id": [WROTE], "text": WROTE }] }),
        ),
        change(
            "messages",
            json!({ "messages": [{ "from": number, "id": "wamid.canary1", "timestamp": WROTE, "type": "text", "text": { "body": WROTE } }] }),
        ),
        change(
            "messages",
            json!({ "messages": [{ "from": NAME, "id": "wamid.canary2", "timestamp": "1795305647", "type": "text", "text": { "body": WROTE } }] }),
        ),
        change(
            "messages",
            json!({ "messages": [{ "from": number, "id": "wamid.canary3", "timestamp": "1795305647", "type": "hologram", "hologram": { "body": WROTE } }] }),
        ),
        change(
            "messages",
            json!({ "contacts": [{ "profile": NAME, "wa_id": [number] }], "messages": NAME }),
        ),
        change(
            "messages",
            json!({ "statuses": [{ "id": "wamid.canary4", "status": WROTE, "recipient_id": number, "timestamp": "x" }] }),
        ),
        change(
            "messages",
            json!({ "statuses": [{ "id": "wamid.canary5", "status": "delivered", "recipient_id": number, "timestamp": "1795305647" }] }),
        ),
        change("messages", json!({ "errors": [{ "code": NAME, "title": WROTE }] })),
        change(
            "user_id_update",
            json!({ "user_id_update": [{ "wa_id": number, "detail": NAME, "user_id": { "previous": [USER_ID], "current": 1 } }] }),
        ),
        change(ATTRIBUTE, json!({ ATTRIBUTE: NAME, "wa_id": number })),
    ]
}

/// The one answer that shows a secret is the first of `createApiKey`.
async fn keys_are_shown_once(world: &mut World) {
    let create = "mutation($input: CreateApiKeyInput!) { createApiKey(input: $input) { secret apiKey { id name } } }";
    let input =
        json!({ "name": "shop", "scopes": ["READ", "SEND"], "idempotencyKey": "canary-key" });
    let client = world.client().clone();
    let first = client.ask(create, json!({ "input": input })).await;
    let secret = text(&first["createApiKey"]["secret"]);
    world.secrets.push(secret.clone());
    world.heard.ask(&client, create, json!({ "input": input })).await;
    let keys = "{ apiKeys { nodes { id name scopes lastUsedAt } } viewer { id name scopes } }";
    world.ask(keys, json!({})).await;
    let used = client.with_key(&secret);
    world.heard.ask(&used, "{ viewer { id name } }", json!({})).await;
    world.heard.refused(&used, "FORBIDDEN", create, json!({ "input": input })).await;
    world
        .heard
        .refused(
            &client.with_key(&format!("{secret}x")),
            "UNAUTHENTICATED",
            "{ viewer { id } }",
            json!({}),
        )
        .await;
}

/// Metrics, the configuration, the events, and what the command line says. Answers all that holds nothing personal.
async fn what_else_is_printed(world: &World) -> String {
    let client = world.client();
    let mut printed = String::new();
    for path in ["metrics", "healthz", "readyz"] {
        let answer = client.http().get(format!("{}/{path}", client.base)).send().await;
        printed.push_str(&answer.expect("an answer").text().await.expect("a body"));
    }
    assert!(printed.contains("gateway_sends_total"), "{printed}");
    for arguments in [&["config", "check"][..], &["keys", "list"], &["events"]] {
        let answered = run(&world.store, arguments).await;
        assert_eq!(answered.code, Some(0), "{arguments:?}: {}", answered.err);
        assert!(!answered.out.is_empty(), "{arguments:?}");
        printed.push_str(&answered.out);
        printed.push_str(&answered.err);
    }
    // Whoever may see everything sees people, and no secret.
    let answered = run(&world.store, &["events", "--personal"]).await;
    world.heard.note("events --personal", &answered.out, false);
    let history = run(&world.store, &["history", "account", &world.account, "--json"]).await;
    world.heard.note("history account", &history.out, true);
    let mut after = Value::Null;
    loop {
        let query = "query($after: Position) { events(first: 500, after: $after) { nodes { type data actor { kind id name } externalId } \
                     pageInfo { endCursor hasNextPage } } }";
        let data = world.ask(query, json!({ "after": after })).await;
        if data["events"]["pageInfo"]["hasNextPage"] != true {
            break;
        }
        after = data["events"]["pageInfo"]["endCursor"].clone();
    }
    printed
}
