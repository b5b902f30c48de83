//! What an error of the Cloud API means: a code and the way it came in, turned into plain data that says what becomes
//! of the message and what has to pause. The rows are in `error_table`; here is how they are read, and the rules for
//! codes that nobody has seen yet (reference: sections 5.1 and 5.7).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error_table::{ErrorRow, row_of};
use super::usage::Usage;
use super::wire::response::ErrorBody;

/// The classes of the reference's section 5.1, any number of them together.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Class(u16);

impl Class {
    /// Not about a message that was sent.
    pub const NONE: Self = Self(0);
    /// P: permanent for this message.
    pub const PERMANENT: Self = Self(1);
    /// F: permanent until a person or the configuration fixes something.
    pub const FIX_FIRST: Self = Self(1 << 1);
    /// B: rejected before acceptance; the same message may go later.
    pub const BEFORE_ACCEPTANCE: Self = Self(1 << 2);
    /// U: the outcome is unknown.
    pub const UNKNOWN: Self = Self(1 << 3);
    /// R: pause this recipient on this number.
    pub const PAIR: Self = Self(1 << 4);
    /// O: no more of this category to this recipient.
    pub const SUPPRESS: Self = Self(1 << 5);
    /// N: pause the number.
    pub const NUMBER: Self = Self(1 << 6);
    /// W: pause the WABA (or the app's calls).
    pub const ACCOUNT: Self = Self(1 << 7);
    /// A: stop the account until a new token works.
    pub const CREDENTIAL: Self = Self(1 << 8);
    /// T: stop the template.
    pub const TEMPLATE: Self = Self(1 << 9);

    /// Both.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is in here.
    pub const fn has(self, other: Self) -> bool {
        other.0 != 0 && self.0 & other.0 == other.0
    }
}

/// The reference's letters, `RB`.
impl std::fmt::Debug for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let letters = ["P", "F", "B", "U", "R", "O", "N", "W", "A", "T"];
        let mine = letters.iter().enumerate().filter(|(bit, _)| self.0 & (1 << bit) != 0);
        f.write_str(&mine.map(|(_, letter)| *letter).collect::<String>())
    }
}

/// How an error came in. It decides what is known: an answer may leave the outcome open, a `failed` status never does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorPath {
    /// The answer to a call.
    Answer,
    /// A `failed` status: the message was accepted and not delivered.
    FailedStatus,
    /// `value.errors`: about the number, not about a message.
    Number,
}

/// What the same code may depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorContext {
    /// The message's medium was given by link, which Meta fetches itself.
    pub by_link: bool,
    /// It went to `/marketing_messages`.
    pub marketing_endpoint: bool,
}

/// How waits between tries grow. Jitter is the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    pub first_seconds: u64,
    /// Each wait is this many times the one before.
    pub factor: u32,
    pub max_seconds: u64,
}

impl Backoff {
    /// For what the reference gives no wait for.
    pub const DEFAULT: Self = Self { first_seconds: 30, factor: 2, max_seconds: 3600 };

    /// The wait after `failures` tries in a row that failed so, counting from 1.
    pub fn wait(&self, failures: u32) -> Duration {
        let growth = u64::from(self.factor).saturating_pow(failures.saturating_sub(1));
        Duration::from_secs(self.first_seconds.saturating_mul(growth).min(self.max_seconds))
    }
}

/// What becomes of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fate", rename_all = "snake_case")]
pub enum MessageFate {
    /// It failed: the same message will not go, ever.
    Permanent,
    /// It was not sent (or not delivered), and the same message may go after a wait.
    RetryLater {
        backoff: Backoff,
        /// At most this many more tries; `None` leaves the limit to the caller.
        retries_max: Option<u32>,
    },
    /// It was not sent, nothing is wrong with it, and it may go once what is paused or stopped goes on.
    AfterRemedy,
    /// It may have been sent. Never to be repeated blindly.
    Unknown,
    /// The error is not about a message.
    NotAboutAMessage,
}

/// For how long something stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// `None`: until a person, or a webhook of Meta, ends it.
    pub seconds: Option<u64>,
}

/// Why a template stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TemplateStop {
    /// Until Meta reports it approved again.
    UntilUnpaused,
    /// Until a person put right what the remedy says.
    UntilFixed,
    /// It will never go again.
    ForGood,
}

