//! What a key without PERSONAL is shown of people.
