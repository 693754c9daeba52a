//! Instants at which something was not protected: what was asked for is neither there nor known to be absent.
//!
//! ```text
//!   include: shop.orders        include: shop.*              restore --ns shop.items
//!   ├───────────────────────┤gap├───────────────────────┤      before the gap: 16, the nearest is its end
//! ```

use backstay_archive::{Error, Vault};
use backstay_model::{Coverage, ProtectedSince, Tick};
use backstay_mongodb::interpret::protection::include;

use crate::args::SelectionArgs;
use crate::failure::Failure;
use crate::output::Output;
use crate::pattern::NamespacePattern;

/// Refuses an instant at which a namespace that is named outright was not protected, with the nearest instants at which
/// it was. Where patterns or everything is meant, says what was protected then if that was not what is now.
///
/// # Errors
/// Exit code 16, as in a gap.
pub async fn check(selection: &SelectionArgs, vault: &Vault, at: Tick, output: &Output) -> Result<(), Failure> {
    let state = vault.state().await;
    for pattern in selection.namespaces.iter().filter(|pattern| !pattern.is_glob()) {
        check_one(pattern.as_str(), state.protected(), &state.coverage(), at)?;
    }
    let whole = selection.namespaces.iter().all(NamespacePattern::is_glob);
    if let (true, Some(then), Some(now)) = (whole, state.protection_at(at), state.protection())
        && let Some(change) = now.change_since(then)
    {
        output.note(&format!("what is protected has changed since that time: {change}"));
    }
    Ok(())
}

/// As [`check`], of the one namespace `name`.
///
/// # Errors
/// Exit code 16, as in a gap.
pub async fn check_name(name: &str, vault: &Vault, at: Tick) -> Result<(), Failure> {
    let state = vault.state().await;
    check_one(name, state.protected(), &state.coverage(), at)
}

fn check_one(name: &str, protected: &[ProtectedSince], coverage: &Coverage, at: Tick) -> Result<(), Failure> {
    let holds = |since: &ProtectedSince| include(&since.protection).is_ok_and(|include| include.contains(name));
    let now = protected.iter().rposition(|since| since.from < at).unwrap_or(0);
    // An instant that cannot be had at all, and a name that was never protected, are refused elsewhere.
    if !coverage.contains(at) || protected.get(now).is_none_or(holds) || !protected.iter().any(holds) {
        return Ok(());
    }
    let (earlier, later) = protected.split_at(now);
    // A protection ends where the next one begins, and counts from the end of the scan that it asks for.
    let before = earlier.iter().rposition(holds).and_then(|last| protected.get(last + 1));
    let before = before.and_then(|next| coverage.nearest(next.from).0);
    let after = later.iter().find(|since| holds(since)).and_then(|since| coverage.nearest(since.from.next()).1);
    let then = later.first().map(|since| since.protection.include.join(", ")).unwrap_or_default();
    Err(Error::NotCovered { at, why: format!("{name} was not protected then, only {then} was"), before, after }.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use backstay_model::{Gap, Protection};

    use super::*;
    use crate::failure::Exit;

    #[test]
    fn a_namespace_that_was_not_protected_is_refused_with_the_nearest_times_at_which_it_was() {
        let t = |second| Tick::new(second, 1);
        let since = |second, include: &[&str]| ProtectedSince {
            from: t(second),
            protection: Protection {
                include: include.iter().map(|&text| text.to_owned()).collect(),
                tenants: Vec::new(),
                feed: String::new(),
            },
        };
        let gap = |after, resumes| Gap { after: t(after), resumes: Some(t(resumes)), cause: String::new() };
        let protected = [since(10, &["a.x", "a.y"]), since(30, &["a.x"]), since(50, &["a.*"])];
        let coverage = Coverage { start: Some(t(12)), through: t(90), gaps: vec![gap(30, 33), gap(50, 55)] };
        let refused = |name: &str, at| check_one(name, &protected, &coverage, t(at)).err();
        for (name, at) in [("a.x", 20), ("a.x", 40), ("a.x", 60), ("a.y", 20), ("a.y", 30), ("a.y", 60), ("b.z", 40)] {
            assert_eq!(refused(name, at), None, "{name} at {at}");
        }
        let failure = refused("a.y", 40).unwrap();
        assert_eq!(failure.exit, Exit::Unrestorable);
        assert!(failure.message.contains("only a.x was; the nearest that can are 30:1"), "{failure}");
        assert!(failure.message.contains("55:1"), "{failure}");
        assert!(refused("a.new", 20).unwrap().message.contains("55:1"));
        assert_eq!(check_one("a.y", &[], &coverage, t(40)), Ok(()));
    }
}
