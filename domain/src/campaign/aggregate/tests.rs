use chrono::TimeZone;

use super::*;

fn at(minute: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 26, 9, minute, 0).unwrap()
}

fn in_status(status: CampaignStatus) -> Campaign {
    let workspace_id = Some(WorkspaceId(Uuid::from_u128(1)));
    let ended_at = (status == CampaignStatus::Completed).then(|| at(5));
    Campaign { workspace_id, status, ended_at, expanded: true, ..Campaign::default() }
}

#[test]
fn a_completed_campaign_that_is_tried_again_can_be_paused_cancelled_and_completed() {
    let mut campaign = in_status(CampaignStatus::Completed);
    for event in campaign.decide(CampaignCommand::Reopen { at: at(9) }).unwrap() {
        campaign.fold(event);
    }
    assert_eq!((campaign.status, campaign.ended_at), (CampaignStatus::Running, None));
    for command in [
        CampaignCommand::Pause { reason: None, hold: None, at: at(10) },
        CampaignCommand::Cancel { reason: None, at: at(10) },
        CampaignCommand::Complete { at: at(10) },
    ] {
        assert_eq!(campaign.decide(command).unwrap().len(), 1);
    }
}

fn utc(text: &str) -> DateTime<Utc> {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%MZ").unwrap().and_utc()
}

fn schedule(recurrence: Option<&str>) -> CampaignSchedule {
    CampaignSchedule {
        start_at: "2027-01-31T09:00:00".parse().unwrap(),
        time_zone: "Europe/Berlin".to_owned(),
        recipient_local: false,
        send_window: None,
        when_past: crate::campaign::WhenPast::default(),
        recurrence: recurrence.map(str::to_owned),
    }
}

fn plan(schedule: Option<CampaignSchedule>) -> CampaignPlan {
    CampaignPlan {
        name: "x".to_owned(),
        template_id: TemplateId(Uuid::from_u128(3)),
        parameters: Personal::Known(serde_json::Map::new()),
        audience: Audience { all: true, ..Audience::default() },
        schedule,
        messages_per_second: None,
        frequency_cap: None,
        time_to_live_s: None,
    }
}

fn drafted(schedule: Option<CampaignSchedule>) -> Campaign {
    let mut campaign = Campaign::default();
    let id = Uuid::from_u128;
    when(
        &mut campaign,
        CampaignCommand::Draft {
            workspace_id: WorkspaceId(id(1)),
            campaign_id: CampaignId(id(2)),
            account_id: AccountId(id(4)),
            external_id: None,
            metadata: None,
            plan: Box::new(plan(schedule)),
            at: utc("2027-01-01T00:00Z"),
        },
    );
    campaign
}

/// Folds what a command leads to, and names it.
fn when(campaign: &mut Campaign, command: CampaignCommand) -> Vec<&'static str> {
    let events = campaign.decide(command).unwrap();
    events
        .into_iter()
        .map(|event| {
            let name = match &event {
                CampaignEvent::Drafted { .. } => "drafted",
                CampaignEvent::Updated { .. } => "updated",
                CampaignEvent::Scheduled { .. } => "scheduled",
                CampaignEvent::Started { .. } => "started",
                CampaignEvent::AudienceExpanded { .. } => "expanded",
                CampaignEvent::Paused { .. } => "paused",
                CampaignEvent::Resumed { .. } => "resumed",
                CampaignEvent::Completed { .. } => "completed",
                CampaignEvent::Cancelled { .. } => "cancelled",
                CampaignEvent::Deleted { .. } => "deleted",
                CampaignEvent::ApprovalRequested { .. } => "approval requested",
                CampaignEvent::Approved { .. } => "approved",
            };
            campaign.fold(event);
            name
        })
        .collect()
}

fn expand(campaign: &mut Campaign, at: &str) -> Vec<&'static str> {
    let contact = ContactId(Uuid::from_u128(9));
    let expansion = CampaignCommand::RecordExpansion {
        from: campaign.cursor,
        cursor: Some(contact),
        queued: 3,
        skipped: 1,
        complete: true,
        at: utc(at),
    };
    when(campaign, expansion)
}

