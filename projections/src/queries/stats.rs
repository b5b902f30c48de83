//! What became of messages, by stretches of time: sums of counters, whose number goes by the time that is asked for and not
//! by how many messages there were.

use std::ops::Range;

use uuid::Uuid;

use super::{Queries, QueryError, Scope, ScopeColumns};
use crate::messages::{PartKind, StatsBasis, StatsMeasure, seconds_of_bin};
use crate::store::{Row, Sql, StoreError};

/// What messages can be told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StatsDimension {
    Account,
    Campaign,
    Template,
    Language,
    Country,
    Category,
}

impl StatsDimension {
    fn column(self) -> &'static str {
        match self {
            Self::Account => "s.account_id",
            Self::Campaign => "g.campaign_id",
            Self::Template => "g.template_id",
            Self::Language => "g.language",
            Self::Country => "g.country",
            Self::Category => "g.category",
        }
    }
}

/// What is asked. The caller has looked up accounts and campaigns in its scope.
#[derive(Clone, Debug)]
pub struct StatsQuery {
    pub basis: StatsBasis,
    /// Quarters of an hour since 1970, in order; none is in two of them.
    pub buckets: Vec<Range<i64>>,
    pub accounts: Vec<Uuid>,
    /// `None`: all messages, those of no campaign too.
    pub campaigns: Option<Vec<Uuid>>,
    pub group_by: Vec<StatsDimension>,
}

/// What is counted together: a bucket, by its place in the query, and a value for each dimension.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StatsKey {
    pub bucket: usize,
    /// Ids as text; `None`: the messages have none.
    pub group: Vec<Option<String>>,
}

/// The counters of one bucket and group; see [`StatsMeasure`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatsCounts {
    pub key: StatsKey,
    counts: [u64; StatsMeasure::COUNT],
}

impl StatsCounts {
    pub fn get(&self, measure: StatsMeasure) -> u64 {
        self.counts[measure as usize]
    }
}

/// Which parts are asked for; each costs a look at more rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatsParts {
    pub to_deliver: bool,
    pub to_read: bool,
    pub bills: bool,
    pub failures: bool,
}

