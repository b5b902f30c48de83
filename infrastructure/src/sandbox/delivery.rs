//! Sending the webhooks: one task waits for what is due, one per webhook sends it. Also the handshake that a callback URL
//! must pass first.

use std::sync::{Arc, Weak};
use std::time::Duration;

use chrono::DateTime;
use tokio::sync::Notify;

use super::entry::{Entry, NumberFacts, Override};
use super::outbox::Post;
use super::{Inner, Sandbox};

/// A receiver that has not answered by then counts as not having answered 200. Meta publishes no time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read: the challenge, or the nothing that a webhook is answered with.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Waits between attempts at a handshake: a minute in all.
const HANDSHAKE_WAITS_S: [u64; 9] = [1, 1, 2, 4, 8, 8, 12, 12, 12];

pub(super) fn client(any_certificate: bool) -> reqwest::Result<reqwest::Client> {
    // Another part of the process may have installed one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .timeout(ANSWER_TIMEOUT)
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .danger_accept_invalid_certs(any_certificate)
        .pool_max_idle_per_host(64)
        .user_agent("facebookexternalua")
        .build()
}

/// Delivers until the sandbox is gone.
pub(super) async fn run(sandbox: Weak<Inner>, wake: Arc<Notify>) {
    loop {
        let Some(inner) = sandbox.upgrade().map(Sandbox) else { return };
        let (posts, next) = {
            let mut state = inner.state();
            let now = inner.now();
            if let Err(error) = state.tidy(now) {
                tracing::error!(%error, "the sandbox could not write its state anew, it goes on with the old file");
            }
            state.collect(now)
        };
        for post in posts {
            tokio::spawn(deliver(inner.clone(), post));
        }
        let clock = Arc::clone(&inner.0.clock);
        // Nothing is held while waiting, or the sandbox would keep itself alive.
        drop(inner);
        match next.and_then(DateTime::from_timestamp_millis) {
            Some(due) => {
                tokio::select! {
                    () = clock.sleep_until(due) => {}
                    () = wake.notified() => {}
                }
            }
            None => wake.notified().await,
        }
    }
}

async fn deliver(sandbox: Sandbox, post: Post) {
    let answered = match post.signed() {
        Ok(signed) => {
            let request = sandbox
                .0
                .client
                .post(&post.url)
                .header("content-type", "application/json")
                .header("x-hub-signature-256", signed.signature)
                .body(signed.body);
            match request.send().await {
                Ok(mut response) => {
                    let status = response.status();
                    // Read to its end, or the connection could not be used again.
                    let mut read = 0;
                    while read < ANSWER_BYTES_MAX
                        && let Ok(Some(chunk)) = response.chunk().await
                    {
                        read += chunk.len();
                    }
                    status == reqwest::StatusCode::OK
                }
                Err(_) => false,
            }
        }
        Err(error) => {
            tracing::error!(%error, "the sandbox could not write a webhook");
            false
        }
    };
    let now = sandbox.now();
    sandbox.state().landed(post.flight, answered, now);
    sandbox.0.wake.notify_one();
}

impl Sandbox {
    /// Asks a callback URL to prove that it knows the verify token; the reason where it does not.
    pub(super) async fn handshake(&self, hook: &Override) -> Result<(), String> {
        let challenge = {
            let mut state = self.state();
            let drawn = state.webhook_fate.between(1_000_000_000, 9_999_999_999);
            drawn.to_string()
        };
        let mut target =
            url::Url::parse(&hook.url).map_err(|_| "the URL cannot be read".to_owned())?;
        target
            .query_pairs_mut()
            .append_pair("hub.mode", "subscribe")
            .append_pair("hub.challenge", &challenge)
            .append_pair("hub.verify_token", &hook.verify_token);
        let mut response = self
            .0
            .client
            .get(target)
            .send()
            .await
            .map_err(|_| "no answer, expected HTTP 200".to_owned())?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(format!("HTTP Status Code = {}, expected 200", response.status().as_u16()));
        }
        let mut body = Vec::new();
        while body.len() <= challenge.len()
            && let Ok(Some(chunk)) = response.chunk().await
        {
            body.extend_from_slice(&chunk);
        }
        if body == challenge.as_bytes() {
            return Ok(());
        }
        Err("the body is not hub.challenge".to_owned())
    }

    /// One attempt at the handshake of a number's URL. True where nothing is left to be done.
    pub(super) async fn verify(&self, id: &str) -> bool {
        let Some(spec) = self.state().numbers.get(id).map(|number| number.facts.spec.clone())
        else {
            return true;
        };
        let (Some(url), Some(verify_token)) = (spec.webhook_url.clone(), spec.verify_token.clone())
        else {
            return true;
        };
        if self.handshake(&Override { url, verify_token }).await.is_err() {
            return false;
        }
        let now = self.now();
        let mut state = self.state();
        let Some(facts) = state.numbers.get(id).map(|number| number.facts.clone()) else {
            return true;
        };
        if facts.spec.webhook_url != spec.webhook_url
            || facts.spec.verify_token != spec.verify_token
        {
            // Provisioned anew in the meantime, with a handshake of its own.
            return true;
        }
        if !facts.verified {
            let number = Box::new(NumberFacts { verified: true, ..facts });
            if let Err(error) = state.commit(vec![Entry::Number { number }]) {
                tracing::error!(%error, "the sandbox could not note a verified webhook URL");
                return false;
            }
            state.hurry(now);
        }
        drop(state);
        self.0.wake.notify_one();
        true
    }
}

/// Attempts the handshake until it succeeds or a minute has gone. This waits for a network peer, so it goes by real time.
pub(super) async fn verify_for_a_minute(sandbox: Weak<Inner>, id: String, done: usize) {
    for wait in std::iter::once(0).chain(HANDSHAKE_WAITS_S).skip(done) {
        tokio::time::sleep(Duration::from_secs(wait)).await;
        let Some(inner) = sandbox.upgrade().map(Sandbox) else { return };
        if inner.verify(&id).await {
            return;
        }
    }
    tracing::warn!(
        phone_number_id = id,
        "the webhook URL of a sandbox number never answered the verification handshake"
    );
}
