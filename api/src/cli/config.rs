//! `config check`: what the configuration says, secrets masked.

use clap::Subcommand;

use super::Global;
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub enum What {
    /// Reads the configuration and says what it understood
    #[command(after_help = "Example: whatsapp-gateway config check --config gateway.toml")]
    Check {
        /// Prints the defaults instead
        #[arg(long)]
        defaults: bool,
    },
}

pub fn run(global: &Global, what: &What) -> anyhow::Result<()> {
    let What::Check { defaults } = what;
    let config = if *defaults { Config::default() } else { global.load(&[])? };
    print!("{}", toml::to_string_pretty(&config)?);
    if !defaults {
        eprintln!("the configuration is valid");
    }
    Ok(())
}
