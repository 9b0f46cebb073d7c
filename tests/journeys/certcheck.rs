//! certcheck against real servers, in every format, as an administrator runs it.

use std::fs;

use harness::{Authority, Files, Postgres, Ran, Sandbox, Serving, Tool};

/// certcheck, trusting the authority of the tests.
pub fn certcheck(dir: &Sandbox) -> Tool {
    dir.tool("certcheck").args(["--no-config", "--trust-roots"]).arg(Authority::shared().root())
}

/// What it printed, with DATE and PORT for what is never the same.
pub fn said(ran: &Ran) -> String {
    let mut text = String::new();
    for word in ran.stdout_text().split_inclusive([' ', ';', '\n', ')']) {
        let bare = word.trim_end_matches([' ', ';', '\n', ')']);
        let shape: String = bare.chars().map(|c| if c.is_ascii_digit() { 'd' } else { c }).collect();
        match shape.as_str() {
            "dddd-dd-ddTdd:dd:ddZ" => text.push_str(&word.replace(bare, "DATE")),
            _ => text.push_str(word),
        }
    }
    text
}

fn good(dir: &Sandbox) -> Files {
    Authority::shared().leaf("a.test").names(["DNS:a.test", "DNS:*.w.test", "IP:127.0.0.1"]).write(dir.path(), "good")
}

const WHO: &str = "60d left, until DATE; a.test by nightshift test intermediate\n";

#[test]
fn servers_and_files_are_told_in_the_order_given() {
    let dir = Sandbox::new();
    let files = good(&dir);
    let server = Serving::openssl(&dir, &files, &[]);
    let here = format!("127.0.0.1:{}", server.port());

    let ran = certcheck(&dir).args([&here, "good.chain.pem", "127.0.0.1:1", "good.pem"]).run().stderr_is("").code(2);

    let refused = "cannot connect to 127.0.0.1:1: Connection refused (os error 111)";
    assert_eq!(
        said(&ran),
        format!("OK {here}: {WHO}OK good.chain.pem: {WHO}CRITICAL 127.0.0.1:1: {refused}\nOK good.pem: {WHO}")
    );
}

#[test]
fn lists_have_options_for_each_line() {
    let dir = Sandbox::new();
    let server = Serving::openssl(&dir, &good(&dir), &[]);
    let list = format!(
        "# a comment\n\na.test connect=127.0.0.1:{port} warning=61d\n\"x.w.test\"  connect=127.0.0.1:{port} # why\n\
         127.0.0.1:{port} host=b.test\n",
        port = server.port()
    );
    fs::write(dir.join("list"), &list).unwrap();
    let expected = format!(
        "WARNING a.test: {WHO}OK x.w.test: {WHO}CRITICAL 127.0.0.1:{}: 60d left, until DATE; it is not for b.test but for \
         a.test, *.w.test, 127.0.0.1; a.test by nightshift test intermediate\n",
        server.port()
    );

    let from_file = certcheck(&dir).args(["--targets", "list"]).run().stderr_is("").code(2);
    let from_pipe = certcheck(&dir).arg("-").stdin_bytes(list).run().stderr_is("").code(2);

    assert_eq!(said(&from_file), expected);
    assert_eq!(said(&from_pipe), expected);
}

#[test]
fn a_bad_line_costs_itself_and_a_bad_list_the_run() {
    let dir = Sandbox::new();
    let _files = good(&dir);

    let ran = certcheck(&dir).arg("-").stdin_bytes("good.pem\na.test wrning=1d\ngood.pem key=good.key\n").run().code(3);

    assert_eq!(
        said(&ran),
        format!(
            "OK good.pem: {WHO}UNKNOWN a.test: line 2: unknown option \"wrning\"; there are warning, critical, host, connect, \
             served-by, key, password-file, trust and timeout\n  hint: write HOST:PORT, starttls:PROTOCOL:HOST:PORT, \
             unix:PATH, or a path with a slash\nUNKNOWN good.pem: line 3: key= is not taken from standard input; put the line \
             into a file for --targets\n  hint: write HOST:PORT, starttls:PROTOCOL:HOST:PORT, unix:PATH, or a path with a \
             slash\n"
        )
    );
    certcheck(&dir).arg("-").run().stderr_has("standard input names no target").code(3);
    fs::write(dir.join("open"), "a.test\n").unwrap();
    dir.program("chmod").args(["666", "open"]).run().code(0);
    certcheck(&dir).args(["--targets", "open"]).run().stderr_has("can be written by others").code(3);
}

