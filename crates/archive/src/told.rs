//! Namespaces whose records cannot be told as of an instant.
//!
//! ```text
//!   definition   told ──── lost: why ───────── told (a scan) ──▶
//!   records      known ──┤ anything ... ├ scanned ┤ known
//!                  before                        after
//! ```
//!
//! Capture does not archive what would leave a namespace in such a state: it opens a gap there, and has the source scanned. But an
//! archive may hold it from before capture did so, and whatever reads records asks here first: what is there looks whole, and
//! is not.

use backstay_model::{IdRange, Incarnation, Tick};

use crate::{Definition, Error, Partition, PastVersion, Result, View};

impl View {
    /// [`Error::Untold`] when the records of one of these namespaces, as of this view's instant, cannot be told, and
    /// [`Error::Damaged`] when the tails alone show that one is damaged: before anything of it is read or written.
    pub async fn check_told<'d>(&self, definitions: impl IntoIterator<Item = &'d Definition>) -> Result<()> {
        for definition in definitions {
            if let Some(why) = &definition.lost {
                let (before, after) = self.told_around(definition.incarnation).await?;
                let (at, name, why) = (self.at(), definition.name.clone(), why.clone());
                return Err(Error::Untold { at, name, why, before, after });
            }
            self.check_unbroken(definition.incarnation)?;
        }
        Ok(())
    }

    /// The nearest instants at which the records of a namespace that is lost can be told.
    async fn told_around(&self, namespace: Incarnation) -> Result<(Option<Tick>, Option<Tick>)> {
        let snapshot = self.snapshot();
        let id = namespace.record_id();
        let own = Partition { namespace: Incarnation::SYSTEM, range: IdRange::only(&id) };
        let history = snapshot.history(&own, &id, Tick::MAX).await?;
        let told = |past: &&PastVersion| {
            let image = past.image.as_deref();
            image.is_some_and(|image| snapshot.interpreter().describe(image).is_ok_and(|info| info.lost.is_none()))
        };
        let (until, later) = history.split_at(history.partition_point(|past| past.version.tick <= self.at()));
        let coverage = snapshot.state().coverage();
        let lost_from = until.iter().rposition(|past| told(&past)).and_then(|last| until.get(last + 1));
        let before = lost_from.and_then(|lost| coverage.nearest(lost.version.tick.previous()).0);
        // The scan that showed the definition anew read the records until it was consistent.
        let scans = snapshot.state().completed_scans();
        let after = later.iter().find(told).and_then(|shown| {
            let ends = scans.iter().map(|scan| scan.consistent);
            coverage.nearest(ends.filter(|end| *end >= shown.version.tick).min()?).1
        });
        Ok((before, after))
    }
}
