//! The reader: bytes in, rows out.

use std::borrow::Cow;

use domain::contact::ConsentStatus;
use domain::primitives::UserId;

use super::cell::{self, has_words};
use super::delimiter;
use super::encoding::{Encoding, Transcoder};
use super::header::{self, Column, ColumnMapping, Field};
use super::record::{Found, Record, Records};
use super::{ContactRow, FileError, Limits, RowError, RowResult};
use crate::phone;

/// Larger chunks are worked through in pieces of this size, in bytes, so that buffers stay small whatever is pushed.
const PIECE_BYTES: usize = 64 * 1024;

/// How to read a file.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The country (ISO 3166 alpha-2) of numbers without a country code.
    pub default_region: Option<String>,
    /// What columns mean, where their names do not say it.
    pub mapping: ColumnMapping,
}

/// What a file turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSummary {
    /// Rows of data, good and bad.
    pub rows: u64,
    /// Those of them that were errors.
    pub rejected: u64,
    pub encoding: &'static str,
    pub delimiter: char,
}

/// Reads one contact file as it is pushed. Any division of the same bytes into chunks gives the same rows, errors and
/// summary. Memory is bounded by the chunk and [`super::ROW_BYTES_MAX`], plus the rows it returns.
pub struct ContactFileReader {
    options: Options,
    limits: Limits,
    bytes: u64,
    rows: u64,
    rejected: u64,
    stray_quotes: u64,
    phase: Phase,
}

enum Phase {
    /// The beginning, until there is enough to tell encoding and delimiter.
    Sniffing(Vec<u8>),
    Reading(Box<Reading>),
    Failed(FileError),
}

struct Reading {
    encoding: Encoding,
    is_windows_1252: bool,
    transcoder: Transcoder,
    delimiter: u8,
    records: Records,
    record: Record,
    /// Empty until the header was read.
    columns: Vec<Column>,
    name_columns: NameColumns,
}

impl ContactFileReader {
    /// # Errors
    /// [`FileError::UnknownRegion`].
    pub fn try_new(options: Options) -> Result<Self, FileError> {
        Self::with_limits(options, Limits::default())
    }

    pub(super) fn with_limits(options: Options, limits: Limits) -> Result<Self, FileError> {
        if options.default_region.as_deref().is_some_and(|region| !phone::region_is_known(region)) {
            return Err(FileError::UnknownRegion);
        }
        let phase = Phase::Sniffing(Vec::new());
        Ok(Self { options, limits, bytes: 0, rows: 0, rejected: 0, stray_quotes: 0, phase })
    }

    /// Takes the next bytes and appends the rows they complete to `rows`.
    ///
    /// # Errors
    /// [`FileError`]: nothing further will come of this file. What was appended to `rows` before stands.
    pub fn push(&mut self, chunk: &[u8], rows: &mut Vec<RowResult>) -> Result<(), FileError> {
        self.guarded(|reader| {
            let room =
                usize::try_from(reader.limits.file_bytes - reader.bytes).unwrap_or(usize::MAX);
            let (within, beyond) = chunk.split_at(room.min(chunk.len()));
            reader.bytes += within.len() as u64;
            reader.take(within, rows)?;
            if beyond.is_empty() {
                Ok(())
            } else {
                Err(FileError::TooLarge { max: reader.limits.file_bytes })
            }
        })
    }

    /// The file has ended: appends the last rows to `rows` and says what the file was.
    ///
    /// # Errors
    /// [`FileError`], also for a file without a header or without a row below it.
    pub fn finish(&mut self, rows: &mut Vec<RowResult>) -> Result<FileSummary, FileError> {
        self.guarded(|reader| {
            if let Phase::Sniffing(beginning) = &mut reader.phase {
                let beginning = std::mem::take(beginning);
                reader.begin(beginning, true)?;
            }
            let Phase::Reading(reading) = &mut reader.phase else { return Err(FileError::Empty) };
            reading.transcoder.push(&[], true, reading.records.feed());
            reading.records.close();
            reader.take_records(rows)?;
            let Phase::Reading(reading) = &reader.phase else { return Err(FileError::Empty) };
            if reading.columns.is_empty() {
                return Err(FileError::Empty);
            }
            if reader.rows == 0 {
                return Err(FileError::NoRows);
            }
            Ok(FileSummary {
                rows: reader.rows,
                rejected: reader.rejected,
                encoding: reading.encoding_name(),
                delimiter: char::from(reading.delimiter),
            })
        })
    }

