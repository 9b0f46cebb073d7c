//! The whole way of a backup, for tests of what is in it: take, verify, restore by hand, take again, compare.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use harness::{Postgres, Ran, Sandbox, Tool, workspace};
use serde_json::Value;

/// A backup that pgbackup said it made.
pub struct Backup {
    /// The archive.
    pub path: PathBuf,
    /// Its manifest.
    pub manifest: Value,
    /// The lines of its index.
    pub records: Vec<Value>,
}

impl Backup {
    /// Reads what lies beside an archive.
    #[track_caller]
    pub fn read(archive: impl Into<PathBuf>) -> Self {
        let path = archive.into();
        let shown = path.to_str().expect("labels are ASCII");
        let stem = shown.rsplit_once(".sql").unwrap_or_else(|| panic!("no archive of SQL: {shown}")).0;
        let read =
            |end: &str| fs::read_to_string(format!("{stem}{end}")).unwrap_or_else(|e| panic!("{stem}{end}: {e}"));
        let json = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|e| panic!("{stem}: {text}: {e}"));
        let manifest = json(&read(".manifest.json"));
        let records = read(".index.jsonl").lines().map(json).collect();
        Self { path, manifest, records }
    }

    /// Rows of each table in the index, by schema and name; parts of a table that was dumped in parts are added up.
    pub fn rows(&self) -> BTreeMap<(String, String), u64> {
        let mut rows = BTreeMap::new();
        for table in self.records.iter().filter_map(|record| record.get("table")) {
            let name = |key: &str| table[key].as_str().expect("a name").to_owned();
            *rows.entry((name("schema"), name("name"))).or_default() += table["rows"].as_u64().expect("a count");
        }
        rows
    }

    /// Names of the entries of one of pg_dump's types.
    pub fn entries(&self, kind: &str) -> Vec<&str> {
        let entries = self.records.iter().filter_map(|record| record.get("entry"));
        entries.filter(|entry| entry["type"] == kind).filter_map(|entry| entry["name"].as_str()).collect()
    }

    /// What must be equal between a database and its restored copy: all of the index but where things lie.
    pub fn content(&self) -> Vec<String> {
        let mut content: Vec<String> = Vec::new();
        for record in self.records.iter().filter(|record| record.get("members").is_none()) {
            let mut record = record.clone();
            for part in record.as_object_mut().expect("an object").values_mut() {
                part.as_object_mut().expect("an object").remove("offset");
            }
            content.push(record.to_string());
        }
        content.sort();
        content
    }
}

/// A server of that major version with databases that each hold every kind of object.
#[track_caller]
pub fn every_kind(major: u32, databases: &[&str]) -> Postgres {
    let pg = Postgres::builder().major(major).conf("wal_level = logical").start();
    pg.load_file("postgres", workspace().join("tests/fixtures/every-object-roles.sql"));
    for database in databases {
        pg.sql(&format!("CREATE DATABASE {database}"));
        pg.load_file(database, workspace().join("tests/fixtures/every-object.sql"));
    }
    pg
}

/// pgbackup into the sandbox, with the client programs of the server's own version.
pub fn pgbackup(pg: &Postgres, dir: &Sandbox) -> Tool {
    dir.tool("pgbackup").envs(pg.env()).args(["--dir", ".", "--pg-bin"]).arg(pg.bin())
}

/// The one backup that a run without a word of complaint has made.
#[track_caller]
pub fn made(dir: &Sandbox, ran: Ran) -> Backup {
    let ran = ran.stderr_is("").code(0);
    let path = ran.stdout_text().strip_suffix('\n').filter(|path| !path.contains('\n'));
    Backup::read(dir.join(path.unwrap_or_else(|| panic!("not one line\n{}", ran.picture()))))
}

/// Takes a backup of a database.
#[track_caller]
pub fn take(pg: &Postgres, dir: &Sandbox, options: &[&str], database: &str) -> Backup {
    let backup = made(dir, pgbackup(pg, dir).args(options_before(database, options)).run());
    assert_eq!(backup.manifest["subject"], database);
    backup
}

