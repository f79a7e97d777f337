//! The model is the script; the model and the permits together keep the bound, and give what is allowed.

mod bound;
mod demand;
mod differential;
mod model;
mod world;
