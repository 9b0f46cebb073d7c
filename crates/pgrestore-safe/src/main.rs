fn main() -> std::process::ExitCode {
    common::program::main(pgrestore_safe::run)
}
