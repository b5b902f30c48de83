//! Lists the files of `docs/schemas`, so that what is checked in is what is served.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(&std::env::var("CARGO_MANIFEST_DIR")?).join("../docs/schemas");
    println!("cargo:rerun-if-changed={}", folder.display());
    println!("cargo:rerun-if-changed=console/dist");
    let mut list = String::from("&[");
    for entry in sorted(&folder)? {
        let files = if entry.is_dir() { sorted(&entry)? } else { vec![entry] };
        for file in files {
            let name = file.strip_prefix(&folder)?.with_extension("");
            writeln!(list, "({name:?}, include_str!({file:?})),")?;
        }
    }
    list.push(']');
    std::fs::write(Path::new(&std::env::var("OUT_DIR")?).join("schemas.rs"), list)?;
    Ok(())
}

fn sorted(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let paths = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut paths = paths.collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
