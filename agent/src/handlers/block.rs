//! `block`: a handler that hangs, to try out what a cluster does with such a device.

use std::{thread, time::Duration};

use crate::{
    call::{Call, HandlerError, Reply},
    handler::Handler,
    limits,
};

/// Blocks its thread for as many milliseconds as the payload says, at most [`limits::BLOCK_MOST`]. It cannot be
/// cancelled, and no other handler of the same thread runs meanwhile.
#[derive(Debug, Clone, Copy)]
pub struct Block;

impl Handler for Block {
    async fn handle(&self, call: Call) -> Result<Reply, HandlerError> {
        let millis: u64 = String::from_utf8_lossy(&call.payload).trim().parse()?;
        thread::sleep(Duration::from_millis(millis).min(limits::BLOCK_MOST));
        Ok(Reply::from(call.payload))
    }
}
