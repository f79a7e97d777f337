//! How much one request may ask for, decided from its document before anything of it is validated or run.
//!
//! The walk knows the schema: a connection multiplies what is below it by the page it asks for, any other list
//! by a guess. It expands fragments as the executor would, and ends as soon as a limit is passed, so that its
//! own cost has a bound too.

use std::collections::HashMap;

use async_graphql::parser::types::{
    BaseType, Directive, DocumentOperations, ExecutableDocument, Field, FieldDefinition,
    OperationDefinition, OperationType, Selection, SelectionSet, TypeKind, TypeSystemDefinition,
    VariableDefinition,
};
use async_graphql::parser::{parse_query, parse_schema};
use async_graphql::{Name, Positioned, Value, Variables};

use crate::access::allowance::{CHANGE, READ, SUM};
use crate::domain::page::LIMIT_MAX;
use crate::error::{Error, Result};
use crate::graphql::nesting::{NESTING_MAX, nesting};

/// The longest document, in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 64 * 1024;
/// How deep fields may be nested.
pub const DEPTH_MAX: usize = 12;
/// How deep an introspection may be nested: what tools send has 13 to 17 levels.
pub const INTROSPECTION_DEPTH_MAX: usize = 20;
/// How many objects a request may ask for in all.
pub const NODES_MAX: u64 = 10_000;
/// How many points a request may cost.
pub const COST_MAX: u64 = 1_000;
/// One point more for each so many objects.
const NODES_OF_A_POINT: u64 = 100;
/// How many values a request may ask for in all: a field of each object is one.
pub const VALUES_MAX: u64 = 200_000;
/// How many fields and fragments a document may come to, fragments expanded.
pub const SELECTIONS_MAX: usize = 5_000;
/// How many fields a query may begin with, and a mutation.
pub const QUERY_FIELDS_MAX: usize = 50;
pub const MUTATION_FIELDS_MAX: usize = 10;
/// How many fragments and how many operations a document may define.
pub const FRAGMENTS_MAX: usize = 100;
pub const OPERATIONS_MAX: usize = 10;
/// How many directives one field, fragment or operation may have: there are two, and neither repeats.
pub const DIRECTIVES_MAX: usize = 5;
/// How deep fragments may be nested in fragments.
const SPREADS_MAX: usize = 20;
/// What a list is taken for that is no connection.
const LIST_ITEMS: u64 = 10;

/// What the limits need to know of the schema: the type of each object's fields.
#[derive(Debug)]
pub struct Shape(HashMap<String, HashMap<String, FieldType>>);

#[derive(Debug)]
struct FieldType {
    name: String,
    list: bool,
}

/// The fields for which much may have to be added up.
const SUMS: [&str; 4] = ["usageGroups", "usageGroupSeries", "keyUsage", "createUsageExport"];

/// The field by which a document asks what it costs.
const RATE_LIMIT: &str = "rateLimit";

/// A document that is within the limits.
#[derive(Debug)]
pub struct Measured {
    pub document: ExecutableDocument,
    /// Whether it asks about the schema itself.
    pub introspects: bool,
    /// How many objects it asks for.
    pub nodes: u64,
    /// In points: 1 for each field it begins with, 5 in a mutation, 20 where it adds up; 1 for each connection or noun below, times the
    /// objects that it is asked of, the items of a connection's page being its own; 1 for each 100 objects.
    pub cost: u32,
    /// Whether it only wants to know what it would cost.
    pub dry: bool,
}

impl Shape {
    /// From the schema's own SDL.
    pub fn new(sdl: &str) -> Result<Self> {
        let schema = parse_schema(sdl).map_err(|cause| Error::corrupt("GraphQL schema", cause))?;
        let types = schema.definitions.into_iter().filter_map(|definition| match definition {
            TypeSystemDefinition::Type(definition) => {
                let fields = match definition.node.kind {
                    TypeKind::Object(object) => object.fields,
                    TypeKind::Interface(interface) => interface.fields,
                    _ => return None,
                };
                let fields = fields.into_iter().map(FieldType::of).collect();
                Some((definition.node.name.node.to_string(), fields))
            }
            _ => None,
        });
        Ok(Self(types.collect()))
    }

