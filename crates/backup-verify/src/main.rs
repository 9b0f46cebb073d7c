fn main() -> std::process::ExitCode {
    common::program::main(backup_verify::run)
}
