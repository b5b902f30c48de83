//! One request to an endpoint: what it carries, how it is signed, and what its answer means.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use chrono::{DateTime, Duration, Utc};
use domain::port::{EventFeed, FeedError, Position, RecordedEvent, StreamId};
use domain::webhook_endpoint::WebhookEndpoint;
use infrastructure::crypto::{KeyRingError, SubjectKey};
use infrastructure::outbound::client::Answer;
use infrastructure::outbound::signature;
use infrastructure::outbound::store::Attempt;
use ring::digest::{SHA256, digest};
use url::Url;
use uuid::Uuid;

use super::book::{Item, Pick};
use crate::app::Gateway;
use crate::application::view::EventView;
use crate::application::webhook_endpoints::{secret_name, wants};
use crate::application::{AppError, events};

/// Events of a stream looked through at once.
const STREAM_PAGE: usize = 100;
/// What was read for longer than this is read anew before it is sent: somebody may have been erased since.
const FRESH: Duration = Duration::seconds(10);
const SINGLE: &str = "application/cloudevents+json; charset=utf-8";
const BATCH: &str = "application/cloudevents-batch+json; charset=utf-8";
const GONE: u16 = 410;

/// What is to be sent.
pub struct Shipment {
    pub endpoint_id: Uuid,
    pub endpoint: Arc<WebhookEndpoint>,
    /// Of a replay: only these types, where there are any.
    pub types: Arc<Vec<String>>,
    pub recorded_from: Option<DateTime<Utc>>,
    pub is_replay: bool,
    pub picks: Vec<Pick>,
    /// It is sent to find out whether the endpoint is up again.
    pub is_probe: bool,
}

/// What became of one subject of it.
pub struct Part {
    pub stream: StreamId,
    pub attempts: u32,
    /// The first and the last of its events that are in it, by position and sequence; `None`: nothing is left of it.
    pub sent: Option<((Position, u64), (Position, u64))>,
}

#[derive(Debug)]
pub enum Outcome {
    Taken,
    Refused {
        /// How long the endpoint asks to be left alone.
        asked: Option<Duration>,
        /// It means all requests, not this one alone.
        is_for_all: bool,
    },
    /// 410: never again.
    Gone,
    /// Nothing was sent: what it needs cannot be read right now; without an error, nothing is left of any of its subjects.
    NotSent(Option<anyhow::Error>),
}

pub struct Shipped {
    pub parts: Vec<Part>,
    pub outcome: Outcome,
    pub attempt: Option<Attempt>,
    pub is_probe: bool,
}

/// Events as they leave, in order.
pub async fn items(
    gateway: &Gateway,
    endpoint: &WebhookEndpoint,
    recorded: Vec<RecordedEvent>,
) -> Result<Vec<(StreamId, Item)>, AppError> {
    let (now, public_url) = (gateway.clock.now(), gateway.public_url());
    let of: Vec<_> = recorded.iter().map(|event| (event.stream, event.metadata.subject)).collect();
    let views = events::leaving(gateway, recorded, endpoint.include_personal).await?;
    let item = |((stream, subject), view): ((StreamId, Option<Uuid>), EventView)| {
        let body = events::event_json(&view, &public_url).to_string();
        let item = Item {
            position: view.position,
            sequence: view.sequence,
            event_id: view.id,
            subject,
            body: Bytes::from(body),
            read_at: now,
        };
        (stream, item)
    };
    Ok(of.into_iter().zip(views).map(item).collect())
}