/// What a person does not get any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SuppressionScope {
    Marketing,
    Everything,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppression {
    pub scope: SuppressionScope,
    /// `None`: until the person (an opt-in, a `resume`) or an operator lifts it.
    pub seconds: Option<u64>,
}

/// What follows from an error. Plain data, for whoever decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consequence {
    pub code: Option<i64>,
    /// In a few words, ours: free of anybody's data, fit for logs and events.
    pub title: String,
    /// What a person can do, in a sentence.
    pub remedy: String,
    pub message: MessageFate,
    /// This recipient on this number rests.
    pub pair: Option<Pause>,
    /// The number rests.
    pub number: Option<Pause>,
    /// Every number of the WABA rests.
    pub waba: Option<Pause>,
    /// Every call of the app rests.
    pub app: Option<Pause>,
    /// The credential does not work: nothing goes until there is a new one.
    pub account_stop: bool,
    pub template: Option<TemplateStop>,
    pub suppress: Option<Suppression>,
    /// Someone has to do something before this gets better.
    pub needs_person: bool,
    /// The code is in the table.
    pub known: bool,
}

impl Consequence {
    /// Of a code that came in on `path`.
    pub fn of_code(code: i64, path: ErrorPath, context: ErrorContext) -> Self {
        match row_of(code) {
            Some(row) => Self::of_row(code, row, path, context),
            None => Self::of_unlisted(Some(code), path),
        }
    }

    /// Of an answer with an error in it. `http_status` counts only where the code is not listed.
    pub fn of_answer(
        http_status: u16,
        body: &ErrorBody,
        usage: &Usage,
        context: ErrorContext,
    ) -> Self {
        let mut consequence = Self::of_code(body.code, ErrorPath::Answer, context);
        let vague = http_status >= 500 || body.is_transient == Some(true);
        if !consequence.known && vague {
            consequence.message = MessageFate::Unknown;
            consequence.remedy = UNKNOWN_OUTCOME_REMEDY.to_owned();
        }
        consequence.wait_for(usage);
        consequence
    }

    /// Of HTTP 429 without an error in its body.
    pub fn of_throttled(usage: &Usage) -> Self {
        let mut consequence = Self {
            title: "WhatsApp asks to slow down".to_owned(),
            remedy: "Nothing to do: the gateway waits and goes on by itself.".to_owned(),
            message: MessageFate::RetryLater { backoff: THROTTLED_BACKOFF, retries_max: None },
            number: Some(Pause { seconds: Some(THROTTLED_BACKOFF.first_seconds) }),
            needs_person: false,
            ..Self::of_unlisted(None, ErrorPath::Answer)
        };
        consequence.wait_for(usage);
        consequence
    }

    fn of_row(code: i64, row: &ErrorRow, path: ErrorPath, context: ErrorContext) -> Self {
        let class = row.class;
        let pause = Pause { seconds: row.pause_seconds };
        let account = class.has(Class::ACCOUNT).then_some(pause);
        let pair = Pause { seconds: row.backoff.map(|backoff| backoff.first_seconds) };
        let waits = [Class::BEFORE_ACCEPTANCE, Class::UNKNOWN].iter().any(|it| class.has(*it));
        let ends_by_itself =
            [Class::PERMANENT, Class::SUPPRESS, Class::PAIR].iter().any(|it| class.has(*it));
        Self {
            code: Some(code),
            title: row.title.to_owned(),
            remedy: row.remedy.to_owned(),
            message: message_fate(code, row, path, context),
            pair: class.has(Class::PAIR).then_some(pair),
            number: class.has(Class::NUMBER).then_some(pause),
            waba: account.filter(|_| !row.app_wide),
            app: account.filter(|_| row.app_wide),
            account_stop: class.has(Class::CREDENTIAL),
            template: row.template_stop,
            suppress: row.suppression,
            needs_person: class != Class::NONE
                && (!waits && !ends_by_itself || row.template_stop.is_some())
                && row.template_stop != Some(TemplateStop::UntilUnpaused),
            known: true,
        }
    }

    /// Of a code that is not listed: permanent, since what cannot be understood should not be repeated.
    fn of_unlisted(code: Option<i64>, path: ErrorPath) -> Self {
        Self {
            code,
            title: match code {
                Some(code) => format!(
                    "WhatsApp refused it with code {code}, which this version does not know"
                ),
                None => "WhatsApp refused it without a reason".to_owned(),
            },
            remedy: "Look the code up in Meta's list of error codes.".to_owned(),
            message: match path {
                ErrorPath::Answer | ErrorPath::FailedStatus => MessageFate::Permanent,
                ErrorPath::Number => MessageFate::NotAboutAMessage,
            },
            pair: None,
            number: None,
            waba: None,
            app: None,
            account_stop: false,
            template: None,
            suppress: None,
            needs_person: true,
            known: false,
        }
    }

