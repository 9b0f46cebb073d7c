//! One directive: its keyword, its value, and what it changes.

use super::parse::Cursor;
use super::value::{self, BadSize, Form, ownership};
use super::{Every, Keep, Ownership, Rules, Su};
use crate::message::shown;
use crate::tell;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

/// What is left to do behind a keyword.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing.
    Done,
    /// A script follows.
    Script(Slot),
    /// Another file or directory is read.
    Include(PathBuf),
    /// Names that `include` leaves alone.
    Taboo(Taboo),
    /// It means nothing any more.
    Obsolete,
    /// No such directive.
    Unknown,
}

/// Which script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    First,
    Pre,
    Post,
    Last,
    Preremove,
}

/// A change of the list of names that `include` leaves alone.
#[derive(Debug, PartialEq, Eq)]
pub struct Taboo {
    /// Whether the patterns come to those that are there.
    pub adds: bool,
    /// Patterns of names.
    pub patterns: Vec<OsString>,
}

/// The compressors whose extension is known.
const EXTENSIONS: [(&str, &str); 6] =
    [("gzip", ".gz"), ("bzip2", ".bz2"), ("xz", ".xz"), ("zstd", ".zst"), ("compress", ".Z"), ("zip", ".zip")];

/// The script that a keyword begins.
pub fn slot(keyword: &[u8]) -> Option<Slot> {
    match keyword {
        b"firstaction" => Some(Slot::First),
        b"prerotate" => Some(Slot::Pre),
        b"postrotate" => Some(Slot::Post),
        b"lastaction" => Some(Slot::Last),
        b"preremove" => Some(Slot::Preremove),
        _ => None,
    }
}

/// Applies a directive; its value is taken from the cursor.
///
/// # Errors
///
/// What is wrong with it, without file and line.
pub fn apply(
    keyword: &str,
    cursor: &mut Cursor<'_>,
    rules: &mut Rules,
    scheduled: &mut bool,
) -> Result<Outcome, String> {
    if let Some(slot) = slot(keyword.as_bytes()) {
        return Ok(Outcome::Script(slot));
    }
    if switch(keyword, rules) {
        return Ok(Outcome::Done);
    }
    match keyword {
        "hourly" | "daily" | "weekly" | "monthly" | "yearly" | "minutes" | "size" => {
            let every = schedule(keyword, cursor)?;
            if *scheduled && rules.every.keyword() != every.keyword() {
                tell!("note: '{}' overrides previously specified '{}'", every.keyword(), rules.every.keyword());
            }
            (rules.every, *scheduled) = (every, true);
        }
        "create" => {
            rules.create_ownership = ownership(cursor.rest(), Form::ModeFirst, keyword, rules.create_ownership)?;
            rules.create = true;
        }
        "createolddir" => {
            rules.olddir_ownership = ownership(cursor.rest(), Form::ModeFirst, keyword, rules.olddir_ownership)?;
            rules.createolddir = true;
        }
        "su" => rules.su = Some(su(cursor.rest(), rules.su)?),
        "include" => return Ok(Outcome::Include(crate::glob::home(&os(needed(cursor, keyword)?)).into())),
        "tabooext" | "taboopat" => return taboo(keyword, cursor),
        "errors" => return Ok(Outcome::Obsolete),
        _ => return valued(keyword, cursor, rules),
    }
    Ok(Outcome::Done)
}

/// Directives that are a word by themselves.
fn switch(keyword: &str, rules: &mut Rules) -> bool {
    match keyword {
        "compress" => rules.compress = true,
        "nocompress" => rules.compress = false,
        "delaycompress" => rules.delaycompress = true,
        "nodelaycompress" => rules.delaycompress = false,
        "shred" => rules.shred = true,
        "noshred" => rules.shred = false,
        "allowhardlink" => rules.allowhardlink = true,
        "noallowhardlink" => rules.allowhardlink = false,
        "sharedscripts" => rules.sharedscripts = true,
        "nosharedscripts" => rules.sharedscripts = false,
        "copytruncate" => (rules.copytruncate, rules.renamecopy) = (true, false),
        "nocopytruncate" => rules.copytruncate = false,
        "renamecopy" => (rules.renamecopy, rules.copytruncate) = (true, false),
        "norenamecopy" => rules.renamecopy = false,
        "copy" => rules.copy = true,
        "nocopy" => rules.copy = false,
        "ifempty" => rules.ifempty = true,
        "notifempty" => rules.ifempty = false,
        "dateext" => rules.dateext = true,
        "nodateext" => rules.dateext = false,
        "dateyesterday" => rules.dateyesterday = true,
        "nodateyesterday" => rules.dateyesterday = false,
        "datehourago" => rules.datehourago = true,
        "nodatehourago" => rules.datehourago = false,
        "noolddir" => rules.olddir = None,
        "nocreateolddir" => rules.createolddir = false,
        "nocreate" => rules.create = false,
        "mailfirst" => rules.mailfirst = true,
        "maillast" => rules.mailfirst = false,
        "nomail" => rules.mail = None,
        "missingok" => rules.missingok = true,
        "nomissingok" => rules.missingok = false,
        "ignoreduplicates" => rules.ignoreduplicates = true,
        "dateextunique" => rules.dateextunique = true,
        "pruneorphans" => rules.pruneorphans = true,
        _ => return false,
    }
    true
}

