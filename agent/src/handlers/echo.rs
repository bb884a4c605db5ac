//! `echo`: the reply is the call.

use crate::{
    call::{Call, HandlerError, Reply},
    handler::Handler,
};

/// Answers with the payload, the media type and the metadata that came.
#[derive(Debug, Clone, Copy)]
pub struct Echo;

impl Handler for Echo {
    async fn handle(&self, call: Call) -> Result<Reply, HandlerError> {
        Ok(Reply { payload: call.payload, content_type: call.content_type, metadata: call.metadata })
    }
}
