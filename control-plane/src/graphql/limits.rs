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
mod tests;
