//! A sample of every query's and mutation's arguments. A field without one fails the walks, which ask for it here.

use serde_json::{Value, json};

use super::lab::{Lab, Things};

/// What an id may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Workspace,
    Account,
    Template,
    Contact,
    Segment,
    Import,
    Campaign,
    Message,
    ApiKey,
    WebhookEndpoint,
    User,
    Conversation,
}

impl Kind {
    pub const ALL: [Self; 12] = [
        Self::Workspace,
        Self::Account,
        Self::Template,
        Self::Contact,
        Self::Segment,
        Self::Import,
        Self::Campaign,
        Self::Message,
        Self::ApiKey,
        Self::WebhookEndpoint,
        Self::User,
        Self::Conversation,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Workspace => "workspace",
            Self::Account => "account",
            Self::Template => "template",
            Self::Contact => "contact",
            Self::Segment => "segment",
            Self::Import => "import",
            Self::Campaign => "campaign",
            Self::Message => "message",
            Self::ApiKey => "apikey",
            Self::WebhookEndpoint => "webhook",
            Self::User => "user",
            Self::Conversation => "conversation",
        }
    }

    /// What an id argument names; `None`: nothing that could be looked up, so that it only narrows a list. Where it may name
    /// several kinds, the one of them that every stranger can be had of.
    ///
    /// # Panics
    /// Where the walk does not know.
    pub fn of(field: &str, argument: &str) -> Option<Self> {
        let named = |text: &str| {
            let text = text.to_lowercase();
            Self::ALL.into_iter().find(|kind| text.contains(kind.name()))
        };
        match argument {
            "correlationId" => None,
            // Narrows, and looks nobody up.
            "assignedTo" => None,
            "upTo" => Some(Self::Message),
            "aggregateIds" => Some(Self::Message),
            "keep" | "merge" => Some(Self::Contact),
            "id" if field == "resolveInDoubt" => Some(Self::Message),
            "id" if ["eraseContact", "trail"].contains(&field) => Some(Self::Contact),
            "id" => Some(
                named(field).unwrap_or_else(|| panic!("say in Kind::of what {field}(id) names")),
            ),
            _ => Some(
                named(argument)
                    .unwrap_or_else(|| panic!("say in Kind::of what {argument} of {field} names")),
            ),
        }
    }
}

/// How a sample is answered in a fresh lab, by the exact scopes that it needs and in the order of [`samples`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// By this code: what it needs is not there without WhatsApp or a process manager.
    Refused(&'static str),
}

pub struct Sample {
    pub field: &'static str,
    pub args: Value,
    pub outcome: Outcome,
}

fn done(field: &'static str, args: Value) -> Sample {
    Sample { field, args, outcome: Outcome::Done }
}

/// Things beside the lab's own, for samples that use something up.
pub struct Spare {
    guest: String,
    visitor: String,
    draft: String,
    planned: String,
    scheduled: String,
    doubtful: String,
}

impl Spare {
    pub async fn of(lab: &Lab) -> Self {
        let (account, contact) = (&lab.own[&Kind::Account], &lab.own[&Kind::Contact]);
        let doubtful = lab.message(account, contact, None).await;
        lab.doubt(&doubtful).await;
        let spare = Self {
            guest: lab.contact("+447700900301").await,
            visitor: lab.contact("+447700900302").await,
            draft: lab.template(account, "draft").await,
            planned: lab.campaign(account, &lab.own[&Kind::Template], contact).await,
            scheduled: lab.message(account, contact, Some("2036-11-27T09:00:00Z")).await,
            doubtful,
        };
        lab.settle().await;
        spare
    }
}

