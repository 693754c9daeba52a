//! What would be refused, and what can be done about it, for people.

use backstay_engine::Refusal;

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
    let mut ways = vec!["take the rule away"];
    if elsewhere {
        ways.push("restore beside it (--into, --rename)");
    }
    if !refusals.iter().any(|refusal| refusal.stops(true)) {
        ways.push("leave such records out (--on-conflict skip)");
    }
    Some(format!("as it is nothing would be written: {}", ways.join(", or ")))
}
