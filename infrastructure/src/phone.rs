//! Phone numbers as people write them, turned into E.164: with a plus, with `00`, in national form where a region is
//! known, as a spreadsheet mangled them. Checks the country code and the length, not the number range: ranges are
//! opened faster than any metadata follows, and a number refused for that would be a customer lost. No error repeats
//! the text it is about.

mod countries;
mod zones;

use std::borrow::Cow;
use std::sync::LazyLock;

use domain::primitives::PhoneNumber;
use phonenumber::metadata::DATABASE;
use phonenumber::{Metadata, Type};

pub use countries::{countries_of, country_of, country_of_recipient};
pub use zones::{is_us_number, zone_of};

/// The longest text that can be a phone number with everything people put around it.
const TEXT_CHARS_MAX: usize = 64;
/// E.164 allows 15 digits; a national form adds a trunk prefix or an international prefix of up to four.
const DIGITS_MAX: usize = 19;
/// Fewer digits than this before a letter are no number with an extension.
const DIGITS_BEFORE_EXTENSION_MIN: usize = 7;
/// Country calling codes have one to three digits.
const COUNTRY_CODE_DIGITS_MAX: u32 = 3;

/// Why a text is not a phone number that WhatsApp could know. The texts say what would be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PhoneParseError {
    #[error("a phone number is needed, like +4915112345678")]
    Empty,
    #[error("a phone number has only digits, a leading plus and separators, like +49 151 12345678")]
    NotANumber,
    #[error("more than one phone number: give one, the others in rows or columns of their own")]
    SeveralNumbers,
    #[error("a phone number with an extension cannot have WhatsApp: leave the extension out")]
    Extension,
    #[error(
        "a spreadsheet has turned this number into scientific notation and lost digits: format the column as text, \
         enter the number again and export once more"
    )]
    ScientificNotation,
    #[error(
        "a national number needs a default region, or write it with its country code, like +4915112345678"
    )]
    NeedsCountryCode,
    #[error(
        "no country has this calling code: write the number with its country code, like +4915112345678"
    )]
    UnknownCountryCode,
    #[error(
        "too short for its country: write the whole number with its country code, like +4915112345678"
    )]
    TooShort,
    #[error(
        "too long for its country: write one number with its country code, like +4915112345678"
    )]
    TooLong,
    #[error(
        "not a number of the default region (country code +{country_code}): write numbers of other countries with a \
         plus and their country code, like +4915112345678"
    )]
    NotInRegion { country_code: u16 },
    #[error("the default region is not known: give a country's two letters (ISO 3166), like DE")]
    UnknownRegion,
}

/// Whether `region` is a country (ISO 3166 alpha-2, either case) whose national numbers [`parse`] can read.
pub fn region_is_known(region: &str) -> bool {
    region_rules(region).is_some()
}

/// Reads a phone number. International form is a leading `+` or `00`. Without either it is a national number of
/// `default_region` (or one of that region's with its country code), and international where there is no region, as
/// WhatsApp's own `wa_id` is written. A number is never guessed to belong to a country that neither it nor the caller
/// names: a digit too many would reach a stranger abroad.
///
/// # Errors
/// [`PhoneParseError`]; [`PhoneParseError::UnknownRegion`] is about the caller's region, all others about the text.
pub fn parse(text: &str, default_region: Option<&str>) -> Result<PhoneNumber, PhoneParseError> {
    let region = match default_region {
        Some(region) => Some(region_rules(region).ok_or(PhoneParseError::UnknownRegion)?),
        None => None,
    };
    let written = Written::read(text)?;
    if written.has_plus {
        return international(written.digits.strip_prefix("00").unwrap_or(&written.digits));
    }
    if let Some(digits) = written.digits.strip_prefix("00") {
        // Some regions dial abroad with more than `00` (Australia: `0011`).
        let by_region =
            || region.and_then(|region| behind_international_prefix(&written.digits, region));
        return international(digits).or_else(|refused| by_region().ok_or(refused));
    }
    match region {
        Some(region) => national(&written.digits, region),
        None if written.digits.starts_with('0') => Err(PhoneParseError::NeedsCountryCode),
        None => international(&written.digits),
    }
}

fn region_rules(region: &str) -> Option<&'static Metadata> {
    let is_code = region.len() == 2 && region.bytes().all(|b| b.is_ascii_alphabetic());
    if is_code { DATABASE.by_id(region.to_ascii_uppercase().as_str()) } else { None }
}