impl Shipment {
    /// Sends it, once.
    pub async fn send(mut self, gateway: Arc<Gateway>) -> Shipped {
        let is_probe = self.is_probe;
        if let Err(error) = self.load(&gateway).await {
            let (parts, outcome) = (self.parts(), Outcome::NotSent(Some(error)));
            return Shipped { parts, outcome, attempt: None, is_probe };
        }
        let parts = self.parts();
        let items: Vec<&Item> = self.picks.iter().flat_map(|pick| &pick.items).collect();
        let Some(first) = items.first() else {
            return Shipped { parts, outcome: Outcome::NotSent(None), attempt: None, is_probe };
        };
        let (id, body) = match self.endpoint.batch {
            false => (first.event_id.to_string(), first.body.clone()),
            true => (batch_id(&items), batch_body(&items)),
        };
        let now = gateway.clock.now();
        let secrets = match self.secrets(&gateway, now).await {
            Ok(secrets) => secrets,
            Err(error) => {
                let outcome = Outcome::NotSent(Some(error.into()));
                return Shipped { parts, outcome, attempt: None, is_probe };
            }
        };
        let timestamp = now.timestamp();
        let mut headers = vec![
            ("content-type", if self.endpoint.batch { BATCH } else { SINGLE }.to_owned()),
            ("webhook-signature", signature::sign(&secrets, &id, timestamp, &body)),
            ("webhook-id", id),
            ("webhook-timestamp", timestamp.to_string()),
        ];
        if self.is_replay {
            headers.push(("webhook-replay", "1".to_owned()));
        }
        let began = Instant::now();
        let answered = match Url::parse(&self.endpoint.url) {
            Ok(url) => gateway.outbound.post(&url, &headers, body, now).await,
            Err(_) => Err(infrastructure::outbound::client::PostError::Url),
        };
        let latency_ms = u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX);
        let (outcome, status, error, answer) = match answered {
            Ok(answer) => {
                let (outcome, error) = meaning(&answer);
                (outcome, Some(answer.status), error, answer.body)
            }
            Err(error) => {
                let outcome = Outcome::Refused { asked: None, is_for_all: false };
                (outcome, None, Some(error.to_string()), Bytes::new())
            }
        };
        let attempt_id = gateway.ids.next_id(now);
        let (answer, subject) = self.seal(&gateway, attempt_id, &items, &answer).await;
        let attempt = Attempt {
            id: attempt_id,
            endpoint_id: self.endpoint_id,
            at: now,
            position: first.position,
            event_id: first.event_id,
            events: u32::try_from(items.len()).unwrap_or(u32::MAX),
            number: self.picks.first().map_or(0, |pick| pick.attempts).saturating_add(1),
            is_replay: self.is_replay,
            status,
            error,
            latency_ms,
            answer,
            subject,
        };
        Shipped { parts, outcome, attempt: Some(attempt), is_probe }
    }

    /// Reads what is parked, and again what was read a while ago.
    async fn load(&mut self, gateway: &Gateway) -> anyhow::Result<()> {
        let oldest = gateway.clock.now() - FRESH;
        let (endpoint, types, recorded_from) =
            (self.endpoint.clone(), self.types.clone(), self.recorded_from);
        for pick in &mut self.picks {
            if pick.items.iter().all(|item| item.read_at >= oldest) && !pick.items.is_empty() {
                continue;
            }
            pick.items.clear();
            let mut after = pick.after_sequence;
            loop {
                let page = gateway.ledger.read_stream_page(pick.stream, after, STREAM_PAGE).await;
                let page = match page {
                    Ok(page) => page,
                    // Its month was taken out of the log: there is nothing to deliver.
                    Err(FeedError::Detached(_)) => vec![],
                    Err(error) => return Err(error.into()),
                };
                let Some(last) = page.last().map(|event| event.sequence) else { break };
                let is_whole = page.len() < STREAM_PAGE;
                let wanted = page.into_iter().find(|event| {
                    event.position <= pick.up_to
                        && recorded_from.is_none_or(|from| event.recorded_at >= from)
                        && wants(&endpoint, &types, event)
                });
                if let Some(event) = wanted {
                    let loaded = items(gateway, &endpoint, vec![event]).await?;
                    pick.items.extend(loaded.into_iter().map(|(_, item)| item));
                    break;
                }
                if is_whole {
                    break;
                }
                after = last;
            }
        }
        Ok(())
    }

    fn parts(&self) -> Vec<Part> {
        let part = |pick: &Pick| {
            let place = |item: &Item| (item.position, item.sequence);
            let sent = pick.items.first().map(place).zip(pick.items.last().map(place));
            Part { stream: pick.stream, attempts: pick.attempts, sent }
        };
        self.picks.iter().map(part).collect()
    }

    async fn secrets(
        &self,
        gateway: &Gateway,
        now: DateTime<Utc>,
    ) -> Result<Vec<infrastructure::crypto::secret::Secret>, KeyRingError> {
        let mut secrets = vec![];
        for number in self.endpoint.signing_secrets(now) {
            secrets.extend(gateway.keys.secret(&secret_name(self.endpoint_id, number)).await?);
        }
        Ok(secrets)
    }

    /// What is kept of an answer. It may repeat what was sent: an answer to personal data is sealed with the person's key, and
    /// one to several people's is not kept.
    async fn seal(
        &self,
        gateway: &Gateway,
        attempt: Uuid,
        items: &[&Item],
        answer: &[u8],
    ) -> (Vec<u8>, Option<Uuid>) {
        let mut subjects: Vec<Uuid> = items.iter().filter_map(|item| item.subject).collect();
        subjects.sort_unstable();
        subjects.dedup();
        match subjects[..] {
            _ if !self.endpoint.include_personal || answer.is_empty() => (answer.to_vec(), None),
            [] => (answer.to_vec(), None),
            [subject] => match gateway.keys.subject_key(subject).await {
                Ok(SubjectKey::Live(key)) => (key.seal(attempt.as_bytes(), answer), Some(subject)),
                _ => (vec![], None),
            },
            _ => (vec![], None),
        }
    }
}

