//! Which write has to wait for which, because it takes a unique value that another still holds.
//!
//! ```text
//!   a wants what b holds, b what c holds        c, b, a      one after the other
//!   d wants what e holds, e what d holds        { d, e }     together, or neither
//! ```
//!
//! Writes are nodes, and each points at those that hold what it wants. The strongly connected components of that graph are
//! what has to be written together; Tarjan's algorithm yields them with those that are waited for first (R. Tarjan, “Depth-first
//! search and linear graph algorithms”, 1972).

use std::collections::HashMap;

/// Of one write: the unique values that its record holds now, and those that it is to hold.
pub(super) struct Claims {
    pub holds: Vec<Vec<u8>>,
    pub wants: Vec<Vec<u8>>,
}

/// The writes by number, in the order in which they can be carried out; those of one group only together.
pub(super) fn groups(claims: &[Claims]) -> Vec<Vec<usize>> {
    let mut holders: HashMap<&[u8], usize> = HashMap::new();
    for (number, claim) in claims.iter().enumerate() {
        holders.extend(claim.holds.iter().map(|value| (value.as_slice(), number)));
    }
    let waits = |(number, claim): (usize, &Claims)| {
        let holders = claim.wants.iter().filter_map(|value| holders.get(value.as_slice()).copied());
        holders.filter(|holder| *holder != number).collect()
    };
    components(&claims.iter().enumerate().map(waits).collect::<Vec<_>>())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Never,
    /// On the stack, as the how-manieth that was seen, and with the lowest of those that it leads back to.
    Open {
        number: usize,
        lowest: usize,
    },
    Done,
}

/// The strongly connected components of a graph, each after those that it leads to. `edges` lists where each node leads.
fn components(edges: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut seen = vec![Seen::Never; edges.len()];
    let mut count = 0;
    let mut open: Vec<usize> = Vec::new();
    let mut found = Vec::new();
    for root in 0..edges.len() {
        // The nodes on the way down, each with the edges that are left of it.
        let mut way: Vec<(usize, std::slice::Iter<'_, usize>)> = Vec::new();
        let mut next = Some(root).filter(|root| seen[*root] == Seen::Never);
        loop {
            if let Some(node) = next.take() {
                seen[node] = Seen::Open { number: count, lowest: count };
                count += 1;
                open.push(node);
                way.push((node, edges[node].iter()));
            }
            let Some((node, rest)) = way.last_mut() else { break };
            let node = *node;
            if let Some(to) = rest.next() {
                match seen[*to] {
                    Seen::Never => next = Some(*to),
                    Seen::Open { number, .. } => lower(&mut seen[node], number),
                    Seen::Done => {}
                }
                continue;
            }
            way.pop();
            let Seen::Open { number, lowest } = seen[node] else { continue };
            if let Some((parent, _)) = way.last() {
                lower(&mut seen[*parent], lowest);
            }
            if number == lowest {
                let start = open.iter().rposition(|other| *other == node).unwrap_or(0);
                let component = open.split_off(start);
                component.iter().for_each(|member| seen[*member] = Seen::Done);
                found.push(component);
            }
        }
    }
    found
}

fn lower(seen: &mut Seen, to: usize) {
    if let Seen::Open { lowest, .. } = seen {
        *lowest = to.min(*lowest);
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn claims(moves: &[(u8, u8)]) -> Vec<Claims> {
        moves.iter().map(|(holds, wants)| Claims { holds: vec![vec![*holds]], wants: vec![vec![*wants]] }).collect()
    }

    #[test]
    fn those_that_are_waited_for_come_first_and_cycles_together() {
        assert_eq!(groups(&claims(&[(1, 2), (2, 3), (3, 9)])), [[2], [1], [0]]);
        let mut swapped = groups(&claims(&[(1, 2), (5, 1), (2, 1), (4, 4)]));
        swapped.iter_mut().for_each(|group| group.sort_unstable());
        assert_eq!(swapped, [vec![0, 2], vec![1], vec![3]]);
    }

    #[test]
    fn a_long_chain_needs_no_deep_stack() {
        let chain: Vec<Vec<usize>> = (1..200_000).map(|next| vec![next]).chain([vec![]]).collect();
        assert_eq!(components(&chain).len(), 200_000);
    }

    proptest! {
        /// Two nodes share a component exactly if each is reached from the other, and nothing leads to a later one.
        #[test]
        fn components_are_what_reaching_says(edges in vec(vec(0..12usize, 0..4), 12)) {
            let mut reached = [[false; 12]; 12];
            for (from, to) in edges.iter().enumerate() {
                to.iter().for_each(|to| reached[from][*to] = true);
            }
            for via in 0..12 {
                for from in 0..12 {
                    for to in 0..12 {
                        reached[from][to] |= reached[from][via] && reached[via][to];
                    }
                }
            }
            let found = components(&edges);
            let mut place = [usize::MAX; 12];
            for (number, component) in found.iter().enumerate() {
                component.iter().for_each(|node| place[*node] = number);
            }
            prop_assert!(place.iter().all(|place| *place < found.len()));
            for from in 0..12 {
                for to in 0..12 {
                    let together = from == to || (reached[from][to] && reached[to][from]);
                    prop_assert_eq!(together, place[from] == place[to]);
                    prop_assert!(!reached[from][to] || place[to] <= place[from]);
                }
            }
        }
    }
}