    /// Reads a document and refuses it where it asks for too much.
    pub fn measure(&self, query: &str, variables: &Variables) -> Result<Measured> {
        if query.len() > DOCUMENT_BYTES_MAX {
            return Err(too_much(format!("has more than {DOCUMENT_BYTES_MAX} bytes")));
        }
        match nesting(query) {
            None => {
                let rule = "is no GraphQL document: a block string does not end";
                return Err(Error::bad_request("query", rule));
            }
            Some(levels) if levels > NESTING_MAX => {
                return Err(too_much(format!("nests brackets deeper than {NESTING_MAX}")));
            }
            Some(_) => {}
        }
        let mut document = parse_query(query).map_err(|cause| {
            Error::bad_request("query", format!("is no GraphQL document: {}", reason(&cause)))
        })?;
        if document.fragments.len() > FRAGMENTS_MAX {
            return Err(too_much(format!("defines more than {FRAGMENTS_MAX} fragments")));
        }
        if document.operations.iter().count() > OPERATIONS_MAX {
            return Err(too_much(format!("defines more than {OPERATIONS_MAX} operations")));
        }
        let (mut introspects, mut nodes, mut cost) = (false, 0, 0);
        // The executor validates every operation, whichever is run.
        for (_, operation) in document.operations.iter() {
            let mut walk = Walk::new(self, &document, &operation.node, variables);
            walk.operation()?;
            introspects |= walk.introspects;
            nodes = nodes.max(walk.nodes);
            cost = cost.max(walk.cost);
        }
        let cost = u32::try_from(cost).map_err(Error::internal)?;
        let dry = self::dry(&mut document, variables);
        Ok(Measured { document, introspects, nodes, cost, dry })
    }
}

impl Shape {
    /// Whether a field of this parent and this type is a question of its own to the database. The items of a page
    /// came with it, and so did what a change made.
    fn looked_up(&self, parent: &str, name: &str) -> bool {
        let noun = || self.0.get(name).is_some_and(|fields| fields.contains_key("id"));
        let came_along =
            ["Connection", "Edge", "Payload"].iter().any(|kind| parent.ends_with(kind));
        name.ends_with("Connection") || (!came_along && noun())
    }
}

/// Whether every operation begins with `rateLimit(dryRun: true)`. Where one does, nothing beside it is asked: its other
/// fields are made to be skipped, so that they are still validated.
fn dry(document: &mut ExecutableDocument, variables: &Variables) -> bool {
    let Ok(sample) = parse_query("{ field @skip(if: true) }") else { return false };
    let skip = sample.operations.iter().find_map(|(_, operation)| {
        match &operation.node.selection_set.node.items.first()?.node {
            Selection::Field(field) => Some(field.node.directives.clone()),
            _ => None,
        }
    });
    let skip = skip.unwrap_or_default();
    let mut all = true;
    let operations: Vec<&mut Positioned<OperationDefinition>> = match &mut document.operations {
        DocumentOperations::Single(operation) => vec![operation],
        DocumentOperations::Multiple(operations) => operations.values_mut().collect(),
    };
    for operation in operations {
        let definitions = operation.node.variable_definitions.clone();
        let items = &mut operation.node.selection_set.node.items;
        let dry = items.iter().any(|selection| match &selection.node {
            Selection::Field(field) if field.node.name.node == RATE_LIMIT => {
                argument(&field.node, "dryRun", variables, &definitions)
                    == Some(Value::Boolean(true))
            }
            _ => false,
        });
        for selection in items.iter_mut().filter(|_| dry) {
            let directives = match &mut selection.node {
                Selection::Field(field) if field.node.name.node == RATE_LIMIT => continue,
                Selection::Field(field) => &mut field.node.directives,
                Selection::FragmentSpread(spread) => &mut spread.node.directives,
                Selection::InlineFragment(fragment) => &mut fragment.node.directives,
            };
            directives.retain(|directive| directive.node.name.node != "skip");
            directives.extend(skip.iter().cloned());
        }
        all &= dry;
    }
    all
}

