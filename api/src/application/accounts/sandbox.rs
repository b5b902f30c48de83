//! The number of a SANDBOX account, in the sandbox that runs inside the gateway.

use domain::account::{Account, AccountProvider, Credential};
use domain::primitives::AccountId;
use infrastructure::sandbox::{NumberSpec, TemplateVerdict};

use tracing::warn;

use super::callback_path;
use crate::app::Gateway;

/// Lets a SANDBOX account that was just connected be used at once; any other is left alone. What fails here is tried
/// again with the account's next check.
pub async fn make_ready(gateway: &Gateway, id: AccountId) {
    let account = match gateway.bus.load::<Account>(id.0).await {
        Ok(Some(loaded)) if loaded.aggregate.provider == Some(AccountProvider::Sandbox) => {
            loaded.aggregate
        }
        Ok(_) => return,
        Err(error) => {
            warn!(account.id = %id, %error, "the sandbox could not be given the number yet");
            return;
        }
    };
    if let Err(error) = provision(gateway, id, &account).await {
        warn!(account.id = %id, error = %format!("{error:#}"), "the sandbox could not be given the number yet");
    }
}

/// Gives the built-in sandbox the number; its webhooks come to our own listener. Doing it again changes nothing.
///
/// # Errors
/// Where a credential is missing, or the sandbox cannot keep the number.
pub async fn provision(gateway: &Gateway, id: AccountId, account: &Account) -> anyhow::Result<()> {
    let secret =
        async |kind| anyhow::Ok(gateway.credential(account, kind).await?.expose().to_owned());
    let mut spec = NumberSpec::new(
        account.phone_number_id.clone(),
        account.waba_id.clone(),
        secret(Credential::AccessToken).await?,
        secret(Credential::AppSecret).await?,
    );
    spec.webhook_url = gateway.local_url().join(&callback_path(id)).ok().map(Into::into);
    spec.verify_token = Some(secret(Credential::VerifyToken).await?);
    spec.verified_name.clone_from(&account.settings.name);
    spec.messages_per_second =
        account.settings.messages_per_second.unwrap_or(spec.messages_per_second);
    // Nobody reviews templates in a sandbox unless a test plays Meta.
    spec.template_verdict = TemplateVerdict::Approve;
    gateway.sandbox.sandbox.provision(spec)?;
    Ok(())
}
