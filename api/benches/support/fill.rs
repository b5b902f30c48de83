//! Messages by the hundred thousand, through the commands that a campaign goes through: sealed, folded and projected as
//! ever, only without anybody to send them to.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, TimeZone, Utc};
use domain::contact::{Contact, ContactChanges, ContactCommand, ContactOrigin};
use domain::message::{
    Content, ContentKind, DeliveryStatus, Message, MessageCommand, MessageHeader, ParameterValue,
    Plan, Priority, Recipient, StatusReport, TemplateRef,
};
use domain::primitives::{Actor, CampaignId, ContactId, PhoneNumber, TemplateId, Wamid};
use domain::template::TemplateCategory;
use futures::{StreamExt, stream};
use infrastructure::ledger::{CommandBus, Context};
use serde_json::json;
use uuid::{Builder, Uuid};

use super::place::{Account, Place, uuid};

/// Events of a message that was delivered and read.
pub const EVENTS_PER_MESSAGE: usize = 6;
/// Of each command's batch, and how many batches are under way.
const BATCH: usize = 300;
const AT_ONCE: usize = 3;

/// What there is to fill in.
#[derive(Clone, Debug)]
pub struct Fill {
    pub account: Account,
    pub template: TemplateRef,
    pub campaign: CampaignId,
    /// When the first message was planned; the others follow a millisecond apart.
    pub since: DateTime<Utc>,
    pub contacts: usize,
    pub messages: usize,
}

impl Fill {
    /// A campaign that never starts, with a contact for every ten messages.
    pub async fn plan(place: &Place, messages: usize, since: DateTime<Utc>) -> Self {
        let account = place.connect_account().await;
        let mutation = "mutation($input: CreateTemplateInput!) { createTemplate(input: $input) { template { id } } }";
        let body =
            "Hello {{1}}, our autumn offers in {{2}} are ready for you. Have a look before Sunday!";
        let input = json!({
            "accountId": account.id.to_string(), "name": "autumn_offer", "language": "en", "category": "MARKETING",
            "components": [{ "type": "BODY", "text": body, "example": { "body_text": [["Ada", "London"]] } }],
        });
        let data = place.ask(mutation, json!({ "input": input })).await;
        let template = TemplateRef {
            id: TemplateId(uuid(&data["createTemplate"]["template"]["id"])),
            name: "autumn_offer".to_owned(),
            language: "en".to_owned(),
            category: TemplateCategory::Marketing,
        };
        place.caught_up().await;
        let mutation = "mutation($input: CreateCampaignInput!) { createCampaign(input: $input) { campaign { id } } }";
        let input = json!({
            "accountId": account.id.to_string(), "templateId": template.id.to_string(), "name": "Autumn offer",
            "parameters": { "body.1": "{{name}}", "body.2": "London" }, "audience": { "all": true },
        });
        let data = place.ask(mutation, json!({ "input": input })).await;
        let campaign = CampaignId(uuid(&data["createCampaign"]["campaign"]["id"]));
        Self { account, template, campaign, since, contacts: messages.div_ceil(10), messages }
    }

    /// Fills it in and waits until all of it shows.
    pub async fn run(&self, place: &Place) {
        let bus = &place.running.gateway.bus;
        let each = |count: usize| {
            (0..count.div_ceil(BATCH))
                .map(move |batch| batch * BATCH..((batch + 1) * BATCH).min(count))
        };
        let people = stream::iter(each(self.contacts)).map(|batch| async move {
            let commands =
                batch.map(|index| (self.contact_id(index), self.contact(index), context()));
            taken(bus.execute_many::<Contact>(commands.collect()).await);
        });
        people.buffered(AT_ONCE).collect::<Vec<()>>().await;
        let messages = stream::iter(each(self.messages)).map(|batch| self.messages(bus, batch));
        messages.buffered(AT_ONCE).collect::<Vec<()>>().await;
        place.caught_up().await;
    }

    async fn messages(&self, bus: &CommandBus, batch: std::ops::Range<usize>) {
        let commands = batch.flat_map(|index| {
            let id = self.message_id(index);
            self.life(index).into_iter().map(move |command| (id, command, context()))
        });
        taken(bus.execute_many::<Message>(commands.collect()).await);
    }

    pub fn message_id(&self, index: usize) -> Uuid {
        id(self.at(index), 1, index)
    }

    fn contact_id(&self, index: usize) -> Uuid {
        id(self.since, 2, index)
    }

