//! `kurrentdb://user:password@host:port,host:port?parameter=value`, as the vendor writes it, and stricter: what the client
//! would pass over in silence is an error here. One parameter is ours: `streamPrefix`, for several gateways on one server.

use std::str::FromStr;

use domain::port::{AggregateType, StreamId};
use kurrentdb::{ClientSettings, Credentials, NodePreference};

use super::super::StoreUrlError;

pub(in super::super) const SCHEMES: [&str; 4] =
    ["kurrentdb", "kurrentdb+discover", "esdb", "esdb+discover"];

const STREAM_PREFIX: &str = "streamPrefix";

/// What the client knows, and the prefix.
const PARAMETERS: [(&str, Value); 14] = [
    (STREAM_PREFIX, Value::Name),
    ("tls", Value::Bool),
    ("tlsVerifyCert", Value::Bool),
    ("tlsCaFile", Value::Text),
    ("userCertFile", Value::Text),
    ("userKeyFile", Value::Text),
    ("connectionName", Value::Text),
    ("nodePreference", Value::Text),
    ("maxDiscoverAttempts", Value::Number),
    ("discoveryInterval", Value::Number),
    ("gossipTimeout", Value::Number),
    ("keepAliveInterval", Value::Number),
    ("keepAliveTimeout", Value::Number),
    ("defaultDeadline", Value::Number),
];

#[derive(Clone, Copy)]
enum Value {
    Bool,
    Number,
    Text,
    Name,
}

/// Where a KurrentDB is and how it is spoken to. Prints without its password.
#[derive(Clone)]
pub(in super::super) struct Address {
    pub(super) settings: ClientSettings,
    /// The client sends what the URL says without decoding it.
    pub(super) credentials: Option<Credentials>,
    /// Before the names of all streams; ends with a full stop where it is not empty.
    prefix: String,
}

impl FromStr for Address {
    type Err = StoreUrlError;

    fn from_str(text: &str) -> Result<Self, StoreUrlError> {
        let (before, query) = text.split_once('?').unwrap_or((text, ""));
        let mut prefix = String::new();
        let mut for_client = ::url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in ::url::form_urlencoded::parse(query.as_bytes()) {
            let known = PARAMETERS.iter().find(|(known, _)| known.eq_ignore_ascii_case(&name));
            let Some((known, kind)) = known else {
                return Err(StoreUrlError::KurrentDbParameter {
                    name: name.chars().take(40).collect(),
                });
            };
            let is_good = match kind {
                Value::Bool => value.parse::<bool>().is_ok(),
                Value::Number => value.parse::<u32>().is_ok(),
                Value::Text => !value.is_empty(),
                Value::Name => {
                    (1..=40).contains(&value.len())
                        && value.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                }
            };
            if !is_good {
                return Err(StoreUrlError::KurrentDbValue { name: known });
            }
            if *known == STREAM_PREFIX {
                prefix = format!("{value}.");
            } else {
                for_client.append_pair(known, &value);
            }
        }
        let query = for_client.finish();
        let plain = if query.is_empty() { before.to_owned() } else { format!("{before}?{query}") };
        let settings: ClientSettings = plain.parse().map_err(|_| StoreUrlError::KurrentDb)?;
        if settings.hosts().is_empty() || settings.hosts().iter().any(|host| host.host.is_empty()) {
            return Err(StoreUrlError::KurrentDb);
        }
        if settings.node_preference() != NodePreference::Leader {
            return Err(StoreUrlError::KurrentDbValue { name: "nodePreference" });
        }
        Ok(Self { settings, credentials: credentials(text), prefix })
    }
}

impl Address {
    /// The name of a stream that is none of an aggregate's.
    pub(super) fn name_of(&self, stream: &str) -> String {
        format!("{}{stream}", self.prefix)
    }

    pub(super) fn stream_name(&self, stream: StreamId) -> String {
        format!("{}{stream}", self.prefix)
    }

    /// How the names of these streams begin.
    pub(super) fn prefixes(&self, types: &[AggregateType]) -> Vec<String> {
        types
            .iter()
            .map(|aggregate_type| format!("{}{}-", self.prefix, aggregate_type.as_str()))
            .collect()
    }

    /// `None`: not one of ours.
    pub(super) fn stream_id(&self, name: &str) -> Option<StreamId> {
        let (aggregate_type, id) = name.strip_prefix(&self.prefix)?.split_once('-')?;
        let aggregate_type = AggregateType::parse(aggregate_type)?;
        let stream = StreamId { aggregate_type, id: id.parse().ok()? };
        // A UUID has many spellings, a stream of ours one name.
        (self.stream_name(stream) == name).then_some(stream)
    }

