//! Loads a verified backup into a new, empty database.
//!
//! No psql is in the way of the dump: our own lexer cuts it into statements, which go to the server one at a time, and
//! rows travel by COPY only, so no meta-command exists. Any error stops the load.

mod connection;
mod locks;
mod login;
mod pool;
mod rows;
mod some;
pub mod stream;
mod survey;
mod tls;
mod walk;

use crate::select::Source;
use crate::target::Target;
use anyhow::{Context as _, Result};
use common::interrupt::Shield;
use common::pg::session::Session;
use login::Loader;
pub use some::tables;
use std::time::Duration;
pub use stream::Stream;
pub use survey::{Survey, survey};

/// How long one statement of the operator's session may take: making an extension can last.
const PATIENCE: Duration = Duration::from_secs(3600);

/// What is to be loaded, and where.
pub struct Order<'a> {
    /// The server.
    pub target: &'a Target,
    /// The backup.
    pub source: &'a Source,
    /// The new database.
    pub database: &'a str,
    /// Who owns what the dump gives no owner, and the database.
    pub owner: &'a str,
    /// How many connections.
    pub jobs: usize,
    /// With the rights of a superuser.
    pub as_superuser: bool,
    /// Whether statistics are gathered.
    pub analyze: bool,
}

/// What was loaded.
#[derive(Clone, Copy, Debug)]
pub struct Loaded {
    /// Tables with rows, also none.
    pub tables: u64,
    /// Rows.
    pub rows: u64,
}

/// Removes the loading role of a killed run that is on record by name.
///
/// # Errors
///
/// What the server says.
pub fn remove_role(target: &Target, role: &str) -> Result<()> {
    login::remove_left(&mut target.maintenance()?, role)
}

/// Makes the database by `create`, which gets its owner for the time of the load, and loads it.
///
/// What fails on several connections is begun anew on one, in the order of the dump: a CHECK that looks into another
/// table needs that.
///
/// # Errors
///
/// What the server says; `discard` has then dropped the database.
pub fn run(
    order: &Order<'_>,
    create: &mut dyn FnMut(&str) -> Result<()>,
    discard: &mut dyn FnMut() -> Result<()>,
) -> Result<Loaded> {
    let mut session = order.target.maintenance()?;
    let mut loader = login::prepare(order.target, &mut session, order.as_superuser)?;
    let loaded = attempts(order, &mut loader, create);
    // A signal may have ended the load; what it made goes all the same.
    let _shield = Shield::new();
    let loaded = loaded.map_err(|error| match discard() {
        Ok(()) => error,
        Err(also) => error.context(format!("database {:?} stays ({also:#})", order.database)),
    });
    // It may have been idle for hours, and a server closes such sessions.
    if let Err(error) = order.target.maintenance().and_then(|mut session| loader.remove(&mut session)) {
        common::warn!("the role that loaded stays, until the next restore: {error:#}");
    }
    loaded
}

fn attempts(order: &Order<'_>, loader: &mut Loader, create: &mut dyn FnMut(&str) -> Result<()>) -> Result<Loaded> {
    let is_parallel = order.jobs > 1 && order.source.seekable().is_some() && order.source.is_known();
    create(&loader.login.user)?;
    let error = match attempt(order, loader, is_parallel) {
        Ok(loaded) => return Ok(loaded),
        Err(error) => error,
    };
    common::interrupt::check()?;
    if !is_parallel || !connection::code(&error).is_some_and(may_depend_on_order) {
        return Err(error);
    }
    common::info!("loading on several connections failed ({error:#}); again, in the order of the dump");
    create(&loader.login.user)?;
    attempt(order, loader, false)
}

/// Whether the same statement may well succeed in another order: no resource was missing, no right.
fn may_depend_on_order(code: &str) -> bool {
    ["22", "23", "40", "42", "P0", "55"].iter().any(|class| code.starts_with(class)) && code != "42501"
}

fn attempt(order: &Order<'_>, loader: &mut Loader, is_parallel: bool) -> Result<Loaded> {
    let blocks = rows::blocks(order.source.tables().to_vec(), order.source.plain_bytes())?;
    let mut connection = loader.connect(order.database)?;
    let mut admin: Session = order.target.session(order.database)?.patient(PATIENCE);
    let plan = walk::Plan {
        blocks: &blocks,
        login: &loader.login,
        rights: loader.rights,
        parallel: order.source.seekable().filter(|_| is_parallel).map(|archive| (archive, order.jobs)),
        owner: order.owner,
        subject: &order.target.name,
    };
    let stream: Stream<'_> = order.source.stream(order.target)?;
    walk::load(&plan, stream, &mut connection, &mut admin, order.analyze)
        .with_context(|| format!("cannot fill database {:?}", order.database))?;
    let rows = blocks.iter().map(|block| block.table.rows).sum();
    Ok(Loaded { tables: blocks.len() as u64, rows })
}

/// A statement for messages.
fn at(line: u64, text: &[u8]) -> String {
    let head: String =
        common::text::line(&common::text::bytes(&text[..text.len().min(160)])).chars().take(80).collect();
    format!("line {line}, {head}")
}
