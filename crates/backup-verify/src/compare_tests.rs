use super::*;
use common::backup::index::{Entry, LargeObject, Sequence, Table};

fn table(name: &str, rows: u64, digest: u128) -> Record {
    Record::Table(Table {
        schema: "public".into(),
        name: name.into(),
        columns: "(id)".into(),
        rows,
        bytes: rows * 2,
        offset: u64::try_from(digest).unwrap(),
        digest: format!("{digest:032x}"),
    })
}

fn entry(kind: &str, name: &str, owner: &str, digest: &str) -> Record {
    Record::Entry(Entry {
        kind: kind.into(),
        schema: "public".into(),
        name: name.into(),
        owner: owner.into(),
        offset: 7,
        statements: 1,
        digest: digest.into(),
    })
}

fn sequence(value: i64, called: bool) -> Record {
    Record::Sequence(Sequence { schema: "public".into(), name: "s".into(), value, called })
}

fn exact() -> Rules {
    Rules { statements: Statements::Exact, rows: Rows::Exact, configuration: BTreeMap::new() }
}

fn compared(recorded: &[Record], found: &[Record], rules: &Rules) -> Differences {
    let mut comparison = Comparison::default();
    recorded.iter().for_each(|record| comparison.take(Side::Recorded, record.clone()).unwrap());
    found.iter().for_each(|record| comparison.take(Side::Found, record.clone()).unwrap());
    comparison.finish(rules, &BTreeSet::new())
}

fn found(recorded: &[Record], found: &[Record]) -> Vec<String> {
    compared(recorded, found, &exact()).found
}

#[test]
fn neither_order_nor_place_matters() {
    let mut moved = table("t", 3, 5);
    if let Record::Table(table) = &mut moved {
        table.offset = 99;
    }
    let index = entry("INDEX", "i", "app", "aa");

    let differences =
        compared(&[table("t", 3, 5), index.clone(), sequence(7, true)], &[sequence(7, true), index, moved], &exact());

    assert_eq!(differences, Differences::default());
}

#[test]
fn what_is_lost_is_named_in_the_order_of_kinds_and_names() {
    let object = |digest: &str| Record::LargeObject(LargeObject { oid: 16401, bytes: 4, digest: digest.into() });

    let found = found(
        &[
            entry("INDEX", "i", "app", "aa"),
            entry("FUNCTION", "f(integer)", "app", "aa"),
            entry("VIEW", "v", "app", "aa"),
            entry("ACL", "TABLE t", "app", "aa"),
            table("t", 42, 5),
            table("u", 2, 5),
            sequence(42, true),
            object("aa"),
        ],
        &[
            entry("FUNCTION", "f(integer)", "app", "bb"),
            entry("VIEW", "v", "evil", "aa"),
            table("t", 41, 4),
            table("u", 2, 6),
            sequence(7, true),
            object("bb"),
        ],
    );

    assert_eq!(
        found,
        [
            "table public.t holds 41 rows, but 42 were recorded",
            "table public.u holds 2 rows as recorded, but not the same ones",
            "sequence public.s stands at 7, not 42",
            "large object 16401 differs",
            "ACL on TABLE t in public is missing",
            "FUNCTION public.f(integer) differs",
            "INDEX public.i is missing",
            "VIEW public.v belongs to evil, not to app",
        ]
    );
}

#[test]
fn a_table_that_is_gone_is_told_once_and_one_that_is_new_as_well() {
    let of =
        |name: &str| [entry("TABLE", name, "app", "aa"), entry("TABLE DATA", name, "app", "aa"), table(name, 1, 1)];

    assert_eq!(found(&of("t"), &of("u")), ["table public.t is missing", "table public.u was not recorded"]);
}

#[test]
fn a_value_that_was_not_handed_out_is_another_one() {
    let entries = |digest| entry("SEQUENCE SET", "s", "app", digest);

    let found = found(&[sequence(1, false), entries("aa")], &[sequence(1, true), entries("bb")]);

    assert_eq!(found, ["sequence public.s stands at 1 as recorded, but has handed it out"]);
}

#[test]
fn things_of_one_name_are_paired_by_their_owner() {
    let before =
        [entry("OPERATOR", "+", "a", "11"), entry("OPERATOR", "+", "b", "22"), entry("OPERATOR", "+", "c", "33")];
    let now = [entry("OPERATOR", "+", "b", "22"), entry("OPERATOR", "+", "a", "99")];

    // Of c and a changed a, one is missing and one differs; the pairing by owner says which.
    assert_eq!(found(&before, &now), ["OPERATOR public.+ differs", "OPERATOR public.+ is missing"]);
}

