//! A portfolio's reach over days, on a clock that the test moves: real lanes and a real log, and WhatsApp's own record says
//! how many people were reached in any moving day.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api::app::Gateway;
use api::application::campaigns::{AudienceInput, CreateCampaign, Launch};
use api::application::contacts::AddContact;
use api::application::messages::SendMessage;
use api::application::templates::CreateTemplate;
use api::application::view::CampaignView;
use api::application::{Caller, accounts, campaigns, contacts, messages, templates, workspaces};
use api::config::Config;
use api::worker;
use chrono::{DateTime, Utc};
use domain::account::{Account, AccountCommand, AccountProvider, MessagingLimit};
use domain::contact::ConsentStatus;
use domain::message::{
    Content, ContentKind, Message, MessageCommand, MessageHeader, Priority, Recipient, SkipReason,
};
use domain::primitives::{Actor, MessageId, PhoneNumber, Wamid};
use domain::template::TemplateCategory;
use futures::StreamExt;
use gateway_tests::{Number, Store, StoreKind, stores};
use infrastructure::clock::{ManualClock, SystemIds};
use infrastructure::ledger::Context;
use infrastructure::sandbox::{Options, Sandbox, Server};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::watch;

const LIMIT: u32 = 250;
const DAY: chrono::Duration = chrono::Duration::hours(24);
/// Moves of the clock that bring everybody their message, many times over.
const MOVES_MAX: usize = 4_000;

/// One gateway process, as far as its work goes: what runs in it ends at once where it is killed.
struct Life {
    runtime: Runtime,
    gateway: Arc<Gateway>,
    _stop: watch::Sender<bool>,
}

impl Life {
    fn start(store: &Store, sandbox: &str, clock: &Arc<ManualClock>) -> Self {
        let runtime = runtime();
        let mut flags = store.settings();
        flags.push(("graph.base_url".to_owned(), sandbox.to_owned()));
        flags.push(("data_dir".to_owned(), store.dir.path().display().to_string()));
        let config = Config::load(None, [], &flags).expect("a configuration");
        let began = std::time::Instant::now();
        let gateway = loop {
            let (clock, ids) = (clock.clone(), Arc::new(SystemIds::new()));
            match runtime.block_on(Gateway::open(config.clone(), clock, ids)) {
                Ok(gateway) => break gateway,
                // The one that was killed has not let go of its files yet.
                Err(_) if began.elapsed() < gateway_tests::PATIENCE => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(error) => panic!("{error:#}"),
            }
        };
        let (stop, stopped) = watch::channel(false);
        let read = gateway.read.clone();
        runtime.spawn(async move { read.run().await });
        runtime.spawn(worker::campaign::run(gateway.clone(), stopped.clone()));
        runtime.spawn(worker::dispatch::run(gateway.clone(), stopped));
        Self { runtime, gateway, _stop: stop }
    }

    /// Nothing is said to anybody, nothing is waited for.
    fn kill(self) {
        let Self { runtime, gateway, _stop: stop } = self;
        // Nobody is told to stop before everybody is gone.
        runtime.shutdown_timeout(Duration::from_secs(10));
        drop((gateway, stop));
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// WhatsApp and its clock, which outlive every gateway.
struct World {
    clock: Arc<ManualClock>,
    runtime: Runtime,
    sandbox: Sandbox,
    server: Option<Server>,
    url: String,
    random: StdRng,
}

impl World {
    fn new(seed: u64) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let began: DateTime<Utc> = "2027-03-01T08:00:00Z".parse().expect("an instant");
        let clock = Arc::new(ManualClock::new(began));
        let runtime = runtime();
        let (sandbox, server) = runtime.block_on(async {
            let options = Options { seed, ..Options::new(clock.clone()) };
            let sandbox = Sandbox::open(options).expect("a sandbox");
            let listen = SocketAddr::from(([127, 0, 0, 1], 0));
            let server = Server::start(listen, sandbox.clone()).await.expect("a listener");
            (sandbox, server)
        });
        let url = server.url();
        let random = StdRng::seed_from_u64(seed);
        Self { clock, runtime, sandbox, server: Some(server), url, random }
    }

    fn sends(&self) -> usize {
        usize::try_from(self.sandbox.stats().sends).expect("a small count")
    }

    /// Moves the clock once, and lets everybody do what is to be done: a little while something moves, else a lot.
    fn go_on(&mut self, idle: &mut u32) {
        let before = self.sends();
        let by = match *idle {
            0..10 => Duration::from_millis(self.random.random_range(20..300)),
            10..16 => Duration::from_secs(self.random.random_range(1..20)),
            _ => Duration::from_secs(self.random.random_range(60..2_400)),
        };
        self.clock.advance(by);
        // Nothing moves for lack of a processor, too: before a leap that is given more time to show.
        let looks = if *idle < 10 { 4 } else { 20 };
        for _ in 0..looks {
            std::thread::sleep(Duration::from_millis(3));
            if self.sends() > before {
                *idle = 0;
                return;
            }
        }
        // After a leap leases are looked after and queues are read anew before anything can go.
        *idle = if *idle >= 16 { 6 } else { *idle + 1 };
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server.stop(&self.sandbox));
        }
    }
}

