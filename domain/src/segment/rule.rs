//! The rule of a segment: a tree of `{all|any|not: […]}` over conditions on one contact. Parsed from JSON with the path
//! of whatever is wrong; decided over facts that somebody else looked up.

use std::cmp::Ordering;

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Map, Value};

use crate::contact::ConsentStatus;
use crate::message::MessageStatus;
use crate::primitives::CampaignId;

const MAX_DEPTH: usize = 8;
const MAX_NODES: usize = 100;
const MAX_TAG_CHARS: usize = 64;
const MAX_KEY_CHARS: usize = 128;
const MAX_VALUE_CHARS: usize = 1_024;

#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    All(Vec<Rule>),
    Any(Vec<Rule>),
    /// None of them holds.
    Not(Vec<Rule>),
    Tag(String),
    Attribute {
        key: String,
        op: AttributeOp,
    },
    /// The general word, not a category's.
    Consent(ConsentStatus),
    /// Any case, `_` or `-`; a language without a region holds for all of its regions.
    Language(String),
    TimeZone(String),
    /// The youngest message to the contact is in this status and of this time. What is `None` is not asked.
    LastMessage {
        status: Option<Outcome>,
        before: Option<DateTime<Utc>>,
        after: Option<DateTime<Utc>>,
    },
    /// The campaign has a message to the contact, in exactly this status, or answered or tapped, where one is given.
    Campaign {
        id: CampaignId,
        status: Option<Outcome>,
    },
}

/// What became of a message: what it is, or what the person did about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Status(MessageStatus),
    Replied,
    Clicked,
}

const REPLIED: &str = "REPLIED";
const CLICKED: &str = "CLICKED";

/// Text is compared as it stands, capitals included.
#[derive(Clone, Debug, PartialEq)]
pub enum AttributeOp {
    Eq(Scalar),
    /// Everything that `Eq` is not: holds for those without the attribute too.
    Ne(Scalar),
    /// Part of the text, or an element of the list.
    Contains(Scalar),
    StartsWith(String),
    Exists,
    Missing,
    Lt(Scalar),
    Lte(Scalar),
    Gt(Scalar),
    Gte(Scalar),
}

/// A value to compare with, as text: `12`, `true`, `2026-11-23`, `Köln`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar(pub String);

/// The youngest message to a contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastMessage {
    pub outcome: MessageOutcome,
    pub at: DateTime<Utc>,
}

/// What is known of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageOutcome {
    pub status: MessageStatus,
    pub is_replied: bool,
    pub is_clicked: bool,
}

impl MessageOutcome {
    fn is(self, asked: Outcome) -> bool {
        match asked {
            Outcome::Status(status) => self.status == status,
            Outcome::Replied => self.is_replied,
            Outcome::Clicked => self.is_clicked,
        }
    }
}

/// What a rule asks about one contact.
pub trait RuleFacts {
    fn has_tag(&self, tag: &str) -> bool;
    /// As [`crate::contact::Contact::attribute`] finds it.
    fn attribute(&self, key: &str) -> Option<&Value>;
    fn consent(&self) -> ConsentStatus;
    fn language(&self) -> Option<&str>;
    fn time_zone(&self) -> Option<&str>;
    fn last_message(&self) -> Option<LastMessage>;
    /// What became of the campaign's message to this contact.
    fn campaign(&self, id: CampaignId) -> Option<MessageOutcome>;
}

/// What is wrong with a rule, and where: `rule.all[0].op`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct RuleError {
    pub field: String,
    pub problem: String,
}

impl RuleError {
    fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}

impl Rule {
    /// # Errors
    /// [`RuleError`] for what is no rule, deeper than 8 levels or larger than 100 nodes.
    pub fn parse(rule: &Value) -> Result<Self, RuleError> {
        parse_rule(rule, "rule", 1, &mut 0)
    }