impl FieldType {
    fn of(field: Positioned<FieldDefinition>) -> (String, Self) {
        let mut base = field.node.ty.node.base;
        let mut list = false;
        while let BaseType::List(inner) = base {
            list = true;
            base = inner.base;
        }
        let BaseType::Named(name) = base else { unreachable!("the loop left no list") };
        (field.node.name.node.to_string(), Self { name: name.to_string(), list })
    }
}

struct Walk<'a> {
    shape: &'a Shape,
    document: &'a ExecutableDocument,
    operation: &'a OperationDefinition,
    variables: &'a Variables,
    /// The fragments that are being expanded, outermost first.
    spreads: Vec<&'a Name>,
    /// What the answer calls the fields that are above and the present one, outermost first.
    path: Vec<&'a str>,
    introspects: bool,
    root_fields: usize,
    selections: usize,
    nodes: u64,
    values: u64,
    cost: u64,
}

/// Where the walk stands.
#[derive(Clone, Copy)]
struct At<'a> {
    /// The type whose fields are selected; empty inside introspection and below unknown fields.
    parent: &'a str,
    /// How many fields are above.
    depth: usize,
    depth_max: usize,
    /// How many objects of the parent's type are asked for.
    times: u64,
    /// Inside a connection, how many items its page has.
    page: u64,
    /// How many of introspection's lists of fields or types are above.
    circles: usize,
}

impl<'a> Walk<'a> {
    fn new(
        shape: &'a Shape,
        document: &'a ExecutableDocument,
        operation: &'a OperationDefinition,
        variables: &'a Variables,
    ) -> Self {
        Self {
            shape,
            document,
            operation,
            variables,
            spreads: Vec::new(),
            path: Vec::new(),
            introspects: false,
            root_fields: 0,
            selections: 0,
            nodes: 0,
            values: 0,
            cost: 0,
        }
    }

    fn operation(&mut self) -> Result<()> {
        let parent = match self.operation.ty {
            OperationType::Query => "Query",
            OperationType::Mutation => "Mutation",
            OperationType::Subscription => "Subscription",
        };
        let top =
            At { parent, depth: 0, depth_max: DEPTH_MAX, times: 1, page: LIST_ITEMS, circles: 0 };
        directives(&self.operation.directives)?;
        self.selection_set(&self.operation.selection_set.node, top)?;
        self.cost = self.cost.saturating_add(self.nodes / NODES_OF_A_POINT);
        if self.cost > COST_MAX {
            let cost = self.cost;
            return Err(too_much(format!("costs {cost} points, and a request at most {COST_MAX}")));
        }
        Ok(())
    }

    fn selection_set(&mut self, set: &'a SelectionSet, at: At<'a>) -> Result<()> {
        for selection in &set.items {
            self.selections += 1;
            if self.selections > SELECTIONS_MAX {
                return Err(too_much(format!("comes to more than {SELECTIONS_MAX} fields")));
            }
            match &selection.node {
                Selection::Field(field) => self.field(field, at)?,
                Selection::InlineFragment(fragment) => {
                    directives(&fragment.node.directives)?;
                    let on = fragment.node.type_condition.as_ref();
                    let parent = on.map_or(at.parent, |condition| condition.node.on.node.as_str());
                    self.selection_set(&fragment.node.selection_set.node, At { parent, ..at })?;
                }
                Selection::FragmentSpread(spread) => {
                    directives(&spread.node.directives)?;
                    let name = &spread.node.fragment_name.node;
                    // One that is not defined is for validation to name.
                    let Some(fragment) = self.document.fragments.get(name) else { continue };
                    if self.spreads.contains(&name) {
                        let circle = format!("spreads the fragment {name} inside itself");
                        return Err(Error::bad_request("query", circle));
                    }
                    if self.spreads.len() == SPREADS_MAX {
                        return Err(too_much(format!("nests more than {SPREADS_MAX} fragments")));
                    }
                    self.spreads.push(name);
                    let parent = fragment.node.type_condition.node.on.node.as_str();
                    self.selection_set(&fragment.node.selection_set.node, At { parent, ..at })?;
                    self.spreads.pop();
                }
            }
        }
        Ok(())
    }

