//! What the inside asks of the outside: a log, a feed of its events, a clock and a source of ids.

mod clock;
mod event_feed;
mod event_log;

pub use clock::{Clock, IdSource};
pub use event_feed::{EventFeed, FeedError, FeedPage, Metadata, RecordedEvent};
pub use event_log::{
    AggregateType, AppendOutcome, AppendUnit, EventFilter, EventLog, EventTraits, Fence,
    IdempotencyRecord, IdentityChange, LogError, LogPage, NewDataKey, NewEvent, Position,
    SecretChange, StoredEvent, StreamAppend, StreamId,
};
