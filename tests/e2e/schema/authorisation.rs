//! Who may do what, tried with every id, every scope and every way of not being let in.

use api::graphql::{ArgumentInfo, FieldInfo, FieldKind, catalogue};
use gateway_tests::{Client, stores};
use serde_json::{Value, json};

use super::lab::Lab;
use super::samples::{Kind, Outcome, Spare, make_room, sample, samples};
use super::walk::{Place, Types, document, error_of, places};

const SCOPES: [&str; 5] = ["READ", "PERSONAL", "SEND", "MANAGE", "ADMIN"];

/// The shortest selection of a field's type.
fn least(types: &Types, field: &FieldInfo) -> String {
    if field.name == "sendMessages" {
        return "{ error { code field message } }".to_owned();
    }
    types.selection(&field.ty, 0).replace("{  }", "{ __typename }")
}

fn code(answer: &Value) -> String {
    error_of(answer).map_or_else(String::new, |error| {
        error["extensions"]["code"].as_str().unwrap_or_default().to_owned()
    })
}

async fn ask(client: &Client, query: &str, args: &Value) -> Value {
    client.try_raw(query, args.clone()).await.expect("the gateway answers")
}

/// Ids that must all be as unknown as one that never was.
fn strangers(lab: &Lab, kind: Kind) -> Vec<(&'static str, String)> {
    let other = if kind == Kind::Contact { Kind::Segment } else { Kind::Contact };
    let mut ids = vec![
        ("never was", "0190a0a0-0000-7000-8000-000000000000".to_owned()),
        ("no id at all", "nonsense".to_owned()),
        ("empty", String::new()),
        ("another kind's", lab.own[&other].clone()),
        ("another workspace's", lab.foreign[&kind].clone()),
    ];
    ids.extend(lab.neighbour.get(&kind).map(|id| ("another account's", id.clone())));
    ids
}

struct Tried<'a> {
    lab: &'a Lab,
    wrong: Vec<String>,
    count: usize,
}

impl Tried<'_> {
    /// Puts every stranger's id at a place and wants one and the same NOT_FOUND.
    async fn place(
        &mut self,
        client: &Client,
        what: &str,
        kind: Kind,
        place: &Place,
        args: &Value,
        query: &str,
    ) {
        let mut first: Option<Value> = None;
        for (whose, id) in strangers(self.lab, kind) {
            // There any kind will do.
            if place.last().name == "aggregateIds" && whose == "another kind's" {
                continue;
            }
            let mut args = args.clone();
            make_room(&mut args, &place.path());
            place.set(&mut args, if place.last().is_list() { json!([id]) } else { json!(id) });
            let answer = ask(client, query, &args).await;
            self.count += 1;
            let at = format!("{what} with {whose} id as {}", place.path());
            let error = error_of(&answer).unwrap_or_default();
            if error["extensions"]["code"] != "NOT_FOUND" {
                self.wrong.push(format!("{at}: {answer}"));
                continue;
            }
            match &first {
                None => first = Some(error),
                Some(first) if *first != error => {
                    self.wrong.push(format!("{at}: {error}, but of an unknown one {first}"))
                }
                Some(_) => {}
            }
        }
    }
}

fn is_id(place: &Place) -> bool {
    place.last().base() == "ID"
}

#[tokio::test(flavor = "multi_thread")]
async fn every_id_of_somebody_else_is_as_unknown_as_none_and_changes_nothing() {
    for kind in stores() {
        let lab = Lab::new(kind).await;
        let spare = Spare::of(&lab).await;
        let samples = samples(&lab.own, &spare);
        let types = Types::of(&lab).await;
        let workspace = &lab.own[&Kind::Workspace];
        let of_workspace = lab.key(json!({ "scopes": SCOPES, "workspaceIds": [workspace] })).await;
        let limits = json!({ "scopes": SCOPES, "workspaceIds": [workspace], "accountIds": [lab.own[&Kind::Account]] });
        let limited = lab.key(limits).await;
        lab.settle().await;
        let head = lab.head().await;
        let mut tried = Tried { lab: &lab, wrong: vec![], count: 0 };
        for field in catalogue() {
            let args = &sample(&samples, &field.name).args;
            let query = document(&field, &least(&types, &field));
            // What is about a whole workspace is not for a key that is limited to accounts.
            let client = if field.name == "connectAccount" { &of_workspace } else { &limited };
            for place in places(&field.args).iter().filter(|place| is_id(place)) {
                match Kind::of(&field.name, &place.last().name) {
                    Some(kind) => tried.place(client, &field.name, kind, place, args, &query).await,
                    None => narrows(&lab, client, &field, place, args).await,
                }
            }
        }
        inner_filters(&mut tried, &limited, &types).await;
        rules(&mut tried, &limited).await;
        assert!(tried.wrong.is_empty(), "{:#?}", tried.wrong);
        assert!(tried.count > 300, "the walk was cut short: {}", tried.count);
        assert_eq!(lab.head().await, head, "something changed");
        lab.stop().await;
    }
}