    fn field(&mut self, place: &'a Positioned<Field>, at: At<'a>) -> Result<()> {
        let field = &place.node;
        let name = field.name.node.as_str();
        self.path.push(field.response_key().node.as_str());
        directives(&field.directives)?;
        self.ask(at.times)?;
        if at.depth == 0 {
            self.root_field()?;
            self.cost += u64::from(match self.operation.ty {
                _ if SUMS.contains(&name) => SUM,
                OperationType::Mutation => CHANGE,
                OperationType::Query | OperationType::Subscription => READ,
            });
        }
        if at.depth == at.depth_max {
            return Err(too_much(format!("is nested deeper than {} fields", at.depth_max)));
        }
        let mut below = At { depth: at.depth + 1, parent: "", ..at };
        if at.depth == 0 && matches!(name, "__schema" | "__type") {
            self.introspects = true;
            below.depth_max = INTROSPECTION_DEPTH_MAX;
        } else if at.depth_max == INTROSPECTION_DEPTH_MAX {
            if matches!(name, "fields" | "inputFields" | "interfaces" | "possibleTypes") {
                below.circles += 1;
                if below.circles > 2 {
                    return Err(too_much("goes round in the schema".to_owned()));
                }
            }
        } else if let Some(of) = self.shape.0.get(at.parent).and_then(|fields| fields.get(name)) {
            below.parent = &of.name;
            if at.depth > 0 && self.shape.looked_up(at.parent, &of.name) {
                self.cost = self.cost.saturating_add(at.times);
            }
            if of.name.ends_with("Connection") {
                below.page = self.page(place)?;
            } else if of.list {
                let items = if at.parent.ends_with("Connection") {
                    at.page
                } else {
                    self.ids(field).unwrap_or(LIST_ITEMS)
                };
                below.times = at.times.saturating_mul(items);
            }
            let counted = self.shape.0.contains_key(&of.name)
                && !["Connection", "Edge", "PageInfo"].iter().any(|kind| of.name.ends_with(kind));
            if counted {
                self.nodes = self.nodes.saturating_add(below.times);
                if self.nodes > NODES_MAX {
                    return Err(too_much(format!("asks for more than {NODES_MAX} objects")));
                }
            }
        }
        self.selection_set(&field.selection_set.node, below)?;
        self.path.pop();
        Ok(())
    }

    fn ask(&mut self, times: u64) -> Result<()> {
        self.values = self.values.saturating_add(times);
        if self.values > VALUES_MAX {
            return Err(too_much(format!("asks for more than {VALUES_MAX} values")));
        }
        Ok(())
    }

    fn root_field(&mut self) -> Result<()> {
        self.root_fields += 1;
        let most = match self.operation.ty {
            OperationType::Mutation => MUTATION_FIELDS_MAX,
            OperationType::Query => QUERY_FIELDS_MAX,
            // GraphQL's own rule (October 2021, 5.2.3.1).
            OperationType::Subscription => 1,
        };
        if self.root_fields > most {
            return Err(too_much(format!("begins with more than {most} fields")));
        }
        Ok(())
    }

