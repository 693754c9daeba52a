//! Claims: one process at a time follows a stream, one scans the source, and one that was superseded finds out.
//!
//! ```text
//!   claim ──► handle, whose every commit says under which claims it is made ──► release
//!               └─ renew: says so now and then, where nothing else is to be committed
//! ```
//!
//! What a claim is, and why no clock decides who is right, stands in the ledger's `claim`. Once another process has
//! claimed one of the duties of a handle, all of its commits are refused with [`Error::Fenced`]. The two duties are apart:
//! a backup scans beside a capture, and catches up by commits that are decided upon the frontier that they find.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backstay_ledger::{Claim, Fact, Holder, LEASE, VaultState};

use crate::{Error, Result, Vault};

/// How long a process that holds claims commits nothing at most, in seconds: half of what others wait.
const SILENCE: u64 = LEASE / 2;

/// The name in the ledger under which the scan is claimed; no stream is called so.
const SCAN: &str = "*scan";

/// What one process at a time does to a vault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Duty {
    /// Following the stream of this name.
    Capture(String),
    /// Scanning the source.
    Scan,
}

impl Duty {
    fn name(&self) -> &str {
        match self {
            Duty::Capture(stream) => stream,
            Duty::Scan => SCAN,
        }
    }

    pub(crate) fn of(name: &str) -> Duty {
        match name {
            SCAN => Duty::Scan,
            stream => Duty::Capture(stream.to_owned()),
        }
    }
}

impl fmt::Display for Duty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Duty::Capture(stream) => write!(f, "the capture of `{stream}`"),
            Duty::Scan => f.write_str("the scan of the source"),
        }
    }
}

/// What a process does to a vault at the moment, by the ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// What.
    pub duty: Duty,
    /// Who.
    pub holder: Holder,
    /// Since when, in seconds since 1970-01-01T00:00:00Z.
    pub since: u64,
    /// When it last committed anything.
    pub seen: u64,
}

/// What a handle holds. Its clones share it.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    holder: Option<Holder>,
    /// Each with the epoch of its claim.
    held: Mutex<Vec<(Duty, u64)>>,
}

impl Claims {
    fn held(&self) -> MutexGuard<'_, Vec<(Duty, u64)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Vault {
    /// Claims `duties` for `holder`, all or none, and returns the handle whose commits are made under these claims.
    /// [`Error::Held`] when one is held by another process that was heard of lately, unless `may_take` says of that one
    /// that it may be fenced: because it is known to be dead, or because somebody wants it.
    pub async fn claim(&self, duties: &[Duty], holder: &Holder, may_take: impl Fn(&Holder) -> bool) -> Result<Vault> {
        self.refresh().await?;
        let claims = Claims { holder: Some(holder.clone()), held: Mutex::default() };
        let vault = Vault { inner: Arc::clone(&self.inner), claims: Arc::new(claims) };
        vault.take(duties, holder, may_take).await?;
        Ok(vault)
    }

    /// Who has claimed what, and was heard of lately.
    pub async fn held(&self) -> Vec<Held> {
        let now = self.inner.world().now();
        let state = self.state().await;
        let live = state.claims().iter().filter(|(_, claim)| claim.is_live(now));
        let held = live.map(|(name, claim)| Held {
            duty: Duty::of(name),
            holder: claim.holder.clone(),
            since: claim.since,
            seen: claim.seen,
        });
        held.collect()
    }

    /// Claims `duty` as well, for the process that this handle's claims are held by, whoever else has it. A handle without
    /// claims stays without.
    pub async fn take_over(&self, duty: &Duty) -> Result<()> {
        match &self.claims.holder {
            Some(holder) => self.take(std::slice::from_ref(duty), holder, |_| true).await,
            None => Ok(()),
        }
    }

    async fn take(&self, duties: &[Duty], holder: &Holder, may_take: impl Fn(&Holder) -> bool) -> Result<()> {
        let now = self.inner.world().now();
        let mut claimed = Vec::new();
        self.commit_facts(|state| {
            claimed.clear();
            let mut facts = Vec::new();
            for duty in duties {
                let before = state.claim(duty.name());
                // Our own is one whose making was answered by a failure.
                let keeps_out =
                    |claim: &&Claim| claim.is_live(now) && claim.holder != *holder && !may_take(&claim.holder);
                if let Some(claim) = before.filter(keeps_out) {
                    return Err(Error::Held {
                        duty: duty.clone(),
                        holder: claim.holder.clone(),
                        since: claim.since,
                        seen: claim.seen,
                        lapses: claim.seen.saturating_add(LEASE),
                    });
                }
                let epoch = before.map_or(0, |claim| claim.epoch).saturating_add(1);
                facts.push(Fact::StreamClaimed { stream: duty.name().to_owned(), epoch, holder: holder.clone() });
                claimed.push((duty.clone(), epoch));
            }
            Ok(facts)
        })
        .await?;
        let mut held = self.claims.held();
        held.retain(|(duty, _)| !duties.contains(duty));
        held.extend(claimed);
        Ok(())
    }

    /// Lets others know that the holder of this handle's claims is still there, when it has committed nothing for long.
    /// To be called every few seconds. [`Error::Fenced`] when it was superseded.
    pub async fn renew(&self) -> Result<()> {
        let now = self.inner.world().now();
        let held = self.claims.held().clone();
        self.commit_facts(|state| {
            let is_due = |(duty, epoch): &(Duty, u64)| {
                let claim = state.claim(duty.name());
                claim.is_some_and(|claim| claim.epoch != *epoch || now.saturating_sub(claim.seen) >= SILENCE)
            };
            Ok(if held.iter().any(is_due) { under(&held) } else { Vec::new() })
        })
        .await
    }

    /// Gives one claim of this handle back, if it still holds it. Later commits are made without it.
    pub async fn give_back(&self, duty: &Duty) -> Result<()> {
        let held = self.claims.held().iter().find(|(held, _)| held == duty).cloned();
        if let Some(held) = held {
            self.commit_facts(|state| Ok(released(state, std::slice::from_ref(&held)))).await?;
            self.claims.held().retain(|other| *other != held);
        }
        Ok(())
    }

    /// Gives the claims of this handle back, those that it still holds. Its later commits are refused.
    pub async fn release(&self) -> Result<()> {
        let held = self.claims.held().clone();
        self.commit_facts(|state| Ok(released(state, &held))).await
    }

    /// What stands before the facts of each commit of this handle.
    pub(crate) fn under_claims(&self) -> Vec<Fact> {
        under(&self.claims.held())
    }
}

fn under(held: &[(Duty, u64)]) -> Vec<Fact> {
    held.iter().map(|(duty, epoch)| Fact::UnderClaim { stream: duty.name().to_owned(), epoch: *epoch }).collect()
}

fn released(state: &VaultState, held: &[(Duty, u64)]) -> Vec<Fact> {
    let ours = |(duty, epoch): &&(Duty, u64)| {
        state.claim(duty.name()).is_some_and(|claim| claim.held && claim.epoch == *epoch)
    };
    let release = |(duty, epoch): &(Duty, u64)| Fact::StreamReleased { stream: duty.name().to_owned(), epoch: *epoch };
    held.iter().filter(ours).map(release).collect()
}
