use std::collections::BTreeSet;

use chrono::{NaiveDateTime, NaiveTime, TimeZone};
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::GatewayAggregate;
use crate::account::{Account, AccountSettings};
use crate::campaign::{
    Allowance, Audience, Campaign, CampaignCommand, CampaignError, CampaignPlan, CampaignSchedule,
    CampaignStatus, FrequencyCap, LATE_MINUTES, WhenPast,
};
use crate::contact::{ConsentStatus, ContactCommand};
use crate::delivery::{DeliveryFacts, Pace, Room, Verdict, judge};
use crate::message::{ContentKind, Priority};
use crate::primitives::{
    AccountId, CampaignId, DailyHours, MessageId, Personal, PhoneNumber, TemplateId, WorkspaceId,
};
use crate::template::{Template, TemplateComponents};

const WORKSPACE: WorkspaceId = WorkspaceId(Uuid::from_u128(1));
const ACCOUNT: AccountId = AccountId(Uuid::from_u128(2));
const CAMPAIGN: CampaignId = CampaignId(Uuid::from_u128(3));
const BERLIN: Tz = Tz::Europe__Berlin;

fn utc(text: &str) -> DateTime<Utc> {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%MZ").unwrap().and_utc()
}

fn hours(from: u32, to: u32) -> DailyHours {
    let time = |n: u32| NaiveTime::from_num_seconds_from_midnight_opt(n % 48 * 1_800, 0).unwrap();
    DailyHours { from: time(from), to: time(to) }
}

/// Of the numbers here the first digits say the zone, as they do of some.
fn number_zone(phone: &PhoneNumber) -> Option<Tz> {
    match phone.as_str().get(..3)? {
        "+81" => Some(Tz::Asia__Tokyo),
        "+44" => Some(Tz::Europe__London),
        _ => None,
    }
}

/// One person, as the world has made them.
#[derive(Clone, Debug)]
struct Someone {
    prefix: &'static str,
    zone: Option<&'static str>,
    consent: Option<ConsentStatus>,
    has_city: bool,
    has_phone: bool,
    erased: bool,
    /// Hours after the world's beginning.
    window_until: Option<i64>,
    blocked_until: Option<i64>,
    unreachable_until: Option<i64>,
    /// Marketing sent to them, hours before it.
    sent_before: Vec<i64>,
    takes_no_marketing: bool,
    /// Reached by the portfolio, minutes before the world's beginning.
    reached_before: Option<i64>,
}

impl Someone {
    fn usual() -> Self {
        Self {
            prefix: "+49151",
            zone: None,
            consent: Some(ConsentStatus::OptedIn),
            has_city: true,
            has_phone: true,
            erased: false,
            window_until: None,
            blocked_until: None,
            unreachable_until: None,
            sent_before: vec![],
            takes_no_marketing: false,
            reached_before: None,
        }
    }

    fn id(number: usize) -> ContactId {
        ContactId(Uuid::from_u128(1_000 + number as u128))
    }

    fn contact(&self, number: usize) -> Contact {
        let mut contact = Contact {
            workspace_id: Some(WORKSPACE),
            id: Some(Self::id(number)),
            ..Contact::default()
        };
        let phone = PhoneNumber::parse(&format!("{}{:07}", self.prefix, number)).unwrap();
        contact.details.phone = self.has_phone.then_some(Personal::Known(phone));
        contact.details.time_zone = self.zone.map(str::to_owned);
        if self.has_city {
            let attributes = [("city".to_owned(), json!("Bonn"))];
            contact.details.attributes = Some(Personal::Known(attributes.into()));
        }
        if let Some(status) = self.consent {
            let word = ContactCommand::RecordConsent {
                category: None,
                status,
                source: "form".to_owned(),
                evidence: None,
                given_at: utc("2026-01-01T00:00Z"),
                at: utc("2026-01-01T00:00Z"),
            };
            for event in contact.decide(word).unwrap() {
                contact.fold(event);
            }
        }
        contact.erased = self.erased;
        contact
    }

    fn about(&self, begins: DateTime<Utc>, cap: Option<FrequencyCap>) -> Circumstances {
        let after = |hours: &Option<i64>| hours.map(|hours| begins + Duration::hours(hours));
        Circumstances {
            is_there_twice: false,
            country: None,
            window_until: after(&self.window_until),
            marketing_blocked_until: after(&self.blocked_until),
            takes_no_marketing: self.takes_no_marketing,
            unreachable_until: after(&self.unreachable_until),
            capped_until: cap.and_then(|cap| cap.opens_at(self.sent(begins))),
        }
    }

    fn sent(&self, begins: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        self.sent_before.iter().map(|hours| begins - Duration::hours(*hours)).collect()
    }
}