fn start(campaign: &mut Campaign, at: &str) -> Vec<&'static str> {
    when(campaign, CampaignCommand::Start { at: utc(at) })
}

fn complete(campaign: &mut Campaign, at: &str) -> Vec<&'static str> {
    when(campaign, CampaignCommand::Complete { at: utc(at) })
}

#[test]
fn a_campaign_that_comes_back_waits_after_each_occurrence_and_is_completed_after_the_last() {
    let mut campaign = drafted(Some(schedule(Some("FREQ=MONTHLY;BYMONTHDAY=-1;COUNT=3"))));
    let launch =
        CampaignCommand::Launch { allowance: Allowance::default(), at: utc("2027-01-01T00:00Z") };
    assert_eq!(when(&mut campaign, launch), ["scheduled"]);
    let mut starts = vec![];
    for (begins, next) in [
        ("2027-01-31T08:00Z", Some("2027-02-28T08:00Z")),
        ("2027-02-28T08:00Z", Some("2027-03-31T07:00Z")), // summer time
        ("2027-03-31T07:00Z", None),
    ] {
        assert_eq!(campaign.start_at, Some(utc(begins)));
        assert_eq!(start(&mut campaign, "2027-01-30T00:00Z"), [""; 0]);
        assert_eq!(start(&mut campaign, begins), ["started"]);
        assert_eq!(start(&mut campaign, begins), [""; 0]);
        starts.push(campaign.occurrence_start);
        assert_eq!((campaign.cursor, campaign.expanded, campaign.queued), (None, false, 0));
        let too_early = campaign.decide(CampaignCommand::Complete { at: utc(begins) });
        assert!(too_early.is_err(), "nobody was judged yet");
        assert_eq!(expand(&mut campaign, begins), ["expanded"]);
        assert_eq!((campaign.queued, campaign.skipped), (3, 1));
        let after = if next.is_some() { "scheduled" } else { "completed" };
        assert_eq!(complete(&mut campaign, begins), [after]);
        assert_eq!(complete(&mut campaign, begins), [""; 0]);
        if next.is_some() {
            assert_eq!(campaign.start_at, next.map(utc));
        }
    }
    assert_eq!(campaign.status, CampaignStatus::Completed);
    starts.dedup();
    assert_eq!(starts.len(), 3);
}

fn daily(count: u32) -> Campaign {
    let rule = format!("FREQ=DAILY;COUNT={count}");
    let mut campaign = drafted(Some(schedule(Some(&rule))));
    when(
        &mut campaign,
        CampaignCommand::Launch { allowance: Allowance::default(), at: utc("2027-01-01T00:00Z") },
    );
    campaign
}

#[test]
fn the_next_occurrence_starts_although_the_last_has_messages_waiting_but_not_before_all_are_judged()
{
    let mut campaign = daily(3);
    start(&mut campaign, "2027-01-31T08:00Z");
    assert!(!campaign.is_due(utc("2027-02-01T08:00Z")));
    assert_eq!(start(&mut campaign, "2027-02-01T08:00Z"), [""; 0]);
    expand(&mut campaign, "2027-02-01T08:00Z");
    assert!(!campaign.is_due(utc("2027-02-01T07:59Z")));
    assert!(campaign.is_due(utc("2027-02-01T08:00Z")));
    assert_eq!(start(&mut campaign, "2027-02-01T08:00Z"), ["started"]);
    assert_eq!(campaign.occurrence_start, Some(utc("2027-02-01T08:00Z")));
    assert_eq!((campaign.status, campaign.expanded), (CampaignStatus::Running, false));
}

