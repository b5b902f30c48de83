//! What each item means, as commands.

use chrono::{DateTime, Utc};
use domain::account::{Account, AccountCommand, PauseCause, RestrictedSends, Restriction};
use domain::conversation::{Conversation, ConversationCommand, Inbound};
use domain::message::{
    Content, ContentKind, Message, MessageCommand, MessageHeader, OptOutSign, Priority, Recipient,
};
use domain::primitives::{AccountId, Actor, ContactId, MessageId, Wamid, conversation_id};
use domain::template::{Template, TemplateCategory, TemplateCommand};
use infrastructure::cloud_api::error::{Consequence, ErrorContext, ErrorPath};
use infrastructure::ledger::{CommandError, Context, Refusal};
use infrastructure::webhook::interpret::{
    AccountChange, BanState, IdentityMove, Interpreted, Item, MessageItem, NumberQuality,
    PreferenceChoice, PreferenceItem, RestrictionItem, RestrictionKind, TemplateName, UserIdUpdate,
};
use infrastructure::webhook::journal::JournalEntry;
use infrastructure::webhook::optout::OptWord;
use projections::Scope;
use tracing::{info, warn};
use uuid::Uuid;

use super::Page;
use super::answer::{self, Sign, What};
use super::error::ItemError;
use super::person::{self, Profile, Wish};
use super::route::Target;
use crate::app::Gateway;
use crate::application::accounts::loop_test;
use crate::application::error::ErrorCode;
use crate::worker::dispatch::{EffectTarget, apply_effects, effects_of};

/// A number that WhatsApp upgraded (Meta: throughput).
const UPGRADED_MESSAGES_PER_SECOND: u32 = 1_000;

/// Whether an item that was interpreted before is to be interpreted again: what is on record once by its own id. How a
/// template, a number or a person's settings stood then has been overtaken since, by WhatsApp's later word or by somebody's
/// decision.
pub fn may_come_again(item: &Item) -> bool {
    matches!(item, Item::Status(_) | Item::Inbound(_) | Item::Echo(_) | Item::Unreadable { .. })
}

/// Applies one item to the accounts it is for.
pub async fn item(
    gateway: &Gateway,
    targets: &[Target],
    page: Page<'_>,
    entry: &JournalEntry,
    interpreted: Interpreted,
) -> Result<(), ItemError> {
    let Interpreted { at, path, item, .. } = interpreted;
    let Some(target) = targets.first() else { return Ok(()) };
    let context = Context::new(Actor::whatsapp(), gateway.ids.next_id(gateway.clock.now()));
    let sign = |path: String, what: What| Sign {
        account_id: target.id,
        journal_id: entry.id,
        path,
        received_at: entry.received_at,
        at,
        what,
    };
    match item {
        Item::Status(status) => page.statuses.push(target.id, entry.id, path, at, *status),
        Item::Inbound(message) => {
            let what = answer::of_message(gateway, target.id, &message, at);
            inbound(gateway, target, *message, at, &context).await?;
            if let Some(what) = what {
                page.answers.push(sign(path, what));
            }
        }
        Item::Echo(message) => echo(gateway, target, *message, at, &context).await?,
        Item::Preference(preference) => {
            let stopped = self::preference(gateway, target, preference, at, &context).await?;
            if let Some(contact_id) = stopped {
                let how = OptOutSign::Preference;
                page.answers.push(sign(path, What::Stop { contact_id, how }));
            }
        }
        Item::NumberChanged(change) | Item::UserIdChanged(change) => {
            identity_moved(gateway, target, *change, &context).await?;
        }
        Item::UserIdUpdate(update) => user_id_updated(gateway, target, *update, &context).await?,
        Item::TemplateVerdict(verdict) => {
            if let Some(status) = verdict.status.known().copied() {
                let reason = verdict.reason;
                let command =
                    TemplateCommand::RecordVerdict { status, reason, at: gateway.clock.now() };
                templates(gateway, targets, &verdict.template, &command, &context).await?;
            }
        }
        Item::TemplateCategory(change) => {
            if let Some(category) =
                change.category.known().copied().filter(|_| !change.announced_only)
            {
                let command = TemplateCommand::RecordCategory { category, at: gateway.clock.now() };
                templates(gateway, targets, &change.template, &command, &context).await?;
            }
        }
        Item::TemplateQuality(change) => {
            let command =
                TemplateCommand::RecordQuality { quality: change.quality, at: gateway.clock.now() };
            templates(gateway, targets, &change.template, &command, &context).await?;
        }
        Item::NumberQuality(change) => number_quality(gateway, targets, &change, &context).await?,
        Item::Capability { limit } => {
            if let Some(limit) = limit {
                for target in targets {
                    let command = AccountCommand::RecordLimit { limit, at: gateway.clock.now() };
                    account(gateway, target, command, &context).await?;
                }
            }
        }
        Item::AccountUpdate(change) => account_update(gateway, targets, change, &context).await?,
        Item::ValueErrors { errors } => {
            for error in errors {
                let consequence =
                    Consequence::of_code(error.code, ErrorPath::Number, ErrorContext::default());
                warn!(account.id = %target.id, code = error.code, "WhatsApp reports trouble with the number");
                let effects =
                    effects_of(&consequence, 1, gateway.clock.now(), gateway.ids.random());
                let whom = EffectTarget::account(target.id);
                apply_effects(gateway, &effects, whom, &context).await?;
            }
        }
        Item::Unreadable { problem } => {
            warn!(journal.id = %entry.id, path, problem, "an item of a webhook cannot be read; it stays in the journal");
            count("unreadable");
        }
        // Facts for people: the number's checks ask WhatsApp anew, and the journal keeps the words.
        Item::NumberName(_)
        | Item::BusinessUsername { .. }
        | Item::AccountAlert(_)
        | Item::AccountReview { .. }
        | Item::Security { .. }
        | Item::TemplateComponents(_)
        | Item::IdentityChanged(_)
        | Item::StateSync(_)
        | Item::UserAction(_)
        | Item::History(_)
        | Item::Unknown { .. } => count("kept"),
    }
    Ok(())
}

