//! Which route a request is for: a tree of segments, walked by one of two precedence rules.

use std::ops::Range;

use hashbrown::HashMap;
use http::Method;

use crate::{MethodMatch, RouteKey, Segment, path};

/// How routes that answer to the same path are ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precedence {
    /// AWS's HTTP APIs: method and path together. A full match, fixed segments before variables; then a greedy
    /// match, the longer fixed prefix first; then `$default`.
    Http,
    /// AWS's REST APIs: the path first, segment by segment: fixed, variable, greedy; then the method. A known
    /// path never falls back to a greedy ancestor.
    Rest,
}

/// What a slash at the end of a request's path means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrailingSlash {
    /// Another path.
    Strict,
    /// Nothing.
    Ignore,
    /// Another path; but where only the one without it is known, callers are sent there.
    Redirect,
}

/// An immutable table of routes. A route is known by its position in the list that the table was built from.
#[derive(Debug)]
pub struct Router {
    nodes: Vec<Node>,
    default: Option<usize>,
    precedence: Precedence,
    trailing_slash: TrailingSlash,
}

/// What a request's method and path lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Route {
        index: usize,
        /// Where in the path each variable's raw value stands, in the order of the route's variables.
        captures: Vec<Range<usize>>,
    },
    /// The path without its last slash is known, and the Api sends callers there.
    Redirect,
    /// The path is known, the method is not; these are, sorted.
    MethodNotAllowed(Vec<Method>),
    NotFound,
}

/// Why routes do not make a table. `index` is the position of the route that does not fit in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct BuildError {
    pub index: usize,
    pub reason: String,
}

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<Box<str>, usize, foldhash::fast::FixedState>,
    variable: Option<usize>,
    /// The name of the first variable seen here, for rules about siblings.
    variable_name: Option<Box<str>>,
    here: Methods,
    greedy: Option<Methods>,
}

/// The routes of one path, by method.
#[derive(Debug, Default)]
struct Methods {
    exact: Vec<(Method, usize)>,
    any: Option<usize>,
}

impl Router {
    pub fn build<'a>(
        routes: impl IntoIterator<Item = &'a RouteKey>,
        precedence: Precedence,
        trailing_slash: TrailingSlash,
    ) -> Result<Self, BuildError> {
        let mut table =
            Self { nodes: vec![Node::default()], default: None, precedence, trailing_slash };
        for (index, route) in routes.into_iter().enumerate() {
            table.insert(index, route).map_err(|reason| BuildError { index, reason })?;
        }
        Ok(table)
    }

    fn insert(&mut self, index: usize, route: &RouteKey) -> Result<(), String> {
        let duplicate = || format!("another route answers to {route} already");
        let RouteKey::Path { method, path } = route else {
            if self.precedence == Precedence::Rest {
                return Err("an API of AWS's REST kind has no $default route".to_owned());
            }
            return if self.default.replace(index).is_some() { Err(duplicate()) } else { Ok(()) };
        };
        let mut at = 0;
        let mut greedy = false;
        for segment in path.segments() {
            if let (Precedence::Rest, Some(name)) = (self.precedence, segment.variable()) {
                self.only_variable(at, segment, name)?;
            }
            match segment {
                Segment::Literal(text) => {
                    let next = self.nodes.len();
                    at = *self.nodes[at].literals.entry(text.clone()).or_insert(next);
                }
                Segment::Variable(_) => {
                    let next = self.nodes.len();
                    at = *self.nodes[at].variable.get_or_insert(next);
                }
                Segment::Greedy(_) => greedy = true,
            }
            if at == self.nodes.len() {
                self.nodes.push(Node::default());
            }
        }
        let node = &mut self.nodes[at];
        let methods = if greedy { node.greedy.get_or_insert_default() } else { &mut node.here };
        if methods.add(method, index) { Ok(()) } else { Err(duplicate()) }
    }

    /// A resource of a REST API has at most one child that is a variable.
    fn only_variable(&mut self, at: usize, segment: &Segment, name: &str) -> Result<(), String> {
        let node = &mut self.nodes[at];
        let greedy = matches!(segment, Segment::Greedy(_));
        let other_kind = if greedy { node.variable.is_some() } else { node.greedy.is_some() };
        let known = node.variable_name.get_or_insert_with(|| name.into());
        if other_kind || &**known != name {
            return Err(format!("{{{name}}} has a sibling that is a variable: {{{known}}}"));
        }
        Ok(())
    }

    /// Finds the route for a path that starts with a slash and has passed [`path::normalize`].
    pub fn find(&self, method: &Method, path: &str) -> Found {
        let mut walk = Walk::new(self, method, path);
        let found = match self.precedence {
            Precedence::Http => {
                walk.full(0, walk.start()).or_else(|| walk.greedy(0, walk.start())).or(self.default)
            }
            Precedence::Rest => walk.resource(0, walk.start()).and_then(|known| known.0),
        };
        if let Some(index) = found {
            return Found::Route { index, captures: walk.captures };
        }
        let bare = path.strip_suffix('/').filter(|bare| !bare.is_empty());
        if let (TrailingSlash::Redirect, Some(bare)) = (self.trailing_slash, bare)
            && matches!(self.find(method, bare), Found::Route { .. })
        {
            return Found::Redirect;
        }
        if walk.allowed.is_empty() {
            return Found::NotFound;
        }
        walk.allowed.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        walk.allowed.dedup();
        Found::MethodNotAllowed(walk.allowed)
    }
}

