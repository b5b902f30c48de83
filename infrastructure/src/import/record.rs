//! From text to records: delimiters, quotes and line ends, with the line each record begins on.
//!
//! Not the csv crate, for three things it cannot do as a stream: count the lines of files that end them with CR alone,
//! hold a row to a bound without losing the place, and come back from a quotation mark that is never closed (it would
//! take the rest of the file for one cell). A cell that spans lines must therefore close its quotes properly; within one
//! line this reader is as lenient as others (`"Bob" Smith`).

const QUOTE: u8 = b'"';

/// One record's cells, without quotes, in whatever bytes the file has.
#[derive(Default)]
pub(super) struct Record {
    /// The line it begins on, as editors count: the file's first is 1.
    pub line: u64,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Record {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn cells(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.bytes[start..end])
    }

    /// Has nothing but delimiters and blanks, as spreadsheets write below a table.
    pub fn is_blank(&self) -> bool {
        self.bytes.iter().all(u8::is_ascii_whitespace)
    }
}

/// What came out of the file next. The record's line is set in each case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Record,
    /// Longer than the bound; skipped to the end of the line.
    TooLong,
    /// A quotation mark opens on this line and is never closed, or closes in the middle of a later cell, or only beyond
    /// the bound. Reading goes on with the next line.
    StrayQuote,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a cell's first byte that is not a space.
    CellStart,
    Unquoted,
    Quoted,
    /// Behind a quote in quotes: the cell's end, or the first of two.
    QuoteInQuoted,
    /// Behind the closing quote and something that is no delimiter.
    BehindQuoted,
    /// In a record that is too long.
    Skipping,
}

/// Splits a stream of bytes into records. Holds one incomplete record and what was fed since.
pub(super) struct Records {
    delimiter: u8,
    row_bytes_max: usize,
    buffer: Vec<u8>,
    /// Where the current record begins in `buffer`.
    start: usize,
    /// The next byte to look at.
    scan: usize,
    state: State,
    /// The line of the byte at `scan`.
    line: u64,
    start_line: u64,
    /// The line on which the current quoted cell opened.
    quote_line: u64,
    /// The byte before `scan` was a CR, so that a LF at `scan` belongs to it.
    is_after_cr: bool,
    /// Where the current record's cells end, counted from `start`.
    ends: Vec<usize>,
    is_closed: bool,
}

impl Records {
    pub fn new(delimiter: u8, row_bytes_max: usize, first_line: u64) -> Self {
        Self {
            delimiter,
            row_bytes_max,
            buffer: Vec::new(),
            start: 0,
            scan: 0,
            state: State::CellStart,
            line: first_line,
            start_line: first_line,
            quote_line: first_line,
            is_after_cr: false,
            ends: Vec::new(),
            is_closed: false,
        }
    }

    /// Where to put the next bytes: at the end of what this returns.
    pub fn feed(&mut self) -> &mut Vec<u8> {
        self.buffer.drain(..self.start);
        self.scan -= self.start;
        self.start = 0;
        &mut self.buffer
    }

    /// Nothing more will be fed: what is left is the last record.
    pub fn close(&mut self) {
        self.is_closed = true;
    }

