//! Does a server accept it, and hold the same afterwards? Restored into a throw-away server, dumped again, compared.
//!
//! ```text
//! cluster (or --server) -> extensions -> roles, tablespaces -> pgrestore-safe --into -> dump again -> compare -> asserts
//! ```
//!
//! The restore is that of pgrestore-safe, so each night walks the way that a disaster will.

use crate::against::{self, Compared, Trouble};
use crate::cluster::{self, ADMIN, Cluster, Wanted};
use crate::redump::Database;
use crate::seen::Seen;
use crate::{asserts, extensions};
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use common::backup::foreign::Judged;
use common::backup::found::Found;
use common::backup::manifest::Source;
use common::backup::names::Names;
use common::hint::{self, Hint as _};
use common::pg::client::{Access, Clients};
use common::pg::quote;
use common::pg::session::Session;
use common::process::{self, Input, Program};
use common::secret::Secret;
use common::units::Stamp;
use std::borrow::Cow;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The role that asks what `--assert` says.
const ASSERT: &str = "nightshift_verify_assert";
/// Where the names of our databases on a given server begin.
const GUEST: &str = "nightshift_verify_";
/// Databases that every cluster has.
const OWN_DATABASES: [&str; 3] = ["postgres", "template0", "template1"];
/// Where pgrestore-safe's own roles begin.
const LOADER: &str = "nightshift_load_";
/// More roles than any cluster has: a dump that names them is forged.
const ROLES: usize = 10_000;
/// The longest report of pgrestore-safe that is read.
const REPORT: u64 = 1 << 20;
/// What a machine that is too small says. It is no fault of the backup.
const SHORTAGES: [&str; 5] =
    ["No space left on device", "could not extend file", "out of memory", "out of shared memory", "No space left"];

/// What is restored.
pub enum Backup<'a> {
    /// With a manifest.
    Ours(&'a Found),
    /// Of something else, as it was read, and the programs that read it.
    Foreign(&'a Path, &'a Judged, &'a Clients),
}

/// With whose rights a backup is loaded into the throw-away server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// A role that may do nothing but own the database.
    None,
    /// The superuser.
    Superuser,
}

/// What is to be proven, and with what.
pub struct Order<'a> {
    /// The backup.
    pub backup: Backup<'a>,
    /// What its dump names.
    pub seen: &'a Seen,
    /// Where throw-away clusters are made.
    pub work: &'a Path,
    /// `--run-as`.
    pub run_as: Option<&'a str>,
    /// `--jobs`.
    pub jobs: Option<u16>,
    /// `--pg-bin`.
    pub bin: Option<&'a PathBuf>,
    /// Extensions whose scripts may run as superuser.
    pub allowed: &'a [String],
    /// With whose rights the backup is loaded.
    pub rights: Rights,
    /// What is to be true.
    pub asserts: &'a [String],
    /// When the run began.
    pub now: Stamp,
}

/// What came of it.
#[derive(Debug)]
pub struct Proven {
    /// The restored database against the backup.
    pub compared: Compared,
    /// Asserts that are not true.
    pub complaints: Vec<String>,
}

/// Proves it in a cluster of its own.
///
/// # Errors
///
/// See [`Trouble`].
pub fn prove(order: &Order<'_>, clients: &Clients) -> Result<Proven, Trouble> {
    let source = source(order).map_err(Trouble::Judging)?;
    let wanted = Wanted { source: &source, work: order.work, run_as: order.run_as };
    let mut cluster = Cluster::start(&wanted, clients, order.now).map_err(Trouble::Judging)?;
    let clients = cluster.clients(order.bin.cloned());
    prepare(order, &cluster, &clients).map_err(Trouble::Judging)?;
    common::failpoint!("cluster-ready").map_err(|error| Trouble::Judging(error.into()))?;
    // The cluster has databases of its own.
    let name = match &order.backup {
        Backup::Ours(found) if !OWN_DATABASES.contains(&found.manifest.subject.as_str()) => &found.manifest.subject,
        Backup::Ours(_) | Backup::Foreign(..) => "restored",
    };
    let access = cluster.access(name);
    let run_as = cluster.user.as_ref().map(|user| user.name.clone());
    if let Err(trouble) = load(order, &access, run_as.as_deref(), Environment::Own) {
        return Err(match trouble {
            Trouble::Restore(error) if !cluster.is_running() => {
                Trouble::Judging(error.context("the throw-away server went down"))
            }
            trouble => trouble,
        });
    }
    common::failpoint!("restored").map_err(|error| Trouble::Judging(error.into()))?;
    let compared = compare(order, &clients, access)?;
    let complaints = ask(order, &cluster, &clients, name).map_err(Trouble::Judging)?;
    Ok(Proven { compared, complaints })
}