#[test]
fn what_was_missed_is_passed_over_and_counted_and_the_last_starts_however_late() {
    let mut campaign = daily(5);
    let begun = campaign.decide(CampaignCommand::Start { at: utc("2027-02-02T20:00Z") });
    assert_eq!(
        begun,
        Ok(vec![CampaignEvent::Started {
            occurrence_start: utc("2027-02-02T08:00Z"),
            local: Some("2027-02-02T09:00:00".parse().unwrap()),
            missed: 2,
            allowance: None,
            at: utc("2027-02-02T20:00Z"),
        }])
    );
    start(&mut campaign, "2027-02-02T20:00Z");
    expand(&mut campaign, "2027-02-02T20:00Z");
    assert_eq!(complete(&mut campaign, "2027-02-02T20:01Z"), ["scheduled"]);
    assert_eq!(start(&mut campaign, "2029-01-01T00:00Z"), ["started"]);
    assert_eq!(campaign.occurrence_start, Some(utc("2027-02-04T08:00Z")));
    expand(&mut campaign, "2029-01-01T00:00Z");
    assert_eq!(complete(&mut campaign, "2029-01-01T00:01Z"), ["completed"]);
}

#[test]
fn a_campaign_that_comes_back_can_be_paused_resumed_and_cancelled_at_any_moment() {
    let pause =
        || CampaignCommand::Pause { reason: None, hold: None, at: utc("2027-01-31T08:01Z") };
    let resume = |at: &str| CampaignCommand::Resume { at: utc(at) };
    // While it waits: what came meanwhile is passed over.
    let mut campaign = daily(5);
    when(&mut campaign, pause());
    assert!(!campaign.is_due(utc("2027-02-01T09:00Z")));
    assert!(campaign.decide(CampaignCommand::Start { at: utc("2027-02-01T09:00Z") }).is_err());
    assert_eq!(when(&mut campaign, resume("2027-02-01T09:00Z")), ["resumed"]);
    assert_eq!(start(&mut campaign, "2027-02-01T09:00Z"), ["started"]);
    assert_eq!(campaign.occurrence_start, Some(utc("2027-02-01T08:00Z")));
    // Half-way through an audience: the rest is judged first.
    when(&mut campaign, pause());
    when(&mut campaign, resume("2027-02-02T09:00Z"));
    assert!(!campaign.is_due(utc("2027-02-02T09:00Z")));
    expand(&mut campaign, "2027-02-02T09:00Z");
    assert_eq!(start(&mut campaign, "2027-02-02T09:00Z"), ["started"]);
    expand(&mut campaign, "2027-02-02T09:00Z");
    // Between two.
    assert_eq!(complete(&mut campaign, "2027-02-02T09:01Z"), ["scheduled"]);
    when(&mut campaign, pause());
    when(&mut campaign, resume("2027-02-02T10:00Z"));
    assert_eq!(campaign.status, CampaignStatus::Scheduled);
    let cancel = CampaignCommand::Cancel { reason: None, at: utc("2027-02-02T10:00Z") };
    assert_eq!(when(&mut campaign, cancel), ["cancelled"]);
    assert!(!campaign.is_due(utc("2027-02-09T10:00Z")));
}

fn hold(recipients: u64, needs_approval: bool, at: &str) -> CampaignCommand {
    let hold = Some(Hold { recipients, needs_approval });
    CampaignCommand::Pause { reason: Some("too many".to_owned()), hold, at: utc(at) }
}

#[test]
fn an_occurrence_that_is_held_goes_on_with_a_yes_to_it_and_the_next_is_asked_anew() {
    let mut campaign = daily(3);
    start(&mut campaign, "2027-01-31T08:00Z");
    assert!(campaign.is_to_be_checked());
    assert_eq!(when(&mut campaign, hold(100, false, "2027-01-31T08:00Z")), ["paused"]);
    assert!(campaign.is_held() && !campaign.may_send() && !campaign.awaits_approval());
    assert_eq!(when(&mut campaign, hold(100, false, "2027-01-31T08:01Z")), [""; 0]);
    let refused = campaign.decide(approve("b"));
    assert_eq!(refused, Err(CampaignError::NotRequested), "it needs nobody else");
    let resume = |at| CampaignCommand::Resume { at: utc(at) };
    assert_eq!(when(&mut campaign, resume("2027-01-31T09:00Z")), ["resumed"]);
    assert_eq!(campaign.status, CampaignStatus::Running);
    assert_eq!((campaign.released, campaign.is_to_be_checked()), (Some(110), true));
    expand(&mut campaign, "2027-01-31T09:00Z");
    assert!(!campaign.is_to_be_checked());
    start(&mut campaign, "2027-02-01T08:00Z");
    assert_eq!((campaign.released, campaign.is_to_be_checked()), (None, true));
}

