use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::message::{ContentKind, Priority};
use crate::primitives::{ContactId, PhoneNumber};

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_305_600 + second, 0).unwrap()
}

fn header() -> MessageHeader {
    MessageHeader {
        workspace_id: WorkspaceId(Uuid::from_u128(1)),
        account_id: AccountId(Uuid::from_u128(2)),
        contact_id: ContactId(Uuid::from_u128(3)),
        campaign_id: None,
        is_test: false,
        content_kind: ContentKind::Text,
        template: None,
        priority: Priority::Single,
        time_to_live_s: Some(60),
        external_id: None,
        metadata: None,
        reply_to: None,
        country: None,
    }
}

fn plan(due_at: DateTime<Utc>, skip: Option<(SkipReason, Option<String>)>) -> MessageCommand {
    MessageCommand::Plan(Box::new(Plan {
        header: header(),
        to: Recipient { phone: Some(PhoneNumber::parse("+447700900123").unwrap()), user_id: None },
        content: Content::Text { body: "hello".to_owned(), preview_url: false },
        skip,
        due_at,
        at: at(0),
    }))
}

fn wamid(n: u32) -> Wamid {
    Wamid::parse(&format!("wamid.{n}")).unwrap()
}

fn status(attempt: Option<u32>, status: DeliveryStatus, second: i64) -> MessageCommand {
    MessageCommand::RecordStatus(Box::new(StatusReport {
        attempt,
        wamid: wamid(attempt.unwrap_or(1)),
        status,
        pricing: (status == DeliveryStatus::Sent).then(|| serde_json::json!({"billable": true})),
        failure: (status == DeliveryStatus::Failed).then(failure),
        retry_at: None,
        at: at(second),
    }))
}

fn failure() -> Failure {
    Failure {
        code: Some(131_026),
        title: "undeliverable".to_owned(),
        details: None,
        retryable: false,
        keep_away: None,
    }
}

/// A message that these commands were given to; a refused one changes nothing.
fn given(commands: impl IntoIterator<Item = MessageCommand>) -> Message {
    let mut message = Message::default();
    for command in commands {
        for event in message.decide(command).unwrap_or_default() {
            message.fold(event);
        }
    }
    message
}

fn requested(attempt: u32) -> MessageCommand {
    MessageCommand::RequestSend { attempt, send_by: at(20), at: at(10) }
}

fn accepted(attempt: u32) -> MessageCommand {
    MessageCommand::RecordAccepted { attempt, wamid: wamid(attempt), held: false, at: at(11) }
}

fn refused(attempt: u32, retry_at: Option<DateTime<Utc>>) -> MessageCommand {
    MessageCommand::RecordRefused { attempt, failure: failure(), retry_at, at: at(11) }
}

fn unknown(attempt: u32) -> MessageCommand {
    MessageCommand::RecordUnknown {
        attempt,
        reason: "timeout".to_owned(),
        grace_until: at(630),
        at: at(30),
    }
}

#[test]
fn a_message_due_later_is_scheduled_and_one_due_now_is_queued() {
    assert_eq!(given([plan(at(100), None)]).status(), MessageStatus::Scheduled);
    assert_eq!(given([plan(at(0), None)]).status(), MessageStatus::Queued);
    assert_eq!(
        given([plan(at(0), Some((SkipReason::NoConsent, None)))]).status(),
        MessageStatus::Skipped
    );
}

#[test]
fn planning_twice_is_harmless() {
    let message = given([plan(at(0), None)]);
    assert_eq!(message.decide(plan(at(5), None)), Ok(vec![]));
}

#[test]
fn an_attempt_can_be_taken_once() {
    let message = given([plan(at(0), None), requested(1)]);
    assert_eq!(message.status(), MessageStatus::Sending);
    assert_eq!(message.decide(requested(1)), Err(MessageError::AttemptTaken { attempt: 1 }));
    assert!(message.decide(requested(2)).is_err());
}

#[test]
fn a_refusal_with_a_retry_queues_it_again_and_one_without_fails_it() {
    assert_eq!(
        given([plan(at(0), None), requested(1), refused(1, Some(at(60)))]).status(),
        MessageStatus::Queued
    );
    let failed = given([plan(at(0), None), requested(1), refused(1, None)]);
    assert_eq!(failed.status(), MessageStatus::Failed);
    assert_eq!(failed.failure().unwrap().code, Some(131_026));
}

