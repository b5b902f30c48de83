//! Whether a notification is Meta's: HMAC-SHA256 over the body's bytes as they came, with the app's secret, before
//! anything parses them (reference: section 4.2). Parsing and writing the JSON anew would change the bytes: Meta signs
//! its `\uXXXX` escapes as they stand.
//!
//! All comparisons take the same time wherever the values differ, and no error or log repeats a secret, a token or a
//! signature. The legacy `X-Hub-Signature` (SHA-1) is never looked at.

use ring::hmac;

/// The header that carries the signature.
pub const HEADER: &str = "X-Hub-Signature-256";

/// What stands before the hexadecimal digits.
const PREFIX: &[u8] = b"sha256=";
/// HMAC-SHA256 has 32 bytes.
const TAG_BYTES: usize = 32;
/// Longer challenges than this are not Meta's, and are not sent back.
const CHALLENGE_CHARS_MAX: usize = 256;

/// Why a body is not taken for Meta's. Callers outside are told nothing of it but 401.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("the header X-Hub-Signature-256 is missing")]
    Missing,
    #[error("X-Hub-Signature-256 is not sha256= and 64 lower-case hexadecimal digits")]
    Malformed,
    #[error("the signature is not this app secret's over this body")]
    Wrong,
}

/// The header's value for `body`: what Meta, or the sandbox in its place, sends.
pub fn sign(app_secret: &str, body: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, app_secret.as_bytes()), body);
    format!("sha256={}", hex::encode(tag.as_ref()))
}

/// Checks the header's value against the bytes of the body as received. `app_secrets` are those that count: one, or two
/// while a secret is being replaced; an empty one never does.
///
/// # Errors
/// [`SignatureError`]: the body must not be read.
pub fn verify(
    app_secrets: &[&str],
    header: Option<&[u8]>,
    body: &[u8],
) -> Result<(), SignatureError> {
    let tag = parse(header.ok_or(SignatureError::Missing)?)?;
    let is_signed = app_secrets
        .iter()
        .filter(|secret| !secret.is_empty())
        .map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))
        .fold(false, |is_signed, key| hmac::verify(&key, body, &tag).is_ok() | is_signed);
    if is_signed { Ok(()) } else { Err(SignatureError::Wrong) }
}

fn parse(header: &[u8]) -> Result<[u8; TAG_BYTES], SignatureError> {
    let digits = header.strip_prefix(PREFIX).ok_or(SignatureError::Malformed)?;
    if digits.iter().any(u8::is_ascii_uppercase) {
        return Err(SignatureError::Malformed);
    }
    let mut tag = [0; TAG_BYTES];
    hex::decode_to_slice(digits, &mut tag).map_err(|_| SignatureError::Malformed)?;
    Ok(tag)
}

/// Whether `given` is the verify token, in time that depends on neither's content. An empty token never is.
pub fn token_matches(expected: &str, given: &str) -> bool {
    // Both go through a hash first, so that not even the length shows.
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"verify token");
    let tag = hmac::sign(&key, expected.as_bytes());
    hmac::verify(&key, given.as_bytes(), tag.as_ref()).is_ok() & !expected.is_empty()
}

