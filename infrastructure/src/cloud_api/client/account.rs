//! Numbers, WABAs and where their webhooks go (reference: sections 4.5 and 8).

use serde_json::json;

use super::{Access, CallError, CloudApi, Listing, done};
use crate::cloud_api::wire::response::{
    HealthResponse, HealthStatus, ObjectRef, PhoneNumber, SubscribedApp, Success, Waba,
};
use crate::crypto::secret::Secret;

/// What is asked for about a number.
pub const NUMBER_FIELDS: &str = "id,display_phone_number,verified_name,status,quality_rating,code_verification_status,\
                                 name_status,platform_type,account_mode,throughput,\
                                 whatsapp_business_manager_messaging_limit,is_on_biz_app";
const WABA_FIELDS: &str = "id,name,currency,timezone_id,account_review_status";

/// The longest callback URL that Meta takes as an override, in characters.
const CALLBACK_URI_CHARS_MAX: usize = 200;
/// The digits of a two-step PIN.
const PIN_DIGITS: usize = 6;

/// A permission that is missing makes Meta refuse every field at once, with one of these.
const FIELD_REFUSALS: [i64; 2] = [10, 100];

/// A callback of its own for one WABA or number.
#[derive(Clone, Debug)]
pub struct CallbackOverride {
    /// https, at most 200 characters. Meta calls it at once to verify.
    pub uri: String,
    pub verify_token: Secret,
}

impl CallbackOverride {
    fn check(&self) -> Result<(), CallError> {
        if self.uri.is_empty() || self.uri.chars().count() > CALLBACK_URI_CHARS_MAX {
            return Err(CallError::Invalid {
                field: "callback",
                problem: "a URL of at most 200 characters",
            });
        }
        Ok(())
    }
}

impl CloudApi {
    /// A number, with all the fields that the token may read.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn phone_number(
        &self,
        access: &Access,
        phone_number_id: &str,
    ) -> Result<PhoneNumber, CallError> {
        match self.get(access, &[phone_number_id], &[("fields", NUMBER_FIELDS)]).await {
            Err(error) if is_about_fields(&error) => {
                self.get(access, &[phone_number_id], &[]).await
            }
            answer => answer,
        }
    }

    /// The numbers of a WABA.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn phone_numbers(
        &self,
        access: &Access,
        waba_id: &str,
    ) -> Result<Listing<PhoneNumber>, CallError> {
        let path = [waba_id, "phone_numbers"];
        match self.list(access, &path, &[("fields", NUMBER_FIELDS)], "phone number").await {
            Err(error) if is_about_fields(&error) => {
                self.list(access, &path, &[], "phone number").await
            }
            listing => listing,
        }
    }

    /// # Errors
    /// [`CallError`]
    pub async fn waba(&self, access: &Access, waba_id: &str) -> Result<Waba, CallError> {
        match self.get(access, &[waba_id], &[("fields", WABA_FIELDS)]).await {
            Err(error) if is_about_fields(&error) => self.get(access, &[waba_id], &[]).await,
            answer => answer,
        }
    }

    /// The portfolio that owns a WABA: messaging limits are shared within it. `None` where the token may not know.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn portfolio_of(
        &self,
        access: &Access,
        waba_id: &str,
    ) -> Result<Option<ObjectRef>, CallError> {
        let answer =
            self.get::<Waba>(access, &[waba_id], &[("fields", "id,owner_business_info")]).await;
        match answer {
            Ok(waba) => Ok(waba.owner_business_info),
            Err(error) if is_about_fields(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether messages can be sent, by number, WABA or template; as good as the worst entity.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn health(
        &self,
        access: &Access,
        object_id: &str,
    ) -> Result<HealthStatus, CallError> {
        let answer: HealthResponse =
            self.get(access, &[object_id], &[("fields", "health_status")]).await?;
        Ok(answer.health_status)
    }

    /// Registers a number for the Cloud API; sets the PIN if there is none. Ten times in 72 hours; never to be looped,
    /// since wrong PINs lock the number.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn register(
        &self,
        access: &Access,
        phone_number_id: &str,
        pin: &Secret,
    ) -> Result<(), CallError> {
        let digits = pin.expose();
        if digits.len() != PIN_DIGITS || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(CallError::Invalid { field: "pin", problem: "exactly six digits" });
        }
        let body = json!({ "messaging_product": "whatsapp", "pin": digits });
        done(self.post::<Success>(access, &[phone_number_id, "register"], &body).await?)
    }

    /// Subscribes the token's app to a WABA's webhooks: without it none arrive. With a callback they go there, without
    /// one an earlier override is taken away.
    ///
    /// # Errors
    /// [`CallError`]; repeating does no harm.
    pub async fn subscribe(
        &self,
        access: &Access,
        waba_id: &str,
        callback: Option<&CallbackOverride>,
    ) -> Result<(), CallError> {
        let body = match callback {
            Some(callback) => {
                callback.check()?;
                json!({ "override_callback_uri": callback.uri, "verify_token": callback.verify_token.expose() })
            }
            None => json!({}),
        };
        done(self.post::<Success>(access, &[waba_id, "subscribed_apps"], &body).await?)
    }

    /// The apps that get a WABA's webhooks.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn subscribed_apps(
        &self,
        access: &Access,
        waba_id: &str,
    ) -> Result<Listing<SubscribedApp>, CallError> {
        self.list(access, &[waba_id, "subscribed_apps"], &[], "app").await
    }

    /// Ends the subscription of the token's app.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn unsubscribe(&self, access: &Access, waba_id: &str) -> Result<(), CallError> {
        self.delete(access, &[waba_id, "subscribed_apps"], &[]).await
    }

    /// Sends one number's webhooks to a callback of its own, or (`None`) back to the WABA's or the app's.
    ///
    /// # Errors
    /// [`CallError`]; repeating does no harm.
    pub async fn set_number_callback(
        &self,
        access: &Access,
        phone_number_id: &str,
        callback: Option<&CallbackOverride>,
    ) -> Result<(), CallError> {
        let configuration = match callback {
            Some(callback) => {
                callback.check()?;
                json!({ "override_callback_uri": callback.uri, "verify_token": callback.verify_token.expose() })
            }
            None => json!({ "override_callback_uri": "" }),
        };
        let body = json!({ "webhook_configuration": configuration });
        done(self.post::<Success>(access, &[phone_number_id], &body).await?)
    }
}

fn is_about_fields(error: &CallError) -> bool {
    error.code().is_some_and(|code| FIELD_REFUSALS.contains(&code))
}
