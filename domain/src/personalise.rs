//! Placeholders in a campaign's parameters: `{{name}}`, `{{attributes.city}}`, `{{first_name | default: there}}`. They
//! are checked once, when the campaign is written, and filled per contact in one pass: what a person put into their own
//! name is never read as a placeholder.

/// More than any template's value has room for.
const MAX_PLACEHOLDERS: usize = 50;
const MAX_PATH_CHARS: usize = 128;
const ATTRIBUTES: &str = "attributes.";
const NAME: &str = "name";
const FIRST_NAME: &str = "first_name";
/// What every contact may have, beside attributes.
pub const KNOWN_PATHS: [&str; 6] =
    [NAME, FIRST_NAME, "phone", "external_id", "language", "username"];

/// A text with its placeholders, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placeholders {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Placeholder { path: String, default: Option<String> },
}

/// Why a text cannot be personalised.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceholderError {
    #[error(
        "{{{{{path}}}}} is not known; use name, first_name, phone, external_id, language, username or attributes.<key>"
    )]
    UnknownPath { path: String },
    #[error(
        "{{{{{path} | …}}}} is not understood; a default is written {{{{{path} | default: text}}}}"
    )]
    UnknownFilter { path: String },
    #[error("the default of {{{{{path}}}}} is empty; WhatsApp takes no empty values")]
    EmptyDefault { path: String },
    #[error("use at most {MAX_PLACEHOLDERS} placeholders in one value")]
    TooMany,
}

/// A text with a person's data in it, so `Debug` shows only what was missing.
#[derive(Clone, PartialEq, Eq)]
pub struct Filled {
    pub text: String,
    /// The paths that had neither a value nor a default, each once.
    pub missing: Vec<String>,
}

impl std::fmt::Debug for Filled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filled").field("text", &"***").field("missing", &self.missing).finish()
    }
}

impl Placeholders {
    /// Braces that enclose nothing, or are never closed, are text.
    ///
    /// # Errors
    /// [`PlaceholderError`] where something in double braces could not be filled for anybody: a misspelt name in a
    /// message to thousands is worse than a refusal.
    pub fn parse(text: &str) -> Result<Self, PlaceholderError> {
        let mut parts = vec![];
        let mut literal = String::new();
        let mut count = 0;
        let mut rest = text;
        while let Some(start) = rest.find("{{") {
            let inner = &rest[start + 2..];
            let end = inner.find(['{', '}']).filter(|end| inner[*end..].starts_with("}}"));
            match end.filter(|end| !inner[..*end].trim().is_empty()) {
                Some(end) => {
                    count += 1;
                    if count > MAX_PLACEHOLDERS {
                        return Err(PlaceholderError::TooMany);
                    }
                    literal.push_str(&rest[..start]);
                    if !literal.is_empty() {
                        parts.push(Part::Literal(std::mem::take(&mut literal)));
                    }
                    parts.push(parse_placeholder(&inner[..end])?);
                    rest = &inner[end + 2..];
                }
                None => {
                    literal.push_str(&rest[..=start]);
                    rest = &rest[start + 1..];
                }
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self { parts })
    }

    /// Nothing in it differs from person to person.
    pub fn is_literal(&self) -> bool {
        self.paths().next().is_none()
    }

    /// What a contact needs for it, repetitions included.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Placeholder { path, .. } => Some(path.as_str()),
            Part::Literal(_) => None,
        })
    }

    /// What a contact must have for it, because there is no default, repetitions included.
    pub fn required(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Placeholder { path, default: None } => Some(path.as_str()),
            Part::Placeholder { default: Some(_), .. } | Part::Literal(_) => None,
        })
    }

    /// Fills every placeholder with what `lookup` knows of the contact, else with its default. A blank value counts as
    /// none. `first_name` is the first word of `name` where `lookup` knows no better.
    pub fn fill(&self, lookup: impl Fn(&str) -> Option<String>) -> Filled {
        let known = |path: &str| lookup(path).filter(|value| !value.trim().is_empty());
        let first_name = || known(NAME)?.split_whitespace().next().map(str::to_owned);
        let mut filled = Filled { text: String::new(), missing: vec![] };
        for part in &self.parts {
            let (path, default) = match part {
                Part::Literal(text) => {
                    filled.text.push_str(text);
                    continue;
                }
                Part::Placeholder { path, default } => (path, default),
            };
            let value =
                known(path).or_else(|| if path == FIRST_NAME { first_name() } else { None });
            match value.as_ref().or(default.as_ref()) {
                Some(value) => filled.text.push_str(value),
                None if filled.missing.contains(path) => {}
                None => filled.missing.push(path.clone()),
            }
        }
        filled
    }
}

