//! Dependencies point inward: `api → {projections, infrastructure} → {domain, gateway-sqlite,
//! gateway-pack}`. Direction erodes one convenient import at a time, so the manifests are checked.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Each member of the workspace and the members it may depend on, tests and build scripts included.
const MAY_DEPEND_ON: [(&str, &[&str]); 8] = [
    ("gateway-domain", &[]),
    ("gateway-pack", &[]),
    ("gateway-sqlite", &[]),
    ("gateway-kurrentdb-double", &[]),
    (
        "gateway-infrastructure",
        &[
            "gateway-domain",
            // Itself with all its features, and a server, for its tests.
            "gateway-infrastructure",
            "gateway-kurrentdb-double",
            "gateway-pack",
            "gateway-sqlite",
        ],
    ),
    ("gateway-projections", &["gateway-domain", "gateway-pack", "gateway-sqlite"]),
    (
        "whatsapp-gateway",
        &[
            "gateway-domain",
            "gateway-infrastructure",
            "gateway-pack",
            "gateway-projections",
            "gateway-sqlite",
        ],
    ),
    (
        "gateway-tests",
        &[
            "gateway-domain",
            "gateway-infrastructure",
            "gateway-kurrentdb-double",
            "gateway-pack",
            "gateway-projections",
            "gateway-sqlite",
            "whatsapp-gateway",
        ],
    ),
];

/// What the domain may know of the world: values, their serialisation and its schema, the calendar, and the shape of an aggregate. No
/// runtime, no store, no network, no log.
const DOMAIN_MAY_USE: [&str; 10] = [
    "async-trait",
    "chrono",
    "chrono-tz",
    "cqrs-es",
    "rrule",
    "schemars",
    "serde",
    "serde_json",
    "thiserror",
    "uuid",
];

/// Each member's dependencies by kind (`normal`, `dev`, `build`).
fn members() -> anyhow::Result<BTreeMap<String, Vec<(String, String)>>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let mut members = BTreeMap::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        let dependencies = dependencies.map(|dependency| {
            let kind = dependency["kind"].as_str().unwrap_or("normal");
            (text(&dependency["name"]), kind.to_owned())
        });
        members.insert(text(&package["name"]), dependencies.collect());
    }
    Ok(members)
}

#[test]
fn dependencies_point_inward() -> anyhow::Result<()> {
    let members = members()?;
    let known: BTreeSet<&str> = MAY_DEPEND_ON.iter().map(|(member, _)| *member).collect();
    let found: BTreeSet<&str> = members.keys().map(String::as_str).collect();
    assert_eq!(found, known, "a new member takes its place in MAY_DEPEND_ON");
    for (member, allowed) in MAY_DEPEND_ON {
        for (dependency, kind) in &members[member] {
            let is_outward =
                found.contains(dependency.as_str()) && !allowed.contains(&dependency.as_str());
            assert!(!is_outward, "{member} must not depend on {dependency} ({kind})");
        }
    }
    Ok(())
}

#[test]
fn the_domain_knows_nothing_but_values() -> anyhow::Result<()> {
    for (dependency, kind) in &members()?["gateway-domain"] {
        let is_allowed = kind == "dev" || DOMAIN_MAY_USE.contains(&dependency.as_str());
        assert!(is_allowed, "the domain must not depend on {dependency} ({kind})");
    }
    Ok(())
}