fn schedule(keyword: &str, cursor: &mut Cursor<'_>) -> Result<Every, String> {
    Ok(match keyword {
        "hourly" => Every::Hour,
        "daily" => Every::Day,
        "yearly" => Every::Year,
        "weekly" => Every::Week(day(keyword, cursor.rest(), 7)?),
        "monthly" => Every::Month(day(keyword, cursor.rest(), 31)?),
        "minutes" => {
            let value = needed(cursor, keyword)?;
            let minutes = value::number(value).and_then(|number| u32::try_from(number).ok()).filter(|n| *n > 0);
            Every::Minutes(minutes.ok_or_else(|| format!("bad minutes '{}'", shown(&os(value))))?)
        }
        _ => Every::Size(size(keyword, cursor)?),
    })
}

/// The day that may stand behind `weekly` and `monthly`; without one it is 0.
fn day(keyword: &str, text: &[u8], most: u8) -> Result<u8, String> {
    if text.is_empty() {
        return Ok(0);
    }
    let day = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).filter(|day| *day <= most);
    day.ok_or_else(|| format!("bad {keyword} directive '{}'", shown(&os(text))))
}

fn size(keyword: &str, cursor: &mut Cursor<'_>) -> Result<u64, String> {
    let text = needed(cursor, keyword)?;
    value::size(text).map_err(|bad| match bad {
        BadSize::Unit(unit) => format!("unknown unit '{}'", common::text::visible(&unit.to_string())),
        BadSize::Number => format!("bad size '{}'", shown(&os(text))),
    })
}

fn su(text: &[u8], was: Option<Su>) -> Result<Su, String> {
    let was = Ownership { mode: None, uid: was.map(|su| su.uid), gid: was.map(|su| su.gid) };
    let is = ownership(text, Form::UserGroup, "su", was)?;
    Ok(Su { uid: is.uid.ok_or("no user for su")?, gid: is.gid.ok_or("no group for su")? })
}

