//! What each column of a file means: by the caller's mapping, else by its name.

use std::collections::BTreeMap;

use super::aliases::{field, normalise};
use super::{COLUMNS_MAX, FileError, HEADER_CHARS_MAX, Limits, MappingError};
use crate::phone;

const ATTRIBUTES: &str = "attributes.";

/// What a column holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    Phone,
    /// WhatsApp's business-scoped user id.
    UserId,
    /// The whole name, unless there is also a column for just one of its parts: then the other part.
    Name,
    FirstName,
    LastName,
    ExternalId,
    Language,
    TimeZone,
    Tags,
    Consent,
    /// The other way round: yes means that the person opted out, no says nothing.
    OptOut,
    ConsentSource,
    ConsentAt,
    /// An attribute by this name.
    Attribute(String),
    Ignore,
}

impl Field {
    /// As a mapping writes it.
    pub fn name(&self) -> String {
        let name = match self {
            Self::Phone => "phone",
            Self::UserId => "user_id",
            Self::Name => "name",
            Self::FirstName => "first_name",
            Self::LastName => "last_name",
            Self::ExternalId => "external_id",
            Self::Language => "language",
            Self::TimeZone => "time_zone",
            Self::Tags => "tags",
            Self::Consent => "consent",
            Self::OptOut => "opt_out",
            Self::ConsentSource => "consent_source",
            Self::ConsentAt => "consent_at",
            Self::Attribute(key) => return format!("{ATTRIBUTES}{key}"),
            Self::Ignore => "ignore",
        };
        name.to_owned()
    }

    /// Reads what a mapping says: a field's name in any spelling (`timeZone`), `attributes.<name>` or `ignore`.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Some(key) = attribute_key(text) {
            return Some(Self::Attribute(key.to_owned()));
        }
        match normalise(text).as_str() {
            "" => None,
            "ignore" => Some(Self::Ignore),
            name => field(name),
        }
    }

    /// Several columns may be ignored; everything else a row has once.
    fn is_single(&self) -> bool {
        *self != Self::Ignore
    }

    fn is_identity(&self) -> bool {
        matches!(self, Self::Phone | Self::UserId | Self::ExternalId)
    }
}

/// The `plan` of `attributes.plan`.
fn attribute_key(text: &str) -> Option<&str> {
    let start = text.get(..ATTRIBUTES.len())?;
    let key = text[start.len()..].trim();
    (start.eq_ignore_ascii_case(ATTRIBUTES)
        && !key.is_empty()
        && key.chars().count() <= HEADER_CHARS_MAX)
        .then_some(key)
}

/// The caller's word on what columns mean. Goes before what their names say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnMapping(BTreeMap<String, Field>);

impl ColumnMapping {
    /// Reads a JSON object from column name to field: `{"Handy": "phone", "Kunde seit": "attributes.since"}`. Column
    /// names are compared as aliases are: case, blanks, marks and diacritics do not matter.
    ///
    /// # Errors
    /// [`MappingError`] for anything that is not such an object, names an unknown field, or one field twice.
    pub fn parse(mapping: &serde_json::Value) -> Result<Self, MappingError> {
        let object = mapping.as_object().ok_or(MappingError::NotAnObject)?;
        if object.len() > COLUMNS_MAX {
            return Err(MappingError::TooManyColumns { max: COLUMNS_MAX });
        }
        let mut fields: BTreeMap<String, Field> = BTreeMap::new();
        for (header, target) in object {
            let field = target.as_str().and_then(Field::parse);
            let field =
                field.ok_or_else(|| MappingError::UnknownField { header: shortened(header) })?;
            let same = fields.iter().find(|(_, other)| **other == field && field.is_single());
            if let Some((first, _)) = same {
                let (first, second) = (shortened(first), shortened(header));
                return Err(MappingError::SameField { field: field.name(), first, second });
            }
            fields.insert(header.trim().to_owned(), field);
        }
        Ok(Self(fields))
    }

    /// The mapped name that means the column `header`, and its field.
    fn get(&self, header: &str) -> Option<(&str, &Field)> {
        let (name, field) = self.0.get_key_value(header).or_else(|| {
            let plain = normalise(header);
            self.0.iter().find(|(name, _)| !plain.is_empty() && normalise(name) == plain)
        })?;
        Some((name, field))
    }

    /// Whether the name of a column says what it means.
    pub(super) fn knows(&self, header: &str) -> bool {
        let header = header.trim();
        self.get(header).is_some()
            || attribute_key(header).is_some()
            || field(&normalise(header)).is_some()
    }
}

/// A column name for an error text.
fn shortened(header: &str) -> String {
    header.chars().take(HEADER_CHARS_MAX).collect()
}

/// One column: its name as the file has it, and what it means. `None` has no name and must be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub header: String,
    pub field: Option<Field>,
}

