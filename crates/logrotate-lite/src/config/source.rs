//! Where the configuration comes from: files, directories, standard input, `include`.
//!
//! A file commands us, and most often as root, so it belongs to root and nobody else may write it or lead a path to it
//! elsewhere (THREATS G3, L9). A file that may not is left out by its name, and the others count.

use super::directive::Taboo;
use super::parse::Parser;
use super::{Place, Rules, Stanza};
use crate::message::{Failed, Told, reason, shown, why};
use crate::{error, fail, glob, tell, warn};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The largest file that can be a configuration.
const MOST_BYTES: u64 = 0xff_ffff;
/// How deep files may include each other.
const MOST_NESTED: usize = 16;
/// The longest pattern.
const MOST_PATTERN: usize = 2048;

/// Endings of files that `include` leaves alone: what editors and package managers leave behind.
const TABOO: [&str; 25] = [
    "*,v",
    "*.bak",
    "*.cfsaved",
    "*.disabled",
    "*.dpkg-bak",
    "*.dpkg-del",
    "*.dpkg-dist",
    "*.dpkg-new",
    "*.dpkg-old",
    "*.dpkg-tmp",
    "*.new",
    "*.old",
    "*.orig",
    "*.pacnew",
    "*.pacorig",
    "*.pacsave",
    "*.rhn-cfg-tmp-*",
    "*.rpmnew",
    "*.rpmorig",
    "*.rpmsave",
    "*.swp",
    "*.ucf-dist",
    "*.ucf-new",
    "*.ucf-old",
    "*~",
];

/// Who has a log first.
struct Claim {
    place: Place,
    /// Whether its stanza says `ignoreduplicates`.
    ignores: bool,
}

/// Reads configuration files and keeps what they say.
pub struct Reader {
    /// The stanzas in their order.
    pub stanzas: Vec<Stanza>,
    taboo: Vec<OsString>,
    claims: HashMap<OsString, Claim>,
    depth: usize,
}

impl Default for Reader {
    fn default() -> Self {
        let taboo = TABOO.iter().map(OsString::from).collect();
        Self { stanzas: Vec::new(), taboo, claims: HashMap::new(), depth: 0 }
    }
}

impl Reader {
    /// Reads a file, a directory, or with `-` standard input. Where it is wrong, global directives stay as they were.
    pub fn read(&mut self, path: &Path, rules: &mut Rules) -> Told {
        if path == Path::new("-") && self.depth == 0 {
            let mut text = Vec::new();
            if let Err(error) = std::io::stdin().take(MOST_BYTES).read_to_end(&mut text) {
                return fail!("cannot read standard input: {}", why(&error));
            }
            return self.text(&text, "<stdin>", rules);
        }
        match fs::metadata(path) {
            Ok(stat) if stat.is_dir() => self.directory(path, rules),
            Ok(_) => self.file(path, rules),
            Err(error) => fail!("cannot stat {}: {}", shown(path), why(&error)),
        }
    }

    fn directory(&mut self, path: &Path, rules: &mut Rules) -> Told {
        let names = fs::read_dir(path).and_then(|entries| entries.map(|e| e.map(|e| e.file_name())).collect());
        let mut names: Vec<OsString> = match names {
            Ok(names) => names,
            Err(error) => return fail!("cannot open directory {}: {}", shown(path), why(&error)),
        };
        names.sort_unstable();
        let mut result = Ok(());
        for name in names {
            if let Some(pattern) = self.taboo.iter().find(|taboo| glob::matches(taboo.as_bytes(), name.as_bytes())) {
                tell!("Ignoring {}, because of {} pattern match", shown(&name), shown(pattern));
                continue;
            }
            let file = path.join(&name);
            if self.file(&file, rules).is_err() {
                error!("found error in file {}, skipping", shown(&file));
                result = Err(Failed);
            }
        }
        result
    }

    fn file(&mut self, path: &Path, rules: &mut Rules) -> Told {
        match orders(path)? {
            Some(text) => {
                tell!("reading config file {}", shown(path));
                self.text(&text, &shown(path).to_string(), rules)
            }
            None => Ok(()),
        }
    }

    fn text(&mut self, text: &[u8], file: &str, rules: &mut Rules) -> Told {
        let before = rules.clone();
        let result = Parser::new(text, file, self).run(rules);
        if result.is_err() {
            *rules = before;
        }
        result
    }

    /// Follows an `include`.
    pub fn include(&mut self, path: &Path, place: &Place, rules: &mut Rules) -> Told {
        tell!("including {}", shown(path));
        if self.depth >= MOST_NESTED {
            return fail!("{place} include nesting too deep");
        }
        self.depth += 1;
        let result = self.read(path, rules);
        self.depth -= 1;
        result
    }

    /// Changes the names that `include` leaves alone.
    pub fn taboo(&mut self, change: Taboo) {
        if !change.adds {
            self.taboo.clear();
        }
        self.taboo.extend(change.patterns);
    }