    fn at(&self, index: usize) -> DateTime<Utc> {
        self.since + Duration::milliseconds(index as i64)
    }

    fn contact(&self, index: usize) -> ContactCommand {
        let changes = ContactChanges {
            phone: Some(Some(number(index))),
            name: Some(Some(format!("Ada Sample {index}"))),
            language: Some(Some("en".to_owned())),
            attributes: Some(Some(BTreeMap::from([("city".to_owned(), json!("London"))]))),
            add_tags: ["bench".to_owned()].into(),
            ..ContactChanges::default()
        };
        ContactCommand::Add {
            workspace_id: self.account.workspace_id,
            contact_id: ContactId(self.contact_id(index)),
            changes: Box::new(changes),
            origin: ContactOrigin::Api,
            at: self.since,
        }
    }

    /// Planned, asked for, accepted, sent, delivered and read.
    fn life(&self, index: usize) -> [MessageCommand; EVENTS_PER_MESSAGE] {
        let at = self.at(index);
        let person = index % self.contacts;
        let wamid = Wamid::parse(&format!("wamid.HBgMNDQ3NzAwOTAwMTIzFQIAERgS{index:020}"))
            .expect("it is one");
        let later = |seconds| at + Duration::seconds(seconds);
        let status = |status, seconds| {
            let pricing = json!({ "billable": true, "pricing_model": "PMP", "type": "regular", "category": "marketing" });
            MessageCommand::RecordStatus(Box::new(StatusReport {
                attempt: Some(1),
                wamid: wamid.clone(),
                status,
                pricing: (status != DeliveryStatus::Read).then_some(pricing),
                failure: None,
                retry_at: None,
                at: later(seconds),
            }))
        };
        let plan = Plan {
            header: MessageHeader {
                workspace_id: self.account.workspace_id,
                account_id: self.account.id,
                contact_id: ContactId(self.contact_id(person)),
                campaign_id: Some(self.campaign),
                is_test: false,
                content_kind: ContentKind::Template,
                template: Some(self.template.clone()),
                priority: Priority::Bulk,
                time_to_live_s: Some(259_200),
                external_id: None,
                metadata: None,
                reply_to: None,
                country: infrastructure::phone::country_of(&number(person)),
            },
            to: Recipient { phone: Some(number(person)), user_id: None },
            content: content(person),
            skip: None,
            due_at: at,
            at,
        };
        [
            MessageCommand::Plan(Box::new(plan)),
            MessageCommand::RequestSend { attempt: 1, send_by: later(10), at },
            MessageCommand::RecordAccepted { attempt: 1, wamid: wamid.clone(), held: false, at },
            status(DeliveryStatus::Sent, 1),
            status(DeliveryStatus::Delivered, 2),
            status(DeliveryStatus::Read, 60),
        ]
    }
}

/// The first instant of every filled store that need not be recent.
pub fn long_ago() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 1, 5, 9, 0, 0).single().expect("a literal instant")
}

fn content(person: usize) -> Content {
    let name = format!("Ada Sample {person}");
    Content::Template {
        preview: format!(
            "Hello {name}, our autumn offers in London are ready for you. Have a look before Sunday!"
        ),
        parameters: BTreeMap::from([
            ("body.1".to_owned(), ParameterValue::Text(name)),
            ("body.2".to_owned(), ParameterValue::Text("London".to_owned())),
        ]),
    }
}

/// Of a range that nobody has.
fn number(index: usize) -> PhoneNumber {
    PhoneNumber::parse(&format!("+{}", 447_990_000_000 + index as u64)).expect("it is one")
}

/// Ids that grow with time, as the gateway's own do, and are the same in every run.
fn id(at: DateTime<Utc>, kind: u8, index: usize) -> Uuid {
    let mut rest = [0; 10];
    rest[0] = kind;
    rest[2..].copy_from_slice(&(index as u64).to_be_bytes());
    let millis = u64::try_from(at.timestamp_millis()).expect("it is after 1970");
    Builder::from_unix_timestamp_millis(millis, &rest).into_uuid()
}

fn context() -> Context {
    Context::new(Actor::process("bench"), Uuid::from_u128(0xbe0c))
}

fn taken<T, E: std::fmt::Debug>(results: Vec<Result<T, E>>) {
    for result in results {
        if let Err(error) = result {
            panic!("a command was refused: {error:?}");
        }
    }
}
