//! Schemas on a real replica set: what is shown is what the server lists, and what changed is told.

#![allow(clippy::unwrap_used)]

mod shop;

use bson::doc;
use serde_json::{Value, json};

#[test]
fn definitions_and_fields_are_shown_as_they_were_and_compared() {
    shop::runtime().block_on(async {
        let Some(shop) = shop::open().await else { return };
        shop.fill(4, 25).await;
        shop.json(&["init"]);
        let first = shop.json(&["backup", "shop"])["at"].as_str().unwrap().to_owned();
        let database = shop.client.database("shop");
        let orders = shop.orders();
        orders
            .update_many(doc! { "_id": { "$lt": 10 } }, doc! { "$set": { "total": 1.5, "paid": true } })
            .await
            .unwrap();
        orders.update_many(doc! {}, doc! { "$unset": { "lines.0.note": 1 } }).await.unwrap();
        let unique =
            doc! { "createIndexes": "orders", "indexes": [{ "key": { "_x": 1 }, "name": "x", "sparse": true }] };
        database.run_command(unique).await.unwrap();
        database.run_command(doc! { "dropIndexes": "orders", "index": "tenant_1_total_-1" }).await.unwrap();
        database.run_command(doc! { "create": "seen", "validator": { "n": { "$gt": 0 } } }).await.unwrap();
        let view = doc! { "create": "open", "viewOn": "orders", "pipeline": [{ "$match": { "paid": true } }] };
        database.run_command(view).await.unwrap();
        shop.client.database("tenant_acme").collection::<bson::Document>("notes").drop().await.unwrap();
        shop.json(&["capture", "shop", "--until", "now"]);

        let then = shop.json(&["schema", "shop", "--at", &first]);
        let of = |name: &str| then["namespaces"].as_array().unwrap().iter().find(|n| n["namespace"] == name).unwrap();
        let was = of("shop.orders");
        assert_eq!(
            (&was["records"], &was["sampled"], &was["kind"]),
            (&100.into(), &false.into(), &"collection".into())
        );
        assert_eq!(was["indexes"]["tenant_1_total_-1"]["key"]["total"], json!({"$numberInt": "-1"}), "{was}");
        assert_eq!(was["fields"]["total"], json!({"records": 100, "share": 1.0, "types": {"int": 100}}));
        assert_eq!(was["fields"]["lines[].sku"]["types"], json!({"int": 100}));
        assert_eq!(of("tenant_acme.notes")["fields"]["text"]["types"], json!({"string": 1}));

        let now = shop.json(&["schema", "shop", "--ns", "shop.*"]);
        let names: Vec<&str> =
            now["namespaces"].as_array().unwrap().iter().map(|n| n["namespace"].as_str().unwrap()).collect();
        assert_eq!(names, ["shop.open", "shop.orders", "shop.seen"]);
        assert_eq!(
            (&now["namespaces"][0]["kind"], &now["namespaces"][0]["options"]["viewOn"]),
            (&"view".into(), &"orders".into())
        );

        let changes = shop.json(&["schema", "shop", "--at", &first, "--diff", "latest"]);
        assert_eq!(changes["removed"], json!(["tenant_acme.notes"]), "{changes}");
        assert_eq!(changes["added"].as_array().map(Vec::len), Some(2));
        let orders = &changes["changed"][0];
        let list = |part: &str, name: &str| -> Vec<String> {
            orders[part].as_array().unwrap().iter().map(|c: &Value| c[name].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(list("indexes", "name"), ["tenant_1_total_-1", "x"]);
        assert_eq!(list("fields", "path"), ["lines[].note", "paid", "total"]);
        assert_eq!(orders["fields"][2]["after"]["types"], json!({"double": 10, "int": 90}));
        let text = shop.run(&["schema", "shop", "--at", &first, "--diff", "latest"]).ok().stdout;
        for line in
            ["- tenant_acme.notes", "- index tenant_1_total_-1  {\"tenant\":1,\"total\":-1}", "+ field paid  10.0 %"]
        {
            assert!(text.contains(line), "{line} is missing in {text}");
        }
        let same = shop.run(&["schema", "shop", "--at", &first, "--diff", &first]).ok().stdout;
        assert!(same.starts_with("no difference"), "{same}");
        let shown = shop.run(&["schema", "shop", "--at", &first]).ok().stdout;
        assert!(shown.contains("lines[].sku"), "{shown}");
        let unknown = shop.run(&["schema", "shop", "--ns", "shop.ordres", "--json"]).expect_code(1).json_error();
        assert!(unknown["hint"].as_str().is_some_and(|hint| hint.contains("shop.orders")), "{unknown}");
    });
}
