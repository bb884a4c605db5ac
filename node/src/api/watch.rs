//! `WatchDevices`: the log's events as changes of devices.

use std::future::Future;

use rollcall_proto::api::{
    Device, DeviceEventKind, Session, WatchCursor, WatchDevicesRequest, WatchDevicesResponse,
};
use rollcall_registry::model::{
    event::Event,
    ids::{ClusterId, DeviceKey, LogIndex},
    profile::Profile,
};
use rollcall_router::Reason;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::{
    retirement,
    status::{Refusal, reason},
    validate::{self, Invalid},
    view,
};
use crate::{
    cluster::{Cluster, Cursor, Watch, WatchError, WatchItem},
    limits::WATCH_CHANNEL,
};

type Changes = mpsc::Sender<Result<WatchDevicesResponse, Status>>;

/// Which changes a watcher wants.
struct Filter {
    namespace: String,
    group: String,
    device_id: String,
}

/// Opens a watch: first the cursor at which it begins, then changes until the caller goes, its connection has `retired`, or
/// `closing` is cancelled.
///
/// # Errors
/// A field that is not as it must be, or a cursor from which there is no going on.
pub(super) fn open<C: Cluster>(
    cluster: &C,
    request: WatchDevicesRequest,
    retired: impl Future<Output = ()> + Send + 'static,
    closing: CancellationToken,
) -> Result<ReceiverStream<Result<WatchDevicesResponse, Status>>, Refusal> {
    validate::name("namespace", &request.namespace)?;
    validate::name("group", &request.group)?;
    validate::name("device_id", &request.device_id)?;
    let after = request.after.map(read_cursor).transpose()?;
    // Looked at before the watch opens: resuming from here may only repeat what was not yet seen.
    let now = LogIndex(cluster.routes().applied_index().0);
    let changes = cluster.watch(after)?;
    let start = after.or_else(|| {
        cluster.routes().cluster_id().map(|id| Cursor { cluster: id, index: now, position: u32::MAX })
    });
    let filter = Filter {
        namespace: validate::namespace(&request.namespace).to_owned(),
        group: request.group,
        device_id: request.device_id,
    };
    let (sender, stream) = mpsc::channel(WATCH_CHANNEL);
    let following = follow(cluster.clone(), changes, filter, start, sender.clone(), closing);
    tokio::spawn(async move {
        tokio::select! {
            () = following => {}
            // Whoever has gone needs no status.
            () = retired => drop(sender.send(Err(retirement::refusal().into())).await),
        }
    });
    Ok(ReceiverStream::new(stream))
}

async fn follow<C: Cluster>(
    cluster: C,
    mut changes: C::Watch,
    filter: Filter,
    start: Option<Cursor>,
    sender: Changes,
    closing: CancellationToken,
) {
    let first = WatchDevicesResponse { cursor: start.map(write_cursor), ..WatchDevicesResponse::default() };
    if sender.send(Ok(first)).await.is_err() {
        return;
    }
    loop {
        let item = tokio::select! {
            item = changes.next() => item,
            () = closing.cancelled() => Err(WatchError::Stopping),
            () = sender.closed() => return,
        };
        let message = match item {
            Ok(item) => match change(&cluster, &filter, item) {
                Some(change) => Ok(change),
                None => continue,
            },
            Err(error) => Err(Refusal::from(error).into()),
        };
        let ended = message.is_err();
        if sender.send(message).await.is_err() || ended {
            return;
        }
    }
}

/// The change that an event is to this watcher.
fn change<C: Cluster>(cluster: &C, filter: &Filter, item: WatchItem) -> Option<WatchDevicesResponse> {
    let routes = cluster.routes();
    let known = |device: &DeviceKey| routes.device(device);
    let enabled = |device: &DeviceKey| known(device).is_none_or(|view| view.enabled);
    let (kind, device, session) = match &item.event {
        Event::Opened { device, session, profile, .. } => {
            let shown = filter.show(device, profile, enabled(device))?;
            (DeviceEventKind::Connected, shown, Some(view::session_of(session, profile, routes)))
        }
        Event::Updated { device, session, profile } => {
            let shown = filter.show(device, profile, enabled(device))?;
            (DeviceEventKind::Updated, shown, Some(view::session_of(session, profile, routes)))
        }
        Event::Closed { device, profile, .. } => {
            (DeviceEventKind::Disconnected, filter.show(device, profile, enabled(device))?, None::<Session>)
        }
        Event::Created { device, profile } => {
            (DeviceEventKind::Created, filter.show(device, profile, enabled(device))?, None)
        }
        Event::Changed { device, profile } => {
            (DeviceEventKind::Updated, filter.show(device, profile, enabled(device))?, None)
        }
        Event::Removed { device, profile } => {
            (DeviceEventKind::Deleted, filter.show(device, profile, true)?, None)
        }
        Event::NodeUp { .. }
        | Event::NodeDown { .. }
        | Event::NodeAdmitted { .. }
        | Event::NodeRemoved { .. }
        | Event::LevelRaised { .. }
        | Event::BatchApplied(_) => {
            return None;
        }
    };
    let device = Device { session, ..device };
    // Of a device that is gone there is no record any more.
    let shown = item.event.device().and_then(known).filter(|_| kind != DeviceEventKind::Deleted);
    let device = match shown {
        Some(view) => view::on_record(device, &view.standing, routes.policy()),
        None => device,
    };
    Some(WatchDevicesResponse {
        kind: kind as i32,
        device: Some(device),
        cursor: Some(write_cursor(item.cursor)),
    })
}

impl Filter {
    fn show(&self, device: &DeviceKey, profile: &Profile, enabled: bool) -> Option<Device> {
        let wanted = device.namespace == self.namespace
            && (self.device_id.is_empty() || device.device == self.device_id)
            && (self.group.is_empty() || profile.belongs_to(&self.group));
        wanted.then(|| view::bare(device, profile, enabled))
    }
}

fn read_cursor(cursor: WatchCursor) -> Result<Cursor, Invalid> {
    let cluster = u128::from_str_radix(&cursor.cluster_id, 16)
        .map_err(|_| Invalid::new("after.cluster_id", "not the id of a cluster"))?;
    Ok(Cursor { cluster: ClusterId(cluster), index: LogIndex(cursor.index), position: cursor.position })
}

fn write_cursor(cursor: Cursor) -> WatchCursor {
    WatchCursor { cluster_id: cursor.cluster.to_string(), index: cursor.index.0, position: cursor.position }
}

impl From<WatchError> for Refusal {
    fn from(error: WatchError) -> Self {
        let (code, reason) = match error {
            WatchError::TooOld { .. } => (Code::OutOfRange, reason::CURSOR_TOO_OLD),
            WatchError::OtherCluster => (Code::OutOfRange, reason::CURSOR_TOO_OLD),
            WatchError::Stopping => (Code::Unavailable, Reason::ShuttingDown.as_str()),
        };
        Self::new(code, reason, error.to_string())
    }
}