    /// How many items a connection is asked for, which the document has to say. What is out of bounds is for its
    /// resolver to refuse, and so is a variable without a value: another operation than the one that runs may have it.
    fn page(&self, place: &Positioned<Field>) -> Result<u64> {
        let field = &place.node;
        let says = |name| {
            let written = field.get_argument(name);
            written.is_some_and(|value| value.node.clone().into_const() != Some(Value::Null))
        };
        if !says("first") && !says("last") {
            let (path, name) = (self.path.join("."), &field.name.node);
            return Err(Error::PageSizeRequired {
                message: format!(
                    "{path} is a connection, which is asked for by pages: give it first or last, from 1 to \
                     {LIMIT_MAX}, as in {name}(first: 20)"
                ),
                place: Some((place.pos.line, place.pos.column)),
            });
        }
        let given = |name| match self.argument(field, name)? {
            Value::Number(number) => number.as_u64(),
            _ => None,
        };
        let page = given("first").or_else(|| given("last")).unwrap_or(1);
        Ok(page.clamp(1, u64::from(LIMIT_MAX)))
    }

    /// How many ids a field is given, if it takes ids.
    fn ids(&self, field: &Field) -> Option<u64> {
        match self.argument(field, "ids")? {
            Value::List(ids) => Some(ids.len() as u64),
            _ => Some(1),
        }
    }

    fn argument(&self, field: &Field, name: &str) -> Option<Value> {
        argument(field, name, self.variables, &self.operation.variable_definitions)
    }
}

/// An argument's value, be it written out, a variable's, or a variable's default.
fn argument(
    field: &Field,
    name: &str,
    variables: &Variables,
    definitions: &[Positioned<VariableDefinition>],
) -> Option<Value> {
    let written = field.get_argument(name)?.node.clone();
    let value = |name: Name| {
        variables.get(&name).cloned().or_else(|| {
            let definition = definitions.iter().find(|one| one.node.name.node == name)?;
            definition.node.default_value.clone().map(|value| value.node)
        })
    };
    written.into_const_with(|variable| value(variable).ok_or(())).ok()
}

fn directives(given: &[Positioned<Directive>]) -> Result<()> {
    if given.len() > DIRECTIVES_MAX {
        return Err(too_much(format!("has more than {DIRECTIVES_MAX} directives in one place")));
    }
    Ok(())
}

/// What is wrong with a document, without its text: the parser quotes the line, which may hold a password.
fn reason(cause: &async_graphql::parser::Error) -> String {
    let async_graphql::parser::Error::Syntax { message, start, .. } = cause else {
        return cause.to_string();
    };
    let expected = message.lines().find_map(|line| line.trim_start().strip_prefix("= "));
    format!(
        "line {}, column {}: {}",
        start.line,
        start.column,
        expected.unwrap_or("is not expected")
    )
}

