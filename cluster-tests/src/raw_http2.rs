//! HTTP/2 frame by frame, as an attacker writes it: nothing is checked, and nothing is answered.

use std::time::Duration;

use anyhow::Context;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};

/// What the first bytes of every connection are.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames, by their numbers in RFC 9113.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// DATA.
    Data = 0,
    /// HEADERS.
    Headers = 1,
    /// RST_STREAM.
    Reset = 3,
    /// SETTINGS.
    Settings = 4,
    /// PING.
    Ping = 6,
    /// CONTINUATION.
    Continuation = 9,
}

/// The flag by which headers end.
pub const END_HEADERS: u8 = 4;
/// The flag by which a stream ends.
pub const END_STREAM: u8 = 1;

/// A frame's bytes.
pub fn frame(kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    let head = [&length[1..], &[kind as u8, flags], &stream.to_be_bytes()].concat();
    [&head[..], payload].concat()
}

/// The headers of a call to a method, packed without compression.
pub fn headers(path: &str) -> Vec<u8> {
    // POST and http by their numbers in the static table; then path, content-type and te in letters.
    let mut block = vec![0x83, 0x86];
    text(&mut block, &[0x04], path);
    text(&mut block, &[0x0f, 0x10], "application/grpc");
    text(&mut block, &[0x00, 2, b't', b'e'], "trailers");
    block
}

/// One more header.
pub fn header(block: &mut Vec<u8>, name: &str, value: &str) {
    let mut begin = vec![0x00];
    text(&mut begin, &[], name);
    text(block, &begin, value);
}

/// A length of up to 126, or in two more bytes up to 16 K, and the text itself.
fn text(block: &mut Vec<u8>, begin: &[u8], value: &str) {
    block.extend_from_slice(begin);
    match value.len() {
        short @ 0..=126 => block.push(short as u8),
        long => {
            let rest = long - 127;
            block.extend([127, (rest % 128) as u8 | 0x80, (rest / 128) as u8]);
        }
    }
    block.extend_from_slice(value.as_bytes());
}

/// The flag of an answer to a ping.
const ACK: u8 = 1;

/// A frame that was read.
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    async fn read(from: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<Self> {
        let mut head = [0; 9];
        from.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        from.read_exact(&mut payload).await?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Ok(Self { kind: head[3], flags: head[4], stream, payload })
    }
}

/// A connection.
#[derive(Debug)]
pub struct RawHttp2 {
    stream: TcpStream,
}

impl RawHttp2 {
    /// Connects and greets.
    ///
    /// # Errors
    /// Nobody listens.
    pub async fn greet(port: u16) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(&[PREFACE, &frame(Kind::Settings, 0, 0, &[])].concat()).await?;
        Ok(Self { stream })
    }

    /// Sends bytes again and again while it is let, and reads nothing meanwhile; a node that takes no more for a moment is
    /// not pressed further. Returns whether all were taken.
    pub async fn flood(&mut self, bytes: &[u8], times: usize) -> bool {
        for _ in 0..times {
            let sent = timeout(Duration::from_secs(1), self.stream.write_all(bytes)).await;
            if !matches!(sent, Ok(Ok(()))) {
                return false;
            }
        }
        true
    }

    /// Sends a byte of a stream's data every so often, and answers pings, until the node has ended the stream or the
    /// connection.
    ///
    /// # Errors
    /// It has not, after so long.
    pub async fn dribble(&mut self, stream: u32, every: Duration, patience: Duration) -> anyhow::Result<()> {
        let (mut reader, mut writer) = self.stream.split();
        let (pong, mut pings) = mpsc::channel(16);
        let read = async {
            while let Ok(frame) = Frame::read(&mut reader).await {
                let is_over = frame.kind == Kind::Headers as u8 && frame.flags & END_STREAM != 0;
                if frame.stream == stream && (is_over || frame.kind == Kind::Reset as u8) {
                    return;
                }
                if frame.kind == Kind::Ping as u8 && frame.flags & ACK == 0 {
                    pong.try_send(frame.payload).ok();
                }
            }
        };
        let write = async {
            let mut clock = tokio::time::interval(every);
            loop {
                let next = tokio::select! {
                    _ = clock.tick() => frame(Kind::Data, 0, stream, &[0]),
                    Some(ping) = pings.recv() => frame(Kind::Ping, ACK, 0, &ping),
                };
                // What is read says when it is over.
                if writer.write_all(&next).await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let both = async {
            tokio::select! {
                () = read => {}
                () = write => {}
            }
        };
        timeout(patience, both).await.context("the node waits for the rest for ever")
    }

    /// Reads until the node has ended the connection; what it said.
    ///
    /// # Errors
    /// It has not, after so long.
    pub async fn ended(mut self, patience: Duration) -> anyhow::Result<Vec<u8>> {
        let mut said = Vec::new();
        // A reset ends it as well as anything.
        let ended = timeout(patience, self.stream.read_to_end(&mut said)).await;
        ended.context("the node keeps the connection")?.ok();
        Ok(said)
    }

    /// Reads until a frame of one of these kinds has come on a stream, or the node has ended the connection.
    ///
    /// # Errors
    /// Neither, after so long.
    pub async fn answered(&mut self, kinds: &[Kind], stream: u32, patience: Duration) -> anyhow::Result<()> {
        let read = async {
            while let Ok(frame) = Frame::read(&mut self.stream).await {
                if kinds.iter().any(|kind| *kind as u8 == frame.kind) && frame.stream == stream {
                    return;
                }
            }
        };
        timeout(patience, read).await.context("no answer")
    }
}
