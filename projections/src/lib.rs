//! Read models: projectors that pull the log, and the queries over what they write.
//!
//! A row is the folded aggregate itself, as JSON, beside the columns that it is found, sorted and counted by; a
//! mutation's payload and `asOf` fold the same types, so there is one way to read an object. Nothing here is a source of
//! truth: any of it can be thrown away and built again from the log while the old one still answers.

mod contacts;
mod directory;
mod erase;
mod messages;
mod projector;
mod queries;
mod registry;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use domain::port::{EventFeed, EventFilter, Position};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use contacts::WordKind;
pub use messages::{
    AgendaKind, CampaignCounts, ConversationRow, FailureCount, Place, QUARTER_S, StatsBasis,
    StatsMeasure,
};
pub use projector::{BATCH_MAX, ProjectError, ProjectionState, ProjectionStatus, Stale};
pub use queries::*;
pub use store::{Dialect, ReadDb, StoreError};

use projector::Projector;
use store::Schema;

/// The projections' stable names.
pub mod names {
    pub use crate::contacts::NAME as CONTACTS;
    pub use crate::directory::NAME as DIRECTORY;
    pub use crate::messages::NAME as MESSAGES;

    pub const ALL: [&str; 3] = [DIRECTORY, CONTACTS, MESSAGES];
}

static SCHEMAS: [&Schema; 3] = [&directory::SCHEMA, &contacts::SCHEMA, &messages::SCHEMA];

/// There is no projection of that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no projection {name}; there are directory, contacts and messages")]
pub struct UnknownProjection {
    pub name: String,
}

#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error(transparent)]
    Unknown(#[from] UnknownProjection),
    #[error("the rebuild could not begin")]
    Store(#[from] StoreError),
}

/// All read models of one database and what keeps them up to date. Clones share them.
#[derive(Clone)]
pub struct Projections {
    db: ReadDb,
    feed: Arc<dyn EventFeed>,
    projectors: [Arc<Projector>; 3],
}

impl std::fmt::Debug for Projections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Projections").field("db", &self.db).finish_non_exhaustive()
    }
}

impl Projections {
    /// Makes the tables that are missing. Those that another version wrote in another shape are replaced by new ones. New
    /// ones answer once [`Self::run`] has brought them to the log's end; until then whoever asks is told so.
    ///
    /// # Errors
    /// [`StoreError`] where the database failed.
    pub async fn open(db: ReadDb, feed: Arc<dyn EventFeed>) -> Result<Self, StoreError> {
        let projector = |projection: Arc<dyn projector::Projection>| {
            let (db, feed) = (db.clone(), feed.clone());
            async move { Projector::open(db, feed, projection).await.map(Arc::new) }
        };
        let projectors = [
            projector(Arc::new(directory::Directory)).await?,
            projector(Arc::new(contacts::Contacts)).await?,
            projector(Arc::new(messages::Messages)).await?,
        ];
        Ok(Self { db, feed, projectors })
    }

    pub fn queries(&self) -> Queries {
        Queries::new(self.db.clone())
    }

    pub fn db(&self) -> &ReadDb {
        &self.db
    }

    fn projector(&self, name: &str) -> Result<&Arc<Projector>, UnknownProjection> {
        let found = self.projectors.iter().find(|projector| projector.name() == name);
        found.ok_or_else(|| UnknownProjection { name: name.to_owned() })
    }

