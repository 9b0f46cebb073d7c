//! A statement without what the server may word in another way when it shows it a second time.
//!
//! PostgreSQL keeps no text of a CHECK or a view: it shows what it has made of it, and what it makes of that may read
//! differently again. `s IN ('a', 'b')` of a varchar is the known case: first `ANY ((ARRAY['a'::varchar])::text[])`, after
//! a restore `ANY (ARRAY[('a'::varchar)::text])`. So casts, parentheses and blanks are left out; strings, names, operators
//! and their order stay.

/// Types of more than one word, behind their first.
const MORE_WORDS: [&[u8]; 7] = [b"varying", b"precision", b"with", b"without", b"time", b"zone", b"local"];

/// The words of a statement that have to be equal, one behind the other.
pub(super) fn normal_form(statement: &[u8]) -> Vec<u8> {
    let mut form = Vec::with_capacity(statement.len());
    let mut rest = statement;
    while let Some(&byte) = rest.first() {
        let length = match byte {
            b'(' | b')' => 0,
            b'\'' => end_of_quote(rest, b'\''),
            b'"' => end_of_quote(rest, b'"'),
            b'$' => end_of_dollar_quote(rest),
            b':' if rest.starts_with(b"::") => {
                rest = behind_type(&rest[2..]);
                continue;
            }
            _ if byte.is_ascii_whitespace() => 0,
            _ if is_in_word(byte) => end_of_word(rest),
            _ => 1,
        };
        let (word, after) = rest.split_at(length.clamp(1, rest.len()));
        if length > 0 {
            form.extend_from_slice(word);
            form.push(0);
        }
        rest = after;
    }
    form
}

fn is_in_word(byte: u8) -> bool {
    byte == b'_' || byte >= 0x80 || byte.is_ascii_alphanumeric()
}

fn end_of_word(rest: &[u8]) -> usize {
    rest.iter().position(|byte| !is_in_word(*byte) && *byte != b'$').unwrap_or(rest.len())
}

/// A doubled quote ends one string and begins the next, which comes to the same here.
fn end_of_quote(rest: &[u8], quote: u8) -> usize {
    rest[1..].iter().position(|byte| *byte == quote).map_or(rest.len(), |at| at + 2)
}

fn end_of_dollar_quote(rest: &[u8]) -> usize {
    let Some(tag) = rest[1..].iter().position(|byte| *byte == b'$').map(|at| &rest[..at + 2]) else { return 1 };
    if !tag[1..tag.len() - 1].iter().all(|byte| is_in_word(*byte)) {
        return 1;
    }
    let body = &rest[tag.len()..];
    let end = body.windows(tag.len()).position(|window| window == tag);
    tag.len() + end.map_or(body.len(), |at| at + tag.len())
}

/// What stands behind the type of a cast: `pg_catalog."x"`, `character varying(10)[]`, `timestamp(3) with time zone`.
fn behind_type(mut rest: &[u8]) -> &[u8] {
    loop {
        rest = match rest.first() {
            Some(b'"') => &rest[end_of_quote(rest, b'"').min(rest.len())..],
            Some(byte) if is_in_word(*byte) => &rest[end_of_word(rest)..],
            _ => return rest,
        };
        rest = behind_length(rest);
        match rest {
            [b'.', after @ ..] => rest = after,
            [b' ', after @ ..] if MORE_WORDS.contains(&&after[..end_of_word(after)]) => rest = after,
            _ => break,
        }
    }
    while let [b'[', after @ ..] = rest {
        let Some(end) = after.iter().position(|byte| *byte == b']') else { break };
        rest = &after[end + 1..];
    }
    rest
}

/// `(10,2)` directly behind a type.
fn behind_length(rest: &[u8]) -> &[u8] {
    let [b'(', inner @ ..] = rest else { return rest };
    let is_length = |byte: &u8| byte.is_ascii_digit() || b", -".contains(byte);
    match inner.iter().position(|byte| !is_length(byte)) {
        Some(end) if inner[end] == b')' => &inner[end + 1..],
        _ => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn same(one: &str, other: &str) {
        assert_eq!(normal_form(one.as_bytes()), normal_form(other.as_bytes()), "{one}\n{other}");
    }

    #[track_caller]
    fn different(one: &str, other: &str) {
        assert_ne!(normal_form(one.as_bytes()), normal_form(other.as_bytes()), "{one}\n{other}");
    }

    #[test]
    fn where_a_server_puts_its_casts_makes_no_difference() {
        same(
            "CHECK (((s)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[])))",
            "CHECK (((s)::text = ANY (ARRAY[('a'::character varying)::text, ('b'::character varying)::text])))",
        );
        same("x::character varying(10) = 1", "(x)::character varying(20) = (1)");
        same("a::timestamp(3) with time zone", "a");
        same("a::public.\"My Type\"[]", "a");
        same("SELECT a\n   FROM t", "SELECT a FROM t");
    }

    #[test]
    fn what_a_statement_says_does() {
        different("CHECK (s = 'a'::text)", "CHECK (s = 'b'::text)");
        different("CHECK (s = 'a'::text)", "CHECK (s = 'a'::text) NOT VALID");
        different("CREATE INDEX i ON t (a, b)", "CREATE INDEX i ON t (b, a)");
        different("AS $$SELECT 1$$", "AS $$SELECT (1)$$");
        different("DEFAULT '(x)::text'", "DEFAULT 'x'");
        different("a::text || b", "a::text");
        different("a <> b", "a = b");
        different("ALTER TABLE \"a b\"", "ALTER TABLE \"ab\"");
    }

    #[test]
    fn text_that_ends_anywhere_is_read_to_its_end() {
        for text in ["'open", "\"open", "$$open", "$1", "a::", "a::\"open", "a::x(", "a::x[", "::", ""] {
            let form = normal_form(text.as_bytes());
            assert!(form.len() <= text.len() * 2, "{text}");
        }
    }
}
