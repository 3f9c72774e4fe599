//! Address ranges in text: `"10.0.0.0/8"`, or a single address.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

/// Reads a range; a single address is the range that holds only it, as in nginx's `set_real_ip_from`.
pub(crate) fn parse(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>()
        .ok()
        .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

pub(super) fn serialize<S: Serializer>(ranges: &[IpNet], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(ranges.iter().map(IpNet::to_string))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<IpNet>, D::Error> {
    Vec::<String>::deserialize(deserializer)?
        .iter()
        .map(|text| {
            parse(text).ok_or_else(|| D::Error::custom(format!("{text:?} is no address range")))
        })
        .collect()
}
