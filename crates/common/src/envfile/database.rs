//! Finds the database among the variables of a file, under the names that frameworks give them.

use super::{EnvFile, Var};
use crate::hint::{self, Hint as _};
use crate::pg::conninfo::{self, Conninfo, KEYWORDS};
use crate::secret::Secret;
use anyhow::{Context as _, anyhow};

/// Variables that hold a whole address, the first that is set counts.
#[rustfmt::skip] // a list to read, not to scroll
const ADDRESSES: &[&str] = &[
    "DATABASE_URL", "POSTGRES_URL", "POSTGRESQL_URL", "SQLALCHEMY_DATABASE_URI", "SQLALCHEMY_DATABASE_URL", "DB_URL",
    "DATABASE_URI", "POSTGRES_URI", "PG_URL", "POSTGRES_PRISMA_URL", "DATABASE_DSN", "POSTGRES_DSN",
    "SPRING_DATASOURCE_URL", "DIRECT_URL", "DATABASE_URL_UNPOOLED", "POSTGRES_URL_NON_POOLING",
];

/// The same database without the pool in front: Prisma and Supabase, Neon, Vercel.
const DIRECT: &[&str] = &["DIRECT_URL", "DIRECT_DATABASE_URL", "DATABASE_URL_UNPOOLED", "POSTGRES_URL_NON_POOLING"];

/// The parts of an address, each in a variable of its own.
struct Group {
    host: &'static [&'static str],
    port: &'static [&'static str],
    dbname: &'static [&'static str],
    user: &'static [&'static str],
    password: &'static [&'static str],
    sslmode: &'static [&'static str],
}

/// Laravel, Django, Rails and Node; then the variables of the official container image.
const GROUPS: &[Group] = &[
    Group {
        host: &["DB_HOST"],
        port: &["DB_PORT"],
        dbname: &["DB_DATABASE", "DB_NAME"],
        user: &["DB_USERNAME", "DB_USER"],
        password: &["DB_PASSWORD", "DB_PASS"],
        sslmode: &["DB_SSLMODE", "DB_SSL_MODE"],
    },
    Group {
        host: &["DATABASE_HOST"],
        port: &["DATABASE_PORT"],
        dbname: &["DATABASE_NAME"],
        user: &["DATABASE_USERNAME", "DATABASE_USER"],
        password: &["DATABASE_PASSWORD"],
        sslmode: &["DATABASE_SSLMODE"],
    },
    Group {
        host: &["POSTGRES_HOST", "POSTGRES_SERVER"],
        port: &["POSTGRES_PORT"],
        dbname: &["POSTGRES_DB", "POSTGRES_DATABASE", "POSTGRES_NAME"],
        user: &["POSTGRES_USER", "POSTGRES_USERNAME"],
        password: &["POSTGRES_PASSWORD"],
        sslmode: &["POSTGRES_SSLMODE"],
    },
];

/// Variables that say which kind of database `DB_HOST` and friends are about.
const KINDS: &[&str] =
    &["DB_CONNECTION", "DB_ENGINE", "DB_TYPE", "DB_DRIVER", "DB_DIALECT", "DATABASE_ENGINE", "DATABASE_CLIENT"];

/// `PG*` variables that alone make a file name a database.
const PG_ALONE: &[&str] = &["PGHOST", "PGHOSTADDR", "PGDATABASE", "PGUSER", "PGSERVICE"];

/// Whether a variable can say something about the database.
pub(super) fn concerns(name: &str) -> bool {
    let fields = |group: &Group| [group.host, group.port, group.dbname, group.user, group.password, group.sslmode];
    // DATABASE_USERNAME belongs to DATABASE_URL, SPRING_DATASOURCE_PASSWORD to SPRING_DATASOURCE_URL.
    let owner = ["_USERNAME", "_USER", "_PASSWORD"].iter().find_map(|end| name.strip_suffix(end));
    let is_of_address = |owner: &str| ADDRESSES.iter().any(|address| address.strip_suffix("_URL") == Some(owner));
    [ADDRESSES, DIRECT, KINDS].concat().contains(&name)
        || GROUPS.iter().flat_map(fields).any(|names| names.contains(&name))
        || KEYWORDS.iter().any(|(_, variable)| *variable == name)
        || owner.is_some_and(is_of_address)
}

pub(super) fn find(file: &EnvFile) -> anyhow::Result<Option<Conninfo>> {
    let found = match from_address(file)? {
        Some(info) => Some(info),
        None => from_parts(file)?,
    };
    let mut info = match found {
        Some(info) => info,
        None if file.first(PG_ALONE)?.is_some() => Conninfo::default(),
        None => return Ok(None),
    };
    fill_from_libpq_variables(file, &mut info)?;
    if file.foreign {
        info.restrict_to_foreign().with_context(|| format!("cannot use {:?}", file.path))?;
    }
    Ok(Some(info))
}

fn from_address(file: &EnvFile) -> anyhow::Result<Option<Conninfo>> {
    let Some(pooled) = file.first(ADDRESSES)? else {
        return Ok(None);
    };
    let direct = if has_pool(pooled) { file.first(DIRECT)? } else { None };
    let var = direct.unwrap_or(pooled);
    let mut info = address(var).with_context(|| file.cannot_use(var))?;
    if direct.is_some_and(|direct| direct.name != pooled.name) {
        info.note(format!("{} is used instead of {}, which leads through a pool", var.name, pooled.name));
    }
    let owner = var.name.strip_suffix("_URL").unwrap_or(&var.name);
    if info.get("user").is_none() && info.password().is_none() {
        let user = [format!("{owner}_USERNAME"), format!("{owner}_USER")];
        set(file, &mut info, "user", &[&user[0], &user[1]])?;
        set(file, &mut info, "password", &[&format!("{owner}_PASSWORD")])?;
    }
    Ok(Some(info))
}

