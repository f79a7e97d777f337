//! The Velocity Template Language, as Apache Velocity 1.7 and AWS API Gateway render it.
//!
//! A template is parsed once into a [`Program`], which all threads may share. A [`Render`] runs it: it asks a [`Host`]
//! for its variables, writes into the caller's buffer, and stops at any instruction when a slice of steps is used up,
//! to go on later. What a rendering may use is bounded by [`Limits`]; an [`Error`] says what went wrong, and at which
//! line and column.
//!
//! ```
//! use velocity::{Limits, Options, Program, Progress, Render};
//!
//! let program = Program::parse("#foreach($i in [1..3])$i#if($foreach.hasNext), #end#end", Options::AWS)?;
//! let mut out = String::new();
//! let mut render = Render::new(&program, &(), Limits::default());
//! while render.run(&mut out, 1000)? == Progress::Yielded {
//!     // let others run
//! }
//! assert_eq!(out, "1, 2, 3");
//! # Ok::<(), velocity::Error>(())
//! ```
//!
//! # The language
//!
//! Directives `#set #if #elseif #else #foreach #break #stop #define #macro #literal`, macros with a body
//! (`#@name() … #end`), comments, unparsed text `#[[ … ]]#`; references with properties, methods and indices in all their
//! spellings; literals, ranges, operators and their words; strings that interpolate. `#include`, `#parse` and
//! `#evaluate` are refused by name when the template is parsed. [`Options`] has what differs between Velocity's
//! defaults and AWS.
//!
//! Values are Java's: strings that count in UTF-16, integers that grow instead of overflowing, doubles that print as
//! Java's do, lists and maps that are shared by reference and keep their order. The methods of `String`, `List`, `Map`,
//! `Map.Entry`, `Integer`, `Long`, `Double`, `Boolean` and (where it is switched on) `Math` are there; any other method
//! leads to nothing, as in Velocity. `.class` leads to nothing, too.
//!
//! ## Where it is not Velocity 1.7
//!
//! - `#set(${name} = …)` sets `$name`; Velocity sets a variable that no template can read.
//! - `$name{more}` is the reference and the text behind it; Velocity loses a part of the text.
//! - `#foreach($item in )` is refused; Velocity renders nothing.
//! - A method with more arguments than Java's takes leads to nothing; Velocity fails for some of them.
//! - `keySet()`, `values()`, `entrySet()` and `subList()` are copies, not views.
//! - Lists and maps as keys of maps are themselves, not what they contain.
//! - Integers have 127 bits at most, templates, nesting and values their limits.
//! - Half of a surrogate pair is a question mark, in strings too, not only where it is written out.
//!
//! # What it costs
//!
//! Parsing is one pass; nesting is bounded, and nothing in parsing or rendering recurses deeper than that bound. Each
//! instruction is a step, and long texts cost steps by their length. Strings that are let go give their memory back;
//! lists and maps live in the rendering until its end, so that they may contain themselves. Ranges are not spelled
//! out. Regular expressions take linear time and pay for their size in advance; Java's look-around and references to
//! groups are refused by name.
//!
//! # The map
//!
//! - `parse/`: text to instructions. `program`: the instructions and their tables.
//! - `render`, `render/`: the loop over them. `frame`: what macros bind. `iterate`: what loops go through.
//! - `heap`, `map`, `value`, `number`, `equal`, `write`: values, their memory, equality and text.
//! - `methods/`: Java's classes. `pattern`: Java's regular expressions.
//! - `host`: what a host implements. `options`, `error`.
#![forbid(unsafe_code)]

mod equal;
mod error;
mod frame;
mod heap;
mod host;
mod iterate;
mod map;
mod methods;
mod number;
mod options;
mod parse;
mod pattern;
mod program;
mod render;
mod value;
mod write;

pub use error::{Error, ErrorKind, Fault};
pub use heap::Heap;
#[cfg(feature = "serde_json")]
pub use host::json_value;
pub use host::{Host, Kind, Object};
pub use options::{Excess, Limits, Macros, Options, Undefined};
pub use program::Program;
pub use render::{Progress, Render};
pub use value::{Id, Made, Text, Value};