#[test]
fn a_held_occurrence_does_not_keep_the_next_from_coming_but_a_persons_pause_does() {
    let mut campaign = daily(4);
    start(&mut campaign, "2027-01-31T08:00Z");
    when(&mut campaign, hold(100, false, "2027-01-31T08:00Z"));
    assert!(!campaign.is_due(utc("2027-02-01T07:59Z")));
    assert_eq!(start(&mut campaign, "2027-02-01T08:00Z"), ["started"]);
    assert_eq!(campaign.status, CampaignStatus::Running);
    assert_eq!((campaign.hold, &campaign.status_reason), (None, &None));
    assert_eq!(campaign.occurrence_start, Some(utc("2027-02-01T08:00Z")));
    when(&mut campaign, hold(100, false, "2027-02-01T08:00Z"));
    let by_person =
        CampaignCommand::Pause { reason: None, hold: None, at: utc("2027-02-01T08:30Z") };
    assert_eq!(when(&mut campaign, by_person), ["paused"]);
    assert!(!campaign.is_held());
    assert_eq!(campaign.paused_from, Some(CampaignStatus::Running));
    assert!(!campaign.is_due(utc("2027-02-02T08:00Z")));
    when(&mut campaign, CampaignCommand::Resume { at: utc("2027-02-01T09:00Z") });
    assert_eq!(campaign.released, None, "who ends a pause says nothing of the size");
    assert!(campaign.is_to_be_checked());
    when(&mut campaign, hold(100, false, "2027-02-01T09:00Z"));
    let cancel = CampaignCommand::Cancel { reason: None, at: utc("2027-02-01T10:00Z") };
    assert_eq!(when(&mut campaign, cancel), ["cancelled"]);
}

#[test]
fn more_than_one_key_may_send_to_goes_on_with_anothers_yes_only_and_that_stays() {
    let mut campaign = drafted(Some(schedule(Some("FREQ=DAILY;COUNT=3"))));
    let allowance = Allowance { by: Some("a".to_owned()), ..Allowance::default() };
    let launch = CampaignCommand::Launch { allowance, at: utc("2027-01-01T00:00Z") };
    assert_eq!(when(&mut campaign, launch), ["scheduled"]);
    start(&mut campaign, "2027-01-31T08:00Z");
    when(&mut campaign, hold(100, true, "2027-01-31T08:00Z"));
    assert!(campaign.awaits_approval());
    let resume = CampaignCommand::Resume { at: utc("2027-01-31T09:00Z") };
    assert_eq!(campaign.decide(resume), Err(CampaignError::NeedsApproval));
    assert_eq!(campaign.decide(approve("a")), Err(CampaignError::OwnRequest));
    assert_eq!(when(&mut campaign, approve("b")), ["approved", "resumed"]);
    assert_eq!(when(&mut campaign, approve("b")), [""; 0]);
    assert_eq!(campaign.held_for_size(110, Some(10)), None);
    expand(&mut campaign, "2027-01-31T09:00Z");
    start(&mut campaign, "2027-02-01T08:00Z");
    assert_eq!(campaign.held_for_size(110, Some(10)), None);
    assert!(campaign.held_for_size(111, Some(10)).is_some());
}

#[test]
fn between_two_occurrences_the_last_can_be_tried_again_and_the_next_still_comes() {
    let mut campaign = daily(2);
    let reopen = || CampaignCommand::Reopen { at: utc("2027-01-31T10:00Z") };
    assert!(campaign.decide(reopen()).is_err(), "it has not come yet");
    start(&mut campaign, "2027-01-31T08:00Z");
    expand(&mut campaign, "2027-01-31T08:00Z");
    complete(&mut campaign, "2027-01-31T09:00Z");
    assert_eq!(when(&mut campaign, reopen()), ["resumed"]);
    assert_eq!(campaign.status, CampaignStatus::Running);
    assert_eq!(complete(&mut campaign, "2027-01-31T11:00Z"), ["scheduled"]);
    assert_eq!(campaign.start_at, Some(utc("2027-02-01T08:00Z")));
}

