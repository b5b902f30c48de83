//! Cursor pages as every list has them.

use super::error::{AppError, AppResult};

/// How many items a page has where nothing is said.
pub const PAGE_DEFAULT: usize = 50;
/// The most items of one page.
pub const PAGE_MAX: usize = 500;
/// The longest cursor that is looked at, in characters.
const CURSOR_CHARS_MAX: usize = 512;

/// What part of a list is asked for: of what lies after one cursor and before another, the first items, or the last ones
/// where `last` or nothing but `before` is given.
#[derive(Clone, Debug, Default)]
pub struct PageArgs {
    pub first: Option<i32>,
    pub after: Option<String>,
    pub last: Option<i32>,
    pub before: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Edge<T> {
    pub cursor: String,
    pub node: T,
}

#[derive(Clone, Debug)]
pub struct Page<T> {
    pub edges: Vec<Edge<T>>,
    pub has_next_page: bool,
    pub has_previous_page: bool,
    /// Where to go on backwards: before the first edge where more was looked at than is shown.
    pub start_cursor: Option<String>,
    /// Where to go on: behind the last edge where more was looked at than is shown.
    pub end_cursor: Option<String>,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self {
            edges: vec![],
            has_next_page: false,
            has_previous_page: false,
            start_cursor: None,
            end_cursor: None,
        }
    }
}

/// How many there are; counting stops where it would cost too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Total {
    pub count: u64,
    pub exact: bool,
}

/// Checked [`PageArgs`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    pub limit: usize,
    pub after: Option<String>,
    pub before: Option<String>,
    /// The last ones are asked for, not the first.
    pub backwards: bool,
}

impl PageArgs {
    pub(crate) fn check(self) -> AppResult<Slice> {
        let Self { first, after, last, before } = self;
        if first.is_some() && last.is_some() {
            return Err(AppError::invalid("last", "give either first or last, not both"));
        }
        for (field, cursor) in [("after", &after), ("before", &before)] {
            if cursor.as_ref().is_some_and(|cursor| cursor.chars().count() > CURSOR_CHARS_MAX) {
                return Err(AppError::invalid(field, "use a cursor that an earlier page gave"));
            }
        }
        let backwards = last.is_some() || (first.is_none() && after.is_none() && before.is_some());
        let field = if backwards { "last" } else { "first" };
        Ok(Slice { limit: limit(first.or(last), field)?, after, before, backwards })
    }
}

/// The number of items asked for.
pub(crate) fn limit(asked: Option<i32>, field: &str) -> AppResult<usize> {
    let Some(asked) = asked else { return Ok(PAGE_DEFAULT) };
    usize::try_from(asked)
        .ok()
        .filter(|asked| *asked <= PAGE_MAX)
        .ok_or_else(|| AppError::invalid(field, format!("use 0 to {PAGE_MAX}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_fifty_items_unless_told_and_never_more_than_five_hundred() {
        assert_eq!(PageArgs::default().check().unwrap().limit, 50);
        let args = |first| PageArgs { first: Some(first), ..PageArgs::default() };
        assert_eq!(args(500).check().unwrap().limit, 500);
        assert_eq!(args(0).check().unwrap().limit, 0);
        for wrong in [501, -1] {
            assert_eq!(args(wrong).check().unwrap_err().field.as_deref(), Some("first"));
        }
    }

    #[test]
    fn a_page_is_read_in_one_direction() {
        let both = PageArgs { first: Some(1), last: Some(1), ..PageArgs::default() };
        assert_eq!(both.check().unwrap_err().field.as_deref(), Some("last"));
        let last = PageArgs { last: Some(3), before: Some("x".to_owned()), ..PageArgs::default() };
        let slice = last.check().unwrap();
        assert!(slice.backwards);
        assert_eq!((slice.limit, slice.before.as_deref()), (3, Some("x")));
        let alone = PageArgs { before: Some("x".to_owned()), ..PageArgs::default() };
        assert!(alone.clone().check().unwrap().backwards);
        let within = PageArgs { first: Some(3), after: Some("a".to_owned()), ..alone };
        let slice = within.check().unwrap();
        assert!(!slice.backwards);
        assert_eq!((slice.after.as_deref(), slice.before.as_deref()), (Some("a"), Some("x")));
    }
}
