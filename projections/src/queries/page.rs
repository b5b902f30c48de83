//! Lists in pages, both ways, by the place of the last row seen: a page costs the same wherever it lies, and rows added
//! meanwhile neither hide nor repeat others.

use std::cmp::Ordering;
use std::sync::Arc;

use domain::port::Position;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::QueryError;
use crate::store::{ReadDb, Row, Sql, StoreError, Value};

/// Rows of a page at most.
pub const PAGE_MAX: usize = 500;
/// Totals are exact up to here.
pub const TOTAL_MAX: u64 = 10_000;
/// A list over more values than this of its leading column is sorted by the database instead of merged here.
const FAN_MAX: usize = 32;

/// Which page: of what lies after one place and before another, the first items or the last ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    pub count: usize,
    pub after: Option<Cursor>,
    pub before: Option<Cursor>,
    /// The last ones.
    pub backwards: bool,
}

impl PageRequest {
    /// The first page.
    pub fn first(count: usize) -> Self {
        Self::after(count, None)
    }

    /// The page after a place.
    pub fn after(count: usize, after: Option<Cursor>) -> Self {
        Self { count, after, before: None, backwards: false }
    }

    /// The page before a place.
    pub fn last(count: usize, before: Option<Cursor>) -> Self {
        Self { count, after: None, before, backwards: true }
    }

    pub(super) fn count(&self) -> usize {
        self.count.min(PAGE_MAX)
    }

    pub(super) fn span(&self) -> Span {
        let (from, until) = match self.backwards {
            false => (self.after, self.before),
            true => (self.before, self.after),
        };
        Span { from, until, backwards: self.backwards }
    }

    /// Whether there is more after and more before a page that `has_more` in its own direction.
    pub(super) fn more(&self, has_more: bool) -> (bool, bool) {
        match self.backwards {
            false => (has_more || self.before.is_some(), self.after.is_some()),
            true => (self.before.is_some(), has_more || self.after.is_some()),
        }
    }
}

/// A part of a list and the way through it; both ends are outside of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub from: Option<Cursor>,
    pub until: Option<Cursor>,
    /// Against the list's order.
    pub backwards: bool,
}

/// A place in a list. Opaque to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Milliseconds; 0 in lists that go by id alone.
    pub(super) at: i64,
    pub(super) id: Uuid,
}

impl Cursor {
    /// # Errors
    /// [`QueryError::Cursor`] where the text is no cursor of ours.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let (at, id) = text.split_at_checked(16).ok_or(QueryError::Cursor)?;
        let at = u64::from_str_radix(at, 16).map_err(|_| QueryError::Cursor)?;
        let id = Uuid::try_parse(id).map_err(|_| QueryError::Cursor)?;
        Ok(Self { at: at.cast_signed(), id })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}{}", self.at.cast_unsigned(), self.id.simple())
    }
}

/// An aggregate's state as its read model has it, with the sequence of the last event in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored<T> {
    pub id: Uuid,
    pub sequence: u64,
    pub state: Arc<T>,
}

impl<T: Clone> Stored<T> {
    /// The state, to do with it as one likes.
    pub fn into_state(self) -> T {
        Arc::unwrap_or_clone(self.state)
    }
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    pub items: Vec<(Cursor, T)>,
    pub has_next: bool,
    pub has_previous: bool,
    /// Where to go on backwards. Before the first item where rows were looked at that are no items.
    pub start: Option<Cursor>,
    /// Where to go on. Behind the last item where rows were looked at that are no items.
    pub end: Option<Cursor>,
}

impl<T> Page<T> {
    pub fn into_items(self) -> Vec<T> {
        self.items.into_iter().map(|(_, item)| item).collect()
    }

    pub(super) fn of(items: Vec<(Cursor, T)>, has_next: bool, has_previous: bool) -> Self {
        let start = items.first().map(|(cursor, _)| *cursor);
        let end = items.last().map(|(cursor, _)| *cursor);
        Self { items, has_next, has_previous, start, end }
    }
}

/// How many there are: exact up to 10,000, then 10,001 and not exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Total {
    pub count: u64,
    pub is_exact: bool,
}

/// How a list is ordered; the id settles what is equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    OldestFirst,
    NewestFirst,
    /// The newest activity first.
    ByActivity,
    ById,
}

/// A list: a table, conditions, an order.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    pub table: &'static str,
    pub order: Order,
    /// The leading column of an index and its values, where rows must have one of them.
    pub fan: Option<(&'static str, Vec<Uuid>)>,
    pub conditions: Vec<Sql>,
}

impl Listing {
    pub fn new(table: &'static str, order: Order) -> Self {
        Self { table, order, fan: None, conditions: Vec::new() }
    }

    pub fn and(&mut self, condition: Sql) {
        self.conditions.push(condition);
    }

    /// `column` is one of `values`, if any are asked for.
    pub fn one_of<T: Into<Value>>(
        &mut self,
        column: &str,
        values: Option<impl IntoIterator<Item = T>>,
    ) {
        if let Some(values) = values {
            self.and(Sql::new(&format!("{column} ?*")).with_list(values));
        }
    }

