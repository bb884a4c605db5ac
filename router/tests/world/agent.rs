//! A device's agent, driven by hand: the test decides about every frame.

use std::{collections::HashMap, ops::ControlFlow, time::Duration};

use bytes::Bytes;
use rollcall_proto::device::{
    self, AttachRequest, AttachResponse, Attached, attach_request::Frame as Up,
    attach_response::Frame as Down,
};
use rollcall_router::{DeviceConnection, Outgoing, Router};

use super::registrar::FakeRegistrar;

/// A connection as an agent sees it.
pub(crate) struct Agent {
    connection: DeviceConnection,
    outgoing: Outgoing,
    /// Whether Pings are answered.
    pub(crate) answers_pings: bool,
}

/// Group `g`, action `echo`, this capacity.
pub(crate) fn profile(capacity: u32) -> device::Profile {
    device::Profile { groups: vec!["g".into()], actions: vec!["echo".into()], capacity, ..Default::default() }
}

/// An attach of this device by this instance.
pub(crate) fn attach(device: &str, instance: u64, number: u64, profile: device::Profile) -> device::Attach {
    device::Attach {
        device_id: device.to_owned(),
        instance,
        attach_number: number,
        profile: Some(profile),
        ..Default::default()
    }
}

impl Agent {
    /// A connection that has said nothing yet.
    pub(crate) fn silent(router: &Router<FakeRegistrar>) -> Self {
        let (connection, outgoing) = router.connect("192.0.2.1:5000".to_owned());
        Self { connection, outgoing, answers_pings: true }
    }

    /// A connection after Hello and Welcome, of an agent that knows nothing of credit.
    pub(crate) async fn connect(router: &Router<FakeRegistrar>) -> Self {
        Self::greet(router, device::Hello::default()).await
    }

    /// A connection after Hello and Welcome, on which both sides wait for credit.
    pub(crate) async fn connect_on_credit(router: &Router<FakeRegistrar>) -> Self {
        Self::greet(router, device::Hello { credit: true, ..device::Hello::default() }).await
    }

    async fn greet(router: &Router<FakeRegistrar>, hello: device::Hello) -> Self {
        let (mut agent, credit) = (Self::silent(router), hello.credit);
        let hello = device::Hello { protocol_min: 1, protocol_max: 1, agent: "test".to_owned(), ..hello };
        assert!(agent.say(0, Up::Hello(hello)).await.is_continue());
        match agent.next().await {
            Down::Welcome(welcome) => assert_eq!((welcome.protocol, welcome.credit), (1, credit)),
            other => panic!("expected Welcome, got {other:?}"),
        }
        agent
    }

    /// A connection with this device attached on slot 1.
    pub(crate) async fn attached(router: &Router<FakeRegistrar>, device: &str, capacity: u32) -> Self {
        let mut agent = Self::connect(router).await;
        let instance = u64::from(device.bytes().map(u32::from).sum::<u32>()) + 1;
        agent.attach(1, attach(device, instance, 1, profile(capacity))).await;
        agent
    }

    /// Ends the stream in good order.
    pub(crate) fn finish(mut self) {
        self.connection.finished();
    }

    /// Attaches and expects success.
    pub(crate) async fn attach(&mut self, slot: u32, attach: device::Attach) -> Attached {
        let _ = self.say(slot, Up::Attach(attach)).await;
        match self.next().await {
            Down::Attached(attached) => attached,
            other => panic!("expected Attached, got {other:?}"),
        }
    }

    /// Sends a frame.
    pub(crate) async fn say(&mut self, slot: u32, frame: Up) -> ControlFlow<()> {
        self.connection.received(&mut vec![AttachRequest { slot, frame: Some(frame) }]).await
    }

    /// The next frame, or `None` at the end; Pings are answered meanwhile.
    pub(crate) async fn next_frame(&mut self) -> Option<AttachResponse> {
        loop {
            let waited = tokio::time::timeout(Duration::from_secs(60), self.outgoing.recv());
            let frame = waited.await.expect("a frame within a minute")?;
            match &frame.frame {
                Some(Down::Ping(ping)) if self.answers_pings => {
                    let pong = Up::Pong(device::Pong { number: ping.number });
                    let _ = self.say(0, pong).await;
                }
                _ => return Some(frame),
            }
        }
    }

    /// The next frame.
    pub(crate) async fn next(&mut self) -> Down {
        let frame = self.next_frame().await.expect("the connection goes on");
        frame.frame.expect("a frame has a kind")
    }

    /// The next frame, which must be a call; its whole payload is in it.
    pub(crate) async fn next_call(&mut self) -> device::Call {
        let mut call = match self.next().await {
            Down::Call(call) => *call,
            other => panic!("expected a call, got {other:?}"),
        };
        let mut payload = call.payload.to_vec();
        while (payload.len() as u64) < call.payload_bytes {
            match self.next().await {
                Down::Chunk(chunk) => payload.extend_from_slice(&chunk.data),
                other => panic!("expected a chunk, got {other:?}"),
            }
        }
        call.payload = payload.into();
        call
    }

    /// Whether nothing comes for a while.
    pub(crate) async fn hears_nothing(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(50), self.next_frame()).await.is_err()
    }

    /// Answers a call, in chunks where the protocol asks for it.
    pub(crate) async fn answer(&mut self, slot: u32, call: &device::Call, payload: Bytes) {
        const CHUNK: usize = 64 * 1024;
        let mut rest = payload.clone();
        let result = device::Result {
            tag: call.tag,
            token: call.token.clone(),
            epoch: call.epoch,
            payload_bytes: payload.len() as u64,
            payload: rest.split_to(rest.len().min(CHUNK)),
            ..Default::default()
        };
        let _ = self.say(slot, Up::Result(result.into())).await;
        while !rest.is_empty() {
            let data = rest.split_to(rest.len().min(CHUNK));
            let chunk = device::Chunk { tag: call.tag, data, last: rest.is_empty() };
            let _ = self.say(slot, Up::Chunk(chunk)).await;
        }
    }

    /// Echoes calls for as long as the connection lasts.
    pub(crate) fn echo(mut self) -> tokio::task::JoinHandle<()> {
        tokio::spawn(async move {
            let mut arriving: HashMap<u64, (device::Call, Vec<u8>)> = HashMap::new();
            while let Some(frame) = self.next_frame().await {
                let (tag, part) = match frame.frame {
                    Some(Down::Call(mut call)) => {
                        let (tag, part) = (call.tag, std::mem::take(&mut call.payload));
                        arriving.insert(tag, (*call, Vec::new()));
                        (tag, part)
                    }
                    Some(Down::Chunk(chunk)) => (chunk.tag, chunk.data),
                    _ => continue,
                };
                let (call, payload) = arriving.get_mut(&tag).expect("a chunk follows its call");
                payload.extend_from_slice(&part);
                if payload.len() as u64 == call.payload_bytes {
                    let (call, payload) = arriving.remove(&tag).expect("it is there");
                    self.answer(frame.slot, &call, payload.into()).await;
                }
            }
        })
    }
}
