//! How much one caller may ask of the management API: points, of which a call costs some. Whoever is logged in has
//! an allowance of their own, everybody else shares their address's. Each replica counts for itself: behind N of
//! them a caller has at most N times as much.

use std::num::NonZeroU32;

use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};

use crate::access::wall::{neighbourhood, wait_seconds};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::ids::UserId;

/// What a call costs that reads.
pub const READ: u32 = 1;
/// What a call costs that may change something: it locks, is audited, and tells the nodes.
pub const CHANGE: u32 = 5;
/// What a call costs for whose answer much may have to be added up: it holds a connection for seconds.
pub const SUM: u32 = 20;
/// A spent allowance is whole again after so many seconds, and given back evenly meanwhile.
pub const WINDOW_SECONDS: u32 = 60;

/// Whose points are spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spender {
    User(UserId),
    /// Nobody that we know, from there.
    Address(String),
}

/// What is left of an allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// `user` or `address`.
    pub name: &'static str,
    /// The points of a whole allowance.
    pub limit: u32,
    pub remaining: u32,
}

type Buckets =
    RateLimiter<String, DefaultKeyedStateStore<String>, DefaultClock, StateInformationMiddleware>;

pub struct Allowance {
    users: (u32, Buckets),
    addresses: (u32, Buckets),
}

impl Standing {
    /// In how many seconds nothing is missing any more.
    pub fn resets_in_seconds(&self) -> u32 {
        let missing = u64::from(self.limit - self.remaining.min(self.limit));
        let seconds = (missing * u64::from(WINDOW_SECONDS)).div_ceil(u64::from(self.limit.max(1)));
        u32::try_from(seconds).unwrap_or(WINDOW_SECONDS)
    }
}

impl Allowance {
    pub fn new(config: &Config) -> Self {
        Self {
            users: buckets(config.user_points_per_minute),
            addresses: buckets(config.address_points_per_minute),
        }
    }

    /// Takes the points, or none of them. The standing is told either way.
    pub fn spend(&self, spender: &Spender, points: u32) -> (Standing, Result<()>) {
        let (name, (limit, buckets), who) = match spender {
            Spender::User(user) => ("user", &self.users, user.to_string()),
            Spender::Address(address) => ("address", &self.addresses, neighbourhood(address)),
        };
        let standing = |remaining| Standing { name, limit: *limit, remaining };
        // An allowance smaller than the dearest call still allows it, when it is whole.
        let points = NonZeroU32::new(points.min(*limit)).unwrap_or(NonZeroU32::MIN);
        match buckets.check_key_n(&who, points) {
            Ok(Ok(state)) => (standing(state.remaining_burst_capacity()), Ok(())),
            Ok(Err(refused)) => {
                let retry_after_seconds =
                    wait_seconds(refused.wait_time_from(DefaultClock::default().now()));
                (standing(0), Err(Error::TooManyRequests { retry_after_seconds }))
            }
            Err(_) => (standing(0), Err(Error::internal("an allowance is smaller than itself"))),
        }
    }

    /// The rest of what a call costs of which [`READ`] was paid before that was known, or none of it. `standing` is what
    /// was told then.
    pub fn spend_rest(
        &self,
        spender: &Spender,
        standing: Standing,
        points: u32,
    ) -> (Standing, Result<()>) {
        let rest = points.min(standing.limit).saturating_sub(READ);
        if rest == 0 {
            return (standing, Ok(()));
        }
        match self.spend(spender, rest) {
            // Who comes back pays from the beginning: it is told when there is enough for all of it.
            (_, Err(_)) => self.spend(spender, points),
            paid => paid,
        }
    }

    /// Forgets callers who have been quiet for long enough to have all of theirs.
    pub fn forget_quiet(&self) {
        self.users.1.retain_recent();
        self.addresses.1.retain_recent();
    }
}

fn buckets(points: NonZeroU32) -> (u32, Buckets) {
    (points.get(), RateLimiter::keyed(Quota::per_minute(points)).with_middleware())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Rng;
    use crate::testing;

    fn allowance(points: u32) -> Allowance {
        let points = NonZeroU32::new(points).unwrap();
        Allowance::new(&Config {
            user_points_per_minute: points,
            address_points_per_minute: points,
            ..testing::config()
        })
    }

    #[test]
    fn who_has_spent_the_allowance_is_told_when_to_come_back_and_others_are_not_slowed() {
        let allowance = allowance(10);
        let (alice, bob) = (Spender::User(Rng.id()), Spender::User(Rng.id()));

        let (standing, allowed) = allowance.spend(&alice, 8);
        assert!(allowed.is_ok());
        assert_eq!(standing, Standing { name: "user", limit: 10, remaining: 2 });
        assert_eq!(standing.resets_in_seconds(), 48);
        let (standing, refused) = allowance.spend(&alice, CHANGE);
        let refused = refused.unwrap_err();
        assert!(matches!(refused, Error::TooManyRequests { retry_after_seconds: 1..=18 }));
        assert_eq!(standing.remaining, 0);
        // Nothing was taken for what was refused.
        assert!(allowance.spend(&alice, 2).1.is_ok());
        assert!(allowance.spend(&bob, 10).1.is_ok());
    }

    #[test]
    fn a_call_dearer_than_the_allowance_takes_all_of_it() {
        let allowance = allowance(10);
        let alice = Spender::User(Rng.id());
        assert_eq!(allowance.spend(&alice, 1000).0.remaining, 0);
        assert!(allowance.spend(&alice, 1).1.is_err());
    }

    #[test]
    fn what_a_call_costs_beyond_a_read_is_paid_once_it_is_known() {
        let allowance = allowance(10);
        let alice = Spender::User(Rng.id());
        let pay = |points| {
            let (standing, allowed) = allowance.spend(&alice, READ);
            allowed.and_then(|()| allowance.spend_rest(&alice, standing, points).1)
        };
        pay(READ).unwrap();
        pay(7).unwrap();
        // Two are left, and one of them is the price of having asked.
        let refused = pay(5).unwrap_err();
        assert!(
            matches!(refused, Error::TooManyRequests { retry_after_seconds: 19..=24 }),
            "{refused:?}"
        );
        pay(READ).unwrap();
        assert!(pay(READ).is_err());
        let bob = Spender::User(Rng.id());
        let (standing, _) = allowance.spend(&bob, READ);
        let (standing, allowed) = allowance.spend_rest(&bob, standing, 1000);
        assert!(allowed.is_ok(), "an allowance that is whole pays for the dearest call");
        assert_eq!(standing.remaining, 0);
    }

    #[test]
    fn a_network_shares_what_its_addresses_have() {
        let allowance = allowance(10);
        let at = |address: &str| Spender::Address(address.to_owned());
        assert!(allowance.spend(&at("2001:db8::1"), 10).1.is_ok());
        assert!(allowance.spend(&at("2001:db8::2"), 10).1.is_err());
        assert!(allowance.spend(&at("2001:db8:0:1::1"), 10).1.is_ok());
    }
}
