//! Which character separates a file's cells.

use super::record::{Found, Record, Records};

/// In the order of preference where nothing else decides.
const CANDIDATES: [u8; 4] = [b',', b';', b'\t', b'|'];
/// How many records are compared.
const RECORDS_MAX: usize = 20;
/// Excel's own way to say it, in a line before the header.
const DIRECTIVE: &[u8] = b"sep=";

/// What the beginning of a file says of its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub delimiter: u8,
    /// How many bytes, and lines, come before the header.
    pub preamble_bytes: usize,
    pub preamble_lines: u64,
}

/// Finds the delimiter in the first records of `text`, whole where it `is_whole`. The one under which most column names
/// are known wins; then the one that makes columns at all, the same number in each record, and many. Where none makes any,
/// it is one under which the header has a quotation mark that is not closed: that is then what is wrong.
pub(super) fn find(
    text: &[u8],
    is_whole: bool,
    row_bytes_max: usize,
    is_known: impl Fn(&[u8]) -> bool,
) -> Form {
    if let Some(form) = directive(text) {
        return form;
    }
    let score = |delimiter: u8| {
        let mut records = Records::new(delimiter, row_bytes_max, 1);
        records.feed().extend_from_slice(text);
        if is_whole {
            records.close();
        }
        let mut record = Record::default();
        let (mut known, mut columns, mut alike, mut seen) = (0, 0, 0, 0);
        let mut has_open_header = false;
        while seen < RECORDS_MAX {
            match records.next(&mut record) {
                Some(Found::Record) if seen == 0 => {
                    known = record.cells().filter(|cell| is_known(cell)).count();
                    columns = record.len();
                }
                Some(Found::Record) => alike += usize::from(record.len() == columns),
                Some(Found::StrayQuote) => has_open_header |= seen == 0,
                Some(Found::TooLong) => {}
                None => break,
            }
            seen += 1;
        }
        ((known, columns > 1, alike, columns), has_open_header)
    };
    let scores = CANDIDATES.map(|delimiter| (delimiter, score(delimiter)));
    let best = scores.iter().rev().max_by_key(|(_, (score, _))| *score);
    let open = scores.iter().find(|(_, (_, has_open_header))| *has_open_header);
    let best = match (best, open) {
        (Some((_, ((0, false, ..), _))), Some((open, _))) => *open,
        (Some((best, _)), _) => *best,
        (None, _) => CANDIDATES[0],
    };
    Form { delimiter: best, preamble_bytes: 0, preamble_lines: 0 }
}

fn directive(text: &[u8]) -> Option<Form> {
    let start =
        text.get(..DIRECTIVE.len()).filter(|start| start.eq_ignore_ascii_case(DIRECTIVE))?;
    let delimiter =
        *text.get(start.len()).filter(|byte| byte.is_ascii_punctuation() || **byte == b'\t')?;
    let line_end = match text.get(start.len() + 1..)? {
        [b'\r', b'\n', ..] => 2,
        [b'\r' | b'\n', ..] => 1,
        _ => return None,
    };
    (delimiter != b'"').then_some(Form {
        delimiter,
        preamble_bytes: start.len() + 1 + line_end,
        preamble_lines: 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str) -> u8 {
        super::find(text.as_bytes(), true, 1000, |cell| {
            matches!(cell, b"phone" | b"name" | b"tags")
        })
        .delimiter
    }

    #[test]
    fn the_delimiter_is_found_whatever_the_cells_hold() {
        assert_eq!(find("phone,name\n1,Ana;B\n"), b',');
        assert_eq!(find("phone;name;tags\n1;Ana;a,b,c,d\n2;Bo;a,b,c,d\n"), b';');
        assert_eq!(find("phone\tname\n1\tAna, B\n"), b'\t');
        assert_eq!(find("phone|name|x y\n1|Ana|a,b\n"), b'|');
        assert_eq!(find("\"phone\";\"name, first, last\"\n1;\"a,b,c\"\n"), b';');
        assert_eq!(find("a;b\n1;x,y\n2;z\n"), b';');
        assert_eq!(find("phone\n1\n"), b',');
        assert_eq!(find(""), b',');
        assert_eq!(find("phone,\"name\n1,Ana\n"), b',');
        assert_eq!(find("phone;\"name\n1;Ana\n"), b';');
    }

    #[test]
    fn a_spreadsheets_own_word_is_taken() {
        let form = super::find(b"sep=;\r\nphone;a,b,c\r\n", true, 1000, |_| false);
        assert_eq!(form, Form { delimiter: b';', preamble_bytes: 7, preamble_lines: 1 });
        assert_eq!(super::find(b"sep=\"\nphone;a", true, 1000, |_| false).preamble_bytes, 0);
    }
}
