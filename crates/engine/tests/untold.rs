//! A namespace that is lost as of an instant: everybody says so, nobody reads on.
#![allow(clippy::unwrap_used)]

mod rig;

use std::sync::Arc;

use backstay_archive::Error as ArchiveError;
use backstay_engine::{Error, Monitor, RestoreRequest, Scope, diff};
use backstay_model::Tick;
use backstay_sim::toy::{Record, Toy, ToyInterpreter, ToySource};
use rig::{Rig, block_on, everything};

fn only(name: &'static str, at: Tick) -> RestoreRequest {
    let namespaces: Arc<dyn Fn(&str) -> bool + Send + Sync> = Arc::new(move |found| found == name);
    RestoreRequest { scope: Scope { namespaces: Some(namespaces), ..Scope::default() }, ..everything(at) }
}

#[test]
fn what_is_lost_is_refused_by_name_and_the_rest_can_be_had() {
    block_on(async {
        let rig = Rig::with_shop().await;
        rig.backup().await;
        let before = rig.toy.now();
        let lost_at = rig.toy.alter("shop.orders", |definition| definition.with("lost", "it was emptied")).unwrap();
        rig.put("shop.orders", b"a", "acme", "blue");
        let at = rig.toy.now();
        rig.capture().await;

        let target = ToySource::new(Arc::new(Toy::new()));
        let untold = |result, healed| match result {
            Err(Error::Archive(ArchiveError::Untold { name, at: when, why, before: earlier, after })) => {
                assert_eq!((name.as_str(), when, why.as_str()), ("shop.orders", at, "it was emptied"));
                assert_eq!((earlier, after), (Some(lost_at.previous()), healed));
            }
            other => panic!("{other:?}"),
        };
        untold(rig.restore_into(&target, &everything(at)).await.map(drop), None);
        untold(rig.restore_into(&target, &only("shop.orders", at)).await.map(drop), None);
        assert!(target.toy().namespaces().is_empty());
        untold(rig.rewind(&everything(at)).await.map(drop), None);
        let report = rig.restore_into(&target, &only("shop.users", at)).await.unwrap();
        assert!(report.proof.unwrap().equal);
        rig.restore_into(&ToySource::new(Arc::new(Toy::new())), &everything(before)).await.unwrap();

        // What it held is told again from the end of the next scan on.
        let id = rig.toy.namespaces()["shop.orders"].record_id();
        rig.toy.alter("shop.orders", |_| Record::new(&id).with("name", "shop.orders")).unwrap();
        let now = rig.backup().await.at;
        rig.compact().await;
        untold(rig.restore_into(&target, &everything(at)).await.map(drop), Some(now));
        let snapshot = rig.vault().await.snapshot(Arc::new(ToyInterpreter), now).await.unwrap();
        let monitor = Monitor::default();
        let compared = diff(&snapshot, before, at, &Scope::default(), &monitor, &mut |_| Ok(())).await;
        untold(compared, Some(now));
        diff(&snapshot, before, now, &Scope::default(), &monitor, &mut |_| Ok(())).await.unwrap();
    });
}
