//! Statements that give a database what hangs on another one: pure functions.
//!
//! Names and values come from whoever may alter a database, so each is quoted, and a setting's name must look like one.
//! Source: THREATS R10.

use super::facts::{Facts, Grant, RoleSettings};
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use common::pg::quote::{identifier, literal};

/// Settings whose value is a list of names: as one text it would be one name. Source: GUC_LIST_QUOTE, and pg_dump's
/// variable_is_guc_list_quote.
const LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// Everything, in the order in which a server takes it; for one transaction.
///
/// # Errors
///
/// A setting or privilege that cannot be read.
pub fn statements(facts: &Facts, database: &str) -> Result<Vec<String>> {
    let name = identifier(database)?;
    let mut statements = vec![format!("ALTER DATABASE {name} OWNER TO {}", identifier(&facts.owner)?)];
    if let Some(all) = &facts.grants {
        statements.push(format!("REVOKE ALL ON DATABASE {name} FROM PUBLIC, {}", identifier(&facts.owner)?));
        statements.extend(grants(all, &facts.owner, &name)?);
    }
    statements.push(format!("ALTER DATABASE {name} CONNECTION LIMIT {}", facts.row.connection_limit));
    if let Some(comment) = &facts.comment {
        statements.push(format!("COMMENT ON DATABASE {name} IS {}", literal(comment)?));
    }
    for one in &facts.settings {
        statements.extend(settings(one, &name)?);
    }
    Ok(statements)
}

fn grants(all: &[Grant], owner: &str, name: &str) -> Result<Vec<String>> {
    let mut statements = Vec::new();
    // What the owner gave comes first: who passes a privilege on must have it.
    let (owners, others): (Vec<_>, Vec<_>) = all.iter().partition(|grant| grant.grantor == owner);
    for grant in owners {
        statements.push(one_grant(grant, name)?);
    }
    for grant in others {
        statements.push(format!("SET LOCAL ROLE {}", identifier(&grant.grantor)?));
        statements.push(one_grant(grant, name)?);
        statements.push("RESET ROLE".to_owned());
    }
    Ok(statements)
}

fn one_grant(grant: &Grant, name: &str) -> Result<String> {
    let privilege = match grant.privilege.as_str() {
        known @ ("CREATE" | "CONNECT" | "TEMPORARY") => known,
        other => bail!("the database has a privilege {other:?} that this version does not know"),
    };
    let grantee = grant.grantee.as_deref().map_or_else(|| Ok("PUBLIC".to_owned()), identifier)?;
    let option = if grant.is_grantable { " WITH GRANT OPTION" } else { "" };
    Ok(format!("GRANT {privilege} ON DATABASE {name} TO {grantee}{option}"))
}

fn settings(of: &RoleSettings, name: &str) -> Result<Vec<String>> {
    let whose = match &of.role {
        None => format!("ALTER DATABASE {name}"),
        Some(role) => format!("ALTER ROLE {} IN DATABASE {name}", identifier(role)?),
    };
    of.settings.iter().map(|text| Ok(format!("{whose} SET {}", Setting::parse(text)?.assignment()?))).collect()
}

/// One setting, as `pg_db_role_setting` has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Setting {
    name: String,
    value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    One(String),
    List(Vec<String>),
}

impl Setting {
    /// Reads `name=value`.
    ///
    /// # Errors
    ///
    /// A name that is none, or a list that cannot be read.
    pub fn parse(text: &str) -> Result<Self> {
        let (name, value) = text.split_once('=').with_context(|| format!("a setting has no value: {text:?}"))?;
        ensure!(is_name(name), "a setting has a name that is none: {name:?}");
        let value = if LISTS.contains(&name.to_ascii_lowercase().as_str()) {
            Value::List(list(value).with_context(|| format!("cannot read the list {name} of a database"))?)
        } else {
            Value::One(value.to_owned())
        };
        Ok(Self { name: name.to_owned(), value })
    }

    fn assignment(&self) -> Result<String> {
        let value = match &self.value {
            Value::One(text) => literal(text)?,
            Value::List(names) if names.is_empty() => "''".to_owned(),
            Value::List(names) => names.iter().map(|name| literal(name)).collect::<Result<Vec<_>>>()?.join(", "),
        };
        Ok(format!("{} TO {value}", identifier(&self.name)?))
    }
}

/// `work_mem`, `app.tenant`.
fn is_name(text: &str) -> bool {
    let is_word = |word: &str| {
        let begins = word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii());
        begins && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii())
    };
    text.split('.').all(is_word)
}

/// The names of a list, which are quoted where they are not plain words: `"$user", public`.
fn list(text: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (name, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_name(quoted)?,
            None => {
                let end = rest.find(|c: char| c == ',' || c.is_ascii_whitespace()).unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        ensure!(!name.is_empty() || rest.starts_with('"'), "a name is empty");
        names.push(name);
        let after = after.trim_start();
        rest = match after.strip_prefix(',') {
            Some(next) => {
                ensure!(!next.trim().is_empty(), "it ends with a comma");
                next.trim_start()
            }
            None if after.is_empty() => "",
            None => bail!("two names have no comma between them"),
        };
    }
    Ok(names)
}

/// What follows a quote, up to its partner.
fn quoted_name(text: &str) -> Result<(String, &str)> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let at = rest.find('"').ok_or_else(|| anyhow!("a quote has no partner"))?;
        name.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(more) = rest.strip_prefix('"') else { return Ok((name, rest)) };
        name.push('"');
        rest = more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assignment(text: &str) -> String {
        Setting::parse(text).unwrap().assignment().unwrap()
    }

    #[test]
    fn a_list_is_given_as_a_list_and_an_empty_one_as_an_empty_text() {
        assert_eq!(
            assignment("search_path=\"$user\", \"a\"\"b,c\", public"),
            r#""search_path" TO '$user', 'a"b,c', 'public'"#
        );
        assert_eq!(assignment("search_path="), "\"search_path\" TO ''");
        assert_eq!(assignment("search_path=\"\""), "\"search_path\" TO ''");
        assert_eq!(assignment("DateStyle=ISO, DMY"), "\"DateStyle\" TO 'ISO, DMY'");
    }

    #[test]
    fn a_value_cannot_leave_its_quotes() {
        assert_eq!(assignment("app.x=a' \\ ; -- \n=\""), "\"app.x\" TO 'a'' \\ ; -- \n=\"'");
    }

    #[test]
    fn what_is_no_name_of_a_setting_is_refused() {
        for text in ["x", "=1", "a b=1", "a;b=1", "a..b=1", "1a=1", "a\"=1"] {
            assert!(Setting::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_list_that_is_none_is_refused() {
        for text in ["search_path=a b", "search_path=\"a", "search_path=a,", "search_path=,a"] {
            assert!(Setting::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_others_passed_on_is_passed_on_by_them_again() {
        let grant = |grantor: &str, grantee: Option<&str>, is_grantable| Grant {
            grantor: grantor.to_owned(),
            grantee: grantee.map(str::to_owned),
            privilege: "CONNECT".to_owned(),
            is_grantable,
        };

        let made = grants(&[grant("b", None, false), grant("o", Some("b"), true)], "o", "\"d\"").unwrap();

        assert_eq!(
            made,
            [
                "GRANT CONNECT ON DATABASE \"d\" TO \"b\" WITH GRANT OPTION",
                "SET LOCAL ROLE \"b\"",
                "GRANT CONNECT ON DATABASE \"d\" TO PUBLIC",
                "RESET ROLE",
            ]
        );
    }
}
