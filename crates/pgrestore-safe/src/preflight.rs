//! Every reason to refuse a restore, all at once, each with what to do about it.
//!
//! ```text
//! questions (ground) -> problems (a pure function) -> Items
//! ```

mod ground;

pub use ground::Ground;

use crate::database;
use crate::side::Facts;
use crate::target::Target;
use anyhow::{Result, anyhow};
use common::hint;
use common::pg::session::refuse_transaction_pool;
use common::pg::version::Version;
use common::report::Item;
use common::status::Status;
use common::units;
use std::collections::BTreeSet;

/// The oldest server that is still maintained, and that what we ask for exists on.
const OLDEST: u32 = 14;
/// Databases that other programs connect to when they look for one that is always there.
const MAINTENANCE: [&str; 3] = ["postgres", "template0", "template1"];
/// Entries of a dump that only a superuser can make.
const SUPERUSER_KINDS: [&str; 5] =
    ["EVENT TRIGGER", "FOREIGN DATA WRAPPER", "PROCEDURAL LANGUAGE", "SUBSCRIPTION", "TRANSFORM"];

/// What a backup needs of a server.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// Roles that own something in it.
    pub roles: BTreeSet<String>,
    /// Extensions that it makes.
    pub extensions: BTreeSet<String>,
    /// The kinds of its entries.
    pub kinds: BTreeSet<String>,
    /// `server_version_num` of the server it was taken from; 0 where that is not known.
    pub version_num: u32,
    /// The size of the database it was taken from; 0 where that is not known.
    pub size_bytes: u64,
}

/// What the operator has said that makes a difference here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Application {
    /// It is stopped, or its pool paused, before sessions are ended.
    Stopped,
    /// Its sessions are ended under it.
    Running,
}

/// A reason to refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    what: String,
    advice: String,
}

/// Asks, and returns every problem as an item that ends with 3; none means that nothing stands against the restore.
///
/// # Errors
///
/// What the server says.
pub fn check(target: &Target, facts: &Facts, needs: &Needs, application: Application) -> Result<Vec<Item>> {
    let mut session = target.maintenance()?;
    let cluster = database::cluster(&mut session, &target.access.shown())?;
    let ground = Ground::of(&mut session, &target.name)?;
    let free = ground::free_bytes(ground.data_directory.as_deref(), &cluster);
    if free.is_none() {
        common::info!("the free space of the server cannot be seen from here, so it was not checked");
    }
    for provider in &facts.labels {
        common::warn!("the database has a security label of {provider:?}, which the restored one will not have");
    }
    let mut items: Vec<_> = problems(&target.name, facts, needs, &ground, application, free)
        .iter()
        .map(|one| one.item(&target.name))
        .collect();
    let access = target.access.with_database(database::maintenance(&target.name));
    if let Err(error) = refuse_transaction_pool(&target.clients, &target.psql, &access, &mut session) {
        items.push(Item::failed(&target.name, Status::Unknown, &error));
    }
    Ok(items)
}

/// Refuses to put another database in the place of one that others follow by its OID; for `--undo`.
///
/// # Errors
///
/// With every reason.
pub fn refuse_followed(target: &Target) -> Result<()> {
    let ground = Ground::of(&mut target.maintenance()?, &target.name)?;
    let found = of_followers(&ground);
    if found.is_empty() {
        return Ok(());
    }
    let what: Vec<_> = found.iter().map(|problem| problem.what.as_str()).collect();
    let error = anyhow!("cannot put another database in the place of {:?}: {}", target.name, what.join("; "));
    Err(found.iter().fold(error, |error, problem| hint::with(error, &problem.advice)))
}

/// The decision, from facts alone.
pub fn problems(
    name: &str,
    facts: &Facts,
    needs: &Needs,
    ground: &Ground,
    application: Application,
    free: Option<u64>,
) -> Vec<Problem> {
    let mut found = of_database(name, facts, ground);
    found.extend(of_version(needs, ground));
    found.extend(of_backup(needs, ground));
    if !ground.is_superuser {
        found.extend(of_rights(facts, needs, ground));
    }
    if application == Application::Running && !ground.stuck.is_empty() {
        found.push(problem(
            format!("sessions of {} cannot be ended by role {:?}", ground.stuck.join(", "), ground.role),
            "end them, stop the application with --stop or --service, or GRANT pg_signal_backend",
        ));
    }
    if let Some(free) = free.filter(|free| *free < needs.size_bytes) {
        found.push(problem(
            format!("the server has {} free; the database had {}", units::size(free), units::size(needs.size_bytes)),
            "old and new stay side by side: make room, for example with --drop-old",
        ));
    }
    found
}

fn of_database(name: &str, facts: &Facts, ground: &Ground) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut refuse = |applies: bool, what: String, advice: &str| {
        if applies {
            found.push(problem(what, advice));
        }
    };
    refuse(
        MAINTENANCE.contains(&name),
        format!("{name:?} is a database that the server and its tools need to be there"),
        "load the backup into a new database with --into",
    );
    refuse(ground.in_recovery, "the server is a standby".to_owned(), "restore on the primary");
    refuse(
        facts.row.is_template,
        format!("{name:?} is a template, from which databases may be made at any time"),
        "ALTER DATABASE … IS_TEMPLATE false, and set it again afterwards",
    );
    refuse(
        !facts.row.is_open,
        format!("{name:?} is closed to connections"),
        "find out why; then ALTER DATABASE … ALLOW_CONNECTIONS true",
    );
    refuse(
        facts.row.connection_limit == -2,
        format!("{name:?} is broken: a DROP DATABASE of it was cut off"),
        "drop it, and load the backup with --into",
    );
    found.extend(of_followers(ground));
    found
}

