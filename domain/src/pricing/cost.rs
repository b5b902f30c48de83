//! From messages to money.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Amount, BillingCategory, Currency, Price, RateCard};
use crate::primitives::Country;
use crate::template::TemplateCategory;

/// From this day on WhatsApp bills service messages, and utility templates inside the service window (reference: section
/// 6.5). Before it both were free there.
const WINDOW_BILLED_FROM: Option<NaiveDate> = NaiveDate::from_ymd_opt(2026, 10, 1);

/// WhatsApp's word for "this number's first messages of the month, and the like": nothing is due.
const FREE: &str = "free";
const REGULAR: &str = "regular";

/// What a message that is yet to be sent would cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Estimate {
    /// WhatsApp bills nothing for it.
    Free,
    Price(Price),
    /// The card has no rate, or nobody knows the country: no amount can be told.
    Unknown,
}

/// What a message of this category would cost on this day (UTC). `category`: `None` is free-form content. `in_window`: the
/// person wrote within the last 24 h. An estimate: WhatsApp may know of a free entry point, a tier or a free allowance.
pub fn estimate(
    card: &RateCard,
    category: Option<TemplateCategory>,
    country: Option<Country>,
    day: NaiveDate,
    in_window: bool,
) -> Estimate {
    if !is_billed(category, day, in_window) {
        return Estimate::Free;
    }
    let price = country.and_then(|country| card.price(country, BillingCategory::of(category), day));
    price.map_or(Estimate::Unknown, Estimate::Price)
}

fn is_billed(category: Option<TemplateCategory>, day: NaiveDate, in_window: bool) -> bool {
    let is_free_before = match category {
        Some(TemplateCategory::Utility) => in_window,
        Some(TemplateCategory::Marketing | TemplateCategory::Authentication) => false,
        None => true,
    };
    !is_free_before || WINDOW_BILLED_FROM.is_some_and(|from| day >= from)
}

/// What one message is billed as. Messages with equal bills cost the same, so they are counted and not listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Bill {
    /// `None`: nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<Country>,
    /// `None`: a word of WhatsApp's that this version does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<BillingCategory>,
    pub billable: bool,
    /// WhatsApp has not said so yet.
    pub assumed: bool,
    /// The day (UTC) whose rate holds.
    pub day: NaiveDate,
}

impl Bill {
    /// As WhatsApp reported it.
    pub fn reported(country: Option<Country>, pricing: &Value, day: NaiveDate) -> Self {
        let (category, billable) = reported(pricing);
        Self { country, category, billable, assumed: false, day }
    }

    /// Its parts in one text, to count by: `DE|MARKETING|1|0|2026-11-27`.
    pub fn key(&self) -> String {
        let flag = |flag: bool| if flag { "1" } else { "0" };
        format!(
            "{}|{}|{}|{}|{}",
            self.country.map(|country| country.to_string()).unwrap_or_default(),
            self.category.map_or("", BillingCategory::as_str),
            flag(self.billable),
            flag(self.assumed),
            self.day
        )
    }

    /// `None` for anything but what [`Self::key`] writes.
    pub fn parse_key(key: &str) -> Option<Self> {
        let mut parts = key.split('|');
        let mut next = || parts.next();
        let (country, category, billable, assumed, day) =
            (next()?, next()?, next()?, next()?, next()?);
        let bill = Self {
            country: Country::parse(country).ok(),
            category: BillingCategory::parse(category),
            billable: billable == "1",
            assumed: assumed == "1",
            day: day.parse().ok()?,
        };
        (bill.key() == key).then_some(bill)
    }

    /// Before WhatsApp says anything: by the template's category, outside the window.
    pub fn assumed(
        country: Option<Country>,
        category: Option<TemplateCategory>,
        day: NaiveDate,
    ) -> Self {
        let billable = is_billed(category, day, false);
        let category = Some(BillingCategory::of(category));
        Self { country, category, billable, assumed: true, day }
    }
}

/// The category and whether it is billed, from a status's pricing object. `billable` may go away; then the type says it.
pub fn reported(pricing: &Value) -> (Option<BillingCategory>, bool) {
    let text = |name: &str| pricing.get(name).and_then(Value::as_str);
    let category = text("category").and_then(BillingCategory::parse);
    let billable = pricing.get("billable").and_then(Value::as_bool).unwrap_or_else(|| {
        let kind = text("type").unwrap_or(REGULAR).to_ascii_lowercase();
        !kind.starts_with(FREE)
    });
    (category, billable)
}

/// What a number of messages cost together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// `None`: for some of them no rate is known, or their currencies differ.
    pub amount: Option<Amount>,
    /// `None` where there are several.
    pub currency: Option<Currency>,
    /// Of some of them WhatsApp has not said yet what they are billed as.
    pub estimated: bool,
}

