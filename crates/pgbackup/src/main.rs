fn main() -> std::process::ExitCode {
    common::program::main(pgbackup::run)
}
