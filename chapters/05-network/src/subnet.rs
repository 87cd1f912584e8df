//! An IPv4 network in CIDR notation, and the choice of one that nobody on this host uses.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An IPv4 network: `172.17.0.0/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    /// The first address of the network: all host bits are zero.
    pub address: Ipv4Addr,
    /// Number of network bits, 1 to 30: there is room for a gateway and a container.
    pub prefix: u8,
}

/// A text that is no usable [`Subnet`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid subnet `{text}`: {reason}")]
pub struct SubnetError {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Subnet {
    /// Makes a subnet.
    ///
    /// # Errors
    /// A prefix outside 1 to 30, or an address with host bits.
    pub fn new(address: Ipv4Addr, prefix: u8) -> Result<Self, SubnetError> {
        let error = |reason: String| SubnetError { text: format!("{address}/{prefix}"), reason };
        if !(1..=30).contains(&prefix) {
            return Err(error("the prefix must be between 1 and 30".into()));
        }
        let first = Ipv4Addr::from_bits(address.to_bits() & mask(prefix));
        if first != address {
            return Err(error(format!("it has host bits; the network is {first}/{prefix}")));
        }
        Ok(Self { address, prefix })
    }

    /// Whether `address` lies in this network.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.address.to_bits()
    }

    /// Whether the two networks have an address in common. `other` may be any route, a /32 too.
    pub fn overlaps(&self, other: Ipv4Addr, other_prefix: u8) -> bool {
        let shorter = mask(self.prefix.min(other_prefix));
        self.address.to_bits() & shorter == other.to_bits() & shorter
    }

    /// The host's own address in this network, and the containers' way out: the first one.
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address.to_bits() + 1)
    }

    /// The last address, to which one speaks to all.
    pub fn broadcast(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address.to_bits() | !mask(self.prefix))
    }

    /// Whether a container may have `address`: not the network's own, the gateway's or the broadcast address.
    pub fn is_host(&self, address: Ipv4Addr) -> bool {
        self.contains(address)
            && address != self.address
            && address != self.gateway()
            && address != self.broadcast()
    }

    /// Every address that a container may have, beginning after `last` and once around.
    ///
    /// An address that was just given back is so the last to be given out again: whoever still has it in a cache
    /// does not reach a stranger.
    pub fn hosts_after(&self, last: Ipv4Addr) -> impl Iterator<Item = Ipv4Addr> + use<> {
        let first = self.address.to_bits() + 2;
        let count = self.broadcast().to_bits() - first;
        let skip = if self.is_host(last) { last.to_bits() - first + 1 } else { 0 };
        (0..count).map(move |n| Ipv4Addr::from_bits(first + (skip + n) % count))
    }
}

/// The network mask of a prefix, 0 to 32.
fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let error = |reason: &str| SubnetError { text: text.to_owned(), reason: reason.to_owned() };
        let (address, prefix) =
            text.split_once('/').ok_or_else(|| error("expected ADDRESS/PREFIX, 10.5.0.0/24"))?;
        let address = address.parse().map_err(|_| error("the address is not an IPv4 address"))?;
        // "+8" parses as a number, but nobody writes it.
        let prefix = if prefix.starts_with('+') { None } else { prefix.parse().ok() }
            .ok_or_else(|| error("the prefix is not a number from 1 to 30"))?;
        Self::new(address, prefix)
    }
}

impl TryFrom<String> for Subnet {
    type Error = SubnetError;

