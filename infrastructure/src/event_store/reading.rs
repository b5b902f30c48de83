//! What both stores share in reading: bounds and pages.

use domain::port::{AggregateType, EventFilter, LogPage, Position, StoredEvent};

/// Events that a page has at most, whatever is asked for.
pub const PAGE_EVENTS_MAX: usize = 5_000;
/// Positions that one call looks at, at most, for events that match: a sparse filter answers in steps.
pub const SCAN_POSITIONS_MAX: u64 = 20_000;
/// Streams read by one statement.
pub(crate) const STREAMS_PER_STATEMENT: usize = 500;
/// Up to this many aggregate ids in a filter are read stream by stream, through the primary key; beyond, the log is
/// scanned.
pub(crate) const AGGREGATES_BY_KEY_MAX: usize = 500;

pub(crate) fn page_limit(asked: usize) -> usize {
    asked.clamp(1, PAGE_EVENTS_MAX)
}

pub(crate) fn unsigned(value: i64) -> Option<u64> {
    u64::try_from(value).ok()
}

/// For binding: positions and sequences beyond `i64` cannot exist, and compare as greater than all that do.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The part of the log that one call looks at: after `.0`, up to and with `.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub after: u64,
    pub to: u64,
    /// Nothing beyond `to` can match.
    pub is_last: bool,
}

/// `from` is the first position that is late enough for the filter, `to` the first that is too late, both where there
/// is one as of `head`; `recorded_at` never decreases, so what is appended later is late enough, and stays too late.
pub(crate) fn window(
    after: Position,
    filter: &EventFilter,
    head: u64,
    from: Option<u64>,
    to: Option<u64>,
) -> Window {
    let mut window = Window { after: after.0, to: u64::MAX, is_last: false };
    if filter.recorded_from.is_some() {
        window.after = window.after.max(from.map_or(head, |first| first.saturating_sub(1)));
    }
    let by_key = reads_by_key(filter);
    if !by_key {
        window.to = window.after.saturating_add(SCAN_POSITIONS_MAX);
    }
    if let Some(first_too_late) = to.filter(|_| filter.recorded_to.is_some()) {
        let end = first_too_late.saturating_sub(1);
        if end <= window.to {
            window.to = end;
            window.is_last = true;
        }
    }
    window
}

pub(crate) fn reads_by_key(filter: &EventFilter) -> bool {
    !filter.aggregate_ids.is_empty() && filter.aggregate_ids.len() <= AGGREGATES_BY_KEY_MAX
}

/// `head` is the log's as of the moment the events were read.
pub(crate) fn page(
    events: Vec<StoredEvent>,
    limit: usize,
    after: Position,
    window: Window,
    head: u64,
) -> LogPage {
    let scanned_to = match events.last() {
        Some(last) if events.len() >= limit => last.position.0,
        _ if window.is_last => head,
        _ => window.to.min(head),
    };
    let scanned_to = scanned_to.max(after.0);
    LogPage { events, scanned_to: Position(scanned_to), at_head: scanned_to >= head }
}

/// As in the stores, for ever.
pub(crate) fn number_of_type(aggregate_type: AggregateType) -> i64 {
    match aggregate_type {
        AggregateType::Workspace => 1,
        AggregateType::Account => 2,
        AggregateType::Template => 3,
        AggregateType::Contact => 4,
        AggregateType::Segment => 5,
        AggregateType::Import => 6,
        AggregateType::Campaign => 7,
        AggregateType::Message => 8,
        AggregateType::ApiKey => 9,
        AggregateType::WebhookEndpoint => 10,
        AggregateType::User => 11,
        AggregateType::Conversation => 12,
    }
}

pub(crate) fn aggregate_types(filter: &EventFilter) -> Vec<&'static str> {
    wanted_types(filter).iter().map(|t| t.as_str()).collect()
}

pub(crate) fn wanted_types(filter: &EventFilter) -> &[AggregateType] {
    if filter.aggregate_types.is_empty() { &AggregateType::ALL } else { &filter.aggregate_types }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;

    fn empty(
        after: u64,
        filter: &EventFilter,
        head: u64,
        from: Option<u64>,
        to: Option<u64>,
    ) -> LogPage {
        let window = window(Position(after), filter, head, from, to);
        page(Vec::new(), 10, Position(after), window, head)
    }

    #[test]
    fn a_scan_goes_on_in_steps_and_ends_at_the_head() {
        let filter = EventFilter::default();
        let page = empty(0, &filter, 50_000, None, None);
        assert_eq!((page.scanned_to, page.at_head), (Position(SCAN_POSITIONS_MAX), false));
        let page = empty(40_000, &filter, 50_000, None, None);
        assert_eq!((page.scanned_to, page.at_head), (Position(50_000), true));
    }

    #[test]
    fn a_cursor_beyond_the_head_stays_where_it_is() {
        let page = empty(70, &EventFilter::default(), 50, None, None);
        assert_eq!((page.scanned_to, page.at_head), (Position(70), true));
    }

    #[test]
    fn times_cut_the_log_short_at_both_ends() {
        let times = EventFilter {
            recorded_from: Some(Utc::now()),
            recorded_to: Some(Utc::now()),
            ..Default::default()
        };
        let found = window(Position(0), &times, 90_000, Some(100), Some(200));
        assert_eq!(found, Window { after: 99, to: 199, is_last: true });
        assert!(empty(0, &times, 90_000, Some(100), Some(200)).at_head);
        // Nothing is late enough yet: all that is there now is skipped, what comes later is not.
        assert_eq!(window(Position(0), &times, 90_000, None, None).after, 90_000);
    }
}
