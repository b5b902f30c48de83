//! Messages lie in a table for each month of their ids. The gateway makes them ahead; what comes for a month that has none
//! is taken all the same, by the table of strays, and moves over when the month's is made.

use std::time::Duration;

use chrono::{DateTime, Months, Utc};
use domain::port::Clock;
use sqlx::PgPool;

/// Beside the month that it is.
const AHEAD: Months = Months::new(2);
const LOOK_EVERY: Duration = Duration::from_secs(600);

/// Makes what is missing. A failure costs nothing but another try: what a month has no table for is taken by the strays'.
pub(super) async fn make(pool: &PgPool, now: DateTime<Utc>) {
    let until = now.checked_add_months(AHEAD).unwrap_or(now);
    let made: Result<i32, sqlx::Error> = sqlx::query_scalar("SELECT make_message_months($1, $2)")
        .bind(now)
        .bind(until)
        .fetch_one(pool)
        .await;
    match made {
        Ok(0) => {}
        Ok(months) => tracing::info!(months, "tables were made for messages of the months ahead"),
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the tables for messages of the months ahead could not be made yet"
        ),
    }
}

pub(super) async fn keep(pool: &PgPool, clock: &dyn Clock) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        make(pool, clock.now()).await;
    }
}
