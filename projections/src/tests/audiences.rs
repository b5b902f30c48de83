//! Segments and audiences: whatever SQL narrows down, the answer is the rule's.

use std::collections::{BTreeMap, BTreeSet};

use domain::campaign::Audience;
use domain::contact::{ConsentStatus, Contact, ContactChanges, ContactCommand, ContactOrigin};
use domain::message::{Message, MessageCommand, SkipReason};
use domain::port::Position;
use domain::primitives::{ContactId, SegmentId};
use domain::segment::{Rule, Segment, SegmentCommand};
use serde_json::{Value, json};
use uuid::Uuid;

use super::harness::*;
use crate::contacts::WordKind;
use crate::{ContactFilter, PageRequest, Queries, QueryError, Scope};

const PEOPLE: u128 = 60;

fn fill(log: &Log) -> BTreeMap<&'static str, SegmentId> {
    create_workspace(log, WORKSPACE, 0);
    for n in 0..PEOPLE {
        let tags: &[&str] = match n % 6 {
            0 => &["vip"],
            1 => &["vip", "new"],
            2 => &["new"],
            _ => &[],
        };
        add_contact(log, n, tags, 0);
        let changes = ContactChanges {
            time_zone: (n % 4 == 0).then(|| Some("Europe/Berlin".to_owned())),
            language: (n % 5 == 0).then(|| Some("de_AT".to_owned())),
            attributes: Some(Some(BTreeMap::from([("visits".to_owned(), json!(n))]))),
            ..ContactChanges::default()
        };
        let update = ContactCommand::Update {
            changes: Box::new(changes),
            origin: ContactOrigin::Api,
            at: at(1),
        };
        log.command::<Contact>(id(n), update, at(1));
        if n % 3 == 0 {
            let consent = ContactCommand::RecordConsent {
                category: None,
                status: ConsentStatus::OptedIn,
                source: "form".to_owned(),
                evidence: None,
                given_at: at(0),
                at: at(1),
            };
            log.command::<Contact>(id(n), consent, at(1));
        }
        if n % 7 == 0 {
            let message_id = queue(log, n, header(n, Some(CAMPAIGN)), 0, 5);
            if n % 2 == 0 {
                log.command::<Message>(
                    message_id,
                    MessageCommand::Cancel { reason: None, at: at(6) },
                    at(6),
                );
            }
        }
    }
    add_contact_to(log, OTHER_WORKSPACE, 900, &["vip"], 0);
    log.command::<Contact>(
        id(6),
        ContactCommand::MarkMerged { into: ContactId(id(8)), at: at(7) },
        at(7),
    );
    let erase =
        ContactCommand::Erase { reason: "asked".to_owned(), suppressions: vec![], at: at(7) };
    log.command::<Contact>(id(12), erase, at(7));

    let rules: [(&str, Value); 8] = [
        ("vip", json!({ "tag": "vip" })),
        ("vip in Berlin", json!({ "all": [{ "tag": "vip" }, { "timeZone": "Europe/Berlin" }] })),
        (
            "not new, opted in",
            json!({ "all": [{ "not": [{ "tag": "new" }, { "timeZone": "Europe/Berlin" }] }, { "consent": "OPTED_IN" }] }),
        ),
        ("often", json!({ "attribute": "visits", "op": "gte", "value": 40 })),
        ("german", json!({ "language": "de" })),
        ("cancelled", json!({ "lastMessage": { "status": "CANCELLED" } })),
        (
            "in campaign",
            json!({ "any": [{ "campaign": { "id": CAMPAIGN.0.to_string() } }, { "tag": "new" }] }),
        ),
        (
            "vip often",
            json!({ "all": [{ "tag": "vip" }, { "attribute": "visits", "op": "gte", "value": 30 }] }),
        ),
    ];
    let mut segments = BTreeMap::new();
    for (n, (name, rule)) in rules.into_iter().enumerate() {
        let segment_id = SegmentId(id(0x5000 + n as u128));
        let create = SegmentCommand::Create {
            workspace_id: WORKSPACE,
            name: name.to_owned(),
            rule,
            at: at(0),
        };
        assert!(log.command::<Segment>(segment_id.0, create, at(0)), "{name}");
        segments.insert(name, segment_id);
    }
    segments
}

