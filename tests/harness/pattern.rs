//! File name patterns: `*` is any run of characters (a leading dot too), `?` is one. Neither crosses a `/`.

/// Whether a relative path has the shape of `pattern`.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    let (patterns, names) = (pattern.split('/'), path.split('/'));
    patterns.clone().count() == names.clone().count()
        && patterns.zip(names).all(|(p, n)| name_matches(p.as_bytes(), n.as_bytes()))
}

fn name_matches(pattern: &[u8], name: &[u8]) -> bool {
    match pattern {
        [] => name.is_empty(),
        [b'*', rest @ ..] => (0..=name.len()).any(|skip| name_matches(rest, &name[skip..])),
        [b'?', rest @ ..] => !name.is_empty() && name_matches(rest, &name[1..]),
        [first, rest @ ..] => name.first() == Some(first) && name_matches(rest, &name[1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_run_of_characters_inside_one_name() {
        assert!(matches(".*.partial", ".app-20261120T020000Z.partial"));
        assert!(matches("*", ".hidden"));
        assert!(matches("sub/a?c", "sub/abc"));

        assert!(!matches("*.partial", "app.sql.gz"));
        assert!(!matches("*", "sub/file"));
        assert!(!matches("a?c", "ac"));
    }
}
