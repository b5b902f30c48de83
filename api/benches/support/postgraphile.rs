//! PostGraphile, which makes GraphQL of whatever tables there are, over the same messages and people as plain columns.
//! Runs where Node has it: `npm ci` in `api/benches/postgraphile`.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::client::{Call, Connection};
use super::place::{KEY, Place};

/// The tables, with the indexes that PostGraphile's own documentation asks for. Texts are those of a message of ours.
const TABLES: [&str; 6] = [
    "CREATE SCHEMA peer",
    "CREATE TABLE peer.contacts (id uuid PRIMARY KEY, name text, phone_number text, language text, tags text[])",
    "CREATE TABLE peer.messages (id uuid PRIMARY KEY, contact_id uuid NOT NULL, campaign_id uuid,
         created_at timestamptz NOT NULL, accepted_at timestamptz, sent_at timestamptz, delivered_at timestamptz,
         read_at timestamptz, status text, \"to\" text, preview text, wamid text, attempts int)",
    "INSERT INTO peer.contacts SELECT id, $1 ->> 'name', $1 ->> 'phoneNumber', $1 ->> 'language',
         ARRAY(SELECT jsonb_array_elements_text($1 -> 'tags')) FROM contacts",
    "INSERT INTO peer.messages SELECT id, contact_id, campaign_id, at.time, at.time, at.time, at.time, at.time, status,
         $1 ->> 'to', $1 ->> 'preview', $1 ->> 'wamid', attempts
     FROM messages, LATERAL (SELECT to_timestamp(created_at / 1000.0) AS time) AS at",
    "CREATE INDEX ON peer.messages (created_at DESC, id DESC)",
];
const REFERENCES: [&str; 4] = [
    "CREATE INDEX ON peer.messages (contact_id)",
    "ALTER TABLE peer.messages ADD FOREIGN KEY (contact_id) REFERENCES peer.contacts",
    "ANALYZE peer.contacts",
    "ANALYZE peer.messages",
];
/// What the gateway is asked for, in PostGraphile's words.
const QUERY: &str = "query($first: Int) { allMessages(first: $first, orderBy: [CREATED_AT_DESC, PRIMARY_KEY_DESC]) { nodes { id \
                     status to preview wamid attempts createdAt acceptedAt sentAt deliveredAt readAt campaignId \
                     contactByContactId { id name phoneNumber language tags } } pageInfo { hasNextPage endCursor } } }";

pub struct Postgraphile {
    pub address: SocketAddr,
    pub call: Call,
    server: Child,
}

impl Postgraphile {
    /// `None`: it is not installed. `message` is one that the gateway answers; `first`, how many are asked for.
    pub async fn start(place: &Place, message: &Value, first: usize) -> Option<Self> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/postgraphile");
        if !directory.join("node_modules/postgraphile").exists() {
            println!(
                "  beside PostGraphile: left out, as it is not installed (npm ci in api/benches/postgraphile)"
            );
            return None;
        }
        let pool = PgPool::connect(&place.url).await.expect("the database answers");
        for sql in TABLES {
            let statement = sqlx::query(sql);
            let statement = match sql {
                _ if !sql.contains("$1") => statement,
                _ if sql.contains("peer.contacts") => statement.bind(&message["contact"]),
                _ => statement.bind(message),
            };
            statement.execute(&pool).await.expect("the peer's tables are filled");
        }
        for sql in REFERENCES {
            sqlx::query(sql).execute(&pool).await.expect("the peer's tables are ready");
        }
        pool.close().await;
        let mut server = Command::new("node")
            .arg("server.mjs")
            .arg(&place.url)
            .current_dir(directory)
            .env("NODE_ENV", "production")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Node is installed");
        let mut lines = BufReader::new(server.stdout.take().expect("it is piped")).lines();
        let port = lines.next_line().await.expect("it starts").expect("it says its port");
        let address = SocketAddr::from(([127, 0, 0, 1], port.parse().expect("a port")));
        let call = Call::graphql(KEY, QUERY, &json!({ "first": first }));
        let mut connection = Connection::open(address).await.expect("it listens");
        let answer = connection.data(&call).await;
        let nodes = answer["allMessages"]["nodes"].as_array().map_or(0, Vec::len);
        assert_eq!(nodes, first, "{answer}");
        Some(Self { address, call, server })
    }

    pub async fn end(mut self) {
        self.server.kill().await.expect("it ends");
    }
}
