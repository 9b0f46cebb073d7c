//! Where a database is: from an operand, or from an application's own `.env` file.

use super::client::Access;
use super::conninfo::Conninfo;
use crate::envfile::EnvFile;
use crate::hint::Hint as _;
use anyhow::{Context as _, Result, anyhow, bail};
use std::path::Path;

/// Where an application's `.env` file says its database is.
///
/// # Errors
///
/// A file that cannot be read or names no database; one that another user can write and that asks for more than it may.
pub fn of_env_file(path: &Path) -> Result<Access> {
    let file = EnvFile::read(path)?;
    for warning in &file.warnings {
        match warning.line {
            _ if !file.concerns_database(warning) => crate::info!("{path:?} {warning}"),
            0 => crate::warn!("{path:?}: {}", warning.text),
            line => crate::warn!("{path:?} line {line}: {}", warning.text),
        }
    }
    of_env_vars(&file)
}

/// Where the variables of a `.env` file that was read say the database is.
///
/// # Errors
///
/// As [`of_env_file`].
pub fn of_env_vars(file: &EnvFile) -> Result<Access> {
    let path = &file.path;
    let mut address = file
        .database()?
        .ok_or_else(|| anyhow!("cannot use {path:?}: it names no database"))
        .hint("it should hold DATABASE_URL, or DB_HOST, DB_NAME, DB_USER and DB_PASSWORD")?;
    if file.foreign {
        address.restrict_to_foreign().with_context(|| format!("cannot use {path:?}"))?;
        if address.password().is_some() {
            protect(&mut address);
        }
    }
    tell_notes(&address);
    let mut access = Access::new(address);
    access.foreign = file.foreign.then(|| path.clone());
    Ok(access)
}

/// A password from a file of somebody else leaves only where nobody on the way can take it, unless the file says
/// `sslmode=disable` in so many words. Source: THREATS G10.
fn protect(address: &mut Conninfo) {
    let is_safe = address.is_local() || matches!(address.get("sslmode"), Some("verify-full"));
    if is_safe || address.get("channel_binding") == Some("require") {
        return;
    }
    if address.get("sslmode") == Some("disable") {
        crate::warn!("the password goes over the network without encryption, as sslmode=disable asks for");
        return;
    }
    address.set("channel_binding", "require");
}

/// Says with `-v` what was changed or left out while an address was read.
pub fn tell_notes(address: &Conninfo) {
    for note in address.notes() {
        crate::info!("{note}");
    }
}

/// Where an operand says the database is; a bare name is one on the server of `base`, where that is given.
///
/// # Errors
///
/// What cannot be read as an address, and a password, because every user of the machine can read arguments.
pub fn of_operand(operand: &str, base: Option<&Access>) -> Result<Access> {
    let is_name = !operand.contains('=') && !operand.contains("://");
    if is_name {
        if operand.is_empty() {
            bail!("a database name is empty");
        }
        return Ok(match base {
            Some(base) => base.with_database(operand),
            None => Access::new(Conninfo::database(operand)),
        });
    }
    let address = Conninfo::parse(operand)?;
    if address.password().is_some() {
        return Err(anyhow!("a password in an argument can be read by every user of this machine"))
            .hint("put it into ~/.pgpass (mode 0600), PGPASSWORD, or DATABASE_URL in a file for --env-file");
    }
    tell_notes(&address);
    Ok(Access::new(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protected(words: &str) -> Option<String> {
        let mut address = Conninfo::parse(words).unwrap();
        protect(&mut address);
        address.get("channel_binding").map(str::to_owned)
    }

    #[test]
    fn a_file_of_somebody_else_cannot_talk_us_out_of_protecting_its_password() {
        for words in ["host=far", "host=far channel_binding=disable", "host=far channel_binding=prefer sslmode=require"]
        {
            assert_eq!(protected(words).as_deref(), Some("require"), "{words}");
        }
        assert_eq!(protected("host=far sslmode=disable"), None);
        assert_eq!(protected("host=far sslmode=verify-full"), None);
        assert_eq!(protected("host=localhost"), None);
    }
}
