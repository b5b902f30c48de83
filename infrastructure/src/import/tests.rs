//! The reader as a whole: files as people have them, in any pieces.

use domain::contact::ConsentStatus;
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Everything that came of a file.
#[derive(Debug, PartialEq)]
struct Outcome {
    rows: Vec<RowResult>,
    end: Result<FileSummary, FileError>,
}

impl Outcome {
    fn contacts(&self) -> Vec<&ContactRow> {
        self.rows.iter().filter_map(|row| row.as_ref().ok()).collect()
    }

    fn errors(&self) -> Vec<(u64, Option<&str>, &str)> {
        let errors = self.rows.iter().filter_map(|row| row.as_ref().err());
        errors.map(|error| (error.row, error.column.as_deref(), error.message.as_str())).collect()
    }
}

fn read_chunks<'a>(
    chunks: impl IntoIterator<Item = &'a [u8]>,
    options: &Options,
    limits: Limits,
) -> Outcome {
    let mut rows = Vec::new();
    let mut reader = match ContactFileReader::with_limits(options.clone(), limits) {
        Ok(reader) => reader,
        Err(error) => return Outcome { rows, end: Err(error) },
    };
    for chunk in chunks {
        if let Err(error) = reader.push(chunk, &mut rows) {
            assert_eq!(
                reader.push(b"more", &mut rows),
                Err(error.clone()),
                "a failure is for ever"
            );
            return Outcome { rows, end: Err(error) };
        }
    }
    let end = reader.finish(&mut rows);
    Outcome { rows, end }
}

fn read(text: impl AsRef<[u8]>) -> Outcome {
    read_chunks([text.as_ref()], &Options::default(), Limits::default())
}

fn read_with(text: &str, region: Option<&str>, mapping: serde_json::Value) -> Outcome {
    let options = Options {
        default_region: region.map(str::to_owned),
        mapping: ColumnMapping::parse(&mapping).unwrap(),
    };
    read_chunks([text.as_bytes()], &options, Limits::default())
}

fn limits() -> Limits {
    Limits {
        file_bytes: 2_000,
        rows: 20,
        columns: 5,
        row_bytes: 60,
        sniff_bytes: 80,
        stray_quotes: 3,
    }
}

#[test]
fn a_row_has_all_that_the_file_says_of_a_contact() {
    let outcome = read(
        "Phone;User ID;First Name;Last Name;Customer ID;Language;Time Zone;Tags;Opt-in;Consent source;Consent date;Plan\r\n\
         +49 151 12345678;DE.72044188;Ana;Silva;K-1;pt-br;America/Sao_Paulo;vip, new;Sim;landing page;2026-03-01;Gold\r\n",
    );
    let row = outcome.contacts()[0];
    assert_eq!(row.row, 2);
    assert_eq!(row.phone.as_ref().map(|phone| phone.as_str()), Some("+4915112345678"));
    assert_eq!(row.user_id.as_ref().map(|id| id.as_str()), Some("DE.72044188"));
    assert_eq!(row.name.as_deref(), Some("Ana Silva"));
    assert_eq!(row.external_id.as_deref(), Some("K-1"));
    assert_eq!(row.language.as_deref(), Some("pt_BR"));
    assert_eq!(row.time_zone, Some(TimeZoneCell::Known(chrono_tz::America::Sao_Paulo)));
    assert_eq!(row.tags, ["vip", "new"]);
    assert_eq!(row.consent, Some(ConsentStatus::OptedIn));
    assert_eq!(row.consent_source.as_deref(), Some("landing page"));
    assert_eq!(row.consent_at, Some("2026-03-01T00:00:00Z".parse().unwrap()));
    let attributes: Vec<_> =
        row.attributes.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(attributes, [("Plan", "Gold"), ("first_name", "Ana"), ("last_name", "Silva")]);
    let summary = FileSummary { rows: 1, rejected: 0, encoding: "UTF-8", delimiter: ';' };
    assert_eq!(outcome.end, Ok(summary));
}

#[test]
fn empty_cells_say_nothing() {
    let outcome = read("phone,name,tags,consent,timezone,plan,\n+4915112345678, ,,,,,\n");
    let row = outcome.contacts()[0];
    assert_eq!(*row, ContactRow { phone: row.phone.clone(), ..ContactRow::new(2) });
}

