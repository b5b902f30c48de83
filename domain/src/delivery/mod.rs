//! The process managers' decisions as pure functions: whom a campaign's chunk turns into which messages, whether a
//! message that fell due may go now, how fast a number may send, and what follows from WhatsApp's answer.

mod due;
pub mod forecast;
mod grace;
mod hours;
mod judge;
mod marketing;
mod pace;
mod plan;
mod reach;
mod retry;
mod twice;
mod zone;

pub use due::{Due, Intended, Redue, SendIntent};
pub use grace::{HEARD_GAP, time_heard};
pub use hours::{SendingHours, SendingHoursError};
pub use judge::{
    DeliveryFacts, SERVICE_WINDOW, Verdict, WaitFor, is_window_open, judge, window_until,
};
pub use marketing::{
    ENOUGH_MARKETING_CODE, EXPERIMENT_CODE, counts_towards_cap, marketing_blocked_until,
};
pub use pace::{Pace, PairLimit};
pub use plan::{
    AtPlanning, NumberZone, Personalised, PlannedRecipient, Planning, TimeToLive, fills,
    personalise, plan_recipient, quiet_hours_for, recipient_of, required_paths, zone_of_recipient,
};
pub use reach::{Reach, Room, limit_of};
pub use retry::{MAX_ATTEMPTS, backoff};
pub use twice::{OneOfSeveral, is_there_twice};
pub use zone::{RecipientZone, ZoneSource};