/// Proves it in a database of its own on a given server; roles and tablespaces have to be there.
///
/// # Errors
///
/// See [`Trouble`].
pub fn prove_on(
    order: &Order<'_>,
    server: &Access,
    clients: &Clients,
    run_as: Option<&str>,
) -> Result<Proven, Trouble> {
    source(order).map_err(Trouble::Judging)?;
    if order.seen.names().has_subscriptions {
        let error = anyhow!("the backup holds a subscription, and a database with one cannot be dropped again");
        let advice = "leave --server out: a throw-away server goes as a whole";
        return Err(Trouble::Judging(hint::with(error, advice)));
    }
    let guest = Guest::new(server, clients, order.now).map_err(Trouble::Judging)?;
    let mut session = guest.session().map_err(Trouble::Judging)?;
    name_left(&mut session, order.now).map_err(Trouble::Judging)?;
    let major: u32 = session
        .ask("SELECT pg_catalog.to_json(pg_catalog.current_setting('server_version_num')::pg_catalog.int4 / 10000)")
        .map_err(Trouble::Judging)?;
    extensions::check(&mut session, &order.seen.extensions(), order.allowed, major).map_err(Trouble::Judging)?;
    missing_roles(&mut session, &order.seen.names()).map_err(Trouble::Judging)?;
    drop(session);
    let access = server.with_database(&guest.name);
    load(order, &access, run_as, Environment::Callers)?;
    let compared = compare(order, clients, access.clone())?;
    let complaints = asserts::ask(order.asserts, clients, &access).map_err(Trouble::Judging)?;
    Ok(Proven { compared, complaints })
}

fn compare(order: &Order<'_>, clients: &Clients, access: Access) -> Result<Compared, Trouble> {
    let database = Database::open(clients, access).map_err(Trouble::Judging)?;
    match order.backup {
        Backup::Ours(found) => against::compare_restored(found, &database),
        Backup::Foreign(path, _, readers) => against::compare_foreign(path, &Seen::default(), readers, &database),
    }
}

/// The server that the backup came from, as far as it is known.
fn source<'a>(order: &Order<'a>) -> Result<Cow<'a, Source>> {
    let found = match order.backup {
        Backup::Ours(found) => found,
        Backup::Foreign(_, judged, _) => return foreign_source(order, judged).map(Cow::Owned),
    };
    let options = found.manifest.client.iter().flat_map(|client| &client.options);
    if let Some(option) = options.into_iter().find(|option| option.starts_with("--include-foreign-data")) {
        return Err(anyhow!("the backup was made with {option}, so restoring it would write to the foreign server"))
            .hint("read it back with --depth content");
    }
    found.manifest.source.as_ref().map(Cow::Borrowed).context("the manifest names no server")
}

/// What a dump says in its head; a database takes about twice the space of its dump.
fn foreign_source(order: &Order<'_>, judged: &Judged) -> Result<Source> {
    let major = judged.server.context("the dump does not say which version of PostgreSQL it came from")?;
    Ok(Source {
        system_identifier: String::new(),
        version: major.to_string(),
        version_num: major * 10_000,
        address: String::new(),
        database_oid: 0,
        encoding: order.seen.names().encoding.unwrap_or_else(|| "UTF8".to_owned()),
        locale: None,
        size_bytes: judged.plain_bytes.saturating_mul(2),
        in_recovery: false,
    })
}

/// Makes the roles and tablespaces that the dump names; they can do nothing but own.
fn prepare(order: &Order<'_>, cluster: &Cluster, clients: &Clients) -> Result<()> {
    let psql = clients.all("psql")?.into_iter().next().context("cannot find the program psql")?;
    let mut session = Session::open(clients, &psql, &cluster.access("postgres"))?;
    extensions::check(&mut session, &order.seen.extensions(), order.allowed, cluster.version.major)?;
    let names = order.seen.names();
    let there: Vec<String> =
        session.ask("SELECT pg_catalog.json_agg(rolname) FROM pg_catalog.pg_roles").context("cannot list the roles")?;
    let statements = roles(&names, &there)?;
    if !statements.is_empty() {
        session.run(&statements.join("; ")).context("cannot create the roles that the dump names")?;
    }
    let of_its_own = names.tablespaces.iter().filter(|name| !name.is_empty() && *name != "pg_default");
    for (number, name) in of_its_own.enumerate() {
        ensure!(number < ROLES, "the dump names more than {ROLES} tablespaces");
        let place = cluster.scratch.tablespace(number, cluster.user.as_ref())?;
        let (name, place) = (quote::identifier(name)?, quote::literal(&place.to_string_lossy())?);
        session
            .run(&format!("CREATE TABLESPACE {name} LOCATION {place}; GRANT CREATE ON TABLESPACE {name} TO PUBLIC"))
            .context("cannot create the tablespaces that the dump names")?;
    }
    Ok(())
}

