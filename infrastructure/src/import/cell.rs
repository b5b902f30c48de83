//! What single cells say.

use std::collections::HashMap;
use std::sync::LazyLock;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Utc};
use chrono_tz::Tz;
use domain::contact::ConsentStatus;

use super::TimeZoneCell;
use super::aliases::normalise;

/// Why a consent cell is refused: what it says must never be guessed.
pub(super) const CONSENT_WANTED: &str =
    "consent is yes or no (opted_in, opted_out, true, false, 1, 0; empty where it is not known)";
pub(super) const OPT_OUT_WANTED: &str = "opt-out is yes or no (true, false, 1, 0; empty means no)";
pub(super) const MOMENT_WANTED: &str =
    "a date is written 2026-03-01, or 2026-03-01T09:30:00Z with the time";
pub(super) const LANGUAGE_WANTED: &str = "a language is a code like pt_BR or en";

/// The parts of a list of tags, each once, in their order.
pub(super) fn tags(text: &str) -> Vec<String> {
    let mut tags: Vec<String> = Vec::new();
    for tag in text.split([',', ';', '|']).map(str::trim).filter(|tag| !tag.is_empty()) {
        if !tags.iter().any(|known| known == tag) {
            tags.push(tag.to_owned());
        }
    }
    tags
}

/// Whether a person agreed; `None` where the cell cannot be read. A cell that says that nobody knows is a word of its own: it
/// is not one that leaves the question open.
pub(super) fn consent(text: &str) -> Option<ConsentStatus> {
    match normalise(text).as_str() {
        "yes" | "y" | "true" | "t" | "1" | "on" | "ok" | "in" | "optin" | "optedin"
        | "subscribed" | "granted" | "given" | "accepted" | "sim" | "s" | "aceito" | "si"
        | "acepto" | "aceptado" | "ja" | "j" | "wahr" | "erteilt" | "oui" | "o" | "vrai"
        | "accepte" | "verdadeiro" | "verdadero" => Some(ConsentStatus::OptedIn),
        "no" | "n" | "false" | "f" | "0" | "off" | "out" | "optout" | "optedout"
        | "unsubscribed" | "denied" | "refused" | "revoked" | "withdrawn" | "stop" | "nao"
        | "recusado" | "rechazado" | "nein" | "falsch" | "widerrufen" | "abgelehnt" | "non"
        | "faux" | "refuse" | "falso" => Some(ConsentStatus::OptedOut),
        "unknown" | "na" | "null" | "none" | "pending" | "desconhecido" | "desconocido"
        | "unbekannt" | "inconnu" => Some(ConsentStatus::Unknown),
        "" if matches!(text, "-" | "?" | "–") => Some(ConsentStatus::Unknown),
        _ => None,
    }
}

/// Whether a person opted out, from a column that asks for that.
pub(super) fn opt_out(text: &str) -> Option<bool> {
    match normalise(text).as_str() {
        "in" | "optin" | "optedin" | "subscribed" => Some(false),
        "out" | "optout" | "optedout" | "unsubscribed" | "stop" => Some(true),
        _ => consent(text).map(|yes| yes == ConsentStatus::OptedIn),
    }
}

/// A moment in UTC, to the millisecond. Without a zone UTC is meant, without a time midnight. Dates with slashes are
/// refused, as half the world reads them the other way round.
pub(super) fn moment(text: &str) -> Option<DateTime<Utc>> {
    const WITH_TIME: [&str; 6] = [
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M",
        "%Y-%m-%d %H:%M",
        "%d.%m.%Y %H:%M:%S",
        "%d.%m.%Y %H:%M",
    ];
    let naive = || {
        let with_time =
            WITH_TIME.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
        with_time.or_else(|| {
            let date = ["%Y-%m-%d", "%d.%m.%Y"]
                .iter()
                .find_map(|form| NaiveDate::parse_from_str(text, form).ok())?;
            date.and_hms_opt(0, 0, 0)
        })
    };
    let zoned = DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f %z"))
        .map(|moment| moment.with_timezone(&Utc));
    let moment = zoned.ok().or_else(|| naive().map(|naive| naive.and_utc()))?;
    // Four digits: chrono reads `26-03-01` as the year 26.
    if !(1970..=9999).contains(&moment.year()) {
        return None;
    }
    DateTime::from_timestamp_millis(moment.timestamp_millis())
}

/// A language as WhatsApp writes it (`pt_BR`), from a code in any spelling or a common language's name.
pub(super) fn language(text: &str) -> Option<String> {
    let mut parts = text.split(['_', '-']);
    let code = parts.next().unwrap_or_default();
    if (2..=3).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphabetic()) {
        let mut language = code.to_ascii_lowercase();
        for part in parts {
            let is_word = part.bytes().all(|b| b.is_ascii_alphanumeric());
            match part.len() {
                2 | 3 if is_word && language.len() <= 3 => {
                    language.push('_');
                    language.push_str(&part.to_ascii_uppercase());
                }
                // A script (`zh-Hant-HK`), which WhatsApp's codes leave out.
                4 if is_word => {}
                _ => return None,
            }
        }
        return Some(language);
    }
    let code = match normalise(text).as_str() {
        "english" | "ingles" | "englisch" | "anglais" => "en",
        "portugues" | "portuguese" | "portugiesisch" | "portugais" => "pt",
        "espanol" | "spanish" | "espanhol" | "spanisch" | "espagnol" | "castellano" => "es",
        "deutsch" | "german" | "alemao" | "aleman" | "allemand" => "de",
        "francais" | "french" | "frances" | "franzosisch" | "franzoesisch" => "fr",
        "italiano" | "italian" | "italienisch" | "italien" => "it",
        "nederlands" | "dutch" | "holandes" | "niederlandisch" | "neerlandais" => "nl",
        "hindi" => "hi",
        "arabic" | "arabe" | "arabisch" => "ar",
        _ => return None,
    };
    Some(code.to_owned())
}