    /// Finds the logs of a block that has been read, and keeps it.
    pub fn add(&mut self, mut stanza: Stanza, result: &mut Told) {
        let place = stanza.place.clone();
        for word in stanza.words.clone() {
            if word.len() > MOST_PATTERN {
                error!("{place} glob too long ({} > {MOST_PATTERN})", word.len());
                *result = Err(Failed);
                continue;
            }
            match glob::expand(&word, glob::Wanted::Files) {
                Ok(paths) if glob::is_pattern(&word) => {
                    paths.into_iter().for_each(|path| self.claim(path, &mut stanza, result));
                }
                Ok(paths) => {
                    let files = paths.into_iter().filter(|path| !path.is_dir() || path.is_symlink());
                    files.for_each(|path| self.claim(path, &mut stanza, result));
                }
                Err(_) if stanza.rules.missingok => {}
                Err(error) => {
                    error!("{place} glob failed for {}: {}", shown(&word), why(&error));
                    *result = Err(Failed);
                }
            }
        }
        super::advice::problems(&stanza).iter().for_each(|problem| {
            error!("{place} {problem}");
            *result = Err(Failed);
        });
        self.stanzas.push(stanza);
    }

    /// Gives a log to a stanza, unless another one has it: then it stays with that one, and only this log is left out.
    fn claim(&mut self, path: PathBuf, stanza: &mut Stanza, result: &mut Told) {
        let place = &stanza.place;
        match self.claims.entry(path.clone().into_os_string()) {
            Entry::Occupied(first) if first.get().ignores || stanza.rules.ignoreduplicates => {
                tell!("{place} ignore duplicate log entry for {}", shown(&path));
            }
            Entry::Occupied(first) => {
                let first = &first.get().place;
                error!("{place} duplicate log entry for {}", shown(&path));
                error!(
                    "{place} it stays with {first}, where it is named first; the other logs of this entry are rotated"
                );
                *result = Err(Failed);
            }
            Entry::Vacant(free) => {
                free.insert(Claim { place: place.clone(), ignores: stanza.rules.ignoreduplicates });
                stanza.files.push(path);
            }
        }
    }
}

/// The text of a file that may command us; `None` where there is nothing in it to obey.
fn orders(path: &Path) -> Told<Option<Vec<u8>>> {
    let name = shown(path).to_string();
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    // NONBLOCK so that a FIFO cannot hold us before fstat has seen what it is.
    let file = match File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path) {
        Ok(file) => file,
        Err(error) => return fail!("failed to open config file {name}: {}", why(&error)),
    };
    let stat = match rustix::fs::fstat(&file) {
        Ok(stat) => stat,
        Err(error) => return fail!("fstat of {name} failed: {}", reason(error)),
    };
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::RegularFile {
        tell!("Ignoring {name} because it's not a regular file.");
        return Ok(None);
    }
    if rustix::process::getuid().is_root() {
        may_command(path, &name, stat.st_mode, stat.st_uid)?;
    }
    if u64::try_from(stat.st_size).unwrap_or(0) > MOST_BYTES {
        return fail!("file {name} too large, probably not a config file.");
    }
    let mut text = Vec::new();
    if let Err(error) = file.take(MOST_BYTES).read_to_end(&mut text) {
        return fail!("cannot read {name}: {}", why(&error));
    }
    if text.is_empty() {
        tell!("Ignoring {name} because it's empty.");
        return Ok(None);
    }
    Ok(Some(text))
}

fn may_command(path: &Path, name: &str, mode: u32, uid: u32) -> Told {
    if mode & 0o7533 != 0o400 {
        warn!("Potentially dangerous mode on {name}: 0{:o}", mode & 0o7777);
    }
    if mode & 0o022 != 0 {
        return fail!("Ignoring {name} because it is writable by group or others.");
    }
    if uid != 0 {
        return fail!("Ignoring {name} because the file owner is wrong (should be root or user with uid 0).");
    }
    let real = match fs::canonicalize(path) {
        Ok(real) => real,
        Err(error) => return fail!("failed to open config file {name}: {}", why(&error)),
    };
    let weak = real.ancestors().skip(1).find(|parent| !is_safe_parent(parent));
    match weak {
        Some(parent) => fail!(
            "Ignoring {name} because others can change the directory {} above it; run: chown root {0} && chmod go-w {0}",
            shown(parent)
        ),
        None => Ok(()),
    }
}

/// Whether only root can rename in a directory; a sticky one is fine, since the file itself is root's.
fn is_safe_parent(directory: &Path) -> bool {
    fs::metadata(directory).is_ok_and(|stat| {
        let is_sticky = stat.mode() & 0o1000 != 0;
        let group = stat.mode() & 0o020 != 0 && stat.gid() != 0;
        is_sticky || (stat.uid() == 0 && stat.mode() & 0o002 == 0 && !group)
    })
}

/// What the file of a configuration is called, for a log that none names.
pub fn names(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| shown(path).to_string()).collect::<Vec<_>>().join(" ")
}
