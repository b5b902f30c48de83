//! What a person says themself, what others record of them, and in which order either reaches us.

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use uuid::Uuid;

use super::ConsentStatus::{OptedIn, OptedOut, Unknown};
use super::*;
use crate::GatewayAggregate;
use crate::primitives::{ContactId, PhoneNumber, WorkspaceId};
use crate::template::TemplateCategory;

const MARKETING: Option<TemplateCategory> = Some(TemplateCategory::Marketing);

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000 + second, 0).unwrap()
}

fn stop(category: Option<TemplateCategory>, said: i64, read: i64) -> ContactCommand {
    let (source, evidence) = ("the person wrote STOP".to_owned(), Some("Stop".to_owned()));
    ContactCommand::OptOut { category, source, evidence, said_at: at(said), at: at(read) }
}

fn start(category: Option<TemplateCategory>, said: i64, read: i64) -> ContactCommand {
    let (source, evidence) = ("the person wrote START".to_owned(), Some("Start".to_owned()));
    ContactCommand::Restart { category, source, evidence, said_at: at(said), at: at(read) }
}

fn record(
    status: ConsentStatus,
    category: Option<TemplateCategory>,
    given: i64,
    recorded: i64,
) -> ContactCommand {
    ContactCommand::RecordConsent {
        category,
        status,
        source: "a list".to_owned(),
        evidence: None,
        given_at: at(given),
        at: at(recorded),
    }
}

fn opt_in(given: i64, recorded: i64) -> ContactCommand {
    record(OptedIn, None, given, recorded)
}

/// A person with nothing on record, and what these commands lead to one after another.
fn given(commands: &[ContactCommand]) -> Contact {
    let changes = ContactChanges {
        phone: Some(Some(PhoneNumber::parse("+447700900123").unwrap())),
        ..ContactChanges::default()
    };
    let add = ContactCommand::Add {
        workspace_id: WorkspaceId(Uuid::from_u128(1)),
        contact_id: ContactId(Uuid::from_u128(2)),
        changes: Box::new(changes),
        origin: ContactOrigin::Api,
        at: at(-1_000),
    };
    let mut contact = Contact::default();
    for command in std::iter::once(&add).chain(commands) {
        when(&mut contact, command);
    }
    contact
}

/// The names of what a command leads to, and the contact after it.
fn when(contact: &mut Contact, command: &ContactCommand) -> Vec<String> {
    use cqrs_es::DomainEvent;
    let events = contact.decide(command.clone()).unwrap();
    let names = events.iter().map(DomainEvent::event_type).collect();
    // As the log gives it back.
    for event in events {
        let json = serde_json::to_value(&event).unwrap();
        contact.fold(serde_json::from_value(json).unwrap());
    }
    names
}

fn marketing(contact: &Contact) -> ConsentStatus {
    contact.consent.status_for(TemplateCategory::Marketing)
}

#[test]
fn a_start_that_was_said_before_a_stop_and_comes_after_it_takes_nothing_back() {
    let mut contact = given(&[opt_in(0, 0), stop(None, 20, 21)]);
    assert!(when(&mut contact, &start(None, 10, 30)).is_empty());
    assert_eq!(contact.consent.status(), OptedOut);
    // Of the same second, in either order.
    assert!(when(&mut contact, &start(None, 20, 31)).is_empty());
    let contact = given(&[stop(None, 5, 6), start(None, 20, 21), stop(None, 20, 31)]);
    assert_eq!(contact.consent.status(), OptedOut);
    // Said after it, it does.
    let mut contact = given(&[stop(None, 20, 40)]);
    assert_eq!(when(&mut contact, &start(None, 21, 41)), ["contact.consent_recorded"]);
    assert_eq!(contact.consent.status(), OptedIn);
    assert_eq!(contact.consent.general.unwrap().given_at, at(21));
}