    /// Waits at least as long as the usage headers say that access takes to come back.
    fn wait_for(&mut self, usage: &Usage) {
        let Some(regain) =
            usage.regain_access().map(|wait| wait.as_secs()).filter(|wait| *wait > 0)
        else {
            return;
        };
        for pause in [&mut self.app, &mut self.waba].into_iter().flatten() {
            pause.seconds = pause.seconds.map(|seconds| seconds.max(regain));
        }
        let is_paused = self.app.is_some() || self.waba.is_some();
        if let MessageFate::RetryLater { backoff, .. } = &mut self.message
            && is_paused
        {
            backoff.first_seconds = backoff.first_seconds.max(regain);
            backoff.max_seconds = backoff.max_seconds.max(regain);
        }
    }

    /// For people: the title, the code and the remedy.
    pub fn explanation(&self) -> String {
        match self.code {
            Some(code) => format!("{} ({code}). {}", self.title, self.remedy),
            None => format!("{}. {}", self.title, self.remedy),
        }
    }

    /// Whether sending the same message again later may work.
    pub fn is_retryable(&self) -> bool {
        matches!(self.message, MessageFate::RetryLater { .. } | MessageFate::AfterRemedy)
    }
}

/// After a 429 that says nothing else.
const THROTTLED_BACKOFF: Backoff = Backoff { first_seconds: 1, factor: 2, max_seconds: 60 };

const UNKNOWN_OUTCOME_REMEDY: &str = "The message may have gone out. It is settled by its status, or by the account's in-doubt policy.";

/// On the marketing endpoint an invalid parameter may only mean that the advertising account is not synchronised yet.
const INVALID_PARAMETER: i64 = 131_009;

fn message_fate(code: i64, row: &ErrorRow, path: ErrorPath, context: ErrorContext) -> MessageFate {
    let class = row.class;
    let backoff = row.backoff.unwrap_or(Backoff::DEFAULT);
    let retries = |count: u32| MessageFate::RetryLater { backoff, retries_max: Some(count) };
    if path == ErrorPath::Number || class == Class::NONE {
        return MessageFate::NotAboutAMessage;
    }
    if context.by_link && row.link_retries > 0 {
        return retries(row.link_retries);
    }
    if code == INVALID_PARAMETER && context.marketing_endpoint {
        return retries(1);
    }
    if class.has(Class::UNKNOWN) {
        return match path {
            ErrorPath::FailedStatus if row.async_retries > 0 => retries(row.async_retries),
            ErrorPath::FailedStatus => MessageFate::Permanent,
            ErrorPath::Answer | ErrorPath::Number => MessageFate::Unknown,
        };
    }
    if class.has(Class::PERMANENT) || class.has(Class::SUPPRESS) || row.message_is_lost {
        return MessageFate::Permanent;
    }
    if class.has(Class::BEFORE_ACCEPTANCE) || class.has(Class::PAIR) {
        return MessageFate::RetryLater { backoff, retries_max: None };
    }
    // What was accepted and then dropped is gone; what was refused waits for the remedy.
    match path {
        ErrorPath::FailedStatus => MessageFate::Permanent,
        ErrorPath::Answer | ErrorPath::Number => MessageFate::AfterRemedy,
    }
}

/// A refusal, as WhatsApp gave it. Everything but the three texts is free of personal data; they may quote what was
/// sent, are for whoever may see the message, and are left out of `Debug` and `Display`.
#[derive(Clone, PartialEq)]
pub struct GraphError {
    pub http_status: u16,
    /// `None` for an HTTP 429 that says nothing.
    pub code: Option<i64>,
    pub subcode: Option<i64>,
    /// Meta's title.
    pub message: Option<String>,
    /// Meta's details; on template calls its text for people.
    pub details: Option<String>,
    /// Meta's title for people, on template calls.
    pub user_title: Option<String>,
    /// For Meta's support.
    pub trace_id: Option<String>,
    pub consequence: Consequence,
    pub usage: Usage,
}

