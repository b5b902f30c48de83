//! Forecasts: what they say, to whom, and that they leave no trace.

use std::collections::BTreeMap;

use domain::message::SkipReason;
use domain::port::EventFeed;
use domain::pricing::{Amount, BillingCategory, Currency, Rate, RateCard};
use domain::workspace::{Workspace, WorkspaceCommand};

use super::*;
use crate::application::campaigns::{AudienceInput, CreateCampaign, Launch};
use crate::application::error::ErrorCode;

fn campaign(account: &AccountView, template: &TemplateView) -> CreateCampaign {
    CreateCampaign {
        account_id: account.id.to_string(),
        external_id: None,
        metadata: None,
        name: "Sale".to_owned(),
        template_id: template.id.to_string(),
        parameters: Some(json!({ "1": "{{name}}" })),
        audience: AudienceInput { all: true, ..AudienceInput::default() },
        schedule: None,
        messages_per_second: None,
        frequency_cap: None,
        time_to_live: None,
        idempotency_key: None,
    }
}

fn launch(id: &str, max_cost: Option<&str>) -> Launch {
    let max_cost = max_cost.map(|text| Amount::parse(text).unwrap());
    Launch { id: id.to_owned(), max_recipients: None, max_cost, idempotency_key: None }
}

impl World {
    async fn named(&self, phone: &str, name: Option<&str>, consent: Option<ConsentStatus>) {
        let input = AddContact {
            phone_number: Some(phone.to_owned()),
            name: name.map(str::to_owned),
            consent,
            consent_source: consent.map(|_| "form".to_owned()),
            ..self.person()
        };
        contacts::add(&self.gateway, &self.admin, input).await.unwrap();
    }

    /// A draft to three people who get it, and three who do not for three reasons.
    async fn draft(&self) -> String {
        let account = self.account("Shop").await;
        let template = self.template(&account, TemplateCategory::Marketing).await;
        let opted_in = Some(ConsentStatus::OptedIn);
        self.named("+4915112345670", Some("Ana"), opted_in).await;
        self.named("+4915112345671", Some("Ben"), opted_in).await;
        self.named("+819012345678", Some("Chie"), opted_in).await;
        self.named("+4915112345672", Some("Dora"), Some(ConsentStatus::OptedOut)).await;
        self.named("+4915112345673", Some("Emil"), None).await;
        self.named("+4915112345674", None, opted_in).await;
        let input = campaign(&account, &template);
        let made = campaigns::create(&self.gateway, &self.admin, input).await.unwrap();
        made.value.id.to_string()
    }

    async fn rates(&self, rates: &[(&str, &str)]) {
        let rates = rates.iter().map(|(currency, amount)| Rate {
            countries: if rates.len() > 1 {
                let country = if *currency == "EUR" { "DE" } else { "JP" };
                [domain::primitives::Country::parse(country).unwrap()].into()
            } else {
                [].into()
            },
            category: BillingCategory::Marketing,
            currency: Currency::parse(currency).unwrap(),
            amount: Amount::parse(amount).unwrap(),
            valid_from: "2020-01-01".parse().unwrap(),
        });
        let card = RateCard::new(rates.collect()).unwrap();
        let command = WorkspaceCommand::SetRateCard { card, at: self.gateway.clock.now() };
        let context = command::context(&self.gateway, &self.admin);
        let id = self.workspace.0;
        self.gateway.bus.execute::<Workspace>(id, command, &context).await.unwrap();
    }
}

#[tokio::test]
async fn a_forecast_says_who_gets_it_who_does_not_and_why_and_leaves_no_trace() {
    let world = World::new().await;
    let id = world.draft().await;
    let (gateway, admin) = (&world.gateway, &world.admin);
    let before = gateway.ledger.head().await.unwrap();
    let made = campaigns::forecast(gateway, admin, &id).await.unwrap();
    let forecast = &made.forecast;
    let expected = BTreeMap::from([
        (SkipReason::OptedOut, 1),
        (SkipReason::NoConsent, 1),
        (SkipReason::MissingParameter, 1),
    ]);
    assert_eq!((forecast.recipients, forecast.to_send, forecast.expired), (6, 3, 0));
    assert_eq!(forecast.skipped, expected);
    assert_eq!((forecast.first_send_at, forecast.limited_by), (Some(made.as_of), None));
    let zones: Vec<_> =
        forecast.zones.iter().map(|z| (z.zone.name(), z.source.as_str(), z.count)).collect();
    assert_eq!(zones, [("Europe/Berlin", "number", 2), ("Asia/Tokyo", "number", 1)]);
    assert_eq!(made.cost, None, "nobody said what anything costs");
    let sample = campaigns::sample(gateway, admin, &made, Some(2)).await.unwrap();
    let previews: Vec<&str> = sample.iter().map(|message| message.preview.as_str()).collect();
    // Who was added within the same millisecond goes in any order.
    let expected = ["Hello Ana, welcome.", "Hello Ben, welcome.", "Hello Chie, welcome."];
    assert!(previews.len() == 2 && previews[0] != previews[1], "{previews:?}");
    assert!(previews.iter().all(|preview| expected.contains(preview)), "{previews:?}");
    let local = sample[0].send_at.with_timezone(&sample[0].zone).naive_local();
    assert_eq!(sample[0].local_time, local);
    let reader = world.caller(&[Scope::Read]);
    let masked = campaigns::sample(gateway, &reader, &made, None).await.unwrap();
    assert_eq!(masked.len(), 3);
    assert!(masked.iter().all(|message| !message.preview.contains("Ana")));
    assert_eq!(gateway.ledger.head().await.unwrap(), before);
    let draft = campaigns::get(gateway, admin, &id, None, None).await.unwrap();
    assert_eq!(draft.status, domain::campaign::CampaignStatus::Draft);
}

