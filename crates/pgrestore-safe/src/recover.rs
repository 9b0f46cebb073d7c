//! Says what a killed run left on the server, and puts it right.
//!
//! The record says what may have been done, the server what was done. Before the swap, the side database goes and nothing
//! has happened; from the swap on, the run is taken up where it ended: the application started, checked, and swapped back
//! where it fails. Source for what it may touch: THREATS R9.

use crate::app::Told;
use crate::cli::Cli;
use crate::drop_old;
use crate::exchange::Exchange;
use crate::load;
use crate::pool::Pool;
use crate::side;
use crate::state::{Act, Held, Run, Step};
use crate::target::Target;
use anyhow::Result;
use common::report::Item;
use common::status::Status;

/// Puts right what is on record of one database.
///
/// # Errors
///
/// Where it cannot; nothing is lost then, and it can be tried again.
pub fn run(cli: &Cli, target: &Target, held: &mut Held<'_>) -> Result<Item> {
    let name = held.state().database.clone();
    target.wait_for_others()?;
    let Some(run) = held.state().run.clone() else {
        let gone = if cli.dry_run { Vec::new() } else { drop_old::forget_gone(target, held)? };
        let message = match gone.as_slice() {
            [] => "nothing to put right".to_owned(),
            gone => format!("struck off the record, because they are gone: {}", gone.join(", ")),
        };
        return Ok(Item::new(name, Status::Ok, message));
    };
    let found = found(&run);
    if cli.dry_run {
        return Ok(Item::new(name, Status::Warning, format!("{found}; --recover would put that right")));
    }
    common::info!("{name}: {found}");
    if run.act == Act::Drop {
        drop_old::give_up(held, &mut target.maintenance()?)?;
        return Ok(Item::new(name, Status::Ok, format!("{found}; it is closed again, or gone for good")));
    }
    if run.step < Step::Swapping {
        clear(target, held)?;
        return Ok(Item::new(name, Status::Ok, format!("{found}; cleared away, the live one was never touched")));
    }
    take_up(target, held, &found)
}

/// Clears away what a run has made that did not swap, and ends it on record.
///
/// # Errors
///
/// As [`side::discard`].
pub fn clear(target: &Target, held: &mut Held<'_>) -> Result<()> {
    match held.run()?.act {
        Act::Restore => {
            let role = held.run()?.role.clone();
            side::discard(held, target)?;
            if let Some(Err(error)) = role.map(|role| load::remove_role(target, &role)) {
                common::info!("the role that loaded stays for the next restore to sweep: {error:#}");
            }
            Ok(())
        }
        // It made nothing.
        Act::Undo | Act::Drop => held.abandon(),
    }
}

fn take_up(target: &Target, held: &mut Held<'_>, found: &str) -> Result<Item> {
    let run = held.run()?.clone();
    let exchange = Exchange {
        target,
        application: run.application.clone(),
        pool: run.pool.clone().map(|known| Pool::again(known, target)).transpose()?,
        check: run.check.clone(),
        told: Told { database: target.name.clone(), act: "recover" },
    };
    if let Some(outcome) = exchange.take_up(held)? {
        let aside = outcome.aside.name.clone();
        let mut item = outcome.item(&format!("{found}; {:?} is live, {aside:?} keeps the other", run.coming.name));
        item.result = Some(aside);
        return Ok(item);
    }
    if held.state().run.is_some() {
        clear(target, held)?;
    }
    Ok(Item::new(&target.name, Status::Ok, format!("{found}; the old database is live, and nothing else was done")))
}

/// What the record says, in a sentence.
fn found(run: &Run) -> String {
    let act = match run.act {
        Act::Restore => "a restore",
        Act::Undo => "an --undo",
        Act::Drop => "a --drop-old",
    };
    let at = match run.step {
        Step::Making | Step::Loading => format!("while it made {:?}", run.coming.name),
        Step::Swapping => "around the swap of names".to_owned(),
        Step::Checking => "behind the swap of names".to_owned(),
        Step::SwappingBack => "while it swapped names back".to_owned(),
        Step::Dropping => format!("while it removed {:?}", run.coming.name),
    };
    format!("{act} of {} was cut off {at}", run.stamp.rfc3339())
}
