//! Contact files: CSV as spreadsheets, CRMs and scripts write it, read as a stream in bounded memory. Finds encoding,
//! delimiter, line ends and the meaning of each column, and delivers one plain row or one error per line of data.
//!
//! Nothing here decides anything about contacts: rows that repeat a number are all delivered, in the file's order, and
//! it is for the import to let the later one update. Nothing here does I/O either. The reader is *pushed*: an HTTP
//! body, a spooled file and a string all end as byte chunks, a push needs no thread per upload and no blocking bridge
//! out of the async executor, and whoever pushes sets the pace by when it takes the next chunk.
//!
//! ```
//! use infrastructure::import::{ContactFileReader, Options};
//!
//! let mut reader = ContactFileReader::try_new(Options::default())?;
//! let mut rows = Vec::new();
//! reader.push(b"Telefone;Nome\r\n+55 11 91234-5678;Ana\r\n", &mut rows)?;
//! let summary = reader.finish(&mut rows)?;
//! assert_eq!((summary.rows, rows.len()), (1, 1));
//! # Ok::<(), infrastructure::import::FileError>(())
//! ```
//!
//! No error repeats a cell, as errors are kept, logged and shown to people who may not see the contacts.

mod aliases;
mod cell;
mod delimiter;
mod encoding;
mod error;
mod header;
mod reader;
mod record;
mod row;
#[cfg(test)]
mod tests;

pub use error::{FileError, MappingError};
pub use header::{ColumnMapping, Field};
pub use reader::{ContactFileReader, FileSummary, Options};
pub use row::{ContactRow, RowError, RowResult, TimeZoneCell};

/// The largest file, in bytes.
pub const FILE_BYTES_MAX: u64 = 1 << 30;
/// The most lines of data in a file, good or bad; blank ones do not count.
pub const ROWS_MAX: u64 = 5_000_000;
/// The most columns.
pub const COLUMNS_MAX: usize = 200;
/// The longest row, in bytes of UTF-8 as written, quotation marks and line ends inside them included.
pub const ROW_BYTES_MAX: usize = 32 * 1024;
/// How much of a file is looked at to find its encoding and delimiter, in bytes. Rows appear once so much, or the end,
/// was pushed.
pub const SNIFF_BYTES: usize = 64 * 1024;
/// After so many quotation marks that are opened and never closed the file is refused: what looks like rows is then
/// more likely the inside of cells.
pub const STRAY_QUOTES_MAX: u64 = 1_000;
/// The longest column name, in characters.
pub const HEADER_CHARS_MAX: usize = 128;

/// The bounds of one file. The defaults are what the gateway promises; tests use smaller ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub file_bytes: u64,
    pub rows: u64,
    pub columns: usize,
    pub row_bytes: usize,
    pub sniff_bytes: usize,
    pub stray_quotes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: FILE_BYTES_MAX,
            rows: ROWS_MAX,
            columns: COLUMNS_MAX,
            row_bytes: ROW_BYTES_MAX,
            sniff_bytes: SNIFF_BYTES,
            stray_quotes: STRAY_QUOTES_MAX,
        }
    }
}