fn first_send(sandbox: &Sandbox) -> DateTime<Utc> {
    let calls = sandbox.calls(0).expect("the record");
    calls.iter().find(|call| call.is_send()).expect("a call").at
}

/// The most people in any moving day, by the record; of `except` nothing counts.
fn peak(sandbox: &Sandbox, except: &str) -> usize {
    let mut sent: Vec<(DateTime<Utc>, String)> = sandbox
        .calls(0)
        .expect("the record")
        .into_iter()
        .filter(|call| call.is_send() && call.counted)
        .filter_map(|call| Some((call.at, call.to?)))
        .filter(|(_, to)| to.trim_start_matches('+') != except.trim_start_matches('+'))
        .collect();
    sent.sort();
    let mut most = 0;
    for (last, (at, _)) in sent.iter().enumerate() {
        let day = sent[..=last].iter().rev().take_while(|(other, _)| *at - *other < DAY);
        most = most.max(day.map(|(_, to)| to).collect::<HashSet<_>>().len());
    }
    most
}

const NUMBERS: [&str; 2] = ["402000000000071", "402000000000072"];
const WRITER: &str = "+447700999999";

/// Two numbers of one portfolio, everybody, and a campaign from each number.
async fn set_up(
    gateway: &Arc<Gateway>,
    admin: &Caller,
    sandbox: &Sandbox,
    people: u32,
) -> Vec<(String, CampaignView)> {
    let workspace = workspaces::ensure_default_workspace(gateway).await.expect("a workspace");
    let mut all = vec![];
    for (index, phone_number_id) in NUMBERS.into_iter().enumerate() {
        let number = Number { messages_per_second: 80, ..Number::new(phone_number_id) };
        let mut spec = number.spec(None);
        spec.messaging_limit = "TIER_250".to_owned();
        sandbox.provision(spec).expect("a number");
        let connect = accounts::ConnectAccount {
            workspace_id: Some(workspace.to_string()),
            name: format!("Number {index}"),
            provider: AccountProvider::CloudApi,
            phone_number_id: Some(phone_number_id.to_owned()),
            waba_id: Some(number.waba_id.clone()),
            portfolio_id: Some("9001".to_owned()),
            access_token: Some(number.token.clone()),
            app_secret: Some(gateway_tests::APP_SECRET.to_owned()),
            verify_token: None,
            pin: None,
            time_zone: "Europe/Berlin".to_owned(),
            default_region: None,
            quiet_hours: None,
            messages_per_second: Some(80),
            idempotency_key: None,
        };
        let account = accounts::connect(gateway, admin, connect).await.expect("an account").value;
        // Only one of them was told so far.
        if index == 0 {
            let limit = MessagingLimit { people_per_day: Some(LIMIT) };
            let command = AccountCommand::RecordLimit { limit, at: gateway.clock.now() };
            let context = context(gateway);
            let done = gateway.bus.execute::<Account>(account.id.0, command, &context).await;
            done.expect("a limit");
        }
        let create = CreateTemplate {
            account_id: account.id.to_string(),
            name: format!("offers_{index}"),
            language: "en".to_owned(),
            category: TemplateCategory::Marketing,
            components: json!([{ "type": "BODY", "text": "Our offers are ready for you today." }]),
            idempotency_key: None,
        };
        let template = templates::create(gateway, admin, create).await.expect("a template").value;
        templates::submit(gateway, admin, &template.id.to_string()).await.expect("it is submitted");
        templates::sync(gateway, admin, &account.id.to_string()).await.expect("it is approved");
        let create = CreateCampaign {
            account_id: account.id.to_string(),
            external_id: None,
            metadata: None,
            name: format!("Campaign {index}"),
            template_id: template.id.to_string(),
            parameters: None,
            audience: AudienceInput {
                tags: vec![format!("half-{index}")],
                ..AudienceInput::default()
            },
            schedule: None,
            messages_per_second: None,
            frequency_cap: None,
            time_to_live: None,
            idempotency_key: None,
        };
        let campaign = campaigns::create(gateway, admin, create).await.expect("a campaign").value;
        all.push((account.id.to_string(), campaign));
    }
    let people = (0..people).map(|n| AddContact {
        workspace_id: Some(workspace.to_string()),
        phone_number: Some(format!("+{}", 447_700_900_000_u64 + u64::from(n))),
        tags: vec![format!("half-{}", n % 2)],
        consent: Some(ConsentStatus::OptedIn),
        consent_source: Some("form".to_owned()),
        ..AddContact::default()
    });
    let adding = people.map(|person| contacts::add(gateway, admin, person));
    let added: Vec<_> = futures::stream::iter(adding).buffered(32).collect().await;
    added.into_iter().for_each(|added| drop(added.expect("a person")));
    for (_, campaign) in &all {
        let launch = Launch {
            id: campaign.id.to_string(),
            max_recipients: None,
            max_cost: None,
            idempotency_key: None,
        };
        campaigns::launch(gateway, admin, launch).await.expect("it starts");
    }
    all
}

