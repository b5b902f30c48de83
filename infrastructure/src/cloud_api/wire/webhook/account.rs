//! What Meta reports about numbers, accounts and their security (reference: section 4.12). Some of these name a number
//! only by its display form: match digits.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cloud_api::wire::lenient::{self, UnixTime};
use crate::cloud_api::wire::{Extra, ItemError, open_enum, read_items};

/// A number's throughput or limit changed. There is no phone number id in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhoneNumberQuality {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub display_phone_number: Option<String>,
    /// `ONBOARDING`, `THROUGHPUT_UPGRADE`; older: `UPGRADE`, `DOWNGRADE`, `FLAGGED`, `UNFLAGGED`.
    #[serde(deserialize_with = "lenient::id")]
    pub event: String,
    /// `TIER_…`
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub max_daily_conversations_per_business: Option<String>,
    /// Until February 2026.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub current_limit: Option<String>,
    #[serde(flatten)]
    pub extra: Extra,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhoneNumberName {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub display_phone_number: Option<String>,
    /// `APPROVED`, `REJECTED`, `PENDING`, `DEFERRED`
    #[serde(deserialize_with = "lenient::id")]
    pub decision: String,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub requested_verified_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub rejection_reason: Option<String>,
    #[serde(flatten)]
    pub extra: Extra,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccountAlert {
    /// `BUSINESS`, `PHONE_NUMBER`, `CURRENT_STATUS_ID`
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub entity_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub entity_id: Option<String>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub alert_info: Option<AlertInfo>,
    #[serde(flatten)]
    pub extra: Extra,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertInfo {
    /// `CRITICAL`, `WARNING`, `INFORMATIONAL`
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub alert_severity: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub alert_status: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub alert_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub alert_description: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccountReview {
    /// `APPROVED`, `REJECTED`, `PENDING`, `DEFERRED`
    #[serde(deserialize_with = "lenient::id")]
    pub decision: String,
    #[serde(flatten)]
    pub extra: Extra,
}

open_enum! {
    /// What happened to a WABA.
    pub enum AccountEvent {
        AccountViolation = "ACCOUNT_VIOLATION",
        AccountRestriction = "ACCOUNT_RESTRICTION",
        DisabledUpdate = "DISABLED_UPDATE",
        AccountDeleted = "ACCOUNT_DELETED",
        AccountOffboarded = "ACCOUNT_OFFBOARDED",
        AccountReconnected = "ACCOUNT_RECONNECTED",
        PartnerAdded = "PARTNER_ADDED",
        PartnerRemoved = "PARTNER_REMOVED",
        PartnerAppInstalled = "PARTNER_APP_INSTALLED",
        PartnerAppUninstalled = "PARTNER_APP_UNINSTALLED",
        AuthIntlPriceEligibilityUpdate = "AUTH_INTL_PRICE_ELIGIBILITY_UPDATE",
        BusinessPrimaryLocationCountryUpdate = "BUSINESS_PRIMARY_LOCATION_COUNTRY_UPDATE",
        VolumeBasedPricingTierUpdate = "VOLUME_BASED_PRICING_TIER_UPDATE",
        MmLiteTermsSigned = "MM_LITE_TERMS_SIGNED",
        AdAccountLinked = "AD_ACCOUNT_LINKED",
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccountUpdate {
    pub event: AccountEvent,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub phone_number: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub country: Option<String>,
    /// `{violation_type}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub violation_info: Option<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::items")]
    pub restriction_info: Vec<Value>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub ban_info: Option<BanInfo>,
    /// Goes before the entry's id, which is a portfolio's for partner events.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none"
    )]
    pub waba_info: Option<WabaInfo>,
    /// `{reason, initiated_by}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disconnection_info: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_tier_info: Option<Value>,
    #[serde(flatten)]
    pub extra: Extra,
}

impl AccountUpdate {
    pub fn restrictions(&self) -> impl Iterator<Item = Result<Restriction, ItemError>> {
        read_items("restriction", &self.restriction_info)
    }

    /// The kind of violation (`SPAM` …), where this reports one.
    pub fn violation(&self) -> Option<&str> {
        self.violation_info.as_ref()?.get("violation_type")?.as_str()
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Restriction {
    /// `RESTRICTED_BIZ_INITIATED_MESSAGING` (no templates), `RESTRICTED_CUSTOMER_INITIATED_MESSAGING` (no replies) …
    #[serde(deserialize_with = "lenient::id")]
    pub restriction_type: String,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::or_none",
        serialize_with = "lenient::as_number"
    )]
    pub expiration: Option<UnixTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remediation: Option<Value>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanInfo {
    /// `SCHEDULE_FOR_DISABLE`, `DISABLE`, `REINSTATE`
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub waba_ban_state: Option<String>,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub waba_ban_date: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WabaInfo {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub waba_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub owner_business_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub partner_app_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub solution_id: Option<String>,
}

/// Limits of the portfolio. The first is printed as a number (−1: unlimited) or as `TIER_…`; see [`Self::tier`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BusinessCapability {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_daily_conversations_per_business: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_daily_conversation_per_phone: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::whole")]
    pub max_phone_numbers_per_business: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::whole")]
    pub max_phone_numbers_per_waba: Option<i64>,
    #[serde(flatten)]
    pub extra: Extra,
}

impl BusinessCapability {
    /// The messaging limit in the words of REST, `TIER_2K`, however it was printed.
    pub fn tier(&self) -> Option<String> {
        let printed = self.max_daily_conversations_per_business.as_ref()?;
        let number = printed.as_i64().or_else(|| printed.as_str()?.parse().ok());
        match number {
            None => printed.as_str().filter(|text| !text.is_empty()).map(str::to_owned),
            Some(-1) => Some("TIER_UNLIMITED".to_owned()),
            Some(count) if count > 0 && count % 1000 == 0 => {
                Some(format!("TIER_{}K", count / 1000))
            }
            Some(count) if count >= 0 => Some(format!("TIER_{count}")),
            Some(_) => None,
        }
    }
}

/// Two-step verification of a number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Security {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub display_phone_number: Option<String>,
    /// `PIN_CHANGED`, `PIN_RESET_REQUEST`, `PIN_REQUEST_SUCCESS`
    #[serde(deserialize_with = "lenient::id")]
    pub event: String,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub requester: Option<String>,
    #[serde(flatten)]
    pub extra: Extra,
}

/// The business's own username.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BusinessUsername {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub display_phone_number: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub username: Option<String>,
    /// `approved`, `reserved`, `deleted`
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub status: Option<String>,
    #[serde(flatten)]
    pub extra: Extra,
}