/// What to answer, as text/plain with 200, to the request with which Meta checks a callback URL (reference: section
/// 4.1); `None`: refuse. The arguments are the query's `hub.mode`, `hub.verify_token` and `hub.challenge`.
pub fn challenge_answer<'a>(
    expected_token: &str,
    mode: Option<&str>,
    token: Option<&str>,
    challenge: Option<&'a str>,
) -> Option<&'a str> {
    let token_is_right = token_matches(expected_token, token.unwrap_or_default());
    let challenge = challenge.filter(|text| (1..=CHALLENGE_CHARS_MAX).contains(&text.len()))?;
    (token_is_right && mode == Some("subscribe")).then_some(challenge)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn vector() -> Value {
        serde_json::from_str(include_str!("../../tests/fixtures/webhook-signature.json")).unwrap()
    }

    #[test]
    fn the_test_vector_verifies_and_is_what_we_sign() {
        let vector = vector();
        let secret = vector["app_secret"].as_str().unwrap();
        let body = vector["raw_body"].as_str().unwrap().as_bytes();
        let header = vector["header"][HEADER].as_str().unwrap();
        assert_eq!(verify(&[secret], Some(header.as_bytes()), body), Ok(()));
        assert_eq!(sign(secret, body), header);
    }

    #[test]
    fn every_header_that_must_fail_does() {
        let vector = vector();
        let secret = vector["app_secret"].as_str().unwrap();
        let body = vector["raw_body"].as_str().unwrap().as_bytes();
        let refused = |name: &str| {
            let header = vector["must_fail"][name].as_str().unwrap();
            verify(&[secret], Some(header.as_bytes()), body).unwrap_err()
        };
        assert_eq!(refused("signature_of_reserialised_body"), SignatureError::Wrong);
        for name in ["upper_case_prefix", "no_prefix", "truncated", "not_hex", "sha1_header_only"] {
            assert_eq!(refused(name), SignatureError::Malformed, "{name}");
        }
        assert_eq!(verify(&[secret], None, body), Err(SignatureError::Missing));
    }

    #[test]
    fn either_secret_counts_while_one_is_replaced_and_an_empty_one_never() {
        let header = sign("new", b"{}");
        assert_eq!(verify(&["old", "new"], Some(header.as_bytes()), b"{}"), Ok(()));
        assert_eq!(verify(&["new", "old"], Some(header.as_bytes()), b"{}"), Ok(()));
        assert_eq!(verify(&["old"], Some(header.as_bytes()), b"{}"), Err(SignatureError::Wrong));
        let of_nothing = sign("", b"{}");
        assert_eq!(verify(&[""], Some(of_nothing.as_bytes()), b"{}"), Err(SignatureError::Wrong));
        assert_eq!(verify(&[], Some(header.as_bytes()), b"{}"), Err(SignatureError::Wrong));
    }

    #[test]
    fn upper_case_digits_and_anything_around_them_are_refused() {
        let header = sign("s", b"{}");
        let shouting = format!("sha256={}", header[7..].to_ascii_uppercase());
        for wrong in [shouting, format!("{header}0"), format!(" {header}"), format!("{header} ")] {
            assert_eq!(
                verify(&["s"], Some(wrong.as_bytes()), b"{}"),
                Err(SignatureError::Malformed)
            );
        }
    }

    #[test]
    fn a_challenge_is_answered_only_for_the_right_token_and_mode() {
        let answer = |mode, token| challenge_answer("secret", mode, token, Some("1158201444"));
        assert_eq!(answer(Some("subscribe"), Some("secret")), Some("1158201444"));
        assert_eq!(answer(Some("unsubscribe"), Some("secret")), None);
        assert_eq!(answer(Some("subscribe"), Some("secre")), None);
        assert_eq!(answer(Some("subscribe"), None), None);
        assert_eq!(challenge_answer("", Some("subscribe"), Some(""), Some("1")), None);
        assert_eq!(challenge_answer("secret", Some("subscribe"), Some("secret"), None), None);
    }

    proptest! {
        #[test]
        fn signing_then_verifying_holds_and_no_other_body_or_secret_does(
            secret in "[a-z0-9]{1,40}", body: Vec<u8>, other: Vec<u8>,
        ) {
            let header = sign(&secret, &body);
            let longer = format!("{secret}x");
            let verified = |secret: &str, body: &[u8]| verify(&[secret], Some(header.as_bytes()), body).is_ok();
            prop_assert!(verified(&secret, &body));
            prop_assert!(!verified(&longer, &body));
            prop_assert_eq!(verified(&secret, &other), body == other);
        }

        #[test]
        fn any_header_is_refused_without_a_panic(header: Vec<u8>) {
            let refused = verify(&["secret"], Some(&header), b"a body").is_err();
            prop_assert!(refused);
        }
    }
}
