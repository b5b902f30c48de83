//! How much of Meta's call budgets is used, as the response headers tell (reference: section 1.3).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::wire::lenient;

/// `x-business-use-case-usage`
pub const BUSINESS_USAGE_HEADER: &str = "x-business-use-case-usage";
/// `x-app-usage`
pub const APP_USAGE_HEADER: &str = "x-app-usage";

/// What the headers of an answer said; empty where there were none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub budgets: Vec<Budget>,
}

/// One budget. The counters are percentages; at 100 calls are turned away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// The business or WABA; `None` for the app's own.
    pub object_id: Option<String>,
    /// `whatsapp_business_management`, `whatsapp` …
    pub kind: Option<String>,
    pub call_count_percent: i64,
    pub cpu_time_percent: i64,
    pub total_time_percent: i64,
    pub minutes_to_regain_access: i64,
}

#[derive(Deserialize)]
struct Printed {
    #[serde(default, rename = "type", deserialize_with = "lenient::text")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "lenient::whole")]
    call_count: Option<i64>,
    #[serde(default, deserialize_with = "lenient::whole")]
    total_cputime: Option<i64>,
    #[serde(default, deserialize_with = "lenient::whole")]
    total_time: Option<i64>,
    #[serde(default, deserialize_with = "lenient::whole")]
    estimated_time_to_regain_access: Option<i64>,
}

impl Usage {
    /// Reads the two headers. What cannot be read is left out: they inform and are never required.
    pub fn parse(business: Option<&str>, app: Option<&str>) -> Self {
        let by_object: BTreeMap<String, Vec<Value>> = read(business).unwrap_or_default();
        let of_business = by_object.into_iter().flat_map(|(object_id, budgets)| {
            let printed =
                budgets.into_iter().filter_map(|budget| serde_json::from_value(budget).ok());
            printed
                .map(move |printed| Budget::of(Some(object_id.clone()), printed))
                .collect::<Vec<_>>()
        });
        let of_app = read::<Printed>(app).map(|printed| Budget::of(None, printed));
        Self { budgets: of_business.chain(of_app).collect() }
    }

    /// The highest percentage of any budget.
    pub fn busiest_percent(&self) -> i64 {
        let percents = |budget: &Budget| {
            budget.call_count_percent.max(budget.cpu_time_percent).max(budget.total_time_percent)
        };
        self.budgets.iter().map(percents).max().unwrap_or(0)
    }

    /// The longest time until access comes back, where a budget is used up.
    pub fn regain_access(&self) -> Option<Duration> {
        let minutes = self.budgets.iter().map(|budget| budget.minutes_to_regain_access).max()?;
        let minutes = u64::try_from(minutes).ok().filter(|minutes| *minutes > 0)?;
        Some(Duration::from_secs(minutes.saturating_mul(60)))
    }
}

impl Budget {
    fn of(object_id: Option<String>, printed: Printed) -> Self {
        Self {
            object_id,
            kind: printed.kind,
            call_count_percent: printed.call_count.unwrap_or(0),
            cpu_time_percent: printed.total_cputime.unwrap_or(0),
            total_time_percent: printed.total_time.unwrap_or(0),
            minutes_to_regain_access: printed.estimated_time_to_regain_access.unwrap_or(0),
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(header: Option<&str>) -> Option<T> {
    serde_json::from_str(header?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_headers_are_read_and_broken_ones_ignored() {
        let business = r#"{"301":[{"type":"whatsapp_business_management","call_count":97,"total_cputime":1,
            "total_time":2,"estimated_time_to_regain_access":0},{"type":"whatsapp","call_count":100,
            "estimated_time_to_regain_access":"7"}]}"#;
        let usage = Usage::parse(
            Some(business),
            Some(r#"{"call_count":3,"total_cputime":0,"total_time":0}"#),
        );
        assert_eq!(usage.budgets.len(), 3);
        assert_eq!((usage.busiest_percent(), usage.regain_access().unwrap().as_secs()), (100, 420));
        assert_eq!(Usage::parse(Some("<html>"), Some("3")), Usage::default());
        assert_eq!(Usage::default().regain_access(), None);
    }
}
