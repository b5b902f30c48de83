//! What dispatch asks: which messages are due, whom they may go to, and what was sent a moment ago. For the gateway's own
//! workers, so without a scope.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::delivery::counts_towards_cap;
use domain::message::{Attempt, AttemptOutcome, ContentKind, Message, MessageStatus, Recipient};
use domain::primitives::Personal;
use domain::template::TemplateCategory;
use uuid::Uuid;

use super::page::single;
use super::{Queries, QueryError};
use crate::messages::{AgendaKind, from_text};
use crate::store::{Row, Sql, StoreError};

/// Rows of one answer at most.
const ROWS_MAX: usize = 10_000;
/// Messages that a person wrote, looked at for where they wrote from.
const WRITTEN_MAX: usize = 1_000;

/// A message that dispatch has to do something about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgendaItem {
    pub message_id: Uuid,
    pub account_id: Uuid,
    pub contact_id: Uuid,
    pub campaign_id: Option<Uuid>,
    pub template_id: Option<Uuid>,
    /// Lower goes first.
    pub priority: i64,
    pub content_kind: ContentKind,
    /// `None` for free-form content.
    pub category: Option<TemplateCategory>,
    /// Due since; for one being sent, `send_by`; for one in doubt, the end of its grace.
    pub at: DateTime<Utc>,
    /// Attempts made so far; of one being sent or in doubt, the one that is meant.
    pub attempts: u32,
    pub expires_at: Option<DateTime<Utc>>,
}

/// Where one stands in the order in which messages fell due.
pub type DueCursor = (DateTime<Utc>, Uuid);

/// When a number last heard from WhatsApp, by the log's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountActivity {
    pub last_inbound_at: Option<DateTime<Utc>>,
    /// WhatsApp accepted a message.
    pub last_outbound_at: Option<DateTime<Utc>>,
    pub last_status_at: Option<DateTime<Utc>>,
}

/// How much waits, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DueBacklog {
    /// Due by now.
    pub due: u64,
    pub sending: u64,
    pub in_doubt: u64,
}

const COLUMNS: &str = "message_id, account_id, contact_id, campaign_id, template_id, priority, \
                       content_kind, category, at, attempts, expires_at";

fn item(row: &Row) -> Result<AgendaItem, StoreError> {
    Ok(AgendaItem {
        message_id: row.uuid(0)?,
        account_id: row.uuid(1)?,
        contact_id: row.uuid(2)?,
        campaign_id: Some(row.uuid(3)?).filter(|id| !id.is_nil()),
        template_id: row.opt_uuid(4)?,
        priority: row.int(5)?,
        content_kind: from_text(row.text(6)?, 6)?,
        category: row.opt_text(7)?.map(|text| from_text(text, 7)).transpose()?,
        at: row.instant(8)?,
        attempts: u32::try_from(row.int(9)?)
            .map_err(|_| StoreError::Shape { column: 9, expected: "a count" })?,
        expires_at: row.opt_instant(10)?,
    })
}

fn items(rows: &[Row]) -> Result<Vec<AgendaItem>, QueryError> {
    Ok(rows.iter().map(item).collect::<Result<_, _>>()?)
}

impl Queries {
    /// Accounts that have anything waiting, being sent or in doubt.
    pub async fn accounts_with_agenda(&self) -> Result<Vec<Uuid>, QueryError> {
        // Walks from one account to the next instead of over all their rows.
        let sql = Sql::new(
            "WITH RECURSIVE found(id) AS ( \
               SELECT (SELECT account_id FROM {agenda} ORDER BY account_id LIMIT 1) \
               UNION ALL \
               SELECT (SELECT a.account_id FROM {agenda} AS a WHERE a.account_id > found.id \
                       ORDER BY a.account_id LIMIT 1) \
               FROM found WHERE found.id IS NOT NULL) \
             SELECT id FROM found WHERE id IS NOT NULL",
        );
        let rows = self.db.query(sql).await?;
        Ok(rows.iter().map(|row| row.uuid(0)).collect::<Result<_, _>>()?)
    }

