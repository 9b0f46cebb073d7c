use super::*;

fn parse(text: &str) -> Conninfo {
    match Conninfo::parse(text) {
        Ok(info) => info,
        Err(error) => panic!("{text}: {error:#}"),
    }
}

fn refused(text: &str) -> String {
    match Conninfo::parse(text) {
        Ok(info) => panic!("{text} is taken as {}", info.to_keywords()),
        Err(error) => format!("{error:#}"),
    }
}

fn hint_of(text: &str) -> String {
    hint::of(&Conninfo::parse(text).unwrap_err()).join("; ")
}

/// What a vector says libpq makes of an address, in its own order.
fn as_in_vectors(info: &Conninfo) -> String {
    let order = ["user", "password", "dbname", "host", "port"];
    let mut words = Vec::new();
    for key in order {
        let value = if key == "password" { info.password().map(Secret::expose) } else { info.get(key) };
        words.extend(value.map(|value| format!("{key}={value}")));
    }
    let others = info.values.iter().filter(|(key, _)| !order.contains(&key.as_str()));
    words.extend(others.map(|(key, value)| format!("{key}={value}")));
    if words.is_empty() { String::from("(nothing set)") } else { words.join(" ") }
}

/// Vectors where we know more than libpq 15: its answer is an error, or a password taken for something else.
const OURS: &[(&str, Result<&str, &str>)] = &[
    ("postgresql+asyncpg://u:p@h/db", Ok("user=u password=p dbname=db host=h")),
    ("postgres+psycopg://u@h/db", Ok("user=u dbname=db host=h")),
    ("postgresql://u:p@h/db?connection_limit=5&pgbouncer=true", Ok("user=u password=p dbname=db host=h")),
    ("postgresql://u:p@h/db?ssl=require", Ok("user=u password=p dbname=db host=h sslmode=require")),
    ("postgresql://u:p/w@h/db", Err("the database name holds an @")),
    ("POSTGRESQL://u@h/db", Ok("user=u dbname=db host=h")),
    ("mydb", Ok("dbname=mydb")),
    (" postgresql://u@h/db", Ok("user=u dbname=db host=h")),
    (
        "postgresql://u:p@h/db?channel_binding=require&sslnegotiation=direct",
        Ok("user=u password=p dbname=db host=h channel_binding=require sslnegotiation=direct"),
    ),
];

#[test]
fn addresses_mean_what_libpq_was_measured_to_make_of_them() {
    let vectors = include_str!("../../../../../tests/fixtures/pg-uri-vectors.tsv");
    let mut count = 0;
    for line in vectors.lines().filter(|line| !line.starts_with('#')) {
        let (text, measured) = line.split_once('\t').unwrap();
        let ours = OURS.iter().find(|(vector, _)| *vector == text).map(|(_, ours)| *ours);
        match (ours, measured.strip_prefix("ERROR")) {
            (Some(Ok(expected)), _) => assert_eq!(as_in_vectors(&parse(text)), expected, "{text}"),
            (Some(Err(expected)), _) => assert!(refused(text).contains(expected), "{text}: {}", refused(text)),
            (None, Some(_)) => drop(refused(text)),
            (None, None) => assert_eq!(as_in_vectors(&parse(text)), measured, "{text}"),
        }
        count += 1;
    }
    assert!(count >= 20);
}

/// Cases of libpq's own src/interfaces/libpq/t/001_uri.pl.
#[test]
fn every_part_of_a_uri_may_be_missing() {
    for (text, expected) in [
        ("postgresql://", "(nothing set)"),
        ("postgres:///", "(nothing set)"),
        ("postgresql://@", "(nothing set)"),
        ("postgresql://:@", "(nothing set)"),
        ("postgresql://:p@", "password=p"),
        ("postgresql://host", "host=host"),
        ("postgresql://host:/", "host=host"),
        ("postgresql://:12345/", "port=12345"),
        ("postgresql:///db", "dbname=db"),
        ("postgres://user@", "user=user"),
        ("postgresql://host?", "host=host"),
        ("postgresql://host?user=u&", "user=u host=host"),
        ("postgresql://?host=/tmp", "host=/tmp"),
        ("postgres://otheruser@:12345?host=/no/such/socket", "user=otheruser host=/no/such/socket port=12345"),
        ("postgres://[2001:db8::1234]/", "host=2001:db8::1234"),
        ("postgres://[::1],h2:5433,[fe80::1%25eth0]:5/", "host=::1,h2,fe80::1%eth0 port=,5433,5"),
        ("postgresql://h1,h2/", "host=h1,h2 port=,"),
        ("postgresql://u%7ar:p%40%2f%3A%25@h%2Cx/d%20b", "user=uzr password=p@/:% dbname=d b host=h,x"),
        ("postgresql://u:p?q#r@h", "user=u password=p?q#r host=h"),
        ("postgresql://u:a:b@h", "user=u password=a:b host=h"),
        ("postgresql://h/a/b", "dbname=a/b host=h"),
        ("postgresql://h/db?host=h2&user=", "user= dbname=db host=h2"),
        ("postgresql://h?options=-c%20a%3Db&requiressl=1", "host=h options=-c a=b sslmode=require"),
    ] {
        assert_eq!(as_in_vectors(&parse(text)), expected, "{text}");
    }
}

