//! Which servers are asked, and in which order: as the resolver of the system does it. Source: resolv.conf(5), glibc's res_send.c.

use crate::kind::proc;
use crate::net::Endpoint;
use anyhow::{Result, anyhow};
use common::hint::{self, Hint as _};
use std::time::Instant;

/// The most servers that the resolver of the system takes (MAXNS).
const MOST: usize = 3;

/// Why a server gave no records.
#[derive(Debug)]
pub(super) enum Silence {
    /// It is away, or cannot tell: another one may.
    AskAnother(anyhow::Error),
    /// That is its answer, and another one's would be the same.
    Final(anyhow::Error),
}

/// The servers of /etc/resolv.conf.
///
/// # Errors
///
/// Where it cannot be read, or names none.
pub(super) fn configured() -> Result<Vec<Endpoint>> {
    let servers = listed(&proc::read("/etc/resolv.conf")?);
    if servers.is_empty() {
        return Err(anyhow!("/etc/resolv.conf names no server")).hint("name one: server=192.0.2.53");
    }
    Ok(servers)
}

fn listed(text: &str) -> Vec<Endpoint> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let host = words.next().filter(|word| *word == "nameserver").and(words.next())?;
        Some(Endpoint { host: host.to_owned(), port: 53 })
    });
    servers.take(MOST).collect()
}

/// Asks one server after the other until one knows, each for its share of the time that is left. Beside the answer it hands
/// back who gave it where that was not the first, and what kept the others from it.
///
/// # Errors
///
/// What all of them said.
pub(super) fn first_that_knows<T>(
    servers: &[Endpoint],
    deadline: Instant,
    ask: impl Fn(&Endpoint, Instant) -> Result<T, Silence>,
) -> Result<(T, Option<String>)> {
    let mut troubles: Vec<anyhow::Error> = Vec::new();
    let told = |troubles: &[anyhow::Error]| {
        let texts: Vec<String> = troubles.iter().map(|trouble| format!("{trouble:#}")).collect();
        texts.join("; ")
    };
    for (number, server) in servers.iter().enumerate() {
        let now = Instant::now();
        let others = u32::try_from(servers.len() - number).unwrap_or(1);
        let until = now + deadline.saturating_duration_since(now) / others;
        match ask(server, until) {
            Ok(answer) if troubles.is_empty() => return Ok((answer, None)),
            Ok(answer) => return Ok((answer, Some(format!("answered by {}, as {}", server.host, told(&troubles))))),
            Err(Silence::Final(error)) => {
                troubles.push(error);
                break;
            }
            Err(Silence::AskAnother(error)) => troubles.push(error),
        }
    }
    let hints: Vec<String> = troubles.iter().flat_map(hint::of).collect();
    Err(hints.into_iter().fold(anyhow!(told(&troubles)), hint::with))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::time::Duration;

    #[test]
    fn three_servers_of_the_file_are_asked() {
        let text = "# nameserver 192.0.2.9\nsearch a.test\n  nameserver\t192.0.2.1 # first\nnameserver 2001:db8::1\n\
            nameservers 192.0.2.8\nnameserver\nnameserver fe80::1%eth0\nnameserver 192.0.2.4\n";

        let hosts: Vec<_> = listed(text).into_iter().map(|server| server.host).collect();

        assert_eq!(hosts, ["192.0.2.1", "2001:db8::1", "fe80::1%eth0"]);
        assert!(listed("options timeout:1\n").is_empty());
    }

    /// An answer, and who gave it instead of the first.
    type Known = (String, Option<String>);

    /// What comes of it where a server of that name says what stands behind it; and who was asked, for how many seconds.
    fn asked(said: &[(&str, &str)]) -> (Result<Known>, Vec<String>) {
        let servers: Vec<_> = said.iter().map(|(host, _)| Endpoint { host: (*host).to_owned(), port: 53 }).collect();
        let log = RefCell::new(Vec::new());
        let deadline = Instant::now() + Duration::from_secs(30);
        let ask = |server: &Endpoint, until: Instant| {
            let seconds = until.saturating_duration_since(Instant::now()).as_secs_f64().round() as u64;
            log.borrow_mut().push(format!("{} {seconds}s", server.host));
            let (host, word) = said.iter().find(|(host, _)| *host == server.host).unwrap();
            match *word {
                "away" => Err(Silence::AskAnother(anyhow!("{host} is away"))),
                "nothing" => Err(Silence::Final(anyhow!("{host} has nothing"))),
                answer => Ok(answer.to_owned()),
            }
        };
        let found = first_that_knows(&servers, deadline, ask);
        (found, log.into_inner())
    }

    #[test]
    fn the_first_server_is_asked_alone_where_it_answers() {
        let (found, log) = asked(&[("a", "1"), ("b", "2")]);

        assert_eq!(found.unwrap(), ("1".to_owned(), None));
        assert_eq!(log, ["a 15s"]);
    }

    #[test]
    fn the_next_one_is_asked_and_named_where_a_server_cannot_tell() {
        let (found, log) = asked(&[("a", "away"), ("b", "away"), ("c", "3")]);

        let (answer, instead) = found.unwrap();
        assert_eq!((answer.as_str(), instead.unwrap().as_str()), ("3", "answered by c, as a is away; b is away"));
        // Who fails at once leaves its share to the others.
        assert_eq!(log, ["a 10s", "b 15s", "c 30s"]);
    }

    #[test]
    fn that_there_is_nothing_is_an_answer() {
        let (found, log) = asked(&[("a", "away"), ("b", "nothing"), ("c", "3")]);

        assert_eq!(found.unwrap_err().to_string(), "a is away; b has nothing");
        assert_eq!(log.len(), 2);
    }

    #[test]
    fn where_all_fail_all_are_told() {
        let (found, _) = asked(&[("a", "away"), ("b", "away")]);

        assert_eq!(found.unwrap_err().to_string(), "a is away; b is away");
    }
}