    /// The campaigns that have messages waiting, of whatever account.
    pub async fn campaigns_with_agenda(&self) -> Result<Vec<Uuid>, QueryError> {
        let sql = Sql::new(
            "WITH RECURSIVE found(id) AS ( \
               SELECT (SELECT campaign_id FROM {agenda} WHERE campaign_id > ? \
                       ORDER BY campaign_id LIMIT 1) \
               UNION ALL \
               SELECT (SELECT a.campaign_id FROM {agenda} AS a WHERE a.campaign_id > found.id \
                       ORDER BY a.campaign_id LIMIT 1) \
               FROM found WHERE found.id IS NOT NULL) \
             SELECT id FROM found WHERE id IS NOT NULL",
        )
        .with(Uuid::nil());
        let rows = self.db.query(sql).await?;
        Ok(rows.iter().map(|row| row.uuid(0)).collect::<Result<_, _>>()?)
    }

    /// The campaigns that have messages waiting at this account; nil stands for messages of none.
    pub async fn waiting_campaigns(&self, account_id: Uuid) -> Result<Vec<Uuid>, QueryError> {
        let sql = Sql::new(
            "WITH RECURSIVE found(id) AS ( \
               SELECT (SELECT campaign_id FROM {agenda} WHERE account_id = ? AND kind = 0 \
                       ORDER BY campaign_id LIMIT 1) \
               UNION ALL \
               SELECT (SELECT a.campaign_id FROM {agenda} AS a \
                       WHERE a.account_id = ? AND a.kind = 0 AND a.campaign_id > found.id \
                       ORDER BY a.campaign_id LIMIT 1) \
               FROM found WHERE found.id IS NOT NULL) \
             SELECT id FROM found WHERE id IS NOT NULL",
        )
        .with(account_id)
        .with(account_id);
        let rows = self.db.query(sql).await?;
        Ok(rows.iter().map(|row| row.uuid(0)).collect::<Result<_, _>>()?)
    }

    /// One campaign's messages (nil: those of none) that are due: of each priority the first `limit` behind `after`, by
    /// when they fell due.
    pub async fn due_in(
        &self,
        account_id: Uuid,
        campaign_id: Uuid,
        now: DateTime<Utc>,
        after: [Option<DueCursor>; 3],
        limit: usize,
    ) -> Result<Vec<AgendaItem>, QueryError> {
        let mut sql = Sql::default();
        for (priority, after) in (0i64..).zip(after) {
            if priority > 0 {
                sql.push(" UNION ALL ");
            }
            sql.push(&format!(
                "SELECT * FROM (SELECT {COLUMNS} FROM {{agenda}} WHERE account_id = ? AND kind = 0 \
                 AND campaign_id = ? AND priority = ? AND at <= ?"
            ));
            sql.bind(account_id).bind(campaign_id).bind(priority).bind(now);
            if let Some((at, message_id)) = after {
                sql.push(" AND (at, message_id) > (?, ?)").bind(at).bind(message_id);
            }
            sql.push(" ORDER BY at, message_id LIMIT ?").bind(limit.min(ROWS_MAX) as u64);
            sql.push(&format!(") AS p{priority}"));
        }
        let mut found = items(&self.db.query(sql).await?)?;
        found.sort_unstable_by_key(|item| (item.priority, item.at, item.message_id));
        Ok(found)
    }

    /// When the next message falls due after `now`.
    pub async fn next_due_at(
        &self,
        account_id: Uuid,
        now: DateTime<Utc>,
        excluded: &[Uuid],
    ) -> Result<Option<DateTime<Utc>>, QueryError> {
        let mut next: Option<DateTime<Utc>> = None;
        for campaign in self.waiting_campaigns(account_id).await? {
            if excluded.contains(&campaign) {
                continue;
            }
            let mut sql = Sql::new("SELECT MIN(at) FROM (");
            for priority in 0..3i64 {
                if priority > 0 {
                    sql.push(" UNION ALL ");
                }
                sql.push(&format!(
                    "SELECT * FROM (SELECT at FROM {{agenda}} WHERE account_id = ? AND kind = 0 \
                     AND campaign_id = ? AND priority = ? AND at > ? ORDER BY at LIMIT 1) AS p{priority}"
                ));
                sql.bind(account_id).bind(campaign).bind(priority).bind(now);
            }
            sql.push(") AS nearest");
            let rows = self.db.query(sql).await?;
            if let Some(at) = single(&rows)?.opt_instant(0)? {
                next = Some(next.map_or(at, |known| known.min(at)));
            }
        }
        Ok(next)
    }

