//! Who may do what: each refusal is tried from outside, and says the same whether something exists or not.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, ensure};
use rollcall_agent::{Access, AccessFiles, AgentState, CloseCode};
use rollcall_cluster_tests::{
    Api, Cluster, ClusterPlan, HEAL_PATIENCE, Lab, LabDevice, SPREAD_PATIENCE, call, refusal,
    tokens::{KeyServer, TokenIssuer, by_hmac, seconds_from_now, sha256, unsigned},
    wait_until,
};
use rollcall_proto::api::{
    BroadcastRequest, CreateDeviceRequest, GetDeviceRequest, InvokeRequest, ListDevicesRequest,
    WatchDevicesRequest,
};
use serde_json::{Value, json};
use tonic::{Code, Status};

const SHOP: &str = "a-token-that-nobody-guesses";

/// A cluster of one with rules, and an issuer that it knows.
struct Place {
    cluster: Cluster,
    issuer: TokenIssuer,
}

impl Place {
    async fn open() -> anyhow::Result<Self> {
        Self::with(ClusterPlan::of(1), "keys.json", TokenIssuer::new()?).await
    }

    /// With an issuer whose keys are there.
    async fn with(plan: ClusterPlan, keys: &str, issuer: TokenIssuer) -> anyhow::Result<Self> {
        let rules = rules("shop").replace("keys.json", keys);
        let plan = plan.secured().access(&rules, &[("keys.json", &issuer.key_set())]);
        let cluster = plan.start().await?;
        cluster.certificates()?.renew(&[], &["phone-1", "phone-2"], 30).await?;
        Ok(Self { cluster, issuer })
    }

    fn token(&self, name: &str, token: &str) -> anyhow::Result<Access> {
        let path = self.cluster.scratch().path().join(format!("{name}.token"));
        fs::write(&path, token)?;
        let ca = Some(self.cluster.certificates()?.file("ca.pem"));
        Ok(Access::load(AccessFiles { ca, identity: None, token: Some(path) })?)
    }

    fn api(&self, access: &Access) -> anyhow::Result<Api> {
        Api::at("n1", &self.cluster.nodes[0].api_url(), access)
    }

    /// The node's answer to a call with this token.
    async fn answer(&self, token: &str, request: InvokeRequest) -> anyhow::Result<Result<(), Status>> {
        Ok(self.api(&self.token("caller", token)?)?.call(request).await.map(drop))
    }

    fn lab(&self, device_id: &str, group: &str, client: &str) -> anyhow::Result<Lab> {
        Ok(Lab::new(device_id, group).access(self.cluster.certificates()?.access(Some(client))?))
    }

    fn devices(&self) -> Vec<String> {
        self.cluster.device_urls()
    }
}

fn rules(token: &str) -> String {
    format!(
        r#"
        [[issuers]]
        name = "corp"
        issuer = "https://issuer.test"
        audience = "rollcall"
        keys = "keys.json"
        roles_claim = "roles"

        [[tokens]]
        name = "{token}"
        sha256 = "{}"

        [[roles]]
        name = "operators"
        members = ["certificate:harness"]
        allow = [{{ may = ["invoke", "read", "watch", "administer", "attach"], namespaces = ["*"], groups = ["*"], actions = ["*"], devices = ["*"] }}]

        [[roles]]
        name = "callers"
        members = ["token:shop", "jwt:corp/alice"]
        allow = [
            {{ may = ["invoke"], groups = ["sign*"], actions = ["echo"] }},
            {{ may = ["read", "watch"], groups = ["sign"] }},
        ]

        [[roles]]
        name = "devices"
        members = ["certificate:phone-*", "jwt:corp/phone-*"]
        allow = [{{ may = ["attach"], groups = ["sign"], devices = ["{{name}}"] }}]

        [[roles]]
        name = "wide"
        members = []
        allow = [{{ may = ["attach"], groups = ["wide"], devices = ["{{name}}"] }}]
        "#,
        sha256(SHOP)
    )
}

fn claims() -> Value {
    json!({"iss": "https://issuer.test", "aud": "rollcall", "sub": "alice", "exp": seconds_from_now(600)})
}

