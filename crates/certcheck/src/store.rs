//! Certificates on disk: which files a path stands for, and what each holds.
//!
//! ```text
//! path | directory | pattern -> files -> PEM | DER | PKCS#12 | acme.json -> Held
//! ```

use crate::acme::{self, Entry};
use crate::pem::{self, PrivateKey, Sections};
use crate::pkcs12;
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use common::hint::Hint as _;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// The most files of one directory or pattern.
const FILES: usize = 100_000;
/// How deep below a directory is looked.
const DEPTH: usize = 8;
/// How the names of files with certificates end.
const ENDS: [&str; 7] = ["pem", "crt", "cer", "cert", "der", "p12", "pfx"];

/// What a file holds.
#[derive(Debug)]
pub enum Held {
    /// Certificates, and maybe the key of the first.
    Bundle {
        /// What they are stored as, for the report.
        kind: &'static str,
        /// Certificates and keys.
        sections: Sections,
        /// The permission bits of the file.
        mode: u32,
    },
    /// What Traefik keeps: a chain and a key for each entry.
    Acme {
        /// The entries.
        entries: Vec<Entry>,
        /// The permission bits of the file.
        mode: u32,
    },
}

/// Whether a file was named, or found where others are, too: then one that holds no certificate is passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// By its own name.
    Named,
    /// In a directory, or by a pattern.
    Found,
}

/// The files that a path stands for.
///
/// # Errors
///
/// A path that is not there, a directory that cannot be read, a pattern that fits nothing.
pub fn files(path: &Path) -> Result<(Vec<PathBuf>, Origin)> {
    match std::fs::metadata(path) {
        Ok(stat) if stat.is_dir() => Ok((below(path)?, Origin::Found)),
        Ok(_) => Ok((vec![path.to_owned()], Origin::Named)),
        Err(error) => match path.to_str().filter(|text| text.contains(['*', '?', '['])) {
            Some(pattern) => Ok((fitting(pattern)?, Origin::Found)),
            None => Err(anyhow!(error).context(format!("cannot open {path:?}"))),
        },
    }
}

/// All files of a directory whose names say that they hold certificates.
fn below(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    // Links to files are read, because certbot's directories are made of them; links to directories are not gone into.
    for entry in WalkDir::new(dir).max_depth(DEPTH).sort_by_file_name() {
        let entry = entry.map_err(|error| unreadable(dir, error.path().map(Path::to_owned), error.into_io_error()))?;
        if !entry.file_type().is_dir() && is_named_for_it(entry.path()) {
            files.push(entry.into_path());
            ensure!(files.len() <= FILES, "{dir:?} holds more than {FILES} files");
        }
    }
    files.retain(|file| !is_part_of_lineage(file));
    if files.is_empty() {
        return Err(anyhow!("{dir:?} holds no file with certificates"))
            .hint(format!("their names end in .{}", ENDS.join(", .")));
    }
    Ok(files)
}

fn unreadable(dir: &Path, place: Option<PathBuf>, cause: Option<std::io::Error>) -> anyhow::Error {
    let act = format!("cannot read directory {:?}", place.as_deref().unwrap_or(dir));
    match cause {
        Some(cause) => anyhow!(cause).context(act),
        None => anyhow!("{act}: its links lead in a circle"),
    }
}

fn is_named_for_it(path: &Path) -> bool {
    let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default().to_ascii_lowercase();
    ENDS.contains(&end.as_str()) || path.file_name().is_some_and(|name| name == "acme.json")
}

/// Whether certbot has the same certificates beside it in one file: of a lineage, fullchain.pem is what servers load.
fn is_part_of_lineage(path: &Path) -> bool {
    let is_part = path.file_name().is_some_and(|name| name == "cert.pem" || name == "chain.pem");
    is_part && path.with_file_name("fullchain.pem").exists()
}

fn fitting(pattern: &str) -> Result<Vec<PathBuf>> {
    let paths = glob::glob(pattern).with_context(|| format!("{pattern:?} is no pattern"))?;
    let mut files = Vec::new();
    for path in paths {
        let path = path.map_err(|error| {
            let place = error.path().to_owned();
            unreadable(Path::new(pattern), Some(place), Some(error.into()))
        })?;
        match path.is_dir() {
            true => files.extend(below(&path).unwrap_or_default()),
            false => files.push(path),
        }
        ensure!(files.len() <= FILES, "{pattern:?} fits more than {FILES} files");
    }
    ensure!(!files.is_empty(), "{pattern:?} fits no file");
    Ok(files)
}

/// Reads a file, whatever form it has.
///
/// # Errors
///
/// What cannot be read, is damaged, or has no form that we know.
pub fn read(path: &Path, password_file: Option<&Path>) -> Result<Held> {
    let read = pem::read(path)?;
    let mode = read.mode;
    if read.bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{') {
        return Ok(Held::Acme { entries: acme::read(&read.bytes)?, mode });
    }
    if pem::is_pem(&read.bytes) {
        return Ok(Held::Bundle { kind: "pem", sections: pem::sections(&read.bytes)?, mode });
    }
    if pkcs12::is_one(&read.bytes) {
        return Ok(Held::Bundle { kind: "pkcs12", sections: pkcs12::read(path, password_file)?, mode });
    }
    if read.bytes.first() == Some(&0x30) {
        let sections = Sections { certs: vec![read.bytes], ..Sections::default() };
        return Ok(Held::Bundle { kind: "der", sections, mode });
    }
    bail!("it holds no certificate: it is no PEM, no DER, no PKCS#12 and no acme.json")
}

/// The private key that belongs to a file of certificates by its name, where there is one.
pub fn key_beside(path: &Path) -> Option<PathBuf> {
    let stem = path.file_stem()?.to_str()?;
    let name = path.file_name()?.to_str()?;
    let mut names = vec![format!("{stem}.key"), format!("{stem}-key.pem"), format!("{stem}.key.pem")];
    if name == "fullchain.pem" || name == "cert.pem" {
        names.push("privkey.pem".to_owned());
    }
    let candidates = names.iter().filter(|candidate| *candidate != name).map(|name| path.with_file_name(name));
    candidates.into_iter().find(|candidate| candidate.is_file())
}

/// The keys of a file, and its permission bits.
///
/// # Errors
///
/// What cannot be read or holds no key.
pub fn read_key(path: &Path) -> Result<(Sections, u32)> {
    let read = pem::read(path)?;
    let sections = match pem::is_pem(&read.bytes) {
        true => pem::sections(&read.bytes).with_context(|| format!("cannot read {path:?}"))?,
        // DER has no name in it; of the forms in use PKCS#8 can be tried, and failing means "cannot tell".
        false => Sections { keys: vec![PrivateKey::pkcs8(read.bytes)], ..Sections::default() },
    };
    ensure!(!sections.keys.is_empty() || sections.has_locked_key, "{path:?} holds no private key");
    Ok((sections, read.mode))
}