/// A campaign and everything around it.
#[derive(Clone, Debug)]
struct World {
    now: DateTime<Utc>,
    people: Vec<Someone>,
    category: TemplateCategory,
    template_status: TemplateStatus,
    schedule: Option<CampaignSchedule>,
    quiet: Option<DailyHours>,
    messages_per_second: u32,
    campaign_messages_per_second: Option<u32>,
    cap: Option<FrequencyCap>,
    time_to_live_s: Option<u32>,
    reach: Option<u32>,
}

impl World {
    fn usual(people: usize) -> Self {
        Self {
            now: utc("2027-01-15T10:00Z"),
            people: vec![Someone::usual(); people],
            category: TemplateCategory::Marketing,
            template_status: TemplateStatus::Approved,
            schedule: None,
            quiet: None,
            messages_per_second: 80,
            campaign_messages_per_second: None,
            cap: None,
            time_to_live_s: None,
            reach: None,
        }
    }

    fn campaign(&self) -> Campaign {
        let mut campaign = Campaign::default();
        let parameters = json!({ "body.1": "{{attributes.city}}" }).as_object().cloned();
        let plan = CampaignPlan {
            name: "Sale".to_owned(),
            template_id: TemplateId(Uuid::from_u128(4)),
            parameters: Personal::Known(parameters.unwrap()),
            audience: Audience { all: true, ..Audience::default() },
            schedule: self.schedule.clone(),
            messages_per_second: self.campaign_messages_per_second,
            frequency_cap: self.cap,
            time_to_live_s: self.time_to_live_s,
        };
        let command = CampaignCommand::Draft {
            workspace_id: WORKSPACE,
            campaign_id: CAMPAIGN,
            account_id: ACCOUNT,
            external_id: None,
            metadata: None,
            plan: Box::new(plan),
            at: self.now,
        };
        for event in campaign.decide(command).unwrap() {
            campaign.fold(event);
        }
        campaign
    }

    fn account(&self) -> Account {
        let mut account = Account { workspace_id: Some(WORKSPACE), ..Account::default() };
        account.settings = AccountSettings {
            quiet_hours: self.quiet,
            time_zone: "Europe/Berlin".to_owned(),
            ..account.settings
        };
        account
    }

    fn template(&self) -> (Template, TemplateComponents) {
        let body = json!({ "type": "BODY", "text": "Sale in {{1}} today.",
                           "example": { "body_text": [["Bonn"]] } });
        let template = Template {
            workspace_id: Some(WORKSPACE),
            account_id: Some(ACCOUNT),
            name: "sale".to_owned(),
            language: "en".to_owned(),
            category: Some(self.category),
            status: self.template_status,
            components: json!([body]),
            ..Template::default()
        };
        let components = template.parsed().unwrap();
        (template, components)
    }

    fn hours(&self) -> SendingHours {
        let window = self.schedule.as_ref().and_then(|schedule| schedule.send_window);
        SendingHours { window, quiet: self.quiet }
    }

    fn reach<P: Clone + Eq + std::hash::Hash + Ord>(
        &self,
        person: impl Fn(ContactId) -> P,
    ) -> Option<Reach<P>> {
        let reached = self.people.iter().enumerate().filter_map(|(number, someone)| {
            let at = self.now - Duration::minutes(someone.reached_before?);
            Some((person(Someone::id(number)), at))
        });
        Some(Reach::rebuilt(self.reach?, reached, self.now))
    }

    fn conditions(&self, opens: DateTime<Utc>) -> Conditions {
        Conditions {
            opens: Opens::At(opens),
            category: self.category,
            template_status: self.template_status,
            is_draft: true,
            hours: self.hours(),
            messages_per_second: self.messages_per_second,
            campaign_messages_per_second: self.campaign_messages_per_second,
            reach: self.reach(Person::Known),
            has_default_time_to_live: self.time_to_live_s.is_none(),
            others: vec![],
        }
    }

    fn forecast(&self) -> Result<Forecast, CampaignError> {
        self.forecast_with(|_| {})
    }

    fn forecast_with(
        &self,
        change: impl FnOnce(&mut Conditions),
    ) -> Result<Forecast, CampaignError> {
        let Stage::ToStart { campaign, at } = Stage::of(&self.campaign(), self.now)? else {
            panic!("a draft is to start");
        };
        let (account, (template, components)) = (self.account(), self.template());
        let planning = Planning {
            campaign_id: CAMPAIGN,
            campaign: &campaign,
            account_id: ACCOUNT,
            account: &account,
            template: &template,
            components: &components,
            number_zone,
        };
        let mut conditions = self.conditions(at);
        change(&mut conditions);
        let mut forecaster = Forecaster::new(conditions);
        for (number, someone) in self.people.iter().enumerate() {
            let about = someone.about(self.now, self.cap);
            forecaster.plan(&planning, &someone.contact(number), about, at);
        }
        Ok(forecaster.finish())
    }

