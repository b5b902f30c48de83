//! The inbox: people write, people answer. What a phone would have shown is by the sandbox's own record.

use std::time::Duration;

use gateway_tests::{
    Binary, BinaryOptions, Client, SandboxProcess, Script, Store, StoreKind, eventually, stores,
};
use serde_json::{Value, json};

use crate::common::{
    approved_template, count, import_people, launch, progress_when, quiet, utility_template,
};

const NUMBER: &str = "402000000000061";
const LIST: &str = "query($filter: ConversationFilter, $first: Int, $after: String, $minPosition: Position) { \
    conversations(filter: $filter, first: $first, after: $after, minPosition: $minPosition) { totalCount \
    pageInfo { hasNextPage endCursor } nodes { id workspaceId accountId handling assignedTo windowExpiresAt unread \
    lastActivityAt openedAt contact { id phoneNumber name } lastMessage { id preview direction status } } } }";
const ONE: &str = "query($id: ID!) { conversation(id: $id) { id unread windowExpiresAt handling assignedTo \
    contact { id phoneNumber erased } lastMessage { id preview } messages(last: 50) { totalCount nodes { id direction \
    status skipReason preview createdAt campaignId conversationId } } history(first: 100) { nodes { type data actor { kind } } } } }";
const REPLY: &str = "mutation($input: ReplyInput!) { replyToConversation(input: $input) { message { id status skipReason \
    conversationId } position } }";
const READ: &str = "mutation($id: ID!, $upTo: ID, $showReceipt: Boolean) { markConversationRead(id: $id, upTo: $upTo, \
    showReceipt: $showReceipt) { conversation { id unread } position } }";

struct World {
    store: Store,
    sandbox: SandboxProcess,
    gateway: Binary,
    account: String,
}

impl World {
    async fn new(kind: StoreKind, seed: u64) -> Self {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(seed).await;
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let account = sandbox.connect(&gateway.client, NUMBER, 500).await;
        Self { store, sandbox, gateway, account }
    }

    fn client(&self) -> &Client {
        &self.gateway.client
    }

    /// SIGKILL, and started again on the same port.
    async fn killed(self) -> Self {
        let Self { store, sandbox, gateway, account } = self;
        let port = gateway.port;
        gateway.kill().await;
        let options = BinaryOptions { port, ..BinaryOptions::default() };
        let gateway = Binary::start(&store, Some(&sandbox), &options).await;
        Self { store, sandbox, gateway, account }
    }

    async fn stop(self) {
        self.gateway.terminate().await;
        self.sandbox.stop().await;
        drop(self.store);
    }

    /// A person writes; answers the wamid.
    fn says(&self, index: u64, mut said: Value) -> String {
        said["phoneNumberId"] = json!(NUMBER);
        said["from"] = json!(number(index)[1..]);
        self.sandbox.sandbox.inbound(&said).expect("a person writes")
    }

    fn writes(&self, index: u64, text: &str) -> String {
        self.says(index, json!({ "type": "text", "text": { "body": text } }))
    }

    /// Written a while ago, and told now.
    fn wrote(&self, index: u64, text: &str, ago: chrono::Duration) -> String {
        let at = (chrono::Utc::now() - ago).timestamp();
        self.says(index, json!({ "type": "text", "text": { "body": text }, "timestamp": at }))
    }

    async fn all_is_told(&self) {
        eventually("the sandbox has told everything", || async {
            (self.sandbox.sandbox.stats().webhooks_pending == 0).then_some(())
        })
        .await;
    }

    async fn listed(&self, filter: Value) -> Vec<Value> {
        listed(self.client(), filter).await
    }

    /// The person's conversation, once it is as `done` says.
    async fn when(&self, index: u64, what: &str, done: impl Fn(&Value) -> bool) -> Value {
        let last = std::sync::Mutex::new(Value::Null);
        let seen = eventually(what, || async {
            let found = self.listed(json!({ "search": number(index) })).await;
            let one = found.into_iter().next()?;
            *last.lock().expect("no panic") = one.clone();
            done(&one).then_some(one)
        });
        tokio::select! {
            seen = seen => seen,
            () = tokio::time::sleep(Duration::from_secs(59)) => {
                panic!("{what}: last seen {}", last.lock().expect("no panic"))
            }
        }
    }

