//! The webhooks' bodies, made of the wire types that the gateway reads them with, as exact bytes: everything but ASCII is
//! escaped, and the signature covers the escaped text, as Meta's does.

use std::collections::HashSet;
use std::io;

use ring::hmac;
use serde::Serialize;
use serde_json::ser::Formatter;
use serde_json::{Value, json};

use super::entry::{Field, Sent, Step};
use super::error::lookup;
use super::fate::hash;
use super::outbox::{Frame, Item, Post, What};
use crate::cloud_api::wire::lenient::UnixTime;
use crate::cloud_api::wire::webhook::{
    Contact, MessagingValue, Metadata, Pricing, Profile, Status, StatusKind, Webhook, WebhookError,
};

/// First names for people that nobody named, so that a reader of logs and screens sees people.
const NAMES: &[&str] = &["Ada", "Björn", "Chidi", "Dolores", "Émile", "Farah", "Goran", "Hana"];

/// A webhook as it goes over the wire.
pub(crate) struct Signed {
    pub body: Vec<u8>,
    /// The value of `X-Hub-Signature-256`.
    pub signature: String,
}

impl Post {
    pub(crate) fn signed(&self) -> serde_json::Result<Signed> {
        let body = to_ascii(&body(&self.frame, &self.items, self.unknown_field)?)?;
        let mut secret = self.app_secret.clone();
        if self.wrong_signature {
            secret.push_str("-wrong");
        }
        Ok(Signed { signature: signature(&secret, &body), body })
    }
}

/// `sha256=` and the HMAC of the exact bytes with the app secret.
pub(crate) fn signature(app_secret: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, app_secret.as_bytes());
    format!("sha256={}", hex::encode(hmac::sign(&key, body)))
}

fn body(frame: &Frame, items: &[Item], unknown_field: bool) -> serde_json::Result<Webhook> {
    let mut changes: Vec<Value> = Vec::new();
    let mut value = messaging(frame);
    let mut time = None;
    let mut known = HashSet::new();
    for item in items {
        match &item.what {
            What::Step { sent, step } => {
                value.statuses.push(status(sent, *step, item.at)?);
                if *step != Step::Failed && known.insert(sent.person) {
                    let contact = contact(sent.wa_id.as_deref(), &sent.user_id, None);
                    value.contacts.push(serde_json::to_value(contact)?);
                }
            }
            What::Field(field) => {
                if field.account {
                    time = Some(item.at / 1000);
                }
                changes.push(change(field));
            }
        }
    }
    if unknown_field {
        value
            .extra
            .insert("x_new_this_year".into(), json!({"since": 2027, "values": [null, true, "…"]}));
    }
    if !value.statuses.is_empty() {
        changes.insert(0, json!({"field": "messages", "value": serde_json::to_value(&value)?}));
    }
    if unknown_field {
        changes.push(json!({"field": "something_new", "value": {"event": "HAPPENED"}}));
    }
    let mut entry = json!({"id": frame.waba_id, "changes": changes});
    if let Some(time) = time {
        entry["time"] = json!(time);
    }
    Ok(Webhook { object: Some("whatsapp_business_account".to_owned()), entry: vec![entry] })
}

fn change(field: &Field) -> Value {
    json!({"field": field.field, "value": field.value})
}

/// An empty value of the fields about conversations.
pub(crate) fn messaging(frame: &Frame) -> MessagingValue {
    MessagingValue {
        messaging_product: Some("whatsapp".to_owned()),
        metadata: Some(Metadata {
            display_phone_number: Some(frame.display.clone()),
            phone_number_id: Some(frame.phone_number_id.clone()),
        }),
        ..MessagingValue::default()
    }
}

/// Who a status or a message is about.
pub(crate) fn contact(wa_id: Option<&str>, user_id: &str, name: Option<&str>) -> Contact {
    let made = || {
        let place = hash(&[b"name", user_id.as_bytes()]) % NAMES.len() as u64;
        NAMES[usize::try_from(place).unwrap_or(0)]
    };
    Contact {
        profile: Some(Profile {
            name: Some(name.unwrap_or_else(made).to_owned()),
            ..Profile::default()
        }),
        wa_id: wa_id.map(str::to_owned),
        user_id: Some(user_id.to_owned()),
        ..Contact::default()
    }
}

