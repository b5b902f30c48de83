//! Which country a phone number is of: what a message costs goes by it.

use std::sync::{LazyLock, OnceLock};

use domain::message::Recipient;
use domain::primitives::{Country, PhoneNumber};
use phonenumber::Metadata;
use phonenumber::metadata::{DATABASE, Descriptor};
use regex::{Regex, RegexBuilder};

use super::{COUNTRY_CODE_DIGITS_MAX, KINDS};

/// For each country calling code the regions that share it, the main one first. A table, because nearly every code has
/// one region only and needs no more than this.
static REGIONS: LazyLock<Vec<Vec<Region>>> = LazyLock::new(|| {
    let codes = 10_u16.pow(COUNTRY_CODE_DIGITS_MAX);
    let of_code = |code: u16| {
        let regions = DATABASE.by_code(&code).into_iter().flatten();
        regions.filter_map(Region::of).collect()
    };
    (0..codes).map(of_code).collect()
});

struct Region {
    country: Country,
    metadata: &'static Metadata,
    patterns: OnceLock<Option<Patterns>>,
}

/// The library's own patterns, compiled once. It looks each up by its text, under a lock, whenever it is asked; for
/// audiences of millions that is the dearest part of planning.
enum Patterns {
    /// Leading digits decide where there are some.
    Leading(Regex),
    Ranges(Vec<Range>),
}

struct Range {
    lengths: &'static [u16],
    pattern: Regex,
}

impl Region {
    fn of(metadata: &'static Metadata) -> Option<Self> {
        let country = country(metadata)?;
        Some(Self { country, metadata, patterns: OnceLock::new() })
    }

    /// As the library's own judgement of a national number.
    fn has(&self, national: &str) -> bool {
        let patterns = self.patterns.get_or_init(|| Patterns::of(self.metadata));
        patterns.as_ref().is_some_and(|patterns| patterns.match_start_of(national))
    }
}

impl Patterns {
    /// `None`: a pattern is none, which the library would have refused when it was loaded.
    fn of(metadata: &'static Metadata) -> Option<Self> {
        if let Some(leading) = metadata.leading_digits() {
            return Some(Self::Leading(compiled(leading.as_str())?));
        }
        let kinds = metadata.descriptors();
        let kinds = KINDS.into_iter().filter_map(|kind| kinds.get(kind));
        Some(Self::Ranges(kinds.map(Range::of).collect::<Option<_>>()?))
    }

    fn match_start_of(&self, national: &str) -> bool {
        match self {
            Self::Leading(pattern) => begins(pattern, national),
            Self::Ranges(ranges) => ranges.iter().any(|range| range.has(national)),
        }
    }
}

impl Range {
    fn of(kind: &'static Descriptor) -> Option<Self> {
        let pattern = compiled(kind.national_number().as_str())?;
        Some(Self { lengths: kind.possible_length(), pattern })
    }

    fn has(&self, national: &str) -> bool {
        let length = |length: &u16| usize::from(*length) == national.len();
        (self.lengths.is_empty() || self.lengths.iter().any(length))
            && begins(&self.pattern, national)
    }
}

fn compiled(pattern: &str) -> Option<Regex> {
    RegexBuilder::new(pattern).ignore_whitespace(true).build().ok()
}

fn begins(pattern: &Regex, national: &str) -> bool {
    pattern.find(national).is_some_and(|found| found.start() == 0)
}

/// `001` is what the library calls numbers of no country.
fn country(region: &Metadata) -> Option<Country> {
    Country::parse(region.id()).ok()
}

fn regions_of(code: u16) -> &'static [Region] {
    REGIONS.get(usize::from(code)).map_or(&[], Vec::as_slice)
}

/// The country of a number. Where several share the calling code, the one whose ranges it is in; in none of them, the
/// main one, which is asked first. `None`: a number of no country, such as a satellite's.
pub fn country_of(number: &PhoneNumber) -> Option<Country> {
    let digits = number.digits();
    let (code, national) = (1..=COUNTRY_CODE_DIGITS_MAX as usize).find_map(|length| {
        let code: u16 = digits.get(..length)?.parse().ok()?;
        (!regions_of(code).is_empty()).then(|| (code, digits.get(length..).unwrap_or_default()))
    })?;
    let region = match regions_of(code) {
        [only] => Some(only),
        [main, ..] if code == 1 && super::is_us_number(number) => Some(main),
        regions => regions.iter().find(|region| region.has(national)).or(regions.first()),
    };
    region.map(|region| region.country)
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
    regions_of(calling_code).iter().map(|region| region.country).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn regions_judge_as_the_library_does(
            code in prop::sample::select(vec![1_u16, 7, 39, 44, 47, 61, 212, 262, 358, 590, 599]),
            national in "[1-9][0-9]{4,11}",
        ) {
            for region in regions_of(code) {
                let by_library = match region.metadata.leading_digits() {
                    Some(leading) => leading.find(&national).is_some_and(|found| found.start() == 0),
                    None => {
                        let kinds = region.metadata.descriptors();
                        let mut kinds = KINDS.into_iter().filter_map(|kind| kinds.get(kind));
                        kinds.any(|kind| kind.is_match(&national))
                    }
                };
                prop_assert_eq!(region.has(&national), by_library, "{}", region.country);
            }
        }
    }

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
