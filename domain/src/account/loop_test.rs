//! The loop test of a number: somebody writes to it from their own phone, the gateway answers once, and WhatsApp reports
//! the answer delivered. What it has come to is read from the facts of the account and of the answer.

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};

use super::event::AccountStatus;
use crate::message::{DeliveryStatus, Message, MessageStatus};
use crate::primitives::{ContactId, MessageId, Personal, PhoneNumber};

/// How long a loop test lasts, in minutes. What has not happened by then failed.
pub const LOOP_TEST_MINUTES: i64 = 10;
/// How far WhatsApp's clock may be behind ours: what was written longer before the start is no answer to it.
const SKEW: Duration = Duration::seconds(60);

/// The last loop test of a number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoopTest {
    pub contact_id: ContactId,
    /// Who writes. Never part of a read model; `None` there, and after the person was erased.
    #[serde(skip)]
    pub phone: Option<Personal<PhoneNumber>>,
    pub started_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<LoopTestReceipt>,
}

/// What the person wrote, and what answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoopTestReceipt {
    pub message_id: MessageId,
    pub answer_id: MessageId,
    /// By WhatsApp's clock.
    pub written_at: DateTime<Utc>,
}

/// How far a loop test has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopTestState {
    WaitingForInbound,
    WaitingForAcceptance,
    WaitingForDelivery,
    Passed,
    /// The answer cannot get there as things stand: the message or its account says why.
    Failed,
    Expired,
}

impl LoopTest {
    /// Whether what a person wrote then, and what comes in now, is what this test waits for.
    pub(super) fn is_met_by(
        &self,
        contact_id: ContactId,
        phone: Option<&PhoneNumber>,
        written_at: DateTime<Utc>,
        at: DateTime<Utc>,
    ) -> bool {
        let mine = self.phone.as_ref().and_then(Personal::known);
        // By the contact too: whoever hides their number writes by user id alone.
        let is_them = self.contact_id == contact_id
            || mine.zip(phone).is_some_and(|(mine, theirs)| mine.canonical() == theirs.canonical());
        is_them
            && self.received.is_none()
            && at < self.expires_at
            && written_at >= self.started_at - SKEW
    }

    /// How far it has come at `now`. `answer`: the message under the answer's id, where it is planned already.
    pub fn state(
        &self,
        account: AccountStatus,
        answer: Option<&Message>,
        now: DateTime<Utc>,
    ) -> LoopTestState {
        if let Some(at) = answer.and_then(Self::delivered_at) {
            return if at <= self.expires_at {
                LoopTestState::Passed
            } else {
                LoopTestState::Expired
            };
        }
        match answer.map(Message::status) {
            Some(MessageStatus::Failed | MessageStatus::Skipped | MessageStatus::Cancelled) => {
                return LoopTestState::Failed;
            }
            Some(MessageStatus::Expired) => return LoopTestState::Expired,
            _ => {}
        }
        if now >= self.expires_at {
            return LoopTestState::Expired;
        }
        let has_left = answer.is_some_and(|answer| answer.left_at().is_some());
        match self.received {
            None => LoopTestState::WaitingForInbound,
            Some(_) if answer.is_some_and(|answer| Self::accepted_at(answer).is_some()) => {
                LoopTestState::WaitingForDelivery
            }
            // Nothing leaves a number that is stopped.
            Some(_) if account != AccountStatus::Connected && !has_left => LoopTestState::Failed,
            Some(_) => LoopTestState::WaitingForAcceptance,
        }
    }

    /// When WhatsApp took the answer: a status may overtake its word on that.
    pub fn accepted_at(answer: &Message) -> Option<DateTime<Utc>> {
        answer.accepted_at().or_else(|| answer.status_at(DeliveryStatus::Sent))
    }

