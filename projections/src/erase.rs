//! Takes the personal data out of a folded state and leaves everything else, exactly as a fold over erased events would.

use domain::primitives::{MARK_ERASED, MARK_KNOWN};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The state with every `Personal` part erased. Where it has no JSON form, which no state of ours is without, nothing of
/// it is kept.
pub(crate) fn without_personal_data<T: Serialize + DeserializeOwned + Default>(state: &T) -> T {
    let Ok(mut json) = serde_json::to_value(state) else { return T::default() };
    erase(&mut json);
    serde_json::from_value(json).unwrap_or_default()
}

fn erase(value: &mut Value) {
    match value {
        Value::Object(object) if object.contains_key(MARK_KNOWN) => {
            object.clear();
            object.insert(MARK_ERASED.to_owned(), Value::Bool(true));
        }
        Value::Object(object) => object.values_mut().for_each(erase),
        Value::Array(items) => items.iter_mut().for_each(erase),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::contact::{Contact, ContactDetails};
    use domain::primitives::Personal;

    #[test]
    fn only_what_is_marked_goes() {
        let contact = Contact {
            details: ContactDetails {
                name: Some(Personal::from("Ana".to_owned())),
                language: Some("pt".to_owned()),
                ..ContactDetails::default()
            },
            ..Contact::default()
        };
        let erased = without_personal_data(&contact);
        assert_eq!(erased.details.name, Some(Personal::Erased));
        assert_eq!(erased.details.language.as_deref(), Some("pt"));
    }
}
