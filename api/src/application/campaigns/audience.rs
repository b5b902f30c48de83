//! Whether anybody would get what a campaign sends: how many its audience is, and whether they have what its parameters ask
//! of them. Asked at the launch, in a forecast, and of the size again when an occurrence starts.

use std::collections::BTreeSet;

use domain::api_key::Scope;
use domain::campaign::{Audience, Campaign, CampaignPlan};
use domain::delivery::required_paths;
use domain::port::EventFeed;
use domain::primitives::{ContactId, WorkspaceId};
use domain::segment::Segment;
use projections::{AudienceSurvey, Queries, WordKind, names};
use uuid::Uuid;

use super::AudienceInput;
use crate::app::Gateway;
use crate::application::caller::Caller;
use crate::application::error::{AppError, AppResult};
use crate::application::segments::{self, SegmentPreview};
use crate::application::view::ContactView;
use crate::application::{command, page, read};

/// What the path of a placeholder for an attribute begins with.
const ATTRIBUTES: &str = "attributes.";
/// People that an audience is counted up to.
pub(super) const PEOPLE_MAX: u64 = i32::MAX as u64;
/// Tags, segments and warnings that are named one by one.
const NAMED: usize = 5;
/// One slip (a letter more, less, other or swapped with the next) for so many letters is a misspelling; more are another word.
const CHARS_PER_SLIP: usize = 3;

/// Why a campaign is not launched as it is, and what its owner may want to know.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub refusal: Option<AppError>,
    pub warnings: Vec<String>,
}

/// Goes through a campaign's audience once: answers how many they are, up to `most`, and whether it can be launched. Where
/// the count matters (`is_counted`) whoever was added before this call counts.
///
/// # Errors
/// VALIDATION_FAILED where nobody would be sent to: nobody is in the audience of a campaign that comes once, or nobody in it
/// has what a parameter asks for; STALE, UNAVAILABLE.
pub(super) async fn check(
    gateway: &Gateway,
    campaign: &Campaign,
    most: u64,
    is_counted: bool,
) -> AppResult<u64> {
    if !is_counted {
        // Mostly the first page says that there is somebody, whatever the read model has yet to learn.
        let looked = look(gateway, campaign, most).await;
        if let Ok((people, Findings { refusal: None, .. })) = looked {
            return Ok(people);
        }
    }
    catch_up(gateway).await?;
    match look(gateway, campaign, most).await? {
        (people, Findings { refusal: None, .. }) => Ok(people),
        (_, Findings { refusal: Some(refusal), .. }) => Err(refusal),
    }
}

/// Whoever was added before this call counts.
async fn catch_up(gateway: &Gateway) -> AppResult<()> {
    let head = gateway.ledger.head().await?;
    read::wait(gateway, names::CONTACTS, Some(head)).await?;
    read::wait_directory(gateway, Some(head)).await?;
    Ok(())
}

async fn look(gateway: &Gateway, campaign: &Campaign, most: u64) -> AppResult<(u64, Findings)> {
    let (Some(plan), Some(workspace)) = (campaign.plan.as_ref(), campaign.workspace_id) else {
        return Err(AppError::not_found("campaign"));
    };
    let queries = read::queries(gateway);
    let query = queries.audience(workspace.0, &plan.audience, None).await?;
    // What nobody in the workspace has is not looked for in everybody.
    let (mut wanted, mut unknown) = (BTreeSet::new(), BTreeSet::new());
    for path in paths(plan) {
        if is_known(&queries, workspace, &path).await? {
            wanted.insert(path)
        } else {
            unknown.insert(path)
        };
    }
    let mut survey = queries.audience_survey(&query, most, wanted).await?;
    survey.unfilled.append(&mut unknown);
    let people = survey.people;
    Ok((people, findings(gateway, &queries, workspace, plan, survey).await?))
}

/// Whom an audience reaches now: how many, and the first of them. Scope READ, and PERSONAL where a segment of it asks for
/// attributes: otherwise a mask could be lifted by guessing.
///
/// # Errors
/// FORBIDDEN; NOT_FOUND for the workspace or a part of the audience; VALIDATION_FAILED; STALE.
pub async fn preview(
    gateway: &Gateway,
    caller: &Caller,
    input: AudienceInput,
    workspace_id: Option<&str>,
    first: Option<i32>,
) -> AppResult<SegmentPreview> {
    caller.require(Scope::Read)?;
    let workspace = command::workspace(gateway, caller, workspace_id, "workspaceId").await?;
    let first = page::limit(first, "first")?;
    let audience = super::plan::audience(gateway, caller, workspace, input, "audience").await?;
    let mut part = Some(&audience);
    let mut known_to = None;
    while let Some(one) = part {
        for id in &one.segment_ids {
            let loaded = gateway.bus.load::<Segment>(id.0).await?;
            let loaded = loaded.ok_or_else(|| AppError::not_found("segment"))?;
            segments::may_be_asked(caller, &loaded.aggregate)?;
            known_to = known_to.max(Some(loaded.position));
        }
        part = one.exclude.as_deref();
    }
    // By the segments' rules as they are now: a new one would hold nobody.
    read::wait_directory(gateway, known_to).await?;
    let queries = read::queries(gateway);
    let query = queries.audience(workspace.0, &audience, None).await?;
    let count = queries.audience_count(&query, PEOPLE_MAX).await?;
    let mut sample = vec![];
    let mut after = None;
    while sample.len() < first {
        let page = queries.audience_page(&query, after, first - sample.len()).await?;
        sample.extend(page.contacts);
        if page.is_last {
            break;
        }
        after = page.cursor;
    }
    let sample = sample
        .iter()
        .filter_map(|stored| ContactView::new(ContactId(stored.id), &stored.state, caller));
    Ok(SegmentPreview { count, sample: sample.collect() })
}

