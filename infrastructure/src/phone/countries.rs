//! Which country a phone number is of: what a message costs goes by it.

use std::sync::LazyLock;

use domain::message::Recipient;
use domain::primitives::{Country, PhoneNumber};
use phonenumber::Metadata;
use phonenumber::metadata::DATABASE;

use super::{COUNTRY_CODE_DIGITS_MAX, KINDS};

/// For each country calling code the regions that share it, the main one first. A table, because nearly every code has
/// one region only and needs no more than this.
static REGIONS: LazyLock<Vec<Vec<&'static Metadata>>> = LazyLock::new(|| {
    let codes = 10_u16.pow(COUNTRY_CODE_DIGITS_MAX);
    let of_code = |code: u16| {
        let regions = DATABASE.by_code(&code).into_iter().flatten();
        regions.filter(|region| country(region).is_some()).collect()
    };
    (0..codes).map(of_code).collect()
});

/// `001` is what the library calls numbers of no country.
fn country(region: &Metadata) -> Option<Country> {
    Country::parse(region.id()).ok()
}

fn regions_of(code: u16) -> &'static [&'static Metadata] {
    REGIONS.get(usize::from(code)).map_or(&[], Vec::as_slice)
}

/// The country of a number. Where several share the calling code, the one whose ranges it is in; in none of them, the
/// main one. `None`: a number of no country, such as a satellite's.
pub fn country_of(number: &PhoneNumber) -> Option<Country> {
    let digits = number.digits();
    let (code, national) = (1..=COUNTRY_CODE_DIGITS_MAX as usize).find_map(|length| {
        let code: u16 = digits.get(..length)?.parse().ok()?;
        (!regions_of(code).is_empty()).then(|| (code, digits.get(length..).unwrap_or_default()))
    })?;
    match regions_of(code) {
        [only] => country(only),
        [main, ..] if code == 1 && super::is_us_number(number) => country(main),
        regions => {
            // As the library's own: a region's leading digits decide where it has some, else its ranges; the main one
            // is asked first, and stands for what is in none.
            let is_in = |region: &&&Metadata| match region.leading_digits() {
                Some(leading) => leading.find(national).is_some_and(|found| found.start() == 0),
                None => {
                    let kinds = region.descriptors();
                    let mut ranges = KINDS.into_iter().filter_map(|kind| kinds.get(kind));
                    ranges.any(|range| range.is_match(national))
                }
            };
            let found = regions.iter().find(is_in).or_else(|| regions.first());
            country(found?)
        }
    }
}

/// The country that whoever is written to belongs to: by number, else by what WhatsApp's user ids begin with.
pub fn country_of_recipient(who: &Recipient) -> Option<Country> {
    let by_user_id = || {
        let (country, _) = who.user_id.as_ref()?.as_str().split_once('.')?;
        Country::parse(country).ok()
    };
    who.phone.as_ref().and_then(country_of).or_else(by_user_id)
}

/// The countries that share a calling code; empty where there is no such code.
pub fn countries_of(calling_code: u16) -> Vec<Country> {
    regions_of(calling_code).iter().filter_map(|region| country(region)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<String> {
        country_of(&PhoneNumber::parse(text).unwrap()).map(|country| country.to_string())
    }

    #[test]
    fn a_number_is_of_its_country_also_where_several_share_the_code() {
        for (text, expected) in [
            ("+4915112345678", "DE"),
            ("+5511912345678", "BR"),
            ("+525512345678", "MX"),
            ("+5215512345678", "MX"),
            ("+919876543210", "IN"),
            ("+447400123456", "GB"),
            ("+447700900123", "GB"),
            ("+447624123456", "IM"),
            ("+12025550143", "US"),
            ("+14165550143", "CA"),
            ("+18765550143", "JM"),
            ("+79161234567", "RU"),
            ("+77011234567", "KZ"),
            ("+393471234567", "IT"),
            ("+390669812345", "VA"),
        ] {
            assert_eq!(of(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(of("+881612345678"), None, "a satellite");
    }

    #[test]
    fn a_calling_code_stands_for_its_countries() {
        let texts =
            |code| countries_of(code).iter().map(|country| country.to_string()).collect::<Vec<_>>();
        assert_eq!(texts(49), ["DE"]);
        assert!(texts(1).contains(&"CA".to_owned()) && texts(1).contains(&"US".to_owned()));
        assert!(texts(0).is_empty() && texts(999).is_empty() && texts(9_999).is_empty());
    }
}
