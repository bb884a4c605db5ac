//! `rollcall.health`: says that handlers run.

use crate::{
    call::{Call, HandlerError, Reply},
    handler::Handler,
};

/// Answers at once with nothing: where handlers hang, it hangs as well.
#[derive(Debug, Clone, Copy)]
pub struct Health;

impl Handler for Health {
    async fn handle(&self, _call: Call) -> Result<Reply, HandlerError> {
        Ok(Reply::default())
    }
}
