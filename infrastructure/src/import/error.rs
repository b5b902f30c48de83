//! What can be wrong with a file as a whole.

use super::HEADER_CHARS_MAX;

/// Why a file cannot be read, or not to its end. Rows delivered before stand. The texts say what would be right and
/// quote column names, never cells.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    #[error("the file is empty: its first line must name the columns, like phone,name,language")]
    Empty,
    #[error("the file has a header and no rows below it")]
    NoRows,
    #[error(
        "this is a spreadsheet or another binary file, not text: save it as CSV (UTF-8) and upload that"
    )]
    NotText,
    #[error(
        "the first line must name the columns, like phone,name,language; here it already holds a contact"
    )]
    NoHeader,
    #[error(
        "the header cannot be read: a quotation mark in it is not closed, or it is longer than {row_bytes_max} bytes"
    )]
    UnreadableHeader { row_bytes_max: usize },
    #[error(
        "no column says who the contacts are: name one phone (or user_id, or external_id), or say in the mapping which \
         one it is"
    )]
    NoUsableColumn,
    #[error("the file has more than {max} columns: leave out those that are not needed")]
    TooManyColumns { max: usize },
    #[error(
        "column {number} has a name longer than {HEADER_CHARS_MAX} characters: give it a short one"
    )]
    LongHeader { number: usize },
    #[error("two columns are named \"{header}\": give each its own name, or leave one out")]
    DuplicateHeader { header: String },
    #[error(
        "the columns \"{first}\" and \"{second}\" both mean {field}: say in the mapping which one does, and \"ignore\" or \
         an attribute for the other"
    )]
    AmbiguousColumns { field: String, first: String, second: String },
    #[error("the mapping names a column \"{header}\" that the file does not have")]
    MappedColumnMissing { header: String },
    #[error("the default region is not known: give a country's two letters (ISO 3166), like DE")]
    UnknownRegion,
    #[error("the file is larger than {max} bytes: split it")]
    TooLarge { max: u64 },
    #[error("the file has more than {max} rows: split it")]
    TooManyRows { max: u64 },
    #[error(
        "more than {max} quotation marks are opened and never closed: put cells that contain a quotation mark in quotation \
         marks and write it twice, as spreadsheets do"
    )]
    TooManyStrayQuotes { max: u64 },
}

/// Why a mapping cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    #[error(
        "a mapping is an object from column name to field, like {{\"Handy\": \"phone\", \"Kunde seit\": \"attributes.since\"}}"
    )]
    NotAnObject,
    #[error("a mapping has at most {max} columns")]
    TooManyColumns { max: usize },
    #[error(
        "column \"{header}\" is mapped to something unknown: the fields are phone, user_id, external_id, name, first_name, \
         last_name, language, time_zone, tags, consent, opt_out, consent_source, consent_at, attributes.<name> and ignore"
    )]
    UnknownField { header: String },
    #[error("the columns \"{first}\" and \"{second}\" are both mapped to {field}: map one of them")]
    SameField { field: String, first: String, second: String },
}