    pub fn matches(&self, facts: &impl RuleFacts) -> bool {
        match self {
            Self::All(rules) => rules.iter().all(|rule| rule.matches(facts)),
            Self::Any(rules) => rules.iter().any(|rule| rule.matches(facts)),
            Self::Not(rules) => !rules.iter().any(|rule| rule.matches(facts)),
            Self::Tag(tag) => facts.has_tag(tag),
            Self::Attribute { key, op } => {
                op.matches(facts.attribute(key).filter(|value| !value.is_null()))
            }
            Self::Consent(status) => facts.consent() == *status,
            Self::Language(language) => {
                facts.language().is_some_and(|known| is_language(known, language))
            }
            Self::TimeZone(zone) => facts.time_zone() == Some(zone),
            Self::LastMessage { status, before, after } => {
                facts.last_message().is_some_and(|last| {
                    status.is_none_or(|status| last.outcome.is(status))
                        && before.is_none_or(|before| last.at < before)
                        && after.is_none_or(|after| last.at > after)
                })
            }
            Self::Campaign { id, status } => facts
                .campaign(*id)
                .is_some_and(|known| status.is_none_or(|status| known.is(status))),
        }
    }
}

impl AttributeOp {
    /// `value`: the attribute; `None` where the contact has none.
    pub fn matches(&self, value: Option<&Value>) -> bool {
        let ordered = |with: &Scalar, is: fn(Ordering) -> bool| {
            value.and_then(text_of).is_some_and(|text| is(compare(&text, &with.0)))
        };
        match self {
            Self::Exists => value.is_some(),
            Self::Missing => value.is_none(),
            Self::Eq(with) => value.is_some_and(|value| is_equal(value, with)),
            Self::Ne(with) => !value.is_some_and(|value| is_equal(value, with)),
            Self::Contains(part) => match value {
                Some(Value::Array(list)) => list.iter().any(|element| is_equal(element, part)),
                Some(value) => text_of(value).is_some_and(|text| text.contains(&part.0)),
                None => false,
            },
            Self::StartsWith(start) => {
                value.and_then(text_of).is_some_and(|text| text.starts_with(start))
            }
            Self::Lt(with) => ordered(with, Ordering::is_lt),
            Self::Lte(with) => ordered(with, Ordering::is_le),
            Self::Gt(with) => ordered(with, Ordering::is_gt),
            Self::Gte(with) => ordered(with, Ordering::is_ge),
        }
    }
}

fn is_equal(value: &Value, with: &Scalar) -> bool {
    text_of(value).is_some_and(|text| compare(&text, &with.0).is_eq())
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Numbers as numbers, dates as dates, everything else as text. Whole numbers are compared exactly: ids beyond 2^53
/// would otherwise equal their neighbours.
fn compare(a: &str, b: &str) -> Ordering {
    if let (Ok(a), Ok(b)) = (a.trim().parse::<i128>(), b.trim().parse::<i128>()) {
        return a.cmp(&b);
    }
    if let (Some(a), Some(b)) = (number(a), number(b)) {
        return a.total_cmp(&b);
    }
    if let (Some(a), Some(b)) = (date(a), date(b)) {
        return a.cmp(&b);
    }
    a.cmp(b)
}

/// `inf` and `nan` are words here. Adding zero makes -0 and 0 the same.
fn number(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|number| number.is_finite()).map(|number| number + 0.0)
}

/// RFC 3339, or a day, which begins at midnight UTC.
fn date(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    let instant = DateTime::parse_from_rfc3339(text).ok().map(|instant| instant.to_utc());
    instant.or_else(|| Some(text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0)?.and_utc()))
}

fn is_language(known: &str, asked: &str) -> bool {
    let normal = |text: &str| text.trim().replace('_', "-").to_lowercase();
    let (known, asked) = (normal(known), normal(asked));
    known == asked || (!asked.contains('-') && known.split('-').next() == Some(asked.as_str()))
}

const FORMS: &str = "use one of all, any, not, tag, attribute, consent, language, timeZone, lastMessage and campaign";

