//! A child: many agents that all lose their node at the same moment.

use anyhow::Context;
use clap::Args;
use rollcall_agent::{Agent, AgentHandle, AgentState, Call, HandlerError, Reply};
use tokio::task::JoinSet;

use crate::{
    children::{commands, say},
    limits::STORM_OPENING,
};

/// How many devices, and where.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many.
    count: usize,
    /// Their node.
    node: String,
    /// Where else they may go; separated by commas.
    #[arg(value_delimiter = ',')]
    others: Vec<String>,
}

/// The child: attaches all of them, says when half and when all are somewhere else, and stays until the parent is gone.
///
/// # Errors
/// They are not attached.
pub(crate) async fn serve(options: Options) -> anyhow::Result<()> {
    let mut agents: Vec<AgentHandle> = Vec::with_capacity(options.count);
    for number in 0..options.count {
        agents.push(agent(&options, number));
        // At their first attach they come one after the other, as devices do over a day.
        if number >= STORM_OPENING {
            agents[number - STORM_OPENING].attached().await?;
        }
    }
    let mut moves = JoinSet::new();
    for agent in &agents {
        agent.attached().await?;
        let mut state = agent.state();
        let epoch = epoch(&state.borrow()).context("not attached")?;
        moves.spawn(async move {
            // The agent outlives this task.
            let _ = state.wait_for(|state| self::epoch(state).is_some_and(|now| now != epoch)).await;
        });
    }
    say("attached");
    let moved = async {
        for number in 1..=options.count {
            moves.join_next().await;
            if number == options.count.div_ceil(2) {
                say("half");
            }
        }
        say("back");
        std::future::pending::<()>().await
    };
    let parent_gone = async {
        let mut commands = commands();
        while let Ok(Some(_)) = commands.next_line().await {}
    };
    tokio::select! {
        () = moved => {}
        () = parent_gone => {}
    }
    Ok(())
}

fn agent(options: &Options, number: usize) -> AgentHandle {
    let others = options.others.iter().filter(|url| **url != options.node).cloned();
    Agent::builder(std::iter::once(options.node.clone()).chain(others))
        .in_order()
        .device(format!("storm-{number}"))
        .group("storm")
        .action("echo", |call: Call| async move { Ok::<_, HandlerError>(Reply::from(call.payload)) })
        .start()
}

fn epoch(state: &AgentState) -> Option<u64> {
    match state {
        AgentState::Attached { epoch, .. } => Some(*epoch),
        _ => None,
    }
}
