//! What a key without PERSONAL is shown of people.

use api::graphql::catalogue;
use domain::message::MessageCommand;
use domain::primitives::Wamid;
use gateway_tests::{Client, stores};
use serde_json::{Value, json};

use super::lab::{CANARY, CANARY_DIGITS, Lab};
use super::samples::{Kind, Spare, WAMID, sample, samples};
use super::walk::{Types, document, error_of, texts};

/// Levels of objects that are looked into.
const LEVELS: usize = 4;
const MASK: &str = "•••";

fn personal(answer: &Value) -> Vec<String> {
    let holds =
        |text: &String| text.to_lowercase().contains(CANARY) || text.contains(CANARY_DIGITS);
    texts(answer).into_iter().filter(holds).collect()
}

async fn ask(client: &Client, query: &str, args: &Value) -> Value {
    client.try_raw(query, args.clone()).await.expect("the gateway answers")
}

/// Gives every kind of personal data a place in the lab.
async fn people(lab: &Lab) {
    let message = &lab.own[&Kind::Message];
    lab.doubt(message).await;
    let wamid = Wamid::parse(WAMID).expect("a wamid");
    let at = lab.gateway.clock.now();
    lab.tell(message, MessageCommand::RecordAccepted { attempt: 1, wamid, held: false, at }).await;
    lab.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_query_shows_anything_personal_without_the_scope_and_all_of_it_with_the_scope() {
    for kind in stores() {
        let lab = Lab::new(kind).await;
        people(&lab).await;
        let spare = Spare::of(&lab).await;
        let samples = samples(&lab.own, &spare);
        let types = Types::of(&lab).await;
        let masked = lab.scoped(&["READ", "SEND", "MANAGE"]).await;
        let open = lab.scoped(&["READ", "PERSONAL"]).await;
        let (mut leaks, mut seen, mut masks) = (vec![], vec![], 0);
        for field in
            catalogue().into_iter().filter(|field| field.kind == api::graphql::FieldKind::Query)
        {
            let mut args = sample(&samples, &field.name).args.clone();
            if field.args.iter().any(|arg| arg.name == "first") {
                // Everything of each would be too much of fifty.
                args["first"] = json!(10);
            }
            let args = &args;
            let query = document(&field, &types.selection(&field.ty, LEVELS));
            let answer = ask(&masked, &query, args).await;
            if field.scopes == ["READ"] {
                assert_eq!(error_of(&answer), None, "{}: {answer}", field.name);
            }
            leaks.extend(
                personal(&answer).into_iter().map(|text| format!("{}: {text}", field.name)),
            );
            masks += texts(&answer).iter().filter(|text| text.contains(MASK)).count();
            seen.extend(personal(&ask(&open, &query, args).await));
        }
        assert!(leaks.is_empty(), "{leaks:#?}");
        assert!(masks > 20, "little was there to be masked: {masks}");
        // The walk came by all of these, so that it would have noticed.
        for text in [
            "Canary Person",
            "+447700900101",
            "GB.canary447700900101",
            "canary-customer",
            "Canary City",
            WAMID,
            "canary order",
            "canary parameter",
            "{{name | default: canary friend}}",
        ] {
            assert!(
                seen.iter().any(|shown| shown == text),
                "{text} is nowhere to be seen with PERSONAL"
            );
        }
        lab.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_mutation_answers_anything_personal_without_the_scope() {
    let lab = Lab::new(gateway_tests::StoreKind::Sqlite).await;
    let spare = Spare::of(&lab).await;
    let types = Types::of(&lab).await;
    let masked = lab.scoped(&["READ", "SEND", "MANAGE"]).await;
    let fields = catalogue();
    let (mut leaks, mut masks) = (vec![], 0);
    for sample in samples(&lab.own, &spare) {
        let field = fields.iter().find(|field| field.name == sample.field).expect("a field");
        let answer =
            ask(&masked, &document(field, &types.selection(&field.ty, 2)), &sample.args).await;
        leaks.extend(personal(&answer).into_iter().map(|text| format!("{}: {text}", field.name)));
        masks += texts(&answer).iter().filter(|text| text.contains(MASK)).count();
        lab.settle().await;
    }
    assert!(leaks.is_empty(), "{leaks:#?}");
    assert!(masks > 20, "little was there to be masked: {masks}");
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_leaves_what_an_absent_variable_names_as_it_is() {
    let lab = Lab::new(gateway_tests::StoreKind::Sqlite).await;
    let query = "mutation($id: ID!, $name: String, $externalId: String, $language: String) { updateContact(input: { id: $id, \
                 name: $name, externalId: $externalId, language: $language }) { contact { name externalId language } } }";
    let args = json!({ "id": lab.own[&Kind::Contact], "language": "de", "externalId": null });
    let data = lab.admin.ask(query, args).await;
    let shown = json!({ "name": "Canary Person", "externalId": null, "language": "de" });
    assert_eq!(data["updateContact"]["contact"], shown);
    lab.stop().await;
}
