//! Which addresses a tenant may reach.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Public addresses, and the ranges that the operator or the tenant's settings open.
///
/// An address is judged in the form it comes in: a range of IPv4 does not open the IPv6 forms that embed it.
/// A metadata address is opened only by a range that names it alone, never by a wider one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Policy {
    allow: Vec<IpNet>,
}

/// Why an address is not public.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Range {
    Unspecified,
    Loopback,
    Private,
    LinkLocal,
    Metadata,
    CarrierGradeNat,
    Multicast,
    Documentation,
    Nat64,
    Mapped,
    SixToFour,
    Teredo,
    UniqueLocal,
    SiteLocal,
    Reserved,
}

const V4: &[(Ipv4Net, Range)] = &[
    (v4([169, 254, 169, 254], 32), Range::Metadata), // AWS, Google, Azure, most others
    (v4([169, 254, 170, 2], 32), Range::Metadata),   // AWS container credentials
    (v4([100, 100, 100, 200], 32), Range::Metadata), // Alibaba
    (v4([192, 0, 0, 192], 32), Range::Metadata),     // Oracle
    (v4([168, 63, 129, 16], 32), Range::Metadata),   // Azure's wire server, in a public range
    (v4([0, 0, 0, 0], 8), Range::Unspecified),
    (v4([10, 0, 0, 0], 8), Range::Private),
    (v4([100, 64, 0, 0], 10), Range::CarrierGradeNat),
    (v4([127, 0, 0, 0], 8), Range::Loopback),
    (v4([169, 254, 0, 0], 16), Range::LinkLocal),
    (v4([172, 16, 0, 0], 12), Range::Private),
    (v4([192, 0, 0, 0], 24), Range::Reserved),
    (v4([192, 0, 2, 0], 24), Range::Documentation),
    (v4([192, 88, 99, 0], 24), Range::SixToFour),
    (v4([192, 168, 0, 0], 16), Range::Private),
    (v4([198, 18, 0, 0], 15), Range::Reserved),
    (v4([198, 51, 100, 0], 24), Range::Documentation),
    (v4([203, 0, 113, 0], 24), Range::Documentation),
    (v4([224, 0, 0, 0], 4), Range::Multicast),
    (v4([240, 0, 0, 0], 4), Range::Reserved),
];

const V6: &[(Ipv6Net, Range)] = &[
    (v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128), Range::Metadata), // AWS
    (v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128), Range::Metadata),  // Google
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), Range::Unspecified),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), Range::Loopback),
    (v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96), Range::Mapped),
    (v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96), Range::Mapped), // IPv4-translated
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 96), Range::Mapped),      // IPv4-compatible
    (v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96), Range::Nat64),
    (v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48), Range::Nat64),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32), Range::Teredo),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), Range::Documentation),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), Range::Reserved),
    (v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), Range::SixToFour),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), Range::Documentation),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), Range::UniqueLocal),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), Range::LinkLocal),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), Range::SiteLocal),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), Range::Multicast),
];

/// All of IPv6 that is assigned as global unicast.
const V6_GLOBAL: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

const fn v4(octets: [u8; 4], prefix: u8) -> Ipv4Net {
    let [a, b, c, d] = octets;
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(segments: [u16; 8], prefix: u8) -> Ipv6Net {
    let s = segments;
    Ipv6Net::new_assert(Ipv6Addr::new(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]), prefix)
}

impl Policy {
    /// Public addresses and these.
    pub fn new(allow: impl IntoIterator<Item = IpNet>) -> Self {
        Self { allow: allow.into_iter().collect() }
    }

    /// `Ok` when the address may be reached, else why it is not public.
    pub fn check(&self, ip: IpAddr) -> Result<(), Range> {
        match Range::of(ip) {
            None => Ok(()),
            Some(range) if self.opens(ip, range) => Ok(()),
            Some(range) => Err(range),
        }
    }

    fn opens(&self, ip: IpAddr, range: Range) -> bool {
        self.allow.iter().any(|net| {
            net.contains(&ip)
                && (range != Range::Metadata || net.prefix_len() == net.max_prefix_len())
        })
    }
}

impl Range {
    /// The special range that an address lies in; `None` for a public one.
    pub fn of(ip: IpAddr) -> Option<Self> {
        match ip {
            IpAddr::V4(ip) => V4.iter().find(|(net, _)| net.contains(&ip)).map(|(_, range)| *range),
            IpAddr::V6(ip) => V6
                .iter()
                .find(|(net, _)| net.contains(&ip))
                .map(|(_, range)| *range)
                .or_else(|| (!V6_GLOBAL.contains(&ip)).then_some(Range::Reserved)),
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "an unspecified address",
            Self::Loopback => "a loopback address",
            Self::Private => "a private address",
            Self::LinkLocal => "a link-local address",
            Self::Metadata => "a cloud metadata address",
            Self::CarrierGradeNat => "a carrier-grade NAT address",
            Self::Multicast => "a multicast address",
            Self::Documentation => "a documentation address",
            Self::Nat64 => "a NAT64 address",
            Self::Mapped => "an IPv4 address in IPv6 form",
            Self::SixToFour => "a 6to4 address",
            Self::Teredo => "a Teredo address",
            Self::UniqueLocal => "a unique local address",
            Self::SiteLocal => "a site-local address",
            Self::Reserved => "a reserved address",
        })
    }
}