/// How many are in the audience as it is now, up to `most`: whoever was added before this call counts.
///
/// # Errors
/// STALE, UNAVAILABLE.
pub(super) async fn size(gateway: &Gateway, campaign: &Campaign, most: u64) -> AppResult<u64> {
    let (Some(plan), Some(workspace)) = (campaign.plan.as_ref(), campaign.workspace_id) else {
        return Err(AppError::not_found("campaign"));
    };
    catch_up(gateway).await?;
    let queries = read::queries(gateway);
    let query = queries.audience(workspace.0, &plan.audience, None).await?;
    Ok(queries.audience_count(&query, most).await?)
}

/// What a plan's parameters ask of every recipient.
pub(super) fn paths(plan: &CampaignPlan) -> BTreeSet<String> {
    plan.parameters.known().map(required_paths).unwrap_or_default().into_keys().collect()
}

/// What a survey means for a launch.
pub(super) async fn findings(
    gateway: &Gateway,
    queries: &Queries,
    workspace: WorkspaceId,
    plan: &CampaignPlan,
    survey: AudienceSurvey,
) -> AppResult<Findings> {
    let mut findings = Findings::default();
    let unknown = unknown_tags(queries, workspace, &plan.audience).await?;
    let tags = if unknown.is_empty() {
        vec![]
    } else {
        queries.vocabulary(workspace.0, WordKind::Tag).await?
    };
    for (tag, is_excluded) in unknown.iter().take(NAMED) {
        let role = if *is_excluded { ", which is excluded" } else { "" };
        let hint = hint(&tags, tag, "the tag ");
        findings.warnings.push(format!("nobody ever had the tag {tag}{role}{hint}"));
    }
    if survey.people == 0 {
        let who = named(gateway, &plan.audience).await?;
        let is_recurring = plan.schedule.as_ref().is_some_and(|s| s.recurrence.is_some());
        let is_of_tags = !plan.audience.all
            && plan.audience.segment_ids.is_empty()
            && plan.audience.contact_ids.is_empty();
        let can_fill = !is_of_tags
            || plan.audience.tags.iter().any(|tag| !unknown.contains(&(tag.clone(), false)));
        if is_recurring && can_fill {
            findings.warnings.push(format!(
                "nobody is in the audience at the moment ({who}); each occurrence goes to whoever is in it by then"
            ));
        } else {
            let hint = match unknown.iter().find(|(_, is_excluded)| !is_excluded) {
                Some((tag, _)) if is_of_tags => hint(&tags, tag, "the tag "),
                _ => String::new(),
            };
            findings.refusal = Some(AppError::invalid(
                "audience",
                format!(
                    "nobody is in the audience ({who}){hint}; import or tag people first, or choose others with \
                     updateCampaign"
                ),
            ));
            return Ok(findings);
        }
    }
    findings.refusal = unfillable(queries, workspace, plan, survey).await?;
    Ok(findings)
}

/// The first parameter that nobody could be sent with. In an audience that is empty as yet, what nobody in the workspace has.
async fn unfillable(
    queries: &Queries,
    workspace: WorkspaceId,
    plan: &CampaignPlan,
    survey: AudienceSurvey,
) -> AppResult<Option<AppError>> {
    let required = plan.parameters.known().map(required_paths).unwrap_or_default();
    for path in &survey.unfilled {
        let is_known = is_known(queries, workspace, path).await?;
        if survey.people == 0 && is_known {
            continue;
        }
        let (whose, hint) = match path.strip_prefix(ATTRIBUTES) {
            Some(name) if !is_known => (
                format!("no contact has the attribute {name}"),
                hint(
                    &queries.vocabulary(workspace.0, WordKind::Attribute).await?,
                    name,
                    ATTRIBUTES,
                ),
            ),
            Some(name) => {
                (format!("nobody in the audience has the attribute {name}"), String::new())
            }
            None => (format!("nobody in the audience has a {path}"), String::new()),
        };
        let slot = required.get(path).map_or("", String::as_str);
        return Ok(Some(AppError::invalid(
            format!("parameters.{slot}"),
            format!(
                "{{{{{path}}}}} can be filled for nobody: {whose}{hint}; put that right, or give what stands in for it, like \
                 {{{{{path} | default: …}}}}"
            ),
        )));
    }
    Ok(None)
}