    /// What really happens, message by message: launched, started when its time comes, planned, and sent by the lane's
    /// rules on a clock that is moved by hand.
    fn run(&self) -> Run {
        let mut campaign = self.campaign();
        let mut clock = self.now;
        let tell = |campaign: &mut Campaign, command| {
            campaign.decide(command).unwrap().into_iter().for_each(|event| campaign.fold(event));
        };
        tell(&mut campaign, CampaignCommand::Launch { allowance: Allowance::default(), at: clock });
        if campaign.status == CampaignStatus::Scheduled {
            clock = campaign.start_at.unwrap().max(clock);
            tell(&mut campaign, CampaignCommand::Start { at: clock });
        }
        assert_eq!(campaign.status, CampaignStatus::Running);
        let (account, (template, components)) = (self.account(), self.template());
        let planning = Planning {
            campaign_id: CAMPAIGN,
            campaign: &campaign,
            account_id: ACCOUNT,
            account: &account,
            template: &template,
            components: &components,
            number_zone,
        };
        let mut run = Run::default();
        let mut waiting = vec![];
        for (number, someone) in self.people.iter().enumerate() {
            let contact = someone.contact(number);
            let planned = plan_recipient(&planning, &contact, 0, clock).unwrap();
            let is_marketing = self.category == TemplateCategory::Marketing;
            let is_capped = self
                .cap
                .is_some_and(|cap| !cap.allows(someone.sent(self.now), planned.plan.due_at));
            let left_out = if is_marketing && someone.takes_no_marketing {
                Some(SkipReason::MarketingBlocked)
            } else {
                (is_marketing && is_capped).then_some(SkipReason::FrequencyCap)
            };
            match planned.plan.skip.map(|(reason, _)| reason).or(left_out) {
                Some(reason) => *run.skipped.entry(reason).or_default() += 1,
                None => waiting.push(Waiting {
                    number,
                    message_id: planned.message_id,
                    due_at: planned.plan.due_at,
                    seconds: planned.plan.header.time_to_live_s.unwrap(),
                    zone: planned.zone,
                    contact,
                }),
            }
        }
        waiting.sort_by_key(|waiting| (waiting.due_at, waiting.message_id));
        let idle_since = clock - Duration::minutes(1);
        let mut lane = Lane {
            pace: Pace::new(self.messages_per_second, idle_since),
            own: self.campaign_messages_per_second.map(|n| Pace::new(n, clock)),
            reach: self.reach(|id| id),
        };
        let mut moves = 0;
        while !waiting.is_empty() {
            moves += 1;
            assert!(moves < MOVES_MAX, "the clock creeps");
            let Some(next) = lane.turn(self, &mut waiting, clock, &mut run) else { break };
            clock = next.max(clock + Duration::milliseconds(1));
        }
        run.expired += waiting.len() as u64;
        run
    }
}

/// Far more than there are instants at which something changes.
const MOVES_MAX: u32 = 100_000;

#[derive(Debug, Default)]
struct Run {
    skipped: BTreeMap<SkipReason, u64>,
    expired: u64,
    sent: Vec<(ContactId, DateTime<Utc>, RecipientZone)>,
}

struct Waiting {
    number: usize,
    message_id: MessageId,
    due_at: DateTime<Utc>,
    seconds: u32,
    zone: RecipientZone,
    contact: Contact,
}

struct Lane {
    pace: Pace,
    own: Option<Pace>,
    reach: Option<Reach<ContactId>>,
}

