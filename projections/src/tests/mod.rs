//! The read models against real databases: SQLite always, PostgreSQL where `TEST_DATABASE_URL` names a server (each test
//! in a schema of its own).

mod audiences;
mod conversations;
mod harness;
mod listing;
mod progress;
mod projecting;
mod stats;
mod working;