/// The same for the same events: what is sent again is known by it, and nothing else is taken for it.
fn batch_id(items: &[&Item]) -> String {
    let ids: Vec<u8> = items.iter().flat_map(|item| item.event_id.into_bytes()).collect();
    format!("batch_{}", hex::encode(&digest(&SHA256, &ids).as_ref()[..16]))
}

fn batch_body(items: &[&Item]) -> Bytes {
    let length: usize = items.iter().map(|item| item.body.len() + 1).sum();
    let mut body = Vec::with_capacity(length + 2);
    body.push(b'[');
    for (n, item) in items.iter().enumerate() {
        if n > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&item.body);
    }
    body.push(b']');
    Bytes::from(body)
}

fn meaning(answer: &Answer) -> (Outcome, Option<String>) {
    let error = |text: &str| Some(format!("the endpoint answered {}{text}", answer.status));
    match answer.status {
        200..=299 => (Outcome::Taken, None),
        GONE => (Outcome::Gone, error(": it wants no more")),
        300..=399 => {
            let outcome = Outcome::Refused { asked: answer.retry_after, is_for_all: false };
            (outcome, error(", and redirects are not followed"))
        }
        status => {
            let is_for_all = matches!(status, 429 | 503) && answer.retry_after.is_some();
            (Outcome::Refused { asked: answer.retry_after, is_for_all }, error(""))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(n: u128) -> Item {
        Item {
            position: Position(1),
            sequence: 1,
            event_id: Uuid::from_u128(n),
            subject: None,
            body: Bytes::from(format!("{{\"n\":{n}}}")),
            read_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_batch_is_known_by_what_is_in_it() {
        let (one, two) = (item(1), item(2));
        assert_eq!(batch_body(&[&one, &two]), &b"[{\"n\":1},{\"n\":2}]"[..]);
        assert_eq!(batch_id(&[&one, &two]), batch_id(&[&one, &two]));
        assert_ne!(batch_id(&[&one, &two]), batch_id(&[&one]));
        // A dot would break what is signed.
        assert!(!batch_id(&[&one]).contains('.'));
    }

    #[test]
    fn only_2xx_is_yes_410_is_never_again_and_a_redirect_is_no() {
        let said = |status, seconds: Option<i64>| {
            let retry_after = seconds.map(Duration::seconds);
            meaning(&Answer { status, retry_after, body: Bytes::new() })
        };
        for status in [200, 201, 204, 299] {
            assert!(matches!(said(status, None), (Outcome::Taken, None)), "{status}");
        }
        assert!(matches!(said(410, None).0, Outcome::Gone));
        for status in [199, 301, 302, 400, 404, 500, 503] {
            let refused = said(status, None);
            assert!(
                matches!(refused.0, Outcome::Refused { asked: None, is_for_all: false }),
                "{status}"
            );
            assert!(refused.1.is_some());
        }
        for (status, for_all) in [(429, true), (503, true), (500, false)] {
            let (outcome, _) = said(status, Some(7));
            assert!(
                matches!(outcome, Outcome::Refused { asked: Some(asked), is_for_all }
                    if asked == Duration::seconds(7) && is_for_all == for_all),
                "{status}"
            );
        }
    }
}