#[test]
fn quiet_is_silent_when_all_is_well() {
    let dir = Sandbox::new();
    let server = Serving::openssl(&dir, &good(&dir), &[]);
    let here = format!("127.0.0.1:{}", server.port());

    certcheck(&dir).args(["-q", &here, "good.pem"]).run().stdout_is("").stderr_is("").code(0);
    certcheck(&dir).args(["-q", "-w", "61d", &here]).run().stdout_has("WARNING ").code(1);
}

#[test]
fn a_terminal_shows_the_soonest_first_in_columns() {
    let dir = Sandbox::new();
    let _files = good(&dir);
    let _late = Authority::shared().leaf("late.test").days(-89, 1).write(dir.path(), "late");
    let command = format!("{} --no-config good.pem late.pem nosuch.pem", harness::tool_path("certcheck").display());

    let ran = dir.program("script").args(["-qec", &command, "/dev/null"]).env("NO_COLOR", "1").run();

    let text = ran.stdout_text().replace("\r\n", "\n");
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("CRITICAL  nosuch.pem  ") && lines[0].contains("No such file"), "{text}");
    assert!(
        lines[1].starts_with("CRITICAL  late.pem    1d   20")
            && lines[1].ends_with("  late.test by nightshift test intermediate"),
        "{text}"
    );
    assert!(lines[2].starts_with("OK        good.pem    60d  20"), "{text}");
}

