//! A named rule over contacts, evaluated when it is used: a segment holds no members.

mod aggregate;
mod rule;

pub use aggregate::{Segment, SegmentCommand, SegmentError, SegmentEvent};
pub use rule::{
    AttributeOp, LastMessage, MessageOutcome, Outcome, Rule, RuleError, RuleFacts, Scalar,
};