#[test]
fn a_stop_that_comes_after_the_start_that_answers_it_is_on_record_and_stops_nothing() {
    let mut contact = given(&[start(None, 20, 21)]);
    assert_eq!(contact.consent.status(), Unknown);
    let events = when(&mut contact, &stop(None, 10, 30));
    assert_eq!(events, ["contact.opted_out", "contact.consent_recorded"]);
    let in_order = given(&[stop(None, 10, 11), start(None, 20, 21)]);
    let word = contact.consent.general.clone().unwrap();
    assert_eq!(Some(&word), in_order.consent.general.as_ref());
    assert_eq!((word.status, word.given_at), (OptedIn, at(20)));
}

#[test]
fn a_start_from_somebody_who_never_stopped_is_no_consent() {
    let mut contact = given(&[]);
    assert_eq!(when(&mut contact, &start(None, 10, 11)), ["contact.start_noted"]);
    assert!(when(&mut contact, &start(None, 10, 12)).is_empty());
    assert_eq!((contact.consent.status(), marketing(&contact)), (Unknown, Unknown));
    assert!(!contact.consent.allows(MARKETING));
    // Neither does it stand against what others know of an opt-out.
    when(&mut contact, &record(OptedOut, None, 5, 20));
    assert_eq!(contact.consent.status(), OptedOut);
    assert_eq!(when(&mut contact, &stop(None, 7, 21)), ["contact.opted_out"]);
    assert_eq!(contact.consent.status(), OptedOut);
}

#[test]
fn a_start_takes_back_an_opt_out_that_others_recorded_before() {
    let contact = given(&[record(OptedOut, None, 5, 5), start(None, 10, 11), start(None, 30, 31)]);
    assert_eq!(contact.consent.status(), OptedIn);
    let contact = given(&[record(OptedOut, None, 15, 15), start(None, 10, 20)]);
    assert_eq!(contact.consent.status(), OptedOut);
    let contact = given(&[record(OptedOut, None, 5, 5), start(None, 10, 11), opt_in(12, 12)]);
    assert_eq!(contact.consent.general.unwrap().source, "a list");
}

#[test]
fn a_consent_from_elsewhere_beats_no_stop_that_was_read_after_it_was_given() {
    // In flight while a list is imported.
    let mut contact = given(&[opt_in(20, 20), stop(None, 10, 30)]);
    assert_eq!(contact.consent.status(), OptedOut);
    for command in [
        opt_in(25, 40),
        record(OptedIn, MARKETING, 29, 41),
        record(Unknown, None, 29, 42),
        record(Unknown, MARKETING, 10, 43),
    ] {
        assert!(when(&mut contact, &command).is_empty(), "{command:?}");
    }
    // An older stop that is read last did not have a say in it either.
    let mut contact =
        given(&[stop(None, 12, 13), opt_in(20, 20), record(OptedIn, MARKETING, 21, 21)]);
    assert_eq!((contact.consent.status(), marketing(&contact)), (OptedIn, OptedIn));
    assert_eq!(when(&mut contact, &stop(None, 10, 30)), ["contact.opted_out"]);
    assert_eq!((contact.consent.status(), marketing(&contact)), (OptedOut, OptedOut));
    // Given after it was read, it lifts it.
    assert_eq!(when(&mut contact, &opt_in(31, 40)), ["contact.consent_recorded"]);
    assert_eq!(contact.consent.status(), OptedIn);
}

#[test]
fn a_stop_that_is_told_again_changes_nothing() {
    let mut contact = given(&[stop(None, 10, 11), opt_in(20, 20)]);
    assert!(when(&mut contact, &stop(None, 10, 30)).is_empty());
    assert_eq!(contact.consent.status(), OptedIn);
    let mut contact = given(&[stop(None, 10, 11), start(None, 15, 16)]);
    for told_again in [stop(None, 10, 30), start(None, 15, 31), stop(None, 9, 32)] {
        assert!(when(&mut contact, &told_again).is_empty(), "{told_again:?}");
    }
    assert_eq!(contact.consent.status(), OptedIn);
}

