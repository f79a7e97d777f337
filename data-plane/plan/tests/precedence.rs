//! The router against AWS's own examples, and against an oracle that ranks every route of the list.

use http::Method;
use plan::{Found, MethodMatch, Precedence, RouteKey, Router, Segment, TrailingSlash};
use proptest::prelude::*;

fn keys(routes: &[&str]) -> Vec<RouteKey> {
    routes.iter().map(|route| RouteKey::parse_key(route).expect("a good route")).collect()
}

fn router(routes: &[&str], precedence: Precedence, slash: TrailingSlash) -> Router {
    Router::build(&keys(routes), precedence, slash).expect("a good route")
}

/// The route that answers, with its captures; else why none does.
fn answer(table: &Router, routes: &[&str], method: &Method, path: &str) -> String {
    match table.find(method, path) {
        Found::Route { index, captures } => {
            let captures: Vec<&str> = captures.into_iter().map(|range| &path[range]).collect();
            format!("{} {}", routes[index], captures.join(" ")).trim_end().to_owned()
        }
        Found::Redirect => "redirect".to_owned(),
        Found::MethodNotAllowed(methods) => {
            format!("only {}", methods.iter().map(Method::as_str).collect::<Vec<_>>().join(","))
        }
        Found::NotFound => "none".to_owned(),
    }
}

#[test]
fn http_apis_take_the_full_match_then_the_greedy_then_the_default() {
    let routes = [
        "GET /pets/dog/1",
        "GET /pets/dog/{id}",
        "GET /pets/{proxy+}",
        "ANY /{proxy+}",
        "$default",
    ];
    let table = router(&routes, Precedence::Http, TrailingSlash::Strict);
    for (method, path, expected) in [
        (Method::GET, "/pets/dog/1", "GET /pets/dog/1"),
        (Method::GET, "/pets/dog/2", "GET /pets/dog/{id} 2"),
        (Method::GET, "/pets/cat/1", "GET /pets/{proxy+} cat/1"),
        (Method::POST, "/test/5", "ANY /{proxy+} test/5"),
        (Method::POST, "/pets/dog/1", "ANY /{proxy+} pets/dog/1"),
        (Method::GET, "/pets/", "ANY /{proxy+} pets/"),
        (Method::GET, "/", "$default"),
    ] {
        assert_eq!(answer(&table, &routes, &method, path), expected, "{method} {path}");
    }
}

#[test]
fn http_apis_choose_by_method_and_path_together_and_go_back_for_it() {
    let routes = ["GET /a/{x}/c", "POST /a/b/d", "GET /{y}/b/d", "PUT /a/{rest+}", "ANY /a/b"];
    let table = router(&routes, Precedence::Http, TrailingSlash::Strict);
    for (method, path, expected) in [
        (Method::GET, "/a/b/c", "GET /a/{x}/c b"),
        (Method::GET, "/a/b/d", "GET /{y}/b/d a"),
        (Method::PUT, "/a/b/d", "PUT /a/{rest+} b/d"),
        (Method::PATCH, "/a/b/d", "only GET,POST,PUT"),
        (Method::PATCH, "/a/b", "ANY /a/b"),
        (Method::GET, "/a/b/", "only PUT"),
        (Method::GET, "/nothing", "none"),
        (Method::GET, "/a//c", "only PUT"),
    ] {
        assert_eq!(answer(&table, &routes, &method, path), expected, "{method} {path}");
    }
}

#[test]
fn rest_apis_take_the_path_first_and_never_leave_a_known_one() {
    let routes =
        ["GET /pets/dog", "ANY /pets/{id}", "GET /pets/{id}/toys", "ANY /{proxy+}", "GET /"];
    let table = router(&routes, Precedence::Rest, TrailingSlash::Ignore);
    for (method, path, expected) in [
        (Method::GET, "/pets/dog", "GET /pets/dog"),
        (Method::POST, "/pets/dog", "only GET"),
        (Method::POST, "/pets/cat", "ANY /pets/{id} cat"),
        (Method::GET, "/pets/dog/toys", "GET /pets/{id}/toys dog"),
        (Method::POST, "/pets/dog/toys", "only GET"),
        (Method::GET, "/pets", "none"), // a resource without methods is known
        (Method::GET, "/pets/dog/toys/1", "ANY /{proxy+} pets/dog/toys/1"),
        (Method::GET, "/", "GET /"),
        (Method::POST, "/", "only GET"),
    ] {
        assert_eq!(answer(&table, &routes, &method, path), expected, "{method} {path}");
    }
}

