fn main() -> std::process::ExitCode {
    common::program::main(certcheck::run)
}