/// What is never looked up finds nothing of what the key may not see.
async fn narrows(lab: &Lab, client: &Client, field: &FieldInfo, place: &Place, args: &Value) {
    let query = document(field, "{ nodes { id } }");
    let ids = |id: &str| if place.last().is_list() { json!([id]) } else { json!(id) };
    let correlations =
        "query($ids: [ID!]) { events(filter: { aggregateIds: $ids }) { nodes { correlationId } } }";
    for id in
        [&lab.foreign[&Kind::Contact], &lab.foreign[&Kind::Message], &lab.neighbour[&Kind::Message]]
    {
        let data = lab.admin.ask(correlations, json!({ "ids": [id] })).await;
        let correlation = data["events"]["nodes"][0]["correlationId"].as_str().expect("an event");
        let mut args = args.clone();
        place.set(&mut args, ids(correlation));
        let answer = ask(client, &query, &args).await;
        assert_eq!(answer, json!({ "data": { &field.name: { "nodes": [] } } }), "{}", place.path());
    }
}

/// Ids in arguments of fields that are no roots.
async fn inner_filters(tried: &mut Tried<'_>, client: &Client, types: &Types) {
    let inner = types.inner_fields_with(|ty| ty == "ID" || ty.ends_with("Filter"));
    assert_eq!(inner, ["Campaign.messages"], "try the ids of the new one here too");
    let messages =
        catalogue().into_iter().find(|field| field.name == "messages").expect("messages");
    let query = "query($id: ID!, $filter: MessageFilter) { campaign(id: $id) { messages(filter: $filter) { nodes { id } } } }";
    let args = json!({ "id": tried.lab.own[&Kind::Campaign] });
    let filter: Vec<ArgumentInfo> =
        messages.args.into_iter().filter(|arg| arg.name == "filter").collect();
    for place in places(&filter).iter().filter(|place| is_id(place)) {
        let kind = Kind::of("messages", &place.last().name).expect("a kind");
        tried.place(client, "Campaign.messages", kind, place, &args, query).await;
    }
}