#[test]
fn json_has_the_facts_and_every_certificate() {
    let dir = Sandbox::new();
    let server = Serving::openssl(&dir, &good(&dir), &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"]);

    let ran = certcheck(&dir).args(["--format", "json", &format!("127.0.0.1:{}", server.port())]).run().code(0);

    let object: serde_json::Value = serde_json::from_str(ran.stdout_text()).unwrap();
    assert_eq!(object["verified"], true);
    assert_eq!(object["tls_version"], "TLS 1.2");
    assert_eq!(object["cipher"], "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384");
    assert_eq!(object["public_key"], "EC P-256");
    assert_eq!(object["signature"], "sha256WithRSAEncryption");
    assert_eq!(object["names"], serde_json::json!(["a.test", "*.w.test", "127.0.0.1"]));
    assert_eq!(object["certificates"].as_array().unwrap().len(), 2);
    let serial = dir.program("openssl").args(["x509", "-noout", "-serial", "-in", "good.pem"]).run();
    let ours = object["serial"].as_str().unwrap().replace(':', "");
    assert_eq!(serial.stdout_text().trim(), format!("serial={ours}"));
}

#[test]
fn prometheus_names_target_subject_and_serial() {
    let dir = Sandbox::new();
    let _files = good(&dir);

    let tool = certcheck(&dir).args(["--write", "prometheus:out.prom", "good.chain.pem", "good.chain.pem"]);
    tool.run().code(0);

    let text = fs::read_to_string(dir.join("out.prom")).unwrap();
    let series: Vec<_> =
        text.lines().filter(|line| line.starts_with("certcheck_not_after_timestamp_seconds{")).collect();
    assert_eq!(series.len(), 2, "a target that is there twice gives each series once\n{text}");
    assert!(series[0].starts_with(
        "certcheck_not_after_timestamp_seconds{target=\"good.chain.pem\",subject=\"CN=a.test\",serial=\""
    ));
    let end = dir.program("date").args(["-d", "60 days", "+%s"]).run();
    let (end, told): (i64, i64) =
        (end.stdout_text().trim().parse().unwrap(), series[0].rsplit(' ').next().unwrap().parse().unwrap());
    assert!((end..end + 700).contains(&told), "{told} {end}");
}

#[test]
fn nagios_has_one_line_with_the_time_left() {
    let dir = Sandbox::new();
    let _files = good(&dir);

    let ran = certcheck(&dir).args(["--format", "nagios", "good.pem"]).run().code(0);

    let text = said(&ran);
    assert!(
        text.starts_with(
            "CERTCHECK OK - good.pem: 60d left, until DATE; a.test by nightshift test intermediate | 'left_seconds'=51"
        ),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn old_versions_of_tls_are_named_and_their_dates_told() {
    let dir = Sandbox::new();
    let files = Authority::shared().leaf("a.test").key("rsa:2048").write(dir.path(), "rsa");
    for (option, version) in [("-tls1", "TLS 1.0"), ("-tls1_1", "TLS 1.1")] {
        let server = Serving::openssl(&dir, &files, &[option, "-cipher", "DEFAULT@SECLEVEL=0"]);

        let ran = certcheck(&dir).args(["--host", "a.test", &format!("127.0.0.1:{}", server.port())]).run().code(1);

        assert!(said(&ran).contains(&format!("the server speaks nothing newer than {version}; a.test by")), "{ran:?}");
        assert!(said(&ran).contains("60d left"), "{ran:?}");
        let json =
            certcheck(&dir).args(["--format", "json", "--host", "a.test", &format!("127.0.0.1:{}", server.port())]);
        json.run().stdout_has("\"verified\":false").code(1);
    }
}

#[test]
fn a_server_with_old_ciphers_only_is_not_down() {
    let dir = Sandbox::new();
    let files = Authority::shared().leaf("a.test").key("rsa:2048").write(dir.path(), "rsa");
    let server = Serving::openssl(&dir, &files, &["-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"]);

    let ran = certcheck(&dir).args(["--host", "a.test", &format!("127.0.0.1:{}", server.port())]).run().code(1);

    let expected = "the server speaks TLS 1.2 only with ciphers of before 2015 (TLS_RSA_WITH_AES_128_CBC_SHA)";
    assert!(said(&ran).contains(expected), "{ran:?}");
}

#[test]
fn a_server_that_asks_for_a_certificate_of_ours_has_shown_its_own() {
    let dir = Sandbox::new();
    let files = good(&dir);
    for option in ["-tls1_2", "-tls1_3"] {
        let server = Serving::openssl(&dir, &files, &["-Verify", "1", "-verify_return_error", option]);

        certcheck(&dir)
            .args(["--host", "a.test", &format!("127.0.0.1:{}", server.port())])
            .run()
            .stdout_has("OK ")
            .code(0);
    }
}

#[test]
fn nginx_serves_by_name_and_over_a_socket() {
    let dir = Sandbox::new();
    let (a, b) = (good(&dir), Authority::shared().leaf("b.test").write(dir.path(), "b"));
    let block = |files: &Files, name: &str, socket: &str| {
        format!(
            "server {{ listen 127.0.0.1:PORT ssl; {socket} server_name {name}; ssl_certificate {}; ssl_certificate_key {}; }}\n",
            files.chain.display(),
            files.key.display()
        )
    };
    let socket = format!("listen unix:{} ssl;", dir.join("s").display());
    let server = Serving::nginx(&dir, &[block(&a, "a.test", &socket), block(&b, "b.test", "")].concat());
    let connect = format!("127.0.0.1:{}", server.port());

    certcheck(&dir)
        .args(["--connect", &connect, "a.test", "b.test"])
        .run()
        .stdout_has("OK b.test")
        .stdout_has("b.test by")
        .code(0);
    certcheck(&dir).args(["--host", "a.test", "unix:s"]).run().stdout_has("OK unix:s").code(0);
    certcheck(&dir).args(["--connect", "unix:s", "c.test"]).run().stdout_has("it is not for c.test").code(2);
}

#[test]
fn postgresql_is_asked_for_tls_over_tcp_and_by_its_socket() {
    let dir = Sandbox::new();
    let files = good(&dir);
    let pg = Postgres::start();
    let data = pg.data_dir();
    let (cert, key) = (data.join("server.crt"), data.join("server.key"));
    fs::copy(&files.chain, &cert).unwrap();
    fs::copy(&files.key, &key).unwrap();
    for file in [&cert, &key] {
        dir.program("chown").arg(format!("--reference={}", data.display())).arg(file).run().code(0);
    }
    let off = certcheck(&dir).arg(format!("starttls:postgres:127.0.0.1:{}", pg.port())).run().code(2);
    assert!(said(&off).contains("no STARTTLS by postgres: the server does not offer it (ssl = off)"), "{off:?}");
    pg.sql("ALTER SYSTEM SET ssl = on");
    pg.restart();
    let socket = pg.socket_dir().join(format!(".s.PGSQL.{}", pg.port()));

    let here = format!("starttls:postgres:127.0.0.1:{}", pg.port());
    let ran = certcheck(&dir).arg(&here).run().code(0);
    let over_socket = certcheck(&dir).arg(format!("starttls:postgres:unix:{}", socket.display())).run();

    assert_eq!(said(&ran), format!("OK {here}: {WHO}"));
    // PostgreSQL declines TLS over its socket, where nobody listens in.
    over_socket.stdout_has("the server does not offer it").code(2);
}

#[test]
fn smtp_is_asked_for_tls() {
    const SERVER: &str = "
import asyncio, ssl, sys
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2], sys.argv[3])
Controller(Sink(), hostname='127.0.0.1', port=int(sys.argv[1]), tls_context=context).start()
import threading; threading.Event().wait()
";
    let dir = Sandbox::new();
    let files = good(&dir);
    let server = Serving::start(|port| {
        let python = dir.program("/usr/bin/python3").args(["-c", SERVER, &port.to_string()]);
        python.arg(&files.chain).arg(&files.key)
    });
    let here = format!("starttls:smtp:127.0.0.1:{}", server.port());

    let ran = certcheck(&dir).arg(&here).run().code(0);

    assert_eq!(said(&ran), format!("OK {here}: {WHO}"));
}

#[test]
fn imap_and_pop3_are_asked_for_tls() {
    let dir = Sandbox::new();
    let files = good(&dir);
    for protocol in ["imap", "pop3"] {
        let server = Serving::start(|port| {
            let config = format!(
                "base_dir = {0}/run-{protocol}\nlog_path = /dev/stderr\nprotocols = {protocol}\nssl = yes\n\
                 passdb {{\n driver = passwd-file\n args = /dev/null\n}}\nssl_cert = <{1}\n\
                 ssl_key = <{2}\nservice {protocol}-login {{\n inet_listener {protocol} {{\n address = 127.0.0.1\n port = {port}\n }}\n\
                 inet_listener {protocol}s {{\n port = 0\n }}\n}}\n",
                dir.path().display(),
                files.chain.display(),
                files.key.display()
            );
            fs::write(dir.join("dovecot.conf"), config).unwrap();
            dir.program("dovecot").args(["-F", "-c"]).arg(dir.join("dovecot.conf"))
        });
        let here = format!("starttls:{protocol}:127.0.0.1:{}", server.port());

        let ran = certcheck(&dir).arg(&here).run().code(0);

        assert_eq!(said(&ran), format!("OK {here}: {WHO}"));
    }
}

#[test]
fn a_stapled_answer_that_says_revoked_is_critical() {
    let (dir, authority) = (Sandbox::new(), Authority::shared());
    let files = authority.leaf("a.test").signer(harness::Signer::Root).write(dir.path(), "it");
    let serial = dir.program("openssl").args(["x509", "-noout", "-serial", "-in"]).arg(&files.cert).run();
    let serial = serial.stdout_text().trim().trim_start_matches("serial=").to_owned();
    for (line, code, expected) in [
        (format!("R\t400101000000Z\t260101000000Z\t{serial}\tunknown\t/CN=a.test\n"), 2, "\"ocsp\":\"revoked\""),
        (format!("V\t400101000000Z\t\t{serial}\tunknown\t/CN=a.test\n"), 0, "\"ocsp\":\"good\""),
    ] {
        fs::write(dir.join("index"), line).unwrap();
        let ocsp =
            dir.program("openssl").args(["ocsp", "-index", "index", "-ndays", "3", "-respout", "ocsp.der", "-rkey"]);
        let ocsp =
            ocsp.arg(authority.root_key()).arg("-rsigner").arg(authority.root()).arg("-CA").arg(authority.root());
        ocsp.arg("-issuer").arg(authority.root()).arg("-cert").arg(&files.cert).run();
        let server = Serving::openssl(&dir, &files, &["-status_file", "ocsp.der"]);

        let connect = format!("127.0.0.1:{}", server.port());
        let ran = certcheck(&dir).args(["--format", "json", "--connect", &connect, "a.test"]).run().code(code);

        ran.stdout_has(expected);
    }
}

#[test]
fn only_what_needs_roots_reads_those_of_the_system() {
    let dir = Sandbox::new();
    let _files = good(&dir);
    let bare = || {
        dir.tool("certcheck")
            .arg("--no-config")
            .env("SSL_CERT_FILE", "/nonexistent")
            .env("SSL_CERT_DIR", "/nonexistent")
    };

    bare().arg("good.pem").run().stdout_has("OK good.pem").code(0);
    bare()
        .arg("127.0.0.1:1")
        .run()
        .stdout_is("")
        .stderr_has("cannot read the roots of the system")
        .stderr_has("hint: ")
        .code(3);
}