impl Methods {
    /// Whether the route was new.
    fn add(&mut self, method: &MethodMatch, index: usize) -> bool {
        match method {
            MethodMatch::Any => self.any.replace(index).is_none(),
            MethodMatch::Exactly(method) => {
                let new = self.exact.iter().all(|(known, _)| known != method);
                self.exact.push((method.clone(), index));
                new
            }
        }
    }

    fn get(&self, method: &Method) -> Option<usize> {
        let exact = self.exact.iter().find(|(known, _)| known == method);
        exact.map(|(_, index)| *index).or(self.any)
    }
}

/// One search. Depth-first, so the first hit ranks highest; each node is visited at most once per search, and
/// recursion is as deep as the deepest route.
struct Walk<'a> {
    router: &'a Router,
    method: &'a Method,
    path: &'a str,
    captures: Vec<Range<usize>>,
    /// Methods of routes that answer to the path but not to the method.
    allowed: Vec<Method>,
}

/// A resource that exists, and its route for the method if it has one.
struct Known(Option<usize>);

/// Where the next segment starts; `None` when there is none.
type Rest = Option<usize>;

impl<'a> Walk<'a> {
    fn new(router: &'a Router, method: &'a Method, path: &'a str) -> Self {
        Self { router, method, path, captures: Vec::new(), allowed: Vec::new() }
    }

    fn start(&self) -> Rest {
        (self.path.len() > 1).then_some(1)
    }

    /// The segment that starts at `from`, and where the next one does.
    fn segment(&self, from: usize) -> (&'a str, Range<usize>, Rest) {
        let end = self.path[from..].find('/').map_or(self.path.len(), |slash| from + slash);
        let ignored =
            self.router.trailing_slash == TrailingSlash::Ignore && end + 1 == self.path.len();
        let rest = (end < self.path.len() && !ignored).then_some(end + 1);
        (&self.path[from..end], from..end, rest)
    }

    /// The children that one segment leads to, fixed before variable, each tried by `next`.
    fn children<T>(
        &mut self,
        node: &'a Node,
        from: usize,
        next: fn(&mut Self, usize, Rest) -> Option<T>,
    ) -> Option<T> {
        let (segment, range, rest) = self.segment(from);
        if segment.is_empty() {
            return None;
        }
        if !node.literals.is_empty()
            && let Some(child) = node.literals.get(&*path::decode(segment))
            && let Some(found) = next(self, *child, rest)
        {
            return Some(found);
        }
        let child = node.variable?;
        self.captures.push(range);
        let found = next(self, child, rest);
        if found.is_none() {
            self.captures.pop();
        }
        found
    }

    fn take(&mut self, methods: &Methods) -> Option<usize> {
        let found = methods.get(self.method);
        if found.is_none() {
            self.allowed.extend(methods.exact.iter().map(|(method, _)| method.clone()));
        }
        found
    }

    fn take_greedy(&mut self, methods: &Methods, from: usize) -> Option<usize> {
        let found = self.take(methods)?;
        self.captures.push(from..self.path.len());
        Some(found)
    }

    /// A node's greedy routes, where there is a rest for them to take.
    fn greedy_at(&self, node: &'a Node, from: usize) -> Option<&'a Methods> {
        node.greedy.as_ref().filter(|_| from < self.path.len())
    }

    fn full(&mut self, at: usize, rest: Rest) -> Option<usize> {
        let node = &self.router.nodes[at];
        match rest {
            Some(from) => self.children(node, from, Self::full),
            None => self.take(&node.here),
        }
    }

    fn greedy(&mut self, at: usize, rest: Rest) -> Option<usize> {
        let (node, from) = (&self.router.nodes[at], rest?);
        let deeper = self.children(node, from, Self::greedy);
        if deeper.is_some() {
            return deeper;
        }
        self.take_greedy(self.greedy_at(node, from)?, from)
    }

    /// The first resource that the path leads to. One without a route for the method ends the search too.
    fn resource(&mut self, at: usize, rest: Rest) -> Option<Known> {
        let node = &self.router.nodes[at];
        let Some(from) = rest else { return Some(Known(self.take(&node.here))) };
        let deeper = self.children(node, from, Self::resource);
        if deeper.is_some() {
            return deeper;
        }
        Some(Known(self.take_greedy(self.greedy_at(node, from)?, from)))
    }
}
