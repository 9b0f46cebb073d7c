//! What a dump names that lies outside of its database: roles and tablespaces. A restore needs them to be there.
//!
//! ```text
//! statement -> words outside of strings and comments -> OWNER TO | TO | FROM | FOR … -> names
//! ```
//!
//! Owners stand in the headers of entries, too, but those of grants, policies and default privileges only here.

use std::collections::BTreeSet;

/// What was named so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Roles.
    pub roles: BTreeSet<String>,
    /// Owners of what only a superuser can own.
    pub superusers: BTreeSet<String>,
    /// Tablespaces.
    pub tablespaces: BTreeSet<String>,
    /// The encoding of the dump, which is that of its database unless somebody asked for another.
    pub encoding: Option<String>,
    /// Subscriptions were named: a database with one cannot be dropped.
    pub has_subscriptions: bool,
}

/// A piece of a statement outside of strings and comments.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    /// A keyword or a name without quotes.
    Bare(String),
    /// A name in quotes, without them.
    Quoted(String),
    /// Anything else.
    Sign(u8),
}

/// Words that stand where a role could, and are none.
const NO_ROLES: [&str; 6] = ["PUBLIC", "public", "CURRENT_USER", "CURRENT_ROLE", "SESSION_USER", "DEFAULT"];

impl Names {
    /// Reads one statement of a dump.
    pub fn look_at(&mut self, statement: &[u8]) {
        let starts = |words: &str| statement.starts_with(words.as_bytes());
        if starts("SET client_encoding = '") {
            let name = statement[23..].split(|byte| *byte == b'\'').next().unwrap_or_default();
            self.encoding = Some(crate::text::bytes(name));
        } else if starts("SET default_tablespace = ") {
            let words = words(statement);
            self.tablespaces.extend(words.get(3).and_then(name));
        } else if starts("GRANT ") || starts("ALTER DEFAULT PRIVILEGES ") || starts("REVOKE ") {
            self.granted(&words(statement));
        } else if starts("CREATE POLICY ") {
            let words = words(statement);
            self.roles.extend(list_after(&words, first(&words, "TO")));
        } else if starts("CREATE SUBSCRIPTION ") {
            self.has_subscriptions = true;
        } else if starts("CREATE USER MAPPING FOR ") {
            self.roles.extend(role_after(&words(statement), 3));
        } else if starts("CREATE SCHEMA ") || starts("SET SESSION AUTHORIZATION ") {
            let words = words(statement);
            self.roles.extend(first(&words, "AUTHORIZATION").and_then(|at| role_after(&words, at)));
        } else if starts("ALTER ") {
            self.owned(statement);
        }
    }

    /// `ALTER … OWNER TO name;`
    fn owned(&mut self, statement: &[u8]) {
        // The name at the end has at most 63 bytes, or twice as many quotes.
        let tail = &statement[statement.len().saturating_sub(200)..];
        if !tail.windows(10).any(|window| window == b" OWNER TO ") {
            return;
        }
        let words = words(statement);
        let [.., Word::Bare(owner), Word::Bare(to), role] = words.as_slice() else { return };
        let Some(role) = name(role).filter(|_| owner == "OWNER" && to == "TO") else { return };
        let takes_superuser = ["ALTER EVENT TRIGGER ", "ALTER FOREIGN DATA WRAPPER ", "ALTER SUBSCRIPTION "]
            .iter()
            .any(|start| statement.starts_with(start.as_bytes()));
        if takes_superuser {
            self.superusers.insert(role.clone());
        }
        self.roles.insert(role);
    }

    /// Who gets or loses, who gave, and whose defaults they are.
    fn granted(&mut self, words: &[Word]) {
        self.roles.extend(list_after(words, last(words, "TO").max(last(words, "FROM"))));
        if let Some(at) = last(words, "GRANTED") {
            self.roles.extend(role_after(words, at + 1));
        }
        if let [Word::Bare(_), Word::Bare(default), _, Word::Bare(of), Word::Bare(role), ..] = words
            && (default.as_str(), of.as_str(), role.as_str()) == ("DEFAULT", "FOR", "ROLE")
        {
            self.roles.extend(role_after(words, 4));
        }
    }
}