fn context(gateway: &Gateway) -> Context {
    Context::new(Actor::system("test"), gateway.ids.next_id(gateway.clock.now()))
}

/// Somebody writes, which opens their window, and is answered: now, and once more when the window will have closed.
async fn answer_somebody(
    gateway: &Gateway,
    admin: &Caller,
    sandbox: &Sandbox,
    account: &str,
) -> MessageId {
    let said = json!({ "phoneNumberId": NUMBERS[0], "from": WRITER, "type": "text", "text": { "body": "Hello" } });
    let wamid = sandbox.inbound(&said).expect("a person writes");
    let account_id = account.parse().expect("an id");
    let workspace = workspaces::ensure_default_workspace(gateway).await.expect("a workspace");
    let add = AddContact {
        workspace_id: Some(workspace.to_string()),
        phone_number: Some(WRITER.to_owned()),
        ..AddContact::default()
    };
    let person = contacts::add(gateway, admin, add).await.expect("a person").value;
    let phone = PhoneNumber::parse(WRITER).expect("a number");
    let now = gateway.clock.now();
    let receive = MessageCommand::Receive {
        header: Box::new(MessageHeader {
            workspace_id: workspace,
            account_id: domain::primitives::AccountId(account_id),
            contact_id: person.id,
            campaign_id: None,
            is_test: false,
            content_kind: ContentKind::Inbound,
            template: None,
            priority: Priority::Reply,
            time_to_live_s: None,
            external_id: None,
            metadata: None,
            reply_to: None,
            country: None,
        }),
        from: Recipient { phone: Some(phone), user_id: None },
        wamid: Wamid::parse(&wamid).expect("a wamid"),
        content: Content::Inbound {
            message_type: "text".to_owned(),
            body: json!({}),
            preview: String::new(),
        },
        opens_window: true,
        at: now,
    };
    let id = gateway.ids.next_id(now);
    gateway.bus.execute::<Message>(id, receive, &context(gateway)).await.expect("it is received");
    let reply = SendMessage {
        account_id: account.to_owned(),
        to: Some(WRITER.to_owned()),
        text: Some("Hello to you".to_owned()),
        ..SendMessage::default()
    };
    let later = SendMessage { send_at: Some(now + chrono::Duration::hours(25)), ..reply.clone() };
    let sent = messages::send(gateway, admin, reply).await.expect("it is sent").value;
    assert_eq!(sent.skip_reason, None);
    let planned = messages::send(gateway, admin, later).await.expect("it is planned").value;
    assert_eq!(planned.skip_reason, None);
    planned.id
}