/// The statements that make the roles; reserved names are not made (THREATS V5).
fn roles(names: &Names, there: &[String]) -> Result<Vec<String>> {
    ensure!(names.roles.len() <= ROLES, "the dump names more than {ROLES} roles");
    let mut statements = Vec::new();
    for name in &names.roles {
        if [ADMIN, ASSERT].contains(&name.as_str()) || name.starts_with(LOADER) {
            bail!("the dump names role {name:?}, which is one of our own");
        }
        if there.contains(name) {
            continue;
        }
        if name.starts_with("pg_") {
            return Err(anyhow!("the dump names role {name:?}, which no server of this version has"))
                .hint("restore into a server of the version that the backup came from");
        }
        // An event trigger or a subscription can only belong to a superuser. Nobody can log in as this one, or become it.
        let power = if names.superusers.contains(name) { "SUPERUSER" } else { "NOSUPERUSER" };
        statements.push(format!(
            "CREATE ROLE {} NOLOGIN {power} NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS",
            quote::identifier(name)?
        ));
    }
    Ok(statements)
}

fn missing_roles(session: &mut Session, names: &Names) -> Result<()> {
    let there: Vec<String> =
        session.ask("SELECT pg_catalog.json_agg(rolname) FROM pg_catalog.pg_roles").context("cannot list the roles")?;
    let missing: Vec<_> = names.roles.iter().filter(|name| !there.contains(name)).map(String::as_str).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(anyhow!("the server has no role {}", missing.join(", ")))
        .hint("restore the globals there first, or leave --server out: a throw-away server gets them made")
}

/// Which environment pgrestore-safe gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Environment {
    /// Nothing of ours: the cluster's address and password say it all.
    Own,
    /// PG* as we were given them.
    Callers,
}

fn load(order: &Order<'_>, access: &Access, run_as: Option<&str>, environment: Environment) -> Result<(), Trouble> {
    let (code, report) = run(order, access, run_as, environment).map_err(Trouble::Judging)?;
    if code == Some(0) {
        return Ok(());
    }
    let error = match common::interrupt::check() {
        Err(stopped) => stopped,
        Ok(()) => report,
    };
    let said = format!("{error:#}");
    let is_shortage = SHORTAGES.iter().any(|shortage| said.contains(shortage));
    Err(match code {
        Some(2) if !is_shortage && common::interrupt::requested().is_none() => Trouble::Restore(error),
        _ => Trouble::Judging(error),
    })
}

/// Runs pgrestore-safe; its exit code, and what it said against the backup.
fn run(
    order: &Order<'_>,
    access: &Access,
    run_as: Option<&str>,
    environment: Environment,
) -> Result<(Option<i32>, anyhow::Error)> {
    let archive = match order.backup {
        Backup::Ours(found) => found.dir.join(&found.archive()),
        Backup::Foreign(path, ..) => path.to_owned(),
    };
    let archive = std::path::absolute(archive).context("cannot use the archive's path")?;
    let mut program =
        Program::new(&process::sibling("pgrestore-safe")?).args(["--no-config", "--no-analyze", "--format=json"]);
    if environment == Environment::Callers {
        program = program.envs_where(|name| name.starts_with("PG"));
    }
    if let Some(password) = &access.password {
        program = program.env("PGPASSWORD", password.expose());
    }
    if let Some(bin) = order.bin {
        program = program.arg("--pg-bin").arg(bin);
    }
    if let Some(user) = run_as {
        program = program.arg(format!("--run-as={user}"));
    }
    if let Some(jobs) = order.jobs {
        program = program.arg(format!("--jobs={jobs}"));
    }
    if order.rights == Rights::Superuser {
        program = program.arg("--as-superuser");
    }
    let mut child = program
        .arg("--into")
        .arg(access.address.without_password().to_keywords())
        .arg("--")
        .arg(archive)
        .start(Input::None)?;
    let mut text = String::new();
    child.stdout()?.take(REPORT).read_to_string(&mut text).context("cannot read from pgrestore-safe")?;
    let finished = child.finish(None)?;
    Ok((finished.status.code(), said(&text).unwrap_or_else(|| anyhow!("pgrestore-safe says: {}", finished.said()))))
}