    /// Messages whose attempt should have begun before `before` and has no outcome yet: a worker died with them.
    pub async fn sending_overdue(
        &self,
        account_id: Uuid,
        before: DateTime<Utc>,
    ) -> Result<Vec<AgendaItem>, QueryError> {
        let sql = Sql::new(&format!(
            "SELECT {COLUMNS} FROM {{agenda}} WHERE account_id = ? AND kind = ? AND at < ? \
             ORDER BY at, message_id LIMIT ?"
        ))
        .with(account_id)
        .with(AgendaKind::Sending)
        .with(before)
        .with(ROWS_MAX as u64);
        items(&self.db.query(sql).await?)
    }

    /// Messages in doubt whose grace is over, of these categories (`None`: free-form). Ask for those whose policy does
    /// something about it: held ones stay.
    pub async fn in_doubt_due(
        &self,
        account_id: Uuid,
        now: DateTime<Utc>,
        categories: &[Option<TemplateCategory>],
    ) -> Result<Vec<AgendaItem>, QueryError> {
        // Nothing is called "", so it can stand for no category.
        let named = categories.iter().map(|category| category.map_or("", |c| c.as_str()));
        let sql = Sql::new(&format!(
            "SELECT {COLUMNS} FROM {{agenda}} WHERE account_id = ? AND kind = ? AND at <= ? \
             AND COALESCE(category, '') ?* ORDER BY at, message_id LIMIT ?"
        ))
        .with(account_id)
        .with(AgendaKind::InDoubt)
        .with(now)
        .with_list(named)
        .with(ROWS_MAX as u64);
        items(&self.db.query(sql).await?)
    }

    /// How many messages in doubt still have grace, by campaign: a campaign is not complete while there are any.
    pub async fn in_doubt_within_grace(
        &self,
        campaign_ids: &[Uuid],
        now: DateTime<Utc>,
    ) -> Result<HashMap<Uuid, u64>, QueryError> {
        let rows = self
            .db
            .query_chunked(campaign_ids.iter().copied(), |ids| {
                Sql::new(
                    "SELECT campaign_id, COUNT(*) FROM {agenda} \
                     WHERE campaign_id ?* AND kind = ? AND at > ? GROUP BY campaign_id",
                )
                .with_list(ids)
                .with(AgendaKind::InDoubt)
                .with(now)
            })
            .await?;
        Ok(rows
            .iter()
            .map(|row| Ok((row.uuid(0)?, row.count(1)?)))
            .collect::<Result<_, StoreError>>()?)
    }

