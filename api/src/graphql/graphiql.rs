//! GraphiQL from our own files, for a browser at `/graphql`. The page and its files answer without a key; what it asks the
//! API does not.

use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpResponse, web};

/// GraphiQL sets styles from its scripts and carries its fonts within its style sheet; everything else comes from here.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self' data:; \
                      img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";
/// Files whose names carry their version.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// Our own, which change with the gateway.
const FOR_AN_HOUR: &str = "public, max-age=3600";

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

macro_rules! file {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/graphiql/", $name))
    };
}

pub(super) fn page() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .body(file!("index.html"))
}

pub(super) async fn asset(name: web::Path<String>) -> HttpResponse {
    let (kind, cache, body) = match name.as_str() {
        "react-18.3.1.min.js" => (JAVASCRIPT, FOR_EVER, file!("react-18.3.1.min.js")),
        "react-dom-18.3.1.min.js" => (JAVASCRIPT, FOR_EVER, file!("react-dom-18.3.1.min.js")),
        "graphiql-3.9.0.min.js" => (JAVASCRIPT, FOR_EVER, file!("graphiql-3.9.0.min.js")),
        "graphiql-3.9.0.min.css" => (CSS, FOR_EVER, file!("graphiql-3.9.0.min.css")),
        "page.js" => (JAVASCRIPT, FOR_AN_HOUR, file!("page.js")),
        "page.css" => (CSS, FOR_AN_HOUR, file!("page.css")),
        _ => return HttpResponse::NotFound().finish(),
    };
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, kind))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((CACHE_CONTROL, cache))
        .body(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn every_file_the_page_names_is_there_and_none_comes_from_elsewhere() {
        let html = file!("index.html");
        assert!(!html.contains("http:") && !html.contains("https:"), "no other host");
        let names =
            html.split("/graphql/assets/").skip(1).filter_map(|rest| rest.split('"').next());
        let names: Vec<_> = names.collect();
        assert_eq!(names.len(), 6, "{names:?}");
        for name in names {
            let response = asset(web::Path::from(name.to_owned())).await;
            assert!(response.status().is_success(), "{name}");
        }
        assert_eq!(asset(web::Path::from("../page.js".to_owned())).await.status().as_u16(), 404);
    }
}
