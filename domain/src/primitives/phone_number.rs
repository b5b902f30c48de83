//! Phone numbers in E.164.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A phone number in E.164 with the leading plus (`+4915112345678`). National forms are turned into this at the edge,
/// where a region is known. Prints masked in `Debug`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(description = "A phone number in international form (E.164), as `+4915112345678`.")]
#[schemars(extend("pattern" = r"^\+[1-9][0-9]{6,14}$"))]
pub struct PhoneNumber(String);

impl PhoneNumber {
    /// Reads E.164, with or without the plus, ignoring the separators people write (spaces, hyphens, dots,
    /// parentheses).
    ///
    /// # Errors
    /// [`PhoneNumberError`] where it is not 7 to 15 digits that begin with a country code.
    pub fn parse(text: &str) -> Result<Self, PhoneNumberError> {
        let mut digits = String::with_capacity(16);
        for (index, c) in text.trim().chars().enumerate() {
            match c {
                '0'..='9' => digits.push(c),
                '+' if index == 0 => {}
                ' ' | '-' | '.' | '(' | ')' | '/' | '\u{a0}' => {}
                _ => return Err(PhoneNumberError),
            }
        }
        if !(7..=15).contains(&digits.len()) || digits.starts_with('0') {
            return Err(PhoneNumberError);
        }
        Ok(Self(format!("+{digits}")))
    }

    /// With the leading plus.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Digits only, as WhatsApp's `wa_id`, `from` and `recipient_id` write it.
    pub fn digits(&self) -> &str {
        &self.0[1..]
    }

    /// The one form of a number that WhatsApp knows in two: with a plus, in today's numbering. Brazil put a 9 before its
    /// mobile numbers and Mexico took the 1 behind its country code away, and WhatsApp still writes many as they were
    /// before. Whoever is looked up is looked up by this; what is sent to is the number as it was given.
    pub fn canonical(&self) -> String {
        let digits = self.digits();
        let of_mexico = digits.strip_prefix("521").filter(|rest| rest.len() == 10);
        if let Some(national) = of_mexico {
            return format!("+52{national}");
        }
        // An area code of two digits, none of them zero; mobile numbers began with 6 to 9.
        let of_brazil = digits.strip_prefix("55").filter(|rest| rest.len() == 10);
        if let Some((area, number)) = of_brazil.and_then(|rest| rest.split_at_checked(2))
            && !area.contains('0')
            && number.starts_with(['6', '7', '8', '9'])
        {
            return format!("+55{area}9{number}");
        }
        self.0.clone()
    }

    /// `+49•••678`: enough to recognise, too little to call.
    pub fn masked(&self) -> String {
        format!("{}•••{}", &self.0[..3], &self.0[self.0.len() - 3..])
    }
}

impl std::fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PhoneNumber(***)")
    }
}

impl<'de> Deserialize<'de> for PhoneNumber {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a phone number in international form, like +4915112345678")]
pub struct PhoneNumberError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_are_dropped_and_the_plus_is_added() {
        assert_eq!(PhoneNumber::parse(" 49 (151) 1234-5678 ").unwrap().as_str(), "+4915112345678");
    }

    #[test]
    fn both_forms_of_a_brazilian_or_mexican_number_are_one() {
        let canonical = |text: &str| PhoneNumber::parse(text).unwrap().canonical();
        for (text, expected) in [
            ("+5215512345678", "+525512345678"),
            ("+525512345678", "+525512345678"),
            ("+555198765432", "+5551998765432"),
            ("+5551998765432", "+5551998765432"),
            // A landline, whose number never had a 9.
            ("+551132165498", "+551132165498"),
            // One digit too many or few is another number, and other countries' stay as they are.
            ("+52155123456789", "+52155123456789"),
            ("+5491123456789", "+5491123456789"),
            ("+4915112345678", "+4915112345678"),
            ("+15551234567", "+15551234567"),
        ] {
            assert_eq!(canonical(text), expected, "{text}");
            assert_eq!(canonical(expected), expected, "{text}");
        }
    }

    #[test]
    fn letters_and_wrong_lengths_and_national_zeros_are_refused() {
        for text in [
            "",
            "+",
            "12345",
            "+1234567890123456",
            "0151 12345678",
            "GB.7204418839015526601",
            "+49+15112345",
        ] {
            assert_eq!(PhoneNumber::parse(text), Err(PhoneNumberError), "{text}");
        }
    }
}
