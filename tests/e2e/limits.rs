//! Who is left out and what is held: caps, holds by webhook, pauses and every reason there is, by the sandbox's own record.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chrono::Utc;
use domain::port::Clock;
use gateway_tests::{
    Binary, BinaryOptions, Client, Number, SandboxProcess, Store, WABA, eventually, stores,
};
use infrastructure::sandbox::TemplateEvent;
use serde_json::{Value, json};

use crate::calendar::World;
use crate::common::{
    PROGRESS, approved_template, count, import_csv, import_people, launch, progress_when,
    utility_template,
};

const PATIENCE: Duration = Duration::from_secs(90);

async fn campaign(client: &Client, id: &str) -> Value {
    client.ask(PROGRESS, json!({ "id": id })).await["campaign"].clone()
}

async fn waiting_for(client: &Client, id: &str) -> Option<String> {
    let query = "query($id: ID!) { campaign(id: $id) { waitingFor } }";
    let data = client.ask(query, json!({ "id": id })).await;
    data["campaign"]["waitingFor"].as_str().map(str::to_owned)
}

/// Waits until it is said what holds the campaign up, in words that begin so.
async fn held_by(client: &Client, id: &str, what: &str) -> String {
    eventually(what, || async { waiting_for(client, id).await.filter(|why| why.starts_with(what)) })
        .await
}

async fn draft(client: &Client, input: Value) -> String {
    let mutation = "mutation($input: CreateCampaignInput!) { createCampaign(input: $input) { campaign { id frequencyCap { messages hours } } } }";
    let cap = input["frequencyCap"].clone();
    let data = client.ask(mutation, json!({ "input": input })).await;
    let campaign = &data["createCampaign"]["campaign"];
    assert_eq!(campaign["frequencyCap"], cap);
    campaign["id"].as_str().expect("an id").to_owned()
}

async fn start(client: &Client, id: &str) {
    let mutation = "mutation($id: ID!) { launchCampaign(id: $id) { campaign { id } } }";
    client.ask(mutation, json!({ "id": id })).await;
}