fn status(sent: &Sent, step: Step, at: i64) -> serde_json::Result<Value> {
    let kind = match step {
        Step::Sent => StatusKind::Sent,
        Step::Delivered => StatusKind::Delivered,
        Step::Read => StatusKind::Read,
        // Answers become messages before they get here.
        Step::Failed | Step::Reply => StatusKind::Failed,
    };
    let time = UnixTime::from(chrono::DateTime::from_timestamp_millis(at).unwrap_or_default());
    let mut status = Status::new(&*sent.wamid, kind, time);
    status.recipient_id.clone_from(&sent.wa_id);
    status.biz_opaque_callback_data.clone_from(&sent.callback);
    if step == Step::Failed {
        // A failure names the person only as the send did, and never has contacts.
        if sent.wa_id.is_none() {
            status.recipient_user_id = Some(sent.user_id.clone());
        }
        let code = sent.error.unwrap_or(131000);
        let mut error = WebhookError::new(i64::from(code), lookup(code).title);
        error.error_data = Some(json!({"details": lookup(code).title}));
        error.href =
            Some("/documentation/business-messaging/whatsapp/support/error-codes".to_owned());
        status.errors.push(serde_json::to_value(error)?);
    } else {
        status.recipient_user_id = Some(sent.user_id.clone());
        let priced = match step {
            Step::Sent => true,
            Step::Delivered => !sent.delivered_skipped,
            _ => sent.delivered_skipped,
        };
        status.pricing = priced.then(|| Pricing {
            billable: Some(sent.billable),
            pricing_model: Some("PMP".to_owned()),
            kind: Some(if sent.billable { "regular" } else { "free_customer_service" }.to_owned()),
            category: Some(sent.category.clone()),
            ..Pricing::default()
        });
    }
    let mut status = serde_json::to_value(status)?;
    if sent.milliseconds {
        status["timestamp"] = json!(at.to_string());
    }
    Ok(status)
}

/// Writes JSON of ASCII alone.
pub(crate) fn to_ascii<T: Serialize>(value: &T) -> serde_json::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(1024);
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Ascii);
    value.serialize(&mut serializer)?;
    Ok(bytes)
}

/// The compact form, whose methods are the trait's own, but for strings.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut plain = 0;
        for (place, c) in fragment.char_indices() {
            if c.is_ascii() && c != '/' {
                continue;
            }
            writer.write_all(&fragment.as_bytes()[plain..place])?;
            plain = place + c.len_utf8();
            if c == '/' {
                writer.write_all(b"\\/")?;
                continue;
            }
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
        writer.write_all(&fragment.as_bytes()[plain..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_ascii_and_signed_as_in_the_reference() {
        // The vector of cloud-api-examples/webhook-signature.json.
        let text = json!("Gr\u{fc}\u{df}e \u{2615} / ok");
        assert_eq!(to_ascii(&text).unwrap(), b"\"Gr\\u00fc\\u00dfe \\u2615 \\/ ok\"");
        assert_eq!(to_ascii(&json!("\u{1f600}")).unwrap(), b"\"\\ud83d\\ude00\"");
        let body = r#"{"object":"whatsapp_business_account","entry":[{"id":"301000000000001","changes":[{"field":"messages","value":{"messaging_product":"whatsapp","metadata":{"display_phone_number":"15550100199","phone_number_id":"402000000000002"},"messages":[{"from":"447700900123","id":"wamid.ZXhhbXBsZS1zaWc=","timestamp":"1795305600","type":"text","text":{"body":"Gr\u00fc\u00dfe \u2615 \/ ok"}}]}}]}]}"#;
        assert_eq!(
            signature("example-app-secret-not-real", body.as_bytes()),
            "sha256=5da36fe38f37b2eb69937c65567136bf66ad6187e51d3410ef650fe3017e432d"
        );
    }

    #[test]
    fn escaped_text_reads_back_as_it_was() {
        let value =
            json!({"a": "é/\u{1f468}\u{200d}\u{1f469} \"quoted\" \n", "b": [1, null, true]});
        let read: Value = serde_json::from_slice(&to_ascii(&value).unwrap()).unwrap();
        assert_eq!(read, value);
    }
}
