//! Resume tokens: a keyed hash of device and epoch, so that only the agent that held a session can show it again.

use bytes::Bytes;
use hmac::{Hmac, Mac};
use rollcall_registry::model::ids::{ClusterId, DeviceKey, Epoch};
use sha2::Sha256;

/// HMAC-SHA-256 (RFC 2104) of cluster, device and epoch under the cluster's token key.
pub(crate) fn resume_token(key: &[u8; 32], cluster: ClusterId, device: &DeviceKey, epoch: Epoch) -> Bytes {
    mac(key, cluster, device, epoch)
        .map(|mac| Bytes::copy_from_slice(&mac.finalize().into_bytes()))
        .unwrap_or_default()
}

/// Whether a token is [`resume_token`]'s. Takes the same time wherever it differs.
pub(crate) fn is_genuine(
    token: &[u8],
    key: &[u8; 32],
    cluster: ClusterId,
    device: &DeviceKey,
    epoch: Epoch,
) -> bool {
    mac(key, cluster, device, epoch).is_some_and(|mac| mac.verify_slice(token).is_ok())
}

fn mac(key: &[u8; 32], cluster: ClusterId, device: &DeviceKey, epoch: Epoch) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(b"rollcall resume 1");
    mac.update(&cluster.to_bytes());
    mac.update(&epoch.0.to_be_bytes());
    // The length keeps (ab, c) and (a, bc) apart.
    mac.update(&(device.namespace.len() as u64).to_be_bytes());
    mac.update(device.namespace.as_bytes());
    mac.update(device.device.as_bytes());
    Some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_bound_to_everything_it_stands_for() {
        let token = |key: u8, cluster, namespace, device, epoch| {
            resume_token(&[key; 32], ClusterId(cluster), &DeviceKey::new(namespace, device), Epoch(epoch))
        };
        let original = token(1, 1, "ab", "c", 1);
        assert_eq!(original.len(), 32);
        assert_eq!(original, token(1, 1, "ab", "c", 1));
        for other in [
            token(2, 1, "ab", "c", 1),
            token(1, 2, "ab", "c", 1),
            token(1, 1, "a", "bc", 1),
            token(1, 1, "ab", "c", 2),
        ] {
            assert_ne!(original, other);
        }
        let judge =
            |token: &[u8]| is_genuine(token, &[1; 32], ClusterId(1), &DeviceKey::new("ab", "c"), Epoch(1));
        assert!(judge(&original));
        assert!(!judge(&original[..31]) && !judge(b"") && !judge(&token(2, 1, "ab", "c", 1)));
    }
}
