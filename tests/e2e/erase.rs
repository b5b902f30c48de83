//! Erasing a person: before, the log holds nothing of them in the clear; after, nothing that the gateway keeps does.

use std::time::Duration;

use gateway_tests::{
    Binary, BinaryOptions, Client, SandboxProcess, Store, StoreKind, eventually, stores,
};
use serde_json::{Value, json};

use crate::common::{approved_template, assert_adds_up, count, import_csv, launch, progress_when};

const CONTACT: &str = "query($id: ID!) { contact(id: $id) { id erased phoneNumber userId username name language attributes \
                       identities { userId } consent { status } history(first: 100) { nodes { type data } } \
                       messages(first: 50) { nodes { id status wamid to from content preview metadata } } } }";
const ERASE: &str = "mutation($id: ID!) { eraseContact(id: $id, reason: \"asked by letter\") { contact { erased } } }";

/// A person whose every trait can be told from anything else.
struct Marked {
    number: String,
    user_id: String,
    name: String,
    username: String,
    city: String,
    says: String,
    told: String,
    later: String,
    note: String,
}

impl Marked {
    fn new(index: u32) -> Self {
        Self {
            number: format!("4477009005{index:02}"),
            user_id: format!("GB.72044188390155266{index:02}"),
            name: format!("Wilhelmina Ravensbourne{index:02}"),
            username: format!("ravens.w{index:02}x"),
            city: format!("Quastenflosser{index:02}"),
            says: format!("Muschelkalk{index:02}"),
            told: format!("Pfingstrose{index:02}"),
            later: format!("Edelweiss{index:02}"),
            note: format!("Kornblume{index:02}"),
        }
    }

    fn traits(&self) -> Vec<&str> {
        vec![
            &self.number,
            &self.user_id,
            &self.name,
            &self.username,
            &self.city,
            &self.says,
            &self.told,
            &self.later,
            &self.note,
        ]
    }
}

/// Where WhatsApp's part is played, and how people there are told what to do.
enum Side<'a> {
    /// By the sandbox that `serve` runs for SANDBOX accounts: its files lie beside the database.
    BuiltIn,
    /// By one outside, for a CLOUD_API account.
    Outside(&'a SandboxProcess),
}

impl Side<'_> {
    async fn connect(&self, client: &Client) -> (String, String) {
        match self {
            Self::Outside(sandbox) => {
                let number = "402000000000021".to_owned();
                (sandbox.connect(client, &number, 500).await, number)
            }
            Self::BuiltIn => {
                let input = json!({ "name": "Built in", "provider": "SANDBOX", "timeZone": "Europe/London",
                                    "defaultRegion": "GB", "messagesPerSecond": 500 });
                let data = client
                    .ask("mutation($input: ConnectAccountInput!) { connectAccount(input: $input) { account { id phoneNumberId } } }", json!({ "input": input }))
                    .await;
                let account = &data["connectAccount"]["account"];
                let text = |key: &str| account[key].as_str().expect("text").to_owned();
                (text("id"), text("phoneNumberId"))
            }
        }
    }

    async fn behave(&self, client: &Client, behaviour: Value) {
        match self {
            Self::Outside(sandbox) => sandbox.behave(behaviour),
            Self::BuiltIn => control(client, "PUT", "behaviour", &behaviour).await,
        }
    }

    async fn says(&self, client: &Client, said: &Value) {
        match self {
            Self::Outside(sandbox) => {
                sandbox.sandbox.inbound(said).expect("a person writes");
            }
            Self::BuiltIn => control(client, "POST", "inbound", said).await,
        }
    }
}

