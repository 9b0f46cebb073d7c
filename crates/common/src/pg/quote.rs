//! Names and text of others inside SQL of ours.
//!
//! `standard_conforming_strings` is pinned to on in every session of ours, so a backslash is a backslash.

use anyhow::{Result, ensure};

/// A name as an SQL identifier, always in quotes.
///
/// # Errors
///
/// Where it holds a NUL byte, which no name of PostgreSQL can.
pub fn identifier(name: &str) -> Result<String> {
    ensure!(!name.contains('\0'), "a name holds a NUL byte");
    Ok(format!("\"{}\"", name.replace('"', "\"\"")))
}

/// Text as an SQL string.
///
/// # Errors
///
/// Where it holds a NUL byte.
pub fn literal(text: &str) -> Result<String> {
    ensure!(!text.contains('\0'), "a text holds a NUL byte");
    Ok(format!("'{}'", text.replace('\'', "''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_inside_are_doubled_and_all_else_stays() {
        assert_eq!(identifier("a\"b; \\q\n-- $x$").unwrap(), "\"a\"\"b; \\q\n-- $x$\"");
        assert_eq!(literal("it's \\ \"x\" :y").unwrap(), "'it''s \\ \"x\" :y'");
        assert!(identifier("a\0").is_err() && literal("\0").is_err());
    }
}