    pub(super) fn hosts(&self) -> String {
        let hosts = self.settings.hosts().iter();
        hosts.map(|host| format!("{}:{}", host.host, host.port)).collect::<Vec<_>>().join(",")
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let discover = if self.settings.is_dns_discovery_enabled() { "+discover" } else { "" };
        write!(f, "kurrentdb{discover}://{}", self.hosts())?;
        match self.prefix.strip_suffix('.') {
            Some(prefix) => write!(f, "?{STREAM_PREFIX}={prefix}"),
            None => Ok(()),
        }
    }
}

fn credentials(text: &str) -> Option<Credentials> {
    let authority = text.split_once("://")?.1.split(['/', '?', '#']).next()?;
    let (name, password) = authority.rsplit_once('@')?.0.split_once(':')?;
    Some(Credentials::new(decoded(name), decoded(password)))
}

fn decoded(part: &str) -> String {
    let pair = format!("part={}", part.replace('+', "%2B").replace('&', "%26"));
    let decoded = ::url::form_urlencoded::parse(pair.as_bytes()).next();
    decoded.map(|(_, value)| value.into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_would_pass_over_is_an_error() {
        for (text, error) in [
            ("kurrentdb://", StoreUrlError::KurrentDb),
            ("kurrentdb://host:port", StoreUrlError::KurrentDb),
            ("kurrentdb://host/database", StoreUrlError::KurrentDb),
            (
                "kurrentdb://host?tlss=false",
                StoreUrlError::KurrentDbParameter { name: "tlss".to_owned() },
            ),
            ("esdb://host?tls=maybe", StoreUrlError::KurrentDbValue { name: "tls" }),
            (
                "kurrentdb://host?gossipTimeout=-5",
                StoreUrlError::KurrentDbValue { name: "gossipTimeout" },
            ),
            (
                "kurrentdb+discover://host?nodePreference=follower",
                StoreUrlError::KurrentDbValue { name: "nodePreference" },
            ),
            ("kurrentdb://host?userCertFile=a.pem", StoreUrlError::KurrentDb),
        ] {
            assert_eq!(Address::from_str(text).err(), Some(error), "{text}");
        }
    }

    #[test]
    fn hosts_are_printed_and_a_password_is_not() {
        let one = Address::from_str("esdb://admin:hunter2@db.example?tls=false").unwrap();
        assert_eq!(one.to_string(), "kurrentdb://db.example:2113");
        let many = Address::from_str(
            "kurrentdb://admin:hunter2@a:1,b:2,c:3?tls=true&NODEPREFERENCE=leader",
        )
        .unwrap();
        assert_eq!(many.to_string(), "kurrentdb://a:1,b:2,c:3");
        let by_name = Address::from_str("kurrentdb+discover://admin:hunter2@cluster:2113").unwrap();
        assert_eq!(by_name.to_string(), "kurrentdb+discover://cluster:2113");
    }

    #[test]
    fn only_names_that_this_gateway_gives_are_its_streams() {
        let stream =
            StreamId { aggregate_type: AggregateType::ApiKey, id: uuid::Uuid::from_u128(1 << 124) };
        for (query, prefix) in [("", ""), ("?streamPrefix=shop_1&tls=false", "shop_1.")] {
            let address = Address::from_str(&format!("kurrentdb://host{query}")).unwrap();
            let name = address.stream_name(stream);
            assert_eq!(name, format!("{prefix}api_key-{}", stream.id));
            assert_eq!(address.stream_id(&name), Some(stream));
            let shouted = name.replace("api_key-1000", "api_key-{1000") + "}";
            for foreign in
                ["other.message-7", "message-7", "order-1", "$ce-message", "message", &shouted]
            {
                assert_eq!(address.stream_id(foreign), None, "{foreign}");
            }
        }
        for wrong in ["", "a.b", "a-b", "$a", "ü"] {
            let text = format!("kurrentdb://host?streamPrefix={wrong}");
            let error = StoreUrlError::KurrentDbValue { name: "streamPrefix" };
            assert_eq!(Address::from_str(&text).err(), Some(error), "{wrong}");
        }
    }

    #[test]
    fn names_and_passwords_are_decoded() {
        let of = |text: &str| Address::from_str(text).unwrap().credentials;
        assert_eq!(of("kurrentdb://host"), None);
        let wanted = Some(Credentials::new("admin".to_owned(), "a+b@c&d".to_owned()));
        assert_eq!(of("kurrentdb://admin:a+b%40c%26d@host?tls=false"), wanted);
    }
}
