//! Cut short anywhere and gone on with, an export ends in the same bytes.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use serde_json::json;

use super::place::{NamedColumn, Writer};
use super::rows::Batch;
use super::table::{Cell, Content, Row};
use super::*;

const COLUMNS: [Column; 5] = [
    Column::new("id", Kind::Integer, "its place"),
    Column::new("name", Kind::Text, "a text"),
    Column::new("at", Kind::Timestamp, "when"),
    Column::new("is_good", Kind::Boolean, "whether"),
    Column::new("data", Kind::Json, "what"),
];
const ROWS: u64 = 9_000;
const ROWS_PER_BATCH: u64 = 450;
const BOUNDS: Bounds = Bounds { rows_per_file: 1_000, bytes: u64::MAX };

fn at(position: u64) -> DateTime<Utc> {
    // Three days.
    DateTime::from_timestamp(1_795_000_000 + i64::try_from(position).unwrap() * 20, 0).unwrap()
}

fn row(position: u64) -> Row {
    let name =
        if position.is_multiple_of(7) { Cell::Empty } else { format!("=person {position}").into() };
    let cells = vec![
        position.into(),
        name,
        at(position).into(),
        position.is_multiple_of(2).into(),
        json!({ "n": position, "text": "x".repeat((position % 50) as usize) }).into(),
    ];
    let content = Content::Cells(cells);
    Row { position: Position(position), day: at(position).date_naive(), content }
}

/// What the log has after `after`.
fn batches(after: Position) -> impl Iterator<Item = Batch> {
    let firsts = (after.0 + 1..=ROWS).step_by(ROWS_PER_BATCH as usize);
    firsts.map(|first| {
        let last = (first + ROWS_PER_BATCH - 1).min(ROWS);
        let rows = (first..=last).map(row).collect();
        Batch { rows, scanned_to: Position(last), is_last: last == ROWS }
    })
}

fn request(format: Format) -> ExportRequest {
    let filter = ExportFilter::default();
    ExportRequest { dataset: Dataset::Messages, format, filter, personal: false, raw: false }
}

fn planned(format: Format) -> Manifest {
    Manifest {
        version: VERSION,
        request: request(format),
        log: "0123456789abcdef".to_owned(),
        range: Range { after: Position(0), to: Position(ROWS) },
        rows: 0,
        columns: vec![NamedColumn { name: "id".to_owned(), kind: "integer".to_owned() }],
        files: vec![],
        progress: None,
    }
}

fn begin(folder: &Path, format: Format, bounds: Bounds) -> Result<Writer, ExportError> {
    let place = Place::of(folder, &request(format));
    Writer::begin(place, planned(format), COLUMNS.to_vec(), bounds)
}

/// Writes so many batches; all of them where there are no more. `None`: it is not whole yet.
fn write_on(folder: &Path, format: Format, count: usize) -> Option<Manifest> {
    let writer = begin(folder, format, BOUNDS).unwrap();
    let (sender, receiver) = mpsc::channel(ROWS as usize);
    for batch in batches(writer.scanned_to()).take(count) {
        sender.try_send(batch).unwrap();
    }
    drop(sender);
    let writer = if writer.is_whole() { writer } else { writer.take_all(receiver).unwrap() };
    writer.is_whole().then(|| writer.finish().unwrap())
}

/// Every file with what it holds.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            let below =
                files(&path).into_iter().map(|(file, text)| (format!("{name}/{file}"), text));
            found.extend(below);
        } else {
            found.insert(name, std::fs::read(&path).unwrap());
        }
    }
    found
}

