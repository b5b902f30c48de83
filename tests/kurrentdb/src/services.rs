//! The protocol's services over the log.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};

use base64::Engine;
use futures::Stream;
use regex::Regex;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Request, Response, Status, Streaming};
use uuid::Uuid;

use crate::State;
use crate::log::{Appended, Expected, Proposed, Record};
use crate::proto::streams::append_resp::{self, success, wrong_expected_version};
use crate::proto::streams::read_req::options as read_options;
use crate::proto::streams::{
    AppendReq, AppendResp, DeleteReq, DeleteResp, ReadReq, ReadResp, TombstoneReq, TombstoneResp,
    append_req, delete_resp, read_resp, streams_server, tombstone_resp,
};
use crate::proto::{self, gossip, server_features};

#[derive(Debug)]
pub(crate) struct Streams(pub Arc<State>);

#[derive(Debug)]
pub(crate) struct Gossip(pub Arc<State>);

#[derive(Debug)]
pub(crate) struct Features;

type Answers = Pin<Box<dyn Stream<Item = Result<ReadResp, Status>> + Send>>;

#[tonic::async_trait]
impl streams_server::Streams for Streams {
    type ReadStream = Answers;

    async fn read(&self, request: Request<ReadReq>) -> Result<Response<Answers>, Status> {
        self.admit(request.metadata()).await?;
        let options = request.into_inner().options.ok_or_else(|| missing("options"))?;
        let filter = Filter::parse(options.filter_option.clone())?;
        let is_subscription = matches!(
            options.count_option.as_ref().ok_or_else(|| missing("count_option"))?,
            read_options::CountOption::Subscription(_)
        );
        let answers: Answers = if is_subscription {
            self.subscribe(&options, filter)?
        } else {
            let answers = self.read_once(&options, &filter)?;
            let breaks_off = self.0.takes(|behaviour| &mut behaviour.reads_broken);
            Box::pin(async_stream::stream! {
                for answer in answers {
                    yield Ok(answer);
                    if breaks_off {
                        yield Err(Status::unavailable("the connection broke"));
                        return;
                    }
                }
            })
        };
        Ok(Response::new(answers))
    }

    async fn append(
        &self,
        request: Request<Streaming<AppendReq>>,
    ) -> Result<Response<AppendResp>, Status> {
        self.admit(request.metadata()).await?;
        let mut messages = request.into_inner();
        let Some(AppendReq { content: Some(append_req::Content::Options(options)) }) =
            messages.message().await?
        else {
            return Err(missing("options"));
        };
        let name = stream_name(options.stream_identifier)?;
        let expected = options.expected_stream_revision.ok_or_else(|| missing("revision"))?;
        let mut events = Vec::new();
        while let Some(message) = messages.message().await? {
            let Some(append_req::Content::ProposedMessage(message)) = message.content else {
                return Err(missing("proposed_message"));
            };
            events.push(proposed(message)?);
        }
        let is_spent = match &mut self.0.behaviour().appends_left {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        };
        if is_spent || self.0.takes(|behaviour| &mut behaviour.appends_unavailable) {
            return Err(Status::unavailable("Server Is Not Ready"));
        }
        if self.0.takes(|behaviour| &mut behaviour.appends_held) {
            self.0.held().push((name, expected_of(expected), events));
            return std::future::pending().await;
        }
        let appended = {
            let mut log = self.0.log();
            let appended = log.append(&name, expected_of(expected), events);
            self.0.grown.send_replace(log.len());
            appended
        };
        if self.0.takes(|behaviour| &mut behaviour.answers_lost) {
            return Err(Status::unavailable("the connection broke"));
        }
        let result = match appended {
            Appended::Written { revision, position } => {
                append_resp::Result::Success(append_resp::Success {
                    current_revision_option: Some(match revision {
                        Some(revision) => success::CurrentRevisionOption::CurrentRevision(revision),
                        None => success::CurrentRevisionOption::NoStream(proto::Empty {}),
                    }),
                    position_option: Some(match position {
                        Some(position) => {
                            success::PositionOption::Position(append_resp::Position {
                                commit_position: position,
                                prepare_position: position,
                            })
                        }
                        None => success::PositionOption::NoPosition(proto::Empty {}),
                    }),
                })
            }
            Appended::WrongExpectedVersion { current } => {
                append_resp::Result::WrongExpectedVersion(wrong_version(current, expected))
            }
            Appended::Deleted => return Err(stream_deleted(&name)),
            Appended::TooLarge => {
                return Err(exception(
                    Code::InvalidArgument,
                    "Maximum Append Size of 1048576 Exceeded.",
                    &[
                        ("exception", "maximum-append-size-exceeded"),
                        ("maximum-append-size", "1048576"),
                    ],
                ));
            }
        };
        Ok(Response::new(AppendResp { result: Some(result) }))
    }