#[test]
fn a_malformed_uri_is_refused_without_repeating_it() {
    for text in [
        "postgresql://CANARY:CANARY%@h/db",
        "postgresql://u:CANARY%4xCANARY@h/db",
        "postgresql://u:CANARY%00@h/db",
        "postgresql://u:CANARY%ff@h/db",
        "postgresql://u:p@CANARY@h/db",
        "postgresql://u:CANARY/w@h/db",
        "postgresql://u:12/CANARY@h/db",
        "postgresql://u:12/w?CANARY=w@h/db",
        "postgresql://u:p@[CANARY/db",
        "postgresql://u:p@[]CANARY/db",
        "postgresql://u:p@[::1]CANARY/db",
        "postgresql://u:p@h/db?CANARY",
        "postgresql://u:p@h/db?user=CANARY=x",
        "postgresql://u:p@h/db?password=a&CANARY=b",
        "postgresql://u:p@h/db?CAN%20ARY=b",
        "postgresql://u:p@h/db?sslmode=CANARY",
        "postgresql://u:p@h/db?ssl=CANARY",
        "postgresql://u:p@h/db?sslpassword=CANARY",
        "postgresql://u:p@h/db?&CANARY=1",
        "host=h password=a CANARY=b",
        "host=h password=a CANARY",
        "host=h password='CANARY",
        "host=h 'CANARY=b",
        "CANARY://u:CANARY@h/db?a=CANARY",
        "mysql://u:CANARY@h/db",
        "jdbc:CANARY:postgresql:x",
        "u:CANARY@h/db",
        "\"postgresql://u:CANARY@h/db",
        "pgsql:host=h;password=CANARY",
        "Host=h;Password=CANARY;Database=x",
        "CANARY\0",
    ] {
        let message = refused(text);
        assert!(!message.contains("CANARY"), "{message}");
        assert!(!hint_of(text).contains("CANARY"));
    }
}

#[test]
fn an_unknown_parameter_is_refused_by_name() {
    assert_eq!(
        refused("postgresql://u:p@h/db?bogus=1"),
        "cannot read the database address: parameter \"bogus\" is not one of libpq's"
    );
    assert_eq!(
        refused("dbname=db bogus=1"),
        "cannot read the database address: keyword \"bogus\" is not one of libpq's"
    );
}

#[test]
fn a_password_that_was_not_encoded_is_explained() {
    assert_eq!(
        refused("postgresql://u:p@w@h/db"),
        "cannot read the database address: the password holds an @ that must be written %40"
    );
    assert!(hint_of("postgresql://u:p/w@h/db").contains("%2F"));
    assert!(hint_of("postgresql://u:50%@h/db").contains("%25"));
    assert_eq!(
        refused("postgresql://u:p/w"),
        "cannot read the database address: the port is not a number from 1 to 65535"
    );
}

#[test]
fn keywords_are_quoted_as_in_libpq() {
    for (text, expected) in [
        ("host=h", "host=h"),
        ("  host = h\tport=\n5432 ", "host=h port=5432"),
        (r"user='it\'s' password='a\\b c'", r"user=it's password=a\b c"),
        (r"user=a\ b password=x\'y", r"user=a b password=x'y"),
        ("user='a'host=h", "user=a host=h"),
        ("user='' host=", "user= host="),
        ("host=a host=b", "host=b"),
        ("dbname=postgresql://h/x", "dbname=postgresql://h/x"),
        ("user=a'b", "user=a'b"),
    ] {
        assert_eq!(as_in_vectors(&parse(text)), expected, "{text}");
    }
}

