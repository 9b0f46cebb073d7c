//! Values of directives: numbers as C reads them, sizes, owners, words as a shell splits them.

use super::Ownership;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

/// A whole number: decimal, `0x` hexadecimal or `0` octal, as strtoul(3) with base 0.
pub fn number(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    let is_plain = !digits.starts_with(['+', '-']);
    is_plain.then(|| u64::from_str_radix(digits, radix).ok()).flatten()
}

/// Why a size is none.
#[derive(Debug, PartialEq, Eq)]
pub enum BadSize {
    /// The letter behind it is none of k, M and G.
    Unit(char),
    /// It is no number, or too large.
    Number,
}

/// A number of bytes, with k, K, M or G for powers of 1024.
///
/// # Errors
///
/// See [`BadSize`].
pub fn size(text: &[u8]) -> Result<u64, BadSize> {
    let (digits, multiplier) = match text {
        [digits @ .., b'k' | b'K'] => (digits, 1 << 10),
        [digits @ .., b'M'] => (digits, 1 << 20),
        [digits @ .., b'G'] => (digits, 1 << 30),
        [.., last] if !last.is_ascii_digit() => return Err(BadSize::Unit(char::from(*last))),
        digits => (digits, 1_u64),
    };
    number(digits)
        .and_then(|number| number.checked_mul(multiplier))
        .filter(|size| i64::try_from(*size).is_ok())
        .ok_or(BadSize::Number)
}

/// What stands behind `create`, `createolddir` and `su`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `[MODE] [OWNER] [GROUP]`.
    ModeFirst,
    /// `USER GROUP`.
    UserGroup,
}

/// Reads mode, owner and group; what is not given stays as it was.
///
/// # Errors
///
/// The rest of the message: "unknown group 'x'".
pub fn ownership(text: &[u8], form: Form, keyword: &str, was: Ownership) -> Result<Ownership, String> {
    let words = quoted_words(text).ok_or_else(|| format!("invalid arguments for {keyword}"))?;
    let (mode, user, group) = match (words.as_slice(), form) {
        ([], _) => (None, None, None),
        ([user], Form::UserGroup) => (None, Some(user), None),
        ([mode], Form::ModeFirst) => (Some(mode), None, None),
        ([user, group], _) => (None, Some(user), Some(group)),
        ([mode, user, group], Form::ModeFirst) => (Some(mode), Some(user), Some(group)),
        _ => return Err(format!("extra arguments for {keyword}")),
    };
    let show = |word: &OsString| crate::message::shown(word).to_string();
    let mut is = was;
    if let Some(group) = group {
        is.gid = Some(gid(group).ok_or_else(|| format!("unknown group '{}'", show(group)))?);
    }
    if let Some(user) = user {
        is.uid = Some(uid(user).ok_or_else(|| format!("unknown user '{}'", show(user)))?);
    }
    if let Some(mode) = mode {
        is.mode = Some(octal(mode).ok_or_else(|| format!("invalid mode '{}'", show(mode)))?);
    }
    Ok(is)
}

fn octal(text: &OsStr) -> Option<u32> {
    u32::from_str_radix(text.to_str()?, 8).ok().filter(|mode| *mode <= 0o7777)
}

/// A user by name or number; a number in front of which stands a colon need not belong to anybody.
fn uid(name: &OsStr) -> Option<u32> {
    let name = name.to_str()?;
    if let Ok(Some(user)) = nix::unistd::User::from_name(name) {
        return Some(user.uid.as_raw());
    }
    let (digits, forced) = name.strip_prefix(':').map_or((name, false), |digits| (digits, true));
    let number: u32 = digits.parse().ok().filter(|number| i32::try_from(*number).is_ok())?;
    let is_known = || matches!(nix::unistd::User::from_uid(number.into()), Ok(Some(_)));
    (forced || is_known()).then_some(number)
}

fn gid(name: &OsStr) -> Option<u32> {
    let name = name.to_str()?;
    if let Ok(Some(group)) = nix::unistd::Group::from_name(name) {
        return Some(group.gid.as_raw());
    }
    let (digits, forced) = name.strip_prefix(':').map_or((name, false), |digits| (digits, true));
    let number: u32 = digits.parse().ok().filter(|number| i32::try_from(*number).is_ok())?;
    let is_known = || matches!(nix::unistd::Group::from_gid(number.into()), Ok(Some(_)));
    (forced || is_known()).then_some(number)
}

