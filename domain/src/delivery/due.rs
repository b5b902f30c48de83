//! From what was meant to when a message is due: a local time, the recipient's zone and the hours of their day become an
//! instant, as late as possible and again whenever the zone, the schedule or the rules of a zone change.

use chrono::{DateTime, Duration, NaiveDateTime, Utc};
use chrono_tz::Tz;

use super::hours::SendingHours;
use super::zone::RecipientZone;
use crate::campaign::{
    CampaignPlan, CampaignSchedule, LATE_MINUTES, Occurrence, ScheduleError, WhenPast, instant_of,
};
use crate::message::SkipReason;
use crate::primitives::DailyHours;

/// Days that are looked through for the first one whose local time is still ahead: the next one, or where a zone leaves
/// a day out the one behind it.
const DAYS_MAX: i64 = 3;

/// When a message is meant to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intended {
    /// At the same moment everywhere.
    At(DateTime<Utc>),
    /// When the recipient's own clock shows this time.
    AtLocal { local: NaiveDateTime, when_past: WhenPast },
}

/// What one occurrence of a campaign means for each of its messages, as its owner said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendIntent {
    pub intended: Intended,
    /// Messages fall only inside these hours of the recipient's day.
    pub window: Option<DailyHours>,
}

/// When a message is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    At(DateTime<Utc>),
    /// It has no time that its owner would want.
    Skip(SkipReason),
}

/// What becomes of a message that was planned already, by what is known now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redue {
    /// It stays where it is.
    Keep,
    Move(DateTime<Utc>),
    Skip(SkipReason),
}

impl SendIntent {
    /// As soon as possible from an instant on, for what has no schedule.
    pub fn at(instant: DateTime<Utc>) -> Self {
        Self { intended: Intended::At(instant), window: None }
    }

    /// What a schedule's occurrence means.
    ///
    /// # Errors
    /// [`ScheduleError::TimeZone`] where the schedule's zone is none.
    pub fn of(schedule: &CampaignSchedule, occurrence: Occurrence) -> Result<Self, ScheduleError> {
        let intended = if schedule.recipient_local {
            Intended::AtLocal { local: occurrence.local, when_past: schedule.when_past }
        } else {
            Intended::At(instant_of(occurrence.local, schedule.zone()?))
        };
        Ok(Self { intended, window: schedule.send_window })
    }

    /// What an occurrence of a campaign means that was meant to start at `occurrence_start`; `local`: its local time,
    /// where it came by a schedule.
    pub fn of_occurrence(
        plan: &CampaignPlan,
        local: Option<NaiveDateTime>,
        occurrence_start: DateTime<Utc>,
    ) -> Self {
        let schedule = plan.schedule.as_ref();
        let intent = schedule.zip(local).and_then(|(schedule, local)| {
            // A zone that is none was refused when it was given.
            Self::of(schedule, Occurrence { index: 0, local }).ok()
        });
        let window = schedule.and_then(|schedule| schedule.send_window);
        intent.unwrap_or(Self { window, ..Self::at(occurrence_start) })
    }

    /// When one recipient's message is due, never before what was intended and never before `began_at`, when the
    /// campaign began. `quiet` are the account's quiet hours where the message has to keep them (MARKETING).
    pub fn due(
        &self,
        recipient: RecipientZone,
        quiet: Option<DailyHours>,
        began_at: DateTime<Utc>,
    ) -> Due {
        let instant = match self.intended {
            Intended::At(instant) => instant.max(began_at),
            // Whose time it would be is a guess that its owner did not ask for; a person can correct it and try again.
            Intended::AtLocal { .. } if recipient.is_bad => {
                return Due::Skip(SkipReason::BadTimeZone);
            }
            Intended::AtLocal { local, when_past } => {
                match local_due(local, when_past, recipient.zone, began_at) {
                    Some(instant) => instant,
                    None => return Due::Skip(SkipReason::LocalTimePast),
                }
            }
        };
        let hours = SendingHours { window: self.window, quiet };
        // Hours that leave no time are refused when they are given. Where the account's quiet hours came to cover the
        // campaign's window only afterwards, the message waits for its time to live to end or the hours to change.
        Due::At(hours.first_at(instant, recipient.zone).unwrap_or(instant))
    }