#[test]
fn a_bare_name_may_hold_anything_but_an_address() {
    for name in ["app", "my db", " app ", "-x", "100%", "it's", "a\"b", "größe", "a:b", "a@b", "'app'", "a/b", "?x#y"]
    {
        assert_eq!(parse(name).to_keywords(), Conninfo::database(name).to_keywords());
    }
}

#[test]
fn what_looks_like_an_address_never_becomes_a_name() {
    for (text, expected) in [
        ("mysql://u@h/db", "it is not PostgreSQL but mysql"),
        ("mysql+pymysql://u@h/db", "it is not PostgreSQL but mysql"),
        ("sqlite:///app.db", "it is not PostgreSQL but sqlite"),
        ("sqlite::memory:", "it is not PostgreSQL but sqlite"),
        ("file:./dev.db", "it is not PostgreSQL but file"),
        ("mongodb+srv://h/db", "it is not PostgreSQL but mongodb"),
        ("prisma+postgres://h/?api_key=x", "it is not PostgreSQL but prisma"),
        ("jdbc:mysql://h/db", "it is not PostgreSQL but mysql"),
        ("foo://x", "it is not PostgreSQL: what stands before :// is not known"),
        ("postgresql+ssh://u@h/u@h/db", "what stands before :// is not known"),
        ("://x", "what stands before :// is not known"),
        ("jdbc:postgresql:db", "there is no // after its jdbc:"),
        ("pgsql:host=h;dbname=x", "there is no // after its pgsql:"),
        ("postgres:app", "there is no // after its postgres:"),
        ("u:p@h:5432/db", "does not begin with postgresql://"),
        ("", "it is empty"),
    ] {
        assert!(refused(text).contains(expected), "{text}: {}", refused(text));
    }
}

#[test]
fn a_name_given_as_a_name_is_never_taken_apart() {
    let info = Conninfo::database("host=evil dbname='x\\'");

    assert_eq!(info.to_keywords(), r"dbname='host=evil dbname=\'x\\\''");
    assert_eq!(parse(&info.to_keywords()).get("dbname"), Some("host=evil dbname='x\\'"));
}

#[test]
fn framework_dialects_reach_the_same_database() {
    for (text, expected) in [
        ("postgresql+psycopg2://u@h/db", "dbname='db' host='h' user='u'"),
        ("PostGIS://u@h/db?conn_max_age=600", "dbname='db' host='h' user='u'"),
        ("timescaledb://h/db?CONN_MAX_AGE=60", "dbname='db' host='h'"),
        (
            "postgres://h/db?pool=5&timeout=5000&prepared_statements=false&adapter=postgis&encoding=utf8",
            "dbname='db' host='h'",
        ),
        (
            "postgres://h/db?schema=app&statement_cache_size=0&socket_timeout=3&sslaccept=strict",
            "dbname='db' host='h' sslmode='verify-full'",
        ),
        ("postgresql://h/db?serverVersion=16&charset=utf8", "dbname='db' host='h'"),
        (
            "postgresql+asyncpg://h/db?async_fallback=true&server_settings=x&prepared_statement_cache_size=0",
            "dbname='db' host='h'",
        ),
        ("postgresql:///db?host=/run/pg&username=u", "dbname='db' host='/run/pg' user='u'"),
        ("postgres://h/db?sslmode=no-verify", "dbname='db' host='h' sslmode='require'"),
        ("postgres://h/db?ssl=false", "dbname='db' host='h' sslmode='disable'"),
        ("postgres://h/db?sslmode=verify-full&ssl=true", "dbname='db' host='h' sslmode='verify-full'"),
        (
            "postgres://h/db?ssl-mode=VERIFY_CA&x-migrations-table=m&options[geqo]=off",
            "dbname='db' host='h' sslmode='verify-ca'",
        ),
        (
            "jdbc:postgresql://h:5432/db?user=u&ssl=true&ApplicationName=x&currentSchema=s",
            "application_name='x' dbname='db' host='h' port='5432' sslmode='verify-full' user='u'",
        ),
        ("'postgresql://h/db?application_name=x'\n", "application_name='x' dbname='db' host='h'"),
    ] {
        let info = parse(text);
        assert_eq!(info.to_keywords(), expected, "{text}");
        assert!(!info.notes().is_empty(), "{text} needs a note");
    }
}

#[test]
fn a_note_names_what_was_dropped_and_shows_no_value() {
    let info = parse("postgresql://u:CANARY@h/db?schema=CANARY&connection_limit=77");

    assert_eq!(
        info.notes(),
        [
            "schema is left out: every schema is seen, not only those",
            "connection_limit is left out: libpq does not have it"
        ]
    );
}

