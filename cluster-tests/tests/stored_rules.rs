//! Who may do what, stored for all nodes while they run.

use std::fs;

use anyhow::{Context, ensure};
use rollcall_agent::{Access, AccessFiles};
use rollcall_cluster_tests::{
    Api, Cli, Cluster, ClusterPlan, FORM_PATIENCE, HEAL_PATIENCE, Lab, Node, Ran, call, tokens::sha256,
    wait_until,
};
use tonic::Code;

const SHOP: &str = "a-token-that-nobody-guesses";

/// Operators may do anything; whoever has the token may call these groups.
fn rules(callable: &str) -> String {
    format!(
        r#"
        [[tokens]]
        name = "shop"
        sha256 = "{}"

        [[roles]]
        name = "operators"
        members = ["certificate:harness"]
        allow = [{{ may = ["invoke", "read", "watch", "administer", "attach"], namespaces = ["*"], groups = ["*"], actions = ["*"], devices = ["*"] }}]

        [[roles]]
        name = "callers"
        members = ["token:shop"]
        allow = [{{ may = ["invoke"], groups = ["{callable}"], actions = ["echo"] }}]
        "#,
        sha256(SHOP)
    )
}

struct Place {
    cluster: Cluster,
    cli: Cli,
}

impl Place {
    /// Runs a command as an operator, through one node.
    async fn operator(&self, node: &Node, arguments: &[&str]) -> anyhow::Result<Ran> {
        let certificates = self.cluster.certificates()?;
        let file = |name: &str| certificates.file(name).display().to_string();
        let (ca, cert, key) = (file("ca.pem"), file("harness.pem"), file("harness-key.pem"));
        let as_operator =
            ["--addr", &node.api_url(), "--ca", &ca, "--cert", &cert, "--key", &key].map(str::to_owned);
        let as_operator: Vec<&str> = as_operator.iter().map(String::as_str).collect();
        self.cli.run(&[arguments, &as_operator].concat()).await
    }

    /// A file of rules.
    fn file(&self, text: &str) -> anyhow::Result<String> {
        let path = self.cluster.scratch().path().join("stored.toml");
        fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    /// Waits until each node lets the token's owner call, or denies it.
    async fn shop_may_call(&self, may: bool) -> anyhow::Result<()> {
        let token = self.cluster.scratch().path().join("shop.token");
        fs::write(&token, SHOP)?;
        let ca = Some(self.cluster.certificates()?.file("ca.pem"));
        let access = Access::load(AccessFiles { ca, identity: None, token: Some(token) })?;
        wait_until(&format!("the shop may call: {may}"), HEAL_PATIENCE, async || {
            for node in &self.cluster.nodes {
                let answer = Api::at(&node.name, &node.api_url(), &access)?.call(call("sign", "echo")).await;
                let is_so = match &answer {
                    Ok(_) => may,
                    Err(status) => !may && status.code() == Code::PermissionDenied,
                };
                ensure!(is_so, "{} says {answer:?}", node.name);
            }
            Ok(())
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_are_stored_hold_on_every_node_until_they_are_cleared() -> anyhow::Result<()> {
    let plan = ClusterPlan::of(3).secured().access(&rules("nothing"), &[]);
    let place = Place { cluster: plan.start().await?, cli: Cli::new().await? };
    let [one, two, three] = &place.cluster.nodes[..] else { anyhow::bail!("three nodes") };
    let access = place.cluster.certificates()?.access(Some("harness"))?;
    let device = Lab::new("phone", "sign").access(access).attach(&place.cluster.device_urls()).await?;
    place.shop_may_call(false).await?;

    let file = place.file(&rules("sign"))?;
    let stored = place.operator(one, &["access", "set", &file, "--output", "json"]).await?.json()?;
    let etag = stored["etag"].as_str().context("no etag")?.to_owned();
    place.shop_may_call(true).await?;
    let shown = place.operator(three, &["access", "get", "--output", "json"]).await?.json()?;
    ensure!(shown["text"] == rules("sign") && shown["etag"] == etag.as_str(), "{shown}");

    // What is bad is refused, whoever is asked, and changes nothing.
    let malformed = place.file("[[roles]]\nname = 7")?;
    let refused = place.operator(two, &["access", "set", &malformed]).await?;
    ensure!(refused.code == Some(1) && refused.stderr.contains("line 2"), "{refused:?}");
    let locked_out = place.file(&rules("sign").replace("certificate:harness", "certificate:nobody"))?;
    let refused = place.operator(two, &["access", "set", &locked_out]).await?;
    ensure!(refused.code == Some(1) && refused.stderr.contains("administer"), "{refused:?}");
    let other = place.file(&rules("other"))?;
    let stale = ["access", "set", &other, "--etag", "00000000000000a1"];
    let refused = place.operator(two, &stale).await?;
    ensure!(refused.code == Some(1) && refused.stderr.contains("ETAG_MISMATCH"), "{refused:?}");
    place.shop_may_call(true).await?;

    // A node that comes back has them.
    ensure!(three.stop().await?.success(), "it did not stop cleanly");
    three.start()?;
    place.cluster.settled(FORM_PATIENCE).await?;
    place.shop_may_call(true).await?;

    let cleared = place.operator(three, &["access", "clear", "--etag", &etag]).await?;
    ensure!(cleared.code == Some(0), "{cleared:?}");
    place.shop_may_call(false).await?;
    device.shutdown().await;
    place.cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_anybody_may_use_stores_no_rules() -> anyhow::Result<()> {
    let cluster = ClusterPlan::of(1).start().await?;
    let place = Place { cluster, cli: Cli::new().await? };
    let node = &place.cluster.nodes[0];
    let file = place.file(&rules("sign"))?;
    for words in [&["access", "set", &file][..], &["access", "clear"]] {
        let refused = place.cli.run(&[words, &["--addr", &node.api_url()]].concat()).await?;
        ensure!(refused.code == Some(1) && refused.stderr.contains("ACCESS_IS_OPEN"), "{refused:?}");
    }
    let answer = node.api()?.call(call("nobody", "echo")).await.expect_err("nobody is there");
    ensure!(answer.code() != Code::PermissionDenied, "{answer:?}");
    place.cluster.finish().await
}
