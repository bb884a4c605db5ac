//! What is on the way, and what becomes of it.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use http::HeaderMap;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::AbortHandle,
};

use super::Silence;
use crate::{
    chance::Chance,
    limits::{DIAL_PATIENCE, KEEPALIVE, MACHINES, RESEND, WIRE},
    trace::Trace,
};

/// A part of a request or an answer.
#[derive(Debug)]
pub(super) enum Part {
    /// The beginning of an answer.
    Head(Box<http::response::Parts>),
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    Reset(&'static str),
}

/// Which way a part goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    ToServer,
    ToClient,
}

/// A request that arrives.
pub(super) struct Arriving {
    pub(super) stream: u64,
    pub(super) head: http::request::Parts,
    pub(super) body: UnboundedReceiver<Part>,
}

/// How a wire from one machine to another is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Wire {
    /// Nothing passes.
    pub(crate) cut: bool,
    /// Up to so much longer.
    pub(crate) delay: Duration,
    /// How probably a message has to be sent again.
    pub(crate) loss: f64,
}

enum Message {
    Open { head: Box<http::request::Parts>, body: UnboundedReceiver<Part> },
    Part(Part),
}

/// A message with its way.
pub(super) struct Packet {
    stream: u64,
    way: Way,
    message: Message,
}

struct Stream {
    client: usize,
    server: usize,
    to_client: UnboundedSender<Part>,
    to_server: UnboundedSender<Part>,
    /// What answers it, once something does.
    serving: Option<AbortHandle>,
    /// A cut took something of it: nothing passes any more.
    dead: bool,
    /// When the last part to the server and to the client arrives.
    arrives: [Duration; 2],
}

pub(super) struct Core {
    pub(super) now: Duration,
    pub(super) cut_messages: u64,
    chance: Chance,
    trace: Trace,
    listening: [Option<UnboundedSender<Arriving>>; MACHINES],
    wires: [[Wire; MACHINES]; MACHINES],
    /// What waits for a cut to heal, by its wire.
    held: [[Vec<Packet>; MACHINES]; MACHINES],
    streams: BTreeMap<u64, Stream>,
    flying: BTreeMap<(Duration, u64), Packet>,
    next: u64,
}

