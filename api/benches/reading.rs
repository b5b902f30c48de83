//! What people read, out of few and out of many messages.
//!
//!     cargo bench -p whatsapp-gateway --bench reading                                  # SQLite, and PostgreSQL where
//!                                                                                      # TEST_DATABASE_URL names one
//!     cargo bench -p whatsapp-gateway --bench reading -- --messages 10000,1000000      # a million takes minutes to fill
//!     cargo bench -p whatsapp-gateway --bench reading -- --smoke                       # whether it still works
//!
//! 50 messages with their contacts, as GraphQL: beside async-graphql that answers the same objects from memory, and on
//! PostgreSQL beside plain JSON of the same rows, and beside PostGraphile where `npm ci` was run in
//! `api/benches/postgraphile`. Rounds follow each other, medians of five; all over loopback, from the
//! same client. After that 200 requests per second for ten seconds, and the other questions that must not grow with what
//! there is, one at a time.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::{App, HttpResponse, HttpServer, web};
use async_graphql::{EmptyMutation, EmptySubscription, Object, Schema, SimpleObject};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::{PgPool, Row};
use support::client::{Call, Flood, flood, latency, paced};
use support::figures::{counts, is_smoke, line, ms};
use support::fill::{Fill, long_ago};
use support::place::{KEY, Place};
use support::postgraphile::Postgraphile;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const CLIENTS: usize = 8;
const PAGE: usize = 50;
/// The page that everything here is about.
const QUERY: &str = "query($first: Int) { messages(first: $first) { nodes { id status to preview wamid attempts \
                     createdAt acceptedAt sentAt deliveredAt readAt campaignId contact { id name phoneNumber language tags } } \
                     pageInfo { hasNextPage endCursor } } }";

/// How much is measured.
#[derive(Clone, Copy)]
struct Size {
    requests: usize,
    rounds: usize,
    per_second: u32,
    lasting: Duration,
    /// Of each question that is asked alone.
    times: usize,
}

/// What is compared between a small store and a large one, in milliseconds.
struct Alone {
    what: &'static str,
    median: f64,
}

fn main() {
    let size = if is_smoke() {
        Size {
            requests: 80,
            rounds: 1,
            per_second: 50,
            lasting: Duration::from_millis(400),
            times: 20,
        }
    } else {
        Size {
            requests: 2_000,
            rounds: 5,
            per_second: 200,
            lasting: Duration::from_secs(10),
            times: 300,
        }
    };
    let default: &[usize] = if is_smoke() { &[120, 600] } else { &[10_000, 100_000] };
    let sizes = counts("--messages", default);
    actix_web::rt::System::with_tokio_rt(support::runtime).block_on(async {
        let mut before = None;
        for messages in &sizes {
            let alone = measure(Place::sqlite().await, *messages, size).await;
            compare(&before, &alone);
            before.get_or_insert(alone);
        }
        let mut before = None;
        for messages in &sizes {
            let Some(place) = Place::postgres().await else { return };
            let alone = measure(place, *messages, size).await;
            compare(&before, &alone);
            before.get_or_insert(alone);
        }
    });
}

fn compare(before: &Option<Vec<Alone>>, now: &[Alone]) {
    let Some(before) = before else { return };
    for (few, many) in before.iter().zip(now) {
        line(
            many.what,
            many.median,
            "ms alone",
            Some((few.median, "of what it takes of the fewest")),
        );
    }
}

