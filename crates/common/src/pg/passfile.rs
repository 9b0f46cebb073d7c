//! The password file of libpq, for sessions that do not go through libpq.
//!
//! Source of the rules: PostgreSQL documentation, "The Password File".

use crate::secret::Secret;
use anyhow::{Context as _, Result};
use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The largest password file that is read.
const LIMIT: u64 = 1 << 20;

/// The password that PGPASSFILE, or `~/.pgpass`, has for a connection.
///
/// As libpq does, a file that group or others can read is left alone, with a warning.
///
/// # Errors
///
/// "cannot read …".
pub fn password(host: &str, port: u16, database: &str, user: &str) -> Result<Option<Secret>> {
    let path = match (std::env::var_os("PGPASSFILE"), std::env::var_os("HOME")) {
        (Some(path), _) if !path.is_empty() => PathBuf::from(path),
        (_, Some(home)) => Path::new(&home).join(".pgpass"),
        (_, None) => return Ok(None),
    };
    // A socket's directory is looked up as localhost.
    let host = if host.starts_with('/') { "localhost" } else { host };
    password_in(&path, [host, &port.to_string(), database, user])
}

/// The password that a file has for host, port, database and role, as [`password`].
///
/// # Errors
///
/// As there.
pub fn password_in(path: &Path, [host, port, database, user]: [&str; 4]) -> Result<Option<Secret>> {
    let act = || format!("cannot read {path:?}");
    let flags = (rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY).bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(act),
    };
    let stat = file.metadata().with_context(act)?;
    if !stat.is_file() {
        return Ok(None);
    }
    if stat.mode() & 0o077 != 0 {
        crate::warn!("{path:?} is left alone, because others can read it; give it mode 0600");
        return Ok(None);
    }
    let mut text = String::new();
    file.take(LIMIT).read_to_string(&mut text).with_context(act)?;
    Ok(find(&text, [host, port, database, user]).map(Secret::from))
}

/// The password of the first line that fits.
fn find(text: &str, wanted: [&str; 4]) -> Option<String> {
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let fields = fields(line);
        let fits =
            fields.len() >= 5 && fields.iter().zip(wanted).all(|(field, wanted)| field == "*" || field == wanted);
        fits.then(|| fields[4].clone())
    })
}

/// The fields of a line; `\:` and `\\` stand for the character itself.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        let last = fields.len() - 1;
        match c {
            '\\' => fields[last].extend(chars.next()),
            ':' if last < 4 => fields.push(String::new()),
            c => fields[last].push(c),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_fits_counts() {
        let file = "# db:5432:app:u:no\nother:*:*:*:wrong\ndb:5432:app:u:a\\:b\\\\c:d\n*:*:*:*:last\n";

        assert_eq!(find(file, ["db", "5432", "app", "u"]).as_deref(), Some("a:b\\c:d"));
        assert_eq!(find(file, ["x", "1", "y", "z"]).as_deref(), Some("last"));
        assert_eq!(find("db:5432:app:u\n", ["db", "5432", "app", "u"]), None);
    }
}
