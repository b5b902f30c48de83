//! Small JSON made smaller. A document, a notification and what an event seals are a few hundred bytes that mostly say
//! the same: field names and the words of the protocol. Those are in a dictionary that comes with the program, so that
//! even a single one shrinks to a third.
//!
//! What is packed begins with a byte that says how: 0 as it is, 1 with the first dictionary. A dictionary is for ever,
//! since what was packed with it is in somebody's log; a better one gets the next number. The first was trained
//! (`zstd --train --maxdict=16384`) on messages, contacts, sealed values and webhooks with made-up names, numbers and
//! ids.

use std::cell::RefCell;
use std::sync::LazyLock;

use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};
use zstd::zstd_safe::CParameter;

/// What unpacking makes at most.
pub const PLAIN_BYTES_MAX: usize = 64 * 1024 * 1024;

const AS_IT_IS: u8 = 0;
const FIRST_DICTIONARY: u8 = 1;
/// Higher ones take much longer for little.
const LEVEL: i32 = 1;

static FIRST: &[u8] = include_bytes!("1.dictionary");
static ENCODER: LazyLock<EncoderDictionary<'static>> =
    LazyLock::new(|| EncoderDictionary::copy(FIRST, LEVEL));
static DECODER: LazyLock<DecoderDictionary<'static>> =
    LazyLock::new(|| DecoderDictionary::copy(FIRST));

thread_local! {
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = RefCell::new(compressor().ok());
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> =
        RefCell::new(Decompressor::with_prepared_dictionary(&DECODER).ok());
}

/// The bytes are not what was packed. Never quotes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("packed bytes do not unpack: they were changed, or packed by a newer version")]
pub struct Corrupt;

fn compressor() -> std::io::Result<Compressor<'static>> {
    let mut compressor = Compressor::with_prepared_dictionary(&ENCODER)?;
    // Both are known from the byte and the length in front.
    compressor.set_parameter(CParameter::DictIdFlag(false))?;
    compressor.set_parameter(CParameter::ContentSizeFlag(false))?;
    Ok(compressor)
}

/// Packs what is at most [`PLAIN_BYTES_MAX`]; what does not shrink is left as it is.
pub fn pack(plain: &[u8]) -> Vec<u8> {
    let mut packed = vec![FIRST_DICTIONARY];
    put_length(plain.len(), &mut packed);
    let compressed = COMPRESSOR.with_borrow_mut(|compressor| {
        compressor.as_mut().and_then(|compressor| compressor.compress(plain).ok())
    });
    match compressed {
        Some(compressed) if packed.len() + compressed.len() <= plain.len() => {
            packed.extend_from_slice(&compressed);
            packed
        }
        _ => {
            let mut packed = Vec::with_capacity(1 + plain.len());
            packed.push(AS_IT_IS);
            packed.extend_from_slice(plain);
            packed
        }
    }
}

/// What was packed. JSON that was stored before there was packing is answered as it is: none begins with such a byte.
///
/// # Errors
/// [`Corrupt`].
pub fn unpack(packed: &[u8]) -> Result<Vec<u8>, Corrupt> {
    match packed {
        [AS_IT_IS, plain @ ..] => Ok(plain.to_vec()),
        [FIRST_DICTIONARY, rest @ ..] => {
            let (length, compressed) = take_length(rest)?;
            let plain = DECOMPRESSOR.with_borrow_mut(|decompressor| {
                decompressor.as_mut()?.decompress(compressed, length).ok()
            });
            plain.filter(|plain| plain.len() == length).ok_or(Corrupt)
        }
        [newer, ..] if *newer < b' ' && !newer.is_ascii_whitespace() => Err(Corrupt),
        plain => Ok(plain.to_vec()),
    }
}

/// Seven bits a byte, the lowest first; all but the last have the highest bit.
fn put_length(mut length: usize, to: &mut Vec<u8>) {
    while length >= 0x80 {
        to.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    to.push(length as u8);
}

fn take_length(bytes: &[u8]) -> Result<(usize, &[u8]), Corrupt> {
    let mut length = 0;
    for (place, byte) in bytes.iter().enumerate().take(4) {
        length |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return if length <= PLAIN_BYTES_MAX {
                Ok((length, &bytes[place + 1..]))
            } else {
                Err(Corrupt)
            };
        }
    }
    Err(Corrupt)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STATUS: &str = r#"{"object":"whatsapp_business_account","entry":[{"id":"301000000000001","changes":[{"field":"messages","value":{"messaging_product":"whatsapp","metadata":{"display_phone_number":"15550100199","phone_number_id":"402000000000002"},"contacts":[{"profile":{"name":"Ada Quill"},"user_id":"GB.7204418839015526601","wa_id":"447700900123"}],"statuses":[{"id":"wamid.ZXhhbXBsZS1vdXQtNA==","status":"delivered","timestamp":"1795305636","recipient_id":"447700900123","biz_opaque_callback_data":"wg1.01a21b2b-cdd2-886c-abc8-1c3316d39d2e.1"}]}}]}]}"#;

    #[test]
    fn a_single_status_shrinks_to_less_than_a_third_of_itself() {
        let packed = pack(STATUS.as_bytes());
        assert!(packed.len() * 3 < STATUS.len(), "{} of {}", packed.len(), STATUS.len());
        assert_eq!(unpack(&packed).unwrap(), STATUS.as_bytes());
    }

    #[test]
    fn what_an_older_version_stored_plain_is_read_as_it_is() {
        for plain in [STATUS, "[]", " {}", "\n{}", "\"text\"", ""] {
            assert_eq!(unpack(plain.as_bytes()).unwrap(), plain.as_bytes());
        }
    }

    #[test]
    fn what_a_newer_version_packed_is_refused() {
        assert_eq!(unpack(&[2, 1, 1]), Err(Corrupt));
    }

    #[test]
    fn a_length_beyond_the_bound_is_refused_before_any_memory_is_taken() {
        let mut packed = vec![FIRST_DICTIONARY];
        put_length(PLAIN_BYTES_MAX + 1, &mut packed);
        assert_eq!(unpack(&packed), Err(Corrupt));
        assert_eq!(unpack(&[FIRST_DICTIONARY, 0xff, 0xff, 0xff, 0xff, 0xff]), Err(Corrupt));
        assert_eq!(unpack(&[FIRST_DICTIONARY]), Err(Corrupt));
    }

    /// What this very version wrote must open with every later one.
    #[test]
    fn the_first_dictionary_is_the_one_that_logs_were_packed_with() {
        assert_eq!(FIRST.len(), 16_384);
        let sum = FIRST.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        assert_eq!(sum, 7_401_361_678_767_253_120);
    }

    proptest! {
        #[test]
        fn whatever_is_packed_unpacks_to_the_same(plain in prop::collection::vec(any::<u8>(), 0..3_000)) {
            prop_assert_eq!(unpack(&pack(&plain)).unwrap(), plain);
        }

        #[test]
        fn bytes_from_anywhere_never_panic(packed in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = unpack(&packed);
        }
    }
}