/// In an order in which each finds what it needs.
pub fn samples(own: &Things, spare: &Spare) -> Vec<Sample> {
    let id = |kind: Kind| json!(own[&kind]);
    let (workspace, account, contact) = (id(Kind::Workspace), id(Kind::Account), id(Kind::Contact));
    let components = json!([{ "type": "BODY", "text": "Good day {{1}}, all is well.", "example": { "body_text": [["Ada"]] } }]);
    let text = json!({ "accountId": account, "to": "+447700900401", "text": "canary words" });
    let person = |phone: &str| json!({ "workspaceId": workspace, "phoneNumber": phone, "name": "Canary Friend" });
    vec![
        done("viewer", json!({})),
        done("workspaces", json!({})),
        done("rateCard", json!({ "workspaceId": workspace })),
        done("account", json!({ "id": account })),
        done("accounts", json!({})),
        done("template", json!({ "id": id(Kind::Template) })),
        done("templates", json!({})),
        done("contact", json!({ "id": contact })),
        done("contacts", json!({})),
        done(
            "contactByExternalId",
            json!({ "externalId": "canary-customer", "workspaceId": workspace }),
        ),
        done("segment", json!({ "id": id(Kind::Segment) })),
        done("previewSegment", json!({ "rule": { "tag": "vip" }, "workspaceId": workspace })),
        done("segments", json!({})),
        done("import", json!({ "id": id(Kind::Import) })),
        done("campaign", json!({ "id": id(Kind::Campaign) })),
        done("campaigns", json!({})),
        done("campaignForecast", json!({ "id": id(Kind::Campaign) })),
        done("message", json!({ "id": id(Kind::Message) })),
        done("messageByWamid", json!({ "wamid": WAMID })),
        done("messages", json!({})),
        done("conversation", json!({ "id": id(Kind::Conversation) })),
        done("conversations", json!({})),
        done("events", json!({})),
        done(
            "deliveryStats",
            json!({ "filter": { "from": "2026-11-01T00:00:00Z", "to": "2026-12-01T00:00:00Z", "bucket": "DAY" } }),
        ),
        done("trail", json!({ "aggregateType": "contact", "id": contact })),
        done("webhookEndpoints", json!({})),
        done("webhookEndpoint", json!({ "id": id(Kind::WebhookEndpoint) })),
        done("imports", json!({})),
        done("tags", json!({ "workspaceId": workspace })),
        done(
            "audiencePreview",
            json!({ "audience": { "tags": ["vip"] }, "workspaceId": workspace }),
        ),
        done("messageCounts", json!({ "from": "2026-11-01T00:00:00Z" })),
        done("apiKeys", json!({})),
        done("users", json!({})),
        done("projections", json!({})),
        done("createWorkspace", json!({ "name": "Third" })),
        done("updateWorkspace", json!({ "input": { "id": workspace, "approvalThreshold": 1000 } })),
        done(
            "setRateCard",
            json!({ "input": { "workspaceId": workspace, "rates": [
                { "countries": ["GB"], "category": "MARKETING", "currency": "GBP", "amount": "0.0382", "validFrom": "2026-10-01" },
            ] } }),
        ),
        done("probeCredentials", json!({ "accessToken": "EAACANARYTOKEN0123456789" })),
        done(
            "connectAccount",
            json!({ "input": { "workspaceId": workspace, "name": "Another", "provider": "SANDBOX", "timeZone": "Europe/London" } }),
        ),
        done("updateAccount", json!({ "input": { "id": account, "name": "Renamed" } })),
        done(
            "rotateAccountCredentials",
            json!({ "input": { "id": account, "verifyToken": "another-token" } }),
        ),
        done("testAccount", json!({ "id": account, "phone": "+447700900405" })),
        done("pauseAccount", json!({ "id": account, "reason": "holiday" })),
        done("resumeAccount", json!({ "id": account })),
        done(
            "createTemplate",
            json!({ "input": { "accountId": account, "name": "another", "language": "en", "category": "UTILITY", "components": components } }),
        ),
        done("updateTemplate", json!({ "input": { "id": spare.draft, "components": components } })),
        done("submitTemplate", json!({ "id": spare.draft })),
        done("syncTemplates", json!({ "accountId": account })),
        done(
            "uploadTemplateSample",
            json!({ "accountId": account, "fileName": "a.png", "mimeType": "image/png", "data": "iVBORw0KGgo=" }),
        ),
        done("deleteTemplate", json!({ "id": spare.draft })),
        done("addContact", json!({ "input": person("+447700900402") })),
        done("updateContact", json!({ "input": { "id": contact, "name": "Canary Renamed" } })),
        done("upsertContact", json!({ "input": person("+447700900402") })),
        done("mergeContacts", json!({ "keep": spare.guest, "merge": spare.visitor })),
        done(
            "recordConsent",
            json!({ "input": { "contactId": contact, "status": "OPTED_IN", "source": "form" } }),
        ),
        done("eraseContact", json!({ "id": spare.guest, "reason": "asked for it" })),
        done(
            "importContacts",
            json!({ "input": { "workspaceId": workspace, "csv": "phone,name\n+447700900403,Canary Row\n" } }),
        ),
        // Nobody reads the file here, so it is still running.
        Sample {
            field: "undoImport",
            args: json!({ "id": id(Kind::Import) }),
            outcome: Outcome::Refused("CONFLICT"),
        },
        done(
            "createSegment",
            json!({ "input": { "workspaceId": workspace, "name": "Others", "rule": { "tag": "vip" } } }),
        ),
        done("updateSegment", json!({ "id": id(Kind::Segment), "name": "Renamed" })),
        done(
            "createCampaign",
            json!({ "input": {
                "accountId": account, "templateId": id(Kind::Template), "name": "Another", "parameters": { "body.1": "canary" },
                "audience": { "contactIds": [contact] },
            } }),
        ),
        done("updateCampaign", json!({ "input": { "id": id(Kind::Campaign), "name": "Renamed" } })),
        done("testCampaign", json!({ "id": id(Kind::Campaign), "to": "+447700900404" })),
        // Nobody asked for it.
        Sample {
            field: "approveCampaign",
            args: json!({ "id": id(Kind::Campaign) }),
            outcome: Outcome::Refused("CONFLICT"),
        },
        done("launchCampaign", json!({ "id": id(Kind::Campaign) })),
        done("pauseCampaign", json!({ "id": id(Kind::Campaign) })),
        done("resumeCampaign", json!({ "id": id(Kind::Campaign) })),
        done("retryCampaign", json!({ "id": id(Kind::Campaign) })),
        done("cancelCampaign", json!({ "id": id(Kind::Campaign) })),
        done("cloneCampaign", json!({ "id": id(Kind::Campaign) })),
        done("deleteCampaign", json!({ "id": spare.planned })),
        done("deleteSegment", json!({ "id": id(Kind::Segment) })),
        done("sendMessage", json!({ "input": text })),
        done("sendMessages", json!({ "inputs": [text] })),
        done(
            "rescheduleMessage",
            json!({ "id": spare.scheduled, "sendAt": "2036-11-28T09:00:00Z" }),
        ),
        done("cancelMessage", json!({ "id": spare.scheduled })),
        done("resolveInDoubt", json!({ "id": spare.doubtful, "resolution": "TREAT_AS_SENT" })),
        done(
            "replyToConversation",
            json!({ "input": { "conversationId": id(Kind::Conversation), "text": "canary words" } }),
        ),
        done(
            "setConversationHandling",
            json!({ "id": id(Kind::Conversation), "handling": "PEOPLE" }),
        ),
        // What WhatsApp is told comes on record behind the answer.
        done("markConversationRead", json!({ "id": id(Kind::Conversation), "showReceipt": false })),
        done("assignConversation", json!({ "id": id(Kind::Conversation) })),
        done(
            "createWebhookEndpoint",
            json!({ "input": { "workspaceId": workspace, "url": "https://93.184.215.14/events", "accountIds": [account] } }),
        ),
        done(
            "updateWebhookEndpoint",
            json!({ "input": { "id": id(Kind::WebhookEndpoint), "enabled": false } }),
        ),
        // What is there is about the workspace, and the endpoint is sent what is about its account.
        Sample {
            field: "resendWebhook",
            args: json!({ "id": id(Kind::WebhookEndpoint), "eventPosition": "1" }),
            outcome: Outcome::Refused("something else"),
        },
        done("rotateWebhookSecret", json!({ "id": id(Kind::WebhookEndpoint) })),
        done("replayWebhook", json!({ "id": id(Kind::WebhookEndpoint), "after": "0" })),
        done("deleteWebhookEndpoint", json!({ "id": id(Kind::WebhookEndpoint) })),
        done(
            "createApiKey",
            json!({ "input": { "name": "another", "scopes": ["READ"], "workspaceIds": [workspace], "accountIds": [account] } }),
        ),
        done("revokeApiKey", json!({ "id": id(Kind::ApiKey) })),
        done(
            "inviteUser",
            json!({ "input": { "email": "another@shop.example", "name": "Canary Friend", "role": "VIEWER",
                               "workspaceIds": [workspace], "accountIds": [account] } }),
        ),
        done("updateUser", json!({ "input": { "id": id(Kind::User), "name": "Canary Other" } })),
        done("resetUser", json!({ "id": id(Kind::User) })),
        done("suspendUser", json!({ "id": id(Kind::User) })),
        done("reinstateUser", json!({ "id": id(Kind::User) })),
        done("revokeUserSessions", json!({ "id": id(Kind::User) })),
        done("removeUser", json!({ "id": id(Kind::User) })),
        done("rebuildProjection", json!({ "name": "contacts" })),
        done("disconnectAccount", json!({ "id": account, "reason": "moved" })),
    ]
}

