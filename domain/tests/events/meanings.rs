//! When each event happens, in a sentence or two: what `docs/events.md` tells people who subscribe to them.

/// Name → when it happens and what to know of it.
pub const MEANINGS: &[(&str, &str)] = &[
    (
        "workspace.created",
        "A workspace was made: a marketer's client, a department. The first start makes \
         `default`.",
    ),
    (
        "workspace.updated",
        "Its name changed, or how large a campaign may be before two have to launch it. Carries \
         both as they are from now on; without `approval_threshold` one is enough.",
    ),
    (
        "workspace.rate_card_updated",
        "What messages cost was written down anew. Carries the whole card: per line the \
         countries (none: every other one), the category as WhatsApp bills it, the amount for \
         one message, and the first day it holds.",
    ),
    (
        "workspace.personal_data_exported",
        "Somebody asked for a file with personal data of this workspace; written before any of it is \
         handed over. No erasure reaches such a file.",
    ),
    (
        "account.connected",
        "A WhatsApp number was connected. Credentials are in the key ring; the event has their \
         names there and fingerprints that tell equal ones.",
    ),
    (
        "account.updated",
        "Settings changed, or WhatsApp told something new of the number. Carries the whole of \
         what can change, as it is from now on.",
    ),
    (
        "account.credentials_rotated",
        "Credentials were replaced. Only those that changed are named.",
    ),
    (
        "account.paused",
        "Nothing is sent from this number any more: somebody paused it, or WhatsApp disabled \
         it. With `until` it goes on by itself then.",
    ),
    (
        "account.restricted",
        "WhatsApp forbids some kinds of sends (templates, replies, utility templates), each until \
         its end; other sends go on. Carries all that is forbidden from now on, nothing where all \
         is allowed again.",
    ),
    ("account.resumed", "A paused number goes on."),
    (
        "account.disconnected",
        "The number was given up, for good. Connecting it again makes another account.",
    ),
    ("account.quality_changed", "WhatsApp's quality rating of the number changed."),
    (
        "account.limit_changed",
        "WhatsApp changed how many people may be reached in a moving 24 h outside service \
         windows. `null`: unlimited.",
    ),
    (
        "account.loop_test_started",
        "Somebody asked for a loop test of the number: what this person writes to it until \
         `expires_at` is answered once. The phone is sealed with the person's own key.",
    ),
    (
        "account.loop_test_received",
        "The person of the loop test wrote. `message_id` is what they wrote, `answer_id` the \
         message that answers it.",
    ),
    ("template.drafted", "A template was written, or found at WhatsApp (then with `whatsapp_id`)."),
    (
        "template.updated",
        "A template's text or category was edited. Carries both as they are from now on.",
    ),
    ("template.submitted", "The template was handed to WhatsApp for review."),
    ("template.approved", "WhatsApp approved it: messages can be sent with it."),
    ("template.rejected", "WhatsApp turned it down, with its reason."),
    ("template.paused", "WhatsApp stopped it for a while, mostly for low quality."),
    ("template.disabled", "WhatsApp stopped it for good."),
    (
        "template.category_changed",
        "WhatsApp moved it to another category, which changes its price and the consent it \
         needs.",
    ),
    ("template.quality_changed", "WhatsApp's quality rating of the template changed."),
    ("template.deleted", "It was deleted, here or at WhatsApp."),
    (
        "contact.added",
        "A person is known from now on: by number, by WhatsApp user id, by an id of your own, or \
         several of them.",
    ),
    (
        "contact.updated",
        "What is known of a person changed. Carries the whole of it, as it is from now on; what \
         is absent is not known.",
    ),
    ("contact.tagged", "Tags were added; only the new ones are named."),
    ("contact.untagged", "Tags were removed; only those that were there are named."),
    (
        "contact.consent_recorded",
        "What a person agreed to was recorded: by you, or because they wrote START. Without \
         `category` it holds for all of them. `given_at` is when they gave it, which may be long \
         before. With `by_person` they said so themself, which takes their stop back. Of what they \
         say themself, what they said last holds, in whichever order it came: where a stop comes \
         after the START that answers it, this follows the stop once more.",
    ),
    (
        "contact.opted_out",
        "The person said stop, or WhatsApp says that they did. Without `category` it holds for \
         all of them and takes back older opt-ins. `said_at` is when they said it, by WhatsApp's \
         clock, where that was before it was read. A consent that you record lifts it only where \
         it was given after it was read.",
    ),
    (
        "contact.start_noted",
        "The person wrote START, or resumed in WhatsApp, and no stop of theirs is on record. It is \
         no consent to anything; it is kept, since a stop that they said before it may still be \
         on its way.",
    ),
    ("contact.merged", "Two entries were one person: this one went into another, which goes on."),
    (
        "contact.absorbed",
        "Other entries were this person too and went into this one: they, and whoever had gone \
         into them before. What is known of any of them is known of the person.",
    ),
    (
        "contact.erased",
        "The person's key was destroyed: all personal data in their events reads as erased from \
         now on, this stream's and their messages'. `suppressions` keeps an opt-out, as keyed \
         hashes that only this gateway can make. Erase your own copies when you see it.",
    ),
    ("segment.created", "A rule over contacts was saved under a name."),
    ("segment.updated", "Its name or rule changed. Carries both as they are from now on."),
    ("segment.deleted", "The segment was deleted. Its contacts stay."),
    (
        "import.started",
        "Bringing in contacts from a file began. With `dry_run` nothing is changed.",
    ),
    (
        "import.progressed",
        "Another stretch of the file is settled. Counts are totals since the start; `errors` are \
         this stretch's own and never quote what stood in a cell. After the first thousand they \
         are left out, which `errors_truncated` says.",
    ),
    ("import.completed", "The file is through, with its final counts."),
    (
        "import.failed",
        "The import stopped. What was taken until then stays; the file can be imported again.",
    ),
    ("import.undone", "The import was taken back, as far as nothing newer stood on it."),
    ("campaign.drafted", "A campaign was planned."),
    ("campaign.updated", "The plan changed. Carries the whole of it, as it is from now on."),
    ("campaign.deleted", "A draft was deleted."),
    (
        "campaign.approval_requested",
        "It was launched, and its audience is larger than one key may launch alone. It stays a \
         draft until another key approves it; a changed plan needs a new launch.",
    ),
    (
        "campaign.approved",
        "Another key said yes to up to `recipients` people. It is scheduled, starts or goes on with this.",
    ),
    (
        "campaign.scheduled",
        "It was launched, to start later; or an occurrence is done and the next one is waited \
         for; or the schedule means another instant now. `start_at` is what the schedule means, \
         `local` the occurrence's time on the wall. At the launch `allowance` is what it allows: it \
         is asked again of every occurrence.",
    ),
    (
        "campaign.started",
        "It runs, and where it comes back, once per occurrence. Contacts added to the log after \
         this event are out of it. `occurrence_start` is when it was meant to start, `local` that \
         time on the wall. `missed` counts earlier occurrences that were passed over, because \
         this one's time had come before they could start. With `allowance` it is the launch too.",
    ),
    (
        "campaign.audience_expanded",
        "One chunk of the audience was judged and frozen; its messages are in the same append. \
         Counts are this chunk's. With `complete` it was the last one.",
    ),
    (
        "campaign.paused",
        "Somebody paused it, or it cannot go on as it is. With `hold` the occurrence that has just \
         started is more than its launch allowed: it waits for somebody's yes, the next one comes \
         all the same. What is with WhatsApp already goes on.",
    ),
    (
        "campaign.resumed",
        "It goes on. `allowed_recipients`: somebody said yes to an occurrence that was held, with \
         up to so many people.",
    ),
    (
        "campaign.completed",
        "Nobody waits any more, and no doubt is left that would still end by itself. Statuses \
         may come in after it.",
    ),
    (
        "campaign.cancelled",
        "It was ended before its time. What had not been handed to WhatsApp is cancelled.",
    ),
    ("message.scheduled", "An outbound message was planned, due later. Becoming due is no event."),
    (
        "message.queued",
        "An outbound message was planned, due now. It may follow `message.skipped`, where a \
         person asked to judge anew (`retryCampaign`): then all of it is as of now.",
    ),
    (
        "message.skipped",
        "A recipient was left out, with the reason: when the message was planned (then with \
         everything known of it), when it fell due, or when a person asked to judge anew and the \
         reason is another one (then without). It stays so unless a person asks to judge anew; \
         then `message.scheduled` or `message.queued` may follow. `detail` names slots and fields, \
         nobody's data.",
    ),
    (
        "message.received",
        "A person wrote. `opens_window`: free-form answers are allowed for 24 h from `at`.",
    ),
    ("message.echoed", "Sent with this number from the WhatsApp Business app, not by the gateway."),
    (
        "message.rescheduled",
        "It is due at another time: somebody chose it, or (`retimed`) what was meant is now another \
         instant, because a zone, a schedule or quiet hours changed.",
    ),
    ("message.cancelled", "It was taken back before it was handed to WhatsApp."),
    ("message.expired", "Its time to live ran out before WhatsApp had accepted it."),
    (
        "message.send_requested",
        "The intent, on disk before the call is made: whoever wrote it holds this attempt until \
         `send_by`.",
    ),
    (
        "message.accepted",
        "WhatsApp answered the call with its own id. That is no delivery. `held`: WhatsApp keeps \
         it back to assess its quality, and sends or drops it later.",
    ),
    (
        "message.send_failed",
        "WhatsApp refused the call, or the call never left: WhatsApp does not have the message. \
         Without `code` it never got there. Where it is tried again, `message.retry_scheduled` \
         follows; where none follows, the message has failed.",
    ),
    (
        "message.retry_scheduled",
        "It is due again: after a refusal that may pass, or because a doubt was settled by \
         sending again.",
    ),
    (
        "message.in_doubt",
        "Nobody knows whether WhatsApp took the call: it timed out, broke, or the gateway was \
         killed. A status settles it; after `grace_until` the account's policy does.",
    ),
    (
        "message.in_doubt_resolved",
        "What nobody knew was settled by the account's policy or a person. `SEND_AGAIN` accepts \
         a possible duplicate.",
    ),
    (
        "message.sent",
        "WhatsApp reports that it left. `wamid` is there only where our call was never answered; \
         `pricing` as WhatsApp sent it.",
    ),
    ("message.delivered", "WhatsApp reports that it is on the phone."),
    (
        "message.read",
        "WhatsApp reports that it was read. Implies delivered, which then may never be reported.",
    ),
    ("message.played", "WhatsApp reports that a voice message was listened to."),
    (
        "message.failed",
        "WhatsApp had accepted it and reports that it could not be delivered. Delivered, read \
         and played go before it, in whatever order they arrive.",
    ),
    (
        "message.replied",
        "The person answered it: what they wrote names it (`quoted`), or is the first they wrote \
         within 72 h with nothing sent to them in between. An answer is of one message only; \
         `reply_id` is the inbound message. A further one of these has an earlier answer.",
    ),
    (
        "message.clicked",
        "The person tapped a button of it, or WhatsApp reports that they followed a link. \
         `label` is the button's text in the template. One for each button.",
    ),
    (
        "message.opted_out",
        "The person wants no more messages, and this is the one they said it to: `reply`, by a \
         word or a button; `preference`, in WhatsApp's settings; `refusal`, there too, as the \
         next send showed. The opt-out itself is `contact.opted_out`.",
    ),
    (
        "api_key.created",
        "An API key was made. The secret is shown once and stored nowhere; `fingerprint` is its \
         SHA-256.",
    ),
    ("api_key.revoked", "The key opens nothing any more."),
    (
        "webhook_endpoint.created",
        "Events are sent to a URL from `after` on: those of `types` and `account_ids`, where these \
         are given. Its secret is in no event.",
    ),
    (
        "webhook_endpoint.updated",
        "What it wants to hear, or where, changed. Carries all of it as it is from now on.",
    ),
    (
        "webhook_endpoint.secret_rotated",
        "Another secret signs from now on; until `previous_until` the one before signs too.",
    ),
    (
        "webhook_endpoint.paused",
        "It is sent nothing for a while, because somebody asked for it or because it took nothing \
         for five days. Nothing is lost: it goes on where it stood.",
    ),
    ("webhook_endpoint.resumed", "It is sent events again, from where it stood."),
    (
        "webhook_endpoint.disabled",
        "It answered 410 Gone and is sent nothing until somebody resumes it.",
    ),
    (
        "webhook_endpoint.replay_started",
        "What was recorded after `after` and up to `until` is delivered once more, beside what is \
         new. One that was under way ends.",
    ),
    ("webhook_endpoint.replay_completed", "All of the replay was taken."),
    ("webhook_endpoint.deleted", "It is sent nothing any more, for good."),
    (
        "webhook_endpoint.resend_requested",
        "Somebody asked for the event at `position` once more, at once and beside the others' \
         order. What became of it is told by the endpoint's deliveries.",
    ),
    (
        "user.invited",
        "Somebody may choose a password and sign in to the console. Without `workspace_ids` or \
         `account_ids`: to all of them.",
    ),
    ("user.joined", "They chose their first password."),
    (
        "user.updated",
        "Who they are, or what they may do, changed. Carries all of it as it is from now on; with \
         another role or reach their sessions are over.",
    ),
    ("user.signed_in", "They signed in. `session_id` tells sessions apart and opens nothing."),
    ("user.signed_out", "They signed out."),
    ("user.sessions_revoked", "Every session that they had is over."),
    (
        "user.link_given",
        "Somebody was given a link by which they choose another password, without the old one and \
         their second factor.",
    ),
    ("user.password_changed", "They have another password, and every session is over."),
    ("user.second_factor_enabled", "They sign in with a code from an app too, from now on."),
    ("user.second_factor_disabled", "Their password alone is enough."),
    ("user.suspended", "They cannot sign in, and every session is over."),
    ("user.reinstated", "They can sign in again."),
    (
        "user.left_in_charge",
        "Another owner went, and this one is among those who are left. Recorded together with what made \
         the other go, so that no two owners end each other's ownership at the same moment.",
    ),
    (
        "user.removed",
        "For good: name and address are erased. What they did stays on record under their id.",
    ),
    (
        "conversation.opened",
        "A person wrote to a number for the first time: `message_id` is what they wrote. Until \
         `window_expires_at`, 24 h after the person last wrote, they may be answered freely; \
         absent where what they wrote opens no such window (a reaction). With `continues` it goes \
         on with the conversation of a contact who was merged into this one, as that was handled, \
         assigned and read.",
    ),
    (
        "conversation.window_extended",
        "The person wrote again, and may be answered freely until `expires_at`. One of these for \
         each message that moves the end; what was written earlier and told later moves nothing.",
    ),
    (
        "conversation.assigned",
        "A user of the console takes care of it; without `user_id` nobody does any more.",
    ),
    (
        "conversation.handed_over",
        "Others answer from now on: the assistant, people, or nobody in particular.",
    ),
    (
        "conversation.read",
        "Somebody has read what the person wrote, up to the message in `up_to`. With \
         `show_receipt` WhatsApp is told, so that the person sees it (blue ticks): at most once of \
         each message, after this was recorded. What became of that is the next event; where the \
         gateway stopped in between there is none, and WhatsApp may not have been told.",
    ),
    ("conversation.receipt_shown", "WhatsApp took the word that the message was read."),
    (
        "conversation.receipt_failed",
        "WhatsApp refused the word that the message was read, or did not answer, in which case it \
         may have taken it. `code` is WhatsApp's own. It is not told again of this message; the \
         next one that is read tells it of all before.",
    ),
];
