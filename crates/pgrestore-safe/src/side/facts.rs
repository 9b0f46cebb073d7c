//! What hangs on a database, and how another one is made like it.

use super::attributes::Setting;
use anyhow::{Result, anyhow};
use common::hint::Hint as _;
use common::pg::quote::{identifier, literal};
use serde::Deserialize;

/// What hangs on a database.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Facts {
    /// Its owner.
    pub owner: String,
    /// Its encoding.
    pub encoding: String,
    /// The columns of pg_database, which differ between versions.
    pub row: Row,
    /// The tablespace that its objects are in unless they say otherwise.
    pub tablespace: String,
    /// The one that a new database gets where none is named; to name that one, too, would take a right on it.
    pub template_tablespace: String,
    /// Its comment.
    pub comment: Option<String>,
    /// Who may do what; `None` where nothing was ever granted or revoked.
    pub grants: Option<Vec<Grant>>,
    /// Settings of the database, and of roles in it.
    pub settings: Vec<RoleSettings>,
    /// Who has put a security label on it.
    pub labels: Vec<String>,
}

/// Columns of pg_database.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Row {
    /// `c` libc, `i` ICU, `b` builtin; older servers than 15 have libc only.
    #[serde(default = "libc", rename = "datlocprovider")]
    pub provider: String,
    /// LC_COLLATE.
    #[serde(rename = "datcollate")]
    pub collate: String,
    /// LC_CTYPE.
    #[serde(rename = "datctype")]
    pub ctype: String,
    /// The locale of ICU or of the builtin provider.
    #[serde(default, rename = "datlocale", alias = "daticulocale")]
    pub locale: Option<String>,
    /// Additional collation rules, from 16.
    #[serde(default, rename = "daticurules")]
    pub rules: Option<String>,
    /// How many sessions it may have; -1 for no limit, -2 for a database that is broken.
    #[serde(rename = "datconnlimit")]
    pub connection_limit: i32,
    /// Whether it takes connections.
    #[serde(rename = "datallowconn")]
    pub is_open: bool,
    /// Whether it is a template.
    #[serde(rename = "datistemplate")]
    pub is_template: bool,
}

/// One privilege.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Grant {
    /// Who gave it.
    pub grantor: String,
    /// Who has it; `None` for PUBLIC.
    pub grantee: Option<String>,
    /// CREATE, CONNECT or TEMPORARY.
    pub privilege: String,
    /// Whether it may be passed on.
    pub is_grantable: bool,
}

/// What is set for the database, or for a role in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct RoleSettings {
    /// The role; `None` for all.
    pub role: Option<String>,
    /// `name=value`.
    pub settings: Vec<String>,
}

fn libc() -> String {
    "c".to_owned()
}

/// Without its end: a WHERE, and the parentheses it closes.
pub const QUESTION: &str = "SELECT COALESCE((SELECT pg_catalog.json_build_object(\
    'row', pg_catalog.to_json(d), \
    'owner', pg_catalog.pg_get_userbyid(d.datdba), \
    'encoding', pg_catalog.pg_encoding_to_char(d.encoding), \
    'tablespace', t.spcname, \
    'template_tablespace', (SELECT s.spcname FROM pg_catalog.pg_tablespace AS s JOIN pg_catalog.pg_database AS o \
        ON o.dattablespace OPERATOR(pg_catalog.=) s.oid WHERE o.datname OPERATOR(pg_catalog.=) 'template0'), \
    'comment', pg_catalog.shobj_description(d.oid, 'pg_database'), \
    'grants', CASE WHEN d.datacl IS NOT NULL THEN (SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(\
        'grantor', pg_catalog.pg_get_userbyid(a.grantor), \
        'grantee', CASE WHEN a.grantee OPERATOR(pg_catalog.<>) 0::pg_catalog.oid \
            THEN pg_catalog.pg_get_userbyid(a.grantee) END, \
        'privilege', a.privilege, 'is_grantable', a.is_grantable) ORDER BY a.place), '[]') \
        FROM pg_catalog.aclexplode(d.datacl) WITH ORDINALITY AS a (grantor, grantee, privilege, is_grantable, place)) END, \
    'settings', (SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(\
        'role', CASE WHEN s.setrole OPERATOR(pg_catalog.<>) 0::pg_catalog.oid \
            THEN pg_catalog.pg_get_userbyid(s.setrole) END, \
        'settings', s.setconfig) ORDER BY s.setrole), '[]') \
        FROM pg_catalog.pg_db_role_setting AS s WHERE s.setdatabase OPERATOR(pg_catalog.=) d.oid), \
    'labels', (SELECT COALESCE(pg_catalog.json_agg(l.provider), '[]') FROM pg_catalog.pg_shseclabel AS l \
        WHERE l.objoid OPERATOR(pg_catalog.=) d.oid \
        AND l.classoid OPERATOR(pg_catalog.=) 'pg_catalog.pg_database'::pg_catalog.regclass::pg_catalog.oid)) \
    FROM pg_catalog.pg_database AS d JOIN pg_catalog.pg_tablespace AS t \
    ON t.oid OPERATOR(pg_catalog.=) d.dattablespace";