impl GraphError {
    /// Of an error body.
    pub fn of_answer(
        http_status: u16,
        body: ErrorBody,
        usage: Usage,
        context: ErrorContext,
    ) -> Self {
        Self {
            http_status,
            code: Some(body.code),
            subcode: body.error_subcode,
            details: body.details().map(str::to_owned),
            consequence: Consequence::of_answer(http_status, &body, &usage, context),
            message: body.message,
            user_title: body.error_user_title,
            trace_id: body.fbtrace_id,
            usage,
        }
    }

    /// Of a 429 without an error body.
    pub fn throttled(usage: Usage) -> Self {
        Self {
            http_status: 429,
            code: None,
            subcode: None,
            message: None,
            details: None,
            user_title: None,
            trace_id: None,
            consequence: Consequence::of_throttled(&usage),
            usage,
        }
    }

    /// The subcode's title where that is listed (template creation answers code 100 and says more in the subcode).
    pub fn title(&self) -> &str {
        self.subcode.and_then(row_of).map_or(self.consequence.title.as_str(), |row| row.title)
    }
}

impl std::fmt::Display for GraphError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.code, self.subcode) {
            (Some(code), Some(subcode)) => write!(f, "{} (code {code}, {subcode})", self.title()),
            (Some(code), None) => write!(f, "{} (code {code})", self.title()),
            (None, _) => write!(f, "{} (HTTP {})", self.title(), self.http_status),
        }
    }
}