/// How often each number got a message.
fn got(sandbox: &SandboxProcess) -> BTreeMap<String, u32> {
    let mut got = BTreeMap::new();
    for call in sandbox.sandbox.calls(0).expect("the record") {
        if call.is_send() && call.counted {
            *got.entry(call.to.unwrap_or_default()).or_default() += 1;
        }
    }
    got
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_template_holds_its_own_campaign_and_it_goes_on_when_whatsapp_says_so() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(81).await;
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let client = &gateway.client;
        let account = sandbox.connect(client, "402000000000081", 60).await;
        import_people(client, 400, "all").await;
        let held = approved_template(client, &account, "offers").await;
        let free = approved_template(client, &account, "news").await;
        let (held, free) = (
            launch(client, &account, &held, "all").await,
            launch(client, &account, &free, "all").await,
        );
        progress_when(client, &held, PATIENCE, "it is under way", |c| count(c, "accepted") >= 20)
            .await;
        let verdict = |event: &str| {
            let event = TemplateEvent {
                name: "offers".to_owned(),
                event: event.to_owned(),
                ..TemplateEvent::default()
            };
            sandbox.sandbox.template_event(&event).expect("a verdict");
        };
        verdict("PAUSED");
        let why = held_by(client, &held, "WhatsApp has paused the template").await;
        assert_eq!(waiting_for(client, &free).await, None, "{why}");
        // Whatever was on its way comes to its end; by then the other one has gone on.
        let at_hold = count(&campaign(client, &free).await, "accepted");
        progress_when(client, &free, PATIENCE, "the other goes on", |c| {
            count(c, "accepted") >= at_hold + 40
        })
        .await;
        let refused = || sandbox.sandbox.stats().errors.get(&132_015).copied().unwrap_or(0);
        let (before, refused_before) = (campaign(client, &held).await, refused());
        progress_when(client, &free, PATIENCE, "the other is done", |c| {
            count(c, "accepted") == 400
        })
        .await;
        let after = campaign(client, &held).await;
        assert_eq!(count(&after, "pending"), count(&before, "pending"), "{before} {after}");
        assert_eq!(refused(), refused_before, "something was tried all the same");
        assert!(count(&after, "pending") > 0 && count(&after, "skipped") == 0, "{after}");
        assert_eq!(after["status"], "RUNNING");
        verdict("APPROVED");
        let done = progress_when(client, &held, PATIENCE, "it goes on by itself", |c| {
            count(c, "pending") == 0
        })
        .await;
        assert_eq!(count(&done, "accepted"), 400, "{done}");
        let got = got(&sandbox);
        assert!(got.len() == 400 && got.values().all(|times| *times == 2), "{got:?}");
        gateway.terminate().await;
        sandbox.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_banned_account_and_a_lowered_limit_hold_what_they_touch_until_they_are_over() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(82).await;
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let client = &gateway.client;
        let account = sandbox.connect(client, "402000000000082", 60).await;
        let elsewhere =
            Number { waba_id: "301000000000082".to_owned(), ..Number::new("402000000000083") };
        let other = sandbox.connect_number(client, &elsewhere).await;
        import_people(client, 400, "all").await;
        let templates = (
            approved_template(client, &account, "offers").await,
            approved_template(client, &other, "news").await,
        );
        let held = launch(client, &account, &templates.0, "all").await;
        progress_when(client, &held, PATIENCE, "it is under way", |c| count(c, "accepted") >= 20)
            .await;
        let tell = |field: &str, value: Value| {
            let webhook = json!({ "wabaId": WABA, "field": field, "value": value });
            sandbox.sandbox.webhook(&webhook).expect("a webhook");
        };
        let ban = |state: &str| {
            let info = json!({ "waba_ban_state": state, "waba_ban_date": "November 27, 2026" });
            tell("account_update", json!({ "event": "DISABLED_UPDATE", "ban_info": info }));
        };
        ban("DISABLE");
        held_by(client, &held, "the account is paused: WhatsApp has disabled").await;
        let free = launch(client, &other, &templates.1, "all").await;
        progress_when(client, &free, PATIENCE, "the other account's goes on", |c| {
            count(c, "accepted") >= 100
        })
        .await;
        let (before, sends) =
            (campaign(client, &held).await, sandbox.sends("402000000000082").len());
        progress_when(client, &free, PATIENCE, "the other account's is done", |c| {
            count(c, "accepted") == 400
        })
        .await;
        let after = campaign(client, &held).await;
        assert_eq!(sandbox.sends("402000000000082").len(), sends);
        assert_eq!(count(&after, "pending"), count(&before, "pending"), "{before} {after}");

        // Reinstated, with less to reach than everybody.
        tell(
            "business_capability_update",
            json!({ "max_daily_conversations_per_business": 250, "max_phone_numbers_per_waba": 25 }),
        );
        ban("REINSTATE");
        let why = held_by(client, &held, "reach: 250 of 250").await;
        assert!(why.contains("there is room again at"), "{why}");
        let query = "query($id: ID!) { account(id: $id) { reach { limit used resetsAt } health { check ok remedy } } }";
        let data = client.ask(query, json!({ "id": account })).await;
        let reach = &data["account"]["reach"];
        assert_eq!((&reach["limit"], &reach["used"]), (&json!(250), &json!(250)));
        let resets_at = reach["resetsAt"].as_str().expect("an instant");
        let left = resets_at.parse::<chrono::DateTime<Utc>>().expect("an instant") - Utc::now();
        assert!(left > chrono::Duration::hours(23) && left < chrono::Duration::hours(25), "{left}");
        let health = data["account"]["health"].as_array().expect("checks");
        let check = health.iter().find(|check| check["check"] == "reach").expect("one of reach");
        assert_eq!(check["ok"], false);
        assert!(check["remedy"].as_str().is_some_and(|it| it.contains("Nothing to do")), "{check}");
        let full = progress_when(client, &held, PATIENCE, "what was decided has gone", |c| {
            count(c, "accepted") == 250
        })
        .await;
        assert_eq!((count(&full, "pending"), count(&full, "skipped")), (150, 0), "{full}");

        tell(
            "business_capability_update",
            json!({ "max_daily_conversations_per_business": "TIER_2K", "max_phone_numbers_per_waba": 25 }),
        );
        progress_when(client, &held, PATIENCE, "it goes on with more to reach", |c| {
            count(c, "accepted") == 400
        })
        .await;
        let got = got(&sandbox);
        assert!(got.len() == 400 && got.values().all(|times| *times == 2), "{got:?}");
        gateway.terminate().await;
        sandbox.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restricted_account_holds_what_the_restriction_names_and_nothing_else_until_its_end() {
    const NUMBER: &str = "402000000000079";
    const PERSON: &str = "+447700900000";
    for kind in stores() {
        let world = World::new(kind, "2027-03-01T10:00Z").await;
        let (client, sandbox) = (&world.client, &world.sandbox);
        let account = sandbox.connect(client, NUMBER, 10).await;
        let elsewhere =
            Number { waba_id: "301000000000079".to_owned(), ..Number::new("402000000000078") };
        let other = sandbox.connect_number(client, &elsewhere).await;
        import_people(client, 120, "all").await;
        let offers = approved_template(client, &account, "offers").await;
        let orders = utility_template(client, &account, "orders").await;
        let news = approved_template(client, &other, "news").await;
        let tell = |value: Value| {
            let webhook = json!({ "wabaId": WABA, "field": "account_update", "value": value });
            sandbox.sandbox.webhook(&webhook).expect("a webhook");
        };
        let restrict = |info: Value| {
            tell(json!({ "event": "ACCOUNT_RESTRICTION", "restriction_info": info }));
        };
        let reply = async |text: &str| {
            let input = json!({ "accountId": account, "to": PERSON, "text": text });
            let send = "mutation($input: SendMessageInput!) { sendMessage(input: $input) { message { id } } }";
            let data = client.ask(send, json!({ "input": input })).await;
            data["sendMessage"]["message"]["id"].as_str().expect("an id").to_owned()
        };
        let status = async |id: &str| {
            let query = "query($id: ID!) { message(id: $id) { status } }";
            let data = client.ask(query, json!({ "id": id })).await;
            data["message"]["status"].as_str().expect("a status").to_owned()
        };
        let is_taken = async |id: &str, what: &str| {
            eventually(what, || async {
                let taken = ["ACCEPTED", "SENT", "DELIVERED", "READ"];
                taken.contains(&status(id).await.as_str()).then_some(())
            })
            .await;
        };
        let inbound = json!({
            "phoneNumberId": NUMBER, "from": PERSON.trim_start_matches('+'), "type": "text", "text": { "body": "Hello" },
        });
        sandbox.sandbox.inbound(&inbound).expect("a person writes");
        eventually("their window is open", || async {
            let query = "query($ids: [ID!]) { messages(filter: { accountIds: $ids, direction: INBOUND }) { nodes { id } } }";
            let data = client.ask(query, json!({ "ids": [account] })).await;
            (data["messages"]["nodes"].as_array()?.len() == 1).then_some(())
        })
        .await;
        let templates = || {
            let calls = sandbox.sends(NUMBER).into_iter();
            calls.filter(|call| call.kind.as_deref() == Some("template")).collect::<Vec<_>>()
        };

        // No templates for a while: its campaign is held, an answer to somebody is not.
        let held = launch(client, &account, &offers, "all").await;
        progress_when(client, &held, PATIENCE, "it is under way", |c| count(c, "accepted") >= 10)
            .await;
        let until = world.clock.now() + chrono::Duration::hours(6);
        restrict(json!([{
            "restriction_type": "RESTRICTED_BIZ_INITIATED_MESSAGING", "expiration": until.timestamp(),
        }]));
        let why = held_by(client, &held, "WhatsApp has restricted the account").await;
        assert!(why.contains("it takes no templates until 2027-03-01T16"), "{why}");
        let answer = reply("We are here").await;
        is_taken(&answer, "an answer goes out under a restriction of templates").await;
        let (before, sent) = (campaign(client, &held).await, templates().len());
        let free = launch(client, &other, &news, "all").await;
        progress_when(client, &free, PATIENCE, "the other account's is done", |c| {
            count(c, "accepted") == 120
        })
        .await;
        let during = campaign(client, &held).await;
        assert_eq!(count(&during, "pending"), count(&before, "pending"), "{before} {during}");
        assert!(count(&during, "pending") > 0 && during["status"] == "RUNNING", "{during}");
        assert_eq!(templates().len(), sent, "something was tried all the same");
        let query = "query($id: ID!) { account(id: $id) { status health { check ok detail } } }";
        let data = client.ask(query, json!({ "id": account })).await;
        assert_eq!(data["account"]["status"], "CONNECTED", "{data}");
        let health = data["account"]["health"].as_array().expect("checks").clone();
        let check = health.iter().find(|check| check["check"] == "restrictions");
        assert_eq!(check.expect("one of restrictions")["ok"], false, "{health:?}");
        world.jump_to(until);
        progress_when(client, &held, PATIENCE, "it goes on by itself at the end", |c| {
            count(c, "accepted") == 120
        })
        .await;
        assert_eq!(waiting_for(client, &held).await, None);
        assert!(templates()[sent..].iter().all(|call| call.at >= until), "one left too early");

        // No replies and no utility templates until WhatsApp says otherwise: marketing goes on.
        restrict(json!([
            { "restriction_type": "RESTRICTED_CUSTOMER_INITIATED_MESSAGING" },
            { "restriction_type": "RESTRICTED_UTILITY_TEMPLATES" },
            { "restriction_type": "RESTRICTED_ADD_PHONE_NUMBER_ACTION" },
        ]));
        let utility = launch(client, &account, &orders, "all").await;
        let why = "WhatsApp has restricted the account: it takes no utility templates";
        held_by(client, &utility, why).await;
        let taken = count(&campaign(client, &utility).await, "accepted");
        let answer = reply("And here").await;
        let free = launch(client, &account, &offers, "all").await;
        progress_when(client, &free, PATIENCE, "marketing goes on", |c| {
            count(c, "accepted") == 120
        })
        .await;
        assert_eq!(status(&answer).await, "QUEUED");
        let during = campaign(client, &utility).await;
        assert!(
            count(&during, "accepted") <= taken + 10 && count(&during, "pending") > 0,
            "{during}"
        );
        tell(json!({ "event": "DISABLED_UPDATE", "ban_info": { "waba_ban_state": "REINSTATE" } }));
        is_taken(&answer, "the answer goes out").await;
        progress_when(client, &utility, PATIENCE, "all goes on", |c| count(c, "accepted") == 120)
            .await;
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cap_over_campaigns_holds_for_two_that_run_at_once_and_for_later_ones() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(84).await;
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let client = &gateway.client;
        import_people(client, 200, "all").await;
        let mut drafts = vec![];
        for (number, name) in [("402000000000084", "offers"), ("402000000000085", "news")] {
            let account = sandbox.connect(client, number, 200).await;
            let template = approved_template(client, &account, name).await;
            let input = json!({
                "accountId": account, "templateId": template, "name": name,
                "parameters": { "body.1": "{{name | default: there}}" },
                "audience": { "tags": ["all"] }, "frequencyCap": { "messages": 1, "hours": 24 },
            });
            drafts.push((draft(client, input.clone()).await, input));
        }
        futures::future::join_all(drafts.iter().map(|(id, _)| start(client, id))).await;
        let mut totals = (0, 0);
        for (id, _) in &drafts {
            let done =
                progress_when(client, id, PATIENCE, "it is done", |c| c["status"] == "COMPLETED")
                    .await;
            totals.0 += count(&done, "accepted");
            totals.1 += count(&done, "skipped");
            assert!(only_skipped_for(&done, "FREQUENCY_CAP"), "{done}");
        }
        assert_eq!(totals, (200, 200));
        let got_once = got(&sandbox);
        assert!(
            got_once.len() == 200 && got_once.values().all(|times| *times == 1),
            "{got_once:?}"
        );

        // The next one finds everybody had theirs, and one without a cap does not ask.
        let mut input = drafts[0].1.clone();
        let capped = draft(client, input.clone()).await;
        start(client, &capped).await;
        let done =
            progress_when(client, &capped, PATIENCE, "it is done", |c| c["status"] == "COMPLETED")
                .await;
        assert_eq!((count(&done, "skipped"), count(&done, "accepted")), (200, 0), "{done}");
        input["frequencyCap"] = Value::Null;
        let free = draft(client, input.clone()).await;
        start(client, &free).await;
        progress_when(client, &free, PATIENCE, "it is done", |c| count(c, "accepted") == 200).await;

        for (cap, field) in [
            (json!({ "messages": 0, "hours": 1 }), "input.frequencyCap.messages"),
            (json!({ "messages": 1, "hours": -1 }), "input.frequencyCap.hours"),
            (json!({ "messages": 1, "hours": 8_785 }), "input.frequencyCap"),
        ] {
            input["frequencyCap"] = cap;
            let mutation = "mutation($input: CreateCampaignInput!) { createCampaign(input: $input) { campaign { id } } }";
            let answer =
                client.try_raw(mutation, json!({ "input": input })).await.expect("an answer");
            let extensions = &answer["errors"][0]["extensions"];
            assert_eq!(extensions["code"], "VALIDATION_FAILED", "{answer}");
            assert_eq!(extensions["field"], field, "{answer}");
        }
        gateway.terminate().await;
        sandbox.stop().await;
    }
}

fn only_skipped_for(campaign: &Value, reason: &str) -> bool {
    let skips = campaign["progress"]["skips"].as_array().expect("skips");
    skips.iter().all(|skip| skip["reason"] == reason)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_shared_with_the_business_app_keeps_its_fixed_pace() {
    let store = Store::fresh(stores()[0]).await;
    let sandbox = SandboxProcess::start(86).await;
    let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
    let client = &gateway.client;
    // Its owner wishes for more than WhatsApp grants such a number.
    let number = Number {
        messages_per_second: 200,
        on_business_app: true,
        ..Number::new("402000000000086")
    };
    let account = sandbox.connect_number(client, &number).await;
    eventually("WhatsApp has told that the number is shared", || async {
        let query = "query($id: ID!) { account(id: $id) { messagesPerSecond } }";
        let data = client.ask(query, json!({ "id": account })).await;
        (data["account"]["messagesPerSecond"] == 20).then_some(())
    })
    .await;
    import_people(client, 100, "all").await;
    let template = approved_template(client, &account, "offers").await;
    let campaign = launch(client, &account, &template, "all").await;
    progress_when(client, &campaign, PATIENCE, "all are accepted", |c| count(c, "accepted") == 100)
        .await;
    let stats = sandbox.sandbox.stats();
    assert!(stats.per_second_peak["402000000000086"] <= 20, "{stats:?}");
    assert_eq!(stats.pace_violations.values().sum::<u64>(), 0, "{stats:?}");
    gateway.terminate().await;
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_at_full_pace_is_paused_within_a_second() {
    const PEOPLE: u32 = 3_000;
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(87).await;
        sandbox.behave(json!({ "latencyMs": { "min": 5, "max": 120 } }));
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let client = &gateway.client;
        let account = sandbox.connect(client, "402000000000087", 1_000).await;
        import_people(client, PEOPLE, "all").await;
        let template = approved_template(client, &account, "offers").await;
        let campaign = launch(client, &account, &template, "all").await;
        progress_when(client, &campaign, PATIENCE, "it runs", |c| count(c, "accepted") >= 500)
            .await;
        let steer = async |what: &str| {
            let mutation =
                format!("mutation($id: ID!) {{ {what}(id: $id) {{ campaign {{ status }} }} }}");
            client.ask(&mutation, json!({ "id": campaign })).await;
            Utc::now()
        };
        let paused_at = steer("pauseCampaign").await;
        eventually("the second is over, and another", || async {
            (Utc::now() - paused_at > chrono::Duration::seconds(2)).then_some(())
        })
        .await;
        let calls = sandbox.sends("402000000000087");
        let late = |call: &&infrastructure::sandbox::Call| {
            call.at > paused_at + chrono::Duration::seconds(1)
        };
        assert_eq!(calls.iter().filter(late).count(), 0, "calls after the second");
        assert!(calls.len() < PEOPLE as usize, "it was over before it was paused");
        steer("resumeCampaign").await;
        let more = calls.len() as u64 + 200;
        progress_when(client, &campaign, PATIENCE, "it goes on", |c| count(c, "accepted") >= more)
            .await;
        assert_eq!(sandbox.sandbox.stats().counted_twice, 0);
        gateway.terminate().await;
        sandbox.stop().await;
    }
}

/// Each person is left out for the reason that is theirs: found when the campaign is planned, and found when the message
/// falls due.
#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_left_out_for_their_own_reason() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(88).await;
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let client = &gateway.client;
        let number =
            Number { portfolio_id: Some("9001".to_owned()), ..Number::new("402000000000088") };
        let account = sandbox.connect_number(client, &number).await;
        let template = approved_template(client, &account, "offers").await;
        let mut people = HashMap::new();
        let long = "x".repeat(1_100);
        for (name, phone, city, consent) in [
            ("fine", "+447700900001", Some("London"), Some("OPTED_IN")),
            ("NO_CONSENT", "+447700900002", Some("London"), None),
            ("OPTED_OUT", "+447700900003", Some("London"), Some("OPTED_OUT")),
            ("MISSING_PARAMETER", "+447700900004", None, Some("OPTED_IN")),
            ("PARAMETER_TOO_LONG", "+447700900005", Some(long.as_str()), Some("OPTED_IN")),
            // WhatsApp delivers no marketing to numbers of the United States.
            ("MARKETING_BLOCKED", "+12025550143", Some("Boston"), Some("OPTED_IN")),
        ] {
            let input = json!({
                "phoneNumber": phone, "name": name, "tags": ["all"], "consent": consent,
                "attributes": city.map(|city| json!({ "city": city })), "consentSource": consent.map(|_| "form"),
            });
            people.insert(name, add(client, input).await);
        }
        let stranger = json!({
            "userId": "GB.7204418839015526601", "name": "NO_IDENTITY", "tags": ["all"],
            "attributes": { "city": "London" }, "consent": "OPTED_IN", "consentSource": "form",
        });
        people.insert("NO_IDENTITY", add(client, stranger).await);
        // Known by an id of that portfolio alone, and the campaign goes out from another one.
        let elsewhere = Number {
            portfolio_id: Some("9002".to_owned()),
            waba_id: "301000000000089".to_owned(),
            ..Number::new("402000000000089")
        };
        let other = sandbox.connect_number(client, &elsewhere).await;
        let news = approved_template(client, &other, "news").await;
        let input = |account: &str, template: &str, tag: &str| {
            json!({
                "accountId": account, "templateId": template, "name": "Campaign",
                "parameters": { "body.1": "{{attributes.city}}" }, "audience": { "tags": [tag] },
            })
        };
        let planned = draft(client, input(&other, &news, "all")).await;
        start(client, &planned).await;
        progress_when(client, &planned, PATIENCE, "it is done", |c| c["status"] == "COMPLETED")
            .await;
        let reasons = skips(client, &planned).await;
        for (name, id) in &people {
            let expected = (*name != "fine").then_some(*name);
            assert_eq!(reasons.get(id).and_then(Option::as_deref), expected, "{name}");
        }

        // Contacts turn out to be one person while their messages wait: the person gets one, and their word counts for both.
        for (name, phone) in [
            ("kept", "+447700900071"),
            ("DUPLICATE", "+447700900072"),
            ("merged", "+447700900073"),
            ("one of two", "+447700900075"),
            ("the other", "+447700900076"),
        ] {
            let input = json!({
                "phoneNumber": phone, "name": name, "tags": ["twice"], "consent": "OPTED_IN", "consentSource": "form",
                "attributes": { "city": "London" },
            });
            people.insert(name, add(client, input).await);
        }
        let stopped = json!({
            "phoneNumber": "+447700900074", "name": "stopped", "consent": "OPTED_OUT", "consentSource": "form",
        });
        people.insert("stopped", add(client, stopped).await);
        let third = json!({
            "phoneNumber": "+447700900077", "name": "third", "consent": "OPTED_IN", "consentSource": "form",
        });
        people.insert("third", add(client, third).await);
        let twice = draft(client, input(&account, &template, "twice")).await;
        start_paused(client, &account, &twice).await;
        for (keep, merge) in [
            ("kept", "DUPLICATE"),
            ("stopped", "merged"),
            ("third", "one of two"),
            ("third", "the other"),
        ] {
            let (keep, merge) = (&people[keep], &people[merge]);
            let mutation = "mutation($keep: ID!, $merge: ID!) { mergeContacts(keep: $keep, merge: $merge) { position } }";
            client.ask(mutation, json!({ "keep": keep, "merge": merge })).await;
        }
        resume(client, &account).await;
        let campaign =
            progress_when(client, &twice, PATIENCE, "it is done", |c| c["status"] == "COMPLETED")
                .await;
        assert_eq!((count(&campaign, "accepted"), count(&campaign, "skipped")), (2, 3));
        let query =
            "query($id: ID!) { campaign(id: $id) { messages { nodes { to skipReason } } } }";
        let data = client.ask(query, json!({ "id": twice })).await;
        let mut reasons: Vec<(&str, &str)> = data["campaign"]["messages"]["nodes"]
            .as_array()
            .expect("messages")
            .iter()
            .map(|node| {
                let text = |name: &str| node[name].as_str().unwrap_or_default();
                (text("to"), text("skipReason"))
            })
            .collect();
        reasons.sort_unstable();
        let expected =
            [("+447700900071", ""), ("+447700900072", "DUPLICATE"), ("+447700900073", "OPTED_OUT")];
        assert_eq!(reasons[..3], expected);
        let mut of_third = [reasons[3].1, reasons[4].1];
        of_third.sort_unstable();
        assert_eq!(of_third, ["", "DUPLICATE"], "two who went into a third");

        // What WhatsApp says of somebody is known to the next campaign, to both kinds.
        let late = [
            ("fails", "+447700900011", "UNREACHABLE"),
            ("full", "+447700900012", "MARKETING_BLOCKED"),
        ];
        for (name, phone, _) in late {
            let input = json!({
                "phoneNumber": phone, "name": name, "tags": [name, "late"], "consent": "OPTED_IN", "consentSource": "form",
                "attributes": { "city": "London" },
            });
            people.insert(name, add(client, input).await);
        }
        for (name, behaviour) in [
            ("fails", json!({ "unreachable": ["+447700900011"] })),
            ("full", json!({ "errorRates": { "131049": 1.0 } })),
        ] {
            sandbox.behave(behaviour);
            let campaign = draft(client, input(&account, &template, name)).await;
            start(client, &campaign).await;
            progress_when(client, &campaign, PATIENCE, "it has failed", |c| {
                count(c, "failed") == 1
            })
            .await;
        }
        sandbox.behave(json!({}));
        let known = draft(client, input(&account, &template, "late")).await;
        start(client, &known).await;
        progress_when(client, &known, PATIENCE, "it is done", |c| c["status"] == "COMPLETED").await;
        let reasons = skips(client, &known).await;
        for (name, _, expected) in late {
            assert_eq!(reasons[&people[name]].as_deref(), Some(expected), "{name}");
        }

        // What changes between planning and sending.
        for (name, phone) in [
            ("opts out", "+447700900021"),
            ("is erased", "+447700900022"),
            ("stays", "+447700900023"),
        ] {
            let input = json!({
                "phoneNumber": phone, "name": name, "tags": ["waiting"], "consent": "OPTED_IN", "consentSource": "form",
                "attributes": { "city": "London" },
            });
            people.insert(name, add(client, input).await);
        }
        let waiting = draft(client, input(&account, &template, "waiting")).await;
        start_paused(client, &account, &waiting).await;
        let body = json!({ "phoneNumberId": "402000000000088", "from": "447700900021", "type": "text", "text": { "body": "STOP" } });
        sandbox.sandbox.inbound(&body).expect("a person writes");
        eventually("the opt-out is on record", || async {
            let query = "query($id: ID!) { contact(id: $id) { consent { status } } }";
            let data = client.ask(query, json!({ "id": people["opts out"] })).await;
            (data["contact"]["consent"]["status"] == "OPTED_OUT").then_some(())
        })
        .await;
        let erase =
            "mutation($id: ID!) { eraseContact(id: $id, reason: \"asked\") { contact { id } } }";
        client.ask(erase, json!({ "id": people["is erased"] })).await;
        resume(client, &account).await;
        progress_when(client, &waiting, PATIENCE, "it is done", |c| c["status"] == "COMPLETED")
            .await;
        let reasons = skips(client, &waiting).await;
        for (name, expected) in
            [("opts out", Some("OPTED_OUT")), ("is erased", Some("ERASED")), ("stays", None)]
        {
            assert_eq!(reasons[&people[name]].as_deref(), expected, "{name}");
        }
        assert!(sandbox.sends_to("402000000000088", "+447700900021").is_empty());

        // A template that WhatsApp takes away while somebody waits.
        let last = draft(client, input(&account, &template, "waiting")).await;
        start_paused(client, &account, &last).await;
        let event = TemplateEvent {
            name: "offers".to_owned(),
            event: "DISABLED".to_owned(),
            ..TemplateEvent::default()
        };
        sandbox.sandbox.template_event(&event).expect("a verdict");
        eventually("the template is disabled", || async {
            let query = "query($id: ID!) { template(id: $id) { status } }";
            let data = client.ask(query, json!({ "id": template })).await;
            (data["template"]["status"] == "DISABLED").then_some(())
        })
        .await;
        resume(client, &account).await;
        progress_when(client, &last, PATIENCE, "it is done", |c| c["status"] == "COMPLETED").await;
        let reasons = skips(client, &last).await;
        assert_eq!(reasons[&people["stays"]].as_deref(), Some("TEMPLATE_NOT_APPROVED"));

        // Words of one's own, to somebody who has not written.
        let send = "mutation($input: SendMessageInput!) { sendMessage(input: $input) { message { status skipReason } } }";
        let input = json!({ "accountId": account, "to": "+447700900001", "text": "Hello" });
        let data = client.ask(send, json!({ "input": input })).await;
        assert_eq!(data["sendMessage"]["message"]["skipReason"], "WINDOW_CLOSED");
        gateway.terminate().await;
        sandbox.stop().await;
    }
}

