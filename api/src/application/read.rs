//! From read models to views: scopes, pages and waiting for a position.

use std::time::Duration;

use domain::port::Position;
use projections::{Queries, QueryError, Scope, StoreError, names};

use super::caller::Caller;
use super::error::{AppError, AppResult, ErrorCode};
use super::page::{Edge, Page, PageArgs, Slice, Total};
use crate::app::Gateway;

/// How long a query waits for the position it was asked to show.
const PATIENCE: Duration = Duration::from_secs(5);

/// The read models' queries.
pub(crate) fn queries(gateway: &Gateway) -> Queries {
    gateway.read.queries()
}

/// Waits until a read model shows everything up to a position.
///
/// # Errors
/// STALE where it does not within 5 s.
pub(crate) async fn wait(
    gateway: &Gateway,
    name: &str,
    position: Option<Position>,
) -> AppResult<()> {
    let Some(position) = position else { return Ok(()) };
    gateway.read.wait_for(name, position, PATIENCE).await.map_err(|_| stale(position))
}

/// The same for what is listed whole: workspaces, accounts, templates, segments, imports, campaigns, API keys.
pub(crate) async fn wait_directory(gateway: &Gateway, position: Option<Position>) -> AppResult<()> {
    wait(gateway, names::DIRECTORY, position).await
}

/// The same for all of them: what is folded from the log itself is never behind, but the fields within it come from these.
pub(crate) async fn wait_all(gateway: &Gateway, position: Option<Position>) -> AppResult<()> {
    let Some(position) = position else { return Ok(()) };
    gateway.read.wait_for_all(position, PATIENCE).await.map_err(|_| stale(position))
}

/// What the caller may see, for the read models.
pub(crate) fn scope(caller: &Caller) -> Scope {
    Scope {
        workspaces: caller.workspaces.as_ref().map(|ids| ids.iter().map(|id| id.0).collect()),
        accounts: caller.accounts.as_ref().map(|ids| ids.iter().map(|id| id.0).collect()),
    }
}

impl From<QueryError> for AppError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Cursor => {
                AppError::invalid("after", "use a cursor that an earlier page of this list gave")
            }
            QueryError::UnknownSegment(_) => AppError::conflict(
                "the audience names a segment that was deleted; update the campaign's audience",
            ),
            QueryError::Store(StoreError::Building { name }) => AppError::new(
                ErrorCode::Unavailable,
                format!(
                    "the read model {name} is being built from the log and answers once it has caught up; see projections for how far it is"
                ),
            ),
            error => AppError::unavailable(error),
        }
    }
}

/// A page for the read models.
pub(crate) fn page_request(args: PageArgs) -> AppResult<projections::PageRequest> {
    let Slice { limit: count, after, before, backwards } = args.check()?;
    let cursor = |text: Option<String>, field: &str| {
        let cursor = text.map(|text| projections::Cursor::parse(&text)).transpose();
        cursor.map_err(|_| {
            AppError::invalid(field, "use a cursor that an earlier page of this list gave")
        })
    };
    let (after, before) = (cursor(after, "after")?, cursor(before, "before")?);
    Ok(projections::PageRequest { count, after, before, backwards })
}

/// A page of views. What has no view (a stream without its first event) is left out.
pub(crate) fn page<T, V>(page: projections::Page<T>, view: impl Fn(T) -> Option<V>) -> Page<V> {
    let (has_next_page, has_previous_page) = (page.has_next, page.has_previous);
    let start_cursor = page.start.map(|start| start.to_string());
    let end_cursor = page.end.map(|end| end.to_string());
    let edges = page
        .items
        .into_iter()
        .filter_map(|(cursor, item)| Some(Edge { cursor: cursor.to_string(), node: view(item)? }));
    Page { edges: edges.collect(), has_next_page, has_previous_page, start_cursor, end_cursor }
}

pub(crate) fn total(total: projections::Total) -> Total {
    Total { count: total.count, exact: total.is_exact }
}

/// A list of a filter: empty means that it is not asked.
pub(crate) fn asked<T>(list: Vec<T>) -> Option<Vec<T>> {
    if list.is_empty() { None } else { Some(list) }
}

/// The read model did not get there in time.
fn stale(position: Position) -> AppError {
    AppError::new(
        ErrorCode::Stale,
        format!(
            "the read model has not reached position {position} within 5 s; try again, or ask without minPosition"
        ),
    )
}
