//! Which devices a connection may attach: its identity says so, never the device alone.

use std::{collections::HashMap, time::Duration};

use rollcall_proto::device::{
    AttachRefused, AttachRequest, AttachResponse, CloseCode, Profile, Reauth, attach_request, attach_response,
};
use rollcall_router::limits::SLOTS_PER_CONNECTION;

use super::{
    audit::{self, Refused},
    identity::Identity,
    standing::Standing,
};
use crate::{
    api::validate::namespace,
    limits::{REAUTH_AGAIN, REAUTH_BEFORE},
};

/// Looks at what a connection's devices say of themselves.
pub struct DeviceDoor {
    standing: Standing,
    /// By slot, those that were let through.
    devices: HashMap<u32, Seat>,
}

/// What a device said of itself and was let through with.
struct Seat {
    namespace: Box<str>,
    device_id: Box<str>,
    groups: Box<[Box<str>]>,
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
                let seat = Seat {
                    namespace: namespace(&attach.namespace).into(),
                    device_id: attach.device_id.as_str().into(),
                    groups: groups(attach.profile.as_ref()),
                };
                let identity = self.standing.identity();
                if !seat.permitted(&identity) {
                    seat.tell(&identity);
                    return Verdict::Refuse(Box::new(refusal(request.slot)));
                }
                // The router refuses slots beyond this bound, and who updates an unknown one loses the connection.
                if self.devices.len() < SLOTS_PER_CONNECTION as usize {
                    self.devices.insert(request.slot, seat);
                }
                Verdict::Pass
            }
            Some(attach_request::Frame::Update(update)) => {
                let Some(seat) = self.devices.get_mut(&request.slot) else { return Verdict::End };
                seat.groups = groups(update.profile.as_ref());
                let identity = self.standing.identity();
                if seat.permitted(&identity) {
                    return Verdict::Pass;
                }
                seat.tell(&identity);
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

    /// A token that permits less than what sits here leaves what was there.
    fn renew(&self, token: &str) {
        let Some(identity) = self.standing.judge(token) else { return };
        if self.devices.values().all(|seat| seat.permitted(&identity)) {
            self.standing.renew(token, identity);
        }
    }
}

impl Seat {
    fn permitted(&self, identity: &Identity) -> bool {
        identity.may_attach(&self.namespace, &self.device_id, self.groups.iter().map(AsRef::as_ref))
    }

    fn tell(&self, identity: &Identity) {
        let what = format!("be {}/{}, with these groups", self.namespace, self.device_id);
        audit::refused(&Refused { who: &identity.name, from: None, what: &what, why: "not permitted" });
    }
}

fn groups(profile: Option<&Profile>) -> Box<[Box<str>]> {
    profile.into_iter().flat_map(|profile| &profile.groups).map(|group| group.as_str().into()).collect()
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