    /// Keeps every read model up to date and builds anew what somebody asked for, for ever. Drop it at any moment to
    /// stop: a batch is written whole or not at all.
    pub async fn run(&self) {
        let mut tasks = JoinSet::new();
        for projector in &self.projectors {
            let live = projector.clone();
            tasks.spawn(async move { live.run_live().await });
            let rebuilding = projector.clone();
            tasks.spawn(async move { rebuilding.run_rebuilds().await });
        }
        let all = self.clone();
        tasks.spawn(async move { all.follow().await });
        // They never end by themselves; a panic in one must not pass for a read model that is merely slow.
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended
                && error.is_panic()
            {
                std::panic::resume_unwind(error.into_panic());
            }
        }
    }

    /// Keeps knowing which tables answer where other nodes rebuild them: part of [`Self::run`], and for nodes that leave
    /// all projectors to others. Never returns.
    pub async fn follow(&self) {
        if !self.db.is_shared() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(projector::POLL_REBUILD).await;
            if let Err(error) = registry::refresh(&self.db).await {
                tracing::warn!(
                    error = &error as &(dyn std::error::Error + 'static),
                    "the read models' generations could not be read"
                );
            }
        }
    }

    /// [`Self::run`] for one read model: for nodes that share the work by leases, beside [`Self::follow`].
    ///
    /// # Errors
    /// [`UnknownProjection`].
    pub async fn run_one(&self, name: &str) -> Result<(), UnknownProjection> {
        let projector = self.projector(name)?;
        futures::future::join(projector.run_live(), projector.run_rebuilds()).await;
        Ok(())
    }

    /// Reads to the end of the log once, for programs without a loop. `until`: leaves out events recorded then or later
    /// (for a file of its own; tables that were read in part are not to be kept up to date afterwards).
    ///
    /// # Errors
    /// [`ProjectError`] where a read model could not go on.
    pub async fn catch_up(
        &self,
        until: Option<chrono::DateTime<chrono::Utc>>,
    ) -> Result<(), ProjectError> {
        for name in names::ALL {
            self.catch_up_one(name, until).await?;
        }
        Ok(())
    }

    /// [`Self::catch_up`] for one read model; there is nothing to catch up with where there is none of that name.
    ///
    /// # Errors
    /// As [`Self::catch_up`].
    pub async fn catch_up_one(
        &self,
        name: &str,
        until: Option<chrono::DateTime<chrono::Utc>>,
    ) -> Result<(), ProjectError> {
        let Ok(projector) = self.projector(name) else { return Ok(()) };
        let filter = EventFilter { recorded_to: until, ..projector.filter().clone() };
        projector.catch_up(&filter).await
    }

    /// Views that have the tables' plain names (`messages` of `messages_g1`), for people who read the database with tools
    /// of their own. For a file that is not kept up to date: a rebuild would leave them behind.
    ///
    /// # Errors
    /// [`StoreError`] where the database failed.
    pub async fn name_tables(&self) -> Result<(), StoreError> {
        let view = self.db.live();
        let tables = SCHEMAS.iter().flat_map(|schema| schema.tables);
        let views = tables.map(|table| {
            let (name, kept) = (table.name, view.table(table.name));
            format!("CREATE VIEW {name} AS SELECT * FROM {kept};")
        });
        self.db.batch(views.collect()).await
    }

    /// How far a read model has come, as this process has seen: a wake-up for whoever follows it. One that does not exist
    /// never moves.
    pub fn watch(&self, name: &str) -> watch::Receiver<u64> {
        self.projector(name)
            .map_or_else(|_| watch::Sender::new(0).subscribe(), |projector| projector.watch())
    }

    /// A read model has more before it than it takes at once, as far as this process has seen. One that does not exist, or
    /// that has stopped, never does.
    pub fn is_behind(&self, name: &str) -> bool {
        self.projector(name).is_ok_and(|projector| projector.is_behind())
    }

    /// Waits until a read model shows everything up to `position`.
    ///
    /// # Errors
    /// [`Stale`] where it does not within `timeout`.
    pub async fn wait_for(
        &self,
        name: &str,
        position: Position,
        timeout: Duration,
    ) -> Result<(), Stale> {
        match self.projector(name) {
            Ok(projector) => projector.wait_for(position, timeout).await,
            Err(_) => Err(Stale { wanted: position, seen: Position(0) }),
        }
    }

    /// Waits until all of them do.
    ///
    /// # Errors
    /// [`Stale`] where one does not within `timeout`.
    pub async fn wait_for_all(&self, position: Position, timeout: Duration) -> Result<(), Stale> {
        let waits = self.projectors.iter().map(|projector| projector.wait_for(position, timeout));
        futures::future::try_join_all(waits).await.map(drop)
    }

    /// Asks for a read model to be built anew beside the one that answers; [`Self::run`] does it. `false`: that is under
    /// way already.
    ///
    /// # Errors
    /// [`RebuildError`] where there is no such read model or the database failed.
    pub async fn rebuild(&self, name: &str) -> Result<bool, RebuildError> {
        Ok(self.projector(name)?.want_rebuild().await?)
    }

    /// Builds a read model anew and waits for it, without [`Self::run`].
    ///
    /// # Errors
    /// [`RebuildError`] where it could not begin; inside, [`ProjectError`] where it could not go on. Repeating it goes on
    /// from there.
    pub async fn rebuild_now(&self, name: &str) -> Result<Result<(), ProjectError>, RebuildError> {
        let projector = self.projector(name)?;
        projector.want_rebuild().await?;
        Ok(projector.rebuild_once().await.map(drop))
    }

    /// How each is doing.
    ///
    /// # Errors
    /// [`ProjectError`] where the log or the database could not be asked.
    pub async fn status(&self) -> Result<Vec<ProjectionStatus>, ProjectError> {
        let head = self.feed.head().await?;
        let mut found = Vec::with_capacity(self.projectors.len());
        for projector in &self.projectors {
            found.push(projector.status(head).await?);
        }
        Ok(found)
    }

    /// After an erasure that every read model has seen: leaves nothing of the data in the files (SQLite), or vacuums the
    /// tables that held it (PostgreSQL). `false`: a reader was in the way, try again.
    ///
    /// # Errors
    /// [`StoreError`] where the database failed.
    pub async fn scrub(&self) -> Result<bool, StoreError> {
        self.db
            .scrub(&[
                "contacts",
                "contact_phones",
                "contact_tags",
                "vocabulary",
                "messages",
                "users",
            ])
            .await
    }
}
