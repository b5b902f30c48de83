//! What one line of a file becomes.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use domain::contact::ConsentStatus;
use domain::primitives::{PhoneNumber, UserId};

/// A row that can be used, or why it cannot.
pub type RowResult = Result<ContactRow, RowError>;

/// One contact as a file has it. Cells that are empty, and columns that are not there, are `None`: nothing is said, and
/// nothing of what is known is to be overwritten. At least one of phone, user id and external id is there. Prints masked
/// in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct ContactRow {
    /// The line of the file, as people count: the first, usually the header, is 1.
    pub row: u64,
    pub phone: Option<PhoneNumber>,
    pub user_id: Option<UserId>,
    pub external_id: Option<String>,
    /// Joined from its parts where those are columns of their own; the parts are then the attributes `first_name` and
    /// `last_name` too, since a greeting wants just one.
    pub name: Option<String>,
    /// As WhatsApp writes it: `pt_BR`.
    pub language: Option<String>,
    pub time_zone: Option<TimeZoneCell>,
    pub attributes: BTreeMap<String, String>,
    pub tags: Vec<String>,
    /// `None`: nothing is said, and the import's own word holds. `UNKNOWN`: it is said that nobody knows.
    pub consent: Option<ConsentStatus>,
    pub consent_source: Option<String>,
    pub consent_at: Option<DateTime<Utc>>,
}

impl ContactRow {
    pub(super) fn new(row: u64) -> Self {
        Self {
            row,
            phone: None,
            user_id: None,
            external_id: None,
            name: None,
            language: None,
            time_zone: None,
            attributes: BTreeMap::new(),
            tags: Vec::new(),
            consent: None,
            consent_source: None,
            consent_at: None,
        }
    }
}

impl std::fmt::Debug for ContactRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ContactRow").field("row", &self.row).finish_non_exhaustive()
    }
}

/// What a time zone cell says.
#[derive(Clone, PartialEq, Eq)]
pub enum TimeZoneCell {
    Known(Tz),
    /// No zone of the tz database. The row is kept, with the text, for a person to look at.
    Unknown(String),
}

impl std::fmt::Debug for TimeZoneCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Known(zone) => f.debug_tuple("Known").field(&zone.name()).finish(),
            Self::Unknown(_) => f.write_str("Unknown(***)"),
        }
    }
}

/// Why a row was left out. Never quotes a cell; the column's name it does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("row {row}: {message}")]
pub struct RowError {
    /// The line of the file, as people count: the first, usually the header, is 1.
    pub row: u64,
    /// The column's name, where it is about one.
    pub column: Option<String>,
    /// What would be right.
    pub message: String,
}

impl RowError {
    pub(super) fn new(row: u64, message: impl Into<String>) -> Self {
        Self { row, column: None, message: message.into() }
    }

    pub(super) fn in_column(row: u64, column: &str, message: impl Into<String>) -> Self {
        Self { row, column: Some(column.to_owned()), message: message.into() }
    }
}