fn parse_rule(
    value: &Value,
    path: &str,
    depth: usize,
    nodes: &mut usize,
) -> Result<Rule, RuleError> {
    let Some(object) = value.as_object() else {
        return Err(RuleError::new(path, format!("use an object; {FORMS}")));
    };
    *nodes += 1;
    if *nodes > MAX_NODES {
        return Err(RuleError::new(
            path,
            format!("use at most {MAX_NODES} conditions and groups in one rule"),
        ));
    }
    if depth > MAX_DEPTH {
        return Err(RuleError::new(path, format!("nest at most {MAX_DEPTH} levels")));
    }
    let forms = [
        "all",
        "any",
        "not",
        "tag",
        "attribute",
        "consent",
        "language",
        "timeZone",
        "lastMessage",
        "campaign",
    ];
    let mut given = forms.into_iter().filter(|form| object.contains_key(*form));
    let (Some(form), None) = (given.next(), given.next()) else {
        return Err(RuleError::new(path, format!("{FORMS}, one per object")));
    };
    let also: &[&str] = if form == "attribute" { &["op", "value"] } else { &[] };
    known_keys(object, form, also, path)?;
    let inner = &object[form];
    let path_of_form = format!("{path}.{form}");
    let mut group = || parse_group(inner, &path_of_form, depth, nodes);
    match form {
        "all" => Ok(Rule::All(group()?)),
        "any" => Ok(Rule::Any(group()?)),
        "not" => Ok(Rule::Not(group()?)),
        "tag" => Ok(Rule::Tag(words(inner, &path_of_form, MAX_TAG_CHARS)?)),
        "attribute" => {
            let key = words(inner, &path_of_form, MAX_KEY_CHARS)?;
            Ok(Rule::Attribute { key, op: parse_op(object, path)? })
        }
        "consent" => {
            let statuses =
                [ConsentStatus::Unknown, ConsentStatus::OptedIn, ConsentStatus::OptedOut];
            let status =
                statuses.into_iter().find(|status| inner.as_str() == Some(status.as_str()));
            let problem = || RuleError::new(&path_of_form, "use UNKNOWN, OPTED_IN or OPTED_OUT");
            Ok(Rule::Consent(status.ok_or_else(problem)?))
        }
        "language" => Ok(Rule::Language(words(inner, &path_of_form, MAX_TAG_CHARS)?)),
        "timeZone" => {
            let zone = words(inner, &path_of_form, MAX_TAG_CHARS)?;
            if zone.parse::<chrono_tz::Tz>().is_err() {
                return Err(RuleError::new(
                    path_of_form,
                    "use an IANA time zone such as Europe/Berlin",
                ));
            }
            Ok(Rule::TimeZone(zone))
        }
        "lastMessage" => parse_last_message(inner, &path_of_form),
        _ => parse_campaign(inner, &path_of_form),
    }
}

/// A single rule may stand without its brackets.
fn parse_group(
    value: &Value,
    path: &str,
    depth: usize,
    nodes: &mut usize,
) -> Result<Vec<Rule>, RuleError> {
    if value.is_object() {
        return Ok(vec![parse_rule(value, path, depth + 1, nodes)?]);
    }
    let rules = value.as_array().filter(|rules| !rules.is_empty());
    let rules = rules.ok_or_else(|| RuleError::new(path, "use a list of at least one rule"))?;
    rules
        .iter()
        .enumerate()
        .map(|(i, rule)| parse_rule(rule, &format!("{path}[{i}]"), depth + 1, nodes))
        .collect()
}

