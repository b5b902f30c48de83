//! Keys, scopes, workspaces, accounts and what they are told.

use chrono::Duration;
use domain::port::{AggregateType, EventFeed, Position, StreamId};
use domain::template::TemplateCategory;

use super::*;
use crate::application::accounts::{AccountFilter, RotateCredentials, UpdateAccount};
use crate::application::api_keys::{Bootstrap, CreateApiKey};
use crate::application::events::EventFilter;
use crate::application::segments::CreateSegment;

fn key(name: &str, scopes: &[Scope]) -> CreateApiKey {
    CreateApiKey {
        workspace_ids: None,
        name: name.to_owned(),
        scopes: scopes.to_vec(),
        account_ids: None,
        expires_at: None,
        idempotency_key: None,
    }
}

#[tokio::test]
async fn a_key_opens_what_it_is_for_until_it_is_revoked() {
    let world = World::new().await;
    let input = CreateApiKey {
        workspace_ids: Some(vec![world.workspace.to_string()]),
        idempotency_key: Some("k1".to_owned()),
        ..key("CRM", &[Scope::Read, Scope::Send])
    };
    let made = api_keys::create(&world.gateway, &world.admin, input.clone()).await.unwrap();
    let secret = made.secret.unwrap();
    assert!(secret.expose().starts_with("wgk_"));
    let caller = api_keys::authenticate(&world.gateway, secret.expose()).await.unwrap();
    assert!(caller.has(Scope::Send) && !caller.has(Scope::Manage));
    assert_eq!(caller.workspaces, Some(BTreeSet::from([world.workspace])));
    let again = api_keys::create(&world.gateway, &world.admin, input.clone()).await.unwrap();
    assert_eq!((again.key.id, again.secret.is_none()), (made.key.id, true));
    let other = CreateApiKey { name: "another".to_owned(), ..input };
    let reused = api_keys::create(&world.gateway, &world.admin, other).await;
    assert_eq!(refusal(reused).0, ErrorCode::IdempotencyKeyReused);
    assert!(!world.is_on_disk(secret.expose()));
    api_keys::revoke(&world.gateway, &world.admin, &made.key.id.to_string()).await.unwrap();
    let refused = api_keys::authenticate(&world.gateway, secret.expose()).await;
    assert_eq!(refusal(refused).0, ErrorCode::Unauthenticated);
    for wrong in ["", "wgk_", "wgk_wrong", "Bearer"] {
        let refused = api_keys::authenticate(&world.gateway, wrong).await;
        assert_eq!(refusal(refused).0, ErrorCode::Unauthenticated);
    }
}

#[tokio::test]
async fn a_limited_admin_makes_and_ends_only_keys_within_its_own_limits() {
    let world = World::new().await;
    let own = world.caller(&[Scope::Admin]);
    let made = api_keys::create(&world.gateway, &own, key("mine", &[Scope::Read])).await.unwrap();
    assert_eq!(made.key.workspace_ids, Some(vec![world.workspace]));
    let whole =
        api_keys::create(&world.gateway, &world.admin, key("whole", &[Scope::Read])).await.unwrap();
    let refused = api_keys::revoke(&world.gateway, &own, &whole.key.id.to_string()).await;
    assert_eq!(refusal(refused), NOT_FOUND);
    let other =
        workspaces::create(&world.gateway, &world.admin, "Other".to_owned(), None).await.unwrap();
    let input = CreateApiKey {
        workspace_ids: Some(vec![other.value.id.to_string()]),
        ..key("x", &[Scope::Read])
    };
    assert_eq!(refusal(api_keys::create(&world.gateway, &own, input).await), NOT_FOUND);
    let refused = workspaces::create(&world.gateway, &own, "Third".to_owned(), None).await;
    assert_eq!(refusal(refused), FORBIDDEN);
    let soon = CreateApiKey {
        expires_at: Some(world.gateway.clock.now() - Duration::seconds(1)),
        ..key("late", &[Scope::Read])
    };
    assert_eq!(
        refusal(api_keys::create(&world.gateway, &own, soon).await),
        invalid("input.expiresAt")
    );
}