#[test]
fn what_stands_behind_an_x_may_be_the_rest_of_a_password_and_is_not_shown() {
    let info = parse("postgresql://u/d?x-migrations-table=t&x-CANARY!@h=1");

    assert_eq!(
        info.notes(),
        ["parameter 1 is left out: libpq does not have it", "parameter 2 is left out: libpq does not have it"]
    );
}

#[test]
fn the_password_is_in_no_form_that_is_shown() {
    let mut info = parse("postgresql://CANARYu:CANARY@h:5/db?options=x");

    assert_eq!(info.display(), "db at h:5");
    assert_eq!(format!("{info:?}"), "Conninfo(db at h:5)");
    assert_eq!(info.to_keywords(), "dbname='db' host='h' options='x' port='5' user='CANARYu'");
    assert_eq!(info.password().map(Secret::expose), Some("CANARY"));
    assert_eq!(info.take_password().as_ref().map(Secret::expose), Some("CANARY"));
    assert!(info.password().is_none());
}

#[test]
fn a_database_is_shown_by_name_and_server() {
    for (text, expected) in [
        ("postgresql://", "the default database at the default server"),
        ("app", "app at the default server"),
        ("port=5433", "the default database at the default server:5433"),
        ("host=/run/pg dbname=a port=1", "a at /run/pg:1"),
        ("postgresql://[::1]:5/a", "a at [::1]:5"),
        ("service=s dbname=a", "a at service s"),
        ("a\x1b[31m", "a\\u001b[31m at the default server"),
    ] {
        assert_eq!(parse(text).display(), expected);
    }
}

#[test]
fn sockets_and_loopback_are_local() {
    for text in
        ["app", "host=/run/pg", "host=localhost", "host=127.0.0.2,::1", "host=@abstract", "host=db hostaddr=127.0.0.1"]
    {
        assert!(parse(text).is_local(), "{text}");
    }
    for text in
        ["host=db", "host=localhost,db", "host=localhost hostaddr=10.0.0.1", "service=s", "host=127.0.0.1.evil.org"]
    {
        assert!(!parse(text).is_local(), "{text}");
    }
}

#[test]
fn a_foreign_file_cannot_name_keys_or_files_of_ours() {
    for key in ["passfile", "service", "sslkey", "sslcert", "sslkeylogfile", "requirepeer", "gsslib", "replication"] {
        let mut info = parse(&format!("host=h {key}=x"));
        let message = info.restrict_to_foreign().unwrap_err().to_string();
        assert_eq!(message, format!("{key} is not accepted from a file that another user can write"));
    }
}

#[test]
fn a_foreign_file_may_say_where_and_who() {
    let mut info =
        parse("host=h port=1 dbname=d user=u password=p sslmode=verify-full sslrootcert=system options=-cx=y");

    info.restrict_to_foreign().unwrap();

    assert_eq!(info.get("options"), None);
    assert_eq!(info.notes(), ["options is left out: another user can write the file"]);
    assert_eq!(info.get("sslrootcert"), Some("system"));
    assert_eq!(info.password().map(Secret::expose), Some("p"));
}

#[test]
fn all_keywords_are_known_and_sorted() {
    assert!(KEYWORDS.is_sorted());
    assert!(FOREIGN_MAY_SET.iter().chain(FOREIGN_IS_IGNORED).all(|key| keywords::is_known(key)));
}

mod for_any_text {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reading_never_panics_and_never_repeats_a_password(text in r"(postgres(ql)?://)?[ -~é\x00\n]{0,40}", tail in "[:@/?&=%#'\\[\\],a1 ]{0,12}") {
            let both = format!("{text}{tail}");
            drop(Conninfo::parse(&both));
            if let Err(error) = Conninfo::parse(&format!("postgresql://u:CANARY{tail}@h/db")) {
                let message = format!("{error:#}");
                prop_assert!(!message.contains("CANARY"));
            }
        }

        #[test]
        fn keywords_written_are_read_back(name in "\\PC{1,30}", host in "[^\0]{0,20}", user in "[' \\\\=a]{0,8}") {
            let mut info = Conninfo::database(&name);
            info.set("host", host.as_str());
            info.set("user", user.as_str());

            let again = parse(&info.to_keywords());

            prop_assert_eq!(again.values, info.values);
        }
    }
}
