//! Where a store is: `sqlite://path`, `postgres://user:password@host:port/database` or `kurrentdb://user:password@host:port`.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

#[cfg(feature = "kurrentdb")]
use super::kurrent::{Address, SCHEMES};

/// The address of a store. Prints without its password.
#[derive(Clone)]
pub struct StoreUrl(Target);

#[derive(Clone)]
pub(super) enum Target {
    Sqlite(PathBuf),
    Postgres(Box<PgConnectOptions>),
    #[cfg(feature = "kurrentdb")]
    KurrentDb {
        address: Box<Address>,
        beside: Option<PathBuf>,
    },
}

impl StoreUrl {
    /// A SQLite file by its path.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self(Target::Sqlite(path.into()))
    }

    /// The file, where the store is one.
    pub fn sqlite_path(&self) -> Option<&Path> {
        match &self.0 {
            Target::Sqlite(path) => Some(path),
            Target::Postgres(_) => None,
            #[cfg(feature = "kurrentdb")]
            Target::KurrentDb { .. } => None,
        }
    }

    /// Names the SQLite file that stands beside a KurrentDB, and holds what KurrentDB has no place for. Other stores need
    /// none, and ignore it.
    #[must_use]
    pub fn with_beside(self, path: impl Into<PathBuf>) -> Self {
        match self.0 {
            #[cfg(feature = "kurrentdb")]
            Target::KurrentDb { address, .. } => {
                Self(Target::KurrentDb { address, beside: Some(path.into()) })
            }
            other => {
                drop(path);
                Self(other)
            }
        }
    }

    pub(super) fn target(&self) -> &Target {
        &self.0
    }
}

impl FromStr for StoreUrl {
    type Err = StoreUrlError;

    fn from_str(text: &str) -> Result<Self, StoreUrlError> {
        let scheme = text.split(':').next().unwrap_or_default();
        match scheme {
            "sqlite" => {
                let path = text
                    .strip_prefix("sqlite://")
                    .or_else(|| text.strip_prefix("sqlite:"))
                    .unwrap_or_default();
                if path.is_empty()
                    || path.contains(['?', '#'])
                    || path.contains(":memory:")
                    || path.ends_with('/')
                {
                    return Err(StoreUrlError::Path);
                }
                Ok(Self::sqlite(path))
            }
            "postgres" | "postgresql" => {
                let options =
                    PgConnectOptions::from_str(text).map_err(|_| StoreUrlError::Postgres)?;
                Ok(Self(Target::Postgres(Box::new(options.disable_statement_logging()))))
            }
            #[cfg(feature = "kurrentdb")]
            scheme if SCHEMES.contains(&scheme) => {
                let address = Box::new(text.parse()?);
                Ok(Self(Target::KurrentDb { address, beside: None }))
            }
            #[cfg(not(feature = "kurrentdb"))]
            "kurrentdb" | "kurrentdb+discover" | "esdb" | "esdb+discover" => {
                Err(StoreUrlError::KurrentDbLeftOut)
            }
            _ => Err(StoreUrlError::Scheme),
        }
    }
}

impl std::fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Target::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Target::Postgres(options) => write!(
                f,
                "postgres://{}@{}:{}/{}",
                options.get_username(),
                options.get_host(),
                options.get_port(),
                options.get_database().unwrap_or_default()
            ),
            #[cfg(feature = "kurrentdb")]
            Target::KurrentDb { address, .. } => address.fmt(f),
        }
    }
}

impl std::fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoreUrl({self})")
    }
}

/// Texts never quote the URL: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreUrlError {
    #[error("a store's URL begins with sqlite://, postgres:// or kurrentdb://")]
    Scheme,
    #[error(
        "a SQLite store's URL is sqlite:// and the path of a file, like sqlite://data/gateway.db, without parameters"
    )]
    Path,
    #[error("a PostgreSQL store's URL has the form postgres://user:password@host:port/database")]
    Postgres,
    #[error(
        "a KurrentDB's URL has the form kurrentdb://user:password@host:2113?tls=true, with the hosts of a cluster parted by commas, or kurrentdb+discover:// and the one name of a cluster; esdb:// means the same"
    )]
    KurrentDb,
    #[error("a KurrentDB's URL has no parameter {name:?}")]
    KurrentDbParameter { name: String },
    #[error(
        "the parameter {name} of a KurrentDB's URL has another value than it may have (true or false, a number, or a text; nodePreference: leader, because the gateway reads what it has just written)"
    )]
    KurrentDbValue { name: &'static str },
    #[error("this build has no KurrentDB store: it was made without the feature kurrentdb")]
    KurrentDbLeftOut,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_and_an_absolute_path_are_taken_as_they_stand() {
        let path = |text: &str| StoreUrl::from_str(text).unwrap().sqlite_path().unwrap().to_owned();
        assert_eq!(path("sqlite://data/Gateway.db"), Path::new("data/Gateway.db"));
        assert_eq!(path("sqlite:///var/lib/gateway.db"), Path::new("/var/lib/gateway.db"));
        assert_eq!(path("sqlite:gateway.db"), Path::new("gateway.db"));
    }

    #[test]
    fn a_password_is_never_printed() {
        let url =
            StoreUrl::from_str("postgres://me:hunter2@db.example:6432/gateway?sslmode=require")
                .unwrap();
        assert_eq!(url.to_string(), "postgres://me@db.example:6432/gateway");
        assert!(!format!("{url:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, error) in [
            ("mysql://x", StoreUrlError::Scheme),
            ("", StoreUrlError::Scheme),
            ("sqlite://", StoreUrlError::Path),
            ("sqlite://:memory:", StoreUrlError::Path),
            ("sqlite://a.db?mode=ro", StoreUrlError::Path),
            ("postgres://me@host:notaport/x", StoreUrlError::Postgres),
        ] {
            assert_eq!(StoreUrl::from_str(text).unwrap_err(), error, "{text}");
        }
    }
}
