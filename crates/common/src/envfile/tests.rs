use super::*;
use std::os::unix::fs::{PermissionsExt as _, symlink};

fn file(text: &str) -> EnvFile {
    let Parsed { vars, warnings, unreadable } = parse(text.as_bytes());
    EnvFile { path: PathBuf::from("app/.env"), vars, warnings, unreadable, foreign: false, mode: 0o600 }
}

fn database(text: &str) -> Conninfo {
    match file(text).database() {
        Ok(Some(info)) => info,
        Ok(None) => panic!("no database in {text}"),
        Err(error) => panic!("{text}: {error:#}"),
    }
}

fn refused(text: &str) -> String {
    format!("{:#}", file(text).database().unwrap_err())
}

fn value(text: &str) -> String {
    file(text).get("A").map_or_else(|| String::from("<unset>"), |value| value.expose().to_owned())
}

/// The vectors: text, name, the answers of bash and of the five others, and whether all six agree.
fn vectors() -> impl Iterator<Item = (String, Vec<&'static str>)> {
    let lines = include_str!("../../../../tests/fixtures/env-vectors.tsv").lines();
    lines.filter(|line| !line.starts_with('#') && !line.starts_with("id\t")).map(|line| {
        let fields: Vec<_> = line.split('\t').collect();
        (serde_json::from_str(fields[1]).unwrap(), fields)
    })
}

