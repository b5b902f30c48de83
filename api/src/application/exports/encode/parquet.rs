//! Apache Parquet, by columns: rows are gathered up to a bound, then written as a row group.

use std::io;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;

use super::super::table::{Cell, Column, Kind};
use super::HashedFile;

/// A row group has no more rows …
const GROUP_ROWS_MAX: usize = 50_000;
/// … and no more text than this, but for the row that goes over it. All of it is in memory until it is written.
const GROUP_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Digits of an amount, of which [`SCALE`] stand behind the point.
const PRECISION: i32 = 18;
const SCALE: i32 = 6;
/// The level that Zstandard itself takes where none is asked for; higher ones take much longer for little.
const ZSTD_LEVEL: i32 = 3;

pub(in super::super) struct ParquetFile {
    file: SerializedFileWriter<HashedFile>,
    columns: Vec<Gathered>,
    rows: usize,
    bytes: usize,
}

/// The values of a column that are not written yet, and for each row whether it has one.
struct Gathered {
    values: Values,
    present: Vec<i16>,
}

enum Values {
    Booleans(Vec<bool>),
    Integers(Vec<i64>),
    Texts(Vec<ByteArray>),
}

impl ParquetFile {
    pub(super) fn begin(columns: &[Column], file: HashedFile) -> io::Result<Self> {
        let fields = columns.iter().map(|column| Ok(Arc::new(field(column)?)));
        let fields: Vec<_> = fields.collect::<Result<_, ParquetError>>().map_err(of_parquet)?;
        let schema = Type::group_type_builder("row").with_fields(fields).build();
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL).map_err(of_parquet)?))
            .set_created_by(concat!("whatsapp-gateway ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let schema = Arc::new(schema.map_err(of_parquet)?);
        let file = SerializedFileWriter::new(file, schema, Arc::new(properties));
        let columns = columns.iter().map(Gathered::new).collect();
        Ok(Self { file: file.map_err(of_parquet)?, columns, rows: 0, bytes: 0 })
    }

    pub(super) fn write(&mut self, cells: Vec<Cell>) -> io::Result<()> {
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            self.bytes += column.push(cell)?;
        }
        self.rows += 1;
        if self.rows >= GROUP_ROWS_MAX || self.bytes >= GROUP_BYTES_MAX {
            self.write_group().map_err(of_parquet)?;
        }
        Ok(())
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.file.next_row_group()?;
        for column in &mut self.columns {
            let Some(mut writer) = group.next_column()? else { break };
            let present = Some(&column.present[..]);
            match &column.values {
                Values::Booleans(values) => {
                    writer.typed::<BoolType>().write_batch(values, present, None)?
                }
                Values::Integers(values) => {
                    writer.typed::<Int64Type>().write_batch(values, present, None)?
                }
                Values::Texts(values) => {
                    writer.typed::<ByteArrayType>().write_batch(values, present, None)?
                }
            };
            writer.close()?;
            column.clear();
        }
        group.close()?;
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }

    pub(super) fn bytes(&self) -> u64 {
        self.file.bytes_written() as u64
    }

    pub(super) fn finish(mut self) -> io::Result<HashedFile> {
        if self.rows > 0 {
            self.write_group().map_err(of_parquet)?;
        }
        self.file.into_inner().map_err(of_parquet)
    }
}

impl Gathered {
    fn new(column: &Column) -> Self {
        let values = match column.kind {
            Kind::Boolean => Values::Booleans(vec![]),
            Kind::Integer | Kind::Timestamp | Kind::Decimal => Values::Integers(vec![]),
            Kind::Text | Kind::Json => Values::Texts(vec![]),
        };
        Self { values, present: vec![] }
    }

    /// Answers how many bytes it takes.
    fn push(&mut self, cell: Cell) -> io::Result<usize> {
        if cell == Cell::Empty {
            self.present.push(0);
            return Ok(size_of::<i16>());
        }
        let bytes = match (&mut self.values, cell) {
            (Values::Booleans(values), Cell::Boolean(flag)) => {
                values.push(flag);
                size_of::<bool>()
            }
            (Values::Integers(values), cell) => {
                let number = match cell {
                    Cell::Integer(number) => Some(number),
                    Cell::Timestamp(at) => Some(at.timestamp_millis()),
                    Cell::Decimal(amount) => i64::try_from(amount.millionths()).ok(),
                    _ => None,
                };
                values.push(number.ok_or_else(|| misplaced("a number"))?);
                size_of::<i64>()
            }
            (Values::Texts(values), cell @ (Cell::Text(_) | Cell::Json(_))) => {
                let text = cell.into_text().unwrap_or_default();
                let bytes = text.len();
                values.push(ByteArray::from(text.into_bytes()));
                size_of::<ByteArray>() + bytes
            }
            (Values::Booleans(_), _) => return Err(misplaced("true or false")),
            (Values::Texts(_), _) => return Err(misplaced("text")),
        };
        self.present.push(1);
        Ok(size_of::<i16>() + bytes)
    }

    fn clear(&mut self) {
        self.present.clear();
        match &mut self.values {
            Values::Booleans(values) => values.clear(),
            Values::Integers(values) => values.clear(),
            Values::Texts(values) => values.clear(),
        }
    }
}

fn field(column: &Column) -> Result<Type, ParquetError> {
    let (physical, logical) = match column.kind {
        Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Kind::Json => (Physical::BYTE_ARRAY, Some(LogicalType::Json)),
        Kind::Integer => (Physical::INT64, None),
        Kind::Boolean => (Physical::BOOLEAN, None),
        Kind::Timestamp => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MILLIS))),
        Kind::Decimal => (Physical::INT64, Some(LogicalType::decimal(SCALE, PRECISION))),
    };
    let builder = Type::primitive_type_builder(column.name, physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(logical);
    let builder = match column.kind {
        Kind::Decimal => builder.with_precision(PRECISION).with_scale(SCALE),
        _ => builder,
    };
    builder.build()
}

fn misplaced(expected: &str) -> io::Error {
    io::Error::other(format!(
        "a column of the export takes {expected}, and was given something else"
    ))
}

fn of_parquet(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(source) => io::Error::other(source),
        },
        other => io::Error::other(other),
    }
}
