//! Exports with personal data are facts of the workspaces that they are about: no erasure reaches a file that was handed
//! over, so whoever erases somebody is told which there are.

use domain::api_key::Scope;
use domain::port::{AggregateType, EventFeed, StreamId};
use domain::primitives::{ContactId, WorkspaceId};
use domain::workspace::{Workspace, WorkspaceCommand};
use uuid::Uuid;

use super::ExportRequest;
use crate::app::Gateway;
use crate::application::caller::Caller;
use crate::application::error::AppResult;
use crate::application::view::EventView;
use crate::application::{command, events, page, workspaces};

/// Writes an export with personal data into the log of each workspace that it may be about. Called before any of it is
/// handed over: what is in the log and was never made does no harm, the other way round it would.
///
/// # Errors
/// UNAVAILABLE.
pub async fn note(
    gateway: &Gateway,
    caller: &Caller,
    id: Uuid,
    request: &ExportRequest,
) -> AppResult<()> {
    let asked = &request.filter.workspace_ids;
    let all = workspaces::all(gateway).await?;
    let concerned: Vec<Uuid> = all
        .into_iter()
        .map(|(workspace, _)| workspace)
        .filter(|workspace| caller.may_see_workspace(*workspace))
        .filter(|workspace| asked.is_empty() || asked.contains(&workspace.0))
        .map(|workspace| workspace.0)
        .collect();
    let (context, at) = (command::context(gateway, caller), gateway.clock.now());
    let (concerned, dataset, format) =
        (&concerned, request.dataset.as_str(), request.format.as_str());
    command::transact(gateway, &context, None, &|tx| {
        Box::pin(async move {
            for workspace in concerned {
                let command = WorkspaceCommand::NotePersonalExport {
                    export_id: id,
                    dataset: dataset.to_owned(),
                    format: format.to_owned(),
                    at,
                };
                let noted = tx.execute::<Workspace>(*workspace, command).await;
                noted.map_err(|error| command::refused(error, ""))?;
            }
            Ok(())
        })
    })
    .await?;
    Ok(())
}

/// The facts of exports that may hold what is known of a contact: with personal data of its workspace, asked for since the
/// contact was added and until it was erased. The newest first. Nothing of them is in it. Scope READ.
///
/// # Errors
/// FORBIDDEN; VALIDATION_FAILED on `first`; UNAVAILABLE.
pub async fn of_contact(
    gateway: &Gateway,
    caller: &Caller,
    contact: ContactId,
    workspace: WorkspaceId,
    first: Option<i32>,
) -> AppResult<Vec<EventView>> {
    caller.require(Scope::Read)?;
    let limit = page::limit(first, "first")?;
    let contact = StreamId::new(AggregateType::Contact, contact.0);
    let workspace = StreamId::new(AggregateType::Workspace, workspace.0);
    let mut known_from = None;
    let mut erased_at = None;
    let mut noted = vec![];
    for event in gateway.ledger.read_streams(&[contact, workspace]).await? {
        if event.stream == contact {
            known_from = known_from.or(Some(event.position));
            if event.event_type == "contact.erased" {
                erased_at = Some(event.position);
            }
        } else if event.event_type == "workspace.personal_data_exported" {
            noted.push(event);
        }
    }
    let Some(known_from) = known_from else { return Ok(vec![]) };
    noted.retain(|event| {
        event.position > known_from && erased_at.is_none_or(|erased| event.position < erased)
    });
    noted.reverse();
    noted.truncate(limit);
    events::views(gateway, caller, noted).await
}