/// Whether anybody in the workspace may fill it: an attribute that somebody has, spelt so or with other capitals, as a contact's
/// own are looked up; and whatever is none.
async fn is_known(queries: &Queries, workspace: WorkspaceId, path: &str) -> AppResult<bool> {
    let Some(name) = path.strip_prefix(ATTRIBUTES) else { return Ok(true) };
    let known = queries.known_words(workspace.0, WordKind::Attribute, [name]).await?;
    if known.values().any(|contacts| *contacts > 0) {
        return Ok(true);
    }
    let all = queries.vocabulary(workspace.0, WordKind::Attribute).await?;
    Ok(all.iter().any(|(known, _)| known.to_lowercase() == name.to_lowercase()))
}

/// Tags that nobody ever had, and whether they are excluded.
async fn unknown_tags(
    queries: &Queries,
    workspace: WorkspaceId,
    audience: &Audience,
) -> AppResult<BTreeSet<(String, bool)>> {
    let mut unknown = BTreeSet::new();
    let mut part = Some(audience);
    let mut is_excluded = false;
    while let Some(audience) = part {
        let tags = audience.tags.iter().map(String::as_str);
        let known = queries.known_words(workspace.0, WordKind::Tag, tags).await?;
        let strange = audience.tags.iter().filter(|tag| !known.contains_key(*tag));
        unknown.extend(strange.map(|tag| (tag.clone(), is_excluded)));
        part = audience.exclude.as_deref();
        is_excluded = !is_excluded;
    }
    Ok(unknown)
}

/// `; did you mean the tag vip?` where somebody has one that is spelt much like it, else nothing.
fn hint(known: &[(String, u64)], word: &str, what: &str) -> String {
    let used = known.iter().filter(|(known, contacts)| *contacts > 0 && known != word);
    let nearest = nearest(word, used.map(|(known, _)| known.as_str()));
    nearest.map(|nearest| format!("; did you mean {what}{nearest}?")).unwrap_or_default()
}

fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let slips_max = word.chars().count() / CHARS_PER_SLIP;
    known
        .map(|known| (strsim::damerau_levenshtein(&known.to_lowercase(), &word), known))
        .filter(|(slips, _)| *slips <= slips_max)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, known)| known)
}

/// An audience in words: `the tags vip, new, less others`.
async fn named(gateway: &Gateway, audience: &Audience) -> AppResult<String> {
    let mut parts = vec![];
    if audience.all {
        parts.push("everyone in the workspace".to_owned());
    }
    if !audience.tags.is_empty() {
        let tags: Vec<String> = audience.tags.iter().cloned().collect();
        parts.push(list("tag", &tags));
    }
    if !audience.segment_ids.is_empty() {
        let ids: Vec<Uuid> = audience.segment_ids.iter().map(|id| id.0).collect();
        let found = gateway.bus.load_many::<Segment>(&ids).await?;
        let of = |id: &Uuid| found.get(id).map(|loaded| loaded.aggregate.name.clone());
        let segments: Vec<String> = ids.iter().filter_map(of).collect();
        parts.push(list("segment", &segments));
    }
    if !audience.contact_ids.is_empty() {
        parts.push("contacts named by id".to_owned());
    }
    if audience.exclude.is_some() {
        parts.push("less whom it excludes".to_owned());
    }
    Ok(parts.join(", "))
}

fn list(what: &str, names: &[String]) -> String {
    let shown = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    let more = names.len().saturating_sub(NAMED);
    let plural = if names.len() == 1 { "" } else { "s" };
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("the {what}{plural} {shown}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_spelt_much_alike_is_proposed() {
        let known = ["city", "company", "birthday"];
        assert_eq!(nearest("ctiy", known.into_iter()), Some("city"));
        assert_eq!(nearest("Birtday", known.into_iter()), Some("birthday"));
        assert_eq!(nearest("cmpny", known.into_iter()), None);
        assert_eq!(nearest("shoe size", known.into_iter()), None);
        assert_eq!(nearest("vpi", ["new", "vip"].into_iter()), Some("vip"));
        assert_eq!(nearest("a", ["b"].into_iter()), None);
    }

    #[test]
    fn a_long_list_is_cut() {
        let names: Vec<String> = (1..=7).map(|n| format!("t{n}")).collect();
        assert_eq!(list("tag", &names), "the tags t1, t2, t3, t4, t5 and 2 more");
        assert_eq!(list("segment", &names[..1]), "the segment t1");
    }
}
