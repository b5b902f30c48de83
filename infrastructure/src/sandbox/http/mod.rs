//! Mounting the sandbox on actix-web: the Graph paths and the controls, separately, because the controls make the sandbox
//! call any URL and are nobody else's business.

mod controls;
mod graph;

pub use controls::{ControlsAccess, configure_controls, controls};
pub use graph::configure_graph;

use actix_web::web;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;

/// Reads a body to its end; none where it is longer than `bytes_max` or breaks off.
async fn read_body(mut payload: web::Payload, bytes_max: usize) -> Option<Bytes> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.ok()?;
        if body.len() + chunk.len() > bytes_max {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    Some(body.freeze())
}
