//! What one request may cost, from outside.

use gateway_tests::StoreKind;
use serde_json::{Value, json};

use super::lab::Lab;

async fn code_of(lab: &Lab, query: &str) -> String {
    let answer = lab.admin.try_raw(query, json!({})).await.expect("the gateway answers");
    answer["errors"][0]["extensions"]["code"].as_str().unwrap_or_default().to_owned()
}

fn repeated(count: usize, part: impl Fn(usize) -> String) -> String {
    (0..count).map(part).collect::<Vec<_>>().join(" ")
}

/// Campaigns and their messages in turn, so many levels deep.
fn levels(count: usize) -> String {
    let inner = "messages(first: 1) { nodes { campaign {";
    let mut query = "{ campaigns(first: 1) { nodes {".to_owned();
    let mut depth = 2;
    let mut open = 3;
    while depth + 3 < count {
        query.push_str(inner);
        depth += 3;
        open += 3;
    }
    if depth < count - 1 {
        query.push_str("template {");
        open += 1;
    }
    query.push_str(" id ");
    query.push_str(&"}".repeat(open));
    query
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_could_cost_too_much_is_refused_before_it_runs() {
    let lab = Lab::new(StoreKind::Sqlite).await;
    let head = lab.head().await;
    let aliases =
        |count| format!("{{ {} }}", repeated(count, |n| format!("a{n}: viewer {{ id }}")));
    let mutations = |count| {
        format!(
            "mutation {{ {} }}",
            repeated(count, |n| format!("a{n}: pauseCampaign(id: \"x\") {{ position }}"))
        )
    };
    let directives = |count| {
        format!("{{ viewer {{ {} }} }}", repeated(count, |_| "id @include(if: true)".to_owned()))
    };
    let text = |bytes: usize| {
        format!("{{ viewer {{ id }} }}{}", " ".repeat(bytes - "{ viewer { id } }".len()))
    };
    let pages = |first: i32| {
        format!(
            "{{ messages(first: {first}) {{ nodes {{ campaign {{ messages(first: {first}) {{ nodes {{ id }} }} }} }} }} }}"
        )
    };
    for (what, right, wrong) in [
        ("aliases", aliases(30), aliases(31)),
        ("directives", directives(20), directives(21)),
        ("text", text(32 * 1024), text(32 * 1024 + 1)),
        ("depth", levels(9), levels(15)),
        ("complexity", pages(100), pages(500)),
    ] {
        assert_eq!(code_of(&lab, &right).await, "", "{what}");
        assert_eq!(code_of(&lab, &wrong).await, "QUERY_TOO_COMPLEX", "{what}");
    }
    assert_eq!(code_of(&lab, &mutations(10)).await, "NOT_FOUND");
    assert_eq!(code_of(&lab, &mutations(11)).await, "QUERY_TOO_COMPLEX");
    assert_eq!(code_of(&lab, "{ messages(first: 500) { nodes { id } } }").await, "");
    let fragments = "{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }";
    assert_eq!(code_of(&lab, fragments).await, "VALIDATION_FAILED");
    let brackets = format!("{{ viewer(x: {}1{}) {{ id }} }}", "[".repeat(2_000), "]".repeat(2_000));
    assert_eq!(code_of(&lab, &brackets).await, "QUERY_TOO_COMPLEX");
    assert_eq!(lab.head().await, head, "something changed");
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_at_most_five_hundred_wherever_there_are_pages() {
    let lab = Lab::new(StoreKind::Sqlite).await;
    for list in [
        "accounts",
        "templates",
        "contacts",
        "segments",
        "campaigns",
        "messages",
        "events",
        "webhookEndpoints",
        "apiKeys",
        "users",
    ] {
        for first in [501, -1] {
            let query = format!("{{ {list}(first: {first}) {{ nodes {{ id }} }} }}");
            let answer = lab.admin.try_raw(&query, json!({})).await.expect("the gateway answers");
            let extensions = &answer["errors"][0]["extensions"];
            assert_eq!(extensions["code"], "VALIDATION_FAILED", "{query}: {answer}");
            assert_eq!(extensions["field"], "first", "{query}: {answer}");
        }
    }
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_one_request_of_a_bounded_size() {
    let lab = Lab::new(StoreKind::Sqlite).await;
    let send = |kind: &'static str, body: String| {
        let request = lab
            .admin
            .http()
            .post(format!("{}/graphql", lab.admin.base))
            .bearer_auth(&lab.admin.key);
        async move {
            let answer =
                request.header("content-type", kind).body(body).send().await.expect("an answer");
            let status = answer.status().as_u16();
            (status, answer.json::<Value>().await.expect("JSON"))
        }
    };
    let code = |body: &Value| {
        body["errors"][0]["extensions"]["code"].as_str().unwrap_or_default().to_owned()
    };
    let one = json!({ "query": "{ viewer { id } }" });
    let padded = |bytes: usize| {
        let empty = json!({ "query": "{ viewer { id } }", "extensions": "" }).to_string().len();
        json!({ "query": "{ viewer { id } }", "extensions": "x".repeat(bytes - empty) }).to_string()
    };
    let (status, body) = send("application/json", json!([one, one]).to_string()).await;
    assert_eq!((status, code(&body).as_str()), (200, "VALIDATION_FAILED"), "{body}");
    let (status, body) = send("application/json", padded(4 * 1024 * 1024)).await;
    assert_eq!((status, code(&body).as_str()), (200, ""), "{body}");
    let (status, body) = send("application/json", padded(4 * 1024 * 1024 + 1)).await;
    assert_eq!((status, code(&body).as_str()), (413, "QUERY_TOO_COMPLEX"), "{body}");
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
    {
        let (status, body) = send(kind, one.to_string()).await;
        assert_eq!((status, code(&body).as_str()), (415, "VALIDATION_FAILED"), "{kind}: {body}");
    }
    for broken in [
        "",
        "{",
        "7",
        "{}",
        "{\"query\":7}",
        "{\"query\":\"{ viewer { id }\"}",
        "{\"query\":\"{ viewer { id } }\",\"variables\":[]}",
    ] {
        let (status, body) = send("application/json", broken.to_owned()).await;
        assert_eq!((status, code(&body).as_str()), (200, "VALIDATION_FAILED"), "{broken}: {body}");
    }
    // A body that is nested without end is turned away and breaks nothing.
    let (status, body) = send("application/json", "[".repeat(100_000)).await;
    assert_eq!((status, code(&body).as_str()), (200, "VALIDATION_FAILED"), "{body}");
    lab.stop().await;
}