async fn control(client: &Client, method: &str, path: &str, body: &Value) {
    let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
    // The number is there once the gateway's onboarding has told the sandbox.
    eventually("the sandbox does it", || async {
        let request =
            client.http().request(method.clone(), format!("{}/_sandbox/{path}", client.base));
        let answer = request.bearer_auth(&client.key).json(body).send().await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
}

async fn contact_of(client: &Client, number: &str) -> String {
    eventually("the person is known", || async {
        let query =
            "query($n: [PhoneNumber!]) { contacts(filter: { phoneNumbers: $n }) { nodes { id } } }";
        let data = client.ask(query, json!({ "n": [format!("+{number}")] })).await;
        data["contacts"]["nodes"][0]["id"].as_str().map(str::to_owned)
    })
    .await
}

/// Waits until the contact's list of messages holds as many with this property.
async fn messages_when(
    client: &Client,
    id: &str,
    what: &str,
    done: impl Fn(&[Value]) -> bool,
) -> Vec<Value> {
    eventually(what, || async {
        let data = client.ask(CONTACT, json!({ "id": id })).await;
        let messages = data["contact"]["messages"]["nodes"].as_array()?.clone();
        done(&messages).then_some(messages)
    })
    .await
}

/// The person writes, with everything that WhatsApp tells about them, is answered, and is to be written to tomorrow.
/// Answers the messages.
async fn converse(
    client: &Client,
    side: &Side<'_>,
    account: &str,
    number_id: &str,
    person: &Marked,
    contact: &str,
) -> Vec<Value> {
    let body = |kind: &str| {
        json!({ "phoneNumberId": number_id, "from": person.number, "userId": person.user_id, "type": kind,
                                    "name": person.name, "username": person.username })
    };
    let mut text = body("text");
    text["text"] = json!({ "body": format!("{} is lovely", person.says) });
    side.says(client, &text).await;
    let mut document = body("document");
    document["document"] =
        json!({ "caption": person.says, "filename": format!("{}.pdf", person.says) });
    document["data"] = json!(base64_of(&person.says));
    side.says(client, &document).await;
    messages_when(client, contact, "they are heard", |m| {
        m.iter().filter(|m| m["from"].as_str() == Some(&format!("+{}", person.number))).count() == 2
    })
    .await;
    let send = "mutation($input: SendMessageInput!) { sendMessage(input: $input) { message { id status } } }";
    let reply = json!({ "accountId": account, "to": format!("+{}", person.number), "text": person.told,
                        "metadata": { "note": person.note }, "idempotencyKey": format!("key-{}", person.number) });
    client.ask(send, json!({ "input": reply })).await;
    let tomorrow = chrono::Utc::now() + chrono::Duration::hours(24);
    let later = json!({ "accountId": account, "contactId": contact, "text": person.later, "sendAt": tomorrow.to_rfc3339() });
    client.ask(send, json!({ "input": later })).await;
    messages_when(client, contact, "the answer is read", |m| {
        m.iter().any(|m| m["preview"].as_str() == Some(&person.told) && m["status"] == "READ")
            && m.iter().any(|m| m["status"] == "SCHEDULED")
    })
    .await
}

fn base64_of(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

async fn erase(client: &Client, id: &str) {
    eventually("the person is erased", || async {
        match client.query(ERASE, json!({ "id": id })).await {
            Ok(_) => Some(()),
            // The log has done it, and copies are still being cleaned.
            Err(error) => {
                assert_eq!(error.code, "UNAVAILABLE", "{error:?}");
                None
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_person_is_nowhere_and_everything_still_folds() {
    for kind in stores() {
        erased_everywhere(kind, Side::BuiltIn).await;
        let sandbox = SandboxProcess::start(21).await;
        erased_everywhere(kind, Side::Outside(&sandbox)).await;
        sandbox.stop().await;
    }
}

async fn erased_everywhere(kind: StoreKind, side: Side<'_>) {
    let store = Store::fresh(kind).await;
    let outside = match side {
        Side::Outside(sandbox) => Some(sandbox),
        Side::BuiltIn => None,
    };
    let gateway = Binary::start(&store, outside, &BinaryOptions::default()).await;
    let client = &gateway.client;
    let (account, number_id) = side.connect(client).await;
    side.behave(client, json!({ "readRate": 1.0 })).await;
    let (person, other) = (Marked::new(1), Marked::new(2));
    let csv = format!(
        "phone,name,city\n+{},{},{}\n+{},{},{}\n+447700900599,Somebody,London\n",
        person.number, person.name, person.city, other.number, other.name, other.city
    );
    import_csv(client, &csv, "all").await;
    let template = approved_template(client, &account, "offers").await;
    let campaign = launch(client, &account, &template, "all").await;
    let before = progress_when(client, &campaign, Duration::from_secs(60), "all are read", |c| {
        count(c, "read") == 3 && c["status"] == "COMPLETED"
    })
    .await;
    let contact = contact_of(client, &person.number).await;
    let messages = converse(client, &side, &account, &number_id, &person, &contact).await;
    let other_contact = contact_of(client, &other.number).await;
    converse(client, &side, &account, &number_id, &other, &other_contact).await;
    let mut stop = json!({ "phoneNumberId": number_id, "from": person.number, "type": "text" });
    stop["text"] = json!({ "body": "STOP" });
    side.says(client, &stop).await;
    eventually("the opt-out is on record", || async {
        let data = client.ask(CONTACT, json!({ "id": contact })).await;
        (data["contact"]["consent"]["status"] == "OPTED_OUT").then_some(())
    })
    .await;

    let wamids: Vec<&str> = messages.iter().filter_map(|m| m["wamid"].as_str()).collect();
    assert!(wamids.len() >= 4, "{messages:?}");
    let mut marks = person.traits();
    marks.extend(&wamids);
    // In the read models they are found, so the search below can find something; in the log they are not.
    let known = store.marks_anywhere(&marks).await;
    for mark in &marks {
        assert!(known.iter().any(|found| found.ends_with(mark)), "{mark} is nowhere: {known:?}");
    }
    assert_eq!(store.marks_in_log(&marks).await, Vec::<String>::new());
    assert_eq!(store.marks_in_log(&other.traits()).await, Vec::<String>::new());

    let progress = "query($id: ID!) { campaign(id: $id) { status progress { recipients accepted sent delivered read replied clicked failed skipped } } }";
    let counts = client.ask(progress, json!({ "id": campaign })).await;
    erase(client, &contact).await;
    assert_eq!(store.marks_anywhere(&marks).await, Vec::<String>::new());
    // The other person is still there: nothing was thrown away with the bath water.
    let others = store.marks_anywhere(&other.traits()).await;
    for mark in other.traits() {
        assert!(others.iter().any(|found| found.ends_with(mark)), "{mark}");
    }

    // GraphQL shows that there was somebody, and every history folds.
    let data = client.ask(CONTACT, json!({ "id": contact })).await;
    let erased = &data["contact"];
    assert_eq!(erased["erased"], true);
    for key in ["phoneNumber", "userId", "username", "name"] {
        assert_eq!(erased[key], Value::Null, "{key}");
    }
    let types: Vec<&str> = erased["history"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        (types.first(), types.last()),
        (Some(&"contact.added"), Some(&"contact.erased")),
        "{types:?}"
    );
    for message in &messages {
        let query = "query($id: ID!) { message(id: $id) { id status to from wamid preview content history(first: 50) { nodes { type data } } } }";
        let data = client.ask(query, json!({ "id": message["id"] })).await;
        let now = &data["message"];
        assert!(now["history"]["nodes"].as_array().is_some_and(|h| !h.is_empty()), "{now}");
        if message["status"] == "SCHEDULED" {
            assert!(
                ["SKIPPED", "CANCELLED", "SCHEDULED"].iter().any(|s| now["status"] == *s),
                "{now}"
            );
        } else {
            assert_eq!(now["status"], message["status"]);
        }
        assert_eq!(gateway_tests::found_in(now.to_string().as_bytes(), &marks), Vec::<&str>::new());
    }
    assert_eq!(client.ask(progress, json!({ "id": campaign })).await, counts);
    let events = client
        .ask("{ events(first: 500) { nodes { type data } pageInfo { hasNextPage } } }", json!({}))
        .await;
    assert_eq!(events["events"]["pageInfo"]["hasNextPage"], false);
    assert_eq!(gateway_tests::found_in(events.to_string().as_bytes(), &marks), Vec::<&str>::new());

    // A restart changes nothing, and a list that still has them does not undo their stop.
    let port = gateway.port;
    gateway.terminate().await;
    let gateway =
        Binary::start(&store, outside, &BinaryOptions { port, ..BinaryOptions::default() }).await;
    let client = &gateway.client;
    assert_eq!(store.marks_anywhere(&marks).await, Vec::<String>::new());
    let again = client.ask(crate::common::PROGRESS, json!({ "id": campaign })).await;
    assert_eq!(again["campaign"]["progress"], before["progress"]);
    assert_adds_up(&again["campaign"]);
    import_csv(client, &csv, "again").await;
    let back = contact_of(client, &person.number).await;
    assert_ne!(back, contact);
    let data = client.ask(CONTACT, json!({ "id": back })).await;
    assert_eq!(data["contact"]["consent"]["status"], "OPTED_OUT");
    let second = launch(client, &account, &template, "again").await;
    let second =
        progress_when(client, &second, Duration::from_secs(60), "the others get it", |c| {
            c["status"] == "COMPLETED" && count(c, "delivered") == 2
        })
        .await;
    assert_eq!(second["progress"]["skips"], json!([{ "reason": "OPTED_OUT", "count": 1 }]));
    gateway.terminate().await;
}

/// From the moment of the call to after its end, on this machine.
const KILLED_AFTER_MS: [u64; 8] = [0, 3, 8, 15, 25, 40, 70, 120];

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_cut_short_at_any_moment_ends_after_the_restart() {
    for kind in stores() {
        cut_short(kind).await;
    }
}

async fn cut_short(kind: StoreKind) {
    let store = Store::fresh(kind).await;
    let side = Side::BuiltIn;
    let mut gateway = Binary::start(&store, None, &BinaryOptions::default()).await;
    let port = gateway.port;
    let (account, number_id) = side.connect(&gateway.client).await;
    side.behave(&gateway.client, json!({ "readRate": 1.0 })).await;
    let people: Vec<Marked> = (10..).take(KILLED_AFTER_MS.len()).map(Marked::new).collect();
    let mut csv = "phone,name,city\n".to_owned();
    for person in &people {
        csv.push_str(&format!("+{},{},{}\n", person.number, person.name, person.city));
    }
    import_csv(&gateway.client, &csv, "all").await;
    let (mut recorded, mut answered) = (0, 0);
    for (person, after) in people.iter().zip(KILLED_AFTER_MS) {
        let contact = contact_of(&gateway.client, &person.number).await;
        let messages =
            converse(&gateway.client, &side, &account, &number_id, person, &contact).await;
        let wamids: Vec<&str> = messages.iter().filter_map(|m| m["wamid"].as_str()).collect();
        let mut marks = person.traits();
        marks.extend(wamids);
        let (client, id) = (gateway.client.clone(), contact.clone());
        let call = tokio::spawn(async move { client.try_raw(ERASE, json!({ "id": id })).await });
        tokio::time::sleep(Duration::from_millis(after)).await;
        gateway.kill().await;
        let was_answered = call.await.expect("no panic").is_some_and(|a| a["errors"].is_null());
        gateway =
            Binary::start(&store, None, &BinaryOptions { port, ..BinaryOptions::default() }).await;
        let client = &gateway.client;
        let data = client.ask(CONTACT, json!({ "id": contact })).await;
        if data["contact"]["erased"] == true {
            recorded += 1;
            // Nobody asks for it again.
            let left = std::sync::Mutex::new(Vec::new());
            let ended = eventually("what was begun is ended", || async {
                *left.lock().expect("no panic") = store.marks_anywhere(&marks).await;
                left.lock().expect("no panic").is_empty().then_some(())
            });
            tokio::select! {
                () = ended => {}
                () = tokio::time::sleep(gateway_tests::PATIENCE - Duration::from_secs(1)) => {
                    panic!("killed after {after} ms, this is left: {:?}", left.lock().expect("no panic"))
                }
            }
        } else {
            assert!(!was_answered, "answered, and not on record");
            erase(client, &contact).await;
        }
        answered += u32::from(was_answered);
        assert_eq!(store.marks_anywhere(&marks).await, Vec::<String>::new());
    }
    eprintln!(
        "{kind:?}: of {} erasures {recorded} were on record when killed, {answered} answered",
        people.len()
    );
    gateway.terminate().await;
}
