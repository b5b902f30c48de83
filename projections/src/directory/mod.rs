//! The directory: workspaces, accounts, templates, segments, imports, campaigns, API keys, webhook
//! endpoints and users as they are now.

mod tables;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use domain::account::Account;
use domain::api_key::ApiKey;
use domain::campaign::Campaign;
use domain::import::{Import, ImportEvent};
use domain::port::{AggregateType, RecordedEvent};
use domain::segment::Segment;
use domain::template::Template;
use domain::user::User;
use domain::webhook_endpoint::WebhookEndpoint;
use domain::workspace::Workspace;
use uuid::Uuid;

use tables::IMPORT_ERRORS;
pub(crate) use tables::{Listed, SCHEMA};

use crate::messages::Recent;
use crate::projector::{ProjectError, Projection, decode};
use crate::store::{Schema, Sql, Value, View, Write};

/// Its stable name.
pub const NAME: &str = "directory";

pub(crate) struct Directory;

#[async_trait]
impl Projection for Directory {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn aggregate_types(&self) -> &'static [AggregateType] {
        &[
            AggregateType::Workspace,
            AggregateType::Account,
            AggregateType::Template,
            AggregateType::Segment,
            AggregateType::Import,
            AggregateType::Campaign,
            AggregateType::ApiKey,
            AggregateType::WebhookEndpoint,
            AggregateType::User,
        ]
    }

    async fn project(
        &self,
        view: &View,
        _: &mut Recent,
        events: Vec<RecordedEvent>,
    ) -> Result<Vec<Write>, ProjectError> {
        let mut by_type: BTreeMap<AggregateType, Vec<RecordedEvent>> = BTreeMap::new();
        for event in events {
            by_type.entry(event.stream.aggregate_type).or_default().push(event);
        }
        let mut writes = Vec::new();
        for (aggregate_type, events) in by_type {
            match aggregate_type {
                AggregateType::Workspace => writes.push(fold::<Workspace>(view, &events).await?),
                AggregateType::Account => writes.push(fold::<Account>(view, &events).await?),
                AggregateType::Template => writes.push(fold::<Template>(view, &events).await?),
                AggregateType::Segment => writes.push(fold::<Segment>(view, &events).await?),
                AggregateType::Import => writes.extend(fold_imports(view, &events).await?),
                AggregateType::Campaign => writes.push(fold::<Campaign>(view, &events).await?),
                AggregateType::ApiKey => writes.push(fold::<ApiKey>(view, &events).await?),
                AggregateType::WebhookEndpoint => {
                    writes.push(fold::<WebhookEndpoint>(view, &events).await?);
                }
                AggregateType::User => writes.push(fold::<User>(view, &events).await?),
                AggregateType::Contact | AggregateType::Message | AggregateType::Conversation => {}
            }
        }
        Ok(writes)
    }
}

async fn load<A: Listed>(
    view: &View,
    events: &[RecordedEvent],
) -> Result<BTreeMap<Uuid, (u64, A)>, ProjectError> {
    let ids: BTreeSet<Uuid> = events.iter().map(|event| event.stream.id).collect();
    let rows = view
        .query_chunked(ids, |ids| {
            let text = format!("SELECT id, sequence, doc FROM {{{}}} WHERE id ?*", A::TABLE.name);
            Sql::new(&text).with_list(ids)
        })
        .await?;
    let mut known = BTreeMap::new();
    for row in &rows {
        known.insert(row.uuid(0)?, (row.count(1)?, row.doc::<A>(2)?));
    }
    Ok(known)
}

/// The events that are news, applied.
fn apply<A: Listed>(
    known: &mut BTreeMap<Uuid, (u64, A)>,
    event: &RecordedEvent,
) -> Result<Option<A::Event>, ProjectError> {
    let (sequence, state) = known.entry(event.stream.id).or_insert_with(|| (0, A::default()));
    if event.sequence <= *sequence {
        return Ok(None);
    }
    let Some(decoded) = decode::<A::Event>(event, A::catalogue())? else { return Ok(None) };
    state.apply(decoded.clone());
    *sequence = event.sequence;
    Ok(Some(decoded))
}

fn upsert<A: Listed>(known: &BTreeMap<Uuid, (u64, A)>) -> Write {
    let rows = known.iter().filter_map(|(id, (sequence, state))| state.row(*id, *sequence));
    Write::Upsert { table: A::TABLE, rows: rows.collect() }
}

async fn fold<A: Listed>(view: &View, events: &[RecordedEvent]) -> Result<Write, ProjectError> {
    let mut known = load::<A>(view, events).await?;
    for event in events {
        apply(&mut known, event)?;
    }
    Ok(upsert(&known))
}

/// The rows turned away leave the document: a page of them is read, not all with every look at the import.
async fn fold_imports(view: &View, events: &[RecordedEvent]) -> Result<Vec<Write>, ProjectError> {
    let mut known = load::<Import>(view, events).await?;
    let mut errors: BTreeMap<(Uuid, u64), Vec<Value>> = BTreeMap::new();
    for event in events {
        let id = event.stream.id;
        let Some(ImportEvent::Progressed { errors: rows, .. }) = apply(&mut known, event)? else {
            continue;
        };
        for (index, row) in rows.iter().enumerate() {
            // In the order of the log: the event's sequence first, then the place within it.
            let n = event.sequence * 1_000_000 + index as u64;
            let value = vec![
                id.into(),
                n.into(),
                row.row.into(),
                row.column.as_deref().into(),
                row.message.as_str().into(),
            ];
            errors.insert((id, n), value);
        }
        if let Some((_, import)) = known.get_mut(&id) {
            import.errors.clear();
        }
    }
    let errors = errors.into_values().collect();
    Ok(vec![upsert(&known), Write::Upsert { table: &IMPORT_ERRORS, rows: errors }])
}
