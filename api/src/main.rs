//! `whatsapp-gateway`: one binary, see `whatsapp-gateway --help`.

use clap::Parser;

fn main() -> std::process::ExitCode {
    api::cli::run(api::cli::Cli::parse())
}
