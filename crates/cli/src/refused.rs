//! What would be refused, and what can be done about it, for people.

use backstay_engine::{Refusal, RefusalKind};

use crate::output::plain;

/// A line for each refusal, and one for each rule that can be taken away.
pub fn lines(refusals: &[Refusal], skips: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for refusal in refusals {
        let head = match (refusal.blocks, refusal.stops(skips)) {
            (_, true) => "refused",
            (true, false) => "left out",
            (false, false) => "accepted",
        };
        lines.push(format!("{head}: {}", plain::line(&refusal.sentence())));
        if !refusal.removal.is_empty() {
            lines.push(format!("  to take that rule away: {}", plain::line(&refusal.removal)));
        }
    }
    lines
}

/// What can be done when all that blocks is refused as it is; `None` when nothing is.
pub fn way_out(refusals: &[Refusal], skips: bool, elsewhere: bool) -> Option<String> {
    if !refusals.iter().any(|refusal| refusal.stops(skips)) {
        return None;
    }
    let removal = removals(refusals).next().map(|_| "take the rule away".to_owned());
    let ways = ways_out(refusals, elsewhere, removal).map(|ways| format!(": {ways}")).unwrap_or_default();
    Some(format!("as it is nothing would be written{ways}"))
}

/// How the rules are taken away that refuse; where something else stands there is none.
pub fn removals(refusals: &[Refusal]) -> impl Iterator<Item = &str> {
    let rules = refusals.iter().filter(|refusal| refusal.blocks && refusal.kind != RefusalKind::Occupied);
    rules.map(|refusal| refusal.removal.as_str()).filter(|removal| !removal.is_empty())
}

/// What can be done about what blocks, if anything; `elsewhere` when it could go to another place, `removal` says how the
/// rules go.
pub fn ways_out(refusals: &[Refusal], elsewhere: bool, removal: Option<String>) -> Option<String> {
    let mut ways = Vec::new();
    if elsewhere {
        ways.push("restore it under another name, with --into and --rename".to_owned());
    }
    if refusals.iter().any(|refusal| refusal.kind == RefusalKind::Occupied) {
        ways.push("drop or rename what stands there".to_owned());
    }
    if refusals.iter().all(|refusal| !refusal.stops(true)) {
        ways.push("leave such records out with --on-conflict skip".to_owned());
    }
    ways.extend(removal);
    (!ways.is_empty()).then(|| ways.join(", or "))
}
