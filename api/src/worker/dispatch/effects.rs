//! Records WhatsApp's word on messages together with what it means beyond them: for accounts, templates and people. One
//! append holds both, and the word is the cause. What holds a pair or the pace is the lane's own.

use chrono::{DateTime, Utc};
use domain::account::{
    Account, AccountCommand, AccountError, AccountStatus, Credential, PauseCause,
};
use domain::contact::{Contact, ContactCommand};
use domain::message::{Message, MessageCommand, MessageError};
use domain::port::{FeedError, Position};
use domain::primitives::{AccountId, ContactId, MessageId, TemplateId};
use domain::template::{Template, TemplateCategory, TemplateCommand, TemplateStatus};
use infrastructure::ledger::{
    CommandError, Committed, Context, Refusal, TransactError, Transaction,
};
use tracing::warn;
use uuid::Uuid;

use super::outcome::Effect;
use crate::app::Gateway;
use crate::worker::people::People;
use crate::worker::{all_accounts, webhook};

/// Words with effects that share an append; where it fails, each is tried for itself.
const TOGETHER_MAX: usize = 64;

/// Whom an effect touches.
#[derive(Clone, Copy, Debug)]
pub struct EffectTarget {
    pub account_id: AccountId,
    pub contact_id: Option<ContactId>,
    pub template_id: Option<TemplateId>,
    /// The message that WhatsApp's word was about.
    pub message_id: Option<MessageId>,
}

impl EffectTarget {
    /// A number alone.
    pub fn account(account_id: AccountId) -> Self {
        Self { account_id, contact_id: None, template_id: None, message_id: None }
    }
}

/// What WhatsApp said of a message, and what else that means.
#[derive(Clone)]
pub struct Word {
    pub message_id: Uuid,
    pub command: MessageCommand,
    pub context: Context,
    pub effects: Vec<Effect>,
    pub target: EffectTarget,
    /// Its effects hold even where the message knows it already. Else what is told again has none: people may have decided
    /// otherwise since.
    pub always: bool,
}

/// What became of one word.
pub type Recorded = Result<Committed<Message>, CommandError<MessageError>>;

/// What an effect comes down to.
#[derive(Clone)]
enum Order {
    Account(Uuid, AccountCommand),
    Template(Uuid, TemplateCommand),
    Contact(Uuid, ContactCommand),
}

/// Records each word with its effects or not at all; those without effects share one append. Answers in their order.
pub async fn record(gateway: &Gateway, words: Vec<Word>) -> Vec<Recorded> {
    let mut answers: Vec<Option<Recorded>> = words.iter().map(|_| None).collect();
    let (mut plain, mut plain_at) = (vec![], vec![]);
    let (mut laden, mut laden_at) = (vec![], vec![]);
    for (at, word) in words.into_iter().enumerate() {
        // A status tells when it showed; an answer shows it now.
        let shown_at = match &word.command {
            MessageCommand::RecordStatus(report) => report.at,
            _ => gateway.clock.now(),
        };
        match orders(gateway, &word.effects, word.target, shown_at).await {
            Ok(orders) if !orders.is_empty() => {
                laden.push((word, orders));
                laden_at.push(at);
            }
            Err(error @ FeedError::Unavailable(_)) => answers[at] = Some(Err(error.into())),
            without => {
                if let Err(error) = without {
                    let Word { message_id, target, .. } = &word;
                    warn!(message.id = %message_id, account.id = %target.account_id, %error, "an effect of WhatsApp's answer cannot be told; the answer is recorded");
                }
                plain.push((word.message_id, word.command, word.context));
                plain_at.push(at);
            }
        }
    }
    for (at, answer) in plain_at.into_iter().zip(gateway.bus.execute_many(plain).await) {
        answers[at] = Some(answer);
    }
    let mut laden_at = laden_at.into_iter();
    for words in laden.chunks(TOGETHER_MAX) {
        let recorded = match record_together(gateway, words).await {
            Ok(recorded) => recorded,
            Err(_) => {
                let mut recorded = Vec::with_capacity(words.len());
                for word in words {
                    recorded.push(record_alone(gateway, word).await);
                }
                recorded
            }
        };
        for (at, answer) in laden_at.by_ref().zip(recorded) {
            answers[at] = Some(answer);
        }
    }
    answers.into_iter().map(|answer| answer.unwrap_or(Err(CommandError::TooBusy))).collect()
}

/// Records the words in one append, and then of which messages those were who turn out to want no more.
async fn record_together(
    gateway: &Gateway,
    words: &[(Word, Vec<Order>)],
) -> Result<Vec<Recorded>, TransactError<CommandError<Refusal>>> {
    let Some((first, _)) = words.first() else { return Ok(vec![]) };
    let transaction = gateway.bus.transact(&first.context, None, |tx| {
        Box::pin(async move {
            let mut recorded = Vec::with_capacity(words.len());
            let mut stopped = vec![];
            for (word, orders) in words {
                let (answer, contacts) = record_within(tx, word, orders).await?;
                recorded.push(answer);
                stopped.extend(contacts.into_iter().map(|contact| (word.target, contact)));
            }
            Ok::<_, CommandError<Refusal>>((recorded, stopped))
        })
    });
    let ((mut recorded, stopped), position) = transaction.await?;
    for (target, contact_id) in stopped {
        let EffectTarget { account_id, message_id, .. } = target;
        let attributed =
            webhook::stop_showed_in_refusal(gateway, account_id, contact_id, message_id).await;
        if let Err(error) = attributed {
            warn!(contact.id = %contact_id, error = %format!("{:#}", anyhow::Error::from(error)), "it could not be told which message an opt-out answers; the opt-out is recorded");
        }
    }
    for committed in recorded.iter_mut().flatten().filter(|committed| committed.events > 0) {
        committed.position = position;
    }
    Ok(recorded)
}