impl Facts {
    /// The statement that makes an empty database like this one.
    ///
    /// # Errors
    ///
    /// A locale provider that nobody knows yet.
    pub fn create(&self, name: &str, owner: &str) -> Result<String> {
        // From template0: what somebody has put into template1 would collide with the backup.
        let mut statement = format!(
            "CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}",
            identifier(name)?,
            identifier(owner)?,
            literal(&self.encoding)?,
            literal(&self.row.collate)?,
            literal(&self.row.ctype)?,
        );
        if self.tablespace != self.template_tablespace {
            statement += &format!(" TABLESPACE {}", identifier(&self.tablespace)?);
        }
        let locale = || self.row.locale.as_deref().unwrap_or_default();
        match self.row.provider.as_str() {
            // The default in every version; 14 does not know the word.
            "c" => {}
            "i" => {
                statement += &format!(" LOCALE_PROVIDER icu ICU_LOCALE {}", literal(locale())?);
                if let Some(rules) = &self.row.rules {
                    statement += &format!(" ICU_RULES {}", literal(rules)?);
                }
            }
            "b" => statement += &format!(" LOCALE_PROVIDER builtin BUILTIN_LOCALE {}", literal(locale())?),
            other => {
                return Err(anyhow!("the database has the locale provider {other:?}")).hint("update pgrestore-safe");
            }
        }
        Ok(statement)
    }

    /// What differs, in a word or two, where another database does not have all that hangs on this one.
    pub fn difference(&self, other: &Self) -> Option<&'static str> {
        let same = [
            ("owner", self.owner == other.owner),
            ("encoding", self.encoding == other.encoding),
            ("locale", self.locale() == other.locale()),
            ("tablespace", self.tablespace == other.tablespace),
            ("comment", self.comment == other.comment),
            ("connection limit", self.row.connection_limit == other.row.connection_limit),
            ("grants", self.sorted_grants() == other.sorted_grants()),
            ("settings", self.sorted_settings() == other.sorted_settings()),
        ];
        same.into_iter().find(|(_, same)| !same).map(|(what, _)| what)
    }

    fn locale(&self) -> (&str, &str, &str, Option<&str>, Option<&str>) {
        let row = &self.row;
        (&row.provider, &row.collate, &row.ctype, row.locale.as_deref(), row.rules.as_deref())
    }

    fn sorted_grants(&self) -> Option<Vec<&Grant>> {
        let mut grants: Vec<_> = self.grants.as_ref()?.iter().collect();
        grants.sort();
        Some(grants)
    }

    fn sorted_settings(&self) -> Vec<(Option<&str>, Option<Setting>)> {
        let mut settings: Vec<_> = self
            .settings
            .iter()
            .flat_map(|one| one.settings.iter().map(|text| (one.role.as_deref(), Setting::parse(text).ok())))
            .collect();
        settings.sort();
        settings
    }
}