#[tokio::test]
async fn the_first_start_makes_a_key_and_the_next_one_does_not() {
    let world = World::new().await;
    let Bootstrap::Written(path) = api_keys::ensure_bootstrap_key(&world.gateway).await.unwrap()
    else {
        panic!("nothing was written")
    };
    let secret = std::fs::read_to_string(&path).unwrap();
    let caller = api_keys::authenticate(&world.gateway, secret.trim()).await.unwrap();
    assert!(caller.has(Scope::Admin) && !caller.is_limited());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let again = api_keys::ensure_bootstrap_key(&world.gateway).await.unwrap();
    assert!(matches!(again, Bootstrap::NotNeeded), "{again:?}");
}

#[tokio::test]
async fn the_default_workspace_is_made_once() {
    let world = World::new().await;
    assert_eq!(
        workspaces::ensure_default_workspace(&world.gateway).await.unwrap(),
        world.workspace
    );
    let all = workspaces::list(&world.gateway, &world.admin).await.unwrap();
    assert_eq!(all.iter().map(|w| w.name.as_str()).collect::<Vec<_>>(), ["default"]);
    let refused = workspaces::create(&world.gateway, &world.admin, " ".to_owned(), None).await;
    assert_eq!(refusal(refused), invalid("name"));
}

#[tokio::test]
async fn the_workspace_may_be_left_out_only_while_there_is_one() {
    let world = World::new().await;
    let add =
        |phone: &str| AddContact { phone_number: Some(phone.to_owned()), ..AddContact::default() };
    contacts::add(&world.gateway, &world.admin, add("+4915112345678")).await.unwrap();
    workspaces::create(&world.gateway, &world.admin, "Other".to_owned(), None).await.unwrap();
    let refused = contacts::add(&world.gateway, &world.admin, add("+4915112345679")).await;
    assert_eq!(refusal(refused), invalid("input.workspaceId"));
    let own = world.caller(&[Scope::Manage]);
    assert!(contacts::add(&world.gateway, &own, add("+4915112345679")).await.is_ok());
}

#[tokio::test]
async fn connecting_needs_what_whatsapp_gives_out_and_makes_up_the_rest_for_a_sandbox() {
    let world = World::new().await;
    let account = world.account("Support").await;
    assert_eq!(account.default_region, "DE");
    assert!(account.phone_number_id.bytes().all(|b| b.is_ascii_digit()));
    let real = ConnectAccount { provider: AccountProvider::CloudApi, ..sandbox("Real") };
    let fields = ["phoneNumberId", "wabaId", "accessToken", "appSecret"];
    let mut input = real;
    for field in fields {
        let refused = accounts::connect(&world.gateway, &world.admin, input.clone()).await;
        assert_eq!(refusal(refused), invalid(&format!("input.{field}")));
        match field {
            "phoneNumberId" => input.phone_number_id = Some("555001".to_owned()),
            "wabaId" => input.waba_id = Some("555002".to_owned()),
            "accessToken" => input.access_token = Some("CANARY-token".to_owned()),
            _ => input.app_secret = Some("CANARY-secret".to_owned()),
        }
    }
    let zone = ConnectAccount { time_zone: "Mars/Base".to_owned(), ..input.clone() };
    assert_eq!(
        refusal(accounts::connect(&world.gateway, &world.admin, zone).await),
        invalid("input.timeZone")
    );
    let made = accounts::connect(&world.gateway, &world.admin, input.clone()).await.unwrap().value;
    let other = workspaces::create(&world.gateway, &world.admin, "Other".to_owned(), None)
        .await
        .unwrap()
        .value;
    let elsewhere = ConnectAccount { workspace_id: Some(other.id.to_string()), ..input.clone() };
    assert_eq!(
        refusal(accounts::connect(&world.gateway, &world.admin, elsewhere.clone()).await),
        CONFLICT
    );
    assert!(!world.is_on_disk("CANARY"));
    let account = command::folded::<domain::account::Account>(&world.gateway, made.id.0, "account")
        .await
        .unwrap();
    assert_eq!(world.gateway.access(&account).await.unwrap().token.expose(), "CANARY-token");
    // Disconnected, its number is free again and its token is gone.
    let id = made.id.to_string();
    accounts::disconnect(&world.gateway, &world.admin, &id, "moved".to_owned()).await.unwrap();
    assert!(world.gateway.access(&account).await.is_err());
    assert!(accounts::connect(&world.gateway, &world.admin, elsewhere).await.is_ok());
}