fn whole(format: Format) -> BTreeMap<String, Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let manifest = write_on(folder.path(), format, usize::MAX).unwrap();
    assert_eq!(manifest.rows, ROWS);
    assert_eq!(manifest.files.iter().map(|file| file.rows).sum::<u64>(), ROWS);
    let files = files(folder.path());
    for entry in &manifest.files {
        let bytes = &files[&entry.path];
        let hash = ring::digest::digest(&ring::digest::SHA256, bytes);
        assert_eq!(entry.sha256, hex::encode(hash), "{}", entry.path);
        assert_eq!(entry.bytes, bytes.len() as u64);
    }
    assert_eq!(files.len(), manifest.files.len() + 1, "and the manifest: {:?}", files.keys());
    files
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn an_export_cut_short_again_and_again_ends_in_the_same_bytes(
        cuts in prop::collection::vec((0_usize..4, any::<bool>()), 1..6)
    ) {
        for format in Format::ALL {
            let folder = tempfile::tempdir().unwrap();
            for (count, with_debris) in &cuts {
                let is_over = write_on(folder.path(), format, *count).is_some();
                prop_assert!(!is_over);
                let known = files(folder.path());
                prop_assert!(!known.contains_key("manifest.json"));
                prop_assert!(!known.contains_key("messages.csv") && !known.contains_key("messages.ndjson"));
                if *with_debris {
                    // What a process that is killed has written and not noted.
                    for (name, mut bytes) in known {
                        if name.ends_with("csv.part") || name.ends_with("ndjson.part") {
                            bytes.extend_from_slice(b"half a li");
                            std::fs::write(folder.path().join(name), bytes).unwrap();
                        }
                    }
                    if format == Format::Parquet {
                        let day = folder.path().join(format!("day={}", at(1).date_naive()));
                        std::fs::create_dir_all(&day).unwrap();
                        std::fs::write(day.join("part-00099.parquet.part"), "PAR1").unwrap();
                        std::fs::write(day.join("part-00098.parquet"), "PAR1").unwrap();
                    }
                }
            }
            let manifest = write_on(folder.path(), format, usize::MAX);
            prop_assert!(manifest.is_some());
            prop_assert!(files(folder.path()) == whole(format), "{:?}", format);
        }
    }
}

#[test]
fn parquet_has_files_for_each_day_and_no_larger_than_asked_for() {
    let files = whole(Format::Parquet);
    let days: std::collections::BTreeSet<&str> =
        files.keys().filter_map(|path| Some(path.split_once('/')?.0)).collect();
    assert_eq!(days.len(), 3, "{days:?}");
    assert_eq!(files.len() - 1, 11, "{:?}", files.keys());
    let parquet = files.iter().filter(|(path, _)| path.ends_with(".parquet"));
    for (path, bytes) in parquet {
        assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"), "{path}");
    }
}

#[test]
fn csv_is_made_safe_unless_it_is_to_be_raw() {
    let files = whole(Format::Csv);
    let text = std::str::from_utf8(&files["messages.csv"]).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("id,name,at,is_good,data"));
    let expected =
        "1,'=person 1,2026-11-18T11:07:00.000Z,false,\"{\"\"n\"\":1,\"\"text\"\":\"\"x\"\"}\"";
    assert_eq!(lines.next(), Some(expected));
    assert_eq!(text.lines().count() as u64, ROWS + 1);
}

#[test]
fn what_is_there_already_is_not_written_over() {
    for format in Format::ALL {
        let folder = tempfile::tempdir().unwrap();
        write_on(folder.path(), format, usize::MAX).unwrap();
        let before = files(folder.path());
        let refused = begin(folder.path(), format, BOUNDS).err().unwrap();
        assert!(matches!(refused, ExportError::Occupied(_)), "{refused:?}");
        // But for the lock, which is of a process that is over.
        let mut after = files(folder.path());
        after.retain(|name, _| !name.ends_with(".lock"));
        assert!(after == before);
    }
}

#[test]
fn another_export_and_another_process_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    assert!(write_on(folder.path(), Format::Csv, 6).is_none());
    let place = Place::of(folder.path(), &request(Format::Csv));
    let other = Manifest {
        request: ExportRequest { raw: true, ..request(Format::Csv) },
        ..planned(Format::Csv)
    };
    let refused = Writer::begin(place, other, COLUMNS.to_vec(), BOUNDS).err().unwrap();
    assert!(
        matches!(&refused, ExportError::Occupied(why) if why.contains("another export")),
        "{refused:?}"
    );
    let writing = begin(folder.path(), Format::Csv, BOUNDS).unwrap();
    let refused = begin(folder.path(), Format::Csv, BOUNDS).err().unwrap();
    assert!(matches!(refused, ExportError::Busy(_)), "{refused:?}");
    drop(writing);
    assert!(write_on(folder.path(), Format::Csv, usize::MAX).is_some());
}

