//! Messages and campaigns, up to the moment they would leave.

use chrono::Duration;
use domain::account::{Account, AccountStatus, Credential, PauseCause};
use domain::campaign::CampaignStatus;
use domain::message::{InDoubtResolution, Message, MessageStatus, SkipReason};
use domain::port::AggregateType;

use super::*;
use crate::application::campaigns::{
    AudienceInput, CreateCampaign, Launch, RetryScope, UpdateCampaign,
};
use crate::application::messages::{SendMessage, TemplateMessage};

fn text(account: &AccountView, to: &str) -> SendMessage {
    SendMessage {
        account_id: account.id.to_string(),
        to: Some(to.to_owned()),
        text: Some("hello".to_owned()),
        ..SendMessage::default()
    }
}

/// The template that [`World::template`] makes.
pub(super) fn greeting(account: &AccountView, to: &str) -> SendMessage {
    SendMessage {
        account_id: account.id.to_string(),
        to: Some(to.to_owned()),
        template: Some(TemplateMessage {
            template_id: None,
            name: Some("hello".to_owned()),
            language: Some("en_US".to_owned()),
            parameters: Some(json!({ "1": "Ana" })),
            components: None,
        }),
        ..SendMessage::default()
    }
}

#[tokio::test]
async fn an_unknown_number_becomes_a_contact_and_what_policy_forbids_is_skipped() {
    let world = World::new().await;
    let account = world.account("Support").await;
    let sent = messages::send(&world.gateway, &world.admin, text(&account, "0151 12345678"))
        .await
        .unwrap()
        .value;
    assert_eq!(
        (sent.status, sent.skip_reason),
        (MessageStatus::Skipped, Some(SkipReason::WindowClosed))
    );
    assert_eq!(sent.to.as_deref(), Some("+4915112345678"));
    let again = messages::send(&world.gateway, &world.admin, text(&account, "+4915112345678"))
        .await
        .unwrap()
        .value;
    assert_eq!(again.contact_id, sent.contact_id);
    world.template(&account, TemplateCategory::Utility).await;
    let input = greeting(&account, "+4915112345678");
    let sent = messages::send(&world.gateway, &world.admin, input).await.unwrap().value;
    assert_eq!(sent.status, MessageStatus::Queued);
    assert_eq!(sent.preview.as_deref(), Some("Hello Ana, welcome."));
    assert_eq!(sent.content["parameters"], json!({ "body.1": "Ana" }));
    let id = sent.id.to_string();
    let later = world.gateway.clock.now() + Duration::hours(2);
    let moved = messages::reschedule(&world.gateway, &world.admin, &id, later).await.unwrap().value;
    assert_eq!(moved.status, MessageStatus::Scheduled);
    let ended = messages::cancel(&world.gateway, &world.admin, &id, None).await.unwrap().value;
    assert_eq!(ended.status, MessageStatus::Cancelled);
    let settled =
        messages::resolve_in_doubt(&world.gateway, &world.admin, &id, InDoubtResolution::GiveUp)
            .await;
    assert_eq!(refusal(settled), CONFLICT);
    // As it was known at each moment of its life.
    let history = events::history(
        &world.gateway,
        &world.admin,
        AggregateType::Message,
        sent.id.0,
        None,
        None,
    );
    let history = history.await.unwrap();
    let known = [MessageStatus::Queued, MessageStatus::Scheduled, MessageStatus::Cancelled];
    assert_eq!(history.edges.len(), known.len());
    for (edge, status) in history.edges.iter().zip(known) {
        let at = Some(edge.node.recorded_at);
        let then = messages::get(&world.gateway, &world.admin, &id, at, None).await.unwrap();
        // Two facts may share a millisecond.
        assert!(
            then.status == status || edge.node.recorded_at == history.edges[2].node.recorded_at
        );
    }
    let before = Some(sent.created_at - Duration::seconds(1));
    assert_eq!(
        refusal(messages::get(&world.gateway, &world.admin, &id, before, None).await),
        NOT_FOUND
    );
}

#[tokio::test]
async fn marketing_needs_consent_and_a_schedule_is_judged_when_it_is_due() {
    let world = World::new().await;
    let account = world.account("Shop").await;
    world.template(&account, TemplateCategory::Marketing).await;
    let input = greeting(&account, "+4915112345678");
    let skipped = messages::send(&world.gateway, &world.admin, input.clone()).await.unwrap().value;
    assert_eq!(skipped.skip_reason, Some(SkipReason::NoConsent));
    let later = SendMessage {
        send_at: Some(world.gateway.clock.now() + Duration::hours(1)),
        ..input.clone()
    };
    let planned = messages::send(&world.gateway, &world.admin, later).await.unwrap().value;
    assert_eq!(planned.status, MessageStatus::Scheduled);
    let late =
        SendMessage { send_at: Some(world.gateway.clock.now() - Duration::minutes(6)), ..input };
    assert_eq!(
        refusal(messages::send(&world.gateway, &world.admin, late).await),
        invalid("input.sendAt")
    );
}

