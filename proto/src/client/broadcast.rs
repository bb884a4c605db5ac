//! One broadcast, as it comes: who is called, each device's result, the summary.

use tokio::time::{Instant, timeout_at};
use tonic::{Status, Streaming};

use super::CallError;
use crate::api::{
    BroadcastResponse, BroadcastStart, BroadcastSummary, InvokeResponse, Outcome, broadcast_response::Kind,
    broadcast_result,
};

/// What came of a broadcast.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "all items but one are results")]
pub enum BroadcastItem {
    /// How one device's call ended.
    Result {
        /// The device.
        device_id: String,
        /// How it ended.
        result: Result<InvokeResponse, CallError>,
    },
    /// How all of them ended. Nothing follows.
    Summary(BroadcastSummary),
}

/// A broadcast that has begun. Not reading slows it down; dropping it stops what is not sent, and cancels what is.
#[derive(Debug)]
pub struct BroadcastStream {
    start: BroadcastStart,
    answers: Streaming<BroadcastResponse>,
    give_up: Instant,
    over: bool,
}

impl BroadcastStream {
    /// Reads the start.
    pub(super) async fn begin(
        mut answers: Streaming<BroadcastResponse>,
        give_up: Instant,
    ) -> Result<Self, Status> {
        match answers.message().await?.and_then(|answer| answer.kind) {
            Some(Kind::Start(start)) => Ok(Self { start, answers, give_up, over: false }),
            _ => Err(Status::unknown("the broadcast did not say whom it goes to")),
        }
    }

    /// Whom it goes to.
    #[must_use]
    pub fn start(&self) -> &BroadcastStart {
        &self.start
    }

    /// What came next; `None` after the summary.
    ///
    /// # Errors
    /// The broadcast was cut short: devices without a result may have executed the call.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Result<Option<BroadcastItem>, CallError> {
        while !self.over {
            let answer = timeout_at(self.give_up, self.answers.message()).await;
            let answer =
                answer.map_err(|_elapsed| CallError::deadline(Outcome::Unknown)).and_then(|answer| {
                    // What was cut short may have run, whatever cut it.
                    answer.map_err(|status| CallError { outcome: Outcome::Unknown, ..status.into() })
                });
            let answer = match answer {
                Ok(Some(answer)) => answer,
                Ok(None) => {
                    return Err(self.ended(Status::unknown("the broadcast ended without a summary").into()));
                }
                Err(error) => return Err(self.ended(error)),
            };
            match answer.kind {
                Some(Kind::Result(result)) => {
                    let ended = match result.result {
                        Some(broadcast_result::Result::Response(response)) => Ok(response),
                        Some(broadcast_result::Result::Failure(failure)) => Err(failure.into()),
                        None => Err(Status::unknown("a result that says nothing").into()),
                    };
                    return Ok(Some(BroadcastItem::Result { device_id: result.device_id, result: ended }));
                }
                Some(Kind::Summary(summary)) => {
                    self.over = true;
                    return Ok(Some(BroadcastItem::Summary(summary)));
                }
                // What newer nodes say besides.
                Some(Kind::Start(_)) | None => {}
            }
        }
        Ok(None)
    }

    fn ended(&mut self, error: CallError) -> CallError {
        self.over = true;
        error
    }
}
