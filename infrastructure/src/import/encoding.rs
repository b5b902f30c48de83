//! From bytes to text: UTF-8, UTF-16 by its mark, and Windows-1252 (a superset of Latin-1) for what is not UTF-8.
//!
//! Whether a file without a mark is UTF-8 cannot be known from its beginning: the first letter with an accent may stand
//! a hundred megabytes in. So bytes that are not UTF-8 are read as Windows-1252 cell by cell, which also mends files that
//! were pasted together from both.

use std::borrow::Cow;

use encoding_rs::{Decoder, UTF_16BE, UTF_16LE, WINDOWS_1252};

const BOM_UTF8: &[u8] = b"\xef\xbb\xbf";
const BOM_UTF16_LE: &[u8] = b"\xff\xfe";
const BOM_UTF16_BE: &[u8] = b"\xfe\xff";
/// How spreadsheets and documents begin: zip (.xlsx, .ods), OLE (.xls), PDF, gzip.
const MAGIC_OF_BINARIES: [&[u8]; 4] = [b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"%PDF-", b"\x1f\x8b"];

/// What the beginning of a file says of its encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Says so itself, so anything else in it is damage.
    MarkedUtf8,
    Utf16Le,
    Utf16Be,
    /// UTF-8 until a cell is not.
    Unmarked,
}

impl Encoding {
    /// `None` where it is not text at all.
    pub fn of(beginning: &[u8]) -> Option<Self> {
        let encoding = if beginning.starts_with(BOM_UTF8) {
            Self::MarkedUtf8
        } else if beginning.starts_with(BOM_UTF16_LE) {
            Self::Utf16Le
        } else if beginning.starts_with(BOM_UTF16_BE) {
            Self::Utf16Be
        } else {
            let is_binary = MAGIC_OF_BINARIES.iter().any(|magic| beginning.starts_with(magic));
            return (!is_binary && !beginning.contains(&0)).then_some(Self::Unmarked);
        };
        Some(encoding)
    }

    /// How many bytes the mark takes.
    pub fn mark_bytes(self) -> usize {
        match self {
            Self::MarkedUtf8 => BOM_UTF8.len(),
            Self::Utf16Le | Self::Utf16Be => 2,
            Self::Unmarked => 0,
        }
    }

    /// Makes bytes in which delimiters, quotes and line ends are what they are in ASCII.
    pub fn transcoder(self) -> Transcoder {
        Transcoder(match self {
            Self::Utf16Le => Some(UTF_16LE.new_decoder_without_bom_handling()),
            Self::Utf16Be => Some(UTF_16BE.new_decoder_without_bom_handling()),
            Self::MarkedUtf8 | Self::Unmarked => None,
        })
    }

    /// The text of one cell; `None` where its file says UTF-8 and the cell is none.
    pub fn text(self, cell: &[u8]) -> Option<Cow<'_, str>> {
        match std::str::from_utf8(cell) {
            Ok(text) => Some(Cow::Borrowed(text)),
            Err(_) if self == Self::Unmarked => {
                Some(WINDOWS_1252.decode_without_bom_handling(cell).0)
            }
            Err(_) => None,
        }
    }
}

/// Turns UTF-16 into UTF-8 and passes on everything else.
pub(super) struct Transcoder(Option<Decoder>);

impl Transcoder {
    pub fn push(&mut self, bytes: &[u8], is_last: bool, out: &mut Vec<u8>) {
        let Some(decoder) = &mut self.0 else { return out.extend_from_slice(bytes) };
        // The library's own bound; it is `None` only near the end of the address space.
        let Some(room) = decoder.max_utf8_buffer_length(bytes.len()) else { return };
        let from = out.len();
        out.resize(from + room, 0);
        let (_, _, written, _) = decoder.decode_to_utf8(bytes, &mut out[from..], is_last);
        out.truncate(from + written);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_recognised_and_binaries_refused() {
        assert_eq!(Encoding::of(b"\xef\xbb\xbfphone"), Some(Encoding::MarkedUtf8));
        assert_eq!(Encoding::of(b"\xff\xfep\0"), Some(Encoding::Utf16Le));
        assert_eq!(Encoding::of(b"\xfe\xff\0p"), Some(Encoding::Utf16Be));
        assert_eq!(Encoding::of(b"phone"), Some(Encoding::Unmarked));
        assert_eq!(Encoding::of(b"PK\x03\x04rest"), None);
        assert_eq!(Encoding::of(b"p\0h\0o\0"), None);
    }

    #[test]
    fn cells_that_are_not_utf8_are_windows_1252_unless_the_file_says_otherwise() {
        assert_eq!(Encoding::Unmarked.text(b"Jo\xe3o \x80").as_deref(), Some("João €"));
        assert_eq!(Encoding::Unmarked.text("João".as_bytes()).as_deref(), Some("João"));
        assert_eq!(Encoding::MarkedUtf8.text(b"Jo\xe3o"), None);
    }

    #[test]
    fn utf16_is_transcoded_across_any_split() {
        let bytes: Vec<u8> = "João 😀".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for split in 0..bytes.len() {
            let mut out = Vec::new();
            let mut transcoder = Encoding::Utf16Le.transcoder();
            transcoder.push(&bytes[..split], false, &mut out);
            transcoder.push(&bytes[split..], true, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), "João 😀");
        }
    }
}