fn parse_op(object: &Map<String, Value>, path: &str) -> Result<AttributeOp, RuleError> {
    let op = object.get("op").and_then(Value::as_str).unwrap_or_default();
    let value = object.get("value");
    if matches!(op, "exists" | "missing") {
        if value.is_some_and(|value| !value.is_null()) {
            return Err(RuleError::new(
                format!("{path}.value"),
                format!("leave the value out; {op} compares with nothing"),
            ));
        }
        return Ok(if op == "exists" { AttributeOp::Exists } else { AttributeOp::Missing });
    }
    let scalar = || {
        let field = format!("{path}.value");
        let text = value
            .and_then(text_of)
            .ok_or_else(|| RuleError::new(&field, "use text, a number, true or false"))?;
        if text.chars().count() > MAX_VALUE_CHARS {
            return Err(RuleError::new(field, format!("use at most {MAX_VALUE_CHARS} characters")));
        }
        Ok(Scalar(text))
    };
    Ok(match op {
        "eq" => AttributeOp::Eq(scalar()?),
        "ne" => AttributeOp::Ne(scalar()?),
        "contains" => AttributeOp::Contains(scalar()?),
        "starts_with" => AttributeOp::StartsWith(scalar()?.0),
        "lt" => AttributeOp::Lt(scalar()?),
        "lte" => AttributeOp::Lte(scalar()?),
        "gt" => AttributeOp::Gt(scalar()?),
        "gte" => AttributeOp::Gte(scalar()?),
        _ => {
            let ops = "use eq, ne, contains, starts_with, exists, missing, lt, lte, gt or gte";
            return Err(RuleError::new(format!("{path}.op"), ops));
        }
    })
}

fn parse_last_message(value: &Value, path: &str) -> Result<Rule, RuleError> {
    let object = value
        .as_object()
        .ok_or_else(|| RuleError::new(path, "use an object with status, before or after"))?;
    known_keys(object, "status", &["before", "after"], path)?;
    let status = parse_status(object, path)?;
    let (before, after) =
        (parse_instant(object, "before", path)?, parse_instant(object, "after", path)?);
    if status.is_none() && before.is_none() && after.is_none() {
        return Err(RuleError::new(path, "give a status, before or after"));
    }
    Ok(Rule::LastMessage { status, before, after })
}

fn parse_campaign(value: &Value, path: &str) -> Result<Rule, RuleError> {
    let object = value
        .as_object()
        .ok_or_else(|| RuleError::new(path, "use an object with id and status"))?;
    known_keys(object, "id", &["status"], path)?;
    let id = object.get("id").and_then(Value::as_str).and_then(CampaignId::parse);
    let id = id.ok_or_else(|| RuleError::new(format!("{path}.id"), "use a campaign's id"))?;
    Ok(Rule::Campaign { id, status: parse_status(object, path)? })
}

fn parse_status(object: &Map<String, Value>, path: &str) -> Result<Option<Outcome>, RuleError> {
    let Some(value) = object.get("status").filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    let status = || {
        let known =
            MessageStatus::ALL.into_iter().find(|status| value.as_str() == Some(status.as_str()));
        known.map(Outcome::Status)
    };
    let outcome = match value.as_str() {
        Some(REPLIED) => Some(Outcome::Replied),
        Some(CLICKED) => Some(Outcome::Clicked),
        _ => status(),
    };
    let problem = || {
        let names = MessageStatus::ALL.map(MessageStatus::as_str).join(", ");
        RuleError::new(
            format!("{path}.status"),
            format!("use one of {names}, {REPLIED} and {CLICKED}"),
        )
    };
    outcome.map(Some).ok_or_else(problem)
}

fn parse_instant(
    object: &Map<String, Value>,
    key: &str,
    path: &str,
) -> Result<Option<DateTime<Utc>>, RuleError> {
    let Some(value) = object.get(key).filter(|value| !value.is_null()) else { return Ok(None) };
    let instant = value.as_str().and_then(date);
    let problem = || {
        RuleError::new(
            format!("{path}.{key}"),
            "use a time such as 2026-11-23T09:00:00Z or a day such as 2026-11-23",
        )
    };
    instant.map(Some).ok_or_else(problem)
}

fn words(value: &Value, path: &str, max_chars: usize) -> Result<String, RuleError> {
    let text = value
        .as_str()
        .map(str::trim)
        .filter(|text| (1..=max_chars).contains(&text.chars().count()));
    text.map(str::to_owned)
        .ok_or_else(|| RuleError::new(path, format!("use text of 1 to {max_chars} characters")))
}