fn parse_placeholder(inner: &str) -> Result<Part, PlaceholderError> {
    let (path, filter) = match inner.split_once('|') {
        Some((path, filter)) => (path.trim(), Some(filter.trim())),
        None => (inner.trim(), None),
    };
    let shown = || path.chars().take(MAX_PATH_CHARS).collect::<String>();
    let has_key = path.strip_prefix(ATTRIBUTES).is_some_and(|key| !key.trim().is_empty());
    if !(KNOWN_PATHS.contains(&path) || has_key) || path.chars().count() > MAX_PATH_CHARS {
        return Err(PlaceholderError::UnknownPath { path: shown() });
    }
    let default = match filter {
        None => None,
        Some(filter) => {
            let value =
                filter.strip_prefix("default").and_then(|rest| rest.trim_start().strip_prefix(':'));
            let value = unquote(
                value.ok_or_else(|| PlaceholderError::UnknownFilter { path: shown() })?.trim(),
            );
            if value.trim().is_empty() {
                return Err(PlaceholderError::EmptyDefault { path: shown() });
            }
            Some(value.to_owned())
        }
    };
    Ok(Part::Placeholder { path: path.to_owned(), default })
}

/// Quotes around a default are how others write it; they are not part of it.
fn unquote(text: &str) -> &str {
    let inside = |quote: char| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inside('"').or_else(|| inside('\'')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ana(path: &str) -> Option<String> {
        match path {
            "name" => Some("Ana {{phone}} Müller".to_owned()),
            "attributes.city" => Some("Köln".to_owned()),
            "language" => Some("  ".to_owned()),
            "phone" => Some("+4915100000000".to_owned()),
            _ => None,
        }
    }

    fn fill(text: &str) -> Filled {
        Placeholders::parse(text).unwrap().fill(ana)
    }

    #[test]
    fn placeholders_are_filled_from_the_contact() {
        let filled = fill("Hi {{first_name}} from {{ attributes.city }}!");
        assert_eq!(filled.text, "Hi Ana from Köln!");
        assert!(filled.missing.is_empty());
    }

    #[test]
    fn a_value_with_braces_is_never_filled_again() {
        assert_eq!(fill("{{name}}").text, "Ana {{phone}} Müller");
    }

    #[test]
    fn a_blank_value_counts_as_none_and_the_default_steps_in() {
        assert_eq!(fill("{{language | default: en}}").text, "en");
        assert_eq!(fill("{{username|default:'dear customer'}}").text, "dear customer");
        let filled = fill("{{language}}-{{username}}-{{username}}");
        assert_eq!(filled.text, "--");
        assert_eq!(filled.missing, ["language", "username"]);
    }

    #[test]
    fn braces_that_are_no_placeholder_stay() {
        for text in ["{name}", "{{ }}", "{{name", "}}{{", "a { b } c", "{{}}", "{"] {
            let placeholders = Placeholders::parse(text).unwrap();
            assert!(placeholders.is_literal());
            assert_eq!(placeholders.fill(ana).text, text);
        }
        assert_eq!(fill("{{{first_name}}}").text, "{Ana}");
    }

    #[test]
    fn what_nobody_could_fill_is_refused() {
        let unknown = |path: &str| Err(PlaceholderError::UnknownPath { path: path.to_owned() });
        assert_eq!(Placeholders::parse("{{nmae}}"), unknown("nmae"));
        assert_eq!(Placeholders::parse("{{attributes.}}"), unknown("attributes."));
        assert_eq!(Placeholders::parse("{{1}}"), unknown("1"));
        assert_eq!(
            Placeholders::parse("{{name | upper}}"),
            Err(PlaceholderError::UnknownFilter { path: "name".to_owned() })
        );
        assert_eq!(
            Placeholders::parse("{{name | default: }}"),
            Err(PlaceholderError::EmptyDefault { path: "name".to_owned() })
        );
        assert_eq!(Placeholders::parse(&"{{name}}".repeat(51)), Err(PlaceholderError::TooMany));
    }

    #[test]
    fn what_has_a_default_is_not_required() {
        let text = "{{name}} {{name | default: you}} {{attributes.city|default: there}} {{phone}}";
        let placeholders = Placeholders::parse(text).unwrap();
        assert_eq!(placeholders.required().collect::<Vec<_>>(), ["name", "phone"]);
    }

    #[test]
    fn a_filled_text_prints_masked() {
        assert_eq!(format!("{:?}", fill("{{phone}}")), r#"Filled { text: "***", missing: [] }"#);
        let text = PlaceholderError::UnknownPath { path: "nmae".to_owned() }.to_string();
        assert!(text.starts_with("{{nmae}} is not known"), "{text}");
    }

    proptest! {
        #[test]
        fn text_without_double_braces_comes_out_as_it_went_in(text in "([^{]|\\{[^{])*") {
            prop_assert_eq!(Placeholders::parse(&text).unwrap().fill(ana).text, text);
        }

        #[test]
        fn nothing_makes_it_panic(text in "[{} |a-z.:']{0,40}", value in ".*") {
            if let Ok(placeholders) = Placeholders::parse(&text) {
                placeholders.fill(|_| Some(value.clone()));
            }
        }
    }
}