#[test]
fn a_choice_about_marketing_follows_the_same_rule() {
    let mut contact = given(&[opt_in(0, 0), stop(MARKETING, 20, 21)]);
    assert!(when(&mut contact, &start(MARKETING, 10, 30)).is_empty());
    assert_eq!((contact.consent.status(), marketing(&contact)), (OptedIn, OptedOut));
    // Whoever starts again in general has not turned marketing on again in WhatsApp, whatever they stopped meanwhile.
    for command in [stop(None, 30, 31), start(None, 40, 41)] {
        when(&mut contact, &command);
    }
    assert_eq!((contact.consent.status(), marketing(&contact)), (OptedIn, OptedOut));
    when(&mut contact, &start(MARKETING, 50, 51));
    assert_eq!(marketing(&contact), OptedIn);
    // A stop of everything is one of marketing.
    when(&mut contact, &stop(None, 60, 61));
    assert_eq!(marketing(&contact), OptedOut);
    when(&mut contact, &start(MARKETING, 70, 71));
    assert_eq!((contact.consent.status(), marketing(&contact)), (OptedOut, OptedIn));
    // A general opt-out that others record, too.
    when(&mut contact, &record(OptedOut, None, 80, 80));
    assert_eq!(marketing(&contact), OptedOut);
}

#[test]
fn a_general_opt_out_leaves_a_categorys_in_place() {
    let contact =
        given(&[record(OptedOut, MARKETING, 1, 1), record(OptedOut, None, 2, 2), opt_in(3, 3)]);
    assert_eq!((contact.consent.status(), marketing(&contact)), (OptedIn, OptedOut));
}

#[test]
fn what_is_said_in_the_future_counts_as_said_when_it_is_read() {
    let contact = given(&[stop(None, 5, 6), start(None, 9_000, 10), stop(None, 20, 21)]);
    assert_eq!(contact.consent.status(), OptedOut);
    assert_eq!(contact.consent.general.unwrap().given_at, at(20));
}

#[test]
fn an_opt_out_of_before_was_said_when_it_was_read() {
    let mut contact = given(&[]);
    let stored = serde_json::json!({ "type": "contact.opted_out", "source": "x", "at": at(10) });
    contact.fold(serde_json::from_value(stored).unwrap());
    assert!(when(&mut contact, &start(None, 9, 20)).is_empty());
    assert!(when(&mut contact, &opt_in(9, 20)).is_empty());
    when(&mut contact, &start(None, 11, 21));
    assert_eq!(contact.consent.status(), OptedIn);
}

#[test]
fn an_erasure_leaves_no_evidence_anywhere() {
    let mut contact = given(&[opt_in(0, 0), stop(None, 10, 11), start(MARKETING, 12, 13)]);
    let kept = |contact: &Contact| serde_json::to_string(&contact.consent).unwrap();
    assert!(kept(&contact).contains("Stop") && kept(&contact).contains("Start"));
    let (reason, suppressions) = ("asked".to_owned(), vec![]);
    when(&mut contact, &ContactCommand::Erase { reason, suppressions, at: at(20) });
    let kept = kept(&contact).replace("wrote STOP", "").replace("wrote START", "");
    assert!(!kept.contains("Stop") && !kept.contains("Start"), "{kept}");
}

/// A word of the person's own: about what, a stop or a start, and when it was said.
type Own = (Option<TemplateCategory>, bool, i64);

fn said((category, is_stop, said): Own, read: i64) -> ContactCommand {
    if is_stop { stop(category, said, read) } else { start(category, said, read) }
}

fn own_words() -> impl Strategy<Value = Vec<Own>> {
    let about = prop::sample::select(vec![None, None, MARKETING, Some(TemplateCategory::Utility)]);
    prop::collection::vec((about, any::<bool>(), 0i64..6), 0..7)
}

/// What others had recorded before.
fn prefix() -> impl Strategy<Value = Vec<(ConsentStatus, Option<TemplateCategory>, i64)>> {
    let status = prop::sample::select(vec![OptedIn, OptedOut, Unknown]);
    prop::collection::vec((status, prop::sample::select(vec![None, MARKETING]), -9i64..0), 0..3)
}

