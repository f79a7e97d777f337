//! The page on metrics tells the truth, and no caller makes a series.

use std::collections::{BTreeMap, BTreeSet};

use harness::{World, eventually};

const PAGE: &str = include_str!("../../deploy/observability/metrics.md");
const ALERTS: &str = include_str!("../../deploy/observability/alerts.rules.yml");
const AWS_NAMES: &str = include_str!("../../deploy/observability/aws-names.rules.yml");

#[derive(Debug, PartialEq)]
struct Family {
    kind: String,
    labels: BTreeSet<String>,
}

/// The page's table under this heading: each family, and the most series of it.
fn page(heading: &str) -> BTreeMap<String, (Family, usize)> {
    let section = PAGE.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, series, _] = cells[..] else { panic!("{row}") };
        // A label's name stands before what it can be.
        let outside = labels.split('(').map(|part| part.rsplit(')').next().unwrap_or_default());
        let labels = outside.flat_map(|part| part.split('`').skip(1).step_by(2));
        let family = Family { kind: kind.to_owned(), labels: labels.map(str::to_owned).collect() };
        (name.trim_matches('`').to_owned(), (family, series.parse().unwrap()))
    })
    .collect()
}

/// What a process shows: each family, and how many series it has.
fn shown(text: &str) -> BTreeMap<String, (Family, usize)> {
    let mut families = BTreeMap::new();
    let mut series = BTreeMap::<String, BTreeSet<String>>::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|it| it.split_once(' ')) {
            let family = Family { kind: kind.to_owned(), labels: BTreeSet::new() };
            families.insert(name.to_owned(), (family, 0));
        }
        let Some((sample, _)) = line.rsplit_once(' ').filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
        let name = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end).filter(|name| families.contains_key(*name)))
            .unwrap_or(name);
        let pairs = labels.trim_end_matches("\"}").split("\",");
        let labels: Vec<_> =
            pairs.filter_map(|it| it.split_once('=')).filter(|(name, _)| *name != "le").collect();
        series.entry(name.to_owned()).or_default().insert(format!("{labels:?}"));
        let (family, count) = families.get_mut(name).unwrap();
        family.labels.extend(labels.iter().map(|(name, _)| (*name).to_owned()));
        *count = series[name].len();
    }
    families
}

#[tokio::test]
async fn the_page_lists_every_metric_and_no_caller_makes_a_series() {
    let world = World::start().await;
    let origin = world.origin().await.replies(200, "hello");
    let acme = world.tenant("acme").await;
    let api = acme.api("pets").await.get_route("/pets", &origin).await.deploy("prod").await;
    api.get("/pets").await.expect(200);
    let who = serde_json::json!({ "email": "nobody@example.com", "password": "wrong and long" });
    world.management().post("/v1/login").json(&who).await;
    for number in 0..40 {
        let (path, method) = (format!("/nowhere/{number}"), format!("M{number}"));
        api.call(&method, &path).await;
        world.management().call(&method, &path).await;
        world.management().get(&format!("/v1/apis/planted{number}")).await;
    }

    let nodes = page("A node");
    eventually("the node's requests among its metrics", async || {
        let text = world.node_admin().get("/metrics").await.text();
        text.contains("status_class=\"4xx\"").then_some(())
    })
    .await;
    for (page, client) in
        [(nodes, world.node_admin()), (page("The control plane"), world.control_plane_admin())]
    {
        let text = client.get("/metrics").await.expect(200).text();
        assert!(
            !text.contains("planted") && !text.contains("nowhere") && !text.contains("M1"),
            "{text}"
        );
        let shown = shown(&text);
        let unlisted: Vec<_> = shown.keys().filter(|name| !page.contains_key(*name)).collect();
        let gone: Vec<_> = page.keys().filter(|name| !shown.contains_key(*name)).collect();
        assert!(
            unlisted.is_empty() && gone.is_empty(),
            "not listed: {unlisted:?}; not there: {gone:?}"
        );
        for (name, (family, series)) in &shown {
            let (said, max) = &page[name];
            assert_eq!(family, said, "{name}");
            assert!(series <= max, "{name} has {series} series, the page says {max}");
        }
    }
}

/// The metrics that rules read, each of which stands on the page.
fn read_by(rules: &str) -> BTreeSet<&str> {
    let families = [page("A node"), page("The control plane")].map(BTreeMap::into_keys);
    let families: BTreeSet<String> = families.into_iter().flatten().collect();
    let mut read = BTreeSet::new();
    for (at, _) in rules.match_indices("tollgate_") {
        let rest = &rules[at..];
        let end = rest.find(|it: char| !it.is_ascii_alphanumeric() && it != '_');
        let name = &rest[..end.unwrap()];
        let family = |end| name.strip_suffix(end).is_some_and(|name| families.contains(name));
        let known = families.contains(name) || ["_bucket", "_sum", "_count"].iter().any(family);
        assert!(known, "{name}");
        read.insert(name);
    }
    read
}

#[test]
fn the_rules_read_metrics_that_there_are() {
    assert!(read_by(AWS_NAMES).len() >= 7, "{:?}", read_by(AWS_NAMES));
    let read = [
        "tollgate_usage_compared_requests",
        "tollgate_usage_drift_requests",
        "tollgate_usage_quarantined_open",
    ];
    assert_eq!(read_by(ALERTS), BTreeSet::from(read));
}

#[test]
fn an_alert_names_a_part_of_a_runbook_that_there_is() {
    let runbooks: Vec<_> =
        ALERTS.lines().filter_map(|line| line.trim().strip_prefix("runbook: ")).collect();
    assert_eq!(runbooks.len(), ALERTS.matches("- alert: ").count());
    for runbook in runbooks {
        let (file, part) = runbook.split_once('#').unwrap();
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(file);
        let text = std::fs::read_to_string(path).unwrap();
        let parts = text.lines().filter_map(|line| line.strip_prefix("## "));
        let named = parts.map(|heading| heading.to_lowercase().replace(' ', "-"));
        assert!(named.collect::<Vec<_>>().contains(&part.to_owned()), "{runbook}");
    }
}
