//! Everything the sandbox knows. It changes by [`State::commit`] alone: entries are written to the state file (if there is
//! one) and then applied, and applying the file's entries again gives the same state.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Datelike, Utc};

use super::address::{self, Address};
use super::behaviour::Behaviour;
use super::entry::{Entry, Media, NumberFacts, Planned, Sent, WabaFacts};
use super::fate::{Fate, hash};
use super::journal::{Journal, beside};
use super::limits::{MovingHour, MovingSecond, Pairs, Reach, WINDOW_MS};
use super::number::NumberSpec;
use super::outbox::{Flight, Item, Outbox, Timers, What};
use super::record::Record;
use super::template::Template;

/// Bytes of media kept in memory where there is no state file; the oldest go first.
const BLOB_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A number and what happened on it.
pub(crate) struct Number {
    pub facts: NumberFacts,
    /// Its own behaviour, where it differs from the sandbox's.
    pub behaviour: Option<Behaviour>,
    /// Messages accepted ever; makes wamids unique.
    pub accepted: u64,
    /// Messages accepted in the moving second.
    pub second: MovingSecond,
    pub pairs: Pairs,
    /// When each person last opened a service window.
    pub windows: HashMap<u64, i64>,
    pub stopped_marketing: HashSet<u64>,
    /// Hashes of the wamids of inbound messages, which can be marked as read or reacted to.
    pub received: HashSet<u64>,
    /// Free service messages are counted per month.
    pub month: i32,
    pub service_messages: u64,
    pub pair_violations: u64,
    pub pace_violations: u64,
    pub outbox: Outbox,
    pub registrations: MovingHour,
}

impl Number {
    fn new(facts: NumberFacts) -> Self {
        Self {
            facts,
            behaviour: None,
            accepted: 0,
            second: MovingSecond::default(),
            pairs: Pairs::default(),
            windows: HashMap::new(),
            stopped_marketing: HashSet::new(),
            received: HashSet::new(),
            month: 0,
            service_messages: 0,
            pair_violations: 0,
            pace_violations: 0,
            outbox: Outbox::default(),
            registrations: MovingHour::default(),
        }
    }

    pub(crate) fn spec(&self) -> &NumberSpec {
        &self.facts.spec
    }

    pub(crate) fn window_is_open(&self, person: u64, now: i64) -> bool {
        self.windows.get(&person).is_some_and(|opened| now - opened < WINDOW_MS)
    }
}

pub(crate) struct Waba {
    pub facts: WabaFacts,
    pub reach: Reach,
    /// Management calls of the moving hour.
    pub calls: MovingHour,
    /// Templates created in the moving hour.
    pub created: MovingHour,
}

/// Sums over webhooks.
#[derive(Debug, Default)]
pub(crate) struct Webhooks {
    pub sent: u64,
    pub acked: u64,
    pub dropped: u64,
}

/// Who a message is for, once both names of the person are known.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    pub wa_id: Option<String>,
    pub user_id: String,
    pub person: u64,
}

pub(crate) struct State {
    pub seed: u64,
    pub behaviour: Behaviour,
    pub numbers: BTreeMap<String, Number>,
    pub wabas: BTreeMap<String, Waba>,
    pub templates: BTreeMap<u64, Template>,
    by_name: HashMap<u64, u64>,
    pub media: BTreeMap<String, Media>,
    blobs: HashMap<String, Bytes>,
    blob_order: std::collections::VecDeque<String>,
    blob_bytes: usize,
    pub uploads: HashMap<String, Upload>,
    pub(super) aliases: HashMap<u64, String>,
    /// The aliases as they were told, for the state file.
    pub(super) told: Vec<(String, String, String)>,
    pub record: Record,
    pub webhooks: Webhooks,
    pub timers: Timers,
    pub flights: HashMap<u64, Flight>,
    pub next_flight: u64,
    next_seq: u64,
    next_id: u64,
    next_call: u64,
    /// Draws about webhooks, which have no callback datum to be drawn by.
    pub webhook_fate: Fate,
    pub started_at: i64,
    journal: Option<Journal>,
    path: Option<PathBuf>,
    replay: Option<Replay>,
}

/// A resumable upload of a template's sample; gone with the process.
#[derive(Debug)]
pub(crate) struct Upload {
    pub length: u64,
    pub received: u64,
}