async fn measure(place: Place, messages: usize, size: Size) -> Vec<Alone> {
    let began = Instant::now();
    let fill = Fill::plan(&place, messages, long_ago()).await;
    fill.run(&place).await;
    println!(
        "{}, {messages} messages, filled in {:.0} s; medians of {}",
        place.store,
        began.elapsed().as_secs_f64(),
        size.rounds
    );
    let page = Call::graphql(KEY, QUERY, &json!({ "first": PAGE }));
    let data = place.connection().await.data(&page).await;
    let nodes = data["messages"]["nodes"].as_array().expect("there are messages");
    assert_eq!(nodes.len(), PAGE);
    assert!(
        nodes
            .iter()
            .all(|node| node["contact"]["phoneNumber"].is_string() && node["status"] == "READ")
    );

    let (memory, memory_server) = from_memory(&data);
    let answer = actix_answer(memory, &page).await;
    assert_eq!(answer, data, "both answer the same");
    let plain = match place.store {
        "PostgreSQL" => Some(plain_json(&place).await),
        _ => None,
    };
    let postgraphile = match place.store {
        "PostgreSQL" => Postgraphile::start(&place, &nodes[0], PAGE).await,
        _ => None,
    };
    let (mut ours, mut peers, mut plains, mut others) = (vec![], vec![], vec![], vec![]);
    for _ in 0..size.rounds {
        peers.push(flood(memory, &page, CLIENTS, size.requests).await);
        ours.push(flood(place.address(), &page, CLIENTS, size.requests).await);
        if let Some((address, _)) = &plain {
            plains.push(flood(*address, &Call::get("/"), CLIENTS, size.requests).await);
        }
        if let Some(peer) = &postgraphile {
            others.push(flood(peer.address, &peer.call, CLIENTS, size.requests).await);
        }
    }
    let (ours, peers) = (Flood::median(&ours), Flood::median(&peers));
    let (what, alone_in_memory) =
        ("50 messages with their contacts", "of async-graphql from memory");
    line(what, ours.per_second, "requests/s", Some((peers.per_second, alone_in_memory)));
    line("async-graphql from memory", peers.per_second, "requests/s", None);
    let used = (peers.processor_us, alone_in_memory);
    line(
        if place.store == "SQLite" {
            "processor per request, both ends"
        } else {
            "processor per request, both ends, less PostgreSQL"
        },
        ours.processor_us,
        "µs",
        Some(used),
    );
    if !plains.is_empty() {
        let plains = Flood::median(&plains).per_second;
        let beside = (plains, "of plain JSON over the same SQL");
        line(what, ours.per_second, "requests/s", Some(beside));
        line("plain JSON over the same SQL", plains, "requests/s", None);
    }
    if let Some(peer) = postgraphile {
        let others = Flood::median(&others).per_second;
        line(what, ours.per_second, "requests/s", Some((others, "of PostGraphile")));
        line("PostGraphile", others, "requests/s", None);
        peer.end().await;
    }
    let pace = paced(place.address(), &page, CLIENTS, size.per_second, size.lasting).await;
    line(&format!("p99 at {} requests/s", size.per_second), ms(pace.p99), "ms", None);
    line(&format!("median at {} requests/s", size.per_second), ms(pace.median), "ms", None);
    let alone = alone(&place, &fill, &data, size).await;
    memory_server.stop(false).await;
    if let Some((_, server)) = plain {
        server.stop(false).await;
    }
    place.end().await;
    alone
}

/// One after the other, nothing else going on.
async fn alone(place: &Place, fill: &Fill, data: &Value, size: Size) -> Vec<Alone> {
    let campaign = fill.campaign.to_string();
    let middle = fill.message_id(fill.messages / 2).to_string();
    let progress = "query($id: ID!) { campaign(id: $id) { status progress { recipients pending accepted sent delivered read \
                    replied clicked failed skipped skips { reason count } failures { code count } messagesPerSecond } } }";
    let filtered = "query($id: ID!) { messages(first: 50, filter: { campaignIds: [$id], status: [READ] }) { nodes { id status } totalCount } }";
    let next = "query($after: String) { messages(first: 50, after: $after) { nodes { id status contact { id } } } }";
    let one = "query($id: ID!) { message(id: $id) { id status preview contact { id } } }";
    let health = "query { projections { name lag status } }";
    let cursor = &data["messages"]["pageInfo"]["endCursor"];
    let questions = [
        ("50 messages with their contacts", QUERY, json!({ "first": PAGE })),
        ("a campaign's progress", progress, json!({ "id": campaign })),
        ("the campaign's read ones, and how many", filtered, json!({ "id": campaign })),
        ("the next page", next, json!({ "after": cursor })),
        ("one message", one, json!({ "id": middle })),
        ("how the read models are", health, json!({})),
    ];
    let mut found = Vec::with_capacity(questions.len());
    for (what, query, variables) in questions {
        let call = Call::graphql(KEY, query, &variables);
        let mut connection = place.connection().await;
        let answer = connection.data(&call).await;
        if what == "a campaign's progress" {
            assert_eq!(answer["campaign"]["progress"]["read"], fill.messages, "{answer}");
        }
        let mut took = Vec::with_capacity(size.times);
        for _ in 0..size.times {
            let began = Instant::now();
            connection.ask(&call).await;
            took.push(began.elapsed());
        }
        let taken = latency(&mut took);
        line(what, ms(taken.median), "ms alone", None);
        found.push(Alone { what, median: ms(taken.median) });
    }
    found
}

async fn actix_answer(address: SocketAddr, call: &Call) -> Value {
    let mut connection = support::client::Connection::open(address).await.expect("it listens");
    connection.data(call).await
}

#[derive(Clone, Deserialize, SimpleObject)]
#[serde(rename_all = "camelCase")]
struct Message {
    id: async_graphql::ID,
    status: String,
    to: Option<String>,
    preview: Option<String>,
    wamid: Option<String>,
    attempts: i32,
    created_at: String,
    accepted_at: Option<String>,
    sent_at: Option<String>,
    delivered_at: Option<String>,
    read_at: Option<String>,
    campaign_id: Option<async_graphql::ID>,
    contact: Contact,
}

#[derive(Clone, Deserialize, SimpleObject)]
#[serde(rename_all = "camelCase")]
struct Contact {
    id: async_graphql::ID,
    name: Option<String>,
    phone_number: Option<String>,
    language: Option<String>,
    tags: Vec<String>,
}

#[derive(Clone, Deserialize, SimpleObject)]
#[serde(rename_all = "camelCase")]
struct PageInfo {
    has_next_page: bool,
    end_cursor: Option<String>,
}