/// The answers most readers give; where several have as many, bash decides if it is one of them.
fn plurality<'a>(bash: &'a str, others: &[&'a str]) -> Vec<&'a str> {
    let votes = |answer: &str| others.iter().filter(|other| **other == answer).count();
    let most = others.iter().map(|answer| votes(answer)).max().unwrap();
    let top: Vec<_> = others.iter().copied().filter(|answer| votes(answer) == most).collect();
    if top.contains(&bash) { vec![bash] } else { top }
}

#[test]
fn values_are_what_most_readers_were_measured_to_read() {
    let mut count = 0;
    for (text, fields) in vectors() {
        let parsed = file(&text);
        let ours = match parsed.get(fields[2]) {
            Some(value) => serde_json::to_string(value.expose()).unwrap(),
            None => String::from("<unset>"),
        };

        // Three of six expand it. We never do, and `database` refuses such a value.
        if fields[0] != "default" {
            let expected = plurality(fields[3], &fields[4..9]);
            assert!(expected.contains(&ours.as_str()), "{}: {ours}, not {expected:?}", fields[0]);
        }
        let all_agree = fields[9] == "yes";
        assert_eq!(parsed.warnings.is_empty(), all_agree, "{}: {:?}", fields[0], parsed.warnings);
        count += 1;
    }
    assert!(count >= 30);
}

/// Measured with the same readers, beyond the vectors.
#[test]
fn values_read_the_same_by_all_need_no_warning() {
    for (text, expected) in [
        ("A=1", "1"),
        ("A=1\nA=2\n", "2"),
        ("\n  # c\n\tA=1\n", "1"),
        ("A=\n", ""),
        ("A=''\n", ""),
        ("A='x # y'\n", "x # y"),
        ("A='x$B'\n", "x$B"),
        ("A='x\\ny'\n", "x\\ny"),
        ("A=\" x'y \"\n", " x'y "),
        ("A=\"x\n\n# c\ny\"\n", "x\n\n# c\ny"),
        ("A=x=y==\n", "x=y=="),
        ("A=%41,[1]{x}^?@:~!\n", "%41,[1]{x}^?@:~!"),
        ("A=\u{201c}x\u{201d}\n", "\u{201c}x\u{201d}"),
        ("A='{\"a\":1}'\n", "{\"a\":1}"),
    ] {
        assert_eq!(value(text), expected, "{text:?}");
        assert_eq!(file(text).warnings, [], "{text:?}");
    }
}

#[test]
fn values_read_differently_are_read_as_by_most_with_a_warning() {
    for (text, expected) in [
        ("A=postgres://u@h/db?a=b&c=d\n", "postgres://u@h/db?a=b&c=d"),
        ("A=pa$$word\n", "pa$$word"),
        ("A=x y\n", "x y"),
        ("A= 1\n", "1"),
        ("export   A = 1\n", "1"),
        ("A=1\r\nB=2\r\n", "1"),
        ("A=1\rB=2\n", "1"),
        ("hello world\nA=1\n", "1"),
        ("A= # x\n", "# x"),
        ("A=x\t# c\n", "x"),
        ("A='x'#c\n", "x"),
        ("A=\"x\" # c\n", "x"),
        ("A=x\\$y\n", "x$y"),
        ("A=\"x\\$y\"\n", "x$y"),
        ("A=\"x\\ty\"\n", "x\\ty"),
        ("A=\"x\\\\y\"\n", "x\\y"),
        ("A=\"x\\\\\"\n", "x\\"),
        ("A=\"x\\\ny\"\n", "x\\\ny"),
        ("A='x\\'y'\n", "x'y"),
        ("A='x\\'\nB='y'\n", "x\\"),
        ("A='it'\\''s'\n", "it's"),
        ("A=\"x\"y # z\n", "xy"),
        ("A=it's\n", "it's"),
        ("A=x \\\n", "x \\"),
        ("A=\u{a0}1\n", "1"),
        ("A=x\0y\n", "x\0y"),
        ("A=${B}\n", "${B}"),
        ("A: 1\n", "<unset>"),
        ("A:=1\n", "<unset>"),
        ("A=\"x\" y\n", "<unset>"),
        ("A='x\nB=2\n", "<unset>"),
        ("A\n", "<unset>"),
        ("A+=1\n", "<unset>"),
        ("# c\\\nA=1\n", "1"),
    ] {
        assert_eq!(value(text), expected, "{text:?}");
        assert!(!file(text).warnings.is_empty(), "{text:?}");
    }
}

#[test]
fn a_warning_tells_line_readers_and_remedy_and_no_value() {
    let parsed = file("A=1\n\nB=CANARY#x\nexport C='x\n\ny'\nD=CANARY $x\nE=\"CANARY\n");

    let warnings: Vec<_> = parsed.warnings.iter().map(Warning::to_string).collect();

    assert_eq!(
        warnings,
        [
            "line 3: node-dotenv reads this line differently; put the value in single quotes",
            "line 4: systemd reads this line differently; leave out export",
            "line 7: bash, compose and dotenvy read this line differently; put the value in single quotes",
            "line 8: E is not read: its quote is not closed; compose, node-dotenv, dotenvy and systemd read this line differently",
        ]
    );
}

#[test]
fn dotenvy_is_named_where_it_alone_ends_or_escapes_otherwise() {
    for text in [
        "A=\"x\\n\"y\n",
        "A=\"x\"y\\n\n",
        "A=\"x\"y\\ ",
        "A=x\u{b}\t # c\n",
        "A=\"x\"\u{c} # c\n",
        "A=x  # it's\n",
        "A='x'  # it's\n",
        "A=\"x\"y  # it's\n",
        "A=\"x\\\\$B\"\n",
    ] {
        let warnings = file(text).warnings;

        assert!(warnings.iter().any(|warning| warning.text.contains("dotenvy")), "{text:?}: {warnings:?}");
    }
}

#[test]
fn of_two_backslashes_the_second_escapes_no_dollar() {
    assert!(file("A=\"x\\\\${B}\"\n").vars[0].refers);
    assert!(!file("A=\"x\\${B}\"\n").vars[0].refers);
}

#[test]
fn a_long_file_of_nonsense_neither_hangs_nor_floods() {
    for line in ["A=\"\n", "A='\\'\n", "A=\"\\\"\n", "A=\"x\\\n", "stray line\n", "A='\"\n"] {
        let parsed = parse(line.repeat(100_000).as_bytes());

        assert!(parsed.warnings.len() <= 51);
    }
}

#[test]
fn latin_1_bytes_are_replaced_and_cannot_be_used() {
    let parsed = parse(b"DB_NAME=caf\xe9\n");
    let file = EnvFile { vars: parsed.vars, ..file("") };

    assert_eq!(file.get("DB_NAME").unwrap().expose(), "caf\u{fffd}");
    assert!(!parsed.warnings.is_empty());
    assert_eq!(
        format!("{:#}", file.database().unwrap_err()),
        "cannot use DB_NAME of \"app/.env\" (line 1): its value is not UTF-8"
    );
}

#[test]
fn the_database_is_found_under_the_names_of_frameworks() {
    for (text, expected) in [
        ("DATABASE_URL=postgresql+asyncpg://u:p@h:5/db", "dbname='db' host='h' port='5' user='u'"),
        ("DATABASE_URL=\nPOSTGRES_URL=\"postgres://u:p@h/db\"", "dbname='db' host='h' user='u'"),
        ("SQLALCHEMY_DATABASE_URI=postgresql:///db", "dbname='db'"),
        ("DB_HOST=x\nDATABASE_URL='host=h dbname=db'", "dbname='db' host='h'"),
        ("DATABASE_URL=postgres://pool/db?pgbouncer=true\nDIRECT_URL=postgres://h/db", "dbname='db' host='h'"),
        ("DATABASE_URL=postgres://h/db\nDIRECT_URL=postgres://other/db", "dbname='db' host='h'"),
        ("POSTGRES_URL=postgres://pool/db\nPOSTGRES_URL_NON_POOLING=postgres://h/db", "dbname='db' host='h'"),
        (
            "SPRING_DATASOURCE_URL=jdbc:postgresql://h/db\nSPRING_DATASOURCE_USERNAME=u\nSPRING_DATASOURCE_PASSWORD=p",
            "dbname='db' host='h' user='u'",
        ),
        (
            "DB_CONNECTION=pgsql\nDB_HOST=h\nDB_PORT=5\nDB_DATABASE=db\nDB_USERNAME=u\nDB_PASSWORD=p",
            "dbname='db' host='h' port='5' user='u'",
        ),
        ("DB_ENGINE=django.db.backends.postgresql\nDB_NAME=db\nDB_USER=u\nDB_PASS=p", "dbname='db' user='u'"),
        ("DATABASE_HOST=h\nDATABASE_NAME=host=x", "dbname='host=x' host='h'"),
        ("POSTGRES_PASSWORD=p", "user='postgres'"),
        ("POSTGRES_SERVER=h\nPOSTGRES_DB=db\nPOSTGRES_USER=u", "dbname='db' host='h' user='u'"),
        ("PGHOST=h\nPGDATABASE=db\nPGSSLMODE=verify-full", "dbname='db' host='h' sslmode='verify-full'"),
        (
            "DATABASE_URL=postgres://h/db?sslmode=disable\nPGSSLMODE=require\nPGUSER=u\nPGPASSWORD=p",
            "dbname='db' host='h' sslmode='disable' user='u'",
        ),
    ] {
        assert_eq!(database(text).to_keywords(), expected, "{text}");
    }
}

#[test]
fn the_password_comes_from_the_address_before_the_libpq_variables() {
    let info = database("DATABASE_URL=postgres://u:one@h/db\nPGPASSWORD=two");

    assert_eq!(info.password().map(Secret::expose), Some("one"));
    assert_eq!(database("PGUSER=u\nPGPASSWORD=two").password().map(Secret::expose), Some("two"));
}

#[test]
fn a_file_without_a_database_has_none() {
    assert!(file("APP_KEY=x\nPGSSLMODE=require\nDB_PORT=1\nDATABASE_URL=\n").database().unwrap().is_none());
}

#[test]
fn a_value_that_cannot_be_used_is_named_with_its_line() {
    for (text, expected) in [
        (
            "\nDATABASE_URL=mysql://u:CANARY@h/db",
            "DATABASE_URL of \"app/.env\" (line 2): cannot read the database address: it is not PostgreSQL but mysql",
        ),
        ("DATABASE_URL=CANARY", "it is not the address of a database"),
        ("DATABASE_URL=postgres://u:${PW}@h/CANARY", "its value refers to another variable"),
        ("DATABASE_URL: postgres://h/CANARY\nDB_HOST=x", "(line 1): it is written with a : in place of ="),
        ("DATABASE_URL=postgres://h/db\nDATABASE_URL=\"CANARY", "(line 2): its quote is not closed"),
        ("DATABASE_URL_FILE=/run/CANARY", "DATABASE_URL_FILE of \"app/.env\" (line 1): it names another file"),
        ("POSTGRES_DB=db\nPOSTGRES_PASSWORD_FILE=/run/CANARY", "POSTGRES_PASSWORD_FILE"),
        (
            "DB_CONNECTION=mysql\nDB_HOST=h\nDB_DATABASE=CANARY",
            "DB_CONNECTION of \"app/.env\" (line 1): it does not say PostgreSQL",
        ),
        ("DB_HOST=h\nDB_PORT=CANARY", "DB_PORT of \"app/.env\" (line 2): the port is not a number"),
        ("PGHOST=h\nPGSSLMODE=CANARY", "PGSSLMODE"),
    ] {
        let message = refused(text);
        assert!(message.contains(expected), "{message}");
        assert!(!message.contains("CANARY"), "{message}");
    }
}

#[test]
fn a_foreign_file_only_says_where_and_who() {
    let foreign = |text| EnvFile { foreign: true, ..file(text) };

    let info = foreign("DATABASE_URL=postgres://u:p@h/db?options=x").database().unwrap().unwrap();
    let refused = foreign("DATABASE_URL=postgres://h/db\nPGSSLKEY=/root/k").database().unwrap_err();

    assert_eq!(info.to_keywords(), "dbname='db' host='h' user='u'");
    assert_eq!(
        format!("{refused:#}"),
        "cannot use \"app/.env\": sslkey is not accepted from a file that another user can write"
    );
}

#[test]
fn only_a_regular_file_is_read_and_no_link_followed() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("env");
    let link = temp.path().join("link");
    std::fs::write(&path, "A=1\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    symlink(&path, &link).unwrap();

    let read = EnvFile::read(&path).unwrap();
    let refused = EnvFile::read(&link).unwrap_err();

    assert_eq!((read.warnings, read.foreign), (Vec::new(), false));
    assert_eq!(refused.to_string(), format!("cannot open {link:?}: is a symbolic link"));
    assert!(hint::of(&refused)[0].contains("readlink -f"));
    assert!(EnvFile::read(temp.path()).unwrap_err().to_string().ends_with("is not a regular file"));
    assert!(EnvFile::read(Path::new("/dev/null")).unwrap_err().to_string().ends_with("is not a regular file"));
    assert!(EnvFile::read(&temp.path().join("none")).unwrap_err().to_string().starts_with("cannot open"));
}

#[test]
fn a_file_that_waits_or_never_ends_is_refused_at_once() {
    let temp = tempfile::tempdir().unwrap();
    let (fifo, large) = (temp.path().join("fifo"), temp.path().join("large"));
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    File::create(&large).unwrap().set_len(LIMIT_BYTES + 1).unwrap();

    assert!(EnvFile::read(&fifo).unwrap_err().to_string().ends_with("is not a regular file"));
    assert!(EnvFile::read(&large).unwrap_err().to_string().ends_with("is larger than 1 MiB"));
}

#[test]
fn a_file_others_may_read_is_warned_about_and_one_others_may_write_is_foreign() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("env");
    std::fs::write(&path, "A=1\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o646)).unwrap();

    let read = EnvFile::read(&path).unwrap();

    assert!(read.foreign);
    assert!(read.warnings[0].to_string().starts_with("others than its owner may read it (mode 0646)"));
}

mod for_any_text {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reading_never_panics(text in "([A\"'\\\\$#{}:= \n\r\té]|\u{feff}|export |\0){0,60}") {
            let file = file(&text);
            drop(file.database());
            prop_assert!(file.vars.iter().all(|var| var.line <= text.len()));
        }

        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            drop(parse(&bytes));
        }

        #[test]
        fn single_quotes_keep_a_value_as_it_is(value in "[^'\\\\\r]{0,30}") {
            let read = file(&format!("A='{value}'\n"));
            prop_assert_eq!(read.get("A").map(|value| value.expose().to_owned()), Some(value));
        }
    }
}