/// What hangs on the OID of the old database and cannot be carried over.
fn of_followers(ground: &Ground) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut refuse = |applies: bool, what: String, advice: &str| {
        if applies {
            found.push(problem(what, advice));
        }
    };
    let list = |names: &[String]| names.join(", ");
    refuse(
        !ground.prepared.is_empty(),
        format!("prepared transactions: {}", list(&ground.prepared)),
        "in the database, COMMIT PREPARED or ROLLBACK PREPARED each: they would stay with the old one",
    );
    refuse(
        !ground.slots.is_empty(),
        format!("logical replication slots: {}", list(&ground.slots)),
        "they would stay with the old database: stop what reads from them, and SELECT pg_drop_replication_slot(…)",
    );
    refuse(
        !ground.subscriptions.is_empty(),
        format!("subscriptions: {}", list(&ground.subscriptions)),
        "they would go on writing into the old database: DROP SUBSCRIPTION, and make them again afterwards",
    );
    refuse(
        ground.walsenders > 0,
        format!("{} of the database", units::things(ground.walsenders, "logical walsender")),
        "stop what reads from it: the new database would not be followed",
    );
    found
}

fn of_version(needs: &Needs, ground: &Ground) -> Option<Problem> {
    let (server, source) = (Version::from_number(ground.version_num), Version::from_number(needs.version_num));
    if server.major < OLDEST {
        return Some(problem(format!("the server is too old ({server})"), "14 is the oldest that is restored to"));
    }
    (server.major < source.major).then(|| {
        problem(
            format!("the backup is of a newer server ({source}) than this one ({server})"),
            "restore to a server of that version or a later one",
        )
    })
}

fn of_backup(needs: &Needs, ground: &Ground) -> Vec<Problem> {
    let mut found = Vec::new();
    let missing: Vec<_> = needs.roles.difference(&ground.roles).cloned().collect();
    if !missing.is_empty() {
        found.push(problem(
            format!("roles that own something in the backup are missing: {}", missing.join(", ")),
            "make them; where there is a backup of the globals: gunzip -c globals-STAMP.sql.gz | psql -d postgres",
        ));
    }
    let missing: Vec<_> = needs.extensions.difference(&ground.extensions).cloned().collect();
    if !missing.is_empty() {
        let major = Version::from_number(ground.version_num).major;
        found.push(problem(
            format!("extensions are not installed on the server: {}", missing.join(", ")),
            &format!("install their packages there, on Debian postgresql-{major}-NAME or postgresql-contrib"),
        ));
    }
    found
}

/// What a role that is no superuser lacks.
fn of_rights(facts: &Facts, needs: &Needs, ground: &Ground) -> Vec<Problem> {
    let mut found = Vec::new();
    let me = &ground.role;
    let superuser = "run as a superuser, for example with PGUSER=postgres as the user postgres";
    if !ground.may_create {
        found.push(problem(format!("role {me:?} may not create databases"), "ALTER ROLE … CREATEDB, or a superuser"));
    }
    if !ground.has_owner {
        let advice = "run as the owner or a member of it, or as a superuser";
        found.push(problem(format!("role {me:?} is not the owner of the database, {:?}", facts.owner), advice));
    }
    if !ground.has_tablespace {
        let what = format!("role {me:?} may not create in tablespace {:?}", facts.tablespace);
        found.push(problem(what, "GRANT CREATE ON TABLESPACE …, or a superuser"));
    }
    let known = needs.roles.intersection(&ground.roles);
    let foreign: Vec<_> = known.filter(|role| !ground.memberships.contains(*role)).cloned().collect();
    if !foreign.is_empty() {
        let what =
            format!("role {me:?} is no member of roles that own something in the backup: {}", foreign.join(", "));
        found.push(problem(what, "GRANT each of them to it, or a superuser"));
    }
    let with_settings = facts.settings.iter().filter_map(|one| one.role.as_ref()).filter(|role| *role != me);
    let with_settings: BTreeSet<_> = with_settings.cloned().collect();
    if !with_settings.is_empty() && !ground.may_alter_roles {
        let names: Vec<_> = with_settings.into_iter().collect();
        found.push(problem(format!("other roles have settings in the database: {}", names.join(", ")), superuser));
    }
    let available = needs.extensions.intersection(&ground.extensions);
    let untrusted: Vec<_> = available.filter(|name| !ground.trusted.contains(*name)).cloned().collect();
    if !untrusted.is_empty() {
        found.push(problem(format!("only a superuser can make extensions: {}", untrusted.join(", ")), superuser));
    }
    let kinds: Vec<_> = SUPERUSER_KINDS.into_iter().filter(|kind| needs.kinds.contains(*kind)).collect();
    if !kinds.is_empty() {
        found.push(problem(format!("only a superuser can restore: {}", kinds.join(", ").to_lowercase()), superuser));
    }
    found
}

fn problem(what: impl Into<String>, advice: &str) -> Problem {
    Problem { what: what.into(), advice: advice.to_owned() }
}

impl Problem {
    fn item(&self, database: &str) -> Item {
        let mut item = Item::new(database, Status::Unknown, &self.what);
        item.hints.push(self.advice.clone());
        item
    }
}

#[cfg(test)]
#[path = "preflight_tests.rs"]
mod tests;