#[derive(Default)]
struct Replay {
    items: BTreeMap<u64, Item>,
    calls: Vec<super::record::Call>,
}

impl State {
    /// Opens the state at `path`, with everything that was going on when its process ended; without a path, a fresh one
    /// in memory.
    pub(crate) fn open(
        seed: u64,
        behaviour: Behaviour,
        path: Option<&Path>,
        now: i64,
    ) -> io::Result<Self> {
        let record = Record::open(path.map(|path| beside(path, "calls")))?;
        if let Some(path) = path {
            std::fs::create_dir_all(beside(path, "media"))?;
        }
        let mut state = Self {
            seed,
            behaviour,
            numbers: BTreeMap::new(),
            wabas: BTreeMap::new(),
            templates: BTreeMap::new(),
            by_name: HashMap::new(),
            media: BTreeMap::new(),
            blobs: HashMap::new(),
            blob_order: std::collections::VecDeque::new(),
            blob_bytes: 0,
            uploads: HashMap::new(),
            aliases: HashMap::new(),
            told: Vec::new(),
            record,
            webhooks: Webhooks::default(),
            timers: Timers::default(),
            flights: HashMap::new(),
            next_flight: 0,
            next_seq: 1,
            next_id: 700_000_000_000_001,
            next_call: 1,
            webhook_fate: Fate::new(seed, &[b"webhooks"]),
            started_at: now,
            journal: None,
            path: path.map(Path::to_owned),
            replay: Some(Replay::default()),
        };
        if let Some(path) = path {
            let mut journal = Journal::open(path, |entry| state.apply(entry))?;
            let replay = state.replay.take().unwrap_or_default();
            for call in replay.calls {
                state.record.append(&call)?;
            }
            state.next_call = state.next_call.max(state.record.last() + 1);
            for item in replay.items.into_values() {
                state.timers.push_item(item);
            }
            journal.rewrite(state.snapshot(now).into_iter())?;
            state.journal = Some(journal);
        }
        state.replay = None;
        Ok(state)
    }

    /// Writes the entries, then applies them. Where they cannot be written nothing changes.
    pub(crate) fn commit(&mut self, entries: Vec<Entry>) -> io::Result<()> {
        if let Some(journal) = &mut self.journal {
            journal.append(&entries)?;
        }
        for entry in entries {
            self.apply(entry);
        }
        Ok(())
    }

    /// Writes the state file anew where it has become much longer than what it says.
    pub(crate) fn tidy(&mut self, now: i64) -> io::Result<()> {
        if self.journal.as_ref().is_some_and(Journal::is_grown) {
            self.rewrite(now)?;
        }
        Ok(())
    }

    /// Writes the state file anew, with nothing in it that is over.
    pub(super) fn rewrite(&mut self, now: i64) -> io::Result<()> {
        let entries = self.snapshot(now);
        match &mut self.journal {
            Some(journal) => journal.rewrite(entries.into_iter()),
            None => Ok(()),
        }
    }

    fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Number { number } => {
                let id = number.spec.phone_number_id.clone();
                match self.numbers.get_mut(&id) {
                    Some(known) => known.facts = *number,
                    None => {
                        self.numbers.insert(id, Number::new(*number));
                    }
                }
            }
            Entry::Waba { waba } => match self.wabas.get_mut(&waba.id) {
                Some(known) => known.facts = waba,
                None => {
                    let fresh = Waba {
                        reach: Reach::default(),
                        calls: MovingHour::default(),
                        created: MovingHour::default(),
                        facts: waba,
                    };
                    self.wabas.insert(fresh.facts.id.clone(), fresh);
                }
            },
            Entry::Behaviour { number: None, behaviour } => {
                self.behaviour = behaviour.map(|behaviour| *behaviour).unwrap_or_default();
            }
            Entry::Behaviour { number: Some(id), behaviour } => {
                if let Some(number) = self.numbers.get_mut(&id) {
                    number.behaviour = behaviour.map(|behaviour| *behaviour);
                }
            }
            Entry::Template { template } => {
                let key = template_key(&template.waba_id, &template.name, &template.language);
                self.by_name.insert(key, template.id);
                self.next_id = self.next_id.max(template.id + 1);
                self.templates.insert(template.id, *template);
            }
            Entry::TemplateGone { id } => {
                if let Some(gone) = self.templates.remove(&id) {
                    self.by_name.remove(&template_key(&gone.waba_id, &gone.name, &gone.language));
                }
            }
            Entry::Media { media } => {
                if let Ok(id) = media.id.parse::<u64>() {
                    self.next_id = self.next_id.max(id + 1);
                }
                self.media.insert(media.id.clone(), media);
            }
            Entry::MediaGone { id } => {
                self.media.remove(&id);
                self.forget_blob(&id);
            }
            Entry::Accepted { call, sent, plan } => self.apply_accepted(*call, *sent, plan),
            Entry::Under { sent, plan } => self.schedule(Arc::new(*sent), &plan),
            Entry::Field { seq, at, due, field } => {
                self.add_item(Item { seq, at, due, what: What::Field(Arc::new(*field)) });
            }
            Entry::Heard { number, person, at, wamid, opens_window } => {
                if let Some(number) = self.numbers.get_mut(&number) {
                    number.received.insert(wamid);
                    if opens_window {
                        let opened = number.windows.entry(person).or_insert(at);
                        *opened = (*opened).max(at);
                    }
                }
            }
            Entry::Preference { number, person, stopped } => {
                if let Some(number) = self.numbers.get_mut(&number) {
                    if stopped {
                        number.stopped_marketing.insert(person);
                    } else {
                        number.stopped_marketing.remove(&person);
                    }
                }
            }
            Entry::Alias { waba_id, wa_id, user_id } => {
                self.aliases.insert(alias_key(&waba_id, &wa_id), user_id.clone());
                self.aliases.insert(alias_key(&waba_id, &user_id), wa_id.clone());
                self.told.push((waba_id, wa_id, user_id));
            }
            Entry::Done { seqs, sent, acked, dropped } => {
                self.webhooks = Webhooks { sent, acked, dropped };
                if let Some(replay) = &mut self.replay {
                    for seq in seqs {
                        replay.items.remove(&seq);
                    }
                }
            }
            Entry::Violation { number, pair } => {
                if let Some(number) = self.numbers.get_mut(&number) {
                    number.pair_violations += u64::from(pair);
                    number.pace_violations += u64::from(!pair);
                }
            }
            Entry::Forgot => self.apply_forgot(),
            Entry::Counters { next_seq, next_id, next_call, sent, acked, dropped } => {
                (self.next_seq, self.next_id, self.next_call) = (next_seq, next_id, next_call);
                self.webhooks = Webhooks { sent, acked, dropped };
            }
            Entry::Tallies {
                number,
                accepted,
                month,
                service_messages,
                pair_violations,
                pace_violations,
                reach_peak,
            } => {
                if let Some(number) = self.numbers.get_mut(&number) {
                    (number.accepted, number.month, number.service_messages) =
                        (accepted, month, service_messages);
                    (number.pair_violations, number.pace_violations) =
                        (pair_violations, pace_violations);
                    if let Some(waba) = self.wabas.get_mut(&number.facts.spec.waba_id) {
                        waba.reach.peak = waba.reach.peak.max(reach_peak);
                    }
                }
            }
            Entry::Windows { number, opened } => {
                if let Some(number) = self.numbers.get_mut(&number) {
                    number.windows.extend(opened);
                }
            }
            Entry::Received { number, wamids } => {
                if let Some(number) = self.numbers.get_mut(&number) {
                    number.received.extend(wamids);
                }
            }
            Entry::Pairs { number, debts } => {
                if let Some(number) = self.numbers.get_mut(&number) {
                    debts.into_iter().for_each(|debt| number.pairs.restore(debt));
                }
            }
            Entry::Reach { waba_id, people } => {
                if let Some(waba) = self.wabas.get_mut(&waba_id) {
                    people.into_iter().for_each(|(person, at)| waba.reach.record(person, at));
                }
            }
        }
    }

    fn apply_accepted(&mut self, call: super::record::Call, sent: Sent, plan: Vec<Planned>) {
        let at = call.at.timestamp_millis();
        if let Some(number) = self.numbers.get_mut(&sent.number) {
            number.accepted += 1;
            number.second.record(at);
            number.pairs.record(sent.person, at);
            if sent.category == "service" {
                let month = month_of(call.at);
                if number.month != month {
                    (number.month, number.service_messages) = (month, 0);
                }
                number.service_messages += 1;
            }
            if sent.outside_window
                && sent.error.is_none()
                && let Some(waba) = self.wabas.get_mut(&number.facts.spec.waba_id)
            {
                waba.reach.record(sent.person, at);
            }
        }
        self.next_call = self.next_call.max(call.n + 1);
        if let Some(replay) = &mut self.replay
            && call.n > self.record.last()
        {
            replay.calls.push(call);
        }
        self.schedule(Arc::new(sent), &plan);
    }

    fn apply_forgot(&mut self) {
        if let Some(replay) = &mut self.replay {
            replay.calls.clear();
        }
        self.webhooks = Webhooks::default();
        for number in self.numbers.values_mut() {
            (number.pair_violations, number.pace_violations, number.second.peak) = (0, 0, 0);
        }
        for waba in self.wabas.values_mut() {
            waba.reach.peak = 0;
        }
    }

    fn schedule(&mut self, sent: Arc<Sent>, plan: &[Planned]) {
        for step in plan {
            let what = What::Step { sent: Arc::clone(&sent), step: step.step };
            self.add_item(Item { seq: step.seq, at: step.at, due: step.due, what });
        }
    }

    fn add_item(&mut self, item: Item) {
        self.next_seq = self.next_seq.max(item.seq + 1);
        match &mut self.replay {
            Some(replay) => {
                replay.items.insert(item.seq, item);
            }
            None => self.timers.push_item(item),
        }
    }

    /// What a fresh file would hold.
    fn snapshot(&self, now: i64) -> Vec<Entry> {
        let mut entries = vec![Entry::Counters {
            next_seq: self.next_seq,
            next_id: self.next_id,
            next_call: self.next_call,
            sent: self.webhooks.sent,
            acked: self.webhooks.acked,
            dropped: self.webhooks.dropped,
        }];
        entries.push(Entry::Behaviour {
            number: None,
            behaviour: Some(Box::new(self.behaviour.clone())),
        });
        entries.extend(self.wabas.values().map(|waba| Entry::Waba { waba: waba.facts.clone() }));
        for (id, number) in &self.numbers {
            entries.push(Entry::Number { number: Box::new(number.facts.clone()) });
            if let Some(behaviour) = &number.behaviour {
                entries.push(Entry::Behaviour {
                    number: Some(id.clone()),
                    behaviour: Some(Box::new(behaviour.clone())),
                });
            }
            let reach = self.wabas.get(&number.facts.spec.waba_id);
            entries.push(Entry::Tallies {
                number: id.clone(),
                accepted: number.accepted,
                month: number.month,
                service_messages: number.service_messages,
                pair_violations: number.pair_violations,
                pace_violations: number.pace_violations,
                reach_peak: reach.map_or(0, |waba| waba.reach.peak),
            });
            let open = number.windows.iter().filter(|(_, opened)| now - **opened < WINDOW_MS);
            let open: Vec<(u64, i64)> = open.map(|(person, opened)| (*person, *opened)).collect();
            entries.push(Entry::Windows { number: id.clone(), opened: open });
            let wamids = number.received.iter().copied().collect();
            entries.push(Entry::Received { number: id.clone(), wamids });
            entries.push(Entry::Pairs { number: id.clone(), debts: number.pairs.owing(now) });
            entries.extend(number.stopped_marketing.iter().map(|person| Entry::Preference {
                number: id.clone(),
                person: *person,
                stopped: true,
            }));
        }
        entries.extend(self.wabas.iter().map(|(id, waba)| Entry::Reach {
            waba_id: id.clone(),
            people: waba.reach.counted(now),
        }));
        entries.extend(self.told.iter().map(|(waba_id, wa_id, user_id)| Entry::Alias {
            waba_id: waba_id.clone(),
            wa_id: wa_id.clone(),
            user_id: user_id.clone(),
        }));
        entries.extend(
            self.templates
                .values()
                .map(|template| Entry::Template { template: Box::new(template.clone()) }),
        );
        entries.extend(self.media.values().map(|media| Entry::Media { media: media.clone() }));
        for item in self.items_under_way() {
            entries.push(match item.what {
                What::Step { sent, step } => Entry::Under {
                    sent: Box::new(Sent::clone(&sent)),
                    plan: vec![Planned { seq: item.seq, step, at: item.at, due: item.due }],
                },
                What::Field(field) => Entry::Field {
                    seq: item.seq,
                    at: item.at,
                    due: item.due,
                    field: Box::new(super::entry::Field::clone(&field)),
                },
            });
        }
        entries
    }

    fn items_under_way(&self) -> Vec<Item> {
        let mut items = self.timers.items();
        for number in self.numbers.values() {
            items.extend(number.outbox.items());
        }
        items.extend(
            self.flights
                .values()
                .filter(|flight| !flight.batch.copy)
                .flat_map(|f| f.batch.items.clone()),
        );
        items.sort_unstable_by_key(|item| item.seq);
        items
    }

    /// The behaviour that a number is under.
    pub(crate) fn behaviour_of(&self, number: &str) -> &Behaviour {
        self.numbers
            .get(number)
            .and_then(|number| number.behaviour.as_ref())
            .unwrap_or(&self.behaviour)
    }

    /// A sequence number for something that will be sent.
    pub(crate) fn take_seq(&mut self) -> u64 {
        self.next_seq += 1;
        self.next_seq - 1
    }

    /// An id as Meta gives them to templates and media.
    pub(crate) fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    pub(crate) fn take_call(&mut self) -> u64 {
        self.next_call += 1;
        self.next_call - 1
    }

    pub(crate) fn template(&self, waba_id: &str, name: &str, language: &str) -> Option<&Template> {
        self.templates.get(self.by_name.get(&template_key(waba_id, name, language))?)
    }

    /// Both names of a person, and the key they have in common.
    pub(crate) fn who(&self, waba_id: &str, address: &Address) -> Who {
        match address {
            Address::Number(digits) => {
                // A number and what Meta makes of it are one person's.
                let canonical = address::rewritten(digits);
                let known = self.aliases.get(&alias_key(waba_id, &canonical)).cloned();
                let user_id = known.unwrap_or_else(|| address::made_user_id(waba_id, &canonical));
                let person = address::person(&user_id);
                Who { wa_id: Some(digits.clone()), user_id, person }
            }
            Address::UserId(user_id) => {
                let wa_id = self.aliases.get(&alias_key(waba_id, user_id)).cloned();
                Who { wa_id, user_id: user_id.clone(), person: address::person(user_id) }
            }
        }
    }

    /// Keeps the bytes of a medium: in a file where the state is in one, else in memory.
    pub(crate) fn keep_blob(&mut self, id: &str, bytes: Bytes) -> io::Result<()> {
        if let Some(path) = self.blob_path(id) {
            let file = super::journal::private_file(&path)?;
            file.set_len(0)?;
            return io::Write::write_all(&mut &file, &bytes);
        }
        self.blob_bytes += bytes.len();
        self.blobs.insert(id.to_owned(), bytes);
        self.blob_order.push_back(id.to_owned());
        while self.blob_bytes > BLOB_BYTES_MAX
            && let Some(oldest) = self.blob_order.pop_front()
        {
            self.forget_blob(&oldest);
        }
        Ok(())
    }

    pub(crate) fn blob(&self, id: &str) -> io::Result<Option<Bytes>> {
        match self.blob_path(id) {
            None => Ok(self.blobs.get(id).cloned()),
            Some(path) => match std::fs::read(path) {
                Ok(bytes) => Ok(Some(bytes.into())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            },
        }
    }

    pub(super) fn forget_blob(&mut self, id: &str) {
        if let Some(bytes) = self.blobs.remove(id) {
            self.blob_bytes -= bytes.len();
        }
        if let Some(path) = self.blob_path(id) {
            // A file that is already gone is what was wanted.
            let _ = std::fs::remove_file(path);
        }
    }

    fn blob_path(&self, id: &str) -> Option<PathBuf> {
        // Ids are the sandbox's own digits, so they cannot point elsewhere.
        let is_ours = !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit());
        self.path.as_ref().filter(|_| is_ours).map(|path| beside(path, "media").join(id))
    }
}

/// Year and month, for what is counted per month.
pub(crate) fn month_of(at: DateTime<Utc>) -> i32 {
    at.year() * 12 + i32::try_from(at.month0()).unwrap_or(0)
}

fn template_key(waba_id: &str, name: &str, language: &str) -> u64 {
    hash(&[b"template", waba_id.as_bytes(), name.as_bytes(), language.as_bytes()])
}

pub(super) fn alias_key(waba_id: &str, id: &str) -> u64 {
    hash(&[b"alias", waba_id.as_bytes(), id.as_bytes()])
}
