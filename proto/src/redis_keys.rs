//! The one place that names Redis keys. Names are made of fixed-width ids and digests, never of text that a
//! user wrote, and each bucket's name is its own hash tag, so that a cluster spreads buckets one by one.

use sha2::{Digest, Sha256};

/// Everything of Tollgate's in a Redis that others use too starts with this.
const PREFIX: &str = "tg";

/// The token bucket of a tenant, over all its stages.
pub fn tenant_throttle(tenant_id: &str) -> String {
    format!("{PREFIX}:{{tt:{tenant_id}}}")
}

/// The token bucket of a route of a stage, over all callers. `route` is the route as written.
pub fn stage_route_throttle(api_id: &str, stage: &str, route: &str) -> String {
    format!("{PREFIX}:{{tx:{api_id}:{}}}", short(&[stage, route]))
}

/// The token bucket of a stage.
pub fn stage_throttle(api_id: &str, stage: &str) -> String {
    format!("{PREFIX}:{{ts:{api_id}:{}}}", short(&[stage]))
}

/// The token bucket of a key on a usage plan, over all the plan's stages.
pub fn key_throttle(usage_plan_id: &str, api_key_id: &str) -> String {
    format!("{PREFIX}:{{tk:{usage_plan_id}:{api_key_id}}}")
}

/// The token bucket of a key on a usage plan for one route of one stage. `route` is the route as written.
pub fn route_throttle(
    usage_plan_id: &str,
    api_key_id: &str,
    api_id: &str,
    stage: &str,
    route: &str,
) -> String {
    format!("{PREFIX}:{{tr:{usage_plan_id}:{api_key_id}:{api_id}:{}}}", short(&[stage, route]))
}

/// The token bucket of one client of a stage. `throttle` is the name that the tenant gave it, `client` a digest of
/// [`digest::client`](crate::digest::client).
pub fn client_throttle(api_id: &str, stage: &str, throttle: &str, client: &str) -> String {
    format!("{PREFIX}:{{tc:{api_id}:{}:{client}}}", short(&[stage, throttle]))
}

/// The calls that a key made in the present period of its usage plan's quota.
pub fn quota(usage_plan_id: &str, api_key_id: &str) -> String {
    format!("{PREFIX}:{{q:{usage_plan_id}:{api_key_id}}}")
}

/// The calls in progress of a key on a usage plan, over all the plan's stages.
pub fn key_concurrency(usage_plan_id: &str, api_key_id: &str) -> String {
    format!("{PREFIX}:{{ck:{usage_plan_id}:{api_key_id}}}")
}

/// The calls in progress of a route of a stage, over all callers. `route` is the route as written.
pub fn stage_route_concurrency(api_id: &str, stage: &str, route: &str) -> String {
    format!("{PREFIX}:{{cx:{api_id}:{}}}", short(&[stage, route]))
}

/// The calls in progress of a stage.
pub fn stage_concurrency(api_id: &str, stage: &str) -> String {
    format!("{PREFIX}:{{cs:{api_id}:{}}}", short(&[stage]))
}

/// The nodes that are alive.
pub fn nodes() -> String {
    format!("{PREFIX}:{{nodes}}")
}

/// A name for tries whether what lies beside this one can be written.
pub fn probe(beside: &str) -> String {
    format!("{PREFIX}:{{{}}}:p", tag(beside))
}

/// Since when a part of Redis remembers, of so many [`part`]s: a name that lies in it.
pub fn memory(at: usize, parts: usize) -> String {
    if parts == 1 {
        return format!("{PREFIX}:{{memory}}");
    }
    let mut names = (0_u32..).map(|number| format!("{PREFIX}:{{memory:{number}}}"));
    names.find(|name| part(name, parts) == at).unwrap_or_default()
}

/// Which of so many equal parts of the [`SLOTS`] a name lies in.
pub fn part(name: &str, parts: usize) -> usize {
    usize::from(slot(name)) * parts / usize::from(SLOTS)
}

/// In a cluster, which of its [`SLOTS`] a name belongs to: CRC-16/XMODEM of its hash tag.
pub fn slot(name: &str) -> u16 {
    let crc = tag(name).bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
        })
    });
    crc % SLOTS
}

/// What a cluster's primaries share out among themselves.
pub const SLOTS: u16 = 16384;

fn tag(name: &str) -> &str {
    let tag = name.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    tag.map(|(tag, _)| tag).filter(|tag| !tag.is_empty()).unwrap_or(name)
}

/// 64 bits that stand for text; a collision within one API makes two buckets one.
fn short(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let digest = hash.finalize();
    format!("{:016x}", digest[..8].iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_holds_no_users_text_and_one_hash_tag() {
        let hostile = "}{a b\r\n*";
        let client = crate::digest::client(b"pepper", hostile, [hostile.as_bytes()]);
        for key in [
            stage_throttle("abcdefghij", hostile),
            stage_route_throttle("abcdefghij", hostile, hostile),
            stage_concurrency("abcdefghij", hostile),
            stage_route_concurrency("abcdefghij", hostile, hostile),
            tenant_throttle("0191a3c4-0000-7000-8000-000000000000"),
            client_throttle("abcdefghij", hostile, hostile, &client),
            route_throttle("abcdefghij", "klmnopqrst", "uvwxyz0123", hostile, hostile),
        ] {
            assert!(
                key.bytes().all(|b| b.is_ascii_alphanumeric() || b":{}-".contains(&b)),
                "{key}"
            );
            assert_eq!((key.matches('{').count(), key.matches('}').count()), (1, 1), "{key}");
        }
        assert_eq!(quota("abcdefghij", "klmnopqrst"), "tg:{q:abcdefghij:klmnopqrst}");
        let of_key = key_concurrency("abcdefghij", "klmnopqrst");
        assert_eq!(of_key, "tg:{ck:abcdefghij:klmnopqrst}");
    }

    #[test]
    fn a_name_lies_where_redis_says_and_its_probe_beside_it() {
        // What CLUSTER KEYSLOT answers.
        for (name, at) in [("123456789", 12739), ("foo", 12182), ("{bar}x", 5061), ("a{}b", 13694)]
        {
            assert_eq!(slot(name), at, "{name}");
        }
        let bucket = key_throttle("abcdefghij", "klmnopqrst");
        assert_eq!(probe(&bucket), "tg:{tk:abcdefghij:klmnopqrst}:p");
        assert_eq!(slot(&probe(&bucket)), slot(&bucket));
    }

    #[test]
    fn each_part_of_a_cluster_has_a_name_for_its_memory() {
        assert_eq!(memory(0, 1), "tg:{memory}");
        for at in 0..64 {
            assert_eq!(part(&memory(at, 64), 64), at);
        }
        assert_eq!(["tg:{memory:0}", "foo"].map(|name| part(name, 1)), [0, 0]);
    }

    #[test]
    fn different_stages_and_routes_have_different_names_of_one_length() {
        let route = |stage, route| route_throttle("p", "k", "a", stage, route);
        let names = [
            route("s", "GET /a"),
            route("s", "GET /b"),
            route("t", "GET /a"),
            route("sG", "ET /a"),
        ];
        for (index, name) in names.iter().enumerate() {
            assert!(!names[..index].contains(name));
            assert_eq!(name.len(), names[0].len());
        }
    }
}
