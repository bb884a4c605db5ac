//! Whether a request never reached whoever serves it, though its connection had come about: it may be sent again, whatever it
//! does.

use std::error::Error;

/// Whether a failed request was surely not looked at by the other end: it waited for a connection that ended first, or the
/// other end said so (a GOAWAY below its stream, or `REFUSED_STREAM`; RFC 9113, sections 6.8 and 8.7).
///
/// A server that wants to be rid of a connection says GOAWAY. hyper's client then drops the requests that it has queued, and
/// those whose headers alone it has written, where grpc-go and grpcio send them over another connection by themselves.
pub fn is_unsent(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.downcast_ref().is_some_and(hyper::Error::is_canceled) {
            return true;
        }
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            let is_refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
            return error.is_remote() && (error.is_go_away() || is_refused);
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;
    use http_body_util::Empty;
    use hyper::client::conn::http2::{SendRequest, handshake};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::io::DuplexStream;

    use super::*;

    type Sender = SendRequest<Empty<Bytes>>;
    type Server = h2::server::Connection<DuplexStream, Bytes>;

    async fn connected() -> (Sender, Server) {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (client, server) =
            tokio::join!(handshake(TokioExecutor::new(), TokioIo::new(ours)), h2::server::handshake(theirs));
        let (sender, connection) = client.unwrap();
        tokio::spawn(connection);
        (sender, server.unwrap())
    }

    async fn failed(sender: &mut Sender) -> hyper::Error {
        let request = Request::builder().uri("http://there/").body(Empty::new()).unwrap();
        sender.send_request(request).await.unwrap_err()
    }

    #[tokio::test]
    async fn what_came_after_a_goaway_was_not_sent() {
        let (mut sender, mut server) = connected().await;
        server.graceful_shutdown();
        tokio::spawn(async move { while server.accept().await.is_some() {} });
        while !sender.is_closed() {
            tokio::task::yield_now().await;
        }
        assert!(is_unsent(&failed(&mut sender).await));
    }

    #[tokio::test]
    async fn what_was_refused_was_not_sent_and_what_was_reset_may_have_been() {
        for (reason, unsent) in [(h2::Reason::REFUSED_STREAM, true), (h2::Reason::CANCEL, false)] {
            let (mut sender, mut server) = connected().await;
            tokio::spawn(async move {
                while let Some(Ok((_, mut answer))) = server.accept().await {
                    answer.send_reset(reason);
                }
            });
            assert_eq!(is_unsent(&failed(&mut sender).await), unsent, "{reason}");
        }
    }

    #[tokio::test]
    async fn what_was_taken_by_a_server_that_is_gone_may_have_been_sent() {
        let (mut sender, mut server) = connected().await;
        tokio::spawn(async move { server.accept().await.map(drop) });
        assert!(!is_unsent(&failed(&mut sender).await));
    }
}