/// Decides what each column means.
///
/// # Errors
/// [`FileError`]. Column names are quoted only once a column is known to hold identities: before, the "header" may well
/// be somebody's data.
pub(super) fn resolve(
    cells: &[String],
    mapping: &ColumnMapping,
    default_region: Option<&str>,
    limits: &Limits,
) -> Result<Vec<Column>, FileError> {
    if cells.len() > limits.columns {
        return Err(FileError::TooManyColumns { max: limits.columns });
    }
    if let Some(index) = cells.iter().position(|cell| cell.chars().count() > HEADER_CHARS_MAX) {
        return Err(FileError::LongHeader { number: index + 1 });
    }
    let mapped: Vec<Option<(&str, &Field)>> =
        cells.iter().map(|header| mapping.get(header)).collect();
    let is_taken = |field: &Field| mapped.iter().flatten().any(|(_, taken)| *taken == field);
    let columns: Vec<Column> = cells
        .iter()
        .zip(&mapped)
        .map(|(header, mapped)| {
            let by_name = || {
                attribute_key(header)
                    .map(|key| Field::Attribute(key.to_owned()))
                    .or_else(|| field(&normalise(header)).filter(|field| !is_taken(field)))
                    .or_else(|| (!header.is_empty()).then(|| Field::Attribute(header.clone())))
            };
            let field = mapped.map(|(_, field)| field.clone()).or_else(by_name);
            Column { header: header.clone(), field }
        })
        .collect();

    let fields = || columns.iter().filter_map(|column| column.field.as_ref());
    if !fields().any(Field::is_identity) {
        let is_data = cells.iter().any(|cell| phone::parse(cell, default_region).is_ok());
        return Err(if is_data { FileError::NoHeader } else { FileError::NoUsableColumn });
    }
    if let Some((header, _)) = mapping
        .0
        .iter()
        .find(|(name, _)| !mapped.iter().flatten().any(|(used, _)| used == &name.as_str()))
    {
        return Err(FileError::MappedColumnMissing { header: shortened(header) });
    }
    for (index, column) in columns.iter().enumerate() {
        let Some(field) = column.field.as_ref().filter(|field| field.is_single()) else { continue };
        for earlier in &columns[..index] {
            if earlier.header.to_lowercase() == column.header.to_lowercase() {
                return Err(FileError::DuplicateHeader { header: column.header.clone() });
            }
            if earlier.field.as_ref() == Some(field) {
                let (first, second) = (earlier.header.clone(), column.header.clone());
                return Err(FileError::AmbiguousColumns { field: field.name(), first, second });
            }
        }
    }
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(header: &str, mapping: serde_json::Value) -> Result<Vec<String>, FileError> {
        let cells: Vec<String> = header.split(',').map(str::to_owned).collect();
        let mapping = ColumnMapping::parse(&mapping).unwrap();
        let columns = resolve(&cells, &mapping, None, &Limits::default())?;
        Ok(columns
            .into_iter()
            .map(|column| column.field.map_or(String::new(), |field| field.name()))
            .collect())
    }

    #[test]
    fn known_names_are_fields_and_all_others_attributes() {
        assert_eq!(
            read("Telefone,Nome,Plano Atual,attributes.city,", json!({})).unwrap(),
            ["phone", "first_name", "attributes.Plano Atual", "attributes.city", ""]
        );
    }

    #[test]
    fn the_mapping_wins_and_frees_the_field_from_other_names() {
        assert_eq!(
            read(
                "Telefon,Handy,Seit,Notiz",
                json!({"handy": "phone", "Seit": "attributes.since", "notiz": "ignore"})
            )
            .unwrap(),
            ["attributes.Telefon", "phone", "attributes.since", "ignore"]
        );
        assert_eq!(
            read("Fon,Zone", json!({"Fon": "phoneNumber", "Zone": "timeZone"})).unwrap(),
            ["phone", "time_zone"]
        );
    }

    #[test]
    fn what_is_wrong_with_a_header_is_said() {
        assert_eq!(read("name,plan", json!({})), Err(FileError::NoUsableColumn));
        assert_eq!(read("Ana,+4915112345678", json!({})), Err(FileError::NoHeader));
        assert_eq!(
            read("phone,Plan,plan", json!({})),
            Err(FileError::DuplicateHeader { header: "plan".to_owned() })
        );
        assert_eq!(
            read("Telefon,Handy", json!({})),
            Err(FileError::AmbiguousColumns {
                field: "phone".to_owned(),
                first: "Telefon".to_owned(),
                second: "Handy".to_owned()
            })
        );
        assert_eq!(
            read("phone,name", json!({"Plan": "attributes.plan"})),
            Err(FileError::MappedColumnMissing { header: "Plan".to_owned() })
        );
        assert_eq!(
            read(&["phone"; 201].join(","), json!({})),
            Err(FileError::TooManyColumns { max: 200 })
        );
        assert_eq!(
            read(&format!("phone,{}", "x".repeat(129)), json!({})),
            Err(FileError::LongHeader { number: 2 })
        );
    }

    #[test]
    fn a_mapping_that_makes_no_sense_is_refused() {
        assert_eq!(ColumnMapping::parse(&json!(["phone"])), Err(MappingError::NotAnObject));
        for target in [json!("fone number"), json!(""), json!(1), json!("attributes."), json!(null)]
        {
            let refused = ColumnMapping::parse(&json!({ "A": target }));
            assert_eq!(
                refused,
                Err(MappingError::UnknownField { header: "A".to_owned() }),
                "{target}"
            );
        }
        assert!(matches!(
            ColumnMapping::parse(&json!({"A": "phone", "B": "mobile"})),
            Err(MappingError::SameField { .. })
        ));
        assert!(ColumnMapping::parse(&json!({"A": "ignore", "B": "ignore"})).is_ok());
    }
}
