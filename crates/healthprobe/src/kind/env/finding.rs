//! One thing to say of a line: where, how bad, in which words. Never a value.

use common::envfile::Var;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// The application cannot work with it, or should not.
    Fault,
    /// To be looked at; with `strict` a fault.
    Doubt,
}

/// Something to object to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// The line, from 1; 0 for the file as a whole.
    pub(super) line: usize,
    /// What it is about, where it is no line.
    about: &'static str,
    name: Option<String>,
    pub(super) weight: Weight,
    text: String,
}

impl Finding {
    /// About a variable.
    pub(super) fn of(var: &Var, weight: Weight, text: impl Into<String>) -> Self {
        Self::at(var.line, Some(&var.name), weight, text)
    }

    /// About a line, with a name that may be told.
    pub(super) fn at(line: usize, name: Option<&str>, weight: Weight, text: impl Into<String>) -> Self {
        Self { line, about: "line", name: name.map(|name| shown(name).to_owned()), weight, text: text.into() }
    }

    /// About the file as a whole.
    pub(super) fn of_file(about: &'static str, weight: Weight, text: impl Into<String>) -> Self {
        Self { line: 0, about, name: None, weight, text: text.into() }
    }

    /// `line 3`, `mode`
    pub(super) fn place(&self) -> String {
        match self.line {
            0 => self.about.to_owned(),
            line => format!("line {line}"),
        }
    }

    /// `JWT_SECRET is a placeholder`
    pub(super) fn words(&self) -> String {
        match &self.name {
            Some(name) => format!("{name} {}", self.text),
            None => self.text.clone(),
        }
    }
}

/// A name that is made like one: letters of one case, digits, `_`. What is not may be the rest of a secret, such as a line of
/// base64 that ends in `=`.
pub(super) fn shown(name: &str) -> &str {
    let has = |test: fn(&char) -> bool| name.chars().any(|c| test(&c));
    let is_word = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let is_mixed = has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase);
    let digits = name.chars().filter(char::is_ascii_digit).count();
    let is_name =
        is_word && !is_mixed && digits <= 6 && name.len() <= 64 && !name.starts_with(|c: char| c.is_ascii_digit());
    if is_name { name } else { "a variable" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_made_like_a_name_is_told() {
        for name in ["DATABASE_URL", "node_env", "A1", "S3_BUCKET_2"] {
            assert_eq!(shown(name), name);
        }
        for name in ["MIIEvQIBADANBgkqhkiG9w0BAQEFAASC", "a.b", "x-y", "deadbeef0123456789", &"A".repeat(65)] {
            assert_eq!(shown(name), "a variable");
        }
    }
}
