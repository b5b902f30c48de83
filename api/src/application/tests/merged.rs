//! Merged contacts where the order of things matters: between two chunks of an audience, before merges were written down
//! with who stays, while a person says STOP, and at the bound.

use domain::account::Account;
use domain::campaign::{Campaign, CampaignCommand};
use domain::contact::{Contact, ContactCommand, HALVES_MAX};
use domain::delivery::{Planning, plan_recipient};
use domain::message::{Message, MessageCommand, MessageStatus, Recipient, SkipReason};
use domain::primitives::{ContactId, PhoneNumber};
use domain::template::Template;
use infrastructure::crypto::SubjectKey;
use infrastructure::phone::zone_of;
use infrastructure::webhook::optout::OptWord;
use tokio::sync::watch;
use uuid::Uuid;

use super::*;
use crate::worker;
use crate::worker::webhook::person::{self, Profile, Wish};
use crate::worker::webhook::route::Target;

impl World {
    async fn person_with(&self, phone: &str) -> ContactView {
        let mut input = opted_in(self.person());
        input.phone_number = Some(phone.to_owned());
        contacts::add(&self.gateway, &self.admin, input).await.unwrap().value
    }

    async fn folded(&self, id: ContactId) -> Contact {
        self.gateway.bus.load::<Contact>(id.0).await.unwrap().unwrap().aggregate
    }

    async fn merged(&self, keep: &ContactView, half: &ContactView) -> AppResult<()> {
        let (keep, half) = (keep.id.to_string(), half.id.to_string());
        contacts::merge(&self.gateway, &self.admin, &keep, &half).await.map(drop)
    }
}

/// The first chunk is one person, whose contact goes into the one of the second before that is judged.
async fn second_chunk_after(has_left: bool) -> (Option<SkipReason>, MessageStatus) {
    let world = World::new().await;
    let (gateway, admin) = (&world.gateway, &world.admin);
    let account = world.account("Shop").await;
    let template = world.template(&account, TemplateCategory::Marketing).await;
    let half = world.person_with("+4915112345671").await;
    let keeper = world.person_with("+4915112345672").await;
    assert!(half.id < keeper.id);
    let made = campaigns::create(gateway, admin, sending::campaign(&account, &template)).await;
    let id = made.unwrap().value.id;
    campaigns::launch(gateway, admin, sending::launch(&id.to_string(), None)).await.unwrap();
    let context = command::context(gateway, admin);
    let now = gateway.clock.now();
    let start = CampaignCommand::Start { at: now };
    let started = gateway.bus.execute::<Campaign>(id.0, start, &context).await.unwrap();
    let campaign = started.aggregate;
    let template = gateway.bus.load::<Template>(template.id.0).await.unwrap().unwrap().aggregate;
    let components = template.parsed().unwrap();
    let of_account = gateway.bus.load::<Account>(account.id.0).await.unwrap().unwrap().aggregate;
    let planning = Planning {
        campaign_id: id,
        campaign: &campaign,
        account_id: account.id,
        account: &of_account,
        template: &template,
        components: &components,
        number_zone: zone_of,
    };
    let planned = async |contact: ContactId| {
        plan_recipient(&planning, &world.folded(contact).await, 0, now).unwrap()
    };
    let first = planned(half.id).await;
    let expansion = CampaignCommand::RecordExpansion {
        from: None,
        cursor: Some(half.id),
        queued: 1,
        skipped: 0,
        complete: false,
        at: now,
    };
    gateway.bus.execute::<Campaign>(id.0, expansion, &context).await.unwrap();
    let mut commands = vec![MessageCommand::Plan(Box::new(first.plan))];
    if has_left {
        commands.push(MessageCommand::RequestSend { attempt: 1, send_by: now, at: now });
    }
    for command in commands {
        gateway.bus.execute::<Message>(first.message_id.0, command, &context).await.unwrap();
    }
    let second = planned(keeper.id).await.message_id;
    world.merged(&keeper, &half).await.unwrap();

    let forecast = campaigns::forecast(gateway, admin, &id.to_string()).await.unwrap().forecast;
    let (stop, stopped) = watch::channel(false);
    let work = tokio::spawn(worker::campaign::run(gateway.clone(), stopped));
    let message = loop {
        if let Some(loaded) = gateway.bus.load::<Message>(second.0).await.unwrap() {
            break loaded.aggregate;
        }
        tokio::task::yield_now().await;
    };
    stop.send_replace(true);
    work.await.unwrap();
    // One of the person's messages goes, and the forecast knew it.
    assert_eq!(forecast.to_send, u64::from(!has_left));
    assert_eq!(forecast.skipped.get(&SkipReason::Duplicate), Some(&1));
    (message.skip, message.status())
}

#[tokio::test]
async fn who_has_it_by_an_earlier_chunk_as_somebody_else_is_left_out_of_a_later_one() {
    assert_eq!(
        second_chunk_after(true).await,
        (Some(SkipReason::Duplicate), MessageStatus::Skipped)
    );
    // While the other one still waits it gives way when it falls due.
    assert_eq!(second_chunk_after(false).await, (None, MessageStatus::Queued));
}

