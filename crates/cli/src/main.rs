//! The `backstay` program; all of it is in the library beside, where it can be tested.

fn main() -> std::process::ExitCode {
    backstay_cli::main()
}
