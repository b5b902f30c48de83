//! The console: files that `make` builds with Node and the binary holds. Without them a page says how to build them.

use actix_web::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    LOCATION, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use rust_embed::{EmbeddedFile, RustEmbed};

/// Where it lies.
pub const PATH: &str = "/console/";
/// Files under it have a hash in their names, and never change.
const HASHED: &str = "assets/";
const INDEX: &str = "index.html";

#[derive(RustEmbed)]
#[folder = "console/dist"]
struct Files;

pub(super) fn configure(routes: &mut web::ServiceConfig) {
    routes
        .route("/", web::get().to(home))
        .route("/console", web::get().to(home))
        .route("/console/{path:.*}", web::get().to(file));
}

async fn home() -> HttpResponse {
    HttpResponse::Found().insert_header((LOCATION, PATH)).finish()
}

async fn file(request: HttpRequest, path: web::Path<String>) -> HttpResponse {
    let path = path.into_inner();
    if path.is_empty() || path == INDEX {
        return page();
    }
    if let Some(kind) = kind_of(&path)
        && let Some((file, encoding)) = encoded(&path, &accepted(&request))
    {
        let cache = if path.starts_with(HASHED) {
            "public, max-age=31536000, immutable"
        } else {
            "no-cache"
        };
        let mut answer = HttpResponse::Ok();
        answer
            .insert_header((CONTENT_TYPE, kind))
            .insert_header((CACHE_CONTROL, cache))
            .insert_header((VARY, "accept-encoding"))
            .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"));
        if let Some(encoding) = encoding {
            answer.insert_header((CONTENT_ENCODING, encoding));
        }
        return answer.body(file.data.into_owned());
    }
    // A page's own address; a file that is not there is not there.
    if path.starts_with(HASHED) || path.contains('.') {
        return HttpResponse::NotFound().finish();
    }
    page()
}

fn accepted(request: &HttpRequest) -> String {
    let accepted = request.headers().get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    accepted.unwrap_or_default().to_lowercase()
}

/// The file as it is sent: compressed beforehand, where the build did so and the browser takes it.
fn encoded(path: &str, accepted: &str) -> Option<(EmbeddedFile, Option<&'static str>)> {
    let takes =
        |name: &str| accepted.split(',').any(|part| part.trim().split(';').next() == Some(name));
    for (name, ending) in [("br", "br"), ("gzip", "gz")] {
        if takes(name)
            && let Some(file) = Files::get(&format!("{path}.{ending}"))
        {
            return Some((file, Some(name)));
        }
    }
    Files::get(path).map(|file| (file, None))
}

/// What is served at all, by its ending.
fn kind_of(path: &str) -> Option<&'static str> {
    Some(match path.rsplit_once('.')?.1 {
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "json" | "webmanifest" => "application/json",
        "csv" => "text/csv; charset=utf-8",
        _ => return None,
    })
}

/// The page that every address of the console begins with, under a policy that runs nothing but the console's own files.
fn page() -> HttpResponse {
    let Some(index) = Files::get(INDEX) else { return unbuilt() };
    let mut nonce = [0; 16];
    SystemRandom::new().fill(&mut nonce).expect("the system has a source of randomness");
    let nonce = STANDARD.encode(nonce);
    let html = String::from_utf8_lossy(&index.data)
        .replace("<script", &format!("<script nonce=\"{nonce}\""))
        .replace("<head>", &format!("<head><meta property=\"csp-nonce\" nonce=\"{nonce}\">"));
    let policy = format!(
        "default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data: blob:; \
         font-src 'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((CONTENT_SECURITY_POLICY, policy))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((X_FRAME_OPTIONS, "DENY"))
        .insert_header((REFERRER_POLICY, "same-origin"))
        .body(html)
}

fn unbuilt() -> HttpResponse {
    HttpResponse::Ok().content_type("text/html; charset=utf-8").body(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>WhatsApp Gateway</title>\
         <style>body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:4rem auto;padding:0 1rem}</style>\
         <h1>WhatsApp Gateway</h1><p>The gateway is running; this binary was built without its console. <code>make run</code> \
         or <code>make console build</code> builds it, with Node 20.19 or newer.</p><p>Its API is at \
         <a href=\"/graphql\">/graphql</a>, where a browser gets GraphiQL; requests need an API key as <code>Authorization: \
         Bearer wgk_…</code>.</p><p>Health: <a href=\"/healthz\">/healthz</a>, <a href=\"/readyz\">/readyz</a>, \
         <a href=\"/metrics\">/metrics</a>.</p></html>",
    )
}

/// Whether this binary holds the console.
pub fn is_built() -> bool {
    Files::get(INDEX).is_some()
}
