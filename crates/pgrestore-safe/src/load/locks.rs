//! Which tables a statement locks, read from its text: what may run side by side.

use std::collections::BTreeSet;

/// The tables that a statement of an index or a constraint locks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locks {
    /// Which it takes alone.
    pub alone: BTreeSet<String>,
    /// Which others may read, and index, meanwhile.
    pub shared: BTreeSet<String>,
}

/// `None` where a statement is none of those that are known to run side by side.
pub fn locked(statement: &[u8]) -> Option<Locks> {
    let text = String::from_utf8_lossy(statement);
    let words = words(&text);
    let table = |at: usize| words.get(at).map(|word| unquoted(word));
    let behind = |at: usize| if words.get(at).is_some_and(|word| *word == "ONLY") { table(at + 1) } else { table(at) };
    let mut locks = Locks::default();
    match words.as_slice() {
        ["CREATE", "INDEX", _, "ON", ..] => locks.shared.insert(behind(4)?),
        ["CREATE", "UNIQUE", "INDEX", _, "ON", ..] => locks.shared.insert(behind(5)?),
        // Without ONLY it goes down to partitions, whose names are not in the text.
        ["ALTER", "TABLE", "ONLY", table, "ADD", "CONSTRAINT", ..] => {
            if let Some(at) = words.iter().position(|word| *word == "REFERENCES") {
                let other = words.get(at + 1)?;
                locks.alone.insert(unquoted(other.split('(').next().unwrap_or(other)));
            }
            locks.alone.insert(unquoted(table))
        }
        ["ALTER", "TABLE", table, "CLUSTER", "ON", ..] => locks.alone.insert(unquoted(table)),
        ["ALTER", "TABLE", "ONLY", table, "REPLICA", "IDENTITY", ..] => locks.alone.insert(unquoted(table)),
        ["ALTER", "INDEX", index, "ALTER", "COLUMN", ..] => locks.alone.insert(unquoted(index)),
        _ => return None,
    };
    Some(locks)
}

/// The words of a statement; what stands in quotes belongs to its word.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut start = None;
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                start.get_or_insert(at);
            }
            (None, c) if c.is_whitespace() || c == ';' => {
                if let Some(start) = start.take() {
                    words.push(&text[start..at]);
                }
            }
            _ => {
                start.get_or_insert(at);
            }
        }
    }
    words.extend(start.map(|start| &text[start..]));
    words
}

/// `public."a b"` as `public.a b`.
fn unquoted(name: &str) -> String {
    name.replace("\"\"", "\u{1}").replace('"', "").replace('\u{1}', "\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(statement: &str) -> Option<(Vec<String>, Vec<String>)> {
        let locks = locked(statement.as_bytes())?;
        Some((locks.alone.into_iter().collect(), locks.shared.into_iter().collect()))
    }

    #[test]
    fn an_index_reads_its_table_and_a_constraint_takes_it_alone() {
        let shared = |name: &str| Some((vec![], vec![name.to_owned()]));

        assert_eq!(of("CREATE INDEX i ON public.t USING btree (a);"), shared("public.t"));
        assert_eq!(
            of("CREATE UNIQUE INDEX \"i ON x\" ON ONLY public.\"T \"\"x\" USING btree (a);"),
            shared("public.T \"x")
        );
        assert_eq!(
            of("ALTER TABLE ONLY public.t\n    ADD CONSTRAINT p PRIMARY KEY (a);"),
            Some((vec!["public.t".to_owned()], vec![]))
        );
    }

    #[test]
    fn a_foreign_key_takes_both_its_tables() {
        let key =
            "ALTER TABLE ONLY s.a\n    ADD CONSTRAINT k FOREIGN KEY (x) REFERENCES s.\"b c\"(y) ON DELETE CASCADE;";

        assert_eq!(of(key), Some((vec!["s.a".to_owned(), "s.b c".to_owned()], vec![])));
    }

    #[test]
    fn what_is_not_known_runs_by_itself() {
        assert_eq!(of("ALTER TABLE public.p\n    ADD CONSTRAINT k FOREIGN KEY (x) REFERENCES public.q(y);"), None);
        assert_eq!(of("CREATE TRIGGER t BEFORE INSERT ON public.t EXECUTE FUNCTION f();"), None);
    }
}
