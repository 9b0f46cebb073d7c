//! `value:NUMBER`: a number that somebody else has measured.

use super::Context;
use crate::found::Found;
use crate::judge;
use crate::options::{Options, Origin};
use anyhow::Result;
use common::hint::Hint as _;
use common::report::{Measure, Unit};
use common::threshold::Thresholds;

/// One target of this kind.
#[derive(Debug)]
pub(crate) struct Probe {
    value: f64,
    unit: Unit,
    thresholds: Thresholds,
}

const UNITS: [(&str, Unit); 5] = [
    ("count", Unit::Count),
    ("percent", Unit::Percent),
    ("bytes", Unit::Bytes),
    ("seconds", Unit::Seconds),
    ("total", Unit::Total),
];

impl Probe {
    pub(crate) fn parse(address: &str, options: &mut Options, _origin: Origin) -> Result<Self> {
        let unit = options.choice("unit", &UNITS).unwrap_or_default();
        let thresholds = options.main_thresholds("value", unit, "");
        // `wc -l` of some systems puts blanks around its number. Bytes and seconds come without a unit, too: programs print them so.
        let text = if address.is_empty() { options.rest().join(" ") } else { address.to_owned() };
        let value = common::threshold::number(text.trim())
            .or_else(|error| if unit == Unit::Count { Err(error) } else { judge::in_unit(text.trim(), unit) });
        let value = value.hint("a pipeline that fails gives nothing, or a message; it is never taken for 0")?;
        Ok(Self { value, unit, thresholds })
    }

    pub(crate) fn subject(&self) -> String {
        "value".to_owned()
    }

    pub(crate) fn look(&self, _context: &Context) -> Found {
        let mut measure = Measure::new("value", self.value, self.unit).judged(self.thresholds);
        if self.value < 0.0 {
            measure = measure.signed();
        }
        Found::ok(self.unit.shown(self.value)).measure(measure)
    }
}