#[test]
fn a_status_that_arrives_twice_is_recorded_once_and_an_earlier_time_is_kept() {
    let message =
        given([plan(at(0), None), requested(1), status(Some(1), DeliveryStatus::Delivered, 15)]);
    assert_eq!(message.decide(status(Some(1), DeliveryStatus::Delivered, 15)), Ok(vec![]));
    let earlier = given([
        plan(at(0), None),
        requested(1),
        status(Some(1), DeliveryStatus::Delivered, 15),
        status(Some(1), DeliveryStatus::Delivered, 14),
    ]);
    assert_eq!(earlier.status_at(DeliveryStatus::Delivered), Some(at(14)));
}

#[test]
fn a_message_in_doubt_is_settled_by_its_status() {
    let doubtful = given([plan(at(0), None), requested(1), unknown(1)]);
    assert_eq!(doubtful.status(), MessageStatus::InDoubt);
    assert_eq!(doubtful.grace_until(), Some(at(630)));
    assert_eq!(doubtful.grace(), Some((at(30), Duration::seconds(600))));
    let settled = given([
        plan(at(0), None),
        requested(1),
        unknown(1),
        status(Some(1), DeliveryStatus::Sent, 40),
    ]);
    assert_eq!(settled.status(), MessageStatus::Sent);
    assert_eq!(settled.wamid().and_then(Personal::known), Some(&wamid(1)));
}

#[test]
fn a_message_sent_again_after_doubt_is_not_sent_a_third_time_when_the_first_arrives_late() {
    let resolve = MessageCommand::Resolve {
        resolution: InDoubtResolution::SendAgain,
        due_at: at(700),
        at: at(700),
    };
    let mut commands = vec![plan(at(0), None), requested(1), unknown(1), resolve];
    assert_eq!(given(commands.clone()).status(), MessageStatus::Queued);
    commands.push(status(Some(1), DeliveryStatus::Sent, 701));
    let message = given(commands);
    assert_eq!(message.status(), MessageStatus::Sent);
    assert!(message.decide(requested(2)).is_err());
}

#[test]
fn what_whatsapp_has_cannot_be_cancelled() {
    let message = given([plan(at(0), None), requested(1)]);
    let cancel = MessageCommand::Cancel { reason: None, at: at(12) };
    assert!(matches!(message.decide(cancel.clone()), Err(MessageError::NotAllowed { .. })));
    assert_eq!(given([plan(at(50), None), cancel]).status(), MessageStatus::Cancelled);
}

#[test]
fn delivered_beats_failed_and_a_pending_retry() {
    let late = StatusReport {
        attempt: Some(1),
        wamid: wamid(1),
        status: DeliveryStatus::Failed,
        pricing: None,
        failure: Some(failure()),
        retry_at: Some(at(90)),
        at: at(40),
    };
    let mut commands =
        vec![plan(at(0), None), requested(1), MessageCommand::RecordStatus(Box::new(late))];
    assert_eq!(given(commands.clone()).status(), MessageStatus::Queued);
    commands.push(status(Some(1), DeliveryStatus::Delivered, 41));
    let message = given(commands);
    assert_eq!(message.status(), MessageStatus::Delivered);
    assert!(message.decide(requested(2)).is_err());
}

/// Every status of an attempt, twice: when it happened, and as another server of WhatsApp's told it later.
fn reports_of(attempt: u32) -> impl Iterator<Item = MessageCommand> {
    let statuses = [
        DeliveryStatus::Sent,
        DeliveryStatus::Failed,
        DeliveryStatus::Delivered,
        DeliveryStatus::Read,
        DeliveryStatus::Played,
    ];
    (12..).zip(statuses).flat_map(move |(second, word)| {
        [second, second + 30].map(|second| status(Some(attempt), word, second))
    })
}

/// Those of the only attempt, with and without our own mark on them.
fn all_reports() -> Vec<MessageCommand> {
    let unmarked = [DeliveryStatus::Sent, DeliveryStatus::Delivered, DeliveryStatus::Read];
    reports_of(1).chain(unmarked.map(|word| status(None, word, 20))).collect()
}

/// How a call may end: with WhatsApp's answer, with nobody knowing, with the answer after that, or without a trace.
fn response() -> impl Strategy<Value = Vec<MessageCommand>> {
    prop::sample::select(vec![
        vec![accepted(1)],
        vec![unknown(1)],
        vec![unknown(1), accepted(1)],
        vec![refused(1, None)],
        vec![],
    ])
}

