//! Creating an object that must not be there yet, by a conditional put.
//!
//! ```text
//!   put if-none-match:* ──┬─ made ─────────────────────────────────────────► done
//!                         ├─ 412, 409: it is there, or somebody is at it ──► look whose it is
//!                         └─ no proper answer: it may have been made ──────► put again, and so come to one of the above
//!
//!   look ──┬─ our mark ───────► done: the answer to an earlier try was lost
//!          ├─ another mark ───► AlreadyExists
//!          ├─ no mark at all ─► compare the bytes (the service keeps no metadata)
//!          └─ nothing there ──► put again: the other one gave up, or it was removed
//! ```
//!
//! The mark is a random number in the object's metadata, one for each call. So of any number of callers with equal bytes,
//! one succeeds. A refusal is never believed before it was looked at: something on the way may have sent the request twice.
//!
//! On S3, what is larger than [`LARGE`] goes in parts, and the condition stands at their completion; whose object it became
//! is looked up in any case. Azure's blocks of two
//! uploads to one name mix, and Google's parts know no condition: there it is always one put, which may be 5000 MiB and
//! 5 TiB long.
//!
//! None of this knows of the past: a name that was deleted can be created again, also below a delete marker of a bucket
//! with versions. Who must not fall for that keeps a floor (the ledger does).

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::{Attribute, Attributes, GetOptions, PutMode, PutOptions};

use super::Cloud;
use super::s3::{Finished, PartSum, S3};
use super::trouble::Failure;
use crate::{Error, Result};

/// The metadata that tells one creation from all others. Letters only: Azure takes nothing else.
const MARK: &str = "backstaymark";
/// The metadata that holds the BLAKE3 sum of the bytes as they were sent, in hexadecimal digits.
pub(super) const SUM: &str = "backstaysum";

/// Beyond this, parts are worth their requests: one stream is slow to a far region, and long to repeat when it breaks.
pub(super) const LARGE: usize = 64 << 20;
const PART: usize = 16 << 20;
const PARTS_AT_ONCE: usize = 4;

struct Mark {
    mark: String,
    sum: String,
}

enum Answer {
    Made,
    /// The name is taken or was taken just now, or somebody else is at work on it: look whose it is.
    Taken,
}

enum Owner {
    Us,
    Another,
    Nobody,
}

impl Cloud {
    /// Creates an object. [`Error::AlreadyExists`] when another made it.
    pub async fn create(&self, path: &str, bytes: Bytes) -> Result<()> {
        self.create_in(path, bytes, LARGE).await
    }

    /// As [`Cloud::create`], in parts however short it is, where the service knows parts on condition.
    pub async fn create_in_parts(&self, path: &str, bytes: Bytes) -> Result<()> {
        self.create_in(path, bytes, 0).await
    }

    /// Whether what is at `path`, made here, still has its mark.
    pub async fn keeps_marks(&self, path: &str) -> Result<bool> {
        let location = self.location(path)?;
        self.retry(|| async {
            let answer = self.library.get_opts(&location, GetOptions::new().with_head(true)).await;
            let answer = answer.map_err(|error| self.failure(path, error))?;
            Ok(answer.attributes.get(&Attribute::Metadata(MARK.into())).is_some())
        })
        .await
    }

    async fn create_in(&self, path: &str, bytes: Bytes, large: usize) -> Result<()> {
        let mut random = [0; 16];
        (self.chance)(&mut random);
        let mark = Mark {
            mark: format!("{:032x}", u128::from_le_bytes(random)),
            sum: blake3::hash(&bytes).to_hex().to_string(),
        };
        let mut tries = self.tries();
        // Whether an object of ours may be there without our knowing.
        let mut in_doubt = false;
        loop {
            let answer = match self.s3() {
                Some(s3) if bytes.len() > large => self.put_in_parts(s3, path, &bytes, &mark).await,
                _ => self.put(path, &bytes, &mark).await,
            };
            let failure = match answer {
                Ok(Answer::Made) => return Ok(()),
                Ok(Answer::Taken) => match self.owner(path, &bytes, &mark).await? {
                    Owner::Us => return Ok(()),
                    Owner::Another => return Err(Error::AlreadyExists { path: path.to_owned() }),
                    Owner::Nobody => Failure::passing(path, "it says that the object exists, but shows none"),
                },
                Err(failure) => {
                    in_doubt |= failure.error.is_retryable();
                    failure
                }
            };
            if let Err(error) = tries.pause(failure).await {
                if !in_doubt || !error.is_retryable() {
                    return Err(error);
                }
                return match self.owner(path, &bytes, &mark).await {
                    Ok(Owner::Us) => Ok(()),
                    Ok(Owner::Another) => Err(Error::AlreadyExists { path: path.to_owned() }),
                    Ok(Owner::Nobody) | Err(_) => Err(error),
                };
            }
        }
    }

