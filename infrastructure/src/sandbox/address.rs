//! Whom a message is for: a number or a business-scoped user id, and the one key under which both are the same person.
//! The sandbox gives every number an id of its own making, so that answers and webhooks carry both as Meta's do.

use super::error::GraphError;
use super::fate::hash;

/// Fewest and most digits of an international number.
const DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

/// A recipient as a call named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// Digits with country code, no plus.
    Number(String),
    UserId(String),
}

/// Reads `to`: digits, a plus, spaces, hyphens, dots and parentheses.
pub(crate) fn number(text: &str) -> Option<String> {
    let mut digits = String::with_capacity(text.len());
    for (place, c) in text.trim().chars().enumerate() {
        match c {
            '0'..='9' => digits.push(c),
            '+' if place == 0 => {}
            ' ' | '-' | '(' | ')' | '.' => {}
            _ => return None,
        }
    }
    (DIGITS.contains(&digits.len()) && !digits.starts_with('0')).then_some(digits)
}

/// Whether this is a business-scoped user id: `GB.7204418839015526601`, or a parent id `GB.ENT.…`.
pub(crate) fn is_user_id(text: &str) -> bool {
    let Some((country, rest)) = text.split_once('.') else { return false };
    let local = rest.strip_prefix("ENT.").unwrap_or(rest);
    country.len() == 2
        && country.bytes().all(|b| b.is_ascii_uppercase())
        && (1..=128).contains(&local.len())
        && local.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Reads a recipient from `to` and `recipient`; `to` wins, as at Meta.
pub(crate) fn recipient(to: Option<&str>, user: Option<&str>) -> Result<Address, GraphError> {
    match (to, user) {
        (Some(to), _) => number(to).map(Address::Number).ok_or_else(|| {
            GraphError::new(
                131009,
                "to is no phone number, expected + and 7 to 15 digits with country code",
            )
        }),
        (None, Some(user)) if is_user_id(user) => Ok(Address::UserId(user.to_owned())),
        (None, Some(_)) => Err(GraphError::new(
            131009,
            "recipient is no business-scoped user id, expected CC. and 1 to 128 letters",
        )),
        (None, None) => Err(GraphError::platform(100, "The parameter to is required.")),
    }
}

/// Calling codes and countries of the numbers that tests are usually made of; others count as `ZZ`.
const COUNTRIES: &[(&str, &str)] = &[
    ("1", "US"),
    ("27", "ZA"),
    ("31", "NL"),
    ("33", "FR"),
    ("34", "ES"),
    ("351", "PT"),
    ("39", "IT"),
    ("44", "GB"),
    ("49", "DE"),
    ("52", "MX"),
    ("54", "AR"),
    ("55", "BR"),
    ("57", "CO"),
    ("62", "ID"),
    ("91", "IN"),
    ("971", "AE"),
];

/// The id that the sandbox gives to the person behind a number, within one business account.
pub(crate) fn made_user_id(waba_id: &str, digits: &str) -> String {
    let country = COUNTRIES
        .iter()
        .find(|(code, _)| digits.starts_with(code))
        .map_or("ZZ", |(_, country)| country);
    let first = hash(&[b"user", waba_id.as_bytes(), digits.as_bytes()]);
    format!("{country}.{:019}", first % 9_000_000_000_000_000_000 + 1_000_000_000_000_000_000)
}

/// The key of a person in tables.
pub(crate) fn person(user_id: &str) -> u64 {
    hash(&[b"person", user_id.as_bytes()])
}

/// What Meta makes of a Brazilian or Mexican number (reference: 11.2); others stay as they are.
pub(crate) fn rewritten(digits: &str) -> String {
    if let Some(rest) = digits.strip_prefix("52")
        && rest.len() == 10
    {
        return format!("521{rest}");
    }
    if let Some(rest) = digits.strip_prefix("55")
        && rest.len() == 11
        && rest.as_bytes()[2] == b'9'
        && rest.is_ascii()
    {
        let area: u32 = rest[..2].parse().unwrap_or(0);
        let keeps_nine = (11..=19).contains(&area) || [21, 22, 24, 27, 28].contains(&area);
        if !keeps_nine {
            return format!("55{}{}", &rest[..2], &rest[3..]);
        }
    }
    digits.to_owned()
}

/// Digits of a display number such as `+1 555-010-0199`.
pub(crate) fn digits_of(display: &str) -> String {
    display.chars().filter(char::is_ascii_digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_every_form_that_meta_takes() {
        for text in ["+447700900123", "447700900123", "+44 (7700) 900-123"] {
            assert_eq!(number(text).as_deref(), Some("447700900123"), "{text}");
        }
        for text in [
            "",
            "+",
            "12345",
            "GB.7204418839015526601",
            "+44x",
            "0447700900123",
            "+12345678901234567",
        ] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn the_number_wins_over_the_user_id() {
        let both = recipient(Some("+447700900123"), Some("GB.1"));
        assert_eq!(both, Ok(Address::Number("447700900123".to_owned())));
        assert_eq!(recipient(None, Some("GB.1")), Ok(Address::UserId("GB.1".to_owned())));
        assert_eq!(recipient(None, None).map_err(|e| e.code), Err(100));
        assert_eq!(recipient(Some("GB.720"), None).map_err(|e| e.code), Err(131009));
    }

    #[test]
    fn made_ids_look_like_metas_and_differ_between_accounts() {
        let id = made_user_id("301", "447700900123");
        assert!(is_user_id(&id) && id.starts_with("GB.") && id.len() == 22, "{id}");
        assert_ne!(id, made_user_id("302", "447700900123"));
    }

    #[test]
    fn only_brazilian_and_mexican_numbers_are_rewritten() {
        assert_eq!(rewritten("525555500123"), "5215555500123");
        assert_eq!(rewritten("5551955501234"), "5551955501234".replace("519555", "51555"));
        assert_eq!(rewritten("5511955501234"), "5511955501234");
        assert_eq!(rewritten("447700900123"), "447700900123");
    }
}