fn days_of_a_portfolio(kind: StoreKind, seed: u64, people: u32) {
    let mut world = World::new(seed);
    let starter = runtime();
    let store = starter.block_on(Store::fresh(kind));
    let admin = Caller::everything(Actor::system("test"));
    let mut life = Life::start(&store, &world.url, &world.clock);
    let all = {
        let gateway = life.gateway.clone();
        life.runtime.block_on(set_up(&gateway, &admin, &world.sandbox, people))
    };
    let (mut idle, mut lives, mut told, mut too_late) = (0, 1, false, None);
    // In the midst of each day's first sends, and in the midst of a wait.
    let mut kills: Vec<usize> =
        [0, 250, 500].map(|day| day + world.random.random_range(5..90)).to_vec();
    kills.reverse();
    let mut moves = 0;
    let ids: Vec<_> = all.iter().map(|(_, campaign)| campaign.id).collect();
    loop {
        moves += 1;
        assert!(moves < MOVES_MAX, "after {moves} moves {} were sent", world.sends());
        world.go_on(&mut idle);
        let sends = world.sends();
        // Some of those who were decided when the gateway was killed were never written to.
        let is_waiting = idle >= 8 && sends >= LIMIT as usize - 60;
        if kills.last().is_some_and(|at| sends >= *at) || (is_waiting && lives == 2 && told) {
            kills.pop();
            lives += 1;
            life.kill();
            life = Life::start(&store, &world.url, &world.clock);
        }
        let gateway = life.gateway.clone();
        if is_waiting && too_late.is_none() {
            // What costs no reach goes on while everybody else waits.
            let account = &all[0].0;
            let answering = answer_somebody(&gateway, &admin, &world.sandbox, account);
            too_late = Some(life.runtime.block_on(answering));
            let mut tries = 0;
            while world.sends() == sends {
                tries += 1;
                assert!(tries < 500, "the answer waits for reach");
                world.clock.advance(Duration::from_millis(100));
                std::thread::sleep(Duration::from_millis(10));
            }
            let day = world.clock.now_at() - first_send(&world.sandbox);
            assert!(day < DAY, "the day is over");
        }
        if is_waiting && !told {
            // Both say when it goes on.
            let (reach, waiting) = life.runtime.block_on(async {
                let id = &all[1].0;
                let account = accounts::get(&gateway, &admin, id, None, None).await.expect("it");
                let reach = accounts::reach(&gateway, &admin, &account).await.expect("its reach");
                let id = all[1].1.id.to_string();
                let campaign = campaigns::get(&gateway, &admin, &id, None, None).await.expect("it");
                let waiting = campaigns::waiting_for(&gateway, &admin, &campaign).await;
                (reach, waiting.expect("what it waits for"))
            });
            assert_eq!(reach.limit, Some(LIMIT));
            if reach.used < u64::from(LIMIT) {
                continue;
            }
            told = true;
            assert_eq!(reach.used, u64::from(LIMIT));
            let resets_at = reach.resets_at.expect("when the first of them leaves");
            let after = resets_at - first_send(&world.sandbox);
            assert!(after >= DAY && after < DAY + chrono::Duration::minutes(5), "{after}");
            let waiting = waiting.expect("it waits for something");
            assert!(waiting.starts_with("reach: 250 of 250"), "{waiting}");
        }
        // Idle moves alone show that nothing is left, and asking costs more than moving.
        if idle == 6 || sends > people as usize {
            let progress = life.runtime.block_on(campaigns::progress(&gateway, &admin, &ids));
            let progress = progress.expect("progress");
            let settled =
                progress.values().all(|p| p.recipients == u64::from(people / 2) && p.pending == 0);
            if settled {
                let sum = |of: fn(&campaigns::CampaignProgress) -> u64| {
                    progress.values().map(of).sum::<u64>()
                };
                // What was on its way when the gateway was killed is in doubt, visibly, and little.
                let (accepted, in_doubt) = (sum(|p| p.accepted), sum(|p| p.in_doubt));
                assert_eq!(accepted + in_doubt, u64::from(people), "{progress:?}");
                assert!(in_doubt < 80, "{progress:?}");
                assert_eq!((sum(|p| p.skipped), sum(|p| p.failed)), (0, 0));
                break;
            }
        }
    }
    let days = world.clock.now_at() - first_send(&world.sandbox);
    let full_days = i32::try_from((people - 1) / LIMIT).expect("a few");
    assert!(days >= DAY * full_days && days < DAY * (full_days + 2), "{days}");
    assert!(told && lives >= 4, "{lives} lives");
    // Words of one's own are judged again when they are due.
    let too_late = too_late.expect("somebody was answered").to_string();
    let get = messages::get(&life.gateway, &admin, &too_late, None, None);
    let message = life.runtime.block_on(get).expect("the second answer");
    assert_eq!(message.skip_reason, Some(SkipReason::WindowClosed));
    let most = peak(&world.sandbox, WRITER);
    assert!(most <= LIMIT as usize, "{most} people in a moving day");
    // And the limit is used, not merely kept.
    assert!(most > 200, "{most} people at most");
    let by_sandbox = &world.sandbox.stats().reach_peak;
    assert!(by_sandbox.values().all(|peak| *peak <= LIMIT), "{by_sandbox:?}");
    let mut got: BTreeMap<String, u32> = BTreeMap::new();
    for call in world.sandbox.calls(0).expect("the record") {
        if call.is_send() && call.counted {
            *got.entry(call.to.unwrap_or_default()).or_default() += 1;
        }
    }
    assert!(got.values().all(|times| *times == 1), "somebody got it twice");
    life.kill();
}

/// [`domain::port::Clock::now`] without the trait in scope of everything.
trait Now {
    fn now_at(&self) -> DateTime<Utc>;
}

impl Now for Arc<ManualClock> {
    fn now_at(&self) -> DateTime<Utc> {
        domain::port::Clock::now(self.as_ref())
    }
}

#[test]
fn two_numbers_of_one_portfolio_never_reach_more_than_the_limit_in_any_day() {
    for (kind, seed) in stores().into_iter().zip(71..) {
        days_of_a_portfolio(kind, seed, 600);
    }
}

/// Longer than marketing is tried by default (72 h), and nobody is lost.
#[test]
fn whoever_waits_for_reach_longer_than_the_default_time_to_live_gets_their_message() {
    days_of_a_portfolio(StoreKind::Sqlite, 75, 900);
}