/// What these messages cost by this card. `None` where there are none, or nothing is known of their currency.
pub fn cost<'a>(card: &RateCard, bills: impl IntoIterator<Item = (&'a Bill, u64)>) -> Option<Cost> {
    let (mut amount, mut currencies, mut estimated) = (Some(Amount::ZERO), Vec::new(), false);
    let mut any = false;
    for (bill, count) in bills.into_iter().filter(|(_, count)| *count > 0) {
        any = true;
        estimated |= bill.assumed;
        if !bill.billable {
            continue;
        }
        let price = bill
            .country
            .zip(bill.category)
            .and_then(|(country, category)| card.price(country, category, bill.day));
        let Some(price) = price else {
            amount = None;
            continue;
        };
        amount = amount.map(|sum| sum.plus(price.amount.times(count)));
        if !currencies.contains(&price.currency) {
            currencies.push(price.currency);
        }
    }
    if !any {
        return None;
    }
    match currencies.len() {
        // Nothing was billed: that costs nothing, in whatever currency the card is.
        0 => {
            let currency = card.currency()?.clone();
            amount.map(|amount| Cost { amount: Some(amount), currency: Some(currency), estimated })
        }
        1 => Some(Cost { amount, currency: currencies.pop(), estimated }),
        _ => Some(Cost { amount: None, currency: None, estimated }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::pricing::Rate;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn country(text: &str) -> Country {
        Country::parse(text).unwrap()
    }

    fn rate(countries: &[&str], category: BillingCategory, amount: &str, from: &str) -> Rate {
        Rate {
            countries: countries.iter().map(|text| country(text)).collect(),
            category,
            currency: Currency::parse("EUR").unwrap(),
            amount: Amount::parse(amount).unwrap(),
            valid_from: day(from),
        }
    }

    fn card() -> RateCard {
        use BillingCategory::{Marketing, Utility};
        RateCard::new(vec![
            rate(&["DE"], Marketing, "0.1131", "2026-01-01"),
            rate(&["DE"], Marketing, "0.12", "2026-12-01"),
            rate(&["US", "CA"], Marketing, "0.025", "2026-01-01"),
            rate(&[], Marketing, "0.06", "2026-06-01"),
            rate(&["DE"], Utility, "0.046", "2026-01-01"),
        ])
        .unwrap()
    }

    fn price(text: &str, category: BillingCategory, on: &str) -> Option<String> {
        card().price(country(text), category, day(on)).map(|price| price.amount.to_string())
    }

    #[test]
    fn the_youngest_line_that_has_begun_holds_and_a_named_country_goes_first() {
        use BillingCategory::{Marketing, Service, Utility};
        assert_eq!(price("DE", Marketing, "2026-11-30").as_deref(), Some("0.1131"));
        assert_eq!(price("DE", Marketing, "2026-12-01").as_deref(), Some("0.12"));
        assert_eq!(price("DE", Marketing, "2025-12-31"), None);
        assert_eq!(price("CA", Marketing, "2026-11-30").as_deref(), Some("0.025"));
        assert_eq!(price("FR", Marketing, "2026-11-30").as_deref(), Some("0.06"));
        assert_eq!(price("FR", Marketing, "2026-05-31"), None);
        assert_eq!(price("FR", Utility, "2026-11-30"), None);
        assert_eq!(price("DE", Service, "2026-11-30"), None);
    }

    #[test]
    fn two_lines_for_the_same_are_refused_with_their_place() {
        use BillingCategory::Marketing;
        let twice = vec![
            rate(&["DE", "AT"], Marketing, "0.1", "2026-01-01"),
            rate(&["AT"], Marketing, "0.2", "2026-01-01"),
        ];
        let error = RateCard::new(twice).unwrap_err();
        assert_eq!(error.field, "rates[1].countries");
        assert!(error.problem.contains("AT"), "{error}");
        let many = vec![rate(&[], Marketing, "0.1", "2026-01-01"); 2_001];
        assert_eq!(RateCard::new(many).unwrap_err().field, "rates");
    }

    #[test]
    fn an_estimate_knows_what_is_free_inside_the_window_and_since_when_no_longer() {
        let of = |category, on: &str, in_window| {
            estimate(&card(), category, Some(country("DE")), day(on), in_window)
        };
        let utility = Some(TemplateCategory::Utility);
        let amount = |text: &str| {
            let currency = Currency::parse("EUR").unwrap();
            Estimate::Price(Price { amount: Amount::parse(text).unwrap(), currency })
        };
        assert_eq!(of(utility, "2026-09-30", true), Estimate::Free);
        assert_eq!(of(utility, "2026-10-01", true), amount("0.046"));
        assert_eq!(of(utility, "2026-09-30", false), amount("0.046"));
        assert_eq!(of(None, "2026-09-30", true), Estimate::Free);
        assert_eq!(of(None, "2026-11-01", true), Estimate::Unknown);
        let marketing = Some(TemplateCategory::Marketing);
        assert_eq!(of(marketing, "2026-11-01", true), amount("0.1131"));
        let nowhere = estimate(&card(), marketing, None, day("2026-11-01"), false);
        assert_eq!(nowhere, Estimate::Unknown);
    }

    #[test]
    fn pricing_is_read_with_and_without_its_flag() {
        let words = |value: Value| reported(&value);
        let utility = Some(BillingCategory::Utility);
        assert_eq!(words(json!({ "billable": true, "category": "utility" })), (utility, true));
        let free = json!({ "type": "free_customer_service", "category": "utility" });
        assert_eq!(words(free), (utility, false));
        let regular = json!({ "type": "regular", "category": "authentication-international" });
        assert_eq!(words(regular), (Some(BillingCategory::AuthenticationInternational), true));
        assert_eq!(
            words(json!({ "billable": false, "category": "group_marketing" })),
            (None, false)
        );
    }

    fn bill(of: &str, billable: bool, assumed: bool) -> Bill {
        Bill {
            country: Some(country(of)),
            category: Some(BillingCategory::Marketing),
            billable,
            assumed,
            day: day("2026-11-27"),
        }
    }

    #[test]
    fn a_bill_is_read_back_from_its_key() {
        let nobody = Bill { country: None, category: None, ..bill("DE", false, true) };
        for bill in [bill("DE", true, false), bill("US", false, false), nobody] {
            assert_eq!(Bill::parse_key(&bill.key()), Some(bill));
        }
        assert_eq!(bill("DE", true, false).key(), "DE|MARKETING|1|0|2026-11-27");
        for text in
            ["", "DE|MARKETING|1|0", "DE|MARKETING|2|0|2026-11-27", "de|MARKETING|1|0|2026-11-27"]
        {
            assert_eq!(Bill::parse_key(text), None, "{text}");
        }
    }

    fn cost_of(bills: &[(Bill, u64)], card: &RateCard) -> Option<(Option<String>, bool)> {
        let cost = cost(card, bills.iter().map(|(bill, count)| (bill, *count)))?;
        Some((cost.amount.map(|amount| amount.to_string()), cost.estimated))
    }

    #[test]
    fn a_cost_is_the_sum_and_no_rate_is_no_amount() {
        let paid = [(bill("DE", true, false), 3), (bill("US", true, false), 4)];
        assert_eq!(cost_of(&paid, &card()), Some((Some("0.4393".to_owned()), false)));
        let assumed = [(bill("DE", true, true), 1)];
        assert_eq!(cost_of(&assumed, &card()), Some((Some("0.1131".to_owned()), true)));
        let free = [(bill("DE", false, false), 3)];
        assert_eq!(cost_of(&free, &card()), Some((Some("0".to_owned()), false)));
        assert_eq!(cost_of(&paid, &RateCard::default()), None);
        assert_eq!(cost_of(&free, &RateCard::default()), None);
        assert_eq!(cost_of(&[], &card()), None);
        assert_eq!(cost_of(&[(bill("DE", true, false), 0)], &card()), None);
        // One country has no rate: the sum of the others would be a lie.
        let nobody = Bill { country: None, ..bill("DE", true, false) };
        let gap = [(bill("DE", true, false), 3), (nobody, 1)];
        assert_eq!(cost_of(&gap, &card()), Some((None, false)));
    }

    #[test]
    fn several_currencies_have_no_sum() {
        let mut rates = card().rates().to_vec();
        rates[2].currency = Currency::parse("USD").unwrap();
        let card = RateCard::new(rates).unwrap();
        let paid = [(bill("DE", true, false), 1), (bill("US", true, false), 1)];
        let cost = cost(&card, paid.iter().map(|(bill, count)| (bill, *count))).unwrap();
        assert_eq!((cost.amount, cost.currency), (None, None));
    }

    proptest! {
        #[test]
        fn a_cost_does_not_depend_on_the_order_or_the_grouping(counts in prop::collection::vec(0_u64..1_000, 1..6)) {
            let whole = [(bill("DE", true, false), counts.iter().sum::<u64>())];
            let parts: Vec<_> = counts.iter().map(|n| (bill("DE", true, false), *n)).collect();
            prop_assert_eq!(cost_of(&whole, &card()), cost_of(&parts, &card()));
        }
    }
}
