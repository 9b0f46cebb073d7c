//! What backup-verify accepts.

use clap::{Parser, ValueEnum};
use common::cli::{CommonArgs, Tool};
use common::report::Style;
use std::path::PathBuf;

/// Say whether a backup is really good
///
/// Reads the archive of each PATH once: every stored byte is hashed, every member inflated, every row counted and hashed
/// again, and all of it compared with what pgbackup recorded while the dump streamed by. PATH is the archive, its
/// manifest, or the label without an end.
///
/// A digest shows that a backup is what was written; it does not show who wrote it.
#[derive(Parser, Clone, Debug)]
#[command(version, max_term_width = 100, after_long_help = AFTER)]
pub struct Cli {
    /// Backups to check
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,

    /// How deep to look
    #[arg(long, value_enum, default_value_t = Depth::Content, value_name = "DEPTH")]
    pub depth: Depth,

    /// Inflate on this many cores [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,

    #[command(flatten)]
    pub common: CommonArgs,
}

/// How deep to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Depth {
    /// The files are there and have the recorded SHA-256
    Stored,
    /// Also inflate: plain digest, structure, rows and their digests, end marker
    Content,
}

const AFTER: &str = "\
EXAMPLES
  Is the newest backup of app good?
      backup-verify \"$(ls /srv/pg/app-*.manifest.json | tail -n 1)\"
  Take one and read it back:
      backup-verify \"$(pgbackup --dir /srv/pg app)\"

EXIT STATUS
  0   every backup is good
  2   a backup is damaged, incomplete or missing
  3   could not start: usage, configuration
";

impl Tool for Cli {
    const NAME: &'static str = "backup-verify";
    const STYLE: Style = Style::Check;
    const NEVER_FROM_ENVIRONMENT: &'static [&'static str] = &[];

    fn common(&self) -> &CommonArgs {
        &self.common
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        common::cli::command::<Cli>().debug_assert();
    }
}
