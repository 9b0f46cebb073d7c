//! The output of a Monitoring Plugin: text, and performance data behind a bar. Source: its guidelines, "Plugin Output".

use common::report::{Measure, Unit};
use common::threshold::{self, Range, Thresholds};

/// How many numbers of one plugin are kept.
const MEASURES: usize = 200;

/// What a plugin printed.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// The first line, up to the bar.
    pub(crate) text: String,
    /// Its numbers, with the thresholds that it judged them by.
    pub(crate) measures: Vec<Measure>,
}

impl Output {
    /// Reads what was printed: `TEXT | data`, then lines of long text, and behind a bar in them more data until the end.
    pub(crate) fn parse(stdout: &str) -> Self {
        let (first, rest) = stdout.split_once('\n').unwrap_or((stdout, ""));
        let (text, data) = first.split_once('|').unwrap_or((first, ""));
        let more = rest.split_once('|').map_or("", |(_, more)| more);
        let words = items(data).into_iter().chain(items(more));
        let measures = words.filter_map(|item| measure(&item)).take(MEASURES).collect();
        Self { text: text.trim().to_owned(), measures }
    }
}

/// Splits at blanks, but not within a label in quotes.
fn items(data: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let mut is_quoted = false;
    for c in data.chars() {
        is_quoted ^= c == '\'';
        match items.last_mut() {
            Some(item) if is_quoted || !c.is_whitespace() => item.push(c),
            _ => items.push(String::new()),
        }
    }
    items.retain(|item| !item.is_empty());
    items
}

/// `'label'=value[UOM];[warn];[crit];[min];[max]`; what is not of this form is left out.
fn measure(item: &str) -> Option<Measure> {
    let (label, rest) = item.rsplit_once('=')?;
    let label = label.strip_prefix('\'').and_then(|label| label.strip_suffix('\'')).unwrap_or(label).replace("''", "'");
    let fields: Vec<&str> = rest.split(';').collect();
    let digits = fields[0].find(|c: char| !c.is_ascii_digit() && !".-+".contains(c)).unwrap_or(fields[0].len());
    let (value, suffix) = fields[0].split_at(digits);
    let value = if fields[0] == "U" { f64::NAN } else { threshold::number(value).ok()? };
    let (unit, factor) = unit(if fields[0] == "U" { "" } else { suffix });
    let range = |at: usize| fields.get(at).and_then(|text| Range::parse(text).ok()).map(|range| range.scaled(factor));
    let bound = |at: usize| fields.get(at).and_then(|text| threshold::number(text).ok()).map(|bound| bound * factor);
    Some(Measure {
        name: label,
        value: value * factor,
        unit,
        thresholds: Thresholds { warning: range(1), critical: range(2) },
        min: bound(3),
        max: bound(4),
        is_judged: true,
    })
}

/// The base unit of a unit of performance data, and what it is multiplied by. The plugins mean 1024 by K.
fn unit(suffix: &str) -> (Unit, f64) {
    let kib = |power| (Unit::Bytes, 1024_f64.powi(power));
    match suffix {
        "s" => (Unit::Seconds, 1.0),
        "ms" => (Unit::Seconds, 1e-3),
        "us" => (Unit::Seconds, 1e-6),
        "ns" => (Unit::Seconds, 1e-9),
        "%" => (Unit::Percent, 1.0),
        "c" => (Unit::Total, 1.0),
        "B" => kib(0),
        "KB" | "KiB" | "kB" => kib(1),
        "MB" | "MiB" => kib(2),
        "GB" | "GiB" => kib(3),
        "TB" | "TiB" => kib(4),
        _ => (Unit::Count, 1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_and_numbers_are_told_apart() {
        let output = Output::parse("OK - fine | 'a b'=5ms;10;20;0;100 c=1.5%;80\nlong text\nmore | d=7c\n'e'=U\n");

        let read: Vec<_> =
            output.measures.iter().map(|one| (one.name.as_str(), one.value.to_string(), one.unit)).collect();
        assert_eq!(output.text, "OK - fine");
        assert_eq!(
            read,
            [
                ("a b", "0.005".to_owned(), Unit::Seconds),
                ("c", "1.5".to_owned(), Unit::Percent),
                ("d", "7".to_owned(), Unit::Total),
                ("e", "NaN".to_owned(), Unit::Count),
            ]
        );
        assert_eq!(output.measures[0].thresholds.warning, Some(Range::parse("0.01").unwrap()));
    }

    #[test]
    fn what_is_no_number_is_left_out() {
        assert_eq!(Output::parse("x | a=1,5 b=abc =5; c d=inf e=").measures.len(), 2);
    }

    proptest! {
        #[test]
        fn no_output_makes_it_panic(text in "\\PC{0,200}") {
            drop(Output::parse(&text));
        }
    }
}
