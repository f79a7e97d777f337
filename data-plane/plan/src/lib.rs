//! What tenants write about routes, parsed and checked: the control plane refuses by it what a node could not
//! serve, and a node serves by it. No I/O.
//!
//! - [`RouteKey`]: a method and a path as they are written; what is wrong with them is said in words.
//! - [`path`]: a request's path: what spelling is accepted, and how it is decoded.
//! - [`Periods`]: when the periods of a quota begin and end, by a calendar or from a day on.
//! - [`Router`]: which route a request is for, by the precedence of AWS's HTTP or REST APIs.
//! - [`media`]: which payloads are binary, and AWS's tables of what becomes of them.
//! - [`UriTemplate`]: where an integration points, with the parameters and stage variables it takes.
//! - [`AwsUri`]: a function or a service of AWS, by its ARN; [`AwsAction`]: how a service is asked for an action.
//! - [`Subtype`]: a service's action as AWS's HTTP APIs ask for it, by [`request_parameter`]s.
//! - [`JsonPath`]: a part of a JSON document, as AWS answers.
//! - [`mock`]: which response a mock gives; [`Preferences`] and [`accept`]: which one its caller likes.
//! - [`KeyLocation`]: where callers put their API key; [`OriginPattern`]: which pages a key is good from.
//! - [`gateway_response`]: how a tenant restyles what the gateway answers by itself.
//! - [`Cors`]: which pages may read answers, and what their browsers are told.
#![forbid(unsafe_code)]

pub mod accept;
mod aws;
mod aws_action;
mod cors;
pub mod gateway_response;
pub mod json_path;
mod key_location;
pub mod media;
pub mod mock;
mod origin;
pub mod path;
mod period;
mod prefer;
pub mod request_parameter;
mod route;
mod router;
pub mod subtype;
mod uri;

pub use aws::{AwsTarget, AwsUri, AwsUriError};
pub use aws_action::AwsAction;
pub use cors::{Allowed, CORS_LIST_MAX, CORS_MAX_AGE_S, Cors, CorsError, CorsSettings};
pub use gateway_response::ResponseType;
pub use json_path::JsonPath;
pub use key_location::{KeyLocation, LocationError, Taken, take_parameter};
pub use origin::{OriginError, OriginPattern};
pub use period::{Period, Periods, Unit, time_zone};
pub use prefer::Preferences;
pub use route::{MethodMatch, RouteError, RouteKey, RoutePath, Segment};
pub use router::{BuildError, Found, Precedence, Router, TrailingSlash};
pub use subtype::Subtype;
pub use uri::{BoundUri, TemplateError, UriTemplate};
