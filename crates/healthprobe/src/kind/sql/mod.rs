//! `sql:`

use super::Context;
use crate::found::Found;
use crate::options::{Options, Origin};
use anyhow::{Result, bail};

/// One target of this kind.
#[derive(Debug)]
pub(crate) struct Probe {}

impl Probe {
    pub(crate) fn parse(_address: &str, _options: &mut Options, _origin: Origin) -> Result<Self> {
        bail!("sql: is not there yet")
    }

    pub(crate) fn subject(&self) -> String {
        String::new()
    }

    pub(crate) fn look(&self, _context: &Context) -> Found {
        Found::unknown("")
    }
}