#[test]
fn a_schedule_that_is_changed_between_two_occurrences_repeats_none() {
    let mut campaign = daily(5);
    start(&mut campaign, "2027-01-31T08:00Z");
    expand(&mut campaign, "2027-01-31T08:00Z");
    complete(&mut campaign, "2027-01-31T08:01Z");
    let update = |schedule| CampaignCommand::Update {
        plan: Box::new(plan(Some(schedule))),
        at: utc("2027-01-31T08:02Z"),
    };
    // The same time in a zone where it is still ahead.
    let westward = CampaignSchedule {
        time_zone: "America/New_York".to_owned(),
        ..schedule(Some("FREQ=DAILY;COUNT=5"))
    };
    assert_eq!(when(&mut campaign, update(westward)), ["updated", "scheduled"]);
    assert_eq!(campaign.start_at, Some(utc("2027-02-01T14:00Z")));
    // To each at their own time: begins earlier, and still after the last one.
    let local = CampaignSchedule { recipient_local: true, ..schedule(Some("FREQ=DAILY;COUNT=5")) };
    assert_eq!(when(&mut campaign, update(local)), ["updated", "scheduled"]);
    assert_eq!(campaign.start_at, Some(utc("2027-01-31T19:00Z")));
    let over = campaign.decide(update(schedule(Some("FREQ=DAILY;COUNT=1"))));
    assert!(matches!(over, Err(CampaignError::Invalid { field: "schedule.recurrence", .. })));
}

#[test]
fn a_start_moves_with_the_rules_of_its_zone_and_only_while_it_waits() {
    let mut campaign = daily(2);
    let retime = || CampaignCommand::Retime { at: utc("2027-01-15T00:00Z") };
    assert_eq!(when(&mut campaign, retime()), [""; 0]);
    // As if the zone had been an hour off when it was scheduled.
    campaign.start_at = Some(utc("2027-01-31T07:00Z"));
    assert_eq!(when(&mut campaign, retime()), ["scheduled"]);
    assert_eq!(campaign.start_at, Some(utc("2027-01-31T08:00Z")));
    start(&mut campaign, "2027-01-31T08:00Z");
    assert_eq!(when(&mut campaign, retime()), [""; 0]);
}

#[test]
fn what_comes_once_starts_once_however_late() {
    let mut campaign = drafted(Some(schedule(None)));
    when(
        &mut campaign,
        CampaignCommand::Launch { allowance: Allowance::default(), at: utc("2027-01-01T00:00Z") },
    );
    assert_eq!(start(&mut campaign, "2027-02-28T08:00Z"), ["started"]);
    assert_eq!(campaign.occurrence_start, Some(utc("2027-01-31T08:00Z")));
    expand(&mut campaign, "2027-02-28T08:00Z");
    assert_eq!(start(&mut campaign, "2027-03-28T08:00Z"), [""; 0]);
    assert_eq!(complete(&mut campaign, "2027-03-28T08:00Z"), ["completed"]);
}

fn draft() -> Campaign {
    let plan = CampaignPlan {
        name: "Sale".to_owned(),
        template_id: TemplateId(Uuid::from_u128(2)),
        parameters: Personal::Known(serde_json::Map::new()),
        audience: Audience { all: true, ..Audience::default() },
        schedule: None,
        messages_per_second: None,
        frequency_cap: None,
        time_to_live_s: None,
    };
    Campaign { plan: Some(plan), expanded: false, ..in_status(CampaignStatus::Draft) }
}

fn request(by: &str) -> CampaignCommand {
    CampaignCommand::RequestApproval {
        by: by.to_owned(),
        recipients: 12,
        threshold: 10,
        max_recipients: None,
        max_cost: None,
        at: at(1),
    }
}

