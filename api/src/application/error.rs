//! What a use case answers when it cannot do what was asked: a code that programs act on, a sentence for people, and
//! the chain behind it for whoever operates the gateway.

use domain::DomainError;

/// The codes of the GraphQL contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    Unauthenticated,
    Forbidden,
    NotFound,
    ValidationFailed,
    Conflict,
    IdempotencyKeyReused,
    Stale,
    RateLimited,
    QueryTooComplex,
    Unavailable,
    Internal,
}

impl ErrorCode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Forbidden => "FORBIDDEN",
            Self::NotFound => "NOT_FOUND",
            Self::ValidationFailed => "VALIDATION_FAILED",
            Self::Conflict => "CONFLICT",
            Self::IdempotencyKeyReused => "IDEMPOTENCY_KEY_REUSED",
            Self::Stale => "STALE",
            Self::RateLimited => "RATE_LIMITED",
            Self::QueryTooComplex => "QUERY_TOO_COMPLEX",
            Self::Unavailable => "UNAVAILABLE",
            Self::Internal => "INTERNAL",
        }
    }
}

/// A refusal or a failure of a use case. The message is safe for whoever asked; the source is not.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct AppError {
    pub code: ErrorCode,
    pub message: String,
    /// The input path that is wrong (`input.schedule.timeZone`), with VALIDATION_FAILED.
    pub field: Option<String>,
    /// The domain's own, finer code (`CAMPAIGN_STATUS`), where there is one.
    pub reason: Option<&'static str>,
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

pub type AppResult<T> = Result<T, AppError>;

impl AppError {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: None, reason: None, source: None }
    }

    /// An unknown id, one of another workspace and one outside the key's accounts all answer this.
    pub fn not_found(what: &str) -> Self {
        Self::new(ErrorCode::NotFound, format!("there is no such {what}"))
    }

    /// Not here any more, which `message` says.
    pub fn put_away(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::NotFound, message)
    }

    /// `problem` says what would be right.
    pub fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        let field = field.into();
        let message = format!("{field}: {}", problem.into());
        Self { field: Some(field), ..Self::new(ErrorCode::ValidationFailed, message) }
    }

    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Conflict, message)
    }

    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Forbidden, message)
    }

    pub fn unavailable(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        let message = "the gateway cannot reach its store right now; try again in a moment";
        Self { source: Some(Box::new(source)), ..Self::new(ErrorCode::Unavailable, message) }
    }

    pub fn internal(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        let message = "something went wrong inside the gateway; it is in its log";
        Self { source: Some(Box::new(source)), ..Self::new(ErrorCode::Internal, message) }
    }

    /// A domain refusal. `prefix` is where the command's input stands in the caller's (`input`).
    pub fn domain<E: DomainError>(error: E, prefix: &str) -> Self {
        let field = error
            .field()
            .map(|field| if prefix.is_empty() { field } else { format!("{prefix}.{field}") });
        let code = match (error.code(), error.is_conflict(), &field) {
            ("NOT_FOUND", ..) => ErrorCode::NotFound,
            (_, true, _) => ErrorCode::Conflict,
            _ => ErrorCode::ValidationFailed,
        };
        Self { code, message: error.to_string(), field, reason: Some(error.code()), source: None }
    }

    /// Puts the field under the input it came from.
    #[must_use]
    pub fn under(mut self, prefix: &str) -> Self {
        self.field = self.field.map(|field| format!("{prefix}.{field}"));
        self
    }
}