#[tokio::test]
async fn merges_from_before_are_written_down_once_and_erased_with_the_person() {
    let world = World::new().await;
    let gateway = &world.gateway;
    let mut people = vec![];
    for n in 1..6 {
        people.push(world.person_with(&format!("+491511234567{n}")).await.id);
    }
    let context = command::context(gateway, &world.admin);
    // 0 went into 1, 1 and 2 into 3; nobody told 3.
    for (half, into) in [(0, 1), (1, 3), (2, 3)] {
        let at = gateway.clock.now();
        let mark = ContactCommand::MarkMerged { into: people[into], at };
        gateway.bus.execute::<Contact>(people[half].0, mark, &context).await.unwrap();
    }
    assert!(world.folded(people[3]).await.halves.is_empty());
    worker::merges::write_down(gateway).await.unwrap();
    let halves = BTreeSet::from([people[0], people[1], people[2]]);
    assert_eq!(world.folded(people[3]).await.halves, halves);
    assert!(world.folded(people[1]).await.halves.is_empty(), "1 is nobody of their own any more");
    let head = domain::port::EventFeed::head(&gateway.ledger).await.unwrap();
    worker::merges::write_down(gateway).await.unwrap();
    assert_eq!(domain::port::EventFeed::head(&gateway.ledger).await.unwrap(), head);
    let id = people[3].to_string();
    contacts::erase(gateway, &world.admin, &id, "asked".to_owned()).await.unwrap();
    let ids: Vec<Uuid> = people.iter().map(|id| id.0).collect();
    let keys = gateway.keys.subject_keys(&ids).await.unwrap();
    for (place, id) in ids.iter().enumerate() {
        assert_eq!(matches!(keys[id], SubjectKey::Destroyed), place < 4, "{place}");
    }
}

#[tokio::test]
async fn who_went_into_whom_is_known_all_the_way_and_has_a_bound() {
    let world = World::new().await;
    let (gateway, admin) = (&world.gateway, &world.admin);
    let mut people = vec![];
    for n in 1..5 {
        people.push(world.person_with(&format!("+491511234567{n}")).await);
    }
    let before = domain::port::EventFeed::head(&gateway.ledger).await.unwrap();
    world.merged(&people[1], &people[0]).await.unwrap();
    world.merged(&people[2], &people[1]).await.unwrap();
    assert_eq!(world.folded(people[1].id).await.halves, BTreeSet::from([people[0].id]));
    let halves = BTreeSet::from([people[0].id, people[1].id]);
    assert_eq!(world.folded(people[2].id).await.halves, halves);
    // A repeat is none, and says nothing.
    let head = domain::port::EventFeed::head(&gateway.ledger).await.unwrap();
    assert!(head > before);
    world.merged(&people[2], &people[1]).await.unwrap();
    assert_eq!(domain::port::EventFeed::head(&gateway.ledger).await.unwrap(), head);

    let more = HALVES_MAX - halves.len();
    let halves = (0..more).map(|n| ContactId(Uuid::from_u128(n as u128 + 1))).collect();
    let absorb = ContactCommand::Absorb { halves, at: gateway.clock.now() };
    let context = command::context(gateway, admin);
    gateway.bus.execute::<Contact>(people[2].id.0, absorb, &context).await.unwrap();
    assert_eq!(refusal(world.merged(&people[2], &people[3]).await), invalid("merge"));
    assert_eq!(world.folded(people[3].id).await.merged_into, None, "nothing of it happened");
}

/// A person says STOP while their contact goes into another one.
#[tokio::test]
async fn a_wish_that_meets_a_merge_is_heeded_by_who_stays() {
    let world = World::new().await;
    let (gateway, admin) = (&world.gateway, &world.admin);
    let account = world.account("Shop").await;
    let keeper = world.person_with("+4915112345671").await;
    let half = world.person_with("+4915112345672").await;
    let context = command::context(gateway, admin);
    let of_account = gateway.bus.load::<Account>(account.id.0).await.unwrap().unwrap().aggregate;
    let target = Target { id: account.id, account: of_account };
    let phone = PhoneNumber::parse("+4915112345672").unwrap();
    let who = Recipient { phone: Some(phone), user_id: None };
    let at = gateway.clock.now();
    let stop = &Wish {
        word: OptWord::Stop,
        category: None,
        source: "the person wrote STOP",
        evidence: None,
        said_at: at,
    };
    let tried = &std::sync::Mutex::new(vec![]);
    let profile = &Profile::default();
    let (world, keeper, half, context) = (&world, &keeper, &half, &context);
    let heard_by = person::act_on(gateway, &target, &who, profile, context, |contact| {
        Box::pin(async move {
            if tried.lock().unwrap().is_empty() {
                world.merged(keeper, half).await.unwrap();
            }
            tried.lock().unwrap().push(contact);
            let heeded = gateway.bus.transact(context, None, |tx| {
                Box::pin(async move { person::heed(tx, contact, stop).await })
            });
            heeded.await?;
            Ok(())
        })
    });
    assert_eq!(heard_by.await.unwrap(), keeper.id);
    assert_eq!(*tried.lock().unwrap(), [half.id, keeper.id]);
    assert!(world.folded(keeper.id).await.has_opted_out());
}
