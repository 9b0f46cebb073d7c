//! From a path to a backup: its directory, label and manifest. backup-verify and pgrestore-safe begin here.

use super::archive::Codec;
use super::catalog::{INDEX, MANIFEST, PIN, SHA256, VERIFIED, archive_end};
use super::index::{Member, Reader, Record};
use super::label::Label;
use super::manifest::{self, Kind, Manifest};
use crate::dirfd::Dir;
use crate::hint::Hint as _;
use anyhow::{Context as _, Result, anyhow};
use std::cell::RefCell;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::rc::Rc;

/// A backup that has a readable manifest.
#[derive(Debug)]
pub struct Found {
    /// Where it lies.
    pub dir: Dir,
    /// Its manifest.
    pub manifest: Manifest,
    /// The bytes of the manifest's file.
    pub manifest_bytes: Vec<u8>,
}

impl Found {
    /// Finds the backup that a path names: its archive, any other file of it, or the label alone.
    ///
    /// # Errors
    ///
    /// Where there is no manifest beside it: then there is no backup.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.file_name().and_then(|name| name.to_str()).context("not a file name")?;
        let parent = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let label = label_of(name)
            .ok_or_else(|| anyhow!("not the name of a backup"))
            .hint("name an archive that pgbackup made: app-20261120T020000Z.sql.gz")?;
        Self::of(Dir::open(parent)?, &label)
    }

    /// Finds the backup of that label in an open directory.
    ///
    /// # Errors
    ///
    /// As [`Found::open`].
    pub fn of(dir: Dir, label: &Label) -> Result<Self> {
        let file = format!("{label}{MANIFEST}");
        let manifest_bytes = dir
            .read(&file, manifest::LIMIT)
            .with_context(|| format!("cannot read {:?}", dir.join(&file)))
            .hint("without its manifest a backup was never completed, or was removed")?;
        let manifest = Manifest::from_bytes(&manifest_bytes, &label.to_string())?;
        Ok(Self { dir, manifest, manifest_bytes })
    }

    /// The name of one of its files.
    pub fn name(&self, end: &str) -> String {
        format!("{}{end}", self.manifest.label)
    }

    /// The name of the archive.
    pub fn archive(&self) -> String {
        self.name(&archive_end(self.manifest.kind, self.manifest.archive.codec))
    }

    /// Opens the archive.
    ///
    /// # Errors
    ///
    /// "cannot read …".
    pub fn open_archive(&self) -> Result<File> {
        let name = self.archive();
        self.dir.open_file(&name).with_context(|| format!("cannot read {:?}", self.dir.join(&name)))
    }

    /// Reads the index from its start.
    ///
    /// # Errors
    ///
    /// "cannot read …".
    pub fn index(&self) -> Result<Reader<BufReader<File>>> {
        let name = self.name(INDEX);
        let file = self.dir.open_file(&name).with_context(|| format!("cannot read {:?}", self.dir.join(&name)))?;
        Ok(Reader::new(BufReader::new(file)))
    }

    /// The members that the index lists, and what [`MembersEnd`] says once they were read.
    ///
    /// # Errors
    ///
    /// "cannot read …".
    pub fn members(&self) -> Result<(Members, MembersEnd)> {
        let end = MembersEnd(Rc::new(RefCell::new(State { left: self.manifest.archive.members, failure: None })));
        Ok((Members { reader: self.index()?, chunk: Vec::new().into_iter(), end: MembersEnd(Rc::clone(&end.0)) }, end))
    }
}

/// Whether a path has the name of a file of pgbackup's; `app-20261120T020000Z.dump` may well be somebody else's.
pub fn is_ours(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
    let Some(label) = label_of(name) else { return false };
    let end = &name[label.to_string().len()..];
    let is_archive = [Kind::Database, Kind::Stream]
        .into_iter()
        .any(|kind| [Codec::Gzip, Codec::Zstd, Codec::None].into_iter().any(|codec| archive_end(kind, codec) == end));
    is_archive || ["", MANIFEST, INDEX, SHA256, VERIFIED, PIN].contains(&end)
}

/// The label at the start of a file name: what stands before an end, and a database's name may hold dots.
fn label_of(name: &str) -> Option<Label> {
    let ends = name.match_indices('.').map(|(at, _)| at).chain([name.len()]);
    ends.filter_map(|end| Label::parse(&name[..end])).next_back()
}

/// The members that an index lists; what goes wrong while it is read is kept for [`MembersEnd`], since an iterator can
/// only end.
#[derive(Debug)]
pub struct Members {
    reader: Reader<BufReader<File>>,
    chunk: std::vec::IntoIter<Member>,
    end: MembersEnd,
}

/// Tells whether the index listed the members that the manifest speaks of.
#[derive(Debug)]
pub struct MembersEnd(Rc<RefCell<State>>);

#[derive(Debug)]
struct State {
    /// How many members the manifest still lets come.
    left: u64,
    failure: Option<anyhow::Error>,
}

impl MembersEnd {
    /// What went wrong with the index; ask it before the error of whoever read the members.
    ///
    /// # Errors
    ///
    /// "the index is damaged", more members than the manifest says.
    pub fn failure(&self) -> Result<()> {
        self.0.borrow_mut().failure.take().map_or(Ok(()), Err)
    }

    /// How many members are missing, once all were read.
    pub fn left(&self) -> u64 {
        self.0.borrow().left
    }
}

impl Iterator for Members {
    type Item = Member;

    fn next(&mut self) -> Option<Member> {
        let next = self.read();
        let mut state = self.end.0.borrow_mut();
        match next {
            Ok(Some(_)) if state.left == 0 => {
                state.failure = Some(anyhow!("the index lists more members than the manifest says"));
                None
            }
            Ok(Some(member)) => {
                state.left -= 1;
                Some(member)
            }
            Ok(None) => None,
            Err(error) => {
                state.failure = Some(error.context("the index is damaged"));
                None
            }
        }
    }
}

impl Members {
    fn read(&mut self) -> Result<Option<Member>> {
        loop {
            if let Some(member) = self.chunk.next() {
                return Ok(Some(member));
            }
            match self.reader.next_record()? {
                Some(Record::Members(members)) => self.chunk = members.into_iter(),
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_file_of_a_backup_leads_to_its_label() {
        let label = |name: &str| label_of(name).map(|label| label.to_string());

        for name in ["a.b-20261120T020000Z", "a.b-20261120T020000Z.sql.gz", "a.b-20261120T020000Z.manifest.json"] {
            assert_eq!(label(name).as_deref(), Some("a.b-20261120T020000Z"), "{name}");
        }
        assert_eq!(label("app.sql.gz"), None);
    }

    #[test]
    fn a_stamp_in_the_name_of_another_file_does_not_make_it_ours() {
        assert!(is_ours(Path::new("pg/a-20261120T020000Z.sql.zst")));
        assert!(is_ours(Path::new("a-20261120T020000Z")));
        assert!(!is_ours(Path::new("a-20261120T020000Z.dump")));
        assert!(!is_ours(Path::new("a-20261120.sql.gz")));
    }
}