fn count(outcome: &'static str) {
    metrics::counter!("gateway_webhook_items_total", "outcome" => outcome).increment(1);
}

/// A person wrote. A wish to stop is on record before anything else runs.
async fn inbound(
    gateway: &Gateway,
    target: &Target,
    item: MessageItem,
    at: DateTime<Utc>,
    context: &Context,
) -> Result<(), ItemError> {
    let message_id = received_id(gateway, target.id, &item.wamid, at);
    if let Some(known) = gateway.bus.load::<Message>(message_id.0).await? {
        // Told again: its number may be another person's by now, who did not write it.
        if let (Some(_), Some(header)) = (&item.media, &known.aggregate.header) {
            want_medium(gateway, target, message_id, header.contact_id, at).await?;
        }
        // It may have been recorded just before a crash.
        answer_loop_test(gateway, target.id, message_id, &item.wamid).await?;
        count("known");
        return Ok(());
    }
    let profile = Profile {
        name: item.profile_name.clone(),
        username: item.username.clone(),
        wa_id: item.wa_id.clone(),
    };
    let wish = item.opt_out.as_ref().and_then(|text| {
        let word = text.word(&gateway.config.optout.words)?;
        let source = match word {
            OptWord::Stop => "the person wrote STOP",
            OptWord::Start => "the person wrote START",
        };
        let evidence = text.text().map(str::to_owned);
        Some(Wish { word, category: None, source, evidence, said_at: at })
    });
    // Who asks to be left alone is not written to; a tap or a reaction is no message.
    let may_answer =
        item.opens_window && wish.as_ref().is_none_or(|wish| wish.word != OptWord::Stop);
    let (item, wish) = (&item, wish.as_ref());
    person::act_on(gateway, target, &item.counterpart, &profile, context, |contact_id| {
        Box::pin(async move {
            if item.media.is_some() {
                want_medium(gateway, target, message_id, contact_id, at).await?;
            }
            let header = header(target, contact_id, item)?;
            let heard = Inbound {
                workspace_id: header.workspace_id,
                account_id: target.id,
                contact_id,
                message_id,
                opens_window: item.opens_window,
                at,
            };
            // As one: a wish, and the conversation, are on record as soon as the message that shows them, and the message is
            // why.
            let received = gateway.bus.transact(context, None, |tx| {
                let receive = MessageCommand::Receive {
                    header: Box::new(header.clone()),
                    from: item.counterpart.clone(),
                    wamid: item.wamid.clone(),
                    content: content(item),
                    opens_window: item.opens_window,
                    at,
                };
                Box::pin(async move {
                    // Told again, it is no new wish: the person may have chosen otherwise meanwhile.
                    let is_known = tx.load::<Message>(message_id.0).await?.is_some();
                    tx.execute::<Message>(message_id.0, receive).await?;
                    // What else is recorded follows from the message.
                    tx.because_of::<Message>(message_id.0);
                    if may_answer && !is_known {
                        let now = gateway.clock.now();
                        let command = AccountCommand::ReceiveLoopTest {
                            contact_id,
                            phone: item.counterpart.phone.clone(),
                            message_id,
                            answer_id: MessageId(gateway.ids.next_id(now)),
                            written_at: at,
                            at: now,
                        };
                        tx.execute::<Account>(target.id.0, command).await?;
                    }
                    if let Some(wish) = wish.filter(|_| !is_known) {
                        person::heed(tx, contact_id, wish).await?;
                    }
                    let conversation = conversation_id(heard.account_id, contact_id).0;
                    let note = ConversationCommand::NoteInbound(heard);
                    tx.execute::<Conversation>(conversation, note).await?;
                    Ok::<_, CommandError<Refusal>>(())
                })
            });
            received.await?;
            Ok(())
        })
    })
    .await?;
    answer_loop_test(gateway, target.id, message_id, &item.wamid).await?;
    count("recorded");
    Ok(())
}