    /// The next record, or `None` until more is fed. The same whatever the pieces it was fed in.
    pub fn next(&mut self, record: &mut Record) -> Option<Found> {
        while let Some(&byte) = self.buffer.get(self.scan) {
            if byte == b'\n' && std::mem::take(&mut self.is_after_cr) {
                // The second half of a line end that was counted, and ended the record unless it stands in quotes.
                self.scan += 1;
                if !matches!(self.state, State::Quoted) {
                    self.start = self.scan;
                }
                continue;
            }
            let is_line_end = matches!(byte, b'\n' | b'\r');
            self.is_after_cr = byte == b'\r';
            let ends_record = is_line_end && self.state != State::Quoted;
            if self.scan - self.start >= self.row_bytes_max
                && !ends_record
                && self.state != State::Skipping
            {
                return Some(self.give_up(record));
            }
            if is_line_end {
                let found = self.line_end(record);
                self.scan += 1;
                self.line += 1;
                if self.state != State::Quoted {
                    self.begin_record();
                }
                if found.is_some() {
                    return found;
                }
                continue;
            }
            if self.state == State::Skipping {
                self.scan += 1;
                self.start = self.scan;
                continue;
            }
            if byte == self.delimiter && self.state != State::Quoted {
                self.ends.push(self.scan - self.start);
                self.state = State::CellStart;
                self.scan += 1;
                continue;
            }
            self.state = match (self.state, byte) {
                (State::CellStart, b' ') => State::CellStart,
                (State::CellStart, QUOTE) => {
                    self.quote_line = self.line;
                    State::Quoted
                }
                (State::CellStart | State::Unquoted, _) => State::Unquoted,
                (State::Quoted, QUOTE) => State::QuoteInQuoted,
                (State::QuoteInQuoted, QUOTE) | (State::Quoted, _) => State::Quoted,
                (State::QuoteInQuoted | State::BehindQuoted, b' ') => State::BehindQuoted,
                (State::QuoteInQuoted | State::BehindQuoted, _) => {
                    if self.quote_line != self.line {
                        return Some(self.recover(record));
                    }
                    State::BehindQuoted
                }
                (State::Skipping, _) => State::Skipping,
            };
            self.scan += 1;
        }
        if self.is_closed { self.last(record) } else { None }
    }

    /// At a line end outside or inside quotes.
    fn line_end(&mut self, record: &mut Record) -> Option<Found> {
        match self.state {
            State::Quoted | State::Skipping => None,
            // Nothing, or nothing but spaces.
            State::CellStart if self.ends.is_empty() => None,
            _ => Some(self.complete(record)),
        }
    }

    fn last(&mut self, record: &mut Record) -> Option<Found> {
        match self.state {
            State::Skipping => None,
            State::Quoted => Some(self.recover(record)),
            State::CellStart if self.ends.is_empty() => None,
            _ => {
                let found = self.complete(record);
                self.begin_record();
                Some(found)
            }
        }
    }

    fn begin_record(&mut self) {
        self.start = self.scan;
        self.start_line = self.line;
        self.ends.clear();
        self.state = State::CellStart;
    }

    fn complete(&mut self, record: &mut Record) -> Found {
        self.ends.push(self.scan - self.start);
        record.line = self.start_line;
        record.bytes.clear();
        record.ends.clear();
        let raw = &self.buffer[self.start..self.scan];
        let mut start = 0;
        for &end in &self.ends {
            unquote(&raw[start..end], &mut record.bytes);
            record.ends.push(record.bytes.len());
            start = end + 1;
        }
        Found::Record
    }

    /// The record is longer than the bound.
    fn give_up(&mut self, record: &mut Record) -> Found {
        if self.line != self.start_line {
            return self.recover(record);
        }
        record.line = self.start_line;
        self.start = self.scan;
        self.state = State::Skipping;
        Found::TooLong
    }

    /// Goes back to the line behind the record's first.
    fn recover(&mut self, record: &mut Record) -> Found {
        record.line = self.start_line;
        let rest = &self.buffer[self.start..self.scan];
        self.is_after_cr = false;
        match rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            Some(line_end) => {
                self.is_after_cr = rest[line_end] == b'\r';
                self.scan = self.start + line_end + 1;
                self.line = self.start_line + 1;
            }
            // Its first line is the file's last.
            None => self.scan = self.buffer.len(),
        }
        self.begin_record();
        Found::StrayQuote
    }
}

