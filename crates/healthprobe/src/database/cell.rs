//! What a query of the operator yields, column by column: a number where its type is one, else text.

use futures_util::TryStreamExt as _;
use tokio_postgres::types::{FromSql, Kind, Type};
use tokio_postgres::{Client, Error};

/// The most rows that are counted.
const COUNTED: u64 = 100_000;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    /// A number; intervals are seconds, booleans 0 and 1.
    Number(f64),
    /// A length of time in seconds.
    Seconds(f64),
    /// Text, or what a type is written as.
    Text(String),
    /// NULL.
    Null,
    /// A type that is no number and no text, by its name.
    Other(String),
}

/// Rows of an answer.
#[derive(Debug)]
pub(crate) struct Rows {
    /// The names of its columns.
    pub(crate) columns: Vec<String>,
    /// The first rows.
    pub(crate) rows: Vec<Vec<Cell>>,
    /// How many there are, up to a hundred thousand.
    pub(crate) count: u64,
    /// All of the answer was read, so the session can go on.
    pub(crate) is_whole: bool,
    /// Who asked is a superuser.
    pub(crate) is_superuser: bool,
}

/// Sends one statement by the extended protocol, which takes no second one, and reads its answer. Without a name for the
/// statement, so that a connection pool does not mind.
///
/// # Errors
///
/// What the server says.
pub(super) async fn rows(client: &Client, statement: &str, most: usize) -> Result<Rows, Error> {
    let mut stream = std::pin::pin!(client.query_typed_raw(statement, Vec::<(String, Type)>::new()).await?);
    let mut found = Rows { columns: Vec::new(), rows: Vec::new(), count: 0, is_whole: true, is_superuser: false };
    while let Some(row) = stream.try_next().await? {
        found.count += 1;
        if found.rows.len() < most {
            found.columns = row.columns().iter().map(|column| column.name().to_owned()).collect();
            found
                .rows
                .push((0..row.len()).map(|n| row.try_get::<_, Any>(n).map(|any| any.0)).collect::<Result<_, _>>()?);
        }
        if found.count >= COUNTED {
            found.is_whole = false;
            break;
        }
    }
    Ok(found)
}

/// A value of any type.
struct Any(Cell);

impl<'a> FromSql<'a> for Any {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        read(ty, raw).map(Self)
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(Cell::Null))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

type Failure = Box<dyn std::error::Error + Sync + Send>;

fn read(ty: &Type, raw: &[u8]) -> Result<Cell, Failure> {
    Ok(match *ty {
        Type::INT2 => Cell::Number(f64::from(i16::from_sql(ty, raw)?)),
        Type::INT4 => Cell::Number(f64::from(i32::from_sql(ty, raw)?)),
        Type::OID => Cell::Number(f64::from(u32::from_sql(ty, raw)?)),
        Type::INT8 => Cell::Number(i64::from_sql(ty, raw)? as f64),
        Type::FLOAT4 => Cell::Number(f64::from(f32::from_sql(ty, raw)?)),
        Type::FLOAT8 => Cell::Number(f64::from_sql(ty, raw)?),
        Type::NUMERIC => Cell::Number(numeric(raw)?),
        Type::BOOL => Cell::Number(f64::from(u8::from(bool::from_sql(ty, raw)?))),
        Type::INTERVAL => Cell::Seconds(interval(raw)?),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN => {
            Cell::Text(String::from_utf8_lossy(raw).into_owned())
        }
        _ => match ty.kind() {
            Kind::Domain(inner) => read(inner, raw)?,
            Kind::Enum(_) => Cell::Text(String::from_utf8_lossy(raw).into_owned()),
            _ => Cell::Other(ty.name().to_owned()),
        },
    })
}

fn word<const N: usize>(raw: &[u8], at: usize) -> Result<[u8; N], Failure> {
    raw.get(at..at + N).and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| "a value is cut off".into())
}

/// Digits to the base of 10,000. Source: PostgreSQL, `numeric_send` in numeric.c.
fn numeric(raw: &[u8]) -> Result<f64, Failure> {
    let count = u16::from_be_bytes(word(raw, 0)?);
    let weight = i16::from_be_bytes(word(raw, 2)?);
    let sign = u16::from_be_bytes(word(raw, 4)?);
    match sign {
        0xC000 => return Ok(f64::NAN),
        0xD000 => return Ok(f64::INFINITY),
        0xF000 => return Ok(f64::NEG_INFINITY),
        _ => {}
    }
    let mut text = if sign == 0x4000 { "-".to_owned() } else { String::new() };
    text.push('0');
    for n in 0..count {
        text.push_str(&format!("{:04}", u16::from_be_bytes(word(raw, 8 + 2 * usize::from(n))?)));
    }
    // Read as decimal text, so that 0.1 is 0.1.
    let exponent = 4 * (i32::from(weight) + 1 - i32::from(count));
    Ok(format!("{text}e{exponent}").parse()?)
}

/// Microseconds, days, months; a month is 30 days, as in `extract(epoch FROM …)`. Source: `interval_send` in timestamp.c.
fn interval(raw: &[u8]) -> Result<f64, Failure> {
    let micros = i64::from_be_bytes(word(raw, 0)?);
    let days = i32::from_be_bytes(word(raw, 8)?);
    let months = i32::from_be_bytes(word(raw, 12)?);
    let (years, months) = (months / 12, months % 12);
    let days = f64::from(years) * 365.25 + f64::from(months) * 30.0 + f64::from(days);
    Ok(micros as f64 / 1e6 + days * 86_400.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digits(weight: i16, sign: u16, digits: &[u16]) -> Vec<u8> {
        let head = [digits.len() as u16, weight as u16, sign, 0];
        head.iter().chain(digits).flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn decimals_are_read_exactly() {
        for (raw, expected) in [
            (digits(0, 0, &[]), 0.0),
            (digits(0, 0, &[42]), 42.0),
            (digits(-1, 0, &[1000]), 0.1),
            (digits(1, 0x4000, &[1, 2345, 6700]), -12345.67),
            (digits(2, 0, &[1]), 1e8),
        ] {
            assert_eq!(numeric(&raw).unwrap(), expected);
        }
        assert!(numeric(&digits(0, 0xC000, &[])).unwrap().is_nan());
        assert!(numeric(&[0, 1, 0]).is_err());
    }

    #[test]
    fn lengths_of_time_are_seconds_as_the_server_counts_them() {
        let raw = [&1_500_000_i64.to_be_bytes()[..], &2_i32.to_be_bytes(), &13_i32.to_be_bytes()].concat();

        assert_eq!(interval(&raw).unwrap(), 1.5 + 2.0 * 86_400.0 + 365.25 * 86_400.0 + 30.0 * 86_400.0);
    }
}