/// WhatsApp's id of the message that the masking test sends.
pub const WAMID: &str = "wamid.CANARY0123456789";

/// The sample of a field.
///
/// # Panics
/// Where there is none yet.
pub fn sample<'a>(samples: &'a [Sample], field: &str) -> &'a Sample {
    samples
        .iter()
        .find(|sample| sample.field == field)
        .unwrap_or_else(|| panic!("add a sample of {field} to samples()"))
}

/// The least that an input object has, where a sample does not have it and a place within it is tried.
///
/// # Panics
/// Where the type is not known yet.
pub fn part_of(input_type: &str) -> Value {
    match input_type {
        "AudienceInput" => json!({ "tags": ["vip"] }),
        "CampaignScheduleInput" => {
            json!({ "startAt": "2036-11-27T09:00", "timeZone": "Europe/London" })
        }
        "FrequencyCapInput" => json!({ "messages": 1, "hours": 24 }),
        "QuietHoursInput" => json!({ "from": "21:00", "to": "08:00" }),
        "MediaInput" => json!({ "kind": "DOCUMENT", "link": "https://example.com/a.pdf" }),
        "TemplateMessageInput" => {
            json!({ "name": "hello", "language": "en", "parameters": { "body.1": "Ada" } })
        }
        "InDoubtPolicyInput" | "AccountFilter" | "TemplateFilter" | "ContactFilter"
        | "CampaignFilter" | "MessageFilter" | "EventFilter" | "ConversationFilter" => {
            json!({})
        }
        other => panic!("say in part_of what a sample of {other} looks like"),
    }
}

/// Makes room for what is about to be put at a place: of some parts only one may be given.
pub fn make_room(args: &mut Value, path: &str) {
    let Some((input, part)) = path.split_once('.') else { return };
    let part = part.split(['.', '[']).next().unwrap_or_default();
    let input = if input == "inputs[0]" { &mut args["inputs"][0] } else { &mut args["input"] };
    if input.get("to").is_none() && input.get("conversationId").is_none() {
        return;
    }
    if path.ends_with(".template.templateId") {
        input["template"] = json!({ "parameters": { "body.1": "Ada" } });
    }
    let input = input.as_object_mut().expect("an object");
    if ["userId", "contactId"].contains(&part) {
        input.remove("to");
    }
    if ["template", "media", "interactive", "location", "contacts", "reaction"].contains(&part) {
        input.remove("text");
    }
}
