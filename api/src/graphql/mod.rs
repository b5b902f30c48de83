//! The GraphQL API. Resolvers translate: input to use case, view to type, error to code. Who may do what is decided below,
//! in `application`; what a request may cost is decided here, before it runs.

mod accounts;
mod api_keys;
pub mod bounds;
mod campaigns;
mod coerce;
mod connection;
mod contacts;
mod conversations;
mod enums;
mod error;
mod events;
mod graphiql;
mod http;
mod imports;
mod limiter;
mod messages;
mod omitted;
mod scalars;
mod segments;
mod session;
mod stats;
mod subscriptions;
mod table;
mod templates;
mod trail;
mod users;
mod webhook_endpoints;
mod websocket;
mod workspaces;

use std::sync::{Arc, OnceLock};

use actix_web::web;
use async_graphql::{MergedObject, SDLExportOptions};

use crate::app::Gateway;
use limiter::Limiter;
use subscriptions::Subscription;
use table::Table;

pub use http::{BODY_BYTES_MAX, REQUEST_TIME_MAX};
pub use table::{ArgumentInfo, FieldInfo, FieldKind};

/// Everything that can be asked. Queries answer from read models, which follow the log within moments; `minPosition` waits
/// for what one has just written.
#[derive(Default, MergedObject)]
#[graphql(name = "Query")]
struct Query(
    workspaces::WorkspaceQuery,
    accounts::AccountQuery,
    templates::TemplateQuery,
    contacts::ContactQuery,
    segments::SegmentQuery,
    imports::ImportQuery,
    campaigns::CampaignQuery,
    messages::MessageQuery,
    conversations::ConversationQuery,
    events::EventQuery,
    stats::StatsQuery,
    users::UserQuery,
    trail::TrailQuery,
    webhook_endpoints::WebhookEndpointQuery,
    api_keys::ApiKeyQuery,
    workspaces::ProjectionQuery,
);

/// Everything that can be done. A mutation is a command: it answers when its events are durable, with the position of the
/// last one.
#[derive(Default, MergedObject)]
#[graphql(name = "Mutation")]
struct Mutation(
    workspaces::WorkspaceMutation,
    accounts::AccountMutation,
    templates::TemplateMutation,
    contacts::ContactMutation,
    imports::ImportMutation,
    segments::SegmentMutation,
    campaigns::CampaignMutation,
    messages::MessageMutation,
    conversations::ConversationMutation,
    users::UserMutation,
    webhook_endpoints::WebhookEndpointMutation,
    api_keys::ApiKeyMutation,
    workspaces::ProjectionMutation,
);

type Executable = async_graphql::Schema<Query, Mutation, Subscription>;

/// The schema, and what guards it. Cheap to clone.
#[derive(Clone)]
pub struct Schema {
    executable: Executable,
    table: Arc<Table>,
    limiter: Arc<Limiter>,
}

/// Levels of selections that validation and execution go into; the bounds are narrower.
const RECURSION_MAX: usize = 40;

fn executable() -> Executable {
    async_graphql::Schema::build(Query::default(), Mutation::default(), Subscription)
        .limit_recursive_depth(RECURSION_MAX)
        .limit_directives(bounds::DIRECTIVES_MAX)
        .finish()
}

/// The schema of a gateway.
pub fn schema(gateway: Arc<Gateway>) -> Schema {
    let executable = executable();
    let table = table();
    let limiter = Arc::new(Limiter::new(gateway.config.graphql.requests_per_second));
    Schema { executable, table, limiter }
}

/// The schema in the schema definition language: what `docs/schema.graphql` holds. Needs no gateway.
pub fn sdl() -> String {
    static SDL: OnceLock<String> = OnceLock::new();
    SDL.get_or_init(|| {
        let options = SDLExportOptions::new()
            .prefer_single_line_descriptions()
            .use_space_ident()
            .indent_width(2);
        let text = executable().sdl_with_options(options);
        let lines: Vec<_> = text.trim().lines().map(str::trim_end).collect();
        format!("{}\n", lines.join("\n"))
    })
    .clone()
}