impl Lane {
    /// One look at everything that is due, as the dispatch lane has it; answers when to look again.
    fn turn(
        &mut self,
        world: &World,
        waiting: &mut Vec<Waiting>,
        now: DateTime<Utc>,
        run: &mut Run,
    ) -> Option<DateTime<Utc>> {
        let next_token = self.pace.next_at(now);
        if next_token > now {
            return Some(next_token);
        }
        let mut next: Vec<DateTime<Utc>> = vec![];
        let mut gone: BTreeSet<usize> = BTreeSet::new();
        for message in waiting.iter() {
            if message.due_at > now {
                next.push(message.due_at);
                break;
            }
            let someone = &world.people[message.number];
            let about = someone.about(world.now, None);
            let was_full = self.reach.as_ref().is_some_and(|reach| reach.was_full_lately(now));
            let is_excused = was_full && world.time_to_live_s.is_none();
            let expires_at = message.due_at + Duration::seconds(i64::from(message.seconds));
            let facts = DeliveryFacts {
                now,
                contact: &message.contact,
                content_kind: ContentKind::Template,
                category: Some(world.category),
                template_status: Some(world.template_status),
                window_until: about.window_until,
                marketing_blocked_until: about.marketing_blocked_until,
                takes_no_marketing: about.takes_no_marketing,
                is_capped: world.cap.is_some_and(|cap| !cap.allows(someone.sent(world.now), now)),
                unreachable_until: about.unreachable_until,
                zone: message.zone.zone,
                hours: world.hours(),
                expires_at: (!is_excused).then_some(expires_at),
            };
            let id = Someone::id(message.number);
            match judge(&facts) {
                Verdict::Skip(reason) => {
                    *run.skipped.entry(reason).or_default() += 1;
                    gone.insert(message.number);
                }
                Verdict::Expire => {
                    run.expired += 1;
                    gone.insert(message.number);
                }
                Verdict::Wait { until, .. } => next.extend(until),
                Verdict::Send => {
                    let costs_reach = !facts.window_is_open();
                    if let Some(reach) = self.reach.as_mut().filter(|_| costs_reach)
                        && let Room::Full { until } = reach.room(&id, now)
                    {
                        next.extend(until);
                        if until.is_none() {
                            // A limit of nobody: it waits for as long as the world stands still.
                            run.expired += 1;
                            gone.insert(message.number);
                        }
                        continue;
                    }
                    if self.pace.available(now) == 0 {
                        next.push(self.pace.next_at(now));
                        break;
                    }
                    if let Some(own) = &mut self.own
                        && own.take(1, now) == 0
                    {
                        next.push(own.next_at(now));
                        break;
                    }
                    self.pace.take(1, now);
                    if let Some(reach) = self.reach.as_mut().filter(|_| costs_reach) {
                        reach.spend(&id, now);
                    }
                    run.sent.push((id, now, message.zone));
                    gone.insert(message.number);
                }
            }
        }
        waiting.retain(|message| !gone.contains(&message.number));
        next.into_iter().min()
    }
}

fn someone() -> impl Strategy<Value = Someone> {
    let zone = prop::sample::select(vec![
        None,
        None,
        Some("Europe/Berlin"),
        Some("America/New_York"),
        Some("Asia/Tokyo"),
        Some("Australia/Lord_Howe"),
        Some("Pacific/Kiritimati"),
        Some("Mars/Base"),
    ]);
    let consent = prop::sample::select(vec![
        Some(ConsentStatus::OptedIn),
        Some(ConsentStatus::OptedIn),
        Some(ConsentStatus::OptedIn),
        Some(ConsentStatus::OptedOut),
        None,
    ]);
    let rarely = |range| prop::option::weighted(0.15, range);
    let facts = (
        prop::sample::select(vec!["+49151", "+81902", "+44770"]),
        zone,
        consent,
        prop::bool::weighted(0.9),
        prop::bool::weighted(0.95),
        prop::bool::weighted(0.05),
    );
    let history = (
        rarely(1i64..24),
        rarely(1i64..60),
        rarely(1i64..60),
        prop::collection::vec(0i64..100, 0..3),
        prop::bool::weighted(0.05),
        rarely(0i64..2_000),
    );
    (facts, history).prop_map(|(facts, history)| {
        let (prefix, zone, consent, has_city, has_phone, erased) = facts;
        let (window_until, blocked_until, unreachable_until, sent_before, us, reached) = history;
        Someone {
            prefix,
            zone,
            consent,
            has_city,
            has_phone,
            erased,
            window_until,
            blocked_until,
            unreachable_until,
            sent_before,
            takes_no_marketing: us,
            reached_before: reached,
        }
    })
}

fn schedule() -> impl Strategy<Value = Option<CampaignSchedule>> {
    let window =
        prop::option::of((0u32..48, 4u32..48).prop_map(|(from, long)| hours(from, from + long)));
    let schedule = (
        // Around both changes of clocks.
        prop::sample::select(vec!["2027-03-27T00:00Z", "2027-10-30T00:00Z"]),
        0i64..2_880,
        any::<bool>(),
        window,
        prop::sample::select(vec![WhenPast::SendNow, WhenPast::NextDay, WhenPast::Skip]),
        prop::sample::select(vec![None, Some("FREQ=DAILY;COUNT=3")]),
    );
    let schedule =
        schedule.prop_map(|(day, minutes, recipient_local, send_window, when_past, rule)| {
            CampaignSchedule {
                start_at: utc(day).naive_utc() + Duration::minutes(minutes),
                time_zone: "Europe/Berlin".to_owned(),
                recipient_local,
                send_window,
                when_past,
                recurrence: rule.map(str::to_owned),
            }
        });
    prop::option::weighted(0.8, schedule)
}