/// What is told in the order in which it happened; the same as it arrives; and what arrives once more.
fn arrivals(
    response: Vec<MessageCommand>,
    reports: Vec<MessageCommand>,
) -> impl Strategy<Value = (Vec<MessageCommand>, Vec<MessageCommand>, Vec<MessageCommand>)> {
    let count = reports.len();
    prop::sample::subsequence(reports, 0..=count).prop_flat_map(move |reports| {
        let told: Vec<_> = response.iter().cloned().chain(reports).collect();
        let again = prop::collection::vec(any::<prop::sample::Index>(), 0..12);
        (Just(told.clone()).prop_shuffle(), again, Just(told)).prop_map(|(mixed, again, told)| {
            let again = again.iter().filter(|_| !told.is_empty());
            let again = again.map(|index| told[index.index(told.len())].clone()).collect();
            (told, mixed, again)
        })
    })
}

/// All that anybody is shown of a message.
fn shown(message: &Message) -> impl PartialEq + std::fmt::Debug {
    let times = [
        DeliveryStatus::Sent,
        DeliveryStatus::Delivered,
        DeliveryStatus::Read,
        DeliveryStatus::Played,
    ]
    .map(|status| message.status_at(status));
    let (failure, failed_at) = (message.failure().cloned(), message.failed_at());
    let ids = (message.wamid().cloned(), message.pricing.clone());
    (message.status(), times, failure, failed_at, ids, message.grace_until())
}

#[test]
fn a_message_put_off_is_not_sent_before_its_time() {
    let put_off = MessageCommand::Reschedule { due_at: at(50), at: at(1) };
    let message = given([plan(at(0), None), put_off]);
    assert_eq!(message.decide(requested(1)), Err(MessageError::NotDue { due_at: at(50) }));
    let on_time = MessageCommand::RequestSend { attempt: 1, send_by: at(60), at: at(50) };
    assert_eq!(message.decide(on_time).unwrap().len(), 1);
}

#[test]
fn an_answer_that_comes_late_settles_the_doubt() {
    let doubtful = || vec![plan(at(0), None), requested(1), unknown(1)];
    let with = |late| given(doubtful().into_iter().chain([late]));
    assert_eq!(with(refused(1, None)).status(), MessageStatus::Failed);
    assert_eq!(with(refused(1, Some(at(60)))).status(), MessageStatus::Queued);
    assert_eq!(with(accepted(1)).status(), MessageStatus::Accepted);
    // Said once, it stays said: neither a second refusal nor the orphan rule changes it.
    let refused_once = with(refused(1, None));
    assert_eq!(refused_once.decide(refused(1, Some(at(90)))), Ok(vec![]));
    assert_eq!(refused_once.decide(unknown(1)), Ok(vec![]));
}

fn resolved(resolution: InDoubtResolution) -> MessageCommand {
    MessageCommand::Resolve { resolution, due_at: at(700), at: at(700) }
}

#[test]
fn a_refusal_that_comes_after_the_decision_is_recorded_and_decides_nothing() {
    for (resolution, status) in [
        (InDoubtResolution::SendAgain, MessageStatus::Queued),
        (InDoubtResolution::GiveUp, MessageStatus::Failed),
        (InDoubtResolution::TreatAsSent, MessageStatus::Failed),
    ] {
        let message = given([plan(at(0), None), requested(1), unknown(1), resolved(resolution)]);
        let events = message.decide(refused(1, Some(at(800)))).unwrap();
        assert_eq!(events.len(), 1, "{resolution:?}");
        let mut after = message;
        events.into_iter().for_each(|event| after.fold(event));
        assert_eq!(after.status(), status, "{resolution:?}");
    }
}

/// In doubt, sent again, and turned away the second time.
fn refused_again(retry_at: Option<DateTime<Utc>>) -> Vec<MessageCommand> {
    let second = MessageCommand::RequestSend { attempt: 2, send_by: at(710), at: at(701) };
    let again = resolved(InDoubtResolution::SendAgain);
    vec![plan(at(0), None), requested(1), unknown(1), again, second, refused(2, retry_at)]
}

