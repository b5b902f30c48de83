//! What schedules mean, compared with Python's calendar and time zones, which share no code with ours. `expected.py`
//! writes the fixtures and says how it is run.

use chrono::{DateTime, NaiveDateTime, NaiveTime, Utc};
use chrono_tz::Tz;
use domain::campaign::{CampaignSchedule, WhenPast, recur};
use domain::delivery::{Due, RecipientZone, SendIntent, SendingHours, ZoneSource};
use domain::primitives::DailyHours;

fn rows(fixture: &str) -> impl Iterator<Item = Vec<&str>> {
    fixture.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect())
}

fn local(text: &str) -> NaiveDateTime {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M").unwrap()
}

fn utc(text: &str) -> DateTime<Utc> {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%MZ").unwrap().and_utc()
}

#[test]
fn the_fixtures_are_of_the_time_zone_data_that_is_built_in() {
    let made = include_str!("../fixtures/schedules/instants.tsv").lines().next().unwrap();
    let version = chrono_tz::IANA_TZDB_VERSION;
    assert!(made.contains(version), "write them anew with tz {version}; expected.py says how");
}

#[test]
fn sixty_recipients_in_twenty_zones_get_it_at_their_own_time_over_both_changes_of_clocks() {
    let (mut recipients, mut compared) = (std::collections::BTreeSet::new(), 0);
    for row in rows(include_str!("../fixtures/schedules/instants.tsv")) {
        let [zone, local_time, expected] = row[..] else { panic!("{row:?}") };
        let schedule = CampaignSchedule {
            start_at: local(local_time),
            time_zone: "Europe/Berlin".to_owned(),
            recipient_local: true,
            send_window: None,
            when_past: WhenPast::Skip,
            recurrence: None,
        };
        let occurrence = schedule.next_occurrence(None, utc("2027-01-01T00:00Z")).unwrap().unwrap();
        let began_at = schedule.begins_at(occurrence).unwrap();
        let recipient = RecipientZone {
            zone: zone.parse().unwrap(),
            source: ZoneSource::Contact,
            is_bad: false,
        };
        let due = SendIntent::of(&schedule, occurrence).unwrap().due(recipient, None, began_at);
        assert_eq!(due, Due::At(utc(expected)), "{local_time} in {zone}");
        recipients.insert((zone.to_owned(), local(local_time).time()));
        compared += 1;
    }
    assert_eq!((recipients.len(), compared), (60, 600));
}

#[test]
fn a_window_opens_when_walking_the_minutes_finds_it_open() {
    let mut compared = 0;
    for row in rows(include_str!("../fixtures/schedules/openings.tsv")) {
        let [zone, after, from, to, expected] = row[..] else { panic!("{row:?}") };
        let time = |text| NaiveTime::parse_from_str(text, "%H:%M").unwrap();
        let window = DailyHours { from: time(from), to: time(to) };
        let hours = SendingHours { window: Some(window), quiet: None };
        let zone: Tz = zone.parse().unwrap();
        assert_eq!(hours.first_at(utc(after), zone), Some(utc(expected)), "{row:?}");
        compared += 1;
    }
    assert!(compared > 190, "{compared}");
}

#[test]
fn recurrence_rules_come_on_the_days_that_dateutil_finds() {
    let (mut refused, mut compared) = (0, 0);
    for row in rows(include_str!("../fixtures/schedules/rules.tsv")) {
        let [start, rule, expected] = row[..] else { panic!("{row:?}") };
        let found = recur(rule, local(start), Tz::UTC);
        let days: Vec<String> =
            found.unwrap_or_default().iter().map(|at| at.format("%Y-%m-%d").to_string()).collect();
        assert_eq!(days.join(","), expected, "{rule} from {start}");
        compared += 1;
        refused += usize::from(expected.is_empty());
    }
    assert_eq!(compared, 400);
    assert!((1..100).contains(&refused), "{refused}");
}
