fn main() -> std::process::ExitCode {
    common::program::main(healthprobe::run)
}
