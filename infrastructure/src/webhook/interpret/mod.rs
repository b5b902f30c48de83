//! What a webhook's body means, item by item, in the gateway's own terms. Pure: the same body and time of arrival give
//! the same items, so the journal can be interpreted again from any point.
//!
//! Promise: nothing that is there is passed over in silence. What cannot be read becomes [`Item::Unreadable`], what this
//! version has no meaning for becomes [`Item::Unknown`], and neither ever costs a neighbour; no input panics. Only what
//! an erasure took out ([`REDACTED`]) gives no item.

mod account;
mod item;
mod message;
mod status;
#[cfg(test)]
mod tests;
mod text;

pub use item::*;

use chrono::{DateTime, Utc};
use domain::message::Recipient;
use domain::primitives::{PhoneNumber, UserId};
use serde::Deserialize;
use serde_json::Value;

use crate::cloud_api::wire::ItemError;
use crate::cloud_api::wire::webhook::{
    Change, ChangeValue, Contact, Entry, MessagingValue, OBJECT, Preference,
    UserIdUpdate as IdUpdate, UserPreference, Webhook,
};

/// The key of the object that stands where an erasure took an item out, so that the others keep their paths.
pub const REDACTED: &str = "$redacted";

/// Whether an erasure took this out.
pub fn is_redacted(value: &Value) -> bool {
    value.get(REDACTED).is_some()
}

/// All items of a body, in its order. `received_at` stands in for times that WhatsApp does not give.
pub fn interpret(body: &Value, received_at: DateTime<Utc>) -> Vec<Interpreted> {
    let mut reader = Reader { received_at, found: Vec::new() };
    reader.body(body);
    reader.found
}

/// As [`interpret`], of a body as it came. What is not JSON is one unreadable item.
pub fn interpret_bytes(body: &[u8], received_at: DateTime<Utc>) -> Vec<Interpreted> {
    match serde_json::from_slice(body) {
        Ok(body) => interpret(&body, received_at),
        Err(error) => {
            let place = format!("not JSON (line {}, column {})", error.line(), error.column());
            let mut reader = Reader { received_at, found: Vec::new() };
            reader.unreadable(&Scope::default(), "", place);
            reader.found
        }
    }
}

struct Reader {
    received_at: DateTime<Utc>,
    found: Vec<Interpreted>,
}

/// What an item inherits from where it stands.
#[derive(Clone, Default)]
struct Scope {
    waba_id: Option<String>,
    phone_number_id: Option<String>,
    display_phone_number: Option<String>,
    standby: bool,
    at: Option<DateTime<Utc>>,
    path: String,
}

impl Scope {
    fn below(&self, path: &str) -> Self {
        Self { path: format!("{}{path}", self.path), ..self.clone() }
    }

    fn of_number(mut self, display_phone_number: &Option<String>) -> Self {
        self.display_phone_number = present(display_phone_number).map(message::digits);
        self
    }
}

impl Reader {
    fn push(&mut self, scope: &Scope, path: &str, at: Option<DateTime<Utc>>, item: Item) {
        self.found.push(Interpreted {
            waba_id: scope.waba_id.clone(),
            phone_number_id: scope.phone_number_id.clone(),
            display_phone_number: scope.display_phone_number.clone(),
            standby: scope.standby,
            at: at.or(scope.at).unwrap_or(self.received_at),
            path: format!("{}{path}", scope.path),
            item,
        });
    }

    fn unreadable(&mut self, scope: &Scope, path: &str, problem: impl Into<String>) {
        self.push(scope, path, None, Item::Unreadable { problem: problem.into() });
    }

    fn unknown(&mut self, scope: &Scope, field: &str) {
        self.push(scope, "", None, Item::Unknown { field: text::word(field) });
    }

