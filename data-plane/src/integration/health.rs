//! The health checks of VPC links: each node asks each target on its own, all from one task, and never two of a target at once.

use std::{
    future::poll_fn,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use egress::{Connector, Policy, Protocol, Scheme, Target};
use hashbrown::HashMap;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{CONNECTION, HOST, USER_AGENT},
};
use http_body_util::Empty;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use upstream::{Connection, Length, Sending, request};

use super::balance::Standing;
use crate::{
    node::Shared,
    snapshot::{
        Snapshot,
        vpc_link::{CheckProtocol, HealthCheck, LinkTarget, VpcLink},
    },
};

/// How often it is looked who is due.
const TICK: Duration = Duration::from_millis(50);
/// Checks at once; those that are due wait for one that ends.
const AT_ONCE: usize = 256;
/// The first check of a target comes within so long, wherever its interval is longer.
const FIRST_WITHIN: Duration = Duration::from_secs(1);
/// Of `tollgate_upstream_targets`.
const STATES: [&str; 3] = ["available", "unhealthy", "ejected"];

/// What is due, by link and place in it.
#[derive(Default)]
struct Plans(HashMap<(Arc<str>, usize), Plan>);

struct Plan {
    /// Whether it is the same target still.
    standing: Arc<Standing>,
    due: Instant,
    /// Held by a check that runs.
    busy: Arc<()>,
    /// When it was last looked at, to forget what is gone.
    round: u64,
}

/// Until it is dropped.
pub(crate) async fn run(shared: Arc<Shared>, connector: Connector) {
    let mut plans = Plans::default();
    let mut running = JoinSet::new();
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for round in 0.. {
        ticks.tick().await;
        while running.try_join_next().is_some() {}
        let snapshot = shared.snapshot.load_full();
        for (link, at, busy) in plans.due(&snapshot, round) {
            let Some(tenant) = snapshot.tenant(&link.tenant_id) else { continue };
            let policy = tenant.egress.clone();
            let (shared, connector, places) = (shared.clone(), connector.clone(), places.clone());
            running.spawn(async move {
                let Ok(_place) = places.acquire_owned().await else { return };
                look(&shared, &connector, &policy, &link, at).await;
                drop(busy);
            });
        }
        tell(&shared, &snapshot);
    }
}

impl Plans {
    /// Those that are to be checked now; each has its next time then.
    fn due(&mut self, snapshot: &Snapshot, round: u64) -> Vec<(Arc<VpcLink>, usize, Arc<()>)> {
        let now = Instant::now();
        let mut due = Vec::new();
        for link in snapshot.vpc_links() {
            for (at, target) in link.targets.iter().enumerate() {
                let Some(check) = &link.health_check else {
                    target.standing.unchecked();
                    continue;
                };
                let first = || now + check.interval.min(FIRST_WITHIN).mul_f32(rand::random());
                let anew = || Plan {
                    standing: target.standing.clone(),
                    due: first(),
                    busy: Arc::default(),
                    round,
                };
                let plan = self.0.entry((link.id.clone(), at)).or_insert_with(anew);
                plan.round = round;
                if !Arc::ptr_eq(&plan.standing, &target.standing) {
                    *plan = anew();
                }
                // A link that asks more often than before is asked so from now on.
                plan.due = plan.due.min(now + check.interval.mul_f32(1.1));
                if plan.due <= now && Arc::strong_count(&plan.busy) == 1 {
                    plan.due = now + check.interval.mul_f32(0.9 + 0.2 * rand::random::<f32>());
                    due.push((link.clone(), at, plan.busy.clone()));
                }
            }
        }
        self.0.retain(|_, plan| plan.round == round);
        due
    }
}

/// How many targets are in which state.
fn tell(shared: &Shared, snapshot: &Snapshot) {
    let mut counts = [0; STATES.len()];
    for target in snapshot.vpc_links().flat_map(|link| &link.targets) {
        let state = match (target.standing.is_unhealthy(), target.standing.is_ejected()) {
            (true, _) => 1,
            (false, true) => 2,
            (false, false) => 0,
        };
        counts[state] += 1;
    }
    let gauge = &shared.metrics.backends.targets;
    for (state, count) in STATES.iter().zip(counts) {
        gauge.with_label_values(&[state]).set(count);
    }
}

/// Checks one, and takes in what it said.
async fn look(shared: &Shared, connector: &Connector, policy: &Policy, link: &VpcLink, at: usize) {
    let (target, Some(check)) = (&link.targets[at], &link.health_check) else { return };
    let well = timeout(check.timeout, is_well(connector, policy, target, check)).await;
    let well = well == Ok(true);
    let result = if well { "passed" } else { "failed" };
    shared.metrics.backends.health_checks.with_label_values(&[result]).inc();
    if target.standing.checked(well, check.healthy_threshold, check.unhealthy_threshold) {
        let state = if well { "healthy" } else { "unhealthy" };
        tracing::info!(
            vpc_link.id = &*link.id,
            place = at,
            state,
            "a target of a VPC link changed"
        );
    }
}

async fn is_well(
    connector: &Connector,
    policy: &Policy,
    target: &LinkTarget,
    check: &HealthCheck,
) -> bool {
    let limit = check.timeout;
    let Ok(addresses) = connector.resolve(&target.target, policy, limit).await else {
        return false;
    };
    let (scheme, named) = match &check.protocol {
        CheckProtocol::Tcp => (Scheme::Http, None),
        CheckProtocol::Http { scheme, host, .. } => (*scheme, host.as_ref()),
    };
    let host = named.map_or(&target.target.host, |(named, _)| &named.host);
    let at = Target { scheme, host: host.clone(), port: target.target.port };
    for address in addresses {
        let Ok(stream) = connector.connect(&at, None, address, Protocol::Http1, limit).await else {
            continue;
        };
        let CheckProtocol::Http { path, statuses, .. } = &check.protocol else { return true };
        let field = match named {
            Some((_, field)) => field.clone(),
            None => match HeaderValue::try_from(at.authority()) {
                Ok(field) => field,
                Err(_) => return false,
            },
        };
        let mut fields = HeaderMap::new();
        fields.insert(HOST, field);
        fields.insert(USER_AGENT, HeaderValue::from_static("Tollgate-HealthCheck"));
        fields.insert(CONNECTION, HeaderValue::from_static("close"));
        let mut head = BytesMut::new();
        request::encode(&mut head, &Method::GET, path, &fields, Length::None);
        let mut request = Sending::new(head, Empty::<Bytes>::new(), Length::None);
        let mut connection = Connection::new(stream);
        connection.begin(BytesMut::with_capacity(1024));
        let answered = poll_fn(|cx| connection.poll_answer(cx, &mut request, false)).await;
        return answered.is_ok_and(|answer| is_good(statuses, answer.status));
    }
    false
}

fn is_good(statuses: &[(u16, u16)], status: StatusCode) -> bool {
    let code = status.as_u16();
    if statuses.is_empty() {
        return status.is_success();
    }
    statuses.iter().any(|(from, to)| (*from..=*to).contains(&code))
}
