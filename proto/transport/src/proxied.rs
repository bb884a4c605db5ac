//! Connections that come through proxies: whose they are, by the PROXY protocol, version 2. What else such a header says is
//! read over.
//!
//! See <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use ipnet::IpNet;
use parking_lot::Mutex;
use ppp::v2::{Addresses, Command, Header, PROTOCOL_PREFIX, ParseError, Protocol};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::limits;

/// What comes before the length: the signature, version and command, family and protocol.
const FIXED_BYTES: usize = 16;
/// What version 1 begins with.
const VERSION_1: &[u8] = b"PROXY ";

/// The proxies before a listener: each of their connections must say whose it is, and nobody else may. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TrustedProxies {
    networks: Arc<[IpNet]>,
    /// When a bad header was logged last.
    said: Arc<Mutex<Option<Instant>>>,
}

impl TrustedProxies {
    /// Those of these networks; `None`: there are none.
    pub fn of(networks: &[IpNet]) -> Option<Self> {
        (!networks.is_empty()).then(|| Self { networks: networks.into(), said: Arc::default() })
    }

    /// Whether this is one of them.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address.to_canonical()))
    }

    /// Logs that a proxy did not do as it must; seldom, since each of its connections may.
    pub(crate) fn say(&self, listener: &'static str, proxy: Option<SocketAddr>, error: &BadHeader) {
        let now = Instant::now();
        let mut said = self.said.lock();
        if said.is_none_or(|last| now.duration_since(last) >= limits::PROXY_ERRORS_PAUSE) {
            *said = Some(now);
            tracing::warn!(listener, ?proxy, %error, "a trusted proxy's connection was closed");
        }
    }
}