    /// Each element of an array by itself: what it says, or why it cannot be read.
    fn each<T>(
        &mut self,
        scope: &Scope,
        name: &str,
        raw: &[Value],
        items: impl Iterator<Item = Result<T, ItemError>>,
        mut read: impl FnMut(T, &Value) -> Result<(Option<DateTime<Utc>>, Item), String>,
    ) {
        for (index, (raw, item)) in raw.iter().zip(items).enumerate() {
            if is_redacted(raw) {
                continue;
            }
            let path = format!("/{name}/{index}");
            match item.map_err(|error| error.reason).and_then(|item| read(item, raw)) {
                Ok((at, item)) => self.push(scope, &path, at, item),
                Err(problem) => self.unreadable(scope, &path, problem),
            }
        }
    }

    fn body(&mut self, body: &Value) {
        let scope = Scope::default();
        if is_redacted(body) {
            return;
        }
        let webhook = match Webhook::deserialize(body) {
            Ok(webhook) if body.is_object() => webhook,
            _ => return self.unreadable(&scope, "", "expected an object with `entry`"),
        };
        if let Some(object) = webhook.object.as_deref().filter(|object| *object != OBJECT) {
            return self.unknown(&scope, &format!("object {object}"));
        }
        for (index, entry) in webhook.entries().enumerate() {
            let scope = scope.below(&format!("/entry/{index}"));
            if is_redacted(&webhook.entry[index]) {
                continue;
            }
            match entry {
                Ok(entry) => self.entry(scope, &entry),
                Err(error) => self.unreadable(&scope, "", error.reason),
            }
        }
    }

    fn entry(&mut self, mut scope: Scope, entry: &Entry) {
        scope.waba_id = entry.id.clone();
        scope.at = entry.time.map(|time| time.at());
        for (index, change) in entry.changes().enumerate() {
            let scope = scope.below(&format!("/changes/{index}"));
            if is_redacted(&entry.changes[index]) {
                continue;
            }
            match change {
                Ok(change) if is_redacted(&change.value) => {}
                Ok(change) => self.change(scope, &change),
                Err(error) => self.unreadable(&scope, "", error.reason),
            }
        }
    }

    fn change(&mut self, scope: Scope, change: &Change) {
        let field = change.field.as_deref().unwrap_or_default();
        let scope = scope.below("/value");
        let value = match change.value() {
            Ok(value) => value,
            Err(error) => return self.unreadable(&scope, "", error.reason),
        };
        if let Some(value) = value.messaging() {
            return self.messaging(scope, field, value);
        }
        match &value {
            ChangeValue::TemplateStatus(update) => {
                self.push(&scope, "", None, account::template_status(update));
            }
            ChangeValue::TemplateQuality(update) => {
                self.push(&scope, "", None, account::template_quality(update));
            }
            ChangeValue::TemplateCategory(update) => match account::template_category(update) {
                Ok(item) => self.push(&scope, "", None, item),
                Err(problem) => self.unreadable(&scope, "", problem),
            },
            ChangeValue::TemplateComponents(update) => {
                self.push(&scope, "", None, account::template_components(update));
            }
            ChangeValue::PhoneNumberQuality(update) => {
                let scope = scope.of_number(&update.display_phone_number);
                self.push(&scope, "", None, account::number_quality(update));
            }
            ChangeValue::PhoneNumberName(update) => {
                let scope = scope.of_number(&update.display_phone_number);
                self.push(&scope, "", None, account::number_name(update));
            }
            ChangeValue::Security(update) => {
                let scope = scope.of_number(&update.display_phone_number);
                let event = text::word(&update.event);
                let item = Item::Security { event, requester: update.requester.clone() };
                self.push(&scope, "", None, item);
            }
            ChangeValue::BusinessUsername(update) => {
                let scope = scope.of_number(&update.display_phone_number);
                let (username, status) = (update.username.clone(), update.status.clone());
                self.push(&scope, "", None, Item::BusinessUsername { username, status });
            }
            ChangeValue::AccountAlert(alert) => self.push(&scope, "", None, account::alert(alert)),
            ChangeValue::AccountReview(review) => {
                let decision = text::word(&review.decision);
                self.push(&scope, "", None, Item::AccountReview { decision });
            }
            ChangeValue::BusinessCapability(update) => {
                self.push(&scope, "", None, account::capability(update));
            }
            ChangeValue::AccountUpdate(update) => {
                let mut scope = scope.of_number(&update.phone_number);
                if let Some(waba_id) = update.waba_info.as_ref().and_then(|it| it.waba_id.clone()) {
                    scope.waba_id = Some(waba_id);
                }
                let (item, unreadable) = account::account_update(update);
                self.push(&scope, "", None, item);
                for (path, problem) in unreadable {
                    self.unreadable(&scope, &path, problem);
                }
            }
            ChangeValue::Other => self.unknown(&scope, field),
            // Those with messaging().
            ChangeValue::Messages(_)
            | ChangeValue::Standby(_)
            | ChangeValue::Echoes(_)
            | ChangeValue::UserPreferences(_)
            | ChangeValue::UserIdUpdate(_)
            | ChangeValue::History(_)
            | ChangeValue::StateSync(_) => {}
        }
    }

