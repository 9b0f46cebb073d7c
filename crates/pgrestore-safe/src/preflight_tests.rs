use super::*;
use crate::side::Facts;

fn facts() -> Facts {
    serde_json::from_str(
        r#"{"owner": "owner", "encoding": "UTF8", "tablespace": "pg_default", "template_tablespace": "pg_default",
            "comment": null, "grants": null, "settings": [], "labels": [],
            "row": {"datcollate": "C", "datctype": "C", "datconnlimit": -1, "datallowconn": true, "datistemplate": false}}"#,
    )
    .unwrap()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn ground() -> Ground {
    Ground {
        version_num: 150_020,
        role: "owner".to_owned(),
        may_create: true,
        has_owner: true,
        has_tablespace: true,
        roles: set(&["owner", "other", "postgres"]),
        memberships: set(&["owner"]),
        extensions: set(&["hstore", "postgis"]),
        trusted: set(&["hstore"]),
        ..Ground::default()
    }
}

fn found(facts: &Facts, needs: &Needs, ground: &Ground) -> Vec<String> {
    let found = problems("app", facts, needs, ground, Application::Running, Some(1000));
    assert!(found.iter().all(|problem| !problem.advice.is_empty()));
    found.into_iter().map(|problem| problem.what).collect()
}

#[test]
fn an_owner_who_may_create_databases_may_restore_an_ordinary_one() {
    let needs = Needs { roles: set(&["owner"]), extensions: set(&["hstore"]), size_bytes: 1000, ..Needs::default() };

    assert_eq!(found(&facts(), &needs, &ground()), Vec::<String>::new());
}

#[test]
fn every_reason_is_said_at_once() {
    let needs = Needs {
        roles: set(&["other", "gone"]),
        extensions: set(&["postgis", "gone"]),
        kinds: set(&["TABLE", "EVENT TRIGGER"]),
        version_num: 180_001,
        size_bytes: 1001,
    };
    let mut facts = facts();
    (facts.row.is_template, facts.row.is_open) = (true, false);
    let list = || vec!["x".to_owned()];
    let ground = Ground {
        may_create: false,
        has_owner: false,
        has_tablespace: false,
        in_recovery: true,
        prepared: list(),
        slots: list(),
        subscriptions: list(),
        walsenders: 1,
        stuck: list(),
        ..ground()
    };

    let found = found(&facts, &needs, &ground);

    for part in [
        "standby",
        "template",
        "closed",
        "prepared transactions: x",
        "slots: x",
        "subscriptions: x",
        "1 logical walsender",
        "newer server (18.1)",
        "missing: gone",
        "not installed on the server: gone",
        "may not create databases",
        "not the owner",
        "may not create in tablespace",
        "no member of roles that own something in the backup: other",
        "only a superuser can make extensions: postgis",
        "only a superuser can restore: event trigger",
        "sessions of x cannot be ended",
        "1000 B free",
    ] {
        assert_eq!(found.iter().filter(|what| what.contains(part)).count(), 1, "{part}: {found:#?}");
    }
    assert_eq!(found.len(), 18, "{found:#?}");
}

#[test]
fn a_superuser_lacks_no_right() {
    let needs = Needs {
        roles: set(&["other"]),
        extensions: set(&["postgis"]),
        kinds: set(&["EVENT TRIGGER"]),
        ..Needs::default()
    };
    let ground = Ground { is_superuser: true, may_create: true, has_owner: true, ..ground() };

    assert_eq!(found(&facts(), &needs, &ground), Vec::<String>::new());
}

#[test]
fn what_cannot_be_seen_is_no_reason_and_what_will_be_stopped_neither() {
    let needs = Needs { size_bytes: u64::MAX, ..Needs::default() };
    let ground = Ground { stuck: vec!["postgres".to_owned()], ..ground() };

    assert_eq!(problems("app", &facts(), &needs, &ground, Application::Stopped, None), []);
}

#[test]
fn the_databases_that_every_server_has_are_refused() {
    let found = problems("postgres", &facts(), &Needs::default(), &ground(), Application::Running, None);

    assert_eq!(found.len(), 1);
}