fn world() -> impl Strategy<Value = World> {
    let limits = (
        1u32..100,
        prop::option::weighted(0.3, 1u32..20),
        prop::option::weighted(0.3, (1u32..3, 1u32..100)),
        prop::option::weighted(0.4, 600u32..200_000),
        prop::option::weighted(0.5, 0u32..40),
    );
    let around = (
        // Minutes before the schedule's own time, or behind it.
        -20i64..3_000,
        prop::option::of((0u32..48, 1u32..30).prop_map(|(from, long)| hours(from, from + long))),
        prop::sample::select(vec![
            TemplateCategory::Marketing,
            TemplateCategory::Marketing,
            TemplateCategory::Utility,
        ]),
        prop::sample::select(vec![
            TemplateStatus::Approved,
            TemplateStatus::Approved,
            TemplateStatus::Approved,
            TemplateStatus::Approved,
            TemplateStatus::Rejected,
        ]),
    );
    let people = prop::collection::vec(someone(), 0..120);
    let world =
        (people, schedule(), limits, around).prop_map(|(people, schedule, limits, around)| {
            let (messages_per_second, campaign_messages_per_second, cap, time_to_live_s, reach) =
                limits;
            let (before, quiet, category, template_status) = around;
            let start =
                schedule.as_ref().map_or(utc("2027-03-27T12:00Z"), |s| s.start_at.and_utc());
            World {
                now: start - Duration::minutes(before) + Duration::milliseconds(137),
                people,
                category,
                template_status,
                schedule,
                quiet,
                messages_per_second,
                campaign_messages_per_second,
                cap: cap.map(|(messages, hours)| FrequencyCap { messages, hours }),
                time_to_live_s,
                reach,
            }
        });
    // Refused when they are given.
    world.prop_filter("hours that leave no time", |world| world.hours().check().is_ok())
}

fn within_a_second(a: Option<DateTime<Utc>>, b: Option<DateTime<Utc>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() <= Duration::seconds(1),
        (a, b) => a == b,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 150 } else { 3_000 }))]

    #[test]
    fn on_an_unchanged_world_the_run_does_what_the_forecast_said(world in world()) {
        // The run judges every status; a draft would not be launched with some of them.
        let forecast = match world.forecast_with(|conditions| conditions.is_draft = false) {
            Ok(forecast) => forecast,
            // Launching is refused for the same reason.
            Err(error) => {
                let launch = CampaignCommand::Launch { allowance: Allowance::default(), at: world.now };
                prop_assert_eq!(world.campaign().decide(launch), Err(error));
                return Ok(());
            }
        };
        let run = world.run();
        let sent = run.sent.len() as u64;
        prop_assert_eq!(forecast.recipients, world.people.len() as u64);
        prop_assert_eq!(&forecast.skipped, &run.skipped);
        prop_assert_eq!((forecast.to_send, forecast.expired), (sent, run.expired));
        let skipped: u64 = forecast.skipped.values().sum();
        prop_assert_eq!(forecast.recipients, forecast.to_send + forecast.expired + skipped);
        let (first, last) = (run.sent.first(), run.sent.last());
        prop_assert!(within_a_second(forecast.first_send_at, first.map(|(_, at, _)| *at)));
        prop_assert!(within_a_second(forecast.last_send_at, last.map(|(_, at, _)| *at)));
        // The same people at the same time.
        for message in &forecast.sample {
            let found = run.sent.iter().find(|(id, ..)| *id == message.contact_id);
            let at = found.map(|(_, at, _)| *at);
            prop_assert!(within_a_second(Some(message.send_at), at), "{message:?} {at:?}");
        }
        prop_assert!(forecast.sample.is_sorted_by_key(|message| message.send_at));
        if world.people.len() <= SAMPLE_MAX {
            prop_assert_eq!(forecast.sample.len() as u64, sent);
        }
        for zone in &forecast.zones {
            let here = |(_, _, of): &&(ContactId, DateTime<Utc>, RecipientZone)| {
                (of.zone, of.source) == (zone.zone, zone.source)
            };
            prop_assert_eq!(run.sent.iter().filter(here).count() as u64, zone.count);
            let first = run.sent.iter().find(here).map(|(_, at, _)| *at);
            prop_assert!(within_a_second(zone.first_send_at, first));
        }
        prop_assert_eq!(forecast.zones.iter().map(|zone| zone.count).sum::<u64>(), sent);
        prop_assert_eq!(forecast.bills.values().sum::<u64>(), sent);
    }

    #[test]
    fn when_a_cap_opens_it_allows_and_not_before(
        messages in 1u32..5, hours in 1u32..200, sent in prop::collection::vec(0i64..20_000, 0..8),
    ) {
        let cap = FrequencyCap { messages, hours };
        let sent: Vec<_> =
            sent.into_iter().map(|minutes| utc("2027-01-01T00:00Z") + Duration::minutes(minutes)).collect();
        let latest = sent.iter().max().copied().unwrap_or(utc("2027-01-01T00:00Z"));
        match cap.opens_at(sent.clone()) {
            None => prop_assert!(cap.allows(sent, latest)),
            Some(at) => {
                prop_assert!(cap.allows(sent.clone(), at));
                let before = at - Duration::milliseconds(1);
                prop_assert!(before < latest || !cap.allows(sent, before));
            }
        }
    }
}