    async fn put(&self, path: &str, bytes: &Bytes, mark: &Mark) -> Result<Answer, Failure> {
        let location = self.location(path).map_err(Failure::last)?;
        let attributes = Attributes::from_iter([
            (Attribute::Metadata(MARK.into()), mark.mark.clone()),
            (Attribute::Metadata(SUM.into()), mark.sum.clone()),
        ]);
        let options = PutOptions { mode: PutMode::Create, attributes, ..PutOptions::default() };
        match self.library.put_opts(&location, bytes.clone().into(), options).await {
            Ok(_) => Ok(Answer::Made),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(Answer::Taken)
            }
            Err(error) => Err(self.failure(path, error)),
        }
    }

    /// Uploads all parts and completes them on condition. What cannot be completed is taken away again.
    async fn put_in_parts(&self, s3: &S3, path: &str, bytes: &Bytes, mark: &Mark) -> Result<Answer, Failure> {
        let key = self.location(path).map_err(Failure::last)?.to_string();
        let metadata = [(MARK, mark.mark.as_str()), (SUM, mark.sum.as_str())];
        let upload = s3.begin(&key, &metadata).await?;
        let uploaded = self.upload_parts(s3, &key, &upload, bytes).await.map_err(Failure::last);
        let finished = match uploaded {
            Ok(parts) => s3.finish(&key, &upload, &parts).await,
            Err(failure) => Err(failure),
        };
        let answer = match finished {
            // Whose object it is must be looked up even then: SeaweedFS 4.48 looks for the name first and completes after,
            // and tells several at once that they have won.
            Ok(Finished::Made) => return Ok(Answer::Taken),
            Ok(Finished::Taken) => Ok(Answer::Taken),
            Err(failure) => Err(failure),
        };
        // Best effort: what is left is swept with other partial objects. A completion that is still on its way is not
        // disturbed, as far as one can tell: then this upload is known no more.
        if let Err(failure) = s3.abort(&key, &upload).await {
            tracing::debug!(error = %failure.error, path, "an upload in parts could not be taken away");
        }
        answer
    }

    async fn upload_parts(&self, s3: &S3, key: &str, upload: &str, bytes: &Bytes) -> Result<Vec<PartSum>> {
        let part = |number: usize| {
            let piece = bytes.slice(number * PART..bytes.len().min((number + 1) * PART));
            async move { self.retry(|| s3.put_part(key, upload, number + 1, piece.clone())).await }
        };
        futures::stream::iter((0..bytes.len().div_ceil(PART).max(1)).map(part))
            .buffered(PARTS_AT_ONCE)
            .try_collect()
            .await
    }

    /// Who made what is at `path` now.
    async fn owner(&self, path: &str, bytes: &Bytes, mark: &Mark) -> Result<Owner> {
        let location = self.location(path)?;
        let seen = self
            .retry(|| async {
                let options = GetOptions::new().with_head(true);
                match self.library.get_opts(&location, options).await {
                    Ok(answer) => Ok(Some(answer)),
                    Err(object_store::Error::NotFound { .. }) => Ok(None),
                    Err(error) => Err(self.failure(path, error)),
                }
            })
            .await?;
        let Some(seen) = seen else { return Ok(Owner::Nobody) };
        let is_ours = match seen.attributes.get(&Attribute::Metadata(MARK.into())) {
            Some(found) => found.as_ref() == mark.mark,
            None if seen.meta.size != bytes.len() as u64 => false,
            None => match self.get(path).await {
                Ok(found) => found == *bytes,
                Err(Error::NotFound { .. }) => return Ok(Owner::Nobody),
                Err(error) => return Err(error),
            },
        };
        Ok(if is_ours { Owner::Us } else { Owner::Another })
    }
}