#[test]
fn an_export_that_was_killed_before_its_manifest_had_its_name_is_whole() {
    for format in Format::ALL {
        let folder = tempfile::tempdir().unwrap();
        let manifest = write_on(folder.path(), format, usize::MAX).unwrap();
        let named = folder.path().join("manifest.json");
        std::fs::rename(&named, folder.path().join("manifest.json.part")).unwrap();
        assert_eq!(write_on(folder.path(), format, 1), Some(manifest));
        assert!(named.exists());
    }
}

#[test]
fn a_file_that_has_its_name_and_was_not_noted_is_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    assert!(write_on(folder.path(), Format::Csv, 6).is_none());
    let (part, named) =
        (folder.path().join("messages.csv.part"), folder.path().join("messages.csv"));
    std::fs::rename(part, named).unwrap();
    assert!(write_on(folder.path(), Format::Csv, usize::MAX).is_some());
    assert!(files(folder.path()) == whole(Format::Csv));
}

#[test]
fn an_export_ends_where_it_may_grow_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let writer = begin(folder.path(), Format::Ndjson, Bounds { bytes: 100_000, ..BOUNDS }).unwrap();
    let (sender, receiver) = mpsc::channel(ROWS as usize);
    batches(Position(0)).for_each(|batch| sender.try_send(batch).unwrap());
    drop(sender);
    let refused = writer.take_all(receiver).err().unwrap();
    assert!(matches!(refused, ExportError::TooLarge { bytes: 100_000 }), "{refused:?}");
}

#[test]
fn a_path_with_an_extension_is_the_file_and_any_other_the_directory() {
    let of = |out: &str, format| {
        let place = Place::of(Path::new(out), &request(format));
        (place.result().display().to_string(), place.manifest().display().to_string())
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(of("a/x.csv", Format::Csv), pair("a/x.csv", "a/x.csv.manifest.json"));
    assert_eq!(of("x.ndjson", Format::Ndjson), pair("x.ndjson", "x.ndjson.manifest.json"));
    assert_eq!(of("a/x", Format::Csv), pair("a/x/messages.csv", "a/x/manifest.json"));
    assert_eq!(
        of("a/x.parquet", Format::Parquet),
        pair("a/x.parquet", "a/x.parquet/manifest.json")
    );
}

#[test]
fn no_table_has_two_columns_of_a_name_and_personal_ones_come_when_asked_for() {
    for dataset in Dataset::ALL {
        let names: Vec<&str> = all_columns(dataset).iter().map(|column| column.name).collect();
        let once: std::collections::BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(once.len(), names.len());
        let open = super::rows::columns(dataset, false);
        assert!(open.iter().all(|column| !column.personal) && open.len() < names.len());
        assert_eq!(super::rows::columns(dataset, true).len(), names.len());
    }
}

/// The tables of docs/exports.md, which `UPDATE_DOCS=1` writes anew.
#[test]
fn docs_are_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/exports.md");
    let written = std::fs::read_to_string(path).unwrap();
    let mut current = written.clone();
    for dataset in Dataset::ALL {
        let begin = format!("<!-- columns of {} -->\n", dataset.as_str());
        let end = "<!-- end of columns -->";
        let from = current.find(&begin).expect("a place for the columns") + begin.len();
        let to = from + current[from..].find(end).expect("an end of the columns");
        let rows = all_columns(dataset).iter().map(|column| {
            let personal = if column.personal { " (`--personal`)" } else { "" };
            format!(
                "| `{}`{personal} | {} | {} |\n",
                column.name,
                column.kind.as_str(),
                column.meaning
            )
        });
        let table = format!(
            "\n| column | type | what |\n| --- | --- | --- |\n{}\n",
            rows.collect::<String>()
        );
        current.replace_range(from..to, &table);
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &current).unwrap();
        return;
    }
    assert!(
        written == current,
        "docs/exports.md is stale: run UPDATE_DOCS=1 cargo test docs_are_current"
    );
}
