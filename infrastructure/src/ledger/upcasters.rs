//! Old shapes of events, lifted to the newest when they are read. What is stored stays as it was written.

use std::collections::HashMap;

use serde_json::Value;

/// From a payload of one version to the next version's. Marks of personal data are in place; an erased one stays so.
pub type Upcast = fn(Value) -> Value;

/// Why a payload cannot be brought to the newest version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpcastError {
    #[error(
        "{event_type} is stored in version {stored}, and gateway {} reads up to version {newest}: use the gateway that \
         wrote it, or a newer one",
        env!("CARGO_PKG_VERSION")
    )]
    Newer { event_type: String, stored: u32, newest: u32 },
    #[error("{event_type} is stored in version {stored}, and nothing lifts it to version {newest}")]
    NoWay { event_type: String, stored: u32, newest: u32 },
}

/// Every event's newest version, and the steps that lead there.
#[derive(Clone, Debug, Default)]
pub struct Upcasters {
    newest: HashMap<String, u32>,
    steps: HashMap<(String, u32), Upcast>,
}

impl Upcasters {
    /// The gateway's own. No event has changed its shape yet.
    pub fn current() -> Self {
        Self::new(super::catalogue::events())
    }

    /// With these names and newest versions. A name that is not among them is read as it is.
    pub fn new<'a>(catalogue: impl IntoIterator<Item = (&'a str, u32)>) -> Self {
        let newest = catalogue.into_iter().map(|(name, version)| (name.to_owned(), version));
        Self { newest: newest.collect(), steps: HashMap::new() }
    }

    /// Adds the step from `from_version` to the next.
    #[must_use]
    pub fn with(mut self, event_type: &str, from_version: u32, upcast: Upcast) -> Self {
        self.steps.insert((event_type.to_owned(), from_version), upcast);
        self
    }

    /// The payload in its event's newest version, and that version.
    ///
    /// # Errors
    /// [`UpcastError::Newer`] where a newer gateway wrote it; [`UpcastError::NoWay`] where a step is missing.
    pub fn lift(
        &self,
        event_type: &str,
        stored: u32,
        mut payload: Value,
    ) -> Result<(Value, u32), UpcastError> {
        let newest = self.newest.get(event_type).copied().unwrap_or(stored);
        if stored > newest {
            return Err(UpcastError::Newer { event_type: event_type.to_owned(), stored, newest });
        }
        for version in stored..newest {
            let Some(upcast) = self.steps.get(&(event_type.to_owned(), version)) else {
                return Err(UpcastError::NoWay {
                    event_type: event_type.to_owned(),
                    stored,
                    newest,
                });
            };
            payload = upcast(payload);
        }
        Ok((payload, newest))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn upcasters() -> Upcasters {
        Upcasters::new([("message.queued", 3)])
            .with("message.queued", 1, |mut payload| {
                let body = payload.as_object_mut().and_then(|map| map.remove("body"));
                payload["content"] = json!({"text": body});
                payload
            })
            .with("message.queued", 2, |mut payload| {
                payload["priority"] = json!("bulk");
                payload
            })
    }

    #[test]
    fn an_old_shape_is_lifted_step_by_step() {
        let stored = json!({"body": {"$p": "hello"}});
        let (lifted, version) = upcasters().lift("message.queued", 1, stored).unwrap();
        assert_eq!(version, 3);
        assert_eq!(lifted, json!({"content": {"text": {"$p": "hello"}}, "priority": "bulk"}));
    }

    #[test]
    fn the_newest_shape_and_unknown_events_stay_as_they_are() {
        let payload = json!({"a": 1});
        for (name, version) in [("message.queued", 3), ("somebody.elses", 9)] {
            let lifted = upcasters().lift(name, version, payload.clone()).unwrap();
            assert_eq!(lifted, (payload.clone(), version));
        }
    }

    #[test]
    fn a_shape_of_the_future_says_which_gateway_to_use() {
        let error = upcasters().lift("message.queued", 4, json!({})).unwrap_err();
        assert!(
            error.to_string().contains("use the gateway that wrote it, or a newer one"),
            "{error}"
        );
        let gap = Upcasters::new([("message.queued", 2)]).lift("message.queued", 1, json!({}));
        assert!(matches!(gap, Err(UpcastError::NoWay { .. })));
    }

    #[test]
    fn every_event_of_the_gateway_is_in_version_1_or_has_its_steps() {
        let upcasters = Upcasters::current();
        for (name, newest) in super::super::catalogue::events() {
            for version in 1..newest {
                assert!(
                    upcasters.steps.contains_key(&(name.to_owned(), version)),
                    "{name} {version}"
                );
            }
        }
    }
}
