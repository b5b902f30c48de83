//! A send: judged in the order Meta judges it, then its fate is drawn, then it is on record. All of it happens at once
//! when the call arrives; latency, lost answers and statuses come after.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::address::Address;
use super::behaviour::Behaviour;
use super::check::{self, Call as Body, Send};
use super::entry::{Entry, Planned, Sent, Step};
use super::error::{GraphError, Path, lookup};
use super::fate::{Fate, hash};
use super::graph::{Answer, Content};
use super::people::wamid;
use super::record::Call;
use super::state::{State, Who, month_of};
use crate::cloud_api::wire::response::{
    MessageStatus, SendResponse, SentContact, SentMessage, Success,
};

/// Service messages of a number that are free each month (since October 2026).
const FREE_SERVICE_MESSAGES: u64 = 1000;

/// What a send is about to be.
struct Accepted {
    sent: Sent,
    plan: Vec<Planned>,
    response: SendResponse,
}

impl State {
    /// Takes a body of `/messages` or `/marketing_messages`, and puts the call on record.
    pub(crate) fn messages(
        &mut self,
        mut call: Call,
        number: &str,
        body: &[u8],
        marketing: bool,
    ) -> std::io::Result<Answer> {
        let now = call.at;
        let latency = self.latency(number, call.n);
        let parsed = match check::body(body) {
            Ok(parsed) => parsed,
            Err(error) => return self.refuse(call, error, latency),
        };
        let send = match parsed {
            Body::Read { message_id } => {
                call.kind = Some("read".to_owned());
                let received = self.numbers.get(number).map(|number| &number.received);
                let known =
                    received.is_some_and(|known| known.contains(&hash(&[message_id.as_bytes()])));
                if !known {
                    let error = GraphError::new(
                        131009,
                        "message_id is no message that this number received",
                    );
                    return self.refuse(call, error, latency);
                }
                call.http_status = Some(200);
                self.record.append(&call)?;
                return Ok(Answer::json(200, &Success { success: true })?.after(latency));
            }
            Body::Send(send) => send,
        };
        call.to = Some(send.input.clone());
        call.kind = Some(send.kind.to_owned());
        call.callback_data.clone_from(&send.callback);
        let who = match self.judge(number, &send, marketing, now) {
            Ok(who) => who,
            Err(error) => {
                if [130429, 131056].contains(&error.code) {
                    let pair = error.code == 131056;
                    self.commit(vec![Entry::Violation { number: number.to_owned(), pair }])?;
                }
                return self.refuse(call, error, latency);
            }
        };

        let behaviour = self.behaviour_of(number).clone();
        let mut fate = self.fate_of(number, send.callback.as_deref());
        let no_answer = fate.happens(behaviour.accepted_but_no_answer);
        let broken_after = fate.happens(behaviour.http500_accepted);
        let broken_before = fate.happens(behaviour.http500_refused);
        let ordered = behaviour.draw_error(&mut fate);
        // Meta's front ends answer with JSON or with a page, whichever of them broke.
        let page = fate.happens(0.5);
        if broken_before && !no_answer && !broken_after {
            return self.broken(call, page, latency);
        }
        let ordered_late = match ordered.map(lookup) {
            Some(row) if row.path == Path::Sync => {
                let error =
                    GraphError::new(row.code, "ordered by errorRates of the sandbox's behaviour");
                return self.refuse(call, error, latency);
            }
            late => late.map(|row| row.code),
        };

        let accepted = self.accept(number, &send, &who, &behaviour, ordered_late, now, &mut fate);
        call.wamid = Some(accepted.sent.wamid.clone());
        call.counted = accepted.sent.error.is_none();
        let content = if no_answer {
            Content::Never
        } else if broken_after {
            call.http_status = Some(500);
            if page { Content::Page } else { broken_content()? }
        } else {
            call.http_status = Some(200);
            Content::of(&accepted.response)?
        };
        if broken_after && !no_answer {
            call.error_code = (!page).then_some(131000);
        }
        let (sent, plan) = (Box::new(accepted.sent), accepted.plan);
        self.commit(vec![Entry::Accepted { call: Box::new(call.clone()), sent, plan }])?;
        self.record.append(&call)?;
        Ok(Answer { http: call.http_status.unwrap_or(504), content, latency_ms: latency })
    }

    fn refuse(
        &mut self,
        mut call: Call,
        error: GraphError,
        latency: u64,
    ) -> std::io::Result<Answer> {
        call.http_status = Some(error.http);
        call.error_code = Some(error.code);
        self.record.append(&call)?;
        Ok(Answer::error(&error, call.n).after(latency))
    }

    fn broken(&mut self, mut call: Call, page: bool, latency: u64) -> std::io::Result<Answer> {
        call.http_status = Some(500);
        call.error_code = (!page).then_some(131000);
        self.record.append(&call)?;
        let content = if page { Content::Page } else { broken_content()? };
        Ok(Answer { http: 500, content, latency_ms: latency })
    }