    /// The file's columns, by name, and what each is taken for; empty until the header was read.
    pub fn columns(&self) -> impl Iterator<Item = (&str, &Field)> {
        let columns = match &self.phase {
            Phase::Reading(reading) => reading.columns.as_slice(),
            Phase::Sniffing(_) | Phase::Failed(_) => &[],
        };
        columns.iter().filter_map(|column| Some((column.header.as_str(), column.field.as_ref()?)))
    }

    /// Repeats the first failure for ever.
    fn guarded<T>(
        &mut self,
        step: impl FnOnce(&mut Self) -> Result<T, FileError>,
    ) -> Result<T, FileError> {
        if let Phase::Failed(error) = &self.phase {
            return Err(error.clone());
        }
        step(self).inspect_err(|error| self.phase = Phase::Failed(error.clone()))
    }

    fn take(&mut self, mut chunk: &[u8], rows: &mut Vec<RowResult>) -> Result<(), FileError> {
        if let Phase::Sniffing(beginning) = &mut self.phase {
            // Exactly so many bytes are looked at, however they come in.
            let missing = (self.limits.sniff_bytes - beginning.len()).min(chunk.len());
            beginning.extend_from_slice(&chunk[..missing]);
            chunk = &chunk[missing..];
            if beginning.len() < self.limits.sniff_bytes {
                return Ok(());
            }
            let beginning = std::mem::take(beginning);
            self.begin(beginning, false)?;
            self.take_records(rows)?;
        }
        for piece in chunk.chunks(PIECE_BYTES) {
            let Phase::Reading(reading) = &mut self.phase else { return Ok(()) };
            reading.transcoder.push(piece, false, reading.records.feed());
            self.take_records(rows)?;
        }
        Ok(())
    }

    fn begin(&mut self, beginning: Vec<u8>, is_whole: bool) -> Result<(), FileError> {
        let encoding = Encoding::of(&beginning).ok_or(FileError::NotText)?;
        let mut transcoder = encoding.transcoder();
        let mut text = Vec::new();
        transcoder.push(&beginning[encoding.mark_bytes()..], false, &mut text);
        if text.contains(&0) {
            return Err(FileError::NotText);
        }
        let mapping = &self.options.mapping;
        let form = delimiter::find(&text, is_whole, self.limits.row_bytes, |cell| {
            encoding.text(cell).is_some_and(|name| mapping.knows(&name))
        });
        let mut records =
            Records::new(form.delimiter, self.limits.row_bytes, 1 + form.preamble_lines);
        records.feed().extend_from_slice(&text[form.preamble_bytes..]);
        self.phase = Phase::Reading(Box::new(Reading {
            encoding,
            is_windows_1252: false,
            transcoder,
            delimiter: form.delimiter,
            records,
            record: Record::default(),
            columns: Vec::new(),
            name_columns: NameColumns::default(),
        }));
        Ok(())
    }

