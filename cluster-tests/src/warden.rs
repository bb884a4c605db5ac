//! The warden: a shell that outlives the test process by a moment, to end what it leaves behind.
//!
//! Clusters that tests share live in statics, which are never dropped; a test process may also be killed. The warden
//! reads a pipe from the test process; when the pipe closes, for whatever reason, it kills the processes that it was
//! told to watch, by their ids, and removes the folders, network namespaces and links that it was told to discard.

use std::{
    io::Write,
    os::unix::process::CommandExt,
    path::Path,
    process::{ChildStdin, Command, Stdio},
    sync::OnceLock,
};

use parking_lot::Mutex;

const SCRIPT: &str = r#"
pids=; folders=; namespaces=; links=
newline='
'
while read -r word what; do
  case $word in
    watch) pids="$pids $what" ;;
    forget)
      rest=
      for pid in $pids; do [ "$pid" = "$what" ] || rest="$rest $pid"; done
      pids=$rest ;;
    namespace) namespaces="$namespaces $what" ;;
    link) links="$links $what" ;;
    discard) folders="$folders$what$newline" ;;
    keep)
      rest=; IFS=$newline
      for folder in $folders; do [ "$folder" = "$what" ] || rest="$rest$folder$newline"; done
      unset IFS; folders=$rest ;;
  esac
done
for pid in $pids; do kill -9 "$pid" 2>/dev/null; done
for namespace in $namespaces; do ip netns delete "$namespace" 2>/dev/null; done
for link in $links; do ip link delete "$link" 2>/dev/null; done
IFS=$newline
for folder in $folders; do rm -rf "$folder"; done
"#;

/// Kills this process when the test process ends.
pub(crate) fn watch(pid: u32) {
    tell(&format!("watch {pid}"));
}

/// This process has ended: its id may soon belong to another.
pub(crate) fn forget(pid: u32) {
    tell(&format!("forget {pid}"));
}

/// Deletes this network namespace when the test process ends. Its name belongs to this process alone.
pub(crate) fn forget_namespace(name: &str) {
    tell(&format!("namespace {name}"));
}

/// Deletes this network link when the test process ends. Its name belongs to this process alone.
pub(crate) fn unlink(name: &str) {
    tell(&format!("link {name}"));
}

/// Removes this folder when the test process ends.
pub(crate) fn discard(folder: &Path) {
    tell(&format!("discard {}", folder.display()));
}

/// Leaves this folder after all.
pub(crate) fn keep(folder: &Path) {
    tell(&format!("keep {}", folder.display()));
}

fn tell(line: &str) {
    static WARDEN: OnceLock<Option<Mutex<ChildStdin>>> = OnceLock::new();
    match WARDEN.get_or_init(hire) {
        Some(pipe) if writeln!(pipe.lock(), "{line}").is_ok() => {}
        Some(_) | None => eprintln!("no warden: {line:?} is left undone"),
    }
}

/// In a process group of its own: a Ctrl-C at the terminal must not end it before its work.
fn hire() -> Option<Mutex<ChildStdin>> {
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT]).process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().ok().and_then(|mut shell| shell.stdin.take()).map(Mutex::new)
}
