//! `scripts/completion/TOOL.bash`, rendered from the definition of the options, and tried in bash.

use clap_complete::{Shell, generate};
use harness::Sandbox;

use crate::rendered::{keep, tools};

#[test]
fn every_tool_has_its_completion() {
    for (tool, _) in tools() {
        keep(&format!("scripts/completion/{tool}.bash"), &script(tool));
    }
}

#[test]
fn bash_takes_every_script() {
    for (tool, _) in tools() {
        Sandbox::new().program("bash").args(["-n", "-c", &script(tool)]).run().stderr_is("").code(0);
    }
}

#[test]
fn bash_completes_options_values_and_paths() {
    let dir = Sandbox::new();
    std::fs::create_dir(dir.join("srv")).unwrap();

    assert_eq!(completed(&dir, "pgbackup", &["--comp"]), ["--compress"]);
    assert_eq!(completed(&dir, "pgbackup", &["--format", "pro"]), ["prometheus"]);
    assert_eq!(completed(&dir, "pgbackup", &["--dir", "s"]), ["srv"]);
    assert_eq!(completed(&dir, "backup-verify", &["--depth", ""]), ["list", "stored", "content", "restored"]);
    assert_eq!(completed(&dir, "backup-verify", &["--dep"]), ["--depth"]);
    for (tool, _) in tools() {
        let all = completed(&dir, tool, &["--"]);
        assert!(all.contains(&"--no-config".to_owned()) && all.contains(&"--help".to_owned()), "{tool}: {all:?}");
    }
}

fn script(tool: &str) -> String {
    let (_, mut command) = tools().into_iter().find(|(name, _)| *name == tool).unwrap();
    let mut script = Vec::new();
    generate(Shell::Bash, &mut command, tool, &mut script);
    String::from_utf8(script).unwrap()
}

/// What bash offers after these words of a command line.
fn completed(dir: &Sandbox, tool: &str, words: &[&str]) -> Vec<String> {
    const DRIVE: &str = r#"
        eval "$1"; shift
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        complete -p "$1" >/dev/null || exit 9
        function=$(complete -p "$1"); function=${function#*-F }; function=${function%% *}
        "$function" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}" 2>/dev/null
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let ran = dir.program("bash").args(["-c", DRIVE, "bash"]).arg(script(tool)).arg(tool).args(words).run();
    let ran = ran.stderr_is("").code(0);
    ran.stdout_text().lines().map(str::to_owned).collect()
}