fn known_keys(
    object: &Map<String, Value>,
    form: &str,
    also: &[&str],
    path: &str,
) -> Result<(), RuleError> {
    match object.keys().find(|key| *key != form && !also.contains(&key.as_str())) {
        Some(key) => {
            let known =
                std::iter::once(form).chain(also.iter().copied()).collect::<Vec<_>>().join(", ");
            let key: String = key.chars().take(MAX_KEY_CHARS).collect();
            Err(RuleError::new(
                format!("{path}.{key}"),
                format!("leave it out; only {known} can stand here"),
            ))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
    use uuid::Uuid;

    struct Ana(Value);

    impl RuleFacts for Ana {
        fn has_tag(&self, tag: &str) -> bool {
            tag == "vip"
        }
        fn attribute(&self, key: &str) -> Option<&Value> {
            self.0.get(key)
        }
        fn consent(&self) -> ConsentStatus {
            ConsentStatus::OptedIn
        }
        fn language(&self) -> Option<&str> {
            Some("de_AT")
        }
        fn time_zone(&self) -> Option<&str> {
            Some("Europe/Vienna")
        }
        fn last_message(&self) -> Option<LastMessage> {
            let outcome =
                MessageOutcome { status: MessageStatus::Read, is_replied: false, is_clicked: true };
            Some(LastMessage { outcome, at: date("2026-11-01").unwrap() })
        }
        fn campaign(&self, id: CampaignId) -> Option<MessageOutcome> {
            let outcome = MessageOutcome {
                status: MessageStatus::Delivered,
                is_replied: true,
                is_clicked: false,
            };
            (id.0 == Uuid::from_u128(9)).then_some(outcome)
        }
    }

    fn ana() -> Ana {
        Ana(json!({
            "city": "Köln", "age": 9, "score": "10.5", "since": "2026-03-01T10:00:00+02:00", "id": "9007199254740993",
            "likes": ["tea", 7], "gone": null, "active": true,
        }))
    }

    fn holds(rule: Value) -> bool {
        Rule::parse(&rule).unwrap().matches(&ana())
    }

    fn attribute(key: &str, op: &str, value: Value) -> bool {
        holds(json!({ "attribute": key, "op": op, "value": value }))
    }

    fn refused(rule: Value) -> String {
        Rule::parse(&rule).unwrap_err().field
    }

    #[test]
    fn groups_combine_their_conditions() {
        assert!(holds(json!({ "all": [{ "tag": "vip" }, { "consent": "OPTED_IN" }] })));
        assert!(!holds(json!({ "all": [{ "tag": "vip" }, { "tag": "new" }] })));
        assert!(holds(json!({ "any": [{ "tag": "new" }, { "timeZone": "Europe/Vienna" }] })));
        assert!(holds(json!({ "not": [{ "tag": "new" }, { "tag": "old" }] })));
        assert!(!holds(json!({ "not": { "tag": "vip" } })));
    }

    #[test]
    fn a_language_without_a_region_holds_for_all_of_them() {
        assert!(holds(json!({ "language": "de" })));
        assert!(holds(json!({ "language": "de-at" })));
        assert!(!holds(json!({ "language": "de_DE" })));
        assert!(!holds(json!({ "language": "d" })));
    }

    #[test]
    fn numbers_compare_as_numbers_and_dates_as_dates() {
        assert!(attribute("age", "lt", json!(10)));
        assert!(attribute("age", "lt", json!("10")));
        assert!(attribute("score", "gte", json!(10.50)));
        assert!(attribute("since", "lt", json!("2026-03-01T08:00:01Z")));
        assert!(attribute("since", "gt", json!("2026-03-01")));
        assert!(attribute("city", "gt", json!("Berlin")));
        assert!(attribute("id", "ne", json!("9007199254740992")));
        assert!(attribute("active", "eq", json!(true)));
    }

    #[test]
    fn text_is_compared_as_it_stands() {
        assert!(attribute("city", "eq", json!("Köln")));
        assert!(!attribute("city", "eq", json!("köln")));
        assert!(attribute("city", "contains", json!("öl")));
        assert!(attribute("city", "starts_with", json!("K")));
        assert!(attribute("likes", "contains", json!("tea")));
        assert!(attribute("likes", "contains", json!(7)));
    }

    #[test]
    fn a_missing_attribute_is_unequal_to_everything_and_comes_before_nothing() {
        assert!(attribute("street", "ne", json!("x")));
        assert!(!attribute("street", "lt", json!(5)));
        assert!(holds(json!({ "attribute": "gone", "op": "missing" })));
        assert!(holds(json!({ "attribute": "city", "op": "exists" })));
    }

    #[test]
    fn messages_and_campaigns_are_asked_by_status_and_time() {
        assert!(holds(json!({ "lastMessage": { "status": "READ", "before": "2026-11-02" } })));
        assert!(!holds(json!({ "lastMessage": { "after": "2026-11-01T00:00:00Z" } })));
        let id = Uuid::from_u128(9).to_string();
        assert!(holds(json!({ "campaign": { "id": id, "status": "DELIVERED" } })));
        assert!(holds(json!({ "campaign": { "id": id, "status": "REPLIED" } })));
        assert!(!holds(json!({ "campaign": { "id": id, "status": "CLICKED" } })));
        assert!(holds(json!({ "lastMessage": { "status": "CLICKED" } })));
        assert!(!holds(json!({ "lastMessage": { "status": "REPLIED" } })));
        assert!(holds(json!({ "campaign": { "id": id } })));
        assert!(!holds(json!({ "campaign": { "id": Uuid::from_u128(8).to_string() } })));
    }

    #[test]
    fn what_is_no_rule_is_refused_with_its_path() {
        assert_eq!(refused(json!([])), "rule");
        assert_eq!(refused(json!({})), "rule");
        assert_eq!(refused(json!({ "tag": "a", "consent": "UNKNOWN" })), "rule");
        assert_eq!(refused(json!({ "all": [] })), "rule.all");
        assert_eq!(
            refused(json!({ "all": [{ "any": [{ "tag": 5 }] }] })),
            "rule.all[0].any[0].tag"
        );
        assert_eq!(refused(json!({ "attribute": "city", "op": "is" })), "rule.op");
        assert_eq!(refused(json!({ "attribute": "city", "op": "eq" })), "rule.value");
        assert_eq!(
            refused(json!({ "attribute": "city", "op": "exists", "value": 1 })),
            "rule.value"
        );
        assert_eq!(refused(json!({ "consent": "YES" })), "rule.consent");
        assert_eq!(refused(json!({ "timeZone": "Europe/Bonn" })), "rule.timeZone");
        assert_eq!(refused(json!({ "lastMessage": {} })), "rule.lastMessage");
        assert_eq!(
            refused(json!({ "lastMessage": { "status": "SEEN" } })),
            "rule.lastMessage.status"
        );
        assert_eq!(
            refused(json!({ "lastMessage": { "since": "2026" } })),
            "rule.lastMessage.since"
        );
        assert_eq!(refused(json!({ "campaign": { "id": "x" } })), "rule.campaign.id");
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let nested = |levels: usize| {
            (1..levels).fold(json!({ "tag": "a" }), |rule, _| json!({ "not": [rule] }))
        };
        assert!(Rule::parse(&nested(8)).is_ok());
        assert!(Rule::parse(&nested(9)).unwrap_err().problem.contains("8 levels"));
        let wide = |n: usize| json!({ "any": vec![json!({ "tag": "a" }); n] });
        assert!(Rule::parse(&wide(99)).is_ok());
        assert!(Rule::parse(&wide(100)).unwrap_err().problem.contains("100"));
    }

    proptest! {
        #[test]
        fn comparing_turns_around(a in "[0-9.a-z:-]{0,12}", b in "[0-9.a-z:-]{0,12}") {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
        }
    }
}
