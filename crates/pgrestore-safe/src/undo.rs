//! Swaps the database that the last restore put aside back into its place.
//!
//! Only what is on record is swapped in, and only where name, OID and owner are still those: whoever may create databases
//! could plant one of that name. What it replaces is kept, so a second `--undo` goes forward again.

use crate::cli::Cli;
use crate::confirm;
use crate::database;
use crate::exchange::Exchange;
use crate::names::{self, Part};
use crate::preflight;
use crate::state::{Act, Held, Run, Step};
use crate::target::Target;
use anyhow::{Result, anyhow};
use common::hint::Hint as _;
use common::report::Item;
use common::status::Status;
use common::units::Stamp;

/// Carries it out.
///
/// # Errors
///
/// Where there is nothing to undo, or the swap failed; then the name leads to what it led to before.
pub fn run(cli: &Cli, target: &Target, held: &mut Held<'_>, now: Stamp) -> Result<Item> {
    held.refuse_unfinished()?;
    target.wait_for_others()?;
    let coming = held
        .state()
        .undoable()
        .map(|aside| aside.identity.clone())
        .ok_or_else(|| anyhow!("no restore of {:?} has put a database aside", target.name))
        .hint("--undo looks into --state-dir: was the restore run by another user, or on another machine?")?;
    let live = held.state().live.clone().ok_or_else(|| anyhow!("no restore of {:?} is on record", target.name))?;
    let mut session = target.maintenance()?;
    database::require(&mut session, &live)?;
    database::require(&mut session, &coming)?;
    preflight::refuse_followed(target)?;
    let stamp = names::free_stamp(&target.name, now, &database::names(&mut session)?)?;
    let out_name = Part::Undone.name(&target.name, stamp);
    let exchange = Exchange::of(cli, target, "undo")?;
    let what = format!("{:?} would be live as {:?}, and the live one kept as {out_name:?}", coming.name, target.name);
    if cli.dry_run {
        return Ok(Item::new(&target.name, Status::Ok, what));
    }
    confirm::ask(cli, &target.name, &what)?;
    let came_from = coming.name.clone();
    held.change(|state| {
        let failed_name = coming.name.clone();
        state.run = Some(Run::new(stamp, Act::Undo, live, out_name, coming, failed_name));
    })?;
    match exchange.carry_out(held) {
        Ok(outcome) => {
            let aside = outcome.aside.name.clone();
            let mut item =
                outcome.item(&format!("{came_from:?} is live again, and what it replaced is kept as {aside:?}"));
            item.result = Some(aside);
            Ok(item)
        }
        Err(error) => {
            if held.run()?.step == Step::Loading {
                held.abandon()?;
            }
            Ok(Item::failed(&target.name, Status::Critical, &error))
        }
    }
}
