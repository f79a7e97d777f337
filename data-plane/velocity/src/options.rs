//! What the language is like, and what a rendering may cost.

/// What becomes of a reference that leads to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undefined {
    /// Velocity's own: it is written out as it stands in the template (`$name`), unless it is quiet (`$!name`), and
    /// is false in conditions.
    AsWritten,
    /// AWS API Gateway's: it is the empty string, in text, conditions (where that is true) and expressions alike.
    Empty,
}

/// Whether `#macro` of the template itself defines macros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Macros {
    Inline,
    /// AWS API Gateway's: a definition is left out, a call is written out as it stands in the template.
    AsWritten,
}

/// The dialect of a template, fixed when it is parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    pub undefined: Undefined,
    pub macros: Macros,
    /// Whether `$Math` is there, with the static methods of Java's class, where neither host nor template defines it.
    pub math: bool,
    /// The longest template, in bytes. AWS takes 300 KB.
    pub template_bytes_max: usize,
}

impl Options {
    /// Apache Velocity 1.7 with its default settings.
    pub const VELOCITY: Self = Self {
        undefined: Undefined::AsWritten,
        macros: Macros::Inline,
        math: true,
        template_bytes_max: 300 * 1024,
    };

    /// What AWS API Gateway was recorded to do: Velocity 1.7, where references that lead to nothing are empty strings
    /// and macros of the template itself are not taken.
    pub const AWS: Self = Self {
        undefined: Undefined::Empty,
        macros: Macros::AsWritten,
        math: false,
        template_bytes_max: 300 * 1024,
    };
}

impl Default for Options {
    fn default() -> Self {
        Self::VELOCITY
    }
}

/// What happens in the round after the last that a `#foreach` may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// The loop ends, and what follows is rendered: Velocity's `directive.foreach.maxloops`.
    End,
    /// The rendering ends with [`crate::ErrorKind::Iterations`].
    Fail,
}

/// What one rendering may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Steps in all. One is an instruction or some 64 bytes of text that are looked through, a few nanoseconds.
    pub steps: u64,
    /// Bytes that the values of the rendering hold at a time; what the host holds itself does not count.
    pub memory_bytes: usize,
    /// Bytes of the text that is rendered.
    pub output_bytes: usize,
    /// Rounds of each `#foreach`, and what happens in the next.
    pub iterations: u32,
    pub excess: Excess,
}

impl Default for Limits {
    /// Some 50 ms at most on one core, 16 MiB of values, 10 MiB of text, and AWS's 1000 rounds.
    fn default() -> Self {
        Self {
            steps: 2_000_000,
            memory_bytes: 16 << 20,
            output_bytes: 10 << 20,
            iterations: 1000,
            excess: Excess::End,
        }
    }
}