impl Core {
    pub(super) fn new(chance: Chance, trace: Trace) -> Self {
        Self {
            now: Duration::ZERO,
            cut_messages: 0,
            chance,
            trace,
            listening: Default::default(),
            wires: Default::default(),
            held: Default::default(),
            streams: BTreeMap::new(),
            flying: BTreeMap::new(),
            next: 0,
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn listen(&mut self, machine: usize) -> UnboundedReceiver<Arriving> {
        let (sender, arriving) = unbounded_channel();
        self.listening[machine] = Some(sender);
        arriving
    }

    /// A new stream; gives its number and what comes back.
    pub(super) fn open(
        &mut self,
        client: usize,
        server: usize,
        head: http::request::Parts,
    ) -> (u64, UnboundedReceiver<Part>) {
        let stream = self.number();
        let (to_client, answer) = unbounded_channel();
        let (to_server, body) = unbounded_channel();
        let arrives = [self.now; 2];
        let opened = Stream { client, server, to_client, to_server, serving: None, dead: false, arrives };
        self.streams.insert(stream, opened);
        self.send(Packet {
            stream,
            way: Way::ToServer,
            message: Message::Open { head: Box::new(head), body },
        });
        (stream, answer)
    }

    /// Sends a part; `false`: the stream is no more.
    pub(super) fn part(&mut self, stream: u64, way: Way, part: Part) -> bool {
        let is_there = self.streams.contains_key(&stream);
        if is_there {
            self.send(Packet { stream, way, message: Message::Part(part) });
        }
        is_there
    }

    /// Says what is to end if the client gives the stream up.
    pub(super) fn serving(&mut self, stream: u64, serving: AbortHandle) {
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.serving = Some(serving);
        }
    }

    fn send(&mut self, packet: Packet) {
        let Some(stream) = self.streams.get_mut(&packet.stream).filter(|stream| !stream.dead) else { return };
        let (from, to) = match packet.way {
            Way::ToServer => (stream.client, stream.server),
            Way::ToClient => (stream.server, stream.client),
        };
        let wire = self.wires[from][to];
        if !wire.cut {
            return self.fly(packet, wire, WIRE);
        }
        self.cut_messages += 1;
        let number = packet.stream;
        if matches!(packet.message, Message::Open { .. }) {
            stream.dead = true;
            self.notice(number, Way::ToClient, DIAL_PATIENCE, "the dial is not answered");
        } else if !self.held[from][to].iter().any(|held| held.stream == number) && self.chance.happens(0.5) {
            stream.dead = true;
            self.notice(number, Way::ToClient, KEEPALIVE, "nothing is heard");
            self.notice(number, Way::ToServer, KEEPALIVE, "nothing is heard");
        } else {
            self.held[from][to].push(packet);
        }
    }

    /// Gives a message its time.
    fn fly(&mut self, packet: Packet, wire: Wire, most: Duration) {
        let mut takes = self.chance.time(Duration::from_micros(100), most + wire.delay);
        for attempt in 1..4 {
            if wire.loss > 0.0 && self.chance.happens(wire.loss) {
                takes += RESEND * attempt;
            }
        }
        let Some(stream) = self.streams.get_mut(&packet.stream) else { return };
        let last = &mut stream.arrives[packet.way as usize];
        *last = (self.now + takes).max(*last);
        let at = *last;
        let number = self.number();
        self.flying.insert((at, number), packet);
    }

    /// Has one end of a stream find out later that it broke.
    fn notice(&mut self, stream: u64, way: Way, later: Duration, why: &'static str) {
        let number = self.number();
        let packet = Packet { stream, way, message: Message::Part(Part::Reset(why)) };
        self.flying.insert((self.now + later, number), packet);
    }

    pub(super) fn set(&mut self, from: usize, to: usize, wire: Wire) {
        self.wires[from][to] = wire;
        if !wire.cut {
            for packet in std::mem::take(&mut self.held[from][to]) {
                self.fly(packet, wire, RESEND * 4);
            }
        }
    }

    /// All streams of a machine end, and what it sent is lost or known to its peers.
    pub(super) fn gone(&mut self, machine: usize, silent: Silence) {
        self.listening[machine] = None;
        let of: Vec<u64> = self
            .streams
            .iter()
            .filter(|(_, stream)| stream.client == machine || stream.server == machine)
            .map(|(number, _)| *number)
            .collect();
        for number in of {
            let later = match silent {
                Silence::Reset => self.chance.time(Duration::ZERO, WIRE),
                Silence::Silent => KEEPALIVE,
            };
            let Some(stream) = self.streams.get_mut(&number) else { continue };
            stream.dead = true;
            let other = if stream.client == machine { Way::ToServer } else { Way::ToClient };
            if stream.client == stream.server {
                self.streams.remove(&number);
            } else {
                self.notice(number, other, later, "the peer is gone");
            }
        }
        let gone = &self.streams;
        self.flying.retain(|_, packet| match (&packet.message, gone.get(&packet.stream)) {
            (_, None) => false,
            (Message::Part(Part::Reset(_)), Some(_)) => true,
            (_, Some(stream)) => !stream.dead || stream.client != machine && stream.server != machine,
        });
    }

    /// The next message that has arrived by now.
    pub(super) fn due(&mut self) -> Option<Packet> {
        let entry = self.flying.first_entry()?;
        (entry.key().0 <= self.now).then(|| entry.remove())
    }

    pub(super) fn deliver(&mut self, packet: Packet) {
        let Packet { stream: number, way, message } = packet;
        let Some(stream) = self.streams.get(&number) else { return };
        let (client, server) = (stream.client, stream.server);
        match message {
            Message::Open { head, body } => {
                let path = head.uri.path().to_owned();
                self.trace.line(self.now, format_args!("{client}>{server} #{number} {path}"));
                let arriving = Arriving { stream: number, head: *head, body };
                let listens = self.listening[server].as_ref();
                if listens.is_none_or(|machine| machine.send(arriving).is_err()) {
                    self.part(number, Way::ToClient, Part::Reset("nobody listens"));
                }
            }
            Message::Part(part) => {
                let (arrow, to) = match way {
                    Way::ToServer => ('>', &stream.to_server),
                    Way::ToClient => ('<', &stream.to_client),
                };
                self.trace.line(self.now, format_args!("{client}{arrow}{server} #{number} {}", Shown(&part)));
                let is_over = matches!((&part, way), (Part::Reset(_), _) | (Part::End, Way::ToClient));
                // Who does not listen any more says so by itself.
                let _ = to.send(part);
                if is_over {
                    self.end(number, way);
                }
            }
        }
    }

    /// Forgets a stream; the end that does not know yet finds it gone.
    fn end(&mut self, number: u64, way: Way) {
        let ended = self.streams.remove(&number);
        if let Some(serving) = ended.and_then(|stream| stream.serving).filter(|_| way == Way::ToServer) {
            serving.abort();
        }
    }
}

/// A part as the trace shows it.
struct Shown<'a>(&'a Part);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Part::Head(head) => write!(out, "head {}", head.status.as_u16()),
            Part::Data(data) => {
                // Maps in messages are written in any order, of which this is independent.
                let sum: u64 = data.iter().map(|byte| u64::from(*byte).pow(3)).sum();
                write!(out, "data {} {sum:x}", data.len())
            }
            Part::Trailers(_) => out.write_str("trailers"),
            Part::End => out.write_str("end"),
            Part::Reset(why) => write!(out, "reset: {why}"),
        }
    }
}