/// Whom the rule holds for, by hand.
fn expected(name: &str) -> BTreeSet<u128> {
    let is_vip = |n: u128| n % 6 < 2;
    let is_new = |n: u128| n % 6 == 1 || n % 6 == 2;
    let every = |step: u128, n: u128| n.is_multiple_of(step);
    let holds = |n: u128| match name {
        "vip" => is_vip(n),
        "vip in Berlin" => is_vip(n) && every(4, n),
        "not new, opted in" => !is_new(n) && !every(4, n) && every(3, n),
        "often" => n >= 40,
        "german" => every(5, n),
        "cancelled" => every(14, n),
        "in campaign" => every(7, n) || is_new(n),
        "vip often" => is_vip(n) && n >= 30,
        _ => unreachable!(),
    };
    (0..PEOPLE).filter(|n| *n != 6 && *n != 12 && holds(*n)).collect()
}

fn numbers(ids: impl IntoIterator<Item = Uuid>) -> BTreeSet<u128> {
    ids.into_iter().map(|found| found.as_u128() - id(0).as_u128()).collect()
}

async fn filled(db: &TestDb, log: &Log) -> Queries {
    let projections = db.projections(log).await;
    projections.catch_up(None).await.unwrap();
    projections.queries()
}

#[tokio::test]
async fn a_segment_holds_whom_its_rule_holds_for() {
    for db in TestDb::all().await {
        let log = Log::default();
        let segments = fill(&log);
        let queries = filled(&db, &log).await;
        let scope = Scope::workspace(WORKSPACE);
        for (name, segment_id) in segments {
            let filter = ContactFilter { segment_id: Some(segment_id.0), ..Default::default() };
            let (mut found, mut after, mut order) = (BTreeSet::new(), None, vec![]);
            loop {
                let request = PageRequest::after(4, after);
                let page = queries.contacts(&scope, &filter, &request).await.unwrap();
                (after, order) =
                    (page.end, [order, page.items.iter().map(|(_, s)| s.id).collect()].concat());
                let has_next = page.has_next;
                found.extend(numbers(page.into_items().into_iter().map(|stored| stored.id)));
                if !has_next {
                    break;
                }
            }
            assert_eq!(found, expected(name), "{name} on {}", db.name);
            assert!(order.is_sorted() && order.len() == found.len());
            let last = PageRequest::last(3, None);
            let page = queries.contacts(&scope, &filter, &last).await.unwrap();
            let tail: Vec<Uuid> = page.into_items().into_iter().map(|stored| stored.id).collect();
            assert_eq!(tail, order[order.len() - 3..]);
            let segment = queries.segments_by_id(&scope, &[segment_id.0]).await.unwrap();
            let rule: Rule = segment[&segment_id.0].state.parsed().unwrap();
            assert_eq!(queries.count_rule(WORKSPACE.0, &rule).await.unwrap(), found.len() as u64);
            let total = queries.count_contacts(&scope, &filter).await.unwrap();
            assert_eq!((total.count, total.is_exact), (found.len() as u64, true));
            let sample = queries.sample_rule(WORKSPACE.0, &rule, 2).await.unwrap();
            assert_eq!(sample.len(), 2);
            let elsewhere = Scope::workspace(OTHER_WORKSPACE);
            assert_eq!(queries.count_contacts(&elsewhere, &filter).await.unwrap().count, 0);
        }
        db.close().await;
    }
}

#[tokio::test]
async fn what_went_to_a_contact_that_went_into_another_is_asked_of_the_person() {
    for db in TestDb::all().await {
        let log = Log::default();
        create_workspace(&log, WORKSPACE, 0);
        for n in 1..4 {
            add_contact(&log, n, &[], 0);
        }
        // The one who stays was left out of it, and the third has nothing to do with it.
        queue(&log, 1, header(1, Some(CAMPAIGN)), 0, 0);
        let left_out = queue(&log, 2, header(2, Some(CAMPAIGN)), 0, 0);
        let skip = MessageCommand::Skip { reason: SkipReason::Duplicate, detail: None, at: at(5) };
        log.command::<Message>(left_out, skip, at(5));
        let into = ContactId(id(2));
        log.command::<Contact>(id(1), ContactCommand::MarkMerged { into, at: at(6) }, at(6));
        let halves = [ContactId(id(1))].into();
        log.command::<Contact>(id(2), ContactCommand::Absorb { halves, at: at(6) }, at(6));
        let queries = filled(&db, &log).await;
        let campaign = CAMPAIGN.0.to_string();
        for (rule, expected) in [
            (json!({ "campaign": { "id": campaign } }), vec![id(2)]),
            (json!({ "campaign": { "id": campaign, "status": "QUEUED" } }), vec![id(2)]),
            (json!({ "campaign": { "id": campaign, "status": "SKIPPED" } }), vec![]),
            (json!({ "not": [{ "campaign": { "id": campaign } }] }), vec![id(3)]),
        ] {
            let rule = Rule::parse(&rule).unwrap();
            let sample = queries.sample_rule(WORKSPACE.0, &rule, 10).await.unwrap();
            let found: Vec<Uuid> = sample.into_iter().map(|stored| stored.id).collect();
            assert_eq!(found, expected, "{rule:?}");
        }
        db.close().await;
    }
}

