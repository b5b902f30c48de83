//! Amounts of money, exact.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const PLACES: usize = 6;
const UNIT: i128 = 1_000_000;
/// Whole digits of an amount that somebody enters.
const WHOLE_DIGITS_MAX: usize = 12;

/// An amount of some currency, in millionths of its unit. Never negative. Written as a plain decimal (`0.0655`).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(into = "String")]
#[schemars(extend("pattern" = r"^[0-9]+(\.[0-9]{1,6})?$"))]
pub struct Amount(i128);

impl Amount {
    pub const ZERO: Self = Self(0);

    /// Reads a plain decimal: digits, and a point with up to six digits behind it.
    ///
    /// # Errors
    /// [`AmountError`] for anything else: a sign, an exponent, separators, more than twelve digits before the point.
    pub fn parse(text: &str) -> Result<Self, AmountError> {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let has_point = text.contains('.');
        let is_digits = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit());
        if !(1..=WHOLE_DIGITS_MAX).contains(&whole.len())
            || part.len() > PLACES
            || (has_point && part.is_empty())
            || !is_digits(whole)
            || !is_digits(part)
        {
            return Err(AmountError);
        }
        let digits = format!("{whole}{part:0<PLACES$}");
        digits.parse().map(Self).map_err(|_| AmountError)
    }

    pub fn millionths(self) -> i128 {
        self.0
    }

    /// So many times; at the end of the range it stays there.
    #[must_use]
    pub fn times(self, count: u64) -> Self {
        Self(self.0.saturating_mul(i128::from(count)))
    }

    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = format!("{}.{:06}", self.0 / UNIT, self.0 % UNIT);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl std::fmt::Debug for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl From<Amount> for String {
    fn from(amount: Amount) -> Self {
        amount.to_string()
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("use a plain decimal with at most six digits behind the point, like 0.0655")]
pub struct AmountError;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_decimals_are_read_and_written_without_a_tail() {
        for (text, written) in [
            ("0", "0"),
            ("0.0655", "0.0655"),
            ("12.500000", "12.5"),
            ("007", "7"),
            ("1000", "1000"),
            ("0.000001", "0.000001"),
            ("999999999999.999999", "999999999999.999999"),
        ] {
            assert_eq!(Amount::parse(text).unwrap().to_string(), written, "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "+1",
            "1e3",
            "1,5",
            "1 000",
            "0.0000001",
            "1.2.3",
            "NaN",
            "1000000000000",
            "٣",
        ] {
            assert_eq!(Amount::parse(text), Err(AmountError), "{text}");
        }
    }

    #[test]
    fn sums_are_exact_where_floating_point_is_not() {
        let tenth = Amount::parse("0.1").unwrap();
        assert_eq!(tenth.plus(tenth.times(2)), Amount::parse("0.3").unwrap());
        let rate = Amount::parse("0.0655").unwrap();
        assert_eq!(rate.times(1_000_000).to_string(), "65500");
    }

    proptest! {
        #[test]
        fn what_was_written_reads_the_same(whole in 0_u64..1_000_000_000_000, part in 0_u32..1_000_000) {
            let amount = Amount::parse(&format!("{whole}.{part:06}")).unwrap();
            prop_assert_eq!(Amount::parse(&amount.to_string()), Ok(amount));
        }
    }
}
