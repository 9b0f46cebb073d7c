//! Patterns of file names, as glob(3) and fnmatch(3) have them.
//!
//! What a pattern finds in a directory of somebody else is only a name. No symbolic link is followed in the part of a
//! path that a wildcard matched, unless root or we made it: otherwise whoever owns the directory could have us rotate
//! what lies elsewhere (THREATS L10).

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The most files that one pattern may match.
pub const MOST_MATCHES: usize = 100_000;

/// Whether a name matches a pattern; a leading dot only matches a dot. Neither holds a slash.
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first().is_some_and(|first| b"*?[".contains(first)) {
        return false;
    }
    matches_from(pattern, name)
}

/// Goes back to the last star only, so a pattern of many stars takes no exponential time.
fn matches_from(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p + 1, n));
            p += 1;
        } else if let Some(width) = name.get(n).and_then(|byte| one(&pattern[p..], *byte)) {
            p += width;
            n += 1;
        } else if p == pattern.len() && n == name.len() {
            return true;
        } else {
            match star {
                Some((after, from)) if from < name.len() => {
                    star = Some((after, from + 1));
                    (p, n) = (after, from + 1);
                }
                _ => return false,
            }
        }
    }
}

/// How much of the pattern stands for this byte, if it does.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [b'[', rest @ ..] => match bracket(rest, byte) {
            Some((is_in, width)) => is_in.then_some(width + 1),
            // Without its end it is a character like any other.
            None => (byte == b'[').then_some(1),
        },
        [literal, ..] => (*literal == byte).then_some(1),
        [] => None,
    }
}

/// Whether a byte is in a bracket expression, and how long that is behind its `[`.
fn bracket(text: &[u8], byte: u8) -> Option<(bool, usize)> {
    let negated = matches!(text.first(), Some(b'!' | b'^'));
    let mut at = usize::from(negated);
    let first = at;
    let mut is_in = false;
    loop {
        match text.get(at)? {
            b']' if at > first => return Some((is_in != negated, at + 1)),
            b'[' if text.get(at + 1) == Some(&b':') => {
                let length = text[at + 2..].windows(2).position(|end| end == b":]")?;
                is_in |= in_class(&text[at + 2..at + 2 + length], byte);
                at += length + 4;
            }
            low => {
                let low = if *low == b'\\' {
                    at += 1;
                    text.get(at)?
                } else {
                    low
                };
                match (text.get(at + 1), text.get(at + 2)) {
                    (Some(b'-'), Some(high)) if *high != b']' => {
                        is_in |= (*low..=*high).contains(&byte);
                        at += 3;
                    }
                    _ => {
                        is_in |= *low == byte;
                        at += 1;
                    }
                }
            }
        }
    }
}

fn in_class(class: &[u8], byte: u8) -> bool {
    match class {
        b"alpha" => byte.is_ascii_alphabetic(),
        b"digit" => byte.is_ascii_digit(),
        b"alnum" => byte.is_ascii_alphanumeric(),
        b"upper" => byte.is_ascii_uppercase(),
        b"lower" => byte.is_ascii_lowercase(),
        b"space" => byte.is_ascii_whitespace(),
        b"punct" => byte.is_ascii_punctuation(),
        b"xdigit" => byte.is_ascii_hexdigit(),
        _ => false,
    }
}

/// Whether there is anything to expand.
pub fn is_pattern(text: &OsStr) -> bool {
    text.as_bytes().iter().any(|byte| b"*?[".contains(byte))
}

/// What a pattern is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Logs: a directory that matches is none.
    Files,
    /// Directories, or anything else.
    Anything,
}

/// The paths that a pattern matches, sorted; the pattern itself where it matches none, as `GLOB_NOCHECK` has it.
///
/// # Errors
///
/// A directory that may not be read; more than [`MOST_MATCHES`] matches.
pub fn expand(pattern: &OsStr, wanted: Wanted) -> io::Result<Vec<PathBuf>> {
    let pattern = home(pattern);
    if !is_pattern(&pattern) {
        return Ok(vec![PathBuf::from(unescaped(&pattern))]);
    }
    let text = pattern.as_bytes();
    let mut found = vec![if text.starts_with(b"/") { PathBuf::from("/") } else { PathBuf::new() }];
    let components: Vec<&[u8]> = text.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect();
    for (index, component) in components.iter().enumerate() {
        let is_last = index + 1 == components.len();
        let mut next = Vec::new();
        for base in &found {
            if is_pattern(OsStr::from_bytes(component)) {
                listed(base, component, is_last, wanted, &mut next)?;
            } else {
                let path = base.join(unescaped(OsStr::from_bytes(component)));
                // Before the first wildcard everything is taken as it is written.
                if !is_last || fs::symlink_metadata(&path).is_ok() {
                    next.push(path);
                }
            }
        }
        found = next;
    }
    found.sort_unstable();
    Ok(if found.is_empty() { vec![PathBuf::from(pattern)] } else { found })
}