/// The database in front of what follows `--`.
fn options_before<'a>(database: &'a str, options: &[&'a str]) -> Vec<&'a str> {
    let cut = options.iter().position(|option| *option == "--").unwrap_or(options.len());
    [&options[..cut], &[database], &options[cut..]].concat()
}

/// backup-verify reads it back and finds nothing.
#[track_caller]
pub fn verify(dir: &Sandbox, backup: &Backup) {
    let ran = dir.tool("backup-verify").arg(&backup.path).run().stderr_is("").code(0);
    assert!(ran.stdout_text().starts_with("OK "), "{}", ran.picture());
}

/// Restores it as a person would, without us, into a new database of the same encoding and locale.
#[track_caller]
pub fn restore(pg: &Postgres, dir: &Sandbox, backup: &Backup, into: &str) {
    let like = pg.sql(&format!(
        "SELECT pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database WHERE datname = {}",
        literal(backup.manifest["subject"].as_str().unwrap())
    ));
    restore_as(pg, dir, backup, into, &like);
}

/// As [`restore`], with `ENCODING|COLLATE|CTYPE`.
#[track_caller]
pub fn restore_as(pg: &Postgres, dir: &Sandbox, backup: &Backup, into: &str, encoding_and_locale: &str) {
    pg.sql(&create_like(encoding_and_locale, into));
    let program = match backup.path.extension().and_then(|end| end.to_str()) {
        Some("gz") => "gunzip",
        Some("zst") => "zstd",
        _ => "cat",
    };
    let options = if program == "cat" { "" } else { "-dc" };
    let script =
        format!("set -o pipefail; {program} {options} \"$1\" | \"$2\" -X -q -v ON_ERROR_STOP=1 -o /dev/null \"$3\"");
    dir.program("bash")
        .envs(pg.env())
        .args(["-c", &script, "restore"])
        .arg(&backup.path)
        .arg(pg.bin().join("psql"))
        .arg(into)
        .run()
        .stdout_is("")
        .stderr_is("")
        .code(0);
}

fn create_like(encoding_and_locale: &str, into: &str) -> String {
    let parts: Vec<&str> = encoding_and_locale.split('|').collect();
    let [encoding, collate, ctype] = parts[..] else { panic!("no such database: {encoding_and_locale:?}") };
    format!(
        "CREATE DATABASE {} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE '{collate}' LC_CTYPE '{ctype}'",
        identifier(into)
    )
}

/// Rows of each ordinary table as the server counts them, without those of extensions.
pub fn rows_in(pg: &Postgres, database: &str) -> BTreeMap<(String, String), u64> {
    let counted = pg.sql_in(
        database,
        r"SET client_encoding = 'UTF8';
        SELECT format('SELECT json_build_array(%L::text, %L::text, (SELECT count(*) FROM ONLY %I.%I))',
                      nspname, relname, nspname, relname)
        FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE relkind = 'r' AND nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
            AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass
                            AND objid = pg_class.oid AND deptype = 'e')
        \gexec",
    );
    let row =
        |line: &str| serde_json::from_str::<(String, String, u64)>(line).unwrap_or_else(|e| panic!("{line}: {e}"));
    counted.lines().map(row).map(|(schema, name, rows)| ((schema, name), rows)).collect()
}

/// The whole way: taken, counted, verified, restored, and taken again with the same content.
///
/// `options` go to both runs of pgbackup. Returns the first backup.
#[track_caller]
pub fn survives_the_round_trip(pg: &Postgres, database: &str, options: &[&str]) -> Backup {
    let dir = Sandbox::new();
    let backup = take(pg, &dir, options, database);
    assert_eq!(backup.rows(), rows_in(pg, database), "rows in the index, rows in the database");
    comes_back(pg, &dir, &backup, options);
    backup
}

/// Verified, restored, and taken again with the same content.
#[track_caller]
pub fn comes_back(pg: &Postgres, dir: &Sandbox, backup: &Backup, options: &[&str]) {
    let database = backup.manifest["subject"].as_str().unwrap();
    verify(dir, backup);
    let copy = format!("copy of {}", database.chars().take(20).collect::<String>());
    restore(pg, dir, backup, &copy);
    let again = take(pg, dir, options, &copy);
    assert_same(backup, &again);
    pg.sql(&format!("DROP DATABASE {}", identifier(&copy)));
}

/// Says which records differ, not only that some do.
#[track_caller]
pub fn assert_same(one: &Backup, other: &Backup) {
    let (one, other) = (one.content(), other.content());
    let only_in = |these: &[String], those: &[String]| -> Vec<String> {
        these.iter().filter(|record| !those.contains(record)).take(20).cloned().collect()
    };
    let (lost, new) = if one == other { Default::default() } else { (only_in(&one, &other), only_in(&other, &one)) };
    assert!(one == other, "the copy differs\nonly in the first: {lost:#?}\nonly in the second: {new:#?}");
}

/// A name as SQL quotes it.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as SQL quotes it, with standard_conforming_strings on.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
