//! Whose an item is: by the number's id, else by the WABA, only among accounts that hold the path account's app secret.
//! Several numbers of one Meta app share one callback; whoever knows another app's secret speaks for nobody else.

use std::collections::HashMap;
use std::time::Duration;

use super::error::ItemError;
use crate::app::{Gateway, RECENT};
use crate::worker;
use domain::account::{Account, AccountStatus, Credential};
use domain::port::EventFeed;
use domain::primitives::AccountId;
use infrastructure::webhook::interpret::Interpreted;
use projections::names;

/// How long the list of accounts may take to catch up with the log before the page is read again.
const CATCH_UP: Duration = Duration::from_secs(5);

/// An account that an item is for.
#[derive(Clone, Debug)]
pub struct Target {
    pub id: AccountId,
    pub account: Account,
}

/// Routes of one page; accounts are looked up once.
pub struct Routes<'a> {
    gateway: &'a Gateway,
    accounts: Option<Vec<Target>>,
    /// The accounts are those of a list that was current in this page.
    looked_twice: bool,
    by_path: HashMap<AccountId, Option<String>>,
}

impl<'a> Routes<'a> {
    pub fn new(gateway: &'a Gateway) -> Self {
        Self { gateway, accounts: None, looked_twice: false, by_path: HashMap::new() }
    }

    /// The accounts an item is for: one for what names a number, all of the WABA for what names only that. Nobody:
    /// the item is somebody else's.
    pub async fn of(
        &mut self,
        path_account: AccountId,
        item: &Interpreted,
    ) -> Result<Vec<Target>, ItemError> {
        let Some(secret) = self.secret_of(path_account).await? else { return Ok(vec![]) };
        if self.accounts.is_none() {
            self.accounts = Some(all_accounts(self.gateway, RECENT).await?);
        }
        let found = matching(self.accounts.as_deref().unwrap_or_default(), &secret, item);
        if !found.is_empty() || self.looked_twice {
            return Ok(found);
        }
        // The list of accounts may be a moment behind the log: an account that was just connected is not foreign.
        let head = self.gateway.ledger.head().await?;
        if self.gateway.read.wait_for(names::DIRECTORY, head, CATCH_UP).await.is_err() {
            return Err(ItemError::StoreAway(anyhow::anyhow!("the list of accounts is behind")));
        }
        self.looked_twice = true;
        let accounts = all_accounts(self.gateway, Duration::ZERO).await?;
        let found = matching(&accounts, &secret, item);
        self.accounts = Some(accounts);
        Ok(found)
    }

    async fn secret_of(&mut self, path_account: AccountId) -> Result<Option<String>, ItemError> {
        if let Some(known) = self.by_path.get(&path_account) {
            return Ok(known.clone());
        }
        let loaded = self.gateway.bus.recall::<Account>(path_account.0, RECENT).await?;
        let secret = loaded
            .and_then(|loaded| loaded.aggregate.credentials.get(&Credential::AppSecret).cloned())
            .map(|reference| reference.fingerprint);
        self.by_path.insert(path_account, secret.clone());
        Ok(secret)
    }
}

/// The list comes from a read model, what each account is from the log: credentials may have been rotated just now.
async fn all_accounts(gateway: &Gateway, age: Duration) -> Result<Vec<Target>, ItemError> {
    let listed = worker::all_accounts(gateway).await?;
    let ids: Vec<_> = listed.into_iter().map(|(id, _)| id.0).collect();
    let mut accounts = gateway.bus.recall_many::<Account>(&ids, age).await?;
    Ok(ids
        .into_iter()
        .filter_map(|id| {
            let account = accounts.remove(&id)?.aggregate;
            Some(Target { id: AccountId(id), account })
        })
        .filter(|target| target.account.status != AccountStatus::Disconnected)
        .collect())
}

/// Those that hold this app secret and are what the item names.
fn matching(accounts: &[Target], secret: &str, item: &Interpreted) -> Vec<Target> {
    let candidates = accounts.iter().filter(|target| {
        let held = target.account.credentials.get(&Credential::AppSecret);
        held.is_some_and(|held| held.fingerprint == secret)
    });
    if let Some(number) = &item.phone_number_id {
        return candidates.filter(|t| t.account.phone_number_id == *number).cloned().collect();
    }
    let of_waba =
        candidates.filter(|target| Some(&target.account.waba_id) == item.waba_id.as_ref());
    match &item.display_phone_number {
        None => of_waba.cloned().collect(),
        Some(display) => {
            of_waba.filter(|target| has_display_number(&target.account, display)).cloned().collect()
        }
    }
}

/// Number-level items name the number only as people write it.
fn has_display_number(account: &Account, display: &str) -> bool {
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    account.display_phone_number.as_deref().is_some_and(|known| digits(known) == digits(display))
}