    /// Every array is looked at, whatever the field: Meta mixes them.
    fn messaging(&mut self, mut scope: Scope, field: &str, value: &MessagingValue) {
        scope.standby = field == "standby";
        scope.phone_number_id = value.phone_number_id().map(str::to_owned);
        if let Some(metadata) = &value.metadata {
            scope = scope.of_number(&metadata.display_phone_number);
        }
        let received_at = self.received_at;
        let contacts: Vec<Contact> = value.contacts().filter_map(Result::ok).collect();
        let business = scope.display_phone_number.clone();

        self.each(&scope, "statuses", &value.statuses, value.statuses(), |status, raw| {
            let at = status.timestamp.map(|time| time.at());
            status::read(&status, raw).map(|item| (at, Item::Status(Box::new(item))))
        });
        if field == "history" {
            // Media of the past follow as messages: no less past for that.
            self.each(&scope, "messages", &value.messages, value.messages(), |it, raw| {
                let past = message::past(it, raw, None, business.as_deref(), received_at)?;
                let at = past.at;
                let item = HistoryItem {
                    phase: None,
                    chunk_order: None,
                    progress: None,
                    messages: vec![past],
                    errors: Vec::new(),
                };
                Ok((Some(at), Item::History(Box::new(item))))
            });
        } else {
            self.each(&scope, "messages", &value.messages, value.messages(), |it, raw| {
                let at = it.timestamp.map(|time| time.at());
                message::inbound(&it, raw, &contacts).map(|item| (at, item))
            });
        }
        let mut echo_of = |it: crate::cloud_api::wire::webhook::Message, raw: &Value| {
            let at = it.timestamp.map(|time| time.at());
            let item = message::read(&it, raw, &contacts, message::Direction::Outbound)?;
            Ok((at, Item::Echo(Box::new(item))))
        };
        self.each(&scope, "message_echoes", &value.message_echoes, value.echoes(), &mut echo_of);
        self.each(
            &scope,
            "user_preferences",
            &value.user_preferences,
            value.user_preferences(),
            |it, _| preference(&it).map(|item| (it.timestamp.map(|time| time.at()), item)),
        );
        self.each(
            &scope,
            "user_id_update",
            &value.user_id_update,
            value.user_id_updates(),
            |it, _| user_id_update(&it).map(|item| (it.timestamp.map(|time| time.at()), item)),
        );
        self.each(&scope, "user_actions", &value.user_actions, value.user_actions(), |it, raw| {
            let at = it.timestamp.map(|time| time.at());
            let action = text::word(&it.action_type);
            Ok((at, Item::UserAction(UserActionItem { action, data: raw.clone() })))
        });
        self.each(&scope, "state_sync", &value.state_sync, value.state_sync(), |it, _| {
            let at = it.metadata.as_ref().and_then(|it| it.timestamp).map(|time| time.at());
            let contact = it.contact.as_ref();
            let phone = contact.and_then(|it| it.phone_number.as_deref());
            let item = StateSyncItem {
                phone: phone.and_then(|text| PhoneNumber::parse(text).ok()),
                full_name: contact.and_then(|it| it.full_name.clone()),
                first_name: contact.and_then(|it| it.first_name.clone()),
                action: it.action.as_deref().map(text::word),
            };
            Ok((at, Item::StateSync(item)))
        });
        for (index, chunk) in value.history().enumerate() {
            let scope = scope.below(&format!("/history/{index}"));
            if is_redacted(&value.history[index]) {
                continue;
            }
            match chunk {
                Ok(chunk) => {
                    let (item, unreadable) =
                        message::history(&chunk, business.as_deref(), received_at);
                    self.push(&scope, "", None, Item::History(Box::new(item)));
                    for (path, problem) in unreadable {
                        self.unreadable(&scope, &path, problem);
                    }
                }
                Err(error) => self.unreadable(&scope, "", error.reason),
            }
        }
        self.value_errors(&scope, value);
        self.rest(&scope, field, value);
    }