fn first(words: &[Word], keyword: &str) -> Option<usize> {
    words.iter().position(|word| matches!(word, Word::Bare(bare) if bare == keyword))
}

fn last(words: &[Word], keyword: &str) -> Option<usize> {
    words.iter().rposition(|word| matches!(word, Word::Bare(bare) if bare == keyword))
}

/// The names behind a keyword, with commas between them.
fn list_after(words: &[Word], keyword: Option<usize>) -> Vec<String> {
    let Some(mut at) = keyword else { return Vec::new() };
    let mut names = Vec::new();
    loop {
        names.extend(role_after(words, at));
        if words.get(at + 2) != Some(&Word::Sign(b',')) {
            return names;
        }
        at += 2;
    }
}

fn role_after(words: &[Word], at: usize) -> Option<String> {
    match words.get(at + 1)? {
        Word::Bare(bare) if NO_ROLES.contains(&bare.as_str()) => None,
        word => name(word),
    }
}

fn name(word: &Word) -> Option<String> {
    match word {
        Word::Bare(name) | Word::Quoted(name) => Some(name.clone()),
        Word::Sign(_) => None,
    }
}

/// Cuts a statement into words; strings, dollar quotes and comments are left out.
fn words(statement: &[u8]) -> Vec<Word> {
    let mut words = Vec::new();
    let mut rest = statement;
    while let Some(&byte) = rest.first() {
        let (word, length) = match byte {
            b'"' => quoted(rest),
            b'\'' => (None, end_of_string(rest)),
            b'-' if rest.starts_with(b"--") => (None, end_of(rest, b"\n")),
            b'$' => (None, end_of_dollar_quote(rest)),
            _ if is_in_word(byte) => bare(rest),
            _ if byte.is_ascii_whitespace() || byte == b';' => (None, 1),
            _ => (Some(Word::Sign(byte)), 1),
        };
        words.extend(word);
        rest = &rest[length.min(rest.len())..];
    }
    words
}

fn is_in_word(byte: u8) -> bool {
    byte == b'_' || byte >= 0x80 || byte.is_ascii_alphanumeric()
}

fn bare(rest: &[u8]) -> (Option<Word>, usize) {
    let end = rest.iter().position(|byte| !is_in_word(*byte) && *byte != b'$').unwrap_or(rest.len());
    (Some(Word::Bare(crate::text::bytes(&rest[..end]))), end)
}

fn quoted(rest: &[u8]) -> (Option<Word>, usize) {
    let mut name = Vec::new();
    let mut at = 1;
    loop {
        match (rest.get(at), rest.get(at + 1)) {
            (Some(b'"'), Some(b'"')) => {
                name.push(b'"');
                at += 2;
            }
            (Some(b'"'), _) | (None, _) => return (Some(Word::Quoted(crate::text::bytes(&name))), at + 1),
            (Some(byte), _) => {
                name.push(*byte);
                at += 1;
            }
        }
    }
}

