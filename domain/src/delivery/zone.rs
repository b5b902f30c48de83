//! In which time zone somebody lives, as far as it is known.

use chrono_tz::Tz;

use crate::contact::Contact;

/// Where a recipient's time zone is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ZoneSource {
    /// The contact says so.
    Contact,
    /// The phone number's first digits lie in one zone.
    Number,
    /// Nothing is known of them: the campaign's zone, or the account's where there is no campaign.
    Default,
}

impl ZoneSource {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::Number => "number",
            Self::Default => "default",
        }
    }
}

/// A recipient's time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecipientZone {
    pub zone: Tz,
    pub source: ZoneSource,
    /// The contact names a zone that does not exist. What needs no local time goes by the zone found instead; a message
    /// that is to come at the recipient's own time cannot.
    pub is_bad: bool,
}

impl RecipientZone {
    /// The contact's own zone; else the number's, where its first digits have exactly one (`number_zone`); else the
    /// campaign's.
    pub fn of(contact: &Contact, number_zone: Option<Tz>, default: Tz) -> Self {
        let (zone, source) = match (contact.zone(), number_zone) {
            (Some(zone), _) => (zone, ZoneSource::Contact),
            (None, Some(zone)) => (zone, ZoneSource::Number),
            (None, None) => (default, ZoneSource::Default),
        };
        Self { zone, source, is_bad: contact.has_bad_time_zone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(zone: Option<&str>) -> Contact {
        let mut contact = Contact::default();
        contact.details.time_zone = zone.map(str::to_owned);
        contact
    }

    const OSLO: Tz = Tz::Europe__Oslo;
    const DEFAULT: Tz = Tz::America__New_York;

    #[test]
    fn the_contacts_own_zone_goes_before_the_numbers_and_that_before_the_campaigns() {
        let zone = |own, number| {
            let found = RecipientZone::of(&contact(own), number, DEFAULT);
            (found.zone, found.source.as_str(), found.is_bad)
        };
        assert_eq!(zone(Some("Asia/Tokyo"), Some(OSLO)), (Tz::Asia__Tokyo, "contact", false));
        assert_eq!(zone(None, Some(OSLO)), (OSLO, "number", false));
        assert_eq!(zone(None, None), (DEFAULT, "default", false));
    }

    #[test]
    fn a_zone_that_does_not_exist_is_marked_and_the_next_best_is_found() {
        let zone = |number| RecipientZone::of(&contact(Some("Mars/Base")), number, DEFAULT);
        assert_eq!(zone(Some(OSLO)).source, ZoneSource::Number);
        assert_eq!(zone(None).source, ZoneSource::Default);
        assert!(zone(None).is_bad && zone(Some(OSLO)).is_bad);
    }
}