impl StatsParts {
    fn kinds(self) -> Vec<i64> {
        let kinds = [
            (self.to_deliver, PartKind::ToDeliver),
            (self.to_read, PartKind::ToRead),
            (self.bills, PartKind::Bill),
            (self.failures, PartKind::Failure),
        ];
        kinds.into_iter().filter(|(is_asked, _)| *is_asked).map(|(_, kind)| kind as i64).collect()
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum StatsPart {
    /// So many took about so many seconds: at most a tenth of a second or 1.6 % off.
    ToDeliver(f64),
    ToRead(f64),
    /// [`domain::pricing::Bill::key`].
    Bill(String),
    Failure {
        code: Option<i64>,
        title: String,
    },
}

/// How many of one bucket, group and account are the same in one way.
#[derive(Clone, Debug, PartialEq)]
pub struct StatsPartCount {
    pub key: StatsKey,
    pub account_id: Uuid,
    pub part: StatsPart,
    pub count: u64,
}

impl Queries {
    /// The accounts of a scope with their workspaces; `ids`: of these only.
    pub async fn stats_accounts(
        &self,
        scope: &Scope,
        ids: Option<&[Uuid]>,
    ) -> Result<Vec<(Uuid, Uuid)>, QueryError> {
        let mut sql = Sql::new("SELECT id, workspace_id FROM {accounts} WHERE 1 = 1");
        if let Some(ids) = ids {
            sql.push(" AND id ?*").bind_list(ids.iter().copied());
        }
        for condition in ScopeColumns::WorkspaceAndId.conditions(scope) {
            sql.push(" AND ").append(condition);
        }
        let rows = self.db.query(sql).await?;
        Ok(rows
            .iter()
            .map(|row| Ok((row.uuid(0)?, row.uuid(1)?)))
            .collect::<Result<_, StoreError>>()?)
    }

    /// The counters, at most `limit` of them, in no order. What counts nothing is left out.
    pub async fn stats_counts(
        &self,
        query: &StatsQuery,
        limit: usize,
    ) -> Result<Vec<StatsCounts>, QueryError> {
        let columns = StatsMeasure::ALL.map(StatsMeasure::column);
        let sums = columns.map(sum);
        let any = columns.map(|column| format!("SUM(s.{column}) <> 0"));
        let mut sql = query.select("stats", &[], &sums.join(", "), None);
        sql.push(&format!(" HAVING {} LIMIT ?", any.join(" OR "))).bind(limit as u64);
        let rows = self.db.query(sql).await?;
        let first = query.group_by.len() + 1;
        let read = |row: &Row| {
            let mut counts = [0; StatsMeasure::COUNT];
            for (place, count) in counts.iter_mut().enumerate() {
                *count = row.count(first + place)?;
            }
            Ok(StatsCounts { key: query.key(row)?, counts })
        };
        Ok(rows.iter().map(read).collect::<Result<_, StoreError>>()?)
    }

    /// The parts, at most `limit` of them, in no order.
    pub async fn stats_parts(
        &self,
        query: &StatsQuery,
        parts: StatsParts,
        limit: usize,
    ) -> Result<Vec<StatsPartCount>, QueryError> {
        let kinds = parts.kinds();
        if kinds.is_empty() {
            return Ok(Vec::new());
        }
        let columns = ["s.account_id", "s.kind", "s.part", "f.code", "f.title"];
        let mut sql = query.select("stats_parts", &columns, &sum("count"), Some(kinds));
        sql.push(" HAVING SUM(s.count) <> 0 LIMIT ?").bind(limit as u64);
        let rows = self.db.query(sql).await?;
        let at = query.group_by.len() + 1;
        let read = |row: &Row| {
            let text = row.text(at + 2)?;
            let bin = || text.parse().map(seconds_of_bin);
            let shape = |_| StoreError::Shape { column: at + 2, expected: "a bin" };
            let part = match row.int(at + 1)? {
                kind if kind == PartKind::ToDeliver as i64 => {
                    StatsPart::ToDeliver(bin().map_err(shape)?)
                }
                kind if kind == PartKind::ToRead as i64 => StatsPart::ToRead(bin().map_err(shape)?),
                kind if kind == PartKind::Bill as i64 => StatsPart::Bill(text.to_owned()),
                _ => StatsPart::Failure {
                    code: row.opt_int(at + 3)?,
                    title: row.opt_text(at + 4)?.unwrap_or(text).to_owned(),
                },
            };
            let (account_id, count) = (row.uuid(at)?, row.count(at + 5)?);
            Ok(StatsPartCount { key: query.key(row)?, account_id, part, count })
        };
        Ok(rows.iter().map(read).collect::<Result<_, StoreError>>()?)
    }
}

/// PostgreSQL sums up in numbers of any size.
fn sum(column: &str) -> String {
    format!("CAST(SUM(s.{column}) AS BIGINT)")
}

impl StatsQuery {
    /// `SELECT bucket, <dimensions>, <columns>, <sums> … GROUP BY`, over one of the two tables of counters.
    fn select(&self, table: &str, columns: &[&str], sums: &str, kinds: Option<Vec<i64>>) -> Sql {
        let dimensions = self.group_by.iter().map(|dimension| dimension.column());
        let keys: Vec<&str> =
            ["b.n"].into_iter().chain(dimensions).chain(columns.iter().copied()).collect();
        let keys = keys.join(", ");
        // The buckets first: each leads straight to its stretch of the counters.
        let marks = vec!["(?, ?, ?)"; self.buckets.len()].join(", ");
        let mut sql = Sql::new(&format!("WITH b (n, low, high) AS (VALUES {marks}) "));
        for (n, bucket) in self.buckets.iter().enumerate() {
            sql.bind(n as u64).bind(bucket.start).bind(bucket.end);
        }
        sql.push(&format!("SELECT {keys}, {sums} FROM b CROSS JOIN {{{table}}} AS s"));
        if kinds.is_some() {
            sql.push(" LEFT JOIN {stats_failures} AS f ON s.kind = ? AND f.part = s.part");
            sql.bind(PartKind::Failure as i64);
        }
        let asks_groups = self.group_by.iter().any(|it| *it != StatsDimension::Account);
        if asks_groups || self.campaigns.is_some() {
            sql.push(" JOIN {stats_groups} AS g ON g.id = s.group_id");
        }
        sql.push(
            " WHERE s.account_id ?* AND s.basis = ? AND s.quarter >= b.low AND s.quarter < b.high",
        );
        sql.bind_list(self.accounts.iter().copied()).bind(self.basis as i64);
        if let Some(campaigns) = &self.campaigns {
            sql.push(" AND g.campaign_id ?*").bind_list(campaigns.iter().copied());
        }
        if let Some(kinds) = kinds {
            sql.push(" AND s.kind ?*").bind_list(kinds);
        }
        sql.push(&format!(" GROUP BY {keys}"));
        sql
    }

    fn key(&self, row: &Row) -> Result<StatsKey, StoreError> {
        let bucket = usize::try_from(row.count(0)?).unwrap_or_default();
        let value = |(dimension, column): (&StatsDimension, usize)| match dimension {
            StatsDimension::Account | StatsDimension::Campaign | StatsDimension::Template => {
                Ok(row.opt_uuid(column)?.map(|id| id.to_string()))
            }
            StatsDimension::Language | StatsDimension::Country | StatsDimension::Category => {
                Ok(row.opt_text(column)?.map(str::to_owned))
            }
        };
        let group = self.group_by.iter().zip(1..).map(value).collect::<Result<_, StoreError>>()?;
        Ok(StatsKey { bucket, group })
    }
}