/// A loop test that this message is of is answered; any other message is left alone.
async fn answer_loop_test(
    gateway: &Gateway,
    account_id: AccountId,
    message_id: MessageId,
    wamid: &Wamid,
) -> Result<(), ItemError> {
    match loop_test::answer(gateway, account_id, message_id, wamid).await {
        Ok(()) => Ok(()),
        Err(error) if error.code == ErrorCode::Unavailable => {
            Err(ItemError::StoreAway(error.into()))
        }
        Err(error) => {
            warn!(account.id = %account_id, %error, "a loop test could not be answered");
            Ok(())
        }
    }
}

/// Before the message is on record, so that a crash in between loses nothing; WhatsApp keeps it for days after `at`.
async fn want_medium(
    gateway: &Gateway,
    target: &Target,
    message_id: MessageId,
    contact_id: ContactId,
    at: DateTime<Utc>,
) -> Result<(), ItemError> {
    let wanted = gateway.media.want(message_id.0, target.id.0, contact_id.0, at).await;
    wanted.map_err(|error| ItemError::StoreAway(error.into()))
}

/// Sent with this number from the WhatsApp Business app.
async fn echo(
    gateway: &Gateway,
    target: &Target,
    item: MessageItem,
    at: DateTime<Utc>,
    context: &Context,
) -> Result<(), ItemError> {
    let message_id = received_id(gateway, target.id, &item.wamid, at);
    if gateway.bus.load::<Message>(message_id.0).await?.is_some() {
        count("known");
        return Ok(());
    }
    let contact_id =
        person::find_or_add(gateway, target, &item.counterpart, &Profile::default(), context)
            .await?;
    let command = MessageCommand::RecordEcho {
        header: Box::new(header(target, contact_id, &item)?),
        content: content(&item),
        to: item.counterpart,
        wamid: item.wamid.clone(),
        at,
    };
    gateway.bus.execute::<Message>(message_id.0, command, context).await?;
    count("recorded");
    Ok(())
}

fn content(item: &MessageItem) -> Content {
    Content::Inbound {
        message_type: item.message_type.clone(),
        body: item.body.clone(),
        preview: item.preview.clone(),
    }
}

fn header(
    target: &Target,
    contact_id: ContactId,
    item: &MessageItem,
) -> Result<MessageHeader, ItemError> {
    let Some(workspace_id) = target.account.workspace_id else {
        return Err(ItemError::refused("the account has no workspace"));
    };
    Ok(MessageHeader {
        workspace_id,
        account_id: target.id,
        contact_id,
        campaign_id: None,
        is_test: false,
        content_kind: ContentKind::Inbound,
        template: None,
        priority: Priority::Reply,
        time_to_live_s: None,
        external_id: None,
        metadata: None,
        reply_to: item.context_wamid.clone().map(Into::into),
        country: None,
    })
}