#[tokio::test]
async fn an_update_leaves_what_is_left_out_clears_what_is_null_and_expects_a_sequence() {
    let world = World::new().await;
    let account = world.account("Support").await;
    let id = account.id.to_string();
    let update = |input: UpdateAccount| accounts::update(&world.gateway, &world.admin, input);
    let base = UpdateAccount { id: id.clone(), ..UpdateAccount::default() };
    let set = UpdateAccount {
        messages_per_second: Some(Some(20)),
        portfolio_id: Some(Some("777".to_owned())),
        ..base.clone()
    };
    let updated = update(set).await.unwrap().value;
    assert_eq!((updated.messages_per_second, updated.name.as_str()), (20, "Support"));
    let cleared = UpdateAccount { messages_per_second: Some(None), ..base.clone() };
    let updated = update(cleared).await.unwrap().value;
    assert_eq!((updated.messages_per_second, updated.portfolio_id.as_deref()), (80, Some("777")));
    let stale =
        UpdateAccount { name: Some("X".to_owned()), expected_sequence: Some(1), ..base.clone() };
    assert_eq!(refusal(update(stale).await), CONFLICT);
    let fresh =
        UpdateAccount { name: Some("X".to_owned()), expected_sequence: Some(3), ..base.clone() };
    assert_eq!(update(fresh).await.unwrap().value.name, "X");
    let wrong = UpdateAccount { messages_per_second: Some(Some(0)), ..base.clone() };
    assert_eq!(refusal(update(wrong).await), invalid("input.messagesPerSecond"));
    let wrong = UpdateAccount { default_region: Some("ZZ".to_owned()), ..base };
    assert_eq!(refusal(update(wrong).await), invalid("input.defaultRegion"));
    let nothing = RotateCredentials { id: id.clone(), ..RotateCredentials::default() };
    let refused = accounts::rotate_credentials(&world.gateway, &world.admin, nothing).await;
    assert_eq!(refusal(refused), invalid("input.accessToken"));
    let paused =
        accounts::pause(&world.gateway, &world.admin, &id, "holiday".to_owned()).await.unwrap();
    assert_eq!(paused.value.status_reason.as_deref(), Some("holiday"));
    let health = accounts::health(&world.gateway, &world.admin, &paused.value).await.unwrap();
    assert!(
        health.iter().any(|check| check.check == "sending" && !check.ok && check.remedy.is_some())
    );
}

#[tokio::test]
async fn the_scope_comes_first_and_a_foreign_id_is_as_unknown_as_no_id() {
    let world = World::new().await;
    let other = workspaces::create(&world.gateway, &world.admin, "Other".to_owned(), None)
        .await
        .unwrap()
        .value;
    let theirs = world.account_in(other.id, "Theirs").await;
    let reader = world.caller(&[Scope::Read]);
    let manager = world.caller(&[Scope::Manage, Scope::Read]);
    let unknown = "0190a0a0-0000-7000-8000-000000000000".to_owned();
    for id in [theirs.id.to_string(), unknown, "nonsense".to_owned()] {
        let pause = |caller| accounts::pause(&world.gateway, caller, &id, "x".to_owned());
        assert_eq!(refusal(pause(&reader).await), FORBIDDEN, "{id}");
        assert_eq!(refusal(pause(&manager).await), NOT_FOUND, "{id}");
        assert_eq!(
            refusal(accounts::get(&world.gateway, &manager, &id, None, None).await),
            NOT_FOUND,
            "{id}"
        );
        let input = template(&theirs, "hello", TemplateCategory::Utility);
        let input = CreateTemplate { account_id: id.clone(), ..input };
        assert_eq!(
            refusal(templates::create(&world.gateway, &manager, input).await),
            NOT_FOUND,
            "{id}"
        );
        let filter = EventFilter { account_ids: vec![id.clone()], ..EventFilter::default() };
        let events = events::list(&world.gateway, &manager, Position(0), filter, None).await;
        assert_eq!(refusal(events), NOT_FOUND, "{id}");
    }
    let input = CreateSegment {
        workspace_id: Some(other.id.to_string()),
        name: "x".to_owned(),
        rule: json!({ "tag": "a" }),
        idempotency_key: None,
    };
    assert_eq!(refusal(segments::create(&world.gateway, &manager, input).await), NOT_FOUND);
    let page = accounts::list(
        &world.gateway,
        &manager,
        AccountFilter::default(),
        PageArgs::default(),
        None,
    )
    .await;
    assert!(page.unwrap().edges.is_empty());
}

