//! Who is connected, who works for long, who waits for whom.
//!
//! Sessions are told by process id, role, application and time, never by their statement: it holds other people's data.

use super::check::Check;
use super::facts::{Busy, Facts};
use super::judge::{NAMED, told};
use super::limits::Limits;
use common::report::{Measure, Part, Unit};
use common::status::Status;
use common::text;

/// The share of the connections that ordinary roles may have.
pub(super) fn connections(facts: &Facts, limits: &Limits) -> Part {
    let Some(sessions) = &facts.sessions else { return missing(Check::Connections) };
    let most = sessions.max.saturating_sub(sessions.reserved).max(1);
    let share = f64::from(sessions.used) * 100.0 / f64::from(most);
    let message = format!("{} of {most} used", sessions.used);
    let used = Measure::new("used", f64::from(sessions.used), Unit::Count).of(f64::from(most));
    told(Check::Connections, Status::Ok, message, vec![limits.measure("connections", share), used])
}

/// The statement that runs longest; who waits for a lock is [`blocked`].
pub(super) fn queries(facts: &Facts, limits: &Limits, ignored: &[String]) -> Part {
    let running = |busy: &&Busy| is(busy, "active") && busy.waits_seconds.is_none() && !is_ignored(busy, ignored);
    longest(Check::Queries, facts, limits, running, |busy| busy.query_seconds, "running for")
}

/// The session that has been in a transaction without doing anything for longest.
pub(super) fn idle(facts: &Facts, limits: &Limits, ignored: &[String]) -> Part {
    let waiting = |busy: &&Busy| {
        busy.state.as_deref().is_some_and(|state| state.starts_with("idle in transaction"))
            && !is_ignored(busy, ignored)
    };
    longest(Check::Idle, facts, limits, waiting, |busy| busy.state_seconds, "idle in a transaction for")
}

fn longest(
    check: Check,
    facts: &Facts,
    limits: &Limits,
    fits: impl Fn(&&Busy) -> bool,
    seconds: impl Fn(&Busy) -> Option<f64>,
    words: &str,
) -> Part {
    let mut found: Vec<(f64, &Busy)> =
        busy(facts).iter().filter(&fits).filter_map(|busy| Some((seconds(busy)?.max(0.0), busy))).collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    let most = found.first().map_or(0.0, |(seconds, _)| *seconds);
    let measure = limits.measure(check.name(), most);
    let message = match found.first() {
        None => "none".to_owned(),
        Some((seconds, longest)) => {
            let more = match found.len() - 1 {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("{} {words} {}{more}", who(longest), Unit::Seconds.shown(*seconds))
        }
    };
    told(check, Status::Ok, message, vec![measure, count("sessions", found.len())])
}

/// Who waits for a lock, and who holds it.
pub(super) fn blocked(facts: &Facts, limits: &Limits) -> Part {
    let mut waiting: Vec<(f64, &Busy)> =
        busy(facts).iter().filter_map(|busy| Some((busy.waits_seconds?.max(0.0), busy))).collect();
    waiting.sort_by(|a, b| b.0.total_cmp(&a.0));
    let most = waiting.first().map_or(0.0, |(seconds, _)| *seconds);
    let message = match waiting.as_slice() {
        [] => "none".to_owned(),
        all => {
            let told: Vec<_> = all.iter().take(NAMED).map(|(seconds, busy)| waits(*seconds, busy, facts)).collect();
            let more = all.len().saturating_sub(NAMED);
            let more = if more > 0 { format!("; and {more} more") } else { String::new() };
            format!("{}{more}", told.join("; "))
        }
    };
    told(Check::Blocked, Status::Ok, message, vec![limits.measure("blocked", most), count("sessions", waiting.len())])
}

fn waits(seconds: f64, busy: &Busy, facts: &Facts) -> String {
    let blockers = busy.blockers.as_deref().unwrap_or_default();
    let named: Vec<_> = blockers.iter().take(NAMED).map(|pid| blocker(*pid, facts)).collect();
    let by = if named.is_empty() { "somebody who is gone".to_owned() } else { named.join(" and ") };
    format!("{} has been waiting for {} for {by}", who(busy), Unit::Seconds.shown(seconds))
}

/// A session that holds what another one wants. Process 0 stands for a prepared transaction.
fn blocker(pid: i64, facts: &Facts) -> String {
    if pid == 0 {
        return "a prepared transaction".to_owned();
    }
    match self::busy(facts).iter().find(|busy| busy.pid == pid) {
        None => format!("{pid}"),
        Some(busy) if is(busy, "active") && busy.waits_seconds.is_some() => {
            format!("{} (which waits itself)", who(busy))
        }
        Some(busy) => {
            let seconds = if is(busy, "active") { busy.query_seconds } else { busy.state_seconds };
            let state = text::line(busy.state.as_deref().unwrap_or("busy"));
            format!("{} ({state} for {})", who(busy), Unit::Seconds.shown(seconds.unwrap_or_default().max(0.0)))
        }
    }
}

/// Transactions that were prepared and forgotten: they hold their locks, and vacuum back, across restarts.
pub(super) fn prepared(facts: &Facts, limits: &Limits) -> Part {
    let prepared = facts.prepared.as_deref().unwrap_or_default();
    let oldest = prepared.iter().max_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let message = oldest.map_or_else(
        || "none".to_owned(),
        |one| format!("{:?} for {}", text::line(&one.name), Unit::Seconds.shown(one.seconds.max(0.0))),
    );
    let measure = limits.measure("prepared", oldest.map_or(0.0, |one| one.seconds.max(0.0)));
    told(Check::Prepared, Status::Ok, message, vec![measure, count("transactions", prepared.len())])
}

fn busy(facts: &Facts) -> &[Busy] {
    facts.sessions.as_ref().and_then(|sessions| sessions.busy.as_deref()).unwrap_or_default()
}

fn is(busy: &Busy, state: &str) -> bool {
    busy.state.as_deref() == Some(state)
}

fn is_ignored(busy: &Busy, ignored: &[String]) -> bool {
    [&busy.user, &busy.application].into_iter().flatten().any(|name| ignored.contains(name))
}

/// `4711 (app, "web")`
fn who(busy: &Busy) -> String {
    let user = text::line(busy.user.as_deref().unwrap_or("?"));
    match busy.application.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => format!("{} ({user}, {:?})", busy.pid, text::line(name)),
        None => format!("{} ({user})", busy.pid),
    }
}