/// WhatsApp's timestamp, then a keyed hash of number and wamid: told twice, it is the same stream. A plain hash would let
/// anyone with the log try out numbers.
pub(super) fn received_id(
    gateway: &Gateway,
    account_id: AccountId,
    wamid: &Wamid,
    at: DateTime<Utc>,
) -> MessageId {
    let hash = gateway.keys.lookup_hash(account_id.0, "inbound", wamid.as_str());
    let mut bytes = [0u8; 16];
    let millis = u64::try_from(at.timestamp_millis()).unwrap_or(0).to_be_bytes();
    bytes[..6].copy_from_slice(&millis[2..]);
    for (byte, hashed) in bytes[6..].iter_mut().zip(hash.iter()) {
        *byte = *hashed;
    }
    MessageId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

/// The person stopped or resumed marketing in WhatsApp itself. Answers who stopped.
async fn preference(
    gateway: &Gateway,
    target: &Target,
    preference: PreferenceItem,
    at: DateTime<Utc>,
    context: &Context,
) -> Result<Option<ContactId>, ItemError> {
    let word = match preference.choice {
        PreferenceChoice::Stop => OptWord::Stop,
        // Of somebody unknown too: the stop that it answers may still be on its way.
        PreferenceChoice::Resume => OptWord::Start,
        PreferenceChoice::Other(_) => {
            count("kept");
            return Ok(None);
        }
    };
    let (who, profile) = (&preference.who, Profile::default());
    let wish = &Wish {
        word,
        category: Some(TemplateCategory::Marketing),
        source: "WhatsApp user_preferences",
        evidence: None,
        said_at: at,
    };
    let contact_id = person::act_on(gateway, target, who, &profile, context, |contact_id| {
        Box::pin(async move {
            let heeded = gateway.bus.transact(context, None, |tx| {
                Box::pin(async move { person::heed(tx, contact_id, wish).await })
            });
            heeded.await?;
            Ok(())
        })
    })
    .await?;
    Ok((word == OptWord::Stop).then_some(contact_id))
}

async fn identity_moved(
    gateway: &Gateway,
    target: &Target,
    change: IdentityMove,
    context: &Context,
) -> Result<(), ItemError> {
    let Some(contact_id) = person::find(gateway, target, &change.old).await? else {
        count("kept");
        return Ok(());
    };
    // Who has the new number or id already is the same person, by WhatsApp's own word: they wrote from it before this came.
    let known_as =
        Recipient { phone: change.new_phone.clone(), user_id: change.new_user_id.clone() };
    if let Some(other) = person::find(gateway, target, &known_as).await?
        && other != contact_id
    {
        person::unite(gateway, contact_id, other, context).await?;
    }
    let new = person::portfolio_identity(target, change.new_user_id.as_ref());
    let changes =
        person::moved(gateway, target, contact_id, &change.old, change.new_phone, new).await?;
    person::change(gateway, contact_id, changes, context).await
}

async fn user_id_updated(
    gateway: &Gateway,
    target: &Target,
    update: UserIdUpdate,
    context: &Context,
) -> Result<(), ItemError> {
    let who = domain::message::Recipient { phone: update.phone, user_id: update.previous };
    let Some(contact_id) = person::find(gateway, target, &who).await? else {
        count("kept");
        return Ok(());
    };
    // The number is the same as before.
    let who = domain::message::Recipient { phone: None, user_id: who.user_id };
    let new = person::portfolio_identity(target, update.current.as_ref());
    let changes = person::moved(gateway, target, contact_id, &who, None, new).await?;
    person::change(gateway, contact_id, changes, context).await
}

/// Every account's copy of the template at this WABA.
async fn templates(
    gateway: &Gateway,
    targets: &[Target],
    name: &TemplateName,
    command: &TemplateCommand,
    context: &Context,
) -> Result<(), ItemError> {
    for target in targets {
        let Some(id) = template_of(gateway, target, name).await? else {
            count("kept");
            continue;
        };
        match gateway.bus.execute::<Template>(id, command.clone(), context).await {
            Ok(_) => count("recorded"),
            Err(CommandError::Domain(error)) => {
                info!(template.id = %id, %error, "WhatsApp's word on a template was refused")
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

async fn template_of(
    gateway: &Gateway,
    target: &Target,
    name: &TemplateName,
) -> Result<Option<Uuid>, ItemError> {
    if let Some(whatsapp_id) = &name.whatsapp_id
        && let Some(id) = template_by_whatsapp_id(gateway, target, whatsapp_id).await?
    {
        return Ok(Some(id));
    }
    let (Some(name), Some(language)) = (&name.name, &name.language) else { return Ok(None) };
    let queries = gateway.read.queries();
    let found = queries.template_by_name(&Scope::everything(), target.id.0, name, language).await?;
    Ok(found.map(|stored| stored.id))
}

async fn template_by_whatsapp_id(
    gateway: &Gateway,
    target: &Target,
    whatsapp_id: &str,
) -> Result<Option<Uuid>, ItemError> {
    let found = gateway.read.queries().templates_by_whatsapp_id(whatsapp_id).await?;
    Ok(found
        .into_iter()
        .find(|stored| stored.state.account_id == Some(target.id))
        .map(|stored| stored.id))
}

async fn account(
    gateway: &Gateway,
    target: &Target,
    command: AccountCommand,
    context: &Context,
) -> Result<(), ItemError> {
    gateway.bus.execute::<Account>(target.id.0, command, context).await?;
    count("recorded");
    Ok(())
}

async fn number_quality(
    gateway: &Gateway,
    targets: &[Target],
    change: &NumberQuality,
    context: &Context,
) -> Result<(), ItemError> {
    for target in targets {
        let at = gateway.clock.now();
        if let Some(limit) = change.limit {
            account(gateway, target, AccountCommand::RecordLimit { limit, at }, context).await?;
        }
        if let Some(quality) = change.quality {
            account(gateway, target, AccountCommand::RecordQuality { quality, at }, context)
                .await?;
        }
        if change.throughput_upgraded {
            let command = AccountCommand::RecordNumber {
                display_phone_number: None,
                verified_name: None,
                granted_messages_per_second: Some(UPGRADED_MESSAGES_PER_SECOND),
                on_business_app: None,
                at,
            };
            account(gateway, target, command, context).await?;
        }
    }
    Ok(())
}

/// What of a restriction concerns messages; others do not.
fn restriction_of(item: &RestrictionItem) -> Option<Restriction> {
    let sends = match item.kind {
        RestrictionKind::BusinessInitiated => RestrictedSends::Templates,
        RestrictionKind::CustomerInitiated => RestrictedSends::Replies,
        RestrictionKind::UtilityTemplates => RestrictedSends::UtilityTemplates,
        RestrictionKind::AddPhoneNumbers | RestrictionKind::Other(_) => return None,
    };
    Some(Restriction { sends, until: item.until })
}

/// What stops or starts a WABA stops or starts its accounts, with WhatsApp's reason.
async fn account_update(
    gateway: &Gateway,
    targets: &[Target],
    change: AccountChange,
    context: &Context,
) -> Result<(), ItemError> {
    let at = gateway.clock.now();
    let cause = PauseCause::Whatsapp;
    let pause = |reason: String, until| {
        Some(AccountCommand::Pause { reason, until, cause: Some(cause), at })
    };
    let command = match change {
        AccountChange::Restriction { restrictions } => {
            let restrictions: Vec<Restriction> =
                restrictions.iter().filter_map(restriction_of).collect();
            let is_ours = !restrictions.is_empty();
            is_ours.then_some(AccountCommand::Restrict { restrictions, at })
        }
        AccountChange::Ban { state: BanState::Disabled, .. } => {
            pause("WhatsApp has disabled the account".to_owned(), None)
        }
        AccountChange::Ban { state: BanState::Reinstated, .. } | AccountChange::Reconnected => {
            Some(AccountCommand::LiftPause { cause, at })
        }
        AccountChange::Deleted => pause("the account was deleted at WhatsApp".to_owned(), None),
        AccountChange::Offboarded => {
            pause("the account was taken off the Cloud API".to_owned(), None)
        }
        AccountChange::PartnerRemoved { .. } | AccountChange::AppUninstalled => {
            pause("WhatsApp has withdrawn the gateway's access to the account".to_owned(), None)
        }
        AccountChange::Violation { .. }
        | AccountChange::Ban { .. }
        | AccountChange::PartnerAdded
        | AccountChange::AppInstalled
        | AccountChange::Other { .. } => None,
    };
    let Some(command) = command else {
        count("kept");
        return Ok(());
    };
    for target in targets {
        account(gateway, target, command.clone(), context).await?;
    }
    Ok(())
}
