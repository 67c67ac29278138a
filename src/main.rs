//! The program: hands the command line to [`loquat::cli`] and returns its exit code.

use std::process::ExitCode;

/// Buffers are given back on the core that made them, which is what mimalloc is fast at.
#[cfg(not(feature = "malloc"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    loquat::cli::run(std::env::args_os())
}
