//! Which devices a connection may attach: its identity says so, never the device alone.

use std::{collections::HashMap, sync::Arc, time::Duration};

use rollcall_proto::device::{
    AttachRefused, AttachRequest, AttachResponse, CloseCode, Profile, Reauth, attach_request, attach_response,
};
use rollcall_router::limits::SLOTS_PER_CONNECTION;

use super::{
    audit::{self, Refused},
    identity::Identity,
    standing::Standing,
};
use crate::limits::{REAUTH_AGAIN, REAUTH_BEFORE};

/// Looks at what a connection's devices say of themselves.
pub struct DeviceDoor {
    standing: Standing,
    /// Namespace and id by slot, of those that were let through.
    devices: HashMap<u32, (String, String)>,
}

/// What is to be done with a frame.
#[derive(Debug)]
pub enum Verdict {
    /// The router gets it.
    Pass,
    /// Nobody gets it: it was for the door.
    Taken,
    /// The device gets this instead.
    Refuse(Box<AttachResponse>),
    /// The connection ends.
    End,
}

impl DeviceDoor {
    /// For a connection that rests on this.
    pub fn new(standing: Standing) -> Self {
        Self { standing, devices: HashMap::new() }
    }

    /// When to look whether the device is to be asked for a new token; `None`: it has none that ends.
    pub fn ask_in(&self) -> Option<Duration> {
        let left = self.standing.token_left()?;
        Some(left.saturating_sub(REAUTH_BEFORE).max(REAUTH_AGAIN))
    }

    /// Asks the device for a new token, if its own ends soon.
    pub fn question(&self) -> Option<AttachResponse> {
        let left = self.standing.token_left().filter(|left| *left <= REAUTH_BEFORE)?;
        let reauth = Reauth { within: left.try_into().ok() };
        Some(AttachResponse { slot: 0, frame: Some(attach_response::Frame::Reauth(reauth)) })
    }

    /// Looks at a frame.
    pub fn judge(&mut self, request: &AttachRequest) -> Verdict {
        match &request.frame {
            Some(attach_request::Frame::Attach(attach)) => {
                let namespace = if attach.namespace.is_empty() { "default" } else { &attach.namespace };
                let identity = self.standing.identity();
                if !may(&identity, namespace, &attach.device_id, attach.profile.as_ref()) {
                    tell(&identity, namespace, &attach.device_id);
                    return Verdict::Refuse(Box::new(refusal(request.slot)));
                }
                // The router refuses slots beyond this bound, and who updates an unknown one loses the connection.
                if self.devices.len() < SLOTS_PER_CONNECTION as usize {
                    self.devices.insert(request.slot, (namespace.to_owned(), attach.device_id.clone()));
                }
                Verdict::Pass
            }
            Some(attach_request::Frame::Update(update)) => {
                let Some((namespace, id)) = self.devices.get(&request.slot) else { return Verdict::End };
                let identity = self.standing.identity();
                if may(&identity, namespace, id, update.profile.as_ref()) {
                    return Verdict::Pass;
                }
                tell(&identity, namespace, id);
                Verdict::End
            }
            Some(attach_request::Frame::Detach(_)) => {
                self.devices.remove(&request.slot);
                Verdict::Pass
            }
            Some(attach_request::Frame::Credentials(credentials)) => {
                self.renew(&credentials.token);
                Verdict::Taken
            }
            _ => Verdict::Pass,
        }
    }

    /// A token that is no better leaves what was there.
    fn renew(&self, token: &str) {
        let Some(identity) = self.standing.judge(token) else { return };
        let may_be = |(namespace, id): &(String, String)| may(&identity, namespace, id, None);
        if self.devices.values().all(may_be) {
            self.standing.renew(token, identity);
        }
    }
}

fn may(identity: &Arc<Identity>, namespace: &str, device_id: &str, profile: Option<&Profile>) -> bool {
    let groups = profile.into_iter().flat_map(|profile| &profile.groups).map(String::as_str);
    identity.may_attach(namespace, device_id, groups)
}

fn tell(identity: &Identity, namespace: &str, device_id: &str) {
    let what = format!("be {namespace}/{device_id}, with these groups");
    audit::refused(&Refused { who: &identity.name, from: None, what: &what, why: "not permitted" });
}

/// The same for every device that is not permitted, whether it exists or not.
fn refusal(slot: u32) -> AttachResponse {
    let refused = AttachRefused {
        code: CloseCode::Forbidden.into(),
        message: "the credentials do not permit this device".to_owned(),
        ..Default::default()
    };
    AttachResponse { slot, frame: Some(attach_response::Frame::AttachRefused(refused)) }
}
