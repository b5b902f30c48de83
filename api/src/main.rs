//! `whatsapp-gateway`: one binary, see `whatsapp-gateway --help`.

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    api::cli::run(api::cli::Cli::parse())
}