/// What a text says before any country's rules are asked.
struct Written {
    /// `digits` start with the country code.
    has_plus: bool,
    digits: String,
}

impl Written {
    fn read(text: &str) -> Result<Self, PhoneParseError> {
        let text = without_wrapping(text);
        if text.is_empty() {
            return Err(PhoneParseError::Empty);
        }
        if text.chars().count() > TEXT_CHARS_MAX {
            return Err(if text.bytes().filter(u8::is_ascii_digit).count() > DIGITS_MAX {
                PhoneParseError::SeveralNumbers
            } else {
                PhoneParseError::NotANumber
            });
        }
        if is_scientific(text) {
            return Err(PhoneParseError::ScientificNotation);
        }
        // Tables with gaps are read as floating point by many a tool, which then writes `.0` behind whole numbers.
        let text = match text.strip_suffix(".0") {
            Some(whole) if whole.trim_start_matches('+').bytes().all(|b| b.is_ascii_digit()) => {
                whole
            }
            _ => text,
        };
        let mut digits = String::with_capacity(DIGITS_MAX);
        let mut has_plus = false;
        for c in text.chars() {
            match c {
                '+' | '\u{ff0b}' if !has_plus && digits.is_empty() => has_plus = true,
                '+' | '\u{ff0b}' | ',' | ';' | '|' => return Err(PhoneParseError::SeveralNumbers),
                '#' | '*' => return Err(PhoneParseError::Extension),
                'x' | 'X' | 'e' | 'E' if digits.len() >= DIGITS_BEFORE_EXTENSION_MIN => {
                    return Err(PhoneParseError::Extension);
                }
                _ => match digit(c) {
                    Some(d) => digits.push(d),
                    None if is_separator(c) => {}
                    None => return Err(PhoneParseError::NotANumber),
                },
            }
        }
        if digits.is_empty() {
            return Err(PhoneParseError::NotANumber);
        }
        if digits.len() > DIGITS_MAX {
            return Err(PhoneParseError::TooLong);
        }
        // `+49 (0)151`: the zero in parentheses is dialled inside the country only.
        if (has_plus || digits.starts_with("00")) && text.contains("(0)") {
            return Self::read(&text.replacen("(0)", "", 1));
        }
        Ok(Self { has_plus, digits })
    }
}

/// Without blanks, the invisible direction marks that address books put around a number, a spreadsheet's leading
/// apostrophe or `="…"`, and the `tel:` and `whatsapp:` of links.
fn without_wrapping(text: &str) -> &str {
    let around = |c: char| c.is_whitespace() || is_invisible(c) || matches!(c, '\'' | '"' | '=');
    let text = text.trim_matches(around);
    let prefix = ["tel:", "whatsapp:"].into_iter().find(|prefix| {
        text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    });
    text[prefix.map_or(0, str::len)..].trim_matches(around)
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{ad}')
}

fn is_separator(c: char) -> bool {
    c.is_whitespace()
        || is_invisible(c)
        || matches!(
            c,
            '-' | '.' | '(' | ')' | '[' | ']' | '/' | '_' | '~' | '\u{2010}'
                ..='\u{2015}' | '\u{2212}'
        )
}

/// ASCII, fullwidth and Arabic-Indic digits.
fn digit(c: char) -> Option<char> {
    let value = match c {
        '0'..='9' => return Some(c),
        '\u{ff10}'..='\u{ff19}' => c as u32 - 0xff10,
        '\u{660}'..='\u{669}' => c as u32 - 0x660,
        '\u{6f0}'..='\u{6f9}' => c as u32 - 0x6f0,
        _ => return None,
    };
    char::from_digit(value, 10)
}

/// `4.91512E+12`, `4,91512E+12`.
fn is_scientific(text: &str) -> bool {
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else { return false };
    let exponent = exponent.strip_prefix('+').unwrap_or(exponent);
    !mantissa.is_empty()
        && mantissa.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b',' | b'+'))
        && (1..=2).contains(&exponent.len())
        && exponent.bytes().all(|b| b.is_ascii_digit())
}

/// The kinds of numbers whose lengths count. Short codes and emergency numbers are nobody's WhatsApp.
const KINDS: [Type; 10] = [
    Type::FixedLine,
    Type::Mobile,
    Type::TollFree,
    Type::PremiumRate,
    Type::SharedCost,
    Type::PersonalNumber,
    Type::Voip,
    Type::Pager,
    Type::Uan,
    Type::Voicemail,
];

