//! How long callers' connections last: none for ever, so that callers spread over the nodes that there are now.
//!
//! tonic has one age for all connections of a server, and with its grace it cuts them without having said GOAWAY. So there are
//! several servers, each with an age of its own and no grace; a connection comes to the next of them and cuts itself.

use std::{fmt, future::Future, time::Duration};

use futures::future::{try_join, try_join_all};
use rollcall_transport::{Connection, Incoming};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Error;

use super::servers::Running;
use crate::limits::{AGED_AHEAD, AGES, RETIRED_GRACE};

/// The connections of one age.
pub(super) type Aged = ReceiverStream<Result<Connection, std::io::Error>>;

/// Where the connections of one age are served.
struct Seat {
    age: Option<Duration>,
    connections: mpsc::Sender<Result<Connection, std::io::Error>>,
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").field("age", &self.age).finish_non_exhaustive()
    }
}

/// Serves a listener until `stop`, then until its connections have ended. `server` serves those of one age, until `stop` too.
pub(super) fn serve<F>(
    incoming: Incoming,
    age: Option<Duration>,
    stop: CancellationToken,
    server: impl Fn(Option<Duration>, Aged) -> F,
) -> Running
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    let (mut seats, mut servers) = (Vec::new(), Vec::new());
    for age in ages(age) {
        let (connections, taken) = mpsc::channel(AGED_AHEAD);
        servers.push(server(age, ReceiverStream::new(taken)));
        seats.push(Seat { age, connections });
    }
    tokio::spawn(async move {
        let handing_out = async {
            tokio::select! {
                () = stop.cancelled() => {}
                () = hand_out(incoming, seats) => {}
            }
            Ok(())
        };
        try_join(handing_out, try_join_all(servers)).await.map(|_ended| ())
    })
}

/// Nine tenths to eleven tenths of an age, in equal steps; `None`: they last as long as they like.
fn ages(age: Option<Duration>) -> Vec<Option<Duration>> {
    let Some(age) = age else { return vec![None] };
    (0..AGES).map(|step| Some(age * 9 / 10 + age / 5 * step / (AGES - 1))).collect()
}

async fn hand_out(mut incoming: Incoming, seats: Vec<Seat>) {
    for seat in seats.iter().cycle() {
        let Some(connection) = incoming.next_connection().await else { return };
        let connection = match seat.age {
            Some(age) => connection.retiring(age, RETIRED_GRACE, "services"),
            None => connection,
        };
        if seat.connections.send(Ok(connection)).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_spread_by_a_tenth_both_ways() {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        let spread = ages(Some(minutes(30)));
        assert_eq!((spread.first(), spread.last()), (Some(&Some(minutes(27))), Some(&Some(minutes(33)))));
        assert_eq!(spread[AGES as usize / 2], Some(minutes(30)));
        assert!(spread.windows(2).all(|pair| pair[0] < pair[1]), "{spread:?}");
        assert_eq!(ages(None), [None]);
    }
}
