//! The names that `restore --into` writes under, and what is refused before anything is written: a rename that renames
//! nothing, names that are the server's own, and the live data of the source itself.

use std::collections::BTreeSet;

use backstay_engine::{Renaming, RunNamespace, WrongNames};

use crate::args::{Rename, own_name, refusal};
use crate::selecting;
use crate::standing::Standing;

/// What to do instead of writing over the live data by the way.
const LIVE: &str = "give everything another name with --rename, or rewind the live data with --in-place instead of --into, \
                    which can be taken back";

/// The renames of a command line.
pub struct Names {
    /// The first that is about a namespace counts.
    pub renames: Vec<Rename>,
    /// Whose data stands there: what keeps its name would be written over the source's.
    pub target: Target,
}

/// Whose data stands where a restore goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// Another deployment's.
    Other,
    /// The source's.
    Source,
    /// Perhaps the source's: it does not show which one it is.
    MaybeSource,
}

impl From<&Standing> for Target {
    fn from(standing: &Standing) -> Target {
        match standing {
            Standing::Other => Target::Other,
            Standing::Source => Target::Source,
            Standing::Unknown(_) => Target::MaybeSource,
        }
    }
}

impl Renaming for Names {
    fn rename(&self, name: &str) -> String {
        let renamed = self.renames.iter().find_map(|rename| rename.apply(name));
        renamed.unwrap_or_else(|| name.to_owned())
    }

    fn check(&self, names: &[RunNamespace]) -> Result<(), WrongNames> {
        let mut unused: BTreeSet<usize> = (0..self.renames.len()).collect();
        for RunNamespace { namespace, .. } in names {
            if let Some(used) = self.renames.iter().position(|rename| rename.apply(namespace).is_some()) {
                unused.remove(&used);
            }
        }
        if let Some(rename) = unused.first().and_then(|unused| self.renames.get(*unused)) {
            let known: BTreeSet<String> = names.iter().map(|name| own_name(&name.namespace)).collect();
            return Err(WrongNames {
                why: format!("--rename {rename} renames nothing that is restored"),
                instead: instead_of(&rename.from(), &known),
            });
        }
        for RunNamespace { namespace, target, .. } in names.iter().filter(|name| name.target != name.namespace) {
            if let Some(why) = refusal(namespace, target) {
                return Err(WrongNames {
                    why: format!("{namespace} cannot be restored as {target}: {why}"),
                    instead: "give it another name, or leave it out with --ns".to_owned(),
                });
            }
        }
        let is = match self.target {
            Target::Other => return Ok(()),
            Target::Source => "is the source itself",
            Target::MaybeSource => "may be the source itself: with these credentials it does not show which one it is",
        };
        match names.iter().find(|name| name.target == name.namespace) {
            None => Ok(()),
            Some(live) => Err(WrongNames {
                why: format!("the target {is}; {} would be written over the live data", live.target),
                instead: LIVE.to_owned(),
            }),
        }
    }
}

/// What may be meant by a name that is not among those restored.
fn instead_of(name: &str, known: &BTreeSet<String>) -> String {
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    match selecting::near(name, &known).as_slice() {
        [] => format!("restored are {}", known.join(", ")),
        near => format!("did you mean {}?", near.join(" or ")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn check(renames: &[&str], names: &[&str], target: Target) -> Result<Vec<String>, WrongNames> {
        let renames = renames.iter().map(|text| text.parse().unwrap()).collect();
        let own = Names { renames, target };
        let named =
            |name: &&str| RunNamespace { namespace: (*name).to_owned(), target: own.rename(name), create: true };
        let names: Vec<RunNamespace> = names.iter().map(named).collect();
        own.check(&names).map(|()| names.into_iter().map(|name| name.target).collect())
    }

    #[test]
    fn a_rename_that_renames_nothing_is_refused_with_what_is_like_it() {
        let names = ["shop.orders", "shop.system.buckets.ts"];
        assert_eq!(check(&["shop.orders=x.y"], &names, Target::Other).unwrap(), ["x.y", "shop.system.buckets.ts"]);
        let wrong = check(&["shop.order=shop.then"], &names, Target::Other).unwrap_err();
        assert!(wrong.why.contains("shop.order=shop.then"), "{wrong:?}");
        assert!(wrong.instead.contains("shop.orders"), "{wrong:?}");
        assert!(check(&["crm.*=old.*"], &names, Target::Other).is_err());
        // The second is never asked for.
        assert!(check(&["shop.*=x.*", "shop.orders=y.z"], &names, Target::Other).is_err());
    }

    #[test]
    fn a_time_series_goes_by_its_own_name() {
        let names = ["shop.system.buckets.ts", "shop.ts2"];
        assert_eq!(check(&["shop.ts=old.ts_then"], &names, Target::Other).unwrap()[0], "old.system.buckets.ts_then");
        assert_eq!(check(&["shop.*=old.*"], &names, Target::Source).unwrap(), ["old.system.buckets.ts", "old.ts2"]);
        assert!(check(&["shop.t=x.y"], &names, Target::Other).unwrap_err().instead.contains("shop.ts"));
    }

    #[test]
    fn the_servers_own_names_are_refused() {
        assert!(check(&["admin.*=old.*"], &["admin.system.users"], Target::Other).is_err());
        assert!(
            check(&[], &["admin.system.users"], Target::Other).is_ok(),
            "asked for by name, it is restored as what it is"
        );
        assert_eq!(check(&["shop.*=old.*"], &["shop.system.views"], Target::Source).unwrap(), ["old.system.views"]);
    }

    #[test]
    fn the_live_data_is_not_written_over_by_the_way() {
        assert!(check(&[], &["shop.orders"], Target::Other).is_ok());
        let wrong = check(&["shop.orders=shop.then"], &["shop.items", "shop.orders"], Target::Source).unwrap_err();
        assert!(wrong.why.contains("shop.items") && wrong.instead.contains("--in-place"), "{wrong:?}");
        let wrong = check(&[], &["shop.items"], Target::MaybeSource).unwrap_err();
        assert!(wrong.why.contains("may be the source"), "{wrong:?}");
    }
}