    /// When a message is due by what is known now, where it was planned for `planned_at` and has not left. A local time
    /// that meanwhile has passed (the contact moved east) is treated as one that had passed at the start. What is due
    /// already, and by what is known now still may go, stays.
    pub fn redue(
        &self,
        planned_at: DateTime<Utc>,
        recipient: RecipientZone,
        quiet: Option<DailyHours>,
        began_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Redue {
        let is_right = match self.due(recipient, quiet, began_at) {
            // A message is planned a little after its campaign began, so it may be due a little later than meant.
            Due::At(at) => at == planned_at || (at < planned_at && planned_at <= now),
            Due::Skip(_) => false,
        };
        if is_right {
            return Redue::Keep;
        }
        match self.due(recipient, quiet, began_at.max(now)) {
            Due::At(at) if at == planned_at => Redue::Keep,
            Due::At(at) => Redue::Move(at),
            Due::Skip(reason) => Redue::Skip(reason),
        }
    }
}

/// The instant at which a local time comes in a zone, seen from `now`; `None` where it has passed and is then not wanted.
fn local_due(
    local: NaiveDateTime,
    when_past: WhenPast,
    zone: Tz,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let ahead = |local| {
        let instant = instant_of(local, zone);
        (now - instant <= Duration::minutes(LATE_MINUTES)).then(|| instant.max(now))
    };
    if let Some(instant) = ahead(local) {
        return Some(instant);
    }
    match when_past {
        WhenPast::SendNow => Some(now),
        WhenPast::Skip => None,
        WhenPast::NextDay => {
            let today = now.with_timezone(&zone).date_naive().max(local.date());
            (0..=DAYS_MAX)
                .filter_map(|days| today.checked_add_signed(Duration::days(days)))
                .find_map(|day| ahead(day.and_time(local.time())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::ZoneSource;
    use chrono::NaiveTime;
    use proptest::prelude::*;

    fn local(text: &str) -> NaiveDateTime {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M").unwrap()
    }

    fn utc(text: &str) -> DateTime<Utc> {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%MZ").unwrap().and_utc()
    }

    fn hours(from: &str, to: &str) -> Option<DailyHours> {
        let time = |text| NaiveTime::parse_from_str(text, "%H:%M").unwrap();
        Some(DailyHours { from: time(from), to: time(to) })
    }

    fn lives_in(zone: Tz) -> RecipientZone {
        RecipientZone { zone, source: ZoneSource::Contact, is_bad: false }
    }

    fn at_nine(when_past: WhenPast) -> SendIntent {
        let intended = Intended::AtLocal { local: local("2027-03-28T09:00"), when_past };
        SendIntent { intended, window: None }
    }

    fn due(intent: SendIntent, zone: Tz, began_at: &str) -> String {
        match intent.due(lives_in(zone), None, utc(began_at)) {
            Due::At(at) => at.format("%Y-%m-%dT%H:%MZ").to_string(),
            Due::Skip(reason) => format!("{reason:?}"),
        }
    }

    const BERLIN: Tz = Tz::Europe__Berlin;
    const TOKYO: Tz = Tz::Asia__Tokyo;

    #[test]
    fn everybody_gets_it_when_their_own_clock_shows_the_time() {
        let began_at = "2027-03-27T19:00Z"; // 09:00 in Kiritimati
        for (zone, expected) in [
            (Tz::Pacific__Kiritimati, "2027-03-27T19:00Z"),
            (Tz::Pacific__Auckland, "2027-03-27T20:00Z"),
            (TOKYO, "2027-03-28T00:00Z"),
            (BERLIN, "2027-03-28T07:00Z"), // summer time began that night
            (Tz::America__New_York, "2027-03-28T13:00Z"),
            (Tz::Pacific__Pago_Pago, "2027-03-28T20:00Z"),
        ] {
            assert_eq!(due(at_nine(WhenPast::Skip), zone, began_at), expected, "{zone}");
        }
    }

    #[test]
    fn whose_time_has_passed_gets_it_at_once_or_the_next_day_or_not_at_all() {
        let began_at = "2027-03-28T05:00Z"; // 14:00 in Tokyo
        assert_eq!(due(at_nine(WhenPast::SendNow), TOKYO, began_at), began_at);
        assert_eq!(due(at_nine(WhenPast::NextDay), TOKYO, began_at), "2027-03-29T00:00Z");
        assert_eq!(due(at_nine(WhenPast::Skip), TOKYO, began_at), "LocalTimePast");
        for when_past in [WhenPast::SendNow, WhenPast::NextDay, WhenPast::Skip] {
            assert_eq!(due(at_nine(when_past), BERLIN, began_at), "2027-03-28T07:00Z");
        }
    }

    #[test]
    fn a_time_that_passed_minutes_ago_is_now() {
        assert_eq!(due(at_nine(WhenPast::Skip), TOKYO, "2027-03-28T00:05Z"), "2027-03-28T00:05Z");
        assert_eq!(due(at_nine(WhenPast::Skip), TOKYO, "2027-03-28T00:06Z"), "LocalTimePast");
    }

    #[test]
    fn the_next_day_is_the_first_whose_time_is_ahead() {
        let much_later = "2027-03-30T22:00Z"; // 07:00 on the 31st in Tokyo
        assert_eq!(due(at_nine(WhenPast::NextDay), TOKYO, much_later), "2027-03-31T00:00Z");
    }

    #[test]
    fn without_the_recipients_own_time_all_leave_at_one_moment_inside_their_windows() {
        let schedule = CampaignSchedule {
            start_at: local("2027-03-28T09:00"),
            time_zone: "Europe/Berlin".to_owned(),
            recipient_local: false,
            send_window: hours("08:00", "20:00"),
            when_past: WhenPast::Skip,
            recurrence: None,
        };
        let occurrence = schedule.occurrences().unwrap()[0];
        let intent = SendIntent::of(&schedule, occurrence).unwrap();
        let began_at = "2027-03-28T07:00Z";
        assert_eq!(schedule.begins_at(occurrence).unwrap(), utc(began_at));
        assert_eq!(due(intent, BERLIN, began_at), began_at);
        assert_eq!(due(intent, TOKYO, began_at), began_at); // 16:00
        assert_eq!(due(intent, Tz::America__New_York, began_at), "2027-03-28T12:00Z");
        assert_eq!(due(intent, Tz::Pacific__Auckland, began_at), "2027-03-28T19:00Z"); // 20:00 is too late
    }

    #[test]
    fn a_zone_that_does_not_exist_matters_only_where_its_time_does() {
        let bad = RecipientZone { is_bad: true, ..lives_in(BERLIN) };
        let began_at = utc("2027-03-27T19:00Z");
        let local = at_nine(WhenPast::SendNow);
        assert_eq!(local.due(bad, None, began_at), Due::Skip(SkipReason::BadTimeZone));
        assert_eq!(SendIntent::at(began_at).due(bad, None, began_at), Due::At(began_at));
        let night = hours("18:00", "08:00");
        let morning = Due::At(utc("2027-03-28T06:00Z"));
        assert_eq!(SendIntent::at(began_at).due(bad, night, began_at), morning);
    }

    #[test]
    fn a_message_moves_with_its_recipient_and_its_schedule() {
        let intent = at_nine(WhenPast::NextDay);
        let (began_at, now) = (utc("2027-03-27T19:00Z"), utc("2027-03-28T05:00Z"));
        let planned = utc("2027-03-28T07:00Z");
        let redue =
            |intent: SendIntent, zone| intent.redue(planned, lives_in(zone), None, began_at, now);
        assert_eq!(redue(intent, BERLIN), Redue::Keep);
        assert_eq!(redue(intent, Tz::Europe__London), Redue::Move(utc("2027-03-28T08:00Z")));
        // Moved to where nine has passed.
        assert_eq!(redue(intent, TOKYO), Redue::Move(utc("2027-03-29T00:00Z")));
        assert_eq!(redue(at_nine(WhenPast::Skip), TOKYO), Redue::Skip(SkipReason::LocalTimePast));
        let at_ten = SendIntent { window: hours("10:00", "20:00"), ..intent };
        assert_eq!(redue(at_ten, BERLIN), Redue::Move(utc("2027-03-28T08:00Z")));
    }

    #[test]
    fn a_message_that_had_passed_at_the_start_stays_where_it_was_put() {
        let intent = at_nine(WhenPast::NextDay);
        let began_at = utc("2027-03-28T05:00Z");
        let planned = utc("2027-03-29T00:00Z");
        for now in [began_at, utc("2027-03-28T23:00Z"), utc("2027-03-29T06:00Z")] {
            assert_eq!(intent.redue(planned, lives_in(TOKYO), None, began_at, now), Redue::Keep);
        }
    }

    proptest! {
        #[test]
        fn a_message_is_never_early_never_quiet_always_inside_and_soon(
            minutes in 0i64..525_600, late in -1_440i64..2_880, from in 0u32..48, length in 1u32..48, quiet_from in 0u32..48,
            zone in prop::sample::select(chrono_tz::TZ_VARIANTS.to_vec()),
            when_past in prop::sample::select(vec![WhenPast::SendNow, WhenPast::NextDay, WhenPast::Skip]),
        ) {
            let half_hours = |n: u32| NaiveTime::from_num_seconds_from_midnight_opt(n % 48 * 1_800, 0).unwrap();
            let window = DailyHours { from: half_hours(from), to: half_hours(from + length) };
            let quiet = DailyHours { from: half_hours(quiet_from), to: half_hours(quiet_from + 20) };
            prop_assume!(SendingHours { window: Some(window), quiet: Some(quiet) }.check().is_ok());
            let local = local("2027-01-01T00:00") + Duration::minutes(minutes);
            let intended = instant_of(local, zone);
            let began_at = intended + Duration::minutes(late);
            let intent = SendIntent { intended: Intended::AtLocal { local, when_past }, window: Some(window) };
            match intent.due(lives_in(zone), Some(quiet), began_at) {
                Due::At(at) => {
                    prop_assert!(at >= intended && at >= began_at);
                    prop_assert!(at - intended.max(began_at) <= Duration::days(4), "{at}");
                    let time = at.with_timezone(&zone).time();
                    prop_assert!(window.contains(time) && !quiet.contains(time), "{time}");
                    let now = intended.max(began_at);
                    prop_assert_eq!(intent.redue(at, lives_in(zone), Some(quiet), began_at, now), Redue::Keep);
                }
                Due::Skip(reason) => {
                    prop_assert_eq!(reason, SkipReason::LocalTimePast);
                    prop_assert!(when_past == WhenPast::Skip && late > LATE_MINUTES);
                }
            }
        }

        #[test]
        fn a_campaign_begins_before_anybodys_time_and_is_over_after_all_of_them(
            minutes in 0i64..1_051_200, zone in prop::sample::select(chrono_tz::TZ_VARIANTS.to_vec()),
        ) {
            let local = local("2026-12-01T00:00") + Duration::minutes(minutes);
            let schedule = CampaignSchedule {
                start_at: local,
                time_zone: "Europe/Berlin".to_owned(),
                recipient_local: true,
                send_window: None,
                when_past: WhenPast::Skip,
                recurrence: None,
            };
            let occurrence = schedule.occurrences().unwrap()[0];
            let instant = instant_of(local, zone);
            prop_assert!(schedule.begins_at(occurrence).unwrap() <= instant);
            prop_assert_eq!(schedule.next_occurrence(None, instant).unwrap(), Some(occurrence));
            let over = local.and_utc() + Duration::hours(13);
            prop_assert_eq!(schedule.next_occurrence(None, over).unwrap(), None);
        }
    }
}
