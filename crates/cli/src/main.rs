//! The `backstay` program; all of it is in the library beside, where it can be tested.

/// Scans fill and free many buffers of several MiB on several threads; the system's allocator keeps an arena for each and
/// with it about 50 MiB more at the peak of a backup (decision 0015).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    backstay_cli::main()
}
