//! What a phone number's first digits say of the place it is from: its time zone where they lie in one, and whether it
//! is a number of the United States.

use std::sync::LazyLock;

use chrono_tz::Tz;
use domain::primitives::PhoneNumber;
use phonenumber::metadata::DATABASE;

/// First digits and their zone, sorted; no row begins with another.
static ZONES: LazyLock<Vec<(&str, Tz)>> = LazyLock::new(|| {
    include_str!("zones.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('\t'))
        // A zone that the time library does not know yet is none.
        .filter_map(|(digits, zone)| Some((digits, zone.parse().ok()?)))
        .collect()
});

/// The time zone that a number's first digits lie in. `None` where they lie in several: whoever has a mobile number of
/// Spain may live on the Canary Islands.
pub fn zone_of(number: &PhoneNumber) -> Option<Tz> {
    let digits = number.digits();
    // Mexico's mobile numbers had a `1` behind the country code until 2019, and WhatsApp still writes many so.
    let current = digits.strip_prefix("521").filter(|rest| rest.len() == 10);
    let current = current.map(|rest| format!("52{rest}"));
    let digits = current.as_deref().unwrap_or(digits);
    // Of the rows at or before the digits the last one is the one they begin with, because no row begins with another.
    let after = ZONES.partition_point(|(row, _)| *row <= digits);
    let (row, zone) = ZONES.get(after.checked_sub(1)?)?;
    digits.starts_with(row).then_some(*zone)
}

/// Whether an area code, by its number, is of the United States. A table, because it is asked about everybody.
static US_AREA_CODES: LazyLock<Vec<bool>> = LazyLock::new(|| {
    let Some(us) = DATABASE.by_id("US") else { return vec![] };
    let kinds = us.descriptors();
    let kinds: Vec<_> = [kinds.fixed_line(), kinds.mobile()].into_iter().flatten().collect();
    // Which exchanges an area code has is no matter, so it is judged with one that every area code has.
    let is_ours = |code: u16| kinds.iter().any(|kind| kind.is_match(&format!("{code:03}2345678")));
    (0..1_000).map(is_ours).collect()
});

/// The number has an area code of the United States, so that WhatsApp delivers it no marketing templates. Canada and
/// the Caribbean share the country code; Puerto Rico, Guam and the other territories count as places of their own.
pub fn is_us_number(number: &PhoneNumber) -> bool {
    let national = number.digits().strip_prefix('1').filter(|rest| rest.len() == 10);
    let area_code = national.and_then(|national| national.get(..3)?.parse::<usize>().ok());
    area_code.and_then(|code| US_AREA_CODES.get(code)).is_some_and(|is_ours| *is_ours)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(text: &str) -> PhoneNumber {
        PhoneNumber::parse(text).unwrap()
    }

    fn zone(text: &str) -> &'static str {
        zone_of(&number(text)).map_or("-", Tz::name)
    }

    #[test]
    fn a_country_or_area_code_with_one_zone_has_it() {
        for (text, expected) in [
            ("+4915112345678", "Europe/Berlin"),
            ("+447911123456", "Europe/London"),
            ("+919876543210", "Asia/Kolkata"),
            ("+8613812345678", "Asia/Shanghai"),
            ("+5491123456789", "America/Argentina/Buenos_Aires"),
            ("+380501234567", "Europe/Kyiv"),
            ("+38344123456", "Europe/Belgrade"),
            ("+77011234567", "Asia/Almaty"),
            ("+5511912345678", "America/Sao_Paulo"),
            ("+5591991234567", "America/Belem"),
            ("+5592991234567", "America/Manaus"),
            ("+5568991234567", "America/Rio_Branco"),
            ("+525512345678", "America/Mexico_City"),
            ("+526141234567", "America/Chihuahua"),
            ("+5216141234567", "America/Chihuahua"),
            ("+12125550143", "America/New_York"),
            ("+14075550143", "America/New_York"),
            ("+13105550143", "America/Los_Angeles"),
            ("+16025550143", "America/Phoenix"),
            ("+13065550143", "America/Regina"),
            ("+17875550143", "America/Puerto_Rico"),
        ] {
            assert_eq!(zone(text), expected, "{text}");
        }
    }

    #[test]
    fn a_code_with_several_zones_and_one_without_a_place_have_none() {
        for text in [
            "+34612345678",   // the Canary Islands
            "+351912345678",  // the Azores
            "+61412345678",   // Australian mobile numbers
            "+79161234567",   // Russian ones
            "+6281212345678", // Indonesian ones
            "+56912345678",   // Chile's south has a time of its own
            "+5581991234567", // Recife, and Fernando de Noronha
            "+18505550143",   // both sides of Florida's border
            "+14485550143",   // its overlay
            "+12085550143",   // Idaho
            "+18005550143",   // toll-free
            "+870773123456",  // satellites
        ] {
            assert_eq!(zone(text), "-", "{text}");
        }
    }

    #[test]
    fn every_row_is_read_and_no_row_begins_with_another() {
        let rows = include_str!("zones.tsv").lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(ZONES.len(), rows, "a zone is not known to the time library");
        for pair in ZONES.windows(2) {
            assert!(pair[0].0 < pair[1].0, "{} before {}", pair[0].0, pair[1].0);
            assert!(!pair[1].0.starts_with(pair[0].0), "{} begins {}", pair[0].0, pair[1].0);
        }
    }

    #[test]
    fn us_numbers_are_told_from_others_behind_the_same_code() {
        for text in ["+12025550143", "+13105550143", "+18085550143", "+15550000001"] {
            let is_us = text != "+15550000001"; // 555 is nobody's area code
            assert_eq!(is_us_number(&number(text)), is_us, "{text}");
        }
        for text in [
            "+14165550143",
            "+16045550143",
            "+18765550143",
            "+17875550143",
            "+16715550143",
            "+12425550143",
            "+18005550143",
            "+4915112345678",
            "+447911123456",
            "+1202555014",
        ] {
            assert!(!is_us_number(&number(text)), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_zone_is_that_of_the_row_the_digits_begin_with(digits in "[1-9][0-9]{6,14}") {
            prop_assume!(!(digits.starts_with("521") && digits.len() == 13));
            let expected = ZONES.iter().find(|(row, _)| digits.starts_with(row)).map(|(_, zone)| *zone);
            prop_assert_eq!(zone_of(&number(&digits)), expected);
            let _ = is_us_number(&number(&digits));
        }
    }
}