/// For each country calling code the lengths (bit n = n digits) that numbers behind it may have, over all regions that
/// share the code. A table, because files have millions of rows and nearly all of them need nothing else; and because
/// the library's own lengths of a country as a whole are empty.
static LENGTHS: LazyLock<Vec<u32>> = LazyLock::new(|| {
    let mut lengths = vec![0_u32; 10_usize.pow(COUNTRY_CODE_DIGITS_MAX)];
    for meta in DATABASE.iter().filter(|meta| meta.country_code() != 0) {
        let Some(known) = lengths.get_mut(usize::from(meta.country_code())) else { continue };
        for kind in KINDS.into_iter().filter_map(|kind| meta.descriptors().get(kind)) {
            *known |= kind
                .possible_length()
                .iter()
                .fold(0, |bits, &length| bits | bit(usize::from(length)));
        }
    }
    // Mexico's mobile numbers had a `1` behind the country code until 2019. WhatsApp still writes many that way.
    lengths[52] |= bit(11);
    lengths
});

fn bit(length: usize) -> u32 {
    u32::try_from(length).ok().and_then(|length| 1_u32.checked_shl(length)).unwrap_or(0)
}

/// A country calling code, and the lengths possible behind it.
#[derive(Clone, Copy)]
struct CallingCode {
    code: u16,
    lengths: u32,
}

impl CallingCode {
    fn of_region(region: &Metadata) -> Self {
        let code = region.country_code();
        Self { code, lengths: LENGTHS.get(usize::from(code)).copied().unwrap_or(0) }
    }

    /// The code that `digits` begin with, and the rest. No code is the start of another, and none begins with 0.
    fn split(digits: &str) -> Option<(Self, &str)> {
        if digits.starts_with('0') {
            return None;
        }
        let mut code = 0_u16;
        for (index, b) in digits.bytes().take(COUNTRY_CODE_DIGITS_MAX as usize).enumerate() {
            code = code * 10 + u16::from(b - b'0');
            match LENGTHS.get(usize::from(code)) {
                Some(&lengths) if lengths != 0 => {
                    return Some((Self { code, lengths }, &digits[index + 1..]));
                }
                _ => {}
            }
        }
        None
    }

    /// Whether a national number may look like this, without its trunk prefix.
    fn can_have(self, national: &str) -> bool {
        self.lengths & bit(national.len()) != 0
            && !(national.starts_with('0') && self.has_trunk_zero())
    }

    /// Whether a zero is dialled before national numbers, so that none begins with one.
    fn has_trunk_zero(self) -> bool {
        DATABASE
            .by_code(&self.code)
            .into_iter()
            .flatten()
            .any(|region| region.national_prefix() == Some("0"))
    }

    fn with(self, national: &str) -> Option<PhoneNumber> {
        PhoneNumber::parse(&format!("{}{national}", self.code)).ok()
    }
}

/// `digits` begin with a country code.
fn international(digits: &str) -> Result<PhoneNumber, PhoneParseError> {
    let (code, written) = CallingCode::split(digits).ok_or(PhoneParseError::UnknownCountryCode)?;
    // `+49 0151…`: a trunk zero does not belong behind a country code. Where zeros do belong (Italy), there is none.
    let national = match written.strip_prefix('0') {
        Some(rest) if code.has_trunk_zero() => rest,
        _ => written,
    };
    if code.can_have(national)
        && let Some(number) = code.with(national)
    {
        return Ok(number);
    }
    let length = u32::try_from(national.len()).unwrap_or(u32::MAX);
    let is_short = length < u32::BITS - code.lengths.leading_zeros() - 1;
    Err(if is_short { PhoneParseError::TooShort } else { PhoneParseError::TooLong })
}

/// `digits` are as one dials them in `region`, or begin with its country code.
fn national(digits: &str, region: &Metadata) -> Result<PhoneNumber, PhoneParseError> {
    let code = CallingCode::of_region(region);
    let dialled = without_trunk_prefix(digits, region);
    let behind_code = digits
        .strip_prefix(code.code.to_string().as_str())
        .map(|rest| without_trunk_prefix(rest, region))
        .filter(|rest| code.can_have(rest));
    let general = |national: &str| region.descriptors().general().is_match(national);
    let mobile = |national: &str| {
        region.descriptors().mobile().is_some_and(|mobile| mobile.is_match(national))
    };
    // Both readings may be possible, as an area code may equal the country code (Brazil's 55, Ostfriesland's 049).
    // A known range wins over none, and then a mobile one over others: few have WhatsApp on a landline.
    let rank = |national: &str| (code.can_have(national), general(national), mobile(national));
    let national = match behind_code {
        Some(rest) if rank(&rest) > rank(&dialled) => rest,
        _ => dialled,
    };
    if code.can_have(&national)
        && let Some(number) = code.with(&national)
    {
        return Ok(number);
    }
    behind_international_prefix(digits, region)
        .ok_or(PhoneParseError::NotInRegion { country_code: code.code })
}

