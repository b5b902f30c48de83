//! Walks over the whole schema: what the schema has is what is tried, so that a new field or argument is covered from the
//! start, or its test fails and asks for a sample.

mod authorisation;
mod bad_input;
mod bounds;
pub mod lab;
mod masking;
pub mod samples;
pub mod walk;