    fn value_errors(&mut self, scope: &Scope, value: &MessagingValue) {
        let mut errors = Vec::new();
        for (index, error) in value.errors().enumerate() {
            match error {
                _ if is_redacted(&value.errors[index]) => {}
                Ok(error) => errors.push(status::reported_one(&error)),
                Err(error) => self.unreadable(scope, &format!("/errors/{index}"), error.reason),
            }
        }
        if !errors.is_empty() {
            self.push(scope, "/errors", None, Item::ValueErrors { errors });
        }
    }

    /// Lists that this version does not know, and values with nothing in them.
    fn rest(&mut self, scope: &Scope, field: &str, value: &MessagingValue) {
        let mut is_empty = [
            &value.statuses,
            &value.messages,
            &value.message_echoes,
            &value.user_preferences,
            &value.user_id_update,
            &value.user_actions,
            &value.state_sync,
            &value.history,
            &value.errors,
        ]
        .iter()
        .all(|items| items.is_empty());
        for (name, part) in &value.extra {
            if part.as_array().is_some_and(|items| !items.is_empty()) {
                is_empty = false;
                let item = Item::Unknown { field: text::word(&format!("{field}.{name}")) };
                self.push(scope, &format!("/{}", pointer_token(name)), None, item);
            }
        }
        if is_empty {
            self.unknown(scope, field);
        }
    }
}

fn preference(it: &UserPreference) -> Result<Item, String> {
    let who = recipient(present(&it.wa_id), present(&it.user_id));
    if who == Recipient::default() {
        return Err("neither `wa_id` nor `user_id` names a person".to_owned());
    }
    Ok(Item::Preference(PreferenceItem {
        who,
        choice: match &it.value {
            Preference::Stop => PreferenceChoice::Stop,
            Preference::Resume => PreferenceChoice::Resume,
            other => PreferenceChoice::Other(text::word(other.as_str())),
        },
        category: it.category.as_deref().map(text::word),
    }))
}

fn user_id_update(it: &IdUpdate) -> Result<Item, String> {
    let id = |id: &Option<String>| present(id).and_then(|id| UserId::parse(id).ok());
    let (user_id, parent) = (it.user_id.as_ref(), it.parent_user_id.as_ref());
    let update = UserIdUpdate {
        phone: present(&it.wa_id).and_then(|text| PhoneNumber::parse(text).ok()),
        previous: user_id.and_then(|it| id(&it.previous)),
        current: user_id.and_then(|it| id(&it.current)),
        previous_parent: parent.and_then(|it| id(&it.previous)),
        current_parent: parent.and_then(|it| id(&it.current)),
    };
    if update.current.is_none() && update.current_parent.is_none() {
        return Err("`user_id` has no `current` that is a user id".to_owned());
    }
    Ok(Item::UserIdUpdate(Box::new(update)))
}

/// Each id where it belongs: a user id has been seen where a number is meant, and is never read as one.
fn recipient(number: Option<&str>, user_id: Option<&str>) -> Recipient {
    let user = |text: &str| UserId::parse(text.trim()).ok();
    Recipient {
        phone: number.and_then(|text| PhoneNumber::parse(text).ok()),
        user_id: user_id.and_then(user).or_else(|| number.and_then(user)),
    }
}

/// WhatsApp prints empty strings for what is absent.
fn present(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.trim().is_empty())
}

/// A key as JSON pointers write it.
fn pointer_token(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
