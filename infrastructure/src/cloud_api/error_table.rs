//! What each error code of the Cloud API means for a gateway: one row per code (reference: section 5). Titles and
//! remedies are ours and written for people; Meta's own texts change without notice.
//!
//! A new code is a new row here and nowhere else.

use domain::delivery::UNREACHABLE_S;

use super::error::{Backoff, Class, Suppression, SuppressionScope, TemplateStop};

/// One code, or a range of codes that mean the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorRow {
    pub first: i64,
    pub last: i64,
    /// What happened, in a few words.
    pub title: &'static str,
    pub class: Class,
    /// What a person can do about it.
    pub remedy: &'static str,
    /// How long to wait before the same message may go again (class B and R), and how long whatever it pauses pauses.
    pub backoff: Option<Backoff>,
    /// How often to try again when it arrives as a `failed` status, which says that nothing was delivered.
    pub async_retries: u32,
    /// How often to try again when it is about media given by link.
    pub link_retries: u32,
    /// Seconds before the number, account or app may go on by itself; `None` where a person or Meta decides.
    pub pause_seconds: Option<u64>,
    /// The pause is the whole app's.
    pub app_wide: bool,
    /// The message itself is lost although the class names no P: putting things right does not bring it back.
    pub message_is_lost: bool,
    pub template_stop: Option<TemplateStop>,
    pub suppression: Option<Suppression>,
}

const A: Class = Class::CREDENTIAL;
const B: Class = Class::BEFORE_ACCEPTANCE;
const F: Class = Class::FIX_FIRST;
const N: Class = Class::NUMBER;
const O: Class = Class::SUPPRESS;
const P: Class = Class::PERMANENT;
const R: Class = Class::PAIR;
const T: Class = Class::TEMPLATE;
const U: Class = Class::UNKNOWN;
const W: Class = Class::ACCOUNT;
/// Not about a message that was sent.
const NONE: Class = Class::NONE;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Pair limit: 4^x seconds, as Meta asks.
const PAIR_BACKOFF: Backoff = Backoff { first_seconds: 1, factor: 4, max_seconds: HOUR };
/// Throughput: from a second on.
const THROUGHPUT_BACKOFF: Backoff = Backoff { first_seconds: 1, factor: 2, max_seconds: MINUTE };
/// Call budgets refill over minutes.
const BUDGET_BACKOFF: Backoff = Backoff { first_seconds: 5 * MINUTE, factor: 2, max_seconds: HOUR };
/// Seconds that a number in maintenance is left alone.
const MAINTENANCE_SECONDS: u64 = 3 * MINUTE;

const fn row(code: i64, title: &'static str, class: Class, remedy: &'static str) -> ErrorRow {
    rows(code, code, title, class, remedy)
}

const fn rows(
    first: i64,
    last: i64,
    title: &'static str,
    class: Class,
    remedy: &'static str,
) -> ErrorRow {
    ErrorRow {
        first,
        last,
        title,
        class,
        remedy,
        backoff: None,
        async_retries: 0,
        link_retries: 0,
        pause_seconds: None,
        app_wide: false,
        message_is_lost: false,
        template_stop: None,
        suppression: None,
    }
}

impl ErrorRow {
    const fn backoff(self, backoff: Backoff) -> Self {
        Self { backoff: Some(backoff), ..self }
    }

    const fn wait(self, seconds: u64) -> Self {
        self.backoff(Backoff { first_seconds: seconds, factor: 1, max_seconds: seconds })
    }

    const fn pause(self, seconds: u64) -> Self {
        Self { pause_seconds: Some(seconds), ..self }
    }

    const fn async_retries(self, count: u32) -> Self {
        Self { async_retries: count, ..self }
    }

    const fn link_retries(self, count: u32) -> Self {
        Self { link_retries: count, ..self }
    }

    const fn app_wide(self) -> Self {
        Self { app_wide: true, ..self }
    }

    const fn lost(self) -> Self {
        Self { message_is_lost: true, ..self }
    }

    const fn stops_template(self, stop: TemplateStop) -> Self {
        Self { template_stop: Some(stop), ..self }
    }

    const fn suppresses(self, scope: SuppressionScope, seconds: Option<u64>) -> Self {
        Self { suppression: Some(Suppression { scope, seconds }), ..self }
    }
}

const NEW_TOKEN: &str = "Give the account a new access token with whatsapp_business_messaging and \
                         whatsapp_business_management.";
