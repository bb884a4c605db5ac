//! `http://…`: each call is a POST to a server near the device.
//!
//! Built on hyper-util's client, which is in the tree through tonic, where a larger client would add nothing that plain
//! HTTP to a local server needs.

use bytes::Bytes;
use http::{Request, Response, Uri, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

use super::InvalidHandler;
use crate::{
    call::{Call, HandlerError, Reply},
    handler::Handler,
    limits,
};

/// How much of an error's body the caller sees.
const ERROR_BODY_BYTES: usize = 1_024;

/// Posts the payload to a URL and answers with the response's body and media type.
///
/// The request carries `content-type`, `x-request-id` and `x-rollcall-action`, `-device-id`, `-namespace`, `-group`. A status
/// other than 2xx is a device error with the begin of the body. Redirects are not followed. Bodies above 16 MiB are an
/// error. The request is dropped when the caller gives up or its deadline passes.
#[derive(Debug, Clone)]
pub struct Http {
    uri: Uri,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Http {
    /// A handler for this URL.
    ///
    /// # Errors
    /// If it is not `http://HOST[:PORT]/PATH`.
    pub fn parse(url: &str) -> Result<Self, InvalidHandler> {
        let invalid = || InvalidHandler::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| invalid())?;
        if uri.scheme_str() != Some("http") || uri.host().is_none_or(str::is_empty) {
            return Err(invalid());
        }
        Ok(Self { uri, client: Client::builder(TokioExecutor::new()).build_http() })
    }

    fn request(&self, call: Call) -> Result<Request<Full<Bytes>>, http::Error> {
        let mut request = Request::post(self.uri.clone())
            .header("x-request-id", call.request_id)
            .header("x-rollcall-action", call.action)
            .header("x-rollcall-device-id", &*call.device_id)
            .header("x-rollcall-namespace", &*call.namespace)
            .header("x-rollcall-group", call.group);
        if !call.content_type.is_empty() {
            request = request.header(CONTENT_TYPE, call.content_type);
        }
        request.body(Full::new(call.payload))
    }
}

impl Handler for Http {
    async fn handle(&self, call: Call) -> Result<Reply, HandlerError> {
        let failed = |why: String| HandlerError::new(format!("{}: {why}", self.uri));
        let request = self.request(call).map_err(|error| failed(error.to_string()))?;
        let response = self.client.request(request).await.map_err(|error| failed(describe(&error)))?;
        let (head, body) = response.into_parts();
        let limited = Limited::new(body, limits::PAYLOAD_BYTES as usize);
        let body = limited.collect().await.map_err(|error| failed(error.to_string()))?.to_bytes();
        if !head.status.is_success() {
            let text = String::from_utf8_lossy(&body[..body.len().min(ERROR_BODY_BYTES)]).into_owned();
            return Err(failed(format!("{}: {text}", head.status)));
        }
        Ok(Reply::from(body).content_type(media_type(&Response::from_parts(head, ()))))
    }
}

fn media_type(response: &Response<()>) -> String {
    let value = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

/// The error with its causes: the outermost only says that a connection failed.
fn describe(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
