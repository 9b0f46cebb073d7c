use super::*;
use common::status::Status;

fn options(line: &str) -> Options {
    Options::new(common::words::list(line).unwrap(), Origin::Operator)
}

fn said(options: Options) -> Vec<String> {
    options.finish().iter().map(|error| format!("{error:#}")).collect()
}

#[test]
fn what_nobody_asked_for_names_what_is_near() {
    let mut given = options("timout=5s");
    given.duration("timeout");

    let mistakes = given.finish();

    assert_eq!(mistakes[0].to_string(), r#"unknown option "timout"; did you mean timeout?"#);
    assert_eq!(hint::of(&mistakes[0]), ["known: warning, critical, timeout"]);
}

#[test]
fn every_mistake_of_a_line_is_told() {
    let mut given = options("a=1 a=2 b c=x d!=1 = strict=perhaps");
    given.text("a");
    given.text("b");
    given.number("c", 1..=5);
    given.text("d");
    given.flag("strict");

    assert_eq!(
        said(given),
        [
            "a= is given 2 times",
            "b needs a value: b=…",
            r#"c=: "x" is no whole number"#,
            "d is given with =, not with !=",
            "strict is yes or no",
            r#""=" is no option: an option is KEY=VALUE, without blanks around the ="#,
        ]
    );
}

#[test]
fn a_condition_takes_the_place_of_the_defaults_of_its_quantity() {
    let status = |line: &str, value: f64| {
        let mut given = options(line);
        let thresholds = given.main_thresholds("used", Unit::Percent, ">85%,95%");
        assert_eq!(said(given), [""; 0]);
        thresholds.status(value)
    };

    assert_eq!(status("", 90.0), Status::Warning);
    assert_eq!(status("used>97%", 96.0), Status::Ok);
    assert_eq!(status("critical=used>97%", 96.0), Status::Warning);
    assert_eq!(status("critical=97", 96.0), Status::Warning);
    assert_eq!(status("warning=~:", 90.0), Status::Ok);
    assert_eq!(status("used=20:80", 10.0), Status::Critical);
}

#[test]
fn a_quantity_that_is_not_measured_is_a_mistake() {
    let mut given = options("warning=sued>1");
    given.thresholds("used", Unit::Percent, "");

    assert_eq!(said(given), [r#"warning=sued>1: "sued" is not measured here"#]);

    let mut given = options("critical=1,10");
    given.main_thresholds("used", Unit::Count, "");
    assert_eq!(said(given), [r#"critical=1,10: cannot read "1,10" as a range: "1,10" is no number"#]);

    assert_eq!(said(options("warning=5")), ["warning=5: nothing here is one number; name the quantity"]);
}

#[test]
fn several_quantities_stand_in_one_warning() {
    let mut given = options("warning=used>80%,inodes>90%");
    let used = given.main_thresholds("used", Unit::Percent, "");
    let inodes = given.thresholds("inodes", Unit::Percent, "");

    assert_eq!([used.status(85.0), inodes.status(85.0)], [Status::Warning, Status::Ok]);
    assert!(said(given).is_empty());
}

#[test]
fn columns_of_a_query_have_thresholds_of_their_own() {
    let mut given = options("failed>5 warning=waiting>3 name=x");
    given.text("name");

    let names: Vec<_> = given.other_thresholds(|_| Unit::Count).into_iter().map(|(name, _)| name).collect();

    assert_eq!(names, ["failed", "waiting"]);
    assert!(said(given).is_empty());
}

#[test]
fn words_before_the_first_option_are_the_rest() {
    let mut given = options("-w 5 --x=1 /a?b=c 'a b=c' timeout=5s");

    assert_eq!(given.rest(), ["-w", "5", "--x=1", "/a?b=c", "a b=c"]);
    assert_eq!(given.duration("timeout"), Some(Duration::from_secs(5)));
}

#[test]
fn a_pipe_names_no_local_file() {
    let mut given = Options::new(vec!["query-file=/etc/shadow".into()], Origin::Pipe);

    assert_eq!(given.file("query-file"), None);
    assert_eq!(said(given), ["query-file= is not taken from standard input"]);
}
