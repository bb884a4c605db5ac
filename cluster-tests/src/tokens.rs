//! Tokens for tests, made as an issuer makes them, and as a forger does.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::anyhow;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

/// An issuer with a key for EdDSA and one for ES256.
pub struct TokenIssuer {
    edwards: Ed25519KeyPair,
    elliptic: EcdsaKeyPair,
}

impl TokenIssuer {
    /// With new keys.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn new() -> anyhow::Result<Self> {
        let random = SystemRandom::new();
        let made = |_| anyhow!("no key could be made");
        let refused = |_| anyhow!("the key is refused");
        let edwards = Ed25519KeyPair::generate_pkcs8(&random).map_err(made)?;
        let curve = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let elliptic = EcdsaKeyPair::generate_pkcs8(curve, &random).map_err(made)?;
        Ok(Self {
            edwards: Ed25519KeyPair::from_pkcs8(edwards.as_ref()).map_err(refused)?,
            elliptic: EcdsaKeyPair::from_pkcs8(curve, elliptic.as_ref(), &random).map_err(refused)?,
        })
    }

    /// The key set that it publishes.
    pub fn key_set(&self) -> String {
        let point = self.elliptic.public_key().as_ref();
        let (x, y) = (encode(&point[1..33]), encode(&point[33..65]));
        let keys = json!({"keys": [
            {"kty": "OKP", "crv": "Ed25519", "kid": self.key_id(), "x": encode(self.public_key())},
            {"kty": "EC", "crv": "P-256", "kid": format!("{}-elliptic", self.key_id()), "x": x, "y": y},
        ]});
        keys.to_string()
    }

    /// The bytes of its public key for EdDSA, which a forger knows too.
    pub fn public_key(&self) -> &[u8] {
        self.edwards.public_key().as_ref()
    }

    /// How the key for EdDSA is named.
    pub fn key_id(&self) -> String {
        encode(&self.public_key()[..6])
    }

    /// A token with these claims, signed by EdDSA.
    pub fn sign(&self, claims: &Value) -> String {
        let signed = unsigned(&json!({"alg": "EdDSA", "kid": self.key_id()}), claims);
        let signature = self.edwards.sign(signed.as_bytes());
        format!("{signed}.{}", encode(signature.as_ref()))
    }

    /// A token with these claims, signed by ES256.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn sign_elliptic(&self, claims: &Value) -> anyhow::Result<String> {
        let signed = unsigned(&json!({"alg": "ES256", "kid": format!("{}-elliptic", self.key_id())}), claims);
        let signature = self.elliptic.sign(&SystemRandom::new(), signed.as_bytes());
        let signature = signature.map_err(|_| anyhow!("it cannot be signed"))?;
        Ok(format!("{signed}.{}", encode(signature.as_ref())))
    }
}

/// Publishes a key set by HTTP on this machine, until it is dropped.
#[derive(Debug)]
pub struct KeyServer {
    address: SocketAddr,
    keys: Arc<Mutex<String>>,
    serving: AbortHandle,
}

impl KeyServer {
    /// Publishes these keys.
    ///
    /// # Errors
    /// There is no port.
    pub async fn start(keys: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, keys) = (listener.local_addr()?, Arc::new(Mutex::new(keys.to_owned())));
        let shown = Arc::clone(&keys);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let keys = shown.lock().clone();
                // Who hangs up asks again.
                tokio::spawn(async move { show(stream, &keys).await.ok() });
            }
        });
        Ok(Self { address, keys, serving: serving.abort_handle() })
    }

    /// Publishes these keys instead.
    pub fn change(&self, keys: &str) {
        keys.clone_into(&mut self.keys.lock());
    }

    /// Where.
    pub fn url(&self) -> String {
        format!("http://{}/keys", self.address)
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn show(mut stream: TcpStream, keys: &str) -> std::io::Result<()> {
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        asked.push(stream.read_u8().await?);
    }
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", keys.len());
    stream.write_all(format!("{head}{keys}").as_bytes()).await?;
    stream.shutdown().await
}

/// Header and claims of a token, without a signature.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()))
}

/// A signature by HMAC with this secret: what a forger makes who knows the public key alone.
pub fn by_hmac(signed: &str, secret: &[u8]) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    format!("{signed}.{}", encode(ring::hmac::sign(&key, signed.as_bytes()).as_ref()))
}

/// The SHA-256 of a token, in hex, as an access file has it.
pub fn sha256(token: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, token.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// So many seconds from now, as claims have it.
pub fn seconds_from_now(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX).saturating_add(seconds)
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
