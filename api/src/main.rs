//! `whatsapp-gateway`: one binary, see `whatsapp-gateway --help`.

use clap::Parser;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    api::cli::run(api::cli::Cli::parse())
}