#[test]
fn waiting_ends_when_an_earlier_attempt_turns_out_to_have_arrived() {
    let mut commands = refused_again(Some(at(720)));
    assert_eq!(given(commands.clone()).status(), MessageStatus::Queued);
    commands.push(status(Some(1), DeliveryStatus::Delivered, 705));
    let message = given(commands);
    assert_eq!(message.status(), MessageStatus::Delivered);
    assert_eq!(message.status_at(DeliveryStatus::Delivered), Some(at(705)));
    assert_eq!(message.wamid().and_then(Personal::known), Some(&wamid(1)));
    assert_eq!((message.failure(), message.failed_at()), (None, None));
    for command in [
        MessageCommand::Expire { at: at(900) },
        MessageCommand::Skip { reason: SkipReason::OptedOut, detail: None, at: at(900) },
        MessageCommand::Cancel { reason: None, at: at(900) },
        MessageCommand::Reschedule { due_at: at(999), at: at(900) },
        MessageCommand::RequestSend { attempt: 3, send_by: at(910), at: at(900) },
        MessageCommand::Retry { due_at: at(900), at: at(900) },
        resolved(InDoubtResolution::SendAgain),
    ] {
        let refused = message.decide(command.clone());
        assert!(matches!(refused, Err(MessageError::NotAllowed { .. })), "{command:?}");
    }
}

#[test]
fn nobody_gets_it_again_who_got_it_before_a_later_attempt_failed() {
    let mut commands = refused_again(None);
    commands.push(status(Some(1), DeliveryStatus::Delivered, 705));
    let message = given(commands);
    assert_eq!(message.status(), MessageStatus::Failed);
    let retry = MessageCommand::Retry { due_at: at(900), at: at(900) };
    assert!(matches!(message.decide(retry), Err(MessageError::NotAllowed { .. })));
}

#[test]
fn a_retry_that_a_person_asked_for_starts_the_time_to_live_anew() {
    let expired = [plan(at(0), None), MessageCommand::Expire { at: at(61) }];
    let by_itself = given([plan(at(0), None), requested(1), refused(1, Some(at(40)))]);
    assert_eq!(by_itself.expires_at(), Some(at(60)));
    let asked = MessageCommand::Retry { due_at: at(5_000), at: at(5_000) };
    let message = given(expired.into_iter().chain([asked]));
    assert_eq!(message.status(), MessageStatus::Queued);
    assert_eq!(message.expires_at(), Some(at(5_060)));
}

#[test]
fn only_refusals_of_one_kind_since_the_last_start_count() {
    let unasked = |attempt| MessageCommand::RecordRefused {
        attempt,
        failure: Failure { code: None, ..failure() },
        retry_at: Some(at(11)),
        at: at(11),
    };
    let again = |attempt, second| MessageCommand::RequestSend {
        attempt,
        send_by: at(second + 10),
        at: at(second),
    };
    let mut commands = vec![
        plan(at(0), None),
        requested(1),
        unasked(1),
        again(2, 12),
        refused(2, Some(at(12))),
        again(3, 13),
    ];
    let message = given(commands.clone());
    assert_eq!((message.refusals(None, 3), message.refusals(Some(131_026), 3)), (1, 1));
    assert_eq!(message.refusals(Some(131_026), 2), 0);
    commands.extend([
        refused(3, None),
        MessageCommand::Retry { due_at: at(100), at: at(100) },
        again(4, 100),
    ]);
    assert_eq!(given(commands).refusals(Some(131_026), 4), 0);
}

