//! What happens, in order.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use backstay_testkit::{Backstay, Options, ReplicaSet, shop_configuration};
use bson::{DateTime, Document, Timestamp, doc};
use mongodb::Client;

use crate::load::load;
use crate::shell::{Shell, count};
use crate::shop::{DATABASE, Kind, TENANTS, VICTIM};
use crate::witness::{self, Documents};
use crate::writers::{WRITES_PER_SECOND, Writers};

/// How long the shop is open before the accident, and how long the accident goes unnoticed.
const BUSINESS: Duration = Duration::from_secs(8);
const UNNOTICED: Duration = Duration::from_secs(6);

/// Tells the story.
///
/// # Errors
/// When a command fails, or a claim does not hold.
pub async fn tell() -> Result<()> {
    let shell = Shell::new(Backstay::new(backstay_testkit::built_program()?)?);
    let begun = Instant::now();
    let mut times = Times::default();

    let total = Kind::ALL.iter().map(|kind| kind.count()).sum::<u32>();
    shell.tell(&format!(
        "A shop for {} tenants keeps their orders and customers in two shared collections: {} documents. \
         A MongoDB replica set of its own is started for it and filled.",
        TENANTS.len(),
        count(total)
    ));
    let start = Instant::now();
    let shop = ReplicaSet::start(Options::default()).await?;
    let client = shop.client().await?;
    load(&client).await?;
    println!("{} is up, and filled in {}.", shop.uri(), seconds(start.elapsed()));
    times.add("set-up", start.elapsed());

    shell.tell("Backstay is told where the archive and its keys are, what to protect, and whose a document is.");
    shell.configure(&shop_configuration(&shop.uri(), &["shop.*"], &["ns: \"shop.*\", field: tenant"]))?;
    shell.run(&["init"]).await?;

    shell.tell(&format!(
        "The shop opens: about {WRITES_PER_SECOND} inserts, updates and deletes a second, from all tenants, until \
         the end of the rescue. Under that load a base image is taken, and from then on every change is captured."
    ));
    let writers = Writers::start(&client);
    times.add("base", shell.run(&["backup", "shop"]).await?.1);
    let capture = shell.start(&["capture", "shop"])?;
    tokio::time::sleep(BUSINESS).await;

    let (at, before) = accident(&shell, &client, &writers).await?;
    let time = DateTime::from_millis(i64::from(at.time) * 1000).try_to_rfc3339_string()?;
    tokio::time::sleep(UNNOTICED).await;

    shell.tell(&format!(
        "Somebody notices. {VICTIM} closes for the repair; the other tenants know nothing of it and keep writing. \
         Which times can be brought back?"
    ));
    times.add("timeline", shell.run(&["timeline", "shop"]).await?.1);

    shell.tell(&format!("The second before the accident is among them. What would a rewind of {VICTIM} alone write?"));
    let rewind = ["restore", "shop", "--at", &time, "--tenant", VICTIM, "--in-place"];
    let (preview, took) = shell.run(&[&rewind[..], &["--preview"]].concat()).await?;
    times.add("preview", took);
    prove_the_preview(&shell, &client, &before, &preview).await?;

    shell.tell("Now the same without the preview; --yes, because nobody is here to be asked.");
    let written = writers.acknowledged();
    times.add("rewind", shell.run(&[&rewind[..], &["--yes"]].concat()).await?.1);
    let meanwhile = writers.acknowledged() - written;

    let check = Instant::now();
    prove_the_rewind(&shell, &client, &before, writers, meanwhile).await?;
    times.add("checking it", check.elapsed());

    shell.tell("For the second part a new, empty replica set is started, and capture is asked to stop.");
    shell.stop(capture).await?;
    let spare = ReplicaSet::start(Options { name: "rs1".into(), ..Options::default() }).await?;
    shell.tell("Into it goes the whole shop, all tenants, as it was in the same second.");
    let restore = ["restore", "shop", "--at", &time, "--into", &spare.uri(), "--yes"];
    times.add("full restore", shell.run(&restore).await?.1);

    let check = Instant::now();
    prove_the_copy(&shell, &client, &spare.client().await?, at).await?;
    times.add("comparing it", check.elapsed());

    println!();
    shell.proved(&format!(
        "Proved: {VICTIM} alone was rewound to {time} ({} documents, byte for byte) while the others wrote on \
         ({} writes, none lost), and the second replica set equals the first as of that second. {times}; \
         {} in all.",
        count(before.len()),
        count(meanwhile),
        seconds(begun.elapsed())
    ));
    Ok(())
}

