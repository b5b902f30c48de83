//! People: from the first link to the last session, as a browser would do it.

use gateway_tests::{
    Binary, BinaryOptions, Client, Store, StoreKind, eventually, files_under, found_in, run, stores,
};
use reqwest::{Method, Response};
use serde_json::{Value, json};

const PASSWORD: &str = "Schachtelhalm waechst am Bach";
const NEXT_PASSWORD: &str = "Baerlapp waechst im Moor 7";

/// A browser: keeps the cookie, and shows what a page shows.
#[derive(Clone)]
struct Browser {
    client: Client,
    cookie: Option<String>,
    csrf: String,
}

impl Browser {
    fn new(client: &Client) -> Self {
        Self { client: client.clone(), cookie: None, csrf: String::new() }
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Response {
        let mut request = self
            .client
            .http()
            .request(method, format!("{}{path}", self.client.base))
            .header("origin", &self.client.base)
            .header("x-csrf-token", &self.csrf);
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.expect("the gateway answers")
    }

    /// The status and the body; a cookie that is set is kept, and so is the CSRF token.
    async fn ask(&mut self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let answer = self.send(method, path, body).await;
        let status = answer.status().as_u16();
        for cookie in answer.headers().get_all("set-cookie") {
            let text = cookie.to_str().expect("text");
            assert!(text.contains("HttpOnly") && text.contains("SameSite=Lax"), "{text}");
            self.cookie = text.split(';').next().map(str::to_owned);
        }
        let body: Value =
            serde_json::from_str(&answer.text().await.expect("a body")).unwrap_or_default();
        if let Some(csrf) = body["csrfToken"].as_str() {
            self.csrf = csrf.to_owned();
        }
        (status, body)
    }

    async fn sign_in(&mut self, email: &str, password: &str, code: Option<&str>) -> (u16, Value) {
        let body = json!({ "email": email, "password": password, "code": code });
        self.ask(Method::POST, "/session", Some(body)).await
    }

    async fn accept(
        &mut self,
        link: &str,
        password: &str,
        person: Option<(&str, &str)>,
    ) -> (u16, Value) {
        let token = link.split_once("#token=").expect("a link").1;
        let body = json!({ "token": token, "password": password, "name": person.map(|it| it.0), "email": person.map(|it| it.1) });
        self.ask(Method::POST, "/session/link", Some(body)).await
    }

    async fn graphql(&self, query: &str, variables: Value) -> Value {
        let body = json!({ "query": query, "variables": variables });
        let answer = self.send(Method::POST, "/graphql", Some(body)).await;
        answer.json().await.expect("JSON")
    }

    async fn viewer(&self) -> Value {
        self.graphql("{ viewer { kind id name scopes accountIds } }", json!({})).await["data"]["viewer"].clone()
    }
}

fn code_of(answer: &Value) -> &str {
    answer["errors"][0]["extensions"]["code"].as_str().unwrap_or_default()
}

fn link_in(text: &str) -> String {
    let link =
        text.lines().find_map(|line| line.split_whitespace().find(|word| word.contains("#token=")));
    link.unwrap_or_else(|| panic!("no link in {text}")).to_owned()
}

async fn invited(browser: &Browser, email: &str, role: &str, more: Value) -> (String, String) {
    let mut input = json!({ "email": email, "name": "Somebody", "role": role });
    for (name, value) in more.as_object().expect("an object") {
        input[name] = value.clone();
    }
    let query = "mutation($input: InviteUserInput!) { inviteUser(input: $input) { user { id joinedAt } link } }";
    let answer = browser.graphql(query, json!({ "input": input })).await;
    let made = &answer["data"]["inviteUser"];
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    (text(&made["user"]["id"]), text(&made["link"]))
}

async fn first_owner(gateway: &Binary) -> Browser {
    let mut owner = Browser::new(&gateway.client);
    let link = link_in(&gateway.log_text());
    assert!(link.contains("/setup#token="), "{link}");
    let (status, body) =
        owner.accept(&link, PASSWORD, Some(("Ana Lima", "Ana@Shop.example"))).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(
        (&body["user"]["role"], &body["user"]["email"]),
        (&json!("OWNER"), &json!("ana@shop.example"))
    );
    // Good once.
    let (status, _) = Browser::new(&gateway.client)
        .accept(&link, PASSWORD, Some(("Eve", "eve@shop.example")))
        .await;
    assert_eq!(status, 401);
    owner
}

#[tokio::test(flavor = "multi_thread")]
async fn two_owners_never_end_each_other() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let gateway = Binary::start(&store, None, &BinaryOptions::default()).await;
        let client = gateway.client.clone();
        let ana = first_owner(&gateway).await;
        let ana_id = ana.viewer().await["id"].as_str().expect("an id").to_owned();
        let (bo_id, link) = invited(&ana, "bo@shop.example", "OWNER", json!({})).await;
        assert_eq!(Browser::new(&client).accept(&link, PASSWORD, None).await.0, 200);
        let suspend = "mutation($id: ID!) { suspendUser(id: $id) { position } }";
        let reinstate = "mutation($id: ID!) { reinstateUser(id: $id) { position } }";
        for _ in 0..8 {
            let (ana, bo) = tokio::join!(
                client.query(suspend, json!({ "id": ana_id })),
                client.query(suspend, json!({ "id": bo_id }))
            );
            assert!(ana.is_ok() != bo.is_ok(), "{kind:?}: one of them stays: {ana:?} {bo:?}");
            let gone = if ana.is_ok() { &ana_id } else { &bo_id };
            client.ask(reinstate, json!({ "id": gone })).await;
        }
        gateway.terminate().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_first_link_to_a_removed_user_everybody_may_do_what_their_role_says() {
    for kind in stores() {
        let store = Store::fresh(kind).await;
        let gateway = Binary::start(&store, None, &BinaryOptions::default()).await;
        let (port, client) = (gateway.port, gateway.client.clone());
        let owner = first_owner(&gateway).await;
        let viewer = owner.viewer().await;
        assert_eq!((&viewer["kind"], &viewer["scopes"]), (&json!("USER"), &json!(["ADMIN"])));

        // A viewer looks, sees masks, and changes nothing.
        let (id, link) = invited(&owner, "bo@shop.example", "VIEWER", json!({})).await;
        let mut bo = Browser::new(&client);
        let (status, body) = bo.accept(&link, "kurz", None).await;
        assert_eq!((status, &body["error"]["field"]), (400, &json!("password")));
        assert_eq!(bo.accept(&link, PASSWORD, None).await.0, 200);
        assert_eq!(Browser::new(&client).accept(&link, PASSWORD, None).await.0, 401, "good once");
        assert_eq!(bo.viewer().await["scopes"], json!(["READ"]));
        let segment = "mutation { createSegment(input: { name: \"vips\", rule: { tag: \"vip\" } }) { segment { id } } }";
        assert_eq!(code_of(&bo.graphql(segment, json!({})).await), "FORBIDDEN");
        assert_eq!(
            code_of(&bo.graphql("{ users { nodes { id } } }", json!({})).await),
            "FORBIDDEN"
        );

        // With another role they sign in again, and may do more; it is on record who did it.
        let update = "mutation($id: ID!, $role: Role!) { updateUser(input: { id: $id, role: $role }) { user { role } } }";
        let answer = owner.graphql(update, json!({ "id": id, "role": "MANAGER" })).await;
        assert_eq!(answer["data"]["updateUser"]["user"]["role"], "MANAGER", "{answer}");
        assert_eq!(code_of(&bo.graphql(segment, json!({})).await), "UNAUTHENTICATED");
        let before = bo.cookie.clone();
        assert_eq!(bo.sign_in("BO@shop.example", PASSWORD, None).await.0, 200);
        assert_ne!(bo.cookie, before, "a session of its own");
        let made = bo.graphql(segment, json!({})).await;
        assert!(made["data"]["createSegment"]["segment"]["id"].is_string(), "{made}");
        let query = "{ events(first: 1, filter: { types: [\"segment.created\"] }) { nodes { actor { kind id } } } }";
        let seen = client.ask(query, json!({})).await;
        assert_eq!(seen["events"]["nodes"][0]["actor"], json!({ "kind": "USER", "id": id }));

        // Somebody limited sees nobody who reaches further than they do.
        let account = crate::common::sandbox_account(&client).await.0;
        let (_, link) =
            invited(&owner, "cy@shop.example", "OWNER", json!({ "accountIds": [account] })).await;
        let mut cy = Browser::new(&client);
        assert_eq!(cy.accept(&link, PASSWORD, None).await.0, 200);
        let seen = eventually("the limited one is known", || async {
            let seen = cy.graphql("{ users { nodes { email } totalCount } }", json!({})).await;
            (seen["data"]["users"]["totalCount"] == 1).then_some(seen)
        })
        .await;
        assert_eq!(seen["data"]["users"]["nodes"], json!([{ "email": "cy@shop.example" }]));
        let suspend = "mutation($id: ID!) { suspendUser(id: $id) { position } }";
        assert_eq!(code_of(&cy.graphql(suspend, json!({ "id": id })).await), "NOT_FOUND");

        // The last owner stays one; suspended and removed people are out at once.
        let own = viewer["id"].clone();
        for change in ["suspendUser", "removeUser"] {
            let query = format!("mutation($id: ID!) {{ {change}(id: $id) {{ position }} }}");
            assert_eq!(code_of(&owner.graphql(&query, json!({ "id": own })).await), "CONFLICT");
        }
        assert_eq!(
            code_of(&owner.graphql(update, json!({ "id": own, "role": "VIEWER" })).await),
            "CONFLICT"
        );
        owner.graphql(suspend, json!({ "id": id })).await;
        assert_eq!(bo.ask(Method::GET, "/session", None).await.0, 401);
        assert_eq!(bo.sign_in("bo@shop.example", PASSWORD, None).await.0, 401);
        owner
            .graphql(
                "mutation($id: ID!) { reinstateUser(id: $id) { position } }",
                json!({ "id": id }),
            )
            .await;
        assert_eq!(bo.sign_in("bo@shop.example", PASSWORD, None).await.0, 200);
        owner
            .graphql("mutation($id: ID!) { removeUser(id: $id) { position } }", json!({ "id": id }))
            .await;
        assert_eq!(bo.ask(Method::GET, "/session", None).await.0, 401);
        assert_eq!(bo.sign_in("bo@shop.example", PASSWORD, None).await.0, 401);
        let events = run(&store, &["events", "--type", "user.*", "--personal"]).await;
        assert!(!events.out.contains("bo@shop.example") && events.out.contains("ana@shop.example"));

        // A session outlives the gateway, and its end does too.
        gateway.kill().await;
        let gateway =
            Binary::start(&store, None, &BinaryOptions { port, ..BinaryOptions::default() }).await;
        assert_eq!(owner.viewer().await["id"], own);
        assert_eq!(gateway.log_text().matches("#token=").count(), 1, "no second set-up link");
        let mut leaving = owner.clone();
        assert_eq!(leaving.ask(Method::DELETE, "/session", None).await.0, 204);
        assert_eq!(
            code_of(&owner.graphql("{ viewer { id } }", json!({})).await),
            "UNAUTHENTICATED"
        );

        // Whoever has the machine lets people back in.
        let reset = run(&store, &["users", "reset", own.as_str().expect("an id")]).await;
        let mut back = Browser::new(&client);
        assert_eq!(
            back.accept(&link_in(&reset.out), NEXT_PASSWORD, None).await.0,
            200,
            "{}",
            reset.err
        );
        assert_eq!(back.sign_in("ana@shop.example", PASSWORD, None).await.0, 401);

        gateway.terminate().await;
        // What opens something stands nowhere, but the set-up link where it was printed.
        for file in files_under(store.dir.path()).into_iter().filter(|file| file.is_file()) {
            let bytes = std::fs::read(&file).expect("a file");
            let cookie =
                back.cookie.as_deref().and_then(|it| it.split_once('=')).expect("a cookie").1;
            let found =
                found_in(&bytes, &[PASSWORD, NEXT_PASSWORD, cookie, &back.csrf, "bo@shop.example"]);
            assert!(found.is_empty(), "{found:?} in {}", file.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_is_asked_for_and_each_code_is_good_once() {
    let store = Store::fresh(StoreKind::Sqlite).await;
    let gateway = Binary::start(&store, None, &BinaryOptions::default()).await;
    let mut owner = first_owner(&gateway).await;
    let other = owner.clone();
    let (status, enrolment) = owner
        .ask(Method::POST, "/session/second-factor", Some(json!({ "currentPassword": PASSWORD })))
        .await;
    assert_eq!(status, 200, "{enrolment}");
    assert!(enrolment["uri"].as_str().expect("a URI").starts_with("otpauth://totp/"));
    let secret = enrolment["secret"].as_str().expect("a secret").to_owned();
    let code = |secret: &str| {
        let bytes = totp_rs::Secret::Encoded(secret.to_owned()).to_bytes().expect("base32");
        let totp = totp_rs::TOTP::new_unchecked(totp_rs::Algorithm::SHA1, 6, 1, 30, bytes);
        totp.generate_current().expect("a time")
    };
    let wrong =
        owner.ask(Method::PUT, "/session/second-factor", Some(json!({ "code": "12" }))).await;
    assert_eq!((wrong.0, &wrong.1["error"]["field"]), (400, &json!("code")));
    let first = code(&secret);
    let (status, confirmed) =
        owner.ask(Method::PUT, "/session/second-factor", Some(json!({ "code": first }))).await;
    assert_eq!(status, 200, "{confirmed}");
    let recovery = confirmed["recoveryCodes"].as_array().expect("codes").clone();
    assert_eq!(recovery.len(), 10);
    // The session before is over, this one goes on.
    assert_eq!(code_of(&other.graphql("{ viewer { id } }", json!({})).await), "UNAUTHENTICATED");
    assert_eq!(owner.viewer().await["kind"], "USER");

    let mut browser = Browser::new(&gateway.client);
    let (status, asked) = browser.sign_in("ana@shop.example", PASSWORD, None).await;
    assert_eq!((status, &asked["error"]["field"]), (401, &json!("code")));
    let (status, _) = browser.sign_in("ana@shop.example", PASSWORD, Some(&first)).await;
    assert_eq!(status, 401, "used already");
    let one = recovery[0].as_str();
    assert_eq!(browser.sign_in("ana@shop.example", PASSWORD, one).await.0, 200);
    assert_eq!(browser.sign_in("ana@shop.example", PASSWORD, one).await.0, 401, "used already");

    let body = json!({ "currentPassword": "wrong" });
    let (status, refused) = owner.ask(Method::DELETE, "/session/second-factor", Some(body)).await;
    assert_eq!((status, &refused["error"]["field"]), (400, &json!("currentPassword")));
    let body = json!({ "currentPassword": PASSWORD });
    assert_eq!(owner.ask(Method::DELETE, "/session/second-factor", Some(body)).await.0, 200);
    let body = json!({ "currentPassword": PASSWORD, "password": NEXT_PASSWORD });
    assert_eq!(owner.ask(Method::POST, "/session/password", Some(body)).await.0, 200);
    assert_eq!(owner.viewer().await["kind"], "USER");
    assert_eq!(browser.ask(Method::GET, "/session", None).await.0, 401);
    assert_eq!(browser.sign_in("ana@shop.example", NEXT_PASSWORD, None).await.0, 200);
    gateway.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_site_gets_nothing_out_of_somebodys_session_and_guessing_takes_time() {
    let store = Store::fresh(StoreKind::Sqlite).await;
    let gateway = Binary::start(&store, None, &BinaryOptions::default()).await;
    let owner = first_owner(&gateway).await;
    let base = &gateway.client.base;
    let cookie = owner.cookie.clone().expect("a cookie");
    let post = || {
        let body = json!({ "query": "{ viewer { id } }" });
        gateway.client.http().post(format!("{base}/graphql")).header("cookie", &cookie).json(&body)
    };
    let code = async |request: reqwest::RequestBuilder| {
        let answer: Value = request.send().await.expect("an answer").json().await.expect("JSON");
        code_of(&answer).to_owned()
    };
    assert_eq!(code(post().header("x-csrf-token", &owner.csrf)).await, "");
    assert_eq!(code(post()).await, "FORBIDDEN", "without the CSRF token");
    let elsewhere =
        post().header("x-csrf-token", &owner.csrf).header("origin", "https://evil.example");
    assert_eq!(code(elsewhere).await, "FORBIDDEN");
    let rebound = post().header("x-csrf-token", &owner.csrf).header("host", "evil.example");
    assert_eq!(code(rebound).await, "FORBIDDEN");
    let told = post().header("x-csrf-token", &owner.csrf).header("host", "evil.example");
    let told = told.header("x-forwarded-host", base.trim_start_matches("http://"));
    assert_eq!(code(told).await, "FORBIDDEN", "nobody's word on the host counts but a proxy's");
    // A WebSocket takes no header from a page: its origin counts.
    let upgrade = |origin: Option<&str>| {
        let mut request = gateway
            .client
            .http()
            .get(format!("{base}/graphql"))
            .header("cookie", &cookie)
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("sec-websocket-protocol", "graphql-transport-ws");
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        request
    };
    for (origin, status) in
        [(None, 403), (Some("https://evil.example"), 403), (Some(base.as_str()), 101)]
    {
        let answer = upgrade(origin).send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), status, "{origin:?}");
    }

    let mut guesser = Browser::new(&gateway.client);
    for n in 0..5 {
        assert_eq!(
            guesser.sign_in("ana@shop.example", &format!("guess number {n}"), None).await.0,
            401
        );
    }
    let (status, body) = guesser.sign_in("ana@shop.example", PASSWORD, None).await;
    assert_eq!((status, &body["error"]["code"]), (429, &json!("RATE_LIMITED")), "{body}");
    let unknown = guesser.sign_in("nobody@shop.example", PASSWORD, None).await;
    let (_, wrong) = Browser::new(&gateway.client)
        .sign_in("other@shop.example", "another one, wrong", None)
        .await;
    assert_eq!(unknown.1["error"]["message"], wrong["error"]["message"], "alike");
    for (body, told) in
        [("{", "JSON object"), ("{\"email\":\"a\"}", "missing field `password`"), ("[]", "no text")]
    {
        let request = gateway.client.http().post(format!("{base}/session")).body(body);
        let answer: Value = request.send().await.expect("an answer").json().await.expect("JSON");
        assert!(
            answer["error"]["message"].as_str().is_some_and(|it| it.contains(told)),
            "{answer}"
        );
    }
    gateway.terminate().await;
}
