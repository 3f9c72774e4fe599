//! The hosts file.

use std::collections::HashMap;
use std::net::IpAddr;

/// The names of a hosts file, see hosts(5).
#[derive(Debug, Default)]
pub(super) struct Hosts(HashMap<String, Vec<IpAddr>>);

impl Hosts {
    /// Reads the text of a hosts file; lines that are none are passed over, as libc does.
    pub(super) fn parse(text: &str) -> Self {
        let mut hosts: HashMap<String, Vec<IpAddr>> = HashMap::new();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let Some(Ok(address)) = words.next().map(str::parse) else {
                continue;
            };
            for name in words {
                let name = normal(name);
                hosts.entry(name).or_default().push(address);
            }
        }
        Self(hosts)
    }

    /// The addresses of a name; none if the file does not have it.
    pub(super) fn get(&self, name: &str) -> Option<&[IpAddr]> {
        self.0.get(&normal(name)).map(Vec::as_slice)
    }
}

fn normal(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn names_and_aliases_of_both_families() {
        let hosts = Hosts::parse(
            "127.0.0.1\tlocalhost # loopback\n::1 localhost ip6-localhost\n\n\
             # 10.0.0.1 commented\nbroken api\n10.0.0.7 API.internal api\n",
        );
        let one = IpAddr::from(Ipv4Addr::new(10, 0, 0, 7));
        assert_eq!(hosts.get("api"), Some(&[one][..]));
        assert_eq!(hosts.get("api.INTERNAL."), Some(&[one][..]));
        assert_eq!(hosts.get("localhost").map(<[_]>::len), Some(2));
        assert_eq!(hosts.get("commented"), None);
        assert_eq!(hosts.get("broken"), None);
    }
}
