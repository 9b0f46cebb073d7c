//! Service files of libpq: connection keywords under a name, `pg_service.conf`.
//!
//! Source: PostgreSQL documentation, "The Connection Service File", and `parseServiceFile` in fe-connect.c.

use super::file;
use super::settings::Surroundings;
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use common::hint::Hint as _;
use common::pg::conninfo::Conninfo;
use std::path::{Path, PathBuf};

/// Where packages of PostgreSQL look for the system's own file: Debian, Red Hat, built from source.
const SYSTEM: [&str; 3] =
    ["/etc/postgresql-common/pg_service.conf", "/etc/pg_service.conf", "/usr/local/pgsql/etc/pg_service.conf"];

/// The keywords of a service: from the user's own file, else from the system's.
///
/// # Errors
///
/// A service that no file has, a file that cannot be read, a keyword that libpq does not know.
pub fn find(name: &str, surroundings: &Surroundings) -> Result<Conninfo> {
    let own = surroundings.variable("PGSERVICEFILE").map(PathBuf::from);
    // A file that is named has to be there; the others may.
    let is_named = own.is_some();
    let own = own.or_else(|| surroundings.home.as_ref().map(|home| home.join(".pg_service.conf")));
    let system: Vec<PathBuf> = match surroundings.variable("PGSYSCONFDIR") {
        Some(dir) => vec![Path::new(&dir).join("pg_service.conf")],
        None => SYSTEM.iter().map(PathBuf::from).collect(),
    };
    for (number, path) in own.iter().chain(&system).enumerate() {
        let Some(text) = read(path, is_named && number == 0)? else { continue };
        if let Some(info) = parse(&text, name).with_context(|| format!("cannot read {path:?}"))? {
            return Ok(info);
        }
    }
    Err(anyhow!("no service file has the service {name:?}"))
        .hint("services are looked for in PGSERVICEFILE or ~/.pg_service.conf, then in the system's pg_service.conf")
}

fn read(path: &Path, must_exist: bool) -> Result<Option<String>> {
    match file::read(path)? {
        None if must_exist => bail!("cannot read {path:?}: there is no such file"),
        None => Ok(None),
        Some((bytes, _)) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => bail!("cannot read {path:?}: it is not UTF-8"),
        },
    }
}

/// The keywords in the section of that name. As in libpq the first of a keyword counts, and no line nests another service.
fn parse(text: &str, name: &str) -> Result<Option<Conninfo>> {
    let mut found: Option<Conninfo> = None;
    for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim())) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(section) = line.strip_prefix('[') {
            if found.is_some() {
                break;
            }
            found = (section.split(']').next() == Some(name)).then(Conninfo::empty);
            continue;
        }
        let Some(info) = &mut found else { continue };
        // A value may be the rest of a password, so no message repeats it.
        let Some((key, value)) = line.split_once('=') else { bail!("line {number}: it has no \"=\"") };
        let (key, value) = (key.trim_end(), value.trim_start());
        ensure!(!key.starts_with("ldap"), "line {number}: services from LDAP are not looked up");
        ensure!(key != "service", "line {number}: a service cannot name another one");
        let is_set = if key == "password" { info.password().is_some() } else { info.get(key).is_some() };
        if !is_set {
            info.set_keyword(key, value).with_context(|| format!("line {number}"))?;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str =
        "# services\n[other]\nhost=no\n\n[app]\nhost=db.test\nport=5433\nhost=second\npassword=a=b\n[app]\nuser=x\n";

    #[test]
    fn a_service_is_its_section_and_the_first_of_a_keyword_counts() {
        let info = parse(FILE, "app").unwrap().unwrap();

        assert_eq!((info.get("host"), info.get("port"), info.get("user")), (Some("db.test"), Some("5433"), None));
        assert_eq!(info.password().unwrap().expose(), "a=b");
        assert!(parse(FILE, "nobody").unwrap().is_none());
    }

    #[test]
    fn what_libpq_does_not_know_is_told_by_its_line_and_no_value() {
        for line in ["CANARY", "nonsense=CANARY", "service=CANARY", "port=CANARY", "ldap://CANARY=x"] {
            let error = format!("{:#}", parse(&format!("[app]\n{line}\n"), "app").unwrap_err());

            assert!(error.starts_with("line 2: ") && !error.contains("CANARY"), "{error}");
        }
    }
}