#[tokio::test]
async fn a_repeated_send_is_one_message() {
    let world = World::new().await;
    let account = world.account("Support").await;
    let key = |key: &str, input: SendMessage| SendMessage {
        idempotency_key: Some(key.to_owned()),
        ..input
    };
    let input = key("order-1", text(&account, "+4915112345678"));
    let first = messages::send(&world.gateway, &world.admin, input.clone()).await.unwrap();
    let second = messages::send(&world.gateway, &world.admin, input).await.unwrap();
    assert_eq!((first.value.id, first.position), (second.value.id, second.position));
    let other = key("order-1", text(&account, "+4915112345679"));
    let reused = messages::send(&world.gateway, &world.admin, other).await;
    assert_eq!(refusal(reused).0, ErrorCode::IdempotencyKeyReused);
    let empty = key("", text(&account, "+4915112345678"));
    let refused = messages::send(&world.gateway, &world.admin, empty).await;
    assert_eq!(refusal(refused), invalid("input.idempotencyKey"));
}

#[tokio::test]
async fn a_batch_answers_for_each_and_a_new_number_in_it_is_one_contact() {
    let world = World::new().await;
    let account = world.account("Support").await;
    let mut inputs: Vec<_> = (0..40).map(|_| text(&account, "+4915112345678")).collect();
    inputs.push(SendMessage { to: Some("12".to_owned()), ..text(&account, "") });
    let results = messages::send_many(&world.gateway, &world.admin, inputs).await.unwrap();
    let sent: Vec<_> =
        results.iter().take(40).map(|result| result.as_ref().unwrap().value.contact_id).collect();
    assert_eq!(sent.iter().collect::<BTreeSet<_>>().len(), 1);
    let refused = results.into_iter().next_back().unwrap();
    assert_eq!(refusal(refused), invalid("input.to"));
    let many = (0..501).map(|_| text(&account, "+4915112345678")).collect();
    let refused = messages::send_many(&world.gateway, &world.admin, many).await;
    assert_eq!(refusal(refused), invalid("inputs"));
}

#[tokio::test]
async fn malformed_messages_are_refused_with_their_path() {
    let world = World::new().await;
    let account = world.account("Support").await;
    world.template(&account, TemplateCategory::Utility).await;
    let contact = world.contact("+4915112345678").await;
    let wrong: [Wrong<SendMessage>; 12] = [
        ("to", |input| input.to = None),
        ("to", |input| input.user_id = Some("DE.1".to_owned())),
        ("text", |input| input.text = None),
        ("text", |input| input.text = Some("x".repeat(5_000))),
        ("location", |input| input.location = Some(json!({ "latitude": 1, "longitude": 2 }))),
        ("replyTo", |input| input.reply_to = Some(String::new())),
        ("timeToLive", |input| input.time_to_live = Some(0)),
        ("metadata", |input| input.metadata = Some(json!("x"))),
        ("externalId", |input| input.external_id = Some(String::new())),
        ("template.parameters", |input| {
            input.text = None;
            input.template = Some(TemplateMessage {
                name: Some("hello".to_owned()),
                language: Some("en_US".to_owned()),
                ..TemplateMessage::default()
            });
        }),
        ("template.parameters.body.7", |input| {
            input.text = None;
            input.template = Some(TemplateMessage {
                name: Some("hello".to_owned()),
                language: Some("en_US".to_owned()),
                parameters: Some(json!({ "body.1": "a", "body.7": "b" })),
                ..TemplateMessage::default()
            });
        }),
        ("template.language", |input| {
            input.text = None;
            input.template = Some(TemplateMessage {
                name: Some("hello".to_owned()),
                ..TemplateMessage::default()
            });
        }),
    ];
    for (field, change) in wrong {
        let mut input = text(&account, "+4915112345678");
        change(&mut input);
        let refused = messages::send(&world.gateway, &world.admin, input).await;
        assert_eq!(refusal(refused), invalid(&format!("input.{field}")));
    }
    let mut unknown = greeting(&account, "+4915112345678");
    unknown.template.as_mut().unwrap().name = Some("nothing".to_owned());
    assert_eq!(refusal(messages::send(&world.gateway, &world.admin, unknown).await), NOT_FOUND);
    let other = workspaces::create(&world.gateway, &world.admin, "Other".to_owned(), None)
        .await
        .unwrap()
        .value;
    let theirs = world.account_in(other.id, "Theirs").await;
    let across =
        SendMessage { to: None, contact_id: Some(contact.id.to_string()), ..text(&theirs, "") };
    assert_eq!(refusal(messages::send(&world.gateway, &world.admin, across).await), NOT_FOUND);
}

