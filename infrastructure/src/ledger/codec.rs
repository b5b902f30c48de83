//! From an event's payload with marked personal data to what the log holds, and back.
//!
//! All values under `{"$p": …}` go, in the order of a walk, into one JSON array that is packed and sealed with the
//! subject's key for this event's id. Each mark keeps the index of its value, and the payload gains `"$sealed"`, in base64. Once the key
//! is destroyed, every mark reads `{"$e": true}`. A payload without marks is stored as it is.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use domain::primitives::{MARK_ERASED, MARK_KNOWN};
use serde_json::{Map, Value};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::crypto::{DataKey, SubjectKey};

/// The payload's key under which the sealed values stand.
pub const SEALED: &str = "$sealed";
/// Levels a payload may nest: what is deeper could be written and never read again (the parser stops at 128).
pub const DEPTH_MAX: usize = 100;

/// Why a payload can be neither sealed nor opened. Never quotes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("the payload is no JSON object")]
    NotAnObject,
    #[error("the payload nests more than 100 levels deep")]
    TooDeep,
    #[error("the payload uses the reserved name $sealed")]
    Reserved,
    #[error("the payload is no JSON")]
    Malformed,
    #[error("the sealed part does not open: it was changed, moved, or sealed with another key")]
    Unopenable,
    #[error("the marks and the sealed values do not match")]
    Mismatch,
    #[error("its subject has no key")]
    NoKey,
}

/// Whether there is personal data to seal.
pub fn has_marks(payload: &Value) -> bool {
    match payload {
        Value::Object(map) => is_mark(map, MARK_KNOWN) || map.values().any(has_marks),
        Value::Array(items) => items.iter().any(has_marks),
        _ => false,
    }
}

/// Whether opening needs the subject's key. Exact, because a quote inside a text is escaped.
pub fn is_sealed(stored: &str) -> bool {
    stored.contains("\"$sealed\"")
}

/// The payload as it is stored.
///
/// # Errors
/// [`CodecError::TooDeep`], [`CodecError::NotAnObject`] and [`CodecError::Reserved`]: no event of ours is like that.
pub fn seal_event(mut payload: Value, event_id: Uuid, key: &DataKey) -> Result<String, CodecError> {
    check_depth(&payload)?;
    let mut values = Vec::new();
    take_marks(&mut payload, &mut values);
    if values.is_empty() {
        return plain_event(payload);
    }
    let plain = Zeroizing::new(to_string(&values).into_bytes());
    let packed = Zeroizing::new(gateway_pack::pack(&plain));
    let sealed = STANDARD_NO_PAD.encode(key.seal(event_id.as_bytes(), &packed));
    let map = payload.as_object_mut().ok_or(CodecError::NotAnObject)?;
    if map.insert(SEALED.to_owned(), Value::String(sealed)).is_some() {
        return Err(CodecError::Reserved);
    }
    Ok(to_string(&payload))
}

/// The payload as it is stored for a subject that was erased: that there were values is all that is kept.
///
/// # Errors
/// As [`seal_event`].
pub fn erase_event(mut payload: Value) -> Result<String, CodecError> {
    check_depth(&payload)?;
    erase_marks(&mut payload);
    plain_event(payload)
}

/// The payload with its personal data in the clear, marked; marked as erased where the key was destroyed. `key` is not
/// looked at for a payload that is not sealed.
///
/// # Errors
/// [`CodecError`], where it is not as it was stored.
pub fn open_event(
    stored: &str,
    event_id: Uuid,
    key: Option<&SubjectKey>,
) -> Result<Value, CodecError> {
    let mut payload: Value = serde_json::from_str(stored).map_err(|_| CodecError::Malformed)?;
    let map = payload.as_object_mut().ok_or(CodecError::NotAnObject)?;
    let Some(sealed) = map.remove(SEALED) else {
        // A mark can only be there with its value sealed.
        let is_whole = !stored.contains("\"$p\"") || !has_marks(&payload);
        return if is_whole { Ok(payload) } else { Err(CodecError::Mismatch) };
    };
    match key {
        Some(SubjectKey::Live(key)) => {
            let sealed = sealed
                .as_str()
                .and_then(|text| STANDARD_NO_PAD.decode(text).ok())
                .ok_or(CodecError::Unopenable)?;
            let packed =
                key.open(event_id.as_bytes(), &sealed).map_err(|_| CodecError::Unopenable)?;
            let plain = gateway_pack::unpack(&packed).map_err(|_| CodecError::Mismatch)?;
            let plain = Zeroizing::new(plain);
            let values: Vec<Value> =
                serde_json::from_slice(&plain).map_err(|_| CodecError::Mismatch)?;
            let mut values: Vec<Option<Value>> = values.into_iter().map(Some).collect();
            put_marks(&mut payload, &mut values)?;
            if values.iter().any(Option::is_some) {
                return Err(CodecError::Mismatch);
            }
        }
        Some(SubjectKey::Destroyed) => erase_marks(&mut payload),
        Some(SubjectKey::Missing) | None => return Err(CodecError::NoKey),
    }
    Ok(payload)
}