    /// Turns the records that are complete into rows.
    fn take_records(&mut self, rows: &mut Vec<RowResult>) -> Result<(), FileError> {
        let Phase::Reading(reading) = &mut self.phase else { return Ok(()) };
        let row_bytes_max = self.limits.row_bytes;
        while let Some(found) = reading.records.next(&mut reading.record) {
            if found == Found::Record && reading.record.is_blank() {
                continue;
            }
            if reading.columns.is_empty() {
                if found != Found::Record {
                    return Err(FileError::UnreadableHeader { row_bytes_max });
                }
                reading.columns = reading.header(&self.options, &self.limits)?;
                reading.name_columns = NameColumns::of(&reading.columns);
                continue;
            }
            if self.rows == self.limits.rows {
                return Err(FileError::TooManyRows { max: self.limits.rows });
            }
            self.rows += 1;
            let line = reading.record.line;
            let row = match found {
                Found::Record => reading.row(self.options.default_region.as_deref()),
                Found::TooLong => Err(RowError::new(
                    line,
                    format!(
                        "a row has at most {row_bytes_max} bytes: shorten it, or leave a column out"
                    ),
                )),
                Found::StrayQuote => {
                    self.stray_quotes += 1;
                    Err(RowError::new(
                        line,
                        "a quotation mark is opened and not closed: put the cell in quotation marks and write those inside \
                         it twice",
                    ))
                }
            };
            self.rejected += u64::from(row.is_err());
            rows.push(row);
            if self.stray_quotes > self.limits.stray_quotes {
                return Err(FileError::TooManyStrayQuotes { max: self.limits.stray_quotes });
            }
        }
        Ok(())
    }
}

impl Reading {
    fn encoding_name(&self) -> &'static str {
        match self.encoding {
            Encoding::Utf16Le => "UTF-16LE",
            Encoding::Utf16Be => "UTF-16BE",
            Encoding::Unmarked if self.is_windows_1252 => "windows-1252",
            Encoding::MarkedUtf8 | Encoding::Unmarked => "UTF-8",
        }
    }

    /// Reads the record as the header.
    fn header(&mut self, options: &Options, limits: &Limits) -> Result<Vec<Column>, FileError> {
        // Checked before anything is kept: a line of nothing but delimiters would be thirty thousand names.
        if self.record.len() > limits.columns {
            return Err(FileError::TooManyColumns { max: limits.columns });
        }
        let mut names = Vec::with_capacity(self.record.len());
        for cell in self.record.cells() {
            let name = self.encoding.text(cell).ok_or(FileError::NotText)?;
            if name.chars().any(|c| c.is_control() && !c.is_whitespace()) {
                return Err(FileError::NotText);
            }
            self.is_windows_1252 |= std::str::from_utf8(cell).is_err();
            names.push(name.split_whitespace().collect::<Vec<_>>().join(" "));
        }
        header::resolve(&names, &options.mapping, options.default_region.as_deref(), limits)
    }

    fn row(&mut self, default_region: Option<&str>) -> RowResult {
        let mut is_windows_1252 = false;
        let row = self.contact(default_region, &mut is_windows_1252);
        self.is_windows_1252 |= is_windows_1252;
        row
    }

    /// The record as a contact.
    fn contact(&self, default_region: Option<&str>, is_windows_1252: &mut bool) -> RowResult {
        let line = self.record.line;
        let mut row = ContactRow::new(line);
        let mut parts = NameParts::default();
        let mut opted_out = false;
        for (index, bytes) in self.record.cells().enumerate() {
            if bytes.trim_ascii().is_empty() {
                continue;
            }
            let Some(column) = self.columns.get(index) else {
                return Err(RowError::new(
                    line,
                    format!(
                        "the row has more cells than the header's {}: put cells that contain the delimiter in quotation marks",
                        self.columns.len()
                    ),
                ));
            };
            let refuse = |message: &str| RowError::in_column(line, &column.header, message);
            let text = self
                .encoding
                .text(bytes)
                .ok_or_else(|| refuse("the file says it is UTF-8 and this cell is not"))?;
            *is_windows_1252 |= matches!(text, Cow::Owned(_));
            let text = text.trim();
            if text.is_empty() {
                continue;
            }
            if text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r')) {
                return Err(refuse("the cell has control characters: remove them"));
            }
            match &column.field {
                None => {
                    return Err(RowError::new(
                        line,
                        format!(
                            "column {} has no name in the header: name it, or leave its cells empty",
                            index + 1
                        ),
                    ));
                }
                Some(Field::Ignore) => {}
                Some(Field::Phone) => {
                    let number = phone::parse(text, default_region)
                        .map_err(|error| refuse(&error.to_string()))?;
                    row.phone = Some(number);
                }
                Some(Field::UserId) => {
                    let id = UserId::parse(text).map_err(|error| {
                        refuse(&format!("{error}; a column of your own ids is named external_id, or mapped to it"))
                    })?;
                    row.user_id = Some(id);
                }
                Some(Field::ExternalId) => row.external_id = Some(text.to_owned()),
                Some(Field::Name) => parts.whole = Some(text.to_owned()),
                Some(Field::FirstName) => parts.first = Some(text.to_owned()),
                Some(Field::LastName) => parts.last = Some(text.to_owned()),
                Some(Field::Language) => {
                    row.language =
                        Some(cell::language(text).ok_or_else(|| refuse(cell::LANGUAGE_WANTED))?);
                }
                Some(Field::TimeZone) => row.time_zone = Some(cell::time_zone(text)),
                Some(Field::Tags) => row.tags = cell::tags(text),
                Some(Field::Consent) => {
                    let word = cell::consent(text).ok_or_else(|| refuse(cell::CONSENT_WANTED))?;
                    row.consent = Some(word);
                }
                Some(Field::OptOut) => {
                    opted_out = cell::opt_out(text).ok_or_else(|| refuse(cell::OPT_OUT_WANTED))?;
                }
                Some(Field::ConsentSource) => row.consent_source = Some(text.to_owned()),
                Some(Field::ConsentAt) => {
                    row.consent_at =
                        Some(cell::moment(text).ok_or_else(|| refuse(cell::MOMENT_WANTED))?);
                }
                Some(Field::Attribute(key)) => {
                    row.attributes.insert(key.clone(), text.to_owned());
                }
            }
        }
        if opted_out {
            row.consent = Some(ConsentStatus::OptedOut);
        }
        if row.phone.is_none() && row.user_id.is_none() && row.external_id.is_none() {
            return Err(RowError::new(
                line,
                "a contact needs a phone number, a WhatsApp user id or an external id",
            ));
        }
        parts.put_into(&mut row, self.name_columns);
        Ok(row)
    }
}