/// What holds, in general and by category, and since when.
fn holds(contact: &Contact) -> Vec<(ConsentStatus, Option<DateTime<Utc>>)> {
    let consent = &contact.consent;
    let general = consent.general.as_ref().map(|word| word.given_at);
    let of = |category| {
        let word = consent.by_category.get(&category);
        (consent.status_for(category), word.map(|word| word.given_at))
    };
    std::iter::once((consent.status(), general))
        .chain(TemplateCategory::ALL.into_iter().map(of))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn in_whatever_order_they_come_the_words_said_last_hold(
        before in prefix(),
        (words, shuffled) in own_words().prop_flat_map(|words| {
            let shuffled = Just(words.clone()).prop_shuffle();
            (Just(words), shuffled)
        }),
        again in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
    ) {
        let before: Vec<_> =
            before.iter().map(|(status, about, given)| record(*status, *about, *given, *given)).collect();
        let after = |words: &[Own]| {
            let mut contact = given(&before);
            for (n, word) in (100..).zip(words) {
                when(&mut contact, &said(*word, n));
            }
            contact
        };
        let mut in_order = words.clone();
        // Of the same second, a stop goes last.
        in_order.sort_by_key(|(_, is_stop, said)| (*said, *is_stop));
        let mut told_again = shuffled.clone();
        if !shuffled.is_empty() {
            told_again.extend(again.iter().map(|index| shuffled[index.index(shuffled.len())]));
        }
        let (expected, found) = (after(&in_order), after(&told_again));
        let statuses = |contact: &Contact| -> Vec<_> {
            holds(contact).into_iter().map(|(status, _)| status).collect()
        };
        prop_assert_eq!(statuses(&expected), statuses(&found));
        if before.is_empty() {
            prop_assert_eq!(holds(&expected), holds(&found));
        }
        // And it is what was said last.
        let last = |stops: bool| {
            let words = words.iter().filter(|(about, is_stop, _)| about.is_none() && *is_stop == stops);
            words.map(|(_, _, said)| *said).max()
        };
        match (last(true), last(false)) {
            (Some(stop), start) if start.is_none_or(|start| start <= stop) => {
                prop_assert_eq!(found.consent.status(), OptedOut);
            }
            (Some(_), _) => prop_assert_eq!(found.consent.status(), OptedIn),
            (None, _) if before.is_empty() => prop_assert_eq!(found.consent.status(), Unknown),
            (None, _) => {}
        }
    }

    #[test]
    fn nobody_lifts_a_stop_but_the_person_and_what_was_recorded_after_it_was_read(
        said_and_recorded in prop::collection::vec(
            (0u8..4, prop::sample::select(vec![None, MARKETING]), 0i64..40), 1..12),
    ) {
        let (mut stops, mut starts, mut others) = (vec![], vec![], vec![]);
        let mut contact = given(&[]);
        for (n, (kind, about, back)) in (50..).zip(said_and_recorded) {
            let (now, then) = (n, n - back);
            let command = match kind {
                0 => stop(None, then, now),
                1 => start(about, then, now),
                2 => record(OptedIn, about, then, now),
                _ => record(Unknown, about, then, now),
            };
            match kind {
                // Told again, it is the same one.
                0 if stops.iter().any(|(said, _)| *said == then) => {}
                0 => stops.push((then, now)),
                1 => starts.push(then),
                _ => others.push((then, now)),
            }
            when(&mut contact, &command);
        }
        // Those that the person has not answered themself.
        stops.retain(|(said, _)| starts.iter().all(|start| start <= said));
        let reads = || stops.iter().map(|(_, read)| *read);
        if let (Some(first), Some(last)) = (reads().min(), reads().max())
            && others.iter().all(|(given, recorded)| *given < first || *recorded < last)
        {
            prop_assert_eq!(contact.consent.status(), OptedOut);
            prop_assert_eq!(marketing(&contact), OptedOut);
            prop_assert_eq!(contact.consent.status_for(TemplateCategory::Utility), OptedOut);
        }
    }
}