fn approve(by: &str) -> CampaignCommand {
    CampaignCommand::Approve { by: by.to_owned(), recipients: None, at: at(2) }
}

fn done(campaign: &mut Campaign, command: CampaignCommand) -> usize {
    let events = campaign.decide(command).unwrap();
    let count = events.len();
    events.into_iter().for_each(|event| campaign.fold(event));
    count
}

#[test]
fn a_large_campaign_starts_when_another_than_who_asked_says_yes() {
    let mut campaign = draft();
    assert_eq!(campaign.decide(approve("b")), Err(CampaignError::NotRequested));
    assert_eq!(done(&mut campaign, request("a")), 1);
    assert_eq!(done(&mut campaign, request("a")), 0);
    assert_eq!(campaign.status, CampaignStatus::Draft);
    assert!(campaign.status_reason.as_ref().unwrap().contains("12 people"));
    assert_eq!(campaign.decide(approve("a")), Err(CampaignError::OwnRequest));
    assert_eq!(done(&mut campaign, approve("b")), 2);
    assert_eq!((campaign.status, &campaign.status_reason), (CampaignStatus::Running, &None));
    assert_eq!(done(&mut campaign, approve("b")), 0);
}

#[test]
fn a_yes_is_to_what_was_asked_for_and_a_tenth_more() {
    let mut campaign = draft();
    done(&mut campaign, request("a"));
    let yes = |recipients| CampaignCommand::Approve {
        by: "b".to_owned(),
        recipients: Some(recipients),
        at: at(2),
    };
    let grown = CampaignError::GrownSince { asked: 12, recipients: 14 };
    assert_eq!(campaign.decide(yes(14)), Err(grown));
    assert_eq!(done(&mut campaign, yes(13)), 2);
    let allowed = campaign.allowed();
    assert_eq!((allowed.recipients, allowed.approved_recipients), (Some(13), Some(13)));
    assert_eq!(allowed.by.as_deref(), Some("a"));
    // As a log of before has it.
    campaign.allowance = None;
    assert_eq!(campaign.allowed().approved_recipients, Some(13));
}

#[test]
fn a_changed_plan_needs_a_new_request_and_an_approved_one_is_not_changed() {
    let mut campaign = draft();
    done(&mut campaign, request("a"));
    let mut plan = campaign.plan.clone().unwrap();
    plan.name = "Another".to_owned();
    let update =
        |plan: &CampaignPlan| CampaignCommand::Update { plan: Box::new(plan.clone()), at: at(3) };
    assert_eq!(done(&mut campaign, update(&plan)), 1);
    assert_eq!((&campaign.approval, &campaign.status_reason), (&None, &None));
    assert_eq!(campaign.decide(approve("b")), Err(CampaignError::NotRequested));
    plan.schedule = Some(CampaignSchedule {
        start_at: "2027-01-01T09:00:00".parse().unwrap(),
        time_zone: "UTC".to_owned(),
        recipient_local: false,
        send_window: None,
        when_past: Default::default(),
        recurrence: None,
    });
    done(&mut campaign, update(&plan));
    done(&mut campaign, request("a"));
    done(&mut campaign, approve("b"));
    assert_eq!(campaign.status, CampaignStatus::Scheduled);
    assert_eq!(campaign.decide(update(&plan)), Ok(vec![]));
    plan.name = "Yet another".to_owned();
    assert_eq!(campaign.decide(update(&plan)), Err(CampaignError::ApprovedAsItIs));
}

#[test]
fn what_runs_or_is_paused_stays_so_and_what_was_cancelled_is_not_tried_again() {
    let reopen = || CampaignCommand::Reopen { at: at(9) };
    for status in [CampaignStatus::Running, CampaignStatus::Paused] {
        assert_eq!(in_status(status).decide(reopen()), Ok(vec![]));
    }
    for status in [CampaignStatus::Draft, CampaignStatus::Scheduled, CampaignStatus::Cancelled] {
        let refused = CampaignError::NotAllowed { action: "tried again", status };
        assert_eq!(in_status(status).decide(reopen()), Err(refused));
    }
}
