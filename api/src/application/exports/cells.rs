//! Cells that spreadsheets run: text that begins like a formula. In front of it goes an apostrophe, which tells a
//! spreadsheet that what follows is text.

/// Excel, LibreOffice and Google Sheets take a cell for a formula by its first character; TAB and CR are skipped by some on
/// the way to it.
const BEGINS_FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// The text of a cell as no spreadsheet runs it.
pub(super) fn made_safe(mut text: String) -> String {
    if text.starts_with(BEGINS_FORMULA) {
        text.insert(0, '\'');
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_begins_like_a_formula_is_told_to_be_text() {
        for (cell, safe) in [
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("+447700900001", "'+447700900001"),
            ("-2+3", "'-2+3"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1+1", "'\t=1+1"),
            ("\r=1+1", "'\r=1+1"),
            ("", ""),
            ("a=1", "a=1"),
            ("'=1", "'=1"),
            ("ＡＢ", "ＡＢ"),
        ] {
            assert_eq!(made_safe(cell.to_owned()), safe, "{cell:?}");
        }
    }

    proptest! {
        #[test]
        fn no_cell_begins_a_formula_and_nothing_of_it_is_lost(text in "(?s)[=+\\-@\t\r'\",;\n a-c]{0,8}") {
            let safe = made_safe(text.clone());
            prop_assert!(!safe.starts_with(BEGINS_FORMULA), "{safe:?}");
            let quoted = format!("'{text}");
            prop_assert!(safe == text || safe == quoted);
        }

        /// As a reader of CSV has it: quotes, separators and line ends of the text do not make another cell of it.
        #[test]
        fn cells_come_out_of_a_file_as_they_went_in(rows in prop::collection::vec(
            prop::collection::vec("(?s)[=+\\-@\t\r'\",;\n a-c]{0,8}", 3), 1..6)
        ) {
            let mut writer = super::super::encode::csv_writer(Vec::new());
            for row in &rows {
                writer.write_record(row.iter().cloned().map(made_safe)).unwrap();
            }
            let bytes = writer.into_inner().unwrap();
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&bytes[..]);
            let read: Vec<Vec<String>> = reader
                .records()
                .map(|row| row.unwrap().iter().map(str::to_owned).collect())
                .collect();
            prop_assert_eq!(read.len(), rows.len());
            for (read, row) in read.iter().flatten().zip(rows.iter().flatten()) {
                prop_assert!(!read.starts_with(BEGINS_FORMULA));
                prop_assert_eq!(read.strip_prefix('\'').unwrap_or(read), row.strip_prefix('\'').unwrap_or(row));
            }
        }
    }
}
