//! Walking through every state that a small model can reach.
//!
//! ```text
//!   first state ──► all steps of all its actors ──► states not seen before ──► … until there are none
//!                                                          └─ breaks an invariant: the shortest way there
//! ```
//!
//! Breadth first, so that a counterexample is as short as can be. States are compared whole, not by a hash alone. What it
//! is not: clever. Models are kept small enough for a debug build; [`Explored::states`] says how small.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Debug;
use std::hash::Hash;

/// Something that goes from state to state.
pub trait Model {
    /// All that matters of one moment.
    type State: Clone + Eq + Hash;
    /// One step of one actor, for people to read.
    type Step: Clone + Debug;

    /// Where it begins.
    fn first(&self) -> Self::State;

    /// Every step that can be taken, with the state that it leads to.
    fn next(&self, state: &Self::State) -> Vec<(Self::Step, Self::State)>;

    /// What is wrong with a state, if anything.
    fn broken(&self, state: &Self::State) -> Option<String>;
}

/// What was found.
#[derive(Debug)]
pub struct Explored<Step> {
    /// How many different states were reached.
    pub states: usize,
    /// What is broken and the shortest way there, if any state is.
    pub broken: Option<(String, Vec<Step>)>,
}

/// Visits every state, up to the first that is broken. Panics beyond `limit` states: a model that is not walked through
/// to the end proves nothing.
pub fn explore<M: Model>(model: &M, limit: usize) -> Explored<M::Step> {
    // Every state by its number, with the number and the step that it was first reached by.
    let mut seen: HashMap<M::State, usize> = HashMap::new();
    let mut ways: Vec<Option<(usize, M::Step)>> = vec![None];
    let mut frontier = vec![(0, model.first())];
    seen.insert(model.first(), 0);
    while !frontier.is_empty() {
        let mut after = Vec::new();
        for (number, state) in frontier {
            if let Some(why) = model.broken(&state) {
                return Explored { states: ways.len(), broken: Some((why, way(&ways, number))) };
            }
            for (step, next) in model.next(&state) {
                if let Entry::Vacant(vacant) = seen.entry(next) {
                    after.push((ways.len(), vacant.key().clone()));
                    vacant.insert(ways.len());
                    ways.push(Some((number, step)));
                }
            }
        }
        assert!(ways.len() <= limit, "the model has more than {limit} states");
        frontier = after;
    }
    Explored { states: ways.len(), broken: None }
}

fn way<Step: Clone>(ways: &[Option<(usize, Step)>], mut number: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    while let Some(Some((before, step))) = ways.get(number) {
        steps.push(step.clone());
        number = *before;
    }
    steps.reverse();
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two counters, each counting to three; they must not both be at `forbidden`.
    struct Counters {
        forbidden: u8,
    }

    impl Model for Counters {
        type State = (u8, u8);
        type Step = char;

        fn first(&self) -> (u8, u8) {
            (0, 0)
        }

        fn next(&self, (a, b): &(u8, u8)) -> Vec<(char, (u8, u8))> {
            let mut next = Vec::new();
            if *a < 3 {
                next.push(('a', (a + 1, *b)));
            }
            if *b < 3 {
                next.push(('b', (*a, b + 1)));
            }
            next
        }

        fn broken(&self, state: &(u8, u8)) -> Option<String> {
            (*state == (self.forbidden, self.forbidden)).then(|| "both are there".to_owned())
        }
    }

    #[test]
    fn every_state_is_visited_once() {
        let explored = explore(&Counters { forbidden: 9 }, 100);
        assert_eq!((explored.states, explored.broken), (16, None));
    }

    #[test]
    fn the_way_to_what_is_broken_is_the_shortest() {
        let (_, way) = explore(&Counters { forbidden: 2 }, 100).broken.expect("it can be reached");
        assert_eq!(way.len(), 4);
    }
}