#[test]
fn every_encoding_a_spreadsheet_writes_is_read() {
    let text = "Telefone\tNome completo\n+5511912345678\tJoão\n";
    let utf16 =
        |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
    let files = [
        ("UTF-8", text.as_bytes().to_vec()),
        ("UTF-8", [b"\xef\xbb\xbf", text.as_bytes()].concat()),
        ("UTF-16LE", [b"\xff\xfe".to_vec(), utf16(u16::to_le_bytes)].concat()),
        ("UTF-16BE", [b"\xfe\xff".to_vec(), utf16(u16::to_be_bytes)].concat()),
        ("windows-1252", b"Telefone\tNome completo\n+5511912345678\tJo\xe3o\n".to_vec()),
    ];
    for (encoding, bytes) in files {
        let outcome = read(bytes);
        assert_eq!(outcome.contacts()[0].name.as_deref(), Some("João"), "{encoding}");
        assert_eq!(outcome.end.unwrap().encoding, encoding);
    }
}

#[test]
fn bad_rows_say_why_and_where_and_never_what() {
    let outcome = read(
        "phone,user_id,name,consent,consent_at,language,plan\n\
         +4915112345678,,good,yes,,,\n\
         0151 secret,,,,,,\n\
         ,secret,,,,,\n\
         ,,secret,,,,\n\
         +4915112345678,,,secret,,,\n\
         +4915112345678,,,,03/04/secret,,\n\
         +4915112345678,,,,,secret,\n\
         +4915112345678,,,,,,x,secret\n\
         +4915112345678,,,,,,\"secret\n\
         +4915112345678,,\"two\nlines\",,,,\n\
         +4915112345678,,\u{1}secret,,,,\n",
    );
    let places: Vec<_> = outcome.errors().iter().map(|(row, column, _)| (*row, *column)).collect();
    assert_eq!(
        places,
        [
            (3, Some("phone")),
            (4, Some("user_id")),
            (5, None),
            (6, Some("consent")),
            (7, Some("consent_at")),
            (8, Some("language")),
            (9, None),
            (10, None),
            (13, Some("name")),
        ]
    );
    assert!(
        outcome
            .errors()
            .iter()
            .all(|(_, _, message)| !message.contains("secret") && message.len() > 20)
    );
    assert_eq!(outcome.contacts().iter().map(|row| row.row).collect::<Vec<_>>(), [2, 11]);
    assert_eq!(outcome.contacts()[1].name.as_deref(), Some("two\nlines"));
    let summary = outcome.end.unwrap();
    assert_eq!((summary.rows, summary.rejected), (11, 9));
}

#[test]
fn debug_shows_no_personal_data() {
    let shown = format!(
        "{:?}",
        read("phone,name,tz,plan\n+4915112345678,Ana,Ana's zone,Ana's plan\n").rows
    );
    assert!(!shown.contains("4915112345678") && !shown.contains("Ana"), "{shown}");
}

#[test]
fn a_bad_time_zone_keeps_the_row_and_its_text() {
    let outcome = read("phone,timezone\n+4915112345678,Brasilia\n+4915112345679,europe/berlin\n");
    let zones: Vec<_> =
        outcome.contacts().iter().map(|row| row.time_zone.clone().unwrap()).collect();
    assert_eq!(
        zones,
        [
            TimeZoneCell::Unknown("Brasilia".to_owned()),
            TimeZoneCell::Known(chrono_tz::Europe::Berlin)
        ]
    );
}

#[test]
fn an_opt_out_column_opts_out_whatever_a_consent_column_says() {
    let outcome = read(
        "phone,consent,unsubscribed\n+4915112345678,yes,yes\n+4915112345679,yes,no\n+4915112345670,,\n",
    );
    let consents: Vec<_> = outcome.contacts().iter().map(|row| row.consent).collect();
    assert_eq!(consents, [Some(ConsentStatus::OptedOut), Some(ConsentStatus::OptedIn), None]);
}

