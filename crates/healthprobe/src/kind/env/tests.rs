use super::*;
use proptest::prelude::*;
use std::fmt::Write as _;

fn wanted(words: &[&str]) -> Wanted {
    let mut options = Options::new(words.iter().map(|&word| word.to_owned()).collect(), Origin::Operator);
    let wanted = Wanted::parse(&mut options);
    let mistakes = options.finish();
    assert!(mistakes.is_empty(), "{mistakes:?}");
    wanted
}

fn judged(text: &str, words: &[&str]) -> (Status, String) {
    let (file, wanted) = (file(text), wanted(words));
    let found = told(&file, &findings(&file, None, &wanted), &wanted);
    let mut said = String::new();
    for part in &found.parts {
        writeln!(said, "{} {}: {}", part.status.word(), part.name, part.message).unwrap();
    }
    (found.verdict(), said)
}

const GOOD: &str = "NODE_ENV=production\nPORT=3000\nADMIN_EMAIL=ops@shop.com\nDATABASE_URL='postgres://app:k3Jd9sQwX@db/app?sslmode=require'\n\
    JWT_SECRET=f81d4fae7dec11d0a76500a0c91e6bf6\n";

#[test]
fn a_good_file_is_well() {
    let words = [
        "required=PORT,JWT_SECRET",
        "format=PORT:port,*_EMAIL:email",
        "oneof=NODE_ENV:production|staging",
        "min-length=JWT_SECRET:32",
    ];

    assert_eq!(judged(GOOD, &words), (Status::Ok, String::new()));
}

#[test]
fn every_objection_has_its_line() {
    let text = "PORT=99999\nADMIN_EMAIL=nobody\nNODE_ENV=prod\nJWT_SECRET=f81d4fae7dec11d0a76500\nEMPTY=\nPORT=0\n";
    let words = [
        "required=EMPTY,GONE,ALSO_GONE",
        "format=PORT:port,ADMIN_EMAIL:email",
        "oneof=NODE_ENV:production|staging",
        "min-length=*_SECRET:32",
    ];

    let (status, said) = judged(text, &words);

    assert_eq!(status, Status::Critical);
    assert_eq!(
        said,
        "CRITICAL required: ALSO_GONE, GONE are missing\n\
         CRITICAL line 2: ADMIN_EMAIL is no e-mail address\n\
         CRITICAL line 3: NODE_ENV is none of production, staging\n\
         CRITICAL line 4: JWT_SECRET is shorter than the 32 characters that are asked for\n\
         CRITICAL line 5: EMPTY is empty\n\
         CRITICAL line 6: PORT is set a second time, first on line 1: readers do not agree which counts; PORT is no port (1 to 65535)\n"
    );
}

#[test]
fn strict_turns_doubts_into_faults() {
    let text = "DEBUG=true\n";

    assert_eq!(judged(text, &[]).0, Status::Warning);
    assert_eq!(judged(text, &["strict"]).0, Status::Critical);
    assert_eq!(judged(text, &["ignore=DEBUG"]).0, Status::Ok);
    assert_eq!(judged(text, &["production=no"]).0, Status::Ok);
}

#[test]
fn readers_that_do_not_read_the_file_are_not_asked() {
    let text = "URL=https://a.shop.com/?a=b&c=d\n";

    assert_eq!(judged(text, &[]).0, Status::Warning);
    assert!(judged(text, &[]).1.starts_with("WARNING line 1: bash reads this line differently"));
    assert_eq!(judged(text, &["readers=systemd,compose"]).0, Status::Ok);
}

#[test]
fn who_may_read_it_is_told() {
    let status = |mode, words: &[&str]| {
        let (file, wanted) = (EnvFile { mode, ..file("A=1\n") }, wanted(words));
        told(&file, &findings(&file, None, &wanted), &wanted).verdict()
    };

    assert_eq!(
        [0o600, 0o640, 0o644, 0o666].map(|mode| status(mode, &[])),
        [Status::Ok, Status::Ok, Status::Warning, Status::Critical]
    );
    assert_eq!(status(0o640, &["mode=0600"]), Status::Warning);
    assert_eq!(status(0o660, &["mode=0660"]), Status::Ok);
}

#[test]
fn what_the_example_has_is_required_and_its_secrets_are_not_to_be_kept() {
    let example = file("PORT=1\nAPP_SECRET=f81d4fae7dec11d0a76500a0\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC=\n");
    let file = file("APP_SECRET=f81d4fae7dec11d0a76500a0\n");
    let wanted = wanted(&[]);

    let found: Vec<_> = findings(&file, Some(&example), &wanted).iter().map(Finding::words).collect();

    assert_eq!(found, ["a variable, PORT are missing", "APP_SECRET has the value of the example"]);
}

/// THREATS H9: good, malformed, where readers differ; a key that lost its quotes.
#[test]
fn no_value_is_ever_told() {
    const CANARY: &str = "CaNaRy7f3k9";
    let shapes = [
        "A_SECRET=%\n",
        "A_SECRET='%\n",
        "A_SECRET=\"%\" tail\n",
        "%\n",
        "%=x\n",
        "%: x\n",
        "export % = 1\n",
        "A=% # %\n",
        "A=x %\n",
        "A='%'%\n",
        "A=${%}\n",
        "A=p$%\n",
        "DATABASE_URL=postgres://u:%@h.shop.com/d?%=1\n",
        "DATABASE_URL=postgres://%:p/w@h/d\n",
        "DATABASE_URL=postgresql://u:p@h:%/d\n",
        "U=http://%@a.shop.com/%\n",
        "PORT=%\nE=%\nJ=%\n",
        "A_SECRET=%\nB_SECRET=%\n",
        "KEY=-----BEGIN PRIVATE KEY-----\n%%==\n-----END PRIVATE KEY-----\n",
        "A=<%>\n",
        "A=changeme%\n",
        "A=%xxxxxx\n",
        "%%%=\n",
        "DB_USER=%\nDB_PASSWORD=%\n",
        "A=\u{0}%\n",
        "\u{feff}%=1\r\n",
    ];
    for shape in shapes {
        let text = shape.replace('%', CANARY);
        let (file, wanted) =
            (file(&text), wanted(&["required=Z", "format=*:port,PORT:email", "oneof=E:a|b", "min-length=*:9999"]));

        let found = told(&file, &findings(&file, None, &wanted), &wanted);

        let shown = format!("{found:?}");
        assert!(!shown.contains(CANARY) && !shown.contains(&CANARY.to_uppercase()), "{shape}: {shown}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_or_tell_a_value(
        before in "(\\PC|\n|\r|=|'|\"|\\$|:|/|@|%|[A-Z_]){0,60}",
        name in "[A-Z]{1,8}(_SECRET|_URL|_PASSWORD|_ENV|)",
        around in "(postgres://u:%@h/d|https://%@a.com|'%'|\"%\"|<%>|%|\\$\\{%\\})"
    ) {
        let text = format!("{before}\n{name}={}\n", around.replace('%', "CaNaRy7f3k9"));
        let (file, wanted) = (file(&text), wanted(&["required=Z", "format=*:port", "min-length=*:999"]));

        let found = told(&file, &findings(&file, None, &wanted), &wanted);

        let shown = format!("{found:?}");
        prop_assert!(!shown.contains("CaNaRy7f3k9"), "{}", shown);
    }
}