/// `digits` as one dials them in `region` to reach another country: `011 44 …` in the US.
fn behind_international_prefix(digits: &str, region: &Metadata) -> Option<PhoneNumber> {
    let prefix = region.international_prefix()?.find(digits).filter(|found| found.start() == 0)?;
    international(&digits[prefix.end()..]).ok()
}

/// The national number without what is dialled before it inside the country (Germany's `0`, Brazil's `0` and carrier
/// code), as libphonenumber does it. What does not become a possible number is left alone.
fn without_trunk_prefix<'a>(digits: &'a str, region: &Metadata) -> Cow<'a, str> {
    let stripped = match region.national_prefix_for_parsing() {
        Some(prefix) => {
            let Some(groups) = prefix.captures(digits) else { return digits.into() };
            let whole = groups.get(0).map(|m| (m.start(), m.end()));
            let Some((0, end)) = whole else { return digits.into() };
            match region.national_prefix_transform_rule() {
                // The rule rewrites only what its last group caught; else the prefix is just dropped.
                Some(rule) if groups.len() > 1 && groups.get(groups.len() - 1).is_some() => {
                    Cow::Owned(prefix.replace(digits, rule).into_owned())
                }
                _ => Cow::Borrowed(&digits[end..]),
            }
        }
        None => match region.national_prefix().and_then(|prefix| digits.strip_prefix(prefix)) {
            Some(rest) => Cow::Borrowed(rest),
            None => return digits.into(),
        },
    };
    let code = CallingCode::of_region(region);
    let is_known = |national: &str| region.descriptors().general().is_match(national);
    let was_whole = code.can_have(digits) && is_known(digits) && !is_known(&stripped);
    if code.can_have(&stripped) && !was_whole { stripped } else { digits.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str, region: Option<&str>) -> String {
        match parse(text, region) {
            Ok(number) => number.as_str().to_owned(),
            Err(error) => format!("{error:?}"),
        }
    }

    #[test]
    fn international_forms_need_no_region_and_ignore_one() {
        for text in [
            "+4915112345678",
            "4915112345678",
            "004915112345678",
            "+49 (0)151 1234-5678",
            "0049 (0)151 12345678",
            "+49 0151 12345678",
            "tel:+49-151-12345678",
            "WhatsApp:+4915112345678",
            "\u{202a}+49 151 12345678\u{202c}",
            "'+4915112345678",
            "=\"+4915112345678\"",
            "4915112345678.0",
            "\u{ff0b}\u{ff14}\u{ff19}15112345678",
            "+49 151/12345678",
            "+0049 151 12345678",
        ] {
            assert_eq!(read(text, None), "+4915112345678", "{text}");
        }
        assert_eq!(read("+55 11 91234-5678", Some("DE")), "+5511912345678");
        assert_eq!(read("0055 11 91234-5678", Some("US")), "+5511912345678");
    }

    #[test]
    fn national_forms_are_read_in_the_default_region() {
        for (text, region, expected) in [
            ("0151 12345678", "DE", "+4915112345678"),
            ("15112345678", "DE", "+4915112345678"),
            ("4915112345678", "DE", "+4915112345678"),
            ("(11) 91234-5678", "BR", "+5511912345678"),
            ("011 91234-5678", "BR", "+5511912345678"),
            ("5511912345678", "BR", "+5511912345678"),
            ("07911 123456", "GB", "+447911123456"),
            ("612 34 56 78", "ES", "+34612345678"),
            ("06 12 34 56 78", "FR", "+33612345678"),
            ("(202) 555-0143", "US", "+12025550143"),
            ("011 44 7911 123456", "US", "+447911123456"),
            ("06 698 12345", "IT", "+390669812345"),
            ("55 99123-4567", "BR", "+5555991234567"),
            ("5555991234567", "BR", "+5555991234567"),
            ("0 31 55 99123-4567", "BR", "+5555991234567"),
            ("8 (812) 123-45-67", "RU", "+78121234567"),
            ("78121234567", "RU", "+78121234567"),
            ("06 30 123 4567", "HU", "+36301234567"),
            ("91987 65432", "IN", "+919198765432"),
            ("011 15-2345-6789", "AR", "+5491123456789"),
            ("0011 65 6123 4567", "AU", "+6561234567"),
            ("09012345678", "JP", "+819012345678"),
            ("0712345678", "CI", "+2250712345678"),
            ("98765 43210", "in", "+919876543210"),
        ] {
            assert_eq!(read(text, Some(region)), expected, "{text} in {region}");
        }
    }

    #[test]
    fn zeros_that_belong_to_a_number_stay_and_former_prefixes_are_accepted() {
        assert_eq!(read("+39 06 698 12345", None), "+390669812345");
        assert!(parse("+521 55 1234 5678", None).is_ok());
        assert!(parse("+54 9 11 1234-5678", None).is_ok());
    }

    #[test]
    fn numbers_of_ranges_that_metadata_does_not_know_are_kept() {
        assert_eq!(read("+1 555 000 0001", None), "+15550000001");
        assert_eq!(read("+491510000001", None), "+491510000001");
    }

    #[test]
    fn each_error_says_what_is_wrong() {
        use PhoneParseError as E;
        for (text, region, expected) in [
            ("", None, E::Empty),
            (" \u{200e} ", None, E::Empty),
            ("Ana", None, E::NotANumber),
            ("+", None, E::NotANumber),
            ("GB.7204418839015526601", None, E::NotANumber),
            ("4.91511E+12", None, E::ScientificNotation),
            ("4,91511e12", Some("DE"), E::ScientificNotation),
            ("+4915112345678; +4915112345679", None, E::SeveralNumbers),
            ("+4915112345678 +4915112345679", None, E::SeveralNumbers),
            ("+4915112345678 x12", None, E::Extension),
            ("+4915112345678 ext. 12", None, E::Extension),
            ("0151 12345678", None, E::NeedsCountryCode),
            ("+999 12345678", None, E::UnknownCountryCode),
            ("+0 12345678", None, E::UnknownCountryCode),
            ("+1 202 555", None, E::TooShort),
            ("+98 00000000000", None, E::TooLong),
            ("12", Some("US"), E::NotInRegion { country_code: 1 }),
            ("+1 202 555 0143 99", None, E::TooLong),
            ("12345678901234567890", Some("US"), E::TooLong),
            ("+1 1 202 555 0143", None, E::TooLong),
            ("79111234567", Some("GB"), E::NotInRegion { country_code: 44 }),
            ("0151 12345678", Some("XX"), E::UnknownRegion),
            ("0151 12345678", Some("Germany"), E::UnknownRegion),
        ] {
            assert_eq!(parse(text, region), Err(expected), "{text}");
        }
    }

    #[test]
    fn every_region_that_is_known_can_be_parsed_with() {
        let letters = || b'A'..=b'Z';
        let regions: Vec<String> = letters()
            .flat_map(|a| letters().map(move |b| String::from_utf8(vec![a, b]).unwrap()))
            .collect();
        let known: Vec<&String> = regions.iter().filter(|region| region_is_known(region)).collect();
        assert!(known.len() > 200, "{}", known.len());
        for region in known {
            for text in ["0", "12345", "0123456789", "00123456789", "1234567890123456789"] {
                let _ = parse(text, Some(region));
            }
        }
        assert!(
            region_is_known("de")
                && !region_is_known("AN")
                && !region_is_known("")
                && !region_is_known("é")
        );
    }

    proptest! {
        #[test]
        fn any_text_is_a_number_or_an_error_and_never_a_panic(text in "\\PC{0,40}", region in "(DE|US|BR|AN|IT|\\PC{0,3})") {
            let _ = parse(&text, Some(&region));
            let _ = parse(&text, None);
        }

        #[test]
        fn any_digits_are_a_number_or_an_error_and_what_was_read_reads_the_same(
            text in "\\+?[0-9]{1,20}", region in "(DE|US|BR|IT|MX|AR|RU|HU|CI)"
        ) {
            for region in [None, Some(region.as_str())] {
                if let Ok(number) = parse(&text, region) {
                    prop_assert_eq!(parse(number.as_str(), region), Ok(number.clone()));
                }
            }
        }
    }
}
