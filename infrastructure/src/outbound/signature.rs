//! Signatures as Standard Webhooks 1.0 has them, symmetric: HMAC-SHA256 over `{id}.{timestamp}.{body}`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::crypto::secret::Secret;

/// What every secret begins with, so that leaked ones are found by scanners.
const PREFIX: &str = "whsec_";
const SECRET_BYTES: usize = 32;

/// A new secret, in the form that libraries take.
pub fn new_secret() -> Secret {
    let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
    SystemRandom::new().fill(bytes.as_mut()).expect("the system has a source of randomness");
    Secret::new(format!("{PREFIX}{}", STANDARD.encode(bytes.as_ref())))
}

/// The value of `webhook-signature`: one signature for each secret. A secret that is none of ours signs nothing.
pub fn sign(secrets: &[Secret], id: &str, timestamp: i64, body: &[u8]) -> String {
    let signature = |secret: &Secret| {
        let encoded = secret.expose().strip_prefix(PREFIX)?;
        let key = Zeroizing::new(STANDARD.decode(encoded).ok()?);
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &key));
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        Some(format!("v1,{}", STANDARD.encode(context.sign())))
    };
    secrets.iter().filter_map(signature).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_signs_as_the_reference_library_does() {
        // The example of the specification's reference implementations.
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned());
        let signed = sign(
            std::slice::from_ref(&secret),
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let both = sign(
            &[new_secret(), secret],
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(both.split(' ').count(), 2);
        assert!(both.ends_with(&signed));
    }

    #[test]
    fn secrets_are_long_and_differ() {
        let secret = new_secret();
        assert!(secret.expose().starts_with(PREFIX));
        let bytes = STANDARD.decode(&secret.expose()[PREFIX.len()..]).unwrap();
        assert_eq!(bytes.len(), SECRET_BYTES);
        assert_ne!(secret.expose(), new_secret().expose());
    }
}