fn with(change: Value) -> Value {
    let mut claims = claims();
    for (key, value) in change.as_object().into_iter().flatten() {
        claims[key] = value.clone();
    }
    claims
}

fn refused(answer: &Result<(), Status>, code: Code) -> anyhow::Result<String> {
    let status = answer.as_ref().err().context("it was let in")?;
    ensure!(status.code() == code, "{status:?}");
    Ok(status.message().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_does_not_hold_is_refused_like_none() -> anyhow::Result<()> {
    let place = Place::open().await?;
    let device = place.lab("phone-1", "sign", "phone-1")?.attach(&place.devices()).await?;
    let echo = call("sign", "echo");
    for (what, token) in [
        ("a static token", SHOP.to_owned()),
        ("EdDSA", place.issuer.sign(&claims())),
        ("ES256", place.issuer.sign_elliptic(&claims())?),
        ("a role of the token itself", place.issuer.sign(&with(json!({"sub": "bob", "roles": ["callers"]})))),
        ("a clock that is a little ahead", place.issuer.sign(&with(json!({"exp": seconds_from_now(-10)})))),
    ] {
        let answer = place.answer(&token, echo.clone()).await?;
        ensure!(answer.is_ok(), "{what} is refused: {answer:?}");
    }
    let stranger = TokenIssuer::new()?;
    let none = json!({"alg": "none"});
    let hmac = unsigned(&json!({"alg": "HS256", "kid": place.issuer.key_id()}), &claims());
    let mut swapped = place.issuer.sign(&claims());
    swapped.truncate(swapped.rfind('.').unwrap_or_default());
    let another = place.issuer.sign(&with(json!({"sub": "bob"})));
    swapped.push_str(&another[another.rfind('.').unwrap_or_default()..]);
    let without = |claim: &str| {
        let mut claims = claims();
        claims.as_object_mut().map(|claims| claims.remove(claim));
        place.issuer.sign(&claims)
    };
    let forged = [
        ("nonsense", "nonsense".to_owned()),
        ("an almost right static token", format!("{SHOP}!")),
        ("a stranger's signature", stranger.sign(&claims())),
        ("another token's signature", swapped),
        ("alg=none", format!("{}.", unsigned(&none, &claims()))),
        ("HMAC with the public key", by_hmac(&hmac, place.issuer.public_key())),
        ("an expired one", place.issuer.sign(&with(json!({"exp": seconds_from_now(-60)})))),
        ("one for later", place.issuer.sign(&with(json!({"nbf": seconds_from_now(300)})))),
        ("another audience", place.issuer.sign(&with(json!({"aud": "elsewhere"})))),
        ("another issuer", place.issuer.sign(&with(json!({"iss": "https://elsewhere.test"})))),
        ("one without an end", without("exp")),
        ("one without an audience", without("aud")),
        ("an end that is no number", place.issuer.sign(&with(json!({"exp": "never"})))),
    ];
    let nothing = place.api(&place.cluster.certificates()?.access(None)?)?.call(echo.clone()).await.map(drop);
    let words = refused(&nothing, Code::Unauthenticated).context("no credentials")?;
    for (what, token) in forged {
        let answer = place.answer(&token, echo.clone()).await?;
        let said = refused(&answer, Code::Unauthenticated).context(what)?;
        ensure!(said == words, "{what} is told more: {said}");
    }
    let log = place.cluster.nodes[0].output()?;
    ensure!(log.contains("audit") && !log.contains(SHOP), "the record is missing, or tells the secret");
    device.shutdown().await;
    place.cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_allowed_is_denied_whether_it_exists_or_not() -> anyhow::Result<()> {
    let place = Place::open().await?;
    let device = place.lab("phone-1", "sign", "phone-1")?.attach(&place.devices()).await?;
    let mut words = Vec::new();
    for (what, group, action) in [
        ("another group", "bank", "echo"),
        ("a group that does not exist", "nowhere", "echo"),
        ("another action", "sign", "blob"),
        ("an action that does not exist", "sign", "dance"),
    ] {
        let answer = place.answer(SHOP, call(group, action)).await?;
        words.push(refused(&answer, Code::PermissionDenied).context(what)?);
    }
    words.dedup();
    ensure!(words.len() == 1, "refusals differ: {words:?}");
    let others = Lab::new("phone-2", "bank").access(place.cluster.certificates()?.access(Some("harness"))?);
    let others = others.attach(&place.devices()).await?;
    let named = |device: &str| InvokeRequest { device_id: device.into(), ..call("sign", "echo") };
    let theirs = place.answer(SHOP, named("phone-2")).await?;
    let nobodys = place.answer(SHOP, named("phone-3")).await?;
    let told = |answer: &Result<(), Status>| {
        answer.as_ref().err().map(|status| (status.code(), status.message().replace("phone-3", "phone-2")))
    };
    ensure!(told(&theirs).is_some() && told(&theirs) == told(&nobodys), "{theirs:?}, but {nobodys:?}");
    let api = place.api(&place.token("shop", SHOP)?)?;
    let mut registry = api.registry.clone();
    let listed = ListDevicesRequest { group: "sign".into(), ..Default::default() };
    ensure!(registry.list_devices(listed).await?.into_inner().devices.len() == 1, "its own group");
    let all = registry.list_devices(ListDevicesRequest::default()).await.map(drop);
    refused(&all, Code::PermissionDenied).context("a list of everything")?;
    let create = CreateDeviceRequest { device_id: "mine".into(), ..Default::default() };
    let created = registry.create_device(create).await.map(drop);
    refused(&created, Code::PermissionDenied).context("an act of an administrator")?;
    let hidden = GetDeviceRequest { device_id: "phone-9".into(), ..Default::default() };
    refused(&registry.get_device(hidden).await.map(drop), Code::NotFound)?;
    let get = GetDeviceRequest { device_id: "phone-1".into(), ..Default::default() };
    ensure!(registry.get_device(get).await.is_ok(), "its own group's device");
    let removed =
        api.cluster.clone().remove_node(rollcall_proto::api::RemoveNodeRequest { name: "n1".into() }).await;
    refused(&removed.map(drop), Code::PermissionDenied).context("the cluster itself")?;
    // The operators may, and it is noted.
    place.cluster.nodes[0].api()?.registry.clone().list_devices(ListDevicesRequest::default()).await?;
    let create = CreateDeviceRequest { device_id: "theirs".into(), ..Default::default() };
    place.cluster.nodes[0].api()?.registry.clone().create_device(create).await?;
    let log = place.cluster.nodes[0].output()?;
    ensure!(log.contains("administrative act") && log.contains("certificate:harness"), "it was not noted");
    others.shutdown().await;
    device.shutdown().await;
    place.cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_who_its_credentials_say() -> anyhow::Result<()> {
    let place = Place::open().await?;
    let own = place.lab("phone-1", "sign", "phone-1")?.attach(&place.devices()).await?;
    for (what, device_id, group) in
        [("another's id", "phone-2", "sign"), ("a group of others", "phone-1", "bank")]
    {
        let impostor = place.lab(device_id, group, "phone-1")?.start(&place.devices());
        is_refused(&impostor, CloseCode::Forbidden).await.context(what)?;
        impostor.shutdown().await;
    }
    let nobody = Lab::new("phone-2", "sign").access(place.cluster.certificates()?.access(None)?);
    let nobody = nobody.start(&place.devices());
    is_refused(&nobody, CloseCode::Unauthenticated).await.context("without credentials")?;
    let caller = Lab::new("alice", "sign").access(place.token("alice", &place.issuer.sign(&claims()))?);
    let caller = caller.start(&place.devices());
    is_refused(&caller, CloseCode::Forbidden).await.context("a caller")?;
    // None of them has disturbed the true one.
    let before = own.attached(SPREAD_PATIENCE).await?;
    place.answer(SHOP, call("sign", "echo")).await?.context("the true device")?;
    ensure!(own.attached(SPREAD_PATIENCE).await? == before, "it was disturbed");
    own.shutdown().await;
    place.cluster.finish().await
}

async fn is_refused(device: &LabDevice, expected: CloseCode) -> anyhow::Result<()> {
    wait_until("the device is refused", SPREAD_PATIENCE, async || match device.state() {
        AgentState::Refused { code, .. } if code == expected => Ok(()),
        // Refused before it could say which device it is.
        AgentState::Waiting { why, .. } if expected == CloseCode::Forbidden => {
            ensure!(why.contains("not permitted"), "{why}");
            Ok(())
        }
        AgentState::Stopped(reason) if expected == CloseCode::Unauthenticated => {
            ensure!(reason.to_string().contains("UNAUTHENTICATED"), "{reason}");
            Ok(())
        }
        other => anyhow::bail!("it is {other:?}"),
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lasts_ends_with_its_credentials_unless_they_are_renewed() -> anyhow::Result<()> {
    let place = Place::open().await?;
    // The node allows clocks 30 s: these have a while left, and the same one.
    let end = seconds_from_now(-10);
    let short = |subject: &str| place.issuer.sign(&with(json!({"sub": subject, "exp": end})));
    let renewed = place.token("phone-1", &short("phone-1"))?;
    let renewed = Lab::new("phone-1", "sign").access(renewed).attach(&place.devices()).await?;
    let before = renewed.attached(SPREAD_PATIENCE).await?;
    let forgotten = place.token("phone-2", &short("phone-2"))?;
    let forgotten = Lab::new("phone-2", "sign").access(forgotten).attach(&place.devices()).await?;
    let roles = json!({"sub": "phone-3", "roles": ["wide"], "exp": end});
    let narrowed = place.token("phone-3", &place.issuer.sign(&with(roles)))?;
    let narrowed = Lab::new("phone-3", "wide").access(narrowed).attach(&place.devices()).await?;
    let access = place.token("alice", &short("alice"))?;
    let watch = WatchDevicesRequest { group: "sign".into(), ..Default::default() };
    let mut watch = place.api(&access)?.registry.clone().watch_devices(watch).await?.into_inner();
    // The first finds a new token in its file when it is asked for one.
    place.token("phone-1", &place.issuer.sign(&with(json!({"sub": "phone-1"}))))?;
    // The third finds one that does not permit the group it is in.
    place.token("phone-3", &place.issuer.sign(&with(json!({"sub": "phone-3"}))))?;
    let ended = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            match watch.message().await {
                Ok(Some(_)) => {}
                ended => return ended,
            }
        }
    });
    let ended = ended.await.context("the watch goes on")?.map(drop);
    refused(&ended, Code::Unauthenticated)?;
    wait_until("the device has lost its session", Duration::from_secs(60), async || {
        ensure!(!forgotten.state().is_attached(), "it is {:?}", forgotten.state());
        Ok(())
    })
    .await?;
    is_refused(&forgotten, CloseCode::Unauthenticated).await?;
    is_refused(&narrowed, CloseCode::Forbidden).await?;
    ensure!(renewed.attached(SPREAD_PATIENCE).await? == before, "the renewed one was cut");
    place.answer(SHOP, call("sign", "echo")).await?.context("the renewed one")?;
    renewed.shutdown().await;
    place.cluster.finish().await
}

/// Asks until it is refused for its rate.
async fn too_many(ask: impl AsyncFn() -> Result<(), Status>) -> anyhow::Result<()> {
    for _ in 0..1_000 {
        let Err(status) = ask().await else { continue };
        let refused = refusal::<()>(Err(status))?;
        ensure!(refused.brief() == (Code::ResourceExhausted, "RATE_LIMITED", "NOT_EXECUTED"), "{refused:?}");
        ensure!(refused.retry_info, "nobody says when: {refused:?}");
        return Ok(());
    }
    anyhow::bail!("a thousand were answered")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_calls_too_fast_is_told_to_wait_and_others_are_not() -> anyhow::Result<()> {
    let plan = ClusterPlan::of(1).flag("caller-rate", "2");
    let place = Place::with(plan, "keys.json", TokenIssuer::new()?).await?;
    let device = place.lab("phone-1", "sign", "phone-1")?.attach(&place.devices()).await?;
    let hasty = place.api(&place.token("shop", SHOP)?)?;
    let all = || BroadcastRequest { group: "sign".into(), action: "echo".into(), ..Default::default() };
    too_many(async || hasty.call(call("sign", "echo")).await.map(drop)).await.context("calls")?;
    too_many(async || hasty.invoke.clone().broadcast(all()).await.map(drop)).await.context("broadcasts")?;
    place.answer(&place.issuer.sign(&claims()), call("sign", "echo")).await?.context("another caller")?;
    let page = place.cluster.nodes[0].get("/metrics").await?.1;
    ensure!(page.contains(r#"rollcall_calls_rate_limited_total{limit="caller_rate"}"#), "it is not counted");
    wait_until("the hasty one is heard again", SPREAD_PATIENCE, async || {
        Ok(hasty.call(call("sign", "echo")).await.map(drop)?)
    })
    .await?;
    device.shutdown().await;
    place.cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_fetched_again_when_a_token_names_a_new_one() -> anyhow::Result<()> {
    let (first, second) = (TokenIssuer::new()?, TokenIssuer::new()?);
    let keys = KeyServer::start(&first.key_set()).await?;
    let (old, new) = (first.sign(&claims()), second.sign(&claims()));
    let place = Place::with(ClusterPlan::of(1), &keys.url(), first).await?;
    let device = place.lab("phone-1", "sign", "phone-1")?.attach(&place.devices()).await?;
    let lets_in = async |token: &str| {
        wait_until("the token is taken", HEAL_PATIENCE, async || {
            Ok(place.answer(token, call("sign", "echo")).await??)
        })
        .await
    };
    lets_in(&old).await.context("keys that were fetched at the start")?;
    let answer = place.answer(&new, call("sign", "echo")).await?;
    refused(&answer, Code::Unauthenticated).context("a key that is not published")?;
    keys.change("no key set at all");
    refused(&place.answer(&new, call("sign", "echo")).await?, Code::Unauthenticated)?;
    lets_in(&old).await.context("a bad answer changes nothing")?;
    keys.change(&second.key_set());
    lets_in(&new).await.context("a key that is new")?;
    wait_until("the old key is nobody's", HEAL_PATIENCE, async || {
        refused(&place.answer(&old, call("sign", "echo")).await?, Code::Unauthenticated).map(drop)
    })
    .await?;
    device.shutdown().await;
    place.cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_revoked_ends_at_once() -> anyhow::Result<()> {
    let place = Place::open().await?;
    let own = place.lab("phone-1", "sign", "phone-1")?.attach(&place.devices()).await?;
    place.answer(SHOP, call("sign", "echo")).await?.context("before")?;
    let rules_file: PathBuf = place.cluster.scratch().path().join("access.toml");
    // A bad file changes nothing.
    fs::write(&rules_file, "[[roles]]\nname = 7")?;
    place.cluster.nodes[0].hang_up()?;
    wait_until("the bad file is noticed", HEAL_PATIENCE, async || {
        let page = place.cluster.nodes[0].get("/metrics").await?.1;
        ensure!(page.contains(r#"rollcall_access_reloads_total{result="failed"} 1"#), "not yet");
        Ok(())
    })
    .await?;
    place.answer(SHOP, call("sign", "echo")).await?.context("with a bad file")?;
    // The token is no longer anybody's role, and phones are no longer let in.
    fs::write(&rules_file, rules("kiosk").replace("certificate:phone-*", "certificate:tablet-*"))?;
    place.cluster.nodes[0].hang_up()?;
    wait_until("the token's permission is gone", HEAL_PATIENCE, async || {
        let answer = place.answer(SHOP, call("sign", "echo")).await?;
        refused(&answer, Code::PermissionDenied).map(drop)
    })
    .await?;
    wait_until("the device has lost its session", HEAL_PATIENCE, async || {
        ensure!(!own.state().is_attached(), "it is {:?}", own.state());
        Ok(())
    })
    .await?;
    own.shutdown().await;
    place.cluster.finish().await
}
