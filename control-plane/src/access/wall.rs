//! The first wall: how often one address may sign up or try to log in, and a tenant invite, at this replica. It saves the work of
//! hashing; what bounds guessing is the count in PostgreSQL (`domain::login_failure`).

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};

use crate::error::{Error, Result};
use crate::ids::TenantId;

/// Sign-ups: this many at once, then one in each ten seconds.
const SIGN_UPS: (u32, Duration) = (60, Duration::from_secs(10));
/// Log-ins and refreshes: this many at once, then two a second.
const LOG_INS: (u32, Duration) = (240, Duration::from_millis(500));

/// Invitations of a tenant, each of which may be a letter to a stranger: this many at once, then one a minute.
const INVITATIONS: (u32, Duration) = (100, Duration::from_mins(1));

pub struct Wall {
    sign_ups: DefaultKeyedRateLimiter<String>,
    invitations: DefaultKeyedRateLimiter<String>,
    log_ins: DefaultKeyedRateLimiter<String>,
}

impl Default for Wall {
    fn default() -> Self {
        Self {
            sign_ups: limiter(SIGN_UPS),
            invitations: limiter(INVITATIONS),
            log_ins: limiter(LOG_INS),
        }
    }
}

impl Wall {
    pub fn sign_up(&self, address: &str) -> Result<()> {
        pass(&self.sign_ups, &neighbourhood(address))
    }

    pub fn invitation(&self, tenant: TenantId) -> Result<()> {
        pass(&self.invitations, &tenant.to_string())
    }

    pub fn log_in(&self, address: &str) -> Result<()> {
        pass(&self.log_ins, &neighbourhood(address))
    }

    /// Forgets addresses that have been quiet for long enough to be at their full allowance.
    pub fn forget_quiet(&self) {
        self.sign_ups.retain_recent();
        self.invitations.retain_recent();
        self.log_ins.retain_recent();
    }
}

/// Who counts as one caller: an IPv4 address, or an IPv6 /64, which is what one customer of a network gets.
pub fn neighbourhood(address: &str) -> String {
    match address.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        Ok(IpAddr::V6(ip)) => {
            let [a, b, c, d, ..] = ip.segments();
            format!("{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        Ok(IpAddr::V4(ip)) => ip.to_string(),
        Err(_) => address.to_owned(),
    }
}

fn limiter((burst, period): (u32, Duration)) -> DefaultKeyedRateLimiter<String> {
    let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
    let quota = Quota::with_period(period).expect("the periods above are not zero");
    DefaultKeyedRateLimiter::keyed(quota.allow_burst(burst))
}

fn pass(limiter: &DefaultKeyedRateLimiter<String>, who: &String) -> Result<()> {
    limiter.check_key(who).map_err(|refused| {
        let wait = refused.wait_time_from(DefaultClock::default().now());
        Error::TooManyRequests { retry_after_seconds: wait_seconds(wait) }
    })
}

/// Whole seconds after which the wait is over.
pub fn wait_seconds(wait: Duration) -> u32 {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_signs_up_too_often_is_told_when_to_come_back() {
        let wall = Wall::default();
        let passed = (0..200).take_while(|_| wall.sign_up("192.0.2.1").is_ok()).count();

        assert_eq!(passed, SIGN_UPS.0 as usize);
        let refused = wall.sign_up("192.0.2.1").unwrap_err();
        assert!(matches!(refused, Error::TooManyRequests { retry_after_seconds: 1..=10 }));
        assert!(wall.sign_up("192.0.2.2").is_ok());
        assert!(wall.log_in("192.0.2.1").is_ok());
    }

    #[test]
    fn an_ipv6_network_is_one_caller() {
        assert_eq!(neighbourhood("2001:db8:1:2:3::4"), neighbourhood("2001:db8:1:2:ffff::1"));
        assert_ne!(neighbourhood("2001:db8:1:2::1"), neighbourhood("2001:db8:1:3::1"));
        assert_eq!(neighbourhood("::ffff:192.0.2.1"), "192.0.2.1");
    }
}