/// Words apart by blanks, each perhaps in quotes; nothing is escaped. `None` where a quote has no partner.
fn quoted_words(text: &[u8]) -> Option<Vec<OsString>> {
    let mut words = Vec::new();
    let mut rest = text.trim_ascii();
    while let Some(first) = rest.first() {
        let (word, after) = match first {
            quote @ (b'\'' | b'"') => {
                let end = rest[1..].iter().position(|byte| byte == quote)?;
                (&rest[1..=end], &rest[end + 2..])
            }
            _ => rest.split_at(rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len())),
        };
        words.push(OsString::from_vec(word.to_vec()));
        rest = after.trim_ascii_start();
    }
    Some(words)
}

/// The words that a shell would see, without expanding anything; `None` where a quote has no partner.
///
/// Inside quotes a backslash makes the quote and itself literal, elsewhere what follows it.
pub fn words(text: &[u8]) -> Option<Vec<OsString>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote: Option<u8> = None;
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match (quote, byte) {
            (Some(open), byte) if byte == open => quote = None,
            (Some(open), b'\\') => {
                let next = bytes.next()?;
                let word = word.get_or_insert_default();
                if next != open && next != b'\\' {
                    word.push(b'\\');
                }
                word.push(next);
            }
            (Some(_), byte) => word.get_or_insert_default().push(byte),
            (None, b'\'' | b'"') => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            (None, b'\\') => word.get_or_insert_default().push(bytes.next()?),
            (None, byte) if byte.is_ascii_whitespace() => words.extend(word.take().map(OsString::from_vec)),
            (None, byte) => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word.take().map(OsString::from_vec));
    quote.is_none().then_some(words)
}

/// Whether a path holds nothing but visible characters.
pub fn is_printable_path(text: &[u8]) -> bool {
    OsStr::from_bytes(text)
        .to_str()
        .is_some_and(|text| !text.is_empty() && !text.chars().any(|c| c.is_control() || c == ' ' || c == '\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_c_reads_them() {
        assert_eq!(number(b"10"), Some(10));
        assert_eq!(number(b"0x10"), Some(16));
        assert_eq!(number(b"010"), Some(8));
        assert_eq!(number(b"0"), Some(0));
        for bad in ["", "-1", "+1", "1 # one", "0x", "0x-1", "9x", "99999999999999999999"] {
            assert_eq!(number(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn sizes_have_units_of_1024() {
        assert_eq!(size(b"100k"), Ok(102_400));
        assert_eq!(size(b"5M"), Ok(5 << 20));
        assert_eq!(size(b"2G"), Ok(2 << 30));
        assert_eq!(size(b"2097153"), Ok(2_097_153));
        assert_eq!(size(b"300x"), Err(BadSize::Unit('x')));
        assert_eq!(size(b"G"), Err(BadSize::Number));
        assert_eq!(size(b"9999999999G"), Err(BadSize::Number));
    }

    #[test]
    fn create_takes_mode_owner_and_group_in_their_three_forms() {
        let read = |text: &str| ownership(text.as_bytes(), Form::ModeFirst, "create", Ownership::default());

        assert_eq!(read(""), Ok(Ownership::default()));
        assert_eq!(read("0700"), Ok(Ownership { mode: Some(0o700), ..Ownership::default() }));
        assert_eq!(read("root \"root\""), Ok(Ownership { mode: None, uid: Some(0), gid: Some(0) }));
        assert_eq!(read("0640 root 'root'"), Ok(Ownership { mode: Some(0o640), uid: Some(0), gid: Some(0) }));
        assert_eq!(read("0640 nosuch root"), Err("unknown user 'nosuch'".into()));
        assert_eq!(read("0640 root 'bar baz'"), Err("unknown group 'bar baz'".into()));
        assert_eq!(read("0640 'root"), Err("invalid arguments for create".into()));
        assert_eq!(read("0640 root root root"), Err("extra arguments for create".into()));
        assert_eq!(read("99"), Err("invalid mode '99'".into()));
        assert_eq!(read(":4242 :4242").map(|is| is.uid), Ok(Some(4242)));
    }

    #[test]
    fn words_are_split_as_by_a_shell() {
        let split = |text: &str| words(text.as_bytes()).map(|words| words.join("|".as_ref()));

        assert_eq!(split("/a/*.log  \"/b c\" \n'/d'"), Some("/a/*.log|/b c|/d".into()));
        assert_eq!(split(r#"-9 "a\"b" c\ d '\x'"#), Some(r#"-9|a"b|c d|\x"#.into()));
        assert_eq!(split("\"open"), None);
        assert_eq!(split(" "), Some("".into()));
    }
}