#[tokio::test]
async fn an_audience_is_a_union_less_what_is_excluded_in_id_order() {
    for db in TestDb::all().await {
        let log = Log::default();
        let segments = fill(&log);
        let queries = filled(&db, &log).await;
        let ids = |names: &[&str]| names.iter().map(|name| segments[name]).collect();
        let union = |names: &[&str]| -> BTreeSet<u128> {
            names.iter().flat_map(|name| expected(name)).collect()
        };
        let alive: BTreeSet<u128> = (0..PEOPLE).filter(|n| *n != 6 && *n != 12).collect();
        let less = |all: &BTreeSet<u128>, out: &BTreeSet<u128>| all - out;
        let audience = Audience::default;
        let cases: Vec<(Audience, BTreeSet<u128>)> = vec![
            (Audience { all: true, ..audience() }, alive.clone()),
            (Audience { tags: ["vip".to_owned()].into(), ..audience() }, expected("vip")),
            (
                Audience { tags: ["vip".to_owned(), "new".to_owned()].into(), ..audience() },
                (0..PEOPLE).filter(|n| n % 6 < 3 && *n != 6 && *n != 12).collect(),
            ),
            (
                Audience { segment_ids: ids(&["vip often", "often"]), ..audience() },
                union(&["vip often", "often"]),
            ),
            (Audience { segment_ids: ids(&["vip often"]), ..audience() }, expected("vip often")),
            (
                Audience { segment_ids: ids(&["cancelled", "german"]), ..audience() },
                union(&["cancelled", "german"]),
            ),
            (
                Audience {
                    tags: ["new".to_owned()].into(),
                    // 6 was merged into 8; 12 was erased, and is named all the same.
                    contact_ids: [3, 4, 6, 12].map(|n| ContactId(id(n))).into(),
                    exclude: Some(Box::new(Audience {
                        segment_ids: ids(&["often"]),
                        ..audience()
                    })),
                    ..audience()
                },
                &less(
                    &(0..PEOPLE).filter(|n| *n % 6 == 1 || *n % 6 == 2).collect(),
                    &expected("often"),
                ) | &[3, 4, 8, 12].into(),
            ),
            (
                Audience {
                    all: true,
                    exclude: Some(Box::new(Audience {
                        tags: ["vip".to_owned()].into(),
                        ..audience()
                    })),
                    ..audience()
                },
                less(&alive, &expected("vip")),
            ),
        ];
        for (audience, expected) in cases {
            let query = queries.audience(WORKSPACE.0, &audience, None).await.unwrap();
            for limit in [1, 3, 1_000] {
                let (mut found, mut after) = (vec![], None);
                loop {
                    let page = queries.audience_page(&query, after, limit).await.unwrap();
                    assert!(page.contacts.len() <= limit);
                    found.extend(page.contacts.iter().map(|stored| stored.id));
                    if page.is_last {
                        break;
                    }
                    assert!(page.cursor > after);
                    after = page.cursor;
                }
                assert!(found.is_sorted(), "in id order");
                assert_eq!(found.len(), expected.len(), "each once: {audience:?}");
                assert_eq!(numbers(found), expected, "{audience:?}");
            }
            let count = queries.audience_count(&query, 1_000).await.unwrap();
            assert_eq!(count, expected.len() as u64);
            assert_eq!(queries.audience_count(&query, 2).await.unwrap(), 2.min(count));
        }
        db.close().await;
    }
}

#[tokio::test]
async fn a_survey_counts_up_to_what_is_asked_and_finds_what_nobody_fills() {
    for db in TestDb::all().await {
        let log = Log::default();
        fill(&log);
        let queries = filled(&db, &log).await;
        let audience = Audience { tags: ["vip".to_owned()].into(), ..Audience::default() };
        let query = queries.audience(WORKSPACE.0, &audience, None).await.unwrap();
        let all = queries.audience_count(&query, 1_000).await.unwrap();
        let survey = async |most, paths: &[&str]| {
            let paths = paths.iter().map(|path| (*path).to_owned()).collect();
            queries.audience_survey(&query, most, paths).await.unwrap()
        };
        let found = survey(1_000, &["attributes.VISITS", "attributes.vsits", "phone"]).await;
        assert_eq!(found.people, all);
        assert_eq!(found.unfilled, BTreeSet::from(["attributes.vsits".to_owned()]));
        assert_eq!(survey(1, &[]).await.people, 1);
        assert_eq!(survey(3, &["attributes.vsits"]).await.people, 3, "looked through all");
        db.close().await;
    }
}