/// A string in which a quote is doubled. One with backslashes (`E'…'`) may be cut wrongly, but only behind its first
/// escaped quote, and pg_dump writes none in the statements that are read here.
fn end_of_string(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match (rest[at], rest.get(at + 1)) {
            (b'\'', Some(b'\'')) => at += 2,
            (b'\'', _) => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn end_of(rest: &[u8], end: &[u8]) -> usize {
    rest.windows(end.len()).position(|window| window == end).map_or(rest.len(), |at| at + end.len())
}

fn end_of_dollar_quote(rest: &[u8]) -> usize {
    let Some(end) = rest[1..].iter().position(|byte| *byte == b'$') else { return 1 };
    let tag = &rest[..end + 2];
    if !tag[1..tag.len() - 1].iter().all(|byte| is_in_word(*byte)) {
        return 1;
    }
    tag.len() + end_of(&rest[tag.len()..], tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(statements: &[&str]) -> Names {
        let mut names = Names::default();
        statements.iter().for_each(|statement| names.look_at(statement.as_bytes()));
        names
    }

    #[track_caller]
    fn roles(statement: &str, roles: &[&str]) {
        let found = named(&[statement]).roles;
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), roles, "{statement}");
    }

    #[test]
    fn every_place_where_a_dump_names_a_role_is_read() {
        roles("ALTER TABLE public.t OWNER TO app;", &["app"]);
        roles("ALTER FUNCTION public.f(text DEFAULT ' OWNER TO x') OWNER TO \"a \"\"b\"\"; c\";", &["a \"b\"; c"]);
        roles("GRANT SELECT ON TABLE public.\"TO x\" TO reader;", &["reader"]);
        roles("GRANT ALL ON SCHEMA s TO PUBLIC;", &[]);
        roles("GRANT SELECT ON TABLE t TO a WITH GRANT OPTION GRANTED BY b;", &["a", "b"]);
        roles("REVOKE ALL ON FUNCTION f() FROM PUBLIC;", &[]);
        roles("REVOKE ALL ON TABLE t FROM owner;", &["owner"]);
        roles("ALTER DEFAULT PRIVILEGES FOR ROLE a IN SCHEMA s GRANT SELECT ON TABLES TO b;", &["a", "b"]);
        roles("ALTER DEFAULT PRIVILEGES FOR ROLE \"FROM\" REVOKE ALL ON TABLES FROM \"TO\";", &["FROM", "TO"]);
        roles("CREATE POLICY p ON t FOR SELECT TO a, \"B c\" USING ((x = 'TO z'::text));", &["B c", "a"]);
        roles("CREATE POLICY p ON t USING (true);", &[]);
        roles("CREATE USER MAPPING FOR a SERVER s OPTIONS (\"user\" 'b');", &["a"]);
        roles("CREATE USER MAPPING FOR PUBLIC SERVER s;", &[]);
        roles("CREATE SCHEMA s AUTHORIZATION a;", &["a"]);
        roles("SET SESSION AUTHORIZATION a;", &["a"]);
        roles("SET SESSION AUTHORIZATION DEFAULT;", &[]);
    }

    #[test]
    fn text_that_looks_like_a_role_is_none() {
        roles("CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ALTER TABLE t OWNER TO x$$;", &[]);
        roles("ALTER TABLE ONLY t ALTER COLUMN c SET DEFAULT ' OWNER TO x';", &[]);
        roles("COMMENT ON TABLE t IS 'GRANT x TO y';", &[]);
        roles("GRANT SELECT ON TABLE t TO a -- TO b\n;", &["a"]);
        roles("ALTER TABLE t OWNER TO \"unended", &["unended"]);
        roles("GRANT", &[]);
        roles("ALTER TABLE t OWNER TO ;", &[]);
    }

    #[test]
    fn an_owner_of_an_event_trigger_or_a_subscription_has_to_be_a_superuser() {
        let statements = ["ALTER EVENT TRIGGER e OWNER TO boss;", "ALTER TABLE t OWNER TO app;"];
        let names =
            named(&[&statements[..], &["CREATE SUBSCRIPTION s;", "ALTER SUBSCRIPTION s OWNER TO sub;"]].concat());

        assert_eq!(names.superusers, ["boss".to_owned(), "sub".to_owned()].into());
        assert!(names.has_subscriptions && !named(&statements).has_subscriptions);
    }

    #[test]
    fn the_encoding_stands_at_the_head() {
        assert_eq!(named(&["SET client_encoding = 'LATIN1';"]).encoding.as_deref(), Some("LATIN1"));
    }

    #[test]
    fn tablespaces_stand_in_front_of_what_lies_in_them() {
        let names = named(&["SET default_tablespace = '';", "SET default_tablespace = \"fast disk\";"]);

        assert_eq!(names.tablespaces, ["fast disk".to_owned()].into());
    }
}
