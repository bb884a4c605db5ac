//! How connections are opened: the URL's scheme decides whether by TLS.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use http::Uri;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use parking_lot::Mutex;
use rustls_pki_types::ServerName;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tower::Service;

use crate::{ClientFiles, ClientTls, Connection, Made, TlsError, limits};

/// Opens connections: `http://` plain, `https://` by TLS.
#[derive(Clone)]
pub struct Connector {
    tcp: HttpConnector,
    tls: Option<Arc<Tls>>,
    scheme: &'static str,
}

/// What is dialled with, and when its files were looked at last.
struct Tls {
    kept: ClientTls,
    looked: Mutex<Instant>,
}

impl Connector {
    /// Opens connections as their URLs say, and trusts the authorities that the system trusts; an address without a
    /// scheme is plain.
    pub fn system() -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(limits::TCP_KEEPALIVE));
        Self { tcp, tls: None, scheme: "http" }
    }

    /// As [`Self::system`], with certificates of one's own. The files are read again before a dial when they have
    /// changed.
    ///
    /// # Errors
    /// A file cannot be read or is not right.
    pub fn with_tls(files: ClientFiles) -> Result<Self, TlsError> {
        let tls = Tls { kept: ClientTls::load(files)?, looked: Mutex::new(Instant::now()) };
        Ok(Self { tls: Some(Arc::new(tls)), ..Self::system() })
    }

    /// As [`Self::with_tls`], for URLs alone that say so: an address without a scheme is dialled by TLS, and nothing
    /// plain is dialled at all.
    ///
    /// # Errors
    /// A file cannot be read or is not right.
    pub fn tls_only(files: ClientFiles) -> Result<Self, TlsError> {
        Ok(Self { scheme: "https", ..Self::with_tls(files)? })
    }

    /// An address `host:port` as a URL.
    pub fn url(&self, address: &str) -> String {
        if address.contains("://") { address.to_owned() } else { format!("{}://{address}", self.scheme) }
    }
}

impl Default for Connector {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tls = self.tls.as_ref().map(|tls| tls.kept.source());
        f.debug_struct("Connector").field("scheme", &self.scheme).field("tls", &tls).finish_non_exhaustive()
    }
}

impl Tls {
    /// The certificates as they are now; a bad change is said, and what held before holds on.
    async fn config(self: &Arc<Self>) -> Arc<rustls::ClientConfig> {
        if self.is_due() {
            let tls = Arc::clone(self);
            // Without a runtime's blocking threads there is nothing left to dial for.
            let _ = tokio::task::spawn_blocking(move || match tls.kept.refresh() {
                Ok(Made::Same) => {}
                Ok(Made::Anew) => {
                    tracing::info!("certificates have changed; new connections use the new ones")
                }
                Err(error) => {
                    tracing::warn!(%error, "certificates have changed and are bad; the old ones stay")
                }
            })
            .await;
        }
        Arc::clone(&self.kept.current().config)
    }

    fn is_due(&self) -> bool {
        let mut looked = self.looked.lock();
        let due = looked.elapsed() >= limits::CLIENT_REREAD;
        if due {
            *looked = Instant::now();
        }
        due
    }
}

/// Made at the first dial that needs it: most programs have certificates of their own, or none.
async fn system_config() -> io::Result<Arc<rustls::ClientConfig>> {
    static SYSTEM: OnceCell<ClientTls> = OnceCell::const_new();
    let load = async || {
        let loaded = tokio::task::spawn_blocking(|| ClientTls::load(ClientFiles::default())).await;
        loaded.map_err(io::Error::other)?.map_err(io::Error::other)
    };
    Ok(Arc::clone(&SYSTEM.get_or_try_init(load).await?.current().config))
}

type Opening = Pin<Box<dyn Future<Output = io::Result<TokioIo<Connection>>> + Send>>;

impl Service<Uri> for Connector {
    type Response = TokioIo<Connection>;
    type Error = io::Error;
    type Future = Opening;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp.poll_ready(cx).map_err(io::Error::other)
    }

    fn call(&mut self, uri: Uri) -> Opening {
        let by_tls = uri.scheme_str() == Some("https");
        let (tls, plain_allowed) = (self.tls.clone(), self.scheme == "http");
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let tcp = self.tcp.call(uri);
        Box::pin(async move {
            if !by_tls && !plain_allowed {
                return Err(io::Error::other("only connections by TLS are opened here"));
            }
            if !by_tls {
                return Ok(TokioIo::new(Connection::plain(
                    tcp.await.map_err(io::Error::other)?.into_inner(),
                )));
            }
            let name = ServerName::try_from(host).map_err(io::Error::other)?;
            let tcp = tcp.await.map_err(io::Error::other)?.into_inner();
            let config = match tls {
                Some(tls) => tls.config().await,
                None => system_config().await?,
            };
            let stream = TlsConnector::from(config).connect(name, tcp).await?;
            Ok(TokioIo::new(Connection::tls(stream)))
        })
    }
}