    fn try_from(text: String) -> Result<Self, SubnetError> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

/// The networks that Docker, too, tries for its bridges: 172.17/16 to 172.31/16, then sixteen parts of 192.168/16.
pub(crate) fn candidates() -> impl Iterator<Item = Subnet> {
    let large = (17..32).map(|n| Subnet { address: Ipv4Addr::new(172, n, 0, 0), prefix: 16 });
    let small = (0..16).map(|n| Subnet { address: Ipv4Addr::new(192, 168, n * 16, 0), prefix: 20 });
    large.chain(small)
}

/// The first candidate that overlaps none of the `taken` destinations (address and prefix length).
pub(crate) fn first_free(taken: &[(Ipv4Addr, u8)]) -> Option<Subnet> {
    candidates().find(|subnet| !taken.iter().any(|&(to, prefix)| subnet.overlaps(to, prefix)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_and_refuses() {
        for good in ["172.17.0.0/16", "10.0.0.0/8", "192.168.5.4/30", "128.0.0.0/1"] {
            assert_eq!(good.parse::<Subnet>().unwrap().to_string(), good);
        }
        let bad = ["", "10.0.0.0", "10.0.0.0/", "10.0.0.0/31", "10.0.0.0/0", "10.0.0.0/+8"];
        for bad in bad.into_iter().chain(["10.0.0.1/8", "::1/64", "10.0.0/8", "10.0.0.0/8/8"]) {
            assert!(bad.parse::<Subnet>().is_err(), "{bad}");
        }
        let error = "10.1.2.3/16".parse::<Subnet>().unwrap_err().to_string();
        assert_eq!(
            error,
            "invalid subnet `10.1.2.3/16`: it has host bits; the network is 10.1.0.0/16"
        );
    }

    #[test]
    fn gives_out_every_address_once_beginning_after_the_last() {
        let subnet: Subnet = "10.0.0.0/29".parse().unwrap();
        let all = |last: [u8; 4]| -> Vec<u8> {
            subnet.hosts_after(last.into()).map(|address| address.octets()[3]).collect()
        };
        assert_eq!(all([0, 0, 0, 0]), [2, 3, 4, 5, 6]);
        assert_eq!(all([10, 0, 0, 4]), [5, 6, 2, 3, 4]);
        assert_eq!(all([10, 0, 0, 6]), [2, 3, 4, 5, 6]);
        let tiny: Subnet = "10.0.0.4/30".parse().unwrap();
        assert_eq!(
            tiny.hosts_after(tiny.address).collect::<Vec<_>>(),
            [Ipv4Addr::new(10, 0, 0, 6)]
        );
    }

    #[test]
    fn a_taken_range_is_skipped_whatever_its_size() {
        let free = |taken: &[(&str, u8)]| {
            let taken: Vec<_> = taken.iter().map(|(a, p)| (a.parse().unwrap(), *p)).collect();
            first_free(&taken).map(|subnet| subnet.to_string())
        };
        assert_eq!(free(&[]).as_deref(), Some("172.17.0.0/16"));
        assert_eq!(free(&[("172.17.200.7", 32)]).as_deref(), Some("172.18.0.0/16"));
        assert_eq!(free(&[("172.16.0.0", 12)]).as_deref(), Some("192.168.0.0/20"));
        assert_eq!(
            free(&[("172.16.0.0", 12), ("192.168.1.0", 24)]).as_deref(),
            Some("192.168.16.0/20")
        );
        assert_eq!(free(&[("172.16.0.0", 12), ("192.168.0.0", 16)]), None);
    }

    proptest! {
        #[test]
        fn parsing_and_printing_are_inverse(bits: u32, prefix in 1u8..=30) {
            let subnet = Subnet::new((bits & mask(prefix)).into(), prefix).unwrap();
            prop_assert_eq!(subnet.to_string().parse::<Subnet>().unwrap(), subnet);
        }

        #[test]
        fn no_text_panics(text in "[0-9./+-]{0,20}") {
            let _ = text.parse::<Subnet>();
        }

        #[test]
        fn overlap_means_an_address_in_common(a: u32, p in 8u8..=30, b: u32, q in 8u8..=30) {
            let one = Subnet::new((a & mask(p)).into(), p).unwrap();
            let two = Subnet::new((b & mask(q)).into(), q).unwrap();
            let common = one.contains(two.address) || two.contains(one.address);
            prop_assert_eq!(one.overlaps(two.address, q), common);
            prop_assert_eq!(two.overlaps(one.address, p), common);
        }
    }
}
