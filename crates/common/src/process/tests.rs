use super::*;

fn sh(script: &str) -> Program {
    Program::new(Path::new("/bin/sh")).arg("-c").arg(script)
}

#[test]
fn a_failure_says_what_the_program_said() {
    let error = sh("echo 'sh: error: no way' >&2; exit 4").output(Duration::from_secs(10), 10).unwrap_err();

    assert_eq!(error.to_string(), "sh failed with exit code 4: no way");
}

#[test]
fn a_program_that_hangs_is_ended_with_its_children() {
    let began = Instant::now();

    let error = sh("sleep 60 & wait").output(Duration::from_millis(100), 10).unwrap_err();

    assert!(error.to_string().starts_with("sh gave no answer within"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_child_that_falls_silent_is_not_waited_for() {
    let mut child = sh("echo one; sleep 60").start(Input::None).unwrap();
    let mut stdout = Patient::new(child.stdout().unwrap(), Duration::from_millis(100));
    let mut bytes = Vec::new();

    let error = stdout.read_to_end(&mut bytes).unwrap_err();

    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    assert_eq!(bytes, b"one\n");
}

#[test]
fn what_a_child_leaves_behind_is_not_waited_for() {
    let began = Instant::now();
    let child = sh("echo said >&2; sleep 30 &").start(Input::None).unwrap();

    let finished = child.finish(Some(Duration::from_secs(10))).unwrap();

    assert_eq!(finished.stderr, "said\n");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_program_that_may_leave_nothing_leaves_nothing() {
    let began = Instant::now();
    let child = sh("sleep 30 & echo said >&2").leaves_nothing().start(Input::None).unwrap();
    let group = child.group;

    let finished = child.finish(Some(Duration::from_secs(10))).unwrap();

    assert!(finished.status.success());
    assert_eq!(finished.stderr, "said\n");
    assert!(began.elapsed() < Duration::from_secs(5));
    // Killed, and gone as soon as whoever inherits it has noticed.
    let is_gone = || kill_process_group(group, Signal::CONT).is_err();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_gone() && !is_dead(group) {
        assert!(Instant::now() < deadline, "it lives on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether all members of a group are dead, though nobody may have asked for their status yet.
fn is_dead(group: Pid) -> bool {
    let group = group.as_raw_nonzero().to_string();
    let stats = std::fs::read_dir("/proc").unwrap().flatten();
    let mut members = stats.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    !members.any(|stat| {
        let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        fields.get(2) == Some(&group.as_str()) && fields[0] != "Z"
    })
}

#[test]
fn endless_output_is_cut() {
    let error = sh("head -c 100000 /dev/zero").output(Duration::from_secs(10), 1000).unwrap_err();

    assert_eq!(error.to_string(), "sh printed more than 1000 B");
}

#[test]
fn output_that_is_over_before_it_is_read_is_cut_no_less() {
    for _ in 0..50 {
        let error = sh("echo 12345678901").output(Duration::from_secs(10), 11).unwrap_err();

        assert_eq!(error.to_string(), "sh printed more than 11 B");
    }
    assert_eq!(sh("echo 1234567890").output(Duration::from_secs(10), 11).unwrap().len(), 11);
}

#[test]
fn a_child_sees_nothing_of_our_environment_but_the_usual() {
    let bytes = sh("env | cut -d= -f1").output(Duration::from_secs(10), 10_000).unwrap();

    let text = String::from_utf8(bytes).unwrap();
    assert!(!text.contains("CARGO"), "{text}");
    assert!(text.contains("PATH"), "{text}");
}