const RETRIED: &str = "Nothing to do: the gateway waits and goes on by itself.";
const UNCLEAR: &str = "The message may have gone out. It is settled by its status, or by the account's in-doubt policy.";
const FIX_CONTENT: &str = "Correct the message and send it anew.";
const REGISTER: &str = "Register the number again (Accounts, Register), then resume it.";
const REFRESH_TEMPLATE: &str = "Refresh the template and check its parameters, then send anew.";
const HUMAN: &str = "Look at WhatsApp Manager; a person has to act there.";
const TEMPLATE_TEXT: &str =
    "Correct the template's text as Meta's message says, then submit it again.";
const NOT_USED: &str = "The gateway does not use this part of the API; look at who called it.";

/// Every code of the reference, singles before the ranges that contain them.
pub const ERROR_TABLE: &[ErrorRow] = &[
    // Authentication, platform and throttling (5.2).
    row(0, "The access token is not valid", A, NEW_TOKEN),
    row(1, "WhatsApp reports an unknown error", U, UNCLEAR).async_retries(1),
    row(2, "WhatsApp is down or overloaded", U, UNCLEAR).async_retries(1),
    row(3, "The token lacks the permission for this call", A, NEW_TOKEN),
    row(4, "The app's call budget is used up", B.and(W), RETRIED)
        .backoff(BUDGET_BACKOFF)
        .pause(5 * MINUTE)
        .app_wide(),
    row(
        10,
        "The token lacks a permission, or one asked-for field needs another",
        A.and(F),
        NEW_TOKEN,
    ),
    row(
        33,
        "The phone number id does not exist or is out of the token's reach",
        F.and(N),
        "Check the phone number id and \
        that the token's user has access to its WhatsApp Business account.",
    ),
    row(100, "A parameter is unsupported, misspelt or too long", P, FIX_CONTENT),
    row(104, "The access token or its proof is missing", A, NEW_TOKEN),
    row(190, "The access token is expired or invalid", A, NEW_TOKEN),
    rows(200, 299, "A permission is missing or was taken away", A, NEW_TOKEN),
    row(368, "The account is restricted for a policy violation", W, HUMAN),
    row(803, "There is no such object", F, "Check the id."),
    row(2500, "There is no such path", F, "Check the configured Graph API version and the id."),
    row(80007, "The WhatsApp Business account's rate limit is reached", B.and(W), RETRIED)
        .backoff(BUDGET_BACKOFF)
        .pause(5 * MINUTE),
    row(80008, "The limit of management calls is reached", B, RETRIED).backoff(BUDGET_BACKOFF),
    row(130429, "The number's messages per second are used up", B.and(N), RETRIED)
        .backoff(THROUGHPUT_BACKOFF)
        .pause(1),
    row(
        131048,
        "Too many of this number's messages were blocked or reported",
        N,
        "Wait for hours or days, look at the \
        number's quality and at who is being written to, then resume it.",
    ),
    row(131056, "Too many messages to the same person", R.and(B), RETRIED).backoff(PAIR_BACKOFF),
    row(
        131064,
        "The messaging limit is reached because templates were put into the wrong category",
        W,
        "Correct the \
        categories of the templates, then resume the account.",
    ),
    row(133016, "Too many registrations of this number", F, "Wait 72 hours.").wait(3 * DAY),
    row(131057, "The number is in maintenance", U.and(N), RETRIED)
        .pause(MAINTENANCE_SECONDS)
        .async_retries(1),
    row(2494100, "The number is in maintenance", U.and(N), RETRIED)
        .pause(MAINTENANCE_SECONDS)
        .async_retries(1),
    // Integrity, billing, eligibility (5.3).
    row(130403, "The business has blocked this person", P.and(O), "Unblock the person first.")
        .suppresses(SuppressionScope::Everything, None),
    row(
        130472,
        "The person is in Meta's marketing experiment",
        P.and(O),
        "Nothing: marketing does not reach this person \
        outside an open conversation.",
    )
    .suppresses(SuppressionScope::Marketing, None),
    row(130497, "The account may not message this country", P, "Leave this country out."),
    row(131005, "Access is denied", A, NEW_TOKEN),
    row(
        131030,
        "A test number may only message its allow-list",
        F,
        "Add the person to the test number's list in \
        WhatsApp Manager.",
    )
    .lost(),
    row(131031, "The account is locked, or data sent with the call does not match", W, HUMAN),
    row(
        131037,
        "The number needs an approved display name",
        N.and(F),
        "Have the display name approved, then resume the \
        number.",
    ),
    row(
        131042,
        "There is a payment problem with the account",
        W,
        "Settle it in WhatsApp Manager (payment method, credit \
        line, currency, time zone), then resume the account.",
    ),
    row(131044, "There is a payment problem with calling", NONE, NOT_USED),
    row(131045, "The number's registration or certificate is broken", N.and(F), REGISTER),
    row(
        134011,
        "The terms of WhatsApp Payments are not accepted",
        F,
        "Accept them in WhatsApp Manager.",
    )
    .lost(),
    // Content and recipient (5.4).
    row(131000, "WhatsApp reports an unknown failure", U, UNCLEAR).async_retries(1),
    row(131008, "A required parameter is missing", P, FIX_CONTENT),
    row(131009, "A parameter's value is invalid", P, FIX_CONTENT).wait(10 * MINUTE),
    row(131016, "WhatsApp is temporarily unavailable", U, UNCLEAR).async_retries(1),
    row(131020, "The group has no other member", P, FIX_CONTENT),
    row(
        131021,
        "Sender and recipient are the same number",
        P,
        "Remove the business's own number from the audience.",
    ),
    row(
        131026,
        "The message cannot be delivered to this person",
        P.and(O),
        "The person may have no WhatsApp, an old app, \
        or have blocked the business; it may work another day.",
    )
    .suppresses(SuppressionScope::Everything, Some(UNREACHABLE_S as u64)),
    row(131041, "There is no such group", P, FIX_CONTENT),
    row(
        131043,
        "The message expired before it could be delivered",
        P,
        "Send it anew if it still matters.",
    ),
    row(
        131047,
        "The service window is closed",
        P,
        "Send a template, or wait until the person writes.",
    ),
    row(
        131049,
        "Meta did not deliver it, to protect the person from too much marketing",
        O,
        "Wait at least 24 hours \
        before sending this person marketing again.",
    )
    .suppresses(SuppressionScope::Marketing, Some(DAY)),
    row(
        131050,
        "The person stopped marketing messages of this business",
        O,
        "Nothing: the opt-out holds until the person \
        takes it back.",
    )
    .suppresses(SuppressionScope::Marketing, None),
    row(131051, "The message type is not supported", P, FIX_CONTENT),
    row(
        131052,
        "The medium sent by the person could not be fetched",
        NONE,
        "Ask the person to send it again.",
    ),
    row(
        131053,
        "The medium could not be fetched or processed",
        P,
        "Check its type, its size and its link; best upload \
        it.",
    )
    .link_retries(2)
    .wait(30),
    row(
        131055,
        "This endpoint takes marketing templates only",
        P,
        "Send it as an ordinary message.",
    ),
    row(
        131059,
        "A page's cursor is not valid any more",
        NONE,
        "Nothing to do: the list is read from its start.",
    ),
    row(
        131060,
        "The content can only be seen in the WhatsApp Business app",
        NONE,
        "Look at the app.",
    ),
    row(
        131061,
        "A template with a maximum price needs the marketing endpoint",
        P,
        "Remove the maximum price or use the \
        marketing endpoint.",
    ),
    row(
        131062,
        "This message cannot go to a user id",
        P,
        "Authentication codes need the person's phone number.",
    ),
    row(
        131063,
        "Marketing templates are switched off for this account's Cloud API",
        F,
        "Switch them on in WhatsApp \
        Manager, then resume the campaign.",
    )
    .stops_template(TemplateStop::UntilFixed),
    rows(131201, 131215, "A group operation failed", NONE, NOT_USED),
    row(135000, "The parameters of the request are wrong", P, FIX_CONTENT),
    row(
        137000,
        "The person's identity is not the expected one",
        P.and(R),
        "Make sure in another way that the number is \
        still this person's.",
    ),
    // Templates and flows (5.5).
    row(132000, "The number of values differs from the template's variables", P, REFRESH_TEMPLATE),
    row(
        132001,
        "There is no such approved template in this language",
        P.and(T),
        "Check name and language; a template that \
        was approved just now may take minutes.",
    )
    .stops_template(TemplateStop::UntilFixed),
    row(132005, "The text is too long once filled in", P, "Shorten the values."),
    row(
        132007,
        "The template's content violates WhatsApp's policy",
        P.and(T),
        "Change the template.",
    )
    .stops_template(TemplateStop::ForGood),
    row(132008, "A value is invalid for its variable", P, REFRESH_TEMPLATE),
    row(132012, "A value's format differs from the template", P, REFRESH_TEMPLATE),
    row(
        132015,
        "The template is paused for low quality",
        T,
        "Wait until Meta unpauses it, and improve it meanwhile.",
    )
    .stops_template(TemplateStop::UntilUnpaused),
    row(132016, "The template is disabled for good", P.and(T), "Create another template.")
        .stops_template(TemplateStop::ForGood),
    row(
        132018,
        "A value has a form that templates do not take",
        P,
        "Remove line breaks, tabs and runs of spaces from \
        the values.",
    ),
    row(132068, "The flow is blocked", F, "Correct the flow in WhatsApp Manager.")
        .stops_template(TemplateStop::UntilFixed),
    row(132069, "The flow is throttled to ten messages an hour", B, RETRIED).wait(HOUR),
    row(
        134100,
        "This endpoint takes marketing templates only",
        P,
        "Send it as an ordinary message.",
    ),
    row(134101, "The template is still being synchronised for marketing", B, RETRIED)
        .wait(10 * MINUTE),
    row(
        134102,
        "The template cannot be used on the marketing endpoint",
        F,
        "Send it as an ordinary message.",
    )
    .stops_template(TemplateStop::UntilFixed),
    rows(139000, 139006, "A flow operation failed", NONE, "Look at the flow in WhatsApp Manager."),
    row(
        2388019,
        "The account has as many templates as it may",
        F,
        "Delete templates that are not used.",
    ),
    row(2388039, "The template's buttons do not go together", P, TEMPLATE_TEXT),
    row(2388040, "A part of the template is too long", P, TEMPLATE_TEXT),
    row(2388047, "The template's header has a form that is not allowed", P, TEMPLATE_TEXT),
    row(2388072, "The template's body has a form that is not allowed", P, TEMPLATE_TEXT),
    row(2388073, "The template's footer has a form that is not allowed", P, TEMPLATE_TEXT),
    row(2388293, "The template has too many variables for its text", P, TEMPLATE_TEXT),
    row(2388299, "The template's text begins or ends with a variable", P, TEMPLATE_TEXT),
    rows(
        200005,
        200007,
        "Template insights are not available",
        NONE,
        "Switch them on in WhatsApp Manager.",
    ),
    row(141002, "The template is not approved", NONE, "Wait for its approval."),
    row(141006, "There is a payment problem", NONE, "Settle it in WhatsApp Manager."),
    row(1752041, "Marketing messages are already being set up", NONE, "Nothing to do."),
    // Registration and numbers (5.6).
    row(
        133000,
        "An earlier deregistration is incomplete",
        F,
        "Deregister the number again, then register it.",
    ),
    rows(133001, 133003, "The registration failed", F, REGISTER),
    row(133004, "WhatsApp's registration server is unavailable", U.and(B), RETRIED)
        .wait(5 * MINUTE)
        .async_retries(1),
    row(
        133005,
        "The two-step PIN is wrong",
        F,
        "Enter the number's own PIN; every wrong guess brings the lock nearer.",
    ),
    row(133006, "The number has to be verified first", F, "Verify it in WhatsApp Manager."),
    row(133007, "The registration failed", F, REGISTER),
    row(133008, "Too many wrong PINs", F, "Wait as long as Meta's message says."),
    row(133009, "The PIN was entered too fast", B, "Wait a few minutes, then try once more.")
        .wait(5 * MINUTE),
    row(133010, "The number is not registered", N.and(F), REGISTER),
    row(133015, "The number was deleted moments ago", B, "Wait five minutes, then register it.")
        .wait(5 * MINUTE),
    row(136024, "The verification code could not be requested", F, HUMAN),
    row(136025, "The verification code is wrong or was tried too often", F, HUMAN),
    rows(138000, 138018, "A call failed", NONE, NOT_USED),
    rows(
        139100,
        139103,
        "Not everyone could be blocked or unblocked",
        NONE,
        "Look at the people that are left over.",
    ),
    rows(147001, 147005, "The business's username could not be set", F, "Choose another username."),
    row(2388001, "The number cannot be moved", F, HUMAN),
    row(2388012, "The number cannot be moved", F, HUMAN),
    row(2388091, "The number cannot be moved", F, HUMAN),
    row(2388093, "The number cannot be moved", F, HUMAN),
    row(2388103, "The number cannot be moved", F, HUMAN),
    row(2593079, "The number belongs to another account", F, HUMAN),
    row(2593085, "The number belongs to another account", F, HUMAN),
    rows(2494164, 2494179, "The embedded signup failed", F, HUMAN),
    row(
        2593107,
        "The app's history was already asked for",
        F,
        "Nothing: it can be asked for once.",
    ),
    row(
        2593108,
        "The app's history can only be asked for within 24 hours",
        F,
        "Connect the number anew.",
    ),
    row(
        2593109,
        "The business declined to share the app's history",
        F,
        "Share it in the app, or go without.",
    ),
];

