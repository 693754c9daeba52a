//! Walking two states of a stretch side by side: what the archive holds, and what a database shows.
//!
//! Both are ascending by record id, so one pass does, and only the batch at hand is in memory.

use backstay_archive::Loaded;
use backstay_model::{RecordBatch, Tenant};

/// How a record of one state stands to the other.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pair<'a> {
    /// Only the archive has it.
    Archived { tenant: &'a Tenant, id: &'a [u8], image: &'a [u8] },
    /// Only the database has it.
    Live { id: &'a [u8], image: &'a [u8] },
    /// Both have it, with different content.
    Different { tenant: &'a Tenant, id: &'a [u8], archived: &'a [u8], live: &'a [u8] },
    /// Both have it, with the same content.
    Same { tenant: &'a Tenant, id: &'a [u8], image: &'a [u8] },
}

/// The archive's side, consumed as the database's batches arrive.
pub(crate) struct Comparison<'a> {
    archived: Box<dyn Iterator<Item = (&'a Tenant, &'a [u8], &'a [u8])> + Send + 'a>,
    next: Option<(&'a Tenant, &'a [u8], &'a [u8])>,
}

impl<'a> Comparison<'a> {
    pub fn new(archived: &'a Loaded) -> Comparison<'a> {
        let mut archived = Box::new(archived.iter());
        let next = archived.next();
        Comparison { archived, next }
    }

    /// Pairs the database's next batch with the archive's records up to the batch's last.
    pub fn batch(&mut self, live: &RecordBatch, sink: &mut dyn FnMut(Pair<'_>)) {
        for (id, image) in live.iter() {
            while let Some((tenant, archived_id, archived)) = self.next.filter(|next| next.1 < id) {
                sink(Pair::Archived { tenant, id: archived_id, image: archived });
                self.next = self.archived.next();
            }
            match self.next.filter(|next| next.1 == id) {
                Some((tenant, _, archived)) => {
                    let same = archived == image;
                    sink(match same {
                        true => Pair::Same { tenant, id, image },
                        false => Pair::Different { tenant, id, archived, live: image },
                    });
                    self.next = self.archived.next();
                }
                None => sink(Pair::Live { id, image }),
            }
        }
    }

    /// Pairs what is left of the archive's records after the database's last.
    pub fn rest(&mut self, sink: &mut dyn FnMut(Pair<'_>)) {
        while let Some((tenant, id, image)) = self.next.take() {
            sink(Pair::Archived { tenant, id, image });
            self.next = self.archived.next();
        }
    }
}
