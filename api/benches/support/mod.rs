//! What these benchmarks share: a gateway in this process on a store of its own, a client that costs little beside what
//! it measures, messages by the hundred thousand, and medians.

#![allow(dead_code, reason = "each benchmark uses its part")]

pub mod client;
pub mod figures;
pub mod fill;
pub mod place;
pub mod postgraphile;
pub mod process;

/// As the gateway's own.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts")
}
