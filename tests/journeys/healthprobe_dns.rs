//! healthprobe and the name servers of a machine: where one cannot tell, the next one is asked.

use std::fs;
use std::time::Duration;

use harness::{Ran, Sandbox, tool_path};

/// Name servers on port 53 of addresses of this machine: `ADDRESS WHAT` for each, where WHAT is what it does.
const SERVERS: &str = r#"
import socket, sys, threading

def record(question, address):
    # The header, the question without the record for sizes behind it, and one address of a minute.
    head = question[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + question[12:-11]
    return head + b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(address)

def failure(question, code):
    return question[:2] + bytes([0x81, 0x80 | code]) + b"\0\1\0\0\0\0\0\0" + question[12:-11]

def serve(listener, what):
    while True:
        question, who = listener.recvfrom(512)
        if what in CODES:
            listener.sendto(failure(question, CODES[what]), who)
        elif what != "silent":
            listener.sendto(record(question, what), who)

CODES = {"servfail": 2, "nxdomain": 3, "refused": 5}
for address, what in zip(sys.argv[1::2], sys.argv[2::2]):
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind((address, 53))
    threading.Thread(target=serve, args=(listener, what)).start()
open("ready", "w").close()
"#;

/// Looks up a.test where /etc/resolv.conf names the first address, which nobody listens on where it is `gone`.
fn look_up(servers: [(&str, &str); 3], words: &str) -> Ran {
    let (dir, tool) = (Sandbox::new(), tool_path("healthprobe"));
    fs::write(dir.join("servers.py"), SERVERS).unwrap();
    let conf: String = servers.iter().map(|(address, _)| format!("nameserver {address}\n")).collect();
    fs::write(dir.join("resolv.conf"), format!("# by a test\n{conf}options timeout:1\n")).unwrap();
    let real = servers.iter().filter(|(_, what)| *what != "gone");
    let arguments: Vec<String> = real.map(|(address, what)| format!("{address} {what}")).collect();
    // A namespace of addresses of its own: port 53 is free, and belongs to nobody else.
    let script = format!(
        "mount --bind resolv.conf /etc/resolv.conf
         python3 -c 'import fcntl, socket, struct
s = socket.socket(); fcntl.ioctl(s, 0x8914, struct.pack(\"16sh14x\", b\"lo\", 1))'
         python3 servers.py {} & until [ -e ready ]; do sleep 0.05; done
         {} --no-config 'dns:a.test name=dns {words}'; code=$?; kill $!; exit $code",
        arguments.join(" "),
        tool.display()
    );
    dir.program("unshare").args(["-m", "-n", "bash", "-c", &script]).run().stderr_is("")
}

const A: &str = "127.0.0.1";
const B: &str = "127.0.0.2";
const C: &str = "127.0.0.3";

#[test]
fn the_first_server_that_knows_answers_alone() {
    let ran = look_up([(A, "192.0.2.1"), (B, "192.0.2.2"), (C, "192.0.2.3")], "type=A answer=192.0.2.1");

    assert!(ran.stdout_text().starts_with("OK dns: 192.0.2.1, in "), "{}", ran.picture());
    ran.stdout_lacks("answered by").code(0);
}

#[test]
fn a_server_that_cannot_tell_is_followed_by_the_next_one_which_is_named() {
    for (what, said) in [
        ("servfail", "127.0.0.1:53 says that it cannot tell (SERVFAIL) of a.test"),
        ("refused", "127.0.0.1:53 says that it does not want to answer (REFUSED) of a.test"),
        ("gone", "cannot ask 127.0.0.1:53: Connection refused (os error 111)"),
        ("silent", "cannot ask 127.0.0.1:53: no answer in time"),
    ] {
        let ran = look_up([(A, what), (B, "192.0.2.2"), (C, "192.0.2.3")], "type=A answer=192.0.2.2 timeout=6s");

        assert!(ran.stdout_text().starts_with("OK dns: 192.0.2.2, in "), "{}", ran.picture());
        ran.stdout_has(&format!("; answered by 127.0.0.2, as {said}\n")).code(0);
    }
}

#[test]
fn a_name_that_is_not_there_is_not_asked_for_elsewhere() {
    look_up([(A, "nxdomain"), (B, "192.0.2.2"), (C, "192.0.2.3")], "type=A")
        .stdout_is("CRITICAL dns: 127.0.0.1:53 says that there is nothing (NXDOMAIN) of a.test\n")
        .code(2);
}

#[test]
fn where_all_servers_fail_all_are_told_in_time() {
    let ran = look_up([(A, "silent"), (B, "servfail"), (C, "silent")], "type=A timeout=1s");

    assert!(ran.wall < Duration::from_secs(20), "{}", ran.picture());
    ran.stdout_is(
        "CRITICAL dns: cannot ask 127.0.0.1:53: no answer in time; \
         127.0.0.2:53 says that it cannot tell (SERVFAIL) of a.test; cannot ask 127.0.0.3:53: no answer in time\n",
    )
    .code(2);
}

/// Who names a server wants that one's answer.
#[test]
fn a_server_that_is_named_is_asked_alone() {
    look_up([(A, "192.0.2.1"), (B, "servfail"), (C, "192.0.2.3")], "type=A server=127.0.0.2")
        .stdout_is("CRITICAL dns: 127.0.0.2:53 says that it cannot tell (SERVFAIL) of a.test\n")
        .code(2);
}
