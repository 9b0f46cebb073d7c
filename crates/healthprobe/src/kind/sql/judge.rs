//! What the answer to a query means: pure functions of its rows.

use super::unit_of;
use crate::database::{Cell, Rows};
use crate::found::Found;
use common::report::{Measure, Unit};
use common::status::Status;
use common::threshold::Thresholds;

/// How an answer is judged.
#[derive(Debug)]
pub(super) struct Judge {
    /// What is judged is how many rows there are.
    pub(super) counts_rows: bool,
    /// What the first number is counted in, where it is said.
    pub(super) unit: Option<Unit>,
    /// Of the first number.
    pub(super) main: Thresholds,
    /// Of columns by their names.
    pub(super) columns: Vec<(String, Thresholds)>,
}

impl Judge {
    /// The finding for an answer.
    pub(super) fn of(&self, rows: &Rows) -> Found {
        if self.counts_rows {
            return self.counted(rows);
        }
        match (rows.rows.as_slice(), rows.count) {
            ([row], 1) => self.row(&rows.columns, row),
            (_, 0) => Found::unknown("the query gives no row")
                .hint("a number is judged: SELECT count(*) …, or coalesce(…, 0); with count-rows rows are counted"),
            _ => Found::unknown("the query gives more than one row")
                .hint("one row is judged: aggregate, or LIMIT 1; with count-rows rows are counted"),
        }
    }

    fn counted(&self, rows: &Rows) -> Found {
        let more = if rows.is_whole { "" } else { " or more" };
        let count = rows.count as f64;
        let words = common::units::things(rows.count, "row");
        Found::ok(format!("{words}{more}")).measure(Measure::new("value", count, Unit::Count).judged(self.main))
    }

    fn row(&self, columns: &[String], row: &[Cell]) -> Found {
        let named = |name: &str| columns.iter().position(|column| column == name).map(|at| &row[at]);
        if let Some((missing, _)) = self.columns.iter().find(|(name, _)| named(name).is_none()) {
            return Found::unknown(format!("the query gives no column {missing:?}"))
                .hint(format!("its columns are: {}", columns.join(", ")));
        }
        let said = match named("status") {
            Some(Cell::Text(word)) => match Status::from_word(&word.trim().to_uppercase()) {
                Some(status) => Some(status),
                None => {
                    let words = "its column status is none of OK, WARNING, CRITICAL and UNKNOWN";
                    return Found::unknown(words);
                }
            },
            _ => None,
        };
        let mut found = Found::new(said.unwrap_or(Status::Ok), "");
        let mut told = Vec::new();
        let mut is_first = true;
        for (column, cell) in columns.iter().zip(row) {
            let thresholds = self.columns.iter().find(|(name, _)| name == column).map(|(_, thresholds)| *thresholds);
            let (value, unit) = match cell {
                Cell::Number(value) => (*value, unit_of(column)),
                Cell::Seconds(value) => (*value, Unit::Seconds),
                Cell::Text(text) if column == "message" => {
                    told.insert(0, common::text::line(text));
                    continue;
                }
                // Labels of a row are told, not judged.
                Cell::Text(_) if column == "status" && said.is_some() => continue,
                Cell::Text(text) if thresholds.is_none() && (row.len() > 1) => {
                    told.push(format!("{column} {}", common::text::line(text)));
                    continue;
                }
                Cell::Null if thresholds.is_none() && row.len() > 1 => {
                    told.push(format!("{column} NULL"));
                    continue;
                }
                cell => return no_number(column, cell),
            };
            if !value.is_finite() {
                return Found::unknown(format!("column {column:?} is no finite number"));
            }
            let unit = if is_first { self.unit.unwrap_or(unit) } else { unit };
            let name = if row.len() == 1 { "value" } else { column.as_str() };
            let judged = if is_first { joined(self.main, thresholds) } else { thresholds.unwrap_or_default() };
            told.push(if row.len() == 1 { unit.shown(value) } else { format!("{column} {}", unit.shown(value)) });
            let measure = Measure::new(name, value, unit).judged(judged);
            found = found.measure(if value < 0.0 { measure.signed() } else { measure });
            is_first = false;
        }
        if is_first && said.is_none() {
            return Found::unknown("the query gives no number")
                .hint("at least one column has to be a number, or a status");
        }
        found.message = told.join(", ");
        found
    }
}

/// Thresholds for the first number may be given for it as `value`, or by its column's name.
fn joined(main: Thresholds, named: Option<Thresholds>) -> Thresholds {
    let named = named.unwrap_or_default();
    Thresholds { warning: named.warning.or(main.warning), critical: named.critical.or(main.critical) }
}