#[test]
fn a_small_campaign_is_limited_by_nothing() {
    let forecast = World::usual(50).forecast().unwrap();
    assert_eq!((forecast.to_send, forecast.limited_by), (50, None));
    assert_eq!(forecast.first_send_at, Some(utc("2027-01-15T10:00Z")));
}

#[test]
fn the_pace_of_the_number_or_of_the_campaign_sets_the_end() {
    let world = World::usual(2_000);
    let forecast = world.forecast().unwrap();
    let took = forecast.last_send_at.unwrap() - forecast.first_send_at.unwrap();
    // 95 % of 80 a second, after what is in the bucket.
    assert_eq!(took.num_seconds(), 26);
    assert_eq!(forecast.limited_by, Some(Limit::Pace));
    let slow = World { campaign_messages_per_second: Some(8), ..world };
    let forecast = slow.forecast().unwrap();
    let took = forecast.last_send_at.unwrap() - forecast.first_send_at.unwrap();
    assert!((255..=275).contains(&took.num_seconds()), "{took}");
    assert_eq!(forecast.limited_by, Some(Limit::CampaignPace));
}

#[test]
fn six_hundred_people_with_a_reach_of_250_take_three_days() {
    let world = World { reach: Some(250), ..World::usual(600) };
    let forecast = world.forecast().unwrap();
    assert_eq!((forecast.to_send, forecast.expired), (600, 0));
    let took = forecast.last_send_at.unwrap() - forecast.first_send_at.unwrap();
    assert_eq!(took.num_hours(), 48);
    assert_eq!(forecast.limited_by, Some(Limit::Reach));
}

#[test]
fn whoever_is_given_up_before_their_turn_is_told_apart() {
    let world = World { reach: Some(250), time_to_live_s: Some(3_600), ..World::usual(600) };
    let forecast = world.forecast().unwrap();
    assert_eq!((forecast.to_send, forecast.expired), (250, 350));
    let nobody = World { reach: Some(0), ..World::usual(10) };
    let forecast = nobody.forecast().unwrap();
    assert_eq!((forecast.to_send, forecast.expired), (0, 10));
    assert_eq!((forecast.last_send_at, forecast.limited_by), (None, Some(Limit::Reach)));
}

#[test]
fn what_does_not_leave_before_the_night_leaves_in_the_morning() {
    let mut world = World::usual(100);
    world.now = utc("2027-01-15T19:59Z");
    world.quiet = Some(hours(42, 16)); // 21:00 to 08:00
    world.campaign_messages_per_second = Some(1);
    let forecast = world.forecast().unwrap();
    assert_eq!(forecast.to_send, 100);
    assert_eq!(forecast.last_send_at.unwrap().date_naive(), utc("2027-01-16T00:00Z").date_naive());
    assert_eq!(forecast.limited_by, Some(Limit::QuietHours));
}

#[test]
fn every_zone_says_when_its_first_message_leaves() {
    let mut world = World::usual(4);
    for (someone, zone) in world.people.iter_mut().zip(["Asia/Tokyo", "Europe/Berlin"]) {
        someone.zone = Some(zone);
    }
    world.people[2].prefix = "+44770";
    world.schedule = Some(CampaignSchedule {
        start_at: utc("2027-03-28T09:00Z").naive_utc(),
        time_zone: "America/New_York".to_owned(),
        recipient_local: true,
        send_window: None,
        when_past: WhenPast::Skip,
        recurrence: None,
    });
    let forecast = world.forecast().unwrap();
    let zones: Vec<_> = forecast
        .zones
        .iter()
        .map(|z| (z.zone.name(), z.source.as_str(), z.first_send_at.unwrap()))
        .collect();
    let expected = [
        ("America/New_York", "default", utc("2027-03-28T13:00Z")),
        ("Asia/Tokyo", "contact", utc("2027-03-28T00:00Z")),
        ("Europe/Berlin", "contact", utc("2027-03-28T07:00Z")),
        ("Europe/London", "number", utc("2027-03-28T08:00Z")),
    ];
    assert_eq!(zones, expected);
    assert_eq!(forecast.limited_by, None);
}