#[tokio::test]
async fn events_are_the_callers_own_masked_and_in_order() {
    let world = World::new().await;
    let other = workspaces::create(&world.gateway, &world.admin, "Other".to_owned(), None)
        .await
        .unwrap()
        .value;
    let theirs = world.account_in(other.id, "Theirs").await;
    let contact = world.contact("+4915112345678").await;
    let reader = world.caller(&[Scope::Read]);
    let page = events::list(&world.gateway, &reader, Position(0), EventFilter::default(), None)
        .await
        .unwrap();
    let types: Vec<_> = page.edges.iter().map(|edge| edge.node.event_type.as_str()).collect();
    assert_eq!(types, ["workspace.created", "contact.added"]);
    assert_eq!(page.edges[1].node.data["phone"], view::MASK);
    assert!(!page.has_next_page);
    let open = world.caller(&[Scope::Read, Scope::Personal]);
    let history =
        events::history(&world.gateway, &open, AggregateType::Contact, contact.id.0, None, None)
            .await
            .unwrap();
    assert_eq!(history.edges[0].node.data["phone"], "+4915112345678");
    assert!(history.edges[0].node.data.get("type").is_none());
    let foreign =
        events::history(&world.gateway, &open, AggregateType::Account, theirs.id.0, None, None)
            .await;
    assert_eq!(refusal(foreign), NOT_FOUND);
    // Page by page.
    let all = events::list(&world.gateway, &world.admin, Position(0), EventFilter::default(), None)
        .await
        .unwrap();
    let (mut seen, mut after) = (vec![], Position(0));
    loop {
        let page =
            events::list(&world.gateway, &world.admin, after, EventFilter::default(), Some(1))
                .await
                .unwrap();
        seen.extend(page.edges.iter().map(|edge| edge.node.id));
        after = Position(page.end_cursor.unwrap().parse().unwrap());
        if !page.has_next_page {
            break;
        }
    }
    assert_eq!(seen, all.edges.iter().map(|edge| edge.node.id).collect::<Vec<_>>());
    let unknown =
        EventFilter { types: vec!["contact.exploded".to_owned()], ..EventFilter::default() };
    let refused = events::list(&world.gateway, &world.admin, Position(0), unknown, None).await;
    assert_eq!(refusal(refused), invalid("filter.types"));
}

#[tokio::test]
async fn every_event_of_a_message_has_what_the_integrator_gave_it() {
    let world = World::new().await;
    let account = world.account("Support").await;
    let (mut ids, mut contacts) = (vec![], vec![]);
    for n in 1..=3 {
        let input = messages::SendMessage {
            account_id: account.id.to_string(),
            to: Some(format!("+491511234567{n}")),
            text: Some("hello".to_owned()),
            external_id: Some(format!("order-{n}")),
            metadata: Some(json!({ "order": n })),
            send_at: Some(world.gateway.clock.now() + chrono::Duration::hours(1)),
            ..messages::SendMessage::default()
        };
        let sent = messages::send(&world.gateway, &world.admin, input).await.unwrap().value;
        let id = sent.id.to_string();
        messages::cancel(&world.gateway, &world.admin, &id, None).await.unwrap();
        ids.push(sent.id.0);
        contacts.push(sent.contact_id.0);
    }
    let stream = |id: &uuid::Uuid| StreamId::new(AggregateType::Message, *id);
    // The second page of each, without the event that told it; at once, as a list's histories are read.
    let request = |id| events::HistoryRequest::new(stream(id), Some(5), Some("1")).unwrap();
    let requests: Vec<_> = ids.iter().map(request).collect();
    let reader = world.caller(&[Scope::Read]);
    let open = world.caller(&[Scope::Read, Scope::Personal]);
    for (caller, is_open) in [(&reader, false), (&open, true)] {
        let found = events::histories(&world.gateway, caller, &requests).await.unwrap();
        assert_eq!(found.len(), 3);
        for (n, request) in requests.iter().enumerate() {
            let page = &found[request];
            assert!(page.has_previous_page && !page.has_next_page);
            let [edge] = &page.edges[..] else { panic!("{page:?}") };
            let (event, n) = (&edge.node, n + 1);
            assert_eq!((event.sequence, event.aggregate_id), (2, ids[n - 1]));
            assert_eq!(event.external_id, Some(format!("order-{n}")));
            let order = if is_open { json!(n) } else { json!("•••") };
            assert_eq!(event.data["metadata"], json!({ "order": order }));
        }
    }
    // Alone it answers the same; somebody else's is left out.
    let alone = events::histories(&world.gateway, &open, &requests[..1]).await.unwrap();
    assert_eq!(alone[&requests[0]].edges.len(), 1);
    let stranger = Caller { workspaces: Some(Default::default()), ..open.clone() };
    assert!(events::histories(&world.gateway, &stranger, &requests).await.unwrap().is_empty());
    // The command line has no read models and tells the same.
    let events = world.gateway.ledger.read_streams(&[stream(&ids[0])]).await.unwrap();
    let last = events.into_iter().skip(1).collect();
    let url = url::Url::parse("https://gateway.example/").unwrap();
    let told = events::shown_events(&world.gateway.ledger, last, true).await.unwrap();
    let told: Vec<_> = told.iter().map(|event| events::event_json(event, &url)).collect();
    assert_eq!(told[0]["externalid"], "order-1");
    assert_eq!(told[0]["data"]["metadata"], json!({ "order": 1 }));
    // Erased with the person.
    let person = contacts[0].to_string();
    crate::application::contacts::erase(&world.gateway, &world.admin, &person, "asked".to_owned())
        .await
        .unwrap();
    let gone = events::histories(&world.gateway, &open, &requests[..1]).await.unwrap();
    assert!(gone[&requests[0]].edges[0].node.data.get("metadata").is_none());
}

