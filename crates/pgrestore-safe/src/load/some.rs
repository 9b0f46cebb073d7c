//! The rows of some tables, into tables that exist.

use super::connection::Connection;
use super::login::{self, Loader, Rights};
use super::rows;
use crate::select::Source;
use crate::table;
use crate::target::Target;
use anyhow::{Context as _, Result, anyhow, ensure};
use common::backup::index::Table;
use common::hint::Hint as _;
use common::pg::quote::{identifier, literal};
use common::pg::session::Session;
use common::progress::Progress;
use serde::Deserialize;

#[derive(Deserialize)]
struct Owner {
    name: String,
    is_superuser: bool,
}

/// Fills the tables in one transaction, with the rights of their owners.
///
/// # Errors
///
/// What the server says, a table that has rows, other rows than recorded; then nothing has changed.
pub fn tables(target: &Target, source: &Source, wanted: &[Table], as_superuser: bool) -> Result<()> {
    let archive = source
        .seekable()
        .context("rows can be read out of order only from an archive of pgbackup")
        .hint("restore the whole dump into another database with --into, and copy the rows")?;
    let mut session = target.session(&target.name)?;
    let mut loader = login::prepare(target, &mut session, as_superuser)?;
    let loaded = (|| {
        grant(&loader, &mut session, wanted)?;
        let mut connection = loader.connect(&target.name)?;
        let all: u64 = wanted.iter().map(|table| table.rows).sum();
        let mut progress = Progress::start(&target.name, all);
        connection.execute("BEGIN")?;
        for table in wanted {
            let act = || format!("cannot fill table {}.{}", table.schema, table.name);
            fill(&mut connection, archive, table, (source.plain_bytes(), source.encoding()), &mut progress)
                .with_context(act)?;
        }
        common::failpoint!("tables-loaded")?;
        connection.execute("COMMIT").context("cannot commit")
    })();
    let removed = revoke(&loader, &mut session).and_then(|()| loader.remove(&mut session));
    match (loaded, removed) {
        (Ok(()), removed) => removed.context("the rows are loaded, but the role that loaded them stays"),
        (Err(error), Ok(())) => Err(error),
        (Err(error), Err(also)) => Err(error.context(format!("the role that loads stays ({also:#})"))),
    }
}

/// The loading role acts for the owners of the tables; where the owner is a superuser, it may only touch the table.
fn grant(loader: &Loader, session: &mut Session, wanted: &[Table]) -> Result<()> {
    if loader.rights != Rights::Temporary {
        return Ok(());
    }
    let role = identifier(&loader.login.user)?;
    for table in wanted {
        let owner: Option<Owner> = session.ask(&format!(
            "SELECT (SELECT pg_catalog.json_build_object('name', r.rolname, 'is_superuser', r.rolsuper) \
             FROM pg_catalog.pg_class AS c \
             JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
             JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) c.relowner \
             WHERE n.nspname OPERATOR(pg_catalog.=) {} AND c.relname OPERATOR(pg_catalog.=) {} \
             AND c.relkind OPERATOR(pg_catalog.=) ANY ('{{r,p}}'))",
            literal(&table.schema)?,
            literal(&table.name)?
        ))?;
        let owner = owner
            .ok_or_else(|| anyhow!("there is no table {}.{} in the database", table.schema, table.name))
            .hint("make it first: the statements are in what --stdout prints")?;
        let name = table::quoted(table)?;
        session.run(&match owner.is_superuser {
            false => format!("GRANT {} TO {role}", identifier(&owner.name)?),
            true => format!(
                "GRANT USAGE ON SCHEMA {} TO {role}; GRANT ALL ON TABLE {name} TO {role}",
                identifier(&table.schema)?
            ),
        })?;
    }
    Ok(())
}

fn revoke(loader: &Loader, session: &mut Session) -> Result<()> {
    if loader.rights != Rights::Temporary {
        return Ok(());
    }
    session.run(&format!("DROP OWNED BY {}", identifier(&loader.login.user)?))
}

fn fill(
    connection: &mut Connection,
    archive: &common::backup::seek::Seekable,
    wanted: &Table,
    (plain_bytes, encoding): (u64, &str),
    progress: &mut Progress,
) -> Result<()> {
    let name = table::quoted(wanted)?;
    connection.execute(&format!("LOCK TABLE {name} IN SHARE ROW EXCLUSIVE MODE"))?;
    if connection.is(&format!("SELECT EXISTS (SELECT FROM {name})"))? {
        return Err(anyhow!("it is not empty")).hint("empty it first, or move its rows away");
    }
    let block = rows::blocks([wanted.clone()], plain_bytes)?.remove(0);
    let mut sent = 0;
    let count = connection.copy_by(&table::copy(wanted)?, encoding, |take| {
        rows::send(archive, &block.range, &block.range, &mut |piece| {
            sent += piece.len() as u64;
            progress.update(0, sent);
            take(piece)
        })
    })?;
    ensure!(count == wanted.rows, "it took {count} rows, but {} were recorded", wanted.rows);
    Ok(())
}
