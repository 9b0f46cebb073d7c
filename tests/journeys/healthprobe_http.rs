//! healthprobe's requests, against nginx and an application behind it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use harness::{Authority, Sandbox, Serving, stub, workspace};

use crate::healthprobe::{healthprobe, said, with_targets};

/// An application with sessions, tokens against forged forms, and a limit: what the smoke tests are about.
const APPLICATION: &str = r#"
import http.server, json, secrets, sys, urllib.parse
sessions, limited = {}, []
broken = sys.argv[2:]
class App(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def session(self):
        cookies = dict(pair.strip().split("=", 1) for pair in self.headers.get("Cookie", "").split(";") if "=" in pair)
        return sessions.get(cookies.get("session"))
    def answer(self, status, text="", **headers):
        body = text.encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        if self.path == "/":
            self.answer(200, "<a href=/login>Sign in</a>")
        elif self.path == "/login":
            name, token = secrets.token_hex(8), secrets.token_hex(8) + "+/="
            sessions[name] = {"csrf": token, "user": None}
            self.answer(200, f'<input name="csrf" value="{token}">', Set_Cookie=f"session={name}; Path=/; HttpOnly; Secure")
        elif self.path == "/api/me":
            session = self.session()
            known = session and session["user"]
            self.answer(200 if known else 401, json.dumps({"user": known, "roles": ["reader"]}))
        elif self.path == "/api/limited":
            limited.append(1)
            self.answer(429 if len(limited) > 100 and "limit" not in broken else 200)
        else:
            self.answer(404)
    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        session = self.session()
        token = form.get("csrf", [""])[0]
        if "csrf" not in broken and (not session or token != session["csrf"]):
            return self.answer(403)
        if form.get("password") == ["CANARY &+%"] and session and "login" not in broken:
            session["user"] = form["user"][0]
            return self.answer(303, Location="/account")
        self.answer(200, "wrong password")
    def log_message(self, *arguments):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), App).serve_forever()
"#;