pub(in crate::application) fn campaign(
    account: &AccountView,
    template: &TemplateView,
) -> CreateCampaign {
    CreateCampaign {
        account_id: account.id.to_string(),
        external_id: Some("sale-1".to_owned()),
        metadata: None,
        name: "Sale".to_owned(),
        template_id: template.id.to_string(),
        parameters: Some(json!({ "1": "{{name | default: you}}" })),
        audience: AudienceInput { all: true, ..AudienceInput::default() },
        schedule: None,
        messages_per_second: None,
        frequency_cap: None,
        time_to_live: None,
        idempotency_key: None,
    }
}

pub(in crate::application) fn launch(id: &str, max_recipients: Option<i32>) -> Launch {
    Launch { id: id.to_owned(), max_recipients, max_cost: None, idempotency_key: None }
}

#[tokio::test]
async fn a_campaign_is_planned_changed_launched_once_and_steered() {
    let world = World::new().await;
    let account = world.account("Shop").await;
    let template = world.template(&account, TemplateCategory::Marketing).await;
    for n in 0..3 {
        world.contact(&format!("+491511234567{n}")).await;
    }
    let (gateway, admin) = (&world.gateway, &world.admin);
    let made =
        campaigns::create(gateway, admin, campaign(&account, &template)).await.unwrap().value;
    assert_eq!(made.parameters, json!({ "body.1": "{{name | default: you}}" }));
    let id = made.id.to_string();
    let renamed = UpdateCampaign {
        id: id.clone(),
        name: Some("Big sale".to_owned()),
        ..UpdateCampaign::default()
    };
    assert_eq!(campaigns::update(gateway, admin, renamed).await.unwrap().value.name, "Big sale");
    assert_eq!(
        refusal(campaigns::retry(gateway, admin, &id, RetryScope::Failed, None).await),
        CONFLICT
    );
    assert_eq!(refusal(campaigns::launch(gateway, admin, launch(&id, Some(2))).await), CONFLICT);
    let draft = campaigns::get(gateway, admin, &id, None, None).await.unwrap();
    assert_eq!(draft.status, CampaignStatus::Draft);
    let manager = world.caller(&[Scope::Manage]);
    assert_eq!(refusal(campaigns::launch(gateway, &manager, launch(&id, None)).await), FORBIDDEN);
    let running = campaigns::launch(gateway, admin, launch(&id, Some(3))).await.unwrap().value;
    assert_eq!(running.status, CampaignStatus::Running);
    assert!(campaigns::launch(gateway, admin, launch(&id, Some(3))).await.is_ok());
    let late =
        UpdateCampaign { id: id.clone(), name: Some("x".to_owned()), ..UpdateCampaign::default() };
    assert_eq!(refusal(campaigns::update(gateway, admin, late).await), CONFLICT);
    let held = campaigns::pause(gateway, admin, &id, Some("wait".to_owned())).await.unwrap().value;
    assert_eq!(held.status, CampaignStatus::Paused);
    campaigns::resume(gateway, admin, &id).await.unwrap();
    campaigns::retry(gateway, admin, &id, RetryScope::Skipped, None).await.unwrap();
    campaigns::retry(gateway, admin, &id, RetryScope::All, Some("r1".to_owned())).await.unwrap();
    assert_eq!(refusal(campaigns::delete(gateway, admin, &id).await), CONFLICT);
    let ended = campaigns::cancel(gateway, admin, &id, None).await.unwrap().value;
    assert_eq!(ended.status, CampaignStatus::Cancelled);
    let copy = campaigns::clone(gateway, admin, &id, None, None).await.unwrap().value;
    assert_eq!((copy.name.as_str(), copy.status), ("Big sale (copy)", CampaignStatus::Draft));
    let copy_id = copy.id.to_string();
    campaigns::delete(gateway, admin, &copy_id).await.unwrap();
    assert_eq!(refusal(campaigns::get(gateway, admin, &copy_id, None, None).await), NOT_FOUND);
    let counts = campaigns::progress(gateway, admin, &[made.id]).await.unwrap();
    assert_eq!(counts[&made.id].recipients, 0);
}

