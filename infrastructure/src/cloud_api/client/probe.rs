//! What a token can see and do, before anything rests on it.

use chrono::{DateTime, Days, Utc};

use super::{Access, CallError, CloudApi};
use crate::cloud_api::wire::read_items;
use crate::cloud_api::wire::response::{DebugToken, GranularScope, PhoneNumber, TokenInfo};

/// The permissions a gateway needs: to send, and for everything else.
pub const PERMISSIONS: [&str; 2] = ["whatsapp_business_messaging", "whatsapp_business_management"];

/// The most WABAs that one probe looks at.
const WABAS_MAX: usize = 50;
/// A token that ends sooner than this is a problem now.
const EXPIRY_WARNING: Days = Days::new(7);

/// What a token can see and do.
#[derive(Clone, Debug)]
pub struct TokenProbe {
    /// The token works and nothing is missing.
    pub ok: bool,
    pub app_id: Option<String>,
    /// `SYSTEM_USER`, `USER` …
    pub kind: Option<String>,
    /// `None` for never.
    pub expires_at: Option<DateTime<Utc>>,
    pub permissions: Vec<String>,
    pub wabas: Vec<VisibleWaba>,
    /// What is wrong, in sentences for people.
    pub problems: Vec<String>,
}

/// A WABA that a token can read.
#[derive(Clone, Debug)]
pub struct VisibleWaba {
    pub id: String,
    pub name: Option<String>,
    pub numbers: Vec<PhoneNumber>,
}

impl CloudApi {
    /// The id of the app that a token is of; `None`: WhatsApp did not say.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn app_id(&self, access: &Access) -> Result<Option<String>, CallError> {
        // A token may inspect itself. Meta takes the inspected one nowhere but in the query.
        let query = [("input_token", access.token.expose())];
        Ok(self.get::<DebugToken>(access, &["debug_token"], &query).await?.data.app_id)
    }

    /// Looks at a token from all sides. `also` names WABAs to look at besides those the token names itself. What WhatsApp
    /// refuses is a problem in the answer.
    ///
    /// # Errors
    /// [`CallError`] only where WhatsApp could not be asked at all.
    pub async fn probe(
        &self,
        access: &Access,
        also: &[String],
        now: DateTime<Utc>,
    ) -> Result<TokenProbe, CallError> {
        let mut problems = Vec::new();
        // A token may inspect itself. Meta takes the inspected one nowhere but in the query.
        let query = [("input_token", access.token.expose())];
        let info = match self.get::<DebugToken>(access, &["debug_token"], &query).await {
            Ok(answer) => answer.data,
            Err(CallError::Refused(error)) => {
                problems.push(format!(
                    "WhatsApp refuses to inspect the token: {}",
                    error.consequence.explanation()
                ));
                let stops = error.consequence.account_stop;
                TokenInfo { is_valid: !stops, ..TokenInfo::default() }
            }
            Err(error) => return Err(error),
        };
        let expires_at =
            info.expires_at.filter(|at| *at > 0).and_then(|at| DateTime::from_timestamp(at, 0));
        let inspected = problems.is_empty();
        if inspected {
            problems.extend(token_problems(&info, expires_at, now));
        }
        let (mut waba_ids, sees_all) = targets(&info);
        waba_ids.extend(also.iter().filter(|id| !id.is_empty()).cloned());
        waba_ids.sort();
        waba_ids.dedup();
        let mut wabas = Vec::new();
        if info.is_valid {
            if waba_ids.is_empty() && inspected {
                problems.push(
                    if sees_all {
                        "The token holds for every account of its user, and WhatsApp does not list them: name the \
                         WhatsApp Business account's id."
                    } else {
                        "The token names no WhatsApp Business account: assign one to its system user."
                    }
                    .to_owned(),
                );
            }
            if waba_ids.len() > WABAS_MAX {
                problems.push(format!(
                    "The token sees {} accounts; only {WABAS_MAX} are shown.",
                    waba_ids.len()
                ));
            }
            for id in waba_ids.into_iter().take(WABAS_MAX) {
                match self.look_at(access, id, &mut problems).await? {
                    Some(waba) => wabas.push(waba),
                    None => continue,
                }
            }
        }
        Ok(TokenProbe {
            ok: info.is_valid && problems.is_empty(),
            app_id: info.app_id,
            kind: info.kind,
            expires_at,
            permissions: info.scopes,
            wabas,
            problems,
        })
    }

    async fn look_at(
        &self,
        access: &Access,
        id: String,
        problems: &mut Vec<String>,
    ) -> Result<Option<VisibleWaba>, CallError> {
        let refused = |error: &super::GraphError| {
            format!(
                "WhatsApp Business account {id} cannot be read: {}",
                error.consequence.explanation()
            )
        };
        let name = match self.waba(access, &id).await {
            Ok(waba) => waba.name,
            Err(CallError::Refused(error)) => {
                problems.push(refused(&error));
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let numbers = match self.phone_numbers(access, &id).await {
            Ok(listing) => {
                problems.extend(
                    listing
                        .unreadable
                        .iter()
                        .map(|error| format!("A number of account {id}: {error}.")),
                );
                listing.items
            }
            Err(CallError::Refused(error)) => {
                problems.push(refused(&error));
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        Ok(Some(VisibleWaba { id, name, numbers }))
    }
}

fn token_problems(
    info: &TokenInfo,
    expires_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Vec<String> {
    let mut problems = Vec::new();
    if !info.is_valid {
        problems.push(
            "The token is not valid (any more): make a new one for the system user.".to_owned(),
        );
    }
    for permission in PERMISSIONS {
        if !info.scopes.iter().any(|scope| scope == permission) {
            problems.push(format!("The token lacks the permission {permission}."));
        }
    }
    if let Some(at) = expires_at
        && now.checked_add_days(EXPIRY_WARNING).is_some_and(|soon| at < soon)
    {
        let at = at.format("%Y-%m-%d %H:%M UTC");
        problems.push(format!(
            "The token ends on {at}: use a system user's token, which can last for ever."
        ));
    }
    problems
}

/// The WABAs that the permissions name, and whether one holds for all there are.
fn targets(info: &TokenInfo) -> (Vec<String>, bool) {
    let scopes: Vec<GranularScope> =
        read_items("scope", &info.granular_scopes).filter_map(Result::ok).collect();
    let ours: Vec<_> =
        scopes.into_iter().filter(|scope| PERMISSIONS.contains(&scope.scope.as_str())).collect();
    let sees_all = ours.iter().any(|scope| scope.target_ids.is_empty());
    (ours.into_iter().flat_map(|scope| scope.target_ids).collect(), sees_all)
}