/// Prisma says so in the address; Neon and Vercel always give the pool the shorter name.
fn has_pool(var: &Var) -> bool {
    var.value.expose().contains("pgbouncer=true")
        || ["POSTGRES_URL", "POSTGRES_PRISMA_URL"].contains(&var.name.as_str())
}

fn address(var: &Var) -> anyhow::Result<Conninfo> {
    let text = plain(var)?;
    let info = Conninfo::parse(text)?;
    if !conninfo::is_address(text) {
        // `DATABASE_URL=changeme` would be a database of that name on this machine.
        return Err(anyhow!("it is not the address of a database"))
            .hint("write it as postgresql://user@host:port/dbname, with :password behind the user");
    }
    Ok(info)
}

/// The text of a value, unless it is known to mean something else.
fn plain(var: &Var) -> anyhow::Result<&str> {
    if var.refers {
        return Err(anyhow!("its value refers to another variable, which is not followed"))
            .hint("write the value out, or put it in single quotes if it is meant as it stands");
    }
    let text = var.value.expose();
    if text.contains(['\0', '\u{fffd}']) {
        return Err(anyhow!("its value is not UTF-8")).hint("save the file as UTF-8");
    }
    Ok(text)
}

fn from_parts(file: &EnvFile) -> anyhow::Result<Option<Conninfo>> {
    for group in GROUPS {
        let image_alone = group.password.contains(&"POSTGRES_PASSWORD") && file.first(group.password)?.is_some();
        if file.first(group.host)?.is_none() && file.first(group.dbname)?.is_none() && !image_alone {
            continue;
        }
        if !group.host.contains(&"POSTGRES_HOST") {
            refuse_other_kinds(file)?;
        }
        let mut info = Conninfo::default();
        set(file, &mut info, "host", group.host)?;
        set(file, &mut info, "port", group.port)?;
        set(file, &mut info, "dbname", group.dbname)?;
        set(file, &mut info, "user", group.user)?;
        set(file, &mut info, "password", group.password)?;
        set(file, &mut info, "sslmode", group.sslmode)?;
        if image_alone && info.get("user").is_none() {
            // The image's own default for POSTGRES_USER.
            info.set("user", "postgres");
        }
        return Ok(Some(info));
    }
    Ok(None)
}

fn refuse_other_kinds(file: &EnvFile) -> anyhow::Result<()> {
    let Some(var) = file.first(KINDS)? else { return Ok(()) };
    let kind = plain(var).with_context(|| file.cannot_use(var))?.to_ascii_lowercase();
    if ["pg", "postg", "psql", "timescale"].iter().any(|word| kind.contains(word)) {
        return Ok(());
    }
    Err(anyhow!("it does not say PostgreSQL"))
        .hint("name the PostgreSQL database in an option")
        .with_context(|| file.cannot_use(var))
}

/// libpq in the application fills what is missing from its environment, which is this file.
fn fill_from_libpq_variables(file: &EnvFile, info: &mut Conninfo) -> anyhow::Result<()> {
    for (keyword, variable) in KEYWORDS.iter().filter(|(_, variable)| !variable.is_empty()) {
        let is_given = if *keyword == "password" { info.password().is_some() } else { info.get(keyword).is_some() };
        if !is_given {
            set(file, info, keyword, &[variable])?;
        }
    }
    Ok(())
}

/// Sets a keyword from the first of some variables that is set.
fn set(file: &EnvFile, info: &mut Conninfo, keyword: &str, names: &[&str]) -> anyhow::Result<()> {
    let Some(var) = file.first(names)? else { return Ok(()) };
    let value = plain(var).with_context(|| file.cannot_use(var))?;
    if keyword == "password" {
        info.set_password(Secret::from(value.to_owned()));
        return Ok(());
    }
    info.set_checked(keyword, value).with_context(|| file.cannot_use(var))
}

impl EnvFile {
    /// The first of some variables that is set and not empty.
    ///
    /// A line that names one but cannot be read is an error: passing over it would lead to another database.
    fn first(&self, names: &[&str]) -> anyhow::Result<Option<&Var>> {
        for name in names {
            let var = self.vars.iter().rev().find(|var| var.name == *name);
            let unreadable = self.unreadable.iter().rev().find(|line| line.name == *name);
            if let Some(line) = unreadable.filter(|line| var.is_none_or(|var| var.line < line.line)) {
                return Err(anyhow!("{}", line.why)).with_context(|| self.cannot_use_line(name, line.line));
            }
            if let Some(var) = var.filter(|var| !var.value.expose().is_empty()) {
                return Ok(Some(var));
            }
            self.refuse_file_variant(name)?;
        }
        Ok(None)
    }

    /// `DATABASE_URL_FILE` and its like name a file, mostly one inside a container. Followed for a file that others
    /// write, it would read whatever they cannot.
    fn refuse_file_variant(&self, name: &str) -> anyhow::Result<()> {
        let variant = format!("{name}_FILE");
        match self.vars.iter().rev().find(|var| var.name == variant && !var.value.expose().is_empty()) {
            None => Ok(()),
            Some(var) => Err(hint::with(
                anyhow!("{}: it names another file, which is not followed", self.cannot_use(var)),
                format!("name the database in an option, or set {name} itself"),
            )),
        }
    }

    fn cannot_use(&self, var: &Var) -> String {
        self.cannot_use_line(&var.name, var.line)
    }

    fn cannot_use_line(&self, name: &str, line: usize) -> String {
        format!("cannot use {name} of {:?} (line {line})", self.path)
    }
}
