//! What a forecast asks beside the audience: what waits already. For the gateway's own use, so without a scope.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Queries, QueryError};
use crate::store::{Sql, StoreError};

const MINUTE_MS: u64 = 60_000;
/// Minutes told apart; what falls due after so many different ones is left out.
const ROWS_MAX: u64 = 10_000;

/// Messages of one priority that wait and fall due within the same minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    pub priority: i64,
    /// The beginning of the minute.
    pub at: DateTime<Utc>,
    pub count: u64,
}

impl Queries {
    /// How many of one campaign's messages (nil: those of none) wait to be sent from a number, by priority, then by when
    /// they fall due.
    pub async fn backlog(
        &self,
        account_id: Uuid,
        campaign_id: Uuid,
    ) -> Result<Vec<Backlog>, QueryError> {
        let sql = Sql::new(
            "SELECT priority, (at / ?) * ? AS minute, COUNT(*) FROM {agenda} \
             WHERE account_id = ? AND kind = 0 AND campaign_id = ? \
             GROUP BY priority, minute ORDER BY priority, minute LIMIT ?",
        )
        .with(MINUTE_MS)
        .with(MINUTE_MS)
        .with(account_id)
        .with(campaign_id)
        .with(ROWS_MAX);
        let rows = self.db.query(sql).await?;
        let read = rows.iter().map(|row| {
            Ok(Backlog { priority: row.int(0)?, at: row.instant(1)?, count: row.count(2)? })
        });
        Ok(read.collect::<Result<_, StoreError>>()?)
    }
}
