//! The command and query layer: everything that can be asked of the gateway, as functions over a [`Caller`]. Scopes,
//! workspaces and accounts are checked here and nowhere above; resolvers and routes only translate.
//!
//! The order of checks is always the same: the scope (FORBIDDEN), then the ids (NOT_FOUND, alike for unknown, foreign and
//! malformed ones), then the input (VALIDATION_FAILED with its path), then the state (CONFLICT).

pub mod accounts;
pub mod api_keys;
pub mod caller;
pub mod campaigns;
mod check;
mod command;
pub mod contacts;
pub mod error;
pub mod events;
pub mod imports;
mod local;
pub mod messages;
pub mod page;
pub mod projections;
mod read;
pub mod segments;
pub mod templates;
pub mod view;
pub mod workspaces;

pub use caller::Caller;
pub use error::{AppError, AppResult, ErrorCode};
pub use local::Local;
pub use page::{Edge, Page, PageArgs, Total};
pub use view::Written;

#[cfg(test)]
mod tests {
    use crate::app::Gateway;

    use super::*;

    fn runs_on_any_thread<F: Future + Send>(_: F) {}

    /// Compiled and never called: GraphQL runs use cases wherever there is a thread.
    #[expect(dead_code, reason = "it is the compiler who answers")]
    fn every_kind_of_use_case_runs_on_any_thread(gateway: &Gateway, caller: &Caller, text: String) {
        runs_on_any_thread(workspaces::create(gateway, caller, text.clone(), None));
        runs_on_any_thread(accounts::pause(gateway, caller, &text, text.clone()));
        runs_on_any_thread(accounts::update(gateway, caller, accounts::UpdateAccount::default()));
        runs_on_any_thread(templates::submit(gateway, caller, &text));
        runs_on_any_thread(templates::sync(gateway, caller, &text));
        runs_on_any_thread(contacts::upsert(gateway, caller, contacts::AddContact::default()));
        runs_on_any_thread(contacts::merge(gateway, caller, &text, &text));
        runs_on_any_thread(contacts::erase(gateway, caller, &text, text.clone()));
        runs_on_any_thread(segments::update(gateway, caller, &text, None, None));
        runs_on_any_thread(api_keys::revoke(gateway, caller, &text));
        runs_on_any_thread(events::list(
            gateway,
            caller,
            domain::port::Position(0),
            Default::default(),
            None,
        ));
        runs_on_any_thread(campaigns::retry(
            gateway,
            caller,
            &text,
            campaigns::RetryScope::All,
            None,
        ));
        runs_on_any_thread(messages::send_many(gateway, caller, vec![]));
    }
}