/// A word whose effects cannot be written, today or tomorrow, is still WhatsApp's word on its message.
async fn record_alone(gateway: &Gateway, word: &(Word, Vec<Order>)) -> Recorded {
    match record_together(gateway, std::slice::from_ref(word)).await {
        Ok(mut recorded) => recorded.pop().unwrap_or(Err(CommandError::TooBusy)),
        Err(error) => {
            let error = of_message(error);
            let CommandError::Unavailable(cause) = &error else { return Err(error) };
            let FeedError::Corrupt(problem) = cause.as_ref() else { return Err(error) };
            let Word { message_id, command, context, target, .. } = &word.0;
            warn!(message.id = %message_id, account.id = %target.account_id, problem, "an effect of WhatsApp's answer cannot be recorded; the answer is");
            gateway.bus.execute::<Message>(*message_id, command.clone(), context).await
        }
    }
}

/// A refusal of the message is an answer, and costs the others nothing. Answers whose contacts' words changed, too.
async fn record_within(
    tx: &mut Transaction<'_>,
    word: &Word,
    orders: &[Order],
) -> Result<(Recorded, Vec<ContactId>), CommandError<Refusal>> {
    let id = word.message_id;
    tx.speak_as(word.context.clone());
    let before = tx.load::<Message>(id).await?.map_or(0, |loaded| loaded.sequence);
    let refusal = match tx.execute::<Message>(id, word.command.clone()).await {
        Ok(_) => None,
        Err(CommandError::Domain(error)) => Some(error),
        Err(error) => return Err(error.into()),
    };
    let loaded = tx.load::<Message>(id).await?;
    let sequence = loaded.as_ref().map_or(0, |loaded| loaded.sequence);
    let mut stopped = vec![];
    if sequence > before || word.always {
        tx.because_of::<Message>(id);
        for order in orders {
            let Order::Contact(contact, _) = order else {
                order.carry_out(tx).await?;
                continue;
            };
            let before = tx.load::<Contact>(*contact).await?.map(|loaded| loaded.sequence);
            order.carry_out(tx).await?;
            if tx.load::<Contact>(*contact).await?.map(|loaded| loaded.sequence) != before {
                stopped.push(ContactId(*contact));
            }
        }
    }
    if let Some(error) = refusal {
        return Ok((Err(CommandError::Domain(error)), stopped));
    }
    let committed = Committed {
        id,
        sequence,
        position: loaded.as_ref().map_or(Position::default(), |loaded| loaded.position),
        events: usize::try_from(sequence - before).unwrap_or(usize::MAX),
        thread: loaded.as_ref().and_then(|loaded| loaded.thread),
        aggregate: loaded.map(|loaded| loaded.aggregate).unwrap_or_default(),
    };
    Ok((Ok(committed), stopped))
}

fn of_message(error: TransactError<CommandError<Refusal>>) -> CommandError<MessageError> {
    match error {
        TransactError::Command(CommandError::Unavailable(cause))
        | TransactError::Unavailable(cause) => CommandError::Unavailable(cause),
        TransactError::Command(CommandError::IdentityTaken { kind, holder })
        | TransactError::IdentityTaken { kind, holder } => {
            CommandError::IdentityTaken { kind, holder }
        }
        TransactError::Command(CommandError::Fenced) | TransactError::Fenced => {
            CommandError::Fenced
        }
        // Nothing here is refused by the domain, expects a sequence or has an idempotency key.
        TransactError::Command(
            CommandError::TooBusy | CommandError::Domain(_) | CommandError::Conflict { .. },
        )
        | TransactError::TooBusy
        | TransactError::IdempotencyReused
        | TransactError::Replayed { .. } => CommandError::TooBusy,
    }
}

/// Records effects of what WhatsApp said of no message. They come again where that failed.
///
/// # Errors
/// Where the store is away.
pub async fn apply(
    gateway: &Gateway,
    effects: &[Effect],
    target: EffectTarget,
    context: &Context,
) -> Result<(), TransactError<CommandError<Refusal>>> {
    let orders = orders(gateway, effects, target, gateway.clock.now()).await?;
    let orders = &orders;
    let transaction = gateway.bus.transact(context, None, |tx| {
        Box::pin(async move {
            for order in orders {
                order.carry_out(tx).await?;
            }
            Ok::<_, CommandError<Refusal>>(())
        })
    });
    transaction.await.map(drop)
}