    /// Whether the message may go at all.
    fn judge(
        &self,
        id: &str,
        send: &Send,
        marketing: bool,
        now: DateTime<Utc>,
    ) -> Result<Who, GraphError> {
        let Some(number) = self.numbers.get(id) else {
            return Err(GraphError::no_such_object("post", id));
        };
        let (spec, behaviour) = (number.spec(), self.behaviour_of(id));
        if !number.facts.registered {
            return Err(GraphError::new(
                133010,
                "the number is not registered, POST to its register edge first",
            ));
        }
        let who = self.who(&spec.waba_id, &send.address);
        if let Address::Number(digits) = &send.address {
            if *digits == super::address::digits_of(&spec.display_phone_number) {
                return Err(GraphError::new(131021, "to is the sender's own number"));
            }
            let allowed = &behaviour.allowed_recipients;
            let is_allowed = allowed.iter().any(|to| super::address::digits_of(to) == *digits);
            if !allowed.is_empty() && !is_allowed {
                return Err(GraphError::new(
                    131030,
                    "to is not in allowedRecipients of this test number",
                ));
            }
        }
        let mut media = send.media.clone();
        match &send.template {
            Some(content) => {
                let text = |value: Option<&Value>| {
                    value.and_then(Value::as_str).unwrap_or_default().to_owned()
                };
                let name = text(content.get("name"));
                let language =
                    text(content.get("language").and_then(|language| language.get("code")));
                let template = self.template(&spec.waba_id, &name, &language).ok_or_else(|| {
                    GraphError::new(
                        132001,
                        format!("template name ({name}) does not exist in {language}"),
                    )
                })?;
                if marketing && template.category != "MARKETING" {
                    return Err(GraphError::new(
                        134100,
                        "only marketing templates may be sent to this endpoint",
                    ));
                }
                template.fits(content, &mut media)?;
                if template.category == "AUTHENTICATION"
                    && matches!(send.address, Address::UserId(_))
                {
                    return Err(GraphError::new(
                        131062,
                        "authentication templates need a phone number in to",
                    ));
                }
            }
            None if marketing => {
                return Err(GraphError::new(131055, "only templates may be sent to this endpoint"));
            }
            None => {}
        }
        for (media_id, _) in &media {
            let known = self.media.get(media_id).is_some_and(|media| media.waba_id == spec.waba_id);
            if !known {
                return Err(GraphError::new(
                    131009,
                    format!("media id {media_id} is not of this account"),
                ));
            }
        }
        if let Some(target) = &send.reacts_to
            && !number.received.contains(&hash(&[target.as_bytes()]))
        {
            return Err(GraphError::new(
                131009,
                "reaction.message_id is no message that this number received",
            ));
        }
        let at = now.timestamp_millis();
        if number.second.count_at(at) >= spec.messages_per_second {
            return Err(GraphError::new(
                130429,
                format!(
                    "more than {} messages in a second, wait and try again",
                    spec.messages_per_second
                ),
            ));
        }
        if !number.pairs.allows(who.person, at) {
            return Err(GraphError::new(
                131056,
                "too many messages to this person, wait before the next",
            ));
        }
        Ok(who)
    }

    /// The draws of one send: by its callback datum and how often that came before, else by the number's count of sends.
    fn fate_of(&self, number: &str, callback: Option<&str>) -> Fate {
        let tally = &self.record.tally;
        match callback {
            Some(callback) => {
                let times = tally.times_seen(callback).to_le_bytes();
                Fate::new(self.seed, &[number.as_bytes(), callback.as_bytes(), &times])
            }
            None => Fate::new(
                self.seed,
                &[number.as_bytes(), b"", &tally.sends_of(number).to_le_bytes()],
            ),
        }
    }