#[test]
fn a_template_that_is_not_approved_leaves_everybody_out_of_a_draft_and_holds_what_runs() {
    for status in [TemplateStatus::Pending, TemplateStatus::Rejected, TemplateStatus::Draft] {
        let world = World { template_status: status, ..World::usual(3) };
        let forecast = world.forecast().unwrap();
        let expected = BTreeMap::from([(SkipReason::TemplateNotApproved, 3)]);
        assert_eq!((forecast.to_send, forecast.skipped), (0, expected), "{status:?}");
    }
    let held = |c: &mut Conditions| c.opens = Opens::Unknown(Limit::Template);
    let forecast = World::usual(3).forecast_with(held).unwrap();
    assert_eq!((forecast.to_send, forecast.last_send_at), (3, None));
    assert_eq!(forecast.limited_by, Some(Limit::Template));
}

#[test]
fn an_audience_of_nobody_is_no_error() {
    assert_eq!(World::usual(0).forecast(), Ok(Forecast::default()));
}

#[test]
fn what_else_waits_takes_its_turns_and_what_is_more_urgent_goes_first() {
    let alone = World::usual(1_000).forecast().unwrap();
    let others = |other: Other| move |c: &mut Conditions| c.others = vec![other];
    let campaign = Other {
        priority: Priority::Bulk.rank(),
        due: vec![(utc("2027-01-15T09:00Z"), 100_000)],
        messages_per_second: None,
        costs_reach: false,
    };
    let shared = World::usual(1_000).forecast_with(others(campaign.clone())).unwrap();
    let took = |forecast: &Forecast| {
        (forecast.last_send_at.unwrap() - utc("2027-01-15T10:00Z")).num_seconds()
    };
    assert_eq!((took(&alone), took(&shared)), (13, 26));
    let urgent = Other { priority: 0, due: vec![(utc("2027-01-15T10:00Z"), 760)], ..campaign };
    let behind = World::usual(1_000).forecast_with(others(urgent)).unwrap();
    let first = behind.first_send_at.unwrap() - utc("2027-01-15T10:00Z");
    assert_eq!(first.num_seconds(), 10);
    assert_eq!(took(&behind), 23);
    assert_eq!(behind.limited_by, Some(Limit::Pace));
}

#[test]
fn other_campaigns_take_places_in_the_reach() {
    let world = World { reach: Some(100), ..World::usual(80) };
    assert_eq!(world.forecast().unwrap().limited_by, None);
    let other = Other {
        priority: Priority::Bulk.rank(),
        due: vec![(world.now, 80)],
        messages_per_second: None,
        costs_reach: true,
    };
    let forecast = world.forecast_with(|c| c.others = vec![other]).unwrap();
    assert_eq!((forecast.to_send, forecast.limited_by), (80, Some(Limit::Reach)));
}

#[test]
fn a_schedule_that_has_passed_is_refused_as_launching_is() {
    let mut world = World::usual(1);
    world.schedule = Some(CampaignSchedule {
        start_at: (world.now - Duration::minutes(LATE_MINUTES + 1)).naive_utc(),
        time_zone: "UTC".to_owned(),
        recipient_local: false,
        send_window: None,
        when_past: WhenPast::Skip,
        recurrence: None,
    });
    let refused = world.forecast().unwrap_err();
    assert!(matches!(refused, CampaignError::Invalid { field: "schedule.startAt", .. }));
}

#[test]
fn a_campaign_that_is_over_has_nothing_ahead_and_a_paused_one_what_it_had() {
    let mut campaign = World::usual(1).campaign();
    let now = utc("2027-01-15T10:00Z");
    let mut tell = |command| {
        for event in campaign.decide(command).unwrap() {
            campaign.fold(event);
        }
        Stage::of(&campaign, now).unwrap()
    };
    let stage = tell(CampaignCommand::Launch { allowance: Allowance::default(), at: now });
    assert!(matches!(stage, Stage::UnderWay { .. }));
    let stage = tell(CampaignCommand::Pause { reason: None, hold: None, at: now });
    let Stage::UnderWay { campaign: resumed } = stage else { panic!("{stage:?}") };
    assert_eq!(resumed.status, CampaignStatus::Running);
    assert!(matches!(tell(CampaignCommand::Cancel { reason: None, at: now }), Stage::Over));
    assert_eq!(Stage::of(&Campaign::default(), now).unwrap_err(), CampaignError::NotFound);
}