/// What a report of pgrestore-safe says, with its hints.
fn said(report: &str) -> Option<anyhow::Error> {
    let item: serde_json::Value = report.lines().find_map(|line| serde_json::from_str(line).ok())?;
    let message = item.get("message")?.as_str()?.to_owned();
    let hints = item.get("hints").and_then(serde_json::Value::as_array).into_iter().flatten();
    let hints: Vec<_> = hints.filter_map(serde_json::Value::as_str).collect();
    Some(match hints.is_empty() {
        true => anyhow!(message),
        false => hint::with(anyhow!(message), hints.join("; ")),
    })
}

/// Asks the asserts as a role that may read everything and nothing else.
fn ask(order: &Order<'_>, cluster: &Cluster, clients: &Clients, database: &str) -> Result<Vec<String>> {
    if order.asserts.is_empty() {
        return Ok(Vec::new());
    }
    let psql = clients.all("psql")?.into_iter().next().context("cannot find the program psql")?;
    let password = cluster::random()?;
    Session::open(clients, &psql, &cluster.access("postgres"))?
        .run(&format!(
            "CREATE ROLE {ASSERT} LOGIN NOSUPERUSER BYPASSRLS IN ROLE pg_read_all_data PASSWORD {}",
            quote::literal(&password)?
        ))
        .context("cannot create a role that may only read")?;
    asserts::ask(order.asserts, clients, &cluster.access_as(ASSERT, Secret::from(password), database))
}

/// A database of ours on a server of somebody else; dropped with this.
struct Guest<'a> {
    server: &'a Access,
    clients: &'a Clients,
    name: String,
}

impl<'a> Guest<'a> {
    fn new(server: &'a Access, clients: &'a Clients, now: Stamp) -> Result<Self> {
        ensure!(server.foreign.is_none(), "a server that a file of another user names is not restored into");
        let name = format!("{GUEST}{now}_{}", std::process::id());
        Ok(Self { server, clients, name })
    }

    fn session(&self) -> Result<Session> {
        let psql = self.clients.all("psql")?.into_iter().next().context("cannot find the program psql")?;
        Session::open(self.clients, &psql, self.server)
    }
}

/// Names what killed runs have left. Nothing of it is dropped: its name is no proof that it is ours.
fn name_left(session: &mut Session, now: Stamp) -> Result<()> {
    let left: Option<Vec<String>> = session.ask(&format!(
        "SELECT pg_catalog.json_agg(d.datname) FROM pg_catalog.pg_database AS d \
         WHERE pg_catalog.starts_with(d.datname::pg_catalog.text, {}) AND NOT EXISTS \
            (SELECT FROM pg_catalog.pg_stat_activity AS a WHERE a.datid OPERATOR(pg_catalog.=) d.oid)",
        quote::literal(GUEST)?
    ))?;
    // Between two of its steps a run of today has no session there either.
    let yesterday = format!("{GUEST}{}", now.saturating_sub(Duration::from_secs(24 * 3600)));
    for name in left.unwrap_or_default().into_iter().filter(|name| *name < yesterday) {
        common::warn!("database {name:?} is what a killed run has left on the server");
        let advice = format!("when no proof runs there: DROP DATABASE {}", quote::identifier(&name)?);
        common::log::write(common::log::Level::Hint, &advice);
    }
    Ok(())
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        let name = quote::identifier(&self.name);
        let dropped =
            name.and_then(|name| self.session()?.run(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")));
        if let Err(error) = dropped {
            common::warn!("database {:?} stays: {error:#}", self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(roles: &[&str]) -> Names {
        Names { roles: roles.iter().map(|role| (*role).to_owned()).collect(), ..Names::default() }
    }

    #[test]
    fn roles_of_a_dump_can_neither_log_in_nor_do_anything() {
        let statements = roles(&named(&["a\"; DROP ROLE x; --", "postgres"]), &["pg_monitor".into()]).unwrap();

        let can = "NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS";
        assert_eq!(
            statements,
            [format!("CREATE ROLE \"a\"\"; DROP ROLE x; --\" {can}"), format!("CREATE ROLE \"postgres\" {can}")]
        );
    }

    #[test]
    fn reserved_names_are_there_or_refused() {
        assert_eq!(roles(&named(&["pg_monitor"]), &["pg_monitor".into()]).unwrap(), Vec::<String>::new());
        for reserved in ["pg_evil", ADMIN, ASSERT, "nightshift_load_x"] {
            assert!(roles(&named(&[reserved]), &[]).is_err(), "{reserved}");
        }
    }

    #[test]
    fn what_pgrestore_safe_says_comes_with_its_hints() {
        let error = said("{\"tool\":\"x\",\"message\":\"no\",\"hints\":[\"a\",\"b\"]}\n").unwrap();

        assert_eq!((error.to_string(), hint::of(&error).join("")), ("no".to_owned(), "a; b".to_owned()));
        assert!(said("").is_none() && said("{}").is_none());
    }
}