fn no_number(column: &str, cell: &Cell) -> Found {
    let (what, advice) = match cell {
        Cell::Null => ("NULL", "write coalesce(…, 0) where nothing means zero".to_owned()),
        Cell::Text(_) => ("text", "cast it to a number, or name the column status or message".to_owned()),
        Cell::Other(name) if name.starts_with("time") || name == "date" => {
            ("a point in time", "judge its age: now() - column".to_owned())
        }
        Cell::Other(name) => ("no number", format!("its type is {}", common::text::line(name))),
        Cell::Number(_) | Cell::Seconds(_) => ("a number", String::new()),
    };
    Found::unknown(format!("column {column:?} is {what}")).hint(advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::threshold::Range;

    fn judge() -> Judge {
        let main = Thresholds { warning: None, critical: Some(Range::above(10.0)) };
        Judge { counts_rows: false, unit: None, main, columns: Vec::new() }
    }

    fn rows(columns: &[(&str, Cell)]) -> Rows {
        Rows {
            columns: columns.iter().map(|(name, _)| (*name).to_owned()).collect(),
            rows: vec![columns.iter().map(|(_, cell)| cell.clone()).collect()],
            count: 1,
            is_whole: true,
            is_superuser: false,
        }
    }

    fn text(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }

    #[test]
    fn one_number_is_judged() {
        let found = judge().of(&rows(&[("count", Cell::Number(11.0))]));

        assert_eq!((found.verdict(), found.message.as_str()), (Status::Critical, "11"));
        assert_eq!(judge().of(&rows(&[("count", Cell::Number(10.0))])).verdict(), Status::Ok);
    }

    #[test]
    fn a_row_is_several_measures_and_text_is_told() {
        let columns = vec![("lag_seconds".to_owned(), Thresholds { warning: Some(Range::above(5.0)), critical: None })];
        let judge = Judge { columns, ..judge() };

        let found = judge.of(&rows(&[
            ("orders", Cell::Number(3.0)),
            ("lag_seconds", Cell::Number(60.0)),
            ("host", text("a\u{1b}b")),
            ("message", text("look here")),
        ]));

        assert_eq!(found.verdict(), Status::Warning);
        assert_eq!(found.message, "look here, orders 3, lag_seconds 1m, host a\\u001bb");
        let units: Vec<_> = found.measures.iter().map(|measure| measure.unit).collect();
        assert_eq!(units, [Unit::Count, Unit::Seconds]);
    }

    #[test]
    fn a_column_status_is_the_verdict() {
        let found = judge().of(&rows(&[("status", text("critical")), ("message", text("two shops are closed"))]));
        assert_eq!((found.verdict(), found.message.as_str()), (Status::Critical, "two shops are closed"));

        let found = judge().of(&rows(&[("status", text("shipped")), ("n", Cell::Number(1.0))]));
        assert_eq!(found.verdict(), Status::Unknown);
    }

    #[test]
    fn what_is_no_single_number_is_unknown_with_a_reason() {
        let none = Rows { rows: Vec::new(), count: 0, ..rows(&[]) };
        let two = Rows { rows: vec![Vec::new(), Vec::new()], count: 2, ..rows(&[]) };
        let missing = Judge { columns: vec![("x".to_owned(), Thresholds::default())], ..judge() };
        for (found, said) in [
            (judge().of(&none), "no row"),
            (judge().of(&two), "more than one row"),
            (judge().of(&rows(&[("a", Cell::Null)])), "column \"a\" is NULL"),
            (judge().of(&rows(&[("a", text("12"))])), "column \"a\" is text"),
            (judge().of(&rows(&[("a", Cell::Other("timestamptz".into()))])), "a point in time"),
            (judge().of(&rows(&[("a", Cell::Other("jsonb".into()))])), "is no number"),
            (judge().of(&rows(&[("a", Cell::Number(f64::NAN))])), "no finite number"),
            (judge().of(&rows(&[("a", text("x")), ("b", text("y"))])), "no number"),
            (missing.of(&rows(&[("a", Cell::Number(1.0))])), "no column \"x\""),
        ] {
            assert_eq!(found.verdict(), Status::Unknown, "{}", found.message);
            assert!(found.message.contains(said), "{}", found.message);
        }
    }

    #[test]
    fn rows_are_counted_on_request() {
        let judge = Judge { counts_rows: true, ..judge() };
        let rows = |count| Rows { count, ..rows(&[]) };

        assert_eq!(judge.of(&rows(0)).verdict(), Status::Ok);
        assert_eq!(judge.of(&rows(11)).verdict(), Status::Critical);
        assert_eq!(judge.of(&rows(1)).message, "1 row");
    }
}
