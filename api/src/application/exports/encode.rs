//! Rows as bytes of a file. What is written follows from the rows alone, so an export that goes on where it was cut short
//! ends in the same bytes.

mod parquet;

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};

use ring::digest;

use self::parquet::ParquetFile;
use super::cells::made_safe;
use super::table::{Cell, Column, Content};

const BUFFER_BYTES: usize = 256 * 1024;

/// The formats that an export can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Compressed with Zstandard, in a directory for each day.
    Parquet,
    /// RFC 4180 in UTF-8, with a header row.
    Csv,
    /// A JSON object a line; events as CloudEvents.
    Ndjson,
}

impl Format {
    pub const ALL: [Self; 3] = [Self::Parquet, Self::Csv, Self::Ndjson];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }

    pub fn media_type(self) -> &'static str {
        match self {
            Self::Parquet => "application/vnd.apache.parquet",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Ndjson => "application/x-ndjson",
        }
    }
}

/// A file that knows its length and hash.
pub(super) struct HashedFile {
    file: BufWriter<File>,
    hash: digest::Context,
    bytes: u64,
}

impl HashedFile {
    pub(super) fn new(file: File) -> Self {
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        Self { file, hash: digest::Context::new(&digest::SHA256), bytes: 0 }
    }

    /// A file of which the first `bytes` stand, and what is behind them goes.
    ///
    /// # Errors
    /// Where it is shorter.
    pub(super) fn go_on(mut file: File, bytes: u64) -> io::Result<Self> {
        if file.metadata()?.len() < bytes {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is shorter than it was"));
        }
        file.set_len(bytes)?;
        file.seek(SeekFrom::Start(0))?;
        let mut hash = digest::Context::new(&digest::SHA256);
        let mut piece = vec![0; BUFFER_BYTES];
        loop {
            let read = file.read(&mut piece)?;
            if read == 0 {
                break;
            }
            hash.update(&piece[..read]);
        }
        Ok(Self { file: BufWriter::with_capacity(BUFFER_BYTES, file), hash, bytes })
    }

    /// Returns once everything so far outlives a crash of the machine.
    fn sync(&mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_data()
    }

    fn finish(mut self) -> io::Result<Written> {
        self.sync()?;
        Ok(Written { bytes: self.bytes, sha256: hex::encode(self.hash.finish()) })
    }
}

impl Write for HashedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A file that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub bytes: u64,
    /// Hexadecimal.
    pub sha256: String,
}

/// How rows are to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub format: Format,
    /// Cells of CSV that begin like a formula are left as they are.
    pub raw: bool,
}

/// A file that rows are added to.
pub(super) enum Encoder {
    Csv { writer: Box<csv::Writer<HashedFile>>, raw: bool },
    Ndjson { file: Box<HashedFile>, columns: Vec<Column> },
    Parquet(Box<ParquetFile>),
}

impl Encoder {
    /// Begins a file.
    pub(super) fn begin(style: Style, columns: &[Column], file: HashedFile) -> io::Result<Self> {
        let mut begun = Self::go_on(style, columns, file)?;
        if let Self::Csv { writer, .. } = &mut begun {
            writer.write_record(columns.iter().map(|column| column.name)).map_err(of_csv)?;
        }
        Ok(begun)
    }

    /// Adds to a file that [`Self::sync`] has written. One of Parquet cannot be gone on with.
    pub(super) fn go_on(style: Style, columns: &[Column], file: HashedFile) -> io::Result<Self> {
        Ok(match style.format {
            Format::Csv => Self::Csv { writer: Box::new(csv_writer(file)), raw: style.raw },
            Format::Ndjson => Self::Ndjson { file: Box::new(file), columns: columns.to_vec() },
            Format::Parquet => Self::Parquet(Box::new(ParquetFile::begin(columns, file)?)),
        })
    }

    pub(super) fn write(&mut self, content: Content) -> io::Result<()> {
        match (self, content) {
            (Self::Csv { writer, raw }, Content::Cells(cells)) => {
                for cell in cells {
                    let text = match *raw {
                        false => safe_text(cell),
                        true => cell.into_text().unwrap_or_default(),
                    };
                    writer.write_field(text).map_err(of_csv)?;
                }
                writer.write_record(None::<&[u8]>).map_err(of_csv)
            }
            (Self::Ndjson { file, columns }, content) => {
                let line = match content {
                    Content::Line(line) => line,
                    Content::Cells(cells) => {
                        let values = cells.into_iter().map(Cell::into_json);
                        let names = columns.iter().map(|column| column.name.to_owned());
                        names.zip(values).collect::<serde_json::Map<_, _>>().into()
                    }
                };
                serde_json::to_writer(&mut *file, &line)?;
                file.write_all(b"\n")
            }
            (Self::Parquet(file), Content::Cells(cells)) => file.write(cells),
            (Self::Csv { .. } | Self::Parquet(_), Content::Line(_)) => {
                Err(io::Error::other("a line of NDJSON has no place in a table"))
            }
        }
    }

    /// Returns once all rows so far outlive a crash of the machine, with the file's length.
    pub(super) fn sync(&mut self) -> io::Result<u64> {
        match self {
            Self::Csv { writer, .. } => {
                // Flushes the file too.
                writer.flush()?;
                let file = writer.get_ref();
                file.file.get_ref().sync_data()?;
                Ok(file.bytes)
            }
            Self::Ndjson { file, .. } => {
                file.sync()?;
                Ok(file.bytes)
            }
            // Its rows are nothing before its end is written.
            Self::Parquet(_) => Ok(0),
        }
    }

    /// How long the file is so far, but for what waits to be written together.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Csv { writer, .. } => writer.get_ref().bytes,
            Self::Ndjson { file, .. } => file.bytes,
            Self::Parquet(file) => file.bytes(),
        }
    }

    /// Ends the file; what it holds is on disk then.
    pub(super) fn finish(self) -> io::Result<Written> {
        match self {
            Self::Csv { writer, .. } => {
                let file = writer.into_inner().map_err(|error| error.into_error())?;
                file.finish()
            }
            Self::Ndjson { file, .. } => file.finish(),
            Self::Parquet(file) => file.finish()?.finish(),
        }
    }
}

/// Adds a line of CSV whose cells no spreadsheet runs.
///
/// # Errors
/// Where `to` takes no more.
pub(super) fn csv_line<W: Write>(to: W, cells: impl IntoIterator<Item = Cell>) -> io::Result<()> {
    let mut writer = csv::WriterBuilder::new().from_writer(to);
    for cell in cells {
        writer.write_field(safe_text(cell)).map_err(of_csv)?;
    }
    writer.write_record(None::<&[u8]>).map_err(of_csv)?;
    writer.flush()
}

fn safe_text(cell: Cell) -> String {
    match cell {
        Cell::Text(text) => made_safe(text),
        cell => cell.into_text().unwrap_or_default(),
    }
}

/// As all CSV is written here.
pub(super) fn csv_writer<W: Write>(to: W) -> csv::Writer<W> {
    csv::WriterBuilder::new().buffer_capacity(BUFFER_BYTES).from_writer(to)
}

fn of_csv(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("a row could not be written: {other:?}")),
    }
}