#[test]
fn names_are_joined_from_what_columns_there_are() {
    for (header, cells, expected) in [
        ("name", "Ana Silva", "Ana Silva"),
        ("first name;last name", "Ana;Silva", "Ana Silva"),
        ("nombre;apellidos", "Ana;Silva Rojas", "Ana Silva Rojas"),
        ("nom;prénom", "Silva;Ana", "Ana Silva"),
        ("Name;Vorname", "Silva;Ana", "Ana Silva"),
        ("Nome", "Ana Silva", "Ana Silva"),
        ("name;first_name", "Ana Silva;Ana", "Ana Silva"),
        ("name;first_name;last_name", "Annie;Ana;Silva", "Annie"),
        ("name;first_name;last_name", ";Ana;Silva", "Ana Silva"),
        ("first name;last name", ";Silva", "Silva"),
    ] {
        let outcome = read(format!("phone;{header}\n+4915112345678;{cells}\n"));
        assert_eq!(outcome.contacts()[0].name.as_deref(), Some(expected), "{header}");
    }
    assert!(read("phone;nome\n+4915112345678;Ana Silva\n").contacts()[0].attributes.is_empty());
}

#[test]
fn national_numbers_take_the_default_region() {
    let outcome = read_with("Celular\n(11) 91234-5678\n+4915112345678\n", Some("BR"), json!({}));
    let phones: Vec<_> = outcome.contacts().iter().map(|row| row.phone.clone().unwrap()).collect();
    assert_eq!(
        phones.iter().map(|phone| phone.as_str()).collect::<Vec<_>>(),
        ["+5511912345678", "+4915112345678"]
    );
    assert_eq!(read_with("phone\n1\n", Some("XX"), json!({})).end, Err(FileError::UnknownRegion));
}

#[test]
fn the_mapping_decides_also_where_the_delimiter_is() {
    let outcome = read_with(
        "Ref No;Kontakt, mobil;Notiz\nA-1;+4915112345678;x, y\n",
        None,
        json!({"Kontakt, mobil": "phone", "Ref No": "externalId", "Notiz": "ignore"}),
    );
    let row = outcome.contacts()[0];
    assert_eq!(row.external_id.as_deref(), Some("A-1"));
    assert!(row.attributes.is_empty());
}

#[test]
fn files_that_are_none_are_refused_with_what_would_be_right() {
    for (file, expected) in [
        (&b""[..], FileError::Empty),
        (b"\n\n  \n;;\n", FileError::Empty),
        (b"\xef\xbb\xbf", FileError::Empty),
        (b"phone,name\n", FileError::NoRows),
        (b"phone,name\n,\n\n", FileError::NoRows),
        (b"PK\x03\x04\x14\0", FileError::NotText),
        (b"p\0h\0o\0n\0e\0", FileError::NotText),
        (b"+4915112345678,Ana\n+4915112345679,Bo\n", FileError::NoHeader),
        (b"name,plan\nAna,Gold\n", FileError::NoUsableColumn),
        (b"\"phone,name\nAna,Gold\n", FileError::UnreadableHeader { row_bytes_max: ROW_BYTES_MAX }),
        (b"phone;\"name\nAna;Gold\n", FileError::UnreadableHeader { row_bytes_max: ROW_BYTES_MAX }),
        (b"phone,a,A\n1,2,3\n", FileError::DuplicateHeader { header: "A".to_owned() }),
    ] {
        assert_eq!(read(file).end, Err(expected), "{}", String::from_utf8_lossy(file));
    }
}

#[test]
fn spreadsheets_preambles_and_empty_lines_do_not_shift_the_count() {
    let outcome =
        read("sep=;\r\n\r\nphone;name\r\n+4915112345678;Ana\r\n;\r\n\r\n+4915112345679;Bo\r\n");
    assert_eq!(outcome.contacts().iter().map(|row| row.row).collect::<Vec<_>>(), [4, 7]);
    assert_eq!(outcome.end.unwrap().rows, 2);
}