impl Order {
    /// What is refused is not to be done: somebody has decided otherwise.
    async fn carry_out(&self, tx: &mut Transaction<'_>) -> Result<(), CommandError<Refusal>> {
        let refused = match self.clone() {
            Self::Account(id, command) => match tx.execute::<Account>(id, command).await {
                Ok(_) | Err(CommandError::Domain(AccountError::Disconnected)) => return Ok(()),
                Err(error) => CommandError::from(error),
            },
            Self::Template(id, command) => match tx.execute::<Template>(id, command).await {
                Ok(_) => return Ok(()),
                Err(error) => error.into(),
            },
            Self::Contact(id, command) => match tx.execute::<Contact>(id, command).await {
                Ok(_) => return Ok(()),
                Err(error) => error.into(),
            },
        };
        match refused {
            CommandError::Domain(error) => {
                warn!(%error, "an effect of WhatsApp's answer was refused");
                Ok(())
            }
            error => Err(error),
        }
    }
}

/// What these effects come down to, also those that hold a number for a while: whoever sends for it may be another node.
/// What only the lane can count has no orders.
async fn orders(
    gateway: &Gateway,
    effects: &[Effect],
    target: EffectTarget,
    shown_at: DateTime<Utc>,
) -> Result<Vec<Order>, FeedError> {
    let at = gateway.clock.now();
    let pause = |reason: &str, until, cause| {
        let (reason, cause) = (reason.to_owned(), Some(cause));
        AccountCommand::Pause { reason, until, cause, at }
    };
    let mut orders = vec![];
    for effect in effects {
        match effect {
            // Only the lane that sends for the number can count pairs; the message itself waits by its own record.
            Effect::HoldPair { .. } => {}
            Effect::HoldNumber { until } => {
                let reason = "WhatsApp asks this number to slow down";
                let command = pause(reason, Some(*until), PauseCause::Whatsapp);
                orders.push(Order::Account(target.account_id.0, command));
            }
            Effect::PauseAccount { reason, until, cause } => {
                let command = pause(reason, *until, *cause);
                orders.push(Order::Account(target.account_id.0, command));
            }
            Effect::PauseWaba { reason, until } => {
                let Some(account) = gateway.bus.load::<Account>(target.account_id.0).await? else {
                    continue;
                };
                let queries = gateway.read.queries();
                let accounts =
                    queries.accounts_by_waba(&account.aggregate.waba_id).await.map_err(away)?;
                let accounts = accounts.into_iter().map(|stored| (stored.id, stored.into_state()));
                let command = pause(reason, *until, PauseCause::Whatsapp);
                orders.extend(to_all(target.account_id, accounts, &command));
            }
            Effect::PauseApp { reason, until } => {
                let Some(account) = gateway.bus.load::<Account>(target.account_id.0).await? else {
                    continue;
                };
                // The app's secret is what its accounts have in common.
                let secret = |account: &Account| {
                    let secret = account.credentials.get(&Credential::AppSecret);
                    secret.map(|secret| secret.fingerprint.clone())
                };
                let ours = secret(&account.aggregate);
                let accounts = all_accounts(gateway).await.map_err(away)?.into_iter();
                let accounts = accounts
                    .filter(|(_, other)| ours.is_some() && secret(other) == ours)
                    .map(|(id, account)| (id.0, account));
                let command = pause(reason, *until, PauseCause::Whatsapp);
                orders.extend(to_all(target.account_id, accounts, &command));
            }
            Effect::StopTemplate { reason, for_good } => {
                let Some(template_id) = target.template_id else { continue };
                let status =
                    if *for_good { TemplateStatus::Disabled } else { TemplateStatus::Paused };
                let command =
                    TemplateCommand::RecordVerdict { status, reason: Some(reason.clone()), at };
                orders.push(Order::Template(template_id.0, command));
            }
            Effect::OptOutOfMarketing { source } => {
                let Some(contact_id) = target.contact_id else { continue };
                // Who went into another has no word any more: it is the person's.
                let people = People::load(gateway, &[contact_id.0]).await.map_err(away)?;
                let person = people.get(contact_id.0).map_or(contact_id.0, |person| person.id);
                let command = ContactCommand::OptOut {
                    category: Some(TemplateCategory::Marketing),
                    source: source.clone(),
                    evidence: None,
                    said_at: shown_at,
                    at,
                };
                orders.push(Order::Contact(person, command));
            }
        }
    }
    Ok(orders)
}

fn away(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> FeedError {
    FeedError::Unavailable(error.into())
}

/// Paused ones too: whichever pause lasts longer holds. The read model may be behind, so the account that heard of it is
/// paused whatever that says.
fn to_all(
    heard_by: AccountId,
    accounts: impl Iterator<Item = (Uuid, Account)>,
    command: &AccountCommand,
) -> Vec<Order> {
    let connected = accounts.filter(|(_, account)| account.status != AccountStatus::Disconnected);
    let others = connected.map(|(id, _)| id).filter(|id| *id != heard_by.0);
    let ids = std::iter::once(heard_by.0).chain(others);
    ids.map(|id| Order::Account(id, command.clone())).collect()
}
