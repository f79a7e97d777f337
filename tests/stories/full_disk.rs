//! A node whose disk is full: it serves, counts in memory, says so, and bills everything once there is room.

use harness::disk::{Filler, on_small_disk};
use harness::{Client, World, eventually};

/// Room for the node's files and a dozen segments.
const DISK_MIB: u32 = 24;
/// What the node logs when usage has left its memory for the disk.
const IS_ON_THE_DISK: &str = "usage that was only in memory is on the disk";

async fn metric(admin: &Client, name: &str) -> u64 {
    let metrics = admin.get("/metrics").await.text();
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {metrics}"))
}

/// Until the ledger holds so many calls, all of them billed; it never holds more.
async fn billed(world: &World, calls: i64) {
    let mut database = world.database().await;
    eventually(&format!("{calls} calls in the ledger"), async || {
        let sums =
            "select coalesce(sum(requests), 0)::bigint, coalesce(sum(billed_requests), 0)::bigint
                    from usage_minute";
        let sums: (i64, i64) = sqlx::query_as(sums).fetch_one(&mut database).await.unwrap();
        assert!(sums.0 <= calls, "{sums:?} of {calls}");
        (sums == (calls, calls)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn on_a_full_disk_calls_are_answered_and_billed_and_the_operator_is_told() {
    let mut world = World::new(&[]).await;
    world.start_control_plane().await;
    let directory = world.node_directory(0);
    let command = on_small_disk(&world.node_command(0), &directory, DISK_MIB);
    world.run_node(0, command).await;
    let mut filler = Filler::new(world.node().unwrap(), &directory);
    let (admin, log) = (world.node_admin(), world.logs().join("node0.log"));
    let log = || std::fs::read_to_string(&log).unwrap();
    let origin = world.origin().await.replies(200, "hello");
    let mut calls = 0;
    let call = {
        let acme = world.tenant("acme").await;
        let api = acme.api("pets").await.get_route("/old", &origin).await.deploy("prod").await;
        assert_eq!(admin.get("/readyz").await.expect(200).text(), "ready\n");

        // Full, also of what the journal gives back when it cuts its segments to size.
        eventually("a segment that is only in memory", async || {
            filler.fill();
            api.get("/old").await.expect(200);
            calls += 1;
            (metric(&admin, "tollgate_journal_segments_in_memory_total").await > 0).then_some(())
        })
        .await;
        assert_eq!(metric(&admin, "tollgate_journal_disk_full").await, 1);
        let ready = admin.get("/readyz").await.expect(200).text();
        assert!(ready.contains("disk is full") && ready.contains("free space under"), "{ready}");
        let said = log();
        assert!(said.contains("has no room on its disk") && said.contains("free space"), "{said}");

        // What is counted in memory reaches the ledger.
        billed(&world, calls).await;
        // So does a change reach the node, also one that the disk has no room for.
        let mut api = api;
        for change in 0.. {
            filler.fill();
            let path = format!("/new{change}");
            api = api.get_route(&path, &origin).await.deploy("prod").await;
            api.get(&path).await.expect(200);
            calls += 1;
            if metric(&admin, "tollgate_config_updates_unkept_total").await > 0 {
                break;
            }
            assert!(change < 50, "the disk is full, and takes change after change");
        }
        api.get("/old")
    };

    // The ledger is away too: what was counted waits in memory.
    world.kill_control_plane();
    eventually("segments that wait", async || {
        filler.fill();
        call.clone().await.expect(200);
        calls += 1;
        (metric(&admin, "tollgate_journal_segments_unacknowledged").await >= 3).then_some(())
    })
    .await;
    world.start_control_plane().await;
    billed(&world, calls).await;

    filler.empty();
    eventually("room", async || {
        (metric(&admin, "tollgate_journal_disk_full").await == 0).then_some(())
    })
    .await;
    assert_eq!(admin.get("/readyz").await.expect(200).text(), "ready\n");
    assert!(log().contains("has room on its disk again"));
    for _ in 0..10 {
        call.clone().await.expect(200);
        calls += 1;
    }
    billed(&world, calls).await;
    let usage = directory.strip_prefix("/").unwrap().join("usage");
    let (kept, sealed) = (usage.join("kept"), usage.join("sealed"));
    let kept = format!("/proc/{}/root/{}", world.node().unwrap().id(), kept.display());
    eventually("acknowledged segments on the disk", async || {
        (std::fs::read_dir(&kept).unwrap().count() > 0).then_some(())
    })
    .await;

    // Once more, and the ledger stays away: what waits in memory goes to the disk as soon as that has room.
    let mut filler = Filler::new(world.node().unwrap(), &directory);
    world.kill_control_plane();
    let before = metric(&admin, "tollgate_journal_segments_in_memory_total").await;
    eventually("segments that are only in memory", async || {
        filler.fill();
        call.clone().await.expect(200);
        calls += 1;
        let now = metric(&admin, "tollgate_journal_segments_in_memory_total").await;
        (now >= before + 2).then_some(())
    })
    .await;
    filler.empty();
    let sealed = format!("/proc/{}/root/{}", world.node().unwrap().id(), sealed.display());
    eventually("all that waits on the disk", async || {
        let waiting = metric(&admin, "tollgate_journal_segments_unacknowledged").await;
        let names = std::fs::read_dir(&sealed).unwrap().map(|file| file.unwrap().file_name());
        let files = names.filter(|it| it.to_string_lossy().ends_with(".segment")).count();
        (u64::try_from(files).unwrap() == waiting && log().contains(IS_ON_THE_DISK)).then_some(())
    })
    .await;
    world.start_control_plane().await;
    billed(&world, calls).await;
    world.stop_node().await;
}
