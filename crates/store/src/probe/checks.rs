//! The things that are tried.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{CLOCKS_APART, Check, Effort, Verdict};
use crate::cloud::{S3, Version};
use crate::{Error, Result, Store};

pub(super) struct Prober<'a> {
    pub store: &'a Store,
    /// Below this, everything is made.
    pub root: String,
    pub effort: Effort,
    pub now: &'a (dyn Fn() -> SystemTime + Sync),
}

/// The verdict of one check in words.
type Finding = Result<(Verdict, String)>;

fn kept(detail: impl Into<String>) -> Finding {
    Ok((Verdict::Kept, detail.into()))
}

fn broken(detail: impl Into<String>) -> Finding {
    Ok((Verdict::Broken, detail.into()))
}

fn absent(detail: impl Into<String>) -> Finding {
    Ok((Verdict::Absent, detail.into()))
}

impl Prober<'_> {
    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.root)
    }

    async fn put(&self, name: &str, bytes: impl Into<Bytes>) -> Result<String> {
        let path = self.path(name);
        self.store.create(&path, bytes.into()).await?;
        Ok(path)
    }

    /// All checks. The first object must come about, else there is nothing to tell.
    pub async fn run(&self) -> Result<Vec<Check>> {
        self.put("first", "first").await?;
        let mut checks = Vec::new();
        let mut note = |check: &'static str, finding: Finding| {
            let (verdict, detail) =
                finding.unwrap_or_else(|error| (Verdict::Unknown, format!("it could not be tried: {error}")));
            checks.push(Check { check, verdict, detail });
        };
        note("create", self.create().await);
        note("race", self.race().await);
        if self.s3().is_some() {
            note("race_parts", self.race_in_parts().await);
        }
        note("read", self.read().await);
        note("list", self.list().await);
        note("ranges", self.ranges().await);
        if let Some(cloud) = self.store.cloud() {
            note(
                "marks",
                match cloud.keeps_marks(&self.path("first")).await {
                    Ok(true) => kept("metadata of objects is kept"),
                    Ok(false) => absent("metadata of objects is lost: a doubtful write is read back instead"),
                    Err(error) => Err(error),
                },
            );
        }
        if let Some(s3) = self.s3() {
            note("sums", self.sums(s3).await);
            note("versions", self.versions(s3).await);
            note("lock", self.lock(s3).await);
        }
        note("clock", self.clock().await);
        Ok(checks)
    }

    fn s3(&self) -> Option<&S3> {
        self.store.cloud()?.s3()
    }

    async fn create(&self) -> Finding {
        let path = self.put("once", "one").await?;
        match self.store.create(&path, Bytes::from_static(b"two")).await {
            Ok(()) => return broken("an object that is there can be created again"),
            Err(Error::AlreadyExists { .. }) => {}
            Err(error) => return Err(error),
        }
        match self.store.get(&path).await?.as_ref() {
            b"one" => kept("an object that is there cannot be created again"),
            _ => broken("a create that was refused changed the object"),
        }
    }

    async fn race(&self) -> Finding {
        let Effort { racers, rounds, .. } = self.effort;
        for round in 0..rounds {
            let path = self.path(&format!("race/{round}"));
            let outcome = self.race_for(&path, racers, false).await?;
            if let Some(wrong) = outcome {
                return broken(format!("in round {} of {rounds} {wrong}", round + 1));
            }
        }
        kept(format!("of {racers} writers that race for one name one wins, in {rounds} rounds of {rounds}"))
    }

    async fn race_in_parts(&self) -> Finding {
        let racers = self.effort.racers.min(4);
        match self.race_for(&self.path("race/parts"), racers, true).await? {
            Some(wrong) => broken(format!("with uploads in parts {wrong}")),
            None => kept(format!("of {racers} uploads in parts to one name one wins")),
        }
    }

    /// What went wrong in a race, if something did.
    async fn race_for(&self, path: &str, racers: usize, in_parts: bool) -> Result<Option<String>> {
        let mut race = JoinSet::new();
        for racer in 0..racers {
            let (store, path) = (self.store.clone(), path.to_owned());
            race.spawn(async move {
                let bytes = Bytes::from(format!("{racer:04096}"));
                let made = match store.cloud().filter(|_| in_parts) {
                    Some(cloud) => cloud.create_in_parts(&path, bytes).await,
                    None => store.create(&path, bytes).await,
                };
                (racer, made)
            });
        }
        let mut winners = Vec::new();
        for (racer, made) in race.join_all().await {
            match made {
                Ok(()) => winners.push(racer),
                Err(Error::AlreadyExists { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let [winner] = winners[..] else {
            return Ok(Some(format!("{} of {racers} writers were told that they had won", winners.len())));
        };
        match self.store.get(path).await? == format!("{winner:04096}") {
            true => Ok(None),
            false => Ok(Some("the object is not the winner's".to_owned())),
        }
    }

    async fn read(&self) -> Finding {
        for round in 0..self.effort.racers {
            let content = format!("read {round}");
            let name = format!("read/{round}");
            if self.store.exists(&self.path(&name)).await? {
                return broken("an object is there before it was made");
            }
            let path = self.put(&name, content.clone()).await?;
            match self.store.get(&path).await {
                Ok(read) if read == content => {}
                Ok(_) => return broken("a new object has other bytes than were written"),
                Err(Error::NotFound { .. }) => return broken("a new object cannot be read at once"),
                Err(error) => return Err(error),
            }
        }
        kept("a new object can be read at once, also after it was asked for in vain")
    }

    async fn list(&self) -> Finding {
        let prefix = self.path("list");
        let mut expected = BTreeSet::new();
        for round in 0..self.effort.racers {
            expected.insert(self.put(&format!("list/{round}"), "x").await?);
            let listed: BTreeSet<String> =
                self.store.list(&prefix).await?.into_iter().map(|object| object.path).collect();
            if listed != expected {
                return broken(format!("{} of {} new objects are listed", listed.len(), expected.len()));
            }
        }
        while let Some(path) = expected.pop_last() {
            self.store.delete(&path).await?;
            let listed = self.store.list(&prefix).await?;
            if listed.len() != expected.len() || self.store.exists(&path).await? {
                return broken("an object that was deleted is still shown");
            }
        }
        kept("a listing shows at once what was made and no more what was deleted")
    }

    async fn ranges(&self) -> Finding {
        let content: Vec<u8> = (0..300_000u32).map(|at| (at % 251) as u8).collect();
        let path = self.put("ranges", content.clone()).await?;
        for range in [0..1usize, 299_999..300_000, 1_000..200_000] {
            let read = self.store.get_range(&path, range.start as u64..range.end as u64).await?;
            if read != content[range] {
                return broken("a part of an object has other bytes than were written");
            }
        }
        match self.store.get_range(&path, 299_999..300_001).await {
            Err(Error::Short { size: 300_000, .. }) => kept("parts of objects are exact"),
            _ => broken("reading past the end of an object is not told from reading it"),
        }
    }

    async fn sums(&self, s3: &S3) -> Finding {
        let Some(cloud) = self.store.cloud() else { return absent("") };
        let key = cloud.location(&self.path("altered"))?.to_string();
        match cloud.retry(|| s3.notices_altered(&key, Bytes::from_static(b"altered"))).await? {
            true => kept("bytes that do not fit their sum are refused"),
            false => broken("bytes that do not fit their sum are stored; they are noticed only when they are read"),
        }
    }

    async fn versions(&self, s3: &S3) -> Finding {
        let Some(cloud) = self.store.cloud() else { return absent("") };
        match cloud.retry(|| s3.versioning()).await? {
            Some(status) if status == "Enabled" => {}
            Some(status) => return absent(format!("versions are {}: what is deleted is gone", status.to_lowercase())),
            None => return absent("the bucket keeps no versions: what is deleted is gone"),
        }
        let path = self.put("versioned", "old").await?;
        self.store.delete(&path).await?;
        let key = cloud.location(&path)?.to_string();
        let there: Vec<Version> = cloud.retry(|| s3.versions(&key)).await?;
        if !there.iter().any(|version| version.key == key && !version.is_delete_marker) {
            return broken("the bucket says that it keeps versions, but a deleted object has none");
        }
        // Harmless, because the ledger keeps a floor under the names it uses; worth knowing all the same.
        match self.store.create(&path, Bytes::from_static(b"new")).await {
            Ok(()) => kept("older versions are kept; the name of a deleted object can be used again"),
            Err(Error::AlreadyExists { .. }) => {
                kept("older versions are kept; the name of a deleted object stays taken")
            }
            Err(error) => Err(error),
        }
    }

    async fn lock(&self, s3: &S3) -> Finding {
        let Some(cloud) = self.store.cloud() else { return absent("") };
        let lock = cloud.retry(|| s3.lock()).await?;
        if !lock.is_enabled {
            return absent("Object Lock is not enabled for this bucket; that can only be chosen when it is made");
        }
        let default = match &lock.default {
            Some(default) => format!("new objects are locked by themselves, in {default}"),
            None => "new objects are not locked by themselves".to_owned(),
        };
        let key = cloud.location(&self.path("locked"))?.to_string();
        let there = cloud.wire().server_time().unwrap_or_else(|| (self.now)());
        let until = there + self.effort.lock;
        let locked = cloud.retry(|| s3.put_locked(&key, Bytes::from_static(b"locked"), until)).await?;
        let Some(id) = locked else { return broken("a locked object was taken, but it has no version") };
        let version = Version { key, id, is_delete_marker: false };
        if cloud.retry(|| s3.delete_version(&version)).await? {
            return broken("a locked version can be deleted");
        }
        // Times are whole seconds there.
        tokio::time::sleep(self.effort.lock + Duration::from_secs(1)).await;
        kept(format!("a locked version cannot be deleted; {default}"))
    }

    async fn clock(&self) -> Finding {
        let path = self.put("clock", "tick").await?;
        let before = (self.now)();
        let there = match self.store.cloud() {
            Some(cloud) => {
                self.store.size(&path).await?;
                cloud.wire().server_time()
            }
            None => self.store.list(&path_above(&path)).await?.into_iter().find(|o| o.path == path).map(|o| o.modified),
        };
        let Some(there) = there else { return absent("the service does not tell its time") };
        let apart = there.duration_since(before).unwrap_or_else(|error| error.duration());
        // It tells whole seconds.
        let apart = apart.saturating_sub(Duration::from_secs(1));
        match apart > CLOCKS_APART {
            true => broken(format!("its clock and the one here are {} s apart", apart.as_secs())),
            false => kept("its clock and the one here agree"),
        }
    }

    /// Removes everything below the root, older versions too; what cannot be removed is named.
    pub async fn clean_up(&self) -> Result<Vec<String>> {
        for object in self.store.list(&self.root).await? {
            match self.store.delete(&object.path).await {
                Ok(()) | Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let mut left_behind = BTreeSet::new();
        if let (Some(cloud), Some(s3)) = (self.store.cloud(), self.s3()) {
            let root = format!("{}/", cloud.location(&self.root)?);
            // Not every service knows versions.
            let versions = cloud.retry(|| s3.versions(&root)).await.unwrap_or_default();
            for version in versions {
                if !cloud.retry(|| s3.delete_version(&version)).await? {
                    left_behind.extend(cloud.path_of(&version.key).map(str::to_owned));
                }
            }
        }
        Ok(left_behind.into_iter().collect())
    }
}

fn path_above(path: &str) -> String {
    path.rsplit_once('/').map_or_else(String::new, |(above, _)| above.to_owned())
}
