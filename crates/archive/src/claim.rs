//! Claiming streams: one capture of a stream at a time, and one that was superseded finds out.
//!
//! What a claim is, and why no clock decides who is right, stands in the ledger's `claim`. A handle that holds claims puts
//! them into every commit that it makes; once another process has claimed one of the streams, all of them are refused with
//! [`Error::Fenced`].

use std::sync::Arc;

use backstay_ledger::{Fact, Holder};

use crate::{Error, Result, Vault};

impl Vault {
    /// Claims `streams` for `holder`, all or none, and returns the handle whose commits are made under these claims.
    /// [`Error::Held`] when one is held by a process that was heard of lately, unless `take_over`.
    pub async fn claim(&self, streams: &[String], holder: &Holder, take_over: bool) -> Result<Vault> {
        let now = self.inner.world().now();
        self.refresh().await?;
        let mut claims = Vec::new();
        self.commit_facts(|state| {
            claims.clear();
            let mut facts = Vec::new();
            for stream in streams {
                let before = state.claim(stream);
                if let Some(claim) = before.filter(|claim| claim.is_live(now) && !take_over) {
                    return Err(Error::Held {
                        stream: stream.clone(),
                        holder: claim.holder.clone(),
                        since: claim.since,
                        seen: claim.seen,
                    });
                }
                let epoch = before.map_or(0, |claim| claim.epoch).saturating_add(1);
                facts.push(Fact::StreamClaimed { stream: stream.clone(), epoch, holder: holder.clone() });
                claims.push((stream.clone(), epoch));
            }
            Ok(facts)
        })
        .await?;
        Ok(Vault { inner: Arc::clone(&self.inner), claims: claims.into() })
    }

    /// Gives the claims of this handle back, those that it still holds. Its later commits are refused.
    pub async fn release(&self) -> Result<()> {
        self.commit_facts(|state| {
            let held = self
                .claims
                .iter()
                .filter(|(stream, epoch)| state.claim(stream).is_some_and(|claim| claim.held && claim.epoch == *epoch));
            Ok(held.map(|(stream, epoch)| Fact::StreamReleased { stream: stream.clone(), epoch: *epoch }).collect())
        })
        .await
    }

    /// What stands before the facts of each commit of this handle.
    pub(crate) fn under_claims(&self) -> impl Iterator<Item = Fact> + '_ {
        self.claims.iter().map(|(stream, epoch)| Fact::UnderClaim { stream: stream.clone(), epoch: *epoch })
    }
}