/// Read once for the whole process: it is the same for every gateway in it.
fn table() -> Arc<Table> {
    static TABLE: OnceLock<Arc<Table>> = OnceLock::new();
    TABLE.get_or_init(|| Arc::new(Table::of(&sdl()))).clone()
}

/// Every query and mutation with its arguments, from the schema itself: for whoever has to go through all of them.
pub fn catalogue() -> Vec<FieldInfo> {
    table().catalogue()
}

/// `GET` and `POST /graphql`, and GraphiQL's files.
pub fn configure(routes: &mut web::ServiceConfig) {
    http::configure(routes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docs_are_current_schema() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/schema.graphql");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, sdl()).unwrap();
        }
        let checked_in = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            checked_in == sdl(),
            "docs/schema.graphql is not what the schema says; `make docs` writes it anew"
        );
    }

    #[test]
    fn everything_in_the_schema_is_described() {
        let document = async_graphql::parser::parse_schema(sdl()).unwrap();
        let mut bare = vec![];
        for definition in document.definitions {
            use async_graphql::parser::types::{TypeKind, TypeSystemDefinition};
            let TypeSystemDefinition::Type(ty) = definition else { continue };
            let name = &ty.node.name.node;
            let mut require = |has: bool, what: String| {
                if !has {
                    bare.push(what);
                }
            };
            require(ty.node.description.is_some(), name.to_string());
            match &ty.node.kind {
                TypeKind::Object(object) => {
                    for field in &object.fields {
                        require(
                            field.node.description.is_some(),
                            format!("{name}.{}", field.node.name.node),
                        );
                    }
                }
                TypeKind::InputObject(input) => {
                    for field in &input.fields {
                        require(
                            field.node.description.is_some(),
                            format!("{name}.{}", field.node.name.node),
                        );
                    }
                }
                TypeKind::Enum(values) => {
                    for value in &values.values {
                        require(
                            value.node.description.is_some(),
                            format!("{name}.{}", value.node.value.node),
                        );
                    }
                }
                _ => {}
            }
        }
        assert!(bare.is_empty(), "without a description: {bare:?}");
    }

    #[test]
    fn the_catalogue_has_every_query_and_mutation_with_its_inputs() {
        let catalogue = catalogue();
        let connect = catalogue.iter().find(|field| field.name == "connectAccount").unwrap();
        assert_eq!(connect.kind, FieldKind::Mutation);
        assert_eq!(connect.ty, "AccountPayload!");
        let input = &connect.args[0];
        assert!(input.required && input.ty == "ConnectAccountInput!");
        let provider = input.fields.iter().find(|field| field.name == "provider").unwrap();
        assert_eq!(provider.values, ["CLOUD_API", "SANDBOX"]);
        let queries = catalogue.iter().filter(|field| field.kind == FieldKind::Query).count();
        assert_eq!((queries, catalogue.len() - queries), (34, 64));
    }

    #[test]
    fn what_creates_or_sends_takes_an_idempotency_key() {
        let creates = [
            "createWorkspace",
            "connectAccount",
            "createTemplate",
            "addContact",
            "upsertContact",
            "importContacts",
            "createSegment",
            "createCampaign",
            "launchCampaign",
            "approveCampaign",
            "cloneCampaign",
            "retryCampaign",
            "testCampaign",
            "sendMessage",
            "sendMessages",
            "replyToConversation",
            "createWebhookEndpoint",
            "createApiKey",
            "inviteUser",
        ];
        for field in catalogue() {
            let has = |args: &[ArgumentInfo]| args.iter().any(|arg| arg.name == "idempotencyKey");
            let takes = has(&field.args) || field.args.iter().any(|arg| has(&arg.fields));
            assert_eq!(takes, creates.contains(&field.name.as_str()), "{}", field.name);
        }
    }
}
