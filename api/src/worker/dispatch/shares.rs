//! Who sends for which portfolio, among the nodes that are there. Every node works it out for itself from the same leases:
//! whoever has a portfolio keeps it, as far as its share goes, so that only what must move moves. Two nodes that do not see
//! the same for a moment want the same thing or nobody wants it, until they do; the leases see to the rest.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The node that is to have each of `parts`. All nodes have as many, but for one where it does not divide evenly.
///
/// `holders` says who has what now; a holder that is not among `nodes` is gone. Where nobody is there, nobody gets any.
pub(super) fn wanted<'a>(
    parts: &BTreeSet<&'a str>,
    holders: &BTreeMap<&'a str, &'a str>,
    nodes: &BTreeSet<&'a str>,
) -> BTreeMap<&'a str, &'a str> {
    if nodes.is_empty() {
        return BTreeMap::new();
    }
    let mut shares: BTreeMap<&str, Vec<&str>> = nodes.iter().map(|node| (*node, vec![])).collect();
    let mut free = VecDeque::new();
    for part in parts {
        match holders.get(part).and_then(|holder| shares.get_mut(holder)) {
            Some(share) => share.push(part),
            None => free.push_back(*part),
        }
    }
    let (least, larger) = (parts.len() / nodes.len(), parts.len() % nodes.len());
    let mut order: Vec<&str> = nodes.iter().copied().collect();
    // The larger shares are for those who have one already. How much more than that they have does not count: it goes
    // down while they hand it over, and the order must not change by that.
    order.sort_by_key(|node| Reverse(shares.get(node).map_or(0, Vec::len).min(least + 1)));
    let size = |rank: usize| least + usize::from(rank < larger);
    for (rank, node) in order.iter().enumerate() {
        if let Some(share) = shares.get_mut(node)
            && share.len() > size(rank)
        {
            free.extend(share.drain(size(rank)..));
        }
    }
    for (rank, node) in order.iter().enumerate() {
        if let Some(share) = shares.get_mut(node) {
            let room = size(rank).saturating_sub(share.len()).min(free.len());
            share.extend(free.drain(..room));
        }
    }
    shares
        .into_iter()
        .flat_map(|(node, share)| share.into_iter().map(move |part| (part, node)))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Who has what, by the numbers of the parts and of the nodes.
    type Holders = BTreeMap<String, String>;

    fn part(n: usize) -> String {
        format!("dispatch/account/{n:03}")
    }

    fn node(n: usize) -> String {
        format!("node {n:02}")
    }

    fn share_out(parts: usize, holders: &Holders, nodes: &BTreeSet<String>) -> Holders {
        let parts: Vec<String> = (0..parts).map(part).collect();
        let holders = holders.iter().map(|(part, node)| (part.as_str(), node.as_str())).collect();
        let wanted = wanted(
            &parts.iter().map(String::as_str).collect(),
            &holders,
            &nodes.iter().map(String::as_str).collect(),
        );
        wanted.into_iter().map(|(part, node)| (part.to_owned(), node.to_owned())).collect()
    }

    fn nodes(count: usize) -> BTreeSet<String> {
        (0..count).map(node).collect()
    }

    fn sizes(wanted: &Holders, nodes: &BTreeSet<String>) -> Vec<usize> {
        nodes.iter().map(|node| wanted.values().filter(|owner| *owner == node).count()).collect()
    }

    fn moved(from: &Holders, to: &Holders) -> usize {
        from.iter().filter(|(part, node)| to.get(*part) != Some(node)).count()
    }

    /// Any parts with any holders, some of them gone.
    fn any_holders() -> impl Strategy<Value = (usize, Holders, BTreeSet<String>)> {
        (0_usize..60, 1_usize..9).prop_flat_map(|(parts, count)| {
            let holders = prop::collection::vec(prop::option::of(0..count + 2), parts);
            holders.prop_map(move |holders| {
                let holders = holders
                    .into_iter()
                    .enumerate()
                    .filter_map(|(n, holder)| Some((part(n), node(holder?))))
                    .collect();
                (parts, holders, nodes(count))
            })
        })
    }

    #[test]
    fn a_node_that_joins_gets_its_share_of_both() {
        let two = share_out(6, &Holders::new(), &nodes(2));
        assert_eq!(sizes(&two, &nodes(2)), [3, 3]);
        let three = share_out(6, &two, &nodes(3));
        assert_eq!(sizes(&three, &nodes(3)), [2, 2, 2]);
        assert_eq!(moved(&two, &three), 2);
    }

    #[test]
    fn nobody_gets_anything_where_nobody_is_there() {
        assert!(share_out(3, &Holders::new(), &BTreeSet::new()).is_empty());
    }

    proptest! {
        #[test]
        fn every_part_has_one_owner_that_is_there_and_shares_differ_by_one(
            (parts, holders, nodes) in any_holders(),
        ) {
            let wanted = share_out(parts, &holders, &nodes);
            prop_assert_eq!(wanted.len(), parts);
            prop_assert!(wanted.values().all(|owner| nodes.contains(owner)));
            let sizes = sizes(&wanted, &nodes);
            let (most, least) = (sizes.iter().max().unwrap(), sizes.iter().min().unwrap());
            prop_assert!(most - least <= 1, "{sizes:?}");
        }

        #[test]
        fn what_is_as_it_should_be_stays_so((parts, holders, nodes) in any_holders()) {
            let wanted = share_out(parts, &holders, &nodes);
            prop_assert_eq!(share_out(parts, &wanted, &nodes), wanted);
        }

        #[test]
        fn a_node_that_joins_moves_its_share_and_no_more((parts, holders, nodes) in any_holders()) {
            let before = share_out(parts, &holders, &nodes);
            let more: BTreeSet<String> = nodes.iter().cloned().chain([node(50)]).collect();
            let after = share_out(parts, &before, &more);
            prop_assert!(moved(&before, &after) <= parts.div_ceil(more.len()));
            prop_assert!(after.iter().all(|(part, owner)| *owner == before[part] || *owner == node(50)));
        }

        #[test]
        fn a_node_that_goes_moves_what_it_had_and_no_more((parts, holders, nodes) in any_holders()) {
            prop_assume!(nodes.len() > 1);
            let before = share_out(parts, &holders, &nodes);
            let left: BTreeSet<String> = nodes.iter().skip(1).cloned().collect();
            let after = share_out(parts, &before, &left);
            let had = sizes(&before, &nodes)[0];
            prop_assert_eq!(moved(&before, &after), had);
        }

        /// Whatever is given back first, and whoever is faster to take what it is to have.
        #[test]
        fn step_by_step_in_any_order_it_comes_to_rest(
            (parts, mut holders, nodes) in any_holders(),
            choices in prop::collection::vec(any::<prop::sample::Index>(), 400),
        ) {
            let mut steps = 0;
            for choice in choices {
                let wanted = share_out(parts, &holders, &nodes);
                let open: Vec<&String> =
                    wanted.iter().filter(|(part, owner)| holders.get(*part) != Some(owner)).map(|(part, _)| part).collect();
                if open.is_empty() {
                    break;
                }
                let part = (*choice.get(&open)).clone();
                steps += 1;
                // One step of two: given back by who has it, taken by who is to have it.
                if holders.remove(&part).is_none() {
                    holders.insert(part.clone(), wanted[&part].clone());
                }
            }
            prop_assert_eq!(share_out(parts, &holders, &nodes), holders);
            prop_assert!(steps <= 3 * parts, "{steps} steps for {parts}");
        }
    }
}
