//! What a node's threads know of a key's limits, together.

use proto::inquiry::v1::{LimitState, LimitsKnown, limit_state::Standing};

/// Of each limit what the thread says that knows best. Buckets and permits belong to the node: what threads say of them
/// differs by the moment alone, and by whether a thread has noticed that Redis is away.
pub(super) fn together(mut of_threads: Vec<LimitState>) -> LimitsKnown {
    of_threads.sort_by(|one, other| {
        place(one).cmp(&place(other)).then_with(|| rank(other).cmp(&rank(one)))
    });
    of_threads.dedup_by(|other, best| place(other) == place(best));
    LimitsKnown { limits: of_threads }
}

fn place(state: &LimitState) -> [&str; 4] {
    let name = state.limit.as_ref().map_or("", |limit| &limit.name);
    [name, &state.api_id, &state.stage, &state.route]
}

/// The later count of a quota; who has noticed that Redis is away.
fn rank(state: &LimitState) -> (i64, u64, i32) {
    match &state.standing {
        Some(Standing::Used(used)) => (used.at_s, used.used, state.counting),
        _ => (0, 0, state.counting),
    }
}

#[cfg(test)]
mod tests {
    use proto::inquiry::v1::{Counting, InProgress, Limit, Used};

    use super::*;

    fn state(name: &str, counting: Counting, standing: Standing) -> LimitState {
        LimitState {
            limit: Some(Limit { name: name.to_owned(), ..Limit::default() }),
            counting: counting.into(),
            standing: Some(standing),
            ..LimitState::default()
        }
    }

    #[test]
    fn of_each_limit_the_latest_count_and_the_thread_without_redis_are_told() {
        let quota =
            |at_s, used| state("quota", Counting::Exact, Standing::Used(Used { used, at_s }));
        let calls = |counting| state("key", counting, Standing::InProgress(InProgress::default()));
        let route = |route: &str| LimitState { route: route.to_owned(), ..calls(Counting::Leased) };
        let one = [quota(5, 9), calls(Counting::Fallback), route("GET /b")];
        let other = [quota(6, 2), calls(Counting::Leased), route("GET /a")];
        let third = [quota(6, 1)];
        let all = [calls(Counting::Fallback), route("GET /a"), route("GET /b"), quota(6, 2)];
        assert_eq!(together([&one[..], &other, &third].concat()).limits, all);
        assert_eq!(together([&third[..], &other, &one].concat()).limits, all);
    }
}
