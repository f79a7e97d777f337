//! What a cell's API keys cost a node: memory for each, how long a fresh node takes to have them all, how long a call
//! takes to find its own or to find none, and how long until one more is known. `BENCH_KEYS` says how many there are: a
//! million unless it says otherwise, and few where this is only tried.

use std::{
    fs,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use data_plane::snapshot::{
    Snapshot, compile,
    resources::{Applied, Resources},
};
use proto::config::v1::{ApiKey, ApiStage, Delta, Resource, Tenant, UsagePlan, resource::Kind};

const KEYS_OF_A_TENANT: usize = 10_000;
const PEPPER: [u8; 32] = [7; 32];

fn tenant_id(number: usize) -> String {
    format!("018f0000-0000-7000-8000-{number:012}")
}

fn value(number: usize) -> String {
    format!("tg_live_{number:038}")
}

fn api_key(number: usize) -> Resource {
    let tenant = number / KEYS_OF_A_TENANT;
    Kind::ApiKey(ApiKey {
        id: format!("k{number:09}"),
        tenant_id: tenant_id(tenant),
        digest: proto::digest::api_key(&PEPPER, value(number).as_bytes()).to_vec(),
        enabled: true,
        usage_plan_ids: vec![format!("p{tenant:09}")],
        ..ApiKey::default()
    })
    .into()
}

fn cell(keys: usize) -> Vec<Resource> {
    let mut all = Vec::with_capacity(keys + 2 * keys / KEYS_OF_A_TENANT + 2);
    for number in 0..=keys / KEYS_OF_A_TENANT {
        let id = tenant_id(number);
        let stage = ApiStage {
            api_id: format!("a{number:09}"),
            stage: "prod".to_owned(),
            ..ApiStage::default()
        };
        let plan = UsagePlan {
            id: format!("p{number:09}"),
            tenant_id: id.clone(),
            name: "gold".to_owned(),
            api_stages: vec![stage],
            ..UsagePlan::default()
        };
        let tenant = Tenant { id, key_pepper: PEPPER.to_vec(), ..Tenant::default() };
        all.extend([Kind::Tenant(tenant), Kind::UsagePlan(plan)].map(Resource::from));
    }
    all.extend((0..keys).map(api_key));
    all
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its size");
    let kib = line.trim().trim_end_matches(" kB").parse::<usize>();
    kib.expect("a number of KiB") * 1024
}

/// As a request finds its key.
fn find(snapshot: &Snapshot, tenant: &Arc<str>, value: &str) -> bool {
    let digest = proto::digest::api_key(&PEPPER, black_box(value).as_bytes());
    snapshot.api_key(tenant, digest).is_some_and(|key| key.opens(&digest, 1))
}

fn keys(c: &mut Criterion) {
    let keys = std::env::var("BENCH_KEYS").ok().and_then(|keys| keys.parse().ok());
    let measured = std::env::args().any(|argument| argument == "--bench");
    let keys: usize = keys.unwrap_or(if measured { 1_000_000 } else { 1_000 });
    let before = resident();
    let all = cell(keys);
    let sent = resident();
    let started = Instant::now();
    let mut resources = Resources::default();
    let Ok(Applied::Changed(changed)) = resources.replace("default", 1, all) else {
        panic!("a first snapshot is applied")
    };
    let taken = started.elapsed();
    let (snapshot, refusals) = compile(&resources, &changed, &Snapshot::default());
    assert!(refusals.is_empty(), "{refusals:?}");
    drop(changed);
    eprintln!(
        "{keys} keys: ready {:?} after their messages ({taken:?} to take them, the rest to compile); \
         {} bytes each as sent, {} with what they are served from",
        started.elapsed(),
        (sent - before) / keys,
        (resident() - before) / keys,
    );

    let mut group = c.benchmark_group("keys");
    group
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    // Others each time, so that the memory's caches hold few of them.
    let mut number = 0;
    let mut next = || {
        number = (number + 7_919) % keys;
        number
    };
    let tenants: Vec<Arc<str>> =
        (0..=keys / KEYS_OF_A_TENANT).map(|number| tenant_id(number).into()).collect();
    let known: Vec<(Arc<str>, String)> = (0..10_000.min(keys))
        .map(|_| next())
        .map(|number| (tenants[number / KEYS_OF_A_TENANT].clone(), value(number)))
        .collect();
    for (name, suffix) in [("a key that is there", ""), ("a key that is not", "x")] {
        let mut asked = known.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || asked.next().map(|(tenant, value)| (tenant, format!("{value}{suffix}"))),
                |asked| {
                    let found =
                        asked.is_some_and(|(tenant, value)| find(&snapshot, tenant, &value));
                    assert_eq!(found, suffix.is_empty());
                },
                criterion::BatchSize::SmallInput,
            );
        });
    }
    let mut version = 1;
    group.bench_function("one more among them", |bencher| {
        bencher.iter(|| {
            version += 1;
            let delta = Delta { upserts: vec![api_key(keys)], removals: Vec::new() };
            let Ok(Applied::Changed(changed)) = resources.apply("default", version, delta) else {
                panic!("the next version is applied")
            };
            compile(&resources, &changed, &snapshot)
        });
    });
    group.finish();
}

criterion_group!(benches, keys);
criterion_main!(benches);
