//! What would be refused, in words.

use std::collections::BTreeSet;

pub use backstay_source::RefusalKind;
use serde::{Serialize, Serializer};

use super::ConflictPolicy;

/// A record that would be refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RefusedRecord {
    /// Its id.
    pub id: String,
    /// The id of the record that has its unique value.
    pub holder: Option<String>,
}

/// What would be refused by one rule.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Refusal {
    /// The namespace's name in the target.
    pub namespace: String,
    /// Why.
    #[serde(serialize_with = "as_word")]
    pub kind: RefusalKind,
    /// What refuses, in words; a sentence where the namespace is refused as a whole.
    pub rule: String,
    /// True when the records cannot be written; false when only their next change would be refused.
    pub blocks: bool,
    /// How many records; none where the namespace is refused as a whole.
    pub count: u64,
    /// True when there are more than were counted.
    pub more: bool,
    /// Some of them.
    pub examples: Vec<RefusedRecord>,
    /// How to take the rule away, as the database's own users say it; empty when nothing can be said.
    pub removal: String,
}

impl Refusal {
    /// Of a namespace as a whole.
    pub(crate) fn whole(namespace: &str, kind: RefusalKind, rule: String, removal: String) -> Refusal {
        let namespace = namespace.to_owned();
        Refusal { namespace, kind, rule, blocks: true, count: 0, more: false, examples: Vec::new(), removal }
    }

    /// True when the restore cannot go on, though it `skips` records that cannot be written: of a namespace that is refused
    /// as a whole there are none to leave out.
    pub fn stops(&self, skips: bool) -> bool {
        self.blocks && (!skips || self.count == 0)
    }

    /// Everything in one sentence.
    pub fn sentence(&self) -> String {
        let (namespace, rule) = (&self.namespace, &self.rule);
        if self.count == 0 {
            return rule.clone();
        }
        let more = if self.more { "more than " } else { "" };
        let records = if self.count == 1 { "record" } else { "records" };
        let verb = if self.blocks { "would refuse" } else { "would refuse the next change of" };
        let named: Vec<String> = self
            .examples
            .iter()
            .map(|example| match &example.holder {
                Some(holder) => format!("{} (its value is that of {holder})", example.id),
                None => example.id.clone(),
            })
            .collect();
        format!("{namespace}: {rule} {verb} {more}{} {records}, such as {}", self.count, named.join(", "))
    }
}

/// True when one of them stops a restore or an undo that deals with conflicts by `policy`.
pub fn is_refused(refusals: &[Refusal], policy: ConflictPolicy) -> bool {
    refusals.iter().any(|refusal| refusal.stops(policy == ConflictPolicy::Skip))
}

/// All of them by namespace, for an error.
pub(crate) fn sentences(refusals: &[Refusal]) -> String {
    /// How many are said in full.
    const SAID: usize = 3;
    let blocking: Vec<&Refusal> = refusals.iter().filter(|refusal| refusal.blocks).collect();
    let mut said: Vec<String> = blocking.iter().take(SAID).map(|refusal| refusal.sentence()).collect();
    if blocking.len() > SAID {
        let namespaces: BTreeSet<&str> = blocking.iter().map(|refusal| refusal.namespace.as_str()).collect();
        said.push(format!("and more, in {} namespaces in all", namespaces.len()));
    }
    said.join("; ")
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn as_word<S: Serializer>(kind: &RefusalKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.word())
}