/// Campaigns that a segment's rule names.
async fn rules(tried: &mut Tried<'_>, client: &Client) {
    let (workspace, segment) =
        (tried.lab.own[&Kind::Workspace].clone(), tried.lab.own[&Kind::Segment].clone());
    for (query, args) in [
        (
            "mutation($id: ID!, $rule: JSON) { updateSegment(id: $id, rule: $rule) { position } }",
            json!({ "id": segment }),
        ),
        (
            "mutation($workspaceId: ID, $rule: JSON!) { createSegment(input: { workspaceId: $workspaceId, name: \"New\", rule: $rule }) { position } }",
            json!({ "workspaceId": workspace }),
        ),
        ("query($rule: JSON!) { previewSegment(rule: $rule) { count } }", json!({})),
    ] {
        for id in [
            "0190a0a0-0000-7000-8000-000000000000",
            &tried.lab.foreign[&Kind::Campaign],
            &tried.lab.neighbour[&Kind::Campaign],
        ] {
            let mut args = args.clone();
            args["rule"] =
                json!({ "any": [{ "tag": "vip" }, { "not": [{ "campaign": { "id": id } }] }] });
            let answer = ask(client, query, &args).await;
            tried.count += 1;
            if code(&answer) != "NOT_FOUND" {
                tried.wrong.push(format!("{query} with campaign {id} in its rule: {answer}"));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_and_mutation_refuses_every_set_of_scopes_that_is_too_small_and_names_what_is_missing()
 {
    for kind in stores() {
        let lab = Lab::new(kind).await;
        let spare = Spare::of(&lab).await;
        let samples = samples(&lab.own, &spare);
        let types = Types::of(&lab).await;
        let smaller: Vec<_> = SCOPES.into_iter().filter(|scope| *scope != "ADMIN").collect();
        let mut sets: Vec<Vec<&str>> = smaller.iter().map(|scope| vec![*scope]).collect();
        sets.extend(
            smaller.iter().map(|left_out| {
                smaller.iter().copied().filter(|scope| scope != left_out).collect()
            }),
        );
        sets.push(smaller.clone());
        let mut keys = vec![];
        for set in sets {
            keys.push((lab.scoped(&set).await, set));
        }
        lab.settle().await;
        let head = lab.head().await;
        let (mut wrong, mut refused) = (vec![], 0);
        for field in catalogue() {
            let query = document(&field, &least(&types, &field));
            let args = &sample(&samples, &field.name).args;
            for (client, set) in &keys {
                let missing: Vec<_> =
                    field.scopes.iter().filter(|scope| !set.contains(&scope.as_str())).collect();
                if missing.is_empty() {
                    continue;
                }
                let answer = ask(client, &query, args).await;
                refused += 1;
                let message = error_of(&answer).unwrap_or_default()["message"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                let names_it = missing.iter().any(|scope| message.contains(scope.as_str()));
                if code(&answer) != "FORBIDDEN" || !names_it {
                    wrong.push(format!(
                        "{} with {set:?}, without {missing:?}: {answer}",
                        field.name
                    ));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert!(refused > 250, "the walk was cut short: {refused}");
        assert_eq!(lab.head().await, head, "something changed");
        lab.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_and_mutation_does_its_work_with_just_the_scopes_that_it_names() {
    for kind in stores() {
        let lab = Lab::new(kind).await;
        let spare = Spare::of(&lab).await;
        let samples = samples(&lab.own, &spare);
        let types = Types::of(&lab).await;
        let fields = catalogue();
        let mut wrong = vec![];
        for sample in &samples {
            let field = fields.iter().find(|field| field.name == sample.field);
            let field = field.unwrap_or_else(|| {
                panic!("there is no {} any more; take its sample out", sample.field)
            });
            let scopes: Vec<&str> = field.scopes.iter().map(String::as_str).collect();
            let client = lab.scoped(if scopes.is_empty() { &["SEND"] } else { &scopes }).await;
            let head = lab.head().await;
            let answer = ask(&client, &document(field, &least(&types, field)), &sample.args).await;
            let outcome = match error_of(&answer) {
                None => Outcome::Done,
                Some(_) if code(&answer) == "CONFLICT" => Outcome::Refused("CONFLICT"),
                Some(_) => Outcome::Refused("something else"),
            };
            if outcome != sample.outcome {
                wrong.push(format!("{}: {answer}", sample.field));
            }
            if (field.kind == FieldKind::Query || outcome != Outcome::Done)
                && lab.head().await != head
            {
                wrong.push(format!("{} changed something", sample.field));
            }
            lab.settle().await;
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        lab.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_that_is_needed_sometimes_is_needed_then() {
    let lab = Lab::new(gateway_tests::StoreKind::Sqlite).await;
    let reader = lab.scoped(&["READ", "SEND", "MANAGE"]).await;
    for (query, args) in [
        ("{ contacts(filter: { search: \"canary\" }) { nodes { id } } }", json!({})),
        ("{ contacts(filter: { phoneNumbers: [\"+447700900101\"] }) { nodes { id } } }", json!({})),
        (
            "query($workspaceId: ID, $rule: JSON!) { previewSegment(workspaceId: $workspaceId, rule: $rule) { count } }",
            json!({ "workspaceId": lab.own[&Kind::Workspace], "rule": { "not": [{ "attribute": "city", "op": "eq", "value": "x" }] } }),
        ),
        ("{ messageByWamid(wamid: \"wamid.x\") { id } }", json!({})),
        ("{ conversations(filter: { search: \"canary\" }) { nodes { id } } }", json!({})),
    ] {
        let answer = ask(&reader, query, &args).await;
        assert_eq!(code(&answer), "FORBIDDEN", "{query}: {answer}");
        assert!(
            error_of(&answer).expect("an error")["message"]
                .as_str()
                .is_some_and(|text| text.contains("PERSONAL"))
        );
        assert_ne!(code(&ask(&lab.admin, query, &args).await), "FORBIDDEN", "{query}");
    }
    // What is the whole gateway's is not for limited keys.
    let workspace = &lab.own[&Kind::Workspace];
    let limited = lab.key(json!({ "scopes": ["ADMIN"], "workspaceIds": [workspace] })).await;
    for query in [
        "mutation { createWorkspace(name: \"x\") { position } }",
        "mutation { rebuildProjection(name: \"contacts\") { projection { name } } }",
    ] {
        assert_eq!(code(&ask(&limited, query, &json!({})).await), "FORBIDDEN", "{query}");
    }
    let limits = json!({ "scopes": ["ADMIN"], "workspaceIds": [workspace], "accountIds": [lab.own[&Kind::Account]] });
    let narrow = lab.key(limits).await;
    let connect = "mutation($w: ID) { connectAccount(input: { workspaceId: $w, name: \"x\", provider: SANDBOX, timeZone: \"UTC\" }) { position } }";
    assert_eq!(code(&ask(&narrow, connect, &json!({ "w": workspace })).await), "FORBIDDEN");
    lab.stop().await;
}

/// A request by hand, because the client always has a key.
async fn plain(
    client: &Client,
    method: &str,
    path: &str,
    authorization: Option<&str>,
) -> (u16, Value) {
    let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
    let mut request = client.http().request(method, format!("{}{path}", client.base));
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    let request = if path == "/imports" {
        request.header("content-type", "text/csv").body("phone\n+447700900501\n")
    } else {
        request.json(&json!({ "query": "{ viewer { id } }" }))
    };
    let answer = request.send().await.expect("the gateway answers");
    let status = answer.status().as_u16();
    let body = answer.text().await.expect("a body");
    (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_no_valid_key_is_told_nothing_on_any_route() {
    let proxied = [("trusted_proxies", "[\"127.0.0.1/32\"]")];
    for kind in stores() {
        let lab = Lab::with(kind, &proxied).await;
        let expires_at = lab.gateway.clock.now() + chrono::Duration::minutes(10);
        let expired =
            lab.key(json!({ "scopes": ["ADMIN"], "expiresAt": expires_at.to_rfc3339() })).await;
        let revoked = lab.scoped(&["ADMIN"]).await;
        // Both open until then, and are remembered as such.
        for client in [&expired, &revoked] {
            client.ask("{ viewer { id } }", json!({})).await;
        }
        let id = revoked.ask("{ viewer { id } }", json!({})).await["viewer"]["id"].clone();
        lab.admin
            .ask("mutation($id: ID!) { revokeApiKey(id: $id) { position } }", json!({ "id": id }))
            .await;
        lab.move_clock(chrono::Duration::minutes(11));
        let almost = lab.admin.key[..lab.admin.key.len() - 1].to_owned();
        let longer = format!("{}x", lab.admin.key);
        let endless = format!("wgk_{}", "x".repeat(4_000));
        let wrong = [
            "wgk_0000000000000000000000000000000000000000000",
            "wgk_",
            "nonsense",
            &almost,
            &longer,
            &endless,
        ];
        let mut bearers: Vec<String> = wrong.iter().map(|key| format!("Bearer {key}")).collect();
        bearers.extend([&expired, &revoked].map(|client| format!("Bearer {}", client.key)));
        let other_schemes =
            [format!("Basic {}", lab.admin.key), lab.admin.key.clone(), "Bearer".to_owned()];
        let head = lab.head().await;
        for (method, path) in [
            ("POST", "/graphql"),
            ("POST", "/imports"),
            ("GET", "/metrics"),
            ("GET", "/_sandbox/calls"),
            ("POST", "/_sandbox/inbound"),
            ("PUT", "/_sandbox/behaviour"),
            ("GET", "/_sandbox/anything"),
        ] {
            let is_graphql = path == "/graphql";
            let refused = |(status, body): &(u16, Value)| {
                let code = if is_graphql {
                    &body["errors"][0]["extensions"]["code"]
                } else {
                    &body["error"]["code"]
                };
                assert_eq!(code, "UNAUTHENTICATED", "{path}: {body}");
                assert_eq!(*status, if is_graphql { 200 } else { 401 }, "{path}");
                assert!(body["data"].is_null(), "{path}: {body}");
            };
            let none = plain(&lab.admin, method, path, None).await;
            refused(&none);
            for scheme in &other_schemes {
                assert_eq!(plain(&lab.admin, method, path, Some(scheme)).await, none, "{path}");
            }
            let mut first = None;
            for bearer in &bearers {
                let answer = plain(&lab.admin, method, path, Some(bearer)).await;
                refused(&answer);
                let first = first.get_or_insert_with(|| answer.clone());
                assert_eq!(*first, answer, "{path} tells kinds of wrong keys apart");
            }
        }
        assert_eq!(lab.head().await, head, "something changed");
        // Too small a scope on the plain routes.
        let reader = lab.scoped(&["READ", "SEND", "PERSONAL"]).await;
        let sender = lab.scoped(&["SEND"]).await;
        for (client, method, path, scope) in [
            (&reader, "POST", "/imports", "MANAGE"),
            (&sender, "GET", "/metrics", "READ"),
            (&reader, "GET", "/_sandbox/calls", "ADMIN"),
        ] {
            let (status, body) =
                plain(client, method, path, Some(&format!("Bearer {}", client.key))).await;
            assert_eq!(
                (status, &body["error"]["code"]),
                (403, &json!("FORBIDDEN")),
                "{path}: {body}"
            );
            assert!(
                body["error"]["message"].as_str().is_some_and(|text| text.contains(scope)),
                "{path}: {body}"
            );
        }
        // As of now, the real one opens; 404 where this process gave its metrics to another gateway.
        let bearer = format!("bearer {}", lab.admin.key);
        let (status, _) = plain(&lab.admin, "GET", "/metrics", Some(&bearer)).await;
        assert!([200, 404].contains(&status), "{status}");
        lab.stop().await;
    }
}
