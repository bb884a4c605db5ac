//! Whatever comes from outside may be refused, and breaks nothing: readers of bytes by themselves, and a real node on its
//! ports. The bounded part of what `cluster-tests/fuzz` does for as long as one likes.

mod corpus;
mod mutate;
mod readers;
mod seeds;
mod wire;

use anyhow::ensure;
use bytes::Bytes;
use futures::{StreamExt, stream};
use rand::{Rng, SeedableRng, rngs::StdRng};
use rollcall_cluster_tests::{ClusterPlan, Lab, SPREAD_PATIENCE};
use tonic::transport::Endpoint;

/// The same each time: what is found is found again.
const SEED: u64 = 0x0ddb_17e5;
/// How often each reader is tried.
const READS: usize = 20_000;
/// How many streams go to each method.
const STREAMS: usize = 300;
const AT_ONCE: usize = 16;

/// A reader of bytes: its name, which is its fuzz target's too, and bytes that it takes.
type Reader = (&'static str, fn(&[u8]) -> bool, Vec<Vec<u8>>);

fn all_readers() -> [Reader; 9] {
    [
        ("log_entry", readers::log_entry, seeds::log_entries()),
        ("command", readers::command, seeds::commands()),
        ("snapshot", readers::snapshot, seeds::snapshots()),
        ("manifest", readers::manifest, seeds::manifests()),
        ("device_frames", readers::device_frames, seeds::device_frames()),
        ("peer_frames", readers::peer_frames, seeds::peer_frames()),
        ("api_requests", readers::api_requests, seeds::api_requests()),
        ("configuration", readers::configuration, seeds::configurations()),
        ("access_rules", readers::access_rules, seeds::access_rules()),
    ]
}

#[test]
fn no_reader_of_bytes_panics() -> anyhow::Result<()> {
    for (name, reader, seeds) in all_readers() {
        let mut rng = StdRng::seed_from_u64(SEED);
        let known = corpus::of(name)?;
        for bytes in known {
            reader(&bytes);
        }
        for _ in 0..READS {
            reader(&mutate::mutated(&seeds, &mut rng));
        }
    }
    Ok(())
}

#[test]
fn fuzzing_begins_with_the_bytes_that_are_right() -> anyhow::Result<()> {
    for (name, reader, seeds) in all_readers() {
        for (number, seed) in seeds.iter().enumerate() {
            ensure!(reader(seed), "{name} refuses its seed {number}");
        }
        corpus::holds(name, &seeds)?;
    }
    Ok(())
}

/// Right messages first, or the node would hang up before it has read what is wrong.
fn conversation(seeds: &[Vec<u8>], rng: &mut StdRng) -> Vec<Bytes> {
    let right = rng.random_range(0..=seeds.len());
    let right = seeds.iter().take(right).cloned();
    let wrong = (0..rng.random_range(1..4)).map(|_| mutate::mutated(seeds, rng)).collect::<Vec<_>>();
    right.chain(wrong).map(Bytes::from).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_outlives_whatever_is_sent_to_its_ports() -> anyhow::Result<()> {
    let cluster = ClusterPlan::of(1).start().await?;
    let node = cluster.node("n1")?;
    let device = Lab::new("bystander", "bystanders").capacity(4).attach(&[node.device_url()]).await?;
    let (api, known) = (node.api()?, node.api()?.cluster().await?);
    let id = api.nodes().await?.first().map_or(0, |node| node.node_id);
    let peer = vec![
        ("rollcall-cluster-id", known.cluster_id),
        ("rollcall-target-id", id.to_string()),
        ("rollcall-source-id", "2".to_owned()),
    ];
    let (services, devices) = (node.api_url(), node.device_url());
    let peers = format!("http://{}", node.peer_addr());
    let methods = [
        (&devices, "/rollcall.device.v1.DeviceService/Attach", vec![], seeds::device_frames()),
        (&peers, "/rollcall.peer.v1.LinkService/Link", peer, seeds::link_packets()),
        (&services, "/rollcall.v1.InvokeService/Invoke", vec![], seeds::api_requests()),
        (&services, "/rollcall.v1.InvokeService/InvokeStream", vec![], seeds::api_requests()),
        (&services, "/rollcall.v1.InvokeService/Broadcast", vec![], seeds::api_requests()),
        (&services, "/rollcall.v1.RegistryService/GetDevice", vec![], seeds::api_requests()),
        (&services, "/rollcall.v1.RegistryService/CreateDevice", vec![], seeds::api_requests()),
        (&services, "/rollcall.v1.RegistryService/WatchDevices", vec![], seeds::api_requests()),
    ];
    let mut rng = StdRng::seed_from_u64(SEED);
    for (url, method, metadata, seeds) in methods {
        let channel = Endpoint::from_shared(url.clone())?.connect_lazy();
        let talks: Vec<_> = (0..STREAMS).map(|_| conversation(&seeds, &mut rng)).collect();
        let talks = stream::iter(talks).map(|talk| wire::send(channel.clone(), method, &metadata, talk));
        let ended: Vec<_> = talks.buffer_unordered(AT_ONCE).collect().await;
        ended.into_iter().collect::<anyhow::Result<()>>()?;
        device.attached(SPREAD_PATIENCE).await?;
        api.echo("bystanders", "bystander").await?;
        ensure!(node.is_running(), "{method}: {}", node.output()?);
    }
    device.shutdown().await;
    cluster.finish().await
}