/// The zone of this name in the tz database, in any case and with blanks for underscores; else the text, as a person
/// must not be lost for it.
pub(super) fn time_zone(text: &str) -> TimeZoneCell {
    static ZONES: LazyLock<HashMap<String, Tz>> = LazyLock::new(|| {
        chrono_tz::TZ_VARIANTS
            .iter()
            .map(|zone| (zone.name().to_ascii_lowercase(), *zone))
            .collect()
    });
    let name = text.to_ascii_lowercase().replace(' ', "_");
    ZONES
        .get(&name)
        .map_or_else(|| TimeZoneCell::Unknown(text.to_owned()), |zone| TimeZoneCell::Known(*zone))
}

/// Whether `whole` has `part` among its words, so that a name is not joined with what it already contains.
pub(super) fn has_words(whole: &str, part: &str) -> bool {
    let words = |text: &str| text.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>();
    let (whole, part) = (words(whole), words(part));
    part.is_empty() || whole.windows(part.len()).any(|some| some == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_split_trimmed_and_kept_once() {
        assert_eq!(tags(" vip, new;vip | São Paulo ,,"), ["vip", "new", "São Paulo"]);
    }

    #[test]
    fn consent_is_read_in_five_languages_and_never_guessed() {
        for text in ["yes", "Opted_In", "opt-in", "TRUE", "1", "Sim", "Sí", "ja", "Oui"] {
            assert_eq!(consent(text), Some(ConsentStatus::OptedIn), "{text}");
        }
        for text in ["no", "opted_out", "FALSE", "0", "Não", "nein", "Non"] {
            assert_eq!(consent(text), Some(ConsentStatus::OptedOut), "{text}");
        }
        for text in ["unknown", "n/a", "-", "?"] {
            assert_eq!(consent(text), Some(ConsentStatus::Unknown), "{text}");
        }
        for text in ["maybe", "2", "newsletter", "!"] {
            assert_eq!(consent(text), None, "{text}");
        }
    }

    #[test]
    fn an_opt_out_column_means_the_opposite_unless_it_names_the_state() {
        for (text, expected) in [
            ("yes", Some(true)),
            ("nein", Some(false)),
            ("opted_out", Some(true)),
            ("subscribed", Some(false)),
            ("unknown", Some(false)),
            ("perhaps", None),
        ] {
            assert_eq!(opt_out(text), expected, "{text}");
        }
    }

    #[test]
    fn moments_are_utc_unless_they_say_otherwise() {
        for (text, expected) in [
            ("2026-03-01", "2026-03-01T00:00:00Z"),
            ("2026-03-01 09:30", "2026-03-01T09:30:00Z"),
            ("2026-03-01T09:30:15.123456", "2026-03-01T09:30:15.123Z"),
            ("2026-03-01T09:30:00+02:00", "2026-03-01T07:30:00Z"),
            ("2026-03-01 09:30:00 +0200", "2026-03-01T07:30:00Z"),
            ("1.3.2026", "2026-03-01T00:00:00Z"),
        ] {
            assert_eq!(moment(text), Some(expected.parse().unwrap()), "{text}");
        }
        for text in ["03/01/2026", "26-03-01", "2026-02-30", "1772355600", "yesterday", ""] {
            assert_eq!(moment(text), None, "{text}");
        }
    }

    #[test]
    fn languages_are_written_as_whatsapp_does() {
        for (text, expected) in [
            ("pt-br", "pt_BR"),
            ("PT_BR", "pt_BR"),
            ("en", "en"),
            ("zh-Hant-HK", "zh_HK"),
            ("es-419", "es_419"),
            ("fil", "fil"),
            ("Português", "pt"),
            ("Deutsch", "de"),
        ] {
            assert_eq!(language(text).as_deref(), Some(expected), "{text}");
        }
        for text in ["Klingon", "p", "pt_", "pt_BR_XX", "12"] {
            assert_eq!(language(text), None, "{text}");
        }
    }

    #[test]
    fn zones_are_found_in_any_spelling_and_others_keep_their_text() {
        assert_eq!(time_zone("america/sao paulo"), TimeZoneCell::Known(Tz::America__Sao_Paulo));
        assert_eq!(time_zone("UTC"), TimeZoneCell::Known(Tz::UTC));
        assert_eq!(time_zone("Brasília"), TimeZoneCell::Unknown("Brasília".to_owned()));
    }

    #[test]
    fn a_name_is_found_by_whole_words() {
        assert!(has_words("Ana Maria Silva", "ana maria"));
        assert!(!has_words("Anabel Silva", "Ana"));
    }
}