    async fn delete(&self, request: Request<DeleteReq>) -> Result<Response<DeleteResp>, Status> {
        self.admit(request.metadata()).await?;
        let options = request.into_inner().options.ok_or_else(|| missing("options"))?;
        self.0.log().tombstone(&stream_name(options.stream_identifier)?);
        let position_option = Some(delete_resp::PositionOption::NoPosition(proto::Empty {}));
        Ok(Response::new(DeleteResp { position_option }))
    }

    async fn tombstone(
        &self,
        request: Request<TombstoneReq>,
    ) -> Result<Response<TombstoneResp>, Status> {
        self.admit(request.metadata()).await?;
        let options = request.into_inner().options.ok_or_else(|| missing("options"))?;
        self.0.log().tombstone(&stream_name(options.stream_identifier)?);
        let position_option = Some(tombstone_resp::PositionOption::NoPosition(proto::Empty {}));
        Ok(Response::new(TombstoneResp { position_option }))
    }
}

impl Streams {
    async fn admit(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let text = |name: &str| metadata.get(name).and_then(|value| value.to_str().ok());
        let (credentials, leader) = {
            let behaviour = self.0.behaviour();
            (behaviour.credentials.clone(), behaviour.leader)
        };
        if let Some((name, password)) = credentials {
            let wanted =
                base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
            if text("authorization") != Some(&format!("Basic {wanted}")) {
                let denied = [("exception", "access-denied")];
                return Err(exception(Code::PermissionDenied, "Access Denied", &denied));
            }
        }
        if let Some(leader) = leader.filter(|_| text("requires-leader") == Some("true")) {
            let (host, port) = (leader.ip().to_string(), leader.port().to_string());
            let leader = [
                ("exception", "not-leader"),
                ("leader-endpoint-host", host.as_str()),
                ("leader-endpoint-port", port.as_str()),
            ];
            return Err(exception(Code::NotFound, "Leader info available", &leader));
        }
        if self.0.takes(|behaviour| &mut behaviour.hangs) {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    fn read_once(
        &self,
        options: &crate::proto::streams::read_req::Options,
        filter: &Filter,
    ) -> Result<Vec<ReadResp>, Status> {
        let Some(read_options::CountOption::Count(count)) = options.count_option else {
            return Err(missing("count_option"));
        };
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let backwards = options.read_direction == read_options::ReadDirection::Backwards as i32;
        let log = self.0.log();
        match options.stream_option.as_ref().ok_or_else(|| missing("stream_option"))? {
            read_options::StreamOption::Stream(of) => {
                use read_options::stream_options::RevisionOption;
                let name = stream_name(of.stream_identifier.clone())?;
                if log.is_tombstoned(&name) {
                    return Err(stream_deleted(&name));
                }
                let Some(events) = log.stream(&name) else {
                    let stream_identifier = of.stream_identifier.clone();
                    let content = read_resp::Content::StreamNotFound(read_resp::StreamNotFound {
                        stream_identifier,
                    });
                    return Ok(vec![answer(content)]);
                };
                let (from, to) = match (of.revision_option.as_ref(), backwards) {
                    (Some(RevisionOption::Revision(at)), false) => (*at, u64::MAX),
                    (Some(RevisionOption::Revision(at)), true) => (0, *at),
                    (Some(RevisionOption::End(_)), true)
                    | (Some(RevisionOption::Start(_)), false) => (0, u64::MAX),
                    (Some(RevisionOption::End(_)), false) => (u64::MAX, u64::MAX),
                    (Some(RevisionOption::Start(_)), true) => (0, 0),
                    (None, _) => return Err(missing("revision_option")),
                };
                let wanted = events.filter(|record| (from..=to).contains(&record.revision));
                let mut answers: Vec<_> = if backwards {
                    wanted.rev().take(count).map(event).collect()
                } else {
                    wanted.take(count).map(event).collect()
                };
                if let Some(last) = log.stream(&name).and_then(Iterator::last) {
                    answers.push(answer(read_resp::Content::FirstStreamPosition(0)));
                    answers.push(answer(read_resp::Content::LastStreamPosition(last.revision)));
                }
                Ok(answers)
            }
            read_options::StreamOption::All(of) => {
                use read_options::all_options::AllOption;
                let at = match of.all_option.as_ref().ok_or_else(|| missing("all_option"))? {
                    AllOption::Position(position) if position.commit_position == u64::MAX => {
                        u64::MAX
                    }
                    AllOption::Position(position) => {
                        if !log.is_boundary(position.commit_position) {
                            return Err(Status::unknown(
                                "Unexpected ReadAllResult: Error (Log record has a length that is none)",
                            ));
                        }
                        position.commit_position
                    }
                    AllOption::Start(_) => 0,
                    AllOption::End(_) => u64::MAX,
                };
                let records = log.records().iter();
                Ok(if backwards {
                    let before = records.rev().filter(|record| record.position < at);
                    before.filter(|record| filter.takes(record)).take(count).map(event).collect()
                } else {
                    let from = records.filter(|record| record.position >= at);
                    from.filter(|record| filter.takes(record)).take(count).map(event).collect()
                })
            }
        }
    }

    fn subscribe(
        &self,
        options: &crate::proto::streams::read_req::Options,
        filter: Filter,
    ) -> Result<Answers, Status> {
        use read_options::all_options::AllOption;
        let Some(read_options::StreamOption::All(of)) = &options.stream_option else {
            return Err(Status::unimplemented("this double has subscriptions to $all only"));
        };
        let state = self.0.clone();
        // The first record that is wanted: beyond the position, which the subscriber has seen.
        let mut next = {
            let log = state.log();
            match of.all_option.as_ref().ok_or_else(|| missing("all_option"))? {
                AllOption::Position(at) => {
                    log.records().partition_point(|record| record.position <= at.commit_position)
                }
                AllOption::Start(_) => 0,
                AllOption::End(_) => log.len(),
            }
        };
        let mut grown = state.grown.subscribe();
        Ok(Box::pin(async_stream::stream! {
            let subscription_id = Uuid::now_v7().to_string();
            let confirmation = read_resp::SubscriptionConfirmation { subscription_id };
            yield Ok(answer(read_resp::Content::Confirmation(confirmation)));
            if state.behaviour().subscriptions_end {
                return;
            }
            let (mut passed, mut is_live) = (0, false);
            loop {
                grown.mark_unchanged();
                let record = state.log().records().get(next).cloned();
                let Some(record) = record else {
                    if !is_live {
                        is_live = true;
                        let last = state.log().records().last().map(|last| last.position);
                        yield Ok(answer(read_resp::Content::CaughtUp(read_resp::CaughtUp {
                            timestamp: Some(std::time::SystemTime::now().into()),
                            stream_revision: None,
                            position: last.map(|at| read_resp::Position {
                                commit_position: at,
                                prepare_position: at,
                            }),
                        })));
                    }
                    if grown.changed().await.is_err() {
                        return;
                    }
                    continue;
                };
                next += 1;
                passed += 1;
                if filter.takes(&record) {
                    yield Ok(event(&record));
                }
                if filter.checkpoint_every.is_some_and(|every| passed >= every) {
                    passed = 0;
                    yield Ok(answer(read_resp::Content::Checkpoint(read_resp::Checkpoint {
                        commit_position: record.position,
                        prepare_position: record.position,
                        timestamp: Some(std::time::SystemTime::now().into()),
                    })));
                }
            }
        }))
    }
}

#[tonic::async_trait]
impl gossip::gossip_server::Gossip for Gossip {
    async fn read(
        &self,
        _: Request<proto::Empty>,
    ) -> Result<Response<gossip::ClusterInfo>, Status> {
        let own = *self.0.address.lock().unwrap_or_else(PoisonError::into_inner);
        let leader = self.0.behaviour().leader;
        let member = |address: std::net::SocketAddr, state: gossip::member_info::VNodeState| {
            gossip::MemberInfo {
                instance_id: Some(uuid_of(Uuid::now_v7())),
                time_stamp: chrono::Utc::now().timestamp(),
                state: state as i32,
                is_alive: true,
                http_end_point: Some(gossip::EndPoint {
                    address: address.ip().to_string(),
                    port: address.port().into(),
                }),
            }
        };
        use gossip::member_info::VNodeState;
        let members = match leader {
            Some(leader) => {
                vec![member(own, VNodeState::Follower), member(leader, VNodeState::Leader)]
            }
            None => vec![member(own, VNodeState::Leader)],
        };
        Ok(Response::new(gossip::ClusterInfo { members }))
    }
}

#[tonic::async_trait]
impl server_features::server_features_server::ServerFeatures for Features {
    async fn get_supported_methods(
        &self,
        _: Request<proto::Empty>,
    ) -> Result<Response<server_features::SupportedMethods>, Status> {
        let method = |name: &str| server_features::SupportedMethod {
            method_name: name.to_owned(),
            service_name: "event_store.client.streams.streams".to_owned(),
            features: Vec::new(),
        };
        Ok(Response::new(server_features::SupportedMethods {
            methods: ["read", "append", "delete", "tombstone"].map(method).to_vec(),
            event_store_server_version: "25.1.0".to_owned(),
        }))
    }
}

#[derive(Debug)]
struct Filter {
    prefixes: Vec<String>,
    regex: Option<Regex>,
    is_by_stream: bool,
    /// Records between checkpoints of a subscription.
    checkpoint_every: Option<u64>,
}

impl Filter {
    fn parse(option: Option<read_options::FilterOption>) -> Result<Self, Status> {
        use read_options::filter_options;
        let all =
            Self { prefixes: Vec::new(), regex: None, is_by_stream: true, checkpoint_every: None };
        let filter = match option {
            Some(read_options::FilterOption::Filter(filter)) => filter,
            Some(read_options::FilterOption::NoFilter(_)) => return Ok(all),
            None => return Err(missing("filter_option")),
        };
        let window = match filter.window.ok_or_else(|| missing("window"))? {
            filter_options::Window::Max(max) => max,
            filter_options::Window::Count(_) => 32,
        };
        if filter.checkpoint_interval_multiplier == 0 {
            return Err(Status::invalid_argument(
                "checkpointIntervalMultiplier must be greater than zero",
            ));
        }
        let (is_by_stream, expression) = match filter.filter.ok_or_else(|| missing("filter"))? {
            filter_options::Filter::StreamIdentifier(expression) => (true, expression),
            filter_options::Filter::EventType(expression) => (false, expression),
        };
        let regex = match expression.regex.as_str() {
            "" => None,
            text => Some(
                Regex::new(text).map_err(|error| Status::invalid_argument(error.to_string()))?,
            ),
        };
        let every = u64::from(window) * u64::from(filter.checkpoint_interval_multiplier);
        Ok(Self { prefixes: expression.prefix, regex, is_by_stream, checkpoint_every: Some(every) })
    }

    fn takes(&self, record: &Record) -> bool {
        let text = if self.is_by_stream { &record.stream } else { &record.event_type };
        match &self.regex {
            Some(regex) => regex.is_match(text),
            None => {
                self.prefixes.is_empty()
                    || self.prefixes.iter().any(|prefix| text.starts_with(prefix))
            }
        }
    }
}

fn answer(content: read_resp::Content) -> ReadResp {
    ReadResp { content: Some(content) }
}

fn event(record: &Record) -> ReadResp {
    let metadata = HashMap::from([
        ("type".to_owned(), record.event_type.clone()),
        ("content-type".to_owned(), record.content_type.clone()),
        ("created".to_owned(), record.created.to_string()),
    ]);
    let recorded = read_resp::read_event::RecordedEvent {
        id: Some(uuid_of(record.id)),
        stream_identifier: Some(proto::StreamIdentifier {
            stream_name: record.stream.clone().into_bytes(),
        }),
        stream_revision: record.revision,
        prepare_position: record.position,
        commit_position: record.position,
        metadata,
        custom_metadata: record.metadata.clone(),
        data: record.data.clone(),
    };
    answer(read_resp::Content::Event(read_resp::ReadEvent {
        event: Some(recorded),
        link: None,
        position: Some(read_resp::read_event::Position::CommitPosition(record.position)),
    }))
}

fn proposed(message: append_req::ProposedMessage) -> Result<Proposed, Status> {
    let id = match message.id.and_then(|id| id.value).ok_or_else(|| missing("id"))? {
        proto::uuid::Value::String(text) => {
            Uuid::try_parse(&text).map_err(|_| Status::invalid_argument("id is no UUID"))?
        }
        proto::uuid::Value::Structured(bits) => Uuid::from_u64_pair(
            bits.most_significant_bits.cast_unsigned(),
            bits.least_significant_bits.cast_unsigned(),
        ),
    };
    let required = |name: &str| {
        let value = message.metadata.get(name).cloned();
        value.ok_or_else(|| {
            Status::invalid_argument(format!("Required Metadata Property '{name}' is missing"))
        })
    };
    Ok(Proposed {
        id,
        event_type: required("type")?,
        content_type: required("content-type")?,
        metadata: message.custom_metadata,
        data: message.data,
    })
}

fn expected_of(expected: append_req::options::ExpectedStreamRevision) -> Expected {
    use append_req::options::ExpectedStreamRevision;
    match expected {
        ExpectedStreamRevision::Revision(revision) => Expected::Revision(revision),
        ExpectedStreamRevision::NoStream(_) => Expected::NoStream,
        ExpectedStreamRevision::Any(_) => Expected::Any,
        ExpectedStreamRevision::StreamExists(_) => Expected::Exists,
    }
}

fn wrong_version(
    current: Option<u64>,
    expected: append_req::options::ExpectedStreamRevision,
) -> append_resp::WrongExpectedVersion {
    use append_req::options::ExpectedStreamRevision;
    use wrong_expected_version::{
        CurrentRevisionOption, CurrentRevisionOption2060, ExpectedRevisionOption,
        ExpectedRevisionOption2060,
    };
    let empty = || proto::Empty {};
    append_resp::WrongExpectedVersion {
        current_revision_option_20_6_0: Some(match current {
            Some(revision) => CurrentRevisionOption2060::CurrentRevision2060(revision),
            None => CurrentRevisionOption2060::NoStream2060(empty()),
        }),
        expected_revision_option_20_6_0: match expected {
            ExpectedStreamRevision::Revision(revision) => {
                Some(ExpectedRevisionOption2060::ExpectedRevision2060(revision))
            }
            ExpectedStreamRevision::Any(_) => Some(ExpectedRevisionOption2060::Any2060(empty())),
            ExpectedStreamRevision::StreamExists(_) => {
                Some(ExpectedRevisionOption2060::StreamExists2060(empty()))
            }
            ExpectedStreamRevision::NoStream(_) => None,
        },
        current_revision_option: Some(match current {
            Some(revision) => CurrentRevisionOption::CurrentRevision(revision),
            None => CurrentRevisionOption::CurrentNoStream(empty()),
        }),
        expected_revision_option: Some(match expected {
            ExpectedStreamRevision::Revision(revision) => {
                ExpectedRevisionOption::ExpectedRevision(revision)
            }
            ExpectedStreamRevision::Any(_) => ExpectedRevisionOption::ExpectedAny(empty()),
            ExpectedStreamRevision::StreamExists(_) => {
                ExpectedRevisionOption::ExpectedStreamExists(empty())
            }
            ExpectedStreamRevision::NoStream(_) => {
                ExpectedRevisionOption::ExpectedNoStream(empty())
            }
        }),
    }
}

fn uuid_of(id: Uuid) -> proto::Uuid {
    proto::Uuid { value: Some(proto::uuid::Value::String(id.to_string())) }
}

fn stream_name(identifier: Option<proto::StreamIdentifier>) -> Result<String, Status> {
    let name = identifier.ok_or_else(|| missing("stream_identifier"))?.stream_name;
    String::from_utf8(name).map_err(|_| Status::invalid_argument("a stream's name is text"))
}

fn missing(what: &str) -> Status {
    Status::invalid_argument(format!("{what} is missing"))
}

fn stream_deleted(name: &str) -> Status {
    let deleted = [("exception", "stream-deleted"), ("stream-name", name)];
    exception(Code::FailedPrecondition, &format!("Event stream '{name}' is deleted."), &deleted)
}

fn exception(code: Code, message: &str, pairs: &[(&'static str, &str)]) -> Status {
    let mut metadata = MetadataMap::new();
    for (name, value) in pairs {
        metadata.insert(*name, MetadataValue::try_from(*value).expect("is ASCII"));
    }
    Status::with_metadata(code, message, metadata)
}
