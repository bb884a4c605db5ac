//! `Batch`: changes of sessions, each by itself, the whole once.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{close::close, open::open, update::update};
use crate::{
    limits::{EPOCH_POSITION_BITS, ROWS_TOGETHER},
    model::{
        command::{Batch, ChangeKind, SessionChange},
        event::{BatchOutcome, Event},
        ids::{BatchNumber, Epoch, LogIndex, UnixMillis},
        policy::RegistrationMode,
        profile::Profile,
        rejection::{ChangeRejection, CommandRejection},
        response::Response,
        state::{Applied, Node, State},
    },
    routes::{life::Life, writer::Writer},
};

/// What the changes of a batch are applied with.
struct Context {
    epoch_base: u64,
    index: LogIndex,
    at: UnixMillis,
    registration: RegistrationMode,
    life: Arc<Life>,
    /// For the batch's profiles, by where they lie, those that rows share: each is looked for once.
    profiles: HashMap<*const Profile, Arc<Profile>>,
}

impl Context {
    fn shared(&mut self, writer: &Writer, profile: &Arc<Profile>) -> Arc<Profile> {
        Arc::clone(self.profiles.entry(Arc::as_ptr(profile)).or_insert_with(|| writer.shared(profile)))
    }
}

/// Applies the changes in order if the batch is its node's next one; answers a repeat of the last one as before.
pub(in crate::model) fn batch(state: &mut State, index: LogIndex, batch: &Batch) -> Applied {
    let mut context = match admit(state, index, batch) {
        Ok(Admission::Next(context)) => context,
        Ok(Admission::Repeat(outcome)) => return Applied::answer(Response::Batch(outcome)),
        Err(rejection) => return rejection.into(),
    };
    let mut events = Vec::with_capacity(batch.changes.len() + 1);
    let mut refused = Vec::new();
    for (position, change) in (0..).zip(&batch.changes) {
        if (position as usize).is_multiple_of(ROWS_TOGETHER) {
            let ahead = batch.changes[position as usize..].iter().take(ROWS_TOGETHER);
            state.writer.fetch(ahead.map(|change| &change.device));
        }
        match apply_change(&mut state.writer, &mut context, position, change) {
            Ok(event) => events.extend(event),
            Err(rejection) => refused.push((position, rejection)),
        }
    }
    let outcome = BatchOutcome {
        node: batch.node,
        incarnation: batch.incarnation,
        number: batch.number,
        index,
        refused,
    };
    if let Some(node) = state.nodes.get_mut(&batch.node) {
        node.last_batch = Some(outcome.clone());
    }
    events.push(Event::BatchApplied(outcome.clone()));
    Applied { response: Response::Batch(outcome), events }
}

enum Admission {
    Next(Context),
    Repeat(BatchOutcome),
}

fn admit(state: &mut State, index: LogIndex, batch: &Batch) -> Result<Admission, CommandRejection> {
    let cluster = state.founded()?;
    let (epoch_base, registration) = (cluster.epoch_base, cluster.policy.registration);
    let node = state.member(batch.node)?;
    let life = living(node, batch).ok_or(CommandRejection::DeadIncarnation(batch.node))?;
    if let Some(last) = &node.last_batch
        && last.number == batch.number
    {
        return Ok(Admission::Repeat(last.clone()));
    }
    let expected = BatchNumber(node.batch_number().0.saturating_add(1));
    if batch.number != expected {
        return Err(CommandRejection::BatchOutOfOrder { expected: expected.0 });
    }
    if batch.changes.len() > 1 << EPOCH_POSITION_BITS {
        return Err(CommandRejection::BatchTooLarge { changes: batch.changes.len() as u64 });
    }
    Ok(Admission::Next(Context {
        epoch_base,
        index,
        at: batch.at,
        registration,
        life,
        profiles: HashMap::new(),
    }))
}

/// The node's life, if it is the one that gathered the batch.
fn living(node: &Node, batch: &Batch) -> Option<Arc<Life>> {
    node.life.as_ref().filter(|life| life.incarnation == batch.incarnation && life.is_up()).cloned()
}

fn apply_change(
    writer: &mut Writer,
    context: &mut Context,
    position: u32,
    change: &SessionChange,
) -> Result<Option<Event>, ChangeRejection> {
    match &change.kind {
        ChangeKind::Open(wanted) => {
            let epoch = Epoch::new(context.epoch_base, context.index, position);
            let profile = context.shared(writer, &wanted.profile);
            open(writer, context.registration, &context.life, epoch, &change.device, wanted, profile)
                .map(Some)
        }
        ChangeKind::Close(epoch) => close(writer, &change.device, *epoch, context.at),
        ChangeKind::Update(epoch, profile) => {
            let profile = context.shared(writer, profile);
            update(writer, &change.device, *epoch, &profile).map(Some)
        }
    }
}
