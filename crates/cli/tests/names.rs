//! Names on a real replica set: under which names a restore writes, and which namespace a name means.

#![allow(clippy::unwrap_used)]

mod shop;

use bson::{DateTime, doc};
use shop::{Shop, all};

/// A shop with a base, an instant, and an order that was lost after it.
async fn open() -> Option<(Shop, String)> {
    let shop = shop::open().await?;
    shop.fill(2, 10).await;
    shop.json(&["init"]);
    shop.json(&["backup", "shop"]);
    let at = shop.now().await;
    shop.orders().delete_one(doc! { "_id": 3 }).await.unwrap();
    shop.json(&["capture", "shop", "--until", "now"]);
    Some((shop, at))
}

#[test]
fn live_data_is_written_over_in_place_only() {
    shop::runtime().block_on(async {
        let Some((shop, at)) = open().await else { return };
        let live = all(&shop.client, "shop", "orders").await;
        let own = shop.set.uri();
        let into = ["restore", "shop", "--at", &at, "--into", &own, "--yes", "--json"];
        let refused = |more: &[&str]| shop.run(&[&into[..], more].concat()).expect_code(2).json_error();
        let message = |more: &[&str]| {
            let error = refused(more);
            assert!(error["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{error}");
            error["message"].as_str().unwrap().to_owned()
        };
        let misspelt = refused(&["--ns", "shop.orders", "--rename", "shop.order=shop.orders_restored"]);
        assert!(misspelt["message"].as_str().is_some_and(|text| text.contains("shop.order=")), "{misspelt}");
        assert!(misspelt["hint"].as_str().is_some_and(|text| text.contains("shop.orders")), "{misspelt}");
        assert!(message(&["--ns", "shop.orders"]).contains("live data"));
        assert!(message(&["--ns", "shop.orders", "--preview"]).contains("live data"));
        assert!(message(&["--rename", "shop.orders=shop.then"]).contains("tenant_acme.notes"));
        let shared = ["--rename", "shop.orders=x.z", "--rename", "tenant_acme.notes=x.z"];
        assert!(message(&shared).contains("both be restored as x.z"));
        for servers_own in ["shop.orders=admin.orders", "shop.*=local.*", "shop.orders=shop.system.users"] {
            let run = shop.run(&[&into[..], &["--ns", "shop.orders", "--rename", servers_own]].concat()).expect_code(2);
            assert!(format!("{run}").contains("server's own"), "{run}");
        }
        assert_eq!(all(&shop.client, "shop", "orders").await, live, "nothing was written");
        assert!(shop.json(&["restores"])["restores"].as_array().is_some_and(Vec::is_empty));
        assert_eq!(shop.client.list_database_names().await.unwrap().iter().filter(|name| *name == "x").count(), 0);
    });
}

#[test]
fn a_time_series_is_renamed_by_its_own_name() {
    shop::runtime().block_on(async {
        let Some(shop) = shop::open().await else { return };
        let database = shop.client.database("shop");
        let series = doc! { "timeField": "at", "metaField": "sensor" };
        if database.run_command(doc! { "create": "ts", "timeseries": series }).await.is_err() {
            return;
        }
        let measured = (0..30).map(|n| doc! { "at": DateTime::from_millis(n * 1000), "sensor": n % 3, "value": n });
        database.collection("ts").insert_many(measured).await.unwrap();
        shop.json(&["init"]);
        shop.json(&["backup", "shop"]);
        let at = shop.now().await;
        shop.json(&["capture", "shop", "--until", "now"]);
        let own = shop.set.uri();
        let into = ["restore", "shop", "--at", &at, "--into", &own, "--ns", "shop.ts", "--yes"];
        let where_it_is = ["--rename", "shop.system.buckets.ts=shop.ts_then"];
        let wrong = shop.run(&[&into[..], &where_it_is].concat()).expect_code(2);
        assert!(wrong.stderr.contains("shop.ts="), "{wrong}");
        let restored = shop.json(&[&into[..], &["--rename", "shop.ts=shop.ts_then"]].concat());
        assert_eq!(restored["proof"]["equal"], true, "{restored}");
        for name in ["ts", "ts_then"] {
            let measured = database.collection::<bson::Document>(name).count_documents(doc! {}).await.unwrap();
            assert_eq!(measured, 30, "{name}");
        }
    });
}

#[test]
fn a_name_with_signs_of_a_pattern_is_a_name_where_there_is_one() {
    shop::runtime().block_on(async {
        let Some(shop) = shop::open().await else { return };
        let (odd, plain) = ("we.ird näme*?[x]", "we.ird näme*?x");
        for name in [odd, plain] {
            shop.client.database("shop").collection(name).insert_one(doc! { "_id": 1, "of": name }).await.unwrap();
        }
        shop.json(&["init"]);
        shop.json(&["backup", "shop"]);
        let at = shop.now().await;
        for name in [odd, plain] {
            shop.client
                .database("shop")
                .collection::<bson::Document>(name)
                .delete_one(doc! { "_id": 1 })
                .await
                .unwrap();
        }
        let ns = format!("shop.{odd}");
        let restored = shop.json(&["restore", "shop", "--at", &at, "--ns", &ns, "--in-place", "--yes"]);
        assert_eq!(restored["namespaces"].as_array().map(Vec::len), Some(1), "{restored}");
        assert_eq!(restored["namespaces"][0]["namespace"], ns.as_str(), "{restored}");
        assert_eq!(all(&shop.client, "shop", odd).await.len(), 1);
        assert!(all(&shop.client, "shop", plain).await.is_empty());
        shop.json(&["undo", restored["id"].as_str().unwrap(), "--yes"]);
        assert!(all(&shop.client, "shop", odd).await.is_empty());
        let both = shop.json(&["restore", "shop", "--at", &at, "--ns", "shop.we.*", "--in-place", "--yes"]);
        assert_eq!(both["written"], 2, "{both}");
    });
}

#[test]
fn a_collection_that_was_renamed_since_is_named() {
    shop::runtime().block_on(async {
        let Some((shop, at)) = open().await else { return };
        let rename = doc! { "renameCollection": "shop.orders", "to": "shop.orders_old" };
        shop.client.database("admin").run_command(rename).await.unwrap();
        let args = ["restore", "shop", "--at", &at, "--ns", "shop.orders", "--tenant", "t1", "--in-place", "--preview"];
        let preview = shop.json(&args);
        let told =
            |note: &serde_json::Value| note.as_str().is_some_and(|note| note.contains("was called shop.orders then"));
        assert!(preview["notes"].as_array().is_some_and(|notes| notes.iter().any(told)), "{preview}");
    });
}
