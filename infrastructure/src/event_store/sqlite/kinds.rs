//! The kinds of events in a SQLite file.

use std::collections::HashMap;
use std::sync::Arc;

use domain::port::{AggregateType, LogError};
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use uuid::Uuid;

pub(super) use super::super::kinds::{Kind, KindOf, Kinds, Numbered};

/// Finds the kinds of rows, the last one at once.
pub(super) struct Reader<'a> {
    connection: &'a Connection,
    kinds: &'a Kinds,
    last: Option<Numbered>,
}

impl<'a> Reader<'a> {
    pub fn new(connection: &'a Connection, kinds: &'a Kinds) -> Self {
        Self { connection, kinds, last: None }
    }

    pub fn kind(&mut self, number: i64) -> rusqlite::Result<Result<Arc<Kind>, LogError>> {
        if let Some(last) = self.last.as_ref().filter(|last| last.number == number) {
            return Ok(Ok(last.kind.clone()));
        }
        let kind = match self.kinds.of_number(number) {
            Some(kind) => kind,
            None => match self.fetch(number)? {
                Ok(kind) => {
                    self.kinds.learn([Numbered { number, kind: kind.clone() }]);
                    kind
                }
                Err(error) => return Ok(Err(error)),
            },
        };
        self.last = Some(Numbered { number, kind: kind.clone() });
        Ok(Ok(kind))
    }

    fn fetch(&self, number: i64) -> rusqlite::Result<Result<Arc<Kind>, LogError>> {
        let corrupt =
            |what: &str| Ok(Err(LogError::Corrupt(format!("{what} in kind {number} of events"))));
        let mut statement = self.connection.prepare_cached(
            "SELECT aggregate_type, event_type, event_version, actor, workspace_id, account_id FROM kinds WHERE id = ?1",
        )?;
        let mut rows = statement.query([number])?;
        let Some(row) = rows.next()? else { return corrupt("nothing") };
        let Some(aggregate_type) = AggregateType::parse(row.get_ref(0)?.as_str()?) else {
            return corrupt("an aggregate type that is unknown");
        };
        let Ok(actor) = serde_json::from_str(row.get_ref(3)?.as_str()?) else {
            return corrupt("an actor that this version cannot read");
        };
        let id = |column| {
            row.get::<_, Option<[u8; 16]>>(column).map(|bytes| bytes.map(Uuid::from_bytes))
        };
        Ok(Ok(Arc::new(Kind {
            aggregate_type,
            event_type: row.get(1)?,
            event_version: row.get(2)?,
            actor,
            workspace_id: id(4)?,
            account_id: id(5)?,
        })))
    }
}

/// Gives the events of one batch the numbers of their kinds, new ones included.
pub(super) struct Writer<'a> {
    kinds: &'a Kinds,
    find: CachedStatement<'a>,
    insert: CachedStatement<'a>,
    last: Option<Numbered>,
    /// What this batch asked the file for, or wrote: to be learnt once it is committed.
    fresh: HashMap<u64, Numbered>,
}

impl<'a> Writer<'a> {
    pub fn new(connection: &'a Connection, kinds: &'a Kinds) -> rusqlite::Result<Self> {
        let find = connection.prepare_cached(
            "SELECT id FROM kinds WHERE event_type = ?1 AND workspace_id IS ?2 AND account_id IS ?3 AND actor = ?4
             AND event_version = ?5 AND aggregate_type = ?6",
        )?;
        let insert = connection.prepare_cached(
            "INSERT INTO kinds (event_type, workspace_id, account_id, actor, event_version, aggregate_type)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        Ok(Self { kinds, find, insert, last: None, fresh: HashMap::new() })
    }

    pub fn number(&mut self, connection: &Connection, kind: KindOf<'_>) -> rusqlite::Result<i64> {
        if let Some(last) = self.last.as_ref().filter(|last| last.kind.borrowed() == kind) {
            return Ok(last.number);
        }
        let hash = self.kinds.hash(kind);
        let fresh = self.fresh.get(&hash).filter(|found| found.kind.borrowed() == kind).cloned();
        let found = match fresh.or_else(|| self.kinds.of_hash(hash, kind)) {
            Some(found) => found,
            None => {
                let number = self.find_or_insert(connection, kind)?;
                let found = Numbered { number, kind: Arc::new(kind.to_owned()) };
                self.fresh.insert(hash, found.clone());
                found
            }
        };
        let number = found.number;
        self.last = Some(found);
        Ok(number)
    }

    fn find_or_insert(
        &mut self,
        connection: &Connection,
        kind: KindOf<'_>,
    ) -> rusqlite::Result<i64> {
        let actor = serde_json::to_string(kind.actor)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        let workspace_id = kind.workspace_id.map(Uuid::into_bytes);
        let account_id = kind.account_id.map(Uuid::into_bytes);
        let values = params![
            kind.event_type,
            workspace_id,
            account_id,
            actor,
            kind.event_version,
            kind.aggregate_type.as_str(),
        ];
        if let Some(number) = self.find.query_row(values, |row| row.get(0)).optional()? {
            return Ok(number);
        }
        self.insert.execute(values)?;
        Ok(connection.last_insert_rowid())
    }

    pub fn into_fresh(self) -> Vec<Numbered> {
        self.fresh.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use domain::primitives::Actor;

    use super::*;

    fn database() -> Connection {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(
            "CREATE TABLE kinds (id INTEGER PRIMARY KEY, aggregate_type, event_type, event_version, actor,
                 workspace_id, account_id)",
        )
        .unwrap();
        db
    }

    fn kind<'a>(event_type: &'a str, actor: &'a Actor) -> KindOf<'a> {
        KindOf {
            aggregate_type: AggregateType::Message,
            event_type,
            event_version: 1,
            actor,
            workspace_id: Some(Uuid::from_u128(7)),
            account_id: None,
        }
    }

    #[test]
    fn what_was_rolled_back_is_known_to_nobody() {
        let (mut db, kinds) = (database(), Kinds::default());
        let actor = Actor::process("test");
        let number_in = |db: &mut Connection, event_type: &str, commit: bool| {
            let tx = db.transaction().unwrap();
            let mut writer = Writer::new(&tx, &kinds).unwrap();
            let number = writer.number(&tx, kind(event_type, &actor)).unwrap();
            assert_eq!(writer.number(&tx, kind(event_type, &actor)).unwrap(), number);
            let fresh = writer.into_fresh();
            if commit {
                tx.commit().unwrap();
                kinds.learn(fresh);
            }
            number
        };
        assert_eq!(number_in(&mut db, "message.sent", false), 1);
        assert!(kinds.of_number(1).is_none());
        // The number goes to whoever comes next.
        assert_eq!(number_in(&mut db, "message.read", true), 1);
        assert_eq!(kinds.of_number(1).unwrap().event_type, "message.read");
        assert_eq!(number_in(&mut db, "message.sent", true), 2);
        assert_eq!(number_in(&mut db, "message.read", true), 1);
        // From the file, as it was written.
        let elsewhere = Kinds::default();
        let read = Reader::new(&db, &elsewhere).kind(2).unwrap().unwrap();
        assert_eq!(read.borrowed(), kind("message.sent", &actor).to_owned().borrowed());
        Reader::new(&db, &elsewhere).kind(3).unwrap().unwrap_err();
    }
}