/// `+` in front adds; `tabooext` takes endings, `taboopat` whole patterns.
fn taboo(keyword: &str, cursor: &mut Cursor<'_>) -> Result<Outcome, String> {
    let text = needed(cursor, keyword)?;
    let (adds, list) = text.strip_prefix(b"+").map_or((false, text), |list| (true, list));
    let words = list.split(|byte| *byte == b',' || byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
    let star: &[u8] = if keyword == "tabooext" { b"*" } else { b"" };
    Ok(Outcome::Taboo(Taboo { adds, patterns: words.map(|word| os(&[star, word].concat())).collect() }))
}

/// Directives with a value.
fn valued(keyword: &str, cursor: &mut Cursor<'_>, rules: &mut Rules) -> Result<Outcome, String> {
    match keyword {
        "minsize" => rules.minsize = size(keyword, cursor)?,
        "maxsize" => rules.maxsize = size(keyword, cursor)?,
        "maxtotal" => rules.maxtotal = Some(size(keyword, cursor)?),
        "rotate" => {
            let text = needed(cursor, "rotate count")?;
            rules.keep = match text {
                b"-1" => Keep::Forever,
                _ => Keep::Count(count(text).ok_or_else(|| format!("bad rotation count '{}'", shown(&os(text))))?),
            };
        }
        "start" => rules.start = counted(cursor, "start count", "bad start count")?,
        "minage" => rules.minage_days = counted(cursor, "minage count", "bad minimum age")?,
        "maxage" => rules.maxage_days = counted(cursor, "maxage count", "bad maximum age")?,
        "shredcycles" => rules.shredcycles = counted(cursor, "shred cycles", "bad shred cycles")?,
        "dateformat" => rules.dateformat = Some(os(needed(cursor, keyword)?)),
        "mail" => {
            let text = needed(cursor, keyword)?;
            // A dash in front would be an option of the mail program.
            if !text.iter().all(u8::is_ascii_graphic) || text.starts_with(b"-") {
                return Err(format!("bad mail address {}", shown(&os(text))));
            }
            rules.mail = Some(os(text));
        }
        "olddir" => rules.olddir = Some(crate::glob::home(&path(cursor, keyword, "olddir")?)),
        "extension" => rules.extension = Some(os(needed(cursor, "extension name")?)),
        "addextension" => rules.addextension = Some(os(needed(cursor, "addextension name")?)),
        "compresscmd" => {
            let command = PathBuf::from(path(cursor, keyword, "compress")?);
            let name = command.file_name().unwrap_or_default();
            if let Some((_, extension)) = EXTENSIONS.iter().find(|(known, _)| name == *known) {
                rules.compressor.extension = Some((*extension).into());
            }
            rules.compressor.command = Some(command);
        }
        "uncompresscmd" => rules.compressor.uncompress = Some(path(cursor, keyword, "uncompress")?.into()),
        "compressext" => rules.compressor.extension = Some(extension(cursor)?),
        "compressoptions" => {
            rules.compressor.options = value::words(cursor.rest()).ok_or("invalid compression options")?;
        }
        _ => return Ok(Outcome::Unknown),
    }
    Ok(Outcome::Done)
}

/// An ending of names: one that holds a slash would lead copies into another directory.
fn extension(cursor: &mut Cursor<'_>) -> Result<OsString, String> {
    let text = path(cursor, "compressext", "compress-ext")?;
    match text.as_bytes().contains(&b'/') {
        true => Err(format!("bad compress-ext path {}", shown(&text))),
        false => Ok(text),
    }
}

fn path(cursor: &mut Cursor<'_>, keyword: &str, what: &str) -> Result<OsString, String> {
    let text = needed(cursor, keyword)?;
    match value::is_printable_path(text) {
        true => Ok(os(text)),
        false => Err(format!("bad {what} path {}", shown(&os(text)))),
    }
}

fn counted(cursor: &mut Cursor<'_>, what: &str, bad: &str) -> Result<u32, String> {
    let text = needed(cursor, what)?;
    count(text).ok_or_else(|| format!("{bad} '{}'", shown(&os(text))))
}

fn count(text: &[u8]) -> Option<u32> {
    value::number(text).and_then(|number| i32::try_from(number).ok()).and_then(|number| u32::try_from(number).ok())
}

fn needed<'a>(cursor: &mut Cursor<'a>, what: &str) -> Result<&'a [u8], String> {
    cursor.value().ok_or_else(|| format!("argument expected after {what}"))
}

fn os(bytes: &[u8]) -> OsString {
    OsString::from_vec(OsStr::from_bytes(bytes).as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(line: &str) -> Result<Rules, String> {
        let mut rules = Rules::default();
        let (keyword, rest) = line.split_at(line.find([' ', '=']).unwrap_or(line.len()));
        apply(keyword, &mut Cursor::new(rest.as_bytes()), &mut rules, &mut false)?;
        Ok(rules)
    }

    #[test]
    fn a_value_may_stand_behind_an_equals_sign() {
        assert_eq!(applied("size=5M").unwrap().every, Every::Size(5 << 20));
        assert_eq!(applied("rotate = 3").unwrap().keep, Keep::Count(3));
        assert_eq!(applied("rotate -1").unwrap().keep, Keep::Forever);
    }

    #[test]
    fn a_day_may_stand_behind_weekly_and_monthly() {
        assert_eq!(applied("weekly").unwrap().every, Every::Week(0));
        assert_eq!(applied("weekly 7").unwrap().every, Every::Week(7));
        assert_eq!(applied("monthly 31").unwrap().every, Every::Month(31));
        assert_eq!(applied("weekly 8").unwrap_err(), "bad weekly directive '8'");
    }

    #[test]
    fn a_compressor_brings_its_extension() {
        assert_eq!(applied("compresscmd /usr/bin/xz").unwrap().compressor.extension(), ".xz");
        assert_eq!(applied("compresscmd /opt/mine").unwrap().compressor.extension(), ".gz");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, message) in [
            ("size 300x", "unknown unit 'x'"),
            ("size", "argument expected after size"),
            ("rotate x", "bad rotation count 'x'"),
            ("rotate -2", "bad rotation count '-2'"),
            ("rotate 5 # five", "bad rotation count '5 # five'"),
            ("su root", "no group for su"),
            ("olddir a b", "bad olddir path a b"),
            ("compressext /../x", "bad compress-ext path /../x"),
            ("mail -oQ/tmp", "bad mail address -oQ/tmp"),
        ] {
            assert_eq!(applied(line).unwrap_err(), message);
        }
    }
}
