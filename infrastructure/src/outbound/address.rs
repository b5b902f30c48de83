//! Which addresses webhooks may be sent to. A URL comes from outside, and behind it may stand what only this machine
//! reaches: loopback, the private network, a cloud's metadata.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Judges addresses.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    /// Private networks that may be reached all the same, also without TLS.
    allowed: Vec<IpNet>,
}

/// Why an address is not connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    #[error(
        "it is no public address; webhooks.allowed_networks says which private ones may be reached"
    )]
    Private,
    #[error("it has to be https; only to webhooks.allowed_networks http may be spoken")]
    Plain,
}

impl Addresses {
    pub fn new(allowed: Vec<IpNet>) -> Self {
        Self { allowed }
    }

    /// Whether http is possible at all.
    pub fn has_allowed(&self) -> bool {
        !self.allowed.is_empty()
    }

    /// # Errors
    /// [`Forbidden`].
    pub fn check(&self, address: IpAddr, is_https: bool) -> Result<(), Forbidden> {
        let address = address.to_canonical();
        if self.allowed.iter().any(|network| network.contains(&address)) {
            return Ok(());
        }
        if !is_public(address) {
            return Err(Forbidden::Private);
        }
        if is_https { Ok(()) } else { Err(Forbidden::Plain) }
    }
}

/// Reached over the internet and by nobody's private network, as IANA's special-purpose registries have it.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127, ..]
            // Shared by carriers; some clouds keep their metadata there.
            | [100, 64..=127, ..]
            | [169, 254, ..]
            | [172, 16..=31, ..]
            | [192, 0, 0 | 2, _]
            // The way to 6to4 relays.
            | [192, 88, 99, _]
            | [192, 168, ..]
            | [198, 18..=19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
            // Multicast, reserved, broadcast.
            | [224..=255, ..]
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // NAT64: what is meant is the IPv4 address within.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            is_public_v4(Ipv4Addr::new(a, b, c, d))
        }
        // Teredo, ORCHID and other protocols' own.
        [0x2001, 0..=0x1ff, ..] => false,
        // Documentation.
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // 6to4 carries an IPv4 address to a relay of anybody's choice.
        [0x2002, ..] => false,
        // Segment routing's, outside of what is given out.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_public_may_be_reached() {
        for (address, is_allowed) in [
            ("93.184.215.14", true),
            ("8.8.8.8", true),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("10.0.0.1", false),
            ("100.63.255.255", true),
            ("100.64.0.1", false),
            // The metadata of two clouds.
            ("100.100.100.200", false),
            ("169.254.169.254", false),
            ("100.127.255.255", false),
            ("100.128.0.1", true),
            ("127.0.0.1", false),
            ("127.255.255.254", false),
            ("169.254.0.1", false),
            ("172.15.255.255", true),
            ("172.16.0.1", false),
            ("172.31.255.255", false),
            ("172.32.0.1", true),
            ("192.0.0.8", false),
            ("192.0.1.1", true),
            ("192.0.2.1", false),
            ("192.88.99.1", false),
            ("192.168.0.1", false),
            ("198.17.0.1", true),
            ("198.18.0.1", false),
            ("198.19.255.255", false),
            ("198.51.100.7", false),
            ("203.0.113.7", false),
            ("224.0.0.1", false),
            ("240.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            // IPv4 within IPv6, in both old forms.
            ("::ffff:127.0.0.1", false),
            ("::ffff:10.0.0.1", false),
            ("::ffff:169.254.169.254", false),
            ("::ffff:8.8.8.8", true),
            ("::127.0.0.1", false),
            ("::8.8.8.8", false),
            ("64:ff9b::10.0.0.1", false),
            ("64:ff9b::169.254.169.254", false),
            ("64:ff9b::8.8.8.8", true),
            ("64:ff9b:1::8.8.8.8", false),
            ("100::1", false),
            ("2001::1", false),
            ("2001:20::1", false),
            ("2001:db8::1", false),
            ("2001:4860:4860::8888", true),
            ("2002:7f00:1::", false),
            ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", true),
            ("3fff::1", false),
            ("5f00::1", false),
            ("fc00::1", false),
            // AWS's metadata by IPv6.
            ("fd00:ec2::254", false),
            ("fe80::1", false),
            ("fec0::1", false),
            ("ff02::1", false),
        ] {
            let parsed: IpAddr = address.parse().unwrap();
            assert_eq!(is_public(parsed), is_allowed, "{address}");
            let checked = Addresses::default().check(parsed, true);
            assert_eq!(checked.is_ok(), is_allowed, "{address}");
        }
    }

    #[test]
    fn an_allowed_network_may_be_reached_and_nothing_else_without_tls() {
        let addresses = Addresses::new(vec!["10.1.0.0/16".parse().unwrap()]);
        let check = |address: &str, is_https| addresses.check(address.parse().unwrap(), is_https);
        assert_eq!(check("10.1.2.3", false), Ok(()));
        assert_eq!(check("::ffff:10.1.2.3", false), Ok(()));
        assert_eq!(check("10.2.0.1", true), Err(Forbidden::Private));
        assert_eq!(check("8.8.8.8", true), Ok(()));
        assert_eq!(check("8.8.8.8", false), Err(Forbidden::Plain));
    }
}
