//! Whose an item is: by the number's id, else by the WABA, only among accounts that hold the path account's app secret.
//! Several numbers of one Meta app share one callback; whoever knows another app's secret speaks for nobody else.

use std::collections::HashMap;

use crate::app::Gateway;
use crate::worker;
use domain::account::{Account, AccountStatus, Credential};
use domain::primitives::AccountId;
use infrastructure::webhook::interpret::Interpreted;

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
    by_path: HashMap<AccountId, Option<String>>,
}

impl<'a> Routes<'a> {
    pub fn new(gateway: &'a Gateway) -> Self {
        Self { gateway, accounts: None, by_path: HashMap::new() }
    }

    /// The accounts an item is for: one for what names a number, all of the WABA for what names only that.
    pub async fn of(
        &mut self,
        path_account: AccountId,
        item: &Interpreted,
    ) -> anyhow::Result<Vec<Target>> {
        let Some(secret) = self.secret_of(path_account).await? else { return Ok(vec![]) };
        let gateway = self.gateway;
        let accounts = match &mut self.accounts {
            Some(accounts) => accounts,
            none => none.insert(all_accounts(gateway).await?),
        };
        let shares_secret = |target: &&Target| {
            target
                .account
                .credentials
                .get(&Credential::AppSecret)
                .is_some_and(|c| c.fingerprint == secret)
        };
        let candidates = accounts.iter().filter(shares_secret);
        if let Some(number) = &item.phone_number_id {
            return Ok(candidates
                .filter(|t| t.account.phone_number_id == *number)
                .cloned()
                .collect());
        }
        let of_waba =
            candidates.filter(|target| Some(&target.account.waba_id) == item.waba_id.as_ref());
        let Some(display) = &item.display_phone_number else {
            return Ok(of_waba.cloned().collect());
        };
        Ok(of_waba.filter(|target| has_display_number(&target.account, display)).cloned().collect())
    }

    async fn secret_of(&mut self, path_account: AccountId) -> anyhow::Result<Option<String>> {
        if let Some(known) = self.by_path.get(&path_account) {
            return Ok(known.clone());
        }
        let loaded = self.gateway.bus.load::<Account>(path_account.0).await?;
        let secret = loaded
            .and_then(|loaded| loaded.aggregate.credentials.get(&Credential::AppSecret).cloned())
            .map(|reference| reference.fingerprint);
        self.by_path.insert(path_account, secret.clone());
        Ok(secret)
    }
}

async fn all_accounts(gateway: &Gateway) -> anyhow::Result<Vec<Target>> {
    let accounts = worker::all_accounts(gateway).await?;
    Ok(accounts
        .into_iter()
        .filter(|(_, account)| account.status != AccountStatus::Disconnected)
        .map(|(id, account)| Target { id, account })
        .collect())
}

/// Number-level items name the number only as people write it.
fn has_display_number(account: &Account, display: &str) -> bool {
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    account.display_phone_number.as_deref().is_some_and(|known| digits(known) == digits(display))
}