/// Why a proxy's connection is not taken.
#[derive(Debug, Error)]
pub(crate) enum BadHeader {
    /// The protocol's first version.
    #[error("it speaks version 1 of the PROXY protocol: set it to version 2")]
    Version1,
    /// No such protocol.
    #[error(
        "it does not speak the PROXY protocol, which the listener's trusted proxies must: let it send version 2, or take it off their list"
    )]
    Missing,
    /// More than anybody needs.
    #[error("its header has {0} bytes, more than {most}", most = limits::PROXY_HEADER_BYTES)]
    TooLong(usize),
    /// Not as it must be.
    #[error("its header is malformed: {0}")]
    Malformed(#[from] ParseError),
    /// A datagram's, or a local socket's.
    #[error("its header is of no TCP connection")]
    Foreign,
    /// It ended first.
    #[error("its header is cut off: {0}")]
    Broken(#[from] io::Error),
    /// It took too long.
    #[error("it did not send its header in time")]
    Late,
}

/// Reads the header, and not a byte more. `None`: the connection is the proxy's own, such as a health check.
pub(crate) async fn origin(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<SocketAddr>, BadHeader> {
    let mut fixed = [0; FIXED_BYTES];
    let mut filled = 0;
    while filled < FIXED_BYTES {
        match stream.read(&mut fixed[filled..]).await? {
            0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            read => filled += read,
        }
        is_begun(&fixed[..filled])?;
    }
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let whole = FIXED_BYTES + length;
    if whole > limits::PROXY_HEADER_BYTES {
        return Err(BadHeader::TooLong(whole));
    }
    let mut header = vec![0; whole];
    header[..FIXED_BYTES].copy_from_slice(&fixed);
    stream.read_exact(&mut header[FIXED_BYTES..]).await?;
    read(&header)
}

/// Whether a header may begin like that; who speaks something else is not waited for.
fn is_begun(bytes: &[u8]) -> Result<(), BadHeader> {
    let common = |of: &[u8]| of.iter().zip(bytes).all(|(expected, byte)| expected == byte);
    if common(PROTOCOL_PREFIX) {
        Ok(())
    } else if bytes.len() >= VERSION_1.len() && common(VERSION_1) {
        Err(BadHeader::Version1)
    } else if common(VERSION_1) {
        // Not enough to tell which.
        Ok(())
    } else {
        Err(BadHeader::Missing)
    }
}

fn read(bytes: &[u8]) -> Result<Option<SocketAddr>, BadHeader> {
    let header = Header::try_from(bytes)?;
    header.tlvs().try_for_each(|field| field.map(drop))?;
    match (header.command, header.addresses, header.protocol) {
        (Command::Local, ..) | (Command::Proxy, Addresses::Unspecified, _) => Ok(None),
        (Command::Proxy, Addresses::IPv4(of), Protocol::Stream) => {
            Ok(Some((of.source_address, of.source_port).into()))
        }
        (Command::Proxy, Addresses::IPv6(of), Protocol::Stream) => {
            Ok(Some((of.source_address, of.source_port).into()))
        }
        (Command::Proxy, ..) => Err(BadHeader::Foreign),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ADDRESSES: [u8; 12] = [203, 0, 113, 7, 10, 0, 0, 1, 0x30, 0x39, 0x1c, 0xe9];

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [PROTOCOL_PREFIX, &[command, family], &length, rest].concat()
    }

    fn of_phone() -> Vec<u8> {
        header(0x21, 0x11, &ADDRESSES)
    }

    async fn read_all(bytes: &[u8]) -> (Result<Option<SocketAddr>, BadHeader>, Vec<u8>) {
        let mut left = bytes;
        let origin = origin(&mut left).await;
        (origin, left.to_vec())
    }

    #[tokio::test]
    async fn the_origin_is_read_and_what_follows_is_left() {
        let bytes = [of_phone(), b"PRI * HTTP/2.0".to_vec()].concat();
        let (origin, left) = read_all(&bytes).await;
        assert_eq!(origin.unwrap(), Some("203.0.113.7:12345".parse().unwrap()));
        assert_eq!(left, b"PRI * HTTP/2.0");
        let six = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[9], &[0; 16], &[0, 80, 1, 187]].concat();
        let (origin, _) = read_all(&header(0x21, 0x21, &six)).await;
        assert_eq!(origin.unwrap(), Some("[2001:db8::9]:80".parse().unwrap()));
    }

    #[tokio::test]
    async fn further_fields_are_read_over_if_they_are_whole() {
        let with = |fields: &[u8]| header(0x21, 0x11, &[&ADDRESSES[..], fields].concat());
        assert!(read_all(&with(&[2, 0, 1, b'a', 4, 0, 0])).await.0.is_ok());
        for cut in [&[2][..], &[2, 0], &[2, 0, 2, b'a'], &[4, 0, 0, 2, 255, 255]] {
            assert!(matches!(read_all(&with(cut)).await.0, Err(BadHeader::Malformed(_))), "{cut:?}");
        }
    }

    #[tokio::test]
    async fn a_proxys_own_connection_has_no_origin() {
        assert_eq!(read_all(&header(0x20, 0x00, &[])).await.0.unwrap(), None, "a health check");
        assert_eq!(read_all(&header(0x20, 0x11, &ADDRESSES)).await.0.unwrap(), None);
        assert_eq!(read_all(&header(0x21, 0x00, &[])).await.0.unwrap(), None, "of an unknown protocol");
    }

    #[tokio::test]
    async fn what_is_almost_right_is_refused() {
        let malformed = [
            header(0x31, 0x11, &ADDRESSES),
            header(0x22, 0x11, &ADDRESSES),
            header(0x21, 0x41, &ADDRESSES),
            header(0x21, 0x13, &ADDRESSES),
            header(0x21, 0x11, &ADDRESSES[..11]),
            header(0x21, 0x21, &ADDRESSES),
        ];
        for bytes in malformed {
            assert!(matches!(read_all(&bytes).await.0, Err(BadHeader::Malformed(_))), "{bytes:?}");
        }
        for foreign in [header(0x21, 0x12, &ADDRESSES), header(0x21, 0x31, &[b'/'; 216])] {
            assert!(matches!(read_all(&foreign).await.0, Err(BadHeader::Foreign)), "{foreign:?}");
        }
        let longest = vec![0; limits::PROXY_HEADER_BYTES];
        let (origin, left) = read_all(&header(0x20, 0x00, &longest)).await;
        assert!(matches!(origin, Err(BadHeader::TooLong(_))));
        assert_eq!(left.len(), longest.len(), "nothing of it was read");
    }

    #[tokio::test]
    async fn another_protocol_is_known_by_its_first_bytes() {
        for version_1 in [&b"PROXY TCP4 1.2.3.4 1.2.3.5 1 2\r\n"[..], b"PROXY UNKNOWN\r\n", b"PROXY "] {
            assert!(matches!(read_all(version_1).await.0, Err(BadHeader::Version1)));
        }
        for other in [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &[22, 3, 1], b"GET", b"\r\nQ", b"PROXX"] {
            assert!(matches!(read_all(other).await.0, Err(BadHeader::Missing)), "{other:?}");
        }
        for cut in 0..of_phone().len() {
            assert!(matches!(read_all(&of_phone()[..cut]).await.0, Err(BadHeader::Broken(_))), "{cut}");
        }
    }

    #[test]
    fn networks_hold_addresses_of_both_families() {
        let networks = ["10.0.0.0/8", "2001:db8::/32"].map(|text| text.parse().unwrap());
        let proxies = TrustedProxies::of(&networks).unwrap();
        for inside in ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1"] {
            assert!(proxies.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["11.0.0.1", "::ffff:11.0.0.1", "2001:db9::1", "::1"] {
            assert!(!proxies.contains(outside.parse().unwrap()), "{outside}");
        }
        assert!(TrustedProxies::of(&[]).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(at in 0..28usize, byte: u8, rest in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut bytes = of_phone();
            bytes[at] = byte;
            bytes.extend(rest);
            let mut left = &bytes[..];
            // Whatever it says.
            let _ = futures::executor::block_on(origin(&mut left));
        }
    }
}
