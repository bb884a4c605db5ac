//! Who may do what, as administrators store it: judged here, before it is proposed.

use std::sync::Arc;

use rollcall_proto::api::{GetAccessRulesResponse, SetAccessRulesRequest, SetAccessRulesResponse};
use rollcall_registry::{
    AdministerError, Administration,
    limits::ACCESS_RULES_BYTES,
    model::{
        command::{Expect, SetAccessRules},
        ids::Etag,
        rejection::RecordRejection,
    },
};
use rollcall_router::Reason;
use tokio::task::spawn_blocking;
use tonic::Code;

use super::{
    administration::{new_etag, read_etag},
    read::cluster_id,
    status::{Refusal, reason},
    validate::Invalid,
    view,
};
use crate::{access::Standing, cluster::Cluster};

/// Shows what is stored.
pub(super) fn get<C: Cluster>(cluster: &C) -> GetAccessRulesResponse {
    let index = cluster.routes().applied_index().0;
    let stored = cluster.routes().access_rules();
    GetAccessRulesResponse {
        text: stored.as_ref().map(|rules| rules.text.to_string()).unwrap_or_default(),
        etag: stored.map(|rules| view::etag(rules.etag)).unwrap_or_default(),
        index,
        cluster_id: cluster_id(cluster),
    }
}

/// Stores a text. `standing`: what the caller showed; none where anybody may do anything.
pub(super) async fn set<C: Cluster>(
    cluster: &C,
    standing: Option<Standing>,
    request: SetAccessRulesRequest,
) -> Result<SetAccessRulesResponse, Refusal> {
    let expect = read_etag(&request.etag)?;
    judge(standing, &request.text).await?;
    let (new_etag, is_stored) = (new_etag(), !request.text.is_empty());
    let expect = match (expect, cluster.routes().access_rules()) {
        (Some(etag), _) => Expect::Etag(etag),
        (None, Some(_)) => Expect::AnyRecord,
        (None, None) => Expect::NoRecord,
    };
    let set = SetAccessRules { expect, new_etag, text: request.text.into() };
    let done = cluster.administer(Administration::SetAccessRules(set)).await;
    let index = done.map_err(|error| refusal(&error))?.0;
    let etag = if is_stored { view::etag(new_etag) } else { String::new() };
    Ok(SetAccessRulesResponse { etag, index, cluster_id: cluster_id(cluster) })
}

/// Whether the text may be stored: it is right, and leaves its author what storing another one needs.
async fn judge(standing: Option<Standing>, text: &str) -> Result<(), Refusal> {
    if text.len() > ACCESS_RULES_BYTES {
        return Err(Invalid::new("text", format!("is longer than {ACCESS_RULES_BYTES} bytes")).into());
    }
    let Some(standing) = standing else {
        let words = "this node has no file of `access`: anybody may do anything on it, whatever is stored";
        return Err(Refusal::new(Code::FailedPrecondition, reason::ACCESS_IS_OPEN, words));
    };
    if text.is_empty() {
        return Ok(());
    }
    let text: Arc<str> = text.into();
    // Files that it names are read.
    let judged = spawn_blocking(move || standing.would_administer(&text)).await;
    match judged {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => {
            let problem =
                "would not let you administer the whole cluster: nobody could be sure to change it again";
            Err(Invalid::new("text", problem).into())
        }
        Ok(Err(error)) => Err(Invalid::new("text", error.to_string()).into()),
        Err(panicked) => Err(Refusal::new(Code::Internal, Reason::Internal.as_str(), panicked.to_string())),
    }
}

fn refusal(error: &AdministerError) -> Refusal {
    let other = |etag: Option<Etag>| {
        let refusal = Refusal::new(
            Code::Aborted,
            reason::ETAG_MISMATCH,
            "another version is stored by now: read it, then decide again",
        );
        refusal.with("etag", etag.map(view::etag).unwrap_or_default())
    };
    match error {
        AdministerError::Rejected(RecordRejection::Missing) => other(None),
        AdministerError::Rejected(
            RecordRejection::Exists { etag } | RecordRejection::EtagMismatch { current: etag },
        ) => other(Some(*etag)),
        error => Refusal::of_administration("", error),
    }
}
