//! Users and roles: archived when they are included, and restored only when they are asked for by name.

#![allow(clippy::unwrap_used)]

mod shop;

use bson::doc;

#[test]
fn users_and_roles_come_back_only_when_they_are_named() {
    shop::runtime().block_on(async {
        let Some(shop) = shop::open().await else { return };
        let include = "\"shop.*\", \"tenant_*.*\"";
        let yaml = shop::yaml(&shop.set.uri());
        assert!(yaml.contains(include), "{yaml}");
        let yaml = yaml.replace(include, "\"shop.*\", \"admin.system.users\", \"admin.system.roles\"");
        shop.program.configure(&yaml).unwrap();
        shop.fill(1, 10).await;
        let of_shop = shop.client.database("shop");
        of_shop.run_command(doc! { "createRole": "clerk", "privileges": [], "roles": ["read"] }).await.unwrap();
        of_shop.run_command(doc! { "createUser": "ann", "pwd": "secret", "roles": ["clerk"] }).await.unwrap();
        shop.json(&["init"]);
        let backup = shop.json(&["backup", "shop"]);
        assert_eq!(backup["namespaces"], 3, "{backup}");
        let at = shop.now().await;
        of_shop.run_command(doc! { "dropUser": "ann" }).await.unwrap();
        of_shop.run_command(doc! { "dropRole": "clerk" }).await.unwrap();
        shop.orders().delete_one(doc! { "_id": 3 }).await.unwrap();
        let count = async |kind: &str, list: &str| {
            let reply = of_shop.run_command(doc! { kind: 1 }).await.unwrap();
            reply.get_array(list).unwrap().len()
        };
        let rewind = ["restore", "shop", "--at", &at, "--in-place", "--yes", "--json"];
        let matching: [&[&str]; 5] = [
            &[],
            &["--ns", "*"],
            &["--ns", "*.*"],
            &["--ns", "admin.*"],
            &["--ns", "shop.*", "--ns", "admin.system.?sers"],
        ];
        for patterns in matching {
            let run = shop.run(&[&rewind[..], patterns].concat());
            if patterns != ["--ns", "admin.*"] {
                let restored = run.ok().json();
                assert!(restored["notes"].to_string().contains("not asked for by name"), "{patterns:?}: {restored}");
                assert_eq!(restored["proof"]["equal"], true, "{restored}");
                assert_eq!(shop.orders().count_documents(doc! {}).await.unwrap(), 10);
            } else {
                let _ = run.expect_code(1).json_error();
            }
            assert_eq!((count("usersInfo", "users").await, count("rolesInfo", "roles").await), (0, 0), "{patterns:?}");
            shop.orders().delete_one(doc! { "_id": 3 }).await.unwrap();
        }
        let restored = shop.run(&[&rewind[..], &["--ns", "admin.system.users"]].concat()).ok().json();
        assert_eq!((&restored["written"], &restored["proof"]["equal"]), (&1.into(), &true.into()), "{restored}");
        assert_eq!((count("usersInfo", "users").await, count("rolesInfo", "roles").await), (1, 0));
        let named = ["--ns", "shop.*", "--ns", "admin.system.roles"];
        let restored = shop.run(&[&rewind[..], &named].concat()).ok().json();
        assert_eq!((&restored["written"], &restored["proof"]["equal"]), (&2.into(), &true.into()), "{restored}");
        assert_eq!((count("usersInfo", "users").await, count("rolesInfo", "roles").await), (1, 1));
    });
}