    async fn conversation(&self, id: &Value) -> Value {
        self.client().ask(ONE, json!({ "id": id })).await["conversation"].clone()
    }

    /// The types of what is on record about it, in order.
    async fn history(&self, id: &Value) -> Vec<String> {
        let conversation = self.conversation(id).await;
        let nodes = conversation["history"]["nodes"].as_array().expect("a history").clone();
        nodes.iter().map(|event| text(&event["type"])).collect()
    }

    async fn reply(&self, input: Value) -> Value {
        self.client().ask(REPLY, json!({ "input": input })).await["replyToConversation"]["message"]
            .clone()
    }

    /// The calls that told WhatsApp of something read.
    fn receipts(&self) -> usize {
        let calls = self.sandbox.sandbox.calls(0).expect("the record");
        calls.iter().filter(|call| call.kind.as_deref() == Some("read")).count()
    }
}

fn number(index: u64) -> String {
    format!("+{}", 447_700_900_000_u64 + index)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

async fn listed(client: &Client, filter: Value) -> Vec<Value> {
    let data = client.ask(LIST, json!({ "filter": filter, "first": 100 })).await;
    data["conversations"]["nodes"].as_array().expect("a list").clone()
}

async fn key(client: &Client, mut input: Value) -> Client {
    input["name"] = json!("key");
    let query = "mutation($input: CreateApiKeyInput!) { createApiKey(input: $input) { secret } }";
    let data = client.ask(query, json!({ "input": input })).await;
    client.with_key(data["createApiKey"]["secret"].as_str().expect("a secret"))
}

/// Somebody who was invited chooses a password.
async fn join(client: &Client, link: &str) {
    let token = link.split_once("#token=").expect("a link").1;
    let body = json!({ "token": token, "password": "Schachtelhalm waechst am Bach" });
    let request = client.http().post(format!("{}/session/link", client.base));
    let answer = request.header("origin", &client.base).json(&body).send().await;
    let answer = answer.expect("the gateway answers");
    assert!(answer.status().is_success(), "{}", answer.text().await.expect("a body"));
}

#[tokio::test(flavor = "multi_thread")]
async fn people_write_and_are_answered_in_the_window_and_by_template_outside_of_it() {
    for kind in stores() {
        let world = World::new(kind, 61).await;
        let client = world.client();
        let template = utility_template(client, &world.account, "orders").await;
        world.writes(1, "is it still open?");
        let open = world.when(1, "they have a conversation", |c| c["unread"] == 1).await;
        assert_eq!(open["lastMessage"]["preview"], "is it still open?", "{open}");
        assert_eq!(open["accountId"], json!(world.account));
        assert_eq!(open["handling"], "NONE");
        let id = &open["id"];
        let instant =
            |value: &Value| chrono::DateTime::parse_from_rfc3339(&text(value)).expect("an instant");
        let left = instant(&open["windowExpiresAt"]) - instant(&open["openedAt"]);
        assert_eq!(left, chrono::Duration::hours(24), "{open}");

        // Inside the window a text goes to the phone, once, also where it is asked for twice.
        let input = json!({ "conversationId": id, "text": "until eight", "idempotencyKey": "one" });
        let sent = world.reply(input.clone()).await;
        assert_eq!(sent["skipReason"], Value::Null, "{sent}");
        assert_eq!(sent["conversationId"], *id);
        assert_eq!(world.reply(input).await["id"], sent["id"]);
        eventually("it arrives", || async {
            let calls = world.sandbox.sends_to(NUMBER, &number(1));
            (calls.len() == 1 && calls[0].counted).then_some(())
        })
        .await;
        world.when(1, "it is the last message", |c| c["lastMessage"]["id"] == sent["id"]).await;
        // WhatsApp tells of whole seconds.
        let answered_at = chrono::Utc::now().timestamp();
        eventually("the next second", || async {
            (chrono::Utc::now().timestamp() > answered_at).then_some(())
        })
        .await;
        world.writes(1, "thank you");
        world.when(1, "two are unread", |c| c["unread"] == 2).await;

        // Who only reacted, and who wrote two days ago, cannot be answered freely.
        world.says(
            2,
            json!({ "type": "reaction", "reaction": { "message_id": "wamid.unknown", "emoji": "👍" } }),
        );
        world.wrote(3, "hello?", chrono::Duration::hours(48));
        for index in [2, 3] {
            let closed = world.when(index, "they have a conversation", |c| c["unread"] == 1).await;
            assert_eq!(closed["windowExpiresAt"], Value::Null, "{closed}");
            let id = &closed["id"];
            let skipped = world.reply(json!({ "conversationId": id, "text": "hi" })).await;
            assert_eq!(skipped["status"], "SKIPPED", "{skipped}");
            assert_eq!(skipped["skipReason"], "WINDOW_CLOSED", "{skipped}");
            let parameters = json!({ "body.1": "Ada" });
            let by = json!({ "templateId": template, "parameters": parameters });
            let sent = world.reply(json!({ "conversationId": id, "template": by })).await;
            assert_eq!(sent["skipReason"], Value::Null, "{sent}");
            eventually("the template arrives", || async {
                let calls = world.sandbox.sends_to(NUMBER, &number(index));
                (calls.len() == 1 && calls[0].counted).then_some(())
            })
            .await;
        }

        // The thread, oldest first, with a campaign's message in it, which opens nothing for anybody else.
        import_people(client, 6, "vip").await;
        let offers = approved_template(client, &world.account, "offers").await;
        let campaign = launch(client, &world.account, &offers, "vip").await;
        let thread = eventually("the campaign's message is in the thread", || async {
            let shown = world.conversation(id).await;
            let nodes = shown["messages"]["nodes"].as_array().expect("messages").clone();
            nodes.iter().any(|m| m["campaignId"] == json!(campaign)).then_some(shown)
        })
        .await;
        let nodes = thread["messages"]["nodes"].as_array().expect("messages");
        let previews: Vec<String> = nodes.iter().map(|m| text(&m["preview"])).collect();
        assert_eq!(previews[..3], ["is it still open?", "until eight", "thank you"]);
        assert_eq!(thread["messages"]["totalCount"], 4);
        assert_eq!(thread["unread"], 2, "what went out is nothing to be read");
        assert!(nodes.iter().all(|message| message["conversationId"] == *id), "{nodes:?}");
        world.all_is_told().await;
        assert_eq!(world.listed(json!({})).await.len(), 3);
        let query = "query($ids: [ID!]) { messages(filter: { campaignIds: $ids }) { nodes { to conversationId } } }";
        let data = client.ask(query, json!({ "ids": [campaign] })).await;
        let sent = data["messages"]["nodes"].as_array().expect("messages");
        let of = |index: u64| {
            let found = sent.iter().find(|message| message["to"] == json!(number(index)));
            found.unwrap_or_else(|| panic!("nothing went to {index}"))["conversationId"].clone()
        };
        assert_eq!((of(1), of(5)), (id.clone(), Value::Null));
        let facts = world.history(id).await;
        assert_eq!(facts, ["conversation.opened", "conversation.window_extended"]);
        for input in [
            json!({ "conversationId": id }),
            json!({ "conversationId": id, "text": "a", "template": { "name": "orders", "language": "en" } }),
        ] {
            let error =
                client.query(REPLY, json!({ "input": input })).await.expect_err("one thing");
            assert_eq!(error.code, "VALIDATION_FAILED");
        }
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_is_told_to_the_person_once_and_handling_is_on_record() {
    for kind in stores() {
        let world = World::new(kind, 62).await;
        let client = world.client();
        for text in ["one", "two", "three"] {
            world.writes(1, text);
        }
        let open = world.when(1, "three are unread", |c| c["unread"] == 3).await;
        let id = &open["id"];
        let thread = world.conversation(id).await["messages"]["nodes"].clone();
        // Quietly, up to the first in the thread.
        let first = &thread[0]["id"];
        let quiet = json!({ "id": id, "upTo": first, "showReceipt": false });
        let data = client.ask(READ, quiet.clone()).await;
        assert_eq!(data["markConversationRead"]["conversation"]["unread"], 2, "{data}");
        assert_eq!(world.receipts(), 0);
        // Then all of it, for the person to see, however often that is asked for.
        let at_once = (0..8).map(|_| client.ask(READ, json!({ "id": id })));
        for data in futures::future::join_all(at_once).await {
            assert_eq!(data["markConversationRead"]["conversation"]["unread"], 0, "{data}");
        }
        client.ask(READ, quiet).await;
        eventually("what became of it is on record", || async {
            let history = world.history(id).await;
            history.contains(&"conversation.receipt_shown".to_owned()).then_some(())
        })
        .await;
        assert_eq!(world.receipts(), 1);
        world.when(1, "nothing is unread", |c| c["unread"] == 0).await;
        assert!(world.listed(json!({ "unread": true })).await.is_empty());
        assert_eq!(world.listed(json!({ "unread": false })).await.len(), 1);

        // Somebody else's message is no place in this conversation.
        world.writes(2, "another");
        let other = world.when(2, "another conversation", |c| c["unread"] == 1).await;
        let wrong = json!({ "id": id, "upTo": other["lastMessage"]["id"] });
        let error = client.query(READ, wrong).await.expect_err("of another conversation");
        assert_eq!(
            (error.code.as_str(), error.field.as_deref()),
            ("VALIDATION_FAILED", Some("upTo"))
        );

        let hand = "mutation($id: ID!, $to: ConversationHandling!) { setConversationHandling(id: $id, handling: $to) { conversation { handling } } }";
        let data = client.ask(hand, json!({ "id": id, "to": "PEOPLE" })).await;
        assert_eq!(data["setConversationHandling"]["conversation"]["handling"], "PEOPLE");
        let error = client.query(hand, json!({ "id": id, "to": "ASSISTANT" })).await;
        assert_eq!(error.expect_err("there is none").code, "VALIDATION_FAILED");
        world.when(1, "people answer", |c| c["handling"] == "PEOPLE").await;
        assert_eq!(world.listed(json!({ "handling": ["PEOPLE"] })).await.len(), 1);

        let assign = "mutation($id: ID!, $userId: ID) { assignConversation(id: $id, userId: $userId) { conversation { assignedTo } } }";
        let invite =
            "mutation($input: InviteUserInput!) { inviteUser(input: $input) { user { id } link } }";
        let input = json!({ "email": "maria@shop.example", "name": "Maria", "role": "SENDER" });
        let invited = client.ask(invite, json!({ "input": input })).await["inviteUser"].clone();
        let user = &invited["user"]["id"];
        for wrong in [json!("0190a0a0-0000-7000-8000-000000000000"), json!("nobody")] {
            let error = client.query(assign, json!({ "id": id, "userId": wrong })).await;
            assert_eq!(error.expect_err("nobody").code, "NOT_FOUND");
        }
        let error = client.query(assign, json!({ "id": id, "userId": user })).await;
        assert_eq!(error.expect_err("not signed in yet").code, "VALIDATION_FAILED");
        join(client, &text(&invited["link"])).await;
        let data = client.ask(assign, json!({ "id": id, "userId": user })).await;
        assert_eq!(data["assignConversation"]["conversation"]["assignedTo"], *user);
        world.when(1, "it is Maria's", |c| c["assignedTo"] == *user).await;
        let hers = world.listed(json!({ "assignedTo": user })).await;
        assert_eq!((hers.len(), &hers[0]["id"]), (1, id));
        let data = client.ask(assign, json!({ "id": id, "userId": null })).await;
        assert_eq!(data["assignConversation"]["conversation"]["assignedTo"], Value::Null);
        let facts = world.history(id).await;
        let count = |name: &str| facts.iter().filter(|fact| *fact == name).count();
        assert_eq!(count("conversation.read"), 2, "{facts:?}");
        assert_eq!(count("conversation.assigned"), 2, "{facts:?}");
        assert_eq!(count("conversation.handed_over"), 1, "{facts:?}");

        // WhatsApp does not answer: the mutation does, and the history tells.
        world.writes(1, "four");
        world.when(1, "one is unread", |c| c["unread"] == 1).await;
        world.all_is_told().await;
        let World { store, sandbox, gateway, .. } = world;
        sandbox.stop().await;
        let client = &gateway.client;
        let data = client.ask(READ, json!({ "id": id })).await;
        assert_eq!(data["markConversationRead"]["conversation"]["unread"], 0, "{data}");
        let failures = async || {
            let data = client.ask(ONE, json!({ "id": id })).await;
            let facts = data["conversation"]["history"]["nodes"].as_array().expect("facts").clone();
            let is_failure = |fact: &Value| fact["type"] == "conversation.receipt_failed";
            facts.into_iter().filter(is_failure).collect::<Vec<_>>()
        };
        let failed = eventually("the failure is on record", || async {
            failures().await.into_iter().next()
        })
        .await;
        assert_eq!(failed["data"]["reason"], "no answer", "{failed}");
        assert_eq!(failed["actor"]["kind"], "PROCESS", "{failed}");
        client.ask(READ, json!({ "id": id })).await;
        assert_eq!(failures().await.len(), 1, "not told again of the same message");
        gateway.terminate().await;
        drop(store);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn doubled_and_shuffled_webhooks_and_a_kill_in_between_change_nothing() {
    const PEOPLE: u64 = 20;
    const EACH: u64 = 6;
    for kind in stores() {
        let mut world = World::new(kind, 63).await;
        world.sandbox.behave(json!({ "duplicateWebhooks": 1.0, "shuffleWebhooks": true }));
        for n in 0..EACH {
            for index in 0..PEOPLE {
                world.writes(index, &format!("{n} of {index}"));
            }
            if n == EACH / 2 {
                world = world.killed().await;
            }
        }
        world.all_is_told().await;
        // What a list says of its rows is read after the rows: only where nothing moves it is of one moment.
        quiet(world.client()).await;
        let listed = eventually("everything is there", || async {
            let listed = world.listed(json!({})).await;
            let total: u64 = listed.iter().filter_map(|c| c["unread"].as_u64()).sum();
            assert!(total <= PEOPLE * EACH, "{total}: more than was written");
            (total == PEOPLE * EACH).then_some(listed)
        })
        .await;
        assert_eq!(listed.len() as u64, PEOPLE);
        for one in &listed {
            assert_eq!(one["unread"], EACH, "{one}");
            let facts = world.history(&one["id"]).await;
            assert_eq!(facts[0], "conversation.opened");
            let opened = facts.iter().filter(|fact| *fact == "conversation.opened").count();
            assert_eq!(opened, 1, "{facts:?}");
            assert!(facts.len() as u64 <= EACH, "{facts:?}");
        }
        // Pages go by activity and meet each once.
        let (mut seen, mut after) = (vec![], Value::Null);
        loop {
            let asked = json!({ "first": 7, "after": after });
            let page = world.client().ask(LIST, asked).await["conversations"].clone();
            seen.extend(page["nodes"].as_array().expect("a page").iter().map(|c| c["id"].clone()));
            if page["pageInfo"]["hasNextPage"] == false {
                break;
            }
            after = page["pageInfo"]["endCursor"].clone();
        }
        let all: Vec<Value> = listed.iter().map(|c| c["id"].clone()).collect();
        assert_eq!(seen, all);
        // A read model built anew says the same.
        let rebuild = "mutation { rebuildProjection(name: \"messages\") { projection { name } } }";
        world.client().ask(rebuild, json!({})).await;
        eventually("it was built anew", || async {
            let data = world.client().ask("{ projections { name status } }", json!({})).await;
            let all = data["projections"].as_array().expect("projections").clone();
            all.iter().all(|one| one["status"] == "LIVE").then_some(())
        })
        .await;
        assert_eq!(world.listed(json!({})).await, listed);
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_is_one_thread_and_an_erasure_leaves_no_word() {
    for kind in stores() {
        let world = World::new(kind, 64).await;
        let client = world.client();
        world.writes(1, "Muschelkalk from the old number");
        world.writes(2, "Pfingstrose from the new number");
        let old = world.when(1, "the old one", |c| c["unread"] == 1).await;
        let new = world.when(2, "the new one", |c| c["unread"] == 1).await;
        let merge = "mutation($keep: ID!, $merge: ID!) { mergeContacts(keep: $keep, merge: $merge) { position } }";
        let asked = json!({ "keep": new["contact"]["id"], "merge": old["contact"]["id"] });
        client.ask(merge, asked).await;
        let whole = world.when(2, "one thread", |c| c["unread"] == 2).await;
        assert_eq!(whole["id"], new["id"]);
        assert_eq!(world.listed(json!({})).await.len(), 1);
        // The id that was handed out before leads there.
        let shown = world.conversation(&old["id"]).await;
        assert_eq!((&shown["id"], &shown["messages"]["totalCount"]), (&new["id"], &json!(2)));
        let data = client.ask(READ, json!({ "id": old["id"], "showReceipt": false })).await;
        assert_eq!(
            data["markConversationRead"]["conversation"],
            json!({ "id": new["id"], "unread": 0 })
        );

        // Into somebody who never wrote: their conversation goes on as it was.
        let add =
            "mutation($input: AddContactInput!) { addContact(input: $input) { contact { id } } }";
        let input = json!({ "phoneNumber": number(3), "name": "Wilhelmina" });
        let third =
            client.ask(add, json!({ "input": input })).await["addContact"]["contact"]["id"].clone();
        client.ask(merge, json!({ "keep": third, "merge": new["contact"]["id"] })).await;
        let taken = world.when(3, "it goes on", |c| c["contact"]["id"] == third).await;
        let facts = eventually("it is open", || async {
            let facts = world.conversation(&taken["id"]).await["history"]["nodes"].clone();
            facts[0].is_object().then_some(facts)
        })
        .await;
        assert_eq!(facts[0]["data"]["continues"], new["id"], "{facts}");
        assert_eq!(taken["unread"], 0, "it was read as the other one's");

        let erase = "mutation($id: ID!) { eraseContact(id: $id, reason: \"asked\") { contact { erased } } }";
        client.ask(erase, json!({ "id": third })).await;
        eventually("nothing of theirs is shown", || async {
            let shown = world.conversation(&taken["id"]).await;
            let words = shown.to_string();
            let is_there = ["Muschelkalk", "Pfingstrose", "Wilhelmina", "4477009000"];
            let is_gone = !is_there.iter().any(|word| words.contains(word));
            (is_gone && shown["contact"]["erased"] == true).then_some(())
        })
        .await;
        let found = world.listed(json!({ "search": "Wilhelmina" })).await;
        assert!(found.is_empty(), "{found:?}");
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_see_what_and_do_what() {
    let world = World::new(StoreKind::Sqlite, 65).await;
    let client = world.client();
    let other = world.sandbox.connect(client, "402000000000062", 500).await;
    world.writes(1, "Muschelkalk");
    let one = world.when(1, "a conversation", |c| c["unread"] == 1).await;
    let id = &one["id"];
    let reader = key(client, json!({ "scopes": ["READ"] })).await;
    // Whoever only looks sees no word and no number, finds nobody by them, and does nothing.
    let shown = listed(&reader, json!({})).await;
    assert_eq!(shown.len(), 1);
    let words = format!("{shown:?}{}", reader.ask(ONE, json!({ "id": id })).await);
    assert!(!words.contains("Muschelkalk") && !words.contains("447700900"), "{words}");
    let search = json!({ "filter": { "search": "447" } });
    assert_eq!(reader.query(LIST, search).await.expect_err("no search").code, "FORBIDDEN");
    let hand =
        "mutation($id: ID!) { setConversationHandling(id: $id, handling: PEOPLE) { position } }";
    let assign = "mutation($id: ID!) { assignConversation(id: $id) { position } }";
    let input = json!({ "input": { "conversationId": id, "text": "hi" } });
    for (query, args) in [
        (REPLY, input.clone()),
        (READ, json!({ "id": id })),
        (hand, json!({ "id": id })),
        (assign, json!({ "id": id })),
    ] {
        assert_eq!(reader.query(query, args).await.expect_err("no SEND").code, "FORBIDDEN");
    }
    // A key of another account does not know of it.
    let all = ["READ", "PERSONAL", "SEND", "MANAGE"];
    let workspace = &one["workspaceId"];
    let limits = json!({ "scopes": all, "workspaceIds": [workspace], "accountIds": [other] });
    let limited = key(client, limits).await;
    assert!(listed(&limited, json!({})).await.is_empty());
    for (query, args) in [
        (ONE, json!({ "id": id })),
        (REPLY, input),
        (READ, json!({ "id": id })),
        (hand, json!({ "id": id })),
        (LIST, json!({ "filter": { "accountIds": [world.account] } })),
    ] {
        assert_eq!(limited.query(query, args).await.expect_err("unknown").code, "NOT_FOUND");
    }
    assert_eq!(world.history(id).await, ["conversation.opened"]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_follows_sees_what_comes_what_is_answered_and_what_becomes_of_it() {
    for kind in stores() {
        let world = World::new(kind, 66).await;
        let client = world.client();
        world.sandbox.behave(json!({ "readRate": 1.0 }));
        import_people(client, 8, "vip").await;
        let offers = approved_template(client, &world.account, "offers").await;
        let key = "mutation($input: CreateApiKeyInput!) { createApiKey(input: $input) { apiKey { id } secret } }";
        let made = client
            .ask(key, json!({ "input": { "name": "inbox", "scopes": ["READ", "PERSONAL"] } }))
            .await["createApiKey"]
            .clone();
        let url = format!("{}/graphql", client.base.replace("http://", "ws://"));
        let Some(follower) =
            Script::start("activity.mjs", &[&url, &text(&made["secret"]), &world.account])
        else {
            return;
        };
        let has = async |what: &str| {
            eventually(what, || async {
                follower.lines().iter().any(|line| line.starts_with(what)).then_some(())
            })
            .await;
        };
        has("connected").await;
        // Connected is not yet subscribed: whoever is heard is.
        eventually("it is followed", || async {
            world.writes(7, "anybody?");
            tokio::time::sleep(Duration::from_millis(300)).await;
            follower.lines().iter().any(|line| line.starts_with("INBOUND")).then_some(())
        })
        .await;
        world.writes(1, "hello");
        has("INBOUND RECEIVED hello").await;
        let one = world.when(1, "a conversation", |c| c["unread"] == 1).await;
        world.reply(json!({ "conversationId": one["id"], "text": "good day" })).await;
        has("OUTBOUND READ good day").await;
        // A campaign to eight people, of whom two have a conversation.
        let campaign = launch(client, &world.account, &offers, "vip").await;
        progress_when(client, &campaign, Duration::from_secs(60), "all have read it", |c| {
            count(c, "read") == 8
        })
        .await;
        eventually("both are shown as read", || async {
            let lines = follower.lines();
            let read = lines
                .iter()
                .filter(|line| line.starts_with("OUTBOUND READ") && !line.contains("good day"));
            (read.count() == 2).then_some(())
        })
        .await;
        let lines = follower.lines();
        assert!(lines.iter().skip(1).all(|line| !line.ends_with("null")), "{lines:?}");
        // With the key the stream ends.
        let revoke = "mutation($id: ID!) { revokeApiKey(id: $id) { position } }";
        client.ask(revoke, json!({ "id": made["apiKey"]["id"] })).await;
        has("ended").await;
        world.stop().await;
    }
}