    /// When the answer was on the phone: what was read was delivered.
    pub fn delivered_at(answer: &Message) -> Option<DateTime<Utc>> {
        [DeliveryStatus::Delivered, DeliveryStatus::Read, DeliveryStatus::Played]
            .into_iter()
            .filter_map(|status| answer.status_at(status))
            .min()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::GatewayAggregate;
    use crate::account::{
        Account, AccountCommand, AccountError, AccountEvent, AccountProvider, AccountSettings,
        ConnectAccount,
    };
    use crate::message::{
        Content, ContentKind, Failure, MessageCommand, MessageHeader, Plan, Priority, Recipient,
        StatusReport,
    };
    use crate::primitives::{AccountId, Wamid, WorkspaceId};

    const ANA: ContactId = ContactId(Uuid::from_u128(3));
    const ANSWER: MessageId = MessageId(Uuid::from_u128(9));

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_305_600 + second, 0).unwrap()
    }

    fn phone(number: &str) -> PhoneNumber {
        PhoneNumber::parse(number).unwrap()
    }

    fn given(commands: impl IntoIterator<Item = AccountCommand>) -> Account {
        let connect = ConnectAccount {
            workspace_id: WorkspaceId(Uuid::from_u128(1)),
            provider: AccountProvider::CloudApi,
            phone_number_id: "1".to_owned(),
            waba_id: "2".to_owned(),
            credentials: Default::default(),
            settings: AccountSettings {
                name: "Support".to_owned(),
                time_zone: "Europe/Berlin".to_owned(),
                default_region: "DE".to_owned(),
                ..AccountSettings::default()
            },
            at: at(-100),
        };
        let mut account = Account::default();
        for command in [AccountCommand::Connect(Box::new(connect))].into_iter().chain(commands) {
            for event in account.decide(command).unwrap() {
                account.fold(event);
            }
        }
        account
    }

    fn start(second: i64) -> AccountCommand {
        AccountCommand::StartLoopTest {
            contact_id: ANA,
            phone: phone("+447700900123"),
            at: at(second),
        }
    }

    fn wrote(contact: u128, number: Option<&str>, written: i64, now: i64) -> AccountCommand {
        AccountCommand::ReceiveLoopTest {
            contact_id: ContactId(Uuid::from_u128(contact)),
            phone: number.map(phone),
            message_id: MessageId(Uuid::from_u128(8)),
            answer_id: ANSWER,
            written_at: at(written),
            at: at(now),
        }
    }

    #[test]
    fn the_first_message_of_that_person_within_ten_minutes_is_what_it_waits_for() {
        let account = given([start(0)]);
        let heard = |command| account.decide(command).unwrap().len();
        assert_eq!(heard(wrote(3, None, 5, 6)), 1, "by their contact");
        assert_eq!(heard(wrote(4, Some("+447700900123"), 5, 6)), 1, "by their number");
        assert_eq!(heard(wrote(4, Some("+447700900124"), 5, 6)), 0, "somebody else");
        assert_eq!(heard(wrote(3, None, -1, 1)), 1, "WhatsApp's clock has no parts of a second");
        assert_eq!(heard(wrote(3, None, -61, 1)), 0, "an old message told late");
        assert_eq!(heard(wrote(3, None, 599, 600)), 0, "too late");
        let account = given([start(0), wrote(3, None, 5, 6)]);
        assert_eq!(account.decide(wrote(3, None, 7, 8)), Ok(vec![]), "it is answered once");
        assert_eq!(given([]).decide(wrote(3, None, 7, 8)), Ok(vec![]), "nobody tests");
    }

    #[test]
    fn a_second_test_takes_the_place_of_the_first_and_needs_a_message_of_its_own() {
        let account = given([start(0), wrote(3, None, 5, 6), start(30)]);
        let test = account.loop_test.clone().unwrap();
        assert_eq!((test.started_at, test.expires_at, test.received), (at(30), at(630), None));
        assert_eq!(account.decide(wrote(3, None, 31, 32)).unwrap().len(), 1);
    }

    #[test]
    fn only_a_connected_number_is_tested_and_its_phone_is_the_persons_own_to_erase() {
        let gone = AccountCommand::Disconnect { reason: "moved".to_owned(), at: at(1) };
        assert_eq!(given([gone]).decide(start(2)), Err(AccountError::Disconnected));
        let mut account = given([start(0)]);
        assert_eq!(account.subject(), Some(ANA.0));
        assert_eq!(given([]).subject(), None);
        account.fold(AccountEvent::LoopTestStarted {
            contact_id: ANA,
            phone: Personal::Erased,
            expires_at: at(600),
            at: at(0),
        });
        assert_eq!(account.subject(), None, "what is left is about nobody");
        let kept = serde_json::to_string(&given([start(0)])).unwrap();
        assert!(!kept.contains("900123"), "{kept}");
    }

    fn answer(commands: impl IntoIterator<Item = MessageCommand>) -> Message {
        let plan = Plan {
            header: MessageHeader {
                workspace_id: WorkspaceId(Uuid::from_u128(1)),
                account_id: AccountId(Uuid::from_u128(2)),
                contact_id: ANA,
                campaign_id: None,
                is_test: false,
                content_kind: ContentKind::Text,
                template: None,
                priority: Priority::Reply,
                time_to_live_s: Some(590),
                external_id: None,
                metadata: None,
                reply_to: None,
                country: None,
            },
            to: Recipient::default(),
            content: Content::Text { body: "x".to_owned(), preview_url: false },
            skip: None,
            due_at: at(10),
            at: at(10),
        };
        let mut message = Message::default();
        for command in [MessageCommand::Plan(Box::new(plan))].into_iter().chain(commands) {
            for event in message.decide(command).unwrap() {
                message.fold(event);
            }
        }
        message
    }

    fn status(status: DeliveryStatus, second: i64) -> MessageCommand {
        MessageCommand::RecordStatus(Box::new(StatusReport {
            attempt: Some(1),
            wamid: Wamid::parse("wamid.x").unwrap(),
            status,
            pricing: None,
            failure: None,
            retry_at: None,
            at: at(second),
        }))
    }

    #[test]
    fn it_passes_when_the_answer_was_on_the_phone_in_time() {
        let test = given([start(0), wrote(3, None, 5, 6)]).loop_test.unwrap();
        let told =
            |answer: Option<&Message>, now| test.state(AccountStatus::Connected, answer, at(now));
        let request = || MessageCommand::RequestSend { attempt: 1, send_by: at(20), at: at(11) };
        let taken = || MessageCommand::RecordAccepted {
            attempt: 1,
            wamid: Wamid::parse("wamid.x").unwrap(),
            held: false,
            at: at(12),
        };
        let open = given([start(0)]).loop_test.unwrap();
        assert_eq!(
            open.state(AccountStatus::Paused, None, at(1)),
            LoopTestState::WaitingForInbound
        );
        assert_eq!(open.state(AccountStatus::Connected, None, at(600)), LoopTestState::Expired);
        assert_eq!(told(None, 7), LoopTestState::WaitingForAcceptance, "not planned yet");
        assert_eq!(told(Some(&answer([])), 12), LoopTestState::WaitingForAcceptance);
        let accepted = answer([request(), taken()]);
        assert_eq!(told(Some(&accepted), 13), LoopTestState::WaitingForDelivery);
        assert_eq!(told(Some(&accepted), 600), LoopTestState::Expired);
        let delivered = answer([request(), taken(), status(DeliveryStatus::Delivered, 14)]);
        assert_eq!(told(Some(&delivered), 15), LoopTestState::Passed);
        assert_eq!(told(Some(&delivered), 5_000), LoopTestState::Passed, "for good");
        // What was read was delivered, whether or not WhatsApp says so.
        let read = answer([request(), status(DeliveryStatus::Read, 14)]);
        assert_eq!(told(Some(&read), 15), LoopTestState::Passed);
        let late = answer([request(), taken(), status(DeliveryStatus::Delivered, 601)]);
        assert_eq!(told(Some(&late), 602), LoopTestState::Expired);
    }

    #[test]
    fn what_stops_the_answer_fails_it() {
        let test = given([start(0), wrote(3, None, 5, 6)]).loop_test.unwrap();
        let state = |account, answer: &Message| test.state(account, Some(answer), at(13));
        let waiting = answer([]);
        assert_eq!(state(AccountStatus::Paused, &waiting), LoopTestState::Failed);
        assert_eq!(state(AccountStatus::Connected, &waiting), LoopTestState::WaitingForAcceptance);
        // What has left may still get there, whatever happens to the number.
        let sent = answer([
            MessageCommand::RequestSend { attempt: 1, send_by: at(20), at: at(11) },
            status(DeliveryStatus::Sent, 12),
        ]);
        assert_eq!(state(AccountStatus::Paused, &sent), LoopTestState::WaitingForDelivery);
        let refused = answer([
            MessageCommand::RequestSend { attempt: 1, send_by: at(20), at: at(11) },
            MessageCommand::RecordRefused {
                attempt: 1,
                failure: Failure {
                    code: Some(131_026),
                    title: "undeliverable".to_owned(),
                    details: None,
                    retryable: false,
                    keep_away: None,
                },
                retry_at: None,
                at: at(12),
            },
        ]);
        assert_eq!(state(AccountStatus::Connected, &refused), LoopTestState::Failed);
        let expired = answer([MessageCommand::Expire { at: at(600) }]);
        assert_eq!(state(AccountStatus::Paused, &expired), LoopTestState::Expired);
    }
}
