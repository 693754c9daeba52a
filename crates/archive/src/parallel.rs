//! Spreading work on bytes over the machine's cores.
//!
//! The work is pure and ends by itself, so plain scoped threads do: nothing outlives the call, and the results come back
//! in the order of the inputs whichever thread made them.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Applies `work` to every item on all cores, with something that each core makes once and uses for all its items. The
/// first error wins; results are in the order of the items.
pub(crate) fn map_with<T: Sync, S, R: Send, E: Send>(
    items: &[T],
    equip: impl Fn() -> Result<S, E> + Sync,
    work: impl Fn(&mut S, &T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(items.len());
    let next = AtomicUsize::new(0);
    let take_turns = || {
        let mut equipment = equip()?;
        let mut done: Vec<(usize, R)> = Vec::new();
        while let at = next.fetch_add(1, Ordering::Relaxed)
            && let Some(item) = items.get(at)
        {
            let result = work(&mut equipment, item).inspect_err(|_| next.store(items.len(), Ordering::Relaxed))?;
            done.push((at, result));
        }
        Ok(done)
    };
    let shares: Vec<Result<Vec<(usize, R)>, E>> = if threads <= 1 {
        vec![take_turns()]
    } else {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(take_turns)).collect();
            let joined = threads.into_iter().map(|thread| thread.join());
            joined.map(|share| share.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        })
    };
    let mut done = Vec::with_capacity(items.len());
    for share in shares {
        done.extend(share?);
    }
    done.sort_by_key(|(at, _)| *at);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_of_the_items() {
        let items: Vec<u32> = (0..1000).collect();
        assert_eq!(
            map_with(&items, || Ok(()), |(), n| Ok::<u32, ()>(n * 2)),
            Ok(items.iter().map(|n| n * 2).collect())
        );
    }

    #[test]
    fn an_error_is_handed_on() {
        let items: Vec<u32> = (0..1000).collect();
        assert_eq!(map_with(&items, || Ok(()), |(), n| if *n == 500 { Err("no") } else { Ok(()) }).err(), Some("no"));
    }
}