proptest! {
    /// Two attempts, any order and repetition of what WhatsApp says of both: what is shown is the same.
    #[test]
    fn any_order_of_two_attempts_facts_shows_the_same_message(
        facts in Just(vec![
            refused(2, Some(at(720))),
            accepted(1),
            status(Some(1), DeliveryStatus::Sent, 702),
            status(Some(1), DeliveryStatus::Failed, 703),
            status(Some(1), DeliveryStatus::Delivered, 704),
            status(Some(1), DeliveryStatus::Read, 705),
        ]).prop_shuffle(),
        kept in prop::collection::vec(any::<bool>(), 6),
        second_is_accepted in any::<bool>(),
    ) {
        let mut base = refused_again(None);
        base.pop();
        let chosen: Vec<_> = facts
            .into_iter()
            .zip(kept)
            .filter(|(_, kept)| *kept)
            .map(|(fact, _)| match fact {
                MessageCommand::RecordRefused { .. } if second_is_accepted => accepted(2),
                fact => fact,
            })
            .collect();
        let shown = |facts: Vec<MessageCommand>| {
            let message = given(base.iter().cloned().chain(facts));
            let statuses = [DeliveryStatus::Sent, DeliveryStatus::Delivered, DeliveryStatus::Read]
                .map(|status| message.status_at(status));
            (message.status(), message.wamid().cloned(), statuses, message.attempts)
        };
        let once = shown(chosen.clone());
        let reversed: Vec<_> = chosen.iter().rev().cloned().collect();
        prop_assert_eq!(&shown(reversed.clone()), &once);
        prop_assert_eq!(&shown(chosen.into_iter().chain(reversed).collect()), &once);
    }

    /// The order of arrival does not matter: any permutation and repetition of statuses and the send response, the
    /// response in any place among them, or never known.
    #[test]
    fn statuses_and_the_send_response_give_the_same_message_in_whatever_order_they_come(
        (told, mixed, again) in response().prop_flat_map(|response| arrivals(response, all_reports())),
    ) {
        let base = [plan(at(0), None), requested(1)];
        let in_order = given(base.iter().chain(&told).cloned());
        let as_it_came = given(base.iter().chain(&mixed).chain(&again).cloned());
        prop_assert_eq!(shown(&as_it_came), shown(&in_order));
        // WhatsApp's own answer leaves no trace of the way to it either.
        if told.iter().any(|fact| matches!(fact, MessageCommand::RecordAccepted { .. })) {
            prop_assert_eq!(as_it_came, in_order);
        }
    }

    /// The same where a second attempt followed a first whose outcome nobody knew: what is reported of one says nothing
    /// of the other, and the later one is what the message is.
    #[test]
    fn reports_of_two_attempts_do_not_disturb_each_other(
        (told, mixed, again) in arrivals(vec![accepted(2)], reports_of(1).chain(reports_of(2)).collect()),
    ) {
        let second = MessageCommand::RequestSend { attempt: 2, send_by: at(710), at: at(701) };
        let send_again = resolved(InDoubtResolution::SendAgain);
        let base = [plan(at(0), None), requested(1), unknown(1), send_again, second];
        let in_order = given(base.iter().chain(&told).cloned());
        let as_it_came = given(base.iter().chain(&mixed).chain(&again).cloned());
        prop_assert_eq!(&as_it_came, &in_order);
        let highest = |attempt: u32| in_order.attempts[&attempt].status();
        prop_assert_eq!(in_order.status(), highest(2));
        prop_assert_eq!(in_order.attempt_count(), 2);
    }

    /// Folding is total: events that never belonged together do no harm.
    #[test]
    fn decisions_never_panic(order in prop::collection::vec(0usize..9, 0..40)) {
        let commands = [
            plan(at(0), None), plan(at(100), None), requested(1), requested(2), accepted(1), refused(1, Some(at(70))),
            unknown(1), status(Some(1), DeliveryStatus::Sent, 12),
            MessageCommand::Resolve { resolution: InDoubtResolution::SendAgain, due_at: at(70), at: at(70) },
        ];
        let message = given(order.into_iter().map(|index| commands[index].clone()));
        let _ = (message.status(), message.failure(), message.expires_at());
    }
}

#[test]
fn a_message_moves_with_what_was_meant_until_a_person_chose_its_time_or_it_was_tried() {
    let retime = |due| MessageCommand::Retime { due_at: at(due), at: at(1) };
    let moved = given([plan(at(10), None), retime(50)]);
    assert_eq!((moved.due_at, moved.expires_at()), (Some(at(50)), Some(at(110))));
    assert_eq!(moved.decide(retime(50)), Ok(vec![]));
    assert_eq!(moved.decide(retime(20)).unwrap().len(), 1);
    let chosen = MessageCommand::Reschedule { due_at: at(30), at: at(1) };
    let failed = [plan(at(0), None), requested(1), refused(1, Some(at(60)))];
    let cancelled = MessageCommand::Cancel { reason: None, at: at(1) };
    for message in [
        given([plan(at(10), None), chosen]),
        given(failed),
        given([plan(at(10), None), cancelled]),
        given([plan(at(0), None), requested(1)]),
    ] {
        assert_eq!(message.decide(retime(50)), Ok(vec![]));
    }
}

fn replan(
    due_at: DateTime<Utc>,
    skip: Option<(SkipReason, Option<String>)>,
    now: DateTime<Utc>,
) -> MessageCommand {
    MessageCommand::Replan(Box::new(Plan {
        header: MessageHeader { time_to_live_s: Some(600), ..header() },
        to: Recipient { phone: Some(PhoneNumber::parse("+447700900124").unwrap()), user_id: None },
        content: Content::Text { body: "hello again".to_owned(), preview_url: false },
        skip,
        due_at,
        at: now,
    }))
}