fn count(name: &'static str, count: usize) -> Measure {
    Measure::new(name, count as f64, Unit::Count)
}

fn missing(check: Check) -> Part {
    told(check, Status::Unknown, "the server said nothing of it".to_owned(), Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(pid: i64, state: &str, seconds: f64) -> Busy {
        Busy {
            pid,
            user: Some("app".to_owned()),
            state: Some(state.to_owned()),
            query_seconds: Some(seconds),
            state_seconds: Some(seconds),
            ..Busy::default()
        }
    }

    fn facts(busy: Vec<Busy>) -> Facts {
        let sessions = super::super::facts::Sessions { used: 1, max: 10, reserved: 3, busy: Some(busy) };
        Facts { sessions: Some(sessions), ..Facts::default() }
    }

    fn status(part: &Part) -> Status {
        crate::found::of_part(part)
    }

    #[test]
    fn only_connections_that_ordinary_roles_may_have_count() {
        let mut facts = facts(Vec::new());
        let share = |facts: &Facts| status(&connections(facts, &Limits::default()));

        assert_eq!(share(&facts), Status::Ok);
        facts.sessions.as_mut().unwrap().used = 6;
        assert_eq!(share(&facts), Status::Warning);
        facts.sessions.as_mut().unwrap().used = 7;
        assert_eq!(share(&facts), Status::Critical);
    }

    #[test]
    fn the_longest_query_counts_unless_it_is_a_dump() {
        let dump = Busy { application: Some("pg_dump".to_owned()), ..session(1, "active", 9e4) };
        let facts = facts(vec![session(2, "active", 200.0), dump, session(3, "idle in transaction", 9e4)]);

        let part = queries(&facts, &Limits::default(), &["pg_dump".to_owned()]);

        assert_eq!((status(&part), part.message.as_str()), (Status::Ok, "2 (app) running for 3m 20s"));
        assert_eq!(status(&queries(&facts, &Limits::default(), &[])), Status::Critical);
    }

    #[test]
    fn who_waits_for_whom_is_told() {
        let waiting = Busy { waits_seconds: Some(60.0), blockers: Some(vec![7]), ..session(5, "active", 61.0) };
        let holder = Busy { application: Some("web\n".to_owned()), ..session(7, "idle in transaction", 600.0) };

        let part = blocked(&facts(vec![waiting, holder]), &Limits::default());

        assert_eq!(status(&part), Status::Warning);
        assert_eq!(
            part.message,
            "5 (app) has been waiting for 1m for 7 (app, \"web\\\\n\") (idle in transaction for 10m)"
        );
    }

    #[test]
    fn a_forgotten_transaction_is_found() {
        let facts = facts(vec![session(1, "idle in transaction (aborted)", 400.0)]);

        let part = idle(&facts, &Limits::default(), &[]);

        assert_eq!(
            (status(&part), part.message.as_str()),
            (Status::Warning, "1 (app) idle in a transaction for 6m 40s")
        );
    }
}
