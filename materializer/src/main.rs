use std::process::ExitCode;

fn main() -> ExitCode {
    materializer::program::main()
}
