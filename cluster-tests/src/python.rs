//! A Python with gRPC's packages, for callers in another language.

use std::path::PathBuf;

use tokio::process::Command;

const NEEDED: &str = "import grpc, grpc_reflection, grpc_status";

/// A Python that has grpcio, grpcio-reflection and grpcio-status: the one that `ROLLCALL_PYTHON` names, the one that `.ci/run`
/// installs below `target/ci/python`, or the system's. `None`: the test is to say NOT RUN.
pub async fn python_with_grpc() -> Option<PathBuf> {
    let named = std::env::var_os("ROLLCALL_PYTHON").map(PathBuf::from);
    let installed = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/ci/python/bin/python");
    for python in named.into_iter().chain([installed.into(), "python3".into()]) {
        let has_all = Command::new(&python).args(["-c", NEEDED]).output().await;
        if has_all.is_ok_and(|ran| ran.status.success()) {
            return Some(python);
        }
    }
    None
}