impl std::fmt::Debug for GraphError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GraphError")
            .field("http_status", &self.http_status)
            .field("code", &self.code)
            .field("subcode", &self.subcode)
            .field("trace_id", &self.trace_id)
            .field("message", &self.consequence.message)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for GraphError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(code: i64) -> Consequence {
        Consequence::of_code(code, ErrorPath::Answer, ErrorContext::default())
    }

    fn failed(code: i64) -> Consequence {
        Consequence::of_code(code, ErrorPath::FailedStatus, ErrorContext::default())
    }

    fn body(code: i64, is_transient: bool) -> ErrorBody {
        ErrorBody { is_transient: Some(is_transient), ..ErrorBody::new(code, "x") }
    }

    #[test]
    fn the_pair_limit_pauses_the_pair_and_waits_by_powers_of_four() {
        let consequence = answered(131_056);
        assert_eq!(consequence.pair, Some(Pause { seconds: Some(1) }));
        assert!(consequence.number.is_none() && !consequence.needs_person);
        let MessageFate::RetryLater { backoff, retries_max: None } = consequence.message else {
            panic!()
        };
        assert_eq!([1, 2, 3, 4].map(|n| backoff.wait(n).as_secs()), [1, 4, 16, 64]);
        assert_eq!(backoff.wait(99).as_secs(), 3600);
    }

    #[test]
    fn throughput_pauses_the_number_and_the_spam_limit_stops_it_until_a_person_resumes_it() {
        let throughput = answered(130_429);
        assert_eq!(throughput.number, Some(Pause { seconds: Some(1) }));
        assert!(throughput.is_retryable() && !throughput.needs_person);
        let spam = answered(131_048);
        assert_eq!(spam.number, Some(Pause { seconds: None }));
        assert_eq!(spam.message, MessageFate::AfterRemedy);
        assert!(spam.needs_person);
        assert_eq!(failed(131_048).message, MessageFate::Permanent);
    }

    #[test]
    fn a_credential_problem_stops_the_account_and_keeps_the_message() {
        for code in [0, 190, 10, 200, 294] {
            let consequence = answered(code);
            assert!(consequence.account_stop && consequence.needs_person, "{code}");
            assert_eq!(consequence.message, MessageFate::AfterRemedy, "{code}");
        }
    }

    #[test]
    fn an_opt_out_lasts_until_the_person_takes_it_back_and_the_frequency_cap_a_day() {
        let opted_out = failed(131_050);
        let forever = Suppression { scope: SuppressionScope::Marketing, seconds: None };
        assert_eq!(opted_out.suppress, Some(forever));
        let capped = failed(131_049);
        assert_eq!(capped.suppress, Some(Suppression { seconds: Some(86_400), ..forever }));
        for consequence in [opted_out, capped] {
            assert_eq!(consequence.message, MessageFate::Permanent);
            assert!(!consequence.needs_person);
        }
        assert_eq!(failed(131_026).suppress.unwrap().scope, SuppressionScope::Everything);
    }

    #[test]
    fn a_paused_template_stops_and_what_was_refused_waits_while_what_was_held_is_lost() {
        assert_eq!(answered(132_015).message, MessageFate::AfterRemedy);
        assert_eq!(failed(132_015).message, MessageFate::Permanent);
        assert_eq!(answered(132_015).template, Some(TemplateStop::UntilUnpaused));
        assert_eq!(answered(132_016).template, Some(TemplateStop::ForGood));
        assert_eq!(answered(132_001).message, MessageFate::Permanent);
    }

    #[test]
    fn an_unknown_outcome_is_known_once_it_comes_as_a_failed_status() {
        assert_eq!(answered(131_000).message, MessageFate::Unknown);
        let MessageFate::RetryLater { retries_max: Some(1), .. } = failed(131_000).message else {
            panic!()
        };
        assert_eq!(answered(131_057).number, Some(Pause { seconds: Some(180) }));
    }

    #[test]
    fn a_medium_by_link_is_worth_another_try_and_an_uploaded_one_is_not() {
        assert_eq!(failed(131_053).message, MessageFate::Permanent);
        let by_link = ErrorContext { by_link: true, ..ErrorContext::default() };
        let consequence = Consequence::of_code(131_053, ErrorPath::FailedStatus, by_link);
        assert!(matches!(
            consequence.message,
            MessageFate::RetryLater { retries_max: Some(2), .. }
        ));
        let marketing = ErrorContext { marketing_endpoint: true, ..ErrorContext::default() };
        assert_eq!(answered(131_009).message, MessageFate::Permanent);
        assert!(Consequence::of_code(131_009, ErrorPath::Answer, marketing).is_retryable());
    }

    #[test]
    fn account_trouble_pauses_the_account_and_the_apps_budget_the_app() {
        assert_eq!(answered(368).waba, Some(Pause { seconds: None }));
        assert_eq!(answered(131_042).message, MessageFate::AfterRemedy);
        let budget = answered(4);
        assert_eq!((budget.waba, budget.app), (None, Some(Pause { seconds: Some(300) })));
        let usage = Usage::parse(
            Some(r#"{"1":[{"type":"x","estimated_time_to_regain_access":20}]}"#),
            None,
        );
        let budget = Consequence::of_answer(400, &body(4, false), &usage, ErrorContext::default());
        assert_eq!(budget.app, Some(Pause { seconds: Some(1200) }));
        let MessageFate::RetryLater { backoff, .. } = budget.message else { panic!() };
        assert_eq!(backoff.wait(1).as_secs(), 1200);
    }

    #[test]
    fn a_code_that_nobody_knows_is_permanent_unless_the_answer_is_vague() {
        let of = |status, transient| {
            Consequence::of_answer(
                status,
                &body(999_999, transient),
                &Usage::default(),
                ErrorContext::default(),
            )
        };
        assert_eq!(of(400, false).message, MessageFate::Permanent);
        assert_eq!(of(400, true).message, MessageFate::Unknown);
        assert_eq!(of(500, false).message, MessageFate::Unknown);
        assert!(!of(400, false).known);
        let known = Consequence::of_answer(
            500,
            &body(131_045, true),
            &Usage::default(),
            ErrorContext::default(),
        );
        assert_eq!(known.message, MessageFate::AfterRemedy);
        let throttled = Consequence::of_throttled(&Usage::default());
        assert!(throttled.is_retryable() && throttled.number.is_some());
    }

    #[test]
    fn an_error_of_a_number_is_about_no_message() {
        let consequence = Consequence::of_code(130_429, ErrorPath::Number, ErrorContext::default());
        assert_eq!(consequence.message, MessageFate::NotAboutAMessage);
        assert!(consequence.number.is_some());
    }

    #[test]
    fn errors_print_no_text_of_metas_and_name_the_subcode() {
        let body = ErrorBody {
            error_subcode: Some(2_388_299),
            error_user_msg: Some("+447700900123".to_owned()),
            ..ErrorBody::new(100, "+447700900123")
        };
        let error = GraphError::of_answer(400, body, Usage::default(), ErrorContext::default());
        assert!(!format!("{error} {error:?}").contains("4477"));
        assert_eq!(
            error.to_string(),
            "The template's text begins or ends with a variable (code 100, 2388299)"
        );
        assert_eq!(error.details.as_deref(), Some("+447700900123"));
        let plain = serde_json::to_value(&error.consequence).unwrap();
        assert_eq!(serde_json::from_value::<Consequence>(plain).unwrap(), error.consequence);
    }
}
