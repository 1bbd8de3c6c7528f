//! The binary `novacula-milter`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