/// Adds the entries of a directory that match one component.
fn listed(base: &Path, component: &[u8], is_last: bool, wanted: Wanted, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let directory = if base.as_os_str().is_empty() { Path::new(".") } else { base };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if !matches(component, entry.file_name().as_bytes()) || (!is_last && !leads_on(&entry)) {
            continue;
        }
        if is_last && wanted == Wanted::Files && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if found.len() >= MOST_MATCHES {
            return Err(io::Error::other(format!("more than {MOST_MATCHES} matches")));
        }
        found.push(base.join(entry.file_name()));
    }
    Ok(())
}

/// Whether the search goes on behind a directory's entry: a directory, or a link to one that root or we made.
fn leads_on(entry: &fs::DirEntry) -> bool {
    match entry.file_type() {
        Ok(kind) if kind.is_symlink() => {
            let is_ours = entry.metadata().is_ok_and(|link| is_trusted_owner(link.uid()));
            if !is_ours {
                crate::tell!("not following link {}: it belongs to another user", crate::message::shown(&entry.path()));
            }
            is_ours
        }
        Ok(kind) => kind.is_dir(),
        Err(_) => false,
    }
}

/// Whether we believe what that user has made: root, and ourselves.
pub fn is_trusted_owner(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

/// A pattern with `~/` or `~user/` in front replaced by the home directory.
pub fn home(pattern: &OsStr) -> OsString {
    let text = pattern.as_bytes();
    let Some(rest) = text.strip_prefix(b"~") else { return pattern.to_owned() };
    let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
    let home = match std::str::from_utf8(&rest[..end]) {
        Ok("") => own_home(),
        Ok(name) => nix::unistd::User::from_name(name).ok().flatten().map(|user| user.dir.into_os_string()),
        Err(_) => None,
    };
    let Some(mut home) = home else { return pattern.to_owned() };
    home.push(OsStr::from_bytes(&rest[end..]));
    home
}

fn own_home() -> Option<OsString> {
    let set = std::env::var_os("HOME").filter(|home| !home.is_empty());
    set.or_else(|| {
        let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten();
        user.map(|user| user.dir.into_os_string())
    })
}

fn unescaped(text: &OsStr) -> OsString {
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes().iter().copied();
    while let Some(byte) = bytes.next() {
        plain.push(if byte == b'\\' { bytes.next().unwrap_or(b'\\') } else { byte });
    }
    OsString::from_vec(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn names_match_as_fnmatch_has_it() {
        for (pattern, name) in [
            ("*.log", "a.log"),
            ("a*b*c", "aXbYbZc"),
            ("[a-c]?", "bz"),
            ("[!a]x", "bx"),
            ("[]x]", "]"),
            ("[[:digit:]]*", "7up"),
            ("\\*", "*"),
            ("[", "["),
            (".*", ".hidden"),
            ("*", ""),
        ] {
            assert!(matches(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
        for (pattern, name) in
            [("*.log", "a.log.1"), ("*", ".hidden"), ("?", ""), ("[a-c]", "d"), ("[!a]", "a"), ("a*b", "ac")]
        {
            assert!(!matches(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = "*a".repeat(50) + "b";

        assert!(!matches(pattern.as_bytes(), "a".repeat(2000).as_bytes()));
    }

    #[test]
    fn a_pattern_without_a_match_stands_for_itself() {
        assert_eq!(expand("/nosuch/*.log".as_ref(), Wanted::Files).unwrap(), [PathBuf::from("/nosuch/*.log")]);
        assert_eq!(expand("/nosuch/a\\ b".as_ref(), Wanted::Files).unwrap(), [PathBuf::from("/nosuch/a b")]);
    }

    #[test]
    fn a_link_that_somebody_else_made_leads_nowhere() {
        let temp = tempfile::tempdir().unwrap();
        for dir in ["a", "elsewhere"] {
            fs::create_dir(temp.path().join(dir)).unwrap();
            fs::write(temp.path().join(dir).join("x.log"), "x").unwrap();
        }
        fs::create_dir(temp.path().join("app")).unwrap();
        symlink(temp.path().join("elsewhere"), temp.path().join("app/ours")).unwrap();
        symlink(temp.path().join("elsewhere"), temp.path().join("app/theirs")).unwrap();
        symlink("/nowhere", temp.path().join("app/dangling")).unwrap();
        let pattern = |tail: &str| temp.path().join(tail).into_os_string();

        let direct = expand(&pattern("*/x.log"), Wanted::Files).unwrap();
        assert_eq!(direct.len(), 2, "{direct:?}");
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::lchown(temp.path().join("app/theirs"), Some(4242), None).unwrap();
            let linked = expand(&pattern("app/*/x.log"), Wanted::Files).unwrap();
            assert_eq!(linked, [temp.path().join("app/ours/x.log")]);
        }
    }
}