#[test]
fn every_bound_holds() {
    let number = |n: u32| format!("+49151{n:08}\n");
    let rows = |n: u32| format!("phone\n{}", (0..n).map(number).collect::<String>());
    let read = |text: &str| read_chunks([text.as_bytes()], &Options::default(), limits());
    assert!(read(&rows(20)).end.is_ok());
    let many = read(&rows(21));
    assert_eq!((many.rows.len(), many.end), (20, Err(FileError::TooManyRows { max: 20 })));
    assert_eq!(read("phone,a,b,c,d,e\n").end, Err(FileError::TooManyColumns { max: 5 }));
    assert_eq!(
        read(&format!("phone{}", "\n".repeat(2_000))).end,
        Err(FileError::TooLarge { max: 2_000 })
    );
    let long = read(&format!("phone,a\n+4915112345678,{}\n+4915112345679,b\n", "x".repeat(60)));
    assert_eq!(long.errors()[0].0, 2);
    assert_eq!(long.contacts()[0].row, 3);
    let quotes = format!("phone,a\n{}", "+4915112345678,\"b\n\"c\n".repeat(5));
    assert_eq!(read(&quotes).end, Err(FileError::TooManyStrayQuotes { max: 3 }));
}

#[test]
fn a_quoted_cell_of_nothing_but_line_ends_does_not_grow_without_bound() {
    let mut reader = ContactFileReader::try_new(Options::default()).unwrap();
    let mut rows = Vec::new();
    reader.push(b"phone,a\n+4915112345678,\"", &mut rows).unwrap();
    for _ in 0..8 {
        reader.push(&[b'\n'; SNIFF_BYTES], &mut rows).unwrap();
    }
    assert_eq!(rows.len(), 1);
    reader.push(b"+4915112345679,b\n", &mut rows).unwrap();
    reader.finish(&mut rows).unwrap();
    assert_eq!(rows[1].as_ref().unwrap().row, 2 + 8 * SNIFF_BYTES as u64);
}

#[test]
fn the_reader_says_what_it_takes_the_columns_for() {
    let mut reader = ContactFileReader::try_new(Options::default()).unwrap();
    let mut rows = Vec::new();
    reader.push(b"Celular;Plan\n+4915112345678;Gold\n", &mut rows).unwrap();
    assert_eq!(reader.columns().count(), 0, "not before it was looked at");
    reader.finish(&mut rows).unwrap();
    let columns: Vec<_> =
        reader.columns().map(|(name, field)| format!("{name} = {}", field.name())).collect();
    assert_eq!(columns, ["Celular = phone", "Plan = attributes.Plan"]);
}

/// Lines of a contact file, most of them sound.
fn lines() -> impl Strategy<Value = String> {
    let cell = prop_oneof![
        Just("+4915112345678".to_owned()),
        Just("\"Ana; \"\"A\"\", Silva\"".to_owned()),
        Just("\"two\r\nlines\"".to_owned()),
        Just("João".to_owned()),
        "[a-z\" ,;\t]{0,12}",
    ];
    let line = prop::collection::vec(cell, 1..4).prop_map(|cells| cells.join(";"));
    let end = prop_oneof![Just("\n"), Just("\r\n"), Just("\r")];
    (prop::collection::vec(line, 0..12), end)
        .prop_map(|(lines, end)| format!("phone;name;note{end}{}", lines.join(end)))
}

fn pieces<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.min(&bytes.len()).to_owned()).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

proptest! {
    #[test]
    fn the_chunks_do_not_matter(
        text in lines(),
        encoding in 0..4,
        cuts in prop::collection::vec(0..600_usize, 0..8),
    ) {
        let units = || text.encode_utf16();
        let bytes = match encoding {
            0 => text.into_bytes(),
            1 => [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            2 => [b"\xff\xfe".to_vec(), units().flat_map(u16::to_le_bytes).collect()].concat(),
            _ => encoding_rs::WINDOWS_1252.encode(&text).0.into_owned(),
        };
        for limits in [Limits::default(), limits()] {
            let whole = read_chunks([bytes.as_slice()], &Options::default(), limits);
            let pieces = read_chunks(pieces(&bytes, &cuts), &Options::default(), limits);
            prop_assert_eq!(whole, pieces);
            let single = read_chunks(bytes.chunks(1), &Options::default(), limits);
            prop_assert_eq!(single.end, read_chunks([bytes.as_slice()], &Options::default(), limits).end);
        }
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400), cuts in prop::collection::vec(0..400_usize, 0..4)) {
        let headed = [b"phone,name\n".to_vec(), bytes.clone()].concat();
        for bytes in [bytes, headed] {
            for limits in [Limits::default(), limits()] {
                let _ = read_chunks(pieces(&bytes, &cuts), &Options::default(), limits);
            }
        }
    }
}