const PROXY: &str = r#"
server {
    listen 127.0.0.1:PORT ssl;
    ssl_certificate app.chain.pem;
    ssl_certificate_key app.key;
    error_page 497 =301 https://app.example.com$request_uri;
    add_header Content-Security-Policy "default-src 'self'" always;
    add_header Strict-Transport-Security "max-age=63072000" always;
    add_header X-Frame-Options DENY always;
    location / { proxy_pass http://127.0.0.1:BEHIND; proxy_http_version 1.1; }
}
"#;

/// The smoke tests that are shipped, against an application in which some things are broken; status of each by its name.
fn smoke(broken: &[&str]) -> Vec<String> {
    let dir = Sandbox::new();
    let _files = Authority::shared().leaf("app.example.com").names(["DNS:app.example.com"]).write(dir.path(), "app");
    fs::write(dir.join("app.py"), APPLICATION).unwrap();
    let app = Serving::start(|port| dir.program("python3").arg("app.py").arg(port.to_string()).args(broken));
    let proxy = Serving::nginx(&dir, &PROXY.replace("BEHIND", &app.port().to_string()));
    let password = dir.join("password");
    fs::write(&password, "CANARY &+%\n").unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    let shipped = fs::read_to_string(workspace().join("scripts/smoke.targets")).unwrap();
    let way = format!("connect=127.0.0.1:{} trust-roots={}", proxy.port(), Authority::shared().root().display());
    let lines = shipped.lines().map(|line| match line.starts_with("http") {
        true => line.replace("/etc/nightshift/probe-password", password.to_str().unwrap()) + " " + &way,
        false => line.to_owned(),
    });
    let lines: Vec<_> = lines.collect();

    let ran = with_targets(&dir, &lines.join("\n")).args(["--format", "json"]).run().stderr_is("");

    assert!(!ran.stdout_text().contains("CANARY"), "{}", ran.picture());
    let items = ran.stdout_text().lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut found: Vec<_> = items
        .map(|item| {
            let blocked = if item["blocked_by"].is_null() { "" } else { " blocked" };
            format!("{} {}{blocked}", item["subject"].as_str().unwrap(), item["status"].as_str().unwrap())
        })
        .collect();
    found.sort();
    assert_eq!(found.len(), 8, "{}", ran.picture());
    // What is wrong is worth a look when this fails.
    found.iter().filter(|line| !line.ends_with(" OK")).for_each(|_| drop(ran.picture()));
    if broken.is_empty() {
        assert!(found.iter().all(|line| line.ends_with(" OK")), "{}", ran.picture());
    }
    found.retain(|line| !line.ends_with(" OK"));
    found
}

#[test]
fn the_eight_smoke_tests_pass_on_an_application_that_is_well() {
    assert!(smoke(&[]).is_empty());
}

#[test]
fn each_smoke_test_finds_what_it_is_there_for() {
    assert_eq!(smoke(&["limit"]), ["rate-limit CRITICAL"]);
    assert_eq!(smoke(&["csrf"]), ["csrf CRITICAL"]);
    assert_eq!(smoke(&["login"]), ["account UNKNOWN blocked", "sign-in CRITICAL"]);
}

#[test]
fn a_line_whose_value_was_not_found_is_blocked() {
    let dir = Sandbox::new();
    let server = Serving::nginx(&dir, "server { listen 127.0.0.1:PORT; location / { return 200 fine; } }");
    let here = format!("http://127.0.0.1:{}", server.port());
    let lines = format!("{here}/a save=t:body:token=(.*) group=g name=a\n{here}/b?t={{t}} group=g name=b\n");

    let ran = with_targets(&dir, &lines).run().code(2);

    assert_eq!(
        said(&ran),
        "CRITICAL a: it has no value for {t}; 200 in TIME 4 B\n\
         UNKNOWN b: blocked by a: {t} is not known: the line that saves it did not find it\n"
            .replace("TIME 4", "TIME, 4")
    );
}

#[test]
fn a_redirect_leads_nobody_away() {
    let dir = Sandbox::new();
    let other = stub::silent();
    let server = Serving::nginx(
        &dir,
        &format!(
            "server {{ listen 127.0.0.1:PORT; location /away {{ return 302 http://127.0.0.1:{}/x; }} \
             location /metadata {{ return 302 http://169.254.169.254/; }} location /here {{ return 302 /end; }} \
             location /end {{ return 200 end; }} }}",
            other.port()
        ),
    );
    let here = format!("http://127.0.0.1:{}", server.port());
    let ask = |target: String| healthprobe(&dir).arg(target).run();

    ask(format!("{here}/away")).stdout_has("OK ").code(0);
    ask(format!("{here}/away follow=5 cookies")).stdout_has("another server and is not followed").code(2);
    ask(format!("{here}/metadata follow=5")).stdout_has("another server and is not followed").code(2);
    ask(format!("{here}/here follow=5 status=200 body=end")).stdout_has("OK ").code(0);
    ask("http://169.254.169.254/latest timeout=5s".into()).stdout_has("is an address of this link only").code(2);
    assert_eq!(other.connections(), 0);
}

#[test]
fn no_name_of_a_target_and_no_message_shows_a_query_or_a_password() {
    let dir = Sandbox::new();
    let target = "http://127.0.0.1:1/x?token=CANARY";
    for format in ["text", "json", "sh", "nagios", "prometheus"] {
        let ran = healthprobe(&dir).args(["--format", format, "--journal", "journal", "-vv", target]).run().code(2);
        ran.stdout_lacks("CANARY").stderr_lacks("CANARY");
    }
    healthprobe(&dir).arg("http://u:CANARY@h/").run().stderr_lacks("CANARY").stderr_has("basic-file=FILE").code(3);
    assert!(!fs::read_to_string(dir.join("journal")).unwrap().contains("CANARY"));
}
