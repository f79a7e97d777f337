//! What mocks are made of, and what callers prefer of them.

use control_plane::domain::integration::MockExample;
use control_plane::domain::integration::mock::ANSWERS_MAX;
use control_plane::domain::integration::openapi;
use plan::{Preferences, accept};

/// Of each preference the first counts, so that what follows a value changes none that is set; the type that `Accept` likes
/// best is one that was offered.
pub(crate) fn preferences(bytes: &[u8]) {
    let lines: Vec<_> = bytes.split(|byte| *byte == b'\n').collect();
    let parsed = Preferences::parse(lines.iter().copied());
    let more = [&b"code=599, example=later"[..]];
    let longer = Preferences::parse(lines.iter().copied().chain(more));
    assert_eq!(longer.code, parsed.code.or(Some(599)));
    assert_eq!(longer.example, parsed.example.or(Some("later".to_owned())));

    let texts: Vec<_> = lines.iter().filter_map(|line| std::str::from_utf8(line).ok()).collect();
    let offered = ["application/json", "text/plain; charset=utf-8"];
    let best = accept::best(texts.iter().copied(), offered);
    assert!(best.is_none_or(|index| index < offered.len()));
    assert_eq!(accept::best([], offered), Some(0));
}

/// However an operation is written, its examples are few, and each has a status that an answer ends with.
pub(crate) fn mock_examples(bytes: &[u8]) {
    let Ok(operation) = serde_json::from_slice(bytes) else { return };
    let Ok(examples) = openapi::examples(&operation) else { return };
    assert!((1..=ANSWERS_MAX).contains(&examples.len()));
    let good = |it: &MockExample| {
        (200..=599).contains(&it.status) && (it.body.is_empty() || !it.media_type.is_empty())
    };
    assert!(examples.iter().all(good));
}
