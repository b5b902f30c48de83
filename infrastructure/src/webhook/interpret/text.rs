//! Texts of WhatsApp's made fit to keep: no numbers of people in what is not sealed, no length without a bound.

use domain::primitives::UserId;

/// Meta's explanations are sentences; what is longer is cut.
const EXPLANATION_CHARS_MAX: usize = 500;
/// Names of fields, events and types.
const WORD_CHARS_MAX: usize = 64;
/// A number of people has at least this many digits (ITU-T E.164 has no lower bound; shorter ones are error codes).
const DIGITS_MIN: usize = 7;

/// An explanation without anybody's number, user id or message id in it.
pub fn impersonal(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for (index, word) in text.split(' ').enumerate() {
        if index > 0 {
            clean.push(' ');
        }
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        // A user id's local part is long; `EU.A` in a sentence is none.
        let is_user_id = bare.len() > DIGITS_MIN && UserId::parse(bare).is_ok();
        if is_user_id || bare.starts_with("wamid") {
            clean.push('…');
        } else {
            clean.push_str(word);
        }
    }
    cut(&without_numbers(&clean), EXPLANATION_CHARS_MAX)
}

/// A name of WhatsApp's, bounded.
pub fn word(text: &str) -> String {
    cut(text, WORD_CHARS_MAX)
}

pub fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Runs of digits, with what people put between them, become `…` where they are long enough for a phone number.
fn without_numbers(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut run = String::new();
    for c in text.chars().map(Some).chain([None]) {
        let in_run = |c: char| {
            c.is_ascii_digit() || "+ ()-./\u{a0}".contains(c) && !(run.is_empty() && c != '+')
        };
        match c {
            Some(c) if in_run(c) => run.push(c),
            _ => {
                if run.bytes().filter(u8::is_ascii_digit).count() >= DIGITS_MIN {
                    let end = run.trim_end_matches(|c: char| !c.is_ascii_digit()).len();
                    clean.push('…');
                    clean.push_str(&run[end..]);
                } else {
                    clean.push_str(&run);
                }
                run.clear();
                clean.extend(c);
            }
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ids_of_people_are_blotted_out_and_codes_stay() {
        for (text, clean) in [
            ("Message undeliverable.", "Message undeliverable."),
            ("(#131026) not on WhatsApp, v23.0", "(#131026) not on WhatsApp, v23.0"),
            ("447700900123 is not in the list", "… is not in the list"),
            ("To +44 (0) 7700-900 123. Try later", "To …. Try later"),
            ("user GB.7204418839015526601, sorry", "user … sorry"),
            ("id wamid.HBgLNDQ3NzAwOTAwMTIz", "id …"),
            ("See EU.A and 24 hours", "See EU.A and 24 hours"),
            ("Grüße 4477009001234", "Grüße …"),
        ] {
            assert_eq!(impersonal(text), clean);
        }
        assert_eq!(impersonal(&"x".repeat(600)).chars().count(), 501);
    }
}