/// Two bad commands. Returns the end of the second before them, and the victim's documents as of then, as the
/// server itself says before the accident.
async fn accident(shell: &Shell, client: &Client, writers: &Writers) -> Result<(Timestamp, Documents)> {
    let at = witness::end_of_this_second(client).await?;
    let before = witness::victim(client, at).await?;
    let database = client.database(DATABASE);
    let orders = database.collection::<Document>(Kind::Order.collection());
    let customers = database.collection::<Document>(Kind::Customer.collection());
    let bad = doc! { "$set": { "status": "cancelled", "total": 0 } };
    let changed = orders.update_many(doc! { "tenant": VICTIM }, bad).await?.modified_count;
    let deleted = customers.delete_many(doc! { "tenant": VICTIM }).await?.deleted_count;
    writers.close_victim().await;

    shell.tell(&format!("Then a script meant for a test system runs against {VICTIM}'s live data."));
    let filter = format!("{{ tenant: \"{VICTIM}\" }}");
    shell.typed("shop>", &format!("db.orders.updateMany({filter}, {{ $set: {{ status: \"cancelled\", total: 0 }} }})"));
    println!("{{ acknowledged: true, modifiedCount: {changed} }}");
    shell.typed("shop>", &format!("db.customers.deleteMany({filter})"));
    println!("{{ acknowledged: true, deletedCount: {deleted} }}");
    ensure!(changed > 0 && deleted > 0, "the accident did no harm");
    Ok((at, before))
}

async fn prove_the_preview(shell: &Shell, client: &Client, before: &Documents, preview: &str) -> Result<()> {
    let now = witness::victim(client, witness::now(client).await?).await?;
    let damage = witness::difference(&now, before);
    let numbers = [damage.insert, damage.replace, damage.delete].map(count);
    let said = preview.lines().find_map(|line| line.strip_prefix("in all")).context("the preview has no sum")?;
    let said: Vec<&str> = said.split_whitespace().take(numbers.len()).collect();
    ensure!(said == numbers, "the preview would write {said:?}, but the damage is {damage:?}");
    let [insert, replace, delete] = numbers;
    shell.proved(&format!(
        "that is the damage and nothing else: of what the server had said before, {insert} documents are missing now \
         and {replace} are different; {delete} more than then"
    ));
    Ok(())
}

async fn prove_the_rewind(
    shell: &Shell,
    client: &Client,
    before: &Documents,
    writers: Writers,
    meanwhile: u64,
) -> Result<()> {
    shell.tell(
        "Backstay says so; the servers are asked themselves, with the bare driver. What they answered before the \
         accident is compared with what they answer now, and every document of every other tenant with what its \
         writers last wrote.",
    );
    let now = witness::victim(client, witness::now(client).await?).await?;
    witness::expect_equal(&now, before)
        .with_context(|| format!("{VICTIM}'s documents are not what they were before the accident"))?;
    shell.proved(&format!("all {} documents of {VICTIM} are, byte for byte, what they were before", count(now.len())));

    ensure!(meanwhile > 0, "nobody wrote during the rewind: it was too quick to show that they could have");
    let all = writers.acknowledged();
    let book = writers.stop().await?;
    let others = witness::expect_book(client, &book).await.context("another tenant's documents are not as written")?;
    shell.proved(&format!(
        "all {} documents of the other {} tenants are as their last writer left them: {} writes so far, \
         {} of them during the rewind",
        count(others),
        TENANTS.len() - 1,
        count(all),
        count(meanwhile)
    ));
    Ok(())
}

async fn prove_the_copy(shell: &Shell, shop: &Client, spare: &Client, at: Timestamp) -> Result<()> {
    shell.tell(
        "Again the servers are asked themselves: the first one by a snapshot read at that cluster time, the second \
         one for what it has now.",
    );
    let expected = witness::fingerprints(shop, Some(at)).await.context("cannot read the first set as of then")?;
    let found = witness::fingerprints(spare, None).await.context("cannot read the second set")?;
    ensure!(found == expected, "the second replica set differs:\n{found:#?}\nshould be\n{expected:#?}");
    for (name, print) in &found {
        let (documents, hash) = (count(print.documents), print.hash.to_hex());
        let indexes = print.indexes.lines().count();
        shell.proved(&format!("shop.{name}: {documents} documents, BLAKE3 {:.16}…, {indexes} indexes in both", hash));
    }
    Ok(())
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// How long each step took.
#[derive(Default)]
struct Times {
    steps: Vec<(&'static str, Duration)>,
}

impl Times {
    fn add(&mut self, step: &'static str, took: Duration) {
        self.steps.push((step, took));
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let steps: Vec<String> = self.steps.iter().map(|(step, took)| format!("{step} {}", seconds(*took))).collect();
        f.write_str(&steps.join(", "))
    }
}
