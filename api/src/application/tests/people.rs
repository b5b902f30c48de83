//! Contacts, their consent, their erasure, and segments.

use domain::contact::SUPPRESSION_SOURCE;
use domain::port::{EventFeed, EventFilter, Position};
use domain::template::TemplateCategory;
use infrastructure::crypto::SubjectKey;

use super::*;
use crate::application::contacts::{ContactFilter, RecordConsent, UpdateContact};
use crate::application::segments::CreateSegment;

#[tokio::test]
async fn a_number_in_national_form_is_read_in_the_first_accounts_region_and_is_one_persons() {
    let world = World::new().await;
    world.account("Support").await;
    let contact = world.contact("0151 12345678").await;
    assert_eq!(contact.phone_number.as_deref(), Some("+4915112345678"));
    let same = AddContact { phone_number: Some("+49 151 12345678".to_owned()), ..world.person() };
    assert_eq!(refusal(contacts::add(&world.gateway, &world.admin, same.clone()).await), CONFLICT);
    let named =
        AddContact { name: Some("Ana".to_owned()), external_id: Some("crm-1".to_owned()), ..same };
    let found = contacts::upsert(&world.gateway, &world.admin, named).await.unwrap().value;
    assert_eq!((found.id, found.name.as_deref()), (contact.id, Some("Ana")));
    let by_id = AddContact {
        external_id: Some("crm-1".to_owned()),
        language: Some("de".to_owned()),
        ..world.person()
    };
    let found = contacts::upsert(&world.gateway, &world.admin, by_id).await.unwrap().value;
    assert_eq!(
        (found.id, found.name.as_deref(), found.language.as_deref()),
        (contact.id, Some("Ana"), Some("de"))
    );
    let found =
        contacts::by_external_id(&world.gateway, &world.admin, "crm-1", None).await.unwrap();
    assert_eq!(found.map(|contact| contact.id), Some(contact.id));
    assert!(
        contacts::by_external_id(&world.gateway, &world.admin, "crm-2", None)
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn wrong_values_are_refused_with_their_path() {
    let world = World::new().await;
    let add = |input: AddContact| contacts::add(&world.gateway, &world.admin, input);
    let with = |change: fn(&mut AddContact)| {
        let mut input =
            AddContact { phone_number: Some("+4915112345678".to_owned()), ..world.person() };
        change(&mut input);
        input
    };
    let wrong: [Wrong<AddContact>; 8] = [
        ("phoneNumber", |input| input.phone_number = Some("12".to_owned())),
        ("phoneNumber", |input| input.phone_number = None),
        ("userId", |input| input.user_id = Some("nobody".to_owned())),
        ("timeZone", |input| input.time_zone = Some("Mars/Base".to_owned())),
        ("attributes", |input| input.attributes = Some(json!(["x"]))),
        ("externalId", |input| input.external_id = Some("x".repeat(300))),
        ("consent", |input| input.consent_source = Some("form".to_owned())),
        ("name", |input| input.name = Some("x".repeat(300))),
    ];
    for (field, change) in wrong {
        assert_eq!(refusal(add(with(change)).await), invalid(&format!("input.{field}")));
    }
}

#[tokio::test]
async fn an_update_changes_clears_and_keeps() {
    let world = World::new().await;
    let mut input = world.person();
    input.phone_number = Some("+4915112345678".to_owned());
    input.name = Some("Ana".to_owned());
    input.attributes = Some(json!({ "city": "Bonn", "age": 30 }));
    input.tags = vec!["a".to_owned(), "b".to_owned()];
    let contact = contacts::add(&world.gateway, &world.admin, input).await.unwrap().value;
    let update = UpdateContact {
        id: contact.id.to_string(),
        name: Some(None),
        attributes: Some(Some(json!({ "city": "Köln", "age": null }))),
        add_tags: vec!["c".to_owned()],
        remove_tags: vec!["a".to_owned()],
        ..UpdateContact::default()
    };
    let updated = contacts::update(&world.gateway, &world.admin, update).await.unwrap();
    assert_eq!(updated.value.name, None);
    assert_eq!(updated.value.attributes, json!({ "city": "Köln" }));
    // In place of the old ones; an upsert adds to them.
    let other = UpdateContact {
        id: contact.id.to_string(),
        attributes: Some(Some(json!({ "plan": "gold" }))),
        ..UpdateContact::default()
    };
    let updated = contacts::update(&world.gateway, &world.admin, other).await.unwrap();
    assert_eq!(updated.value.attributes, json!({ "plan": "gold" }));
    let mut more = world.person();
    more.phone_number = Some("+4915112345678".to_owned());
    more.attributes = Some(json!({ "city": "Bonn" }));
    let updated = contacts::upsert(&world.gateway, &world.admin, more).await.unwrap();
    assert_eq!(updated.value.attributes, json!({ "city": "Bonn", "plan": "gold" }));
    assert_eq!(updated.value.tags, ["b", "c"]);
    let then = world.gateway.clock.now();
    let stale = UpdateContact {
        id: contact.id.to_string(),
        language: Some(Some("de".to_owned())),
        expected_sequence: Some(1),
        ..UpdateContact::default()
    };
    assert_eq!(refusal(contacts::update(&world.gateway, &world.admin, stale).await), CONFLICT);
    let id = contact.id.to_string();
    let now = contacts::get(&world.gateway, &world.admin, &id, Some(then), None).await.unwrap();
    assert_eq!(now.tags, ["b", "c"]);
    let before = then - chrono::Duration::days(1);
    assert_eq!(
        refusal(contacts::get(&world.gateway, &world.admin, &id, Some(before), None).await),
        NOT_FOUND
    );
}

#[tokio::test]
async fn two_contacts_become_one_person_with_the_stricter_consent() {
    let world = World::new().await;
    let mut input = opted_in(world.person());
    input.phone_number = Some("+4915112345678".to_owned());
    input.name = Some("Ana".to_owned());
    let keep = contacts::add(&world.gateway, &world.admin, input).await.unwrap().value;
    let mut input = world.person();
    input.external_id = Some("crm-1".to_owned());
    input.name = Some("Anna".to_owned());
    input.language = Some("de".to_owned());
    input.consent = Some(ConsentStatus::OptedOut);
    let half = contacts::add(&world.gateway, &world.admin, input).await.unwrap().value;
    let (k, h) = (keep.id.to_string(), half.id.to_string());
    let merged = contacts::merge(&world.gateway, &world.admin, &k, &h).await.unwrap().value;
    assert_eq!(merged.external_id.as_deref(), Some("crm-1"));
    assert_eq!((merged.name.as_deref(), merged.language.as_deref()), (Some("Ana"), Some("de")));
    assert_eq!(merged.consent.status, ConsentStatus::OptedOut);
    assert!(contacts::merge(&world.gateway, &world.admin, &k, &h).await.is_ok());
    assert_eq!(
        refusal(contacts::merge(&world.gateway, &world.admin, &k, &k).await),
        invalid("merge")
    );
    let gone = contacts::get(&world.gateway, &world.admin, &h, None, None).await.unwrap();
    assert_eq!(gone.merged_into, Some(keep.id));
    // Erasing either half erases the person.
    contacts::erase(&world.gateway, &world.admin, &k, "asked".to_owned()).await.unwrap();
    let gone = contacts::get(&world.gateway, &world.admin, &h, None, None).await.unwrap();
    assert!(gone.erased && gone.name.is_none());
}

#[tokio::test]
async fn whichever_part_of_a_person_is_erased_the_whole_person_goes_at_once() {
    let world = World::new().await;
    let mut ids = vec![];
    for (number, name) in [
        ("+4915112345671", "Anaxone"),
        ("+4915112345672", "Anaxtwo"),
        ("+4915112345673", "Anaxthree"),
    ] {
        let mut input = world.person();
        input.phone_number = Some(number.to_owned());
        input.name = Some(name.to_owned());
        ids.push(contacts::add(&world.gateway, &world.admin, input).await.unwrap().value.id.0);
    }
    let text = |index: usize| ids[index].to_string();
    // The third went into the second, and the second into the first.
    for (keep, half) in [(1, 2), (0, 1)] {
        contacts::merge(&world.gateway, &world.admin, &text(keep), &text(half)).await.unwrap();
    }
    let last = &text(2);
    contacts::erase(&world.gateway, &world.admin, last, "asked".to_owned()).await.unwrap();
    let keys = world.gateway.keys.subject_keys(&ids).await.unwrap();
    for id in &ids {
        assert!(matches!(keys[id], SubjectKey::Destroyed), "{id}");
        let shown =
            contacts::get(&world.gateway, &world.admin, &id.to_string(), None, None).await.unwrap();
        assert!(shown.erased && shown.name.is_none() && shown.phone_number.is_none());
    }
    // One unit of the log: side by side, under one request.
    let filter =
        EventFilter { event_types: vec!["contact.erased".to_owned()], ..Default::default() };
    let page = world.gateway.ledger.read_after(Position(0), &filter, 10).await.unwrap();
    let erased: Vec<_> =
        page.events.iter().map(|event| (event.position.0, event.metadata.correlation_id)).collect();
    let (first, request) = erased[0];
    assert_eq!(erased, [(first, request), (first + 1, request), (first + 2, request)]);
    for name in ["Anaxone", "Anaxtwo", "Anaxthree", "15112345671", "15112345672", "15112345673"] {
        assert!(!world.is_on_disk(name), "{name}");
    }
}

#[tokio::test]
async fn numbers_are_read_as_the_accounts_region_says_a_moment_after_it_changed() {
    let world = World::new().await;
    let add = async |number: &str| {
        let mut input = world.person();
        input.phone_number = Some(number.to_owned());
        contacts::add(&world.gateway, &world.admin, input).await
    };
    let account = world.account("Support").await;
    let number = async |number: &str| add(number).await.unwrap().value.phone_number;
    assert_eq!(number("0151 12345678").await.as_deref(), Some("+4915112345678"));
    // The models hear of nothing any more.
    let (mut world, account) = (world, account.id.to_string());
    world._models.shutdown().await;
    let input = accounts::UpdateAccount {
        id: account.clone(),
        default_region: Some("GB".to_owned()),
        ..accounts::UpdateAccount::default()
    };
    accounts::update(&world.gateway, &world.admin, input).await.unwrap();
    let workspace = world.workspace;
    let home = contacts::home(&world.gateway, workspace).await.unwrap();
    assert_eq!(home.region.as_deref(), Some("GB"));
    // Its only account is gone, and another has just been connected: there is nothing to go by but what comes.
    accounts::disconnect(&world.gateway, &world.admin, &account, "moved".to_owned()).await.unwrap();
    let read = world.gateway.read.clone();
    let input = ConnectAccount { default_region: Some("FR".to_owned()), ..sandbox("New") };
    accounts::connect(&world.gateway, &world.admin, input).await.unwrap();
    world._models.spawn(async move { read.run().await });
    let home = contacts::home(&world.gateway, workspace).await.unwrap();
    assert_eq!(home.region.as_deref(), Some("FR"));
}

#[tokio::test]
async fn a_merged_contacts_number_and_ids_lead_to_whom_it_went_into_and_so_does_its_stop() {
    let world = World::new().await;
    let account = world.account("Support").await;
    let (one, two, three) = ("+4915112345671", "+4915112345672", "+4915112345673");
    let person = |phone: &str, user: &str, external_id: &str| AddContact {
        phone_number: Some(phone.to_owned()),
        user_id: Some(user.to_owned()),
        external_id: Some(external_id.to_owned()),
        ..world.person()
    };
    let add = |input: AddContact| contacts::add(&world.gateway, &world.admin, input);
    let keep = add(opted_in(person(one, "DE.1", "crm-1"))).await.unwrap().value;
    let half = add(person(two, "DE.2", "crm-2")).await.unwrap().value;
    let stop = RecordConsent {
        contact_id: half.id.to_string(),
        status: ConsentStatus::OptedOut,
        category: None,
        source: "the person wrote STOP".to_owned(),
        evidence: None,
        occurred_at: None,
    };
    contacts::record_consent(&world.gateway, &world.admin, stop).await.unwrap();
    let merge = async |keep: &ContactView, half: &ContactView| {
        let (keep, half) = (keep.id.to_string(), half.id.to_string());
        contacts::merge(&world.gateway, &world.admin, &keep, &half).await.unwrap()
    };
    let merged = merge(&keep, &half).await;
    let whole = &merged.value;
    assert_eq!(whole.consent.status, ConsentStatus::OptedOut);
    assert_eq!(whole.phone_number.as_deref(), Some(one));
    assert_eq!(whole.other_phone_numbers, [two]);
    assert_eq!(whole.other_identities[0].user_id, "DE.2");
    assert_eq!(whole.other_external_ids, ["crm-2"]);
    // The next night's row about the other number, with the word of a list that knows of no stop.
    let row = opted_in(person(two, "DE.2", "crm-2"));
    let row = AddContact { name: Some("Ana".to_owned()), ..row };
    let found = contacts::upsert(&world.gateway, &world.admin, row.clone()).await.unwrap().value;
    assert_eq!((found.id, found.name.as_deref()), (keep.id, Some("Ana")));
    assert_eq!(found.consent.status, ConsentStatus::OptedOut);
    assert_eq!(found.phone_number.as_deref(), Some(one));
    assert_eq!((found.user_id(), found.external_id.as_deref()), (Some("DE.1"), Some("crm-1")));
    assert_eq!(refusal(add(row).await), CONFLICT);
    for number in [one, two] {
        let sent = messages::send(&world.gateway, &world.admin, text_to(&account, number)).await;
        assert_eq!(sent.unwrap().value.contact_id, keep.id);
    }
    let head = domain::port::EventFeed::head(&world.gateway.ledger).await.unwrap();
    let reader = world.caller(&[Scope::Read]);
    let by_number = ContactFilter { phone_numbers: vec![two.to_owned()], ..Default::default() };
    let by_text = ContactFilter { search: Some("crm-2".to_owned()), ..Default::default() };
    for filter in [by_number, by_text] {
        let page = PageArgs::default();
        let found = contacts::list(&world.gateway, &world.admin, filter, page, Some(head)).await;
        let found: Vec<_> = found.unwrap().edges.into_iter().map(|edge| edge.node.id).collect();
        assert_eq!(found, [keep.id]);
    }
    let id = keep.id.to_string();
    let masked = contacts::get(&world.gateway, &reader, &id, None, None).await.unwrap();
    assert_eq!(masked.other_phone_numbers, ["+49•••672"]);
    assert_eq!(masked.other_external_ids, ["•••"]);
    // What was gathered goes on with whoever the person is taken for next.
    let last = add(person(three, "DE.3", "crm-3")).await.unwrap().value;
    let whole = merge(&last, &keep).await.value;
    assert_eq!(whole.other_phone_numbers, [two, one]);
    let by_id = contacts::by_external_id(&world.gateway, &world.admin, "crm-2", None).await;
    assert_eq!(by_id.unwrap().map(|contact| contact.id), Some(last.id));
    let promoted = UpdateContact {
        id: last.id.to_string(),
        external_id: Some(Some("crm-2".to_owned())),
        ..UpdateContact::default()
    };
    let promoted = contacts::update(&world.gateway, &world.admin, promoted).await.unwrap().value;
    assert_eq!(promoted.external_id.as_deref(), Some("crm-2"));
    assert_eq!(promoted.other_external_ids, ["crm-1"]);
    // Erased, the person's stop is remembered for every number.
    let id = last.id.to_string();
    contacts::erase(&world.gateway, &world.admin, &id, "asked".to_owned()).await.unwrap();
    for number in [one, two, three] {
        assert!(!world.is_on_disk(number.trim_start_matches('+')), "{number}");
        let back = world.contact(number).await;
        assert_eq!(back.consent.status, ConsentStatus::OptedOut);
    }
}

#[tokio::test]
async fn a_nightly_list_does_not_take_back_a_stop() {
    let world = World::new().await;
    let mut input = opted_in(world.person());
    input.phone_number = Some("+4915112345678".to_owned());
    let upsert = |input: &AddContact| contacts::upsert(&world.gateway, &world.admin, input.clone());
    let contact = upsert(&input).await.unwrap().value;
    assert_eq!(contact.consent.status, ConsentStatus::OptedIn);
    let word = |status| RecordConsent {
        contact_id: contact.id.to_string(),
        status,
        category: None,
        source: "call".to_owned(),
        evidence: None,
        occurred_at: None,
    };
    let record = |status| contacts::record_consent(&world.gateway, &world.admin, word(status));
    record(ConsentStatus::OptedOut).await.unwrap();
    let again = upsert(&input).await.unwrap().value;
    assert_eq!(again.consent.status, ConsentStatus::OptedOut);
    assert_eq!(again.consent.source.as_deref(), Some("call"));
    let told = record(ConsentStatus::OptedIn).await.unwrap().value;
    assert_eq!(told.consent.status, ConsentStatus::OptedIn);
    input.consent = Some(ConsentStatus::OptedOut);
    assert_eq!(upsert(&input).await.unwrap().value.consent.status, ConsentStatus::OptedOut);
}

#[tokio::test]
async fn a_segment_lifts_no_mask() {
    let world = World::new().await;
    let mut input = world.person();
    input.phone_number = Some("+4915112345678".to_owned());
    input.attributes = Some(json!({ "iban": "DE02" }));
    contacts::add(&world.gateway, &world.admin, input).await.unwrap();
    let rule = |value: &str| json!({ "all": [{ "not": [{ "tag": "vip" }] }, { "attribute": "iban", "op": "eq", "value": value }] });
    let segment = |name: &str, rule| CreateSegment {
        workspace_id: None,
        name: name.to_owned(),
        rule,
        idempotency_key: None,
    };
    let manager = world.caller(&[Scope::Read, Scope::Manage]);
    let trusted = world.caller(&[Scope::Read, Scope::Manage, Scope::Personal]);
    let gateway = &world.gateway;
    let refused = segments::create(gateway, &manager, segment("a", rule("DE02"))).await;
    assert_eq!(refusal(refused), FORBIDDEN);
    let plain = segments::create(gateway, &manager, segment("b", json!({ "tag": "x" }))).await;
    let plain = plain.unwrap().value.id.to_string();
    let refused = segments::update(gateway, &manager, &plain, None, Some(rule("DE02"))).await;
    assert_eq!(refusal(refused), FORBIDDEN);
    let made = segments::create(gateway, &trusted, segment("c", rule("DE02"))).await.unwrap();
    let (id, position) = (made.value.id, Some(made.position));
    assert_eq!(made.value.rule, rule("DE02"));
    assert_eq!(segments::size(gateway, &trusted, id, position).await.unwrap(), 1);
    let page = PageArgs::default;
    assert_eq!(refusal(segments::size(gateway, &manager, id, position).await), FORBIDDEN);
    assert_eq!(refusal(segments::contacts(gateway, &manager, id, page()).await), FORBIDDEN);
    assert_eq!(refusal(segments::contacts_total(gateway, &manager, id).await), FORBIDDEN);
    let of = ContactFilter { segment_id: Some(id.to_string()), ..ContactFilter::default() };
    let refused = contacts::list(gateway, &manager, of.clone(), page(), None).await;
    assert_eq!(refusal(refused), FORBIDDEN);
    assert_eq!(refusal(contacts::total(gateway, &manager, &of).await), FORBIDDEN);
    let found = contacts::list(gateway, &trusted, of, page(), position).await.unwrap();
    assert_eq!(found.edges.len(), 1);
    // What it compares with is nobody's to read either, in no way.
    let seen = segments::get(gateway, &manager, &id.to_string(), None).await.unwrap();
    assert_eq!(seen.rule, rule("•••"));
    let listed = segments::list(gateway, &manager, page(), None).await.unwrap();
    assert!(listed.edges.iter().all(|edge| !edge.node.rule.to_string().contains("DE02")));
    let told = events::list(gateway, &manager, domain::port::Position(0), Default::default(), None);
    let told = told.await.unwrap();
    assert!(told.edges.iter().all(|edge| !edge.node.data.to_string().contains("DE02")));
    let id = id.to_string();
    let renamed = segments::update(gateway, &manager, &id, Some("d".to_owned()), None);
    assert_eq!(renamed.await.unwrap().value.rule, rule("•••"));
}

#[tokio::test]
async fn what_is_masked_is_not_looked_up_by_guessing() {
    let world = World::new().await;
    let (reader, manager) = (world.caller(&[Scope::Read]), world.caller(&[Scope::Manage]));
    let gateway = &world.gateway;
    let by_id = contacts::by_external_id(gateway, &reader, "crm-1", None).await;
    assert_eq!(refusal(by_id), FORBIDDEN);
    let by_wamid = messages::by_wamid(gateway, &reader, "wamid.HBgM").await;
    assert_eq!(refusal(by_wamid), FORBIDDEN);
    let id = uuid::Uuid::nil().to_string();
    assert_eq!(refusal(imports::undo(gateway, &manager, &id).await), FORBIDDEN);
    let trusted = world.caller(&[Scope::Manage, Scope::Personal]);
    assert_eq!(refusal(imports::undo(gateway, &trusted, &id).await), NOT_FOUND);
}

#[tokio::test]
async fn a_national_number_is_found_where_there_is_only_one_workspace() {
    let world = World::new().await;
    world.account("Support").await;
    let contact = world.contact("0151 12345678").await;
    let head = domain::port::EventFeed::head(&world.gateway.ledger).await.unwrap();
    let filter =
        ContactFilter { phone_numbers: vec!["0151 12345678".to_owned()], ..Default::default() };
    let list = |filter: &ContactFilter| {
        let page = PageArgs::default();
        contacts::list(&world.gateway, &world.admin, filter.clone(), page, Some(head))
    };
    let found = list(&filter).await.unwrap();
    assert_eq!(found.edges[0].node.id, contact.id);
    workspaces::create(&world.gateway, &world.admin, "Second".to_owned(), None).await.unwrap();
    assert_eq!(refusal(list(&filter).await), invalid("filter.phoneNumbers"));
    let named = ContactFilter { workspace_id: Some(world.workspace.to_string()), ..filter };
    assert_eq!(list(&named).await.unwrap().edges.len(), 1);
}

#[tokio::test]
async fn a_position_that_nobody_has_reached_is_stale() {
    let world = World::new().await;
    let account = world.account("Support").await;
    let contact = world.contact("+4915112345678").await;
    let sent = messages::send(&world.gateway, &world.admin, text_to(&account, "+4915112345678"));
    let sent = sent.await.unwrap();
    let (gateway, admin) = (&world.gateway, &world.admin);
    let (c, m, a) = (contact.id.to_string(), sent.value.id.to_string(), account.id.to_string());
    let ask = |at: domain::port::Position| {
        let at = Some(at);
        let (c, m, a) = (&c, &m, &a);
        async move {
            let contact = contacts::get(gateway, admin, c, None, at);
            let message = messages::get(gateway, admin, m, None, at);
            let account = accounts::get(gateway, admin, a, None, at);
            let (contact, message, account) = tokio::join!(contact, message, account);
            [contact.map(drop), message.map(drop), account.map(drop)]
        }
    };
    assert!(ask(sent.position).await.iter().all(Result::is_ok));
    let page = PageArgs::default();
    let seen = messages::list(gateway, admin, Default::default(), page, None).await.unwrap();
    assert_eq!(seen.edges.len(), 1);
    let head = domain::port::EventFeed::head(&gateway.ledger).await.unwrap();
    for answer in ask(domain::port::Position(head.0 + 1)).await {
        assert_eq!(answer.unwrap_err().code, ErrorCode::Stale);
    }
}

#[tokio::test]
async fn both_cursors_hold_in_both_directions() {
    let world = World::new().await;
    let mut added = vec![];
    for n in 1..=6 {
        added.push(world.contact(&format!("+491511234567{n}")).await.id);
    }
    let head = domain::port::EventFeed::head(&world.gateway.ledger).await.unwrap();
    let list = |page: PageArgs| {
        let filter = ContactFilter::default();
        contacts::list(&world.gateway, &world.admin, filter, page, Some(head))
    };
    let all = list(PageArgs::default()).await.unwrap();
    let cursor = |n: usize| Some(all.edges[n].cursor.clone());
    let cases: [(PageArgs, &[usize], bool, bool); 6] = [
        (PageArgs { first: Some(2), before: cursor(3), ..page() }, &[0, 1], true, false),
        (
            PageArgs { first: Some(9), after: cursor(1), before: cursor(4), ..page() },
            &[2, 3],
            true,
            true,
        ),
        (PageArgs { last: Some(2), after: cursor(1), ..page() }, &[4, 5], false, true),
        (
            PageArgs { last: Some(1), after: cursor(1), before: cursor(4), ..page() },
            &[3],
            true,
            true,
        ),
        (PageArgs { before: cursor(2), ..page() }, &[0, 1], true, false),
        (PageArgs { after: cursor(3), ..page() }, &[4, 5], false, true),
    ];
    for (args, expected, has_next, has_previous) in cases {
        let asked = format!("{args:?}");
        let found = list(args).await.unwrap();
        let ids: Vec<_> = found.edges.iter().map(|edge| edge.node.id).collect();
        let expected: Vec<_> = expected.iter().map(|n| added[*n]).collect();
        assert_eq!(ids, expected, "{asked}");
        assert_eq!(
            (found.has_next_page, found.has_previous_page),
            (has_next, has_previous),
            "{asked}"
        );
    }
    let both = PageArgs { first: Some(1), last: Some(1), ..page() };
    assert_eq!(refusal(list(both).await), invalid("last"));
}

fn page() -> PageArgs {
    PageArgs::default()
}

fn text_to(account: &AccountView, number: &str) -> messages::SendMessage {
    messages::SendMessage {
        account_id: account.id.to_string(),
        to: Some(number.to_owned()),
        text: Some("hello".to_owned()),
        ..messages::SendMessage::default()
    }
}

#[tokio::test]
async fn an_erased_person_is_in_no_file_and_their_stop_is_remembered() {
    let world = World::new().await;
    let mut input = opted_in(world.person());
    input.phone_number = Some("+4915198765432".to_owned());
    input.name = Some("Ermengarde".to_owned());
    input.attributes = Some(json!({ "note": "Quastenflosser" }));
    let position = contacts::add(&world.gateway, &world.admin, input.clone()).await.unwrap();
    let contact = position.value;
    let list = contacts::list(
        &world.gateway,
        &world.admin,
        ContactFilter::default(),
        PageArgs::default(),
        Some(position.position),
    );
    assert_eq!(list.await.unwrap().edges.len(), 1);
    let id = contact.id.to_string();
    let word = RecordConsent {
        contact_id: id.clone(),
        status: ConsentStatus::OptedOut,
        category: None,
        source: "call".to_owned(),
        evidence: Some("Pfingstrose".to_owned()),
        occurred_at: None,
    };
    contacts::record_consent(&world.gateway, &world.admin, word).await.unwrap();
    let manager = world.caller(&[Scope::Manage]);
    let refused = contacts::erase(&world.gateway, &manager, &id, "asked".to_owned()).await;
    assert_eq!(refusal(refused), FORBIDDEN);
    let nothing = contacts::erase(&world.gateway, &world.admin, &id, " ".to_owned()).await;
    assert_eq!(refusal(nothing), invalid("reason"));
    let erased =
        contacts::erase(&world.gateway, &world.admin, &id, "asked".to_owned()).await.unwrap().value;
    assert!(erased.erased && erased.phone_number.is_none());
    for text in ["4915198765432", "Ermengarde", "Quastenflosser", "Pfingstrose"] {
        assert!(!world.is_on_disk(text), "{text}");
    }
    assert!(contacts::erase(&world.gateway, &world.admin, &id, "again".to_owned()).await.is_ok());
    assert!(world.gateway.store.vault.secrets("erasure/").await.unwrap().is_empty());
    contacts::finish_erasures(&world.gateway).await.unwrap();
    // Back under the same number, whatever the list says.
    input.consent = None;
    input.consent_source = None;
    let back = contacts::add(&world.gateway, &world.admin, input).await.unwrap().value;
    assert_ne!(back.id, contact.id);
    assert_eq!(back.consent.status, ConsentStatus::OptedOut);
    assert_eq!(back.consent.source.as_deref(), Some(SUPPRESSION_SOURCE));
}

#[tokio::test]
async fn a_word_given_in_the_future_is_none() {
    let world = World::new().await;
    let contact = world.contact("+4915112345678").await;
    let word = |at: Option<chrono::DateTime<chrono::Utc>>, category| RecordConsent {
        contact_id: contact.id.to_string(),
        status: ConsentStatus::OptedIn,
        category,
        source: "form".to_owned(),
        evidence: None,
        occurred_at: at,
    };
    let later = world.gateway.clock.now() + chrono::Duration::hours(1);
    let refused =
        contacts::record_consent(&world.gateway, &world.admin, word(Some(later), None)).await;
    assert_eq!(refusal(refused), invalid("input.occurredAt"));
    let marketing = word(None, Some(TemplateCategory::Marketing));
    let told =
        contacts::record_consent(&world.gateway, &world.admin, marketing).await.unwrap().value;
    assert_eq!(told.consent.status, ConsentStatus::Unknown);
    assert_eq!(told.consent.categories[0].category, TemplateCategory::Marketing);
}

#[tokio::test]
async fn nobody_is_found_by_what_the_caller_may_not_see() {
    let world = World::new().await;
    world.contact("+4915112345678").await;
    let reader = world.caller(&[Scope::Read]);
    let search = ContactFilter { search: Some("4915".to_owned()), ..ContactFilter::default() };
    let numbers = ContactFilter {
        phone_numbers: vec!["+4915112345678".to_owned()],
        ..ContactFilter::default()
    };
    for filter in [search, numbers.clone()] {
        let refused =
            contacts::list(&world.gateway, &reader, filter, PageArgs::default(), None).await;
        assert_eq!(refusal(refused), FORBIDDEN);
    }
    let head = domain::port::EventFeed::head(&world.gateway.ledger).await.unwrap();
    let found =
        contacts::list(&world.gateway, &world.admin, numbers, PageArgs::default(), Some(head))
            .await
            .unwrap();
    assert_eq!(found.edges.len(), 1);
    let rule = json!({ "attribute": "city", "op": "eq", "value": "Bonn" });
    let refused = segments::preview(&world.gateway, &reader, rule, None, None).await;
    assert_eq!(refusal(refused), FORBIDDEN);
}

#[tokio::test]
async fn a_segment_holds_whom_its_rule_holds_for() {
    let world = World::new().await;
    for (phone, tag) in
        [("+4915112345671", "vip"), ("+4915112345672", "vip"), ("+4915112345673", "new")]
    {
        let mut input = world.person();
        input.phone_number = Some(phone.to_owned());
        input.tags = vec![tag.to_owned()];
        contacts::add(&world.gateway, &world.admin, input).await.unwrap();
    }
    let input = CreateSegment {
        workspace_id: None,
        name: "VIPs".to_owned(),
        rule: json!({ "tag": "vip" }),
        idempotency_key: None,
    };
    let made = segments::create(&world.gateway, &world.admin, input.clone()).await.unwrap();
    let size = segments::size(&world.gateway, &world.admin, made.value.id, Some(made.position))
        .await
        .unwrap();
    assert_eq!(size, 2);
    let people =
        segments::contacts(&world.gateway, &world.admin, made.value.id, PageArgs::default())
            .await
            .unwrap();
    assert_eq!(people.edges.len(), 2);
    let preview = segments::preview(
        &world.gateway,
        &world.admin,
        json!({ "not": { "tag": "vip" } }),
        None,
        Some(5),
    )
    .await
    .unwrap();
    assert_eq!((preview.count, preview.sample.len()), (1, 1));
    let same = CreateSegment { name: "vips".to_owned(), ..input.clone() };
    assert_eq!(refusal(segments::create(&world.gateway, &world.admin, same).await), CONFLICT);
    let wrong =
        CreateSegment { name: "x".to_owned(), rule: json!({ "all": [{ "tga": "x" }] }), ..input };
    assert_eq!(
        refusal(segments::create(&world.gateway, &world.admin, wrong).await),
        invalid("input.rule.all[0]")
    );
    let id = made.value.id.to_string();
    let refused =
        segments::update(&world.gateway, &world.admin, &id, Some(" ".to_owned()), None).await;
    assert_eq!(refusal(refused), invalid("name"));
    segments::delete(&world.gateway, &world.admin, &id).await.unwrap();
    assert_eq!(refusal(segments::get(&world.gateway, &world.admin, &id, None).await), NOT_FOUND);
}