fn missing(slot: &str) -> Option<(SkipReason, Option<String>)> {
    Some((SkipReason::MissingParameter, Some(slot.to_owned())))
}

#[test]
fn who_was_left_out_and_is_judged_anew_is_planned_as_if_for_the_first_time() {
    let skipped = given([plan(at(0), missing("body.1"))]);
    for (due_at, status) in [(at(100), MessageStatus::Queued), (at(200), MessageStatus::Scheduled)]
    {
        let events = skipped.decide(replan(due_at, None, at(100))).unwrap();
        assert_eq!(events.len(), 1);
        let mut message = skipped.clone();
        events.into_iter().for_each(|event| message.fold(event));
        assert_eq!((message.status(), message.due_at), (status, Some(due_at)));
        assert_eq!((message.skip, message.status_reason.as_deref()), (None, None));
        // The time to live counts from now on; the message is as old as it was.
        assert_eq!(message.expires_at(), Some(due_at + Duration::seconds(600)));
        assert_eq!(message.created_at, Some(at(0)));
        let Some(Personal::Known(Content::Text { body, .. })) = &message.content else {
            panic!("a text")
        };
        assert_eq!(body, "hello again");
        // Asked for once more, it is on record; and it can be sent.
        assert_eq!(message.decide(replan(due_at, None, at(101))).unwrap(), vec![]);
        let send = MessageCommand::RequestSend { attempt: 1, send_by: at(220), at: due_at };
        assert_eq!(message.decide(send).unwrap().len(), 1);
    }
}

#[test]
fn who_would_be_left_out_again_stays_or_is_for_another_reason() {
    let skipped = given([plan(at(0), missing("body.1"))]);
    assert_eq!(skipped.decide(replan(at(9), missing("body.1"), at(9))).unwrap(), vec![]);
    for skip in [missing("body.2"), Some((SkipReason::OptedOut, None))] {
        let mut message = skipped.clone();
        for event in message.decide(replan(at(9), skip.clone(), at(9))).unwrap() {
            message.fold(event);
        }
        let known = message.skip.map(|reason| (reason, message.status_reason.clone()));
        assert_eq!((message.status(), known), (MessageStatus::Skipped, skip));
    }
}

#[test]
fn only_what_was_left_out_is_judged_anew_and_not_for_good() {
    let not_allowed = |message: &Message| {
        let error = message.decide(replan(at(50), None, at(50))).unwrap_err();
        assert!(matches!(error, MessageError::NotAllowed { .. }), "{error}");
    };
    for reason in [SkipReason::Erased, SkipReason::Duplicate] {
        not_allowed(&given([plan(at(0), Some((reason, None)))]));
    }
    not_allowed(&given([plan(at(0), None), requested(1), refused(1, None)]));
    not_allowed(&given([plan(at(0), None), requested(1), accepted(1)]));
    not_allowed(&given([plan(at(0), None), MessageCommand::Cancel { reason: None, at: at(1) }]));
    // A status that comes late says that they have it.
    not_allowed(&given([
        plan(at(0), None),
        requested(1),
        refused(1, Some(at(12))),
        MessageCommand::Skip { reason: SkipReason::OptedOut, detail: None, at: at(12) },
        status(Some(1), DeliveryStatus::Delivered, 13),
    ]));
    assert_eq!(
        Message::default().decide(replan(at(0), None, at(0))).unwrap_err(),
        MessageError::NotPlanned
    );
    let mut other = given([plan(at(0), missing("body.1"))]);
    other.header.as_mut().unwrap().contact_id = ContactId(Uuid::from_u128(9));
    assert_eq!(other.decide(replan(at(0), None, at(0))).unwrap_err(), MessageError::AlreadyPlanned);
}

#[test]
fn attempts_go_on_counting_after_a_skip() {
    let message = given([
        plan(at(0), None),
        requested(1),
        refused(1, Some(at(12))),
        MessageCommand::Skip { reason: SkipReason::OptedOut, detail: None, at: at(12) },
        replan(at(60), None, at(60)),
    ]);
    assert_eq!((message.status(), message.attempt_count()), (MessageStatus::Queued, 1));
    assert_eq!(message.refusals(Some(131_026), 2), 0, "the tries count from here");
    let send = |attempt| MessageCommand::RequestSend { attempt, send_by: at(80), at: at(61) };
    assert!(message.decide(send(1)).is_err());
    assert_eq!(message.decide(send(2)).unwrap().len(), 1);
}
