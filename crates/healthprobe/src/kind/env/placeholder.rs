//! Values that were meant to be replaced: `changeme`, `your-key-here`, `<token>`, example.com.

use super::finding::{Finding, Weight};
use super::format;
use common::envfile::Var;

/// What is left of an example, whole or as a part between other characters.
const WORDS: [&str; 14] = [
    "changeme",
    "change-me",
    "change_me",
    "changethis",
    "change-this",
    "change_this",
    "replaceme",
    "replace-me",
    "replace_me",
    "replace-this",
    "replace_this",
    "placeholder",
    "fill-me-in",
    "fill_me_in",
];
/// What is one only as the whole value.
const WHOLE: [&str; 13] = [
    "todo",
    "tbd",
    "fixme",
    "xxx",
    "dummy",
    "undefined",
    "insert",
    "secret-here",
    "value",
    "string",
    "your-secret",
    "mysecret",
    "my-secret",
];
/// Names that are nobody's. Source: RFC 2606, and what templates use.
const NOBODY: [&str; 9] = [
    "example.com",
    "example.org",
    "example.net",
    "yourdomain.com",
    "your-domain.com",
    "mydomain.com",
    "domain.tld",
    "yoursite.com",
    "yourcompany.com",
];

/// What is said of a variable whose value was meant to be replaced.
pub(super) fn judge(var: &Var) -> Option<Finding> {
    let value = var.value.expose().trim().to_ascii_lowercase();
    if is_placeholder(&value) {
        return Some(Finding::of(var, Weight::Fault, "is a placeholder"));
    }
    hosts(&value).any(is_nobodys).then(|| Finding::of(var, Weight::Doubt, "names a host of an example"))
}

fn is_placeholder(value: &str) -> bool {
    if value.is_empty() || value.len() > 200 {
        return false;
    }
    let bare = value.trim_matches(|c: char| "<>[]{}\"'_*".contains(c));
    let is_wrapped = |open: &str, close: &str| {
        let inside = value.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
        inside.is_some_and(|inside| !inside.is_empty() && !inside.contains(|c: char| "<>@:\"{".contains(c)))
    };
    let is_one_char = |c: char| value.len() >= 3 && value.chars().all(|other| other == c);
    let separators = ['-', '_'];
    let is_yours = (bare.starts_with("your")
        || bare.starts_with("put-")
        || bare.starts_with("put_")
        || bare.starts_with("enter-"))
        && bare.contains(separators)
        && !bare.contains(char::is_whitespace);
    WORDS.iter().any(|word| has_word(bare, word))
        || WHOLE.contains(&bare)
        || is_wrapped("<", ">")
        || is_wrapped("{{", "}}")
        || is_wrapped("__", "__")
        || is_one_char('x')
        || is_one_char('.')
        || is_one_char('*')
        || value.contains("xxxxxx")
        || is_yours
        || ((bare.ends_with("-here") || bare.ends_with("_here")) && !bare.contains(char::is_whitespace))
}

/// Whether a word stands in a text by itself: not in `exchange-method`.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let is_begun = !text[..at].ends_with(|c: char| c.is_alphanumeric());
        is_begun && !text[at + word.len()..].starts_with(char::is_alphabetic)
    })
}

/// Hosts of URLs and e-mail addresses, and a value that is one itself.
fn hosts(value: &str) -> impl Iterator<Item = &str> {
    value.split([',', ' ']).map(|part| {
        let host = format::url(part).map_or(part, |url| url.host);
        host.rsplit_once('@').map_or(host, |(_, host)| host).trim_end_matches('>')
    })
}

fn is_nobodys(host: &str) -> bool {
    NOBODY.iter().any(|name| host == *name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')))
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    fn weight(value: &str) -> Option<Weight> {
        judge(&file(&format!("A='{value}'\n")).vars[0]).map(|finding| finding.weight)
    }

    #[test]
    fn what_was_to_be_replaced_is_a_fault() {
        for value in [
            "changeme",
            "CHANGE_ME",
            "please-change-me-now",
            "your-api-key-here",
            "your_secret",
            "<your token>",
            "{{ secret }}",
            "xxx",
            "XXXXXXXX",
            "...",
            "sk_live_xxxxxxxxxxxx",
            "TODO",
            "replace_me",
            "__SECRET__",
            "postgres://u:changeme@h/db",
            "put-your-key-here",
            "undefined",
        ] {
            assert_eq!(weight(value), Some(Weight::Fault), "{value}");
        }
    }

    #[test]
    fn a_host_of_an_example_is_a_doubt() {
        for value in [
            "https://example.com/x",
            "noreply@example.org",
            "www.yourdomain.com",
            "https://a.test,https://api.example.com",
        ] {
            assert_eq!(weight(value), Some(Weight::Doubt), "{value}");
        }
    }

    #[test]
    fn ordinary_values_are_neither() {
        for value in [
            "",
            "production",
            "Your orders are here",
            "https://shop.test",
            "a1b2c3d4e5f6",
            "counterexample.com",
            "xxl",
            "here",
            "youth",
            "Shop <info@shop.test>",
            "true",
            "eyJhbGciOiJIUzI1NiJ9.e30.x",
            "exchange-method",
        ] {
            assert_eq!(weight(value), None, "{value}");
        }
    }
}