fn plain_event(payload: Value) -> Result<String, CodecError> {
    match payload.as_object() {
        None => Err(CodecError::NotAnObject),
        Some(map) if map.contains_key(SEALED) => Err(CodecError::Reserved),
        Some(_) => Ok(to_string(&payload)),
    }
}

fn is_mark(map: &Map<String, Value>, mark: &str) -> bool {
    map.len() == 1 && map.contains_key(mark)
}

/// Never looks inside a marked value: what looks like a mark there is data.
fn take_marks(value: &mut Value, values: &mut Vec<Value>) {
    match value {
        Value::Object(map) if is_mark(map, MARK_KNOWN) => {
            for value in map.values_mut() {
                let index = Value::from(values.len());
                values.push(std::mem::replace(value, index));
            }
        }
        Value::Object(map) => map.values_mut().for_each(|value| take_marks(value, values)),
        Value::Array(items) => items.iter_mut().for_each(|item| take_marks(item, values)),
        _ => {}
    }
}

fn put_marks(value: &mut Value, values: &mut [Option<Value>]) -> Result<(), CodecError> {
    match value {
        Value::Object(map) if is_mark(map, MARK_KNOWN) => {
            for value in map.values_mut() {
                *value = value
                    .as_u64()
                    .and_then(|index| usize::try_from(index).ok())
                    .and_then(|index| values.get_mut(index)?.take())
                    .ok_or(CodecError::Mismatch)?;
            }
            Ok(())
        }
        Value::Object(map) => map.values_mut().try_for_each(|value| put_marks(value, values)),
        Value::Array(items) => items.iter_mut().try_for_each(|item| put_marks(item, values)),
        _ => Ok(()),
    }
}

fn erase_marks(value: &mut Value) {
    match value {
        Value::Object(map) if is_mark(map, MARK_KNOWN) => {
            map.clear();
            map.insert(MARK_ERASED.to_owned(), Value::Bool(true));
        }
        Value::Object(map) => map.values_mut().for_each(erase_marks),
        Value::Array(items) => items.iter_mut().for_each(erase_marks),
        _ => {}
    }
}

fn check_depth(payload: &Value) -> Result<(), CodecError> {
    fn is_within(value: &Value, left: usize) -> bool {
        match value {
            Value::Object(map) => left > 0 && map.values().all(|value| is_within(value, left - 1)),
            Value::Array(items) => left > 0 && items.iter().all(|item| is_within(item, left - 1)),
            _ => true,
        }
    }
    if is_within(payload, DEPTH_MAX) { Ok(()) } else { Err(CodecError::TooDeep) }
}