    pub(crate) fn latency(&self, number: &str, n: u64) -> u64 {
        let span = self.behaviour_of(number).latency_ms;
        span.draw(&mut Fate::new(self.seed, &[b"latency", &n.to_le_bytes()]))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one step of `messages`, kept apart for its length"
    )]
    fn accept(
        &mut self,
        id: &str,
        send: &Send,
        who: &Who,
        behaviour: &Behaviour,
        ordered_late: Option<u32>,
        now: DateTime<Utc>,
        fate: &mut Fate,
    ) -> Accepted {
        let at = now.timestamp_millis();
        let held = fate.happens(behaviour.held_rate) && send.is_template();
        let dropped = fate.happens(behaviour.held_dropped_rate) && held;
        let category = self.category_of(id, send);
        let error = self
            .late_error(id, send, who, behaviour, &category, at)
            .or(dropped.then_some(132015))
            .or(ordered_late);
        let (accepted, service_messages, open) = match self.numbers.get(id) {
            None => (0, 0, false),
            Some(number) => {
                let same_month = number.month == month_of(now);
                let used = if same_month { number.service_messages } else { 0 };
                (number.accepted, used, number.window_is_open(who.person, at))
            }
        };
        let delivered = fate.happens(behaviour.delivered_rate);
        let read = fate.happens(behaviour.read_rate) && delivered;
        let delivered_skipped = fate.happens(behaviour.delivered_skipped_rate) && read;
        let replies = fate.happens(behaviour.reply_rate) && delivered;
        let milliseconds = fate.happens(behaviour.milliseconds_rate);
        let wa_id = who.wa_id.as_ref().map(|digits| {
            if behaviour.rewrite_wa_ids {
                super::address::rewritten(digits)
            } else {
                digits.clone()
            }
        });
        let unique = hash(&[&self.seed.to_le_bytes(), id.as_bytes(), &accepted.to_le_bytes()]);
        let sent = Sent {
            number: id.to_owned(),
            wamid: wamid(wa_id.as_deref().unwrap_or(&who.user_id), "out", unique, accepted),
            person: who.person,
            wa_id: wa_id.clone(),
            user_id: who.user_id.clone(),
            callback: send.callback.clone(),
            billable: category != "service" || service_messages >= FREE_SERVICE_MESSAGES,
            category,
            error,
            milliseconds,
            delivered_skipped,
            outside_window: !open,
        };
        let mut steps: Vec<(Step, i64)> = Vec::with_capacity(4);
        let mut when = at;
        let mut next = |step: Step, fate: &mut Fate| {
            when += i64::try_from(behaviour.status_delay_ms.draw(fate)).unwrap_or(0);
            steps.push((step, when));
        };
        if error.is_some() {
            next(Step::Failed, fate);
        } else {
            next(Step::Sent, fate);
            // Reactions report no more than `sent`.
            if delivered && send.kind != "reaction" {
                if !delivered_skipped {
                    next(Step::Delivered, fate);
                }
                if read {
                    next(Step::Read, fate);
                }
                if replies {
                    next(Step::Reply, fate);
                }
            }
        }
        let plan = self.plan(&steps, behaviour, fate);
        let response = answer(send, &sent, held);
        Accepted { sent, plan, response }
    }

    /// Numbers the steps in the order they are to arrive, which shuffling changes; when they happened stays.
    fn plan(
        &mut self,
        steps: &[(Step, i64)],
        behaviour: &Behaviour,
        fate: &mut Fate,
    ) -> Vec<Planned> {
        let mut order: Vec<usize> = (0..steps.len()).collect();
        if fate.happens(behaviour.shuffle_webhooks) {
            for place in (1..order.len()).rev() {
                let other = usize::try_from(fate.between(0, place as u64)).unwrap_or(0);
                order.swap(place, other);
            }
        }
        let dues: Vec<i64> = steps.iter().map(|(_, at)| *at).collect();
        order
            .into_iter()
            .zip(dues)
            .map(|(index, due)| Planned {
                seq: self.take_seq(),
                step: steps[index].0,
                at: steps[index].1,
                due,
            })
            .collect()
    }

    /// Meta's word for the price list.
    fn category_of(&self, id: &str, send: &Send) -> String {
        self.template_of(id, send)
            .map_or_else(|| "service".to_owned(), |template| template.category.to_lowercase())
    }

    fn template_of(&self, id: &str, send: &Send) -> Option<&super::template::Template> {
        let content = send.template.as_ref()?;
        let name = content.get("name")?.as_str()?;
        let language = content.get("language")?.get("code")?.as_str()?;
        self.template(&self.numbers.get(id)?.spec().waba_id, name, language)
    }

    /// What Meta finds out only after it has answered 200.
    fn late_error(
        &self,
        id: &str,
        send: &Send,
        who: &Who,
        behaviour: &Behaviour,
        category: &str,
        at: i64,
    ) -> Option<u32> {
        let number = self.numbers.get(id)?;
        let unreachable = who.wa_id.as_ref().is_some_and(|digits| {
            behaviour.unreachable.iter().any(|number| super::address::digits_of(number) == *digits)
        });
        if unreachable {
            return Some(131026);
        }
        if !send.is_template() && !number.window_is_open(who.person, at) {
            return Some(131047);
        }
        if category == "marketing" && number.stopped_marketing.contains(&who.person) {
            return Some(131050);
        }
        let fits = |(id, kind): &(String, &'static str)| {
            self.media.get(id).is_none_or(|media| {
                super::media::kind_of(&media.mime_type).is_none_or(|k| k == *kind)
            })
        };
        if !send.media.iter().all(fits) {
            return Some(131053);
        }
        None
    }
}

fn answer(send: &Send, sent: &Sent, held: bool) -> SendResponse {
    let by_number = matches!(send.address, Address::Number(_));
    let contact = SentContact {
        input: Some(send.input.clone()),
        wa_id: sent.wa_id.clone().filter(|_| by_number),
        user_id: (!by_number).then(|| sent.user_id.clone()),
    };
    let status = if held { MessageStatus::Held } else { MessageStatus::Accepted };
    let message = SentMessage {
        id: sent.wamid.clone(),
        message_status: send.is_template().then_some(status),
        group_id: None,
    };
    SendResponse {
        messaging_product: Some("whatsapp".to_owned()),
        // Both are plain structs of strings, which always have a JSON form.
        contacts: serde_json::to_value(contact).into_iter().collect(),
        messages: serde_json::to_value(message).into_iter().collect(),
    }
}

fn broken_content() -> std::io::Result<Content> {
    Content::of(&GraphError::new(131000, "the sandbox was told to break").body("ASandboxBroken"))
}