#[tokio::test]
async fn a_campaign_tests_itself_outside_of_its_counts() {
    let world = World::new().await;
    let account = world.account("Shop").await;
    let template = world.template(&account, TemplateCategory::Utility).await;
    let (gateway, admin) = (&world.gateway, &world.admin);
    let made =
        campaigns::create(gateway, admin, campaign(&account, &template)).await.unwrap().value;
    let id = made.id.to_string();
    let sent =
        campaigns::test(gateway, admin, &id, "0151 12345678".to_owned(), None).await.unwrap().value;
    assert!(sent.is_test);
    assert_eq!(sent.preview.as_deref(), Some("Hello you, welcome."));
    let refused = campaigns::test(gateway, admin, &id, "12".to_owned(), None).await;
    assert_eq!(refusal(refused), invalid("to"));
}

#[tokio::test]
async fn a_plan_that_cannot_be_carried_out_is_refused_with_its_path() {
    let world = World::new().await;
    let account = world.account("Shop").await;
    let template = world.template(&account, TemplateCategory::Marketing).await;
    let wrong: [Wrong<CreateCampaign>; 7] = [
        ("audience", |input| input.audience = AudienceInput::default()),
        ("audience.exclude", |input| input.audience.exclude = Some(Box::default())),
        ("parameters", |input| input.parameters = None),
        ("parameters.body.1", |input| input.parameters = Some(json!({ "1": "{{nmae}}" }))),
        ("name", |input| input.name = String::new()),
        ("messagesPerSecond", |input| input.messages_per_second = Some(-1)),
        ("timeToLive", |input| input.time_to_live = Some(0)),
    ];
    for (field, change) in wrong {
        let mut input = campaign(&account, &template);
        change(&mut input);
        let refused = campaigns::create(&world.gateway, &world.admin, input).await;
        assert_eq!(refusal(refused), invalid(&format!("input.{field}")));
    }
    let unknown = "0190a0a0-0000-7000-8000-000000000000".to_owned();
    let nobody = AudienceInput { contact_ids: vec![unknown.clone()], ..AudienceInput::default() };
    let input = CreateCampaign { audience: nobody, ..campaign(&account, &template) };
    assert_eq!(refusal(campaigns::create(&world.gateway, &world.admin, input).await), NOT_FOUND);
    let input = CreateCampaign { template_id: unknown, ..campaign(&account, &template) };
    assert_eq!(refusal(campaigns::create(&world.gateway, &world.admin, input).await), NOT_FOUND);
    // A draft that WhatsApp has not approved is not launched.
    let draft = templates::create(
        &world.gateway,
        &world.admin,
        super::template(&account, "draft", TemplateCategory::Marketing),
    );
    let draft = draft.await.unwrap().value;
    let made = campaigns::create(&world.gateway, &world.admin, campaign(&account, &draft))
        .await
        .unwrap()
        .value;
    let refused =
        campaigns::launch(&world.gateway, &world.admin, launch(&made.id.to_string(), None)).await;
    assert_eq!(refusal(refused), CONFLICT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_without_a_credential_waits_for_one_and_burns_no_attempt() {
    let world = World::new().await;
    let account = world.account("Support").await;
    world.template(&account, TemplateCategory::Utility).await;
    let id = account.id.0;
    let known = world.gateway.bus.load::<Account>(id).await.unwrap().unwrap().aggregate;
    let secret = &known.credentials[&Credential::AccessToken].name;
    let token = world.gateway.keys.secret(secret).await.unwrap().unwrap();
    world.gateway.keys.put_secret(secret, None).await.unwrap();
    let input = greeting(&account, "+4915112345678");
    let sent = messages::send(&world.gateway, &world.admin, input).await.unwrap().value;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let lanes = tokio::spawn(crate::worker::dispatch::run(world.gateway.clone(), stopped));
    let paused = loop {
        let loaded = world.gateway.bus.load::<Account>(id).await.unwrap().unwrap().aggregate;
        if loaded.status == AccountStatus::Paused {
            break loaded;
        }
        tokio::task::yield_now().await;
    };
    stop.send_replace(true);
    lanes.await.unwrap();
    let reason = paused.status_reason.unwrap();
    assert!(reason.contains("rotateAccountCredentials"), "{reason}");
    assert_eq!(paused.pause_cause, Some(PauseCause::Credentials));
    let message = world.gateway.bus.load::<Message>(sent.id.0).await.unwrap().unwrap().aggregate;
    assert_eq!((message.status(), message.attempt_count()), (MessageStatus::Queued, 0));
    // The very same token is what was missing.
    let input = accounts::RotateCredentials {
        id: account.id.to_string(),
        access_token: Some(token.expose().to_owned()),
        ..accounts::RotateCredentials::default()
    };
    let view = accounts::rotate_credentials(&world.gateway, &world.admin, input).await;
    assert_eq!(view.unwrap().value.status, AccountStatus::Connected);
    let known = world.gateway.bus.load::<Account>(id).await.unwrap().unwrap().aggregate;
    assert!(world.gateway.sender(&known).await.is_ok());
}