#[test]
fn rows_that_went_into_another_partition_are_no_difference() {
    let before = [table("root", 2, 10), table("root", 3, 20)];
    let now = [table("root", 1, 4), table("root", 4, 26)];

    let differences = compared(&before, &now, &exact());

    assert_eq!(differences.found, Vec::<String>::new());
    assert_eq!(differences.notes, ["table public.root has its 5 rows in other partitions"]);
}

#[test]
fn another_major_version_may_word_statements_its_own_way_but_not_lose_one() {
    let rules = Rules { statements: Statements::Present, ..exact() };
    let before = [entry("VIEW", "v", "app", "aa"), entry("INDEX", "i", "app", "aa"), table("t", 2, 5)];
    let now = [entry("VIEW", "v", "app", "bb"), entry("CONSTRAINT", "c", "app", "aa"), table("t", 2, 6)];

    let differences = compared(&before, &now, &rules);

    let rows = "table public.t holds 2 rows as recorded, but not the same ones";
    assert_eq!(differences.found, [rows, "INDEX public.i is missing"]);
    assert_eq!(differences.notes, ["CONSTRAINT public.c was not recorded"]);
    assert_eq!(differences.reworded, ["VIEW public.v"]);
}

#[test]
fn another_minor_version_leaves_a_doubt_about_wording_and_about_nothing_else() {
    let rules = Rules { statements: Statements::Likely, ..exact() };
    let before = [entry("VIEW", "v", "app", "aa"), entry("INDEX", "i", "app", "aa")];
    let now = [entry("VIEW", "v", "app", "bb"), entry("INDEX", "new", "app", "aa")];

    let differences = compared(&before, &now, &rules);

    assert_eq!(differences.found, ["INDEX public.i is missing", "INDEX public.new was not recorded"]);
    assert_eq!(differences.doubts, ["VIEW public.v is worded differently"]);
}

#[test]
fn a_dump_without_a_known_time_zone_is_judged_by_the_number_of_its_rows() {
    let rules = Rules { statements: Statements::Present, rows: Rows::Number, ..exact() };

    let differences = compared(&[table("t", 2, 5), table("u", 2, 5)], &[table("t", 2, 6), table("u", 1, 5)], &rules);

    assert_eq!(differences.found, ["table public.u holds 1 row, but 2 were recorded"]);
    assert_eq!(differences.doubts, ["table public.t holds 2 rows, which may not be the same ones"]);
}

#[test]
fn an_extension_may_add_to_its_own_configuration_but_not_lose_any() {
    let configuration = [(("public".to_owned(), "t".to_owned()), "geo".to_owned())].into();
    let rules = Rules { configuration, ..exact() };

    let more = compared(&[table("t", 2, 5)], &[table("t", 9, 6)], &rules);
    let fewer = compared(&[table("t", 2, 5)], &[table("t", 1, 6)], &rules);

    assert_eq!(more.found, Vec::<String>::new());
    assert_eq!(more.notes, ["table public.t is configuration that extension geo fills itself: 9 rows, 2 recorded"]);
    assert_eq!(fewer.found, ["table public.t holds 1 row, but 2 were recorded"]);
}

#[test]
fn the_text_shows_ten_and_says_how_many_more_there_are() {
    let list: Vec<String> = (0..12).map(|n| n.to_string()).collect();

    assert_eq!(wording::first(&list), "0; 1; 2; 3; 4; 5; 6; 7; 8; 9; and 2 more");
    assert_eq!(wording::first(&list[..1]), "0");
}

#[test]
fn an_entry_that_reads_differently_is_looked_at_again_unless_it_has_lost_a_statement_or_its_owner() {
    let mut fewer = entry("TABLE", "t", "app", "bb");
    if let Record::Entry(entry) = &mut fewer {
        entry.statements = 0;
    }
    let mut comparison = Comparison::default();
    for (side, digest) in [(Side::Recorded, "aa"), (Side::Found, "bb")] {
        comparison.take(side, entry("VIEW", "v", "app", digest)).unwrap();
        comparison.take(side, entry("INDEX", &format!("only in {digest}"), "app", digest)).unwrap();
    }
    comparison.take(Side::Recorded, entry("TABLE", "t", "app", "aa")).unwrap();
    comparison.take(Side::Found, fewer).unwrap();
    comparison.take(Side::Recorded, entry("VIEW", "w", "app", "aa")).unwrap();
    comparison.take(Side::Found, entry("VIEW", "w", "evil", "bb")).unwrap();

    let unclear = comparison.unclear(&exact());
    let differences = comparison.finish(&exact(), &unclear);

    assert_eq!(unclear.iter().map(wording::name).collect::<Vec<_>>(), ["VIEW public.v"]);
    assert_eq!(differences.reworded, ["VIEW public.v"]);
    assert_eq!(differences.found.len(), 4, "{differences:?}");
}
