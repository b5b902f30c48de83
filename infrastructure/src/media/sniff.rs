//! What a file is, by its first bytes: what somebody says of it is believed only where the bytes cannot tell.

/// How many of a file's first bytes are looked at.
pub const HEAD_BYTES: usize = 4_096;

const KB: u64 = 1024;
const MB: u64 = 1024 * KB;

/// A type that WhatsApp carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaType {
    pub mime_type: &'static str,
    /// As WhatsApp's `type` of a message names it.
    pub kind: &'static str,
    /// The largest file of this type, in bytes.
    pub bytes_max: u64,
}

const fn media(mime_type: &'static str, kind: &'static str, bytes_max: u64) -> MediaType {
    MediaType { mime_type, kind, bytes_max }
}

const JPEG: MediaType = media("image/jpeg", "image", 5 * MB);
const PNG: MediaType = media("image/png", "image", 5 * MB);
const STICKER: MediaType = media("image/webp", "sticker", 100 * KB);
const ANIMATED_STICKER: MediaType = media("image/webp", "sticker", 500 * KB);
const MP4: MediaType = media("video/mp4", "video", 16 * MB);
const THREE_GPP: MediaType = media("video/3gpp", "video", 16 * MB);
const AUDIO_MP4: MediaType = media("audio/mp4", "audio", 16 * MB);
const OGG: MediaType = media("audio/ogg", "audio", 16 * MB);
const MPEG: MediaType = media("audio/mpeg", "audio", 16 * MB);
const AAC: MediaType = media("audio/aac", "audio", 16 * MB);
const AMR: MediaType = media("audio/amr", "audio", 16 * MB);
const PDF: MediaType = media("application/pdf", "document", 100 * MB);
const TEXT: MediaType = media("text/plain", "document", 100 * MB);
/// Word, Excel and PowerPoint before 2007 share one container.
const OLE: [MediaType; 3] = [
    media("application/msword", "document", 100 * MB),
    media("application/vnd.ms-excel", "document", 100 * MB),
    media("application/vnd.ms-powerpoint", "document", 100 * MB),
];
/// And those since then another; with the folder that tells them apart.
const OOXML: [(&[u8], MediaType); 3] = [
    (
        b"word/",
        media(
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            "document",
            100 * MB,
        ),
    ),
    (
        b"xl/",
        media(
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            "document",
            100 * MB,
        ),
    ),
    (
        b"ppt/",
        media(
            "application/vnd.openxmlformats-officedocument.presentationml.presentation",
            "document",
            100 * MB,
        ),
    ),
];

/// The type of a file that begins with `head`, at most [`HEAD_BYTES`] of it; `None` where it is none that WhatsApp carries.
/// `said` is what somebody says it is.
pub fn sniff(head: &[u8], said: Option<&str>) -> Option<MediaType> {
    let head = &head[..head.len().min(HEAD_BYTES)];
    let said = said.and_then(|said| said.split(';').next()).unwrap_or_default().trim();
    let is_said = |known: &MediaType| said.eq_ignore_ascii_case(known.mime_type);
    if head.starts_with(b"\xff\xd8\xff") {
        return Some(JPEG);
    }
    if head.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Some(PNG);
    }
    if head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WEBP") {
        let is_animated = head.get(12..16) == Some(b"VP8X")
            && head.get(20).is_some_and(|flags| flags & 0x02 != 0);
        return Some(if is_animated { ANIMATED_STICKER } else { STICKER });
    }
    if head.get(4..8) == Some(b"ftyp") {
        let brand = head.get(8..12).unwrap_or_default();
        return Some(match brand {
            b"M4A " | b"M4B " => AUDIO_MP4,
            _ if brand.starts_with(b"3g") => THREE_GPP,
            _ if is_said(&AUDIO_MP4) => AUDIO_MP4,
            _ => MP4,
        });
    }
    if head.starts_with(b"OggS") {
        return Some(OGG);
    }
    if head.starts_with(b"#!AMR") {
        return Some(AMR);
    }
    if head.starts_with(b"ID3") {
        return Some(MPEG);
    }
    if let [0xff, second, ..] = head {
        // ADTS has layer 0, MPEG audio has another one.
        match (second & 0xf0, second & 0x06) {
            (0xf0, 0) => return Some(AAC),
            (0xe0 | 0xf0, layer) if layer != 0 => return Some(MPEG),
            _ => {}
        }
    }
    if head.starts_with(b"%PDF-") {
        return Some(PDF);
    }
    if head.starts_with(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") {
        return OLE.iter().find(|known| is_said(known)).or(OLE.first()).copied();
    }
    if head.starts_with(b"PK\x03\x04") {
        let holds = |folder: &[u8]| head.windows(folder.len()).any(|window| window == folder);
        let is_ooxml = holds(b"[Content_Types].xml") || holds(b"_rels/");
        let by_folder = OOXML.iter().find(|(folder, _)| holds(folder));
        let by_word = || OOXML.iter().find(|(_, known)| is_ooxml && is_said(known));
        return by_folder.or_else(by_word).map(|(_, known)| *known);
    }
    is_text(head).then_some(TEXT)
}

/// UTF-8 without control characters, but for a character that the head's end cuts.
fn is_text(head: &[u8]) -> bool {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() && head.len() == HEAD_BYTES => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !text.is_empty() && !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_what_they_begin_with_whatever_is_said() {
        let type_of = |head: &[u8], said| sniff(head, said).map(|known| known.mime_type);
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
        assert_eq!(type_of(png, Some("application/pdf")), Some("image/png"));
        assert_eq!(type_of(b"\xff\xd8\xff\xe0JFIF", None), Some("image/jpeg"));
        assert_eq!(type_of(b"%PDF-1.7\n", Some("image/png")), Some("application/pdf"));
        assert_eq!(type_of(b"\0\0\0\x18ftypisom", None), Some("video/mp4"));
        assert_eq!(type_of(b"\0\0\0\x18ftypisom", Some("audio/mp4")), Some("audio/mp4"));
        assert_eq!(type_of(b"\0\0\0\x18ftyp3gp4", None), Some("video/3gpp"));
        assert_eq!(type_of(b"OggS\0\x02", Some("audio/ogg; codecs=opus")), Some("audio/ogg"));
        assert_eq!(type_of(b"\xff\xfb\x90", None), Some("audio/mpeg"));
        assert_eq!(type_of(b"\xff\xf1\x50", None), Some("audio/aac"));
        assert_eq!(type_of("Grüße\n".as_bytes(), None), Some("text/plain"));
        let docx = b"PK\x03\x04\x14\0\x06\0[Content_Types].xml....word/document.xml";
        assert!(type_of(docx, None).unwrap().ends_with("wordprocessingml.document"));
        assert_eq!(type_of(b"PK\x03\x04plain.txt", Some("image/png")), None);
        assert_eq!(type_of(b"\x7fELF\x02\x01\x01\0", Some("image/png")), None);
        assert_eq!(type_of(b"", Some("text/plain")), None);
        assert_eq!(type_of(b"a\0b", Some("text/plain")), None);
    }

    #[test]
    fn an_animated_sticker_may_be_larger() {
        let still = b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f";
        let moving = b"RIFF\x1a\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0";
        assert_eq!(sniff(still, None).unwrap().bytes_max, 100 * KB);
        assert_eq!(sniff(moving, None).unwrap().bytes_max, 500 * KB);
    }
}
