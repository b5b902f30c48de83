//! Keys and what they seal. One master key wraps a data key per subject (a contact, an import, a workspace, a day of the
//! webhook journal) and every credential; a destroyed data key takes all it sealed with it. Look-ups go by keyed hashes.

mod aead;
mod frames;
mod key_ring;
mod master_key;
mod rotation;
pub mod secret;

pub use aead::{DataKey, Unopenable};
pub use frames::{FrameOpener, FrameSealer, FrameStream, SealedFrame, read_frame};
pub use key_ring::{KeyRing, KeyRingError, SubjectKey};
pub use master_key::{MasterKey, MasterKeyError};
pub use rotation::{Rotation, rotate_master};