/// Appends what a cell says. `"…"` loses its quotes, `""` in it becomes one; what follows the closing quote stays.
fn unquote(cell: &[u8], out: &mut Vec<u8>) {
    let Some(quoted) = cell.trim_ascii_start().strip_prefix(&[QUOTE]) else {
        return out.extend_from_slice(cell);
    };
    let mut is_quoted = true;
    let mut bytes = quoted.iter().peekable();
    while let Some(&byte) = bytes.next() {
        if is_quoted && byte == QUOTE && bytes.next_if(|&&next| next == QUOTE).is_none() {
            is_quoted = false;
        } else {
            out.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ROW_BYTES_MAX: usize = 40;

    /// Everything found, each as `line: cells`.
    fn split(chunks: &[&[u8]]) -> Vec<String> {
        let mut records = Records::new(b',', ROW_BYTES_MAX, 1);
        let mut record = Record::default();
        let mut found = Vec::new();
        let mut take = |records: &mut Records| {
            while let Some(what) = records.next(&mut record) {
                let cells: Vec<_> = record.cells().map(String::from_utf8_lossy).collect();
                found.push(match what {
                    Found::Record => format!("{}: {}", record.line, cells.join("|")),
                    other => format!("{}: {other:?}", record.line),
                });
            }
        };
        for chunk in chunks {
            records.feed().extend_from_slice(chunk);
            take(&mut records);
        }
        records.close();
        take(&mut records);
        found
    }

    #[test]
    fn every_kind_of_line_end_counts_as_one() {
        for text in ["a,b\n\nc,d\n", "a,b\r\n\r\nc,d\r\n", "a,b\r\rc,d", "a,b\n\r\nc,d"] {
            assert_eq!(split(&[text.as_bytes()]), ["1: a|b", "3: c|d"], "{text:?}");
        }
    }

    #[test]
    fn quoted_cells_hold_delimiters_quotes_and_line_ends() {
        assert_eq!(
            split(&[b"\"a,1\",\"say \"\"hi\"\"\"\n \"b\r\nc\" ,d\ne,\"\"\n"]),
            ["1: a,1|say \"hi\"", "2: b\r\nc |d", "4: e|"]
        );
    }

    #[test]
    fn quotes_inside_a_line_are_taken_as_they_come() {
        assert_eq!(split(&[b"\"Bob\" Smith,5\" pipe\nx,y"]), ["1: Bob Smith|5\" pipe", "2: x|y"]);
    }

    #[test]
    fn a_quote_that_is_never_closed_costs_one_line() {
        assert_eq!(split(&[b"a,\"b\nc,d\ne,f\n"]), ["1: StrayQuote", "2: c|d", "3: e|f"]);
        assert_eq!(split(&[b"a,\"b\r\nc,\"d\"\r\n"]), ["1: StrayQuote", "2: c|d"]);
        assert_eq!(split(&[b"a,\"b"]), ["1: StrayQuote"]);
        let long = format!("a,\"b\r\n{}", "c,d\r\n".repeat(20));
        assert_eq!(split(&[long.as_bytes()]).len(), 21);
        assert_eq!(split(&[long.as_bytes()])[20], "21: c|d");
    }

    #[test]
    fn a_row_beyond_the_bound_is_skipped_to_its_end() {
        let text = format!("a,b\n{}\nc,d\n\"{}\",x\ne,f", "x".repeat(100), "y".repeat(100));
        assert_eq!(
            split(&[text.as_bytes()]),
            ["1: a|b", "2: TooLong", "3: c|d", "4: TooLong", "5: e|f"]
        );
        let fits = "x".repeat(ROW_BYTES_MAX);
        assert_eq!(split(&[format!("{fits}\n").as_bytes()]), [format!("1: {fits}")]);
    }

    proptest! {
        #[test]
        fn the_pieces_do_not_matter(text in "[a,\" \r\n]{0,120}", cuts in prop::collection::vec(0..120_usize, 0..6)) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(split(&[bytes]), split(&chunks));
        }

        #[test]
        fn what_was_quoted_reads_as_it_was(cells in prop::collection::vec("[a,;\"\r\n ]{0,4}", 1..5)) {
            let quoted: Vec<String> = cells.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
            prop_assert_eq!(split(&[quoted.join(",").as_bytes()]), [format!("1: {}", cells.join("|"))]);
        }
    }
}
