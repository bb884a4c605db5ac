//! What each method asks of its caller. A method that is not named here is for administrators of the whole cluster.

use super::identity::{Identity, Verb};

/// What a method asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asks {
    /// Nothing: a prober has no credentials.
    Nothing,
    /// To be somebody.
    AnIdentity,
    /// The verb somewhere; the service itself looks at what exactly.
    Somewhere(Verb),
    /// The verb in the whole cluster.
    Everywhere(Verb),
}

pub(super) fn asks(path: &str) -> Asks {
    match path {
        "/grpc.health.v1.Health/Check" | "/grpc.health.v1.Health/Watch" => Asks::Nothing,
        "/rollcall.v1.InvokeService/Invoke"
        | "/rollcall.v1.InvokeService/InvokeStream"
        | "/rollcall.v1.InvokeService/Broadcast" => Asks::Somewhere(Verb::Invoke),
        "/rollcall.v1.RegistryService/GetDevice"
        | "/rollcall.v1.RegistryService/ListDevices"
        | "/rollcall.v1.RegistryService/ListGroups"
        | "/rollcall.v1.RegistryService/ExplainRoute"
        | "/rollcall.v1.RegistryService/GetRegistryPolicy"
        | "/rollcall.v1.RegistryService/GetGroupPolicy"
        | "/rollcall.v1.RegistryService/ListGroupPolicies"
        | "/rollcall.v1.ClusterService/GetCluster"
        | "/rollcall.v1.ClusterService/ListNodes" => Asks::Somewhere(Verb::Read),
        "/rollcall.v1.RegistryService/WatchDevices" => Asks::Somewhere(Verb::Watch),
        "/rollcall.v1.RegistryService/CreateDevice"
        | "/rollcall.v1.RegistryService/UpdateDevice"
        | "/rollcall.v1.RegistryService/DeleteDevice"
        | "/rollcall.v1.RegistryService/SetGroupPolicy"
        | "/rollcall.v1.RegistryService/DisconnectDevice" => Asks::Somewhere(Verb::Administer),
        "/rollcall.device.v1.DeviceService/Attach" => Asks::Somewhere(Verb::Attach),
        _ if path.starts_with("/grpc.reflection.") => Asks::AnIdentity,
        _ => Asks::Everywhere(Verb::Administer),
    }
}

impl Asks {
    pub(super) fn allows(self, identity: &Identity) -> bool {
        match self {
            Self::Nothing | Self::AnIdentity => true,
            Self::Somewhere(verb) => identity.may_somewhere(verb),
            Self::Everywhere(verb) => identity.may_everywhere(verb),
        }
    }

    /// Whether it is an act of an administrator.
    pub(super) fn is_administrative(self) -> bool {
        matches!(self, Self::Somewhere(Verb::Administer) | Self::Everywhere(Verb::Administer))
    }
}

/// Whether its answer may go on for longer than a credential holds, or it has to know what the credential would be worth.
pub(super) fn lasts(path: &str) -> bool {
    matches!(
        path,
        "/rollcall.v1.InvokeService/InvokeStream"
            | "/rollcall.v1.InvokeService/Broadcast"
            | "/rollcall.v1.RegistryService/WatchDevices"
            | "/rollcall.v1.ClusterService/SaveSnapshot"
            | "/rollcall.v1.ClusterService/DrainNode"
            | "/rollcall.v1.ClusterService/SetAccessRules"
            | "/rollcall.device.v1.DeviceService/Attach"
    )
}

#[cfg(test)]
mod tests {
    use rollcall_proto::FILE_DESCRIPTOR_SET;

    use super::*;

    #[test]
    fn no_name_of_a_method_is_out_of_date() {
        let text = include_str!("methods.rs").split_once("#[cfg(test)]").unwrap().0;
        let named = text.split('"').filter(|part| part.starts_with("/rollcall."));
        let known = String::from_utf8_lossy(FILE_DESCRIPTOR_SET);
        for path in named.filter(|path| path.len() > "/rollcall.".len()) {
            let (service, method) = path[1..].split_once('/').unwrap();
            let service = service.rsplit('.').next().unwrap();
            assert!(known.contains(service) && known.contains(method), "{path} is no method");
        }
    }

    #[test]
    fn what_nobody_thought_of_is_for_administrators() {
        assert_eq!(asks("/rollcall.v1.ClusterService/Anything"), Asks::Everywhere(Verb::Administer));
        assert!(asks("/rollcall.v1.ClusterService/RemoveNode").is_administrative());
        assert!(!asks("/rollcall.v1.InvokeService/Invoke").is_administrative());
    }
}
