//! The hand-written docs name what there is: every metric is told in `docs/operations.md` and every link leads somewhere.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Files below `folder` with this extension.
fn files(folder: &Path, extension: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = vec![];
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The names that the code gives to the metrics macros.
fn metrics_in_code() -> anyhow::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for folder in ["infrastructure/src", "infrastructure/sqlite/src", "projections/src", "api/src"]
    {
        for path in files(&root().join(folder), "rs")? {
            let text = std::fs::read_to_string(&path)?;
            for kind in ["counter!(", "gauge!(", "histogram!("] {
                for (at, _) in text.match_indices(kind) {
                    let name = text[at + kind.len()..].trim_start().strip_prefix('"');
                    let name = name.and_then(|rest| rest.split('"').next());
                    names.extend(name.map(str::to_owned));
                }
            }
        }
    }
    Ok(names)
}

#[test]
fn every_metric_is_told_and_no_other() -> anyhow::Result<()> {
    let text = std::fs::read_to_string(root().join("docs/operations.md"))?;
    let rows = text.lines().filter(|line| line.starts_with("| `gateway_"));
    let told: BTreeSet<String> = rows.flat_map(names_in_first_cell).collect();
    let known = metrics_in_code()?;
    assert!(known.contains("gateway_append_seconds"), "the search finds no metrics any more");
    assert_eq!(known, told, "left: the code; right: the table in docs/operations.md");
    Ok(())
}

/// `| `a`, `b{label}` | … |` → a, b.
fn names_in_first_cell(line: &str) -> Vec<String> {
    let cell = line.trim_start_matches('|').split('|').next().unwrap_or_default();
    let name = |word: &str| word.split('{').next().unwrap_or_default().to_owned();
    cell.split('`').skip(1).step_by(2).map(name).collect()
}

#[test]
fn every_link_to_a_file_leads_to_one() -> anyhow::Result<()> {
    let mut pages = files(&root().join("docs"), "md")?;
    pages.extend(["README.md", "CHANGELOG.md"].map(|name| root().join(name)));
    pages.push(root().join("domain/tests/fixtures/events/README.md"));
    let mut broken = vec![];
    for page in pages {
        let text = std::fs::read_to_string(&page)?;
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            let is_outside = link.contains("://") || target.is_empty();
            let folder = page.parent().unwrap_or(Path::new("."));
            if !is_outside && !folder.join(target).exists() {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    Ok(())
}