#[test]
fn a_sample_is_spread_over_all_and_of_a_large_audience_too() {
    let forecast = World::usual(5_000).forecast().unwrap();
    assert!((25..=SAMPLE_MAX).contains(&forecast.sample.len()), "{}", forecast.sample.len());
    let ids = || forecast.sample.iter().map(|message| message.contact_id);
    assert!(ids().min() < Some(Someone::id(500)) && ids().max() > Some(Someone::id(4_500)));
    assert_eq!(World::usual(30).forecast().unwrap().sample.len(), 30);
}

#[test]
fn kinds_without_end_are_taken_to_the_minute() {
    let minute = Utc.with_ymd_and_hms(2027, 1, 15, 10, 7, 0).unwrap();
    let at = minute + Duration::milliseconds(1_234);
    let kind = Kind {
        due_at: at,
        expires_at: Some(at),
        zone: BERLIN,
        source: ZoneSource::Default,
        about: Circumstances {
            window_until: Some(at),
            marketing_blocked_until: Some(at),
            ..Circumstances::default()
        },
    };
    let coarse = kind.coarse();
    let next = minute + Duration::minutes(1);
    assert_eq!((coarse.due_at, coarse.expires_at), (next, Some(minute)));
    assert_eq!(coarse.about.window_until, Some(minute));
    assert_eq!(coarse.about.marketing_blocked_until, Some(next));
}

#[test]
fn what_waits_is_forecast_as_what_is_yet_to_be_planned_and_an_opt_out_since_counts() {
    let mut world = World::usual(90);
    world.quiet = Some(hours(42, 16)); // 21:00 to 08:00
    world.campaign_messages_per_second = Some(2);
    world.now = utc("2027-01-15T19:59Z");
    for (someone, zone) in world.people.iter_mut().zip(["Asia/Tokyo", "Europe/London"].repeat(30)) {
        someone.zone = Some(zone);
    }
    let planned = world.forecast().unwrap();
    let Stage::ToStart { campaign, at } = Stage::of(&world.campaign(), world.now).unwrap() else {
        panic!("a draft is to start");
    };
    let (account, (template, components)) = (world.account(), world.template());
    let planning = Planning {
        campaign_id: CAMPAIGN,
        campaign: &campaign,
        account_id: ACCOUNT,
        account: &account,
        template: &template,
        components: &components,
        number_zone,
    };
    let left = |world: &World| {
        let mut forecaster = Forecaster::new(world.conditions(at));
        for (number, someone) in world.people.iter().enumerate() {
            let before = Someone { consent: Some(ConsentStatus::OptedIn), ..someone.clone() };
            let message = plan_recipient(&planning, &before.contact(number), 0, at).unwrap();
            let due_at = message.plan.due_at;
            let seconds = i64::from(message.plan.header.time_to_live_s.unwrap());
            let times = (due_at, Some(due_at + Duration::seconds(seconds)));
            let about = someone.about(world.now, None);
            forecaster.waiting(
                (message.message_id, message.plan.header.contact_id),
                &someone.contact(number),
                message.zone,
                times,
                about,
            );
        }
        forecaster.finish()
    };
    assert_eq!(left(&world), planned);
    world.people[7].consent = Some(ConsentStatus::OptedOut);
    world.people[8].consent = Some(ConsentStatus::OptedOut);
    let forecast = left(&world);
    assert_eq!((forecast.recipients, forecast.to_send), (90, 88));
    assert_eq!(forecast.skipped, BTreeMap::from([(SkipReason::OptedOut, 2)]));
}

#[test]
fn who_has_another_message_is_left_out_whether_planned_already_or_not_and_says_so() {
    let world = World::usual(2);
    let Stage::ToStart { campaign, at } = Stage::of(&world.campaign(), world.now).unwrap() else {
        panic!("a draft is to start");
    };
    let (account, (template, components)) = (world.account(), world.template());
    let planning = Planning {
        campaign_id: CAMPAIGN,
        campaign: &campaign,
        account_id: ACCOUNT,
        account: &account,
        template: &template,
        components: &components,
        number_zone,
    };
    let mut forecaster = Forecaster::new(world.conditions(at));
    let mut passes = vec![];
    for is_there_twice in [true, false] {
        let about = Circumstances { is_there_twice, ..world.people[0].about(at, None) };
        passes.push(forecaster.plan(&planning, &world.people[0].contact(0), about, at));
        let contact = world.people[1].contact(1);
        let planned = plan_recipient(&planning, &contact, 0, at).unwrap();
        let times = (planned.plan.due_at, None);
        let of = (planned.message_id, planned.plan.header.contact_id);
        forecaster.waiting(of, &contact, planned.zone, times, about);
    }
    assert_eq!(passes, [false, true]);
    let forecast = forecaster.finish();
    assert_eq!((forecast.recipients, forecast.to_send), (4, 2));
    assert_eq!(forecast.skipped, BTreeMap::from([(SkipReason::Duplicate, 2)]));
}
