//! People whom a campaign left out, judged once more by what is known by now: as if they were planned at this moment, with
//! the same message, so that one recipient stays one message.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::account::Account;
use domain::campaign::Campaign;
use domain::contact::Contact;
use domain::delivery::{
    DeliveryFacts, PlannedRecipient, Planning, SendingHours, Verdict, judge, plan_recipient,
};
use domain::message::Plan;
use domain::primitives::{AccountId, CampaignId, occurrence_start_ms};
use domain::template::{Template, TemplateComponents};
use infrastructure::phone::{country_of_recipient, zone_of};
use tracing::warn;
use uuid::Uuid;

use crate::app::Gateway;
use crate::application::command;
use crate::application::error::{AppError, AppResult, ErrorCode};
use crate::application::read;
use crate::worker::dispatch::takes_no_marketing;
use crate::worker::leave_out::leave_out;
use crate::worker::people::{People, windows};

/// What people of a campaign's latest occurrence are judged by.
pub(super) struct Anew<'a> {
    gateway: &'a Gateway,
    id: CampaignId,
    campaign: Campaign,
    account_id: AccountId,
    account: Account,
    template: Template,
    components: TemplateComponents,
}

impl<'a> Anew<'a> {
    /// # Errors
    /// NOT_FOUND for what the campaign names and is not there.
    pub async fn of(gateway: &'a Gateway, id: CampaignId, campaign: &Campaign) -> AppResult<Self> {
        let not_found = || AppError::not_found("campaign");
        let account_id = campaign.account_id.ok_or_else(not_found)?;
        let template_id = campaign.plan.as_ref().ok_or_else(not_found)?.template_id;
        let account = command::folded::<Account>(gateway, account_id.0, "account").await?;
        let template = command::folded::<Template>(gateway, template_id.0, "template").await?;
        let components = template.parsed().map_err(AppError::internal)?;
        let campaign = campaign.clone();
        Ok(Self { gateway, id, campaign, account_id, account, template, components })
    }

    /// Whether a message is of the latest occurrence.
    pub fn is_latest(&self, message: Uuid) -> bool {
        let start = self.campaign.occurrence_start.map(|start| start.timestamp_millis());
        start == Some(occurrence_start_ms(message))
    }

    /// What becomes of these messages, each given with its contact. Who was merged with another contact is left out of the
    /// answer: the person goes by that one now.
    ///
    /// # Errors
    /// UNAVAILABLE where the store or the read models are away.
    pub async fn judged(
        &self,
        messages: &[(Uuid, Uuid)],
        now: DateTime<Utc>,
    ) -> AppResult<HashMap<Uuid, Plan>> {
        let contacts: Vec<Uuid> = messages.iter().map(|(_, contact)| *contact).collect();
        let people = self.gateway.bus.load_many::<Contact>(&contacts).await?;
        let people = people.into_iter().map(|(id, loaded)| (id, loaded.aggregate)).collect();
        let people = People::of(self.gateway, people).await.map_err(not_known(self.id))?;
        // A local time that has passed meanwhile is one that had passed at the start, as when a contact moves.
        let began_at = self.campaign.started_at.max(Some(now));
        let campaign = Campaign { started_at: began_at, ..self.campaign.clone() };
        let planning = Planning {
            campaign_id: self.id,
            campaign: &campaign,
            account_id: self.account_id,
            account: &self.account,
            template: &self.template,
            components: &self.components,
            number_zone: zone_of,
        };
        let mut recipients: HashMap<Uuid, PlannedRecipient> = HashMap::new();
        for (message, contact) in messages {
            let Some(person) = people.get(*contact).filter(|person| !person.is_merged()) else {
                continue;
            };
            let Some(mut recipient) = plan_recipient(&planning, person.contact, 0, now) else {
                continue;
            };
            recipient.plan.header.country = country_of_recipient(&recipient.plan.to);
            recipients.insert(*message, recipient);
        }
        let left_out = leave_out(self.gateway, &campaign, &people, &mut recipients).await;
        left_out.map_err(not_known(self.id))?;
        // What a message is judged by when it falls due is known to some part already: who would be left out then again
        // stays left out.
        let queries = read::queries(self.gateway);
        let everyone = people.everyone();
        let addressed = people.addressed(&self.account);
        let windows = windows(&queries, self.account_id, &addressed, now).await?;
        let blocks = queries.marketing_blocks(&everyone).await?;
        let unreachable = queries.unreachable(&everyone).await?;
        let window = campaign.plan.as_ref().and_then(|plan| plan.schedule.as_ref()?.send_window);
        for recipient in recipients.values_mut().filter(|found| found.plan.skip.is_none()) {
            let plan = &mut recipient.plan;
            let contact_id = plan.header.contact_id.0;
            let Some(person) = people.get(contact_id) else { continue };
            let contact = person.contact;
            let verdict = judge(&DeliveryFacts {
                now: plan.due_at,
                contact,
                content_kind: plan.header.content_kind,
                category: self.template.category,
                template_status: Some(self.template.status),
                window_until: windows.get(&contact_id).copied(),
                marketing_blocked_until: person.latest(&blocks),
                takes_no_marketing: takes_no_marketing(contact),
                // Seen to already, with the campaign's own cap.
                is_capped: false,
                unreachable_until: person.latest(&unreachable),
                zone: recipient.zone.zone,
                hours: SendingHours { window, quiet: self.account.settings.quiet_hours },
                expires_at: None,
            });
            if let Verdict::Skip(reason) = verdict {
                plan.skip = Some((reason, None));
            }
        }
        Ok(recipients.into_iter().map(|(id, recipient)| (id, recipient.plan)).collect())
    }
}

fn not_known(campaign: CampaignId) -> impl FnOnce(anyhow::Error) -> AppError {
    move |error| {
        warn!(campaign.id = %campaign, error = %format!("{error:#}"), "people could not be judged anew");
        AppError::new(
            ErrorCode::Unavailable,
            "who is to be left out is not known right now; try again in a moment",
        )
    }
}