/// The row of a code, where it is a known one.
pub fn row_of(code: i64) -> Option<&'static ErrorRow> {
    ERROR_TABLE.iter().find(|row| (row.first..=row.last).contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every code of the reference's tables, with its classes as printed there. `A/F` and `U / B` are both.
    const REFERENCE: &[(&str, &[i64])] = &[
        ("A", &[0, 3, 104, 190, 200, 210, 299, 131005]),
        ("U", &[1, 2, 131000, 131016]),
        ("BW", &[4, 80007]),
        ("AF", &[10]),
        ("FN", &[33, 131037, 131045, 133010]),
        (
            "P",
            &[
                100, 130497, 131008, 131009, 131020, 131021, 131041, 131043, 131047, 131051,
                131053, 131055, 131061,
            ],
        ),
        ("P", &[131062, 135000, 132000, 132005, 132008, 132012, 132018, 134100]),
        ("P", &[2388039, 2388040, 2388047, 2388072, 2388073, 2388293, 2388299]),
        ("W", &[368, 131031, 131042, 131064]),
        (
            "F",
            &[
                803, 2500, 133016, 131030, 134011, 131063, 132068, 134102, 2388019, 133000, 133001,
                133002, 133003,
            ],
        ),
        (
            "F",
            &[
                133005, 133006, 133007, 133008, 136024, 136025, 147001, 147002, 147003, 147004,
                147005,
            ],
        ),
        (
            "F",
            &[
                2388001, 2388012, 2388091, 2388093, 2388103, 2593079, 2593085, 2593107, 2593108,
                2593109,
            ],
        ),
        ("F", &[2494164, 2494170, 2494179]),
        ("B", &[80008, 132069, 134101, 133009, 133015]),
        ("BN", &[130429]),
        ("N", &[131048]),
        ("RB", &[131056]),
        ("UN", &[131057, 2494100]),
        ("PO", &[130403, 130472, 131026]),
        ("O", &[131049, 131050]),
        ("PR", &[137000]),
        ("PT", &[132001, 132007, 132016]),
        ("T", &[132015]),
        ("UB", &[133004]),
        ("", &[131044, 131052, 131059, 131060, 131201, 131207, 131208, 131215, 139000, 139006]),
        (
            "",
            &[
                200005, 200006, 200007, 141002, 141006, 1752041, 138000, 138018, 139100, 139101,
                139102, 139103,
            ],
        ),
    ];

    fn class_of(letters: &str) -> Class {
        letters.chars().fold(NONE, |class, letter| {
            class.and(match letter {
                'A' => A,
                'B' => B,
                'F' => F,
                'N' => N,
                'O' => O,
                'P' => P,
                'R' => R,
                'T' => T,
                'U' => U,
                'W' => W,
                other => panic!("no class {other}"),
            })
        })
    }

    #[test]
    fn every_code_of_the_reference_is_in_the_table_with_its_classes() {
        for (letters, codes) in REFERENCE {
            for code in *codes {
                let row = row_of(*code).unwrap_or_else(|| panic!("code {code} is missing"));
                assert_eq!(row.class, class_of(letters), "code {code}");
            }
        }
        for unknown in [5, 300, 131999, 200008, -1] {
            assert!(row_of(unknown).is_none(), "{unknown}");
        }
    }

    #[test]
    fn no_code_has_two_rows_and_every_row_says_what_to_do() {
        for (index, row) in ERROR_TABLE.iter().enumerate() {
            assert!(
                row.first <= row.last && !row.title.is_empty() && row.remedy.ends_with('.'),
                "{}",
                row.first
            );
            assert!(!row.remedy.contains("  ") && !row.title.ends_with('.'), "{}", row.first);
            for other in &ERROR_TABLE[index + 1..] {
                assert!(
                    row.last < other.first || other.last < row.first,
                    "{} and {}",
                    row.first,
                    other.first
                );
            }
            let waits = row.class.has(B) || row.class.has(R) && !row.class.has(P);
            assert!(!waits || row.backoff.is_some(), "{} has no backoff", row.first);
            assert_eq!(row.class.has(O), row.suppression.is_some(), "{}", row.first);
            assert!(!row.class.has(T) || row.template_stop.is_some(), "{}", row.first);
        }
    }
}