    /// `search` contains the words as they stand.
    pub fn search(&mut self, text: Option<&str>) {
        if let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) {
            self.and(Sql::new("search LIKE ? ESCAPE '!'").with(like(text)));
        }
    }

    fn key(&self) -> &'static str {
        match self.order {
            Order::ById => "id",
            Order::OldestFirst | Order::NewestFirst => "created_at",
            Order::ByActivity => "last_activity_at",
        }
    }

    fn filtered(&self, columns: &str, fan: Option<(&'static str, &[Uuid])>) -> Sql {
        let mut sql = Sql::new(&format!("SELECT {columns} FROM {{{}}} WHERE 1 = 1", self.table));
        match fan {
            Some((column, [value])) => {
                sql.push(&format!(" AND {column} = ?")).bind(*value);
            }
            Some((column, values)) => {
                sql.push(&format!(" AND {column} ?*")).bind_list(values.iter().copied());
            }
            None => {}
        }
        for condition in &self.conditions {
            sql.push(" AND ").append(condition.clone());
        }
        sql
    }

    fn fans(&self) -> Vec<Option<(&'static str, &[Uuid])>> {
        match &self.fan {
            None => vec![None],
            Some((column, values)) if values.len() <= FAN_MAX => {
                values.chunks(1).map(|value| Some((*column, value))).collect()
            }
            Some((column, values)) => vec![Some((*column, values.as_slice()))],
        }
    }

    /// The first rows of a span: their places and the columns asked for, which begin at 2.
    pub async fn rows(
        &self,
        db: &ReadDb,
        columns: &str,
        span: Span,
        limit: usize,
    ) -> Result<Vec<(Cursor, Row)>, QueryError> {
        let newest_first = matches!(self.order, Order::NewestFirst | Order::ByActivity);
        let is_ascending = newest_first == span.backwards;
        let (direction, beyond, short_of) =
            if is_ascending { ("ASC", ">", "<") } else { ("DESC", "<", ">") };
        let key = self.key();
        let by_id = self.order == Order::ById;
        let place = if by_id { "0".to_owned() } else { key.to_owned() };
        let mut found = Vec::new();
        for fan in self.fans() {
            let mut sql = self.filtered(&format!("{place}, id, {columns}"), fan);
            for (end, is) in [(span.from, beyond), (span.until, short_of)] {
                match end {
                    Some(end) if by_id => {
                        sql.push(&format!(" AND id {is} ?")).bind(end.id);
                    }
                    Some(end) => {
                        sql.push(&format!(" AND ({key}, id) {is} (?, ?)"));
                        sql.bind(end.at).bind(end.id);
                    }
                    None => {}
                }
            }
            let order = if by_id {
                format!("id {direction}")
            } else {
                format!("{key} {direction}, id {direction}")
            };
            sql.push(&format!(" ORDER BY {order} LIMIT ?")).bind(limit as u64);
            for row in db.query(sql).await? {
                found.push((Cursor { at: row.int(0)?, id: row.uuid(1)? }, row));
            }
        }
        found.sort_by(|(a, _), (b, _)| {
            let order = (a.at, a.id).cmp(&(b.at, b.id));
            if is_ascending { order } else { Ordering::reverse(order) }
        });
        found.truncate(limit);
        Ok(found)
    }

    /// A page of folded states.
    pub async fn page<T: DeserializeOwned + Send + Sync + 'static>(
        &self,
        db: &ReadDb,
        page: &PageRequest,
    ) -> Result<Page<Stored<T>>, QueryError> {
        let read = |cursor: &Cursor, row: &Row| {
            Ok(Stored { id: cursor.id, sequence: row.count(2)?, state: db.doc(row, 3)? })
        };
        self.page_of(db, page, "sequence, doc", read).await
    }

    /// A page of whatever `read` makes of a row's `columns`, which begin at 2.
    pub async fn page_of<T>(
        &self,
        db: &ReadDb,
        page: &PageRequest,
        columns: &str,
        read: impl Fn(&Cursor, &Row) -> Result<T, StoreError>,
    ) -> Result<Page<T>, QueryError> {
        let count = page.count();
        let mut rows = self.rows(db, columns, page.span(), count + 1).await?;
        let has_more = rows.len() > count;
        rows.truncate(count);
        if page.backwards {
            rows.reverse();
        }
        let mut items = Vec::with_capacity(rows.len());
        for (cursor, row) in rows {
            let item = read(&cursor, &row)?;
            items.push((cursor, item));
        }
        let (has_next, has_previous) = page.more(has_more);
        Ok(Page::of(items, has_next, has_previous))
    }

    pub async fn total(&self, db: &ReadDb) -> Result<Total, QueryError> {
        let mut count = 0;
        for fan in self.fans() {
            let mut inner = self.filtered("1", fan);
            inner.push(" LIMIT ?").bind(TOTAL_MAX + 1 - count);
            let mut sql = Sql::new("SELECT COUNT(*) FROM (");
            sql.append(inner).push(") AS counted");
            count += single(&db.query(sql).await?)?.count(0)?;
            if count > TOTAL_MAX {
                return Ok(Total { count: TOTAL_MAX + 1, is_exact: false });
            }
        }
        Ok(Total { count, is_exact: true })
    }
}

/// The one row of an aggregate query.
pub(super) fn single(rows: &[Row]) -> Result<&Row, StoreError> {
    rows.first().ok_or(StoreError::Shape { column: 0, expected: "a row" })
}

/// A pattern for "contains these words", in lower case, with the pattern's own signs escaped by `!`.
pub(super) fn like(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.to_lowercase().chars() {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

/// A position as rows hold it.
pub(super) fn position(row: &Row, column: usize) -> Result<Position, StoreError> {
    row.count(column).map(Position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text() {
        for at in [0, 1_795_000_000_123, -5] {
            let cursor = Cursor { at, id: Uuid::from_u128(0xfedc_ba98) };
            assert_eq!(Cursor::parse(&cursor.to_string()).unwrap(), cursor);
        }
        for text in ["", "x", "000000000000000g", "0000000000000001nouuid", "äöü"] {
            assert!(matches!(Cursor::parse(text), Err(QueryError::Cursor)), "{text}");
        }
    }

    #[test]
    fn a_pattern_takes_signs_for_themselves() {
        assert_eq!(like("50%_Off!"), "%50!%!_off!!%");
    }
}
