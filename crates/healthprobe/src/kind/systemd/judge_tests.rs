use super::*;
use crate::kind::systemd::Probe;
use crate::options::{Options, Origin};
use common::status::Status;

fn rules(options: &str) -> Rules {
    let mut options = Options::new(common::words::list(options).unwrap(), Origin::Operator);
    let probe = Probe::parse("app", &mut options, Origin::Operator).unwrap();
    assert!(options.finish().is_empty());
    probe.rules
}

fn service(properties: &str) -> (Status, String) {
    let text = format!(
        "Id=app.service\nNames=app.service web.service\nLoadState=loaded\n{}",
        properties.replace(' ', "\n").replace('_', " ")
    );
    judged(&text, "app.service", &rules(""))
}

#[test]
fn a_service_is_judged_by_its_state() {
    for (properties, status, message) in [
        (
            "ActiveState=active SubState=running NRestarts=0 ActiveEnterTimestamp=Mon_1970-01-12_12:46:40_UTC",
            Status::Ok,
            "running for 1h",
        ),
        (
            "ActiveState=active SubState=running NRestarts=3 ActiveEnterTimestamp=Mon_1970-01-12_13:46:20_UTC",
            Status::Warning,
            "running for 20s, after it was restarted 3 times",
        ),
        (
            "ActiveState=active SubState=running NRestarts=1 ActiveEnterTimestamp=Sun_1970-01-11_10:00:00_UTC",
            Status::Ok,
            "running for 1d 3h, restarted once",
        ),
        (
            "ActiveState=activating SubState=auto-restart NRestarts=7 Result=exit-code ExecMainStatus=1",
            Status::Critical,
            "it keeps ending and being restarted: exit status 1, restarted 7 times",
        ),
        (
            "ActiveState=failed SubState=failed Result=signal ExecMainStatus=9 InactiveEnterTimestamp=Mon_1970-01-12_13:45:40_UTC",
            Status::Critical,
            "it failed 1m ago: killed by signal 9",
        ),
        (
            "ActiveState=inactive SubState=dead InactiveEnterTimestamp=Mon_1970-01-12_13:45:40_UTC",
            Status::Critical,
            "it is not running, for 1m",
        ),
        (
            "ActiveState=inactive Type=oneshot Result=success InactiveEnterTimestamp=Mon_1970-01-12_13:45:40_UTC ExecMainCode=1",
            Status::Ok,
            "it ran and succeeded 1m ago",
        ),
        ("ActiveState=activating SubState=start", Status::Warning, "it is starting (start)"),
    ] {
        assert_eq!(service(properties), (status, message.to_owned()), "{properties}");
    }
}

#[test]
fn an_alias_is_the_unit_and_one_that_is_not_there_is_unknown() {
    let text = "Id=app.service\nNames=web.service app.service\nLoadState=loaded\nActiveState=active\nSubState=running\n\n\
                Id=gone.service\nNames=gone.service\nLoadState=not-found\nActiveState=inactive\n\n\
                Id=no.service\nLoadState=masked\nActiveState=inactive\n";

    assert_eq!(judged(text, "web.service", &rules("")).0, Status::Ok);
    for name in ["gone.service", "other.service", "no.service"] {
        assert_eq!(judged(text, name, &rules("")).0, Status::Unknown, "{name}");
    }
}

#[test]
fn restarts_have_thresholds() {
    let text = "Id=app.service\nLoadState=loaded\nActiveState=active\nSubState=running\nNRestarts=6\n";

    let (status, message) = judged(text, "app.service", &rules("restarts>5,10"));

    assert_eq!((status, message.ends_with("restarts is above 5")), (Status::Warning, true), "{message}");
}

#[test]
fn a_timer_must_fire_and_what_it_starts_must_succeed() {
    let timer = |timer: &str, started: &str| {
        let text = format!(
            "Id=b.timer\nLoadState=loaded\nActiveState=active\nUnit=b.service\n{}\n\nId=b.service\nLoadState=loaded\n{}\n",
            timer.replace(' ', "\n").replace('_', " "),
            started.replace(' ', "\n"),
        );
        judged(&text, "b.timer", &rules("age>26h"))
    };
    let good = "SubState=waiting LastTriggerUSec=Mon_1970-01-12_12:46:40_UTC NextElapseUSecRealtime=Mon_1970-01-12_14:46:40_UTC";

    assert_eq!(timer(good, "Result=success"), (Status::Ok, "it fired 1h ago, next in 1h".into()));
    assert_eq!(timer(good, "ActiveState=failed Result=exit-code ExecMainStatus=3").0, Status::Critical);
    let (status, message) = timer(
        "SubState=waiting LastTriggerUSec=Sat_1970-01-10_06:13:20_UTC NextElapseUSecRealtime=Mon_1970-01-12_11:00:00_UTC",
        "Result=success",
    );
    assert_eq!(status, Status::Critical);
    assert!(message.starts_with("it should have fired 2h 46m ago; it fired 2d 7h ago"), "{message}");
    assert_eq!(
        timer("SubState=waiting NextElapseUSecRealtime=Mon_1970-01-12_14:46:40_UTC", "Result=success").0,
        Status::Unknown
    );
    // By the clock that begins with the machine, 5d 18h 53m 20s ago: microseconds, or in words.
    let fired = "SubState=waiting LastTriggerUSec=Mon_1970-01-12_12:46:40_UTC NextElapseUSecRealtime=0";
    for (next, said) in [
        ("500600000000", "it fired 1h ago, next in 10m"),
        ("5d_19h", "it fired 1h ago, next in 6m 40s"),
        ("5d_18h_53min_19.5s", "it fired 1h ago"),
        ("5d", "it should have fired 18h 53m ago; it fired 1h ago"),
        ("18446744073709551615", "it fired 1h ago"),
        ("infinity", "it fired 1h ago"),
    ] {
        let told = timer(&format!("{fired} NextElapseUSecMonotonic={next}"), "Result=success").1;
        assert_eq!(told, said, "{next}");
    }
    // A condition of each clock: the earlier one counts.
    let both = format!("{good} NextElapseUSecMonotonic=5d_19h");
    assert_eq!(timer(&both, "Result=success").1, "it fired 1h ago, next in 6m 40s");
}
