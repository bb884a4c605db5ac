//! What to try next: commands to paste.

use anyhow::Context;

use super::{
    children::{Children, shown_program},
    demo_devices::GROUP,
    layout::Layout,
    terminal::Terminal,
};

/// The base64 of `hello`, as JSON carries bytes.
const HELLO: &str = "aGVsbG8=";

/// The commands, each with a line that says what it does.
pub(super) fn text(layout: &Layout, children: &Children, terminal: &Terminal) -> anyhow::Result<String> {
    let rollcall = shown_program(&std::env::current_exe()?);
    let [first, second, ..] = layout.nodes.as_slice() else { anyhow::bail!("fewer than two nodes") };
    let pid = children.pid(&second.name).context("a node has ended")?;
    let (url, http) = (first.api_url(), first.http);
    let servers: Vec<_> = layout.nodes.iter().map(super::layout::Place::device_url).collect();
    let servers = servers.join(",");
    let steps = [
        (
            "Call a device through n1, wherever it is (leave --device out: any of the group)",
            format!("{rollcall} invoke {GROUP} echo hello --device demo-2 --addr {url}"),
        ),
        (
            "The same with grpcurl",
            format!(
                "grpcurl -plaintext -d '{{\"group\":\"{GROUP}\",\"action\":\"echo\",\"device_id\":\"demo-2\",\
                 \"payload\":\"{HELLO}\"}}' 127.0.0.1:{} rollcall.v1.InvokeService/Invoke",
                first.api
            ),
        ),
        ("Every device of the group", format!("{rollcall} broadcast {GROUP} echo hello --addr {url}")),
        ("Who is there", format!("{rollcall} devices list --addr {url}")),
        ("Metrics", format!("curl -s http://127.0.0.1:{http}/metrics | grep ^rollcall_")),
        (
            "Attach a device of your own, then call it",
            format!(
                "cargo run --release -p rollcall-agent -- --server {servers} --device-id phone-1 --group sign \
                 --action echo=echo --action upper='exec:tr a-z A-Z'\n    \
                 {rollcall} invoke sign upper hello --addr {url}"
            ),
        ),
        (
            "Kill a node: its device moves to another one, and is callable again (watch here)",
            format!("kill -9 {pid}"),
        ),
    ];
    let mut text = format!("\n{}\n", terminal.bold("To try, in another terminal"));
    for (what, command) in steps {
        text += &format!("  {}\n    {command}\n", terminal.dim(&format!("# {what}")));
    }
    Ok(text + "\nCtrl-C stops everything.\n\n")
}
