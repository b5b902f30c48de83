//! Who or what caused an event.

use serde::{Deserialize, Serialize};

/// Who or what caused an event. Written to the log beside every fact.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Actor {
    pub kind: ActorKind,
    /// The key's or user's id, the process manager's name, or who ran a command line (`cli:<uid>`).
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Actor {
    pub fn api_key(id: super::ApiKeyId, name: Option<String>) -> Self {
        Self { kind: ActorKind::ApiKey, id: id.to_string(), name }
    }

    /// Without their name: the log keeps that for as long as it stands, and they may be removed.
    pub fn user(id: super::ConsoleUserId) -> Self {
        Self { kind: ActorKind::User, id: id.to_string(), name: None }
    }

    /// A process manager of the gateway, by its stable name.
    pub fn process(name: &str) -> Self {
        Self { kind: ActorKind::Process, id: name.to_owned(), name: None }
    }

    pub fn whatsapp() -> Self {
        Self { kind: ActorKind::Whatsapp, id: "whatsapp".to_owned(), name: None }
    }

    pub fn system(id: &str) -> Self {
        Self { kind: ActorKind::System, id: id.to_owned(), name: None }
    }
}

/// As in CloudEvents' `actor` attribute: `api_key:0190…`.
impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.kind.as_str(), self.id)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    ApiKey,
    User,
    Process,
    Whatsapp,
    Assistant,
    System,
}

impl ActorKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::User => "user",
            Self::Process => "process",
            Self::Whatsapp => "whatsapp",
            Self::Assistant => "assistant",
            Self::System => "system",
        }
    }
}
