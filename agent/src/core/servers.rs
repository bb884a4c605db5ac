//! Which server to dial next: advice first, then the last good one, then the configured list, then learned addresses.

use std::collections::VecDeque;

use crate::limits;

/// The servers an agent knows.
#[derive(Debug)]
pub(crate) struct Servers {
    own: Vec<String>,
    learned: Vec<String>,
    last_good: Option<String>,
    avoided: Option<String>,
    /// What is left of the present round.
    round: VecDeque<String>,
    rounds: u32,
}

impl Servers {
    /// Starts with a list that the first round takes in its order: who spreads devices has shuffled it.
    pub(crate) fn new(own: Vec<String>) -> Self {
        Self { own, learned: Vec::new(), last_good: None, avoided: None, round: VecDeque::new(), rounds: 0 }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.own.len() + self.learned.len()
    }

    /// The next one to dial.
    pub(crate) fn next(&mut self, random: f64) -> String {
        if self.round.is_empty() {
            self.fill(random);
        }
        self.round.pop_front().unwrap_or_default()
    }

    /// A session was opened there: it is dialled first after a loss, because it may still hold the session.
    pub(crate) fn good(&mut self, server: &str) {
        self.last_good = Some(server.to_owned());
        self.avoided = None;
        self.round.clear();
    }

    /// It wants no connections now: it is dialled last in the next round.
    pub(crate) fn avoid(&mut self, server: &str) {
        self.avoided = Some(server.to_owned());
        self.round.clear();
    }

    /// A node named better servers, best first: they are dialled next, once.
    pub(crate) fn prefer(&mut self, addrs: &[String], random: f64) {
        if addrs.is_empty() {
            return;
        }
        self.fill(random);
        for addr in addrs
            .iter()
            .take(limits::LEARNED_SERVERS)
            .rev()
            .filter_map(|addr| self.url(addr))
            .collect::<Vec<_>>()
        {
            self.round.retain(|server| *server != addr);
            self.round.push_front(addr);
        }
    }

    /// Where the cluster's nodes are reached: replaces what was learned before.
    pub(crate) fn learn(&mut self, addrs: &[String]) {
        let known = |addr: &String| !self.own.contains(addr);
        self.learned = addrs
            .iter()
            .filter_map(|addr| self.url(addr))
            .filter(known)
            .take(limits::LEARNED_SERVERS)
            .collect();
    }

    /// What a node names is spoken to as the configured servers are: nobody is talked out of TLS.
    fn url(&self, addr: &str) -> Option<String> {
        let secure = self.own.first().is_some_and(|server| server.starts_with(SECURE));
        let rest = addr.trim().trim_start_matches(PLAIN).trim_start_matches(SECURE);
        url(&format!("{}{rest}", if secure { SECURE } else { PLAIN }))
    }

    /// A new round: the last good server, the others from a random one on (a dead node's devices must not all fall on
    /// the same neighbour), the avoided one at the end. Only the very first round keeps the list's own order.
    fn fill(&mut self, random: f64) {
        let mut all: Vec<String> = self.own.iter().chain(&self.learned).cloned().collect();
        if self.rounds > 0 && !all.is_empty() {
            let start = (random.clamp(0.0, 0.999_999) * all.len() as f64) as usize;
            all.rotate_left(start);
        }
        self.rounds = self.rounds.saturating_add(1);
        let rank = |server: &String| match server {
            _ if Some(server) == self.avoided.as_ref() => 2,
            _ if Some(server) == self.last_good.as_ref() => 0,
            _ => 1,
        };
        all.sort_by_key(rank);
        self.round = all.into();
    }
}

const PLAIN: &str = "http://";
const SECURE: &str = "https://";

/// An address as a URL, plain unless it says otherwise; `None` if it is not one.
pub(crate) fn url(addr: &str) -> Option<String> {
    let addr = addr.trim().trim_end_matches('/');
    let (scheme, rest) = match addr.strip_prefix(SECURE) {
        Some(rest) => (SECURE, rest),
        None => (PLAIN, addr.strip_prefix(PLAIN).unwrap_or(addr)),
    };
    let (host, port) = rest.rsplit_once(':')?;
    let plain = !host.is_empty() && !host.contains(['/', '@', '?', '#', ' ']);
    (plain && port.parse::<u16>().is_ok_and(|port| port != 0)).then(|| format!("{scheme}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Servers {
        Servers::new(["http://a:1", "http://b:1", "http://c:1"].map(String::from).to_vec())
    }

    fn take(servers: &mut Servers, count: usize) -> String {
        (0..count).map(|_| servers.next(0.7)[7..8].to_owned()).collect()
    }

    #[test]
    fn the_first_round_keeps_the_order_of_the_list_and_later_ones_start_anywhere() {
        let mut servers = three();
        assert_eq!(take(&mut servers, 6), "abccab");
    }

    #[test]
    fn the_last_good_server_is_tried_first_and_an_avoided_one_last() {
        let mut servers = three();
        servers.good("http://b:1");
        assert_eq!(take(&mut servers, 3), "bac");
        servers.avoid("http://b:1");
        assert_eq!(take(&mut servers, 3), "cab");
    }

    #[test]
    fn advice_goes_before_everything_once() {
        let mut servers = three();
        servers.good("http://b:1");
        servers.prefer(&["x:9".into(), "http://c:1".into(), "no url".into()], 0.0);
        assert_eq!(take(&mut servers, 4), "xcba");
        assert!(!take(&mut servers, 3).contains('x'));
    }

    #[test]
    fn what_a_node_names_is_spoken_to_as_the_configured_servers_are() {
        let mut servers = Servers::new(vec!["https://a:1".to_owned()]);
        servers.learn(&["b:1".into(), "http://c:1".into()]);
        servers.prefer(&["http://d:1".into()], 0.0);
        let all: Vec<String> = (0..4).map(|_| servers.next(0.0)).collect();
        assert_eq!(all, ["https://d:1", "https://a:1", "https://b:1", "https://c:1"]);
    }

    #[test]
    fn learned_addresses_join_the_list_and_replace_older_ones() {
        let mut servers = three();
        servers.learn(&["d:1".into(), "a:1".into()]);
        assert_eq!(servers.len(), 4);
        servers.learn(&[]);
        assert_eq!(servers.len(), 3);
    }

    #[test]
    fn an_address_is_a_host_and_a_port_and_nothing_else() {
        assert_eq!(url("h:7401").as_deref(), Some("http://h:7401"));
        assert_eq!(url("https://h:7401").as_deref(), Some("https://h:7401"));
        assert_eq!(url(" http://[::1]:7401/ ").as_deref(), Some("http://[::1]:7401"));
        for bad in ["", "h", "h:", "h:0", "h:99999", "ftp://h:1", "http://u@h:1", "http://h:1/path", ":1"] {
            assert_eq!(url(bad), None, "{bad:?}");
        }
    }
}