/// Which of a name's columns a file has.
#[derive(Clone, Copy, Default)]
struct NameColumns {
    whole: bool,
    first: bool,
    last: bool,
}

impl NameColumns {
    fn of(columns: &[Column]) -> Self {
        let has = |field: Field| columns.iter().any(|column| column.field.as_ref() == Some(&field));
        Self { whole: has(Field::Name), first: has(Field::FirstName), last: has(Field::LastName) }
    }
}

/// A name in as many columns as the file spreads it over.
#[derive(Default)]
struct NameParts {
    whole: Option<String>,
    first: Option<String>,
    last: Option<String>,
}

impl NameParts {
    fn put_into(self, row: &mut ContactRow, columns: NameColumns) {
        row.name = match &self.whole {
            Some(whole) if columns.first && columns.last => Some(whole.clone()),
            // `Name` beside `Vorname` is the family name; beside a family name it is the first.
            whole => {
                let mut name = whole.clone().unwrap_or_default();
                if let Some(first) = self.first.as_deref().filter(|first| !has_words(&name, first))
                {
                    name = format!("{first} {name}").trim().to_owned();
                }
                if let Some(last) = self.last.as_deref().filter(|last| !has_words(&name, last)) {
                    name = format!("{name} {last}").trim().to_owned();
                }
                (!name.is_empty()).then_some(name)
            }
        };
        // A column of that name wins over what was taken apart here.
        let has_parts = columns.whole || columns.last;
        for (key, part) in [("first_name", self.first), ("last_name", self.last)] {
            if let Some(part) = part.filter(|_| has_parts) {
                row.attributes.entry(key.to_owned()).or_insert(part);
            }
        }
    }
}
