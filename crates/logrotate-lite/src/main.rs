fn main() -> std::process::ExitCode {
    common::program::main(logrotate_lite::run)
}
