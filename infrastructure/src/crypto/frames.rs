//! A stream sealed frame by frame, so that a file of any size is never held whole. A frame opens only in its place of its
//! own stream, and only the last one as the last: what is cut short, swapped or repeated does not open.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{DataKey, Unopenable};

/// Which stream frames belong to: what kind it is of, and whose.
#[derive(Clone, Copy, Debug)]
pub struct FrameStream {
    pub kind: &'static str,
    pub id: Uuid,
}

impl FrameStream {
    fn place(self, n: u64, is_last: bool) -> Vec<u8> {
        let mut place = self.kind.as_bytes().to_vec();
        place.extend_from_slice(self.id.as_bytes());
        place.extend_from_slice(&n.to_be_bytes());
        place.push(u8::from(is_last));
        place
    }
}

/// One frame, to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedFrame {
    /// From 0.
    pub n: u64,
    pub is_last: bool,
    pub sealed: Vec<u8>,
}

impl SealedFrame {
    /// Writes the frame behind its length, whose lowest bit marks the last one.
    ///
    /// # Errors
    /// As the file says.
    pub async fn write_to(&self, file: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let length = u32::try_from(self.sealed.len()).map_err(io::Error::other)?;
        file.write_u32(length << 1 | u32::from(self.is_last)).await?;
        file.write_all(&self.sealed).await
    }
}

/// Reads what [`SealedFrame::write_to`] wrote: whether it is the last one, and what is sealed. `None` where the file ends
/// before, or claims to seal more than `sealed_max` bytes.
///
/// # Errors
/// As the file says.
pub async fn read_frame(
    file: &mut (impl AsyncRead + Unpin),
    sealed_max: u32,
) -> io::Result<Option<(bool, Vec<u8>)>> {
    let read = async {
        let header = file.read_u32().await?;
        let (length, is_last) = (header >> 1, header & 1 == 1);
        if length > sealed_max {
            return Ok::<_, io::Error>(None);
        }
        let mut sealed = vec![0; length as usize];
        file.read_exact(&mut sealed).await?;
        Ok(Some((is_last, sealed)))
    };
    match read.await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        read => read,
    }
}

/// Cuts what is written into frames of a size and seals them.
pub struct FrameSealer {
    key: DataKey,
    stream: FrameStream,
    frame_bytes: usize,
    n: u64,
    pending: Zeroizing<Vec<u8>>,
}

impl FrameSealer {
    /// `frame_bytes`: what one frame seals, at most.
    pub fn new(key: DataKey, stream: FrameStream, frame_bytes: usize) -> Self {
        let pending = Zeroizing::new(Vec::with_capacity(frame_bytes));
        Self { key, stream, frame_bytes, n: 0, pending }
    }

    /// Takes from `bytes` what fits, to be repeated until they are empty; answers a frame where one became full.
    pub fn take(&mut self, bytes: &mut &[u8]) -> Option<SealedFrame> {
        // A full frame waits for the next byte, since the last one is marked.
        let is_full = self.pending.len() == self.frame_bytes && !bytes.is_empty();
        let full = is_full.then(|| self.seal(false));
        let room = self.frame_bytes - self.pending.len();
        let (now, later) = bytes.split_at(bytes.len().min(room));
        self.pending.extend_from_slice(now);
        *bytes = later;
        full
    }

    /// The last frame, which may be empty.
    pub fn finish(mut self) -> SealedFrame {
        self.seal(true)
    }

    fn seal(&mut self, is_last: bool) -> SealedFrame {
        let n = self.n;
        let sealed = self.key.seal(&self.stream.place(n, is_last), &self.pending);
        self.pending.clear();
        self.n += 1;
        SealedFrame { n, is_last, sealed }
    }
}

/// Opens the frames of a stream one after the other.
pub struct FrameOpener {
    key: DataKey,
    stream: FrameStream,
    n: u64,
    is_at_end: bool,
}

impl FrameOpener {
    pub fn new(key: DataKey, stream: FrameStream) -> Self {
        Self { key, stream, n: 0, is_at_end: false }
    }

    /// The number of the frame that comes next; `None` after the last.
    pub fn next(&self) -> Option<u64> {
        (!self.is_at_end).then_some(self.n)
    }

    /// Opens the next frame as the last or as one of the others.
    ///
    /// # Errors
    /// [`Unopenable`] where it is not that; it may then be tried as the other.
    pub fn open(&mut self, is_last: bool, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unopenable> {
        let plain = self.key.open(&self.stream.place(self.n, is_last), sealed)?;
        self.n += 1;
        self.is_at_end = is_last;
        Ok(plain)
    }
}
