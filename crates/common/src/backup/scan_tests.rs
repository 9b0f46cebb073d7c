use super::*;
use proptest::prelude::*;

const END: &str = "--\n-- PostgreSQL database dump complete\n--\n\n";

fn scan_in_pieces(dump: &[u8], piece: usize) -> Result<(Vec<Record>, Content)> {
    let mut scanner = Scanner::new(Kind::Database);
    let mut records = Vec::new();
    for piece in dump.chunks(piece.max(1)) {
        scanner.feed(piece)?;
        records.extend(scanner.records());
    }
    let content = scanner.finish()?;
    records.extend(scanner.records());
    Ok((records, content))
}

/// Scans whole and in pieces of 1, 2, 3 and 7 bytes, which must make no difference.
fn scan(dump: &str) -> Result<(Vec<Record>, Content)> {
    let whole = scan_in_pieces(dump.as_bytes(), usize::MAX).map_err(|error| format!("{error:#}"));
    for piece in [1, 2, 3, 7] {
        let pieces = scan_in_pieces(dump.as_bytes(), piece).map_err(|error| format!("{error:#}"));
        assert_eq!(pieces, whole, "in pieces of {piece}");
    }
    whole.map_err(anyhow::Error::msg)
}

fn tables(records: &[Record]) -> Vec<(String, u64)> {
    records
        .iter()
        .filter_map(|record| match record {
            Record::Table(table) => Some((format!("{}.{}", table.schema, table.name), table.rows)),
            _ => None,
        })
        .collect()
}

fn complete(body: &str) -> String {
    format!("SET client_encoding = 'UTF8';\n\n{body}\n{END}")
}

fn header(kind: &str, name: &str) -> String {
    format!("--\n-- Name: {name}; Type: {kind}; Schema: public; Owner: app\n--\n\n")
}

#[test]
fn rows_are_counted_per_table() {
    let dump = complete(
        "COPY public.a (x) FROM stdin;\n1\n2\n\\.\n\n\nCOPY public.\"we \"\"ird\" (x, \"y)\") FROM stdin;\n\\.\n",
    );

    let (records, content) = scan(&dump).unwrap();

    assert_eq!(tables(&records), [("public.a".to_owned(), 2), ("public.we \"ird".to_owned(), 0)]);
    assert_eq!((content.tables, content.rows, content.row_bytes), (2, 2, 4));
}

#[test]
fn a_table_without_columns_has_empty_lines_for_rows() {
    let (records, _) = scan(&complete("COPY public.z  FROM stdin;\n\n\n\n\\.\n")).unwrap();

    assert_eq!(tables(&records), [("public.z".to_owned(), 3)]);
}

#[test]
fn rows_that_look_like_sql_or_like_the_end_are_rows() {
    let rows = "COPY public.x FROM stdin;\n-- PostgreSQL database dump complete\n\\\\.\n\\.x\n\\N\n' \" $$ /* (\n";

    let (records, _) = scan(&complete(&format!("COPY public.t (a) FROM stdin;\n{rows}\\.\n"))).unwrap();

    assert_eq!(tables(&records), [("public.t".to_owned(), 6)]);
}

#[test]
fn text_in_function_bodies_strings_and_comments_is_no_copy() {
    let copy = "COPY public.phantom (a) FROM stdin;\n1\n\\.\n-- PostgreSQL database dump complete\n";
    let bodies = [
        format!("CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $_$\n{copy}$_$;\n"),
        format!("CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$\n{copy}$x$ $_$ $$;\n"),
        format!("COMMENT ON TABLE t IS 'it''s\n{copy}';\n"),
        format!("COMMENT ON TABLE t IS E'it\\'s \\\\\n{copy}';\n"),
        format!("COMMENT ON TABLE t IS E'a'\n 'b\\'\n{copy}';\n"),
        format!("CREATE TABLE \"a\n{copy}\"\"\" (x int);\n"),
        format!("SELECT 1 /* /* nested */\n{copy}*/;\n"),
        "SELECT 1 -- COPY x FROM stdin;\n;\n".to_owned(),
    ];
    for body in bodies {
        let dump = complete(&format!("{body}\nCOPY public.real (a) FROM stdin;\n1\n\\.\n"));

        let (records, _) = scan(&dump).unwrap_or_else(|error| panic!("{error:#}\n{dump}"));

        assert_eq!(tables(&records), [("public.real".to_owned(), 1)], "{dump}");
    }
}