fn too_much(what: String) -> Error {
    Error::limit_exceeded("query", what)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;

    use serde_json::json;

    use super::*;

    fn shape() -> Shape {
        Shape::new(&crate::graphql::schema_sdl()).unwrap()
    }

    fn measure(query: &str) -> Result<Measured> {
        shape().measure(query, &Variables::default())
    }

    #[track_caller]
    fn refused(query: &str, why: &str) {
        let error = measure(query).unwrap_err();
        assert_eq!(error.param(), Some("query"));
        assert!(error.to_string().contains(why), "{error}");
    }

    #[test]
    fn what_is_wrong_with_a_document_is_told_without_its_text() {
        let query = "mutation { logIn(input: { password: \"a secret\" }) { a } } }";
        let error = shape().measure(query, &Variables::default()).err().unwrap().to_string();
        assert!(error.contains("line 1, column 59") && !error.contains("a secret"), "{error}");
    }

    #[test]
    fn a_page_multiplies_what_is_below_it() {
        let nodes = |query: &str| measure(query).unwrap().nodes;
        assert_eq!(nodes("{ viewer { operator } }"), 1);
        assert_eq!(nodes("{ apiKeys(first: 7) { nodes { name } } }"), 7);
        assert_eq!(nodes("{ apiKeys(last: 3) { edges { node { name } cursor } } }"), 3);
        assert_eq!(
            nodes("{ usagePlans(first: 5) { nodes { apiKeys(first: 4) { nodes { id } } } } }"),
            25
        );
        assert_eq!(
            nodes(
                "{ ...All } fragment All on Query { apiKeys(first: 7) { ...Page } } fragment Page on ApiKeyConnection { nodes { id } }"
            ),
            7
        );
        assert_eq!(nodes(r#"{ nodes(ids: ["a", "b", "c"]) { id } }"#), 3);
    }

    #[test]
    fn what_a_request_costs_is_what_is_looked_up_for_it() {
        let cost = |query: &str| measure(query).unwrap().cost;
        assert_eq!(cost("{ viewer { operator } }"), 1);
        assert_eq!(cost("{ viewer { operator } rateLimit { cost } }"), 2);
        assert_eq!(cost("{ apiKeys(first: 99) { edges { node { id } } nodes { id } } }"), 1 + 1);
        assert_eq!(cost("{ apiKeys(first: 40) { nodes { id } } }"), 1);
        // A key's consumer and its plans are one question each.
        assert_eq!(
            cost("{ apiKeys(first: 7) { nodes { consumer { id } usagePlans { id } } } }"),
            1 + 7 + 7
        );
        assert_eq!(
            cost(
                "{ usagePlans(first: 5) { nodes { throttle { rateLimit } apiKeys(first: 4) { nodes { consumer { id } } } } } }"
            ),
            1 + 5 + 20
        );
        let made = "mutation { createConsumer(input: {name: \"a\"}) { consumer { id } userErrors { code } } }";
        assert_eq!(cost(made), CHANGE);
        let sums = "{ a: usageGroups(filter: {since: \"2026-11-20T00:00:00Z\"}, groupBy: [], first: 9) { nodes { requests } } \
                    ...B } fragment B on Query { b: keyUsage(usagePlanId: \"a\", since: \"2026-11-20T00:00:00Z\", first: 1) \
                    { nodes { used } } viewer { operator } }";
        assert_eq!(cost(sums), SUM + SUM + READ);
    }

    #[test]
    fn every_field_that_adds_up_is_there() {
        let Shape(types) = shape();
        let there =
            |name: &str| ["Query", "Mutation"].iter().any(|of| types[*of].contains_key(name));
        assert!(SUMS.iter().all(|name| there(name)));
    }

    #[test]
    fn a_dear_request_is_refused_with_its_cost_and_the_most() {
        let query = |plans: u32| {
            format!(
                "{{ usagePlans(first: {plans}) {{ nodes {{ apiKeys(first: 50) {{ nodes {{ consumer {{ id }} }} }} }} }} }}"
            )
        };
        let dearest = measure(&query(18)).unwrap();
        // The plans, the keys of each, the consumer of each, and 1818 objects.
        assert_eq!(dearest.cost, 1 + 18 + 900 + 18);
        refused(&query(20), "costs 1041 points, and a request at most 1000");
    }

    /// The text of each `graphql` template below the directory.
    fn documents(directory: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                documents(&path, found);
            } else if path.extension().is_some_and(|kind| kind == "ts" || kind == "tsx") {
                let text = std::fs::read_to_string(&path).unwrap();
                let templates = text.split("graphql(`").skip(1);
                found.extend(templates.map(|rest| rest.split('`').next().unwrap().to_owned()));
            }
        }
    }

    #[test]
    fn the_consoles_pages_are_far_from_the_limits() {
        let mut found = Vec::new();
        documents(Path::new("../web/src"), &mut found);
        let (fragments, operations): (Vec<String>, _) =
            found.into_iter().partition(|text| text.trim_start().starts_with("fragment"));
        assert!(operations.len() > 20, "the console is where it was");
        for operation in operations {
            let measured = measure(&format!("{operation} {}", fragments.join(" ")));
            let cost = measured.unwrap_or_else(|error| panic!("{operation}: {error}")).cost;
            assert!(u64::from(cost) <= COST_MAX / 2, "{cost}: {operation}");
        }
    }

    #[test]
    fn a_dry_run_is_one_in_every_operation() {
        let dry = |query: &str| measure(query).unwrap().dry;
        assert!(dry("{ rateLimit(dryRun: true) { cost } viewer { operator } }"));
        assert!(dry("query($dry: Boolean = true) { rateLimit(dryRun: $dry) { cost } }"));
        assert!(!dry("{ rateLimit { cost } }"));
        assert!(!dry("{ rateLimit(dryRun: false) { cost } }"));
        assert!(!dry(
            "query A { rateLimit(dryRun: true) { cost } } query B { viewer { operator } }"
        ));
        assert!(!dry("{ ...A } fragment A on Query { rateLimit(dryRun: true) { cost } }"));
    }

    #[test]
    fn a_connection_without_a_page_is_refused_by_its_path_and_place() {
        for (query, path, place) in [
            ("{ apiKeys { nodes { id } } }", "apiKeys", (1, 3)),
            ("{ keys: apiKeys(first: null) { nodes { id } } }", "keys", (1, 3)),
            ("{ apiKeys(after: \"x\") @include(if: false) { nodes { id } } }", "apiKeys", (1, 3)),
            (
                "{ usagePlans(last: 1) { edges { node {\n  apiKeys { nodes { id } } } } } }",
                "usagePlans.edges.node.apiKeys",
                (2, 3),
            ),
            (
                "query A { viewer { operator } } query B { ...F }\nfragment F on Query { apis { nodes { id } } }",
                "apis",
                (2, 23),
            ),
            (
                "mutation { deleteUsagePlan(input: {id: \"a\"}) { deletedId }\n createApiKey(input: {name: \"a\"}) {
                 apiKey { usagePlans { apiKeys { nodes { id } } } } } }",
                "createApiKey.apiKey.usagePlans.apiKeys",
                (3, 40),
            ),
        ] {
            let error = measure(query).unwrap_err();
            let Error::PageSizeRequired { message, place: told } = &error else {
                panic!("{query}: {error}")
            };
            assert!(message.starts_with(&format!("{path} is a connection")), "{message}");
            assert_eq!((error.param(), *told), (Some("first"), Some(place)), "{query}");
        }
        // Its resolver says so where the operation is run.
        measure(
            "query A { viewer { operator } } query B($n: Int) { apis(first: $n) { nodes { id } } }",
        )
        .unwrap();
    }

    #[test]
    fn a_page_may_be_a_variable() {
        let query = "query($n: Int = 9) { apiKeys(first: $n) { nodes { id } } }";
        let given = Variables::from_json(json!({ "n": 30 }));
        assert_eq!(shape().measure(query, &given).unwrap().nodes, 30);
        assert_eq!(measure(query).unwrap().nodes, 9);
    }

    #[test]
    fn too_many_objects_are_refused() {
        refused(
            "{ usagePlans(first: 100) { nodes { apiKeys(first: 100) { nodes { id } } } } }",
            "10000 objects",
        );
        let aliases: String = (0..30).fold(String::new(), |mut all, n| {
            let _ = write!(
                all,
                "a{n}: usagePlans(first: 20) {{ nodes {{ apiKeys(last: 20) {{ nodes {{ id }} }} }} }} "
            );
            all
        });
        refused(&format!("{{ {aliases} }}"), "10000 objects");
    }

    #[test]
    fn too_many_values_are_refused() {
        let aliases: String = (0..1000).fold(String::new(), |mut all, n| {
            let _ = write!(all, "a{n}: id ");
            all
        });
        refused(
            &format!(
                "{{ usagePlans(first: 3) {{ nodes {{ apiKeys(first: 100) {{ nodes {{ {aliases} }} }} }} }} }}"
            ),
            "200000 values",
        );
    }

    #[test]
    fn a_deep_document_is_refused() {
        let nested = |depth: usize| format!("{}{}", "{ viewer ".repeat(depth), "}".repeat(depth));
        measure(&nested(DEPTH_MAX)).unwrap();
        refused(&nested(DEPTH_MAX + 1), "deeper than 12");
        // Fragments hide no depth.
        let hidden = format!("{{ viewer {{ ...A }} }} fragment A on Viewer {}", nested(DEPTH_MAX));
        refused(&hidden, "deeper than 12");
        refused(&"{a".repeat(2000), "deeper than 64");
    }

    #[test]
    fn fragments_neither_circle_nor_explode() {
        refused(
            "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }",
            "inside itself",
        );
        refused("{ ...A } fragment A on Query { viewer { ...A } }", "inside itself");
        let doubling: String = (0..18).fold(String::new(), |mut all, n| {
            let _ = write!(all, "fragment F{n} on Viewer {{ ...F{0} ...F{0} }} ", n + 1);
            all
        });
        refused(
            &format!("{{ viewer {{ ...F0 }} }} {doubling} fragment F18 on Viewer {{ operator }}"),
            "5000 fields",
        );
        let chain: String = (0..30).fold(String::new(), |mut all, n| {
            let _ = write!(all, "fragment F{n} on Viewer {{ ...F{} }} ", n + 1);
            all
        });
        refused(
            &format!("{{ viewer {{ ...F0 }} }} {chain} fragment F30 on Viewer {{ operator }}"),
            "nests more than 20",
        );
        let many: String = (0..=FRAGMENTS_MAX).fold(String::new(), |mut all, n| {
            let _ = write!(all, "fragment F{n} on Viewer {{ operator }} ");
            all
        });
        refused(&format!("{{ viewer {{ operator }} }} {many}"), "100 fragments");
    }

    #[test]
    fn a_request_begins_with_few_fields() {
        let aliases = |count: usize, field: &str| {
            (0..count).fold(String::new(), |mut all, n| {
                let _ = write!(all, "a{n}: {field} ");
                all
            })
        };
        let query = |count| format!("{{ {} }}", aliases(count, "viewer { operator }"));
        measure(&query(QUERY_FIELDS_MAX)).unwrap();
        refused(&query(QUERY_FIELDS_MAX + 1), "begins with more than 50");
        let log_in = r#"logIn(input: { email: "a", password: "b" }) { accessToken }"#;
        let mutation = |count| format!("mutation {{ {} }}", aliases(count, log_in));
        measure(&mutation(MUTATION_FIELDS_MAX)).unwrap();
        refused(&mutation(MUTATION_FIELDS_MAX + 1), "begins with more than 10");
    }

    #[test]
    fn a_long_document_is_refused_unread() {
        refused(
            &format!("{{ viewer {{ operator }} }}{}", " ".repeat(DOCUMENT_BYTES_MAX)),
            "65536 bytes",
        );
    }

    #[test]
    fn introspection_is_seen_and_does_not_circle() {
        let usual = "{ __schema { types { name fields { name args { type { ofType { ofType { ofType { ofType { ofType { ofType { ofType { name } } } } } } } } } } } } }";
        assert!(measure(usual).unwrap().introspects);
        assert!(
            measure("{ ...A } fragment A on Query { __type(name: \"Api\") { name } }")
                .unwrap()
                .introspects
        );
        assert!(!measure("{ __typename viewer { __typename } }").unwrap().introspects);
        refused(
            "{ __schema { types { fields { type { fields { type { fields { type { name } } } } } } } } }",
            "round in the schema",
        );
    }
}