#[test]
fn a_slash_at_the_end_is_another_path_or_nothing_or_a_redirect() {
    let routes = ["GET /a", "GET /b/{x}", "GET /c/{rest+}"];
    for (slash, expected) in [
        (TrailingSlash::Strict, ["none", "none", "GET /c/{rest+} d/"]),
        (TrailingSlash::Ignore, ["GET /a", "GET /b/{x} 1", "GET /c/{rest+} d/"]),
        (TrailingSlash::Redirect, ["redirect", "redirect", "GET /c/{rest+} d/"]),
    ] {
        let table = router(&routes, Precedence::Http, slash);
        let got = ["/a/", "/b/1/", "/c/d/"].map(|path| answer(&table, &routes, &Method::GET, path));
        assert_eq!(got, expected, "{slash:?}");
        assert_eq!(answer(&table, &routes, &Method::GET, "/c/"), "none", "{slash:?}");
    }
}

#[test]
fn fixed_text_is_found_under_every_encoding_of_it_and_captures_stay_raw() {
    let routes = ["GET /pets/{id}", "ANY /{proxy+}"];
    let table = router(&routes, Precedence::Http, TrailingSlash::Strict);
    assert_eq!(
        answer(&table, &routes, &Method::GET, "/p%65ts/a%2Fb%20"),
        "GET /pets/{id} a%2Fb%20"
    );
    assert_eq!(answer(&table, &routes, &Method::GET, "/Pets/1"), "ANY /{proxy+} Pets/1");
}

#[test]
fn routes_that_no_request_could_tell_apart_are_refused() {
    for (routes, precedence, index, part) in [
        (&["GET /a/{x}", "GET /a/{y}"][..], Precedence::Http, 1, "another route"),
        (&["ANY /{x+}", "ANY /{y+}"], Precedence::Http, 1, "another route"),
        (&["$default", "GET /", "$default"], Precedence::Http, 2, "another route"),
        (&["GET /a/{x}", "POST /a/{y}"], Precedence::Rest, 1, "sibling"),
        (&["GET /a/{x}", "GET /a/{x+}"], Precedence::Rest, 1, "sibling"),
        (&["GET /a/{x+}", "GET /a/{x}/b"], Precedence::Rest, 1, "sibling"),
        (&["$default"], Precedence::Rest, 0, "no $default"),
    ] {
        let error = Router::build(&keys(routes), precedence, TrailingSlash::Strict).unwrap_err();
        assert_eq!(error.index, index, "{routes:?}");
        assert!(error.reason.contains(part), "{}", error.reason);
    }
    let distinct = keys(&["GET /a/{x}", "POST /a/{y}", "GET /a/{x+}"]);
    assert!(Router::build(&distinct, Precedence::Http, TrailingSlash::Strict).is_ok());
}

/// A segment's rank where two routes part: fixed, variable, greedy.
fn rank(segment: &Segment) -> u8 {
    match segment {
        Segment::Literal(_) => 0,
        Segment::Variable(_) => 1,
        Segment::Greedy(_) => 2,
    }
}

fn segments(key: &RouteKey) -> &[Segment] {
    match key {
        RouteKey::Default => &[],
        RouteKey::Path { path, .. } => path.segments(),
    }
}

fn answers_path(pattern: &[Segment], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        ([Segment::Greedy(_)], rest) => !rest.is_empty() && rest != [""],
        ([Segment::Literal(text), pattern @ ..], [first, rest @ ..]) => {
            **text == **first && answers_path(pattern, rest)
        }
        ([Segment::Variable(_), pattern @ ..], [first, rest @ ..]) => {
            !first.is_empty() && answers_path(pattern, rest)
        }
        _ => false,
    }
}

/// 0 for the method itself, 1 for ANY.
fn answers_method(key: &RouteKey, wanted: &Method) -> Option<u8> {
    match key {
        RouteKey::Path { method: MethodMatch::Exactly(method), .. } => {
            (method == wanted).then_some(0)
        }
        _ => Some(1),
    }
}

fn http_oracle(routes: &[RouteKey], method: &Method, path: &[&str]) -> Option<usize> {
    let candidates = routes.iter().enumerate().filter_map(|(index, key)| {
        let by_method = answers_method(key, method)?;
        let pattern = segments(key);
        let ranks: Vec<u8> = pattern.iter().map(rank).collect();
        let class = match key {
            RouteKey::Default => 2,
            RouteKey::Path { .. } if !answers_path(pattern, path) => return None,
            RouteKey::Path { .. } => u8::from(ranks.contains(&2)),
        };
        let fixed_prefix = ranks.iter().take_while(|rank| **rank == 0).count();
        let prefix_order = if class == 1 { usize::MAX - fixed_prefix } else { 0 };
        Some(((class, prefix_order, ranks, by_method), index))
    });
    candidates.min().map(|(_, index)| index)
}