#[test]
fn semicolons_in_parentheses_and_atomic_bodies_end_nothing() {
    let rule = "CREATE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO u VALUES (1); DELETE FROM v;);\n";
    let body = "CREATE OR REPLACE FUNCTION f(a int) RETURNS int LANGUAGE sql\nBEGIN ATOMIC\n \
                SELECT CASE WHEN a > 1 THEN 2 ELSE 3 END;\n SELECT 4;\nEND;\n";
    let dump = complete(&format!("{}{rule}{}{body}", header("RULE", "r"), header("FUNCTION", "f(integer)")));

    let (records, _) = scan(&dump).unwrap();

    let statements: Vec<_> = records
        .iter()
        .filter_map(|record| match record {
            Record::Entry(entry) => Some((entry.kind.as_str(), entry.statements)),
            _ => None,
        })
        .collect();
    assert_eq!(statements, [("SETTINGS", 1), ("RULE", 1), ("FUNCTION", 1)]);
}

#[test]
fn entries_sequences_and_large_objects_are_read() {
    let dump = complete(&format!(
        "{}CREATE TABLE public.t (a int);\nALTER TABLE public.t OWNER TO app;\n\n{}\
         SELECT pg_catalog.setval('public.\"T''_id seq\"', -42, false);\n\n{}BEGIN;\n\nSELECT pg_catalog.lo_open('16401', 131072);\n\
         SELECT pg_catalog.lowrite(0, '\\x0102');\nSELECT pg_catalog.lowrite(0, '\\x03');\nSELECT pg_catalog.lo_close(0);\n\nCOMMIT;\n",
        header("TABLE", "t; Type: INDEX; Schema: x"),
        header("SEQUENCE SET", "T"),
        header("BLOBS", "BLOBS"),
    ));

    let (records, content) = scan(&dump).unwrap();

    assert_eq!(content.entries, 4);
    assert!(records.iter().any(|record| matches!(record, Record::Entry(entry)
        if entry.kind == "TABLE" && entry.name == "t; Type: INDEX; Schema: x" && entry.statements == 2 && entry.owner == "app")));
    assert!(records.contains(&Record::Sequence(Sequence {
        schema: "public".into(),
        name: "T'_id seq".into(),
        value: -42,
        called: false
    })));
    assert!(
        records
            .iter()
            .any(|record| matches!(record, Record::LargeObject(object) if object.oid == 16401 && object.bytes == 3))
    );
}

fn entry_digest(dump: &str, name: &str) -> String {
    let (records, _) = scan(dump).unwrap();
    records
        .into_iter()
        .find_map(|record| match record {
            Record::Entry(entry) if entry.name == name => Some(entry.digest),
            _ => None,
        })
        .unwrap()
}

#[test]
fn a_tablespace_counts_for_every_entry_that_follows_and_its_statement_for_none() {
    let entry = |name: &str| format!("{}CREATE TABLE public.t (a int);\n\n", header("TABLE", name));
    let set = |value: &str| format!("SET default_tablespace = {value};\n\n");
    let plain = complete(&(set("''") + &entry("a") + &entry("b")));
    let moved = complete(&(set("''") + &entry("a") + &set("fast") + &entry("b")));

    assert_eq!(entry_digest(&plain, "a"), entry_digest(&moved, "a"));
    assert_ne!(entry_digest(&plain, "b"), entry_digest(&moved, "b"));
}

#[test]
fn the_digest_of_a_table_does_not_depend_on_the_order_of_rows_but_on_each() {
    let digest =
        |rows: &str| match &scan(&complete(&format!("COPY public.t (a) FROM stdin;\n{rows}\\.\n"))).unwrap().0[..] {
            [.., Record::Table(table), _] | [.., Record::Table(table)] => table.digest.clone(),
            other => panic!("{other:?}"),
        };

    assert_eq!(digest("1\n2\n3\n"), digest("3\n1\n2\n"));
    assert_ne!(digest("1\n2\n3\n"), digest("1\n2\n4\n"));
    assert_ne!(digest("1\n1\n"), digest("1\n"));
}

#[test]
fn restrict_must_be_matched() {
    let with = |front: &str, back: &str| format!("\\restrict {front}\n\nSELECT 1;\n{END}\\unrestrict {back}\n\n");

    assert!(scan(&with("Abc1", "Abc1")).is_ok());
    assert!(scan(&with("Abc1", "Abc2")).is_err());
    assert!(scan(&format!("\\restrict Abc1\n\nSELECT 1;\n{END}")).is_err());
}