#[tokio::test]
async fn a_search_of_the_log_that_finds_nothing_says_where_to_go_on() {
    let world = World::new().await;
    world.contact("+4915112345678").await;
    let head = world.gateway.ledger.head().await.unwrap();
    let nothing =
        EventFilter { types: vec!["message.delivered".to_owned()], ..EventFilter::default() };
    let page = events::list(&world.gateway, &world.admin, Position(0), nothing, None).await;
    let page = page.unwrap();
    assert!(page.edges.is_empty());
    assert_eq!(page.end_cursor, Some(head.to_string()));
}

#[tokio::test]
async fn a_template_is_unique_by_name_and_refused_where_whatsapp_would() {
    let world = World::new().await;
    let account = world.account("Support").await;
    let input = template(&account, "hello", TemplateCategory::Utility);
    let made = templates::create(&world.gateway, &world.admin, input.clone()).await.unwrap().value;
    assert_eq!(made.parameters, ["body.1"]);
    assert_eq!(
        refusal(templates::create(&world.gateway, &world.admin, input.clone()).await),
        CONFLICT
    );
    let broken = CreateTemplate {
        name: "other".to_owned(),
        components: json!([{ "type": "FOOTER", "text": "x" }]),
        ..input
    };
    let (code, field) = refusal(templates::create(&world.gateway, &world.admin, broken).await);
    assert_eq!(code, ErrorCode::ValidationFailed);
    assert!(field.unwrap().starts_with("input.components"));
    let deleted =
        templates::delete(&world.gateway, &world.admin, &made.id.to_string()).await.unwrap().value;
    assert_eq!(deleted.status, TemplateStatus::Deleted);
    let again = template(&account, "hello", TemplateCategory::Utility);
    assert!(templates::create(&world.gateway, &world.admin, again).await.is_ok());
}

#[tokio::test]
async fn read_models_are_listed_and_built_anew() {
    let world = World::new().await;
    let all = crate::application::projections::list(&world.gateway, &world.admin).await.unwrap();
    assert_eq!(all.len(), 3);
    let rebuilt =
        crate::application::projections::rebuild(&world.gateway, &world.admin, "contacts")
            .await
            .unwrap();
    assert_eq!(rebuilt.name, "contacts");
    let unknown =
        crate::application::projections::rebuild(&world.gateway, &world.admin, "nothing").await;
    assert_eq!(refusal(unknown), NOT_FOUND);
    let limited = crate::application::projections::rebuild(
        &world.gateway,
        &world.caller(&[Scope::Admin]),
        "contacts",
    )
    .await;
    assert_eq!(refusal(limited), FORBIDDEN);
}