fn rest_oracle(routes: &[RouteKey], method: &Method, path: &[&str]) -> Option<usize> {
    // Every prefix of a route's path is a resource; a greedy segment is one only by itself.
    let resources = routes.iter().flat_map(|key| {
        let pattern = segments(key);
        (0..=pattern.len()).map(move |end| &pattern[..end])
    });
    let shape = |pattern: &[Segment]| -> Vec<(u8, String)> {
        let text = |segment: &Segment| match segment {
            Segment::Literal(text) => text.to_string(),
            _ => String::new(),
        };
        pattern.iter().map(|segment| (rank(segment), text(segment))).collect()
    };
    let chosen = resources.filter(|pattern| answers_path(pattern, path)).map(shape).min()?;
    let routes = routes.iter().enumerate().filter(|(_, key)| shape(segments(key)) == chosen);
    routes
        .filter_map(|(index, key)| Some((answers_method(key, method)?, index)))
        .min()
        .map(|(_, index)| index)
}

fn route() -> impl Strategy<Value = String> {
    let segment = prop_oneof![3 => Just("a"), 3 => Just("b"), 1 => Just("c"), 4 => Just("{v}")];
    let method = prop_oneof![Just("GET"), Just("POST"), Just("ANY")];
    (method, prop::collection::vec(segment, 0..4), prop::bool::weighted(0.3)).prop_map(
        |(method, segments, greedy)| {
            let mut path = String::new();
            for (depth, segment) in segments.iter().enumerate() {
                // Names must differ within a path, and be the same among siblings.
                path.push('/');
                path.push_str(&segment.replace('v', &format!("v{depth}")));
            }
            if greedy {
                path.push_str("/{rest+}");
            }
            format!("{method} {}", if path.is_empty() { "/" } else { &path })
        },
    )
}

fn request() -> impl Strategy<Value = (Method, Vec<&'static str>)> {
    let segment = prop_oneof![Just("a"), Just("b"), Just("c"), Just("zzz")];
    let method = prop_oneof![Just(Method::GET), Just(Method::POST), Just(Method::PUT)];
    (method, prop::collection::vec(segment, 0..5))
}

/// The routes of the list that a table takes, one by one.
fn accepted(routes: &[String], precedence: Precedence) -> Vec<RouteKey> {
    let mut kept: Vec<RouteKey> = Vec::new();
    for route in routes {
        kept.push(RouteKey::parse_key(route).expect("a good route"));
        if Router::build(&kept, precedence, TrailingSlash::Strict).is_err() {
            kept.pop();
        }
    }
    kept
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn the_router_agrees_with_an_oracle_that_ranks_every_route(
        routes in prop::collection::vec(route(), 0..14),
        default in any::<bool>(),
        requests in prop::collection::vec(request(), 1..12),
        trailing in any::<bool>(),
    ) {
        for precedence in [Precedence::Http, Precedence::Rest] {
            let mut routes = routes.clone();
            if default {
                routes.push("$default".to_owned());
            }
            let routes = accepted(&routes, precedence);
            let table = Router::build(&routes, precedence, TrailingSlash::Strict).unwrap();
            for (method, parts) in &requests {
                let mut parts = parts.clone();
                if trailing && !parts.is_empty() {
                    parts.push("");
                }
                let path = format!("/{}", parts.join("/"));
                let expected = match precedence {
                    Precedence::Http => http_oracle(&routes, method, &parts),
                    Precedence::Rest => rest_oracle(&routes, method, &parts),
                };
                let got = match table.find(method, &path) {
                    Found::Route { index, captures } => {
                        prop_assert_eq!(captures.len(), routes[index].variables().count());
                        Some(index)
                    }
                    _ => None,
                };
                prop_assert_eq!(got, expected, "{:?} {} in {:?}", precedence, path, routes);
            }
        }
    }

    #[test]
    fn captures_put_back_into_the_route_give_the_path_again(
        routes in prop::collection::vec(route(), 1..14),
        (method, parts) in request(),
    ) {
        let routes = accepted(&routes, Precedence::Http);
        let table = Router::build(&routes, Precedence::Http, TrailingSlash::Strict).unwrap();
        let path = format!("/{}", parts.join("/"));
        if let Found::Route { index, captures } = table.find(&method, &path) {
            let mut captures = captures.into_iter().map(|range| &path[range]);
            let again: String = segments(&routes[index])
                .iter()
                .map(|segment| match segment {
                    Segment::Literal(text) => format!("/{text}"),
                    _ => format!("/{}", captures.next().unwrap()),
                })
                .collect();
            prop_assert_eq!(if again.is_empty() { "/".to_owned() } else { again }, path);
        }
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text in ".{0,40}") {
        let _ = RouteKey::parse_key(&text);
        let _ = RouteKey::parse_throttle_key(&text);
        let _ = plan::UriTemplate::parse(&text);
        for policy in [plan::path::Normalization::Reject, plan::path::Normalization::Normalize] {
            if let Ok(path) = plan::path::normalize(&format!("/{text}"), policy) {
                prop_assert!(path.starts_with('/'));
            }
        }
    }
}