#[test]
fn psql_commands_are_refused_wherever_they_stand() {
    for text in
        ["\\! id\n", "\\connect other\n", "\\unrestrict `id`\n", "SELECT 1 \\! id\n;\n", "\\copy t from program 'id'\n"]
    {
        assert!(scan(&complete(text)).is_err(), "{text}");
    }
    for text in ["COMMENT ON TABLE t IS '\\! id';\n", "SELECT $$\\! id$$;\n", "SELECT E'\\\\';\n", "SELECT \"\\!\";\n"]
    {
        assert!(scan(&complete(text)).is_ok(), "{text}");
    }
}

#[test]
fn a_copy_from_anywhere_else_is_refused() {
    for text in ["COPY t FROM PROGRAM 'id';\n", "COPY public.t FROM '/etc/passwd';\n", "COPY public.t TO stdout;\n"] {
        let error = scan(&complete(text)).unwrap_err();

        assert!(format!("{error:#}").contains("a COPY that is not FROM stdin"), "{error:#}");
    }
}

#[test]
fn every_cut_is_found() {
    let dump = complete(&format!(
        "{}COPY public.t (a) FROM stdin;\n1\n2\n\\.\n\n{}CREATE TABLE public.t (a text DEFAULT 'x;y');\n",
        header("TABLE DATA", "t"),
        header("TABLE", "t"),
    ));
    scan(&dump).unwrap();

    let last =
        dump.find("-- PostgreSQL database dump complete").unwrap() + "-- PostgreSQL database dump complete".len();
    for cut in 0..last {
        let result = scan_in_pieces(&dump.as_bytes()[..cut], usize::MAX);
        assert!(result.is_err(), "cut at {cut}: {:?}", &dump[..cut]);
    }
}

#[test]
fn statements_behind_the_end_marker_make_it_no_end() {
    let error = scan(&format!("{}SELECT 1;\n", complete("SELECT 1;\n"))).unwrap_err();

    assert!(error.to_string().contains("end marker is missing"), "{error:#}");
}

#[test]
fn a_dump_with_other_quotes_is_refused() {
    assert!(scan(&complete("SET standard_conforming_strings = off;\n")).is_err());
}

#[test]
fn a_dump_of_all_databases_may_connect_where_it_is_not_ours() {
    let dump = format!(
        "--\n-- PostgreSQL database cluster dump\n--\n\n--\n-- Roles\n--\n\nCREATE ROLE app;\n\n\\connect app\n\n{}\n{}\
         --\n-- PostgreSQL database cluster dump complete\n--\n\n",
        header("TABLE DATA", "t"),
        complete("COPY public.t (a) FROM stdin;\n1\n\\.\n"),
    );
    let read = |mut scanner: Scanner| scanner.feed(dump.as_bytes()).and_then(|()| scanner.finish());

    assert_eq!(read(Scanner::for_foreign(Kind::Globals)).unwrap().rows, 1);
    assert!(read(Scanner::new(Kind::Globals)).is_err());
}

#[test]
fn globals_have_their_own_end_and_headings() {
    let dump = b"--\n-- PostgreSQL database cluster dump\n--\n\n\\restrict k\n\nSET client_encoding = 'UTF8';\n\n--\n-- Roles\n--\n\n\
        CREATE ROLE app;\n\n\\unrestrict k\n\n--\n-- PostgreSQL database cluster dump complete\n--\n\n";
    let mut scanner = Scanner::new(Kind::Globals);

    scanner.feed(dump).unwrap();
    let content = scanner.finish().unwrap();

    assert_eq!(content.entries, 2);
}

proptest! {
    #[test]
    fn no_input_makes_it_panic_or_depend_on_the_pieces(
        text in "([ -~\n]|\\$\\$|--|'|\"|/\\*|\\*/|;|COPY a\\.b FROM stdin;\n|\\\\\\.\n){0,60}",
        piece in 1_usize..20,
    ) {
        let whole = scan_in_pieces(text.as_bytes(), usize::MAX).map_err(|error| format!("{error:#}"));
        let pieces = scan_in_pieces(text.as_bytes(), piece).map_err(|error| format!("{error:#}"));
        prop_assert_eq!(whole, pieces);
    }

    #[test]
    fn any_row_is_one_row(row in "[ -~]{0,40}") {
        prop_assume!(row != "\\.");
        let dump = complete(&format!("COPY public.t (a) FROM stdin;\n{row}\n\\.\n"));
        let (_, content) = scan_in_pieces(dump.as_bytes(), 5).unwrap();
        prop_assert_eq!(content.rows, 1);
    }
}
