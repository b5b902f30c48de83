//! Contacts, their consent, their erasure, and segments.

use domain::port::{EventFeed, EventFilter, Position};
use domain::template::TemplateCategory;
use infrastructure::crypto::SubjectKey;

use super::*;
use crate::application::contacts::{
    ContactFilter, RecordConsent, SUPPRESSION_SOURCE, UpdateContact,
};
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
    assert_eq!(refusal(segments::get(&world.gateway, &world.admin, &id).await), NOT_FOUND);
}