async fn add(client: &Client, input: Value) -> String {
    let mutation =
        "mutation($input: AddContactInput!) { addContact(input: $input) { contact { id } } }";
    let data = client.ask(mutation, json!({ "input": input })).await;
    data["addContact"]["contact"]["id"].as_str().expect("an id").to_owned()
}

/// Starts a campaign while its account is paused, so that it is planned and sends nothing until [`resume`].
async fn start_paused(client: &Client, account: &str, id: &str) {
    let pause =
        "mutation($id: ID!) { pauseAccount(id: $id, reason: \"a test\") { account { status } } }";
    client.ask(pause, json!({ "id": account })).await;
    start(client, id).await;
    held_by(client, id, "the account is paused: a test").await;
    progress_when(client, id, PATIENCE, "it is planned", |c| count(c, "recipients") > 0).await;
}

async fn resume(client: &Client, account: &str) {
    let resume = "mutation($id: ID!) { resumeAccount(id: $id) { account { status } } }";
    client.ask(resume, json!({ "id": account })).await;
}

/// Why each person was left out, by contact; `None`: they were not.
async fn skips(client: &Client, campaign: &str) -> HashMap<String, Option<String>> {
    let query = "query($id: ID!) { campaign(id: $id) { messages(first: 100) { nodes { contact { id } skipReason } } } }";
    let data = client.ask(query, json!({ "id": campaign })).await;
    let nodes = data["campaign"]["messages"]["nodes"].as_array().expect("messages");
    let skip = |node: &Value| {
        let id = node["contact"]["id"].as_str().expect("an id").to_owned();
        (id, node["skipReason"].as_str().map(str::to_owned))
    };
    nodes.iter().map(skip).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_becomes_marketing_needs_what_marketing_needs_from_then_on() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let sandbox = SandboxProcess::start(90).await;
        let gateway = Binary::start(&store, Some(&sandbox), &BinaryOptions::default()).await;
        let client = &gateway.client;
        let account = sandbox.connect(client, "402000000000090", 1).await;
        let csv: String = (0..12).map(|n| format!("+{}\n", 447_700_900_000_u64 + n)).collect();
        import_csv(client, &format!("phone\n{csv}"), "asked").await;
        for n in 12..24_u64 {
            let phone = format!("+{}", 447_700_900_000 + n);
            add(client, json!({ "phoneNumber": phone, "tags": ["asked"] })).await;
        }
        let input = json!({
            "accountId": account, "name": "orders", "language": "en", "category": "UTILITY",
            "components": [{ "type": "BODY", "text": "Your order has left and comes to you today." }],
        });
        let create = "mutation($input: CreateTemplateInput!) { createTemplate(input: $input) { template { id } } }";
        let data = client.ask(create, json!({ "input": input })).await;
        let template = data["createTemplate"]["template"]["id"].as_str().expect("an id").to_owned();
        let submit = "mutation($id: ID!) { submitTemplate(id: $id) { template { id } } }";
        client.ask(submit, json!({ "id": template })).await;
        let is = async |field: &str, value: &str| {
            eventually(value, || async {
                let query = "query($id: ID!) { template(id: $id) { status category } }";
                let data = client.ask(query, json!({ "id": template })).await;
                (data["template"][field] == value).then_some(())
            })
            .await;
        };
        is("status", "APPROVED").await;
        // One per second, so that most of them wait when the category changes.
        let campaign = draft(
            client,
            json!({ "accountId": account, "templateId": template, "name": "Orders", "audience": { "tags": ["asked"] } }),
        )
        .await;
        start(client, &campaign).await;
        progress_when(client, &campaign, PATIENCE, "it is under way", |c| {
            count(c, "accepted") >= 2
        })
        .await;
        let event = TemplateEvent {
            name: "orders".to_owned(),
            event: "CATEGORY_MARKETING".to_owned(),
            ..TemplateEvent::default()
        };
        sandbox.sandbox.template_event(&event).expect("a new category");
        is("category", "MARKETING").await;
        let done = progress_when(client, &campaign, PATIENCE, "it is done", |c| {
            count(c, "recipients") == 24 && count(c, "pending") == 0
        })
        .await;
        let skipped = count(&done, "skipped");
        assert!(skipped > 0 && only_skipped_for(&done, "NO_CONSENT"), "{done}");
        assert_eq!(count(&done, "accepted") + skipped, 24, "{done}");
        // Whoever has opted in got it all the same.
        assert!(count(&done, "accepted") >= 12, "{done}");
        gateway.terminate().await;
        sandbox.stop().await;
    }
}