#[derive(Clone, Deserialize, SimpleObject)]
#[serde(rename_all = "camelCase")]
struct Messages {
    nodes: Vec<Message>,
    page_info: PageInfo,
}

struct Memory(Messages);

#[Object]
impl Memory {
    async fn messages(&self, first: Option<i32>) -> Messages {
        let count = first.and_then(|first| usize::try_from(first).ok()).unwrap_or(PAGE);
        let nodes = self.0.nodes.iter().take(count).cloned().collect();
        Messages { nodes, page_info: self.0.page_info.clone() }
    }
}

/// async-graphql with nothing behind it.
fn from_memory(data: &Value) -> (SocketAddr, actix_web::dev::ServerHandle) {
    let messages = Messages::deserialize(&data["messages"]).expect("it is what was asked for");
    let schema = Schema::build(Memory(messages), EmptyMutation, EmptySubscription).finish();
    type Served = Schema<Memory, EmptyMutation, EmptySubscription>;
    async fn answer(schema: web::Data<Served>, body: web::Bytes) -> HttpResponse {
        let Ok(request) = serde_json::from_slice::<async_graphql::Request>(&body) else {
            return HttpResponse::BadRequest().finish();
        };
        let answer = schema.execute(request).await;
        HttpResponse::Ok().content_type("application/json").json(answer)
    }
    let schema = web::Data::new(schema);
    serve(move |routes| {
        routes.app_data(schema.clone()).route("/graphql", web::post().to(answer));
    })
}

/// The same rows by the same SQL, as they are, without GraphQL or anybody who checks who asks.
async fn plain_json(place: &Place) -> (SocketAddr, actix_web::dev::ServerHandle) {
    // Plain names for the tables in use.
    place.running.gateway.read.name_tables().await.expect("views are made");
    let pool = PgPool::connect(&place.url).await.expect("the database answers");
    let workspace: sqlx::types::Uuid =
        sqlx::query_scalar("SELECT workspace_id FROM messages LIMIT 1")
            .fetch_one(&pool)
            .await
            .expect("there are messages");
    let source = web::Data::new((pool, workspace));
    async fn answer(source: web::Data<(PgPool, sqlx::types::Uuid)>) -> HttpResponse {
        let (pool, workspace) = &**source;
        match rows(pool, *workspace).await {
            Ok(body) => HttpResponse::Ok().content_type("application/json").body(body),
            Err(error) => HttpResponse::InternalServerError().body(error.to_string()),
        }
    }
    serve(move |routes| {
        routes.app_data(source.clone()).route("/", web::get().to(answer));
    })
}

async fn rows(pool: &PgPool, workspace: sqlx::types::Uuid) -> Result<String, sqlx::Error> {
    let messages = sqlx::query(
        "SELECT created_at, id, sequence, doc, contact_id FROM messages WHERE 1 = 1 AND workspace_id = $1 \
         ORDER BY created_at DESC, id DESC LIMIT $2",
    );
    let messages = messages.bind(workspace).bind(PAGE as i64 + 1).fetch_all(pool).await?;
    let people: Vec<sqlx::types::Uuid> =
        messages.iter().map(|row| row.try_get("contact_id")).collect::<Result<_, _>>()?;
    let contacts = sqlx::query("SELECT id, sequence, doc FROM contacts WHERE id = ANY($1)");
    let contacts = contacts.bind(&people).fetch_all(pool).await?;
    let mut known = std::collections::HashMap::with_capacity(contacts.len());
    for row in &contacts {
        known.insert(row.try_get::<sqlx::types::Uuid, _>("id")?, document(row)?);
    }
    let mut body = String::from("[");
    for row in messages.iter().take(PAGE) {
        let (id, person): (sqlx::types::Uuid, sqlx::types::Uuid) =
            (row.try_get("id")?, row.try_get("contact_id")?);
        if body.len() > 1 {
            body.push(',');
        }
        let contact = known.get(&person).map_or("null", String::as_str);
        body.push_str(&format!(
            "{{\"id\":\"{id}\",\"createdAt\":{},\"message\":{},\"contact\":{contact}}}",
            row.try_get::<i64, _>("created_at")?,
            document(row)?,
        ));
    }
    body.push(']');
    Ok(body)
}

fn document(row: &sqlx::postgres::PgRow) -> Result<String, sqlx::Error> {
    let plain = gateway_pack::unpack(row.try_get("doc")?);
    let text = plain.ok().and_then(|plain| String::from_utf8(plain).ok());
    text.ok_or_else(|| sqlx::Error::Protocol("a document does not unpack".to_owned()))
}

fn serve(
    routes: impl Fn(&mut web::ServiceConfig) + Send + Clone + 'static,
) -> (SocketAddr, actix_web::dev::ServerHandle) {
    let routes = Arc::new(std::sync::Mutex::new(routes));
    let server = HttpServer::new(move || {
        let routes = routes.lock().expect("nobody panics with it").clone();
        App::new().configure(routes)
    });
    let server = server.disable_signals().bind("127.0.0.1:0").expect("loopback has a free port");
    let address = server.addrs()[0];
    let server = server.run();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    (address, handle)
}