    /// A campaign's waiting messages in id order after one: what cancelling it goes through.
    pub async fn waiting_of_campaign(
        &self,
        campaign_id: Uuid,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<Uuid>, QueryError> {
        let mut sql =
            Sql::new("SELECT message_id FROM {agenda} WHERE campaign_id = ? AND kind = ?")
                .with(campaign_id)
                .with(AgendaKind::Due);
        if let Some(after) = after {
            sql.push(" AND message_id > ?").bind(after);
        }
        sql.push(" ORDER BY message_id LIMIT ?").bind(limit.min(ROWS_MAX) as u64);
        let rows = self.db.query(sql).await?;
        Ok(rows.iter().map(|row| row.uuid(0)).collect::<Result<_, _>>()?)
    }

    /// Messages of campaigns that wait for any of these people, by id.
    pub async fn waiting_for_contacts(
        &self,
        contact_ids: &[Uuid],
    ) -> Result<Vec<Uuid>, QueryError> {
        let rows = self
            .db
            .query_chunked(contact_ids.iter().copied(), |ids| {
                Sql::new(
                    "SELECT id FROM {messages} WHERE contact_id ?* AND campaign_id IS NOT NULL \
                     AND status IN ('SCHEDULED', 'QUEUED')",
                )
                .with_list(ids)
            })
            .await?;
        let mut found: Vec<Uuid> = rows.iter().map(|row| row.uuid(0)).collect::<Result<_, _>>()?;
        found.sort_unstable();
        Ok(found)
    }

    /// When these people last wrote to this number in a way that opens the service window.
    pub async fn windows(
        &self,
        account_id: Uuid,
        contact_ids: &[Uuid],
    ) -> Result<HashMap<Uuid, DateTime<Utc>>, QueryError> {
        let rows = self
            .db
            .query_chunked(contact_ids.iter().copied(), |ids| {
                Sql::new(
                    "SELECT contact_id, last_inbound_at FROM {windows} \
                     WHERE account_id = ? AND contact_id ?*",
                )
                .with(account_id)
                .with_list(ids)
            })
            .await?;
        instants(&rows)
    }

    /// From which of their numbers and user ids a person, whose contacts these are, wrote to this number at `since` or
    /// later in a way that opens the service window, and when: of what they wrote last, as much as is looked at.
    ///
    /// # Errors
    /// Where the read model cannot be reached.
    pub async fn written_from(
        &self,
        account_id: Uuid,
        contact_ids: &[Uuid],
        since: DateTime<Utc>,
    ) -> Result<Vec<(Recipient, DateTime<Utc>)>, QueryError> {
        // The person's messages are few, the number's many: the second column only filters.
        let sql = Sql::new(
            "SELECT created_at, doc FROM {messages} WHERE contact_id ?* AND direction = 1 \
             AND COALESCE(account_id, account_id) = ? AND created_at >= ? \
             ORDER BY created_at DESC, id DESC LIMIT ?",
        )
        .with_list(contact_ids.iter().copied())
        .with(account_id)
        .with(since)
        .with(WRITTEN_MAX as u64);
        let mut written = Vec::new();
        for row in self.db.query(sql).await? {
            let message: Message = row.doc(1)?;
            let from = message.counterpart.and_then(Personal::into_known);
            if let Some(from) = from.filter(|_| message.opens_window) {
                written.push((from, row.instant(0)?));
            }
        }
        Ok(written)
    }

    /// Until when WhatsApp wants these people left alone with marketing, past instants included.
    pub async fn marketing_blocks(
        &self,
        contact_ids: &[Uuid],
    ) -> Result<HashMap<Uuid, DateTime<Utc>>, QueryError> {
        let sql = "SELECT contact_id, until FROM {marketing_blocks} WHERE contact_id ?*";
        self.until(sql, contact_ids).await
    }

    /// Until when nothing is to be sent to these people, past instants included.
    pub async fn unreachable(
        &self,
        contact_ids: &[Uuid],
    ) -> Result<HashMap<Uuid, DateTime<Utc>>, QueryError> {
        let sql = "SELECT contact_id, until FROM {unreachable} WHERE contact_id ?*";
        self.until(sql, contact_ids).await
    }

    async fn until(
        &self,
        sql: &str,
        contact_ids: &[Uuid],
    ) -> Result<HashMap<Uuid, DateTime<Utc>>, QueryError> {
        let ids = contact_ids.iter().copied();
        instants(&self.db.query_chunked(ids, |ids| Sql::new(sql).with_list(ids)).await?)
    }

    /// When a number heard from WhatsApp at `since` or later, in order: the first and the last time of each minute.
    pub async fn heard_since(
        &self,
        account_id: Uuid,
        since: DateTime<Utc>,
    ) -> Result<Vec<DateTime<Utc>>, QueryError> {
        let sql = Sql::new(
            "SELECT first_at, last_at FROM {heard} WHERE account_id = ? AND minute >= ? \
             ORDER BY minute",
        )
        .with(account_id)
        .with(since.timestamp().div_euclid(60));
        let mut heard = Vec::new();
        for row in self.db.query(sql).await? {
            heard.extend([row.instant(0)?, row.instant(1)?]);
        }
        Ok(heard)
    }

    /// Every attempt of the account requested at `since` or later, oldest first: what a worker that takes the account
    /// over rebuilds pace and pair limits from.
    pub async fn recent_attempts(
        &self,
        account_id: Uuid,
        since: DateTime<Utc>,
    ) -> Result<Vec<(Uuid, DateTime<Utc>)>, QueryError> {
        self.attempts(account_id, since, |_| true).await
    }

    /// [`Self::recent_attempts`] without those that WhatsApp definitely refused or never heard of: what spends reach.
    pub async fn attempts_that_reach(
        &self,
        account_id: Uuid,
        since: DateTime<Utc>,
    ) -> Result<Vec<(Uuid, DateTime<Utc>)>, QueryError> {
        let reaches =
            |attempt: &Attempt| !matches!(attempt.outcome, Some(AttemptOutcome::Refused { .. }));
        self.attempts(account_id, since, reaches).await
    }

    async fn attempts(
        &self,
        account_id: Uuid,
        since: DateTime<Utc>,
        counts: impl Fn(&Attempt) -> bool,
    ) -> Result<Vec<(Uuid, DateTime<Utc>)>, QueryError> {
        // The document only where there is more than one attempt to know, or one that may have been refused.
        let sql = Sql::new(
            "SELECT contact_id, last_requested_at, \
             CASE WHEN attempts > 1 OR NOT (status ?*) THEN doc END FROM {messages} \
             WHERE account_id = ? AND last_requested_at >= ?",
        )
        .with_list(reaching())
        .with(account_id)
        .with(since);
        let mut found = Vec::new();
        for row in self.db.query(sql).await? {
            let contact_id = row.uuid(0)?;
            if row.is_null(2) {
                found.push((contact_id, row.instant(1)?));
                continue;
            }
            let message: Message = row.doc(2)?;
            let attempts = message.attempts.values().filter(|attempt| counts(attempt));
            let attempts = attempts.map(|attempt| attempt.requested_at);
            found.extend(attempts.filter(|at| *at >= since).map(|at| (contact_id, at)));
        }
        found.sort_unstable_by_key(|(contact_id, at)| (*at, *contact_id));
        Ok(found)
    }

    /// The marketing messages that these people were sent or are being sent, requested at `since` or later, each with its
    /// time: of each person the latest `most`.
    pub async fn marketing_sent(
        &self,
        contact_ids: &[Uuid],
        since: DateTime<Utc>,
        most: u32,
    ) -> Result<HashMap<Uuid, Vec<(Uuid, DateTime<Utc>)>>, QueryError> {
        let rows = self
            .db
            .query_chunked(contact_ids.iter().copied(), |ids| {
                Sql::new(
                    "SELECT contact_id, id, last_requested_at FROM ( \
                       SELECT contact_id, id, last_requested_at, ROW_NUMBER() OVER \
                         (PARTITION BY contact_id ORDER BY last_requested_at DESC, id) AS place \
                       FROM {messages} WHERE contact_id ?* AND category = 'MARKETING' \
                       AND last_requested_at >= ? AND status ?*) AS sent \
                     WHERE place <= ?",
                )
                .with_list(ids)
                .with(since)
                .with_list(reaching())
                .with(u64::from(most))
            })
            .await?;
        let mut sent: HashMap<Uuid, Vec<(Uuid, DateTime<Utc>)>> = HashMap::new();
        for row in rows {
            sent.entry(row.uuid(0)?).or_default().push((row.uuid(1)?, row.instant(2)?));
        }
        Ok(sent)
    }

    /// By account; those that never heard anything are left out.
    pub async fn account_activity(
        &self,
        account_ids: &[Uuid],
    ) -> Result<HashMap<Uuid, AccountActivity>, QueryError> {
        let rows = self
            .db
            .query_chunked(account_ids.iter().copied(), |ids| {
                Sql::new(
                    "SELECT account_id, last_inbound_at, last_outbound_at, last_status_at \
                     FROM {account_activity} WHERE account_id ?*",
                )
                .with_list(ids)
            })
            .await?;
        let read = rows.iter().map(|row| {
            let activity = AccountActivity {
                last_inbound_at: row.opt_instant(1)?,
                last_outbound_at: row.opt_instant(2)?,
                last_status_at: row.opt_instant(3)?,
            };
            Ok((row.uuid(0)?, activity))
        });
        Ok(read.collect::<Result<_, StoreError>>()?)
    }

    /// How much waits, over all accounts. Goes through the agenda: for a metric now and then.
    pub async fn due_backlog(&self, now: DateTime<Utc>) -> Result<DueBacklog, QueryError> {
        let sql = Sql::new(
            "SELECT kind, COUNT(*) FROM {agenda} WHERE kind <> 0 OR at <= ? GROUP BY kind",
        )
        .with(now);
        let mut backlog = DueBacklog::default();
        for row in self.db.query(sql).await? {
            let count = row.count(1)?;
            match row.int(0)? {
                0 => backlog.due = count,
                1 => backlog.sending = count,
                _ => backlog.in_doubt = count,
            }
        }
        Ok(backlog)
    }
}

/// The statuses of what its recipient got, or may have got.
fn reaching() -> impl Iterator<Item = &'static str> {
    let statuses = MessageStatus::ALL.into_iter();
    statuses.filter(|status| counts_towards_cap(*status)).map(MessageStatus::as_str)
}

fn instants(rows: &[Row]) -> Result<HashMap<Uuid, DateTime<Utc>>, QueryError> {
    let read = rows.iter().map(|row| Ok((row.uuid(0)?, row.instant(1)?)));
    Ok(read.collect::<Result<_, StoreError>>()?)
}
