//! What this process alone remembers: all of it can be lost.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::api_keys::KeyCache;
use super::campaigns::Forecasts;
use super::cloud_api::Calls;
use super::exports::jobs::Exports;
use super::following::{Streams, Tail};
use super::imports::Running;
use super::media::Uploads;
use super::sessions::Watch;
use super::workspaces::KnownWorkspaces;

/// The part of the gateway's state that no other node and no restart needs.
#[derive(Default)]
pub struct Local {
    pub(crate) keys: KeyCache,
    pub(crate) forecasts: Forecasts,
    pub(crate) exports: Arc<Exports>,
    pub(crate) imports: Running,
    pub(crate) uploads: Uploads,
    pub(in crate::application) calls: Calls,
    pub(crate) workspaces: KnownWorkspaces,
    pub(crate) streams: Streams,
    pub(in crate::application) watch: Watch,
    pub(in crate::application) tail: Tail,
    /// The journal had more webhooks than are interpreted at once when this process last looked.
    pub(crate) has_webhooks_waiting: AtomicBool,
}