fn to_string(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("JSON values have text keys and always serialise")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const EVENT: Uuid = Uuid::from_u128(7);

    fn live() -> (DataKey, SubjectKey) {
        let key = DataKey::random();
        (key.clone(), SubjectKey::Live(key))
    }

    fn payload() -> Value {
        json!({
            "type": "contact.added",
            "phone": {"$p": "+447700900123"},
            "name": {"$p": {"$p": "not a mark, but a name like one", "$e": 1}},
            "gone": {"$e": true},
            "list": [{"$p": ["Ana", 1]}, {"$p": null}],
            "tags": ["vip"],
        })
    }

    #[test]
    fn marked_values_are_sealed_wherever_they_stand_and_open_again() {
        let (key, subject_key) = live();
        let stored = seal_event(payload(), EVENT, &key).unwrap();
        assert!(is_sealed(&stored) && stored.contains("vip"));
        for plain in ["447700900123", "Ana", "a name like one"] {
            assert!(!stored.contains(plain), "{plain} in {stored}");
        }
        assert_eq!(open_event(&stored, EVENT, Some(&subject_key)).unwrap(), payload());
    }

    #[test]
    fn after_its_key_was_destroyed_every_mark_reads_erased() {
        let (key, _) = live();
        let stored = seal_event(payload(), EVENT, &key).unwrap();
        let opened = open_event(&stored, EVENT, Some(&SubjectKey::Destroyed)).unwrap();
        let erased = json!({"$e": true});
        assert_eq!(
            opened,
            json!({
                "type": "contact.added", "phone": erased, "name": erased, "gone": erased, "list": [erased, erased],
                "tags": ["vip"],
            })
        );
        assert_eq!(
            serde_json::from_str::<Value>(&erase_event(payload()).unwrap()).unwrap(),
            opened
        );
    }

    #[test]
    fn without_marks_nothing_is_sealed_and_no_key_is_needed() {
        let payload =
            json!({"type": "message.delivered", "attempt": 1, "note": "a \"$sealed\" word"});
        let stored = seal_event(payload.clone(), EVENT, &DataKey::random()).unwrap();
        assert!(!is_sealed(&stored));
        assert_eq!(open_event(&stored, EVENT, None).unwrap(), payload);
    }

    #[test]
    fn what_was_changed_or_moved_does_not_open() {
        let (key, subject_key) = live();
        let stored = seal_event(payload(), EVENT, &key).unwrap();
        let open = |stored: &str, id| open_event(stored, id, Some(&subject_key));
        assert_eq!(open(&stored, Uuid::from_u128(8)), Err(CodecError::Unopenable));
        assert_eq!(open_event(&stored, EVENT, Some(&live().1)), Err(CodecError::Unopenable));
        assert_eq!(open_event(&stored, EVENT, None), Err(CodecError::NoKey));
        let sealed: Value = serde_json::from_str(&stored).unwrap();
        let changed = |change: &dyn Fn(&mut Value)| {
            let mut stored = sealed.clone();
            change(&mut stored);
            open(&stored.to_string(), EVENT).unwrap_err()
        };
        assert_eq!(changed(&|s| s["phone"] = json!({"$p": 1})), CodecError::Mismatch);
        assert_eq!(changed(&|s| s["phone"] = json!({"$p": "+1"})), CodecError::Mismatch);
        assert_eq!(changed(&|s| s["phone"] = json!({"$e": true})), CodecError::Mismatch);
        assert_eq!(changed(&|s| s[SEALED] = json!("AAAA")), CodecError::Unopenable);
        assert_eq!(
            changed(&|s| drop(s.as_object_mut().unwrap().remove(SEALED))),
            CodecError::Mismatch
        );
    }

    #[test]
    fn what_could_never_be_read_again_is_not_written() {
        let mut deep = json!(1);
        for _ in 0..DEPTH_MAX {
            deep = json!([deep]);
        }
        let key = DataKey::random();
        let deep = json!({"a": {"$p": deep}});
        assert_eq!(seal_event(deep.clone(), EVENT, &key), Err(CodecError::TooDeep));
        assert_eq!(erase_event(deep), Err(CodecError::TooDeep));
        assert_eq!(seal_event(json!(["a"]), EVENT, &key), Err(CodecError::NotAnObject));
        let reserved = json!({"$sealed": "x", "a": {"$p": 1}});
        assert_eq!(seal_event(reserved, EVENT, &key), Err(CodecError::Reserved));
    }

    /// Any JSON, marks at any place, also inside of marks. Personal texts are recognisable.
    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z\"$\\\\é]{0,6}".prop_map(Value::from),
            Just(json!({"$e": true})),
        ];
        leaf.prop_recursive(5, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-z$]{1,5}", inner.clone(), 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
                inner.prop_map(|value| json!({"$p": value})),
                "[0-9]{6}".prop_map(|digits| json!({"$p": format!("PERSONAL-{digits}")})),
            ]
        })
    }

    proptest! {
        #[test]
        fn sealing_then_opening_gives_the_same_and_shows_nothing_meanwhile(inner in any_json()) {
            let (key, subject_key) = live();
            let payload = json!({"type": "x", "data": inner});
            let stored = seal_event(payload.clone(), EVENT, &key).unwrap();
            prop_assert!(!stored.contains("PERSONAL-"));
            prop_assert_eq!(is_sealed(&stored), has_marks(&payload));
            prop_assert_eq!(open_event(&stored, EVENT, Some(&subject_key)).unwrap(), payload);
        }

        #[test]
        fn any_changed_byte_of_the_sealed_part_is_noticed(byte in any::<prop::sample::Index>()) {
            let (key, subject_key) = live();
            let stored = seal_event(payload(), EVENT, &key).unwrap();
            let mut stored: Value = serde_json::from_str(&stored).unwrap();
            let mut sealed = STANDARD_NO_PAD.decode(stored[SEALED].as_str().unwrap()).unwrap();
            let byte = byte.index(sealed.len());
            sealed[byte] ^= 0x40;
            stored[SEALED] = json!(STANDARD_NO_PAD.encode(sealed));
            let opened = open_event(&stored.to_string(), EVENT, Some(&subject_key));
            prop_assert_eq!(opened, Err(CodecError::Unopenable));
        }
    }
}