#[tokio::test]
async fn the_vocabulary_counts_who_has_what_and_remembers_tags_that_nobody_has_any_more() {
    for db in TestDb::all().await {
        let log = Log::default();
        fill(&log);
        let words = async |queries: &Queries, kind| {
            let found = queries.vocabulary(WORKSPACE.0, kind).await.unwrap();
            found.into_iter().collect::<BTreeMap<String, u64>>()
        };
        let queries = filled(&db, &log).await;
        // Twenty have each tag; 6 was merged away and 12 erased.
        let counts = |new, vip| BTreeMap::from([("new".to_owned(), new), ("vip".to_owned(), vip)]);
        assert_eq!(words(&queries, WordKind::Tag).await, counts(20, 18));
        let visits = BTreeMap::from([("visits".to_owned(), 58)]);
        assert_eq!(words(&queries, WordKind::Attribute).await, visits);
        for n in 0..PEOPLE {
            let changes = ContactChanges {
                attributes: Some(None),
                remove_tags: ["new".to_owned()].into(),
                ..ContactChanges::default()
            };
            let update = ContactCommand::Update {
                changes: Box::new(changes),
                origin: ContactOrigin::Api,
                at: at(9),
            };
            if n != 6 && n != 12 {
                log.command::<Contact>(id(n), update, at(9));
            }
        }
        let queries = filled(&db, &log).await;
        assert_eq!(words(&queries, WordKind::Tag).await, counts(0, 18));
        assert_eq!(words(&queries, WordKind::Attribute).await, BTreeMap::new());
        let known =
            queries.known_words(WORKSPACE.0, WordKind::Tag, ["new", "unheard", "vip"]).await;
        let known = known.unwrap();
        assert_eq!((known.len(), known.get("new"), known.get("vip")), (2, Some(&0), Some(&18)));
        db.close().await;
    }
}

#[tokio::test]
async fn names_that_a_store_cannot_tell_apart_are_one_word() {
    for db in TestDb::all().await {
        let log = Log::default();
        create_workspace(&log, WORKSPACE, 0);
        let contact = add_contact(&log, 1, &[], 1);
        let attributes = ["a\0", "a\u{fffd}"].map(|name| (name.to_owned(), json!(1)));
        let changes = ContactChanges {
            attributes: Some(Some(BTreeMap::from(attributes))),
            ..ContactChanges::default()
        };
        let update = ContactCommand::Update {
            changes: Box::new(changes),
            origin: ContactOrigin::Api,
            at: at(2),
        };
        assert!(log.command::<Contact>(contact.0, update, at(2)));
        let queries = filled(&db, &log).await;
        let known = queries.vocabulary(WORKSPACE.0, WordKind::Attribute).await.unwrap();
        assert_eq!(known, [("a\u{fffd}".to_owned(), 1)]);
        db.close().await;
    }
}

#[tokio::test]
async fn whoever_was_added_after_the_start_is_out() {
    for db in TestDb::all().await {
        let log = Log::default();
        create_workspace(&log, WORKSPACE, 0);
        add_contact(&log, 1, &["vip"], 0);
        let start = Position(log.head());
        add_contact(&log, 2, &["vip"], 0);
        let queries = filled(&db, &log).await;
        for audience in [
            Audience { all: true, ..Audience::default() },
            Audience { tags: ["vip".to_owned()].into(), ..Audience::default() },
        ] {
            let query = queries.audience(WORKSPACE.0, &audience, Some(start)).await.unwrap();
            let page = queries.audience_page(&query, None, 10).await.unwrap();
            assert_eq!(page.contacts.iter().map(|c| c.id).collect::<Vec<_>>(), [id(1)]);
            assert!(page.is_last);
        }
        db.close().await;
    }
}

#[tokio::test]
async fn a_segment_that_is_not_there_stops_the_audience() {
    let db = TestDb::sqlite().await;
    let log = Log::default();
    create_workspace(&log, WORKSPACE, 0);
    let queries = filled(&db, &log).await;
    let missing = SegmentId(id(1));
    let exclude = Audience { segment_ids: [missing].into(), ..Audience::default() };
    let audience = Audience { all: true, exclude: Some(Box::new(exclude)), ..Audience::default() };
    let error = queries.audience(WORKSPACE.0, &audience, None).await.unwrap_err();
    assert!(matches!(error, QueryError::UnknownSegment(id) if id == missing));
}