#[tokio::test]
async fn whoever_was_just_added_is_in_the_next_forecast() {
    let world = World::new().await;
    let id = world.draft().await;
    for n in 0..3 {
        let made = campaigns::forecast(&world.gateway, &world.admin, &id).await.unwrap();
        assert_eq!(made.forecast.to_send, 3 + n);
        let phone = format!("+49151123456{n}9");
        world.named(&phone, Some("Fay"), Some(ConsentStatus::OptedIn)).await;
    }
}

#[tokio::test]
async fn a_campaign_that_runs_or_is_paused_has_what_is_left_and_one_that_is_over_nothing() {
    let world = World::new().await;
    let id = world.draft().await;
    let (gateway, admin) = (&world.gateway, &world.admin);
    let to_send = async || campaigns::forecast(gateway, admin, &id).await.unwrap().forecast.to_send;
    campaigns::launch(gateway, admin, launch(&id, None)).await.unwrap();
    assert_eq!(to_send().await, 3);
    // Not in the audience any more.
    world.named("+4915112345699", Some("Gil"), Some(ConsentStatus::OptedIn)).await;
    assert_eq!(to_send().await, 3);
    campaigns::pause(gateway, admin, &id, None).await.unwrap();
    assert_eq!(to_send().await, 3);
    campaigns::cancel(gateway, admin, &id, None).await.unwrap();
    let made = campaigns::forecast(gateway, admin, &id).await.unwrap();
    assert_eq!(*made.forecast, domain::delivery::forecast::Forecast::default());
    assert!(campaigns::sample(gateway, admin, &made, None).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_launch_costs_no_more_than_was_said_or_does_not_happen() {
    let world = World::new().await;
    let id = world.draft().await;
    let (gateway, admin) = (&world.gateway, &world.admin);
    let refused = async |max: &str| {
        let error = campaigns::launch(gateway, admin, launch(&id, Some(max))).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Conflict, "{error}");
        let draft = campaigns::get(gateway, admin, &id, None, None).await.unwrap();
        assert_eq!(draft.status, domain::campaign::CampaignStatus::Draft);
        error.message
    };
    let unknown = refused("100").await;
    assert!(unknown.contains("no rate for MARKETING in DE, MARKETING in JP"), "{unknown}");
    world.rates(&[("EUR", "0.1"), ("JPY", "12")]).await;
    assert!(refused("100").await.contains("several currencies"));
    world.rates(&[("EUR", "0.1")]).await;
    let dear = refused("0.29").await;
    assert!(dear.contains("0.3 EUR and not 0.29"), "{dear}");
    let made = campaigns::forecast(gateway, admin, &id).await.unwrap();
    let cost = made.cost.unwrap();
    assert_eq!((cost.amount, cost.estimated), (Amount::parse("0.3").ok(), true));
    let running = campaigns::launch(gateway, admin, launch(&id, Some("0.3"))).await.unwrap();
    assert_eq!(running.value.status, domain::campaign::CampaignStatus::Running);
}

#[tokio::test]
async fn bad_questions_get_clear_answers() {
    let world = World::new().await;
    let id = world.draft().await;
    let (gateway, admin) = (&world.gateway, &world.admin);
    let code = async |caller: &Caller, id: &str| {
        campaigns::forecast(gateway, caller, id).await.map(drop).map_err(|error| error.code)
    };
    let unknown = uuid::Uuid::from_u128(7).to_string();
    assert_eq!(code(admin, &unknown).await, Err(ErrorCode::NotFound));
    assert_eq!(code(admin, "tomorrow").await, Err(ErrorCode::NotFound));
    assert_eq!(code(&world.caller(&[]), &id).await, Err(ErrorCode::Forbidden));
    let elsewhere = Caller { workspaces: Some(BTreeSet::new()), ..world.caller(&[Scope::Read]) };
    assert_eq!(code(&elsewhere, &id).await, Err(ErrorCode::NotFound));
    let made = campaigns::forecast(gateway, admin, &id).await.unwrap();
    for first in [-1, 51, i32::MAX] {
        let error = campaigns::sample(gateway, admin, &made, Some(first)).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::ValidationFailed, "{first}");
        assert_eq!(error.field.as_deref(), Some("first"));
    }
}

#[tokio::test]
async fn a_template_that_is_not_approved_is_told_and_an_audience_of_nobody_is_an_error() {
    let world = World::new().await;
    let id = world.draft().await;
    let (gateway, admin) = (&world.gateway, &world.admin);
    let view = campaigns::get(gateway, admin, &id, None, None).await.unwrap();
    let now = gateway.clock.now();
    let rejected =
        TemplateCommand::RecordVerdict { status: TemplateStatus::Rejected, reason: None, at: now };
    let context = command::context(gateway, admin);
    let template = view.template_id.0;
    gateway.bus.execute::<domain::template::Template>(template, rejected, &context).await.unwrap();
    let made = campaigns::forecast(gateway, admin, &id).await.unwrap();
    assert_eq!((made.forecast.to_send, made.forecast.last_send_at), (0, None));
    assert_eq!(made.forecast.skipped[&SkipReason::TemplateNotApproved], 3);
    let nobody = campaigns::UpdateCampaign {
        id: id.clone(),
        audience: Some(AudienceInput { tags: vec!["nobody".to_owned()], ..Default::default() }),
        ..Default::default()
    };
    campaigns::update(gateway, admin, nobody).await.unwrap();
    let refused = campaigns::forecast(gateway, admin, &id).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::ValidationFailed);
    assert_eq!(refused.field.as_deref(), Some("audience"));
    assert!(refused.message.contains("the tag nobody"), "{refused}");
}
