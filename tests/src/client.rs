//! GraphQL as an integrator speaks it.

use serde_json::{Value, json};

use crate::store::BOOTSTRAP_KEY;

#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    pub base: String,
    pub key: String,
}

/// The first error of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphqlError {
    pub code: String,
    pub message: String,
    pub field: Option<String>,
}

impl Client {
    /// With the bootstrap key.
    ///
    /// # Panics
    /// Where no HTTP client can be made.
    pub fn new(base: impl Into<String>) -> Self {
        // A second installation is refused and changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            http: reqwest::Client::builder().build().expect("an HTTP client"),
            base: base.into(),
            key: BOOTSTRAP_KEY.to_owned(),
        }
    }

    /// With the bootstrap key, over https, where this certificate (PEM) is the only one that is trusted.
    ///
    /// # Panics
    /// Where it is no certificate.
    pub fn trusting(base: impl Into<String>, certificate: &[u8]) -> Self {
        let certificate = reqwest::Certificate::from_pem(certificate).expect("a certificate");
        let plain = Self::new(base);
        let http = reqwest::Client::builder().tls_certs_only([certificate]).https_only(true);
        Self { http: http.build().expect("an HTTP client"), ..plain }
    }

    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// The whole answer; `None` while the gateway does not answer.
    pub async fn try_raw(&self, query: &str, variables: Value) -> Option<Value> {
        let request = self
            .http
            .post(format!("{}/graphql", self.base))
            .bearer_auth(&self.key)
            .json(&json!({ "query": query, "variables": variables }));
        request.send().await.ok()?.json().await.ok()
    }

    /// `data`, or the first error.
    ///
    /// # Errors
    /// The answer's first error.
    ///
    /// # Panics
    /// Where the gateway does not answer.
    pub async fn query(&self, query: &str, variables: Value) -> Result<Value, GraphqlError> {
        let mut answer = self.try_raw(query, variables).await.expect("the gateway answers");
        match answer["errors"].get(0) {
            Some(error) => Err(GraphqlError {
                code: error["extensions"]["code"].as_str().unwrap_or_default().to_owned(),
                message: error["message"].as_str().unwrap_or_default().to_owned(),
                field: error["extensions"]["field"].as_str().map(str::to_owned),
            }),
            None => Ok(answer["data"].take()),
        }
    }

    /// `data`, where the test is not about errors.
    ///
    /// # Panics
    /// On any error.
    pub async fn ask(&self, query: &str, variables: Value) -> Value {
        match self.query(query, variables).await {
            Ok(data) => data,
            Err(error) => panic!("{query}: {error:?}"),
        }
    }
}
